//! The log and the chains it was taken from.

use std::collections::{BTreeMap, BTreeSet};

use manzana_engine::gate::chunk;
use manzana_engine::ids::Hash;

use super::{CityState, LogEntry, Verdict};

/// Places without gaps; no change twice; each row's bytes stand in an envelope of the city's, whose
/// chain is whole and signed by its device.
pub fn log(city: &CityState, verdict: &mut Verdict) {
    const RULE: &str = "log";
    verdict.rows = city.log.len();
    let mut hashes = BTreeSet::new();
    for (row, place) in city.log.iter().zip(1..) {
        if row.seq != place {
            verdict.fault(RULE, format!("place {place} holds row {}", row.seq));
        }
        if !hashes.insert(row.hash) {
            verdict.duplicates += 1;
            verdict.fault(RULE, format!("row {}: its change stands twice", row.seq));
        }
        let decoded = chunk::decode_change(&row.change).map(|change| Hash(change.hash));
        if decoded != Ok(row.hash) {
            verdict.fault(RULE, format!("row {}: not the hash of its bytes", row.seq));
        }
    }
    if city.head != city.log.len() as u64 {
        let (head, rows) = (city.head, city.log.len());
        verdict.fault(RULE, format!("the head is {head}, with {rows} rows"));
    }
    let caused = chains(city, verdict);
    for row in &city.log {
        let LogEntry {
            device,
            incarnation,
            n,
            ..
        } = row;
        let cause = caused.get(&(*device, *incarnation, *n));
        if !cause.is_some_and(|changes| changes.contains(&(row.doc, row.change.as_slice()))) {
            verdict.fault(
                RULE,
                format!("row {} is in no envelope of its author", row.seq),
            );
        }
    }
}

type Key = (manzana_engine::ids::DeviceId, u32, u64);
type Changes<'c> = BTreeSet<(manzana_engine::ids::DocId, &'c [u8])>;

/// Verifies every chain; gives the changes of the envelopes that verify.
fn chains<'c>(city: &'c CityState, verdict: &mut Verdict) -> BTreeMap<Key, Changes<'c>> {
    const RULE: &str = "log";
    // The changes' bytes live in the log: an envelope's are compared with those.
    let mut rows: BTreeMap<Key, Vec<&LogEntry>> = BTreeMap::new();
    for row in &city.log {
        let key = (row.device, row.incarnation, row.n);
        rows.entry(key).or_default().push(row);
    }
    let mut caused = BTreeMap::new();
    for ((device, incarnation), chain) in &city.chains {
        let Some(author) = city.devices.get(device) else {
            verdict.fault(RULE, format!("a chain of an unknown device {device}"));
            continue;
        };
        let mut prev = Hash([0; 32]);
        for (kept, n) in chain.iter().zip(1..) {
            let at = || format!("{device} {incarnation} {n}");
            let context = &kept.envelope.context;
            let body = match kept.envelope.open(&author.key) {
                Ok(body) => body,
                Err(error) => {
                    verdict.fault(RULE, format!("envelope {}: {error}", at()));
                    continue;
                }
            };
            if body.n != n || context.prev != prev {
                verdict.fault(RULE, format!("envelope {} breaks its chain", at()));
            }
            if (context.device, context.incarnation) != (*device, *incarnation) {
                verdict.fault(RULE, format!("envelope {} is another chain's", at()));
            }
            if kept.answers.len() != body.groups.len() {
                verdict.fault(RULE, format!("envelope {} is not wholly answered", at()));
            }
            prev = kept.envelope.hash();
            let key = (*device, *incarnation, n);
            let entries: Vec<_> = body.groups.iter().flatten().collect();
            let mut changes = BTreeSet::new();
            for row in rows.get(&key).into_iter().flatten() {
                if entries
                    .iter()
                    .any(|e| e.doc == row.doc && e.change == row.change)
                {
                    changes.insert((row.doc, row.change.as_slice()));
                }
            }
            caused.insert(key, changes);
        }
    }
    caused
}

/// One folio for each petition, without gaps from the city's first, in the order of the log.
pub fn folios(city: &CityState, verdict: &mut Verdict) {
    const RULE: &str = "folios";
    let mut issued: Vec<u64> = city.log.iter().filter_map(|row| row.folio).collect();
    verdict.folios = issued.len();
    if city.put_back {
        issued.sort_unstable();
    }
    let void = city.void.iter().flat_map(|(first, last)| *first..=*last);
    let mut all: Vec<u64> = issued.iter().copied().chain(void).collect();
    if city.put_back {
        all.sort_unstable();
    }
    for (folio, expected) in all.iter().zip(city.first_folio..) {
        if *folio != expected {
            verdict.fault(RULE, format!("{folio} where {expected} was due"));
        }
    }
    let next = city.first_folio + all.len() as u64;
    if city.next_folio != next {
        verdict.fault(RULE, format!("next is {}, not {next}", city.next_folio));
    }
    let mut kept: Vec<u64> = city.docs.values().filter_map(|doc| doc.folio).collect();
    kept.sort_unstable();
    if kept != issued {
        verdict.fault(RULE, "documents and log disagree".to_owned());
    }
}
