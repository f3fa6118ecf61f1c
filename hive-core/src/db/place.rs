//! Where the file is, by the one name that every process gives it.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use hive_errors::{Error, ErrorKind, Result};

/// The file's absolute name with links followed: the lock beside it must be the same whatever name was given, readers open it
/// later from whichever folder the process is in by then, and SQLite gives a meaning of its own to names such as
/// `:memory:` and `file:…?…`, but not to absolute ones.
///
/// Refuses what cannot be a database before anything is made beside it.
pub(super) fn resolve(path: &Path) -> Result<PathBuf> {
    match fs::canonicalize(path) {
        Ok(file) => {
            // Looked at from outside: opening and closing the file here would drop the locks of a SQLite connection of this
            // process, and opening a pipe would wait for ever.
            let meta = fs::metadata(&file).map_err(|e| refused(e, path))?;
            // SQLite takes a single byte for nothing and would write over it.
            if meta.is_file() && meta.len() == 1 {
                return Err(
                    Error::new(ErrorKind::NotADatabase, "the file is not a database").with("path", path.display())
                );
            }
            if meta.is_file() {
                return Ok(file);
            }
            let what = if meta.is_dir() {
                "the path is a folder"
            } else {
                "the path is not a file"
            };
            Err(Error::new(ErrorKind::Storage, what)
                .terminal()
                .with("path", path.display())
                .with_hint("give the path of the database file itself"))
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => fresh(path),
        Err(error) => Err(refused(error, path)),
    }
}

/// A file that is still to be made.
fn fresh(path: &Path) -> Result<PathBuf> {
    let Some(name) = path.file_name() else {
        return Err(Error::new(ErrorKind::InvalidInput, "the database's path names no file")
            .with("path", path.display())
            .with_hint("give the path of a file, which is made when it does not exist"));
    };
    let folder = path
        .parent()
        .filter(|folder| !folder.as_os_str().is_empty())
        .unwrap_or(Path::new("."));
    Ok(fs::canonicalize(folder).map_err(|e| refused(e, path))?.join(name))
}

/// An error of the file system about the database's own place.
pub(super) fn refused(error: io::Error, path: &Path) -> Error {
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
            "give this user write permission on the folder and on what is in it, or put the database elsewhere",
        )
    } else if is(&[io::ErrorKind::StorageFull, io::ErrorKind::QuotaExceeded]) {
        (
            ErrorKind::DiskFull,
            "no room for the database",
            "free some space; nothing was written",
        )
    } else {
        (
            ErrorKind::Storage,
            "the database's place cannot be used",
            "check the path and its permissions",
        )
    };
    let error = Error::new(kind, message)
        .with("path", path.display())
        .with_hint(hint)
        .with_source(error);
    if kind == ErrorKind::Storage {
        error.terminal()
    } else {
        error
    }
}
