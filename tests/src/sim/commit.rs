//! `commit_batch` over the city in memory: the same rules as any backend's, and its refusals.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use manzana_engine::answer::{Answer, EnvelopeAnswer, HeldReason};
use manzana_engine::digest::SetHash;
use manzana_engine::grant::Scope;
use manzana_engine::ids::{DocId, Hash};
use manzana_engine::summary::DocKind;
use manzana_server::storage::{
    ChainHead, CommitBatch, Committed, DocState, EntryCommit, EnvelopeCommit, GroupCommit,
    HeldGroup, LogRow, Result, StorageError, moves,
};

use super::city::{City, Logged, Place, Stored, StoredPart};

/// What the intake should never ask.
#[derive(Debug, thiserror::Error)]
#[error("misuse: {0}")]
pub(super) struct Misuse(&'static str);

impl From<Misuse> for StorageError {
    fn from(misuse: Misuse) -> Self {
        Self::Backend(Box::new(misuse))
    }
}

/// Writes a batch. The caller keeps the city as it was when this fails.
pub(super) fn commit(city: &mut City, batch: &CommitBatch) -> Result<Committed> {
    let mut work = Work {
        time: batch.time,
        before: BTreeMap::new(),
        done: Committed::default(),
        city,
    };
    for envelope in &batch.envelopes {
        work.envelope(envelope)?;
    }
    let writes = batch.docs.iter().map(|write| (write.doc, &write.saved));
    work.flush(writes.collect())?;
    Ok(work.done)
}

struct Work<'c> {
    city: &'c mut City,
    time: i64,
    /// Heads and scopes of the touched documents before the batch.
    before: BTreeMap<DocId, (Vec<Hash>, Vec<Scope>)>,
    done: Committed,
}

/// The folio of a petition that has none: the one it had before a backup was put back, or the next one
/// unless the city recovers.
fn issue(city: &mut City, entry: &EntryCommit, has: Option<u64>) -> Option<u64> {
    if has.is_some() || entry.summary.doc_kind != DocKind::Petition {
        return None;
    }
    let claimed = entry.reclaims.or(city.recovery.claim_of(&entry.doc));
    let reclaimed = claimed.filter(|folio| city.is_free(*folio));
    if reclaimed.is_some() || city.head.recovering {
        return reclaimed;
    }
    city.next_folio += 1;
    Some(city.next_folio - 1)
}

fn place_of(envelope: &EnvelopeCommit) -> Place {
    (envelope.device, envelope.incarnation, envelope.n)
}

