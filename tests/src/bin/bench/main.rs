//! The benchmarks: every figure that the project holds itself to and that needs no other program beside
//! the floor, which is measured in the same run. See CONTRIBUTING.md, and `scripts/bench`.
//!
//! `MANZANA_BIN=<target>/release/manzana <target>/release/bench [--quick] [--only ROW,…] [--sizes 1k,10k]`
//!
//! The relay is the release binary in a process of its own; the reference city is loaded through signed
//! envelopes and grows from one size to the next. What takes microseconds is in `benches/small.rs`.
#![forbid(unsafe_code)]

#[allow(dead_code)]
#[path = "../demo_city/catalog.rs"]
mod catalog;
mod desk;
#[allow(dead_code)]
#[path = "../demo_city/dice.rs"]
mod dice;
mod down;
mod gate;
mod idle;
mod ingest;
mod live;
mod phone;
mod raw;
mod story;
mod table;
#[allow(dead_code)]
#[path = "../demo_city/texts.rs"]
mod texts;
mod town;
mod wire;

use std::path::PathBuf;
use std::time::Instant;

use anyhow::Context as _;
use clap::Parser;
use serde_json::json;

use raw::Raw;
use table::{Goal, Report, Row, ms};
use town::Town;

/// Measures Manzana against its own goals and the floor of this machine.
#[derive(Parser)]
struct Args {
    /// A small city and few rounds: a minute.
    #[arg(long)]
    quick: bool,
    /// Only these groups of rows: cold, back, catchup, phone, memory, live, watchers, backlog, wire,
    /// ingest, idle, desk.
    #[arg(long, value_delimiter = ',')]
    only: Vec<String>,
    /// Sizes that the city grows through, in petitions; `k` is a thousand.
    #[arg(long, value_delimiter = ',', value_parser = size)]
    sizes: Vec<usize>,
    /// Rows that the list is asked over.
    #[arg(long, value_delimiter = ',', value_parser = size)]
    rows: Vec<usize>,
    /// Idle sockets to hold.
    #[arg(long)]
    sockets: Option<usize>,
    /// The same seed gives the same city.
    #[arg(long, default_value_t = 26_102_021)]
    seed: u64,
    /// Where the JSON goes.
    #[arg(long)]
    json: Option<PathBuf>,
    /// Another process of the same run: raw, inside, waiting, fresh.
    #[arg(long, hide = true)]
    role: Option<String>,
    #[arg(long, hide = true)]
    folder: Option<PathBuf>,
    #[arg(long, hide = true)]
    address: Option<String>,
    #[arg(long, hide = true)]
    user: Option<u64>,
}

fn size(text: &str) -> Result<usize, std::num::ParseIntError> {
    match text.strip_suffix('k') {
        Some(thousands) => thousands.parse::<usize>().map(|size| size * 1_000),
        None => text.parse(),
    }
}

/// How much of everything.
struct Budget {
    sizes: Vec<usize>,
    runs: usize,
    rounds: usize,
    watchers: Vec<usize>,
    captures: usize,
    backlogs: Vec<usize>,
    sockets: usize,
    rows: Vec<usize>,
}

impl Budget {
    fn of(args: &Args) -> Self {
        let mut budget = if args.quick {
            Self {
                sizes: vec![500, 2_000],
                runs: 1,
                rounds: 40,
                watchers: vec![100],
                captures: 200,
                backlogs: vec![100],
                sockets: 1_000,
                rows: vec![30_000],
            }
        } else {
            Self {
                sizes: vec![1_000, 10_000, 30_000],
                runs: 3,
                rounds: 200,
                watchers: vec![100, 1_000],
                captures: 500,
                backlogs: vec![100, 400, 1_600],
                sockets: 10_000,
                rows: vec![30_000, 1_000_000],
            }
        };
        if !args.sizes.is_empty() {
            budget.sizes.clone_from(&args.sizes);
            budget.sizes.sort_unstable();
        }
        if !args.rows.is_empty() {
            budget.rows.clone_from(&args.rows);
            budget.rows.sort_unstable();
        }
        budget.sockets = args.sockets.unwrap_or(budget.sockets);
        budget
    }
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let args = Args::parse();
    let folder = || args.folder.clone().context("--folder");
    match args.role.as_deref() {
        None => {}
        Some("raw") => {
            idle::allow_files(4_096);
            raw::serve(&folder()?).await;
        }
        Some("inside") => return ingest::serve_inside(&folder()?).await,
        Some(role) => {
            let address = args.address.clone().context("--address")?;
            let user = args.user.context("--user")?;
            return idle::wait(&folder()?, &address, user, role == "fresh").await;
        }
    }
    let begun = Instant::now();
    let budget = Budget::of(&args);
    let mut report = Report::default();
    let run = Run {
        only: args.only.clone(),
        budget,
        seed: args.seed,
    };
    run.city(&mut report).await;
    run.others(&mut report).await;
    report.print();
    println!("\n{:.0} s", begun.elapsed().as_secs_f64());
    if let Some(path) = &args.json {
        let about = json!({
            "sizes": run.budget.sizes, "seed": args.seed, "quick": args.quick,
            "cores": std::thread::available_parallelism().map_or(0, usize::from),
            "seconds": begun.elapsed().as_secs(),
        });
        let text = serde_json::to_string_pretty(&report.json(&about))?;
        std::fs::write(path, text).with_context(|| format!("cannot write {}", path.display()))?;
    }
    Ok(())
}

