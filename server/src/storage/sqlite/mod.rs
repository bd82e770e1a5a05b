//! SQLite backend: one thread writes, a few connections read, WAL between them.
//!
//! - `threads`: the writer's thread and the readers' connections. A batch is one transaction.
//! - `schema`: the tables. `convert`: SQLite's values and errors as ours.
//! - `held`: groups that wait for somebody to decide.
//! - `retention`: where devices stand, and the sweep of what none of them needs.
//! - `commit` and `working`: `commit_batch`; `memory`: what the writer remembers (`digests`, `words`).
//! - [`backup`]: a copy made while the relay runs, and the epoch that begins when it is put back.
//! - [`check`]: `manzana check`, everything verified again from what was signed.
//! - [`journal`]: every write on a second disk, before it is answered.
//! - [`rescue`]: what is whole in a damaged database.
//! - `recovery`: a city that was put back from a backup.
//! - `read`, `list`, `search`, `words`, `report`, `people`: everything else, as functions over one connection.
//!
//! Invariant: a document's bytes are read by one function that counts ([`SqliteStore::opened`]);
//! hello, lists and the log never call it.

pub mod backup;
pub mod check;
mod commit;
mod convert;
mod digests;
mod held;
pub mod journal;
mod list;
mod memory;
mod people;
mod read;
mod recovery;
mod report;
pub mod rescue;
mod retention;
mod schema;
mod search;
mod threads;
mod words;
mod working;

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use manzana_engine::answer::{Answer, EnvelopeAnswer};
use manzana_engine::envelope::PartKind;
use manzana_engine::epoch::{self, ClosingBody, EpochBody, SignedEpoch};
use manzana_engine::grant::Scope;
use manzana_engine::ids::{Actor, DeviceId, DocId, Hash, RecordId, Seq, UserId};
use manzana_engine::reconcile::Members;
use manzana_engine::wire::PackedDoc;
use prometheus_client::registry::Registry;
use rusqlite::{Connection, params};

use self::convert::int;
use self::journal::Journal;
use self::search::FolioFormat;
use self::threads::{Checkpoints, Readers, Writer, WriterThread};
use super::{
    AgencyCounts, ChainHead, CityFormat, CommitBatch, Committed, Decision, DeviceRecord, DocState,
    EpochRow, Fate, Head, HeldCounts, HeldGroup, IntakeAsk, IntakeFacts, Invite, ListFilter,
    Listed, LogRow, Period, RecoveryCounts, RelayStore, Result, SessionRow, SignClosing,
    StorageError, Stretch, SweepFrom, Swept, UserRow, WaitingGroup,
};

/// One city's relay in one SQLite file.
pub struct SqliteStore {
    writer: WriterThread,
    readers: Arc<Readers>,
}

impl SqliteStore {
    /// Opens the city's database, creating it with this format on the first start; afterwards the
    /// stored format counts. Another process (the command line) may have it open too.
    ///
    /// # Errors
    /// [`StorageError::NewerDatabase`], [`StorageError::Damaged`], [`StorageError::Busy`],
    /// [`StorageError::Full`], or `Backend` for a file that is not a relay's database.
    pub fn open(path: &Path, format: &CityFormat) -> Result<Self> {
        Self::open_with(path, format, None)
    }

    /// As [`SqliteStore::open`]; every write is in the journal in this folder before it is answered.
    ///
    /// # Errors
    /// As there, and when the journal cannot be used.
    pub fn open_with(path: &Path, format: &CityFormat, journal: Option<&Path>) -> Result<Self> {
        let mut conn = threads::open_writer(path)?;
        let mut journal = journal.map(|dir| Journal::open(dir, &conn)).transpose()?;
        let format = first_start(&mut conn, journal.as_mut(), format)?;
        let checkpoints = Checkpoints::start(path)?;
        Ok(Self {
            readers: Readers::open(path)?,
            writer: WriterThread::start(Writer::new(conn, journal, format, checkpoints))?,
        })
    }

    /// How many times a document's bytes were read.
    pub fn opened(&self) -> u64 {
        self.readers.opened().get()
    }

