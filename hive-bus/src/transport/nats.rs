//! NATS JetStream as a transport.
//!
//! ```no_run
//! use std::sync::Arc;
//!
//! use hive_bus::transport::nats::{Nats, Options};
//! use hive_bus::{Bus, NewEvent};
//! use hive_core::clock::SystemClock;
//! use hive_core::id::IdSource;
//!
//! # #[tokio::main(flavor = "current_thread")] async fn main() -> hive_bus::Result<()> {
//! let nats = Nats::open(Options::new("nats://hive:secret@one.example,nats://hive:secret@two.example").name("SHOP")).await?;
//! let bus = Bus::over(Arc::new(nats), Arc::new(SystemClock), IdSource::system());
//! bus.publish(NewEvent::new("order.placed", "order.placed.berlin", &())?).await?;
//! # Ok(()) }
//! ```
//!
//! # What is on the server
//!
//! | what | where |
//! |---|---|
//! | an event | stream `<name>`, subject `<prefix>.e.<topic>`; the body is a CloudEvent in JSON that anybody can read |
//! | a consumer's state | bucket `<name>_STATE`, key `c.<consumer>` |
//! | a dead letter | bucket `<name>_DEAD`, key `<consumer>.<sequence>` |
//! | who feeds the stream, how far a relay came | bucket `<name>_STATE`, keys `feed` and `relayed` |
//! | a change of a consumer's state | a message on `<prefix>.changed.<consumer>`, which nobody keeps |
//!
//! They are made by whoever opens the transport first, in files, with every limit that the [`Options`] set; from then on they are
//! the keeper's, and what was changed on them stays. A consumer's name stands there with `=` and two digits for whatever a key
//! cannot have. It takes JetStream of version 2.9 or later. A user of the server needs to publish and subscribe to `<prefix>.>`,
//! `$KV.<name>_STATE.>`, `$KV.<name>_DEAD.>`, `$JS.API.>`, `$JS.FC.>` and `_INBOX.>`.
//!
//! # What it promises, and what not
//!
//! - An event has the sequence of its message. Where it was relayed it keeps the one that it has in the database, so cursors
//!   mean the same on both.
//! - The events of one call stand in their order and those at the front first, whatever breaks in between. The events of several
//!   calls under way at once have no order between them.
//! - Publishing an event again stores nothing for as long as the server knows its id ([`Options::duplicate_window`], two minutes).
//!   Later, it is another event with the same id. The same goes for what a network held back for so long.
//! - Relaying again stores nothing, however late, and a relay that was thought to be gone gets nothing in: the stream has each
//!   event of the database once, in its order.
//!
//! **What an acknowledged event survives.** JetStream acknowledges a message when it has written it and not when the disk has
//! it: it syncs every two minutes (`sync_interval`). An acknowledged event survives the death of the server's process; it
//! survives the loss of a machine where [`Options::replicas`] is 3 or more. A loss of power takes what was acknowledged since the last sync,
//! on all servers that lose it at the same time, unless `sync_interval: always` is set. Consumers' states are kept no better: after
//! such a loss a consumer may be given again what it has handled, or what stands behind its state may be gone. Where that must
//! not be, publish to a database and relay here: then the database is the truth.
//!
//! # When the server is away
//!
//! A call makes attempts for [`Options::request_timeout`] and then fails with an error that may be retried and names the server.
//! A connection that breaks is made anew by whoever needs it next; one on which nothing is answered is given up. After some
//! failures in a row a breaker refuses calls at once and lets one through now and then to find out. Who waits for events is
//! told of those that came meanwhile as soon as the server is back.
//!
//! The client library says `max reconnection attempts reached` when a connection breaks. That is as it should be: a connection is
//! not mended but replaced, so that nothing that was under way on it is sent again in another order.
//!
//! [`Transport::now`] is this process's clock, as JetStream has none to ask: keep the clocks of all that share a transport
//! together.

mod bucket;
mod consumers;
mod follow;
mod link;
mod names;
mod numbers;
mod options;
mod publish;
mod read;
mod reader;
mod refusal;
mod relay;
mod servers;
mod stream;
mod wire;

use std::fmt;
use std::sync::{Arc, Mutex, OnceLock};

use async_trait::async_trait;
use hive_core::clock::{Clock, Timestamp};
use hive_errors::Result;
use tokio::sync::Semaphore;

use self::follow::follow;
use self::link::Link;
use self::names::Names;
pub use self::options::Options;
use self::read::Readers;
use self::relay::{Feed, Place, Relay};
use super::background::Background;
use super::{Change, DeadLetter, Found, Register, Transport};
use crate::event::{Event, NewEvent, Sequence};
use crate::live::Live;
use crate::topic::Patterns;

/// Events in a stream of a NATS server, shared by whoever opens it. Clones are the same transport. See [the module](self).
///
/// It and the client library run a few tasks on the runtime of [`Nats::open`]; they end with [`Transport::close`], or with the
/// last clone.
#[derive(Clone)]
pub struct Nats {
    inner: Arc<Inner>,
}

