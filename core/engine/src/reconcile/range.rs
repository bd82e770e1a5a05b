//! Ranges of document ids, as messages carry them.

use minicbor::bytes::ByteVec;
use minicbor::{Decode, Encode};

use super::members::{MEMBER_BYTES, decode_docs, decode_members};
use super::{MESSAGE_BYTES, MESSAGE_RANGES};
use crate::ids::DocId;

/// A range begins where the one before it ends (the first one at the least id) and ends before `upto`:
/// the first bytes of an id, as few as tell, or none for the end of the space.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
#[cbor(flat)]
#[non_exhaustive]
pub enum Range {
    /// Nothing to be said: the same, or told already.
    #[n(0)]
    Same {
        /// Its end.
        #[n(0)]
        upto: ByteVec,
    },
    /// The fingerprint of the members: say where you differ.
    #[n(1)]
    Sum {
        /// Its end.
        #[n(0)]
        upto: ByteVec,
        /// 16 bytes of BLAKE3("manzana/range/1" ‖ members).
        #[cbor(n(1), with = "minicbor::bytes")]
        sum: [u8; 16],
    },
    /// All members: tell what differs.
    #[n(2)]
    List {
        /// Its end.
        #[n(0)]
        upto: ByteVec,
        /// Document (16) ‖ version (16) of each, sorted.
        #[n(1)]
        members: ByteVec,
    },
    /// The answer to a list; nothing more is to be said about the range.
    #[n(3)]
    Told {
        /// Its end.
        #[n(0)]
        upto: ByteVec,
        /// Members that the list lacked or had in another version, as in a list.
        #[n(1)]
        members: ByteVec,
        /// Documents of the list that are not here (16 each), sorted.
        #[n(2)]
        lacks: ByteVec,
    },
}

/// A message that no honest end sends.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ReconcileError {
    /// The ranges do not ascend, go on after the end, or have a bound longer than an id.
    #[error("the ranges do not ascend")]
    BadBound,
    /// More ranges or members than a message has room for.
    #[error("the message is too large")]
    TooLarge,
    /// A list that is not sorted, not whole, or leaves its range.
    #[error("a list is not one of its range")]
    BadList,
}

impl Range {
    /// Where it ends.
    pub fn upto(&self) -> &[u8] {
        match self {
            Self::Same { upto }
            | Self::Sum { upto, .. }
            | Self::List { upto, .. }
            | Self::Told { upto, .. } => upto,
        }
    }

    /// About how many bytes it takes on the wire.
    pub(super) fn bytes(&self) -> usize {
        let content = match self {
            Self::Same { .. } => 0,
            Self::Sum { sum, .. } => 1 + sum.len(),
            Self::List { members, .. } => 3 + members.len(),
            Self::Told { members, lacks, .. } => 6 + members.len() + lacks.len(),
        };
        3 + self.upto().len() + content
    }
}

/// The shortest bound above `low` that is not above `high`.
pub(super) fn bound_between(low: &DocId, high: &DocId) -> ByteVec {
    let (low, high) = (low.as_bytes(), high.as_bytes());
    let common = low.iter().zip(high).take_while(|(a, b)| a == b).count();
    high.iter()
        .take(common + 1)
        .copied()
        .collect::<Vec<_>>()
        .into()
}

/// Checks the shape of a whole message, before anything is made of it.
pub(super) fn check(message: &[Range]) -> Result<(), ReconcileError> {
    if message.len() > MESSAGE_RANGES {
        return Err(ReconcileError::TooLarge);
    }
    let mut from: &[u8] = &[];
    let mut ended = false;
    let mut members = 0;
    for range in message {
        let upto = range.upto();
        let ascends = upto.is_empty() || upto > from;
        if ended || !ascends || upto.len() > size_of::<DocId>() {
            return Err(ReconcileError::BadBound);
        }
        members += check_lists(range, from, upto)?;
        ended = upto.is_empty();
        from = upto;
    }
    // A message of ours stays within `MESSAGE_BYTES` and one more list.
    if members * MEMBER_BYTES > 2 * MESSAGE_BYTES {
        return Err(ReconcileError::TooLarge);
    }
    Ok(())
}

fn check_lists(range: &Range, from: &[u8], upto: &[u8]) -> Result<usize, ReconcileError> {
    let inside = |doc: &DocId| {
        let doc = doc.as_bytes().as_slice();
        doc >= from && (upto.is_empty() || doc < upto)
    };
    let (members, lacks) = match range {
        Range::List { members, .. } => (decode_members(members)?, Vec::new()),
        Range::Told { members, lacks, .. } => (decode_members(members)?, decode_docs(lacks)?),
        _ => return Ok(0),
    };
    let mut docs = members.iter().map(|m| &m.doc).chain(&lacks);
    if !docs.all(inside) {
        return Err(ReconcileError::BadList);
    }
    Ok(members.len() + lacks.len())
}
