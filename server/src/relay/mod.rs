//! The relay core: one intake per city, sessions of devices, and the console's desk.
//!
//! ```text
//! sessions ──► intake: chain · grant · gate · policy ──► storage (one commit per batch)
//!     ▲                                                          │
//!     └──────────── answers, log rows (broadcast) ◄──────────────┘──► console rows (SSE)
//! ```
//! Invariants: nothing is answered before it is durable; documents are opened only in the gate's
//! workers; every queue is bounded; a session that cannot keep up is cut and resumes.

mod catalogs;
mod desk;
mod door;
mod grants;
mod held;
mod http;
mod intake;
mod joins;
mod keys;
mod live;
mod nonce;
mod pace;
mod packs;
mod recovery;
mod retention;
mod session;
mod upgrade;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use manzana_engine::answer::{Answer, HeldReason};
use manzana_engine::epoch;
use manzana_engine::gate::judge::{Reply, Request};
use manzana_engine::grant::{GrantBody, Role, Scope, SignedGrant};
use manzana_engine::ids::{CatalogId, DeviceId, Hash, UserId};
use manzana_engine::keys::SecretKey;
use manzana_engine::wire::Hello;
use tokio::sync::{broadcast, mpsc, watch};
use tokio::task::JoinSet;

pub use desk::CATALOGS;
pub use door::{Claim, Refusal};
pub use grants::renew;
pub use held::REVIEW;
pub use http::router;
pub use intake::{IntakeError, Submission};
pub use keys::CityKeys;
pub use packs::SEGMENT_DOCS;
pub use retention::RETENTION_DAYS;
pub use session::Socket;

use crate::auth::Attempts;
use crate::clock::Clock;
use crate::desk::LiveRow;
use crate::gate::{Gate, GateError};
use crate::storage::{DeviceRecord, Head, Invite, RelayStore, StorageError, UserRow};

/// Envelopes waiting for the intake, all connections together.
const SUBMISSIONS: usize = 1_024;
/// Commits and rows that a reader may be behind before it reads from the storage instead.
const LIVE: usize = 256;
/// Minutes that an enrolment code is valid.
pub const INVITE_MINUTES: i64 = 15;
/// How long a grant is valid.
const GRANT_DAYS: i64 = 2 * 365;
/// Failed enrolments or proofs of one device within the window.
const DOOR_TRIES: u32 = 20;
/// The same from one address: a whole neighbourhood may stand behind one.
const DOOR_TRIES_PER_ADDRESS: u32 = 100;
/// Minutes of that window.
const DOOR_MINUTES: i64 = 10;
const DAY_MS: i64 = 24 * 3_600_000;

/// What the relay is to people: names and folios.
#[derive(Debug, Clone)]
pub struct CityFace {
    /// Name of the call centre.
    pub center: String,
    /// Prefix of folios.
    pub folio_prefix: String,
    /// Digits of folios.
    pub folio_width: u8,
}

impl CityFace {
    /// The folio as people write it.
    pub fn folio_text(&self, folio: u64) -> String {
        format!(
            "{}{folio:0width$}",
            self.folio_prefix,
            width = usize::from(self.folio_width)
        )
    }
}

