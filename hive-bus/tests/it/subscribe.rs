use hive_bus::{Error, ErrorKind, NewEvent, Pattern, Query, Sequence, Subscription, limits};

use hive_core::db::Dialect;
use hive_core::testing::TestDb;

use crate::{Fixture, all, event, sequences};

async fn take(subscription: &mut Subscription, count: usize) -> Vec<u64> {
    let mut events = Vec::new();
    for _ in 0..count {
        events.push(subscription.next().await.unwrap());
    }
    sequences(&events)
}

pub(super) async fn it_begins_where_it_was_told(place: TestDb) {
    let hive = Fixture::on(place).await;
    for _ in 0..4 {
        hive.publish("a").await;
    }
    let mut now = hive.bus.subscribe("a").await.unwrap();
    let mut second = hive.bus.subscribe("a").from(Sequence::new(2)).await.unwrap();
    let mut behind_second = hive.bus.subscribe("a").after(Sequence::new(2)).await.unwrap();
    let mut start = hive.bus.subscribe("a").after(Sequence::START).await.unwrap();
    let mut future = hive.bus.subscribe("a").from(Sequence::new(6)).await.unwrap();
    assert_eq!(
        (now.cursor(), second.cursor(), future.cursor()),
        (Sequence::new(4), Sequence::new(1), Sequence::new(5))
    );
    hive.publish("a").await;
    hive.publish("a").await;
    assert_eq!(take(&mut now, 2).await, [5, 6]);
    assert_eq!(take(&mut second, 5).await, [2, 3, 4, 5, 6]);
    assert_eq!(take(&mut behind_second, 4).await, [3, 4, 5, 6]);
    assert_eq!(take(&mut start, 6).await, [1, 2, 3, 4, 5, 6]);
    assert_eq!(take(&mut future, 1).await, [6]);
}

pub(super) async fn a_pattern_that_is_none_is_refused(place: TestDb) {
    let hive = Fixture::on(place).await;
    let error = hive.bus.subscribe("task.>.a").await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidInput);
}

pub(super) async fn many_publishers_and_subscribers_see_every_event_once_and_in_order(place: TestDb) {
    const PUBLISHERS: u64 = 8;
    const EACH: u64 = 250;
    const PATTERNS: [&str; 7] = ["*", ">", "load.*.even", "load.3.>", "load.>", "load.7.odd", "*.*.*"];
    let hive = Fixture::on(place).await;

    let mut subscribers = Vec::new();
    for pattern in PATTERNS {
        // Some hang back and so read from the database, some keep up and so read from memory.
        for pause_every in [1, 7, u64::MAX] {
            let mut subscription = hive.bus.subscribe(pattern).await.unwrap();
            subscribers.push(tokio::spawn(async move {
                let mut seen = Vec::new();
                loop {
                    match subscription.next().await {
                        Ok(event) => seen.push(event),
                        Err(error) => {
                            assert_eq!(error.kind(), ErrorKind::ShuttingDown);
                            return (pattern, subscription, seen);
                        }
                    }
                    if (seen.len() as u64).is_multiple_of(pause_every) {
                        tokio::task::yield_now().await;
                    }
                }
            }));
        }
    }

    let publishers: Vec<_> = (0..PUBLISHERS)
        .map(|publisher| {
            let bus = hive.bus.clone();
            tokio::spawn(async move {
                let mut acknowledged = Vec::new();
                for number in 0..EACH {
                    let parity = if number % 2 == 0 { "even" } else { "odd" };
                    let topic = format!("load.{publisher}.{parity}");
                    let event = NewEvent::new("load", topic, &(publisher, number)).unwrap();
                    acknowledged.push(if number % 5 == 0 {
                        bus.publish_all(vec![event]).await.unwrap()[0]
                    } else {
                        bus.publish(event).await.unwrap()
                    });
                }
                assert!(acknowledged.is_sorted_by(|a, b| a < b));
                acknowledged
            })
        })
        .collect();
    let mut acknowledged = Vec::new();
    for publisher in publishers {
        acknowledged.extend(publisher.await.unwrap());
    }
    acknowledged.sort_unstable();
    let every: Vec<u64> = (1..=PUBLISHERS * EACH).collect();
    assert_eq!(acknowledged.iter().map(|s| s.get()).collect::<Vec<_>>(), every);

    hive.bus.close();
    let log = all(&hive.bus, Query::new().limit(limits::HISTORY_LIMIT_MAX)).await;
    for subscriber in subscribers {
        let (pattern, subscription, seen) = subscriber.await.unwrap();
        let wanted = Pattern::new(pattern).unwrap();
        let expected: Vec<_> = log
            .iter()
            .filter(|event| wanted.matches(event.topic()))
            .cloned()
            .collect();
        assert!(expected.len() >= 125, "the pattern {pattern} would show nothing");
        assert_eq!(seen, expected, "{pattern}");
        assert_eq!(subscription.cursor().get(), PUBLISHERS * EACH);
    }
}

