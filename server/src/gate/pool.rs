//! The pool: hands jobs to worker processes and tells what became of each.
//!
//! Every worker has a task of its own (`Slot`) that takes the next job from one bounded queue.
//! Between jobs the task watches its process, so a worker killed by an outsider is replaced
//! before it is needed.

use std::ffi::OsString;
use std::io;
use std::path::PathBuf;
use std::process::{ExitStatus, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::process::{Child, ChildStdin, ChildStdout, Command};
use tokio::sync::{Mutex, mpsc, oneshot};
use tokio::task::JoinSet;
use tokio::time::timeout;

use super::{ANSWER_BYTES, JOB_BYTES, confine};

/// How often a job is handed to a worker that turns out to be dead before it gives up.
const ATTEMPTS: usize = 2;

/// How to run workers.
#[derive(Debug, Clone)]
pub struct GateConfig {
    /// The program, an absolute path: the relay's own binary.
    pub program: PathBuf,
    /// Its arguments: `gate-worker`.
    pub args: Vec<OsString>,
    /// How many processes, at least 1.
    pub workers: usize,
    /// How long one job may take.
    pub wall: Duration,
    /// How many jobs may wait, at least 1.
    pub queue: usize,
}

/// Why a job has no answer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum GateError {
    /// This job's worker died of it: it panicked, aborted, or ran out of memory or processor
    /// time. The job is to be quarantined.
    #[error("the job killed its worker (signal {signal:?}, code {code:?})")]
    Died {
        /// The signal that ended the process.
        signal: Option<i32>,
        /// The code it exited with.
        code: Option<i32>,
    },
    /// This job took longer than the wall time and its worker was killed. To be quarantined.
    #[error("the job took too long")]
    TimedOut,
    /// The job is larger than [`JOB_BYTES`] and was given to nobody.
    #[error("the job is too large")]
    TooLarge,
    /// The queue is full. Nothing is wrong with the job.
    #[error("too many jobs are waiting")]
    Busy,
    /// No worker could be started, or none lived long enough to take the job. Nothing is wrong
    /// with the job.
    #[error("no worker could be started: {kind}")]
    Spawn {
        /// What the system said.
        kind: io::ErrorKind,
    },
    /// The pool is gone. Nothing is wrong with the job.
    #[error("the pool has stopped")]
    Stopped,
}

impl GateError {
    /// Whether the job itself is to blame, so that its caller quarantines it.
    pub fn is_the_jobs_fault(&self) -> bool {
        matches!(self, Self::Died { .. } | Self::TimedOut | Self::TooLarge)
    }
}

/// What the pool has done since it started.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct GateCounters {
    /// Jobs given to a worker which took them.
    pub jobs: u64,
    /// Jobs that killed their worker.
    pub deaths: u64,
    /// Jobs that took too long.
    pub timeouts: u64,
    /// Workers that died without a job.
    pub idle_deaths: u64,
    /// Processes started.
    pub spawned: u64,
    /// Jobs turned away because the queue was full.
    pub turned_away: u64,
}

/// Judges jobs where they can do no harm to the relay.
#[async_trait]
pub trait Gate: Send + Sync + 'static {
    /// Has one job judged.
    ///
    /// # Errors
    /// See [`GateError`]; [`GateError::is_the_jobs_fault`] tells which mean the job itself.
    async fn judge(&self, job: Bytes) -> Result<Bytes, GateError>;
}

#[async_trait]
impl Gate for GatePool {
    async fn judge(&self, job: Bytes) -> Result<Bytes, GateError> {
        Self::judge(self, job).await
    }
}

/// A number of worker processes and the queue before them. Dropping it kills them.
#[derive(Debug)]
pub struct GatePool {
    queue: mpsc::Sender<Job>,
    shared: Arc<Shared>,
    // Dropped with the pool, which aborts the tasks and so kills their processes.
    _slots: JoinSet<()>,
}

