//! A naive model of the city, walked by a random script: log pages, fills and digests must agree.

use std::collections::{BTreeMap, BTreeSet};

use manzana_engine::codec;
use manzana_engine::digest::SetHash;
use manzana_engine::grant::Scope;
use manzana_engine::ids::{DocId, Hash, Seq};
use manzana_engine::summary::Summary;

use super::Backend;
use super::samples::{Author, Sheet, batch};
use crate::storage::{EnvelopeCommit, Move, RelayStore};

type Moves = Vec<(Scope, Move)>;

#[derive(Default)]
struct Model {
    log: Vec<(DocId, Hash, Moves)>,
    members: BTreeMap<DocId, (Seq, Vec<Scope>)>,
    sheets: Vec<Sheet>,
}

impl Model {
    fn entry(&mut self, index: usize, hash: Hash) {
        let sheet = &self.sheets[index];
        let after = sheet.summary.scopes();
        let seq = Seq::try_from(self.log.len()).unwrap() + 1;
        let (_, before) = self.members.get(&sheet.doc).cloned().unwrap_or_default();
        let all: BTreeSet<Scope> = before.iter().chain(&after).cloned().collect();
        let moves = all
            .into_iter()
            .map(|scope| {
                let step = match (before.contains(&scope), after.contains(&scope)) {
                    (true, true) => Move::Stay,
                    (true, false) => Move::Leave,
                    _ => Move::Enter,
                };
                (scope, step)
            })
            .collect();
        self.log.push((sheet.doc, hash, moves));
        let created = self.members.get(&sheet.doc).map_or(seq, |known| known.0);
        self.members.insert(sheet.doc, (created, after));
    }

    fn rows(&self, scopes: &[Scope], after: Seq) -> Vec<(Seq, DocId, Hash, Moves)> {
        (1..)
            .zip(&self.log)
            .filter(|(seq, _)| *seq > after)
            .filter_map(|(seq, (doc, hash, moves))| {
                let mine: Moves = moves
                    .iter()
                    .filter(|(scope, _)| scopes.contains(scope))
                    .cloned()
                    .collect();
                (!mine.is_empty()).then_some((seq, *doc, *hash, mine))
            })
            .collect()
    }

    /// Place of a document's last change.
    fn last_seq(&self, doc: &DocId) -> Seq {
        let last = self.log.iter().rposition(|(other, ..)| other == doc);
        last.map_or(0, |index| index as Seq + 1)
    }

    /// Members of a scope, newest first.
    fn members(&self, scope: &Scope) -> Vec<(Seq, &Sheet)> {
        let mut members: Vec<_> = self
            .sheets
            .iter()
            .filter_map(|sheet| {
                let (created, scopes) = &self.members[&sheet.doc];
                scopes.contains(scope).then_some((*created, sheet))
            })
            .collect();
        members.sort_by_key(|(created, _)| std::cmp::Reverse(*created));
        members
    }
}

/// Walks the script: each step is one group, `step[3]` tells where batches end.
pub async fn agrees<B: Backend>(script: &[[u8; 4]]) {
    let backend = B::create().await;
    let store = backend.open().await;
    let mut model = Model::default();
    let mut authors: Vec<Author> = (1..=3).map(Author::new).collect();
    let mut pending: Vec<EnvelopeCommit> = Vec::new();
    let mut touched = BTreeSet::new();
    for step in script {
        let author = &mut authors[usize::from(step[0] % 3)];
        let index = choose(&mut model, author, step);
        let entry = model.sheets[index].change(author);
        model.entry(index, entry.hash);
        pending.push(author.accepted(vec![entry]));
        touched.insert(index);
        if step[3].is_multiple_of(4) {
            flush(&store, &model, &mut pending, &mut touched).await;
        }
    }
    flush(&store, &model, &mut pending, &mut touched).await;
    check(&store, &model).await;
}

/// A new petition, or another one changed or referred.
fn choose(model: &mut Model, author: &mut Author, step: &[u8; 4]) -> usize {
    let new = model.sheets.is_empty() || step[1] < 80;
    if new {
        let mut sheet = author.petition();
        sheet.summary.block = Some(u32::from(step[2] % 3));
        sheet.summary.sector = step[2].is_multiple_of(2).then_some(1);
        model.sheets.push(sheet);
        return model.sheets.len() - 1;
    }
    let index = usize::from(step[1]) % model.sheets.len();
    let sheet = &mut model.sheets[index];
    match step[2] % 4 {
        0 => sheet.refer(&[u32::from(step[2]) / 4 % 3]),
        1 => sheet.refer(&[1, u32::from(step[2]) / 4 % 3]),
        2 => sheet.summary.crews = vec![u32::from(step[2]) / 4 % 2],
        _ => {}
    }
    index
}

