//! Durable SQLite storage for the engine's replicas
