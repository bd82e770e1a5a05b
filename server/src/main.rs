//! The `manzana` command.
#![forbid(unsafe_code)]

use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;

use anyhow::Context;
use clap::{Args, Parser, Subcommand};
use manzana_server::clock::SystemClock;
use manzana_server::config::{Config, Flags};
use manzana_server::metrics::Metrics;
use manzana_server::serve::{self, Listeners, Parts};
use manzana_server::tls::CityRoot;
use manzana_server::{desk, logging};

/// The relay of a city's petitions.
#[derive(Parser)]
#[command(name = "manzana", version, about)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Run the relay: devices by TLS, the console for browsers.
    Serve(ServeArgs),
}

#[derive(Args)]
struct ServeArgs {
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
        Command::Serve(args) => serve(args),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("manzana: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn serve(args: ServeArgs) -> anyhow::Result<()> {
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
    tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .context("cannot start the runtime")?
        .block_on(run(loaded.config))
}

async fn run(config: Config) -> anyhow::Result<()> {
    let config = Arc::new(config);
    let listeners = Listeners::bind(&config).await?;
    let root = Arc::new(CityRoot::open(&serve::keys_dir(&config))?);
    let metrics = Arc::new(Metrics::default());
    let (desk, sync_router) = open_relay(&config)?;
    tracing::info!(
        devices = %listeners.sync_address()?,
        console = %listeners.console_address()?,
        "serving"
    );
    let clock = Arc::new(SystemClock);
    let parts = Parts {
        config,
        desk,
        sync_router,
        root,
        metrics,
        clock,
    };
    Ok(serve::run(listeners, parts, stop_signal()).await?)
}

/// The relay core, as the console and as devices see it.
fn open_relay(_config: &Config) -> anyhow::Result<(Arc<dyn desk::Desk>, axum::Router)> {
    anyhow::bail!("the relay core is not part of this build")
}

/// Ready at Ctrl-C or when the system asks the process to end.
async fn stop_signal() {
    use tokio::signal::unix::{SignalKind, signal};
    let Ok(mut terminate) = signal(SignalKind::terminate()) else {
        let _ = tokio::signal::ctrl_c().await;
        return;
    };
    tokio::select! {
        _ = tokio::signal::ctrl_c() => {}
        _ = terminate.recv() => {}
    }
}
