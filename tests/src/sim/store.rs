//! The relay's storage in memory: everything of a commit or nothing of it, and a disk that can fail.
//!
//! It runs the conformance suite of [`RelayStore`] (`tests/tests/sim_store.rs`), so that what the
//! simulator proves over it holds over SQLite. It searches nothing: the simulator's operators do not.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use bytes::Bytes;
use manzana_engine::answer::{Answer, EnvelopeAnswer, HeldReason};
use manzana_engine::envelope::PartKind;
use manzana_engine::epoch::{ClosingBody, EpochBody, SignedEpoch};
use manzana_engine::grant::Scope;
use manzana_engine::ids::{Actor, DeviceId, DocId, Hash, RecordId, Seq, UserId};
use manzana_engine::reconcile::{Member, Members, Version};
use manzana_engine::summary::DocKind;
use manzana_engine::wire::PackedDoc;
use manzana_server::storage::{
    AgencyCounts, ChainHead, CityFormat, CommitBatch, Committed, Decision, DeviceRecord, DocState,
    EpochRow, Fate, Head, HeldCounts, HeldGroup, Invite, ListFilter, Listed, LogRow, Move, Period,
    RecoveryCounts, RelayStore, Result, SessionRow, SignClosing, StatusFilter, StorageError,
    Stretch, SweepFrom, Swept, UserRow, WaitingGroup,
};

use super::commit;
use super::faults::{self, Faults, Side};
use super::plant::Bug;

use super::city::{City, without_bytes};

/// The relay's disk.
#[derive(Debug)]
pub struct RelayDisk {
    /// What processes see.
    pub city: City,
    /// What is planned against it.
    pub faults: Faults,
    bug: Option<Bug>,
    /// What a power cut leaves, where a bug keeps it behind.
    behind: Option<City>,
    commits: u64,
}

/// The relay's storage; clones share the disk.
#[derive(Debug, Clone)]
pub struct MemoryStore(Arc<Mutex<RelayDisk>>);

impl MemoryStore {
    /// The storage of a new city.
    pub fn new(format: &CityFormat, bug: Option<Bug>) -> Self {
        let disk = RelayDisk {
            city: City::new(format),
            faults: Faults::default(),
            bug,
            behind: None,
            commits: 0,
        };
        Self(Arc::new(Mutex::new(disk)))
    }

    fn disk(&self) -> MutexGuard<'_, RelayDisk> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Looks at the disk.
    pub fn look<T>(&self, look: impl FnOnce(&City) -> T) -> T {
        look(&self.disk().city)
    }

    /// Another disk takes its place, with this on it.
    pub(super) fn put_back(&self, city: City) {
        let mut disk = self.disk();
        disk.city = city;
        disk.behind = None;
        disk.faults.revive();
    }

    /// Plans.
    pub fn plan<T>(&self, plan: impl FnOnce(&mut Faults) -> T) -> T {
        plan(&mut self.disk().faults)
    }

    /// The process is gone, wherever it stood: the next one finds what the disk really has.
    pub fn power_cut(&self) {
        let mut disk = self.disk();
        if let Some(behind) = disk.behind.take() {
            disk.city = behind;
        }
        disk.faults.revive();
    }

    fn read<T>(&self, read: impl FnOnce(&City) -> T) -> Result<T> {
        let disk = self.disk();
        if disk.faults.is_dead() {
            return Err(died());
        }
        Ok(read(&disk.city))
    }

    /// One transaction: what fails leaves nothing.
    fn write<T>(&self, write: impl FnOnce(&mut City) -> Result<T>) -> Result<T> {
        let mut disk = self.disk();
        let side = match disk.faults.write() {
            faults::Fate::Done => None,
            faults::Fate::Full => return Err(StorageError::Full),
            faults::Fate::Dies(side) => Some(side),
            faults::Fate::Dead => return Err(died()),
        };
        if side == Some(Side::Before) {
            return Err(died());
        }
        let mut city = disk.city.clone();
        let done = write(&mut city)?;
        let before = std::mem::replace(&mut disk.city, city);
        disk.settle(before);
        match side {
            Some(_) => Err(died()),
            None => Ok(done),
        }
    }
}

