//! The relay's way of one envelope: chain → grant → gate → policy → append → answer → fan-out.
//!
//! One task per city takes what many connections bring, in batches: documents that share nothing are
//! judged side by side by the gate's workers, and the whole batch is one durable commit.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Weak};

use bytes::Bytes;
use manzana_engine::answer::{Answer, HeldReason};
use manzana_engine::codec;
use manzana_engine::envelope::{Entry, Envelope, EnvelopeBody, Part, PartKind};
use manzana_engine::gate::judge::{Job, JobDoc, JobGroup, Judged, Reply, Request, Verdict};
use manzana_engine::grant::GrantBody;
use manzana_engine::ids::{DeviceId, DocId, Hash};
use manzana_engine::policy::{Facts, Rule};
use manzana_engine::relay::intake::{Peek, answer, peek, split_by_documents};
use tokio::sync::{mpsc, oneshot};

use super::{Relay, RelayError};
use crate::storage::{
    ActKey, ChainHead, CommitBatch, DocWrite, EntryCommit, EnvelopeCommit, Fate, GroupCommit,
    IntakeAsk, IntakeFacts, PartCommit, StorageError,
};

/// Most envelopes in one commit.
const BATCH: usize = 256;
/// Most groups that one device may have waiting for changes of others.
const WAITING_PER_DEVICE: usize = 256;
/// Changes that groups wait for although they have come, looked at together.
const RIPE: usize = 1_024;
/// Jobs handed to the workers at a time: enough to keep them busy, few enough to share fairly.
const JOBS: usize = 8;

/// An envelope on its way in.
#[derive(Debug)]
pub struct Submission {
    /// The envelope. Its signature has been checked if it came by its own device's session.
    pub envelope: Box<Envelope>,
    /// Whether the signature was checked where it came in.
    pub verified: bool,
    /// The operator's act that it carries, if one.
    pub act: Option<ActKey>,
    /// Where the answers go once they are durable.
    pub reply: oneshot::Sender<Result<Vec<Answer>, IntakeError>>,
}

/// Why an envelope was not taken in at all: nothing of it is stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum IntakeError {
    /// It does not follow the chain.
    #[error("the envelope does not follow the chain")]
    Gap(ChainHead),
    /// Another envelope stands in its place.
    #[error("another envelope stands in its place")]
    Twin,
    /// No such device.
    #[error("the device is not known")]
    UnknownDevice,
    /// It is not signed by its device, or malformed.
    #[error("the envelope does not verify")]
    Bad,
    /// The device has too much waiting.
    #[error("the device has too much waiting for other changes")]
    TooMuch,
    /// The storage is full.
    #[error("the storage is full")]
    Full,
    /// The relay failed, or is stopping.
    #[error("the relay could not take it in")]
    Internal,
}

impl From<StorageError> for IntakeError {
    fn from(error: StorageError) -> Self {
        match error {
            StorageError::Full => Self::Full,
            _ => Self::Internal,
        }
    }
}

/// Takes batches in until the relay is gone.
pub(super) async fn run(relay: Weak<Relay>, mut queue: mpsc::Receiver<Submission>) {
    let mut batch = Vec::with_capacity(BATCH);
    // The relay before this one may have died between a change and what waited for it.
    let mut overdue = false;
    let Some(ripe) = relay.upgrade().map(|relay| Arc::clone(&relay.ripe)) else {
        return;
    };
    ripe.notify_one();
    loop {
        let came = tokio::select! {
            biased;
            () = ripe.notified() => None,
            came = queue.recv_many(&mut batch, BATCH) => Some(came),
        };
        if came == Some(0) {
            return;
        }
        let Some(relay) = relay.upgrade() else { return };
        overdue |= came.is_none();
        let touched = match batch.is_empty() {
            true => Vec::new(),
            false => take_in(&relay, std::mem::take(&mut batch)).await,
        };
        overdue = !resume_all(&relay, touched, overdue).await;
    }
}

