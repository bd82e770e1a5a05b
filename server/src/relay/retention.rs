//! The sweep: what no device that lives needs any more is forgotten, in small steps, now and then.
//!
//! A phone that comes back after weeks is told what left its scopes, as long as its place is kept. One
//! that stayed away longer is repaired instead: its scopes are reconciled, and it learns the same.

use std::sync::Weak;
use std::time::Duration;

use super::{DAY_MS, Relay};
use crate::storage::{StorageError, SweepFrom};

/// Setting: for how many days a device that does not come is waited for, in decimal digits.
pub const RETENTION_DAYS: &str = "retention_days";
/// Its value when it is not set.
const DEFAULT_DAYS: i64 = 90;
/// How often there is a sweep.
const EVERY: Duration = Duration::from_secs(3_600);
/// Rows of one step: a few milliseconds of the writer, which takes batches in between.
const STEP: usize = 1_000;

/// Sweeps until the relay is gone.
pub(super) async fn run(relay: Weak<Relay>) {
    let mut every = tokio::time::interval(EVERY);
    loop {
        every.tick().await;
        if let Err(error) = sweep(&relay).await {
            tracing::warn!(%error, "a sweep did not end");
        }
    }
}

async fn sweep(relay: &Weak<Relay>) -> Result<(), StorageError> {
    let mut from = Some(SweepFrom::default());
    let mut removed = 0;
    while let Some(step) = from {
        let Some(relay) = relay.upgrade() else { break };
        let now = relay.now();
        let live_since = now - relay.retention_days().await? * DAY_MS;
        let swept = relay.store.sweep(now, live_since, step, STEP).await?;
        removed += swept.removed;
        from = swept.next;
        if from.is_none() && removed > 0 {
            tracing::info!(removed, floor = swept.floor, "swept");
        }
    }
    Ok(())
}

impl Relay {
    /// At least a day: less would forget what a device that is away for the night still needs.
    async fn retention_days(&self) -> Result<i64, StorageError> {
        let set = self.store.setting(RETENTION_DAYS).await?;
        let days = set.and_then(|bytes| String::from_utf8(bytes).ok()?.parse::<i64>().ok());
        Ok(days.unwrap_or(DEFAULT_DAYS).clamp(1, 36_500))
    }
}
