//! Storage that fails: the power goes after any write, disks are full or dying at any operation.
//!
//! The production storages of a device and of a relay write through a VFS that records ([`vfs`],
//! [`tape`]). [`power`] replays every prefix of what they wrote, torn and reordered between syncs;
//! [`faults`] lets the first operation fail, the second, the third, until a run succeeds.
//! `MANZANA_FAULTS` (1) says how many times as much is tried: 12 lets each operation fail in each way.
#![allow(clippy::unwrap_used)]

mod faults;
mod phone;
mod power;
mod relay;
mod story;
mod tape;
mod vfs;

#[path = "../../../core/engine/tests/support/model.rs"]
mod model;
#[path = "../../../core/engine/tests/support/world.rs"]
mod world;
