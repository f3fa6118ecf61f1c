//! How a process ended, and what a task that it had is told.

use std::io;
use std::process::ExitStatus;
use std::time::Duration;

use hive_core::process::describe;
use hive_errors::{ErrorKind, Failure};

use super::Spec;
use super::protocol::{Garbage, VERSION};

/// Why a process ended, or had to.
#[derive(Debug)]
pub(super) enum Cause {
    /// It did not get as far as running.
    Unstartable(io::Error),
    /// It did not say that it is ready in time.
    NotReady(Duration),
    /// It speaks another version of the protocol.
    Version(u32),
    /// It does not serve this agent, but these.
    Stranger(Vec<String>),
    /// By itself.
    Died,
    Garbage(Garbage),
    Unreadable(io::Error),
    /// It asks and does not read the answers.
    Deaf,
    /// It did not stop working on this task when it was told to.
    Disobedient(String),
    Memory {
        held: u64,
        limit: u64,
    },
    Unmeasured(io::Error),
    /// Somebody killed the guard of its group.
    Unguarded,
    /// The hive has no more work for it.
    Stopped,
}

/// The end of a process.
#[derive(Debug)]
pub(super) struct End {
    pub(super) cause: Cause,
    pub(super) status: Option<ExitStatus>,
    /// The end of its error output.
    pub(super) stderr: String,
}

impl End {
    /// Of a process that never was.
    pub(super) fn of(cause: Cause) -> Self {
        Self {
            cause,
            status: None,
            stderr: String::new(),
        }
    }

    /// Whether starting the same program again could be of use within seconds.
    pub(super) fn may_pass(&self) -> bool {
        match &self.cause {
            Cause::Unstartable(error) => {
                !matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::PermissionDenied)
            }
            Cause::Version(_) | Cause::Stranger(_) => false,
            Cause::NotReady(_)
            | Cause::Died
            | Cause::Garbage(_)
            | Cause::Unreadable(_)
            | Cause::Deaf
            | Cause::Disobedient(_)
            | Cause::Memory { .. }
            | Cause::Unmeasured(_)
            | Cause::Unguarded
            | Cause::Stopped => true,
        }
    }

    /// What an attempt that depended on the process fails with. Another attempt may always succeed: with a new process, or
    /// with a program that was mended meanwhile.
    pub(super) fn failure(&self, spec: &Spec) -> Failure {
        let failure = match &self.cause {
            Cause::Unstartable(error) => Failure::retryable("the program cannot be started")
                .with_kind(ErrorKind::Config)
                .with("cause", error)
                .with_hint("look at the path, the permissions and the working directory of the program"),
            Cause::NotReady(limit) => Failure::retryable("the program did not get ready in time")
                .with_kind(ErrorKind::Timeout)
                .with("limit", format!("{limit:?}"))
                .with_hint("it must print its hello line and flush; allow a slow one more with `startup`"),
            Cause::Version(theirs) => Failure::retryable("the program speaks another version of the protocol")
                .with_kind(ErrorKind::Config)
                .with("expected", VERSION)
                .with("found", theirs),
            Cause::Stranger(agents) => Failure::retryable("the program does not serve this agent")
                .with_kind(ErrorKind::Config)
                .with("serves", agents.join(", ")),
            Cause::Died => Failure::retryable("the process ended before its task did"),
            Cause::Garbage(garbage) => Failure::retryable("the process printed a line that is no message")
                .with("why", &garbage.why)
                .with("line", &garbage.line)
                .with_hint("its standard output is for messages only; print everything else to standard error"),
            Cause::Unreadable(error) => Failure::retryable("the process cannot be read").with("cause", error),
            Cause::Deaf => Failure::retryable("the process asks and does not read the answers"),
            Cause::Disobedient(id) => {
                Failure::retryable("the process had to be ended, because it did not stop working on a cancelled task")
                    .with("cancelled", id)
            }
            Cause::Memory { held, limit } => Failure::retryable("the process used more memory than it may")
                .with_kind(ErrorKind::LimitReached)
                .with("held_bytes", held)
                .with("limit_bytes", limit),
            Cause::Unmeasured(error) => Failure::retryable("the memory of the process cannot be measured")
                .with_kind(ErrorKind::Config)
                .with("cause", error)
                .with_hint("a memory limit needs Linux with /proc"),
            Cause::Unguarded => Failure::retryable("the process had to be killed, because its guard was"),
            Cause::Stopped => {
                Failure::retryable("the process was stopped with its hive").with_kind(ErrorKind::ShuttingDown)
            }
        };
        let mut failure = failure.with("program", spec.program.to_string_lossy());
        if let Some(status) = self.status {
            failure = failure.with("status", describe(status));
        }
        if self.stderr.is_empty() {
            failure
        } else {
            failure.with("stderr", &self.stderr)
        }
    }
}
