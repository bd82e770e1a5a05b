//! The checkers: what must hold of the city and of every phone, whatever happened.
//!
//! Each looks at the disks and at what people were told, never at what the machines say of themselves.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::Ordering;

use manzana_engine::answer::{Answer, SignedReceipt};
use manzana_engine::codec;
use manzana_engine::digest::SetHash;
use manzana_engine::document::{Document, PetitionView};
use manzana_engine::envelope::Envelope;
use manzana_engine::grant::Scope;
use manzana_engine::ids::{DeviceId, DocId, Hash, RecordId, UserId};
use manzana_engine::intent::{Intent, RecordDraft};
use manzana_engine::policy::Rule as Denied;
use manzana_engine::record::Record;
use manzana_engine::relay::intake::peek;
use manzana_engine::replica::{DocRow, IntentState, MemoryReplica, Meta, ReplicaStore as _};

use crate::checkers::{self, Author, CityDoc, CityState, KeptEnvelope, LogEntry, Verdict};

use super::city::City;
use super::gate::POISON;
use super::people::waits_for_somebody;
use super::world::{FIRST_FOLIO, Said, World};

/// What is checked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Checker {
    /// What was told as saved is in the city, or waits for its author or a reviewer.
    Saved,
    /// What the relay signed for stands in the log, where the receipt says.
    Acknowledged,
    /// What the relay holds is listed until somebody decides, and its author is told what came of it.
    Held,
    /// Every phone holds the accepted documents of its scopes byte for byte as the city does.
    Equal,
    /// No phone holds what is not in its scopes.
    Scope,
    /// Folios are unique and without gaps, in the order of the log.
    Folios,
    /// Nothing stands twice.
    Once,
    /// Everything in the city was typed by the person that it names.
    Cause,
    /// Summaries are what the fold gives, in whatever order the changes are applied.
    State,
    /// The log has no gaps and came in signed chains, and the documents are exactly what it says.
    Log,
    /// The digests are those of the documents.
    Digest,
    /// No phone differs from the city where no frame was lost.
    Drift,
    /// No change clashes with another of its own device where there is one store for each key.
    Clash,
    /// What was done stands under the id that its person was told.
    Identity,
    /// All falls quiet once nothing goes wrong any more, and nothing is left unanswered.
    Liveness,
    /// Nobody breaks the protocol.
    Protocol,
    /// Nothing panics.
    Panic,
}

/// A promise broken.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Violation {
    /// By which checker.
    pub checker: Checker,
    /// In words.
    pub what: String,
}

/// A text in the city: where it stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Standing {
    doc: DocId,
    id: RecordId,
    user: UserId,
}

fn view_of(saved: &[u8]) -> Option<PetitionView> {
    Document::load(saved).ok()?.view().ok()
}

/// Every text of a petition's records, with the record's id and its author.
fn texts(doc: DocId, view: &PetitionView) -> Vec<(String, Standing)> {
    let mut found = Vec::new();
    let title = view.text("title").unwrap_or_default().to_owned();
    if let Some(recorded) = view.recorded() {
        let standing = Standing {
            doc,
            id: recorded.id,
            user: recorded.record.by.user,
        };
        found.push((title, standing));
    }
    for entry in &view.comments {
        let standing = Standing {
            doc,
            id: entry.id,
            user: entry.record.by.user,
        };
        found.push((entry.record.text.clone(), standing));
    }
    for entry in &view.events {
        let event = &entry.record;
        let text = event.note.clone().or_else(|| event.reason.clone());
        let standing = Standing {
            doc,
            id: entry.id,
            user: event.by.user,
        };
        found.extend(text.map(|text| (text, standing)));
    }
    found
}

pub(super) fn texts_of_intent(bytes: &[u8]) -> Vec<String> {
    match codec::decode::<Intent>(bytes) {
        Ok(Intent::Capture { petition, .. }) => vec![petition.title],
        Ok(Intent::Add { records, .. }) => {
            let records = records.iter().filter_map(RecordDraft::record);
            records
                .filter_map(|record| match record {
                    Record::Comment(comment) => Some(comment.text),
                    Record::Event(event) => event.note.or(event.reason),
                    _ => None,
                })
                .collect()
        }
        _ => Vec::new(),
    }
}

