//! What becomes of subscriptions that do not keep up.

use std::sync::Arc;
use std::time::Duration;

use hive_bus::{ErrorKind, Lag, Sequence, limits};
use hive_core::testing::TestDb;
use tokio::time::timeout;

use crate::{Fixture, event, sequences};

/// Longer than anything here takes, unless it hangs.
const LONG: Duration = Duration::from_secs(30);

#[tokio::test]
async fn publishers_wait_for_who_asks_them_to() {
    let hive = Fixture::on(TestDb::sqlite()).await;
    let mut slow = hive.bus.subscribe("*").lag(Lag::Block(3)).await.unwrap();
    for _ in 0..4 {
        hive.publish("a").await;
    }
    // Four events behind, where three are allowed.
    let bus = hive.bus.clone();
    let waiting = tokio::spawn(async move { bus.publish(event("b")).await });
    hive.clock.until_sleepers(1).await;
    assert!(!waiting.is_finished());
    // A transaction does not wait, as nobody can within it.
    let bus = hive.bus.clone();
    hive.db.write(move |tx| bus.publish_in(tx, event("c"))).await.unwrap();
    for expected in 1..=2 {
        assert_eq!(slow.next().await.unwrap().sequence(), Sequence::new(expected));
    }
    assert_eq!(
        timeout(LONG, waiting).await.unwrap().unwrap().unwrap(),
        Sequence::new(6)
    );

    // Who waits in vain is told why, and nothing was written.
    let bus = hive.bus.clone();
    let waiting = tokio::spawn(async move { bus.publish(event("b")).await });
    hive.clock.until_sleepers(1).await;
    hive.clock.advance(limits::PUBLISH_TIMEOUT);
    let error = timeout(LONG, waiting).await.unwrap().unwrap().unwrap_err();
    assert_eq!(
        (error.kind(), error.field("behind")),
        (ErrorKind::Overloaded, Some("4"))
    );
    assert_eq!(hive.all().await.len(), 6);

    // It holds nobody up once it is gone.
    drop(slow);
    timeout(LONG, hive.publish("a")).await.unwrap();
}

#[tokio::test]
async fn who_may_miss_some_is_told_how_many() {
    let hive = Fixture::on(TestDb::sqlite()).await;
    let mut fresh = hive.bus.subscribe("a.>").lag(Lag::DropOldest(10)).await.unwrap();
    let topics = ["a.x", "b.x"];
    for number in 0..40 {
        hive.publish(topics[number % 2]).await;
    }
    let first = timeout(LONG, fresh.next()).await.unwrap().unwrap();
    // The newest ten sequences are 31 to 40, of which the odd ones match; before them were fifteen more.
    assert_eq!((first.sequence().get(), fresh.dropped()), (31, 15));
    // Far behind, with a page in hand already.
    for number in 0..2_000 {
        hive.publish(topics[number % 2]).await;
    }
    let mut seen = vec![timeout(LONG, fresh.next()).await.unwrap().unwrap()];
    while seen.last().unwrap().sequence() < Sequence::new(2_039) {
        seen.push(timeout(LONG, fresh.next()).await.unwrap().unwrap());
    }
    assert_eq!(sequences(&seen), [2_031, 2_033, 2_035, 2_037, 2_039]);
    assert_eq!(fresh.dropped() + 1 + 5, 1_020);
}

#[tokio::test]
async fn who_falls_behind_is_disconnected_and_can_go_on_from_there() {
    let hive = Fixture::on(TestDb::sqlite()).await;
    let mut strict = hive.bus.subscribe("*").lag(Lag::Disconnect(2)).await.unwrap();
    for _ in 0..2 {
        hive.publish("a").await;
    }
    assert_eq!(strict.next().await.unwrap().sequence(), Sequence::new(1));
    for _ in 0..3 {
        hive.publish("a").await;
    }
    for _ in 0..2 {
        let error = timeout(LONG, strict.next()).await.unwrap().unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Overloaded);
        assert!(!error.is_retryable());
        assert_eq!((error.field("behind"), error.field("cursor")), (Some("4"), Some("1")));
    }
    let mut again = hive.bus.subscribe("*").after(strict.cursor()).await.unwrap();
    assert_eq!(again.next().await.unwrap().sequence(), Sequence::new(2));
}

#[tokio::test]
async fn a_lag_of_nothing_is_refused() {
    let hive = Fixture::on(TestDb::sqlite()).await;
    for lag in [Lag::Block(0), Lag::DropOldest(0), Lag::Disconnect(0)] {
        let error = hive.bus.subscribe("*").lag(lag).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidInput);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_blocking_subscriber_gets_everything_from_many_publishers() {
    let hive = Arc::new(Fixture::on(TestDb::sqlite()).await);
    let mut slow = hive.bus.subscribe("*").lag(Lag::Block(8)).await.unwrap();
    let publishers: Vec<_> = (0..4)
        .map(|_| {
            let hive = Arc::clone(&hive);
            tokio::spawn(async move {
                for _ in 0..50 {
                    hive.publish("a").await;
                }
            })
        })
        .collect();
    for expected in 1..=200 {
        let event = timeout(LONG, slow.next()).await.unwrap().unwrap();
        assert_eq!(event.sequence(), Sequence::new(expected));
        // Nobody is further ahead than the limit and those who were let through at once.
        let head = hive.all().await.len() as u64;
        assert!(head <= expected + 8 + 4, "{head} published, {expected} taken");
    }
    for publisher in publishers {
        publisher.await.unwrap();
    }
}
