//! A small world: devices with production replicas, a relay of production pieces, and wires between
//! them that a test can cut, swallow from, or fill with anything. Time and entropy are seeded.

// Each test binary that shares this module uses a part of it.
#![allow(dead_code, unreachable_pub)]
#![allow(clippy::unwrap_used)]

use std::collections::VecDeque;

use manzana_engine::codec;
use manzana_engine::document::Document;
use manzana_engine::envelope::Envelope;
use manzana_engine::fold::EventKind;
use manzana_engine::grant::{GrantBody, Role, Scope};
use manzana_engine::ids::{CatalogId, DeviceId, DocId, RecordId, UserId};
use manzana_engine::intent::NewPetition;
use manzana_engine::keys::{self, Purpose, SecretKey};
use manzana_engine::record::{CatalogRef, Event};
use manzana_engine::relay::{Ask, LogPlace, Need, Opening, Session, pack_segment};
use manzana_engine::replica::{
    Continuity, DocRow, MemoryReplica, Meta, ProtocolError, Replica, ReplicaStore, Saved,
    Surroundings, held_scopes,
};
use manzana_engine::seal::{self, Entropy};
use manzana_engine::wire::{ByeCode, Down, Enrolment, Hello, Up, decode_frame};

use super::model::Relay;

/// Seeded entropy: xorshift. Never for keys that matter.
#[derive(Clone)]
pub struct Seeded(pub u64);

impl Seeded {
    pub fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    /// A number below `n`.
    pub fn below(&mut self, n: usize) -> usize {
        (self.next() >> 16) as usize % n
    }
}

impl Entropy for Seeded {
    fn fill(&mut self, bytes: &mut [u8]) {
        for byte in bytes {
            *byte = (self.next() >> 24) as u8;
        }
    }
}

/// The wire between a device and the relay while a session lives.
struct Wire {
    session: Session,
    up: VecDeque<Vec<u8>>,
    down: VecDeque<Vec<u8>>,
}

/// One device.
pub struct Device {
    pub replica: Replica<MemoryReplica>,
    pub key: SecretKey,
    wire: Option<Wire>,
    /// The code of the last goodbye.
    pub bye: Option<ByeCode>,
    /// Frames of this kind are lost on their way down.
    pub swallow: Option<fn(&Down) -> bool>,
    /// Every frame that came down, for stories that play one again.
    pub heard: Vec<Down>,
    /// Every frame that went up.
    pub said: Vec<Up>,
    pub broken: Option<ProtocolError>,
}

pub struct World {
    pub relay: Relay,
    pub devices: Vec<Device>,
    pub entropy: Seeded,
    pub now: i64,
    /// Documents of one segment of a pack, rows of one frame of the log.
    pub batch: usize,
}

impl World {
    pub fn new(seed: u64) -> Self {
        Self {
            relay: Relay::new(),
            devices: Vec::new(),
            entropy: Seeded(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1),
            now: 1_760_000_000_000,
            batch: 2,
        }
    }

    /// Enrols a device; gives its place in the world.
    pub fn enrol(&mut self, user: UserId, role: Role, scopes: &[Scope]) -> usize {
        let mut seed = [0; 32];
        self.entropy.fill(&mut seed);
        let key = SecretKey::from_seed(seed);
        let grant = self.relay.grant(GrantBody {
            city: self.relay.root.city(),
            device_key: key.public(),
            user,
            role,
            scopes: scopes.to_vec(),
            valid_from: 0,
            valid_to: i64::MAX,
        });
        let seal_key = seal::key_pair(&[6; 32]).1;
        let vouch = |key: &[u8; 32]| self.relay.root.sign(Purpose::RelayKey, key);
        let enrolment = Enrolment {
            grant,
            relay_key: self.relay.key.public(),
            relay_key_signature: vouch(&self.relay.key.public()),
            seal_key,
            seal_key_signature: vouch(&seal_key),
            center: "Coatzatel".into(),
            folio_prefix: "SIAC-".into(),
            folio_width: 6,
            block: None,
            nonce: vec![0; 16].into(),
            display: "Rosa".into(),
        };
        let incarnation = self.entropy.next() as u32;
        let root = self.relay.root.public();
        let meta = Meta::enrolled(&key, root, enrolment, incarnation).unwrap();
        let store = MemoryReplica::default();
        let mut replica = Replica::open(store, Continuity::First, &mut self.entropy).unwrap();
        replica.enrol(meta).unwrap();
        self.add(replica, key)
    }