/// What is measured in this run.
struct Run {
    only: Vec<String>,
    budget: Budget,
    seed: u64,
}

/// Groups that need the reference city.
const OF_THE_CITY: [&str; 7] = [
    "cold", "back", "catchup", "phone", "memory", "live", "watchers",
];

impl Run {
    fn wants(&self, group: &str) -> bool {
        self.only.is_empty() || self.only.iter().any(|name| name == group)
    }

    /// Grows the reference city and measures at each size.
    async fn city(&self, report: &mut Report) {
        if !OF_THE_CITY.iter().any(|group| self.wants(group)) {
            return;
        }
        idle::allow_files(8_192);
        let mut town = Town::found(self.seed).await;
        let folder = town.folder();
        std::fs::create_dir_all(&folder).expect("a folder");
        let raw = Raw::start(&folder).await;
        let (commit, fsync) = raw::disk(&folder, 200);
        report.add(Row::new(
            "this disk: one small durable commit",
            "ms",
            ms(commit),
            Goal::Open,
        ));
        report.add(Row::new(
            "this disk: one bare fsync",
            "ms",
            ms(fsync),
            Goal::Open,
        ));
        let live = live_size(&self.budget.sizes);
        for size in &self.budget.sizes {
            self.at_size(&mut town, &raw, report, *size).await;
            if self.wants("memory") {
                idle::memory(&town, report);
            }
            if *size == live {
                self.live(&mut town, &raw, report).await;
            }
            if self.wants("memory") {
                idle::restart(&mut town, report).await;
            }
        }
    }

    async fn at_size(&self, town: &mut Town, raw: &Raw, report: &mut Report, size: usize) {
        let grown = town.grow(size).await;
        let rate = grown.changes as f64 / grown.took.as_secs_f64();
        println!("{size} petitions: {} changes at {rate:.0}/s", grown.changes);
        report.grows("ingest while loading, 1/s", size, rate);
        let runs = self.budget.runs;
        if self.wants("cold") || self.wants("back") || self.wants("catchup") {
            let mut probe = down::cold(town, raw, report, &grown, runs).await;
            if self.wants("back") {
                down::unchanged(town, &mut probe, report, self.budget.rounds / 2).await;
            }
            if self.wants("catchup") {
                down::catch_up(town, &mut probe, report, runs).await;
            }
        }
        if self.wants("phone") {
            phone::alone(town, report).await;
        }
    }

    /// What is measured once, in a city of middle size.
    async fn live(&self, town: &mut Town, raw: &Raw, report: &mut Report) {
        if self.wants("live") {
            live::device_to_device(town, raw, report, self.budget.rounds).await;
        }
        if self.wants("watchers") {
            for count in &self.budget.watchers {
                let rounds = if *count > 100 {
                    self.budget.rounds / 4
                } else {
                    self.budget.rounds
                };
                live::watchers(town, raw, report, *count, rounds).await;
            }
        }
    }

    /// What needs no large city.
    async fn others(&self, report: &mut Report) {
        if self.wants("wire") {
            wire::status_change(report).await;
        }
        if self.wants("backlog") {
            phone::backlog(report, &self.budget.backlogs, self.seed).await;
        }
        if self.wants("ingest") {
            gate::gate(report, self.seed).await;
            ingest::ingest(report, self.budget.captures, self.seed).await;
        }
        if self.wants("desk") {
            desk::desk(report, &self.budget.rows, self.seed).await;
        }
        if self.wants("idle") {
            idle::sockets(report, self.budget.sockets, self.seed).await;
        }
    }
}

/// The size at which what is live is measured: the largest up to ten thousand.
fn live_size(sizes: &[usize]) -> usize {
    let fit = sizes.iter().filter(|size| **size <= 10_000).max();
    fit.or(sizes.first()).copied().unwrap_or_default()
}
