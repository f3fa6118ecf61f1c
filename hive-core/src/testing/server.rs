//! What all private servers have in common: a folder, a port, a log, and an end.

use std::os::unix::fs::{MetadataExt, chown};
use std::panic::{RefUnwindSafe, UnwindSafe};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Mutex, PoisonError};

use hive_errors::{Error, ErrorKind, Result};

use super::warden::{self, Warden};
use crate::clock::{Clock, SystemClock};
use crate::limits::{TESTING_LOG_BYTES_SHOWN, TESTING_PORTS_TRIED, TESTING_START, TESTING_STOP};
use crate::rng::{Rng, SystemRng};

/// Whether the server with this process id answers.
pub(super) type Ready = Box<dyn Fn(u32) -> bool + Send + Sync + UnwindSafe + RefUnwindSafe>;

/// What a kind of server is started with.
pub(super) struct Launch {
    pub(super) command: Vec<PathBuf>,
    pub(super) ready: Ready,
}

/// A server of this process, gone when it is dropped and also when the process is killed.
pub(super) struct Server {
    name: &'static str,
    folder: PathBuf,
    port: u16,
    ready: Ready,
    warden: Mutex<Warden>,
}

impl Server {
    /// Starts a server called `name` in a new folder within `place`. `ending` is the signal that ends it for good.
    pub(super) fn start(
        name: &'static str,
        place: &Path,
        ending: &'static str,
        prepare: impl Fn(&Path, u16) -> Result<Launch>,
    ) -> Result<Self> {
        let mut last = None;
        for _ in 0..TESTING_PORTS_TRIED {
            let started = Self::start_on(name, place, ending, free_port()?, &prepare);
            match started {
                // Somebody else has taken the port since it was looked at.
                Err(error) if error.field("log").is_some_and(port_taken) => last = Some(error),
                Ok(_) | Err(_) => return started,
            }
        }
        Err(last.unwrap_or_else(|| Error::new(ErrorKind::Internal, "no port was tried")))
    }

    fn start_on(
        name: &'static str,
        place: &Path,
        ending: &'static str,
        port: u16,
        prepare: &impl Fn(&Path, u16) -> Result<Launch>,
    ) -> Result<Self> {
        let folder = place.join(format!("hive-{name}-{}", secret()));
        let warden = Warden::new(&folder, TESTING_START, ending)?;
        let launch = prepare(&folder, port)?;
        let script = warden::script(&launch.command)?;
        write(&folder.join("start"), &script)?;
        let server = Self {
            name,
            folder,
            port,
            ready: launch.ready,
            warden: Mutex::new(warden),
        };
        server.start_again()?;
        Ok(server)
    }

    pub(super) fn port(&self) -> u16 {
        self.port
    }

    pub(super) fn folder(&self) -> &Path {
        &self.folder
    }

    /// Starts the server on the same port and data, unless it is running, and waits until it answers.
    pub(super) fn start_again(&self) -> Result<()> {
        let mut warden = self.warden();
        if warden.running() {
            return Ok(());
        }
        let end = SystemClock.monotonic() + TESTING_START;
        loop {
            // What it said before belongs to a start that is over.
            let old = std::fs::metadata(self.folder.join("log")).map_or(0, |log| log.len());
            let pid = warden.start(TESTING_START)?;
            let left = end.saturating_sub(SystemClock.monotonic());
            let seen = super::until(left, || {
                if (self.ready)(pid) {
                    return Some(true);
                }
                (!warden.running()).then_some(false)
            });
            let log = self.log_after(old);
            match seen {
                Some(true) => return Ok(()),
                // The remains of a crash: the system takes a moment to let go of them.
                Some(false) if log.contains("shared memory block") && SystemClock.monotonic() < end => {}
                Some(false) => return Err(self.failed("a server ended instead of starting", &log)),
                None => return Err(self.failed("a server did not answer in time", &log)),
            }
        }
    }

    /// Asks the server to end, with `signal`, and waits until it has. Its data stays.
    pub(super) fn stop(&self, signal: &str) -> Result<()> {
        self.warden()
            .end(signal, TESTING_STOP)
            .map_err(|error| error.with("server", self.name))
    }

    /// Kills the server and its children without warning. Its data stays as it is.
    pub(super) fn kill(&self) -> Result<()> {
        self.warden()
            .crash(TESTING_STOP)
            .map_err(|error| error.with("server", self.name))
    }

    /// The end of what the server has said.
    pub(super) fn log(&self) -> String {
        self.log_after(0)
    }

    fn log_after(&self, start: u64) -> String {
        let log = std::fs::read(self.folder.join("log")).unwrap_or_default();
        let start = usize::try_from(start).unwrap_or(usize::MAX);
        let first = start.max(log.len().saturating_sub(TESTING_LOG_BYTES_SHOWN));
        String::from_utf8_lossy(log.get(first..).unwrap_or_default())
            .trim()
            .to_owned()
    }

