//! The pool of read-only connections, each opened when it is first needed.

use std::path::PathBuf;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use hive_errors::{Error, ErrorKind, Result};
use tokio::sync::{Semaphore, TryAcquireError};

use super::contain::contained;
use super::deadline::Deadline;
use super::guard::Scope;
use super::house::House;
use super::sqlite::{self, Reading};
use super::tx::Snapshot;
use crate::limits;

mod apart;
mod wait;

pub(super) struct Readers {
    pool: Arc<Pool>,
    /// One permit per connection that may be open; closed with the database.
    permits: Arc<Semaphore>,
    /// One for what runs beside the pool.
    apart: Arc<Semaphore>,
    timeout: Duration,
    count: usize,
}

struct Pool {
    path: PathBuf,
    house: House,
    state: Mutex<State>,
    /// Signalled when a read ends.
    ended: Condvar,
}

#[derive(Default)]
struct State {
    idle: Vec<Reading>,
    running: usize,
    closed: bool,
    /// Somebody waits for the end of the reads that run.
    awaited: bool,
    /// The file is to be opened anew: what runs beside the pool breaks off.
    renewed: bool,
}

/// Counts one read, from its permit to its connection's return.
struct Running(Arc<Pool>);

impl Running {
    fn begin(pool: &Arc<Pool>) -> Self {
        pool.lock().running += 1;
        Self(Arc::clone(pool))
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.0.lock().running -= 1;
        self.0.ended.notify_all();
    }
}

impl Readers {
    pub(super) fn new(path: PathBuf, count: usize, timeout: Duration, house: House) -> Self {
        let pool = Pool {
            path,
            house,
            state: Mutex::default(),
            ended: Condvar::new(),
        };
        Self {
            pool: Arc::new(pool),
            permits: Arc::new(Semaphore::new(count)),
            apart: Arc::new(Semaphore::new(1)),
            timeout,
            count,
        }
    }

    pub(super) async fn read<T, F>(&self, work: F) -> Result<T>
    where
        T: Send + 'static,
        F: FnMut(&Snapshot<'_>) -> Result<T> + Send + 'static,
    {
        let deadline = Deadline::after(self.timeout);
        let permit = match Arc::clone(&self.permits).try_acquire_owned() {
            Ok(permit) => permit,
            Err(TryAcquireError::Closed) => return Err(closed()),
            // A timer only for those who wait.
            Err(TryAcquireError::NoPermits) => {
                match tokio::time::timeout(self.timeout, Arc::clone(&self.permits).acquire_owned()).await {
                    Ok(Ok(permit)) => permit,
                    Ok(Err(_)) => return Err(closed()),
                    Err(_) => {
                        return Err(
                            Error::new(ErrorKind::Timeout, "no reading connection became free in time")
                                .with("waited_ms", self.timeout.as_millis())
                                .with("readers", self.count),
                        );
                    }
                }
            }
        };
        let running = Running::begin(&self.pool);
        tokio::task::spawn_blocking(move || {
            // In the order of their drops: the connection is back before the next reader looks for it.
            let permit = permit;
            let running = running;
            let result = running.0.read(deadline, work);
            drop((running, permit));
            result
        })
        .await
        .map_err(|e| Error::new(ErrorKind::ShuttingDown, "the runtime stopped before the read ran").with_source(e))?
    }

    /// Takes no more reads. Those that run end by themselves.
    pub(super) fn shut(&self) {
        self.close(true);
    }

    fn close(&self, awaited: bool) {
        self.permits.close();
        let mut state = self.pool.lock();
        state.closed = true;
        state.awaited |= awaited;
        let idle = std::mem::take(&mut state.idle);
        drop(state);
        drop(idle);
    }

    /// The readers as the writer's thread sees them.
    pub(super) fn others(&self) -> Others {
        Others {
            pool: Arc::clone(&self.pool),
            permits: Arc::clone(&self.permits),
            timeout: self.timeout,
            count: self.count,
        }
    }
}

/// What the writer's thread can ask of the readers. Nobody waits longer than a read may take.
pub(super) struct Others {
    pool: Arc<Pool>,
    permits: Arc<Semaphore>,
    timeout: Duration,
    count: usize,
}

impl Others {
    /// Blocks until the last read has ended, so that the file can be closed whole; not when the handles were dropped
    /// rather than closed.
    pub(super) fn leave(&self) {
        self.wait(|state| state.awaited && state.running > 0);
    }

