//! Envelopes that travel with their own context: a neighbour's, and the own ones of earlier lives of
//! the store or of earlier grants.

use super::ReplicaStore;
use super::layers::{changes_of, lay};
use super::staged::{Staged, key_of};
use super::sync::ProtocolError;
use super::{EnvelopeRow, Replica, ReplicaError, ReplicaResult};
use crate::answer::Answer;
use crate::codec;
use crate::envelope::Envelope;
use crate::ids::{DocId, Hash};
use crate::wire::Up;

/// Envelopes with their own context offered per load.
const CARRY_BATCH: usize = 64;

/// What stands for the change below, when a twin's envelope took the place of ours.
pub(super) const TWIN: Hash = Hash([0; 32]);

impl<S: ReplicaStore> Replica<S> {
    pub(super) fn offer(&mut self, row: &EnvelopeRow) -> Up {
        self.session.offered.insert(row.hash, key_of(row));
        Up::Carry {
            envelope: codec::encode(&row.envelope).into(),
        }
    }

    /// Loads envelopes with their own context that were not offered in this session.
    pub(super) fn load_carried(&mut self) -> ReplicaResult<(), S> {
        let mut rows = self.carried_rows(CARRY_BATCH + self.session.offered.len())?;
        rows.retain(|row| !self.session.offered.contains_key(&row.hash));
        rows.truncate(CARRY_BATCH);
        self.put_on_offer(rows);
        Ok(())
    }

    pub(super) fn put_on_offer(&mut self, rows: Vec<EnvelopeRow>) {
        // Taken from the end: the first one stored goes first.
        for row in rows.into_iter().rev() {
            self.session.offered.insert(row.hash, key_of(&row));
            self.session.carried.push(row.envelope);
        }
    }

    /// Offers what the relay had when the session began and has said nothing about by the time it has
    /// said everything: its answers were acknowledged by a twin, or by a life of the store that is lost.
    pub(super) fn ask_again(&mut self) -> ReplicaResult<(), S> {
        let doubted = core::mem::take(&mut self.session.doubted);
        self.ask_about_held()?;
        let meta = self.meta()?;
        let (device, incarnation) = (meta.device(), meta.incarnation);
        let (unsent, _) = self.store.unsent(&device).map_err(ReplicaError::Store)?;
        let mut from = 1;
        while unsent > 0 && from <= doubted {
            let limit = (doubted - from + 1).min(CARRY_BATCH as u64);
            let rows = self
                .store
                .envelopes_from(&device, incarnation, from, limit as usize)
                .map_err(ReplicaError::Store)?;
            from += limit;
            let open = rows.into_iter().filter(|row| {
                row.answers.is_none() && !self.session.offered.contains_key(&row.hash)
            });
            let open = open.collect();
            self.put_on_offer(open);
        }
        Ok(())
    }

    /// Offers what is held and may have been decided since, once in each session until it is answered.
    fn ask_about_held(&mut self) -> ReplicaResult<(), S> {
        let meta = self.meta()?;
        let (device, doubtful) = (meta.device(), meta.doubtful.clone());
        let mut rows = Vec::new();
        for (incarnation, n) in doubtful {
            let row = self.store.envelope(&device, incarnation, n);
            rows.extend(row.map_err(ReplicaError::Store)?);
        }
        rows.retain(|row| !self.session.offered.contains_key(&row.hash));
        self.put_on_offer(rows);
        Ok(())
    }

    pub(super) fn carried_rows(&self, limit: usize) -> ReplicaResult<Vec<EnvelopeRow>, S> {
        let meta = self.meta()?;
        self.store
            .carried(&meta.device(), meta.incarnation, limit)
            .map_err(ReplicaError::Store)
    }

    /// What became of an envelope that was offered with its own context.
    pub(super) fn carried(
        &mut self,
        hash: Hash,
        groups: Vec<Answer>,
        now: i64,
    ) -> ReplicaResult<Result<(), ProtocolError>, S> {
        let Some((device, incarnation, n)) = self.session.offered.get(&hash).copied() else {
            return Ok(Ok(()));
        };
        let row = self.store.envelope(&device, incarnation, n);
        let row = row.map_err(ReplicaError::Store)?;
        let Some(row) = row.filter(|row| row.hash == hash) else {
            return Ok(Ok(()));
        };
        let mut staged = self.stage()?;
        if row.answers.is_some() {
            // It only went back to a city that had lost it.
            if groups.is_empty() && device == staged.meta.device() {
                staged.meta.note_displaced(incarnation, n);
            }
        } else if device != staged.meta.device() {
            staged.carried_answered(row, groups)?;
        } else if groups.is_empty() && incarnation != staged.meta.incarnation {
            staged.taken_by_a_twin(&row, now)?;
        } else {
            // What became of our own work is told by a signed receipt and by nothing else; what came
            // out of turn is sent again in the next session.
            return Ok(Ok(()));
        }
        let finished = staged.finish();
        self.commit(finished)?;
        if self.session.carried.is_empty() {
            self.load_carried()?;
        }
        self.ask_for_missing()?;
        Ok(Ok(()))
    }

