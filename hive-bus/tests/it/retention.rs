//! Forgetting, on either database.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use hive_bus::transport::Memory;
use hive_bus::{Begin, Bus, ErrorKind, NewEvent, Pattern, Pruned, Query, Retention, RetentionPolicy, Sequence};
use hive_core::clock::{Clock, ManualClock, SystemClock, Timestamp};
use hive_core::db::Db;
use hive_core::id::{EventId, IdSource};
use hive_core::lease;
use hive_core::rng::SystemRng;
use hive_core::testing::TestDb;
use hive_errors::RetryPolicy;
use tokio::time::timeout;

use crate::faulty::Faulty;
use crate::{NOW, all, event, sequences};

/// Longer than anything here takes, unless it hangs.
const LONG: Duration = Duration::from_secs(60);
const HOUR: Duration = Duration::from_secs(3_600);

struct Place {
    database: TestDb,
    clock: Arc<dyn Clock>,
}

impl Place {
    fn new(database: TestDb) -> Self {
        Self::by(database, Arc::new(SystemClock))
    }

    fn by(database: TestDb, clock: Arc<dyn Clock>) -> Self {
        Self { database, clock }
    }

    async fn open_db(&self) -> Db {
        let options = self.database.options().migrations(&lease::MIGRATIONS);
        let options = options.migrations(&hive_bus::MIGRATIONS).clock(Arc::clone(&self.clock));
        Db::open(options).await.unwrap()
    }

    fn ids(&self) -> IdSource {
        IdSource::new(Arc::clone(&self.clock), Arc::new(SystemRng))
    }

    async fn open(&self) -> (Db, Bus) {
        let db = self.open_db().await;
        let bus = Bus::open(db.clone(), Arc::clone(&self.clock), self.ids())
            .await
            .unwrap();
        (db, bus)
    }
}

async fn end(db: Db, bus: Bus) {
    timeout(LONG, bus.shutdown())
        .await
        .expect("the bus does not end")
        .unwrap();
    drop(bus);
    db.close().await.unwrap();
}

fn of(pattern: &'static str) -> Retention {
    Retention::of(Pattern::new(pattern).unwrap())
}

async fn retain(bus: &Bus, rules: impl IntoIterator<Item = Retention>) -> Pruned {
    bus.retain(&RetentionPolicy::new(rules).unwrap()).await.unwrap()
}

/// What is left.
async fn left(bus: &Bus) -> Vec<u64> {
    sequences(&all(bus, Query::new()).await)
}

