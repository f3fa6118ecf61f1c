//! Whether the work tree holds more than was committed.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::Metadata;

use super::{Ask, Blob, Repository};
use crate::error::Error;
use crate::limits;
use crate::path::RawPath;

/// Files whose content is compared; with more it is clear enough that something changed.
const COMPARED_MAX: usize = 100;

/// A file of the index, with what the file looked like when git last read it.
#[derive(Debug, PartialEq, Eq)]
struct IndexEntry {
    path: RawPath,
    oid: String,
    mtime: (i64, i64),
    size: u64,
}

impl Repository {
    /// How many tracked files differ from `HEAD`, staged or not; they are not part of a review.
    ///
    /// Git itself would run the repository's filter programs to tell, so sizes, times and contents are compared here. A file
    /// that a filter rewrites (line ends, large file storage) may be counted although it is unchanged, once it was touched.
    ///
    /// # Errors
    /// What git says of a damaged index.
    pub async fn uncommitted(&self) -> Result<usize, Error> {
        let Some(top) = self.work_tree.clone() else {
            return Ok(0);
        };
        let args = [
            "diff-index",
            "--cached",
            "--name-only",
            "-z",
            "--ignore-submodules=all",
            "HEAD",
            "--",
        ];
        let staged = self.git.must(Ask::new(&args).long(limits::LISTING_BYTES_MAX)).await?;
        let args = ["ls-files", "--full-name", "--stage", "--debug", "-z"];
        let index = self.git.must(Ask::new(&args).long(limits::LISTING_BYTES_MAX)).await?;
        let staged: BTreeSet<RawPath> = staged
            .split(|byte| *byte == 0)
            .filter(|path| !path.is_empty())
            .map(RawPath::new)
            .collect();
        let mut changed = staged.len();
        let on_disk = |path: &RawPath| top.to_os().join(path.to_os());
        let touched: BTreeMap<RawPath, String> = parse_index(&index)
            .into_iter()
            .filter(|entry| !staged.contains(&entry.path))
            .filter(|entry| {
                std::fs::symlink_metadata(on_disk(&entry.path)).map_or(true, |found| differs(entry, &found))
            })
            .map(|entry| (entry.path, entry.oid))
            .collect();
        let compared: Vec<String> = touched.values().take(COMPARED_MAX).cloned().collect();
        let blobs = self.blobs(&compared).await?;
        let same = |(path, blob): (&RawPath, &Blob)| match (std::fs::read(on_disk(path)), blob) {
            (Ok(bytes), Blob::Content(content)) => bytes == *content,
            (Ok(_) | Err(_), Blob::Content(_) | Blob::TooLarge | Blob::Missing) => false,
        };
        let unchanged = touched.keys().zip(&blobs).filter(|pair| same(*pair)).count();
        changed += touched.len() - unchanged;
        Ok(changed)
    }
}

fn differs(entry: &IndexEntry, found: &Metadata) -> bool {
    !found.is_file() || found.len() != entry.size || mtime(found).is_some_and(|mtime| !same_time(entry.mtime, mtime))
}

/// Some file systems and some builds of git keep whole seconds only.
fn same_time(index: (i64, i64), found: (i64, i64)) -> bool {
    index.0 == found.0 && (index.1 == 0 || found.1 == 0 || index.1 == found.1)
}

#[cfg(unix)]
fn mtime(found: &Metadata) -> Option<(i64, i64)> {
    use std::os::unix::fs::MetadataExt;
    Some((found.mtime(), found.mtime_nsec()))
}

#[cfg(not(unix))]
fn mtime(_: &Metadata) -> Option<(i64, i64)> {
    None
}

/// Flags of entries whose file need not be there: assumed unchanged, not in a sparse checkout.
const ABSENT_FLAGS: u32 = 0x8000 | 0x4000_0000;

/// Reads `<mode> <oid> <stage>\t<path>\0` followed by the indented lines of `--debug`. Regular files only.
fn parse_index(listing: &[u8]) -> Vec<IndexEntry> {
    let mut entries = Vec::new();
    let mut rest = listing;
    while let Some(nul) = rest.iter().position(|byte| *byte == 0) {
        let (head, after) = rest.split_at(nul);
        let after = after.get(1..).unwrap_or_default();
        let mut facts = BTreeMap::new();
        let mut left = after;
        while left.starts_with(b"  ") {
            let end = left
                .iter()
                .position(|byte| *byte == b'\n')
                .map_or(left.len(), |at| at + 1);
            let (line, next) = left.split_at(end);
            let line = String::from_utf8_lossy(line);
            for part in line.trim().split('\t') {
                if let Some((name, value)) = part.split_once(": ") {
                    facts.insert(name.to_owned(), value.to_owned());
                }
            }
            left = next;
        }
        entries.extend(index_entry(head, &facts));
        rest = left;
    }
    entries
}

fn index_entry(head: &[u8], facts: &BTreeMap<String, String>) -> Option<IndexEntry> {
    let tab = head.iter().position(|byte| *byte == b'\t')?;
    let mut words = std::str::from_utf8(head.get(..tab)?).ok()?.split(' ');
    let (mode, oid) = (words.next()?, words.next()?);
    let flags = u32::from_str_radix(facts.get("flags")?, 16).ok()?;
    if !mode.starts_with("100") || flags & ABSENT_FLAGS != 0 {
        return None;
    }
    let (seconds, nanos) = facts.get("mtime")?.split_once(':')?;
    Some(IndexEntry {
        path: RawPath::new(head.get(tab + 1..)?),
        oid: oid.to_owned(),
        mtime: (seconds.parse().ok()?, nanos.parse().ok()?),
        size: facts.get("size")?.parse().ok()?,
    })
}
