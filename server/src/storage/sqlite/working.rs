//! The documents of the batch under way: read at their first entry, written once at its end.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use manzana_engine::digest::SetHash;
use manzana_engine::grant::Scope;
use manzana_engine::ids::{DocId, Hash, Seq};
use manzana_engine::reconcile::Version;
use manzana_engine::summary::{DocKind, Summary};
use rusqlite::{Connection, OptionalExtension, params};

use super::super::{DocState, DocWrite, Move, Result, StatusFilter, moves};
use super::convert::{
    Misuse, cbor, int, kind_code, optional_uint, scope_key, status_code, to_cbor, uint,
};
use super::digests::DigestCache;
use super::memory::Memory;
use super::search::{FolioFormat, Indexed};
use super::words::KnownWords;

/// Where a document stood before the batch.
#[derive(Default)]
struct Before {
    scopes: Vec<Scope>,
    heads: Vec<Hash>,
    indexed: Option<Indexed>,
}

struct Working {
    creation_seq: Seq,
    last_seq: Seq,
    folio: Option<u64>,
    masked_name: Option<String>,
    summary: Summary,
    /// The scopes after the entries so far.
    scopes: Vec<Scope>,
    before: Before,
}

/// All documents that the batch touches.
#[derive(Default)]
pub(super) struct WorkingDocs {
    docs: BTreeMap<DocId, Working>,
}

impl WorkingDocs {
    /// Puts an entry's summary upon its document. Gives a move for each scope before or after, sorted.
    pub(super) fn apply(
        &mut self,
        conn: &Connection,
        format: &FolioFormat,
        doc: &DocId,
        seq: Seq,
        summary: &Summary,
    ) -> Result<Vec<(Scope, Move)>> {
        let scopes = summary.scopes();
        if let Some(working) = self.known(conn, format, doc)? {
            let moves = moves(&working.scopes, &scopes);
            working.last_seq = seq;
            working.summary = summary.clone();
            working.scopes = scopes;
            return Ok(moves);
        }
        let moves = moves(&[], &scopes);
        let working = Working {
            creation_seq: seq,
            last_seq: seq,
            folio: None,
            masked_name: None,
            summary: summary.clone(),
            scopes,
            before: Before::default(),
        };
        self.docs.insert(*doc, working);
        Ok(moves)
    }

    /// Gives the petition its folio.
    pub(super) fn set_folio(&mut self, doc: &DocId, folio: u64) {
        if let Some(working) = self.docs.get_mut(doc) {
            working.folio = Some(folio);
        }
    }

    /// The folio of a document that the batch touches.
    pub(super) fn folio(&self, doc: &DocId) -> Option<u64> {
        self.docs.get(doc)?.folio
    }

    /// Gives the petition the name to show in lists.
    pub(super) fn set_masked_name(&mut self, doc: &DocId, name: String) {
        if let Some(working) = self.docs.get_mut(doc) {
            working.masked_name = Some(name);
        }
    }

    /// Writes everything, and tells how the documents stand now.
    pub(super) fn flush(
        mut self,
        conn: &Connection,
        format: &FolioFormat,
        memory: &mut Memory,
        writes: Vec<DocWrite>,
    ) -> Result<Vec<Arc<DocState>>> {
        let mut saved = BTreeMap::new();
        for DocWrite { doc, saved: bytes } in writes {
            if self.known(conn, format, &doc)?.is_none() {
                return Err(Misuse("bytes of a document that has no entry").into());
            }
            saved.insert(doc, bytes);
        }
        let mut states = Vec::with_capacity(self.docs.len());
        for (doc, working) in self.docs {
            let bytes = saved
                .remove(&doc)
                .ok_or(Misuse("an entry of a document that has no bytes"))?;
            working.write_row(conn, &doc, &bytes)?;
            working.write_search(conn, format, &mut memory.words)?;
            working.write_scopes(conn, &mut memory.digests, &doc)?;
            states.push(Arc::new(working.into_state(doc, bytes)));
        }
        memory.digests.flush(conn)?;
        Ok(states)
    }

    fn known(
        &mut self,
        conn: &Connection,
        format: &FolioFormat,
        doc: &DocId,
    ) -> Result<Option<&mut Working>> {
        if !self.docs.contains_key(doc)
            && let Some(working) = load(conn, format, doc)?
        {
            self.docs.insert(*doc, working);
        }
        Ok(self.docs.get_mut(doc))
    }
}

