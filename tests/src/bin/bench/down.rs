//! What comes down: the cold start, the reconnect with nothing new, the catch-up.

use std::time::{Duration, Instant};

use manzana_client::Client;
use manzana_engine::codec;
use manzana_engine::grant::{Role, Scope};
use manzana_engine::ids::Seq;
use manzana_engine::wire::{Down, decode_frame};
use manzana_store::SqliteReplica;
use manzana_tests::device::{Device, Link};

use crate::raw::{self, Raw};
use crate::table::{Goal, Report, Row, median, ms};
use crate::town::{Grown, Town};

/// Rows of a first screen.
const SCREEN: usize = 25;
/// Longest that a cold start may take here.
const PATIENCE: Duration = Duration::from_secs(900);
/// Changes of a catch-up.
const CHANGES: usize = 100;

/// What a session moved.
#[derive(Debug, Default)]
pub(crate) struct Moved {
    /// Application bytes up, the hello included.
    up: usize,
    /// Application bytes down.
    down: usize,
    /// Frames sent up after the hello: each could have cost a round trip.
    sent: usize,
    /// The packs as they came.
    packs: Vec<Vec<u8>>,
    took: Duration,
}

/// Reads until the device is in step with the city: everything received, every scope compared.
async fn in_step(device: &mut Device<SqliteReplica>, link: &mut Link, moved: &mut Moved) {
    let mut head: Option<Seq> = None;
    let mut compared = 0;
    loop {
        let position = &device.meta().position;
        let scopes = device.meta().scopes();
        let complete = position.fills.is_empty()
            && scopes.iter().all(|scope| position.scopes.contains(scope))
            && head.is_some_and(|head| position.seq >= head);
        if complete && compared >= scopes.len() {
            return;
        }
        let bytes = link.next_bytes().await.expect("the session goes on");
        moved.down += bytes.len();
        let frame: Down = decode_frame(&bytes).expect("a frame");
        match &frame {
            Down::Welcome { seq, .. } => head = Some(*seq),
            Down::Digest { .. } => compared += 1,
            Down::Pack { .. } => moved.packs.push(bytes),
            _ => {}
        }
        device.take(frame);
        while let Some(up) = device.replica.next_up().expect("stored") {
            moved.up += codec::encode(&up).len();
            moved.sent += 1;
            link.send(&up).await;
        }
    }
}

/// One session from the hello on, over a connection that stands already.
async fn session(device: &mut Device<SqliteReplica>) -> Moved {
    let mut moved = Moved::default();
    let stream = device.dial().await.expect("the relay listens");
    let nonce = device.meta().nonce.to_vec();
    moved.up = device.replica.hello(&nonce).expect("enrolled").0.len();
    let begun = Instant::now();
    let mut link = device.connect_over(stream).await.expect("let in");
    in_step(device, &mut link, &mut moved).await;
    moved.took = begun.elapsed();
    moved
}

/// Cold starts of a device that holds the whole city. Gives the last one, in step.
pub(crate) async fn cold(
    town: &mut Town,
    raw: &Raw,
    report: &mut Report,
    grown: &Grown,
    runs: usize,
) -> Device<SqliteReplica> {
    let size = town.docs.len();
    let (mut whole, mut screens) = (Vec::new(), Vec::new());
    for _ in 0..runs {
        let client = town.client(Role::Operator, Scope::City).await;
        let (first, all) = tokio::join!(first_screen(&client), start(&client));
        whole.push(ms(all));
        screens.push(ms(first));
        assert_eq!(client.list().await.expect("read").len(), size);
        client.close().await;
    }
    let before = town.opened().await;
    let mut probe = town.probe(Role::Operator, Scope::City).await;
    let moved = session(&mut probe).await;
    let opened = (
        town.opened().await - before,
        probe.replica.store().documents().opened(),
    );
    let floor = floor(town, raw, &moved.packs, runs).await;
    let (took, screen) = (median(whole), median(screens));
    let goal = if size == 10_000 {
        Goal::AtMostAndTimesFloor(2_000.0, 2.0)
    } else {
        Goal::TimesFloor(2.0)
    };
    let what = |what: &str| format!("cold start of {size}: {what}");
    report.add(Row::new(what("verified and durable"), "ms", took, goal).floor(floor));
    report.add(Row::new(
        what("first screen"),
        "ms",
        screen,
        Goal::AtMost(300.0),
    ));
    let each = (moved.down) as f64 / size as f64;
    report.add(
        Row::new(
            what("bytes each, full history"),
            "B",
            each,
            Goal::AtMost(650.0),
        )
        .note(format!(
            "{:.1} changes of {:.0} B each",
            grown.changes as f64 / (size - grown.before) as f64,
            grown.bytes as f64 / grown.changes as f64
        )),
    );
    let new = (size - grown.before) as f64;
    report.add(
        Row::new(
            what("bytes of a sealed part"),
            "B",
            grown.sealed as f64 / new,
            Goal::AtMost(150.0),
        )
        .note("fetched apart, by who may read it"),
    );
    let trips = 1.0 + moved.sent as f64;
    report.add(Row::new(
        what("round trips after TLS"),
        "",
        trips,
        Goal::AtMost(2.0),
    ));
    report.add(
        Row::new(
            what("documents opened by the device"),
            "",
            opened.1 as f64,
            Goal::Open,
        )
        .note(format!("by the relay {}", opened.0)),
    );
    report.grows("cold start, ms", size, took);
    report.grows("cold start, its floor, ms", size, floor);
    report.grows("cold start: first screen, ms", size, screen);
    report.grows("cold start: bytes each", size, each);
    probe
}

