//! Damaged databases: told in words, set aside, and what is whole in them goes on.
#![forbid(unsafe_code)]

use std::path::{Path, PathBuf};

use manzana_engine::replica::Continuity;
use manzana_server::storage::sqlite::{check, rescue as relay};
use manzana_server::tls::CityRoot;
use manzana_store::sqlite::{OpenError, StoreError};
use manzana_store::{Rescued, SqliteReplica};
use manzana_tests::phone::Phone;
use manzana_tests::relay::{City, copy_folder, manzana, run, text};
use manzana_tests::wait::until;
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
        assert_eq!(
            rescued.to_correct > 0,
            owner == "envelopes",
            "page {number} of {owner}"
        );
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

#[test]
fn of_a_relay_with_any_one_page_gone_a_whole_city_is_saved() {
    let root = tempfile::tempdir().expect("a folder");
    copy_folder(&kept().join("city/keys"), root.path());
    let root = *CityRoot::open(root.path()).expect("its keys").public_key();
    let whole = tempfile::tempdir().expect("a folder");
    copy_folder(&kept().join("city"), whole.path());
    let database = whole.path().join("city.sqlite");
    let full = truth::head(&database);
    let (mut complete, mut earlier, mut nothing) = (0, 0, 0);
    for (number, owner) in pages(&database) {
        let folder = tempfile::tempdir().expect("a folder");
        copy_folder(&kept().join("city"), folder.path());
        let (damaged, new) = (folder.path().join("city.sqlite"), folder.path().join("new"));
        blank(&damaged, &[number]);
        let Ok(rescued) = relay::rescue(&damaged, &new) else {
            assert_eq!(owner, "settings", "page {number}");
            nothing += 1;
            continue;
        };
        truth::is_whole(&new);
        let checked = check::check(&new, &root, &|_| ()).expect("read");
        if owner == "devices" {
            // Nobody else knows their keys: they have to be enrolled again.
            assert!(checked.faults > 0);
            nothing += 1;
            continue;
        }
        assert_eq!(checked.told, [""; 0], "page {number} of {owner}");
        match owner.as_str() {
            // Its leaf may hold envelopes with nothing in them that the log has not from others.
            "log" | "envelopes" if owner == "log" || rescued.head < full => {
                assert!(rescued.head < full, "page {number} of {owner}");
                earlier += 1;
            }
            _ => {
                assert_eq!(
                    (rescued.head, rescued.missing.len()),
                    (full, 0),
                    "page {number} of {owner}"
                );
                complete += 1;
            }
        }
        assert!(
            rescued.last == full || owner == "log",
            "page {number} of {owner}"
        );
    }
    println!(
        "one page gone: {complete} cities complete, {earlier} as of an earlier place, {nothing} not"
    );
    assert!(complete > 30 && earlier >= 2);
}

/// Changes one bit of a change in the log, as a dying disk does.
fn flip_a_bit_of_change(database: &Path, seq: u64) {
    let conn = Connection::open(database).expect("opened");
    let sql = format!("SELECT change FROM log WHERE seq = {seq}");
    let change: Vec<u8> = conn.query_row(&sql, [], |row| row.get(0)).expect("a row");
    drop(conn);
    let mut bytes = std::fs::read(database).expect("read");
    let whole = |window: &[u8]| window == change;
    let at = bytes
        .windows(change.len())
        .position(whole)
        .expect("on one page");
    bytes[at + 40] ^= 1;
    std::fs::write(database, bytes).expect("written");
}

/// The kept city after the change before its last one was damaged and it was saved and put back, as
/// `saved.sqlite` in the folder that holds it.
async fn damaged_city(folder: &Path) -> City {
    let data = folder.join("data");
    let file = folder.join("saved.sqlite");
    copy_folder(&kept().join("city"), &data);
    let database = data.join("city.sqlite");
    let full = truth::head(&database);
    flip_a_bit_of_change(&database, full - 1);
    let command = |name: &str| {
        let mut command = manzana();
        command.args([name, "--data-dir", text(&data), text(&file)]);
        command
    };
    let ran = run(&mut command("rescue")).await;
    assert_eq!(ran.code, Some(0), "{ran:?}");
    assert!(ran.out.contains("of the log cannot be read"), "{ran:?}");
    let why = ["--overwrite", "--why", "se dañó el disco"];
    let ran = run(command("restore").args(why)).await;
    assert_eq!(ran.code, Some(0), "{ran:?}");
    let cut = truth::head(&database);
    assert!(cut < full, "{cut} of {full}");
    City::start_on(&data).await
}

#[tokio::test]
async fn signed_work_of_after_the_damage_is_brought_back_by_anybody() {
    let folder = tempfile::tempdir().expect("a folder");
    let full = truth::head(&kept().join("city/city.sqlite"));
    let city = damaged_city(folder.path()).await;
    city.user("otra", "block_captain").await;
    let other = Phone::enrol(&city, "otra", &["block:9"]).await;
    let export = folder.path().join("saved.sqlite.envelopes-1");
    other.ok(&["import", text(&export)]).await;
    other.sync().await;
    assert_eq!(truth::head(&city.database()), full);
    city.ok("recovery", &["close"]).await;
    city.ok("check", &[]).await;
}

#[tokio::test]
async fn a_damaged_relay_is_saved_put_back_and_healed_by_its_phones() {
    let folder = tempfile::tempdir().expect("a folder");
    let city = damaged_city(folder.path()).await;
    let phones =
        ["jefa", "cuadrilla"].map(|name| Phone::from_copy(&city, name, &kept().join(name)));
    for _ in 0..2 {
        for phone in &phones {
            phone.sync().await;
        }
    }
    city.ok("recovery", &["close"]).await;
    for phone in &phones {
        // What came meanwhile gets its folio once the recovery is closed.
        until("four petitions, each with its folio", async || {
            phone.sync().await;
            let rows = phone.list().await;
            let numbered = rows.iter().all(|row| row["folio"].is_string());
            (rows.len() == 4 && numbered).then_some(())
        })
        .await;
        assert_eq!(phone.status().await["unsent"], 0);
    }
    city.ok("check", &[]).await;
}
