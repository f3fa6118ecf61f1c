use hive_core::clock::Timestamp;
use hive_core::id::EventId;
use proptest::prelude::*;

use super::*;
use crate::event::NewEvent;
use crate::topic::Pattern;

fn event(sequence: u64, topic: &'static str, bytes: usize) -> Event {
    let new = NewEvent::new("a", topic, &"x".repeat(bytes)).unwrap();
    Event::published(
        Sequence::new(sequence),
        EventId::from_bytes([0; 16]),
        Timestamp::EPOCH,
        new.attributes,
    )
}

fn read(recent: &Recent, pattern: &Pattern, after: u64) -> Option<(Vec<u64>, u64)> {
    let mut found = Vec::new();
    let patterns = Patterns::from(pattern.clone());
    let reached = recent.read_after(&patterns, Sequence::new(after), limits::PAGE_EVENTS_MAX, &mut found)?;
    Some((
        found.iter().map(|event| event.sequence().get()).collect(),
        reached.get(),
    ))
}

/// These follow one another, and nothing lies between.
fn push(recent: &Recent, events: Vec<Event>) {
    let (first, last) = (events[0].sequence(), events.last().unwrap().sequence());
    recent.push(first.before(), events, last);
}

#[test]
fn it_holds_the_newest_and_no_more() {
    let recent = Recent::default();
    let total = limits::RECENT_EVENTS_MAX as u64 + 10;
    push(&recent, (1..=total).map(|at| event(at, "a", 1)).collect());
    assert_eq!(read(&recent, &Pattern::ALL, 9), None);
    assert_eq!(read(&recent, &Pattern::ALL, total), None);
    let (first, reached) = read(&recent, &Pattern::ALL, 10).unwrap();
    assert_eq!(
        (first.len(), reached),
        (limits::PAGE_EVENTS_MAX, 10 + limits::PAGE_EVENTS_MAX as u64)
    );

    let large = limits::DATA_BYTES_MAX - 2;
    push(&recent, (1..=100).map(|at| event(total + at, "a", large)).collect());
    let ring = recent.ring.read().unwrap();
    assert!(ring.bytes <= limits::RECENT_BYTES_MAX);
    assert_eq!(ring.bytes, ring.events.iter().map(Event::bytes).sum::<usize>());
    assert!(ring.events.len() >= 10);
}

#[test]
fn what_was_removed_is_not_at_hand_any_more() {
    let recent = Recent::default();
    push(&recent, (1..=6).map(|at| event(at, "a", 1)).collect());
    recent.remove(Sequence::new(3));
    assert_eq!(read(&recent, &Pattern::ALL, 2), None);
    assert_eq!(read(&recent, &Pattern::ALL, 3), Some((vec![4, 5, 6], 6)));
    recent.remove(Sequence::new(2));
    assert_eq!(read(&recent, &Pattern::ALL, 3), Some((vec![4, 5, 6], 6)));
    recent.remove(Sequence::new(99));
    assert_eq!(read(&recent, &Pattern::ALL, 5), None);
    push(&recent, vec![event(7, "a", 1)]);
    assert_eq!(read(&recent, &Pattern::ALL, 6), Some((vec![7], 7)));
}

#[test]
fn a_page_is_bounded_in_bytes() {
    let recent = Recent::default();
    push(
        &recent,
        (1..=8).map(|at| event(at, "a", limits::DATA_BYTES_MAX - 2)).collect(),
    );
    let (page, reached) = read(&recent, &Pattern::ALL, 0).unwrap();
    assert_eq!(page, (1..=reached).collect::<Vec<_>>());
    assert!((4..=5).contains(&page.len()), "{page:?}");
}

#[test]
fn the_head_only_grows() {
    let live = Live::new(Sequence::new(5));
    let mut head = live.follow();
    live.committed_to(Sequence::new(4));
    assert!(!head.has_changed().unwrap());
    live.committed(Sequence::new(5), vec![event(6, "a", 1)], Sequence::new(6));
    let at_six = |closed| Head {
        sequence: Sequence::new(6),
        closed,
    };
    assert_eq!(*head.borrow_and_update(), at_six(false));
    live.close();
    live.close();
    assert_eq!(*head.borrow_and_update(), at_six(true));
}

