//! What is held for review, and what becomes of it once somebody decides.
//!
//! The command line notes decisions in the storage; the relay, which alone writes the log and holds the
//! keys of desk devices, looks for them and does them. Released work is done again by its author, who is
//! told that it is orphaned. Where no device of the author's may write any more, the city records it: in a
//! change of its own, in words that say whose it was and when. Either way it ends with a last answer, in
//! one commit with its leaving the list; a relay that dies before that does the decision again.

use std::sync::Arc;

use manzana_engine::answer::Answer;
use manzana_engine::codec;
use manzana_engine::envelope::{Entry, Envelope, Part, PartKind};
use manzana_engine::gate::judge::{Reply, Request};
use manzana_engine::gate::takeover::{self, TakeOverJob};
use manzana_engine::grant::Role;
use manzana_engine::ids::{Actor, DocId, Hash, RecordId};
use manzana_engine::policy::Rule;
use manzana_engine::record::By;
use manzana_engine::relay::intake::{Peek, peek};
use manzana_engine::seal::{self, Entropy};

use super::catalogs::created_by;
use super::{NoRandomness, Randomness, Relay, RelayError};
use crate::desk::DeskError;
use crate::storage::{
    ActKey, CommitBatch, Decision, DeviceRecord, EnvelopeCommit, GroupCommit, HeldGroup,
    StorageError,
};
use crate::strings;

/// Sign-in name of the user as whom the city records what it takes over; it has no password.
pub const REVIEW: &str = "revision";
/// Decisions done at a time; the next ones follow within seconds.
const AT_ONCE: usize = 64;
/// Setting: the petition that the city made of a capture that it took over; the capture's document follows.
const TAKEN_OVER: &str = "taken-over:";

/// Why a decision is not done.
enum Undone {
    /// Not now: it is tried again.
    Later(DeskError),
    /// Not like this: somebody decides again, knowing why.
    Problem(String),
}

impl<E: Into<DeskError>> From<E> for Undone {
    fn from(error: E) -> Self {
        Self::Later(error.into())
    }
}

fn problem(what: impl Into<String>) -> Undone {
    Undone::Problem(what.into())
}

/// A held group, read.
struct Work<'h> {
    held: &'h HeldGroup,
    envelope: Envelope,
    groups: usize,
    device_time: i64,
    entries: Vec<Entry>,
    peeks: Vec<Peek>,
}

impl<'h> Work<'h> {
    fn read(held: &'h HeldGroup) -> Result<Self, StorageError> {
        let envelope: Envelope =
            codec::decode(&held.envelope).map_err(|_| StorageError::Damaged)?;
        let body = envelope.peek().map_err(|_| StorageError::Damaged)?;
        let entries = body.groups.get(held.group).cloned();
        let entries = entries.ok_or(StorageError::Damaged)?;
        Ok(Self {
            held,
            groups: body.groups.len(),
            device_time: body.device_time,
            // Only what decodes is held.
            peeks: peek(&entries).map_err(|_| StorageError::Damaged)?,
            entries,
            envelope,
        })
    }

    /// Under which the city's own act for it is remembered: it is done once.
    fn key(&self) -> String {
        let HeldGroup {
            device,
            incarnation,
            n,
            group,
            ..
        } = self.held;
        format!("held:{device}:{incarnation}:{n}:{group}")
    }
}

impl Relay {
    /// Does what was decided of held work, and counts what is held.
    pub(super) async fn work_off_decisions(&self) {
        let Ok(decided) = self.store.decided(AT_ONCE).await else {
            return;
        };
        for held in &decided {
            let (id, device) = (held.id, held.device);
            match self.decided(held).await {
                Ok(()) => {}
                Err(Undone::Later(error)) => {
                    tracing::warn!(id, %device, %error, "a decision on held work waits");
                }
                Err(Undone::Problem(problem)) => {
                    tracing::warn!(id, %device, problem, "a decision on held work cannot be done");
                    // If it cannot be noted either, it is tried again.
                    let _ = self.store.undecide(id, &problem).await;
                }
            }
        }
        if let Ok(counts) = self.store.held_counts().await {
            let shown = |count| i64::try_from(count).unwrap_or(i64::MAX);
            self.metrics.holding.set(shown(counts.by_grant));
            self.metrics.quarantine.set(shown(counts.quarantined));
        }
    }

