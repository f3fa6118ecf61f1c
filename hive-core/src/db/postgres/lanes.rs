//! Lanes: threads with a connection each, on which closures run.
//!
//! There are as many as are needed, up to a limit, and those that are not needed for a while go. What fails for a
//! reason that may pass (a collision, a connection that was lost before its commit) is run again within its deadline; what fails
//! because the server is away keeps those waiting who are here already, and newcomers are told at once.

use std::cell::Cell;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use hive_errors::{BreakerPolicy, BreakerState, CircuitBreaker, Error, ErrorKind, Result};
use tokio::sync::oneshot;

use super::config::Config;
use super::line::{Entry, Line, Need, closed};
use super::link::{Begin, Link};
use crate::db::contain::contained;
use crate::db::deadline::{Deadline, now};
use crate::limits;
use crate::rng::Rng;

mod lane;

use lane::Lane;

/// Something to run on a lane, its types erased. Everything of the user's runs or is dropped in `run` and `settle`.
pub(super) trait Work: Send {
    fn begin(&self) -> Begin;
    fn deadline(&self) -> Deadline;

    /// How many writes it stands for once it is committed.
    fn writes(&self) -> u64;

    /// Runs on a transaction that has begun. May be called again when the transaction came to nothing.
    fn run(&mut self, link: &mut Link) -> Result<()>;

    /// Answers, once.
    fn settle(self: Box<Self>, outcome: Result<()>);

    /// Answers in place of [`settle`](Self::settle) when no lane will ever run it.
    fn refuse(self: Box<Self>, error: Error) {
        self.settle(Err(error));
    }
}

struct Job<T, F> {
    work: F,
    value: Option<T>,
    answer: oneshot::Sender<Result<T>>,
    begin: Begin,
    deadline: Deadline,
}

impl<T, F> Work for Job<T, F>
where
    T: Send + 'static,
    F: FnMut(&mut Link) -> Result<T> + Send + 'static,
{
    fn begin(&self) -> Begin {
        self.begin
    }

    fn deadline(&self) -> Deadline {
        self.deadline
    }

    fn writes(&self) -> u64 {
        self.begin.writes.into()
    }

    fn run(&mut self, link: &mut Link) -> Result<()> {
        // What an earlier run returned counts for nothing.
        self.value = None;
        self.value = Some((self.work)(link)?);
        Ok(())
    }

    fn settle(self: Box<Self>, outcome: Result<()>) {
        let Self {
            value, answer, work, ..
        } = *self;
        // Before the answer: whoever has it may rely on everything the closure held being free.
        drop(work);
        let nothing = || {
            Err(Error::new(
                ErrorKind::Internal,
                "a closure was answered before its turn",
            ))
        };
        let result = outcome.and_then(|()| value.map_or_else(nothing, Ok));
        // A receiver that has gone is no concern of the lane: the work is committed all the same.
        let _gone = answer.send(result);
    }
}

/// How much was done.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(in crate::db) struct Counts {
    /// Closures whose work is on disk.
    pub(in crate::db) writes: u64,
    /// Commits that carried them.
    pub(in crate::db) commits: u64,
    /// Transactions that were run again after a collision.
    pub(in crate::db) collisions: u64,
    /// Connections that were made.
    pub(in crate::db) connects: u64,
}

#[derive(Debug, Default)]
pub(super) struct Counters {
    pub(super) writes: AtomicU64,
    commits: AtomicU64,
    collisions: AtomicU64,
    connects: AtomicU64,
}

/// A handle to the lanes. Dropped, it waits until what is in line is done.
pub(in crate::db) struct Lanes {
    shared: Arc<Shared>,
}

pub(super) struct Shared {
    config: Arc<Config>,
    lanes_max: usize,
    line: Line<Box<dyn Work>>,
    breaker: CircuitBreaker,
    rng: Arc<dyn Rng>,
    origin: Instant,
    pub(super) counters: Counters,
    threads: Mutex<Vec<JoinHandle<()>>>,
}

