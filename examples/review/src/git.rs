//! The `git` program, called so that an untrusted repository cannot make it run anything.
//!
//! Only plumbing that reads objects and the index is used (`rev-parse`, `ls-tree`, `cat-file`, `diff-tree`, `merge-base`,
//! `diff-index --cached`, `ls-files`). No command here looks at the work tree: even `diff-files` may run a clean filter on a
//! file. Hooks, the file system monitor, external diff drivers, text conversions and every transport are switched off;
//! nothing is ever written or locked.

mod objects;
mod repository;
mod work_tree;

use std::path::PathBuf;
use std::process::Stdio;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::process::Command;

pub use objects::{Blob, TreeEntry, TreeEntryKind};
pub use repository::{Commit, Repository};

use crate::error::Error;
use crate::limits;

/// A directory in which git is asked.
#[derive(Clone, Debug)]
struct Git {
    dir: PathBuf,
}

/// One question to git.
struct Ask<'a> {
    args: &'a [&'a str],
    input: &'a [u8],
    bytes_max: u64,
    timeout: Duration,
}

impl<'a> Ask<'a> {
    fn new(args: &'a [&'a str]) -> Self {
        Self {
            args,
            input: b"",
            bytes_max: 1024 * 1024,
            timeout: limits::GIT_TIMEOUT,
        }
    }

    fn input(self, input: &'a [u8]) -> Self {
        Self { input, ..self }
    }

    fn long(self, bytes_max: u64) -> Self {
        Self {
            bytes_max,
            timeout: limits::GIT_LONG_TIMEOUT,
            ..self
        }
    }

    fn name(&self) -> String {
        self.args.first().copied().unwrap_or_default().to_owned()
    }
}

/// What git answered.
struct Answer {
    ok: bool,
    stdout: Vec<u8>,
    stderr: String,
}

/// Configuration that would let a repository run a program or change what is read, set to do nothing.
const CONFIG: [&str; 12] = [
    "core.fsmonitor=false",
    "core.hooksPath=/dev/null",
    "core.attributesFile=/dev/null",
    "core.untrackedCache=false",
    "core.alternateRefsCommand=",
    "core.quotePath=true",
    "core.pager=cat",
    "protocol.allow=never",
    "credential.helper=",
    "diff.external=",
    "diff.orderFile=",
    "diff.ignoreSubmodules=none",
];

/// Variables that point git at another repository than the one the user named.
const FOREIGN: [&str; 13] = [
    "GIT_DIR",
    "GIT_WORK_TREE",
    "GIT_INDEX_FILE",
    "GIT_OBJECT_DIRECTORY",
    "GIT_ALTERNATE_OBJECT_DIRECTORIES",
    "GIT_COMMON_DIR",
    "GIT_NAMESPACE",
    "GIT_PREFIX",
    "GIT_SHALLOW_FILE",
    "GIT_GRAFT_FILE",
    "GIT_EXTERNAL_DIFF",
    "GIT_DIFF_OPTS",
    "LANGUAGE",
];

impl Git {
    fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new("git");
        command
            .arg("-C")
            .arg(&self.dir)
            .arg("--no-pager")
            .arg("--literal-pathspecs");
        for setting in CONFIG {
            command.arg("-c").arg(setting);
        }
        command.args(args);
        for name in FOREIGN {
            command.env_remove(name);
        }
        command
            .env("LC_ALL", "C")
            .env("GIT_TERMINAL_PROMPT", "0")
            .env("GIT_OPTIONAL_LOCKS", "0")
            // A partial clone must not fetch what it lacks: the first variable says so, the second makes sure.
            .env("GIT_NO_LAZY_FETCH", "1")
            .env("GIT_ALLOW_PROTOCOL", "none")
            // Replacement objects would make the review of a commit depend on more than the commit.
            .env("GIT_NO_REPLACE_OBJECTS", "1")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true);
        command
    }

    /// Asks and waits for the answer, within the time and size the question allows.
    ///
    /// # Cancel safety
    /// The process is killed when the future is dropped; nothing is left behind.
    async fn ask(&self, ask: Ask<'_>) -> Result<Answer, Error> {
        let mut child = self.command(ask.args).spawn().map_err(Error::GitMissing)?;
        let stdin = child.stdin.take();
        let stdout = child.stdout.take();
        let stderr = child.stderr.take();
        let feed = async {
            if let Some(mut stdin) = stdin {
                // Git may answer and leave before it has read everything; that is its right.
                let _ = stdin.write_all(ask.input).await;
            }
        };
        let work = async {
            let ((), stdout, stderr) = tokio::join!(feed, drain(stdout, ask.bytes_max), drain(stderr, 64 * 1024));
            let (stdout, stderr) = (stdout?, stderr?);
            if stdout.len() as u64 > ask.bytes_max {
                return Ok((None, stdout, stderr));
            }
            child.wait().await.map(|status| (Some(status), stdout, stderr))
        };
        let failed = |detail: String| Error::Git {
            command: ask.name(),
            detail,
        };
        let (status, stdout, stderr) = match tokio::time::timeout(ask.timeout, work).await {
            Ok(Ok(done)) => done,
            Ok(Err(error)) => return Err(failed(error.to_string())),
            Err(_) => {
                return Err(Error::Timeout {
                    command: ask.name(),
                    seconds: ask.timeout.as_secs(),
                });
            }
        };
        let Some(status) = status else {
            let what = format!("the output of `git {}`", ask.name());
            return Err(Error::TooLarge {
                what,
                limit_mib: ask.bytes_max >> 20,
            });
        };
        Ok(Answer {
            ok: status.success(),
            stdout,
            stderr: String::from_utf8_lossy(&stderr).into_owned(),
        })
    }

    /// Asks a question that must be answered.
    async fn must(&self, ask: Ask<'_>) -> Result<Vec<u8>, Error> {
        let command = ask.name();
        let answer = self.ask(ask).await?;
        if answer.ok {
            Ok(answer.stdout)
        } else {
            Err(self.failure(command, &answer.stderr))
        }
    }

    /// What a failure means, from the words git uses in its own language.
    fn failure(&self, command: String, stderr: &str) -> Error {
        let path = || self.dir.display().to_string();
        if stderr.contains("not a git repository") {
            Error::NotARepository { path: path() }
        } else if stderr.contains("dubious ownership") {
            Error::DubiousOwnership { path: path() }
        } else if [
            "unable to read",
            "missing blob",
            "bad object",
            "could not fetch",
            "lazy fetching disabled",
            "promisor",
        ]
        .iter()
        .any(|words| stderr.contains(words))
        {
            Error::MissingObjects {
                detail: first_line(stderr),
            }
        } else {
            Error::Git {
                command,
                detail: first_line(stderr),
            }
        }
    }
}

async fn drain(pipe: Option<impl tokio::io::AsyncRead + Unpin>, bytes_max: u64) -> std::io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    if let Some(pipe) = pipe {
        // One byte more than allowed tells "just fits" from "too much".
        pipe.take(bytes_max + 1).read_to_end(&mut bytes).await?;
    }
    Ok(bytes)
}

/// The first line, without what could steer a terminal.
fn first_line(text: &str) -> String {
    let line = text
        .lines()
        .find(|line| !line.trim().is_empty())
        .unwrap_or("no reason given");
    line.chars()
        .filter(|character| !character.is_control())
        .take(300)
        .collect()
}

#[cfg(test)]
mod tests;
