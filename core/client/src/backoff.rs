//! Waiting between attempts: exponential, with full jitter, so that a city's phones do not come back
//! at the same moment after the relay was away.

use std::time::Duration;

/// Upper bound of the first wait.
pub(crate) const FIRST: Duration = Duration::from_millis(500);
/// Upper bound of every wait.
pub(crate) const LONGEST: Duration = Duration::from_secs(60);
/// No wait is shorter, however the dice fall.
pub(crate) const SHORTEST: Duration = Duration::from_millis(50);

/// How often in a row an attempt has failed.
#[derive(Debug, Default, Clone, Copy)]
pub(crate) struct Backoff {
    failures: u32,
}

impl Backoff {
    /// The next wait: uniform between [`SHORTEST`] and a bound that doubles each time. `dice` is
    /// random.
    pub(crate) fn next(&mut self, dice: u32) -> Duration {
        let bound = FIRST
            .saturating_mul(1 << self.failures.min(10))
            .min(LONGEST);
        self.failures = self.failures.saturating_add(1);
        bound
            .mul_f64(f64::from(dice) / f64::from(u32::MAX))
            .max(SHORTEST)
    }

    /// The last attempt was good.
    pub(crate) fn reset(&mut self) {
        self.failures = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_double_up_to_a_minute_and_never_spin() {
        let mut backoff = Backoff::default();
        let longest: Vec<u128> = (0..10)
            .map(|_| backoff.next(u32::MAX).as_millis())
            .collect();
        assert_eq!(longest[..4], [500, 1000, 2000, 4000]);
        assert_eq!(longest[7..], [60_000, 60_000, 60_000]);
        for _ in 0..100 {
            assert_eq!(backoff.next(0), SHORTEST);
        }
        backoff.reset();
        assert_eq!(backoff.next(u32::MAX), FIRST);
    }
}
