//! `manzana check`: everything that a city's database claims, done again from what was signed.
//!
//! - `chains`: each device's grant under the city's root; each envelope's signature, place and
//!   predecessor; each accepted change where the answer to it says, byte for byte.
//! - `documents`: each document made again from its rows of the log; its summary, columns, scopes and
//!   digests made again from it.
//! - here: the log has no gaps, and neither have the folios.
//!
//! The relay may be running: both threads read the same snapshot. In memory are the devices, the scopes,
//! and one envelope and one document at a time.

mod chains;
mod documents;

use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

use manzana_engine::ids::Seq;
use rusqlite::Connection;

use self::chains::Chains;
use super::super::{Result, StorageError};
use super::convert::{optional_uint, uint};
use super::schema::SCHEMA;
use super::{first_folio, read, recovery};

/// Faults told in words; the others are counted.
const TOLD: usize = 50;
/// Attempts at two connections that see the same head, while the relay writes.
const ATTEMPTS: usize = 100;

/// What was checked, and what is wrong.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Checked {
    /// Devices whose grants were verified.
    pub devices: u64,
    /// Envelopes whose signatures were verified.
    pub envelopes: u64,
    /// Rows of the log that were found in their envelopes.
    pub changes: u64,
    /// Documents made again from the log.
    pub documents: u64,
    /// Folios, the first and the last.
    pub folios: Option<(u64, u64)>,
    /// How many faults there are.
    pub faults: u64,
    /// The first of them, in words.
    pub told: Vec<String>,
}

/// Gathers from both threads.
struct Findings<'a> {
    told: Mutex<Vec<String>>,
    faults: AtomicU64,
    done: &'a (dyn Fn(u64) + Sync),
}

impl Findings<'_> {
    fn fault(&self, what: String) {
        self.faults.fetch_add(1, Ordering::Relaxed);
        let mut told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
        if told.len() < TOLD {
            told.push(what);
        }
    }

    /// One envelope or document more is done.
    fn done(&self) {
        (self.done)(1);
    }
}

/// How many envelopes and documents there are to check.
///
/// # Errors
/// When the database cannot be read.
pub fn extent(database: &Path) -> Result<u64> {
    let conn = manzana_store::sqlite::open_reader(database, &SCHEMA)?;
    Ok(conn.query_row(
        "SELECT (SELECT count(*) FROM envelopes) + (SELECT count(*) FROM docs)",
        [],
        |row| uint(row, 0),
    )?)
}

/// Checks a city's database under its root key; `done` is told of each envelope and document.
///
/// # Errors
/// When the database cannot be read. What is wrong with what it says is in the answer.
pub fn check(database: &Path, root: &[u8; 32], done: &(dyn Fn(u64) + Sync)) -> Result<Checked> {
    let (one, other) = same_snapshot(database)?;
    let findings = Findings {
        told: Mutex::default(),
        faults: AtomicU64::new(0),
        done,
    };
    let (chains, documents) = std::thread::scope(|scope| {
        let findings = &findings;
        let documents = scope.spawn(move || documents::check(&other, findings));
        (chains::check(&one, root, findings), documents.join())
    });
    let Chains {
        devices,
        envelopes,
        changes,
    } = chains?;
    let documents = documents.map_err(|_| StorageError::Backend("a thread failed".into()))??;
    let head = read::head(&one)?.seq;
    let rows = one.query_row("SELECT count(*) FROM log", [], |row| uint(row, 0))?;
    if (changes, rows) != (head, head) {
        findings.fault(format!(
            "the log's head is {head}, it has {rows} rows, and {changes} changes were accepted"
        ));
    }
    let void = epochs(&one, root, &findings)?;
    let folios = folios(&one, void, &findings)?;
    Ok(Checked {
        devices,
        envelopes,
        changes,
        documents,
        folios,
        faults: findings.faults.into_inner(),
        told: findings
            .told
            .into_inner()
            .unwrap_or_else(PoisonError::into_inner),
    })
}

/// Two connections that read the city as of the same moment.
fn same_snapshot(database: &Path) -> Result<(Connection, Connection)> {
    let begin = || -> Result<(Connection, Seq)> {
        let conn = manzana_store::sqlite::open_reader(database, &SCHEMA)?;
        conn.execute_batch("BEGIN")?;
        let head = read::head(&conn)?.seq;
        Ok((conn, head))
    };
    for _ in 0..ATTEMPTS {
        let ((one, at), (other, then)) = (begin()?, begin()?);
        if at == then {
            return Ok((one, other));
        }
    }
    Err(StorageError::Busy)
}

/// Every folio from the city's first to the last one is of one petition, which has it, or void.
fn folios(
    conn: &Connection,
    mut taken: Vec<(u64, u64)>,
    findings: &Findings<'_>,
) -> Result<Option<(u64, u64)>> {
    let first = first_folio(conn)?;
    let mut statement = conn.prepare(
        "SELECT log.folio, docs.folio FROM log JOIN docs USING (doc)
         WHERE log.folio IS NOT NULL ORDER BY log.folio",
    )?;
    let mut rows = statement.query([])?;
    while let Some(row) = rows.next()? {
        let (issued, kept) = (uint(row, 0)?, optional_uint(row, 1)?);
        if kept != Some(issued) {
            findings.fault(format!("folio {issued}: its document has {kept:?}"));
        }
        taken.push((issued, issued));
    }
    taken.sort_unstable();
    let (next, recovering) =
        conn.query_row("SELECT next_folio, recovering FROM city", [], |row| {
            Ok((uint(row, 0)?, row.get::<_, bool>(1)?))
        })?;
    let mut due = first;
    for (from, to) in &taken {
        // While the city recovers, folios come back in any order.
        if *from != due && (!recovering || *from < due) {
            findings.fault(format!("folio {from} where {due} was due"));
        }
        due = to + 1;
    }
    let more = conn.query_row(
        "SELECT (SELECT count(folio) FROM docs) - (SELECT count(folio) FROM log)",
        [],
        |row| row.get::<_, i64>(0),
    )?;
    if (next != due && !recovering) || more != 0 {
        findings.fault(format!(
            "the next folio is {next} where {due} was due; {more} were not issued by the log"
        ));
    }
    Ok((due > first).then(|| (first, due - 1)))
}

/// Each epoch was declared by the city's root, and so were the folios that are void since its recovery was
/// closed, which are given.
fn epochs(conn: &Connection, root: &[u8; 32], findings: &Findings<'_>) -> Result<Vec<(u64, u64)>> {
    let (mut void, mut open) = (Vec::new(), false);
    for (begun, closing) in recovery::records(conn)? {
        let Some(begun) = begun.open(root) else {
            findings.fault("an epoch's record is not the city's".to_owned());
            continue;
        };
        open = closing.is_none();
        let closed = closing.map(|closing| closing.open(root));
        let declared = match closed {
            Some(Some(closed)) if closed.epoch == begun.epoch => closed.void,
            Some(_) => {
                findings.fault(format!(
                    "the record that closes epoch {} is not the city's",
                    begun.epoch
                ));
                continue;
            }
            None => Vec::new(),
        };
        if recovery::void_folios(conn, begun.epoch)? != declared {
            findings.fault(format!(
                "epoch {}: the folios that are void are not those of its record",
                begun.epoch
            ));
        }
        void.extend(declared);
    }
    if open && !read::head(conn)?.recovering {
        findings.fault("the last recovery is over without a record that closes it".to_owned());
    }
    Ok(void)
}
