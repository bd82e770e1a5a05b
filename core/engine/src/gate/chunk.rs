//! A bounded decoder of Automerge *change* chunks.
//!
//! ```text
//! 85 6f 4a 83 ‖ checksum (4) ‖ type (1) ‖ uleb(len) ‖ body
//! body = deps ‖ actor ‖ seq ‖ start_op ‖ time ‖ message ‖ other actors ‖ columns
//! ```
//!
//! [`decode_change`] takes any bytes whatever, never panics, and allocates in proportion to the
//! input and to [`crate::limits`] only. It accepts a change chunk in its one canonical encoding
//! and names the reason for everything else. What it cannot know without the document — whether
//! the dependencies exist, whether an object is a list — is for whoever applies the change.

use std::collections::BTreeSet;
use std::fmt;

use sha2::{Digest, Sha256};

use super::columns::Directory;
use super::ops;
use super::reader::{Cursor, ReadError};
use crate::limits::{
    ACTOR_BYTES, CHANGE_BYTES, CHANGE_DEPS, KEY_BYTES, MAX_SEQ, MAX_START_OP, MAX_TIME,
    OTHER_ACTORS,
};

/// The four bytes every chunk begins with.
pub const MAGIC: [u8; 4] = [0x85, 0x6f, 0x4a, 0x83];

/// The chunk type of a document.
pub const DOCUMENT_TYPE: u8 = 0;

/// The chunk type of a change.
pub const CHANGE_TYPE: u8 = 1;

/// An actor's id.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ActorBytes([u8; ACTOR_BYTES]);

impl ActorBytes {
    /// Its bytes: the tag of the device's key (6) and a counter (2).
    pub const fn as_bytes(&self) -> &[u8; ACTOR_BYTES] {
        &self.0
    }
}

impl From<[u8; ACTOR_BYTES]> for ActorBytes {
    fn from(bytes: [u8; ACTOR_BYTES]) -> Self {
        Self(bytes)
    }
}

impl TryFrom<&[u8]> for ActorBytes {
    type Error = ChunkError;

    /// # Errors
    /// [`ChunkError::BadActor`] when the length is not [`ACTOR_BYTES`].
    fn try_from(bytes: &[u8]) -> Result<Self, ChunkError> {
        bytes.try_into().map(Self).map_err(|_| ChunkError::BadActor)
    }
}

impl AsRef<[u8]> for ActorBytes {
    fn as_ref(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Debug for ActorBytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

/// The id of an operation. Ordered as Automerge orders them: by counter, then by actor.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct OpId {
    /// Its Lamport counter, at least 1.
    pub counter: u64,
    /// Who made it.
    pub actor: ActorBytes,
}

/// The object an operation works on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Obj {
    /// The root map of the document.
    Root,
    /// The object made by this operation.
    Id(OpId),
}

/// The place within the object.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Key {
    /// A key of a map, at most [`crate::limits::KEY_BYTES`] long.
    Map(String),
    /// The beginning of a sequence; only insertions have it.
    Head,
    /// An element of a sequence, or, for an insertion, the one before it.
    Elem(OpId),
}

/// A scalar.
#[derive(Debug, Clone, PartialEq)]
pub enum Value {
    /// Nothing.
    Null,
    /// True or false.
    Bool(bool),
    /// An unsigned number.
    Uint(u64),
    /// A signed number.
    Int(i64),
    /// A floating point number, any bit pattern.
    F64(f64),
    /// A text.
    Str(String),
    /// Bytes.
    Bytes(Vec<u8>),
    /// The start of a counter.
    Counter(i64),
    /// Milliseconds since 1970 UTC.
    Timestamp(i64),
    /// A type which this version does not know.
    Unknown {
        /// Its code, 10 to 15.
        code: u8,
        /// Its bytes as they are.
        bytes: Vec<u8>,
    },
}

/// What an operation does.
#[derive(Debug, Clone, PartialEq)]
pub enum Action {
    /// Makes a map.
    MakeMap,
    /// Makes a list.
    MakeList,
    /// Makes a text object.
    MakeText,
    /// Makes a table, an old name for a map.
    MakeTable,
    /// Puts a scalar.
    Put(Value),
    /// Deletes what its predecessors put.
    Delete,
    /// Adds to the counters its predecessors put.
    Increment(i64),
    /// Begins or ends a mark on a range of text; its name and value are checked and dropped.
    Mark,
}

