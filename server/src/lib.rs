//! The relay: takes in, orders and signs a city's petitions, and serves its console.
//!
//! This part is the shell around the relay core. The core hands in a [`desk::Desk`]
//! (what an operator sees and does) and a router for devices; [`serve::run`] gives them
//! listeners, TLS under the city's own root ([`tls`]), sign-in ([`auth`]), the console's
//! JSON and event streams ([`http`]), health, metrics and an orderly end. One typed
//! [`config::Config`] bounds all of it.
#![forbid(unsafe_code)]

pub mod admin;
mod admission;
pub mod auth;
pub mod backup;
pub mod city;
pub mod clock;
pub mod config;
mod days;
pub mod desk;
pub mod gate;
pub mod http;
pub mod logging;
pub mod metrics;
pub mod phone;
pub mod progress;
pub mod relay;
pub mod serve;
pub mod storage;
pub mod strings;
pub mod tls;
mod vault;
