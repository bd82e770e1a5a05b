//! A damaged replica: what is whole in it goes into a new one, and the old file is set aside.
//!
//! Most of a replica comes again from the relay. What does not is sought first and believed only if it
//! proves itself: the device's own state (its key under the grant that the city's root signed for it),
//! envelopes (their hash, and the device's signature), intents, receipts (the relay's signature). Documents
//! are kept where they open and have the heads that their row names; a capture whose document is gone is
//! made again from its envelope. The rest differs from the city's digests, and is repaired by the next
//! sessions as always.
//!
//! # Files
//! The new database is written as `….rescuing` and renamed to `….rescued` once it is whole. From then on
//! an open puts it in its place, as often as it is cut short: `…-wal`, then the database itself, get the
//! ending `.damaged-1` (or `-2`…), then the new one gets the name. Nothing is deleted but half-written new
//! databases. The token beside it is left: it does not fit, so the new store is a new life of the device
//! ([`token`](super::token)).

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io;
use std::path::Path;

use manzana_engine::answer::{Answer, ReceiptBody, SignedReceipt};
use manzana_engine::codec;
use manzana_engine::digest::SetHash;
use manzana_engine::document::Document;
use manzana_engine::envelope::Envelope;
use manzana_engine::grant::Scope;
use manzana_engine::ids::{DeviceId, DocId, Hash, RecordId};
use manzana_engine::intent::Intent;
use manzana_engine::policy::Rule;
use manzana_engine::replica::{DocRow, EnvelopeRow, IntentRow, IntentState, Meta, Write};

use super::{REPLICA_SCHEMA, WAIT, apply};
use crate::aside::{beside, is_there, set_aside};
use crate::carve::{self, Row, Value};
use crate::sqlite::{self, OpenError, Sharing, StoreError};

/// What was found whole in a damaged replica.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Rescued {
    /// Whether the device still knows who it is. If not, it must be enrolled again, and its unanswered
    /// envelopes are carried under its new name.
    pub identity: bool,
    /// Envelopes that the relay has not answered.
    pub unsent: usize,
    /// Envelopes in all.
    pub envelopes: usize,
    /// Intents.
    pub intents: usize,
    /// Documents.
    pub documents: usize,
    /// Intents whose envelope is gone, and that nobody may have received: they wait in "Por corregir".
    pub to_correct: usize,
}

type EnvelopeKey = (DeviceId, u32, u64);

/// Rows that prove themselves, by what they are about.
#[derive(Default)]
struct Found {
    meta: Option<Meta>,
    envelopes: BTreeMap<EnvelopeKey, EnvelopeRow>,
    intents: BTreeMap<RecordId, IntentRow>,
    receipts: BTreeMap<Vec<u8>, SignedReceipt>,
    docs: BTreeMap<i64, DocRow>,
    bytes: BTreeMap<i64, Layers>,
}

/// The accepted and the shown bytes of a document.
type Layers = (Option<Vec<u8>>, Option<Vec<u8>>);

/// Makes a new replica of what is whole in the damaged one at `path`, and puts it in its place.
pub(super) fn rescue(path: &Path) -> Result<Rescued, OpenError> {
    let mut found = Found::default();
    // In two passes: who the device is decides what to believe of the rest.
    carve::rows(path, |row| found.see_meta(&row)).map_err(StoreError::from)?;
    carve::rows(path, |row| found.see(row)).map_err(StoreError::from)?;
    let (writes, rescued) = found.into_writes();
    let new = beside(path, ".rescuing");
    clear(&new).map_err(StoreError::from)?;
    let mut conn = sqlite::open_with(&new, &REPLICA_SCHEMA, Sharing::Exclusive, WAIT)?;
    sqlite::write(&mut conn, |tx| {
        writes.iter().try_for_each(|write| apply(tx, write))
    })?;
    // The log goes into the database at the close.
    conn.close().map_err(|(_, error)| StoreError::from(error))?;
    fs::rename(&new, beside(path, ".rescued")).map_err(StoreError::from)?;
    finish(path)?;
    Ok(rescued)
}

/// Puts a rescued database in the place of the damaged one, if there is one.
pub(super) fn finish(path: &Path) -> Result<(), StoreError> {
    let rescued = beside(path, ".rescued");
    if !is_there(&rescued)? {
        return Ok(());
    }
    set_aside(path, "damaged")?;
    fs::rename(&rescued, path)?;
    Ok(super::token::sync_folder_of(path)?)
}

