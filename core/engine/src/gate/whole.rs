//! A bounded decoder of Automerge *document* chunks: what a phone is handed in a pack, or whole.
//!
//! ```text
//! body = actors ‖ heads ‖ directories of columns ‖ changes ‖ operations ‖ places of the heads
//! ```
//!
//! [`check_document`] takes any bytes whatever, never panics, and allocates in proportion to the input
//! and to [`crate::limits`] only. It knows the documents of a city and no others: maps and the values
//! put into them, by changes of which each follows from those before it (what [`super::judge`] lets in),
//! in the one encoding in which Automerge saves them. Everything that Automerge takes for granted
//! while it loads is looked at here: it panics, or asks for gigabytes, where it is mistaken.
//!
//! What it does not know is whether the changes are the city's: their hashes, which Automerge compares
//! with the heads when it loads, are for whoever asked for the document.

use std::collections::BTreeSet;

use super::chunk::{
    ActorBytes, ChunkError, Column, DOCUMENT_TYPE, Value, bounded, check_time, open_chunk,
    read_hashes,
};
use super::columns::{Deltas, Directory, Layout, RawColumns, Rows, count_rows};
use super::ops::read_value;
use super::reader::Cursor;
use crate::limits::{
    CHANGE_DEPS, CHANGE_OPS, DOC_ACTORS, DOC_BYTES, DOC_CHANGES, DOC_OPS, MAX_START_OP,
};

/// The columns of a document's changes.
const CHANGES: Layout<9> = [
    (Column::Author, 1),
    (Column::Seq, 3),
    (Column::MaxOp, 19),
    (Column::Time, 35),
    (Column::Message, 53),
    (Column::DepCount, 64),
    (Column::Dep, 67),
    (Column::ExtraMeta, 86),
    (Column::ExtraRaw, 87),
];

/// The columns of a document's operations.
const OPS: Layout<16> = [
    (Column::ObjActor, 1),
    (Column::ObjCounter, 2),
    (Column::KeyActor, 17),
    (Column::KeyCounter, 19),
    (Column::KeyString, 21),
    (Column::IdActor, 33),
    (Column::IdCounter, 35),
    (Column::Insert, 52),
    (Column::Action, 66),
    (Column::ValueMeta, 86),
    (Column::ValueRaw, 87),
    (Column::SuccCount, 128),
    (Column::SuccActor, 129),
    (Column::SuccCounter, 131),
    (Column::Expand, 148),
    (Column::MarkName, 165),
];

/// The extra bytes of a change, which none has: no bytes, of type bytes.
const NO_EXTRA: u64 = 7;

/// Most bytes of a chunk that is read. What another replica saved of the same changes is a little longer
/// or shorter than ours, so this is not the cap of a document: whoever takes one from outside compares
/// it with [`DOC_BYTES`] first.
const CHUNK_BYTES: usize = 2 * DOC_BYTES;

type ChangeColumns<'a> = RawColumns<'a, { CHANGES.len() }>;
type OpColumns<'a> = RawColumns<'a, { OPS.len() }>;

/// An operation's id, ordered as operations are: its counter and the place of its actor among the
/// document's, which are in order.
type Id = (u64, usize);

/// Checks that Automerge can load one document chunk, the whole of `raw`, without harm.
///
/// # Errors
/// The first reason found why not; see [`ChunkError`].
pub fn check_document(raw: &[u8]) -> Result<(), ChunkError> {
    let (_, body) = open_chunk(raw, DOCUMENT_TYPE, CHUNK_BYTES)?;
    let mut body = Cursor::new(body);
    let actors = read_actors(&mut body)?;
    let heads = read_heads(&mut body)?;
    let changes = Directory::read(&mut body, &CHANGES)?;
    let ops = Directory::read(&mut body, &OPS)?;
    let graph = Graph::read(&changes.data(&mut body)?, actors)?;
    let ops = ops.data(&mut body)?;
    graph.check_heads(heads, &mut body)?;
    if !body.is_empty() {
        return Err(ChunkError::TrailingBytes);
    }
    check_ops(&ops, graph)
}

