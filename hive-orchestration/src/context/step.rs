//! Steps: named pieces of work whose outcome is remembered.

use std::future::{Future, IntoFuture};
use std::marker::PhantomData;
use std::pin::Pin;
use std::time::Duration;

use hive_core::clock;
use hive_core::payload::Payload;
use hive_errors::{Failure, RetryPolicy};
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::Context;
use super::drift::Recall;
use crate::journal::{self, Entry, Kind, Record, Standing};
use crate::limits;
use crate::queue::StepNews;

/// What a step does to the world outside the hive's database.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Effect {
    /// Running it again does no harm: it only reads, or the other side recognises a repetition (give it
    /// [`Context::idempotency_key`]). It runs at least once and, once it is on record, never again. The default.
    #[default]
    Repeatable,
    /// Running it twice would do harm. Its start is on record before it runs; when the process dies in between, the task
    /// waits for a person who finds out what happened ([`TaskHandle::decide`](crate::TaskHandle::decide)).
    AtMostOnce,
}

/// A step about to run; await it. Made by [`Context::step`].
#[must_use = "a step runs when it is awaited"]
pub struct Step<'a, F, T> {
    cx: &'a Context,
    name: &'a str,
    work: F,
    retry: RetryPolicy,
    timeout: Option<Duration>,
    effect: Effect,
    output: PhantomData<fn() -> T>,
}

impl Context {
    /// Runs `work` and remembers its output under `name`, for ever: after an interruption the output comes from the
    /// record and the work is not done again.
    ///
    /// The record is on disk before the output is handed over. An error is not recorded: the step is retried by
    /// [`Step::retry`], then the failure is the agent's to deal with.
    ///
    /// Write `async || …` without `move`: the closure borrows what it needs and can be called again for a retry.
    ///
    /// # Failures
    /// The step's own; terminal when its name is not valid or its output is larger than
    /// [`PAYLOAD_BYTES`](crate::limits::PAYLOAD_BYTES).
    ///
    /// # Cancel safety
    /// Dropped while the work runs, it runs again when the task comes back to it; dropped later, it may.
    pub fn step<'a, F, Fut, T, E>(&'a self, name: &'a str, work: F) -> Step<'a, F, T>
    where
        F: FnMut() -> Fut + Send + 'a,
        Fut: Future<Output = Result<T, E>> + Send + 'a,
        E: Into<Failure> + Send + 'a,
        T: Serialize + DeserializeOwned + Send + 'a,
    {
        Step {
            cx: self,
            name,
            work,
            retry: RetryPolicy::none(),
            timeout: None,
            effect: Effect::default(),
            output: PhantomData,
        }
    }
}

impl<F, T> Step<'_, F, T> {
    /// Tries again at once, within the same attempt, when the work fails and its failure is not terminal. None unless set.
    pub fn retry(mut self, policy: RetryPolicy) -> Self {
        self.retry = policy;
        self
    }

    /// Gives up on one try of the work after this long; the attempt's own timeout is the only bound unless set. A step
    /// that must not run twice is not tried again then: it waits for a person, as after a crash.
    pub fn timeout(mut self, limit: Duration) -> Self {
        self.timeout = Some(limit);
        self
    }

    /// Says what the work does to the outside world; [`Effect::Repeatable`] unless set.
    pub fn effect(mut self, effect: Effect) -> Self {
        self.effect = effect;
        self
    }
}

impl<'a, F, Fut, T, E> IntoFuture for Step<'a, F, T>
where
    F: FnMut() -> Fut + Send + 'a,
    Fut: Future<Output = Result<T, E>> + Send + 'a,
    E: Into<Failure> + Send + 'a,
    T: Serialize + DeserializeOwned + Send + 'a,
{
    type Output = Result<T, Failure>;
    type IntoFuture = Pin<Box<dyn Future<Output = Self::Output> + Send + 'a>>;

    fn into_future(self) -> Self::IntoFuture {
        Box::pin(self.run())
    }
}

