//! Durable consumers, on each transport that needs no server of its own.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use hive_bus::transport::Memory;
use hive_bus::{Begin, Bus, Consumer, Delivery, ErrorKind, NewEvent, Order, Sequence, limits};
use hive_core::clock::{Clock, ManualClock};
use hive_core::db::Db;
use hive_core::id::IdSource;
use hive_core::rng::SystemRng;
use hive_core::testing::TestDb;
use hive_errors::{Failure, RetryPolicy};
use tokio::time::timeout;

use crate::NOW;

/// Longer than anything here takes, unless it hangs.
const LONG: Duration = Duration::from_secs(30);

struct Place {
    bus: Bus,
    clock: ManualClock,
    db: Option<(Db, TestDb)>,
}

impl Place {
    async fn memory() -> Self {
        let clock = ManualClock::new(NOW);
        let transport = Arc::new(Memory::new(Arc::new(clock.clone())));
        let bus = Bus::over(transport, Arc::new(clock.clone()), ids(&clock));
        Self { bus, clock, db: None }
    }

    async fn sqlite() -> Self {
        let place = TestDb::sqlite();
        let clock = ManualClock::new(NOW);
        let (db, bus) = open(&place, &clock).await;
        Self {
            bus,
            clock,
            db: Some((db, place)),
        }
    }

