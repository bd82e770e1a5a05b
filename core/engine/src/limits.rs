//! Every limit of the engine in one place, with its unit and its reason.

/// Longest frame of a session, bytes. Design §9.
pub const FRAME_BYTES: usize = 1 << 20;
/// Longest change, bytes. Design §5.
pub const CHANGE_BYTES: usize = 256 << 10;
/// Most operations in a change, counted by summing runs before anything is expanded.
pub const CHANGE_OPS: usize = 10_000;
/// Most dependencies of a change.
pub const CHANGE_DEPS: usize = 64;
/// Most operations in a document.
pub const DOC_OPS: u64 = 20_000;
/// Most changes in a document.
pub const DOC_CHANGES: usize = 2_000;
/// Largest saved document, bytes.
pub const DOC_BYTES: usize = 512 << 10;
/// Most actors in a document.
pub const DOC_ACTORS: usize = 256;
/// Longest text a person may write into one field, bytes of UTF-8.
pub const TEXT_BYTES: usize = 16 << 10;
/// Longest record (an event, a comment…), bytes.
pub const RECORD_BYTES: usize = 20 << 10;
/// Largest segment of a pack on the wire, bytes.
pub const SEGMENT_BYTES: usize = 64 << 10;
/// Largest segment once inflated, bytes: a bomb is refused before it is inflated whole.
pub const SEGMENT_INFLATED: usize = 1 << 20;
