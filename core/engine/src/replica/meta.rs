//! The replica's own state: identity, chain, counters, position. One row, rewritten with each commit.

use minicbor::bytes::ByteVec;
use minicbor::{Decode, Encode};

use super::repair::Fruitless;
use crate::digest::SignedDigest;
use crate::epoch::{self, EpochBody};
use crate::grant::{GrantBody, Scope, SignedGrant};
use crate::ids::{Actor, CatalogId, CityId, DeviceId, DocId, Hash, RecordId, Seq};
use crate::keys::{self, Purpose, SecretKey};
use crate::policy::Facts;
use crate::wire::{Enrolment, Position};

/// What an enrolled device knows of itself and of its city.
#[derive(Clone, Encode, Decode)]
#[cbor(map)]
pub struct Meta {
    #[cbor(n(0), with = "minicbor::bytes")]
    seed: [u8; 32],
    /// The city's root key.
    #[cbor(n(1), with = "minicbor::bytes")]
    pub root: [u8; 32],
    /// The relay's key.
    #[cbor(n(2), with = "minicbor::bytes")]
    pub relay_key: [u8; 32],
    /// The key that personal data are sealed to.
    #[cbor(n(3), with = "minicbor::bytes")]
    pub seal_key: [u8; 32],
    /// The grant.
    #[n(4)]
    pub grant: SignedGrant,
    /// The grant, read.
    #[n(5)]
    pub granted: GrantBody,
    /// Name of the call centre.
    #[n(6)]
    pub center: String,
    /// Prefix of folios.
    #[n(7)]
    pub folio_prefix: String,
    /// Digits of folios.
    #[n(8)]
    pub folio_width: u8,
    /// The captain's block.
    #[n(9)]
    pub block: Option<CatalogId>,
    /// The user's name, for their own screen.
    #[n(10)]
    pub display: String,
    /// Which life of the store this is.
    #[n(11)]
    pub incarnation: u32,
    /// Envelopes written in this incarnation.
    #[n(12)]
    pub last_n: u64,
    /// Hash of the last of them.
    #[n(13)]
    pub last_hash: Hash,
    /// Number of the next intent.
    #[n(14)]
    pub next_intent: u32,
    /// Counter of the actor in use.
    #[n(15)]
    pub actor: u16,
    /// Where the device stands in the city's log.
    #[n(16)]
    pub position: Position,
    /// Highest answer number that is durable here.
    #[n(17)]
    pub answers_seen: u64,
    /// For the next session.
    #[n(18)]
    pub nonce: ByteVec,
    /// Highest place in the log that a verified receipt or digest named.
    #[n(19)]
    pub city_head: Seq,
    /// Own changes applied to the accepted layer ahead of the stream, up to this place.
    #[n(20)]
    pub ahead: Seq,
    /// City time of the last verified receipt, milliseconds UTC.
    #[n(21)]
    pub city_time: i64,
    /// Petitions whose capture had to be done again, and what they became: later work follows them.
    #[n(22)]
    pub(super) moved: Vec<(DocId, DocId)>,
    /// Scopes that are filled again because their digest differed.
    #[n(23)]
    pub(super) drifted: Vec<Scope>,
    /// Scopes whose repair ended and whose digest has not been the relay's since.
    #[cbor(n(26), default)]
    pub(super) fruitless: Vec<Fruitless>,
    /// Documents that cannot be opened here, in the version in which they cannot.
    #[cbor(n(27), default)]
    pub(super) exceptions: Vec<(DocId, [u8; 16])>,
    /// See [`Meta::surplus`].
    #[cbor(n(28), default)]
    pub(super) surplus: Vec<DocId>,
    /// Documents of which something came without its base: asked for whole, until they come.
    #[n(24)]
    pub(super) missing: Vec<DocId>,
    /// Documents that do not open here, to be asked for whole in every session until they do.
    #[cbor(n(25), default)]
    pub(super) broken: Vec<DocId>,
    /// The city was put back from a backup and takes back what it lost, as the relay last said.
    #[cbor(n(29), default)]
    pub(super) recovering: bool,
    /// The last digest of each scope that was the relay's too: what it proves goes back if the city loses it.
    #[cbor(n(30), default)]
    pub(super) vouched: Vec<(Scope, SignedDigest)>,
    /// Petitions of which nothing is left here since their capture was not accepted, with its record:
    /// done again it makes another petition, and what waits for the old one is done on that.
    #[cbor(n(40), default)]
    pub(super) gone: Vec<(DocId, RecordId)>,
    /// Own envelopes, by incarnation and place, that were held when an answer was missed: what is said of
    /// them now is asked for.
    #[cbor(n(41), default)]
    pub(super) doubtful: Vec<(u32, u64)>,
    /// Own envelopes, by incarnation and place, that are to be done again once their documents have come
    /// whole.
    #[cbor(n(42), default)]
    pub(super) late: Vec<(u32, u64)>,
    /// Own envelopes, by incarnation and place, that were accepted and whose places in the chain a twin has in
    /// the city that was put back: whether their changes stand there is looked at once it has recovered.
    #[cbor(n(43), default)]
    pub(super) displaced: Vec<(u32, u64)>,
    /// What the city last said of a backup that it put back.
    #[n(44)]
    pub(super) put_back: Option<EpochBody>,
    /// Own changes in open envelopes that will not be accepted, since in another document they stand upon
    /// something that was not: nothing is built upon them.
    #[cbor(n(45), default)]
    pub(super) doomed: Vec<Hash>,
}

