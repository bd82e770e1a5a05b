//! The journal against the conformance suite: after every test of it, the city as it began and its journal
//! are the city as it is; and what only the journal must do.
// Tests say what went wrong by panicking; clippy knows `#[test]` functions but not their helpers.
#![allow(clippy::unwrap_used)]

use std::path::{Path, PathBuf};

use async_trait::async_trait;
use manzana_server::storage::conformance::samples::{Author, batch, create};
use manzana_server::storage::conformance::{Backend, format};
use manzana_server::storage::sqlite::journal::{self, Replayed};
use manzana_server::storage::sqlite::{SqliteStore, backup};
use manzana_server::storage::{ListFilter, RelayStore, StorageError};
use rusqlite::Connection;

/// A city with a journal, and a backup of when it was empty.
struct Journaled {
    dir: tempfile::TempDir,
}

impl Journaled {
    fn path(&self) -> PathBuf {
        self.dir.path().join("city.db")
    }

    fn journal(&self) -> PathBuf {
        self.dir.path().join("journal")
    }

    /// The last file of the journal.
    fn last_file(&self) -> PathBuf {
        let files = std::fs::read_dir(self.journal()).unwrap();
        files.map(|file| file.unwrap().path()).max().unwrap()
    }

    fn backup(&self, name: &str) -> PathBuf {
        let file = self.dir.path().join(name);
        backup::copy(&self.path(), &file).unwrap();
        file
    }

    /// A new backup in the place of the first one, which the journal does not reach any more.
    fn backup_instead(&self) {
        std::fs::remove_file(self.dir.path().join("empty")).unwrap();
        self.backup("empty");
    }

    /// A copy of a backup, brought to the end of the journal.
    fn put_back(&self, backup: &str) -> (PathBuf, Replayed) {
        let copy = self.dir.path().join(format!("{backup}-back"));
        std::fs::copy(self.dir.path().join(backup), &copy).unwrap();
        let replayed = journal::replay(&copy, &self.journal(), &|_, _| ()).unwrap();
        (copy, replayed)
    }
}

#[async_trait]
impl Backend for Journaled {
    type Store = SqliteStore;

    async fn create() -> Self {
        let new = Self {
            dir: tempfile::tempdir().unwrap(),
        };
        drop(new.open().await);
        new.backup("empty");
        new
    }

    async fn open(&self) -> SqliteStore {
        SqliteStore::open_with(&self.path(), &format(), Some(&self.journal())).unwrap()
    }
}

impl Drop for Journaled {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            let (copy, replayed) = self.put_back("empty");
            assert_eq!(replayed.beyond, 0);
            assert_eq!(rows(&copy), rows(&self.path()));
        }
    }
}

manzana_server::relay_store_conformance!(Journaled);

/// Every row of every table, the search's own among them only as far as it is read.
fn rows(database: &Path) -> Vec<String> {
    let conn = Connection::open(database).unwrap();
    let names = "SELECT name FROM pragma_table_list WHERE schema = 'main' AND type = 'table'
                 AND name NOT LIKE 'sqlite_%' ORDER BY name";
    let mut names = conn.prepare(names).unwrap();
    let names: Vec<String> = names
        .query_map([], |row| row.get(0))
        .unwrap()
        .map(Result::unwrap)
        .collect();
    assert!(names.contains(&"journal".to_owned()));
    let mut all = Vec::new();
    let tables = names.iter().map(|name| format!("SELECT * FROM {name}"));
    let vocabulary = "CREATE VIRTUAL TABLE temp.terms USING fts5vocab(main, search, instance)";
    conn.execute_batch(vocabulary).unwrap();
    for sql in tables.chain(["SELECT * FROM terms".to_owned()]) {
        let mut statement = conn.prepare(&sql).unwrap();
        let columns = statement.column_count();
        let mut found = statement.query([]).unwrap();
        let mut rows = Vec::new();
        while let Some(row) = found.next().unwrap() {
            let values: Vec<_> = (0..columns)
                .map(|column| row.get::<_, rusqlite::types::Value>(column).unwrap())
                .collect();
            rows.push(format!("{sql}: {values:?}"));
        }
        rows.sort();
        all.extend(rows);
    }
    all
}

async fn place_of(database: &Path) -> u64 {
    let store = SqliteStore::open(database, &format()).unwrap();
    store.head().await.unwrap().seq
}

#[tokio::test]
async fn a_backup_of_any_time_and_the_journal_are_the_city() {
    let city = Journaled::create().await;
    let store = city.open().await;
    let mut ana = Author::new(1);
    for _ in 0..3 {
        create(&store, &mut ana).await;
    }
    city.backup("later");
    for _ in 0..2 {
        create(&store, &mut ana).await;
    }
    let (copy, replayed) = city.put_back("later");
    assert_eq!((replayed.writes, replayed.beyond), (2, 0));
    assert_eq!(rows(&copy), rows(&city.path()));
    let filter = ListFilter {
        query: Some("001459".to_owned()),
        limit: 1,
        ..ListFilter::default()
    };
    let back = SqliteStore::open(&copy, &format()).unwrap();
    assert_eq!(back.list(&filter).await.unwrap().rows[0].folio, Some(1_459));
    city.backup("last");
    assert_eq!(city.put_back("last").1, Replayed::default());
    assert!(journal::reaches(&city.path(), &city.journal()).unwrap());
}

