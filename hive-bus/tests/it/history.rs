use std::time::Duration;

use expect_test::expect;
use hive_bus::catalog::{TaskStarted, TaskSubmitted, TaskSucceeded};
use hive_bus::{ErrorKind, NewEvent, Pattern, Query, Sequence, Topic, TypedEvent, limits};

use hive_core::testing::TestDb;

use crate::{Fixture, NOW, all, event, sequences};

fn pattern(text: &str) -> Pattern {
    Pattern::new(text.to_owned()).unwrap()
}

pub(super) async fn every_condition_restricts(place: TestDb) {
    let hive = Fixture::on(place).await;
    for (at, tenant) in [(0, "acme"), (10, "acme"), (20, "umbrella")] {
        let time = NOW + Duration::from_secs(at);
        for (event_type, topic) in [
            ("task.failed", "task.failed.reviewer"),
            ("task.started", "task.started.coder"),
        ] {
            let event = NewEvent::new(event_type, topic, &at).unwrap();
            let correlation = format!("run-{at}");
            hive.bus
                .publish(
                    event
                        .time(time)
                        .tenant(tenant)
                        .correlation(correlation)
                        .source(format!("/at/{at}")),
                )
                .await
                .unwrap();
        }
    }
    let second = NOW + Duration::from_secs(10);
    for (query, expected) in [
        (Query::new(), vec![1, 2, 3, 4, 5, 6]),
        (Query::new().correlation("run-10"), vec![3, 4]),
        (
            Query::new().correlation("run-10").topics(pattern("task.started.*")),
            vec![4],
        ),
        (Query::new().correlation("run-1"), vec![]),
        (Query::new().event_type("task.failed"), vec![1, 3, 5]),
        (Query::new().event_type("task.fail"), vec![]),
        (Query::new().source("/at/20"), vec![5, 6]),
        (Query::new().tenant("acme"), vec![1, 2, 3, 4]),
        (Query::new().since(second), vec![3, 4, 5, 6]),
        (Query::new().until(second), vec![1, 2]),
        (Query::new().since(second).until(second), vec![]),
        (Query::new().after(Sequence::new(4)), vec![5, 6]),
        (Query::new().after(Sequence::new(u64::MAX)), vec![]),
        (Query::new().topics(Pattern::ALL), vec![1, 2, 3, 4, 5, 6]),
        (
            Query::new()
                .tenant("acme")
                .event_type("task.failed")
                .since(second)
                .correlation("run-10"),
            vec![3],
        ),
        (Query::new().tenant("' OR 1 = 1 --"), vec![]),
    ] {
        for limit in [1, 2, limits::HISTORY_LIMIT_MAX] {
            assert_eq!(
                sequences(&all(&hive.bus, query.clone().limit(limit)).await),
                expected,
                "{query:?}"
            );
            // A cursor has another side in the other direction.
            if !has_cursor(&query) {
                let backwards = query.clone().newest_first().limit(limit);
                let mut found = sequences(&all(&hive.bus, backwards).await);
                found.reverse();
                assert_eq!(found, expected, "{query:?}");
            }
        }
        let count = hive.bus.count(query.clone()).await.unwrap();
        assert_eq!(count, expected.len() as u64, "{query:?}");
    }
    for (cursor, expected) in [
        (6, vec![6, 5, 4, 3, 2, 1]),
        (3, vec![3, 2, 1]),
        (u64::MAX, vec![6, 5, 4, 3, 2, 1]),
    ] {
        let query = Query::new().newest_first().after(Sequence::new(cursor));
        assert_eq!(sequences(&all(&hive.bus, query.clone()).await), expected, "{query:?}");
        let failed: Vec<u64> = expected.into_iter().filter(|sequence| sequence % 2 == 1).collect();
        let query = query.event_type("task.failed").limit(1);
        assert_eq!(sequences(&all(&hive.bus, query).await), failed);
    }
}

fn has_cursor(query: &Query) -> bool {
    format!("{query:?}").contains("after: Some")
}

pub(super) async fn counting_takes_any_query_but_an_order(place: TestDb) {
    let hive = Fixture::on(place).await;
    assert_eq!(hive.bus.count(Query::new()).await.unwrap(), 0);
    for at in 0..5_u64 {
        let event = |topic: &'static str| event(topic).correlation(format!("run-{}", at % 2));
        let events = [vec![event("a.b"); 100], vec![event("a.c"); 50]].concat();
        hive.bus.publish_all(events).await.unwrap();
    }
    for (query, count) in [
        (Query::new(), 750),
        (Query::new().limit(1), 750),
        (Query::new().topics(pattern("*.b")), 500),
        (Query::new().topics(pattern("a.>")).correlation("run-1"), 300),
        (Query::new().correlation("run-0"), 450),
        (Query::new().after(Sequence::new(700)), 50),
        (Query::new().after(Sequence::new(9_000)), 0),
    ] {
        assert_eq!(hive.bus.count(query.clone()).await.unwrap(), count, "{query:?}");
    }
    let error = hive.bus.count(Query::new().newest_first()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidInput);
}

