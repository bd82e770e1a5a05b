//! The decoder reads what Automerge writes, and reads it as Automerge does.
#![allow(clippy::disallowed_methods)] // Makes documents as a stranger would, with actors of its own.
#![allow(clippy::unwrap_used)]

mod support {
    pub mod attacks;
}

use automerge::marks::{ExpandMark, Mark};
use automerge::transaction::{CommitOptions, Transactable};
use automerge::{
    ActorId, AutoCommit, Automerge, Change, ExpandedChange, ObjType, ROOT, ScalarValue, legacy,
};
use manzana_engine::gate::chunk::{
    Action, ActorBytes, ChunkError, DecodedChange, Key, Obj, Op, OpId, Value, decode_change,
};
use manzana_engine::gate::fit::{Misfit, check_fit};
use proptest::prelude::*;
use support::attacks;

/// Decodes every change of a document and compares each with Automerge's own reading.
fn check(doc: &mut AutoCommit) {
    for change in doc.get_changes(&[]) {
        check_change(&change);
    }
}

fn check_change(change: &Change) {
    let ours = decode_change(change.raw_bytes()).expect("our own change is let in");
    assert_eq!(ours.hash, change.hash().0);
    let deps: Vec<_> = change.deps().iter().map(|dep| dep.0).collect();
    assert_eq!(ours.deps, deps);
    assert_eq!(ours.actor.as_ref(), change.actor_id().to_bytes());
    assert_eq!(ours.seq, change.seq());
    assert_eq!(ours.start_op, change.start_op().get());
    assert_eq!(ours.time, change.timestamp());
    assert_eq!(ours.message.as_deref(), change.message());
    assert_eq!(ours.ops, expected_ops(&change.decode(), ours.actor));
}

/// Builds a document again, change by change, and checks that each fits what is there, and fits
/// no more once it is in.
fn check_fits(doc: &mut AutoCommit) {
    let mut again = Automerge::new();
    for change in doc.get_changes(&[]) {
        let decoded = decode_change(change.raw_bytes()).unwrap();
        assert_eq!(check_fit(&again, &decoded), Ok(()));
        again.apply_changes([change]).unwrap();
        assert_eq!(check_fit(&again, &decoded), Err(Misfit::AlreadyKnown));
    }
}

fn expected_ops(change: &ExpandedChange, actor: ActorBytes) -> Vec<Op> {
    let start = change.start_op.get();
    let numbered = change.operations.iter().zip(start..);
    numbered
        .map(|(op, counter)| Op {
            id: OpId { counter, actor },
            obj: match &op.obj {
                legacy::ObjectId::Root => Obj::Root,
                legacy::ObjectId::Id(id) => Obj::Id(op_id(id)),
            },
            key: match &op.key {
                legacy::Key::Map(key) => Key::Map(key.to_string()),
                legacy::Key::Seq(legacy::ElementId::Head) => Key::Head,
                legacy::Key::Seq(legacy::ElementId::Id(id)) => Key::Elem(op_id(id)),
            },
            insert: op.insert,
            action: expected_action(&op.action),
            pred: op.pred.iter().map(op_id).collect(),
        })
        .collect()
}

fn op_id(id: &legacy::OpId) -> OpId {
    OpId {
        counter: id.0,
        actor: ActorBytes::try_from(id.1.to_bytes()).unwrap(),
    }
}

fn expected_action(action: &legacy::OpType) -> Action {
    match action {
        legacy::OpType::Make(ObjType::Map) => Action::MakeMap,
        legacy::OpType::Make(ObjType::List) => Action::MakeList,
        legacy::OpType::Make(ObjType::Text) => Action::MakeText,
        legacy::OpType::Make(ObjType::Table) => Action::MakeTable,
        legacy::OpType::Delete => Action::Delete,
        legacy::OpType::Increment(by) => Action::Increment(*by),
        legacy::OpType::Put(value) => Action::Put(expected_value(value)),
        legacy::OpType::MarkBegin(_) | legacy::OpType::MarkEnd(_) => Action::Mark,
    }
}

