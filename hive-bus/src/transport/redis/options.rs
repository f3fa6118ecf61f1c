use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use hive_core::clock::Clock;
use hive_core::redis::LinkOptions;
use hive_core::rng::Rng;
use hive_errors::{BreakerPolicy, RetryPolicy};

use crate::limits;

/// How a [`Redis`](super::Redis) reaches its server, and what it keeps there.
#[derive(Clone)]
#[must_use = "options do nothing until a transport is opened with them"]
pub struct Options {
    pub(super) link: LinkOptions,
    pub(super) prefix: String,
    pub(super) events_max: usize,
    pub(super) retry: RetryPolicy,
}

impl Options {
    /// `redis://[user][:password]@host[:port][/number]`, `rediss://…` for TLS, `redis+unix:///path` for a socket.
    ///
    /// TLS trusts what the operating system trusts, or [`Options::certificate`] in its place. Its cryptography is the one that
    /// the process has chosen as rustls's default; when none is chosen yet, ring becomes it.
    pub fn new(url: impl Into<String>) -> Self {
        let mut link = LinkOptions::new(url);
        link.connections = limits::REDIS_CONNECTIONS;
        link.crowd = limits::REDIS_CROWD;
        link.in_flight = limits::REDIS_IN_FLIGHT;
        Self {
            link,
            prefix: "{hive}:".to_owned(),
            events_max: limits::REDIS_EVENTS_MAX,
            retry: RetryPolicy::exponential(limits::REDIS_ATTEMPTS),
        }
    }

    /// The certificate that TLS trusts, in PEM form, in place of the operating system's.
    pub fn certificate(mut self, pem: impl Into<Vec<u8>>) -> Self {
        self.link.certificate = Some(pem.into());
        self
    }

    /// What every key on the server begins with; `{hive}:` unless set. Each log has its own. Braces around a part of it keep all
    /// keys together on one node where there are several.
    pub fn prefix(mut self, prefix: impl Into<String>) -> Self {
        self.prefix = prefix.into();
        self
    }

    /// How many events the server keeps, from 1; [`limits::REDIS_EVENTS_MAX`] unless set. Some more are there at times. Whoever is
    /// further behind loses what was before, and an id is forgotten with its event.
    pub fn events_max(mut self, count: usize) -> Self {
        self.events_max = count.max(1);
        self
    }

    /// How many connections there may be, from 1 to [`limits::REDIS_CONNECTIONS_MAX`]; [`limits::REDIS_CONNECTIONS`] unless set. They
    /// are made as calls crowd, and calls share them without waiting for each other's answers. One more follows the log while
    /// somebody waits.
    pub fn connections(mut self, count: usize) -> Self {
        self.link.connections = count.clamp(1, limits::REDIS_CONNECTIONS_MAX);
        self
    }

    /// How long connecting may take, TLS and password included; 1 s unless set.
    pub fn connect_timeout(mut self, timeout: Duration) -> Self {
        self.link.connect_timeout = timeout;
        self
    }

    /// How long one attempt at a call may wait for its turn and for its answer, each, apart from connecting; 2 s unless set. A
    /// server that syncs before it answers needs what its disk needs.
    pub fn command_timeout(mut self, timeout: Duration) -> Self {
        self.link.command_timeout = timeout;
        self
    }

    /// How often a call is tried that found the server away or did not get an answer in time, and how long to wait in between;
    /// [`limits::REDIS_ATTEMPTS`] times unless set. None of the calls does anything twice.
    pub fn retry(mut self, policy: RetryPolicy) -> Self {
        self.retry = policy;
        self
    }

    /// When calls are refused at once; after 3 failures in a row for 1 s unless set.
    pub fn breaker(mut self, policy: BreakerPolicy) -> Self {
        self.link.breaker = policy;
        self
    }

    /// How long to wait between attempts to connect; up to 100 ms, twice as long after each failure until 5 s, at random,
    /// unless set. Its number of attempts does not count: there is always a next one.
    pub fn backoff(mut self, policy: RetryPolicy) -> Self {
        self.link.backoff = policy;
        self
    }

    /// The clock of all limits; the system's unless set. Events are dated by whoever publishes them.
    pub fn clock(mut self, clock: Arc<dyn Clock>) -> Self {
        self.link.clock = clock;
        self
    }

    /// Where the random part of waits comes from, and what tells one call from another; the system unless set.
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
            .field("events_max", &self.events_max)
            .field("link", &self.link)
            .finish_non_exhaustive()
    }
}
