//! `havoc`: plays a city in which processes are killed with -9, connections cut and disks full, for as long
//! as asked, and says what was lost: nothing, or the command failed.
//!
//! ```text
//! MANZANA_BIN=target/release/manzana target/release/havoc --seconds 300 --devices 6 --seed 1
//! ```
#![forbid(unsafe_code)]

use std::process::ExitCode;
use std::time::Duration;

use clap::{Parser, Subcommand};
use manzana_tests::havoc::{self, Plan, device};

/// Kills, cuts and full disks for a city of real processes, then the checkers.
#[derive(Parser)]
#[command(args_conflicts_with_subcommands = true)]
struct Cli {
    #[command(subcommand)]
    role: Option<Role>,
    /// How long accidents happen.
    #[arg(long, default_value_t = 60)]
    seconds: u64,
    /// How many devices work.
    #[arg(long, default_value_t = 6)]
    devices: usize,
    /// What makes the schedule.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Longest pause of a device between two acts, milliseconds.
    #[arg(long, default_value_t = 60)]
    pause: u64,
}

#[derive(Subcommand)]
enum Role {
    /// A device, killed by the program above.
    #[command(hide = true)]
    Device(device::Work),
}

fn main() -> ExitCode {
    let cli = Cli::parse();
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build();
    let runtime = runtime.expect("a runtime");
    if let Some(Role::Device(work)) = cli.role {
        runtime.block_on(device::work(work));
        return ExitCode::SUCCESS;
    }
    let plan = Plan {
        time: Duration::from_secs(cli.seconds),
        devices: cli.devices.max(1),
        seed: cli.seed,
        program: std::env::current_exe().expect("this program"),
        pause: cli.pause,
    };
    let report = runtime.block_on(havoc::run(plan));
    println!("{report}");
    match report.is_good() {
        true => ExitCode::SUCCESS,
        false => ExitCode::FAILURE,
    }
}
