//! Relaying from either database to another transport, which fails in every way it can.

#[cfg(all(feature = "nats", feature = "redis"))]
mod servers;

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use hive_bus::transport::{Database, Transport};
use hive_bus::{Begin, Bus, ErrorKind, Event, NewEvent, Query, Sequence, limits};
use hive_core::clock::{Clock, ManualClock, SystemClock};
use hive_core::db::Db;
use hive_core::id::IdSource;
use hive_core::lease;
use hive_core::rng::SystemRng;
use hive_core::testing::TestDb;
use tokio::task::JoinSet;
use tokio::time::timeout;

use crate::faulty::Faulty;
use crate::{NOW, all, event, sequences};

/// Longer than anything here takes, unless it hangs.
const LONG: Duration = Duration::from_secs(60);

/// A database and what it is relayed to, for as many processes as a test opens.
struct Place {
    database: TestDb,
    clock: Arc<dyn Clock>,
    target: Faulty,
}

impl Place {
    fn new(database: TestDb) -> Self {
        Self::by(database, Arc::new(SystemClock))
    }

    fn by(database: TestDb, clock: Arc<dyn Clock>) -> Self {
        let target = Faulty::new(Arc::clone(&clock));
        Self {
            database,
            clock,
            target,
        }
    }

    async fn open(&self) -> (Db, Bus) {
        self.open_to(&self.target).await
    }

    async fn open_to(&self, target: &Faulty) -> (Db, Bus) {
        let db = self.open_db().await;
        let bus = Bus::open_with(
            db.clone(),
            Arc::new(target.clone()),
            Arc::clone(&self.clock),
            self.ids(),
        );
        (db.clone(), bus.await.unwrap())
    }

    async fn open_db(&self) -> Db {
        let options = self.database.options().migrations(&lease::MIGRATIONS);
        let options = options.migrations(&hive_bus::MIGRATIONS).clock(Arc::clone(&self.clock));
        Db::open(options).await.unwrap()
    }

