//! Frames of the sync session, both ways, as CBOR arrays `[type, field, …]`. See `PROTOCOL.md`.
//!
//! One WebSocket message carries one frame. A frame that does not decode whole, or is longer than
//! [`FRAME_BYTES`], ends the session with a [`Down::Bye`]; nothing else is affected by it.

use minicbor::bytes::ByteVec;
use minicbor::{Decode, Encode};

use crate::answer::SignedReceipt;
use crate::codec;
use crate::digest::SignedDigest;
use crate::epoch::SignedEpoch;
use crate::grant::{Scope, SignedGrant};
use crate::ids::{CatalogId, DocId, Hash, Seq};
pub use crate::limits::{FORSAKEN, FRAME_BYTES, MEND_DOCS, RECEIPTS, VOUCHED_DOCS};
use crate::reconcile::Range;

/// Version of this protocol. Another one is refused in words.
pub const PROTOCOL_VERSION: u16 = 1;

/// A fill of a scope that is not complete.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct Fill {
    /// The scope being filled.
    #[n(0)]
    pub scope: Scope,
    /// The place of the log at which the fill began.
    #[n(1)]
    pub pinned: Seq,
    /// Documents created at or after this place have been received; `Seq::MAX` at the start.
    #[n(2)]
    pub before: Seq,
}

/// Where a device stands in the city's log.
#[derive(Debug, Clone, Default, PartialEq, Eq, Encode, Decode)]
pub struct Position {
    /// Epoch of the log.
    #[n(0)]
    pub epoch: u32,
    /// Everything in scope up to here has been received, but for what the fills still bring.
    #[n(1)]
    pub seq: Seq,
    /// Scopes that are known, complete or being filled: a scope missing here is filled from its start.
    #[n(2)]
    pub scopes: Vec<Scope>,
    /// Fills under way.
    #[n(3)]
    pub fills: Vec<Fill>,
}

/// The first words of a device; they ride in the upgrade request.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct Hello {
    /// [`PROTOCOL_VERSION`].
    #[n(0)]
    pub version: u16,
    /// The newest document schema that the device writes.
    #[n(1)]
    pub schema: u16,
    /// Incarnation of the device's store.
    #[n(2)]
    pub incarnation: u32,
    /// Where it stands.
    #[n(3)]
    pub position: Position,
    /// The last answer number it has durably.
    #[n(4)]
    pub answers_seen: u64,
}

