//! The system's file system as SQLite sees it, with a [`Tape`] between.
//!
//! SQLite takes its files from a VFS, a table of C functions, so this is the one module of the house
//! with `unsafe`. It holds no rules: each function asks the tape of the file's folder, and does what
//! the system's own VFS does. Crates that wrap a VFS were looked at and left: `sqlite-plugin` needs
//! libclang to build, `sqlite-vfs` has no shared memory for a write-ahead log, and both want a whole
//! file system where this wants the real one with a hand on it.
//!
//! It is made SQLite's default, so production code opens its files through it without knowing.
#![allow(unsafe_code)]

use std::ffi::{CStr, c_char, c_int, c_void};
use std::path::{Path, PathBuf};
use std::ptr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};

use rusqlite::ffi::{self, sqlite3_file, sqlite3_io_methods, sqlite3_vfs};

use super::tape::{self, Act, Tape};

/// An open file. The system's own follows right behind it in memory that SQLite gives.
#[repr(C)]
struct File {
    base: sqlite3_file,
    /// From `Box::into_raw`; null where no tape runs.
    taped: *mut Taped,
}

struct Taped {
    tape: Arc<Tape>,
    name: String,
    /// The system's VFS syncs the folder with the first sync of a log or journal that it may have made.
    folder_due: AtomicBool,
}

/// The system's VFS.
struct System(*mut sqlite3_vfs);

// SAFETY: SQLite's own VFS lives for ever, is never changed after its start, and is made for all threads.
unsafe impl Send for System {}
// SAFETY: as above.
unsafe impl Sync for System {}

static SYSTEM: OnceLock<System> = OnceLock::new();

/// Makes this SQLite's default in this process; again is the same.
pub(crate) fn install() {
    SYSTEM.get_or_init(|| {
        // SAFETY: a null name asks for the default VFS; SQLite initialises itself.
        let system = unsafe { ffi::sqlite3_vfs_find(ptr::null()) };
        assert!(!system.is_null(), "SQLite has a file system");
        // SAFETY: it is a valid VFS (above), and plain data: its functions look at nothing but it.
        let mut ours = unsafe { ptr::read(system) };
        ours.szOsFile += c_int::try_from(size_of::<File>()).expect("small");
        ours.pNext = ptr::null_mut();
        ours.zName = c"manzana-taped".as_ptr();
        ours.xOpen = Some(open);
        ours.xDelete = Some(delete);
        // SAFETY: leaked, so valid for ever, as SQLite asks; 1 makes it the default.
        let code = unsafe { ffi::sqlite3_vfs_register(Box::leak(Box::new(ours)), 1) };
        assert_eq!(code, ffi::SQLITE_OK, "registered");
        System(system)
    });
}

fn system() -> *mut sqlite3_vfs {
    SYSTEM.get().map_or(ptr::null_mut(), |system| system.0)
}

static METHODS: sqlite3_io_methods = sqlite3_io_methods {
    iVersion: 2, // no memory mapping
    xClose: Some(close),
    xRead: Some(read),
    xWrite: Some(write),
    xTruncate: Some(truncate),
    xSync: Some(sync),
    xFileSize: Some(file_size),
    xLock: Some(lock),
    xUnlock: Some(unlock),
    xCheckReservedLock: Some(check_reserved_lock),
    xFileControl: Some(file_control),
    xSectorSize: Some(sector_size),
    xDeviceCharacteristics: Some(device_characteristics),
    xShmMap: Some(shm_map),
    xShmLock: Some(shm_lock),
    xShmBarrier: Some(shm_barrier),
    xShmUnmap: Some(shm_unmap),
    xFetch: None,
    xUnfetch: None,
};

/// The system's file behind one of ours.
///
/// # Safety
/// `file` is one that [`open`] was given.
unsafe fn real(file: *mut sqlite3_file) -> *mut sqlite3_file {
    // SAFETY: `install` asked SQLite for room for both, ours first; a `File` is two pointers, so what
    // follows it is aligned for the other.
    unsafe { file.cast::<File>().add(1).cast() }
}