/// How many actors there are: at least one, in ascending order.
fn read_actors(body: &mut Cursor<'_>) -> Result<usize, ChunkError> {
    let count = bounded(body.unsigned()?, DOC_ACTORS, ChunkError::TooManyActors)?;
    let actors = (0..count)
        .map(|_| ActorBytes::try_from(body.prefixed()?))
        .collect::<Result<Vec<_>, _>>()?;
    if !actors.is_sorted_by(|a, b| a < b) {
        return Err(ChunkError::BadActor);
    }
    Ok(count)
}

/// How many heads there are, in ascending order.
fn read_heads(body: &mut Cursor<'_>) -> Result<usize, ChunkError> {
    let bad = ChunkError::BadHeads;
    Ok(read_hashes(body, DOC_CHANGES, bad, bad)?.len())
}

// ---------------------------------------------------------------- changes

/// The columns of the changes, row by row.
struct ChangeRows<'a> {
    author: Rows<'a, u64>,
    seq: Deltas<'a>,
    max_op: Deltas<'a>,
    time: Deltas<'a>,
    message: Rows<'a, &'a str>,
    dep_count: Rows<'a, u64>,
    dep: Deltas<'a>,
    extra: Rows<'a, u64>,
}

impl<'a> ChangeRows<'a> {
    fn new(columns: &ChangeColumns<'a>) -> Result<Self, ChunkError> {
        use Column as C;
        let column = C::ExtraRaw;
        if !columns.get(column).is_empty() {
            return Err(ChunkError::BadColumn { column });
        }
        let deltas = |column| Deltas::new(column, columns.get(column));
        let numbers = |column| Rows::new(column, columns.get(column));
        Ok(Self {
            author: numbers(C::Author),
            seq: deltas(C::Seq),
            max_op: deltas(C::MaxOp),
            time: deltas(C::Time),
            message: Rows::new(C::Message, columns.get(C::Message)),
            dep_count: numbers(C::DepCount),
            dep: deltas(C::Dep),
            extra: numbers(C::ExtraMeta),
        })
    }

    fn finish(self) -> Result<(), ChunkError> {
        self.author.finish()?;
        self.seq.finish()?;
        self.max_op.finish()?;
        self.time.finish()?;
        self.message.finish()?;
        self.dep_count.finish()?;
        self.dep.finish()?;
        self.extra.finish()
    }
}

/// The operations of one change: their counters, and the place of the first among all the document's.
struct Span {
    first: u64,
    last: u64,
    place: usize,
}

/// The changes of a document as far as their operations and dependencies go.
struct Graph {
    /// Counter of the last operation at each change.
    max_ops: Vec<u64>,
    /// Whether another change depends on it.
    built_on: Vec<bool>,
    /// How many changes each actor made.
    seqs: Vec<u64>,
    /// Each actor's changes that have operations, in order.
    spans: Vec<Vec<Span>>,
    /// How many operations there are.
    ops: usize,
}

impl Graph {
    fn read(columns: &ChangeColumns<'_>, actors: usize) -> Result<Self, ChunkError> {
        let column = Column::Author;
        let rows = count_rows::<u64>(column, columns.get(column), DOC_CHANGES).map_err(
            |error| match error {
                ChunkError::TooManyOps => ChunkError::TooManyChanges,
                other => other,
            },
        )?;
        let mut graph = Self {
            max_ops: Vec::with_capacity(rows),
            built_on: vec![false; rows],
            seqs: vec![0; actors],
            spans: (0..actors).map(|_| Vec::new()).collect(),
            ops: 0,
        };
        let mut table = ChangeRows::new(columns)?;
        for row in 0..rows {
            graph.add(row, &mut table)?;
        }
        table.finish()?;
        // Automerge drops an actor without changes before it saves.
        if graph.ops == 0 || graph.seqs.contains(&0) {
            return Err(ChunkError::BadActor);
        }
        Ok(graph)
    }