/// From device to relay.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
#[cbor(flat)]
#[non_exhaustive]
pub enum Up {
    /// The next envelope of the device's chain; its context is implied by the session.
    #[n(1)]
    Push {
        /// Encoded body, exactly as signed.
        #[n(0)]
        body: ByteVec,
        /// Signature.
        #[cbor(n(1), with = "minicbor::bytes")]
        signature: [u8; 64],
        /// Detached parts.
        #[n(2)]
        parts: Vec<ByteVec>,
    },
    /// Somebody else's envelope (encoded [`crate::envelope::Envelope`]), carried.
    #[n(2)]
    Carry {
        /// The envelope with its context.
        #[n(0)]
        envelope: ByteVec,
    },
    /// All answers up to this number are durable on the device.
    #[n(3)]
    Seen {
        /// Number of the answer.
        #[n(0)]
        answers: u64,
    },
    /// A change came without its base: send the document whole.
    #[n(4)]
    Want {
        /// The document.
        #[n(0)]
        doc: DocId,
    },
    /// Hardly anything of a scope is held: fill it again from its start.
    #[n(5)]
    Drift {
        /// The scope.
        #[n(0)]
        scope: Scope,
    },
    /// The device's digest of a scope differs: where? See [`crate::reconcile`].
    #[n(6)]
    Reconcile {
        /// The scope.
        #[n(0)]
        scope: Scope,
        /// Its members, as ranges of their ids.
        #[n(1)]
        ranges: Vec<Range>,
    },
    /// Documents that differ: send them whole, or say that they are not in the scope.
    #[n(7)]
    Mend {
        /// The scope.
        #[n(0)]
        scope: Scope,
        /// The documents, at most [`MEND_DOCS`].
        #[n(1)]
        docs: Vec<DocId>,
    },
    /// While the relay recovers: receipts for envelopes that it does not have.
    #[n(8)]
    Receipts {
        /// The receipts, at most [`RECEIPTS`].
        #[n(0)]
        receipts: Vec<SignedReceipt>,
    },
    /// While the relay recovers: all that the device holds of a scope, as a digest proves that it was
    /// accepted. In several frames where it is much.
    #[n(9)]
    Vouch {
        /// What the relay signed when the device held just this.
        #[n(0)]
        digest: SignedDigest,
        /// The next documents, at most [`VOUCHED_DOCS`].
        #[n(1)]
        docs: Vec<Vouched>,
        /// Whether these were the last.
        #[n(2)]
        last: bool,
    },
    /// The changes of a document that the relay lacks, as the device holds them; none when it holds none.
    #[n(10)]
    GiveBack {
        /// The document.
        #[n(0)]
        doc: DocId,
        /// The Automerge changes, each after those it depends on.
        #[n(1)]
        changes: Vec<ByteVec>,
        /// The folio that the device knows it by.
        #[n(2)]
        folio: Option<u64>,
    },
    /// Changes that were in the city's log before it was put back, that nobody gave back, and that the device's
    /// own work waits for: it waits no more.
    #[n(11)]
    Forsake {
        /// The changes, at most [`FORSAKEN`].
        #[n(0)]
        changes: Vec<Hash>,
    },
}

/// A document that a device vouches for.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct Vouched {
    /// The document.
    #[n(0)]
    pub doc: DocId,
    /// Its heads in the accepted layer.
    #[n(1)]
    pub heads: Vec<Hash>,
}

/// What a relay says of its recovery, while that is open.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct Recovery {
    /// The record of the epoch that it opened.
    #[n(0)]
    pub record: SignedEpoch,
    /// The device's chains that the relay has.
    #[n(1)]
    pub chains: Vec<ChainHeld>,
}

/// How far a relay has one of a device's chains.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Encode, Decode)]
pub struct ChainHeld {
    /// The incarnation.
    #[n(0)]
    pub incarnation: u32,
    /// Envelopes held without gaps.
    #[n(1)]
    pub have: u64,
    /// Hash of the last: another than the device's own where a twin of its store wrote that place.
    #[n(2)]
    pub hash: Hash,
}

/// A document as packs and enters carry it.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct PackedDoc {
    /// The document.
    #[n(0)]
    pub doc: DocId,
    /// Place in the log of its creation.
    #[n(1)]
    pub creation_seq: Seq,
    /// Its folio.
    #[n(2)]
    pub folio: Option<u64>,
    /// `save_nocompress` of it; at most [`crate::limits::DOC_BYTES`].
    #[n(3)]
    pub saved: ByteVec,
    /// Its row as the relay keeps it, an encoded [`crate::summary::Summary`]: with it a device stores
    /// the document unopened. Read it with [`crate::summary::Summary::from_outside`].
    #[n(4)]
    pub summary: ByteVec,
}

/// One accepted change on its way down.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
#[cbor(flat)]
#[non_exhaustive]
pub enum Item {
    /// A change of somebody else.
    #[n(0)]
    Change {
        /// Its place in the log.
        #[n(0)]
        seq: Seq,
        /// The document.
        #[n(1)]
        doc: DocId,
        /// The Automerge change, as its author made it.
        #[n(2)]
        change: ByteVec,
        /// The folio, when this change created the petition.
        #[n(3)]
        folio: Option<u64>,
    },
    /// The device's own change: it has the bytes.
    #[n(1)]
    Own {
        /// Its place in the log.
        #[n(0)]
        seq: Seq,
        /// The document.
        #[n(1)]
        doc: DocId,
        /// The change's hash.
        #[n(2)]
        hash: Hash,
        /// The folio, when this change created the petition.
        #[n(3)]
        folio: Option<u64>,
    },
    /// A document enters the device's scopes, whole.
    #[n(2)]
    Enter {
        /// The place in the log at which it entered.
        #[n(0)]
        seq: Seq,
        /// The document.
        #[n(1)]
        doc: PackedDoc,
    },
    /// A document has left all the device's scopes.
    #[n(3)]
    Leave {
        /// The place in the log at which it left.
        #[n(0)]
        seq: Seq,
        /// The document.
        #[n(1)]
        doc: DocId,
    },
}

