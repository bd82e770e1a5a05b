//! A city that was put back from a backup: its epoch, what devices prove, and the folios they name.

use std::collections::BTreeMap;

use manzana_engine::answer::Answer;
use manzana_engine::epoch::{ClosingBody, EpochBody, SignedClosing, SignedEpoch};
use manzana_engine::ids::{DeviceId, DocId, Hash};
use rusqlite::{Connection, OptionalExtension, params};

use super::super::{
    ChainHead, DocState, EpochRow, RecoveryCounts, Result, SignClosing, StorageError, UserRow,
};
use super::convert::{cbor, count, int, optional_uint, to_cbor, uint};
use super::first_folio;
use super::read::{self, DOC_COLUMNS};

/// Numbers left out where the lost part of the log may have used them. Answers of one device, users.
pub(super) const LOST_ANSWERS: u64 = 1 << 20;
const LOST_USERS: u64 = 1_000;

pub(super) fn begin_epoch(conn: &Connection, record: &SignedEpoch, body: &EpochBody) -> Result<()> {
    conn.execute(
        "UPDATE city SET epoch = ?1, recovering = 1",
        params![body.epoch],
    )?;
    conn.execute(
        "INSERT INTO epochs (epoch, body, signature) VALUES (?1, ?2, ?3)",
        params![body.epoch, record.body, record.signature],
    )?;
    // Of every device: it may have been answered for the first time after the backup.
    let lost = u64::from(body.epoch.saturating_sub(body.before)) * LOST_ANSWERS;
    conn.execute(
        "INSERT INTO answer_counters (device, last) SELECT device, ?1 FROM devices WHERE true
         ON CONFLICT (device) DO UPDATE SET last = last + ?1",
        [int(lost)],
    )?;
    conn.execute(
        "UPDATE sqlite_sequence SET seq = seq + ?1 WHERE name = 'users'",
        [int(LOST_USERS)],
    )?;
    conn.execute(
        "UPDATE devices SET revoked_at = ?1 WHERE desk_seed IS NOT NULL AND revoked_at IS NULL",
        [body.at],
    )?;
    conn.execute("DELETE FROM sessions", [])?;
    Ok(())
}

pub(super) fn epoch(conn: &Connection) -> Result<Option<EpochRow>> {
    let found = conn
        .prepare_cached(
            "SELECT body, signature, closing_body FROM epochs ORDER BY epoch DESC LIMIT 1",
        )?
        .query_row([], |row| {
            let closing: Option<Vec<u8>> = row.get(2)?;
            Ok(EpochRow {
                record: SignedEpoch {
                    body: row.get(0)?,
                    signature: row.get(1)?,
                },
                body: cbor(row, 0)?,
                closed: closing.map(|_| cbor(row, 2)).transpose()?,
            })
        })
        .optional()?;
    Ok(found)
}

pub(super) fn counts(conn: &Connection) -> Result<RecoveryCounts> {
    let Some(epoch) = epoch(conn)? else {
        return Ok(RecoveryCounts::default());
    };
    let (cut, at) = (int(epoch.body.cut), epoch.body.at);
    let number = |sql: &str, params: &[&dyn rusqlite::ToSql]| -> Result<u64> {
        Ok(conn
            .prepare_cached(sql)?
            .query_row(params, |row| uint(row, 0))?)
    };
    Ok(RecoveryCounts {
        changes: number("SELECT count(*) FROM log WHERE seq > ?1", &[&cut])?,
        reclaimed: number(
            "SELECT count(*) FROM log WHERE seq > ?1 AND folio IS NOT NULL",
            &[&cut],
        )?,
        next_folio: next_folio(conn)?,
        without_folio: number(
            "SELECT count(*) FROM docs WHERE folio IS NULL AND kind = 0",
            &[],
        )?,
        waiting: number(
            "SELECT count(*) FROM (SELECT DISTINCT device, incarnation, n, grp FROM waiting)",
            &[],
        )?,
        devices: (
            number("SELECT count(*) FROM places WHERE at >= ?1", &[&at])?,
            number(
                "SELECT count(*) FROM devices
                 WHERE desk_seed IS NULL AND (revoked_at IS NULL OR revoked_at >= ?1)",
                &[&at],
            )?,
        ),
    })
}

/// The folio after the highest one that anything names.
fn next_folio(conn: &Connection) -> Result<u64> {
    let (next, given, claimed) = conn.query_row(
        "SELECT next_folio, (SELECT max(folio) FROM docs), (SELECT max(folio) FROM folio_claims) FROM city",
        [],
        |row| Ok((uint(row, 0)?, optional_uint(row, 1)?, optional_uint(row, 2)?)),
    )?;
    Ok(next.max(given.max(claimed).map_or(0, |highest| highest + 1)))
}

