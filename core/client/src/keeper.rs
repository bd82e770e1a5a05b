//! The thread that holds the replica: the only one that touches its file.
//!
//! Calls are jobs in a bounded queue, done one after the other; what they changed is published before
//! their answer is given. SQLite's `fsync` takes milliseconds on a phone: no runtime waits for it.

use std::path::PathBuf;

use manzana_engine::ids::Seq;
use manzana_engine::replica::{Meta, Replica, Surroundings};
use manzana_engine::seal::Entropy;
use manzana_engine::wire::{Down, Up};
use manzana_engine::{codec, replica};
use manzana_store::SqliteReplica;
use tokio::sync::{broadcast, mpsc, oneshot};

use crate::changes::ChangeEvent;
use crate::error::{ClientError, StorageProblem};
use crate::home::Home;
use crate::invitation::RelayUrl;
use crate::now_ms;

/// Jobs waiting for the thread; a caller beyond that waits.
const QUEUE: usize = 64;
/// Bytes of frames taken out for sending at once: memory of a session stays bounded.
const BATCH_BYTES: usize = 256 << 10;

type Job = Box<dyn FnOnce(&mut State) + Send>;

enum Order {
    Do(Job),
    End(oneshot::Sender<()>),
}

/// A handle on the thread. The thread ends with its last handle, or when told to.
#[derive(Debug, Clone)]
pub(crate) struct Keeper {
    orders: mpsc::Sender<Order>,
}

/// What the thread owns.
#[derive(Debug)]
pub(crate) struct State {
    pub(crate) home: Home,
    pub(crate) open: Option<Enrolled>,
    pub(crate) entropy: SystemEntropy,
    changes: broadcast::Sender<ChangeEvent>,
    /// Head of the city's log that the live session's welcome named.
    greeted: Option<Seq>,
}

/// An enrolled device.
#[derive(Debug)]
pub(crate) struct Enrolled {
    pub(crate) relay: RelayUrl,
    pub(crate) replica: Replica<SqliteReplica>,
}

/// What a session's upgrade request carries.
#[derive(Debug)]
pub(crate) struct Greeting {
    pub(crate) relay: RelayUrl,
    pub(crate) device: String,
    pub(crate) nonce: Vec<u8>,
    pub(crate) hello: Vec<u8>,
    pub(crate) signature: [u8; 64],
    /// The encoded grant, where it is to be shown.
    pub(crate) grant: Option<Vec<u8>>,
}

impl Keeper {
    /// Opens the folder on a thread of its own.
    pub(crate) async fn open(
        dir: PathBuf,
        changes: broadcast::Sender<ChangeEvent>,
    ) -> Result<Self, ClientError> {
        let (orders, inbox) = mpsc::channel(QUEUE);
        let (opened, answer) = oneshot::channel();
        std::thread::Builder::new()
            .name("manzana-keeper".to_owned())
            .spawn(move || match State::open(dir, changes) {
                Ok(state) => {
                    let _ = opened.send(Ok(()));
                    work(state, inbox);
                }
                Err(error) => {
                    let _ = opened.send(Err(error));
                }
            })?;
        answer.await.map_err(|_| DEAD)??;
        Ok(Self { orders })
    }

    /// Does a job on the thread. Once begun it is done to its end, even if the caller goes away.
    pub(crate) async fn run<T: Send + 'static>(
        &self,
        job: impl FnOnce(&mut State) -> Result<T, ClientError> + Send + 'static,
    ) -> Result<T, ClientError> {
        let (reply, answer) = oneshot::channel();
        let job: Job = Box::new(move |state| {
            let result = match job(state) {
                Err(ClientError::Storage(StorageProblem::Damaged)) => Err(state.rescue()),
                result => result,
            };
            state.publish();
            let _ = reply.send(result);
        });
        let sent = self.orders.send(Order::Do(job)).await;
        sent.map_err(|_| ClientError::Cancelled)?;
        answer.await.map_err(|_| ClientError::Cancelled)?
    }

    /// Ends the thread after the jobs before this one; the folder is free when this returns.
    pub(crate) async fn end(&self) {
        let (done, ended) = oneshot::channel();
        if self.orders.send(Order::End(done)).await.is_ok() {
            let _ = ended.await;
        }
    }
}