    fn add(&mut self, replica: Replica<MemoryReplica>, key: SecretKey) -> usize {
        self.devices.push(Device {
            replica,
            key,
            wire: None,
            bye: None,
            swallow: None,
            heard: Vec::new(),
            said: Vec::new(),
            broken: None,
        });
        self.devices.len() - 1
    }

    /// A second phone (or a later life) with this store.
    pub fn open(&mut self, of: usize, store: MemoryReplica, continuity: Continuity) -> usize {
        let key = self.devices[of].key.clone();
        let replica = Replica::open(store, continuity, &mut self.entropy).unwrap();
        self.add(replica, key)
    }

    pub fn device(&self, i: usize) -> DeviceId {
        self.devices[i].key.device()
    }

    pub fn replica(&mut self, i: usize) -> &mut Replica<MemoryReplica> {
        &mut self.devices[i].replica
    }

    pub fn row(&self, i: usize, doc: DocId) -> Option<DocRow> {
        self.devices[i].replica.store().doc(&doc).unwrap()
    }

    /// A new grant with other scopes; the device learns of it at its next session.
    pub fn regrant(&mut self, i: usize, scopes: &[Scope]) {
        let role = self.relay.known[&self.device(i)].granted.role;
        self.regrant_as(i, role, scopes);
    }

    /// The same in another role.
    pub fn regrant_as(&mut self, i: usize, role: Role, scopes: &[Scope]) {
        let mut body = self.relay.known[&self.device(i)].granted.clone();
        (body.role, body.scopes) = (role, scopes.to_vec());
        self.relay.grant(body);
    }

    // ---- what people do ----

    pub fn tick(&mut self) -> i64 {
        self.now += 1_000;
        self.relay.time = self.now;
        self.now
    }

    pub fn capture(&mut self, i: usize, title: &str, agency: CatalogId) -> Saved {
        let now = self.tick();
        let form = NewPetition {
            title: title.into(),
            description: "No enciende.".into(),
            agency: Some(CatalogRef::new(agency, "Alumbrado")),
            ..NewPetition::default()
        };
        let Self {
            devices, entropy, ..
        } = self;
        devices[i]
            .replica
            .capture(form, None, now, entropy)
            .unwrap()
    }

    pub fn comment(&mut self, i: usize, doc: DocId, text: &str) -> Saved {
        let now = self.tick();
        self.replica(i).comment(doc, text, now).unwrap()
    }

    pub fn act(
        &mut self,
        i: usize,
        docs: &[DocId],
        kind: EventKind,
        fill: impl FnOnce(&mut Event),
    ) -> Saved {
        let now = self.tick();
        self.replica(i).act(docs, now, fill, kind).unwrap()
    }

    // ---- the wire ----

