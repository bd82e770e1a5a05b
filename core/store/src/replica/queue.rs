//! What waits for the relay: envelopes, intents, and the receipts that end the waiting.

use manzana_engine::answer::{Answer, ReceiptBody, SignedReceipt};
use manzana_engine::codec;
use manzana_engine::ids::{DeviceId, DocId, Hash, RecordId};
use manzana_engine::replica::{EnvelopeRow, IntentRow, IntentState};
use rusqlite::{Connection, OptionalExtension as _, Params, Row, Transaction};

use super::docs::damaged;
use super::{int, uint};
use crate::sqlite::StoreError;

/// Receipts are kept this many days of city time, at the least.
pub const RECEIPT_DAYS: i64 = 30;
const DAY_MS: i64 = 24 * 60 * 60 * 1000;

macro_rules! envelopes {
    ($($rest:literal),*) => {
        concat!("SELECT e.envelope, e.n, e.hash, e.answers, e.docs FROM ", $($rest),*)
    };
}

pub(super) const ENVELOPE: &str =
    envelopes!("envelopes e WHERE device = ?1 AND incarnation = ?2 AND n = ?3");
pub(super) const CHAIN: &str = envelopes!(
    "envelopes e WHERE device = ?1 AND incarnation = ?2 AND n >= ?3 ORDER BY n LIMIT ?4"
);
pub(super) const OPEN_ENVELOPES: &str = envelopes!(
    "envelope_docs o JOIN envelopes e ON e.place = o.place WHERE o.doc = ?1 ORDER BY o.place"
);
// Walks what is unanswered in its own index, and opens only the rows outside the chain.
pub(super) const CARRIED: &str = envelopes!(
    "envelopes e INDEXED BY envelopes_carried WHERE answers IS NULL AND place > 0 \
     AND NOT (device = ?1 AND incarnation = ?2) ORDER BY place LIMIT ?3"
);
pub(super) const UNSENT: &str = "SELECT count(*), min(device_time) FROM envelopes
     WHERE answers IS NULL AND device = ?1";
pub(super) const ENVELOPE_DOCS: &str =
    "SELECT place, docs FROM envelopes WHERE device = ?1 AND incarnation = ?2 AND n = ?3";
const PUT_ENVELOPE: &str = "INSERT INTO envelopes
         (device, incarnation, n, device_time, hash, envelope, answers, docs)
     VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)
     ON CONFLICT (device, incarnation, n) DO UPDATE SET device_time = ?4, hash = ?5,
         envelope = ?6, answers = ?7, docs = ?8
     RETURNING place";
pub(super) const DROP_ENVELOPE: &str = "DELETE FROM envelopes WHERE place = ?1";
const OPEN_ENVELOPE: &str = "INSERT INTO envelope_docs (doc, place) VALUES (?1, ?2)
     ON CONFLICT DO NOTHING";
pub(super) const CLOSE_ENVELOPE: &str = "DELETE FROM envelope_docs WHERE doc = ?1 AND place = ?2";

pub(super) const INTENT: &str = "SELECT id, intent, state, docs FROM intents WHERE id = ?1";
pub(super) const TO_CORRECT: &str = "SELECT id, intent, state, docs FROM intents
     WHERE to_correct = 1 AND place > 0 ORDER BY place";
// What is pending or held is listed by its documents, and it is little.
pub(super) const ALL_OPEN_INTENTS: &str = "SELECT id, intent, state, docs FROM intents
     WHERE place IN (SELECT place FROM intent_docs) ORDER BY place";
pub(super) const ALL_INTENTS: &str =
    "SELECT id, intent, state, docs FROM intents WHERE place > 0 ORDER BY place";
pub(super) const OPEN_INTENTS: &str = "SELECT i.id, i.intent, i.state, i.docs
     FROM intent_docs o JOIN intents i ON i.place = o.place WHERE o.doc = ?1 ORDER BY o.place";
pub(super) const INTENT_DOCS: &str = "SELECT place, docs FROM intents WHERE id = ?1";
const PUT_INTENT: &str = "INSERT INTO intents (id, to_correct, state, intent, docs)
     VALUES (?1, ?2, ?3, ?4, ?5)
     ON CONFLICT (id) DO UPDATE SET to_correct = ?2, state = ?3, intent = ?4, docs = ?5
     RETURNING place";