/// Judges at once what waited for these changes, and what waited for that…; when some of it is `overdue`,
/// also what waits for nothing any more. `false` when that failed: it is overdue then, until it succeeds.
async fn resume_all(relay: &Relay, mut pending: Vec<Hash>, overdue: bool) -> bool {
    if overdue {
        match relay.store.ripe(RIPE).await {
            Ok(ripe) => pending.extend(ripe),
            Err(_) => return false,
        }
    }
    while !pending.is_empty() {
        match resume(relay, pending).await {
            Ok(touched) => pending = touched,
            Err(_) => return false,
        }
    }
    true
}

/// One envelope being taken in.
struct Work {
    envelope: Box<Envelope>,
    body: EnvelopeBody,
    hash: Hash,
    facts: Facts,
    groups: Vec<Option<Decision>>,
    resumes: bool,
    act: Option<ActKey>,
    reply: Option<oneshot::Sender<Result<Vec<Answer>, IntakeError>>>,
}

/// Where a group stands.
enum Decision {
    /// Decided before the gate.
    Early(GroupCommit),
    /// To be judged.
    Judge(Vec<Peek>),
    /// To be let in if it fits: a receipt proves that it was in the log before a backup was put back.
    Readmit {
        /// Those of its changes that are not in the log again yet.
        peeked: Vec<Peek>,
        /// The folio that it was given.
        folio: Option<u64>,
    },
    /// Judged.
    Late(GroupCommit),
}

async fn take_in(relay: &Relay, submissions: Vec<Submission>) -> Vec<Hash> {
    let ask = ask_about(relay, submissions.iter().map(|s| s.envelope.as_ref()));
    let facts = match relay.store.intake_facts(ask).await {
        Ok(facts) => facts,
        Err(error) => {
            tracing::error!(%error, "nothing can be read of what came in");
            let error = IntakeError::from(error);
            for submission in submissions {
                let _ = submission.reply.send(Err(error));
            }
            return Vec::new();
        }
    };
    let mut batch = Batch::new(relay, facts);
    for submission in submissions {
        let Submission {
            envelope,
            verified,
            act,
            reply,
        } = submission;
        match batch.admit(envelope, verified).await {
            Ok(Admitted::Known(answers)) => drop(reply.send(Ok(answers))),
            Ok(Admitted::New(mut work)) => {
                work.reply = Some(reply);
                work.act = act;
                batch.works.push(*work);
            }
            Err(error) => drop(reply.send(Err(error))),
        }
    }
    let mut touched = batch.buried.clone();
    if !batch.works.is_empty() {
        // Who sent them has been told why not, if not.
        touched.extend(batch.finish().await.unwrap_or_default());
    }
    touched
}

/// Judges the groups that waited for these changes.
async fn resume(relay: &Relay, hashes: Vec<Hash>) -> Result<Vec<Hash>, IntakeError> {
    let waiting = relay.store.waiting_for(&hashes).await?;
    let reopened: Vec<(Envelope, usize)> = waiting
        .iter()
        .filter_map(|group| Some((codec::decode(&group.envelope).ok()?, group.group)))
        .collect();
    if reopened.is_empty() {
        return Ok(Vec::new());
    }
    let ask = ask_about(relay, reopened.iter().map(|(envelope, _)| envelope));
    let mut batch = Batch::new(relay, relay.store.intake_facts(ask).await?);
    for (envelope, group) in reopened {
        if let Ok(work) = batch.reopen(Box::new(envelope), group) {
            batch.works.push(work);
        }
    }
    if batch.works.is_empty() {
        Ok(Vec::new())
    } else {
        batch.finish().await
    }
}

/// What must be known to take these envelopes in. Those that cannot be read are refused later.
fn ask_about<'e>(relay: &Relay, envelopes: impl Iterator<Item = &'e Envelope>) -> IntakeAsk {
    let put_back = relay.was_put_back();
    let mut ask = IntakeAsk::default();
    for envelope in envelopes {
        if put_back {
            ask.envelopes.insert(envelope.hash());
        }
        let context = &envelope.context;
        ask.chains.insert((context.device, context.incarnation));
        let groups = envelope.peek().map(|body| body.groups).unwrap_or_default();
        for entries in groups {
            ask.docs.extend(entries.iter().map(|entry| entry.doc));
            for change in peek(&entries).unwrap_or_default() {
                ask.actors.insert(change.actor);
                if put_back {
                    ask.deps.insert(change.hash);
                }
                ask.deps.extend(change.deps);
            }
        }
    }
    ask
}