impl Working {
    fn write_row(&self, conn: &Connection, doc: &DocId, saved: &Bytes) -> Result<()> {
        let status = (self.summary.doc_kind == DocKind::Petition)
            .then(|| status_code(StatusFilter::of(&self.summary)));
        let agency = self.summary.agencies.first().map(|agency| agency.id);
        let neighborhood = self.summary.neighborhood.as_ref().map(|entry| entry.id);
        conn.prepare_cached(
            "INSERT INTO docs (creation_seq, doc, kind, last_seq, folio, status, agency, neighborhood,
                               captured_at, masked_name, version, summary)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12)
             ON CONFLICT (creation_seq) DO UPDATE SET
                 last_seq = excluded.last_seq, folio = excluded.folio, status = excluded.status, agency = excluded.agency,
                 neighborhood = excluded.neighborhood, captured_at = excluded.captured_at,
                 masked_name = excluded.masked_name,
                 version = excluded.version, summary = excluded.summary",
        )?
        .execute(params![
            int(self.creation_seq),
            doc.as_bytes(),
            kind_code(self.summary.doc_kind),
            int(self.last_seq),
            self.folio.map(int),
            status,
            agency,
            neighborhood,
            self.summary.captured_at,
            self.masked_name,
            Version::of(&self.summary.heads).0,
            to_cbor(&self.summary),
        ])?;
        conn.prepare_cached(
            "INSERT INTO doc_bytes (creation_seq, saved) VALUES (?1, ?2)
             ON CONFLICT (creation_seq) DO UPDATE SET saved = excluded.saved",
        )?
        .execute(params![int(self.creation_seq), saved.as_ref()])?;
        Ok(())
    }

    fn write_search(
        &self,
        conn: &Connection,
        format: &FolioFormat,
        words: &mut KnownWords,
    ) -> Result<()> {
        let name = self.masked_name.as_deref();
        let indexed = Indexed::of(&self.summary, self.folio, name, format);
        let Some(text) = indexed.as_ref().filter(|_| indexed != self.before.indexed) else {
            return Ok(());
        };
        text.put(conn, int(self.creation_seq))?;
        for text in [
            &text.subject,
            &text.location,
            &text.neighborhood,
            &text.name,
        ] {
            words.add(conn, text)?;
        }
        Ok(())
    }

    fn write_scopes(
        &self,
        conn: &Connection,
        digests: &mut DigestCache,
        doc: &DocId,
    ) -> Result<()> {
        let seq = int(self.creation_seq);
        let (mut out, mut into) = (SetHash::default(), SetHash::default());
        out.remove(doc, &self.before.heads);
        into.add(doc, &self.summary.heads);
        for scope in &self.before.scopes {
            digests.merge(conn, scope, &out)?;
            if !self.scopes.contains(scope) {
                conn.prepare_cached(
                    "DELETE FROM scope_docs WHERE scope = ?1 AND creation_seq = ?2",
                )?
                .execute(params![scope_key(scope), seq])?;
            }
        }
        for scope in &self.scopes {
            digests.merge(conn, scope, &into)?;
            if !self.before.scopes.contains(scope) {
                conn.prepare_cached(
                    "INSERT INTO scope_docs (scope, creation_seq) VALUES (?1, ?2)",
                )?
                .execute(params![scope_key(scope), seq])?;
            }
        }
        Ok(())
    }

    fn into_state(self, doc: DocId, saved: Bytes) -> DocState {
        DocState {
            doc,
            saved,
            summary: self.summary,
            creation_seq: self.creation_seq,
            last_seq: self.last_seq,
            folio: self.folio,
            masked_name: self.masked_name,
        }
    }
}

fn load(conn: &Connection, format: &FolioFormat, doc: &DocId) -> Result<Option<Working>> {
    let row = conn
        .prepare_cached(
            "SELECT creation_seq, last_seq, folio, masked_name, summary FROM docs WHERE doc = ?1",
        )?
        .query_row([doc.as_bytes()], |row| {
            let name: Option<String> = row.get(3)?;
            let summary: Summary = cbor(row, 4)?;
            Ok((
                uint(row, 0)?,
                uint(row, 1)?,
                optional_uint(row, 2)?,
                name,
                summary,
            ))
        })
        .optional()?;
    Ok(row.map(
        |(creation_seq, last_seq, folio, masked_name, summary)| Working {
            creation_seq,
            last_seq,
            folio,
            scopes: summary.scopes(),
            before: Before {
                scopes: summary.scopes(),
                heads: summary.heads.clone(),
                indexed: Indexed::of(&summary, folio, masked_name.as_deref(), format),
            },
            masked_name,
            summary,
        },
    ))
}
