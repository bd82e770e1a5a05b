//! The relay's storage behind an async trait; `commit_batch` is at its heart.
//!
//! SQLite is the default ([`sqlite`]); any other backend runs the same conformance suite. The rules
//! that the trait asks for, whatever the backend:
//! - `seq` comes from the city's head row inside the transaction, never from an autoincrement, so
//!   that the log has no gaps; folios likewise from their counter row.
//! - Everything of a batch commits together: log rows, documents, summaries, scope membership,
//!   digests, answers, chain heads. When it returns it is durable.
//! - Reading methods see every earlier commit.

#[doc(hidden)]
pub mod conformance;
mod held;
pub mod sqlite;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use manzana_engine::answer::{Answer, EnvelopeAnswer};
use manzana_engine::envelope::PartKind;
use manzana_engine::epoch::{ClosingBody, EpochBody, SignedClosing, SignedEpoch};
use manzana_engine::fold::Status;
use manzana_engine::grant::{Scope, SignedGrant};
use manzana_engine::ids::{
    Actor, CatalogId, DeviceId, DocId, GrantId, Hash, RecordId, Seq, UserId,
};
use manzana_engine::reconcile::Members;
use manzana_engine::record::CatalogRef;
pub use manzana_engine::relay::Move;
use manzana_engine::summary::Summary;
use manzana_engine::wire::PackedDoc;

pub use held::{Decision, HeldCounts, HeldGroup};

/// Errors of the storage, for any backend.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StorageError {
    /// No room: nothing of the operation was written.
    #[error("the storage is full")]
    Full,
    /// The database was written by a newer version of this program.
    #[error("the database has version {found}, this program knows up to {known}")]
    NewerDatabase {
        /// Version found.
        found: u32,
        /// Newest version known.
        known: u32,
    },
    /// The database is damaged.
    #[error("the database is damaged")]
    Damaged,
    /// Another process holds it.
    #[error("the database is in use by another process")]
    Busy,
    /// A key that must be new is there already (a code used twice, a user name taken…).
    #[error("it exists already")]
    Exists,
    /// What was asked for is not there.
    #[error("it does not exist")]
    Missing,
    /// Anything else; the source is for the log.
    #[error("the storage failed")]
    Backend(#[source] Box<dyn std::error::Error + Send + Sync>),
}

/// Result of a storage operation.
pub type Result<T> = std::result::Result<T, StorageError>;

/// How a city's folios are written, told at the first start and kept as settings.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CityFormat {
    /// The first folio that is issued.
    pub first_folio: u64,
    /// What folios begin with ("SIAC-").
    pub folio_prefix: String,
    /// Digits of a folio, filled with zeros on the left.
    pub folio_width: u8,
}

impl CityFormat {
    /// Setting: [`CityFormat::first_folio`] in decimal digits.
    pub const FIRST_FOLIO: &'static str = "first_folio";
    /// Setting: [`CityFormat::folio_prefix`] as UTF-8.
    pub const FOLIO_PREFIX: &'static str = "folio_prefix";
    /// Setting: [`CityFormat::folio_width`] in decimal digits.
    pub const FOLIO_WIDTH: &'static str = "folio_width";
}

/// Where the city's log stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Head {
    /// Epoch.
    pub epoch: u32,
    /// Last place of the log; 0 when empty.
    pub seq: Seq,
    /// Put back from a backup, and the recovery is not closed: no folio is issued.
    pub recovering: bool,
}

/// An epoch of the city's log that began when a backup was put back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EpochRow {
    /// The record that says so, signed by the root.
    pub record: SignedEpoch,
    /// What the record says.
    pub body: EpochBody,
    /// What the record says that closed its recovery; `None` while that is open.
    pub closed: Option<ClosingBody>,
}

/// Signs the record of a recovery that is being closed; the store has no keys.
pub type SignClosing = Box<dyn FnOnce(&ClosingBody) -> SignedClosing + Send>;