    fn add(&mut self, row: usize, table: &mut ChangeRows<'_>) -> Result<(), ChunkError> {
        let bad = ChunkError::BadChange { row };
        let column = Column::Author;
        let author = usize::try_from(table.author.value()?).ok();
        let author = author
            .filter(|author| *author < self.seqs.len())
            .ok_or(ChunkError::ActorOutOfRange { column })?;
        self.seqs[author] += 1;
        if table.seq.value()? != self.seqs[author] || table.extra.value()? != NO_EXTRA {
            return Err(bad);
        }
        check_time(table.time.next()?.ok_or(bad)?)?;
        table.message.next()?;
        let before = self.read_deps(row, table)?;
        let last = table.max_op.value()?;
        let ops = last.checked_sub(before).ok_or(bad)?;
        let ops = bounded(ops, CHANGE_OPS, ChunkError::TooManyOps)?;
        if before >= MAX_START_OP {
            return Err(ChunkError::StartOpOutOfRange);
        }
        self.max_ops.push(last);
        if ops == 0 {
            return Ok(());
        }
        let spans = &mut self.spans[author];
        // An actor's changes are in one line.
        if spans.last().is_some_and(|span| span.last > before) {
            return Err(bad);
        }
        spans.push(Span {
            first: before + 1,
            last,
            place: self.ops,
        });
        self.ops += ops;
        Ok(())
    }

    /// The counter of the last operation at a change's dependencies. Only the first change has none.
    fn read_deps(&mut self, row: usize, table: &mut ChangeRows<'_>) -> Result<u64, ChunkError> {
        let bad = ChunkError::BadChange { row };
        let count = table.dep_count.value()?;
        let count = bounded(count, CHANGE_DEPS, ChunkError::TooManyDeps)?;
        if (count == 0) != (row == 0) {
            return Err(bad);
        }
        let mut before = 0;
        let mut seen = BTreeSet::new();
        for _ in 0..count {
            let dep = usize::try_from(table.dep.value()?).ok();
            let dep = dep
                .filter(|dep| *dep < row && seen.insert(*dep))
                .ok_or(bad)?;
            before = before.max(self.max_ops[dep]);
            self.built_on[dep] = true;
        }
        Ok(before)
    }

    /// The last part of the body says at which changes the heads are: all those on which no other
    /// depends.
    fn check_heads(&self, heads: usize, body: &mut Cursor<'_>) -> Result<(), ChunkError> {
        let mut seen = self.built_on.clone();
        for _ in 0..heads {
            let place = usize::try_from(body.unsigned()?).ok();
            let head = place.and_then(|place| seen.get_mut(place));
            match head {
                Some(seen) if !*seen => *seen = true,
                _ => return Err(ChunkError::BadHeads),
            }
        }
        if seen.contains(&false) {
            return Err(ChunkError::BadHeads);
        }
        Ok(())
    }

    /// The place of an operation among all the document's; nothing when no change made it.
    fn place(&self, (counter, actor): Id) -> Option<usize> {
        let spans = self.spans.get(actor)?;
        let after = spans.partition_point(|span| span.first <= counter);
        let span = &spans[after.checked_sub(1)?];
        let offset = usize::try_from(counter - span.first).ok()?;
        (counter <= span.last).then(|| span.place + offset)
    }
}

// ---------------------------------------------------------------- operations

/// The columns of the operations, row by row.
struct OpRows<'a> {
    obj_actor: Rows<'a, u64>,
    obj_counter: Rows<'a, u64>,
    key: Rows<'a, &'a str>,
    id_actor: Rows<'a, u64>,
    id_counter: Deltas<'a>,
    action: Rows<'a, u64>,
    value_meta: Rows<'a, u64>,
    values: Cursor<'a>,
    succ_count: Rows<'a, u64>,
    succ_actor: Rows<'a, u64>,
    succ_counter: Deltas<'a>,
}

