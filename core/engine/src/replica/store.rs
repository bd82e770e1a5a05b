//! What a replica asks of its storage: a few reads, and one atomic, durable write.

use std::collections::BTreeSet;

use minicbor::{Decode, Encode};

use crate::answer::{Answer, SignedReceipt};
use crate::digest::SetHash;
use crate::envelope::Envelope;
use crate::grant::Scope;
use crate::ids::{DeviceId, DocId, Hash, RecordId, Seq};
use crate::policy::Rule;
use crate::summary::Summary;

/// A document as a device keeps it: the accepted layer and, where it differs, the shown one.
#[derive(Debug, Clone, PartialEq)]
pub struct DocRow {
    /// The document.
    pub doc: DocId,
    /// What the city's log holds of it (`save_nocompress`); `None` while only this device has it.
    pub accepted: Option<Vec<u8>>,
    /// Heads of the accepted layer, sorted; empty without one.
    pub accepted_heads: Vec<Hash>,
    /// Scopes of the accepted layer among the device's own: what its digests count it in.
    pub accepted_scopes: Vec<Scope>,
    /// Accepted layer + provisional changes on top; `None` when there are none.
    pub shown: Option<Vec<u8>>,
    /// Summary of what is shown.
    pub summary: Summary,
    /// Place in the log of the creation, once accepted.
    pub creation_seq: Option<Seq>,
    /// The folio, once issued.
    pub folio: Option<u64>,
    /// Own or carried work on it that the relay has not accepted yet.
    pub provisional: u32,
    /// Cannot be opened here: declared when digests are compared.
    pub quarantined: bool,
}

impl DocRow {
    /// The bytes that a screen opens.
    pub fn bytes(&self) -> &[u8] {
        self.shown
            .as_deref()
            .or(self.accepted.as_deref())
            .unwrap_or_default()
    }
}

/// An envelope that this device keeps: its own, or one it carries.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EnvelopeRow {
    /// The envelope.
    pub envelope: Envelope,
    /// Place in its chain.
    pub n: u64,
    /// Its hash.
    pub hash: Hash,
    /// One per group; `None` until the relay has answered.
    pub answers: Option<Vec<Answer>>,
    /// The documents it touches, sorted, without repetition.
    pub docs: Vec<DocId>,
}

/// What became of an intent.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
#[cbor(flat)]
pub enum IntentState {
    /// In an envelope that waits for its answer.
    #[n(0)]
    Pending {
        /// The envelope's incarnation.
        #[n(0)]
        incarnation: u32,
        /// The envelope's place.
        #[n(1)]
        n: u64,
        /// The group.
        #[n(2)]
        group: u32,
    },
    /// In the city's log.
    #[n(1)]
    Accepted {
        /// Its first place.
        #[n(0)]
        seq: Seq,
    },
    /// "Por corregir": kept with the reason until the person corrects or discards it.
    #[n(2)]
    ToCorrect {
        /// The rule it was against.
        #[n(0)]
        rule: Rule,
        /// The field, if one.
        #[n(1)]
        field: Option<String>,
    },
    /// Kept by the relay for review: what comes of it is told by a later answer to the same group.
    #[n(3)]
    Held {
        /// The envelope's incarnation.
        #[cbor(n(0), default)]
        incarnation: u32,
        /// The envelope's place.
        #[cbor(n(1), default)]
        n: u64,
        /// The group.
        #[cbor(n(2), default)]
        group: u32,
    },
    /// Corrected and sent again as another intent, or discarded by the person.
    #[n(4)]
    Closed,
}

impl IntentState {
    /// The group that more is to be said of: its envelope's incarnation and place, and its number there.
    pub(super) fn open_group(&self) -> Option<(u32, u64, u32)> {
        match self {
            Self::Pending {
                incarnation,
                n,
                group,
            }
            | Self::Held {
                incarnation,
                n,
                group,
            } => Some((*incarnation, *n, *group)),
            _ => None,
        }
    }
}

/// What a person did, kept beside the documents.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IntentRow {
    /// Its id: also the key of its records.
    pub id: RecordId,
    /// The encoded [`crate::intent::Intent`].
    pub intent: Vec<u8>,
    /// What became of it.
    pub state: IntentState,
    /// The documents it touches.
    pub docs: Vec<DocId>,
}