    /// Publishes events on these topics.
    async fn publish(&self, topics: &[&'static str]) -> Vec<Sequence> {
        let events = topics.iter().map(|topic| crate::event(topic)).collect();
        self.bus.publish_all(events).await.unwrap()
    }

    /// Lets time go by once somebody waits for it.
    async fn pass(&self, duration: Duration) {
        self.clock.until_sleepers(1).await;
        self.clock.advance(duration);
    }
}

fn ids(clock: &ManualClock) -> IdSource {
    IdSource::new(Arc::new(clock.clone()), Arc::new(SystemRng))
}

async fn open(place: &TestDb, clock: &ManualClock) -> (Db, Bus) {
    let options = place.options().migrations(&hive_bus::MIGRATIONS);
    let db = Db::open(options.clock(Arc::new(clock.clone()))).await.unwrap();
    let bus = Bus::open(db.clone(), Arc::new(clock.clone()), ids(clock))
        .await
        .unwrap();
    (db, bus)
}

async fn next(consumer: &Consumer) -> Delivery {
    timeout(LONG, consumer.next())
        .await
        .expect("nothing was delivered")
        .unwrap()
}

/// Whether nothing is there to be delivered, once everything that runs has come to rest.
async fn is_quiet(consumer: &Consumer) -> bool {
    timeout(Duration::from_millis(50), consumer.next()).await.is_err()
}

/// What has failed comes again at once, whatever the clock says.
fn at_once() -> RetryPolicy {
    RetryPolicy::fixed(9, Duration::ZERO)
}

fn topic(delivery: &Delivery) -> &str {
    delivery.event().topic().as_str()
}

macro_rules! on_each {
    ($($case:ident),* $(,)?) => {
        mod memory {$(
            #[tokio::test]
            async fn $case() {
                super::$case(super::Place::memory().await).await;
            }
        )*}
        mod sqlite {$(
            #[tokio::test]
            async fn $case() {
                super::$case(super::Place::sqlite().await).await;
            }
        )*}
    };
}

on_each! {
    each_event_is_delivered_until_it_is_acknowledged,
    a_failure_waits_and_holds_up_its_key_alone,
    what_cannot_be_handled_is_a_dead_letter_and_comes_back_when_told,
    a_lease_that_runs_out_is_another_delivery,
    a_handler_that_takes_long_says_so,
    what_waits_for_a_slow_handler_has_not_failed,
    a_delivery_that_is_dropped_has_failed,
    a_consumer_begins_where_it_is_told,
    a_paused_consumer_is_given_nothing,
    a_consumer_can_be_sent_back,
    order_is_as_it_was_asked_for,
    what_expires_is_not_delivered,
    what_expires_on_the_desk_is_not_delivered,
    each_pattern_is_wanted_from_where_it_was_asked_for,
    many_handlers_handle_everything_in_order,
    a_removed_consumer_ends,
    a_closed_bus_ends_consumers_and_settles_what_is_out,
    names_and_patterns_are_checked,
    what_nobody_has_begun_goes_to_who_comes,
}

async fn each_event_is_delivered_until_it_is_acknowledged(place: Place) {
    place.publish(&["a.before"]).await;
    let consumer = place.bus.consumer("c", "a.*").await.unwrap();
    place.publish(&["a.1", "b.1", "a.2"]).await;
    let first = next(&consumer).await;
    assert_eq!((topic(&first), first.attempt()), ("a.1", 1));
    let second = next(&consumer).await;
    assert_eq!(topic(&second), "a.2");
    assert!(is_quiet(&consumer).await);
    let info = place.bus.consumer_info("c").await.unwrap();
    assert_eq!((info.taken, info.waiting, info.lag), (2, 0, 0));
    second.ack().await.unwrap();
    first.ack().await.unwrap();
    let info = place.bus.consumer_info("c").await.unwrap();
    assert_eq!((info.taken, info.waiting, info.cursor), (0, 0, Sequence::new(4)));
    assert_eq!(place.bus.consumers("", 10).await.unwrap(), ["c"]);
}

async fn a_failure_waits_and_holds_up_its_key_alone(place: Place) {
    let retry = RetryPolicy::fixed(5, Duration::from_secs(10));
    let consumer = place.bus.consumer("c", "*").retry(retry).await.unwrap();
    let keyed = |topic: &'static str, key: &str| crate::event(topic).key(key);
    let events = vec![keyed("1", "k"), keyed("2", "other"), keyed("3", "k")];
    place.bus.publish_all(events).await.unwrap();
    let first = next(&consumer).await;
    let second = next(&consumer).await;
    assert_eq!((topic(&first), topic(&second)), ("1", "2"));
    assert!(is_quiet(&consumer).await, "3 has the key of 1");
    first.nack("not now").await.unwrap();
    second.ack().await.unwrap();
    assert!(is_quiet(&consumer).await);
    place.pass(Duration::from_secs(9)).await;
    assert!(is_quiet(&consumer).await);
    place.pass(Duration::from_secs(1)).await;
    let again = next(&consumer).await;
    assert_eq!((topic(&again), again.attempt()), ("1", 2));
    assert!(is_quiet(&consumer).await);
    again.nack_after(Duration::ZERO, "not yet").await.unwrap();
    let again = next(&consumer).await;
    assert_eq!((topic(&again), again.attempt()), ("1", 3));
    again.ack().await.unwrap();
    let last = next(&consumer).await;
    assert_eq!((topic(&last), last.attempt()), ("3", 1));
    last.ack().await.unwrap();
}

async fn what_cannot_be_handled_is_a_dead_letter_and_comes_back_when_told(place: Place) {
    let consumer = place
        .bus
        .consumer("c", "*")
        .retry(RetryPolicy::fixed(2, Duration::ZERO))
        .await
        .unwrap();
    let sequences = place.publish(&["a", "b", "c"]).await;
    for _ in 0..2 {
        let first = next(&consumer).await;
        let attempt = first.attempt();
        first.nack(format!("failure {attempt}")).await.unwrap();
        if attempt == 1 {
            for _ in 0..2 {
                let other = next(&consumer).await;
                if topic(&other) == "b" {
                    other.reject("never").await.unwrap();
                } else {
                    other.ack().await.unwrap();
                }
            }
        }
    }
    let letters = place.bus.dead_letters("c", Sequence::START, 10).await.unwrap();
    let told: Vec<_> = letters
        .iter()
        .map(|letter| {
            let errors: Vec<_> = letter.mishaps.iter().map(|mishap| mishap.error.as_str()).collect();
            (
                letter.event.topic().as_str(),
                letter.reason.as_str(),
                letter.attempts,
                errors,
            )
        })
        .collect();
    assert_eq!(
        told,
        [
            ("a", "exhausted", 2, vec!["failure 1", "failure 2"]),
            ("b", "rejected", 1, vec!["never"])
        ]
    );
    assert_eq!(place.bus.dead_letters("c", sequences[0], 10).await.unwrap().len(), 1);

    assert_eq!(place.bus.redrive("c", &sequences).await.unwrap(), 2);
    assert_eq!(place.bus.dead_letters("c", Sequence::START, 10).await.unwrap(), []);
    let mut back = [next(&consumer).await, next(&consumer).await];
    back.sort_by_key(|delivery| delivery.event().sequence());
    let [first, second] = back;
    assert_eq!((topic(&first), first.attempt(), topic(&second)), ("a", 1, "b"));
    first.ack().await.unwrap();
    second.reject("still not").await.unwrap();
    let letters = place.bus.dead_letters("c", Sequence::START, 10).await.unwrap();
    assert_eq!(letters.len(), 1);
    assert_eq!(letters[0].mishaps[0].error, "still not");
    assert_eq!(place.bus.purge("c", &sequences).await.unwrap(), 1);
    assert_eq!(place.bus.dead_letters("c", Sequence::START, 10).await.unwrap(), []);
}

async fn a_lease_that_runs_out_is_another_delivery(place: Place) {
    let wait = Duration::from_secs(5);
    let consumer = place
        .bus
        .consumer("c", "*")
        .ack_wait(wait)
        .retry(RetryPolicy::fixed(3, Duration::ZERO))
        .await
        .unwrap();
    place.publish(&["a"]).await;
    let slow = next(&consumer).await;
    place.pass(wait).await;
    let second = next(&consumer).await;
    assert_eq!(slow.ack().await.unwrap_err().kind(), ErrorKind::LeaseLost);
    // From now on its beginning was on record, so that each lapse is a failure.
    let mut held = vec![second];
    for _ in 0..2 {
        place.pass(wait).await;
        held.push(next(&consumer).await);
    }
    assert_eq!(held.last().unwrap().attempt(), 3);
    place.pass(wait).await;
    assert!(is_quiet(&consumer).await);
    let letters = place.bus.dead_letters("c", Sequence::START, 10).await.unwrap();
    assert_eq!((letters.len(), letters[0].attempts), (1, 3));
    for delivery in held {
        assert_eq!(delivery.ack().await.unwrap_err().kind(), ErrorKind::LeaseLost);
    }
}

async fn a_handler_that_takes_long_says_so(place: Place) {
    let consumer = place
        .bus
        .consumer("c", "*")
        .ack_wait(Duration::from_secs(5))
        .await
        .unwrap();
    place.publish(&["a"]).await;
    let delivery = next(&consumer).await;
    for _ in 0..4 {
        place.pass(Duration::from_secs(4)).await;
        delivery.extend().await.unwrap();
    }
    assert!(is_quiet(&consumer).await);
    delivery.ack().await.unwrap();
}

async fn what_waits_for_a_slow_handler_has_not_failed(place: Place) {
    let wait = Duration::from_secs(5);
    let consumer = place
        .bus
        .consumer("c", "*")
        .ack_wait(wait)
        .retry(RetryPolicy::fixed(2, Duration::ZERO))
        .await
        .unwrap();
    place.publish(&["a", "b"]).await;
    let slow = next(&consumer).await;
    // Longer than all attempts of what stands behind it would take together.
    for _ in 0..20 {
        place.pass(wait - Duration::from_secs(1)).await;
        slow.extend().await.unwrap();
    }
    slow.ack().await.unwrap();
    let second = next(&consumer).await;
    assert_eq!((topic(&second), second.attempt()), ("b", 1));
    second.ack().await.unwrap();
    assert_eq!(place.bus.dead_letters("c", Sequence::START, 10).await.unwrap(), []);
}

async fn a_delivery_that_is_dropped_has_failed(place: Place) {
    let consumer = place
        .bus
        .consumer("c", "*")
        .retry(RetryPolicy::fixed(2, Duration::ZERO))
        .await
        .unwrap();
    place.publish(&["a"]).await;
    drop(next(&consumer).await);
    let again = next(&consumer).await;
    assert_eq!(again.attempt(), 2);
    drop(again);
    assert!(is_quiet(&consumer).await);
    assert_eq!(place.bus.dead_letters("c", Sequence::START, 10).await.unwrap().len(), 1);
}

async fn a_consumer_begins_where_it_is_told(place: Place) {
    place.publish(&["1", "2"]).await;
    place.clock.advance(Duration::from_secs(60));
    let at = place.clock.now();
    place.publish(&["3", "4"]).await;
    for (name, begin, expected) in [
        ("now", Begin::Now, "5"),
        ("oldest", Begin::Oldest, "1"),
        ("at", Begin::At(Sequence::new(2)), "2"),
        ("since", Begin::Since(at), "3"),
    ] {
        let consumer = place
            .bus
            .consumer(name, "*")
            .begin(begin)
            .retry(at_once())
            .await
            .unwrap();
        if expected == "5" {
            place.publish(&["5"]).await;
        }
        assert_eq!(topic(&next(&consumer).await), expected, "{name}");
        drop(consumer);
        // It is remembered, whatever is said later.
        let again = place
            .bus
            .consumer(name, "*")
            .begin(Begin::Now)
            .retry(at_once())
            .await
            .unwrap();
        assert_eq!(topic(&next(&again).await), expected, "{name}");
    }
}

async fn a_paused_consumer_is_given_nothing(place: Place) {
    let consumer = place.bus.consumer("c", "*").await.unwrap();
    place.bus.pause("c").await.unwrap();
    place.publish(&["a"]).await;
    assert!(is_quiet(&consumer).await);
    assert!(place.bus.consumer_info("c").await.unwrap().paused);
    place.bus.resume("c").await.unwrap();
    next(&consumer).await.ack().await.unwrap();
    assert_eq!(place.bus.pause("nobody").await.unwrap_err().kind(), ErrorKind::NotFound);
}

async fn a_consumer_can_be_sent_back(place: Place) {
    let consumer = place.bus.consumer("c", "*").await.unwrap();
    place.publish(&["1", "2", "3"]).await;
    for _ in 0..2 {
        next(&consumer).await.ack().await.unwrap();
    }
    let third = next(&consumer).await;
    place.bus.seek("c", Begin::Oldest).await.unwrap();
    assert_eq!(third.ack().await.unwrap_err().kind(), ErrorKind::LeaseLost);
    for expected in ["1", "2", "3"] {
        let delivery = next(&consumer).await;
        assert_eq!(topic(&delivery), expected);
        delivery.ack().await.unwrap();
    }
    place.bus.pause("c").await.unwrap();
    place.publish(&["4", "5"]).await;
    place.bus.seek("c", Begin::At(Sequence::new(5))).await.unwrap();
    place.bus.resume("c").await.unwrap();
    assert_eq!(topic(&next(&consumer).await), "5");
}

async fn order_is_as_it_was_asked_for(place: Place) {
    for (name, order, at_once) in [
        ("key", Order::ByKey, 2),
        ("total", Order::Total, 1),
        ("none", Order::None, 4),
        // None of them was given a key.
        ("own", Order::ByOwnKey, 4),
    ] {
        let consumer = place.bus.consumer(name, "*").order(order).await.unwrap();
        place.publish(&["a", "a", "b", "b"]).await;
        let mut seen = Vec::new();
        let mut held = Vec::new();
        while seen.len() < 4 {
            for _ in 0..at_once {
                held.push(next(&consumer).await);
            }
            assert!(is_quiet(&consumer).await, "{name}");
            for delivery in held.drain(..) {
                seen.push(delivery.event().sequence());
                delivery.ack().await.unwrap();
            }
        }
        drop(consumer);
        if order != Order::ByKey {
            assert!(seen.is_sorted(), "{name} {seen:?}");
        }
    }
}

async fn what_expires_is_not_delivered(place: Place) {
    let consumer = place.bus.consumer("c", "*").await.unwrap();
    place.bus.pause("c").await.unwrap();
    let expires = place.clock.now() + Duration::from_secs(10);
    place.bus.publish(crate::event("a").expires(expires)).await.unwrap();
    place.publish(&["b"]).await;
    place.clock.advance(Duration::from_secs(10));
    place.bus.resume("c").await.unwrap();
    assert_eq!(topic(&next(&consumer).await), "b");
    let letters = place.bus.dead_letters("c", Sequence::START, 10).await.unwrap();
    assert_eq!((letters.len(), letters[0].reason.as_str()), (1, "expired"));
}

async fn what_expires_on_the_desk_is_not_delivered(place: Place) {
    let consumer = place.bus.consumer("c", "*").retry(at_once()).await.unwrap();
    let expires = place.clock.now() + Duration::from_secs(10);
    let soon = |topic: &'static str| crate::event(topic).expires(expires);
    place
        .bus
        .publish_all(vec![crate::event("a"), soon("b"), soon("c"), crate::event("d")])
        .await
        .unwrap();
    next(&consumer).await.ack().await.unwrap();
    // It was in somebody's hands in time.
    drop(next(&consumer).await);
    let again = next(&consumer).await;
    assert_eq!(topic(&again), "c");
    again.nack_after(Duration::ZERO, "not yet").await.unwrap();
    place.clock.advance(Duration::from_secs(10));
    let mut seen = vec![];
    for _ in 0..3 {
        let delivery = next(&consumer).await;
        seen.push((topic(&delivery).to_owned(), delivery.attempt()));
        delivery.ack().await.unwrap();
    }
    seen.sort();
    assert_eq!(seen, [("b".to_owned(), 2), ("c".to_owned(), 2), ("d".to_owned(), 1)]);
    assert_eq!(place.bus.dead_letters("c", Sequence::START, 10).await.unwrap(), []);

    let expires = place.clock.now() + Duration::from_secs(10);
    let e = crate::event("e").expires(expires);
    place
        .bus
        .publish_all(vec![crate::event("1"), e, crate::event("2")])
        .await
        .unwrap();
    next(&consumer).await.ack().await.unwrap();
    place.clock.advance(Duration::from_secs(10));
    let last = next(&consumer).await;
    assert_eq!(topic(&last), "2");
    last.ack().await.unwrap();
    let dead = timeout(LONG, async {
        loop {
            let letters = place.bus.dead_letters("c", Sequence::START, 10).await.unwrap();
            if let [letter] = &letters[..] {
                return (letter.event.topic().to_string(), letter.reason.as_str());
            }
            tokio::task::yield_now().await;
        }
    });
    assert_eq!(dead.await.unwrap(), ("e".to_owned(), "expired"));
}

async fn each_pattern_is_wanted_from_where_it_was_asked_for(place: Place) {
    place.publish(&["a", "b"]).await;
    let consumer = place.bus.consumer("c", "a").begin(Begin::Oldest).await.unwrap();
    next(&consumer).await.ack().await.unwrap();
    // Another that is open in this process with other patterns is not what was asked for.
    let error = place.bus.consumer("c", "b").with_these_patterns().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Conflict);
    drop(consumer);
    let both = place
        .bus
        .consumer_any("c", hive_bus::Patterns::new(["b", "a"]).unwrap());
    let consumer = both.with_these_patterns().await.unwrap();
    place.publish(&["a", "b"]).await;
    let mut seen = vec![];
    for _ in 0..2 {
        let delivery = next(&consumer).await;
        seen.push((topic(&delivery).to_owned(), delivery.event().sequence().get()));
        delivery.ack().await.unwrap();
    }
    seen.sort();
    assert_eq!(seen, [("a".to_owned(), 3), ("b".to_owned(), 4)]);
    assert!(is_quiet(&consumer).await);
}