/// A text without the words that say whose it was, where the city recorded it; `None` for those words alone.
fn words_of(text: String, standing: &Standing, reviewers: &BTreeSet<UserId>) -> Option<String> {
    match reviewers.contains(&standing.user) && text.starts_with("De persona") {
        true => text.split_once(": ").map(|(_, own)| own.to_owned()),
        false => Some(text),
    }
}

impl World {
    fn standing(&self) -> BTreeMap<String, Vec<Standing>> {
        let mut found: BTreeMap<String, Vec<Standing>> = BTreeMap::new();
        let reviewers = self.reviewers();
        self.store.look(|city| {
            for state in city.docs.values() {
                if let Some(view) = view_of(&state.saved) {
                    for (text, standing) in texts(state.doc, &view) {
                        let Some(text) = words_of(text, &standing, &reviewers) else {
                            continue;
                        };
                        found.entry(text).or_default().push(standing);
                    }
                }
            }
        });
        found
    }

    /// Every text that stands in the city.
    pub(super) fn texts_in_city(&self) -> BTreeSet<String> {
        self.standing().into_keys().collect()
    }

    /// Notes what the relay signed for, as it reaches the phone.
    pub(super) fn note_receipt(&mut self, i: usize, receipt: &SignedReceipt) {
        let device = self.device(i);
        let meta = self.phones[i].store.look(meta_of);
        let Some(meta) = meta else { return };
        let Ok(body) = receipt.open(&meta.relay_key, &meta.city(), &device) else {
            return;
        };
        for answer in body.answers {
            for group in answer.groups {
                match group {
                    Answer::Accepted { seq, .. } => {
                        let told = (device, answer.incarnation, answer.n, seq);
                        let at = usize::try_from(seq).unwrap_or_default();
                        let change = self.store.look(|city| {
                            let logged = city.log.get(at.wrapping_sub(1));
                            logged.map(|logged| logged.row.hash)
                        });
                        self.acknowledged.entry(told).or_insert(change);
                    }
                    Answer::Refused {
                        rule: rule @ (Denied::ForeignActor | Denied::BadSequence),
                        ..
                    } if !self.knobs.has_blind_twins() => {
                        let what = format!(
                            "{rule:?} for phone {i}, which has no twin that writes its chain"
                        );
                        self.blame(Checker::Clash, what);
                    }
                    _ => {}
                }
            }
        }
    }

    /// Right after a phone caught up with the log: does it hold anything that is not its own?
    pub(super) fn check_scopes_now(&mut self, i: usize) {
        if !self.orderly {
            return;
        }
        let head = self.store.look(|city| city.head.seq);
        let stray = self.phones[i].store.look(|kept| {
            let meta = meta_of(kept)?;
            let position = &meta.position;
            let whole = position.fills.is_empty() && position.scopes.len() == meta.scopes().len();
            if position.seq != head || !whole {
                return None;
            }
            let held = meta.scopes();
            let rows = kept.list().ok()?;
            let mut accepted = rows
                .into_iter()
                .filter(|row| row.creation_seq.is_some() && row.provisional == 0);
            self.store.look(|city| {
                accepted
                    .find(|row| !covers(&held, &scopes_of(city, &row.doc)))
                    .map(|row| row.doc)
            })
        });
        if let Some(doc) = stray {
            let what = format!("phone {i} holds {doc}, which is not in its scopes");
            self.blame(Checker::Scope, what);
        }
    }

    /// Checks everything, once all is healed.
    pub(super) fn check(&mut self) {
        let standing = self.standing();
        self.check_saved(&standing);
        self.check_once_and_cause(&standing);
        self.check_acknowledged();
        self.check_held();
        for i in 0..self.phones.len() {
            if !self.phones[i].revoked {
                self.check_phone(i);
            }
        }
        let found = self.store.look(check_city);
        self.violations.extend(found);
    }

