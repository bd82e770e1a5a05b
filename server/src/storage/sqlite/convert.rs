//! Between SQLite's values and errors and those of this program.

use manzana_engine::codec;
use manzana_engine::envelope::PartKind;
use manzana_engine::grant::Scope;
use manzana_engine::ids::IdError;
use manzana_engine::summary::DocKind;
use manzana_store::sqlite::{OpenError, StoreError};
use minicbor::{Decode, Encode};
use rusqlite::types::Type;
use rusqlite::{ErrorCode, Row};

use super::super::{Move, StatusFilter, StorageError};

/// A call that the caller should not have made: our own mistake, nothing is written.
#[derive(Debug, thiserror::Error)]
#[error("misuse of the storage: {0}")]
pub(super) struct Misuse(pub(super) &'static str);

impl From<Misuse> for StorageError {
    fn from(misuse: Misuse) -> Self {
        Self::Backend(Box::new(misuse))
    }
}

impl From<StoreError> for StorageError {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::Full => Self::Full,
            StoreError::Damaged => Self::Damaged,
            StoreError::Busy => Self::Busy,
            StoreError::Backend(inner) => Self::Backend(inner),
            other => Self::Backend(Box::new(other)),
        }
    }
}

impl From<rusqlite::Error> for StorageError {
    fn from(error: rusqlite::Error) -> Self {
        StoreError::from(error).into()
    }
}

impl From<OpenError> for StorageError {
    fn from(error: OpenError) -> Self {
        match error {
            OpenError::Newer { found, known } => Self::NewerDatabase { found, known },
            OpenError::Store(inner) => inner.into(),
            other => Self::Backend(Box::new(other)),
        }
    }
}

/// [`StorageError::Exists`] when a key is taken, the usual reading otherwise.
pub(super) fn taken(error: rusqlite::Error) -> StorageError {
    if error.sqlite_error_code() == Some(ErrorCode::ConstraintViolation) {
        StorageError::Exists
    } else {
        error.into()
    }
}

/// SQLite's integers are signed. Numbers beyond (only `u64::MAX` as "the end" in practice) saturate.
pub(super) fn int(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}

/// A count as SQLite's integer.
pub(super) fn count(value: usize) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}

/// A column that is never negative.
pub(super) fn uint(row: &Row<'_>, column: usize) -> rusqlite::Result<u64> {
    let value: i64 = row.get(column)?;
    u64::try_from(value).map_err(|_| rusqlite::Error::IntegralValueOutOfRange(column, value))
}

/// As [`uint`], of a column that may be NULL.
pub(super) fn optional_uint(row: &Row<'_>, column: usize) -> rusqlite::Result<Option<u64>> {
    match row.get_ref(column)?.data_type() {
        Type::Null => Ok(None),
        _ => uint(row, column).map(Some),
    }
}

/// A column of an id's or key's bytes.
pub(super) fn id<T>(
    row: &Row<'_>,
    column: usize,
    read: fn(&[u8]) -> Result<T, IdError>,
) -> rusqlite::Result<T> {
    let value = row.get_ref(column)?;
    let bytes = value.as_blob().map_err(|_| unreadable(column))?;
    read(bytes).map_err(|_| unreadable(column))
}

/// A column of CBOR.
pub(super) fn cbor<T: for<'b> Decode<'b, ()>>(row: &Row<'_>, column: usize) -> rusqlite::Result<T> {
    let value = row.get_ref(column)?;
    let bytes = value.as_blob().map_err(|_| unreadable(column))?;
    codec::decode(bytes).map_err(|_| unreadable(column))
}

/// The CBOR of a value.
pub(super) fn to_cbor<T: Encode<()>>(value: &T) -> Vec<u8> {
    codec::encode(value)
}

fn unreadable(column: usize) -> rusqlite::Error {
    rusqlite::Error::FromSqlConversionFailure(column, Type::Blob, Box::new(IdError))
}

/// A scope as the tables name it.
pub(super) fn scope_key(scope: &Scope) -> String {
    scope.to_string()
}

/// A document's kind as the tables number it.
pub(super) fn kind_code(kind: DocKind) -> i64 {
    match kind {
        DocKind::Petition => 0,
        DocKind::Catalog => 1,
    }
}

/// A part's kind as the tables number it.
pub(super) fn part_code(kind: PartKind) -> i64 {
    match kind {
        PartKind::Petitioner => 0,
        PartKind::MaskedName => 1,
    }
}

/// A move as the tables number it.
pub(super) fn move_code(step: Move) -> i64 {
    match step {
        Move::Stay => 0,
        Move::Enter => 1,
        Move::Leave => 2,
    }
}

/// Reads [`move_code`] back.
pub(super) fn move_of(code: i64) -> Move {
    match code {
        1 => Move::Enter,
        2 => Move::Leave,
        _ => Move::Stay,
    }
}

/// What the `status` column numbers, by its numbers.
const LISTED: [StatusFilter; 7] = [
    StatusFilter::Pending,
    StatusFilter::Referred,
    StatusFilter::InProgress,
    StatusFilter::Done,
    StatusFilter::DoneUnconfirmed,
    StatusFilter::NotApplicable,
    StatusFilter::Conflict,
];

/// A filter as the `status` column numbers it.
pub(super) fn status_code(status: StatusFilter) -> i64 {
    let place = LISTED.iter().position(|listed| *listed == status);
    count(place.unwrap_or(LISTED.len()))
}

/// Reads [`status_code`] back.
pub(super) fn status_of(row: &Row<'_>, column: usize) -> rusqlite::Result<StatusFilter> {
    let code = uint(row, column)?;
    let listed = usize::try_from(code)
        .ok()
        .and_then(|place| LISTED.get(place));
    listed.copied().ok_or_else(|| unreadable(column))
}
