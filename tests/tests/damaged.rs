//! Damaged databases: told in words, set aside, and what is whole in them goes on.
#![forbid(unsafe_code)]

use std::path::{Path, PathBuf};

use manzana_engine::replica::Continuity;
use manzana_store::sqlite::{OpenError, StoreError};
use manzana_store::{Rescued, SqliteReplica};
use manzana_tests::phone::Phone;
use manzana_tests::relay::{City, copy_folder, run};
use manzana_tests::{release, truth};
use rusqlite::Connection;
use serde_json::Value;

const PAGE: usize = 4096;
/// What the captain of the kept release has not sent.
const UNSENT: usize = 2;

/// The folder of the latest release that is kept.
fn kept() -> PathBuf {
    release::kept().pop().expect("one")
}

/// The pages of a database, each with the name of the table or index that it is of.
fn pages(database: &Path) -> Vec<(usize, String)> {
    let conn = Connection::open(database).expect("opened");
    let mut statement = conn
        .prepare("SELECT pageno, name FROM dbstat ORDER BY pageno")
        .expect("dbstat");
    let pages = statement
        .query_map([], |row| Ok((row.get::<_, u32>(0)? as usize, row.get(1)?)))
        .expect("read");
    pages.collect::<Result<_, _>>().expect("read")
}

fn pages_of(database: &Path, table: &str) -> Vec<usize> {
    let pages = pages(database).into_iter();
    pages
        .filter(|(_, name)| name == table)
        .map(|(number, _)| number)
        .collect()
}

/// Fills pages with zeros.
fn blank(database: &Path, numbers: &[usize]) {
    let mut bytes = std::fs::read(database).expect("read");
    for number in numbers {
        bytes[(number - 1) * PAGE..number * PAGE].fill(0);
    }
    std::fs::write(database, bytes).expect("written");
}

/// A copy of the captain's device.
fn device() -> (tempfile::TempDir, PathBuf) {
    let folder = tempfile::tempdir().expect("a folder");
    copy_folder(&kept().join("jefa"), folder.path());
    let replica = folder.path().join("replica.db");
    (folder, replica)
}

fn rescue(replica: &Path) -> Rescued {
    let damaged = std::fs::read(replica).expect("read");
    let rescued = SqliteReplica::rescue(replica).expect("rescued");
    let mut aside = replica.as_os_str().to_owned();
    aside.push(".damaged-1");
    assert_eq!(std::fs::read(aside).expect("set aside"), damaged);
    truth::is_whole(replica);
    let (_, continuity) = SqliteReplica::open(replica, [9; 16]).expect("opened");
    assert_eq!(continuity, Continuity::Restored, "a new life");
    assert_eq!(continuity, Continuity::Restored, "a new life");
    rescued
}

#[test]
fn of_a_device_with_any_one_page_gone_only_what_stood_on_it_is_lost() {
    let (_folder, whole) = device();
    let all = rescue(&whole);
    assert!(all.identity && all.unsent == UNSENT, "{all:?}");
    let (_folder, whole) = device();
    for (number, owner) in pages(&whole) {
        let (_folder, replica) = device();
        blank(&replica, &[number]);
        let rescued = rescue(&replica);
        assert_eq!(rescued.identity, owner != "own", "page {number} of {owner}");
        let lost = all.envelopes - rescued.envelopes;
        assert_eq!(lost > 0, owner == "envelopes", "page {number} of {owner}");
        let intents = all.intents - rescued.intents;
        // In the name of another device they mean nothing.
        assert_eq!(intents > 0, owner == "intents", "page {number} of {owner}");
        assert_eq!(rescued.to_correct > 0, owner == "envelopes", "page {number} of {owner}");
        if !["docs", "doc_bytes", "envelopes"].contains(&&*owner) {
            assert_eq!(rescued.documents, all.documents, "page {number} of {owner}");
        }
        println!("page {number:2} {owner:24} {rescued:?}");
    }
}

#[test]
fn a_device_cut_short_or_overwritten_gives_what_is_left() {
    let (_folder, replica) = device();
    let bytes = std::fs::read(&replica).expect("read");
    std::fs::write(&replica, &bytes[..bytes.len() / 2 + 100]).expect("written");
    let rescued = rescue(&replica);
    assert!(rescued.identity, "{rescued:?}");

    let (_folder, replica) = device();
    std::fs::write(&replica, "esto no es una base de datos\n".repeat(3_000)).expect("written");
    let opened = SqliteReplica::open(&replica, [1; 16]);
    assert!(
        matches!(opened, Err(OpenError::Store(StoreError::Damaged))),
        "{opened:?}"
    );
    assert_eq!(rescue(&replica), Rescued::default());
}

