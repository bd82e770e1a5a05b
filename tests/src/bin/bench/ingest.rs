//! How many changes a second a relay takes in: signed, judged, durable, answered. With the gate's
//! worker processes, and with the same judge inside the relay's own process.

use std::io::Write as _;
use std::path::Path;
use std::process::Stdio;
use std::sync::Arc;
use std::time::{Duration, Instant};

use async_trait::async_trait;
use bytes::Bytes;
use manzana_engine::document::Document;
use manzana_engine::fold::EventKind;
use manzana_engine::gate::judge;
use manzana_engine::grant::{Role, Scope};
use manzana_engine::ids::DocId;
use manzana_engine::record::{Comment, Event, Record};
use manzana_server::city;
use manzana_server::clock::SystemClock;
use manzana_server::config::Config;
use manzana_server::gate::{Gate, GateError};
use manzana_server::metrics::Metrics;
use manzana_server::relay::{
    CityFace, CityKeys, Relay, RelayParts, SEGMENT_DOCS, SystemRandomness, router,
};
use manzana_server::serve::{self, Listeners, Parts};
use manzana_tests::device::Door;
use manzana_tests::relay::{City, text};
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::process::{Child, Command};

use crate::story;
use crate::table::{Goal, Report, Row};
use crate::town::Town;
use manzana_tests::author::Author;

/// Devices that push at once.
const DEVICES: u32 = 8;

/// A fresh city, 8 devices, so many captures and comments each.
pub(crate) async fn ingest(report: &mut Report, each: usize, seed: u64) {
    let mut town = Town::found(seed).await;
    let (captures, comments) = push(&mut town, None, each).await;
    let cpu = |spent: (Duration, Duration), count: f64| {
        let us = |time: Duration| time.as_secs_f64() * 1e6 / count;
        format!(
            "CPU each: relay {:.0} µs, gate {:.0} µs",
            us(spent.0),
            us(spent.1)
        )
    };
    let count = f64::from(DEVICES) * each as f64;
    let goal = Goal::AtLeast(3_000.0);
    for (what, (took, spent)) in [("captures", captures), ("comments", comments)] {
        let rate = count / took.as_secs_f64();
        let what = format!("ingest, gated and durable: {what}");
        report.add(Row::new(what, "1/s", rate, goal).note(cpu(spent, count)));
    }
    let disk = tempfile::tempdir().expect("a temporary folder");
    let journal = disk.path().join("journal");
    let city = City::start_with(&[("JOURNAL_DIR", text(&journal))]).await;
    let mut town = Town::found_in(city, seed).await;
    let before = bytes_in(&journal);
    let (captures, comments) = push(&mut town, None, each).await;
    let written = (bytes_in(&journal) - before) as f64 / (2.0 * count);
    for (what, (took, _)) in [("captures", captures), ("comments", comments)] {
        let rate = count / took.as_secs_f64();
        let what = format!("ingest, with a journal on the same disk: {what}");
        let note = format!("{written:.0} bytes of journal each");
        report.add(Row::new(what, "1/s", rate, Goal::Open).note(note));
    }
    let mut town = Town::found(seed).await;
    town.city.kill().await;
    let inside = Inside::start(&town).await;
    let (captures, comments) = push(&mut town, Some(&inside.door), each).await;
    for (what, (took, _)) in [("captures", captures), ("comments", comments)] {
        let rate = count / took.as_secs_f64();
        let what = format!("ingest, judged in the relay's own process: {what}");
        report.add(Row::new(what, "1/s", rate, Goal::Open));
    }
}

fn bytes_in(folder: &Path) -> u64 {
    let files = std::fs::read_dir(folder).expect("the journal");
    let sizes = files.map(|file| file.and_then(|file| file.metadata()).expect("a file").len());
    sizes.sum()
}

type Spent = (Duration, (Duration, Duration));

async fn push(town: &mut Town, door: Option<&Door>, each: usize) -> (Spent, Spent) {
    let door = door.unwrap_or(&town.door).clone();
    let mut authors = Vec::new();
    let mut open: Vec<(usize, DocId, Document)> = Vec::new();
    for n in 0..DEVICES {
        let mut author = town
            .new_author(Role::BlockCaptain, Scope::Block(n + 1))
            .await;
        for _ in 0..each {
            let form = story::form(n + 1, 1, &mut town.dice);
            let id = author.record();
            let event = Event::new(author.by(), EventKind::Recorded);
            let made = Document::create_petition(author.actor(), id, &form, event);
            let (document, doc, made) = made.expect("made");
            author.sign(doc, made, Vec::new());
            open.push((n as usize, doc, document));
        }
        author.connect(&door, 0).await;
        authors.push(author);
    }
    let pid = town.relay_pid();
    let (authors, captures) = timed(authors, pid).await;
    let mut authors = authors;
    for (n, doc, document) in &mut open {
        let text = story::comment(&crate::texts::OPERATOR_COMMENTS, &mut town.dice);
        let by = authors[*n].by();
        authors[*n].add(*doc, document, &[Record::Comment(Comment { by, text })]);
    }
    let (_, comments) = timed(authors, pid).await;
    (captures, comments)
}

