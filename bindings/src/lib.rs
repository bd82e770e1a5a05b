//! The device runtime for apps: `manzana-client`, spoken from Kotlin and Python (Swift can be generated, and is not tried).
//!
//! A thin layer: it turns the client's types into what UniFFI carries, and decides nothing. One call
//! returns one screen's records, because a call costs microseconds and a getter costs a call.
//!
//! - [`Device`] is one device in a folder of its own; what a call saved is durable when it returns.
//! - [`Watch`] tells what changed, one at a time; a screen then asks for what it shows.
//! - Every failure is a [`ManzanaError`] with a [`Problem`]: screens look at its category, code, rule
//!   and field, never at its text. Words are the app's.
//!
//! Ids of petitions and of acts are text here, and mean nothing to the app. Times are milliseconds UTC.

#![forbid(unsafe_code)]

mod device;
mod mirror;
mod problem;
mod screens;

pub use device::{Device, Watch};
pub use problem::{ManzanaError, Problem};

uniffi::setup_scaffolding!("manzana");
