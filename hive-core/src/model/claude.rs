//! The Claude command line as a model.
//!
//! Each call runs one `claude -p` process and waits for its answer. The process is kept apart from whatever the machine's
//! user has set up: no settings files, no tools, no MCP servers, no saved session, and the root as its working directory, where
//! nobody else puts instructions. It runs in a [process group](crate::process) of its own, which is killed as a whole when
//! the call ends, by whichever way, and when this process does.
//!
//! Credentials are the command line's own affair: whoever is logged in there, or what its environment says.
//!
//! A process takes about half a second and 184 MB; [`Claude::with_processes`] bounds how many run at once.

mod output;
mod process;

#[cfg(test)]
mod tests;

use std::ffi::OsStr;
use std::fmt;
use std::io;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use hive_errors::{Error, ErrorKind, Result};
use tokio::process::Command;
use tokio::sync::Semaphore;

use super::{Model, Reply, Request};
use crate::clock::{Clock, SystemClock, timeout};
use crate::config::Secret;
use crate::limits::{CLAUDE_ARGUMENT_BYTES_MAX, CLAUDE_OUTPUT_BYTES_MAX, CLAUDE_PROCESSES_DEFAULT};

use output::Question;
use process::Fault;

/// The command line, as it is called in logs, errors and accounts.
const NAME: &str = "claude";

/// What to do when there is no command line.
const INSTALL_HINT: &str =
    "install Claude Code, so that `claude` is found in PATH, or name the program with Claude::at";

/// What every process is told: print one JSON object, and use nothing that is not part of the request.
const ARGUMENTS: [&str; 6] = [
    "-p",
    "--output-format=json",
    "--setting-sources=",
    "--strict-mcp-config",
    "--no-session-persistence",
    "--tools=",
];

/// The Claude command line. Cheap to clone; clones share the bound on processes.
///
/// ```no_run
/// # #[tokio::main] async fn main() -> hive_errors::Result<()> {
/// use hive_core::model::{ModelHandle, claude::Claude};
///
/// let claude = Claude::find().expect("claude is installed").with_model("haiku");
/// println!("{}", ModelHandle::new(claude).ask("Name a prime number.").await?);
/// # Ok(()) }
/// ```
#[derive(Clone)]
pub struct Claude {
    program: PathBuf,
    model: Option<String>,
    environment: Vec<(String, Secret<String>)>,
    processes: Arc<Semaphore>,
    processes_max: usize,
    clock: Arc<dyn Clock>,
}

impl Claude {
    /// The first `claude` in `PATH` that may be run; `None` when there is none.
    pub fn find() -> Option<Self> {
        Self::find_in(&std::env::var_os("PATH")?)
    }

    fn find_in(path: &OsStr) -> Option<Self> {
        let candidates = std::env::split_paths(path).map(|folder| folder.join("claude"));
        candidates
            .into_iter()
            .find(|program| is_executable(program))
            .map(Self::at)
    }

    /// The command line at this path. Whether it exists shows at the first call.
    pub fn at(program: impl Into<PathBuf>) -> Self {
        let program = program.into();
        Self {
            // The process works elsewhere, so a relative path would not lead to the same file.
            program: std::path::absolute(&program).unwrap_or(program),
            model: None,
            environment: Vec::new(),
            processes: Arc::new(Semaphore::new(CLAUDE_PROCESSES_DEFAULT)),
            processes_max: CLAUDE_PROCESSES_DEFAULT,
            clock: Arc::new(SystemClock),
        }
    }

    /// With a model other than the command line's default: an alias such as `haiku`, or a full name.
    #[must_use]
    pub fn with_model(mut self, model: impl Into<String>) -> Self {
        self.model = Some(model.into());
        self
    }

    /// With at most so many processes at once, at least one; further calls wait for their turn within their own deadline.
    /// Default [`CLAUDE_PROCESSES_DEFAULT`].
    #[must_use]
    pub fn with_processes(mut self, processes_max: usize) -> Self {
        self.processes_max = processes_max.clamp(1, Semaphore::MAX_PERMITS);
        self.processes = Arc::new(Semaphore::new(self.processes_max));
        self
    }

    /// With a variable for the process, such as `ANTHROPIC_API_KEY` or `ANTHROPIC_BASE_URL`, besides those of this process.
    #[must_use]
    pub fn with_env(mut self, name: impl Into<String>, value: Secret<String>) -> Self {
        self.environment.push((name.into(), value));
        self
    }

    /// With deadlines by this clock.
    #[must_use]
    pub fn with_clock(mut self, clock: Arc<dyn Clock>) -> Self {
        self.clock = clock;
        self
    }

