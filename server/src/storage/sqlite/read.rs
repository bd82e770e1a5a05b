//! Reading the log, scopes, chains and documents, in the caller's snapshot.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use manzana_engine::answer::{Answer, EnvelopeAnswer};
use manzana_engine::envelope::PartKind;
use manzana_engine::grant::Scope;
use manzana_engine::ids::{Actor, DeviceId, DocId, Hash, Seq};
use manzana_engine::reconcile::{Member, Members, Version};
use manzana_engine::summary::DocKind;
use manzana_engine::wire::PackedDoc;
use rusqlite::{Connection, OptionalExtension, Row, params};

use super::super::{
    ChainHead, DocState, Fate, Head, IntakeAsk, IntakeFacts, LogRow, Move, Result, StorageError,
    Stretch, WaitingGroup,
};
use super::convert::{
    cbor, count, id, int, kind_code, move_of, optional_uint, part_code, scope_key, uint,
};
use super::threads::Reader;
use super::{digests, people, recovery};

/// Most bytes of changes in one answer of `log_after`: a page ends early rather than fill the memory.
const LOG_PAGE_BYTES: usize = 4 << 20;

/// The rows of one scope after a place: the cost follows these, not the log.
const SCOPE_ROWS: &str =
    "SELECT seq, move FROM scope_log WHERE scope = ?1 AND seq > ?2 ORDER BY seq LIMIT ?3";
const LOG_ROW: &str = "SELECT seq, doc, device, hash, change, folio FROM log WHERE seq = ?1";
const SCOPE_MEMBERS: &str =
    "SELECT d.doc, d.creation_seq, d.folio, d.summary FROM scope_docs s JOIN docs d USING (creation_seq)
     WHERE s.scope = ?1 AND s.creation_seq >= ?2 AND s.creation_seq < ?3
     ORDER BY s.creation_seq DESC";
const NEWEST_BEFORE: &str =
    "SELECT max(creation_seq) FROM scope_docs WHERE scope = ?1 AND creation_seq < ?2";
const PLACES_BELOW: &str = "SELECT creation_seq FROM scope_docs
     WHERE scope = ?1 AND creation_seq < ?2 ORDER BY creation_seq DESC LIMIT ?3";
const PLACES_ABOVE: &str = "SELECT creation_seq FROM scope_docs
     WHERE scope = ?1 AND creation_seq > ?2 ORDER BY creation_seq LIMIT ?3";
const STRETCH_MEMBERS: &str =
    "SELECT count(*), max(d.last_seq) FROM scope_docs s JOIN docs d USING (creation_seq)
     WHERE s.scope = ?1 AND s.creation_seq >= ?2 AND s.creation_seq < ?3";
const SCOPE_VERSIONS: &str =
    "SELECT d.doc, d.version FROM scope_docs s JOIN docs d USING (creation_seq)
     WHERE s.scope = ?1";
/// Columns that [`doc_row`] reads.
pub(super) const DOC_COLUMNS: &str =
    "docs.doc, docs.creation_seq, docs.last_seq, docs.folio, docs.masked_name, docs.summary";

pub(super) fn head(conn: &Connection) -> Result<Head> {
    Ok(conn
        .prepare_cached("SELECT epoch, head, recovering FROM city")?
        .query_row([], |row| {
            Ok(Head {
                epoch: row.get(0)?,
                seq: uint(row, 1)?,
                recovering: row.get(2)?,
            })
        })?)
}

/// A document without its bytes, from [`DOC_COLUMNS`].
pub(super) fn doc_row(row: &Row<'_>) -> rusqlite::Result<DocState> {
    Ok(DocState {
        doc: id(row, 0, DocId::from_slice)?,
        saved: Bytes::new(),
        summary: cbor(row, 5)?,
        creation_seq: uint(row, 1)?,
        last_seq: uint(row, 2)?,
        folio: optional_uint(row, 3)?,
        masked_name: row.get(4)?,
    })
}

pub(super) fn docs(reader: &Reader, ids: &[DocId]) -> Result<BTreeMap<DocId, DocState>> {
    let sql = format!("SELECT {DOC_COLUMNS} FROM docs WHERE doc = ?1");
    let mut statement = reader.conn.prepare_cached(&sql)?;
    let mut found = BTreeMap::new();
    for doc in ids {
        if let Some(mut state) = statement.query_row([doc.as_bytes()], doc_row).optional()? {
            state.saved = reader.saved(state.creation_seq)?;
            found.insert(*doc, state);
        }
    }
    Ok(found)
}

