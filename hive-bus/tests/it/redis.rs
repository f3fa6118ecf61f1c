//! The transport on real Redis servers: what is special about it. What all transports do, the suite asks of it.

mod faults;
mod muted;
mod relay;

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use hive_bus::transport::conformance::Place;
use hive_bus::transport::redis::{Durability, Options, Redis};
use hive_bus::transport::{Change, DeadLetter, DeadReason, Transport};
use hive_bus::{Bus, Event, NewEvent, Patterns, Result, Sequence, limits};
use hive_core::clock::{Clock, SystemClock, Timestamp, timeout};
use hive_core::id::{EventId, IdSource};
use hive_core::testing;
use hive_errors::{BreakerPolicy, ErrorKind, RetryPolicy};
use redis::aio::MultiplexedConnection;
use serde_json::json;
use tokio::task::JoinSet;

const MINUTE: Duration = Duration::from_secs(60);

/// A prefix that no other test has, in this run or another, on a server that many use.
fn prefix() -> String {
    static NEXT: AtomicU64 = AtomicU64::new(0);
    let number = NEXT.fetch_add(1, Ordering::Relaxed);
    let started = SystemClock.now();
    format!("{{test {} {started} {number}}}:", std::process::id())
}

/// Patient with an answer, because the machine may be busy, and quick to try again.
fn options(url: &str) -> Options {
    Options::new(url)
        .prefix(prefix())
        .connect_timeout(MINUTE)
        .command_timeout(MINUTE)
        .breaker(BreakerPolicy::new(3, Duration::from_millis(20)))
        .backoff(RetryPolicy::fixed(1, Duration::from_millis(5)))
}

async fn open(options: &Options) -> Redis {
    Redis::open(options.clone()).await.unwrap()
}

fn new_id() -> EventId {
    IdSource::system().next()
}

fn event(number: usize) -> NewEvent {
    NewEvent::new("test", "a.b", &number)
        .unwrap()
        .id(new_id())
        .time(SystemClock.now())
}

fn everything() -> Patterns {
    Patterns::new(["*"]).unwrap()
}

/// All that is there after a cursor.
async fn log(transport: &Redis, after: Sequence) -> Vec<Event> {
    let (mut events, mut cursor) = (Vec::new(), after);
    loop {
        let found = transport.read(&everything(), cursor, 1_000).await.unwrap();
        events.extend(found.events);
        cursor = found.reached;
        if found.ended {
            return events;
        }
    }
}

fn ids(events: &[Event]) -> Vec<EventId> {
    events.iter().map(Event::id).collect()
}

/// A client of its own, to look behind the transport's back.
async fn bare(url: &str) -> MultiplexedConnection {
    let client = redis::Client::open(url).unwrap();
    client.get_multiplexed_async_connection().await.unwrap()
}

async fn ask<T: redis::FromRedisValue>(client: &mut MultiplexedConnection, words: &[&str]) -> T {
    let mut command = redis::Cmd::new();
    command.arg(words);
    command.query_async(client).await.unwrap()
}

/// Tries until it is so, within a minute.
async fn until(mut so: impl AsyncFnMut() -> bool) {
    let waiting = async {
        while !so().await {
            SystemClock.sleep(Duration::from_millis(5)).await;
        }
    };
    timeout(&SystemClock, MINUTE, waiting).await.unwrap();
}

fn bus(transport: &Redis) -> Bus {
    Bus::over(Arc::new(transport.clone()), Arc::new(SystemClock), IdSource::system())
}

/// What somebody hears who began before, in another process.
fn listen(transport: &Redis, count: usize) -> impl Future<Output = Vec<Event>> + use<> {
    let bus = bus(transport);
    let listening = tokio::spawn(async move { bus.subscribe("*").after(Sequence::START).await.unwrap() });
    async move {
        let mut subscription = listening.await.unwrap();
        let mut events = Vec::new();
        while events.len() < count {
            let next = timeout(&SystemClock, MINUTE, subscription.next()).await;
            match next.unwrap_or_else(|_| panic!("only {} came", events.len())) {
                Ok(event) => events.push(event),
                // Where the server is away at times.
                Err(error) => assert!(error.is_retryable(), "{error:?}"),
            }
        }
        events
    }
}

/// A log on the shared server, where every handle has connections of its own.
struct OnRedis(Options);

impl OnRedis {
    fn new() -> Self {
        Self(options(testing::Redis::shared().url()))
    }
}

