//! Workers that are whole processes, such as further instances of this program on the same database.

use std::ffi::{OsStr, OsString};
use std::fmt;
use std::io;
use std::path::PathBuf;
use std::process::{ExitStatus, Stdio};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use hive_core::clock::{Clock, SystemClock, timeout};
use hive_core::process::{Group, describe};
use hive_core::rng::{Rng, SystemRng};
use hive_core::shutdown::{Shutdown, TaskSet};
use hive_errors::{Error, ErrorKind, Result, RetryPolicy};
use tokio::process::Command;

use super::driver::Workers;
use crate::limits;
use crate::process::{Restarts, Stage};

/// As many processes of one command line as are wanted. Cheap to clone; clones are the same processes.
///
/// Each runs in a [group](hive_core::process) of its own and never outlives this process, nor do its children. One that ends
/// by itself is started again, with growing delays. Those that are too many, the youngest first, are sent `SIGTERM` and killed
/// when they have not ended within the [drain](Self::drain) time. Standard output and error are this process's; the input
/// is empty.
#[derive(Clone)]
pub struct WorkerProcesses {
    line: Arc<CommandLine>,
    crew: Arc<Mutex<Crew>>,
    tasks: TaskSet,
}

#[derive(Clone)]
struct CommandLine {
    program: OsString,
    args: Vec<OsString>,
    env: Vec<(OsString, OsString)>,
    dir: Option<PathBuf>,
    drain: Duration,
    restart: RetryPolicy,
}

#[derive(Default)]
struct Crew {
    /// What ends each, in the order in which they were started.
    stops: Vec<Shutdown>,
    closed: bool,
}

impl WorkerProcesses {
    /// Processes of this program: a path, or a name that is looked for in `PATH`. None runs until [`Workers::set`] says so.
    pub fn new(program: impl AsRef<OsStr>) -> Self {
        Self {
            line: Arc::new(CommandLine {
                program: program.as_ref().to_owned(),
                args: Vec::new(),
                env: Vec::new(),
                dir: None,
                drain: limits::DRAIN,
                restart: RetryPolicy::exponential(5),
            }),
            crew: Arc::default(),
            tasks: TaskSet::new(Arc::new(SystemClock)),
        }
    }

    /// Adds arguments.
    #[must_use]
    pub fn args(mut self, args: impl IntoIterator<Item = impl Into<OsString>>) -> Self {
        let args = args.into_iter().map(Into::into);
        Arc::make_mut(&mut self.line).args.extend(args);
        self
    }

    /// Adds a variable to the environment that they inherit.
    #[must_use]
    pub fn env(mut self, name: impl Into<OsString>, value: impl Into<OsString>) -> Self {
        Arc::make_mut(&mut self.line).env.push((name.into(), value.into()));
        self
    }

    /// Where they work; where this process does unless set.
    #[must_use]
    pub fn dir(mut self, dir: impl Into<PathBuf>) -> Self {
        Arc::make_mut(&mut self.line).dir = Some(dir.into());
        self
    }

    /// How long one may take to end once it was told to; [`DRAIN`](crate::limits::DRAIN) unless set. Longer than it drains
    /// itself, or it is killed while it does.
    #[must_use]
    pub fn drain(mut self, limit: Duration) -> Self {
        Arc::make_mut(&mut self.line).drain = limit;
        self
    }

    /// How long to wait before one that ended is started again; exponential back-off unless set. One that ends again and
    /// again within [`PROCESS_REST`](crate::limits::PROCESS_REST) of its start, as often as the policy has attempts, is left
    /// alone for as long.
    #[must_use]
    pub fn restart(mut self, policy: RetryPolicy) -> Self {
        Arc::make_mut(&mut self.line).restart = policy;
        self
    }

    /// Ends them all as if they were too many, for good, and waits until they are gone.
    ///
    /// # Cancel safety
    /// Dropped, they end all the same.
    pub async fn close(&self) {
        {
            let mut crew = self.crew();
            crew.closed = true;
            crew.stops.drain(..).for_each(|stop| stop.request());
        }
        let limit = self.line.drain.saturating_add(limits::PROCESS_DRAIN);
        if let Err(error) = self.tasks.join_all(limit).await.into_result() {
            tracing::error!(%error, "worker processes did not end well");
        }
    }

    fn crew(&self) -> MutexGuard<'_, Crew> {
        self.crew.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[async_trait]
impl Workers for WorkerProcesses {
    async fn set(&self, count: u32) -> Result<()> {
        let count = usize::try_from(count).unwrap_or(usize::MAX);
        if count > limits::PROCESSES_MAX {
            return Err(Error::new(ErrorKind::LimitReached, "too many worker processes")
                .with("count", count)
                .with("limit", limits::PROCESSES_MAX));
        }
        let mut crew = self.crew();
        if crew.closed {
            return Err(Error::new(ErrorKind::ShuttingDown, "the worker processes were closed"));
        }
        while crew.stops.len() > count
            && let Some(stop) = crew.stops.pop()
        {
            stop.request();
        }
        while crew.stops.len() < count {
            let stop = Shutdown::new();
            crew.stops.push(stop.clone());
            self.tasks.spawn("worker process", keep(Arc::clone(&self.line), stop));
        }
        Ok(())
    }

    fn running(&self) -> u32 {
        u32::try_from(self.crew().stops.len()).unwrap_or(u32::MAX)
    }
}

impl fmt::Debug for WorkerProcesses {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WorkerProcesses")
            .field("program", &self.line.program)
            .field("running", &self.running())
            .finish_non_exhaustive()
    }
}

/// Keeps one process running until it is to stop.
async fn keep(line: Arc<CommandLine>, stop: Shutdown) {
    let mut restarts = Restarts::new(line.restart.clone());
    while !stop.is_requested() {
        let wait = SystemClock.sleep(restarts.wait(SystemClock.monotonic()));
        if stop.guard(wait).await.is_err() {
            return;
        }
        let began = SystemClock.monotonic();
        let ended = run(&line, &stop).await;
        if stop.is_requested() {
            return;
        }
        let now = SystemClock.monotonic();
        let stage = if now.saturating_sub(began) < limits::PROCESS_REST {
            Stage::Starting
        } else {
            restarts.ready();
            restarts.task_done();
            Stage::Serving
        };
        let verdict = restarts.died(stage, now, SystemRng.next_u64());
        let program = line.program.to_string_lossy();
        match ended {
            Ok(status) => {
                tracing::warn!(%program, status = describe(status), ?verdict, "a worker process ended by itself");
            }
            Err(error) => tracing::warn!(%program, %error, ?verdict, "a worker process could not be started"),
        }
    }
}

/// Runs it to its end, which comes soon after `stop` asks for it.
///
/// # Cancel safety
/// When the future is dropped, the process and its children are killed.
async fn run(line: &CommandLine, stop: &Shutdown) -> io::Result<ExitStatus> {
    let mut group = Group::new().await?;
    let mut command = Command::new(&line.program);
    command
        .args(&line.args)
        .envs(line.env.iter().map(|(name, value)| (name, value)))
        .stdin(Stdio::null());
    if let Some(dir) = &line.dir {
        command.current_dir(dir);
    }
    group.enlist(&mut command);
    let mut process = command.spawn()?;
    let ended = tokio::select! {
        status = process.wait() => Some(status),
        () = group.unguarded() => None,
        () = stop.requested() => {
            group.terminate();
            timeout(&SystemClock, line.drain, process.wait()).await.ok()
        }
    };
    // Its children go with it, whatever they still do.
    group.kill();
    let status = match ended {
        Some(status) => status,
        None => process.wait().await,
    };
    group.end().await;
    status
}
