//! What is reviewed: a commit, a range of commits, or a diff.
//!
//! A source is fixed once, before anything is reviewed: it names commits by their object names and keeps a copy of a diff.
//! From then on everything is read from there, so a review can be broken off and taken up without the result changing.

mod listing;
mod loading;

use std::path::{Path, PathBuf};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

pub use listing::{Change, Entry, EntryKind, Listing};
pub use loading::{Loaded, Piece};

use crate::error::Error;
use crate::git::{Commit, Repository};
use crate::limits;
use crate::path::RawPath;

/// A source, resolved.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "kind", rename_all = "kebab-case")]
pub enum Source {
    /// Every tracked file of a commit.
    Tree {
        /// Where git is asked.
        repository: RawPath,
        /// The commit.
        commit: Commit,
        /// Only files in this directory; empty for all.
        scope: RawPath,
    },
    /// What changed from one commit to another.
    Range {
        /// Where git is asked.
        repository: RawPath,
        /// The commit before.
        base: Commit,
        /// The commit after.
        head: Commit,
        /// Only files in this directory; empty for all.
        scope: RawPath,
    },
    /// A unified diff.
    Diff {
        /// The repository that may hold what the diff changes, where there is one.
        repository: Option<RawPath>,
        /// The copy that is read from.
        file: RawPath,
        /// What the content hashes to (BLAKE3).
        digest: String,
    },
}

/// A source and what a person should know about it.
#[derive(Clone, Debug)]
pub struct Resolved {
    /// What is reviewed.
    pub source: Source,
    /// A name for it, fit for a file name.
    pub name: String,
    /// Tells one repository from another of the same name.
    pub identity: RawPath,
    /// Sentences for the terminal, such as that uncommitted changes are not reviewed.
    pub notes: Vec<String>,
}

/// Where the content of one file is found in a source.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "in", rename_all = "kebab-case")]
pub enum Content {
    /// An object of the repository.
    Blob {
        /// Git's name of it.
        oid: String,
    },
    /// A part of the diff.
    Section {
        /// Where it begins, in bytes.
        offset: u64,
        /// How long it is.
        length: u64,
        /// Git's name of what the diff changes, where the diff says.
        base: Option<String>,
    },
    /// Nothing stands there any more.
    Gone,
}

impl Source {
    /// The files that `HEAD` tracks, in and below `path`.
    ///
    /// # Errors
    /// What [`Repository::open`] and [`Repository::head`] say.
    pub async fn tree(path: &Path) -> Result<Resolved, Error> {
        let repository = Repository::open(path).await?;
        let commit = repository.head().await?;
        let mut notes = Vec::new();
        let uncommitted = repository.uncommitted().await?;
        if uncommitted > 0 {
            notes.push(format!(
                "uncommitted changes are not reviewed ({uncommitted} tracked files differ from HEAD)"
            ));
        }
        let (directory, scope) = (RawPath::from_os(repository.dir()), repository.scope().clone());
        Ok(resolved(
            &repository,
            Self::Tree {
                repository: directory,
                commit,
                scope,
            },
            notes,
        ))
    }

    /// What `range` changed: `A..B` compares B with A, `A...B` compares B with where the two parted. An omitted side is
    /// `HEAD`.
    ///
    /// # Errors
    /// [`Error::BadRange`], [`Error::UnknownRevision`], [`Error::NoMergeBase`].
    pub async fn range(path: &Path, range: &str) -> Result<Resolved, Error> {
        let repository = Repository::open(path).await?;
        let (left, right, since_parted) = match range.split_once("...") {
            Some((left, right)) => (left, right, true),
            None => match range.split_once("..") {
                Some((left, right)) => (left, right, false),
                None => {
                    return Err(Error::BadRange {
                        range: range.to_owned(),
                    });
                }
            },
        };
        if left.is_empty() && right.is_empty() {
            return Err(Error::BadRange {
                range: range.to_owned(),
            });
        }
        let side = |name: &str| {
            if name.is_empty() {
                "HEAD".to_owned()
            } else {
                name.to_owned()
            }
        };
        let base = repository.commit(&side(left)).await?;
        let head = repository.commit(&side(right)).await?;
        let base = if since_parted {
            repository.merge_base(&base, &head).await?
        } else {
            base
        };
        let (directory, scope) = (RawPath::from_os(repository.dir()), repository.scope().clone());
        Ok(resolved(
            &repository,
            Self::Range {
                repository: directory,
                base,
                head,
                scope,
            },
            Vec::new(),
        ))
    }