enum Admitted {
    New(Box<Work>),
    Known(Vec<Answer>),
}

/// A batch under way.
struct Batch<'r> {
    relay: &'r Relay,
    now: i64,
    works: Vec<Work>,
    /// What was known before the batch; the chains are moved on with it.
    facts: IntakeFacts,
    grants: BTreeMap<DeviceId, ([u8; 32], GrantBody, Option<HeldReason>)>,
    dead: BTreeSet<Hash>,
    /// Changes of a twin's branch, now dead: what waited for them is told so.
    buried: Vec<Hash>,
    /// Changes that this batch accepted so far.
    taken: BTreeSet<Hash>,
}

impl<'r> Batch<'r> {
    fn new(relay: &'r Relay, facts: IntakeFacts) -> Self {
        Self {
            relay,
            now: relay.now(),
            works: Vec::new(),
            facts,
            grants: BTreeMap::new(),
            dead: BTreeSet::new(),
            buried: Vec::new(),
            taken: BTreeSet::new(),
        }
    }

    async fn admit(
        &mut self,
        envelope: Box<Envelope>,
        verified: bool,
    ) -> Result<Admitted, IntakeError> {
        let context = envelope.context;
        let device = context.device;
        let (key, _, _) = self.grant_of(&device)?;
        let body = if verified {
            envelope.peek().map_err(|_| IntakeError::Bad)?
        } else {
            envelope.open(&key).map_err(|_| IntakeError::Bad)?
        };
        let hash = envelope.hash();
        let place = (device, context.incarnation);
        let chain = self.facts.chains.get(&place).copied().unwrap_or_default();
        if body.n <= chain.have {
            return match self.known(&place, body.n, &hash).await {
                Err(IntakeError::Twin) => self.bury(hash, &body).await,
                answered => answered,
            };
        }
        let follows = context.prev == chain.hash;
        let next = body.n == chain.have + 1;
        if !follows && (next || self.is_astray(&context.prev).await?) {
            return self.bury(hash, &body).await;
        }
        if !next {
            return Err(IntakeError::Gap(chain));
        }
        let waiting = self.facts.waiting.get(&device).copied().unwrap_or(0);
        if waiting >= WAITING_PER_DEVICE {
            return Err(IntakeError::TooMuch);
        }
        let chain = ChainHead { have: body.n, hash };
        self.facts.chains.insert(place, chain);
        let work = self.open(envelope, body, hash, None)?;
        Ok(Admitted::New(Box::new(work)))
    }

    /// A twin's envelope stands in its place, or before it: these changes will never be in the log,
    /// and what was built on them must be told so.
    async fn bury(&mut self, hash: Hash, body: &EnvelopeBody) -> Result<Admitted, IntakeError> {
        // What was accepted before the city was put back comes without its envelope.
        let proof = self.facts.proofs.get(&hash);
        let proven = |group: usize| {
            let answer = proof.and_then(|answers| answers.get(group));
            matches!(answer, Some(Answer::Accepted { .. }))
        };
        let lost = body.groups.iter().enumerate();
        let lost = lost.filter(|(group, _)| !proven(*group));
        let entries: Vec<Entry> = lost.flat_map(|(_, group)| group).cloned().collect();
        let mut dead: Vec<Hash> = peek(&entries)
            .unwrap_or_default()
            .into_iter()
            .map(|p| p.hash)
            .collect();
        // The envelope itself too: what follows it in that chain is astray with it.
        dead.push(hash);
        self.relay.store.bury(&dead).await?;
        self.buried.extend(dead);
        Err(IntakeError::Twin)
    }

