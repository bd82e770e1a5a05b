//! Document rows: what a list shows, and the scopes that digests count.

use std::collections::BTreeSet;

use manzana_engine::codec;
use manzana_engine::digest::SetHash;
use manzana_engine::grant::Scope;
use manzana_engine::ids::{DocId, Hash};
use manzana_engine::replica::DocRow;
use minicbor::Encode;
use rusqlite::{Connection, OptionalExtension as _, Row, Transaction};

use super::{int, uint};
use crate::documents::{self, DocumentCounter};
use crate::sqlite::StoreError;

macro_rules! columns {
    () => {
        "place, doc, folio, creation_seq, provisional, quarantined, accepted_heads, \
         accepted_scopes, summary"
    };
}

pub(super) const DOC: &str = concat!("SELECT ", columns!(), " FROM docs WHERE doc = ?1");
pub(super) const STANDS: &str = "SELECT 1 FROM docs WHERE doc = ?1
     UNION ALL SELECT 1 FROM envelope_docs WHERE doc = ?1 LIMIT 1";
pub(super) const LIST: &str = concat!(
    "SELECT ",
    columns!(),
    " FROM docs ORDER BY captured_at DESC, doc"
);
pub(super) const SCOPES: &str = "SELECT accepted_scopes FROM docs WHERE doc = ?1";
pub(super) const DOCS_IN: &str = "SELECT doc FROM doc_scopes WHERE scope = ?1 ORDER BY doc";
pub(super) const HEADS_IN: &str = "SELECT doc, accepted_heads FROM doc_scopes JOIN docs USING (doc)
     WHERE scope = ?1 ORDER BY doc";
pub(super) const DIGEST: &str = "SELECT state FROM digests WHERE scope = ?1";
const PUT: &str = "INSERT INTO docs (doc, kind, status, conflict, captured_at, folio, creation_seq,
         provisional, quarantined, accepted_heads, accepted_scopes, summary)
     VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12)
     ON CONFLICT (doc) DO UPDATE SET kind = ?2, status = ?3, conflict = ?4, captured_at = ?5,
         folio = ?6, creation_seq = ?7, provisional = ?8, quarantined = ?9, accepted_heads = ?10,
         accepted_scopes = ?11, summary = ?12
     RETURNING place";
const ENTER: &str = "INSERT INTO doc_scopes (scope, doc) VALUES (?1, ?2) ON CONFLICT DO NOTHING";
const LEAVE: &str = "DELETE FROM doc_scopes WHERE scope = ?1 AND doc = ?2";
pub(super) const DROP: &str = "DELETE FROM docs WHERE doc = ?1";
const PUT_DIGEST: &str = "INSERT INTO digests (scope, state) VALUES (?1, ?2)
     ON CONFLICT (scope) DO UPDATE SET state = excluded.state";
pub(super) const DROP_DIGEST: &str = "DELETE FROM digests WHERE scope = ?1";

/// One document with its bytes.
pub(super) fn doc(
    conn: &Connection,
    counter: &DocumentCounter,
    doc: &DocId,
) -> Result<Option<DocRow>, StoreError> {
    let mut statement = conn.prepare_cached(DOC)?;
    let mut rows = statement.query([doc.as_bytes()])?;
    let Some(row) = rows.next()? else {
        return Ok(None);
    };
    let (place, mut found) = read(row)?;
    documents::open(conn, counter, place, &mut found)?;
    Ok(Some(found))
}

/// Those of the documents that have a row or open envelopes.
pub(super) fn standing(conn: &Connection, docs: &[DocId]) -> Result<BTreeSet<DocId>, StoreError> {
    let mut statement = conn.prepare_cached(STANDS)?;
    let mut standing = BTreeSet::new();
    for doc in docs {
        if statement.exists([doc.as_bytes()])? {
            standing.insert(*doc);
        }
    }
    Ok(standing)
}

/// All documents without their bytes, newest captured first.
pub(super) fn list(conn: &Connection) -> Result<Vec<DocRow>, StoreError> {
    let mut statement = conn.prepare_cached(LIST)?;
    let mut rows = statement.query([])?;
    let mut list = Vec::new();
    while let Some(row) = rows.next()? {
        list.push(read(row)?.1);
    }
    Ok(list)
}

fn read(row: &Row<'_>) -> Result<(i64, DocRow), StoreError> {
    let number = |at: usize| -> Result<Option<u64>, StoreError> {
        row.get::<_, Option<i64>>(at)?.map(uint).transpose()
    };
    let read = DocRow {
        doc: DocId(row.get(1)?),
        accepted: None,
        accepted_heads: codec::decode(row.get_ref(6)?.as_blob().map_err(damaged)?)?,
        accepted_scopes: codec::decode(row.get_ref(7)?.as_blob().map_err(damaged)?)?,
        shown: None,
        summary: codec::decode(row.get_ref(8)?.as_blob().map_err(damaged)?)?,
        creation_seq: number(3)?,
        folio: number(2)?,
        provisional: row.get(4)?,
        quarantined: row.get(5)?,
    };
    Ok((row.get(0)?, read))
}

