//! What SQLite did to the files of a folder, and what becomes of them when the power goes.
//!
//! A [`Tape`] is laid over a folder ([`Tape::over`]); every write, truncation, sync and deletion that
//! SQLite does in it is recorded, and any of its operations can be made to fail ([`Fault`]).
//! [`Tape::power_cut`] gives the files as a disk may hold them when the power goes after some of the
//! operations: of each file what was synced, and of what was not, anything — each write whole, not at all, or some of
//! its sectors — so that later writes may be there without earlier ones.

use std::collections::BTreeMap;
use std::ffi::c_int;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use manzana_tests::wait::Seeded;
use rusqlite::ffi;

use super::vfs;

/// What a disk writes whole or not at all, bytes.
const SECTOR: usize = 512;

/// Something done to a file, in the order in which it was done.
#[derive(Debug, Clone)]
enum Op {
    Write {
        file: String,
        at: usize,
        bytes: Vec<u8>,
    },
    Truncate {
        file: String,
        size: usize,
    },
    /// `folder`: names that were removed from the folder are gone for certain too.
    Sync {
        file: String,
        folder: bool,
    },
    Delete {
        file: String,
        durable: bool,
    },
    /// A file that others than SQLite replaced, durably.
    Replaced {
        file: String,
        bytes: Vec<u8>,
    },
}

/// An operation that can fail.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Act {
    /// Opening a file, which may make it.
    Open {
        /// Whether it may.
        creates: bool,
    },
    Read,
    Write,
    Truncate,
    Sync,
    Delete,
    /// Making the memory larger that connections share.
    GrowShared,
}

/// How operations fail.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Any of them, as on a dying disk.
    Io,
    /// Those that ask for room.
    Full,
    /// Writes, half way.
    Short,
}

/// A failure that is planned.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Fault {
    pub(crate) kind: Kind,
    /// Which of the operations of this kind, from 1.
    pub(crate) at: u64,
    /// Whether all after it fail too.
    pub(crate) lasts: bool,
}

#[derive(Default)]
struct Inner {
    ops: Vec<Op>,
    /// How many operations there were when something was acknowledged.
    marks: Vec<usize>,
    /// A file beside the database that SQLite does not write, as it was last seen.
    beside: Option<(PathBuf, Vec<u8>)>,
    fault: Option<Fault>,
    /// Operations of the fault's kind so far.
    seen: u64,
    struck: u64,
}

/// See the [module](self).
#[derive(Default)]
pub(crate) struct Tape(Mutex<Inner>);

static TAPES: Mutex<BTreeMap<PathBuf, Arc<Tape>>> = Mutex::new(BTreeMap::new());

/// The tape over a folder.
pub(crate) fn of(folder: &Path) -> Option<Arc<Tape>> {
    let tapes = TAPES.lock().unwrap_or_else(PoisonError::into_inner);
    tapes.get(folder).cloned()
}

/// Files of a folder, by name.
pub(crate) type Files = BTreeMap<String, Vec<u8>>;

