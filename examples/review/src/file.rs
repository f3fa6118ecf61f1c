//! A file under review: its text, where its comments and strings are, and which lines count.

mod allow;
mod mask;

use std::ops::Range;

pub use allow::Allow;
pub use mask::Part;

use crate::finding::{ExcerptLine, tidy};
use crate::language::{Language, Role};
use crate::limits;
use crate::lines::LineSet;
use crate::path::RawPath;
use crate::secret;
use crate::source::{Loaded, Piece};

/// A file as the rules see it.
#[derive(Debug)]
pub struct SourceFile {
    /// Its path from the top of the repository.
    pub path: RawPath,
    /// What it is written in.
    pub language: Language,
    /// The part it plays.
    pub role: Role,
    /// Whether all of the file is here, not only changed places.
    pub whole: bool,
    /// Whether carriage returns end some lines and not others.
    pub mixed_line_ends: bool,
    text: String,
    lines: Vec<LineSpan>,
    parts: Vec<Part>,
    changed: Option<LineSet>,
    redactions: Vec<Range<usize>>,
}

#[derive(Clone, Debug)]
struct LineSpan {
    number: u32,
    /// In the text, without the line end.
    bytes: Range<usize>,
    /// Whether code or a string stands on it.
    code: bool,
    /// The comments on it, as far as a rule reads them.
    comment: String,
}

/// What a rule reads of the comments on one line.
const COMMENT_CHARS_MAX: usize = 1_000;
/// Lines of comment above a line that speak of it.
const COMMENT_LINES_MAX: u32 = 40;

/// A line of a file.
#[derive(Clone, Copy, Debug)]
pub struct Line<'a> {
    /// Its number, one-based.
    pub number: u32,
    /// Where it begins in the text, in bytes.
    pub start: usize,
    /// Its text without the line end.
    pub text: &'a str,
}

/// A place in a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    /// One-based.
    pub line: u32,
    /// In characters, one-based.
    pub column: u32,
}

impl SourceFile {
    /// Makes a file of what a source gave; `None` when there is no text to look at.
    pub fn new(path: &RawPath, role: Role, loaded: Loaded, changed: Option<LineSet>) -> Option<Self> {
        let (pieces, whole) = match loaded {
            Loaded::Whole(bytes) => (vec![Piece { first_line: 1, bytes }], true),
            Loaded::Pieces(pieces) => (pieces, false),
            Loaded::TooLarge | Loaded::Missing => return None,
        };
        if pieces.iter().any(|piece| is_binary(&piece.bytes)) {
            return None;
        }
        let head = pieces.first().map(|piece| piece.bytes.clone()).unwrap_or_default();
        let language = Language::of_content(path, if whole { &head } else { b"" });
        let mut file = Self {
            path: path.clone(),
            language,
            role,
            whole,
            mixed_line_ends: mixed_line_ends(&pieces),
            text: String::new(),
            lines: Vec::new(),
            parts: Vec::new(),
            changed,
            redactions: Vec::new(),
        };
        for piece in pieces {
            file.append(&piece);
        }
        let secrets = secret::find(&file.text, file.language, file.role);
        file.redactions = merged(secrets.into_iter().map(|secret| secret.range).collect());
        Some(file)
    }

    /// A whole file of which every line counts.
    pub fn of_text(path: &str, role: Role, text: &str) -> Option<Self> {
        Self::new(
            &RawPath::from(path),
            role,
            Loaded::Whole(text.as_bytes().to_vec()),
            None,
        )
    }

    fn append(&mut self, piece: &Piece) {
        let text = String::from_utf8_lossy(&piece.bytes);
        // A byte order mark belongs to the encoding, not to the first line.
        let text = text.strip_prefix('\u{feff}').unwrap_or(&text);
        let mut number = piece.first_line.max(1);
        let (piece_start, first_line) = (self.text.len(), self.lines.len());
        for line in text.split_inclusive('\n') {
            let start = self.text.len();
            let content = line.strip_suffix('\n').unwrap_or(line);
            let content = content.strip_suffix('\r').unwrap_or(content);
            self.lines.push(LineSpan {
                number,
                bytes: start..start + content.len(),
                code: false,
                comment: String::new(),
            });
            self.text.push_str(content);
            self.text.push('\n');
            number = number.saturating_add(1);
        }
        let added = self.text.get(piece_start..).unwrap_or_default();
        self.parts.extend(mask::parts(added, self.language.syntax()));
        // Told once for each line: rules ask again and again, and a line may be as long as the file.
        for line in self.lines.iter_mut().skip(first_line) {
            let text = self.text.get(line.bytes.clone()).unwrap_or_default();
            let part = |at: usize| self.parts.get(line.bytes.start + at).copied().unwrap_or(Part::Code);
            let visible = |(at, character): (usize, char)| !character.is_whitespace() && part(at) != Part::Comment;
            line.code = text.char_indices().any(visible);
            let comments = text.char_indices().filter(|(at, _)| part(*at) == Part::Comment);
            line.comment = comments
                .map(|(_, character)| character)
                .take(COMMENT_CHARS_MAX)
                .collect();
        }
    }