impl RelayDisk {
    fn settle(&mut self, before: City) {
        self.commits += 1;
        if self.bug == Some(Bug::SignsBeforeTheCommit) && !self.commits.is_multiple_of(8) {
            self.behind.get_or_insert(before);
        } else {
            self.behind = None;
        }
    }
}

/// The process died.
#[derive(Debug, thiserror::Error)]
#[error("the process died")]
struct Died;

fn died() -> StorageError {
    StorageError::Backend(Box::new(Died))
}

/// The chain has it and its answers are told; the log and the documents know nothing of it.
fn forgotten(city: &mut City, before: City, committed: Committed) -> Committed {
    let after = std::mem::replace(city, before);
    city.chains = after.chains;
    city.envelopes = after.envelopes;
    city.answers = after.answers;
    city.numbers = after.numbers;
    (city.held, city.last_held) = (after.held, after.last_held);
    Committed {
        answers: committed.answers,
        ..Committed::default()
    }
}

/// Takes moves out of rows as a bug would.
fn spoil(bug: Option<Bug>, row: &LogRow) -> Option<LogRow> {
    let mut row = row.clone();
    match bug {
        Some(Bug::LeavesOutALeave) => row.moves.retain(|(_, step)| *step != Move::Leave),
        Some(Bug::SkipsAStepOfThePosition) if row.seq.is_multiple_of(5) => row.moves.clear(),
        _ => return None,
    }
    Some(row)
}

#[async_trait]
impl RelayStore for MemoryStore {
    async fn head(&self) -> Result<Head> {
        self.read(|city| city.head)
    }

    async fn commit_batch(&self, batch: CommitBatch) -> Result<Committed> {
        let (bug, turn) = {
            let disk = self.disk();
            (disk.bug, disk.commits)
        };
        let mut committed = self.write(|city| {
            let before = (bug == Some(Bug::DropsAnAcknowledged) && turn.is_multiple_of(7))
                .then(|| city.clone());
            if bug == Some(Bug::ForgetsWhatItHolds) {
                city.held.clear();
            }
            if bug == Some(Bug::SkipsAFolio) && turn.is_multiple_of(7) {
                city.next_folio += 1;
            }
            let committed = commit::commit(city, &batch)?;
            match before {
                Some(before) => Ok(forgotten(city, before, committed)),
                None => Ok(committed),
            }
        })?;
        for row in &mut committed.rows {
            if let Some(spoilt) = spoil(bug, row) {
                *row = Arc::new(spoilt);
            }
        }
        Ok(committed)
    }

    async fn docs(&self, ids: &[DocId]) -> Result<BTreeMap<DocId, DocState>> {
        self.read(|city| {
            let found = ids.iter().filter_map(|id| city.docs.get(id));
            found
                .map(|state| (state.doc, DocState::clone(state)))
                .collect()
        })
    }

    async fn chain(&self, device: &DeviceId, incarnation: u32) -> Result<ChainHead> {
        self.read(|city| city.chains.get(&(*device, incarnation)).copied())
            .map(Option::unwrap_or_default)
    }

    async fn envelope_hash(
        &self,
        device: &DeviceId,
        incarnation: u32,
        n: u64,
    ) -> Result<Option<Hash>> {
        self.read(|city| Some(city.answered(&(*device, incarnation, n))?.0))
    }

    async fn envelope_answers(
        &self,
        device: &DeviceId,
        incarnation: u32,
        n: u64,
    ) -> Result<Option<(Hash, Vec<Answer>)>> {
        self.read(|city| city.answered(&(*device, incarnation, n)))
    }

