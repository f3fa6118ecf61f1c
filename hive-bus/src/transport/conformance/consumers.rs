//! The state of consumers.

use std::sync::Arc;

use tokio::task::JoinSet;

use super::Place;
use super::samples::{everything, patterns};
use crate::limits;
use crate::transport::{Change, Register, Transport};

async fn store(transport: &dyn Transport, consumer: &str, expected: Option<u64>, state: &[u8]) -> Option<u64> {
    let stored = transport.store(consumer, Change::new(expected, state.to_vec())).await;
    stored.expect("a state is stored or refused")
}

async fn load(transport: &dyn Transport, consumer: &str) -> Option<Register> {
    transport.load(consumer).await.expect("a state is loaded")
}

pub(super) async fn a_consumer_is_created_once(place: &dyn Place) {
    let handles = [
        place.open().await.expect("the place is opened"),
        place.open().await.expect("the place is opened again"),
    ];
    assert_eq!(load(&*handles[0], "a").await, None);
    assert_eq!(
        store(&*handles[0], "a", Some(1), b"x").await,
        None,
        "there is nothing to replace"
    );
    assert_eq!(load(&*handles[1], "a").await, None, "a refused change leaves nothing");
    let names = handles[0].consumers("", 10).await.expect("consumers are listed");
    assert!(names.is_empty(), "a refused change leaves nothing");
    assert!(
        !handles[0].remove("a").await.expect("nothing is removed"),
        "a refused change leaves nothing"
    );

    let mut racers = JoinSet::new();
    for racer in 0..8_u8 {
        let transport = Arc::clone(&handles[usize::from(racer % 2)]);
        racers.spawn(async move { (racer, store(&*transport, "a", None, &[racer]).await) });
    }
    let mut won = racers.join_all().await;
    won.retain(|(_, revision)| revision.is_some());
    let [(winner, Some(revision))] = won[..] else {
        panic!("one creates the consumer, not {won:?}");
    };
    for handle in &handles {
        assert_eq!(load(&**handle, "a").await, Some(Register::new(vec![winner], revision)));
    }
}

pub(super) async fn a_state_is_replaced_by_who_has_seen_it(place: &dyn Place) {
    let (one, other) = (
        place.open().await.expect("the place is opened"),
        place.open().await.expect("the place is opened again"),
    );
    let first = store(&*one, "a", None, b"first").await.expect("it is created");
    let second = store(&*other, "a", Some(first), b"second")
        .await
        .expect("it is replaced");
    assert!(second > first, "revisions grow");
    for stale in [None, Some(first), Some(0), Some(second + 1), Some(u64::MAX)] {
        assert_eq!(
            store(&*one, "a", stale, b"stale").await,
            None,
            "{stale:?} is not its revision"
        );
        assert_eq!(
            load(&*other, "a").await,
            Some(Register::new(b"second".to_vec(), second))
        );
    }
    // Also when it is the same text again.
    let third = store(&*one, "a", Some(second), b"second")
        .await
        .expect("it is replaced");
    assert!(third > second, "revisions grow");
    assert_eq!(store(&*other, "b", None, b"other").await.map(|_| ()), Some(()));
    assert_eq!(load(&*other, "a").await, Some(Register::new(b"second".to_vec(), third)));
}

pub(super) async fn racing_changes_lose_nothing(place: &dyn Place) {
    const RACERS: u64 = 16;
    const EACH: u64 = 5;
    let handles = [
        place.open().await.expect("the place is opened"),
        place.open().await.expect("the place is opened again"),
    ];
    store(&*handles[0], "a", None, b"0").await.expect("it is created");
    let mut racers = JoinSet::new();
    for racer in 0..RACERS {
        let transport = Arc::clone(&handles[(racer % 2) as usize]);
        racers.spawn(async move {
            let mut added = 0;
            let mut last = 0;
            while added < EACH {
                let Register { state, revision } = load(&*transport, "a").await.expect("it is there");
                assert!(revision >= last, "the revision went back from {last} to {revision}");
                last = revision;
                let count: u64 = String::from_utf8(state).unwrap().parse().unwrap();
                let mut change = Change::new(Some(revision), (count + 1).to_string().into_bytes());
                change.relaxed = racer % 3 == 0;
                let stored = transport
                    .store("a", change)
                    .await
                    .expect("a state is stored or refused");
                added += u64::from(stored.is_some());
                tokio::task::yield_now().await;
            }
        });
    }
    while let Some(ended) = racers.join_next().await {
        ended.expect("a racer comes to its end");
    }
    let state = load(&*handles[1], "a").await.expect("it is there").state;
    assert_eq!(String::from_utf8(state).unwrap(), (RACERS * EACH).to_string());
}