    /// Runs `work` while no reading connection is open. Reads that come meanwhile wait.
    ///
    /// # Errors
    /// What `work` says, or that a read did not end in time.
    pub(super) fn without<T>(&self, work: impl FnOnce() -> Result<T>) -> Result<T> {
        self.pool.lock().renewed = true;
        let result = self.alone(work);
        self.pool.lock().renewed = false;
        result
    }

    fn alone<T>(&self, work: impl FnOnce() -> Result<T>) -> Result<T> {
        let all = u32::try_from(self.count).unwrap_or(u32::MAX);
        let permits = wait::until(self.permits.acquire_many(all), self.timeout);
        // With all permits, or closed already, no other read begins; what runs beside the pool has none.
        if permits.is_none() || !self.wait(|state| state.running > 0) {
            return Err(Error::new(ErrorKind::Storage, "a read goes on for too long")
                .with("waited_ms", self.timeout.as_millis())
                .with_hint("a sync failed, and the database is opened anew once nobody reads"));
        }
        let idle = std::mem::take(&mut self.pool.lock().idle);
        drop(idle);
        let done = work();
        drop(permits);
        done
    }

    /// Waits while `busy` and gives whether it came to an end.
    fn wait(&self, busy: impl FnMut(&mut State) -> bool) -> bool {
        let waited = self.pool.ended.wait_timeout_while(self.pool.lock(), self.timeout, busy);
        let (state, waited) = waited.unwrap_or_else(PoisonError::into_inner);
        drop(state);
        !waited.timed_out()
    }
}

impl Drop for Readers {
    fn drop(&mut self) {
        self.close(false);
    }
}

fn closed() -> Error {
    Error::new(ErrorKind::ShuttingDown, "the database is closed")
}

impl Pool {
    fn read<T>(&self, deadline: Deadline, work: impl FnMut(&Snapshot<'_>) -> Result<T>) -> Result<T> {
        let free = self.lock().idle.pop();
        let mut reading = match free {
            Some(reading) => reading,
            None => sqlite::open_reader(&self.path)?,
        };
        let result = snapshot(&mut reading, deadline, &self.house, work);
        match leave(&mut reading) {
            Ok(()) => self.put_back(reading),
            // The next read opens another.
            Err(error) => tracing::warn!(%error, "a reading connection is given up"),
        }
        result
    }

    fn put_back(&self, reading: Reading) {
        let mut state = self.lock();
        if !state.closed {
            state.idle.push(reading);
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // Nothing panics while it holds the lock.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

// Texts of the house's own, so that a closure's cannot be found among the prepared statements.
const BEGIN: &str = "BEGIN DEFERRED /* a snapshot */";
const END: &str = "ROLLBACK /* the snapshot */";

fn snapshot<T>(
    reading: &mut Reading,
    deadline: Deadline,
    house: &House,
    mut work: impl FnMut(&Snapshot<'_>) -> Result<T>,
) -> Result<T> {
    reading
        .conn
        .progress_handler(limits::DB_PROGRESS_OPS, Some(move || deadline.has_passed()))
        .map_err(|e| sqlite::error(e, "the read could not be given a deadline"))?;
    sqlite::run(&reading.conn, BEGIN, "the snapshot could not be taken")?;
    let snapshot = Snapshot::sqlite(&reading.conn, &reading.guard, Some(deadline), &*house.clock);
    let result = reading
        .guard
        .within(Scope::Closure, || {
            contained("a database closure panicked", || work(&snapshot))
        })
        .flatten();
    result.and_then(|value| snapshot.doom().map_or(Ok(value), Err))
}

/// Ends the snapshot however the work went: one that stays open keeps the log from being folded in.
fn leave(reading: &mut Reading) -> Result<()> {
    reading
        .conn
        .progress_handler(0, None::<fn() -> bool>)
        .map_err(|e| sqlite::error(e, "the read's deadline could not be lifted"))?;
    if reading.conn.is_autocommit() {
        return Ok(());
    }
    sqlite::run(&reading.conn, END, "the snapshot could not be released")
}