#[async_trait]
impl Place for OnRedis {
    async fn open(&self) -> Result<Arc<dyn Transport>> {
        Ok(Arc::new(Redis::open(self.0.clone()).await?))
    }
}

mod conformance {
    hive_bus::transport_conformance!(super::OnRedis::new());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_hundred_publish_at_once() {
    let options = options(testing::Redis::shared().url());
    let handles = [open(&options).await, open(&options).await];
    let reader = open(&options).await;
    let heard = tokio::spawn(listen(&reader, 2_000));
    let mut publishers = JoinSet::new();
    for publisher in 0..200 {
        let transport = handles[publisher % 2].clone();
        publishers.spawn(async move {
            let mut sequences = Vec::new();
            for number in 0..10 {
                sequences.extend(transport.publish(vec![event(number)]).await.unwrap());
            }
            assert!(sequences.is_sorted_by(|one, next| one < next));
            sequences
        });
    }
    let given: Vec<Sequence> = publishers.join_all().await.into_iter().flatten().collect();
    let given: BTreeSet<Sequence> = given.into_iter().collect();
    let numbers: Vec<u64> = given.iter().map(|sequence| sequence.get()).collect();
    assert_eq!(
        numbers,
        (1..=2_000).collect::<Vec<_>>(),
        "each once, and none is missing"
    );
    let heard = heard.await.unwrap();
    let sequences: Vec<Sequence> = heard.iter().map(Event::sequence).collect();
    assert_eq!(sequences, given.into_iter().collect::<Vec<_>>());
    assert_eq!(log(&reader, Sequence::START).await, heard);
}

#[tokio::test]
async fn an_id_is_published_once_whatever_came_with_it() {
    let options = options(testing::Redis::shared().url());
    let transport = open(&options).await;
    let (one, two, three) = (event(1), event(2), event(3));
    let first = transport.publish(vec![one.clone(), two.clone()]).await.unwrap();
    // At another time, among others, and twice.
    let later = one.clone().time(Timestamp::EPOCH);
    let batch = vec![three.clone(), later, three.clone(), two.clone()];
    let again = open(&options).await.publish(batch).await.unwrap();
    assert_eq!(again, [again[0], first[0], again[0], first[1]]);
    assert!(again[0] > first[1]);

    // Another event with an id that is taken, by an earlier batch and by this one.
    let other = || NewEvent::new("test", "a.b", &"other").unwrap().time(SystemClock.now());
    let known = log(&transport, Sequence::START).await;
    let fresh = event(4);
    for taken in [known[0].id(), known[2].id()] {
        let batch = vec![event(5), other().id(taken), event(6)];
        let error = transport.publish(batch).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Conflict);
        assert!(error.field("id").is_some());
    }
    let id = new_id();
    let batch = vec![fresh.clone().id(id), other().id(id), event(7)];
    assert_eq!(transport.publish(batch).await.unwrap_err().kind(), ErrorKind::Conflict);
    let numbers: Vec<u32> = log(&transport, again[0])
        .await
        .iter()
        .map(|event| event.data().decode().unwrap())
        .collect();
    assert_eq!(numbers, [5, 5, 4], "those before it are there, and none behind it");
}

#[tokio::test]
async fn batches_of_any_size_come_in_order() {
    let transport = open(&options(testing::Redis::shared().url())).await;
    let large = "x".repeat(limits::DATA_BYTES_MAX - 2);
    let mut batch: Vec<NewEvent> = (0..700).map(event).collect();
    for at in [0, 3, 4, 5, 6, 7, 8, 600, 650, 699] {
        batch[at] = NewEvent::new("large", "a.b", &large)
            .unwrap()
            .id(new_id())
            .time(SystemClock.now());
    }
    let sequences = transport.publish(batch.clone()).await.unwrap();
    assert_eq!(sequences.len(), batch.len());
    let events = log(&transport, Sequence::START).await;
    let back: Vec<NewEvent> = events.iter().cloned().map(NewEvent::from).collect();
    assert_eq!(back, batch);
    assert_eq!(transport.get(&sequences).await.unwrap(), events);
    assert_eq!(transport.publish(Vec::new()).await.unwrap(), []);
    let page = transport.read(&everything(), Sequence::START, 1_000).await.unwrap();
    let bytes: usize = page.events.iter().map(|event| event.data().size()).sum();
    assert!(bytes <= limits::PAGE_BYTES_MAX + limits::DATA_BYTES_MAX, "{bytes}");
}

