//! What the relay's answers mean for documents and intents.

use super::layers::{self, Applied};
use super::staged::{Staged, key_of};
use super::sync::ProtocolError;
use super::{Change, EnvelopeRow, IntentState, Replica, ReplicaError, ReplicaResult};
use super::{ReplicaStore, Write, is_clash};
use crate::answer::{Answer, EnvelopeAnswer, SignedReceipt};
use crate::ids::{DeviceId, DocId, Hash, Seq};
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
        for answer in &body.answers {
            staged.answered(&device, answer, now)?;
            staged.meta.answers_seen = staged.meta.answers_seen.max(answer.no);
        }
        let incarnation = staged.meta.incarnation;
        let seen = staged.meta.answers_seen;
        staged.push(Write::Receipt(receipt.clone()));
        staged.changed(Change::Status);
        let finished = staged.finish();
        self.commit(finished)?;
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
        // A receipt is for these bytes and no others; an answer repeated changes nothing.
        if row.hash != answer.hash || row.answers.is_some() {
            return Ok(());
        }
        let body = row.envelope.peek().map_err(|_| ReplicaError::Damaged)?;
        for (group, given) in answer.groups.iter().enumerate() {
            match given {
                Answer::Accepted { seq, folio } => {
                    let entries = body.groups.get(group).map_or(&[][..], Vec::as_slice);
                    self.accepted_early(entries, *seq, *folio)?;
                }
                Answer::Orphaned { by } => {
                    self.bury(by, &row.docs)?;
                    self.forsake(by, &row.docs)?;
                }
                _ => {}
            }
        }
        let waits = |given: &Answer| matches!(given, Answer::Waiting { .. });
        if !answer.groups.iter().any(waits) {
            self.note_answers(row.clone(), answer.groups.clone());
        }
        row.docs.iter().try_for_each(|doc| self.rebuild(*doc))?;
        for (group, given) in answer.groups.iter().enumerate() {
            self.follow_up(&row, group, given, now)?;
        }
        Ok(())
    }

    /// What our work was built upon is in our accepted layer, and not in the city any more: a backup was put
    /// back and nobody could prove it. The document comes again as the city has it.
    fn forsake(&mut self, by: &Hash, docs: &[DocId]) -> ReplicaResult<(), S> {
        if !self.meta.was_put_back() {
            return Ok(());
        }
        for doc in docs {
            let row = self.doc(doc)?;
            let accepted = row.as_ref().map(layers::open_accepted);
            if accepted.is_some_and(|opened| opened.is_ok_and(|held| held.has(by))) {
                self.quarantine(*doc)?;
            }
        }
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
                return self.replay(intent, row, true, now);
            }
            Answer::Refused { rule, field } => {
                intent.state = IntentState::ToCorrect {
                    rule: *rule,
                    field: field.clone(),
                };
                self.meta.next_actor();
            }
            Answer::Orphaned { by } => return self.replay(intent, row, *by == TWIN, now),
            Answer::Held { .. } => {
                intent.state = IntentState::Held;
                self.meta.next_actor();
            }
            Answer::Waiting { .. } => return Ok(()),
        }
        self.put_intent(intent);
        Ok(())
    }

    /// The intent behind a group: the key of its records, or the one whose state names the envelope.
    pub(super) fn intent_of(
        &self,
        row: &EnvelopeRow,
        group: usize,
    ) -> ReplicaResult<Option<crate::ids::RecordId>, S> {
        let (_, incarnation, n) = key_of(row);
        let group = u32::try_from(group).unwrap_or(u32::MAX);
        let here = IntentState::Pending {
            incarnation,
            n,
            group,
        };
        for doc in &row.docs {
            let rows = self
                .store()
                .open_intents_of(doc)
                .map_err(ReplicaError::Store)?;
            if let Some(found) = rows.iter().find(|intent| intent.state == here) {
                return Ok(Some(found.id));
            }
        }
        Ok(None)
    }
}
