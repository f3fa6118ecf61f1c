use hive_bus::{Event, NewEvent, Pattern, Query, Retention, RetentionPolicy, Sequence};
use hive_core::clock::Timestamp;
use hive_core::payload::Payload;
use hive_core::testing::TestDb;
use serde_json::json;

use super::super::event::{self, Hit};
use super::super::wait::{self, NewWait, Outcome, Resolved, Wanted};
use super::super::write;
use super::Bench;
use super::fences::awaited;
use crate::event::{Came, Looked, Shape};

/// A task that waits for events on `order.>`, on a database that nobody works on.
async fn waiting(place: TestDb) -> (Bench, super::Claimed, Sequence) {
    let bench = Bench::on(place).await;
    bench.queue.bus.keep_behind(event::looked_through).unwrap();
    let claimed = bench.running().await;
    let after = bench.queue.bus.head().await.unwrap();
    let (queue, lease, task) = (bench.queue.clone(), claimed.lease, claimed.task.clone());
    let wait = NewWait {
        key: "event:order.>#1".to_owned(),
        what: Wanted::Event {
            awaited: awaited(),
            after,
            timeout: None,
        },
    };
    let synced = write(&bench.db, move |tx| {
        wait::sync(tx, &queue, lease, &task, 0, std::slice::from_ref(&wait), true)
    });
    assert!(synced.await.unwrap().parked);
    (bench, claimed, after)
}

async fn publish(bench: &Bench, topic: &str) -> Event {
    let event = NewEvent::new("order", topic.to_owned(), &json!(1)).unwrap();
    let sequence = bench.queue.bus.publish(event).await.unwrap();
    let before = Sequence::new(sequence.get() - 1);
    let page = bench
        .queue
        .bus
        .history(Query::new().after(before).limit(1))
        .await
        .unwrap();
    page.events.into_iter().next().unwrap()
}

fn hit(event: &Event) -> Hit {
    let shape = awaited().shape;
    Hit {
        probe: Shape::parse(&shape)
            .unwrap()
            .probe(&Looked::new(event))
            .unwrap()
            .unwrap(),
        shape,
        sequence: event.sequence(),
        value: Came::payload(event).unwrap(),
    }
}

async fn left(bench: &Bench) -> (u64, u64) {
    let policy = RetentionPolicy::new([Retention::of(Pattern::ALL).count(1).even_unread()]).unwrap();
    let pruned = bench.queue.bus.retain(&policy).await.unwrap();
    (pruned.events, pruned.held_back)
}

async fn retention_waits(place: TestDb) {
    let (bench, claimed, after) = waiting(place).await;
    let (first, second) = (publish(&bench, "order.a").await, publish(&bench, "order.b").await);
    let newest = publish(&bench, "other").await;
    let (events, held) = left(&bench).await;
    // What came before the wait goes, what came after it stays.
    assert!(events >= after.get(), "{events} are gone, {after} might be");
    assert!(held >= 2, "{held}");
    for event in [&first, &second] {
        let page = bench
            .queue
            .bus
            .history(Query::new().after(Sequence::new(event.sequence().get() - 1)).limit(1));
        assert_eq!(&page.await.unwrap().events[0], event);
    }
    // Two processes find them at once, one of them late: the first event wins, once.
    let hits = [hit(&first), hit(&second)];
    let found = bench.db.read({
        let hits = hits.clone();
        move |db| Ok((event::waiting(db, &hits)?, event::waiting(db, &hits[1..])?))
    });
    let (found, late) = found.await.unwrap();
    assert_eq!((found.len(), late.len()), (1, 1), "each wait once");
    let (queue, lease) = (bench.queue.clone(), claimed.lease);
    let resolved = write(&bench.db, move |tx| {
        event::settle(tx, &queue, &found)?;
        event::settle(tx, &queue, &late)?;
        event::settle(tx, &queue, &found)?;
        tx.execute(
            "UPDATE task SET state = 2, epoch = ?2 WHERE seq = ?1",
            &[&lease.task, &lease.epoch],
        )?;
        Ok(wait::sync(tx, &queue, lease, &claimed.task, 0, &[], false)?.resolved)
    });
    let [
        Resolved {
            outcome: Outcome::Over(Some(value)),
            ..
        },
    ] = &resolved.await.unwrap()[..]
    else {
        panic!("it is settled once");
    };
    assert_eq!(value.decode::<Came>().unwrap().0, first);
    // Nobody waits any more.
    let (_, held) = left(&bench).await;
    assert_eq!(held, 0);
    let page = bench.queue.bus.history(Query::new()).await.unwrap();
    assert_eq!(page.events.len(), 1);
    assert!(
        page.events[0].sequence() > newest.sequence(),
        "the task has told that it goes on"
    );
}

#[tokio::test]
async fn what_was_not_looked_at_is_not_forgotten() {
    retention_waits(TestDb::sqlite()).await;
}

#[cfg(feature = "postgres")]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_not_looked_at_is_not_forgotten_on_a_server() {
    retention_waits(TestDb::postgres()).await;
}

async fn places_move(place: TestDb) {
    let (bench, _, after) = waiting(place).await;
    for _ in 0..3 {
        publish(&bench, "other").await;
    }
    let reached = bench.queue.bus.head().await.unwrap();
    let queue = bench.queue.clone();
    let advanced = write(&bench.db, move |tx| {
        let young = event::advance(tx, &queue, reached, Timestamp::EPOCH)?;
        let before = event::looked_through(tx)?;
        let old = event::advance(tx, &queue, reached, Timestamp::MAX)?;
        Ok((young, before, old, event::looked_through(tx)?))
    });
    assert_eq!(advanced.await.unwrap(), (0, Some(after), 1, Some(reached)));
    // What was looked through may go.
    let (events, _) = left(&bench).await;
    assert!(events > after.get(), "{events}");
    // An event that comes now still is for it.
    let hits = [hit(&publish(&bench, "order.a").await)];
    let found = bench.db.read(move |db| event::waiting(db, &hits)).await.unwrap();
    assert_eq!(found.len(), 1);
}

#[tokio::test]
async fn what_was_looked_through_may_be_forgotten() {
    places_move(TestDb::sqlite()).await;
}

#[cfg(feature = "postgres")]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_looked_through_may_be_forgotten_on_a_server() {
    places_move(TestDb::postgres()).await;
}

/// The largest event that there may be is an outcome as well.
#[test]
fn a_large_event_fits() {
    let text = "x".repeat(hive_bus::limits::DATA_BYTES_MAX - 2);
    let event = NewEvent::new("order", "order.a", &text)
        .unwrap()
        .source("s".repeat(256));
    let ids = hive_core::id::IdSource::system();
    let event = event
        .id(ids.next())
        .time(Timestamp::EPOCH)
        .at(Sequence::new(1))
        .unwrap();
    let value: Payload = Came::payload(&event).unwrap();
    assert_eq!(value.decode::<Came>().unwrap().0, event);
}
