//! Members of a set: a document with its version, sorted by document.

use minicbor::bytes::ByteVec;

use super::range::ReconcileError;
use crate::ids::{DocId, Hash};

/// Bytes of a member on the wire: document (16), version (16).
pub const MEMBER_BYTES: usize = 32;

/// Bytes of a fingerprint or a version: 128 bits of a hash, so that a pair that meets costs 2⁶⁴ tries,
/// and the scope's digest of 256 bits would still show it.
const SHORT: usize = 16;

/// The version of a document: 128 bits of a hash of its heads.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Version(pub [u8; SHORT]);

impl Version {
    /// The version with these heads, in any order.
    pub fn of(heads: &[Hash]) -> Self {
        let mut sorted = heads.to_vec();
        sorted.sort_unstable();
        let mut hasher = blake3::Hasher::new();
        hasher.update(b"manzana/version/1");
        for head in &sorted {
            hasher.update(head.as_bytes());
        }
        Self(short(&hasher))
    }

    /// Reads a stored version; `None` when it has another length.
    pub fn from_slice(bytes: &[u8]) -> Option<Self> {
        bytes.try_into().ok().map(Self)
    }
}

/// A document with its version.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Member {
    /// The document.
    pub doc: DocId,
    /// Its version.
    pub version: Version,
}

/// The members of a scope, sorted by document, each once.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Members(Vec<Member>);

impl From<Vec<Member>> for Members {
    fn from(mut members: Vec<Member>) -> Self {
        members.sort_unstable();
        members.dedup_by(|later, first| later.doc == first.doc);
        Self(members)
    }
}

impl Members {
    /// All of them.
    pub fn all(&self) -> &[Member] {
        &self.0
    }

    /// How many.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Those from one bound up to another; no bytes as the second mean all the rest.
    pub(super) fn between(&self, from: &[u8], upto: &[u8]) -> &[Member] {
        let below = |bound: &[u8]| {
            self.0
                .partition_point(|member| member.doc.as_bytes().as_slice() < bound)
        };
        let end = if upto.is_empty() {
            self.0.len()
        } else {
            below(upto)
        };
        // Ids are longer than any shorter bound that they begin with, and so come after it.
        self.0.get(below(from)..end).unwrap_or_default()
    }
}

/// The fingerprint of some members.
pub(super) fn sum(members: &[Member]) -> [u8; SHORT] {
    let mut hasher = blake3::Hasher::new();
    hasher.update(b"manzana/range/1");
    for member in members {
        hasher.update(member.doc.as_bytes());
        hasher.update(&member.version.0);
    }
    short(&hasher)
}

fn short(hasher: &blake3::Hasher) -> [u8; SHORT] {
    let mut bytes = [0; SHORT];
    hasher.finalize_xof().fill(&mut bytes);
    bytes
}

pub(super) fn encode_members(members: &[Member]) -> ByteVec {
    let mut bytes = Vec::with_capacity(members.len() * MEMBER_BYTES);
    for member in members {
        bytes.extend_from_slice(member.doc.as_bytes());
        bytes.extend_from_slice(&member.version.0);
    }
    bytes.into()
}

/// Reads members; sorted and each once, or it is an error.
pub(super) fn decode_members(bytes: &[u8]) -> Result<Vec<Member>, ReconcileError> {
    let (chunks, rest) = bytes.as_chunks::<MEMBER_BYTES>();
    if !rest.is_empty() {
        return Err(ReconcileError::BadList);
    }
    let read = |chunk: &[u8; MEMBER_BYTES]| {
        let (doc, version) = chunk.split_at(SHORT);
        Some(Member {
            doc: DocId::from_slice(doc).ok()?,
            version: Version::from_slice(version)?,
        })
    };
    let members: Vec<Member> = chunks.iter().filter_map(read).collect();
    match members.is_sorted_by(|a, b| a.doc < b.doc) {
        true => Ok(members),
        false => Err(ReconcileError::BadList),
    }
}

/// Reads documents; sorted and each once, or it is an error.
pub(super) fn decode_docs(bytes: &[u8]) -> Result<Vec<DocId>, ReconcileError> {
    let (chunks, rest) = bytes.as_chunks::<SHORT>();
    let docs: Vec<DocId> = chunks.iter().copied().map(DocId).collect();
    match rest.is_empty() && docs.is_sorted_by(|a, b| a < b) {
        true => Ok(docs),
        false => Err(ReconcileError::BadList),
    }
}
