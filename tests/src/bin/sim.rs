//! The simulator's command line.
//!
//! `cargo run --release -p manzana-tests --bin sim -- --seeds 1000 --from 1` plays seeds and ends with a
//! line of what was found; a failure prints the line that replays it and its short story.
#![forbid(unsafe_code)]

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use clap::Parser;
use manzana_tests::sim::check::Checker;
use manzana_tests::sim::knobs::Knobs;
use manzana_tests::sim::{Aloud, Outcome, Play, play, shrink};

/// Every so many seeds one is played twice: the traces must match.
const TWICE: u64 = 50;

/// Plays seeded stories over the production machines, and checks that nothing was lost.
#[derive(Debug, Parser)]
#[command(name = "sim")]
struct Args {
    /// How many seeds; with --seconds, at most.
    #[arg(long, default_value_t = 1_000)]
    seeds: u64,
    /// The first seed.
    #[arg(long, default_value_t = 1)]
    from: u64,
    /// Stop after so many seconds.
    #[arg(long)]
    seconds: Option<u64>,
    /// Threads; all cores when not said.
    #[arg(long)]
    threads: Option<usize>,
    /// Only this seed, told in words.
    #[arg(long)]
    seed: Option<u64>,
    /// With --seed: only these scenes, such as "3,17,40-42".
    #[arg(long, requires = "seed")]
    keep: Option<String>,
    /// With --seed: the wires lose, double, reorder and delay nothing.
    #[arg(long, requires = "seed")]
    calm_wires: bool,
    /// With --seed: tell every frame too.
    #[arg(long, requires = "seed")]
    frames: bool,
    /// Cities of up to thousands of petitions: seconds to minutes each.
    #[arg(long)]
    large: bool,
    /// Failures after which the rest is not played.
    #[arg(long, default_value_t = 3)]
    failures: u64,
}

fn main() -> anyhow::Result<()> {
    let args = Args::parse();
    // A panic is an outcome here, told with the others.
    std::panic::set_hook(Box::new(|_| {}));
    let failed = match args.seed {
        Some(seed) => replay(seed, &args)?,
        None => many(&args),
    };
    if failed > 0 {
        std::process::exit(1);
    }
    Ok(())
}

fn play_of(seed: u64, large: bool) -> Play {
    match large {
        true => Play::of_knobs(seed, Knobs::large(seed)),
        false => Play::of_seed(seed),
    }
}

fn replay(seed: u64, args: &Args) -> anyhow::Result<u64> {
    let mut wanted = play_of(seed, args.large);
    if args.calm_wires {
        let knobs = &mut wanted.knobs;
        (knobs.loss, knobs.duplication, knobs.reorder) = (0, 0, 0);
        knobs.delay_rounds = 0;
    }
    if let Some(keep) = &args.keep {
        let keep = numbers(keep)?;
        wanted.scenes.retain(|scene| keep.contains(&scene.number));
    }
    println!("{:?}", wanted.knobs);
    let outcome = play(
        &wanted,
        if args.frames {
            Aloud::Frames
        } else {
            Aloud::Steps
        },
    );
    for (number, words) in outcome.words.iter().enumerate() {
        println!("{:>4}. {words}", number + 1);
    }
    for violation in &outcome.violations {
        println!("{:?}: {}", violation.checker, violation.what);
    }
    let (good, bad) = if outcome.violations.is_empty() {
        (1, 0)
    } else {
        (0, 1)
    };
    println!("{good} passed, {bad} failed");
    Ok(bad)
}

fn numbers(text: &str) -> anyhow::Result<std::collections::BTreeSet<usize>> {
    let mut all = std::collections::BTreeSet::new();
    for piece in text.split(',') {
        let (from, to) = piece.split_once('-').unwrap_or((piece, piece));
        all.extend(from.trim().parse::<usize>()?..=to.trim().parse()?);
    }
    Ok(all)
}

/// What all threads share.
struct Board {
    next: AtomicU64,
    last: u64,
    until: Option<Instant>,
    stop: AtomicBool,
    most: u64,
    large: bool,
    frames: AtomicU64,
    rows: AtomicU64,
    played: AtomicU64,
    twice: AtomicU64,
    failures: Mutex<BTreeMap<u64, Outcome>>,
}

