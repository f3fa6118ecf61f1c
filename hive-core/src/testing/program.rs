//! Where the programs of servers are.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};

use hive_errors::{Error, ErrorKind, Result};

use super::server::io;

/// A program and the Debian package that brings it.
#[derive(Copy, Clone)]
pub(super) struct Program {
    pub(super) name: &'static str,
    pub(super) package: &'static str,
}

impl Program {
    /// The program in `only`, else on the path, else where Debian keeps servers. Links are not followed: some programs are told
    /// by their name what to be.
    pub(super) fn find(self, only: Option<&Path>) -> Result<PathBuf> {
        let folders = match only {
            Some(folder) => vec![folder.to_owned()],
            None => usual(std::env::var_os("PATH").as_deref(), Path::new("/usr/lib/postgresql")),
        };
        self.among(&folders)
    }

    /// As [`find`](Self::find), with links followed: a server's other programs stand beside the real one.
    pub(super) fn find_real(self, only: Option<&Path>) -> Result<PathBuf> {
        let found = self.find(only)?;
        found
            .canonicalize()
            .map_err(|error| io(&error, "following a link failed").with("program", found.display()))
    }

    fn among(self, folders: &[PathBuf]) -> Result<PathBuf> {
        let mut found = folders.iter().map(|folder| folder.join(self.name));
        found.find(|path| path.is_file()).ok_or_else(|| {
            let searched: Vec<_> = folders.iter().map(|folder| folder.display().to_string()).collect();
            Error::new(ErrorKind::Config, "a program that the tests need is not installed")
                .with("program", self.name)
                .with("searched", searched.join(":"))
                .with_hint(format!(
                    "install the Debian package `{}`, or run the tests with `.ci/test`, which does",
                    self.package
                ))
        })
    }
}

/// The folders of the path; then those of PostgreSQL's versions, the newest first; then those of servers.
fn usual(path: Option<&OsStr>, versions: &Path) -> Vec<PathBuf> {
    let mut folders: Vec<PathBuf> = path
        .map(|path| std::env::split_paths(path).collect())
        .unwrap_or_default();
    let mut numbered: Vec<(u32, PathBuf)> = std::fs::read_dir(versions)
        .into_iter()
        .flatten()
        .filter_map(|entry| {
            let entry = entry.ok()?;
            let version = entry.file_name().to_str()?.parse().ok()?;
            Some((version, entry.path().join("bin")))
        })
        .collect();
    numbered.sort_unstable_by(|(left, _), (right, _)| right.cmp(left));
    folders.extend(numbered.into_iter().map(|(_, folder)| folder));
    folders.extend(["/usr/local/sbin", "/usr/sbin"].map(PathBuf::from));
    folders
}

#[cfg(test)]
mod tests;
