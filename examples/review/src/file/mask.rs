//! Tells comments and strings from code, well enough for rules that look at text.
//!
//! It is no parser: what it cannot know (a string begun before the first line of a piece) it takes for code. A string that
//! may not span lines ends with its line, so that one odd quotation mark spoils one line and not the file.

use crate::language::Syntax;

/// A kind of text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    /// What a machine runs.
    Code,
    /// What people say about it.
    Comment,
    /// The inside and the quotes of a string.
    Text,
}

/// The kind of every byte of `text`.
pub(super) fn parts(text: &str, syntax: Syntax) -> Vec<Part> {
    let mut scan = Scan {
        bytes: text.as_bytes(),
        at: 0,
        parts: Vec::with_capacity(text.len()),
    };
    while scan.at < scan.bytes.len() {
        let before = scan.at;
        step(&mut scan, syntax);
        if scan.at == before {
            scan.take(1, Part::Code);
        }
    }
    scan.parts
}

/// How far back the scanner looks for what makes a slash a regular expression.
const LOOK_BACK: usize = 100;
/// The longest regular expression; a longer one is no work of a person.
const REGULAR_EXPRESSION_MAX: usize = 1_000;

struct Scan<'a> {
    bytes: &'a [u8],
    at: usize,
    parts: Vec<Part>,
}

fn step(scan: &mut Scan<'_>, syntax: Syntax) {
    match syntax {
        Syntax::Rust => {
            if scan.slash_comments(true) || scan.rust_raw_string() || scan.rust_char() {
                return;
            }
            if scan.starts(b"\"") {
                scan.quoted(b'"', true, true);
            }
        }
        Syntax::C => {
            if !scan.slash_comments(false) {
                scan.either_quote(true);
            }
        }
        Syntax::Script => {
            if scan.slash_comments(false) || scan.either_quote(true) {
                return;
            }
            if scan.starts(b"`") {
                scan.quoted(b'`', true, true);
            } else {
                scan.regular_expression();
            }
        }
        Syntax::Python => {
            for fence in [&b"\"\"\""[..], b"'''"] {
                if scan.starts(fence) {
                    return scan.fenced(fence, Part::Text);
                }
            }
            if scan.starts(b"#") {
                scan.until_line_end(Part::Comment);
            } else {
                scan.either_quote(true);
            }
        }
        Syntax::Shell | Syntax::Hash => {
            if scan.starts(b"#") && scan.at_word_start() {
                scan.until_line_end(Part::Comment);
            } else if scan.starts(b"'") && syntax == Syntax::Shell {
                scan.quoted(b'\'', false, true);
            } else if scan.starts(b"\"") && syntax == Syntax::Shell {
                scan.quoted(b'"', true, true);
            } else if scan.at_word_start() || scan.prev().is_some_and(|byte| b"=([{:,".contains(&byte)) {
                // A quote inside a word is an apostrophe.
                scan.either_quote(true);
            }
        }
        Syntax::Sql => {
            if scan.starts(b"--") {
                scan.until_line_end(Part::Comment);
            } else if scan.starts(b"/*") {
                scan.block(b"*/", false);
            } else if scan.starts(b"'") {
                scan.quoted(b'\'', false, true);
            }
        }
        Syntax::Markup => {
            if scan.starts(b"<!--") {
                scan.block(b"-->", false);
            }
        }
        Syntax::Css => {
            if scan.starts(b"/*") {
                scan.block(b"*/", false);
            } else {
                scan.either_quote(true);
            }
        }
        Syntax::Plain => {}
    }
}