    /// Begins a session; nothing is delivered yet.
    pub fn connect(&mut self, i: usize) {
        self.tick();
        let device = self.device(i);
        // Another session of the same device is replaced.
        for other in 0..self.devices.len() {
            if self.device(other) == device {
                self.cut(other);
            }
        }
        let nonce = [7; 16];
        let (hello, signature) = self.devices[i].replica.hello(&nonce).unwrap();
        let known = &self.relay.known[&device];
        let signed = [&nonce[..], &hello].concat();
        keys::verify(&known.key, Purpose::Session, &signed, &signature).unwrap();
        if known.revoked {
            self.devices[i].bye = Some(ByeCode::Revoked);
            return;
        }
        let hello: Hello = decode_frame(&hello).unwrap();
        let (session, frames) = Session::begin(
            &hello,
            known.grant.clone(),
            known.granted.clone(),
            Opening {
                chain: self.relay.chain(device, hello.incarnation),
                log: LogPlace {
                    epoch: self.relay.epoch,
                    head: self.relay.head(),
                    floor: self.relay.floor,
                },
                time: self.relay.time,
                nonce: &nonce,
                recovery: self.relay.recovery(),
            },
        )
        .unwrap();
        self.relay.forget_answers(&device, hello.answers_seen);
        self.devices[i].wire = Some(Wire {
            session,
            up: VecDeque::new(),
            down: frames.iter().map(codec::encode).collect(),
        });
    }

    pub fn is_connected(&self, i: usize) -> bool {
        self.devices[i].wire.is_some()
    }

    /// The connection is lost with everything in flight.
    pub fn cut(&mut self, i: usize) {
        if self.devices[i].wire.take().is_some() {
            self.devices[i].replica.hang_up();
        }
    }

    /// Puts a frame on the wire as if the device had sent it.
    pub fn inject_up(&mut self, i: usize, up: &Up) {
        let wire = self.devices[i].wire.as_mut().unwrap();
        wire.up.push_back(codec::encode(up));
    }

    /// Hands the device a frame as if the relay had sent it.
    pub fn inject_down(&mut self, i: usize, down: Down) -> Result<(), ProtocolError> {
        let Self {
            devices,
            entropy,
            now,
            ..
        } = self;
        let mut around = Surroundings { now: *now, entropy };
        devices[i].replica.handle(down, &mut around).unwrap()
    }

    /// Moves one frame somewhere on the device's wire. `false` when nothing is left to do.
    pub fn step(&mut self, i: usize) -> bool {
        self.offer(i) || self.deliver_up(i) || self.deliver_down(i) || self.serve(i)
    }

    /// Runs the device's session until both ends have nothing to say.
    pub fn pump(&mut self, i: usize) {
        let mut steps = 0;
        while self.step(i) {
            steps += 1;
            assert!(steps < 20_000, "device {i} and the relay talk for ever");
        }
    }

    pub fn sync(&mut self, i: usize) {
        self.connect(i);
        self.pump(i);
    }

    /// Everyone connects and talks until all is quiet.
    pub fn heal(&mut self) {
        for _ in 0..4 {
            for i in 0..self.devices.len() {
                self.devices[i].swallow = None;
                self.sync(i);
            }
        }
    }

    fn offer(&mut self, i: usize) -> bool {
        let device = &mut self.devices[i];
        let Some(wire) = &mut device.wire else {
            return false;
        };
        let Some(up) = device.replica.next_up().unwrap() else {
            return false;
        };
        wire.up.push_back(codec::encode(&up));
        device.said.push(up);
        true
    }

    fn deliver_up(&mut self, i: usize) -> bool {
        let Some(wire) = &mut self.devices[i].wire else {
            return false;
        };
        let Some(bytes) = wire.up.pop_front() else {
            return false;
        };
        let up: Up = decode_frame(&bytes).unwrap();
        match wire.session.frame(up) {
            Ok((ask, reply)) => {
                wire.down.extend(reply.iter().map(codec::encode));
                self.answer(i, ask);
            }
            Err(error) => {
                let code = error.code();
                wire.down.push_back(codec::encode(&Down::Bye { code }));
            }
        }
        true
    }

