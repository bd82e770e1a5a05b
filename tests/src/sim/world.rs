//! The world: one relay, some phones, the wires between them, and what the people know.
//!
//! The relay is the production one ([`Relay`], its intake, its sessions, its desk), on a runtime of one
//! thread whose clock stands still until everybody has nothing left to do. The phones are production
//! replicas. Fakes are the disks, the wires, the clock, the dice, and the gate's processes.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use manzana_engine::codec;
use manzana_engine::document::DocumentError;
use manzana_engine::epoch::{EpochBody, SignedEpoch};
use manzana_engine::grant::{Role, Scope, SignedGrant};
use manzana_engine::ids::{DeviceId, DocId, Hash, RecordId, Seq, UserId};
use manzana_engine::keys::SecretKey;
use manzana_engine::replica::{
    Continuity, MemoryReplica, Meta, Replica, ReplicaError, ReplicaResult, ReplicaStore as _,
    Surroundings,
};
use manzana_engine::wire::{ByeCode, Down, Up, decode_frame};
use manzana_server::clock::{Clock as _, ManualClock};
use manzana_server::desk::{ActRequest, Viewer};
use manzana_server::relay::{
    CATALOGS, CityFace, CityKeys, Claim, Refusal, Relay, RelayParts, invite_hash, renew,
};
use manzana_server::storage::{CityFormat, Invite, RelayStore as _, UserRow};
use tokio::task::JoinSet;

use super::check::{Checker, Violation};
use super::city::City;
use super::dice::{Dice, RelayDice};
use super::disk::{DiskError, SimStore};
use super::frames;
use super::gate::InlineGate;
use super::knobs::Knobs;
use super::net::Link;
use super::plant::Bug;
use super::store::MemoryStore;

/// City time when a story begins, milliseconds UTC: the day of the city's last shown folios.
const BEGINS: i64 = 1_635_206_400_000;
/// What one round takes.
const ROUND: Duration = Duration::from_millis(250);
/// The first folio.
pub(super) const FIRST_FOLIO: u64 = 1_455;
/// Rounds after which a healed city must be quiet.
const QUIET_WITHIN: u64 = 1_000;
/// Rounds without a frame that count as quiet: longer than the relay's own periods.
const QUIET: u64 = 12;
/// Milliseconds between two times that everybody comes by: the longest pause of a phone, and more.
const PAUSE_MS: i64 = 26 * 3_600_000;
/// Times that everybody comes by until nothing changes any more.
const CYCLES: usize = 16;

/// The people: role, scopes of the first grant, block.
const PEOPLE: [(Role, &[Scope], Option<u32>); 7] = [
    (Role::Supervisor, &[Scope::City], None),
    (Role::BlockCaptain, &[Scope::Block(1)], Some(1)),
    (Role::BlockCaptain, &[Scope::Block(2)], Some(2)),
    (Role::Crew, &[Scope::Agency(1)], None),
    (Role::Crew, &[Scope::Agency(2), Scope::Crew(1)], None),
    (Role::Crew, &[Scope::Agency(1), Scope::Agency(2)], None),
    (Role::Operator, &[Scope::Sector(1), Scope::Block(1)], None),
];

/// A phone.
pub(super) struct Phone {
    /// Which of the people.
    pub(super) person: usize,
    /// The user.
    pub(super) user: UserId,
    /// The disk.
    pub(super) store: SimStore,
    /// The process, if one runs.
    pub(super) replica: Option<Replica<SimStore>>,
    /// The session, if one is open.
    pub(super) link: Option<Link>,
    /// How wrong its clock is, milliseconds.
    pub(super) skew: i64,
    /// No network until this round.
    pub(super) cut_off: u64,
    /// Whether its grant was revoked.
    pub(super) revoked: bool,
    /// A copy of the store, and how much had been said by then.
    pub(super) backup: Option<(MemoryReplica, usize)>,
    /// How often its store was put back or cloned: lives under one key beside the first.
    pub(super) lives: u32,
    device: DeviceId,
}

