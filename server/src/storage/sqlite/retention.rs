//! How far back the log is kept for scopes: down to the lowest place of the devices that live.
//!
//! A row for each scope and change is 20 bytes, also where a document only stayed. Intervals of membership
//! with the log by document would do without those: tried over 10,000 documents with 60,000 changes, a page
//! of a scope then takes 0.3 to 5 ms (by members) or 0.1 to 38 ms (by log) in place of 0.04, so rows stay.

use manzana_engine::ids::{DeviceId, Seq};
use rusqlite::{Connection, OptionalExtension, params};

use super::super::{Result, SweepFrom, Swept};
use super::convert::{count, int, uint};
use super::{read, recovery};

/// A place is not written again within this time while it stays the same, milliseconds.
const SAME_PLACE_MS: i64 = 24 * 3_600_000;
/// A device that says it has more answers than these is not believed: in the last epoch that there can be,
/// numbers have jumped nearly so far.
const MOST_ANSWERS: u64 = recovery::LOST_ANSWERS << 33;
/// Scopes looked at in one step of a sweep.
const SCOPES: usize = 256;

const LOWEST: &str = "SELECT min(p.seq) FROM places p JOIN devices d USING (device)
     WHERE p.at >= ?1 AND d.revoked_at IS NULL";
const NEXT_SCOPES: &str = "SELECT scope FROM digests WHERE scope >= ?1 ORDER BY scope LIMIT ?2";
const FORGET: &str = "DELETE FROM scope_log WHERE scope = ?1 AND seq IN
     (SELECT seq FROM scope_log WHERE scope = ?1 AND seq <= ?2 ORDER BY seq LIMIT ?3)";

/// What a device says as it comes.
pub(super) struct Greeting {
    pub(super) device: DeviceId,
    pub(super) answers_seen: u64,
    pub(super) place: Seq,
    pub(super) now: i64,
}

/// The floor, when the greeting changes nothing: most reconnects write nothing.
pub(super) fn greeted_already(conn: &Connection, greeting: &Greeting) -> Result<Option<Seq>> {
    let device = greeting.device.as_bytes();
    let noted: Option<(u64, i64)> = conn
        .prepare_cached("SELECT seq, at FROM places WHERE device = ?1")?
        .query_row([device], |row| Ok((uint(row, 0)?, row.get(1)?)))
        .optional()?;
    let acknowledges: bool = conn
        .prepare_cached("SELECT EXISTS (SELECT 1 FROM answers WHERE device = ?1 AND no <= ?2)")?
        .query_row(params![device, int(greeting.answers_seen)], |row| {
            row.get(0)
        })?;
    let same = noted.is_some_and(|(seq, at)| {
        seq == greeting.place && (at..at + SAME_PLACE_MS).contains(&greeting.now)
    });
    let lost = recovery::answers_lost(conn, &greeting.device, greeting.answers_seen)?;
    match same && !acknowledges && !lost {
        true => Ok(Some(floor(conn)?)),
        false => Ok(None),
    }
}

/// Forgets the answers that the device has, and notes where it stands. Gives the floor.
pub(super) fn greet(conn: &Connection, greeting: &Greeting) -> Result<Seq> {
    let (device, seen) = (&greeting.device, greeting.answers_seen);
    read::answers_seen(conn, device, seen)?;
    if (1..=MOST_ANSWERS).contains(&seen) {
        recovery::jump_answers(conn, device, seen)?;
    }
    let floor = floor(conn)?;
    // Who stands below the floor reconciles, and stands at the head then.
    let place = match greeting.place < floor {
        true => read::head(conn)?.seq,
        false => greeting.place,
    };
    conn.prepare_cached(
        "INSERT INTO places (device, seq, at) VALUES (?1, ?2, ?3)
         ON CONFLICT (device) DO UPDATE SET seq = excluded.seq, at = excluded.at",
    )?
    .execute(params![
        greeting.device.as_bytes(),
        int(place),
        greeting.now
    ])?;
    Ok(floor)
}

/// Places up to here are not kept for scopes.
pub(super) fn floor(conn: &Connection) -> Result<Seq> {
    Ok(conn
        .prepare_cached("SELECT floor FROM city")?
        .query_row([], |row| uint(row, 0))?)
}

/// One step of a sweep: at most `limit` rows go.
pub(super) fn sweep(
    conn: &Connection,
    now: i64,
    live_since: i64,
    from: SweepFrom,
    limit: usize,
) -> Result<Swept> {
    let SweepFrom(from) = from;
    let mut removed = 0;
    if from.is_empty() {
        raise_floor(conn, live_since)?;
        removed += conn
            .prepare_cached(
                "DELETE FROM invites WHERE code_hash IN
                     (SELECT code_hash FROM invites WHERE expires < ?1 LIMIT ?2)",
            )?
            .execute(params![now, count(limit)])?;
    }
    let floor = floor(conn)?;
    let scopes: Vec<String> = conn
        .prepare_cached(NEXT_SCOPES)?
        .query_map(params![from, count(SCOPES + 1)], |row| row.get(0))?
        .collect::<rusqlite::Result<_>>()?;
    let mut forget = conn.prepare_cached(FORGET)?;
    for scope in scopes.iter().take(SCOPES) {
        if removed >= limit {
            return Ok(Swept {
                floor,
                removed,
                next: Some(SweepFrom(scope.clone())),
            });
        }
        removed += forget.execute(params![scope, int(floor), count(limit - removed)])?;
    }
    // A step may end within its last scope: that one is looked at again.
    let next = match removed >= limit {
        true => scopes.iter().take(SCOPES).next_back(),
        false => scopes.get(SCOPES),
    };
    Ok(Swept {
        floor,
        removed,
        next: next.cloned().map(SweepFrom),
    })
}

/// Up to the lowest place of a device that lives; to the head without any. Raised before anything is
/// forgotten, in the same transaction.
fn raise_floor(conn: &Connection, live_since: i64) -> Result<()> {
    let lowest: Option<i64> = conn
        .prepare_cached(LOWEST)?
        .query_row([live_since], |row| row.get(0))?;
    conn.prepare_cached("UPDATE city SET floor = max(floor, min(head, coalesce(?1, head)))")?
        .execute([lowest])?;
    Ok(())
}