/// Whether it is woken before anything else can happen.
async fn is_woken(interest: &Interest) -> bool {
    for _ in 0..50 {
        tokio::task::yield_now().await;
    }
    tokio::select! {
        biased;
        () = interest.woken() => interest.take().is_some() | interest.take_touched(),
        () = std::future::ready(()) => false,
    }
}

#[tokio::test]
async fn only_those_are_woken_whom_it_concerns() {
    let live = Live::new(Sequence::START);
    assert!(!live.is_watched());
    let a = live.interest(&Patterns::new(["a.*", "c"]).unwrap(), None);
    let b = live.interest(&Patterns::new(["b.>"]).unwrap(), Some("group"));
    assert!(live.is_watched());
    live.committed(Sequence::START, vec![event(1, "a.x", 1)], Sequence::new(1));
    assert!(is_woken(&a).await && !is_woken(&a).await && !is_woken(&b).await);
    live.committed(
        Sequence::new(1),
        vec![event(2, "b.x", 1), event(3, "c", 1)],
        Sequence::new(3),
    );
    assert!(is_woken(&a).await && is_woken(&b).await);
    // Not at hand, so it may concern anybody.
    live.committed_to(Sequence::new(9));
    assert!(is_woken(&a).await && is_woken(&b).await);
    live.touch("group");
    live.touch("nobody");
    assert!(!is_woken(&a).await && is_woken(&b).await);
    live.close();
    assert!(is_woken(&a).await && is_woken(&b).await);
    drop((a, b));
    assert!(!live.is_watched());
}

#[tokio::test]
async fn a_wake_up_waits_for_who_was_not_waiting() {
    let live = Live::new(Sequence::START);
    let interest = live.interest(&Pattern::ALL.into(), None);
    live.committed(Sequence::START, vec![event(1, "a", 1)], Sequence::new(1));
    interest.woken().await;
    // Dropped futures take nothing along.
    for _ in 0..3 {
        tokio::select! {
            biased;
            () = interest.woken() => {}
            () = std::future::ready(()) => panic!("the wake-up is gone"),
        }
    }
    assert_eq!((interest.take(), interest.take()), (Some(Sequence::new(1)), None));
}

proptest! {
    /// Whatever was and was not put in: what it answers is what the log would, up to where it says it looked.
    #[test]
    fn it_never_skips_what_was_committed(
        batches in proptest::collection::vec((0_u64..3, 1_u64..6, any::<bool>()), 1..40),
        after in 0_u64..120,
    ) {
        let recent = Recent::default();
        let mut log = Vec::new();
        let mut next = 1;
        for (unheard, length, told) in batches {
            // Nobody listened for these, so they are in the log only.
            log.extend((next..next + unheard).map(|at| event(at, "a", 1)));
            next += unheard;
            let batch: Vec<_> = (next..next + length).map(|at| event(at, if at % 3 == 0 { "b" } else { "a" }, 1)).collect();
            next += length;
            log.extend(batch.iter().cloned());
            if told {
                push(&recent, batch);
            }
        }
        let pattern = Pattern::new("a").unwrap();
        if let Some((found, reached)) = read(&recent, &pattern, after) {
            prop_assert!(reached > after);
            let expected: Vec<u64> = log
                .iter()
                .filter(|event| pattern.matches(event.topic()))
                .map(|event| event.sequence().get())
                .filter(|&at| at > after && at <= reached)
                .collect();
            prop_assert_eq!(found, expected);
        }
    }
}

#[tokio::test]
async fn it_is_known_when_somebody_begins_to_wait() {
    let live = Live::new(Sequence::START);
    for _ in 0..2 {
        let (waiting, told) = (live.clone(), tokio::sync::oneshot::channel());
        let watching = tokio::spawn(async move {
            waiting.watched().await;
            told.0.send(()).unwrap();
        });
        tokio::task::yield_now().await;
        assert!(!watching.is_finished());
        let interest = live.interest(&Pattern::ALL.into(), None);
        told.1.await.unwrap();
        // And whoever asks while somebody waits.
        live.watched().await;
        drop(interest);
    }
}
