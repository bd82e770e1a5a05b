//! The columns of a chunk: which there are, and their run-length, delta and boolean encodings.
//!
//! A column is walked once to count its rows without keeping any, and, when the count is within its
//! limit, once more for its rows ([`Rows`], [`Deltas`]). Only the one canonical encoding of a column is
//! read. Automerge itself reads others too, but it rebuilds changes from its own columns on load,
//! so such a change would have another hash there and the saved document would not load.

use super::chunk::{ChunkError, Column};
use super::reader::{Cursor, ReadError};

/// Bit of a column's specification which says that its data is deflated.
const DEFLATED: u64 = 0b1000;

/// The columns that a table of a chunk may have, in the order in which they are stored, each with the
/// specification under which Automerge stores it: id × 16 + type.
pub(super) type Layout<const N: usize> = [(Column, u64); N];

/// The data of each column of a table, empty for those that are absent.
#[derive(Debug)]
pub(super) struct RawColumns<'a, const N: usize> {
    layout: &'static Layout<N>,
    data: [&'a [u8]; N],
}

impl<'a, const N: usize> RawColumns<'a, N> {
    pub(super) fn get(&self, column: Column) -> &'a [u8] {
        let mut columns = self.layout.iter().zip(self.data);
        columns
            .find(|((of, _), _)| *of == column)
            .map_or(&[], |(_, data)| data)
    }
}

/// Which columns of a table there are, and how long each is.
#[derive(Debug)]
pub(super) struct Directory<const N: usize> {
    layout: &'static Layout<N>,
    lengths: [u64; N],
}

impl<const N: usize> Directory<N> {
    pub(super) fn read(
        body: &mut Cursor<'_>,
        layout: &'static Layout<N>,
    ) -> Result<Self, ChunkError> {
        let count = body.unsigned()?;
        let mut lengths = [0_u64; N];
        let mut free = 0;
        for _ in 0..count {
            let index = find(layout, body.unsigned()?)?;
            // Strictly ascending, so this loop ends after at most as many as there are.
            if index < free {
                return Err(ChunkError::ColumnsOutOfOrder);
            }
            free = index + 1;
            lengths[index] = body.unsigned()?;
            if lengths[index] == 0 {
                return Err(bad(layout[index].0));
            }
        }
        Ok(Self { layout, lengths })
    }

    /// Takes the data that the directory announced.
    pub(super) fn data<'a>(&self, body: &mut Cursor<'a>) -> Result<RawColumns<'a, N>, ChunkError> {
        let mut data = [&[][..]; N];
        for (slot, len) in data.iter_mut().zip(self.lengths) {
            *slot = body.take(len)?;
        }
        Ok(RawColumns {
            layout: self.layout,
            data,
        })
    }
}

fn find<const N: usize>(layout: &Layout<N>, spec: u64) -> Result<usize, ChunkError> {
    if spec & DEFLATED != 0 {
        return Err(ChunkError::CompressedColumn { spec });
    }
    layout
        .iter()
        .position(|(_, known)| *known == spec)
        .ok_or(ChunkError::UnknownColumn { spec })
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
            return Err(ChunkError::StringTooLong);
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

/// How many rows a run-length encoded column has, at most `max`, found without expanding it.
pub(super) fn count_rows<'a, T: Cell<'a>>(
    column: Column,
    data: &'a [u8],
    max: usize,
) -> Result<usize, ChunkError> {
    let mut rows = RowCount::new(max);
    let mut runs = Runs::<T>::new(column, data);
    while let Some((count, _)) = runs.next()? {
        rows.add(count)?;
    }
    Ok(rows.total)
}

/// Gives a run-length encoded column row by row; an absent one is nulls without end.
pub(super) struct Rows<'a, T> {
    runs: Runs<'a, T>,
    absent: bool,
    /// What is left of the run under way, and its value.
    left: u64,
    value: Option<T>,
}