/// Most changes kept in `doomed`; without them acts upon several documents may be done again more often.
const DOOMED: usize = 1_024;

/// Most documents kept in `broken`: a damaged disk is not mended document by document.
const BROKEN: usize = 256;

/// Most pairs kept in `moved` and in `gone`: captures are done again after a refusal, a clone or a
/// restore, never by routine.
const MOVED: usize = 64;

impl core::fmt::Debug for Meta {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("Meta")
            .field("device", &self.device())
            .field("incarnation", &self.incarnation)
            .field("last_n", &self.last_n)
            .field("position", &self.position)
            .finish_non_exhaustive()
    }
}

/// An enrolment that the city's root did not sign.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the enrolment is not signed by the city's root")]
pub struct BadEnrolment;

impl Meta {
    /// Takes an enrolment over after checking every signature against the root.
    ///
    /// # Errors
    /// When anything in it is not the root's, or is for another key.
    pub fn enrolled(
        key: &SecretKey,
        root: [u8; 32],
        enrolment: Enrolment,
        incarnation: u32,
    ) -> Result<Self, BadEnrolment> {
        let vouched = |key: &[u8; 32], signature: &[u8; 64]| {
            keys::verify(&root, Purpose::RelayKey, key, signature).map_err(|_| BadEnrolment)
        };
        vouched(&enrolment.relay_key, &enrolment.relay_key_signature)?;
        vouched(&enrolment.seal_key, &enrolment.seal_key_signature)?;
        let granted = enrolment.grant.open(&root).map_err(|_| BadEnrolment)?;
        if granted.device_key != key.public() {
            return Err(BadEnrolment);
        }
        Ok(Self {
            seed: key.seed(),
            root,
            relay_key: enrolment.relay_key,
            seal_key: enrolment.seal_key,
            grant: enrolment.grant,
            granted,
            center: enrolment.center,
            folio_prefix: enrolment.folio_prefix,
            folio_width: enrolment.folio_width,
            block: enrolment.block,
            display: enrolment.display,
            incarnation,
            last_n: 0,
            last_hash: Hash([0; 32]),
            next_intent: 0,
            actor: 0,
            position: Position::default(),
            answers_seen: 0,
            nonce: enrolment.nonce,
            city_head: 0,
            ahead: 0,
            city_time: 0,
            moved: Vec::new(),
            drifted: Vec::new(),
            fruitless: Vec::new(),
            exceptions: Vec::new(),
            surplus: Vec::new(),
            missing: Vec::new(),
            broken: Vec::new(),
            recovering: false,
            vouched: Vec::new(),
            gone: Vec::new(),
            doubtful: Vec::new(),
            late: Vec::new(),
            displaced: Vec::new(),
            put_back: None,
            doomed: Vec::new(),
        })
    }

    /// The device's key.
    pub fn key(&self) -> SecretKey {
        SecretKey::from_seed(self.seed)
    }

    /// The device's id.
    pub fn device(&self) -> DeviceId {
        DeviceId::of_key(&self.granted.device_key)
    }

    /// The city's id.
    pub fn city(&self) -> CityId {
        self.granted.city
    }

