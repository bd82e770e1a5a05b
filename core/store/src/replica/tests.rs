//! The replica's promises: the engine's suite, equality with the model, and what only a file can show.

use manzana_engine::replica::conformance::{self, Fixture, OTHER, OWN};
use manzana_engine::replica::{IntentState, MemoryReplica};
use proptest::prelude::*;
use tempfile::TempDir;

use super::*;

/// A replica in a folder of its own.
struct OnDisk {
    folder: TempDir,
    opens: u8,
    store: Option<SqliteReplica>,
}

impl OnDisk {
    fn new() -> Self {
        let mut disk = Self::closed();
        assert_eq!(disk.open(), Continuity::First);
        disk
    }

    fn closed() -> Self {
        Self {
            folder: TempDir::new().unwrap(),
            opens: 0,
            store: None,
        }
    }

    fn path(&self) -> PathBuf {
        self.folder.path().join("replica.db")
    }

    fn open(&mut self) -> Continuity {
        self.store = None;
        self.opens += 1;
        let (store, continuity) = SqliteReplica::open(&self.path(), [self.opens; 16]).unwrap();
        self.store = Some(store);
        continuity
    }

    fn conn(&mut self) -> &Connection {
        &self.store().conn
    }
}

impl Fixture for OnDisk {
    type Store = SqliteReplica;

    fn store(&mut self) -> &mut SqliteReplica {
        self.store.as_mut().unwrap()
    }

    fn reopen(&mut self) {
        self.open();
    }

    fn fail_at_receipts(&mut self) {
        let trigger = "CREATE TEMP TRIGGER broken BEFORE INSERT ON main.receipts
            BEGIN SELECT RAISE(ABORT, 'asked for'); END";
        self.conn().execute_batch(trigger).unwrap();
    }

    fn documents_opened(&mut self) -> u64 {
        self.store().documents().opened()
    }
}

manzana_engine::replica_conformance!(OnDisk::new());

#[test]
fn no_read_or_drop_scans_a_table() {
    let mut disk = OnDisk::new();
    let mut scans = Vec::new();
    for sql in [
        META,
        crate::documents::READ,
        docs::DOC,
        docs::SCOPES,
        docs::DOCS_IN,
        docs::DIGEST,
        docs::DROP,
        docs::DROP_DIGEST,
        queue::ENVELOPE,
        queue::CHAIN,
        queue::OPEN_ENVELOPES,
        queue::CARRIED,
        queue::UNSENT,
        queue::ENVELOPE_DOCS,
        queue::DROP_ENVELOPE,
        queue::CLOSE_ENVELOPE,
        queue::INTENT,
        queue::TO_CORRECT,
        queue::OPEN_INTENTS,
        queue::INTENT_DOCS,
        queue::CLOSE_INTENT,
        queue::DROP_RECEIPTS,
    ] {
        let plan = plan(disk.conn(), sql);
        let searched = plan.iter().all(|step| step.starts_with("SEARCH "));
        if !searched {
            scans.push((sql, plan));
        }
    }
    assert!(scans.is_empty(), "{scans:#?}");
    assert_eq!(
        plan(disk.conn(), docs::LIST),
        ["SCAN docs USING INDEX docs_newest"]
    );
}

fn plan(conn: &Connection, sql: &str) -> Vec<String> {
    let mut statement = conn.prepare(&format!("EXPLAIN QUERY PLAN {sql}")).unwrap();
    let none = vec![rusqlite::types::Null; statement.parameter_count()];
    let none = rusqlite::params_from_iter(none);
    let steps = statement.query_map(none, |row| row.get(3)).unwrap();
    steps.map(Result::unwrap).collect()
}

#[test]
fn all_tables_are_strict() {
    let mut disk = OnDisk::new();
    assert_eq!(sqlite::loose_tables(disk.conn()).unwrap(), [""; 0]);
}

