//! One living process: started, fed, read within bounds, and gone afterwards.

use std::collections::HashMap;
use std::future::pending;
use std::io;
use std::process::Stdio;
use std::time::Duration;

use hive_core::clock::{Clock, SystemClock, timeout};
use hive_core::process::{Group, read_tail, resident_bytes};
use tokio::io::AsyncWriteExt;
use tokio::process::{ChildStderr, ChildStdin, ChildStdout, Command};
use tokio::sync::mpsc::{self, UnboundedReceiver};
use tokio_util::sync::CancellationToken;

use super::Spec;
use super::end::{Cause, End};
use super::lines::{Lines, Next};
use super::pool::{News, Order, Task};
use super::protocol::{FromChild, Garbage, Level, ToChild, VERSION};
use crate::limits;

/// A process that has said that it is ready.
#[derive(Debug)]
pub(super) struct Child {
    // Dropped first: it kills the process and its children.
    group: Group,
    process: tokio::process::Child,
    stdin: Option<ChildStdin>,
    lines: Lines<ChildStdout>,
    stderr: Option<ChildStderr>,
    tail: Vec<u8>,
}

impl Child {
    /// Starts the program and waits until it is ready.
    ///
    /// # Errors
    /// How the attempt ended.
    ///
    /// # Cancel safety
    /// When the future is dropped, the process and all its children are killed.
    pub(super) async fn start(spec: &Spec) -> Result<Self, End> {
        let group = Group::new().await.map_err(|error| End::of(Cause::Unstartable(error)))?;
        let mut command = Command::new(&spec.program);
        command
            .args(&spec.args)
            .envs(spec.env.iter().map(|(name, value)| (name, value)))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        if let Some(dir) = &spec.dir {
            command.current_dir(dir);
        }
        group.enlist(&mut command);
        let mut process = command.spawn().map_err(|error| End::of(Cause::Unstartable(error)))?;
        let (stdin, stdout, stderr) = (process.stdin.take(), process.stdout.take(), process.stderr.take());
        let Some(stdout) = stdout else {
            return Err(End::of(Cause::Unstartable(io::Error::other(
                "the process has no output",
            ))));
        };
        let mut child = Self {
            group,
            process,
            stdin,
            lines: Lines::new(stdout, limits::PROCESS_LINE_BYTES),
            stderr,
            tail: Vec::new(),
        };
        match timeout(&SystemClock, spec.startup, child.hello(spec)).await {
            Ok(Ok(())) => Ok(child),
            Ok(Err(cause)) => Err(child.end(cause).await),
            Err(_) => Err(child.end(Cause::NotReady(spec.startup)).await),
        }
    }

    async fn hello(&mut self, spec: &Spec) -> Result<(), Cause> {
        loop {
            let next = tokio::select! {
                next = self.lines.next() => next.map_err(Cause::Unreadable)?,
                () = tail(&mut self.stderr, &mut self.tail) => continue,
            };
            let line = match next {
                Next::Line(line) => line,
                Next::TooLong(start) => return Err(Cause::Garbage(too_long(&start))),
                Next::End => return Err(Cause::Died),
            };
            match FromChild::parse(&line).map_err(Cause::Garbage)? {
                FromChild::Log { id, level, message } => log(spec, id.as_deref(), level, &message),
                FromChild::Hello { protocol, .. } if protocol != VERSION => return Err(Cause::Version(protocol)),
                FromChild::Hello { agents, .. } if !agents.contains(&spec.name) => {
                    return Err(Cause::Stranger(agents));
                }
                FromChild::Hello { .. } => return Ok(()),
                FromChild::Of { .. } => {
                    return Err(Cause::Garbage(Garbage::new("it is not ready yet", &line)));
                }
            }
        }
    }

    /// Kills what is left and collects what there is to say about it.
    async fn end(mut self, cause: Cause) -> End {
        // It may be about to end by itself, and then it should be told with which status.
        let mut status = None;
        if matches!(cause, Cause::Died) {
            let waited = timeout(&SystemClock, limits::PROCESS_DRAIN, self.process.wait()).await;
            status = waited.ok().and_then(Result::ok);
        }
        self.group.kill();
        let status = match status {
            Some(status) => Some(status),
            None => self.process.wait().await.ok(),
        };
        if self.stderr.is_some() {
            let rest = tail(&mut self.stderr, &mut self.tail);
            // Nobody is left to hold the pipe, unless somebody left the group.
            let _ = timeout(&SystemClock, limits::PROCESS_DRAIN, rest).await;
        }
        self.group.end().await;
        End {
            cause,
            status,
            stderr: String::from_utf8_lossy(&self.tail).trim().to_owned(),
        }
    }

    /// Works on what `orders` says until the process ends or `stop` asks for it. Whoever's task is lost is told why.
    ///
    /// # Cancel safety
    /// When the future is dropped, the process and all its children are killed.
    pub(super) async fn serve(
        self,
        spec: &Spec,
        first: Task,
        orders: &mut UnboundedReceiver<Order>,
        stop: &CancellationToken,
    ) -> Served {
        let mut session = Session::new(self, spec);
        session.begin(first);
        let cause = session.run(orders, stop).await;
        session.close(cause).await
    }
}

/// How a process did.
#[derive(Debug)]
pub(super) struct Served {
    pub(super) end: End,
    pub(super) tasks_done: u64,
    pub(super) tasks_lost: u64,
}

impl Served {
    /// Whether it ended when it was free to, having done something: a program may well serve a single task.
    pub(super) fn is_clean(&self) -> bool {
        let success = self.end.status.is_some_and(|status| status.success());
        matches!(self.end.cause, Cause::Died) && success && self.tasks_lost == 0 && self.tasks_done > 0
    }
}

/// Reads error output to its end, then waits for ever.
async fn tail(stderr: &mut Option<ChildStderr>, kept: &mut Vec<u8>) {
    match stderr {
        Some(stream) => read_tail(stream, kept, limits::PROCESS_STDERR_BYTES).await,
        None => pending().await,
    }
    *stderr = None;
}

fn too_long(start: &[u8]) -> Garbage {
    Garbage::new(
        format!("the line is longer than {} bytes", limits::PROCESS_LINE_BYTES),
        start,
    )
}

fn log(spec: &Spec, task: Option<&str>, level: Level, message: &str) {
    let agent = spec.name.as_str();
    let message: String = message.chars().take(limits::PROCESS_LOG_BYTES / 4).collect();
    match level {
        Level::Error => tracing::error!(agent, task, "{message}"),
        Level::Warn => tracing::warn!(agent, task, "{message}"),
        Level::Info => tracing::info!(agent, task, "{message}"),
        Level::Debug => tracing::debug!(agent, task, "{message}"),
        Level::Trace => tracing::trace!(agent, task, "{message}"),
    }
}

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

struct Session<'a> {
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
    fn new(child: Child, spec: &'a Spec) -> Self {
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
    async fn run(&mut self, orders: &mut UnboundedReceiver<Order>, stop: &CancellationToken) -> Cause {
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

    fn begin(&mut self, task: Task) {
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
    async fn close(mut self, cause: Cause) -> Served {
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
