//! Reads the end state of a city's files into what the [checkers](crate::checkers) look at. The processes
//! must have ended.

use std::collections::BTreeMap;
use std::path::Path;

use manzana_engine::codec;
use manzana_engine::digest::SetHash;
use manzana_engine::grant::Scope;
use manzana_engine::ids::{DeviceId, DocId, Hash, RecordId};
use manzana_engine::replica::{Meta, ReplicaStore as _};
use manzana_engine::summary::Summary;
use manzana_store::SqliteReplica;
use rusqlite::{Connection, Row};

use crate::checkers::{Author, CityDoc, CityState, DeviceState, KeptEnvelope, LogEntry};
use crate::relay::{City, run};

fn rows<T>(
    conn: &Connection,
    sql: &str,
    read: impl FnMut(&Row<'_>) -> rusqlite::Result<T>,
) -> Vec<T> {
    let mut statement = conn.prepare(sql).expect("a statement");
    let rows = statement.query_map([], read).expect("rows");
    rows.collect::<Result<_, _>>().expect("read")
}

fn decode<T: for<'b> minicbor::Decode<'b, ()>>(row: &Row<'_>, at: usize) -> rusqlite::Result<T> {
    let bytes: Vec<u8> = row.get(at)?;
    Ok(codec::decode(&bytes).expect("what the relay wrote"))
}

/// Whether SQLite itself finds the file whole.
///
/// # Panics
/// When it does not.
pub fn is_whole(database: &Path) {
    let conn = Connection::open(database).expect("a database");
    let said = rows(&conn, "PRAGMA integrity_check", |row| {
        row.get::<_, String>(0)
    });
    assert_eq!(said, ["ok"], "{}", database.display());
}

/// Does each damage, a statement of SQL, to the stopped city's database as it is, and looks that `manzana
/// check` names it with these words.
///
/// # Panics
/// When it does not.
pub async fn damage_is_named(city: &City, damages: &[(&str, &str)]) {
    let whole = std::fs::read(city.database()).expect("the database");
    for (damage, named) in damages {
        let conn = Connection::open(city.database()).expect("opened");
        let changed = conn.execute(damage, []).expect("damaged");
        assert!(changed > 0, "{damage}");
        drop(conn);
        let ran = run(&mut city.command("check")).await;
        assert_eq!(ran.code, Some(1), "{damage}: {ran:?}");
        assert!(ran.out.contains(named), "{damage}: {ran:?}");
        std::fs::write(city.database(), &whole).expect("put back");
    }
}

/// Reads a city's database.
///
/// # Panics
/// When it is damaged.
pub fn city(database: &Path) -> CityState {
    is_whole(database);
    let conn = Connection::open(database).expect("a database");
    let number = |row: &Row<'_>, at: usize| row.get::<_, i64>(at).map(|n| n.unsigned_abs());
    let counters = |row: &Row<'_>| Ok((number(row, 0)?, number(row, 1)?));
    let (head, next_folio) = rows(&conn, "SELECT head, next_folio FROM city", counters)[0];
    let epoch = rows(&conn, "SELECT epoch FROM city", |row| number(row, 0))[0];
    let void = rows(
        &conn,
        "SELECT first, last FROM void_folios ORDER BY first",
        counters,
    );
    let first = "SELECT value FROM settings WHERE name = 'first_folio'";
    let first: Vec<u8> = rows(&conn, first, |row| row.get(0)).remove(0);
    let first_folio = String::from_utf8(first)
        .expect("digits")
        .parse()
        .expect("a number");
    let folio = |row: &Row<'_>, at| {
        row.get::<_, Option<i64>>(at)
            .map(|f| f.map(i64::unsigned_abs))
    };
    let log = rows(
        &conn,
        "SELECT seq, doc, device, incarnation, n, hash, change, folio FROM log ORDER BY seq",
        |row| {
            Ok(LogEntry {
                seq: number(row, 0)?,
                doc: DocId(row.get(1)?),
                device: DeviceId(row.get(2)?),
                incarnation: row.get(3)?,
                n: number(row, 4)?,
                hash: Hash(row.get(5)?),
                change: row.get(6)?,
                folio: folio(row, 7)?,
            })
        },
    );
    let docs = rows(
        &conn,
        "SELECT doc, saved, creation_seq, folio, summary FROM docs JOIN doc_bytes USING (creation_seq)",
        |row| {
            let doc = CityDoc {
                saved: row.get(1)?,
                creation_seq: number(row, 2)?,
                folio: folio(row, 3)?,
                scopes: decode::<Summary>(row, 4)?.scopes(),
            };
            Ok((DocId(row.get(0)?), doc))
        },
    );
    let mut chains: BTreeMap<_, Vec<_>> = BTreeMap::new();
    let kept = rows(
        &conn,
        "SELECT device, incarnation, bytes, answers FROM envelopes ORDER BY device, incarnation, n",
        |row| {
            let kept = KeptEnvelope {
                envelope: decode(row, 2)?,
                answers: decode(row, 3)?,
            };
            Ok(((DeviceId(row.get(0)?), row.get(1)?), kept))
        },
    );
    for (chain, envelope) in kept {
        chains.entry(chain).or_default().push(envelope);
    }
    let devices = rows(
        &conn,
        "SELECT device, key, user, desk_seed IS NOT NULL FROM devices",
        |row| {
            let author = Author {
                key: row.get(1)?,
                user: number(row, 2)?,
                desk: row.get(3)?,
            };
            Ok((DeviceId(row.get(0)?), author))
        },
    );
    let digests = rows(&conn, "SELECT scope, state FROM digests", |row| {
        let scope: String = row.get(0)?;
        let state: Vec<u8> = row.get(1)?;
        let state = SetHash::from_bytes(&state).expect("a digest");
        Ok((scope.parse::<Scope>().expect("a scope"), state.digest()))
    });
    CityState {
        head,
        first_folio,
        next_folio,
        void,
        put_back: epoch > 1,
        log,
        docs: docs.into_iter().collect(),
        chains,
        devices: devices.into_iter().collect(),
        digests: digests.into_iter().collect(),
    }
}

