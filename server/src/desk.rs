//! The seam between the console's HTTP side and the relay core.
//!
//! The HTTP modules know petitions only through [`Desk`]: what a list, a detail and
//! an act look like to an operator. The types below serialise to exactly the JSON of
//! the console; whoever implements [`Desk`] fills them from summaries and documents.

mod dto;
mod report;
mod request;

use std::sync::Arc;

use async_trait::async_trait;
use tokio::sync::broadcast;

pub use dto::{
    ActKind, Alternative, Catalogs, CommentView, Detail, Entry, EventView, HexHash, HexId,
    ListPage, LiveRow, Outcome, Position, Priority, Row, RowsSince, Status,
};
pub(crate) use report::RawDays;
pub use report::{AgencyLine, AgencyReport, Days, Groups, Percents};
pub use request::{
    Act, ActRequest, DEFAULT_PAGE, ListQuery, MAX_HEADS, MAX_KEY_CHARS, MAX_PAGE, MAX_REASON_CHARS,
    MAX_SEARCH_CHARS, MAX_TEXT_CHARS, StatusFilter,
};
pub(crate) use request::{RawActRequest, RawListQuery, parse_hex};

use crate::storage::StorageError;

/// What a user of the console may do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Role {
    /// Captures, refers, comments, answers.
    Operator,
    /// Also defines the final state and resolves conflicts.
    Supervisor,
}

/// Who looks or acts: a signed-in user.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Viewer {
    /// The user's id.
    pub user: u64,
    /// What the user may do.
    pub role: Role,
}

/// A user of the console as stored.
#[derive(Clone)]
pub struct UserRecord {
    /// The user's id.
    pub id: u64,
    /// The name typed at sign-in.
    pub name: String,
    /// The name shown to people.
    pub display: String,
    /// What the user may do.
    pub role: Role,
    /// Argon2id in the PHC string format; `None` for people who only have phones, who
    /// cannot sign in here.
    pub password_hash: Option<String>,
    /// Whether the user may no longer sign in; open sessions end too.
    pub disabled: bool,
}

impl std::fmt::Debug for UserRecord {
    /// Names and hashes stay out of logs.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("UserRecord")
            .field("id", &self.id)
            .field("role", &self.role)
            .field("disabled", &self.disabled)
            .finish_non_exhaustive()
    }
}

/// A session as stored: its token is kept only as a hash.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SessionRecord {
    /// SHA-256 of the token in the cookie.
    pub hash: [u8; 32],
    /// Whose it is.
    pub user: u64,
    /// When it was last used, milliseconds UTC, to the minute.
    pub seen_ms: i64,
}

/// Why the relay core did not do what the console asked.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DeskError {
    /// There is no such thing, or not for this viewer.
    #[error("not found")]
    NotFound,
    /// Policy denied it.
    #[error("forbidden by rule {rule}")]
    Forbidden {
        /// The policy's rule, such as `final_state`.
        rule: &'static str,
    },
    /// The document is no longer what the request assumed.
    #[error("conflict: {reason}")]
    Conflict {
        /// What differs, such as `unknown_heads` or `key_reused`.
        reason: &'static str,
    },
    /// A field is missing or out of bounds.
    #[error("invalid field {field}")]
    Invalid {
        /// The field's name in the JSON.
        field: &'static str,
    },
    /// The disk, or the database's allowance, is full: nothing was written.
    #[error("storage is full")]
    StorageFull,
    /// A bounded queue is full; the same request may work in a moment.
    #[error("busy")]
    Busy,
    /// Anything else; logged, never shown.
    #[error("internal: {0}")]
    Internal(#[source] Box<dyn std::error::Error + Send + Sync>),
}

impl From<StorageError> for DeskError {
    fn from(error: StorageError) -> Self {
        match error {
            StorageError::Full => Self::StorageFull,
            StorageError::Busy => Self::Busy,
            StorageError::Missing => Self::NotFound,
            StorageError::Exists => Self::Conflict { reason: "exists" },
            other => Self::Internal(Box::new(other)),
        }
    }
}

/// What the relay core does for the console.
#[async_trait]
pub trait Desk: Send + Sync + 'static {
    /// One page of the list, newest first.
    async fn list(&self, query: ListQuery) -> Result<ListPage, DeskError>;

    /// One petition whole. `NotFound` when there is none.
    async fn detail(&self, viewer: &Viewer, id: [u8; 16]) -> Result<Detail, DeskError>;

    /// Authors one act as the viewer's desk device and answers with the petition
    /// after it. The same `key` twice does it once.
    async fn act(
        &self,
        viewer: &Viewer,
        id: [u8; 16],
        request: ActRequest,
    ) -> Result<Detail, DeskError>;

    /// The Reporte Estadístico por Área of these days.
    async fn agency_report(&self, days: Days) -> Result<AgencyReport, DeskError>;

    /// Names for the filters and menus.
    async fn catalogs(&self) -> Result<Catalogs, DeskError>;

    /// The rows last changed after `after_seq`, ascending by `seq`, at most `limit`;
    /// fewer than `limit` means that there are no more.
    async fn rows_since(&self, after_seq: u64, limit: usize) -> Result<RowsSince, DeskError>;

    /// Every row accepted from now on, in the order of `seq`. Sent after commit, so
    /// that a row seen here is also in [`Desk::rows_since`].
    fn live(&self) -> broadcast::Receiver<Arc<LiveRow>>;

    /// The user with this sign-in name.
    async fn user_by_name(&self, name: &str) -> Result<Option<UserRecord>, DeskError>;

    /// Stores a new session, or one used again (same hash).
    async fn put_session(&self, session: SessionRecord) -> Result<(), DeskError>;

    /// The session with this hash, and its user as he is now.
    async fn session_by_hash(
        &self,
        hash: &[u8; 32],
    ) -> Result<Option<(SessionRecord, UserRecord)>, DeskError>;

    /// Forgets a session; no error when there is none.
    async fn delete_session(&self, hash: &[u8; 32]) -> Result<(), DeskError>;

    /// Forgets the sessions last used before this time, milliseconds UTC.
    async fn delete_sessions_before(&self, seen_ms: i64) -> Result<(), DeskError>;

    /// Whether storage and workers can serve.
    async fn ready(&self) -> Result<(), DeskError>;
}