    /// Registers what it counts.
    pub fn register(&self, registry: &mut Registry) {
        registry.register(
            "relay_documents_opened",
            "Documents whose bytes were read from the storage",
            self.readers.opened().clone(),
        );
    }

    /// For tests of a full disk: the database may not grow beyond so many pages.
    #[doc(hidden)]
    pub async fn limit_pages(&self, pages: u64) -> Result<()> {
        self.writer.limit_pages(pages).await
    }
}

/// Writes the city's first row and format when there are none, and reads the format back.
fn first_start(
    conn: &mut Connection,
    journal: Option<&mut Journal>,
    format: &CityFormat,
) -> Result<FolioFormat> {
    journal::write(conn, journal, |tx| {
        let new = tx.execute(
            "INSERT INTO city (id, epoch, head, next_folio) VALUES (1, ?1, 0, ?2)
             ON CONFLICT DO NOTHING",
            params![epoch::FIRST, int(format.first_folio)],
        )?;
        if new == 1 {
            let first = format.first_folio.to_string();
            let width = format.folio_width.to_string();
            people::put_setting(tx, CityFormat::FIRST_FOLIO, first.as_bytes())?;
            people::put_setting(tx, CityFormat::FOLIO_WIDTH, width.as_bytes())?;
            people::put_setting(tx, CityFormat::FOLIO_PREFIX, format.folio_prefix.as_bytes())?;
        }
        stored_format(tx)
    })
}

/// The first folio of the city.
fn first_folio(conn: &Connection) -> Result<u64> {
    people::setting(conn, CityFormat::FIRST_FOLIO)?
        .and_then(|text| String::from_utf8(text).ok()?.parse().ok())
        .ok_or(StorageError::Damaged)
}

fn stored_format(conn: &Connection) -> Result<FolioFormat> {
    let text = |name| -> Result<String> {
        let value = people::setting(conn, name)?.ok_or(StorageError::Damaged)?;
        String::from_utf8(value).map_err(|_| StorageError::Damaged)
    };
    let width: u8 = text(CityFormat::FOLIO_WIDTH)?
        .parse()
        .map_err(|_| StorageError::Damaged)?;
    Ok(FolioFormat {
        prefix: text(CityFormat::FOLIO_PREFIX)?,
        width: width.into(),
    })
}

#[async_trait]
impl RelayStore for SqliteStore {
    async fn head(&self) -> Result<Head> {
        self.readers.read(|r| read::head(&r.conn)).await
    }

    async fn commit_batch(&self, batch: CommitBatch) -> Result<Committed> {
        self.writer
            .write(|tx, memory, format| commit::commit(tx, memory, format, batch))
            .await
    }

    async fn docs(&self, ids: &[DocId]) -> Result<BTreeMap<DocId, DocState>> {
        let ids = ids.to_vec();
        self.readers.read(move |r| read::docs(r, &ids)).await
    }

    async fn chain(&self, device: &DeviceId, incarnation: u32) -> Result<ChainHead> {
        let device = *device;
        self.readers
            .read(move |r| read::chain(&r.conn, &device, incarnation))
            .await
    }

    async fn envelope_hash(
        &self,
        device: &DeviceId,
        incarnation: u32,
        n: u64,
    ) -> Result<Option<Hash>> {
        let device = *device;
        self.readers
            .read(move |r| read::envelope_hash(&r.conn, &device, incarnation, n))
            .await
    }

    async fn envelope_answers(
        &self,
        device: &DeviceId,
        incarnation: u32,
        n: u64,
    ) -> Result<Option<(Hash, Vec<Answer>)>> {
        let device = *device;
        self.readers
            .read(move |r| read::envelope_answers(&r.conn, &device, incarnation, n))
            .await
    }

    async fn fates(&self, hashes: &[Hash]) -> Result<BTreeMap<Hash, Fate>> {
        let hashes = hashes.to_vec();
        self.readers
            .read(move |r| read::fates(&r.conn, &hashes))
            .await
    }

    async fn bury(&self, hashes: &[Hash]) -> Result<()> {
        let hashes = hashes.to_vec();
        self.writer
            .write(move |tx, _, _| commit::bury(tx, &hashes))
            .await
    }

