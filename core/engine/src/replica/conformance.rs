//! What every [`ReplicaStore`] promises, as tests that a backend joins with one macro line.
//!
//! A backend writes a [`Fixture`] and, in a test module,
//! `manzana_engine::replica_conformance!(make_fixture());`. Behind the feature `conformance`.

use core::fmt::Debug;

use minicbor::bytes::ByteVec;

use super::{DocRow, EnvelopeRow, IntentRow, IntentState, ReplicaStore, Write};
use crate::answer::{Answer, EnvelopeAnswer, HeldReason, ReceiptBody, SignedReceipt};
use crate::codec;
use crate::digest::SetHash;
use crate::envelope::{ChainContext, Entry, Envelope, EnvelopeBody};
use crate::fold::Status;
use crate::grant::Scope;
use crate::ids::{CatalogId, CityId, DeviceId, DocId, GrantId, Hash, RecordId};
use crate::policy::Rule;
use crate::record::CatalogRef;
use crate::summary::{DocKind, Priority, Summary};

/// The device whose store it is.
pub const OWN: DeviceId = DeviceId([0x11; 16]);
/// Another device, whose envelopes are carried. Its id sorts before [`OWN`].
pub const OTHER: DeviceId = DeviceId([0x01; 16]);

/// An empty store under test.
pub trait Fixture {
    /// The backend.
    type Store: ReplicaStore;
    /// The store, open.
    fn store(&mut self) -> &mut Self::Store;
    /// Closes the store and opens it again, as after the end of a process.
    fn reopen(&mut self);
    /// From now on until it is reopened, a commit fails when it comes to a [`Write::Receipt`]; a
    /// durable backend has done the writes before it in the list by then.
    fn fail_at_receipts(&mut self);
    /// Documents opened since the store was.
    fn documents_opened(&mut self) -> u64;
}

/// Joins a backend to the suite: one test for each promise, each on a fixture of its own.
#[macro_export]
macro_rules! replica_conformance {
    ($fixture:expr) => {
        $crate::replica_conformance!(@ $fixture;
            an_empty_store_has_nothing
            its_own_state_is_replaced
            a_document_comes_back_whole_and_is_replaced_whole
            a_list_is_newest_first_and_opens_no_document
            a_dropped_document_leaves_nothing
            a_document_is_found_by_its_present_scopes
            an_envelope_comes_back_whole_and_is_replaced
            a_chain_is_read_in_order_from_any_place
            the_own_chains_are_told_with_their_ends
            receipts_are_read_back_newest_first
            envelopes_not_answered_for_good_are_found_by_document
            what_stands_is_told_without_opening_it
            carried_envelopes_wait_in_the_order_they_came
            unsent_counts_own_envelopes_of_all_incarnations
            a_dropped_envelope_leaves_nothing
            intents_to_correct_come_oldest_first
            open_intents_are_found_by_document
            a_digest_is_replaced_and_forgotten
            dropping_what_is_not_there_changes_nothing
            later_writes_of_a_commit_win
            a_commit_that_fails_leaves_nothing
            everything_is_there_after_reopening
        );
    };
    (@ $fixture:expr; $($promise:ident)*) => {
        $(
            #[test]
            fn $promise() {
                $crate::replica::conformance::$promise(&mut $fixture);
            }
        )*
    };
}

// These functions are tests, wherever they are compiled.
#[allow(clippy::expect_used)]
fn ok<T, E: Debug>(result: Result<T, E>) -> T {
    result.expect("the store works")
}

fn commit<F: Fixture>(fixture: &mut F, writes: impl IntoIterator<Item = Write>) {
    ok(fixture.store().commit(writes.into_iter().collect()));
}

/// A document id.
pub fn doc_id(no: u8) -> DocId {
    DocId([no; 16])
}

/// An intent's id.
pub fn record_id(no: u32) -> RecordId {
    RecordId::new(&OWN, no)
}

