//! A city that was put back from a backup.

use manzana_engine::answer::Answer;
use manzana_engine::epoch::{ClosingBody, EpochBody, SignedClosing, SignedEpoch};
use manzana_engine::ids::CityId;
use manzana_engine::keys::SecretKey;

use super::Backend;
use super::people::device;
use super::samples::{Author, NOW, Sheet, batch, fresh_hash};
use crate::storage::{
    ChainHead, EntryCommit, Fate, GroupCommit, RecoveryCounts, RelayStore, Result, StorageError,
    UserRow,
};

/// Begins the epoch after the store's.
async fn begin(store: &impl RelayStore) -> EpochBody {
    let head = store.head().await.unwrap();
    let body = EpochBody {
        city: CityId([7; 16]),
        epoch: head.epoch + 3,
        before: head.epoch,
        cut: head.seq,
        at: NOW,
        why: "disk lost".to_owned(),
    };
    let record = SignedEpoch::sign(&body, &SecretKey::from_seed([5; 32]));
    store.begin_epoch(&record, &body).await.unwrap();
    body
}

/// Closes the recovery; gives what the signed record says.
async fn close(store: &impl RelayStore, now: i64) -> Result<ClosingBody> {
    let sign = Box::new(|body: &_| SignedClosing::sign(body, &SecretKey::from_seed([5; 32])));
    store.close_recovery(now, sign).await
}

/// A petition that this entry begins, and the folio that it got.
async fn create(
    store: &impl RelayStore,
    author: &mut Author,
    entry: impl FnOnce(EntryCommit) -> EntryCommit,
) -> (Sheet, Option<u64>) {
    let mut sheet = author.petition();
    let envelope = author.accepted(vec![entry(sheet.change(author))]);
    let done = store.commit_batch(batch(vec![envelope], &[&sheet])).await;
    (sheet, done.unwrap().rows[0].folio)
}

pub async fn an_epoch_is_kept_and_told<B: Backend>() {
    let backend = B::create().await;
    let store = backend.open().await;
    assert_eq!(store.epoch().await.unwrap(), None);
    let counts = store.recovery_counts().await.unwrap();
    assert_eq!(counts, RecoveryCounts::default());
    let (phone, desk) = (device(1, 7, None), device(2, 7, Some([9; 32])));
    for one in [&phone, &desk] {
        store.put_device(one).await.unwrap();
    }
    let body = begin(&store).await;
    let head = store.head().await.unwrap();
    assert_eq!((head.epoch, head.recovering), (body.epoch, true));
    // What desks did after the backup may come back: they do not write on.
    let known = store.device(&phone.id).await.unwrap().unwrap();
    assert_eq!(known.revoked_at, None);
    assert_eq!(store.desk_of(7).await.unwrap(), None);
    let counts = store.recovery_counts().await.unwrap();
    assert_eq!((counts.devices, counts.next_folio), ((0, 1), 1_455));
    drop(store);
    let store = backend.open().await;
    let kept = store.epoch().await.unwrap().unwrap();
    assert_eq!((&kept.body, &kept.closed), (&body, &None));
    let root = SecretKey::from_seed([5; 32]).public();
    assert_eq!(kept.record.open(&root).as_ref(), Some(&body));
    let closed = ClosingBody {
        city: body.city,
        epoch: body.epoch,
        at: NOW + 5,
        next_folio: 1_455,
        void: Vec::new(),
    };
    assert_eq!(close(&store, NOW + 5).await.unwrap(), closed);
    let again = close(&store, NOW + 6).await;
    assert!(matches!(again, Err(StorageError::Missing)));
    let kept = store.epoch().await.unwrap().unwrap();
    assert_eq!(kept.closed, Some(closed));
    assert!(!store.head().await.unwrap().recovering);
}