    fn check_saved(&mut self, standing: &BTreeMap<String, Vec<Standing>>) {
        for said in self.said.clone() {
            let found = said.text.as_ref().and_then(|text| standing.get(text));
            match found {
                Some(places) => self.check_identity(&said, places),
                None if said.lost || self.waits(&said) => {}
                None => {
                    let what = format!("{said:?} is nowhere");
                    self.blame(Checker::Saved, what);
                }
            }
        }
    }

    fn check_identity(&mut self, said: &Said, places: &[Standing]) {
        // A twin may have used the numbers: what is done again then has others.
        if self.knobs.has_twins() {
            return;
        }
        let reviewers = self.reviewers();
        if let Some(intent) = said.intent
            && let Some(place) = places
                .iter()
                .find(|place| place.id != intent && !reviewers.contains(&place.user))
        {
            let what = format!("{said:?} stands under {}", place.id);
            self.blame(Checker::Identity, what);
        }
    }

    /// Whether what was said waits on its phone for somebody, or on a revoked phone for ever. What
    /// has no words of its own is followed by its intent.
    fn waits(&self, said: &Said) -> bool {
        let Some(i) = said.phone else { return false };
        let phone = &self.phones[i];
        let (relived, revoked) = (phone.lives > 0, phone.revoked);
        // What the city lost and only a revoked phone has, comes back when that phone is let in again; what
        // it had recorded itself and lost is held again.
        let away = self.was_put_back() && revoked;
        if self.was_put_back() && (self.is_held_again(i) || self.carries_for_away(i)) {
            return true;
        }
        phone.store.look(|kept| {
            let open = |state: &IntentState| {
                waits_for_somebody(state) || revoked && matches!(state, IntentState::Pending { .. })
            };
            let own = said.intent.and_then(|id| kept.intent(&id).ok().flatten());
            if own.as_ref().is_some_and(|row| away || open(&row.state)) {
                return true;
            }
            let Some(text) = &said.text else {
                let state = own.map(|row| row.state);
                return relived
                    || state.is_some_and(|state| matches!(state, IntentState::Accepted { .. }));
            };
            // Done again, it may stand under another id.
            let mut all = kept.intents().into_iter();
            all.any(|row| open(&row.state) && texts_of_intent(&row.intent).contains(text))
        })
    }

    fn check_once_and_cause(&mut self, standing: &BTreeMap<String, Vec<Standing>>) {
        let (reviewers, put_back) = (self.reviewers(), self.was_put_back());
        for (text, places) in standing {
            let docs: BTreeSet<DocId> = places.iter().map(|place| place.doc).collect();
            let is_title = text.starts_with("petición");
            let twice = docs.len() != places.len() || is_title && docs.len() > 1;
            // Two stores that hold the same unsent work both do it again when it is orphaned: nothing
            // tells the relay that it is the same.
            let author = self.typed.get(text);
            let mut phones = self.phones.iter();
            let twins = phones.any(|phone| Some(&phone.user) == author && phone.lives > 0);
            // A decision of after the backup is asked again, and what came of it may come back: what the reviewer
            // recorded or the author did again, beside the original that the mended gate lets in.
            let recorded = places.iter().any(|place| reviewers.contains(&place.user));
            let let_in = text.contains(POISON) && self.gate_mended.load(Ordering::Relaxed);
            let decided = put_back && (recorded || let_in);
            if twice && !twins && !decided {
                self.blame(Checker::Once, format!("«{text}» stands twice"));
            }
            for place in places {
                let typed = self.typed.get(text);
                let recorded = typed.is_some() && reviewers.contains(&place.user);
                if typed != Some(&place.user) && !recorded {
                    let what = format!("«{text}» of {} was never typed by them", place.user);
                    self.blame(Checker::Cause, what);
                }
            }
        }
    }

