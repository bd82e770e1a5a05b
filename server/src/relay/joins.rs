//! Documents with very many heads are joined: a change without operations by the administration's own
//! desk device, so that the next honest change names few of them.

use std::sync::Weak;

use manzana_engine::answer::Answer;
use manzana_engine::gate::judge::{AuthorJob, Reply, Request};
use manzana_engine::ids::{Actor, DocId, RecordId};
use manzana_engine::limits::JOIN_HEADS;
use tokio::sync::mpsc;

use super::Relay;
use super::desk::internal;
use crate::desk::DeskError;
use crate::storage::{DeviceRecord, DocState};

/// Documents that wait to be joined. One that finds no room is no harm: its next change shows its heads
/// again, and devices join before they write.
pub(super) const WAITING: usize = 64;

/// Joins what was found to have very many heads, until the relay is gone.
pub(super) async fn run(relay: Weak<Relay>, mut wide: mpsc::Receiver<DocId>) {
    while let Some(doc) = wide.recv().await {
        let Some(relay) = relay.upgrade() else { return };
        if let Err(error) = relay.join_heads(doc).await {
            tracing::warn!(%error, %doc, "heads were not joined");
        }
    }
}

impl Relay {
    /// Looks at the heads of a document that was committed.
    pub(super) fn look_at_heads(&self, state: &DocState) {
        if state.summary.heads.len() > JOIN_HEADS {
            let _ = self.wide.try_send(state.doc);
        }
    }

    /// Joins a document's heads, if they are still too many. Its own commit is looked at like any
    /// other, so that more than one join can take is joined further; each leaves fewer.
    async fn join_heads(&self, doc: DocId) -> Result<(), DeskError> {
        let _turn = self.desks.lock().await;
        let Some(state) = self.store.docs(&[doc]).await?.remove(&doc) else {
            return Ok(());
        };
        if state.summary.heads.len() <= JOIN_HEADS {
            return Ok(());
        }
        let desk = self.administration().await?;
        if self.append_without_operations(&desk, state, false).await? {
            self.metrics.joins.inc();
        }
        Ok(())
    }

    /// Appends changes without operations that join a document's heads: as many as bring them down to
    /// [`JOIN_HEADS`], or, where it is `bare`, one on however few there are. Gives whether there were any.
    /// The caller holds the desks' turn.
    pub(super) async fn append_without_operations(
        &self,
        desk: &DeviceRecord,
        state: DocState,
        bare: bool,
    ) -> Result<bool, DeskError> {
        let job = AuthorJob {
            saved: state.saved.to_vec().into(),
            heads: state.summary.heads,
            actor: Actor::new(&desk.id, 0),
            record: RecordId::new(&desk.id, 0),
            records: Vec::new(),
            bare,
        };
        let Reply::Authored(changes) = self.ask(&Request::Author(job)).await? else {
            return Err(internal("the gate answered something else"));
        };
        if changes.is_empty() {
            return Ok(false);
        }
        let changes = changes.into_iter().map(Vec::from).collect();
        match self
            .append_as(desk, state.doc, changes, None)
            .await?
            .first()
        {
            Some(Answer::Accepted { .. }) => Ok(true),
            other => Err(internal(&format!(
                "a change without operations was not accepted: {other:?}"
            ))),
        }
    }
}