/// Checks the operations of the changes.
fn check_ops(columns: &OpColumns<'_>, graph: Graph) -> Result<(), ChunkError> {
    let column = Column::IdActor;
    let limit = usize::try_from(DOC_OPS).unwrap_or(usize::MAX);
    let rows = count_rows::<u64>(column, columns.get(column), limit)?;
    if rows != graph.ops {
        return Err(ChunkError::BadColumn { column });
    }
    let mut table = OpRows::new(columns, rows)?;
    let mut walk = Walk::new(graph);
    for row in 0..rows {
        walk.op(row, &mut table)?;
    }
    walk.end_place()?;
    table.finish()
}

impl<'a> OpRows<'a> {
    fn new(columns: &OpColumns<'a>, rows: usize) -> Result<Self, ChunkError> {
        use Column as C;
        // Sequences and marks are in no document of a city.
        for column in [C::KeyActor, C::KeyCounter, C::Expand, C::MarkName] {
            if !columns.get(column).is_empty() {
                return Err(ChunkError::BadColumn { column });
            }
        }
        check_nothing_inserts(columns.get(C::Insert), rows)?;
        let deltas = |column| Deltas::new(column, columns.get(column));
        let numbers = |column| Rows::new(column, columns.get(column));
        Ok(Self {
            obj_actor: numbers(C::ObjActor),
            obj_counter: numbers(C::ObjCounter),
            key: Rows::new(C::KeyString, columns.get(C::KeyString)),
            id_actor: numbers(C::IdActor),
            id_counter: deltas(C::IdCounter),
            action: numbers(C::Action),
            value_meta: numbers(C::ValueMeta),
            values: Cursor::new(columns.get(C::ValueRaw)),
            succ_count: numbers(C::SuccCount),
            succ_actor: numbers(C::SuccActor),
            succ_counter: deltas(C::SuccCounter),
        })
    }

    /// The object of an operation; nothing for the root, which comes before all others.
    fn obj(&mut self) -> Result<Option<Id>, ChunkError> {
        let column = Column::ObjActor;
        match (self.obj_actor.next()?, self.obj_counter.next()?) {
            (None, None) => Ok(None),
            (Some(actor), Some(counter)) => id(column, actor, counter).map(Some),
            _ => Err(ChunkError::BadColumn { column }),
        }
    }

    fn value(&mut self, row: usize) -> Result<Value, ChunkError> {
        let meta = self.value_meta.value()?;
        let column = Column::ValueRaw;
        let bytes = self.values.take(meta >> 4);
        let bytes = bytes.map_err(|_| ChunkError::BadColumn { column })?;
        read_value((meta & 0xf) as u8, bytes, row)
    }

    fn finish(self) -> Result<(), ChunkError> {
        self.obj_actor.finish()?;
        self.obj_counter.finish()?;
        self.key.finish()?;
        self.id_actor.finish()?;
        self.id_counter.finish()?;
        self.action.finish()?;
        self.value_meta.finish()?;
        self.succ_count.finish()?;
        self.succ_actor.finish()?;
        self.succ_counter.finish()?;
        if !self.values.is_empty() {
            let column = Column::ValueRaw;
            return Err(ChunkError::BadColumn { column });
        }
        Ok(())
    }
}

/// The column says "not inserted" as often as there are operations, in one run.
fn check_nothing_inserts(data: &[u8], rows: usize) -> Result<(), ChunkError> {
    let mut cursor = Cursor::new(data);
    let count = cursor.unsigned().ok().and_then(|n| usize::try_from(n).ok());
    if count == Some(rows) && cursor.is_empty() {
        return Ok(());
    }
    let column = Column::Insert;
    Err(ChunkError::BadColumn { column })
}

