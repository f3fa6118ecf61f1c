//! What an agent, or a hive asked by one, returns when something did not work.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::error::Error;
use std::fmt;
use std::time::Duration;

mod parts;
#[cfg(test)]
mod tests;

pub(crate) use parts::Parts;

/// Why something did not work, and whether trying again may help.
///
/// Any error becomes a retryable failure through `?`. [`Failure::terminal`] says that no further attempt can succeed.
/// This is not a [`std::error::Error`] itself, which is what lets `?` convert everything that is.
///
/// ```
/// use hive_plugin_sdk::Failure;
///
/// fn parse(text: &str) -> Result<u32, Failure> {
///     let number: u32 = text.trim().parse()?;
///     if number == 0 {
///         return Err(Failure::terminal("zero is not a size").with("text", text));
///     }
///     Ok(number)
/// }
///
/// assert!(!parse("x").unwrap_err().is_terminal());
/// assert_eq!(parse("0").unwrap_err().to_string(), "zero is not a size (text=0)");
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    // Boxed, because it is the rare half of every result.
    inner: Box<Inner>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Inner {
    code: Cow<'static, str>,
    message: String,
    retryable: bool,
    retry_after: Option<Duration>,
    fields: BTreeMap<String, String>,
    hint: Option<String>,
    causes: Vec<String>,
}

impl Failure {
    /// A failure that another attempt may get over.
    pub fn retryable(message: impl Into<String>) -> Self {
        let inner = Inner {
            code: Cow::Borrowed("agent-failed"),
            message: message.into(),
            retryable: true,
            retry_after: None,
            fields: BTreeMap::new(),
            hint: None,
            causes: Vec::new(),
        };
        Self { inner: Box::new(inner) }
    }

    /// A failure that no further attempt can get over.
    pub fn terminal(message: impl Into<String>) -> Self {
        Self::retryable(message).into_terminal()
    }

    /// The same failure, not to be tried again.
    #[must_use]
    pub fn into_terminal(mut self) -> Self {
        self.inner.retryable = false;
        self
    }

    /// Names what kind of failure this is, in kebab case. The default is `agent-failed`.
    #[must_use]
    pub fn with_code(mut self, code: impl Into<Cow<'static, str>>) -> Self {
        self.inner.code = code.into();
        self
    }

    /// Adds a value that belongs to the message.
    #[must_use]
    pub fn with(mut self, field: impl Into<String>, value: impl fmt::Display) -> Self {
        self.inner.fields.insert(field.into(), value.to_string());
        self
    }

    /// Says what to do about it.
    #[must_use]
    pub fn with_hint(mut self, hint: impl Into<String>) -> Self {
        self.inner.hint = Some(hint.into());
        self
    }

    /// Asks for at least this much time before the next attempt. Counted in whole milliseconds.
    #[must_use]
    pub fn with_retry_after(mut self, after: Duration) -> Self {
        self.inner.retry_after = Some(after);
        self
    }

    /// Adds what this failure was caused by, the nearest first.
    #[must_use]
    pub fn with_cause(mut self, cause: impl fmt::Display) -> Self {
        self.inner.causes.push(cause.to_string());
        self
    }

    /// What kind of failure this is.
    pub fn code(&self) -> &str {
        &self.inner.code
    }

    /// What went wrong, without its fields.
    pub fn message(&self) -> &str {
        &self.inner.message
    }

    /// Whether no further attempt can succeed.
    pub fn is_terminal(&self) -> bool {
        !self.inner.retryable
    }

    /// The least time to let pass before the next attempt.
    pub fn retry_after(&self) -> Option<Duration> {
        self.inner.retry_after
    }

    /// The value of a field.
    pub fn field(&self, name: &str) -> Option<&str> {
        self.inner.fields.get(name).map(String::as_str)
    }

    /// All fields, by name.
    pub fn fields(&self) -> impl Iterator<Item = (&str, &str)> {
        self.inner
            .fields
            .iter()
            .map(|(name, value)| (name.as_str(), value.as_str()))
    }

    /// What to do about it, where that is known.
    pub fn hint(&self) -> Option<&str> {
        self.inner.hint.as_deref()
    }

    /// What this failure was caused by, the nearest first.
    pub fn causes(&self) -> &[String] {
        &self.inner.causes
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.inner.message)?;
        for (position, (name, value)) in self.inner.fields.iter().enumerate() {
            f.write_str(if position == 0 { " (" } else { ", " })?;
            write!(f, "{name}={value}")?;
        }
        if self.inner.fields.is_empty() {
            Ok(())
        } else {
            f.write_str(")")
        }
    }
}

impl<E: Error + Send + Sync + 'static> From<E> for Failure {
    fn from(error: E) -> Self {
        let mut failure = Self::retryable(error.to_string());
        let mut source = error.source();
        while let Some(cause) = source {
            failure = failure.with_cause(cause);
            source = cause.source();
        }
        failure
    }
}
