//! Waiting for something to become true, with a deadline instead of a guess.

use std::time::Duration;

/// Longest that anything on this machine may take before a test fails instead of hanging.
pub const PATIENCE: Duration = Duration::from_secs(60);
/// Pause between two looks.
const LOOK: Duration = Duration::from_millis(10);

/// Looks until there is something, and gives it.
///
/// # Panics
/// When [`PATIENCE`] ends first; `what` says what was waited for.
pub async fn until<T>(what: &str, mut look: impl AsyncFnMut() -> Option<T>) -> T {
    let looking = async {
        loop {
            if let Some(found) = look().await {
                return found;
            }
            tokio::time::sleep(LOOK).await;
        }
    };
    in_time(what, looking).await
}

/// Runs to the end.
///
/// # Panics
/// When [`PATIENCE`] ends first.
pub async fn in_time<T>(what: &str, work: impl Future<Output = T>) -> T {
    match tokio::time::timeout(PATIENCE, work).await {
        Ok(done) => done,
        Err(_) => panic!("{what}: not within {} s", PATIENCE.as_secs()),
    }
}

/// SplitMix64: the same moments for the same seed on every machine.
#[derive(Debug, Clone)]
pub struct Seeded(pub u64);

impl Seeded {
    /// From the variable `SEED`, else this seed; printed, so that a failure can be made again.
    pub fn from_environment(seed: u64) -> Self {
        let given = std::env::var("SEED")
            .ok()
            .and_then(|text| text.parse().ok());
        let seed = given.unwrap_or(seed);
        println!("SEED={seed}");
        Self(seed)
    }

    /// The next number.
    #[allow(clippy::should_implement_trait)]
    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// The next number below `limit`.
    pub fn below(&mut self, limit: u64) -> u64 {
        self.next() % limit
    }
}