    async fn decided(&self, held: &HeldGroup) -> Result<(), Undone> {
        let work = Work::read(held).map_err(|_| problem("its envelope cannot be read"))?;
        let (id, device, n) = (held.id, held.device, held.n);
        match held.decision {
            None => Ok(()),
            Some(Decision::Drop) => {
                self.last_word(&work, refused(Rule::NotTaken)).await?;
                tracing::info!(id, %device, n, "held work was dropped");
                self.metrics.dropped.inc();
                Ok(())
            }
            Some(Decision::Release) => {
                let author = self.store.device(&device).await?;
                let author = author.ok_or_else(|| problem("its device is not known"))?;
                if self.may_write(&author) {
                    let by = work.peeks.first().map(|peek| peek.hash);
                    let by = by.ok_or(StorageError::Damaged)?;
                    self.last_word(&work, Answer::Orphaned { by }).await?;
                    tracing::info!(id, %device, n, "held work was released to its author");
                } else {
                    self.take_over(&work, &author).await?;
                    self.last_word(&work, refused(Rule::TakenOver)).await?;
                    tracing::info!(id, %device, n, "held work was taken over by the city");
                }
                self.metrics.released.inc();
                Ok(())
            }
        }
    }

    /// Whether somebody's device would be let in with what it writes now. Desk devices are not asked to do
    /// anything again: their users were told at once that it was not done.
    fn may_write(&self, device: &DeviceRecord) -> bool {
        let granted = device.grant.open(&self.keys.root().public());
        let valid = granted.is_ok_and(|granted| granted.valid_to >= self.now());
        valid && device.revoked_at.is_none() && device.desk_seed.is_none()
    }

    /// Answers a held group for good: it leaves the list in the same commit.
    async fn last_word(&self, work: &Work<'_>, answer: Answer) -> Result<(), StorageError> {
        let mut groups = vec![None; work.groups];
        if let Some(group) = groups.get_mut(work.held.group) {
            *group = Some(GroupCommit::NotAccepted {
                answer,
                changes: work.peeks.iter().map(|peek| peek.hash).collect(),
                detail: None,
            });
        }
        let envelope = EnvelopeCommit {
            device: work.held.device,
            incarnation: work.held.incarnation,
            n: work.held.n,
            hash: work.envelope.hash(),
            bytes: work.held.envelope.clone(),
            parts: Vec::new(),
            groups,
            resumes: true,
            act: None,
        };
        let batch = CommitBatch {
            time: self.now(),
            envelopes: vec![envelope],
            docs: Vec::new(),
        };
        let committed = self.store.commit_batch(batch).await?;
        self.publish(Arc::new(committed)).await;
        Ok(())
    }

    /// Records what was held as the city's own, once.
    async fn take_over(&self, work: &Work<'_>, author: &DeviceRecord) -> Result<(), Undone> {
        let _turn = self.desks.lock().await;
        let desk = self.own_desk(REVIEW, Role::Supervisor).await?;
        let key = work.key();
        if self.store.act_key(desk.user, &key).await?.is_some() {
            return Ok(());
        }
        let record = self.next_record(&desk).await?;
        let whose = self.whose(work, author).await?;
        let (mut entries, mut parts) = (Vec::new(), Vec::new());
        for (entry, peek) in work.entries.iter().zip(&work.peeks) {
            let (petitioner, contents) = self.sealed_again(work, entry, record).await?;
            let job = TakeOverJob {
                saved: None,
                change: entry.change.clone().into(),
                actor: Actor::new(&desk.id, 0),
                record,
                by: By {
                    user: desk.user,
                    role: Role::Supervisor,
                    at: self.now(),
                },
                whose: whose.clone(),
                petitioner,
            };
            let made = self
                .made_again(job, entry.doc, peek.deps.is_empty())
                .await?;
            if let Some(Entry { doc, .. }) = made.first() {
                parts.extend(contents.into_iter().map(|(kind, content)| {
                    let doc = *doc;
                    codec::encode(&Part { kind, doc, content })
                }));
            }
            entries.extend(made);
        }
        if entries.is_empty() {
            return Err(problem("there is nothing in it for the city to record"));
        }
        let act = ActKey {
            user: desk.user,
            key,
            record,
        };
        match self
            .append_group(&desk, entries, parts, Some(act))
            .await?
            .first()
        {
            Some(Answer::Accepted { .. }) => Ok(()),
            Some(Answer::Refused { rule, field }) => {
                let field = field.as_deref().unwrap_or("-");
                Err(problem(format!(
                    "the city may not record it now: {rule:?}, {field}"
                )))
            }
            other => Err(problem(format!("it was not let in: {other:?}"))),
        }
    }

