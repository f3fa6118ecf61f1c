//! Dead letters.

use hive_core::clock::{Clock, SystemClock, Timestamp};
use hive_core::id::EventId;

use super::Place;
use super::samples::{assert_same, event, large, log, odd_events};
use crate::event::{Event, Sequence};
use crate::limits;
use crate::transport::{Change, DeadLetter, DeadReason, Mishap, Transport};

/// Publishes events and gives them as a consumer has them.
async fn published(transport: &dyn Transport, count: u64) -> Vec<Event> {
    let events = (0..count).map(|number| event("a", number)).collect();
    transport.publish(events).await.expect("events are published");
    log(transport).await
}

fn letter(event: &Event, attempts: u32) -> DeadLetter {
    let mishap = Mishap::new(SystemClock.now(), format!("attempt {attempts}"));
    DeadLetter::new(
        event.clone(),
        DeadReason::Exhausted,
        attempts,
        SystemClock.now(),
        vec![mishap],
    )
}

/// Replaces the state, together with these letters.
async fn store(
    transport: &dyn Transport,
    expected: Option<u64>,
    dead: Vec<DeadLetter>,
    revived: Vec<Sequence>,
) -> Option<u64> {
    let mut change = Change::new(expected, b"state".to_vec());
    change.dead = dead;
    change.revived = revived;
    transport
        .store("a", change)
        .await
        .expect("a state is stored or refused")
}

/// All letters of a consumer, in pages of so many.
async fn letters(transport: &dyn Transport, consumer: &str, limit: usize) -> Vec<DeadLetter> {
    let (mut found, mut after) = (Vec::new(), Sequence::START);
    loop {
        let page = transport
            .dead_letters(consumer, after, limit)
            .await
            .expect("letters are listed");
        assert!(page.len() <= limit);
        let Some(last) = page.last() else { return found };
        after = last.event.sequence();
        found.extend(page);
    }
}

fn sequences(letters: &[DeadLetter]) -> Vec<Sequence> {
    letters.iter().map(|letter| letter.event.sequence()).collect()
}

pub(super) async fn letters_are_stored_with_the_state_or_not_at_all(place: &dyn Place) {
    let (one, other) = (
        place.open().await.expect("the place is opened"),
        place.open().await.expect("the place is opened again"),
    );
    let events = published(&*one, 4).await;
    assert_eq!(
        store(&*one, Some(1), vec![letter(&events[0], 1)], Vec::new()).await,
        None
    );
    assert_eq!(letters(&*other, "a", 10).await, [], "a refused change buries nothing");
    let created = store(&*one, None, vec![letter(&events[1], 1)], Vec::new()).await;
    let found = letters(&*other, "a", 10).await;
    assert_eq!(sequences(&found), [events[1].sequence()]);
    for stale in [None, created.map(|revision| revision + 1)] {
        let dead = vec![letter(&events[2], 1), letter(&events[3], 1)];
        assert_eq!(store(&*other, stale, dead, vec![events[1].sequence()]).await, None);
        assert_eq!(
            letters(&*one, "a", 10).await,
            found,
            "a refused change neither buries nor revives"
        );
    }
    let dead = vec![letter(&events[3], 1), letter(&events[0], 1)];
    store(&*other, created, dead, Vec::new())
        .await
        .expect("a state is replaced");
    let all = [&events[0], &events[1], &events[3]].map(Event::sequence);
    assert_eq!(sequences(&letters(&*one, "a", 10).await), all);
}

pub(super) async fn the_last_letter_of_an_event_counts(place: &dyn Place) {
    let transport = place.open().await.expect("the place is opened");
    let events = published(&*transport, 2).await;
    let (first, second) = (letter(&events[0], 1), letter(&events[1], 1));
    let revision = store(&*transport, None, vec![first, second.clone()], Vec::new()).await;
    // As of one that was given another chance.
    let again = DeadLetter::new(events[0].clone(), DeadReason::Rejected, 7, Timestamp::MAX, Vec::new());
    let revision = store(&*transport, revision, vec![again.clone()], Vec::new()).await;
    assert_same(
        &letters(&*transport, "a", 10).await,
        &[again.clone(), second.clone()],
        "the letters",
    );
    let revision = store(&*transport, revision, Vec::new(), vec![events[0].sequence()]).await;
    assert_same(
        &letters(&*transport, "a", 10).await,
        std::slice::from_ref(&second),
        "the letters",
    );
    // It may die again after it was revived, and others with it.
    let dead = vec![letter(&events[1], 2), again.clone()];
    store(&*transport, revision, dead.clone(), vec![Sequence::new(u64::MAX)])
        .await
        .expect("a state is replaced");
    assert_same(
        &letters(&*transport, "a", 10).await,
        &[again, dead[0].clone()],
        "the letters",
    );
}

