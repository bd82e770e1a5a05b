//! Work in progress on a replica: reads go through what is staged, writes wait for one commit.

use std::collections::{BTreeMap, BTreeSet};

use super::{Change, DocRow, EnvelopeRow, IntentRow, IntentState, Meta, ReplicaError};
use super::{ReplicaResult, ReplicaStore, Write};
use crate::codec;
use crate::digest::SetHash;
use crate::grant::Scope;
use crate::ids::{DeviceId, DocId, RecordId};

type EnvelopeKey = (DeviceId, u32, u64);

/// An overlay over the store.
pub(super) struct Staged<'s, S> {
    pub(super) meta: Meta,
    pub(super) held: Vec<Scope>,
    store: &'s S,
    docs: BTreeMap<DocId, Option<DocRow>>,
    envelopes: BTreeMap<EnvelopeKey, EnvelopeRow>,
    /// Order in which envelopes were staged: rebuilding applies them in it.
    order: Vec<EnvelopeKey>,
    intents: BTreeMap<RecordId, IntentRow>,
    digests: BTreeMap<Scope, SetHash>,
    others: Vec<Write>,
    changes: Vec<Change>,
}

/// Everything that one commit writes, and what the memory takes over afterwards.
pub(super) struct Finished {
    pub(super) meta: Meta,
    pub(super) writes: Vec<Write>,
    pub(super) changes: Vec<Change>,
}

impl<'s, S: ReplicaStore> Staged<'s, S> {
    pub(super) fn new(store: &'s S, meta: Meta) -> Self {
        Self {
            held: meta.scopes(),
            meta,
            store,
            docs: BTreeMap::new(),
            envelopes: BTreeMap::new(),
            order: Vec::new(),
            intents: BTreeMap::new(),
            digests: BTreeMap::new(),
            others: Vec::new(),
            changes: Vec::new(),
        }
    }

    pub(super) fn store(&self) -> &'s S {
        self.store
    }

    pub(super) fn doc(&self, doc: &DocId) -> ReplicaResult<Option<DocRow>, S> {
        match self.docs.get(doc) {
            Some(row) => Ok(row.clone()),
            None => self.store.doc(doc).map_err(ReplicaError::Store),
        }
    }

    /// Those of the documents that have a row here, or open envelopes.
    pub(super) fn standing(&self, docs: &[DocId]) -> ReplicaResult<BTreeSet<DocId>, S> {
        let mut standing = self.store.standing(docs).map_err(ReplicaError::Store)?;
        let envelopes = self.envelopes.values().flat_map(|row| row.docs.iter());
        let staged: BTreeSet<&DocId> = self.docs.keys().chain(envelopes).collect();
        standing.extend(docs.iter().filter(|doc| staged.contains(doc)));
        Ok(standing)
    }

    pub(super) fn put_doc(&mut self, row: DocRow) {
        self.changed(Change::Doc(row.doc));
        if row.accepted.is_some() {
            self.meta.came(row.doc, &row.summary.capture);
        }
        self.docs.insert(row.doc, Some(row));
    }

    pub(super) fn drop_doc(&mut self, doc: DocId) {
        self.changed(Change::Doc(doc));
        self.meta.mended(&doc);
        self.docs.insert(doc, None);
    }

    pub(super) fn envelope(&self, key: EnvelopeKey) -> ReplicaResult<Option<EnvelopeRow>, S> {
        match self.envelopes.get(&key) {
            Some(row) => Ok(Some(row.clone())),
            None => {
                let (device, incarnation, n) = key;
                self.store
                    .envelope(&device, incarnation, n)
                    .map_err(ReplicaError::Store)
            }
        }
    }

    pub(super) fn put_envelope(&mut self, row: EnvelopeRow) {
        let key = key_of(&row);
        self.order.push(key);
        self.envelopes.insert(key, row);
    }

    /// Envelopes on a document that are not answered for good, in the order they came to be.
    pub(super) fn open_envelopes_of(&self, doc: &DocId) -> ReplicaResult<Vec<EnvelopeRow>, S> {
        let stored = self
            .store
            .open_envelopes_of(doc)
            .map_err(ReplicaError::Store)?;
        let mut rows: Vec<EnvelopeRow> = Vec::with_capacity(stored.len());
        for row in stored {
            rows.push(self.envelopes.get(&key_of(&row)).cloned().unwrap_or(row));
        }
        for key in &self.order {
            let staged = &self.envelopes[key];
            if staged.docs.contains(doc) && !rows.iter().any(|row| key_of(row) == *key) {
                rows.push(staged.clone());
            }
        }
        rows.retain(|row| row.answers.is_none());
        Ok(rows)
    }

    pub(super) fn intent(&self, id: &RecordId) -> ReplicaResult<Option<IntentRow>, S> {
        match self.intents.get(id) {
            Some(row) => Ok(Some(row.clone())),
            None => self.store.intent(id).map_err(ReplicaError::Store),
        }
    }

    /// What waits in "Por corregir", oldest first.
    pub(super) fn to_correct(&self) -> ReplicaResult<Vec<IntentRow>, S> {
        let mut rows = self.store.to_correct().map_err(ReplicaError::Store)?;
        rows.retain(|row| !self.intents.contains_key(&row.id));
        rows.extend(self.intents.values().cloned());
        rows.retain(|row| matches!(row.state, IntentState::ToCorrect { .. }));
        // Records are numbered as people act.
        rows.sort_by_key(|row| row.id);
        Ok(rows)
    }

    pub(super) fn put_intent(&mut self, row: IntentRow) {
        if matches!(row.state, IntentState::ToCorrect { .. }) {
            self.changed(Change::ToCorrect);
        }
        self.intents.insert(row.id, row);
    }

    pub(super) fn digest(&mut self, scope: &Scope) -> ReplicaResult<&mut SetHash, S> {
        if !self.digests.contains_key(scope) {
            let stored = self.store.digest(scope).map_err(ReplicaError::Store)?;
            self.digests.insert(scope.clone(), stored);
        }
        self.digests.get_mut(scope).ok_or(ReplicaError::Damaged)
    }

    pub(super) fn drop_digest(&mut self, scope: Scope) {
        self.digests.remove(&scope);
        self.others.push(Write::DropDigest(scope));
    }

    pub(super) fn push(&mut self, write: Write) {
        self.others.push(write);
    }

    pub(super) fn changed(&mut self, change: Change) {
        if !self.changes.contains(&change) {
            self.changes.push(change);
        }
    }

    pub(super) fn finish(self) -> Finished {
        let mut writes = self.others;
        writes.extend(self.docs.into_iter().map(|(doc, row)| match row {
            Some(row) => Write::Doc(Box::new(row)),
            None => Write::DropDoc(doc),
        }));
        let mut envelopes = self.envelopes;
        // In the order they came to be: the store keeps that order.
        for key in self.order {
            writes.extend(
                envelopes
                    .remove(&key)
                    .map(|row| Write::Envelope(Box::new(row))),
            );
        }
        writes.extend(self.intents.into_values().map(Write::Intent));
        writes.extend(
            self.digests
                .into_iter()
                .map(|(scope, hash)| Write::Digest(scope, hash)),
        );
        writes.push(Write::Meta(codec::encode(&self.meta)));
        Finished {
            meta: self.meta,
            writes,
            changes: self.changes,
        }
    }
}

pub(super) fn key_of(row: &EnvelopeRow) -> EnvelopeKey {
    (
        row.envelope.context.device,
        row.envelope.context.incarnation,
        row.n,
    )
}