#[test]
fn rubbish_after_a_devices_log_is_passed_over() {
    let (_folder, replica) = device();
    let mut log = replica.as_os_str().to_owned();
    log.push("-wal");
    std::fs::write(&log, [0x5a; 9_000]).expect("written");
    let opened = SqliteReplica::open(&replica, [1; 16]);
    assert!(opened.is_ok(), "{opened:?}");
}

#[test]
fn an_interrupted_rescue_is_ended_by_the_next_open() {
    let (folder, replica) = device();
    let names = |ending: &str| folder.path().join(format!("replica.db{ending}"));
    // As if the process had ended before the new one was put in its place.
    rescue(&replica);
    std::fs::rename(&replica, names(".rescued")).expect("renamed");
    std::fs::rename(names(".damaged-1"), &replica).expect("renamed");
    std::fs::write(names("-wal"), b"of the damaged one").expect("written");
    let (store, _) = SqliteReplica::open(&replica, [2; 16]).expect("opened");
    drop(store);
    assert!(names(".damaged-1").exists() && names(".damaged-1-wal").exists());
    assert!(!names(".rescued").exists());
    truth::is_whole(&replica);
}

/// The code and the words of a command that fails.
async fn failure(phone: &Phone) -> (String, String) {
    let ran = phone.run(&["list"]).await;
    assert_eq!(ran.code, Some(1), "{ran:?}");
    let said: Value = serde_json::from_str(&ran.out).expect("JSON");
    let text = |name: &str| said["error"][name].as_str().unwrap_or_default().to_owned();
    (text("code"), text("text"))
}

#[tokio::test]
async fn a_phone_tells_of_the_damage_once_and_sends_what_was_not_sent() {
    let city = City::start_on(&kept().join("city")).await;
    let before = truth::head(&city.database());
    // Seen when it is opened, and seen when it is read.
    for (name, table) in [("first", "sqlite_schema"), ("second", "docs")] {
        let city = City::start_on(&kept().join("city")).await;
        let phone = Phone::from_copy(&city, name, &kept().join("jefa"));
        let damaged = pages_of(&phone.replica(), table);
        blank(&phone.replica(), &damaged[..1]);
        let (code, words) = failure(&phone).await;
        assert_eq!(code, "rescued", "{table}: {words}");
        assert!(words.contains("2 movimientos sin enviar"), "{words}");
        assert!(phone.home().join("replica.db.damaged-1").exists());
        assert_eq!(phone.status().await["unsent"], UNSENT);
        let shown = phone.list().await;
        assert!(
            shown.iter().any(|row| row["title"] == "ÁRBOL CAÍDO"),
            "{shown:?}"
        );
        phone.sync().await;
        assert_eq!(phone.list().await.len(), 4, "{table}");
        let status = phone.status().await;
        assert_eq!(
            (&status["unsent"], &status["to_correct"]),
            (&0.into(), &0.into())
        );
        assert_eq!(truth::head(&city.database()), before + UNSENT as u64);
        let ran = run(&mut city.command("check")).await;
        assert_eq!(ran.code, Some(0), "{ran:?}");
    }
}

#[tokio::test]
async fn a_phone_that_forgot_who_it_is_is_enrolled_again_and_sends_what_was_not_sent() {
    let city = City::start_on(&kept().join("city")).await;
    let before = truth::head(&city.database());
    let phone = Phone::from_copy(&city, "jefa", &kept().join("jefa"));
    let damaged = pages_of(&phone.replica(), "own");
    blank(&phone.replica(), &damaged);
    let (code, words) = failure(&phone).await;
    assert_eq!(code, "forgotten", "{words}");
    assert!(words.contains("Pida una invitación"), "{words}");
    assert_eq!(failure(&phone).await.0, "not_enrolled");
    let invitation = city.invite("jefa", &["block:5"]).await;
    phone.ok(&["enrol", &invitation]).await;
    phone.sync().await;
    assert_eq!(truth::head(&city.database()), before + UNSENT as u64);
    let shown = phone.list().await;
    assert!(
        shown
            .iter()
            .any(|row| row["title"] == "ÁRBOL CAÍDO" && row["custody"] == "received"),
        "{shown:?}"
    );
}
