//! The console's list: filters, search and paging by creation place, without opening a document.

use rusqlite::types::Value;
use rusqlite::{Connection, params_from_iter};

use super::super::{DocState, ListFilter, Result};
use super::convert::{count, int, status_code};
use super::read::{DOC_COLUMNS, doc_row};
use super::search::expression;

/// Most rows of one page.
const PAGE: usize = 200;

pub(super) fn list(conn: &Connection, filter: &ListFilter) -> Result<Vec<DocState>> {
    let (sql, values) = statement(filter);
    let mut statement = conn.prepare_cached(&sql)?;
    let rows = statement.query_map(params_from_iter(values), doc_row)?;
    Ok(rows.collect::<rusqlite::Result<_>>()?)
}

/// One of sixteen statements, so each stays prepared; values are always bound.
fn statement(filter: &ListFilter) -> (String, Vec<Value>) {
    let searched = filter.query.as_deref().and_then(expression);
    let mut place = "docs.creation_seq";
    let mut sql = format!("SELECT {DOC_COLUMNS} FROM docs WHERE docs.kind = 0");
    let mut values = Vec::new();
    if let Some(expression) = searched {
        // Walks the index's own order, newest first, and stops at the page's end.
        place = "search.rowid";
        sql = format!(
            "SELECT {DOC_COLUMNS} FROM search CROSS JOIN docs ON docs.creation_seq = search.rowid
             WHERE search MATCH ?"
        );
        values.push(Value::Text(expression));
    }
    if let Some(status) = filter.status {
        sql.push_str(" AND docs.status = ?");
        values.push(Value::Integer(status_code(status)));
    }
    if let Some(neighborhood) = filter.neighborhood {
        sql.push_str(" AND docs.neighborhood = ?");
        values.push(Value::Integer(neighborhood.into()));
    }
    if let Some(before) = filter.before {
        sql.push_str(&format!(" AND {place} < ?"));
        values.push(Value::Integer(int(before)));
    }
    sql.push_str(&format!(" ORDER BY {place} DESC LIMIT ?"));
    values.push(Value::Integer(count(filter.limit.min(PAGE))));
    (sql, values)
}