pub(super) fn catalogs(reader: &Reader) -> Result<Vec<DocState>> {
    // The literal is what the partial index is declared with.
    debug_assert_eq!(kind_code(DocKind::Catalog), 1);
    let sql = format!("SELECT {DOC_COLUMNS} FROM docs WHERE kind = 1 ORDER BY creation_seq");
    let mut statement = reader.conn.prepare_cached(&sql)?;
    let rows = statement.query_map([], doc_row)?;
    let mut found = Vec::new();
    for row in rows {
        let mut state = row?;
        state.saved = reader.saved(state.creation_seq)?;
        found.push(state);
    }
    Ok(found)
}

pub(super) fn changed_since(conn: &Connection, after: Seq, limit: usize) -> Result<Vec<DocState>> {
    let sql =
        format!("SELECT {DOC_COLUMNS} FROM docs WHERE last_seq > ?1 ORDER BY last_seq LIMIT ?2");
    let mut statement = conn.prepare_cached(&sql)?;
    let rows = statement.query_map([int(after), count(limit)], doc_row)?;
    Ok(rows.collect::<rusqlite::Result<_>>()?)
}

pub(super) fn chain(conn: &Connection, device: &DeviceId, incarnation: u32) -> Result<ChainHead> {
    let held = conn
        .prepare_cached("SELECT have, hash FROM chains WHERE device = ?1 AND incarnation = ?2")?
        .query_row(params![device.as_bytes(), incarnation], chain_head)
        .optional()?;
    Ok(held.unwrap_or_default())
}

/// A chain's end, of a row that begins with it.
pub(super) fn chain_head(row: &Row<'_>) -> rusqlite::Result<ChainHead> {
    Ok(ChainHead {
        have: uint(row, 0)?,
        hash: id(row, 1, Hash::from_slice)?,
    })
}

pub(super) fn envelope_answers(
    conn: &Connection,
    device: &DeviceId,
    incarnation: u32,
    n: u64,
) -> Result<Option<(Hash, Vec<Answer>)>> {
    Ok(conn
        .prepare_cached(
            "SELECT hash, answers FROM envelopes WHERE device = ?1 AND incarnation = ?2 AND n = ?3",
        )?
        .query_row(params![device.as_bytes(), incarnation, int(n)], |row| {
            Ok((id(row, 0, Hash::from_slice)?, cbor(row, 1)?))
        })
        .optional()?)
}

pub(super) fn envelope_hash(
    conn: &Connection,
    device: &DeviceId,
    incarnation: u32,
    n: u64,
) -> Result<Option<Hash>> {
    Ok(conn
        .prepare_cached(
            "SELECT hash FROM envelopes WHERE device = ?1 AND incarnation = ?2 AND n = ?3",
        )?
        .query_row(params![device.as_bytes(), incarnation, int(n)], |row| {
            id(row, 0, Hash::from_slice)
        })
        .optional()?)
}

pub(super) fn fates(conn: &Connection, hashes: &[Hash]) -> Result<BTreeMap<Hash, Fate>> {
    let mut statement = conn.prepare_cached("SELECT seq FROM fates WHERE hash = ?1")?;
    let mut known = BTreeMap::new();
    for hash in hashes {
        let fate = statement
            .query_row([hash.as_bytes()], |row| optional_uint(row, 0))
            .optional()?;
        if let Some(seq) = fate {
            let fate = seq.map_or(Fate::Dead, Fate::Accepted);
            known.insert(*hash, fate);
        }
    }
    Ok(known)
}

pub(super) fn actors(
    conn: &Connection,
    actors: &[Actor],
) -> Result<BTreeMap<Actor, (DeviceId, u32)>> {
    let mut statement =
        conn.prepare_cached("SELECT device, incarnation FROM actors WHERE actor = ?1")?;
    let mut bound = BTreeMap::new();
    for actor in actors {
        let to = statement
            .query_row([actor.as_bytes()], |row| {
                Ok((id(row, 0, DeviceId::from_slice)?, row.get(1)?))
            })
            .optional()?;
        bound.extend(to.map(|to| (*actor, to)));
    }
    Ok(bound)
}

