//! Answers that are lost: what was asked for is done, once, and said.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use hive_bus::transport::{Change, DeadLetter, DeadReason, Transport};
use hive_bus::{Event, Sequence};
use hive_core::clock::{Clock, SystemClock};
use hive_core::testing;
use hive_errors::RetryPolicy;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::{AbortHandle, JoinSet};

use super::{event, log, open, options};

/// A way to a server on which what it says can be lost while what it is asked gets through.
struct Muted {
    address: SocketAddr,
    /// Connections that were made before this many mutings hear nothing any more.
    mutings: Arc<AtomicU64>,
    door: AbortHandle,
}

impl Muted {
    async fn start(server: String) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let mutings = Arc::new(AtomicU64::new(0));
        let known = Arc::clone(&mutings);
        let door = tokio::spawn(async move {
            let mut lines = JoinSet::new();
            loop {
                let (client, _) = listener.accept().await.unwrap();
                let server = TcpStream::connect(&server).await.unwrap();
                let (mut from_client, mut to_client) = client.into_split();
                let (mut from_server, mut to_server) = server.into_split();
                lines.spawn(async move { drop(tokio::io::copy(&mut from_client, &mut to_server).await) });
                let (made, mutings) = (known.load(Ordering::SeqCst), Arc::clone(&known));
                lines.spawn(async move {
                    let mut said = vec![0; 64 * 1024];
                    while let Ok(count @ 1..) = from_server.read(&mut said).await {
                        if mutings.load(Ordering::SeqCst) == made && to_client.write_all(&said[..count]).await.is_err()
                        {
                            return;
                        }
                    }
                });
            }
        })
        .abort_handle();
        Self { address, mutings, door }
    }

    /// From now on, only connections that are made later hear what the server says.
    fn mute(&self) {
        self.mutings.fetch_add(1, Ordering::SeqCst);
    }
}

impl Drop for Muted {
    fn drop(&mut self) {
        self.door.abort();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_call_whose_answer_is_lost_is_not_done_twice() {
    let url = testing::Redis::shared().url();
    let server = url.rsplit('@').next().unwrap().trim_end_matches("/0").to_owned();
    let way = Muted::start(server.clone()).await;
    // Here the limit has to be reached.
    let options = options(&url.replace(&server, &way.address.to_string()))
        .command_timeout(Duration::from_millis(200))
        .retry(RetryPolicy::fixed(20, Duration::from_millis(5)));
    let transport = open(&options).await;

    transport.publish(vec![event(0)]).await.unwrap();
    way.mute();
    let sequences = transport.publish((1..10).map(event).collect()).await.unwrap();
    let events = log(&transport, Sequence::START).await;
    assert_eq!(events.len(), 10);
    assert_eq!(events[1..].iter().map(Event::sequence).collect::<Vec<_>>(), sequences);

    let dead = |event: &Event| DeadLetter::new(event.clone(), DeadReason::Expired, 0, SystemClock.now(), Vec::new());
    let mut first = Change::new(None, b"first".to_vec());
    first.dead = events.iter().map(dead).collect();
    way.mute();
    let revision = transport.store("consumer", first).await.unwrap();
    assert!(revision.is_some(), "it was done, and that is said");
    assert_eq!(
        transport
            .load("consumer")
            .await
            .unwrap()
            .map(|register| register.revision),
        revision
    );
    let mut second = Change::new(revision, b"second".to_vec());
    second.revived = vec![events[0].sequence()];
    way.mute();
    let next = transport.store("consumer", second).await.unwrap();
    assert!(next > revision);
    way.mute();
    assert_eq!(
        transport
            .store("consumer", Change::new(revision, Vec::new()))
            .await
            .unwrap(),
        None
    );
    assert_eq!(transport.load("consumer").await.unwrap().unwrap().state, b"second");

    way.mute();
    let all: Vec<Sequence> = events.iter().map(Event::sequence).collect();
    assert_eq!(
        transport.purge("consumer", &all[..5]).await.unwrap(),
        4,
        "all that were there"
    );
    assert_eq!(transport.purge("consumer", &all[..5]).await.unwrap(), 0);
    way.mute();
    assert!(transport.remove("consumer").await.unwrap(), "there was one");
    assert!(!transport.remove("consumer").await.unwrap());
    assert_eq!(
        transport.dead_letters("consumer", Sequence::START, 10).await.unwrap(),
        []
    );

    let relayed = open(&options.prefix(super::prefix())).await;
    way.mute();
    relayed.relay(events.clone()).await.unwrap();
    assert_eq!(log(&relayed, Sequence::START).await, events);
}