/// The tape of an open file, and the file's name on it.
///
/// # Safety
/// `file` is open, and not being closed.
unsafe fn taped<'a>(file: *mut sqlite3_file) -> Option<&'a Taped> {
    // SAFETY: `open` wrote it, and `close` alone frees it.
    unsafe { (*file.cast::<File>()).taped.as_ref() }
}

/// Calls a method of the system's file.
macro_rules! call {
    ($file:expr, $method:ident $(, $argument:expr)*) => {{
        // SAFETY: the file is open (SQLite calls methods of open files only), so the system's is too,
        // with its own methods; arguments are SQLite's own, passed on as they came.
        unsafe {
            let real = real($file);
            match (*(*real).pMethods).$method {
                Some(method) => method(real $(, $argument)*),
                None => ffi::SQLITE_IOERR,
            }
        }
    }};
}

fn path_of(name: *const c_char) -> Option<PathBuf> {
    if name.is_null() {
        return None;
    }
    // SAFETY: SQLite names files by strings that end with a zero and outlive the call.
    let name = unsafe { CStr::from_ptr(name) };
    Some(Path::new(name.to_str().ok()?).to_owned())
}

fn found(path: Option<PathBuf>) -> Option<Taped> {
    let path = path?;
    let tape = tape::of(path.parent()?)?;
    let name = path.file_name()?.to_str()?.to_owned();
    Some(Taped {
        tape,
        name,
        folder_due: AtomicBool::new(false),
    })
}

unsafe extern "C" fn open(
    _: *mut sqlite3_vfs,
    name: *const c_char,
    file: *mut sqlite3_file,
    flags: c_int,
    out: *mut c_int,
) -> c_int {
    let ours = file.cast::<File>();
    // SAFETY: SQLite gives room for our file; a null table of methods says that it is not open.
    unsafe { (*ours).base.pMethods = ptr::null() };
    let mut taped = found(path_of(name));
    let creates = flags & ffi::SQLITE_OPEN_CREATE != 0;
    let journals = ffi::SQLITE_OPEN_MAIN_JOURNAL | ffi::SQLITE_OPEN_WAL;
    if let Some(taped) = &mut taped {
        *taped.folder_due.get_mut() = creates && flags & journals != 0;
    }
    if let Some(code) = taped
        .as_ref()
        .and_then(|t| t.tape.strike(Act::Open { creates }))
    {
        return code;
    }
    // SAFETY: the system's own function, with its own VFS and file, and SQLite's arguments.
    let code = unsafe {
        match (*system()).xOpen {
            Some(open) => open(system(), name, real(file), flags, out),
            None => ffi::SQLITE_CANTOPEN,
        }
    };
    if code == ffi::SQLITE_OK {
        let taped = taped.map_or(ptr::null_mut(), |taped| Box::into_raw(Box::new(taped)));
        // SAFETY: as above; from here on it is open.
        unsafe {
            (*ours).taped = taped;
            (*ours).base.pMethods = &METHODS;
        }
    }
    code
}

unsafe extern "C" fn delete(_: *mut sqlite3_vfs, name: *const c_char, sync: c_int) -> c_int {
    let real = || {
        // SAFETY: the system's own function, with its own VFS and SQLite's arguments.
        unsafe {
            match (*system()).xDelete {
                Some(delete) => delete(system(), name, 0),
                None => ffi::SQLITE_IOERR_DELETE,
            }
        }
    };
    match found(path_of(name)) {
        Some(Taped { tape, name, .. }) => tape.delete(&name, sync != 0, real),
        None => real(),
    }
}

unsafe extern "C" fn close(file: *mut sqlite3_file) -> c_int {
    let code = call!(file, xClose);
    // SAFETY: `open` made it, and nobody uses a file after its close.
    unsafe {
        let taped = std::mem::replace(&mut (*file.cast::<File>()).taped, ptr::null_mut());
        if !taped.is_null() {
            drop(Box::from_raw(taped));
        }
    }
    code
}