    async fn is_astray(&self, prev: &Hash) -> Result<bool, IntakeError> {
        Ok(!self.relay.store.fates(&[*prev]).await?.is_empty())
    }

    /// A replay: answered as before, if it is the same envelope.
    async fn known(
        &self,
        (device, incarnation): &(DeviceId, u32),
        n: u64,
        hash: &Hash,
    ) -> Result<Admitted, IntakeError> {
        match self
            .relay
            .store
            .envelope_answers(device, *incarnation, n)
            .await?
        {
            Some((stored, answers)) if stored == *hash => Ok(Admitted::Known(answers)),
            // It is in this very batch: it will be answered when it is offered again.
            None => Err(IntakeError::Internal),
            Some(_) => Err(IntakeError::Twin),
        }
    }

    fn reopen(&mut self, envelope: Box<Envelope>, group: usize) -> Result<Work, IntakeError> {
        let body = envelope.peek().map_err(|_| IntakeError::Bad)?;
        let hash = envelope.hash();
        let mut work = self.open(envelope, body, hash, Some(group))?;
        work.resumes = true;
        Ok(work)
    }

    fn grant_of(
        &mut self,
        device: &DeviceId,
    ) -> Result<([u8; 32], GrantBody, Option<HeldReason>), IntakeError> {
        if let Some(known) = self.grants.get(device) {
            return Ok(known.clone());
        }
        let record = self.facts.devices.get(device);
        let record = record.ok_or(IntakeError::UnknownDevice)?;
        let granted = record
            .grant
            .open(&self.relay.keys.root().public())
            .map_err(|_| IntakeError::Internal)?;
        let held = if record.revoked_at.is_some() {
            Some(HeldReason::GrantRevoked)
        } else {
            (granted.valid_to < self.now).then_some(HeldReason::GrantExpired)
        };
        let known = (record.key, granted, held);
        self.grants.insert(*device, known.clone());
        Ok(known)
    }

    /// Reads the groups and decides what needs no gate: grants, actors, unreadable changes.
    fn open(
        &mut self,
        envelope: Box<Envelope>,
        body: EnvelopeBody,
        hash: Hash,
        only: Option<usize>,
    ) -> Result<Work, IntakeError> {
        let (_, granted, held) = self.grant_of(&envelope.context.device)?;
        let facts = Facts {
            device: envelope.context.device,
            user: granted.user,
            role: granted.role,
            scopes: granted.scopes,
        };
        let foreign = envelope.context.city != self.relay.keys.city();
        let proof = self.facts.proofs.get(&hash);
        let groups = body
            .groups
            .iter()
            .enumerate()
            .map(|(index, entries)| {
                if only.is_some_and(|only| only != index) {
                    return None;
                }
                let peeked = match peek(entries) {
                    Ok(peeked) => peeked,
                    Err(rule) => return Some(refused(rule, Vec::new())),
                };
                let changes: Vec<Hash> = peeked.iter().map(|p| p.hash).collect();
                if foreign {
                    return Some(refused(Rule::ForeignGrant, changes));
                }
                let proof = proof.as_ref().and_then(|answers| answers.get(index));
                let given_back = || self.was_given_back(&envelope.context.device, &peeked);
                let proof = proof.cloned().or_else(given_back);
                if let Some(decided) = proof.and_then(|answer| self.proven(&answer, &peeked)) {
                    return Some(decided);
                }
                if let Some(reason) = held {
                    let answer = Answer::Held { reason };
                    return Some(Decision::Early(not_accepted(answer, changes)));
                }
                Some(Decision::Judge(peeked))
            })
            .collect();
        Ok(Work {
            envelope,
            body,
            hash,
            facts,
            groups,
            resumes: false,
            act: None,
            reply: None,
        })
    }

    /// A group that was accepted before a backup was put back, as its author was never told: a reader gave
    /// some of it back. Groups are taken whole, so all of it was.
    fn was_given_back(&self, device: &DeviceId, peeked: &[Peek]) -> Option<Answer> {
        let own = peeked.iter().all(|p| p.actor.belongs_to(device));
        let here = |p: &Peek| matches!(self.facts.fates.get(&p.hash), Some(Fate::Accepted(_)));
        (own && peeked.iter().any(here)).then_some(Answer::Accepted {
            seq: 0,
            folio: None,
        })
    }

