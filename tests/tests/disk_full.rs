//! Disks without room: nothing is half written, everybody is told in words, and everything goes on once
//! there is room again. The disks are small file systems, or limits where none can be mounted: see
//! `manzana_tests::disk`.
#![allow(clippy::unwrap_used)]

use manzana_engine::replica::ReplicaStore as _;
use manzana_engine::wire::{ByeCode, Down};
use manzana_tests::checkers::{self, CityState, Verdict};
use manzana_tests::device::{Device, push};
use manzana_tests::disk::{Kind, SmallDisk};
use manzana_tests::phone::Phone;
use manzana_tests::relay::{City, binary, program, run, text};
use manzana_tests::truth;
use manzana_tests::wait::in_time;
use serde_json::Value;

/// More captures than the relay's write-ahead log takes without asking for room.
const MANY: u64 = 400;
/// More acts than a phone's write-ahead log takes without asking for room.
const ACTS: usize = 400;

/// The rules about what the city itself holds.
fn whole(city: &CityState) -> Verdict {
    let mut verdict = Verdict::default();
    checkers::log(city, &mut verdict);
    checkers::folios(city, &mut verdict);
    checkers::documents(city, &mut verdict);
    verdict
}

/// Captures and pushes until the relay takes its leave.
async fn push_until_full(device: &mut Device) -> ByeCode {
    for n in 0..MANY {
        device.capture(&format!("BACHE {n}"));
    }
    // A session begins all the same: what is there can be read.
    let mut link = device.connect().await.expect("let in");
    let Some(Down::Welcome { have, .. }) = link.next().await else {
        panic!("no welcome");
    };
    let meta = device.meta();
    let (id, incarnation) = (meta.device(), meta.incarnation);
    for n in have + 1..=meta.last_n {
        let kept = device.replica.store().envelope(&id, incarnation, n);
        link.send(&push(&kept.unwrap().unwrap().envelope)).await;
    }
    let last = link.farewell().await;
    last.expect("the relay says why it ends a session")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_relay_without_room_writes_nothing_of_a_batch_and_serves_again_with_room() {
    let mut city = City::start_on_small_disk().await;
    for name in ["ana", "beto"] {
        city.user(name, "block_captain").await;
    }
    let mut ana = Device::enrol(&city, "ana", &["block:7"], 1).await;
    let mut beto = Device::enrol(&city, "beto", &["block:7"], 2).await;
    ana.capture("LÁMPARA");
    let mut link = ana.greet().await;
    ana.settle(&mut link).await;
    drop(link);

    city.disk().fill(Some(city.pid()), 0);
    let code = push_until_full(&mut ana).await;
    match city.disk().kind() {
        Kind::FileSystem => assert_eq!(code, ByeCode::Full),
        Kind::FileLimit => assert_eq!(code, ByeCode::Internal),
    }
    let taken = truth::head(&city.database());
    assert!(taken < MANY, "the disk was not full");
    assert!(city.is_up());
    // Nothing more is taken, and the same is said again.
    assert_eq!(push_until_full(&mut ana).await, code);
    // Others still read what there is.
    let mut link = beto.greet().await;
    let read = in_time("the petition of the neighbour", async {
        while beto.replica.store().list().unwrap().is_empty() {
            let frame = link.next().await.expect("the session goes on");
            beto.take(frame);
        }
    });
    read.await;

    city.disk().free(Some(city.pid()));
    let mut link = ana.greet().await;
    ana.settle(&mut link).await;
    drop(link);
    assert_eq!(city.stop().await, Some(0));
    let state = truth::city(&city.database());
    assert_eq!(state.head, 1 + 2 * MANY);
    let verdict = whole(&state);
    assert!(verdict.is_good(), "{verdict}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_relay_that_dies_without_room_keeps_what_it_signed_for_and_starts_with_room() {
    let mut city = City::start_on_small_disk().await;
    city.user("ana", "block_captain").await;
    let mut ana = Device::enrol(&city, "ana", &["block:7"], 3).await;
    city.disk().fill(Some(city.pid()), 16);
    push_until_full(&mut ana).await;
    let taken = truth::head(&city.database());
    city.kill().await;
    // It may start, or say why not.
    match city.try_restart().await {
        Ok(()) => city.kill().await,
        Err(log) => assert!(log.contains("full"), "{log}"),
    }
    city.disk().free(None);
    city.restart().await;
    assert_eq!(truth::head(&city.database()), taken);
    let mut link = ana.greet().await;
    ana.settle(&mut link).await;
    drop(link);
    assert_eq!(city.stop().await, Some(0));
    let state = truth::city(&city.database());
    let verdict = whole(&state);
    assert!(verdict.is_good(), "{verdict}");
}

#[tokio::test]
async fn a_first_start_without_room_says_so_in_words_and_can_be_repeated() {
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("data");
    let disk = SmallDisk::at(&data);
    disk.fill(None, 0);
    let start = |name: &str| {
        let mut command = program(&binary(), Some(&disk));
        let any = "127.0.0.1:0";
        command
            .args(["user", "add", name, "--role", "crew", "--display", name])
            .env("MANZANA_DATA_DIR", text(&data))
            .env("MANZANA_SYNC_LISTEN", any)
            .env("MANZANA_CONSOLE_LISTEN", any);
        command
    };
    let ran = run(&mut start("ana")).await;
    assert_ne!(ran.code, Some(0), "{ran:?}");
    assert!(ran.err.starts_with("manzana: "), "{ran:?}");
    if disk.kind() == Kind::FileSystem {
        let words = ran.err.contains("full") || ran.err.contains("No space");
        assert!(words, "{ran:?}");
    }
    disk.free(None);
    let ran = run(&mut start("ana")).await;
    assert_eq!(ran.code, Some(0), "{ran:?}");
    truth::is_whole(&data.join("city.sqlite"));
}

/// Captures until there is no room; gives the titles that were saved and how the last one failed.
async fn capture_until_full(phone: &Phone) -> (Vec<String>, Value) {
    let mut saved = Vec::new();
    for n in 0..ACTS {
        let title = format!("LÁMPARA {n}");
        let long = "No prende desde el lunes. ".repeat(150);
        let ran = phone
            .run(&["capture", "--title", &title, "--description", &long])
            .await;
        if ran.code != Some(0) {
            return (saved, serde_json::from_str(&ran.out).expect("JSON"));
        }
        saved.push(title);
    }
    panic!("the disk was never full");
}

fn titles(rows: &[Value]) -> Vec<String> {
    let titles = rows.iter().filter_map(|row| row["title"].as_str());
    let mut titles: Vec<String> = titles.map(str::to_owned).collect();
    titles.sort();
    titles
}

#[tokio::test]
async fn a_phone_without_room_says_so_keeps_nothing_of_the_act_and_works_again_with_room() {
    let city = City::start().await;
    city.user("ana", "block_captain").await;
    let invitation = city.invite("ana", &["block:7"]).await;
    let phone = Phone::enrol_on_small_disk(&city, "ana", &invitation).await;
    let disk = std::sync::Arc::clone(phone.disk().expect("a small disk"));
    phone.capture("ANTES", &[]).await;

    disk.fill(None, 64);
    let (mut saved, failed) = capture_until_full(&phone).await;
    saved.push("ANTES".to_owned());
    saved.sort();
    assert_eq!(failed["error"]["category"], "storage", "{failed}");
    if disk.kind() == Kind::FileSystem {
        let words = failed["error"]["text"].as_str().unwrap_or_default();
        assert!(words.contains("No hay espacio"), "{failed}");
        // It can be read as it is; under a limit that fails otherwise a phone is not even opened.
        assert_eq!(titles(&phone.list().await), saved);
    }

    disk.free(None);
    // Nothing of the act is there.
    assert_eq!(titles(&phone.list().await), saved);
    assert_eq!(phone.status().await["unsent"], saved.len());
    phone.capture("DESPUÉS", &[]).await;
    saved.push("DESPUÉS".to_owned());
    saved.sort();
    phone.sync().await;
    assert_eq!(titles(&phone.list().await), saved);
    let state = truth::device("ana", &phone.replica());
    assert_eq!(state.position, saved.len() as u64);
    assert_eq!(truth::head(&city.database()), saved.len() as u64);
}

#[tokio::test]
async fn a_phone_that_syncs_without_room_loses_nothing_and_goes_on_with_room() {
    let city = City::start().await;
    for name in ["ana", "beto"] {
        city.user(name, "block_captain").await;
    }
    let invitation = city.invite("ana", &["block:7"]).await;
    let phone = Phone::enrol_on_small_disk(&city, "ana", &invitation).await;
    phone.capture("ANTES", &[]).await;
    let mut beto = Device::enrol(&city, "beto", &["block:7"], 4).await;
    for n in 0..MANY {
        beto.capture(&format!("BACHE {n}"));
    }
    let mut link = beto.greet().await;
    beto.settle(&mut link).await;

    let disk = std::sync::Arc::clone(phone.disk().expect("a small disk"));
    disk.fill(None, 32);
    // What comes does not fit: the session ends, and nothing that was saved goes.
    let ran = phone.run(&["sync", "--timeout", "2"]).await;
    assert_ne!(ran.code, Some(0), "{ran:?}");
    disk.free(None);
    assert!(titles(&phone.list().await).contains(&"ANTES".to_owned()));
    phone.sync().await;
    let state = truth::device("ana", &phone.replica());
    assert_eq!(state.docs.len() as u64, MANY + 1);
    assert_eq!(state.position, MANY + 1);
}
