//! The operating system's lock that makes one process the owner of a database file.
//!
//! It is taken on a file of its own beside the database: opening and closing the database file itself outside SQLite
//! would drop SQLite's own POSIX locks. The system gives the lock back when the process dies, however it dies.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{self, Read, Seek, Write};
use std::path::{Path, PathBuf};

use hive_errors::{Error, ErrorKind, Result};

#[derive(Debug)]
pub(super) struct FileLock {
    _file: File,
}

impl FileLock {
    pub(super) fn take(database: &Path) -> Result<Self> {
        let path = beside(database);
        let mut file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .open(&path)
            .map_err(|e| open_error(e, database))?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Err(held(&mut file, database)),
            Err(TryLockError::Error(e)) => {
                return Err(Error::new(ErrorKind::Storage, "the database's lock could not be taken")
                    .with("path", path.display())
                    .with_source(e));
            }
        }
        // The owner's process id is only for the message of whoever comes second; the lock itself is what counts.
        sign(&mut file).map_err(|e| open_error(e, database))?;
        Ok(Self { _file: file })
    }
}

fn sign(file: &mut File) -> io::Result<()> {
    file.set_len(0)?;
    file.rewind()?;
    write!(file, "{}", std::process::id())
}

fn beside(database: &Path) -> PathBuf {
    let mut name = database.as_os_str().to_owned();
    name.push("-lock");
    PathBuf::from(name)
}

fn held(file: &mut File, database: &Path) -> Error {
    let mut owner = String::new();
    let owner = match file.take(20).read_to_string(&mut owner) {
        Ok(_) if owner.bytes().all(|b| b.is_ascii_digit()) && !owner.is_empty() => owner,
        Ok(_) | Err(_) => "unknown".to_owned(),
    };
    Error::new(ErrorKind::DatabaseLocked, "another hive has the database open")
        .with("path", database.display())
        .with("pid", owner)
}

fn open_error(error: io::Error, database: &Path) -> Error {
    let is = |kinds: &[io::ErrorKind]| kinds.contains(&error.kind());
    let (kind, message, hint) = if is(&[io::ErrorKind::NotFound, io::ErrorKind::NotADirectory]) {
        (
            ErrorKind::Storage,
            "the database's folder does not exist",
            "make the folder first, or give another path",
        )
    } else if is(&[io::ErrorKind::PermissionDenied, io::ErrorKind::ReadOnlyFilesystem]) {
        (
            ErrorKind::DatabaseReadOnly,
            "the database's folder cannot be written",
            "give this user write permission on the folder, or put the database elsewhere",
        )
    } else if is(&[io::ErrorKind::StorageFull, io::ErrorKind::QuotaExceeded]) {
        (ErrorKind::DiskFull, "no room for the database", "free some space; nothing was written")
    } else {
        (ErrorKind::Storage, "the database's lock file could not be opened", "check the path and its permissions")
    };
    Error::new(kind, message).with("path", database.display()).with_hint(hint).with_source(error)
}
