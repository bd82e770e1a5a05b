//! A device that only writes, reduced to its chain: it signs envelopes beforehand and pushes them.

use std::sync::Arc;
use std::time::{Duration, Instant};

use manzana_client::Invitation;
use manzana_engine::answer::{Answer, SignedReceipt};
use manzana_engine::codec;
use manzana_engine::document::{Document, MadeChange};
use manzana_engine::envelope::{ChainContext, Entry, Envelope, EnvelopeBody, Part};
use manzana_engine::grant::{GrantBody, Role, Scope, SignedGrant};
use manzana_engine::ids::{Actor, DeviceId, DocId, Hash, RecordId, Seq};
use manzana_engine::keys::{Purpose, SecretKey};
use manzana_engine::record::{By, Record};
use manzana_engine::replica::{Meta, held_scopes};
use manzana_engine::wire::{Down, Hello, PROTOCOL_VERSION, Position, Up};

use crate::device::{Door, Link, NOW, enrolment, push};

/// Envelopes of one device on their way and not answered, as honest devices hold it.
const WINDOW: usize = 128;
/// The one life of these devices' stores.
const INCARNATION: u32 = 1;

/// Who a device is.
#[derive(Debug)]
struct Identity {
    key: SecretKey,
    relay_key: [u8; 32],
    grant: SignedGrant,
    granted: GrantBody,
}

/// A device's chain, and its way to the relay.
#[derive(Debug)]
pub struct Author {
    identity: Arc<Identity>,
    /// What its clock says, milliseconds UTC.
    pub now: i64,
    n: u64,
    last: Hash,
    records: u32,
    ready: Vec<Up>,
    line: Line,
}

impl Author {
    /// A device with a grant that the city's root signs.
    pub fn new(
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
        Self::of(Identity {
            grant: SignedGrant::sign(&granted, root),
            key,
            relay_key,
            granted,
        })
    }

    /// A device that the relay enrols with this invitation. Gives the key to which the city wants
    /// personal data sealed, too.
    ///
    /// # Panics
    /// When the relay does not enrol it.
    pub async fn enrol(invitation: &Invitation, seed: [u8; 32]) -> (Self, [u8; 32]) {
        let key = SecretKey::from_seed(seed);
        let door = Door::new(invitation.relay.clone(), &invitation.root);
        let enrolment = enrolment(&door, invitation, &key).await;
        let meta = Meta::enrolled(&key, invitation.root, enrolment, INCARNATION);
        let meta = meta.expect("the city's word");
        let granted = meta.granted.clone();
        let author = Self::of(Identity {
            grant: meta.grant.clone(),
            key,
            relay_key: meta.relay_key,
            granted,
        });
        (author, meta.seal_key)
    }

    fn of(identity: Identity) -> Self {
        let identity = Arc::new(identity);
        Self {
            line: Line {
                identity: Arc::clone(&identity),
                seen: 0,
                link: None,
            },
            identity,
            now: NOW,
            n: 0,
            last: Hash([0; 32]),
            records: 0,
            ready: Vec::new(),
        }
    }

    /// The device's id.
    pub fn id(&self) -> DeviceId {
        self.identity.key.device()
    }

    /// What the city granted it.
    pub fn granted(&self) -> &GrantBody {
        &self.identity.granted
    }

    /// The grant as it is signed.
    pub fn grant(&self) -> &SignedGrant {
        &self.identity.grant
    }

    /// Who acts, and when by the device's clock.
    pub fn by(&self) -> By {
        By {
            user: self.granted().user,
            role: self.granted().role,
            at: self.now,
        }
    }

    /// The actor of its changes.
    pub fn actor(&self) -> Actor {
        Actor::new(&self.id(), 0)
    }

    /// The id of its next intent.
    pub fn record(&mut self) -> RecordId {
        self.records += 1;
        RecordId::new(&self.id(), self.records)
    }

    /// Adds records to a document as this device, and signs the envelope. Gives the change's bytes.
    ///
    /// # Panics
    /// When the document is no petition.
    pub fn add(&mut self, doc: DocId, document: &mut Document, records: &[Record]) -> usize {
        let id = self.record();
        let made = document.add_records(self.actor(), id, records);
        self.sign(doc, made.expect("a petition"), Vec::new())
    }