pub(super) fn close(conn: &Connection, now: i64, sign: SignClosing) -> Result<ClosingBody> {
    let closed = conn.execute("UPDATE city SET recovering = 0 WHERE recovering = 1", [])?;
    let begun = epoch(conn)?.filter(|_| closed > 0);
    let begun = begun.ok_or(StorageError::Missing)?.body;
    let next_folio = next_folio(conn)?;
    let body = ClosingBody {
        city: begun.city,
        epoch: begun.epoch,
        at: now,
        next_folio,
        void: unnamed(conn, next_folio)?,
    };
    put_void(conn, &body)?;
    let record = sign(&body);
    conn.execute(
        "UPDATE epochs SET closing_body = ?1, closing_signature = ?2 WHERE epoch = ?3",
        params![record.body, record.signature, body.epoch],
    )?;
    conn.execute("UPDATE city SET next_folio = ?1", [int(body.next_folio)])?;
    // What nobody brought is lost, and who built upon it is told. Brought late, it is in the log all the same.
    conn.execute(
        "INSERT INTO fates (hash, seq) SELECT DISTINCT dep, NULL FROM waiting WHERE true
         ON CONFLICT DO NOTHING",
        [],
    )?;
    Ok(body)
}

/// Notes what a record declares void, to be looked up by folio.
pub(super) fn put_void(conn: &Connection, closed: &ClosingBody) -> Result<()> {
    for (first, last) in &closed.void {
        conn.execute(
            "INSERT INTO void_folios (first, last, epoch) VALUES (?1, ?2, ?3)",
            params![int(*first), int(*last), closed.epoch],
        )?;
    }
    Ok(())
}

/// The city's folios below `next` that no petition has or claims and that are not void yet, as runs. From the
/// first one on: a rescued city may miss some in the middle.
fn unnamed(conn: &Connection, next: u64) -> Result<Vec<(u64, u64)>> {
    let mut taken = conn.prepare(
        "SELECT folio, folio FROM docs WHERE folio IS NOT NULL
         UNION SELECT folio_claims.folio, folio_claims.folio FROM folio_claims JOIN docs USING (doc)
         WHERE docs.folio IS NULL
         UNION SELECT first, last FROM void_folios ORDER BY 1",
    )?;
    let mut rows = taken.query([])?;
    let (mut runs, mut due) = (Vec::new(), first_folio(conn)?);
    while let Some(row) = rows.next()? {
        let (first, last) = (uint(row, 0)?, uint(row, 1)?);
        if first > due {
            runs.push((due, first - 1));
        }
        // One that is void may be claimed too.
        due = due.max(last + 1);
    }
    if next > due {
        runs.push((due, next - 1));
    }
    Ok(runs)
}

pub(super) fn put_proofs(conn: &Connection, proofs: &[(Hash, Vec<Answer>)]) -> Result<()> {
    let mut put = conn.prepare_cached(
        "INSERT INTO proofs (envelope, answers) VALUES (?1, ?2) ON CONFLICT DO NOTHING",
    )?;
    for (envelope, answers) in proofs {
        put.execute(params![envelope.as_bytes(), to_cbor(answers)])?;
    }
    Ok(())
}

pub(super) fn proofs<'h>(
    conn: &Connection,
    envelopes: impl Iterator<Item = &'h Hash>,
) -> Result<BTreeMap<Hash, Vec<Answer>>> {
    let mut statement = conn.prepare_cached("SELECT answers FROM proofs WHERE envelope = ?1")?;
    let mut found = BTreeMap::new();
    for envelope in envelopes {
        let answers = statement
            .query_row([envelope.as_bytes()], |row| cbor(row, 0))
            .optional()?;
        found.extend(answers.map(|answers| (*envelope, answers)));
    }
    Ok(found)
}

pub(super) fn drop_proof(conn: &Connection, envelope: &Hash) -> Result<()> {
    conn.prepare_cached("DELETE FROM proofs WHERE envelope = ?1")?
        .execute([envelope.as_bytes()])?;
    Ok(())
}

pub(super) fn claim_folio(conn: &Connection, doc: &DocId, folio: u64) -> Result<()> {
    conn.prepare_cached(
        "INSERT INTO folio_claims (folio, doc) VALUES (?1, ?2) ON CONFLICT DO NOTHING",
    )?
    .execute(params![int(folio), doc.as_bytes()])?;
    Ok(())
}

