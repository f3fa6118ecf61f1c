//! Rewrites JSON into its canonical form, token by token.
//!
//! It works on the text and not on a `serde_json::Value`, which would turn integers beyond 64 bits into floats and need
//! several times the memory.

use std::ops::Range;

use hive_errors::{Error, ErrorKind, Result};

use super::too_deep;
use crate::limits::PAYLOAD_DEPTH_MAX;

/// The canonical form of `json`: no white space, one spelling per string, sorted keys, none twice.
///
/// `json` must have been checked or written by `serde_json`; other text gives an error or a meaningless result, never a
/// panic.
pub(super) fn rewrite(json: &[u8]) -> Result<Vec<u8>> {
    let mut rewriter = Rewriter {
        json,
        at: 0,
        out: Vec::with_capacity(json.len()),
    };
    rewriter.value(0)?;
    Ok(rewriter.out)
}

struct Rewriter<'a> {
    json: &'a [u8],
    at: usize,
    out: Vec<u8>,
}

/// Where a member of an object stands in the output.
struct Member {
    /// The key without its quotes.
    key: Range<usize>,
    /// Key, colon and value.
    whole: Range<usize>,
}

impl Rewriter<'_> {
    fn value(&mut self, depth: usize) -> Result<()> {
        match self.peek() {
            Some(b'{' | b'[') if depth == PAYLOAD_DEPTH_MAX => Err(too_deep()),
            Some(b'{') => self.object(depth + 1),
            Some(b'[') => self.array(depth + 1),
            Some(b'"') => self.string(),
            Some(_) => self.scalar(),
            None => Err(malformed()),
        }
    }

    fn array(&mut self, depth: usize) -> Result<()> {
        self.copy(b'[')?;
        if self.peek() != Some(b']') {
            self.value(depth)?;
            while self.peek() == Some(b',') {
                self.copy(b',')?;
                self.value(depth)?;
            }
        }
        self.copy(b']')
    }

    fn object(&mut self, depth: usize) -> Result<()> {
        self.copy(b'{')?;
        let start = self.out.len();
        let mut members = Vec::new();
        if self.peek() != Some(b'}') {
            members.push(self.member(depth)?);
            while self.peek() == Some(b',') {
                self.copy(b',')?;
                members.push(self.member(depth)?);
            }
        }
        self.sort(start, members)?;
        self.copy(b'}')
    }

    fn member(&mut self, depth: usize) -> Result<Member> {
        let start = self.out.len();
        self.peek();
        self.string()?;
        let key = start + 1..self.out.len() - 1;
        self.copy(b':')?;
        self.value(depth)?;
        Ok(Member {
            key,
            whole: start..self.out.len(),
        })
    }

    /// Puts the members that were written from `start` on in the order of their keys.
    fn sort(&mut self, start: usize, mut members: Vec<Member>) -> Result<()> {
        let slice = |range: &Range<usize>| self.out.get(range.clone()).unwrap_or_default();
        let sorted = members.is_sorted_by(|a, b| slice(&a.key) < slice(&b.key));
        // What was sorted with no key twice stays as it is, which is the case for most structs and for every second encoding.
        if sorted {
            return Ok(());
        }
        members.sort_by(|a, b| slice(&a.key).cmp(slice(&b.key)));
        for pair in members.windows(2) {
            if let [a, b] = pair
                && slice(&a.key) == slice(&b.key)
            {
                return Err(Error::new(ErrorKind::InvalidInput, "the payload names a key twice")
                    .with("key", String::from_utf8_lossy(slice(&a.key))));
            }
        }
        let mut rewritten = Vec::with_capacity(self.out.len() - start);
        for (place, member) in members.iter().enumerate() {
            if place > 0 {
                rewritten.push(b',');
            }
            rewritten.extend_from_slice(slice(&member.whole));
        }
        self.out.truncate(start);
        self.out.append(&mut rewritten);
        Ok(())
    }

    fn string(&mut self) -> Result<()> {
        let rest = self.json.get(self.at..).unwrap_or_default();
        let mut escaped = false;
        let mut escapes = false;
        let length = rest.iter().enumerate().skip(1).find_map(|(place, byte)| {
            match byte {
                _ if escaped => escaped = false,
                b'\\' => (escaped, escapes) = (true, true),
                b'"' => return Some(place + 1),
                _ => {}
            }
            None
        });
        let token = length.and_then(|length| rest.get(..length)).ok_or_else(malformed)?;
        if escapes {
            // `\u0061` and `a` are the same string: only the spelling of serde_json stays.
            let text: String = serde_json::from_slice(token)
                .map_err(|source| malformed().with("offset", self.at).with_source(source))?;
            serde_json::to_writer(&mut self.out, &text).map_err(|source| malformed().with_source(source))?;
        } else {
            self.out.extend_from_slice(token);
        }
        self.at += token.len();
        Ok(())
    }

    /// A number, `true`, `false` or `null`.
    fn scalar(&mut self) -> Result<()> {
        let rest = self.json.get(self.at..).unwrap_or_default();
        let ends = |byte: &u8| matches!(byte, b',' | b']' | b'}' | b':' | b' ' | b'\t' | b'\r' | b'\n');
        let token = rest
            .split(ends)
            .next()
            .filter(|token| !token.is_empty())
            .ok_or_else(malformed)?;
        self.out.extend_from_slice(token);
        self.at += token.len();
        Ok(())
    }

    /// The next byte that is not white space, which stays to be read.
    fn peek(&mut self) -> Option<u8> {
        while matches!(self.json.get(self.at), Some(b' ' | b'\t' | b'\r' | b'\n')) {
            self.at += 1;
        }
        self.json.get(self.at).copied()
    }

    fn copy(&mut self, expected: u8) -> Result<()> {
        if self.peek() != Some(expected) {
            return Err(malformed());
        }
        self.at += 1;
        self.out.push(expected);
        Ok(())
    }
}

fn malformed() -> Error {
    Error::new(ErrorKind::InvalidInput, "the payload is not JSON")
}
