//! Reading from cursors, by sequence and by date.

use std::time::Duration;

use hive_core::clock::{Clock, SystemClock, Timestamp};

use super::Place;
use super::samples::{assert_same, event, events, everything, large, log, numbers, patterns, read};
use crate::event::{Event, Sequence};
use crate::limits;

pub(super) async fn pages_end_where_they_are_told(place: &dyn Place) {
    let transport = place.open().await.expect("the place is opened");
    let nothing = transport.read(&everything(), Sequence::START, 1).await;
    let nothing = nothing.expect("an empty log is read");
    assert!(
        nothing.events.is_empty() && nothing.ended,
        "an empty log ends where it begins"
    );

    let topics = ["a", "b", "b", "a", "c"];
    for number in 0..25 {
        let event = event(topics[number % topics.len()], number as u64);
        transport.publish(vec![event]).await.expect("an event is published");
    }
    let whole = log(&*transport).await;
    assert_eq!(whole.len(), 25);
    for wanted in [
        everything(),
        patterns(&["a"]),
        patterns(&["b", "c"]),
        patterns(&["none"]),
    ] {
        let fits = |event: &&Event| wanted.matches(event.topic());
        let expected: Vec<Event> = whole.iter().filter(fits).cloned().collect();
        for limit in [1, 2, 7, 10, 24, 25, 26, 1_000] {
            for after in [0_usize, 1, 4, 12, 24, 25] {
                let cursor = after.checked_sub(1).map_or(Sequence::START, |at| whole[at].sequence());
                let found = read(&*transport, &wanted, cursor, limit).await;
                let expected: Vec<Event> = expected
                    .iter()
                    .filter(|event| event.sequence() > cursor)
                    .cloned()
                    .collect();
                assert_same(
                    &found,
                    &expected,
                    &format!("{wanted} after {cursor}, {limit} at a time"),
                );
            }
        }
    }
}

pub(super) async fn pages_are_bounded_in_bytes(place: &dyn Place) {
    let transport = place.open().await.expect("the place is opened");
    for _ in 0..3 {
        let mut batch: Vec<_> = (0..4).map(|_| large("large", limits::DATA_BYTES_MAX)).collect();
        batch.extend(events("small", 3));
        transport
            .publish(batch)
            .await
            .expect("a batch of large events is published");
    }
    transport.head().await.expect("the end of the log is told");
    let mut after = Sequence::START;
    let mut count = 0;
    loop {
        let page = transport
            .read(&everything(), after, 1_000)
            .await
            .expect("a page is read");
        let bytes: usize = page.events.iter().map(|event| event.data().size()).sum();
        // The one that crosses the line included.
        assert!(
            bytes < limits::PAGE_BYTES_MAX + limits::DATA_BYTES_MAX,
            "a page has {bytes} bytes of data"
        );
        count += page.events.len();
        after = page.reached;
        if page.ended {
            break;
        }
        assert!(!page.events.is_empty(), "a page holds one event at least");
    }
    assert_eq!(count, 21);
}