#[tokio::test]
async fn a_log_keeps_its_newest_events() {
    let url = testing::Redis::shared().url();
    let prefix = prefix();
    let transport = open(&options(url).prefix(&prefix).events_max(500)).await;
    let first = event(0);
    let known = transport.publish(vec![first.clone()]).await.unwrap();
    for _ in 0..20 {
        transport.publish((0..100).map(event).collect()).await.unwrap();
    }
    let mut bare = bare(url).await;
    let told: usize = ask(&mut bare, &["HGET", &format!("{prefix}head"), "count"]).await;
    let ids: usize = ask(&mut bare, &["HLEN", &format!("{prefix}ids")]).await;
    let events = log(&transport, Sequence::START).await;
    let kept = events.len();
    assert!((500..600).contains(&kept), "{kept}");
    assert_eq!(
        (told, ids),
        (kept, kept),
        "an id is known for as long as its event is there"
    );
    assert_eq!(events.last().map(Event::sequence), Some(Sequence::new(2_001)));
    assert_eq!(transport.get(&known).await.unwrap(), []);

    // The oldest that is there is known; the one that has gone comes again.
    let oldest = events[0].clone();
    assert_eq!(
        transport.publish(vec![oldest.clone().into()]).await.unwrap(),
        [oldest.sequence()]
    );
    assert_eq!(transport.publish(vec![first]).await.unwrap(), [Sequence::new(2_002)]);
    assert_eq!(transport.before(Timestamp::EPOCH).await.unwrap(), Sequence::START);
}

#[tokio::test]
async fn prefixes_keep_logs_apart() {
    let url = testing::Redis::shared().url();
    let (ours, theirs) = (open(&options(url)).await, open(&options(url)).await);
    ours.publish(vec![event(1)]).await.unwrap();
    ours.store("consumer", Change::new(None, Vec::new()))
        .await
        .unwrap()
        .unwrap();
    assert_eq!(theirs.head().await.unwrap(), Sequence::START);
    assert_eq!(log(&theirs, Sequence::START).await, []);
    assert_eq!(theirs.load("consumer").await.unwrap(), None);
    assert_eq!(theirs.consumers("", 10).await.unwrap(), [""; 0]);
    assert!(!theirs.remove("consumer").await.unwrap());
}