thread_local! {
    /// Which lanes this thread belongs to, by the address of what they share.
    static LANE: Cell<usize> = const { Cell::new(0) };
}

impl Lanes {
    /// No lane and no connection yet: they come with the first work.
    pub(in crate::db) fn new(config: Arc<Config>, lanes_max: usize, rng: Arc<dyn Rng>) -> Self {
        let policy = BreakerPolicy::new(limits::DB_BREAKER_FAILURES, limits::DB_BREAKER_PAUSE);
        let breaker = CircuitBreaker::new(config.place().to_owned(), policy);
        Self {
            shared: Arc::new(Shared {
                config,
                lanes_max: lanes_max.clamp(1, limits::DB_LANES_MAX),
                line: Line::new(limits::DB_QUEUE),
                breaker,
                rng,
                origin: now(),
                counters: Counters::default(),
                threads: Mutex::default(),
            }),
        }
    }

    /// Runs `work` in a transaction of its own and returns its value: for a write once it is on disk.
    ///
    /// `work` may run several times, and only the last counts. `limit` is for all of it, waiting in line included.
    ///
    /// # Errors
    /// What `work` returns; `panic` when it panicked; `overloaded` when the line stayed full; `breaker-open` while the server is
    /// known to be away; `conflict`, retryable, when it collided with others too often; `timeout`; `indeterminate` when the
    /// connection was lost during the commit; `shutting-down` after [`close`](Self::close).
    ///
    /// # Cancel safety
    /// Dropped before it is in line, nothing happens. Dropped later, the work goes on and only its answer is lost.
    pub(in crate::db) async fn run<T, F>(&self, begin: Begin, limit: Duration, work: F) -> Result<T>
    where
        T: Send + 'static,
        F: FnMut(&mut Link) -> Result<T> + Send + 'static,
    {
        self.shared.not_from_within()?;
        self.shared.let_through()?;
        let (answer, value) = oneshot::channel();
        let job = Box::new(Job {
            work,
            value: None,
            answer,
            begin,
            deadline: Deadline::after(limit),
        });
        let need = self.shared.line.put(job, limit, self.shared.lanes_max).await?;
        self.shared.meet(need)?;
        // No answer means that the lane is gone.
        value.await.unwrap_or_else(|_| Err(closed()))
    }

    pub(in crate::db) fn counts(&self) -> Counts {
        let Counters {
            writes,
            commits,
            collisions,
            connects,
        } = &self.shared.counters;
        Counts {
            writes: writes.load(Ordering::Relaxed),
            commits: commits.load(Ordering::Relaxed),
            collisions: collisions.load(Ordering::Relaxed),
            connects: connects.load(Ordering::Relaxed),
        }
    }

    #[cfg(feature = "test-util")]
    #[cfg(test)]
    /// How many wait in line.
    pub(in crate::db) fn waiting(&self) -> usize {
        self.shared.line.len()
    }

    pub(super) fn shared(&self) -> &Arc<Shared> {
        &self.shared
    }

    /// Takes no more work. What is in line is still done.
    pub(in crate::db) fn shut(&self) {
        self.shared.line.close();
    }

    /// Waits until everything is done and every thread has ended.
    ///
    /// # Errors
    /// `timeout` when a closure does not come to its end.
    pub(in crate::db) async fn close(&self) -> Result<()> {
        self.shut();
        self.shared.not_from_within()?;
        let shared = Arc::clone(&self.shared);
        tokio::task::spawn_blocking(move || shared.join(limits::DB_CLOSE_TIMEOUT))
            .await
            .map_err(|e| Error::new(ErrorKind::ShuttingDown, "the runtime stopped first").with_source(e))?
    }
}

