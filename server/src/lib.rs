//! The relay: takes in, orders and signs a city's petitions, and serves its console.
#![forbid(unsafe_code)]

pub mod storage;
