//! The pool of read-only connections.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use hive_errors::{Error, ErrorKind, Result};
use rusqlite::Connection;
use tokio::sync::Semaphore;

use super::{Snapshot, sqlite};
use crate::limits;

pub(super) struct Readers {
    free: Arc<Mutex<Vec<Connection>>>,
    // One permit per connection in `free`.
    permits: Arc<Semaphore>,
    timeout: Duration,
    count: u32,
}

impl Readers {
    pub(super) fn new(pool: Vec<Connection>, timeout: Duration) -> Self {
        let count = u32::try_from(pool.len()).unwrap_or(u32::MAX);
        Self { permits: Arc::new(Semaphore::new(pool.len())), free: Arc::new(Mutex::new(pool)), timeout, count }
    }

    pub(super) async fn read<T, F>(&self, work: F) -> Result<T>
    where
        T: Send + 'static,
        F: FnOnce(&Snapshot<'_>) -> Result<T> + Send + 'static,
    {
        let waited = tokio::time::timeout(self.timeout, Arc::clone(&self.permits).acquire_owned()).await;
        let permit = match waited {
            Ok(Ok(permit)) => permit,
            Ok(Err(_)) => return Err(Error::new(ErrorKind::ShuttingDown, "the database is closed")),
            Err(_) => {
                return Err(Error::new(ErrorKind::Timeout, "no reading connection became free in time")
                    .with("waited_ms", self.timeout.as_millis())
                    .with("readers", self.count));
            }
        };
        let (free, timeout) = (Arc::clone(&self.free), self.timeout);
        tokio::task::spawn_blocking(move || {
            let taken = free.lock().unwrap_or_else(PoisonError::into_inner).pop();
            // Invariant: a permit stands for a connection in the pool.
            let mut conn = taken.ok_or_else(|| Error::new(ErrorKind::Internal, "a permit without a connection"))?;
            let result = catch_unwind(AssertUnwindSafe(|| snapshot(&mut conn, timeout, work)));
            free.lock().unwrap_or_else(PoisonError::into_inner).push(conn);
            drop(permit);
            result.unwrap_or_else(|_| Err(Error::new(ErrorKind::Panic, "a database closure panicked")))
        })
        .await
        .map_err(|e| Error::new(ErrorKind::ShuttingDown, "the runtime stopped before the read ran").with_source(e))?
    }

    pub(super) async fn close(&self) {
        // Waits for running reads, which their deadline bounds; a second close finds the semaphore closed.
        if let Ok(all) = self.permits.acquire_many(self.count).await {
            self.permits.close();
            self.free.lock().unwrap_or_else(PoisonError::into_inner).clear();
            drop(all);
        }
    }
}

fn snapshot<T>(conn: &mut Connection, timeout: Duration, work: impl FnOnce(&Snapshot<'_>) -> Result<T>) -> Result<T> {
    // The engine calls back from C while the query runs: virtual time cannot pass there, only real time counts.
    #[expect(clippy::disallowed_methods, reason = "a deadline inside the engine's own loop")]
    let started = Instant::now();
    conn.progress_handler(limits::DB_PROGRESS_OPS, Some(move || started.elapsed() > timeout))
        .map_err(|e| sqlite::error(e, "the read could not be given a deadline"))?;
    conn.execute_batch("BEGIN DEFERRED").map_err(|e| sqlite::error(e, "the snapshot could not be taken"))?;
    let result = catch_unwind(AssertUnwindSafe(|| work(&Snapshot::new(&*conn))));
    // Ends the snapshot however the work went: a reader that stays open keeps the log from being folded in.
    conn.progress_handler(0, None::<fn() -> bool>)
        .map_err(|e| sqlite::error(e, "the read's deadline could not be lifted"))?;
    conn.execute_batch("ROLLBACK").map_err(|e| sqlite::error(e, "the snapshot could not be released"))?;
    result.unwrap_or_else(|_| Err(Error::new(ErrorKind::Panic, "a database closure panicked")))
}