    fn ids(&self) -> IdSource {
        IdSource::new(Arc::clone(&self.clock), Arc::new(SystemRng))
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

/// As a process ends that is killed: nothing is told to anybody.
async fn kill(db: Db, bus: Bus) {
    drop(bus);
    db.close().await.unwrap();
}

/// Waits until the transport has everything up to `last`.
async fn arrived(target: &Faulty, last: Sequence) {
    let mut head = target.live().follow();
    let there = head.wait_for(|head| head.sequence >= last);
    timeout(LONG, there).await.expect("it is not relayed").unwrap();
}

async fn last(bus: &Bus) -> Sequence {
    bus.publish(event("last")).await.unwrap()
}

/// Exactly what was committed has arrived, in the same order.
async fn assert_all_arrived(bus: &Bus, target: &Faulty) {
    let committed = all(bus, Query::new().limit(1_000)).await;
    arrived(target, committed.last().unwrap().sequence()).await;
    assert_eq!(target.all().await, committed);
}

fn some(prefix: &str, count: usize) -> Vec<NewEvent> {
    let some = |at: usize| NewEvent::new("some", format!("{prefix}.{}", at % 7), &at).unwrap();
    (0..count).map(some).collect()
}

pub(super) async fn everything_committed_arrives_once_and_in_order(database: TestDb) {
    let place = Place::new(database);
    let (db, bus) = place.open().await;
    let mut publishers = JoinSet::new();
    for publisher in 0..4 {
        let (db, bus) = (db.clone(), bus.clone());
        publishers.spawn(async move {
            for round in 0..25 {
                let topic = format!("load.{publisher}");
                bus.publish_all(some(&topic, 10)).await.unwrap();
                bus.publish(NewEvent::new("load", topic.clone(), &round).unwrap())
                    .await
                    .unwrap();
                let own = bus.clone();
                let undone = db.write(move |tx| {
                    own.publish_all_in(tx, some("undone", 3))?;
                    Err::<(), _>(hive_bus::Error::new(ErrorKind::Cancelled, "changed its mind"))
                });
                undone.await.unwrap_err();
                let own = bus.clone();
                let topic = format!("done.{publisher}");
                db.write(move |tx| own.publish_all_in(tx, some(&topic, 3)))
                    .await
                    .unwrap();
            }
        });
    }
    while let Some(published) = publishers.join_next().await {
        published.unwrap();
    }
    assert_all_arrived(&bus, &place.target).await;
    assert_eq!(place.target.all().await.len(), 4 * 25 * 14);
    end(db, bus).await;
}

pub(super) async fn subscribers_and_consumers_read_from_the_transport(database: TestDb) {
    let place = Place::new(database);
    let (db, bus) = place.open().await;
    let mut subscription = bus.subscribe("order.*").await.unwrap();
    let consumer = bus.consumer("mail", "order.*").await.unwrap();
    let published = bus.publish(event("order.berlin")).await.unwrap();
    let heard = timeout(LONG, subscription.next()).await.unwrap().unwrap();
    assert_eq!(heard.sequence(), published);
    let delivery = Arc::new(timeout(LONG, consumer.next()).await.unwrap().unwrap());
    assert_eq!(delivery.event(), &heard);
    // Its state is not in the database.
    let own = Arc::clone(&delivery);
    let error = db.write(move |tx| own.ack_in(tx)).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidInput);
    Arc::into_inner(delivery).unwrap().ack().await.unwrap();
    assert!(place.target.load("mail").await.unwrap().is_some());
    assert_eq!(bus.consumer_info("mail").await.unwrap().cursor, published);
    assert_eq!(bus.history(Query::new()).await.unwrap().events, [heard]);
    drop((subscription, consumer));
    end(db, bus).await;
}

pub(super) async fn a_relay_goes_on_after_a_restart(database: TestDb) {
    let place = Place::new(database);
    for round in 0..4 {
        let (db, bus) = place.open().await;
        bus.publish_all(some("a", 300)).await.unwrap();
        bus.publish_all(some("b", 300)).await.unwrap();
        if round % 2 == 0 {
            end(db, bus).await;
            assert_eq!(
                place.target.all().await.len(),
                (round + 1) * 600,
                "a shutdown takes along what is committed"
            );
        } else {
            assert_all_arrived(&bus, &place.target).await;
            end(db, bus).await;
        }
    }
    let (db, bus) = place.open().await;
    assert_all_arrived(&bus, &place.target).await;
    end(db, bus).await;
    let firsts: BTreeSet<Sequence> = place.target.calls().iter().map(|(first, _)| *first).collect();
    assert_eq!(firsts.len(), place.target.calls().len(), "something was relayed again");
}

pub(super) async fn a_relay_goes_on_after_a_kill(database: TestDb) {
    let place = Place::new(database);
    for _ in 0..6 {
        let (db, bus) = place.open().await;
        bus.publish_all(some("a", 200)).await.unwrap();
        let before = bus.publish_all(some("b", 200)).await.unwrap();
        arrived(&place.target, before[0]).await;
        // What was relayed is not written down yet; of what was published, something may not have been relayed.
        bus.publish_all(some("c", 200)).await.unwrap();
        kill(db, bus).await;
        release_lease(&place).await;
    }
    let (db, bus) = place.open().await;
    assert_all_arrived(&bus, &place.target).await;
    assert_eq!(place.target.all().await.len(), 6 * 600);
    let caught_up = async {
        while bus.consumer_info("relay/faulty").await.unwrap().lag > 0 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    timeout(LONG, caught_up).await.expect("how far it came is written down");
    end(db, bus).await;
}

/// The time of a process that was killed is over.
async fn release_lease(place: &Place) {
    let db = place.open_db().await;
    db.write(|tx| {
        tx.execute("UPDATE hive_lease SET until_us = 0, granted_us = 0", &[])
            .map(drop)
    })
    .await
    .unwrap();
    db.close().await.unwrap();
}

pub(super) async fn answers_may_be_lost(database: TestDb) {
    let place = Place::new(database);
    let (db, bus) = place.open().await;
    for _ in 0..10 {
        place.target.fault().answers_lost = 2;
        bus.publish_all(some("a", 50)).await.unwrap();
        let middle = last(&bus).await;
        arrived(&place.target, middle).await;
        place.target.fault().answers_lost = 0;
        let end = last(&bus).await;
        arrived(&place.target, end).await;
    }
    assert_all_arrived(&bus, &place.target).await;
    end(db, bus).await;
}

pub(super) async fn a_transport_that_was_away_is_caught_up_with(database: TestDb) {
    let place = Place::new(database);
    let (db, bus) = place.open().await;
    let before = last(&bus).await;
    arrived(&place.target, before).await;
    place.target.fault().away = true;
    let asked = place.target.asked();
    while place.target.asked() < asked + 5 {
        // Nobody who publishes notices.
        timeout(LONG, bus.publish_all(some("a", 50))).await.unwrap().unwrap();
    }
    assert_eq!(place.target.all().await.len(), 1);
    place.target.fault().away = false;
    assert_all_arrived(&bus, &place.target).await;
    assert_pages_are_bounded(&place.target);
    end(db, bus).await;
}

fn assert_pages_are_bounded(target: &Faulty) {
    let largest = target.calls().iter().map(|(_, count)| *count).max().unwrap();
    assert!(largest <= limits::BATCH_MAX, "{largest} events were in memory");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_minute_away_is_caught_up_with() {
    let clock = ManualClock::new(NOW);
    let place = Place::by(TestDb::sqlite(), Arc::new(clock.clone()));
    let (db, bus) = place.open().await;
    let before = last(&bus).await;
    arrived(&place.target, before).await;
    place.target.fault().away = true;
    let asked = place.target.asked();
    for _ in 0..120 {
        timeout(LONG, bus.publish_all(some("a", 50))).await.unwrap().unwrap();
        clock.until_sleepers(1).await;
        clock.advance(Duration::from_millis(500));
    }
    let tried = place.target.asked() - asked;
    assert!((2..=121).contains(&tried), "{tried} attempts in a minute");
    assert_eq!(place.target.all().await.len(), 1);
    place.target.fault().away = false;
    clock.until_sleepers(1).await;
    clock.advance(limits::RELAY_BACKOFF_MAX);
    assert_all_arrived(&bus, &place.target).await;
    assert_pages_are_bounded(&place.target);
    end(db, bus).await;
}

pub(super) async fn a_refused_event_is_a_dead_letter_and_the_others_go_on(database: TestDb) {
    let place = Place::new(database);
    place.target.fault().refused = BTreeSet::from(["large".to_owned()]);
    let (db, bus) = place.open().await;
    let mut events = some("a", 20);
    events.insert(3, NewEvent::new("large", "large", &"first").unwrap());
    events.insert(12, NewEvent::new("large", "large", &"second").unwrap());
    let published = bus.publish_all(events).await.unwrap();
    let after = last(&bus).await;
    arrived(&place.target, after).await;
    let refused = [published[3], published[12]];
    let expected: Vec<Event> = all(&bus, Query::new()).await;
    let expected: Vec<Event> = expected
        .into_iter()
        .filter(|event| !refused.contains(&event.sequence()))
        .collect();
    assert_eq!(place.target.all().await, expected);

    let relay = "relay/faulty";
    let letters = bus.dead_letters(relay, Sequence::START, 10).await.unwrap();
    let dead: Vec<Event> = letters.iter().map(|letter| letter.event.clone()).collect();
    assert_eq!(sequences(&dead), refused.map(Sequence::get));
    assert_eq!(
        letters[0].mishaps[0].error,
        "too large for this transport (topic=large)"
    );
    assert_eq!(letters[0].reason.as_str(), "rejected");

    // As long as it is refused, it comes back.
    assert_eq!(bus.redrive(relay, &refused[..1]).await.unwrap(), 1);
    let after = last(&bus).await;
    arrived(&place.target, after).await;
    let letters = bus.dead_letters(relay, Sequence::START, 10).await.unwrap();
    assert_eq!(letters.len(), 2);
    assert_eq!(letters[1].event.id(), dead[0].id());
    let again = letters[1].event.sequence();
    assert!(again > refused[1]);

    place.target.fault().refused.clear();
    assert_eq!(bus.redrive(relay, &[again, refused[1]]).await.unwrap(), 2);
    assert_eq!(bus.redrive(relay, &[again]).await.unwrap(), 0);
    let after = last(&bus).await;
    arrived(&place.target, after).await;
    assert_eq!(bus.dead_letters(relay, Sequence::START, 10).await.unwrap(), []);
    // Each is there once, at the end, with its id; in the database as well.
    assert_all_arrived(&bus, &place.target).await;
    let found = all(&bus, Query::new().event_type("large")).await;
    let ids: Vec<_> = found.iter().map(Event::id).collect();
    assert_eq!(ids, [dead[1].id(), dead[0].id()]);
    assert_eq!(
        bus.redrive("relay/other", &refused).await.unwrap_err().kind(),
        ErrorKind::NotFound
    );
    end(db, bus).await;
}

pub(super) async fn a_transport_that_lost_everything_is_given_it_again(database: TestDb) {
    let mut place = Place::new(database);
    let (db, bus) = place.open().await;
    bus.publish_all(some("a", 100)).await.unwrap();
    assert_all_arrived(&bus, &place.target).await;
    end(db, bus).await;
    place.target = Faulty::new(Arc::clone(&place.clock));
    let (db, bus) = place.open().await;
    bus.publish_all(some("b", 100)).await.unwrap();
    assert_all_arrived(&bus, &place.target).await;
    assert_eq!(place.target.all().await.len(), 200);
    end(db, bus).await;
}

pub(super) async fn a_transport_of_another_database_is_not_fed(database: TestDb) {
    let clock = ManualClock::new(NOW);
    let place = Place::by(database, Arc::new(clock.clone()));
    let other = Place::by(TestDb::sqlite(), Arc::new(clock.clone()));
    let (other_db, other_bus) = other.open_to(&place.target).await;
    other_bus.publish_all(some("other", 50)).await.unwrap();
    assert_all_arrived(&other_bus, &place.target).await;
    end(other_db, other_bus).await;

    let (db, bus) = place.open().await;
    let calls = place.target.calls().len();
    bus.publish_all(some("own", 20)).await.unwrap();
    // Tried a few times, and nothing was given to it that it would have left out.
    let asked = place.target.asked();
    let tried = async {
        while place.target.asked() < asked + 5 {
            clock.advance(Duration::from_millis(500));
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    timeout(LONG, tried).await.expect("nobody tries");
    assert_eq!(place.target.calls().len(), calls);
    assert_eq!(bus.consumer_info("relay/faulty").await.unwrap().lag, 20);
    end(db, bus).await;
}

pub(super) async fn a_relay_is_a_consumer_to_whoever_looks(database: TestDb) {
    let place = Place::new(database);
    let (db, bus) = place.open().await;
    let relay = "relay/faulty";
    drop(bus.consumer("mail", "*").await.unwrap());
    drop(bus.consumer("taxes", "*").await.unwrap());
    assert_eq!(bus.consumers("", 10).await.unwrap(), ["mail", relay, "taxes"]);
    assert_eq!(bus.consumers("mail", 1).await.unwrap(), [relay]);
    assert_eq!(bus.consumers(relay, 10).await.unwrap(), ["taxes"]);

    let first = last(&bus).await;
    arrived(&place.target, first).await;
    bus.pause(relay).await.unwrap();
    assert!(bus.consumer_info(relay).await.unwrap().paused);
    // Whether it has seen that, one more event tells, which may still go through.
    bus.publish_all(some("a", 10)).await.unwrap();
    let paused = async {
        while bus.consumer_info(relay).await.unwrap().lag < 10 {
            bus.publish_all(some("a", 10)).await.unwrap();
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    timeout(LONG, paused).await.expect("it does not stop");
    bus.resume(relay).await.unwrap();
    assert_all_arrived(&bus, &place.target).await;
    // How far it came is written down although others touched the record before that was due.
    for _ in 0..3 {
        bus.publish_all(some("a", 3)).await.unwrap();
        assert_all_arrived(&bus, &place.target).await;
        bus.resume(relay).await.unwrap();
    }
    let noted = async {
        while bus.consumer_info(relay).await.unwrap().lag > 0 {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    timeout(LONG, noted).await.expect("it is not written down");

    let error = bus.seek(relay, Begin::Oldest).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidInput);
    let error = bus.consumer(relay, "*").await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidInput);
    // Forgotten, it is there again as soon as there is something to relay.
    assert!(bus.remove_consumer(relay).await.unwrap());
    let last = last(&bus).await;
    arrived(&place.target, last).await;
    let back = async {
        while bus.consumer_info(relay).await.is_err() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    timeout(LONG, back).await.expect("it is not remembered");
    end(db, bus).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_transport_that_hangs_does_not_keep_a_bus_from_ending() {
    let place = Place::new(TestDb::sqlite());
    let stuck = place.target.other_way();
    let (db, bus) = place.open_to(&stuck).await;
    let first = last(&bus).await;
    arrived(&place.target, first).await;
    stuck.hold();
    bus.publish_all(some("a", 50)).await.unwrap();
    end(db, bus).await;
    assert_eq!(place.target.all().await.len(), 1);
    stuck.release();
    let (db, bus) = place.open().await;
    assert_all_arrived(&bus, &place.target).await;
    assert_eq!(place.target.all().await.len(), 51);
    end(db, bus).await;
}

#[tokio::test]
async fn a_database_is_not_relayed_to() {
    let place = Place::new(TestDb::sqlite());
    let db = place.open_db().await;
    let transport = Database::open(db.clone(), Arc::clone(&place.clock)).await.unwrap();
    let bus = Bus::open_with(db.clone(), Arc::new(transport), Arc::clone(&place.clock), place.ids());
    assert_eq!(bus.await.unwrap_err().kind(), ErrorKind::InvalidInput);
    db.close().await.unwrap();
}

#[cfg(feature = "postgres")]
mod processes {
    use hive_bus::transport::Memory;

    use super::*;

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn one_relays_at_a_time_and_another_takes_over() {
        let place = Place::new(TestDb::postgres());
        let mut open = vec![place.open().await, place.open().await, place.open().await];
        while let Some((db, bus)) = open.pop() {
            for (_, other) in &open {
                other.publish_all(some("a", 100)).await.unwrap();
            }
            bus.publish_all(some("b", 100)).await.unwrap();
            let last = last(&bus).await;
            arrived(&place.target, last).await;
            assert_all_arrived(&bus, &place.target).await;
            // In whatever order they come by the lease: one of them goes each time.
            end(db, bus).await;
        }
        let firsts: BTreeSet<Sequence> = place.target.calls().iter().map(|(first, _)| *first).collect();
        assert_eq!(firsts.len(), place.target.calls().len(), "something was relayed by two");
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn one_that_stood_still_adds_nothing_and_steps_back() {
        let place = Place::new(TestDb::postgres());
        let slow = place.target.other_way();
        let (db, bus) = place.open_to(&slow).await;
        let first = last(&bus).await;
        arrived(&place.target, first).await;
        slow.hold();
        bus.publish_all(some("a", 50)).await.unwrap();
        // Its lease runs out, and another takes it.
        release_lease(&place).await;
        let (other_db, other) = place.open().await;
        bus.publish_all(some("b", 50)).await.unwrap();
        let middle = last(&other).await;
        arrived(&place.target, middle).await;
        // What it had on the way arrives late.
        slow.release();
        bus.publish_all(some("c", 50)).await.unwrap();
        assert_all_arrived(&other, &place.target).await;
        // And it is there when it is needed again.
        end(other_db, other).await;
        bus.publish_all(some("d", 50)).await.unwrap();
        assert_all_arrived(&bus, &place.target).await;
        end(db, bus).await;
    }

    #[tokio::test]
    async fn the_table_of_leases_is_asked_for() {
        let database = TestDb::postgres();
        let db = Db::open(database.options().migrations(&hive_bus::MIGRATIONS))
            .await
            .unwrap();
        let clock: Arc<dyn Clock> = Arc::new(SystemClock);
        let target = Arc::new(Memory::new(Arc::clone(&clock)));
        let error = Bus::open_with(db.clone(), target, clock, IdSource::system())
            .await
            .unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Storage);
        assert!(error.hint().contains("lease::MIGRATIONS"), "{error:?}");
        db.close().await.unwrap();
    }
}
