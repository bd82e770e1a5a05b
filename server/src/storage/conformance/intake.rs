//! `commit_batch`: order, atomicity, scopes and parts.

use manzana_engine::answer::Answer;
use manzana_engine::digest::SetHash;
use manzana_engine::envelope::PartKind;
use manzana_engine::grant::Scope;

use super::Backend;
use super::samples::{Author, Sheet, batch, fresh_hash};
use crate::storage::{ChainHead, GroupCommit, Head, Move, RelayStore, Result, StorageError};

async fn create<S: RelayStore>(store: &S, author: &mut Author) -> Sheet {
    let mut sheet = author.petition();
    let entry = sheet.change(author);
    let envelope = author.accepted(vec![entry]);
    store
        .commit_batch(batch(vec![envelope], &[&sheet]))
        .await
        .unwrap();
    sheet
}

fn is_misuse<T>(result: &Result<T>) -> bool {
    matches!(result, Err(StorageError::Backend(_)))
}

pub async fn places_and_folios_have_no_gaps<B: Backend>() {
    let backend = B::create().await;
    let store = backend.open().await;
    let (mut ana, mut beto) = (Author::new(1), Author::new(2));
    let (mut places, mut folios) = (Vec::new(), Vec::new());
    for round in 0..12 {
        let (mut one, mut two) = (ana.petition(), beto.petition());
        let entries = vec![one.change(&ana), one.change(&ana)];
        let mut envelopes = vec![
            ana.accepted(entries),
            beto.accepted(vec![two.change(&beto)]),
        ];
        if round % 3 == 1 {
            // A batch that fails in its second envelope takes neither place nor folio.
            envelopes[1].n += 5;
            let failed = store.commit_batch(batch(envelopes, &[&one, &two])).await;
            assert!(is_misuse(&failed));
            (ana.n, beto.n) = (ana.n - 1, beto.n - 1);
            continue;
        }
        let done = store
            .commit_batch(batch(envelopes, &[&one, &two]))
            .await
            .unwrap();
        places.extend(done.rows.iter().map(|row| row.seq));
        folios.extend(done.rows.iter().filter_map(|row| row.folio));
        let Answer::Accepted { seq, folio } = &done.answers[&ana.device][0].groups[0] else {
            panic!("not accepted");
        };
        assert_eq!((*seq, *folio), (done.rows[0].seq, done.rows[0].folio));
    }
    assert_eq!(places, (1..=24).collect::<Vec<_>>());
    assert_eq!(folios, (1_455..1_455 + 16).collect::<Vec<_>>());
    assert_eq!(
        store.head().await.unwrap(),
        Head {
            epoch: 1,
            seq: 24,
            recovering: false
        }
    );
}

pub async fn a_batch_that_fails_leaves_nothing<B: Backend>() {
    let backend = B::create().await;
    let store = backend.open().await;
    let mut ana = Author::new(1);
    let old = create(&store, &mut ana).await;
    let digests = store.digests(&[Scope::City]).await.unwrap();

    let (mut changed, mut new) = (old.clone(), ana.petition());
    let entries = vec![changed.change(&ana), new.change(&ana)];
    let hashes = [entries[0].hash, entries[1].hash];
    let mut envelope = ana.accepted(entries);
    envelope.parts = vec![new.masked_name("ANA P.")];
    // The new document's bytes are missing: our own mistake, found at the very end.
    let failed = store
        .commit_batch(batch(vec![envelope.clone()], &[&changed]))
        .await;
    assert!(is_misuse(&failed));

    assert_eq!(store.head().await.unwrap().seq, 1);
    assert_eq!(store.digests(&[Scope::City]).await.unwrap(), digests);
    assert_eq!(store.fates(&hashes).await.unwrap().len(), 0);
    assert_eq!(store.chain(&ana.device, 1).await.unwrap().have, 1);
    assert_eq!(
        store.answers_after(&ana.device, 0, 9).await.unwrap().len(),
        1
    );
    let docs = store.docs(&[old.doc, new.doc]).await.unwrap();
    assert_eq!(docs.len(), 1);
    assert_eq!(
        (&docs[&old.doc].saved, docs[&old.doc].last_seq),
        (&old.saved, 1)
    );

    // The same batch, whole, goes in afterwards, and the digest is that of a fresh set.
    let whole = batch(vec![envelope], &[&changed, &new]);
    store.commit_batch(whole).await.unwrap();
    let mut set = SetHash::default();
    set.add(&changed.doc, &changed.summary.heads);
    set.add(&new.doc, &new.summary.heads);
    let (seq, digests) = store.digests(&[Scope::City]).await.unwrap();
    assert_eq!((seq, digests), (3, vec![(Scope::City, set.digest())]));
}