/// How far a recovery has come.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RecoveryCounts {
    /// Changes accepted since the epoch began.
    pub changes: u64,
    /// Folios that came back with what a device proved.
    pub reclaimed: u64,
    /// The highest folio that anybody named; the first one after the backup's when nobody did.
    pub next_folio: u64,
    /// Petitions that have no folio yet.
    pub without_folio: u64,
    /// Groups that wait for changes which nobody has brought.
    pub waiting: u64,
    /// Devices that came since, and all that may come.
    pub devices: (u64, u64),
}

/// A device as the relay knows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeviceRecord {
    /// Its id.
    pub id: DeviceId,
    /// Its public key.
    pub key: [u8; 32],
    /// Its user.
    pub user: UserId,
    /// Its current grant.
    pub grant: SignedGrant,
    /// The grant's id.
    pub grant_id: GrantId,
    /// City time of its revocation, milliseconds UTC.
    pub revoked_at: Option<i64>,
    /// A desk device's secret seed: the relay authors for its user. `None` for people's phones.
    pub desk_seed: Option<[u8; 32]>,
}

/// How far the relay has a device's chain.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ChainHead {
    /// Envelopes held without gaps.
    pub have: u64,
    /// Hash of the last; zeros when `have` is 0.
    pub hash: Hash,
}

impl Default for ChainHead {
    fn default() -> Self {
        Self {
            have: 0,
            hash: Hash([0; 32]),
        }
    }
}

/// A document as the relay keeps it.
#[derive(Debug, Clone, PartialEq)]
pub struct DocState {
    /// The document.
    pub doc: DocId,
    /// `save_nocompress` of it; empty from `list` and `changed_since`, which open no document.
    pub saved: Bytes,
    /// Its summary.
    pub summary: Summary,
    /// Place of its creation.
    pub creation_seq: Seq,
    /// Place of its last change.
    pub last_seq: Seq,
    /// Folio.
    pub folio: Option<u64>,
    /// Masked name of the petitioner, unless erased or anonymous.
    pub masked_name: Option<String>,
}

/// One accepted change, ready to be written.
#[derive(Debug, Clone, PartialEq)]
pub struct EntryCommit {
    /// The document.
    pub doc: DocId,
    /// The change's hash.
    pub hash: Hash,
    /// The change as received.
    pub change: Bytes,
    /// Its actor: bound to (device, incarnation) at its first use.
    pub actor: Actor,
    /// The document's summary after it.
    pub summary: Summary,
    /// The folio that its petition had before a backup was put back, as a receipt proves.
    pub reclaims: Option<u64>,
    /// Its actor is not the envelope's: the city takes back what a device proved to have been accepted.
    pub given_back: bool,
}

/// What becomes of one group.
#[derive(Debug, Clone, PartialEq)]
pub enum GroupCommit {
    /// Goes into the log.
    Accepted(Vec<EntryCommit>),
    /// Is in the log already: somebody else gave it back before its author came.
    Known {
        /// Place of its first entry.
        seq: Seq,
    },
    /// Does not; `changes` are the hashes that this concerns (descendants are orphaned by them).
    NotAccepted {
        /// The answer to keep for the author. Never `Answer::Accepted`.
        answer: Answer,
        /// Hashes of the group's changes that could be decoded.
        changes: Vec<Hash>,
        /// Why it is in quarantine, for the operator of the relay.
        detail: Option<String>,
    },
}

/// A detached part to keep.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PartCommit {
    /// Hash signed by the envelope.
    pub hash: Hash,
    /// What it is.
    pub kind: PartKind,
    /// Its document.
    pub doc: DocId,
    /// The encoded part.
    pub bytes: Bytes,
    /// The name to show in lists, for `PartKind::MaskedName`.
    pub masked_name: Option<String>,
}