async fn publish(bus: &Bus, topics: &[&'static str]) -> Vec<Sequence> {
    bus.publish_all(topics.iter().map(|topic| event(topic)).collect())
        .await
        .unwrap()
}

pub(super) async fn each_bound_lets_go_of_the_oldest(database: TestDb) {
    let place = Place::new(database);
    let (db, bus) = place.open().await;
    let now = place.clock.now();
    let ago = |hours: u32| Timestamp::from_micros(now.as_micros() - i64::try_from((HOUR * hours).as_micros()).unwrap());
    for hours in (1..=10).rev() {
        for topic in ["a", "b"] {
            bus.publish(event(topic).time(ago(hours))).await.unwrap();
        }
    }
    // Odd ones are on a, even ones on b. Nothing is said of b, so nothing of b goes.
    let pruned = retain(&bus, [of("a").age(HOUR * 8 + HOUR / 2)]).await;
    assert_eq!(
        (pruned.events, pruned.held_back, pruned.held_by.as_deref()),
        (2, 0, None)
    );
    assert_eq!(left(&bus).await[..4], [2, 4, 5, 6]);
    let pruned = retain(&bus, [of("b"), of("*").count(5)]).await;
    assert_eq!(pruned.events, 3);
    assert_eq!(
        left(&bus).await,
        [2, 4, 6, 8, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20]
    );
    let size = pruned.bytes / 3;
    let pruned = retain(&bus, [of("b").bytes(size * 4), of("a")]).await;
    assert_eq!((pruned.events, pruned.bytes), (6, size * 6));
    assert_eq!(left(&bus).await, [11, 13, 14, 15, 16, 17, 18, 19, 20]);
    // Whatever bound is broken.
    retain(&bus, [of("*").count(8).bytes(size * 100).age(HOUR * 4 + HOUR / 2)]).await;
    assert_eq!(left(&bus).await, [13, 14, 15, 16, 17, 18, 19, 20]);
    assert_eq!(retain(&bus, [of("*").count(8)]).await, Pruned::default());
    retain(&bus, [of("*").count(0)]).await;
    assert!(left(&bus).await.is_empty());
    assert_eq!(
        retain(&bus, [of("*").count(0).bytes(0).age(Duration::ZERO)]).await,
        Pruned::default()
    );
    end(db, bus).await;
}

pub(super) async fn consumers_hold_back_what_they_listen_to(database: TestDb) {
    let place = Place::new(database);
    let (db, bus) = place.open().await;
    let again = RetryPolicy::fixed(9, HOUR);
    let mail = bus.consumer("mail", "order.*").retry(again).await.unwrap();
    drop(bus.consumer("other", "elsewhere").await.unwrap());
    publish(&bus, &["order.1", "noise", "order.2", "order.3", "noise", "order.4"]).await;
    let everything = || [of("*").count(0)];

    let mut deliveries = Vec::new();
    for _ in 0..4 {
        deliveries.push(timeout(LONG, mail.next()).await.unwrap().unwrap());
    }
    let pruned = retain(&bus, everything()).await;
    assert_eq!(
        (pruned.events, pruned.held_back, pruned.held_by.as_deref()),
        (2, 4, Some("mail"))
    );
    assert_eq!(left(&bus).await, [1, 3, 4, 6]);

    // Finished from the front, failed in the middle, finished behind that.
    let mut deliveries = deliveries.into_iter();
    deliveries.next().unwrap().ack().await.unwrap();
    deliveries.next().unwrap().nack("not now").await.unwrap();
    for delivery in deliveries {
        delivery.ack().await.unwrap();
    }
    let pruned = retain(&bus, everything()).await;
    assert_eq!((pruned.events, pruned.held_back), (3, 1));
    assert_eq!(left(&bus).await, [3]);

    // Told to, it goes all the same; a consumer for whom there is no event any more passes over it.
    bus.pause("mail").await.unwrap();
    publish(&bus, &["order.5", "order.6"]).await;
    assert_eq!(retain(&bus, everything()).await.held_back, 3);
    let pruned = retain(&bus, [of("order.5").count(0).even_unread(), of("*").count(0)]).await;
    assert_eq!((pruned.events, pruned.held_back), (1, 2));
    assert_eq!(left(&bus).await, [3, 8]);
    drop(mail);
    assert!(bus.remove_consumer("mail").await.unwrap());
    assert_eq!(retain(&bus, everything()).await.events, 2);

    // One that begins with the oldest begins at what is left.
    publish(&bus, &["order.7"]).await;
    let late = bus.consumer("late", "*").begin(Begin::Oldest).await.unwrap();
    let delivery = timeout(LONG, late.next()).await.unwrap().unwrap();
    assert_eq!(delivery.event().topic().as_str(), "order.7");
    assert_eq!(retain(&bus, everything()).await.held_by.as_deref(), Some("late"));
    delivery.ack().await.unwrap();
    assert_eq!(retain(&bus, everything()).await.held_back, 0);
    drop(late);
    end(db, bus).await;
}

pub(super) async fn dead_letters_outlive_their_events(database: TestDb) {
    let place = Place::new(database);
    let (db, bus) = place.open().await;
    let consumer = bus.consumer("mail", "*").await.unwrap();
    let published = publish(&bus, &["a", "b"]).await;
    timeout(LONG, consumer.next())
        .await
        .unwrap()
        .unwrap()
        .reject("never")
        .await
        .unwrap();
    timeout(LONG, consumer.next())
        .await
        .unwrap()
        .unwrap()
        .ack()
        .await
        .unwrap();
    assert_eq!(retain(&bus, [of("*").count(0)]).await.events, 2);
    assert_eq!(bus.redrive("mail", &published).await.unwrap(), 1);
    let again = timeout(LONG, consumer.next()).await.unwrap().unwrap();
    assert_eq!(
        (again.event().topic().as_str(), again.event().sequence()),
        ("a", published[0])
    );
    again.ack().await.unwrap();
    drop(consumer);
    end(db, bus).await;
}

pub(super) async fn what_is_missing_is_passed_over(database: TestDb) {
    let place = Place::new(database);
    let (db, bus) = place.open().await;
    let mut behind = bus.subscribe("*").after(Sequence::START).await.unwrap();
    for _ in 0..4 {
        publish(&bus, &["a", "b", "a", "b", "a"]).await;
    }
    let first = timeout(LONG, behind.next()).await.unwrap().unwrap();
    assert_eq!(first.sequence(), Sequence::new(1));
    drop(behind);
    retain(&bus, [of("b"), of("*").count(2)]).await;
    let expected = [2, 4, 7, 9, 12, 14, 17, 18, 19, 20];
    assert_eq!(left(&bus).await, expected);
    // From anywhere, also from within what is missing.
    for (from, skip) in [(0, 0), (1, 0), (2, 1), (5, 2), (6, 2), (16, 6)] {
        let mut subscription = bus.subscribe("*").after(Sequence::new(from)).await.unwrap();
        for sequence in expected.iter().skip(skip) {
            let event = timeout(LONG, subscription.next()).await.unwrap().unwrap();
            assert_eq!(event.sequence().get(), *sequence, "from {from}");
        }
        assert_eq!(subscription.cursor(), Sequence::new(20));
    }
    let page = bus
        .history(Query::new().after(Sequence::new(2)).limit(2))
        .await
        .unwrap();
    assert_eq!(sequences(&page.events), [4, 7]);
    // All of it, and whoever waits at the end still gets what comes.
    let mut live = bus.subscribe("*").await.unwrap();
    let mut old = bus.subscribe("*").after(Sequence::new(3)).await.unwrap();
    retain(&bus, [of("*").count(0)]).await;
    assert_eq!(bus.history(Query::new()).await.unwrap().next, None);
    let next = publish(&bus, &["c"]).await[0];
    assert_eq!(next, Sequence::new(21));
    for subscription in [&mut live, &mut old] {
        let event = timeout(LONG, subscription.next()).await.unwrap().unwrap();
        assert_eq!(event.sequence(), next);
    }
    end(db, bus).await;
}

pub(super) async fn sequences_are_not_given_again(database: TestDb) {
    let place = Place::new(database);
    let mut last = Sequence::START;
    let id: EventId = place.ids().next();
    let mut cursor = Sequence::START;
    for round in 0..3 {
        let (db, bus) = place.open().await;
        // Where it stood before everything was removed.
        let mut subscription = bus.subscribe("*").after(cursor).await.unwrap();
        let sequence = bus.publish(event("a").id(id)).await.unwrap();
        assert!(sequence > last, "round {round}: {sequence} after {last}");
        // Known for as long as it is there, and new when it is not.
        assert_eq!(bus.publish(event("a").id(id)).await.unwrap(), sequence);
        let heard = timeout(LONG, subscription.next()).await.unwrap().unwrap();
        assert_eq!(heard.sequence(), sequence);
        cursor = subscription.cursor();
        last = sequence;
        retain(&bus, [of("*").count(0)]).await;
        end(db, bus).await;
    }
}

pub(super) async fn many_events_go_in_many_transactions(database: TestDb) {
    let place = Place::new(database);
    let (db, bus) = place.open().await;
    for _ in 0..6 {
        let events = (0..1_000)
            .map(|at| event(if at % 10 == 0 { "kept" } else { "a" }))
            .collect();
        bus.publish_all(events).await.unwrap();
    }
    let commits = db.stats().commits;
    let policy = RetentionPolicy::new([of("kept"), of("*").count(100)]).unwrap();
    // Two at the same time remove each event once.
    let (one, other) = tokio::join!(bus.retain(&policy), bus.retain(&policy));
    assert_eq!(one.unwrap().events + other.unwrap().events, 5_300);
    let commits = db.stats().commits - commits;
    assert!(commits >= 11, "{commits} transactions for 5300 events");
    let rest = all(&bus, Query::new().limit(1_000)).await;
    assert_eq!(rest.len(), 700);
    assert_eq!(rest.iter().filter(|event| event.topic().as_str() == "a").count(), 100);
    end(db, bus).await;
}

pub(super) async fn whoever_goes_back_finds_what_was_there(database: TestDb) {
    let place = Place::new(database);
    let (db, bus) = place.open().await;
    drop(bus.consumer("mail", "*").await.unwrap());
    let policy = RetentionPolicy::new([of("*").count(0)]).unwrap();
    for round in 0..6 {
        for _ in 0..4 {
            publish(&bus, &["a"; 500]).await;
        }
        bus.seek("mail", Begin::Now).await.unwrap();
        let pruning = tokio::spawn({
            let (bus, policy) = (bus.clone(), policy.clone());
            async move { bus.retain(&policy).await.unwrap() }
        });
        let mut before = left(&bus).await.len();
        while round % 3 > 0 && before == 2_000 {
            before = left(&bus).await.len();
        }
        bus.seek("mail", Begin::Oldest).await.unwrap();
        // From here on it needs all that there is.
        let there: BTreeSet<u64> = left(&bus).await.into_iter().collect();
        let pruned = timeout(LONG, pruning).await.unwrap().unwrap();
        let after: BTreeSet<u64> = left(&bus).await.into_iter().collect();
        let gone = there.difference(&after).count();
        assert_eq!(gone, 0, "round {round}: {pruned:?}");
        bus.seek("mail", Begin::Now).await.unwrap();
        retain(&bus, [of("*").count(0)]).await;
        assert!(left(&bus).await.is_empty());
    }
    end(db, bus).await;
}

pub(super) async fn the_relay_is_waited_for(database: TestDb) {
    let place = Place::new(database);
    let target = Faulty::new(Arc::clone(&place.clock));
    target.fault().away = true;
    let db = place.open_db().await;
    let bus = Bus::open_with(
        db.clone(),
        Arc::new(target.clone()),
        Arc::clone(&place.clock),
        place.ids(),
    );
    let bus = bus.await.unwrap();
    let published = publish(&bus, &["a"; 10]).await;
    let pruned = retain(&bus, [of("*").count(0)]).await;
    assert_eq!(
        (pruned.held_back, pruned.held_by.as_deref()),
        (10, Some("relay/faulty"))
    );
    target.fault().away = false;
    let gone = async {
        while retain(&bus, [of("*").count(0)]).await.held_back > 0 {
            // A pass shares its locks on consumers with the next one. Without a pause between them the relay might never get to
            // write down how far it came.
            tokio::time::sleep(Duration::from_millis(300)).await;
        }
    };
    timeout(LONG, gone).await.expect("the relay still holds them back");
    assert!(left(&bus).await.is_empty());
    assert_eq!(
        sequences(&target.all().await),
        published.iter().map(|one| one.get()).collect::<Vec<_>>()
    );
    end(db, bus).await;
}

#[tokio::test]
async fn what_is_kept_in_the_background_goes_by_the_clock() {
    let clock = ManualClock::new(NOW);
    let place = Place::by(TestDb::sqlite(), Arc::new(clock.clone()));
    let (db, bus) = place.open().await;
    publish(&bus, &["a", "a", "a"]).await;
    let policy = RetentionPolicy::new([of("*").count(1)]).unwrap();
    bus.keep(policy.clone(), HOUR).await.unwrap();
    let twice = bus.keep(policy.clone(), HOUR).await.unwrap_err();
    assert_eq!(twice.kind(), ErrorKind::Conflict);
    // Not at once.
    clock.until_sleepers(1).await;
    clock.advance(Duration::from_secs(59));
    assert_eq!(left(&bus).await.len(), 3);
    clock.advance(Duration::from_secs(1));
    until_left(&bus, 1).await;
    publish(&bus, &["a"]).await;
    clock.until_sleepers(1).await;
    clock.advance(HOUR - Duration::from_secs(1));
    assert_eq!(left(&bus).await.len(), 2);
    clock.until_sleepers(1).await;
    clock.advance(Duration::from_secs(1));
    until_left(&bus, 1).await;
    end(db, bus).await;

    let memory = Bus::over(
        Arc::new(Memory::new(place.clock.clone())),
        place.clock.clone(),
        place.ids(),
    );
    assert_eq!(
        memory.retain(&policy).await.unwrap_err().kind(),
        ErrorKind::InvalidInput
    );
    assert_eq!(
        memory.keep(policy, HOUR).await.unwrap_err().kind(),
        ErrorKind::InvalidInput
    );
}

async fn until_left(bus: &Bus, count: usize) {
    let gone = async {
        while left(bus).await.len() > count {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    timeout(LONG, gone).await.expect("nothing is removed");
}

#[cfg(feature = "postgres")]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_process_removes_for_all() {
    let place = Place::new(TestDb::postgres());
    let (one_db, one) = place.open().await;
    let (other_db, other) = place.open().await;
    let policy = |count: u64| RetentionPolicy::new([of("*").count(count)]).unwrap();
    one.keep(policy(10), Duration::from_secs(1)).await.unwrap();
    publish(&one, &["a"; 50]).await;
    until_left(&one, 10).await;
    other.keep(policy(5), Duration::from_secs(1)).await.unwrap();
    publish(&other, &["a"; 50]).await;
    until_left(&other, 10).await;
    assert_eq!(left(&other).await.len(), 10, "the first one does it");
    // And when it goes, the other does.
    end(one_db, one).await;
    until_left(&other, 5).await;
    end(other_db, other).await;
}

#[tokio::test]
async fn a_trace_without_its_beginning_has_more_roots() {
    let place = Place::new(TestDb::sqlite());
    let (db, bus) = place.open().await;
    let mut cause: Option<EventId> = None;
    for topic in ["a.1", "a.2", "a.3"] {
        let id: EventId = place.ids().next();
        let mut event = NewEvent::new("test", topic, &()).unwrap().id(id).correlation("run");
        if let Some(cause) = cause {
            event = event.causation(cause);
        }
        bus.publish(event).await.unwrap();
        cause = Some(id);
    }
    assert_eq!(
        bus.trace("run").await.unwrap().to_string(),
        "1 a.1\n  2 a.2\n    3 a.3\n"
    );
    retain(&bus, [of("*").count(2)]).await;
    assert_eq!(bus.trace("run").await.unwrap().to_string(), "2 a.2\n  3 a.3\n");
    end(db, bus).await;
}