const DEAD: ClientError = ClientError::Internal("the keeper's thread is gone");

fn work(mut state: State, mut inbox: mpsc::Receiver<Order>) {
    let mut ending = None;
    while let Some(order) = inbox.blocking_recv() {
        match order {
            Order::Do(job) => job(&mut state),
            Order::End(done) => {
                ending = Some(done);
                break;
            }
        }
    }
    drop(inbox);
    drop(state);
    if let Some(done) = ending {
        let _ = done.send(());
    }
}

impl State {
    fn open(dir: PathBuf, changes: broadcast::Sender<ChangeEvent>) -> Result<Self, ClientError> {
        let home = Home::open(&dir)?;
        let mut state = Self {
            home,
            open: None,
            entropy: SystemEntropy::new()?,
            changes,
            greeted: None,
        };
        state.reopen().map_err(|error| match error {
            ClientError::Storage(StorageProblem::Damaged) => state.rescue(),
            error => error,
        })?;
        Ok(state)
    }

    /// Opens the replica, if the device was ever enrolled.
    fn reopen(&mut self) -> Result<(), ClientError> {
        let Some(relay) = self.home.relay()? else {
            return Ok(());
        };
        let replica = self.open_replica()?;
        if replica.meta().is_ok() {
            self.open = Some(Enrolled { relay, replica });
        }
        Ok(())
    }

    /// Puts what is whole of a damaged replica into a new one and goes on with that. Gives what to tell.
    fn rescue(&mut self) -> ClientError {
        // Closed first: its file gets another name.
        self.open = None;
        let rescued = match SqliteReplica::rescue(&self.home.database()) {
            Ok(rescued) => rescued,
            Err(error) => return error.into(),
        };
        tracing::warn!(?rescued, "the replica was damaged");
        let unsent = rescued.unsent;
        ClientError::Storage(match (self.reopen(), rescued.identity) {
            (Err(error), _) => return error,
            (Ok(()), true) => StorageProblem::Rescued { unsent },
            (Ok(()), false) => StorageProblem::Forgotten { unsent },
        })
    }

    fn open_replica(&mut self) -> Result<Replica<SqliteReplica>, ClientError> {
        let mut token = [0; 16];
        self.entropy.fill(&mut token);
        let (store, continuity) = SqliteReplica::open(&self.home.database(), token)?;
        Ok(Replica::open(store, continuity, &mut self.entropy)?)
    }

    /// Takes an enrolment over, durably.
    pub(crate) fn enrol(&mut self, relay: RelayUrl, meta: Meta) -> Result<(), ClientError> {
        if self.open.is_some() {
            return Err(ClientError::AlreadyEnrolled);
        }
        self.home.keep_relay(&relay)?;
        let mut replica = self.open_replica()?;
        replica.enrol(meta)?;
        self.home.forget_enrolling()?;
        self.open = Some(Enrolled { relay, replica });
        Ok(())
    }

    /// The replica and the randomness beside it.
    pub(crate) fn replica(
        &mut self,
    ) -> Result<(&mut Replica<SqliteReplica>, &mut SystemEntropy), ClientError> {
        let open = self.open.as_mut().ok_or(ClientError::NotEnrolled)?;
        Ok((&mut open.replica, &mut self.entropy))
    }

    /// The replica, to read.
    pub(crate) fn read(&self) -> Result<&Replica<SqliteReplica>, ClientError> {
        self.open
            .as_ref()
            .map(|open| &open.replica)
            .ok_or(ClientError::NotEnrolled)
    }

    fn publish(&mut self) {
        if let Some(open) = &mut self.open {
            for change in open.replica.take_changes() {
                // Nobody listening is fine.
                let _ = self.changes.send(change.into());
            }
        }
    }

