//! A process at work: what it is told, what it says, and how it is made to end.

use std::collections::HashMap;
use std::future::pending;
use std::io;
use std::time::Duration;

use hive_core::clock::{Clock, SystemClock, timeout};
use hive_core::process::resident_bytes;
use tokio::io::AsyncWriteExt;
use tokio::process::ChildStdin;
use tokio::sync::mpsc::{self, UnboundedReceiver};
use tokio_util::sync::CancellationToken;

use super::{Child, Served, log, tail, too_long};
use crate::limits;
use crate::process::Spec;
use crate::process::end::Cause;
use crate::process::lines::Next;
use crate::process::pool::{News, Order, Task};
use crate::process::protocol::{FromChild, Garbage, ToChild};

/// A task that the process has.
#[derive(Debug)]
struct Running {
    task: Task,
    /// Nobody wants it any more; it must be over by then.
    cancelled: Option<Duration>,
}

/// How far the process has been asked to end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Ending {
    No,
    /// Its input is closed.
    Asked {
        until: Duration,
    },
    /// It has been sent `SIGTERM`.
    Told {
        until: Duration,
    },
    Killed,
}

pub(super) struct Session<'a> {
    spec: &'a Spec,
    child: Child,
    /// What is to be written, and how much of it has been.
    out: Vec<u8>,
    written: usize,
    tasks: HashMap<String, Running>,
    /// A message whose receiver has no room for it yet.
    delivery: Option<(mpsc::Sender<News>, News)>,
    ending: Ending,
    /// Why it is being ended, unless it ends by itself.
    cause: Option<Cause>,
    memory_look: Option<Duration>,
    logs_left: u32,
    /// Nothing is read before this moment.
    pause: Option<Duration>,
    done: u64,
}

enum Event {
    Stop,
    Order(Option<Order>),
    Wrote(io::Result<usize>),
    Line(io::Result<Next>),
    Delivered,
    Complained,
    Exited,
    Unguarded,
    Due,
}

impl<'a> Session<'a> {
    pub(super) fn new(child: Child, spec: &'a Spec) -> Self {
        Self {
            spec,
            child,
            out: Vec::new(),
            written: 0,
            tasks: HashMap::new(),
            delivery: None,
            ending: Ending::No,
            cause: None,
            memory_look: spec.memory.map(|_| SystemClock.monotonic()),
            logs_left: limits::PROCESS_LOG_LINES,
            pause: None,
            done: 0,
        }
    }

    /// Returns when the process has ended, with the cause.
    pub(super) async fn run(&mut self, orders: &mut UnboundedReceiver<Order>, stop: &CancellationToken) -> Cause {
        let mut readable = true;
        loop {
            let due = self.due();
            let child = &mut self.child;
            let event = tokio::select! {
                () = stop.cancelled(), if self.ending == Ending::No => Event::Stop,
                order = orders.recv(), if self.ending == Ending::No => Event::Order(order),
                wrote = write(&mut child.stdin, self.out.get(self.written..).unwrap_or_default()) => Event::Wrote(wrote),
                line = child.lines.next(), if readable && self.delivery.is_none() && self.pause.is_none() => {
                    Event::Line(line)
                }
                () = deliver(&mut self.delivery) => Event::Delivered,
                () = tail(&mut child.stderr, &mut child.tail) => Event::Complained,
                _ = child.process.wait() => Event::Exited,
                () = child.group.unguarded(), if self.ending != Ending::Killed => Event::Unguarded,
                () = until(due) => Event::Due,
            };
            match event {
                Event::Stop | Event::Order(None) => self.stop(),
                Event::Order(Some(order)) => self.obey(order),
                Event::Wrote(Ok(count)) => self.wrote(count),
                // It closed its input: it has ended, or will not hear of another task.
                Event::Wrote(Err(_)) => self.ask_to_end(None),
                Event::Line(Ok(Next::Line(line))) => self.hear(&line),
                Event::Line(Ok(Next::TooLong(start))) => self.kill(Cause::Garbage(too_long(&start))),
                Event::Line(Ok(Next::End)) => {
                    // Without a voice it cannot end a task any more.
                    readable = false;
                    self.ask_to_end(None);
                }
                Event::Line(Err(error)) => {
                    readable = false;
                    self.kill(Cause::Unreadable(error));
                }
                Event::Delivered | Event::Complained => {}
                Event::Exited => return self.cause.take().unwrap_or(Cause::Died),
                Event::Unguarded => self.kill(Cause::Unguarded),
                Event::Due => self.look().await,
            }
        }
    }

