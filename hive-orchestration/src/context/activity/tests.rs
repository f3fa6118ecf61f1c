use std::future::Future;
use std::pin::pin;
use std::task::{Context, Poll, Waker};

use super::*;
use crate::queue::wait::Wanted;

fn is_ready(future: impl Future<Output = ()>) -> bool {
    pin!(future).poll(&mut Context::from_waker(Waker::noop())) == Poll::Ready(())
}

fn timer() -> NewWait {
    NewWait {
        key: "sleep:timer#1".to_owned(),
        what: Wanted::Timer {
            until: crate::queue::wait::Until::In(std::time::Duration::ZERO),
        },
    }
}

#[test]
fn a_run_is_idle_when_it_waits_and_does_not_work() {
    let activity = Activity::default();
    let idle = || activity.take().idle;
    assert!(!idle(), "code between steps is work");
    let working = activity.work();
    assert!(!idle());
    let waiting = activity.wait(None);
    assert!(!idle(), "one branch waits, the other works");
    drop(working);
    assert!(idle());
    let also = activity.wait(None);
    drop(waiting);
    assert!(idle());
    assert_eq!(activity.waiting(), 1);
    drop(also);
    assert!(!idle());
}

#[test]
fn every_change_is_told_and_none_is_lost() {
    let activity = Activity::default();
    assert!(!is_ready(activity.changed()));
    // Before anybody listens.
    let waiting = activity.wait(Some(timer()));
    assert!(is_ready(activity.changed()));
    assert!(!is_ready(activity.changed()), "several at once are one");
    assert_eq!(activity.take().new.len(), 1);
    assert_eq!(activity.take().new.len(), 0, "a wait is registered once");
    drop(waiting);
    assert!(is_ready(activity.changed()));
    drop(activity.work());
    assert!(is_ready(activity.changed()));
}

#[test]
fn news_reach_whoever_asked_before_looking() {
    let activity = Activity::default();
    let mut asked = pin!(activity.news());
    asked.as_mut().enable();
    activity.announce();
    assert!(is_ready(asked));
    assert!(!is_ready(activity.news()), "old news are in the journal");
}