pub(super) fn waiting_for(conn: &Connection, hashes: &[Hash]) -> Result<Vec<WaitingGroup>> {
    let mut statement = conn.prepare_cached(
        "SELECT e.rowid, e.bytes, w.grp FROM waiting w
         JOIN envelopes e USING (device, incarnation, n) WHERE w.dep = ?1",
    )?;
    // In the order the envelopes came, each group once although it may wait for several.
    let mut groups = BTreeMap::new();
    for hash in hashes {
        let rows = statement.query_map([hash.as_bytes()], |row| {
            let group = waiting_group(row)?;
            Ok(((uint(row, 0)?, group.group), group))
        })?;
        for row in rows {
            groups.extend([row?]);
        }
    }
    Ok(groups.into_values().collect())
}

pub(super) fn waiting_of(conn: &Connection, device: &DeviceId) -> Result<Vec<WaitingGroup>> {
    let mut statement = conn.prepare_cached(
        "SELECT DISTINCT e.rowid, e.bytes, w.grp FROM waiting w
         JOIN envelopes e USING (device, incarnation, n) WHERE w.device = ?1 ORDER BY e.rowid, w.grp",
    )?;
    let rows = statement.query_map([device.as_bytes()], waiting_group)?;
    Ok(rows.collect::<rusqlite::Result<_>>()?)
}

/// Columns: an order, the envelope, the group.
fn waiting_group(row: &Row<'_>) -> rusqlite::Result<WaitingGroup> {
    Ok(WaitingGroup {
        envelope: row.get::<_, Vec<u8>>(1)?.into(),
        group: row.get::<_, u32>(2)? as usize,
    })
}

pub(super) fn ripe(conn: &Connection, limit: usize) -> Result<Vec<Hash>> {
    let mut statement = conn.prepare_cached(
        "SELECT DISTINCT dep FROM waiting JOIN fates ON fates.hash = waiting.dep LIMIT ?1",
    )?;
    let rows = statement.query_map([count(limit)], |row| id(row, 0, Hash::from_slice))?;
    Ok(rows.collect::<rusqlite::Result<_>>()?)
}

pub(super) fn waiting_count(conn: &Connection, device: &DeviceId) -> Result<usize> {
    let groups: u32 = conn
        .prepare_cached(
            "SELECT count(*) FROM
                 (SELECT DISTINCT incarnation, n, grp FROM waiting WHERE device = ?1)",
        )?
        .query_row([device.as_bytes()], |row| row.get(0))?;
    Ok(groups as usize)
}

/// All that the intake needs to know of a batch, in one snapshot.
pub(super) fn intake_facts(reader: &Reader, ask: &IntakeAsk) -> Result<IntakeFacts> {
    let conn = &reader.conn;
    let mut facts = IntakeFacts {
        actors: actors(conn, &Vec::from_iter(ask.actors.iter().copied()))?,
        fates: fates(conn, &Vec::from_iter(ask.deps.iter().copied()))?,
        docs: docs(reader, &Vec::from_iter(ask.docs.iter().copied()))?,
        proofs: recovery::proofs(conn, ask.envelopes.iter())?,
        ..IntakeFacts::default()
    };
    for (device, incarnation) in &ask.chains {
        let place = (*device, *incarnation);
        facts
            .chains
            .insert(place, chain(conn, device, *incarnation)?);
        if facts.waiting.contains_key(device) {
            continue;
        }
        facts.waiting.insert(*device, waiting_count(conn, device)?);
        if let Some(record) = people::device(conn, device)? {
            facts.devices.insert(*device, record);
        }
    }
    Ok(facts)
}

pub(super) fn answers_after(
    conn: &Connection,
    device: &DeviceId,
    after: u64,
    limit: usize,
) -> Result<Vec<EnvelopeAnswer>> {
    let mut statement = conn.prepare_cached(
        "SELECT answer FROM answers WHERE device = ?1 AND no > ?2 ORDER BY no LIMIT ?3",
    )?;
    let rows = statement.query_map(
        params![device.as_bytes(), int(after), count(limit)],
        |row| cbor(row, 0),
    )?;
    Ok(rows.collect::<rusqlite::Result<_>>()?)
}

pub(super) fn answers_seen(conn: &Connection, device: &DeviceId, up_to: u64) -> Result<()> {
    conn.prepare_cached("DELETE FROM answers WHERE device = ?1 AND no <= ?2")?
        .execute(params![device.as_bytes(), int(up_to)])?;
    Ok(())
}

