//! The two layers of a document: what the city's log holds, and the provisional work on top.

use std::collections::{BTreeMap, BTreeSet};
use std::iter;

use super::staged::{Staged, key_of};
use super::{DocRow, EnvelopeRow, IntentRow, IntentState, Meta, ReplicaError, ReplicaResult};
use super::{ReplicaStore, own_scopes};
use crate::answer::Answer;
use crate::codec;
use crate::digest::SetHash;
use crate::document::{Document, DocumentError};
use crate::envelope::{Entry, Part, PartKind};
use crate::gate::chunk::{self, DecodedChange};
use crate::gate::fit::Misfit;
use crate::grant::Scope;
use crate::ids::{DocId, Hash, Seq};
use crate::intent::Intent;
use crate::limits::DOC_BYTES;
use crate::policy::Rule;
use crate::relay::intake;
use crate::summary::Summary;
use crate::wire::PackedDoc;

/// What taking a whole document came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Installed {
    /// The accepted layer is what came.
    Whole,
    /// It holds changes beside those that came.
    More,
    /// It cannot be opened here.
    Not,
}

/// What applying an accepted change came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Applied {
    /// It is in the accepted layer now (or was already).
    Done,
    /// Its base is not here: ask for the whole document.
    NoBase,
}

impl<S: ReplicaStore> Staged<'_, S> {
    /// Lays one accepted change onto the accepted layer and the provisional work back on top.
    pub(super) fn accept_change(
        &mut self,
        doc: DocId,
        raw: &[u8],
        seq: Option<Seq>,
        folio: Option<u64>,
    ) -> ReplicaResult<Applied, S> {
        let Some(change) = decode(raw) else {
            return self.quarantine(doc);
        };
        let creation = change.deps.is_empty();
        let row = self.doc(&doc)?;
        let in_question = row.as_ref().is_some_and(|row| row.quarantined);
        if in_question || !creation && row.as_ref().is_none_or(|row| row.accepted.is_none()) {
            return Ok(Applied::NoBase);
        }
        let mut accepted = match &row {
            Some(row) => match open_accepted(row) {
                Ok(document) => document,
                Err(_) => return self.quarantine(doc),
            },
            None => Document::empty(),
        };
        match accepted.check_fit(&change) {
            Ok(()) => {
                if accepted.apply(raw).is_err() {
                    return self.quarantine(doc);
                }
            }
            Err(Misfit::AlreadyKnown) => {}
            Err(Misfit::MissingDep) => return Ok(Applied::NoBase),
            Err(_) => return self.quarantine(doc),
        }
        let creation_seq = seq.filter(|_| creation);
        self.settle(doc, row, &accepted, creation_seq, folio)?;
        Ok(Applied::Done)
    }

    /// Lays an accepted change onto the accepted layer together with those below it that are only in
    /// open envelopes here: what is below an accepted change is accepted.
    pub(super) fn accept_with_base(
        &mut self,
        doc: DocId,
        raw: &[u8],
        seq: Seq,
        folio: Option<u64>,
    ) -> ReplicaResult<Applied, S> {
        let mut open = BTreeMap::new();
        for envelope in self.open_envelopes_of(&doc)? {
            let raws = changes_of(&envelope, &doc)?.into_iter();
            open.extend(raws.filter_map(|raw| Some((hash_of(&raw)?, raw))));
        }
        let mut todo = vec![raw.to_vec()];
        while let Some(next) = todo.last() {
            let (seq, folio) = match todo.len() {
                1 => (Some(seq), folio),
                _ => (None, None),
            };
            if self.accept_change(doc, next, seq, folio)? == Applied::Done {
                todo.pop();
                continue;
            }
            let deps = chunk::decode_change(next).map(|change| change.deps);
            let mut deps = deps.unwrap_or_default().into_iter().map(Hash);
            // Each is tried once, so this ends.
            match deps.find_map(|dep| open.remove(&dep)) {
                Some(base) => todo.push(base),
                None => return Ok(Applied::NoBase),
            }
        }
        Ok(Applied::Done)
    }

    /// Stores a document from a pack or an enter as it came, unopened, where nothing stands in its
    /// way here; elsewhere it is laid under what stands. It is opened and verified when somebody
    /// needs it: until then the scope's signed digest vouches for what its row says.
    pub(super) fn install(&mut self, packed: &PackedDoc, standing: bool) -> ReplicaResult<(), S> {
        let summary = Summary::from_outside(&packed.summary);
        let Some(summary) = summary.filter(|_| packed.saved.len() <= DOC_BYTES) else {
            return self.install_opened(packed).map(|_| ());
        };
        self.meta.missing.retain(|doc| *doc != packed.doc);
        let scopes = own_scopes(&self.held, summary.scopes());
        if standing {
            let row = self.doc(&packed.doc)?;
            let row = row.filter(|row| {
                !row.quarantined && row.shown.is_none() && row.accepted_heads == summary.heads
            });
            let Some(row) = row.filter(|_| !scopes.is_empty()) else {
                return self.install_opened(packed).map(|_| ());
            };
            if self.open_envelopes_of(&packed.doc)?.is_empty() {
                return self.hold_again(row, scopes, packed);
            }
            return self.install_opened(packed).map(|_| ());
        }
        if scopes.is_empty() {
            return Ok(());
        }
        self.count(&packed.doc, &summary.heads, &scopes, None)?;
        self.put_doc(DocRow {
            doc: packed.doc,
            accepted: Some(packed.saved.to_vec()),
            accepted_heads: summary.heads.clone(),
            accepted_scopes: scopes,
            shown: None,
            creation_seq: Some(packed.creation_seq),
            folio: packed.folio,
            provisional: 0,
            quarantined: false,
            summary,
        });
        Ok(())
    }

    /// What came is what is held: only the scopes that count it may be others.
    fn hold_again(
        &mut self,
        mut row: DocRow,
        scopes: Vec<Scope>,
        packed: &PackedDoc,
    ) -> ReplicaResult<(), S> {
        let told = (
            row.creation_seq.or(Some(packed.creation_seq)),
            row.folio.or(packed.folio),
        );
        if row.accepted_scopes == scopes && told == (row.creation_seq, row.folio) {
            return Ok(());
        }
        self.count(&row.doc, &row.accepted_heads, &scopes, Some(&row))?;
        row.accepted_scopes = scopes;
        (row.creation_seq, row.folio) = told;
        self.put_doc(row);
        Ok(())
    }

    /// Takes a whole document, opened: whoever asked for it needs it, or work here stands on it.
    pub(super) fn install_opened(&mut self, packed: &PackedDoc) -> ReplicaResult<Installed, S> {
        self.meta.missing.retain(|doc| *doc != packed.doc);
        let row = self.doc(&packed.doc)?;
        let fits = packed.saved.len() <= DOC_BYTES;
        let loaded = fits
            .then(|| Document::load_from_outside(&packed.saved).ok())
            .flatten();
        // A document of another kind or version than this program knows has no row it can show.
        let Some(relays) = loaded.filter(|document| document.summary().is_ok()) else {
            self.quarantine(packed.doc)?;
            return Ok(Installed::Not);
        };
        let mut accepted = relays.clone();
        // Never step back: a change that came by the log may be newer than the pack. What contradicts
        // gives way.
        let sound = row.as_ref().filter(|row| !row.quarantined);
        if let Some(held) = sound.and_then(|row| open_accepted(row).ok()) {
            let mut changes = held.changes().into_iter();
            if !changes.all(|made| accepted.apply(&made.bytes).is_ok()) {
                accepted = relays.clone();
            }
        }
        let more = accepted.heads() != relays.heads();
        let (creation_seq, folio) = (Some(packed.creation_seq), packed.folio);
        self.settle(packed.doc, row, &accepted, creation_seq, folio)?;
        Ok(if more {
            Installed::More
        } else {
            Installed::Whole
        })
    }

    /// Counts a document in the digests of these scopes instead of those it is counted in.
    fn count(
        &mut self,
        doc: &DocId,
        heads: &[Hash],
        scopes: &[Scope],
        old: Option<&DocRow>,
    ) -> ReplicaResult<(), S> {
        if let Some(old) = old {
            let mut out = SetHash::default();
            out.remove(doc, &old.accepted_heads);
            for scope in &old.accepted_scopes {
                self.digest(scope)?.merge(&out);
            }
        }
        // Expanded once, however many scopes it joins.
        let one = SetHash::of(doc, heads);
        for scope in scopes {
            self.digest(scope)?.merge(&one);
        }
        Ok(())
    }

    /// Writes a document's new accepted layer: digests, scopes, and the shown layer rebuilt.
    pub(super) fn settle(
        &mut self,
        doc: DocId,
        old: Option<DocRow>,
        accepted: &Document,
        creation_seq: Option<Seq>,
        folio: Option<u64>,
    ) -> ReplicaResult<(), S> {
        let summary = accepted.summary()?;
        let scopes = own_scopes(&self.held, summary.scopes());
        self.count(&doc, &summary.heads, &scopes, old.as_ref())?;
        self.meta.mended(&doc);
        let row = DocRow {
            doc,
            accepted: Some(accepted.save()),
            accepted_heads: summary.heads.clone(),
            accepted_scopes: scopes,
            shown: None,
            // The last word counts: a city that was put back may say something else.
            creation_seq: creation_seq.or(old.as_ref().and_then(|old| old.creation_seq)),
            folio: folio.or(old.as_ref().and_then(|old| old.folio)),
            provisional: 0,
            quarantined: false,
            summary,
        };
        self.rebuild_row(row, accepted)
    }

    /// Lays the open provisional work on top of what is accepted, in the order it came to be. Work
    /// whose base is gone stays out: its author replays it.
    pub(super) fn rebuild(&mut self, doc: DocId) -> ReplicaResult<(), S> {
        let Some(mut row) = self.doc(&doc)? else {
            return Ok(());
        };
        match open_accepted(&row) {
            Ok(base) => {
                if row.accepted.is_some() && row.shown.is_some() {
                    row.summary = base.summary()?;
                }
                self.rebuild_row(row, &base)
            }
            Err(_) => self.quarantine(doc).map(|_| ()),
        }
    }

    /// The row's summary is that of its accepted layer, if it has one: where nothing is provisional,
    /// which is nearly always, the document is neither copied nor read again.
    fn rebuild_row(&mut self, mut row: DocRow, base: &Document) -> ReplicaResult<(), S> {
        let mut shown: Option<Document> = None;
        row.provisional = 0;
        for envelope in self.open_envelopes_of(&row.doc)? {
            for raw in changes_of(&envelope, &row.doc)? {
                if self.is_doomed(&raw) {
                    continue;
                }
                let shown = shown.get_or_insert_with(|| base.clone());
                // What the accepted layer has is not provisional, although its receipt may be due.
                row.provisional += u32::from(lay(shown, &raw));
            }
        }
        row.shown = None;
        match shown.filter(|_| row.provisional > 0) {
            Some(shown) => {
                row.summary = shown.summary()?;
                row.shown = Some(shown.save());
            }
            None if row.accepted.is_none() => {
                // Nothing is left of it: its capture was refused, or is held.
                self.meta.note_gone(row.doc, row.summary.capture);
                self.drop_doc(row.doc);
                return Ok(());
            }
            None => {}
        }
        // While a scope is filled again its documents count in none: they are not strays until it is done.
        let stray = row.accepted_scopes.is_empty() && self.meta.drifted.is_empty();
        if row.accepted.is_some() && stray && row.provisional == 0 {
            self.drop_doc(row.doc);
        } else {
            self.put_doc(row);
        }
        Ok(())
    }

    /// A document left all scopes: dropped once nothing of ours on it is unanswered.
    pub(super) fn leave(&mut self, doc: DocId) -> ReplicaResult<(), S> {
        let Some(mut row) = self.doc(&doc)? else {
            return Ok(());
        };
        for scope in std::mem::take(&mut row.accepted_scopes) {
            self.digest(&scope)?.remove(&doc, &row.accepted_heads);
        }
        // Nothing is built any more upon one that is not what the city has.
        if row.provisional == 0 || row.quarantined {
            self.drop_doc(doc);
        } else {
            self.put_doc(row);
        }
        Ok(())
    }

    /// Takes a document out of one scope that the grant no longer names.
    pub(super) fn leave_scope(&mut self, doc: DocId, scope: &Scope) -> ReplicaResult<(), S> {
        let Some(mut row) = self.doc(&doc)? else {
            return Ok(());
        };
        row.accepted_scopes.retain(|other| other != scope);
        if row.accepted_scopes.is_empty() && row.provisional == 0 {
            self.drop_doc(doc);
        } else {
            self.put_doc(row);
        }
        Ok(())
    }

    /// A document that cannot be opened here, or is not what its row says, never stops the others. It
    /// is asked for whole.
    pub(super) fn quarantine(&mut self, doc: DocId) -> ReplicaResult<Applied, S> {
        if let Some(mut row) = self.doc(&doc)? {
            row.quarantined = true;
            self.put_doc(row);
        }
        self.meta.broke(doc);
        Ok(Applied::NoBase)
    }

    /// Does an intent again on what is shown now, with a fresh actor and, unless a twin used them, the
    /// same record ids. What is no longer allowed, or has lost its document, waits in "Por corregir".
    pub(super) fn replay(
        &mut self,
        mut row: IntentRow,
        contents: Vec<(PartKind, Vec<u8>)>,
        twin: bool,
        now: i64,
    ) -> ReplicaResult<(), S> {
        let mut intent: Intent = codec::decode(&row.intent).map_err(|_| ReplicaError::Damaged)?;
        renew(&mut intent, &self.meta);
        self.meta.next_actor();
        // A capture keeps its id: its provisional folio was told, and its sealed data are bound to it.
        let fresh = twin && !matches!(intent, Intent::Capture { .. });
        let id = if fresh {
            self.meta.take_record()
        } else {
            row.id
        };
        match self.write(id, &intent, contents, now) {
            Ok(docs) => {
                self.follow_capture(&intent, &row.docs, &docs, now)?;
                if fresh {
                    row.state = IntentState::Closed;
                    self.put_intent(row);
                }
            }
            Err(ReplicaError::Denied(denial)) => {
                let (rule, field) = (denial.rule, denial.field);
                row.state = IntentState::ToCorrect { rule, field };
                self.put_intent(row);
            }
            Err(ReplicaError::UnknownDocument) => {
                row.state = IntentState::ToCorrect {
                    rule: Rule::UnknownDocument,
                    field: None,
                };
                self.put_intent(row);
            }
            Err(ReplicaError::Document(DocumentError::Unchanged)) => {
                // Somebody wrote the same meanwhile: what was wanted stands.
                row.state = IntentState::Closed;
                self.put_intent(row);
            }
            Err(ReplicaError::Document(_)) => {
                // A document that does not open here never stops the others.
                let rule = Rule::BadChange;
                row.state = IntentState::ToCorrect { rule, field: None };
                self.put_intent(row);
            }
            Err(other) => return Err(other),
        }
        Ok(())
    }

    /// A capture that is done again makes another petition: what waits because the old one is not known
    /// is done on the new one.
    pub(super) fn follow_capture(
        &mut self,
        intent: &Intent,
        old: &[DocId],
        new: &[DocId],
        now: i64,
    ) -> ReplicaResult<(), S> {
        let (Intent::Capture { .. }, Some(old), Some(new)) = (intent, old.first(), new.first())
        else {
            return Ok(());
        };
        self.meta.note_moved(*old, *new);
        for row in self.to_correct()? {
            let unknown = IntentState::ToCorrect {
                rule: Rule::UnknownDocument,
                field: None,
            };
            if row.state == unknown && row.docs.contains(old) {
                self.replay(row, Vec::new(), false, now)?;
            }
        }
        Ok(())
    }

    /// Closes the open envelopes that brought this change: it will never be accepted, so nothing may
    /// be built on it again.
    pub(super) fn bury(&mut self, dead: &Hash, docs: &[DocId]) -> ReplicaResult<(), S> {
        for doc in docs {
            for row in self.open_envelopes_of(doc)? {
                let own = row.envelope.context.device == self.meta.device();
                let raws = changes_of(&row, doc)?;
                // Our own are answered by receipts and by nothing else.
                if !own && raws.iter().any(|raw| hash_of(raw) == Some(*dead)) {
                    self.note_answers(row, vec![Answer::Orphaned { by: *dead }]);
                }
            }
        }
        Ok(())
    }

    fn is_doomed(&self, raw: &[u8]) -> bool {
        !self.meta.doomed.is_empty()
            && hash_of(raw).is_some_and(|hash| self.meta.doomed.contains(&hash))
    }

    /// A group of ours will never be accepted, so neither will what stands upon it in any of its documents. That
    /// stays open until the relay has said so, but is not shown: acts upon the same documents that are done
    /// again would stand upon each other, the first in one document upon the second, the second in another
    /// one upon the first, and be orphaned without end.
    pub(super) fn doom_upon(&mut self, row: &EnvelopeRow, group: usize) -> ReplicaResult<(), S> {
        if row.docs.len() < 2 {
            return Ok(());
        }
        let body = row.envelope.peek().map_err(|_| ReplicaError::Damaged)?;
        let gone = body.groups.get(group).map_or(&[][..], Vec::as_slice);
        let changes = |entries: &[Entry]| intake::peek(entries).unwrap_or_default();
        let mut dead: BTreeSet<Hash> = changes(gone).iter().map(|p| p.hash).collect();
        let (device, incarnation, n) = key_of(row);
        let current = self.meta.incarnation;
        let mut docs = BTreeSet::new();
        let newer = (incarnation != current).then_some((current, 1));
        for (chain, from) in iter::once((incarnation, n + 1)).chain(newer) {
            let later = self
                .store()
                .envelopes_from(&device, chain, from, usize::MAX);
            for later in later.map_err(ReplicaError::Store)? {
                let Some(later) = self.envelope(key_of(&later))? else {
                    continue;
                };
                let open = later.answers.is_none();
                let body = later.envelope.peek().map_err(|_| ReplicaError::Damaged)?;
                for entries in body.groups.iter().filter(|_| open) {
                    let changes = changes(entries);
                    let mut deps = changes.iter().flat_map(|p| &p.deps);
                    if deps.any(|dep| dead.contains(dep)) {
                        let doomed = changes.iter().map(|p| p.hash);
                        dead.extend(doomed.clone());
                        self.meta.doom(doomed);
                        docs.extend(entries.iter().map(|entry| entry.doc));
                    }
                }
            }
        }
        docs.into_iter().try_for_each(|doc| self.rebuild(doc))
    }

    /// Notes the answers of an envelope, without saying what they mean.
    pub(super) fn note_answers(&mut self, mut row: EnvelopeRow, answers: Vec<Answer>) {
        if !self.meta.doomed.is_empty() {
            let body = row.envelope.peek();
            let groups = body.map(|body| body.groups).unwrap_or_default();
            let changes = groups.iter().flatten();
            let told: BTreeSet<Hash> = changes.filter_map(|e| hash_of(&e.change)).collect();
            self.meta.doomed.retain(|change| !told.contains(change));
        }
        row.answers = Some(answers);
        debug_assert!(key_of(&row).2 == row.n);
        self.put_envelope(row);
    }
}

