//! Reports, counted from an index over the rows: no document is opened, and no summary but one an agency.

use std::collections::BTreeMap;

use manzana_engine::ids::CatalogId;
use manzana_engine::record::CatalogRef;
use manzana_engine::summary::Summary;
use rusqlite::Connection;

use super::super::{AgencyCounts, Period, Result};
use super::convert::{cbor, status_of, uint};

const COUNTS: &str = "SELECT agency, status, count(*) FROM docs
     WHERE status IS NOT NULL AND captured_at >= ?1 AND captured_at < ?2
     GROUP BY agency, status";
const ONE_OF: &str = "SELECT summary FROM docs WHERE agency = ?1 AND status IS NOT NULL LIMIT 1";

pub(super) fn by_agency(conn: &Connection, period: &Period) -> Result<Vec<AgencyCounts>> {
    let mut statement = conn.prepare_cached(COUNTS)?;
    let mut rows = statement.query((period.from, period.until))?;
    let mut found: BTreeMap<Option<CatalogId>, AgencyCounts> = BTreeMap::new();
    while let Some(row) = rows.next()? {
        let counts = found.entry(row.get(0)?).or_default();
        *counts.of(status_of(row, 1)?.into()) += uint(row, 2)?;
    }
    found
        .into_iter()
        .map(|(agency, mut counts)| {
            counts.agency = agency.map(|id| named(conn, id)).transpose()?;
            Ok(counts)
        })
        .collect()
}

/// An agency by the name that one of its petitions has it under.
fn named(conn: &Connection, id: CatalogId) -> Result<CatalogRef> {
    let mut statement = conn.prepare_cached(ONE_OF)?;
    let summary: Summary = statement.query_row([id], |row| cbor(row, 0))?;
    let agency = summary.agencies.into_iter().find(|agency| agency.id == id);
    Ok(agency.unwrap_or_else(|| CatalogRef::new(id, String::new())))
}
