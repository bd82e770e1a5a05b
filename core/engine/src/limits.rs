//! Every limit of the core in one place: named, with its unit and the reason for its size.
//!
//! A limit is tested at its value and one past it, where it is enforced.

/// Largest change chunk the gate reads, in bytes, header included.
///
/// A petition's creation is about 1 KiB and an event 150 B; the longest text the app lets a
/// person write is far below. Larger things are blobs, named by hash.
pub const CHANGE_BYTES: usize = 256 * 1024;

/// Most operations of one change.
///
/// Counted by summing the runs of every column *before* any of them is expanded: run-length
/// encoding lets 113 bytes stand for ten million operations.
pub const CHANGE_OPS: usize = 10_000;

/// Most dependencies of one change. The relay joins heads above 16, so an honest change names
/// far fewer.
pub const CHANGE_DEPS: usize = 64;

/// Largest counter the first operation of a change may have.
///
/// Automerge keeps counters in 32 bits and panics when they run out. A document is capped at
/// 20,000 operations, so 2^20 leaves room for every honest one and for nobody to spend the rest.
pub const MAX_START_OP: u64 = 1 << 20;

/// Largest sequence number of an actor within one document.
pub const MAX_SEQ: u64 = 1 << 20;

/// Furthest that a change's time may be from 1970, in whatever unit its author counts.
///
/// Ours are 0. A document keeps the differences of times: those of honest ones fit 64 bits many times
/// over, and two at the ends of the range made a document that could not be loaded again.
pub const MAX_TIME: u64 = 1 << 53;

/// Length of every actor id in bytes, exactly: the device key's tag (6) and a counter (2).
pub const ACTOR_BYTES: usize = 8;

/// Most actors one change may name beside its own: the cap of actors per document.
pub const OTHER_ACTORS: usize = 256;

/// Longest map key, mark name or message of a change in bytes.
///
/// A run repeats one string for many operations or changes, so without this limit a change of 256 KiB,
/// or a document of many changes, would expand to gigabytes of strings.
pub const KEY_BYTES: usize = 256;

/// Longest frame of a session, bytes. Design §9.
pub const FRAME_BYTES: usize = 1 << 20;

/// Most operations in a document.
pub const DOC_OPS: u64 = 20_000;

/// Longest summary row that a device takes from outside, bytes: a title and three lines of a street at
/// [`TEXT_BYTES`] each, and as much again of names. A longer one is derived from its document.
pub const SUMMARY_BYTES: usize = 128 << 10;

/// Most changes in a document.
pub const DOC_CHANGES: usize = 2_000;

/// Largest saved document, bytes. Packs, enters and wholes bring none that is larger.
pub const DOC_BYTES: usize = 512 << 10;

/// Most actors in a document.
pub const DOC_ACTORS: usize = 256;

/// Into how many parts the caps of a petition are divided: one device may take one of them, so that
/// nobody can fill a petition for all the others. A call centre's busiest desk stays far below.
pub const AUTHOR_SHARE: usize = 4;

/// Most operations of one device in a petition.
pub const AUTHOR_OPS: u64 = DOC_OPS / AUTHOR_SHARE as u64;

/// Most changes of one device in a petition.
pub const AUTHOR_CHANGES: usize = DOC_CHANGES / AUTHOR_SHARE;

/// Most bytes of changes of one device in a petition.
pub const AUTHOR_BYTES: usize = DOC_BYTES / AUTHOR_SHARE;

/// Most actors of one device in a petition: each replay and each life of its store takes one.
pub const AUTHOR_ACTORS: usize = DOC_ACTORS / AUTHOR_SHARE;

/// Most heads that a document keeps: above them they are joined by a change without operations.
pub const JOIN_HEADS: usize = 16;

/// Longest text a person may write into one field, bytes of UTF-8.
pub const TEXT_BYTES: usize = 16 << 10;

/// Longest record (an event, a comment…), bytes.
pub const RECORD_BYTES: usize = 20 << 10;

/// Largest segment of a pack on the wire, bytes.
pub const SEGMENT_BYTES: usize = 64 << 10;

/// Largest segment once inflated, bytes: a bomb is refused before it is inflated whole.
pub const SEGMENT_INFLATED: usize = 1 << 20;

/// Most documents that a device asks for at once while it repairs a scope.
pub const MEND_DOCS: usize = 512;

/// Most receipts in one frame of a recovery.
pub const RECEIPTS: usize = 64;

/// Most changes in one frame of what a device waits for no more.
pub const FORSAKEN: usize = 64;

/// Most documents in one frame of what a device vouches for.
pub const VOUCHED_DOCS: usize = 1_024;