impl<'a, F, Fut, T, E> Step<'a, F, T>
where
    F: FnMut() -> Fut + Send + 'a,
    Fut: Future<Output = Result<T, E>> + Send + 'a,
    E: Into<Failure> + Send + 'a,
    T: Serialize + DeserializeOwned + Send + 'a,
{
    async fn run(mut self) -> Result<T, Failure> {
        let kind = match self.effect {
            Effect::Repeatable => Kind::Step,
            Effect::AtMostOnce => Kind::Once,
        };
        let key = self.cx.key(kind, self.name)?;
        loop {
            match self.cx.recall::<T>(&key, kind).await {
                Recall::Done(output) => return Ok(output),
                Recall::New | Recall::Begun | Recall::Over => {}
            }
            let _working = self.cx.run.activity.work();
            if kind == Kind::Once {
                self.cx.begin_once(&key).await?;
            }
            match self.tries(kind, &key).await {
                Ok(output) => {
                    let value = Payload::encode(&output, limits::PAYLOAD_BYTES)?;
                    self.cx.remember(&key, kind, std::any::type_name::<T>(), value).await?;
                    return Ok(output);
                }
                Err(Unsuccessful::Failed(failure)) => {
                    if kind == Kind::Once {
                        self.cx.forget_once(&key).await?;
                    }
                    return Err(failure.with("step", self.name));
                }
                // On record as begun: a person decides.
                Err(Unsuccessful::CutOff) => {}
            }
        }
    }

    async fn tries(&mut self, kind: Kind, key: &str) -> Result<T, Unsuccessful> {
        let queue = &self.cx.run.queue;
        let begins = if kind == Kind::Once {
            StepNews::BeginsOnce
        } else {
            StepNews::Begins
        };
        let mut failures = 0;
        loop {
            queue.tell_step(self.cx.task_id(), key, begins);
            let once = (self.work)();
            let outcome = match self.timeout {
                Some(limit) => match clock::timeout(&*queue.clock, limit, once).await {
                    Ok(outcome) => outcome.map_err(Into::into),
                    Err(_) if kind == Kind::Once => return Err(Unsuccessful::CutOff),
                    Err(late) => Err(late.into()),
                },
                None => once.await.map_err(Into::into),
            };
            let failure: Failure = match outcome {
                Ok(output) => return Ok(output),
                Err(failure) => failure,
            };
            failures += 1;
            if failure.is_terminal() {
                return Err(Unsuccessful::Failed(failure));
            }
            match self
                .retry
                .delay_after(failures, queue.rng.next_u64(), failure.retry_after())
            {
                Some(delay) => queue.clock.sleep(delay).await,
                None => return Err(Unsuccessful::Failed(failure)),
            }
        }
    }
}

/// Why there is no output.
enum Unsuccessful {
    Failed(Failure),
    /// By the time limit, and it must not run twice: nobody knows how far it came.
    CutOff,
}

impl Context {
    /// Writes an outcome to the journal; it is on disk when this returns.
    async fn remember(&self, key: &str, kind: Kind, type_name: &'static str, value: Payload) -> Result<(), Failure> {
        let record = Record {
            lease: self.run.lease(),
            at: self.run.queue.clock.now(),
            key: key.to_owned(),
            kind,
            type_name,
            value,
        };
        self.run.remember(record).await?;
        self.run.queue.tell_step(self.task_id(), key, StepNews::Remembered);
        Ok(())
    }

    async fn begin_once(&self, key: &str) -> Result<(), Failure> {
        let (lease, now, stored_key) = (self.run.lease(), self.run.queue.clock.now(), key.to_owned());
        self.run
            .tell(move |tx| journal::begin_once(tx, lease, now, &stored_key))
            .await?;
        let begun = Entry {
            kind: Kind::Once,
            standing: Standing::Pending,
            value: None,
        };
        self.run.journal().put(key.to_owned(), begun);
        Ok(())
    }

    async fn forget_once(&self, key: &str) -> Result<(), Failure> {
        let (lease, key) = (self.run.lease(), key.to_owned());
        self.run.tell(move |tx| journal::forget_once(tx, lease, &key)).await?;
        Ok(())
    }
}
