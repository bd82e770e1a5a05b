//! The columns of a change: which there are, and their run-length, delta and boolean encodings.
//!
//! Each column is walked twice: once to count its rows without keeping any, and, when every count
//! is within its limit, once more to expand it. Only the one canonical encoding of a column is
//! read. Automerge itself reads others too, but it rebuilds changes from its own columns on load,
//! so such a change would have another hash there and the saved document would not load.

use super::chunk::{ChunkError, Column};
use super::reader::{Cursor, ReadError};
use crate::limits::CHANGE_OPS;

/// Bit of a column's specification which says that its data is deflated.
const DEFLATED: u64 = 0b1000;

impl Column {
    /// Every column of a change in the order in which they are stored.
    pub const ALL: [Column; 14] = [
        Column::ObjActor,
        Column::ObjCounter,
        Column::KeyActor,
        Column::KeyCounter,
        Column::KeyString,
        Column::Insert,
        Column::Action,
        Column::ValueMeta,
        Column::ValueRaw,
        Column::PredCount,
        Column::PredActor,
        Column::PredCounter,
        Column::Expand,
        Column::MarkName,
    ];

    /// The specification under which Automerge stores it: id × 16 + type.
    pub const fn spec(self) -> u32 {
        match self {
            Column::ObjActor => 1,
            Column::ObjCounter => 2,
            Column::KeyActor => 17,
            Column::KeyCounter => 19,
            Column::KeyString => 21,
            Column::Insert => 52,
            Column::Action => 66,
            Column::ValueMeta => 86,
            Column::ValueRaw => 87,
            Column::PredCount => 112,
            Column::PredActor => 113,
            Column::PredCounter => 115,
            Column::Expand => 148,
            Column::MarkName => 165,
        }
    }

    fn from_spec(spec: u64) -> Result<Column, ChunkError> {
        if spec & DEFLATED != 0 {
            return Err(ChunkError::CompressedColumn { spec });
        }
        Column::ALL
            .into_iter()
            .find(|column| u64::from(column.spec()) == spec)
            .ok_or(ChunkError::UnknownColumn { spec })
    }
}

/// The data of each column, empty for those that are absent.
#[derive(Debug, Default)]
pub(super) struct RawColumns<'a> {
    data: [&'a [u8]; Column::ALL.len()],
}

impl<'a> RawColumns<'a> {
    /// Reads the directory of columns and then their data.
    pub(super) fn read(body: &mut Cursor<'a>) -> Result<Self, ChunkError> {
        let count = body.unsigned()?;
        let mut lengths = [0_u64; Column::ALL.len()];
        let mut last = None;
        for _ in 0..count {
            let column = Column::from_spec(body.unsigned()?)?;
            // Strictly ascending, so this loop ends after at most as many as there are.
            if last >= Some(column) {
                return Err(ChunkError::ColumnsOutOfOrder);
            }
            last = Some(column);
            let len = body.unsigned()?;
            if len == 0 {
                return Err(ChunkError::BadColumn { column });
            }
            lengths[column as usize] = len;
        }
        let mut data = [&[][..]; Column::ALL.len()];
        for (slot, len) in data.iter_mut().zip(lengths) {
            *slot = body.take(len)?;
        }
        Ok(Self { data })
    }

    pub(super) fn get(&self, column: Column) -> &'a [u8] {
        self.data[column as usize]
    }
}

/// A value which a run-length encoded column can hold.
pub(super) trait Cell<'a>: Copy + PartialEq {
    /// Reads one value.
    fn read(cursor: &mut Cursor<'a>, column: Column) -> Result<Self, ChunkError>;
}

impl Cell<'_> for u64 {
    fn read(cursor: &mut Cursor<'_>, column: Column) -> Result<Self, ChunkError> {
        cursor.unsigned().map_err(|_| bad(column))
    }
}

impl Cell<'_> for i64 {
    fn read(cursor: &mut Cursor<'_>, column: Column) -> Result<Self, ChunkError> {
        cursor.signed().map_err(|_| bad(column))
    }
}

impl<'a> Cell<'a> for &'a str {
    fn read(cursor: &mut Cursor<'a>, column: Column) -> Result<Self, ChunkError> {
        let bytes = cursor.prefixed().map_err(|_| bad(column))?;
        if bytes.len() > crate::limits::KEY_BYTES {
            return Err(ChunkError::KeyTooLong);
        }
        std::str::from_utf8(bytes).map_err(|_| ChunkError::BadUtf8)
    }
}

fn bad(column: Column) -> ChunkError {
    ChunkError::BadColumn { column }
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum RunKind {
    Start,
    Nulls,
    Repeat,
    Literal,
}

/// Iterates over the runs of a run-length encoded column: (how many rows, their value).
struct Runs<'a, T> {
    cursor: Cursor<'a>,
    column: Column,
    kind: RunKind,
    literals_left: u64,
    last: Option<T>,
    any_value: bool,
}