/// One envelope with what becomes of its groups.
#[derive(Debug, Clone, PartialEq)]
pub struct EnvelopeCommit {
    /// Author.
    pub device: DeviceId,
    /// Incarnation of the author's store.
    pub incarnation: u32,
    /// Place in the chain.
    pub n: u64,
    /// Its hash.
    pub hash: Hash,
    /// The encoded envelope without parts, kept as received.
    pub bytes: Bytes,
    /// Detached parts.
    pub parts: Vec<PartCommit>,
    /// One per group. When `resumes` is set, only for those groups that were waiting or held; others
    /// `None`. A held one is never accepted any more: what is released is done again as another change.
    pub groups: Vec<Option<GroupCommit>>,
    /// The envelope is stored already and this answers groups that waited, or that were held: no chain
    /// step, no new row.
    pub resumes: bool,
    /// The operator's act that it carries, if one: remembered in the same commit once it is accepted.
    pub act: Option<ActKey>,
}

/// An operator's act under its idempotency key: the page may send it again until it is answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ActKey {
    /// The operator.
    pub user: UserId,
    /// The key that the page made.
    pub key: String,
    /// The desk's intent that the act became.
    pub record: RecordId,
}

/// New bytes of a document after the batch.
#[derive(Debug, Clone, PartialEq)]
pub struct DocWrite {
    /// The document.
    pub doc: DocId,
    /// `save_nocompress` of it.
    pub saved: Bytes,
}

/// One durable write of the intake.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct CommitBatch {
    /// City time, milliseconds UTC.
    pub time: i64,
    /// In the order of arrival; entries of one document in the order they apply.
    pub envelopes: Vec<EnvelopeCommit>,
    /// The final bytes of each changed document.
    pub docs: Vec<DocWrite>,
}

/// A row of the city's log, with its moves in all scopes it touches (or in those asked for).
#[derive(Debug, Clone, PartialEq)]
pub struct LogRow {
    /// Place.
    pub seq: Seq,
    /// Document.
    pub doc: DocId,
    /// Author's device.
    pub device: DeviceId,
    /// Change hash.
    pub hash: Hash,
    /// The change.
    pub change: Bytes,
    /// Folio, when it created a petition.
    pub folio: Option<u64>,
    /// Moves.
    pub moves: Vec<(Scope, Move)>,
}

/// What a batch became.
#[derive(Debug, Clone, Default)]
pub struct Committed {
    /// The log rows written, in order.
    pub rows: Vec<Arc<LogRow>>,
    /// The documents after the batch, once each.
    pub docs: Vec<Arc<DocState>>,
    /// The answers written for each device.
    pub answers: BTreeMap<DeviceId, Vec<EnvelopeAnswer>>,
}

/// What a change does to the membership of a document in scopes: those before and after it, each in the
/// order of scopes.
pub fn moves(before: &[Scope], after: &[Scope]) -> Vec<(Scope, Move)> {
    let all: BTreeSet<&Scope> = before.iter().chain(after).collect();
    all.into_iter()
        .map(|scope| {
            let step = match (before.contains(scope), after.contains(scope)) {
                (true, true) => Move::Stay,
                (true, false) => Move::Leave,
                _ => Move::Enter,
            };
            (scope.clone(), step)
        })
        .collect()
}

/// What is known of a change's hash.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fate {
    /// In the log, at this place.
    Accepted(Seq),
    /// Refused, orphaned, held or quarantined: its descendants are orphaned.
    Dead,
}

/// An enrolment code, one use.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Invite {
    /// SHA-256 of the code.
    pub code_hash: Hash,
    /// The user it enrols.
    pub user: UserId,
    /// Scopes of the grant to come.
    pub scopes: Vec<Scope>,
    /// The block of a captain.
    pub block: Option<CatalogId>,
    /// Last valid moment, milliseconds UTC.
    pub expires: i64,
}

/// A person (or desk) of the city.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UserRow {
    /// Number.
    pub id: UserId,
    /// Sign-in name, unique.
    pub name: String,
    /// Name shown to colleagues.
    pub display: String,
    /// Role, as [`manzana_engine::grant::Role::as_str`].
    pub role: String,
    /// argon2id PHC string; `None` for people who only have phones.
    pub password_hash: Option<String>,
    /// May not sign in nor enrol.
    pub disabled: bool,
}

