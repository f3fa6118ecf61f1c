//! The operating system's lock that makes one process the owner of a database file.
//!
//! It is taken on a file of its own beside the database: opening and closing the database file itself outside SQLite
//! would drop SQLite's own POSIX locks. The system gives the lock back when the process dies, however it dies.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, Read, Seek, Write};
use std::path::{Path, PathBuf};

use hive_errors::{Error, ErrorKind, Result};

use super::place;

#[cfg(test)]
mod tests;

#[derive(Debug)]
pub(super) struct FileLock {
    file: File,
    path: PathBuf,
    made: bool,
}

impl FileLock {
    pub(super) fn take(database: &Path) -> Result<Self> {
        let path = beside(database);
        loop {
            let (mut file, made) = open(&path).map_err(|e| place::refused(e, database))?;
            match file.try_lock() {
                Ok(()) => {}
                Err(TryLockError::WouldBlock) => return Err(held(&mut file, database)),
                Err(TryLockError::Error(e)) => {
                    return Err(Error::new(ErrorKind::Storage, "the database's lock could not be taken")
                        .with("path", path.display())
                        .with_hint("the file system may not support locks; put the database on a local disk")
                        .with_source(e));
                }
            }
            // Whoever held it before may have removed the file in between; a lock on a removed file excludes nobody.
            if !is_at(&file, &path) {
                continue;
            }
            // The owner's process id is only for the message of whoever comes second; the lock itself is what counts.
            sign(&mut file).map_err(|e| place::refused(e, database))?;
            return Ok(Self { file, path, made });
        }
    }

    /// Gives the lock back and leaves nothing behind that was not there before: the database is not a hive's, or never
    /// came to be.
    pub(super) fn withdraw(self) {
        // While the lock is held: see `take`.
        if self.made && cfg!(unix) {
            let _stays = fs::remove_file(&self.path);
        }
    }
}

impl Drop for FileLock {
    fn drop(&mut self) {
        // Closing alone would not do at once: a child process that is just being started has a copy of the handle until it
        // runs its program.
        if let Err(error) = self.file.unlock() {
            tracing::warn!(%error, "the database's lock could not be given back before its file is closed");
        }
    }
}

fn open(path: &Path) -> io::Result<(File, bool)> {
    let mut options = OpenOptions::new();
    options.read(true).write(true);
    match options.clone().create_new(true).open(path) {
        Err(e) if e.kind() == io::ErrorKind::AlreadyExists => {}
        made => return made.map(|file| (file, true)),
    }
    // Gone again, perhaps: then it is made, and stays.
    options
        .create(true)
        .truncate(false)
        .open(path)
        .map(|file| (file, false))
}

/// Whether `path` still leads to `file`.
#[cfg(unix)]
fn is_at(file: &File, path: &Path) -> bool {
    use std::os::unix::fs::MetadataExt;
    let identity = |meta: &fs::Metadata| (meta.dev(), meta.ino());
    matches!((file.metadata(), fs::metadata(path)), (Ok(file), Ok(path)) if identity(&file) == identity(&path))
}

/// Where open files cannot be removed, it does.
#[cfg(not(unix))]
fn is_at(_file: &File, _path: &Path) -> bool {
    true
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
