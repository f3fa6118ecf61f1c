//! The way to the server: connections, limits, breaker and backoff.

use std::fmt;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use ::redis::aio::MultiplexedConnection;
use ::redis::{AsyncConnectionConfig, Client, ConnectionAddr, IntoConnectionInfo, RedisError, TlsCertificates};
use hive_errors::{BreakerGuard, BreakerState, CircuitBreaker, Error, ErrorKind, Result, RetryPolicy};
use tokio::sync::Semaphore;

use super::LinkOptions;
use super::refusal::{Answer, Answers, Call, Verdict, refused, verdict};
use crate::clock::{Clock, timeout};
use crate::limits::REDIS_PATIENCE;
use crate::rng::Rng;

/// The way to one server. See [the module](super).
///
/// The client library runs one task per connection on the runtime of the call that made it; the task ends with the connection,
/// at the latest when the link is dropped.
pub struct Link {
    client: Client,
    /// Its host and port, for errors; never the password.
    server: Arc<str>,
    lines: Box<[Line]>,
    crowd: usize,
    in_flight: Semaphore,
    breaker: CircuitBreaker,
    backoff: RetryPolicy,
    connect_timeout: Duration,
    command_timeout: Duration,
    clock: Arc<dyn Clock>,
    rng: Arc<dyn Rng>,
    closed: AtomicBool,
}

/// One place for a connection.
#[derive(Default)]
struct Line {
    state: Mutex<State>,
    /// Held by whoever connects.
    connecting: tokio::sync::Mutex<()>,
    /// The calls that have chosen it and are under way.
    load: AtomicUsize,
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
    /// The way to this server. Does not connect yet.
    ///
    /// # Errors
    /// [`ErrorKind::Config`] when the address is not one of a Redis server.
    pub fn new(options: LinkOptions) -> Result<Self> {
        let client = client(&options)?;
        Ok(Self {
            server: client.get_connection_info().addr().to_string().into(),
            client,
            lines: (0..options.connections.max(1)).map(|_| Line::default()).collect(),
            crowd: options.crowd.max(1),
            in_flight: Semaphore::new(options.in_flight.clamp(1, Semaphore::MAX_PERMITS)),
            breaker: CircuitBreaker::new("redis", options.breaker),
            backoff: options.backoff.with_attempts(u32::MAX),
            connect_timeout: options.connect_timeout,
            command_timeout: options.command_timeout,
            clock: options.clock,
            rng: options.rng,
            closed: AtomicBool::new(false),
        })
    }

    /// Host and port of the server, without user and password.
    pub fn server(&self) -> &str {
        &self.server
    }

    /// Makes the call unless the breaker is open. It may be made twice, when the first way to the server turns out to be
    /// closed.
    ///
    /// # Errors
    /// Each names the server, and what it answered as the field `code` if it did: `timeout` when it does not answer in time;
    /// `breaker-open` while it is left alone; `config` when it refuses user, password or command; `overloaded` when it has no
    /// room left; `conflict` when a key holds something of another kind; `shutting-down` after [`Link::close`]; `storage` for
    /// everything else.
    ///
    /// # Cancel safety
    /// Dropped, the call may or may not have been made.
    pub async fn call(&self, call: &Call) -> Result<Answers> {
        let answers = self.called(call).await.map_err(|error| self.named(error))?;
        Ok(Answers::new(answers, Arc::clone(&self.server)))
    }

    /// A connection beside those of the calls, for commands that wait at the server for longer than a call may take. How long
    /// it waits for an answer is up to whoever has it.
    ///
    /// # Errors
    /// As [`Link::call`]; the breaker has no part in it.
    ///
    /// # Cancel safety
    /// Nothing is lost when the future is dropped.
    pub async fn apart(&self) -> Result<MultiplexedConnection> {
        let connected = async {
            self.open()?;
            timeout(&*self.clock, self.connect_timeout, self.connect())
                .await
                .map_err(|_| self.late("a connection"))?
                .map_err(refused)
        };
        connected.await.map_err(|error| self.named(error))
    }

