//! One change on its way: from a device to another, and to many watchers.

use std::time::{Duration, Instant};

use manzana_client::{ChangeEvent, Client};
use manzana_engine::grant::{Role, Scope};
use manzana_engine::ids::DocId;
use manzana_engine::wire::{Down, decode_frame};
use manzana_tests::wait::in_time;
use tokio::sync::mpsc;
use tokio::task::JoinSet;

use crate::raw::{Raw, Table};
use crate::table::{Goal, Report, Row, at, ms};
use crate::town::Town;

/// The block in which everything happens.
const BLOCK: Scope = Scope::Block(1);
/// Longest for everything to have come.
const PATIENCE: Duration = Duration::from_secs(300);
/// Bytes of a frame of the raw relay: a status change, signed and framed.
const RAW_BYTES: usize = 250;
/// Instants that watchers tell of and nobody has read yet.
const TOLD: usize = 4_096;

/// A captain in step, and the petitions that may be written on.
async fn captain(town: &mut Town) -> (Client, Vec<DocId>) {
    let client = town.client(Role::BlockCaptain, BLOCK).await;
    let synced = client.sync_until_idle(PATIENCE).await.expect("synced");
    assert!(synced.idle, "{synced:?}");
    let docs = client.list().await.expect("read");
    client.start_sync();
    (client, docs.into_iter().map(|row| row.doc).collect())
}

/// From the act on one device to the change durable and checked on another.
pub(crate) async fn device_to_device(
    town: &mut Town,
    raw: &Raw,
    report: &mut Report,
    rounds: usize,
) {
    let (writer, docs) = captain(town).await;
    let reader = town.client(Role::Operator, BLOCK).await;
    let mut seen = reader.watch();
    reader.sync_until_idle(PATIENCE).await.expect("synced");
    reader.start_sync();
    let mut took = Vec::new();
    for round in 0..rounds + 5 {
        online(&reader).await;
        online(&writer).await;
        let doc = docs[round % docs.len()];
        let begun = Instant::now();
        writer.comment(doc, "Sigue igual").await.expect("saved");
        while seen.next().await != Some(ChangeEvent::Petition(doc)) {}
        if round >= 5 {
            took.push(ms(begun.elapsed()));
        }
        // The next one begins when this one is over at its author too.
        writer.sync_until_idle(PATIENCE).await.expect("synced");
    }
    writer.close().await;
    reader.close().await;
    let floor = raw_pair(town, raw, rounds).await;
    let what = "one change, device to device, durable and checked";
    let row = |share, more| {
        let ours = at(share, took.clone());
        let name = format!("{what}: p{:.0}", share * 100.0);
        Row::new(name, "ms", ours, Goal::AboveFloor(more)).floor(at(share, floor.clone()))
    };
    report.add(row(0.5, 2.0).note("floor: three commits and a raw relay"));
    report.add(row(0.99, 8.0));
}

async fn online(client: &Client) {
    while client.status().await.expect("read").connection != manzana_client::Connection::Online {
        tokio::task::yield_now().await;
    }
}

async fn raw_pair(town: &mut Town, raw: &Raw, rounds: usize) -> Vec<f64> {
    let folder = town.folder();
    std::fs::create_dir_all(&folder).expect("a folder");
    let (mut own, mut other) = (
        Table::open(&folder.join("own.db")),
        Table::open(&folder.join("other.db")),
    );
    let mut publisher = raw.connect(b'P').await;
    let mut watcher = raw.connect(b'W').await;
    watcher.next().await.expect("it listens");
    let row = vec![7; RAW_BYTES];
    let mut took = Vec::new();
    for _ in 0..rounds {
        let begun = Instant::now();
        own.commit([row.as_slice()]);
        publisher.send(&row).await;
        let came = watcher.next().await.expect("passed on");
        other.commit([came.as_slice()]);
        took.push(ms(begun.elapsed()));
    }
    took
}

/// From the act on one device to the last of many watchers.
pub(crate) async fn watchers(
    town: &mut Town,
    raw: &Raw,
    report: &mut Report,
    count: usize,
    rounds: usize,
) {
    let (writer, docs) = captain(town).await;
    let (told, mut came) = mpsc::channel(TOLD);
    let mut tasks = JoinSet::new();
    let at_head = town.head().await;
    for _ in 0..count {
        let author = town.new_author(Role::Crew, BLOCK).await;
        let mut link = author.enter(&town.door, Some(at_head)).await;
        link.next().await.expect("a welcome");
        let told = told.clone();
        tasks.spawn(async move {
            while let Some(bytes) = link.next_whenever().await {
                let frame = decode_frame::<Down>(&bytes).expect("a frame");
                if matches!(frame, Down::Log { items, .. } if !items.is_empty())
                    && told.send(Instant::now()).await.is_err()
                {
                    return;
                }
            }
        });
    }
    online(&writer).await;
    let mut took = Vec::new();
    for round in 0..rounds + 3 {
        let begun = Instant::now();
        let doc = docs[round % docs.len()];
        writer.comment(doc, "Sigue igual").await.expect("saved");
        let last = last_of(&mut came, count).await;
        if round >= 3 {
            took.push(ms(last - begun));
        }
        writer.sync_until_idle(PATIENCE).await.expect("synced");
    }
    tasks.shutdown().await;
    writer.close().await;
    let floor = raw_watchers(town, raw, count, rounds).await;
    let (p50, p99) = match count {
        0..=100 => (Goal::AtMost(10.0), Goal::AtMost(20.0)),
        _ => (Goal::Open, Goal::AtMost(50.0)),
    };
    for (share, goal) in [(0.5, p50), (0.99, p99)] {
        let what = format!(
            "one change to {count} watchers, the last one: p{:.0}",
            share * 100.0
        );
        let ours = at(share, took.clone());
        report.add(Row::new(what, "ms", ours, goal).floor(at(share, floor.clone())));
    }
}

/// When the last of so many was told.
async fn last_of(came: &mut mpsc::Receiver<Instant>, count: usize) -> Instant {
    let mut last = None;
    for _ in 0..count {
        last = last.max(in_time("every watcher", came.recv()).await);
    }
    last.expect("a watcher")
}

async fn raw_watchers(town: &mut Town, raw: &Raw, count: usize, rounds: usize) -> Vec<f64> {
    let folder = town.folder();
    std::fs::create_dir_all(&folder).expect("a folder");
    let mut own = Table::open(&folder.join("own.db"));
    let (told, mut came) = mpsc::channel(TOLD);
    let mut tasks = JoinSet::new();
    for _ in 0..count {
        let mut link = raw.connect(b'W').await;
        link.next().await.expect("it listens");
        let told = told.clone();
        tasks.spawn(async move {
            while link.next().await.is_some() {
                if told.send(Instant::now()).await.is_err() {
                    return;
                }
            }
        });
    }
    let mut publisher = raw.connect(b'P').await;
    let row = vec![7; RAW_BYTES];
    let mut took = Vec::new();
    for _ in 0..rounds {
        let begun = Instant::now();
        own.commit([row.as_slice()]);
        publisher.send(&row).await;
        took.push(ms(last_of(&mut came, count).await - begun));
    }
    tasks.shutdown().await;
    took
}