    /// Whether a device that was revoked has what the city lost: it does not bring it.
    pub(super) fn is_away(&self, device: &DeviceId) -> bool {
        let mut phones = (0..self.phones.len()).filter(|i| self.device(*i) == *device);
        self.was_put_back() && phones.any(|i| self.phones[i].revoked)
    }

    /// Whether a phone knows that what was accepted once does not stand any more, and did it again; or it was
    /// a twin's work, whose store is gone.
    fn was_done_again(
        &self,
        (device, incarnation, n): (DeviceId, u32, u64),
        change: Option<Hash>,
    ) -> bool {
        let own = (0..self.phones.len()).filter(|i| self.device(*i) == device);
        let row = own
            .filter_map(|i| {
                let store = &self.phones[i].store;
                store.look(|kept| kept.envelope(&device, incarnation, n).ok().flatten())
            })
            .find(|row| change.is_none_or(|change| brings(&row.envelope, change)));
        let again = row.is_none_or(|row| {
            let answers = row.answers.unwrap_or_default();
            let mut answers = answers.iter();
            answers.any(|answer| !matches!(answer, Answer::Accepted { .. }))
        });
        self.was_put_back() && again
    }

    /// Whether a phone carries work of one that was revoked, whose chain the city has lost and it does not bring:
    /// that work and what is built upon it waits there.
    pub(super) fn carries_for_away(&self, i: usize) -> bool {
        let device = self.device(i);
        let carried = self.phones[i].store.look(|kept| {
            let incarnation = meta_of(kept).map_or(0, |meta| meta.incarnation);
            kept.carried(&device, incarnation, usize::MAX)
        });
        let mut carried = carried.unwrap_or_default().into_iter();
        carried.any(|row| self.is_away(&row.envelope.context.device))
    }

    /// Whether the city holds something of a phone.
    pub(super) fn is_held_again(&self, i: usize) -> bool {
        let device = self.device(i);
        self.store
            .look(|city| city.held.values().any(|held| held.device == device))
    }

    /// Whether the city is another than before: it was put back, and not to the last answer.
    pub(super) fn was_put_back(&self) -> bool {
        self.knobs.journal == 0 && self.store.look(|city| city.head.epoch > 1)
    }

    fn check_acknowledged(&mut self) {
        let put_back = self.was_put_back();
        for ((device, incarnation, n, seq), change) in self.acknowledged.clone() {
            if self.is_away(&device) || self.was_done_again((device, incarnation, n), change) {
                continue;
            }
            let stands = self.store.look(|city| {
                if put_back {
                    // Places are others in a city that was put back: the envelope counts, or the change,
                    // where somebody else brought it.
                    if change.is_some_and(|change| matches!(city.fates.get(&change), Some(Some(_))))
                    {
                        return true;
                    }
                    let stored = city.envelopes.get(&(device, incarnation, n));
                    // Where nobody could prove what it stood upon, its author was told and does it again.
                    let told = |answer: &Answer| {
                        matches!(answer, Answer::Accepted { .. } | Answer::Orphaned { .. })
                    };
                    return stored.is_some_and(|stored| stored.answers.iter().any(told));
                }
                let at = usize::try_from(seq).unwrap_or_default();
                let logged = city.log.get(at.wrapping_sub(1));
                logged.is_some_and(|logged| logged.place == (device, incarnation, n))
            });
            if !stands {
                let what = format!("the receipt of {device} {n} for place {seq} is not kept");
                self.blame(Checker::Acknowledged, what);
            }
        }
    }