#[tokio::test]
async fn what_others_have_put_there_is_not_taken_for_ours() {
    let url = testing::Redis::shared().url();
    let prefix = prefix();
    let transport = open(&options(url).prefix(&prefix)).await;
    let mut bare = bare(url).await;
    let events = format!("{prefix}events");
    let _: String = ask(&mut bare, &["XADD", &events, "1-0", "some", "thing"]).await;
    let error = transport.read(&everything(), Sequence::START, 10).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Corrupt);
    let _: i64 = ask(&mut bare, &["DEL", &events]).await;
    let _: i64 = ask(&mut bare, &["RPUSH", &events, "a", "list"]).await;
    let error = transport.publish(vec![event(1)]).await.unwrap_err();
    assert_eq!(
        (error.kind(), error.field("code")),
        (ErrorKind::Conflict, Some("WRONGTYPE"))
    );
    assert!(error.hint().contains("prefix"));
    let _: i64 = ask(&mut bare, &["DEL", &events]).await;
    transport.publish(vec![event(1)]).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_waits_for_nothing_reads_nothing() {
    let server = testing::Redis::start();
    let transport = open(&options(server.url())).await;
    let mut bare = bare(server.url()).await;
    let mut reads = async || {
        let told: String = ask(&mut bare, &["INFO", "commandstats"]).await;
        told.lines().filter(|line| line.starts_with("cmdstat_xread:")).count()
    };
    for number in 0..100 {
        transport.publish(vec![event(number)]).await.unwrap();
    }
    assert_eq!(reads().await, 0);
    let bus = bus(&transport);
    let mut subscription = bus.subscribe("*").await.unwrap();
    let published = transport.publish(vec![event(100)]).await.unwrap();
    assert_eq!(subscription.next().await.unwrap().sequence(), published[0]);
    assert_eq!(reads().await, 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_left_of_a_transport_that_ended() {
    let server = testing::Redis::start();
    let mut bare = bare(server.url()).await;
    let mut clients = async || {
        let told: String = ask(&mut bare, &["CLIENT", "LIST"]).await;
        told.lines().count() - 1
    };
    for close in [true, false] {
        let transport = open(&options(server.url())).await;
        let subscription = bus(&transport).subscribe("*").await.unwrap();
        transport.publish(vec![event(1)]).await.unwrap();
        until(async || clients().await >= 2).await;
        if close {
            transport.close().await.unwrap();
            until(async || clients().await == 0).await;
            let error = transport.publish(vec![event(2)]).await.unwrap_err();
            assert_eq!(error.kind(), ErrorKind::ShuttingDown);
            assert_eq!(transport.head().await.unwrap_err().kind(), ErrorKind::ShuttingDown);
            transport.close().await.unwrap();
        }
        drop(subscription);
        drop(transport);
        until(async || clients().await == 0).await;
    }
}

#[tokio::test]
async fn letters_that_are_too_many_for_one_script_are_written_first() {
    let transport = open(&options(testing::Redis::shared().url())).await;
    let large = "x".repeat(limits::DATA_BYTES_MAX - 2);
    let events: Vec<NewEvent> = (0..12)
        .map(|_| {
            NewEvent::new("large", "a.b", &large)
                .unwrap()
                .id(new_id())
                .time(SystemClock.now())
        })
        .chain((0..600).map(event))
        .collect();
    transport.publish(events).await.unwrap();
    let events = log(&transport, Sequence::START).await;
    let dead: Vec<DeadLetter> = events
        .iter()
        .map(|event| DeadLetter::new(event.clone(), DeadReason::Rejected, 1, SystemClock.now(), Vec::new()))
        .collect();
    let change = |expected| {
        let mut change = Change::new(expected, b"state".to_vec());
        change.dead = dead.clone();
        change
    };
    assert_eq!(transport.store("consumer", change(Some(7))).await.unwrap(), None);
    assert_eq!(
        transport.dead_letters("consumer", Sequence::START, 10).await.unwrap(),
        []
    );
    assert!(transport.store("consumer", change(None)).await.unwrap().is_some());
    let found = transport
        .dead_letters("consumer", Sequence::START, 1_000)
        .await
        .unwrap();
    assert_eq!(found, dead);
    let asked: Vec<Sequence> = events.iter().map(Event::sequence).collect();
    assert_eq!(transport.dead("consumer", &asked).await.unwrap(), dead);
    assert_eq!(transport.purge("consumer", &asked).await.unwrap(), dead.len());
}

#[tokio::test]
async fn a_server_says_how_durable_it_is() {
    let server = testing::Redis::start();
    let mut bare = bare(server.url()).await;
    let options = options(server.url());
    assert_eq!(open(&options).await.durability(), Durability::EverySecond);
    let _: () = ask(&mut bare, &["CONFIG", "SET", "appendfsync", "always"]).await;
    assert_eq!(open(&options).await.durability(), Durability::Always);
    let eviction = ["CONFIG", "SET", "maxmemory-policy", "allkeys-lru", "maxmemory", "1gb"];
    let _: () = ask(&mut bare, &eviction).await;
    assert_eq!(open(&options).await.durability(), Durability::None);
    let _: () = ask(&mut bare, &["CONFIG", "SET", "maxmemory", "0", "appendonly", "no"]).await;
    assert_eq!(open(&options).await.durability(), Durability::None);
    // All that it needs but the settings.
    let _: () = ask(
        &mut bare,
        &["ACL", "SETUSER", "app", "on", ">word", "~*", "&*", "+@all", "-config"],
    )
    .await;
    let url = format!("redis://app:word@127.0.0.1:{}/0", server.port());
    let hidden = Redis::open(self::options(&url)).await.unwrap();
    assert_eq!(hidden.durability(), Durability::Unknown);
    hidden.publish(vec![event(1)]).await.unwrap();
}

#[tokio::test]
async fn dates_are_found() {
    let transport = open(&options(testing::Redis::shared().url())).await;
    let at = |second: i64| Timestamp::from_micros(second * 1_000_000);
    let events = (1..=50).map(|number| {
        NewEvent::new("a", "b", &json!({}))
            .unwrap()
            .id(new_id())
            .time(at(number * 10))
    });
    let sequences = transport.publish(events.collect()).await.unwrap();
    for (time, expected) in [(0, 0), (10, 0), (11, 1), (20, 1), (255, 25), (500, 49), (501, 50)] {
        let expected = expected as usize;
        let expected = if expected == 0 {
            Sequence::START
        } else {
            sequences[expected - 1]
        };
        assert_eq!(transport.before(at(time)).await.unwrap(), expected, "{time}");
    }
}