impl Phone {
    /// Its grant, as its store has it.
    fn grant(&self) -> Option<SignedGrant> {
        let meta = self.replica.as_ref()?.meta().ok()?;
        Some(meta.grant.clone())
    }
}

/// What somebody was told is saved.
#[derive(Debug, Clone)]
pub(super) struct Said {
    /// The phone that said so; `None` for the operators' pages.
    pub(super) phone: Option<usize>,
    /// A backup was put back that does not have it, and it had reached nobody: its person's choice.
    pub(super) lost: bool,
    /// The words, if the act has any of its own.
    pub(super) text: Option<String>,
    /// The intent's id as it was told; `None` for what operators did.
    pub(super) intent: Option<RecordId>,
}

/// An act of an operator that was not answered: the page sends it again under the same key.
pub(super) struct DeskAct {
    pub(super) viewer: Viewer,
    pub(super) doc: DocId,
    pub(super) request: ActRequest,
    pub(super) text: String,
}

/// An answer "accepted" that a phone was given, signed: device, incarnation, n, place. Kept with the change
/// that stood there.
pub(super) type Acknowledged = (DeviceId, u32, u64, Seq);

/// Everything.
pub(super) struct World {
    pub(super) knobs: Knobs,
    /// Days that passed while somebody was away.
    pub(super) days_away: i64,
    /// As whom the city recorded what it took over, before it was put back.
    pub(super) reviewers_before: BTreeSet<UserId>,
    /// Whether nothing excuses a phone that differs: no frame is lost, doubled or overtaken.
    pub(super) orderly: bool,
    pub(super) phones: Vec<Phone>,
    pub(super) relay: Option<Arc<Relay>>,
    pub(super) store: MemoryStore,
    pub(super) keys: [[u8; 32]; 4],
    pub(super) clock: Arc<ManualClock>,
    sessions: JoinSet<()>,
    /// The relay is down until this round.
    pub(super) down_until: u64,
    /// A copy of the relay's disk.
    pub(super) city_backup: Option<City>,
    pub(super) round: u64,
    pub(super) misery: Dice,
    pub(super) entropy: Dice,
    lives: u64,
    bug: Option<Bug>,
    /// The gate's worker survives what killed it before.
    pub(super) gate_mended: Arc<AtomicBool>,
    /// What was told as saved, in order.
    pub(super) said: Vec<Said>,
    /// Every text anybody ever typed, with its user: also what was never told as saved.
    pub(super) typed: BTreeMap<String, UserId>,
    pub(super) acknowledged: BTreeMap<Acknowledged, Option<Hash>>,
    pub(super) desk: Vec<(Viewer, &'static str)>,
    pub(super) desk_open: Vec<DeskAct>,
    /// What the operators' pages show: heads.
    pub(super) seen: BTreeMap<DocId, Vec<Hash>>,
    /// Found while the story went on.
    pub(super) violations: Vec<Violation>,
    /// The story in words, when it is to be told.
    pub(super) words: Option<Vec<String>>,
    /// Whether frames are told too.
    pub(super) frames_aloud: bool,
    trace: Hash,
    pub(super) frames: u64,
}

impl World {
    /// A city with its people and their phones enrolled.
    ///
    /// # Panics
    /// When the beginning itself fails, where nothing can go wrong yet.
    pub(super) async fn new(seed: u64, knobs: Knobs, bug: Option<Bug>) -> Self {
        let mut entropy = Dice::new(seed, 1);
        let mut keys = [[0; 32]; 4];
        for key in &mut keys {
            manzana_engine::seal::Entropy::fill(&mut entropy, key);
        }
        let format = CityFormat {
            first_folio: FIRST_FOLIO,
            folio_prefix: "SIAC-".to_owned(),
            folio_width: 6,
        };
        let mut world = Self {
            days_away: 0,
            reviewers_before: BTreeSet::new(),
            // A relay without room notes no place at which a phone stands, and of twins it notes one: it
            // may forget what the other has not read, which is repaired, as after a long absence.
            // Nor is a city that was put back what its phones hold.
            orderly: knobs.is_orderly()
                && knobs.relay_full == 0
                && knobs.city_restore == 0
                && !knobs.has_twins(),
            knobs,
            phones: Vec::new(),
            relay: None,
            store: MemoryStore::new(&format, bug),
            keys,
            clock: Arc::new(ManualClock::at(BEGINS)),
            sessions: JoinSet::new(),
            down_until: 0,
            city_backup: None,
            round: 0,
            misery: Dice::new(seed, 2),
            entropy,
            lives: 0,
            bug,
            gate_mended: Arc::default(),
            said: Vec::new(),
            typed: BTreeMap::new(),
            acknowledged: BTreeMap::new(),
            desk: Vec::new(),
            desk_open: Vec::new(),
            seen: BTreeMap::new(),
            violations: Vec::new(),
            words: None,
            frames_aloud: false,
            trace: Hash([0; 32]),
            frames: 0,
        };
        let catalogs = r#"{"agencies":[{"id":1,"name":"Alumbrado"},{"id":2,"name":"Agua"}],
            "neighborhoods":[{"id":1,"name":"COL. CENTRO"}]}"#;
        let setting = world.store.put_setting(CATALOGS, catalogs.as_bytes());
        setting.await.expect("an empty disk");
        world.start_relay().await;
        for person in 0..PEOPLE.len() {
            world.enrol(person).await;
        }
        for (name, role) in [
            ("ventanilla", manzana_server::desk::Role::Operator),
            ("supervision", manzana_server::desk::Role::Supervisor),
        ] {
            let role_name = match role {
                manzana_server::desk::Role::Operator => "operator",
                manzana_server::desk::Role::Supervisor => "supervisor",
            };
            let user = world.add_user(name, role_name).await;
            world.desk.push((Viewer { user, role }, name));
        }
        world
    }

