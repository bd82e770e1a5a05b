//! Durable SQLite storage for the engine's replicas
#![forbid(unsafe_code)]
