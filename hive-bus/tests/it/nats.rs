//! The transport on NATS servers: what is its own, beside the suite for all transports.

#[cfg(feature = "test-util")]
mod conformance;
mod consumers;
mod following;
mod outages;
mod publishing;
mod relaying;
mod setup;

use std::sync::LazyLock;
use std::time::Duration;

use hive_bus::transport::Transport;
use hive_bus::transport::nats::{Nats, Options};
use hive_bus::{Event, NewEvent, Patterns, Sequence};
use hive_core::clock::{Clock, SystemClock};
use hive_core::id::{EventId, IdSource};
use hive_core::testing;

/// Longer than anything here takes, unless it hangs.
const LONG: Duration = Duration::from_secs(60);

static IDS: LazyLock<IdSource> = LazyLock::new(IdSource::system);

/// A name on a server that nobody else has.
struct Place {
    url: String,
    name: String,
}

impl Place {
    fn new(url: &str) -> Self {
        let id: EventId = IDS.next();
        Self {
            url: url.to_owned(),
            name: format!("T_{id}"),
        }
    }

    /// On the server that tests share.
    fn shared() -> Self {
        Self::new(testing::Nats::shared().url())
    }

    fn options(&self) -> Options {
        self.options_at(&self.url)
    }

    /// By way of another address, such as a proxy's.
    fn options_at(&self, url: &str) -> Options {
        Options::new(url).name(&self.name).prefix(format!("t.{}", self.name))
    }

    async fn open(&self) -> Nats {
        Nats::open(self.options()).await.unwrap()
    }

    /// A client of the server's own, to look behind the transport and to do what keepers do.
    async fn jetstream(&self) -> async_nats::jetstream::Context {
        let (user, address) = self.url.strip_prefix("nats://").unwrap().rsplit_once('@').unwrap();
        let (user, password) = user.split_once(':').unwrap();
        let options = async_nats::ConnectOptions::with_user_and_password(user.to_owned(), password.to_owned());
        async_nats::jetstream::new(options.connect(address).await.unwrap())
    }

    /// Takes everything away.
    async fn end(self) {
        let jetstream = self.jetstream().await;
        for stream in [
            self.name.clone(),
            format!("KV_{}_STATE", self.name),
            format!("KV_{}_DEAD", self.name),
        ] {
            jetstream.delete_stream(stream).await.unwrap();
        }
    }
}

fn event(topic: impl Into<String>, number: u64) -> NewEvent {
    NewEvent::new("test", topic.into(), &number)
        .unwrap()
        .id(IDS.next())
        .time(SystemClock.now())
}

fn events(topic: &str, numbers: impl IntoIterator<Item = u64>) -> Vec<NewEvent> {
    numbers.into_iter().map(|number| event(topic, number)).collect()
}

fn everything() -> Patterns {
    Patterns::new(["*"]).unwrap()
}

async fn read_all(transport: &dyn Transport, patterns: &Patterns) -> Vec<Event> {
    let (mut found, mut after) = (Vec::new(), Sequence::START);
    loop {
        let page = transport.read(patterns, after, 1_000).await.unwrap();
        found.extend(page.events);
        if page.ended {
            return found;
        }
        assert!(page.reached > after, "a page that is not the last looked at nothing");
        after = page.reached;
    }
}

async fn log(transport: &dyn Transport) -> Vec<Event> {
    read_all(transport, &everything()).await
}

fn number(event: &Event) -> u64 {
    event.data().decode().unwrap()
}

fn numbers(events: &[Event]) -> Vec<u64> {
    events.iter().map(number).collect()
}
