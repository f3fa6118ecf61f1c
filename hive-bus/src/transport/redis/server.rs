//! The server as the transport asks it: scripts and other calls, tried again where that may help.

use std::sync::{Arc, OnceLock};

use ::redis::{Cmd, FromRedisValue, cmd};
use hive_core::clock::Clock;
use hive_core::redis::{Answers, Call, Link};
use hive_core::rng::Rng;
use hive_errors::{Error, ErrorKind, Result, RetryPolicy};

use super::Options;

/// Something that the server does as one step. It keeps the text once it was told, and we name it by its digest.
pub(super) struct Script {
    text: &'static str,
    digest: OnceLock<String>,
}

impl Script {
    pub(super) const fn new(text: &'static str) -> Self {
        Self {
            text,
            digest: OnceLock::new(),
        }
    }
}

pub(super) struct Server {
    link: Link,
    retry: RetryPolicy,
    clock: Arc<dyn Clock>,
    rng: Arc<dyn Rng>,
}

impl Server {
    pub(super) fn new(options: &Options) -> Result<Self> {
        let link = options.link.clone();
        Ok(Self {
            retry: options.retry.clone(),
            clock: Arc::clone(&link.clock),
            rng: Arc::clone(&link.rng),
            link: Link::new(link)?,
        })
    }

    pub(super) fn link(&self) -> &Link {
        &self.link
    }

    pub(super) fn clock(&self) -> &dyn Clock {
        &*self.clock
    }

    pub(super) fn rng(&self) -> &dyn Rng {
        &*self.rng
    }

    /// What tells a call from every other.
    pub(super) fn call(&self) -> String {
        format!("{:016x}{:016x}", self.rng.next_u64(), self.rng.next_u64())
    }

    /// One command, and its answer.
    pub(super) async fn one<T: FromRedisValue>(&self, command: Cmd) -> Result<T> {
        self.ask(&Call::One(command)).await?.take()
    }

    /// Runs a script on these keys; `arguments` follow them.
    pub(super) async fn run<T: FromRedisValue>(
        &self,
        script: &Script,
        keys: &[&str],
        arguments: impl FnOnce(&mut Cmd),
    ) -> Result<T> {
        let digest = match script.digest.get() {
            Some(digest) => digest,
            None => {
                let digest = self.load(script).await?;
                script.digest.get_or_init(|| digest)
            }
        };
        let mut command = cmd("EVALSHA");
        command.arg(digest).arg(keys.len()).arg(keys);
        arguments(&mut command);
        let call = Call::One(command);
        match self.ask(&call).await {
            // A server that was started again knows no scripts.
            Err(error) if error.field("code") == Some("NOSCRIPT") => {
                self.load(script).await?;
                self.ask(&call).await?.take()
            }
            asked => asked?.take(),
        }
    }

    async fn load(&self, script: &Script) -> Result<String> {
        let mut command = cmd("SCRIPT");
        command.arg("LOAD").arg(script.text);
        self.one(command).await
    }

    /// Makes the call, again if need be. Whatever is asked may be asked for twice.
    pub(super) async fn ask(&self, call: &Call) -> Result<Answers> {
        let mut failures = 0;
        loop {
            let error = match self.link.call(call).await {
                Ok(answers) => return Ok(answers),
                Err(error) => advised(error),
            };
            if !may_pass(&error) {
                return Err(error);
            }
            failures += 1;
            let random = self.rng.next_u64();
            match self.retry.delay_after(failures, random, error.retry_after()) {
                Some(wait) => self.clock.sleep(wait).await,
                None => return Err(error),
            }
        }
    }
}

/// Whether the next attempt may find the server in a better state. An open breaker is there to be listened to.
fn may_pass(error: &Error) -> bool {
    let passing = |code| matches!(code, "LOADING" | "BUSY" | "MASTERDOWN" | "READONLY" | "TRYAGAIN");
    match error.field("code") {
        Some(code) => passing(code),
        None => matches!(error.kind(), ErrorKind::Timeout | ErrorKind::Storage),
    }
}

/// The error with what to do about it where the server holds a log.
pub(super) fn advised(error: Error) -> Error {
    match error.field("code") {
        Some("OOM") => error.with_hint("raise its maxmemory, or let the transport keep fewer events (events_max)"),
        Some("WRONGTYPE") => error.with_hint("give the bus a prefix of its own on this server"),
        Some("READONLY") => error.with_hint("connect to the server that the others copy from"),
        _ => error,
    }
}
