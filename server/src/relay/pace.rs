//! How fast one device may send: a bucket of tokens. A device that is faster is not cut, it is read more
//! slowly, and TCP tells it to wait: nothing is lost by being eager.

use std::time::Duration;

use tokio::time::Instant;

/// Frames that a device may send at once: weeks without a network, delivered in one go.
const BURST: u32 = 2_000;
/// Frames a second after that.
const PER_SECOND: u32 = 250;

/// One device's bucket.
#[derive(Debug)]
pub(super) struct Pace {
    tokens: u32,
    since: Instant,
}

impl Pace {
    pub(super) fn new(now: Instant) -> Self {
        Self {
            tokens: BURST,
            since: now,
        }
    }

    /// Counts a frame.
    pub(super) fn took_one(&mut self, now: Instant) {
        self.refill(now);
        self.tokens = self.tokens.saturating_sub(1);
    }

    /// When the next frame may be read; `None` when it may be now.
    pub(super) fn wait_until(&mut self, now: Instant) -> Option<Instant> {
        self.refill(now);
        (self.tokens == 0).then(|| self.since + Duration::from_secs(1) / PER_SECOND)
    }

    fn refill(&mut self, now: Instant) {
        let each = Duration::from_secs(1) / PER_SECOND;
        let passed = now.saturating_duration_since(self.since);
        let earned = u32::try_from(passed.as_nanos() / each.as_nanos()).unwrap_or(u32::MAX);
        if self.tokens.saturating_add(earned) >= BURST {
            (self.tokens, self.since) = (BURST, now);
        } else {
            self.tokens += earned;
            // The rest of an interval is not lost.
            self.since += each * earned;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_burst_passes_and_then_the_pace_holds() {
        let start = Instant::now();
        let mut pace = Pace::new(start);
        for _ in 0..BURST {
            assert_eq!(pace.wait_until(start), None);
            pace.took_one(start);
        }
        let each = Duration::from_secs(1) / PER_SECOND;
        assert_eq!(pace.wait_until(start), Some(start + each));
        assert_eq!(pace.wait_until(start + each), None);
        pace.took_one(start + each);
        assert!(pace.wait_until(start + each).is_some());
        let later = start + Duration::from_secs(3_600);
        assert_eq!(pace.wait_until(later), None);
        assert_eq!(pace.tokens, BURST, "no more than a burst is saved up");
    }
}