async fn many_handlers_handle_everything_in_order(place: Place) {
    // Time flies here, but not for those who have something in hand.
    let consumer = place
        .bus
        .consumer("c", "load.>")
        .ack_wait(limits::ACK_WAIT_MAX)
        .await
        .unwrap();
    let seen: Arc<Mutex<BTreeMap<String, Vec<u64>>>> = Arc::default();
    let failed_once: Arc<Mutex<BTreeSet<Sequence>>> = Arc::default();
    let total = 2_000_u64;
    let handling = tokio::spawn({
        let (seen, failed_once) = (Arc::clone(&seen), Arc::clone(&failed_once));
        async move {
            let handler = |delivery: Arc<Delivery>| {
                let (seen, failed_once) = (Arc::clone(&seen), Arc::clone(&failed_once));
                async move {
                    let event = delivery.event();
                    tokio::task::yield_now().await;
                    if event.sequence().get().is_multiple_of(7) && failed_once.lock().unwrap().insert(event.sequence())
                    {
                        return Err(Failure::retryable("the first time it fails").with_retry_after(Duration::ZERO));
                    }
                    assert_ne!(event.sequence().get() % 100, 50, "a handler that panics");
                    let mut seen = seen.lock().unwrap();
                    seen.entry(event.topic().to_string())
                        .or_default()
                        .push(event.sequence().get());
                    Ok(())
                }
            };
            consumer.run(16, handler).await
        }
    });
    let mut published = BTreeMap::new();
    for start in (0..total).step_by(100) {
        let topics: Vec<String> = (start..start + 100)
            .map(|at| format!("load.{}", at * at % 13))
            .collect();
        let events = topics
            .iter()
            .map(|topic| NewEvent::new("load", topic.clone(), &()).unwrap())
            .collect();
        for (topic, sequence) in topics.iter().zip(place.bus.publish_all(events).await.unwrap()) {
            if sequence.get() % 100 != 50 {
                published
                    .entry(topic.clone())
                    .or_insert_with(Vec::new)
                    .push(sequence.get());
            }
        }
    }
    let done = async {
        // Backoff passes as fast as it is waited for.
        while seen.lock().unwrap().values().map(Vec::len).sum::<usize>() < published.values().map(Vec::len).sum() {
            place.clock.advance(Duration::from_secs(1));
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    };
    timeout(LONG, done).await.unwrap();
    let letters = async {
        loop {
            let letters = place.bus.dead_letters("c", Sequence::START, 256).await.unwrap();
            if letters.len() >= 20 {
                return letters;
            }
            place.clock.advance(Duration::from_secs(1));
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    };
    let letters = timeout(LONG, letters).await.unwrap();
    assert!(letters.iter().all(|letter| letter.event.sequence().get() % 100 == 50));
    place.bus.shutdown().await.unwrap();
    handling.await.unwrap().unwrap();
    assert_eq!(*seen.lock().unwrap(), published);
    let info = place.bus.consumer_info("c").await.unwrap();
    assert_eq!((info.taken, info.waiting, info.lag), (0, 0, 0));
}

async fn a_removed_consumer_ends(place: Place) {
    let consumer = place.bus.consumer("c", "*").await.unwrap();
    place.publish(&["a"]).await;
    let delivery = next(&consumer).await;
    assert!(place.bus.remove_consumer("c").await.unwrap());
    assert!(!place.bus.remove_consumer("c").await.unwrap());
    let error = timeout(LONG, consumer.next()).await.unwrap().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotFound);
    timeout(LONG, delivery.ack()).await.unwrap().unwrap_err();
    drop(consumer);
    let again = place.bus.consumer("c", "*").begin(Begin::Oldest).await.unwrap();
    next(&again).await.ack().await.unwrap();
}

async fn a_closed_bus_ends_consumers_and_settles_what_is_out(place: Place) {
    let consumer = place
        .bus
        .consumer("c", "*")
        .order(Order::None)
        .prefetch(8)
        .await
        .unwrap();
    place.publish(&["a"; 20]).await;
    let first = next(&consumer).await;
    let second = next(&consumer).await;
    place.bus.close();
    let error = loop {
        // What is on the desk may still be handed out, and is not lost.
        match timeout(LONG, consumer.next()).await.unwrap() {
            Ok(delivery) => drop(delivery),
            Err(error) => break error,
        }
    };
    assert_eq!(error.kind(), ErrorKind::ShuttingDown);
    first.ack().await.unwrap();
    drop((second, consumer));
    place.bus.shutdown().await.unwrap();
    let info = place.bus.consumer_info("c").await.unwrap();
    assert_eq!(info.taken, 0);
}

async fn names_and_patterns_are_checked(place: Place) {
    for name in ["", "a b", "ä", "a\0", &"x".repeat(129)] {
        let error = place.bus.consumer(name, "*").await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidInput, "{name:?}");
    }
    assert_eq!(
        place.bus.consumer("c", "a..b").await.unwrap_err().kind(),
        ErrorKind::InvalidInput
    );
    drop(place.bus.consumer("c", "a.*").await.unwrap());
    // Until the member has left, its handle may still be given.
    let other = timeout(LONG, async {
        loop {
            match place.bus.consumer("c", "b.*").await {
                Err(error) => return error,
                Ok(_) => tokio::task::yield_now().await,
            }
        }
    });
    let error = other.await.unwrap();
    assert_eq!((error.kind(), error.field("has")), (ErrorKind::Conflict, Some("a.*")));
    let consumer = place.bus.consumer("c", "b.*").with_these_patterns().await.unwrap();
    place.publish(&["a.1", "b.1"]).await;
    assert_eq!(topic(&next(&consumer).await), "b.1");
}