/// Errors of the relay core that are not a matter of one envelope.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RelayError {
    /// The storage.
    #[error(transparent)]
    Storage(#[from] StorageError),
    /// The gate.
    #[error(transparent)]
    Gate(#[from] GateError),
    /// A worker could not do what it was asked.
    #[error("the gate's worker failed: {0}")]
    Worker(String),
    /// The user's role is not one.
    #[error("the user has no role that can hold a device")]
    NoRole,
    /// No randomness.
    #[error(transparent)]
    NoRandomness(#[from] NoRandomness),
}

/// One city's relay.
pub struct Relay {
    pub(crate) store: Arc<dyn RelayStore>,
    gate: Arc<dyn Gate>,
    entropy: Arc<dyn Randomness>,
    keys: CityKeys,
    face: CityFace,
    clock: Arc<dyn Clock>,
    nonces: nonce::Nonces,
    /// Failed enrolments and proofs, per device and per address.
    doors: Attempts,
    submissions: mpsc::Sender<Submission>,
    /// Groups may wait for nothing any more.
    ripe: Arc<tokio::sync::Notify>,
    /// Documents whose heads are to be joined.
    wide: mpsc::Sender<manzana_engine::ids::DocId>,
    live: live::Live,
    commits: broadcast::Sender<Arc<live::News>>,
    rows: broadcast::Sender<Arc<LiveRow>>,
    head: watch::Sender<Head>,
    stopping: watch::Sender<bool>,
    /// Live sessions by device: a newer one takes the older one's place.
    sessions: Mutex<BTreeMap<DeviceId, watch::Sender<Option<session::Cut>>>>,
    desks: tokio::sync::Mutex<()>,
    packs: packs::Packs,
    tasks: Mutex<JoinSet<()>>,
    pub(crate) metrics: RelayMetrics,
}

impl std::fmt::Debug for Relay {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Relay")
            .field("keys", &self.keys)
            .finish_non_exhaustive()
    }
}

/// What the relay core counts.
#[derive(Debug, Clone, Default)]
pub struct RelayMetrics {
    /// Envelopes taken in.
    pub envelopes: prometheus_client::metrics::counter::Counter,
    /// Changes accepted into the log.
    pub accepted: prometheus_client::metrics::counter::Counter,
    /// Groups not accepted.
    pub not_accepted: prometheus_client::metrics::counter::Counter,
    /// Groups that went into quarantine.
    pub quarantined: prometheus_client::metrics::counter::Counter,
    /// Groups that were held since their grant had been revoked or had expired.
    pub held: prometheus_client::metrics::counter::Counter,
    /// Held groups that were released, to their authors or to the city.
    pub released: prometheus_client::metrics::counter::Counter,
    /// Held groups that were dropped.
    pub dropped: prometheus_client::metrics::counter::Counter,
    /// Groups held now for their grant.
    pub holding: prometheus_client::metrics::gauge::Gauge,
    /// Groups in quarantine now.
    pub quarantine: prometheus_client::metrics::gauge::Gauge,
    /// Documents whose heads were joined.
    pub joins: prometheus_client::metrics::counter::Counter,
    /// Messages of reconciliation answered.
    pub reconciliations: prometheus_client::metrics::counter::Counter,
    /// Documents that devices hold and the relay has not, or has otherwise, as they listed them.
    pub differences: prometheus_client::metrics::counter::Counter,
    /// Changes that devices gave back after a backup was put back.
    pub given_back: prometheus_client::metrics::counter::Counter,
    /// Batches committed.
    pub batches: prometheus_client::metrics::counter::Counter,
    /// Live sessions of devices.
    pub sessions: prometheus_client::metrics::gauge::Gauge,
    /// Sessions that were cut because their reader was too slow.
    pub slow: prometheus_client::metrics::counter::Counter,
    /// Bytes received from devices.
    pub bytes_up: prometheus_client::metrics::counter::Counter,
    /// Bytes sent to devices.
    pub bytes_down: prometheus_client::metrics::counter::Counter,
}

impl RelayMetrics {
    /// Counts a group that is held, by why.
    fn count_held(&self, answer: &Answer) {
        match answer {
            Answer::Held {
                reason: HeldReason::Quarantined,
            } => drop(self.quarantined.inc()),
            Answer::Held { .. } => drop(self.held.inc()),
            _ => {}
        }
    }

    /// Registers all of them.
    pub fn register(&self, registry: &mut prometheus_client::registry::Registry) {
        registry.register(
            "relay_envelopes",
            "Envelopes taken in",
            self.envelopes.clone(),
        );
        registry.register("relay_accepted", "Changes accepted", self.accepted.clone());
        registry.register(
            "relay_not_accepted",
            "Groups not accepted",
            self.not_accepted.clone(),
        );
        registry.register(
            "relay_quarantined",
            "Groups that went into quarantine",
            self.quarantined.clone(),
        );
        registry.register(
            "relay_held",
            "Groups that were held for their grant",
            self.held.clone(),
        );
        registry.register(
            "relay_released",
            "Held groups that were released",
            self.released.clone(),
        );
        registry.register(
            "relay_dropped",
            "Held groups that were dropped",
            self.dropped.clone(),
        );
        registry.register(
            "relay_holding",
            "Groups held now for their grant",
            self.holding.clone(),
        );
        registry.register(
            "relay_quarantine",
            "Groups in quarantine now",
            self.quarantine.clone(),
        );
        registry.register("relay_joins", "Documents joined", self.joins.clone());
        registry.register(
            "relay_reconciliations",
            "Messages of reconciliation answered",
            self.reconciliations.clone(),
        );
        registry.register(
            "relay_differences",
            "Documents that devices hold otherwise",
            self.differences.clone(),
        );
        registry.register(
            "relay_given_back",
            "Changes that devices gave back",
            self.given_back.clone(),
        );
        registry.register("relay_batches", "Batches committed", self.batches.clone());
        registry.register(
            "relay_sessions",
            "Live sessions of devices",
            self.sessions.clone(),
        );
        registry.register(
            "relay_slow_readers",
            "Sessions cut because their reader was too slow",
            self.slow.clone(),
        );
        registry.register(
            "relay_bytes_up",
            "Bytes from devices",
            self.bytes_up.clone(),
        );
        registry.register(
            "relay_bytes_down",
            "Bytes to devices",
            self.bytes_down.clone(),
        );
    }
}

/// Where random bytes come from: keys are made of them.
pub trait Randomness: Send + Sync + 'static {
    /// Fills the bytes.
    ///
    /// # Errors
    /// [`NoRandomness`] when there are none to be had.
    fn fill(&self, bytes: &mut [u8]) -> Result<(), NoRandomness>;
}

