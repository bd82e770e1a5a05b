//! The sync machine: frames in, frames out. One session at a time; everything durable outlives it.

use minicbor::bytes::ByteVec;

use super::layers::{Applied, changes_of, hash_of, lay};
use super::staged::{Staged, key_of};
use super::{Change, EnvelopeRow, IntentState, Replica, ReplicaError, ReplicaResult};
use super::{ReplicaStore, Write, held_scopes, is_clash};
use crate::answer::{Answer, EnvelopeAnswer, SignedReceipt};
use crate::codec;
use crate::digest::SignedDigest;
use crate::document::SCHEMA;
use crate::envelope::Envelope;
use crate::grant::{Scope, SignedGrant};
use crate::ids::{DeviceId, DocId, Hash, Seq};
use crate::keys::Purpose;
use crate::limits::SEGMENT_INFLATED;
use crate::seal::Entropy;
use crate::wire::{Down, Fill, Hello, Item, PROTOCOL_VERSION, PackedDoc, Position, Up};

/// Own envelopes pushed and not yet answered: keeps memory bounded at both ends.
const PUSH_WINDOW: u64 = 128;
/// Envelopes with their own context offered per load.
const CARRY_BATCH: usize = 64;
/// Answers are acknowledged when this many are durable, and at every hello.
const ACKNOWLEDGE_EVERY: u64 = 32;

/// What stands for the change below, when a twin's envelope took the place of ours.
const TWIN: Hash = Hash([0; 32]);

/// A frame that the relay had no business sending: the session ends, nothing is harmed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ProtocolError {
    /// A signature, city, epoch or hash that does not fit.
    #[error("the relay sent something that does not verify")]
    Unverified,
    /// Bytes that do not decode or are too large.
    #[error("the relay sent malformed data")]
    Malformed,
    /// Another version of the protocol.
    #[error("the relay speaks another version of the protocol")]
    Version,
}

/// Time and randomness, handed in by the runtime.
pub struct Surroundings<'a> {
    /// The device's clock, milliseconds UTC.
    pub now: i64,
    /// Randomness for a new incarnation.
    pub entropy: &'a mut dyn Entropy,
}

impl core::fmt::Debug for Surroundings<'_> {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(f, "Surroundings({})", self.now)
    }
}

impl<S: ReplicaStore> Replica<S> {
    /// Begins a session: what rides in the upgrade request, with the signature over nonce and hello.
    ///
    /// # Errors
    /// When the device is not enrolled.
    pub fn hello(&mut self, nonce: &[u8]) -> ReplicaResult<(Vec<u8>, [u8; 64]), S> {
        self.session = super::Session::default();
        let meta = self.meta()?;
        let spoken = meta.incarnation;
        let hello = codec::encode(&Hello {
            version: PROTOCOL_VERSION,
            schema: SCHEMA,
            incarnation: meta.incarnation,
            position: meta.position.clone(),
            answers_seen: meta.answers_seen,
        });
        let signed = [nonce, &hello].concat();
        let signature = meta.key().sign(Purpose::Session, &signed);
        self.session.spoken = spoken;
        Ok((hello, signature))
    }

    /// The session is over; nothing durable changes.
    pub fn hang_up(&mut self) {
        self.session = super::Session::default();
        self.changes.push(Change::Status);
    }

    /// The next frame to send, if there is one now. Ask after every [`Replica::handle`] and after every
    /// capture; never more than a bounded number of unanswered envelopes are in flight.
    ///
    /// # Errors
    /// When the storage fails.
    pub fn next_up(&mut self) -> ReplicaResult<Option<Up>, S> {
        if !self.session.live {
            return Ok(None);
        }
        if !self.session.queue.is_empty() {
            return Ok(Some(self.session.queue.remove(0)));
        }
        if let Some(envelope) = self.session.carried.pop() {
            return Ok(Some(Up::Carry {
                envelope: codec::encode(&envelope).into(),
            }));
        }
        self.next_push()
    }