/// A summary with something in every field, captured at this time.
pub fn summary(captured_at: i64) -> Summary {
    let catalog = |id: CatalogId, name: &str| CatalogRef {
        id,
        name: name.to_owned(),
    };
    Summary {
        doc_kind: DocKind::Petition,
        capture: record_id(7),
        author: 12,
        title: "LÁMPARA FUNDIDA".to_owned(),
        captured_agency: Some(catalog(1, "Dirección de Alumbrado Publico")),
        agencies: vec![catalog(1, "Dirección de Alumbrado Publico")],
        service: Some(catalog(2, "Luminaria")),
        neighborhood: Some(catalog(3, "COL. PETROLERA")),
        location: "NUEVO LEON ENTRE MEXICO Y MICHOACAN".to_owned(),
        channel: Some(catalog(4, "Vía Jefes de Manzana")),
        block: Some(5),
        sector: Some(6),
        crews: vec![8, 9],
        priority: Priority::Risk,
        status: Status::Pending,
        unconfirmed: true,
        conflict: true,
        review: true,
        is_final: true,
        accepted: true,
        captured_at,
        comments: 3,
        heads: vec![Hash([1; 32]), Hash([2; 32])],
        ops: 60,
        changes: 4,
    }
}

/// A document with something in every field.
pub fn doc_row(no: u8, captured_at: i64, scopes: &[Scope]) -> DocRow {
    DocRow {
        doc: doc_id(no),
        accepted: Some(vec![no, 1]),
        accepted_heads: vec![Hash([no; 32])],
        accepted_scopes: scopes.to_vec(),
        shown: Some(vec![no, 2]),
        summary: summary(captured_at),
        creation_seq: Some(40),
        folio: Some(30_851),
        provisional: 2,
        quarantined: true,
    }
}

/// An envelope of this device in this place, touching these documents, unanswered.
pub fn envelope_row(device: DeviceId, incarnation: u32, n: u64, docs: &[u8]) -> EnvelopeRow {
    let entry = |no: &u8| Entry {
        doc: doc_id(*no),
        change: vec![*no; 20],
    };
    let body = EnvelopeBody {
        n,
        device_time: 1_000 + n as i64,
        city_head: 5,
        groups: docs.iter().map(|no| vec![entry(no)]).collect(),
        detached: Vec::new(),
    };
    let envelope = Envelope {
        context: ChainContext {
            city: CityId([3; 16]),
            device,
            incarnation,
            prev: Hash([4; 32]),
            grant: GrantId([5; 16]),
        },
        body: codec::encode(&body),
        signature: [6; 64],
        parts: vec![ByteVec::from(vec![1, 2, 3])],
    };
    EnvelopeRow {
        hash: envelope.hash(),
        envelope,
        n,
        answers: None,
        docs: docs.iter().copied().map(doc_id).collect(),
    }
}

/// An intent in this state, touching these documents.
pub fn intent_row(no: u32, state: IntentState, docs: &[u8]) -> IntentRow {
    IntentRow {
        id: record_id(no),
        intent: vec![no as u8; 9],
        state,
        docs: docs.iter().copied().map(doc_id).collect(),
    }
}

/// A receipt of this city time. Its signature is not one.
pub fn receipt(time: i64) -> SignedReceipt {
    let body = ReceiptBody {
        city: CityId([3; 16]),
        epoch: 1,
        device: OWN,
        time,
        answers: vec![EnvelopeAnswer {
            no: 1,
            incarnation: 1,
            n: 1,
            hash: Hash([1; 32]),
            groups: vec![accepted()],
        }],
    };
    SignedReceipt {
        body: codec::encode(&body),
        signature: [7; 64],
    }
}

/// A digest with one member.
pub fn set_hash(no: u8) -> SetHash {
    let mut set = SetHash::default();
    set.add(&doc_id(no), &[Hash([no; 32])]);
    set
}

fn accepted() -> Answer {
    Answer::Accepted {
        seq: 9,
        folio: Some(30_851),
    }
}

fn held() -> Answer {
    Answer::Held {
        reason: HeldReason::GrantExpired,
    }
}

fn waiting() -> Answer {
    let deps = vec![Hash([8; 32])];
    Answer::Waiting { deps }
}

fn pending(n: u64) -> IntentState {
    IntentState::Pending {
        incarnation: 1,
        n,
        group: 0,
    }
}

