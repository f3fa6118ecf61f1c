//! The way to the server: the connection, limits, breaker and backoff.

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_nats::connection::State as Connection;
use async_nats::jetstream::context::ContextBuilder;
use async_nats::jetstream::{self, Context};
use async_nats::rustls::crypto::ring;
use async_nats::{Client, ConnectOptions, ServerAddr};
use hive_core::clock::{Clock, timeout};
use hive_core::rng::Rng;
use hive_errors::{BreakerGuard, CircuitBreaker, Error, ErrorKind, Result, RetryPolicy};
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::Options;
use super::refusal::{self, Failed, away, unconnected};
use super::servers::{connect_options, servers};
use crate::limits;

/// Nobody listens there.
const NOWHERE: &str = "nats://127.0.0.1:0";

/// The connection to the server, made when it is needed and made anew when it broke.
pub(super) struct Link {
    servers: Vec<ServerAddr>,
    /// Them without what is secret.
    shown: String,
    options: ConnectOptions,
    connect_timeout: Duration,
    request_timeout: Duration,
    breaker: CircuitBreaker,
    backoff: RetryPolicy,
    clock: Arc<dyn Clock>,
    rng: Arc<dyn Rng>,
    state: Mutex<State>,
    /// Held by whoever connects.
    connecting: tokio::sync::Mutex<()>,
}

#[derive(Default)]
struct State {
    line: Option<Arc<Line>>,
    failures: u32,
    /// By the monotonic clock; no attempt to connect before.
    not_before: Duration,
    closed: bool,
}

/// One connection. When it breaks, it is over, and whatever waits for an answer on it is told at once.
pub(super) struct Line {
    client: Client,
    jetstream: Context,
    answers: AtomicU64,
}

impl Line {
    pub(super) fn client(&self) -> &Client {
        &self.client
    }

    pub(super) fn jetstream(&self) -> &Context {
        &self.jetstream
    }

    /// Something came from the server: the connection is one, however slow.
    pub(super) fn answered(&self) {
        self.answers.fetch_add(1, Ordering::Relaxed);
    }

    /// Asks JetStream, and gives its answer or what it says is wrong.
    pub(super) async fn ask<T: DeserializeOwned>(
        &self,
        subject: String,
        request: &impl Serialize,
    ) -> Result<Result<T, jetstream::Error>, Failed> {
        let answer = self.jetstream.request(subject, request).await;
        let answer = answer.map_err(refusal::unanswered)?;
        self.answered();
        Ok(match answer {
            jetstream::response::Response::Ok(found) => Ok(found),
            jetstream::response::Response::Err { error } => Err(error),
        })
    }

    /// How often something came.
    pub(super) fn answers(&self) -> u64 {
        self.answers.load(Ordering::Relaxed)
    }

    fn is_open(&self) -> bool {
        self.client.connection_state() == Connection::Connected
    }
}

impl Link {
    pub(super) fn new(options: &Options) -> Result<Self> {
        let (servers, credentials) = servers(&options.urls)?;
        let shown: Vec<_> = servers
            .iter()
            .map(|one| format!("{}:{}", one.host(), one.port()))
            .collect();
        // TLS needs to be told whose cryptography to use. When the application has chosen already, that stands.
        ring::default_provider().install_default().ok();
        Ok(Self {
            shown: shown.join(","),
            options: connect_options(options, servers.len(), credentials),
            servers,
            connect_timeout: options.connect_timeout,
            request_timeout: options.request_timeout,
            breaker: CircuitBreaker::new("nats", options.breaker.clone()),
            backoff: options.backoff.clone(),
            clock: Arc::clone(&options.clock),
            rng: Arc::clone(&options.rng),
            state: Mutex::default(),
            connecting: tokio::sync::Mutex::default(),
        })
    }

    pub(super) fn clock(&self) -> &dyn Clock {
        &*self.clock
    }

    /// How long to wait after so many failures.
    pub(super) fn backoff(&self, failures: u32) -> Duration {
        let wait = self.backoff.delay_after(failures, self.rng.next_u64(), None);
        wait.unwrap_or(limits::NATS_BACKOFF_MAX)
    }

    pub(super) fn request_timeout(&self) -> Duration {
        self.request_timeout
    }

    /// A name that no other attempt has, within the time for which the server knows names.
    pub(super) fn token(&self) -> String {
        format!("{:016x}", self.rng.next_u64())
    }

