//! The changed places of a file.

use super::{Cursor, Hunk, Line, LineKind};
use crate::error::Error;

/// Reads the hunk whose `@@` line is next.
pub(super) fn parse<'a>(cursor: &mut Cursor<'a>) -> Result<Hunk<'a>, Error> {
    let (_, head) = cursor.peek().ok_or_else(|| cursor.bad("a hunk is expected here"))?;
    let Some((old, new)) = ranges(head) else {
        return Err(cursor.bad("a hunk begins with `@@ -line,count +line,count @@`"));
    };
    cursor.advance();
    let ((old_start, mut old_left), (new_start, mut new_left)) = (old, new);
    // A line number past the end of the number range cannot be counted up to.
    if new_start.checked_add(new_left).is_none() || old_start.checked_add(old_left).is_none() {
        return Err(cursor.bad("a line number is too large"));
    }
    let mut lines: Vec<Line<'a>> = Vec::new();
    while old_left > 0 || new_left > 0 {
        let Some((_, line)) = cursor.peek() else {
            return Err(cursor.bad("the diff ends inside a hunk"));
        };
        let (kind, text) = match line.split_first() {
            Some((b' ', text)) => (LineKind::Context, text),
            Some((b'+', text)) => (LineKind::Added, text),
            Some((b'-', text)) => (LineKind::Removed, text),
            Some((b'\\', _)) => {
                unterminated(&mut lines);
                cursor.advance();
                continue;
            }
            // Mail programs strip the space of an empty line.
            None | Some((b'\r', _)) => (LineKind::Context, line),
            Some(_) => return Err(cursor.bad("a hunk has fewer lines than it says")),
        };
        let (takes_old, takes_new) = (kind != LineKind::Added, kind != LineKind::Removed);
        let fits = (!takes_old || old_left > 0) && (!takes_new || new_left > 0);
        if !fits {
            return Err(cursor.bad("a hunk has more lines of a kind than it says"));
        }
        old_left -= u32::from(takes_old);
        new_left -= u32::from(takes_new);
        lines.push(Line {
            kind,
            text,
            newline: true,
        });
        cursor.advance();
    }
    if cursor.peek().is_some_and(|(_, line)| line.starts_with(b"\\")) {
        unterminated(&mut lines);
        cursor.advance();
    }
    Ok(Hunk {
        old_start,
        new_start,
        lines,
    })
}

/// `\ No newline at end of file` speaks of the line before it.
fn unterminated(lines: &mut [Line<'_>]) {
    if let Some(last) = lines.last_mut() {
        last.newline = false;
    }
}

type Span = (u32, u32);

/// `@@ -1,2 +3,4 @@ section`
fn ranges(line: &[u8]) -> Option<(Span, Span)> {
    let rest = line.strip_prefix(b"@@ -")?;
    let end = rest.windows(3).position(|window| window == b" @@")?;
    let text = std::str::from_utf8(rest.get(..end)?).ok()?;
    let (old, new) = text.split_once(" +")?;
    Some((span(old)?, span(new)?))
}

fn span(text: &str) -> Option<Span> {
    let (start, count) = text.split_once(',').unwrap_or((text, "1"));
    let number = |text: &str| {
        text.bytes()
            .all(|byte| byte.is_ascii_digit())
            .then(|| text.parse().ok())
            .flatten()
    };
    Some((number(start)?, number(count)?))
}

/// Applies hunks to the content they were made from.
pub(super) fn apply(hunks: &[Hunk<'_>], base: &[u8]) -> Option<Vec<u8>> {
    let lines: Vec<&[u8]> = base.split_inclusive(|byte| *byte == b'\n').collect();
    let mut result = Vec::with_capacity(base.len());
    let mut at = 0_usize;
    for hunk in hunks {
        let has_old = hunk.lines.iter().any(|line| line.kind != LineKind::Added);
        // A hunk that only adds names the line it adds after.
        let start = if has_old {
            (hunk.old_start as usize).checked_sub(1)?
        } else {
            hunk.old_start as usize
        };
        lines
            .get(at..start)?
            .iter()
            .for_each(|line| result.extend_from_slice(line));
        at = start;
        for line in &hunk.lines {
            let mut text = line.text.to_vec();
            if line.newline {
                text.push(b'\n');
            }
            if line.kind != LineKind::Added {
                if *lines.get(at)? != text.as_slice() {
                    return None;
                }
                at += 1;
            }
            if line.kind != LineKind::Removed {
                result.extend_from_slice(&text);
            }
        }
    }
    lines.get(at..)?.iter().for_each(|line| result.extend_from_slice(line));
    Some(result)
}
