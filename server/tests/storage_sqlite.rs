//! The SQLite backend against the conformance suite, and what only it must do.
// Tests say what went wrong by panicking; clippy knows `#[test]` functions but not their helpers.
#![allow(clippy::unwrap_used)]

use std::path::PathBuf;

use async_trait::async_trait;
use manzana_engine::grant::Scope;
use manzana_server::storage::conformance::samples::{Author, batch, create};
use manzana_server::storage::conformance::{Backend, format};
use manzana_server::storage::sqlite::SqliteStore;
use manzana_server::storage::{ListFilter, RelayStore, StorageError, UserRow};

struct Sqlite {
    dir: tempfile::TempDir,
}

impl Sqlite {
    fn path(&self) -> PathBuf {
        self.dir.path().join("city.db")
    }
}

#[async_trait]
impl Backend for Sqlite {
    type Store = SqliteStore;

    async fn create() -> Self {
        Self {
            dir: tempfile::tempdir().unwrap(),
        }
    }

    async fn open(&self) -> SqliteStore {
        SqliteStore::open(&self.path(), &format()).unwrap()
    }
}

manzana_server::relay_store_conformance!(Sqlite);

#[tokio::test]
async fn a_full_disk_writes_nothing_and_the_next_batch_goes_on() {
    let backend = Sqlite::create().await;
    let store = backend.open().await;
    let mut ana = Author::new(1);
    let first = create(&store, &mut ana).await;
    let before = store.digests(&[Scope::City]).await.unwrap();
    store.limit_pages(1).await.unwrap(); // SQLite makes it as many as there are
    let mut large = ana.petition();
    let entry = large.change(&ana);
    large.saved = vec![7; 300_000].into();
    let envelope = ana.accepted(vec![entry]);
    let whole = batch(vec![envelope], &[&large]);
    let full = store.commit_batch(whole.clone()).await;
    assert!(matches!(full, Err(StorageError::Full)));
    assert_eq!(store.head().await.unwrap().seq, 1);
    assert_eq!(store.digests(&[Scope::City]).await.unwrap(), before);
    assert_eq!(store.chain(&ana.device, 1).await.unwrap().have, 1);
    assert_eq!(store.docs(&[first.doc, large.doc]).await.unwrap().len(), 1);
    store.limit_pages(1 << 20).await.unwrap();
    let done = store.commit_batch(whole).await.unwrap();
    assert_eq!((done.rows[0].seq, done.rows[0].folio), (2, Some(1_456)));
}

#[tokio::test]
async fn a_newer_database_is_refused() {
    let backend = Sqlite::create().await;
    drop(backend.open().await);
    let raw = rusqlite::Connection::open(backend.path()).unwrap();
    raw.pragma_update(None, "user_version", 99).unwrap();
    drop(raw);
    let refused = SqliteStore::open(&backend.path(), &format()).err();
    let Some(StorageError::NewerDatabase { found: 99, known }) = refused else {
        panic!("{refused:?}");
    };
    assert_eq!(known, 5);
}

#[tokio::test]
async fn what_is_not_a_database_is_not_opened() {
    let backend = Sqlite::create().await;
    std::fs::write(backend.path(), vec![b'x'; 8_192]).unwrap();
    let refused = SqliteStore::open(&backend.path(), &format()).err();
    assert!(
        matches!(refused, Some(StorageError::Damaged)),
        "{refused:?}"
    );
}

#[tokio::test]
async fn two_handles_on_one_file_see_each_other() {
    let backend = Sqlite::create().await;
    let (relay, tool) = (backend.open().await, backend.open().await);
    let (mut ana, mut beto) = (Author::new(1), Author::new(2));
    let mut sheets = Vec::new();
    for _ in 0..3 {
        // Each must notice what the other wrote, or the digests go wrong.
        sheets.push(create(&relay, &mut ana).await);
        sheets.push(create(&tool, &mut beto).await);
    }
    let mut fresh = manzana_engine::digest::SetHash::default();
    for sheet in &sheets {
        fresh.add(&sheet.doc, &sheet.summary.heads);
    }
    for store in [&relay, &tool] {
        let (seq, digests) = store.digests(&[Scope::City]).await.unwrap();
        assert_eq!((seq, digests[0].1), (6, fresh.digest()));
    }
    let user = UserRow {
        id: 0,
        name: "ana".to_owned(),
        display: "Ana".to_owned(),
        role: "operator".to_owned(),
        password_hash: None,
        disabled: false,
    };
    let id = tool.add_user(&user).await.unwrap();
    let seen = relay.user_by_name("ana").await.unwrap().unwrap();
    assert_eq!(seen.id, id);
}

#[tokio::test]
async fn the_first_format_counts() {
    let backend = Sqlite::create().await;
    drop(backend.open().await);
    let mut other = format();
    (other.first_folio, other.folio_prefix) = (9, "X-".to_owned());
    let store = SqliteStore::open(&backend.path(), &other).unwrap();
    create(&store, &mut Author::new(1)).await;
    let filter = ListFilter {
        query: Some("SIAC-001455".to_owned()),
        limit: 1,
        ..ListFilter::default()
    };
    let listed = store.list(&filter).await.unwrap();
    assert_eq!(listed.rows[0].folio, Some(1_455));
}

#[tokio::test]
async fn hello_lists_and_log_open_no_document() {
    let backend = Sqlite::create().await;
    let store = backend.open().await;
    let mut ana = Author::new(1);
    let sheet = create(&store, &mut ana).await;
    let scopes = [Scope::City, Scope::Author(1), Scope::Catalog];
    store.head().await.unwrap();
    store.chain(&ana.device, 1).await.unwrap();
    store.answers_after(&ana.device, 0, 10).await.unwrap();
    store.device(&ana.device).await.unwrap();
    store.digests(&scopes).await.unwrap();
    assert_eq!(store.log_after(&scopes, 0, 10).await.unwrap().0.len(), 1);
    let filter = ListFilter {
        limit: 10,
        ..ListFilter::default()
    };
    assert_eq!(store.list(&filter).await.unwrap().rows.len(), 1);
    assert_eq!(store.changed_since(0, 10).await.unwrap().len(), 1);
    store.accepted_times(&sheet.doc).await.unwrap();
    store.stretch(&Scope::City, u64::MAX, 9).await.unwrap();
    assert_eq!(store.opened(), 0);
    store.fill(&Scope::City, 0, u64::MAX).await.unwrap();
    store.docs(&[sheet.doc]).await.unwrap();
    assert_eq!(store.opened(), 2);
}
