//! Groups that the relay holds until somebody decides what becomes of them.

use bytes::Bytes;
use manzana_engine::answer::HeldReason;
use manzana_engine::ids::DeviceId;

/// A group that is held: its grant had been revoked or had expired, or it is in quarantine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HeldGroup {
    /// What commands name it by; never used again.
    pub id: u64,
    /// Its author's device.
    pub device: DeviceId,
    /// Incarnation of the author's store.
    pub incarnation: u32,
    /// Place of its envelope in the chain.
    pub n: u64,
    /// Its index in the envelope.
    pub group: usize,
    /// City time since when it is held, milliseconds UTC.
    pub since: i64,
    /// Why.
    pub reason: HeldReason,
    /// How it failed the gate, for what is in quarantine.
    pub detail: Option<String>,
    /// What was decided and is not done yet.
    pub decision: Option<Decision>,
    /// Why the last decision could not be done.
    pub problem: Option<String>,
    /// Its envelope (encoded, without parts).
    pub envelope: Bytes,
}

/// What becomes of a held group.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Decision {
    /// Its author does it again; the city records it where the author cannot.
    Release,
    /// It is not taken: its author is told, and keeps it to correct.
    Drop,
}

/// How many groups are held.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct HeldCounts {
    /// Since their grant had been revoked or had expired.
    pub by_grant: u64,
    /// In quarantine.
    pub quarantined: u64,
}