fn to_correct() -> IntentState {
    IntentState::ToCorrect {
        rule: Rule::AlreadyFinal,
        field: Some("status".to_owned()),
    }
}

fn in_review() -> IntentState {
    IntentState::Held {
        incarnation: 1,
        n: 5,
        group: 0,
    }
}

fn put_doc(row: DocRow) -> Write {
    Write::Doc(Box::new(row))
}

fn put_envelope(row: &EnvelopeRow) -> Write {
    Write::Envelope(Box::new(row.clone()))
}

fn answered(row: &EnvelopeRow, answers: &[Answer]) -> Write {
    put_envelope(&EnvelopeRow {
        answers: Some(answers.to_vec()),
        ..row.clone()
    })
}

fn places(rows: Vec<EnvelopeRow>) -> Vec<(u32, u64)> {
    let place = |row: &EnvelopeRow| (row.envelope.context.incarnation, row.n);
    rows.iter().map(place).collect()
}

fn numbers(rows: Vec<IntentRow>) -> Vec<u32> {
    rows.iter().map(|row| row.id.number()).collect()
}

/// Nothing is found in a new store, and its digests are empty.
pub fn an_empty_store_has_nothing<F: Fixture>(fixture: &mut F) {
    let store = fixture.store();
    assert_eq!(ok(store.meta()), None);
    assert_eq!(ok(store.doc(&doc_id(1))), None);
    assert_eq!(ok(store.list()), []);
    assert_eq!(ok(store.envelope(&OWN, 1, 1)), None);
    assert_eq!(ok(store.envelopes_from(&OWN, 1, 0, 10)), []);
    assert_eq!(ok(store.open_envelopes_of(&doc_id(1))), []);
    assert_eq!(ok(store.carried(&OWN, 1, 10)), []);
    assert_eq!(ok(store.unsent(&OWN)), (0, None));
    assert_eq!(ok(store.intent(&record_id(1))), None);
    assert_eq!(ok(store.to_correct()), []);
    assert_eq!(ok(store.open_intents_of(&doc_id(1))), []);
    assert_eq!(ok(store.digest(&Scope::City)), SetHash::default());
    assert_eq!(ok(store.docs_in(&Scope::City)), []);
}

/// The last state written is the one read; an empty one is not "none".
pub fn its_own_state_is_replaced<F: Fixture>(fixture: &mut F) {
    commit(fixture, [Write::Meta(vec![1, 2])]);
    assert_eq!(ok(fixture.store().meta()), Some(vec![1, 2]));
    commit(fixture, [Write::Meta(Vec::new())]);
    assert_eq!(ok(fixture.store().meta()), Some(Vec::new()));
}

/// Every field survives, `None` as well as empty.
pub fn a_document_comes_back_whole_and_is_replaced_whole<F: Fixture>(fixture: &mut F) {
    let full = doc_row(1, 5, &[Scope::Sector(6), Scope::Block(5), Scope::City]);
    let bare = DocRow {
        accepted: None,
        accepted_heads: Vec::new(),
        accepted_scopes: Vec::new(),
        shown: Some(Vec::new()),
        creation_seq: None,
        folio: None,
        provisional: 0,
        quarantined: false,
        ..full.clone()
    };
    for row in [full.clone(), bare, full] {
        commit(fixture, [put_doc(row.clone())]);
        assert_eq!(ok(fixture.store().doc(&row.doc)), Some(row));
    }
    assert_eq!(ok(fixture.store().list()).len(), 1);
}

/// Newest captured first, then by id; without the documents' bytes.
pub fn a_list_is_newest_first_and_opens_no_document<F: Fixture>(fixture: &mut F) {
    for (no, captured_at) in [(3, 10), (1, 30), (4, -5), (2, 10)] {
        commit(fixture, [put_doc(doc_row(no, captured_at, &[Scope::City]))]);
    }
    let opened = fixture.documents_opened();
    let list = ok(fixture.store().list());
    let expected = [(1, 30), (2, 10), (3, 10), (4, -5)].map(|(no, captured_at)| DocRow {
        accepted: None,
        shown: None,
        ..doc_row(no, captured_at, &[Scope::City])
    });
    assert_eq!(list, expected);
    assert_eq!(fixture.documents_opened(), opened);
    ok(fixture.store().doc(&doc_id(1)));
    assert_eq!(fixture.documents_opened(), opened + 1);
}

