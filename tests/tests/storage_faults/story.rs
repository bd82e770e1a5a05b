//! What is written while the power goes and disks fail: a story of a device and one of a relay, each with
//! its production storage, and what their databases say.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use manzana_engine::codec;
use manzana_engine::replica::Meta;
use rusqlite::types::ValueRef;
use rusqlite::{Connection, OpenFlags};

use super::tape::{Tape, lay_out};

/// Why a story did not go on: what its storage said.
#[derive(Debug)]
pub(crate) enum Told {
    /// No room.
    Full,
    /// Reading or writing failed; the words are for the log.
    Failed(String),
}

/// A database that is written, step by step, each acknowledged by a mark on the tape. Playing it again
/// goes on where the database stands.
pub(crate) trait Story {
    /// How tables call it.
    const NAME: &'static str;

    /// The database in a folder.
    fn database(&self, folder: &Path) -> PathBuf;

    /// A file beside it that others than SQLite write.
    fn beside(&self, folder: &Path) -> Option<PathBuf>;

    /// Plays to the end. A step that fails is tried a second time in the same process if `again`.
    ///
    /// # Errors
    /// What the storage said last.
    fn play(&self, folder: &Path, tape: &Tape, again: bool) -> Result<(), Told>;

    /// Opens the database as the first thing after a fault, and closes it.
    ///
    /// # Panics
    /// When it is not what it was.
    fn recover(&self, folder: &Path);
}

/// How many times as much is tried as by default.
pub(crate) fn tries(default: u64) -> u64 {
    let given = std::env::var("MANZANA_FAULTS").ok();
    default * given.and_then(|text| text.parse().ok()).unwrap_or(1)
}

/// What the tables of a database hold.
pub(crate) type Rows = BTreeMap<String, BTreeSet<String>>;

/// Reads every table of ours but the journal's mark, which is random, and lets SQLite look whether the file is whole.
///
/// # Panics
/// When it is not.
pub(crate) fn rows(database: &Path) -> Rows {
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_CREATE;
    let conn = Connection::open_with_flags(database, flags).expect("opened");
    let whole: String = conn
        .query_row("PRAGMA integrity_check", [], |row| row.get(0))
        .expect("read");
    assert_eq!(whole, "ok", "{}", database.display());
    let mut tables = conn
        .prepare(
            "SELECT name FROM pragma_table_list WHERE schema = 'main' AND type = 'table'
             AND name NOT LIKE 'sqlite%' AND name NOT IN ('own', 'journal')",
        )
        .expect("prepared");
    let names: Vec<String> = tables
        .query_map([], |row| row.get(0))
        .expect("read")
        .collect::<Result<_, _>>()
        .expect("read");
    let mut rows: Rows = names
        .into_iter()
        .map(|name| {
            (
                name.clone(),
                table(&conn, &format!("SELECT * FROM \"{name}\"")),
            )
        })
        .collect();
    if let Ok(own) = conn.query_row("SELECT meta, restored FROM own", [], |row| {
        Ok((row.get::<_, Option<Vec<u8>>>(0)?, row.get::<_, bool>(1)?))
    }) {
        rows.insert("own".to_owned(), [own_state(own)].into());
    }
    rows
}

/// What a device's own state says of its place in its chain and in the city's log. Its token differs with
/// every opening, and some of the rest with the sessions that it took to come here.
fn own_state((meta, restored): (Option<Vec<u8>>, bool)) -> String {
    let meta: Option<Meta> = meta.map(|meta| codec::decode(&meta).expect("its own state"));
    let said = meta.map(|meta| {
        let chain = (meta.incarnation, meta.last_n, meta.last_hash);
        let counters = (
            meta.next_intent,
            meta.actor,
            meta.answers_seen,
            meta.city_head,
        );
        (meta.device(), chain, counters, meta.position)
    });
    format!("{said:?}, restored {restored}")
}

fn table(conn: &Connection, sql: &str) -> BTreeSet<String> {
    let mut statement = conn.prepare(sql).expect("prepared");
    // Which number a row got is no part of what it says.
    let columns: Vec<usize> = (0..statement.column_count())
        .filter(|at| statement.column_name(*at) != Ok("place"))
        .collect();
    let mut rows = statement.query([]).expect("read");
    let mut found = BTreeSet::new();
    while let Some(row) = rows.next().expect("read") {
        let texts = columns
            .iter()
            .map(|at| match row.get_ref(*at).expect("read") {
                ValueRef::Blob(bytes) => data_encoding::HEXLOWER.encode(bytes),
                other => format!("{other:?}"),
            });
        found.insert(texts.collect::<Vec<_>>().join("|"));
    }
    found
}

/// Plays a story without a fault: what was recorded, and what the database held at each
/// acknowledgement.
///
/// # Panics
/// When it fails, or when the recording does not end as the files do.
pub(crate) fn recorded(story: &impl Story) -> (Arc<Tape>, Vec<Rows>) {
    let home = tempfile::tempdir().expect("a folder");
    let tape = Tape::over(home.path(), story.beside(home.path()).as_deref());
    story.play(home.path(), &tape, false).expect("no fault");
    let states: Vec<Rows> = tape
        .marks()
        .into_iter()
        .map(|at| {
            let folder = tempfile::tempdir().expect("a folder");
            lay_out(&tape.played(at), folder.path());
            rows(&story.database(folder.path()))
        })
        .collect();
    assert_eq!(states.last(), Some(&rows(&story.database(home.path()))));
    (tape, states)
}

/// Names the tables in which two databases differ.
pub(crate) fn difference(one: &Rows, other: &Rows) -> Vec<String> {
    let names: BTreeSet<&String> = one.keys().chain(other.keys()).collect();
    let count = |rows: Option<&BTreeSet<String>>| rows.map_or(0, BTreeSet::len);
    names
        .into_iter()
        .filter(|name| one.get(*name) != other.get(*name))
        .map(|name| {
            let (one, other) = (count(one.get(name)), count(other.get(name)));
            format!("{name}: {one} rows, {other} rows")
        })
        .collect()
}
