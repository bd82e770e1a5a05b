//! What decodes and fits its document can be applied, saved and loaded; what does not fit is
//! named.
#![allow(clippy::disallowed_methods)] // Makes documents as a stranger would, with actors of its own.
#![allow(clippy::unwrap_used)]

mod support {
    pub mod attacks;
}

use automerge::transaction::Transactable;
use automerge::{AutoCommit, Change, ObjType, ROOT, ReadDoc};
use manzana_engine::gate::chunk::{Action, DecodedChange, Key, Obj, Op, OpId, decode_change};
use manzana_engine::gate::fit::{Misfit, check_fit};
use support::attacks;

/// The document before its newest change, and that change.
fn before_last(mut doc: AutoCommit) -> (AutoCommit, DecodedChange) {
    let mut changes = doc.get_changes(&[]);
    let last = changes.pop().unwrap();
    let mut before = attacks::document();
    before.apply_changes(changes).unwrap();
    (before, decode_change(last.raw_bytes()).unwrap())
}

fn fit(doc: &mut AutoCommit, change: &DecodedChange) -> Result<(), Misfit> {
    check_fit(doc.document(), change)
}

/// Applies, saves, loads, reads and forks, and checks that the change came through unaltered.
fn survives(base: &[u8], raw: &[u8]) {
    let mut doc = AutoCommit::load(base).unwrap();
    let change = Change::from_bytes(raw.to_vec()).unwrap();
    let hash = change.hash();
    doc.apply_changes([change]).unwrap();
    assert!(doc.get_heads().contains(&hash));
    let mut loaded = AutoCommit::load(&doc.save_nocompress()).unwrap();
    assert_eq!(loaded.get_heads(), doc.get_heads());
    let again = loaded.get_change_by_hash(&hash).unwrap();
    assert_eq!(again.raw_bytes(), raw);
    loaded.hydrate(ROOT, None).unwrap();
    loaded.fork();
}

#[test]
fn mutations_that_decode_and_fit_do_no_harm() {
    let mut before = attacks::document();
    let mut survivors = 0;
    for change in attacks::contested_document().get_changes(&[]) {
        let base = before.save_nocompress();
        for seed in 0..4_000 {
            let raw = attacks::mutated(change.raw_bytes(), seed);
            // What marks do to each other shows on loading only; see the module's head.
            let marks =
                |change: &DecodedChange| change.ops.iter().any(|op| op.action == Action::Mark);
            let fits =
                decode_change(&raw).is_ok_and(|it| fit(&mut before, &it).is_ok() && !marks(&it));
            if fits {
                survives(&base, &raw);
                survivors += 1;
            }
        }
        before.apply_changes([change]).unwrap();
    }
    assert!(survivors > 500, "only {survivors} mutations were let in");
}

#[test]
fn row_5_a_taken_sequence_number_does_not_fit() {
    let forgery = attacks::forged_sequence();
    let mut doc = attacks::document();
    let mut apply = |raw: Vec<u8>| {
        let change = Change::from_bytes(raw).unwrap();
        doc.apply_changes([change]).unwrap();
    };
    apply(forgery.base);
    apply(forgery.honest);
    let forged = decode_change(&forgery.forged).unwrap();
    assert_eq!(fit(&mut doc, &forged), Err(Misfit::SeqTaken));
}

#[test]
fn a_change_fits_once_and_only_after_its_dependencies() {
    let (mut doc, last) = before_last(attacks::rich_document());
    assert_eq!(fit(&mut doc, &last), Ok(()));
    let mut empty = attacks::document();
    assert_eq!(fit(&mut empty, &last), Err(Misfit::MissingDep));
    let mut whole = attacks::rich_document();
    assert_eq!(fit(&mut whole, &last), Err(Misfit::AlreadyKnown));
}

#[test]
fn numbers_follow_on_those_at_the_dependencies() {
    let (mut doc, last) = before_last(attacks::rich_document());
    let expected = last.start_op;
    for start_op in [1, expected - 1, expected + 1] {
        let change = DecodedChange {
            start_op,
            ..last.clone()
        };
        let misfit = Misfit::WrongStartOp { expected };
        assert_eq!(fit(&mut doc, &change), Err(misfit));
    }
    let seq = |seq| DecodedChange {
        seq,
        ..last.clone()
    };
    assert_eq!(fit(&mut doc, &seq(last.seq + 1)), Err(Misfit::SeqGap));
    assert_eq!(fit(&mut doc, &seq(last.seq - 1)), Err(Misfit::SeqTaken));
}