    /// What must hold of a phone that has caught up.
    fn check_phone(&mut self, i: usize) {
        let device = self.device(i);
        let (store, put_back) = (self.phones[i].store.clone(), self.was_put_back());
        if self.carries_for_away(i) {
            return;
        }
        let found = self.store.look(|city| {
            store.look(|kept| {
                let mut found = Vec::new();
                let mut blame = |checker, what| found.push(Violation { checker, what });
                let Some(meta) = meta_of(kept) else {
                    blame(Checker::Equal, format!("phone {i} has no state"));
                    return found;
                };
                let held = meta.scopes();
                let (unsent, _) = kept.unsent(&device).unwrap_or_default();
                if unsent > 0 {
                    let what = format!("phone {i} waits for {unsent} answers");
                    blame(Checker::Liveness, what);
                }
                let twice = city.head.epoch > 2;
                let position = &meta.position;
                // A place is told only with something to say: what lies behind it must concern others.
                let behind = city
                    .log
                    .iter()
                    .skip(usize::try_from(position.seq).unwrap_or(0));
                let missed = behind
                    .flat_map(|logged| &logged.row.moves)
                    .any(|(scope, _)| held.contains(scope));
                if missed || !position.fills.is_empty() || position.scopes != held {
                    let what = format!("phone {i} stands at {position:?} of {}", city.head.seq);
                    blame(Checker::Liveness, what);
                }
                for row in kept.list().unwrap_or_default() {
                    if put_back && row.creation_seq.is_none() {
                        // Carried work of a chain that its revoked author cannot bring back.
                        continue;
                    }
                    if !covers(&held, &scopes_of(city, &row.doc)) {
                        let what = format!("phone {i} holds {} out of its scopes", row.doc);
                        blame(Checker::Scope, what);
                    }
                }
                for state in city.docs.values() {
                    if covers(&held, &state.summary.scopes()) {
                        let row = kept.doc(&state.doc).ok().flatten();
                        if let Some(what) = differs(row.as_ref(), state, put_back, twice) {
                            let what = format!("phone {i}, {}: {what}", state.doc);
                            blame(Checker::Equal, what);
                        }
                    }
                }
                found
            })
        });
        self.violations.extend(found);
    }
}

/// Whether this change is in an envelope.
fn brings(envelope: &Envelope, change: Hash) -> bool {
    let groups = envelope.peek().map(|body| body.groups).unwrap_or_default();
    groups.iter().any(|entries| {
        let changes = peek(entries).unwrap_or_default();
        changes.iter().any(|peeked| peeked.hash == change)
    })
}

fn meta_of(kept: &MemoryReplica) -> Option<Meta> {
    codec::decode(&kept.meta().ok()??).ok()
}

fn covers(held: &[Scope], scopes: &[Scope]) -> bool {
    scopes.iter().any(|scope| held.contains(scope))
}

fn scopes_of(city: &City, doc: &DocId) -> Vec<Scope> {
    let state = city.docs.get(doc);
    state.map_or(Vec::new(), |state| state.summary.scopes())
}

/// How a phone's row differs from the city's document.
fn differs(
    row: Option<&DocRow>,
    state: &manzana_server::storage::DocState,
    put_back: bool,
    twice: bool,
) -> Option<&'static str> {
    let Some(row) = row else {
        return Some("not held");
    };
    let Some(accepted) = &row.accepted else {
        return Some("not accepted");
    };
    let set = |saved: &[u8]| {
        let changes = Document::load(saved).ok()?.changes();
        Some(
            changes
                .iter()
                .map(|made| made.hash)
                .collect::<BTreeSet<_>>(),
        )
    };
    [
        (row.accepted_heads != state.summary.heads, "other heads"),
        (set(accepted) != set(&state.saved), "other changes"),
        (
            // Put back twice, it may know nothing of one that was claimed in between.
            row.folio != state.folio && !(twice && row.folio.is_none()),
            "another folio",
        ),
        (
            // In a city that was put back it may be told only to who comes for the first time.
            row.creation_seq != Some(state.creation_seq) && !put_back,
            "another creation place",
        ),
        (row.provisional > 0, "provisional work on it"),
        (row.summary != state.summary, "another summary"),
    ]
    .into_iter()
    .find_map(|(differs, what)| differs.then_some(what))
}