/// The lowest folio that a device said a petition had.
pub(super) fn claim_of(conn: &Connection, doc: &DocId) -> Result<Option<u64>> {
    Ok(conn
        .prepare_cached("SELECT folio FROM folio_claims WHERE doc = ?1 ORDER BY folio LIMIT 1")?
        .query_row([doc.as_bytes()], |row| uint(row, 0))
        .optional()?)
}

/// Whether a petition may have this folio: nobody has it, and it is not void.
pub(super) fn is_free(conn: &Connection, folio: u64) -> Result<bool> {
    let taken: bool = conn
        .prepare_cached(
            "SELECT EXISTS (SELECT 1 FROM docs WHERE folio = ?1)
                 OR EXISTS (SELECT 1 FROM void_folios WHERE ?1 BETWEEN first AND last)",
        )?
        .query_row([int(folio)], |row| row.get(0))?;
    Ok(!taken)
}

pub(super) fn without_folio(conn: &Connection, limit: usize) -> Result<Vec<DocState>> {
    let sql = format!(
        "SELECT {DOC_COLUMNS} FROM docs WHERE folio IS NULL AND kind = 0
         ORDER BY creation_seq LIMIT ?1"
    );
    let mut statement = conn.prepare_cached(&sql)?;
    let rows = statement.query_map([count(limit)], read::doc_row)?;
    Ok(rows.collect::<rusqlite::Result<_>>()?)
}

pub(super) fn chains_of(conn: &Connection, device: &DeviceId) -> Result<Vec<(u32, ChainHead)>> {
    let mut statement = conn.prepare_cached(
        "SELECT have, hash, incarnation FROM chains WHERE device = ?1 ORDER BY incarnation",
    )?;
    let rows = statement.query_map([device.as_bytes()], |row| {
        Ok((row.get(2)?, read::chain_head(row)?))
    })?;
    Ok(rows.collect::<rusqlite::Result<_>>()?)
}

/// Adds a user that a returned grant names.
pub(super) fn put_user(conn: &Connection, user: &UserRow) -> Result<()> {
    conn.prepare_cached(
        "INSERT INTO users (id, name, display, role, password_hash, disabled)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6) ON CONFLICT DO NOTHING",
    )?
    .execute(params![
        int(user.id),
        user.name,
        user.display,
        user.role,
        user.password_hash,
        user.disabled,
    ])?;
    Ok(())
}

/// A device has answers up to here: numbers of new ones begin above, also where those were lost.
pub(super) fn jump_answers(conn: &Connection, device: &DeviceId, seen: u64) -> Result<()> {
    conn.prepare_cached(
        "INSERT INTO answer_counters (device, last) VALUES (?1, ?2)
         ON CONFLICT (device) DO UPDATE SET last = excluded.last WHERE last < excluded.last",
    )?
    .execute(params![device.as_bytes(), int(seen)])?;
    Ok(())
}

/// Whether [`jump_answers`] has anything to do.
pub(super) fn answers_lost(conn: &Connection, device: &DeviceId, seen: u64) -> Result<bool> {
    let last: Option<u64> = conn
        .prepare_cached("SELECT last FROM answer_counters WHERE device = ?1")?
        .query_row([device.as_bytes()], |row| uint(row, 0))
        .optional()?;
    Ok(last.unwrap_or(0) < seen)
}

/// Folios that were declared void in an epoch, as runs: no petition may have one.
pub(super) fn void_folios(conn: &Connection, epoch: u32) -> Result<Vec<(u64, u64)>> {
    let mut statement =
        conn.prepare("SELECT first, last FROM void_folios WHERE epoch = ?1 ORDER BY first")?;
    let runs = statement.query_map([epoch], |row| Ok((uint(row, 0)?, uint(row, 1)?)))?;
    Ok(runs.collect::<rusqlite::Result<_>>()?)
}

/// The records of an epoch: that it began, and that its recovery was closed.
pub(super) type Records = (SignedEpoch, Option<SignedClosing>);

/// The records of each epoch, oldest first.
pub(super) fn records(conn: &Connection) -> Result<Vec<Records>> {
    let mut statement = conn.prepare(
        "SELECT body, signature, closing_body, closing_signature FROM epochs ORDER BY epoch",
    )?;
    let rows = statement.query_map([], |row| {
        let begun = SignedEpoch {
            body: row.get(0)?,
            signature: row.get(1)?,
        };
        let closing: (Option<Vec<u8>>, Option<[u8; 64]>) = (row.get(2)?, row.get(3)?);
        let closing = match closing {
            (Some(body), Some(signature)) => Some(SignedClosing { body, signature }),
            _ => None,
        };
        Ok((begun, closing))
    })?;
    Ok(rows.collect::<rusqlite::Result<_>>()?)
}
