//! Where a review keeps its report and its state.

use std::path::{Path, PathBuf};

use crate::error::Error;
use crate::files;

/// A directory for one repository.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Place {
    /// The report and the database.
    pub(super) directory: PathBuf,
    /// The directory that hides itself from git, where it is ours to make.
    hidden: Option<PathBuf>,
}

impl Place {
    /// The directory the user names, or `.hive/review/<name>` here.
    pub(super) fn of(out: Option<&Path>, name: &str) -> Self {
        match out {
            // Steps are carried out by whoever takes the review up, perhaps from another directory.
            Some(out) => Self {
                directory: std::path::absolute(out).unwrap_or(out.to_owned()),
                hidden: None,
            },
            None => {
                let hidden = std::path::absolute(".hive").unwrap_or(PathBuf::from(".hive"));
                Self {
                    directory: hidden.join("review").join(name),
                    hidden: Some(hidden),
                }
            }
        }
    }

    /// Makes the directory, and keeps git from seeing it.
    pub(super) fn prepare(&self) -> Result<(), Error> {
        if let Some(hidden) = &self.hidden {
            let ignore = hidden.join(".gitignore");
            if !ignore.exists() {
                files::write(&ignore, b"*\n")?;
            }
        }
        let failed = |source| Error::File {
            action: "write",
            path: self.directory.display().to_string(),
            source,
        };
        std::fs::create_dir_all(&self.directory).map_err(failed)
    }

    pub(super) fn database(&self) -> PathBuf {
        self.directory.join("hive.db")
    }

    /// How often this repository was reviewed afresh: a part of what tells one review from another.
    pub(super) fn generation(&self) -> u64 {
        let text = std::fs::read_to_string(self.directory.join("generation")).unwrap_or_default();
        text.trim().parse().unwrap_or(0)
    }

    /// Begins the next generation.
    pub(super) fn begin_generation(&self) -> Result<u64, Error> {
        let next = self.generation().saturating_add(1);
        files::write(&self.directory.join("generation"), format!("{next}\n").as_bytes())?;
        Ok(next)
    }
}
