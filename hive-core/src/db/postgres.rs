//! PostgreSQL: connections, what runs on them, and what its errors and values mean.
//!
//! A closure runs on a *lane*, a thread that owns one connection: there it may wait for the server without holding up
//! anything else. It may run more than once, because the server may ask for that.

// In reading order: each uses only those above it.
mod address;
mod tls;
mod numeric;
mod values;
mod column;
mod error;
mod config;
mod statements;
mod link;
mod set;
mod line;
mod lanes;
mod append;
mod listen;

#[cfg(feature = "test-util")]
#[cfg(test)]
mod tests;

pub(super) use self::append::Appends;
pub(super) use self::config::{Config, Timeouts};
pub(super) use self::lanes::Lanes;
pub(super) use self::link::{Begin, Isolation, Link};
pub(super) use self::listen::Bell;
pub(super) use self::set::insert as insert_set;
pub(super) use self::values::column;
