//! Documents, made again from the log, and what is derived from them.

use std::collections::BTreeMap;

use manzana_engine::digest::SetHash;
use manzana_engine::document::Document;
use manzana_engine::grant::Scope;
use manzana_engine::ids::{Hash, Seq};
use manzana_engine::reconcile::Version;
use manzana_engine::summary::{DocKind, Summary};
use rusqlite::{Connection, Row};

use super::super::super::{DocState, Result, StatusFilter};
use super::super::convert::{id, scope_key, status_code, uint};
use super::super::digests;
use super::super::read::{DOC_COLUMNS, doc_row};
use super::Findings;

const ROWS: &str = "SELECT seq, hash, change FROM log WHERE doc = ?1 ORDER BY seq";
const MEMBERS: &str = "SELECT scope, count(*) FROM scope_docs GROUP BY scope";

/// Members and digest of a scope, as the documents make them.
#[derive(Default)]
struct Held {
    members: u64,
    digest: SetHash,
}

/// Checks all documents; gives how many.
pub(super) fn check(conn: &Connection, findings: &Findings<'_>) -> Result<u64> {
    let sql = format!(
        "SELECT {DOC_COLUMNS}, saved, version, status, agency, captured_at
         FROM docs JOIN doc_bytes USING (creation_seq) ORDER BY creation_seq"
    );
    let mut scopes: BTreeMap<Scope, Held> = BTreeMap::new();
    let mut statement = conn.prepare(&sql)?;
    let mut rows = statement.query([])?;
    let mut count = 0;
    while let Some(row) = rows.next()? {
        let state = doc_row(row)?;
        let fault = |what: &str| findings.fault(format!("document {}: {what}", state.doc));
        if let Some(made) = again(conn, &state, &fault)? {
            of_its_document(row, &state, &made, &fault)?;
        }
        for scope in state.summary.scopes() {
            let held = scopes.entry(scope).or_default();
            held.members += 1;
            held.digest.add(&state.doc, &state.summary.heads);
        }
        count += 1;
        findings.done();
    }
    check_scopes(conn, &scopes, findings)?;
    let strays = conn.query_row(
        "SELECT count(*) FROM (SELECT DISTINCT doc FROM log EXCEPT SELECT doc FROM docs)",
        [],
        |row| uint(row, 0),
    )?;
    if strays > 0 {
        findings.fault(format!("{strays} documents are in the log alone"));
    }
    Ok(count)
}

/// The document that its rows of the log make; `None` when they make none.
fn again(conn: &Connection, state: &DocState, fault: &dyn Fn(&str)) -> Result<Option<Document>> {
    let mut statement = conn.prepare_cached(ROWS)?;
    let mut rows = statement.query([state.doc.as_bytes()])?;
    let mut document = Document::empty();
    let mut places: Option<(Seq, Seq)> = None;
    while let Some(row) = rows.next()? {
        let seq = uint(row, 0)?;
        places = Some((places.map_or(seq, |(first, _)| first), seq));
        let hash = id(row, 1, Hash::from_slice)?;
        if document.apply(row.get_ref(2)?.as_blob().unwrap_or_default()) != Ok(hash) {
            fault(&format!("row {seq} of the log is not its change"));
            return Ok(None);
        }
    }
    if places != Some((state.creation_seq, state.last_seq)) {
        fault("it was not created, or not last changed, where its row says");
    }
    Ok(Some(document))
}

/// Whether everything kept of a document is what it makes.
fn of_its_document(
    row: &Row<'_>,
    state: &DocState,
    made: &Document,
    fault: &dyn Fn(&str),
) -> Result<()> {
    let heads = made.heads();
    let saved = row.get_ref("saved")?.as_blob().unwrap_or_default();
    if !Document::load(saved).is_ok_and(|kept| kept.heads() == heads) {
        fault("its bytes are not what its log makes");
    }
    if made.summary().ok().as_ref() != Some(&state.summary) {
        fault("its summary is not its own");
    }
    if row.get_ref("version")?.as_blob().ok() != Some(&Version::of(&heads).0[..]) {
        fault("its version is not of its heads");
    }
    let Summary {
        doc_kind,
        agencies,
        captured_at,
        ..
    } = &state.summary;
    let status =
        (*doc_kind == DocKind::Petition).then(|| status_code(StatusFilter::of(&state.summary)));
    let kept = (
        row.get("status")?,
        row.get("agency")?,
        row.get("captured_at")?,
    );
    if kept
        != (
            status,
            agencies.first().map(|agency| agency.id),
            *captured_at,
        )
    {
        fault("its columns are not those of its summary");
    }
    Ok(())
}

fn check_scopes(
    conn: &Connection,
    scopes: &BTreeMap<Scope, Held>,
    findings: &Findings<'_>,
) -> Result<()> {
    let mut statement = conn.prepare(MEMBERS)?;
    let kept = statement.query_map([], |row| Ok((row.get::<_, String>(0)?, uint(row, 1)?)))?;
    let kept: BTreeMap<String, u64> = kept.collect::<rusqlite::Result<_>>()?;
    let made = scopes
        .iter()
        .map(|(scope, held)| (scope_key(scope), held.members));
    if kept != made.collect() {
        findings.fault("the scopes do not hold what the documents say".to_owned());
    }
    for (scope, held) in scopes {
        if digests::load(conn, scope)?.digest() != held.digest.digest() {
            findings.fault(format!("scope {scope}: its digest is not of its documents"));
        }
    }
    Ok(())
}
