//! A store on a Redis server, or one that speaks its protocol, shared by many processes.
//!
//! ```no_run
//! use hive_core::cache::{Cache, Options, redis::{self, Redis}};
//!
//! # #[tokio::main(flavor = "current_thread")] async fn main() -> hive_errors::Result<()> {
//! let store = Redis::new(redis::Options::new("redis://cache.example:6379/0").prefix("shop:"))?;
//! store.ping().await?; // only to find a wrong address or password at the start
//! let cache = Cache::new(Options::new("prices").shared(store));
//! # Ok(()) }
//! ```
//!
//! # When the server is away
//!
//! Nothing connects before the first call, and a process starts without its server. A call waits for [connecting] and for
//! the [answer] up to a limit each; how connections come and go, [`redis`](crate::redis) says.
//!
//! # What it asks of the server
//!
//! `GET`, `SET … PX`, `PTTL`, `UNLINK` and `PING` on one node, version 4 or later. What the server may use is its own matter:
//! give it a `maxmemory` and an eviction policy such as `allkeys-lru`, or it refuses writes when it is full. One that is
//! restored from an old copy, or replaced by a replica that is behind, may give out again what was overwritten or removed
//! just before; the values' own time bounds that.
//!
//! [connecting]: Options::connect_timeout
//! [answer]: Options::command_timeout

mod options;

#[cfg(test)]
mod tests;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use ::redis::{cmd, pipe};
use async_trait::async_trait;
use hive_errors::{Error, Result};

use super::{Found, Store, check_key, check_value, lifetime};
use crate::redis::{Answers, Call, Link};
pub use options::Options;

/// Values on a Redis server. Cheap to clone; clones share their connections.
///
/// The client library runs one task per connection on the runtime of the call that made it; the task ends with the
/// connection, at the latest when the last clone is dropped.
#[derive(Clone)]
pub struct Redis {
    link: Arc<Link>,
    prefix: Arc<str>,
    value_bytes_max: usize,
}

impl Redis {
    /// A store on this server. Does not connect yet.
    ///
    /// # Errors
    /// [`ErrorKind::Config`](hive_errors::ErrorKind::Config) when the address is not one of a Redis server.
    pub fn new(options: Options) -> Result<Self> {
        Ok(Self {
            prefix: options.prefix.as_str().into(),
            value_bytes_max: options.value_bytes_max,
            link: Arc::new(Link::new(options.link)?),
        })
    }

    /// Asks the server whether it is there. For the start of a process that would rather not begin than run without.
    ///
    /// # Errors
    /// [`ErrorKind::Config`](hive_errors::ErrorKind::Config) when the server refuses user or password; otherwise why it cannot
    /// be reached.
    ///
    /// # Cancel safety
    /// Nothing is lost when the future is dropped.
    pub async fn ping(&self) -> Result<()> {
        self.call(Call::One(cmd("PING"))).await.map(drop)
    }

    fn key(&self, key: &str) -> Result<String> {
        check_key(key)?;
        Ok(format!("{}{key}", self.prefix))
    }

    async fn call(&self, call: Call) -> Result<Answers> {
        self.link.call(&call).await.map_err(advised)
    }
}

/// The error with what to do about it where the server holds a cache.
fn advised(error: Error) -> Error {
    match error.field("code") {
        Some("OOM") => error.with_hint("raise its maxmemory, or set an eviction policy such as allkeys-lru"),
        Some("WRONGTYPE") => error.with_hint("give the cache a prefix of its own on this server"),
        _ => error,
    }
}

#[async_trait]
impl Store for Redis {
    fn name(&self) -> &str {
        "redis"
    }

    async fn get(&self, key: &str) -> Result<Option<Found>> {
        let key = self.key(key)?;
        // The time first: what is put there in between then gets the old value's time, which is shorter or none at all.
        let mut commands = pipe();
        commands.cmd("PTTL").arg(&key).cmd("GET").arg(&key).ignore_errors();
        let mut answers = self.call(Call::Several(commands)).await?;
        let left: i64 = answers.take().map_err(advised)?;
        let Some(value) = answers.take::<Option<Vec<u8>>>().map_err(advised)? else {
            return Ok(None);
        };
        check_value(value.len(), self.value_bytes_max)?;
        let ttl = match u64::try_from(left) {
            Ok(left) => Some(Duration::from_millis(left)),
            // -1: somebody put it there for ever. -2: it was not there yet when the time was asked for.
            Err(_) => None,
        };
        Ok(Some(Found::new(value, ttl)))
    }

    async fn put(&self, key: &str, value: Arc<[u8]>, ttl: Duration) -> Result<()> {
        let key = self.key(key)?;
        check_value(value.len(), self.value_bytes_max)?;
        let mut command = cmd("SET");
        let millis = lifetime(ttl).as_millis().to_string();
        command.arg(key).arg(&*value).arg("PX").arg(millis);
        self.call(Call::One(command)).await.map(drop)
    }

    async fn remove(&self, keys: &[&str]) -> Result<()> {
        if keys.is_empty() {
            return Ok(());
        }
        let mut command = cmd("UNLINK");
        for key in keys {
            command.arg(self.key(key)?);
        }
        self.call(Call::One(command)).await.map(drop)
    }
}

impl fmt::Debug for Redis {
    /// Without the address, which may hold a password.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Redis")
            .field("prefix", &self.prefix)
            .field("link", &self.link)
            .finish_non_exhaustive()
    }
}
