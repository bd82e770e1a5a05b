//! The `manzana` command.

use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// The relay of a city's petitions.
#[derive(Parser)]
#[command(name = "manzana", version)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Judges changes in a process of its own; started by the relay, not by people.
    #[command(hide = true)]
    GateWorker,
}

fn main() -> ExitCode {
    match Cli::parse().command {
        // Before any runtime: the worker's limits count every thread.
        Command::GateWorker => manzana_server::gate::worker_main(),
    }
}
