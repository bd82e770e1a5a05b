//! The console's list: filters, search and paging by creation place, without opening a document.

use manzana_engine::grant::Scope;
use rusqlite::types::Value;
use rusqlite::{Connection, params_from_iter};

use super::super::{ListFilter, Listed, Result};
use super::convert::{count, int, scope_key, status_code, uint};
use super::read::{DOC_COLUMNS, doc_row};
use super::search::{self, Search};

/// Most rows of one page.
const PAGE: usize = 200;
/// Petitions counted at most, to tell which filter lets fewer in.
const MANY: i64 = 20_000;

pub(super) fn list(conn: &Connection, filter: &ListFilter) -> Result<Listed> {
    let search = match &filter.query {
        Some(typed) => search::search(conn, typed)?,
        None => None,
    };
    let walked = walked(conn, filter, search.as_ref())?;
    let (sql, values) = statement(filter, search.as_ref(), walked);
    let mut statement = conn.prepare_cached(&sql)?;
    let rows = statement.query_map(params_from_iter(values), doc_row)?;
    let rows: Vec<_> = rows.collect::<rusqlite::Result<_>>()?;
    let total = match filter.before {
        None if rows.len() < filter.limit.min(PAGE) => Some(rows.len() as u64),
        None if search.is_none() => total(conn, filter)?,
        _ => None,
    };
    Ok(Listed {
        rows,
        corrected: search.and_then(|search| search.corrected),
        total,
    })
}

/// What is walked in its own order, newest first, up to the page's end; the other filters are asked of
/// each row on the way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Walked {
    /// What the search finds.
    Search,
    /// The documents of an agency.
    Agency,
    /// All, or those of a status or neighborhood.
    Docs,
}

/// Of an agency and a status, the one with fewer petitions is walked: a rare status would be looked for
/// through all years of a large agency, and the other way round.
fn walked(conn: &Connection, filter: &ListFilter, search: Option<&Search>) -> Result<Walked> {
    let (agency, status) = match (search, filter.agency, filter.status) {
        (Some(_), _, _) => return Ok(Walked::Search),
        (None, None, _) => return Ok(Walked::Docs),
        (None, Some(_), None) => return Ok(Walked::Agency),
        (None, Some(agency), Some(status)) => (agency, status),
    };
    let up_to = |sql: &str, value: Value| -> Result<i64> {
        let sql = format!("SELECT count(*) FROM (SELECT 1 FROM {sql} = ?1 LIMIT ?2)");
        let mut statement = conn.prepare_cached(&sql)?;
        Ok(statement.query_row((value, MANY), |row| row.get(0))?)
    };
    let agency = Value::Text(scope_key(&Scope::Agency(agency)));
    let status = Value::Integer(status_code(status));
    let fewer = up_to("docs WHERE status", status)? < up_to("scope_docs WHERE scope", agency)?;
    Ok(if fewer { Walked::Docs } else { Walked::Agency })
}

/// One of some dozen statements, so each stays prepared; values are always bound.
fn statement(filter: &ListFilter, search: Option<&Search>, walked: Walked) -> (String, Vec<Value>) {
    let (from, place) = match walked {
        Walked::Search => (
            "search CROSS JOIN docs ON docs.creation_seq = search.rowid",
            "search.rowid",
        ),
        Walked::Agency => (
            "scope_docs CROSS JOIN docs USING (creation_seq)",
            "scope_docs.creation_seq",
        ),
        Walked::Docs => ("docs", "docs.creation_seq"),
    };
    let mut sql = format!("SELECT {DOC_COLUMNS} FROM {from} WHERE docs.kind = 0");
    let mut values = Vec::new();
    let mut filtered = |condition: &str, value: Value| {
        sql.push_str(" AND ");
        sql.push_str(condition);
        values.push(value);
    };
    if let Some(search) = search {
        filtered("search MATCH ?", Value::Text(search.expression.clone()));
    }
    if let Some(agency) = filter.agency {
        let condition = match walked {
            Walked::Agency => "scope_docs.scope = ?",
            _ => {
                "EXISTS (SELECT 1 FROM scope_docs s WHERE s.scope = ?
                         AND s.creation_seq = docs.creation_seq)"
            }
        };
        filtered(condition, Value::Text(scope_key(&Scope::Agency(agency))));
    }
    if let Some(status) = filter.status {
        filtered("docs.status = ?", Value::Integer(status_code(status)));
    }
    if let Some(neighborhood) = filter.neighborhood {
        filtered("docs.neighborhood = ?", Value::Integer(neighborhood.into()));
    }
    if let Some(before) = filter.before {
        filtered(&format!("{place} < ?"), Value::Integer(int(before)));
    }
    sql.push_str(&format!(" ORDER BY {place} DESC LIMIT ?"));
    values.push(Value::Integer(count(filter.limit.min(PAGE))));
    (sql, values)
}

/// How many petitions a filter without words lets in, where one index alone tells.
fn total(conn: &Connection, filter: &ListFilter) -> Result<Option<u64>> {
    let (sql, value) = match (filter.status, filter.neighborhood, filter.agency) {
        (None, None, None) => ("SELECT count(*) FROM docs WHERE status IS NOT NULL", None),
        (Some(status), None, None) => (
            "SELECT count(*) FROM docs WHERE status = ?",
            Some(Value::Integer(status_code(status))),
        ),
        (None, Some(neighborhood), None) => (
            "SELECT count(*) FROM docs WHERE neighborhood = ?",
            Some(Value::Integer(neighborhood.into())),
        ),
        (None, None, Some(agency)) => (
            "SELECT count(*) FROM scope_docs WHERE scope = ?",
            Some(Value::Text(scope_key(&Scope::Agency(agency)))),
        ),
        _ => return Ok(None),
    };
    let mut statement = conn.prepare_cached(sql)?;
    let total = statement.query_row(params_from_iter(value), |row| uint(row, 0))?;
    Ok(Some(total))
}