    /// The next moment at which there is something to do.
    fn due(&self) -> Option<Duration> {
        let cancelled = self.tasks.values().filter_map(|running| running.cancelled);
        let ending = match self.ending {
            Ending::Asked { until } | Ending::Told { until } => Some(until),
            Ending::No | Ending::Killed => None,
        };
        let watched = self.ending == Ending::No;
        let others = cancelled.chain(self.memory_look).filter(|_| watched);
        others.chain(ending).chain(self.pause).min()
    }

    async fn look(&mut self) {
        let now = SystemClock.monotonic();
        self.pause = self.pause.filter(|at| *at > now);
        match self.ending {
            Ending::Asked { until } if until <= now => {
                self.child.group.terminate();
                self.ending = Ending::Told {
                    until: now.saturating_add(self.spec.grace),
                };
            }
            Ending::Told { until } if until <= now => {
                self.ending = Ending::Killed;
                self.child.group.kill();
            }
            Ending::Asked { .. } | Ending::Told { .. } | Ending::Killed => {}
            Ending::No => {
                if let Some(id) = self.overdue(now) {
                    self.cause = Some(Cause::Disobedient(id));
                    self.child.group.terminate();
                    self.ending = Ending::Told {
                        until: now.saturating_add(self.spec.grace),
                    };
                } else if self.memory_look.is_some_and(|at| at <= now) {
                    self.measure().await;
                }
            }
        }
    }

    fn overdue(&self, now: Duration) -> Option<String> {
        let late = |running: &Running| running.cancelled.is_some_and(|until| until <= now);
        let mut tasks = self.tasks.iter();
        tasks.find(|(_, running)| late(running)).map(|(id, _)| id.clone())
    }

    async fn measure(&mut self) {
        let Some(limit) = self.spec.memory else { return };
        let number = self.child.group.number();
        // The runtime must not wait for `/proc`.
        let held = tokio::task::spawn_blocking(move || resident_bytes(number)).await;
        match held {
            Ok(Ok(held)) if held > limit => self.kill(Cause::Memory { held, limit }),
            Ok(Ok(_)) => {
                let next = SystemClock.monotonic().saturating_add(limits::PROCESS_MEMORY_LOOK);
                self.memory_look = Some(next);
            }
            Ok(Err(error)) => self.kill(Cause::Unmeasured(error)),
            Err(error) => self.kill(Cause::Unmeasured(io::Error::other(error))),
        }
    }

    fn obey(&mut self, order: Order) {
        match order {
            Order::Begin(task) => self.begin(task),
            Order::Reply { id, line } => {
                // One for a process of before is for nobody.
                if self.tasks.contains_key(&id) {
                    self.send(&line);
                }
            }
            Order::Forget(id) => {
                let until = SystemClock.monotonic().saturating_add(self.spec.grace);
                let Some(running) = self.tasks.get_mut(&id) else { return };
                running.cancelled = Some(until);
                if let Ok(line) = (ToChild::Cancel { id: &id }).line() {
                    self.send(&line);
                }
            }
        }
    }

    pub(super) fn begin(&mut self, task: Task) {
        if task.news.is_closed() {
            return;
        }
        // There is room: nothing was said about it yet.
        let _ = task.news.try_send(News::Begun);
        self.logs_left = limits::PROCESS_LOG_LINES;
        let line = task.line.clone();
        let running = Running { task, cancelled: None };
        self.tasks.insert(running.task.id.clone(), running);
        self.out.extend_from_slice(&line);
    }

    fn send(&mut self, line: &[u8]) {
        if self.out.len() - self.written > limits::PROCESS_BACKLOG_BYTES {
            self.kill(Cause::Deaf);
        } else {
            self.out.extend_from_slice(line);
        }
    }

    fn wrote(&mut self, count: usize) {
        self.written += count;
        if self.written >= self.out.len() {
            self.out = Vec::new();
            self.written = 0;
        } else if self.written > self.out.len() / 2 {
            self.out.drain(..self.written);
            self.written = 0;
        }
    }

    fn hear(&mut self, line: &[u8]) {
        match FromChild::parse(line) {
            Ok(message) => self.heed(message, line),
            Err(garbage) => self.kill(Cause::Garbage(garbage)),
        }
    }

