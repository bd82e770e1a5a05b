//! What a device gives back to a city that was put back from a backup.
//!
//! Nothing is believed that the city did not sign: receipts say what became of envelopes, and a digest says
//! that all of a scope was in the log. Whoever brings a change, it is taken only when it is an ancestor of
//! a head that is so proven.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use minicbor::bytes::ByteVec;

use super::session::{Ask, SessionError};
use crate::digest::{SetHash, SignedDigest};
use crate::gate::chunk;
use crate::ids::{DocId, Hash};
use crate::limits::{RECEIPTS, VOUCHED_DOCS};
use crate::wire::{Down, Up, Vouched};

/// Most documents that a device vouches for in a scope, and most that are known to be lacking.
const VOUCHED_IN_ALL: usize = 1 << 18;
/// Documents asked for at a time.
const ASKED_AT_ONCE: usize = 32;

/// What one session's device gives back.
#[derive(Debug, Default)]
pub(super) struct TakingBack {
    /// What it vouches for, as far as it has come.
    vouched: Vec<Vouched>,
    /// The digest of that.
    set: SetHash,
    /// Proven heads of documents that we lack.
    proven: BTreeMap<DocId, Vec<Hash>>,
    /// Those of them still to be asked for.
    due: VecDeque<DocId>,
    /// Those asked for and not given yet.
    asked: BTreeSet<DocId>,
}

impl TakingBack {
    /// Reads a frame of a recovery; others are passed over.
    pub(super) fn take(&mut self, frame: Up) -> Result<(Ask, Option<Down>), SessionError> {
        match frame {
            Up::Receipts { receipts } if receipts.len() <= RECEIPTS => {
                Ok((Ask::Receipts(receipts), None))
            }
            Up::Receipts { .. } => Err(SessionError::Malformed),
            Up::Vouch { digest, docs, last } => Ok((self.vouch(digest, docs, last)?, None)),
            Up::GiveBack {
                doc,
                changes,
                folio,
            } => Ok((self.given(doc, changes, folio), None)),
            _ => Ok((Ask::Nothing, None)),
        }
    }

    /// Gathers what the device vouches for.
    fn vouch(
        &mut self,
        digest: SignedDigest,
        docs: Vec<Vouched>,
        last: bool,
    ) -> Result<Ask, SessionError> {
        if docs.len() > VOUCHED_DOCS {
            return Err(SessionError::Malformed);
        }
        if self.vouched.len() + docs.len() > VOUCHED_IN_ALL {
            return Err(SessionError::TooMuch);
        }
        for Vouched { doc, heads } in &docs {
            self.set.add(doc, heads);
        }
        self.vouched.extend(docs);
        if !last {
            return Ok(Ask::Nothing);
        }
        Ok(Ask::Vouched {
            digest,
            of: std::mem::take(&mut self.set).digest(),
            docs: std::mem::take(&mut self.vouched),
        })
    }

    /// Notes what is lacking, and gives what to send now.
    pub(super) fn lacks(&mut self, docs: Vec<Vouched>) -> Option<Down> {
        for Vouched { doc, heads } in docs {
            if self.proven.len() >= VOUCHED_IN_ALL {
                break;
            }
            let known = self.proven.entry(doc).or_default();
            let fresh: Vec<Hash> = heads.into_iter().filter(|h| !known.contains(h)).collect();
            if !fresh.is_empty() {
                known.extend(fresh);
                self.due.push_back(doc);
            }
        }
        self.next()
    }

    fn given(&mut self, doc: DocId, changes: Vec<ByteVec>, folio: Option<u64>) -> Ask {
        if !self.asked.remove(&doc) {
            return Ask::Nothing;
        }
        let heads = self.proven.get(&doc).map_or(&[][..], Vec::as_slice);
        Ask::TakeBack {
            doc,
            changes: below(heads, changes),
            folio,
        }
    }

    /// The next documents to ask for, once those before have been taken; none of them says that this was all.
    pub(super) fn next(&mut self) -> Option<Down> {
        if !self.asked.is_empty() {
            return None;
        }
        let many = self.due.len().min(ASKED_AT_ONCE);
        let docs: Vec<DocId> = self.due.drain(..many).collect();
        self.asked.extend(&docs);
        Some(Down::Lacks { docs })
    }
}

/// Those of the changes that are these heads or below them, in the order given.
fn below(heads: &[Hash], changes: Vec<ByteVec>) -> Vec<ByteVec> {
    let read = |raw: ByteVec| {
        let change = chunk::decode_change(&raw).ok()?;
        Some((Hash(change.hash), change.deps, raw))
    };
    let read: Vec<_> = changes.into_iter().filter_map(read).collect();
    let deps: BTreeMap<Hash, &Vec<[u8; 32]>> =
        read.iter().map(|(hash, deps, _)| (*hash, deps)).collect();
    let mut proven = BTreeSet::new();
    let mut due: Vec<Hash> = heads.to_vec();
    while let Some(hash) = due.pop() {
        if let Some(deps) = deps.get(&hash).filter(|_| proven.insert(hash)) {
            due.extend(deps.iter().copied().map(Hash));
        }
    }
    let kept = read.into_iter().filter(|(hash, ..)| proven.contains(hash));
    kept.map(|(_, _, raw)| raw).collect()
}
