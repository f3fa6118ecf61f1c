//! Relaying: exact, whoever relays and whatever breaks.

use std::sync::Arc;
use std::time::Duration;

use hive_bus::transport::Transport;
use hive_bus::transport::nats::Nats;
use hive_bus::{Bus, ErrorKind, Event, Query, Sequence};
use hive_core::clock::SystemClock;
use hive_core::db::Db;
use hive_core::testing::{Proxy, TestDb};

use super::{IDS, Place, events, log};

/// Events as a database has committed them, with gaps between their sequences.
async fn committed(count: u64) -> Vec<Event> {
    let file = TestDb::sqlite();
    let db = Db::open(file.options().migrations(&hive_bus::MIGRATIONS))
        .await
        .unwrap();
    let bus = Bus::open(db.clone(), Arc::new(SystemClock), IDS.clone()).await.unwrap();
    bus.publish_all(events("a", 0..count)).await.unwrap();
    let history = bus.history(Query::new().limit(1_000)).await.unwrap().events;
    bus.close();
    db.close().await.unwrap();
    history
        .iter()
        .map(|event| renumbered(event, event.sequence().get() * 3))
        .collect()
}

fn renumbered(event: &Event, sequence: u64) -> Event {
    let mut document = event.to_cloudevent().unwrap();
    let attributes = document.as_object_mut().unwrap();
    attributes.insert("sequence".to_owned(), format!("{sequence:019}").into());
    Event::from_cloudevent(&document).unwrap()
}

#[tokio::test]
async fn a_relay_that_was_thought_to_be_gone_gets_nothing_in() {
    let place = Place::shared();
    let all = committed(30).await;
    let (gone, late, new) = (place.open().await, place.open().await, place.open().await);
    gone.relay(all[..5].to_vec()).await.unwrap();
    late.relay(all[5..10].to_vec()).await.unwrap();
    // Both stand still, and another takes over.
    assert_eq!(new.relayed().await.unwrap(), all[9].sequence());
    new.relay(all[10..20].to_vec()).await.unwrap();
    // They go on with what they know: one from there, and one with what would be next.
    for (relay, batch) in [(&late, &all[10..15]), (&gone, &all[5..25])] {
        let error = relay.relay(batch.to_vec()).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Conflict, "{error:?}");
        assert_eq!(log(&new).await, all[..20], "nothing of it was stored");
    }
    // Having looked, each is a relay like any other.
    assert_eq!(gone.relayed().await.unwrap(), all[19].sequence());
    late.relay(all[5..28].to_vec()).await.unwrap();
    gone.relay(all[20..].to_vec()).await.unwrap();
    assert_eq!(log(&late).await, all);
    place.end().await;
}

#[tokio::test]
async fn a_relay_goes_on_exactly_where_it_was_cut_off() {
    let place = Place::shared();
    let server = hive_core::testing::Nats::shared();
    let (_, address) = server.url().rsplit_once('@').unwrap();
    let proxy = Proxy::start(address);
    let all = committed(300).await;
    // The server knows no ids for longer than that: nothing hangs on them.
    let window = Duration::from_millis(100);
    let short = |options: super::Options| options.duplicate_window(window).request_timeout(Duration::from_secs(4));
    let mut done = 0;
    let mut cuts = 0;
    while done < all.len() {
        let relay = Nats::open(short(place.options_at(&proxy.url(&place.url))))
            .await
            .unwrap();
        let relayed = relay.relayed().await.unwrap();
        done = all.partition_point(|event| event.sequence() <= relayed);
        let batch = all[done..(done + 40).min(all.len())].to_vec();
        // Cut at another place each time, some before the server has heard anything and some after it has stored all.
        let cut = async {
            for _ in 0..cuts * 3 {
                tokio::task::yield_now().await;
            }
            if cuts % 2 == 0 {
                proxy.drop_connections()
            } else {
                proxy.stall()
            }
        };
        let relaying = async {
            // What became of it is not known, as after a crash.
            drop(tokio::time::timeout(Duration::from_millis(300), relay.relay(batch)).await);
        };
        tokio::join!(relaying, cut);
        proxy.drop_connections();
        proxy.restore();
        drop(relay);
        cuts += 1;
        assert!(cuts < 200, "it does not get on");
    }
    let reader = place.open().await;
    assert_eq!(log(&reader).await, all);
    place.end().await;
}

