//! Keeping a session alive: attempts, waits, and the state that screens see.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use manzana_engine::wire::ByeCode;
use rustls::ClientConfig;
use tokio::sync::{Notify, broadcast, watch};
use tokio::time::{Instant, sleep, timeout_at};

use crate::backoff::Backoff;
use crate::changes::ChangeEvent;
use crate::connection::{Connection, Traffic};
use crate::error::ClientError;
use crate::keeper::Keeper;
use crate::session::{self, End};
use crate::tls;

/// Wait after the relay said that this device is not, or another session of it is, let in.
const SELDOM: Duration = Duration::from_secs(30);

/// What a client and its sync task share.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) keeper: Keeper,
    pub(crate) changes: broadcast::Sender<ChangeEvent>,
    pub(crate) traffic: Traffic,
    /// Something may be ready to send.
    pub(crate) wake: Notify,
    /// Counts the times that the network may have changed.
    network: watch::Sender<u64>,
    /// Counts the steps of the session: whoever waits for idleness looks again.
    steps: watch::Sender<u64>,
    state: watch::Sender<(Connection, Option<ClientError>)>,
    /// The roots do not change while a device is enrolled; TLS sessions are resumed through it.
    tls: Mutex<Option<Arc<ClientConfig>>>,
}

impl Shared {
    pub(crate) fn new(keeper: Keeper, changes: broadcast::Sender<ChangeEvent>) -> Self {
        Self {
            keeper,
            changes,
            traffic: Traffic::default(),
            wake: Notify::new(),
            network: watch::Sender::new(0),
            steps: watch::Sender::new(0),
            state: watch::Sender::new((Connection::Stopped, None)),
            tls: Mutex::new(None),
        }
    }

    pub(crate) fn connection(&self) -> (Connection, Option<ClientError>) {
        self.state.borrow().clone()
    }

    pub(crate) fn set(&self, connection: Connection, problem: Option<ClientError>) {
        let next = (connection, problem);
        let changed = self.state.send_if_modified(|state| {
            let changed = *state != next;
            *state = next;
            changed
        });
        if changed {
            let _ = self.changes.send(ChangeEvent::Status);
            self.tick();
        }
    }

    pub(crate) fn tick(&self) {
        self.steps
            .send_modify(|steps| *steps = steps.wrapping_add(1));
    }

    pub(crate) fn network_changed(&self) {
        self.network
            .send_modify(|times| *times = times.wrapping_add(1));
    }

    async fn tls(&self) -> Result<Arc<ClientConfig>, ClientError> {
        let kept = || self.tls.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(config) = kept().clone() {
            return Ok(config);
        }
        let root = self
            .keeper
            .run(|state| Ok(state.read()?.meta()?.root))
            .await?;
        let config = tls::config(&root)?;
        *kept() = Some(Arc::clone(&config));
        Ok(config)
    }
}

/// What becomes of the device after a session.
struct Verdict {
    connection: Connection,
    problem: Option<ClientError>,
    /// `None`: nothing more is tried.
    wait: Option<Duration>,
}

/// Keeps a session alive until it is stopped or the device is revoked.
pub(crate) async fn keep(shared: Arc<Shared>, mut stop: watch::Receiver<bool>) {
    let mut network = shared.network.subscribe();
    let mut backoff = Backoff::default();
    loop {
        shared.set(Connection::Connecting, None);
        let (end, greeted) = tokio::select! {
            ended = attempt(&shared) => ended,
            () = hurry(&mut network) => {
                // The old connection may be dead without saying so; a reconnect costs a kilobyte.
                backoff.reset();
                let _ = shared.keeper.run(|state| state.hang_up()).await;
                continue;
            }
            () = stopped(&mut stop) => break,
        };
        let _ = shared.keeper.run(|state| state.hang_up()).await;
        let verdict = judge(end, greeted, &mut backoff);
        shared.set(verdict.connection, verdict.problem);
        let Some(wait) = verdict.wait else { return };
        tokio::select! {
            () = sleep(wait) => {}
            () = hurry(&mut network) => backoff.reset(),
            () = stopped(&mut stop) => break,
        }
    }
    let _ = shared.keeper.run(|state| state.hang_up()).await;
    shared.set(Connection::Stopped, None);
}