    async fn fates(&self, hashes: &[Hash]) -> Result<BTreeMap<Hash, Fate>> {
        self.read(|city| {
            let known = hashes
                .iter()
                .filter_map(|hash| Some((hash, city.fates.get(hash)?)));
            known
                .map(|(hash, seq)| (*hash, seq.map_or(Fate::Dead, Fate::Accepted)))
                .collect()
        })
    }

    async fn bury(&self, hashes: &[Hash]) -> Result<()> {
        self.write(|city| {
            hashes.iter().for_each(|hash| {
                city.fates.entry(*hash).or_insert(None);
            });
            Ok(())
        })
    }

    async fn actors(&self, actors: &[Actor]) -> Result<BTreeMap<Actor, (DeviceId, u32)>> {
        self.read(|city| {
            let known = actors
                .iter()
                .filter_map(|actor| Some((*actor, *city.actors.get(actor)?)));
            known.collect()
        })
    }

    async fn waiting_for(&self, hashes: &[Hash]) -> Result<Vec<WaitingGroup>> {
        self.read(|city| city.waiting_for(hashes))
    }

    async fn waiting_of(&self, device: &DeviceId) -> Result<Vec<WaitingGroup>> {
        self.read(|city| city.waiting_of(device))
    }

    async fn ripe(&self, limit: usize) -> Result<Vec<Hash>> {
        self.read(|city| {
            let waited_for = city
                .waiting
                .keys()
                .filter(|dep| city.fates.contains_key(dep));
            waited_for.copied().take(limit).collect()
        })
    }

    async fn waiting_count(&self, device: &DeviceId) -> Result<usize> {
        self.read(|city| {
            let groups = city.waiting.values().flatten();
            let mine: BTreeSet<_> = groups.filter(|(place, _)| place.0 == *device).collect();
            mine.len()
        })
    }

    async fn envelope_parts(
        &self,
        device: &DeviceId,
        incarnation: u32,
        n: u64,
    ) -> Result<Vec<Bytes>> {
        self.read(|city| {
            let parts = city.parts.iter();
            let of = parts.filter(|part| part.place == (*device, incarnation, n));
            of.map(|part| part.bytes.clone()).collect()
        })
    }

    async fn held(&self, after: u64, limit: usize) -> Result<Vec<HeldGroup>> {
        self.read(|city| city.held_after(after).take(limit).collect())
    }

    async fn decided(&self, limit: usize) -> Result<Vec<HeldGroup>> {
        self.read(|city| {
            let decided = city.held_after(0).filter(|held| held.decision.is_some());
            decided.take(limit).collect()
        })
    }

    async fn held_counts(&self) -> Result<HeldCounts> {
        self.read(|city| {
            let all = city.held.values();
            let quarantined = all.filter(|held| held.reason == HeldReason::Quarantined);
            let quarantined = quarantined.count() as u64;
            HeldCounts {
                by_grant: city.held.len() as u64 - quarantined,
                quarantined,
            }
        })
    }

    async fn decide(&self, id: u64, decision: Decision) -> Result<()> {
        self.write(|city| {
            let held = city.held.get_mut(&id).ok_or(StorageError::Missing)?;
            (held.decision, held.problem) = (Some(decision), None);
            Ok(())
        })
    }

    async fn undecide(&self, id: u64, problem: &str) -> Result<()> {
        self.write(|city| {
            if let Some(held) = city.held.get_mut(&id) {
                (held.decision, held.problem) = (None, Some(problem.to_owned()));
            }
            Ok(())
        })
    }

    async fn answers_after(
        &self,
        device: &DeviceId,
        after: u64,
        limit: usize,
    ) -> Result<Vec<EnvelopeAnswer>> {
        self.read(|city| {
            let all = city.answers.get(device).into_iter().flatten();
            let later = all.filter(|(no, _)| **no > after).take(limit);
            later.map(|(_, answer)| answer.clone()).collect()
        })
    }

    async fn answers_seen(&self, device: &DeviceId, up_to: u64) -> Result<()> {
        self.write(|city| {
            if let Some(answers) = city.answers.get_mut(device) {
                answers.retain(|no, _| *no > up_to);
            }
            Ok(())
        })
    }