fn expected_value(value: &ScalarValue) -> Value {
    match value {
        ScalarValue::Null => Value::Null,
        ScalarValue::Boolean(is) => Value::Bool(*is),
        ScalarValue::Uint(n) => Value::Uint(*n),
        ScalarValue::Int(n) => Value::Int(*n),
        ScalarValue::F64(n) => Value::F64(*n),
        ScalarValue::Str(text) => Value::Str(text.to_string()),
        ScalarValue::Bytes(bytes) => Value::Bytes(bytes.clone()),
        ScalarValue::Counter(n) => Value::Counter(i64::from(n)),
        ScalarValue::Timestamp(n) => Value::Timestamp(*n),
        ScalarValue::Unknown { type_code, bytes } => Value::Unknown {
            code: *type_code,
            bytes: bytes.clone(),
        },
    }
}

fn actor(n: u8) -> ActorId {
    ActorId::from([n, 1, 2, 3, 4, 5, 6, 7])
}

fn every_scalar() -> Vec<ScalarValue> {
    vec![
        ScalarValue::Null,
        ScalarValue::Boolean(true),
        ScalarValue::Boolean(false),
        ScalarValue::Uint(u64::MAX),
        ScalarValue::Uint(0),
        ScalarValue::Int(i64::MIN),
        ScalarValue::Int(-1),
        ScalarValue::F64(f64::INFINITY),
        ScalarValue::F64(-0.0),
        ScalarValue::Str("ñandú 🦩".into()),
        ScalarValue::Str("".into()),
        ScalarValue::Bytes(vec![0; 300]),
        ScalarValue::counter(-5),
        ScalarValue::Timestamp(1_635_228_000_000),
        ScalarValue::Unknown {
            type_code: 12,
            bytes: vec![9, 9],
        },
    ]
}

#[test]
fn every_scalar_type_is_read() {
    let mut doc = attacks::document();
    for (index, value) in every_scalar().into_iter().enumerate() {
        doc.put(ROOT, format!("key {index}"), value).unwrap();
    }
    let list = doc.put_object(ROOT, "list", ObjType::List).unwrap();
    for (index, value) in every_scalar().into_iter().enumerate() {
        doc.insert(&list, index, value).unwrap();
    }
    check(&mut doc);
}

#[test]
fn lists_texts_marks_deletes_and_increments_are_read() {
    let mut doc = attacks::rich_document();
    doc.put_object(ROOT, "table", ObjType::Table).unwrap();
    let outer = doc.put_object(ROOT, "outer", ObjType::Map).unwrap();
    let inner = doc.put_object(&outer, "inner", ObjType::Map).unwrap();
    doc.put(&inner, "deep", 1).unwrap();
    doc.delete(ROOT, "title").unwrap();
    doc.commit_with(
        CommitOptions::default()
            .with_message("una nota")
            .with_time(-7),
    );
    check(&mut doc);
    assert_eq!(doc.get_changes(&[]).len(), 4);
}

#[test]
fn marks_of_every_kind_are_read() {
    let mut doc = attacks::document();
    let text = doc.put_object(ROOT, "text", ObjType::Text).unwrap();
    doc.splice_text(&text, 0, 0, "abcdefghij").unwrap();
    let kinds = [
        ExpandMark::None,
        ExpandMark::Before,
        ExpandMark::After,
        ExpandMark::Both,
    ];
    for (start, expand) in kinds.into_iter().enumerate() {
        let mark = Mark::new("note".into(), "value", start, start + 3);
        doc.mark(&text, mark, expand).unwrap();
    }
    doc.unmark(&text, "note", 2, 4, ExpandMark::None).unwrap();
    check(&mut doc);
}

