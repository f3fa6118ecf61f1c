//! Following the log while many publish: nothing is missed, whoever comes first.

use std::sync::Arc;

use tokio::task::JoinSet;

use super::Place;
use super::listener::Listener;
use super::samples::{all_published, assert_same, event, events, everything, log, new_id, patterns, published};
use crate::event::{Event, NewEvent, Sequence};
use crate::transport::Transport;

const PUBLISHERS: u64 = 8;
const ROUNDS: u64 = 30;

/// How many events each publisher appends, one of them on the topic `load.last`.
const EACH: u64 = ROUNDS * 2;

/// Publishes singly and in batches, some of it a second time, and some of it with ids that are taken.
async fn publish(transport: Arc<dyn Transport>, publisher: u64) -> Vec<Event> {
    let mut kept = Vec::new();
    let mut keep = async |batch: Vec<NewEvent>| {
        let sequences = transport.publish(batch.clone()).await.expect("a batch is published");
        kept.extend(all_published(&batch, &sequences));
    };
    let topic = |round: u64| {
        format!(
            "load.{publisher}.{}",
            if round.is_multiple_of(3) { "rare" } else { "often" }
        )
    };
    for round in 0..ROUNDS {
        let number = publisher * 1_000 + round * 2;
        let pair = vec![event(topic(round), number), event(topic(round), number + 1)];
        if round % 2 == 0 {
            for event in pair.clone() {
                keep(vec![event]).await;
            }
        } else {
            keep(pair.clone()).await;
        }
        if round % 4 == 0 {
            transport
                .publish(pair.clone())
                .await
                .expect("a batch is published again");
        }
        if round % 5 == 0 {
            let taken = pair[0].id.expect("the sample has an id");
            transport
                .publish(vec![event("load.taken", 0).id(taken)])
                .await
                .expect_err("an id belongs to one event");
        }
    }
    kept
}

pub(super) async fn followers_see_every_event_once_and_in_order(place: &dyn Place) {
    let handles = [
        place.open().await.expect("the place is opened"),
        place.open().await.expect("the place is opened again"),
    ];
    let mut followers = JoinSet::new();
    for (which, handle) in handles.iter().enumerate() {
        for (texts, slow) in [
            (["load.*.*", "end"], false),
            (["load.*.rare", "end"], true),
            (["*", "*"], true),
        ] {
            let wanted = patterns(&texts);
            let mut listener = Listener::begin(handle, wanted.clone()).await;
            followers.spawn(async move {
                let mut seen = Vec::new();
                loop {
                    let event = listener.next().await;
                    if event.topic().as_str() == "end" {
                        return (which, wanted, seen);
                    }
                    seen.push(event);
                    if slow && seen.len().is_multiple_of(7) {
                        tokio::task::yield_now().await;
                    }
                }
            });
        }
    }
    let mut publishers = JoinSet::new();
    for publisher in 0..PUBLISHERS {
        let transport = Arc::clone(&handles[(publisher % 2) as usize]);
        publishers.spawn(publish(transport, publisher));
    }
    let mut acknowledged = Vec::new();
    while let Some(events) = publishers.join_next().await {
        acknowledged.extend(events.expect("a publisher comes to its end"));
    }
    acknowledged.sort_by_key(Event::sequence);
    assert_eq!(acknowledged.len() as u64, PUBLISHERS * EACH);
    handles[1]
        .publish(vec![event("end", 0)])
        .await
        .expect("the end is published");

    let mut whole = log(&*handles[0]).await;
    whole.pop();
    assert_same(&whole, &acknowledged, "the log, beside what was acknowledged");
    while let Some(follower) = followers.join_next().await {
        let (which, wanted, seen) = follower.expect("a follower comes to its end");
        let expected: Vec<Event> = whole
            .iter()
            .filter(|event| wanted.matches(event.topic()))
            .cloned()
            .collect();
        assert_same(
            &seen,
            &expected,
            &format!("what a follower of {wanted} saw on handle {which}"),
        );
    }
}

/// What is refused may have taken a sequence along. Nobody waits for it.
pub(super) async fn a_sequence_that_came_to_nothing_holds_nobody_up(place: &dyn Place) {
    let (one, other) = (
        place.open().await.expect("the place is opened"),
        place.open().await.expect("the place is opened again"),
    );
    let mut listener = Listener::begin(&other, everything()).await;
    let mut expected = Vec::new();
    for round in 0..5 {
        let id = new_id();
        let sent = event("a", round).id(id);
        let sequences = one.publish(vec![sent.clone()]).await.expect("an event is published");
        for _ in 0..round {
            let batch = vec![sent.clone(), event("b", 0).id(id)];
            one.publish(batch).await.expect_err("an id belongs to one event");
        }
        expected.push(published(&sent, sequences[0]));
        assert_same(
            &[listener.next().await],
            &expected[expected.len() - 1..],
            "what is heard",
        );
    }
    // The last look is taken where nothing comes behind what was refused.
    let head = other.head().await.expect("the end of the log is told");
    assert!(Some(head) >= expected.last().map(Event::sequence));
    assert_same(&log(&*other).await, &expected, "the log");
    one.publish(events("c", 2)).await.expect("a batch is published");
    let last = listener.take(2).await;
    assert!(
        last[0].sequence() > head || head == Sequence::START,
        "what comes is behind the head"
    );
}