    fn next_push(&mut self) -> ReplicaResult<Option<Up>, S> {
        let meta = self.meta()?;
        let (device, incarnation) = (meta.device(), meta.incarnation);
        let grant = meta.grant.id();
        if self.session.sent >= meta.last_n || self.session.sent >= self.session.have + PUSH_WINDOW
        {
            return Ok(None);
        }
        let n = self.session.sent + 1;
        let row = self
            .store
            .envelope(&device, incarnation, n)
            .map_err(ReplicaError::Store)?;
        let row = row.ok_or(ReplicaError::Damaged)?;
        self.session.sent = n;
        if incarnation != self.session.spoken || row.envelope.context.grant != grant {
            // The session implies an earlier incarnation, or the grant of today: what was signed under
            // another one brings its own context.
            return Ok(Some(self.offer(&row)));
        }
        let Envelope {
            body,
            signature,
            parts,
            ..
        } = row.envelope;
        Ok(Some(Up::Push {
            body: body.into(),
            signature,
            parts,
        }))
    }

    fn offer(&mut self, row: &EnvelopeRow) -> Up {
        self.session.offered.insert(row.hash, key_of(row));
        Up::Carry {
            envelope: codec::encode(&row.envelope).into(),
        }
    }

    /// Takes one frame from the relay. Everything it brings is committed before this returns.
    ///
    /// # Errors
    /// The storage's; `Ok(Err(…))` when the relay broke the protocol and the session should end.
    pub fn handle(
        &mut self,
        frame: Down,
        around: &mut Surroundings<'_>,
    ) -> ReplicaResult<Result<(), ProtocolError>, S> {
        match frame {
            Down::Welcome {
                version,
                epoch,
                time,
                have,
                have_hash,
                grant,
                nonce,
                ..
            } => {
                if version != PROTOCOL_VERSION {
                    return Ok(Err(ProtocolError::Version));
                }
                self.welcome(epoch, time, (have, have_hash), grant, nonce, around)
            }
            Down::Gap { have, have_hash } => self.align(have, have_hash, around).map(Ok),
            Down::Receipt { receipt } => self.receipt(&receipt, around.now),
            Down::Log { to, items } => self.log(to, items),
            Down::Pack {
                fill,
                done,
                segment,
            } => self.pack(fill, done, &segment),
            Down::Whole { id, doc } => self.whole(id, doc),
            Down::Digest { digest } => self.compare(&digest),
            Down::Carried { hash, groups } => self.carried(hash, groups, around.now),
            Down::Bye { .. } => {
                self.hang_up();
                Ok(Ok(()))
            }
        }
    }

    fn welcome(
        &mut self,
        epoch: u32,
        time: i64,
        have: (u64, Hash),
        grant: SignedGrant,
        nonce: ByteVec,
        around: &mut Surroundings<'_>,
    ) -> ReplicaResult<Result<(), ProtocolError>, S> {
        let mut staged = self.stage()?;
        let Ok(granted) = grant.open(&staged.meta.root) else {
            return Ok(Err(ProtocolError::Unverified));
        };
        if granted.device_key != staged.meta.granted.device_key {
            return Ok(Err(ProtocolError::Unverified));
        }
        staged.meta.nonce = nonce;
        staged.meta.city_time = staged.meta.city_time.max(time);
        if staged.meta.position.epoch != epoch {
            // Another epoch: what is held stays, and every scope is compared from its start.
            staged.meta.position = Position {
                epoch,
                ..Position::default()
            };
            staged.meta.ahead = 0;
        }
        staged.narrow_to(held_scopes(&granted))?;
        (staged.meta.grant, staged.meta.granted) = (grant, granted);
        let finished = staged.finish();
        self.commit(finished)?;
        self.align(have.0, have.1, around)?;
        self.session.live = true;
        self.load_carried()?;
        self.changes.push(Change::Status);
        Ok(Ok(()))
    }

