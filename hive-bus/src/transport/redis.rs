//! A stream on a Redis server, shared by many processes.
//!
//! ```no_run
//! use std::sync::Arc;
//!
//! use hive_bus::Bus;
//! use hive_bus::transport::redis::{Durability, Options, Redis};
//! use hive_core::clock::SystemClock;
//! use hive_core::id::IdSource;
//!
//! # #[tokio::main(flavor = "current_thread")] async fn main() -> hive_bus::Result<()> {
//! let redis = Redis::open(Options::new("redis://:secret@redis.example:6379/0").prefix("{shop}:")).await?;
//! assert_eq!(redis.durability(), Durability::Always, "set appendfsync to always, or relay from a database");
//! let bus = Bus::over(Arc::new(redis), Arc::new(SystemClock), IdSource::system());
//! # Ok(()) }
//! ```
//!
//! # What an acknowledged event survives
//!
//! That is up to the server: [`Redis::durability`] says what its settings promise. With a replica that takes over, what had not
//! been copied yet is lost as well. Where that is too little, publish to a database and relay from it: the database has
//! everything, and what the server has lost is relayed again.
//!
//! An event that was lost gives its sequence to nobody: when the server was started again or another one took its place, the
//! numbers leap ahead, so that no cursor is beyond what is still to come.
//!
//! # What it keeps, and for how long
//!
//! One stream holds all events, and [`Options::events_max`] bounds it: whoever is further behind loses what was before, and an
//! id that is published again after its event has gone is a new event. Consumers and their dead letters stay until they are
//! removed. The server needs memory for all of it. Give it an eviction policy that leaves alone what has no time to live
//! (`noeviction` is the default), or it will throw parts of the log away.
//!
//! # When the server is away
//!
//! Each call has a limit of time and is tried a few times; none of them does anything twice, however often it arrives. After
//! some failures in a row a breaker refuses calls at once for a while. Who waits for events goes on waiting, and hears of
//! what came meanwhile when the server is back. [`hive_core::redis`] says more about connections.
//!
//! # What it asks of the server
//!
//! One server, version 6.2 or later, no cluster: what is written together lies on one node, and moves that a cluster asks for
//! are not followed. A user that may run scripts and read and write the keys that begin with the prefix; `CONFIG GET` to tell the
//! durability, and `INFO` to notice that it was started again. Scripts are short: some hundred events each.

mod durability;
mod entry;
mod follow;
mod gather;
mod keys;
mod letter;
mod log;
mod options;
mod server;

#[cfg(test)]
mod tests;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use ::redis::cmd;
use async_trait::async_trait;
use hive_core::clock::Timestamp;
use hive_core::id::EventId;
use hive_errors::Result;

pub use self::durability::Durability;
use self::follow::follow;
use self::keys::Keys;
use self::log::Log;
pub use self::options::Options;
use self::server::Server;
use super::background::Background;
use super::{Change, DeadLetter, Found, Register, Transport};
use crate::event::{Event, NewEvent, Sequence};
use crate::live::Live;
use crate::topic::Patterns;

/// Events on a Redis server. Clones are the same transport. See [the module](self).
#[derive(Clone)]
pub struct Redis {
    inner: Arc<Inner>,
}

struct Inner {
    shared: Arc<Shared>,
    durability: Durability,
    follower: Background,
}

/// What the follower needs, too. It outlives the transport until it notices.
struct Shared {
    server: Server,
    keys: Keys,
    log: Log,
    live: Live,
    /// How long an answer that needs no waiting may take.
    patience: Duration,
}

impl Redis {
    /// The log on this server, which is made when the first event is published.
    ///
    /// # Errors
    /// `config` when the address is none or the server refuses user or password; otherwise why it cannot be reached.
    pub async fn open(options: Options) -> Result<Self> {
        let server = Server::new(&options)?;
        let keys = Keys::new(&options.prefix);
        let durability = Durability::of(&server).await?;
        let live = Live::new(Log::head(&server, &keys).await?);
        let shared = Arc::new(Shared {
            server,
            keys,
            log: Log::new(live.clone(), options.events_max),
            live,
            patience: options.link.command_timeout,
        });
        let follower = Background::spawn(follow(Arc::clone(&shared)));
        Ok(Self {
            inner: Arc::new(Inner {
                shared,
                durability,
                follower,
            }),
        })
    }

