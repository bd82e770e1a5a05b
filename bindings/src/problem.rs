//! What went wrong, in types: categories that a screen can act upon, and the rule and field where a
//! change was against one.

use manzana_client::model;
use manzana_client::{ClientError, StorageProblem};

use crate::mirror::mirror;

/// The one error of every call.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error, uniffi::Error)]
pub enum ManzanaError {
    /// The call failed, and nothing of it was kept.
    #[error("{problem:?}")]
    Failed {
        /// Why.
        problem: Problem,
    },
}

/// Why something failed.
#[derive(Debug, Clone, PartialEq, Eq, uniffi::Record)]
pub struct Problem {
    /// What a screen can do about it.
    pub category: Category,
    /// What exactly.
    pub code: Code,
    /// The rule it was against.
    pub rule: Option<Rule>,
    /// The field, by its name in the document.
    pub field: Option<String>,
    /// Seconds to wait before trying again, where the relay said so.
    pub retry_after_s: Option<u64>,
}

mirror! {
    /// What a screen can do about it.
    Category like manzana_client::Category:
    /// The relay cannot be reached; what is saved stays saved.
    Offline,
    /// This device, or its invitation, is not (or no longer) let in.
    Unauthorised,
    /// What was asked for is against a rule or makes no sense; nothing was kept.
    Rejected,
    /// Somebody or something else is in the way.
    Conflict,
    /// The device's storage.
    Storage,
    /// The caller ended it.
    Cancelled,
    /// A mistake of ours or of the relay.
    Internal,
}

/// What exactly went wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq, uniffi::Enum)]
pub enum Code {
    /// The device is not enrolled.
    NotEnrolled,
    /// It is enrolled already.
    AlreadyEnrolled,
    /// Another process has this folder open.
    InUse,
    /// The invitation cannot be read.
    BadInvitation,
    /// The relay cannot be reached.
    Offline,
    /// What answers is not vouched for by the city's root.
    Untrusted,
    /// The relay does not let this device or this code in.
    Unauthorised,
    /// The relay speaks another version of the protocol: update the app.
    OtherVersion,
    /// Policy would refuse it: see the rule.
    Denied,
    /// The petition says already what it was to say.
    Unchanged,
    /// This device holds no such petition or act.
    NotFound,
    /// Several petitions have this id.
    Ambiguous,
    /// The bytes to carry are not an export.
    BadExport,
    /// No room is left.
    StorageFull,
    /// The files are damaged, or not ours.
    StorageDamaged,
    /// A newer version of this program wrote the files.
    StorageNewer,
    /// The files were damaged; what was whole is rescued, and the device goes on: repeat.
    StorageRescued,
    /// The files were damaged, and the device does not know any more who it is: enrol it again.
    StorageForgotten,
    /// Reading or writing failed.
    StorageFailed,
    /// The device was closed meanwhile.
    Cancelled,
    /// A mistake of ours.
    Internal,
}

mirror! {
    /// A rule that a change is against.
    Rule like model::Rule:
    /// The change's bytes are not acceptable.
    BadChange,
    /// It was written in another device's name.
    ForeignActor,
    /// Its place does not follow from the document.
    BadSequence,
    /// Its id does not belong to what it holds.
    BadDocId,
    /// The document is at one of its caps.
    DocumentFull,
    /// Nobody may do this to such a document.
    ForbiddenOperation,
    /// A record that is not whole, not new or not its author's.
    BadRecord,
    /// A record in another person's name.
    ForeignRecord,
    /// Written over values that its author had not seen.
    BlindWrite,
    /// A value of the wrong type, too long, or missing.
    BadValue,
    /// The role may not do this.
    RoleMayNot,
    /// The petition is not in the author's scopes.
    OutOfScope,
    /// Its final state is defined.
    AlreadyFinal,
    /// It was closed already.
    AlreadyClosed,
    /// It is in conflict: only a final state ends that.
    InConflict,
    /// There is nothing to reopen, confirm or dispute.
    NotClosed,
    /// Written by a schema newer than the relay's.
    NewerSchema,
    /// The document is not known.
    UnknownDocument,
    /// Written with another city's or another device's grant.
    ForeignGrant,
    /// It was held, and the city's people did not take it.
    NotTaken,
    /// It was held, and the city recorded it itself.
    TakenOver,
}

impl From<&ClientError> for Code {
    fn from(error: &ClientError) -> Self {
        match error {
            ClientError::NotEnrolled => Self::NotEnrolled,
            ClientError::AlreadyEnrolled => Self::AlreadyEnrolled,
            ClientError::InUse => Self::InUse,
            ClientError::Invitation(_) => Self::BadInvitation,
            ClientError::Offline { .. } => Self::Offline,
            ClientError::Untrusted => Self::Untrusted,
            ClientError::Unauthorised => Self::Unauthorised,
            ClientError::OtherVersion => Self::OtherVersion,
            ClientError::Denied { .. } => Self::Denied,
            ClientError::Unchanged => Self::Unchanged,
            ClientError::NotFound => Self::NotFound,
            ClientError::Ambiguous => Self::Ambiguous,
            ClientError::BadExport => Self::BadExport,
            ClientError::Storage(StorageProblem::Full) => Self::StorageFull,
            ClientError::Storage(StorageProblem::Damaged) => Self::StorageDamaged,
            ClientError::Storage(StorageProblem::Newer) => Self::StorageNewer,
            ClientError::Storage(StorageProblem::Rescued { .. }) => Self::StorageRescued,
            ClientError::Storage(StorageProblem::Forgotten { .. }) => Self::StorageForgotten,
            ClientError::Storage(_) => Self::StorageFailed,
            ClientError::Cancelled => Self::Cancelled,
            _ => Self::Internal,
        }
    }
}

impl From<ClientError> for Problem {
    fn from(error: ClientError) -> Self {
        let (category, code) = (error.category().into(), Code::from(&error));
        let retry_after_s = error.retry_after().map(|wait| wait.as_secs());
        let (rule, field) = match error {
            ClientError::Denied { rule, field } => (Some(rule.into()), field),
            _ => (None, None),
        };
        Self {
            category,
            code,
            rule,
            field,
            retry_after_s,
        }
    }
}

impl From<ClientError> for ManzanaError {
    fn from(error: ClientError) -> Self {
        Self::Failed {
            problem: error.into(),
        }
    }
}