    /// Compares the relay's end of our chain with ours. If it is not a part of ours, the store was
    /// rolled back or has a twin: a new incarnation begins, and what was never answered is offered
    /// with its own context.
    fn align(
        &mut self,
        have: u64,
        have_hash: Hash,
        around: &mut Surroundings<'_>,
    ) -> ReplicaResult<(), S> {
        let meta = self.meta()?;
        let ours = match have {
            0 => Some(Hash([0; 32])),
            n => self
                .store
                .envelope(&meta.device(), meta.incarnation, n)
                .map_err(ReplicaError::Store)?
                .map(|row| row.hash),
        };
        if ours == Some(have_hash) {
            self.session.sent = have;
            self.session.have = have;
            self.session.doubted = self.session.doubted.max(have);
        } else {
            self.begin_incarnation(around.entropy)?;
            (self.session.sent, self.session.have) = (0, 0);
            self.load_carried()?;
        }
        Ok(())
    }

    /// Loads envelopes with their own context that were not offered in this session.
    fn load_carried(&mut self) -> ReplicaResult<(), S> {
        let mut rows = self.carried_rows(CARRY_BATCH + self.session.offered.len())?;
        rows.retain(|row| !self.session.offered.contains_key(&row.hash));
        rows.truncate(CARRY_BATCH);
        self.put_on_offer(rows);
        Ok(())
    }

    fn put_on_offer(&mut self, rows: Vec<EnvelopeRow>) {
        // Taken from the end: the first one stored goes first.
        for row in rows.into_iter().rev() {
            self.session.offered.insert(row.hash, key_of(&row));
            self.session.carried.push(row.envelope);
        }
    }