/// The petitions of a city with their folios; its relay may be running.
///
/// # Panics
/// When it cannot be read.
pub fn folios(database: &Path) -> BTreeMap<DocId, Option<u64>> {
    let conn = Connection::open(database).expect("a database");
    let petitions = "SELECT doc, folio FROM docs WHERE kind = 0";
    let petitions = rows(&conn, petitions, |row| {
        let folio: Option<i64> = row.get(1)?;
        Ok((DocId(row.get(0)?), folio.map(i64::unsigned_abs)))
    });
    petitions.into_iter().collect()
}

/// Last place of a city's log; its relay may be running.
///
/// # Panics
/// When it cannot be read.
pub fn head(database: &Path) -> u64 {
    let conn = Connection::open(database).expect("a database");
    let head = rows(&conn, "SELECT head FROM city", |row| row.get::<_, i64>(0))[0];
    head.unsigned_abs()
}

/// Where a device stands in the city's log.
///
/// # Panics
/// When it is not enrolled.
pub fn position(replica: &Path) -> u64 {
    meta(&open(replica)).position.seq
}

/// Who a device is, by its replica.
///
/// # Panics
/// When it is not enrolled.
pub fn identity(replica: &Path) -> DeviceId {
    meta(&open(replica)).device()
}

fn open(replica: &Path) -> SqliteReplica {
    // The token only has to be another one than before.
    let mut token = [0; 16];
    let now = std::time::UNIX_EPOCH.elapsed().unwrap_or_default();
    token.copy_from_slice(&now.as_nanos().to_be_bytes());
    SqliteReplica::open(replica, token).expect("a replica").0
}

fn meta(store: &SqliteReplica) -> Meta {
    let bytes = store.meta().expect("read").expect("enrolled");
    codec::decode(&bytes).expect("a device's own state")
}

/// Reads a device's replica.
///
/// # Panics
/// When it is damaged.
pub fn device(name: &str, replica: &Path) -> DeviceState {
    is_whole(replica);
    let store = open(replica);
    let meta = meta(&store);
    let listed = store.list().expect("read").into_iter();
    let docs = listed.map(|row| store.doc(&row.doc).expect("read").expect("listed"));
    let numbers = 0..meta.next_intent;
    let ids = numbers.map(|number| RecordId::new(&meta.device(), number));
    let intents = ids.filter_map(|id| Some((id, store.intent(&id).expect("read")?)));
    let signed = store.receipts(usize::MAX).expect("read");
    let opened = signed.iter().rev().map(|receipt| {
        let body = receipt.open(&meta.relay_key, &meta.city(), &meta.device());
        body.expect("only what verifies is kept").answers
    });
    let held = meta.scopes();
    let digest = |scope: &Scope| (scope.clone(), store.digest(scope).expect("read").digest());
    DeviceState {
        name: name.to_owned(),
        device: meta.device(),
        incarnation: meta.incarnation,
        position: meta.position.seq,
        docs: docs.collect(),
        intents: intents.collect(),
        receipts: opened.flatten().collect(),
        digests: held.iter().map(digest).collect(),
        held,
    }
}
