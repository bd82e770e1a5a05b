//! The journal: what every write of the city changes, on a second disk before anybody is answered.
//!
//! A backup that is put back with it is the city as it was, to the last answer. An entry is what one
//! transaction did, row by row as temporary triggers tell it (SQLite's session extension would ask for
//! libclang wherever this is built), between two *marks*: the database holds a random one that every write
//! replaces, so an entry fits one state and no other. It is appended and synced inside its transaction, under
//! the database's write lock: entries stand in the order of commits, whichever process writes. One whose
//! commit failed is told by the mark that the next one begins at, and one that is torn by its checksum: nothing
//! that was whole is ever taken out of a file.
//!
//! A database that is written without its journal goes on from another mark, and so the journal does not
//! reach it any more until the next backup.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read as _, Write as _};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use manzana_store::sqlite::StoreError;
use minicbor::data::Type;
use rusqlite::functions::{Context, FunctionFlags};
use rusqlite::types::{Value, ValueRef};
use rusqlite::{Connection, Transaction, TransactionBehavior, params, params_from_iter};
use sha2::{Digest as _, Sha256};

use super::super::{Result, StorageError};
use super::schema::SCHEMA;
use super::{search, stored_format, threads};

/// A file is followed by another one from this size on, bytes: what a backup makes superfluous goes file by file.
const FILE_BYTES: u64 = 64 << 20;
/// Longest patch, bytes: a batch of the relay's is some MiB.
const PATCH_BYTES: usize = 64 << 20;
/// What a file's name begins with; its number follows, in six digits or more.
const NAME: &str = "journal-";

const MAGIC: &[u8; 8] = b"MzJrnl1\n";
/// Magic, schema's version, bytes of the patch, the two marks, SHA-256 of all this and the patch.
const HEADER: usize = 8 + 4 + 4 + 16 + 16 + 32;

/// Tells one state of the database from every other.
type Mark = [u8; 16];

/// Why the journal cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum JournalError {
    /// A file or folder.
    #[error("the journal in {path}: {source}")]
    File {
        /// Which.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// One write changes more than an entry may hold.
    #[error("one write of {0} bytes is more than the journal takes")]
    TooLarge(usize),
    /// A file that is longer than any that was written.
    #[error("{0} is no file of a journal")]
    NotOurs(PathBuf),
    /// Written under another schema, so its rows are others.
    #[error("the journal goes on under version {0} of the database, which this program is not")]
    OtherVersion(u32),
    /// An entry does not fit the database it was made for.
    #[error("entry {0} of the journal does not fit")]
    Unfit(u64),
}

type Told<T> = std::result::Result<T, JournalError>;

impl From<JournalError> for StorageError {
    fn from(error: JournalError) -> Self {
        match error {
            JournalError::File { source, .. } if is_full(&source) => Self::Full,
            error => Self::Backend(Box::new(error)),
        }
    }
}

fn is_full(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded
    )
}

/// A journal where it grows, and what the transaction under way changed so far.
pub(super) struct Journal {
    dir: PathBuf,
    /// The file that was written last, and its number.
    last: Option<(u64, File)>,
    rows: Arc<Mutex<Vec<u8>>>,
}

/// Runs `work` in one transaction, in the journal before it is committed: all of it is durable on both, or
/// it is not in the database, and whoever waits is told so.
pub(super) fn write<T>(
    conn: &mut Connection,
    journal: Option<&mut Journal>,
    work: impl FnOnce(&Transaction<'_>) -> Result<T>,
) -> Result<T> {
    let tx = conn.transaction_with_behavior(TransactionBehavior::Immediate)?;
    let rows = tx.total_changes();
    if let Some(journal) = &journal {
        // Of one that was not committed.
        buffer(&journal.rows).clear();
    }
    let done = work(&tx)?;
    if tx.total_changes() != rows {
        let before = mark(&tx)?;
        tx.prepare_cached("UPDATE journal SET mark = randomblob(16)")?
            .execute([])?;
        if let Some(journal) = journal {
            let after = mark(&tx)?;
            journal.append(before, after)?;
        }
    }
    tx.commit()?;
    Ok(done)
}

fn buffer(rows: &Mutex<Vec<u8>>) -> MutexGuard<'_, Vec<u8>> {
    rows.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The mark of the database as it stands.
fn mark(conn: &Connection) -> Result<Mark> {
    let mark = conn
        .prepare_cached("SELECT mark FROM journal")?
        .query_row([], |row| row.get(0))?;
    Ok(mark)
}

/// What stands before a patch.
fn header(before: Mark, after: Mark, patch: &[u8]) -> Told<Vec<u8>> {
    let length = u32::try_from(patch.len());
    let length = length.map_err(|_| JournalError::TooLarge(patch.len()))?;
    let mut header = Vec::with_capacity(HEADER + patch.len());
    header.extend_from_slice(MAGIC);
    header.extend_from_slice(&SCHEMA.version().to_le_bytes());
    header.extend_from_slice(&length.to_le_bytes());
    header.extend_from_slice(&before);
    header.extend_from_slice(&after);
    let mut sum = Sha256::new();
    sum.update(&header);
    sum.update(patch);
    header.extend_from_slice(&sum.finalize());
    Ok(header)
}

/// An entry of a journal.
struct Entry<'a> {
    schema: u32,
    before: Mark,
    after: Mark,
    patch: &'a [u8],
}