async fn timed(authors: Vec<Author>, pid: Option<u32>) -> (Vec<Author>, Spent) {
    let before = pid.map(cpu);
    let begun = Instant::now();
    let running: Vec<_> = authors
        .into_iter()
        .map(|author| tokio::spawn(author.deliver()))
        .collect();
    let mut authors = Vec::new();
    for task in running {
        authors.push(task.await.expect("delivered").0);
    }
    let took = begun.elapsed();
    let spent = pid
        .map(cpu)
        .zip(before)
        .map(|(after, before)| (after.0 - before.0, after.1 - before.1));
    (authors, (took, spent.unwrap_or_default()))
}

/// Processor time used so far by the relay's process and by its workers. Linux counts it in
/// hundredths of a second.
fn cpu(relay: u32) -> (Duration, Duration) {
    let (mut own, mut workers) = (0, 0);
    for entry in std::fs::read_dir("/proc").into_iter().flatten().flatten() {
        let Ok(stat) = std::fs::read_to_string(entry.path().join("stat")) else {
            continue;
        };
        let Some((head, rest)) = stat.rsplit_once(')') else {
            continue;
        };
        let fields: Vec<&str> = rest.split_whitespace().collect();
        let number = |at: usize| {
            fields
                .get(at)
                .and_then(|f| f.parse::<u64>().ok())
                .unwrap_or(0)
        };
        let ticks = number(11) + number(12);
        if head.split_whitespace().next() == Some(relay.to_string().as_str()) {
            own = ticks;
        } else if number(1) == u64::from(relay) {
            workers += ticks;
        }
    }
    (
        Duration::from_millis(own * 10),
        Duration::from_millis(workers * 10),
    )
}

/// A relay whose judge is in its own process, in a process of its own.
struct Inside {
    _child: Child,
    door: Door,
}

impl Inside {
    async fn start(town: &Town) -> Self {
        let mut child = Command::new(std::env::current_exe().expect("this program"))
            .args(["--role", "inside", "--folder"])
            .arg(town.city.data_dir())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .expect("it starts");
        let mut lines = BufReader::new(child.stdout.take().expect("its output")).lines();
        let address = lines.next_line().await.expect("read").expect("a line");
        let url = format!("https://{address}").parse().expect("a url");
        Self {
            _child: child,
            door: Door::new(url, &town.keys.root().public()),
        }
    }
}

struct InProcess;

#[async_trait]
impl Gate for InProcess {
    async fn judge(&self, job: Bytes) -> Result<Bytes, GateError> {
        let judged = tokio::task::spawn_blocking(move || judge::serve(&job)).await;
        judged.map(Bytes::from).map_err(|_| GateError::Stopped)
    }
}

/// The process itself: says its address, and serves until it is killed.
pub(crate) async fn serve_inside(folder: &Path) -> anyhow::Result<()> {
    let config = Config {
        data_dir: folder.to_owned(),
        sync_listen: "127.0.0.1:0".parse()?,
        console_listen: "127.0.0.1:0".parse()?,
        ..Config::default()
    };
    let listeners = Listeners::bind(&config).await?;
    let root = Arc::new(city::open_root(&config)?);
    let parts = RelayParts {
        gate: Arc::new(InProcess),
        entropy: Arc::new(SystemRandomness),
        keys: CityKeys::open(&serve::keys_dir(&config), &root)?,
        face: CityFace {
            center: config.city.center.clone(),
            folio_prefix: config.city.folio_prefix.clone(),
            folio_width: config.city.folio_width,
        },
        segment_docs: SEGMENT_DOCS,
    };
    let clock = Arc::new(SystemClock);
    let store = Arc::new(city::open_store(&config)?);
    let relay = Relay::start(store, clock.clone(), parts).await?;
    println!("{}", listeners.sync_address()?);
    std::io::stdout().flush()?;
    let parts = Parts {
        config: Arc::new(config),
        desk: relay.clone(),
        sync_router: router(relay),
        root,
        metrics: Arc::new(Metrics::default()),
        clock,
    };
    Ok(serve::run(listeners, parts, std::future::pending()).await?)
}
