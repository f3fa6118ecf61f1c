//! Steps that block a thread, on threads of their own.

use std::any::Any;
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use hive_errors::{ErrorKind, Failure};
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::sync::Semaphore;
use tokio::task::{JoinHandle, spawn_blocking};

use super::Context;
use super::step::Step;

/// The threads for what blocks: so many at once, however many runs want one.
pub(crate) struct Threads {
    free: Arc<Semaphore>,
    most: usize,
}

impl Threads {
    /// At most so many.
    pub(crate) fn new(most: usize) -> Self {
        Self {
            free: Arc::new(Semaphore::new(most)),
            most,
        }
    }

    /// How many are at work, those included whose outcome nobody waits for any more.
    pub(crate) fn busy(&self) -> usize {
        self.most.saturating_sub(self.free.available_permits())
    }

    /// Waits until none is at work. Nothing may begin any more.
    pub(crate) async fn settled(&self) {
        let all = u32::try_from(self.most).unwrap_or(u32::MAX);
        // Nobody closes it, so there is no error to speak of.
        let _all = self.free.acquire_many(all).await;
    }

    /// Does it on a thread, when there is one.
    ///
    /// # Cancel safety
    /// Dropped, what has begun goes on to its end, and keeps its thread until then.
    async fn run<T, E>(&self, work: impl FnOnce() -> Result<T, E> + Send + 'static) -> Result<T, Failure>
    where
        T: Send + 'static,
        E: Into<Failure>,
    {
        let Ok(thread) = Arc::clone(&self.free).acquire_owned().await else {
            return Err(Failure::retryable("the threads for what blocks are gone"));
        };
        let mut working = Working(spawn_blocking(move || {
            let _thread = thread;
            work().map_err(Into::into)
        }));
        match (&mut working.0).await {
            Ok(outcome) => outcome,
            Err(error) => Err(match error.try_into_panic() {
                Ok(panic) => panicked(&*panic),
                Err(error) => Failure::retryable("the runtime ends").with("error", error),
            }),
        }
    }
}

impl fmt::Debug for Threads {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Threads")
            .field("busy", &self.busy())
            .field("most", &self.most)
            .finish()
    }
}

/// What has not begun when nobody waits for it any more never does.
struct Working<T>(JoinHandle<T>);

impl<T> Drop for Working<T> {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// The future of one try.
pub(crate) type Try<'a, T> = Pin<Box<dyn Future<Output = Result<T, Failure>> + Send + 'a>>;

impl Context {
    /// A [step](Context::step) whose work blocks or computes for long: it runs on a thread of its own, so that the threads of the
    /// runtime stay free for other runs, for heartbeats and for whatever else the process does. Use it for what takes more than a
    /// few tens of milliseconds without an `await`.
    ///
    /// ```
    /// use hive_orchestration::{Context, Failure, agent_fn};
    ///
    /// let sums = agent_fn("sums", async |cx: Context, most: u64| {
    ///     cx.blocking("sum", move || Ok::<_, Failure>((0..=most).sum::<u64>())).await
    /// });
    /// ```
    ///
    /// All that is said of steps holds: its output is remembered, and it has [`retry`](Step::retry), [`timeout`](Step::timeout) and
    /// [`effect`](Step::effect). A panic is a retryable failure of the step. At most
    /// [`BLOCKING_THREADS`](crate::limits::BLOCKING_THREADS) are at work in a process unless
    /// [`Builder::blocking_threads`](crate::builders::Builder::blocking_threads) says otherwise; others wait for their turn.
    ///
    /// # Failures
    /// As [`Context::step`].
    ///
    /// # Cancel safety
    /// Nothing can stop a thread. When the run ends early or the step's time is over, nobody waits for the work any more, and it
    /// goes on by itself, until its end keeping its thread; what it returns then is forgotten. A hive that shuts down waits for it for
    /// [`DRAIN`](crate::limits::DRAIN) and then no longer, but tokio's runtime does when it is dropped.
    pub fn blocking<'a, F, T, E>(
        &'a self,
        name: &'a str,
        work: F,
    ) -> Step<'a, impl FnMut() -> Try<'a, T> + Send + 'a, T>
    where
        F: Fn() -> Result<T, E> + Send + Sync + 'static,
        E: Into<Failure> + Send + 'static,
        T: Serialize + DeserializeOwned + Send + 'static,
    {
        let work = Arc::new(work);
        self.step(name, move || -> Try<'a, T> {
            let work = Arc::clone(&work);
            Box::pin(self.run.threads.run(move || work()))
        })
    }
}

/// What an agent's panic is as a failure.
pub(crate) fn panicked(panic: &(dyn Any + Send)) -> Failure {
    let said = panic
        .downcast_ref::<&str>()
        .copied()
        .or_else(|| panic.downcast_ref::<String>().map(String::as_str))
        .unwrap_or("no message");
    Failure::retryable(format!("the agent panicked: {said}")).with_kind(ErrorKind::Panic)
}
