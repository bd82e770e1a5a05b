//! The SQLite rules of every Manzana database, on phones and on the relay.
//!
//! [`open`] is the only way to a connection. It demands a new enough SQLite, refuses files that are
//! not ours or were written by a newer program, migrates old ones one transaction at a time, and sets
//! what durability asks for: WAL with `synchronous=FULL`. There is one writer: functions that write
//! take a [`Transaction`] (see [`write()`]), functions that read take a [`Connection`].
//!
//! Every table is `STRICT`; a backend's tests hold that with [`loose_tables`].

use std::path::Path;
use std::time::Duration;

use rusqlite::config::DbConfig;
use rusqlite::ffi;
use rusqlite::limits::Limit;
use rusqlite::{Connection, OpenFlags, Transaction, TransactionBehavior};

/// Oldest SQLite that we run on: 3.51.3 corrected a race that could damage a WAL database.
pub const OLDEST_SQLITE: i32 = 3_051_003;
/// How long a connection waits for another one's lock.
pub const BUSY_TIMEOUT: Duration = Duration::from_secs(5);
/// The write-ahead log is cut back to this many bytes after a checkpoint: a phone's storage is small.
pub const WAL_BYTES: i64 = 4 << 20;
/// Longest value or row, bytes. The largest we store is a document or a pack segment (≤ 1 MiB).
pub const VALUE_BYTES: i32 = 16 << 20;
/// Prepared statements kept by each connection.
pub const CACHED_STATEMENTS: usize = 128;

/// Bounds on what SQLite will do for us, far above what our own statements need.
const LIMITS: [(Limit, i32); 8] = [
    (Limit::SQLITE_LIMIT_LENGTH, VALUE_BYTES),
    (Limit::SQLITE_LIMIT_SQL_LENGTH, 256 << 10),
    (Limit::SQLITE_LIMIT_COLUMN, 128),
    (Limit::SQLITE_LIMIT_EXPR_DEPTH, 128),
    (Limit::SQLITE_LIMIT_COMPOUND_SELECT, 32),
    (Limit::SQLITE_LIMIT_VARIABLE_NUMBER, 4096),
    (Limit::SQLITE_LIMIT_LIKE_PATTERN_LENGTH, 256),
    (Limit::SQLITE_LIMIT_ATTACHED, 1), // `VACUUM INTO` needs one
];

/// What a database of ours is: its mark and how it came to its present shape.
#[derive(Debug, Clone, Copy)]
pub struct Schema {
    /// `PRAGMA application_id`; never 0, which every foreign SQLite file has.
    pub application_id: i32,
    /// SQL of each version, from 1. Those of a release are never edited: add another one.
    /// They run without foreign key enforcement (tables may be rebuilt) and are checked afterwards.
    pub migrations: &'static [&'static str],
}

impl Schema {
    /// The newest version that this program knows.
    pub fn version(&self) -> u32 {
        u32::try_from(self.migrations.len()).unwrap_or(u32::MAX)
    }
}

/// Why an operation on a database failed. Nothing of the transaction was written.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StoreError {
    /// No room on the disk, or the database reached its largest size.
    #[error("the storage is full")]
    Full,
    /// The file is no database, or a damaged one, or holds what this program did not write.
    #[error("the database is damaged")]
    Damaged,
    /// Another connection holds it.
    #[error("the database is in use")]
    Busy,
    /// Anything else; the source is for the log.
    #[error("the storage failed")]
    Backend(#[source] Box<dyn std::error::Error + Send + Sync>),
}

/// Why a database could not be opened.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OpenError {
    /// The file is a database of another program.
    #[error("this is not a manzana database of this kind")]
    NotOurs,
    /// It was written by a newer version of this program: update the program.
    #[error("the database has version {found}, this program knows up to {known}")]
    Newer {
        /// Version of the file.
        found: u32,
        /// Newest version known here.
        known: u32,
    },
    /// The SQLite that was linked is too old to be trusted with a write-ahead log.
    #[error("sqlite {found} is older than {OLDEST_SQLITE}")]
    OldSqlite {
        /// Its number, as `SQLITE_VERSION_NUMBER`.
        found: i32,
    },
    /// The storage failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl From<rusqlite::Error> for StoreError {
    fn from(error: rusqlite::Error) -> Self {
        match &error {
            rusqlite::Error::SqliteFailure(failure, _) => match failure.extended_code {
                // The shared memory file could not grow: a full disk says it this way.
                ffi::SQLITE_IOERR_SHMSIZE => Self::Full,
                code => match code & 0xff {
                    ffi::SQLITE_FULL => Self::Full,
                    ffi::SQLITE_CORRUPT | ffi::SQLITE_NOTADB => Self::Damaged,
                    ffi::SQLITE_BUSY | ffi::SQLITE_LOCKED => Self::Busy,
                    _ => Self::Backend(Box::new(error)),
                },
            },
            // Columns are typed (`STRICT`), so a value of the wrong type or length is damage.
            rusqlite::Error::FromSqlConversionFailure(..)
            | rusqlite::Error::IntegralValueOutOfRange(..)
            | rusqlite::Error::InvalidColumnType(..) => Self::Damaged,
            _ => Self::Backend(Box::new(error)),
        }
    }
}