/// Why a session ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Encode, Decode)]
#[cbor(index_only)]
#[non_exhaustive]
pub enum ByeCode {
    /// The relay is stopping: come back.
    #[n(0)]
    GoingAway,
    /// The frame was not one.
    #[n(1)]
    BadFrame,
    /// The other end speaks another version.
    #[n(2)]
    BadVersion,
    /// The reader was too slow: come back and resume.
    #[n(3)]
    Resume,
    /// The grant was revoked.
    #[n(4)]
    Revoked,
    /// An envelope's signature does not verify.
    #[n(5)]
    BadSignature,
    /// Too much at once: come back later.
    #[n(6)]
    TooMuch,
    /// The relay's storage has no room: nothing was taken, come back later.
    #[n(7)]
    Full,
    /// The relay failed inside: come back later.
    #[n(8)]
    Internal,
    /// Another session of this device took its place.
    #[n(9)]
    Replaced,
}

/// From relay to device.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
#[cbor(flat)]
#[non_exhaustive]
pub enum Down {
    /// The answer to hello.
    #[n(0)]
    Welcome {
        /// [`PROTOCOL_VERSION`].
        #[n(0)]
        version: u16,
        /// The newest schema that the relay accepts.
        #[n(1)]
        schema: u16,
        /// Epoch of the log.
        #[n(2)]
        epoch: u32,
        /// City time, milliseconds UTC.
        #[n(3)]
        time: i64,
        /// Last place of the city's log.
        #[n(4)]
        seq: Seq,
        /// Envelopes of this incarnation that the relay has, without gaps.
        #[n(5)]
        have: u64,
        /// Hash of envelope `have`; zeros when `have` is 0.
        #[n(6)]
        have_hash: Hash,
        /// The device's grant as it stands.
        #[n(7)]
        grant: SignedGrant,
        /// For the next session's upgrade request.
        #[n(8)]
        nonce: ByteVec,
        /// The city was put back from a backup, and takes back what it lost.
        #[n(9)]
        recovery: Option<Recovery>,
    },
    /// Answers, signed.
    #[n(1)]
    Receipt {
        /// The receipt.
        #[n(0)]
        receipt: SignedReceipt,
    },
    /// Accepted changes in log order; after them the device stands at `to`.
    #[n(2)]
    Log {
        /// The new position.
        #[n(0)]
        to: Seq,
        /// What happened in the device's scopes since the last one.
        #[n(1)]
        items: Vec<Item>,
    },
    /// A segment of a fill: zstd of a CBOR array of [`PackedDoc`], newest first.
    #[n(3)]
    Pack {
        /// The fill as it stands after this segment.
        #[n(0)]
        fill: Fill,
        /// Whether the scope is complete now.
        #[n(1)]
        done: bool,
        /// The segment.
        #[n(2)]
        segment: ByteVec,
    },
    /// A scope's signed digest.
    #[n(4)]
    Digest {
        /// The digest.
        #[n(0)]
        digest: SignedDigest,
    },
    /// An envelope does not follow the chain that the relay has: send from `have` + 1.
    #[n(5)]
    Gap {
        /// Envelopes that the relay has.
        #[n(0)]
        have: u64,
        /// Hash of the last of them.
        #[n(1)]
        have_hash: Hash,
    },
    /// The answer to [`Up::Want`]; `None` when the device may not hold it.
    #[n(6)]
    Whole {
        /// The document.
        #[n(0)]
        id: DocId,
        /// Its bytes.
        #[n(1)]
        doc: Option<PackedDoc>,
    },
    /// The session is over.
    #[n(7)]
    Bye {
        /// Why.
        #[n(0)]
        code: ByeCode,
    },
    /// What became of a carried envelope.
    #[n(8)]
    Carried {
        /// The envelope's hash.
        #[n(0)]
        hash: Hash,
        /// Its answers; empty when it could not be taken in.
        #[n(1)]
        groups: Vec<crate::answer::Answer>,
    },
    /// The answer to [`Up::Reconcile`].
    #[n(9)]
    Reconcile {
        /// The scope.
        #[n(0)]
        scope: Scope,
        /// What the relay has there, or says of what was listed; nothing means the same.
        #[n(1)]
        ranges: Vec<Range>,
    },
    /// Part of the answer to [`Up::Mend`]: each document asked for is in exactly one of these.
    #[n(10)]
    Mend {
        /// The scope.
        #[n(0)]
        scope: Scope,
        /// Documents of the scope, whole: a segment as in a pack.
        #[n(1)]
        segment: ByteVec,
        /// Documents that are not in the scope.
        #[n(2)]
        gone: Vec<DocId>,
        /// Documents that the relay does not know at all.
        #[n(3)]
        unknown: Vec<DocId>,
    },
    /// While the relay recovers: documents of which it lacks what the device proved, to be given back. None
    /// of them says that all is back.
    #[n(11)]
    Lacks {
        /// The documents.
        #[n(0)]
        docs: Vec<DocId>,
    },
}