    async fn actors(&self, actors: &[Actor]) -> Result<BTreeMap<Actor, (DeviceId, u32)>> {
        let actors = actors.to_vec();
        self.readers
            .read(move |r| read::actors(&r.conn, &actors))
            .await
    }

    async fn waiting_for(&self, hashes: &[Hash]) -> Result<Vec<WaitingGroup>> {
        let hashes = hashes.to_vec();
        self.readers
            .read(move |r| read::waiting_for(&r.conn, &hashes))
            .await
    }

    async fn waiting_of(&self, device: &DeviceId) -> Result<Vec<WaitingGroup>> {
        let device = *device;
        self.readers
            .read(move |r| read::waiting_of(&r.conn, &device))
            .await
    }

    async fn ripe(&self, limit: usize) -> Result<Vec<Hash>> {
        self.readers.read(move |r| read::ripe(&r.conn, limit)).await
    }

    async fn waiting_count(&self, device: &DeviceId) -> Result<usize> {
        let device = *device;
        self.readers
            .read(move |r| read::waiting_count(&r.conn, &device))
            .await
    }

    async fn envelope_parts(
        &self,
        device: &DeviceId,
        incarnation: u32,
        n: u64,
    ) -> Result<Vec<Bytes>> {
        let device = *device;
        self.readers
            .read(move |r| held::parts(&r.conn, &device, incarnation, n))
            .await
    }

    async fn held(&self, after: u64, limit: usize) -> Result<Vec<HeldGroup>> {
        self.readers
            .read(move |r| held::held(&r.conn, after, limit))
            .await
    }

    async fn decided(&self, limit: usize) -> Result<Vec<HeldGroup>> {
        self.readers
            .read(move |r| held::decided(&r.conn, limit))
            .await
    }

    async fn held_counts(&self) -> Result<HeldCounts> {
        self.readers.read(|r| held::counts(&r.conn)).await
    }

    async fn decide(&self, id: u64, decision: Decision) -> Result<()> {
        self.writer
            .write(move |tx, _, _| held::decide(tx, id, decision))
            .await
    }

    async fn undecide(&self, id: u64, problem: &str) -> Result<()> {
        let problem = problem.to_owned();
        self.writer
            .write(move |tx, _, _| held::undecide(tx, id, &problem))
            .await
    }

    async fn intake_facts(&self, ask: IntakeAsk) -> Result<IntakeFacts> {
        self.readers
            .read(move |r| read::intake_facts(r, &ask))
            .await
    }

    async fn answers_after(
        &self,
        device: &DeviceId,
        after: u64,
        limit: usize,
    ) -> Result<Vec<EnvelopeAnswer>> {
        let device = *device;
        self.readers
            .read(move |r| read::answers_after(&r.conn, &device, after, limit))
            .await
    }

    async fn answers_seen(&self, device: &DeviceId, up_to: u64) -> Result<()> {
        let device = *device;
        self.writer
            .write(move |tx, _, _| read::answers_seen(tx, &device, up_to))
            .await
    }

    async fn greet(
        &self,
        device: &DeviceId,
        answers_seen: u64,
        place: Seq,
        now: i64,
    ) -> Result<Seq> {
        let greeting = retention::Greeting {
            device: *device,
            answers_seen,
            place,
            now,
        };
        let (known, greeting) = self
            .readers
            .read(move |r| {
                let known = retention::greeted_already(&r.conn, &greeting)?;
                Ok((known, greeting))
            })
            .await?;
        match known {
            Some(floor) => Ok(floor),
            None => {
                let noted = self
                    .writer
                    .write(move |tx, _, _| retention::greet(tx, &greeting))
                    .await;
                match noted {
                    // A relay without room still serves those who read.
                    Err(StorageError::Full) => {
                        self.readers.read(|r| retention::floor(&r.conn)).await
                    }
                    noted => noted,
                }
            }
        }
    }

