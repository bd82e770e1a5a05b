//! The gate without processes: the worker's own function, called in line. What would kill a worker is
//! a text that says so.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use async_trait::async_trait;
use bytes::Bytes;
use manzana_engine::codec;
use manzana_engine::document::Document;
use manzana_engine::fold::{EventKind, Status};
use manzana_engine::gate::judge::{self, JobDoc, Reply, Verdict};
use manzana_engine::ids::DocId;
use manzana_server::gate::{Gate, GateError};

use super::plant::Bug;

/// A petition with this in its subject kills the worker that judges it, until the worker is mended.
pub(super) const POISON: &str = "VENENO";

/// The worker's function, called in line.
#[derive(Debug, Clone)]
pub(super) struct InlineGate {
    /// A bug to have.
    pub(super) bug: Option<Bug>,
    /// Whether nothing kills it any more.
    pub(super) mended: Arc<AtomicBool>,
}

#[async_trait]
impl Gate for InlineGate {
    async fn judge(&self, job: Bytes) -> Result<Bytes, GateError> {
        let poison = job.windows(POISON.len()).any(|w| w == POISON.as_bytes());
        if poison && !self.mended.load(Ordering::Relaxed) {
            return Err(GateError::Died {
                signal: Some(9),
                code: None,
            });
        }
        let reply = judge::serve(&job);
        if self.bug == Some(Bug::FoldsByTheClock) {
            return Ok(by_the_clock(&reply).into());
        }
        Ok(reply.into())
    }
}

fn by_the_clock(reply: &[u8]) -> Vec<u8> {
    let Ok(Reply::Judged(mut judged)) = codec::decode::<Reply>(reply) else {
        return reply.to_vec();
    };
    let latest: Vec<(DocId, Option<Status>)> = judged
        .docs
        .iter()
        .map(|JobDoc { doc, saved }| (*doc, latest_status(saved)))
        .collect();
    for verdict in &mut judged.groups {
        let Verdict::Accepted(entries) = verdict else {
            continue;
        };
        for entry in entries {
            let found = latest
                .iter()
                .find(|(doc, _)| judged_doc(entry, &judged.docs) == Some(*doc));
            if let Some((_, Some(status))) = found {
                entry.summary.status = *status;
            }
        }
    }
    codec::encode(&Reply::Judged(judged))
}

fn judged_doc(entry: &judge::AcceptedEntry, docs: &[JobDoc]) -> Option<DocId> {
    let holds = |saved: &[u8]| Document::load(saved).is_ok_and(|doc| doc.has(&entry.hash));
    docs.iter().find(|doc| holds(&doc.saved)).map(|doc| doc.doc)
}

fn latest_status(saved: &[u8]) -> Option<Status> {
    let view = Document::load(saved).ok()?.view().ok()?;
    let latest = view.events.iter().max_by_key(|event| event.record.by.at)?;
    match latest.record.kind {
        EventKind::Done => Some(Status::Done),
        EventKind::NotApplicable => Some(Status::NotApplicable),
        EventKind::Referred => Some(Status::Referred),
        EventKind::Started | EventKind::Reopened => Some(Status::InProgress),
        _ => None,
    }
}