    /// What happened so far, in one value: two runs of a seed give the same.
    pub(super) fn trace(&self) -> Hash {
        self.trace
    }

    /// Tells a step in words, if anybody listens.
    pub(super) fn tell(&mut self, words: impl FnOnce() -> String) {
        if let Some(told) = &mut self.words {
            told.push(words());
        }
    }

    /// Notes a violation.
    pub(super) fn blame(&mut self, checker: Checker, what: String) {
        self.violations.push(Violation { checker, what });
    }

    async fn add_user(&mut self, name: &str, role: &str) -> UserId {
        let row = UserRow {
            id: 0,
            name: name.to_owned(),
            display: name.to_owned(),
            role: role.to_owned(),
            password_hash: None,
            disabled: false,
        };
        self.store.add_user(&row).await.expect("an empty disk")
    }

    async fn enrol(&mut self, person: usize) {
        let (role, scopes, block) = PEOPLE[person];
        let user = self
            .add_user(&format!("persona {person}"), role.as_str())
            .await;
        let code = format!("codigo {person}");
        let invite = Invite {
            code_hash: invite_hash(&code),
            user,
            scopes: scopes.to_vec(),
            block,
            expires: i64::MAX,
        };
        self.store.put_invite(&invite).await.expect("an empty disk");
        let mut seed = [0; 32];
        manzana_engine::seal::Entropy::fill(&mut self.entropy, &mut seed);
        let key = SecretKey::from_seed(seed);
        let relay = self.relay.clone().expect("it was started");
        let enrolment = relay.enrol(&code, key.public()).await.expect("invited");
        let root = relay.keys().root().public();
        let incarnation = self.entropy.next() as u32;
        let meta = Meta::enrolled(&key, root, enrolment, incarnation).expect("the city's word");
        let store = SimStore::of(MemoryReplica::default(), self.bug);
        let mut replica = Replica::open(store.clone(), Continuity::First, &mut self.entropy)
            .expect("an empty disk");
        replica.enrol(meta).expect("an empty disk");
        self.phones.push(Phone {
            person,
            user,
            store,
            replica: Some(replica),
            link: None,
            skew: 0,
            cut_off: 0,
            revoked: false,
            backup: None,
            lives: 0,
            device: key.device(),
        });
    }

