//! What a device does by itself: save, act, list; and a backlog of days without a network.

use std::time::{Duration, Instant};

use manzana_engine::grant::{Role, Scope};
use manzana_engine::seal::Petitioner;

use crate::raw;
use crate::story;
use crate::table::{Goal, Report, Row, median, ms};
use crate::town::Town;

/// Longest for everything to have come or gone.
const PATIENCE: Duration = Duration::from_secs(900);
/// Acts of each kind.
const ACTS: usize = 100;

/// Saves, acts and lists on a device that holds the whole city and has no network.
pub(crate) async fn alone(town: &mut Town, report: &mut Report) {
    let size = town.docs.len();
    let client = town.client(Role::Operator, Scope::City).await;
    let synced = client.sync_until_idle(PATIENCE).await.expect("synced");
    assert!(synced.idle, "{synced:?}");
    let mut saves = Vec::new();
    for _ in 0..ACTS {
        let form = story::form(1, 1, &mut town.dice);
        let person = Petitioner {
            name: "MARIA GUADALUPE HERNANDEZ TOLEDO".to_owned(),
            phone: Some("9211234567".to_owned()),
            notice_accepted: true,
            ..Petitioner::default()
        };
        let begun = Instant::now();
        client.capture(form, Some(person)).await.expect("saved");
        saves.push(ms(begun.elapsed()));
    }
    let mut acts = Vec::new();
    for doc in town.some(ACTS) {
        let begun = Instant::now();
        client
            .comment(doc, "Sigue sin repararse")
            .await
            .expect("saved");
        acts.push(ms(begun.elapsed()));
    }
    let mut lists = Vec::new();
    for _ in 0..5 {
        let begun = Instant::now();
        client.list().await.expect("read");
        lists.push(ms(begun.elapsed()));
    }
    client.close().await;
    let folder = town.folder();
    std::fs::create_dir_all(&folder).expect("a folder");
    let (commit, fsync) = raw::disk(&folder, ACTS);
    let (save, act, list) = (median(saves), median(acts), median(lists));
    let what = |what: &str| format!("on a device with {size}: {what}");
    let note = format!("floor: one small commit; one bare fsync {:.2}", ms(fsync));
    let goal = Goal::AboveFloor(1.0);
    report.add(
        Row::new(what("save a petition"), "ms", save, goal)
            .floor(ms(commit))
            .note(note),
    );
    report.add(Row::new(what("act on a petition"), "ms", act, goal).floor(ms(commit)));
    report.grows("device: save a petition, ms", size, save);
    report.grows("device: act on a petition, ms", size, act);
    report.grows("device: list all, ms", size, list);
}

/// What is captured without a network, sent and answered when it comes back: in a city of its own, since the
/// sizes of the reference city are counted.
pub(crate) async fn backlog(report: &mut Report, captures: &[usize], seed: u64) {
    let mut town = Town::found(seed).await;
    for count in captures {
        let client = town.client(Role::BlockCaptain, Scope::Block(1)).await;
        for _ in 0..*count {
            let form = story::form(1, 1, &mut town.dice);
            client.capture(form, None).await.expect("saved");
        }
        let begun = Instant::now();
        let synced = client.sync_until_idle(PATIENCE).await.expect("synced");
        assert!(synced.idle, "{synced:?}");
        let each = ms(begun.elapsed()) / *count as f64;
        client.close().await;
        let what = format!("a backlog of {count} captures, sent and answered, each");
        report.add(Row::new(what, "ms", each, Goal::Open));
    }
}
