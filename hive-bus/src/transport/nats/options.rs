use std::fmt;
use std::num::NonZeroU64;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use hive_core::clock::{Clock, SystemClock};
use hive_core::rng::{Rng, SystemRng};
use hive_errors::{BreakerPolicy, RetryPolicy};

use crate::limits;

/// How a [`Nats`](super::Nats) reaches its server, and how the server is to keep the events.
#[derive(Clone)]
pub struct Options {
    pub(super) urls: Vec<String>,
    pub(super) certificates: Vec<PathBuf>,
    pub(super) name: String,
    pub(super) prefix: String,
    pub(super) replicas: usize,
    pub(super) events_max: Option<NonZeroU64>,
    pub(super) bytes_max: Option<NonZeroU64>,
    pub(super) age_max: Option<Duration>,
    pub(super) duplicate_window: Duration,
    pub(super) connect_timeout: Duration,
    pub(super) request_timeout: Duration,
    pub(super) in_flight_bytes: usize,
    pub(super) breaker: BreakerPolicy,
    pub(super) backoff: RetryPolicy,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) rng: Arc<dyn Rng>,
}

impl Options {
    /// `nats://[user:password@ | token@]host[:port]`, `tls://…` for TLS. Several servers of one cluster stand between commas; the
    /// first user or token that one of them has is that of all.
    ///
    /// TLS trusts what the operating system trusts, or [`Options::certificates`] in its place. It is also used where the server
    /// asks for it. Its cryptography is the one that the process has chosen as rustls's default; when none is chosen yet, ring
    /// becomes it.
    pub fn new(url: impl AsRef<str>) -> Self {
        let urls = url.as_ref().split(',').map(|url| url.trim().to_owned());
        Self {
            urls: urls.filter(|url| !url.is_empty()).collect(),
            certificates: Vec::new(),
            name: "HIVE".to_owned(),
            prefix: "hive".to_owned(),
            replicas: 1,
            events_max: None,
            bytes_max: None,
            age_max: None,
            duplicate_window: limits::NATS_DUPLICATE_WINDOW,
            connect_timeout: limits::NATS_CONNECT_TIMEOUT,
            request_timeout: limits::NATS_REQUEST_TIMEOUT,
            in_flight_bytes: limits::NATS_IN_FLIGHT_BYTES,
            breaker: BreakerPolicy::new(limits::NATS_FAILURES, limits::NATS_PAUSE),
            // Attempts without end: a server that was away for a day is asked for again, too.
            backoff: RetryPolicy::exponential(u32::MAX)
                .with_base(limits::NATS_BACKOFF)
                .with_cap(limits::NATS_BACKOFF_MAX),
            clock: Arc::new(SystemClock),
            rng: Arc::new(SystemRng),
        }
    }

    /// The file with the certificates that TLS trusts, in PEM form, in place of the operating system's.
    #[must_use]
    pub fn certificates(mut self, file: impl Into<PathBuf>) -> Self {
        self.certificates.push(file.into());
        self
    }

    /// What the stream of events is called, and what the names of the two buckets beside it begin with: letters, digits, `-` and
    /// `_`; `HIVE` unless set. Whatever uses the same name on the same server uses the same events.
    #[must_use]
    pub fn name(mut self, name: impl Into<String>) -> Self {
        self.name = name.into();
        self
    }

    /// What every subject begins with, so that applications can share a server: a topic; `hive` unless set. Two names need
    /// two prefixes.
    #[must_use]
    pub fn prefix(mut self, prefix: impl Into<String>) -> Self {
        self.prefix = prefix.into();
        self
    }

    /// How many servers of a cluster keep each event, from 1 to 5; 1 unless set. Only when the stream is made.
    #[must_use]
    pub fn replicas(mut self, replicas: usize) -> Self {
        self.replicas = replicas;
        self
    }

    /// How many events are kept, the newest; all unless set. Only when the stream is made. Whoever is further behind loses what
    /// was before, as with the two that follow.
    #[must_use]
    pub fn events_max(mut self, events: NonZeroU64) -> Self {
        self.events_max = Some(events);
        self
    }

    /// How many bytes of events are kept, the newest; all unless set, up to what the server allows. Only when the stream is made.
    #[must_use]
    pub fn bytes_max(mut self, bytes: NonZeroU64) -> Self {
        self.bytes_max = Some(bytes);
        self
    }

    /// How long events are kept; for ever unless set. Only when the stream is made.
    #[must_use]
    pub fn age_max(mut self, age: Duration) -> Self {
        self.age_max = Some(age);
        self
    }

    /// How long the server knows the ids of what was published, so that publishing again changes nothing;
    /// [`limits::NATS_DUPLICATE_WINDOW`] unless set. It costs the server some hundred bytes of memory for each event of that
    /// time. Only when the stream is made.
    #[must_use]
    pub fn duplicate_window(mut self, window: Duration) -> Self {
        self.duplicate_window = window;
        self
    }

    /// How long connecting may take, TLS and password included; [`limits::NATS_CONNECT_TIMEOUT`] unless set.
    #[must_use]
    pub fn connect_timeout(mut self, timeout: Duration) -> Self {
        self.connect_timeout = timeout;
        self
    }

    /// How long a call may take, attempts made again included; [`limits::NATS_REQUEST_TIMEOUT`] unless set. A batch of more than
    /// a mebibyte takes several calls, and each may wait as long for its turn. A connection on which nothing is answered for
    /// half of the time is given up.
    #[must_use]
    pub fn request_timeout(mut self, timeout: Duration) -> Self {
        self.request_timeout = timeout;
        self
    }

    /// How many bytes of events may wait for the server's acknowledgement, over all publishers of this process: whoever comes
    /// then waits for a turn. [`limits::NATS_IN_FLIGHT_BYTES`] unless set.
    #[must_use]
    pub fn in_flight_bytes(mut self, bytes: usize) -> Self {
        self.in_flight_bytes = bytes;
        self
    }

    /// When calls are refused at once: after [`limits::NATS_FAILURES`] failures in a row for [`limits::NATS_PAUSE`] unless set.
    #[must_use]
    pub fn breaker(mut self, policy: BreakerPolicy) -> Self {
        self.breaker = policy;
        self
    }

    /// How long to wait before the next attempt; up to [`limits::NATS_BACKOFF`], twice as long after each failure until
    /// [`limits::NATS_BACKOFF_MAX`], at random, unless set. Its number of attempts does not count: there is always a next one.
    #[must_use]
    pub fn backoff(mut self, policy: RetryPolicy) -> Self {
        self.backoff = policy.with_attempts(u32::MAX);
        self
    }

    /// The clock of all limits and of [`Transport::now`](crate::transport::Transport::now); the system's unless set.
    #[must_use]
    pub fn clock(mut self, clock: Arc<dyn Clock>) -> Self {
        self.clock = clock;
        self
    }

    /// Where the random part of the backoff comes from, and the names of attempts; the system unless set.
    #[must_use]
    pub fn rng(mut self, rng: Arc<dyn Rng>) -> Self {
        self.rng = rng;
        self
    }
}

impl fmt::Debug for Options {
    /// Without the addresses, which may hold a password.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Options")
            .field("name", &self.name)
            .field("prefix", &self.prefix)
            .field("connect_timeout", &self.connect_timeout)
            .field("request_timeout", &self.request_timeout)
            .finish_non_exhaustive()
    }
}