    /// What a receipt of before a backup was put back says of a group. What was let in then is let in
    /// again; what was not stays so, since its author has done something about it.
    fn proven(&self, answer: &Answer, peeked: &[Peek]) -> Option<Decision> {
        let folio = match answer {
            Answer::Accepted { folio, .. } => *folio,
            // As the city recorded it itself, which it may have lost too.
            Answer::Refused {
                rule: Rule::TakenOver,
                ..
            } => return None,
            Answer::Refused { .. } | Answer::Orphaned { .. } => {
                let changes = peeked.iter().map(|p| p.hash).collect();
                return Some(Decision::Early(not_accepted(answer.clone(), changes)));
            }
            _ => return None,
        };
        let known = |hash: &Hash| match self.facts.fates.get(hash) {
            Some(Fate::Accepted(seq)) => Some(*seq),
            _ => None,
        };
        let fresh = peeked.iter().filter(|p| known(&p.hash).is_none());
        let fresh: Vec<Peek> = fresh.cloned().collect();
        let first = peeked.first().and_then(|p| known(&p.hash));
        Some(match first.filter(|_| fresh.is_empty()) {
            Some(seq) => Decision::Early(GroupCommit::Known { seq }),
            None => Decision::Readmit {
                peeked: fresh,
                folio,
            },
        })
    }

    async fn finish(mut self) -> Result<Vec<Hash>, IntakeError> {
        match self.judge_and_commit().await {
            Ok(hashes) => Ok(hashes),
            Err(error) => {
                tracing::error!(%error, "a batch could not be committed");
                for work in self.works {
                    if let Some(reply) = work.reply {
                        let _ = reply.send(Err(error));
                    }
                }
                Err(error)
            }
        }
    }

    async fn judge_and_commit(&mut self) -> Result<Vec<Hash>, IntakeError> {
        self.refuse_foreign_actors();
        self.learn_fates();
        let docs = self.judge_all().await?;
        self.commit(docs).await
    }

    /// An actor belongs to the device and incarnation that used it first.
    fn refuse_foreign_actors(&mut self) {
        let mut bound = std::mem::take(&mut self.facts.actors);
        for work in &mut self.works {
            let place = (
                work.envelope.context.device,
                work.envelope.context.incarnation,
            );
            for group in work.groups.iter_mut().flatten() {
                let Decision::Judge(peeked) = group else {
                    continue;
                };
                let own = peeked.iter().all(|p| p.actor.belongs_to(&place.0));
                let foreign = peeked
                    .iter()
                    .any(|p| !own || *bound.entry(p.actor).or_insert(place) != place);
                if foreign {
                    // A thief who sends somebody's bytes first must not orphan them. What stands upon work of the
                    // device itself, whose other life had used the actor, must not wait for ever.
                    let dead: Vec<Hash> = match own {
                        true => peeked.iter().map(|p| p.hash).collect(),
                        false => Vec::new(),
                    };
                    self.buried.extend(&dead);
                    *group = refused(Rule::ForeignActor, dead);
                }
            }
        }
    }

    /// Which of the changes below will never be in the log: as stored, or buried by this very batch.
    fn learn_fates(&mut self) {
        let fates = std::mem::take(&mut self.facts.fates).into_iter();
        let dead = fates.filter(|(_, fate)| *fate == Fate::Dead);
        self.dead = dead.map(|(hash, _)| hash).collect();
        self.dead.extend(&self.buried);
    }

