//! Agents that are programs: child processes, in any language, that speak JSON lines on their standard input and output.
//!
//! ```
//! # use hive_orchestration as hive;
//! use hive::Hive;
//! use hive::process::ProcessAgent;
//!
//! # #[tokio::main] async fn main() -> hive::Result<()> {
//! # let dir = tempfile::tempdir().unwrap();
//! # let path = dir.path().join("hive.db");
//! let shout = ProcessAgent::new("shout", "sh").args(["-c", r#"
//!     echo '{"type": "hello", "protocol": 1, "agents": ["shout"]}'
//!     while read -r line; do
//!         id=${line#*'"id":"'}
//!         echo "{\"type\": \"output\", \"id\": \"${id%%\"*}\", \"output\": \"LOUD\"}"
//!     done
//! "#]);
//! let hive = Hive::open(path).agent(shout).start().await?;
//! assert_eq!(hive.submit_named("shout", &"loud").await?.result().await?, "LOUD");
//! hive.shutdown().await
//! # }
//! ```
//!
//! # The protocol, version 1
//!
//! Each message is one JSON object on one line, at most [`PROCESS_LINE_BYTES`](crate::limits::PROCESS_LINE_BYTES) long, in
//! UTF-8. Fields that are not known are ignored. Standard output is for messages only; standard error is free, and its end
//! is part of the failure when the process dies.
//!
//! A program first says which agents it serves, within [`startup`](ProcessAgent::startup). Remember to flush:
//!
//! ```json
//! {"type": "hello", "protocol": 1, "agents": ["shout"]}
//! ```
//!
//! Then it is given tasks, one at a time unless [`concurrent`](ProcessAgent::concurrent) says otherwise. `id` names this attempt in all
//! that follows; `task` and `root` are the ids that stay the same over all attempts (what another service needs to recognise
//! a repetition); `deadline_ms` is how long it has, from now:
//!
//! ```json
//! {"type": "task", "id": "task_…/1", "task": "task_…", "root": "task_…", "tenant": "default", "agent": "shout",
//!  "attempt": 1, "deadline_ms": 3600000, "input": "loud"}
//! ```
//!
//! It ends a task with one of these. A failure is tried again unless `retryable` is false; `code` is one of
//! [`ErrorKind`](crate::errors::ErrorKind)'s or its own:
//!
//! ```json
//! {"type": "output", "id": "task_…/1", "output": "LOUD"}
//! {"type": "failure", "id": "task_…/1", "message": "no", "retryable": false, "code": "busy", "retry_after_ms": 500}
//! ```
//!
//! Meanwhile it may say how far it has come, and log (`error`, `warn`, `info`, `debug`, `trace`; also before `hello`):
//!
//! ```json
//! {"type": "progress", "id": "task_…/1", "done": 3, "total": 10, "note": "third page"}
//! {"type": "log", "level": "info", "message": "the cache is warm"}
//! ```
//!
//! **Steps** are remembered as those of [`Context::step`](crate::Context::step) are. It asks whether a step is on record
//! and, when it is not, does the work and hands the output over. `call` is a number of its own choice that comes back with
//! the answer. When `stored` comes back the output is on disk: the next attempt, in whichever process, is given it.
//!
//! ```json
//! {"type": "step.get", "id": "task_…/1", "call": 1, "name": "plan"}
//! {"type": "reply", "id": "task_…/1", "call": 1, "found": false}
//! {"type": "step.put", "id": "task_…/1", "call": 2, "name": "plan", "output": {"pages": 10}}
//! {"type": "reply", "id": "task_…/1", "call": 2, "stored": true}
//! ```
//!
//! On record, the first answer is `"found": true` with the `output`. A name may be used again; uses are counted, so they
//! must come in the same order in every attempt. With `"effect": "at-most-once"` in `step.get` the step is not done again
//! when its outcome is not known, as with [`Effect::AtMostOnce`](crate::Effect); one that failed without taking effect is
//! ended by a `step.put` with `"failure": {"message": …}` in place of the output. What is refused is answered with
//! `"error": {"code": …, "message": …}`.
//!
//! A task that nobody wants any more is **cancelled**. The process stops working on it and ends it with an `output` or a
//! `failure`, which count for nothing but say that it is free again:
//!
//! ```json
//! {"type": "cancel", "id": "task_…/1"}
//! ```
//!
//! When its **input ends**, the process finishes.
//!
//! # What a program may rely on, and must bear
//!
//! - Processes are started when there is work for them, and kept. One that died is started again, with growing delays
//!   ([`restart`](ProcessAgent::restart)); the attempts that it had fail and may be tried again, with its exit status and the end
//!   of its standard error. A program that dies again and again before its `hello` is left alone for
//!   [`PROCESS_REST`](crate::limits::PROCESS_REST), and tasks are told so.
//! - Whatever is not a message ends the process, and the error quotes it. A pipe is only read as fast as what comes out of
//!   it can be dealt with.
//! - A task that takes longer than [`timeout`](ProcessAgent::timeout) has failed, retryably, and is cancelled. A process that does not
//!   end a cancelled task within the [`grace`](ProcessAgent::grace) is sent `SIGTERM`, and after another grace `SIGKILL`;
//!   other tasks that it had fail with it.
//! - Memory is measured, not reserved: what the process and all its children hold in RAM is looked at
//!   [several times a second](crate::limits::PROCESS_MEMORY_LOOK) and more than the
//!   [limit](ProcessAgent::memory_limit) ends them. A limit by the kernel (`ulimit -v`) would count address space, of which
//!   many a language's runtime takes a terabyte and uses little, and would hold for each process alone.
//! - Nobody outlives the hive. A process and its children are one [group](crate::core::process), which ends with the hive's
//!   shutdown and is killed when the hive's process dies, in whichever way.
//!
//! # What it is not
//!
//! No sandbox: the program may do what its user may, and inherits the environment. A plugin is what cannot.

