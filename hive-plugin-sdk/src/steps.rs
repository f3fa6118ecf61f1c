//! Pieces of a task whose results are remembered, so that a later attempt does not do them again. Needs the capability
//! `steps`.

use std::fmt;
use std::future::IntoFuture;
use std::marker::PhantomData;
use std::pin::Pin;

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::failure::Failure;
use crate::{host, json};

#[cfg(test)]
mod tests;

/// What a step does to the world outside.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Effect {
    /// Doing it again does no harm: it only computes or reads, or the other side recognises a repetition. A crash before
    /// the result is remembered repeats it. This is the default.
    #[default]
    Repeatable,
    /// Doing it twice would do harm. A crash before the result is remembered gives the next attempt a failure with the
    /// code `indeterminate`, for a person to decide, instead of repeating it.
    AtMostOnce,
}

impl Effect {
    fn options(self) -> &'static str {
        match self {
            Self::Repeatable => "{}",
            Self::AtMostOnce => r#"{"effect":"at-most-once"}"#,
        }
    }
}

/// Does `work`, or returns what it returned in an earlier attempt.
///
/// The second step of the same name in one attempt is another step, and so on, so a name may stand in a loop.
///
/// ```
/// use hive_plugin_sdk::{Failure, random, steps};
///
/// fn draw() -> Result<u64, Failure> {
///     steps::remember("draw", || Ok::<_, Failure>(random::next_u64()))
/// }
///
/// # use hive_plugin_sdk::testing::TestHost;
/// let host = TestHost::new();
/// let first = host.attempt("task_1", draw).unwrap();
/// assert_eq!(host.attempt("task_1", draw).unwrap(), first);
/// ```
///
/// # Errors
///
/// What `work` returned; the hive's; a terminal failure with the code `drift` when what is remembered does not fit `T`.
pub fn remember<T, E>(name: &str, work: impl FnOnce() -> Result<T, E>) -> Result<T, Failure>
where
    T: Serialize + DeserializeOwned,
    E: Into<Failure>,
{
    remember_as(name, Effect::default(), work)
}

/// As [`remember`], and says what repeating the step would do.
///
/// # Errors
///
/// As [`remember`], and a failure with the code `indeterminate` for a step that must not be repeated and may have run.
pub fn remember_as<T, E>(name: &str, effect: Effect, work: impl FnOnce() -> Result<T, E>) -> Result<T, Failure>
where
    T: Serialize + DeserializeOwned,
    E: Into<Failure>,
{
    match begin(name, effect)? {
        Begun::Remembered(value) => Ok(value),
        Begun::New(id) => finish(id, work().map_err(Into::into)),
    }
}

enum Begun<T> {
    Remembered(T),
    New(u64),
}

fn begin<T: DeserializeOwned>(name: &str, effect: Effect) -> Result<Begun<T>, Failure> {
    let (id, remembered) = host::steps_begin(name, effect.options())?;
    match remembered {
        Some(text) => serde_json::from_str(&text).map(Begun::Remembered).map_err(|error| {
            Failure::terminal("what the step returned earlier does not fit its type now")
                .with_code("drift")
                .with("step", name)
                .with("reason", error)
                .with_hint("give a step whose result has another type another name")
        }),
        None => Ok(Begun::New(id)),
    }
}

fn finish<T: Serialize>(id: u64, outcome: Result<T, Failure>) -> Result<T, Failure> {
    let written = outcome.and_then(|value| Ok((json::encode("the step's result", &value)?, value)));
    match written {
        Ok((text, value)) => host::steps_finish(id, Ok(&text)).map(|()| value),
        Err(failure) => {
            host::steps_finish(id, Err(&failure))?;
            Err(failure)
        }
    }
}

/// A step that [`Context::step`](crate::Context::step) made. Nothing happens before it is awaited.
#[must_use = "a step does nothing unless it is awaited"]
pub struct Step<'a, F, O> {
    name: &'a str,
    effect: Effect,
    work: F,
    outcome: PhantomData<fn() -> O>,
}

impl<'a, F, O> Step<'a, F, O> {
    pub(crate) fn new(name: &'a str, work: F) -> Self {
        Self {
            name,
            effect: Effect::default(),
            work,
            outcome: PhantomData,
        }
    }

    /// Says what repeating the step would do.
    pub fn effect(mut self, effect: Effect) -> Self {
        self.effect = effect;
        self
    }
}

impl<F, O> fmt::Debug for Step<'_, F, O> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Step")
            .field("name", &self.name)
            .field("effect", &self.effect)
            .finish_non_exhaustive()
    }
}

impl<'a, F, T, E> IntoFuture for Step<'a, F, Result<T, E>>
where
    F: AsyncFnOnce() -> Result<T, E> + 'a,
    T: Serialize + DeserializeOwned + 'a,
    E: Into<Failure> + 'a,
{
    type Output = Result<T, Failure>;
    type IntoFuture = Pin<Box<dyn Future<Output = Self::Output> + 'a>>;

    fn into_future(self) -> Self::IntoFuture {
        Box::pin(async move {
            match begin(self.name, self.effect)? {
                Begun::Remembered(value) => Ok(value),
                Begun::New(id) => finish(id, (self.work)().await.map_err(Into::into)),
            }
        })
    }
}
