//! Transports: what carries events from publishers to subscribers and keeps how far consumers came.
//!
//! A transport is small on purpose. It appends events, reads them again from a cursor, says when there are more, and keeps a
//! few bytes of state for each consumer that one writer at a time replaces. Order by key, redelivery, dead letters and
//! competing members are decided above it, once for all of them.
//!
//! | transport | its log | what an acknowledged publish survives |
//! |---|---|---|
//! | [`Database`] | the table of events, on SQLite or PostgreSQL | a loss of power |
//! | `Redis` (feature `redis`) | a stream on a Redis server | what the server's settings say: `Redis::durability` |
//! | [`Memory`] | memory | nothing: it is for tests, and for what may go with the process |
//! | `nats::Nats` (feature `nats`) | a stream of NATS JetStream | the server's process; a machine, where several keep it |
//!
//! What an adapter has to do is what the suite in `conformance` (feature `test-util`) asks of it.

#[cfg(feature = "test-util")]
pub mod conformance;
#[cfg(any(feature = "postgres", feature = "redis", feature = "nats"))]
mod background;
mod database;
mod letter;
mod memory;
#[cfg(feature = "nats")]
pub mod nats;
#[cfg(feature = "redis")]
pub mod redis;

use std::fmt;

use async_trait::async_trait;
use hive_core::clock::Timestamp;
use hive_core::id::EventId;
use hive_errors::{Error, ErrorKind, Result};
use serde::{Deserialize, Serialize};

pub use self::database::Database;
pub(crate) use self::database::Keeper;
pub(crate) use self::database::{load_in, states_held_in, states_in, store_in};
pub use self::memory::Memory;
use crate::event::{Event, NewEvent, Sequence};
use crate::live::Live;
pub use crate::log::Found;
use crate::topic::Patterns;

/// A consumer's state as a transport keeps it.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Register {
    /// What it says; the transport does not look into it. At most [`limits::STATE_BYTES_MAX`](crate::limits::STATE_BYTES_MAX).
    pub state: Vec<u8>,
    /// Grows with every change, and does not begin anew when the consumer is removed and made again. Whoever replaces the state
    /// names the revision that it has seen.
    pub revision: u64,
}

impl Register {
    /// This state at this revision.
    pub fn new(state: Vec<u8>, revision: u64) -> Self {
        Self { state, revision }
    }
}

/// A change of a consumer's state.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Change {
    /// The revision that the state has now; `None` when there is to be none yet. If it has another, nothing changes.
    pub expected: Option<u64>,
    /// The state from now on.
    pub state: Vec<u8>,
    /// Letters that are dead from now on; one that is there already is replaced. They are on record when the state is
    /// replaced, at the latest; a transport that cannot write both at once writes them first.
    pub dead: Vec<DeadLetter>,
    /// Letters that are no longer dead, none of which is among `dead`: removed with the state or after it.
    pub revived: Vec<Sequence>,
    /// Whether the change may be lost with the power, as it can be found out again. It still survives the process where the
    /// transport does.
    pub relaxed: bool,
    /// Whether whoever else works for the consumer should look at the state.
    pub wake: bool,
}

impl Change {
    /// Replaces the state of revision `expected` by `state`.
    pub fn new(expected: Option<u64>, state: Vec<u8>) -> Self {
        Self {
            expected,
            state,
            dead: Vec::new(),
            revived: Vec::new(),
            relaxed: false,
            wake: false,
        }
    }
}

/// Why an event ended among the dead letters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum DeadReason {
    /// It was delivered as often as its consumer allows.
    Exhausted,
    /// Its handler said that it can never succeed.
    Rejected,
    /// Its time was over before it was handled.
    Expired,
}

impl DeadReason {
    /// Its name in kebab case.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Exhausted => "exhausted",
            Self::Rejected => "rejected",
            Self::Expired => "expired",
        }
    }
}

impl fmt::Display for DeadReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// One delivery that came to nothing.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Mishap {
    /// When it was known.
    pub at: Timestamp,
    /// What the handler said, or what was seen of it.
    pub error: String,
}

impl Mishap {
    /// This was said at this time.
    pub fn new(at: Timestamp, error: String) -> Self {
        Self { at, error }
    }
}

/// An event that a consumer will not be given again, unless somebody redrives it.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct DeadLetter {
    /// The event, whole.
    pub event: Event,
    /// Why it is here.
    pub reason: DeadReason,
    /// How often it was delivered.
    pub attempts: u32,
    /// When it died.
    pub at: Timestamp,
    /// What went wrong, oldest first; the newest [`limits::MISHAPS_MAX`](crate::limits::MISHAPS_MAX).
    pub mishaps: Vec<Mishap>,
}

