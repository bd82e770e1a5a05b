//! The open-token: how a store notices that it is not the one it was.
//!
//! A database that was restored from a backup, or copied to a second phone, must not go on writing the
//! chain it holds: the envelopes after that point may exist elsewhere. So a random token is kept in
//! the database *and* in a file beside it, and every open writes a fresh one to both.
//!
//! # Protocol
//! The database holds `token` and `file_token`. An open reads the file, judges ([`judge`]), then
//! 1. commits `token = fresh, file_token = what the file holds now` to the database, durably;
//! 2. replaces the file by one with `fresh` (new file, fsync, rename, fsync of the folder).
//!
//! A crash before 1 changes nothing. A crash between 1 and 2 leaves the file with `file_token`, which
//! the next open accepts, however many opens in a row crash there. It is safe to accept it: a file is
//! written only after its token is durable in the database, so a database that knows the file's token
//! is as new as the file or newer. A rolled-back database knows neither.
//! On a database in which nothing was committed yet (`First`), a missing file is such a crash of the
//! first open.
//!
//! `Restored` stays (`restored = 1`) until the replica commits its own state again, with its new
//! incarnation: a crash between being told and acting on it must not make it `Same`.
//!
//! When there is no room for the fresh token the old ones stay in force: a full phone can still be
//! read, and continuing under an older token is only a longer session. A store in which nothing was
//! committed has nothing to read: there the open fails, or its next one would find a used store that
//! never had a token.
//!
//! # What it cannot see
//! A copy of database *and* file (so the app keeps the file out of the platform's backups), and a
//! rollback to an earlier moment of the session that wrote the last token (so a process that lives for
//! days asks for a fresh one, [`SqliteReplica::refresh_token`](super::SqliteReplica::refresh_token)).
//! The relay notices those: two envelopes with one place in a chain.

use std::fs::File;
use std::io::{ErrorKind, Read as _, Write as _};
use std::path::{Path, PathBuf};

use manzana_engine::replica::Continuity;
use rusqlite::Connection;

use crate::sqlite::{self, StoreError};

pub(super) const READ: &str =
    "SELECT token, file_token, restored, meta IS NOT NULL FROM own WHERE id = 0";
const WRITE: &str = "UPDATE own SET token = ?1, file_token = ?2, restored = ?3 WHERE id = 0";

/// What the database says of its token.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Kept {
    token: Option<Vec<u8>>,
    file_token: Option<Vec<u8>>,
    restored: bool,
    used: bool,
}

/// The file that holds the token of the database at `db`: to be kept out of backups.
pub fn token_path(db: &Path) -> PathBuf {
    let mut name = db.as_os_str().to_owned();
    name.push(".token");
    name.into()
}

/// Judges the store and gives it a fresh token.
pub(super) fn renew(
    conn: &mut Connection,
    db: &Path,
    fresh: &[u8; 16],
) -> Result<Continuity, StoreError> {
    let kept = read(conn)?;
    let file = read_file(&token_path(db))?;
    let verdict = judge(&kept, file.as_deref());
    let restored = verdict == Continuity::Restored;
    match put(conn, db, fresh, file.as_deref(), restored) {
        Ok(()) => Ok(verdict),
        Err(StoreError::Full) if verdict != Continuity::First => Ok(verdict),
        Err(error) => Err(error),
    }
}

fn judge(kept: &Kept, file: Option<&[u8]>) -> Continuity {
    let known = match (kept.token.as_deref(), file) {
        (None, None) => !kept.used,
        // The file outlived its database.
        (None, Some(_)) => false,
        (Some(_), None) => kept.file_token.is_none() && !kept.used,
        (Some(token), Some(file)) => token == file || kept.file_token.as_deref() == Some(file),
    };
    match (known && !kept.restored, kept.used) {
        (false, _) => Continuity::Restored,
        (true, false) => Continuity::First,
        (true, true) => Continuity::Same,
    }
}

fn put(
    conn: &mut Connection,
    db: &Path,
    fresh: &[u8; 16],
    file: Option<&[u8]>,
    restored: bool,
) -> Result<(), StoreError> {
    sqlite::write(conn, |tx| -> Result<_, StoreError> {
        Ok(tx.execute(WRITE, (fresh.as_slice(), file, restored))?)
    })?;
    Ok(write_file(&token_path(db), fresh)?)
}

fn read(conn: &Connection) -> Result<Kept, StoreError> {
    Ok(conn.query_row(READ, [], |row| {
        Ok(Kept {
            token: row.get(0)?,
            file_token: row.get(1)?,
            restored: row.get(2)?,
            used: row.get(3)?,
        })
    })?)
}

fn read_file(path: &Path) -> std::io::Result<Option<Vec<u8>>> {
    let file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    };
    let mut bytes = Vec::new();
    // A longer file is a wrong token all the same.
    file.take(32).read_to_end(&mut bytes)?;
    Ok(Some(bytes))
}

fn write_file(path: &Path, token: &[u8; 16]) -> std::io::Result<()> {
    let mut new = path.as_os_str().to_owned();
    new.push(".new");
    let new = PathBuf::from(new);
    let mut file = File::create(&new)?;
    file.write_all(token)?;
    file.sync_all()?;
    std::fs::rename(&new, path)?;
    sync_folder_of(path)
}

/// Makes the names in a file's folder durable.
pub(super) fn sync_folder_of(path: &Path) -> std::io::Result<()> {
    // A relative name without a folder has the empty path as its parent.
    match path
        .parent()
        .filter(|folder| !folder.as_os_str().is_empty())
    {
        Some(folder) => sync_folder(folder),
        None => sync_folder(Path::new(".")),
    }
}

#[cfg(unix)]
fn sync_folder(folder: &Path) -> std::io::Result<()> {
    File::open(folder)?.sync_all()
}

/// Elsewhere a folder cannot be opened as a file; the rename is as durable as the system makes it.
#[cfg(not(unix))]
fn sync_folder(_: &Path) -> std::io::Result<()> {
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_state_of_database_and_file_is_judged() {
        use Continuity::*;
        // token, file_token, restored, used, file → verdict
        let cases = [
            ("", "", false, false, "", First),
            ("", "", false, false, "x", Restored), // the database was lost
            ("", "", false, true, "", Restored),   // it never had room for a token
            ("a", "", false, false, "", First),    // the first open crashed between both writes
            ("a", "", false, false, "a", First),
            ("a", "", false, true, "", Restored), // copied without its file
            ("a", "z", false, false, "", Restored),
            ("b", "a", false, true, "b", Same),
            ("b", "a", false, true, "a", Same), // crashed between both writes
            ("b", "a", false, true, "c", Restored), // the file is newer: a backup
            ("b", "a", false, true, "", Restored),
            ("b", "a", true, true, "b", Restored), // told, but not acted upon yet
        ];
        let bytes = |text: &str| (!text.is_empty()).then(|| text.as_bytes().to_vec());
        for (token, file_token, restored, used, file, verdict) in cases {
            let kept = Kept {
                token: bytes(token),
                file_token: bytes(file_token),
                restored,
                used,
            };
            assert_eq!(
                judge(&kept, bytes(file).as_deref()),
                verdict,
                "{kept:?} {file}"
            );
        }
    }
}