    /// Whose it was and when, in words for everybody who reads the petition.
    async fn whose(&self, work: &Work<'_>, author: &DeviceRecord) -> Result<String, Undone> {
        let root = self.keys.root().public();
        let granted = author.grant.open(&root);
        let granted = granted.map_err(|_| StorageError::Damaged)?;
        let user = self.store.users(&[author.user]).await?.remove(&author.user);
        let name = user.map(|user| user.display).unwrap_or_default();
        Ok(strings::whose(&name, granted.role, work.device_time))
    }

    /// The petitioner of a capture, sealed for the petition that it becomes, with the parts to detach: the
    /// ciphertext is bound to the record of its capture. Nothing where there is none, or where it is not
    /// what the change commits to.
    async fn sealed_again(
        &self,
        work: &Work<'_>,
        entry: &Entry,
        record: RecordId,
    ) -> Result<(Option<Hash>, Contents), Undone> {
        let Some((capture, expected)) = takeover::sealed_in(&entry.change) else {
            return Ok((None, Vec::new()));
        };
        let HeldGroup {
            device,
            incarnation,
            n,
            ..
        } = work.held;
        let stored = self.store.envelope_parts(device, *incarnation, *n).await?;
        let parts = stored
            .iter()
            .filter_map(|part| codec::decode::<Part>(part).ok());
        let of: Vec<Part> = parts.filter(|part| part.doc == entry.doc).collect();
        let mut sealed = of.iter().filter(|part| part.kind == PartKind::Petitioner);
        let secret = self.keys.seal_secret();
        let person = sealed
            .next()
            .and_then(|part| seal::open(&part.content, &capture, &expected, secret).ok());
        let Some(person) = person else {
            return Ok((None, Vec::new()));
        };
        let mut drawing = Drawing {
            from: &*self.entropy,
            failed: false,
        };
        let public = self.keys.seal_public();
        let sealed = seal::seal(&person, &record, public, &mut drawing);
        let (commitment, sealed) = sealed.map_err(|error| problem(error.to_string()))?;
        if drawing.failed {
            return Err(RelayError::from(NoRandomness).into());
        }
        let contents = vec![
            (PartKind::Petitioner, sealed),
            (PartKind::MaskedName, person.masked_name().into_bytes()),
        ];
        Ok((Some(commitment), contents))
    }

    /// One change of a held group, made again by the city's device on what it was about.
    async fn made_again(
        &self,
        mut job: TakeOverJob,
        doc: DocId,
        captures: bool,
    ) -> Result<Vec<Entry>, Undone> {
        let mut doc = doc;
        if !captures {
            let (now, saved) = self.now_at(doc).await?;
            (doc, job.saved) = (now, Some(saved.into()));
        }
        let changes: Vec<Vec<u8>> = match self.ask(&Request::TakeOver(job)).await {
            Ok(Reply::Authored(changes)) => changes.into_iter().map(Vec::from).collect(),
            Ok(_) => return Err(problem("the gate answered something else")),
            Err(RelayError::Worker(reason)) => return Err(problem(reason)),
            Err(RelayError::Gate(error)) if error.is_the_jobs_fault() => {
                return Err(problem(error.to_string()));
            }
            Err(error) => return Err(error.into()),
        };
        if let (true, Some(change)) = (captures, changes.first()) {
            let new = created_by(change)?;
            // Before it is in the log: what was done on it is taken over after it, or not at all.
            let name = format!("{TAKEN_OVER}{doc}");
            self.store.put_setting(&name, new.as_bytes()).await?;
            doc = new;
        }
        let entries = changes.into_iter().map(|change| Entry { doc, change });
        Ok(entries.collect())
    }

    /// The petition that an act is about as it is now: itself, or what the city made of its capture.
    async fn now_at(&self, doc: DocId) -> Result<(DocId, Vec<u8>), Undone> {
        let moved = self.store.setting(&format!("{TAKEN_OVER}{doc}")).await?;
        let moved = moved.and_then(|bytes| DocId::from_slice(&bytes).ok());
        let doc = moved.unwrap_or(doc);
        let state = self.store.docs(&[doc]).await?.remove(&doc);
        let state = state.ok_or_else(|| problem("release the petition that it is about first"))?;
        Ok((doc, state.saved.to_vec()))
    }
}

/// What is detached, by kind.
type Contents = Vec<(PartKind, Vec<u8>)>;

/// The relay's randomness for what cannot fail in drawing it: what was made with a failure is thrown away.
struct Drawing<'r> {
    from: &'r dyn Randomness,
    failed: bool,
}

impl Entropy for Drawing<'_> {
    fn fill(&mut self, bytes: &mut [u8]) {
        self.failed |= self.from.fill(bytes).is_err();
    }
}

fn refused(rule: Rule) -> Answer {
    Answer::Refused { rule, field: None }
}