mod attempt;
mod child;
mod end;
mod lines;
mod pool;
mod protocol;
mod restarts;

#[cfg(test)]
mod tests;

use std::ffi::{OsStr, OsString};
use std::fmt;
use std::future::Future;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::time::Duration;

use hive_core::payload::{Payload, Schema};
use hive_errors::{Result, RetryPolicy};
use schemars::JsonSchema;
use serde::de::DeserializeOwned;

use self::pool::Pool;
pub(crate) use self::restarts::{Restarts, Stage};
use crate::agent::{AnyAgent, Erased, RunFuture};
use crate::context::Context;
use crate::limits;

/// An agent that is a program; see the [module](self) for what it has to say. Give it to
/// [`Builder::agent`](crate::builders::Builder::agent).
#[derive(Clone)]
#[must_use = "an agent does nothing until a hive has it"]
pub struct ProcessAgent {
    spec: Spec,
}

/// Everything there is to know about the program.
#[derive(Clone)]
struct Spec {
    name: String,
    program: OsString,
    args: Vec<OsString>,
    env: Vec<(OsString, OsString)>,
    dir: Option<PathBuf>,
    input: Schema,
    output: Schema,
    check: fn(&Payload) -> Result<()>,
    processes: usize,
    concurrent: usize,
    restart: RetryPolicy,
    retry: RetryPolicy,
    memory: Option<u64>,
    startup: Duration,
    timeout: Duration,
    grace: Duration,
}

impl ProcessAgent {
    /// The agent `name` that is served by `program`: a path, or a name that is looked for in `PATH`. Whether it exists shows
    /// at the first task.
    pub fn new(name: impl Into<String>, program: impl AsRef<OsStr>) -> Self {
        let program = program.as_ref();
        // A relative path must not depend on where the process is to work.
        let absolute = match Path::new(program).components().count() {
            0 | 1 => None,
            _ => std::path::absolute(program).ok(),
        };
        let anything = Schema::of::<serde_json::Value>();
        Self {
            spec: Spec {
                name: name.into(),
                program: absolute.map_or_else(|| program.to_owned(), PathBuf::into_os_string),
                args: Vec::new(),
                env: Vec::new(),
                dir: None,
                input: anything.clone(),
                output: anything,
                check: |_| Ok(()),
                processes: 1,
                concurrent: 1,
                restart: RetryPolicy::exponential(5),
                retry: RetryPolicy::exponential(3),
                memory: None,
                startup: limits::PROCESS_STARTUP,
                timeout: limits::ATTEMPT_TIMEOUT,
                grace: limits::PROCESS_GRACE,
            },
        }
    }

    /// Adds arguments.
    pub fn args(mut self, args: impl IntoIterator<Item = impl Into<OsString>>) -> Self {
        self.spec.args.extend(args.into_iter().map(Into::into));
        self
    }

    /// Adds a variable to the environment that it inherits.
    pub fn env(mut self, name: impl Into<OsString>, value: impl Into<OsString>) -> Self {
        self.spec.env.push((name.into(), value.into()));
        self
    }

    /// Where it works; where the hive's process does unless set.
    pub fn dir(mut self, dir: impl Into<PathBuf>) -> Self {
        self.spec.dir = Some(dir.into());
        self
    }

