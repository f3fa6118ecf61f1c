//! Child processes that never outlive their parent, and nor do their children.
//!
//! Each child is put into a process [`Group`] of its own, together with a guard: a small shell that does nothing but read
//! from a pipe whose other end only this process holds. However this process ends, also by a signal that nobody can catch,
//! the pipe closes and the guard kills the group, itself included. There is no moment in between: a child that is just being
//! forked holds the other end too, and lets go of it when it runs its program, at which point it is in the group.
//!
//! The guard also keeps the group's number from being given to somebody else, so that a signal never hits a stranger.
//!
//! # What it is not
//!
//! No prison: a process that leaves its group on purpose (`setsid`, a daemon) is not followed. The kernel's own way of
//! ending a child with its parent (`PR_SET_PDEATHSIG`) is not used, because it goes by the thread that made the child, of which a runtime
//! has many that come and go, and because it does not reach the children's children.

mod memory;

#[cfg(test)]
mod tests;

use std::io;
use std::process::{ExitStatus, Stdio};

use rustix::process::{Pid, Signal, kill_process_group};
use tokio::io::{AsyncRead, AsyncReadExt};
use tokio::process::{Child, ChildStdin, Command};

use crate::clock::{SystemClock, timeout};
use crate::limits::PROCESS_GUARD_START;

pub use memory::resident_bytes;

/// Where every Unix keeps its shell; not looked for in `PATH`, which the program may have changed.
const SHELL: &str = "/bin/sh";

/// Only what the shell itself can do, so that nothing has to be found or started when the end has come.
const GUARD: &str = "trap '' HUP INT QUIT TERM; echo ready; while read -r _; do :; done; kill -s KILL 0";

/// A process group under guard, killed as a whole when dropped.
#[derive(Debug)]
pub struct Group {
    number: Pid,
    guard: Child,
    /// The pipe that the guard reads. Taken from its handle, which would close it as soon as somebody waits for the guard.
    _lifeline: Option<ChildStdin>,
    alive: bool,
}

impl Group {
    /// A group with nobody in it but its guard.
    ///
    /// # Errors
    /// When the shell cannot be started, or is not ready within [`PROCESS_GUARD_START`].
    pub async fn new() -> io::Result<Self> {
        let mut guard = Command::new(SHELL)
            .args(["-c", GUARD])
            .current_dir("/")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .process_group(0)
            .kill_on_drop(true)
            .spawn()?;
        let (lifeline, ready) = (guard.stdin.take(), guard.stdout.take());
        let number = guard.id().and_then(|id| Pid::from_raw(i32::try_from(id).ok()?));
        let number = number.ok_or_else(|| io::Error::other("the guard of a process group has no number"))?;
        let group = Self {
            number,
            guard,
            _lifeline: lifeline,
            alive: true,
        };
        // Before it has said so, a signal that it is to ignore would end it.
        let mut word = [0; 6];
        let heard = async {
            match ready {
                Some(mut ready) => ready.read_exact(&mut word).await.map(drop),
                None => Ok(()),
            }
        };
        timeout(&SystemClock, PROCESS_GUARD_START, heard)
            .await
            .map_err(|late| io::Error::new(io::ErrorKind::TimedOut, late))??;
        Ok(group)
    }

    /// Makes the command start in this group. Its process is also killed when its handle is dropped.
    pub fn enlist(&self, command: &mut Command) {
        command
            .process_group(self.number.as_raw_nonzero().get())
            .kill_on_drop(true);
    }

    /// The group's number, which is also the guard's process id.
    pub fn number(&self) -> u32 {
        self.number.as_raw_nonzero().get().unsigned_abs()
    }

    /// Asks everybody in the group to end (`SIGTERM`).
    pub fn terminate(&self) {
        if self.alive {
            // The only failure is that nobody is left.
            let _ = kill_process_group(self.number, Signal::TERM);
        }
    }

    /// Kills everybody in the group (`SIGKILL`). Calling it twice is no error.
    pub fn kill(&mut self) {
        if std::mem::take(&mut self.alive) {
            // The guard was not waited for, so the number still belongs to this group.
            let _ = kill_process_group(self.number, Signal::KILL);
        }
    }

    /// Returns when the guard has ended, which it never does by itself; whatever else was in the group is killed then.
    ///
    /// # Cancel safety
    /// Nothing is lost when the future is dropped.
    pub async fn unguarded(&mut self) {
        let _ = self.guard.wait().await;
        self.kill();
    }

    /// Kills everybody and waits until the guard is gone.
    ///
    /// # Cancel safety
    /// Dropped, the group is killed and the guard is waited for in the background.
    pub async fn end(mut self) {
        self.kill();
        let _ = self.guard.wait().await;
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        self.kill();
    }
}

/// Reads to the end, or to the first error, and keeps the last `max` bytes of what was and is in `kept`.
///
/// # Cancel safety
/// Nothing is lost when the future is dropped; call it again with the same `kept`.
pub async fn read_tail(stream: &mut (impl AsyncRead + Unpin), kept: &mut Vec<u8>, max: usize) {
    let mut chunk = [0; 4 << 10];
    while let Ok(count @ 1..) = stream.read(&mut chunk).await {
        kept.extend_from_slice(chunk.get(..count).unwrap_or_default());
        let surplus = kept.len().saturating_sub(max);
        kept.drain(..surplus);
    }
}

/// How a process ended, for people: `exit status 1` or `signal 9 (killed)`.
pub fn describe(status: ExitStatus) -> String {
    use std::os::unix::process::ExitStatusExt as _;
    match (status.code(), status.signal()) {
        (Some(code), _) => format!("exit status {code}"),
        (None, Some(9)) => "signal 9 (killed)".to_owned(),
        (None, Some(11)) => "signal 11 (segmentation fault)".to_owned(),
        (None, Some(signal)) => format!("signal {signal}"),
        (None, None) => status.to_string(),
    }
}