/// One operation.
#[derive(Debug, Clone, PartialEq)]
pub struct Op {
    /// Its own id.
    pub id: OpId,
    /// The object it works on.
    pub obj: Obj,
    /// The place within that object.
    pub key: Key,
    /// Whether it inserts into a sequence after `key`.
    pub insert: bool,
    /// What it does.
    pub action: Action,
    /// The operations it overwrites, ascending, without repetition.
    pub pred: Vec<OpId>,
}

/// A change, decoded.
#[derive(Debug, Clone, PartialEq)]
pub struct DecodedChange {
    /// Automerge's hash of the change.
    pub hash: [u8; 32],
    /// The changes it was made on top of, ascending, without repetition.
    pub deps: Vec<[u8; 32]>,
    /// Who made it.
    pub actor: ActorBytes,
    /// Which of its actor's changes to this document it is, counted from 1.
    pub seq: u64,
    /// The counter of its first operation, at least 1.
    pub start_op: u64,
    /// The author's claim of when, in the unit the author chose.
    pub time: i64,
    /// A note of the author.
    pub message: Option<String>,
    /// Its operations in order.
    pub ops: Vec<Op>,
}

impl DecodedChange {
    /// Whether it only makes maps and puts values under their keys, each once. Nothing else is in any
    /// document of a city, and all that Automerge is known to break on needs something else.
    pub fn is_plain(&self) -> bool {
        let plain = self.ops.iter().all(|op| {
            let plain = matches!(op.action, Action::MakeMap | Action::Put(_));
            plain && !op.insert && matches!(op.key, Key::Map(_))
        });
        plain && self.written_twice().is_none()
    }

    /// An operation on a key which another operation of this change is on.
    ///
    /// Two values put there would stand beside each other as if two people had written them, and
    /// hundreds, each overwritten by hundreds of the next change, would be a document of few bytes that
    /// takes every replica's memory.
    pub fn written_twice(&self) -> Option<&Op> {
        let mut seen = BTreeSet::new();
        self.ops.iter().find(|op| !seen.insert((op.obj, &op.key)))
    }
}

/// The columns of operations, of a change or of a document, and those of a document's changes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Column {
    /// Actor of the object's id.
    ObjActor,
    /// Counter of the object's id.
    ObjCounter,
    /// Actor of the element's id.
    KeyActor,
    /// Counter of the element's id.
    KeyCounter,
    /// Key in a map.
    KeyString,
    /// Whether it inserts.
    Insert,
    /// Which action.
    Action,
    /// Type and length of the value.
    ValueMeta,
    /// The values one after another.
    ValueRaw,
    /// How many predecessors.
    PredCount,
    /// Actors of the predecessors' ids.
    PredActor,
    /// Counters of the predecessors' ids.
    PredCounter,
    /// Whether a mark grows at its edges.
    Expand,
    /// Name of a mark.
    MarkName,
    /// Actor of an operation's own id.
    IdActor,
    /// Counter of an operation's own id.
    IdCounter,
    /// How many operations overwrite it.
    SuccCount,
    /// Actors of the ids of those that overwrite it.
    SuccActor,
    /// Counters of the ids of those that overwrite it.
    SuccCounter,
    /// Actor of a change.
    Author,
    /// Sequence number of a change.
    Seq,
    /// Counter of a change's last operation.
    MaxOp,
    /// Time of a change.
    Time,
    /// Message of a change.
    Message,
    /// How many dependencies a change has.
    DepCount,
    /// Which changes those are.
    Dep,
    /// Type and length of a change's extra bytes.
    ExtraMeta,
    /// Extra bytes of changes.
    ExtraRaw,
}

