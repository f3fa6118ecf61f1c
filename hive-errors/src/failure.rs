//! What an agent returns when it does not succeed.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::error::Error as StdError;
use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::chain;
use crate::error::Error;
use crate::kind::ErrorKind;
use crate::millis;

mod stored;
#[cfg(test)]
mod tests;
mod text;

/// Why an agent's attempt did not succeed, and whether another attempt may.
///
/// Any error becomes a retryable failure through `?`; [`Failure::terminal`] says that trying again is of no use. A
/// [`hive_errors::Error`](Error) keeps its kind, fields, hint and retry time on the way, and is terminal unless it
/// [is retryable](Error::is_retryable). The causes are kept as text, since a failure is stored and outlives the process.
///
/// It is deliberately no [`std::error::Error`], for otherwise `?` could not convert every error. Use
/// [`into_error`](Self::into_error) where one is needed.
///
/// ```
/// use hive_errors::Failure;
///
/// fn count(text: &str) -> Result<u32, Failure> {
///     if text.is_empty() {
///         return Err(Failure::terminal("there is nothing to count"));
///     }
///     Ok(text.parse()?)
/// }
///
/// assert!(count("").unwrap_err().is_terminal());
/// assert!(!count("many").unwrap_err().is_terminal());
/// ```
///
/// # Limits
///
/// Failures are stored with every attempt, so their size is bounded: 4096 bytes of message, 1024 of hint, 16 causes of
/// 1024 bytes, 32 fields with names of 64 bytes and values of 1024. Longer text is cut at a character and ends with
/// `… [cut at N bytes]`, within the limit. Of too many causes the outermost and the root are kept; of too many fields
/// the first, and the field `fields_left_out` counts the others.
///
/// # Serialised form
///
/// `{"v":1,"kind":"agent-failed","terminal":false,"message":"…"}`, and where they are present `fields` (an object of
/// strings), `hint`, `causes` (outermost first) and `retry_after_ms`. Unknown keys are ignored, so that a release may add
/// some; an unknown version is refused. A kind of a later release reads as `agent-failed` with the field `unknown_kind`.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(into = "stored::Stored", try_from = "stored::Stored")]
pub struct Failure(Box<Inner>);

#[derive(Clone, Debug, PartialEq, Eq)]
struct Inner {
    kind: ErrorKind,
    terminal: bool,
    message: String,
    // Sorted, so that it prints the same before and after it was stored.
    fields: BTreeMap<String, String>,
    hint: Option<String>,
    causes: Vec<String>,
    // Whole milliseconds, as it is stored.
    retry_after: Option<Duration>,
}

/// A page of text; longer messages are usually data that belongs elsewhere.
const MESSAGE_BYTES_MAX: usize = 4096;
const HINT_BYTES_MAX: usize = 1024;
/// Deep enough for any chain seen in practice; with the size of one this bounds a failure to some 70 KiB.
const CAUSES_MAX: usize = 16;
const CAUSE_BYTES_MAX: usize = 1024;
const FIELDS_MAX: usize = 32;
const FIELD_NAME_BYTES_MAX: usize = 64;
const FIELD_VALUE_BYTES_MAX: usize = 1024;
const FIELDS_LEFT_OUT: &str = "fields_left_out";

impl Failure {
    fn new(message: String, terminal: bool) -> Self {
        Self(Box::new(Inner {
            kind: ErrorKind::AgentFailed,
            terminal,
            message: text::cut(message, MESSAGE_BYTES_MAX),
            fields: BTreeMap::new(),
            hint: None,
            causes: Vec::new(),
            retry_after: None,
        }))
    }

    /// A failure after which another attempt may succeed.
    pub fn retryable(message: impl Into<String>) -> Self {
        Self::new(message.into(), false)
    }

    /// A failure that no further attempt can change.
    pub fn terminal(message: impl Into<String>) -> Self {
        Self::new(message.into(), true)
    }

    /// Adds a named value; a second value of the same name replaces the first.
    #[must_use]
    pub fn with(mut self, field: impl Into<Cow<'static, str>>, value: impl fmt::Display) -> Self {
        let name = text::cut(field.into().into_owned(), FIELD_NAME_BYTES_MAX);
        let value = text::cut(value.to_string(), FIELD_VALUE_BYTES_MAX);
        let fields = &mut self.0.fields;
        let counted = fields.len() - usize::from(fields.contains_key(FIELDS_LEFT_OUT));
        if counted < FIELDS_MAX || name == FIELDS_LEFT_OUT || fields.contains_key(&name) {
            fields.insert(name, value);
        } else {
            let left_out = fields
                .get(FIELDS_LEFT_OUT)
                .and_then(|count| count.parse::<u64>().ok())
                .unwrap_or(0);
            fields.insert(FIELDS_LEFT_OUT.to_owned(), left_out.saturating_add(1).to_string());
        }
        self
    }

    /// Sets what went wrong. Whether the failure is terminal stays as it is.
    #[must_use]
    pub fn with_kind(mut self, kind: ErrorKind) -> Self {
        self.0.kind = kind;
        self
    }

    /// Says what to do next in this very case; without it the kind's hint stands.
    #[must_use]
    pub fn with_hint(mut self, hint: impl Into<String>) -> Self {
        self.0.hint = Some(text::cut(hint.into(), HINT_BYTES_MAX));
        self
    }