/// What must hold of the relay's disk by itself: the rules that real cities are held to as well, the
/// summaries and the digests.
fn check_city(city: &City) -> Vec<Violation> {
    let mut found = shared_rules(city);
    let mut digests: BTreeMap<Scope, SetHash> = BTreeMap::new();
    for state in city.docs.values() {
        check_state(state, &mut found);
        for scope in state.summary.scopes() {
            let digest = digests.entry(scope).or_default();
            digest.add(&state.doc, &state.summary.heads);
        }
    }
    for (scope, kept) in &city.digests {
        let fresh = digests.remove(scope).unwrap_or_default();
        if fresh.digest() != kept.digest() {
            let what = format!("the digest of {scope} is not that of its documents");
            found.push(Violation {
                checker: Checker::Digest,
                what,
            });
        }
    }
    found
}

type Rule = fn(&CityState, &mut Verdict);

/// Log, chains, folios and documents, by [`crate::checkers`].
fn shared_rules(city: &City) -> Vec<Violation> {
    let state = city_state(city);
    let rules: [(Checker, Rule); 3] = [
        (Checker::Log, checkers::log),
        (Checker::Folios, checkers::folios),
        (Checker::Log, checkers::documents),
    ];
    let mut found = Vec::new();
    for (checker, rule) in rules {
        let mut verdict = Verdict::default();
        rule(&state, &mut verdict);
        found.extend(verdict.faults.into_iter().map(|fault| Violation {
            checker,
            what: format!("{}: {}", fault.rule, fault.what),
        }));
    }
    found
}

/// The relay's disk as the shared checkers read it.
fn city_state(city: &City) -> CityState {
    let log = city.log.iter().map(|logged| LogEntry {
        seq: logged.row.seq,
        doc: logged.row.doc,
        device: logged.place.0,
        incarnation: logged.place.1,
        n: logged.place.2,
        hash: logged.row.hash,
        change: logged.row.change.to_vec(),
        folio: logged.row.folio,
    });
    let docs = city.docs.values().map(|state| {
        let kept = CityDoc {
            saved: state.saved.to_vec(),
            creation_seq: state.creation_seq,
            folio: state.folio,
            scopes: state.summary.scopes(),
        };
        (state.doc, kept)
    });
    let mut chains: BTreeMap<_, Vec<KeptEnvelope>> = BTreeMap::new();
    for ((device, incarnation, _), stored) in &city.envelopes {
        if let Ok(envelope) = codec::decode::<Envelope>(&stored.bytes) {
            let answers = stored.answers.clone();
            let chain = chains.entry((*device, *incarnation)).or_default();
            chain.push(KeptEnvelope { envelope, answers });
        }
    }
    let devices = city.devices.values().map(|record| {
        let author = Author {
            key: record.key,
            user: record.user,
            desk: record.desk_seed.is_some(),
        };
        (record.id, author)
    });
    let digests = city.digests.iter();
    CityState {
        head: city.head.seq,
        first_folio: FIRST_FOLIO,
        next_folio: city.next_folio,
        void: city.void_folios(),
        put_back: city.head.epoch > 1,
        log: log.collect(),
        docs: docs.collect(),
        chains,
        devices: devices.collect(),
        digests: digests
            .map(|(scope, set)| (scope.clone(), set.digest()))
            .collect(),
    }
}

/// The stored summary is the fold of the document, with its changes in another order too.
fn check_state(state: &manzana_server::storage::DocState, found: &mut Vec<Violation>) {
    let Ok(document) = Document::load(&state.saved) else {
        found.push(Violation {
            checker: Checker::State,
            what: format!("{} does not open", state.doc),
        });
        return;
    };
    let mut again = Document::empty();
    let mut waiting = document.changes();
    while !waiting.is_empty() {
        // Latest first, wherever that is possible: as far from the order of arrival as can be.
        let next = waiting
            .iter()
            .rposition(|made| again.clone().apply(&made.bytes).is_ok());
        let Some(next) = next else { break };
        let made = waiting.remove(next);
        let _ = again.apply(&made.bytes);
    }
    let folded = [document.summary(), again.summary()];
    if folded
        .iter()
        .any(|summary| summary.as_ref() != Ok(&state.summary))
    {
        found.push(Violation {
            checker: Checker::State,
            what: format!("the summary of {} is not its fold", state.doc),
        });
    }
}
