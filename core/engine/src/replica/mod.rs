//! The device's end: two layers of every document, the outbox, and the sync machine.

#[cfg(any(test, feature = "conformance"))]
pub mod conformance;
mod memory;
mod store;

pub use memory::{MemoryError, MemoryReplica};
pub use store::{DocRow, EnvelopeRow, IntentRow, IntentState, ReplicaStore, Write};