pub(super) async fn who_lags_far_behind_catches_up_without_a_gap(place: TestDb) {
    let hive = Fixture::on(place).await;
    let mut slow = hive.bus.subscribe("a.>").await.unwrap();
    let total = limits::RECENT_EVENTS_MAX * 3;
    // Nobody reads while these are published, and no publisher waits for it.
    for _ in 0..total / 512 {
        hive.bus
            .publish_all(
                (0..512)
                    .map(|at| event(if at % 3 == 0 { "a.b" } else { "other" }))
                    .collect(),
            )
            .await
            .unwrap();
    }
    let expected: Vec<u64> = sequences(
        &all(
            &hive.bus,
            Query::new().topics(Pattern::new("a.b").unwrap()).limit(1_000),
        )
        .await,
    );
    let (first, rest) = expected.split_at(expected.len() / 2);
    assert_eq!(take(&mut slow, first.len()).await, first);
    hive.publish("a.c").await;
    assert_eq!(take(&mut slow, rest.len()).await, rest);
    assert_eq!(slow.next().await.unwrap().topic().as_str(), "a.c");
}

pub(super) async fn a_cursor_goes_on_exactly_where_it_stood(place: TestDb) {
    let hive = Fixture::on(place).await;
    let topics = ["a", "b", "b", "a", "b", "a", "a", "b"];
    for topic in topics {
        hive.publish(topic).await;
    }
    let mut seen = Vec::new();
    let mut cursor = Sequence::START;
    for _ in 0..4 {
        // A new subscription for each event, as after a restart each.
        let mut subscription = hive.bus.subscribe("a").after(cursor).await.unwrap();
        assert_eq!(subscription.cursor(), cursor);
        seen.extend(take(&mut subscription, 1).await);
        cursor = subscription.cursor();
    }
    assert_eq!(seen, [1, 4, 6, 7]);
}

pub(super) async fn dropping_the_future_loses_nothing_and_does_not_stop_it(place: TestDb) {
    const PAST: u64 = 2_000;
    const TOTAL: u64 = 2_600;
    let hive = Fixture::on(place).await;
    // The past is read from the database, what is published meanwhile mostly from memory.
    for _ in 0..PAST / 1_000 {
        hive.bus.publish_all(vec![event("a"); 1_000]).await.unwrap();
    }
    let mut subscription = hive.bus.subscribe("*").after(Sequence::START).await.unwrap();
    let bus = hive.bus.clone();
    let publisher = tokio::spawn(async move {
        for _ in PAST..TOTAL {
            bus.publish(event("a")).await.unwrap();
        }
    });
    let (mut seen, mut dropped) = (Vec::new(), 0);
    while (seen.len() as u64) < TOTAL {
        // No read is done by the time the future is dropped, and yet this comes to its end.
        tokio::select! {
            biased;
            event = subscription.next() => seen.push(event.unwrap()),
            () = tokio::task::yield_now() => dropped += 1,
        }
    }
    publisher.await.unwrap();
    assert!(dropped > 0, "no future was dropped while it waited");
    assert_eq!(sequences(&seen), (1..=TOTAL).collect::<Vec<_>>());
}

/// Whether there is no event to hand out, given every chance to find one.
async fn is_waiting(subscription: &mut Subscription) -> bool {
    for _ in 0..100 {
        tokio::select! {
            biased;
            _ = subscription.next() => return false,
            () = tokio::task::yield_now() => {}
        }
    }
    true
}

pub(super) async fn an_event_is_not_seen_before_it_is_committed_and_never_when_it_is_not(place: TestDb) {
    let hive = Fixture::on(place).await;
    let mut subscription = hive.bus.subscribe("*").await.unwrap();
    for fails in [true, false, true, false] {
        let (published, was_published) = tokio::sync::oneshot::channel();
        let mut published = Some(published);
        let (go_on, may_go_on) = std::sync::mpsc::channel();
        let (db, bus) = (hive.db.clone(), hive.bus.clone());
        let write = tokio::spawn(async move {
            db.write(move |tx| {
                let sequence = bus.publish_in(tx, event("a"))?;
                published.take().unwrap().send(()).unwrap();
                // Keeps the transaction open until the subscriber has looked.
                may_go_on.recv().unwrap();
                if fails {
                    Err(Error::new(ErrorKind::Internal, "the caller changed its mind"))
                } else {
                    Ok(sequence)
                }
            })
            .await
        });
        was_published.await.unwrap();
        assert!(is_waiting(&mut subscription).await, "seen before the commit");
        go_on.send(()).unwrap();
        match write.await.unwrap() {
            Ok(sequence) => assert_eq!(subscription.next().await.unwrap().sequence(), sequence),
            Err(_) => assert!(is_waiting(&mut subscription).await, "seen after the rollback"),
        }
    }
}