    /// Another phone with a copy of this one's store.
    pub(super) fn add_twin(&mut self, of: usize, continuity: Continuity) {
        let one = &self.phones[of];
        let twin = Phone {
            person: one.person,
            user: one.user,
            store: SimStore::of(one.store.copy(), self.bug),
            replica: None,
            link: None,
            skew: one.skew,
            cut_off: 0,
            revoked: one.revoked,
            backup: None,
            lives: one.lives + 1,
            device: one.device,
        };
        self.phones.push(twin);
        self.phones[of].lives += 1;
        let twin = self.phones.len() - 1;
        self.open(twin, continuity);
    }

    /// The device of a phone.
    pub(super) fn device(&self, i: usize) -> DeviceId {
        self.phones[i].device
    }

    /// What a phone's clock shows.
    pub(super) fn clock_of(&self, i: usize) -> i64 {
        self.clock.now_ms() + self.phones[i].skew
    }

    // ---- processes ----

    /// Starts a phone's process, if none runs.
    pub(super) fn open(&mut self, i: usize, continuity: Continuity) {
        if self.phones[i].replica.is_some() {
            return;
        }
        let store = self.phones[i].store.clone();
        match Replica::open(store, continuity, &mut self.entropy) {
            Ok(replica) => self.phones[i].replica = Some(replica),
            Err(error) => {
                // It died at its first write, or found no room: it starts again another time.
                self.failed(i, &error);
            }
        }
    }

