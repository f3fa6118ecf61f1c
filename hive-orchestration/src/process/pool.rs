//! The processes of one agent: who gets which, and the one task of the runtime that looks after each.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Duration;

use hive_core::clock::{Clock, SystemClock};
use hive_core::rng::{Rng, SystemRng};
use hive_core::shutdown::TaskSet;
use hive_errors::{ErrorKind, Failure};
use tokio::sync::mpsc::{self, UnboundedReceiver, UnboundedSender};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot};
use tokio_util::sync::CancellationToken;

use super::Spec;
use super::child::{Child, Served};
use super::end::Cause;
use super::protocol::Said;
use super::restarts::{Restarts, Stage, Verdict};
use crate::limits;

/// What a seat is told. Never more than a few for each task: its begin, its end, and one answer to each question, whose
/// number is bounded by what a process may leave unread.
#[derive(Debug)]
pub(super) enum Order {
    Begin(Task),
    Reply {
        id: String,
        line: Vec<u8>,
    },
    /// Nobody wants it any more.
    Forget(String),
}

/// What an attempt is told.
#[derive(Debug)]
pub(super) enum News {
    /// A process has it from now on.
    Begun,
    Said(Said),
}

/// A task on its way to a process.
#[derive(Debug)]
pub(super) struct Task {
    pub(super) id: String,
    pub(super) line: Vec<u8>,
    pub(super) news: mpsc::Sender<News>,
    lost: oneshot::Sender<Failure>,
    /// Given back when no process works on it any more.
    _place: Place,
}

impl Task {
    pub(super) fn lose(self, why: Failure) {
        // Nobody may be left who wants to know.
        let _ = self.lost.send(why);
    }
}

/// What an attempt holds of its task. When dropped, the process is told to stop working on it.
#[derive(Debug)]
pub(super) struct Ticket {
    id: String,
    orders: UnboundedSender<Order>,
    pub(super) news: mpsc::Receiver<News>,
    lost: oneshot::Receiver<Failure>,
}

impl Ticket {
    pub(super) fn id(&self) -> &str {
        &self.id
    }

    /// Answers a question of the process's.
    pub(super) fn reply(&self, line: Vec<u8>) {
        let id = self.id.clone();
        // A pool that is closed has no process that waits for an answer.
        let _ = self.orders.send(Order::Reply { id, line });
    }

    /// Why there is no more news.
    pub(super) fn why(&mut self) -> Failure {
        self.lost.try_recv().unwrap_or_else(|_| {
            Failure::retryable("the process was stopped with its hive").with_kind(ErrorKind::ShuttingDown)
        })
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        let _ = self.orders.send(Order::Forget(std::mem::take(&mut self.id)));
    }
}

/// The right to give a certain process one more task.
#[derive(Debug)]
struct Place {
    seat: Arc<Standing>,
    _permit: OwnedSemaphorePermit,
}

impl Drop for Place {
    fn drop(&mut self) {
        self.seat.load.fetch_sub(1, Ordering::AcqRel);
    }
}

/// How a seat is doing, for whoever chooses one.
#[derive(Debug, Default)]
struct Standing {
    /// Tasks that it has or is about to get.
    load: AtomicUsize,
    /// Its process is ready.
    hot: AtomicBool,
}

#[derive(Debug)]
struct Seat {
    standing: Arc<Standing>,
    orders: UnboundedSender<Order>,
}

/// The processes of one agent. Whatever runs is killed when it is dropped.
#[derive(Debug)]
pub(super) struct Pool {
    spec: Arc<Spec>,
    places: Arc<Semaphore>,
    seats: Mutex<Vec<Seat>>,
    /// Made at the first task, which is the first to be within a runtime.
    tasks: OnceLock<TaskSet>,
    stop: CancellationToken,
}

