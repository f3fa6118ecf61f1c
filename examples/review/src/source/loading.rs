//! The content of a file of a source.

use tokio::io::{AsyncReadExt, AsyncSeekExt};

use super::{Content, Source};
use crate::diff::{self, FileDiff, Status};
use crate::error::Error;
use crate::git::{Blob, Repository};
use crate::limits;
use crate::path::RawPath;

/// A file as far as the source knows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Loaded {
    /// All of it.
    Whole(Vec<u8>),
    /// The changed places with what stands around them.
    Pieces(Vec<Piece>),
    /// Larger than a review takes.
    TooLarge,
    /// The clone lacks it, or there is nothing.
    Missing,
}

/// Neighbouring lines of a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Piece {
    /// The number of the first line, one-based.
    pub first_line: u32,
    /// The lines with their ends.
    pub bytes: Vec<u8>,
}

impl Source {
    /// Reads files of this source, in the order asked for.
    ///
    /// # Errors
    /// What git says of a damaged repository, [`Error::File`] when the copy of a diff is gone.
    pub async fn load(&self, contents: &[Content]) -> Result<Vec<Loaded>, Error> {
        let repository = match self {
            Self::Tree { repository, .. } | Self::Range { repository, .. } => Some(repository),
            Self::Diff { repository, .. } => repository.as_ref(),
        };
        let repository = repository.map(Repository::known);
        // What each needs from the object store, asked for at once.
        let wanted = |content: &Content| match content {
            Content::Blob { oid } => Some(oid.clone()),
            Content::Section { base, .. } => base.clone(),
            Content::Gone => None,
        };
        let oids: Vec<String> = contents.iter().filter_map(wanted).collect();
        let blobs = match &repository {
            Some(repository) => repository.blobs(&oids).await?,
            None => oids.iter().map(|_| Blob::Missing).collect(),
        };
        let mut blobs = blobs.into_iter();
        let mut loaded = Vec::with_capacity(contents.len());
        for content in contents {
            let blob = wanted(content).and_then(|_| blobs.next());
            loaded.push(match content {
                Content::Blob { .. } => match blob {
                    Some(Blob::Content(bytes)) => Loaded::Whole(bytes),
                    Some(Blob::TooLarge) => Loaded::TooLarge,
                    Some(Blob::Missing) | None => Loaded::Missing,
                },
                Content::Section { offset, length, .. } => {
                    let section = self.diff_section(*offset, *length).await?;
                    match diff::parse(&section)?.first() {
                        Some(file) => after(file, blob),
                        None => Loaded::Missing,
                    }
                }
                Content::Gone => Loaded::Missing,
            });
        }
        Ok(loaded)
    }

    /// The whole text of a diff; empty for other sources.
    pub(super) async fn diff_text(&self) -> Result<Vec<u8>, Error> {
        let Self::Diff { file, .. } = self else {
            return Ok(Vec::new());
        };
        tokio::fs::read(file.to_os())
            .await
            .map_err(|source| unreadable(file, source))
    }

    async fn diff_section(&self, offset: u64, length: u64) -> Result<Vec<u8>, Error> {
        let Self::Diff { file, .. } = self else {
            return Ok(Vec::new());
        };
        let failed = |source| unreadable(file, source);
        let mut open = tokio::fs::File::open(file.to_os()).await.map_err(failed)?;
        open.seek(std::io::SeekFrom::Start(offset)).await.map_err(failed)?;
        let mut section = Vec::new();
        open.take(length.min(limits::DIFF_BYTES_MAX))
            .read_to_end(&mut section)
            .await
            .map_err(failed)?;
        Ok(section)
    }
}

fn unreadable(file: &RawPath, source: std::io::Error) -> Error {
    Error::File {
        action: "read",
        path: file.to_string(),
        source,
    }
}

/// A file after a change: whole where that can be known, otherwise in pieces.
fn after(file: &FileDiff<'_>, base: Option<Blob>) -> Loaded {
    let whole = match (file.status, base) {
        (Status::Added, _) => file.apply(b""),
        (_, Some(Blob::Content(base))) => file.apply(&base),
        (_, Some(Blob::TooLarge | Blob::Missing) | None) => None,
    };
    match whole {
        Some(bytes) if bytes.len() as u64 > limits::FILE_BYTES_MAX => return Loaded::TooLarge,
        Some(bytes) => return Loaded::Whole(bytes),
        None => {}
    }
    let pieces: Vec<Piece> = file
        .hunks
        .iter()
        .map(piece)
        .filter(|piece| !piece.bytes.is_empty())
        .collect();
    let size: usize = pieces.iter().map(|piece| piece.bytes.len()).sum();
    if size as u64 > limits::FILE_BYTES_MAX {
        Loaded::TooLarge
    } else if pieces.is_empty() {
        Loaded::Missing
    } else {
        Loaded::Pieces(pieces)
    }
}

fn piece(hunk: &diff::Hunk<'_>) -> Piece {
    let mut bytes = Vec::new();
    for (_, line) in hunk.after() {
        bytes.extend_from_slice(line.text);
        if line.newline {
            bytes.push(b'\n');
        }
    }
    Piece {
        first_line: hunk.new_start,
        bytes,
    }
}
