//! Consumers' states and dead letters.

use std::sync::Arc;

use hive_bus::transport::{Change, DeadLetter, DeadReason, Transport};
use hive_bus::{Event, Patterns, Sequence};
use hive_core::clock::{Clock, SystemClock};
use tokio::task::JoinSet;

use super::{Place, events, log};

fn letter(event: &Event) -> DeadLetter {
    DeadLetter::new(event.clone(), DeadReason::Rejected, 1, SystemClock.now(), Vec::new())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_eight_who_change_a_state_one_gets_ahead_at_a_time() {
    const EACH: u64 = 20;
    let place = Place::shared();
    let handles = [place.open().await, place.open().await];
    handles[0]
        .store("a", Change::new(None, 0_u64.to_le_bytes().to_vec()))
        .await
        .unwrap()
        .unwrap();
    let mut racers = JoinSet::new();
    for racer in 0..8 {
        let transport = handles[racer % 2].clone();
        racers.spawn(async move {
            let mut added = 0;
            while added < EACH {
                let known = transport.load("a").await.unwrap().unwrap();
                let count = u64::from_le_bytes(known.state.try_into().unwrap()) + 1;
                let change = Change::new(Some(known.revision), count.to_le_bytes().to_vec());
                added += u64::from(transport.store("a", change).await.unwrap().is_some());
            }
        });
    }
    racers.join_all().await;
    let state = handles[0].load("a").await.unwrap().unwrap().state;
    assert_eq!(u64::from_le_bytes(state.try_into().unwrap()), 8 * EACH);
    place.end().await;
}

#[tokio::test]
async fn names_may_be_anything() {
    let place = Place::shared();
    let (one, other) = (place.open().await, place.open().await);
    one.publish(events("a", 0..1)).await.unwrap();
    let dead = letter(&log(&one).await[0]);
    let long = "x".repeat(128);
    let mut names = vec![
        "",
        " ",
        "a",
        "A",
        "a.b",
        "a=b",
        "a=2Eb",
        "=",
        "*",
        ">",
        "a.*.>",
        "$KV",
        "feed",
        "c.feed",
        "\0\r\n",
        "ß日本🦀",
        "a/b\\c",
        "-_-",
        &long,
    ];
    names.sort_unstable();
    for name in &names {
        let mut change = Change::new(None, name.as_bytes().to_vec());
        change.dead = vec![dead.clone()];
        assert!(one.store(name, change).await.unwrap().is_some(), "{name:?}");
    }
    assert_eq!(
        other.consumers("", 100).await.unwrap(),
        names[1..],
        "all behind the empty name"
    );
    for (at, name) in names.iter().enumerate() {
        let known = other.load(name).await.unwrap().unwrap();
        assert_eq!(known.state, name.as_bytes(), "{name:?}");
        assert_eq!(
            other.dead_letters(name, Sequence::START, 10).await.unwrap(),
            std::slice::from_ref(&dead),
            "{name:?}"
        );
        let interest = other.live().interest(&Patterns::new(["none"]).unwrap(), Some(name));
        interest.take();
        let mut change = Change::new(Some(known.revision), vec![at as u8]);
        change.wake = true;
        one.store(name, change).await.unwrap().unwrap();
        interest.woken().await;
        assert!(one.remove(name).await.unwrap(), "{name:?}");
        assert_eq!(
            other.dead_letters(name, Sequence::START, 10).await.unwrap(),
            [],
            "{name:?}"
        );
    }
    assert!(other.consumers("", 100).await.unwrap().is_empty());
    place.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn letters_are_there_when_the_state_says_so() {
    const ROUNDS: usize = 25;
    let place = Place::shared();
    let (writer, reader) = (place.open().await, Arc::new(place.open().await));
    writer.publish(events("a", 0..ROUNDS as u64)).await.unwrap();
    let events = log(&writer).await;
    let watcher = tokio::spawn({
        let reader = Arc::clone(&reader);
        async move {
            loop {
                let Some(known) = reader.load("a").await.unwrap() else {
                    continue;
                };
                let buried = usize::from(known.state[0]);
                let found = reader.dead_letters("a", Sequence::START, 100).await.unwrap();
                assert!(
                    found.len() >= buried,
                    "{buried} are dead by the state, and {} are there",
                    found.len()
                );
                if buried == ROUNDS {
                    return;
                }
            }
        }
    });
    let mut revision = None;
    for (round, event) in events.iter().enumerate() {
        let mut change = Change::new(revision, vec![round as u8 + 1]);
        change.dead = vec![letter(event)];
        revision = writer.store("a", change).await.unwrap();
        assert!(revision.is_some());
    }
    watcher.await.unwrap();
    // What is alive again is no letter any more when that is said.
    let mut change = Change::new(revision, vec![0]);
    change.revived = events.iter().take(20).map(Event::sequence).collect();
    writer.store("a", change).await.unwrap().unwrap();
    let left = reader.dead_letters("a", Sequence::START, 100).await.unwrap();
    assert_eq!(left.len(), ROUNDS - 20);
    place.end().await;
}

#[tokio::test]
async fn tools_find_the_buckets() {
    let place = Place::shared();
    let transport = place.open().await;
    transport
        .store("worker.1", Change::new(None, b"state".to_vec()))
        .await
        .unwrap();
    let jetstream = place.jetstream().await;
    let stream = jetstream.get_stream(format!("KV_{}_STATE", place.name)).await.unwrap();
    let subject = format!("$KV.{}_STATE.c.worker=2E1", place.name);
    let found = stream.direct_get_last_for_subject(subject).await.unwrap();
    assert_eq!(&found.payload[..], b"state");
    place.end().await;
}