impl Pool {
    pub(super) fn new(spec: Spec) -> Self {
        Self {
            places: Arc::new(Semaphore::new(spec.processes * spec.concurrent)),
            spec: Arc::new(spec),
            seats: Mutex::new(Vec::new()),
            tasks: OnceLock::new(),
            stop: CancellationToken::new(),
        }
    }

    pub(super) fn spec(&self) -> &Spec {
        &self.spec
    }

    /// Waits for its turn and gives the task to a process, which is started when none that is there has room.
    ///
    /// # Cancel safety
    /// Dropped, the task was given to nobody.
    pub(super) async fn submit(&self, id: String, line: Vec<u8>) -> Result<Ticket, Failure> {
        let closed = || Failure::retryable("the hive is shutting down").with_kind(ErrorKind::ShuttingDown);
        let permit = Arc::clone(&self.places).acquire_owned().await;
        let permit = permit.map_err(|_| closed())?;
        let (standing, orders) = self.choose().ok_or_else(closed)?;
        let (sender, news) = mpsc::channel(limits::PROCESS_MESSAGES);
        let (lose, lost) = oneshot::channel();
        let task = Task {
            id: id.clone(),
            line,
            news: sender,
            lost: lose,
            _place: Place {
                seat: standing,
                _permit: permit,
            },
        };
        let ticket = Ticket {
            id,
            orders: orders.clone(),
            news,
            lost,
        };
        orders.send(Order::Begin(task)).map_err(|_| closed())?;
        Ok(ticket)
    }

    /// The seat with room that is hot, else has the least to do; a new one when all that are there are in use. Counts the
    /// task in.
    fn choose(&self) -> Option<(Arc<Standing>, UnboundedSender<Order>)> {
        let mut seats = self.seats.lock().unwrap_or_else(PoisonError::into_inner);
        if self.stop.is_cancelled() {
            return None;
        }
        let best = seats
            .iter()
            .enumerate()
            .map(|(index, seat)| {
                let load = seat.standing.load.load(Ordering::Acquire);
                (!seat.standing.hot.load(Ordering::Acquire), load, index)
            })
            .filter(|(_, load, _)| *load < self.spec.concurrent)
            .min();
        let index = match best {
            // Cold and busy starting: another one may be started beside it.
            Some((true, 1.., _)) | None if seats.len() < self.spec.processes => {
                seats.push(self.open());
                seats.len() - 1
            }
            Some((_, _, index)) => index,
            // Invariant: there are as many permits as places.
            None => return None,
        };
        let seat = seats.get(index)?;
        seat.standing.load.fetch_add(1, Ordering::AcqRel);
        Some((Arc::clone(&seat.standing), seat.orders.clone()))
    }

    fn open(&self) -> Seat {
        let (orders, received) = mpsc::unbounded_channel();
        let standing = Arc::new(Standing::default());
        let keeper = Keeper {
            spec: Arc::clone(&self.spec),
            standing: Arc::clone(&standing),
            stop: self.stop.clone(),
            restarts: Restarts::new(self.spec.restart.clone()),
            given_up: None,
        };
        self.tasks
            .get_or_init(|| TaskSet::new(Arc::new(SystemClock)))
            .spawn(format!("process of {}", self.spec.name), keeper.keep(received));
        Seat { standing, orders }
    }

    /// Ends all processes in good order: their input ends, then they are told, then killed, with the grace in between.
    ///
    /// # Cancel safety
    /// Dropped, the processes end all the same.
    pub(super) async fn close(&self) {
        {
            // Nobody opens a seat after this.
            let _seats = self.seats.lock().unwrap_or_else(PoisonError::into_inner);
            self.stop.cancel();
        }
        self.places.close();
        if let Some(tasks) = self.tasks.get() {
            let limit = self
                .spec
                .grace
                .saturating_mul(3)
                .saturating_add(limits::PROCESS_DRAIN * 2);
            if let Err(error) = tasks.join_all(limit).await.into_result() {
                tracing::error!(agent = self.spec.name, %error, "the processes of an agent did not end well");
            }
        }
    }
}

