//! Durable SQLite storage: the rules that both ends share, and a device's replica.
//!
//! [`sqlite`] opens and migrates any of our databases; the relay's embedded backend uses it too.
//! [`SqliteReplica`] is what a device keeps: it implements the engine's
//! [`ReplicaStore`](manzana_engine::replica::ReplicaStore), tells a restored or cloned store apart
//! ([`SqliteReplica::open`]), rescues a damaged one ([`SqliteReplica::rescue`], [`carve`]) and counts the documents it opens ([`DocumentCounter`]).
#![forbid(unsafe_code)]

mod aside;
pub mod carve;
mod documents;
mod replica;
pub mod sqlite;

pub use aside::set_aside;
pub use documents::DocumentCounter;
pub use replica::{RECEIPT_DAYS, REPLICA_SCHEMA, Rescued, SqliteReplica, token_path};