    async fn greet(
        &self,
        device: &DeviceId,
        answers_seen: u64,
        place: Seq,
        now: i64,
    ) -> Result<Seq> {
        let noted = self.write(|city| {
            if let Some(answers) = city.answers.get_mut(device) {
                answers.retain(|no, _| *no > answers_seen);
            }
            city.recovery
                .jump_answers(&mut city.numbers, device, answers_seen);
            let place = if place < city.floor {
                city.head.seq
            } else {
                place
            };
            city.places.insert(*device, (place, now));
            Ok(city.floor)
        });
        match noted {
            Err(StorageError::Full) => self.read(|city| city.floor),
            noted => noted,
        }
    }

    async fn sweep(
        &self,
        now: i64,
        live_since: i64,
        from: SweepFrom,
        limit: usize,
    ) -> Result<Swept> {
        self.write(|city| {
            let mut removed = 0;
            if from == SweepFrom::default() {
                city.raise_floor(live_since);
                let before = city.invites.len();
                city.invites.retain(|_, invite| invite.expires >= now);
                removed = before - city.invites.len();
            }
            let due = city.to_forget(limit);
            removed += due.len();
            let more = due.len() == limit;
            city.forgotten.extend(due);
            Ok(Swept {
                floor: city.floor,
                removed,
                next: more.then(|| SweepFrom("the rest".to_owned())),
            })
        })
    }

    async fn members(&self, scope: &Scope) -> Result<Members> {
        self.read(|city| {
            let docs = city.docs.values();
            let inside = docs.filter(|state| state.summary.scopes().contains(scope));
            let members = inside.map(|state| Member {
                doc: state.doc,
                version: Version::of(&state.summary.heads),
            });
            members.collect::<Vec<_>>().into()
        })
    }

    async fn log_after(
        &self,
        scopes: &[Scope],
        after: Seq,
        limit: usize,
    ) -> Result<(Vec<LogRow>, Seq)> {
        let bug = self.disk().bug;
        let (mut rows, to) = self.read(|city| city.log_after(scopes, after, limit))?;
        for row in &mut rows {
            if let Some(spoilt) = spoil(bug, row) {
                *row = spoilt;
            }
        }
        Ok((rows, to))
    }

    async fn stretch(&self, scope: &Scope, before: Seq, most: usize) -> Result<Option<Stretch>> {
        self.read(|city| city.stretch(scope, before, most))
    }

    async fn fill(&self, scope: &Scope, from: Seq, until: Seq) -> Result<(Vec<PackedDoc>, Seq)> {
        self.read(|city| city.fill(scope, from, until))
    }

    async fn digests(&self, scopes: &[Scope]) -> Result<(Seq, Vec<(Scope, Hash)>)> {
        self.read(|city| {
            let digest = |scope| city.digests.get(scope).cloned().unwrap_or_default();
            let all = scopes
                .iter()
                .map(|scope| (scope.clone(), digest(scope).digest()));
            (city.head.seq, all.collect())
        })
    }

    async fn list(&self, filter: &ListFilter) -> Result<Listed> {
        self.read(|city| {
            let before = filter.before.unwrap_or(Seq::MAX);
            let mut rows: Vec<DocState> = city
                .docs
                .values()
                .filter(|state| state.summary.doc_kind == DocKind::Petition)
                .filter(|state| state.creation_seq < before)
                .map(|state| without_bytes(state))
                .collect();
            rows.sort_by_key(|state| std::cmp::Reverse(state.creation_seq));
            rows.truncate(filter.limit);
            Listed {
                rows,
                ..Listed::default()
            }
        })
    }

