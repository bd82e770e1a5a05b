//! A device's folder: who holds it, where its files are, and the key that an enrolment in progress
//! must not lose.
//!
//! | file | what |
//! |---|---|
//! | `lock` | held (`flock`) while a process has the folder open |
//! | `replica.db` | the replica; the device is enrolled once its own state is in it |
//! | `relay` | address of the relay, written just before `replica.db` is made |
//! | `enrolling` | seed of the key whose enrolment was not yet answered |

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{ErrorKind, Write as _};
use std::path::{Path, PathBuf};

use crate::error::{ClientError, StorageProblem};
use crate::invitation::RelayUrl;

/// Larger files than this are not ours, bytes.
const SMALL_FILE: u64 = 4096;

/// An open folder; dropping it lets others in.
#[derive(Debug)]
pub(crate) struct Home {
    dir: PathBuf,
    _lock: File,
}

impl Home {
    /// Takes the folder, making it if it is not there, readable by its owner alone.
    pub(crate) fn open(dir: &Path) -> Result<Self, ClientError> {
        make_private_dir(dir)?;
        let lock = private()
            .create(true)
            .truncate(false)
            .open(dir.join("lock"))?;
        match lock.try_lock() {
            Ok(()) => Ok(Self {
                dir: dir.to_owned(),
                _lock: lock,
            }),
            Err(TryLockError::WouldBlock) => Err(ClientError::InUse),
            Err(TryLockError::Error(error)) => Err(error.into()),
        }
    }

    pub(crate) fn database(&self) -> PathBuf {
        self.dir.join("replica.db")
    }

    /// The relay of an enrolment; without one there is no replica.
    pub(crate) fn relay(&self) -> Result<Option<RelayUrl>, ClientError> {
        let Some(bytes) = read_small(&self.dir.join("relay"))? else {
            return Ok(None);
        };
        let text = std::str::from_utf8(&bytes).ok();
        let relay = text.and_then(|text| text.trim().parse().ok());
        let damaged = ClientError::Storage(StorageProblem::Damaged);
        relay.map(Some).ok_or(damaged)
    }

    pub(crate) fn keep_relay(&self, relay: &RelayUrl) -> Result<(), ClientError> {
        self.replace("relay", format!("{relay}\n").as_bytes())
    }

    /// The seed of the key to enrol with. An answer that was lost on its way left it here, so that the
    /// same code with the same key can be sent again.
    pub(crate) fn enrolling_seed(
        &self,
        fresh: impl FnOnce() -> [u8; 32],
    ) -> Result<[u8; 32], ClientError> {
        let kept = read_small(&self.dir.join("enrolling"))?;
        if let Some(seed) = kept.and_then(|bytes| bytes.try_into().ok()) {
            return Ok(seed);
        }
        let seed = fresh();
        self.replace("enrolling", &seed)?;
        Ok(seed)
    }

    /// The enrolment is complete: the key is in the replica.
    pub(crate) fn forget_enrolling(&self) -> Result<(), ClientError> {
        match fs::remove_file(self.dir.join("enrolling")) {
            Err(error) if error.kind() != ErrorKind::NotFound => Err(error.into()),
            _ => Ok(()),
        }
    }

    /// Replaces a file so that a power loss leaves the old or the new one, whole.
    fn replace(&self, name: &str, bytes: &[u8]) -> Result<(), ClientError> {
        let new = self.dir.join(format!("{name}.new"));
        let mut file = private().create(true).truncate(true).open(&new)?;
        file.write_all(bytes)?;
        file.sync_all()?;
        fs::rename(&new, self.dir.join(name))?;
        File::open(&self.dir)?.sync_all()?;
        Ok(())
    }
}

fn private() -> OpenOptions {
    let mut options = OpenOptions::new();
    options.write(true);
    #[cfg(unix)]
    {
        use std::os::unix::fs::OpenOptionsExt as _;
        options.mode(0o600);
    }
    options
}

fn make_private_dir(dir: &Path) -> std::io::Result<()> {
    let mut builder = fs::DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    {
        use std::os::unix::fs::DirBuilderExt as _;
        builder.mode(0o700);
    }
    builder.create(dir)
}

fn read_small(path: &Path) -> Result<Option<Vec<u8>>, ClientError> {
    match fs::metadata(path) {
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error.into()),
        Ok(meta) if meta.len() > SMALL_FILE => Err(ClientError::Storage(StorageProblem::Damaged)),
        Ok(_) => Ok(Some(fs::read(path)?)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_has_one_holder_at_a_time() {
        let dir = tempfile::tempdir().unwrap();
        let first = Home::open(dir.path()).unwrap();
        assert_eq!(Home::open(dir.path()).unwrap_err(), ClientError::InUse);
        drop(first);
        Home::open(dir.path()).unwrap();
    }

    #[test]
    fn an_interrupted_enrolment_keeps_its_key() {
        let dir = tempfile::tempdir().unwrap();
        let home = Home::open(dir.path()).unwrap();
        assert_eq!(home.enrolling_seed(|| [1; 32]).unwrap(), [1; 32]);
        assert_eq!(home.enrolling_seed(|| [2; 32]).unwrap(), [1; 32]);
        home.forget_enrolling().unwrap();
        home.forget_enrolling().unwrap();
        assert_eq!(home.enrolling_seed(|| [3; 32]).unwrap(), [3; 32]);
    }
}
