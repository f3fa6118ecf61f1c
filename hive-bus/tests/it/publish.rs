use hive_bus::catalog::TaskStarted;
use hive_bus::{Bus, Error, ErrorKind, NewEvent, Query, Sequence, TypedEvent, limits};
use hive_core::clock::SystemClock;
use hive_core::db::Db;
use hive_core::id::{EventId, IdSource};
use hive_core::testing::TestDb;
use serde_json::json;
use std::sync::Arc;
use std::time::Duration;

use crate::{Fixture, NOW, event, sequences};

pub(super) async fn what_is_published_comes_back_whole(place: TestDb) {
    let hive = Fixture::on(place).await;
    let id = IdSource::system().next::<EventId>();
    let earlier = NOW + Duration::from_micros(7);
    let full = NewEvent::new(
        "order.placed",
        "order.placed.berlin",
        &json!({ "größe": [1, null, "\u{0}"] }),
    )
    .unwrap()
    .id(id)
    .time(earlier)
    .source("/shop/berlin")
    .tenant("acme")
    .correlation("auftrag-ß")
    .causation("evt \"quoted\"")
    .schema_version(3);
    let first = hive.bus.publish(full).await.unwrap();
    let second = hive
        .bus
        .publish(NewEvent::of(&TaskStarted::example()).unwrap())
        .await
        .unwrap();
    assert_eq!((first, second), (Sequence::new(1), Sequence::new(2)));

    let events = hive.all().await;
    let [one, two] = events.as_slice() else {
        panic!("{events:?}")
    };
    assert_eq!((one.sequence(), one.id(), one.time()), (first, id, earlier));
    assert_eq!(
        (one.event_type(), one.schema_version(), one.source()),
        ("order.placed", 3, "/shop/berlin")
    );
    assert_eq!((one.topic().as_str(), one.tenant()), ("order.placed.berlin", "acme"));
    assert_eq!(
        (one.correlation(), one.causation()),
        (Some("auftrag-ß"), Some("evt \"quoted\""))
    );
    assert_eq!(one.data().as_bytes(), r#"{"größe":[1,null,"\u0000"]}"#.as_bytes());

    assert_eq!(two.decode::<TaskStarted>().unwrap(), TaskStarted::example());
    assert_eq!(
        (two.time(), two.tenant(), two.source()),
        (NOW, hive_bus::TENANT_DEFAULT, hive_bus::SOURCE_DEFAULT)
    );
    assert_eq!((two.correlation(), two.causation()), (None, None));
}

pub(super) async fn an_id_is_published_once_however_many_try(place: TestDb) {
    let hive = Fixture::on(place).await;
    let id = IdSource::system().next::<EventId>();
    let attempts: Vec<_> = (0..50)
        .map(|_| {
            let bus = hive.bus.clone();
            tokio::spawn(async move { bus.publish(event("a").id(id)).await })
        })
        .collect();
    let mut sequences = Vec::new();
    for attempt in attempts {
        sequences.push(attempt.await.unwrap().unwrap());
    }
    sequences.dedup();
    let [sequence] = sequences[..] else {
        panic!("{sequences:?}")
    };
    assert_eq!(hive.all().await.len(), 1);

    let other = hive.bus.publish(event("b").id(id)).await.unwrap_err();
    assert_eq!(
        (other.kind(), other.field("sequence")),
        (ErrorKind::Conflict, Some(&*sequence.to_string()))
    );

    // An event that was read is published again as itself.
    let read = hive.all().await.remove(0);
    assert_eq!(hive.bus.publish(read).await.unwrap(), sequence);
}

pub(super) async fn a_batch_is_published_whole_or_not_at_all(place: TestDb) {
    let hive = Fixture::on(place).await;
    let known = IdSource::system().next::<EventId>();
    let batch = vec![event("a"), event("b").id(known), event("c"), event("b").id(known)];
    let numbers: Vec<u64> = hive
        .bus
        .publish_all(batch)
        .await
        .unwrap()
        .iter()
        .map(|s| s.get())
        .collect();
    assert_eq!(numbers, [1, 2, 3, 2]);

    let invalid = vec![event("a"), event("a").tenant("")];
    assert_eq!(
        hive.bus.publish_all(invalid).await.unwrap_err().kind(),
        ErrorKind::InvalidInput
    );
    let conflict = vec![event("a"), event("other").id(known)];
    assert_eq!(
        hive.bus.publish_all(conflict).await.unwrap_err().kind(),
        ErrorKind::Conflict
    );
    let too_many = vec![event("a"); limits::BATCH_MAX + 1];
    assert_eq!(
        hive.bus.publish_all(too_many).await.unwrap_err().kind(),
        ErrorKind::LimitReached
    );
    assert_eq!(hive.bus.publish_all(Vec::new()).await.unwrap(), []);
    assert_eq!(hive.all().await.len(), 3);

    let most = hive.bus.publish_all(vec![event("a"); limits::BATCH_MAX]).await.unwrap();
    // One after another. What was refused may leave a gap.
    let first = most[0].get();
    assert!(first > 3);
    assert_eq!(most.last(), Some(&Sequence::new(first + limits::BATCH_MAX as u64 - 1)));
}

pub(super) async fn a_refused_event_costs_the_database_nothing(place: TestDb) {
    let hive = Fixture::on(place).await;
    let before = hive.db.stats();
    let refused = hive.bus.publish(event("a").source("no uri")).await.unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::InvalidInput);
    assert_eq!(hive.db.stats(), before);
}