    /// Makes attempts until one succeeds, the server says no, or the time is over. Everything that is asked for here may be
    /// asked for twice.
    pub(super) async fn call<T, F, Fut>(&self, attempt: F) -> Result<T>
    where
        F: Fn(Arc<Line>) -> Fut,
        Fut: Future<Output = Result<T, Failed>>,
    {
        let end = self.clock.monotonic().saturating_add(self.request_timeout);
        let mut failures = 0;
        let mut seen = None;
        loop {
            let left = end.saturating_sub(self.clock.monotonic());
            let error = match self.once(left, &attempt).await {
                Ok(found) => return Ok(found),
                Err(Failed::Answered(error)) => return Err(self.named(error)),
                // Nothing of this call's own says that it could be otherwise by now.
                Err(Failed::Untried(error)) if failures == 0 && error.kind() == ErrorKind::BreakerOpen => {
                    return Err(self.named(error));
                }
                Err(Failed::Untried(error)) => error,
                Err(Failed::Unready(error) | Failed::Away(error)) => {
                    seen = Some(error.echo());
                    error
                }
            };
            failures += 1;
            let wait = self
                .backoff
                .delay_after(failures, self.rng.next_u64(), error.retry_after());
            let wait = wait.unwrap_or(limits::NATS_BACKOFF_MAX);
            if self.clock.monotonic().saturating_add(wait) >= end {
                return Err(self.named(seen.unwrap_or(error)));
            }
            self.clock.sleep(wait).await;
        }
    }

    async fn once<T, F, Fut>(&self, left: Duration, attempt: &F) -> Result<T, Failed>
    where
        F: Fn(Arc<Line>) -> Fut,
        Fut: Future<Output = Result<T, Failed>>,
    {
        let limit = (self.request_timeout / 2).min(left);
        let guard = self.breaker.acquire(self.clock.monotonic()).map_err(Failed::Untried)?;
        let leave = Leave {
            guard: Some(guard),
            begun: self.clock.monotonic(),
            patience: limit / 2,
            clock: &*self.clock,
        };
        let outcome = match timeout(&*self.clock, left, self.line()).await {
            Ok(Ok(line)) => self.tried(line, limit, attempt).await,
            Ok(Err(failed)) => Err(failed),
            Err(_) => Err(Failed::Away(self.late("a connection"))),
        };
        match &outcome {
            Ok(_) | Err(Failed::Answered(_)) => leave.success(),
            Err(Failed::Untried(_)) => leave.ignore(),
            Err(Failed::Unready(_) | Failed::Away(_)) => leave.failure(),
        }
        outcome
    }

    async fn tried<T, F, Fut>(&self, line: Arc<Line>, limit: Duration, attempt: &F) -> Result<T, Failed>
    where
        F: Fn(Arc<Line>) -> Fut,
        Fut: Future<Output = Result<T, Failed>>,
    {
        let before = line.answers();
        match timeout(&*self.clock, limit, attempt(Arc::clone(&line))).await {
            Ok(Err(Failed::Away(error))) => {
                self.give_up(&line);
                Err(Failed::Away(error))
            }
            Ok(outcome) => outcome,
            Err(_) if line.answers() == before => {
                // What comes late on it would only keep the next call waiting.
                self.give_up(&line);
                Err(Failed::Away(self.late("an answer")))
            }
            Err(_) => Err(Failed::Unready(self.late("all answers"))),
        }
    }

    /// The connection, made now if there is none.
    pub(super) async fn line(&self) -> Result<Arc<Line>, Failed> {
        if let Some(line) = self.state().current()? {
            return Ok(line);
        }
        let limit = self
            .connect_timeout
            .saturating_mul(u32::try_from(self.servers.len()).unwrap_or(u32::MAX));
        let connecting = timeout(&*self.clock, limit, self.connecting.lock()).await;
        let Ok(_connecting) = connecting else {
            return Err(Failed::Away(self.late("a connection")));
        };
        // Whoever held the lock before may have made one, or may just have failed to.
        {
            let state = self.state();
            if let Some(line) = state.current()? {
                return Ok(line);
            }
            let wait = state.not_before.saturating_sub(self.clock.monotonic());
            if !wait.is_zero() {
                return Err(Failed::Untried(
                    Error::new(ErrorKind::Storage, "the nats server could not be reached a moment ago")
                        .with_hint("look at the server and the way to it; another attempt follows by itself")
                        .with_retry_after(wait),
                ));
            }
        }
        match timeout(&*self.clock, limit, self.connect()).await {
            Ok(Ok(line)) => self.state().made(line),
            Ok(Err(failed)) => {
                self.failed_to_connect();
                Err(failed)
            }
            Err(_) => {
                self.failed_to_connect();
                Err(Failed::Away(self.late("a connection")))
            }
        }
    }