#[test]
fn several_actors_and_conflicts_with_several_predecessors_are_read() {
    let mut base = attacks::document();
    base.put(ROOT, "field", 0).unwrap();
    let list = base.put_object(ROOT, "list", ObjType::List).unwrap();
    base.insert(&list, 0, "x").unwrap();
    base.commit();
    let mut forks: Vec<_> = (0..6_u8)
        .map(|n| {
            let mut fork = base.fork().with_actor(actor(250 - n));
            fork.put(ROOT, "field", i64::from(n) + 1).unwrap();
            fork.put(&list, 0, i64::from(n)).unwrap();
            fork.insert(&list, 1, i64::from(n)).unwrap();
            fork.commit();
            fork
        })
        .collect();
    for fork in &mut forks {
        base.merge(fork).unwrap();
    }
    base.put(ROOT, "field", 99).unwrap();
    base.delete(&list, 0).unwrap();
    base.commit();
    check(&mut base);
    let last = decode_change(&attacks::last_change(&mut base)).unwrap();
    // The six heads and, as Automerge does, the author's own last change.
    assert_eq!(last.deps.len(), 7);
    assert_eq!(last.ops[0].pred.len(), 6);
}

#[test]
fn an_empty_join_change_is_read() {
    let mut doc = attacks::rich_document();
    doc.empty_change(CommitOptions::default());
    check(&mut doc);
    check_fits(&mut doc);
    let last = decode_change(&attacks::last_change(&mut doc)).unwrap();
    assert_eq!((last.ops.len(), last.deps.len()), (0, 1));
    doc.put(ROOT, "after", 1).unwrap();
    check_fits(&mut doc);
}

#[test]
fn a_document_rebuilt_from_its_saved_form_gives_the_same_changes() {
    let mut doc = attacks::rich_document();
    let mut loaded = AutoCommit::load(&doc.save()).unwrap();
    check(&mut loaded);
    assert_eq!(
        attacks::raw_changes(&mut doc),
        attacks::raw_changes(&mut loaded)
    );
}

#[test]
fn every_change_of_one_byte_is_answered() {
    for raw in attacks::raw_changes(&mut attacks::rich_document()) {
        let honest = decode_change(&raw).unwrap();
        let body = attacks::body(&raw).to_vec();
        for at in 0..body.len() {
            for value in 0..=u8::MAX {
                let mut content = body.clone();
                content[at] = value;
                check_bounds(&decode_change(&attacks::wrap(1, &content)), &honest);
            }
        }
    }
}

/// Whatever the bytes: an answer, and one within the limits.
fn check_bounds(answer: &Result<DecodedChange, ChunkError>, honest: &DecodedChange) {
    if let Ok(change) = answer {
        assert!(change.ops.len() <= manzana_engine::limits::CHANGE_OPS);
        assert!(change.start_op <= manzana_engine::limits::MAX_START_OP);
        assert_eq!(change.actor.as_ref().len(), honest.actor.as_ref().len());
    }
}

#[test]
fn every_prefix_of_a_change_is_truncated() {
    for raw in attacks::raw_changes(&mut attacks::rich_document()) {
        for end in 0..raw.len() {
            assert_eq!(decode_change(&raw[..end]), Err(ChunkError::Truncated));
        }
    }
}

/// One step of a random author.
#[derive(Debug, Clone)]
enum Step {
    Put(u8, u8, i64),
    Text(u8, String),
    Delete(u8, u8),
    Object(u8, u8, u8),
    Insert(u8, u8, i64),
    Remove(u8, u8),
    Splice(u8, u8, String),
    Increment(u8, u8),
    Commit(u8),
    Merge(u8, u8),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        (0..3_u8, 0..5_u8, any::<i64>()).prop_map(|(a, k, v)| Step::Put(a, k, v)),
        (0..3_u8, ".{0,12}").prop_map(|(a, s)| Step::Text(a, s)),
        (0..3_u8, 0..5_u8).prop_map(|(a, k)| Step::Delete(a, k)),
        (0..3_u8, 0..5_u8, 0..3_u8).prop_map(|(a, k, o)| Step::Object(a, k, o)),
        (0..3_u8, any::<u8>(), any::<i64>()).prop_map(|(a, i, v)| Step::Insert(a, i, v)),
        (0..3_u8, any::<u8>()).prop_map(|(a, i)| Step::Remove(a, i)),
        (0..3_u8, any::<u8>(), "[a-zñ🦩]{0,6}").prop_map(|(a, i, s)| Step::Splice(a, i, s)),
        (0..3_u8, 0..5_u8).prop_map(|(a, k)| Step::Increment(a, k)),
        (0..3_u8).prop_map(Step::Commit),
        (0..3_u8, 0..3_u8).prop_map(|(a, b)| Step::Merge(a, b)),
    ]
}

