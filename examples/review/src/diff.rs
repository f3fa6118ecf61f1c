//! Unified diffs, as `git diff` and `diff -u` write them.
//!
//! The parser borrows from the text, never panics and never guesses: a hunk whose counts do not fit is an error that names
//! the line. What stands between the files (a commit message, a mail header) is passed over.

mod header;
mod hunk;

use std::ops::Range;

use crate::error::Error;
use crate::lines::LineSet;
use crate::path::RawPath;

/// What happened to a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Status {
    /// It is new.
    Added,
    /// It is gone.
    Deleted,
    /// Its content or mode changed.
    Modified,
    /// It moved, perhaps with changes.
    Renamed,
    /// It was copied, perhaps with changes.
    Copied,
}

/// One file of a diff.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FileDiff<'a> {
    /// The path before, if there was a file.
    pub old: Option<RawPath>,
    /// The path after, if there is a file.
    pub new: Option<RawPath>,
    /// What happened.
    pub status: Status,
    /// Git's name of the content before, perhaps shortened.
    pub old_oid: Option<&'a str>,
    /// Git's name of the content after, perhaps shortened.
    pub new_oid: Option<&'a str>,
    /// The mode after, as git writes it (`100644`, `120000` for a link, `160000` for a submodule).
    pub mode: Option<&'a str>,
    /// Whether git gave no text for it.
    pub binary: bool,
    /// The changed places in order.
    pub hunks: Vec<Hunk<'a>>,
    /// Where the file stands in the text, in bytes.
    pub span: Range<usize>,
}

/// A changed place with the lines around it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hunk<'a> {
    /// The first line before, one-based; 0 when there was none.
    pub old_start: u32,
    /// The first line after, one-based; 0 when there is none.
    pub new_start: u32,
    /// The lines in order.
    pub lines: Vec<Line<'a>>,
}

/// A line of a hunk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Line<'a> {
    /// On which side it stands.
    pub kind: LineKind,
    /// The text without its end; a carriage return stays.
    pub text: &'a [u8],
    /// Whether a newline ends it; the last line of a file may lack it.
    pub newline: bool,
}

/// On which side of a change a line stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LineKind {
    /// On both.
    Context,
    /// Only after.
    Added,
    /// Only before.
    Removed,
}

/// Reads every file of a diff.
///
/// # Errors
/// [`Error::BadDiff`] with the line for a hunk that is cut off, miscounted or of a merge (`@@@`).
pub fn parse(text: &[u8]) -> Result<Vec<FileDiff<'_>>, Error> {
    let mut files = Vec::new();
    let mut cursor = Cursor { text, at: 0, line: 0 };
    let mut current: Option<header::Draft<'_>> = None;
    while let Some((start, line)) = cursor.peek() {
        if line.starts_with(b"diff --git ") {
            finish(&mut files, current.take(), start);
            cursor.advance();
            current = Some(header::Draft::git(line, start));
        } else if line.starts_with(b"diff --cc ") || line.starts_with(b"diff --combined ") || line.starts_with(b"@@@ ")
        {
            return Err(cursor.bad("this is the diff of a merge; compare with one parent"));
        } else if line.starts_with(b"--- ") && cursor.second().is_some_and(|next| next.starts_with(b"+++ ")) {
            cursor.advance();
            let plus = cursor.peek().map(|(_, next)| next).unwrap_or_default();
            cursor.advance();
            // A second pair of names begins the next file of a diff without git's headers.
            if current.as_ref().is_none_or(header::Draft::has_names) {
                finish(&mut files, current.take(), start);
                current = Some(header::Draft::plain(start));
            }
            if let Some(draft) = &mut current {
                draft.names(line, plus);
            }
        } else if line.starts_with(b"@@ ") {
            let Some(draft) = &mut current else {
                return Err(cursor.bad("a hunk stands before any file name"));
            };
            let parsed = hunk::parse(&mut cursor)?;
            draft.push(parsed);
        } else {
            if let Some(draft) = &mut current {
                draft.extended(line);
            }
            cursor.advance();
        }
    }
    finish(&mut files, current, text.len());
    Ok(files)
}

fn finish<'a>(files: &mut Vec<FileDiff<'a>>, draft: Option<header::Draft<'a>>, end: usize) {
    files.extend(draft.and_then(|draft| draft.finish(end)));
}

impl FileDiff<'_> {
    /// The path a reader knows the file by: after the change, or before it when the file is gone.
    pub fn path(&self) -> RawPath {
        self.new.clone().or_else(|| self.old.clone()).unwrap_or_default()
    }

    /// The lines the change wrote, by their numbers after it.
    pub fn added_lines(&self) -> LineSet {
        let added = |(number, line): (u32, &Line<'_>)| (line.kind == LineKind::Added).then_some(number);
        self.hunks
            .iter()
            .flat_map(|hunk| hunk.after().filter_map(added))
            .collect()
    }

    /// How many lines were added and removed.
    pub fn counts(&self) -> (usize, usize) {
        let count = |kind| {
            self.hunks
                .iter()
                .flat_map(|hunk| &hunk.lines)
                .filter(|line| line.kind == kind)
                .count()
        };
        (count(LineKind::Added), count(LineKind::Removed))
    }

    /// The content after the change, from the content before it; `None` when the hunks do not fit on it.
    pub fn apply(&self, base: &[u8]) -> Option<Vec<u8>> {
        hunk::apply(&self.hunks, base)
    }
}

impl<'a> Hunk<'a> {
    /// The lines that stand after the change, with their numbers.
    pub fn after(&self) -> impl Iterator<Item = (u32, &Line<'a>)> {
        let standing = self.lines.iter().filter(|line| line.kind != LineKind::Removed);
        (self.new_start..).zip(standing)
    }
}

/// The text, line by line, with what an error needs to name the place.
struct Cursor<'a> {
    text: &'a [u8],
    at: usize,
    line: usize,
}

impl<'a> Cursor<'a> {
    /// The next line and its offset, without its end. A carriage return before the newline belongs to the line.
    fn peek(&self) -> Option<(usize, &'a [u8])> {
        let rest = self.text.get(self.at..).filter(|rest| !rest.is_empty())?;
        Some((self.at, rest.split(|byte| *byte == b'\n').next().unwrap_or(rest)))
    }

    /// The line after the next.
    fn second(&self) -> Option<&'a [u8]> {
        let (_, line) = self.peek()?;
        let rest = self.text.get(self.at + line.len() + 1..)?;
        rest.split(|byte| *byte == b'\n').next()
    }

    fn advance(&mut self) {
        if let Some((_, line)) = self.peek() {
            self.at = (self.at + line.len() + 1).min(self.text.len());
            self.line += 1;
        }
    }

    /// An error about the next line.
    fn bad(&self, reason: &'static str) -> Error {
        Error::BadDiff {
            line: self.line + 1,
            reason,
        }
    }
}

#[cfg(test)]
mod tests;