impl GatePool {
    /// Starts the workers. Must be called within a tokio runtime.
    ///
    /// # Errors
    /// [`GateError::Spawn`] when the program cannot be started.
    pub fn start(config: GateConfig) -> Result<Self, GateError> {
        if !confine::is_supported() {
            tracing::warn!(
                "this system has no seccomp: gate workers have limits of memory and time only"
            );
        }
        let (queue, jobs) = mpsc::channel(config.queue.max(1));
        let jobs = Arc::new(Mutex::new(jobs));
        let workers = config.workers.max(1);
        let shared = Arc::new(Shared {
            config,
            counters: Counters::default(),
        });
        let mut slots = JoinSet::new();
        for _ in 0..workers {
            let slot = Slot {
                worker: Some(shared.spawn()?),
                shared: Arc::clone(&shared),
                jobs: Arc::clone(&jobs),
            };
            slots.spawn(slot.run());
        }
        Ok(Self {
            queue,
            shared,
            _slots: slots,
        })
    }

    /// Has one job judged. The job waits in the queue from the first poll on.
    ///
    /// # Errors
    /// See [`GateError`]; [`GateError::is_the_jobs_fault`] tells which mean the job itself.
    pub async fn judge(&self, job: Bytes) -> Result<Bytes, GateError> {
        if job.len() > JOB_BYTES {
            return Err(GateError::TooLarge);
        }
        let (answer, answered) = oneshot::channel();
        self.queue
            .try_send(Job { bytes: job, answer })
            .map_err(|error| self.turned_away(&error))?;
        answered.await.unwrap_or(Err(GateError::Stopped))
    }

    fn turned_away(&self, error: &mpsc::error::TrySendError<Job>) -> GateError {
        match error {
            mpsc::error::TrySendError::Full(_) => {
                add_one(&self.shared.counters.turned_away);
                GateError::Busy
            }
            mpsc::error::TrySendError::Closed(_) => GateError::Stopped,
        }
    }

    /// What the pool has done so far, for the metrics.
    pub fn counters(&self) -> GateCounters {
        let counters = &self.shared.counters;
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        GateCounters {
            jobs: read(&counters.jobs),
            deaths: read(&counters.deaths),
            timeouts: read(&counters.timeouts),
            idle_deaths: read(&counters.idle_deaths),
            spawned: read(&counters.spawned),
            turned_away: read(&counters.turned_away),
        }
    }
}

#[derive(Debug)]
struct Job {
    bytes: Bytes,
    answer: oneshot::Sender<Result<Bytes, GateError>>,
}

#[derive(Debug)]
struct Shared {
    config: GateConfig,
    counters: Counters,
}

#[derive(Debug, Default)]
struct Counters {
    jobs: AtomicU64,
    deaths: AtomicU64,
    timeouts: AtomicU64,
    idle_deaths: AtomicU64,
    spawned: AtomicU64,
    turned_away: AtomicU64,
}

fn add_one(counter: &AtomicU64) {
    counter.fetch_add(1, Ordering::Relaxed);
}

impl Shared {
    fn spawn(&self) -> Result<Worker, GateError> {
        let worker =
            Worker::spawn(&self.config).map_err(|error| GateError::Spawn { kind: error.kind() })?;
        add_one(&self.counters.spawned);
        Ok(worker)
    }
}

/// One worker's task.
struct Slot {
    worker: Option<Worker>,
    shared: Arc<Shared>,
    jobs: Arc<Mutex<mpsc::Receiver<Job>>>,
}

impl Slot {
    async fn run(mut self) {
        while let Some(job) = self.next_job().await {
            if job.answer.is_closed() {
                continue;
            }
            let answer = self.judge(&job.bytes).await;
            // Before the answer, so that who reads it finds the pool whole again. When it fails
            // the next job tries again and is told.
            if self.worker.is_none() {
                self.worker = self.shared.spawn().ok();
            }
            // Nobody may be waiting any more.
            let _ = job.answer.send(answer);
        }
    }

    /// Waits for a job while watching the worker; nothing when the pool is gone.
    async fn next_job(&mut self) -> Option<Job> {
        loop {
            let Some(worker) = &mut self.worker else {
                return self.jobs.lock().await.recv().await;
            };
            tokio::select! {
                job = async { self.jobs.lock().await.recv().await } => return job,
                _ = worker.child.wait() => self.replace_the_dead(),
            }
        }
    }

    /// A worker that never took a job is not replaced before one comes: a program that ends by
    /// itself would be started without end.
    fn replace_the_dead(&mut self) {
        add_one(&self.shared.counters.idle_deaths);
        let proven = self.worker.take().is_some_and(|worker| worker.proven);
        if proven {
            self.worker = self.shared.spawn().ok();
        }
    }