fn many(args: &Args) -> u64 {
    let begun = Instant::now();
    let board = Board {
        next: AtomicU64::new(args.from),
        last: args.from.saturating_add(args.seeds),
        until: args.seconds.map(|s| begun + Duration::from_secs(s)),
        stop: AtomicBool::new(false),
        most: args.failures,
        large: args.large,
        frames: AtomicU64::new(0),
        rows: AtomicU64::new(0),
        played: AtomicU64::new(0),
        twice: AtomicU64::new(0),
        failures: Mutex::default(),
    };
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    std::thread::scope(|scope| {
        for _ in 0..args.threads.unwrap_or(cores) {
            scope.spawn(|| board.work());
        }
    });
    let failures = std::mem::take(&mut *lock(&board.failures));
    for (seed, outcome) in &failures {
        report(*seed, args.large, outcome);
    }
    let seconds = begun.elapsed().as_secs_f64();
    let played = board.played.load(Ordering::Relaxed);
    println!(
        "{played} seeds from {} in {seconds:.0} s ({:.1} seeds/s), {} frames, {} rows of log, {} seeds played twice",
        args.from,
        played as f64 / seconds,
        board.frames.load(Ordering::Relaxed),
        board.rows.load(Ordering::Relaxed),
        board.twice.load(Ordering::Relaxed),
    );
    let failed = failures.len() as u64;
    println!("{} passed, {failed} failed", played - failed);
    failed
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex
        .lock()
        .unwrap_or_else(std::sync::PoisonError::into_inner)
}

impl Board {
    fn work(&self) {
        while !self.stop.load(Ordering::Relaxed) {
            if self.until.is_some_and(|until| Instant::now() >= until) {
                return;
            }
            let seed = self.next.fetch_add(1, Ordering::Relaxed);
            if seed >= self.last {
                return;
            }
            self.one(seed);
        }
    }

    fn one(&self, seed: u64) {
        let wanted = play_of(seed, self.large);
        let mut outcome = play(&wanted, Aloud::No);
        if seed.is_multiple_of(TWICE) {
            self.twice.fetch_add(1, Ordering::Relaxed);
            if play(&wanted, Aloud::No).trace != outcome.trace {
                outcome
                    .violations
                    .push(manzana_tests::sim::check::Violation {
                        checker: Checker::Protocol,
                        what: "the same seed gave another trace".to_owned(),
                    });
            }
        }
        self.played.fetch_add(1, Ordering::Relaxed);
        self.frames.fetch_add(outcome.frames, Ordering::Relaxed);
        self.rows.fetch_add(outcome.rows, Ordering::Relaxed);
        if !outcome.violations.is_empty() {
            let mut failures = lock(&self.failures);
            failures.insert(seed, outcome);
            if failures.len() as u64 >= self.most {
                self.stop.store(true, Ordering::Relaxed);
            }
        }
    }
}

/// Says what failed, the line that replays it, and its short story.
fn report(seed: u64, large: bool, outcome: &Outcome) {
    println!("seed {seed} failed:");
    for violation in outcome.violations.iter().take(8) {
        println!("  {:?}: {}", violation.checker, violation.what);
    }
    let size = if large { " --large" } else { "" };
    println!("  again: sim --seed {seed}{size}");
    let Some(first) = outcome.violations.first() else {
        return;
    };
    let short = shrink::shrink(&play_of(seed, large), first.checker);
    let keep: Vec<String> = short
        .scenes
        .iter()
        .map(|scene| scene.number.to_string())
        .collect();
    let knobs = &short.knobs;
    let calm = knobs.is_orderly() && knobs.delay_rounds == 0;
    println!(
        "  short: sim --seed {seed}{size}{} --keep {}",
        if calm { " --calm-wires" } else { "" },
        keep.join(",")
    );
    let told = play(&short, Aloud::Steps);
    for (number, words) in told.words.iter().enumerate() {
        println!("  {:>4}. {words}", number + 1);
    }
    for violation in told.violations.iter().take(4) {
        println!("     => {:?}: {}", violation.checker, violation.what);
    }
}
