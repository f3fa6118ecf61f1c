//! The way to the server: connections, limits, breaker and backoff.

use std::fmt;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use ::redis::aio::MultiplexedConnection;
use ::redis::{AsyncConnectionConfig, Client, ConnectionAddr, IntoConnectionInfo, RedisError, TlsCertificates};
use hive_errors::{BreakerGuard, BreakerState, CircuitBreaker, Error, ErrorKind, Result, RetryPolicy};
use tokio::sync::Semaphore;

use super::Options;
use super::refusal::{Answer, Call, Verdict, refused, verdict};
use crate::clock::{Clock, timeout};
use crate::limits::{CACHE_REDIS_IN_FLIGHT, CACHE_REDIS_PATIENCE};
use crate::rng::Rng;

pub(super) struct Link {
    client: Client,
    lines: Box<[Line]>,
    next: AtomicUsize,
    /// Bounds the calls under way, and with them what a stalled server makes this process hold.
    in_flight: Semaphore,
    breaker: CircuitBreaker,
    backoff: RetryPolicy,
    connect_timeout: Duration,
    command_timeout: Duration,
    clock: Arc<dyn Clock>,
    rng: Arc<dyn Rng>,
}

/// One place for a connection.
#[derive(Default)]
struct Line {
    state: Mutex<State>,
    /// Held by whoever connects.
    connecting: tokio::sync::Mutex<()>,
}

#[derive(Default)]
struct State {
    connection: Option<Connection>,
    /// How many were made, so that one that breaks is told from the one that came after it.
    made: u64,
    failures: u32,
    /// By the monotonic clock; no attempt to connect before.
    not_before: Duration,
}

#[derive(Clone)]
struct Connection {
    number: u64,
    inner: MultiplexedConnection,
    /// Whether it was there before this call: it may have been closed since without anybody noticing.
    old: bool,
}

/// Why a call came to nothing.
enum Failed {
    /// No attempt was made, which says nothing new about the server.
    NotTried(Error),
    /// The server answered and serves.
    Answered(Error),
    Away(Error),
}

impl Link {
    pub(super) fn new(options: Options) -> Result<Self> {
        let client = client(&options)?;
        Ok(Self {
            client,
            lines: (0..options.connections.max(1)).map(|_| Line::default()).collect(),
            next: AtomicUsize::new(0),
            in_flight: Semaphore::new(CACHE_REDIS_IN_FLIGHT),
            breaker: CircuitBreaker::new("redis", options.breaker),
            backoff: options.backoff,
            connect_timeout: options.connect_timeout,
            command_timeout: options.command_timeout,
            clock: options.clock,
            rng: options.rng,
        })
    }

    /// Makes the call unless the breaker is open.
    pub(super) async fn call(&self, call: &Call) -> Result<Vec<Answer>> {
        let verdict = Leave {
            guard: Some(self.breaker.acquire(self.clock.monotonic())?),
            begun: self.clock.monotonic(),
            link: self,
        };
        let turn = timeout(&*self.clock, self.command_timeout, self.in_flight.acquire()).await;
        let Ok(_turn) = turn else {
            verdict.failure();
            return Err(self.late("a turn"));
        };
        match self.attempt(call).await {
            Ok(answers) => {
                verdict.success();
                Ok(answers)
            }
            Err(Failed::NotTried(error)) => {
                verdict.ignore();
                Err(error)
            }
            Err(Failed::Answered(error)) => {
                verdict.success();
                Err(error)
            }
            Err(Failed::Away(error)) => {
                verdict.failure();
                Err(error)
            }
        }
    }

    async fn attempt(&self, call: &Call) -> Result<Vec<Answer>, Failed> {
        let line = self.line()?;
        let mut connection = self.connection(line).await?;
        loop {
            match timeout(&*self.clock, self.command_timeout, call.make(&mut connection.inner)).await {
                Ok(Ok(answers)) => return Ok(answers),
                Ok(Err(error)) => match verdict(&error) {
                    Verdict::Serves => return Err(Failed::Answered(refused(error))),
                    Verdict::Refuses => {
                        line.give_up(&connection);
                        return Err(Failed::Away(refused(error)));
                    }
                    Verdict::Broken => {
                        line.give_up(&connection);
                        if !connection.old {
                            return Err(Failed::Away(refused(error)));
                        }
                        // Once at most: whatever comes next is treated as new.
                        connection = self.connection(line).await?;
                        connection.old = false;
                    }
                },
                Err(_) => {
                    // What comes late on it would only keep the next call waiting.
                    line.give_up(&connection);
                    return Err(Failed::Away(self.late("an answer")));
                }
            }
        }
    }

    /// The next line in turn that has a connection or may make one at once.
    fn line(&self) -> Result<&Line, Failed> {
        let count = self.lines.len().max(1);
        let first = self.next.fetch_add(1, Ordering::Relaxed);
        let now = self.clock.monotonic();
        let mut turns = (0..count).filter_map(|step| self.lines.get(first.wrapping_add(step) % count));
        let ready = turns.find(|line| line.is_ready(now));
        // With none ready, wait for one who connects, or be told how long connecting is put off.
        ready
            .or(self.lines.get(first % count))
            .ok_or_else(|| Failed::NotTried(Error::new(ErrorKind::Internal, "there is no connection to choose from")))
    }