    /// Says how long to wait, at least, before the next attempt; in whole milliseconds, rounded up.
    #[must_use]
    pub fn with_retry_after(mut self, after: Duration) -> Self {
        self.0.retry_after = Some(Duration::from_millis(millis::ceil(after)));
        self
    }

    /// The same failure, but no further attempt is made.
    #[must_use]
    pub fn into_terminal(mut self) -> Self {
        self.0.terminal = true;
        self
    }

    /// The same failure, but another attempt may be made.
    #[must_use]
    pub fn into_retryable(mut self) -> Self {
        self.0.terminal = false;
        self
    }

    /// The same failure seen from further out: `message` is what went wrong there, and what stood here is its first
    /// cause. Fields go with the layer they belong to; the rest stays.
    pub(crate) fn wrapped(mut self, message: String) -> Self {
        let below = self.to_string();
        let causes = std::mem::take(&mut self.0.causes);
        self.0.fields.clear();
        self.0.message = text::cut(message, MESSAGE_BYTES_MAX);
        self.with_causes(std::iter::once(below).chain(causes))
    }

    fn with_causes(mut self, causes: impl IntoIterator<Item = String>) -> Self {
        self.0.causes = text::cut_list(causes.into_iter().collect(), CAUSES_MAX, CAUSE_BYTES_MAX);
        self
    }

    /// Whether no further attempt is to be made.
    pub fn is_terminal(&self) -> bool {
        self.0.terminal
    }

    /// What went wrong; [`ErrorKind::AgentFailed`] unless something more precise is known.
    pub fn kind(&self) -> ErrorKind {
        self.0.kind
    }

    /// The message, without fields.
    pub fn message(&self) -> &str {
        &self.0.message
    }

    /// The fields in the order of their names.
    pub fn fields(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0
            .fields
            .iter()
            .map(|(name, value)| (name.as_str(), value.as_str()))
    }

    /// The value of a field.
    pub fn field(&self, name: &str) -> Option<&str> {
        self.0.fields.get(name).map(String::as_str)
    }

    /// What led to this, outermost first.
    pub fn causes(&self) -> &[String] {
        &self.0.causes
    }

    /// The least time to wait before the next attempt, where it is known.
    pub fn retry_after(&self) -> Option<Duration> {
        self.0.retry_after
    }

    /// What to do next, in one line.
    pub fn hint(&self) -> &str {
        self.0.hint.as_deref().unwrap_or_else(|| self.0.kind.hint())
    }

    /// The same as an [`Error`]: kind, verdict on retrying, fields, hint and retry time stay, and the causes become its
    /// chain of sources.
    pub fn into_error(self) -> Error {
        let Inner {
            kind,
            terminal,
            message,
            fields,
            hint,
            causes,
            retry_after,
        } = *self.0;
        let error = Error::new(kind, message);
        let mut error = if terminal { error.terminal() } else { error.retryable() };
        for (name, value) in fields {
            error = error.with_named(Cow::Owned(name), value);
        }
        if let Some(hint) = hint {
            error = error.with_hint(hint);
        }
        if let Some(after) = retry_after {
            error = error.with_retry_after(after);
        }
        let chain = causes
            .into_iter()
            .rev()
            .fold(None, |below, message| Some(Box::new(Cause { message, below })));
        match chain {
            Some(cause) => error.with_source(cause as Box<dyn StdError + Send + Sync>),
            None => error,
        }
    }
}

impl<E: StdError + Send + Sync + 'static> From<E> for Failure {
    /// Keeps the chain of sources as causes. A hive [`Error`] also keeps kind, fields, hint and retry time, and is
    /// terminal unless it is retryable; any other error is retryable.
    fn from(error: E) -> Self {
        let error: &(dyn StdError + 'static) = &error;
        let failure = match error.downcast_ref::<Error>() {
            Some(error) => Self::from_hive(error),
            None => Self::retryable(error.to_string()),
        };
        failure.with_causes(chain::sources(error).map(ToString::to_string))
    }
}

impl Failure {
    fn from_hive(error: &Error) -> Self {
        let mut failure = Self::new(error.message().to_owned(), !error.is_retryable()).with_kind(error.kind());
        for (name, value) in error.fields() {
            failure = failure.with(name.to_owned(), value);
        }
        if let Some(hint) = error.own_hint() {
            failure = failure.with_hint(hint);
        }
        match error.retry_after() {
            Some(after) => failure.with_retry_after(after),
            None => failure,
        }
    }
}

impl From<Failure> for Error {
    fn from(failure: Failure) -> Self {
        failure.into_error()
    }
}

impl fmt::Display for Failure {
    /// Prints this layer only: `message (field=value, …)`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.message())?;
        chain::write_fields(f, self.fields())
    }
}

impl fmt::Debug for Failure {
    /// Prints everything for people, as [`Error`] does; `{:#?}` prints the structure.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if f.alternate() {
            return fmt::Debug::fmt(&self.0, f);
        }
        let headline = format_args!("{}: {self}", self.kind());
        chain::write_report(f, headline, self.causes().iter(), Some(self.hint()))
    }
}

/// One stored cause, given back its place in a chain of sources.
#[derive(Debug)]
struct Cause {
    message: String,
    below: Option<Box<Cause>>,
}

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl StdError for Cause {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        self.below.as_deref().map(|cause| cause as &(dyn StdError + 'static))
    }
}
