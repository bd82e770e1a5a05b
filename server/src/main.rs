//! The `manzana` command.
#![forbid(unsafe_code)]

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, CommandFactory as _, Parser, Subcommand};
use manzana_server::config::{Config, Flags};
use manzana_server::{admin, backup, city, gate, logging};

/// A city from nothing, for who asks for help.
const FIRST_STEPS: &str = "\
A city in five steps (every command has its own --help):
  1. manzana user add --data-dir ./city ana --role supervisor --display Ana --password-stdin
  2. manzana user add --data-dir ./city juan --role block_captain --display Juan
  3. manzana serve --data-dir ./city
     The console is on http://127.0.0.1:7480, devices connect to port 7443.
  4. manzana invite --data-dir ./city --user juan --scope block:5 --block 5 --relay https://HOST:7443
     Prints one line, good once and for 15 minutes: the device's whole configuration.
     HOST is what devices dial. Other than localhost it must be in the relay's certificate:
     start `serve` with MANZANA_TLS__NAMES='[\"HOST\",\"localhost\"]'.
  5. manzana phone --home ./juan enrol 'manzana:1:…'
     manzana phone --home ./juan --offline capture --title 'LAMPARA FUNDIDA' --description '…'
     manzana phone --home ./juan sync --watch

Any time, also while it runs:
  manzana check --data-dir ./city            verifies every signature, chain, document and folio
  manzana quarantine list --data-dir ./city  what is held until somebody decides
  manzana backup --data-dir ./city FILE      copies the city, checks the copy";

/// Offline-first field work for cities: the relay, its administration, and a device in the terminal.
#[derive(Parser)]
#[command(name = "manzana", version, about, after_help = FIRST_STEPS)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Run the relay: devices by TLS, the console for browsers.
    Serve(RelayArgs),
    /// Add people to the city.
    #[command(subcommand)]
    User(admin::UserCommand),
    /// Make a one-use invitation for a device, valid for 15 minutes.
    Invite(admin::InviteArgs),
    /// Revoke a device.
    Revoke(admin::DeviceArgs),
    /// Give a device a grant again, in the role that its user has now: one that was revoked or expired too.
    Renew(admin::DeviceArgs),
    /// What the relay holds for review: list, show, release or drop it.
    #[command(subcommand)]
    Quarantine(admin::QuarantineCommand),
    /// Import the catalogs of agencies and neighborhoods.
    Catalog(admin::CatalogArgs),
    /// Verify everything in the city's database again: signatures, chains, documents, folios.
    Check(admin::CheckArgs),
    /// Copy the city's database, also while the relay runs, and check the copy.
    Backup(backup::BackupArgs),
    /// Save what is whole in a damaged database, as a file that `restore` can put back.
    Rescue(backup::RescueArgs),
    /// Put a backup back: another epoch of the log begins, and phones give back what came after it.
    Restore(backup::RestoreArgs),
    /// The recovery after a backup was put back.
    #[command(subcommand)]
    Recovery(backup::RecoveryCommand),
    /// A device in the terminal.
    Phone(manzana_server::phone::PhoneArgs),
    /// Print the completions of a shell: bash, elvish, fish, powershell, zsh.
    Completions {
        /// Of which shell; put it where that shell looks, such as /etc/bash_completion.d/manzana.
        shell: clap_complete::Shell,
    },
    /// Judges changes in a process of its own; started by the relay, not by people.
    #[command(hide = true)]
    GateWorker,
}

#[derive(Args)]
struct RelayArgs {
    /// Configuration file (TOML).
    #[arg(long, env = "MANZANA_CONFIG", value_name = "FILE")]
    config: Option<PathBuf>,
    /// Folder of the database, keys and blobs.
    #[arg(long, value_name = "DIR")]
    data_dir: Option<PathBuf>,
    /// Where devices connect.
    #[arg(long, value_name = "HOST:PORT")]
    sync_listen: Option<std::net::SocketAddr>,
    /// Where browsers connect.
    #[arg(long, value_name = "HOST:PORT")]
    console_listen: Option<std::net::SocketAddr>,
}

fn main() -> ExitCode {
    let result = match Cli::parse().command {
        // Before any runtime: the worker's limits count every thread.
        Command::GateWorker => return gate::worker_main(),
        Command::Phone(args) => return manzana_server::phone::run(args),
        Command::Serve(args) => serve(args),
        Command::User(command) => admin::user(command),
        Command::Invite(args) => admin::invite(args),
        Command::Revoke(args) => admin::revoke(args),
        Command::Renew(args) => admin::renew(args),
        Command::Quarantine(command) => admin::quarantine(command),
        Command::Catalog(args) => admin::catalog(args),
        Command::Check(args) => admin::check(args),
        Command::Backup(args) => backup::backup(args),
        Command::Restore(args) => backup::restore(args),
        Command::Rescue(args) => backup::rescue(args),
        Command::Recovery(command) => backup::recovery(command),
        Command::Completions { shell } => {
            let mut cli = Cli::command();
            clap_complete::generate(shell, &mut cli, "manzana", &mut std::io::stdout());
            Ok(())
        }
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("manzana: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn serve(args: RelayArgs) -> anyhow::Result<()> {
    let flags = Flags {
        data_dir: args.data_dir,
        sync_listen: args.sync_listen,
        console_listen: args.console_listen,
    };
    let loaded = Config::load(args.config.as_deref(), &flags)?;
    logging::start(&loaded.config.log)?;
    for name in &loaded.ignored_variables {
        tracing::debug!(name, "this variable is no key of the configuration");
    }
    city::serve(loaded.config)
}