pub async fn folios_wait_until_the_recovery_is_closed<B: Backend>() {
    let backend = B::create().await;
    let store = backend.open().await;
    let mut ana = Author::new(1);
    assert_eq!(create(&store, &mut ana, |entry| entry).await.1, Some(1_455));
    begin(&store).await;
    // A receipt of its author's proves one, a reader claims another, of the third nobody knows.
    let reclaims = |entry| EntryCommit {
        reclaims: Some(1_458),
        ..entry
    };
    assert_eq!(create(&store, &mut ana, reclaims).await.1, Some(1_458));
    let mut read = ana.petition();
    store.claim_folio(&read.doc, 1_460).await.unwrap();
    let envelope = ana.accepted(vec![read.change(&ana)]);
    let done = store.commit_batch(batch(vec![envelope], &[&read])).await;
    assert_eq!(done.unwrap().rows[0].folio, Some(1_460));
    let (mut late, folio) = create(&store, &mut ana, |entry| entry).await;
    assert_eq!(folio, None);
    let without = store.without_folio(8).await.unwrap();
    assert_eq!(
        without.iter().map(|s| s.doc).collect::<Vec<_>>(),
        [late.doc]
    );
    let counts = store.recovery_counts().await.unwrap();
    assert_eq!(
        (counts.changes, counts.reclaimed, counts.without_folio),
        (3, 2, 1)
    );
    assert_eq!(counts.next_folio, 1_461);
    let void = [(1_456, 1_457), (1_459, 1_459)];
    let closed = close(&store, NOW).await.unwrap();
    assert_eq!((&closed.void[..], closed.next_folio), (&void[..], 1_461));
    assert_eq!(store.epoch().await.unwrap().unwrap().closed, Some(closed));
    // With its next change, which the relay makes for it.
    let envelope = ana.accepted(vec![late.change(&ana)]);
    let done = store.commit_batch(batch(vec![envelope], &[&late])).await;
    assert_eq!(done.unwrap().rows[0].folio, Some(1_461));
    assert_eq!(store.without_folio(8).await.unwrap(), []);
    assert_eq!(create(&store, &mut ana, |entry| entry).await.1, Some(1_462));
    // What was declared void stays so, whoever claims it in another recovery.
    begin(&store).await;
    let mut claimed = ana.petition();
    store.claim_folio(&claimed.doc, 1_457).await.unwrap();
    let envelope = ana.accepted(vec![claimed.change(&ana)]);
    let done = store.commit_batch(batch(vec![envelope], &[&claimed])).await;
    assert_eq!(done.unwrap().rows[0].folio, None);
    let closed = close(&store, NOW).await.unwrap();
    assert_eq!((closed.void, closed.next_folio), (Vec::new(), 1_463));
}

pub async fn what_a_reader_gave_back_is_known_with_its_folio<B: Backend>() {
    let backend = B::create().await;
    let store = backend.open().await;
    let (mut ana, mut city) = (Author::new(1), Author::new(9));
    begin(&store).await;
    let reclaims = |entry| EntryCommit {
        reclaims: Some(1_470),
        ..entry
    };
    create(&store, &mut city, reclaims).await;
    let answered = ana.envelope(vec![GroupCommit::Known { seq: 1 }]);
    let done = store
        .commit_batch(batch(vec![answered], &[]))
        .await
        .unwrap();
    assert_eq!(done.rows.len(), 0);
    let told = &done.answers[&ana.device][0].groups;
    let known = Answer::Accepted {
        seq: 1,
        folio: Some(1_470),
    };
    assert_eq!(*told, [known]);
}

pub async fn proofs_are_kept_as_they_came_first<B: Backend>() {
    let backend = B::create().await;
    let store = backend.open().await;
    let (one, other) = (fresh_hash(), fresh_hash());
    let accepted = |seq| vec![Answer::Accepted { seq, folio: None }];
    store.put_proofs(vec![(one, accepted(3))]).await.unwrap();
    let again = vec![(one, accepted(4)), (other, accepted(5))];
    store.put_proofs(again).await.unwrap();
    let kept = store.proofs(&[one, other, fresh_hash()]).await.unwrap();
    assert_eq!(kept.len(), 2);
    assert_eq!((&kept[&one], &kept[&other]), (&accepted(3), &accepted(5)));
}