async fn first_screen(client: &Client) -> Duration {
    let mut changes = client.watch();
    let begun = Instant::now();
    while changes.next().await.is_some() {
        if client.list().await.expect("read").len() >= SCREEN {
            break;
        }
    }
    begun.elapsed()
}

async fn start(client: &Client) -> Duration {
    let begun = Instant::now();
    let synced = client.sync_until_idle(PATIENCE).await.expect("synced");
    assert!(synced.idle, "{synced:?}");
    begun.elapsed()
}

async fn floor(town: &mut Town, raw: &Raw, packs: &[Vec<u8>], runs: usize) -> f64 {
    let folder = town.folder();
    std::fs::create_dir_all(&folder).expect("a folder");
    let frames = raw::keep(packs, &folder);
    let each = town.docs.len().div_ceil(packs.len().max(1));
    let mut took = Vec::new();
    for run in 0..runs.max(3) {
        let into = folder.join(format!("into{run}.db"));
        took.push(ms(raw::stream(raw, &frames, each, &into).await));
    }
    median(took)
}

/// Reconnects with nothing new.
pub(crate) async fn unchanged(
    town: &mut Town,
    probe: &mut Device<SqliteReplica>,
    report: &mut Report,
    runs: usize,
) {
    let size = town.docs.len();
    let before = (
        town.opened().await,
        probe.replica.store().documents().opened(),
    );
    let mut took = Vec::new();
    let mut moved = Moved::default();
    for _ in 0..runs {
        moved = session(probe).await;
        took.push(ms(moved.took));
    }
    let opened =
        (town.opened().await - before.0) + (probe.replica.store().documents().opened() - before.1);
    let bytes = (moved.up + moved.down) as f64;
    let (took, slow) = (median(took.clone()), crate::table::at(0.99, took));
    let what = |what: &str| format!("reconnect, nothing new, {size}: {what}");
    let note = format!("{} up, {} down", moved.up, moved.down);
    report.add(Row::new(what("application bytes"), "B", bytes, Goal::AtMost(1_024.0)).note(note));
    let trips = 1.0 + moved.sent as f64;
    report.add(Row::new(
        what("round trips after TLS"),
        "",
        trips,
        Goal::AtMost(1.0),
    ));
    let note = format!("p99 {slow:.2}");
    report.add(Row::new(what("hello to in step"), "ms", took, Goal::AtMost(2.0)).note(note));
    let what = what("documents opened at both ends");
    report.add(Row::new(what, "", opened as f64, Goal::AtMost(0.0)));
    report.grows("reconnect with nothing new, ms", size, took);
    report.grows("reconnect with nothing new, B", size, bytes);
}

/// A hundred changes while the device was away.
pub(crate) async fn catch_up(
    town: &mut Town,
    probe: &mut Device<SqliteReplica>,
    report: &mut Report,
    runs: usize,
) {
    let size = town.docs.len();
    let quiet = session(probe).await;
    let mut desk = town.new_author(Role::Operator, Scope::City).await;
    let (mut took, mut bytes, mut changes) = (Vec::new(), 0, 0);
    for _ in 0..runs {
        let some = town.some(CHANGES);
        changes = town.touch(&some, &mut desk).await as usize;
        desk.connect(&town.door, town.head().await).await;
        (desk, _, _) = desk.deliver().await;
        desk.hang_up();
        let moved = session(probe).await;
        took.push(ms(moved.took));
        bytes = (moved.up + moved.down).saturating_sub(quiet.up + quiet.down);
    }
    let what = |what: &str| format!("catch-up of {CHANGES} among {size}: {what}");
    report.add(
        Row::new(
            what("bytes beyond a quiet reconnect"),
            "B",
            bytes as f64,
            Goal::TimesFloor(1.05),
        )
        .floor(changes as f64),
    );
    let took = median(took);
    report.add(Row::new(
        what("applied and durable"),
        "ms",
        took,
        Goal::Open,
    ));
    report.grows("catch-up of 100 changes, ms", size, took);
    report.grows("catch-up of 100 changes, B", size, bytes as f64);
}
