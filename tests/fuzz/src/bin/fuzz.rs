//! Runs the fuzz targets with random inputs: `fuzz --seconds 20`. A broken promise is told with the input
//! that runs it again.
#![forbid(unsafe_code)]

use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::Context as _;
use clap::Parser;
use data_encoding::HEXLOWER;
use manzana_fuzz::meter::{self, Cost};
use manzana_fuzz::{TARGETS, Target};

/// Longest random input, bytes.
const INPUT_BYTES: u64 = 96;

/// Runs the fuzz targets with random inputs.
#[derive(Parser)]
#[command(name = "fuzz", version, about)]
struct Args {
    /// How long, all targets together.
    #[arg(long, default_value_t = 20)]
    seconds: u64,
    /// Only this one: frames, envelopes, gate, documents.
    #[arg(long)]
    target: Option<String>,
    /// The number of the first input.
    #[arg(long, default_value_t = 0)]
    from: u64,
    /// One input (hexadecimal), alone.
    #[arg(long)]
    input: Option<String>,
}

fn main() -> anyhow::Result<ExitCode> {
    let args = Args::parse();
    let named = |target: &Target| {
        args.target
            .as_deref()
            .is_none_or(|name| name == target.name)
    };
    let targets: Vec<Target> = TARGETS.into_iter().filter(named).collect();
    anyhow::ensure!(!targets.is_empty(), "no such target");
    let input = args.input.as_deref();
    let input = input.map(|hex| HEXLOWER.decode(hex.as_bytes()));
    let input = input.transpose().context("the input is not hexadecimal")?;
    let each = Duration::from_secs(args.seconds) / u32::try_from(targets.len())?;
    let mut crashes = 0;
    println!("{}", meter::COLUMNS);
    for target in targets {
        let cost = match &input {
            Some(input) => one(target, input),
            None => many(target, each, args.from),
        };
        crashes += cost.crashes;
        println!("{:<14}{cost}", target.name);
    }
    println!(
        "promised: no crash, {} MiB, {} ms",
        meter::MEMORY_BYTES >> 20,
        meter::TIME.as_millis()
    );
    Ok(match crashes {
        0 => ExitCode::SUCCESS,
        _ => ExitCode::FAILURE,
    })
}

/// The samples are made with the first input, which does not count.
fn ready(target: Target) -> Cost {
    Cost::default().run(target, &[]);
    Cost::default()
}

fn one(target: Target, input: &[u8]) -> Cost {
    let mut cost = ready(target);
    cost.run(target, input);
    cost
}

fn many(target: Target, time: Duration, from: u64) -> Cost {
    let mut cost = ready(target);
    let started = Instant::now();
    for number in from.. {
        if started.elapsed() >= time {
            break;
        }
        let input = random(number);
        if !cost.run(target, &input) {
            let input = HEXLOWER.encode(&input);
            eprintln!("again: fuzz --target {} --input {input}", target.name);
        }
    }
    cost
}

/// SplitMix64: the same input for the same number on every machine.
fn random(number: u64) -> Vec<u8> {
    let mut state = number;
    let mut next = || {
        state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = state;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    };
    (0..next() % INPUT_BYTES)
        .map(|_| (next() >> 8) as u8)
        .collect()
}