/// The system gives no random bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("no randomness from the system")]
pub struct NoRandomness;

/// The system's randomness.
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemRandomness;

impl Randomness for SystemRandomness {
    fn fill(&self, bytes: &mut [u8]) -> Result<(), NoRandomness> {
        getrandom::fill(bytes).map_err(|_| NoRandomness)
    }
}

/// What a relay core is made of.
pub struct RelayParts {
    /// Where changes are judged: the gate's workers.
    pub gate: Arc<dyn Gate>,
    /// Where nonces, codes and desk keys come from: the system.
    pub entropy: Arc<dyn Randomness>,
    /// The city's keys.
    pub keys: CityKeys,
    /// Names and folios.
    pub face: CityFace,
    /// Most documents of one segment of a fill, at least 1: [`SEGMENT_DOCS`] outside of simulations,
    /// whose cities are small.
    pub segment_docs: usize,
}

impl Relay {
    /// Starts the core: from here on envelopes are taken in. Must be called within a tokio runtime.
    ///
    /// # Errors
    /// When the storage cannot be read.
    pub async fn start(
        store: Arc<dyn RelayStore>,
        clock: Arc<dyn Clock>,
        parts: RelayParts,
    ) -> Result<Arc<Self>, RelayError> {
        let head = store.head().await?;
        let (submissions, queue) = mpsc::channel(SUBMISSIONS);
        let (to_join, wide) = mpsc::channel(joins::WAITING);
        let relay = Arc::new(Self {
            store,
            gate: parts.gate,
            entropy: parts.entropy,
            nonces: nonce::Nonces::new(*parts.keys.nonce_key()),
            doors: Attempts::new(DOOR_TRIES, DOOR_TRIES_PER_ADDRESS, DOOR_MINUTES * 60_000),
            keys: parts.keys,
            face: parts.face,
            clock,
            submissions,
            ripe: Arc::default(),
            wide: to_join,
            live: live::Live::default(),
            commits: broadcast::channel(LIVE).0,
            rows: broadcast::channel(LIVE).0,
            head: watch::channel(head).0,
            stopping: watch::channel(false).0,
            sessions: Mutex::default(),
            desks: tokio::sync::Mutex::default(),
            packs: packs::Packs::new(parts.segment_docs),
            tasks: Mutex::default(),
            metrics: RelayMetrics::default(),
        });
        {
            let mut tasks = relay.tasks.lock().unwrap_or_else(PoisonError::into_inner);
            tasks.spawn(intake::run(Arc::downgrade(&relay), queue));
            tasks.spawn(watch_settings(Arc::downgrade(&relay)));
            tasks.spawn(retention::run(Arc::downgrade(&relay)));
            tasks.spawn(joins::run(Arc::downgrade(&relay), wide));
        }
        Ok(relay)
    }

    /// Ends the relay's own tasks where they stand, as the end of the process would: for tests that
    /// kill relays in one process. Sessions end with the futures of [`Relay::serve`].
    pub fn kill(&self) {
        let mut tasks = self.tasks.lock().unwrap_or_else(PoisonError::into_inner);
        tasks.abort_all();
    }

