//! What people and devices were promised.

use std::collections::{BTreeMap, BTreeSet};

use manzana_engine::answer::Answer;
use manzana_engine::ids::{DeviceId, RecordId};
use manzana_engine::replica::IntentState;

use super::{CityState, DeviceState, Told, Verdict};

/// Everything saved is accepted, waits in "Por corregir", or is held; everything acknowledged stands in
/// the city where and as it was acknowledged.
pub fn promises(city: &CityState, devices: &[DeviceState], told: &Told, verdict: &mut Verdict) {
    let devices: BTreeMap<_, _> = devices.iter().map(|d| (d.device, d)).collect();
    saved(city, &devices, told, verdict);
    received(city, told, verdict);
    for device in devices.values() {
        signed(city, device, verdict);
        unanswered(device, verdict);
    }
}

fn saved(
    city: &CityState,
    devices: &BTreeMap<DeviceId, &DeviceState>,
    told: &Told,
    verdict: &mut Verdict,
) {
    const RULE: &str = "saved";
    let acts: BTreeSet<(DeviceId, RecordId)> =
        told.saved.iter().map(|act| (act.0, act.1)).collect();
    verdict.saved = acts.len();
    for (device, id) in acts {
        let state = devices.get(&device).and_then(|d| d.intents.get(&id));
        let lost = match state.map(|row| &row.state) {
            Some(IntentState::ToCorrect { .. }) => {
                verdict.to_correct += 1;
                continue;
            }
            Some(IntentState::Held { .. }) => {
                verdict.held += 1;
                continue;
            }
            Some(IntentState::Accepted { seq }) => {
                let rows = usize::try_from(*seq)
                    .ok()
                    .and_then(|s| city.log.get(s.checked_sub(1)?));
                if rows.is_some_and(|row| row.device == device) {
                    verdict.accepted += 1;
                    continue;
                }
                format!("said to be at {seq}, where it is not")
            }
            Some(other) => format!("{other:?}"),
            None => "forgotten by its device".to_owned(),
        };
        verdict.lost += 1;
        verdict.fault(RULE, format!("{id} of {device}: {lost}"));
    }
}

fn received(city: &CityState, told: &Told, verdict: &mut Verdict) {
    let all: BTreeSet<_> = told.received.iter().copied().collect();
    verdict.received = all.len();
    for (doc, folio) in all {
        let kept = city.docs.get(&doc).and_then(|doc| doc.folio);
        if kept != Some(folio) {
            let what = format!("{doc} was received as {folio}, the city has {kept:?}");
            verdict.fault("received", what);
        }
    }
}

/// What the relay signed is what it holds.
fn signed(city: &CityState, device: &DeviceState, verdict: &mut Verdict) {
    const RULE: &str = "signed";
    for receipt in &device.receipts {
        let chain = city.chains.get(&(device.device, receipt.incarnation));
        let place = usize::try_from(receipt.n).unwrap_or(usize::MAX);
        let kept = chain.and_then(|chain| chain.get(place.checked_sub(1)?));
        let at = || format!("{} {}", device.name, receipt.n);
        let Some(kept) = kept.filter(|kept| kept.envelope.hash() == receipt.hash) else {
            verdict.fault(RULE, format!("{}: signed for and gone", at()));
            continue;
        };
        let waiting = |said: &&Answer| matches!(said, Answer::Waiting { .. });
        verdict.waited += receipt.groups.iter().filter(waiting).count();
        for (said, now) in receipt.groups.iter().zip(&kept.answers) {
            // What waits gets another answer; every other one stays.
            if said != now && !waiting(&said) {
                verdict.fault(RULE, format!("{}: said {said:?}, now {now:?}", at()));
            }
        }
    }
}

/// After healing nothing is on its way any more, told or not.
fn unanswered(device: &DeviceState, verdict: &mut Verdict) {
    for (id, row) in &device.intents {
        if matches!(row.state, IntentState::Pending { .. }) {
            let what = format!("{id} of {}: {:?}", device.name, row.state);
            verdict.fault("unanswered", what);
        }
    }
}