    fn answer(&mut self, i: usize, ask: Ask) {
        let device = self.device(i);
        let reply = match ask {
            Ask::Submit(envelope) => {
                let context = envelope.context;
                let taken = self.relay.take(&envelope).is_some();
                let (have, have_hash) = self.relay.chain(device, context.incarnation);
                (!taken).then_some(Down::Gap { have, have_hash })
            }
            Ask::Carry(envelope) => {
                let groups = self.relay.take(&envelope).unwrap_or_default();
                let wire = self.devices[i].wire.as_ref().unwrap();
                let (time, key) = (self.relay.time, &self.relay.key);
                Some(wire.session.carried(&envelope, groups, time, key))
            }
            Ask::Seen(up_to) => {
                self.relay.forget_answers(&device, up_to);
                None
            }
            Ask::Want(id) => {
                let wire = self.devices[i].wire.as_ref().unwrap();
                let kept = self.relay.docs.get(&id);
                let may = kept.is_some_and(|kept| wire.session.covers(&kept.summary.scopes()));
                let doc = may.then(|| self.relay.packed(&id)).flatten();
                Some(Down::Whole { id, doc })
            }
            Ask::Reconcile { scope, ranges } => {
                let wire = self.devices[i].wire.as_ref().unwrap();
                let members = self.relay.members(&scope);
                match wire.session.reconcile(scope, &members, &ranges) {
                    Ok((frame, learnt)) => {
                        self.relay.learnt.push(learnt);
                        frame
                    }
                    Err(error) => Some(Down::Bye { code: error.code() }),
                }
            }
            Ask::Nothing => None,
            // No backup is put back in this world.
            Ask::Receipts(_) | Ask::Vouched { .. } | Ask::TakeBack { .. } | Ask::Forsake(_) => None,
        };
        let Some(wire) = &mut self.devices[i].wire else {
            return;
        };
        wire.down.extend(reply.iter().map(codec::encode));
        for device in &mut self.devices {
            if let Some(wire) = &mut device.wire {
                wire.session.answers_arrived();
            }
        }
    }

    fn deliver_down(&mut self, i: usize) -> bool {
        let Some(wire) = &mut self.devices[i].wire else {
            return false;
        };
        let Some(bytes) = wire.down.pop_front() else {
            return false;
        };
        let down: Down = decode_frame(&bytes).unwrap();
        if self.devices[i]
            .swallow
            .is_some_and(|swallow| swallow(&down))
        {
            return true;
        }
        self.devices[i].heard.push(down.clone());
        if let Down::Bye { code } = down {
            self.devices[i].bye = Some(code);
        }
        let over = matches!(down, Down::Bye { .. });
        if let Err(error) = self.inject_down(i, down) {
            self.devices[i].broken = Some(error);
            self.cut(i);
        }
        if over {
            self.cut(i);
        }
        true
    }

    /// The relay's driver: one frame for what the session needs next.
    fn serve(&mut self, i: usize) -> bool {
        let device = self.device(i);
        let Self {
            relay,
            devices,
            batch,
            ..
        } = self;
        let Some(wire) = &mut devices[i].wire else {
            return false;
        };
        let frames: Vec<Down> = match wire.session.need(relay.head()) {
            Need::Answers { after } => {
                let mut answers = relay.answers_after(&device, after);
                let complete = answers.len() <= *batch;
                answers.truncate(*batch);
                let time = relay.time;
                let frame = wire.session.answers(answers, complete, time, &relay.key);
                frame.into_iter().collect()
            }
            Need::Log { after } => {
                let rows = relay.rows_after(after, *batch);
                let to = rows.last().map_or(relay.head(), |row| row.seq);
                let frame = wire.session.log(&rows, to, |doc| relay.packed(doc));
                frame.into_iter().collect()
            }
            Need::Fill(fill) => {
                let all = relay.in_scope(&fill.scope, fill.before);
                let done = all.len() <= *batch;
                let docs: Vec<_> = all.iter().take(*batch).collect();
                let packed: Vec<_> = docs.iter().filter_map(|doc| relay.packed(doc)).collect();
                let before = packed.last().map_or(0, |doc| doc.creation_seq);
                let frame = wire.session.fill(pack_segment(&packed), before, done);
                frame.into_iter().collect()
            }
            Need::Mend { scope, docs } => {
                let (mut whole, mut gone, mut unknown) = (Vec::new(), Vec::new(), Vec::new());
                for doc in docs.into_iter().take(*batch) {
                    match relay.docs.get(&doc) {
                        None => unknown.push(doc),
                        Some(kept) if kept.summary.scopes().contains(&scope) => {
                            whole.extend(relay.packed(&doc));
                        }
                        Some(_) => gone.push(doc),
                    }
                }
                let frame = wire.session.mend(&whole, gone, unknown);
                frame.into_iter().collect()
            }
            Need::Digests => {
                let scopes = wire.session.scopes().to_vec();
                let digests = scopes.into_iter().map(|scope| {
                    let digest = relay.digest(&scope);
                    (scope, digest)
                });
                let at = relay.head();
                wire.session.digests(at, digests.collect(), &relay.key)
            }
            Need::Nothing => return false,
        };
        wire.down.extend(frames.iter().map(codec::encode));
        true
    }