impl Tape {
    /// Lays a tape over a folder. `beside` names a file that is recorded too, though not SQLite's.
    pub(crate) fn over(folder: &Path, beside: Option<&Path>) -> Arc<Self> {
        vfs::install();
        let tape = Arc::new(Self::default());
        tape.inner().beside = beside.map(|path| (path.to_owned(), Vec::new()));
        let mut tapes = TAPES.lock().unwrap_or_else(PoisonError::into_inner);
        tapes.insert(folder.to_owned(), Arc::clone(&tape));
        tape
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Something was acknowledged: it must outlive the power from here on.
    pub(crate) fn mark(&self) {
        let mut inner = self.inner();
        inner.look_beside();
        let here = inner.ops.len();
        inner.marks.push(here);
    }

    /// Plans a failure, or none; counting begins again.
    pub(crate) fn plan(&self, fault: Option<Fault>) {
        let mut inner = self.inner();
        (inner.fault, inner.seen, inner.struck) = (fault, 0, 0);
    }

    /// How many operations failed as planned.
    pub(crate) fn struck(&self) -> u64 {
        self.inner().struck
    }

    /// How many operations are recorded.
    pub(crate) fn len(&self) -> usize {
        self.inner().ops.len()
    }

    /// After how many operations each acknowledgement was given.
    pub(crate) fn marks(&self) -> Vec<usize> {
        self.inner().marks.clone()
    }

    /// How many acknowledgements were given after so many operations.
    pub(crate) fn acknowledged(&self, ops: usize) -> usize {
        self.inner().marks.iter().filter(|at| **at <= ops).count()
    }

    /// The files when so many operations were done and the power stayed.
    pub(crate) fn played(&self, ops: usize) -> Files {
        self.files(ops, |_| Fate::Whole)
    }

    /// The files that a disk may hold when the power goes after so many operations.
    pub(crate) fn power_cut(&self, ops: usize, dice: &mut Seeded) -> Files {
        // Now and then all at once: nothing since the syncs, or everything.
        let all = match dice.below(4) {
            0 => Some(Fate::Lost),
            1 => Some(Fate::Whole),
            _ => None,
        };
        self.files(ops, |sectors| {
            all.clone().unwrap_or_else(|| match dice.below(3) {
                0 => Fate::Lost,
                1 => Fate::Whole,
                _ => Fate::Torn((0..sectors).map(|_| dice.below(2) == 0).collect()),
            })
        })
    }

    fn files(&self, ops: usize, mut fate: impl FnMut(usize) -> Fate) -> Files {
        let inner = self.inner();
        let mut disk: BTreeMap<&str, Cached<'_>> = BTreeMap::new();
        for op in &inner.ops[..ops] {
            if let Op::Sync { folder: true, .. } | Op::Replaced { .. } = op {
                disk.values_mut().for_each(Cached::folder_is_synced);
            }
            disk.entry(op.file()).or_default().take(op);
        }
        let left = disk
            .into_iter()
            .filter_map(|(name, cached)| Some((name.to_owned(), cached.after_the_cut(&mut fate)?)));
        left.collect()
    }

    // What the VFS asks.

    /// The code with which this operation is to fail, if it is.
    pub(crate) fn strike(&self, act: Act) -> Option<c_int> {
        self.inner().strike(act)
    }

    pub(crate) fn write(
        &self,
        file: &str,
        at: u64,
        bytes: &[u8],
        real: impl Fn(usize) -> c_int,
    ) -> c_int {
        let mut inner = self.inner();
        let struck = inner.strike(Act::Write);
        let done = match (struck, inner.fault) {
            (
                Some(_),
                Some(Fault {
                    kind: Kind::Short, ..
                }),
            ) => bytes.len() / 2,
            (Some(code), _) => return code,
            (None, _) => bytes.len(),
        };
        let code = real(done);
        if code == ffi::SQLITE_OK {
            inner.record(Op::Write {
                file: file.to_owned(),
                at: usize::try_from(at).unwrap_or(usize::MAX),
                bytes: bytes[..done].to_owned(),
            });
        }
        struck.unwrap_or(code)
    }

    pub(crate) fn truncate(&self, file: &str, size: u64, real: impl Fn() -> c_int) -> c_int {
        let op = Op::Truncate {
            file: file.to_owned(),
            size: usize::try_from(size).unwrap_or(usize::MAX),
        };
        self.inner().act(Act::Truncate, op, real)
    }

    pub(crate) fn sync(&self, file: &str, folder: bool) -> c_int {
        let file = file.to_owned();
        self.inner()
            .act(Act::Sync, Op::Sync { file, folder }, || ffi::SQLITE_OK)
    }

    pub(crate) fn delete(&self, file: &str, durable: bool, real: impl Fn() -> c_int) -> c_int {
        let file = file.to_owned();
        self.inner()
            .act(Act::Delete, Op::Delete { file, durable }, real)
    }
}

impl Inner {
    fn act(&mut self, act: Act, op: Op, real: impl Fn() -> c_int) -> c_int {
        if let Some(code) = self.strike(act) {
            return code;
        }
        let code = real();
        if code == ffi::SQLITE_OK {
            self.record(op);
        }
        code
    }

    fn record(&mut self, op: Op) {
        self.look_beside();
        self.ops.push(op);
    }

    /// Notes what became of the file beside since the last operation.
    fn look_beside(&mut self) {
        let Some((path, seen)) = &mut self.beside else {
            return;
        };
        let now = std::fs::read(&*path).unwrap_or_default();
        if now != *seen {
            seen.clone_from(&now);
            let file = path.file_name().unwrap_or_default().to_string_lossy();
            let file = file.into_owned();
            self.ops.push(Op::Replaced { file, bytes: now });
        }
    }