async fn what_nobody_has_begun_goes_to_who_comes(place: Place) {
    let consumer = place.bus.consumer("c", "*").retry(at_once()).await.unwrap();
    place.publish(&["a", "b"]).await;
    drop(next(&consumer).await);
    drop(consumer);
    let again = place.bus.consumer("c", "*").retry(at_once()).await.unwrap();
    let mut topics = vec![];
    for _ in 0..2 {
        let delivery = next(&again).await;
        topics.push(topic(&delivery).to_owned());
        delivery.ack().await.unwrap();
    }
    topics.sort();
    assert_eq!(topics, ["a", "b"]);
}

#[tokio::test]
async fn an_acknowledgement_commits_with_what_the_handler_wrote() {
    let place = Place::sqlite().await;
    let (db, _) = place.db.as_ref().unwrap();
    db.write(|tx| {
        tx.execute("CREATE TABLE seen (sequence INTEGER PRIMARY KEY)", &[])
            .map(drop)
    })
    .await
    .unwrap();
    let consumer = place
        .bus
        .consumer("c", "*")
        .ack_wait(Duration::from_secs(5))
        .await
        .unwrap();
    place.publish(&["a", "b"]).await;
    let delivery = Arc::new(next(&consumer).await);
    let write = |delivery: Arc<Delivery>, fail: bool| {
        let work = move |tx: &mut hive_core::db::Tx<'_>| {
            let sequence = delivery.event().sequence().get();
            tx.execute("INSERT INTO seen (sequence) VALUES (?1)", &[&sequence])?;
            delivery.ack_in(tx)?;
            if fail {
                return Err(hive_bus::Error::new(
                    ErrorKind::Conflict,
                    "the handler changed its mind",
                ));
            }
            Ok(())
        };
        db.write(work)
    };
    write(Arc::clone(&delivery), true).await.unwrap_err();
    write(Arc::clone(&delivery), false).await.unwrap();
    assert_eq!(
        write(Arc::clone(&delivery), false).await.unwrap_err().kind(),
        ErrorKind::Conflict
    );
    drop(delivery);
    let second = Arc::new(next(&consumer).await);
    assert_eq!(topic(&second), "b");
    // Another has it by then: nothing of the transaction is kept.
    place.pass(Duration::from_secs(5)).await;
    let again = next(&consumer).await;
    assert_eq!(
        write(Arc::clone(&second), false).await.unwrap_err().kind(),
        ErrorKind::LeaseLost
    );
    again.ack().await.unwrap();
    assert!(is_quiet(&consumer).await);
    let seen = db.read(|db| db.query("SELECT sequence FROM seen", &[], |row| row.get::<u64>(0)));
    assert_eq!(seen.await.unwrap(), [1]);
    assert_eq!(place.bus.dead_letters("c", Sequence::START, 10).await.unwrap(), []);

    let memory = Place::memory().await;
    let consumer = memory.bus.consumer("c", "*").await.unwrap();
    memory.publish(&["a"]).await;
    let delivery = Arc::new(next(&consumer).await);
    let error = db.write(move |tx| delivery.ack_in(tx)).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidInput);
}