/// A console session.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SessionRow {
    /// SHA-256 of the cookie's token.
    pub token_hash: Hash,
    /// The user.
    pub user: UserId,
    /// CSRF token.
    pub csrf: String,
    /// Last use, milliseconds UTC.
    pub used_at: i64,
}

/// A status filter of the console's list.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StatusFilter {
    /// Pendiente de atención.
    Pending,
    /// Turnada.
    Referred,
    /// En desarrollo, without conflict.
    InProgress,
    /// Atendida, confirmed or final.
    Done,
    /// Atendida por confirmar.
    DoneUnconfirmed,
    /// No procede.
    NotApplicable,
    /// En conflicto.
    Conflict,
}

impl StatusFilter {
    /// The one filter under which a petition is listed.
    pub fn of(summary: &Summary) -> Self {
        match summary.status {
            _ if summary.conflict => Self::Conflict,
            Status::Pending => Self::Pending,
            Status::Referred => Self::Referred,
            Status::InProgress => Self::InProgress,
            Status::Done if summary.unconfirmed && !summary.is_final => Self::DoneUnconfirmed,
            Status::Done => Self::Done,
            Status::NotApplicable => Self::NotApplicable,
        }
    }
}

/// A page of the console's list: petitions by creation place, newest first.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ListFilter {
    /// Words to find, any case, accents ignored and misspellings forgiven: folio, provisional folio, subject, street, colonia, masked name.
    pub query: Option<String>,
    /// Status.
    pub status: Option<StatusFilter>,
    /// One of the agencies it is with.
    pub agency: Option<CatalogId>,
    /// Neighborhood.
    pub neighborhood: Option<CatalogId>,
    /// Only those created before this place (keyset paging).
    pub before: Option<Seq>,
    /// Rows, at most 200.
    pub limit: usize,
}

/// A page of the list.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Listed {
    /// Petitions without their bytes.
    pub rows: Vec<DocState>,
    /// The words that were looked for instead of those asked for, which nothing has.
    pub corrected: Option<String>,
    /// How many the filter lets in, where that is cheap to tell; never with `before`.
    pub total: Option<u64>,
}

/// Petitions captured in `[from, until)`, milliseconds UTC by their authors' clocks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Period {
    /// First moment.
    pub from: i64,
    /// The moment after the last.
    pub until: i64,
}

/// The groups of the city's reports.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ReportGroup {
    /// Pendientes: pending or referred.
    Pending,
    /// Desarrollo: in progress, or in conflict.
    InProgress,
    /// Atendidos.
    Done,
    /// No procede.
    NotApplicable,
}

impl From<StatusFilter> for ReportGroup {
    /// The group that a petition is counted in, by what it is listed under: a conflict is not decided yet.
    fn from(listed: StatusFilter) -> Self {
        match listed {
            StatusFilter::Pending | StatusFilter::Referred => Self::Pending,
            StatusFilter::InProgress | StatusFilter::Conflict => Self::InProgress,
            StatusFilter::Done | StatusFilter::DoneUnconfirmed => Self::Done,
            StatusFilter::NotApplicable => Self::NotApplicable,
        }
    }
}

/// What an agency has, by groups.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct AgencyCounts {
    /// The agency; `None` for petitions that are with none.
    pub agency: Option<CatalogRef>,
    /// Pendientes.
    pub pending: u64,
    /// Desarrollo.
    pub in_progress: u64,
    /// Atendidos.
    pub done: u64,
    /// No procede.
    pub not_applicable: u64,
}

impl AgencyCounts {
    /// The count of one group.
    pub fn of(&mut self, group: ReportGroup) -> &mut u64 {
        match group {
            ReportGroup::Pending => &mut self.pending,
            ReportGroup::InProgress => &mut self.in_progress,
            ReportGroup::Done => &mut self.done,
            ReportGroup::NotApplicable => &mut self.not_applicable,
        }
    }
}

