//! What stands before the hunks of a file: its names, modes and object names.

use super::{FileDiff, Hunk, Status};
use crate::path::{RawPath, unquote};

/// A file whose end has not been seen.
pub(super) struct Draft<'a> {
    file: FileDiff<'a>,
    /// The two names of the `diff --git` line, where it could be split without doubt.
    fallback: Option<(RawPath, RawPath)>,
    /// Whether the `---` and `+++` lines have been seen.
    named: bool,
    git: bool,
}

impl<'a> Draft<'a> {
    pub(super) fn git(line: &'a [u8], start: usize) -> Self {
        let names = trim_cr(line.strip_prefix(b"diff --git ").unwrap_or_default());
        Self {
            fallback: split_names(names),
            git: true,
            ..Self::plain(start)
        }
    }

    pub(super) fn plain(start: usize) -> Self {
        let file = FileDiff {
            old: None,
            new: None,
            status: Status::Modified,
            old_oid: None,
            new_oid: None,
            mode: None,
            binary: false,
            hunks: Vec::new(),
            span: start..start,
        };
        Self {
            file,
            fallback: None,
            named: false,
            git: false,
        }
    }

    pub(super) fn has_names(&self) -> bool {
        self.named
    }

    pub(super) fn push(&mut self, hunk: Hunk<'a>) {
        self.file.hunks.push(hunk);
    }

    /// The `---` and `+++` lines.
    pub(super) fn names(&mut self, minus: &[u8], plus: &[u8]) {
        self.named = true;
        let old = name(minus.strip_prefix(b"--- ").unwrap_or_default());
        let new = name(plus.strip_prefix(b"+++ ").unwrap_or_default());
        let (old_gone, new_gone) = (is_null(&old), is_null(&new));
        let strip = match (old_gone, new_gone) {
            (false, false) => has_prefix(&old) && has_prefix(&new) && (self.git || old.get(..2) != new.get(..2)),
            (true, false) => has_prefix(&new),
            (false, true) => has_prefix(&old),
            (true, true) => false,
        };
        let path = |bytes: Vec<u8>, gone: bool| {
            let bytes = if strip {
                bytes.get(2..).unwrap_or_default().to_vec()
            } else {
                bytes
            };
            (!gone).then(|| RawPath::new(bytes))
        };
        self.file.old = path(old, old_gone);
        self.file.new = path(new, new_gone);
        match (&self.file.old, &self.file.new) {
            (None, Some(_)) => self.file.status = Status::Added,
            (Some(_), None) => self.file.status = Status::Deleted,
            (None, None) | (Some(_), Some(_)) => {}
        }
    }

    /// One of git's further header lines; any other line says nothing about the file.
    pub(super) fn extended(&mut self, line: &'a [u8]) {
        if !self.git || !self.file.hunks.is_empty() {
            return;
        }
        let line = trim_cr(line);
        if let Some(mode) = line.strip_prefix(b"new file mode ") {
            self.file.status = Status::Added;
            self.file.mode = std::str::from_utf8(mode).ok();
        } else if let Some(mode) = line.strip_prefix(b"new mode ") {
            self.file.mode = std::str::from_utf8(mode).ok();
        } else if let Some(mode) = line.strip_prefix(b"deleted file mode ") {
            self.file.status = Status::Deleted;
            self.file.mode = std::str::from_utf8(mode).ok();
        } else if let Some(path) = line.strip_prefix(b"rename from ") {
            self.file.status = Status::Renamed;
            self.file.old = Some(RawPath::new(name(path)));
        } else if let Some(path) = line.strip_prefix(b"rename to ") {
            self.file.status = Status::Renamed;
            self.file.new = Some(RawPath::new(name(path)));
        } else if let Some(path) = line.strip_prefix(b"copy from ") {
            self.file.status = Status::Copied;
            self.file.old = Some(RawPath::new(name(path)));
        } else if let Some(path) = line.strip_prefix(b"copy to ") {
            self.file.status = Status::Copied;
            self.file.new = Some(RawPath::new(name(path)));
        } else if let Some(oids) = line.strip_prefix(b"index ") {
            self.index(oids);
        } else if line.starts_with(b"Binary files ") || line == b"GIT binary patch" {
            self.file.binary = true;
        }
    }

