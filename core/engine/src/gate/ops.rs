//! From columns to operations: rows are joined, ids resolved, and what contradicts itself refused.

use super::chunk::{Action, ActorBytes, ChunkError, Column, Key, Obj, Op, OpId, Value};
use super::columns::{
    Layout, RawColumns, count_bools, count_rows, expand, expand_bools, expand_delta,
};
use super::reader::Cursor;
use crate::limits::CHANGE_OPS;

/// The columns of a change's operations.
pub(super) const LAYOUT: Layout<14> = [
    (Column::ObjActor, 1),
    (Column::ObjCounter, 2),
    (Column::KeyActor, 17),
    (Column::KeyCounter, 19),
    (Column::KeyString, 21),
    (Column::Insert, 52),
    (Column::Action, 66),
    (Column::ValueMeta, 86),
    (Column::ValueRaw, 87),
    (Column::PredCount, 112),
    (Column::PredActor, 113),
    (Column::PredCounter, 115),
    (Column::Expand, 148),
    (Column::MarkName, 165),
];

type Columns<'a> = RawColumns<'a, { LAYOUT.len() }>;

/// Decodes the operations of a change whose actors, its own first, are `actors`.
pub(super) fn decode(
    columns: &Columns<'_>,
    actors: &[ActorBytes],
    start_op: u64,
) -> Result<Vec<Op>, ChunkError> {
    let counts = count(columns)?;
    let table = Table::expand(columns, counts)?;
    let mut rows = Rows {
        actors: Actors::new(actors),
        values: Cursor::new(columns.get(Column::ValueRaw)),
        next_pred: 0,
        start_op,
        table,
    };
    let ops = (0..counts.ops)
        .map(|row| rows.op(row))
        .collect::<Result<Vec<_>, _>>()?;
    rows.finish()?;
    Ok(ops)
}

/// How many rows the columns have.
#[derive(Clone, Copy)]
struct Counts {
    ops: usize,
    preds: usize,
}

/// Counts every column before anything is expanded. Columns which every operation has must
/// agree; those which may be absent must agree when present.
fn count(columns: &Columns<'_>) -> Result<Counts, ChunkError> {
    use Column as C;
    let ops = rows_of::<u64>(columns, C::Action)?;
    let preds = rows_of::<u64>(columns, C::PredActor)?;
    let counted = [
        (C::ObjActor, rows_of::<u64>(columns, C::ObjActor)?),
        (C::ObjCounter, rows_of::<u64>(columns, C::ObjCounter)?),
        (C::KeyActor, rows_of::<u64>(columns, C::KeyActor)?),
        (C::KeyCounter, rows_of::<i64>(columns, C::KeyCounter)?),
        (C::KeyString, rows_of::<&str>(columns, C::KeyString)?),
        (C::MarkName, rows_of::<&str>(columns, C::MarkName)?),
        (C::ValueMeta, rows_of::<u64>(columns, C::ValueMeta)?),
        (C::PredCount, rows_of::<u64>(columns, C::PredCount)?),
        (C::Insert, bools_of(columns, C::Insert)?),
        (C::Expand, bools_of(columns, C::Expand)?),
    ];
    for (column, rows) in counted {
        let always_there = matches!(column, C::ValueMeta | C::PredCount | C::Insert);
        let absent = columns.get(column).is_empty() && !always_there;
        if rows != ops && !absent {
            return Err(ChunkError::BadColumn { column });
        }
    }
    if rows_of::<i64>(columns, C::PredCounter)? != preds {
        return Err(ChunkError::BadColumn {
            column: C::PredCounter,
        });
    }
    Ok(Counts { ops, preds })
}

fn rows_of<'a, T: super::columns::Cell<'a>>(
    columns: &Columns<'a>,
    column: Column,
) -> Result<usize, ChunkError> {
    count_rows::<T>(column, columns.get(column), CHANGE_OPS)
}

fn bools_of(columns: &Columns<'_>, column: Column) -> Result<usize, ChunkError> {
    count_bools(column, columns.get(column), CHANGE_OPS)
}

/// The columns, expanded.
struct Table<'a> {
    obj_actor: Vec<Option<u64>>,
    obj_counter: Vec<Option<u64>>,
    key_actor: Vec<Option<u64>>,
    key_counter: Vec<Option<u64>>,
    key_string: Vec<Option<&'a str>>,
    insert: Vec<bool>,
    action: Vec<Option<u64>>,
    value_meta: Vec<Option<u64>>,
    pred_count: Vec<Option<u64>>,
    pred_actor: Vec<Option<u64>>,
    pred_counter: Vec<Option<u64>>,
    expand: Vec<bool>,
    mark_name: Vec<Option<&'a str>>,
}

