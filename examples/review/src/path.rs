//! Paths as git knows them: bytes, not text.
//!
//! A file name in a repository need not be UTF-8, so a path is kept as bytes. Its text form is git's own quoting: a path
//! that is plain text stands as it is, any other is wrapped in `"…"` with C escapes (`"caf\351.txt"`). The text form can be
//! read back without loss, and it never carries a character that would steer a terminal or reorder a line.

use std::borrow::Cow;
use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

use schemars::JsonSchema;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// A path as bytes, ordered by them.
#[derive(Clone, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RawPath(Vec<u8>);

impl RawPath {
    /// Takes the bytes as they are.
    pub fn new(bytes: impl Into<Vec<u8>>) -> Self {
        Self(bytes.into())
    }

    /// The path of a file or directory on this machine.
    pub fn from_os(path: &std::path::Path) -> Self {
        Self(os::to_bytes(path))
    }

    /// The path for calls to the operating system.
    pub fn to_os(&self) -> PathBuf {
        os::from_bytes(&self.0)
    }

    /// The bytes, without a terminator.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// Whether there is nothing in it.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The parts between slashes.
    pub fn components(&self) -> impl Iterator<Item = &[u8]> {
        self.0.split(|byte| *byte == b'/').filter(|part| !part.is_empty())
    }

    /// What stands after the last slash.
    pub fn file_name(&self) -> &[u8] {
        self.0.rsplit(|byte| *byte == b'/').next().unwrap_or(&self.0)
    }

    /// What stands before the last slash; empty at the top.
    pub fn parent(&self) -> RawPath {
        let cut = self.0.iter().rposition(|byte| *byte == b'/').unwrap_or(0);
        Self(self.0.get(..cut).unwrap_or_default().to_vec())
    }

    /// The lower-case ending after the last dot of the file name; empty when there is none.
    pub fn extension(&self) -> String {
        let name = self.file_name();
        match name.iter().rposition(|byte| *byte == b'.') {
            Some(dot) if dot > 0 => lossy(name.get(dot + 1..).unwrap_or_default()).to_ascii_lowercase(),
            Some(_) | None => String::new(),
        }
    }

    /// Whether the path lies in the directory `scope` (everything lies in the empty one).
    pub fn is_below(&self, scope: &RawPath) -> bool {
        scope.is_empty()
            || self
                .0
                .strip_prefix(scope.as_bytes())
                .is_some_and(|rest| rest.first() == Some(&b'/'))
    }

    /// A relative URI reference: every byte outside RFC 3986's unreserved set is percent-encoded, slashes stay.
    pub fn to_uri(&self) -> String {
        let mut uri = String::with_capacity(self.0.len());
        // A leading slash would make the reference absolute; a diff may carry one.
        for (position, part) in self.components().enumerate() {
            if position > 0 {
                uri.push('/');
            }
            for byte in part {
                if byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~') {
                    uri.push(char::from(*byte));
                } else {
                    uri.push_str(&format!("%{byte:02X}"));
                }
            }
        }
        uri
    }
}

impl From<&str> for RawPath {
    fn from(text: &str) -> Self {
        Self(text.as_bytes().to_vec())
    }
}

impl fmt::Display for RawPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match std::str::from_utf8(&self.0) {
            Ok(text) if !text.chars().any(needs_quotes) => f.write_str(text),
            Ok(_) | Err(_) => quote(&self.0, f),
        }
    }
}

impl fmt::Debug for RawPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

impl FromStr for RawPath {
    type Err = QuoteError;

    fn from_str(text: &str) -> Result<Self, QuoteError> {
        if !text.starts_with('"') {
            return Ok(Self::from(text));
        }
        match unquote(text.as_bytes()) {
            Some((bytes, length)) if length == text.len() => Ok(Self(bytes)),
            Some(_) | None => Err(QuoteError),
        }
    }
}

impl Serialize for RawPath {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for RawPath {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?
            .parse()
            .map_err(serde::de::Error::custom)
    }
}

