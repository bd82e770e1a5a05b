//! `manzana backup`, `manzana restore`, `manzana recovery`: a city that survives its machine.
//!
//! A backup is the database alone, as it stood at one moment, and it is opened and checked before it counts.
//! The city's keys are apart: whoever has them is the city, so their copy is sealed with a passphrase. A
//! backup that is put back begins another epoch of the log, and from then on phones give back what they
//! hold of what came after it.

use std::fs;
use std::io::Read as _;
use std::path::{Path, PathBuf};

use anyhow::{Context, bail, ensure};
use clap::{Args, Subcommand};
use manzana_engine::epoch::{ClosingBody, EpochBody, SignedClosing, SignedEpoch};
use manzana_engine::keys::SecretKey;

use crate::admin::{self, CityArgs, load_config, with_store};
use crate::clock::{Clock as _, SystemClock};
use crate::config::Config;
use crate::relay::CityKeys;
use crate::storage::sqlite::{backup, check, journal, rescue};
use crate::storage::{RelayStore as _, StorageError};
use crate::{city, progress, serve, vault};

/// Gaps of a log that are told one by one.
const TOLD: usize = 50;
/// Longest file of sealed keys, bytes.
const VAULT_BYTES: u64 = 4 << 20;
/// Epochs are numbered by the second they begin in, counted from 2026 (UTC), so that a backup which is put
/// back twice begins two different ones.
const EPOCHS_FROM: i64 = 1_767_225_600;

/// A backup to make.
#[derive(Debug, Args)]
pub struct BackupArgs {
    #[command(flatten)]
    city: CityArgs,
    /// The file to write; it must not exist.
    file: PathBuf,
    /// Also write the city's keys here, sealed with the passphrase on standard input. Keep it elsewhere.
    #[arg(long, value_name = "FILE")]
    keys: Option<PathBuf>,
    /// Then delete the files of the journal that end before this backup.
    #[arg(long)]
    trim_journal: bool,
}

/// A backup to put back.
#[derive(Debug, Args)]
pub struct RestoreArgs {
    #[command(flatten)]
    city: CityArgs,
    /// The backup.
    file: PathBuf,
    /// Why, for the record that the city signs and devices verify.
    #[arg(long)]
    why: String,
    /// The sealed keys, on a machine that does not have them; the passphrase comes on standard input.
    #[arg(long, value_name = "FILE")]
    keys: Option<PathBuf>,
    /// A city is there already: set its database aside.
    #[arg(long)]
    overwrite: bool,
    /// Do again what this journal says was done after the backup; that of the configuration when not said.
    #[arg(long, value_name = "FOLDER")]
    journal: Option<PathBuf>,
    /// Leave the journal out.
    #[arg(long, conflicts_with = "journal")]
    without_journal: bool,
}

/// A damaged database to save.
#[derive(Debug, Args)]
pub struct RescueArgs {
    #[command(flatten)]
    city: CityArgs,
    /// The file to write; it must not exist.
    file: PathBuf,
}

/// The recovery after a backup was put back.
#[derive(Debug, Subcommand)]
pub enum RecoveryCommand {
    /// What came back so far, and what is still due.
    Status(CityArgs),
    /// End it: petitions get their folios, and those that nobody brought back are void.
    Close(CityArgs),
}

/// `manzana backup`.
///
/// # Errors
/// In words, for the person at the terminal.
pub fn backup(args: BackupArgs) -> anyhow::Result<()> {
    let config = load_config(&args.city)?;
    for file in std::iter::once(&args.file).chain(&args.keys) {
        ensure!(!file.exists(), "{} exists already", file.display());
    }
    let database = city::database(&config);
    ensure!(
        database.exists(),
        "there is no city in {}",
        config.data_dir.display()
    );
    let root = *city::open_root(&config)?.public_key();
    if let Some(file) = &args.keys {
        let sealed = vault::seal(&read_keys(&config)?, &read_passphrase()?)?;
        fs::write(file, sealed).with_context(|| format!("cannot write {}", file.display()))?;
    }
    write_checked(&args.file, &root, |part| {
        backup::copy(&database, part)
            .with_context(|| format!("cannot copy {} to {}", database.display(), part.display()))
    })?;
    println!("{}: {}", args.file.display(), size(&args.file)?);
    if args.trim_journal {
        let dir = config.journal_dir.as_deref();
        let dir = dir.context("there is no journal_dir in the configuration")?;
        let deleted = journal::trim(&args.file, dir)?;
        println!("{}: {deleted} files deleted", dir.display());
    }
    Ok(())
}

/// Writes a city's database under another name until it has been checked: a file with the right name is a
/// good backup.
fn write_checked<T>(
    file: &Path,
    root: &[u8; 32],
    write: impl FnOnce(&Path) -> anyhow::Result<T>,
) -> anyhow::Result<T> {
    let part = file.with_added_extension("part");
    let _ = fs::remove_file(&part);
    let written = write(&part)?;
    verify(&part, root)?;
    fs::rename(&part, file)?;
    Ok(written)
}