#[test]
fn a_full_disk_is_told_and_nothing_of_the_commit_is_written() {
    let mut disk = OnDisk::new();
    commit_meta(&mut disk, 1);
    let pages: i64 = disk
        .conn()
        .pragma_query_value(None, "page_count", |row| row.get(0))
        .unwrap();
    disk.conn()
        .pragma_update_and_check(None, "max_page_count", pages + 8, |_| Ok(()))
        .unwrap();
    let mut writes = vec![Write::Meta(vec![2])];
    for no in 1..40 {
        let mut row = conformance::doc_row(no, 5, &[Scope::City]);
        row.accepted = Some(vec![no; 4096]);
        writes.push(Write::Doc(Box::new(row)));
    }
    let full = disk.store().commit(writes.clone());
    assert!(matches!(full, Err(StoreError::Full)), "{full:?}");
    assert_eq!(disk.store().meta().unwrap(), Some(vec![1]));
    assert_eq!(disk.store().list().unwrap(), []);
    // Room again: the same commit succeeds.
    disk.reopen();
    disk.store().commit(writes).unwrap();
    assert_eq!(disk.store().list().unwrap().len(), 39);
}

#[test]
fn two_processes_cannot_hold_one_replica() {
    let disk = OnDisk::new();
    let second = SqliteReplica::open(&disk.path(), [9; 16]);
    assert!(matches!(second, Err(OpenError::Store(StoreError::Busy))));
}

#[test]
fn receipts_are_kept_for_thirty_days_of_city_time() {
    const DAY: i64 = 24 * 60 * 60 * 1000;
    let mut disk = OnDisk::new();
    for day in [0, 10, 30] {
        let receipt = Write::Receipt(conformance::receipt(day * DAY));
        disk.store().commit(vec![receipt]).unwrap();
    }
    let days = |disk: &mut OnDisk| disk.store().receipts(10).unwrap();
    let all = [30, 10, 0].map(|day| conformance::receipt(day * DAY));
    assert_eq!(days(&mut disk), all);
    let next = Write::Receipt(conformance::receipt(30 * DAY + 1));
    disk.store().commit(vec![next]).unwrap();
    assert_eq!(days(&mut disk)[1..], all[..2]);
}

// The open-token, with files. The table of all states is in token.rs.

fn commit_meta(disk: &mut OnDisk, no: u8) {
    disk.store().commit(vec![Write::Meta(vec![no])]).unwrap();
}

#[test]
fn a_store_is_first_until_something_is_committed_and_then_the_same() {
    let mut disk = OnDisk::new();
    assert_eq!(disk.open(), Continuity::First);
    commit_meta(&mut disk, 1);
    assert_eq!(disk.open(), Continuity::Same);
    assert_eq!(disk.open(), Continuity::Same);
    let token = std::fs::read(token_path(&disk.path())).unwrap();
    assert_eq!(token, [disk.opens; 16]);
}

#[test]
fn a_backup_put_back_is_told_until_the_replica_has_acted() {
    let mut disk = OnDisk::new();
    commit_meta(&mut disk, 1);
    disk.store = None;
    let backup = std::fs::read(disk.path()).unwrap();
    disk.open();
    commit_meta(&mut disk, 2);
    disk.store = None;
    std::fs::write(disk.path(), backup).unwrap();
    assert_eq!(disk.open(), Continuity::Restored);
    assert_eq!(disk.store().meta().unwrap(), Some(vec![1]));
    assert_eq!(disk.open(), Continuity::Restored, "nothing was committed");
    let receipt = Write::Receipt(conformance::receipt(1));
    disk.store().commit(vec![receipt]).unwrap();
    assert_eq!(disk.open(), Continuity::Restored, "not its own state");
    commit_meta(&mut disk, 3);
    assert_eq!(disk.open(), Continuity::Same);
}

