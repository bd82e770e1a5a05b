//! The relay's shell over real sockets, with an in-memory relay core behind it.
//!
//! `server` starts one on free ports; `client` is a small HTTP/1.1 client that shows
//! exactly what is on the wire; `desk` is the relay core's stand-in.
#![allow(clippy::unwrap_used)]

mod client;
mod desk;
mod server;

mod events;
mod listeners;
mod pages;
mod petitions;
mod sign_in;