/// It is in no list and in no scope, and may come again.
pub fn a_dropped_document_leaves_nothing<F: Fixture>(fixture: &mut F) {
    commit(fixture, [put_doc(doc_row(1, 5, &[Scope::City]))]);
    commit(fixture, [Write::DropDoc(doc_id(1))]);
    assert_eq!(ok(fixture.store().doc(&doc_id(1))), None);
    assert_eq!(ok(fixture.store().list()), []);
    assert_eq!(ok(fixture.store().docs_in(&Scope::City)), []);
    let again = doc_row(1, 6, &[Scope::Block(5)]);
    commit(fixture, [put_doc(again.clone())]);
    assert_eq!(ok(fixture.store().doc(&doc_id(1))), Some(again));
    assert_eq!(ok(fixture.store().docs_in(&Scope::City)), []);
}

/// Those of its last write and no others; documents of a scope come sorted.
pub fn a_document_is_found_by_its_present_scopes<F: Fixture>(fixture: &mut F) {
    let (crew, block) = (Scope::Crew(8), Scope::Block(5));
    for no in [2, 1] {
        commit(
            fixture,
            [put_doc(doc_row(no, 5, &[crew.clone(), block.clone()]))],
        );
    }
    assert_eq!(ok(fixture.store().docs_in(&crew)), [doc_id(1), doc_id(2)]);
    let opened = fixture.documents_opened();
    let heads = ok(fixture.store().heads_in(&crew));
    assert_eq!(fixture.documents_opened(), opened, "no document is opened");
    let docs: Vec<DocId> = heads.iter().map(|(doc, _)| *doc).collect();
    assert_eq!(docs, [doc_id(1), doc_id(2)]);
    for (doc, heads) in heads {
        let row = ok(fixture.store().doc(&doc));
        assert_eq!(row.map(|row| row.accepted_heads), Some(heads));
    }
    commit(
        fixture,
        [put_doc(doc_row(1, 5, &[block.clone(), Scope::Author(8)]))],
    );
    let store = fixture.store();
    assert_eq!(ok(store.docs_in(&crew)), [doc_id(2)]);
    assert_eq!(ok(store.docs_in(&block)), [doc_id(1), doc_id(2)]);
    assert_eq!(ok(store.docs_in(&Scope::Author(8))), [doc_id(1)]);
    assert_eq!(ok(store.docs_in(&Scope::Crew(88))), []);
}

/// Documents with a row, and those that only open envelopes touch; each once, whatever is asked.
pub fn what_stands_is_told_without_opening_it<F: Fixture>(fixture: &mut F) {
    let open = envelope_row(OWN, 1, 1, &[2, 3]);
    let closed = envelope_row(OWN, 1, 2, &[4]);
    let writes = [
        put_doc(doc_row(1, 5, &[Scope::City])),
        put_doc(doc_row(2, 5, &[])),
        put_envelope(&open),
        put_envelope(&closed),
        answered(&closed, &[accepted()]),
    ];
    commit(fixture, writes);
    let opened = fixture.documents_opened();
    let asked = [5, 4, 3, 2, 1, 3].map(doc_id);
    let standing = ok(fixture.store().standing(&asked));
    assert_eq!(standing, [1, 2, 3].map(doc_id).into());
    assert_eq!(ok(fixture.store().standing(&[])), [].into());
    assert_eq!(fixture.documents_opened(), opened);
}

