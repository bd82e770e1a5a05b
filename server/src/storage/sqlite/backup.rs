//! A copy of the city's database, made while the relay runs.

use std::path::Path;

use manzana_engine::epoch::{EpochBody, SignedEpoch};

use super::super::{Head, Result, StorageError};
use super::journal::{self, Journal};
use super::schema::SCHEMA;
use super::{read, recovery, threads};

/// Writes the city as it stands at this moment into a new file, durably: everything that was committed
/// before, nothing of what is under way.
///
/// # Errors
/// When the database cannot be read, or `target` exists or cannot be written.
pub fn copy(database: &Path, target: &Path) -> Result<()> {
    let conn = manzana_store::sqlite::open_reader(database, &SCHEMA)?;
    // What is written is the other file.
    conn.pragma_update(None, "query_only", false)?;
    let name = target.to_str().ok_or(StorageError::Missing)?;
    conn.execute("VACUUM INTO ?1", [name])?;
    let sync = || -> std::io::Result<()> {
        std::fs::File::open(target)?.sync_all()?;
        match target.parent().filter(|dir| !dir.as_os_str().is_empty()) {
            Some(dir) => std::fs::File::open(dir)?.sync_all(),
            None => std::fs::File::open(".")?.sync_all(),
        }
    };
    sync().map_err(|error| StorageError::Backend(Box::new(error)))
}

/// Begins the next epoch in a database that is about to be put in its place. `record` is given where the log
/// stands there. It is a write like any other: with a journal it is in it.
///
/// # Errors
/// When the database or the journal cannot be written.
pub fn begin_epoch(
    database: &Path,
    journal: Option<&Path>,
    record: impl FnOnce(Head) -> (SignedEpoch, EpochBody),
) -> Result<EpochBody> {
    let mut conn = threads::open_writer(database)?;
    let mut journal = journal.map(|dir| Journal::open(dir, &conn)).transpose()?;
    let body = journal::write(&mut conn, journal.as_mut(), |tx| {
        let (record, body) = record(read::head(tx)?);
        recovery::begin_epoch(tx, &record, &body)?;
        Ok(body)
    })?;
    // So that the file is whole without its log.
    conn.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(()))?;
    Ok(body)
}