impl Drop for Lanes {
    fn drop(&mut self) {
        self.shut();
        // A closure or hook may hold the last handle: then this is a lane, which ends by itself.
        if self.shared.not_from_within().is_ok()
            && let Err(error) = self.shared.join(limits::DB_CLOSE_TIMEOUT)
        {
            tracing::warn!(%error, "the database was not closed in good order");
        }
    }
}

impl Shared {
    /// Puts work in line that is bounded otherwise. If it is refused, it has been told.
    pub(super) fn submit(self: &Arc<Self>, work: Box<dyn Work>, entry: Entry) {
        match self.line.put_beside(work, entry, self.lanes_max) {
            Ok(need) => {
                if let Err(error) = self.meet(need) {
                    // Whatever was in line has been told.
                    tracing::warn!(%error, "work for the database could not be begun");
                }
            }
            Err(work) => work.refuse(closed()),
        }
    }

    /// A closure or hook that waits for a lane might wait for its own.
    pub(super) fn not_from_within(self: &Arc<Self>) -> Result<()> {
        if LANE.get() != Arc::as_ptr(self).addr() {
            return Ok(());
        }
        Err(
            Error::new(ErrorKind::InvalidInput, "a database closure waits for the database")
                .with_hint("write through the closure's own `tx`, or after the closure has returned"),
        )
    }

    /// Whoever comes while the server is known to be away need not wait to hear it.
    pub(super) fn let_through(&self) -> Result<()> {
        let at = self.origin.elapsed();
        match self.breaker.state(at) {
            BreakerState::Open => match self.breaker.acquire(at) {
                Ok(guard) => {
                    guard.ignore();
                    Ok(())
                }
                Err(error) => Err(error),
            },
            BreakerState::Closed | BreakerState::HalfOpen | _ => Ok(()),
        }
    }

    /// Starts the lane that is needed, if one is.
    fn meet(self: &Arc<Self>, need: Need) -> Result<()> {
        if need == Need::Nothing {
            return Ok(());
        }
        let shared = Arc::clone(self);
        let started = thread::Builder::new()
            .name("hive-db-lane".into())
            .spawn(move || Lane::start(shared));
        let mut threads = self.threads.lock().unwrap_or_else(PoisonError::into_inner);
        // Those that have ended are joined here, so that the list does not grow.
        for ended in threads.extract_if(.., |thread| thread.is_finished()) {
            let _panicked = ended.join();
        }
        match started {
            Ok(thread) => {
                threads.push(thread);
                Ok(())
            }
            Err(source) => {
                self.line.lane_ended(true);
                if self.line.lanes() > 0 {
                    // Another lane will come to it.
                    tracing::warn!(error = %source, "a thread for the database could not be started");
                    return Ok(());
                }
                let error = || Error::new(ErrorKind::Storage, "a thread for the database could not be started");
                for work in self.line.clear() {
                    let refusing = || work.refuse(error());
                    if let Err(error) = contained("a database closure panicked when it was dropped", refusing) {
                        tracing::error!(%error, "a database closure could not be put away");
                    }
                }
                Err(error().with_source(source))
            }
        }
    }

    fn join(&self, limit: Duration) -> Result<()> {
        if !self.line.wait_for_end(limit) {
            return Err(
                Error::new(ErrorKind::Timeout, "a database closure did not come to its end")
                    .with("limit_ms", limit.as_millis())
                    .with_hint("closures only read and write; what waits for something else belongs outside"),
            );
        }
        let threads = std::mem::take(&mut *self.threads.lock().unwrap_or_else(PoisonError::into_inner));
        for thread in threads {
            let _panicked = thread.join();
        }
        Ok(())
    }
}

/// Answers, and keeps what the user's values do when they are dropped from ending the lane.
fn settle(work: Box<dyn Work>, outcome: Result<()>) {
    if let Err(error) = contained("what a database closure left panicked when it was dropped", || {
        work.settle(outcome);
    }) {
        tracing::error!(%error, "a database closure could not be put away");
    }
}