/// With its answers and its documents, by (device, incarnation, n).
pub fn an_envelope_comes_back_whole_and_is_replaced<F: Fixture>(fixture: &mut F) {
    let row = envelope_row(OWN, 1, 1, &[1, 2]);
    commit(fixture, [put_envelope(&row)]);
    assert_eq!(ok(fixture.store().envelope(&OWN, 1, 1)), Some(row.clone()));
    assert_eq!(ok(fixture.store().envelope(&OWN, 2, 1)), None);
    assert_eq!(ok(fixture.store().envelope(&OTHER, 1, 1)), None);
    let answered = EnvelopeRow {
        answers: Some(vec![accepted(), waiting()]),
        ..row
    };
    commit(fixture, [put_envelope(&answered)]);
    assert_eq!(ok(fixture.store().envelope(&OWN, 1, 1)), Some(answered));
}

/// One chain, in order, answered or not, at most `limit`.
pub fn a_chain_is_read_in_order_from_any_place<F: Fixture>(fixture: &mut F) {
    for n in [3, 1, 300, 2] {
        commit(fixture, [put_envelope(&envelope_row(OWN, 1, n, &[1]))]);
    }
    commit(fixture, [put_envelope(&envelope_row(OWN, 2, 4, &[1]))]);
    commit(fixture, [put_envelope(&envelope_row(OTHER, 1, 5, &[1]))]);
    commit(
        fixture,
        [answered(&envelope_row(OWN, 1, 3, &[1]), &[accepted()])],
    );
    let store = fixture.store();
    let from =
        |store: &F::Store, from, limit| places(ok(store.envelopes_from(&OWN, 1, from, limit)));
    assert_eq!(from(store, 0, 10), [(1, 1), (1, 2), (1, 3), (1, 300)]);
    assert_eq!(from(store, 2, 2), [(1, 2), (1, 3)]);
    assert_eq!(from(store, 4, 10), [(1, 300)]);
    assert_eq!(from(store, 301, 10), []);
    assert_eq!(from(store, 0, 0), []);
    assert_eq!(from(store, 0, usize::MAX).len(), 4);
}

/// Unanswered, held and waiting ones; once all groups have a final answer, no more. In the order in
/// which they were first stored, whatever replaced them since.
pub fn envelopes_not_answered_for_good_are_found_by_document<F: Fixture>(fixture: &mut F) {
    let rows = [
        envelope_row(OWN, 2, 1, &[1, 2]),
        envelope_row(OTHER, 1, 1, &[1]),
        envelope_row(OWN, 1, 1, &[1, 3]),
    ];
    commit(fixture, rows.iter().map(put_envelope));
    let open = |fixture: &mut F, no| {
        let rows = ok(fixture.store().open_envelopes_of(&doc_id(no)));
        rows.iter()
            .map(|row| {
                (
                    row.envelope.context.device,
                    row.envelope.context.incarnation,
                )
            })
            .collect::<Vec<_>>()
    };
    assert_eq!(open(fixture, 1), [(OWN, 2), (OTHER, 1), (OWN, 1)]);
    assert_eq!(open(fixture, 2), [(OWN, 2)]);

    commit(fixture, [answered(&rows[0], &[accepted(), held()])]);
    commit(fixture, [answered(&rows[1], &[waiting()])]);
    assert_eq!(open(fixture, 1), [(OWN, 2), (OTHER, 1), (OWN, 1)]);

    let refused = Answer::Refused {
        rule: Rule::AlreadyFinal,
        field: None,
    };
    let orphaned = Answer::Orphaned { by: Hash([9; 32]) };
    commit(fixture, [answered(&rows[0], &[accepted(), refused])]);
    commit(fixture, [answered(&rows[1], &[orphaned])]);
    assert_eq!(open(fixture, 1), [(OWN, 1)]);
    assert_eq!(open(fixture, 2), []);

    // Replaced by one that touches other documents (a carrier learns them only once it can read it).
    commit(fixture, [put_envelope(&envelope_row(OWN, 1, 1, &[4]))]);
    assert_eq!(open(fixture, 1), []);
    assert_eq!(open(fixture, 4), [(OWN, 1)]);
}