/// `manzana restore`.
///
/// # Errors
/// In words, for the person at the terminal.
pub fn restore(args: RestoreArgs) -> anyhow::Result<()> {
    let config = load_config(&args.city)?;
    let _alone = city::lock(&config)?;
    let database = city::database(&config);
    if database.exists() && !args.overwrite {
        bail!(
            "there is a city in {}: with --overwrite its database is set aside",
            config.data_dir.display()
        );
    }
    if let Some(file) = &args.keys {
        put_keys(&config, file)?;
    }
    ensure!(
        serve::keys_dir(&config).join("root.key").exists(),
        "the city's keys are not in {}: give them with --keys",
        serve::keys_dir(&config).display()
    );
    let root = city::open_root(&config)?;
    let part = database.with_added_extension("part");
    fs::copy(&args.file, &part).with_context(|| format!("cannot copy {}", args.file.display()))?;
    fs::File::open(&part)?.sync_all()?;
    let dir = args.journal.as_ref().or(config.journal_dir.as_ref());
    let replayed = match dir.filter(|_| !args.without_journal) {
        Some(dir) => Some(replay(&part, dir)?),
        None => None,
    };
    verify(&part, root.public_key())?;
    let keys = CityKeys::open(&serve::keys_dir(&config), &root)?;
    // Before it is in its place: a relay that finds it there finds it in its new epoch.
    let body = begin_epoch(&part, &config, &keys, args.why)?;
    if database.exists() {
        let aside = manzana_store::set_aside(&database, "aside")?;
        println!("the database that was there is {}", aside.display());
    }
    fs::rename(&part, &database)?;
    fs::File::open(&config.data_dir)?.sync_all()?;
    println!(
        "put back as it stood at place {} of the log; epoch {} begins.\n\
         No folio is issued until the recovery is closed.",
        body.cut, body.epoch
    );
    match replayed {
        Some(journal::Replayed { beyond: 0, .. }) => println!(
            "With its journal to the end this is the city as it was: start the relay, and\n\
             `manzana recovery close`."
        ),
        _ => println!(
            "Start the relay, let the phones come, look at `manzana recovery status`, then\n\
             `manzana recovery close`.\n\
             Not in any phone, and lost unless told again: users, invitations, imports of catalogs and\n\
             revocations of after that. Revoke again whom you revoked."
        ),
    }
    Ok(())
}

/// Brings a backup to where the journal ends.
fn replay(backup: &Path, dir: &Path) -> anyhow::Result<journal::Replayed> {
    let bar = progress::bar(0, "writes of the journal");
    let replayed = journal::replay(backup, dir, &|done, all| {
        bar.set_length(all);
        bar.set_position(done);
    });
    bar.finish_and_clear();
    let replayed = replayed.with_context(|| format!("cannot use the journal {}", dir.display()))?;
    println!("{}: {} writes done again", dir.display(), replayed.writes);
    if replayed.beyond > 0 {
        println!(
            "{} writes stand in the journal beyond, and do not follow: the city was written without its\n\
             journal, or a part of it is missing",
            replayed.beyond
        );
    }
    Ok(replayed)
}

fn begin_epoch(
    database: &Path,
    config: &Config,
    keys: &CityKeys,
    why: String,
) -> anyhow::Result<EpochBody> {
    let now = SystemClock.now_ms();
    let by_time = u32::try_from(now / 1_000 - EPOCHS_FROM).unwrap_or_default();
    let begun = backup::begin_epoch(database, config.journal_dir.as_deref(), |head| {
        let body = EpochBody {
            city: keys.city(),
            epoch: by_time.max(head.epoch + 1),
            before: head.epoch,
            cut: head.seq,
            at: now,
            why,
        };
        (SignedEpoch::sign(&body, keys.root()), body)
    });
    begun.with_context(|| format!("cannot write {}", database.display()))
}

/// `manzana rescue`.
///
/// # Errors
/// In words, for the person at the terminal.
pub fn rescue(args: RescueArgs) -> anyhow::Result<()> {
    let config = load_config(&args.city)?;
    let _alone = city::lock(&config)?;
    ensure!(
        !args.file.exists(),
        "{} exists already",
        args.file.display()
    );
    let database = city::database(&config);
    let root = *city::open_root(&config)?.public_key();
    let rescued = write_checked(&args.file, &root, |part| {
        rescue::rescue(&database, part)
            .with_context(|| format!("cannot save {}", database.display()))
    })?;
    println!(
        "{}: the city as it stood at place {} of {}",
        args.file.display(),
        rescued.head,
        rescued.last
    );
    for (first, last) in rescued.missing.iter().take(TOLD) {
        println!("places {first} to {last} of the log cannot be read");
    }
    for (number, export) in (1..).zip(manzana_client::exports(rescued.later)) {
        let file = args
            .file
            .with_added_extension(format!("envelopes-{number}"));
        fs::write(&file, export).with_context(|| format!("cannot write {}", file.display()))?;
        println!("{}: signed work of after that place", file.display());
    }
    println!(
        "Put it back with `manzana restore --overwrite`: phones bring the rest. What stands in files of\n\
         envelopes any device brings back: manzana phone import FILE."
    );
    if let Some(journal) = &config.journal_dir {
        println!(
            "The last backup, put back with the journal in {}, is the city to the last answer, which this\n\
             may not be: try that first.",
            journal.display()
        );
    }
    Ok(())
}

