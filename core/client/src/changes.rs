//! What changed, for screens: a bounded stream that says so when it could not keep up.

use manzana_engine::ids::DocId;
use manzana_engine::replica::Change;
use tokio::sync::broadcast;

/// Changes kept for a reader that is behind. Past it the reader is told to read everything again.
pub(crate) const BEHIND: usize = 1024;

/// What changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum ChangeEvent {
    /// A petition appeared, changed or left.
    Petition(DocId),
    /// Something entered or left "Por corregir".
    ToCorrect,
    /// Connection, custody or counters changed: ask for the status.
    Status,
    /// This reader was too slow: read everything again.
    Everything,
}

impl From<Change> for ChangeEvent {
    fn from(change: Change) -> Self {
        match change {
            Change::Doc(doc) => Self::Petition(doc),
            Change::ToCorrect => Self::ToCorrect,
            _ => Self::Status,
        }
    }
}

/// A reader of changes. Dropping it ends the subscription.
#[derive(Debug)]
pub struct Changes {
    pub(crate) receiver: broadcast::Receiver<ChangeEvent>,
}

impl Changes {
    /// Waits for the next change; `None` once the client is gone.
    pub async fn next(&mut self) -> Option<ChangeEvent> {
        match self.receiver.recv().await {
            Ok(event) => Some(event),
            Err(broadcast::error::RecvError::Lagged(_)) => Some(ChangeEvent::Everything),
            Err(broadcast::error::RecvError::Closed) => None,
        }
    }
}