    fn heed(&mut self, message: FromChild, line: &[u8]) {
        match message {
            FromChild::Hello { .. } => self.kill(Cause::Garbage(Garbage::new("it has said hello before", line))),
            FromChild::Log { id, level, message } => {
                if self.logs_left > 0 {
                    self.logs_left -= 1;
                    log(self.spec, id.as_deref(), level, &message);
                    if self.logs_left == 0 {
                        tracing::warn!(agent = self.spec.name, "a process logs too much; the rest is left out");
                    }
                } else {
                    self.pause = Some(SystemClock.monotonic().saturating_add(limits::PROCESS_LOG_PAUSE));
                }
            }
            FromChild::Of { id, said } => {
                let Some(running) = self.tasks.get(&id) else {
                    return self.kill(Cause::Garbage(Garbage::new("the process has no such task", line)));
                };
                let wanted = running.cancelled.is_none();
                let news = running.task.news.clone();
                if said.is_final() {
                    self.done += u64::from(wanted);
                    // Its place is free from here on.
                    self.tasks.remove(&id);
                }
                if wanted {
                    self.delivery = Some((news, News::Said(said)));
                }
            }
        }
    }

    /// It is time to end; whatever it still works on is lost.
    fn stop(&mut self) {
        self.ask_to_end(Some(Cause::Stopped));
    }

    fn ask_to_end(&mut self, cause: Option<Cause>) {
        if self.ending == Ending::No {
            self.cause = cause;
            self.child.stdin = None;
            self.ending = Ending::Asked {
                until: SystemClock.monotonic().saturating_add(self.spec.grace),
            };
        }
    }

    fn kill(&mut self, cause: Cause) {
        self.cause.get_or_insert(cause);
        self.ending = Ending::Killed;
        self.child.group.kill();
    }

    /// Passes on what the process said before it ended, and tells the others that their tasks are lost.
    pub(super) async fn close(mut self, cause: Cause) -> Served {
        self.child.group.kill();
        self.pause = None;
        // What a process had said before it had to be killed is passed on, and no more of it; what ends by itself is heard
        // to the end.
        let hear_out = self.ending != Ending::Killed;
        let rest = async {
            loop {
                if self.delivery.is_some() {
                    deliver(&mut self.delivery).await;
                }
                if !hear_out {
                    return;
                }
                match self.child.lines.next().await {
                    // Its last line may be cut off.
                    Ok(Next::Line(line)) => match FromChild::parse(&line) {
                        Ok(message) => self.heed(message, &line),
                        Err(_) => return,
                    },
                    Ok(Next::TooLong(_) | Next::End) | Err(_) => return,
                }
            }
        };
        let _ = timeout(&SystemClock, limits::PROCESS_DRAIN, rest).await;
        let Self {
            spec,
            child,
            tasks,
            done,
            ..
        } = self;
        let end = child.end(cause).await;
        let mut lost = 0;
        for (_, running) in tasks {
            if running.cancelled.is_none() {
                lost += 1;
                running.task.lose(end.failure(spec));
            }
        }
        Served {
            end,
            tasks_done: done,
            tasks_lost: lost,
        }
    }
}

/// Writes some of `bytes`; waits for ever when there are none or there is nobody to read them.
///
/// # Cancel safety
/// Nothing is written when the future is dropped.
async fn write(stdin: &mut Option<ChildStdin>, bytes: &[u8]) -> io::Result<usize> {
    match stdin {
        Some(stdin) if !bytes.is_empty() => stdin.write(bytes).await,
        Some(_) | None => pending().await,
    }
}

/// Hands a message over when there is room for it; waits for ever when there is none to hand over.
///
/// # Cancel safety
/// Dropped, the message is still there.
async fn deliver(delivery: &mut Option<(mpsc::Sender<News>, News)>) {
    match delivery {
        Some((sender, _)) => {
            let sender = sender.clone();
            let room = sender.reserve().await;
            if let (Ok(room), Some((_, news))) = (room, delivery.take()) {
                room.send(news);
            }
        }
        None => pending().await,
    }
}

async fn until(due: Option<Duration>) {
    match due {
        Some(due) => SystemClock.sleep(due.saturating_sub(SystemClock.monotonic())).await,
        None => pending().await,
    }
}
