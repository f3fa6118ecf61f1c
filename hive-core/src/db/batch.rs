//! Group commit: one thread owns the writing connection, takes everything that waits, commits once, then answers.

mod desk;
mod renewal;

use std::collections::VecDeque;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use hive_errors::{Error, ErrorKind, Result};
use tokio::sync::{oneshot, watch};

use self::desk::Desk;
use super::checkpoint::Checkpoints;
use super::contain::contained;
use super::deadline::now;
use super::house::House;
use super::lock::FileLock;
use super::options::{Stats, Write};
use super::queue::{Linger, Queue, Refused};
use super::reader::Others;
use super::sqlite;
use super::sqlite::Writing;
use super::tx::Tx;
use crate::limits;

/// A closure and whoever waits for it, its types erased. Everything of the user's runs or is dropped in these two.
trait Work: Send {
    /// Whether it must have a commit to itself.
    fn is_alone(&self) -> bool;

    /// What its caller asked for.
    fn asked(&self) -> Write;

    /// Runs the closure and keeps its value; `false` when it failed and must be undone. It may be run again, when what it did
    /// has been undone; one that panicked fails again without being run.
    fn run(&mut self, tx: &mut Tx<'_>) -> bool;

    /// Answers. `commit` is the error that kept it from the disk, whether or not its turn had come.
    fn settle(self: Box<Self>, commit: Option<&Error>);
}

struct Job<T, F> {
    work: Option<F>,
    result: Option<Result<T>>,
    answer: oneshot::Sender<Result<T>>,
    alone: bool,
    asked: Write,
}

impl<T, F> Job<T, F> {
    fn put_away(&mut self) {
        let work = self.work.take();
        if let Err(error) = contained("a database closure panicked when it was dropped", || drop(work)) {
            tracing::error!(%error, "a database closure could not be put away");
        }
    }
}

impl<T, F> Work for Job<T, F>
where
    T: Send + 'static,
    F: FnMut(&mut Tx<'_>) -> Result<T> + Send + 'static,
{
    fn is_alone(&self) -> bool {
        self.alone
    }

    fn asked(&self) -> Write {
        self.asked
    }

    fn run(&mut self, tx: &mut Tx<'_>) -> bool {
        let Some(work) = &mut self.work else { return false };
        let result = contained("a database closure panicked", || work(tx));
        if result.is_err() {
            // What it left of itself is nothing to go on with.
            self.put_away();
        }
        // A closure that took no notice of a statement that failed has not done what it thinks.
        let result = result.flatten().and_then(|value| tx.doom().map_or(Ok(value), Err));
        let kept = result.is_ok();
        if let Some(before) = self.result.replace(result) {
            let _panicked = contained("a closure's value panicked when it was dropped", || drop(before));
        }
        kept
    }

    fn settle(mut self: Box<Self>, commit: Option<&Error>) {
        // Before the answer: whoever has that may count on the closure being gone.
        self.put_away();
        let result = match (self.result, commit) {
            (Some(Ok(_)) | None, Some(error)) => Err(not_committed(error)),
            (Some(result), _) => result,
            (None, None) => Err(Error::new(
                ErrorKind::Internal,
                "a closure was answered before its turn",
            )),
        };
        // A receiver that has gone is no concern of the writer: the work is committed all the same.
        let _gone = self.answer.send(result);
    }
}

/// One failed commit fails every closure in it, each with an error of its own.
fn not_committed(cause: &Error) -> Error {
    let error = Error::new(cause.kind(), "the commit failed, nothing of it was written")
        .with("cause", cause)
        .with_hint(cause.hint().to_owned());
    if cause.is_retryable() {
        error.retryable()
    } else {
        error.terminal()
    }
}

fn closed() -> Error {
    Error::new(ErrorKind::ShuttingDown, "the database is closed")
}

#[derive(Debug, Default)]
struct Counters {
    writes: AtomicU64,
    commits: AtomicU64,
}

/// How the writer's thread ended.
#[derive(Debug, Default)]
struct Ending {
    /// Taken by the first who asks.
    error: Mutex<Option<Error>>,
}

pub(super) struct Writer {
    queue: Arc<Queue<Box<dyn Work>>>,
    thread: Mutex<Option<JoinHandle<()>>>,
    id: thread::ThreadId,
    ended: watch::Receiver<bool>,
    ending: Arc<Ending>,
    counters: Arc<Counters>,
    timeout: Duration,
}

impl Writer {
    pub(super) fn start(
        mut writing: Writing,
        lock: FileLock,
        house: House,
        timeout: Duration,
        others: Others,
    ) -> Result<Self> {
        let checkpoints = Checkpoints::start(&mut writing.conn, &writing.path)?;
        let queue = Arc::new(Queue::new(limits::DB_QUEUE));
        let (counters, ending) = (Arc::new(Counters::default()), Arc::new(Ending::default()));
        let (end, ended) = watch::channel(false);
        let (own_queue, own_counters, own_ending) = (Arc::clone(&queue), Arc::clone(&counters), Arc::clone(&ending));
        let thread = thread::Builder::new()
            .name("hive-db-writer".into())
            .spawn(move || {
                if let Err(error) = serve(writing, checkpoints, &house, &own_queue, &own_counters, &others) {
                    tracing::warn!(%error, "the database was not closed cleanly; the next open mends it");
                    *own_ending.error.lock().unwrap_or_else(PoisonError::into_inner) = Some(error);
                }
                // In this order: whoever hears of the end may open the file again.
                drop(lock);
                end.send_replace(true);
            })
            .map_err(|e| Error::new(ErrorKind::Storage, "the writer's thread could not be started").with_source(e))?;
        let id = thread.thread().id();
        Ok(Self {
            queue,
            thread: Mutex::new(Some(thread)),
            id,
            ended,
            ending,
            counters,
            timeout,
        })
    }

    pub(super) async fn write<T, F>(&self, asked: Write, alone: bool, work: F) -> Result<T>
    where
        T: Send + 'static,
        F: FnMut(&mut Tx<'_>) -> Result<T> + Send + 'static,
    {
        self.not_from_within()?;
        let (answer, value) = oneshot::channel();
        let job = Box::new(Job {
            work: Some(work),
            result: None,
            answer,
            alone,
            asked,
        });
        match self.queue.put(job, self.timeout).await {
            Ok(()) => {}
            Err(Refused::Closed) => return Err(closed()),
            Err(Refused::Full) => {
                return Err(
                    Error::new(ErrorKind::Overloaded, "the database's write queue stayed full")
                        .with("waited_ms", self.timeout.as_millis())
                        .with("limit", limits::DB_QUEUE),
                );
            }
        }
        // No answer means that the writer is gone.
        value.await.unwrap_or_else(|_| Err(closed()))
    }

    /// A closure or hook that waits for its own thread would wait for ever.
    fn not_from_within(&self) -> Result<()> {
        if thread::current().id() != self.id {
            return Ok(());
        }
        Err(
            Error::new(ErrorKind::InvalidInput, "a database closure waits for the database")
                .with_hint("write through the closure's own `tx`, or after the closure has returned"),
        )
    }

    pub(super) fn stats(&self) -> Stats {
        Stats {
            writes: self.counters.writes.load(Ordering::Relaxed),
            commits: self.counters.commits.load(Ordering::Relaxed),
        }
    }

    #[cfg(test)]
    pub(super) fn waiting(&self) -> usize {
        self.queue.len()
    }

    /// Takes no more writes. What is queued is still written; then the thread ends by itself.
    pub(super) fn shut(&self) {
        self.queue.close();
    }

    /// Waits until the file is closed.
    pub(super) async fn ended(&self) -> Result<()> {
        self.not_from_within()?;
        // The sender goes only with the thread: then it has ended as well.
        let mut ended = self.ended.clone();
        let _gone = ended.wait_for(|ended| *ended).await.is_err();
        self.ending
            .error
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take()
            .map_or(Ok(()), Err)
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        self.queue.close();
        let thread = self.thread.lock().unwrap_or_else(PoisonError::into_inner).take();
        // A hook or closure may hold the last handle: then this is the writer's own thread, which ends by itself.
        if let Some(thread) = thread
            && self.id != thread::current().id()
        {
            let _panicked = thread.join();
        }
    }
}

/// Should the writer's thread ever panic, nobody may wait for it.
struct Abandon<'a>(&'a Queue<Box<dyn Work>>);

impl Drop for Abandon<'_> {
    fn drop(&mut self) {
        self.0.close();
        while let Some(works) = self.0.take(usize::MAX, Linger::default()) {
            for work in works {
                let _panicked = contained("a closure panicked when it was dropped", || drop(work));
            }
        }
    }
}

fn serve(
    mut writing: Writing,
    mut checkpoints: Checkpoints,
    house: &House,
    queue: &Queue<Box<dyn Work>>,
    counters: &Counters,
    others: &Others,
) -> Result<()> {
    let _abandon = Abandon(queue);
    let mut pace = Pace::default();
    let mut first = Vec::new();
    loop {
        let desk = Desk::new(&writing.conn, &writing.guard, house, queue, counters)?;
        let trouble = work(desk, first, &writing, &mut checkpoints, queue, &mut pace);
        let ended = checkpoints.end();
        let Some(error) = trouble.or(ended.err()) else { break };
        tracing::error!(%error, "nothing is written until the file has been opened anew");
        let renewed = renewal::renew(writing, queue, others)?;
        (writing, checkpoints, first) = (renewed.writing, renewed.checkpoints, renewed.works);
    }
    others.leave();
    sqlite::close(writing.conn)
}

/// Works until the queue has ended, or until the file must be opened anew: then why. Takes those in `first` before any other.
fn work(
    mut desk: Desk<'_>,
    first: Vec<Box<dyn Work>>,
    writing: &Writing,
    checkpoints: &mut Checkpoints,
    queue: &Queue<Box<dyn Work>>,
    pace: &mut Pace,
) -> Option<Error> {
    let mut first = Some(first).filter(|works| !works.is_empty());
    while let Some(works) = first.take().or_else(|| queue.take(limits::DB_BATCH, pace.linger())) {
        let (count, begun) = (works.len(), now());
        let mut rest = VecDeque::from(works);
        while !rest.is_empty() {
            desk.commit(&mut rest);
            if let Some(error) = desk.take_unsound() {
                renewal::refuse(rest, &error);
                return Some(error);
            }
        }
        if let Err(error) = checkpoints.tend(&writing.conn) {
            return Some(error);
        }
        pace.observe(count + desk.waiting(), begun.elapsed());
    }
    None
}

/// How long to wait for a fuller batch.
///
/// Those whom a commit has just answered write again at once. Without a pause the next commit begins before they are
/// back, and writers take turns in two half batches.
#[derive(Debug, Default)]
struct Pace {
    parties: usize,
    commit: Duration,
}

impl Pace {
    fn observe(&mut self, parties: usize, commit: Duration) {
        self.parties = parties;
        self.commit = (self.commit * 7 + commit) / 8;
    }

    fn linger(&self) -> Linger {
        let at_most = (self.commit / limits::DB_LINGER_SHARE).min(limits::DB_LINGER_MAX);
        Linger {
            items: self.parties,
            at_most,
        }
    }
}
