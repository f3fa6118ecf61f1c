//! Copies of a database in use.

use std::ffi::OsString;
use std::fs::{self, File, OpenOptions};
use std::io;
use std::path::{Path, PathBuf};

use hive_errors::{Error, ErrorKind, Result};
use rusqlite::Connection;

use super::{Db, Engine, sqlite};
use crate::limits;
use crate::rng::{Rng, SystemRng};

impl Db {
    /// Writes a copy of the database to the file `target`, which must not exist, while reads and writes go on.
    ///
    /// The copy is one file and holds what was committed when copying began, every write acknowledged before the call among
    /// it. It is on disk, under its name, when this returns; until then there is only a file beside it whose name ends in
    /// `.part` and a number, which goes when copying fails. It is compact, and as private as the database's own file. To
    /// restore it, close the database and put the copy in its file's place, without `-wal` and `-shm` beside it.
    ///
    /// The write-ahead log cannot start again while the copy is made, so it grows by what is written meanwhile; that is why
    /// there is a limit of [`limits::DB_APART_TIMEOUT`].
    ///
    /// # Errors
    /// `invalid-input` when the target exists, has a log or a journal beside it, or is no place for a file, and on
    /// PostgreSQL, which has tools of its own; `overloaded` when a backup or a check is running; `disk-full`; `corrupt` when
    /// the database is damaged; `timeout`; `shutting-down` when the database is closed before the copy is done; `storage`
    /// for what else the file system refuses. There is no target then.
    ///
    /// # Cancel safety
    /// Dropped, copying is broken off and nothing is left of it, a moment later.
    pub async fn backup(&self, target: impl Into<PathBuf>) -> Result<()> {
        match &self.inner.engine {
            Engine::File(file) => {
                let target = target.into();
                let copy = move |conn: &Connection, from: &Path| copy(conn, from, &target);
                file.readers().apart(limits::DB_APART_TIMEOUT, copy).await
            }
            Engine::Look(look) => Err(look.refused()),
            #[cfg(feature = "postgres")]
            Engine::Server(_) => Err(Error::new(
                ErrorKind::InvalidInput,
                "a database on a PostgreSQL server is not copied from here",
            )
            .with_hint("use pg_dump for one database or pg_basebackup for the whole server")),
            #[cfg(feature = "test-util")]
            Engine::Memory(_) => Err(Error::new(
                ErrorKind::InvalidInput,
                "a database in memory is not copied to a file",
            )),
        }
    }
}

fn copy(conn: &Connection, from: &Path, target: &Path) -> Result<()> {
    refuse_what_is_there(target)?;
    let part = Part::make(from, target)?;
    let name = part.path.to_str().ok_or_else(|| {
        Error::new(ErrorKind::InvalidInput, "the backup's path is not UTF-8").with("path", target.display())
    })?;
    conn.execute("VACUUM INTO ?1", [name])
        .map_err(|e| sqlite::error(e, "the database could not be copied").with("path", target.display()))?;
    part.publish(target)
}

fn refuse_what_is_there(target: &Path) -> Result<()> {
    // SQLite would take a log that is there for this file's own.
    for suffix in ["", "-wal", "-journal"] {
        let path = beside(target, suffix);
        if fs::symlink_metadata(&path).is_ok() {
            return Err(exists(&path));
        }
    }
    Ok(())
}

fn exists(path: &Path) -> Error {
    Error::new(ErrorKind::InvalidInput, "the backup's target exists")
        .with("path", path.display())
        .with_hint("give a name that is free, or remove the file first; a backup overwrites nothing")
}

fn beside(path: &Path, suffix: &str) -> PathBuf {
    let mut name = OsString::from(path);
    name.push(suffix);
    PathBuf::from(name)
}

/// A copy that is not finished. It goes with this.
struct Part {
    path: PathBuf,
    folder: PathBuf,
}

impl Part {
    fn make(from: &Path, target: &Path) -> Result<Self> {
        let folder = match (target.file_name(), target.parent()) {
            (Some(_), Some(folder)) if !folder.as_os_str().is_empty() => folder,
            (Some(_), _) => Path::new("."),
            (None, _) => {
                return Err(Error::new(ErrorKind::InvalidInput, "the backup's path names no file")
                    .with("path", target.display()));
            }
        };
        // Absolute, so that SQLite gives no name a meaning of its own.
        let folder = fs::canonicalize(folder).map_err(|e| refused(e, target))?;
        let name = target.file_name().unwrap_or_default();
        let path = beside(&folder.join(name), &format!(".part{:016x}", SystemRng.next_u64()));
        let access = fs::metadata(from).map_err(|e| refused(e, target))?.permissions();
        OpenOptions::new()
            .write(true)
            .create_new(true)
            .open(&path)
            .map_err(|e| refused(e, target))?;
        let part = Self { path, folder };
        // Before there is anything in it.
        fs::set_permissions(&part.path, access).map_err(|e| refused(e, target))?;
        Ok(part)
    }

    /// Gives a finished copy its name, once it is on disk.
    fn publish(self, target: &Path) -> Result<()> {
        // SQLite has closed it, so there is no lock of its that this could drop.
        let synced = File::open(&self.path).and_then(|file| file.sync_all());
        synced.map_err(|e| refused(e, target))?;
        // Renaming would replace what came there meanwhile, so the name is taken first.
        match OpenOptions::new().write(true).create_new(true).open(target) {
            Ok(_) => {}
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => return Err(exists(target)),
            Err(error) => return Err(refused(error, target)),
        }
        let named = fs::rename(&self.path, target).and_then(|()| sync_folder(&self.folder));
        named.map_err(|error| {
            remove(target);
            refused(error, target)
        })
    }
}

impl Drop for Part {
    fn drop(&mut self) {
        for suffix in ["", "-journal"] {
            remove(&beside(&self.path, suffix));
        }
    }
}

fn remove(path: &Path) {
    if let Err(error) = fs::remove_file(path)
        && error.kind() != io::ErrorKind::NotFound
    {
        tracing::warn!(path = %path.display(), %error, "what is left of a backup could not be removed");
    }
}

#[cfg(unix)]
fn sync_folder(folder: &Path) -> io::Result<()> {
    File::open(folder)?.sync_all()
}

/// Other systems sync a name with its file, and folders cannot be opened there.
#[cfg(not(unix))]
fn sync_folder(_: &Path) -> io::Result<()> {
    Ok(())
}

fn refused(error: io::Error, target: &Path) -> Error {
    let is = |kinds: &[io::ErrorKind]| kinds.contains(&error.kind());
    let kind = if is(&[
        io::ErrorKind::NotFound,
        io::ErrorKind::NotADirectory,
        io::ErrorKind::InvalidInput,
    ]) {
        ErrorKind::InvalidInput
    } else if is(&[io::ErrorKind::StorageFull, io::ErrorKind::QuotaExceeded]) {
        ErrorKind::DiskFull
    } else {
        ErrorKind::Storage
    };
    Error::new(kind, "the backup could not be written")
        .with("path", target.display())
        .with_hint("the target's folder must exist, be writable and have room for a second copy")
        .with_source(error)
}
