//! Says on the way up what was being done.

use std::borrow::Cow;
use std::error::Error as StdError;

use crate::error::{Error, Result};
use crate::failure::Failure;
use crate::kind::ErrorKind;

#[cfg(test)]
mod tests;

/// Adds a layer to the error of a [`Result`](std::result::Result), or decides about another attempt.
///
/// Implemented for results whose error is a [`std::error::Error`] (a layer makes it an [`Error`]) and for those whose
/// error is a [`Failure`] (it stays one). What is wrapped becomes the source, and is still printed by
/// [`Report`](crate::Report).
///
/// ```
/// use hive_errors::{ErrorKind, Result, ResultExt};
///
/// fn port(text: &str) -> Result<u16> {
///     text.parse::<u16>().or_kind(ErrorKind::Config, "port is not a number")
/// }
///
/// fn listen(text: &str) -> Result<u16> {
///     port(text).context("failed to open the gateway")
/// }
///
/// let error = listen("http").unwrap_err();
/// assert_eq!(error.to_string(), "failed to open the gateway");
/// assert_eq!(error.kind(), ErrorKind::Config); // a layer does not change what went wrong
/// ```
pub trait ResultExt<T>: sealed::Sealed + Sized {
    /// The error once a layer was added: [`Error`], or [`Failure`] if it is one already.
    type Layered;

    /// Says what was being done. Kind, verdict on retrying, retry time and own hint stay those of the error below, if it
    /// is Hive's. Any other error becomes a retryable [`ErrorKind::Internal`], since nothing is known about it; where
    /// you know better, use [`or_kind`](Self::or_kind).
    fn context(self, message: impl Into<Cow<'static, str>>) -> Result<T, Self::Layered>;

    /// As [`context`](Self::context), for a message that is costly to build.
    fn with_context<M: Into<Cow<'static, str>>>(self, message: impl FnOnce() -> M) -> Result<T, Self::Layered>;

    /// Says what went wrong, and by that whether to try again: what the error below thought of either is overruled. Its
    /// retry time stays.
    fn or_kind(self, kind: ErrorKind, message: impl Into<Cow<'static, str>>) -> Result<T, Error>;

    /// Makes any error a failure that no further attempt can change.
    fn terminal(self) -> Result<T, Failure>;

    /// Makes any error a failure after which another attempt may succeed.
    fn retryable(self) -> Result<T, Failure>;
}

impl<T, E: StdError + Send + Sync + 'static> ResultExt<T> for Result<T, E> {
    type Layered = Error;

    fn context(self, message: impl Into<Cow<'static, str>>) -> Result<T, Error> {
        self.map_err(|error| layer(error, message.into()))
    }

    fn with_context<M: Into<Cow<'static, str>>>(self, message: impl FnOnce() -> M) -> Result<T, Error> {
        self.map_err(|error| layer(error, message().into()))
    }

    fn or_kind(self, kind: ErrorKind, message: impl Into<Cow<'static, str>>) -> Result<T, Error> {
        self.map_err(|error| {
            let after = as_hive(&error).and_then(Error::retry_after);
            with_retry_after(Error::new(kind, message), after).with_source(error)
        })
    }

    fn terminal(self) -> Result<T, Failure> {
        self.map_err(|error| Failure::from(error).into_terminal())
    }

    fn retryable(self) -> Result<T, Failure> {
        self.map_err(|error| Failure::from(error).into_retryable())
    }
}

impl<T> ResultExt<T> for Result<T, Failure> {
    type Layered = Failure;

    fn context(self, message: impl Into<Cow<'static, str>>) -> Result<T, Failure> {
        self.map_err(|failure| failure.wrapped(message.into().into_owned()))
    }

    fn with_context<M: Into<Cow<'static, str>>>(self, message: impl FnOnce() -> M) -> Result<T, Failure> {
        self.map_err(|failure| failure.wrapped(message().into().into_owned()))
    }

    fn or_kind(self, kind: ErrorKind, message: impl Into<Cow<'static, str>>) -> Result<T, Error> {
        self.map_err(Failure::into_error).or_kind(kind, message)
    }

    fn terminal(self) -> Result<T, Failure> {
        self.map_err(Failure::into_terminal)
    }

    fn retryable(self) -> Result<T, Failure> {
        self.map_err(Failure::into_retryable)
    }
}

fn layer<E: StdError + Send + Sync + 'static>(below: E, message: Cow<'static, str>) -> Error {
    let error = match as_hive(&below) {
        Some(below) => {
            let error = Error::new(below.kind(), message);
            let error = if below.is_retryable() {
                error.retryable()
            } else {
                error.terminal()
            };
            let error = with_retry_after(error, below.retry_after());
            match below.own_hint() {
                Some(hint) => error.with_hint(hint.to_owned()),
                None => error,
            }
        }
        None => Error::new(ErrorKind::Internal, message).retryable(),
    };
    error.with_source(below)
}

fn with_retry_after(error: Error, after: Option<std::time::Duration>) -> Error {
    match after {
        Some(after) => error.with_retry_after(after),
        None => error,
    }
}

fn as_hive<E: StdError + 'static>(error: &E) -> Option<&Error> {
    (error as &(dyn StdError + 'static)).downcast_ref()
}

mod sealed {
    /// Keeps the trait open to new methods.
    pub trait Sealed {}

    impl<T, E: std::error::Error + Send + Sync + 'static> Sealed for Result<T, E> {}
    impl<T> Sealed for Result<T, crate::failure::Failure> {}
}