    /// `<old>..<new>[ <mode>]`
    fn index(&mut self, line: &'a [u8]) {
        let Some((oids, mode)) = std::str::from_utf8(line)
            .ok()
            .map(|text| text.split_once(' ').unwrap_or((text, "")))
        else {
            return;
        };
        if let Some((old, new)) = oids.split_once("..") {
            let oid = |text: &'a str| {
                let hex = (4..=64).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_hexdigit());
                // Git writes zeros for "no content on this side".
                (hex && text.bytes().any(|byte| byte != b'0')).then_some(text)
            };
            self.file.old_oid = oid(old);
            self.file.new_oid = oid(new);
        }
        if !mode.is_empty() {
            self.file.mode = Some(mode);
        }
    }

    /// The file, if it has a name at all.
    pub(super) fn finish(mut self, end: usize) -> Option<FileDiff<'a>> {
        self.file.span.end = end;
        if self.file.old.is_none()
            && self.file.new.is_none()
            && let Some((old, new)) = self.fallback
        {
            self.file.old = (self.file.status != Status::Added).then_some(old);
            self.file.new = (self.file.status != Status::Deleted).then_some(new);
        }
        (self.file.old.is_some() || self.file.new.is_some()).then_some(self.file)
    }
}

/// Two paths of the greatest length that systems know.
const NAMES_BYTES_MAX: usize = 2 * 4096 + 16;

/// The two names of a `diff --git` line. Names with spaces are not quoted, so the line is split where both halves are the
/// same but for their prefix; that fails only for a rename, whose own lines carry the names.
fn split_names(line: &[u8]) -> Option<(RawPath, RawPath)> {
    if line.len() > NAMES_BYTES_MAX {
        return None;
    }
    let strip = |bytes: &[u8]| {
        let rest = if has_prefix(bytes) {
            bytes.get(2..).unwrap_or_default()
        } else {
            bytes
        };
        RawPath::new(rest)
    };
    if let Some((old, taken)) = unquote(line) {
        let rest = line.get(taken + 1..)?;
        let new = unquote(rest).map_or_else(|| rest.to_vec(), |(bytes, _)| bytes);
        return Some((strip(&old), strip(&new)));
    }
    let spaces = line
        .iter()
        .enumerate()
        .filter(|(_, byte)| **byte == b' ')
        .map(|(at, _)| at);
    for at in spaces {
        let (old, new) = (line.get(..at)?, line.get(at + 1..)?);
        let quoted = unquote(new).map(|(bytes, _)| bytes);
        let (old, new) = (strip(old), strip(quoted.as_deref().unwrap_or(new)));
        if old == new {
            return Some((old, new));
        }
    }
    None
}

/// A name as it stands in a header: quoted, or up to a tab (after which `diff -u` writes the time).
fn name(text: &[u8]) -> Vec<u8> {
    let text = trim_cr(text);
    unquote(text).map_or_else(
        || text.split(|byte| *byte == b'\t').next().unwrap_or(text).to_vec(),
        |(bytes, _)| bytes,
    )
}

fn is_null(name: &[u8]) -> bool {
    name == b"/dev/null"
}

/// `a/`, `b/`, or one of the letters of `diff.mnemonicPrefix` (index, work tree, commit, object).
fn has_prefix(name: &[u8]) -> bool {
    matches!(name, [b'a' | b'b' | b'c' | b'i' | b'o' | b'w', b'/', _, ..])
}

fn trim_cr(line: &[u8]) -> &[u8] {
    line.strip_suffix(b"\r").unwrap_or(line)
}
