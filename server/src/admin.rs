//! Administration from the command line, on the city's own database; the relay may be running.

mod quarantine;

use std::io::Read as _;
use std::path::{Path, PathBuf};

use anyhow::{Context, bail, ensure};
use clap::{Args, Subcommand};
use manzana_client::{Invitation, RelayUrl};
use manzana_engine::grant::{Role, Scope};
use manzana_engine::ids::{CatalogId, DeviceId};
use manzana_engine::keys::SecretKey;

use crate::clock::{Clock as _, SystemClock};
use crate::config::{Config, Flags};
use crate::desk::Catalogs;
use crate::storage::sqlite::{SqliteStore, check, journal};
use crate::storage::{RelayStore as _, StorageError, UserRow};
use crate::{auth, city, progress, relay};

pub use quarantine::{QuarantineCommand, run as quarantine};

/// Longest catalog file, bytes.
const CATALOG_BYTES: u64 = 8 << 20;
/// Longest password or passphrase on standard input, bytes.
const SECRET_BYTES: u64 = 1 << 10;

/// Which city.
#[derive(Debug, Args)]
pub struct CityArgs {
    /// Configuration file (TOML).
    #[arg(long, env = "MANZANA_CONFIG", value_name = "FILE")]
    config: Option<PathBuf>,
    /// Folder of the database and keys.
    #[arg(long, value_name = "DIR")]
    data_dir: Option<PathBuf>,
}

/// People.
#[derive(Debug, Subcommand)]
pub enum UserCommand {
    /// Add a person; prints their number.
    Add(UserArgs),
}

/// A person to add.
#[derive(Debug, Args)]
pub struct UserArgs {
    #[command(flatten)]
    city: CityArgs,
    /// Sign-in name, unique.
    name: String,
    /// What they may do: block_captain, crew, operator, supervisor, agency_desk.
    #[arg(long)]
    role: String,
    /// Name shown to colleagues.
    #[arg(long)]
    display: String,
    /// Read a password for the console from standard input (at least 10 characters).
    #[arg(long)]
    password_stdin: bool,
}

/// An invitation to make.
#[derive(Debug, Args)]
pub struct InviteArgs {
    #[command(flatten)]
    city: CityArgs,
    /// Sign-in name of the person.
    #[arg(long)]
    user: String,
    /// What the device may hold: city, block:N, sector:N, agency:N, crew:N. Repeat for several.
    #[arg(long = "scope", required = true)]
    scopes: Vec<Scope>,
    /// The captain's block: stored with what they capture.
    #[arg(long)]
    block: Option<CatalogId>,
    /// Where the device finds the relay.
    #[arg(long, value_name = "https://HOST:PORT")]
    relay: String,
}

/// A device to revoke, or to be given a grant again.
#[derive(Debug, Args)]
pub struct DeviceArgs {
    #[command(flatten)]
    city: CityArgs,
    /// The device's id, as `manzana phone status` shows it.
    device: DeviceId,
}

/// A city to check.
#[derive(Debug, Args)]
pub struct CheckArgs {
    #[command(flatten)]
    city: CityArgs,
}

/// Catalogs to import.
#[derive(Debug, Args)]
pub struct CatalogArgs {
    #[command(flatten)]
    city: CityArgs,
    /// JSON: {"agencies":[{"id":1,"name":"…"}],"neighborhoods":[{"id":1,"name":"…"}]}.
    file: PathBuf,
}

/// `manzana user`.
///
/// # Errors
/// In words, for the person at the terminal.
pub fn user(UserCommand::Add(args): UserCommand) -> anyhow::Result<()> {
    let role = Role::parse(&args.role).context("no such role; see --help")?;
    let password_hash = match args.password_stdin {
        true => Some(auth::hash_password(&read_secret()?)?),
        false => None,
    };
    let row = UserRow {
        id: 0,
        name: args.name,
        display: args.display,
        role: role.as_str().to_owned(),
        password_hash,
        disabled: false,
    };
    with_store(&args.city, async |_, store| {
        match store.add_user(&row).await {
            Ok(id) => {
                println!("{id}");
                Ok(())
            }
            Err(StorageError::Exists) => bail!("the name {} is taken", row.name),
            Err(error) => Err(error.into()),
        }
    })
}

/// `manzana invite`.
///
/// # Errors
/// In words, for the person at the terminal.
pub fn invite(args: InviteArgs) -> anyhow::Result<()> {
    let url: RelayUrl = args.relay.parse().context("--relay")?;
    with_store(&args.city, async |config, store| {
        let user = store.user_by_name(&args.user).await?;
        let user = user.with_context(|| format!("there is no user {}", args.user))?;
        let root = *city::open_root(config)?.public_key();
        let now = SystemClock.now_ms();
        let code = relay::invite(store, user.id, args.scopes, args.block, now).await?;
        println!(
            "{}",
            Invitation {
                relay: url,
                root,
                code
            }
        );
        Ok(())
    })
}

