//! Which files a source has.

use super::{Content, Source};
use crate::diff::{self, FileDiff, Line, LineKind, Status};
use crate::error::Error;
use crate::git::{Repository, TreeEntryKind};
use crate::limits;
use crate::lines::LineSet;
use crate::path::RawPath;

/// The files of a source in the order of their paths.
#[derive(Clone, Debug, Default)]
pub struct Listing {
    /// What may be reviewed.
    pub entries: Vec<Entry>,
    /// Every path of the tree that the entries stand in, sorted; empty when only a diff is known.
    pub tree: Vec<RawPath>,
    /// Files past the bound of one review.
    pub omitted: usize,
}

/// One file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Its path.
    pub path: RawPath,
    /// What it is.
    pub kind: EntryKind,
    /// Where its content is.
    pub content: Content,
    /// Its size in bytes, where that is known before reading it.
    pub size: Option<u64>,
    /// What changed; `None` when all of it is reviewed.
    pub change: Option<Change>,
}

/// What an entry is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EntryKind {
    /// A file with content.
    File,
    /// A symbolic link.
    Link,
    /// A commit of another repository.
    Submodule,
    /// The change deleted it.
    Deleted,
}

/// What changed in a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    /// The lines that the change wrote.
    pub added: LineSet,
    /// How many lines it took away.
    pub removed: usize,
    /// Whether the diff calls it binary.
    pub binary: bool,
    /// Whether the file is new.
    pub new: bool,
    /// Whether an added line marks a test beside the code, as Rust has them.
    pub adds_test: bool,
}

impl Listing {
    /// Whether the tree has a file at `path`.
    pub fn exists(&self, path: &RawPath) -> bool {
        self.tree.binary_search(path).is_ok()
    }
}

impl Source {
    /// Lists the files. The same source always gives the same list.
    ///
    /// # Errors
    /// What git says, or [`Error::BadDiff`].
    pub async fn list(&self) -> Result<Listing, Error> {
        let mut listing = match self {
            Self::Tree {
                repository,
                commit,
                scope,
            } => {
                let tree = Repository::known(repository).tree(&commit.oid).await?;
                let entries = tree
                    .iter()
                    .filter(|entry| entry.path.is_below(scope))
                    .map(|entry| Entry {
                        path: entry.path.clone(),
                        kind: match entry.kind {
                            TreeEntryKind::File => EntryKind::File,
                            TreeEntryKind::Link => EntryKind::Link,
                            TreeEntryKind::Submodule => EntryKind::Submodule,
                        },
                        content: Content::Blob { oid: entry.oid.clone() },
                        size: entry.size,
                        change: None,
                    });
                let entries = entries.collect();
                Listing {
                    entries,
                    tree: tree.into_iter().map(|entry| entry.path).collect(),
                    omitted: 0,
                }
            }
            Self::Range {
                repository,
                base,
                head,
                scope,
            } => {
                let repository = Repository::known(repository);
                let text = repository.diff(base, head).await?;
                let files = diff::parse(&text)?;
                let of_file = |file: &FileDiff<'_>| {
                    let oid = file.new_oid.map(ToOwned::to_owned);
                    changed(file, oid.map_or(Content::Gone, |oid| Content::Blob { oid }))
                };
                let mut entries: Vec<Entry> = files
                    .iter()
                    .map(of_file)
                    .filter(|entry| entry.path.is_below(scope))
                    .collect();
                let oids: Vec<String> = entries
                    .iter()
                    .filter_map(|entry| entry.content.oid().cloned())
                    .collect();
                let sizes = repository.sizes(&oids).await?;
                for entry in &mut entries {
                    entry.size = entry.content.oid().and_then(|oid| sizes.get(oid).copied());
                }
                let tree = repository
                    .tree(&head.oid)
                    .await?
                    .into_iter()
                    .map(|entry| entry.path)
                    .collect();
                Listing {
                    entries,
                    tree,
                    omitted: 0,
                }
            }
            Self::Diff { .. } => {
                let text = self.diff_text().await?;
                let of_file = |file: &FileDiff<'_>| {
                    let section = Content::Section {
                        offset: file.span.start as u64,
                        length: file.span.len() as u64,
                        base: file.old_oid.map(ToOwned::to_owned),
                    };
                    changed(
                        file,
                        if file.status == Status::Deleted {
                            Content::Gone
                        } else {
                            section
                        },
                    )
                };
                Listing {
                    entries: diff::parse(&text)?.iter().map(of_file).collect(),
                    ..Listing::default()
                }
            }
        };
        listing.entries.sort_by(|left, right| left.path.cmp(&right.path));
        listing.tree.sort();
        listing.omitted = listing.entries.len().saturating_sub(limits::FILES_MAX);
        listing.entries.truncate(limits::FILES_MAX);
        Ok(listing)
    }
}

impl Content {
    fn oid(&self) -> Option<&String> {
        match self {
            Self::Blob { oid } => Some(oid),
            Self::Section { .. } | Self::Gone => None,
        }
    }
}

fn marks_test(line: &Line<'_>) -> bool {
    let text = line.text.trim_ascii();
    let is_mark = [
        &b"#[test]"[..],
        b"#[tokio::test",
        b"#[cfg(test)]",
        b"#[rstest",
        b"proptest!",
    ]
    .iter()
    .any(|mark| text.starts_with(mark));
    line.kind == LineKind::Added && is_mark
}

fn changed(file: &FileDiff<'_>, content: Content) -> Entry {
    let kind = match (file.status, TreeEntryKind::from_mode(file.mode.unwrap_or_default())) {
        (Status::Deleted, _) => EntryKind::Deleted,
        (_, TreeEntryKind::Link) => EntryKind::Link,
        (_, TreeEntryKind::Submodule) => EntryKind::Submodule,
        (_, TreeEntryKind::File) => EntryKind::File,
    };
    let change = Change {
        added: file.added_lines(),
        removed: file.counts().1,
        binary: file.binary,
        new: file.status == Status::Added,
        adds_test: file.hunks.iter().flat_map(|hunk| &hunk.lines).any(marks_test),
    };
    Entry {
        path: file.path(),
        kind,
        content,
        size: None,
        change: Some(change),
    }
}
