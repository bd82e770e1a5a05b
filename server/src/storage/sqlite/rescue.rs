//! A damaged city: what is whole in its database, as a database that can be put back like a backup.
//!
//! Rows are read leaf by leaf ([`carve`]), whatever became of the trees above them. The log is kept as far
//! as it has no gap and each row's envelope is there in a chain without a gap: that is a city as it stood
//! at one place, which `manzana check` finds whole. Everything derived (documents, lists, scopes,
//! digests, the search) is made again from it. Envelopes after that place which can be read are handed
//! out, to be brought back by any device.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use manzana_engine::answer::{Answer, EnvelopeAnswer};
use manzana_engine::codec;
use manzana_engine::document::Document;
use manzana_engine::envelope::Envelope;
use manzana_engine::epoch::ClosingBody;
use manzana_engine::gate::chunk;
use manzana_engine::ids::{DeviceId, DocId, Hash, Seq};
use manzana_store::carve::{self, Row, Value};
use rusqlite::{Connection, params};

use super::super::{DocWrite, Result, StorageError};
use super::convert::{id, int, move_code, optional_uint, scope_key, uint};
use super::memory::Memory;
use super::schema::SCHEMA;
use super::search::FolioFormat;
use super::working::WorkingDocs;
use super::{first_folio, recovery, stored_format};

/// What was found in a damaged database.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Rescued {
    /// The log is kept up to this place.
    pub head: Seq,
    /// The last place that was found, or that the city had.
    pub last: Seq,
    /// Places of the log that cannot be read, as first and last.
    pub missing: Vec<(Seq, Seq)>,
    /// Envelopes that are whole and not in the log that is kept, in the order of their chains.
    pub later: Vec<Envelope>,
}

type Chain = (DeviceId, u32);

/// Where everything is, without the bytes.
#[derive(Default)]
struct Survey {
    log: BTreeMap<Seq, (Chain, u64)>,
    /// Each envelope's accepted places.
    chains: BTreeMap<Chain, BTreeMap<u64, Vec<Seq>>>,
    head: Seq,
}

/// Writes what is whole in the damaged `database` into a new file.
///
/// # Errors
/// When the one cannot be read at all or the other not be written, or nothing in it says whose it is.
pub fn rescue(database: &Path, new: &Path) -> Result<Rescued> {
    let failed = |error: std::io::Error| StorageError::Backend(Box::new(error));
    let mut survey = Survey::default();
    carve::rows(database, |row| survey.see(&row)).map_err(failed)?;
    let (head, kept) = survey.whole();
    let mut rescued = Rescued {
        head,
        last: survey
            .log
            .keys()
            .last()
            .copied()
            .unwrap_or(0)
            .max(survey.head),
        ..Rescued::default()
    };
    rescued.missing = gaps(&survey.log, rescued.last);
    let mut conn = manzana_store::sqlite::open(new, &SCHEMA)?;
    manzana_store::sqlite::write(&mut conn, |tx| -> Result<()> {
        let (mut later, mut epoch, mut failed) = (BTreeMap::new(), 1, Ok(()));
        let read = carve::rows(database, |row| {
            if failed.is_ok() {
                failed = copy(tx, &row, head, &kept, &mut epoch, &mut later);
            }
        });
        read.map_err(|error| StorageError::Backend(Box::new(error)))?;
        failed?;
        rescued.later = later.into_values().collect();
        derive(tx, head, epoch)
    })?;
    conn.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(()))?;
    Ok(rescued)
}

fn gaps(log: &BTreeMap<Seq, (Chain, u64)>, last: Seq) -> Vec<(Seq, Seq)> {
    let (mut gaps, mut due) = (Vec::new(), 1);
    for seq in log.keys().copied().chain([last + 1]) {
        if seq > due {
            gaps.push((due, seq - 1));
        }
        due = seq + 1;
    }
    gaps
}