pub(super) async fn letters_are_listed_in_pages(place: &dyn Place) {
    let transport = place.open().await.expect("the place is opened");
    assert_eq!(
        letters(&*transport, "a", 10).await,
        [],
        "a consumer that is not there has none"
    );
    let events = published(&*transport, 25).await;
    let all: Vec<DeadLetter> = events.iter().map(|event| letter(event, 3)).collect();
    // Not in the order of their sequences.
    let (back, front) = (all[12..].to_vec(), all[..12].to_vec());
    let revision = store(&*transport, None, back, Vec::new()).await;
    store(&*transport, revision, front, Vec::new())
        .await
        .expect("a state is replaced");
    for limit in [1, 7, 24, 25, 26, 1_000] {
        assert_same(
            &letters(&*transport, "a", limit).await,
            &all,
            &format!("{limit} at a time"),
        );
    }
    for (after, rest) in [
        (events[3].sequence(), 21),
        (events[24].sequence(), 0),
        (Sequence::new(u64::MAX), 0),
    ] {
        let page = transport
            .dead_letters("a", after, 100)
            .await
            .expect("letters are listed");
        assert_eq!(page.len(), rest, "behind {after}");
    }
    let asked = [
        events[20].sequence(),
        Sequence::new(u64::MAX),
        events[1].sequence(),
        Sequence::START,
    ];
    let mut found = transport.dead("a", &asked).await.expect("letters are found");
    found.sort_by_key(|letter| letter.event.sequence());
    assert_same(&found, &[all[1].clone(), all[20].clone()], "the letters asked for");
    assert_eq!(transport.dead("a", &[]).await.expect("nothing is asked for"), []);
    assert_eq!(transport.dead("b", &asked).await.expect("another has none"), []);
}

pub(super) async fn letters_are_purged_revived_and_removed(place: &dyn Place) {
    let (one, other) = (
        place.open().await.expect("the place is opened"),
        place.open().await.expect("the place is opened again"),
    );
    let events = published(&*one, 8).await;
    let all: Vec<DeadLetter> = events.iter().map(|event| letter(event, 1)).collect();
    let revision = store(&*one, None, all.clone(), Vec::new()).await;
    let mut change = Change::new(None, Vec::new());
    change.dead.clone_from(&all);
    one.store("b", change).await.expect("a state is stored");

    let at = |at: usize| events[at].sequence();
    let purged = other.purge("a", &[at(0), at(3), Sequence::new(u64::MAX)]).await;
    assert_eq!(purged.expect("letters are purged"), 2);
    let purged = other.purge("a", &[at(0), at(3)]).await;
    assert_eq!(purged.expect("nothing is purged"), 0, "they were purged already");
    assert_eq!(other.purge("a", &[]).await.expect("nothing is purged"), 0);
    assert_eq!(other.purge("c", &[at(1)]).await.expect("nothing is purged"), 0);
    assert_eq!(sequences(&letters(&*one, "a", 100).await), [1, 2, 4, 5, 6, 7].map(at));

    // One that is not there can be revived as well.
    let revision = store(&*other, revision, Vec::new(), vec![at(0), at(1), at(7)]).await;
    assert!(revision.is_some());
    assert_eq!(sequences(&letters(&*one, "a", 100).await), [2, 4, 5, 6].map(at));
    assert_same(&letters(&*one, "b", 100).await, &all, "another's letters");

    assert!(one.remove("a").await.expect("a consumer is removed"));
    assert_eq!(
        letters(&*other, "a", 100).await,
        [],
        "its letters went with the consumer"
    );
    store(&*other, None, Vec::new(), Vec::new())
        .await
        .expect("it is made again");
    assert_eq!(letters(&*one, "a", 100).await, [], "a new consumer has no letters");
    assert_same(&letters(&*one, "b", 100).await, &all, "another's letters");
}

pub(super) async fn letters_come_back_whole(place: &dyn Place) {
    let (one, other) = (
        place.open().await.expect("the place is opened"),
        place.open().await.expect("the place is opened again"),
    );
    let mut sent = odd_events();
    sent.push(large("large", limits::DATA_BYTES_MAX));
    one.publish(sent).await.expect("odd events are published");
    let events = log(&*one).await;
    let reasons = [DeadReason::Exhausted, DeadReason::Rejected, DeadReason::Expired];
    let times = [
        Timestamp::EPOCH,
        Timestamp::MAX,
        SystemClock.now(),
        Timestamp::from_micros(-1),
    ];
    let errors = ["", "\0\u{1f}", "ß日本🦀 \"\\ '%s", &"x".repeat(4_096)];
    let all: Vec<DeadLetter> = events
        .iter()
        .enumerate()
        .map(|(at, event)| {
            let mishap = |number: usize| {
                Mishap::new(
                    times[(at + number) % times.len()],
                    errors[(at + number) % errors.len()].to_owned(),
                )
            };
            let attempts = [0, 1, u32::MAX][at % 3];
            // One more than are kept.
            let mishaps = (0..at % (limits::MISHAPS_MAX + 2)).map(mishap).collect();
            DeadLetter::new(event.clone(), reasons[at % 3], attempts, times[at % 4], mishaps)
        })
        .collect();
    assert!(all.iter().all(|letter| letter.mishaps.len() <= limits::MISHAPS_MAX));
    // With the largest state beside it.
    let mut change = Change::new(None, vec![7; limits::STATE_BYTES_MAX]);
    change.dead.clone_from(&all);
    one.store("a", change)
        .await
        .expect("a state is stored")
        .expect("there is no consumer yet");
    assert_same(&letters(&*other, "a", 5).await, &all, "the letters");
    let found = other.dead("a", &sequences(&all)).await.expect("letters are found");
    assert_eq!(found.len(), all.len());
    // An event that came from its letter is the one that was published.
    let ids: Vec<EventId> = found.iter().map(|letter| letter.event.id()).collect();
    let again = found.into_iter().map(|letter| letter.event.into()).collect();
    let known = other.publish(again).await.expect("dead events are published again");
    assert_eq!(known.len(), ids.len());
    assert_same(&log(&*other).await, &events, "the log");
}
