//! Tokens by PostgreSQL's rules.

/// What a token is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// White space or a comment.
    Space,
    /// A keyword or a name without quotes.
    Word,
    /// A name in double quotes.
    Quoted,
    /// A literal in single quotes, with or without escapes, or in dollar quotes.
    Text,
    /// Bytes as SQLite writes them: `X'00ff'`.
    Hex,
    /// `?1`.
    Param,
    /// Digits and what clings to them.
    Number,
    /// Anything else, one character.
    Symbol,
}

/// One token of a text.
#[derive(Clone, Copy, Debug)]
pub(super) struct Token<'s> {
    pub(super) kind: Kind,
    pub(super) text: &'s str,
    /// Which token of the text it is, from 0.
    pub(super) index: usize,
}

impl<'s> Token<'s> {
    /// Whether it is this keyword or symbol.
    pub(super) fn is(&self, word: &str) -> bool {
        matches!(self.kind, Kind::Word | Kind::Symbol) && self.text.eq_ignore_ascii_case(word)
    }

    pub(super) fn is_among(&self, words: &[&str]) -> bool {
        words.iter().any(|word| self.is(word))
    }

    /// Whether it is one of these names, in quotes or not.
    pub(super) fn is_name_among(&self, names: &[&str]) -> bool {
        let quoted = |name: &&str| self.kind == Kind::Quoted && self.text.trim_matches('"') == *name;
        self.is_among(names) || names.iter().any(quoted)
    }

    /// Those that are neither white space nor comments.
    pub(super) fn telling(tokens: &[Self]) -> Vec<Self> {
        let telling = tokens.iter().filter(|token| token.kind != Kind::Space);
        telling.copied().collect()
    }
}

/// Cuts the whole text; joined again, the tokens are the text.
pub(super) fn cut(sql: &str) -> Vec<Token<'_>> {
    let mut tokens = Vec::new();
    let mut rest = sql;
    while !rest.is_empty() {
        let (kind, length) = first(rest);
        // Invariant: a token ends at an ASCII character or with the text, so on a character's boundary, and is not empty.
        let (text, tail) = rest.split_at_checked(length.max(1)).unwrap_or((rest, ""));
        tokens.push(Token {
            kind,
            text,
            index: tokens.len(),
        });
        rest = tail;
    }
    tokens
}

/// What the text begins with, and for how many bytes.
fn first(rest: &str) -> (Kind, usize) {
    let bytes = rest.as_bytes();
    let at = |index: usize| bytes.get(index).copied().unwrap_or(0);
    match (at(0), at(1)) {
        (b' ' | b'\t' | b'\n' | b'\r' | b'\x0b' | b'\x0c', _) => {
            (Kind::Space, run(bytes, |b| b.is_ascii_whitespace() || b == 0x0b))
        }
        (b'-', b'-') => (Kind::Space, run(bytes, |b| b != b'\n')),
        (b'/', b'*') => (Kind::Space, comment(bytes)),
        (b'\'', _) => (Kind::Text, quoted(bytes, 0, b'\'', false)),
        (b'e' | b'E', b'\'') => (Kind::Text, quoted(bytes, 1, b'\'', true)),
        (b'x' | b'X', b'\'') => (Kind::Hex, quoted(bytes, 1, b'\'', false)),
        (b'"', _) => (Kind::Quoted, quoted(bytes, 0, b'"', false)),
        (b'?', b'0'..=b'9') => (
            Kind::Param,
            1 + run(bytes.get(1..).unwrap_or_default(), |b| b.is_ascii_digit()),
        ),
        (b'$', _) => dollar(rest).map_or((Kind::Symbol, 1), |length| (Kind::Text, length)),
        (b'0'..=b'9', _) => (Kind::Number, run(bytes, |b| (is_word(b) && b != b'$') || b == b'.')),
        (first, _) if is_word(first) => (Kind::Word, run(bytes, is_word)),
        _ => (Kind::Symbol, 1),
    }
}

fn is_word(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'$' || byte >= 0x80
}

fn run(bytes: &[u8], belongs: impl Fn(u8) -> bool) -> usize {
    bytes.iter().position(|byte| !belongs(*byte)).unwrap_or(bytes.len())
}

/// A quoted piece, from the quote at `open` to its partner; a doubled quote stands for one. Without a partner: to the end.
fn quoted(bytes: &[u8], open: usize, quote: u8, escapes: bool) -> usize {
    let mut index = open + 1;
    while let Some(byte) = bytes.get(index) {
        if escapes && *byte == b'\\' {
            index += 2;
        } else if *byte != quote {
            index += 1;
        } else if bytes.get(index + 1) == Some(&quote) {
            index += 2;
        } else {
            return index + 1;
        }
    }
    bytes.len()
}

/// A comment with those within it: unlike SQLite's, PostgreSQL's nest.
fn comment(bytes: &[u8]) -> usize {
    let (mut index, mut depth) = (0, 0_usize);
    while index < bytes.len() {
        match (bytes.get(index), bytes.get(index + 1)) {
            (Some(b'/'), Some(b'*')) => {
                depth += 1;
                index += 2;
            }
            (Some(b'*'), Some(b'/')) => {
                depth -= 1;
                index += 2;
                if depth == 0 {
                    return index;
                }
            }
            _ => index += 1,
        }
    }
    bytes.len()
}

/// A literal in dollar quotes, `$$…$$` or `$tag$…$tag$`.
fn dollar(rest: &str) -> Option<usize> {
    let after = rest.get(1..)?;
    let name = run(after.as_bytes(), |b| is_word(b) && b != b'$');
    if after.as_bytes().first().is_some_and(u8::is_ascii_digit) || after.as_bytes().get(name) != Some(&b'$') {
        return None;
    }
    let tag = rest.get(..name + 2)?;
    let body = rest.get(name + 2..)?;
    Some(body.find(tag).map_or(rest.len(), |end| name + 2 + end + tag.len()))
}