/// `manzana recovery`.
///
/// # Errors
/// In words, for the person at the terminal.
pub fn recovery(command: RecoveryCommand) -> anyhow::Result<()> {
    match command {
        RecoveryCommand::Status(city) => with_store(&city, async |_, store| {
            let Some(epoch) = store.epoch().await? else {
                println!("no backup of this city was ever put back");
                return Ok(());
            };
            let counts = store.recovery_counts().await?;
            let state = match epoch.closed {
                Some(_) => "closed",
                None => "open",
            };
            println!(
                "epoch {} ({}), {state}, from place {}",
                epoch.body.epoch, epoch.body.why, epoch.body.cut
            );
            println!(
                "devices that came: {} of {}",
                counts.devices.0, counts.devices.1
            );
            println!("changes since: {}", counts.changes);
            println!("folios that came back: {}", counts.reclaimed);
            println!("petitions without a folio: {}", counts.without_folio);
            println!("groups that wait for changes of others: {}", counts.waiting);
            println!("next folio: {}", counts.next_folio);
            if let Some(closed) = &epoch.closed {
                told_void(closed);
            }
            Ok(())
        }),
        RecoveryCommand::Close(city) => with_store(&city, async |config, store| {
            let root = SecretKey::from_seed(*city::open_root(config)?.signing_seed());
            if let Some(epoch) = store.epoch().await? {
                ensure!(
                    epoch.record.open(&root.public()).is_some(),
                    "the keys in {} are not this city's",
                    serve::keys_dir(config).display()
                );
            }
            let sign = Box::new(move |body: &_| SignedClosing::sign(body, &root));
            match store.close_recovery(SystemClock.now_ms(), sign).await {
                Ok(closed) => {
                    println!("closed: petitions without a folio get one while the relay runs");
                    told_void(&closed);
                    Ok(())
                }
                Err(StorageError::Missing) => bail!("no recovery is open"),
                Err(error) => Err(error.into()),
            }
        }),
    }
}

fn told_void(closed: &ClosingBody) {
    for (first, last) in &closed.void {
        match first == last {
            true => println!("void: folio {first}, which nobody brought back"),
            false => println!("void: folios {first} to {last}, which nobody brought back"),
        }
    }
}

/// Everything that the copy claims is made again from what was signed.
fn verify(file: &Path, root: &[u8; 32]) -> anyhow::Result<()> {
    let extent = check::extent(file).with_context(|| format!("cannot read {}", file.display()))?;
    let checked = admin::checked(file, extent, root)?;
    ensure!(
        checked.faults == 0,
        "{}: {} faults",
        file.display(),
        checked.faults
    );
    println!(
        "checked: {} documents, {} changes, every signature",
        checked.documents, checked.changes
    );
    Ok(())
}

/// The key files by name.
fn read_keys(config: &Config) -> anyhow::Result<vault::Files> {
    let mut files = vault::Files::new();
    for entry in fs::read_dir(serve::keys_dir(config))? {
        let path = entry?.path();
        let name = path.file_name().and_then(|name| name.to_str());
        if let (Some(name), true) = (name, path.is_file()) {
            files.insert(name.to_owned(), fs::read(&path)?);
        }
    }
    Ok(files)
}

/// Puts sealed keys in their place. Keys that are there already must be the same.
fn put_keys(config: &Config, file: &Path) -> anyhow::Result<()> {
    let mut sealed = Vec::new();
    fs::File::open(file)
        .with_context(|| format!("cannot read {}", file.display()))?
        .take(VAULT_BYTES)
        .read_to_end(&mut sealed)?;
    let files = vault::open(&sealed, &read_passphrase()?)?;
    let dir = serve::keys_dir(config);
    crate::tls::make_private_dir(&dir)?;
    for (name, bytes) in files {
        ensure!(
            !name.contains(['/', '\\']) && name != "..",
            "{name} is no name of a key file"
        );
        let path = dir.join(&name);
        if path.exists() {
            ensure!(
                fs::read(&path)? == bytes,
                "{} is another key",
                path.display()
            );
            continue;
        }
        let text = String::from_utf8(bytes).with_context(|| format!("{name} is no key file"))?;
        crate::tls::write_private(&path, &text)?;
    }
    Ok(())
}

fn read_passphrase() -> anyhow::Result<String> {
    let passphrase = admin::read_secret()?;
    ensure!(
        passphrase.chars().count() >= 12,
        "a passphrase of at least 12 characters is expected on standard input"
    );
    Ok(passphrase)
}

fn size(file: &Path) -> anyhow::Result<String> {
    let bytes = fs::metadata(file)?.len();
    Ok(format!("{:.1} MiB", bytes as f64 / f64::from(1 << 20)))
}