fn id(column: Column, actor: u64, counter: u64) -> Result<Id, ChunkError> {
    let actor = usize::try_from(actor).map_err(|_| ChunkError::ActorOutOfRange { column })?;
    Ok((counter, actor))
}

/// Goes through the operations in their order: by object, by key, by id.
struct Walk<'a> {
    graph: Graph,
    /// The operations that have come, by their place.
    come: Vec<bool>,
    /// The maps made so far.
    maps: BTreeSet<Id>,
    /// The object and the key under which the last one was.
    at: Option<(Option<Id>, &'a str)>,
    /// The operations under that key, ascending.
    ids: Vec<Id>,
    /// What overwrites them.
    succs: Vec<Id>,
    /// How many of those may still come.
    succs_left: usize,
}

impl<'a> Walk<'a> {
    fn new(graph: Graph) -> Self {
        Self {
            come: vec![false; graph.ops],
            graph,
            maps: BTreeSet::new(),
            at: None,
            ids: Vec::new(),
            succs: Vec::new(),
            // Neighbours are by different actors, so that each takes a byte of the chunk.
            succs_left: CHUNK_BYTES,
        }
    }

    fn op(&mut self, row: usize, table: &mut OpRows<'a>) -> Result<(), ChunkError> {
        let own = id(
            Column::IdActor,
            table.id_actor.value()?,
            table.id_counter.value()?,
        )?;
        self.enter(row, own, table)?;
        match (table.action.value()?, table.value(row)?) {
            (0, Value::Null) => {
                self.maps.insert(own);
            }
            (1, Value::Counter(_) | Value::Unknown { .. }) => {
                return Err(ChunkError::BadValue { row });
            }
            (1, _) => {}
            (0, _) => return Err(ChunkError::BadValue { row }),
            (action, _) => return Err(ChunkError::UnknownAction { action }),
        }
        self.read_succs(own, table)
    }

    /// Takes the operation's place: it is in a map made before it, after those that came before.
    fn enter(&mut self, row: usize, own: Id, table: &mut OpRows<'a>) -> Result<(), ChunkError> {
        let bad = ChunkError::BadOp { row };
        let place = self.graph.place(own).ok_or(bad)?;
        if std::mem::replace(&mut self.come[place], true) {
            return Err(bad);
        }
        let at = (table.obj()?, table.key.value()?);
        if self.at == Some(at) {
            if self.ids.last() >= Some(&own) {
                return Err(bad);
            }
        } else {
            let known =
                at.0.is_none_or(|map| self.maps.contains(&map) && map.0 < own.0);
            if self.at > Some(at) || !known {
                return Err(bad);
            }
            self.end_place()?;
            self.at = Some(at);
        }
        self.ids.push(own);
        Ok(())
    }

    fn read_succs(&mut self, own: Id, table: &mut OpRows<'_>) -> Result<(), ChunkError> {
        let column = Column::SuccCounter;
        let count = table.succ_count.value()?;
        // An actor overwrites an operation once: after that it sees it no more.
        let most = self.succs_left.min(self.graph.seqs.len());
        let count = bounded(count, most, ChunkError::TooManyOps)?;
        self.succs_left -= count;
        let mut last = own;
        for _ in 0..count {
            let succ = id(
                Column::SuccActor,
                table.succ_actor.value()?,
                table.succ_counter.value()?,
            )?;
            if succ <= last || succ.0 == own.0 {
                return Err(ChunkError::BadReference { column });
            }
            last = succ;
            self.succs.push(succ);
        }
        Ok(())
    }

    /// What overwrites the operations under a key is among them. One that were not would be taken for
    /// a deletion.
    fn end_place(&mut self) -> Result<(), ChunkError> {
        let column = Column::SuccCounter;
        let there = |succ: &Id| self.ids.binary_search(succ).is_ok();
        if !self.succs.iter().all(there) {
            return Err(ChunkError::BadReference { column });
        }
        self.ids.clear();
        self.succs.clear();
        Ok(())
    }
}