#[test]
fn a_branch_beside_the_authors_own_last_change_does_not_fit() {
    let (mut doc, last) = before_last(attacks::rich_document());
    let first = doc.get_changes(&[])[0].hash();
    let branch = DecodedChange {
        deps: vec![first.0],
        ..last
    };
    assert_eq!(fit(&mut doc, &branch), Err(Misfit::SeqGap));
}

#[test]
fn nothing_is_put_into_a_table() {
    let mut doc = attacks::document();
    doc.put_object(ROOT, "table", ObjType::Table).unwrap();
    doc.put(ROOT, "key", 1).unwrap();
    doc.commit();
    let change = decode_change(&attacks::last_change(&mut doc)).unwrap();
    let mut empty = attacks::document();
    assert_eq!(fit(&mut empty, &change), Ok(()));
    let mut into_the_table = change;
    into_the_table.ops[1].obj = Obj::Id(id(1));
    let wrong = Misfit::WrongKey { row: 1 };
    assert_eq!(fit(&mut empty, &into_the_table), Err(wrong));
}

/// A document with `map` (1), in it `key` (2), then `list` (3) with one element (4), and a second
/// key of the map that was deleted (5, 6).
fn small() -> AutoCommit {
    let mut doc = attacks::document();
    let map = doc.put_object(ROOT, "map", ObjType::Map).unwrap();
    doc.put(&map, "key", 1).unwrap();
    let list = doc.put_object(ROOT, "list", ObjType::List).unwrap();
    doc.insert(&list, 0, 1).unwrap();
    doc.put(&map, "gone", 1).unwrap();
    doc.commit();
    doc.delete(&map, "gone").unwrap();
    doc.commit();
    doc
}

fn id(counter: u64) -> OpId {
    OpId {
        counter,
        actor: attacks::ACTOR.into(),
    }
}

/// Whether a change of one operation fits the small document.
fn one_op(obj: Obj, key: Key, insert: bool, action: Action, pred: &[u64]) -> Result<(), Misfit> {
    let mut doc = small();
    let deps = doc.get_heads().iter().map(|head| head.0).collect();
    let op = Op {
        id: id(7),
        obj,
        key,
        insert,
        action,
        pred: pred.iter().copied().map(id).collect(),
    };
    let change = DecodedChange {
        hash: [7; 32],
        deps,
        actor: attacks::ACTOR.into(),
        seq: 3,
        start_op: 7,
        time: 0,
        message: None,
        ops: vec![op],
    };
    fit(&mut doc, &change)
}

#[test]
fn operations_work_on_objects_that_are_there() {
    let put = |obj| one_op(obj, Key::Map("new".into()), false, Action::MakeMap, &[]);
    assert_eq!(put(Obj::Root), Ok(()));
    assert_eq!(put(Obj::Id(id(1))), Ok(()));
    let row = 0;
    assert_eq!(put(Obj::Id(id(2))), Err(Misfit::NotAnObject { row }));
    let stranger = OpId {
        counter: 1,
        actor: [0; 8].into(),
    };
    assert_eq!(put(Obj::Id(stranger)), Err(Misfit::UnknownOp { row }));
}

#[test]
fn keys_are_those_of_their_object() {
    let row = 0;
    let wrong = Err(Misfit::WrongKey { row });
    let list = || Obj::Id(id(3));
    let put = |obj, key, insert| one_op(obj, key, insert, Action::MakeMap, &[]);
    assert_eq!(put(list(), Key::Head, true), Ok(()));
    assert_eq!(put(list(), Key::Elem(id(4)), true), Ok(()));
    assert_eq!(put(list(), Key::Map("key".into()), false), wrong);
    assert_eq!(put(Obj::Id(id(1)), Key::Head, true), wrong);
    let mark = one_op(list(), Key::Elem(id(4)), true, Action::Mark, &[]);
    assert_eq!(mark, wrong, "a mark in a list");
    let elsewhere = put(list(), Key::Elem(id(2)), true);
    assert_eq!(elsewhere, Err(Misfit::WrongPlace { row }));
}

#[test]
fn predecessors_are_what_stands_in_the_same_place() {
    let row = 0;
    let map = || Obj::Id(id(1));
    let delete = |key: &str, pred| {
        let key = Key::Map(key.into());
        one_op(map(), key, false, Action::Delete, &[pred])
    };
    assert_eq!(delete("key", 2), Ok(()));
    let wrong = Err(Misfit::WrongPlace { row });
    assert_eq!(delete("other", 2), wrong, "another key");
    assert_eq!(delete("key", 4), wrong, "another object");
    assert_eq!(delete("gone", 6), wrong, "a deletion");
    let at = |pred| {
        let key = Key::Elem(id(4));
        one_op(Obj::Id(id(3)), key, false, Action::Delete, &[pred])
    };
    assert_eq!(at(4), Ok(()));
    assert_eq!(at(2), wrong);
}