/// Removes what an interrupted rescue had begun to write.
fn clear(new: &Path) -> io::Result<()> {
    for ending in ["", "-wal", "-shm", "-journal"] {
        match fs::remove_file(beside(new, ending)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
    }
    Ok(())
}

impl Found {
    /// Takes the latest of the device's own states that proves itself.
    fn see_meta(&mut self, row: &Row) {
        let [_, Value::Blob(meta), _, _, Value::Int(_)] = &row.values[..] else {
            return;
        };
        let Ok(meta) = codec::decode::<Meta>(meta) else {
            return;
        };
        let granted = meta.grant.open(&meta.root);
        if granted.is_ok_and(|granted| granted.device_key == meta.key().public()) {
            let age = |meta: &Meta| (meta.next_intent, meta.answers_seen, meta.position.seq);
            if self
                .meta
                .as_ref()
                .is_none_or(|kept| age(kept) <= age(&meta))
            {
                self.meta = Some(meta);
            }
        }
    }

    fn see(&mut self, row: Row) {
        // Which table a row is of is told by its shape; all of ours differ.
        match (row.number, &row.values[..]) {
            (
                Some(_),
                [
                    _,
                    Value::Blob(_),
                    Value::Int(_),
                    Value::Int(_),
                    _,
                    Value::Blob(hash),
                    Value::Blob(envelope),
                    answers,
                    Value::Blob(docs),
                ],
            ) => {
                self.see_envelope(hash, envelope, answers, docs);
            }
            (
                Some(_),
                [
                    _,
                    Value::Blob(id),
                    Value::Int(_),
                    Value::Blob(state),
                    Value::Blob(intent),
                    Value::Blob(docs),
                ],
            ) => {
                self.see_intent(id, state, intent, docs);
            }
            (Some(_), [_, Value::Int(_), Value::Blob(body), Value::Blob(signature)]) => {
                self.see_receipt(body, signature);
            }
            (Some(place), [_, accepted, shown]) => {
                if let Some(layers) = blob(accepted).zip(blob(shown)) {
                    self.bytes.insert(place, layers);
                }
            }
            (Some(place), values) => {
                if let Some(doc) = doc_row(values) {
                    self.docs.insert(place, doc);
                }
            }
            (None, _) => {}
        }
    }

    fn see_envelope(&mut self, hash: &[u8], envelope: &[u8], answers: &Value, docs: &[u8]) {
        let Ok(envelope) = codec::decode::<Envelope>(envelope) else {
            return;
        };
        let own = self
            .meta
            .as_ref()
            .filter(|meta| meta.device() == envelope.context.device);
        let body = match own {
            Some(meta) => envelope.open(&meta.key().public()),
            None => envelope.peek(),
        };
        let (Ok(body), Ok(docs)) = (body, codec::decode(docs)) else {
            return;
        };
        if envelope.hash().as_bytes() != hash {
            return;
        }
        let answers = match answers {
            Value::Blob(answers) => codec::decode::<Vec<Answer>>(answers).ok(),
            _ => None,
        };
        let key = (
            envelope.context.device,
            envelope.context.incarnation,
            body.n,
        );
        let row = EnvelopeRow {
            n: body.n,
            hash: envelope.hash(),
            envelope,
            answers,
            docs,
        };
        // An older version of the row may not know the answers yet.
        let kept = self.envelopes.entry(key).or_insert_with(|| row.clone());
        if kept.answers.is_none() {
            *kept = row;
        }
    }

    fn see_intent(&mut self, id: &[u8], state: &[u8], intent: &[u8], docs: &[u8]) {
        let read = (
            id.try_into().ok().map(RecordId),
            codec::decode(state).ok(),
            codec::decode::<Intent>(intent).ok(),
            codec::decode(docs).ok(),
        );
        if let (Some(id), Some(state), Some(_), Some(docs)) = read {
            let intent = intent.to_vec();
            self.intents.insert(
                id,
                IntentRow {
                    id,
                    intent,
                    state,
                    docs,
                },
            );
        }
    }

    fn see_receipt(&mut self, body: &[u8], signature: &[u8]) {
        let (Some(meta), Ok(signature)) = (&self.meta, signature.try_into()) else {
            return;
        };
        let receipt = SignedReceipt {
            body: body.to_vec(),
            signature,
        };
        if receipt
            .open(&meta.relay_key, &meta.city(), &meta.device())
            .is_ok()
        {
            self.receipts.insert(body.to_vec(), receipt);
        }
    }

    /// The documents that open as their rows say.
    fn whole_docs(&mut self) -> BTreeMap<DocId, DocRow> {
        let mut whole = BTreeMap::new();
        for (place, mut row) in std::mem::take(&mut self.docs) {
            let Some((accepted, shown)) = self.bytes.remove(&place) else {
                continue;
            };
            (row.accepted, row.shown) = (accepted, shown);
            if opens(&row) {
                whole.insert(row.doc, row);
            }
        }
        whole
    }

    /// Leaves what was in lost envelopes to its person, who can send it again. Gives how much that is.
    fn without_envelopes(&mut self) -> usize {
        let Some(device) = self.meta.as_ref().map(Meta::device) else {
            return 0;
        };
        let mut lost = 0;
        for intent in self.intents.values_mut() {
            let IntentState::Pending { incarnation, n, .. } = intent.state else {
                continue;
            };
            if !self.envelopes.contains_key(&(device, incarnation, n)) {
                let (rule, field) = (Rule::BadSequence, None);
                intent.state = IntentState::ToCorrect { rule, field };
                lost += 1;
            }
        }
        lost
    }

    fn into_writes(mut self) -> (Vec<Write>, Rescued) {
        let mut docs = self.whole_docs();
        let to_correct = self.without_envelopes();
        let open = self.envelopes.values().filter(|row| row.answers.is_none());
        let open: Vec<&EnvelopeRow> = open.collect();
        let touched: BTreeSet<DocId> = open.iter().flat_map(|row| row.docs.clone()).collect();
        docs.retain(|doc, row| touched.contains(doc) || as_accepted(row));
        for doc in touched {
            if !docs.contains_key(&doc) {
                docs.extend(captured(doc, &open).map(|row| (doc, row)));
            }
        }
        let rescued = Rescued {
            identity: self.meta.is_some(),
            unsent: open.len(),
            envelopes: self.envelopes.len(),
            intents: self.intents.len(),
            documents: docs.len(),
            to_correct,
        };
        let mut digests: BTreeMap<Scope, SetHash> = BTreeMap::new();
        for row in docs.values() {
            for scope in &row.accepted_scopes {
                let digest = digests.entry(scope.clone()).or_default();
                digest.add(&row.doc, &row.accepted_heads);
            }
        }
        let mut writes: Vec<Write> = docs
            .into_values()
            .map(|row| Write::Doc(Box::new(row)))
            .collect();
        let envelopes = self.envelopes.into_values();
        writes.extend(envelopes.map(|row| Write::Envelope(Box::new(row))));
        if let Some(meta) = &self.meta {
            writes.push(Write::Meta(codec::encode(meta)));
            writes.extend(
                digests
                    .into_iter()
                    .map(|(scope, digest)| Write::Digest(scope, digest)),
            );
            // What waits for a person waits in the name of this device.
            writes.extend(self.intents.into_values().map(Write::Intent));
            let mut receipts: Vec<SignedReceipt> = self.receipts.into_values().collect();
            receipts.sort_by_key(|receipt| {
                codec::decode::<ReceiptBody>(&receipt.body).map_or(0, |body| body.time)
            });
            writes.extend(receipts.into_iter().map(Write::Receipt));
        }
        (writes, rescued)
    }
}

fn blob(value: &Value) -> Option<Option<Vec<u8>>> {
    match value {
        Value::Null => Some(None),
        Value::Blob(bytes) => Some(Some(bytes.clone())),
        _ => None,
    }
}

fn doc_row(values: &[Value]) -> Option<DocRow> {
    let [
        _,
        Value::Blob(doc),
        _,
        _,
        _,
        _,
        folio,
        creation_seq,
        Value::Int(provisional),
        Value::Int(_),
        Value::Blob(heads),
        Value::Blob(scopes),
        Value::Blob(summary),
    ] = values
    else {
        return None;
    };
    let number = |value: &Value| match value {
        Value::Int(number) => u64::try_from(*number).ok(),
        _ => None,
    };
    Some(DocRow {
        doc: DocId(doc[..].try_into().ok()?),
        accepted: None,
        accepted_heads: codec::decode(heads).ok()?,
        accepted_scopes: codec::decode(scopes).ok()?,
        shown: None,
        summary: codec::decode(summary).ok()?,
        creation_seq: number(creation_seq),
        folio: number(folio),
        provisional: u32::try_from(*provisional).ok()?,
        quarantined: false,
    })
}

/// Whether both layers of a document open, with the heads that its row names.
fn opens(row: &DocRow) -> bool {
    let heads = |bytes: &Option<Vec<u8>>| -> Option<Vec<Hash>> {
        let bytes = bytes.as_ref()?;
        Document::load(bytes).ok().map(|document| document.heads())
    };
    let accepted = match &row.accepted {
        None => row.accepted_heads.is_empty(),
        Some(_) => heads(&row.accepted).as_ref() == Some(&row.accepted_heads),
    };
    let shown = row.shown.is_none() || heads(&row.shown).is_some();
    accepted && shown && (row.accepted.is_some() || row.shown.is_some())
}

/// Shows a document as the city has it, now that no work on it waits; `false` where the city has nothing.
fn as_accepted(row: &mut DocRow) -> bool {
    if row.shown.take().is_none() {
        return row.accepted.is_some();
    }
    let accepted = row
        .accepted
        .as_ref()
        .and_then(|bytes| Document::load(bytes).ok());
    let summary = accepted.and_then(|document| document.summary().ok());
    row.provisional = 0;
    summary.map(|summary| row.summary = summary).is_some()
}

/// A petition made again from the unanswered envelopes that create it and work on it; `None` where they do
/// not create it.
fn captured(doc: DocId, open: &[&EnvelopeRow]) -> Option<DocRow> {
    let mut document = Document::empty();
    let mut provisional = 0;
    for row in open {
        let body = row.envelope.peek().ok()?;
        for entry in body
            .groups
            .iter()
            .flatten()
            .filter(|entry| entry.doc == doc)
        {
            provisional += u32::from(document.apply(&entry.change).is_ok());
        }
    }
    let summary = document.summary().ok()?;
    Some(DocRow {
        doc,
        accepted: None,
        accepted_heads: Vec::new(),
        accepted_scopes: Vec::new(),
        shown: Some(document.save()),
        summary,
        creation_seq: None,
        folio: None,
        provisional,
        quarantined: false,
    })
}