    /// What an acknowledged event survives, as the server said when the transport was opened.
    pub fn durability(&self) -> Durability {
        self.inner.durability
    }

    fn parts(&self) -> (&Server, &Keys, &Log) {
        let Shared { server, keys, log, .. } = &*self.inner.shared;
        (server, keys, log)
    }
}

#[async_trait]
impl Transport for Redis {
    fn name(&self) -> &'static str {
        "redis"
    }

    async fn publish(&self, events: Vec<NewEvent>) -> Result<Vec<Sequence>> {
        let (server, keys, log) = self.parts();
        log.publish(server, keys, events).await
    }

    async fn read(&self, patterns: &Patterns, after: Sequence, limit: usize) -> Result<Found> {
        let (server, keys, log) = self.parts();
        log.read(server, keys, patterns, after, limit).await
    }

    async fn get(&self, sequences: &[Sequence]) -> Result<Vec<Event>> {
        let (server, keys, log) = self.parts();
        log.get(server, keys, sequences).await
    }

    async fn find(&self, id: EventId) -> Result<Option<Event>> {
        let (server, keys, log) = self.parts();
        log.find(server, keys, id).await
    }

    async fn head(&self) -> Result<Sequence> {
        let (server, keys, _) = self.parts();
        Log::head(server, keys).await
    }

    async fn before(&self, time: Timestamp) -> Result<Sequence> {
        let (server, keys, log) = self.parts();
        log.before(server, keys, time).await
    }

    fn live(&self) -> &Live {
        &self.inner.shared.live
    }

    async fn now(&self) -> Result<Timestamp> {
        let (server, _, _) = self.parts();
        let (seconds, micros): (i64, i64) = server.one(cmd("TIME")).await?;
        Ok(Timestamp::from_micros(
            seconds.saturating_mul(1_000_000).saturating_add(micros),
        ))
    }

    async fn load(&self, consumer: &str) -> Result<Option<Register>> {
        let (server, keys, _) = self.parts();
        letter::load(server, keys, consumer).await
    }

    async fn store(&self, consumer: &str, change: Change) -> Result<Option<u64>> {
        let (server, keys, _) = self.parts();
        letter::store(server, keys, consumer, change).await
    }

    async fn remove(&self, consumer: &str) -> Result<bool> {
        let (server, keys, _) = self.parts();
        letter::remove(server, keys, consumer).await
    }

    async fn consumers(&self, after: &str, limit: usize) -> Result<Vec<String>> {
        let (server, keys, _) = self.parts();
        letter::consumers(server, keys, after, limit).await
    }

    async fn dead_letters(&self, consumer: &str, after: Sequence, limit: usize) -> Result<Vec<DeadLetter>> {
        let (server, keys, _) = self.parts();
        letter::page(server, keys, consumer, after, limit).await
    }

    async fn dead(&self, consumer: &str, sequences: &[Sequence]) -> Result<Vec<DeadLetter>> {
        let (server, keys, _) = self.parts();
        letter::find(server, keys, consumer, sequences).await
    }

    async fn purge(&self, consumer: &str, sequences: &[Sequence]) -> Result<usize> {
        let (server, keys, _) = self.parts();
        letter::purge(server, keys, consumer, sequences).await
    }

    async fn relay(&self, events: Vec<Event>) -> Result<()> {
        let (server, keys, log) = self.parts();
        log.relay(server, keys, &events).await
    }

    async fn relayed(&self) -> Result<Sequence> {
        let (server, keys, log) = self.parts();
        log.relayed(server, keys).await
    }

    async fn close(&self) -> Result<()> {
        self.inner.shared.live.close();
        self.inner.follower.end().await;
        self.inner.shared.server.link().close();
        Ok(())
    }
}

impl fmt::Debug for Redis {
    /// Without the address, which may hold a password.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Redis")
            .field("link", self.inner.shared.server.link())
            .field("durability", &self.inner.durability)
            .field("live", &self.inner.shared.live)
            .finish_non_exhaustive()
    }
}
