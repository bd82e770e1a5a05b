//! A city with a journal on a second disk loses its machine: a backup of long ago and the journal are the
//! city as it was, with what no phone could bring back, before any phone comes.

use std::path::{Path, PathBuf};

use manzana_tests::phone::Phone;
use manzana_tests::relay::{City, Ran, run, text};
use manzana_tests::truth;

/// A city whose journal is in the folder that is given with it: the second disk.
async fn journaled() -> (City, PathBuf, tempfile::TempDir) {
    let disk = tempfile::tempdir().expect("a temporary folder");
    let journal = disk.path().join("journal");
    let city = City::start_with(&[("JOURNAL_DIR", text(&journal))]).await;
    city.user("jefa", "block_captain").await;
    city.user("otra", "block_captain").await;
    city.catalog().await;
    (city, journal, disk)
}

/// The machine is lost: of the city only its keys are left, a backup, and the second disk.
async fn lose(city: &mut City) {
    city.kill().await;
    for file in ["city.sqlite", "city.sqlite-wal", "city.sqlite-shm"] {
        let _ = std::fs::remove_file(city.data_dir().join(file));
    }
}

async fn put_back(city: &City, backup: &Path, more: &[&str]) -> Ran {
    let args = [&[text(backup), "--why", "simulacro"], more].concat();
    city.ok("restore", &args).await
}

#[tokio::test]
async fn a_backup_and_the_journal_are_the_city_as_it_was() {
    let (mut city, _, _disk) = journaled().await;
    let captain = Phone::enrol(&city, "jefa", &["block:5"]).await;
    let other = Phone::enrol(&city, "otra", &["block:6"]).await;
    captain.capture("ANTES", &[]).await;
    captain.sync().await;
    let backup = city.backup().await;

    // What phones could bring back, and what none could: people, a revocation.
    captain.capture("DESPUES", &[]).await;
    captain.sync().await;
    city.user("nadie", "operator").await;
    let status = other.status().await;
    city.revoke(status["device"].as_str().expect("an id")).await;
    let before = truth::folios(&city.database());
    assert_eq!(before.len(), 2);
    lose(&mut city).await;
    let ran = put_back(&city, &backup, &[]).await;
    assert!(ran.out.contains("the city as it was"), "{ran:?}");
    assert_eq!(truth::folios(&city.database()), before);
    let again = run(city
        .command("user")
        .args(["add", "nadie", "--role", "operator"]))
    .await;
    assert_ne!(again.code, Some(0), "{again:?}");

    city.restart().await;
    let refused = other.run(&["sync"]).await;
    assert_ne!(refused.code, Some(0), "{refused:?}");
    city.ok("recovery", &["close"]).await;
    captain.capture("OTRA VEZ", &[]).await;
    captain.sync().await;
    let mut folios: Vec<_> = truth::folios(&city.database()).into_values().collect();
    folios.sort_unstable();
    assert_eq!(folios, [Some(1), Some(2), Some(3)]);
    let checked = city.ok("check", &[]).await;
    assert!(checked.out.contains("the journal reaches"), "{checked:?}");

    // The restore is in the journal too: the old backup is as good as before.
    lose(&mut city).await;
    put_back(&city, &backup, &[]).await;
    assert_eq!(truth::folios(&city.database()).len(), 3);
}

#[tokio::test]
async fn what_was_written_without_the_journal_is_told() {
    let (mut city, journal, _disk) = journaled().await;
    let backup = city.backup().await;
    let mut without = city.command("user");
    without.env_remove("MANZANA_JOURNAL_DIR");
    without.args(["add", "nadie", "--role", "crew", "--display", "nadie"]);
    let added = run(&mut without).await;
    assert_eq!(added.code, Some(0), "{added:?}");
    let checked = run(&mut city.command("check")).await;
    assert_eq!(checked.code, Some(1), "{checked:?}");
    assert!(checked.err.contains("make a backup now"), "{checked:?}");
    city.user("alguien", "crew").await;
    lose(&mut city).await;
    let dir = ["--journal", text(&journal)];
    let ran = put_back(&city, &backup, &dir).await;
    assert!(ran.out.contains("0 writes done again"), "{ran:?}");
    assert!(ran.out.contains("1 writes stand in the journal"), "{ran:?}");
    assert!(ran.out.contains("Revoke again"), "{ran:?}");
}

#[tokio::test]
async fn a_backup_trims_the_journal_and_needs_one() {
    let (city, journal, _disk) = journaled().await;
    let backup = city.path("respaldo.sqlite");
    let ran = city.ok("backup", &[text(&backup), "--trim-journal"]).await;
    assert!(ran.out.contains("0 files deleted"), "{ran:?}");
    assert!(journal.join("journal-000001").exists());
    let mut without = city.command("backup");
    without.env_remove("MANZANA_JOURNAL_DIR");
    without.args([text(&city.path("otro.sqlite")), "--trim-journal"]);
    let refused = run(&mut without).await;
    assert_eq!(refused.code, Some(1), "{refused:?}");
    assert!(refused.err.contains("no journal_dir"), "{refused:?}");
}
