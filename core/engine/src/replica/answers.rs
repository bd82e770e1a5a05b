//! What the relay's answers mean for documents and intents.

use super::layers::{self, Applied, contents_of};
use super::staged::{Staged, key_of};
use super::sync::ProtocolError;
use super::{Change, EnvelopeRow, IntentRow, IntentState, Replica, ReplicaError, ReplicaResult};
use super::{ReplicaStore, Write, is_clash};
use crate::answer::{Answer, EnvelopeAnswer, SignedReceipt};
use crate::codec;
use crate::envelope::Entry;
use crate::ids::{DeviceId, DocId, Hash, Seq};
use crate::intent::Intent;
use crate::limits::FORSAKEN;
use crate::policy::Rule;
use crate::wire::Up;

use super::carry::TWIN;

/// Answers are acknowledged when this many are durable, and at every hello.
const ACKNOWLEDGE_EVERY: u64 = 32;

impl<S: ReplicaStore> Replica<S> {
    pub(super) fn receipt(
        &mut self,
        receipt: &SignedReceipt,
        now: i64,
    ) -> ReplicaResult<Result<(), ProtocolError>, S> {
        let mut staged = self.stage()?;
        let (city, device) = (staged.meta.city(), staged.meta.device());
        let Ok(body) = receipt.open(&staged.meta.relay_key, &city, &device) else {
            return Ok(Err(ProtocolError::Unverified));
        };
        staged.meta.city_time = staged.meta.city_time.max(body.time);
        let mut forsaken = Vec::new();
        for answer in &body.answers {
            if answer.no > staged.meta.answers_seen + 1 {
                staged.doubt_what_is_held()?;
            }
            staged.answered(&device, answer, now)?;
            if answer.no == 0 {
                // The latest that there is to say.
                let asked = (answer.incarnation, answer.n);
                staged.meta.doubtful.retain(|place| *place != asked);
            }
            forsaken.extend(staged.waits_for_lost(&device, answer)?);
            staged.meta.answers_seen = staged.meta.answers_seen.max(answer.no);
        }
        let incarnation = staged.meta.incarnation;
        let seen = staged.meta.answers_seen;
        staged.push(Write::Receipt(receipt.clone()));
        staged.changed(Change::Status);
        let finished = staged.finish();
        self.commit(finished)?;
        for changes in forsaken.chunks(FORSAKEN) {
            let changes = changes.to_vec();
            self.session.queue.push(Up::Forsake { changes });
        }
        let latest = body
            .answers
            .iter()
            .filter(|a| a.incarnation == incarnation)
            .map(|a| a.n);
        self.session.have = latest.max().unwrap_or(0).max(self.session.have);
        if !self.session.offered.is_empty() && self.session.carried.is_empty() {
            self.load_carried()?;
        }
        self.ask_for_missing()?;
        self.ask_for_broken()?;
        if seen >= self.session.acknowledged + ACKNOWLEDGE_EVERY {
            self.session.acknowledged = seen;
            self.session.queue.push(Up::Seen { answers: seen });
        }
        Ok(Ok(()))
    }
}