    /// The text; every line ends in a newline.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// The lines in order.
    pub fn lines(&self) -> impl Iterator<Item = Line<'_>> {
        self.lines.iter().map(|line| Line {
            number: line.number,
            start: line.bytes.start,
            text: self.text.get(line.bytes.clone()).unwrap_or_default(),
        })
    }

    /// The line with this number, if it is here.
    pub fn line(&self, number: u32) -> Option<Line<'_>> {
        let line = self.span(number)?;
        let text = self.text.get(line.bytes.clone())?;
        Some(Line {
            number,
            start: line.bytes.start,
            text,
        })
    }

    fn span(&self, number: u32) -> Option<&LineSpan> {
        self.lines
            .get(self.lines.binary_search_by_key(&number, |line| line.number).ok()?)
    }

    /// Which kind of text stands at a byte offset.
    pub fn part_at(&self, offset: usize) -> Part {
        self.parts.get(offset).copied().unwrap_or(Part::Code)
    }

    /// The line and column of a byte offset.
    pub fn place(&self, offset: usize) -> Place {
        let Some(line) = self.span_at(offset) else {
            return Place { line: 1, column: 1 };
        };
        let before = self.text.get(line.bytes.start..offset).unwrap_or_default();
        let column = u32::try_from(before.chars().count())
            .unwrap_or(u32::MAX)
            .saturating_add(1);
        Place {
            line: line.number,
            column,
        }
    }

    /// The line of a byte offset; cheaper than its place.
    pub fn line_at(&self, offset: usize) -> u32 {
        self.span_at(offset).map_or(1, |line| line.number)
    }

    fn span_at(&self, offset: usize) -> Option<&LineSpan> {
        self.lines.get(
            self.lines
                .partition_point(|line| line.bytes.start <= offset)
                .saturating_sub(1),
        )
    }

    /// Whether a finding on these lines, both included, belongs to the review.
    pub fn counts(&self, start: u32, end: u32) -> bool {
        self.changed.as_ref().is_none_or(|changed| changed.touches(start, end))
    }

    /// The changed lines, when only they are reviewed.
    pub fn changed(&self) -> Option<&LineSet> {
        self.changed.as_ref()
    }

    /// Whether the line holds nothing but a comment.
    pub fn is_comment_line(&self, number: u32) -> bool {
        self.span(number)
            .is_some_and(|line| !line.code && !line.comment.trim().is_empty())
    }

    /// Whether the line holds code or a string.
    pub fn is_code_line(&self, number: u32) -> bool {
        self.span(number).is_some_and(|line| line.code)
    }

    /// The comments on a line, without what stands around them; the beginning of very long ones.
    pub fn comment_on(&self, number: u32) -> &str {
        self.span(number).map_or("", |line| &line.comment)
    }

    /// The comment that speaks of a line: on the line itself or in the lines directly above it.
    pub fn comment_about(&self, number: u32) -> String {
        let mut comments = vec![self.comment_on(number)];
        let highest = number.saturating_sub(COMMENT_LINES_MAX).max(1);
        let above = (highest..number).rev().take_while(|above| self.is_comment_line(*above));
        comments.extend(above.map(|above| self.comment_on(above)));
        comments.reverse();
        comments.join("\n")
    }

    /// The lines from `start` to `end` with up to two around them, secrets blacked out.
    pub fn excerpt(&self, start: u32, end: u32) -> Vec<ExcerptLine> {
        // A long span is shown by its beginning.
        let end = end.min(start.saturating_add(3));
        let from = start.saturating_sub(2).max(1);
        let lines: Vec<Line<'_>> = (from..=end.saturating_add(2))
            .filter_map(|number| self.line(number))
            .collect();
        // Deeply nested code is shown from its own margin.
        let indent = |line: &Line<'_>| line.text.chars().take_while(|character| *character == ' ').count();
        let margin = lines
            .iter()
            .filter(|line| !line.text.trim().is_empty())
            .map(indent)
            .min()
            .unwrap_or(0);
        let shown = lines.into_iter().map(|line| ExcerptLine {
            number: line.number,
            text: tidy(
                self.redacted(line).get(margin..).unwrap_or_default(),
                limits::EXCERPT_CHARS_MAX,
            ),
            marked: (start..=end).contains(&line.number),
        });
        shown.collect()
    }

    /// A line as it may leave this machine.
    pub fn redacted(&self, line: Line<'_>) -> String {
        let hidden = |at: usize| {
            let next = self.redactions.partition_point(|range| range.end <= line.start + at);
            self.redactions
                .get(next)
                .is_some_and(|range| range.start <= line.start + at)
        };
        line.text
            .char_indices()
            .map(|(at, character)| if hidden(at) { '█' } else { character })
            .collect()
    }

    /// The suppressions in the comments of this file.
    pub fn allows(&self) -> Vec<Allow> {
        allow::find(self)
    }
}

/// The same ranges, sorted and without overlaps.
fn merged(mut ranges: Vec<Range<usize>>) -> Vec<Range<usize>> {
    ranges.sort_by_key(|range| range.start);
    let mut merged: Vec<Range<usize>> = Vec::with_capacity(ranges.len());
    for range in ranges {
        match merged.last_mut() {
            Some(last) if range.start <= last.end => last.end = last.end.max(range.end),
            Some(_) | None => merged.push(range),
        }
    }
    merged
}

/// Whether git would call it binary: a NUL in the first 8,000 bytes.
pub fn is_binary(bytes: &[u8]) -> bool {
    bytes.iter().take(8_000).any(|byte| *byte == 0)
}

fn mixed_line_ends(pieces: &[Piece]) -> bool {
    let bytes = || {
        pieces
            .iter()
            .flat_map(|piece| piece.bytes.split_inclusive(|byte| *byte == b'\n'))
    };
    bytes().any(|line| line.ends_with(b"\r\n")) && bytes().any(|line| line.ends_with(b"\n") && !line.ends_with(b"\r\n"))
}

#[cfg(test)]
mod tests;