    /// What policy needs to know.
    pub fn facts(&self) -> Facts {
        Facts {
            device: self.device(),
            user: self.granted.user,
            role: self.granted.role,
            scopes: self.granted.scopes.clone(),
        }
    }

    /// The scopes that the device holds.
    pub fn scopes(&self) -> Vec<Scope> {
        held_scopes(&self.granted)
    }

    /// The folio as people write it.
    pub fn folio_text(&self, folio: u64) -> String {
        format!(
            "{}{folio:0width$}",
            self.folio_prefix,
            width = usize::from(self.folio_width)
        )
    }

    pub(super) fn current_actor(&self) -> Actor {
        Actor::new(&self.device(), self.actor)
    }

    /// A fresh actor: the one before may have written a change that will never be in the log, and two
    /// changes with the same actor and number block a document for ever.
    pub(super) fn next_actor(&mut self) {
        self.actor = self.actor.wrapping_add(1);
    }

    /// The last backup that the city put back as this device was told, and whether the city still takes back
    /// what it lost.
    pub fn recovery(&self) -> Option<(&EpochBody, bool)> {
        self.put_back.as_ref().map(|body| (body, self.recovering))
    }

    /// Whether the log that this device reads began with a backup that was put back.
    pub(super) fn was_put_back(&self) -> bool {
        self.position.epoch > epoch::FIRST
    }

    /// Notes a document that does not open here.
    pub(super) fn broke(&mut self, doc: DocId) {
        if self.broken.len() < BROKEN && !self.broken.contains(&doc) {
            self.broken.push(doc);
        }
    }

    /// Notes an own envelope that is to be done again later.
    pub(super) fn be_late(&mut self, incarnation: u32, n: u64) {
        if !self.late.contains(&(incarnation, n)) {
            self.late.push((incarnation, n));
        }
    }

    /// Notes own changes that will not be accepted.
    pub(super) fn doom(&mut self, changes: impl IntoIterator<Item = Hash>) {
        for change in changes {
            if self.doomed.len() < DOOMED && !self.doomed.contains(&change) {
                self.doomed.push(change);
            }
        }
    }

    /// Notes an own envelope in whose place the city has a twin's.
    pub(super) fn note_displaced(&mut self, incarnation: u32, n: u64) {
        if !self.displaced.contains(&(incarnation, n)) {
            self.displaced.push((incarnation, n));
        }
    }

    /// The document opens again, or is gone.
    pub(super) fn mended(&mut self, doc: &DocId) {
        self.broken.retain(|other| other != doc);
    }

    /// Notes a petition of which nothing is left here: its capture was not accepted.
    pub(super) fn note_gone(&mut self, doc: DocId, capture: RecordId) {
        if self.gone.len() >= MOVED {
            self.gone.remove(0);
        }
        self.gone.push((doc, capture));
    }

    /// A petition is in the city's log; was it here before, under another capture's id?
    pub(super) fn came(&mut self, doc: DocId, capture: &RecordId) {
        let mut gone = self.gone.iter();
        let old = gone.find(|(old, of)| of == capture && *old != doc);
        if let Some((old, _)) = old.copied() {
            self.note_moved(old, doc);
        }
    }

    /// Notes what a petition became when its capture was done again.
    pub(super) fn note_moved(&mut self, old: DocId, new: DocId) {
        self.gone.retain(|(gone, _)| *gone != old);
        if self.moved.len() >= MOVED {
            self.moved.remove(0);
        }
        self.moved.push((old, new));
    }

    /// The petition that stands for this one now.
    pub(super) fn now_at(&self, doc: DocId) -> DocId {
        let step = |at, (old, new): &(DocId, DocId)| if at == *old { *new } else { at };
        self.moved.iter().fold(doc, step)
    }

    pub(super) fn take_record(&mut self) -> RecordId {
        let id = RecordId::new(&self.device(), self.next_intent);
        self.next_intent += 1;
        id
    }
}

/// The scopes that a grant lets a device hold: those named, what its user wrote, and the catalogs.
/// Both ends use this one function.
pub fn held_scopes(grant: &GrantBody) -> Vec<Scope> {
    let mut scopes = grant.scopes.clone();
    scopes.push(Scope::Author(grant.user));
    scopes.push(Scope::Catalog);
    scopes.sort_unstable();
    scopes.dedup();
    scopes
}