unsafe extern "C" fn read(file: *mut sqlite3_file, to: *mut c_void, many: c_int, at: i64) -> c_int {
    // SAFETY: the file is open.
    let struck = unsafe { taped(file) }.and_then(|t| t.tape.strike(Act::Read));
    struck.unwrap_or_else(|| call!(file, xRead, to, many, at))
}

unsafe extern "C" fn write(
    file: *mut sqlite3_file,
    from: *const c_void,
    many: c_int,
    at: i64,
) -> c_int {
    let real = |many: usize| call!(file, xWrite, from, c_int::try_from(many).unwrap_or(0), at);
    let length = usize::try_from(many).unwrap_or(0);
    // SAFETY: the file is open.
    match unsafe { taped(file) } {
        Some(Taped { tape, name, .. }) => {
            // SAFETY: SQLite gives that many bytes to write.
            let bytes = unsafe { std::slice::from_raw_parts(from.cast::<u8>(), length) };
            tape.write(name, at.unsigned_abs(), bytes, real)
        }
        None => real(length),
    }
}

unsafe extern "C" fn truncate(file: *mut sqlite3_file, size: i64) -> c_int {
    let real = || call!(file, xTruncate, size);
    // SAFETY: the file is open.
    match unsafe { taped(file) } {
        Some(Taped { tape, name, .. }) => tape.truncate(name, size.unsigned_abs(), real),
        None => real(),
    }
}

/// Nothing is waited for: the power goes on the tape alone, and the files last as long as the test.
unsafe extern "C" fn sync(file: *mut sqlite3_file, _: c_int) -> c_int {
    // SAFETY: the file is open.
    match unsafe { taped(file) } {
        Some(taped) => {
            let folder = taped.folder_due.swap(false, Ordering::Relaxed);
            taped.tape.sync(&taped.name, folder)
        }
        None => ffi::SQLITE_OK,
    }
}

unsafe extern "C" fn shm_map(
    file: *mut sqlite3_file,
    region: c_int,
    size: c_int,
    extend: c_int,
    out: *mut *mut c_void,
) -> c_int {
    // SAFETY: the file is open.
    let taped = unsafe { taped(file) }.filter(|_| extend != 0);
    let struck = taped.and_then(|t| t.tape.strike(Act::GrowShared));
    struck.unwrap_or_else(|| call!(file, xShmMap, region, size, extend, out))
}

unsafe extern "C" fn file_size(file: *mut sqlite3_file, out: *mut i64) -> c_int {
    call!(file, xFileSize, out)
}

unsafe extern "C" fn lock(file: *mut sqlite3_file, level: c_int) -> c_int {
    call!(file, xLock, level)
}

unsafe extern "C" fn unlock(file: *mut sqlite3_file, level: c_int) -> c_int {
    call!(file, xUnlock, level)
}

unsafe extern "C" fn check_reserved_lock(file: *mut sqlite3_file, out: *mut c_int) -> c_int {
    call!(file, xCheckReservedLock, out)
}

unsafe extern "C" fn file_control(
    file: *mut sqlite3_file,
    what: c_int,
    with: *mut c_void,
) -> c_int {
    call!(file, xFileControl, what, with)
}

unsafe extern "C" fn sector_size(file: *mut sqlite3_file) -> c_int {
    call!(file, xSectorSize)
}

unsafe extern "C" fn device_characteristics(file: *mut sqlite3_file) -> c_int {
    call!(file, xDeviceCharacteristics)
}

unsafe extern "C" fn shm_lock(
    file: *mut sqlite3_file,
    offset: c_int,
    many: c_int,
    flags: c_int,
) -> c_int {
    call!(file, xShmLock, offset, many, flags)
}

unsafe extern "C" fn shm_barrier(file: *mut sqlite3_file) {
    // SAFETY: as in `call!`; this method alone gives nothing back.
    unsafe {
        let real = real(file);
        if let Some(barrier) = (*(*real).pMethods).xShmBarrier {
            barrier(real);
        }
    }
}

unsafe extern "C" fn shm_unmap(file: *mut sqlite3_file, delete: c_int) -> c_int {
    call!(file, xShmUnmap, delete)
}
