//! An error with all it has to say, for people.

use std::error::Error as StdError;
use std::fmt;

use crate::chain;
use crate::error::Error;
use crate::failure::Failure;

#[cfg(test)]
mod tests;

/// Prints an error, what caused it and what to do: the one place where the layers come together.
///
/// Takes a reference to an [`Error`], a [`Failure`] or any other [`std::error::Error`], `dyn` included. The code and the
/// hint are those of the outermost hive error in the chain; a chain without one has neither.
///
/// The text has one line per layer, no colours and no newline at its end. Continued lines are indented and control
/// characters escaped, so that a message from outside cannot pose as another line or drive the terminal.
///
/// ```
/// use hive_errors::{Error, ErrorKind, Report};
///
/// let error = Error::new(ErrorKind::Storage, "failed to commit")
///     .with("path", "hive.db")
///     .with_source("disk I/O error");
/// assert_eq!(
///     Report::new(&error).to_string(),
///     "error[storage]: failed to commit (path=hive.db)\n  \
///        caused by: disk I/O error\n  \
///        what to do: look at the cause below, then at the health of the disk or database server",
/// );
/// ```
#[derive(Debug)]
pub struct Report<'a>(Subject<'a>);

#[derive(Debug)]
enum Subject<'a> {
    Error(&'a (dyn StdError + 'static)),
    Failure(&'a Failure),
}

impl<'a> Report<'a> {
    /// A report on `error`. For a boxed error, pass `&*error`.
    pub fn new(error: impl Into<Self>) -> Self {
        error.into()
    }
}

impl<'a, E: StdError + 'static> From<&'a E> for Report<'a> {
    fn from(error: &'a E) -> Self {
        Self(Subject::Error(error))
    }
}

impl<'a> From<&'a (dyn StdError + 'static)> for Report<'a> {
    fn from(error: &'a (dyn StdError + 'static)) -> Self {
        Self(Subject::Error(error))
    }
}

impl<'a> From<&'a (dyn StdError + Send + Sync + 'static)> for Report<'a> {
    fn from(error: &'a (dyn StdError + Send + Sync + 'static)) -> Self {
        Self(Subject::Error(error))
    }
}

impl<'a> From<&'a Failure> for Report<'a> {
    fn from(failure: &'a Failure) -> Self {
        Self(Subject::Failure(failure))
    }
}

impl fmt::Display for Report<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Subject::Failure(failure) => {
                let headline = format_args!("error[{}]: {failure}", failure.kind());
                chain::write_report(f, headline, failure.causes().iter(), Some(failure.hint()))
            }
            Subject::Error(error) => {
                let hive = std::iter::once(error)
                    .chain(chain::sources(error))
                    .find_map(<dyn StdError>::downcast_ref);
                match hive {
                    Some(hive) => {
                        let headline = format_args!("error[{}]: {error}", Error::code(hive));
                        chain::write_report(f, headline, chain::sources(error), Some(hive.hint()))
                    }
                    None => chain::write_report(f, format_args!("error: {error}"), chain::sources(error), None),
                }
            }
        }
    }
}
