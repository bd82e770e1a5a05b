//! The harness of the whole-system tests: real processes, sockets on port 0, real files, real TLS.
//!
//! [`relay`] runs the relay's binary, named by `MANZANA_BIN`; [`phone`] runs a device's; [`device`] is
//! a device reduced to its frames, so that a test can send what no honest one would; [`author`] one
//! reduced to its chain, which only writes; [`console`] is a
//! browser reduced to its requests; [`proxy`] stands between a device and the relay and does harm;
//! [`disk`] is a disk that can be full; [`release`] is what a release leaves behind for the next one. [`havoc`] lets all of them loose at once, [`truth`] reads what is
//! left, and [`checkers`] say whether it is as it must be.
//! Nothing sleeps to be in step with something else: [`wait`] looks until a deadline.
#![forbid(unsafe_code)]

pub mod author;
pub mod checkers;
pub mod console;
pub mod device;
pub mod disk;
pub mod havoc;
pub mod phone;
pub mod proxy;
pub mod relay;
pub mod release;
pub mod sim;
pub mod truth;
pub mod wait;