pub(super) async fn patterns_choose_by_tokens(place: &dyn Place) {
    let transport = place.open().await.expect("the place is opened");
    // Neighbours in the order of text: `-` comes before `.`, `/` after it.
    let topics = [
        "a", "a-b", "a.b", "a.b.c", "a.b-c", "a.b/c", "a.c", "a/b", "ab", "ab.c", "b.b.c", "A.b", "a+b.c", "aab.c",
        "a.b.c.d", "x.y_z:@f", "a%b.c", "a_b.c", "a.#", "a.~=",
    ];
    let batch = topics.iter().map(|topic| event(*topic, 0)).collect();
    transport.publish(batch).await.expect("a batch is published");
    let whole = log(&*transport).await;
    let one_each = [
        "*",
        ">",
        "a",
        "a.*",
        "a.>",
        "a.b",
        "a.b.*",
        "a.b.>",
        "*.b",
        "*.b.*",
        "a.*.c",
        "*.*",
        "*.*.>",
        "a-b",
        "ab.>",
        "A.*",
        "a+b.c",
        "a+b.*",
        "a%b.*",
        "a_b.*",
        "*.y_z:@f",
        "a.#",
        "z",
        "*.*.*.*.*",
    ];
    let several: [&[&'static str]; 5] = [
        &["a", "b"],
        &["a.*", "a.b", "a.>"],
        &["ab.>", "*.c"],
        &["z", "*"],
        &[
            "a", "a-b", "a.b", "a.b.c", "a.b-c", "a.b/c", "a.c", "a/b", "ab", "ab.c", "b.b.c", "A.b", "a+b.c", "aab.c",
            "z", "zz",
        ],
    ];
    let all = one_each.iter().map(std::slice::from_ref).chain(several);
    for texts in all {
        let wanted = patterns(texts);
        let expected: Vec<Event> = whole
            .iter()
            .filter(|event| wanted.matches(event.topic()))
            .cloned()
            .collect();
        for limit in [2, 1_000] {
            let found = read(&*transport, &wanted, Sequence::START, limit).await;
            assert_same(&found, &expected, &wanted.to_string());
        }
    }
}

pub(super) async fn rare_events_are_found_far_away(place: &dyn Place) {
    let transport = place.open().await.expect("the place is opened");
    let mut rare = Vec::new();
    for part in [0, limits::SCAN_MAX + 500, 700] {
        for begin in (0..part).step_by(limits::BATCH_MAX) {
            let batch = events("common", (part - begin).min(limits::BATCH_MAX as u64));
            transport.publish(batch).await.expect("a batch is published");
        }
        let sequences = transport.publish(vec![event("rare.topic", part)]).await;
        rare.extend(sequences.expect("an event is published"));
    }
    let expected: Vec<u64> = rare.iter().map(|sequence| sequence.get()).collect();
    for wanted in [
        patterns(&["rare.topic"]),
        patterns(&["*.topic"]),
        patterns(&["none", "rare.>"]),
    ] {
        let found = read(&*transport, &wanted, Sequence::START, 2).await;
        assert_eq!(numbers(&found), expected, "{wanted}");
    }
    let none = read(&*transport, &patterns(&["none"]), Sequence::START, 1).await;
    assert_eq!(none, []);
}

pub(super) async fn cursors_may_stand_anywhere(place: &dyn Place) {
    let transport = place.open().await.expect("the place is opened");
    for far in [1, 1_000_000, i64::MAX.cast_unsigned(), u64::MAX] {
        let cursor = Sequence::new(far);
        let page = transport
            .read(&everything(), cursor, 10)
            .await
            .expect("an empty log is read");
        assert!(page.events.is_empty() && page.ended, "nothing is behind {far}");
        assert!(
            page.reached >= cursor,
            "a cursor went back from {far} to {}",
            page.reached
        );
    }
    let sequences = transport.publish(events("a", 3)).await.expect("a batch is published");
    let last = sequences[2];
    for far in [last.get(), last.get() + 1, i64::MAX.cast_unsigned(), u64::MAX] {
        let cursor = Sequence::new(far);
        assert_eq!(
            read(&*transport, &everything(), cursor, 10).await,
            [],
            "nothing is behind {far}"
        );
        let page = transport.read(&everything(), cursor, 10).await.expect("a page is read");
        assert!(
            page.reached >= cursor,
            "a cursor went back from {far} to {}",
            page.reached
        );
    }
    // Just before and just behind each: numbers in between may be nobody's.
    for (index, sequence) in sequences.iter().enumerate() {
        let before = read(&*transport, &everything(), sequence.before(), 10).await;
        assert_eq!(before.len(), 3 - index, "before {sequence}");
        let behind = read(&*transport, &everything(), *sequence, 10).await;
        assert_eq!(behind.len(), 2 - index, "behind {sequence}");
    }
}

pub(super) async fn events_are_got_by_their_sequences(place: &dyn Place) {
    let (one, other) = (
        place.open().await.expect("the place is opened"),
        place.open().await.expect("the place is opened again"),
    );
    assert_eq!(one.get(&[Sequence::new(1)]).await.expect("nothing is got"), []);
    let sequences = one.publish(events("a", 4)).await.expect("a batch is published");
    other.head().await.expect("the end of the log is told");
    let whole = log(&*other).await;
    let far = [
        Sequence::START,
        Sequence::new(sequences[3].get() + 1_000),
        Sequence::new(u64::MAX),
    ];
    let asked = [sequences[2], far[0], sequences[0], far[1], sequences[3], far[2]];
    let got = other.get(&asked).await.expect("events are got");
    let expected = [whole[2].clone(), whole[0].clone(), whole[3].clone()];
    assert_same(&got, &expected, "what is there, in the order asked for");
    assert_eq!(other.get(&far).await.expect("what is not there is got"), []);
    assert_eq!(other.get(&[]).await.expect("nothing is asked for"), []);
}

pub(super) async fn the_head_knows_what_was_acknowledged(place: &dyn Place) {
    let handles = [
        place.open().await.expect("the place is opened"),
        place.open().await.expect("the place is opened again"),
    ];
    let empty = handles[0].head().await.expect("the end of an empty log is told");
    assert_eq!(empty, Sequence::START, "an empty log ends at its start");
    for round in 0..40 {
        let (publisher, reader) = (&handles[round % 2], &handles[(round / 2) % 2]);
        let batch = events("a", 1 + round as u64 % 3);
        let sequences = publisher.publish(batch).await.expect("a batch is published");
        let last = *sequences.last().expect("a batch has sequences");
        let head = reader.head().await.expect("the end of the log is told");
        assert!(
            head >= last,
            "{last} was acknowledged before the head was said to be {head}"
        );
        let page = reader.read(&everything(), sequences[0].before(), 10).await;
        let page = page.expect("a page is read");
        assert_eq!(page.events.len(), sequences.len(), "what the head includes can be read");
    }
}

pub(super) async fn dates_are_found(place: &dyn Place) {
    let transport = place.open().await.expect("the place is opened");
    let day = Duration::from_secs(24 * 3_600);
    let begin = SystemClock.now() - day;
    let find = async |time: Timestamp| {
        let cursor = transport.before(time).await.expect("a date is found");
        read(&*transport, &everything(), cursor, 1_000).await.len()
    };
    assert_eq!(find(begin).await, 0, "an empty log");
    let seconds = [0, 10, 10, 10, 20, 30, 30];
    for second in seconds {
        let event = event("a", second).time(begin + Duration::from_secs(second));
        transport.publish(vec![event]).await.expect("an event is published");
    }
    let micro = Duration::from_micros(1);
    for second in 0..=31 {
        let time = begin + Duration::from_secs(second);
        for time in [time - micro, time, time + micro] {
            let expected = seconds
                .iter()
                .filter(|at| begin + Duration::from_secs(**at) >= time)
                .count();
            assert_eq!(find(time).await, expected, "{second} seconds from the first");
        }
    }
    for (time, expected) in [(Timestamp::MIN, 7), (Timestamp::EPOCH, 7), (Timestamp::MAX, 0)] {
        assert_eq!(find(time).await, expected, "{time}");
    }
    // Behind everything there is what comes next.
    let cursor = transport.before(Timestamp::MAX).await.expect("a date is found");
    transport
        .publish(vec![event("a", 99)])
        .await
        .expect("an event is published");
    assert_eq!(read(&*transport, &everything(), cursor, 10).await.len(), 1);
}