pub async fn the_chains_of_a_device_are_told_with_their_ends<B: Backend>() {
    let backend = B::create().await;
    let store = backend.open().await;
    let mut ana = Author::new(1);
    assert_eq!(store.chains_of(&ana.device).await.unwrap(), []);
    create(&store, &mut ana, |entry| entry).await;
    let first = store.chain(&ana.device, 1).await.unwrap();
    (ana.incarnation, ana.n) = (2, 0);
    create(&store, &mut ana, |entry| entry).await;
    create(&store, &mut ana, |entry| entry).await;
    let second = store.chain(&ana.device, 2).await.unwrap();
    let chains = store.chains_of(&ana.device).await.unwrap();
    assert_eq!(chains, [(1, first), (2, second)]);
    assert_eq!((first.have, second.have), (1, 2));
    assert_ne!(second.hash, ChainHead::default().hash);
}

pub async fn what_nobody_brought_is_dead_once_it_is_closed<B: Backend>() {
    let backend = B::create().await;
    let store = backend.open().await;
    let mut ana = Author::new(1);
    begin(&store).await;
    let lost = fresh_hash();
    let waiting = GroupCommit::NotAccepted {
        answer: Answer::Waiting { deps: vec![lost] },
        changes: vec![fresh_hash()],
        detail: None,
    };
    let envelope = ana.envelope(vec![waiting]);
    store
        .commit_batch(batch(vec![envelope], &[]))
        .await
        .unwrap();
    assert_eq!(store.recovery_counts().await.unwrap().waiting, 1);
    close(&store, NOW).await.unwrap();
    assert_eq!(store.fates(&[lost]).await.unwrap()[&lost], Fate::Dead);
    assert_eq!(store.ripe(8).await.unwrap(), [lost]);
}

pub async fn numbers_of_users_and_answers_are_not_used_again<B: Backend>() {
    let backend = B::create().await;
    let store = backend.open().await;
    let user = |name: &str| UserRow {
        id: 0,
        name: name.to_owned(),
        display: name.to_owned(),
        role: "operator".to_owned(),
        password_hash: None,
        disabled: false,
    };
    let before = store.add_user(&user("ana")).await.unwrap();
    store.put_device(&device(1, before, None)).await.unwrap();
    let mut ana = Author::new(1);
    create(&store, &mut ana, |entry| entry).await;
    begin(&store).await;
    // One of after the backup, whose grant names its number.
    let lost = UserRow {
        id: before + 1,
        ..user("recuperado")
    };
    store.put_user(&lost).await.unwrap();
    store
        .put_user(&UserRow {
            display: "otra".into(),
            ..lost.clone()
        })
        .await
        .unwrap();
    assert_eq!(store.users(&[lost.id]).await.unwrap()[&lost.id], lost);
    assert!(store.add_user(&user("beto")).await.unwrap() > before + 100);
    create(&store, &mut ana, |entry| entry).await;
    let answers = store.answers_after(&ana.device, 0, 8).await.unwrap();
    let numbers: Vec<u64> = answers.iter().map(|answer| answer.no).collect();
    assert_eq!(numbers[0], 1);
    assert!(numbers[1] > 1_000, "{numbers:?}");
    // What a device has had counts where the numbers themselves were lost, as late as an epoch can be.
    let seen = u64::from(u32::MAX) << 20;
    store.greet(&ana.device, seen, 0, NOW).await.unwrap();
    create(&store, &mut ana, |entry| entry).await;
    let answers = store.answers_after(&ana.device, seen, 8).await.unwrap();
    assert_eq!(answers.len(), 1);
}