#[tokio::test]
async fn who_opens_the_file_again_goes_on_at_once() {
    let place = TestDb::sqlite();
    let clock = ManualClock::new(NOW);
    {
        let (db, bus) = open(&place, &clock).await;
        let consumer = bus.consumer("c", "*").begin(Begin::Oldest).await.unwrap();
        bus.publish_all(vec![crate::event("a"), crate::event("b"), crate::event("c")])
            .await
            .unwrap();
        next(&consumer).await.ack().await.unwrap();
        let _in_hand = std::mem::ManuallyDrop::new(next(&consumer).await);
        // As a process ends that is killed: nobody gives anything back.
        std::mem::forget(consumer);
        db.close().await.unwrap();
    }
    let (_db, bus) = open(&place, &clock).await;
    let consumer = bus.consumer("c", "*").await.unwrap();
    for expected in ["b", "c"] {
        let delivery = next(&consumer).await;
        assert_eq!((topic(&delivery), delivery.attempt()), (expected, 1));
        delivery.ack().await.unwrap();
    }
}

/// Events for others, in bursts, cost a consumer nothing, and what comes for it after them is found.
#[tokio::test]
async fn who_waits_passes_over_what_is_for_others() {
    for place in [Place::memory().await, Place::sqlite().await] {
        let consumer = place.bus.consumer("c", "rare.*").await.unwrap();
        let mut subscription = place.bus.subscribe("rare.*").await.unwrap();
        for round in 0..3 {
            for _ in 0..12 {
                place.publish(&["common.x"; 1_000]).await;
            }
            let sequence = place.publish(&["rare.x"]).await[0];
            let delivery = next(&consumer).await;
            assert_eq!(delivery.event().sequence(), sequence, "round {round}");
            delivery.ack().await.unwrap();
            assert_eq!(
                timeout(LONG, subscription.next()).await.unwrap().unwrap().sequence(),
                sequence
            );
            let info = place.bus.consumer_info("c").await.unwrap();
            assert_eq!((info.cursor, info.taken), (sequence, 0));
        }
    }
}