/// An envelope as its table keeps it.
fn envelope(row: &Row) -> Option<(Envelope, u64, Vec<Answer>)> {
    let [
        Value::Blob(_),
        Value::Int(_),
        Value::Int(_),
        Value::Blob(hash),
        Value::Blob(bytes),
        Value::Blob(answers),
    ] = &row.values[..]
    else {
        return None;
    };
    let envelope: Envelope = codec::decode(bytes).ok()?;
    let n = envelope.peek().ok()?.n;
    let answers = codec::decode(answers).ok()?;
    (envelope.hash().as_bytes()[..] == hash[..]).then_some((envelope, n, answers))
}

/// Whether these are the bytes of a change with this hash.
fn is_change(hash: &[u8], change: &[u8]) -> bool {
    chunk::decode_change(change).is_ok_and(|decoded| decoded.hash[..] == *hash)
}

impl Survey {
    fn see(&mut self, row: &Row) {
        match (row.number, &row.values[..]) {
            (
                Some(seq),
                [
                    Value::Null,
                    Value::Blob(_),
                    Value::Blob(device),
                    Value::Int(incarnation),
                    Value::Int(n),
                    Value::Blob(hash),
                    Value::Blob(change),
                    _,
                    Value::Int(_),
                ],
            ) if is_change(hash, change) => {
                let place = (
                    Seq::try_from(seq),
                    u32::try_from(*incarnation),
                    u64::try_from(*n),
                );
                if let ((Ok(seq), Ok(incarnation), Ok(n)), Ok(device)) =
                    (place, DeviceId::from_slice(device))
                {
                    self.log.insert(seq, ((device, incarnation), n));
                }
            }
            (
                Some(1),
                [
                    Value::Null,
                    Value::Int(_),
                    Value::Int(head),
                    Value::Int(_),
                    ..,
                ],
            ) => {
                self.head = self.head.max(head.unsigned_abs());
            }
            (Some(_), _) => {
                if let Some((envelope, n, answers)) = envelope(row) {
                    let context = envelope.context;
                    let groups = envelope.peek().map(|body| body.groups).unwrap_or_default();
                    let places =
                        groups
                            .iter()
                            .zip(&answers)
                            .filter_map(|(group, answer)| match answer {
                                Answer::Accepted { seq, .. } => {
                                    Some(*seq..*seq + group.len() as u64)
                                }
                                _ => None,
                            });
                    let chain = self
                        .chains
                        .entry((context.device, context.incarnation))
                        .or_default();
                    chain.insert(n, places.flatten().collect());
                }
            }
            (None, _) => {}
        }
    }

    /// Up to which place the log is whole with its envelopes, and up to which envelope each chain is.
    fn whole(&self) -> (Seq, BTreeMap<Chain, u64>) {
        let mut head = gaps(&self.log, u64::MAX - 2)
            .first()
            .map_or(0, |(first, _)| first - 1);
        loop {
            let within = |places: &Vec<Seq>| places.iter().all(|place| *place <= head);
            let kept: BTreeMap<Chain, u64> = self
                .chains
                .iter()
                .map(|(chain, envelopes)| {
                    let whole = (1..)
                        .zip(envelopes)
                        .take_while(|(due, (n, places))| due == *n && within(places));
                    (*chain, whole.count() as u64)
                })
                .collect();
            let stands = |(chain, n): &(Chain, u64)| kept.get(chain).is_some_and(|have| n <= have);
            let broken = self
                .log
                .iter()
                .find(|(seq, place)| **seq <= head && !stands(place));
            match broken {
                Some((seq, _)) => head = seq - 1,
                None => return (head, kept),
            }
        }
    }
}