    /// Does something with a running replica. `None` when it could not be done, in any way.
    pub(super) fn with<T>(
        &mut self,
        i: usize,
        act: impl FnOnce(&mut Replica<SimStore>, &mut Surroundings<'_>) -> ReplicaResult<T, SimStore>,
    ) -> Option<Result<T, ReplicaError<DiskError>>> {
        self.open(i, Continuity::Same);
        let now = self.clock_of(i);
        let Self {
            phones, entropy, ..
        } = self;
        let replica = phones[i].replica.as_mut()?;
        let mut around = Surroundings { now, entropy };
        let done = act(replica, &mut around);
        if let Err(error) = &done {
            self.failed(i, error);
        }
        Some(done)
    }

    /// What a failure means for the process.
    fn failed(&mut self, i: usize, error: &ReplicaError<DiskError>) {
        let phone = &mut self.phones[i];
        match error {
            ReplicaError::Store(DiskError::Died) => self.kill_phone(i),
            // As the runtime does: the session ends, the process goes on.
            ReplicaError::Store(DiskError::Full) => self.hang_up(i),
            ReplicaError::Denied(_)
            | ReplicaError::UnknownDocument
            | ReplicaError::Document(DocumentError::Unchanged) => {}
            other => {
                let what = format!("phone {} fails: {other:?}", phone.person);
                self.blame(Checker::Protocol, what);
                self.hang_up(i);
            }
        }
    }

    /// The process ends where it stands.
    pub(super) fn kill_phone(&mut self, i: usize) {
        let phone = &mut self.phones[i];
        phone.replica = None;
        phone.link = None;
        phone.store.power_cut();
    }

    /// The phone's session ends, however.
    pub(super) fn hang_up(&mut self, i: usize) {
        let phone = &mut self.phones[i];
        if phone.link.take().is_some()
            && let Some(replica) = &mut phone.replica
        {
            replica.hang_up();
        }
    }

    async fn start_relay(&mut self) {
        let face = CityFace {
            center: "Coatzatel".to_owned(),
            folio_prefix: "SIAC-".to_owned(),
            folio_width: 6,
        };
        self.lives += 1;
        let dice = Dice::new(self.lives ^ self.entropy.next(), 3);
        let parts = RelayParts {
            gate: Arc::new(InlineGate {
                bug: self.bug,
                mended: Arc::clone(&self.gate_mended),
            }),
            entropy: Arc::new(RelayDice::new(dice)),
            keys: CityKeys::of_seeds(self.keys),
            face,
            segment_docs: self.knobs.segment_docs,
        };
        let store = Arc::new(self.store.clone());
        self.relay = Relay::start(store, self.clock.clone(), parts).await.ok();
    }

    /// The relay's process ends where it stands.
    pub(super) fn kill_relay(&mut self) {
        if let Some(relay) = self.relay.take() {
            relay.kill();
        }
        self.sessions.abort_all();
        self.store.power_cut();
    }

    /// The city is put back as it was copied. What operators did since is theirs to do again, unless a
    /// phone can prove it; whom the administration had revoked it revokes again, and whom it had let in
    /// again it lets in again.
    pub(super) async fn restore_city(&mut self, down: u64) {
        let Some(backup) = self.city_backup.clone() else {
            return;
        };
        self.kill_relay();
        let backup = match self.knobs.journal {
            0 => backup,
            // To the last answer.
            _ => self.store.look(City::clone),
        };
        self.tell(|| format!("the city is put back as it was at {}", backup.head.seq));
        self.down_until = self.round + down;
        let keys = CityKeys::of_seeds(self.keys);
        let (before, epoch) = (backup.head.epoch, self.store.look(|city| city.head.epoch));
        let body = EpochBody {
            city: keys.city(),
            epoch: epoch + 1,
            before,
            cut: backup.head.seq,
            at: self.clock.now_ms(),
            why: "simulacro".to_owned(),
        };
        let record = SignedEpoch::sign(&body, keys.root());
        self.reviewers_before = self.reviewers();
        self.store.put_back(backup);
        self.store.begin_epoch(&record, &body).await.expect("room");
        for phone in &self.phones {
            let (device, now) = (phone.device, self.clock.now_ms());
            let stands = self.store.look(|city| {
                let record = city.devices.get(&device);
                record.is_some_and(|record| record.revoked_at.is_some())
            });
            if phone.revoked {
                let again = self.store.revoke_device(&device, now).await;
                again.expect("it is known");
            } else if stands {
                let again = renew(&self.store, keys.root(), &device, now).await;
                again.expect("room");
            }
        }
        let there = self.texts_in_city();
        let desks = self.said.iter_mut().filter(|said| said.phone.is_none());
        for said in desks {
            said.lost |= said.text.as_ref().is_some_and(|text| !there.contains(text));
        }
        // Operators sign in again: their pages forget what was not answered.
        self.desk_open.clear();
        self.seen.clear();
    }

    // ---- sessions ----

    /// A phone tries to begin a session.
    pub(super) async fn connect(&mut self, i: usize) {
        let phone = &self.phones[i];
        if phone.link.is_some() || phone.cut_off > self.round {
            return;
        }
        self.open(i, Continuity::Same);
        let Some(relay) = self.relay.clone() else {
            return;
        };
        let peer = IpAddr::V4(Ipv4Addr::new(10, 0, i as u8, 1));
        let mut nonce: Option<Vec<u8>> = None;
        for _ in 0..2 {
            let hello = self.with(i, |replica, _| {
                let kept = replica.meta()?.nonce.to_vec();
                let nonce = nonce.clone().unwrap_or(kept);
                replica
                    .hello(&nonce)
                    .map(|(hello, sig)| (nonce, hello, sig))
            });
            let Some(Ok((used, hello, signature))) = hello else {
                return;
            };
            let claim = Claim {
                device: self.phones[i].device,
                nonce: used,
                signature,
                grant: nonce.as_ref().and(self.phones[i].grant()),
            };
            match relay.admit(&claim, &hello, peer).await {
                Ok((record, hello)) => {
                    let (link, end) = Link::new();
                    self.phones[i].link = Some(link);
                    self.sessions.spawn(relay.serve(record, hello, end));
                    return;
                }
                Err(Refusal::Again { nonce: fresh }) => nonce = Some(fresh),
                Err(_) => return,
            }
        }
    }

    // ---- time ----

    /// One round: frames go up, the relay does all it can, frames come down.
    pub(super) async fn round(&mut self) -> usize {
        self.round += 1;
        self.clock.advance(ROUND.as_millis() as i64);
        if self.store.plan(|faults| faults.is_dead()) {
            self.kill_relay();
            self.down_until = self.down_until.max(self.round + 1);
        }
        if self.relay.is_none() && self.down_until <= self.round {
            self.start_relay().await;
        }
        let mut moved = 0;
        for i in 0..self.phones.len() {
            moved += self.send(i);
        }
        // The clock of the runtime stands still: this ends when nobody has anything left to do.
        tokio::time::sleep(ROUND).await;
        while self.sessions.try_join_next().is_some() {}
        for i in 0..self.phones.len() {
            moved += self.receive(i);
        }
        moved
    }

    /// Rounds.
    pub(super) async fn run(&mut self, rounds: u64) {
        for _ in 0..rounds {
            self.round().await;
        }
    }

    fn send(&mut self, i: usize) -> usize {
        if self.phones[i].cut_off > self.round {
            self.hang_up(i);
        }
        while self.phones[i].link.is_some() {
            let next = self.with(i, |replica, _| replica.next_up());
            let Some(Ok(Some(up))) = next else {
                break;
            };
            if self.frames_aloud {
                self.tell(|| format!("      ← {i}: {}", frames::brief_up(&up)));
            }
            if matches!(up, Up::Drift { .. } | Up::Reconcile { .. }) {
                self.drifted(i);
            }
            let (
                round,
                Self {
                    phones,
                    knobs,
                    misery,
                    ..
                },
            ) = (self.round, &mut *self);
            if let Some(link) = &mut phones[i].link {
                link.say(codec::encode(&up), round, knobs, misery);
            }
        }
        let round = self.round;
        let link = self.phones[i].link.as_mut();
        link.map_or(0, |link| link.carry_up(round))
    }

    fn drifted(&mut self, i: usize) {
        if self.orderly {
            let what = format!(
                "phone {} differs from the city although no frame was lost",
                self.phones[i].person
            );
            self.blame(Checker::Drift, what);
        }
    }

    fn receive(&mut self, i: usize) -> usize {
        let round = self.round;
        let mut moved = 0;
        {
            let Self {
                phones,
                knobs,
                misery,
                ..
            } = self;
            let Some(link) = &mut phones[i].link else {
                return 0;
            };
            moved += link.fetch(round, knobs, misery);
        }
        while let Some(link) = &mut self.phones[i].link {
            let Some(bytes) = link.hear(round) else {
                if link.is_over() {
                    self.hang_up(i);
                }
                break;
            };
            moved += 1;
            self.hear(i, &bytes);
        }
        moved
    }

    fn hear(&mut self, i: usize, bytes: &[u8]) {
        self.frames += 1;
        let who = (i as u64).to_be_bytes();
        self.trace = Hash::of_parts(b"trace", &[self.trace.as_bytes(), &who, bytes]);
        let Ok(frame) = decode_frame::<Down>(bytes) else {
            self.blame(Checker::Protocol, "the relay sent no frame".to_owned());
            return;
        };
        if self.frames_aloud {
            self.tell(|| format!("      → {i}: {}", frames::brief(&frame)));
        }
        match &frame {
            Down::Receipt { receipt } => self.note_receipt(i, receipt),
            Down::Bye {
                code: code @ (ByeCode::BadFrame | ByeCode::BadSignature | ByeCode::BadVersion),
            } => {
                let what = format!("the relay says {code:?} to phone {}", self.phones[i].person);
                self.blame(Checker::Protocol, what);
            }
            _ => {}
        }
        let over = matches!(frame, Down::Bye { .. });
        let is_log = matches!(frame, Down::Log { .. });
        match self.with(i, |replica, around| replica.handle(frame, around)) {
            Some(Ok(Err(error))) => {
                let what = format!("phone {}: {error}", self.phones[i].person);
                self.blame(Checker::Protocol, what);
                self.hang_up(i);
            }
            Some(Ok(Ok(()))) if is_log => self.check_scopes_now(i),
            _ => {}
        }
        if over {
            self.hang_up(i);
        }
    }

    // ---- healing ----

    /// Everything that can go wrong stops, and everybody comes by until nothing changes any more.
    pub(super) async fn heal(&mut self) {
        (self.knobs.loss, self.knobs.duplication, self.knobs.reorder) = (0, 0, 0);
        self.knobs.delay_rounds = 0;
        self.down_until = 0;
        if self.store.plan(|faults| faults.is_dead()) {
            // It died in the story's very last round: it does not wake up with what it had in memory.
            self.kill_relay();
        }
        if self.relay.is_some() {
            self.store.plan(|faults| faults.revive());
        } else {
            self.store.power_cut();
        }
        for i in 0..self.phones.len() {
            self.phones[i].cut_off = 0;
            if self.phones[i].replica.is_some() {
                self.phones[i].store.plan(|faults| faults.revive());
            } else {
                self.phones[i].store.power_cut();
            }
            self.hang_up(i);
        }
        let mut before = None;
        for cycle in 0..CYCLES {
            // Nothing that waits longer each time waits longer than this.
            self.clock.advance(PAUSE_MS);
            self.retry_desk().await;
            self.clear_up().await;
            for i in 0..self.phones.len() {
                self.hang_up(i);
                self.connect(i).await;
                if !self.until_quiet(cycle).await {
                    return;
                }
            }
            let now = (
                self.state_of_phones(),
                self.store.look(|city| (city.head.seq, city.held.len())),
            );
            if before.as_ref() == Some(&now) && self.desk_open.is_empty() {
                if !self.store.look(|city| city.head.recovering) {
                    return;
                }
                self.close_recovery().await;
            }
            before = Some(now);
        }
        self.blame(
            Checker::Liveness,
            format!("something still changes after everybody came by {CYCLES} times"),
        );
    }

    /// The administrator has seen that nothing comes any more.
    async fn close_recovery(&mut self) {
        let Some(relay) = self.relay.clone() else {
            return;
        };
        self.tell(|| "the recovery is closed".to_owned());
        if let Err(error) = relay.close_recovery().await {
            self.blame(
                Checker::Liveness,
                format!("the recovery does not close: {error}"),
            );
        }
    }

    fn state_of_phones(&self) -> Vec<Option<Vec<u8>>> {
        let meta = |phone: &Phone| phone.store.look(|kept| kept.meta().ok().flatten());
        let read = |bytes: Vec<u8>| codec::decode::<Meta>(&bytes).ok();
        let phones = self.phones.iter();
        phones
            .map(|phone| {
                let meta = meta(phone).and_then(read)?;
                // The nonce and the clock change with every session and say nothing.
                Some(codec::encode(&(
                    meta.last_n,
                    meta.incarnation,
                    meta.position,
                    meta.answers_seen,
                )))
            })
            .collect()
    }

    /// `false` when it does not become quiet: it would not in the next cycle either.
    async fn until_quiet(&mut self, cycle: usize) -> bool {
        let mut quiet = 0;
        for _ in 0..QUIET_WITHIN {
            let moved = self.round().await;
            let mut links = self.phones.iter().filter_map(|phone| phone.link.as_ref());
            let still = moved == 0 && links.all(Link::is_quiet);
            quiet = if still { quiet + 1 } else { 0 };
            if quiet >= QUIET {
                return true;
            }
        }
        let what = format!("the city is not quiet within {QUIET_WITHIN} rounds (cycle {cycle})");
        self.blame(Checker::Liveness, what);
        false
    }
}
