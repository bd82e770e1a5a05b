//! The devices' copies.

use std::collections::BTreeMap;

use manzana_engine::document::Document;
use manzana_engine::ids::DocId;
use manzana_engine::replica::DocRow;

use super::{CityDoc, CityState, DeviceState, Verdict};

/// Every device stands at the head, holds the documents of its scopes as the city does (heads, bytes,
/// folio, place), nothing provisional and nothing else, and counts the same digests.
pub fn replicas(city: &CityState, devices: &[DeviceState], verdict: &mut Verdict) {
    const RULE: &str = "replicas";
    for device in devices {
        let name = &device.name;
        if device.position != city.head {
            let at = device.position;
            verdict.fault(RULE, format!("{name} stands at {at}, not at {}", city.head));
        }
        let held: BTreeMap<DocId, &DocRow> = device.docs.iter().map(|row| (row.doc, row)).collect();
        for (doc, kept) in &city.docs {
            if !kept.scopes.iter().any(|scope| device.held.contains(scope)) {
                continue;
            }
            match held.get(doc) {
                None => verdict.fault(RULE, format!("{name} lacks {doc}")),
                Some(row) => {
                    verdict.compared += 1;
                    for what in differences(row, kept, verdict) {
                        verdict.fault(RULE, format!("{name}, {doc}: {what}"));
                    }
                }
            }
        }
        for doc in held.keys() {
            let kept = city.docs.get(doc);
            let ours = kept.is_some_and(|k| k.scopes.iter().any(|s| device.held.contains(s)));
            if !ours {
                let there = if kept.is_some() {
                    "out of scope"
                } else {
                    "unknown to the city"
                };
                verdict.fault("scopes", format!("{name} holds {doc}, {there}"));
            }
        }
        for scope in &device.held {
            let (ours, theirs) = (device.digests.get(scope), city.digests.get(scope));
            if theirs.is_some() && ours != theirs {
                verdict.fault(RULE, format!("{name}: another digest of {scope}"));
            }
        }
    }
}

fn differences(row: &DocRow, kept: &CityDoc, verdict: &mut Verdict) -> Vec<String> {
    let mut found = Vec::new();
    match row.accepted.as_deref() {
        Some(ours) if ours == kept.saved => {}
        Some(ours) if is_reordered(ours, &kept.saved) => verdict.reordered += 1,
        Some(_) => found.push("another document than the city's".to_owned()),
        None => found.push("not accepted".to_owned()),
    }
    if row.folio != kept.folio || row.creation_seq != Some(kept.creation_seq) {
        found.push(format!("folio {:?} at {:?}", row.folio, row.creation_seq));
    }
    if row.provisional != 0 || row.shown.is_some() {
        found.push(format!("{} provisional", row.provisional));
    }
    if row.quarantined {
        found.push("in quarantine".to_owned());
    }
    found
}

/// Whether two documents have the same heads, the same changes byte by byte, and read the same: Automerge
/// saves concurrent changes in the order in which they came, and a device has its own first.
fn is_reordered(ours: &[u8], theirs: &[u8]) -> bool {
    let (Ok(ours), Ok(theirs)) = (Document::load(ours), Document::load(theirs)) else {
        return false;
    };
    let changes = |document: &Document| -> BTreeMap<_, _> {
        let changes = document.changes().into_iter();
        changes.map(|made| (made.hash, made.bytes)).collect()
    };
    ours.heads() == theirs.heads()
        && changes(&ours) == changes(&theirs)
        && ours.view() == theirs.view()
}