/// A group that waits for changes to arrive.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WaitingGroup {
    /// The stored envelope (encoded, without parts).
    pub envelope: Bytes,
    /// Index of the group.
    pub group: usize,
}

/// Where a sweep goes on; the default is its beginning.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SweepFrom(pub String);

/// What a step of a sweep did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Swept {
    /// Places up to here are forgotten for scopes.
    pub floor: Seq,
    /// Rows removed.
    pub removed: usize,
    /// Where the next step goes on; `None` when this was the last.
    pub next: Option<SweepFrom>,
}

/// A stretch of creation places of one scope: `[a·2ᵏ, (a+1)·2ᵏ)`, the largest such that holds a given
/// document and not more than so many. Where the stretches of a scope lie depends on its documents alone
/// and not on where a fill stands; a document that comes or goes moves the bounds of its own stretch and
/// of its neighbour at most.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stretch {
    /// Its first place.
    pub from: Seq,
    /// The place after its last one; `Seq::MAX` when it has no end.
    pub until: Seq,
    /// Documents of the scope in it.
    pub count: usize,
    /// Place of the last change of any of them.
    pub last_seq: Seq,
    /// Whether no document of the scope was created before it.
    pub done: bool,
}

impl Stretch {
    /// The bounds of the stretch of at most `most` documents that has the one at place `at`. The places
    /// of the scope's next documents on either side are given nearest first: `most` of each, or all.
    pub fn bounds(at: Seq, below: &[Seq], above: &[Seq], most: usize) -> (Seq, Seq) {
        let bounds = |bits: u32| {
            let size = 1_u64.checked_shl(bits).unwrap_or(0);
            let from = at & !size.wrapping_sub(1);
            (
                from,
                from.checked_add(size)
                    .filter(|_| size > 0)
                    .unwrap_or(Seq::MAX),
            )
        };
        let few = |bits: &u32| {
            let (from, until) = bounds(*bits);
            let before = below.iter().take_while(|place| **place >= from).count();
            let after = above.iter().take_while(|place| **place < until).count();
            before + after < most
        };
        let bits = (1..=Seq::BITS).take_while(few).last().unwrap_or(0);
        bounds(bits)
    }
}

/// What the intake asks about a batch of envelopes before it judges them.
#[derive(Debug, Clone, Default)]
pub struct IntakeAsk {
    /// Chains, by device and incarnation.
    pub chains: BTreeSet<(DeviceId, u32)>,
    /// Actors of the changes.
    pub actors: BTreeSet<Actor>,
    /// What the changes depend on.
    pub deps: BTreeSet<Hash>,
    /// The documents they are of.
    pub docs: BTreeSet<DocId>,
    /// Hashes of the envelopes, once a backup was put back: some may be proven.
    pub envelopes: BTreeSet<Hash>,
}

/// The answers to an [`IntakeAsk`]; what is not known is absent.
#[derive(Debug, Clone, Default)]
pub struct IntakeFacts {
    /// The devices.
    pub devices: BTreeMap<DeviceId, DeviceRecord>,
    /// How far each chain is held.
    pub chains: BTreeMap<(DeviceId, u32), ChainHead>,
    /// Groups that each device has waiting.
    pub waiting: BTreeMap<DeviceId, usize>,
    /// To which device and incarnation the actors are bound.
    pub actors: BTreeMap<Actor, (DeviceId, u32)>,
    /// What became of the dependencies.
    pub fates: BTreeMap<Hash, Fate>,
    /// The documents, with their saved bytes.
    pub docs: BTreeMap<DocId, DocState>,
    /// What receipts say became of the envelopes before a backup was put back.
    pub proofs: BTreeMap<Hash, Vec<Answer>>,
}