    async fn sweep(
        &self,
        now: i64,
        live_since: i64,
        from: SweepFrom,
        limit: usize,
    ) -> Result<Swept> {
        self.writer
            .write(move |tx, _, _| retention::sweep(tx, now, live_since, from, limit))
            .await
    }

    async fn members(&self, scope: &Scope) -> Result<Members> {
        let scope = scope.clone();
        self.readers
            .read(move |r| read::members(&r.conn, &scope))
            .await
    }

    async fn log_after(
        &self,
        scopes: &[Scope],
        after: Seq,
        limit: usize,
    ) -> Result<(Vec<LogRow>, Seq)> {
        let scopes = scopes.to_vec();
        self.readers
            .read(move |r| read::log_after(&r.conn, &scopes, after, limit))
            .await
    }

    async fn stretch(&self, scope: &Scope, before: Seq, most: usize) -> Result<Option<Stretch>> {
        let scope = scope.clone();
        self.readers
            .read(move |r| read::stretch(&r.conn, &scope, before, most))
            .await
    }

    async fn fill(&self, scope: &Scope, from: Seq, until: Seq) -> Result<(Vec<PackedDoc>, Seq)> {
        let scope = scope.clone();
        self.readers
            .read(move |r| read::fill(r, &scope, from, until))
            .await
    }

    async fn digests(&self, scopes: &[Scope]) -> Result<(Seq, Vec<(Scope, Hash)>)> {
        let scopes = scopes.to_vec();
        self.readers
            .read(move |r| read::digests(&r.conn, &scopes))
            .await
    }

    async fn list(&self, filter: &ListFilter) -> Result<Listed> {
        let filter = filter.clone();
        self.readers
            .read(move |r| list::list(&r.conn, &filter))
            .await
    }

    async fn by_agency(&self, period: Period) -> Result<Vec<AgencyCounts>> {
        self.readers
            .read(move |r| report::by_agency(&r.conn, &period))
            .await
    }

    async fn catalogs(&self) -> Result<Vec<DocState>> {
        self.readers.read(read::catalogs).await
    }

    async fn changed_since(&self, after: Seq, limit: usize) -> Result<Vec<DocState>> {
        self.readers
            .read(move |r| read::changed_since(&r.conn, after, limit))
            .await
    }

    async fn parts(&self, doc: &DocId, kind: PartKind) -> Result<Vec<Bytes>> {
        let doc = *doc;
        self.readers
            .read(move |r| read::parts(&r.conn, &doc, kind))
            .await
    }

    async fn accepted_times(&self, doc: &DocId) -> Result<BTreeMap<Hash, i64>> {
        let doc = *doc;
        self.readers
            .read(move |r| read::accepted_times(&r.conn, &doc))
            .await
    }

    async fn device(&self, id: &DeviceId) -> Result<Option<DeviceRecord>> {
        let id = *id;
        self.readers
            .read(move |r| people::device(&r.conn, &id))
            .await
    }

    async fn desk_of(&self, user: UserId) -> Result<Option<DeviceRecord>> {
        self.readers
            .read(move |r| people::desk_of(&r.conn, user))
            .await
    }

    async fn put_device(&self, device: &DeviceRecord) -> Result<()> {
        let device = device.clone();
        self.writer
            .write(move |tx, _, _| people::put_device(tx, &device))
            .await
    }

    async fn revoke_device(&self, id: &DeviceId, at: i64) -> Result<()> {
        let id = *id;
        self.writer
            .write(move |tx, _, _| people::revoke_device(tx, &id, at))
            .await
    }

    async fn put_invite(&self, invite: &Invite) -> Result<()> {
        let invite = invite.clone();
        self.writer
            .write(move |tx, _, _| people::put_invite(tx, &invite))
            .await
    }

    async fn take_invite(&self, code_hash: &Hash, now: i64) -> Result<Invite> {
        let code_hash = *code_hash;
        self.writer
            .write(move |tx, _, _| people::take_invite(tx, &code_hash, now))
            .await
    }

    async fn add_user(&self, user: &UserRow) -> Result<UserId> {
        let user = user.clone();
        self.writer
            .write(move |tx, _, _| people::add_user(tx, &user))
            .await
    }

