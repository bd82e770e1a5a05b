//! The city's documents, and the acts that their records come from.

use std::collections::{BTreeMap, BTreeSet};

use manzana_engine::codec;
use manzana_engine::document::{Document, PetitionView};
use manzana_engine::ids::{DeviceId, DocId, RecordId, TAG_BYTES};
use manzana_engine::intent::Intent;
use manzana_engine::record::Record;
use manzana_engine::replica::IntentState;

use super::{CityState, DeviceState, Verdict};

/// Every stored document is what its rows of the log make, created by its first one.
pub fn documents(city: &CityState, verdict: &mut Verdict) {
    const RULE: &str = "documents";
    let mut made: BTreeMap<DocId, (u64, Document)> = BTreeMap::new();
    for row in &city.log {
        let (_, document) = made
            .entry(row.doc)
            .or_insert_with(|| (row.seq, Document::empty()));
        if let Err(error) = document.apply(&row.change) {
            verdict.fault(RULE, format!("row {}: {error}", row.seq));
        }
    }
    for (doc, (first, document)) in &made {
        let Some(kept) = city.docs.get(doc) else {
            verdict.fault(RULE, format!("{doc} is in the log alone"));
            continue;
        };
        if kept.creation_seq != *first {
            verdict.fault(RULE, format!("{doc} was not created at {first}"));
        }
        if kept.saved == document.save() {
            continue;
        }
        let heads = Document::load(&kept.saved).map(|kept| kept.heads());
        let same = heads.is_ok_and(|heads| heads == document.heads());
        let what = if same { "bytes" } else { "heads" };
        verdict.fault(RULE, format!("{doc}: other {what} than its log makes"));
    }
    for doc in city.docs.keys().filter(|doc| !made.contains_key(doc)) {
        verdict.fault(RULE, format!("{doc} has no row in the log"));
    }
}

/// The records of a petition with their keys.
fn records(view: &PetitionView) -> Vec<(RecordId, Record)> {
    let mut all = Vec::new();
    all.extend(
        view.events
            .iter()
            .map(|e| (e.id, Record::Event(e.record.clone()))),
    );
    all.extend(
        view.comments
            .iter()
            .map(|e| (e.id, Record::Comment(e.record.clone()))),
    );
    let attachments = view.attachments.iter();
    all.extend(attachments.map(|e| (e.id, Record::Attachment(e.record.clone()))));
    all.extend(
        view.links
            .iter()
            .map(|e| (e.id, Record::Link(e.record.clone()))),
    );
    all
}

/// Every record has its author's saved intent, says what that says, and stands once; every capture
/// made one petition.
pub fn causes(city: &CityState, devices: &[DeviceState], verdict: &mut Verdict) {
    const RULE: &str = "causes";
    let by_tag: BTreeMap<_, _> = devices.iter().map(|d| (d.device.tag(), d)).collect();
    let desks: BTreeSet<_> = city
        .devices
        .iter()
        .filter(|(_, author)| author.desk)
        .map(|(id, _): (&DeviceId, _)| id.tag())
        .collect();
    let mut captured = BTreeMap::new();
    for (doc, kept) in city.docs.iter().filter(|(_, kept)| kept.folio.is_some()) {
        let view = Document::load(&kept.saved).and_then(|document| document.view());
        let Ok(view) = view else {
            verdict.fault(RULE, format!("{doc} cannot be opened"));
            continue;
        };
        if let Some(recorded) = view.recorded()
            && let Some(other) = captured.insert(recorded.id, *doc)
        {
            verdict.duplicates += 1;
            let id = recorded.id;
            verdict.fault(RULE, format!("{id} was captured as {other} and {doc}"));
        }
        let mut seen = BTreeSet::new();
        for (id, record) in records(&view) {
            if !seen.insert((record.map(), id)) {
                verdict.duplicates += 1;
                verdict.fault(RULE, format!("{id} stands twice in {doc}"));
            }
            let tag: [u8; TAG_BYTES] = id.0[..TAG_BYTES].try_into().unwrap_or_default();
            if desks.contains(&tag) {
                continue;
            }
            let intent = by_tag.get(&tag).and_then(|d| d.intents.get(&id));
            let Some(row) = intent else {
                verdict.fault(RULE, format!("{id} in {doc} was saved by nobody"));
                continue;
            };
            if !matches!(row.state, IntentState::Accepted { .. }) {
                verdict.fault(
                    RULE,
                    format!("{id} in {doc} is {:?} at its author's", row.state),
                );
            }
            let says_so = match codec::decode::<Intent>(&row.intent) {
                Ok(Intent::Capture { by, .. }) => matches!(record, Record::Event(e) if e.by == by),
                Ok(Intent::Add { records, .. }) => {
                    records.iter().any(|draft| draft.bytes == record.encode())
                }
                _ => false,
            };
            if !says_so {
                verdict.fault(RULE, format!("{id} in {doc} is not what its author saved"));
            }
        }
    }
}