/// Unanswered ones outside the chain in use, in the order in which they were first stored.
pub fn carried_envelopes_wait_in_the_order_they_came<F: Fixture>(fixture: &mut F) {
    let rows = [3, 1, 2].map(|n| envelope_row(OTHER, 1, n, &[1]));
    commit(fixture, rows.iter().map(put_envelope));
    commit(fixture, [put_envelope(&envelope_row(OWN, 1, 9, &[1]))]);
    commit(fixture, [put_envelope(&rows[0])]);
    let carried = |fixture: &mut F, limit| {
        let rows = ok(fixture.store().carried(&OWN, 1, limit));
        places(rows)
    };
    assert_eq!(carried(fixture, 10), [(1, 3), (1, 1), (1, 2)]);
    assert_eq!(carried(fixture, 2), [(1, 3), (1, 1)]);
    // An earlier life of the own store is carried like a stranger's.
    let earlier = ok(fixture.store().carried(&OWN, 2, 10));
    assert_eq!(places(earlier), [(1, 3), (1, 1), (1, 2), (1, 9)]);
    commit(fixture, [answered(&rows[1], &[waiting()])]);
    assert_eq!(carried(fixture, 10), [(1, 3), (1, 2)]);
}

/// How many, and the oldest device time among them: what the screen says is waiting.
pub fn unsent_counts_own_envelopes_of_all_incarnations<F: Fixture>(fixture: &mut F) {
    let (first, second) = (envelope_row(OWN, 1, 8, &[1]), envelope_row(OWN, 2, 3, &[1]));
    let other = envelope_row(OTHER, 1, 1, &[1]);
    commit(fixture, [&first, &second, &other].map(put_envelope));
    assert_eq!(ok(fixture.store().unsent(&OWN)), (2, Some(1_003)));
    commit(fixture, [answered(&second, &[accepted()])]);
    assert_eq!(ok(fixture.store().unsent(&OWN)), (1, Some(1_008)));
    commit(fixture, [answered(&first, &[waiting()])]);
    assert_eq!(ok(fixture.store().unsent(&OWN)), (0, None));
}

/// It is in no chain and with no document.
pub fn a_dropped_envelope_leaves_nothing<F: Fixture>(fixture: &mut F) {
    commit(fixture, [put_envelope(&envelope_row(OTHER, 1, 1, &[1]))]);
    commit(fixture, [put_envelope(&envelope_row(OTHER, 1, 2, &[1]))]);
    commit(fixture, [Write::DropEnvelope(OTHER, 1, 2)]);
    let store = fixture.store();
    assert_eq!(ok(store.envelope(&OTHER, 1, 2)), None);
    assert_eq!(places(ok(store.open_envelopes_of(&doc_id(1)))), [(1, 1)]);
    assert_eq!(places(ok(store.carried(&OWN, 1, 10))), [(1, 1)]);
    assert_eq!(places(ok(store.envelopes_from(&OTHER, 1, 0, 10))), [(1, 1)]);
}

/// Only those in `ToCorrect`, in the order in which they were first stored.
pub fn intents_to_correct_come_oldest_first<F: Fixture>(fixture: &mut F) {
    for no in [3, 1, 2] {
        let row = intent_row(no, pending(1), &[1]);
        commit(fixture, [Write::Intent(row.clone())]);
        assert_eq!(ok(fixture.store().intent(&record_id(no))), Some(row));
    }
    assert_eq!(ok(fixture.store().to_correct()), []);
    for no in [1, 3] {
        commit(fixture, [Write::Intent(intent_row(no, to_correct(), &[1]))]);
    }
    let rows = ok(fixture.store().to_correct());
    assert_eq!(rows[0], intent_row(3, to_correct(), &[1]));
    assert_eq!(numbers(rows), [3, 1]);
    let closed = intent_row(3, IntentState::Closed, &[1]);
    commit(fixture, [Write::Intent(closed)]);
    assert_eq!(numbers(ok(fixture.store().to_correct())), [1]);
}