/// Storage of one city's relay.
#[async_trait]
pub trait RelayStore: Send + Sync + 'static {
    /// Where the log stands.
    async fn head(&self) -> Result<Head>;
    /// Writes a batch; assigns places and folios, derives scope moves and digests, keeps answers.
    ///
    /// What the caller should never ask (an envelope that does not follow its chain, a change that is
    /// in the log already, another's actor, a document changed without bytes…) is `Backend`, and
    /// nothing is written. A hash once dead may still be accepted: somebody else may have sent the
    /// same bytes without a right to.
    async fn commit_batch(&self, batch: CommitBatch) -> Result<Committed>;

    /// Documents with their saved bytes; unknown ones are absent.
    async fn docs(&self, ids: &[DocId]) -> Result<BTreeMap<DocId, DocState>>;
    /// How far a chain is held.
    async fn chain(&self, device: &DeviceId, incarnation: u32) -> Result<ChainHead>;
    /// Hash of a stored envelope.
    async fn envelope_hash(
        &self,
        device: &DeviceId,
        incarnation: u32,
        n: u64,
    ) -> Result<Option<Hash>>;
    /// The latest answers of a stored envelope's groups, with its hash.
    async fn envelope_answers(
        &self,
        device: &DeviceId,
        incarnation: u32,
        n: u64,
    ) -> Result<Option<(Hash, Vec<Answer>)>>;
    /// What became of these changes; unknown ones are absent.
    async fn fates(&self, hashes: &[Hash]) -> Result<BTreeMap<Hash, Fate>>;
    /// Marks changes (or envelopes) that will never be in the log as dead, unless they are in it.
    async fn bury(&self, hashes: &[Hash]) -> Result<()>;
    /// To which (device, incarnation) these actors are bound; unused ones are absent.
    async fn actors(&self, actors: &[Actor]) -> Result<BTreeMap<Actor, (DeviceId, u32)>>;
    /// Groups waiting for any of these changes.
    async fn waiting_for(&self, hashes: &[Hash]) -> Result<Vec<WaitingGroup>>;
    /// Groups of a device that wait, each once, in the order in which they came.
    async fn waiting_of(&self, device: &DeviceId) -> Result<Vec<WaitingGroup>>;
    /// Changes whose fate is known and that groups wait for all the same, at most `limit`: the relay died,
    /// or had no room, after it took in the one and before it judged the other.
    async fn ripe(&self, limit: usize) -> Result<Vec<Hash>>;
    /// Groups that a device has waiting (bounded per device).
    async fn waiting_count(&self, device: &DeviceId) -> Result<usize>;
    /// The detached parts (encoded) that came with an envelope, whatever became of it.
    async fn envelope_parts(
        &self,
        device: &DeviceId,
        incarnation: u32,
        n: u64,
    ) -> Result<Vec<Bytes>>;
    /// Groups that are held after number `after`, by number, at most `limit`.
    async fn held(&self, after: u64, limit: usize) -> Result<Vec<HeldGroup>>;
    /// Those of them that something was decided of, by number, at most `limit`.
    async fn decided(&self, limit: usize) -> Result<Vec<HeldGroup>>;
    /// How many are held.
    async fn held_counts(&self) -> Result<HeldCounts>;
    /// Notes what is to become of a held group: the relay does it. `Missing` when it is not held (any
    /// more).
    async fn decide(&self, id: u64, decision: Decision) -> Result<()>;
    /// What was decided cannot be done, for this reason: the group goes on being held.
    async fn undecide(&self, id: u64, problem: &str) -> Result<()>;
    /// All that the intake needs to know of a batch. A backend answers it in one read: each of these
    /// questions by itself would cost a turn of its own.
    async fn intake_facts(&self, ask: IntakeAsk) -> Result<IntakeFacts> {
        let mut facts = IntakeFacts::default();
        for (device, incarnation) in &ask.chains {
            let chain = self.chain(device, *incarnation).await?;
            facts.chains.insert((*device, *incarnation), chain);
            if let Some(record) = self.device(device).await? {
                facts.devices.insert(*device, record);
            }
            let waiting = self.waiting_count(device).await?;
            facts.waiting.insert(*device, waiting);
        }
        facts.actors = self.actors(&Vec::from_iter(ask.actors)).await?;
        facts.fates = self.fates(&Vec::from_iter(ask.deps)).await?;
        facts.docs = self.docs(&Vec::from_iter(ask.docs)).await?;
        facts.proofs = self.proofs(&Vec::from_iter(ask.envelopes)).await?;
        Ok(facts)
    }

    /// Answers to a device after number `after`, in order.
    async fn answers_after(
        &self,
        device: &DeviceId,
        after: u64,
        limit: usize,
    ) -> Result<Vec<EnvelopeAnswer>>;
    /// The device has all answers up to this number: they may be forgotten.
    async fn answers_seen(&self, device: &DeviceId, up_to: u64) -> Result<()>;

    /// A device's session begins: it has all answers up to this number, which may be forgotten, and
    /// stands at this place of the log, which is noted with the time. Gives the floor: places up to it
    /// are not kept for scopes any more. Who stands below it is noted at the head, where its repair
    /// will bring it. A storage without room notes nothing and gives the floor.
    async fn greet(
        &self,
        device: &DeviceId,
        answers_seen: u64,
        place: Seq,
        now: i64,
    ) -> Result<Seq>;
    /// One step of a sweep, at most `limit` rows: forgets the places of scopes up to the lowest one at
    /// which a device that is not revoked has stood since `live_since` (up to the head without any),
    /// and invites that expired before `now`. A sweep begins with the default and goes on with what
    /// each step gives. The log itself stays, and so do documents.
    async fn sweep(
        &self,
        now: i64,
        live_since: i64,
        from: SweepFrom,
        limit: usize,
    ) -> Result<Swept>;

    /// The documents now in a scope with their versions: no document is opened.
    async fn members(&self, scope: &Scope) -> Result<Members>;
    /// Log rows after `after`, which is not below the floor, that touch any of the scopes, in order, at most `limit` and some MiB of
    /// changes, with their moves in those scopes; and the place up to which this answer is complete:
    /// the log's head when nothing is left out.
    async fn log_after(
        &self,
        scopes: &[Scope],
        after: Seq,
        limit: usize,
    ) -> Result<(Vec<LogRow>, Seq)>;
    /// The stretch of a scope that a fill goes on with: the one with the scope's newest document created
    /// before place `before`, of at most `most` documents (at least 1). `None` when there is none. Opens
    /// no document.
    async fn stretch(&self, scope: &Scope, before: Seq, most: usize) -> Result<Option<Stretch>>;
    /// Documents now in a scope created at `from` or later and before `until`, newest first; and the head
    /// of the log as they were read.
    async fn fill(&self, scope: &Scope, from: Seq, until: Seq) -> Result<(Vec<PackedDoc>, Seq)>;
    /// The digests of scopes at the head of the log; scopes without documents have the empty digest.
    async fn digests(&self, scopes: &[Scope]) -> Result<(Seq, Vec<(Scope, Hash)>)>;

    /// The console's list.
    async fn list(&self, filter: &ListFilter) -> Result<Listed>;
    /// Petitions counted by the first agency each is with; the agencies in no order.
    async fn by_agency(&self, period: Period) -> Result<Vec<AgencyCounts>>;
    /// The catalogs, all of them, with their saved bytes.
    async fn catalogs(&self) -> Result<Vec<DocState>>;
    /// Documents whose last change lies after `after`, by that place, at most `limit`, without bytes.
    async fn changed_since(&self, after: Seq, limit: usize) -> Result<Vec<DocState>>;
    /// A document's detached parts (encoded), for those who may read them: those that came with an
    /// accepted change of this document, in order.
    async fn parts(&self, doc: &DocId, kind: PartKind) -> Result<Vec<Bytes>>;
    /// The city time at which a log row was taken in, for clamping dates: by document and change.
    async fn accepted_times(&self, doc: &DocId) -> Result<BTreeMap<Hash, i64>>;

    /// A device.
    async fn device(&self, id: &DeviceId) -> Result<Option<DeviceRecord>>;
    /// The desk device of a user.
    async fn desk_of(&self, user: UserId) -> Result<Option<DeviceRecord>>;
    /// Inserts or replaces a device. A different device with the same tag is `Exists`.
    async fn put_device(&self, device: &DeviceRecord) -> Result<()>;
    /// Marks a device revoked; the first time counts. `Missing` when it is not known.
    async fn revoke_device(&self, id: &DeviceId, at: i64) -> Result<()>;

    /// Keeps an invite; `Exists` when there is one with this code.
    async fn put_invite(&self, invite: &Invite) -> Result<()>;
    /// Takes an invite: it can be taken once, and not after `now`. `Missing` otherwise.
    async fn take_invite(&self, code_hash: &Hash, now: i64) -> Result<Invite>;

    /// Adds a user and gives them a number; `Exists` when the name is taken.
    async fn add_user(&self, user: &UserRow) -> Result<UserId>;
    /// A user by sign-in name.
    async fn user_by_name(&self, name: &str) -> Result<Option<UserRow>>;
    /// Users by number; unknown ones are absent.
    async fn users(&self, ids: &[UserId]) -> Result<BTreeMap<UserId, UserRow>>;
    /// Inserts or renews a session.
    async fn put_session(&self, session: &SessionRow) -> Result<()>;
    /// A session.
    async fn session(&self, token_hash: &Hash) -> Result<Option<SessionRow>>;
    /// Ends all sessions last used before this time, milliseconds UTC.
    async fn delete_sessions_before(&self, used_at: i64) -> Result<()>;
    /// Ends a session.
    async fn delete_session(&self, token_hash: &Hash) -> Result<()>;

    /// The desk's intent that the act with this idempotency key became, if it was accepted before.
    async fn act_key(&self, user: UserId, key: &str) -> Result<Option<RecordId>>;
    /// A small setting (folio format, counters of desk intents…), by name.
    async fn setting(&self, name: &str) -> Result<Option<Vec<u8>>>;
    /// Writes a setting.
    async fn put_setting(&self, name: &str, value: &[u8]) -> Result<()>;

    /// The city was put back from a backup: begins its next epoch and opens the recovery. Desk devices are
    /// revoked, since what they did after the backup may come back; console sessions end; numbers of
    /// answers and of users jump over those that are lost.
    async fn begin_epoch(&self, record: &SignedEpoch, body: &EpochBody) -> Result<()>;
    /// The latest epoch that began with a backup; `None` for a city that never was put back.
    async fn epoch(&self) -> Result<Option<EpochRow>>;
    /// How far the recovery of the latest epoch has come.
    async fn recovery_counts(&self) -> Result<RecoveryCounts>;
    /// Closes the recovery: the counter of folios goes on above the highest that anybody named, and those
    /// below it that no petition has or claims are void, which `sign` makes a record of in the same write. What
    /// groups still wait for is dead. Gives what the record says; `Missing` when no recovery is open.
    async fn close_recovery(&self, now: i64, sign: SignClosing) -> Result<ClosingBody>;
    /// Keeps what receipts prove of envelopes that are not here. One that stands is kept as it is.
    async fn put_proofs(&self, proofs: Vec<(Hash, Vec<Answer>)>) -> Result<()>;
    /// What is proven of these envelopes; others are absent.
    async fn proofs(&self, envelopes: &[Hash]) -> Result<BTreeMap<Hash, Vec<Answer>>>;
    /// A device says that a petition had this folio. Of several claims to one folio the first counts; what
    /// a receipt proves comes before any ([`EntryCommit::reclaims`]).
    async fn claim_folio(&self, doc: &DocId, folio: u64) -> Result<()>;
    /// Petitions without a folio, oldest first, at most `limit`, without bytes.
    async fn without_folio(&self, limit: usize) -> Result<Vec<DocState>>;
    /// All chains of a device, by incarnation.
    async fn chains_of(&self, device: &DeviceId) -> Result<Vec<(u32, ChainHead)>>;
    /// Adds a user under a number that a returned grant names; nothing when there is one.
    async fn put_user(&self, user: &UserRow) -> Result<()>;
}