pub(super) async fn states_of_every_size_come_back(place: &dyn Place) {
    let (one, other) = (
        place.open().await.expect("the place is opened"),
        place.open().await.expect("the place is opened again"),
    );
    let mut revision = None;
    for size in [0, 1, 255, 256, 65_536, limits::STATE_BYTES_MAX] {
        // Every byte, also those that are no text.
        let state: Vec<u8> = (0..size).map(|at| (at % 251) as u8 ^ (at / 251) as u8).collect();
        revision = store(&*one, "a", revision, &state).await;
        let known = load(&*other, "a").await.expect("it is there");
        assert_eq!(Some(known.revision), revision);
        assert!(known.state == state, "a state of {size} bytes comes back as it was");
    }
}

pub(super) async fn a_removed_consumer_can_be_made_again(place: &dyn Place) {
    let (one, other) = (
        place.open().await.expect("the place is opened"),
        place.open().await.expect("the place is opened again"),
    );
    assert!(!one.remove("a").await.expect("nothing is removed"));
    let mut stale = Vec::new();
    for round in 0..3 {
        let mut revision = store(&*one, "a", None, &[round]).await;
        assert!(revision.is_some(), "what was removed can be made again");
        for _ in 0..4 {
            stale.push(revision);
            revision = store(&*other, "a", revision, &[round]).await;
            assert!(revision.is_some());
        }
        stale.push(revision);
        assert!(other.remove("a").await.expect("a consumer is removed"));
        assert!(
            !one.remove("a").await.expect("nothing is removed"),
            "it was removed already"
        );
        assert_eq!(load(&*one, "a").await, None);
        assert_eq!(
            store(&*one, "a", revision, b"x").await,
            None,
            "what was removed cannot be replaced"
        );
    }
    // Whoever has seen what was removed has not seen what was made after it.
    let mut revision = store(&*one, "a", None, b"new").await;
    for _ in 0..8 {
        for stale in &stale {
            assert_eq!(
                store(&*other, "a", *stale, b"old").await,
                None,
                "{stale:?} was before the removal"
            );
        }
        revision = store(&*one, "a", revision, b"new").await;
        assert!(revision.is_some());
    }
}

pub(super) async fn names_are_listed_in_pages(place: &dyn Place) {
    let transport = place.open().await.expect("the place is opened");
    let none = transport.consumers("", 10).await.expect("consumers are listed");
    assert!(none.is_empty());
    // English order is another.
    let mut names: Vec<String> = ["b", "B", "a", "a-b", "a.b", "a_b", "ab", "Z", "10", "9", "aa.b-c"]
        .map(Into::into)
        .into();
    names.extend((0..20).map(|number| format!("many.{number}")));
    for name in &names {
        store(&*transport, name, None, b"").await.expect("it is created");
    }
    names.sort();
    for limit in [1, 2, 7, 30, 31, 32, 1_000] {
        let (mut found, mut after) = (Vec::new(), String::new());
        loop {
            let page = transport.consumers(&after, limit).await.expect("consumers are listed");
            assert!(page.len() <= limit);
            let Some(last) = page.last() else { break };
            after.clone_from(last);
            found.extend(page);
        }
        assert_eq!(found, names, "{limit} at a time");
    }
    let behind = transport.consumers("b", 2).await.expect("consumers are listed");
    assert_eq!(behind, ["many.0", "many.1"]);
    let behind = transport.consumers("~", 2).await.expect("consumers are listed");
    assert!(behind.is_empty());
}

pub(super) async fn a_change_wakes_who_works_for_the_consumer(place: &dyn Place) {
    let (one, other) = (
        place.open().await.expect("the place is opened"),
        place.open().await.expect("the place is opened again"),
    );
    let nothing = patterns(&["nothing"]);
    let interests = [
        one.live().interest(&nothing, Some("a")),
        other.live().interest(&nothing, Some("a")),
        other.live().interest(&everything(), Some("a")),
    ];
    let mut revision = None;
    for round in 0..6 {
        for interest in &interests {
            interest.take();
        }
        let mut change = Change::new(revision, vec![round]);
        change.wake = true;
        change.relaxed = round % 2 == 0;
        let changer = if round % 3 == 0 { &one } else { &other };
        revision = changer.store("a", change).await.expect("a state is stored");
        for interest in &interests {
            // Wake-ups that are not meant may come before it.
            interest.woken().await;
            while load(&*one, "a").await.map(|known| known.revision) != revision {
                interest.take();
                interest.woken().await;
            }
        }
    }
    // One goes, and the others still hear.
    let [first, second, third] = interests;
    drop(second);
    third.take();
    first.take();
    let mut change = Change::new(revision, b"last".to_vec());
    change.wake = true;
    one.store("a", change).await.expect("a state is stored");
    first.woken().await;
    third.woken().await;
    // Whoever works for what is removed learns of it.
    while load(&*other, "a").await.is_some() {
        third.take();
        if one.remove("a").await.expect("a consumer is removed") {
            third.woken().await;
        }
    }
}
