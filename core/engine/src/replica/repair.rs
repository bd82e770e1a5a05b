//! Repair of a scope whose digest differs: where it differs is found by reconciliation, and only what
//! differs is asked for.
//!
//! ```text
//! digest differs ─► Reconcile ⇄ Reconcile ─► Mend ─► documents, gone, unknown ─► digest again
//! ```
//! One scope at a time, and each once in a session. A repair that is cut begins again; one that did
//! not help waits, each time longer. What cannot be opened here is a declared exception: it is not
//! asked for again until it is another version. What is held as accepted and the relay does not know
//! is kept and named ([`Meta::surplus`]): it can be given back.

use std::collections::{BTreeMap, BTreeSet};

use super::layers::Installed;
use super::staged::Staged;
use super::stream::inflate;
use super::sync::ProtocolError;
use super::{Meta, Replica, ReplicaError, ReplicaResult, ReplicaStore};
use crate::digest::{SetHash, SignedDigest};
use crate::grant::Scope;
use crate::ids::{DocId, Hash};
use crate::limits::MEND_DOCS;
use crate::reconcile::{self, Member, Members, Range, Version};
use crate::wire::Up;

/// Messages that a repair may take from the relay before it is given up.
const ROUNDS: usize = 60;

/// Documents that may be missing before a fill is thought of, however few are held.
const REFILL_FROM: usize = 64;

/// Pause after a repair that did not help, milliseconds; each further one doubles it.
const FIRST_PAUSE_MS: i64 = 10 * 60 * 1_000;

/// The longest pause.
const LAST_PAUSE_MS: i64 = 24 * 3_600 * 1_000;

/// Most exceptions, and most documents named as surplus.
const NAMED: usize = 256;

/// A repair under way.
#[derive(Debug, Clone)]
pub(super) struct Repair {
    scope: Scope,
    /// What the relay signed of the scope, where our own digest differed.
    digest: Hash,
    /// Messages that came.
    rounds: usize,
    /// Documents that the relay has in this version, and we have not.
    missing: BTreeMap<DocId, Version>,
    /// Documents that are here and not in the relay's scope.
    spare: BTreeSet<DocId>,
    /// Asked for and not answered.
    asked: BTreeMap<DocId, Option<Version>>,
    /// Whether anything was in question at all.
    found: bool,
}

/// Repairs of a scope that ended, until its digest is the relay's again.
#[derive(Debug, Clone, minicbor::Encode, minicbor::Decode)]
pub(super) struct Fruitless {
    #[n(0)]
    scope: Scope,
    #[n(1)]
    times: u32,
    /// City time of the last, milliseconds UTC.
    #[n(2)]
    at: i64,
}

impl Meta {
    /// Documents of which this device holds accepted changes that the relay did not know when a scope
    /// was repaired: empty unless the relay has lost something.
    pub fn surplus(&self) -> &[DocId] {
        &self.surplus
    }

    /// The city was put back, and what it lacks has been given back as far as it could be proven: the rest is
    /// lost there, and so it is here.
    fn may_step_back(&self) -> bool {
        self.was_put_back() && !self.recovering
    }

    fn may_repair(&self, scope: &Scope) -> bool {
        let Some(note) = self.fruitless.iter().find(|note| note.scope == *scope) else {
            return true;
        };
        let doublings = note.times.saturating_sub(1).min(16);
        let pause = (FIRST_PAUSE_MS << doublings).min(LAST_PAUSE_MS);
        self.city_time >= note.at.saturating_add(pause)
    }

    fn note_repair(&mut self, scope: &Scope) {
        let at = self.city_time;
        match self.fruitless.iter_mut().find(|note| note.scope == *scope) {
            Some(note) => (note.times, note.at) = (note.times.saturating_add(1), at),
            None => self.fruitless.push(Fruitless {
                scope: scope.clone(),
                times: 1,
                at,
            }),
        }
    }

    fn note_equal(&mut self, scope: &Scope) {
        self.fruitless.retain(|note| note.scope != *scope);
    }

    fn is_excepted(&self, member: &Member) -> bool {
        self.exceptions
            .iter()
            .any(|(doc, version)| *doc == member.doc && *version == member.version.0)
    }

    fn except(&mut self, doc: DocId, version: Version) {
        self.exceptions.retain(|(other, _)| *other != doc);
        if self.exceptions.len() >= NAMED {
            self.exceptions.remove(0);
        }
        self.exceptions.push((doc, version.0));
    }

    /// Notes what the relay lacks. What does not fit is found again by the next repair.
    fn note_surplus(&mut self, doc: DocId) {
        if !self.surplus.contains(&doc) && self.surplus.len() < NAMED {
            self.surplus.push(doc);
        }
    }

    fn forget_named(&mut self, doc: &DocId) {
        self.exceptions.retain(|(other, _)| other != doc);
        self.surplus.retain(|other| other != doc);
    }
}