#[test]
fn a_copy_without_the_file_beside_it_is_restored() {
    let mut disk = OnDisk::new();
    commit_meta(&mut disk, 1);
    disk.store = None;
    let mut phone = OnDisk::closed();
    std::fs::copy(disk.path(), phone.path()).unwrap();
    assert_eq!(phone.open(), Continuity::Restored);
}

#[test]
fn a_lost_database_is_not_taken_for_a_first_one() {
    let mut disk = OnDisk::new();
    commit_meta(&mut disk, 1);
    disk.store = None;
    std::fs::remove_file(disk.path()).unwrap();
    assert_eq!(disk.open(), Continuity::Restored);
}

#[test]
fn crashes_between_the_two_writes_of_a_token_are_no_restore() {
    let mut disk = OnDisk::new();
    commit_meta(&mut disk, 1);
    let file = std::fs::read(token_path(&disk.path())).unwrap();
    for _ in 0..3 {
        assert_eq!(disk.open(), Continuity::Same);
        // As if the process had ended before the file was replaced.
        disk.store = None;
        std::fs::write(token_path(&disk.path()), &file).unwrap();
    }
    assert_eq!(disk.open(), Continuity::Same);
}

#[test]
fn a_crash_between_the_two_writes_of_the_first_token_is_no_restore() {
    let mut disk = OnDisk::new();
    disk.store = None;
    std::fs::remove_file(token_path(&disk.path())).unwrap();
    disk.store = Some(reset_file_token(&disk.path()));
    assert_eq!(disk.open(), Continuity::First);
}

/// The database as the first open leaves it.
fn reset_file_token(path: &Path) -> SqliteReplica {
    let conn = sqlite::open_with(path, &REPLICA_SCHEMA, Sharing::Exclusive, WAIT).unwrap();
    conn.execute("UPDATE own SET file_token = NULL", [])
        .unwrap();
    SqliteReplica {
        conn,
        path: path.to_owned(),
        documents: DocumentCounter::default(),
    }
}

#[test]
fn a_fresh_token_tells_apart_the_backups_taken_before_it() {
    let mut disk = OnDisk::new();
    commit_meta(&mut disk, 1);
    disk.store = None;
    let backup = std::fs::read(disk.path()).unwrap();
    let (mut store, _) = SqliteReplica::open(&disk.path(), [70; 16]).unwrap();
    assert_eq!(store.refresh_token([71; 16]).unwrap(), Continuity::Same);
    drop(store);
    std::fs::write(disk.path(), backup).unwrap();
    assert_eq!(disk.open(), Continuity::Restored);
}

// Equality with the model in memory, for any sequence of commits.

fn scope() -> impl Strategy<Value = Scope> {
    prop_oneof![
        Just(Scope::City),
        (1..3_u32).prop_map(Scope::Block),
        (1..3_u64).prop_map(Scope::Author),
    ]
}

fn docs_of() -> impl Strategy<Value = Vec<u8>> {
    proptest::collection::btree_set(1..4_u8, 0..3).prop_map(|set| set.into_iter().collect())
}

fn device() -> impl Strategy<Value = DeviceId> {
    prop_oneof![Just(OWN), Just(OTHER)]
}

fn answers() -> impl Strategy<Value = Option<Vec<manzana_engine::answer::Answer>>> {
    use manzana_engine::answer::{Answer, HeldReason};
    let accepted = Answer::Accepted {
        seq: 1,
        folio: None,
    };
    let held = Answer::Held {
        reason: HeldReason::Quarantined,
    };
    let answer = prop_oneof![Just(accepted), Just(held)];
    proptest::option::of(proptest::collection::vec(answer, 1..3))
}

fn state() -> impl Strategy<Value = IntentState> {
    let pending = IntentState::Pending {
        incarnation: 1,
        n: 1,
        group: 0,
    };
    let to_correct = IntentState::ToCorrect {
        rule: manzana_engine::policy::Rule::BadValue,
        field: None,
    };
    prop_oneof![
        Just(pending),
        Just(to_correct),
        Just(IntentState::Held {
            incarnation: 1,
            n: 5,
            group: 0,
        }),
        Just(IntentState::Accepted { seq: 1 }),
        Just(IntentState::Closed),
    ]
}

