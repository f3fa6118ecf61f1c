//! Work that takes longer than a read may: on a connection of its own beside the pool, and stopped from outside.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use hive_errors::{Error, ErrorKind, Result};
use rusqlite::{Connection, OpenFlags};

use super::super::contain::contained;
use super::super::deadline::Deadline;
use super::{Pool, Readers, Running, State, closed};
use crate::db::sqlite;
use crate::limits;

/// Stops the work when its caller has gone.
struct Wanted(Arc<AtomicBool>);

impl Drop for Wanted {
    fn drop(&mut self) {
        self.0.store(false, Ordering::Relaxed);
    }
}

impl Readers {
    /// Runs `work` with a read-only connection that nobody else uses and the database's path. It is interrupted when it takes
    /// longer than `limit`, when its caller has gone and when the database is closed. One at a time.
    pub(in crate::db) async fn apart<T, F>(&self, limit: Duration, work: F) -> Result<T>
    where
        T: Send + 'static,
        F: FnOnce(&Connection, &Path) -> Result<T> + Send + 'static,
    {
        let permit = Arc::clone(&self.apart).try_acquire_owned().map_err(|_| {
            Error::new(ErrorKind::Overloaded, "a backup or a check is running already")
                .with_hint("wait until it has ended")
        })?;
        // In this order: whoever closes the database either is seen here or waits for this.
        let running = Running::begin(&self.pool);
        if self.permits.is_closed() {
            return Err(closed());
        }
        if self.pool.lock().renewed {
            return Err(renewed());
        }
        let wanted = Arc::new(AtomicBool::new(true));
        let seen = Arc::clone(&wanted);
        let _wanted = Wanted(wanted);
        tokio::task::spawn_blocking(move || {
            let (permit, running) = (permit, running);
            let result = contained("work on the database panicked", || running.0.apart(limit, seen, work)).flatten();
            drop((running, permit));
            result
        })
        .await
        .map_err(|e| Error::new(ErrorKind::ShuttingDown, "the runtime stopped before the work ran").with_source(e))?
    }
}

fn renewed() -> Error {
    Error::new(
        ErrorKind::Storage,
        "the database is being opened anew after a failed sync",
    )
    .retryable()
}

impl State {
    fn is_needed_alone(&self) -> bool {
        self.closed || self.renewed
    }
}

impl Pool {
    fn apart<T>(
        self: &Arc<Self>,
        limit: Duration,
        wanted: Arc<AtomicBool>,
        work: impl FnOnce(&Connection, &Path) -> Result<T>,
    ) -> Result<T> {
        // Not `query_only`, which would keep it from writing a copy, too.
        let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let mut conn = Connection::open_with_flags(&self.path, flags)
            .map_err(|e| sqlite::error(e, "the database could not be opened once more"))?;
        sqlite::expect(&conn, "journal_mode", "wal")?;
        let deadline = Deadline::after(limit);
        let (pool, still) = (Arc::clone(self), Arc::clone(&wanted));
        let over = move || deadline.has_passed() || !still.load(Ordering::Relaxed) || pool.lock().is_needed_alone();
        conn.progress_handler(limits::DB_PROGRESS_OPS, Some(over))
            .map_err(|e| sqlite::error(e, "the work could not be given a deadline"))?;
        work(&conn, &self.path).map_err(|error| {
            if error.kind() != ErrorKind::Timeout {
                error
            } else if self.lock().closed {
                closed().with_source(error)
            } else if self.lock().renewed {
                renewed().with_source(error)
            } else if !wanted.load(Ordering::Relaxed) {
                Error::new(ErrorKind::Cancelled, "nobody waits for it any more").with_source(error)
            } else {
                Error::new(ErrorKind::Timeout, "the work took longer than its limit")
                    .with("limit_ms", limit.as_millis())
                    .with_source(error)
            }
        })
    }
}
