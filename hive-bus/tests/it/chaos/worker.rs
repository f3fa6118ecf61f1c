//! What runs in the processes that are killed.

use std::io::Write;
use std::sync::Arc;
use std::time::Duration;

use hive_bus::transport::Transport;
use hive_bus::{Begin, Bus, NewEvent, Sequence};
use hive_core::clock::{Clock, SystemClock};
use hive_core::db::{Db, Options};
use hive_core::id::{EventId, IdSource};
use hive_errors::{Failure, Result, RetryPolicy};
use tokio::task::JoinSet;

pub(super) const ROLE: &str = "HIVE_BUS_CHAOS_ROLE";
pub(super) const PLACE: &str = "HIVE_BUS_CHAOS_PLACE";
/// The number that a publisher begins with.
pub(super) const START: &str = "HIVE_BUS_CHAOS_START";

const CONSUMER: &str = "chaos";
const KEYS: u64 = 5;
/// Short, so that what a dead member had comes back within the test.
const ACK_WAIT: Duration = Duration::from_millis(1_500);

#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Role {
    Publisher,
    Consumer,
    Both,
}

impl Role {
    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::Publisher => "publisher",
            Self::Consumer => "consumer",
            Self::Both => "both",
        }
    }
}

pub(super) fn is_one() -> bool {
    std::env::var_os(ROLE).is_some()
}

/// Works until it is killed.
pub(super) fn work() {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(async {
        let role = std::env::var(ROLE).unwrap();
        let place = std::env::var(PLACE).unwrap();
        let bus = loop {
            // The server may be away.
            match open(&place).await {
                Ok(bus) => break bus,
                Err(_) => tokio::time::sleep(Duration::from_millis(20)).await,
            }
        };
        let mut work = JoinSet::new();
        if role != Role::Publisher.as_str() {
            work.spawn(consume(bus.clone()));
        }
        if role != Role::Consumer.as_str() {
            let start: u64 = std::env::var(START).unwrap().parse().unwrap();
            for key in 0..KEYS {
                work.spawn(publish(bus.clone(), key, start));
            }
        }
        work.join_all().await;
    });
}

/// Whether the consumer has nothing left, and buried nothing.
pub(super) fn check_at_rest(place: &str) {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime.block_on(async {
        let bus = open(place).await.unwrap();
        let info = bus.consumer_info(CONSUMER).await.unwrap();
        // Those that the members had who were killed last are with them until their leases run out.
        assert_eq!(info.waiting, 0, "{info:?}");
        let letters = bus.dead_letters(CONSUMER, Sequence::START, 10).await.unwrap();
        assert!(letters.is_empty(), "{letters:?}");
    });
}

async fn open(place: &str) -> Result<Bus> {
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    let (kind, address) = place.split_once(':').unwrap();
    let transport: Arc<dyn Transport> = match kind {
        "sqlite" => return open_database(Options::file(address), clock).await,
        "postgres" => return open_database(Options::postgres(address), clock).await,
        #[cfg(feature = "redis")]
        "redis" => {
            use hive_bus::transport::redis::{Options, Redis};
            Arc::new(Redis::open(Options::new(address)).await?)
        }
        #[cfg(feature = "nats")]
        "nats" => {
            use hive_bus::transport::nats::{Nats, Options};
            // A server that comes back within a moment is not worth a long wait here.
            let options = Options::new(address).request_timeout(Duration::from_secs(3));
            Arc::new(Nats::open(options).await?)
        }
        other => panic!("{other}"),
    };
    Ok(Bus::over(transport, clock, IdSource::system()))
}

async fn open_database(options: Options, clock: Arc<dyn Clock>) -> Result<Bus> {
    let db = Db::open(options.migrations(&hive_bus::MIGRATIONS)).await?;
    Bus::open(db, clock, IdSource::system()).await
}

/// One after another, each with an id of its own, until it is acknowledged.
async fn publish(bus: Bus, key: u64, start: u64) {
    let ids = IdSource::system();
    for number in start.. {
        let id: EventId = ids.next();
        say("begin", key, number, id);
        let event = || {
            let event = NewEvent::new("chaos", format!("chaos.{key}"), &(key, number)).unwrap();
            event.id(id).key(key)
        };
        while bus.publish(event()).await.is_err() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        say("published", key, number, id);
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}

async fn consume(bus: Bus) {
    let consumer = loop {
        let consume = bus.consumer(CONSUMER, "chaos.>").begin(Begin::Oldest);
        // No event is to die here, however often its process does.
        match consume
            .ack_wait(ACK_WAIT)
            .prefetch(32)
            .retry(RetryPolicy::fixed(u32::MAX, Duration::ZERO))
            .await
        {
            Ok(consumer) => break consumer,
            Err(_) => tokio::time::sleep(Duration::from_millis(20)).await,
        }
    };
    let ids = IdSource::system();
    let mut handling = JoinSet::new();
    loop {
        while handling.len() >= 8 {
            handling.join_next().await;
        }
        let Ok(delivery) = consumer.next().await else { return };
        let chance: EventId = ids.next();
        handling.spawn(async move {
            let event = delivery.event().clone();
            let (key, number): (u64, u64) = event.data().decode().unwrap();
            say("delivered", key, number, event.id());
            let outcome = match chance.as_bytes()[15] % 16 {
                0 => {
                    delivery
                        .nack(Failure::retryable("now and then it fails").message())
                        .await
                }
                1 => return drop(delivery),
                _ => delivery
                    .ack()
                    .await
                    .inspect(|()| say("acknowledged", key, number, event.id())),
            };
            // A lease that was lost, or a server that is away: it comes again.
            drop(outcome);
        });
    }
}

/// One write per line, so that a line is whole or missing.
fn say(verb: &str, key: u64, number: u64, id: EventId) {
    let at_us = SystemClock.now().as_micros();
    let line = format!("ledger {verb} {key} {number} {id} {at_us} .\n");
    std::io::stdout().write_all(line.as_bytes()).unwrap();
}
