//! One living process: started, fed, read within bounds, and gone afterwards.

mod session;

use std::future::pending;
use std::io;
use std::process::Stdio;

use hive_core::clock::{SystemClock, timeout};
use hive_core::process::{Group, read_tail};
use tokio::process::{ChildStderr, ChildStdin, ChildStdout, Command};
use tokio::sync::mpsc::UnboundedReceiver;
use tokio_util::sync::CancellationToken;

use self::session::Session;
use super::Spec;
use super::end::{Cause, End};
use super::lines::{Lines, Next};
use super::pool::{Order, Task};
use super::protocol::{FromChild, Garbage, Level, VERSION};
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
        if status.is_none() {
            // One that hangs in the kernel is dead all the same, and reaped when it gets out of there.
            let waited = timeout(&SystemClock, limits::PROCESS_DRAIN, self.process.wait()).await;
            status = waited.ok().and_then(Result::ok);
        }
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
