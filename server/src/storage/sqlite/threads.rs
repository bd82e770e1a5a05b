//! One thread that writes and a few connections that read.

use std::path::Path;
use std::sync::atomic::AtomicU64;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;

use manzana_store::sqlite;
use prometheus_client::metrics::counter::Counter;
use rusqlite::{Connection, OptionalExtension, Transaction};
use tokio::sync::{Semaphore, mpsc, oneshot};

use super::super::{Result, StorageError};
use super::convert::int;
use super::journal::{self, Journal};
use super::memory::Memory;
use super::schema::SCHEMA;
use super::search::FolioFormat;

/// Writes waiting for the writer; callers beyond wait their turn.
const WRITES_QUEUED: usize = 64;
/// Connections that read: more than cores, since some of them wait for the disk.
const READERS: usize = 4;

/// Rows written between two checkpoints: some MiB of the write-ahead log.
const CHECKPOINT_ROWS: u64 = 4_000;
/// The writer itself moves the log into the database only past this many pages of 4 KiB, when the
/// thread that does it beside the writer does not keep up.
const LOG_PAGES: u32 = 16_384;

/// The thread has ended (a panic in it, told by the log).
#[derive(Debug, thiserror::Error)]
#[error("the storage's thread has ended")]
struct Ended;

fn ended() -> StorageError {
    StorageError::Backend(Box::new(Ended))
}

type Job = Box<dyn FnOnce(&mut Writer) + Send>;

/// What the writing thread owns.
pub(super) struct Writer {
    conn: Connection,
    journal: Option<Journal>,
    version: i64,
    checkpoints: Checkpoints,
    memory: Memory,
    pub(super) format: FolioFormat,
}

impl Writer {
    pub(super) fn new(
        conn: Connection,
        journal: Option<Journal>,
        format: FolioFormat,
        checkpoints: Checkpoints,
    ) -> Self {
        Self {
            conn,
            journal,
            version: 0,
            checkpoints,
            memory: Memory::default(),
            format,
        }
    }

    /// Runs `work` in one transaction: all of it is durable, or nothing of it was.
    fn transact<T>(
        &mut self,
        work: impl FnOnce(&Transaction<'_>, &mut Memory, &FolioFormat) -> Result<T>,
    ) -> Result<T> {
        let (memory, format) = (&mut self.memory, &self.format);
        let known = &mut self.version;
        let done = journal::write(&mut self.conn, self.journal.as_mut(), |tx| {
            // Another process may have written since: what is remembered is stale then.
            let version = tx.pragma_query_value(None, "data_version", |row| row.get(0))?;
            if *known != version {
                memory.clear();
                *known = version;
            }
            work(tx, memory, format)
        });
        if done.is_err() {
            self.memory.clear();
        } else {
            self.memory.trim();
        }
        self.checkpoints.written(self.conn.total_changes());
        done
    }

    fn limit_pages(&mut self, pages: u64) -> Result<()> {
        self.conn
            .query_row(&format!("PRAGMA max_page_count = {pages}"), [], |_| Ok(()))
            .optional()?;
        Ok(())
    }
}

/// A thread that moves the write-ahead log into the database while the writer goes on: done by the
/// writer, one commit in fifty would wait for it.
pub(super) struct Checkpoints {
    due: Option<SyncSender<()>>,
    thread: Option<JoinHandle<()>>,
    /// Rows that were written when it was last asked.
    asked: u64,
}

impl Checkpoints {
    pub(super) fn start(path: &Path) -> Result<Self> {
        let conn = sqlite::open(path, &SCHEMA)?;
        let (due, asked) = sync_channel(1);
        let thread = std::thread::Builder::new()
            .name("manzana-checkpoint".to_owned())
            .spawn(move || checkpoint(&conn, &asked))
            .map_err(|error| StorageError::Backend(Box::new(error)))?;
        Ok(Self {
            due: Some(due),
            thread: Some(thread),
            asked: 0,
        })
    }