/// Opens the accepted layer; empty when the row has none. What a pack brought was stored unopened, and no
/// row says whether it was, so this is where it is verified.
///
/// # Errors
/// `Unreadable` when it does not open or its heads are not those that the row and the digests count.
pub(super) fn open_accepted(row: &DocRow) -> Result<Document, DocumentError> {
    let Some(saved) = row.accepted.as_deref() else {
        return Ok(Document::empty());
    };
    let document = Document::load_from_outside(saved)?;
    if document.heads() == row.accepted_heads {
        Ok(document)
    } else {
        Err(DocumentError::Unreadable)
    }
}

/// Lays a change that may come from another phone onto a document, through the same checks as all that
/// comes from outside. `false` when it is there already, or has no place there.
pub(super) fn lay(document: &mut Document, raw: &[u8]) -> bool {
    decode(raw).is_some_and(|change| {
        let fits = document.check_fit(&change).is_ok();
        fits && document.apply(raw).is_ok()
    })
}

/// What the phone applies of the changes it pulls or is handed: the relay's bounded decoder reads them,
/// and nothing is in them that no policy lets in.
fn decode(raw: &[u8]) -> Option<DecodedChange> {
    let change = chunk::decode_change(raw).ok();
    change.filter(DecodedChange::is_plain)
}