pub(super) fn log_after(
    conn: &Connection,
    scopes: &[Scope],
    after: Seq,
    limit: usize,
) -> Result<(Vec<LogRow>, Seq)> {
    if limit == 0 {
        return Ok((Vec::new(), after));
    }
    let head = head(conn)?.seq;
    let mut places = places_after(conn, scopes, after, limit)?;
    let mut complete = places.len() < limit;
    let mut rows = Vec::new();
    let mut bytes = 0;
    while let Some((seq, moves)) = places.pop_first() {
        let row = log_row(conn, seq, moves)?;
        bytes += row.change.len();
        rows.push(row);
        if rows.len() == limit || bytes >= LOG_PAGE_BYTES {
            complete &= places.is_empty();
            break;
        }
    }
    let last = rows.last().map_or(after, |row| row.seq);
    Ok((rows, if complete { head } else { last }))
}

/// The places of the next rows with their moves: at least the first `limit` of them, if there are.
fn places_after(
    conn: &Connection,
    scopes: &[Scope],
    after: Seq,
    limit: usize,
) -> Result<BTreeMap<Seq, Vec<(Scope, Move)>>> {
    let mut statement = conn.prepare_cached(SCOPE_ROWS)?;
    let mut places: BTreeMap<Seq, Vec<(Scope, Move)>> = BTreeMap::new();
    for scope in scopes.iter().collect::<BTreeSet<_>>() {
        let rows = statement
            .query_map(params![scope_key(scope), int(after), count(limit)], |row| {
                Ok((uint(row, 0)?, move_of(row.get(1)?)))
            })?;
        for row in rows {
            let (seq, step) = row?;
            places.entry(seq).or_default().push((scope.clone(), step));
        }
    }
    Ok(places)
}

fn log_row(conn: &Connection, seq: Seq, moves: Vec<(Scope, Move)>) -> Result<LogRow> {
    Ok(conn.prepare_cached(LOG_ROW)?.query_row([int(seq)], |row| {
        Ok(LogRow {
            seq: uint(row, 0)?,
            doc: id(row, 1, DocId::from_slice)?,
            device: id(row, 2, DeviceId::from_slice)?,
            hash: id(row, 3, Hash::from_slice)?,
            change: row.get::<_, Vec<u8>>(4)?.into(),
            folio: optional_uint(row, 5)?,
            moves,
        })
    })?)
}

pub(super) fn stretch(
    conn: &Connection,
    scope: &Scope,
    before: Seq,
    most: usize,
) -> Result<Option<Stretch>> {
    let scope = scope_key(scope);
    let newest = |before: Seq| -> Result<Option<Seq>> {
        let mut statement = conn.prepare_cached(NEWEST_BEFORE)?;
        Ok(statement.query_row(params![scope, int(before)], |row| optional_uint(row, 0))?)
    };
    let Some(at) = newest(before)? else {
        return Ok(None);
    };
    let places = |sql: &str| -> Result<Vec<Seq>> {
        let mut statement = conn.prepare_cached(sql)?;
        let rows = statement.query_map(params![scope, int(at), count(most)], |row| uint(row, 0))?;
        Ok(rows.collect::<rusqlite::Result<_>>()?)
    };
    let (below, above) = (places(PLACES_BELOW)?, places(PLACES_ABOVE)?);
    let (from, until) = Stretch::bounds(at, &below, &above, most);
    let (count, last_seq) = conn
        .prepare_cached(STRETCH_MEMBERS)?
        .query_row(params![scope, int(from), int(until)], |row| {
            Ok((uint(row, 0)?, uint(row, 1)?))
        })?;
    let older = newest(from)?;
    Ok(Some(Stretch {
        from,
        until,
        count: usize::try_from(count).unwrap_or(usize::MAX),
        last_seq,
        done: older.is_none(),
    }))
}

pub(super) fn fill(
    reader: &Reader,
    scope: &Scope,
    from: Seq,
    until: Seq,
) -> Result<(Vec<PackedDoc>, Seq)> {
    let head = head(&reader.conn)?.seq;
    let mut statement = reader.conn.prepare_cached(SCOPE_MEMBERS)?;
    let mut rows = statement.query(params![scope_key(scope), int(from), int(until)])?;
    let mut packed = Vec::new();
    while let Some(row) = rows.next()? {
        let creation_seq = uint(row, 1)?;
        packed.push(PackedDoc {
            doc: id(row, 0, DocId::from_slice)?,
            creation_seq,
            folio: optional_uint(row, 2)?,
            saved: Vec::from(reader.saved(creation_seq)?).into(),
            summary: row.get::<_, Vec<u8>>(3)?.into(),
        });
    }
    Ok((packed, head))
}

