//! Segments over a real database: kept, found out of date, and never over their limits.
#![allow(clippy::unwrap_used)]

use manzana_engine::codec;
use manzana_engine::ids::DocId;
use manzana_engine::limits::DOC_BYTES;
use tempfile::TempDir;

use super::*;
use crate::storage::conformance::format;
use crate::storage::conformance::samples::{Author, Sheet, batch};
use crate::storage::sqlite::SqliteStore;

struct City {
    _dir: TempDir,
    store: SqliteStore,
    packs: Packs,
    ana: Author,
    sheets: Vec<Sheet>,
}

impl City {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let store = SqliteStore::open(&dir.path().join("city.db"), &format()).unwrap();
        Self {
            _dir: dir,
            store,
            packs: Packs::new(SEGMENT_DOCS),
            ana: Author::new(1),
            sheets: Vec::new(),
        }
    }

    /// Petitions with these saved bytes each, in one batch.
    async fn capture(&mut self, saved: Vec<Vec<u8>>) {
        let mut made = Vec::new();
        let mut envelopes = Vec::new();
        for bytes in saved {
            let mut sheet = self.ana.petition();
            let entry = sheet.change(&self.ana);
            sheet.saved = bytes.into();
            envelopes.push(self.ana.accepted(vec![entry]));
            made.push(sheet);
        }
        let sheets: Vec<&Sheet> = made.iter().collect();
        let batch = batch(envelopes, &sheets);
        self.store.commit_batch(batch).await.unwrap();
        self.sheets.extend(made);
    }

    async fn change(&mut self, index: usize, change: impl FnOnce(&mut Sheet)) {
        change(&mut self.sheets[index]);
        let entry = self.sheets[index].change(&self.ana);
        let envelope = self.ana.accepted(vec![entry]);
        let batch = batch(vec![envelope], &[&self.sheets[index]]);
        self.store.commit_batch(batch).await.unwrap();
    }

    /// All pieces of a fill from its start.
    async fn pieces(&self, packs: &Packs, scope: &Scope) -> Vec<Piece> {
        let (mut before, mut pieces) = (Seq::MAX, Vec::new());
        loop {
            let piece = packs.next(&self.store, scope, before).await.unwrap();
            assert!(piece.segment.len() <= SEGMENT_BYTES);
            before = piece.before;
            pieces.push(piece);
            if pieces.last().is_some_and(|piece| piece.done) {
                return pieces;
            }
        }
    }
}

fn inflate(piece: &Piece) -> Vec<PackedDoc> {
    let bytes = zstd::bulk::decompress(&piece.segment, SEGMENT_INFLATED).unwrap();
    codec::decode(&bytes).unwrap()
}

/// Documents of these pieces with their saved bytes, as they come.
fn docs(pieces: &[Piece]) -> Vec<(DocId, Vec<u8>)> {
    let all = pieces.iter().flat_map(|piece| {
        let large = piece.large.clone();
        large.into_iter().chain(inflate(piece))
    });
    all.map(|packed| (packed.doc, packed.saved.to_vec()))
        .collect()
}

/// Bytes that do not compress.
fn noise(seed: u64, bytes: usize) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 24) as u8
    };
    (0..bytes).map(|_| next()).collect()
}

#[tokio::test]
async fn every_fill_gets_the_same_segments_and_the_second_opens_no_document() {
    let mut city = City::new();
    city.capture((0..500).map(|n| noise(n, 90)).collect()).await;
    let first = city.pieces(&city.packs, &Scope::City).await;
    assert_eq!(docs(&first).len(), 500);
    assert!(first.len() >= 500 / SEGMENT_DOCS && first.len() <= 2 * 500 / SEGMENT_DOCS + 2);
    let opened = city.store.opened();
    assert_eq!(opened, 500, "each was read once");
    assert_eq!(city.pieces(&city.packs, &Scope::City).await, first);
    // One that was cut within a segment, by other bounds than today's, gets that segment too.
    let cut = city
        .packs
        .next(&city.store, &Scope::City, 251)
        .await
        .unwrap();
    assert!(first.contains(&cut));
    assert_eq!(city.store.opened(), opened);
}

