//! One function opens documents, and counts.
//!
//! Document bytes are read here and nowhere else, so a test can assert that listing ten thousand
//! petitions or reconnecting with none changed opened none.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use manzana_engine::replica::DocRow;
use rusqlite::{Connection, OptionalExtension as _, Transaction};

use crate::sqlite::StoreError;

pub(crate) const READ: &str = "SELECT accepted, shown FROM doc_bytes WHERE place = ?1";
const WRITE: &str = "INSERT INTO doc_bytes (place, accepted, shown) VALUES (?1, ?2, ?3)
     ON CONFLICT (place) DO UPDATE SET accepted = excluded.accepted, shown = excluded.shown";

/// How many documents were read from a storage. Clones count together.
#[derive(Debug, Clone, Default)]
pub struct DocumentCounter(Arc<AtomicU64>);

impl DocumentCounter {
    /// Documents opened since the storage was.
    pub fn opened(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }

    /// One more was opened. For the function of a backend that reads document bytes.
    pub fn count(&self) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

/// Fills in the bytes of the document in this row.
pub(crate) fn open(
    conn: &Connection,
    counter: &DocumentCounter,
    place: i64,
    row: &mut DocRow,
) -> Result<(), StoreError> {
    counter.count();
    let bytes = conn
        .prepare_cached(READ)?
        .query_row([place], |row| Ok((row.get(0)?, row.get(1)?)))
        .optional()?;
    (row.accepted, row.shown) = bytes.unwrap_or_default();
    Ok(())
}

/// Keeps the bytes of the document in this row.
pub(crate) fn save(tx: &Transaction<'_>, place: i64, row: &DocRow) -> Result<(), StoreError> {
    tx.prepare_cached(WRITE)?
        .execute((place, row.accepted.as_deref(), row.shown.as_deref()))?;
    Ok(())
}

#[cfg(test)]
mod tests {
    #[test]
    fn no_other_file_reads_document_bytes() {
        let others = [
            include_str!("replica/mod.rs"),
            include_str!("replica/docs.rs"),
            include_str!("replica/queue.rs"),
            include_str!("replica/token.rs"),
            include_str!("sqlite.rs"),
        ];
        assert!(others.iter().all(|file| !file.contains("doc_bytes")));
        assert!(include_str!("documents.rs").contains("FROM doc_bytes"));
    }
}
