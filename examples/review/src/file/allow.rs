//! Comments that let a finding stand: `review: allow(rule-id) reason`, at the start of the comment.

use std::sync::LazyLock;

use regex::Regex;

use super::{Part, SourceFile};
use crate::language::Syntax;

/// A suppression.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Allow {
    /// The rules it names.
    pub rules: Vec<String>,
    /// Why; empty when none is given, which makes it void.
    pub reason: String,
    /// The line it stands on.
    pub line: u32,
    /// The line it speaks of; `None` for the whole file.
    pub target: Option<u32>,
}

static MARK: LazyLock<Option<Regex>> = LazyLock::new(|| {
    Regex::new(r"(?:^|[^\w`'\x22])((?://|/\*|\*|#|--|<!--|;)[/!*#-]*[ \t]*review:[ \t]*allow(-file)?\(([a-z0-9,\- ]{1,200})\)[ \t:]*([^\n]*))").ok()
});

pub(super) fn find(file: &SourceFile) -> Vec<Allow> {
    let Some(mark) = MARK.as_ref() else { return Vec::new() };
    let mut allows = Vec::new();
    for found in mark.captures_iter(file.text()) {
        let group = |index: usize| found.get(index).map(|group| group.as_str()).unwrap_or_default();
        let start = found.get(1).map(|mark| mark.start()).unwrap_or_default();
        // Where comments cannot be told from the rest, the words themselves are clear enough.
        if file.part_at(start) != Part::Comment && file.language.syntax() != Syntax::Plain {
            continue;
        }
        let line = file.place(start).line;
        let reason = group(4)
            .trim()
            .trim_end_matches("*/")
            .trim_end_matches("-->")
            .trim()
            .to_owned();
        allows.push(Allow {
            rules: group(3)
                .split(',')
                .map(|rule| rule.trim().to_owned())
                .filter(|rule| !rule.is_empty())
                .collect(),
            reason,
            line,
            target: group(2).is_empty().then(|| target(file, line)),
        });
    }
    allows
}

/// The line a comment speaks of: its own when code stands there, otherwise the next with code that is not an attribute.
fn target(file: &SourceFile, line: u32) -> u32 {
    if file.is_code_line(line) {
        return line;
    }
    let spoken_of = |number: &u32| {
        let text = file
            .line(*number)
            .map(|line| line.text.trim_start())
            .unwrap_or_default();
        file.is_code_line(*number) && !text.starts_with("#[") && !text.starts_with('@')
    };
    (line + 1..line.saturating_add(20)).find(spoken_of).unwrap_or(line)
}