    fn written(&mut self, rows: u64) {
        if rows >= self.asked + CHECKPOINT_ROWS {
            self.asked = rows;
            // Full: it is at it, and takes these along the next time.
            let _ = self.due.as_ref().map(|due| due.try_send(()));
        }
    }
}

impl Drop for Checkpoints {
    fn drop(&mut self) {
        self.due.take();
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

fn checkpoint(conn: &Connection, asked: &Receiver<()>) {
    while asked.recv().is_ok() {
        // Passive: it waits for nobody, and nobody for it. What it could not move stays in the log.
        let moved = conn.query_row("PRAGMA wal_checkpoint(PASSIVE)", [], |_| Ok(()));
        if let Err(error) = moved {
            tracing::warn!(%error, "the write-ahead log could not be moved into the database");
        }
    }
}

/// The handle of the writing thread.
pub(super) struct WriterThread {
    jobs: Option<mpsc::Sender<Job>>,
    thread: Option<JoinHandle<()>>,
}

impl WriterThread {
    pub(super) fn start(mut writer: Writer) -> Result<Self> {
        let (jobs, mut queue) = mpsc::channel::<Job>(WRITES_QUEUED);
        let thread = std::thread::Builder::new()
            .name("manzana-writer".to_owned())
            .spawn(move || {
                while let Some(job) = queue.blocking_recv() {
                    job(&mut writer);
                }
            })
            .map_err(|error| StorageError::Backend(Box::new(error)))?;
        Ok(Self {
            jobs: Some(jobs),
            thread: Some(thread),
        })
    }

    /// Runs `work` in a transaction of its own, after the writes asked for before.
    pub(super) async fn write<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Transaction<'_>, &mut Memory, &FolioFormat) -> Result<T> + Send + 'static,
    ) -> Result<T> {
        self.run(move |writer| writer.transact(work)).await
    }

    pub(super) async fn limit_pages(&self, pages: u64) -> Result<()> {
        self.run(move |writer| writer.limit_pages(pages)).await
    }

    async fn run<T: Send + 'static>(
        &self,
        work: impl FnOnce(&mut Writer) -> Result<T> + Send + 'static,
    ) -> Result<T> {
        let (reply, answer) = oneshot::channel();
        let job: Job = Box::new(move |writer| {
            // Nobody may be waiting any more: what was asked for is done all the same.
            let _ = reply.send(work(writer));
        });
        let jobs = self.jobs.as_ref().ok_or_else(ended)?;
        jobs.send(job).await.map_err(|_| ended())?;
        answer.await.map_err(|_| ended())?
    }
}

impl Drop for WriterThread {
    /// Waits for the writes under way, so that a database dropped is a database closed.
    fn drop(&mut self) {
        self.jobs.take();
        if let Some(thread) = self.thread.take() {
            // A panic in it was told when it happened.
            let _ = thread.join();
        }
    }
}

/// Documents whose bytes were read. Clones count together.
pub(super) type Opened = Counter<u64, AtomicU64>;

/// A connection that reads, inside one snapshot.
pub(super) struct Reader {
    pub(super) conn: Connection,
    opened: Opened,
}

impl Reader {
    fn open(path: &Path, opened: Opened) -> Result<Self> {
        let conn = sqlite::open_reader(path, &SCHEMA)?;
        Ok(Self { conn, opened })
    }

    /// A document's bytes: the only way to them, and it counts.
    pub(super) fn saved(&self, creation_seq: u64) -> Result<bytes::Bytes> {
        self.opened.inc();
        let saved: Vec<u8> = self
            .conn
            .prepare_cached("SELECT saved FROM doc_bytes WHERE creation_seq = ?1")?
            .query_row([int(creation_seq)], |row| row.get(0))?;
        Ok(saved.into())
    }
}

/// A bounded set of reading connections.
pub(super) struct Readers {
    idle: Mutex<Vec<Reader>>,
    permits: Arc<Semaphore>,
    opened: Opened,
}

impl Readers {
    pub(super) fn open(path: &Path) -> Result<Arc<Self>> {
        let opened = Opened::default();
        let idle: Vec<Reader> = (0..READERS)
            .map(|_| Reader::open(path, opened.clone()))
            .collect::<Result<_>>()?;
        Ok(Arc::new(Self {
            idle: Mutex::new(idle),
            permits: Arc::new(Semaphore::new(READERS)),
            opened,
        }))
    }

    pub(super) fn opened(&self) -> &Opened {
        &self.opened
    }

    /// Runs `work` in one read snapshot of some connection.
    pub(super) async fn read<T: Send + 'static>(
        self: &Arc<Self>,
        work: impl FnOnce(&Reader) -> Result<T> + Send + 'static,
    ) -> Result<T> {
        let permit = Arc::clone(&self.permits).acquire_owned().await;
        let permit = permit.map_err(|_| ended())?;
        let pool = Arc::clone(self);
        let reading = tokio::task::spawn_blocking(move || {
            let lease = Lease::take(&pool)?;
            let done = lease.read(work);
            // In this order: whoever gets the permit finds the connection.
            drop(lease);
            drop(permit);
            done
        });
        reading.await.map_err(|_| ended())?
    }
}

struct Lease<'a> {
    pool: &'a Readers,
    reader: Option<Reader>,
}

impl<'a> Lease<'a> {
    fn take(pool: &'a Readers) -> Result<Self> {
        let mut idle = pool.idle.lock().unwrap_or_else(PoisonError::into_inner);
        let reader = Some(idle.pop().ok_or_else(ended)?);
        Ok(Self { pool, reader })
    }

    fn read<T>(&self, work: impl FnOnce(&Reader) -> Result<T>) -> Result<T> {
        let reader = self.reader.as_ref().ok_or_else(ended)?;
        let snapshot = reader.conn.unchecked_transaction()?;
        let done = work(reader);
        snapshot.finish()?;
        done
    }
}

impl Drop for Lease<'_> {
    fn drop(&mut self) {
        let mut idle = self
            .pool
            .idle
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        idle.extend(self.reader.take());
    }
}

/// Opens the writer's connection.
pub(super) fn open_writer(path: &Path) -> Result<Connection> {
    let conn = sqlite::open(path, &SCHEMA)?;
    let set = format!("PRAGMA wal_autocheckpoint = {LOG_PAGES}");
    conn.query_row(&set, [], |_| Ok(()))?;
    Ok(conn)
}