/// What every adapter does. See [the module](self).
///
/// A cursor is a [`Sequence`]: whoever has one has seen every event up to it. So an adapter only lets somebody read up to where
/// no earlier event can still come.
#[async_trait]
pub trait Transport: fmt::Debug + Send + Sync + 'static {
    /// What it is called in metrics and errors, such as `redis`.
    fn name(&self) -> &'static str;

    /// Appends events in the order given and returns their sequences. It returns once they are as safe as the transport makes
    /// them, and whoever waits on [`Transport::live`] hears of them by itself.
    ///
    /// Each event has an id and a time. One whose id is in the log already is not appended again and keeps its sequence.
    ///
    /// # Errors
    /// `conflict` when another event has one of the ids. After any error, some of the events may have been appended, those at
    /// the front first; appending them again is safe.
    async fn publish(&self, events: Vec<NewEvent>) -> Result<Vec<Sequence>>;

    /// The events after a cursor that match, as many as `limit` (from 1) and a page's bytes allow. It looks up to the end of the
    /// log as [`Transport::head`] or [`Transport::live`] have told it of late, at least: ask for the head first where
    /// everything counts that was acknowledged before.
    async fn read(&self, patterns: &Patterns, after: Sequence, limit: usize) -> Result<Found>;

    /// The events with these sequences, those that are still there, in the order asked for.
    async fn get(&self, sequences: &[Sequence]) -> Result<Vec<Event>>;

    /// The event with this id, if it is still there. An adapter that would have to look through its log for that leaves it out.
    ///
    /// # Errors
    /// `invalid-input` where the transport cannot tell.
    async fn find(&self, id: EventId) -> Result<Option<Event>> {
        Err(Error::new(
            ErrorKind::InvalidInput,
            "this transport does not find events by their ids",
        )
        .with("transport", self.name())
        .with("id", id)
        .with_hint("ask where there is a database, or follow the events' topics"))
    }

    /// The end of the log: whatever was acknowledged before this call is at or before it.
    async fn head(&self) -> Result<Sequence>;

    /// The cursor before the first event dated `time` or later.
    async fn before(&self, time: Timestamp) -> Result<Sequence>;

    /// The end of the log, to wait on.
    fn live(&self) -> &Live;

    /// What time it is for all who share the transport.
    async fn now(&self) -> Result<Timestamp>;

    /// The state of a consumer; `None` when there is no such consumer.
    async fn load(&self, consumer: &str) -> Result<Option<Register>>;

    /// Replaces the state of a consumer and gives its new revision; `None` when it has another revision than expected, and
    /// nothing was changed.
    async fn store(&self, consumer: &str, change: Change) -> Result<Option<u64>>;

    /// Removes a consumer with its state and its dead letters; whether there was one. Whoever works for it is woken.
    async fn remove(&self, consumer: &str) -> Result<bool>;

    /// The names of consumers after `after`, sorted, at most `limit`.
    async fn consumers(&self, after: &str, limit: usize) -> Result<Vec<String>>;

    /// A consumer's dead letters after a cursor, in the order of their sequences, at most `limit`.
    async fn dead_letters(&self, consumer: &str, after: Sequence, limit: usize) -> Result<Vec<DeadLetter>>;

    /// The dead letters with these sequences, those that there are.
    async fn dead(&self, consumer: &str, sequences: &[Sequence]) -> Result<Vec<DeadLetter>>;

    /// Throws dead letters away; how many there were.
    async fn purge(&self, consumer: &str, sequences: &[Sequence]) -> Result<usize>;

    /// Appends events that a database has committed, each with the sequence that it has there. What was relayed before is left
    /// out: the transport remembers up to which sequence of the source it has everything.
    ///
    /// A transport is fed by a relay or by [`Transport::publish`], and refuses the other.
    ///
    /// # Errors
    /// `invalid-input` where the transport is a database itself; `conflict` where somebody else relays at the same time.
    async fn relay(&self, events: Vec<Event>) -> Result<()>;

    /// Up to which sequence of the source the transport has everything; [`Sequence::START`] when nothing was relayed.
    async fn relayed(&self) -> Result<Sequence>;

    /// Whether one process alone works with it, so that whoever else has claims on it is dead.
    fn is_exclusive(&self) -> bool {
        false
    }

    /// Ends connections and what runs in the background. What waits on [`Transport::live`] ends first.
    async fn close(&self) -> Result<()>;
}