pub async fn a_chain_goes_step_by_step<B: Backend>() {
    let backend = B::create().await;
    let store = backend.open().await;
    let mut ana = Author::new(1);
    assert_eq!(
        store.chain(&ana.device, 1).await.unwrap(),
        ChainHead::default()
    );
    let mut sheet = ana.petition();
    let first = ana.accepted(vec![sheet.change(&ana)]);
    let mut gap = ana.accepted(vec![sheet.change(&ana)]);
    gap.n = 3;
    for wrong in [
        vec![gap.clone()],
        vec![first.clone(), gap.clone()],
        vec![first.clone(), first.clone()],
    ] {
        assert!(is_misuse(
            &store.commit_batch(batch(wrong, &[&sheet])).await
        ));
    }
    let mut second = gap;
    second.n = 2;
    let both = vec![first.clone(), second.clone()];
    store.commit_batch(batch(both, &[&sheet])).await.unwrap();
    let held = store.chain(&ana.device, 1).await.unwrap();
    assert_eq!(
        held,
        ChainHead {
            have: 2,
            hash: second.hash
        }
    );
    assert_eq!(store.chain(&ana.device, 2).await.unwrap().have, 0);
    let hash = store.envelope_hash(&ana.device, 1, 1).await.unwrap();
    assert_eq!(hash, Some(first.hash));
    assert_eq!(store.envelope_hash(&ana.device, 1, 3).await.unwrap(), None);
}

pub async fn what_the_caller_should_never_ask_is_refused<B: Backend>() {
    let backend = B::create().await;
    let store = backend.open().await;
    let mut ana = Author::new(1);
    let mut sheet = create(&store, &mut ana).await;
    let entry = sheet.change(&ana);
    let stranger = ana.petition();
    let accepted = GroupCommit::Accepted(vec![entry.clone()]);
    let answer = |answer| GroupCommit::NotAccepted {
        answer,
        changes: Vec::new(),
        detail: None,
    };
    let groups = [
        (GroupCommit::Accepted(Vec::new()), vec![]),
        (accepted.clone(), vec![]),
        (accepted.clone(), vec![&sheet, &stranger]),
        (
            GroupCommit::Accepted(vec![entry.clone(), entry.clone()]),
            vec![&sheet],
        ),
        (
            answer(Answer::Accepted {
                seq: 1,
                folio: None,
            }),
            vec![],
        ),
        (answer(Answer::Waiting { deps: Vec::new() }), vec![]),
    ];
    for (group, docs) in groups {
        let envelope = ana.envelope(vec![group]);
        assert!(is_misuse(
            &store.commit_batch(batch(vec![envelope], &docs)).await
        ));
        ana.n -= 1;
    }
    let mut silent = ana.envelope(vec![accepted.clone()]);
    silent.groups = vec![None];
    assert!(is_misuse(
        &store.commit_batch(batch(vec![silent], &[])).await
    ));
    ana.n -= 1;
    let mut unknown = ana.envelope(vec![accepted.clone()]);
    unknown.resumes = true;
    assert!(is_misuse(
        &store.commit_batch(batch(vec![unknown], &[&sheet])).await
    ));
    ana.n -= 1;
    let right = ana.envelope(vec![accepted]);
    store
        .commit_batch(batch(vec![right], &[&sheet]))
        .await
        .unwrap();
    assert_eq!(store.head().await.unwrap().seq, 2);
}

pub async fn a_document_moves_through_scopes<B: Backend>() {
    let backend = B::create().await;
    let store = backend.open().await;
    let mut ana = Author::new(1);
    let mut sheet = ana.petition();
    sheet.summary.block = Some(5);
    let mut entries = vec![sheet.change(&ana)];
    sheet.refer(&[1]);
    entries.push(sheet.change(&ana));
    sheet.refer(&[2]);
    entries.push(sheet.change(&ana));
    // Two moves in one batch, then one more in another: both know where the document stood.
    let first = ana.accepted(entries);
    store
        .commit_batch(batch(vec![first], &[&sheet]))
        .await
        .unwrap();
    sheet.refer(&[1]);
    let second = ana.accepted(vec![sheet.change(&ana)]);
    let done = store
        .commit_batch(batch(vec![second], &[&sheet]))
        .await
        .unwrap();
    let expected = vec![
        (Scope::City, Move::Stay),
        (Scope::Author(1), Move::Stay),
        (Scope::Block(5), Move::Stay),
        (Scope::Agency(1), Move::Enter),
        (Scope::Agency(2), Move::Leave),
    ];
    assert_eq!(done.rows[0].moves, expected);

    let moves = |agency: u32| {
        let store = &store;
        async move {
            let scopes = [Scope::Agency(agency)];
            let (rows, to) = store.log_after(&scopes, 0, 10).await.unwrap();
            assert_eq!(to, 4);
            rows.iter()
                .map(|row| (row.seq, row.moves[0].1))
                .collect::<Vec<_>>()
        }
    };
    assert_eq!(
        moves(1).await,
        [(2, Move::Enter), (3, Move::Leave), (4, Move::Enter)]
    );
    assert_eq!(moves(2).await, [(3, Move::Enter), (4, Move::Leave)]);
    let empty = SetHash::default().digest();
    let (_, digests) = store.digests(&[Scope::Agency(2)]).await.unwrap();
    assert_eq!(digests, [(Scope::Agency(2), empty)]);
    let left = Scope::Agency(2);
    assert_eq!(store.stretch(&left, u64::MAX, 9).await.unwrap(), None);
    assert_eq!(store.fill(&left, 0, u64::MAX).await.unwrap(), (vec![], 4));
}