fn any_write() -> impl Strategy<Value = Write> {
    let doc = (1..4_u8, -2..3_i64, proptest::collection::vec(scope(), 0..3)).prop_map(
        |(no, captured_at, scopes)| {
            Write::Doc(Box::new(conformance::doc_row(no, captured_at, &scopes)))
        },
    );
    let envelope = (device(), 1..3_u32, 1..4_u64, docs_of(), answers()).prop_map(
        |(device, incarnation, n, docs, answers)| {
            let mut row = conformance::envelope_row(device, incarnation, n, &docs);
            row.answers = answers;
            Write::Envelope(Box::new(row))
        },
    );
    let intent = (1..4_u32, state(), docs_of())
        .prop_map(|(no, state, docs)| Write::Intent(conformance::intent_row(no, state, &docs)));
    prop_oneof![
        1 => any::<u8>().prop_map(|byte| Write::Meta(vec![byte])),
        4 => doc,
        1 => (1..4_u8).prop_map(|no| Write::DropDoc(conformance::doc_id(no))),
        6 => envelope,
        2 => (device(), 1..3_u32, 1..4_u64).prop_map(|(d, i, n)| Write::DropEnvelope(d, i, n)),
        4 => intent,
        1 => (scope(), any::<u8>()).prop_map(|(s, no)| Write::Digest(s, conformance::set_hash(no))),
        1 => scope().prop_map(Write::DropDigest),
    ]
}

fn same(a: &SqliteReplica, b: &MemoryReplica) -> Result<(), TestCaseError> {
    prop_assert_eq!(a.meta().unwrap(), b.meta().unwrap());
    prop_assert_eq!(a.list().unwrap(), b.list().unwrap());
    for chain in [1, 2] {
        prop_assert_eq!(
            a.carried(&OWN, chain, 3).unwrap(),
            b.carried(&OWN, chain, 3).unwrap()
        );
    }
    for device in [OWN, OTHER] {
        prop_assert_eq!(a.unsent(&device).unwrap(), b.unsent(&device).unwrap());
    }
    prop_assert_eq!(a.to_correct().unwrap(), b.to_correct().unwrap());
    for doc in (1..4).map(conformance::doc_id) {
        prop_assert_eq!(a.doc(&doc).unwrap(), b.doc(&doc).unwrap());
        prop_assert_eq!(
            a.open_envelopes_of(&doc).unwrap(),
            b.open_envelopes_of(&doc).unwrap()
        );
        prop_assert_eq!(
            a.open_intents_of(&doc).unwrap(),
            b.open_intents_of(&doc).unwrap()
        );
    }
    for (device, incarnation) in [(OWN, 1), (OWN, 2), (OTHER, 1), (OTHER, 2)] {
        prop_assert_eq!(
            a.envelopes_from(&device, incarnation, 2, 2).unwrap(),
            b.envelopes_from(&device, incarnation, 2, 2).unwrap()
        );
    }
    for scope in [Scope::City, Scope::Block(1), Scope::Author(2)] {
        prop_assert_eq!(a.docs_in(&scope).unwrap(), b.docs_in(&scope).unwrap());
        prop_assert_eq!(a.digest(&scope).unwrap(), b.digest(&scope).unwrap());
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn any_commits_leave_what_the_model_has(
        commits in proptest::collection::vec(proptest::collection::vec(any_write(), 0..6), 1..8)
    ) {
        let mut disk = OnDisk::new();
        let mut model = MemoryReplica::default();
        for writes in commits {
            disk.store().commit(writes.clone()).unwrap();
            model.commit(writes).unwrap();
            same(disk.store(), &model)?;
        }
        disk.reopen();
        same(disk.store(), &model)?;
    }
}
