//! Taking over what a database has committed.

use std::sync::Arc;

use hive_core::clock::{Clock, SystemClock};
use hive_errors::ErrorKind;
use tokio::task::JoinSet;

use super::Place;
use super::listener::Listener;
use super::samples::{assert_same, event, everything, log, new_id, odd_events, patterns, published, read};
use crate::event::{Event, Sequence};

/// Events as a database has them: with sequences between which some are missing.
fn committed(count: u64) -> Vec<Event> {
    let sequence = |number: u64| Sequence::new(number * 3 + number % 2);
    (1..=count)
        .map(|number| published(&event("a", number), sequence(number)))
        .collect()
}

/// Whether the transport takes what is relayed; one that is a database says that it does not.
async fn relays(place: &dyn Place) -> bool {
    if place.relays() {
        return true;
    }
    let transport = place.open().await.expect("the place is opened");
    let error = transport
        .relay(committed(1))
        .await
        .expect_err("nothing is relayed to a database");
    assert_eq!(error.kind(), ErrorKind::InvalidInput, "{error:?}");
    let error = transport
        .relayed()
        .await
        .expect_err("nothing was relayed to a database");
    assert_eq!(error.kind(), ErrorKind::InvalidInput, "{error:?}");
    assert_eq!(log(&*transport).await, []);
    false
}

pub(super) async fn relayed_events_keep_their_sequences(place: &dyn Place) {
    if !relays(place).await {
        return;
    }
    let (one, other) = (
        place.open().await.expect("the place is opened"),
        place.open().await.expect("the place is opened again"),
    );
    assert_eq!(one.relayed().await.expect("nothing was relayed"), Sequence::START);
    one.relay(Vec::new()).await.expect("nothing is relayed");
    let mut listener = Listener::begin(&other, everything()).await;
    let odd = odd_events();
    let all: Vec<Event> = odd
        .iter()
        .enumerate()
        .map(|(at, event)| published(event, Sequence::new(5 + at as u64 * at as u64)))
        .collect();
    for part in all.chunks(4) {
        one.relay(part.to_vec()).await.expect("events are relayed");
        let last = part.last().map(Event::sequence);
        assert_eq!(other.relayed().await.ok(), last, "whoever relays knows how far it came");
        assert!(Some(other.head().await.expect("the end of the log is told")) >= last);
        assert_same(&listener.take(part.len()).await, part, "what is heard");
    }
    assert_same(&log(&*other).await, &all, "the log");
    for limit in [1, 7] {
        let some = patterns(&["odd", "none"]);
        let expected: Vec<Event> = all
            .iter()
            .filter(|event| some.matches(event.topic()))
            .cloned()
            .collect();
        assert_same(
            &read(&*other, &some, Sequence::START, limit).await,
            &expected,
            "the log in pages",
        );
    }
    let asked = [all[7].sequence(), Sequence::new(7), all[0].sequence()];
    let got = other.get(&asked).await.expect("events are got");
    assert_same(&got, &[all[7].clone(), all[0].clone()], "what is got");
    // Cursors that stand where the source has nothing.
    for after in [4, 5, 6, 7, 8, 9, 10] {
        let expected: Vec<Event> = all
            .iter()
            .filter(|event| event.sequence().get() > after)
            .cloned()
            .collect();
        assert_same(
            &read(&*other, &everything(), Sequence::new(after), 3).await,
            &expected,
            "behind a cursor",
        );
    }
    let before = one.before(SystemClock.now()).await.expect("a date is found");
    assert!(before <= all[all.len() - 1].sequence());
}

pub(super) async fn what_was_relayed_is_not_relayed_again(place: &dyn Place) {
    if !relays(place).await {
        return;
    }
    let (one, other) = (
        place.open().await.expect("the place is opened"),
        place.open().await.expect("the place is opened again"),
    );
    let all = committed(40);
    one.relay(all[..10].to_vec()).await.expect("events are relayed");
    // As after a crash between the relay's work and its note of it.
    for (from, to) in [(0, 10), (0, 15), (5, 15), (14, 20), (20, 40), (0, 40), (39, 40)] {
        other
            .relay(all[from..to].to_vec())
            .await
            .expect("events are relayed again");
        let most = all[..to.max(10)].len();
        let relayed = one.relayed().await.expect("how far it came is told");
        assert!(relayed >= all[most - 1].sequence(), "{relayed} after {to}");
    }
    assert_same(&log(&*one).await, &all, "the log");
    assert_eq!(other.relayed().await.ok(), all.last().map(Event::sequence));
}

pub(super) async fn many_relays_do_not_mix_up_the_order(place: &dyn Place) {
    if !relays(place).await {
        return;
    }
    let handles = [
        place.open().await.expect("the place is opened"),
        place.open().await.expect("the place is opened again"),
    ];
    let all = Arc::new(committed(200));
    let mut listener = Listener::begin(&handles[0], everything()).await;
    let mut relays = JoinSet::new();
    for relay in 0..4 {
        let (transport, all) = (Arc::clone(&handles[relay % 2]), Arc::clone(&all));
        relays.spawn(async move {
            loop {
                let relayed = transport.relayed().await.expect("how far it came is told");
                let from = all.partition_point(|event| event.sequence() <= relayed);
                if from == all.len() {
                    return;
                }
                let batch = all[from..(from + 7 + relay).min(all.len())].to_vec();
                if let Err(error) = transport.relay(batch).await {
                    // Somebody else relays at the same time.
                    assert_eq!(error.kind(), ErrorKind::Conflict, "{error:?}");
                }
                tokio::task::yield_now().await;
            }
        });
    }
    assert_same(&listener.take(all.len()).await, &all, "what is heard");
    while let Some(ended) = relays.join_next().await {
        ended.expect("a relay comes to its end");
    }
    assert_same(&log(&*handles[1]).await, &all, "the log");
}

pub(super) async fn a_transport_that_is_published_to_is_not_relayed_to(place: &dyn Place) {
    if !relays(place).await {
        return;
    }
    let (one, other) = (
        place.open().await.expect("the place is opened"),
        place.open().await.expect("the place is opened again"),
    );
    let sent = event("a", 1);
    let sequence = one.publish(vec![sent.clone()]).await.expect("an event is published")[0];
    let foreign = published(&event("b", 2), Sequence::new(sequence.get() + 10));
    other.relay(vec![foreign]).await.expect_err("it is fed by publishers");
    assert_same(&log(&*other).await, &[published(&sent, sequence)], "the log");
    one.publish(vec![event("a", 3)]).await.expect("publishing goes on");
}

pub(super) async fn a_transport_that_is_relayed_to_is_not_published_to(place: &dyn Place) {
    if !relays(place).await {
        return;
    }
    let (one, other) = (
        place.open().await.expect("the place is opened"),
        place.open().await.expect("the place is opened again"),
    );
    let all = committed(2);
    one.relay(all[..1].to_vec()).await.expect("an event is relayed");
    other
        .publish(vec![event("b", 2).id(new_id())])
        .await
        .expect_err("it is fed by a relay");
    assert_same(&log(&*other).await, &all[..1], "the log");
    other.relay(all.clone()).await.expect("relaying goes on");
    assert_same(&log(&*one).await, &all, "the log");
}