/// Why the gate does not let a chunk in. Final for those bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, thiserror::Error)]
#[non_exhaustive]
pub enum ChunkError {
    /// The bytes do not begin as a chunk does.
    #[error("not an automerge chunk")]
    BadMagic,
    /// A chunk of another type than asked for: a document (0), a change (1), a compressed change (2), a
    /// bundle (3) or an unknown one.
    #[error("unexpected chunk of type {found}")]
    WrongType {
        /// The type found.
        found: u8,
    },
    /// Longer than any chunk of its type may be.
    #[error("chunk of {len} bytes is too large")]
    TooLarge {
        /// Its length in bytes.
        len: usize,
    },
    /// The bytes end before what they announce.
    #[error("chunk ends too early")]
    Truncated,
    /// There are bytes after the chunk, or after its last column.
    #[error("bytes after the end of the chunk")]
    TrailingBytes,
    /// The checksum is not that of the content.
    #[error("wrong checksum")]
    BadChecksum,
    /// A number is written longer than it needs to be or does not fit 64 bits.
    #[error("badly written number")]
    BadNumber,
    /// More than [`CHANGE_DEPS`] dependencies.
    #[error("too many dependencies")]
    TooManyDeps,
    /// Dependencies not in ascending order, or repeated.
    #[error("dependencies out of order")]
    DepsOutOfOrder,
    /// More actors than a change or a document may have.
    #[error("too many actors")]
    TooManyActors,
    /// An actor's id is not [`ACTOR_BYTES`] long, out of order, repeated, or never used.
    #[error("bad actor")]
    BadActor,
    /// The sequence number is 0 or above [`MAX_SEQ`].
    #[error("sequence number out of range")]
    SeqOutOfRange,
    /// The first operation's counter is 0 or above [`MAX_START_OP`].
    #[error("first operation's counter out of range")]
    StartOpOutOfRange,
    /// The time is further than [`MAX_TIME`] from 1970.
    #[error("time out of range")]
    TimeOutOfRange,
    /// More operations, or predecessors of them, than a change or a document may have.
    #[error("too many operations")]
    TooManyOps,
    /// More changes than a document may have.
    #[error("too many changes")]
    TooManyChanges,
    /// The heads are out of order, or are not the changes which no other depends on.
    #[error("bad heads")]
    BadHeads,
    /// A change of a document contradicts those before it, or has what no change may have.
    #[error("change {row} does not follow from those before it")]
    BadChange {
        /// The change, counted from 0.
        row: usize,
    },
    /// A column which a change does not have.
    #[error("unknown column {spec}")]
    UnknownColumn {
        /// Its specification.
        spec: u64,
    },
    /// A column which is compressed by itself.
    #[error("compressed column {spec}")]
    CompressedColumn {
        /// Its specification.
        spec: u64,
    },
    /// Columns not in ascending order, or repeated.
    #[error("columns out of order")]
    ColumnsOutOfOrder,
    /// A column is not encoded canonically or does not have as many rows as the others.
    #[error("bad column {column:?}")]
    BadColumn {
        /// Which one.
        column: Column,
    },
    /// A text is not UTF-8.
    #[error("text is not utf-8")]
    BadUtf8,
    /// A map key, a mark's name or a message is longer than [`KEY_BYTES`].
    #[error("string is too long")]
    StringTooLong,
    /// An id names an actor which is not listed.
    #[error("actor index out of range in column {column:?}")]
    ActorOutOfRange {
        /// The column that names it.
        column: Column,
    },
    /// An operation refers to the counter 0, to itself or to a later one, or its predecessors
    /// are out of order or repeated.
    #[error("bad reference in column {column:?}")]
    BadReference {
        /// The column that holds it.
        column: Column,
    },
    /// A value does not have the length or form of its type.
    #[error("bad value in operation {row}")]
    BadValue {
        /// The operation, counted from 0.
        row: usize,
    },
    /// An action which Automerge does not have.
    #[error("unknown action {action}")]
    UnknownAction {
        /// Its number.
        action: u64,
    },
    /// The parts of an operation do not belong together, as a deletion that inserts.
    #[error("operation {row} contradicts itself")]
    BadOp {
        /// The operation, counted from 0.
        row: usize,
    },
}

impl From<ReadError> for ChunkError {
    fn from(error: ReadError) -> Self {
        match error {
            ReadError::End => ChunkError::Truncated,
            ReadError::BadNumber => ChunkError::BadNumber,
        }
    }
}

/// Decodes one change chunk, the whole of `raw`.
///
/// # Errors
/// The first reason found, in the order of the bytes; see [`ChunkError`].
pub fn decode_change(raw: &[u8]) -> Result<DecodedChange, ChunkError> {
    let (hash, body) = open_chunk(raw, CHANGE_TYPE, CHANGE_BYTES)?;
    let mut body = Cursor::new(body);
    let deps = read_deps(&mut body)?;
    let actor = ActorBytes::try_from(body.prefixed()?)?;
    let seq = read_in_range(&mut body, MAX_SEQ, ChunkError::SeqOutOfRange)?;
    let start_op = read_in_range(&mut body, MAX_START_OP, ChunkError::StartOpOutOfRange)?;
    let time = check_time(body.signed()?)?;
    let message = read_message(&mut body)?;
    let actors = read_actors(&mut body, actor)?;
    let columns = Directory::read(&mut body, &ops::LAYOUT)?.data(&mut body)?;
    if !body.is_empty() {
        return Err(ChunkError::TrailingBytes);
    }
    let ops = ops::decode(&columns, &actors, start_op)?;
    Ok(DecodedChange {
        hash,
        deps,
        actor,
        seq,
        start_op,
        time,
        message,
        ops,
    })
}