    async fn judge(&mut self, job: &Bytes) -> Result<Bytes, GateError> {
        let counters = &self.shared.counters;
        for _ in 0..ATTEMPTS {
            let mut worker = match self.worker.take() {
                Some(worker) => worker,
                None => self.shared.spawn()?,
            };
            let outcome = worker.attempt(job, self.shared.config.wall).await;
            if !matches!(outcome, Outcome::NotTaken) {
                add_one(&counters.jobs);
            }
            match outcome {
                Outcome::Answered(answer) => {
                    self.worker = Some(worker);
                    return Ok(answer);
                }
                Outcome::NotTaken => add_one(&counters.idle_deaths),
                Outcome::Died(error) => {
                    add_one(&counters.deaths);
                    return Err(error);
                }
                Outcome::TimedOut => {
                    add_one(&counters.timeouts);
                    return Err(GateError::TimedOut);
                }
            }
        }
        Err(GateError::Spawn {
            kind: io::ErrorKind::BrokenPipe,
        })
    }
}

/// What became of a job.
enum Outcome {
    Answered(Bytes),
    /// The worker died, or hung, before it took the job.
    NotTaken,
    Died(GateError),
    TimedOut,
}

/// A worker process and the pipes to it. Dropping it kills the process.
#[derive(Debug)]
struct Worker {
    child: Child,
    jobs: ChildStdin,
    answers: ChildStdout,
    /// Whether it has taken a job.
    proven: bool,
}

impl Worker {
    fn spawn(config: &GateConfig) -> io::Result<Self> {
        let mut child = Command::new(&config.program)
            .args(&config.args)
            // The relay's environment may hold secrets.
            .env_clear()
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            // A Ctrl-C meant for the relay lets it finish its jobs first.
            .process_group(0)
            .kill_on_drop(true)
            .spawn()?;
        let pipes = child.stdin.take().zip(child.stdout.take());
        let (jobs, answers) = pipes.ok_or(io::ErrorKind::BrokenPipe)?;
        Ok(Self {
            child,
            jobs,
            answers,
            proven: false,
        })
    }

    async fn attempt(&mut self, job: &[u8], wall: Duration) -> Outcome {
        let mut taken = false;
        let exchanged = timeout(wall, self.exchange(job, &mut taken)).await;
        self.proven |= taken;
        match exchanged {
            Ok(Ok(answer)) => Outcome::Answered(answer),
            Ok(Err(_)) | Err(_) if !taken => Outcome::NotTaken,
            Ok(Err(_)) => Outcome::Died(died(self.end(wall).await)),
            Err(_) => Outcome::TimedOut,
        }
    }

    async fn exchange(&mut self, job: &[u8], taken: &mut bool) -> io::Result<Bytes> {
        let sent = send(&mut self.jobs, job).await;
        // Also when sending failed: the worker may have taken the job and died while reading it.
        if self.answers.read_u32_le().await? != 0 {
            return Err(io::ErrorKind::InvalidData.into());
        }
        *taken = true;
        sent?;
        let len = usize::try_from(self.answers.read_u32_le().await?);
        let len = len.ok().filter(|len| *len <= ANSWER_BYTES);
        let mut answer = vec![0; len.ok_or(io::ErrorKind::FileTooLarge)?];
        self.answers.read_exact(&mut answer).await?;
        Ok(Bytes::from(answer))
    }

    /// How the process ended. It is given time to do so, for its own signal tells more than ours.
    async fn end(&mut self, grace: Duration) -> Option<ExitStatus> {
        match timeout(grace, self.child.wait()).await {
            Ok(status) => status.ok(),
            Err(_) => {
                self.child.start_kill().ok()?;
                self.child.wait().await.ok()
            }
        }
    }
}

async fn send(jobs: &mut ChildStdin, job: &[u8]) -> io::Result<()> {
    let len = u32::try_from(job.len()).map_err(|_| io::ErrorKind::FileTooLarge)?;
    jobs.write_all(&len.to_le_bytes()).await?;
    jobs.write_all(job).await?;
    jobs.flush().await
}

fn died(status: Option<ExitStatus>) -> GateError {
    use std::os::unix::process::ExitStatusExt;
    GateError::Died {
        signal: status.and_then(|status| status.signal()),
        code: status.and_then(|status| status.code()),
    }
}