    /// The program that is run.
    pub fn program(&self) -> &Path {
        &self.program
    }

    fn command(&self, request: &Request, question: &Question) -> Result<Command> {
        let mut command = Command::new(&self.program);
        command.args(ARGUMENTS).current_dir("/");
        // Always in one piece with its value: a value that begins with a dash must not become a flag of its own.
        if let Some(model) = &self.model {
            command.arg(argument("--model", model, char::is_control)?);
        }
        if let Some(system) = &request.system {
            command.arg(argument("--system-prompt", system, |c| c == '\0')?);
        }
        if let Some(schema) = question.schema() {
            command.arg(argument("--json-schema", &schema.to_string(), |c| c == '\0')?);
        }
        // Inherited when a hive runs below Claude Code itself, it would make the command line refuse to start.
        command.env_remove("CLAUDECODE");
        for switch in [
            "DISABLE_AUTOUPDATER",
            "DISABLE_TELEMETRY",
            "CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC",
        ] {
            command.env(switch, "1");
        }
        if let Some(tokens) = request.max_output_tokens {
            command.env("CLAUDE_CODE_MAX_OUTPUT_TOKENS", tokens.to_string());
        }
        command.envs(self.environment.iter().map(|(name, value)| (name, value.expose())));
        Ok(command)
    }

    async fn run(&self, request: &Request) -> Result<Reply> {
        let question = Question::new(request.schema.as_ref());
        let command = self.command(request, &question)?;
        let Ok(_turn) = self.processes.acquire().await else {
            // Invariant: the semaphore is never closed.
            return Err(Error::new(ErrorKind::Internal, "the bound on processes is gone").with("model", NAME));
        };
        let finished = process::run(command, request.prompt.as_bytes(), &*self.clock)
            .await
            .map_err(|fault| self.failed(fault))?;
        question.answer(&finished, self.clock.now())
    }

    fn failed(&self, fault: Fault) -> Error {
        match fault {
            Fault::Guard(source) => {
                Error::new(ErrorKind::Model, "no guard for a claude process can be started").with_source(source)
            }
            Fault::Spawn(source) => {
                let missing = matches!(source.kind(), io::ErrorKind::NotFound | io::ErrorKind::PermissionDenied);
                let kind = if missing {
                    ErrorKind::ModelMissing
                } else {
                    ErrorKind::Model
                };
                let error = Error::new(kind, "the claude program cannot be run")
                    .with("program", self.program.display())
                    .with_source(source);
                if missing { error.with_hint(INSTALL_HINT) } else { error }
            }
            Fault::Io(source) => Error::new(ErrorKind::Model, "the claude process cannot be read").with_source(source),
            Fault::TooMuch => Error::new(ErrorKind::ModelOutput, "the claude process printed too much")
                .with("model", NAME)
                .with("limit", CLAUDE_OUTPUT_BYTES_MAX),
        }
    }
}

#[async_trait]
impl Model for Claude {
    fn name(&self) -> &str {
        NAME
    }

    async fn complete(&self, request: Request) -> Result<Reply> {
        request.check()?;
        let limit: Duration = request.timeout;
        match timeout(&*self.clock, limit, self.run(&request)).await {
            Ok(reply) => reply,
            Err(source) => Err(Error::new(ErrorKind::Timeout, "claude did not answer in time")
                .with("model", NAME)
                .with("timeout", format!("{limit:?}"))
                .with("processes", self.processes_max - self.processes.available_permits())
                .with_source(source)),
        }
    }
}

impl fmt::Debug for Claude {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Claude")
            .field("program", &self.program)
            .field("model", &self.model)
            .field("environment", &self.environment)
            .field("processes_max", &self.processes_max)
            .finish_non_exhaustive()
    }
}

fn argument(flag: &'static str, value: &str, forbidden: impl Fn(char) -> bool) -> Result<String> {
    let invalid = |message: &'static str| Err(Error::new(ErrorKind::InvalidInput, message).with("argument", flag));
    if value.contains(forbidden) {
        return invalid("the value contains a control character");
    }
    if value.len() > CLAUDE_ARGUMENT_BYTES_MAX {
        return Err(Error::new(
            ErrorKind::PayloadTooLarge,
            "the value is too large for a program argument",
        )
        .with("argument", flag)
        .with("size", value.len())
        .with("limit", CLAUDE_ARGUMENT_BYTES_MAX)
        .with_hint("move what is long into the prompt, which has room"));
    }
    Ok(format!("{flag}={value}"))
}

fn is_executable(path: &Path) -> bool {
    path.metadata()
        .is_ok_and(|found| found.is_file() && found.permissions().mode() & 0o111 != 0)
}
