//! What comes down: the log, packs, whole documents and digests; scopes that come and go.

use super::ReplicaStore;
use super::layers::{Applied, changes_of, hash_of, open_accepted};
use super::staged::Staged;
use super::sync::ProtocolError;
use super::{Change, Replica, ReplicaError, ReplicaResult};
use crate::codec;
use crate::grant::Scope;
use crate::ids::{DocId, Hash, Seq};
use crate::limits::SEGMENT_INFLATED;
use crate::summary::Summary;
use crate::wire::{Fill, Item, PackedDoc, Up};

impl<S: ReplicaStore> Replica<S> {
    pub(super) fn log(
        &mut self,
        to: Seq,
        items: Vec<Item>,
        now: i64,
    ) -> ReplicaResult<Result<(), ProtocolError>, S> {
        let mut staged = self.stage()?;
        for item in items {
            if let Some(doc) = staged.item(item)? {
                staged.miss(doc);
            }
        }
        staged.meta.position.seq = staged.meta.position.seq.max(to);
        staged.follow_up_late(now)?;
        let finished = staged.finish();
        self.commit(finished)?;
        self.ask_for_missing()?;
        self.ask_for_broken()?;
        Ok(Ok(()))
    }

    pub(super) fn pack(
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
        let ids: Vec<DocId> = docs.iter().map(|packed| packed.doc).collect();
        let standing = staged.standing(&ids)?;
        for packed in &docs {
            // What its row says is not in the scope has no place in that scope's pack.
            let summary = Summary::from_outside(&packed.summary);
            if summary.is_none_or(|summary| summary.scopes().contains(&fill.scope)) {
                staged.install(packed, standing.contains(&packed.doc))?;
            }
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
        self.ask_for_missing()?;
        self.ask_for_broken()?;
        Ok(Ok(()))
    }

    /// Asks for the documents that do not open here, each once in a session.
    pub(super) fn ask_for_broken(&mut self) -> ReplicaResult<(), S> {
        if !self.session.live {
            return Ok(());
        }
        for doc in self.meta()?.broken.clone() {
            if self.session.asked.insert(doc) && self.session.wanted.insert(doc) {
                self.session.queue.push(Up::Want { doc });
            }
        }
        Ok(())
    }

    /// Asks for the documents whose base is missing, once no fill can bring them any more.
    pub(super) fn ask_for_missing(&mut self) -> ReplicaResult<(), S> {
        let meta = self.meta()?;
        let filling =
            !meta.position.fills.is_empty() || meta.position.scopes.len() < meta.scopes().len();
        if filling || meta.missing.is_empty() {
            return Ok(());
        }
        for doc in meta.missing.clone() {
            if self.session.wanted.insert(doc) {
                self.session.queue.push(Up::Want { doc });
            }
        }
        Ok(())
    }

    pub(super) fn whole(
        &mut self,
        id: DocId,
        doc: Option<PackedDoc>,
        now: i64,
    ) -> ReplicaResult<Result<(), ProtocolError>, S> {
        self.session.wanted.remove(&id);
        let mut staged = self.stage()?;
        staged.meta.missing.retain(|other| *other != id);
        match doc {
            Some(doc) if doc.doc == id => drop(staged.install_opened(&doc)?),
            Some(_) => return Ok(Err(ProtocolError::Malformed)),
            // A city that was put back may have lost it, and gets it back.
            None if staged.meta.recovering => {}
            None => {
                staged.meta.mended(&id);
                staged.leave(id)?;
            }
        }
        staged.follow_up_late(now)?;
        let finished = staged.finish();
        self.commit(finished)?;
        if self.meta()?.missing.is_empty() {
            for digest in core::mem::take(&mut self.session.undecided).into_values() {
                if let Err(error) = self.compare(&digest)? {
                    return Ok(Err(error));
                }
            }
        }
        Ok(Ok(()))
    }
}

impl<S: ReplicaStore> Staged<'_, S> {
    /// Notes that something of a document came without its base. It outlives the session: the place in
    /// the log has passed it.
    pub(super) fn miss(&mut self, doc: DocId) {
        if !self.meta.missing.contains(&doc) {
            self.meta.missing.push(doc);
        }
    }

    /// One item of the log. Answers the document whose base is missing.
    pub(super) fn item(&mut self, item: Item) -> ReplicaResult<Option<DocId>, S> {
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
            Item::Enter { doc, .. } => {
                let standing = !self.standing(&[doc.doc])?.is_empty();
                self.install(&doc, standing).map(|()| None)
            }
            Item::Leave { doc, .. } => self.leave(doc).map(|()| None),
        }
    }

    /// Our own change comes by: usually the receipt was faster and there is nothing left to do.
    pub(super) fn own(
        &mut self,
        seq: Seq,
        doc: DocId,
        hash: Hash,
        folio: Option<u64>,
    ) -> ReplicaResult<Option<DocId>, S> {
        if let Some(row) = self.doc(&doc)? {
            match open_accepted(&row) {
                Ok(accepted) if accepted.has(&hash) => {
                    let creation = crate::ids::DocId::of_creation(&hash) == doc;
                    let told = super::DocRow {
                        folio: folio.or(row.folio),
                        creation_seq: Some(seq).filter(|_| creation).or(row.creation_seq),
                        ..row.clone()
                    };
                    if told != row {
                        self.put_doc(told);
                    }
                    return Ok(None);
                }
                Ok(_) => {}
                Err(_) => self.quarantine(doc).map(drop)?,
            }
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
    pub(super) fn narrow_to(&mut self, scopes: Vec<Scope>) -> ReplicaResult<(), S> {
        let gone: Vec<Scope> = self
            .held
            .iter()
            .filter(|scope| !scopes.contains(scope))
            .cloned()
            .collect();
        for scope in gone {
            self.meta.position.scopes.retain(|other| *other != scope);
            self.meta.position.fills.retain(|fill| fill.scope != scope);
            self.meta.vouched.retain(|(other, _)| *other != scope);
            for doc in self.store().docs_in(&scope).map_err(ReplicaError::Store)? {
                self.leave_scope(doc, &scope)?;
            }
            self.drop_digest(scope);
        }
        self.held = scopes;
        Ok(())
    }

    /// Counts a scope from nothing again, before it is filled anew. Its documents stay.
    pub(super) fn forget_scope(&mut self, scope: &Scope) -> ReplicaResult<(), S> {
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
    pub(super) fn drop_strays(&mut self) -> ReplicaResult<(), S> {
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
}

/// Inflates a segment within its limit and reads it.
pub(super) fn inflate(segment: &[u8]) -> Option<Vec<PackedDoc>> {
    let bytes = zstd::bulk::decompress(segment, SEGMENT_INFLATED).ok()?;
    codec::decode(&bytes).ok()
}