pub(super) async fn an_event_shares_the_fate_of_its_transaction(place: TestDb) {
    let hive = Fixture::on(place).await;
    let mut subscription = hive.bus.subscribe("*").await.unwrap();
    let bus = hive.bus.clone();
    let failed = hive.db.write(move |tx| {
        bus.publish_in(tx, event("rolled.back"))?;
        bus.publish_all_in(tx, vec![event("rolled.back"), event("rolled.back")])?;
        Err::<(), _>(Error::new(ErrorKind::Internal, "the caller changed its mind"))
    });
    assert_eq!(failed.await.unwrap_err().kind(), ErrorKind::Internal);
    let bus = hive.bus.clone();
    let panicked = hive.db.write(move |tx| {
        bus.publish_in(tx, event("rolled.back"))?;
        panic!("the caller has a bug")
    });
    assert_eq!(Result::<(), Error>::unwrap_err(panicked.await).kind(), ErrorKind::Panic);
    assert_eq!(hive.all().await, []);

    let bus = hive.bus.clone();
    let sequence = hive
        .db
        .write(move |tx| bus.publish_in(tx, event("committed")))
        .await
        .unwrap();
    let seen = subscription.next().await.unwrap();
    assert_eq!((seen.topic().as_str(), seen.sequence()), ("committed", sequence));
}

pub(super) async fn a_failed_neighbour_in_the_same_commit_takes_nothing_along(place: TestDb) {
    let hive = Fixture::on(place).await;
    let mut subscription = hive.bus.subscribe("*").await.unwrap();
    // Queued without awaiting in between, so that they share commits.
    let writes: Vec<_> = (0..40)
        .map(|number| {
            let (db, bus) = (hive.db.clone(), hive.bus.clone());
            tokio::spawn(async move {
                db.write(move |tx| {
                    let sequence = bus.publish_in(tx, NewEvent::new("test", "a", &number)?)?;
                    if number % 2 == 0 {
                        Ok(sequence)
                    } else {
                        Err(Error::new(ErrorKind::Internal, "no"))
                    }
                })
                .await
            })
        })
        .collect();
    let mut committed = Vec::new();
    for write in writes {
        committed.extend(write.await.unwrap().ok());
    }
    assert_eq!(committed.len(), 20);
    committed.sort_unstable();
    let mut seen = Vec::new();
    for _ in 0..20 {
        let event = subscription.next().await.unwrap();
        assert_eq!(event.data().decode::<u32>().unwrap() % 2, 0);
        seen.push(event.sequence());
    }
    assert_eq!(seen, committed);
}

pub(super) async fn a_refused_batch_leaves_nothing_in_a_transaction_that_goes_on(place: TestDb) {
    let hive = Fixture::on(place).await;
    let mut subscription = hive.bus.subscribe("*").await.unwrap();
    let id = IdSource::system().next::<EventId>();
    hive.bus.publish(event("taken").id(id)).await.unwrap();
    let bus = hive.bus.clone();
    let kept = hive.db.write(move |tx| {
        bus.publish_in(tx, event("before"))?;
        let refused = bus.publish_all_in(tx, vec![event("front"), event("b").id(id), event("back")]);
        assert_eq!(refused.unwrap_err().kind(), ErrorKind::Conflict);
        bus.publish_in(tx, event("after"))
    });
    kept.await.unwrap();
    let topics = hive.all().await.into_iter().map(|event| event.topic().to_string());
    let topics: Vec<_> = topics.collect();
    assert_eq!(topics, ["taken", "before", "after"]);
    for topic in topics {
        assert_eq!(subscription.next().await.unwrap().topic().as_str(), topic);
    }
}

pub(super) async fn a_sequence_is_never_given_twice(place: TestDb) {
    let hive = Fixture::on(place).await;
    for _ in 0..3 {
        hive.publish("a").await;
    }
    hive.db.write(|tx| tx.execute("DELETE FROM event", &[])).await.unwrap();
    assert_eq!(hive.publish("a").await, Sequence::new(4));
    assert_eq!(sequences(&hive.all().await), [4]);
}

pub(super) async fn events_are_named_and_dated_in_their_order(place: TestDb) {
    let hive = Fixture::on(place).await;
    for step in 0..5 {
        hive.publish("a").await;
        hive.clock.advance(Duration::from_secs(step));
    }
    let events = hive.all().await;
    assert!(events.is_sorted_by(|a, b| a.id() < b.id() && a.time() <= b.time()));
}

pub(super) async fn a_database_without_the_table_says_what_to_do(place: TestDb) {
    let db = Db::open(place.options()).await.unwrap();
    let error = Bus::open(db, Arc::new(SystemClock), IdSource::system())
        .await
        .unwrap_err();
    assert_eq!(
        (error.kind(), error.hint()),
        (ErrorKind::Storage, "open the database with hive_bus::MIGRATIONS")
    );
}

pub(super) async fn the_migration_goes_back_and_forth(place: TestDb) {
    let hive = Fixture::on(place).await;
    hive.publish("a").await;
    hive.db.down("hive-bus", 3).await.unwrap();
    assert!(hive.bus.publish(event("a")).await.is_err());
    hive.db.up().await.unwrap();
    assert_eq!(hive.bus.history(Query::new()).await.unwrap().events, []);
    hive.publish("a").await;
}

pub(super) async fn a_closed_database_refuses(place: TestDb) {
    let hive = Fixture::on(place).await;
    hive.db.close().await.unwrap();
    assert_eq!(
        hive.bus.publish(event("a")).await.unwrap_err().kind(),
        ErrorKind::ShuttingDown
    );
    assert_eq!(
        hive.bus.history(Query::new()).await.unwrap_err().kind(),
        ErrorKind::ShuttingDown
    );
}
