//! Steps that hand out their output piece by piece while they go on, such as a model's words.

mod pieces;

use std::fmt;
use std::future::{Future, IntoFuture};
use std::marker::PhantomData;
use std::pin::{Pin, pin};
use std::time::Duration;

use hive_core::clock;
use hive_core::payload::Payload;
use hive_errors::{Failure, RetryPolicy};
use serde::Serialize;
use serde::de::DeserializeOwned;

pub use self::pieces::Pieces;
use self::pieces::over;
use super::Context;
use super::drift::Recall;
use crate::journal::Kind;
use crate::limits;

/// A step that hands out pieces, about to run; await it. Made by [`Context::stream_step`].
#[must_use = "a step runs when it is awaited"]
pub struct StreamStep<'a, F, T> {
    cx: &'a Context,
    name: &'a str,
    work: F,
    retry: RetryPolicy,
    timeout: Option<Duration>,
    output: PhantomData<fn() -> T>,
}

impl Context {
    /// Runs `work` and remembers its output under `name`, as [`Context::step`] does, and keeps the [`Pieces`] that it hands out on the
    /// way: [`TaskHandle::pieces`](crate::TaskHandle::pieces) reads them while it goes on, and afterwards.
    ///
    /// ```
    /// # use hive_orchestration::{Context, Failure};
    /// # async fn words() -> Result<Option<String>, Failure> { Ok(None) }
    /// # async fn run(cx: &Context) -> Result<(), Failure> {
    /// let draft: String = cx
    ///     .stream_step("draft", async |out| {
    ///         let mut text = String::new();
    ///         while let Some(word) = words().await? {
    ///             out.push(&word).await?;
    ///             text += &word;
    ///         }
    ///         Ok::<_, Failure>(text)
    ///     })
    ///     .await?;
    /// # let _ = draft;
    /// # Ok(()) }
    /// ```
    ///
    /// Pieces are written several at a time, in order, after at most [`STREAM_DELAY`](crate::limits::STREAM_DELAY). The output is on
    /// disk with the last of them before it is handed over.
    ///
    /// After an interruption, or a failure that is [retried](StreamStep::retry), the work runs again. With its first
    /// [`push`](Pieces::push) it *begins anew*: what was kept is thrown away, and readers are told. Work that can go on from there
    /// asks for [`kept`](Pieces::kept) first; what it pushes follows that.
    ///
    /// # Failures
    /// As [`Context::step`].
    ///
    /// # Cancel safety
    /// As [`Context::step`]. What it has kept stays until the step begins anew.
    pub fn stream_step<'a, F, Fut, T, E>(&'a self, name: &'a str, work: F) -> StreamStep<'a, F, T>
    where
        F: FnMut(Pieces) -> Fut + Send + 'a,
        Fut: Future<Output = Result<T, E>> + Send + 'a,
        E: Into<Failure> + Send + 'a,
        T: Serialize + DeserializeOwned + Send + 'a,
    {
        StreamStep {
            cx: self,
            name,
            work,
            retry: RetryPolicy::none(),
            timeout: None,
            output: PhantomData,
        }
    }
}

impl<F, T> StreamStep<'_, F, T> {
    /// Tries again at once, within the same attempt, when the work fails and its failure is not terminal. None unless set.
    pub fn retry(mut self, policy: RetryPolicy) -> Self {
        self.retry = policy;
        self
    }

    /// Gives up on one try of the work after this long; the attempt's own timeout is the only bound unless set.
    pub fn timeout(mut self, limit: Duration) -> Self {
        self.timeout = Some(limit);
        self
    }
}

impl<'a, F, Fut, T, E> IntoFuture for StreamStep<'a, F, T>
where
    F: FnMut(Pieces) -> Fut + Send + 'a,
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

impl<'a, F, Fut, T, E> StreamStep<'a, F, T>
where
    F: FnMut(Pieces) -> Fut + Send + 'a,
    Fut: Future<Output = Result<T, E>> + Send + 'a,
    E: Into<Failure> + Send + 'a,
    T: Serialize + DeserializeOwned + Send + 'a,
{
    async fn run(mut self) -> Result<T, Failure> {
        let key = self.cx.key(Kind::Stream, self.name)?;
        match self.cx.recall::<T>(&key, Kind::Stream).await {
            Recall::Done(output) => return Ok(output),
            Recall::New | Recall::Begun | Recall::Over => {}
        }
        let cx = self.cx;
        let run = &cx.run;
        let _working = run.activity.work();
        let mut failures = 0;
        loop {
            let pieces = Pieces::begin(run, &key).await?;
            let failure = match self.once(&pieces).await {
                Ok(output) => {
                    let value = Payload::encode(&output, limits::PAYLOAD_BYTES)?;
                    pieces.finish(std::any::type_name::<T>(), value).await?;
                    return Ok(output);
                }
                Err(failure) => failure,
            };
            failures += 1;
            let queue = &run.queue;
            let again = (!failure.is_terminal())
                .then(|| {
                    self.retry
                        .delay_after(failures, queue.rng.next_u64(), failure.retry_after())
                })
                .flatten();
            match again {
                Some(delay) => queue.clock.sleep(delay).await,
                None => return Err(failure.with("step", self.name)),
            }
        }
    }

    /// One try of the work, while what it hands out is written down beside it.
    async fn once(&mut self, pieces: &Pieces) -> Result<T, Failure> {
        let _over = Over(pieces);
        let cx = self.cx;
        let (queue, timeout) = (&cx.run.queue, self.timeout);
        let work = (self.work)(pieces.clone());
        let work = async {
            match timeout {
                Some(limit) => match clock::timeout(&*queue.clock, limit, work).await {
                    Ok(outcome) => outcome.map_err(Into::into),
                    Err(late) => Err(late.into()),
                },
                None => work.await.map_err(Into::into),
            }
        };
        let (mut work, mut writing) = (pin!(work), pin!(pieces.write_down()));
        let outcome = tokio::select! {
            biased;
            outcome = &mut work => outcome,
            // It ends by itself only when what was handed out cannot be written down.
            written = &mut writing => return Err(written.err().unwrap_or_else(over)),
        };
        // What is on its way arrives before anything else is written.
        pieces.close();
        writing.await?;
        outcome
    }
}

/// Nothing is handed out any more once the work is over, whoever has kept a clone.
struct Over<'a>(&'a Pieces);

impl Drop for Over<'_> {
    fn drop(&mut self) {
        self.0.close();
    }
}

impl<F, T> fmt::Debug for StreamStep<'_, F, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StreamStep")
            .field("name", &self.name)
            .finish_non_exhaustive()
    }
}