    /// Offers what the relay had when the session began and has said nothing about by the time it has
    /// said everything: its answers were acknowledged by a twin, or by a life of the store that is lost.
    fn ask_again(&mut self) -> ReplicaResult<(), S> {
        let doubted = core::mem::take(&mut self.session.doubted);
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

    fn carried_rows(&self, limit: usize) -> ReplicaResult<Vec<EnvelopeRow>, S> {
        let meta = self.meta()?;
        self.store
            .carried(&meta.device(), meta.incarnation, limit)
            .map_err(ReplicaError::Store)
    }

    fn receipt(
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
        if seen >= self.session.acknowledged + ACKNOWLEDGE_EVERY {
            self.session.acknowledged = seen;
            self.session.queue.push(Up::Seen { answers: seen });
        }
        Ok(Ok(()))
    }

    fn log(&mut self, to: Seq, items: Vec<Item>) -> ReplicaResult<Result<(), ProtocolError>, S> {
        let mut staged = self.stage()?;
        let mut wanted = Vec::new();
        for item in items {
            if let Some(doc) = staged.item(item)? {
                wanted.push(doc);
            }
        }
        staged.meta.position.seq = staged.meta.position.seq.max(to);
        let filling = !staged.meta.position.fills.is_empty()
            || staged.meta.position.scopes.len() < staged.held.len();
        let finished = staged.finish();
        self.commit(finished)?;
        // While a scope fills, the pack brings the base; afterwards a missing base is asked for.
        if !filling {
            for doc in wanted {
                if self.session.wanted.insert(doc) {
                    self.session.queue.push(Up::Want { doc });
                }
            }
        }
        Ok(Ok(()))
    }

    fn pack(
        &mut self,
        fill: Fill,
        done: bool,
        segment: &[u8],
    ) -> ReplicaResult<Result<(), ProtocolError>, S> {
        let Some(docs) = inflate(segment) else {
            return Ok(Err(ProtocolError::Malformed));
        };
        let mut staged = self.stage()?;
        if !staged.held.contains(&fill.scope) {
            return Ok(Ok(()));
        }
        for doc in &docs {
            staged.install(doc)?;
        }
        let mended = done && staged.meta.drifted.contains(&fill.scope);
        let position = &mut staged.meta.position;
        position.fills.retain(|other| other.scope != fill.scope);
        if done {
            staged.meta.drifted.retain(|scope| *scope != fill.scope);
            let position = &mut staged.meta.position;
            if !position.scopes.contains(&fill.scope) {
                position.scopes.push(fill.scope);
                position.scopes.sort_unstable();
            }
        } else {
            position.fills.push(fill);
        }
        if mended && staged.meta.drifted.is_empty() {
            staged.drop_strays()?;
        }
        staged.changed(Change::Status);
        let finished = staged.finish();
        self.commit(finished)?;
        Ok(Ok(()))
    }

    fn whole(
        &mut self,
        id: DocId,
        doc: Option<PackedDoc>,
    ) -> ReplicaResult<Result<(), ProtocolError>, S> {
        self.session.wanted.remove(&id);
        let mut staged = self.stage()?;
        match doc {
            Some(doc) if doc.doc == id => staged.install(&doc)?,
            Some(_) => return Ok(Err(ProtocolError::Malformed)),
            None => staged.leave(id)?,
        }
        let finished = staged.finish();
        self.commit(finished)?;
        Ok(Ok(()))
    }

    /// Drift check: compares a signed digest with ours, at our own position, over the accepted layer.
    fn compare(&mut self, digest: &SignedDigest) -> ReplicaResult<Result<(), ProtocolError>, S> {
        let meta = self.meta()?;
        let Some(body) = digest.open(&meta.relay_key) else {
            return Ok(Err(ProtocolError::Unverified));
        };
        let position = &meta.position;
        let here = body.epoch == position.epoch
            && body.seq == position.seq
            && meta.ahead <= position.seq
            && position.scopes.contains(&body.scope);
        let mut staged = self.stage()?;
        staged.meta.city_head = staged.meta.city_head.max(body.seq);
        let differs = here && staged.digest(&body.scope)?.digest() != body.digest;
        // A fill that did not mend it once will not mend it twice.
        let drifted = differs && !self.session.drifted.contains(&body.scope);
        if drifted {
            staged.meta.drifted.push(body.scope.clone());
            // Read it again from its start; what is held stays until then.
            staged
                .meta
                .position
                .scopes
                .retain(|scope| *scope != body.scope);
            staged.forget_scope(&body.scope)?;
        }
        let finished = staged.finish();
        self.commit(finished)?;
        if drifted {
            self.session.drifted.push(body.scope.clone());
            self.session.queue.push(Up::Drift { scope: body.scope });
        }
        self.ask_again()?;
        Ok(Ok(()))
    }

    /// What became of an envelope that was offered with its own context.
    fn carried(
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
        if device != staged.meta.device() {
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
    /// What the answer to one of our envelopes means for documents and intents.
    fn answered(
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
                Answer::Orphaned { by } => self.bury(by, &row.docs)?,
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

    /// A twin's envelope stands in the place of ours. So none of that chain from here on can follow:
    /// all of it is closed first, so that nothing is built on it, then its intents are done again.
    fn taken_by_a_twin(&mut self, row: &EnvelopeRow, now: i64) -> ReplicaResult<(), S> {
        let (device, incarnation, n) = key_of(row);
        let rows = self
            .store()
            .envelopes_from(&device, incarnation, n, usize::MAX)
            .map_err(ReplicaError::Store)?;
        let mut dead = Vec::new();
        for row in rows.into_iter().filter(|row| row.answers.is_none()) {
            let groups = row.envelope.peek().map_err(|_| ReplicaError::Damaged)?;
            let groups = vec![Answer::Orphaned { by: TWIN }; groups.groups.len()];
            self.note_answers(row.clone(), groups.clone());
            dead.push((row, groups));
        }
        for (row, _) in &dead {
            row.docs.iter().try_for_each(|doc| self.rebuild(*doc))?;
        }
        for (row, groups) in &dead {
            for (group, given) in groups.iter().enumerate() {
                self.follow_up(row, group, given, now)?;
            }
        }
        Ok(())
    }

    /// What became of somebody else's envelope that we offered.
    fn carried_answered(&mut self, row: EnvelopeRow, groups: Vec<Answer>) -> ReplicaResult<(), S> {
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

    /// Applies accepted changes that we have without waiting for the stream, where their base is here.
    /// Those without it come by the stream.
    fn accepted_early(
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

    fn follow_up(
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
    fn intent_of(
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

    /// One item of the log. Answers the document whose base is missing.
    fn item(&mut self, item: Item) -> ReplicaResult<Option<DocId>, S> {
        match item {
            Item::Change {
                seq,
                doc,
                change,
                folio,
            } => {
                let applied = self.accept_change(doc, &change, Some(seq), folio)?;
                Ok((applied == Applied::NoBase).then_some(doc))
            }
            Item::Own {
                seq,
                doc,
                hash,
                folio,
            } => self.own(seq, doc, hash, folio),
            Item::Enter { doc, .. } => self.install(&doc).map(|()| None),
            Item::Leave { doc, .. } => self.leave(doc).map(|()| None),
        }
    }

    /// Our own change comes by: usually the receipt was faster and there is nothing left to do.
    fn own(
        &mut self,
        seq: Seq,
        doc: DocId,
        hash: Hash,
        folio: Option<u64>,
    ) -> ReplicaResult<Option<DocId>, S> {
        let row = self.doc(&doc)?;
        if let Some(saved) = row.as_ref().and_then(|row| row.accepted.as_deref())
            && crate::document::Document::load(saved)?.has(&hash)
        {
            return Ok(None);
        }
        for envelope in self.open_envelopes_of(&doc)? {
            for raw in changes_of(&envelope, &doc)? {
                if hash_of(&raw) == Some(hash) {
                    let applied = self.accept_with_base(doc, &raw, seq, folio)?;
                    return Ok((applied == Applied::NoBase).then_some(doc));
                }
            }
        }
        // The store was rolled back and has forgotten it: the whole document brings it back.
        Ok(Some(doc))
    }

    /// The grant's scopes as they are now: what is no longer ours goes.
    fn narrow_to(&mut self, scopes: Vec<Scope>) -> ReplicaResult<(), S> {
        let gone: Vec<Scope> = self
            .held
            .iter()
            .filter(|scope| !scopes.contains(scope))
            .cloned()
            .collect();
        for scope in gone {
            self.meta.position.scopes.retain(|other| *other != scope);
            self.meta.position.fills.retain(|fill| fill.scope != scope);
            for doc in self.store().docs_in(&scope).map_err(ReplicaError::Store)? {
                self.leave_scope(doc, &scope)?;
            }
            self.drop_digest(scope);
        }
        self.held = scopes;
        Ok(())
    }

    /// Counts a scope from nothing again, before it is filled anew. Its documents stay.
    fn forget_scope(&mut self, scope: &Scope) -> ReplicaResult<(), S> {
        for doc in self.store().docs_in(scope).map_err(ReplicaError::Store)? {
            if let Some(mut row) = self.doc(&doc)? {
                row.accepted_scopes.retain(|other| other != scope);
                self.put_doc(row);
            }
        }
        *self.digest(scope)? = crate::digest::SetHash::default();
        Ok(())
    }

    /// After all that differed was filled again: what no fill brought is not ours any more.
    fn drop_strays(&mut self) -> ReplicaResult<(), S> {
        let mut rows = self.store().list().map_err(ReplicaError::Store)?;
        rows.retain(|row| row.accepted_scopes.is_empty() && row.provisional == 0);
        for row in rows {
            // What this very segment brought is staged, not stored.
            if let Some(row) = self.doc(&row.doc)?
                && row.accepted.is_some()
                && row.accepted_scopes.is_empty()
                && row.provisional == 0
            {
                self.drop_doc(row.doc);
            }
        }
        Ok(())
    }

    /// Shows carried work on a document that this device holds, or that the envelope creates.
    fn show_carried(&mut self, doc: DocId) -> ReplicaResult<(), S> {
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

/// Inflates a segment within its limit and reads it.
fn inflate(segment: &[u8]) -> Option<Vec<PackedDoc>> {
    let bytes = zstd::bulk::decompress(segment, SEGMENT_INFLATED).ok()?;
    codec::decode(&bytes).ok()
}
