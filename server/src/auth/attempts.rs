//! Limits on guessing: failed sign-ins per user and per address within a window.
//!
//! An attempt counts from its beginning, so that a hundred side by side do not pass
//! before the first one fails; a success gives its count back. Names are kept as
//! hashes, and the number of entries is bounded.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Mutex, PoisonError};

use sha2::{Digest, Sha256};

use super::AuthError;

/// Entries kept at once: a stranger inventing names or addresses fills no memory.
const MAX_ENTRIES: usize = 8_192;

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Key {
    User([u8; 16]),
    Address(IpAddr),
}

#[derive(Clone, Copy, Debug)]
struct Count {
    since_ms: i64,
    attempts: u32,
}

/// One attempt that has been counted.
#[derive(Debug)]
pub struct Attempt {
    keys: [Key; 2],
}

/// The counts of recent attempts.
#[derive(Debug)]
pub struct Attempts {
    per_user: u32,
    per_address: u32,
    window_ms: i64,
    counts: Mutex<HashMap<Key, Count>>,
}

impl Attempts {
    /// With so many attempts allowed within a window of `window_ms` milliseconds.
    #[must_use]
    pub fn new(per_user: u32, per_address: u32, window_ms: i64) -> Self {
        Self {
            per_user,
            per_address,
            window_ms,
            counts: Mutex::default(),
        }
    }

    /// Counts an attempt, or says how long to wait.
    pub fn begin(&self, user: &str, address: IpAddr, now_ms: i64) -> Result<Attempt, AuthError> {
        let keys = [Key::User(name_key(user)), Key::Address(network(address))];
        let mut counts = self.counts.lock().unwrap_or_else(PoisonError::into_inner);
        for key in keys {
            self.check(&counts, key, now_ms)?;
        }
        make_room(&mut counts, now_ms, self.window_ms);
        for key in keys {
            let count = counts.entry(key).or_insert(Count {
                since_ms: now_ms,
                attempts: 0,
            });
            if self.is_over(count, now_ms) {
                *count = Count {
                    since_ms: now_ms,
                    attempts: 0,
                };
            }
            count.attempts += 1;
        }
        Ok(Attempt { keys })
    }

    /// Gives an attempt's count back.
    pub fn succeeded(&self, attempt: &Attempt) {
        let mut counts = self.counts.lock().unwrap_or_else(PoisonError::into_inner);
        for key in attempt.keys {
            if let Some(count) = counts.get_mut(&key) {
                count.attempts = count.attempts.saturating_sub(1);
            }
        }
    }

    fn check(&self, counts: &HashMap<Key, Count>, key: Key, now_ms: i64) -> Result<(), AuthError> {
        let limit = match key {
            Key::User(_) => self.per_user,
            Key::Address(_) => self.per_address,
        };
        match counts.get(&key) {
            Some(count) if count.attempts >= limit && !self.is_over(count, now_ms) => {
                let left = count
                    .since_ms
                    .saturating_add(self.window_ms)
                    .saturating_sub(now_ms);
                Err(AuthError::Limited {
                    retry_after: u64::try_from(left / 1_000 + 1).unwrap_or(1),
                })
            }
            _ => Ok(()),
        }
    }

    fn is_over(&self, count: &Count, now_ms: i64) -> bool {
        now_ms.saturating_sub(count.since_ms) >= self.window_ms
    }
}

/// Keeps two places free: what is over goes first, then what is oldest.
fn make_room(counts: &mut HashMap<Key, Count>, now_ms: i64, window_ms: i64) {
    if counts.len() + 2 <= MAX_ENTRIES {
        return;
    }
    counts.retain(|_, count| now_ms.saturating_sub(count.since_ms) < window_ms);
    while counts.len() + 2 > MAX_ENTRIES {
        let oldest = counts
            .iter()
            .min_by_key(|(_, count)| count.since_ms)
            .map(|(key, _)| *key);
        let Some(key) = oldest else { return };
        counts.remove(&key);
    }
}

fn name_key(user: &str) -> [u8; 16] {
    let digest = Sha256::digest(user.to_lowercase());
    let mut key = [0; 16];
    key.copy_from_slice(&digest[..16]);
    key
}

/// One home or office has a whole IPv6 /64: it counts as one address.
fn network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(v6) => IpAddr::V6((v6.to_bits() & !u128::from(u64::MAX)).into()),
        v4 => v4,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HERE: IpAddr = IpAddr::V4(std::net::Ipv4Addr::LOCALHOST);

    #[test]
    fn the_limit_holds_until_the_window_is_over() {
        let attempts = Attempts::new(2, 100, 1_000);
        attempts.begin("ana", HERE, 0).unwrap();
        attempts.begin("ANA", HERE, 500).unwrap();
        assert!(matches!(
            attempts.begin("ana", HERE, 999),
            Err(AuthError::Limited { retry_after: 1 })
        ));
        attempts.begin("eva", HERE, 999).unwrap();
        attempts.begin("ana", HERE, 1_000).unwrap();
    }

    #[test]
    fn an_address_is_limited_over_all_users() {
        let attempts = Attempts::new(100, 2, 1_000);
        attempts.begin("a", HERE, 0).unwrap();
        attempts.begin("b", HERE, 0).unwrap();
        assert!(attempts.begin("c", HERE, 0).is_err());
        attempts.begin("c", "10.0.0.1".parse().unwrap(), 0).unwrap();
        attempts
            .begin("c", "2001:db8::1".parse().unwrap(), 0)
            .unwrap();
        attempts
            .begin("d", "2001:db8::2".parse().unwrap(), 0)
            .unwrap();
        assert!(
            attempts
                .begin("e", "2001:db8::3".parse().unwrap(), 0)
                .is_err()
        );
    }

    #[test]
    fn a_success_counts_for_nothing() {
        let attempts = Attempts::new(1, 1, 1_000);
        for now in 0..10 {
            let attempt = attempts.begin("ana", HERE, now).unwrap();
            attempts.succeeded(&attempt);
        }
    }

    #[test]
    fn invented_names_fill_no_memory() {
        let attempts = Attempts::new(1, u32::MAX, i64::MAX);
        for n in 0..MAX_ENTRIES + 10 {
            let now = i64::try_from(n).unwrap();
            attempts.begin(&n.to_string(), HERE, now).unwrap();
        }
        assert!(attempts.counts.lock().unwrap().len() <= MAX_ENTRIES);
    }
}
