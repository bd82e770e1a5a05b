//! The device's end: two layers of every document, the outbox, and the sync machine.
//!
//! A [`Replica`] owns the state of one device and speaks to its [`ReplicaStore`]. It reads no clock,
//! draws no randomness and opens no socket: the runtime hands in time, entropy and frames, and sends
//! the frames that [`Replica::next_up`] gives.
//!
//! ```text
//!        capture / add / correct              frames from the relay
//!                 │                                     │
//!   intent → change → envelope ──┐        receipt, log, pack, digest
//!                 │              ▼                      ▼
//!          one atomic commit: document, summary, envelope, intent, digests, position
//! ```
//!
//! **Two layers.** `accepted` is what the city's log holds; `shown` is that with the provisional
//! changes on top. When a change is refused or orphaned, its intent is replayed on what remains, with
//! a fresh actor and the same record ids; what cannot be replayed waits in "Por corregir".

mod answers;
mod author;
mod carry;
#[cfg(any(test, feature = "conformance"))]
pub mod conformance;
mod give_back;
mod layers;
mod memory;
mod meta;
mod repair;
mod staged;
mod store;
mod stream;
mod sync;

pub use author::Saved;
pub use memory::{MemoryError, MemoryReplica};
pub use meta::{BadEnrolment, Meta, held_scopes};
pub use store::{DocRow, EnvelopeRow, IntentRow, IntentState, ReplicaStore, Write};
pub use sync::{ProtocolError, Surroundings};

use std::collections::{BTreeMap, BTreeSet};

use crate::codec;
use crate::digest::SignedDigest;
use crate::document::{Document, DocumentError};
use crate::grant::{Role, Scope};
use crate::ids::DocId;
use crate::policy::{Denial, Rule};
use crate::seal::{Entropy, SealError};
use crate::wire::Up;
use staged::{Finished, Staged};