    /// Begins a session: over the nonce given, or the one kept from the session before.
    pub(crate) fn greet(&mut self, nonce: Option<Vec<u8>>) -> Result<Greeting, ClientError> {
        self.greeted = None;
        let open = self.open.as_mut().ok_or(ClientError::NotEnrolled)?;
        let meta = open.replica.meta()?;
        // Shown when the relay asks again: a city that was put back from a backup may not know us.
        let grant = nonce.is_some().then(|| codec::encode(&meta.grant));
        let nonce = nonce.unwrap_or_else(|| meta.nonce.to_vec());
        let device = meta.device().to_string();
        let (hello, signature) = open.replica.hello(&nonce)?;
        Ok(Greeting {
            relay: open.relay.clone(),
            device,
            nonce,
            hello,
            signature,
            grant,
        })
    }

    /// Takes a frame; the inner result is the session's, the outer one the device's.
    pub(crate) fn handle(
        &mut self,
        frame: Down,
    ) -> Result<Result<(), replica::ProtocolError>, ClientError> {
        let head = match &frame {
            Down::Welcome { seq, .. } => Some(*seq),
            _ => None,
        };
        let (replica, entropy) = self.replica()?;
        let now = now_ms();
        let taken = replica.handle(frame, &mut Surroundings { now, entropy })?;
        if taken.is_ok() && head.is_some() {
            self.greeted = head;
        }
        Ok(taken)
    }

    /// Frames to send now, encoded; none when there is nothing.
    pub(crate) fn next_up(&mut self) -> Result<Vec<Vec<u8>>, ClientError> {
        let (replica, _) = self.replica()?;
        let (mut frames, mut bytes) = (Vec::new(), 0);
        while bytes < BATCH_BYTES {
            let Some(up) = replica.next_up()? else { break };
            let frame = codec::encode::<Up>(&up);
            bytes += frame.len();
            frames.push(frame);
        }
        Ok(frames)
    }

    /// The session is over.
    pub(crate) fn hang_up(&mut self) -> Result<(), ClientError> {
        self.greeted = None;
        let (replica, _) = self.replica()?;
        replica.hang_up();
        Ok(())
    }

    /// Whether nothing is left to send or to receive, as far as the live session has told: all own
    /// and carried work answered, every scope complete, the log read to the head of the welcome.
    pub(crate) fn is_idle(&self) -> Result<bool, ClientError> {
        use manzana_engine::replica::ReplicaStore as _;
        let replica = self.read()?;
        let Some(head) = self.greeted.filter(|_| replica.is_live()) else {
            return Ok(false);
        };
        let meta = replica.meta()?;
        let position = &meta.position;
        let complete = position.fills.is_empty()
            && meta.scopes().iter().all(|s| position.scopes.contains(s))
            && position.seq >= head;
        let busy =
            replica.awaits_documents() || replica.awaits_digests() || replica.is_giving_back();
        if !complete || busy || replica.store().unsent(&meta.device())?.0 > 0 {
            return Ok(false);
        }
        let carried = replica
            .store()
            .carried(&meta.device(), meta.incarnation, 1)?;
        Ok(carried.is_empty())
    }
}

/// Randomness of the operating system.
#[derive(Debug)]
pub(crate) struct SystemEntropy(());

impl SystemEntropy {
    /// Asks once whether there is any: where it works once, it goes on working.
    fn new() -> Result<Self, ClientError> {
        let mut probe = [0; 1];
        getrandom::fill(&mut probe).map_err(|_| ClientError::Internal("no randomness"))?;
        Ok(Self(()))
    }
}

impl Entropy for SystemEntropy {
    // A key made without randomness would be worse than an end of the program.
    #[allow(clippy::expect_used)]
    fn fill(&mut self, bytes: &mut [u8]) {
        getrandom::fill(bytes).expect("the system's randomness, which worked at the start");
    }
}