const OPEN_INTENT: &str = "INSERT INTO intent_docs (doc, place) VALUES (?1, ?2)
     ON CONFLICT DO NOTHING";
pub(super) const CLOSE_INTENT: &str = "DELETE FROM intent_docs WHERE doc = ?1 AND place = ?2";

pub(super) const RECEIPTS: &str = "SELECT place, body, signature FROM receipts
     WHERE place < ?1 ORDER BY place DESC LIMIT ?2";
pub(super) const OWN_CHAINS: &str =
    "SELECT incarnation, max(n) FROM envelopes WHERE device = ?1 GROUP BY incarnation";
const PUT_RECEIPT: &str = "INSERT INTO receipts (time, body, signature) VALUES (?1, ?2, ?3)";
pub(super) const DROP_RECEIPTS: &str = "DELETE FROM receipts WHERE time < ?1";

/// The envelopes that one of the statements above selects.
pub(super) fn envelopes(
    conn: &Connection,
    sql: &str,
    params: impl Params,
) -> Result<Vec<EnvelopeRow>, StoreError> {
    collect(conn, sql, params, read_envelope)
}

/// The intents that one of the statements above selects.
pub(super) fn intents(
    conn: &Connection,
    sql: &str,
    params: impl Params,
) -> Result<Vec<IntentRow>, StoreError> {
    collect(conn, sql, params, read_intent)
}

