//! What can go wrong, in few categories that a screen can act upon.

use std::time::Duration;

use manzana_engine::document::DocumentError;
use manzana_engine::policy::{Denial, Rule};
use manzana_engine::replica::ReplicaError;
use manzana_store::sqlite::{OpenError, StoreError};

use crate::invitation::InvitationError;

/// The categories of errors: what crosses to other languages. Nobody looks at an error's text.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Category {
    /// The relay cannot be reached; what is saved stays saved.
    Offline,
    /// This device, or its invitation, is not (or no longer) let in.
    Unauthorised,
    /// What was asked for is against a rule or makes no sense; nothing was kept.
    Rejected,
    /// Somebody or something else is in the way: another process, another enrolment.
    Conflict,
    /// The device's storage.
    Storage,
    /// The caller ended it.
    Cancelled,
    /// A mistake of ours or of the relay.
    Internal,
}

impl Category {
    /// The name in files and the API.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Offline => "offline",
            Self::Unauthorised => "unauthorised",
            Self::Rejected => "rejected",
            Self::Conflict => "conflict",
            Self::Storage => "storage",
            Self::Cancelled => "cancelled",
            Self::Internal => "internal",
        }
    }
}

/// What is wrong with the storage.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum StorageProblem {
    /// No room is left: nothing of the operation was kept.
    Full,
    /// The file is not ours or does not hold what was put there.
    Damaged,
    /// A newer version of this program wrote it.
    Newer,
    /// It was damaged. What was whole is rescued and the device goes on with it; what the relay has comes
    /// again. Nothing of the operation was kept: repeat it.
    Rescued {
        /// Acts that are not sent, and that were found whole.
        unsent: usize,
    },
    /// It was damaged, and the device does not know any more who it is: enrol it again.
    Forgotten {
        /// Acts that are not sent, and that were found whole: they go once it is enrolled.
        unsent: usize,
    },
    /// Reading or writing failed.
    Failed,
}

/// Why an operation of the client failed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ClientError {
    /// The device is not enrolled.
    #[error("this device is not enrolled")]
    NotEnrolled,
    /// It is enrolled already.
    #[error("this device is enrolled already")]
    AlreadyEnrolled,
    /// Another process has this folder open.
    #[error("another process has this folder open")]
    InUse,
    /// The invitation cannot be read.
    #[error(transparent)]
    Invitation(#[from] InvitationError),
    /// The relay cannot be reached, or what answers is not the relay (a captive portal).
    #[error("the relay cannot be reached")]
    Offline {
        /// When the relay asked to come back, if it said so.
        retry_after: Option<Duration>,
    },
    /// What answers at the relay's address is not vouched for by the city's root.
    #[error("the server is not vouched for by the city's root")]
    Untrusted,
    /// The relay does not let this device or this code in.
    #[error("the relay does not let this device in")]
    Unauthorised,
    /// The relay speaks another version of the protocol: this program, or the relay, is to be updated.
    #[error("the relay speaks another version of the protocol")]
    OtherVersion,
    /// Policy would refuse it; nothing was kept.
    #[error("not allowed: {rule:?}")]
    Denied {
        /// The rule.
        rule: Rule,
        /// The field, by its name in the document.
        field: Option<String>,
    },
    /// The petition says already what it was to say.
    #[error("there is nothing to change")]
    Unchanged,
    /// This device holds no such petition.
    #[error("this device holds no such petition")]
    NotFound,
    /// Several petitions have this id.
    #[error("several petitions have this id")]
    Ambiguous,
    /// The bytes to carry are not envelopes.
    #[error("this is not an export of this program")]
    BadExport,
    /// The storage failed; nothing of the operation was kept.
    #[error("the storage failed: {0:?}")]
    Storage(StorageProblem),
    /// The client was closed meanwhile.
    #[error("the client was closed")]
    Cancelled,
    /// A mistake of ours, named for us.
    #[error("internal: {0}")]
    Internal(&'static str),
}

impl ClientError {
    /// Its category.
    pub fn category(&self) -> Category {
        match self {
            Self::Offline { .. } => Category::Offline,
            Self::NotEnrolled | Self::Untrusted | Self::Unauthorised => Category::Unauthorised,
            Self::AlreadyEnrolled | Self::InUse | Self::OtherVersion => Category::Conflict,
            Self::Invitation(_)
            | Self::Denied { .. }
            | Self::Unchanged
            | Self::NotFound
            | Self::Ambiguous
            | Self::BadExport => Category::Rejected,
            Self::Storage(_) => Category::Storage,
            Self::Cancelled => Category::Cancelled,
            Self::Internal(_) => Category::Internal,
        }
    }

    /// How long to wait before trying again, where the relay said so.
    pub fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::Offline { retry_after } => *retry_after,
            _ => None,
        }
    }

    pub(crate) const OFFLINE: Self = Self::Offline { retry_after: None };
}

impl From<Denial> for ClientError {
    fn from(denial: Denial) -> Self {
        Self::Denied {
            rule: denial.rule,
            field: denial.field,
        }
    }
}

impl From<StoreError> for ClientError {
    fn from(error: StoreError) -> Self {
        tracing::warn!(%error, "storage");
        match error {
            StoreError::Full => Self::Storage(StorageProblem::Full),
            StoreError::Damaged => Self::Storage(StorageProblem::Damaged),
            StoreError::Busy => Self::InUse,
            _ => Self::Storage(StorageProblem::Failed),
        }
    }
}

impl From<OpenError> for ClientError {
    fn from(error: OpenError) -> Self {
        match error {
            OpenError::Store(error) => error.into(),
            OpenError::Newer { .. } => Self::Storage(StorageProblem::Newer),
            OpenError::NotOurs => Self::Storage(StorageProblem::Damaged),
            _ => Self::Storage(StorageProblem::Failed),
        }
    }
}

impl From<std::io::Error> for ClientError {
    fn from(error: std::io::Error) -> Self {
        StoreError::from(error).into()
    }
}

impl From<ReplicaError<StoreError>> for ClientError {
    fn from(error: ReplicaError<StoreError>) -> Self {
        match error {
            ReplicaError::Store(error) => error.into(),
            ReplicaError::NotEnrolled => Self::NotEnrolled,
            ReplicaError::AlreadyEnrolled => Self::AlreadyEnrolled,
            ReplicaError::BadEnrolment(_) => Self::Untrusted,
            ReplicaError::Denied(denial) => denial.into(),
            ReplicaError::UnknownDocument => Self::NotFound,
            ReplicaError::Damaged => Self::Storage(StorageProblem::Damaged),
            ReplicaError::Document(DocumentError::Unchanged) => Self::Unchanged,
            ReplicaError::Document(_) => Self::Internal("a document cannot be opened"),
            ReplicaError::Seal(_) => Self::Internal("personal data cannot be sealed"),
            _ => Self::Internal("the replica failed"),
        }
    }
}