    // ---- checkers ----

    /// The comments of a petition as a device shows it, sorted.
    pub fn comments(&self, i: usize, doc: DocId) -> Vec<String> {
        comments(self.row(i, doc).unwrap().bytes())
    }

    pub fn to_correct(&self, i: usize) -> Vec<RecordId> {
        let rows = self.devices[i].replica.store().to_correct().unwrap();
        rows.into_iter().map(|row| row.id).collect()
    }

    pub fn unanswered(&self, i: usize) -> Vec<Envelope> {
        self.devices[i].replica.unanswered(usize::MAX).unwrap()
    }

    /// What must hold of a device that has caught up: it holds exactly the documents of its scopes, as
    /// the relay has them, nothing waits, and its digests are the relay's.
    pub fn assert_whole(&self, i: usize) {
        let device = &self.devices[i];
        let known = &self.relay.known[&self.device(i)];
        let held = held_scopes(&known.granted);
        let store = device.replica.store();
        let mut expected = 0;
        for (doc, kept) in &self.relay.docs {
            let mine = kept.summary.scopes().iter().any(|s| held.contains(s));
            let row = store.doc(doc).unwrap();
            assert_eq!(row.is_some(), mine, "device {i} holds {doc}");
            let Some(row) = row else { continue };
            expected += 1;
            let context = format!("device {i}, document {doc}");
            assert_eq!(row.accepted_heads, kept.summary.heads, "{context}");
            let accepted = Document::load(row.accepted.as_ref().unwrap()).unwrap();
            let relays = Document::load(&kept.saved).unwrap();
            assert_eq!(hashes(&accepted), hashes(&relays), "{context}");
            assert_eq!(row.folio, kept.folio, "{context}");
            assert_eq!(row.creation_seq, Some(kept.creation), "{context}");
            assert_eq!(row.provisional, 0, "{context}");
            assert_eq!(row.shown, None, "{context}");
            assert_eq!(row.summary, kept.summary, "{context}");
        }
        assert_eq!(
            store.list().unwrap().len(),
            expected,
            "device {i} holds more"
        );
        for scope in &held {
            let ours = store.digest(scope).unwrap().digest();
            assert_eq!(ours, self.relay.digest(scope), "device {i}, scope {scope}");
        }
        let (unsent, _) = store.unsent(&self.device(i)).unwrap();
        assert_eq!(unsent, 0, "device {i} waits for answers");
    }

    pub fn assert_all_whole(&self) {
        (0..self.devices.len()).for_each(|i| self.assert_whole(i));
    }
}

pub fn comments(saved: &[u8]) -> Vec<String> {
    let view = Document::load(saved).unwrap().view().unwrap();
    let mut texts: Vec<String> = view
        .comments
        .iter()
        .map(|c| c.record.text.clone())
        .collect();
    texts.sort();
    texts
}

/// The changes of a document as a set: sorted hashes.
pub fn hashes(document: &Document) -> Vec<manzana_engine::ids::Hash> {
    let mut all: Vec<_> = document.changes().iter().map(|made| made.hash).collect();
    all.sort_unstable();
    all
}