impl<S: ReplicaStore> Replica<S> {
    /// Drift check: compares a signed digest with ours, at our own position, over the accepted layer.
    pub(super) fn compare(
        &mut self,
        digest: &SignedDigest,
    ) -> ReplicaResult<Result<(), ProtocolError>, S> {
        let Some(body) = digest.open(&self.meta()?.relay_key) else {
            return Ok(Err(ProtocolError::Unverified));
        };
        self.session.digested.insert(body.scope.clone());
        let meta = self.meta()?;
        if !meta.missing.is_empty() {
            // What was asked for whole is on its way: it is not missing, but something else may be.
            self.session.undecided.insert(body.scope, digest.clone());
            return Ok(Ok(()));
        }
        let position = &meta.position;
        let here = body.epoch == position.epoch
            && body.seq == position.seq
            && meta.ahead <= position.seq
            && position.scopes.contains(&body.scope);
        let may = meta.may_repair(&body.scope);
        let mut staged = self.stage()?;
        staged.meta.city_head = staged.meta.city_head.max(body.seq);
        let differs = here && staged.digest(&body.scope)?.digest() != body.digest;
        if here && !differs {
            staged.meta.note_equal(&body.scope);
            staged.meta.note_vouched(&body.scope, digest);
        }
        let finished = staged.finish();
        self.commit(finished)?;
        let queued = |(scope, _): &(Scope, Hash)| *scope == body.scope;
        let known = self.session.repaired.contains(&body.scope)
            || self.session.differing.iter().any(queued);
        if differs && may && !known {
            self.session.differing.push((body.scope, body.digest));
            self.next_repair()?;
        }
        self.ask_again()?;
        Ok(Ok(()))
    }

    /// Begins the next repair, unless one is under way.
    fn next_repair(&mut self) -> ReplicaResult<(), S> {
        while self.session.repair.is_none() && !self.session.differing.is_empty() {
            let (scope, digest) = self.session.differing.remove(0);
            // The repair of another scope may have mended this one too.
            let now = self.store.digest(&scope).map_err(ReplicaError::Store)?;
            let held = self.meta()?.position.scopes.contains(&scope);
            if !held || now.digest() == digest {
                continue;
            }
            self.session.repaired.push(scope.clone());
            let ours = self.members(&scope)?;
            if ours.is_empty() {
                self.refill(scope)?;
                continue;
            }
            self.session.queue.push(Up::Reconcile {
                scope: scope.clone(),
                ranges: reconcile::open(&ours),
            });
            self.session.repair = Some(Repair {
                scope,
                digest,
                rounds: 0,
                missing: BTreeMap::new(),
                spare: BTreeSet::new(),
                asked: BTreeMap::new(),
                found: false,
            });
        }
        Ok(())
    }

    fn members(&self, scope: &Scope) -> ReplicaResult<Members, S> {
        let rows = self.store.heads_in(scope).map_err(ReplicaError::Store)?;
        let members = rows.into_iter().map(|(doc, heads)| Member {
            doc,
            version: Version::of(&heads),
        });
        Ok(members.collect::<Vec<_>>().into())
    }

    /// The relay's message about a scope under repair.
    pub(super) fn reconcile(
        &mut self,
        scope: &Scope,
        ranges: &[Range],
    ) -> ReplicaResult<Result<(), ProtocolError>, S> {
        let Some(mut repair) = self.session.repair.take_if(|repair| repair.scope == *scope) else {
            return Ok(Ok(()));
        };
        let ours = self.members(scope)?;
        let Ok(reply) = reconcile::answer(&ours, ranges) else {
            return Ok(Err(ProtocolError::Malformed));
        };
        let meta = self.meta()?;
        let steps_back = meta.may_step_back();
        repair.rounds += 1;
        let learnt = reply.learnt;
        repair.found |= !learnt.theirs.is_empty() || !learnt.ours_only.is_empty();
        let wanted = learnt.theirs.into_iter();
        let wanted = wanted.filter(|member| !meta.is_excepted(member));
        repair.missing.extend(wanted.map(|m| (m.doc, m.version)));
        let spare = learnt.ours_only.into_iter();
        repair
            .spare
            .extend(spare.filter(|doc| steps_back || !meta.surplus.contains(doc)));
        if repair.missing.len() > ours.len().max(REFILL_FROM) {
            // More is missing than is here: packs bring it for fewer bytes.
            self.refill(scope.clone())?;
            self.next_repair()?;
            return Ok(Ok(()));
        }
        let goes_on = reconcile::asks(&reply.ranges) && repair.rounds < ROUNDS;
        if !reply.ranges.is_empty() && repair.rounds < ROUNDS {
            self.session.queue.push(Up::Reconcile {
                scope: scope.clone(),
                ranges: reply.ranges,
            });
        }
        self.session.repair = Some(repair);
        if !goes_on {
            self.ask_for_documents()?;
        }
        Ok(Ok(()))
    }

