//! What was expensive to find out, kept for a while: in this process, and in a store that processes share.
//!
//! ```
//! use std::time::Duration;
//! use hive_core::cache::{Cache, Options};
//!
//! # #[tokio::main(flavor = "current_thread")] async fn main() -> hive_errors::Result<()> {
//! let prices = Cache::new(Options::new("prices")).region("v2")?;
//!
//! // However many ask at once, the source is asked once.
//! let price: u32 = prices.get_or_compute("EUR", Duration::from_secs(60), async || Ok(107)).await?;
//! assert_eq!(price, 107);
//! assert_eq!(prices.get("EUR").await, Some(107));
//!
//! prices.remove("EUR").await?;
//! assert_eq!(prices.get::<u32>("EUR").await, None);
//! assert_eq!(prices.stats().computes, 1);
//! # Ok(()) }
//! ```
//!
//! # Layers
//!
//! [`Cache`] looks into [`memory`] first, then into a shared [`Store`] if it has one, such as Redis, and then asks the
//! source. What came from the shared store is believed in memory for a second, so a change by another process is seen
//! that much later at most.
//!
//! # When the shared store is away
//!
//! No caller gets an error for it. Memory then serves what it has until that value's own time is over, and the rest comes
//! from the source. [`Stats::degraded`] and the gauge `hive_cache_degraded` say so, and one line in the log when it begins
//! and one when it ends. What was overwritten or removed meanwhile is remembered and removed from the store when it is back,
//! so that this process never sees the old value again; other processes may, until that value's time is over. That is why
//! [`Cache::remove`] alone tells its caller.
//!
//! # Metrics
//!
//! Through the `metrics` façade, each with the label `cache`, which is the name in [`Options::new`]. Install the recorder
//! before the cache is made. Counters: `hive_cache_hits_total`, `…_misses_total`, `…_computes_total`, `…_coalesced_total`,
//! `…_errors_total`, `…_refused_total`, `…_evictions_total`; gauge: `hive_cache_degraded`, 0 or 1. [`Cache::stats`] has the
//! same figures in process.
//!
//! # What it is not
//!
//! It is no place to keep what cannot be computed again: anything in it may be gone at any time. It promises no order
//! between processes; where two must agree, use the database. Nothing is removed by prefix, because on a server that
//! others use as well that means looking at all of their keys: put a version into the [region](Cache::region) and change
//! it, and what is under the old one ends by itself.

mod flight;
mod handle;
mod health;
mod key;
mod layers;
pub mod memory;
mod options;
mod owed;
#[cfg(feature = "redis")]
pub mod redis;
mod shared;
mod stats;

#[cfg(test)]
mod tests;

use std::fmt::Debug;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use hive_errors::{Error, ErrorKind, Result};

use crate::limits::{CACHE_KEY_BYTES_MAX, CACHE_TTL_MAX};

pub use handle::Cache;
pub use options::Options;
pub use stats::Stats;

/// Where values are kept for a while, bytes in and bytes out.
///
/// A key is any text of 1 to [`CACHE_KEY_BYTES_MAX`] bytes, control characters included, and means nothing but itself.
/// A value is any bytes up to the store's own limit, none included. A store may forget any value at any time, but it never
/// gives out one that was overwritten or removed before, or whose time is over. Every call ends by a deadline of its
/// own.
#[async_trait]
pub trait Store: Send + Sync + Debug + 'static {
    /// What logs call the store.
    fn name(&self) -> &str;

    /// The value under this key, if there is one.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidInput`] when the key does not fit, [`ErrorKind::PayloadTooLarge`] when somebody else has put a
    /// value there that is beyond the limit; whatever keeps the store from answering.
    ///
    /// # Cancel safety
    /// Nothing is lost when the future is dropped.
    async fn get(&self, key: &str) -> Result<Option<Found>>;

    /// Keeps the value for `ttl`, in place of what was there. The time is rounded up to whole milliseconds, at least one,
    /// and cut at [`CACHE_TTL_MAX`].
    ///
    /// # Errors
    /// [`ErrorKind::InvalidInput`] when the key does not fit and [`ErrorKind::PayloadTooLarge`] when the value does not;
    /// what was there before is still there then. Whatever keeps the store from answering; it is unknown then which
    /// of the two is there.
    ///
    /// # Cancel safety
    /// When the future is dropped, either value may be there.
    async fn put(&self, key: &str, value: Arc<[u8]>, ttl: Duration) -> Result<()>;

    /// Removes what is under these keys. Nothing there is fine, too.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidInput`] when a key does not fit, and nothing is removed then; whatever keeps the store from
    /// answering, and some may be removed then.
    ///
    /// # Cancel safety
    /// When the future is dropped, some may be removed.
    async fn remove(&self, keys: &[&str]) -> Result<()>;
}

/// What a [`Store`] found.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Found {
    /// The bytes that were put there.
    pub value: Arc<[u8]>,
    /// How much of its time is left; `None` when the store cannot tell.
    pub ttl: Option<Duration>,
}

impl Found {
    /// A value with what is left of its time.
    pub fn new(value: impl Into<Arc<[u8]>>, ttl: Option<Duration>) -> Self {
        Self {
            value: value.into(),
            ttl,
        }
    }
}

/// Refuses a key that no store takes. For those who write a [`Store`].
///
/// # Errors
/// [`ErrorKind::InvalidInput`] with the field `bytes` when it is empty or longer than [`CACHE_KEY_BYTES_MAX`].
pub fn check_key(key: &str) -> Result<()> {
    if (1..=CACHE_KEY_BYTES_MAX).contains(&key.len()) {
        return Ok(());
    }
    Err(Error::new(ErrorKind::InvalidInput, "the key does not fit into a cache")
        .with("bytes", key.len())
        .with("limit", CACHE_KEY_BYTES_MAX)
        .with_hint("use a key of one byte or more; put a digest in the place of a long one"))
}

/// Refuses a value that is too large. For those who write a [`Store`].
///
/// # Errors
/// [`ErrorKind::PayloadTooLarge`] with the fields `bytes` and `limit`.
pub fn check_value(bytes: usize, limit: usize) -> Result<()> {
    if bytes <= limit {
        return Ok(());
    }
    Err(
        Error::new(ErrorKind::PayloadTooLarge, "the value is too large for a cache")
            .with("bytes", bytes)
            .with("limit", limit)
            .with_hint("keep a smaller part of it, or raise the limit on the cache's values"),
    )
}

/// How long a value asked to be kept for `ttl` is kept: in whole milliseconds, rounded up, from one to [`CACHE_TTL_MAX`].
/// For those who write a [`Store`].
pub fn lifetime(ttl: Duration) -> Duration {
    let ttl = ttl.min(CACHE_TTL_MAX);
    let millis = ttl.as_nanos().div_ceil(1_000_000).max(1);
    // Invariant: no more than CACHE_TTL_MAX, which has far fewer milliseconds than 2^64.
    Duration::from_millis(u64::try_from(millis).unwrap_or(u64::MAX))
}
