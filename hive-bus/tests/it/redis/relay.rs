//! Being fed by a relay.

use hive_bus::transport::Transport;
use hive_bus::transport::redis::Redis;
use hive_bus::{Event, Sequence};
use hive_core::testing;
use hive_errors::ErrorKind;

use super::{ask, bare, event, listen, log, open, options};

/// Events as a database has committed them.
async fn committed(count: usize) -> Vec<Event> {
    let source = open(&options(testing::Redis::shared().url())).await;
    source.publish((0..count).map(event).collect()).await.unwrap();
    log(&source, Sequence::START).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_relays_bring_everything_once() {
    let options = options(testing::Redis::shared().url());
    let all = committed(1_000).await;
    let reader = open(&options).await;
    let heard = tokio::spawn(listen(&reader, all.len()));
    let relay = |transport: Redis, step: usize| {
        let all = all.clone();
        tokio::spawn(async move {
            loop {
                let done = transport.relayed().await.unwrap();
                let from = all.partition_point(|event| event.sequence() <= done);
                if from == all.len() {
                    return;
                }
                let batch = all[from..(from + step).min(all.len())].to_vec();
                transport.relay(batch).await.unwrap();
            }
        })
    };
    let relays = [relay(open(&options).await, 7), relay(open(&options).await, 400)];
    for relay in relays {
        relay.await.unwrap();
    }
    assert_eq!(heard.await.unwrap(), all);
    assert_eq!(log(&reader, Sequence::START).await, all);
}

#[tokio::test]
async fn a_log_is_fed_by_a_relay_or_by_publishers() {
    let options = options(testing::Redis::shared().url());
    let all = committed(3).await;
    let (one, other) = (open(&options).await, open(&options).await);
    one.relay(all.clone()).await.unwrap();
    assert_eq!(
        other.publish(vec![event(1)]).await.unwrap_err().kind(),
        ErrorKind::Conflict
    );
    assert_eq!(log(&other, Sequence::START).await, all);

    let options = super::options(testing::Redis::shared().url());
    let (one, other) = (open(&options).await, open(&options).await);
    one.publish(vec![event(1)]).await.unwrap();
    assert_eq!(other.relay(all.clone()).await.unwrap_err().kind(), ErrorKind::Conflict);
    assert_eq!(other.relayed().await.unwrap(), Sequence::START);
    assert_eq!(log(&other, Sequence::START).await.len(), 1);
}

#[tokio::test]
async fn events_that_are_out_of_order_are_not_relayed() {
    let transport = open(&options(testing::Redis::shared().url())).await;
    let all = committed(3).await;
    for odd in [
        vec![all[1].clone(), all[0].clone()],
        vec![all[0].clone(), all[0].clone()],
    ] {
        assert_eq!(transport.relay(odd).await.unwrap_err().kind(), ErrorKind::InvalidInput);
    }
    assert_eq!(log(&transport, Sequence::START).await, []);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_the_server_has_lost_is_relayed_again_and_heard() {
    let server = testing::Redis::start();
    let options = options(server.url());
    let all = committed(40).await;
    let (relay, reader) = (open(&options).await, open(&options).await);
    relay.relay(all[..10].to_vec()).await.unwrap();
    let mut bare_one = bare(server.url()).await;
    // What comes from here on is in memory only.
    let _: () = ask(&mut bare_one, &["CONFIG", "SET", "appendonly", "no"]).await;
    let heard = listen(&reader, 20);
    relay.relay(all[10..20].to_vec()).await.unwrap();
    assert_eq!(heard.await, all[..20]);
    tokio::task::block_in_place(|| {
        server.kill();
        server.start_again();
    });
    // Somebody whose own cursor was lost as well.
    let behind = tokio::spawn(listen(&reader, 30));
    super::until(async || relay.head().await.is_ok()).await;
    let error = relay.relay(all[20..30].to_vec()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Conflict, "there would be a hole");
    assert_eq!(relay.relayed().await.unwrap(), all[9].sequence());
    relay.relay(all[10..15].to_vec()).await.unwrap();
    relay.relay(all[15..30].to_vec()).await.unwrap();
    assert_eq!(behind.await.unwrap(), all[..30]);
    assert_eq!(log(&reader, Sequence::START).await, all[..30]);
}