/// One write of an atomic commit.
#[derive(Debug, Clone, PartialEq)]
pub enum Write {
    /// The replica's own state (opaque).
    Meta(Vec<u8>),
    /// Insert or replace a document.
    Doc(Box<DocRow>),
    /// Drop a document.
    DropDoc(DocId),
    /// Insert or replace an envelope, own or carried, by (device, incarnation, n).
    Envelope(Box<EnvelopeRow>),
    /// Forget a carried envelope once its author has the answer.
    DropEnvelope(DeviceId, u32, u64),
    /// Insert or replace an intent.
    Intent(IntentRow),
    /// Keep a verified receipt.
    Receipt(SignedReceipt),
    /// Replace a scope's digest.
    Digest(Scope, SetHash),
    /// Forget a scope's digest.
    DropDigest(Scope),
}

/// Storage of one replica. Reads see every earlier commit.
///
/// A commit is all or nothing and durable when it returns (`synchronous=FULL`): the caller says
/// "guardado" right after.
pub trait ReplicaStore {
    /// What can go wrong in it.
    type Error: core::error::Error + Send + Sync + 'static;

    /// The replica's own state, as last written.
    fn meta(&self) -> Result<Option<Vec<u8>>, Self::Error>;
    /// One document.
    fn doc(&self, doc: &DocId) -> Result<Option<DocRow>, Self::Error>;
    /// Those of the documents that have a row or open envelopes here: the others can be stored without a
    /// look at what stands. No document is opened.
    fn standing(&self, docs: &[DocId]) -> Result<BTreeSet<DocId>, Self::Error>;
    /// All summaries with folio and provisional count, newest captured first, then by id: no document
    /// is opened, `accepted` and `shown` are `None`.
    fn list(&self) -> Result<Vec<DocRow>, Self::Error>;
    /// One envelope.
    fn envelope(
        &self,
        device: &DeviceId,
        incarnation: u32,
        n: u64,
    ) -> Result<Option<EnvelopeRow>, Self::Error>;
    /// Envelopes of a chain from place `from`, at most `limit`, in order.
    fn envelopes_from(
        &self,
        device: &DeviceId,
        incarnation: u32,
        from: u64,
        limit: usize,
    ) -> Result<Vec<EnvelopeRow>, Self::Error>;
    /// Envelopes touching the document that are not answered for good, in the order they were stored.
    fn open_envelopes_of(&self, doc: &DocId) -> Result<Vec<EnvelopeRow>, Self::Error>;
    /// The device's own chains that the store holds: incarnation and last place, in any order.
    fn own_chains(&self, device: &DeviceId) -> Result<Vec<(u32, u64)>, Self::Error>;
    /// Receipts stored before this one (`u64::MAX` for all), newest first, at most `limit`, each with its
    /// place in the store.
    fn receipts_before(
        &self,
        place: u64,
        limit: usize,
    ) -> Result<Vec<(u64, SignedReceipt)>, Self::Error>;
    /// Unanswered envelopes outside the chain (device, incarnation), in the order they were stored, at
    /// most `limit`: other devices' and the own ones of earlier incarnations.
    fn carried(
        &self,
        device: &DeviceId,
        incarnation: u32,
        limit: usize,
    ) -> Result<Vec<EnvelopeRow>, Self::Error>;
    /// Unanswered envelopes of this device, all incarnations: count and oldest device time.
    fn unsent(&self, device: &DeviceId) -> Result<(u64, Option<i64>), Self::Error>;
    /// One intent.
    fn intent(&self, id: &RecordId) -> Result<Option<IntentRow>, Self::Error>;
    /// Intents in state `ToCorrect`, oldest first: in the order in which they were first stored.
    fn to_correct(&self) -> Result<Vec<IntentRow>, Self::Error>;
    /// Intents in state `Held`, likewise.
    fn held(&self) -> Result<Vec<IntentRow>, Self::Error>;
    /// Intents of the documents' own history in state `Pending` or `Held`, by document, in the
    /// order in which they were first stored.
    fn open_intents_of(&self, doc: &DocId) -> Result<Vec<IntentRow>, Self::Error>;
    /// Intents that were accepted at this place of the log, in the order in which they were first stored. Asked
    /// only when a city that was put back has lost one: it may look through all.
    fn intents_accepted_at(&self, seq: Seq) -> Result<Vec<IntentRow>, Self::Error>;
    /// A scope's digest state; empty when none is stored.
    fn digest(&self, scope: &Scope) -> Result<SetHash, Self::Error>;
    /// Documents whose accepted layer counts in this scope, by id: to drop or refill it.
    fn docs_in(&self, scope: &Scope) -> Result<Vec<DocId>, Self::Error>;
    /// The same documents with the heads of their accepted layers, by id: no document is opened.
    fn heads_in(&self, scope: &Scope) -> Result<Vec<(DocId, Vec<Hash>)>, Self::Error>;

    /// Writes everything or nothing, durably.
    fn commit(&mut self, writes: Vec<Write>) -> Result<(), Self::Error>;
}