    fn failed(&self, message: &'static str, log: &str) -> Error {
        Error::new(ErrorKind::Storage, message)
            .terminal()
            .with("server", self.name)
            .with("port", self.port)
            .with("log", log)
            .with_hint("the server's own words are in the field `log`")
    }

    fn warden(&self) -> std::sync::MutexGuard<'_, Warden> {
        // A panic in the kit leaves the server as it is; whoever asks next hears its true state.
        self.warden.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn port_taken(log: &str) -> bool {
    let log = log.to_lowercase();
    log.contains("address already in use") || log.contains("could not bind") || log.contains("could not create server")
}

/// A port on which nobody listens.
///
/// Not one that the system would pick: it hands those out to every connection that is made, so that a server which is down for
/// a while might not get its own back.
pub(super) fn free_port() -> Result<u16> {
    for _ in 0..1_000 {
        let port = 12_000 + u16::try_from(SystemRng.next_u64() % 20_000).unwrap_or(0);
        if std::net::TcpListener::bind(("127.0.0.1", port)).is_ok() {
            return Ok(port);
        }
    }
    Err(Error::new(ErrorKind::LimitReached, "no free port was found").with("tried", 1_000))
}

/// Words that nobody can guess, for passwords and names.
pub(super) fn secret() -> String {
    format!("{:016x}{:016x}", SystemRng.next_u64(), SystemRng.next_u64())
}

/// Who a server runs as: whoever runs the tests, except that PostgreSQL refuses to be run by root.
#[derive(Copy, Clone)]
pub(super) struct User {
    pub(super) uid: u32,
    gid: u32,
    /// Root, who has to become this user first.
    by_root: bool,
}

impl User {
    /// The user for a server that root may not run, given something that this process has made.
    pub(super) fn plain(made: &Path) -> Result<Self> {
        let own = std::fs::metadata(made).map_err(|error| io(&error, "reading a folder's owner failed"))?;
        if own.uid() != 0 {
            return Ok(Self {
                uid: own.uid(),
                gid: own.gid(),
                by_root: false,
            });
        }
        let id = |flag: &str, name: &str| {
            let output = Command::new("id").args([flag, name]).output().ok()?;
            String::from_utf8(output.stdout).ok()?.trim().parse().ok()
        };
        let found = ["postgres", "nobody"].into_iter().find_map(|name| {
            Some(Self {
                uid: id("-u", name)?,
                gid: id("-g", name)?,
                by_root: true,
            })
        });
        found.ok_or_else(|| {
            Error::new(
                ErrorKind::Config,
                "PostgreSQL refuses to be run by root, and there is nobody else",
            )
            .with_hint("add a user called `postgres`, or run the tests as another user than root")
        })
    }

    /// What comes before a command, so that this user runs it.
    pub(super) fn prefix(self) -> Vec<PathBuf> {
        let (uid, gid) = (self.uid.to_string(), self.gid.to_string());
        let words = ["setpriv", "--reuid", &uid, "--regid", &gid, "--clear-groups"];
        if self.by_root {
            words.map(PathBuf::from).into()
        } else {
            Vec::new()
        }
    }

    pub(super) fn owns(self, path: &Path) -> Result<()> {
        if self.by_root {
            chown(path, Some(self.uid), Some(self.gid))
                .map_err(|error| io(&error, "handing a file to the server's user failed"))?;
        }
        Ok(())
    }
}

pub(super) fn make_folder(path: &Path) -> Result<()> {
    std::fs::create_dir(path)
        .map_err(|error| io(&error, "creating a folder for a server failed").with("path", path.display()))
}

/// Writes a file. It is for nobody else's eyes, because the folder around it is not.
pub(super) fn write(path: &Path, text: &str) -> Result<()> {
    std::fs::write(path, text)
        .map_err(|error| io(&error, "writing a file for a server failed").with("path", path.display()))
}

/// Runs a command to its end and returns what it printed.
pub(super) fn run(words: &[PathBuf], set: impl FnOnce(&mut Command)) -> Result<String> {
    let Some((program, arguments)) = words.split_first() else {
        return Err(Error::new(ErrorKind::Internal, "there is no command to run"));
    };
    let mut command = Command::new(program);
    command.args(arguments).current_dir("/").env("LC_ALL", "C");
    set(&mut command);
    let output = command
        .stdin(std::process::Stdio::null())
        .output()
        .map_err(|error| io(&error, "a program did not start").with("program", program.display()))?;
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
    }
    Err(Error::new(ErrorKind::Storage, "a program failed")
        .terminal()
        .with("program", program.display())
        .with("status", output.status)
        .with("said", String::from_utf8_lossy(&output.stderr).trim())
        .with_hint("the program's own words are in the field `said`"))
}

pub(super) fn io(error: &std::io::Error, message: &'static str) -> Error {
    Error::new(ErrorKind::Storage, message)
        .terminal()
        .with("cause", error)
        .with_hint("this is the test machine's fault, not the code's under test")
}
