//! Authoring: an intent becomes changes, one envelope, and one atomic commit.

use super::layers::{contents_of, open_accepted, renew};
use super::staged::{Finished, Staged};
use super::{Change, DocRow, EnvelopeRow, IntentRow, IntentState, Meta, Replica, ReplicaError};
use super::{ReplicaResult, ReplicaStore};
use crate::codec;
use crate::document::{Document, MadeChange};
use crate::envelope::{ChainContext, Entry, Envelope, EnvelopeBody, Part, PartKind};
use crate::fold::EventKind;
use crate::gate::{caps, chunk};
use crate::ids::{DocId, RecordId};
use crate::intent::{Edit, Intent, NewPetition, RecordDraft};
use crate::policy::{self, Denial, Rule};
use crate::record::{By, Comment, Event, Record};
use crate::seal::{self, Entropy, Petitioner};

/// What a person just saved.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Saved {
    /// The intent, which is also the key of its records.
    pub intent: RecordId,
    /// The documents it touched.
    pub docs: Vec<DocId>,
}

/// One intent, worked out but not yet written.
struct Draft {
    entries: Vec<Entry>,
    rows: Vec<DocRow>,
}

impl<S: ReplicaStore> Replica<S> {
    /// Captures a petition. When this returns it is durable: the screen may say "guardado".
    ///
    /// # Errors
    /// Policy's denial (an empty subject, a foreign block…), or the storage's failure: then nothing
    /// is kept and the caller still has the form.
    pub fn capture(
        &mut self,
        mut petition: NewPetition,
        petitioner: Option<&Petitioner>,
        now: i64,
        entropy: &mut dyn Entropy,
    ) -> ReplicaResult<Saved, S> {
        let mut staged = self.stage()?;
        let record = staged.meta.take_record();
        if petition.block.is_none() {
            petition.block = staged.meta.block;
        }
        let mut contents = Vec::new();
        if let Some(person) = petitioner {
            let (commitment, sealed) = seal::seal(person, &record, &staged.meta.seal_key, entropy)?;
            petition.petitioner = Some(commitment);
            contents.push((PartKind::Petitioner, sealed));
            contents.push((PartKind::MaskedName, person.masked_name().into_bytes()));
        }
        let by = author_of(&staged.meta, now);
        let intent = Intent::Capture {
            by,
            petition: Box::new(petition),
            sealed_in: None,
        };
        let docs = staged.write(record, &intent, contents, now)?;
        let finished = staged.finish();
        self.keep(finished, record, docs)
    }

    /// Adds an event to each of the petitions: one act, accepted whole or not at all.
    ///
    /// # Errors
    /// As [`Replica::capture`].
    pub fn act(
        &mut self,
        docs: &[DocId],
        now: i64,
        fill: impl FnOnce(&mut Event),
        kind: EventKind,
    ) -> ReplicaResult<Saved, S> {
        let meta = self.meta()?;
        let mut event = Event::new(author_of(meta, now), kind);
        fill(&mut event);
        self.add(docs, &[Record::Event(event)], now)
    }

    /// Comments on a petition.
    ///
    /// # Errors
    /// As [`Replica::capture`].
    pub fn comment(&mut self, doc: DocId, text: &str, now: i64) -> ReplicaResult<Saved, S> {
        let by = author_of(self.meta()?, now);
        self.add(
            &[doc],
            &[Record::Comment(Comment {
                by,
                text: text.to_owned(),
            })],
            now,
        )
    }

    /// Adds the same records to each of the documents, as one intent.
    ///
    /// # Errors
    /// As [`Replica::capture`].
    pub fn add(&mut self, docs: &[DocId], records: &[Record], now: i64) -> ReplicaResult<Saved, S> {
        let records = records.iter().map(RecordDraft::from).collect();
        self.write(
            &Intent::Add {
                docs: docs.to_vec(),
                records,
            },
            now,
        )
    }

    /// Corrects plain fields of a petition.
    ///
    /// # Errors
    /// As [`Replica::capture`].
    pub fn correct(&mut self, doc: DocId, edits: Vec<Edit>, now: i64) -> ReplicaResult<Saved, S> {
        self.write(&Intent::Correct { doc, edits }, now)
    }

