use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use hive_errors::{BreakerPolicy, RetryPolicy};

use crate::clock::Clock;
use crate::limits::{
    CACHE_REDIS_COMMAND_TIMEOUT, CACHE_REDIS_CONNECTIONS_MAX, CACHE_VALUE_BYTES_DEFAULT, CACHE_VALUE_BYTES_MAX,
};
use crate::redis::LinkOptions;
use crate::rng::Rng;

/// How a [`Redis`](super::Redis) reaches its server.
#[derive(Clone)]
pub struct Options {
    pub(super) link: LinkOptions,
    pub(super) prefix: String,
    pub(super) value_bytes_max: usize,
}

impl Options {
    /// `redis://[user][:password]@host[:port][/number]`, `rediss://…` for TLS, `redis+unix:///path` for a socket.
    ///
    /// TLS trusts what the operating system trusts, or [`Options::certificate`] in its place. Its cryptography is the one that
    /// the process has chosen as rustls's default; when none is chosen yet, ring becomes it.
    pub fn new(url: impl Into<String>) -> Self {
        let mut link = LinkOptions::new(url);
        link.command_timeout = CACHE_REDIS_COMMAND_TIMEOUT;
        Self {
            link,
            prefix: "hive:".to_owned(),
            value_bytes_max: CACHE_VALUE_BYTES_DEFAULT,
        }
    }

    /// The certificate that TLS trusts, in PEM form, in place of the operating system's.
    #[must_use]
    pub fn certificate(mut self, pem: impl Into<Vec<u8>>) -> Self {
        self.link.certificate = Some(pem.into());
        self
    }

    /// What every key on the server begins with, so that applications can share one; `hive:` unless set.
    #[must_use]
    pub fn prefix(mut self, prefix: impl Into<String>) -> Self {
        self.prefix = prefix.into();
        self
    }

    /// The largest value in bytes, at most [`CACHE_VALUE_BYTES_MAX`]; 1 MiB unless set.
    #[must_use]
    pub fn value_bytes_max(mut self, bytes: usize) -> Self {
        self.value_bytes_max = bytes.min(CACHE_VALUE_BYTES_MAX);
        self
    }

    /// How many connections there are, from 1 to [`CACHE_REDIS_CONNECTIONS_MAX`]; 2 unless set. Calls share them without
    /// waiting for each other's answers.
    #[must_use]
    pub fn connections(mut self, count: usize) -> Self {
        self.link.connections = count.clamp(1, CACHE_REDIS_CONNECTIONS_MAX);
        self
    }

    /// How long connecting may take, TLS and password included; 1 s unless set.
    #[must_use]
    pub fn connect_timeout(mut self, timeout: Duration) -> Self {
        self.link.connect_timeout = timeout;
        self
    }

    /// How long a call may wait for its turn and its answer, apart from connecting; 250 ms unless set. It should be well below
    /// what the source takes.
    #[must_use]
    pub fn command_timeout(mut self, timeout: Duration) -> Self {
        self.link.command_timeout = timeout;
        self
    }

    /// When calls are refused at once; after 3 failures in a row for 1 s unless set.
    #[must_use]
    pub fn breaker(mut self, policy: BreakerPolicy) -> Self {
        self.link.breaker = policy;
        self
    }

    /// How long to wait between attempts to connect; up to 100 ms, twice as long after each failure until 5 s, at random,
    /// unless set. Its number of attempts does not count: there is always a next one.
    #[must_use]
    pub fn backoff(mut self, policy: RetryPolicy) -> Self {
        self.link.backoff = policy.with_attempts(u32::MAX);
        self
    }

    /// The clock of all limits; the system's unless set.
    #[must_use]
    pub fn clock(mut self, clock: Arc<dyn Clock>) -> Self {
        self.link.clock = clock;
        self
    }

    /// Where the random part of the backoff comes from; the system unless set.
    #[must_use]
    pub fn rng(mut self, rng: Arc<dyn Rng>) -> Self {
        self.link.rng = rng;
        self
    }
}

impl fmt::Debug for Options {
    /// Without the address, which may hold a password.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Options")
            .field("prefix", &self.prefix)
            .field("link", &self.link)
            .finish_non_exhaustive()
    }
}
