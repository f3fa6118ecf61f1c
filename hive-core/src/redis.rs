//! The way to a Redis server, or one that speaks its protocol: connections, time limits, breaker and backoff, for whatever is
//! built on one. [`cache`](crate::cache) keeps values there, and `hive-bus` events.
//!
//! ```no_run
//! use hive_core::redis::{Call, Link, LinkOptions};
//!
//! # #[tokio::main(flavor = "current_thread")] async fn main() -> hive_errors::Result<()> {
//! let link = Link::new(LinkOptions::new("redis://:secret@redis.example:6379/0"))?;
//! let mut command = redis::cmd("GET");
//! command.arg("key");
//! let value: Option<String> = link.call(&Call::One(command)).await?.take()?;
//! # Ok(()) }
//! ```
//!
//! # When the server is away
//!
//! Nothing connects before the first call. A call waits for connecting and for the answer up to a limit each. A connection
//! that breaks or does not answer in time is given up; a call that met one that had been closed since is made once more on a
//! new one. After a failed attempt to connect the next one waits, longer each time and for a random part of it, so that the
//! processes of a fleet do not come back together. After some failures in a row a breaker refuses calls at once and lets one
//! through now and then to find out.
//!
//! # What it is not
//!
//! It knows one server, not a cluster, and nothing of what is kept there. A call may be made twice: what must not be done
//! twice has to say so in its commands.

mod link;
mod options;
mod refusal;

pub use link::Link;
pub use options::LinkOptions;
pub use refusal::{Answers, Call};