async fn flush<S: RelayStore>(
    store: &S,
    model: &Model,
    pending: &mut Vec<EnvelopeCommit>,
    touched: &mut BTreeSet<usize>,
) {
    let sheets: Vec<&Sheet> = std::mem::take(touched)
        .into_iter()
        .map(|index| &model.sheets[index])
        .collect();
    store
        .commit_batch(batch(std::mem::take(pending), &sheets))
        .await
        .unwrap();
}

async fn check<S: RelayStore>(store: &S, model: &Model) {
    let scopes = [
        Scope::City,
        Scope::Catalog,
        Scope::Author(1),
        Scope::Block(0),
        Scope::Sector(1),
        Scope::Agency(1),
        Scope::Agency(2),
        Scope::Crew(1),
    ];
    for scope in &scopes {
        check_fill(store, model, scope).await;
        check_log(store, model, std::slice::from_ref(scope), 3).await;
    }
    check_log(store, model, &scopes[2..], 4).await;
    check_log(store, model, &scopes, 1_000).await;
    check_log(store, model, &[], 5).await;
    let (seq, digests) = store.digests(&scopes).await.unwrap();
    assert_eq!(seq, model.log.len() as u64);
    for (scope, digest) in digests {
        let mut fresh = SetHash::default();
        for (_, sheet) in model.members(&scope) {
            fresh.add(&sheet.doc, &sheet.summary.heads);
        }
        assert_eq!(digest, fresh.digest(), "{scope}");
    }
}

async fn check_log<S: RelayStore>(store: &S, model: &Model, scopes: &[Scope], limit: usize) {
    let head = model.log.len() as u64;
    let (mut after, mut pages) = (0, Vec::new());
    while after < head {
        let (rows, to) = store.log_after(scopes, after, limit).await.unwrap();
        assert!(to > after && rows.len() <= limit);
        assert!(rows.iter().all(|row| row.seq > after && row.seq <= to));
        pages.extend(rows);
        after = to;
    }
    let got: Vec<_> = pages
        .into_iter()
        .map(|row| (row.seq, row.doc, row.hash, row.moves))
        .collect();
    assert_eq!(got, model.rows(scopes, 0));
}

/// Fills from every place there is: the stretches lie alike wherever one begins, and hold the members.
async fn check_fill<S: RelayStore>(store: &S, model: &Model, scope: &Scope) {
    let members = model.members(scope);
    let expected: Vec<_> = members
        .iter()
        .map(|(created, sheet)| (*created, sheet.doc, sheet.saved.to_vec()))
        .collect();
    let mut stretches = BTreeSet::new();
    let begins = members.iter().map(|(created, _)| created + 1);
    for begin in begins.rev().chain([Seq::MAX]) {
        let (mut before, mut got) = (begin, Vec::new());
        while let Some(stretch) = store.stretch(scope, before, 3).await.unwrap() {
            assert!(stretch.from < before && stretch.from < stretch.until);
            let (packed, head) = store
                .fill(scope, stretch.from, stretch.until)
                .await
                .unwrap();
            assert_eq!(head, model.log.len() as u64);
            assert!((1..=3).contains(&packed.len()));
            assert_eq!(packed.len(), stretch.count);
            let last = packed.iter().map(|doc| model.last_seq(&doc.doc)).max();
            assert_eq!(Some(stretch.last_seq), last);
            let older = members.iter().any(|(created, _)| *created < stretch.from);
            assert_eq!(stretch.done, !older);
            stretches.insert((stretch.from, stretch.until));
            before = stretch.from;
            got.extend(packed);
        }
        let got: Vec<_> = got
            .iter()
            .map(|doc| {
                let summary: Summary = codec::decode(&doc.summary).unwrap();
                let sheet = model.sheets.iter().find(|sheet| sheet.doc == doc.doc);
                assert_eq!(Some(&summary), sheet.map(|sheet| &sheet.summary));
                (doc.creation_seq, doc.doc, doc.saved.to_vec())
            })
            .collect();
        // The first stretch may reach above the place where this fill begins.
        assert!(expected.ends_with(&got), "{scope} before {begin}");
        assert!(got.len() >= expected.iter().filter(|doc| doc.0 < begin).count());
    }
    let stretches: Vec<_> = stretches.into_iter().collect();
    assert!(stretches.windows(2).all(|pair| pair[0].1 <= pair[1].0));
}