    async fn by_agency(&self, period: Period) -> Result<Vec<AgencyCounts>> {
        self.read(|city| {
            let mut counts: BTreeMap<_, AgencyCounts> = BTreeMap::new();
            let petitions = city.docs.values().map(|state| &state.summary);
            for summary in petitions.filter(|summary| summary.doc_kind == DocKind::Petition) {
                if !(period.from..period.until).contains(&summary.captured_at) {
                    continue;
                }
                let agency = summary.agencies.first();
                let counted = counts.entry(agency.map(|agency| agency.id)).or_default();
                counted.agency = agency.cloned();
                *counted.of(StatusFilter::of(summary).into()) += 1;
            }
            counts.into_values().collect()
        })
    }

    async fn catalogs(&self) -> Result<Vec<DocState>> {
        self.read(|city| {
            let docs = city.docs.values().map(|state| DocState::clone(state));
            docs.filter(|state| state.summary.doc_kind == DocKind::Catalog)
                .collect()
        })
    }

    async fn changed_since(&self, after: Seq, limit: usize) -> Result<Vec<DocState>> {
        self.read(|city| {
            let docs = city.docs.values();
            let mut rows: Vec<DocState> = docs
                .filter(|state| state.last_seq > after)
                .map(|state| without_bytes(state))
                .collect();
            rows.sort_by_key(|state| state.last_seq);
            rows.truncate(limit);
            rows
        })
    }

    async fn parts(&self, doc: &DocId, kind: PartKind) -> Result<Vec<Bytes>> {
        self.read(|city| city.parts_of(doc, kind))
    }

    async fn accepted_times(&self, doc: &DocId) -> Result<BTreeMap<Hash, i64>> {
        self.read(|city| {
            let rows = city.log.iter().filter(|logged| logged.row.doc == *doc);
            rows.map(|logged| (logged.row.hash, logged.time)).collect()
        })
    }

    async fn device(&self, id: &DeviceId) -> Result<Option<DeviceRecord>> {
        self.read(|city| city.devices.get(id).cloned())
    }

    async fn desk_of(&self, user: UserId) -> Result<Option<DeviceRecord>> {
        self.read(|city| {
            let mut devices = city.devices.values();
            devices
                .find(|device| {
                    let lives = device.desk_seed.is_some() && device.revoked_at.is_none();
                    device.user == user && lives
                })
                .cloned()
        })
    }

    async fn put_device(&self, device: &DeviceRecord) -> Result<()> {
        self.write(|city| {
            let twin =
                |other: &DeviceRecord| other.id != device.id && other.id.tag() == device.id.tag();
            if city.devices.values().any(twin) {
                return Err(StorageError::Exists);
            }
            city.devices.insert(device.id, device.clone());
            Ok(())
        })
    }

    async fn revoke_device(&self, id: &DeviceId, at: i64) -> Result<()> {
        self.write(|city| {
            let device = city.devices.get_mut(id).ok_or(StorageError::Missing)?;
            device.revoked_at.get_or_insert(at);
            Ok(())
        })
    }

    async fn put_invite(&self, invite: &Invite) -> Result<()> {
        self.write(|city| {
            if city.invites.contains_key(&invite.code_hash) {
                return Err(StorageError::Exists);
            }
            city.invites.insert(invite.code_hash, invite.clone());
            Ok(())
        })
    }

    async fn take_invite(&self, code_hash: &Hash, now: i64) -> Result<Invite> {
        self.write(|city| {
            let good = city.invites.get(code_hash);
            if good.is_none_or(|invite| invite.expires < now) {
                return Err(StorageError::Missing);
            }
            city.invites.remove(code_hash).ok_or(StorageError::Missing)
        })
    }

    async fn add_user(&self, user: &UserRow) -> Result<UserId> {
        self.write(|city| {
            if city.users.values().any(|other| other.name == user.name) {
                return Err(StorageError::Exists);
            }
            let last = city.users.keys().last().copied().unwrap_or_default();
            let id = last.max(city.recovery.users_up_to) + 1;
            city.recovery.users_up_to = id;
            let row = UserRow { id, ..user.clone() };
            city.users.insert(id, row);
            Ok(id)
        })
    }