    async fn connection(&self, line: &Line) -> Result<Connection, Failed> {
        if let Some(connection) = line.state().current() {
            return Ok(connection);
        }
        let connecting = timeout(&*self.clock, self.connect_timeout, line.connecting.lock()).await;
        let Ok(_connecting) = connecting else {
            return Err(Failed::Away(self.late("a connection")));
        };
        // Whoever held the lock before may have made one, or may just have failed to.
        {
            let state = line.state();
            if let Some(connection) = state.current() {
                return Ok(connection);
            }
            let wait = state.not_before.saturating_sub(self.clock.monotonic());
            if !wait.is_zero() {
                return Err(Failed::NotTried(
                    Error::new(ErrorKind::Storage, "the redis server could not be reached a moment ago")
                        .with_hint("look at the server and the way to it; another attempt follows by itself")
                        .with_retry_after(wait),
                ));
            }
        }
        // Our own limits, by our own clock.
        let config = AsyncConnectionConfig::new()
            .set_connection_timeout(None)
            .set_response_timeout(None);
        let made = self.client.get_multiplexed_async_connection_with_config(&config);
        match timeout(&*self.clock, self.connect_timeout, made).await {
            Ok(Ok(inner)) => Ok(line.state().made(inner)),
            Ok(Err(error)) => {
                self.failed_to_connect(line);
                Err(Failed::Away(refused(error)))
            }
            Err(_) => {
                self.failed_to_connect(line);
                Err(Failed::Away(self.late("a connection")))
            }
        }
    }

    fn failed_to_connect(&self, line: &Line) {
        let mut state = line.state();
        state.failures = state.failures.saturating_add(1);
        let wait = self.backoff.delay_after(state.failures, self.rng.next_u64(), None);
        state.not_before = self.clock.monotonic().saturating_add(wait.unwrap_or_default());
    }

    fn late(&self, what: &'static str) -> Error {
        Error::new(ErrorKind::Timeout, "the redis server did not answer in time")
            .with("waited_for", what)
            .with_hint("look at the server and the way to it, or allow more time")
    }
}

/// The breaker's leave to make one call.
struct Leave<'a> {
    guard: Option<BreakerGuard>,
    begun: Duration,
    link: &'a Link,
}

impl Leave<'_> {
    fn success(mut self) {
        if let Some(guard) = self.guard.take() {
            guard.success(self.link.clock.monotonic());
        }
    }

    fn failure(mut self) {
        if let Some(guard) = self.guard.take() {
            guard.failure(self.link.clock.monotonic());
        }
    }

    fn ignore(mut self) {
        if let Some(guard) = self.guard.take() {
            guard.ignore();
        }
    }
}

impl Drop for Leave<'_> {
    /// The caller gave up. That says something about the server only when it had time to answer; callers whose own deadline
    /// is short would otherwise wait for a stalled one again and again, or take a good one away from the others.
    fn drop(&mut self) {
        let Some(guard) = self.guard.take() else { return };
        let now = self.link.clock.monotonic();
        if now.saturating_sub(self.begun) >= self.link.command_timeout / CACHE_REDIS_PATIENCE {
            guard.failure(now);
        } else {
            guard.ignore();
        }
    }
}

impl Line {
    fn state(&self) -> MutexGuard<'_, State> {
        // No code that can panic runs under the lock, so a poisoned state is still a whole one.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn is_ready(&self, now: Duration) -> bool {
        let (connected, may_connect) = {
            let state = self.state();
            (state.connection.is_some(), state.not_before <= now)
        };
        connected || (may_connect && self.connecting.try_lock().is_ok())
    }

    /// Drops the connection, unless it has been replaced already.
    fn give_up(&self, connection: &Connection) {
        let mut state = self.state();
        if state
            .connection
            .as_ref()
            .is_some_and(|current| current.number == connection.number)
        {
            state.connection = None;
        }
    }
}

impl State {
    fn current(&self) -> Option<Connection> {
        self.connection.clone()
    }

    /// Takes a new connection in, and gives it out as new.
    fn made(&mut self, inner: MultiplexedConnection) -> Connection {
        self.made += 1;
        self.failures = 0;
        self.not_before = Duration::ZERO;
        let connection = Connection {
            number: self.made,
            inner,
            old: true,
        };
        self.connection = Some(connection.clone());
        Connection {
            old: false,
            ..connection
        }
    }
}

fn client(options: &Options) -> Result<Client> {
    let unfit = |error: RedisError| {
        // The cause names what is wrong with the address and never quotes it.
        Error::new(ErrorKind::Config, "the address is not one of a redis server")
            .with_hint("write it as redis://[user][:password]@host[:port][/number], or rediss://… for TLS")
            .with_source(error)
    };
    let info = options.url.as_str().into_connection_info().map_err(unfit)?;
    if matches!(info.addr(), ConnectionAddr::TcpTls { .. }) {
        // TLS needs to be told whose cryptography to use. When the application has chosen already, that stands.
        rustls::crypto::ring::default_provider().install_default().ok();
    }
    match &options.certificate {
        Some(pem) => {
            let certificates = TlsCertificates {
                client_tls: None,
                root_cert: Some(pem.clone()),
            };
            Client::build_with_tls(info, certificates).map_err(unfit)
        }
        None => Client::open(info).map_err(unfit),
    }
}

impl fmt::Debug for Link {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let open: BreakerState = self.breaker.state(self.clock.monotonic());
        f.debug_struct("Link")
            .field("lines", &self.lines.len())
            .field("breaker", &open)
            .finish_non_exhaustive()
    }
}