impl<'a> Table<'a> {
    fn expand(columns: &Columns<'a>, Counts { ops, preds }: Counts) -> Result<Self, ChunkError> {
        let numbers = |column, rows| expand::<u64>(column, columns.get(column), rows);
        let deltas = |column, rows| expand_delta(column, columns.get(column), rows);
        let strings = |column| expand::<&'a str>(column, columns.get(column), ops);
        let bools = |column| expand_bools(column, columns.get(column), ops);
        let table = Self {
            obj_actor: numbers(Column::ObjActor, ops)?,
            obj_counter: numbers(Column::ObjCounter, ops)?,
            key_actor: numbers(Column::KeyActor, ops)?,
            key_counter: deltas(Column::KeyCounter, ops)?,
            key_string: strings(Column::KeyString)?,
            insert: bools(Column::Insert)?,
            action: numbers(Column::Action, ops)?,
            value_meta: numbers(Column::ValueMeta, ops)?,
            pred_count: numbers(Column::PredCount, ops)?,
            pred_actor: numbers(Column::PredActor, preds)?,
            pred_counter: deltas(Column::PredCounter, preds)?,
            expand: bools(Column::Expand)?,
            mark_name: strings(Column::MarkName)?,
        };
        table.refuse_all_false_expand(columns)?;
        Ok(table)
    }

    /// A column of marks that never expand is left out, as one of nothing but nulls is.
    fn refuse_all_false_expand(&self, columns: &Columns<'_>) -> Result<(), ChunkError> {
        let column = Column::Expand;
        if !columns.get(column).is_empty() && !self.expand.contains(&true) {
            return Err(ChunkError::BadColumn { column });
        }
        Ok(())
    }
}

/// The actors of the change and which of them an operation has named.
struct Actors<'a> {
    actors: &'a [ActorBytes],
    named: Vec<bool>,
}

impl<'a> Actors<'a> {
    fn new(actors: &'a [ActorBytes]) -> Self {
        Self {
            actors,
            named: vec![false; actors.len()],
        }
    }

    /// The id (`index`, `counter`) seen from the operation with the counter `own`: it must have
    /// been made before.
    fn id(
        &mut self,
        column: Column,
        index: u64,
        counter: u64,
        own: u64,
    ) -> Result<OpId, ChunkError> {
        let index = usize::try_from(index).map_err(|_| ChunkError::ActorOutOfRange { column })?;
        let actor = *self
            .actors
            .get(index)
            .ok_or(ChunkError::ActorOutOfRange { column })?;
        if counter == 0 || counter >= own {
            return Err(ChunkError::BadReference { column });
        }
        self.named[index] = true;
        Ok(OpId { counter, actor })
    }

    /// Every actor but the first, the author, is there because an operation names it.
    fn all_named(&self) -> bool {
        self.named.iter().skip(1).all(|named| *named)
    }
}

/// Makes operations out of the table, row after row.
struct Rows<'a> {
    actors: Actors<'a>,
    values: Cursor<'a>,
    next_pred: usize,
    start_op: u64,
    table: Table<'a>,
}