    /// Serves a device that was admitted, over any pair of message streams, until either end is done.
    pub async fn serve<W: session::Socket>(
        self: Arc<Self>,
        record: DeviceRecord,
        hello: Hello,
        socket: W,
    ) {
        session::run(self, record, hello, socket).await;
    }

    fn nonce(&self, device: &DeviceId) -> Vec<u8> {
        let mut random = [0; 8];
        // Without randomness the time alone still tells nonces apart.
        let _ = self.entropy.fill(&mut random);
        self.nonces.issue(device, self.now(), random)
    }

    /// Asks every session to end and come back later.
    pub fn stop(&self) {
        self.stopping.send_replace(true);
    }

    /// Waits until the sessions have said goodbye, but not for ever.
    pub async fn sessions_ended(&self, patience: std::time::Duration) {
        let ended = async {
            while self.metrics.sessions.get() > 0 {
                tokio::time::sleep(std::time::Duration::from_millis(20)).await;
            }
        };
        let _ = tokio::time::timeout(patience, ended).await;
    }

    /// The city's keys.
    pub fn keys(&self) -> &CityKeys {
        &self.keys
    }

    /// Whether a backup of the city was ever put back.
    fn was_put_back(&self) -> bool {
        self.head.borrow().epoch > epoch::FIRST
    }

    fn now(&self) -> i64 {
        self.clock.now_ms()
    }

    /// Enrols a device with a one-use code.
    ///
    /// # Errors
    /// `Missing` when the code is not valid any more; the storage's.
    pub async fn enrol(
        &self,
        code: &str,
        device_key: [u8; 32],
    ) -> Result<manzana_engine::wire::Enrolment, RelayError> {
        let now = self.now();
        let code_hash = invite_hash(code);
        let invite = self.store.take_invite(&code_hash, now).await?;
        let user = self.user(invite.user).await?;
        let role = Role::parse(&user.role).ok_or(RelayError::NoRole)?;
        let grant = self.grant(device_key, &user, role, invite.scopes.clone());
        let record = self.record(device_key, user.id, grant.clone(), None);
        self.store.put_device(&record).await?;
        let relay_key = self.keys.relay().public();
        let seal_key = *self.keys.seal_public();
        Ok(manzana_engine::wire::Enrolment {
            grant,
            relay_key,
            relay_key_signature: self.keys.vouch(&relay_key),
            seal_key,
            seal_key_signature: self.keys.vouch(&seal_key),
            center: self.face.center.clone(),
            folio_prefix: self.face.folio_prefix.clone(),
            folio_width: self.face.folio_width,
            block: invite.block,
            nonce: self.nonce(&record.id).into(),
            display: user.display,
        })
    }

    async fn user(&self, id: UserId) -> Result<UserRow, RelayError> {
        let user = self.store.users(&[id]).await?.remove(&id);
        user.filter(|user| !user.disabled)
            .ok_or(StorageError::Missing.into())
    }

    fn grant(
        &self,
        device_key: [u8; 32],
        user: &UserRow,
        role: Role,
        scopes: Vec<Scope>,
    ) -> SignedGrant {
        let now = self.now();
        let body = GrantBody {
            city: self.keys.city(),
            device_key,
            user: user.id,
            role,
            scopes,
            // Imports bring dates of years ago; what a device may claim is shown as its claim.
            valid_from: 0,
            valid_to: now + GRANT_DAYS * DAY_MS,
        };
        SignedGrant::sign(&body, self.keys.root())
    }

    fn record(
        &self,
        key: [u8; 32],
        user: UserId,
        grant: SignedGrant,
        desk_seed: Option<[u8; 32]>,
    ) -> DeviceRecord {
        DeviceRecord {
            id: DeviceId::of_key(&key),
            key,
            user,
            grant_id: grant.id(),
            grant,
            revoked_at: None,
            desk_seed,
        }
    }

    /// The desk device of a user, made at first use: the relay keeps its key and authors for them.
    async fn desk_device(&self, user: &UserRow, role: Role) -> Result<DeviceRecord, RelayError> {
        if let Some(desk) = self.store.desk_of(user.id).await? {
            let same_role = desk.grant.open(&self.keys.root().public());
            if same_role.is_ok_and(|granted| granted.role == role) {
                return Ok(desk);
            }
        }
        let mut seed = [0; 32];
        self.entropy.fill(&mut seed)?;
        let key = SecretKey::from_seed(seed).public();
        let grant = self.grant(key, user, role, vec![Scope::City]);
        let desk = self.record(key, user.id, grant, Some(seed));
        self.store.put_device(&desk).await?;
        Ok(desk)
    }