async fn attempt(shared: &Shared) -> (End, bool) {
    match shared.tls().await {
        Ok(config) => session::run(shared, config).await,
        Err(error) => (End::Failed(error), false),
    }
}

/// Ready when told to stop, or when nobody is left who could tell.
async fn stopped(stop: &mut watch::Receiver<bool>) {
    let _ = stop.wait_for(|stop| *stop).await;
}

async fn hurry(network: &mut watch::Receiver<u64>) {
    if network.changed().await.is_err() {
        std::future::pending::<()>().await;
    }
}

fn judge(end: End, greeted: bool, backoff: &mut Backoff) -> Verdict {
    let good = matches!(
        end,
        End::Lost(_) | End::Bye(ByeCode::GoingAway | ByeCode::Resume)
    );
    if greeted && good {
        backoff.reset();
    }
    let mut verdict = Verdict {
        connection: Connection::Offline,
        problem: None,
        wait: Some(backoff.next(dice())),
    };
    let at_least = |wait: Duration| verdict.wait.map(|usual| usual.max(wait));
    match end {
        End::Bye(ByeCode::Revoked) => {
            verdict.wait = None;
            verdict.connection = Connection::Refused;
            verdict.problem = Some(ClientError::Unauthorised);
        }
        // It ends when one of the two is updated.
        End::Bye(ByeCode::BadVersion) => {
            verdict.wait = at_least(SELDOM);
            verdict.problem = Some(ClientError::OtherVersion);
        }
        End::Bye(ByeCode::Replaced) => verdict.wait = at_least(SELDOM),
        End::Lost(error @ ClientError::Unauthorised) => {
            verdict.wait = at_least(SELDOM);
            verdict.connection = Connection::Refused;
            verdict.problem = Some(error);
        }
        End::Lost(error) => {
            if error == ClientError::Untrusted {
                verdict.connection = Connection::Untrusted;
            }
            verdict.wait = at_least(error.retry_after().unwrap_or_default());
            verdict.problem = Some(error);
        }
        End::Failed(error @ (ClientError::Cancelled | ClientError::NotEnrolled)) => {
            verdict.wait = None;
            verdict.problem = Some(error);
        }
        End::Failed(error) => verdict.problem = Some(error),
        End::Bye(_) => verdict.problem = Some(ClientError::OFFLINE),
        End::Broken => {
            verdict.problem = Some(ClientError::Internal("the relay broke the protocol"));
        }
    }
    verdict
}

/// A throw for the jitter; without randomness phones come back together, which is only impolite.
fn dice() -> u32 {
    getrandom::u32().unwrap_or(u32::MAX)
}

/// What a sync of limited time came to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SyncReport {
    /// Everything was sent, answered and received.
    pub idle: bool,
    /// The connection when it ended.
    pub connection: Connection,
    /// Why not, if known.
    pub problem: Option<ClientError>,
}

/// Waits until nothing is left to send or to receive, or the deadline.
pub(crate) async fn until_idle(
    shared: &Shared,
    deadline: Instant,
) -> Result<SyncReport, ClientError> {
    let mut steps = shared.steps.subscribe();
    let mut problem = None;
    loop {
        steps.mark_unchanged();
        let idle = shared.keeper.run(|state| state.is_idle()).await?;
        let (connection, latest) = shared.connection();
        problem = latest.or(problem);
        let report = |problem| SyncReport {
            idle,
            connection,
            problem,
        };
        match connection {
            _ if idle => return Ok(report(None)),
            _ if problem == Some(ClientError::OtherVersion) => {
                return Err(ClientError::OtherVersion);
            }
            Connection::Refused => return Err(ClientError::Unauthorised),
            Connection::Untrusted => return Err(ClientError::Untrusted),
            _ => {}
        }
        if timeout_at(deadline, steps.changed()).await.is_err() {
            return Ok(report(problem));
        }
    }
}
