//! Segments of fills, compressed once and kept.
//!
//! A scope's documents are cut into stretches of creation places that do not depend on who asks or
//! where their fill stands ([`crate::storage::Stretch`]), so that every device that fills the scope
//! gets the same segments. A kept segment is used as long as its stretch holds as many documents as it
//! does, none of them changed since it was read: one small read that opens no document tells so. (What
//! changed or entered since has a later last place; what only left makes the stretch count fewer.) So
//! nothing has to be told to this memory when the city changes.
//!
//! A `city` fill is not made of the segments of smaller scopes: it goes by creation place through the
//! whole city, newest first, and a block's segment reaches back over years of it.

use bytes::Bytes;
use manzana_engine::grant::Scope;
use manzana_engine::ids::Seq;
use manzana_engine::limits::{SEGMENT_BYTES, SEGMENT_INFLATED};
use manzana_engine::relay::pack_segment;
use manzana_engine::wire::PackedDoc;
use quick_cache::Weighter;
use quick_cache::sync::Cache;

use crate::storage::{RelayStore, Result, Stretch};

/// Most documents of one segment: reference petitions take about 600 B each of [`SEGMENT_BYTES`].
pub const SEGMENT_DOCS: usize = 96;
/// Memory for kept segments, bytes: the city scope of 25,000 petitions.
const KEPT_BYTES: u64 = 16 << 20;
/// What a kept segment costs beside its bytes.
const ENTRY_BYTES: u64 = 256;
/// Room for the head of the array that a segment inflates to.
const ARRAY_HEAD: usize = 9;
/// About what one packed document has beside its saved bytes and its row.
const DOC_HEAD: usize = 64;

/// The next piece of a fill.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Piece {
    /// A document too large for any segment, to be sent whole before it.
    pub(super) large: Option<PackedDoc>,
    /// Compressed documents, newest first; at most [`SEGMENT_BYTES`].
    pub(super) segment: Bytes,
    /// Where the fill stands after it.
    pub(super) before: Seq,
    /// Nothing is left of the scope.
    pub(super) done: bool,
}

/// A scope and its places, from and until.
type Key = (Scope, Seq, Seq);

#[derive(Debug, Clone)]
struct Kept {
    /// `None`: the stretch is too large for one segment.
    segment: Option<Bytes>,
    /// Documents in it.
    count: usize,
    /// Head of the log when they were read.
    head: Seq,
}

impl Kept {
    fn is_of(&self, stretch: &Stretch) -> bool {
        self.count == stretch.count && stretch.last_seq <= self.head
    }
}

#[derive(Debug, Clone)]
struct ByBytes;

impl Weighter<Key, Kept> for ByBytes {
    fn weight(&self, _: &Key, kept: &Kept) -> u64 {
        let bytes = kept.segment.as_ref().map_or(0, Bytes::len);
        bytes as u64 + ENTRY_BYTES
    }
}

/// The segments kept.
#[derive(Debug)]
pub(super) struct Packs {
    /// Most documents of one segment.
    most: usize,
    kept: Cache<Key, Kept, ByBytes>,
    /// One is made at a time: a neighbourhood that starts at once waits for one compression, not for
    /// as many as it has phones.
    making: tokio::sync::Mutex<()>,
}

impl Packs {
    pub(super) fn new(most: usize) -> Self {
        let items = KEPT_BYTES as usize / (SEGMENT_BYTES / 2);
        Self {
            most,
            kept: Cache::with_weighter(items, KEPT_BYTES, ByBytes),
            making: tokio::sync::Mutex::default(),
        }
    }

    /// What a fill of the scope goes on with, from what was created before a place.
    pub(super) async fn next(
        &self,
        store: &dyn RelayStore,
        scope: &Scope,
        before: Seq,
    ) -> Result<Piece> {
        let mut most = self.most;
        loop {
            let Some(stretch) = store.stretch(scope, before, most).await? else {
                return Ok(Piece {
                    large: None,
                    segment: pack_segment(&[]).into(),
                    before,
                    done: true,
                });
            };
            let kept = match self.known(scope, &stretch) {
                Some(kept) => kept,
                None => self.make(store, scope, &stretch).await?,
            };
            if let Some(segment) = kept.segment {
                return Ok(Piece {
                    large: None,
                    segment,
                    before: stretch.from,
                    done: stretch.done,
                });
            }
            if stretch.count <= 1 {
                let (docs, _) = store.fill(scope, stretch.from, stretch.until).await?;
                return Ok(Piece {
                    large: docs.into_iter().next(),
                    segment: pack_segment(&[]).into(),
                    before: stretch.from,
                    done: stretch.done,
                });
            }
            most = stretch.count / 2;
        }
    }

    fn known(&self, scope: &Scope, stretch: &Stretch) -> Option<Kept> {
        let kept = self.kept.get(&key(scope, stretch))?;
        kept.is_of(stretch).then_some(kept)
    }

    async fn make(&self, store: &dyn RelayStore, scope: &Scope, stretch: &Stretch) -> Result<Kept> {
        let _alone = self.making.lock().await;
        if let Some(kept) = self.known(scope, stretch) {
            return Ok(kept);
        }
        let (docs, head) = store.fill(scope, stretch.from, stretch.until).await?;
        let kept = Kept {
            segment: compress(&docs),
            count: docs.len(),
            head,
        };
        self.kept.insert(key(scope, stretch), kept.clone());
        Ok(kept)
    }
}

fn key(scope: &Scope, stretch: &Stretch) -> Key {
    (scope.clone(), stretch.from, stretch.until)
}

/// The segment of these documents, if it keeps within both limits.
fn compress(docs: &[PackedDoc]) -> Option<Bytes> {
    let inflated = |doc: &PackedDoc| doc.saved.len() + doc.summary.len() + DOC_HEAD;
    if ARRAY_HEAD + docs.iter().map(inflated).sum::<usize>() > SEGMENT_INFLATED {
        return None;
    }
    let segment = pack_segment(docs);
    (segment.len() <= SEGMENT_BYTES).then(|| segment.into())
}

#[cfg(test)]
#[path = "packs_tests.rs"]
mod tests;
