//! Rules about the text of a file that need more than a pattern.

use std::sync::LazyLock;

use regex::Regex;

use super::catalog::any as rule;
use super::hits::Hits;
use crate::file::{Line, Part, Place};
use crate::language::{Language, Role};

/// Lines of code from which a file is called very long.
const LONG_FILE_LINES: usize = 1_000;

pub(super) fn run(hits: &mut Hits<'_>) {
    if hits.wants(&rule::MERGE_CONFLICT) {
        merge_conflicts(hits);
        swallowed_exceptions(hits);
    }
    if hits.wants(&rule::HIDDEN_UNICODE) {
        hidden_unicode(hits);
    }
    if hits.wants(&rule::TODO_WITHOUT_OWNER) {
        todos(hits);
        long_file(hits);
        if hits.file.mixed_line_ends && hits.file.whole {
            hits.at(
                &rule::MIXED_LINE_ENDS,
                first_changed(hits),
                "some lines end in a carriage return, others do not",
            );
        }
    }
}

/// All three marks in their order: a single `=======` underlines a title.
fn merge_conflicts(hits: &mut Hits<'_>) {
    let file = hits.file;
    let mut open: Option<(u32, bool)> = None;
    for line in file.lines() {
        if line.text.starts_with("<<<<<<< ") {
            open = Some((line.number, false));
        } else if line.text == "=======" {
            open = open.map(|(start, _)| (start, true));
        } else if line.text.starts_with(">>>>>>> ")
            && let Some((start, true)) = open.take()
        {
            let place = Place { line: start, column: 1 };
            let message = format!("the conflict goes on to line {}", line.number);
            hits.on(
                &rule::MERGE_CONFLICT,
                rule::MERGE_CONFLICT.severity,
                place,
                line.number,
                message,
            );
        }
    }
}

/// Controls that embed, override or isolate a direction. Marks that set one only for themselves are left alone.
fn hidden_unicode(hits: &mut Hits<'_>) {
    let file = hits.file;
    let is_bidi = |character: char| matches!(character, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
    if matches!(
        file.language,
        Language::Markdown | Language::Markup | Language::Text | Language::Json
    ) {
        return;
    }
    for line in file.lines() {
        if let Some((at, character)) = line.text.char_indices().find(|(_, character)| is_bidi(*character)) {
            let message = format!(
                "U+{:04X} changes the order in which this line is shown",
                character as u32
            );
            hits.at(&rule::HIDDEN_UNICODE, file.place(line.start + at), message);
        }
    }
}

/// `except …: pass`, on one line or two.
fn swallowed_exceptions(hits: &mut Hits<'_>) {
    let file = hits.file;
    if file.language != Language::Python || file.role == Role::Test {
        return;
    }
    let mut lines = file.lines().peekable();
    while let Some(line) = lines.next() {
        let text = line.text.trim();
        // A named exception may well be expected; a bare one, or the class of all, hides what nobody thought of.
        let broad = ["except:", "except Exception:", "except BaseException:"]
            .iter()
            .any(|head| text.starts_with(head))
            || (text.starts_with("except Exception as") && text.contains(':'));
        if !broad || file.part_at(line.start + line.text.len() - line.text.trim_start().len()) != Part::Code {
            continue;
        }
        let after = text.split_once(':').map_or("", |(_, after)| after.trim());
        let body = if after.is_empty() {
            lines.peek().map_or("", |next| next.text.trim())
        } else {
            after
        };
        if body == "pass" || body == "..." {
            let place = file.place(line.start + (line.text.len() - line.text.trim_start().len()));
            hits.at(&rule::SWALLOWED_EXCEPTION, place, "every exception is dropped here");
        }
    }
}

static TODO: LazyLock<Option<Regex>> =
    LazyLock::new(|| Regex::new(r"(?:^|[^\w`'\x22-])(TODO|FIXME|XXX|HACK)\b([^\n]*)").ok());
static OWNER: LazyLock<Option<Regex>> =
    LazyLock::new(|| Regex::new(r"^\s*[(\[][^)\]\n]+[)\]]|@\w|#\d|https?://|\b[A-Z][A-Z0-9]+-\d+\b").ok());

fn todos(hits: &mut Hits<'_>) {
    let (Some(todo), Some(owner)) = (TODO.as_ref(), OWNER.as_ref()) else {
        return;
    };
    let file = hits.file;
    for found in todo.captures_iter(file.text()) {
        let (Some(word), Some(rest)) = (found.get(1), found.get(2)) else {
            continue;
        };
        if file.part_at(word.start()) != Part::Comment {
            continue;
        }
        let place = file.place(word.start());
        // What a comment says goes on in its next lines.
        let next = file.comment_on(place.line.saturating_add(1));
        let looks_said = rest.as_str().starts_with([':', ' ', '(', '[']) || rest.as_str().trim().is_empty();
        if looks_said && !owner.is_match(rest.as_str()) && !owner.is_match(next) {
            hits.at(
                &rule::TODO_WITHOUT_OWNER,
                place,
                format!("{} names neither an owner nor a ticket", word.as_str()),
            );
        }
    }
}

fn long_file(hits: &mut Hits<'_>) {
    let file = hits.file;
    if !file.whole || file.role == Role::Test || !hits.wants(&rule::LONG_FILE) {
        return;
    }
    let is_code = |line: &Line<'_>| !line.text.trim().is_empty() && file.is_code_line(line.number);
    let count = file.lines().filter(is_code).count();
    if count > LONG_FILE_LINES {
        hits.at(
            &rule::LONG_FILE,
            first_changed(hits),
            format!("the file has {count} lines of code"),
        );
    }
}

/// Where a finding about the whole file is shown: on its first line, or on the first that changed.
fn first_changed(hits: &Hits<'_>) -> Place {
    let line = hits
        .file
        .changed()
        .and_then(|changed| changed.ranges().first().copied())
        .map_or(1, |(start, _)| start);
    Place { line, column: 1 }
}
