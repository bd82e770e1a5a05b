//! The power goes: after every operation, with what was not synced torn and out of order.
//!
//! With `synchronous=FULL` nothing that was acknowledged may be lost, nothing may be half there, and the
//! file must be whole. With `NORMAL` acknowledged work must be seen to go: a test that cannot see that
//! proves nothing of `FULL`.

use std::path::Path;

use manzana_store::REPLICA_SCHEMA;
use manzana_store::sqlite::{self, Sharing, StoreError};
use manzana_tests::wait::Seeded;

use super::phone::Phone;
use super::relay::Relay;
use super::story::{self, Story, difference, rows};
use super::tape::{Tape, lay_out};

/// Commits of the control.
const COMMITS: i64 = 12;

fn temporary() -> tempfile::TempDir {
    tempfile::tempdir().unwrap()
}

/// Cuts the power after each operation of a story.
fn cut_everywhere<S: Story>(story: &S) {
    let (tape, states) = story::recorded(story);
    let mut dice = Seeded::from_environment(6);
    let mut cuts = 0;
    for ops in 0..=tape.len() {
        for _ in 0..story::tries(1) {
            let (seed, folder) = (dice.clone(), temporary());
            lay_out(&tape.power_cut(ops, &mut dice), folder.path());
            story.recover(folder.path());
            let found = rows(&story.database(folder.path()));
            // Whatever was acknowledged, or that and the commit under way.
            let acknowledged = tape.acknowledged(ops);
            let allowed = [acknowledged.checked_sub(1), Some(acknowledged)];
            let mut allowed = allowed
                .into_iter()
                .flatten()
                .filter_map(|at| states.get(at));
            assert!(
                acknowledged == 0 || allowed.any(|state| *state == found),
                "SEED={} after {ops} of {} operations, {acknowledged} acknowledged: {:?}",
                seed.0,
                tape.len(),
                states
                    .get(acknowledged.saturating_sub(1))
                    .map(|state| difference(state, &found)),
            );
            cuts += 1;
        }
    }
    println!(
        "power cuts, {}: {} operations, {} acknowledgements, {cuts} cuts, 0 losses",
        S::NAME,
        tape.len(),
        states.len(),
    );
}

#[test]
fn a_device_loses_nothing_that_was_saved_wherever_the_power_goes() {
    cut_everywhere(&Phone::new());
}

#[test]
fn a_relay_loses_nothing_that_was_committed_wherever_the_power_goes() {
    cut_everywhere(&Relay::new());
}

/// Commits rows with this `synchronous`, moving the log into the database half way.
fn commit_rows(database: &Path, synchronous: &str, tape: &Tape) {
    let wait = std::time::Duration::ZERO;
    let opened = sqlite::open_with(database, &REPLICA_SCHEMA, Sharing::Exclusive, wait);
    let mut conn = opened.unwrap();
    conn.pragma_update(None, "synchronous", synchronous)
        .unwrap();
    for n in 0..COMMITS {
        sqlite::write::<_, StoreError>(&mut conn, |tx| {
            let sql = "INSERT INTO receipts (time, body, signature) VALUES (?1, randomblob(6000), zeroblob(64))";
            Ok(tx.execute(sql, [n])?)
        })
        .unwrap();
        tape.mark();
        if n == COMMITS / 2 {
            conn.query_row("PRAGMA wal_checkpoint(RESTART)", [], |_| Ok(()))
                .unwrap();
        }
    }
}

/// In how many of the cuts acknowledged rows were lost. The files must be whole all the same.
fn losses(synchronous: &str) -> usize {
    let home = temporary();
    let tape = Tape::over(home.path(), None);
    commit_rows(&home.path().join("replica.db"), synchronous, &tape);
    let mut dice = Seeded(6);
    let mut lost = 0;
    for ops in 0..=tape.len() {
        for _ in 0..story::tries(1) {
            let folder = temporary();
            lay_out(&tape.power_cut(ops, &mut dice), folder.path());
            let database = folder.path().join("replica.db");
            drop(sqlite::open(&database, &REPLICA_SCHEMA).unwrap());
            let kept = rows(&database)["receipts"].len();
            let acknowledged = tape.acknowledged(ops);
            assert!(kept <= acknowledged + 1, "{kept} of {acknowledged}");
            lost += usize::from(kept < acknowledged);
        }
    }
    println!(
        "power cuts, synchronous={synchronous}: {} operations, cuts with losses: {lost}",
        tape.len()
    );
    lost
}

#[test]
fn the_control_sees_that_normal_loses_what_full_keeps() {
    assert_eq!(losses("FULL"), 0);
    assert!(losses("NORMAL") > 0, "the power cuts cut nothing");
}
