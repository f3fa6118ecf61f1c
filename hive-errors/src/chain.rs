//! The causes of an error, and how an error is laid out as text.

use std::error::Error as StdError;
use std::fmt::{self, Write as _};

#[cfg(test)]
mod tests;

/// An error may, by mistake, name itself as its source; following it has to end somewhere.
const DEPTH_MAX: usize = 64;

/// The sources of `error`, outermost first, without `error` itself; at most [`DEPTH_MAX`].
pub(crate) fn sources<'a>(error: &'a (dyn StdError + 'static)) -> impl Iterator<Item = &'a (dyn StdError + 'static)> {
    std::iter::successors(error.source(), |error| (*error).source()).take(DEPTH_MAX)
}

/// Prints ` (name=value, …)`, or nothing when there are no fields.
pub(crate) fn write_fields<'a>(
    f: &mut fmt::Formatter<'_>,
    fields: impl Iterator<Item = (&'a str, &'a str)>,
) -> fmt::Result {
    let mut separator = " (";
    for (name, value) in fields {
        f.write_str(separator)?;
        separator = ", ";
        // Quoted where a reader could not see where the value ends.
        let plain = !value.is_empty()
            && !value
                .contains(|c: char| c.is_whitespace() || c.is_control() || matches!(c, ',' | '(' | ')' | '"' | '='));
        if plain {
            write!(f, "{name}={value}")?;
        } else {
            write!(f, "{name}={value:?}")?;
        }
    }
    if separator == ", " { f.write_char(')') } else { Ok(()) }
}

/// Prints a headline, the causes and the hint, one per line and without a newline at the end.
pub(crate) fn write_report(
    f: &mut fmt::Formatter<'_>,
    headline: impl fmt::Display,
    causes: impl Iterator<Item = impl fmt::Display>,
    hint: Option<&str>,
) -> fmt::Result {
    write!(
        Calm {
            f: &mut *f,
            indent: "  "
        },
        "{headline}"
    )?;
    for cause in causes {
        f.write_str("\n  caused by: ")?;
        write!(
            Calm {
                f: &mut *f,
                indent: "    "
            },
            "{cause}"
        )?;
    }
    if let Some(hint) = hint {
        f.write_str("\n  what to do: ")?;
        write!(Calm { f, indent: "    " }, "{hint}")?;
    }
    Ok(())
}

/// Indents continued lines and escapes control characters: messages quote models and files, and such text must not be
/// able to drive a terminal or to pose as another line of the report.
struct Calm<'a, 'b> {
    f: &'a mut fmt::Formatter<'b>,
    indent: &'static str,
}

impl fmt::Write for Calm<'_, '_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        for c in text.chars() {
            match c {
                '\n' => write!(self.f, "\n{}", self.indent)?,
                '\t' => self.f.write_char('\t')?,
                c if c.is_control() => write!(self.f, "{}", c.escape_unicode())?,
                c => self.f.write_char(c)?,
            }
        }
        Ok(())
    }
}
