//! Group commit: one thread owns the writing connection, takes everything that waits, commits once, then answers.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use hive_errors::{Error, ErrorKind, Result};
use rusqlite::Connection;
use tokio::sync::{mpsc, oneshot};

use super::lock::FileLock;
use super::{Hook, Stats, Tx, sqlite};
use crate::limits;

/// Sends a closure's value, or the reason why its commit failed.
type Reply = Box<dyn FnOnce(Option<&Error>) + Send>;

/// A closure that waits for its transaction, its type erased.
trait Work: Send {
    /// `Ok` holds the reply that waits for the commit; `Err` the one that tells of the closure's own failure.
    fn run(self: Box<Self>, tx: &mut Tx<'_>) -> Result<Reply, Reply>;

    /// Answers without running: its transaction broke before its turn came.
    fn refuse(self: Box<Self>, cause: &Error);
}

struct Job<T, F> {
    work: F,
    answer: oneshot::Sender<Result<T>>,
}

// A receiver that has gone is no concern of the writer: the work is committed all the same.
impl<T, F> Work for Job<T, F>
where
    T: Send + 'static,
    F: FnOnce(&mut Tx<'_>) -> Result<T> + Send + 'static,
{
    fn run(self: Box<Self>, tx: &mut Tx<'_>) -> Result<Reply, Reply> {
        let Self { work, answer } = *self;
        match work(tx) {
            Ok(value) => Ok(Box::new(move |failed| {
                let _gone = answer.send(failed.map_or(Ok(value), |e| Err(not_committed(e))));
            })),
            Err(error) => Err(Box::new(move |_| {
                let _gone = answer.send(Err(error));
            })),
        }
    }

    fn refuse(self: Box<Self>, cause: &Error) {
        let _gone = self.answer.send(Err(not_committed(cause)));
    }
}

enum Message {
    Write(Box<dyn Work>),
    Close(oneshot::Sender<Result<()>>),
}

#[derive(Debug, Default)]
struct Counters {
    writes: AtomicU64,
    commits: AtomicU64,
}

pub(super) struct Writer {
    queue: Option<mpsc::Sender<Message>>,
    thread: Mutex<Option<JoinHandle<()>>>,
    counters: Arc<Counters>,
    timeout: Duration,
}

impl Writer {
    pub(super) fn start(conn: Connection, lock: FileLock, timeout: Duration) -> Result<Self> {
        let (queue, waiting) = mpsc::channel(limits::DB_QUEUE);
        let counters = Arc::new(Counters::default());
        let shared = Arc::clone(&counters);
        let thread = thread::Builder::new()
            .name("hive-db-writer".into())
            .spawn(move || serve(conn, lock, waiting, &shared))
            .map_err(|e| Error::new(ErrorKind::Storage, "the writer's thread could not be started").with_source(e))?;
        Ok(Self { queue: Some(queue), thread: Mutex::new(Some(thread)), counters, timeout })
    }

    pub(super) async fn write<T, F>(&self, work: F) -> Result<T>
    where
        T: Send + 'static,
        F: FnOnce(&mut Tx<'_>) -> Result<T> + Send + 'static,
    {
        let (answer, value) = oneshot::channel::<Result<T>>();
        self.send(Message::Write(Box::new(Job { work, answer }))).await?;
        match value.await {
            Ok(result) => result,
            // The closure panicked (its reply went with it) or the writer is gone.
            Err(_) if self.is_running() => Err(Error::new(ErrorKind::Panic, "a database closure panicked")
                .with_hint("its work was rolled back; see the panic message above")),
            Err(_) => Err(closed()),
        }
    }

    async fn send(&self, message: Message) -> Result<()> {
        let Some(queue) = &self.queue else { return Err(closed()) };
        match queue.send_timeout(message, self.timeout).await {
            Ok(()) => Ok(()),
            Err(mpsc::error::SendTimeoutError::Closed(_)) => Err(closed()),
            Err(mpsc::error::SendTimeoutError::Timeout(_)) => {
                Err(Error::new(ErrorKind::Overloaded, "the database's write queue stayed full")
                    .with("waited_ms", self.timeout.as_millis())
                    .with("limit", limits::DB_QUEUE))
            }
        }
    }

    fn is_running(&self) -> bool {
        self.queue.as_ref().is_some_and(|queue| !queue.is_closed())
    }

    pub(super) fn stats(&self) -> Stats {
        Stats {
            writes: self.counters.writes.load(Ordering::Relaxed),
            commits: self.counters.commits.load(Ordering::Relaxed),
        }
    }

    pub(super) async fn close(&self) -> Result<()> {
        let (answer, closed) = oneshot::channel();
        if self.send(Message::Close(answer)).await.is_err() {
            return Ok(());
        }
        // No answer means that somebody else's close came first.
        closed.await.unwrap_or(Ok(()))
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        // Closing the queue ends the thread once it has written what waits.
        self.queue = None;
        let thread = self.thread.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(thread) = thread {
            // A hook or closure may hold the last handle: then this is the writer's own thread, which ends by itself.
            if thread.thread().id() != thread::current().id() {
                let _panicked = thread.join();
            }
        }
    }
}

fn closed() -> Error {
    Error::new(ErrorKind::ShuttingDown, "the database is closed")
}

/// One failed commit fails every closure in it, each with an error of its own.
fn not_committed(cause: &Error) -> Error {
    Error::new(cause.kind(), "the commit failed, nothing of it was written").with("cause", cause)
}

fn serve(conn: Connection, lock: FileLock, mut waiting: mpsc::Receiver<Message>, counters: &Counters) {
    while let Some(first) = waiting.blocking_recv() {
        let mut works = Vec::new();
        let mut closing = None;
        let mut next = Some(first);
        while let Some(message) = next {
            match message {
                Message::Write(work) => works.push(work),
                Message::Close(answer) => {
                    closing = Some(answer);
                    break;
                }
            }
            next = if works.len() < limits::DB_BATCH { waiting.try_recv().ok() } else { None };
        }
        commit(&conn, works, counters);
        if let Some(answer) = closing {
            // From here on senders are refused; what slipped in before is still written.
            waiting.close();
            while let Ok(message) = waiting.try_recv() {
                match message {
                    Message::Write(work) => commit(&conn, vec![work], counters),
                    Message::Close(other) => drop(other),
                }
            }
            let result = finish(conn);
            drop((waiting, lock));
            let _gone = answer.send(result);
            return;
        }
    }
    if let Err(error) = finish(conn) {
        tracing::warn!(%error, "the database was not closed cleanly; it recovers at the next open");
    }
}

/// Folds the log into the file and closes. Without it the next open does the same work.
fn finish(conn: Connection) -> Result<()> {
    conn.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(()))
        .map_err(|e| sqlite::error(e, "the write-ahead log could not be folded into the file"))?;
    conn.close().map_err(|(_, e)| sqlite::error(e, "the database could not be closed"))
}

fn commit(conn: &Connection, works: Vec<Box<dyn Work>>, counters: &Counters) {
    if works.is_empty() {
        return;
    }
    let alone = works.len() == 1;
    let mut replies: Vec<Reply> = Vec::with_capacity(works.len());
    let mut failures: Vec<Reply> = Vec::new();
    let mut hooks: Vec<Hook> = Vec::new();

    let mut result = run(conn, "BEGIN IMMEDIATE");
    for work in works {
        if let Err(error) = &result {
            work.refuse(error);
            continue;
        }
        // A closure that fails must undo itself alone; when it is alone anyway the transaction does that.
        if !alone && let Err(error) = run(conn, "SAVEPOINT part") {
            work.refuse(&error);
            result = Err(error);
            continue;
        }
        let mut tx = Tx::new(conn);
        match catch_unwind(AssertUnwindSafe(|| work.run(&mut tx))) {
            Ok(Ok(reply)) => {
                hooks.append(&mut tx.hooks);
                replies.push(reply);
                if !alone {
                    result = run(conn, "RELEASE part");
                }
            }
            failed @ (Ok(Err(_)) | Err(_)) => {
                if let Ok(Err(reply)) = failed {
                    failures.push(reply);
                }
                if conn.is_autocommit() {
                    // Disk full, I/O error: SQLite rolled back everything, the earlier closures' work included.
                    result = Err(Error::new(ErrorKind::Storage, "the engine rolled the transaction back"));
                } else if !alone {
                    result = run(conn, "ROLLBACK TO part").and_then(|()| run(conn, "RELEASE part"));
                }
            }
        }
    }
    if result.is_ok() && !replies.is_empty() {
        result = run(conn, "COMMIT");
    }
    if !conn.is_autocommit()
        && let Err(error) = run(conn, "ROLLBACK")
    {
        tracing::error!(%error, "a transaction could not be rolled back");
    }
    let failed = result.as_ref().err();
    if failed.is_none() && !replies.is_empty() {
        counters.writes.fetch_add(replies.len() as u64, Ordering::Relaxed);
        counters.commits.fetch_add(1, Ordering::Relaxed);
    }
    for reply in failures.into_iter().chain(replies) {
        reply(failed);
    }
    if failed.is_none() {
        for hook in hooks {
            if catch_unwind(AssertUnwindSafe(hook)).is_err() {
                tracing::error!("an after-commit hook panicked; the commit stands");
            }
        }
    }
}

fn run(conn: &Connection, sql: &'static str) -> Result<()> {
    conn.prepare_cached(sql)
        .and_then(|mut statement| statement.execute([]))
        .map(drop)
        .map_err(|e| sqlite::error(e, "the transaction could not be carried out"))
}