    /// Judges everything that is left, and gives the changed documents.
    async fn judge_all(&mut self) -> Result<BTreeMap<DocId, Bytes>, IntakeError> {
        let mut places = Vec::new();
        let mut touched = Vec::new();
        for (w, work) in self.works.iter().enumerate() {
            for (g, group) in work.groups.iter().enumerate() {
                if matches!(group, Some(Decision::Judge(_) | Decision::Readmit { .. })) {
                    places.push((w, g));
                    touched.push(
                        work.body.groups[g]
                            .iter()
                            .map(|e| e.doc)
                            .collect::<Vec<_>>(),
                    );
                }
            }
        }
        let stored = std::mem::take(&mut self.facts.docs);
        let saved: BTreeMap<DocId, Bytes> = stored
            .into_iter()
            .map(|(id, state)| (id, state.saved))
            .collect();
        let sets = spread(split_by_documents(&touched));
        let jobs = sets
            .iter()
            .map(|set| self.judge_set(set, &places, &touched, &saved));
        let judged = futures_util::future::join_all(jobs).await;
        let mut docs = BTreeMap::new();
        let mut verdicts = BTreeMap::new();
        for (set, judged) in sets.iter().zip(judged) {
            let judged = judged?;
            docs.extend(judged.docs);
            verdicts.extend(set.iter().copied().zip(judged.verdicts));
        }
        // In the order of arrival: what a refused group leaves dead, later ones are orphaned by.
        for (i, (w, g)) in places.iter().enumerate() {
            let verdict = verdicts
                .remove(&i)
                .unwrap_or(Outcome::Quarantined("lost".into()));
            self.settle(*w, *g, verdict);
        }
        Ok(docs)
    }

    fn settle(&mut self, w: usize, g: usize, outcome: Outcome) {
        let work = &mut self.works[w];
        let (peeked, reclaims) = match &work.groups[g] {
            Some(Decision::Judge(peeked)) => (peeked, None),
            Some(Decision::Readmit { peeked, folio }) => (peeked, *folio),
            _ => return,
        };
        let changes: Vec<Hash> = peeked.iter().map(|p| p.hash).collect();
        let proven = matches!(work.groups[g], Some(Decision::Readmit { .. }));
        let commit = match outcome {
            Outcome::Quarantined(detail) => GroupCommit::NotAccepted {
                answer: Answer::Held {
                    reason: HeldReason::Quarantined,
                },
                changes: changes.clone(),
                detail: Some(detail),
            },
            // What was accepted once is not given up for a base that may still come.
            Outcome::Judged(Verdict::Waiting { deps })
                if proven && !deps.iter().any(|dep| self.dead.contains(dep)) =>
            {
                not_accepted(Answer::Waiting { deps }, changes.clone())
            }
            // It was given back in this very batch: looked at again once that is committed.
            Outcome::Judged(Verdict::Refused { .. })
                if changes.iter().any(|hash| self.taken.contains(hash)) =>
            {
                let deps = changes.iter().filter(|hash| self.taken.contains(hash));
                let deps = deps.copied().collect();
                not_accepted(Answer::Waiting { deps }, changes.clone())
            }
            Outcome::Judged(verdict) => match (answer(&verdict, &self.dead), verdict) {
                (Some(answer), _) => not_accepted(answer, changes.clone()),
                (None, Verdict::Accepted(entries)) => GroupCommit::Accepted(
                    entries
                        .into_iter()
                        .zip(work.entries(g))
                        .map(|(accepted, entry)| EntryCommit {
                            doc: entry.doc,
                            hash: accepted.hash,
                            change: entry.change.clone().into(),
                            actor: accepted.actor,
                            reclaims,
                            given_back: !accepted.actor.belongs_to(&work.envelope.context.device),
                            summary: accepted.summary,
                        })
                        .collect(),
                ),
                (None, _) => not_accepted(
                    Answer::Refused {
                        rule: Rule::BadChange,
                        field: None,
                    },
                    changes.clone(),
                ),
            },
        };
        if let GroupCommit::NotAccepted { answer, .. } = &commit
            && !matches!(answer, Answer::Waiting { .. })
        {
            self.dead.extend(changes);
        }
        if let GroupCommit::Accepted(entries) = &commit {
            self.taken.extend(entries.iter().map(|entry| entry.hash));
        }
        work.groups[g] = Some(Decision::Late(commit));
    }