impl<'a> Entry<'a> {
    /// The entry that begins here, when it is whole.
    fn read(bytes: &'a [u8]) -> Option<Self> {
        let rest = bytes.strip_prefix(MAGIC)?;
        let (schema, rest) = rest.split_first_chunk::<4>()?;
        let (length, rest) = rest.split_first_chunk::<4>()?;
        let (before, rest) = rest.split_first_chunk::<16>()?;
        let (after, rest) = rest.split_first_chunk::<16>()?;
        let (expected, rest) = rest.split_first_chunk::<32>()?;
        let patch = rest.get(..u32::from_le_bytes(*length) as usize)?;
        let mut sum = Sha256::new();
        sum.update(&bytes[..HEADER - expected.len()]);
        sum.update(patch);
        (sum.finalize()[..] == expected[..]).then_some(Self {
            schema: u32::from_le_bytes(*schema),
            before: *before,
            after: *after,
            patch,
        })
    }

    fn len(&self) -> usize {
        HEADER + self.patch.len()
    }
}

/// Every whole entry of a file and where it begins; what is torn between two of them is passed over.
fn entries(file: &[u8]) -> impl Iterator<Item = (usize, Entry<'_>)> {
    let mut at = 0;
    std::iter::from_fn(move || {
        loop {
            let next = file[at..]
                .windows(MAGIC.len())
                .position(|window| window == MAGIC)?;
            at += next;
            if let Some(entry) = Entry::read(&file[at..]) {
                let from = at;
                at += entry.len();
                return Some((from, entry));
            }
            at += 1;
        }
    })
}

fn failed(path: &Path) -> impl Fn(io::Error) -> JournalError {
    move |source| JournalError::File {
        path: path.to_owned(),
        source,
    }
}

fn file(dir: &Path, number: u64) -> PathBuf {
    dir.join(format!("{NAME}{number:06}"))
}

/// The numbers of the files that are there, in order.
fn numbers(dir: &Path) -> Told<Vec<u64>> {
    let mut found = Vec::new();
    for entry in fs::read_dir(dir).map_err(failed(dir))? {
        let name = entry.map_err(failed(dir))?.file_name();
        let number = name.to_str().and_then(|name| name.strip_prefix(NAME));
        found.extend(number.and_then(|number| number.parse::<u64>().ok()));
    }
    found.sort_unstable();
    Ok(found)
}

/// What a trigger tells of a row.
const INSERTED: u8 = 0;
const UPDATED: u8 = 1;
const DELETED: u8 = 2;

/// A table as the journal knows it.
struct Table {
    name: String,
    columns: Vec<String>,
    keys: Vec<String>,
}

/// The city's own tables; those of the search follow from them.
fn tables(conn: &Connection) -> Result<Vec<Table>> {
    let mut names = conn.prepare(
        "SELECT name FROM pragma_table_list
         WHERE schema = 'main' AND type = 'table' AND name NOT LIKE 'sqlite_%' ORDER BY name",
    )?;
    let names = names.query_map([], |row| row.get::<_, String>(0))?;
    let mut columns = conn.prepare(
        "SELECT name FROM pragma_table_info(?1) WHERE NOT ?2 OR pk > 0
         ORDER BY CASE WHEN ?2 THEN pk ELSE cid END",
    )?;
    let mut read = |table: &str, keys: bool| -> Result<Vec<String>> {
        let names = columns.query_map(params![table, keys], |row| row.get(0))?;
        Ok(names.collect::<rusqlite::Result<_>>()?)
    };
    let mut found = Vec::new();
    for name in names {
        let name = name?;
        found.push(Table {
            columns: read(&name, false)?,
            keys: read(&name, true)?,
            name,
        });
    }
    Ok(found)
}