    async fn user_by_name(&self, name: &str) -> Result<Option<UserRow>> {
        let name = name.to_owned();
        self.readers
            .read(move |r| people::user_by_name(&r.conn, &name))
            .await
    }

    async fn users(&self, ids: &[UserId]) -> Result<BTreeMap<UserId, UserRow>> {
        let ids = ids.to_vec();
        self.readers
            .read(move |r| people::users(&r.conn, &ids))
            .await
    }

    async fn put_session(&self, session: &SessionRow) -> Result<()> {
        let session = session.clone();
        self.writer
            .write(move |tx, _, _| people::put_session(tx, &session))
            .await
    }

    async fn session(&self, token_hash: &Hash) -> Result<Option<SessionRow>> {
        let token_hash = *token_hash;
        self.readers
            .read(move |r| people::session(&r.conn, &token_hash))
            .await
    }

    async fn delete_session(&self, token_hash: &Hash) -> Result<()> {
        let token_hash = *token_hash;
        self.writer
            .write(move |tx, _, _| people::delete_session(tx, &token_hash))
            .await
    }

    async fn delete_sessions_before(&self, used_at: i64) -> Result<()> {
        self.writer
            .write(move |tx, _, _| people::delete_sessions_before(tx, used_at))
            .await
    }

    async fn act_key(&self, user: UserId, key: &str) -> Result<Option<RecordId>> {
        let key = key.to_owned();
        self.readers
            .read(move |r| people::act_key(&r.conn, user, &key))
            .await
    }

    async fn setting(&self, name: &str) -> Result<Option<Vec<u8>>> {
        let name = name.to_owned();
        self.readers
            .read(move |r| people::setting(&r.conn, &name))
            .await
    }

    async fn put_setting(&self, name: &str, value: &[u8]) -> Result<()> {
        let (name, value) = (name.to_owned(), value.to_vec());
        self.writer
            .write(move |tx, _, _| people::put_setting(tx, &name, &value))
            .await
    }

    async fn begin_epoch(&self, record: &SignedEpoch, body: &EpochBody) -> Result<()> {
        let (record, body) = (record.clone(), body.clone());
        self.writer
            .write(move |tx, _, _| recovery::begin_epoch(tx, &record, &body))
            .await
    }

    async fn epoch(&self) -> Result<Option<EpochRow>> {
        self.readers.read(|r| recovery::epoch(&r.conn)).await
    }

    async fn recovery_counts(&self) -> Result<RecoveryCounts> {
        self.readers.read(|r| recovery::counts(&r.conn)).await
    }

    async fn close_recovery(&self, now: i64, sign: SignClosing) -> Result<ClosingBody> {
        self.writer
            .write(move |tx, _, _| recovery::close(tx, now, sign))
            .await
    }

    async fn put_proofs(&self, proofs: Vec<(Hash, Vec<Answer>)>) -> Result<()> {
        self.writer
            .write(move |tx, _, _| recovery::put_proofs(tx, &proofs))
            .await
    }

    async fn proofs(&self, envelopes: &[Hash]) -> Result<BTreeMap<Hash, Vec<Answer>>> {
        let envelopes = envelopes.to_vec();
        self.readers
            .read(move |r| recovery::proofs(&r.conn, envelopes.iter()))
            .await
    }

    async fn claim_folio(&self, doc: &DocId, folio: u64) -> Result<()> {
        let doc = *doc;
        self.writer
            .write(move |tx, _, _| recovery::claim_folio(tx, &doc, folio))
            .await
    }

    async fn without_folio(&self, limit: usize) -> Result<Vec<DocState>> {
        self.readers
            .read(move |r| recovery::without_folio(&r.conn, limit))
            .await
    }

    async fn chains_of(&self, device: &DeviceId) -> Result<Vec<(u32, ChainHead)>> {
        let device = *device;
        self.readers
            .read(move |r| recovery::chains_of(&r.conn, &device))
            .await
    }

    async fn put_user(&self, user: &UserRow) -> Result<()> {
        let user = user.clone();
        self.writer
            .write(move |tx, _, _| recovery::put_user(tx, &user))
            .await
    }
}