/// Pending and held ones, in the order in which they were first stored.
pub fn open_intents_are_found_by_document<F: Fixture>(fixture: &mut F) {
    for (no, docs) in [(5, [1, 2]), (4, [1, 3]), (6, [2, 3])] {
        let row = intent_row(no, pending(u64::from(no)), &docs);
        commit(fixture, [Write::Intent(row)]);
    }
    let open = |fixture: &mut F, no| numbers(ok(fixture.store().open_intents_of(&doc_id(no))));
    assert_eq!(open(fixture, 1), [5, 4]);
    commit(
        fixture,
        [Write::Intent(intent_row(5, in_review(), &[1, 2]))],
    );
    assert_eq!(open(fixture, 1), [5, 4]);
    assert_eq!(open(fixture, 2), [5, 6]);
    assert_eq!(numbers(ok(fixture.store().held())), [5]);
    for (no, state) in [
        (5, IntentState::Accepted { seq: 3 }),
        (6, to_correct()),
        (4, IntentState::Closed),
    ] {
        commit(fixture, [Write::Intent(intent_row(no, state, &[1, 2, 3]))]);
    }
    let accepted = |fixture: &mut F, seq| numbers(ok(fixture.store().intents_accepted_at(seq)));
    assert_eq!(accepted(fixture, 3), [5]);
    assert_eq!(accepted(fixture, 4), []);
    assert_eq!(open(fixture, 1), []);
    assert_eq!(open(fixture, 2), []);
    assert_eq!(open(fixture, 3), []);
    assert_eq!(ok(fixture.store().held()), []);
}

/// Empty before and after.
pub fn a_digest_is_replaced_and_forgotten<F: Fixture>(fixture: &mut F) {
    let scope = Scope::Block(5);
    for no in [1, 2] {
        commit(fixture, [Write::Digest(scope.clone(), set_hash(no))]);
        assert_eq!(ok(fixture.store().digest(&scope)), set_hash(no));
    }
    assert_eq!(ok(fixture.store().digest(&Scope::City)), SetHash::default());
    commit(fixture, [Write::DropDigest(scope.clone())]);
    assert_eq!(ok(fixture.store().digest(&scope)), SetHash::default());
}

/// A repeated drop is no error: a machine may repeat what it is not sure of.
pub fn dropping_what_is_not_there_changes_nothing<F: Fixture>(fixture: &mut F) {
    commit(
        fixture,
        [
            Write::DropDoc(doc_id(1)),
            Write::DropEnvelope(OTHER, 1, 1),
            Write::DropDigest(Scope::City),
        ],
    );
    commit(fixture, []);
    an_empty_store_has_nothing(fixture);
}

/// A commit's writes apply in order.
pub fn later_writes_of_a_commit_win<F: Fixture>(fixture: &mut F) {
    let kept = doc_row(2, 9, &[Scope::City]);
    commit(
        fixture,
        [
            Write::Meta(vec![1]),
            put_doc(doc_row(1, 5, &[Scope::City])),
            Write::DropDoc(doc_id(2)),
            put_doc(doc_row(2, 5, &[Scope::Catalog])),
            Write::Meta(vec![2]),
            Write::DropDoc(doc_id(1)),
            put_doc(kept.clone()),
        ],
    );
    let store = fixture.store();
    assert_eq!(ok(store.meta()), Some(vec![2]));
    assert_eq!(ok(store.doc(&doc_id(1))), None);
    assert_eq!(ok(store.doc(&doc_id(2))), Some(kept));
    assert_eq!(ok(store.docs_in(&Scope::City)), [doc_id(2)]);
    assert_eq!(ok(store.docs_in(&Scope::Catalog)), []);
}

/// One write of each kind, with this byte in all of them.
fn one_of_each(no: u8) -> Vec<Write> {
    vec![
        Write::Meta(vec![no]),
        put_doc(doc_row(no, 5, &[Scope::City, Scope::Block(5)])),
        put_envelope(&envelope_row(OWN, 1, u64::from(no), &[no])),
        put_envelope(&envelope_row(OTHER, 1, u64::from(no), &[no])),
        Write::Intent(intent_row(u32::from(no), to_correct(), &[no])),
        Write::Intent(intent_row(100 + u32::from(no), pending(1), &[no])),
        Write::Digest(Scope::City, set_hash(no)),
    ]
}

