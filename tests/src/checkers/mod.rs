//! What must be true once everything has healed: pure functions over plain data.
//!
//! Whoever plays a city (processes that are killed, a simulator in memory) reads its end state into a
//! [`CityState`] and a [`DeviceState`] for each device, says what people were told ([`Told`]), and asks
//! [`check`]. The rules, each a function of its own:
//!
//! | rule | what it says |
//! |---|---|
//! | [`log()`] | places without gaps; each row's bytes stand in an envelope whose signature and chain verify |
//! | [`folios()`] | unique, without gaps from the city's first, in the order of the log |
//! | [`documents()`] | the stored documents are what their rows of the log make |
//! | [`promises()`] | nothing saved is lost, nothing acknowledged is lost |
//! | [`causes()`] | every record has its author's saved intent, and stands once |
//! | [`replicas()`] | devices hold their scopes, equal to the city's, and nothing else |

mod documents;
mod log;
mod promises;
mod replicas;

use std::collections::BTreeMap;

use manzana_engine::answer::{Answer, EnvelopeAnswer};
use manzana_engine::envelope::Envelope;
use manzana_engine::grant::Scope;
use manzana_engine::ids::{DeviceId, DocId, Hash, RecordId, Seq, UserId};
use manzana_engine::replica::{DocRow, IntentRow};

pub use documents::{causes, documents};
pub use log::{folios, log};
pub use promises::promises;
pub use replicas::replicas;

/// Faults that are told in full; the others are counted.
const TOLD: usize = 40;

/// A row of the city's log.
#[derive(Debug, Clone)]
pub struct LogEntry {
    /// Place.
    pub seq: Seq,
    /// Document.
    pub doc: DocId,
    /// Author.
    pub device: DeviceId,
    /// Which life of the author's store.
    pub incarnation: u32,
    /// Place in that chain.
    pub n: u64,
    /// The change's hash.
    pub hash: Hash,
    /// The change.
    pub change: Vec<u8>,
    /// The folio that it issued.
    pub folio: Option<u64>,
}

/// A document as the city keeps it.
#[derive(Debug, Clone)]
pub struct CityDoc {
    /// Its bytes.
    pub saved: Vec<u8>,
    /// Place of its creation.
    pub creation_seq: Seq,
    /// Its folio.
    pub folio: Option<u64>,
    /// The scopes that hold it, by its stored summary.
    pub scopes: Vec<Scope>,
}

/// An envelope as the city keeps it.
#[derive(Debug, Clone)]
pub struct KeptEnvelope {
    /// The envelope, without its parts.
    pub envelope: Envelope,
    /// What its groups were answered last.
    pub answers: Vec<Answer>,
}

/// A device as the city knows it.
#[derive(Debug, Clone)]
pub struct Author {
    /// Its public key.
    pub key: [u8; 32],
    /// Its user.
    pub user: UserId,
    /// The relay writes for it: it has no replica.
    pub desk: bool,
}

/// Everything that the city holds.
#[derive(Debug, Clone, Default)]
pub struct CityState {
    /// Last place of the log.
    pub head: Seq,
    /// The first folio that was to be issued.
    pub first_folio: u64,
    /// The next one.
    pub next_folio: u64,
    /// Folios that were declared void, as runs.
    pub void: Vec<(u64, u64)>,
    /// Whether a backup was put back: folios then come back in any order.
    pub put_back: bool,
    /// The log, in order.
    pub log: Vec<LogEntry>,
    /// The documents.
    pub docs: BTreeMap<DocId, CityDoc>,
    /// Every chain, in order.
    pub chains: BTreeMap<(DeviceId, u32), Vec<KeptEnvelope>>,
    /// The devices.
    pub devices: BTreeMap<DeviceId, Author>,
    /// The digests of scopes.
    pub digests: BTreeMap<Scope, Hash>,
}

/// Everything that a device holds.
#[derive(Debug, Clone)]
pub struct DeviceState {
    /// How the run calls it.
    pub name: String,
    /// The device.
    pub device: DeviceId,
    /// The life of its store.
    pub incarnation: u32,
    /// Its scopes.
    pub held: Vec<Scope>,
    /// Where it stands in the city's log.
    pub position: Seq,
    /// Its documents, with their bytes.
    pub docs: Vec<DocRow>,
    /// Everything that was done on it.
    pub intents: BTreeMap<RecordId, IntentRow>,
    /// What the relay signed for, oldest first.
    pub receipts: Vec<EnvelopeAnswer>,
    /// Its digests of its scopes.
    pub digests: BTreeMap<Scope, Hash>,
}

/// What people were told while it ran.
#[derive(Debug, Clone, Default)]
pub struct Told {
    /// "Guardado": device, intent and the documents that it was about.
    pub saved: Vec<(DeviceId, RecordId, Vec<DocId>)>,
    /// "Recibida": document and folio.
    pub received: Vec<(DocId, u64)>,
}

/// Something that is not as it must be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    /// The rule, by the name of its function.
    pub rule: &'static str,
    /// What is wrong.
    pub what: String,
}

/// What the checkers looked at and what they found.
#[derive(Debug, Clone, Default)]
pub struct Verdict {
    /// The faults, as many as are told in full.
    pub faults: Vec<Fault>,
    /// All faults.
    pub count: usize,
    /// Acts that people were told are saved.
    pub saved: usize,
    /// Those of them that are in the log.
    pub accepted: usize,
    /// Those that wait in "Por corregir".
    pub to_correct: usize,
    /// Those that the relay holds for review.
    pub held: usize,
    /// Those that are nowhere.
    pub lost: usize,
    /// Captures that people were told are received.
    pub received: usize,
    /// Folios issued.
    pub folios: usize,
    /// Records, changes and captures that stand more than once.
    pub duplicates: usize,
    /// Copies of documents compared byte by byte.
    pub compared: usize,
    /// Those of them that hold the same changes, saved in another order.
    pub reordered: usize,
    /// Groups that the relay once answered with *waiting*.
    pub waited: usize,
    /// Rows of the log.
    pub rows: usize,
}

impl Verdict {
    pub(crate) fn fault(&mut self, rule: &'static str, what: String) {
        self.count += 1;
        if self.faults.len() < TOLD {
            self.faults.push(Fault { rule, what });
        }
    }

    /// Whether everything is as it must be.
    pub fn is_good(&self) -> bool {
        self.count == 0
    }
}

impl std::fmt::Display for Verdict {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        writeln!(
            f,
            "acts saved {} = accepted {} + to correct {} + held {} + LOST {}",
            self.saved, self.accepted, self.to_correct, self.held, self.lost
        )?;
        writeln!(
            f,
            "received {} · log rows {} · folios {} · duplicates {} · copies compared {} (in another order {}) · \
             answered \"waiting\" {}",
            self.received,
            self.rows,
            self.folios,
            self.duplicates,
            self.compared,
            self.reordered,
            self.waited
        )?;
        for fault in &self.faults {
            writeln!(f, "FAULT {}: {}", fault.rule, fault.what)?;
        }
        write!(f, "faults {}", self.count)
    }
}

/// Asks every rule.
pub fn check(city: &CityState, devices: &[DeviceState], told: &Told) -> Verdict {
    let mut verdict = Verdict::default();
    log(city, &mut verdict);
    folios(city, &mut verdict);
    documents(city, &mut verdict);
    promises(city, devices, told, &mut verdict);
    causes(city, devices, &mut verdict);
    replicas(city, devices, &mut verdict);
    verdict
}