    async fn connect(&self) -> Result<Line, Failed> {
        let client = self.options.clone().connect(self.servers.as_slice()).await;
        let client = client.map_err(unconnected)?;
        // A client that connects again by itself sends what it still has over the new connection, behind what was lost with
        // the old one, and leaves whoever waits for an answer waiting. So it finds nobody there.
        client.set_server_pool(NOWHERE).await.map_err(away)?;
        let jetstream = ContextBuilder::new()
            .timeout(self.request_timeout)
            .max_ack_inflight(limits::NATS_IN_FLIGHT_EVENTS)
            .build(client.clone());
        Ok(Line {
            client,
            jetstream,
            answers: AtomicU64::new(0),
        })
    }

    fn failed_to_connect(&self) {
        let mut state = self.state();
        state.failures = state.failures.saturating_add(1);
        let wait = self.backoff.delay_after(state.failures, self.rng.next_u64(), None);
        state.not_before = self.clock.monotonic().saturating_add(wait.unwrap_or_default());
    }

    /// Drops the connection, unless it has been replaced already.
    pub(super) fn give_up(&self, line: &Arc<Line>) {
        let mut state = self.state();
        if state.line.as_ref().is_some_and(|current| Arc::ptr_eq(current, line)) {
            state.line = None;
        }
    }

    pub(super) fn close(&self) {
        let mut state = self.state();
        state.closed = true;
        state.line = None;
    }

    /// The error of something that took too long.
    pub(super) fn late(&self, what: &'static str) -> Error {
        Error::new(ErrorKind::Timeout, "the nats server did not answer in time")
            .with("waited_for", what)
            .with_hint("look at the server and the way to it, or allow more time")
    }

    fn named(&self, error: Error) -> Error {
        error.with("server", &self.shown)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // No code that can panic runs under the lock, so a poisoned state is still a whole one.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn current(&self) -> Result<Option<Arc<Line>>, Failed> {
        if self.closed {
            return Err(Failed::Answered(closed()));
        }
        Ok(self.line.clone().filter(|line| line.is_open()))
    }

    fn made(&mut self, line: Line) -> Result<Arc<Line>, Failed> {
        self.failures = 0;
        self.not_before = Duration::ZERO;
        if self.closed {
            return Err(Failed::Answered(closed()));
        }
        let line = Arc::new(line);
        self.line = Some(Arc::clone(&line));
        Ok(line)
    }
}

fn closed() -> Error {
    Error::new(ErrorKind::ShuttingDown, "the transport is closed")
}

/// The breaker's leave to make one attempt.
struct Leave<'a> {
    guard: Option<BreakerGuard>,
    begun: Duration,
    patience: Duration,
    clock: &'a dyn Clock,
}

impl Leave<'_> {
    fn success(mut self) {
        if let Some(guard) = self.guard.take() {
            guard.success(self.clock.monotonic());
        }
    }

    fn failure(mut self) {
        if let Some(guard) = self.guard.take() {
            guard.failure(self.clock.monotonic());
        }
    }

    fn ignore(mut self) {
        if let Some(guard) = self.guard.take() {
            guard.ignore();
        }
    }
}

impl Drop for Leave<'_> {
    /// The caller gave up. That says something about the server only when it had time to answer.
    fn drop(&mut self) {
        let Some(guard) = self.guard.take() else { return };
        let now = self.clock.monotonic();
        if now.saturating_sub(self.begun) >= self.patience {
            guard.failure(now);
        } else {
            guard.ignore();
        }
    }
}

impl fmt::Debug for Link {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Link")
            .field("server", &self.shown)
            .field(
                "connected",
                &self.state().line.as_ref().is_some_and(|line| line.is_open()),
            )
            .finish_non_exhaustive()
    }
}
