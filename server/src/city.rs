//! One city's relay put together: storage, keys, gate, core, shell.

use std::fs::{File, TryLockError};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, bail};

use crate::clock::SystemClock;
use crate::config::Config;
use crate::gate::{GateConfig, GatePool};
use crate::metrics::Metrics;
use crate::relay::{self, CityFace, CityKeys, Relay, RelayParts, SEGMENT_DOCS, SystemRandomness};
use crate::serve::{self, Listeners, Parts};
use crate::storage::CityFormat;
use crate::storage::sqlite::{SqliteStore, journal};
use crate::tls::CityRoot;

/// The database inside the data folder.
const DATABASE: &str = "city.sqlite";
/// Held by the one relay that serves this data folder.
const LOCK: &str = "serving.lock";
/// Jobs that may wait for the gate's workers.
const GATE_QUEUE: usize = 1_024;
/// Wall time of one job.
const GATE_WALL: Duration = Duration::from_secs(5);

/// Opens (or makes) the city's database in its data folder.
///
/// # Errors
/// In words: newer than this program, damaged, in use, disk full.
pub fn open_store(config: &Config) -> anyhow::Result<SqliteStore> {
    std::fs::create_dir_all(&config.data_dir)
        .with_context(|| format!("cannot make the folder {}", config.data_dir.display()))?;
    let path = database(config);
    let format = CityFormat {
        first_folio: config.city.first_folio,
        folio_prefix: config.city.folio_prefix.clone(),
        folio_width: config.city.folio_width,
    };
    SqliteStore::open_with(&path, &format, config.journal_dir.as_deref())
        .with_context(|| format!("cannot use {}", path.display()))
}

/// The file of the city's database.
#[must_use]
pub fn database(config: &Config) -> PathBuf {
    config.data_dir.join(DATABASE)
}

/// The city's root key, made at the first start.
///
/// # Errors
/// When the key files cannot be used.
pub fn open_root(config: &Config) -> anyhow::Result<CityRoot> {
    Ok(CityRoot::open(&serve::keys_dir(config))?)
}

/// Serves until the process is asked to end.
///
/// # Errors
/// In words: port taken, database unusable, wrong key, no worker.
pub fn serve(config: Config) -> anyhow::Result<()> {
    tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .context("cannot start the runtime")?
        .block_on(run(config))
}

async fn run(config: Config) -> anyhow::Result<()> {
    let config = Arc::new(config);
    let listeners = Listeners::bind(&config).await?;
    let _alone = lock(&config)?;
    // The database first: its lock keeps two first starts from racing for the root key.
    let store = Arc::new(open_store(&config)?);
    told_journal(&config)?;
    let root = Arc::new(open_root(&config)?);
    let keys = CityKeys::open(&serve::keys_dir(&config), &root)?;
    let metrics = Arc::new(Metrics::default());
    metrics.register(|registry| store.register(registry));
    let clock = Arc::new(SystemClock);
    let program = std::env::current_exe().context("cannot find this program")?;
    let parts = RelayParts {
        gate: Arc::new(gate(&program, config.gate.workers)?),
        entropy: Arc::new(SystemRandomness),
        keys,
        face: face(&config),
        segment_docs: SEGMENT_DOCS,
    };
    let relay = Relay::start(store, clock.clone(), parts).await?;
    metrics.register(|registry| relay.metrics.register(registry));
    tracing::info!(
        devices = %listeners.sync_address()?,
        console = %listeners.console_address()?,
        city = %relay.keys().city(),
        "serving"
    );
    let stopper = Arc::clone(&relay);
    let stop = async move {
        stop_signal().await;
        stopper.stop();
    };
    let parts = Parts {
        config,
        desk: relay.clone(),
        sync_router: relay::router(relay.clone()),
        root,
        metrics,
        clock,
    };
    let served = serve::run(listeners, parts, stop).await;
    relay.sessions_ended(Duration::from_secs(5)).await;
    Ok(served?)
}

/// Whether a restore would be exact, told at the start.
fn told_journal(config: &Config) -> anyhow::Result<()> {
    let Some(dir) = &config.journal_dir else {
        return Ok(());
    };
    let journal = dir.display();
    match journal::reaches(&database(config), dir)? {
        true => tracing::info!(%journal, "the journal goes on"),
        false => tracing::warn!(
            %journal,
            "the journal begins here, since the city was written without it: make a backup now"
        ),
    }
    Ok(())
}

/// Keeps a second relay away from the city: both would take themselves for its only writer, and
/// neither would tell its readers what the other took in. Ends with the process, however it ends.
pub(crate) fn lock(config: &Config) -> anyhow::Result<File> {
    std::fs::create_dir_all(&config.data_dir)
        .with_context(|| format!("cannot make the folder {}", config.data_dir.display()))?;
    let path = config.data_dir.join(LOCK);
    let open = File::options()
        .create(true)
        .truncate(false)
        .write(true)
        .open(&path);
    let file = open.with_context(|| format!("cannot use {}", path.display()))?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => {
            bail!(
                "another relay serves the city in {}",
                config.data_dir.display()
            )
        }
        Err(TryLockError::Error(error)) => {
            Err(error).with_context(|| format!("cannot lock {}", path.display()))
        }
    }
}

fn gate(program: &Path, workers: usize) -> anyhow::Result<GatePool> {
    Ok(GatePool::start(GateConfig {
        program: program.to_owned(),
        args: vec!["gate-worker".into()],
        workers,
        wall: GATE_WALL,
        queue: GATE_QUEUE,
    })?)
}

fn face(config: &Config) -> CityFace {
    CityFace {
        center: config.city.center.clone(),
        folio_prefix: config.city.folio_prefix.clone(),
        folio_width: config.city.folio_width,
    }
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