    /// Signs the envelope of one change, to be pushed. Gives the change's bytes.
    pub fn sign(&mut self, doc: DocId, made: MadeChange, parts: Vec<Vec<u8>>) -> usize {
        let bytes = made.bytes.len();
        let entry = Entry {
            doc,
            change: made.bytes,
        };
        self.n += 1;
        let body = EnvelopeBody {
            n: self.n,
            device_time: self.now,
            city_head: 0,
            groups: vec![vec![entry]],
            detached: parts.iter().map(|part| Part::hash(part)).collect(),
        };
        let context = ChainContext {
            city: self.granted().city,
            device: self.id(),
            incarnation: INCARNATION,
            prev: self.last,
            grant: self.grant().id(),
        };
        let envelope = Envelope::sign(context, &body, parts, &self.identity.key);
        self.last = envelope.hash();
        self.ready.push(push(&envelope));
        bytes
    }

    /// What is signed and not pushed yet: to be pushed in this order.
    pub fn take_ready(&mut self) -> Vec<Up> {
        std::mem::take(&mut self.ready)
    }

    /// Its way to the relay, for somebody who pushes while this device goes on signing.
    pub fn line(&self) -> Line {
        Line {
            identity: Arc::clone(&self.identity),
            seen: self.line.seen,
            link: None,
        }
    }

    /// See [`Line::connect`].
    pub async fn connect(&mut self, door: &Door, at: Seq) {
        self.line.connect(door, at).await;
    }

    /// See [`Line::enter`].
    pub async fn enter(&self, door: &Door, at: Option<Seq>) -> Link {
        self.line.enter(door, at).await
    }

    /// Ends the session.
    pub fn hang_up(&mut self) {
        self.line.hang_up();
    }

    /// Pushes what is ready and reads until each is accepted. Gives how many there were, and how long
    /// it took.
    pub async fn deliver(mut self) -> (Self, u64, Duration) {
        let begun = Instant::now();
        let ready = self.take_ready();
        let count = self.line.deliver(ready).await;
        (self, count, begun.elapsed())
    }
}

/// A device's way to the relay: it pushes what was signed, and reads the answers.
#[derive(Debug)]
pub struct Line {
    identity: Arc<Identity>,
    seen: u64,
    link: Option<Link>,
}

impl Line {
    /// Opens a session that stands at this place of the log, as if everything before it were held.
    ///
    /// # Panics
    /// When the relay does not let it in.
    pub async fn connect(&mut self, door: &Door, at: Seq) {
        let mut link = self.enter(door, Some(at)).await;
        let welcome = link.next().await;
        assert!(matches!(welcome, Some(Down::Welcome { .. })), "{welcome:?}");
        self.link = Some(link);
    }

    /// The session's socket, before anything was read from it. Without a place the device holds
    /// nothing, and will be sent everything.
    ///
    /// # Panics
    /// When the relay does not let it in.
    pub async fn enter(&self, door: &Door, at: Option<Seq>) -> Link {
        let Identity { key, granted, .. } = &*self.identity;
        let hello = codec::encode(&Hello {
            version: PROTOCOL_VERSION,
            schema: manzana_engine::document::SCHEMA,
            incarnation: INCARNATION,
            position: at.map_or_else(Position::default, |seq| Position {
                epoch: 1,
                seq,
                scopes: held_scopes(granted),
                fills: Vec::new(),
            }),
            answers_seen: self.seen,
        });
        let signed = |nonce: &[u8]| {
            let signature = key.sign(Purpose::Session, &[nonce, &hello].concat());
            (hello.clone(), signature)
        };
        let entered = door.enter(&key.device(), vec![0; 8], signed).await;
        entered.expect("let in")
    }

    /// Ends the session.
    pub fn hang_up(&mut self) {
        self.link = None;
    }

    /// Pushes frames and reads until each is accepted. Gives how many there were.
    ///
    /// # Panics
    /// Without a session, or when something is not accepted.
    pub async fn deliver(&mut self, frames: Vec<Up>) -> u64 {
        let count = frames.len();
        let mut frames = frames.into_iter();
        let mut link = self.link.take().expect("connected");
        let (mut sent, mut answered) = (0, 0);
        while answered < count {
            while sent < count && sent < answered + WINDOW {
                let frame = frames.next().expect("counted");
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
        count as u64
    }

    fn read(&mut self, receipt: &SignedReceipt) -> usize {
        let Identity { key, granted, .. } = &*self.identity;
        let body = receipt.open(&self.identity.relay_key, &granted.city, &key.device());
        let body = body.expect("signed by the relay");
        for answer in &body.answers {
            let good = matches!(answer.groups[..], [Answer::Accepted { .. }]);
            assert!(good, "{answer:?}");
            self.seen = self.seen.max(answer.no);
        }
        body.answers.len()
    }
}
