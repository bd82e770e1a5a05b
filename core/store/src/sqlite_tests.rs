//! The rules of [`super`], each held by a test with real files.

use std::path::PathBuf;

use tempfile::TempDir;

use super::*;

const V1: &str = "CREATE TABLE a (id INTEGER PRIMARY KEY, b BLOB NOT NULL) STRICT;";
const V2: &str = "CREATE TABLE c (a INTEGER NOT NULL REFERENCES a (id)) STRICT;";
const OLD: Schema = Schema {
    application_id: 0x4d5a_0001,
    migrations: &[V1],
};
const NEW: Schema = Schema {
    application_id: 0x4d5a_0001,
    migrations: &[V1, V2],
};

fn place() -> (TempDir, PathBuf) {
    let dir = TempDir::new().unwrap();
    let path = dir.path().join("test.db");
    (dir, path)
}

fn pragma(conn: &Connection, name: &str) -> i64 {
    conn.pragma_query_value(None, name, |row| row.get(0))
        .unwrap()
}

#[test]
fn a_new_database_is_durable_strict_and_marked() {
    let (_dir, path) = place();
    let conn = open(&path, &NEW).unwrap();
    let mode: String = conn
        .pragma_query_value(None, "journal_mode", |row| row.get(0))
        .unwrap();
    assert_eq!(mode, "wal");
    assert_eq!(pragma(&conn, "synchronous"), 2);
    assert_eq!(pragma(&conn, "foreign_keys"), 1);
    assert_eq!(pragma(&conn, "user_version"), 2);
    assert_eq!(pragma(&conn, "application_id"), 0x4d5a_0001);
    assert!(loose_tables(&conn).unwrap().is_empty());
    assert_eq!(
        conn.limit(Limit::SQLITE_LIMIT_LENGTH).unwrap(),
        VALUE_BYTES,
        "limits are set"
    );
}

#[cfg(unix)]
#[test]
fn only_its_owner_may_read_the_files() {
    use std::os::unix::fs::PermissionsExt as _;
    let (_dir, path) = place();
    let _conn = open(&path, &NEW).unwrap();
    for file in [path.clone(), path.with_extension("db-wal")] {
        let mode = std::fs::metadata(file).unwrap().permissions().mode();
        assert_eq!(mode & 0o077, 0);
    }
}

#[test]
fn an_old_database_is_migrated_and_keeps_its_rows() {
    let (_dir, path) = place();
    let conn = open(&path, &OLD).unwrap();
    conn.execute("INSERT INTO a VALUES (7, x'01')", []).unwrap();
    drop(conn);
    let conn = open(&path, &NEW).unwrap();
    assert_eq!(pragma(&conn, "user_version"), 2);
    conn.execute("INSERT INTO c VALUES (7)", []).unwrap();
    assert!(conn.execute("INSERT INTO c VALUES (8)", []).is_err());
}

#[test]
fn a_migration_that_fails_leaves_the_version_before_it() {
    const BROKEN: Schema = Schema {
        migrations: &[V1, "CREATE TABLE half (x ANY) STRICT; SELECT nothing();"],
        ..NEW
    };
    let (_dir, path) = place();
    assert!(open(&path, &BROKEN).is_err());
    let conn = open(&path, &NEW).unwrap();
    assert_eq!(pragma(&conn, "user_version"), 2);
    assert!(conn.prepare("SELECT * FROM half").is_err());
}

#[test]
fn a_migration_that_breaks_references_is_undone() {
    const ORPHANS: Schema = Schema {
        migrations: &[V1, V2, "INSERT INTO c VALUES (99);"],
        ..NEW
    };
    let (_dir, path) = place();
    assert!(open(&path, &ORPHANS).is_err());
    let conn = open(&path, &NEW).unwrap();
    assert_eq!(pragma(&conn, "user_version"), 2);
}

#[test]
fn a_newer_database_is_refused_and_left_as_it_is() {
    let (_dir, path) = place();
    drop(open(&path, &NEW).unwrap());
    let error = open(&path, &OLD).unwrap_err();
    assert!(matches!(error, OpenError::Newer { found: 2, known: 1 }));
    assert!(open(&path, &NEW).is_ok());
}

#[test]
fn another_programs_database_is_refused_untouched() {
    let (_dir, path) = place();
    let foreign = Connection::open(&path).unwrap();
    foreign.execute_batch("CREATE TABLE theirs (x)").unwrap();
    drop(foreign);
    let before = std::fs::read(&path).unwrap();
    assert!(matches!(open(&path, &NEW), Err(OpenError::NotOurs)));
    assert_eq!(std::fs::read(&path).unwrap(), before);
    let other_kind = Schema {
        application_id: 0x4d5a_0002,
        ..NEW
    };
    let (_dir, path) = place();
    drop(open(&path, &other_kind).unwrap());
    assert!(matches!(open(&path, &NEW), Err(OpenError::NotOurs)));
}

#[test]
fn a_file_that_is_no_database_is_damaged() {
    let (_dir, path) = place();
    std::fs::write(&path, [0x5a; 8192]).unwrap();
    assert!(matches!(
        open(&path, &NEW),
        Err(OpenError::Store(StoreError::Damaged))
    ));
}

#[test]
fn an_old_sqlite_is_not_trusted() {
    assert!(matches!(
        trusted_sqlite(OLDEST_SQLITE - 1),
        Err(OpenError::OldSqlite { found: 3_051_002 })
    ));
    assert!(trusted_sqlite(OLDEST_SQLITE).is_ok());
    assert!(rusqlite::version_number() >= OLDEST_SQLITE);
}

#[test]
fn an_exclusive_database_is_busy_for_everybody_else() {
    let (_dir, path) = place();
    let wait = Duration::ZERO;
    let _conn = open_with(&path, &NEW, Sharing::Exclusive, wait).unwrap();
    assert!(matches!(
        open_with(&path, &NEW, Sharing::Exclusive, wait),
        Err(OpenError::Store(StoreError::Busy))
    ));
}

#[test]
fn a_reader_sees_commits_and_cannot_write() {
    let (_dir, path) = place();
    let mut conn = open(&path, &NEW).unwrap();
    let reader = open_reader(&path, &NEW).unwrap();
    write::<_, StoreError>(&mut conn, |tx| {
        Ok(tx.execute("INSERT INTO a VALUES (1, x'')", [])?)
    })
    .unwrap();
    let count: i64 = reader
        .query_row("SELECT count(*) FROM a", [], |row| row.get(0))
        .unwrap();
    assert_eq!(count, 1);
    assert!(reader.execute("DELETE FROM a", []).is_err());
}

#[test]
fn a_full_database_says_so_and_keeps_nothing_of_the_transaction() {
    let (_dir, path) = place();
    let mut conn = open(&path, &NEW).unwrap();
    let pages = pragma(&conn, "page_count") + 2;
    conn.pragma_update_and_check(None, "max_page_count", pages, |_| Ok(()))
        .unwrap();
    let full = write::<(), StoreError>(&mut conn, |tx| {
        for id in 0..100 {
            tx.execute("INSERT INTO a VALUES (?1, zeroblob(4096))", [id])?;
        }
        Ok(())
    });
    assert!(matches!(full, Err(StoreError::Full)));
    let count: i64 = conn
        .query_row("SELECT count(*) FROM a", [], |row| row.get(0))
        .unwrap();
    assert_eq!(count, 0);
}
