//! The end of a transport.

use std::fmt::Debug;

use hive_core::clock::{SystemClock, Timestamp, timeout};
use hive_errors::{ErrorKind, Result};
use tokio::task::JoinSet;

use super::Place;
use super::samples::{event, everything, log, patterns, published};
use crate::event::Sequence;
use crate::limits;
use crate::transport::Change;

pub(super) async fn closing_ends_every_wait(place: &dyn Place) {
    let transport = place.open().await.expect("the place is opened");
    let mut waits = JoinSet::new();
    for wait in 0..4 {
        let live = transport.live().clone();
        let group = (wait == 1).then_some("group");
        let interest = live.interest(&if wait < 2 { patterns(&["none"]) } else { everything() }, group);
        waits.spawn(async move {
            while !live.head().closed {
                interest.take();
                if !live.head().closed {
                    interest.woken().await;
                }
            }
        });
    }
    let mut head = transport.live().follow();
    waits.spawn(async move {
        let _gone = head.wait_for(|head| head.closed).await.is_err();
    });
    transport
        .publish(vec![event("a", 1)])
        .await
        .expect("an event is published");
    transport.close().await.expect("the transport is closed");
    while let Some(ended) = waits.join_next().await {
        ended.expect("a wait comes to its end");
    }
    // Whoever comes later does not wait either.
    let late = transport.live().interest(&everything(), Some("group"));
    if !transport.live().head().closed {
        late.woken().await;
    }
    assert!(transport.live().head().closed, "a transport that is closed says so");
    transport.close().await.expect("closing twice is no error");
}

/// Works, or says that it is over; within a part of the case's time.
async fn ends<T: Debug>(what: &str, work: impl Future<Output = Result<T>>) {
    match timeout(&SystemClock, limits::CONFORMANCE_TIMEOUT / 6, work).await {
        Err(_) => panic!("after closing, {what} hangs"),
        Ok(Err(error)) if error.kind() != ErrorKind::ShuttingDown => {
            panic!("after closing, {what} fails with {error:?}")
        }
        Ok(_) => {}
    }
}

pub(super) async fn nothing_hangs_after_closing(place: &dyn Place) {
    let transport = place.open().await.expect("the place is opened");
    let sequences = transport
        .publish(vec![event("a", 1)])
        .await
        .expect("an event is published");
    let whole = log(&*transport).await;
    let revision = transport
        .store("a", Change::new(None, Vec::new()))
        .await
        .expect("a state is stored");
    transport.close().await.expect("the transport is closed");

    ends("publish", transport.publish(vec![event("a", 2)])).await;
    ends("read", transport.read(&everything(), Sequence::START, 10)).await;
    ends("get", transport.get(&sequences)).await;
    ends("head", transport.head()).await;
    ends("before", transport.before(Timestamp::MAX)).await;
    ends("now", transport.now()).await;
    ends("load", transport.load("a")).await;
    let mut change = Change::new(revision, b"new".to_vec());
    change.wake = true;
    ends("store", transport.store("a", change)).await;
    ends("consumers", transport.consumers("", 10)).await;
    ends("dead_letters", transport.dead_letters("a", Sequence::START, 10)).await;
    ends("dead", transport.dead("a", &sequences)).await;
    ends("purge", transport.purge("a", &sequences)).await;
    ends("remove", transport.remove("a")).await;
    if place.relays() {
        ends("relayed", transport.relayed()).await;
        let relayed = published(&event("a", 3), Sequence::new(whole.len() as u64 + 1_000));
        // One that was published to refuses it in any case.
        let relay = timeout(
            &SystemClock,
            limits::CONFORMANCE_TIMEOUT / 6,
            transport.relay(vec![relayed]),
        )
        .await;
        assert!(
            relay.is_ok_and(|relayed| relayed.is_err()),
            "after closing, relay hangs or works"
        );
    }
}
