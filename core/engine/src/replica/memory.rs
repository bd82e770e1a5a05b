//! A replica in memory: the model that every durable backend is compared with, and the simulator's.
//!
//! Cloning it copies the whole store: the simulator's backups and cloned phones.

use core::cell::Cell;
use std::collections::{BTreeMap, BTreeSet};

use super::{DocRow, EnvelopeRow, IntentRow, IntentState, ReplicaStore, Write};
use crate::answer::{Answer, SignedReceipt};
use crate::digest::SetHash;
use crate::grant::Scope;
use crate::ids::{DeviceId, DocId, Hash, RecordId, Seq};

/// What can go wrong in memory: only what a test asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum MemoryError {
    /// See [`MemoryReplica::set_full`].
    #[error("the storage is full")]
    Full,
}

/// A replica in memory; empty by default.
#[derive(Debug, Clone, Default)]
pub struct MemoryReplica {
    meta: Option<Vec<u8>>,
    docs: BTreeMap<DocId, DocRow>,
    envelopes: BTreeMap<(DeviceId, u32, u64), Placed<EnvelopeRow>>,
    intents: BTreeMap<RecordId, Placed<IntentRow>>,
    receipts: Vec<SignedReceipt>,
    digests: BTreeMap<Scope, SetHash>,
    next: u64,
    full: bool,
    opened: Cell<u64>,
}

/// A row and its place in the order in which rows were first stored.
#[derive(Debug, Clone)]
struct Placed<T> {
    place: u64,
    row: T,
}

impl MemoryReplica {
    /// While full, every commit fails and writes nothing.
    pub fn set_full(&mut self, full: bool) {
        self.full = full;
    }

    /// How many documents were opened: calls of `doc` that found one.
    pub fn documents_opened(&self) -> u64 {
        self.opened.get()
    }

    /// Every intent kept, in the order in which they were first stored.
    pub fn intents(&self) -> Vec<IntentRow> {
        placed(&self.intents, |_| true)
    }

    /// The receipts kept, oldest first.
    pub fn receipts(&self) -> &[SignedReceipt] {
        &self.receipts
    }

    fn apply(&mut self, write: Write) {
        match write {
            Write::Meta(meta) => self.meta = Some(meta),
            Write::Doc(row) => drop(self.docs.insert(row.doc, *row)),
            Write::DropDoc(doc) => drop(self.docs.remove(&doc)),
            Write::Envelope(row) => {
                let context = &row.envelope.context;
                let key = (context.device, context.incarnation, row.n);
                put(&mut self.envelopes, &mut self.next, key, *row);
            }
            Write::DropEnvelope(device, incarnation, n) => {
                self.envelopes.remove(&(device, incarnation, n));
            }
            Write::Intent(row) => put(&mut self.intents, &mut self.next, row.id, row),
            Write::Receipt(receipt) => self.receipts.push(receipt),
            Write::Digest(scope, digest) => drop(self.digests.insert(scope, digest)),
            Write::DropDigest(scope) => drop(self.digests.remove(&scope)),
        }
    }
}

/// Inserts a row after all others, or replaces it where it stands.
fn put<K: Ord, T>(rows: &mut BTreeMap<K, Placed<T>>, next: &mut u64, key: K, row: T) {
    let place = rows.get(&key).map_or(*next, |stored| stored.place);
    *next += 1;
    rows.insert(key, Placed { place, row });
}

/// The rows that a query wants, in the order in which they were first stored.
fn placed<'a, K: 'a, T: Clone + 'a>(
    rows: &'a BTreeMap<K, Placed<T>>,
    wanted: impl Fn(&T) -> bool,
) -> Vec<T> {
    let mut found: Vec<_> = rows.values().filter(|stored| wanted(&stored.row)).collect();
    found.sort_by_key(|stored| stored.place);
    found.into_iter().map(|stored| stored.row.clone()).collect()
}

fn is_open(row: &EnvelopeRow) -> bool {
    match &row.answers {
        None => true,
        Some(answers) => !answers.iter().all(Answer::is_final),
    }
}

fn without_bytes(row: &DocRow) -> DocRow {
    DocRow {
        doc: row.doc,
        accepted: None,
        accepted_heads: row.accepted_heads.clone(),
        accepted_scopes: row.accepted_scopes.clone(),
        shown: None,
        summary: row.summary.clone(),
        creation_seq: row.creation_seq,
        folio: row.folio,
        provisional: row.provisional,
        quarantined: row.quarantined,
    }
}

impl ReplicaStore for MemoryReplica {
    type Error = MemoryError;

    fn meta(&self) -> Result<Option<Vec<u8>>, MemoryError> {
        Ok(self.meta.clone())
    }

    fn doc(&self, doc: &DocId) -> Result<Option<DocRow>, MemoryError> {
        let found = self.docs.get(doc).cloned();
        self.opened
            .set(self.opened.get() + u64::from(found.is_some()));
        Ok(found)
    }

    fn standing(&self, docs: &[DocId]) -> Result<BTreeSet<DocId>, MemoryError> {
        let open = self
            .envelopes
            .values()
            .filter(|stored| is_open(&stored.row));
        let touched: BTreeSet<&DocId> = open.flat_map(|stored| &stored.row.docs).collect();
        let stands = |doc: &&DocId| self.docs.contains_key(*doc) || touched.contains(doc);
        Ok(docs.iter().filter(stands).copied().collect())
    }