    /// Sends an intent that waits in "Por corregir" again, corrected: under the same record id, with the
    /// sealed data that its first envelope carried.
    ///
    /// # Errors
    /// As [`Replica::capture`]; it then goes on waiting.
    pub fn resend(
        &mut self,
        id: &RecordId,
        mut corrected: Intent,
        now: i64,
    ) -> ReplicaResult<Saved, S> {
        let mut staged = self.stage()?;
        let row = staged.intent(id)?;
        let row = row.filter(|row| matches!(row.state, IntentState::ToCorrect { .. }));
        let row = row.ok_or(ReplicaError::UnknownDocument)?;
        let mut contents = Vec::new();
        if let Intent::Capture { sealed_in, .. } = &mut corrected
            && let Some((incarnation, n)) = sealed_in.take()
        {
            let device = staged.meta.device();
            let envelope = staged.envelope((device, incarnation, n))?;
            contents = envelope.as_ref().map(contents_of).unwrap_or_default();
        }
        renew(&mut corrected, &staged.meta);
        staged.meta.next_actor();
        let docs = staged.write(*id, &corrected, contents, now)?;
        staged.follow_capture(&corrected, &row.docs, &docs, now)?;
        staged.changed(Change::ToCorrect);
        let finished = staged.finish();
        self.keep(finished, *id, docs)
    }

    /// Closes an intent that waits in "Por corregir": the person corrected and sent it again, or
    /// gives it up.
    ///
    /// # Errors
    /// When there is no such intent.
    pub fn close_correction(&mut self, id: &RecordId) -> ReplicaResult<(), S> {
        let row = self.store.intent(id).map_err(ReplicaError::Store)?;
        let mut row = row.ok_or(ReplicaError::UnknownDocument)?;
        row.state = IntentState::Closed;
        let mut staged = self.stage()?;
        staged.put_intent(row);
        let finished = staged.finish();
        self.commit(finished)?;
        self.changes.push(Change::ToCorrect);
        Ok(())
    }

    fn write(&mut self, intent: &Intent, now: i64) -> ReplicaResult<Saved, S> {
        let mut staged = self.stage()?;
        let record = staged.meta.take_record();
        let docs = match staged.write(record, intent, Vec::new(), now) {
            Err(ReplicaError::Document(error)) => {
                // One of them does not open: it is set apart and asked for before the person is told.
                for doc in intent.docs() {
                    self.open_document(&doc)?;
                }
                return Err(ReplicaError::Document(error));
            }
            written => written?,
        };
        let finished = staged.finish();
        self.keep(finished, record, docs)
    }

    fn keep(
        &mut self,
        finished: Finished,
        intent: RecordId,
        docs: Vec<DocId>,
    ) -> ReplicaResult<Saved, S> {
        self.commit(finished)?;
        self.changes.push(Change::Status);
        Ok(Saved { intent, docs })
    }
}