/// A frame that is not one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum FrameError {
    /// Longer than [`FRAME_BYTES`].
    #[error("the frame is longer than 1 MiB")]
    TooLong,
    /// Not a frame of this protocol.
    #[error("the frame is malformed")]
    Malformed,
}

/// Reads one frame (or a hello): bounded, whole.
pub fn decode_frame<'b, T: Decode<'b, ()>>(bytes: &'b [u8]) -> Result<T, FrameError> {
    if bytes.len() > FRAME_BYTES {
        return Err(FrameError::TooLong);
    }
    codec::decode(bytes).map_err(|_| FrameError::Malformed)
}

/// What enrolment asks for.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct EnrolRequest {
    /// The one-use code, as typed or scanned.
    #[n(0)]
    pub code: String,
    /// The device's new public key.
    #[cbor(n(1), with = "minicbor::bytes")]
    pub device_key: [u8; 32],
}

/// What enrolment gives.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct Enrolment {
    /// The grant, signed by the city's root.
    #[n(0)]
    pub grant: SignedGrant,
    /// The relay's key for receipts and digests…
    #[cbor(n(1), with = "minicbor::bytes")]
    pub relay_key: [u8; 32],
    /// …signed by the root ([`crate::keys::Purpose::RelayKey`]).
    #[cbor(n(2), with = "minicbor::bytes")]
    pub relay_key_signature: [u8; 64],
    /// X25519 key to which personal data are sealed, signed the same way.
    #[cbor(n(3), with = "minicbor::bytes")]
    pub seal_key: [u8; 32],
    /// The root's signature over `seal_key`.
    #[cbor(n(4), with = "minicbor::bytes")]
    pub seal_key_signature: [u8; 64],
    /// The name by which the centre is known ("Coatzatel").
    #[n(5)]
    pub center: String,
    /// Prefix of folios ("SIAC-").
    #[n(6)]
    pub folio_prefix: String,
    /// Digits of a folio.
    #[n(7)]
    pub folio_width: u8,
    /// The block of a captain's grant, if any.
    #[n(8)]
    pub block: Option<CatalogId>,
    /// Nonce for the first session.
    #[n(9)]
    pub nonce: ByteVec,
    /// The user's display name.
    #[n(10)]
    pub display: String,
}