pub(super) async fn topics_are_found_by_pattern_and_not_by_text(place: TestDb) {
    let hive = Fixture::on(place).await;
    // Neighbours in the order of text: `-` comes before `.`, `/` after it.
    let topics = [
        "a", "a-b", "a.b", "a.b.c", "a.b-c", "a.b/c", "a.c", "a/b", "ab", "ab.c", "b.b.c",
    ];
    hive.bus
        .publish_all(topics.into_iter().map(event).collect())
        .await
        .unwrap();
    for text in [
        "*", ">", "a", "a.*", "a.>", "a.b", "a.b.*", "a.b.>", "*.b", "*.b.*", "a.*.c", "a-b", "ab.>", "z",
    ] {
        let found = all(&hive.bus, Query::new().topics(pattern(text))).await;
        let found: Vec<&str> = found.iter().map(|event| event.topic().as_str()).collect();
        let expected: Vec<&str> = topics
            .into_iter()
            .filter(|topic| pattern(text).matches(&Topic::new(*topic).unwrap()))
            .collect();
        assert_eq!(found, expected, "{text}");
        let query = Query::new().topics(pattern(text));
        let count = hive.bus.count(query.clone()).await.unwrap();
        assert_eq!(count, expected.len() as u64, "{text}");
        let backwards = all(&hive.bus, query.newest_first().limit(2)).await;
        let backwards: Vec<&str> = backwards.iter().rev().map(|event| event.topic().as_str()).collect();
        assert_eq!(backwards, expected, "{text}");
    }
}

pub(super) async fn a_page_is_bounded_in_events_and_bytes(place: TestDb) {
    let hive = Fixture::on(place).await;
    for limit in [0, limits::HISTORY_LIMIT_MAX + 1] {
        let error = hive.bus.history(Query::new().limit(limit)).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidInput);
    }
    let large = "x".repeat(limits::DATA_BYTES_MAX - 2);
    for _ in 0..10 {
        hive.bus
            .publish(NewEvent::new("large", "a", &large).unwrap())
            .await
            .unwrap();
    }
    let page = hive.bus.history(Query::new()).await.unwrap();
    assert!((4..=5).contains(&page.events.len()), "{}", page.events.len());
    assert_eq!(page.next, page.events.last().map(|event| event.sequence()));
    assert_eq!(sequences(&hive.all().await), (1..=10).collect::<Vec<_>>());
    let newest = Query::new().newest_first();
    let page = hive.bus.history(newest.clone()).await.unwrap();
    assert!((4..=5).contains(&page.events.len()), "{}", page.events.len());
    let backwards = sequences(&all(&hive.bus, newest).await);
    assert_eq!(backwards, (1..=10).rev().collect::<Vec<_>>());
}

#[tokio::test]
async fn a_rare_event_is_found_far_away() {
    let hive = Fixture::on(TestDb::sqlite()).await;
    hive.publish("common").await;
    hive.publish("rare").await;
    let far = (limits::SCAN_MAX * 7 + 3).cast_signed();
    hive.db
        .write(move |tx| tx.execute("UPDATE event SET sequence = ?1 WHERE topic = 'rare'", &[&far]))
        .await
        .unwrap();
    let page = hive.bus.history(Query::new().topics(pattern("rare"))).await.unwrap();
    assert_eq!((sequences(&page.events), page.next), (vec![far.cast_unsigned()], None));
    let newest = Query::new().newest_first().topics(pattern("common"));
    let page = hive.bus.history(newest).await.unwrap();
    assert_eq!((sequences(&page.events), page.next), (vec![1], None));
    let mut subscription = hive.bus.subscribe("rare").after(Sequence::START).await.unwrap();
    // It is told of the new head and finds the old one on its way there.
    hive.publish("common").await;
    assert_eq!(subscription.next().await.unwrap().sequence().get(), far.cast_unsigned());
}

pub(super) async fn a_trace_shows_what_caused_what(place: TestDb) {
    let hive = Fixture::on(place).await;
    let submitted = TaskSubmitted::example();
    let root = submitted.task;
    let first = NewEvent::of(&submitted).unwrap().correlation(root);
    let first = hive.bus.publish(first).await.unwrap();
    let cause = hive
        .bus
        .history(Query::new().after(Sequence::START))
        .await
        .unwrap()
        .events[0]
        .id();
    assert_eq!(first, Sequence::new(1));
    let started = NewEvent::of(&TaskStarted::example())
        .unwrap()
        .correlation(root)
        .causation(cause);
    let noise = event("noise").correlation("another run");
    let done = NewEvent::of(&TaskSucceeded::example())
        .unwrap()
        .correlation(root)
        .causation(root);
    hive.bus.publish_all(vec![started, noise, done]).await.unwrap();

    expect![[r#"
        1 task.submitted.reviewer
          2 task.started.reviewer
          4 task.succeeded.reviewer
    "#]]
    .assert_eq(&hive.bus.trace(root).await.unwrap().to_string());
    assert_eq!(hive.bus.trace("nothing").await.unwrap().entries(), []);
}

pub(super) async fn a_trace_that_is_too_long_says_so(place: TestDb) {
    let hive = Fixture::on(place).await;
    let link = event("link").correlation("long");
    for _ in 0..limits::TRACE_EVENTS_MAX / limits::BATCH_MAX {
        hive.bus
            .publish_all(vec![link.clone(); limits::BATCH_MAX])
            .await
            .unwrap();
    }
    assert!(!hive.bus.trace("long").await.unwrap().is_truncated());
    hive.bus.publish(link).await.unwrap();
    let trace = hive.bus.trace("long").await.unwrap();
    assert_eq!(
        (trace.is_truncated(), trace.entries().len()),
        (true, limits::TRACE_EVENTS_MAX)
    );
}
