//! The cache from outside: one suite for every store, and what a Redis server can do to a program.

mod conformance;
mod memory;
#[cfg(all(feature = "redis", feature = "test-util", unix))]
mod redis;