    /// Asks for the next documents in question; without any the repair is over.
    fn ask_for_documents(&mut self) -> ReplicaResult<(), S> {
        let Some(repair) = self.session.repair.as_mut() else {
            return Ok(());
        };
        while repair.asked.len() < MEND_DOCS {
            if let Some((doc, version)) = repair.missing.pop_first() {
                repair.asked.insert(doc, Some(version));
            } else if let Some(doc) = repair.spare.pop_first() {
                repair.asked.entry(doc).or_insert(None);
            } else {
                break;
            }
        }
        if repair.asked.is_empty() {
            return self.end_repair();
        }
        self.session.queue.push(Up::Mend {
            scope: repair.scope.clone(),
            docs: repair.asked.keys().copied().collect(),
        });
        Ok(())
    }

    /// Documents of a scope under repair.
    pub(super) fn mend(
        &mut self,
        scope: &Scope,
        segment: &[u8],
        (gone, unknown): (&[DocId], &[DocId]),
        now: i64,
    ) -> ReplicaResult<Result<(), ProtocolError>, S> {
        let Some(docs) = inflate(segment) else {
            return Ok(Err(ProtocolError::Malformed));
        };
        let Some(mut repair) = self.session.repair.take_if(|repair| repair.scope == *scope) else {
            return Ok(Ok(()));
        };
        let mut staged = self.stage()?;
        let steps_back = staged.meta.may_step_back();
        for packed in &docs {
            let Some(version) = repair.asked.remove(&packed.doc) else {
                continue;
            };
            staged.meta.forget_named(&packed.doc);
            match (staged.install_opened(packed)?, version) {
                (Installed::Whole, _) | (Installed::Not, None) => {}
                (Installed::More, _) if steps_back => drop(staged.quarantine(packed.doc)?),
                (Installed::More, _) => staged.meta.note_surplus(packed.doc),
                (Installed::Not, Some(version)) => staged.meta.except(packed.doc, version),
            }
        }
        for doc in gone.iter().filter(|doc| repair.asked.remove(doc).is_some()) {
            match staged.meta.recovering {
                // It may have left in the city that was put back, and not in the one that was.
                true => staged.meta.note_surplus(*doc),
                false => staged.stray(*doc, scope)?,
            }
        }
        for doc in unknown {
            let asked = repair.asked.remove(doc).is_some();
            match asked && staged.doc(doc)?.is_some() {
                true if steps_back => staged.stray(*doc, scope)?,
                true => staged.meta.note_surplus(*doc),
                false => {}
            }
        }
        for doc in gone.iter().chain(unknown).filter(|_| steps_back) {
            staged.meta.forget_named(doc);
        }
        staged.follow_up_late(now)?;
        let finished = staged.finish();
        self.commit(finished)?;
        self.ask_for_broken()?;
        let answered = repair.asked.is_empty();
        self.session.repair = Some(repair);
        if answered {
            self.ask_for_documents()?;
        }
        Ok(Ok(()))
    }

    /// The scope has been gone through. Whether it helped is for the next digest to say; if nothing was
    /// in question, it is our own count that was wrong.
    fn end_repair(&mut self) -> ReplicaResult<(), S> {
        let Some(repair) = self.session.repair.take() else {
            return Ok(());
        };
        let mut staged = self.stage()?;
        staged.meta.note_repair(&repair.scope);
        if !repair.found {
            let counted = staged.recount(&repair.scope)?;
            if counted.digest() == repair.digest {
                staged.meta.note_equal(&repair.scope);
            }
            *staged.digest(&repair.scope)? = counted;
        }
        let finished = staged.finish();
        self.commit(finished)?;
        self.next_repair()
    }

    /// Reads a scope again from its start; what is held stays until then.
    fn refill(&mut self, scope: Scope) -> ReplicaResult<(), S> {
        let mut staged = self.stage()?;
        staged.meta.drifted.push(scope.clone());
        staged.meta.position.scopes.retain(|other| *other != scope);
        staged.meta.note_repair(&scope);
        staged.forget_scope(&scope)?;
        let finished = staged.finish();
        self.commit(finished)?;
        self.session.queue.push(Up::Drift { scope });
        Ok(())
    }
}

impl<S: ReplicaStore> Staged<'_, S> {
    /// The digest of a scope as its rows tell it.
    fn recount(&self, scope: &Scope) -> ReplicaResult<SetHash, S> {
        let mut counted = SetHash::default();
        for (doc, heads) in self.store().heads_in(scope).map_err(ReplicaError::Store)? {
            counted.add(&doc, &heads);
        }
        Ok(counted)
    }

    /// A document that the relay does not have in this scope: it left, and we were not told.
    fn stray(&mut self, doc: DocId, scope: &Scope) -> ReplicaResult<(), S> {
        if let Some(row) = self.doc(&doc)?
            && row.accepted_scopes.contains(scope)
        {
            self.digest(scope)?.remove(&doc, &row.accepted_heads);
        }
        self.leave_scope(doc, scope)
    }
}