    /// Lets go of all connections and refuses calls from now on. Calls under way are answered.
    pub fn close(&self) {
        self.closed.store(true, Ordering::Release);
        for line in &self.lines {
            line.state().connection = None;
        }
    }

    fn open(&self) -> Result<()> {
        if self.closed.load(Ordering::Acquire) {
            return Err(Error::new(
                ErrorKind::ShuttingDown,
                "the way to the redis server is closed",
            ));
        }
        Ok(())
    }

    fn named(&self, error: Error) -> Error {
        error.with("server", &self.server)
    }

    async fn called(&self, call: &Call) -> Result<Vec<Answer>> {
        self.open()?;
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
        let mut line = self.line()?;
        let _load = Load::on(line);
        let mut connection = match self.connection(line).await {
            Ok(connection) => connection,
            // Where a further connection is not to be had, those that are there have to do.
            Err(failed) => match self.connected() {
                Some(found) => {
                    line = found.0;
                    found.1
                }
                None => return Err(failed),
            },
        };
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

    /// The first line that is of use at once and not crowded, so that few connections serve few callers; else the one with
    /// the fewest calls.
    fn line(&self) -> Result<&Line, Failed> {
        let now = self.clock.monotonic();
        let load = |line: &&Line| line.load.load(Ordering::Relaxed);
        let of_use = || self.lines.iter().filter(|line| line.is_of_use(now));
        of_use()
            .find(|line| load(line) < self.crowd)
            .or_else(|| of_use().min_by_key(load))
            // With none of use, be told how long connecting is put off.
            .or(self.lines.first())
            .ok_or_else(|| Failed::NotTried(Error::new(ErrorKind::Internal, "there is no connection to choose from")))
    }

    /// The connection with the fewest calls.
    fn connected(&self) -> Option<(&Line, Connection)> {
        let lines = self.lines.iter();
        let connected = lines.filter_map(|line| Some((line, line.state().current()?)));
        connected.min_by_key(|(line, _)| line.load.load(Ordering::Relaxed))
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
        match timeout(&*self.clock, self.connect_timeout, self.connect()).await {
            Ok(Ok(inner)) => {
                let connection = line.state().made(inner);
                if self.closed.load(Ordering::Acquire) {
                    // For this call only.
                    line.give_up(&connection);
                }
                Ok(connection)
            }
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

    async fn connect(&self) -> Result<MultiplexedConnection, RedisError> {
        // Our own limits, by our own clock.
        let config = AsyncConnectionConfig::new()
            .set_connection_timeout(None)
            .set_response_timeout(None);
        self.client.get_multiplexed_async_connection_with_config(&config).await
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
        if now.saturating_sub(self.begun) >= self.link.command_timeout / REDIS_PATIENCE {
            guard.failure(now);
        } else {
            guard.ignore();
        }
    }
}

/// A call on a line, while it is under way.
struct Load<'a>(&'a Line);

impl<'a> Load<'a> {
    fn on(line: &'a Line) -> Self {
        line.load.fetch_add(1, Ordering::Relaxed);
        Self(line)
    }
}

impl Drop for Load<'_> {
    fn drop(&mut self) {
        self.0.load.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Line {
    fn state(&self) -> MutexGuard<'_, State> {
        // No code that can panic runs under the lock, so a poisoned state is still a whole one.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn is_of_use(&self, now: Duration) -> bool {
        let state = self.state();
        state.connection.is_some() || state.not_before <= now
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

fn client(options: &LinkOptions) -> Result<Client> {
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
    // Whoever waits for an answer must not wait for the last one to be acknowledged first.
    let settings = info.tcp_settings().clone().set_nodelay(true);
    let info = info.set_tcp_settings(settings);
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
            .field("server", &self.server)
            .field("lines", &self.lines.len())
            .field("breaker", &open)
            .finish_non_exhaustive()
    }
}
