//! The pure core of Manzana: documents, state, policy, envelopes and sync machines, without any IO.
//!
//! Time and randomness are arguments, effects are values, and nothing here reads a clock, a socket or
//! a random source. Read in this order: [`ids`] and [`record`] (what a petition is made of), [`fold`]
//! (its state), [`envelope`] and [`answer`] (a device's log and what the relay says to it), [`policy`]
//! and [`gate`] (what is let in), [`wire`] (what travels), [`replica`] and [`relay`] (the two ends).
#![forbid(unsafe_code)]

pub mod answer;
pub mod codec;
pub mod digest;
pub mod document;
pub mod envelope;
pub mod epoch;
pub mod fold;
pub mod gate;
pub mod grant;
pub mod ids;
pub mod intent;
pub mod keys;
pub mod limits;
pub mod policy;
pub mod reconcile;
pub mod record;
pub mod relay;
pub mod replica;
pub mod seal;
pub mod summary;
pub mod wire;