pub async fn an_actor_is_bound_at_its_first_use<B: Backend>() {
    let backend = B::create().await;
    let store = backend.open().await;
    let mut ana = Author::new(1);
    let mut sheet = create(&store, &mut ana).await;
    let actor = ana.actor();
    let unused = manzana_engine::ids::Actor::new(&ana.device, 9);
    let bound = store.actors(&[actor, unused]).await.unwrap();
    assert_eq!(
        bound.into_iter().collect::<Vec<_>>(),
        [(actor, (ana.device, 1))]
    );
    // The same device in its next life may not go on with it.
    let entry = sheet.change(&ana);
    let mut again = Author {
        incarnation: 2,
        n: 0,
        ..ana
    };
    let envelope = again.accepted(vec![entry]);
    assert!(is_misuse(
        &store.commit_batch(batch(vec![envelope], &[&sheet])).await
    ));
}

pub async fn only_new_petitions_get_folios<B: Backend>() {
    let backend = B::create().await;
    let store = backend.open().await;
    let mut ana = Author::new(1);
    let mut catalog = ana.catalog();
    let envelope = ana.accepted(vec![catalog.change(&ana)]);
    let done = store
        .commit_batch(batch(vec![envelope], &[&catalog]))
        .await
        .unwrap();
    assert_eq!((done.rows[0].folio, done.docs[0].folio), (None, None));
    assert_eq!(done.rows[0].moves, [(Scope::Catalog, Move::Enter)]);
    let mut sheet = create(&store, &mut ana).await;
    for later in [&mut catalog, &mut sheet] {
        let envelope = ana.accepted(vec![later.change(&ana)]);
        let done = store
            .commit_batch(batch(vec![envelope], &[later]))
            .await
            .unwrap();
        assert_eq!(done.rows[0].folio, None);
    }
    assert_eq!(
        store.docs(&[sheet.doc]).await.unwrap()[&sheet.doc].folio,
        Some(1_455)
    );
}

pub async fn parts_show_once_a_change_of_their_document_is_accepted<B: Backend>() {
    let backend = B::create().await;
    let store = backend.open().await;
    let (mut ana, mut beto) = (Author::new(1), Author::new(2));
    let mut sheet = ana.petition();
    let mut envelope = ana.accepted(vec![sheet.change(&ana)]);
    envelope.parts = vec![sheet.masked_name("ANA P.")];
    let done = store
        .commit_batch(batch(vec![envelope], &[&sheet]))
        .await
        .unwrap();
    assert_eq!(done.docs[0].masked_name.as_deref(), Some("ANA P."));

    // Another's refused envelope cannot rename the petitioner, nor one that changes something else.
    let refused = GroupCommit::NotAccepted {
        answer: Answer::Orphaned { by: fresh_hash() },
        changes: vec![fresh_hash()],
        detail: None,
    };
    let mut other = beto.petition();
    let elsewhere = GroupCommit::Accepted(vec![other.change(&beto)]);
    let mut envelopes = vec![beto.envelope(vec![refused]), beto.envelope(vec![elsewhere])];
    for envelope in &mut envelopes {
        envelope.parts = vec![sheet.masked_name("INTRUSO")];
    }
    store
        .commit_batch(batch(envelopes, &[&other]))
        .await
        .unwrap();
    let docs = store.docs(&[sheet.doc, other.doc]).await.unwrap();
    assert_eq!(docs[&sheet.doc].masked_name.as_deref(), Some("ANA P."));
    assert_eq!(docs[&other.doc].masked_name, None);
    let parts = store.parts(&sheet.doc, PartKind::MaskedName).await.unwrap();
    assert_eq!(parts, ["ANA P."]);
    assert!(
        store
            .parts(&sheet.doc, PartKind::Petitioner)
            .await
            .unwrap()
            .is_empty()
    );
}

pub async fn reopening_keeps_everything<B: Backend>() {
    let backend = B::create().await;
    let mut ana = Author::new(1);
    let store = backend.open().await;
    let first = create(&store, &mut ana).await;
    let before = store.docs(&[first.doc]).await.unwrap();
    drop(store);
    let store = backend.open().await;
    assert_eq!(store.docs(&[first.doc]).await.unwrap(), before);
    let second = create(&store, &mut ana).await;
    let docs = store.docs(&[second.doc]).await.unwrap();
    assert_eq!(
        (docs[&second.doc].creation_seq, docs[&second.doc].folio),
        (2, Some(1_456))
    );
    let mut set = SetHash::default();
    set.add(&first.doc, &first.summary.heads);
    set.add(&second.doc, &second.summary.heads);
    let (_, digests) = store.digests(&[Scope::City]).await.unwrap();
    assert_eq!(digests, [(Scope::City, set.digest())]);
}
