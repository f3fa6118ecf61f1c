use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, Waker};

use hive_core::clock::{ManualClock, Timestamp};
use proptest::prelude::*;

use super::*;

fn slots(size: usize) -> (Arc<ManualClock>, Arc<Slots>) {
    let clock = Arc::new(ManualClock::new(Timestamp::from_micros(0)));
    (Arc::clone(&clock), Slots::new(size, clock))
}

type Acquire = Pin<Box<dyn Future<Output = Slot>>>;

/// Waits for one, for as long as it is polled.
fn acquire(slots: &Arc<Slots>) -> Acquire {
    let slots = Arc::clone(slots);
    Box::pin(async move { slots.acquire().await })
}

fn poll(waiting: &mut Acquire) -> Option<Slot> {
    match waiting.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(slot) => Some(slot),
        Poll::Pending => None,
    }
}

#[derive(Clone, Debug)]
enum Act {
    Resize(usize),
    /// A round: it sets so many apart, and takes so many of them.
    Round(usize, usize),
    /// The reservation of a round that is still under way ends.
    Settle,
    Wait,
    Poll(usize),
    /// Gives up waiting, perhaps in the moment in which it was its turn.
    GiveUp(usize),
    End(usize),
}

fn act() -> impl Strategy<Value = Act> {
    prop_oneof![
        (0..8_usize).prop_map(Act::Resize),
        (0..6_usize, 0..6_usize).prop_map(|(most, taken)| Act::Round(most, taken)),
        Just(Act::Settle),
        Just(Act::Wait),
        (0..8_usize).prop_map(Act::Poll),
        (0..8_usize).prop_map(Act::GiveUp),
        (0..8_usize).prop_map(Act::End),
        (0..8_usize).prop_map(Act::End),
    ]
}

fn pick<T>(some: &mut Vec<T>, place: usize) -> Option<T> {
    (!some.is_empty()).then(|| some.remove(place % some.len()))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(500))]

    /// Nothing begins beyond the size in force; what runs is never more than the largest size since it began; and when everything
    /// has ended, exactly so many can begin as there are to be.
    #[test]
    fn no_more_begin_than_there_are_slots(first in 0..6_usize, acts in prop::collection::vec(act(), 0..60)) {
        let (_, slots) = slots(first);
        let mut size = first;
        let mut running: Vec<Slot> = Vec::new();
        let mut waiting: Vec<Acquire> = Vec::new();
        let mut apart: Option<Reserved> = None;
        for act in acts {
            let before = running.len();
            match act {
                Act::Resize(wanted) => {
                    size = wanted;
                    slots.resize(wanted);
                }
                Act::Round(most, taken) => {
                    drop(apart.take());
                    let mut reserved = slots.reserve(most);
                    prop_assert!(reserved.count() <= most);
                    prop_assert!(running.len() + reserved.count() <= size.max(running.len()));
                    running.extend((0..taken).map_while(|_| reserved.take()));
                    apart = Some(reserved);
                }
                Act::Settle => drop(apart.take()),
                Act::Wait => waiting.push(acquire(&slots)),
                Act::Poll(place) => {
                    if let Some(mut one) = pick(&mut waiting, place) {
                        match poll(&mut one) {
                            Some(slot) => running.push(slot),
                            None => waiting.push(one),
                        }
                    }
                }
                Act::GiveUp(place) => drop(pick(&mut waiting, place)),
                Act::End(place) => drop(pick(&mut running, place)),
            }
            // One that was set apart before there were fewer may begin still: it was promised to a task that is claimed.
            let promised = apart.as_ref().map_or(0, Reserved::count);
            if running.len() > before && promised == 0 {
                prop_assert!(running.len() <= size, "{} began where there were {}", running.len(), size);
            }
            prop_assert_eq!(slots.usage().busy, running.len());
            prop_assert_eq!(slots.size(), size);
        }
        drop((apart, running, waiting));
        prop_assert_eq!(slots.usage().waiting, 0);
        let all = slots.reserve(usize::MAX);
        prop_assert_eq!(all.count(), size);
    }

    /// Whoever waits is served as soon as there is a slot, whatever came before.
    #[test]
    fn nobody_waits_beside_a_free_slot(first in 0..4_usize, acts in prop::collection::vec(act(), 0..40)) {
        let (_, slots) = slots(first);
        let mut running: Vec<Slot> = Vec::new();
        let mut waiting: Vec<Acquire> = Vec::new();
        for act in acts {
            match act {
                Act::Resize(wanted) => slots.resize(wanted),
                Act::Round(most, taken) => {
                    let mut reserved = slots.reserve(most);
                    running.extend((0..taken).map_while(|_| reserved.take()));
                }
                Act::Wait | Act::Poll(_) => waiting.push(acquire(&slots)),
                Act::GiveUp(place) => drop(pick(&mut waiting, place)),
                Act::End(place) => drop(pick(&mut running, place)),
                Act::Settle => {}
            }
            let mut left = Vec::new();
            for mut one in waiting.drain(..) {
                match poll(&mut one) {
                    Some(slot) => running.push(slot),
                    None => left.push(one),
                }
            }
            waiting = left;
            let usage = slots.usage();
            prop_assert!(waiting.is_empty() || usage.busy >= usage.size, "{usage:?}");
        }
    }
}

#[test]
fn time_that_slots_are_busy_is_measured() {
    let (clock, slots) = slots(3);
    let second = Duration::from_secs(1);
    let mut apart = slots.reserve(3);
    clock.advance(second);
    // Set apart is not busy.
    assert_eq!(slots.usage().worked, Duration::ZERO);
    let (one, two) = (apart.take().unwrap(), apart.take().unwrap());
    clock.advance(second);
    drop(one);
    clock.advance(second);
    slots.resize(1);
    drop(two);
    clock.advance(second);
    let usage = slots.usage();
    assert_eq!((usage.worked, usage.busy, usage.size), (3 * second, 0, 1));
}

#[test]
fn it_is_known_who_waits_and_how_long() {
    let (clock, slots) = slots(0);
    let (mut one, mut two) = (acquire(&slots), acquire(&slots));
    assert!(poll(&mut one).is_none());
    clock.advance(Duration::from_secs(2));
    assert!(poll(&mut two).is_none());
    clock.advance(Duration::from_secs(1));
    let waiting = |slots: &Slots| (slots.usage().waiting, slots.usage().oldest_wait.as_secs());
    assert_eq!(waiting(&slots), (2, 3));
    drop(one);
    assert_eq!(waiting(&slots), (1, 1));
    slots.resize(1);
    assert!(poll(&mut two).is_some());
    drop(two);
    assert_eq!(waiting(&slots), (0, 0));
}