    fn list(&self) -> Result<Vec<DocRow>, MemoryError> {
        let mut rows: Vec<_> = self.docs.values().map(without_bytes).collect();
        rows.sort_by_key(|row| (core::cmp::Reverse(row.summary.captured_at), row.doc));
        Ok(rows)
    }

    fn envelope(
        &self,
        device: &DeviceId,
        incarnation: u32,
        n: u64,
    ) -> Result<Option<EnvelopeRow>, MemoryError> {
        let stored = self.envelopes.get(&(*device, incarnation, n));
        Ok(stored.map(|stored| stored.row.clone()))
    }

    fn envelopes_from(
        &self,
        device: &DeviceId,
        incarnation: u32,
        from: u64,
        limit: usize,
    ) -> Result<Vec<EnvelopeRow>, MemoryError> {
        let chain = (*device, incarnation, from)..=(*device, incarnation, u64::MAX);
        let rows = self.envelopes.range(chain).take(limit);
        Ok(rows.map(|(_, stored)| stored.row.clone()).collect())
    }

    fn open_envelopes_of(&self, doc: &DocId) -> Result<Vec<EnvelopeRow>, MemoryError> {
        Ok(placed(&self.envelopes, |row| {
            is_open(row) && row.docs.contains(doc)
        }))
    }

    fn own_chains(&self, device: &DeviceId) -> Result<Vec<(u32, u64)>, MemoryError> {
        let own = self.envelopes.keys().filter(|(by, ..)| by == device);
        // Keys ascend: the last one of a chain stays.
        let ends: BTreeMap<u32, u64> = own.map(|(_, incarnation, n)| (*incarnation, *n)).collect();
        Ok(ends.into_iter().collect())
    }

    fn receipts_before(
        &self,
        place: u64,
        limit: usize,
    ) -> Result<Vec<(u64, SignedReceipt)>, MemoryError> {
        let placed = (1..).zip(self.receipts.iter().cloned());
        let mut before: Vec<_> = placed.filter(|(at, _)| *at < place).collect();
        before.reverse();
        before.truncate(limit);
        Ok(before)
    }

    fn carried(
        &self,
        device: &DeviceId,
        incarnation: u32,
        limit: usize,
    ) -> Result<Vec<EnvelopeRow>, MemoryError> {
        let mut rows = placed(&self.envelopes, |row| {
            let context = &row.envelope.context;
            row.answers.is_none() && (context.device, context.incarnation) != (*device, incarnation)
        });
        rows.truncate(limit);
        Ok(rows)
    }

    fn unsent(&self, device: &DeviceId) -> Result<(u64, Option<i64>), MemoryError> {
        let rows = placed(&self.envelopes, |row| {
            row.answers.is_none() && row.envelope.context.device == *device
        });
        let times = rows.iter().filter_map(|row| row.envelope.peek().ok());
        let oldest = times.map(|body| body.device_time).min();
        Ok((rows.len() as u64, oldest))
    }

    fn intent(&self, id: &RecordId) -> Result<Option<IntentRow>, MemoryError> {
        Ok(self.intents.get(id).map(|stored| stored.row.clone()))
    }

    fn to_correct(&self) -> Result<Vec<IntentRow>, MemoryError> {
        Ok(placed(&self.intents, |row| {
            matches!(row.state, IntentState::ToCorrect { .. })
        }))
    }

    fn held(&self) -> Result<Vec<IntentRow>, MemoryError> {
        Ok(placed(&self.intents, |row| {
            matches!(row.state, IntentState::Held { .. })
        }))
    }

    fn open_intents_of(&self, doc: &DocId) -> Result<Vec<IntentRow>, MemoryError> {
        Ok(placed(&self.intents, |row| {
            row.state.open_group().is_some() && row.docs.contains(doc)
        }))
    }

    fn intents_accepted_at(&self, seq: Seq) -> Result<Vec<IntentRow>, MemoryError> {
        Ok(placed(&self.intents, |row| {
            row.state == IntentState::Accepted { seq }
        }))
    }

    fn digest(&self, scope: &Scope) -> Result<SetHash, MemoryError> {
        Ok(self.digests.get(scope).cloned().unwrap_or_default())
    }

    fn docs_in(&self, scope: &Scope) -> Result<Vec<DocId>, MemoryError> {
        let rows = self.docs.values();
        let inside = rows.filter(|row| row.accepted_scopes.contains(scope));
        Ok(inside.map(|row| row.doc).collect())
    }

    fn heads_in(&self, scope: &Scope) -> Result<Vec<(DocId, Vec<Hash>)>, MemoryError> {
        let rows = self.docs.values();
        let inside = rows.filter(|row| row.accepted_scopes.contains(scope));
        Ok(inside
            .map(|row| (row.doc, row.accepted_heads.clone()))
            .collect())
    }

    fn commit(&mut self, writes: Vec<Write>) -> Result<(), MemoryError> {
        // The only failure comes before the first write, so nothing is ever half done.
        if self.full {
            return Err(MemoryError::Full);
        }
        writes.into_iter().for_each(|write| self.apply(write));
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::super::conformance::Fixture;
    use super::*;

    struct InMemory(MemoryReplica);

    impl Fixture for InMemory {
        type Store = MemoryReplica;

        fn store(&mut self) -> &mut MemoryReplica {
            &mut self.0
        }

        fn reopen(&mut self) {
            self.0.set_full(false);
        }

        fn fail_at_receipts(&mut self) {
            self.0.set_full(true);
        }

        fn documents_opened(&mut self) -> u64 {
            self.0.documents_opened()
        }
    }

    crate::replica_conformance!(InMemory(MemoryReplica::default()));
}
