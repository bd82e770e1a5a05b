//! Members of scopes, places of devices, and the sweep.

use manzana_engine::grant::Scope;
use manzana_engine::ids::{Hash, Seq};
use manzana_engine::reconcile::{Member, Version};

use super::Backend;
use super::people::device;
use super::samples::{Author, NOW, Sheet, batch};
use crate::storage::{DeviceRecord, Invite, RelayStore, StorageError, SweepFrom, Swept};

const DAY: i64 = 24 * 3_600_000;

async fn write<S: RelayStore>(store: &S, ana: &mut Author, sheet: &mut Sheet) {
    let envelope = ana.accepted(vec![sheet.change(ana)]);
    let batch = batch(vec![envelope], &[sheet]);
    store.commit_batch(batch).await.unwrap();
}

fn member(sheet: &Sheet) -> Member {
    Member {
        doc: sheet.doc,
        version: Version::of(&sheet.summary.heads),
    }
}

pub async fn members_are_the_documents_of_a_scope_in_their_versions<B: Backend>() {
    let backend = B::create().await;
    let store = backend.open().await;
    let mut ana = Author::new(1);
    let mut sheets: Vec<Sheet> = (0..5).map(|_| ana.petition()).collect();
    for sheet in &mut sheets {
        sheet.refer(&[7]);
        write(&store, &mut ana, sheet).await;
    }
    let agency = Scope::Agency(7);
    for round in 0..3 {
        if round > 0 {
            write(&store, &mut ana, &mut sheets[2]).await;
        }
        let mut expected: Vec<Member> = sheets.iter().map(member).collect();
        expected.sort_unstable();
        let members = store.members(&agency).await.unwrap();
        assert_eq!(members.all(), expected);
        assert_eq!(store.members(&Scope::City).await.unwrap(), members);
    }
    sheets[2].refer(&[8]);
    write(&store, &mut ana, &mut sheets[2]).await;
    let members = store.members(&agency).await.unwrap();
    assert_eq!(members.len(), 4);
    let there = store.members(&Scope::Agency(8)).await.unwrap();
    assert_eq!(there.all(), [member(&sheets[2])]);
    assert!(store.members(&Scope::Agency(9)).await.unwrap().is_empty());
}

async fn sweep<S: RelayStore>(store: &S, now: i64, limit: usize) -> (Seq, usize) {
    let mut from = SweepFrom::default();
    let mut removed = 0;
    for _ in 0..10_000 {
        let Swept {
            floor,
            removed: some,
            next,
        } = store.sweep(now, now - 90 * DAY, from, limit).await.unwrap();
        assert!(some <= 2 * limit, "{some} rows in a step of {limit}");
        removed += some;
        match next {
            Some(next) => from = next,
            None => return (floor, removed),
        }
    }
    panic!("a sweep does not end");
}

/// Rows that a reader of the whole city still gets.
async fn rows<S: RelayStore>(store: &S, after: Seq) -> usize {
    let (rows, _) = store.log_after(&[Scope::City], after, 1_000).await.unwrap();
    rows.len()
}

pub async fn places_are_kept_down_to_the_lowest_device_that_lives<B: Backend>() {
    let backend = B::create().await;
    let store = backend.open().await;
    let mut ana = Author::new(1);
    let mut sheet = ana.petition();
    for _ in 0..20 {
        write(&store, &mut ana, &mut sheet).await;
    }
    let devices: Vec<DeviceRecord> = (1..=3).map(|n| device(n, n.into(), None)).collect();
    for (device, place) in devices.iter().zip([15, 5, 9]) {
        store.put_device(device).await.unwrap();
        let floor = store.greet(&device.id, 0, place, NOW).await.unwrap();
        assert_eq!(floor, 0);
    }
    let (floor, removed) = sweep(&store, NOW, 100).await;
    assert_eq!((floor, rows(&store, 5).await), (5, 15));
    assert_eq!(rows(&store, 0).await, 15, "what lies below is forgotten");
    assert!(removed >= 5);
    assert_eq!(sweep(&store, NOW, 100).await, (5, 0), "once");

    // A revoked device is not waited for.
    store.revoke_device(&devices[1].id, NOW).await.unwrap();
    assert_eq!(sweep(&store, NOW, 100).await.0, 9);
    // Nor one that does not come any more, while the others do.
    let later = NOW + 91 * DAY;
    store.greet(&devices[0].id, 0, 17, later).await.unwrap();
    assert_eq!(sweep(&store, later, 100).await.0, 17);
    // It comes back, is told so, and stands at the head from there on.
    assert_eq!(store.greet(&devices[2].id, 0, 9, later).await.unwrap(), 17);
    assert_eq!(sweep(&store, later, 100).await.0, 17);
    store.greet(&devices[0].id, 0, 20, later + 1).await.unwrap();
    assert_eq!(sweep(&store, later, 100).await.0, 20);
    // The same place said again is noted with its time, at the latest a day later.
    let last = later + 60 * DAY;
    store.greet(&devices[0].id, 0, 20, last).await.unwrap();
    write(&store, &mut ana, &mut sheet).await;
    assert_eq!(sweep(&store, last + 89 * DAY, 100).await.0, 20);
    // Without anybody, nothing is kept for anybody.
    assert_eq!(sweep(&store, last + 91 * DAY, 100).await.0, 21);
    drop(store);
    let store = backend.open().await;
    let floor = store.greet(&devices[0].id, 0, 20, last).await.unwrap();
    assert_eq!(floor, 21, "the floor is durable");
}

pub async fn a_sweep_in_steps_of_any_size_forgets_the_same<B: Backend>() {
    for limit in [1, 3, 1_000] {
        let backend = B::create().await;
        let store = backend.open().await;
        for number in 1..=30 {
            let mut author = Author::new(number);
            let mut sheet = author.petition();
            sheet.refer(&[number.into()]);
            write(&store, &mut author, &mut sheet).await;
        }
        let invite = |number: u8, expires| Invite {
            code_hash: Hash([number; 32]),
            user: 4,
            scopes: Vec::new(),
            block: None,
            expires,
        };
        store.put_invite(&invite(1, NOW - 1)).await.unwrap();
        store.put_invite(&invite(2, NOW + 1)).await.unwrap();
        // In the city, its author's scope and its agency's: three rows each, and one invite.
        assert_eq!(sweep(&store, NOW, limit).await, (30, 91), "{limit}");
        let taken = store.take_invite(&Hash([1; 32]), NOW - 2).await;
        assert!(matches!(taken, Err(StorageError::Missing)));
        assert!(store.take_invite(&Hash([2; 32]), NOW).await.is_ok());
        assert_eq!(rows(&store, 0).await, 0);
        assert_eq!(store.members(&Scope::City).await.unwrap().len(), 30);
    }
}