pub(super) fn digests(conn: &Connection, scopes: &[Scope]) -> Result<(Seq, Vec<(Scope, Hash)>)> {
    let head = head(conn)?.seq;
    let states = scopes
        .iter()
        .map(|scope| Ok((scope.clone(), digests::load(conn, scope)?.digest())))
        .collect::<Result<_>>()?;
    Ok((head, states))
}

/// The members of a scope: from rows alone, no document is opened.
pub(super) fn members(conn: &Connection, scope: &Scope) -> Result<Members> {
    let mut statement = conn.prepare_cached(SCOPE_VERSIONS)?;
    let rows = statement.query_map([scope_key(scope)], |row| {
        let version = Version::from_slice(row.get_ref(1)?.as_blob().unwrap_or_default());
        Ok((id(row, 0, DocId::from_slice)?, version))
    })?;
    let mut members = Vec::new();
    for row in rows {
        let (doc, version) = row?;
        let version = version.ok_or(StorageError::Damaged)?;
        members.push(Member { doc, version });
    }
    Ok(members.into())
}

pub(super) fn parts(conn: &Connection, doc: &DocId, kind: PartKind) -> Result<Vec<Bytes>> {
    // The same part may have come twice, in an envelope and in its replay.
    let mut statement = conn.prepare_cached(
        "SELECT bytes FROM parts WHERE doc = ?1 AND kind = ?2 AND live = 1
         GROUP BY hash ORDER BY min(id)",
    )?;
    let rows = statement.query_map(params![doc.as_bytes(), part_code(kind)], |row| {
        row.get::<_, Vec<u8>>(0).map(Bytes::from)
    })?;
    Ok(rows.collect::<rusqlite::Result<_>>()?)
}

pub(super) fn accepted_times(conn: &Connection, doc: &DocId) -> Result<BTreeMap<Hash, i64>> {
    let mut statement = conn.prepare_cached("SELECT hash, time FROM log WHERE doc = ?1")?;
    let rows = statement.query_map([doc.as_bytes()], |row| {
        Ok((id(row, 0, Hash::from_slice)?, row.get(1)?))
    })?;
    Ok(rows.collect::<rusqlite::Result<_>>()?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::storage::sqlite::schema::SCHEMA;

    fn plan(sql: &str) -> Vec<String> {
        let dir = tempfile::tempdir().unwrap();
        let conn = manzana_store::sqlite::open(&dir.path().join("plan.db"), &SCHEMA).unwrap();
        let mut statement = conn.prepare(&format!("EXPLAIN QUERY PLAN {sql}")).unwrap();
        let steps: Vec<rusqlite::types::Value> =
            vec![rusqlite::types::Value::Null; statement.parameter_count()];
        statement
            .query_map(rusqlite::params_from_iter(steps), |row| row.get(3))
            .unwrap()
            .map(|step| step.unwrap())
            .collect()
    }

    #[test]
    fn reading_the_log_searches_the_rows_of_the_scope_only() {
        assert_eq!(
            plan(SCOPE_ROWS),
            ["SEARCH scope_log USING PRIMARY KEY (scope=? AND seq>?)"]
        );
        assert_eq!(
            plan(LOG_ROW),
            ["SEARCH log USING INTEGER PRIMARY KEY (rowid=?)"]
        );
    }

    #[test]
    fn filling_a_scope_walks_its_members_without_sorting() {
        let steps = plan(SCOPE_MEMBERS);
        assert!(
            steps.iter().all(|step| step.starts_with("SEARCH")),
            "{steps:?}"
        );
    }

    #[test]
    fn every_table_is_strict() {
        let dir = tempfile::tempdir().unwrap();
        let conn = manzana_store::sqlite::open(&dir.path().join("strict.db"), &SCHEMA).unwrap();
        let loose = manzana_store::sqlite::loose_tables(&conn).unwrap();
        assert_eq!(loose, Vec::<String>::new());
    }
}
