//! One lane: a thread, its connection, and what it does when either the work or the connection fails.

use std::ops::ControlFlow;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use hive_errors::{Error, ErrorKind, Result, RetryPolicy};

use super::{LANE, Shared, Work, settle};
use crate::db::contain::contained;
use crate::db::deadline::Deadline;
use crate::db::postgres::error::Fate;
use crate::db::postgres::link::{Hook, Link};
use crate::limits;

/// Those that collided come back apart from each other, and soon.
const AFTER_COLLISION: RetryPolicy = RetryPolicy::exponential(limits::DB_COLLISIONS_MAX)
    .with_base(Duration::from_millis(1))
    .with_cap(Duration::from_millis(100));

/// Until its deadline: a server that restarts is back in seconds.
const AFTER_LOSS: RetryPolicy = RetryPolicy::exponential(u32::MAX)
    .with_base(Duration::from_millis(20))
    .with_cap(Duration::from_secs(1));

/// One thread's working place.
pub(super) struct Lane {
    shared: Arc<Shared>,
    link: Option<Link>,
}

/// How one run of a work went.
enum Tried {
    Done(Result<()>),
    /// It came to nothing, and may not the next time.
    InVain(Fate, Error),
}

/// How often one work has failed, by reason.
#[derive(Default)]
struct Failures {
    collisions: u32,
    losses: u32,
}

/// Tells the line of the end, also after a panic of our own.
struct End {
    shared: Arc<Shared>,
    counted: bool,
}

impl Drop for End {
    fn drop(&mut self) {
        self.shared.line.lane_ended(self.counted);
    }
}

impl Lane {
    pub(super) fn start(shared: Arc<Shared>) {
        LANE.set(Arc::as_ptr(&shared).addr());
        let mut end = End {
            shared: Arc::clone(&shared),
            counted: true,
        };
        // Dropped before `end`: whoever hears of it may expect the server to be left alone.
        let mut lane = Self { shared, link: None };
        while let Some(work) = lane.next() {
            if lane.serve(work).is_break() {
                break;
            }
        }
        end.counted = false;
    }

    /// The next work. Where there is none yet, what is open is ended before it is waited for.
    fn next(&mut self) -> Option<Box<dyn Work>> {
        if let Some(work) = self.shared.line.take_now() {
            return Some(work);
        }
        self.tidy();
        self.shared.line.take(limits::DB_LANE_IDLE)
    }

    /// Runs one work to its end, or leaves it to other lanes and breaks off when the server has no connection for this one.
    fn serve(&mut self, mut work: Box<dyn Work>) -> ControlFlow<()> {
        let mut failures = Failures::default();
        let deadline = work.deadline();
        loop {
            let reused = self.link.is_some();
            if deadline.has_passed() {
                settle(work, Err(overdue(deadline)));
                return ControlFlow::Continue(());
            }
            let connected = self.link.take().map_or_else(|| self.connect(deadline), Ok);
            let link = match connected {
                Ok(link) => self.link.insert(link),
                Err(error) if is_crowded(&error) => match self.shared.line.retreat(work) {
                    Ok(()) => return ControlFlow::Break(()),
                    Err(kept) => {
                        work = kept;
                        continue;
                    }
                },
                Err(error) => {
                    settle(work, Err(error));
                    return ControlFlow::Continue(());
                }
            };
            let outcome = match self.shared.attempt(&mut *work, link) {
                Tried::Done(outcome) => outcome,
                Tried::InVain(fate, error) => match self.before_next(&mut failures, fate, reused, error, deadline) {
                    Ok(()) => continue,
                    Err(error) => Err(error),
                },
            };
            // The end of a read that went well is told to the server after its answer, with what comes next.
            if outcome.is_err() {
                self.tidy();
            }
            settle(work, outcome);
            self.part_with_broken();
            return ControlFlow::Continue(());
        }
    }

    /// Pauses before the work is run again.
    ///
    /// # Errors
    /// `error`, when it was the last time.
    fn before_next(
        &mut self,
        failures: &mut Failures,
        fate: Fate,
        reused: bool,
        error: Error,
        deadline: Deadline,
    ) -> Result<()> {
        let random = self.shared.rng.next_u64();
        let delay = match fate {
            Fate::Lost => {
                self.link = None;
                failures.losses += 1;
                // One that had lain idle may have ended long ago.
                if reused && failures.losses == 1 {
                    return Ok(());
                }
                AFTER_LOSS.delay_after(failures.losses, random, None)
            }
            Fate::Collided | Fate::Stale | Fate::Failed | Fate::Overdue => {
                self.tidy();
                failures.collisions += 1;
                self.shared.counters.collisions.fetch_add(1, Ordering::Relaxed);
                AFTER_COLLISION.delay_after(failures.collisions, random, None)
            }
        };
        match delay {
            Some(delay) if delay < deadline.left() => {
                // At the end there is no pause, but what is in line is still done.
                let goes_on = self.shared.line.pause(delay);
                if goes_on || fate != Fate::Lost {
                    Ok(())
                } else {
                    Err(error)
                }
            }
            Some(_) | None => Err(error),
        }
    }