    async fn device(&self, id: &DeviceId) -> Result<Option<DeviceRecord>, StorageError> {
        self.store.device(id).await
    }

    /// Asks a worker.
    async fn ask(&self, request: &Request) -> Result<Reply, RelayError> {
        let job = Bytes::from(manzana_engine::codec::encode(request));
        let reply = self.gate.judge(job).await?;
        match manzana_engine::codec::decode(&reply) {
            Ok(Reply::Failed(reason)) => Err(RelayError::Worker(reason)),
            Ok(reply) => Ok(reply),
            Err(error) => Err(RelayError::Worker(error.to_string())),
        }
    }

    /// Makes a device's older session give way.
    fn take_place(&self, device: DeviceId) -> watch::Receiver<Option<session::Cut>> {
        let (sender, receiver) = watch::channel(None);
        let mut sessions = self.sessions.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(older) = sessions.insert(device, sender) {
            older.send_replace(Some(session::Cut::Replaced));
        }
        receiver
    }
}

/// Looks at what another process (the command line) changes: revoked devices, whose sessions are cut
/// within five seconds, imported catalogs, which are published to every device, and decisions on held
/// work. A few small reads every two seconds.
async fn watch_settings(relay: std::sync::Weak<Relay>) {
    let mut every = tokio::time::interval(std::time::Duration::from_secs(2));
    let mut known: Option<Vec<u8>> = None;
    let mut published: Option<Vec<u8>> = None;
    loop {
        every.tick().await;
        let Some(relay) = relay.upgrade() else { return };
        relay.publish_catalogs(&mut published).await;
        if let Err(error) = relay.follow_recovery().await {
            tracing::error!(%error, "a recovery could not be followed");
        }
        relay.work_off_decisions().await;
        let Ok(count) = relay.store.setting(REVOCATIONS).await else {
            continue;
        };
        if count == known {
            continue;
        }
        known = count;
        let open: Vec<DeviceId> = {
            let sessions = relay
                .sessions
                .lock()
                .unwrap_or_else(PoisonError::into_inner);
            sessions.keys().copied().collect()
        };
        for id in open {
            let revoked = relay.store.device(&id).await.ok().flatten();
            if revoked.is_some_and(|device| device.revoked_at.is_some()) {
                let sessions = relay
                    .sessions
                    .lock()
                    .unwrap_or_else(PoisonError::into_inner);
                if let Some(open) = sessions.get(&id) {
                    open.send_replace(Some(session::Cut::Revoked));
                }
            }
        }
    }
}

/// Setting: how often a device was revoked; open sessions are looked at when it changes.
const REVOCATIONS: &str = "revocations";

/// Revokes a device: its open session ends within five seconds, and what arrives later is held for
/// review.
///
/// # Errors
/// The storage's; `Missing` when there is no such device.
pub async fn revoke(store: &dyn RelayStore, device: &DeviceId, now: i64) -> Result<(), RelayError> {
    store.device(device).await?.ok_or(StorageError::Missing)?;
    store.revoke_device(device, now).await?;
    let count = store.setting(REVOCATIONS).await?;
    let count = count
        .and_then(|b| b.try_into().ok())
        .map_or(0, u64::from_be_bytes);
    store
        .put_setting(REVOCATIONS, &(count + 1).to_be_bytes())
        .await?;
    Ok(())
}

/// The stored form of an enrolment code.
pub fn invite_hash(code: &str) -> Hash {
    Hash::of_parts(b"manzana/invite/1", &[code.trim().as_bytes()])
}

/// Makes a one-use enrolment code for a user: 128 random bits, valid for [`INVITE_MINUTES`].
///
/// # Errors
/// The storage's, or no randomness.
pub async fn invite(
    store: &dyn RelayStore,
    user: UserId,
    scopes: Vec<Scope>,
    block: Option<CatalogId>,
    now: i64,
) -> Result<String, RelayError> {
    let mut random = [0; 16];
    SystemRandomness.fill(&mut random)?;
    let code = data_encoding::BASE32_NOPAD.encode(&random);
    let expires = now + INVITE_MINUTES * 60_000;
    let invite = Invite {
        code_hash: invite_hash(&code),
        user,
        scopes,
        block,
        expires,
    };
    store.put_invite(&invite).await?;
    Ok(code)
}