/// The error of a column that does not hold a blob.
pub(super) fn damaged(_: rusqlite::types::FromSqlError) -> StoreError {
    StoreError::Damaged
}

/// Inserts or replaces a document, its bytes and its places in the index of scopes.
pub(super) fn put(tx: &Transaction<'_>, row: &DocRow) -> Result<(), StoreError> {
    let scopes = codec::encode(&row.accepted_scopes);
    let before = stored_scopes(tx, &row.doc)?;
    let place = tx.prepare_cached(PUT)?.query_row(
        rusqlite::params![
            row.doc.as_bytes(),
            index(&row.summary.doc_kind)?,
            index(&row.summary.status)?,
            row.summary.conflict,
            row.summary.captured_at,
            row.folio.map(int).transpose()?,
            row.creation_seq.map(int).transpose()?,
            row.provisional,
            row.quarantined,
            codec::encode(&row.accepted_heads),
            scopes,
            codec::encode(&row.summary),
        ],
        |row| row.get(0),
    )?;
    documents::save(tx, place, row)?;
    if before.as_ref() == Some(&scopes) {
        return Ok(());
    }
    leave(tx, &row.doc, before)?;
    let mut enter = tx.prepare_cached(ENTER)?;
    for scope in &row.accepted_scopes {
        enter.execute((scope.to_string(), row.doc.as_bytes()))?;
    }
    Ok(())
}

/// Forgets a document, its bytes and its places in the index of scopes.
pub(super) fn drop_doc(tx: &Transaction<'_>, doc: &DocId) -> Result<(), StoreError> {
    let scopes = stored_scopes(tx, doc)?;
    leave(tx, doc, scopes)?;
    tx.prepare_cached(DROP)?.execute([doc.as_bytes()])?;
    Ok(())
}

fn stored_scopes(tx: &Transaction<'_>, doc: &DocId) -> Result<Option<Vec<u8>>, StoreError> {
    let mut statement = tx.prepare_cached(SCOPES)?;
    Ok(statement
        .query_row([doc.as_bytes()], |row| row.get(0))
        .optional()?)
}

fn leave(tx: &Transaction<'_>, doc: &DocId, scopes: Option<Vec<u8>>) -> Result<(), StoreError> {
    let Some(scopes) = scopes else { return Ok(()) };
    let mut leave = tx.prepare_cached(LEAVE)?;
    for scope in codec::decode::<Vec<Scope>>(&scopes)? {
        leave.execute((scope.to_string(), doc.as_bytes()))?;
    }
    Ok(())
}

/// The documents whose accepted layer counts in a scope, by id.
pub(super) fn docs_in(conn: &Connection, scope: &Scope) -> Result<Vec<DocId>, StoreError> {
    let mut statement = conn.prepare_cached(DOCS_IN)?;
    let docs = statement.query_map([scope.to_string()], |row| Ok(DocId(row.get(0)?)))?;
    Ok(docs.collect::<Result<_, _>>()?)
}

/// The same documents with the heads of their accepted layers.
pub(super) fn heads_in(
    conn: &Connection,
    scope: &Scope,
) -> Result<Vec<(DocId, Vec<Hash>)>, StoreError> {
    let mut statement = conn.prepare_cached(HEADS_IN)?;
    let mut rows = statement.query([scope.to_string()])?;
    let mut found = Vec::new();
    while let Some(row) = rows.next()? {
        let heads = codec::decode(row.get_ref(1)?.as_blob().map_err(damaged)?)?;
        found.push((DocId(row.get(0)?), heads));
    }
    Ok(found)
}

/// A scope's digest; empty when none is stored.
pub(super) fn digest(conn: &Connection, scope: &Scope) -> Result<SetHash, StoreError> {
    let mut statement = conn.prepare_cached(DIGEST)?;
    let state: Option<Vec<u8>> = statement
        .query_row([scope.to_string()], |row| row.get(0))
        .optional()?;
    match state {
        None => Ok(SetHash::default()),
        Some(state) => SetHash::from_bytes(&state).ok_or(StoreError::Damaged),
    }
}

/// Replaces a scope's digest.
pub(super) fn put_digest(
    tx: &Transaction<'_>,
    scope: &Scope,
    digest: &SetHash,
) -> Result<(), StoreError> {
    tx.prepare_cached(PUT_DIGEST)?
        .execute((scope.to_string(), digest.to_bytes()))?;
    Ok(())
}

/// Forgets a scope's digest.
pub(super) fn drop_digest(tx: &Transaction<'_>, scope: &Scope) -> Result<(), StoreError> {
    tx.prepare_cached(DROP_DIGEST)?
        .execute([scope.to_string()])?;
    Ok(())
}

/// The number by which an enum without fields travels: its CBOR form.
fn index<T: Encode<()>>(value: &T) -> Result<u32, StoreError> {
    Ok(codec::decode(&codec::encode(value))?)
}