impl JsonSchema for RawPath {
    fn schema_name() -> Cow<'static, str> {
        "RawPath".into()
    }

    fn json_schema(generator: &mut schemars::SchemaGenerator) -> schemars::Schema {
        String::json_schema(generator)
    }
}

/// A text that begins with a quotation mark and is not a quoted path.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("a quoted path must be closed and use git's C escapes")]
pub struct QuoteError;

/// Reads a path in git's C quoting at the start of `text`; gives the bytes and how much of the text it took.
pub fn unquote(text: &[u8]) -> Option<(Vec<u8>, usize)> {
    let mut rest = text.strip_prefix(b"\"")?.iter().copied();
    let mut bytes = Vec::new();
    let mut taken = 1;
    loop {
        let byte = rest.next()?;
        taken += 1;
        match byte {
            b'"' => return Some((bytes, taken)),
            b'\\' => {
                let escaped = rest.next()?;
                taken += 1;
                if escaped.is_ascii_digit() {
                    let digits = [escaped, rest.next()?, rest.next()?];
                    taken += 2;
                    if !digits.iter().all(|digit| (b'0'..=b'7').contains(digit)) {
                        return None;
                    }
                    let value = digits
                        .iter()
                        .fold(0_u32, |sum, digit| sum * 8 + u32::from(digit - b'0'));
                    bytes.push(u8::try_from(value).ok()?);
                } else {
                    let at = ESCAPES.iter().find(|(letter, _)| *letter == escaped)?;
                    bytes.push(at.1);
                }
            }
            plain => bytes.push(plain),
        }
    }
}

const ESCAPES: [(u8, u8); 9] = [
    (b'a', 0x07),
    (b'b', 0x08),
    (b't', b'\t'),
    (b'n', b'\n'),
    (b'v', 0x0b),
    (b'f', 0x0c),
    (b'r', b'\r'),
    (b'"', b'"'),
    (b'\\', b'\\'),
];

fn quote(bytes: &[u8], f: &mut fmt::Formatter<'_>) -> fmt::Result {
    f.write_str("\"")?;
    for chunk in bytes.utf8_chunks() {
        for character in chunk.valid().chars() {
            match ESCAPES.iter().find(|(_, plain)| char::from(*plain) == character) {
                Some((letter, _)) => write!(f, "\\{}", char::from(*letter))?,
                None if needs_quotes(character) => {
                    let mut buffer = [0; 4];
                    for byte in character.encode_utf8(&mut buffer).bytes() {
                        write!(f, "\\{byte:03o}")?;
                    }
                }
                None => write!(f, "{character}")?,
            }
        }
        for byte in chunk.invalid() {
            write!(f, "\\{byte:03o}")?;
        }
    }
    f.write_str("\"")
}

fn needs_quotes(character: char) -> bool {
    character.is_control() || matches!(character, '"' | '\\') || is_invisible(character)
}

/// Characters that reorder or hide what stands around them.
pub(crate) fn is_invisible(character: char) -> bool {
    matches!(character, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}')
}

fn lossy(bytes: &[u8]) -> Cow<'_, str> {
    String::from_utf8_lossy(bytes)
}

#[cfg(unix)]
mod os {
    use std::ffi::OsString;
    use std::os::unix::ffi::{OsStrExt, OsStringExt};
    use std::path::{Path, PathBuf};

    pub(super) fn to_bytes(path: &Path) -> Vec<u8> {
        path.as_os_str().as_bytes().to_vec()
    }

    pub(super) fn from_bytes(bytes: &[u8]) -> PathBuf {
        PathBuf::from(OsString::from_vec(bytes.to_vec()))
    }
}

#[cfg(not(unix))]
mod os {
    use std::path::{Path, PathBuf};

    // Outside Unix, git itself keeps paths as UTF-8.
    pub(super) fn to_bytes(path: &Path) -> Vec<u8> {
        path.to_string_lossy().into_owned().into_bytes()
    }

    pub(super) fn from_bytes(bytes: &[u8]) -> PathBuf {
        PathBuf::from(String::from_utf8_lossy(bytes).into_owned())
    }
}

#[cfg(test)]
mod tests;