    async fn user_by_name(&self, name: &str) -> Result<Option<UserRow>> {
        self.read(|city| city.users.values().find(|user| user.name == name).cloned())
    }

    async fn users(&self, ids: &[UserId]) -> Result<BTreeMap<UserId, UserRow>> {
        self.read(|city| {
            let found = ids
                .iter()
                .filter_map(|id| Some((*id, city.users.get(id)?.clone())));
            found.collect()
        })
    }

    async fn put_session(&self, session: &SessionRow) -> Result<()> {
        self.write(|city| {
            city.sessions.insert(session.token_hash, session.clone());
            Ok(())
        })
    }

    async fn session(&self, token_hash: &Hash) -> Result<Option<SessionRow>> {
        self.read(|city| city.sessions.get(token_hash).cloned())
    }

    async fn delete_sessions_before(&self, used_at: i64) -> Result<()> {
        self.write(|city| {
            city.sessions
                .retain(|_, session| session.used_at >= used_at);
            Ok(())
        })
    }

    async fn delete_session(&self, token_hash: &Hash) -> Result<()> {
        self.write(|city| {
            city.sessions.remove(token_hash);
            Ok(())
        })
    }

    async fn act_key(&self, user: UserId, key: &str) -> Result<Option<RecordId>> {
        let forgets = self.disk().bug == Some(Bug::ActsTwice);
        self.read(|city| {
            let done = city.act_keys.get(&(user, key.to_owned())).copied();
            done.filter(|_| !forgets)
        })
    }

    async fn setting(&self, name: &str) -> Result<Option<Vec<u8>>> {
        self.read(|city| city.settings.get(name).cloned())
    }

    async fn put_setting(&self, name: &str, value: &[u8]) -> Result<()> {
        self.write(|city| {
            city.settings.insert(name.to_owned(), value.to_vec());
            Ok(())
        })
    }

    async fn begin_epoch(&self, record: &SignedEpoch, body: &EpochBody) -> Result<()> {
        self.write(|city| {
            city.begin_epoch(record, body);
            Ok(())
        })
    }

    async fn epoch(&self) -> Result<Option<EpochRow>> {
        self.read(|city| city.recovery.epochs.last().cloned())
    }

    async fn recovery_counts(&self) -> Result<RecoveryCounts> {
        self.read(City::recovery_counts)
    }

    async fn close_recovery(&self, now: i64, _sign: SignClosing) -> Result<ClosingBody> {
        self.write(|city| city.close_recovery(now))
    }

    async fn put_proofs(&self, proofs: Vec<(Hash, Vec<Answer>)>) -> Result<()> {
        self.write(|city| {
            for (envelope, answers) in proofs {
                city.recovery.proofs.entry(envelope).or_insert(answers);
            }
            Ok(())
        })
    }

    async fn proofs(&self, envelopes: &[Hash]) -> Result<BTreeMap<Hash, Vec<Answer>>> {
        self.read(|city| {
            let known = envelopes
                .iter()
                .filter_map(|hash| Some((*hash, city.recovery.proofs.get(hash)?.clone())));
            known.collect()
        })
    }

    async fn claim_folio(&self, doc: &DocId, folio: u64) -> Result<()> {
        self.write(|city| {
            city.recovery.claims.entry(folio).or_insert(*doc);
            Ok(())
        })
    }

    async fn without_folio(&self, limit: usize) -> Result<Vec<DocState>> {
        self.read(|city| {
            let mut found = city.without_folio();
            found.truncate(limit);
            found
        })
    }

    async fn chains_of(&self, device: &DeviceId) -> Result<Vec<(u32, ChainHead)>> {
        self.read(|city| {
            let own = city.chains.iter().filter(|((by, _), _)| by == device);
            own.map(|((_, incarnation), head)| (*incarnation, *head))
                .collect()
        })
    }

    async fn put_user(&self, user: &UserRow) -> Result<()> {
        self.write(|city| {
            city.users.entry(user.id).or_insert_with(|| user.clone());
            Ok(())
        })
    }
}