fn collect<T>(
    conn: &Connection,
    sql: &str,
    params: impl Params,
    read: fn(&Row<'_>) -> Result<T, StoreError>,
) -> Result<Vec<T>, StoreError> {
    let mut statement = conn.prepare_cached(sql)?;
    let mut rows = statement.query(params)?;
    let mut found = Vec::new();
    while let Some(row) = rows.next()? {
        found.push(read(row)?);
    }
    Ok(found)
}

fn read_envelope(row: &Row<'_>) -> Result<EnvelopeRow, StoreError> {
    let answers = row.get_ref(3)?.as_blob_or_null().map_err(damaged)?;
    Ok(EnvelopeRow {
        envelope: codec::decode(row.get_ref(0)?.as_blob().map_err(damaged)?)?,
        n: uint(row.get(1)?)?,
        hash: Hash(row.get(2)?),
        answers: answers.map(codec::decode).transpose()?,
        docs: codec::decode(row.get_ref(4)?.as_blob().map_err(damaged)?)?,
    })
}

fn read_intent(row: &Row<'_>) -> Result<IntentRow, StoreError> {
    Ok(IntentRow {
        id: RecordId(row.get(0)?),
        intent: row.get(1)?,
        state: codec::decode(row.get_ref(2)?.as_blob().map_err(damaged)?)?,
        docs: codec::decode(row.get_ref(3)?.as_blob().map_err(damaged)?)?,
    })
}

/// Number of a device's unanswered envelopes and the oldest time among them.
pub(super) fn unsent(
    conn: &Connection,
    device: &DeviceId,
) -> Result<(u64, Option<i64>), StoreError> {
    let mut statement = conn.prepare_cached(UNSENT)?;
    let (count, oldest) =
        statement.query_row([device.as_bytes()], |row| Ok((row.get(0)?, row.get(1)?)))?;
    Ok((uint(count)?, oldest))
}

/// Inserts or replaces an envelope and its places in the index of documents.
pub(super) fn put_envelope(tx: &Transaction<'_>, row: &EnvelopeRow) -> Result<(), StoreError> {
    let context = &row.envelope.context;
    let (device, incarnation, n) = (context.device.as_bytes(), context.incarnation, int(row.n)?);
    unlist(tx, ENVELOPE_DOCS, CLOSE_ENVELOPE, (device, incarnation, n))?;
    let place: i64 = tx.prepare_cached(PUT_ENVELOPE)?.query_row(
        rusqlite::params![
            device,
            incarnation,
            n,
            row.envelope.peek().ok().map(|body| body.device_time),
            row.hash.as_bytes(),
            codec::encode(&row.envelope),
            row.answers.as_ref().map(codec::encode),
            codec::encode(&row.docs),
        ],
        |row| row.get(0),
    )?;
    let answered = row.answers.as_ref();
    if answered.is_some_and(|answers| answers.iter().all(Answer::is_final)) {
        return Ok(());
    }
    enlist(tx, OPEN_ENVELOPE, &row.docs, place)
}

/// Forgets an envelope.
pub(super) fn drop_envelope(
    tx: &Transaction<'_>,
    device: &DeviceId,
    incarnation: u32,
    n: u64,
) -> Result<(), StoreError> {
    let key = (device.as_bytes(), incarnation, int(n)?);
    if let Some(place) = unlist(tx, ENVELOPE_DOCS, CLOSE_ENVELOPE, key)? {
        tx.prepare_cached(DROP_ENVELOPE)?.execute([place])?;
    }
    Ok(())
}

/// Inserts or replaces an intent and its places in the index of documents.
pub(super) fn put_intent(tx: &Transaction<'_>, row: &IntentRow) -> Result<(), StoreError> {
    unlist(tx, INTENT_DOCS, CLOSE_INTENT, [row.id.as_bytes()])?;
    let place: i64 = tx.prepare_cached(PUT_INTENT)?.query_row(
        rusqlite::params![
            row.id.as_bytes(),
            matches!(row.state, IntentState::ToCorrect { .. }),
            codec::encode(&row.state),
            row.intent,
            codec::encode(&row.docs),
        ],
        |row| row.get(0),
    )?;
    match row.state {
        IntentState::Pending { .. } | IntentState::Held { .. } => {
            enlist(tx, OPEN_INTENT, &row.docs, place)
        }
        _ => Ok(()),
    }
}

/// Takes the row out of the index of documents; its place, if it was stored.
fn unlist(
    tx: &Transaction<'_>,
    stored: &str,
    remove: &str,
    key: impl Params,
) -> Result<Option<i64>, StoreError> {
    let found: Option<(i64, Vec<u8>)> = tx
        .prepare_cached(stored)?
        .query_row(key, |row| Ok((row.get(0)?, row.get(1)?)))
        .optional()?;
    let Some((place, docs)) = found else {
        return Ok(None);
    };
    let mut remove = tx.prepare_cached(remove)?;
    for doc in codec::decode::<Vec<DocId>>(&docs)? {
        remove.execute((doc.as_bytes(), place))?;
    }
    Ok(Some(place))
}

fn enlist(tx: &Transaction<'_>, sql: &str, docs: &[DocId], place: i64) -> Result<(), StoreError> {
    let mut enlist = tx.prepare_cached(sql)?;
    for doc in docs {
        enlist.execute((doc.as_bytes(), place))?;
    }
    Ok(())
}

/// Keeps a receipt, and forgets those that were [`RECEIPT_DAYS`] old when it was signed.
pub(super) fn put_receipt(tx: &Transaction<'_>, receipt: &SignedReceipt) -> Result<(), StoreError> {
    let body: ReceiptBody =
        codec::decode(&receipt.body).map_err(|error| StoreError::Backend(Box::new(error)))?;
    tx.prepare_cached(PUT_RECEIPT)?.execute((
        body.time,
        &receipt.body,
        receipt.signature.as_slice(),
    ))?;
    let oldest = body.time.saturating_sub(RECEIPT_DAYS * DAY_MS);
    tx.prepare_cached(DROP_RECEIPTS)?.execute([oldest])?;
    Ok(())
}

/// The latest receipts before a place, newest first, each with its own.
pub(super) fn receipts(
    conn: &Connection,
    before: u64,
    limit: usize,
) -> Result<Vec<(u64, SignedReceipt)>, StoreError> {
    // Places do not reach what SQLite cannot hold.
    let before = i64::try_from(before).unwrap_or(i64::MAX);
    collect(conn, RECEIPTS, (before, limit_of(limit)), |row| {
        let receipt = SignedReceipt {
            body: row.get(1)?,
            signature: row.get(2)?,
        };
        Ok((uint(row.get(0)?)?, receipt))
    })
}

/// The device's chains: incarnation and last place.
pub(super) fn own_chains(
    conn: &Connection,
    device: &DeviceId,
) -> Result<Vec<(u32, u64)>, StoreError> {
    collect(conn, OWN_CHAINS, [device.as_bytes()], |row| {
        Ok((row.get(0)?, uint(row.get(1)?)?))
    })
}

/// A limit as SQLite takes it.
pub(super) fn limit_of(limit: usize) -> i64 {
    i64::try_from(limit).unwrap_or(i64::MAX)
}