impl Rows<'_> {
    fn op(&mut self, row: usize) -> Result<Op, ChunkError> {
        let counter = self.start_op + row as u64;
        let op = Op {
            id: OpId {
                counter,
                actor: self.actors.actors[0],
            },
            obj: self.obj(row, counter)?,
            key: self.key(row, counter)?,
            insert: self.table.insert[row],
            action: self.action(row)?,
            pred: self.pred(row, counter)?,
        };
        if is_sound(&op) {
            Ok(op)
        } else {
            Err(ChunkError::BadOp { row })
        }
    }

    fn obj(&mut self, row: usize, own: u64) -> Result<Obj, ChunkError> {
        match (self.table.obj_actor[row], self.table.obj_counter[row]) {
            (None, None) => Ok(Obj::Root),
            (Some(actor), Some(counter)) => self
                .actors
                .id(Column::ObjCounter, actor, counter, own)
                .map(Obj::Id),
            _ => Err(ChunkError::BadColumn {
                column: Column::ObjActor,
            }),
        }
    }

    fn key(&mut self, row: usize, own: u64) -> Result<Key, ChunkError> {
        let actor = self.table.key_actor[row];
        let counter = self.table.key_counter[row];
        match (self.table.key_string[row], actor, counter) {
            (Some(key), None, None) => Ok(Key::Map(key.to_owned())),
            (None, None, Some(0)) => Ok(Key::Head),
            (None, Some(actor), Some(counter)) => self
                .actors
                .id(Column::KeyCounter, actor, counter, own)
                .map(Key::Elem),
            _ => Err(ChunkError::BadColumn {
                column: Column::KeyString,
            }),
        }
    }

    fn pred(&mut self, row: usize, own: u64) -> Result<Vec<OpId>, ChunkError> {
        let column = Column::PredCount;
        let count = self.table.pred_count[row]
            .and_then(|count| usize::try_from(count).ok())
            .ok_or(ChunkError::BadColumn { column })?;
        // Bounded by what is left, so that the sum of the counts cannot pass it.
        let left = self.table.pred_actor.len() - self.next_pred;
        if count > left {
            return Err(ChunkError::BadColumn { column });
        }
        let first = self.next_pred;
        self.next_pred += count;
        let pred = (first..self.next_pred)
            .map(|index| self.one_pred(index, own))
            .collect::<Result<Vec<_>, _>>()?;
        if !pred.is_sorted_by(|a, b| a < b) {
            return Err(ChunkError::BadReference {
                column: Column::PredCounter,
            });
        }
        Ok(pred)
    }

    fn one_pred(&mut self, index: usize, own: u64) -> Result<OpId, ChunkError> {
        let column = Column::PredCounter;
        match (self.table.pred_actor[index], self.table.pred_counter[index]) {
            (Some(actor), Some(counter)) => self.actors.id(column, actor, counter, own),
            _ => Err(ChunkError::BadColumn { column }),
        }
    }

    fn action(&mut self, row: usize) -> Result<Action, ChunkError> {
        let number = self.table.action[row].ok_or(ChunkError::BadColumn {
            column: Column::Action,
        })?;
        let value = self.value(row)?;
        let marks = self.table.expand[row] || self.table.mark_name[row].is_some();
        let action = match (number, value) {
            (0, Value::Null) => Action::MakeMap,
            (1, value) => Action::Put(value),
            (2, Value::Null) => Action::MakeList,
            (3, Value::Null) => Action::Delete,
            (4, Value::Null) => Action::MakeText,
            (5, Value::Int(by)) => Action::Increment(by),
            (6, Value::Null) => Action::MakeTable,
            // The end of a mark has no name and no value.
            (7, value) if self.table.mark_name[row].is_some() || value == Value::Null => {
                return Ok(Action::Mark);
            }
            (0..=7, _) => return Err(ChunkError::BadValue { row }),
            (action, _) => return Err(ChunkError::UnknownAction { action }),
        };
        if marks {
            return Err(ChunkError::BadOp { row });
        }
        Ok(action)
    }

    fn value(&mut self, row: usize) -> Result<Value, ChunkError> {
        let meta = self.table.value_meta[row].ok_or(ChunkError::BadColumn {
            column: Column::ValueMeta,
        })?;
        let bytes = self
            .values
            .take(meta >> 4)
            .map_err(|_| ChunkError::BadColumn {
                column: Column::ValueRaw,
            })?;
        read_value((meta & 0xf) as u8, bytes, row)
    }

    /// Everything must have been used: values, predecessors, actors.
    fn finish(&self) -> Result<(), ChunkError> {
        if !self.values.is_empty() {
            return Err(ChunkError::BadColumn {
                column: Column::ValueRaw,
            });
        }
        if self.next_pred != self.table.pred_actor.len() {
            return Err(ChunkError::BadColumn {
                column: Column::PredCount,
            });
        }
        if !self.actors.all_named() {
            return Err(ChunkError::BadActor);
        }
        Ok(())
    }
}

/// Reads a value of the type `code`, all of `bytes`.
pub(super) fn read_value(code: u8, bytes: &[u8], row: usize) -> Result<Value, ChunkError> {
    let bad = ChunkError::BadValue { row };
    let value = match code {
        0 if bytes.is_empty() => Value::Null,
        1 if bytes.is_empty() => Value::Bool(false),
        2 if bytes.is_empty() => Value::Bool(true),
        0..=2 => return Err(bad),
        3 => Value::Uint(whole(bytes, Cursor::unsigned).ok_or(bad)?),
        4 => Value::Int(whole(bytes, Cursor::signed).ok_or(bad)?),
        5 => Value::F64(f64::from_le_bytes(bytes.try_into().map_err(|_| bad)?)),
        6 => Value::Str(
            std::str::from_utf8(bytes)
                .map_err(|_| ChunkError::BadUtf8)?
                .to_owned(),
        ),
        7 => Value::Bytes(bytes.to_vec()),
        8 => Value::Counter(whole(bytes, Cursor::signed).ok_or(bad)?),
        9 => Value::Timestamp(whole(bytes, Cursor::signed).ok_or(bad)?),
        code => Value::Unknown {
            code,
            bytes: bytes.to_vec(),
        },
    };
    Ok(value)
}

/// One number which is all there is.
fn whole<'a, N>(
    bytes: &'a [u8],
    read: fn(&mut Cursor<'a>) -> Result<N, super::reader::ReadError>,
) -> Option<N> {
    let mut cursor = Cursor::new(bytes);
    let number = read(&mut cursor).ok()?;
    cursor.is_empty().then_some(number)
}

/// Whether the parts of an operation belong together. Automerge assumes all of this.
fn is_sound(op: &Op) -> bool {
    let in_sequence = !matches!(op.key, Key::Map(_));
    let may_insert = matches!(
        op.action,
        Action::MakeMap
            | Action::MakeList
            | Action::MakeText
            | Action::MakeTable
            | Action::Put(_)
            | Action::Mark
    );
    if op.insert {
        // A new element overwrites nothing.
        return in_sequence && op.obj != Obj::Root && may_insert && op.pred.is_empty();
    }
    match (&op.action, &op.key) {
        // A mark stands between elements, and there is nothing at the head to work on.
        (Action::Mark, _) | (_, Key::Head) => false,
        (_, Key::Elem(_)) if op.obj == Obj::Root => false,
        // A deletion lives on as its predecessors' successor: without one it would vanish on
        // load, and the change's hash with it.
        (Action::Delete | Action::Increment(_), _) => !op.pred.is_empty(),
        _ => true,
    }
}
