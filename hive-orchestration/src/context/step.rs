//! Steps: named pieces of work whose outcome is remembered.

use std::future::{Future, IntoFuture};
use std::marker::PhantomData;
use std::pin::Pin;
use std::time::Duration;

use hive_core::clock;
use hive_core::payload::Payload;
use hive_errors::{Failure, Result as HiveResult, RetryPolicy};
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::Context;
use super::activity::Working;
use super::budget::Held;
use super::drift::{Asked, Recall};
use crate::budget::Spend;
use crate::budget::meter::metered;
use crate::drift::Drift;
use crate::journal::{self, Entry, Kind, Mark, Record, Standing};
use crate::limits;
use crate::queue::StepNews;
use crate::queue::undo::Undo;

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
    pub(crate) name: &'a str,
    work: F,
    retry: RetryPolicy,
    timeout: Option<Duration>,
    effect: Effect,
    pub(crate) undo: Option<Undoes<'a, T>>,
    budget: Option<Spend>,
    version: u32,
    drift: Drift,
    output: PhantomData<fn() -> T>,
}

/// Makes the call that takes back what gave this output.
pub(crate) type Undoes<'a, T> = Box<dyn Fn(&T) -> HiveResult<Undo> + Send + 'a>;

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
            undo: None,
            budget: None,
            version: 0,
            drift: Drift::default(),
            output: PhantomData,
        }
    }
}

impl<'a, F, T> Step<'a, F, T> {
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

    /// Reserves so much of the task's [budget](crate::budget) before each try of the work, and waits when there is not so much;
    /// [`Budget::each_step`](crate::budget::Budget::each_step) unless set. What was really used is settled together with the output.
    pub fn budget(mut self, need: Spend) -> Self {
        self.budget = Some(need);
        self
    }

    /// Which version of the work this is; 0 unless set. It stands beside the output, and where another one does the record has
    /// [drifted](crate::drift). Raise it when what the step does has changed so that an old output is not what the code after it wants.
    pub fn version(mut self, version: u32) -> Self {
        self.version = version;
        self
    }

    /// What to do when what is on record under this name does not fit: [`Drift::Pause`] unless set.
    pub fn on_drift(mut self, policy: Drift) -> Self {
        self.drift = policy;
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
        // Counted with the step's, whether the step runs or not.
        let undo_key = match self.undo {
            Some(_) => Some(self.cx.key(Kind::Undo, self.name)?),
            None => None,
        };
        let asked = Asked {
            kind,
            mark: Mark {
                version: self.version,
                ..Mark::default()
            },
            policy: self.drift,
        };
        loop {
            match self.cx.recall_as::<T>(&key, &asked).await? {
                Recall::Done(output) => return Ok(output),
                Recall::New | Recall::Begun | Recall::Over => {}
            }
            let mut working = Some(self.cx.run.activity.work());
            match self.tries(kind, &key, &mut working).await {
                Ok((output, held)) => {
                    let record = match self.record(&key, kind, undo_key, &output) {
                        Ok(record) => record,
                        Err(failure) => {
                            if let Some(held) = &held {
                                self.cx.settle(&key, held, false).await?;
                            }
                            return Err(failure);
                        }
                    };
                    self.cx.remember(record, held, self.version).await?;
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

    /// The journal's entry for an output.
    fn record(&self, key: &str, kind: Kind, undo_key: Option<String>, output: &T) -> Result<Record, Failure> {
        let value = Payload::encode(output, limits::PAYLOAD_BYTES)?;
        let also = match (undo_key, &self.undo) {
            (Some(key), Some(call)) => Some(Box::new(self.cx.undo_record(key, call(output)?)?)),
            _ => None,
        };
        Ok(Record {
            lease: self.cx.run.lease(),
            at: self.cx.run.queue.clock.now(),
            key: key.to_owned(),
            kind,
            type_name: std::any::type_name::<T>(),
            value,
            also,
        })
    }

    /// Tries until there is an output, which comes with the reservation of the try that brought it.
    async fn tries(
        &mut self,
        kind: Kind,
        key: &str,
        working: &mut Option<Working<'a>>,
    ) -> Result<(T, Option<Held>), Unsuccessful> {
        let (cx, queue) = (self.cx, &self.cx.run.queue);
        let news = if kind == Kind::Once {
            StepNews::BeginsOnce
        } else {
            StepNews::Begins
        };
        let (mut failures, mut begun) = (0, false);
        loop {
            // Before it is on record as begun: it may have to wait.
            let held = cx.reserve(key, self.budget, working).await?;
            if kind == Kind::Once && !begun {
                cx.begin_once(key).await?;
                begun = true;
            }
            queue.tell_step(cx.task_id(), key, news);
            let (time_left, meter) = held.as_ref().map(|held| (held.time_left, held.meter.clone())).unzip();
            let time_left = time_left.flatten();
            let limit = self.timeout.into_iter().chain(time_left).min();
            let once = metered(meter, (self.work)());
            let mut cut = false;
            let outcome = match limit {
                Some(limit) => match clock::timeout(&*queue.clock, limit, once).await {
                    Ok(outcome) => outcome.map_err(Into::into),
                    Err(late) => {
                        cut = true;
                        Err(late.into())
                    }
                },
                None => once.await.map_err(Into::into),
            };
            let failure: Failure = match outcome {
                Ok(output) => return Ok((output, held)),
                Err(failure) => failure,
            };
            if let Some(held) = &held {
                cx.settle(key, held, cut).await?;
            }
            if cut && kind == Kind::Once {
                return Err(Unsuccessful::CutOff);
            }
            if cut && limit == time_left {
                // The budget's time is over. Whether it is to be waited for, the next reservation tells.
                continue;
            }
            if held.is_some() && begun {
                // The next try may have to wait.
                cx.forget_once(key).await?;
                begun = false;
            }
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

impl From<Failure> for Unsuccessful {
    fn from(failure: Failure) -> Self {
        Self::Failed(failure)
    }
}

impl Context {
    /// Writes an outcome to the journal, with what the try used; it is on disk when this returns.
    async fn remember(&self, record: Record, held: Option<Held>, version: u32) -> Result<(), Failure> {
        let (key, note) = (record.key.clone(), self.run.journal().take_note(&record.key));
        match held {
            Some(held) => self.settle_with(record, &held, version, note).await?,
            None if version == 0 && note.is_none() => self.run.remember(record).await?,
            None => {
                self.run
                    .tell(move |tx| journal::record_marked(tx, &record, version, note.as_deref()))
                    .await?;
            }
        }
        self.run.queue.tell_step(self.task_id(), &key, StepNews::Remembered);
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
