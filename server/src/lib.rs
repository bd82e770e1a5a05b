//! The relay: takes in, orders and signs a city's petitions, and serves its console

pub mod gate;