/// What a replica refuses or fails at.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ReplicaError<E: core::error::Error> {
    /// The storage failed; nothing of the operation was kept.
    #[error("the storage failed")]
    Store(#[source] E),
    /// The device is not enrolled.
    #[error("this device is not enrolled")]
    NotEnrolled,
    /// It is enrolled already.
    #[error("this device is enrolled already")]
    AlreadyEnrolled,
    /// The enrolment is not the city's.
    #[error(transparent)]
    BadEnrolment(#[from] BadEnrolment),
    /// Policy would refuse it; nothing was kept.
    #[error("not allowed: {0:?}")]
    Denied(Denial),
    /// This device does not hold the document.
    #[error("this device does not hold the document")]
    UnknownDocument,
    /// The document cannot be opened or changed.
    #[error(transparent)]
    Document(#[from] DocumentError),
    /// The personal data could not be sealed.
    #[error(transparent)]
    Seal(#[from] SealError),
    /// What the storage gave back is not what was put there.
    #[error("the device's own state is damaged")]
    Damaged,
}

impl<E: core::error::Error> From<Denial> for ReplicaError<E> {
    fn from(denial: Denial) -> Self {
        Self::Denied(denial)
    }
}

/// Result of a replica's operation.
pub type ReplicaResult<T, S> = Result<T, ReplicaError<<S as ReplicaStore>::Error>>;

/// How the store relates to the one that was closed last.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Continuity {
    /// A new store.
    First,
    /// The same one.
    Same,
    /// A backup was put back, or the phone was cloned: a new incarnation begins.
    Restored,
}

/// What changed for the screens.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Change {
    /// A document's row changed, appeared or disappeared.
    Doc(DocId),
    /// Something waits in "Por corregir".
    ToCorrect,
    /// Position, grant or session state changed.
    Status,
}

/// State of a live session; gone when the connection is.
#[derive(Debug, Clone, Default)]
struct Session {
    live: bool,
    /// Own envelopes of this incarnation that were pushed.
    sent: u64,
    /// Those of them that the relay has.
    have: u64,
    /// The incarnation that the hello named: pushes of another one go with their own context.
    spoken: u32,
    /// Own envelopes that the relay had when the session began: their answers come, or are asked for.
    doubted: u64,
    /// Envelopes with their own context, still to offer; the last goes first.
    carried: Vec<crate::envelope::Envelope>,
    /// Those that were offered in this session.
    offered: BTreeMap<crate::ids::Hash, (crate::ids::DeviceId, u32, u64)>,
    /// Scopes that differ and wait for their repair, with what the relay signed of them.
    differing: Vec<(Scope, crate::ids::Hash)>,
    /// The repair under way.
    repair: Option<repair::Repair>,
    /// Scopes whose repair was begun in this session: none is begun twice.
    repaired: Vec<Scope>,
    /// Control frames waiting to go.
    queue: Vec<Up>,
    /// Documents asked for whole and not answered yet.
    wanted: BTreeSet<DocId>,
    /// Digests that came while documents were asked for: compared once those have come.
    undecided: BTreeMap<Scope, SignedDigest>,
    /// Documents that do not open here and were asked for in this session.
    asked: BTreeSet<DocId>,
    /// Answers acknowledged in this session.
    acknowledged: u64,
    /// What goes back to a relay that recovers.
    giving_back: Option<give_back::GivingBack>,
}

/// One device's replica of its part of the city.
#[derive(Debug)]
pub struct Replica<S> {
    store: S,
    meta: Option<Meta>,
    session: Session,
    changes: Vec<Change>,
}

impl<S: ReplicaStore> Replica<S> {
    /// Opens the replica that the store holds. A restored store begins a new incarnation at once.
    ///
    /// # Errors
    /// When the store fails or holds something else.
    pub fn open(
        store: S,
        continuity: Continuity,
        entropy: &mut dyn Entropy,
    ) -> ReplicaResult<Self, S> {
        let bytes = store.meta().map_err(ReplicaError::Store)?;
        let meta = match bytes {
            Some(bytes) => Some(codec::decode(&bytes).map_err(|_| ReplicaError::Damaged)?),
            None => None,
        };
        let mut replica = Self {
            store,
            meta,
            session: Session::default(),
            changes: Vec::new(),
        };
        if continuity == Continuity::Restored && replica.meta.is_some() {
            replica.begin_incarnation(entropy)?;
        }
        Ok(replica)
    }

    /// Takes over an enrolment.
    ///
    /// # Errors
    /// When it is not the city's, or the device is enrolled already.
    pub fn enrol(&mut self, meta: Meta) -> ReplicaResult<(), S> {
        if self.meta.is_some() {
            return Err(ReplicaError::AlreadyEnrolled);
        }
        let bytes = codec::encode(&meta);
        self.store
            .commit(vec![Write::Meta(bytes)])
            .map_err(ReplicaError::Store)?;
        self.meta = Some(meta);
        self.changes.push(Change::Status);
        Ok(())
    }

    /// The device's own state.
    ///
    /// # Errors
    /// When it is not enrolled.
    pub fn meta(&self) -> ReplicaResult<&Meta, S> {
        self.meta.as_ref().ok_or(ReplicaError::NotEnrolled)
    }

    /// Read access to the store.
    pub fn store(&self) -> &S {
        &self.store
    }

    /// What changed since this was last asked.
    pub fn take_changes(&mut self) -> Vec<Change> {
        core::mem::take(&mut self.changes)
    }

    /// Whether a session is live and the relay has greeted.
    pub fn is_live(&self) -> bool {
        self.session.live
    }

    /// A document as this device shows it, opened for a person, with its row. What a pack brought was
    /// stored unopened: here it is verified, and its row made its own. `None` when the device does not
    /// hold it, or it does not open: then it is asked for whole, and comes in its own time.
    ///
    /// # Errors
    /// When the storage fails.
    pub fn open_document(&mut self, doc: &DocId) -> ReplicaResult<Option<(DocRow, Document)>, S> {
        let mut staged = self.stage()?;
        let Some(row) = staged.doc(doc)? else {
            return Ok(None);
        };
        let opened = match &row.shown {
            Some(shown) => Document::load(shown),
            None => layers::open_accepted(&row),
        };
        let derived = opened.and_then(|document| Ok((document.summary()?, document)));
        let found = match derived {
            Ok((summary, document)) if summary == row.summary => {
                return Ok(Some((row, document)));
            }
            Ok((_, document)) if row.shown.is_none() => {
                // Another version of the relay or of this program derived another row.
                staged.settle(*doc, Some(row), &document, None, None)?;
                staged.doc(doc)?.map(|row| (row, document))
            }
            Ok((_, document)) => Some((row, document)),
            Err(_) => {
                staged.quarantine(*doc)?;
                None
            }
        };
        let finished = staged.finish();
        self.commit(finished)?;
        self.ask_for_broken()?;
        Ok(found)
    }

    /// Whether documents were asked for in this session that have not come yet, or a scope is under
    /// repair.
    pub fn awaits_documents(&self) -> bool {
        !self.session.wanted.is_empty() || self.session.repair.is_some()
    }

    /// The role of this device's user.
    pub fn role(&self) -> Option<Role> {
        self.meta.as_ref().map(|meta| meta.granted.role)
    }

    /// Begins another life of the store: new chain, new actors, new intent numbers. Envelopes of the
    /// old chain that were never answered are offered with their own context.
    fn begin_incarnation(&mut self, entropy: &mut dyn Entropy) -> ReplicaResult<(), S> {
        let mut staged = self.stage()?;
        let meta = &mut staged.meta;
        let mut random = [0; 8];
        entropy.fill(&mut random);
        let [a, b, c, d, e, f, g, _] = random;
        meta.incarnation = u32::from_be_bytes([a, b, c, d]);
        meta.last_n = 0;
        meta.last_hash = crate::ids::Hash([0; 32]);
        meta.actor = u16::from_be_bytes([e, f]);
        // A twin may have used the next numbers: leave a gap that it is unlikely to have crossed, and
        // that lets a store begin again some hundreds of times within the 24 bits of a number.
        meta.next_intent += INCARNATION_GAP + u32::from(g) * 256;
        let finished = staged.finish();
        self.session.sent = 0;
        self.commit(finished)
    }

    fn stage(&self) -> ReplicaResult<Staged<'_, S>, S> {
        Ok(Staged::new(&self.store, self.meta()?.clone()))
    }

    /// Writes what was staged; the memory follows only once it is durable.
    fn commit(&mut self, finished: Finished) -> ReplicaResult<(), S> {
        self.store
            .commit(finished.writes)
            .map_err(ReplicaError::Store)?;
        self.meta = Some(finished.meta);
        self.changes.extend(finished.changes);
        Ok(())
    }
}

/// Intent numbers left out at least when an incarnation begins: what the lost life may have used.
const INCARNATION_GAP: u32 = 4096;

/// The device's scopes among those of a document.
fn own_scopes(held: &[Scope], scopes: Vec<Scope>) -> Vec<Scope> {
    scopes
        .into_iter()
        .filter(|scope| held.contains(scope))
        .collect()
}

/// Rules after which an intent is done again by itself, with fresh ids, instead of waiting for a
/// person: the twin of a cloned phone used them first.
fn is_clash(rule: Rule) -> bool {
    matches!(rule, Rule::ForeignActor | Rule::BadSequence)
}