impl Table {
    /// The trigger that tells of each row: its old key where it had one, and all of it as it is now.
    fn trigger(&self, what: u8) -> String {
        let Self { name, .. } = self;
        let (event, old, new) = match what {
            INSERTED => ("INSERT", false, true),
            UPDATED => ("UPDATE", true, true),
            _ => ("DELETE", true, false),
        };
        let old = self.keys.iter().filter(|_| old);
        let new = self.columns.iter().filter(|_| new);
        let values: String = old
            .map(|column| format!(", OLD.{column}"))
            .chain(new.map(|column| format!(", NEW.{column}")))
            .collect();
        format!(
            "CREATE TEMP TRIGGER journal_{name}_{event} AFTER {event} ON main.{name}
             BEGIN SELECT journal_row('{name}', {what}{values}); END;"
        )
    }

    /// The statement that does the same again, with the values that the trigger told.
    fn again(&self, what: u8) -> String {
        let Self { name, .. } = self;
        let listed = |columns: &[String], from: usize, between| {
            let mut number = from..;
            let equal = columns.iter().map(|column| {
                let number = number.next().unwrap_or_default();
                format!("{column} = ?{number}")
            });
            equal.collect::<Vec<_>>().join(between)
        };
        let keys = listed(&self.keys, 1, " AND ");
        match what {
            INSERTED => format!(
                "INSERT INTO {name} VALUES ({})",
                vec!["?"; self.columns.len()].join(", ")
            ),
            UPDATED => {
                let columns = listed(&self.columns, self.keys.len() + 1, ", ");
                format!("UPDATE {name} SET {columns} WHERE {keys}")
            }
            _ => format!("DELETE FROM {name} WHERE {keys}"),
        }
    }
}

/// Writes one row of a patch; what stands first is bounded, since a transaction may be of any size.
fn tell(rows: &Mutex<Vec<u8>>, told: &Context<'_>) -> rusqlite::Result<Option<bool>> {
    let mut rows = buffer(rows);
    let failed = |error| rusqlite::Error::UserFunctionError(error);
    if rows.len() > PATCH_BYTES {
        return Err(failed(JournalError::TooLarge(rows.len()).into()));
    }
    let mut row = minicbor::Encoder::new(&mut *rows);
    let written = (|| {
        row.array(told.len() as u64)?;
        for value in 0..told.len() {
            match told.get_raw(value) {
                ValueRef::Null => row.null()?,
                ValueRef::Integer(number) => row.i64(number)?,
                ValueRef::Real(number) => row.f64(number)?,
                ValueRef::Text(text) => row.str(&String::from_utf8_lossy(text))?,
                ValueRef::Blob(bytes) => row.bytes(bytes)?,
            };
        }
        Ok::<_, minicbor::encode::Error<_>>(None)
    })();
    written.map_err(|error| failed(Box::new(error)))
}

impl Journal {
    /// The journal in this folder, made when it is not there, of all that this connection writes.
    pub(super) fn open(dir: &Path, conn: &Connection) -> Result<Self> {
        let mut folder = fs::DirBuilder::new();
        folder.recursive(true);
        #[cfg(unix)]
        std::os::unix::fs::DirBuilderExt::mode(&mut folder, 0o700);
        folder.create(dir).map_err(failed(dir))?;
        let rows = Arc::new(Mutex::new(Vec::new()));
        let flags = FunctionFlags::SQLITE_UTF8 | FunctionFlags::SQLITE_INNOCUOUS;
        let told = Arc::clone(&rows);
        conn.create_scalar_function("journal_row", -1, flags, move |row| tell(&told, row))?;
        for table in tables(conn)? {
            for what in [INSERTED, UPDATED, DELETED] {
                conn.execute_batch(&table.trigger(what))?;
            }
        }
        Ok(Self {
            dir: dir.to_owned(),
            last: None,
            rows,
        })
    }