impl<'a, T: Cell<'a>> Runs<'a, T> {
    fn new(column: Column, data: &'a [u8]) -> Self {
        Self {
            cursor: Cursor::new(data),
            column,
            kind: RunKind::Start,
            literals_left: 0,
            last: None,
            any_value: false,
        }
    }

    fn next(&mut self) -> Result<Option<(u64, Option<T>)>, ChunkError> {
        if self.literals_left == 0 {
            if self.cursor.is_empty() {
                return self.end();
            }
            match self.number(Cursor::signed)? {
                0 => return self.nulls().map(Some),
                count if count > 0 => return self.repeat(count.unsigned_abs()).map(Some),
                count => self.begin_literals(count.unsigned_abs())?,
            }
        }
        self.literals_left -= 1;
        let value = self.value()?;
        Ok(Some((1, Some(value))))
    }

    /// A column of nothing but nulls is left out instead.
    fn end(&self) -> Result<Option<(u64, Option<T>)>, ChunkError> {
        if self.kind == RunKind::Nulls && !self.any_value {
            return Err(bad(self.column));
        }
        Ok(None)
    }

    fn nulls(&mut self) -> Result<(u64, Option<T>), ChunkError> {
        let count = self.number(Cursor::unsigned)?;
        if count == 0 || self.kind == RunKind::Nulls {
            return Err(bad(self.column));
        }
        self.kind = RunKind::Nulls;
        self.last = None;
        Ok((count, None))
    }

    fn repeat(&mut self, count: u64) -> Result<(u64, Option<T>), ChunkError> {
        if count == 1 {
            return Err(bad(self.column));
        }
        let value = self.value()?;
        self.kind = RunKind::Repeat;
        Ok((count, Some(value)))
    }

    fn begin_literals(&mut self, count: u64) -> Result<(), ChunkError> {
        if self.kind == RunKind::Literal {
            return Err(bad(self.column));
        }
        self.kind = RunKind::Literal;
        self.literals_left = count;
        Ok(())
    }

    /// The next value; one equal to the last would have to be part of its run.
    fn value(&mut self) -> Result<T, ChunkError> {
        let value = T::read(&mut self.cursor, self.column)?;
        if self.last == Some(value) {
            return Err(bad(self.column));
        }
        self.last = Some(value);
        self.any_value = true;
        Ok(value)
    }

    fn number<N>(
        &mut self,
        read: fn(&mut Cursor<'a>) -> Result<N, ReadError>,
    ) -> Result<N, ChunkError> {
        read(&mut self.cursor).map_err(|_| bad(self.column))
    }
}

/// How many rows a run-length encoded column has, found without expanding it.
pub(super) fn count_rows<'a, T: Cell<'a>>(
    column: Column,
    data: &'a [u8],
) -> Result<usize, ChunkError> {
    let mut rows = RowCount::default();
    let mut runs = Runs::<T>::new(column, data);
    while let Some((count, _)) = runs.next()? {
        rows.add(count)?;
    }
    Ok(rows.total)
}

/// Expands a run-length encoded column; an absent one is `rows` nulls.
///
/// [`count_rows`] must have counted it first: that bounds what is allocated here.
pub(super) fn expand<'a, T: Cell<'a>>(
    column: Column,
    data: &'a [u8],
    rows: usize,
) -> Result<Vec<Option<T>>, ChunkError> {
    if data.is_empty() {
        return Ok(vec![None; rows]);
    }
    let mut cells = Vec::with_capacity(rows);
    let mut runs = Runs::<T>::new(column, data);
    while let Some((count, value)) = runs.next()? {
        let count = usize::try_from(count).map_err(|_| ChunkError::TooManyOps)?;
        if count > rows - cells.len() {
            return Err(bad(column));
        }
        cells.resize(cells.len() + count, value);
    }
    if cells.len() != rows {
        return Err(bad(column));
    }
    Ok(cells)
}

/// Expands a column of differences into the values themselves.
pub(super) fn expand_delta(
    column: Column,
    data: &[u8],
    rows: usize,
) -> Result<Vec<Option<u64>>, ChunkError> {
    let mut absolute = 0_i64;
    expand::<i64>(column, data, rows)?
        .into_iter()
        .map(|delta| {
            let Some(delta) = delta else { return Ok(None) };
            absolute = absolute.checked_add(delta).ok_or(bad(column))?;
            u64::try_from(absolute).map(Some).map_err(|_| bad(column))
        })
        .collect()
}

/// How many rows a boolean column has, found without expanding it.
pub(super) fn count_bools(column: Column, data: &[u8]) -> Result<usize, ChunkError> {
    let mut rows = RowCount::default();
    for_each_bool_run(column, data, |count, _| rows.add(count))?;
    Ok(rows.total)
}

/// Expands a boolean column; an absent one is `rows` times false.
pub(super) fn expand_bools(
    column: Column,
    data: &[u8],
    rows: usize,
) -> Result<Vec<bool>, ChunkError> {
    if data.is_empty() {
        return Ok(vec![false; rows]);
    }
    let mut cells = Vec::with_capacity(rows);
    for_each_bool_run(column, data, |count, value| {
        let count = usize::try_from(count).map_err(|_| ChunkError::TooManyOps)?;
        if count > rows - cells.len() {
            return Err(bad(column));
        }
        cells.resize(cells.len() + count, value);
        Ok(())
    })?;
    if cells.len() != rows {
        return Err(bad(column));
    }
    Ok(cells)
}

/// Booleans are lengths of runs in turn, the first of them false and alone allowed to be empty.
fn for_each_bool_run(
    column: Column,
    data: &[u8],
    mut run: impl FnMut(u64, bool) -> Result<(), ChunkError>,
) -> Result<(), ChunkError> {
    let mut cursor = Cursor::new(data);
    let mut value = false;
    let mut first = true;
    while !cursor.is_empty() {
        let count = cursor.unsigned().map_err(|_| bad(column))?;
        let may_be_empty = first && !cursor.is_empty();
        if count == 0 && !may_be_empty {
            return Err(bad(column));
        }
        run(count, value)?;
        value = !value;
        first = false;
    }
    Ok(())
}

/// A sum of runs which never passes the limit.
#[derive(Default)]
struct RowCount {
    total: usize,
}

impl RowCount {
    fn add(&mut self, count: u64) -> Result<(), ChunkError> {
        self.total = usize::try_from(count)
            .ok()
            .and_then(|count| self.total.checked_add(count))
            .filter(|total| *total <= CHANGE_OPS)
            .ok_or(ChunkError::TooManyOps)?;
        Ok(())
    }
}
