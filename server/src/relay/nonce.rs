//! Nonces of sessions: a device proves its key over one, and gets the next inside the session.
//!
//! They are not stored: a nonce is the time of its issue, some random bytes, and a keyed hash over
//! both and the device. A device's sessions must use nonces of rising issue time, which stops a
//! recorded upgrade request from being played again.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use manzana_engine::ids::{DeviceId, Hash};

/// How long a nonce may wait: a phone may be in a drawer for a month.
const VALID_MS: i64 = 40 * 24 * 3_600_000;
/// Bytes: issue time, random, keyed hash.
const NONCE_BYTES: usize = 8 + 8 + 16;

/// Issues and takes nonces.
#[derive(Debug)]
pub(super) struct Nonces {
    key: [u8; 32],
    /// The newest nonce each device has used: one entry per enrolled device that came by.
    used: Mutex<BTreeMap<DeviceId, (i64, [u8; 8])>>,
}

impl Nonces {
    pub(super) fn new(key: [u8; 32]) -> Self {
        Self {
            key,
            used: Mutex::new(BTreeMap::new()),
        }
    }

    /// A nonce later than the one that was taken last, also within its millisecond and when the relay's clock
    /// was set back meanwhile.
    pub(super) fn issue(&self, device: &DeviceId, now: i64, random: [u8; 8]) -> Vec<u8> {
        let used = self.used.lock().unwrap_or_else(PoisonError::into_inner);
        let last = used.get(device).map(|(time, _)| time.saturating_add(1));
        drop(used);
        let time = now.max(last.unwrap_or(now));
        let mac = self.mac(device, time, &random);
        [time.to_be_bytes().as_slice(), &random, &mac].concat()
    }

    /// Takes a nonce: good once, for this device.
    pub(super) fn take(&self, device: &DeviceId, nonce: &[u8], now: i64) -> bool {
        if nonce.len() != NONCE_BYTES {
            return false;
        }
        let (mut time, mut random) = ([0; 8], [0; 8]);
        time.copy_from_slice(&nonce[..8]);
        random.copy_from_slice(&nonce[8..16]);
        let issued = i64::from_be_bytes(time);
        if nonce[16..] != self.mac(device, issued, &random) || now - issued > VALID_MS {
            return false;
        }
        let mut used = self.used.lock().unwrap_or_else(PoisonError::into_inner);
        let fresh = used.get(device).is_none_or(|last| *last < (issued, random));
        if fresh {
            used.insert(*device, (issued, random));
        }
        fresh
    }

    fn mac(&self, device: &DeviceId, time: i64, random: &[u8; 8]) -> [u8; 16] {
        // SHA-256 over a fixed-length secret, then fixed-length fields: nothing to extend.
        let parts: [&[u8]; 4] = [&self.key, device.as_bytes(), &time.to_be_bytes(), random];
        let outer = Hash::of_parts(b"manzana/nonce/1", &parts);
        let hash = Hash::of_parts(b"manzana/nonce/2", &[&self.key, outer.as_bytes()]);
        let mut mac = [0; 16];
        mac.copy_from_slice(&hash.as_bytes()[..16]);
        mac
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_nonce_is_good_once_and_for_its_device() {
        let nonces = Nonces::new([1; 32]);
        let (a, b) = (DeviceId([1; 16]), DeviceId([2; 16]));
        let nonce = nonces.issue(&a, 1_000, [1; 8]);
        assert!(!nonces.take(&b, &nonce, 1_001));
        assert!(nonces.take(&a, &nonce, 1_001));
        assert!(!nonces.take(&a, &nonce, 1_002));
        assert!(nonces.take(&a, &nonces.issue(&a, 2_000, [2; 8]), 2_000));
        assert!(!nonces.take(&a, &nonces.issue(&a, 3_000, [3; 8]), 3_000 + VALID_MS + 1));
        assert!(!nonces.take(&a, &[0; NONCE_BYTES], 3_000));
    }

    #[test]
    fn one_in_the_same_millisecond_or_after_a_clock_set_back_is_good_too() {
        let nonces = Nonces::new([1; 32]);
        let device = DeviceId([1; 16]);
        for (now, random) in [(5_000, 9), (5_000, 1), (2_000, 5)] {
            let nonce = nonces.issue(&device, now, [random; 8]);
            assert!(nonces.take(&device, &nonce, now), "{now} {random}");
        }
    }
}
