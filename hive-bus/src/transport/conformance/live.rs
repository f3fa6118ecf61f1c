//! Waiting for what comes.

use std::sync::Arc;

use tokio::sync::mpsc;
use tokio::task::JoinSet;

use super::Place;
use super::listener::Listener;
use super::samples::{assert_same, event, events, everything, log, patterns};
use crate::event::{Event, Sequence};
use crate::topic::{Pattern, Patterns};
use crate::transport::Transport;

pub(super) async fn who_waits_is_woken(place: &dyn Place) {
    let (one, other) = (
        place.open().await.expect("the place is opened"),
        place.open().await.expect("the place is opened again"),
    );
    // While nobody waits.
    one.publish(events("a.b", 3)).await.expect("a batch is published");
    let mut from_start = Listener::from_start(&other, patterns(&["a.*"])).await;
    let mut from_now = Listener::begin(&other, patterns(&["x", "a.>"])).await;
    assert_eq!(from_start.take(3).await.len(), 3);
    for (number, publisher) in [&one, &other, &one, &one, &other].into_iter().enumerate() {
        let number = 10 + number as u64;
        let batch = vec![event("other", 0), event("a.b", number), event("b.a", 0)];
        publisher.publish(batch).await.expect("a batch is published");
        for listener in [&mut from_start, &mut from_now] {
            let event = listener.next().await;
            assert_eq!(
                (event.topic().as_str(), event.data().decode::<u64>().ok()),
                ("a.b", Some(number)),
                "whoever waits is given what was published, and nothing before it"
            );
        }
    }
    drop((from_start, from_now));
    // And again after nobody did.
    one.publish(events("a.b", 2)).await.expect("a batch is published");
    let mut late = Listener::begin(&other, everything()).await;
    let sent = event("last", 1);
    one.publish(vec![sent]).await.expect("an event is published");
    assert_eq!(late.next().await.topic().as_str(), "last");
}

/// Players who answer each other's events: each is published only when the one before was heard, so a wake-up that is lost
/// ends the game.
pub(super) async fn nobody_sleeps_through_an_event(place: &dyn Place) {
    const ROUNDS: u64 = 60;
    const TABLES: u64 = 4;
    let handles = [
        place.open().await.expect("the place is opened"),
        place.open().await.expect("the place is opened again"),
    ];
    let mut games = JoinSet::new();
    for table in 0..TABLES {
        for player in 0..2 {
            // Two play on one handle, two between handles.
            let transport = Arc::clone(&handles[(player * (table % 2)) as usize]);
            let (own, others) = (format!("game.{table}.{player}"), format!("game.{table}.{}", 1 - player));
            let heard = Pattern::new(others).expect("the sample is a pattern");
            let mut listener = Listener::from_start(&transport, heard.into()).await;
            games.spawn(async move {
                for round in 0..ROUNDS {
                    if round % 2 == player {
                        let sent = vec![event(own.clone(), round)];
                        transport.publish(sent).await.expect("an event is published");
                    } else {
                        let heard = listener.next().await.data().decode::<u64>().ok();
                        assert_eq!(heard, Some(round), "table {table} hears each event once");
                    }
                }
            });
        }
    }
    while let Some(ended) = games.join_next().await {
        ended.expect("a game comes to its end");
    }
}

pub(super) async fn what_is_at_hand_is_what_is_in_the_log(place: &dyn Place) {
    let handles = [
        place.open().await.expect("the place is opened"),
        place.open().await.expect("the place is opened again"),
    ];
    let wanted = patterns(&["a"]);
    let mut looks = Vec::new();
    for _ in 0..4 {
        let interests = handles.each_ref().map(|handle| handle.live().interest(&wanted, None));
        look_while_many_publish(&handles, &wanted, &mut looks).await;
        drop(interests);
        // While nobody waits.
        handles[0].publish(events("a", 3)).await.expect("a batch is published");
        handles[1].head().await.expect("the end of the log is told");
    }
    let whole = log(&*handles[0]).await;
    for Seen {
        cursor,
        events,
        reached,
    } in looks
    {
        assert!(reached > cursor, "what is at hand behind {cursor} reaches {reached}");
        assert!(events.len() <= 5, "more is at hand than was asked for");
        let between = |event: &&Event| event.sequence() > cursor && event.sequence() <= reached;
        let expected: Vec<Event> = whole
            .iter()
            .filter(between)
            .filter(|event| wanted.matches(event.topic()))
            .cloned()
            .collect();
        assert_same(
            &events,
            &expected,
            &format!("what is at hand between {cursor} and {reached}"),
        );
    }
}

/// What was at hand behind a cursor.
struct Seen {
    cursor: Sequence,
    events: Vec<Event>,
    reached: Sequence,
}

async fn look_while_many_publish(handles: &[Arc<dyn Transport>; 2], wanted: &Patterns, looks: &mut Vec<Seen>) {
    let (told, mut tells) = mpsc::channel(1);
    let mut publishers = JoinSet::new();
    for publisher in 0..4 {
        let (transport, told) = (Arc::clone(&handles[publisher % 2]), told.clone());
        publishers.spawn(async move {
            for round in 0..6 {
                let topic = if round % 3 == 0 { "b" } else { "a" };
                let batch = events(topic, 1 + round % 4);
                transport.publish(batch).await.expect("a batch is published");
                // Not before somebody has looked.
                let _ended = told.send(()).await;
            }
        });
    }
    drop(told);
    while tells.recv().await.is_some() {
        for handle in handles {
            let head = handle.live().head().sequence.get();
            for cursor in (head.saturating_sub(12)..=head).map(Sequence::new) {
                let found = handle.live().recent(wanted, cursor, 5);
                looks.extend(found.map(|(events, reached)| Seen {
                    cursor,
                    events,
                    reached,
                }));
            }
        }
    }
    while let Some(ended) = publishers.join_next().await {
        ended.expect("a publisher comes to its end");
    }
}