#[tokio::test]
async fn a_batch_that_begins_further_on_leaves_nothing_out() {
    let place = Place::shared();
    let all = committed(30).await;
    let (one, other) = (place.open().await, place.open().await);
    one.relay(all[..10].to_vec()).await.unwrap();
    other.relay(all[10..12].to_vec()).await.unwrap();
    // It has asked how far they came, and what it knew of the stream itself is older.
    assert_eq!(one.relayed().await.unwrap(), all[11].sequence());
    let error = one.relay(all[12..20].to_vec()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Conflict, "{error:?}");
    one.relay(all[12..20].to_vec()).await.unwrap();
    assert_eq!(log(&other).await, all[..20]);
    place.end().await;
}

#[tokio::test]
async fn how_far_a_relay_came_outlives_the_events() {
    let place = Place::shared();
    let all = committed(20).await;
    let relay = place.open().await;
    relay.relay(all[..10].to_vec()).await.unwrap();
    place
        .jetstream()
        .await
        .get_stream(&place.name)
        .await
        .unwrap()
        .purge()
        .await
        .unwrap();
    let other = place.open().await;
    assert_eq!(log(&other).await, []);
    assert_eq!(other.relayed().await.unwrap(), all[9].sequence());
    assert_eq!(other.head().await.unwrap(), all[9].sequence());
    other.relay(all.clone()).await.unwrap();
    assert_eq!(log(&other).await, all[10..]);
    // A cursor from before, and one in between.
    for (after, rest) in [
        (all[3].sequence(), &all[10..]),
        (Sequence::new(all[14].sequence().get() + 1), &all[15..]),
    ] {
        let page = other.read(&super::everything(), after, 100).await.unwrap();
        assert_eq!(page.events, rest);
    }
    place.end().await;
}

#[tokio::test]
async fn cursors_mean_the_same_as_in_the_database() {
    let place = Place::shared();
    let all = committed(200).await;
    let (relay, reader) = (place.open().await, place.open().await);
    for part in all.chunks(33) {
        relay.relay(part.to_vec()).await.unwrap();
    }
    // A stream with holes: some were removed one by one.
    let stream = place.jetstream().await.get_stream(&place.name).await.unwrap();
    for gone in [1, 2, 50, 120, 121, 199] {
        stream.delete_message(gone).await.unwrap();
    }
    let left: Vec<&Event> = (1..=200)
        .filter(|at| ![1, 2, 50, 120, 121, 199].contains(at))
        .map(|at| &all[at - 1])
        .collect();
    for after in [
        0, 1, 2, 3, 4, 149, 150, 151, 360, 361, 363, 366, 594, 597, 599, 600, 700,
    ] {
        let fresh = if after % 2 == 0 { &reader } else { &relay };
        let page = fresh.read(&super::everything(), Sequence::new(after), 5).await.unwrap();
        let expected: Vec<_> = left
            .iter()
            .filter(|event| event.sequence().get() > after)
            .take(5)
            .collect();
        assert_eq!(
            page.events.iter().collect::<Vec<_>>(),
            expected.into_iter().copied().collect::<Vec<_>>(),
            "{after}"
        );
    }
    let asked: Vec<Sequence> = all.iter().map(Event::sequence).rev().collect();
    let got = reader.get(&asked).await.unwrap();
    assert_eq!(got.iter().rev().collect::<Vec<_>>(), left);
    place.end().await;
}

#[tokio::test]
async fn feeds_do_not_mix() {
    let place = Place::shared();
    let all = committed(2).await;
    let (one, other) = (place.open().await, place.open().await);
    one.publish(events("a", 0..1)).await.unwrap();
    for transport in [&one, &other] {
        let error = transport.relay(all.clone()).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Conflict, "{error:?}");
        assert_eq!(transport.relayed().await.unwrap(), Sequence::START);
    }
    // Also to whoever comes later.
    let error = place.open().await.relay(all).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Conflict, "{error:?}");
    one.publish(events("a", 1..2)).await.unwrap();
    assert_eq!(log(&other).await.len(), 2);
    place.end().await;
}
