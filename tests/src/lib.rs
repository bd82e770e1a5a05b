//! The harness of the whole-system tests: real processes, sockets on port 0, real files, real TLS.
//!
//! [`relay`] runs the relay's binary, named by `MANZANA_BIN`; [`phone`] runs a device's; [`device`] is
//! a device reduced to its frames, so that a test can send what no honest one would; [`console`] is a
//! browser reduced to its requests; [`proxy`] stands between a device and the relay and does harm.
//! Nothing sleeps to be in step with something else: [`wait`] looks until a deadline.
#![forbid(unsafe_code)]

pub mod console;
pub mod device;
pub mod phone;
pub mod proxy;
pub mod relay;
pub mod sim;
pub mod wait;
