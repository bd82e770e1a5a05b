//! Durable SQLite storage: the rules that both ends share.
//!
//! [`sqlite`] opens and migrates any of our databases; the relay's embedded backend uses it too.
#![forbid(unsafe_code)]

pub mod sqlite;