#[tokio::test]
async fn an_entry_that_is_torn_anywhere_was_never_answered() {
    let city = Journaled::create().await;
    let store = city.open().await;
    let mut ana = Author::new(1);
    create(&store, &mut ana).await;
    let whole = std::fs::read(city.last_file()).unwrap();
    create(&store, &mut ana).await;
    let longer = std::fs::read(city.last_file()).unwrap();
    for cut in (whole.len()..longer.len()).step_by(97) {
        std::fs::write(city.last_file(), &longer[..cut]).unwrap();
        let (copy, replayed) = city.put_back("empty");
        assert_eq!((replayed.writes, replayed.beyond), (1, 0), "cut at {cut}");
        assert_eq!(place_of(&copy).await, 1);
    }
    // What follows a torn entry is found; it does not follow from what is there.
    std::fs::write(city.last_file(), &longer[..whole.len() + 40]).unwrap();
    create(&store, &mut ana).await;
    let (copy, replayed) = city.put_back("empty");
    assert_eq!((replayed.writes, replayed.beyond), (1, 1));
    assert_eq!(place_of(&copy).await, 1);
    city.backup_instead();
}

#[tokio::test]
async fn what_is_in_the_journal_and_was_not_committed_gives_way() {
    let city = Journaled::create().await;
    let store = city.open().await;
    let mut ana = Author::new(1);
    create(&store, &mut ana).await;
    drop(store);
    // Killed between the journal and the commit: the database is as before.
    let (before, kept) = (city.path(), city.dir.path().join("kept"));
    std::fs::copy(&before, &kept).unwrap();
    let store = city.open().await;
    create(&store, &mut ana).await;
    drop(store);
    std::fs::rename(&kept, &before).unwrap();
    assert!(journal::reaches(&before, &city.journal()).unwrap());
    let store = city.open().await;
    let mut beto = Author::new(2);
    create(&store, &mut beto).await;
    create(&store, &mut beto).await;
    let (copy, replayed) = city.put_back("empty");
    assert_eq!((replayed.writes, replayed.beyond), (3, 0));
    assert_eq!(rows(&copy), rows(&before));
}

#[tokio::test]
async fn a_city_written_without_its_journal_is_out_of_its_reach() {
    let city = Journaled::create().await;
    let mut ana = Author::new(1);
    create(&city.open().await, &mut ana).await;
    let without = SqliteStore::open(&city.path(), &format()).unwrap();
    create(&without, &mut ana).await;
    drop(without);
    assert!(!journal::reaches(&city.path(), &city.journal()).unwrap());
    let store = city.open().await;
    city.backup("new");
    create(&store, &mut ana).await;
    assert_eq!(
        city.put_back("empty").1,
        Replayed {
            writes: 1,
            beyond: 1
        }
    );
    assert_eq!(
        city.put_back("new").1,
        Replayed {
            writes: 1,
            beyond: 0
        }
    );
    city.backup_instead();
}

#[tokio::test]
async fn another_citys_journal_brings_nothing() {
    let (one, other) = (Journaled::create().await, Journaled::create().await);
    create(&one.open().await, &mut Author::new(1)).await;
    let copy = other.dir.path().join("copy");
    std::fs::copy(other.dir.path().join("empty"), &copy).unwrap();
    let replayed = journal::replay(&copy, &one.journal(), &|_, _| ()).unwrap();
    assert_eq!(replayed.writes, 0);
    assert!(replayed.beyond > 0);
}

#[tokio::test]
async fn what_a_backup_has_is_trimmed_file_by_file() {
    let city = Journaled::create().await;
    let store = city.open().await;
    let mut ana = Author::new(1);
    create(&store, &mut ana).await;
    let first = city.last_file();
    let early = city.backup("early");
    create(&store, &mut ana).await;
    // As when the first file had grown: the writer goes on in the one that is there.
    std::fs::write(city.journal().join("journal-000002"), []).unwrap();
    create(&store, &mut ana).await;
    assert_eq!(journal::trim(&early, &city.journal()).unwrap(), 0);
    let late = city.backup("late");
    create(&store, &mut ana).await;
    assert_eq!(journal::trim(&late, &city.journal()).unwrap(), 1);
    assert!(!first.exists());
    let (copy, replayed) = city.put_back("late");
    assert_eq!((replayed.writes, replayed.beyond), (1, 0));
    assert_eq!(rows(&copy), rows(&city.path()));
    city.backup_instead();
}

#[tokio::test]
async fn without_its_journal_nothing_is_taken_in() {
    let city = Journaled::create().await;
    let store = city.open().await;
    let mut ana = Author::new(1);
    create(&store, &mut ana).await;
    // The second disk is gone, and comes back.
    let away = city.dir.path().join("away");
    std::fs::rename(city.journal(), &away).unwrap();
    let mut sheet = ana.petition();
    let envelope = ana.accepted(vec![sheet.change(&ana)]);
    let whole = batch(vec![envelope], &[&sheet]);
    let store = {
        drop(store);
        std::fs::write(city.journal(), b"no folder").unwrap();
        let refused = SqliteStore::open_with(&city.path(), &format(), Some(&city.journal()));
        assert!(matches!(refused.err(), Some(StorageError::Backend(_))));
        std::fs::remove_file(city.journal()).unwrap();
        std::fs::rename(&away, city.journal()).unwrap();
        city.open().await
    };
    std::fs::rename(city.journal(), &away).unwrap();
    let refused = store.commit_batch(whole.clone()).await;
    assert!(
        matches!(refused, Err(StorageError::Backend(_))),
        "{refused:?}"
    );
    assert_eq!(store.head().await.unwrap().seq, 1);
    std::fs::rename(&away, city.journal()).unwrap();
    assert_eq!(store.commit_batch(whole).await.unwrap().rows[0].seq, 2);
}