    /// Connects, waiting for the server if it is away.
    ///
    /// # Errors
    /// At once what an operator must change, and that there are too many connections; otherwise what is still wrong at the
    /// deadline.
    fn connect(&self, deadline: Deadline) -> Result<Link> {
        let shared = &self.shared;
        let mut failures = 0_u32;
        let mut last = None;
        loop {
            let (error, wait) = match shared.breaker.acquire(shared.origin.elapsed()) {
                Ok(guard) => match Link::connect(&shared.config, deadline) {
                    Ok(link) => {
                        guard.success(shared.origin.elapsed());
                        shared.counters.connects.fetch_add(1, Ordering::Relaxed);
                        return Ok(link);
                    }
                    // The server answered; it is not away.
                    Err(error) if !error.is_retryable() || is_crowded(&error) => {
                        guard.success(shared.origin.elapsed());
                        if !error.is_retryable() || shared.line.lanes() > 1 || deadline.has_passed() {
                            return Err(error);
                        }
                        (error, None)
                    }
                    Err(error) => {
                        guard.failure(shared.origin.elapsed());
                        (error, None)
                    }
                },
                Err(refused) => {
                    let wait = refused.retry_after().unwrap_or(limits::DB_PROBE_WAIT);
                    (last.take().unwrap_or(refused), Some(wait))
                }
            };
            failures = failures.saturating_add(1);
            let random = shared.rng.next_u64();
            let delay = wait.or_else(|| AFTER_LOSS.delay_after(failures, random, None));
            match delay {
                Some(delay) if delay < deadline.left() && shared.line.pause(delay) => last = Some(error),
                Some(_) | None => return Err(error),
            }
        }
    }

    /// Leaves the connection as the next work expects it, or gives it up.
    fn tidy(&mut self) {
        if let Some(link) = &mut self.link {
            link.rollback();
        }
        self.part_with_broken();
    }

    fn part_with_broken(&mut self) {
        self.link.take_if(|link| link.is_broken());
    }
}

impl Shared {
    fn attempt(&self, work: &mut dyn Work, link: &mut Link) -> Tried {
        let begin = work.begin();
        link.begin(begin, work.deadline());
        let ran = contained("a database closure panicked", || work.run(link)).flatten();
        let outcome = match ran {
            // A read has nothing to commit; its end is told to the server when it has been answered.
            Ok(()) if !begin.writes && link.fate().is_none() => Ok(Vec::new()),
            Ok(()) => link.commit(),
            Err(error) => Err(error),
        };
        let error = match outcome {
            Ok(hooks) => {
                if begin.writes {
                    self.counters.writes.fetch_add(work.writes(), Ordering::Relaxed);
                    self.counters.commits.fetch_add(1, Ordering::Relaxed);
                }
                run_all(hooks);
                return Tried::Done(Ok(()));
            }
            Err(error) => error,
        };
        match link.fate() {
            Some(fate @ (Fate::Collided | Fate::Stale)) => Tried::InVain(fate, error),
            // Whether an unanswered commit took place is for its caller to find out.
            Some(Fate::Lost) if error.kind() != ErrorKind::Indeterminate => Tried::InVain(Fate::Lost, error),
            Some(Fate::Lost | Fate::Failed | Fate::Overdue) | None => Tried::Done(Err(error)),
        }
    }
}

fn run_all(hooks: Vec<Hook>) {
    for hook in hooks {
        if let Err(error) = contained("an after-commit hook panicked; the commit stands", hook) {
            tracing::error!(%error, "an after-commit hook panicked");
        }
    }
}

/// Whether the server has as many connections as it takes.
fn is_crowded(error: &Error) -> bool {
    error.field("sqlstate") == Some("53300")
}

fn overdue(deadline: Deadline) -> Error {
    Error::new(ErrorKind::Timeout, "the database work was not begun within its limit")
        .with("limit_ms", deadline.limit.as_millis())
        .with_hint("nothing was written; find out what keeps the connections busy, or allow more time or lanes")
}
