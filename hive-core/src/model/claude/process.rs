//! One process with its children: fed, read within bounds, and gone afterwards.

use std::io;
use std::pin::pin;
use std::process::Stdio;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWriteExt};
use tokio::process::{Child, ChildStdout, Command};

use super::output::is_result;
use crate::clock::{Clock, timeout};
use crate::limits::{CLAUDE_DRAIN, CLAUDE_EXIT_GRACE, CLAUDE_OUTPUT_BYTES_MAX, CLAUDE_STDERR_BYTES_KEPT};
use crate::process::{Group, read_tail};

/// What a process left.
pub(super) struct Finished {
    /// The exit code; `None` when a signal ended it, or when it had answered but did not end.
    pub(super) code: Option<i32>,
    pub(super) stdout: Vec<u8>,
    /// The end of its error output.
    pub(super) stderr: Vec<u8>,
}

pub(super) enum Fault {
    Guard(io::Error),
    Spawn(io::Error),
    Io(io::Error),
    TooMuch,
}

/// Runs the command with this input until it has answered and ended.
///
/// # Cancel safety
/// When the future is dropped, the process and all its children are killed.
pub(super) async fn run(mut command: Command, input: &[u8], clock: &dyn Clock) -> Result<Finished, Fault> {
    command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let mut group = Group::new().await.map_err(Fault::Guard)?;
    group.enlist(&mut command);
    let mut child = command.spawn().map_err(Fault::Spawn)?;
    let (stdin, stdout, stderr) = (child.stdin.take(), child.stdout.take(), child.stderr.take());
    let (mut answer, mut complaint) = (Vec::new(), Vec::new());

    let code = {
        let mut beside = pin!(async {
            tokio::join!(
                async {
                    if let Some(mut stdin) = stdin {
                        // A process that does not read its input to the end may still answer; what it says is what counts.
                        let _ = stdin.write_all(input).await;
                    }
                },
                async {
                    if let Some(mut stderr) = stderr {
                        read_tail(&mut stderr, &mut complaint, CLAUDE_STDERR_BYTES_KEPT).await;
                    }
                },
            )
        });
        let mut beside_done = false;
        let code = {
            let mut main = pin!(follow(&mut child, stdout, &mut answer, &mut group, clock));
            loop {
                tokio::select! {
                    biased;
                    code = &mut main => break code?,
                    _ = &mut beside, if !beside_done => beside_done = true,
                }
            }
        };
        group.kill();
        if !beside_done {
            // What was complained of is in the pipe already, and nobody is left to add to it.
            let _ = timeout(clock, CLAUDE_DRAIN, beside).await;
        }
        code
    };
    Ok(Finished {
        code,
        stdout: answer,
        stderr: complaint,
    })
}

/// Follows the child until it has answered and ended; says with which code.
async fn follow(
    child: &mut Child,
    stdout: Option<ChildStdout>,
    answer: &mut Vec<u8>,
    group: &mut Group,
    clock: &dyn Clock,
) -> Result<Option<i32>, Fault> {
    let mut read = pin!(read_answer(stdout, answer));
    let ended = tokio::select! {
        biased;
        read = &mut read => {
            read?;
            None
        }
        status = child.wait() => Some(status.map_err(Fault::Io)?),
    };
    if let Some(status) = ended {
        // Whatever it left running may hold the other end of the pipe open for ever.
        group.kill();
        if let Ok(read) = timeout(clock, CLAUDE_DRAIN, read).await {
            read?;
        }
        return Ok(status.code());
    }
    match timeout(clock, CLAUDE_EXIT_GRACE, child.wait()).await {
        Ok(status) => Ok(status.map_err(Fault::Io)?.code()),
        // It has said all it will say, which was paid for.
        Err(_) => Ok(None),
    }
}

/// Reads until the end or until the line with the result has come, within bounds.
async fn read_answer(stdout: Option<impl AsyncRead + Unpin>, answer: &mut Vec<u8>) -> Result<(), Fault> {
    let Some(mut stdout) = stdout else { return Ok(()) };
    let mut line = 0;
    let mut chunk = vec![0; 16 << 10];
    loop {
        let count = stdout.read(&mut chunk).await.map_err(Fault::Io)?;
        if count == 0 {
            return Ok(());
        }
        if answer.len() + count > CLAUDE_OUTPUT_BYTES_MAX {
            return Err(Fault::TooMuch);
        }
        let fresh = answer.len();
        answer.extend_from_slice(chunk.get(..count).unwrap_or_default());
        // Only what is new can hold the end of a line.
        let mut from = fresh;
        while let Some(end) = answer
            .get(from..)
            .and_then(|rest| rest.iter().position(|byte| *byte == b'\n'))
        {
            let end = from + end;
            if answer.get(line..end).is_some_and(is_result) {
                return Ok(());
            }
            (line, from) = (end + 1, end + 1);
        }
    }
}