    /// Describes what it takes, for whoever asks the agent. It is not checked: the program does that. See
    /// [`input`](Self::input).
    pub fn input_schema(mut self, schema: Schema) -> Self {
        self.spec.input = schema;
        self
    }

    /// Describes what it returns.
    pub fn output_schema(mut self, schema: Schema) -> Self {
        self.spec.output = schema;
        self
    }

    /// Takes what fits the type `T`: its schema, and tasks are checked against it when they are submitted.
    pub fn input<T: DeserializeOwned + JsonSchema>(mut self) -> Self {
        self.spec.input = Schema::of::<T>();
        self.spec.check = |input| input.decode::<T>().map(drop);
        self
    }

    /// How many processes there may be, between 1 and [`PROCESSES_MAX`](crate::limits::PROCESSES_MAX); 1 unless set.
    /// Further tasks wait for their turn, as long as [`ATTEMPT_TIMEOUT`](crate::limits::ATTEMPT_TIMEOUT).
    pub fn processes(mut self, count: usize) -> Self {
        self.spec.processes = count.clamp(1, limits::PROCESSES_MAX);
        self
    }

    /// How many tasks one process may have at the same time, between 1 and [`PROCESSES_MAX`](crate::limits::PROCESSES_MAX); 1
    /// unless set. They share its fate.
    pub fn concurrent(mut self, count: usize) -> Self {
        self.spec.concurrent = count.clamp(1, limits::PROCESSES_MAX);
        self
    }

    /// How long to wait before a process that died is started again, and how often one that does not get ready is
    /// started before the program is given up for a while; five times with exponential back-off unless set.
    pub fn restart(mut self, policy: RetryPolicy) -> Self {
        self.spec.restart = policy;
        self
    }

    /// What happens to a task after a failure that is not terminal; three attempts with exponential back-off unless set.
    pub fn retry(mut self, policy: RetryPolicy) -> Self {
        self.spec.retry = policy;
        self
    }

    /// How many bytes a process may hold in RAM, together with its children; no limit unless set. Needs Linux.
    pub fn memory_limit(mut self, bytes: u64) -> Self {
        self.spec.memory = Some(bytes);
        self
    }

    /// How long the program may take until it says hello; [`PROCESS_STARTUP`](crate::limits::PROCESS_STARTUP) unless set.
    pub fn startup(mut self, limit: Duration) -> Self {
        self.spec.startup = limit;
        self
    }

    /// How long one attempt may take from when a process has it; [`ATTEMPT_TIMEOUT`](crate::limits::ATTEMPT_TIMEOUT) unless
    /// set.
    pub fn timeout(mut self, limit: Duration) -> Self {
        self.spec.timeout = limit;
        self
    }

    /// How long a process has to stop working on a cancelled task, or to end when it is to;
    /// [`PROCESS_GRACE`](crate::limits::PROCESS_GRACE) unless set.
    pub fn grace(mut self, limit: Duration) -> Self {
        self.spec.grace = limit;
        self
    }
}

impl From<ProcessAgent> for AnyAgent {
    fn from(agent: ProcessAgent) -> Self {
        Self::erased(Served {
            pool: Pool::new(agent.spec),
        })
    }
}

impl fmt::Debug for ProcessAgent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.spec, f)
    }
}

/// Without arguments and environment, which may hold secrets.
impl fmt::Debug for Spec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ProcessAgent")
            .field("name", &self.name)
            .field("program", &self.program)
            .field("processes", &self.processes)
            .field("concurrent", &self.concurrent)
            .finish_non_exhaustive()
    }
}

/// The agent as the hive sees it.
#[derive(Debug)]
struct Served {
    pool: Pool,
}

impl Erased for Served {
    fn name(&self) -> &str {
        &self.pool.spec().name
    }

    fn is_foreign(&self) -> bool {
        true
    }

    fn input_schema(&self) -> Schema {
        self.pool.spec().input.clone()
    }

    fn output_schema(&self) -> Schema {
        self.pool.spec().output.clone()
    }

    fn retry(&self) -> RetryPolicy {
        self.pool.spec().retry.clone()
    }

    /// The process is held to its own limit; this one is for waiting until there is one.
    fn timeout(&self) -> Duration {
        self.pool.spec().timeout.saturating_add(limits::ATTEMPT_TIMEOUT)
    }

    fn check(&self, input: &Payload) -> Result<()> {
        (self.pool.spec().check)(input)
    }

    fn run<'a>(&'a self, cx: &'a Context, input: &'a Payload) -> RunFuture<'a> {
        Box::pin(attempt::run(&self.pool, cx, input))
    }

    fn close(&self) -> Pin<Box<dyn Future<Output = ()> + Send + '_>> {
        Box::pin(self.pool.close())
    }
}
