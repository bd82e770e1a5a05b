//! The gate's processes: a change is applied where it can do no harm but to itself.
//!
//! What passes the bounded decoder can still make Automerge panic, abort or eat memory, so the
//! relay never opens a document. A [`GatePool`] hands jobs — bytes in, bytes out — to child
//! processes ([`worker`]) with limits of memory and time, which may ask nothing of the kernel but
//! memory and their pipes (`confine`). A job that kills its worker is known as
//! the one that did, and no other job suffers from it.
//!
//! The protocol between them, on the worker's standard input and output, is frames: a length of
//! four bytes, little endian, and as many bytes.
//!
//! ```text
//! relay  → worker   job
//! worker → relay    an empty frame: "taken", sent once the job's length has been read
//! worker → relay    answer
//! ```
//!
//! "Taken" tells a job that killed its worker from one that merely found it dead.

mod confine;
pub mod pool;
pub mod worker;

pub use pool::{Gate, GateConfig, GateCounters, GateError, GatePool};
pub use worker::{WorkerLimits, run_worker, run_worker_within, worker_main};

/// Largest job, in bytes: a saved document of the largest allowed size (512 KiB) with every
/// change that may wait for it has room many times over.
pub const JOB_BYTES: usize = 16 * 1024 * 1024;

/// Largest answer, in bytes.
pub const ANSWER_BYTES: usize = JOB_BYTES;

/// Memory a worker may map beyond what it has when it starts, in bytes.
///
/// Loading a petition takes 50 KB; the largest allowed document takes some ten megabytes.
pub const MEMORY_BYTES: u64 = 256 * 1024 * 1024;

/// Processor time of one job, in whole seconds (the kernel's unit). The pool's wall time is
/// shorter; this one also ends a worker whose relay is gone.
pub const JOB_CPU_SECONDS: u64 = 10;