#[tokio::test]
async fn a_segment_is_made_anew_when_a_document_of_it_changes_enters_or_leaves() {
    let mut city = City::new();
    city.capture((0..300).map(|n| noise(n, 90)).collect()).await;
    let agency = Scope::Agency(4);
    for index in 0..200 {
        city.change(index, |sheet| sheet.refer(&[4])).await;
    }
    for turn in 0..5 {
        match turn {
            0 => {}
            1 => {
                city.change(20, |sheet| sheet.summary.title = "OTRA".into())
                    .await
            }
            2 => city.change(250, |sheet| sheet.refer(&[4])).await,
            3 => city.change(60, |sheet| sheet.refer(&[9])).await,
            _ => {
                // One leaves and another comes: as many as before.
                city.change(61, |sheet| sheet.refer(&[9])).await;
                city.change(60, |sheet| sheet.refer(&[4])).await;
            }
        }
        let kept = city.pieces(&city.packs, &agency).await;
        let fresh = city.pieces(&Packs::new(SEGMENT_DOCS), &agency).await;
        assert_eq!(kept, fresh, "turn {turn}");
        let opened = city.store.opened();
        assert_eq!(city.pieces(&city.packs, &agency).await, kept);
        assert_eq!(city.store.opened(), opened, "turn {turn}");
    }
}

#[tokio::test]
async fn only_the_segment_that_changed_is_made_anew() {
    let mut city = City::new();
    city.capture((0..500).map(|n| noise(n, 90)).collect()).await;
    city.pieces(&city.packs, &Scope::City).await;
    let opened = city.store.opened();
    city.change(250, |sheet| sheet.summary.title = "OTRA".into())
        .await;
    city.pieces(&city.packs, &Scope::City).await;
    assert!(city.store.opened() - opened <= SEGMENT_DOCS as u64);
}

#[tokio::test]
async fn segments_keep_within_their_limits_whatever_documents_are_like() {
    let mut city = City::new();
    let mut saved: Vec<Vec<u8>> = (0..40).map(|n| noise(n, 10_000)).collect();
    // Larger than any segment, compressed; and three that are too much only once inflated.
    saved.push(noise(99, DOC_BYTES));
    saved.extend((0..3).map(|n| vec![n; DOC_BYTES]));
    saved.push(noise(98, SEGMENT_BYTES + 1));
    saved.extend((0..5).map(|n| noise(n, 30_000)));
    let expected: Vec<Vec<u8>> = saved.iter().rev().cloned().collect();
    for bytes in saved {
        city.capture(vec![bytes]).await;
    }
    for _ in 0..2 {
        let pieces = city.pieces(&city.packs, &Scope::City).await;
        let got: Vec<Vec<u8>> = docs(&pieces).into_iter().map(|(_, saved)| saved).collect();
        assert!(got == expected, "each once, newest first");
        let large = pieces.iter().filter(|piece| piece.large.is_some());
        assert_eq!(large.count(), 2);
    }
}

#[tokio::test]
async fn a_scope_with_nothing_is_done_at_once() {
    let city = City::new();
    let pieces = city.pieces(&city.packs, &Scope::Block(7)).await;
    assert_eq!((pieces.len(), docs(&pieces)), (1, Vec::new()));
}

#[test]
fn a_kept_segment_is_of_its_stretch_while_nothing_came_went_or_changed() {
    let stretch = Stretch {
        from: 64,
        until: 128,
        count: 5,
        last_seq: 300,
        done: false,
    };
    let kept = |count, head| Kept {
        segment: None,
        count,
        head,
    };
    assert!(kept(5, 300).is_of(&stretch));
    assert!(!kept(5, 299).is_of(&stretch), "changed since");
    assert!(!kept(6, 400).is_of(&stretch), "one has left");
}