/// Three replicas with a list and a text in common.
struct Authors {
    docs: Vec<AutoCommit>,
    list: automerge::ObjId,
    text: automerge::ObjId,
}

impl Authors {
    fn new() -> Self {
        let mut base = attacks::document();
        let list = base.put_object(ROOT, "list", ObjType::List).unwrap();
        let text = base.put_object(ROOT, "text", ObjType::Text).unwrap();
        base.put(ROOT, "counter", ScalarValue::counter(1)).unwrap();
        base.commit();
        let docs = (0..3)
            .map(|n| base.fork().with_actor(actor(n * 90)))
            .collect();
        Self { docs, list, text }
    }

    fn take(&mut self, step: Step) {
        use automerge::ReadDoc;
        let (list, text) = (self.list.clone(), self.text.clone());
        match step {
            Step::Put(a, k, v) => self.doc(a).put(ROOT, format!("k{k}"), v).unwrap(),
            Step::Text(a, s) => self.doc(a).put(ROOT, "s", s).unwrap(),
            Step::Delete(a, k) => self.doc(a).delete(ROOT, format!("k{k}")).unwrap(),
            Step::Object(a, k, kind) => {
                let kinds = [ObjType::Map, ObjType::List, ObjType::Text];
                let kind = kinds[usize::from(kind)];
                let made = self.doc(a).put_object(ROOT, format!("k{k}"), kind);
                made.map(drop).unwrap();
            }
            Step::Insert(a, i, v) => {
                let at = usize::from(i) % (self.doc(a).length(&list) + 1);
                self.doc(a).insert(&list, at, v).unwrap();
            }
            Step::Remove(a, i) => {
                let len = self.doc(a).length(&list);
                if len > 0 {
                    self.doc(a).delete(&list, usize::from(i) % len).unwrap();
                }
            }
            Step::Splice(a, i, s) => {
                let len = self.doc(a).length(&text);
                let at = usize::from(i) % (len + 1);
                let cut = isize::from(at < len && i > 128);
                self.doc(a).splice_text(&text, at, cut, &s).unwrap();
            }
            Step::Increment(a, k) => {
                let by = i64::from(k) - 2;
                self.doc(a).increment(ROOT, "counter", by).unwrap();
            }
            Step::Commit(a) => drop(self.doc(a).commit()),
            Step::Merge(a, b) => {
                self.doc(b).commit();
                let mut other = self.doc(b).clone();
                self.doc(a).merge(&mut other).unwrap();
            }
        }
    }

    fn doc(&mut self, index: u8) -> &mut AutoCommit {
        &mut self.docs[usize::from(index)]
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn whatever_three_authors_do_is_read_as_automerge_reads_it(
        steps in prop::collection::vec(step(), 1..60),
    ) {
        let mut authors = Authors::new();
        steps.into_iter().for_each(|step| authors.take(step));
        authors.docs.iter_mut().for_each(check);
        authors.docs.iter_mut().for_each(check_fits);
    }

    #[test]
    fn any_bytes_are_answered(bytes in prop::collection::vec(any::<u8>(), 0..400)) {
        let _ = decode_change(&bytes);
        let _ = decode_change(&attacks::wrap(1, &bytes));
    }
}