/// Copies a row of a table that nothing else says again; of the log and of chains what is kept.
fn copy(
    conn: &Connection,
    row: &Row,
    head: Seq,
    kept: &BTreeMap<Chain, u64>,
    epoch: &mut i64,
    later: &mut BTreeMap<(Chain, u64), Envelope>,
) -> Result<()> {
    use Value::{Blob, Int, Null, Text};
    let has = |device: &[u8], incarnation: &Value, n: &Value| match (
        DeviceId::from_slice(device),
        incarnation,
        n,
    ) {
        (Ok(device), Int(incarnation), Int(n)) => u32::try_from(*incarnation)
            .ok()
            .and_then(|incarnation| kept.get(&(device, incarnation)))
            .is_some_and(|have| n.unsigned_abs() <= *have),
        _ => false,
    };
    let table = match (row.number, &row.values[..]) {
        (
            Some(seq),
            [
                Null,
                Blob(_),
                Blob(_),
                Int(_),
                Int(_),
                Blob(hash),
                Blob(change),
                _,
                Int(_),
            ],
        ) if seq.unsigned_abs() <= head && is_change(hash, change) => "log",
        (Some(_), [Blob(device), incarnation, n, Blob(_), Blob(_), Blob(_)]) => {
            if !has(device, incarnation, n) {
                if let Some((envelope, n, _)) = envelope(row) {
                    let context = envelope.context;
                    later.insert(((context.device, context.incarnation), n), envelope);
                }
                return Ok(());
            }
            "envelopes"
        }
        (
            Some(_),
            [
                Null,
                Blob(device),
                incarnation,
                n,
                Blob(_),
                Blob(_),
                Int(_),
                Blob(_),
                _,
                Int(_),
            ],
        ) if has(device, incarnation, n) => "parts",
        (
            Some(_),
            [
                Null,
                Blob(device),
                incarnation,
                n,
                Int(_),
                Int(_),
                Blob(_),
                _,
                _,
                _,
            ],
        ) if has(device, incarnation, n) => "held",
        (
            Some(_),
            [
                Blob(device),
                Blob(_),
                Blob(key),
                Int(_),
                Blob(_),
                Blob(_),
                Blob(_),
                _,
                _,
            ],
        ) if device.len() == 16 && key.len() == 32 => "devices",
        (Some(_), [Null, Text(_), Text(_), Text(_), _, Int(_)]) => "users",
        // Two values fewer when it was begun under an earlier version.
        (
            Some(begun),
            [Null, Blob(_), Blob(signature)] | [Null, Blob(_), Blob(signature), _, _],
        ) if signature.len() == 64 => {
            *epoch = begun.max(*epoch);
            match row.values.len() {
                3 => "epochs (epoch, body, signature)",
                _ => "epochs",
            }
        }
        (Some(1), [Null, Int(of), Int(_), Int(_), ..]) => {
            *epoch = (*of).max(*epoch);
            return Ok(());
        }
        (None, [Text(_), Blob(_)]) => "settings",
        (None, [Int(_), Text(_), Blob(_)]) => "act_keys",
        (None, [Blob(hash), Null]) if hash.len() == 32 => "fates",
        (None, [Blob(device), Int(_), Blob(answer)]) if device.len() == 16 => {
            let answer = codec::decode::<EnvelopeAnswer>(answer);
            let kept = answer.is_ok_and(|answer| {
                has(device, &Int(answer.incarnation.into()), &Int(int(answer.n)))
            });
            match kept {
                true => "answers",
                false => return Ok(()),
            }
        }
        _ => return Ok(()),
    };
    insert(conn, table, row)
}

fn insert(conn: &Connection, table: &str, row: &Row) -> Result<()> {
    let marks = vec!["?"; row.values.len()].join(", ");
    let sql = format!("INSERT OR IGNORE INTO {table} VALUES ({marks})");
    let values = row
        .values
        .iter()
        .enumerate()
        .map(|(column, value)| match (value, row.number) {
            // The row's own number, which its record leaves out.
            (Value::Null, Some(number)) if column == 0 => rusqlite::types::Value::Integer(number),
            (Value::Null, _) => rusqlite::types::Value::Null,
            (Value::Int(number), _) => rusqlite::types::Value::Integer(*number),
            (Value::Text(text), _) => rusqlite::types::Value::Text(text.clone()),
            (Value::Blob(bytes), _) => rusqlite::types::Value::Blob(bytes.clone()),
        });
    conn.prepare_cached(&sql)?
        .execute(rusqlite::params_from_iter(values))?;
    Ok(())
}