    /// Judges one set of groups. A job that kills or fails its worker is judged again group by group;
    /// the one at fault goes to quarantine and the others go on without it.
    async fn judge_set(
        &self,
        set: &[usize],
        places: &[(usize, usize)],
        touched: &[Vec<DocId>],
        saved: &BTreeMap<DocId, Bytes>,
    ) -> Result<JudgedSet, IntakeError> {
        let mut docs: BTreeMap<DocId, Bytes> = set
            .iter()
            .flat_map(|i| &touched[*i])
            .filter_map(|id| saved.get(id).map(|bytes| (*id, bytes.clone())))
            .collect();
        let groups = |indexes: &[usize]| -> Vec<JobGroup> {
            indexes.iter().map(|i| self.job_group(places[*i])).collect()
        };
        if let Ok(judged) = self.ask(&docs, groups(set)).await? {
            return Ok(JudgedSet {
                verdicts: judged.groups.into_iter().map(Outcome::Judged).collect(),
                docs: changed(judged.docs),
            });
        }
        let mut out = JudgedSet {
            verdicts: Vec::new(),
            docs: BTreeMap::new(),
        };
        for index in set {
            match self.ask(&docs, groups(&[*index])).await? {
                Ok(mut judged) => {
                    let fresh = changed(judged.docs);
                    docs.extend(fresh.clone());
                    out.docs.extend(fresh);
                    let verdict = judged.groups.pop().map_or_else(
                        || Outcome::Quarantined("no verdict".into()),
                        Outcome::Judged,
                    );
                    out.verdicts.push(verdict);
                }
                Err(reason) => {
                    tracing::warn!(reason, "a group is in quarantine");
                    out.verdicts.push(Outcome::Quarantined(reason));
                }
            }
        }
        Ok(out)
    }

    fn job_group(&self, (w, g): (usize, usize)) -> JobGroup {
        let work = &self.works[w];
        JobGroup {
            facts: work.facts.clone(),
            entries: work.entries(g).into_iter().cloned().collect(),
            proven: matches!(work.groups[g], Some(Decision::Readmit { .. })),
        }
    }

    /// `Ok(Err(reason))` when the job itself is at fault.
    async fn ask(
        &self,
        docs: &BTreeMap<DocId, Bytes>,
        groups: Vec<JobGroup>,
    ) -> Result<Result<Judged, String>, IntakeError> {
        let docs = docs
            .iter()
            .map(|(doc, saved)| JobDoc {
                doc: *doc,
                saved: saved.to_vec().into(),
            })
            .collect();
        match self.relay.ask(&Request::Judge(Job { docs, groups })).await {
            Ok(Reply::Judged(judged)) => Ok(Ok(judged)),
            Ok(_) => Err(IntakeError::Internal),
            Err(RelayError::Worker(reason)) => Ok(Err(reason)),
            Err(RelayError::Gate(error)) if error.is_the_jobs_fault() => Ok(Err(error.to_string())),
            Err(error) => {
                tracing::error!(%error, "the gate does not answer");
                Err(IntakeError::Internal)
            }
        }
    }

    async fn commit(&mut self, docs: BTreeMap<DocId, Bytes>) -> Result<Vec<Hash>, IntakeError> {
        let mut batch = CommitBatch {
            time: self.now,
            ..CommitBatch::default()
        };
        let mut touched = Vec::new();
        for work in &mut self.works {
            let envelope = work.commit();
            for group in envelope.groups.iter().flatten() {
                match group {
                    GroupCommit::Accepted(entries) => {
                        touched.extend(entries.iter().map(|entry| entry.hash));
                        self.relay.metrics.accepted.inc_by(entries.len() as u64);
                    }
                    GroupCommit::Known { .. } => {}
                    GroupCommit::NotAccepted {
                        answer, changes, ..
                    } => {
                        self.relay.metrics.not_accepted.inc();
                        self.relay.metrics.count_held(answer);
                        if !matches!(answer, Answer::Waiting { .. }) {
                            touched.extend(changes);
                        }
                    }
                }
            }
            batch.envelopes.push(envelope);
        }
        batch.docs = docs
            .into_iter()
            .map(|(doc, saved)| DocWrite { doc, saved })
            .collect();
        let committed = self.relay.store.commit_batch(batch).await?;
        self.relay.metrics.batches.inc();
        self.relay.metrics.envelopes.inc_by(self.works.len() as u64);
        for work in self.works.drain(..) {
            let context = work.envelope.context;
            let answers = committed.answers.get(&context.device).and_then(|answers| {
                answers
                    .iter()
                    .rfind(|a| a.incarnation == context.incarnation && a.n == work.body.n)
            });
            if let Some(reply) = work.reply {
                let _ = reply.send(Ok(answers.map(|a| a.groups.clone()).unwrap_or_default()));
            }
        }
        self.relay.publish(Arc::new(committed)).await;
        Ok(touched)
    }
}