impl Scan<'_> {
    fn rest(&self) -> &[u8] {
        self.bytes.get(self.at..).unwrap_or_default()
    }

    fn starts(&self, prefix: &[u8]) -> bool {
        self.rest().starts_with(prefix)
    }

    fn prev(&self) -> Option<u8> {
        self.at
            .checked_sub(1)
            .and_then(|before| self.bytes.get(before))
            .copied()
    }

    fn at_word_start(&self) -> bool {
        self.prev()
            .is_none_or(|byte| byte.is_ascii_whitespace() || byte == b';')
    }

    fn take(&mut self, count: usize, part: Part) {
        let count = count.min(self.bytes.len() - self.at);
        self.at += count;
        self.parts.resize(self.at, part);
    }

    fn until_line_end(&mut self, part: Part) {
        let length = self
            .rest()
            .iter()
            .position(|byte| *byte == b'\n')
            .unwrap_or(self.rest().len());
        self.take(length, part);
    }

    fn slash_comments(&mut self, nested: bool) -> bool {
        if self.starts(b"//") {
            self.until_line_end(Part::Comment);
        } else if self.starts(b"/*") {
            self.block(b"*/", nested);
        } else {
            return false;
        }
        true
    }

    /// A comment up to its end mark; `/*` inside counts when comments nest.
    fn block(&mut self, end: &[u8], nested: bool) {
        let mut depth = 0_usize;
        let mut length = 0_usize;
        let rest = self.rest();
        while length < rest.len() {
            let here = rest.get(length..).unwrap_or_default();
            if here.starts_with(end) {
                length += end.len();
                depth = depth.saturating_sub(1);
                if depth == 0 {
                    break;
                }
            } else if here.starts_with(b"/*") && (nested || depth == 0) {
                depth += 1;
                length += 2;
            } else {
                depth = depth.max(1);
                length += 1;
            }
        }
        self.take(length, Part::Comment);
    }

    fn fenced(&mut self, fence: &[u8], part: Part) {
        let inside = self.rest().get(fence.len()..).unwrap_or_default();
        let end = inside.windows(fence.len()).position(|window| window == fence);
        let length = end.map_or(self.rest().len(), |end| end + 2 * fence.len());
        self.take(length, part);
    }

    fn either_quote(&mut self, escapes: bool) -> bool {
        for quote in [b'"', b'\''] {
            if self.starts(&[quote]) {
                self.quoted(quote, escapes, false);
                return true;
            }
        }
        false
    }

    /// A string from its opening quote on.
    fn quoted(&mut self, quote: u8, escapes: bool, many_lines: bool) {
        let mut length = 1_usize;
        let mut rest = self.rest().iter().copied().skip(1);
        while let Some(byte) = rest.next() {
            if byte == b'\n' && !many_lines {
                break;
            }
            length += 1;
            if byte == quote {
                break;
            }
            if byte == b'\\' && escapes && rest.next().is_some() {
                length += 1;
            }
        }
        self.take(length, Part::Text);
    }

    /// `r"…"`, `br#"…"#`, `c"…"` and the like.
    fn rust_raw_string(&mut self) -> bool {
        if self
            .prev()
            .is_some_and(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
        {
            return false;
        }
        let letters = self.rest().iter().take_while(|byte| b"bcr".contains(byte)).count();
        let after = self.rest().get(letters..).unwrap_or_default();
        let is_raw = letters > 0 && letters <= 2 && self.rest().get(letters - 1) == Some(&b'r');
        let hashes = after.iter().take_while(|byte| **byte == b'#').count();
        if !is_raw || after.get(hashes) != Some(&b'"') {
            return false;
        }
        let open = letters + hashes + 1;
        let end = [&b"\""[..], &b"#".repeat(hashes)].concat();
        let inside = self.rest().get(open..).unwrap_or_default();
        let length = inside.windows(end.len()).position(|window| window == end);
        self.take(
            length.map_or(self.rest().len(), |length| open + length + end.len()),
            Part::Text,
        );
        true
    }

    /// A character, as opposed to a lifetime.
    fn rust_char(&mut self) -> bool {
        if !self.starts(b"'") {
            return false;
        }
        let inside = self.rest().get(1..).unwrap_or_default();
        let length = if inside.first() == Some(&b'\\') {
            // The escaped character may itself be a quote.
            inside
                .iter()
                .skip(2)
                .take(12)
                .position(|byte| *byte == b'\'')
                .map(|at| at + 4)
        } else {
            let width = inside.first().map_or(1, |first| match first {
                0xf0.. => 4,
                0xe0.. => 3,
                0xc0.. => 2,
                _ => 1,
            });
            (inside.get(width) == Some(&b'\'') && inside.first() != Some(&b'\n')).then_some(width + 2)
        };
        match length {
            Some(length) => self.take(length, Part::Text),
            None => self.take(1, Part::Code),
        }
        true
    }

    /// `/…/` where a value is expected, as opposed to a division.
    fn regular_expression(&mut self) {
        if !self.starts(b"/") {
            return;
        }
        let before = self
            .bytes
            .get(self.at.saturating_sub(LOOK_BACK)..self.at)
            .unwrap_or_default();
        let before = before
            .rsplit(|byte| *byte == b'\n')
            .next()
            .unwrap_or_default()
            .trim_ascii_end();
        let value_expected =
            before.last().is_none_or(|byte| b"(,=:[!&|?{};+".contains(byte)) || before.ends_with(b"return");
        if !value_expected {
            return;
        }
        let mut in_class = false;
        let mut escaped = false;
        for (offset, byte) in self.rest().iter().enumerate().take(REGULAR_EXPRESSION_MAX).skip(1) {
            match byte {
                b'\n' => return,
                _ if escaped => escaped = false,
                b'\\' => escaped = true,
                b'[' => in_class = true,
                b']' => in_class = false,
                b'/' if !in_class => return self.take(offset + 1, Part::Text),
                _ => {}
            }
        }
    }
}
