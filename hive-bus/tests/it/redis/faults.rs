//! What goes wrong with a server.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use hive_bus::transport::redis::Redis;
use hive_bus::transport::{Change, Transport};
use hive_bus::{Event, Sequence};
use hive_core::id::EventId;
use hive_core::testing::{self, Proxy};
use hive_errors::{BreakerPolicy, ErrorKind, Report, RetryPolicy};
use tokio::task::JoinSet;

use super::{MINUTE, ask, bare, bus, event, everything, ids, listen, log, new_id, open, options, until};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_is_killed_while_many_publish() {
    let server = testing::Redis::start();
    let mut client = bare(server.url()).await;
    let _: () = ask(&mut client, &["CONFIG", "SET", "appendfsync", "always"]).await;
    let _: () = ask(&mut client, &["CONFIG", "REWRITE"]).await;
    let options = options(server.url());
    let (transport, reader) = (open(&options).await, open(&options).await);
    let stop = Arc::new(AtomicBool::new(false));
    let done = Arc::new(AtomicU64::new(0));
    let mut publishers = JoinSet::new();
    for _ in 0..8 {
        let (transport, stop, done) = (transport.clone(), Arc::clone(&stop), Arc::clone(&done));
        publishers.spawn(async move {
            let mut acknowledged: Vec<(EventId, Sequence)> = Vec::new();
            while !stop.load(Ordering::Relaxed) {
                let batch: Vec<_> = (0..3).map(|number| (new_id(), number)).collect();
                loop {
                    let events = batch.iter().map(|(id, number)| event(*number).id(*id)).collect();
                    if let Ok(sequences) = transport.publish(events).await {
                        acknowledged.extend(batch.iter().map(|(id, _)| *id).zip(sequences));
                        break;
                    }
                    tokio::task::yield_now().await;
                }
                done.fetch_add(1, Ordering::Relaxed);
            }
            acknowledged
        });
    }
    for _ in 0..4 {
        let before = done.load(Ordering::Relaxed);
        until(async || done.load(Ordering::Relaxed) >= before + 20).await;
        tokio::task::block_in_place(|| {
            server.kill();
            server.start_again();
        });
    }
    let before = done.load(Ordering::Relaxed);
    until(async || done.load(Ordering::Relaxed) >= before + 20).await;
    stop.store(true, Ordering::Relaxed);
    let acknowledged: Vec<_> = publishers.join_all().await.into_iter().flatten().collect();

    let events = log(&reader, Sequence::START).await;
    let there: BTreeMap<EventId, Sequence> = events.iter().map(|event| (event.id(), event.sequence())).collect();
    assert_eq!(there.len(), events.len(), "no event is there twice");
    assert_eq!(
        acknowledged.len(),
        events.len(),
        "each was tried until it was acknowledged"
    );
    for (id, sequence) in acknowledged {
        assert_eq!(there.get(&id), Some(&sequence), "what was acknowledged is there");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sequences_that_were_lost_are_not_given_again() {
    let server = testing::Redis::start();
    let options = options(server.url());
    let (transport, reader) = (open(&options).await, open(&options).await);
    let kept = transport.publish((0..10).map(event).collect()).await.unwrap();
    let state = transport
        .store("consumer", Change::new(None, b"kept".to_vec()))
        .await
        .unwrap();
    let mut bare_one = bare(server.url()).await;
    // What comes from here on is in memory only.
    let _: () = ask(&mut bare_one, &["CONFIG", "SET", "appendonly", "no"]).await;
    let bus = bus(&reader);
    let mut subscription = bus.subscribe("*").after(Sequence::START).await.unwrap();
    let lost = transport.publish((10..15).map(event).collect()).await.unwrap();
    let lost_state = transport
        .store("consumer", Change::new(state, b"lost".to_vec()))
        .await
        .unwrap();
    for sequence in kept.iter().chain(&lost) {
        assert_eq!(subscription.next().await.unwrap().sequence(), *sequence);
    }
    tokio::task::block_in_place(|| {
        server.kill();
        server.start_again();
    });
    until(async || transport.head().await.is_ok()).await;
    assert_eq!(transport.head().await.unwrap(), kept[9], "the others are lost");
    let new = transport.publish((15..18).map(event).collect()).await.unwrap();
    assert!(new[0] > lost[4], "{new:?} after {lost:?}");
    assert_eq!(new[2].get(), new[0].get() + 2, "it leaps once");
    let next = transport.publish(vec![event(18)]).await.unwrap();
    assert_eq!(next[0].get(), new[2].get() + 1);
    // Whoever has seen what was lost hears of everything that is new.
    for sequence in new.iter().chain(&next) {
        assert_eq!(subscription.next().await.unwrap().sequence(), *sequence);
    }
    let again = transport
        .store("consumer", Change::new(state, b"new".to_vec()))
        .await
        .unwrap();
    assert!(again > lost_state, "nor is a revision");
    let stale = transport
        .store("consumer", Change::new(lost_state, b"stale".to_vec()))
        .await
        .unwrap();
    assert_eq!(stale, None);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_follower_whose_connection_breaks_misses_nothing() {
    let server = testing::Redis::shared();
    let proxy = Proxy::start(&*address(server.url()));
    let prefix = super::prefix();
    let publisher = open(&options(server.url()).prefix(&prefix)).await;
    let reader = open(&options(&proxy.url(server.url())).prefix(&prefix)).await;
    let heard = tokio::spawn(listen(&reader, 600));
    for round in 0..60 {
        publisher.publish((0..10).map(event).collect()).await.unwrap();
        if round % 6 == 0 {
            tokio::task::block_in_place(|| proxy.drop_connections());
        }
        if round % 20 == 7 {
            tokio::task::block_in_place(|| {
                proxy.cut();
                proxy.restore();
            });
        }
        tokio::task::yield_now().await;
    }
    let heard = heard.await.unwrap();
    assert_eq!(heard, log(&publisher, Sequence::START).await);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn changes_of_a_state_are_heard_of_over_a_broken_connection() {
    let server = testing::Redis::shared();
    let proxy = Proxy::start(&*address(server.url()));
    let prefix = super::prefix();
    let writer = open(&options(server.url()).prefix(&prefix)).await;
    let member = open(&options(&proxy.url(server.url())).prefix(&prefix)).await;
    let interest = member.live().interest(&everything(), Some("group"));
    let mut revision = None;
    for round in 0..20_u8 {
        interest.take();
        if member.load("group").await.unwrap().map(|register| register.revision) != revision {
            panic!("the member does not see what was written");
        }
        if round % 5 == 3 {
            tokio::task::block_in_place(|| proxy.drop_connections());
        }
        let mut change = Change::new(revision, vec![round]);
        change.wake = true;
        revision = writer.store("group", change).await.unwrap();
        hive_core::clock::timeout(&hive_core::clock::SystemClock, MINUTE, interest.woken())
            .await
            .unwrap();
    }
    interest.take();
    assert!(writer.remove("group").await.unwrap());
    hive_core::clock::timeout(&hive_core::clock::SystemClock, MINUTE, interest.woken())
        .await
        .unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_stalls_is_left_alone_until_it_answers() {
    let server = testing::Redis::shared();
    let proxy = Proxy::start(&*address(server.url()));
    // Here the limit has to be reached; the pause is longer than the test, so that the breaker's word can be relied upon.
    let prefix = super::prefix();
    let impatient = || {
        options(&proxy.url(server.url()))
            .prefix(&prefix)
            .command_timeout(Duration::from_millis(100))
            .connect_timeout(Duration::from_millis(100))
            .retry(RetryPolicy::fixed(2, Duration::from_millis(10)))
    };
    let broken = open(&impatient().breaker(BreakerPolicy::new(4, MINUTE * 60))).await;
    let patient = open(&impatient()).await;
    let mut published = [event(0), event(1)];
    broken.publish(vec![published[0].clone()]).await.unwrap();
    proxy.stall();
    let mut kinds = Vec::new();
    for _ in 0..5 {
        kinds.push(broken.publish(vec![event(2)]).await.unwrap_err().kind());
    }
    // Twice each.
    assert_eq!(kinds[0], ErrorKind::Timeout, "{kinds:?}");
    assert_eq!(kinds[2..], [ErrorKind::BreakerOpen; 3], "{kinds:?}");
    let id = new_id();
    published[1] = event(1).id(id);
    let stalled = patient.publish(vec![published[1].clone()]).await.unwrap_err();
    assert!(
        matches!(stalled.kind(), ErrorKind::Timeout | ErrorKind::Storage),
        "{stalled}"
    );
    // What was held back comes late, and what is tried again comes again.
    proxy.restore();
    until(async || patient.publish(vec![published[1].clone()]).await.is_ok()).await;
    let there = log(&open(&options(server.url()).prefix(&prefix)).await, Sequence::START).await;
    assert_eq!(there.iter().filter(|event| event.id() == id).count(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_moment_of_stalling_goes_unnoticed() {
    let server = testing::Redis::shared();
    let proxy = Proxy::start(&*address(server.url()));
    let options = options(&proxy.url(server.url()))
        .command_timeout(Duration::from_millis(100))
        .connect_timeout(Duration::from_millis(100))
        .breaker(BreakerPolicy::new(1_000, MINUTE))
        .retry(RetryPolicy::fixed(1_000, Duration::from_millis(5)));
    let transport = open(&options).await;
    transport.publish(vec![event(0)]).await.unwrap();
    proxy.stall();
    let mut calls: Vec<_> = (1..4)
        .map(|number| {
            let transport = transport.clone();
            tokio::spawn(async move { transport.publish(vec![event(number)]).await })
        })
        .collect();
    // Long enough for each to have been tried again.
    until(async || proxy.connections() >= 2).await;
    proxy.restore();
    for call in calls.drain(..) {
        call.await.unwrap().unwrap();
    }
    assert_eq!(log(&transport, Sequence::START).await.len(), 4);
}

#[tokio::test]
async fn scripts_that_the_server_forgot_are_told_again() {
    let server = testing::Redis::start();
    let transport = open(&options(server.url())).await;
    let mut bare = bare(server.url()).await;
    let mut events: Vec<Event> = Vec::new();
    for number in 0..5 {
        let sequences = transport.publish(vec![event(number)]).await.unwrap();
        events.extend(transport.get(&sequences).await.unwrap());
        transport
            .store(&format!("consumer {number}"), Change::new(None, Vec::new()))
            .await
            .unwrap()
            .unwrap();
        let _: () = ask(&mut bare, &["SCRIPT", "FLUSH"]).await;
    }
    assert_eq!(ids(&log(&transport, Sequence::START).await), ids(&events));
    assert_eq!(transport.consumers("", 10).await.unwrap().len(), 5);
}

#[tokio::test]
async fn a_server_without_room_refuses_whole_batches() {
    let server = testing::Redis::start();
    let transport = open(&options(server.url())).await;
    let mut bare = bare(server.url()).await;
    transport.publish(vec![event(0)]).await.unwrap();
    let _: () = ask(&mut bare, &["CONFIG", "SET", "maxmemory", "1"]).await;
    let batch: Vec<_> = (1..20).map(event).collect();
    let error = transport.publish(batch.clone()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Overloaded, "{error:?}");
    assert!(error.hint().contains("events_max"));
    let error = transport
        .store("consumer", Change::new(None, Vec::new()))
        .await
        .unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Overloaded);
    assert_eq!(
        log(&transport, Sequence::START).await.len(),
        1,
        "what is there can be read"
    );
    let _: () = ask(&mut bare, &["CONFIG", "SET", "maxmemory", "0"]).await;
    let sequences = transport.publish(batch).await.unwrap();
    assert_eq!(sequences[0], Sequence::new(2));
    assert_eq!(log(&transport, Sequence::START).await.len(), 20);
}

#[tokio::test]
async fn a_server_that_became_a_replica_is_not_written_to() {
    let server = testing::Redis::start();
    let transport = open(&options(server.url())).await;
    transport.publish(vec![event(0)]).await.unwrap();
    let mut bare = bare(server.url()).await;
    // Of nobody: all it knows is that it must not be written to.
    let _: () = ask(&mut bare, &["REPLICAOF", "127.0.0.1", "1"]).await;
    let error = transport.publish(vec![event(1)]).await.unwrap_err();
    assert_eq!(
        (error.kind(), error.field("code")),
        (ErrorKind::Storage, Some("READONLY"))
    );
    assert!(error.field("server").is_some());
    let _: () = ask(&mut bare, &["REPLICAOF", "NO", "ONE"]).await;
    until(async || transport.publish(vec![event(1)]).await.is_ok()).await;
}

#[tokio::test]
async fn a_server_that_cannot_be_had_is_named_without_the_password() {
    let server = testing::Redis::start();
    let port = server.port();
    let opened = Redis::open(options(&format!("redis://:hunter2@127.0.0.1:{port}/0"))).await;
    let error = opened.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Config);
    let told = format!("{} {error:?}", Report::new(&error));
    assert!(
        told.contains(&format!("127.0.0.1:{port}")) && !told.contains("hunter2"),
        "{told}"
    );
    for url in ["", "http://:hunter2@host/", "redis://:hunter2@host:port/"] {
        let options = options(url);
        assert!(!format!("{options:?}").contains("hunter2"));
        let error = Redis::open(options).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Config, "{url}");
        assert!(!format!("{error:?}").contains("hunter2"));
    }
}

/// Host and port of a server's url.
fn address(url: &str) -> String {
    url.rsplit('@').next().unwrap().split('/').next().unwrap().to_owned()
}