struct JudgedSet {
    verdicts: Vec<Outcome>,
    docs: BTreeMap<DocId, Bytes>,
}

enum Outcome {
    Judged(Verdict),
    Quarantined(String),
}

impl Work {
    /// The entries of a group that are judged: of one that is let in again, those not in the log yet.
    fn entries(&self, g: usize) -> Vec<&Entry> {
        let entries = &self.body.groups[g];
        let Some(Decision::Readmit { peeked, .. }) = &self.groups[g] else {
            return entries.iter().collect();
        };
        let fresh: BTreeSet<Hash> = peeked.iter().map(|p| p.hash).collect();
        let all = peek(entries).unwrap_or_default();
        let judged = entries
            .iter()
            .zip(all)
            .filter(|(_, p)| fresh.contains(&p.hash));
        judged.map(|(entry, _)| entry).collect()
    }

    fn commit(&mut self) -> EnvelopeCommit {
        let mut parts = Vec::new();
        for part in std::mem::take(&mut self.envelope.parts) {
            if let Ok(Part { kind, doc, content }) = codec::decode::<Part>(&part) {
                let name = (kind == PartKind::MaskedName).then(|| {
                    String::from_utf8_lossy(&content)
                        .chars()
                        .take(120)
                        .collect()
                });
                let hash = Part::hash(&part);
                let bytes = Bytes::from(Vec::from(part));
                parts.push(PartCommit {
                    hash,
                    kind,
                    doc,
                    bytes,
                    masked_name: name,
                });
            }
        }
        let groups = self
            .groups
            .drain(..)
            .map(|group| match group? {
                Decision::Early(commit) | Decision::Late(commit) => Some(commit),
                Decision::Judge(_) | Decision::Readmit { .. } => None,
            })
            .collect();
        EnvelopeCommit {
            device: self.envelope.context.device,
            incarnation: self.envelope.context.incarnation,
            n: self.body.n,
            hash: self.hash,
            bytes: codec::encode(self.envelope.as_ref()).into(),
            parts,
            groups,
            resumes: self.resumes,
            act: self.act.take(),
        }
    }
}

fn refused(rule: Rule, changes: Vec<Hash>) -> Decision {
    Decision::Early(not_accepted(Answer::Refused { rule, field: None }, changes))
}

fn not_accepted(answer: Answer, changes: Vec<Hash>) -> GroupCommit {
    GroupCommit::NotAccepted {
        answer,
        changes,
        detail: None,
    }
}

fn changed(docs: Vec<JobDoc>) -> BTreeMap<DocId, Bytes> {
    docs.into_iter()
        .map(|JobDoc { doc, saved }| (doc, Bytes::from(Vec::from(saved))))
        .collect()
}

/// Joins small sets into a few jobs, so that a batch costs few round trips to the workers.
fn spread(sets: Vec<Vec<usize>>) -> Vec<Vec<usize>> {
    let mut jobs: Vec<Vec<usize>> = vec![Vec::new(); JOBS.min(sets.len())];
    let count = jobs.len().max(1);
    for (i, set) in sets.into_iter().enumerate() {
        jobs[i % count].extend(set);
    }
    jobs
}

#[cfg(test)]
#[path = "intake_tests.rs"]
mod tests;
