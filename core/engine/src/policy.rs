//! Who may do what: one pure function over decoded operations, used at both ends. (Rules below.)

use minicbor::{Decode, Encode};

/// A rule that a change is against. Codes are stable: phones keep them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Encode, Decode)]
#[cbor(index_only)]
#[non_exhaustive]
pub enum Rule {
    /// The change's bytes are not an acceptable change chunk.
    #[n(0)]
    BadChange,
    /// The actor does not belong to the device, or is another incarnation's.
    #[n(1)]
    ForeignActor,
    /// Sequence number or first operation do not follow from the document.
    #[n(2)]
    BadSequence,
    /// The id is not the hash of the creation change, or a document is created twice.
    #[n(3)]
    BadDocId,
    /// The document is at one of its caps.
    #[n(4)]
    DocumentFull,
    /// An operation that no document of this kind has (delete, list, counter, overlay of a root map…).
    #[n(5)]
    ForbiddenOperation,
    /// A record key that is not the author's, not new, or not whole.
    #[n(6)]
    BadRecord,
    /// A record that does not carry its author's user id and role.
    #[n(7)]
    ForeignRecord,
    /// A field written over values that its author had not seen.
    #[n(8)]
    BlindWrite,
    /// A value of the wrong type, too long, or missing.
    #[n(9)]
    BadValue,
    /// The role may not do this.
    #[n(10)]
    RoleMayNot,
    /// The petition is not in the author's scopes.
    #[n(11)]
    OutOfScope,
    /// Its final state is defined.
    #[n(12)]
    AlreadyFinal,
    /// It was closed already, as its author knew.
    #[n(13)]
    AlreadyClosed,
    /// It is in conflict, as its author knew: only a final state ends that.
    #[n(14)]
    InConflict,
    /// There is nothing to reopen, confirm or dispute.
    #[n(15)]
    NotClosed,
    /// Written by a schema newer than the relay's.
    #[n(16)]
    NewerSchema,
    /// The document is not known and the change does not create it.
    #[n(17)]
    UnknownDocument,
    /// The envelope names another city or grant.
    #[n(18)]
    ForeignGrant,
}