impl<'a, T: Cell<'a>> Rows<'a, T> {
    pub(super) fn new(column: Column, data: &'a [u8]) -> Self {
        Self {
            runs: Runs::new(column, data),
            absent: data.is_empty(),
            left: 0,
            value: None,
        }
    }

    /// The next row, which must be there.
    pub(super) fn next(&mut self) -> Result<Option<T>, ChunkError> {
        if self.absent {
            return Ok(None);
        }
        if self.left == 0 {
            let run = self.runs.next()?;
            (self.left, self.value) = run.ok_or(bad(self.runs.column))?;
        }
        self.left -= 1;
        Ok(self.value)
    }

    /// The next row, which must be there and hold a value.
    pub(super) fn value(&mut self) -> Result<T, ChunkError> {
        self.next()?.ok_or(bad(self.runs.column))
    }

    /// No row may be left.
    pub(super) fn finish(mut self) -> Result<(), ChunkError> {
        if self.left == 0 && self.runs.next()?.is_none() {
            Ok(())
        } else {
            Err(bad(self.runs.column))
        }
    }
}

/// Gives a column of differences as the values themselves, row by row.
pub(super) struct Deltas<'a> {
    rows: Rows<'a, i64>,
    absolute: i64,
}

impl<'a> Deltas<'a> {
    pub(super) fn new(column: Column, data: &'a [u8]) -> Self {
        Self {
            rows: Rows::new(column, data),
            absolute: 0,
        }
    }

    /// The next row, which must be there.
    pub(super) fn next(&mut self) -> Result<Option<i64>, ChunkError> {
        let Some(delta) = self.rows.next()? else {
            return Ok(None);
        };
        let absolute = self.absolute.checked_add(delta);
        self.absolute = absolute.ok_or(bad(self.rows.runs.column))?;
        Ok(Some(self.absolute))
    }

    /// The next row, which must be there and hold a number that is not negative.
    pub(super) fn value(&mut self) -> Result<u64, ChunkError> {
        let value = self.next()?.and_then(|value| u64::try_from(value).ok());
        value.ok_or(bad(self.rows.runs.column))
    }

    /// No row may be left.
    pub(super) fn finish(self) -> Result<(), ChunkError> {
        self.rows.finish()
    }
}

/// Expands a run-length encoded column; an absent one is `rows` nulls.
///
/// [`count_rows`] must have counted it first: that bounds what is allocated here.
pub(super) fn expand<'a, T: Cell<'a>>(
    column: Column,
    data: &'a [u8],
    rows: usize,
) -> Result<Vec<Option<T>>, ChunkError> {
    let mut column = Rows::new(column, data);
    let cells = (0..rows)
        .map(|_| column.next())
        .collect::<Result<Vec<_>, _>>()?;
    column.finish()?;
    Ok(cells)
}

/// Expands a column of differences into the values themselves.
pub(super) fn expand_delta(
    column: Column,
    data: &[u8],
    rows: usize,
) -> Result<Vec<Option<u64>>, ChunkError> {
    let mut deltas = Deltas::new(column, data);
    let cells = (0..rows)
        .map(|_| match deltas.next()? {
            None => Ok(None),
            Some(value) => u64::try_from(value).map(Some).map_err(|_| bad(column)),
        })
        .collect::<Result<Vec<_>, _>>()?;
    deltas.finish()?;
    Ok(cells)
}

/// How many rows a boolean column has, at most `max`, found without expanding it.
pub(super) fn count_bools(column: Column, data: &[u8], max: usize) -> Result<usize, ChunkError> {
    let mut rows = RowCount::new(max);
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
struct RowCount {
    total: usize,
    max: usize,
}

impl RowCount {
    fn new(max: usize) -> Self {
        Self { total: 0, max }
    }

    fn add(&mut self, count: u64) -> Result<(), ChunkError> {
        self.total = usize::try_from(count)
            .ok()
            .and_then(|count| self.total.checked_add(count))
            .filter(|total| *total <= self.max)
            .ok_or(ChunkError::TooManyOps)?;
        Ok(())
    }
}
