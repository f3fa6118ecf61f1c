use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use hive_errors::{BreakerPolicy, RetryPolicy};

use crate::clock::{Clock, SystemClock};
use crate::limits::{
    REDIS_BACKOFF_MAX, REDIS_COMMAND_TIMEOUT, REDIS_CONNECT_TIMEOUT, REDIS_CONNECTIONS, REDIS_CROWD, REDIS_FAILURES,
    REDIS_IN_FLIGHT, REDIS_PAUSE,
};
use crate::rng::{Rng, SystemRng};

/// How a [`Link`](super::Link) reaches its server.
#[derive(Clone)]
#[non_exhaustive]
pub struct LinkOptions {
    /// `redis://[user][:password]@host[:port][/number]`, `rediss://…` for TLS, `redis+unix:///path` for a socket.
    ///
    /// TLS trusts what the operating system trusts, or [`certificate`](Self::certificate) in its place. Its cryptography is the
    /// one that the process has chosen as rustls's default; when none is chosen yet, ring becomes it.
    pub url: String,
    /// The certificate that TLS trusts, in PEM form, in place of the operating system's.
    pub certificate: Option<Vec<u8>>,
    /// How many connections there may be, from 1. Calls share them without waiting for each other's answers.
    pub connections: usize,
    /// How many calls are under way on a connection before the next one gets a connection of its own, from 1, as long as
    /// there may be more.
    pub crowd: usize,
    /// Calls under way at once, from 1; more wait for their turn within their time. It bounds what a stalled server makes this
    /// process hold.
    pub in_flight: usize,
    /// How long connecting may take, TLS and password included.
    pub connect_timeout: Duration,
    /// How long a call may wait for its turn and for its answer, each, apart from connecting.
    pub command_timeout: Duration,
    /// When calls are refused at once.
    pub breaker: BreakerPolicy,
    /// How long to wait between attempts to connect. Its number of attempts does not count: there is always a next one.
    pub backoff: RetryPolicy,
    /// The clock of all limits.
    pub clock: Arc<dyn Clock>,
    /// Where the random part of the backoff comes from.
    pub rng: Arc<dyn Rng>,
}

impl LinkOptions {
    /// The server with this address, and everything else as [`limits`](crate::limits) has it.
    pub fn new(url: impl Into<String>) -> Self {
        Self {
            url: url.into(),
            certificate: None,
            connections: REDIS_CONNECTIONS,
            crowd: REDIS_CROWD,
            in_flight: REDIS_IN_FLIGHT,
            connect_timeout: REDIS_CONNECT_TIMEOUT,
            command_timeout: REDIS_COMMAND_TIMEOUT,
            breaker: BreakerPolicy::new(REDIS_FAILURES, REDIS_PAUSE),
            // A server that was away for a day is asked for again, too.
            backoff: RetryPolicy::exponential(u32::MAX).with_cap(REDIS_BACKOFF_MAX),
            clock: Arc::new(SystemClock),
            rng: Arc::new(SystemRng),
        }
    }
}

impl fmt::Debug for LinkOptions {
    /// Without the address, which may hold a password.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LinkOptions")
            .field("connections", &self.connections)
            .field("connect_timeout", &self.connect_timeout)
            .field("command_timeout", &self.command_timeout)
            .finish_non_exhaustive()
    }
}