    /// The changes of a diff that has been read already; a copy is kept in the directory that `keep` gives for its name.
    ///
    /// A repository at `path` is used, where there is one, to see whole files instead of only the changed places.
    ///
    /// # Errors
    /// [`Error::BadDiff`], [`Error::EmptyDiff`], [`Error::File`] when the copy cannot be written.
    pub async fn diff(
        path: &Path,
        shown: &str,
        text: &[u8],
        keep: impl FnOnce(&str) -> PathBuf,
    ) -> Result<Resolved, Error> {
        if text.len() as u64 > limits::DIFF_BYTES_MAX {
            return Err(Error::TooLarge {
                what: shown.to_owned(),
                limit_mib: limits::DIFF_BYTES_MAX >> 20,
            });
        }
        if crate::diff::parse(text)?.is_empty() {
            return Err(Error::EmptyDiff { path: shown.to_owned() });
        }
        let (repository, notes) = match Repository::open(path).await {
            Ok(repository) => (Some(repository), Vec::new()),
            Err(Error::NotARepository { .. } | Error::DubiousOwnership { .. } | Error::GitMissing(_)) => (
                None,
                vec!["without the repository only the changed places are seen, not whole files".to_owned()],
            ),
            Err(error) => return Err(error),
        };
        let digest = blake3::hash(text).to_hex().to_string();
        let directory = repository.as_ref().map(|repository| RawPath::from_os(repository.dir()));
        let name = repository.as_ref().map_or("diff", Repository::name).to_owned();
        let file = keep(&name).join(format!("{}.diff", digest.get(..16).unwrap_or(&digest)));
        crate::files::write(&file, text)?;
        let identity = repository
            .as_ref()
            .map_or_else(RawPath::default, |repository| repository.identity().clone());
        let source = Self::Diff {
            repository: directory,
            file: RawPath::from_os(&file),
            digest,
        };
        Ok(Resolved {
            source,
            name,
            identity,
            notes,
        })
    }

    /// What the report calls it: a commit, a range or a diff.
    pub fn title(&self) -> String {
        let short = |commit: &Commit| commit.oid.get(..12).unwrap_or(&commit.oid).to_owned();
        match self {
            Self::Tree { commit, scope, .. } if scope.is_empty() => format!("commit {}", short(commit)),
            Self::Tree { commit, scope, .. } => format!("commit {}, directory {scope}", short(commit)),
            Self::Range { base, head, scope, .. } if scope.is_empty() => format!("{}..{}", short(base), short(head)),
            Self::Range { base, head, scope, .. } => format!("{}..{}, directory {scope}", short(base), short(head)),
            Self::Diff { digest, .. } => format!("diff {}", digest.get(..12).unwrap_or(digest)),
        }
    }

    /// The commit that is reviewed, where there is one.
    pub fn commit(&self) -> Option<&Commit> {
        match self {
            Self::Tree { commit, .. } | Self::Range { head: commit, .. } => Some(commit),
            Self::Diff { .. } => None,
        }
    }

    /// Whether only changed lines are reviewed.
    pub fn is_change(&self) -> bool {
        match self {
            Self::Tree { .. } => false,
            Self::Range { .. } | Self::Diff { .. } => true,
        }
    }

    /// What tells this source from another, wherever the copy of a diff is kept.
    pub fn fingerprint(&self) -> String {
        let text = match self {
            Self::Tree { commit, scope, .. } => format!("tree {} {scope}", commit.oid),
            Self::Range { base, head, scope, .. } => format!("range {} {} {scope}", base.oid, head.oid),
            Self::Diff { digest, repository, .. } => format!("diff {digest} {}", repository.is_some()),
        };
        blake3::hash(text.as_bytes()).to_hex().to_string()
    }
}

fn resolved(repository: &Repository, source: Source, mut notes: Vec<String>) -> Resolved {
    if !repository.scope().is_empty() {
        notes.push(format!(
            "only the directory {} of the repository is reviewed",
            repository.scope()
        ));
    }
    Resolved {
        source,
        name: repository.name().to_owned(),
        identity: repository.identity().clone(),
        notes,
    }
}

#[cfg(test)]
mod tests;