impl<S: ReplicaStore> Staged<'_, S> {
    /// Works an intent out, signs its envelope and stages everything.
    pub(super) fn write(
        &mut self,
        id: RecordId,
        intent: &Intent,
        contents: Vec<(PartKind, Vec<u8>)>,
        now: i64,
    ) -> ReplicaResult<Vec<DocId>, S> {
        let draft = self.draft(id, intent)?;
        Ok(self.seal_up(id, intent, draft, contents, now))
    }

    /// Works an intent out on what is shown, and asks policy as the relay will.
    fn draft(&self, id: RecordId, intent: &Intent) -> ReplicaResult<Draft, S> {
        let actor = self.meta.current_actor();
        let mut draft = Draft {
            entries: Vec::new(),
            rows: Vec::new(),
        };
        match intent {
            Intent::Capture { by, petition, .. } => {
                let event = Event::new(*by, EventKind::Recorded);
                let (document, doc, made) = Document::create_petition(actor, id, petition, event)?;
                let change = decoded(&made)?;
                policy::check(&self.meta.facts(), None, &change)?;
                draft.push(None, doc, &document, vec![made])?;
            }
            Intent::Add { docs, records } => {
                let records: Vec<Record> = records.iter().filter_map(RecordDraft::record).collect();
                for doc in docs {
                    self.draft_change(&mut draft, *doc, |document| {
                        document.add_records(actor, id, &records)
                    })?;
                }
            }
            Intent::Correct { doc, edits } => {
                self.draft_change(&mut draft, *doc, |document| document.edit(actor, edits))?;
            }
        }
        Ok(draft)
    }

    fn draft_change(
        &self,
        draft: &mut Draft,
        doc: DocId,
        make: impl FnOnce(&mut Document) -> Result<MadeChange, crate::document::DocumentError>,
    ) -> ReplicaResult<(), S> {
        let row = self.doc(&doc)?.filter(|row| !row.bytes().is_empty());
        let row = row.ok_or(ReplicaError::UnknownDocument)?;
        let mut document = match &row.shown {
            Some(shown) => Document::load(shown)?,
            None => open_accepted(&row)?,
        };
        // Seventy people who comment with no network leave seventy heads; a change names few.
        let mut changes = document.join_heads(self.meta.current_actor())?;
        let (before, base) = (document.view()?, document.clone());
        let made = make(&mut document)?;
        let change = decoded(&made)?;
        policy::check(&self.meta.facts(), Some(&before), &change)?;
        let bytes = row.bytes().len() + changes.iter().map(|made| made.bytes.len()).sum::<usize>();
        caps::check(&base, &change, &made.bytes, bytes).map_err(Denial::from)?;
        changes.push(made);
        draft.push(Some(row), doc, &document, changes)?;
        Ok(())
    }

    /// Signs the envelope of a draft and stages all that must be written with it.
    fn seal_up(
        &mut self,
        id: RecordId,
        intent: &Intent,
        draft: Draft,
        contents: Vec<(PartKind, Vec<u8>)>,
        now: i64,
    ) -> Vec<DocId> {
        let docs: Vec<DocId> = draft.rows.iter().map(|row| row.doc).collect();
        let parts: Vec<Vec<u8>> = contents
            .into_iter()
            .filter_map(|(kind, content)| {
                docs.first().map(|doc| {
                    codec::encode(&Part {
                        kind,
                        doc: *doc,
                        content,
                    })
                })
            })
            .collect();
        let meta = &mut self.meta;
        let body = EnvelopeBody {
            n: meta.last_n + 1,
            device_time: now,
            city_head: meta.city_head,
            groups: vec![draft.entries],
            detached: parts.iter().map(|part| Part::hash(part)).collect(),
        };
        let context = ChainContext {
            city: meta.city(),
            device: meta.device(),
            incarnation: meta.incarnation,
            prev: meta.last_hash,
            grant: meta.grant.id(),
        };
        let envelope = Envelope::sign(context, &body, parts, &meta.key());
        let hash = envelope.hash();
        (meta.last_n, meta.last_hash) = (body.n, hash);
        let mut intent = intent.clone();
        if let Intent::Capture { sealed_in, .. } = &mut intent {
            *sealed_in = (!body.detached.is_empty()).then_some((meta.incarnation, body.n));
        }
        let state = IntentState::Pending {
            incarnation: meta.incarnation,
            n: body.n,
            group: 0,
        };
        self.put_envelope(EnvelopeRow {
            envelope,
            n: body.n,
            hash,
            answers: None,
            docs: docs.clone(),
        });
        self.put_intent(IntentRow {
            id,
            intent: codec::encode(&intent),
            state,
            docs: docs.clone(),
        });
        draft.rows.into_iter().for_each(|row| self.put_doc(row));
        docs
    }
}

impl Draft {
    fn push(
        &mut self,
        row: Option<DocRow>,
        doc: DocId,
        document: &Document,
        made: Vec<MadeChange>,
    ) -> Result<(), crate::document::DocumentError> {
        let summary = document.summary()?;
        let mut row = row.unwrap_or_else(|| DocRow {
            doc,
            accepted: None,
            accepted_heads: Vec::new(),
            accepted_scopes: Vec::new(),
            shown: None,
            summary: summary.clone(),
            creation_seq: None,
            folio: None,
            provisional: 0,
            quarantined: false,
        });
        row.shown = Some(document.save());
        row.summary = summary;
        row.provisional += u32::try_from(made.len()).unwrap_or(u32::MAX);
        self.rows.push(row);
        let entries = made.into_iter().map(|made| Entry {
            doc,
            change: made.bytes,
        });
        self.entries.extend(entries);
        Ok(())
    }
}

fn decoded(made: &MadeChange) -> Result<chunk::DecodedChange, Denial> {
    chunk::decode_change(&made.bytes).map_err(|_| Rule::BadChange.into())
}

fn author_of(meta: &Meta, now: i64) -> By {
    By {
        user: meta.granted.user,
        role: meta.granted.role,
        at: now,
    }
}
