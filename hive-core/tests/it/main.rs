//! The crate from outside: real files, processes, users and disks.
#![expect(clippy::unwrap_used, clippy::panic, reason = "a test that cannot go on fails")]

#[cfg(feature = "cache")]
mod cache;
mod database;
#[cfg(all(feature = "test-util", unix))]
mod kit;
mod lease;
#[cfg(all(feature = "redis-link", feature = "test-util", unix))]
mod redis;