    fn strike(&mut self, act: Act) -> Option<c_int> {
        let fault = self.fault?;
        let code = failure(fault.kind, act)?;
        self.seen += 1;
        let hit = self.seen == fault.at || fault.lasts && self.seen > fault.at;
        self.struck += u64::from(hit);
        hit.then_some(code)
    }
}

/// The code with which an operation fails, if such a fault makes it.
fn failure(kind: Kind, act: Act) -> Option<c_int> {
    Some(match (kind, act) {
        (Kind::Io, Act::Open { .. }) | (Kind::Full, Act::Open { creates: true }) => {
            ffi::SQLITE_CANTOPEN
        }
        (Kind::Io, Act::Read) => ffi::SQLITE_IOERR_READ,
        (Kind::Io, Act::Write) => ffi::SQLITE_IOERR_WRITE,
        (Kind::Full | Kind::Short, Act::Write) => ffi::SQLITE_FULL,
        (Kind::Io, Act::Truncate) => ffi::SQLITE_IOERR_TRUNCATE,
        (Kind::Io, Act::Sync) => ffi::SQLITE_IOERR_FSYNC,
        (Kind::Io, Act::Delete) => ffi::SQLITE_IOERR_DELETE,
        (Kind::Io, Act::GrowShared) => ffi::SQLITE_IOERR_SHMMAP,
        (Kind::Full, Act::GrowShared) => ffi::SQLITE_IOERR_SHMSIZE,
        _ => return None,
    })
}

impl Op {
    fn file(&self) -> &str {
        match self {
            Self::Write { file, .. }
            | Self::Truncate { file, .. }
            | Self::Sync { file, .. }
            | Self::Delete { file, .. }
            | Self::Replaced { file, .. } => file,
        }
    }
}

/// What becomes of an operation that was not synced.
#[derive(Debug, Clone)]
enum Fate {
    Lost,
    Whole,
    /// Of a write, these sectors.
    Torn(Vec<bool>),
}

/// A file: what the disk holds for certain, and what was done to it since.
#[derive(Default)]
struct Cached<'a> {
    durable: Option<Vec<u8>>,
    since: Vec<&'a Op>,
}

impl<'a> Cached<'a> {
    fn take(&mut self, op: &'a Op) {
        match op {
            Op::Sync { .. } => {
                for op in std::mem::take(&mut self.since) {
                    happen(&mut self.durable, op, &Fate::Whole);
                }
            }
            Op::Delete { durable: true, .. } | Op::Replaced { .. } => {
                self.since.clear();
                happen(&mut self.durable, op, &Fate::Whole);
            }
            _ => self.since.push(op),
        }
    }

    /// The last removal of its name, and all before it, are durable; a file made since is another one.
    fn folder_is_synced(&mut self) {
        let removed = |op: &&Op| matches!(op, Op::Delete { .. });
        if let Some(last) = self.since.iter().rposition(removed) {
            self.since.drain(..=last);
            self.durable = None;
        }
    }

    fn after_the_cut(self, fate: &mut impl FnMut(usize) -> Fate) -> Option<Vec<u8>> {
        let mut held = self.durable;
        for op in self.since {
            let sectors = match op {
                Op::Write { at, bytes, .. } => (at + bytes.len()).div_ceil(SECTOR) - at / SECTOR,
                _ => 0,
            };
            match (fate(sectors), op) {
                // The name stays with the file that it was: what was written to another goes with that.
                (Fate::Lost | Fate::Torn(_), Op::Delete { .. }) => break,
                // What is no write happens or does not.
                (Fate::Lost, _) | (Fate::Torn(_), Op::Truncate { .. }) => {}
                (fate, op) => happen(&mut held, op, &fate),
            }
        }
        held
    }
}

fn happen(held: &mut Option<Vec<u8>>, op: &Op, fate: &Fate) {
    match op {
        Op::Write { at, bytes, .. } => {
            let held = held.get_or_insert_default();
            for (offset, byte) in bytes.iter().enumerate() {
                let place = at + offset;
                let there = match fate {
                    Fate::Torn(sectors) => sectors[place / SECTOR - at / SECTOR],
                    Fate::Whole => true,
                    Fate::Lost => false,
                };
                if there {
                    if held.len() <= place {
                        held.resize(place + 1, 0);
                    }
                    held[place] = *byte;
                }
            }
        }
        Op::Truncate { size, .. } => {
            if let Some(held) = held {
                held.resize(*size, 0);
            }
        }
        Op::Delete { .. } => *held = None,
        Op::Replaced { bytes, .. } => *held = Some(bytes.clone()),
        Op::Sync { .. } => {}
    }
}

/// Writes files into a folder of their own.
pub(crate) fn lay_out(files: &Files, folder: &Path) {
    for (name, bytes) in files {
        std::fs::write(folder.join(name), bytes).expect("written");
    }
}
