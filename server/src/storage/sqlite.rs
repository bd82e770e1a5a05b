//! SQLite backend (one writer, group commit).