impl<S: ReplicaStore> Staged<'_, S> {
    /// What the answer to one of our envelopes means for documents and intents.
    pub(super) fn answered(
        &mut self,
        device: &DeviceId,
        answer: &EnvelopeAnswer,
        now: i64,
    ) -> ReplicaResult<(), S> {
        let Some(row) = self.envelope((*device, answer.incarnation, answer.n))? else {
            return Ok(());
        };
        // A receipt is for these bytes and no others. What was said for good stays and an answer repeated
        // changes nothing; of what is held, people decide later.
        let told = row.answers.as_deref();
        let put_back = self.meta.was_put_back();
        let is_news =
            |(group, given): &(usize, &Answer)| match told.and_then(|told| told.get(*group)) {
                // A city that was put back may have lost what its acceptance was built upon, or have got a
                // twin's change back first.
                Some(Answer::Accepted { .. }) if put_back => match given {
                    Answer::Refused { rule, .. } => is_clash(*rule),
                    given => matches!(given, Answer::Orphaned { .. }),
                },
                Some(told) => !told.is_final() && given.is_final(),
                None => true,
            };
        let news: Vec<_> = answer.groups.iter().enumerate().filter(is_news).collect();
        if row.hash != answer.hash || news.is_empty() {
            return Ok(());
        }
        let body = row.envelope.peek().map_err(|_| ReplicaError::Damaged)?;
        for (group, given) in news.iter().copied() {
            let entries = body.groups.get(group).map_or(&[][..], Vec::as_slice);
            match given {
                Answer::Accepted { seq, folio } => {
                    self.accepted_early(entries, *seq, *folio)?;
                }
                Answer::Orphaned { by } => {
                    self.bury(by, &row.docs)?;
                    self.forsake(by, entries)?;
                }
                _ => {}
            }
        }
        let waits = |given: &Answer| matches!(given, Answer::Waiting { .. });
        if !answer.groups.iter().any(waits) {
            let mut groups = row.answers.clone().unwrap_or(answer.groups.clone());
            for (group, given) in news.iter().copied() {
                groups
                    .get_mut(group)
                    .into_iter()
                    .for_each(|told| given.clone_into(told));
            }
            self.note_answers(row.clone(), groups);
        }
        for (group, given) in news.iter().copied() {
            if !matches!(given, Answer::Accepted { .. } | Answer::Waiting { .. }) {
                self.doom_upon(&row, group)?;
            }
        }
        row.docs.iter().try_for_each(|doc| self.rebuild(*doc))?;
        for (group, given) in news {
            self.follow_up(&row, group, given, now)?;
        }
        Ok(())
    }

    /// What our work was built upon is in our accepted layer, or our work itself, and not in the city any more:
    /// a backup was put back and nobody could prove it. The documents come again as the city has them.
    fn forsake(&mut self, by: &Hash, ours: &[Entry]) -> ReplicaResult<(), S> {
        if !self.meta.was_put_back() {
            return Ok(());
        }
        for Entry { doc, change } in ours {
            let change = layers::hash_of(change).ok_or(ReplicaError::Damaged)?;
            if self.is_accepted(doc, by)? || self.is_accepted(doc, &change)? {
                self.quarantine(*doc)?;
            }
        }
        Ok(())
    }

    /// Changes in our accepted layer that our work waits for in a city that was put back and does not take
    /// anything back any more.
    fn waits_for_lost(
        &mut self,
        device: &DeviceId,
        answer: &EnvelopeAnswer,
    ) -> ReplicaResult<Vec<Hash>, S> {
        let mut lost = Vec::new();
        if !self.meta.was_put_back() || self.meta.recovering {
            return Ok(lost);
        }
        let row = self.envelope((*device, answer.incarnation, answer.n))?;
        let docs = row.map_or(Vec::new(), |row| row.docs);
        let waited = answer.groups.iter().filter_map(|given| match given {
            Answer::Waiting { deps } => Some(deps),
            _ => None,
        });
        for dep in waited.flatten() {
            for doc in &docs {
                if self.is_accepted(doc, dep)? {
                    lost.push(*dep);
                }
            }
        }
        Ok(lost)
    }

    /// Whether a change is in the accepted layer of a document.
    fn is_accepted(&self, doc: &DocId, change: &Hash) -> ReplicaResult<bool, S> {
        let row = self.doc(doc)?;
        let held = row.and_then(|row| layers::open_accepted(&row).ok());
        Ok(held.is_some_and(|held| held.has(change)))
    }

    /// What was accepted once, and a twin has its place now: its documents come whole, and what does not
    /// stand in them is done again.
    fn question_displaced(&mut self, now: i64) -> ReplicaResult<(), S> {
        if self.meta.recovering {
            return Ok(());
        }
        let device = self.meta.device();
        for (incarnation, n) in core::mem::take(&mut self.meta.displaced) {
            let Some(row) = self.envelope((device, incarnation, n))? else {
                continue;
            };
            for doc in &row.docs {
                self.quarantine(*doc)?;
            }
            if !self.is_in_question(&row.docs)? {
                continue;
            }
            let told = row.answers.clone().unwrap_or_default();
            let lost = |answer| match answer {
                Answer::Accepted { .. } => Answer::Orphaned { by: TWIN },
                other => other,
            };
            let questioned: Vec<Answer> = told.iter().cloned().map(lost).collect();
            self.note_answers(row.clone(), questioned.clone());
            for (group, given) in questioned.iter().enumerate() {
                if told.get(group) != Some(given) {
                    self.follow_up(&row, group, given, now)?;
                }
            }
        }
        Ok(())
    }

    /// Whether the changes of a group are in the accepted layers of their documents.
    fn stands(&self, row: &EnvelopeRow, group: usize) -> ReplicaResult<bool, S> {
        let body = row.envelope.peek().map_err(|_| ReplicaError::Damaged)?;
        for Entry { doc, change } in body.groups.get(group).into_iter().flatten() {
            let hash = layers::hash_of(change).ok_or(ReplicaError::Damaged)?;
            if !self.is_accepted(doc, &hash)? {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Does again what waited for its documents to come whole.
    pub(super) fn follow_up_late(&mut self, now: i64) -> ReplicaResult<(), S> {
        let device = self.meta.device();
        for (incarnation, n) in core::mem::take(&mut self.meta.late) {
            let Some(row) = self.envelope((device, incarnation, n))? else {
                continue;
            };
            let mut answers = row.answers.clone().unwrap_or_default();
            for (group, given) in answers.iter_mut().enumerate() {
                let Answer::Orphaned { .. } = given else {
                    continue;
                };
                if !self.is_in_question(&row.docs)? && self.stands(&row, group)? {
                    // Somebody brought it.
                    *given = Answer::Accepted {
                        seq: self.meta.position.seq,
                        folio: None,
                    };
                }
                self.follow_up(&row, group, given, now)?;
            }
            if row.answers.as_ref() != Some(&answers) {
                self.note_answers(row, answers);
            }
        }
        // Not before: what is noted here is late from the next frame on.
        self.question_displaced(now)
    }

    /// An answer was missed, or a twin acknowledged it: it may have been the last word on what is held here.
    fn doubt_what_is_held(&mut self) -> ReplicaResult<(), S> {
        let held = self.store().held().map_err(ReplicaError::Store)?;
        let places = held.iter().filter_map(|row| row.state.open_group());
        let doubtful = places.map(|(incarnation, n, _)| (incarnation, n));
        self.meta.doubtful = doubtful.collect();
        self.meta.doubtful.dedup();
        Ok(())
    }

    /// Applies accepted changes that we have without waiting for the stream, where their base is here.
    /// Those without it come by the stream.
    pub(super) fn accepted_early(
        &mut self,
        entries: &[crate::envelope::Entry],
        seq: Seq,
        folio: Option<u64>,
    ) -> ReplicaResult<(), S> {
        for (place, entry) in (seq..).zip(entries) {
            self.meta.city_head = self.meta.city_head.max(place);
            let gone = match self.doc(&entry.doc)? {
                // The stream has passed this place: the document is not ours, or a fill brings it.
                None => place <= self.meta.position.seq,
                // The stream has passed this place and what came of the petition since: it is shown, and
                // asked for as it is now, if it is ours at all.
                Some(row) if row.accepted.is_none() && place <= self.meta.position.seq => {
                    self.miss(entry.doc);
                    false
                }
                // It left our scopes and stayed only for this answer.
                Some(row) => row.accepted.is_some() && row.accepted_scopes.is_empty(),
            };
            if gone {
                continue;
            }
            if self.accept_with_base(entry.doc, &entry.change, place, folio)? == Applied::Done {
                self.meta.ahead = self.meta.ahead.max(place);
            }
        }
        Ok(())
    }

    pub(super) fn follow_up(
        &mut self,
        row: &EnvelopeRow,
        group: usize,
        answer: &Answer,
        now: i64,
    ) -> ReplicaResult<(), S> {
        let Some(id) = self.intent_of(row, group)? else {
            return Ok(());
        };
        let Some(mut intent) = self.intent(&id)? else {
            return Ok(());
        };
        match answer {
            Answer::Accepted { seq, .. } => intent.state = IntentState::Accepted { seq: *seq },
            Answer::Refused { rule, .. } if is_clash(*rule) => {
                return self.replay(intent, contents_of(row), true, now);
            }
            Answer::Refused {
                rule: Rule::ForeignRecord,
                ..
            } if self.has_another_role(&intent) => {
                return self.replay(intent, contents_of(row), false, now);
            }
            Answer::Refused { rule, field } => {
                intent.state = IntentState::ToCorrect {
                    rule: *rule,
                    field: field.clone(),
                };
                self.meta.next_actor();
            }
            Answer::Orphaned { .. } if self.is_in_question(&row.docs)? => {
                // Done again only upon what the city has.
                let (_, incarnation, n) = key_of(row);
                self.meta.be_late(incarnation, n);
                intent.state = IntentState::Pending {
                    incarnation,
                    n,
                    group: number(group),
                };
            }
            Answer::Orphaned { by } => {
                return self.replay(intent, contents_of(row), *by == TWIN, now);
            }
            Answer::Held { .. } => {
                let (_, incarnation, n) = key_of(row);
                intent.state = IntentState::Held {
                    incarnation,
                    n,
                    group: number(group),
                };
                self.meta.next_actor();
            }
            Answer::Waiting { .. } => return Ok(()),
        }
        self.put_intent(intent);
        Ok(())
    }

    /// Whether any of the documents is to come first as a city has it that was put back.
    fn is_in_question(&self, docs: &[DocId]) -> ReplicaResult<bool, S> {
        for doc in docs.iter().filter(|_| self.meta.was_put_back()) {
            if self.doc(doc)?.is_some_and(|row| row.quarantined) {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Whether its author's role has changed since: it is done again in the new one.
    fn has_another_role(&self, row: &IntentRow) -> bool {
        let role = codec::decode::<Intent>(&row.intent).ok();
        let role = role.and_then(|intent| intent.role());
        role.is_some_and(|role| role != self.meta.granted.role)
    }

    /// The intent behind a group: the key of its records, or the one whose state names the envelope.
    pub(super) fn intent_of(
        &self,
        row: &EnvelopeRow,
        group: usize,
    ) -> ReplicaResult<Option<crate::ids::RecordId>, S> {
        let (_, incarnation, n) = key_of(row);
        let here = Some((incarnation, n, number(group)));
        for doc in &row.docs {
            let rows = self
                .store()
                .open_intents_of(doc)
                .map_err(ReplicaError::Store)?;
            if let Some(found) = rows.iter().find(|intent| intent.state.open_group() == here) {
                return Ok(Some(found.id));
            }
        }
        let told = row.answers.as_ref().and_then(|told| told.get(group));
        if let Some(Answer::Accepted { seq, .. }) = told {
            let accepted = self.store().intents_accepted_at(*seq);
            let accepted = accepted.map_err(ReplicaError::Store)?;
            let found = accepted.into_iter().find(|intent| intent.docs == row.docs);
            return Ok(found.map(|intent| intent.id));
        }
        Ok(None)
    }
}

fn number(group: usize) -> u32 {
    u32::try_from(group).unwrap_or(u32::MAX)
}