struct Inner {
    shared: Arc<Shared>,
    follower: Background,
}

/// What the tasks in the background have as well.
struct Shared {
    link: Link,
    names: Names,
    clock: Arc<dyn Clock>,
    live: Live,
    /// How many servers keep each message.
    replicas: usize,
    /// Who feeds the stream, once it is known: it never changes.
    feed: OnceLock<Feed>,
    /// Bounds the kibibytes under way.
    in_flight: Semaphore,
    in_flight_most: u32,
    /// Held by whoever sends the messages of one call.
    sending: tokio::sync::Mutex<()>,
    relay: tokio::sync::Mutex<Relay>,
    readers: Readers,
    /// Where a message was seen last.
    seen: Mutex<Place>,
}

impl Nats {
    /// Connects, and makes the stream and the buckets if they are not there.
    ///
    /// # Errors
    /// `config` when the address, the name or the prefix is none, the server refuses the user or the password, or has something
    /// else under one of the names; otherwise why it cannot be reached.
    pub async fn open(options: Options) -> Result<Self> {
        let names = Names::new(&options)?;
        let link = Link::new(&options)?;
        let replicas = stream::prepare(&link, &names, &options).await?;
        let most = u32::try_from(options.in_flight_bytes.div_ceil(1024)).unwrap_or(u32::MAX);
        // What the semaphore can count, and at least one.
        let most = most.clamp(1, u32::MAX >> 3);
        let shared = Shared {
            link,
            names,
            clock: options.clock,
            live: Live::new(Sequence::START),
            replicas,
            feed: OnceLock::new(),
            in_flight: Semaphore::new(usize::try_from(most).unwrap_or(Semaphore::MAX_PERMITS)),
            in_flight_most: most,
            sending: tokio::sync::Mutex::default(),
            relay: tokio::sync::Mutex::default(),
            readers: Readers::default(),
            seen: Mutex::default(),
        };
        shared.live.committed_to(shared.end().await?.number);
        let shared = Arc::new(shared);
        let follower = Background::spawn(follow(Arc::clone(&shared)));
        Ok(Self {
            inner: Arc::new(Inner { shared, follower }),
        })
    }

    fn shared(&self) -> &Shared {
        &self.inner.shared
    }
}

#[async_trait]
impl Transport for Nats {
    fn name(&self) -> &'static str {
        "nats"
    }

    async fn publish(&self, events: Vec<NewEvent>) -> Result<Vec<Sequence>> {
        self.shared().publish(events).await
    }

    async fn read(&self, patterns: &Patterns, after: Sequence, limit: usize) -> Result<Found> {
        self.shared().read(patterns, after, limit).await
    }

    async fn get(&self, sequences: &[Sequence]) -> Result<Vec<Event>> {
        self.shared().get(sequences).await
    }

    async fn head(&self) -> Result<Sequence> {
        let shared = self.shared();
        let end = shared.end().await?;
        shared.live.committed_to(end.number);
        Ok(end.number)
    }

    async fn before(&self, time: Timestamp) -> Result<Sequence> {
        self.shared().before(time).await
    }

    fn live(&self) -> &Live {
        &self.shared().live
    }

    async fn now(&self) -> Result<Timestamp> {
        Ok(self.shared().clock.now())
    }

    async fn load(&self, consumer: &str) -> Result<Option<Register>> {
        self.shared().load(consumer).await
    }

    async fn store(&self, consumer: &str, change: Change) -> Result<Option<u64>> {
        self.shared().store(consumer, change).await
    }

    async fn remove(&self, consumer: &str) -> Result<bool> {
        self.shared().remove(consumer).await
    }

    async fn consumers(&self, after: &str, limit: usize) -> Result<Vec<String>> {
        self.shared().consumers(after, limit).await
    }

    async fn dead_letters(&self, consumer: &str, after: Sequence, limit: usize) -> Result<Vec<DeadLetter>> {
        self.shared().dead_letters(consumer, after, limit).await
    }

    async fn dead(&self, consumer: &str, sequences: &[Sequence]) -> Result<Vec<DeadLetter>> {
        self.shared().dead(consumer, sequences).await
    }

    async fn purge(&self, consumer: &str, sequences: &[Sequence]) -> Result<usize> {
        self.shared().purge(consumer, sequences).await
    }

    async fn relay(&self, events: Vec<Event>) -> Result<()> {
        self.shared().relay(events).await
    }

    async fn relayed(&self) -> Result<Sequence> {
        self.shared().relayed().await
    }

    async fn close(&self) -> Result<()> {
        let shared = self.shared();
        shared.live.close();
        self.inner.follower.end().await;
        shared.readers.clear();
        shared.link.close();
        Ok(())
    }
}

impl fmt::Debug for Nats {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let shared = self.shared();
        f.debug_struct("Nats")
            .field("stream", &shared.names.events)
            .field("link", &shared.link)
            .field("live", &shared.live)
            .finish_non_exhaustive()
    }
}