impl From<rusqlite::Error> for OpenError {
    fn from(error: rusqlite::Error) -> Self {
        Self::Store(error.into())
    }
}

impl From<std::io::Error> for StoreError {
    fn from(error: std::io::Error) -> Self {
        match error.kind() {
            std::io::ErrorKind::StorageFull | std::io::ErrorKind::QuotaExceeded => Self::Full,
            _ => Self::Backend(Box::new(error)),
        }
    }
}

impl From<manzana_engine::codec::CodecError> for StoreError {
    fn from(_: manzana_engine::codec::CodecError) -> Self {
        Self::Damaged
    }
}

/// How the file is shared while it is open.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sharing {
    /// Other connections may read beside this one.
    Shared,
    /// No other connection, of this process or another, may even read. For a device's replica: two
    /// writers of one chain would fork it.
    Exclusive,
}

/// Opens the database that others may read, creating or migrating it first.
pub fn open(path: &Path, schema: &Schema) -> Result<Connection, OpenError> {
    open_with(path, schema, Sharing::Shared, BUSY_TIMEOUT)
}

/// Opens the database for writing, waiting at most `wait` for another connection's locks.
pub fn open_with(
    path: &Path,
    schema: &Schema,
    sharing: Sharing,
    wait: Duration,
) -> Result<Connection, OpenError> {
    trusted_sqlite(rusqlite::version_number())?;
    create_private(path).map_err(StoreError::from)?;
    let mut conn = Connection::open_with_flags(path, OpenFlags::SQLITE_OPEN_READ_WRITE | FLAGS)?;
    conn.busy_timeout(wait)?;
    if sharing == Sharing::Exclusive {
        conn.pragma_update(None, "locking_mode", "EXCLUSIVE")?;
    }
    // Whose file it is comes first: the settings below would change a foreign one.
    recognise(&conn, schema)?;
    harden(&conn)?;
    durable(&conn)?;
    migrate(&mut conn, schema)?;
    Ok(conn)
}

/// Opens a second connection that can only read, to a database that [`open`] has brought up to date.
pub fn open_reader(path: &Path, schema: &Schema) -> Result<Connection, OpenError> {
    trusted_sqlite(rusqlite::version_number())?;
    // Not SQLITE_OPEN_READ_ONLY: reading a write-ahead log writes to its shared memory.
    let conn = Connection::open_with_flags(path, OpenFlags::SQLITE_OPEN_READ_WRITE | FLAGS)?;
    conn.busy_timeout(BUSY_TIMEOUT)?;
    recognise(&conn, schema)?;
    harden(&conn)?;
    conn.pragma_update(None, "query_only", true)?;
    Ok(conn)
}