    /// Appends what the transaction changed, durably. The caller holds the database's write lock.
    fn append(&mut self, from: Mark, to: Mark) -> Told<()> {
        let mut rows = std::mem::take(&mut *buffer(&self.rows));
        if rows.len() > PATCH_BYTES {
            return Err(JournalError::TooLarge(rows.len()));
        }
        let mut entry = header(from, to, &rows)?;
        entry.append(&mut rows);
        let (number, mut last) = self.take_last()?;
        let path = file(&self.dir, number);
        let before = last.metadata().map_err(failed(&path))?.len();
        let written = last.write_all(&entry).and_then(|()| last.sync_data());
        if written.is_err() {
            // Only so that a full disk is not filled with what is torn: readers pass over it.
            let _ = last.set_len(before);
        }
        self.last = Some((number, last));
        written.map_err(failed(&path))
    }

    /// The file to append to: another process may have begun the next one.
    fn take_last(&mut self) -> Told<(u64, File)> {
        let (mut number, mut last) = match self.last.take() {
            Some((number, last)) if !file(&self.dir, number + 1).exists() => (number, last),
            _ => {
                let number = numbers(&self.dir)?.last().copied().unwrap_or(1);
                (number, self.file(number)?)
            }
        };
        let path = file(&self.dir, number);
        if last.metadata().map_err(failed(&path))?.len() >= FILE_BYTES {
            number += 1;
            last = self.file(number)?;
        }
        Ok((number, last))
    }

    fn file(&self, number: u64) -> Told<File> {
        let path = file(&self.dir, number);
        let mut options = OpenOptions::new();
        options.append(true).create(true);
        #[cfg(unix)]
        std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
        let opened = options.open(&path).map_err(failed(&path))?;
        let folder = File::open(&self.dir).and_then(|dir| dir.sync_all());
        folder.map_err(failed(&self.dir))?;
        Ok(opened)
    }
}

fn read(dir: &Path, number: u64) -> Told<Vec<u8>> {
    let path = file(dir, number);
    let longest = FILE_BYTES + (HEADER + PATCH_BYTES) as u64;
    let mut bytes = Vec::new();
    let opened = File::open(&path).map_err(failed(&path))?;
    let mut opened = opened.take(longest + 1);
    opened.read_to_end(&mut bytes).map_err(failed(&path))?;
    match bytes.len() as u64 > longest {
        true => Err(JournalError::NotOurs(path)),
        false => Ok(bytes),
    }
}

/// Where an entry stands.
#[derive(Clone, Copy)]
struct Place {
    /// Among all of the journal, from 0.
    index: u64,
    file: u64,
    at: usize,
}

/// A journal from its first file to its last, without the patches.
#[derive(Default)]
struct Index {
    /// The last entry that begins at each mark: those before it were not committed.
    from: BTreeMap<Mark, Place>,
    /// The entry that ends at each mark.
    to: BTreeMap<Mark, Place>,
    entries: u64,
}

impl Index {
    fn of(dir: &Path) -> Told<Self> {
        let mut index = Self::default();
        for number in numbers(dir)? {
            for (at, entry) in entries(&read(dir, number)?) {
                let place = Place {
                    index: index.entries,
                    file: number,
                    at,
                };
                index.from.insert(entry.before, place);
                index.to.insert(entry.after, place);
                index.entries += 1;
            }
        }
        Ok(index)
    }
}

/// What a journal brought to a backup.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Replayed {
    /// Writes that were done again.
    pub writes: u64,
    /// Writes that stand in the journal after those, and do not follow from them: the database was written
    /// without its journal meanwhile, or a part of it is lost.
    pub beyond: u64,
}

