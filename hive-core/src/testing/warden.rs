//! A shell that outlives the test process by as long as it takes to tidy up after it.
//!
//! Its input is a pipe from the test process. However that process ends, also by a signal that nobody can catch, the pipe
//! closes; the shell then ends the server and removes its folder.

use std::io::{BufRead, BufReader, Write};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, TryRecvError, channel};
use std::thread::JoinHandle;
use std::time::Duration;

use hive_errors::{Error, ErrorKind, Result};

use crate::clock::{Clock, SystemClock};

/// What the warden says; two lines for each verb at most.
#[derive(Copy, Clone, PartialEq, Eq)]
enum Event {
    Made,
    Started(u32),
    Ended(u32),
    Crashed,
}

impl Event {
    fn parse(line: &str) -> Option<Self> {
        let mut words = line.split_whitespace();
        let (verb, number) = (words.next()?, words.next());
        let pid = || number?.parse().ok();
        match verb {
            "made" => Some(Self::Made),
            "started" => pid().map(Self::Started),
            "ended" => pid().map(Self::Ended),
            "crashed" => Some(Self::Crashed),
            _ => None,
        }
    }
}

pub(super) struct Warden {
    shell: Child,
    verbs: Option<ChildStdin>,
    events: Receiver<Event>,
    listener: Option<JoinHandle<()>>,
    server: Option<u32>,
}

impl Warden {
    /// Makes `folder`, which goes with this process.
    pub(super) fn new(folder: &Path, limit: Duration, ending: &'static str) -> Result<Self> {
        let mut shell = Command::new("sh")
            .arg("-c")
            .arg(include_str!("warden.sh"))
            .arg("warden")
            .arg(folder)
            .arg(ending)
            .current_dir("/")
            .env("LC_ALL", "C")
            // Of its own group, so that what ends a test's group leaves it the time to tidy up.
            .process_group(0)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .map_err(|error| failed("starting a shell that keeps the server failed").with_source(error))?;
        let (sender, events) = channel();
        let listener = shell.stdout.take().map(|output| {
            std::thread::spawn(move || {
                for line in BufReader::new(output).lines().map_while(std::result::Result::ok) {
                    if Event::parse(&line).is_some_and(|event| sender.send(event).is_err()) {
                        return;
                    }
                }
            })
        });
        let warden = Self {
            verbs: shell.stdin.take(),
            shell,
            events,
            listener,
            server: None,
        };
        match warden.hear(limit) {
            Ok(_) => Ok(warden),
            Err(error) => Err(failed("making a folder for a server failed")
                .with("folder", folder.display())
                .with_source(error)),
        }
    }

    /// Starts the server with the script `start` in the folder, and returns its process id.
    pub(super) fn start(&mut self, limit: Duration) -> Result<u32> {
        self.say("start")?;
        let clock = SystemClock;
        let end = clock.monotonic() + limit;
        let mut ended = None;
        loop {
            match self.hear(end.saturating_sub(clock.monotonic()))? {
                // One that ends at once may be told of before its start is.
                Event::Ended(pid) => ended = Some(pid),
                Event::Started(pid) => {
                    self.server = (ended != Some(pid)).then_some(pid);
                    return Ok(pid);
                }
                Event::Made | Event::Crashed => {}
            }
        }
    }

    /// Whether the server is there, as far as has been heard.
    pub(super) fn running(&mut self) -> bool {
        loop {
            match self.events.try_recv() {
                Ok(event) => self.note(event),
                Err(TryRecvError::Empty) => return self.server.is_some(),
                Err(TryRecvError::Disconnected) => return false,
            }
        }
    }

    /// Sends the server a signal and waits until it is gone.
    pub(super) fn end(&mut self, signal: &str, limit: Duration) -> Result<()> {
        if self.running() {
            self.say(&format!("signal {signal}"))?;
            self.until_gone(limit)?;
        }
        Ok(())
    }

    /// Kills the server and all its children, and waits until they are gone.
    pub(super) fn crash(&mut self, limit: Duration) -> Result<()> {
        self.say("crash")?;
        let clock = SystemClock;
        let end = clock.monotonic() + limit;
        loop {
            let event = self.hear(end.saturating_sub(clock.monotonic()))?;
            self.note(event);
            if event == Event::Crashed {
                return self.until_gone(end.saturating_sub(clock.monotonic()));
            }
        }
    }

    fn until_gone(&mut self, limit: Duration) -> Result<()> {
        let clock = SystemClock;
        let end = clock.monotonic() + limit;
        while self.server.is_some() {
            let event = self.hear(end.saturating_sub(clock.monotonic()))?;
            self.note(event);
        }
        Ok(())
    }

    fn note(&mut self, event: Event) {
        if let Event::Ended(pid) = event
            && self.server == Some(pid)
        {
            self.server = None;
        }
    }

    fn say(&mut self, verb: &str) -> Result<()> {
        let said = self.verbs.as_mut().map(|verbs| writeln!(verbs, "{verb}"));
        match said {
            Some(Err(error)) => Err(failed("the shell that keeps the server is gone").with_source(error)),
            Some(Ok(())) | None => Ok(()),
        }
    }

    fn hear(&self, limit: Duration) -> Result<Event> {
        self.events.recv_timeout(limit).map_err(|error| match error {
            RecvTimeoutError::Timeout => Error::new(ErrorKind::Timeout, "the server did not do as it was told")
                .with("limit", format!("{limit:?}"))
                .with_hint("look at what else the machine does"),
            RecvTimeoutError::Disconnected => failed("the shell that keeps the server is gone"),
        })
    }
}

impl Drop for Warden {
    fn drop(&mut self) {
        drop(self.verbs.take());
        // The script gives the server ten seconds and then kills it.
        drop(self.shell.wait());
        if let Some(listener) = self.listener.take() {
            drop(listener.join());
        }
    }
}

fn failed(message: &'static str) -> Error {
    Error::new(ErrorKind::Storage, message)
        .terminal()
        .with_hint("look at the cause below; this is the test machine's fault, not the code's under test")
}

/// Shell quoting: what is between single quotes is taken as it is.
pub(super) fn script(command: &[PathBuf]) -> Result<String> {
    let mut line = String::from("exec");
    for word in command {
        let word = word
            .to_str()
            .ok_or_else(|| failed("a path is not valid UTF-8").with("path", word.display()))?;
        line.push_str(" '");
        line.push_str(&word.replace('\'', r"'\''"));
        line.push('\'');
    }
    line.push('\n');
    Ok(line)
}