pub(super) async fn closing_does_not_cut_off_what_is_committed_but_not_announced(place: TestDb) {
    let hive = Fixture::on(place).await;
    let mut subscription = hive.bus.subscribe("*").await.unwrap();
    let (go_on, may_go_on) = std::sync::mpsc::channel::<()>();
    let mut may_go_on = Some(may_go_on);
    let (db, bus) = (hive.db.clone(), hive.bus.clone());
    let write = tokio::spawn(async move {
        db.write(move |tx| {
            // Stands before the announcement and holds it up.
            let may_go_on = may_go_on.take().unwrap();
            tx.on_commit(move || {
                let _released = may_go_on.recv();
            });
            bus.publish_in(tx, event("a"))
        })
        .await
    });
    while hive.all().await.is_empty() {
        tokio::task::yield_now().await;
    }
    hive.bus.close();
    assert_eq!(take(&mut subscription, 1).await, [1]);
    assert_eq!(subscription.next().await.unwrap_err().kind(), ErrorKind::ShuttingDown);
    drop(go_on);
    write.await.unwrap().unwrap();
}

pub(super) async fn closing_ends_every_subscription_once_it_is_caught_up(place: TestDb) {
    let hive = Fixture::on(place).await;
    let mut waiting = hive.bus.subscribe("*").await.unwrap();
    let mut behind = hive.bus.subscribe("*").await.unwrap();
    let ended = tokio::spawn(async move {
        waiting.next().await.unwrap();
        waiting.next().await.unwrap_err().kind()
    });
    hive.publish("a").await;
    hive.bus.close();
    assert_eq!(ended.await.unwrap(), ErrorKind::ShuttingDown);

    // What is published meanwhile, such as that the process ended in good order, is still handed out.
    hive.publish("b").await;
    assert_eq!(take(&mut behind, 2).await, [1, 2]);
    for _ in 0..2 {
        let error = behind.next().await.unwrap_err();
        assert_eq!(
            (error.kind(), error.field("cursor")),
            (ErrorKind::ShuttingDown, Some("2"))
        );
    }

    let mut late = hive.bus.subscribe("*").from(Sequence::new(2)).await.unwrap();
    assert_eq!(take(&mut late, 1).await, [2]);
    assert_eq!(late.next().await.unwrap_err().kind(), ErrorKind::ShuttingDown);
}

pub(super) async fn a_subscription_ends_with_the_last_handle_to_the_bus(place: TestDb) {
    let Fixture {
        db, bus, place: _place, ..
    } = Fixture::on(place).await;
    let mut subscription = bus.subscribe("*").await.unwrap();
    bus.publish(event("a")).await.unwrap();
    drop(bus);
    assert_eq!(take(&mut subscription, 1).await, [1]);
    assert_eq!(subscription.next().await.unwrap_err().kind(), ErrorKind::ShuttingDown);
    db.close().await.unwrap();
}

pub(super) async fn a_database_that_was_closed_ends_a_subscription_that_lags(place: TestDb) {
    let hive = Fixture::on(place).await;
    hive.publish("a").await;
    let mut behind = hive.bus.subscribe("*").after(Sequence::START).await.unwrap();
    hive.db.close().await.unwrap();
    let error = match behind.next().await {
        // What was at hand already.
        Ok(_) => behind.next().await.unwrap_err(),
        Err(error) => {
            assert_eq!(behind.cursor(), Sequence::START);
            error
        }
    };
    assert_eq!(error.kind(), ErrorKind::ShuttingDown);
}

pub(super) async fn events_that_were_taken_away_hold_nobody_up(place: TestDb) {
    let hive = Fixture::on(place).await;
    // Nobody listens yet, so nothing of this is in memory.
    for _ in 0..6 {
        hive.publish("a").await;
    }
    hive.db
        .write(|tx| tx.execute("DELETE FROM event WHERE sequence IN (1, 2, 5, 6)", &[]))
        .await
        .unwrap();
    let mut subscription = hive.bus.subscribe("*").after(Sequence::START).await.unwrap();
    assert_eq!(take(&mut subscription, 2).await, [3, 4]);
    // It does not look for ever for the newest, of which it may have been told, but waits for what comes.
    // Nobody is told on a server before somebody asks.
    let told = Sequence::new(if hive.db.dialect() == Dialect::Sqlite { 6 } else { 4 });
    while subscription.cursor() < told {
        assert!(is_waiting(&mut subscription).await);
    }
    hive.publish("a").await;
    assert_eq!(take(&mut subscription, 1).await, [7]);
}