/// Does again in `database`, a backup, what the journal says was done after it. `progress` is told the writes
/// read so far and how many there are.
///
/// # Errors
/// When either cannot be read or written, or they do not fit; the database is of no use then.
pub fn replay(database: &Path, dir: &Path, progress: &dyn Fn(u64, u64)) -> Result<Replayed> {
    let index = Index::of(dir)?;
    let mut conn = threads::open_writer(database)?;
    // The file counts once it is whole: it is synced at the end.
    conn.pragma_update(None, "synchronous", "OFF")?;
    let tables = tables(&conn)?;
    let (mut now, mut docs) = (mark(&conn)?, BTreeSet::new());
    let mut next = index.to.get(&now).map_or(0, |place| place.index + 1);
    let mut replayed = Replayed::default();
    let mut open: Option<(u64, Vec<u8>)> = None;
    while let Some(place) = index.from.get(&now).filter(|place| place.index >= next) {
        let bytes = match open.take() {
            Some((number, bytes)) if number == place.file => bytes,
            _ => read(dir, place.file)?,
        };
        let unfit = JournalError::Unfit(place.index);
        let Some(entry) = bytes.get(place.at..).and_then(Entry::read) else {
            return Err(unfit.into());
        };
        if entry.schema != SCHEMA.version() {
            return Err(JournalError::OtherVersion(entry.schema).into());
        }
        let tx = conn.transaction_with_behavior(TransactionBehavior::Immediate)?;
        match apply(&tx, &tables, entry.patch, &mut docs) {
            Ok(()) if mark(&tx)? == entry.after => tx.commit()?,
            Err(StorageError::Full) => return Err(StorageError::Full),
            _ => return Err(unfit.into()),
        }
        (now, next) = (entry.after, place.index + 1);
        replayed.writes += 1;
        progress(next, index.entries);
        open = Some((place.file, bytes));
    }
    replayed.beyond = index.entries - next;
    let format = stored_format(&conn)?;
    manzana_store::sqlite::write(&mut conn, |tx| {
        docs.iter()
            .try_for_each(|doc| search::index_again(tx, *doc, &format))
    })?;
    conn.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(()))?;
    let synced = File::open(database).and_then(|file| file.sync_all());
    synced.map_err(StoreError::from)?;
    Ok(replayed)
}

/// Does again what a patch says, and notes of which documents the search must know.
fn apply(
    conn: &Connection,
    tables: &[Table],
    patch: &[u8],
    docs: &mut BTreeSet<i64>,
) -> Result<()> {
    let mut rows = minicbor::Decoder::new(patch);
    while rows.position() < patch.len() {
        let (table, what, values) = row(&mut rows).map_err(|_| StorageError::Damaged)?;
        let table = tables.iter().find(|known| known.name == table);
        let table = table.ok_or(StorageError::Damaged)?;
        if let ("docs", Some(Value::Integer(doc))) = (&table.name[..], values.first()) {
            docs.insert(*doc);
        }
        let done = conn
            .prepare_cached(&table.again(what))?
            .execute(params_from_iter(values))?;
        if done != 1 {
            return Err(StorageError::Damaged);
        }
    }
    Ok(())
}

/// A row as [`tell`] wrote it.
fn row<'a>(
    rows: &mut minicbor::Decoder<'a>,
) -> std::result::Result<(&'a str, u8, Vec<Value>), minicbor::decode::Error> {
    let told = rows.array()?.unwrap_or_default();
    let (table, what) = (rows.str()?, rows.u8()?);
    let mut values = Vec::new();
    for _ in 2..told {
        values.push(match rows.datatype()? {
            Type::Null => {
                rows.null()?;
                Value::Null
            }
            Type::F64 => Value::Real(rows.f64()?),
            Type::String => Value::Text(rows.str()?.to_owned()),
            Type::Bytes => Value::Blob(rows.bytes()?.to_vec()),
            _ => Value::Integer(rows.i64()?),
        });
    }
    Ok((table, what, values))
}

/// Deletes the files of which `backup` needs nothing, and says how many: those that end before it was made.
///
/// # Errors
/// When the backup or the journal cannot be read, or a file not be deleted.
pub fn trim(backup: &Path, dir: &Path) -> Result<usize> {
    let now = mark(&manzana_store::sqlite::open_reader(backup, &SCHEMA)?)?;
    let index = Index::of(dir)?;
    let needed = index.from.get(&now).or(index.to.get(&now));
    let Some(needed) = needed.map(|place| place.file) else {
        return Ok(0);
    };
    let mut deleted = 0;
    for number in numbers(dir)?.into_iter().filter(|number| *number < needed) {
        let path = file(dir, number);
        fs::remove_file(&path).map_err(failed(&path))?;
        deleted += 1;
    }
    Ok(deleted)
}

/// Whether the journal reaches this database as it stands: only then it goes on from there.
///
/// # Errors
/// When either cannot be read.
pub fn reaches(database: &Path, dir: &Path) -> Result<bool> {
    let now = mark(&manzana_store::sqlite::open_reader(database, &SCHEMA)?)?;
    // At its end where all is well; one more entry may follow, of a commit that failed or of another process.
    for number in numbers(dir)?.into_iter().rev() {
        if entries(&read(dir, number)?).any(|(_, entry)| entry.after == now) {
            return Ok(true);
        }
    }
    Ok(false)
}
