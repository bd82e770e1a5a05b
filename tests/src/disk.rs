//! A disk that can be full, for a while.
//!
//! As root it is a small file system in memory, mounted over the folder, whose size is lowered to what it
//! holds: writes then fail with *no space left*, as on a full disk. Where mounting is not allowed, the
//! process that writes is given a limit on file sizes instead (`RLIMIT_FSIZE`): its writes fail too, with
//! another error. [`SmallDisk::kind`] says which of the two it is; with `MANZANA_NO_MOUNT` set it is the
//! second one.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};

/// Size of a disk with room, MiB; memory is used only as it fills.
const ROOM_MIB: u32 = 1024;

/// How a disk is made full.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// By the size of its file system.
    FileSystem,
    /// By a limit of the process.
    FileLimit,
}

/// A folder that is a disk of its own.
#[derive(Debug)]
pub struct SmallDisk {
    path: PathBuf,
    kind: Kind,
    full: AtomicBool,
}

/// Starts what follows so that a limit on its files ends a write, not the process.
const PATIENT: &[&str] = &["sh", "-c", "trap '' XFSZ; exec \"$0\" \"$@\""];
/// The same, with a limit of nothing.
const FULL: &[&str] = &[
    "sh",
    "-c",
    "trap '' XFSZ; ulimit -S -f 0; exec \"$0\" \"$@\"",
];

impl SmallDisk {
    /// Makes the folder a disk of its own, with room.
    ///
    /// # Panics
    /// When the folder cannot be made.
    pub fn at(path: &Path) -> Self {
        std::fs::create_dir_all(path).expect("a folder");
        let room = format!("size={ROOM_MIB}m,mode=700");
        let mounted = std::env::var_os("MANZANA_NO_MOUNT").is_none()
            && did(Command::new("mount")
                .args(["-t", "tmpfs", "-o", &room, "manzana-test"])
                .arg(path));
        let kind = if mounted {
            Kind::FileSystem
        } else {
            Kind::FileLimit
        };
        if kind == Kind::FileLimit {
            println!(
                "no small file system may be mounted here: RLIMIT_FSIZE stands for a full disk"
            );
        }
        let path = path.to_owned();
        let full = AtomicBool::new(false);
        Self { path, kind, full }
    }

    /// How this one is made full.
    pub fn kind(&self) -> Kind {
        self.kind
    }

    /// From now on there is no room, but for `slack` KiB. `writer` is the process that writes here now;
    /// those that start later find the disk full, too.
    ///
    /// # Panics
    /// When the disk cannot be made full.
    pub fn fill(&self, writer: Option<u32>, slack: u64) {
        self.full.store(true, Ordering::SeqCst);
        match self.kind {
            // What is written meanwhile makes the size too small: looked at again. (0 would be no limit.)
            Kind::FileSystem => {
                let size = || (self.used_kib() + slack).max(4);
                let full = (0..100).any(|_| self.resize(&format!("{}k", size())));
                assert!(full, "a file system cannot be made smaller");
            }
            Kind::FileLimit => limit(writer, "0"),
        }
    }

    /// There is room again.
    ///
    /// # Panics
    /// When the disk cannot be given room.
    pub fn free(&self, writer: Option<u32>) {
        self.full.store(false, Ordering::SeqCst);
        match self.kind {
            Kind::FileSystem => assert!(self.resize(&format!("{ROOM_MIB}m")), "no room"),
            Kind::FileLimit => limit(writer, "unlimited"),
        }
    }

    /// What a process on this disk is started by, before its own name and arguments.
    pub fn starter(&self) -> &'static [&'static str] {
        match self.kind {
            Kind::FileSystem => &[],
            Kind::FileLimit if self.full.load(Ordering::SeqCst) => FULL,
            Kind::FileLimit => PATIENT,
        }
    }

    fn resize(&self, size: &str) -> bool {
        did(Command::new("mount")
            .args(["-o", &format!("remount,size={size}")])
            .arg(&self.path))
    }

    fn used_kib(&self) -> u64 {
        let asked = Command::new("df")
            .args(["--output=used", "-k"])
            .arg(&self.path)
            .output();
        let text = String::from_utf8(asked.expect("df").stdout).expect("text");
        let used = text
            .lines()
            .nth(1)
            .and_then(|line| line.trim().parse().ok());
        used.expect("a number")
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        if self.kind == Kind::FileSystem {
            // Lazily: a process that was just killed may still be letting go of it.
            did(Command::new("umount").arg("-l").arg(&self.path));
        }
    }
}

fn limit(process: Option<u32>, bytes: &str) {
    if let Some(process) = process {
        // It may have just ended.
        did(Command::new("prlimit")
            .args(["--pid", &process.to_string()])
            .arg(format!("--fsize={bytes}:unlimited")));
    }
}

fn did(command: &mut Command) -> bool {
    let quiet = command.stdout(Stdio::null()).stderr(Stdio::null());
    quiet.status().is_ok_and(|status| status.success())
}