/// Looks after one seat: starts a process when there is a task, and again when it died.
struct Keeper {
    spec: Arc<Spec>,
    standing: Arc<Standing>,
    stop: CancellationToken,
    restarts: Restarts,
    /// Until when the program is left alone, and why.
    given_up: Option<(Duration, Failure)>,
}

impl Keeper {
    async fn keep(mut self, mut orders: UnboundedReceiver<Order>) {
        loop {
            let order = tokio::select! {
                () = self.stop.cancelled() => return,
                order = orders.recv() => order,
            };
            match order {
                None => return,
                // For a process that is gone.
                Some(Order::Reply { .. } | Order::Forget(_)) => {}
                Some(Order::Begin(task)) => self.serve(task, &mut orders).await,
            }
        }
    }

    async fn serve(&mut self, task: Task, orders: &mut UnboundedReceiver<Order>) {
        let stop = self.stop.clone();
        let child = tokio::select! {
            child = self.start() => child,
            // Whoever wanted it is gone; the next one starts it.
            () = task.news.closed() => return,
            () = stop.cancelled() => return,
        };
        let child = match child {
            Ok(child) => child,
            Err(failure) => return task.lose(failure),
        };
        self.standing.hot.store(true, Ordering::Release);
        let served = child.serve(&self.spec, task, orders, &self.stop).await;
        self.standing.hot.store(false, Ordering::Release);
        self.note(&served);
    }

    fn note(&mut self, served: &Served) {
        if served.tasks_done > 0 {
            self.restarts.task_done();
        }
        if !matches!(served.end.cause, Cause::Stopped) && !served.is_clean() {
            let error = served.end.failure(&self.spec);
            tracing::warn!(agent = self.spec.name, %error, "a process ended");
            let now = SystemClock.monotonic();
            self.restarts.died(Stage::Serving, now, SystemRng.next_u64());
        }
    }

    /// A process that is ready.
    ///
    /// # Cancel safety
    /// Dropped, a process that is not ready yet is killed.
    async fn start(&mut self) -> Result<Child, Failure> {
        let now = SystemClock.monotonic();
        if let Some((until, failure)) = &self.given_up
            && *until > now
        {
            return Err(failure.clone().with_retry_after(until.saturating_sub(now)));
        }
        self.given_up = None;
        let mut tries: u32 = 0;
        loop {
            SystemClock.sleep(self.restarts.wait(SystemClock.monotonic())).await;
            tries += 1;
            let end = match Child::start(&self.spec).await {
                Ok(child) => {
                    self.restarts.ready();
                    return Ok(child);
                }
                Err(end) => end,
            };
            let failure = end.failure(&self.spec);
            tracing::warn!(agent = self.spec.name, tries, error = %failure, "a program did not get ready");
            let now = SystemClock.monotonic();
            let verdict = self.restarts.died(Stage::Starting, now, SystemRng.next_u64());
            if verdict == Verdict::GiveUp {
                let failure = given_up(&end.cause, failure).with("starts", tries);
                self.given_up = Some((now.saturating_add(limits::PROCESS_REST), failure.clone()));
                return Err(failure.with_retry_after(limits::PROCESS_REST));
            }
            if !end.may_pass() {
                return Err(failure);
            }
        }
    }
}

/// Says so in the message, and keeps what was known.
fn given_up(cause: &Cause, last: Failure) -> Failure {
    let message = if matches!(cause, Cause::Died) {
        "the program was given up: it dies again and again before it is ready".to_owned()
    } else {
        format!("the program was given up: {}, again and again", last.message())
    };
    let mut failure = Failure::retryable(message).with_kind(last.kind());
    for (name, value) in last.fields() {
        failure = failure.with(name.to_owned(), value);
    }
    failure.with_hint("run the program by hand and look at what it prints to standard error")
}