/// What [`one_of_each`] of 1 alone leaves.
fn only_the_first<F: Fixture>(fixture: &mut F) {
    let store = fixture.store();
    let first = doc_row(1, 5, &[Scope::City, Scope::Block(5)]);
    assert_eq!(ok(store.meta()), Some(vec![1]));
    assert_eq!(ok(store.doc(&doc_id(1))), Some(first));
    assert_eq!(ok(store.list()).len(), 1);
    assert_eq!(places(ok(store.envelopes_from(&OWN, 1, 0, 9))), [(1, 1)]);
    assert_eq!(places(ok(store.carried(&OWN, 1, 9))), [(1, 1)]);
    assert_eq!(ok(store.open_envelopes_of(&doc_id(1))).len(), 2);
    assert_eq!(ok(store.open_envelopes_of(&doc_id(2))), []);
    assert_eq!(ok(store.unsent(&OWN)), (1, Some(1_001)));
    assert_eq!(numbers(ok(store.to_correct())), [1]);
    assert_eq!(numbers(ok(store.open_intents_of(&doc_id(1)))), [101]);
    assert_eq!(ok(store.open_intents_of(&doc_id(2))), []);
    assert_eq!(ok(store.digest(&Scope::City)), set_hash(1));
    assert_eq!(ok(store.docs_in(&Scope::City)), [doc_id(1)]);
}

/// Those of others are not among them.
pub fn the_own_chains_are_told_with_their_ends<F: Fixture>(fixture: &mut F) {
    assert_eq!(ok(fixture.store().own_chains(&OWN)), []);
    for (device, incarnation, n) in [(OWN, 7, 1), (OWN, 7, 2), (OWN, 3, 5), (OTHER, 7, 9)] {
        commit(
            fixture,
            [put_envelope(&envelope_row(device, incarnation, n, &[1]))],
        );
    }
    let mut chains = ok(fixture.store().own_chains(&OWN));
    chains.sort_unstable();
    assert_eq!(chains, [(3, 5), (7, 2)]);
}

/// In pieces that join without a gap, wherever one begins.
pub fn receipts_are_read_back_newest_first<F: Fixture>(fixture: &mut F) {
    for time in 1..=5 {
        commit(fixture, [Write::Receipt(receipt(time))]);
    }
    let store = fixture.store();
    let (mut before, mut read) = (u64::MAX, Vec::new());
    loop {
        let piece = ok(store.receipts_before(before, 2));
        let Some((last, _)) = piece.last() else { break };
        before = *last;
        read.extend(piece.into_iter().map(|(_, receipt)| receipt));
    }
    assert_eq!(read, [5, 4, 3, 2, 1].map(receipt));
    assert_eq!(ok(store.receipts_before(u64::MAX, 0)), []);
}

/// Neither at once nor after reopening; and the store goes on working.
pub fn a_commit_that_fails_leaves_nothing<F: Fixture>(fixture: &mut F) {
    commit(fixture, one_of_each(1));
    fixture.fail_at_receipts();
    let mut writes = one_of_each(2);
    writes.extend([
        Write::DropDoc(doc_id(1)),
        Write::DropEnvelope(OTHER, 1, 1),
        Write::Receipt(receipt(1)),
        Write::DropDigest(Scope::City),
    ]);
    assert!(fixture.store().commit(writes).is_err());
    only_the_first(fixture);
    fixture.reopen();
    only_the_first(fixture);
    commit(fixture, one_of_each(2));
    assert_eq!(ok(fixture.store().list()).len(), 2);
}

/// What was committed is what is read by the next process.
pub fn everything_is_there_after_reopening<F: Fixture>(fixture: &mut F) {
    let mut writes = one_of_each(1);
    writes.push(Write::Receipt(receipt(1)));
    commit(fixture, writes);
    fixture.reopen();
    only_the_first(fixture);
}

#[cfg(test)]
mod tests {
    #[test]
    fn every_promise_is_in_the_macro() {
        let source = include_str!("conformance.rs");
        let promises = source
            .lines()
            .filter_map(|line| line.strip_prefix("pub fn ")?.split_once("<F: Fixture>"));
        let mut found = 0;
        for (promise, _) in promises {
            let listed = format!("            {promise}\n");
            assert!(source.contains(&listed), "{promise} is not listed");
            found += 1;
        }
        assert!(found > 15);
    }
}
