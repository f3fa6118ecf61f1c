//! What everything in a hive stands on: time, randomness, ids, payloads, the database, configuration and models.
//!
//! ```
//! use std::sync::Arc;
//! use std::time::Duration;
//!
//! use hive_core::clock::{Clock, ManualClock, Timestamp};
//! use hive_core::id::{IdSource, TaskId};
//! use hive_core::limits::PAYLOAD_BYTES_DEFAULT;
//! use hive_core::model::{ModelHandle, scripted::Scripted};
//! use hive_core::payload::Payload;
//! use hive_core::rng::SeededRng;
//!
//! # #[tokio::main(flavor = "current_thread")] async fn main() -> hive_errors::Result<()> {
//! // Time and randomness are ports, so a run can be repeated to the last bit.
//! let clock = ManualClock::new("2026-01-02T03:04:05Z".parse()?);
//! let ids = IdSource::new(Arc::new(clock.clone()), Arc::new(SeededRng::new(7)));
//! let task: TaskId = ids.next();
//! assert!(task.to_string().starts_with("task_01"));
//!
//! clock.advance(Duration::from_secs(3600));
//! assert_eq!(clock.now().to_string(), "2026-01-02T04:04:05.000000Z");
//!
//! // Values of any type travel as bounded, canonical JSON.
//! let payload = Payload::encode(&[("task", task)], PAYLOAD_BYTES_DEFAULT)?;
//! assert_eq!(payload.decode::<Vec<(String, TaskId)>>()?, [("task".to_owned(), task)]);
//!
//! // A model is a port, too; this one answers from a script.
//! let model = ModelHandle::new(Scripted::new().on("approve", r#"{"approved": true}"#));
//! let answer: std::collections::BTreeMap<String, bool> = model.extract("Do you approve?").await?;
//! assert!(answer["approved"]);
//! # Ok(()) }
//! ```
//!
//! # What it is not
//!
//! It knows no events, tasks or agents: those crates own their tables and words and only use the mechanism here. It is no
//! database abstraction for everyone and no client library for models. It starts no thread and no task by itself, apart from
//! the database's, and prints nothing.
//!
//! # Features
//!
//! None is on by default. [`ManualClock`](clock::ManualClock), [`SeededRng`](rng::SeededRng) and
//! [`Scripted`](model::scripted::Scripted) are always there, because simulations and examples use them as well as tests.
//!
//! - `postgres`: [`db`] gains `Options::postgres`, a server that many processes share in place of a file.
//! - `cache`: the module `cache`, in memory.
//! - `redis`: `cache` gains `cache::redis::Redis`, a store that processes share. Turns on `cache`.
//! - `redis-link`: the module `redis`, the way to a Redis server, for what is built on one.
//! - `process`: the module `process`, children that never outlive their parent (on Unix, where process groups are).
//! - `claude`: [`model`] gains `model::claude::Claude`, the Claude command line as a model (on Unix). Turns on `process`.
//! - `test-util`: `testing`, private servers for tests and networks that fail on request (on Unix).
//!
//! # Modules
//!
//! In reading order; each imports only from those above it.
//!
//! | module | holds |
//! |---|---|
//! | [`limits`] | every bound of this crate, with its reason |
//! | [`nearest`] | "did you mean …?" |
//! | [`clock`] | [`Clock`](clock::Clock): time as a port; [`Timestamp`](clock::Timestamp); deadlines |
//! | [`rng`] | [`Rng`](rng::Rng): randomness as a port |
//! | [`payload`] | [`Payload`](payload::Payload): values as bounded, canonical JSON; [`Schema`](payload::Schema) |
//! | [`db`] | [`Db`](db::Db): closures instead of connections, on SQLite or PostgreSQL; migrations, sets, wake-ups |
//! | [`lease`] | [`Keeper`](lease::Keeper): one holder at a time, with a fencing token |
//! | [`id`] | [`id_type!`] and [`IdSource`](id::IdSource): ids that explain themselves and sort by time |
//! | [`config`] | [`Loader`](config::Loader): defaults, files, environment and code in layers; [`Secret`](config::Secret) |
//! | [`flags`] | [`Flags`](flags::Flags): switches that can be turned at run time |
//! | [`shutdown`] | [`Shutdown`](shutdown::Shutdown) and [`TaskSet`](shutdown::TaskSet): stopping in good order |
//! | [`gather`] | [`Gather`](gather::Gather): many calls as one piece of work |
//! | `process` | `Group`: child processes that never outlive their parent; with the feature `process` |
//! | `redis` | `Link`: the way to a Redis server; with the feature `redis-link` |
//! | `cache` | `Cache`: what was expensive to find out, kept for a while; with the feature `cache` |
//! | [`model`] | [`Model`](model::Model): language models as a port |
//! | `testing` | with the feature `test-util`: servers for tests, gone when the test is |

// Blank lines keep the reading order, which a formatter would turn into that of the alphabet.

pub mod limits;

pub mod nearest;

pub mod clock;

pub mod rng;

pub mod payload;

pub mod db;

pub mod lease;

pub mod id;

pub mod config;

pub mod flags;

pub mod shutdown;

pub mod gather;

#[cfg(all(feature = "process", unix))]
pub mod process;

#[cfg(feature = "redis-link")]
pub mod redis;

#[cfg(feature = "cache")]
pub mod cache;

pub mod model;

#[cfg(all(feature = "test-util", unix))]
pub mod testing;

/// What `id_type!` names in the crates that call it.
#[doc(hidden)]
pub mod __private {
    pub use hive_errors::Error;
    pub use {schemars, serde, uuid};
}
