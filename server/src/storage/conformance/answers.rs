//! Answers, fates and groups that wait.

use bytes::Bytes;
use manzana_engine::answer::Answer;
use manzana_engine::ids::Hash;
use manzana_engine::policy::Rule;

use super::Backend;
use super::samples::{Author, batch, fresh_hash};
use crate::storage::{EnvelopeCommit, Fate, GroupCommit, RelayStore, StorageError};

fn refused(changes: Vec<Hash>) -> GroupCommit {
    GroupCommit::NotAccepted {
        answer: Answer::Refused {
            rule: Rule::RoleMayNot,
            field: Some("title".to_owned()),
        },
        changes,
        detail: None,
    }
}

fn waiting(deps: &[Hash], change: Hash) -> GroupCommit {
    GroupCommit::NotAccepted {
        answer: Answer::Waiting {
            deps: deps.to_vec(),
        },
        changes: vec![change],
        detail: None,
    }
}

pub async fn answers_stay_until_they_are_seen<B: Backend>() {
    let backend = B::create().await;
    let store = backend.open().await;
    let (mut ana, mut beto) = (Author::new(1), Author::new(2));
    let mut sheet = ana.petition();
    let creation = GroupCommit::Accepted(vec![sheet.change(&ana), sheet.change(&ana)]);
    let more = GroupCommit::Accepted(vec![sheet.change(&ana)]);
    let envelopes = vec![
        ana.envelope(vec![creation, refused(vec![fresh_hash()]), more]),
        beto.envelope(vec![refused(Vec::new())]),
        ana.envelope(vec![refused(Vec::new())]),
    ];
    let done = store
        .commit_batch(batch(envelopes.clone(), &[&sheet]))
        .await
        .unwrap();
    let kept = store.answers_after(&ana.device, 0, 10).await.unwrap();
    assert_eq!(kept, done.answers[&ana.device]);
    assert_eq!(
        kept.iter().map(|answer| answer.no).collect::<Vec<_>>(),
        [1, 2]
    );
    assert_eq!((kept[0].n, kept[0].hash), (1, envelopes[0].hash));
    let place = |group: &Answer| match group {
        Answer::Accepted { seq, folio } => Some((*seq, *folio)),
        _ => None,
    };
    let places: Vec<_> = kept[0].groups.iter().map(place).collect();
    assert_eq!(places, [Some((1, Some(1_455))), None, Some((3, None))]);
    assert_eq!(done.answers[&beto.device][0].no, 1);

    assert_eq!(
        store.answers_after(&ana.device, 1, 10).await.unwrap(),
        kept[1..]
    );
    assert_eq!(
        store.answers_after(&ana.device, 0, 1).await.unwrap(),
        kept[..1]
    );
    store.answers_seen(&ana.device, 2).await.unwrap();
    assert_eq!(store.answers_after(&ana.device, 0, 10).await.unwrap(), []);
    assert_eq!(
        store
            .answers_after(&beto.device, 0, 10)
            .await
            .unwrap()
            .len(),
        1
    );
    // Numbers go on although none is left.
    let envelope = ana.envelope(vec![refused(Vec::new())]);
    let done = store
        .commit_batch(batch(vec![envelope], &[]))
        .await
        .unwrap();
    assert_eq!(done.answers[&ana.device][0].no, 3);
}

pub async fn fates_tell_accepted_from_dead<B: Backend>() {
    let backend = B::create().await;
    let store = backend.open().await;
    let (mut ana, mut beto) = (Author::new(1), Author::new(2));
    let mut sheet = ana.petition();
    let entry = sheet.change(&ana);
    let (lost, unknown, waits) = (fresh_hash(), fresh_hash(), fresh_hash());
    // Beto sends a copy of Ana's change without a right to: hers is accepted all the same…
    let theft = beto.envelope(vec![
        refused(vec![entry.hash, lost]),
        waiting(&[lost], waits),
    ]);
    store.commit_batch(batch(vec![theft], &[])).await.unwrap();
    let hashes = [entry.hash, lost, unknown, waits];
    let fates = store.fates(&hashes).await.unwrap();
    assert_eq!(fates.get(&entry.hash), Some(&Fate::Dead));
    let envelope = ana.accepted(vec![entry.clone()]);
    store
        .commit_batch(batch(vec![envelope], &[&sheet]))
        .await
        .unwrap();
    // …and stays so whatever is said of another copy.
    let theft = beto.envelope(vec![refused(vec![entry.hash])]);
    store.commit_batch(batch(vec![theft], &[])).await.unwrap();
    let fates = store.fates(&hashes).await.unwrap();
    assert_eq!(fates.get(&entry.hash), Some(&Fate::Accepted(1)));
    assert_eq!(fates.get(&lost), Some(&Fate::Dead));
    assert_eq!((fates.get(&unknown), fates.get(&waits)), (None, None));
    // A change is in the log once.
    let again = ana.accepted(vec![entry]);
    let twice = store.commit_batch(batch(vec![again], &[&sheet])).await;
    assert!(matches!(twice, Err(StorageError::Backend(_))));
}

