//! Groups that are held: listed, decided, and let go with their last answer.

use bytes::Bytes;
use manzana_engine::answer::HeldReason;
use manzana_engine::ids::DeviceId;
use rusqlite::types::{FromSql, FromSqlError, FromSqlResult, ValueRef};
use rusqlite::{Connection, Row, params};

use super::super::{Decision, EnvelopeCommit, HeldCounts, HeldGroup, Result, StorageError};
use super::convert::{cbor, count, id, int, to_cbor, uint};

const HELD: &str = "SELECT h.id, h.device, h.incarnation, h.n, h.grp, h.since, h.reason, h.detail,
                           h.decision, h.problem, e.bytes
                    FROM held h JOIN envelopes e USING (device, incarnation, n)";

/// Keeps a group that is held from now on.
pub(super) fn hold(
    conn: &Connection,
    envelope: &EnvelopeCommit,
    group: usize,
    time: i64,
    reason: HeldReason,
    detail: Option<&str>,
) -> Result<()> {
    conn.prepare_cached(
        "INSERT INTO held (device, incarnation, n, grp, since, reason, detail)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)",
    )?
    .execute(params![
        envelope.device.as_bytes(),
        envelope.incarnation,
        int(envelope.n),
        count(group),
        time,
        to_cbor(&reason),
        detail,
    ])?;
    Ok(())
}

/// A group is not held any more.
pub(super) fn let_go(conn: &Connection, envelope: &EnvelopeCommit, group: usize) -> Result<()> {
    conn.prepare_cached(
        "DELETE FROM held WHERE device = ?1 AND incarnation = ?2 AND n = ?3 AND grp = ?4",
    )?
    .execute(params![
        envelope.device.as_bytes(),
        envelope.incarnation,
        int(envelope.n),
        count(group),
    ])?;
    Ok(())
}

pub(super) fn held(conn: &Connection, after: u64, limit: usize) -> Result<Vec<HeldGroup>> {
    let sql = format!("{HELD} WHERE h.id > ?1 ORDER BY h.id LIMIT ?2");
    let mut statement = conn.prepare_cached(&sql)?;
    let rows = statement.query_map([int(after), count(limit)], group)?;
    Ok(rows.collect::<rusqlite::Result<_>>()?)
}

pub(super) fn decided(conn: &Connection, limit: usize) -> Result<Vec<HeldGroup>> {
    let sql = format!("{HELD} WHERE h.decision IS NOT NULL ORDER BY h.id LIMIT ?1");
    let mut statement = conn.prepare_cached(&sql)?;
    let rows = statement.query_map([count(limit)], group)?;
    Ok(rows.collect::<rusqlite::Result<_>>()?)
}

fn group(row: &Row<'_>) -> rusqlite::Result<HeldGroup> {
    Ok(HeldGroup {
        id: uint(row, 0)?,
        device: id(row, 1, DeviceId::from_slice)?,
        incarnation: row.get(2)?,
        n: uint(row, 3)?,
        group: row.get::<_, u32>(4)? as usize,
        since: row.get(5)?,
        reason: cbor(row, 6)?,
        detail: row.get(7)?,
        decision: row.get(8)?,
        problem: row.get(9)?,
        envelope: row.get::<_, Vec<u8>>(10)?.into(),
    })
}

pub(super) fn parts(
    conn: &Connection,
    device: &DeviceId,
    incarnation: u32,
    n: u64,
) -> Result<Vec<Bytes>> {
    let mut statement = conn.prepare_cached(
        "SELECT bytes FROM parts WHERE device = ?1 AND incarnation = ?2 AND n = ?3 ORDER BY id",
    )?;
    let rows = statement.query_map(params![device.as_bytes(), incarnation, int(n)], |row| {
        row.get::<_, Vec<u8>>(0).map(Bytes::from)
    })?;
    Ok(rows.collect::<rusqlite::Result<_>>()?)
}

pub(super) fn counts(conn: &Connection) -> Result<HeldCounts> {
    let quarantined = to_cbor(&HeldReason::Quarantined);
    let mut statement =
        conn.prepare_cached("SELECT count(*), count(*) FILTER (WHERE reason = ?1) FROM held")?;
    let (all, quarantined) =
        statement.query_row([quarantined], |row| Ok((uint(row, 0)?, uint(row, 1)?)))?;
    Ok(HeldCounts {
        by_grant: all - quarantined,
        quarantined,
    })
}

pub(super) fn decide(conn: &Connection, id: u64, decision: Decision) -> Result<()> {
    let found = conn
        .prepare_cached("UPDATE held SET decision = ?2, problem = NULL WHERE id = ?1")?
        .execute(params![int(id), code(decision)])?;
    match found {
        0 => Err(StorageError::Missing),
        _ => Ok(()),
    }
}

pub(super) fn undecide(conn: &Connection, id: u64, problem: &str) -> Result<()> {
    conn.prepare_cached("UPDATE held SET decision = NULL, problem = ?2 WHERE id = ?1")?
        .execute(params![int(id), problem])?;
    Ok(())
}

fn code(decision: Decision) -> i64 {
    match decision {
        Decision::Release => 0,
        Decision::Drop => 1,
    }
}

impl FromSql for Decision {
    fn column_result(value: ValueRef<'_>) -> FromSqlResult<Self> {
        match i64::column_result(value)? {
            0 => Ok(Self::Release),
            1 => Ok(Self::Drop),
            other => Err(FromSqlError::OutOfRange(other)),
        }
    }
}