/// Makes everything again that follows from the log, the envelopes and the settings.
fn derive(conn: &Connection, head: Seq, epoch: i64) -> Result<()> {
    let format = stored_format(conn)?;
    conn.execute_batch(
        "INSERT INTO chains (device, incarnation, have, hash)
             SELECT device, incarnation, max(n), hash FROM envelopes GROUP BY device, incarnation;
         INSERT INTO fates (hash, seq) SELECT hash, seq FROM log WHERE true
             ON CONFLICT (hash) DO UPDATE SET seq = excluded.seq;",
    )?;
    // Above what every epoch that began left out.
    let left_out = (epoch.max(1) - 1).saturating_mul(int(recovery::LOST_ANSWERS));
    conn.execute(
        "INSERT INTO answer_counters (device, last)
             SELECT device, max(?1 + count(*), coalesce((SELECT max(no) FROM answers WHERE answers.device = e.device), 0))
             FROM envelopes e GROUP BY device",
        [left_out],
    )?;
    // What was declared void stays so, and the counter above all that was issued or declared. No folio is
    // issued until what is missing has come back, or is declared void too.
    let mut next = first_folio(conn)?;
    for (_, closing) in recovery::records(conn)? {
        let closed = closing.map(|closing| codec::decode::<ClosingBody>(&closing.body));
        let Some(closed) = closed.transpose().map_err(|_| StorageError::Damaged)? else {
            continue;
        };
        recovery::put_void(conn, &closed)?;
        next = next.max(closed.next_folio);
    }
    conn.execute(
        "INSERT INTO city (id, epoch, head, next_folio, recovering)
         VALUES (1, ?1, ?2, max(coalesce((SELECT max(folio) + 1 FROM log), 0), ?3), 1)",
        params![epoch, int(head), int(next)],
    )?;
    let mut ids = conn.prepare("SELECT doc FROM log GROUP BY doc ORDER BY min(seq)")?;
    let docs = ids.query_map([], |row| id(row, 0, DocId::from_slice))?;
    let mut memory = Memory::default();
    for doc in docs.collect::<rusqlite::Result<BTreeSet<_>>>()? {
        document(conn, &format, &mut memory, &doc)?;
        memory.trim();
    }
    Ok(())
}

/// Makes one document again from its rows of the log, with all that lists and scopes say of it.
fn document(
    conn: &Connection,
    format: &FolioFormat,
    memory: &mut Memory,
    doc: &DocId,
) -> Result<()> {
    let mut statement = conn.prepare_cached(
        "SELECT seq, hash, change, folio, device, incarnation FROM log WHERE doc = ?1 ORDER BY seq",
    )?;
    let mut rows = statement.query([doc.as_bytes()])?;
    let (mut working, mut document) = (WorkingDocs::default(), Document::empty());
    while let Some(row) = rows.next()? {
        let (seq, hash) = (uint(row, 0)?, id(row, 1, Hash::from_slice)?);
        let change: Vec<u8> = row.get(2)?;
        if document.apply(&change) != Ok(hash) {
            return Err(StorageError::Damaged);
        }
        let summary = document.summary().map_err(|_| StorageError::Damaged)?;
        for (scope, step) in working.apply(conn, format, doc, seq, &summary)? {
            conn.prepare_cached("INSERT INTO scope_log (scope, seq, move) VALUES (?1, ?2, ?3)")?
                .execute(params![scope_key(&scope), int(seq), move_code(step)])?;
        }
        if let Some(folio) = optional_uint(row, 3)? {
            working.set_folio(doc, folio);
        }
        let decoded = chunk::decode_change(&change).map_err(|_| StorageError::Damaged)?;
        conn.prepare_cached(
            "INSERT OR IGNORE INTO actors (actor, device, incarnation) VALUES (?1, ?2, ?3)",
        )?
        .execute(params![
            decoded.actor.as_bytes(),
            row.get::<_, Vec<u8>>(4)?,
            row.get::<_, u32>(5)?
        ])?;
    }
    let name: Option<String> = conn
        .prepare_cached("SELECT max(masked_name) FROM parts WHERE doc = ?1 AND live = 1")?
        .query_row([doc.as_bytes()], |row| row.get(0))?;
    if let Some(name) = name {
        working.set_masked_name(doc, name);
    }
    let saved = document.save().into();
    working.flush(conn, format, memory, vec![DocWrite { doc: *doc, saved }])?;
    Ok(())
}
