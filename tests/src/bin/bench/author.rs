//! A device that only writes, reduced to its chain: it signs envelopes beforehand and pushes them.

use std::time::{Duration, Instant};

use manzana_engine::answer::{Answer, SignedReceipt};
use manzana_engine::codec;
use manzana_engine::document::{Document, MadeChange};
use manzana_engine::envelope::{ChainContext, Entry, Envelope, EnvelopeBody, Part};
use manzana_engine::grant::{GrantBody, Role, Scope, SignedGrant};
use manzana_engine::ids::{Actor, DeviceId, DocId, Hash, RecordId, Seq};
use manzana_engine::keys::{Purpose, SecretKey};
use manzana_engine::record::{By, Record};
use manzana_engine::replica::held_scopes;
use manzana_engine::wire::{Down, Hello, PROTOCOL_VERSION, Position, Up};
use manzana_tests::device::{Door, Link, NOW, push};

/// Envelopes of one device on their way and not answered, as honest devices hold it.
const WINDOW: usize = 128;
/// The one life of these devices' stores.
const INCARNATION: u32 = 1;

/// A device's key, grant and chain.
#[derive(Debug)]
pub(crate) struct Author {
    key: SecretKey,
    relay_key: [u8; 32],
    pub(crate) grant: SignedGrant,
    pub(crate) granted: GrantBody,
    n: u64,
    last: Hash,
    records: u32,
    seen: u64,
    ready: Vec<Up>,
    link: Option<Link>,
}

impl Author {
    /// A device with a grant that the city's root signs.
    pub(crate) fn new(
        seed: [u8; 32],
        user: u64,
        role: Role,
        scopes: Vec<Scope>,
        root: &SecretKey,
        relay_key: [u8; 32],
    ) -> Self {
        let key = SecretKey::from_seed(seed);
        let granted = GrantBody {
            city: root.city(),
            device_key: key.public(),
            user,
            role,
            scopes,
            valid_from: 0,
            valid_to: i64::MAX,
        };
        Self {
            grant: SignedGrant::sign(&granted, root),
            key,
            relay_key,
            granted,
            n: 0,
            last: Hash([0; 32]),
            records: 0,
            seen: 0,
            ready: Vec::new(),
            link: None,
        }
    }

    pub(crate) fn id(&self) -> DeviceId {
        self.key.device()
    }

    pub(crate) fn by(&self) -> By {
        By {
            user: self.granted.user,
            role: self.granted.role,
            at: NOW,
        }
    }

    pub(crate) fn actor(&self) -> Actor {
        Actor::new(&self.id(), 0)
    }

    pub(crate) fn record(&mut self) -> RecordId {
        self.records += 1;
        RecordId::new(&self.id(), self.records)
    }

    /// Adds records to a document as this device, and signs the envelope. Gives the change's bytes.
    pub(crate) fn add(&mut self, doc: DocId, document: &mut Document, records: &[Record]) -> usize {
        let id = self.record();
        let made = document.add_records(self.actor(), id, records);
        self.sign(doc, made.expect("a petition"), Vec::new())
    }

    /// Signs the envelope of one change, to be pushed. Gives the change's bytes.
    pub(crate) fn sign(&mut self, doc: DocId, made: MadeChange, parts: Vec<Vec<u8>>) -> usize {
        let bytes = made.bytes.len();
        let entry = Entry {
            doc,
            change: made.bytes,
        };
        self.n += 1;
        let body = EnvelopeBody {
            n: self.n,
            device_time: NOW,
            city_head: 0,
            groups: vec![vec![entry]],
            detached: parts.iter().map(|part| Part::hash(part)).collect(),
        };
        let context = ChainContext {
            city: self.granted.city,
            device: self.id(),
            incarnation: INCARNATION,
            prev: self.last,
            grant: self.grant.id(),
        };
        let envelope = Envelope::sign(context, &body, parts, &self.key);
        self.last = envelope.hash();
        self.ready.push(push(&envelope));
        bytes
    }

    /// Opens a session that stands at this place of the log, as if everything before it were held.
    pub(crate) async fn connect(&mut self, door: &Door, at: Seq) {
        let mut link = self.enter(door, Some(at)).await;
        let welcome = link.next().await;
        assert!(matches!(welcome, Some(Down::Welcome { .. })), "{welcome:?}");
        self.link = Some(link);
    }

    /// The session's socket, before anything was read from it. Without a place the device holds
    /// nothing, and will be sent everything.
    pub(crate) async fn enter(&self, door: &Door, at: Option<Seq>) -> Link {
        let hello = codec::encode(&Hello {
            version: PROTOCOL_VERSION,
            schema: manzana_engine::document::SCHEMA,
            incarnation: INCARNATION,
            position: at.map_or_else(Position::default, |seq| Position {
                epoch: 1,
                seq,
                scopes: held_scopes(&self.granted),
                fills: Vec::new(),
            }),
            answers_seen: self.seen,
        });
        let signed = |nonce: &[u8]| {
            let signature = self.key.sign(Purpose::Session, &[nonce, &hello].concat());
            (hello.clone(), signature)
        };
        let entered = door.enter(&self.id(), vec![0; 8], signed).await;
        entered.expect("let in")
    }

    pub(crate) fn hang_up(&mut self) {
        self.link = None;
    }

    /// Pushes what is ready and reads until each is accepted. Gives how many there were, and how long
    /// it took.
    pub(crate) async fn deliver(mut self) -> (Self, u64, Duration) {
        let begun = Instant::now();
        let mut ready = std::mem::take(&mut self.ready).into_iter();
        let count = ready.len();
        let mut link = self.link.take().expect("connected");
        let (mut sent, mut answered) = (0, 0);
        while answered < count {
            while sent < count && sent < answered + WINDOW {
                let frame = ready.next().expect("counted");
                link.send(&frame).await;
                sent += 1;
            }
            if let Down::Receipt { receipt } = link.next().await.expect("the session goes on") {
                answered += self.read(&receipt);
            }
        }
        if count > 0 {
            link.send(&Up::Seen { answers: self.seen }).await;
        }
        self.link = Some(link);
        (self, count as u64, begun.elapsed())
    }

    fn read(&mut self, receipt: &SignedReceipt) -> usize {
        let (city, id) = (self.granted.city, self.id());
        let body = receipt.open(&self.relay_key, &city, &id);
        let body = body.expect("signed by the relay");
        for answer in &body.answers {
            let good = matches!(answer.groups[..], [Answer::Accepted { .. }]);
            assert!(good, "{answer:?}");
            self.seen = self.seen.max(answer.no);
        }
        body.answers.len()
    }
}