/// `manzana revoke`.
///
/// # Errors
/// In words, for the person at the terminal.
pub fn revoke(args: DeviceArgs) -> anyhow::Result<()> {
    with_store(&args.city, async |_, store| {
        match relay::revoke(store, &args.device, SystemClock.now_ms()).await {
            Err(relay::RelayError::Storage(StorageError::Missing)) => {
                bail!("there is no device {}", args.device)
            }
            other => Ok(other?),
        }
    })
}

/// `manzana renew`.
///
/// # Errors
/// In words, for the person at the terminal.
pub fn renew(args: DeviceArgs) -> anyhow::Result<()> {
    with_store(&args.city, async |config, store| {
        let root = SecretKey::from_seed(*city::open_root(config)?.signing_seed());
        match relay::renew(store, &root, &args.device, SystemClock.now_ms()).await {
            Err(relay::RelayError::Storage(StorageError::Missing)) => {
                bail!(
                    "there is no device {} of somebody who may have one",
                    args.device
                )
            }
            other => Ok(other?),
        }
    })
}

/// `manzana catalog`.
///
/// # Errors
/// In words, for the person at the terminal.
pub fn catalog(args: CatalogArgs) -> anyhow::Result<()> {
    let mut text = String::new();
    let file = std::fs::File::open(&args.file)
        .with_context(|| format!("cannot read {}", args.file.display()))?;
    file.take(CATALOG_BYTES).read_to_string(&mut text)?;
    let catalogs: Catalogs = serde_json::from_str(&text)
        .with_context(|| format!("{} is not a catalog file", args.file.display()))?;
    let (agencies, neighborhoods) = (catalogs.agencies.len(), catalogs.neighborhoods.len());
    with_store(&args.city, async |_, store| {
        store.put_setting(relay::CATALOGS, text.as_bytes()).await?;
        println!("{agencies} agencies, {neighborhoods} neighborhoods");
        Ok(())
    })
}

/// `manzana check`.
///
/// # Errors
/// When the database cannot be read, and when anything in it is not what was signed.
pub fn check(args: CheckArgs) -> anyhow::Result<()> {
    let config = load_config(&args.city)?;
    let database = city::database(&config);
    // Before the root, which would be made where there is no city.
    let extent =
        check::extent(&database).with_context(|| format!("cannot read {}", database.display()))?;
    let root = *city::open_root(&config)?.public_key();
    let checked = checked(&database, extent, &root)?;
    let check::Checked {
        devices,
        envelopes,
        changes,
        documents,
        ..
    } = checked;
    let folios = checked.folios.map_or_else(
        || "no folios".to_owned(),
        |(first, last)| format!("folios {first} to {last}"),
    );
    let found = format!(
        "{documents} documents, {changes} changes in {envelopes} signed envelopes of {devices} \
         devices, {folios}"
    );
    if checked.faults > 0 {
        bail!("{found}: {} faults", checked.faults);
    }
    println!("{found} without a gap: all as it was signed");
    if let Some(dir) = &config.journal_dir {
        ensure!(
            journal::reaches(&database, dir)?,
            "{}: the journal does not reach where the city stands: make a backup now",
            dir.display()
        );
        println!(
            "{}: the journal reaches where the city stands",
            dir.display()
        );
    }
    Ok(())
}

/// Checks a city's database of this extent, with a bar, and tells the faults.
pub(crate) fn checked(
    database: &Path,
    extent: u64,
    root: &[u8; 32],
) -> anyhow::Result<check::Checked> {
    let bar = progress::bar(extent, "envelopes and documents");
    let checked = check::check(database, root, &|done| bar.inc(done))?;
    bar.finish_and_clear();
    for fault in &checked.told {
        println!("{fault}");
    }
    Ok(checked)
}

/// A password or passphrase from standard input.
pub(crate) fn read_secret() -> anyhow::Result<String> {
    let mut secret = String::new();
    std::io::stdin()
        .take(SECRET_BYTES)
        .read_to_string(&mut secret)?;
    Ok(secret.trim_end_matches(['\r', '\n']).to_owned())
}

pub(crate) fn with_store(
    args: &CityArgs,
    work: impl AsyncFnOnce(&Config, &SqliteStore) -> anyhow::Result<()>,
) -> anyhow::Result<()> {
    let config = load_config(args)?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    runtime.block_on(async {
        let store = city::open_store(&config)?;
        work(&config, &store).await
    })
}

pub(crate) fn load_config(args: &CityArgs) -> anyhow::Result<Config> {
    let flags = Flags {
        data_dir: args.data_dir.clone(),
        sync_listen: None,
        console_listen: None,
    };
    Ok(Config::load(args.config.as_deref(), &flags)?.config)
}