    /// Takes over another device's envelopes (copied phone to phone): kept, shown where its documents
    /// are held, and offered to the relay.
    ///
    /// # Errors
    /// When the storage fails. Envelopes of another city are passed over.
    pub fn carry(&mut self, envelopes: Vec<Envelope>) -> ReplicaResult<usize, S> {
        let mut staged = self.stage()?;
        let mut taken = 0;
        for envelope in envelopes {
            let Ok(body) = envelope.peek() else { continue };
            let context = &envelope.context;
            let own = context.device == staged.meta.device();
            let key = (context.device, context.incarnation, body.n);
            if context.city != staged.meta.city() || own || staged.envelope(key)?.is_some() {
                continue;
            }
            let mut docs: Vec<DocId> = body.groups.iter().flatten().map(|e| e.doc).collect();
            docs.sort_unstable();
            docs.dedup();
            let hash = envelope.hash();
            staged.put_envelope(EnvelopeRow {
                envelope,
                n: body.n,
                hash,
                answers: None,
                docs: docs.clone(),
            });
            for doc in docs {
                staged.show_carried(doc)?;
            }
            taken += 1;
        }
        let finished = staged.finish();
        self.commit(finished)?;
        if self.session.live && self.session.carried.is_empty() {
            self.load_carried()?;
        }
        Ok(taken)
    }

    /// This device's envelopes that the relay has not answered yet, for another phone to carry.
    ///
    /// # Errors
    /// When the storage fails.
    pub fn unanswered(&self, limit: usize) -> ReplicaResult<Vec<Envelope>, S> {
        let meta = self.meta()?;
        let rows = self
            .store
            .envelopes_from(&meta.device(), meta.incarnation, 1, usize::MAX)
            .map_err(ReplicaError::Store)?;
        let open = rows.into_iter().filter(|row| row.answers.is_none());
        Ok(open.take(limit).map(|row| row.envelope).collect())
    }
}

impl<S: ReplicaStore> Staged<'_, S> {
    /// A twin's envelope stands in the place of ours: its intents are done again. What follows it in that
    /// chain has the same fate, but stays open until it has been offered too: only so does the relay learn
    /// that its changes will never come, and says so to whoever built on them.
    pub(super) fn taken_by_a_twin(&mut self, row: &EnvelopeRow, now: i64) -> ReplicaResult<(), S> {
        let body = row.envelope.peek().map_err(|_| ReplicaError::Damaged)?;
        let groups = vec![Answer::Orphaned { by: TWIN }; body.groups.len()];
        self.note_answers(row.clone(), groups.clone());
        for group in 0..groups.len() {
            self.doom_upon(row, group)?;
        }
        row.docs.iter().try_for_each(|doc| self.rebuild(*doc))?;
        for (group, given) in groups.iter().enumerate() {
            self.follow_up(row, group, given, now)?;
        }
        Ok(())
    }

    /// What became of somebody else's envelope that we offered.
    pub(super) fn carried_answered(
        &mut self,
        row: EnvelopeRow,
        groups: Vec<Answer>,
    ) -> ReplicaResult<(), S> {
        if groups.iter().any(|a| matches!(a, Answer::Waiting { .. })) {
            return Ok(());
        }
        let body = row.envelope.peek().map_err(|_| ReplicaError::Damaged)?;
        for (entries, given) in body.groups.iter().zip(&groups) {
            if let Answer::Accepted { seq, folio } = given {
                // Our own work may stand on it, and the log brings it only later.
                self.accepted_early(entries, *seq, *folio)?;
            }
        }
        let docs = row.docs.clone();
        self.note_answers(row, groups);
        docs.into_iter().try_for_each(|doc| self.rebuild(doc))
    }

    /// Shows carried work on a document that this device holds, or that the envelope creates.
    pub(super) fn show_carried(&mut self, doc: DocId) -> ReplicaResult<(), S> {
        if self.doc(&doc)?.is_some() {
            return self.rebuild(doc);
        }
        let mut shown = crate::document::Document::empty();
        let mut provisional = 0;
        for envelope in self.open_envelopes_of(&doc)? {
            for raw in changes_of(&envelope, &doc)? {
                provisional += u32::from(lay(&mut shown, &raw));
            }
        }
        let Ok(summary) = shown.summary() else {
            return Ok(());
        };
        if provisional == 0 || super::own_scopes(&self.held, summary.scopes()).is_empty() {
            // Outside our scopes: carried opaque, not shown.
            return Ok(());
        }
        self.put_doc(super::DocRow {
            doc,
            accepted: None,
            accepted_heads: Vec::new(),
            accepted_scopes: Vec::new(),
            shown: Some(shown.save()),
            summary,
            creation_seq: None,
            folio: None,
            provisional,
            quarantined: false,
        });
        Ok(())
    }
}
