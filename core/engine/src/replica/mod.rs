//! The device's end: two layers of every document, the outbox, and the sync machine.

mod store;

pub use store::{DocRow, EnvelopeRow, IntentRow, IntentState, ReplicaStore, Write};
