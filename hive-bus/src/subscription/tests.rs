use hive_core::clock::SystemClock;
use hive_core::db::{Db, Options};
use hive_core::id::EventId;
use tempfile::TempDir;

use super::*;
use crate::event::{Attributes, NewEvent};
use crate::log;
use crate::topic::Pattern;
use crate::transport::Database;

/// A log whose events are announced when and how a test says.
struct Fixture {
    db: Db,
    database: Database,
    _dir: TempDir,
}

impl Fixture {
    async fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let db = Db::open(Options::file(dir.path().join("hive.db")).migrations(&log::MIGRATIONS))
            .await
            .unwrap();
        Self {
            database: Database::open(db.clone(), Arc::new(SystemClock)).await.unwrap(),
            db,
            _dir: dir,
        }
    }

    async fn subscribe(&self) -> Subscription {
        let transport = Arc::new(self.database.clone());
        Subscribe::new(transport, Arc::default(), Ok(Pattern::ALL.into()))
            .await
            .unwrap()
    }

    /// Says that these are committed.
    fn announce(&self, events: Vec<Event>) {
        let (first, last) = (events[0].sequence(), events.last().unwrap().sequence());
        self.database.live().committed(first.before(), events, last);
    }

    async fn commit(&self, attributes: Vec<Attributes>) -> Vec<Event> {
        let insert = self.db.write(move |tx| {
            let mut events = Vec::new();
            for attributes in attributes.clone() {
                let number = u128::from(log::head(tx)?.get() + 1);
                let id = EventId::from_bytes(number.to_be_bytes());
                let row = log::row(id, Timestamp::EPOCH, &attributes);
                let sequence = log::insert_all(tx, &[row])?[0].unwrap();
                events.push(Event::published(sequence, id, Timestamp::EPOCH, attributes));
            }
            Ok(events)
        });
        insert.await.unwrap()
    }
}

fn small() -> Attributes {
    NewEvent::new("a", "a", &()).unwrap().attributes
}

/// Begins a read, drops the future that wanted it and lets the read come to its end.
async fn read_and_drop(subscription: &mut Subscription) {
    tokio::select! {
        biased;
        _ = subscription.next() => panic!("there was nothing to read"),
        () = std::future::ready(()) => {}
    }
    while !subscription.reading.as_ref().unwrap().task.is_finished() {
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn a_slow_subscriber_holds_one_page() {
    let fixture = Fixture::new().await;
    let mut slow = fixture.subscribe().await;
    let large = NewEvent::new("a", "a", &"x".repeat(limits::DATA_BYTES_MAX - 2))
        .unwrap()
        .attributes;
    for attributes in [vec![small(); 900], vec![large; 60], vec![small(); 900]] {
        fixture.announce(fixture.commit(attributes).await);
    }
    assert!(slow.page.is_empty());

    let largest = limits::DATA_BYTES_MAX + 4_096;
    for number in 1..=1_860 {
        assert_eq!(slow.next().await.unwrap().sequence(), Sequence::new(number));
        assert_eq!(slow.cursor(), Sequence::new(number));
        assert!(slow.page.len() < limits::PAGE_EVENTS_MAX);
        assert!(slow.page.iter().map(Event::bytes).sum::<usize>() < limits::PAGE_BYTES_MAX + largest);
    }
}

#[tokio::test]
async fn what_was_committed_after_a_read_began_is_not_taken_as_read() {
    let fixture = Fixture::new().await;
    let mut subscription = fixture.subscribe().await;
    for number in 1..=2 {
        fixture.commit(vec![small()]).await;
        fixture.database.live().committed_to(Sequence::new(number));
        if number == 1 {
            read_and_drop(&mut subscription).await;
        }
    }
    assert_eq!(subscription.next().await.unwrap().sequence(), Sequence::new(1));
    assert_eq!(subscription.next().await.unwrap().sequence(), Sequence::new(2));
}

#[tokio::test]
async fn what_a_dropped_read_found_is_not_taken_from_memory_as_well() {
    let fixture = Fixture::new().await;
    let mut subscription = fixture.subscribe().await;
    // The last look at the log, under way while something is still published.
    fixture.database.live().close();
    let committed = fixture.commit(vec![small()]).await;
    read_and_drop(&mut subscription).await;
    fixture.announce(committed);
    assert_eq!(subscription.next().await.unwrap().sequence(), Sequence::new(1));
    for _ in 0..2 {
        assert_eq!(subscription.next().await.unwrap_err().kind(), ErrorKind::ShuttingDown);
    }
}
