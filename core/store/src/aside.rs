//! A database that gives way to another keeps its bytes.

use std::fs;
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};

/// Renames a database, with its log, to the first name beside it with this ending and a number that nothing
/// has yet (`….damaged-1`), and gives that name. Cut short, it can be done again.
///
/// # Errors
/// The file system's; the database is where it was then.
pub fn set_aside(database: &Path, ending: &str) -> io::Result<PathBuf> {
    let aside = free_name(database, ending)?;
    // The log before its database: alone it would be taken for that of the one that comes in its place.
    for of in ["-wal", "-shm", ""] {
        let old = beside(database, of);
        if is_there(&old)? {
            fs::rename(&old, beside(&aside, of))?;
        }
    }
    Ok(aside)
}

fn free_name(database: &Path, ending: &str) -> io::Result<PathBuf> {
    let mut number = 1_u32;
    loop {
        let name = beside(database, &format!(".{ending}-{number}"));
        if !is_there(&name)? {
            return Ok(name);
        }
        number += 1;
    }
}

/// A file whose name is another one's with an ending.
pub(crate) fn beside(database: &Path, ending: &str) -> PathBuf {
    let mut name = database.as_os_str().to_owned();
    name.push(ending);
    name.into()
}

/// Whether a file is there.
pub(crate) fn is_there(path: &Path) -> io::Result<bool> {
    match fs::symlink_metadata(path) {
        Ok(_) => Ok(true),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(false),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_database_goes_with_its_log_and_never_over_another() {
        let folder = tempfile::tempdir().unwrap();
        let database = folder.path().join("city.sqlite");
        for round in ["1", "2"] {
            fs::write(&database, round).unwrap();
            fs::write(beside(&database, "-wal"), round).unwrap();
            let aside = set_aside(&database, "aside").unwrap();
            assert_eq!(aside, beside(&database, &format!(".aside-{round}")));
            assert_eq!(fs::read_to_string(&aside).unwrap(), round);
            assert_eq!(fs::read_to_string(beside(&aside, "-wal")).unwrap(), round);
            assert!(!is_there(&database).unwrap());
            assert!(!is_there(&beside(&database, "-wal")).unwrap());
        }
    }
}
