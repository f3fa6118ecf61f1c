//! Trees and blobs.

use std::collections::BTreeMap;

use super::{Ask, Repository};
use crate::error::Error;
use crate::limits;
use crate::path::RawPath;

/// A file of a tree.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TreeEntry {
    /// Its path from the top of the repository.
    pub path: RawPath,
    /// What it is.
    pub kind: TreeEntryKind,
    /// Git's name of its content.
    pub oid: String,
    /// Its size in bytes; `None` when this clone lacks it.
    pub size: Option<u64>,
}

/// What a name in a tree stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TreeEntryKind {
    /// A regular file.
    File,
    /// A symbolic link.
    Link,
    /// A commit of another repository.
    Submodule,
}

impl TreeEntryKind {
    /// From git's mode, as it stands in trees and diffs.
    pub fn from_mode(mode: &str) -> Self {
        match mode {
            "120000" => Self::Link,
            "160000" => Self::Submodule,
            _ => Self::File,
        }
    }
}

/// The content of a file as it stands in the object store.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Blob {
    /// All of it.
    Content(Vec<u8>),
    /// It is larger than a review takes.
    TooLarge,
    /// This clone lacks it, or the shortened name stands for several.
    Missing,
}

impl Repository {
    /// Every file of a commit, ordered by path.
    ///
    /// # Errors
    /// [`Error::TooLarge`], or what git says of a damaged repository.
    pub async fn tree(&self, commit: &str) -> Result<Vec<TreeEntry>, Error> {
        let args = ["ls-tree", "-r", "-z", "--long", "--full-tree", commit];
        let listing = self.git.must(Ask::new(&args).long(limits::LISTING_BYTES_MAX)).await?;
        let mut entries: Vec<TreeEntry> = listing.split(|byte| *byte == 0).filter_map(entry).collect();
        entries.sort_by(|left, right| left.path.cmp(&right.path));
        Ok(entries)
    }

    /// The sizes of blobs; those that this clone lacks are left out.
    ///
    /// # Errors
    /// What git says of a damaged repository.
    pub async fn sizes(&self, oids: &[String]) -> Result<BTreeMap<String, u64>, Error> {
        let input = lines(oids);
        let ask = Ask::new(&["cat-file", "--batch-check=%(objecttype) %(objectsize)"]).input(&input);
        let answer = self.git.must(ask.long(limits::LISTING_BYTES_MAX)).await?;
        let sizes = answer.split(|byte| *byte == b'\n').zip(oids).filter_map(|(line, oid)| {
            let (kind, size) = std::str::from_utf8(line).ok()?.split_once(' ')?;
            (kind == "blob").then(|| Some((oid.clone(), size.parse().ok()?)))?
        });
        Ok(sizes.collect())
    }

    /// The contents of blobs, in the order asked for.
    ///
    /// # Errors
    /// What git says of a damaged repository.
    pub async fn blobs(&self, oids: &[String]) -> Result<Vec<Blob>, Error> {
        if let [_] = oids {
            // One blob needs no look at its size first: a large one is cut off.
            return Ok(match self.contents(oids).await {
                Ok(contents) => contents
                    .into_iter()
                    .map(|content| content.map_or(Blob::Missing, Blob::Content))
                    .collect(),
                Err(Error::TooLarge { .. }) => vec![Blob::TooLarge],
                Err(error) => return Err(error),
            });
        }
        let sizes = self.sizes(oids).await?;
        let fits = |oid: &String| sizes.get(oid).is_some_and(|size| *size <= limits::FILE_BYTES_MAX);
        let wanted: Vec<String> = oids.iter().filter(|oid| fits(oid)).cloned().collect();
        let mut contents = self.contents(&wanted).await?.into_iter();
        let blobs = oids.iter().map(|oid| match sizes.get(oid) {
            None => Blob::Missing,
            Some(size) if *size > limits::FILE_BYTES_MAX => Blob::TooLarge,
            Some(_) => contents.next().flatten().map_or(Blob::Missing, Blob::Content),
        });
        Ok(blobs.collect())
    }

    async fn contents(&self, oids: &[String]) -> Result<Vec<Option<Vec<u8>>>, Error> {
        if oids.is_empty() {
            return Ok(Vec::new());
        }
        let input = lines(oids);
        let bytes_max = (oids.len() as u64).saturating_mul(limits::FILE_BYTES_MAX + 128);
        let answer = self
            .git
            .must(Ask::new(&["cat-file", "--batch"]).input(&input).long(bytes_max))
            .await?;
        let mut rest = answer.as_slice();
        let mut contents = Vec::with_capacity(oids.len());
        while !rest.is_empty() && contents.len() < oids.len() {
            let (content, left) = take_content(rest).ok_or_else(|| Error::Git {
                command: "cat-file".into(),
                detail: "the answer is not in the documented form".into(),
            })?;
            contents.push(content.map(<[u8]>::to_vec));
            rest = left;
        }
        Ok(contents)
    }
}

/// `<oid> <type> <size>\n<content>\n`, or `<name> missing\n`; the content if it is a blob, and what follows.
fn take_content(answer: &[u8]) -> Option<(Option<&[u8]>, &[u8])> {
    let end = answer.iter().position(|byte| *byte == b'\n')?;
    let head = std::str::from_utf8(answer.get(..end)?).ok()?;
    let rest = answer.get(end + 1..)?;
    let mut words = head.split(' ');
    let (Some(_), Some(kind), Some(size)) = (words.next(), words.next(), words.next()) else {
        return Some((None, rest));
    };
    let size: usize = size.parse().ok()?;
    let content = rest.get(..size)?;
    Some(((kind == "blob").then_some(content), rest.get(size + 1..)?))
}

/// `<mode> SP <type> SP <oid> SP+ <size> TAB <path>`
fn entry(record: &[u8]) -> Option<TreeEntry> {
    let tab = record.iter().position(|byte| *byte == b'\t')?;
    let head = std::str::from_utf8(record.get(..tab)?).ok()?;
    let mut words = head.split_ascii_whitespace();
    let (mode, _, oid, size) = (words.next()?, words.next()?, words.next()?, words.next()?);
    Some(TreeEntry {
        path: RawPath::new(record.get(tab + 1..)?),
        kind: TreeEntryKind::from_mode(mode),
        oid: oid.to_owned(),
        size: size.parse().ok(),
    })
}

fn lines(oids: &[String]) -> Vec<u8> {
    // Object names come from git or were checked to be hexadecimal, so none holds a newline.
    oids.iter().flat_map(|oid| [oid.as_bytes(), b"\n"].concat()).collect()
}
