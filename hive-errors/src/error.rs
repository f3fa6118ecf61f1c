//! What Hive returns to its user.

use std::borrow::Cow;
use std::error::Error as StdError;
use std::fmt;
use std::time::Duration;

use crate::chain;
use crate::kind::ErrorKind;

#[cfg(test)]
mod tests;

/// A result whose error is [`Error`] unless told otherwise.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// What went wrong, whether to try again, and what to do next.
///
/// Opaque and one pointer wide. Match on [`kind`](Self::kind); read details with [`field`](Self::field).
///
/// `Display` prints this layer only, `message (field=value, …)`; causes are behind [`source`](StdError::source).
/// `Debug` prints all of it for people, because that is what `main` and `unwrap` show; `{:#?}` prints the structure.
/// To print an error on purpose, use [`Report`](crate::Report).
///
/// ```
/// use hive_errors::{Error, ErrorKind};
///
/// let error = Error::new(ErrorKind::PayloadTooLarge, "input is larger than the limit")
///     .with("bytes", 2_097_152)
///     .with("limit", 1_048_576);
/// assert_eq!(error.to_string(), "input is larger than the limit (bytes=2097152, limit=1048576)");
/// assert_eq!(error.code(), "payload-too-large");
/// assert!(!error.is_retryable());
/// ```
pub struct Error(Box<Inner>);

#[derive(Debug)]
struct Inner {
    kind: ErrorKind,
    message: Cow<'static, str>,
    fields: Vec<(Cow<'static, str>, String)>,
    hint: Option<Cow<'static, str>>,
    retryable: Option<bool>,
    retry_after: Option<Duration>,
    source: Option<Box<dyn StdError + Send + Sync>>,
}

impl Error {
    /// An error of this kind. The message fits after "failed: ": lowercase, no full stop, values in fields.
    pub fn new(kind: ErrorKind, message: impl Into<Cow<'static, str>>) -> Self {
        Self(Box::new(Inner {
            kind,
            message: message.into(),
            fields: Vec::new(),
            hint: None,
            retryable: None,
            retry_after: None,
            source: None,
        }))
    }

    /// Adds a named value; a second value of the same name replaces the first.
    #[must_use]
    pub fn with(self, field: &'static str, value: impl fmt::Display) -> Self {
        self.with_named(Cow::Borrowed(field), value.to_string())
    }

    /// As [`with`](Self::with), for names that come from stored data.
    pub(crate) fn with_named(mut self, name: Cow<'static, str>, value: String) -> Self {
        match self.0.fields.iter_mut().find(|(known, _)| *known == name) {
            Some((_, old)) => *old = value,
            None => self.0.fields.push((name, value)),
        }
        self
    }

    /// Says what to do next in this very case; without it the kind's hint stands.
    #[must_use]
    pub fn with_hint(mut self, hint: impl Into<Cow<'static, str>>) -> Self {
        self.0.hint = Some(hint.into());
        self
    }

    /// Names the error that caused this one.
    #[must_use]
    pub fn with_source(mut self, source: impl Into<Box<dyn StdError + Send + Sync>>) -> Self {
        self.0.source = Some(source.into());
        self
    }

    /// Says how long to wait, at least, before trying again. It does not by itself make an error retryable.
    #[must_use]
    pub fn with_retry_after(mut self, after: Duration) -> Self {
        self.0.retry_after = Some(after);
        self
    }

    /// Overrules the kind: the same call may succeed later.
    #[must_use]
    pub fn retryable(mut self) -> Self {
        self.0.retryable = Some(true);
        self
    }

    /// Overrules the kind: the same call cannot succeed.
    #[must_use]
    pub fn terminal(mut self) -> Self {
        self.0.retryable = Some(false);
        self
    }

    /// This layer once more, for another who must hear of it. What caused it stays with the first.
    #[must_use]
    pub fn echo(&self) -> Self {
        Self(Box::new(Inner {
            kind: self.0.kind,
            message: self.0.message.clone(),
            fields: self.0.fields.clone(),
            hint: self.0.hint.clone(),
            retryable: self.0.retryable,
            retry_after: self.0.retry_after,
            source: None,
        }))
    }

    /// What went wrong.
    pub fn kind(&self) -> ErrorKind {
        self.0.kind
    }

    /// The kind's stable name, for example `payload-too-large`.
    pub fn code(&self) -> &'static str {
        self.0.kind.code()
    }

    /// Whether the same call, unchanged, may succeed later: the kind's verdict unless overruled.
    pub fn is_retryable(&self) -> bool {
        self.0.retryable.unwrap_or_else(|| self.0.kind.is_retryable())
    }

    /// The least time to wait before trying again, where it is known.
    pub fn retry_after(&self) -> Option<Duration> {
        self.0.retry_after
    }

    /// The message, without fields.
    pub fn message(&self) -> &str {
        &self.0.message
    }

    /// What to do next, in one line.
    pub fn hint(&self) -> &str {
        self.own_hint().unwrap_or_else(|| self.0.kind.hint())
    }

    /// The hint set on this error, as opposed to its kind's.
    pub(crate) fn own_hint(&self) -> Option<&str> {
        self.0.hint.as_deref()
    }

    /// The value of a field of this layer.
    pub fn field(&self, name: &str) -> Option<&str> {
        self.fields()
            .find_map(|(known, value)| (known == name).then_some(value))
    }

    /// The fields of this layer in the order they were added.
    pub fn fields(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0
            .fields
            .iter()
            .map(|(name, value)| (name.as_ref(), value.as_str()))
    }
}

impl StdError for Error {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        self.0
            .source
            .as_deref()
            .map(|source| source as &(dyn StdError + 'static))
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.message())?;
        chain::write_fields(f, self.fields())
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if f.alternate() {
            return fmt::Debug::fmt(&self.0, f);
        }
        let headline = format_args!("{}: {self}", self.code());
        chain::write_report(f, headline, chain::sources(self), Some(self.hint()))
    }
}