impl Work<'_> {
    fn envelope(&mut self, envelope: &EnvelopeCommit) -> Result<()> {
        let place = place_of(envelope);
        let earlier: Vec<Option<Answer>> = if envelope.resumes {
            let stored = self.city.envelopes.get(&place);
            let stored = stored.filter(|stored| stored.hash == envelope.hash);
            let stored = stored.ok_or(Misuse("an envelope to resume that is not stored"))?;
            stored.answers.iter().cloned().map(Some).collect()
        } else {
            self.chain_step(envelope)?;
            vec![None; envelope.groups.len()]
        };
        if earlier.len() != envelope.groups.len() {
            return Err(Misuse("not one answer per group").into());
        }
        self.parts(envelope);
        let mut answers = Vec::new();
        for (index, (group, earlier)) in envelope.groups.iter().zip(earlier).enumerate() {
            answers.push(self.group(envelope, index, group.as_ref(), earlier)?);
        }
        let order = self.city.envelopes.len();
        let (order, bytes) = match self.city.envelopes.get(&place) {
            Some(stored) => (stored.order, stored.bytes.clone()),
            None => (order, envelope.bytes.clone()),
        };
        let stored = Stored {
            hash: envelope.hash,
            bytes,
            answers: answers.clone(),
            order,
        };
        self.city.envelopes.insert(place, Arc::new(stored));
        let waits = |answer: &Answer| matches!(answer, Answer::Waiting { .. });
        if !answers.iter().any(waits) {
            self.city.recovery.proofs.remove(&envelope.hash);
        }
        let accepted = |answer: &Answer| matches!(answer, Answer::Accepted { .. });
        if let Some(act) = envelope
            .act
            .as_ref()
            .filter(|_| answers.iter().any(accepted))
        {
            let keys = &mut self.city.act_keys;
            let key = (act.user, act.key.clone());
            keys.entry(key).or_insert(act.record);
        }
        self.answer(envelope, answers);
        Ok(())
    }

    fn chain_step(&mut self, envelope: &EnvelopeCommit) -> Result<()> {
        let chain = (envelope.device, envelope.incarnation);
        let held = self.city.chains.entry(chain).or_default();
        if envelope.n != held.have + 1 {
            return Err(Misuse("an envelope that does not follow its chain").into());
        }
        *held = ChainHead {
            have: envelope.n,
            hash: envelope.hash,
        };
        Ok(())
    }

    fn parts(&mut self, envelope: &EnvelopeCommit) {
        let place = place_of(envelope);
        for part in &envelope.parts {
            let mut stored = self.city.parts.iter();
            if stored.any(|other| other.place == place && other.hash == part.hash) {
                continue;
            }
            self.city.parts.push(StoredPart {
                place,
                hash: part.hash,
                doc: part.doc,
                kind: part.kind,
                bytes: part.bytes.clone(),
                masked_name: part.masked_name.clone(),
                live: false,
            });
        }
    }

    fn group(
        &mut self,
        envelope: &EnvelopeCommit,
        index: usize,
        group: Option<&GroupCommit>,
        earlier: Option<Answer>,
    ) -> Result<Answer> {
        let group = match (group, earlier) {
            (None, Some(earlier)) => return Ok(earlier),
            (None, None) => return Err(Misuse("a group without an answer").into()),
            (Some(GroupCommit::NotAccepted { answer, .. }), Some(Answer::Held { .. }))
                if answer.is_final() =>
            {
                let (device, incarnation, n) = place_of(envelope);
                self.city.held.retain(|_, held| {
                    (held.device, held.incarnation, held.n, held.group)
                        != (device, incarnation, n, index)
                });
                return Ok(answer.clone());
            }
            (Some(_), Some(earlier)) if !matches!(earlier, Answer::Waiting { .. }) => {
                return Err(Misuse("a group that did not wait").into());
            }
            (Some(group), _) => group,
        };
        let waits = (place_of(envelope), index);
        self.city.waiting.retain(|_, groups| {
            groups.remove(&waits);
            !groups.is_empty()
        });
        match group {
            GroupCommit::Accepted(entries) => self.accept(envelope, entries),
            GroupCommit::Known { seq } => {
                let mut docs = self.city.docs.values();
                let made = docs.find(|state| state.creation_seq == *seq);
                Ok(Answer::Accepted {
                    seq: *seq,
                    folio: made.and_then(|state| state.folio),
                })
            }
            GroupCommit::NotAccepted {
                answer,
                changes,
                detail,
            } => {
                if let Answer::Held { reason } = answer {
                    self.hold(envelope, index, *reason, detail.clone());
                }
                match answer {
                    Answer::Accepted { .. } => return Err(Misuse("accepted, and not").into()),
                    Answer::Waiting { deps } if deps.is_empty() => {
                        return Err(Misuse("a group that waits for nothing").into());
                    }
                    Answer::Waiting { deps } => deps.iter().for_each(|dep| {
                        self.city.waiting.entry(*dep).or_default().insert(waits);
                    }),
                    _ => changes.iter().for_each(|hash| {
                        self.city.fates.entry(*hash).or_insert(None);
                    }),
                }
                Ok(answer.clone())
            }
        }
    }

    fn hold(
        &mut self,
        envelope: &EnvelopeCommit,
        group: usize,
        reason: HeldReason,
        detail: Option<String>,
    ) {
        self.city.last_held += 1;
        let held = HeldGroup {
            id: self.city.last_held,
            device: envelope.device,
            incarnation: envelope.incarnation,
            n: envelope.n,
            group,
            since: self.time,
            reason,
            detail,
            decision: None,
            problem: None,
            envelope: Bytes::new(),
        };
        self.city.held.insert(held.id, held);
    }

    fn accept(&mut self, envelope: &EnvelopeCommit, entries: &[EntryCommit]) -> Result<Answer> {
        if entries.is_empty() {
            return Err(Misuse("an accepted group without entries").into());
        }
        let seq = self.city.head.seq + 1;
        let mut folio = None;
        for entry in entries {
            folio = folio.or(self.entry(envelope, entry)?);
        }
        Ok(Answer::Accepted { seq, folio })
    }

    fn entry(&mut self, envelope: &EnvelopeCommit, entry: &EntryCommit) -> Result<Option<u64>> {
        let city = &mut *self.city;
        let seq = city.head.seq + 1;
        city.head.seq = seq;
        if matches!(city.fates.insert(entry.hash, Some(seq)), Some(Some(_))) {
            return Err(Misuse("a change that is in the log already").into());
        }
        let author = (envelope.device, envelope.incarnation);
        // What is given back is bound by its own device when that comes.
        if !entry.given_back && *city.actors.entry(entry.actor).or_insert(author) != author {
            return Err(Misuse("an actor of another device or incarnation").into());
        }
        let old = city.docs.get(&entry.doc).cloned();
        let scopes = old.as_ref().map_or(Vec::new(), |old| old.summary.scopes());
        let heads = old
            .as_ref()
            .map_or(Vec::new(), |old| old.summary.heads.clone());
        self.before
            .entry(entry.doc)
            .or_insert((heads, scopes.clone()));
        let issued = issue(city, entry, old.as_ref().and_then(|old| old.folio));
        let mut masked_name = old.as_ref().and_then(|old| old.masked_name.clone());
        for part in &mut city.parts {
            if part.place == place_of(envelope) && part.doc == entry.doc {
                part.live = true;
                masked_name = part.masked_name.clone().or(masked_name);
            }
        }
        let state = DocState {
            doc: entry.doc,
            saved: old
                .as_ref()
                .map_or(Bytes::new(), |old| Bytes::clone(&old.saved)),
            summary: entry.summary.clone(),
            creation_seq: old.as_ref().map_or(seq, |old| old.creation_seq),
            last_seq: seq,
            folio: old.and_then(|old| old.folio).or(issued),
            masked_name,
        };
        city.docs.insert(entry.doc, Arc::new(state));
        let row = Arc::new(LogRow {
            seq,
            doc: entry.doc,
            device: envelope.device,
            hash: entry.hash,
            change: entry.change.clone(),
            folio: issued,
            moves: moves(&scopes, &entry.summary.scopes()),
        });
        city.log.push(Logged {
            row: Arc::clone(&row),
            place: place_of(envelope),
            time: self.time,
        });
        self.done.rows.push(row);
        Ok(issued)
    }

    fn answer(&mut self, envelope: &EnvelopeCommit, groups: Vec<Answer>) {
        let number = self.city.numbers.entry(envelope.device).or_default();
        *number += 1;
        let answer = EnvelopeAnswer {
            no: *number,
            incarnation: envelope.incarnation,
            n: envelope.n,
            hash: envelope.hash,
            groups,
        };
        let kept = self.city.answers.entry(envelope.device).or_default();
        kept.insert(answer.no, answer.clone());
        let told = self.done.answers.entry(envelope.device).or_default();
        told.push(answer);
    }

    fn flush(&mut self, mut writes: BTreeMap<DocId, &Bytes>) -> Result<()> {
        for (doc, (heads, scopes)) in std::mem::take(&mut self.before) {
            let saved = writes
                .remove(&doc)
                .ok_or(Misuse("an entry of a document that has no bytes"))?;
            let Some(state) = self.city.docs.get(&doc) else {
                return Err(Misuse("a document that is not there").into());
            };
            let state = DocState {
                saved: saved.clone(),
                ..DocState::clone(state)
            };
            let (mut out, mut into) = (SetHash::default(), SetHash::default());
            out.remove(&doc, &heads);
            into.add(&doc, &state.summary.heads);
            for scope in scopes {
                self.city.digests.entry(scope).or_default().merge(&out);
            }
            for scope in state.summary.scopes() {
                self.city.digests.entry(scope).or_default().merge(&into);
            }
            let state = Arc::new(state);
            self.city.docs.insert(doc, Arc::clone(&state));
            self.done.docs.push(state);
        }
        match writes.keys().all(|doc| self.city.docs.contains_key(doc)) {
            true if writes.is_empty() => Ok(()),
            true => {
                for (doc, saved) in writes {
                    let state = DocState {
                        saved: saved.clone(),
                        ..DocState::clone(&self.city.docs[&doc])
                    };
                    self.city.docs.insert(doc, Arc::new(state));
                }
                Ok(())
            }
            false => Err(Misuse("bytes of a document that has no entry").into()),
        }
    }
}