/// The raw changes of an envelope on one document.
pub(super) fn changes_of<E: core::error::Error>(
    row: &EnvelopeRow,
    doc: &DocId,
) -> Result<Vec<Vec<u8>>, ReplicaError<E>> {
    let body = row.envelope.peek().map_err(|_| ReplicaError::Damaged)?;
    let entries = body.groups.into_iter().flatten();
    Ok(entries
        .filter(|entry| entry.doc == *doc)
        .map(|entry| entry.change)
        .collect())
}

/// The hash of the change that the envelope made in the document.
pub(super) fn hash_of(raw: &[u8]) -> Option<Hash> {
    chunk::decode_change(raw)
        .ok()
        .map(|change| Hash(change.hash))
}

pub(super) fn contents_of(row: &EnvelopeRow) -> Vec<(PartKind, Vec<u8>)> {
    let parts = row.envelope.parts.iter();
    parts
        .filter_map(|part| codec::decode::<Part>(part).ok())
        .map(|part| (part.kind, part.content))
        .collect()
}

/// An intent as it is done again: on the petition that stands for the one it was about, since a capture
/// that is replayed makes another document; and in the role that its author has now.
pub(super) fn renew(intent: &mut Intent, meta: &Meta) {
    let follow = |doc: &mut DocId| *doc = meta.now_at(*doc);
    match intent {
        Intent::Capture { by, .. } => by.role = meta.granted.role,
        Intent::Add { docs, records } => {
            docs.iter_mut().for_each(follow);
            for draft in records {
                draft.set_role(meta.granted.role);
            }
        }
        Intent::Correct { doc, .. } => follow(doc),
    }
}
