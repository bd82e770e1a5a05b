//! What was committed, on its way to the readers who are awake.
//!
//! Each session is told that something was committed ([`News`]) and looks at the commit itself if it is
//! still here: the latest ones are held, in so many bytes and no more, whatever readers do. Whoever comes
//! later reads the log from the storage. Readers to whom a commit is the same share its encoded frames.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::{Arc, Mutex, PoisonError, Weak};

use bytes::Bytes;
use manzana_engine::codec;
use manzana_engine::ids::{DeviceId, DocId, Seq};
use manzana_engine::relay::{LogRowView, Session, Sight, log_frames};
use manzana_engine::wire::PackedDoc;

use crate::storage::{Committed, DocState, LogRow};

/// Commits held for their readers, bytes of changes and documents. Their frames take as much again.
const HELD_BYTES: usize = 8 << 20;
/// The least that a commit counts, bytes.
const COMMIT_BYTES: usize = 1 << 10;

/// A commit as a session hears of it.
#[derive(Debug)]
pub(super) struct News {
    /// Devices for which answers were written.
    pub(super) answered: BTreeSet<DeviceId>,
    /// The commit, while it is held.
    pub(super) commit: Weak<Commit>,
}

/// Frames of a commit for those who see it alike.
type Frames = Arc<[Bytes]>;

/// Log rows and documents of one commit, with the frames that were made of them.
#[derive(Debug)]
pub(super) struct Commit {
    rows: Vec<Arc<LogRow>>,
    docs: Vec<Arc<DocState>>,
    bytes: usize,
    frames: Mutex<Shared>,
}

#[derive(Debug, Default)]
struct Shared {
    frames: BTreeMap<Vec<Sight>, Frames>,
    bytes: usize,
}

impl Commit {
    fn new(committed: &Committed) -> Self {
        let rows = committed.rows.iter().map(|row| row.change.len());
        let docs = committed.docs.iter().map(|state| state.saved.len());
        Self {
            bytes: COMMIT_BYTES + rows.chain(docs).sum::<usize>(),
            rows: committed.rows.clone(),
            docs: committed.docs.clone(),
            frames: Mutex::default(),
        }
    }

    /// Takes a session that stands right before this commit past it, and gives its frames. A session
    /// that stands elsewhere is left where it is: the log serves it.
    pub(super) fn pass(&self, session: &mut Session) -> Frames {
        let (Some(first), Some(last)) = (self.rows.first(), self.rows.last()) else {
            return Frames::default();
        };
        if session.at() + 1 != first.seq {
            return Frames::default();
        }
        let views: Vec<LogRowView<'_>> = self.rows.iter().map(|row| view(row)).collect();
        let sights = session.sights(&views);
        session.reached(last.seq);
        self.frames(&views, sights, last.seq)
    }

    fn frames(&self, views: &[LogRowView<'_>], sights: Vec<Sight>, to: Seq) -> Frames {
        if sights.iter().all(|sight| *sight == Sight::Nothing) {
            return Frames::default();
        }
        // Its author's frame is like no other's.
        let shared = !sights.contains(&Sight::Own);
        let mut kept = self.frames.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(frames) = kept.frames.get(&sights).filter(|_| shared) {
            return Arc::clone(frames);
        }
        // Made under the lock: the others who see it alike wait for these instead of making theirs.
        let frames = log_frames(views, &sights, to, |doc| self.packed(doc));
        let frames: Frames = frames.iter().map(|f| codec::encode(f).into()).collect();
        let bytes = sights.len() + frames.iter().map(Bytes::len).sum::<usize>();
        if shared && kept.bytes + bytes <= self.bytes.saturating_mul(2) {
            kept.bytes += bytes;
            kept.frames.insert(sights, Arc::clone(&frames));
        }
        frames
    }

    fn packed(&self, doc: &DocId) -> Option<PackedDoc> {
        let state = self.docs.iter().find(|state| state.doc == *doc);
        state.map(|state| packed(state))
    }
}

/// The latest commits.
#[derive(Debug, Default)]
pub(super) struct Live(Mutex<Held>);

#[derive(Debug, Default)]
struct Held {
    commits: VecDeque<Arc<Commit>>,
    bytes: usize,
}

impl Live {
    /// Holds a commit, letting the oldest go, and tells what sessions are told.
    pub(super) fn hold(&self, committed: &Committed) -> News {
        let commit = Arc::new(Commit::new(committed));
        let news = News {
            answered: committed.answers.keys().copied().collect(),
            commit: Arc::downgrade(&commit),
        };
        let mut held = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        held.bytes += commit.bytes;
        held.commits.push_back(commit);
        while held.bytes > HELD_BYTES && held.commits.len() > 1 {
            let oldest = held.commits.pop_front();
            held.bytes -= oldest.map_or(0, |commit| commit.bytes);
        }
        news
    }
}

/// A document as packs, enters and wholes carry it.
pub(super) fn packed(state: &DocState) -> PackedDoc {
    PackedDoc {
        doc: state.doc,
        creation_seq: state.creation_seq,
        folio: state.folio,
        saved: state.saved.to_vec().into(),
        summary: codec::encode(&state.summary).into(),
    }
}

/// A row as sessions look at it.
pub(super) fn view(row: &LogRow) -> LogRowView<'_> {
    LogRowView {
        seq: row.seq,
        doc: row.doc,
        device: row.device,
        hash: row.hash,
        change: &row.change,
        folio: row.folio,
        moves: &row.moves,
    }
}

#[cfg(test)]
#[path = "live_tests.rs"]
mod tests;