/// Runs `work` in one write transaction: everything or, on any error, nothing. Durable on return.
pub fn write<T, E: From<StoreError>>(
    conn: &mut Connection,
    work: impl FnOnce(&Transaction<'_>) -> Result<T, E>,
) -> Result<T, E> {
    let tx = conn
        .transaction_with_behavior(TransactionBehavior::Immediate)
        .map_err(StoreError::from)?;
    let done = work(&tx)?; // dropping the transaction rolls it back
    tx.commit().map_err(StoreError::from)?;
    Ok(done)
}

/// Ordinary tables that are not `STRICT`: for a backend's tests, which expect none.
pub fn loose_tables(conn: &Connection) -> Result<Vec<String>, StoreError> {
    let sql = "SELECT name FROM pragma_table_list
               WHERE schema = 'main' AND type = 'table' AND NOT strict AND name NOT LIKE 'sqlite_%'
               ORDER BY name";
    let mut statement = conn.prepare(sql)?;
    let names = statement.query_map([], |row| row.get(0))?;
    Ok(names.collect::<Result<_, _>>()?)
}

const FLAGS: OpenFlags = OpenFlags::SQLITE_OPEN_NO_MUTEX.union(OpenFlags::SQLITE_OPEN_EXRESCODE);

fn trusted_sqlite(found: i32) -> Result<(), OpenError> {
    if found < OLDEST_SQLITE {
        return Err(OpenError::OldSqlite { found });
    }
    Ok(())
}

/// Makes a missing file, readable by its owner alone; SQLite gives `-wal` and `-shm` the same mode.
fn create_private(path: &Path) -> std::io::Result<()> {
    let mut options = std::fs::OpenOptions::new();
    options.create(true).append(true);
    #[cfg(unix)]
    {
        use std::os::unix::fs::OpenOptionsExt as _;
        options.mode(0o600);
    }
    options.open(path).map(drop)
}

fn recognise(conn: &Connection, schema: &Schema) -> Result<(), OpenError> {
    let id: i32 = conn.pragma_query_value(None, "application_id", |row| row.get(0))?;
    let found = version(conn)?;
    if id == schema.application_id {
        return match found > schema.version() {
            true => Err(OpenError::Newer {
                found,
                known: schema.version(),
            }),
            false => Ok(()),
        };
    }
    // A file that we began and that lost power before its first migration has neither mark nor table.
    let tables: i64 = conn.query_row("SELECT count(*) FROM sqlite_schema", [], |row| row.get(0))?;
    match id == 0 && found == 0 && tables == 0 {
        true => Ok(()),
        false => Err(OpenError::NotOurs),
    }
}

fn harden(conn: &Connection) -> Result<(), StoreError> {
    for (limit, value) in LIMITS {
        conn.set_limit(limit, value)?;
    }
    conn.set_db_config(DbConfig::SQLITE_DBCONFIG_DEFENSIVE, true)?;
    conn.set_db_config(DbConfig::SQLITE_DBCONFIG_TRUSTED_SCHEMA, false)?;
    conn.pragma_update(None, "cell_size_check", true)?;
    conn.pragma_update(None, "temp_store", "MEMORY")?;
    conn.pragma_update(None, "foreign_keys", true)?;
    conn.set_prepared_statement_cache_capacity(CACHED_STATEMENTS);
    Ok(())
}

fn durable(conn: &Connection) -> Result<(), StoreError> {
    let mode: String =
        conn.pragma_update_and_check(None, "journal_mode", "WAL", |row| row.get(0))?;
    if mode != "wal" {
        return Err(StoreError::Backend(
            "this file system has no write-ahead log".into(),
        ));
    }
    conn.pragma_update(None, "synchronous", "FULL")?;
    // Apple's fsync does not reach the medium; elsewhere these change nothing.
    conn.pragma_update(None, "fullfsync", true)?;
    conn.pragma_update(None, "checkpoint_fullfsync", true)?;
    conn.pragma_update_and_check(None, "journal_size_limit", WAL_BYTES, |_| Ok(()))?;
    Ok(())
}

fn migrate(conn: &mut Connection, schema: &Schema) -> Result<(), OpenError> {
    if version(conn)? == schema.version() {
        return Ok(());
    }
    conn.pragma_update(None, "foreign_keys", false)?;
    while write(conn, |tx| step(tx, schema))? {}
    conn.pragma_update(None, "foreign_keys", true)?;
    Ok(())
}

/// Takes the database one version up; `false` when it is at the newest.
fn step(tx: &Transaction<'_>, schema: &Schema) -> Result<bool, OpenError> {
    // Read inside the transaction: another connection may have migrated it in the meantime.
    let found = version(tx)?;
    let Some(sql) = schema.migrations.get(found as usize) else {
        return match found > schema.version() {
            true => Err(OpenError::Newer {
                found,
                known: schema.version(),
            }),
            false => Ok(false),
        };
    };
    tx.execute_batch(sql)?;
    let broken: i64 = tx.query_row("SELECT count(*) FROM pragma_foreign_key_check", [], |row| {
        row.get(0)
    })?;
    if broken > 0 {
        return Err(StoreError::Damaged.into());
    }
    tx.pragma_update(None, "application_id", schema.application_id)?;
    tx.pragma_update(None, "user_version", found + 1)?;
    Ok(true)
}

fn version(conn: &Connection) -> Result<u32, StoreError> {
    Ok(conn.pragma_query_value(None, "user_version", |row| row.get(0))?)
}

#[cfg(test)]
#[path = "sqlite_tests.rs"]
mod tests;