fn resume(envelope: &EnvelopeCommit, groups: Vec<Option<GroupCommit>>) -> EnvelopeCommit {
    EnvelopeCommit {
        parts: Vec::new(),
        bytes: Bytes::new(),
        groups,
        resumes: true,
        ..envelope.clone()
    }
}

pub async fn groups_wait_and_resume<B: Backend>() {
    let backend = B::create().await;
    let store = backend.open().await;
    let mut ana = Author::new(1);
    let mut sheet = ana.petition();
    let creation = sheet.change(&ana);
    let (first, second) = (fresh_hash(), fresh_hash());
    let mut envelope = ana.envelope(vec![
        refused(Vec::new()),
        waiting(&[first, second], creation.hash),
        waiting(&[second], fresh_hash()),
    ]);
    envelope.parts = vec![sheet.masked_name("ANA P.")];
    store
        .commit_batch(batch(vec![envelope.clone()], &[]))
        .await
        .unwrap();
    assert_eq!(store.waiting_count(&ana.device).await.unwrap(), 2);
    let found = store.waiting_for(&[second, first, second]).await.unwrap();
    let groups: Vec<_> = found.iter().map(|group| group.group).collect();
    assert_eq!(groups, [1, 2]);
    assert_eq!(found[0].envelope, envelope.bytes);
    assert_eq!(store.waiting_of(&ana.device).await.unwrap(), found);
    assert_eq!(store.waiting_of(&Author::new(2).device).await.unwrap(), []);
    assert_eq!(store.waiting_for(&[first]).await.unwrap().len(), 1);
    // What is known of a change tells who need not wait for it any more.
    assert_eq!(store.ripe(8).await.unwrap(), []);
    store.bury(&[second]).await.unwrap();
    assert_eq!(store.ripe(8).await.unwrap(), [second]);
    assert_eq!(store.ripe(0).await.unwrap(), []);
    store.answers_seen(&ana.device, 1).await.unwrap();

    // One group goes in, another waits for something else; the rest is said again.
    let third = fresh_hash();
    let groups = vec![
        None,
        Some(GroupCommit::Accepted(vec![creation])),
        Some(waiting(&[third], fresh_hash())),
    ];
    let resumed = batch(vec![resume(&envelope, groups)], &[&sheet]);
    let done = store.commit_batch(resumed).await.unwrap();
    let answer = &done.answers[&ana.device][0];
    assert_eq!((answer.no, answer.n, answer.hash), (2, 1, envelope.hash));
    assert!(matches!(answer.groups[0], Answer::Refused { .. }));
    assert!(matches!(
        answer.groups[1],
        Answer::Accepted {
            seq: 1,
            folio: Some(1_455)
        }
    ));
    assert!(matches!(&answer.groups[2], Answer::Waiting { deps } if deps == &[third]));
    assert_eq!(done.docs[0].masked_name.as_deref(), Some("ANA P."));
    assert_eq!(store.waiting_for(&[first, second]).await.unwrap(), []);
    assert_eq!(store.ripe(8).await.unwrap(), []);
    assert_eq!(store.waiting_count(&ana.device).await.unwrap(), 1);
    assert_eq!(store.chain(&ana.device, 1).await.unwrap().have, 1);

    // What is answered for good is not answered again.
    let again = resume(&envelope, vec![None, Some(refused(Vec::new())), None]);
    let twice = store.commit_batch(batch(vec![again], &[])).await;
    assert!(matches!(twice, Err(StorageError::Backend(_))));
    let orphaned = GroupCommit::NotAccepted {
        answer: Answer::Orphaned { by: third },
        changes: Vec::new(),
        detail: Some("its base was refused".to_owned()),
    };
    let last = resume(&envelope, vec![None, None, Some(orphaned)]);
    store.commit_batch(batch(vec![last], &[])).await.unwrap();
    assert_eq!(store.waiting_count(&ana.device).await.unwrap(), 0);
    let kept = store.answers_after(&ana.device, 0, 10).await.unwrap();
    assert_eq!(
        kept.iter().map(|answer| answer.no).collect::<Vec<_>>(),
        [2, 3]
    );
    assert!(matches!(kept[1].groups[1], Answer::Accepted { seq: 1, .. }));
}