/// Checks everything around the body. The type comes first, so that a bomb is refused by name
/// whatever its size, and no byte is hashed before the size is known to be small.
pub(super) fn open_chunk(
    raw: &[u8],
    wanted: u8,
    max: usize,
) -> Result<([u8; 32], &[u8]), ChunkError> {
    let known = raw.len().min(MAGIC.len());
    if raw[..known] != MAGIC[..known] {
        return Err(ChunkError::BadMagic);
    }
    let mut header = Cursor::new(raw);
    header.array::<4>()?;
    let checksum = header.array::<4>()?;
    let found = header.byte()?;
    if found != wanted {
        return Err(ChunkError::WrongType { found });
    }
    if raw.len() > max {
        return Err(ChunkError::TooLarge { len: raw.len() });
    }
    let body = header.prefixed()?;
    if !header.is_empty() {
        return Err(ChunkError::TrailingBytes);
    }
    let hash = hash_after_checksum(raw);
    if hash[..4] != checksum {
        return Err(ChunkError::BadChecksum);
    }
    Ok((hash, body))
}

/// The hash covers type, length and body: all that follows magic and checksum.
fn hash_after_checksum(raw: &[u8]) -> [u8; 32] {
    let hashed = raw.get(8..).unwrap_or_default();
    Sha256::digest(hashed).into()
}

fn read_deps(body: &mut Cursor<'_>) -> Result<Vec<[u8; 32]>, ChunkError> {
    let (too_many, disorder) = (ChunkError::TooManyDeps, ChunkError::DepsOutOfOrder);
    read_hashes(body, CHANGE_DEPS, too_many, disorder)
}

/// Hashes after their count, at most `max`, in ascending order.
pub(super) fn read_hashes(
    body: &mut Cursor<'_>,
    max: usize,
    too_many: ChunkError,
    disorder: ChunkError,
) -> Result<Vec<[u8; 32]>, ChunkError> {
    let count = bounded(body.unsigned()?, max, too_many)?;
    let hashes = (0..count)
        .map(|_| body.array::<32>())
        .collect::<Result<Vec<_>, _>>()?;
    match hashes.is_sorted_by(|a, b| a < b) {
        true => Ok(hashes),
        false => Err(disorder),
    }
}

fn read_in_range(body: &mut Cursor<'_>, max: u64, error: ChunkError) -> Result<u64, ChunkError> {
    let number = body.unsigned()?;
    if (1..=max).contains(&number) {
        Ok(number)
    } else {
        Err(error)
    }
}

/// Checks a time. Documents keep the differences of times, and Automerge does not look whether such a
/// difference can be written.
pub(super) fn check_time(time: i64) -> Result<i64, ChunkError> {
    if time.unsigned_abs() > MAX_TIME {
        return Err(ChunkError::TimeOutOfRange);
    }
    Ok(time)
}

fn read_message(body: &mut Cursor<'_>) -> Result<Option<String>, ChunkError> {
    let bytes = body.prefixed()?;
    if bytes.len() > KEY_BYTES {
        return Err(ChunkError::StringTooLong);
    }
    let message = std::str::from_utf8(bytes).map_err(|_| ChunkError::BadUtf8)?;
    Ok((!message.is_empty()).then(|| message.to_owned()))
}

/// The change's own actor, index 0, and then the others in ascending order.
fn read_actors(body: &mut Cursor<'_>, own: ActorBytes) -> Result<Vec<ActorBytes>, ChunkError> {
    let count = bounded(body.unsigned()?, OTHER_ACTORS, ChunkError::TooManyActors)?;
    let mut actors = vec![own];
    for _ in 0..count {
        actors.push(ActorBytes::try_from(body.prefixed()?)?);
    }
    let others = &actors[1..];
    if others.contains(&own) || !others.is_sorted_by(|a, b| a < b) {
        return Err(ChunkError::BadActor);
    }
    Ok(actors)
}

/// A count, at most `max`.
pub(super) fn bounded(count: u64, max: usize, error: ChunkError) -> Result<usize, ChunkError> {
    usize::try_from(count)
        .ok()
        .filter(|count| *count <= max)
        .ok_or(error)
}
