//! The way to a Redis server: how many connections it takes, and what its errors say.

use std::sync::Arc;
use std::time::Duration;

use hive_core::clock::{Clock, SystemClock, timeout};
use hive_core::redis::{Call, Link, LinkOptions};
use hive_core::testing::{self, Proxy, until};
use hive_errors::{ErrorKind, Report};
use redis::cmd;
use tokio::task::JoinSet;

const MINUTE: Duration = Duration::from_secs(60);

fn options(url: &str) -> LinkOptions {
    let mut options = LinkOptions::new(url);
    options.connect_timeout = MINUTE;
    options.command_timeout = MINUTE;
    options
}

fn ping() -> Call {
    Call::One(cmd("PING"))
}

/// Tries until it is so, within a minute.
async fn until_so(mut so: impl AsyncFnMut() -> bool) {
    let waiting = async {
        while !so().await {
            SystemClock.sleep(Duration::from_millis(5)).await;
        }
    };
    timeout(&SystemClock, MINUTE, waiting).await.unwrap();
}

fn until_connected(proxy: &Proxy, count: usize) {
    let seen = || (proxy.connections() == count).then_some(());
    let connected = tokio::task::block_in_place(|| until(MINUTE, seen));
    assert!(
        connected.is_some(),
        "{} connections and not {count}",
        proxy.connections()
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn connections_are_made_as_calls_crowd() {
    let server = testing::Redis::shared();
    let address = server.url().rsplit('@').next().unwrap().trim_end_matches("/0");
    let proxy = Proxy::start(address);
    let mut options = options(&proxy.url(server.url()));
    options.connections = 6;
    options.crowd = 4;
    let link = Arc::new(Link::new(options).unwrap());
    for _ in 0..20 {
        link.call(&ping()).await.unwrap();
    }
    assert_eq!(proxy.connections(), 1);
    let mut calls = JoinSet::new();
    let begin = |count: usize, calls: &mut JoinSet<_>| {
        for _ in 0..count {
            let link = Arc::clone(&link);
            calls.spawn(async move { link.call(&ping()).await.map(drop) });
        }
    };
    // Those who find the door held up wait there, each with the connection that it was given.
    proxy.stall();
    begin(9, &mut calls);
    until_connected(&proxy, 3);
    begin(100, &mut calls);
    until_connected(&proxy, 6);
    proxy.restore();
    while let Some(called) = calls.join_next().await {
        called.unwrap().unwrap();
    }
    assert_eq!(proxy.connections(), 6, "and no more than there may be");
    link.close();
    until_connected(&proxy, 0);
    assert_eq!(link.call(&ping()).await.unwrap_err().kind(), ErrorKind::ShuttingDown);
    assert_eq!(link.apart().await.unwrap_err().kind(), ErrorKind::ShuttingDown);
}

#[tokio::test]
async fn a_connection_that_is_there_serves_who_gets_none() {
    let server = testing::Redis::start();
    let client = redis::Client::open(server.url()).unwrap();
    let mut bare = client.get_multiplexed_async_connection().await.unwrap();
    let mut options = options(server.url());
    options.connections = 6;
    options.crowd = 1;
    let link = Arc::new(Link::new(options).unwrap());
    link.call(&ping()).await.unwrap();
    // The two that there are.
    let _: () = cmd("CONFIG")
        .arg(&["SET", "maxclients", "2"])
        .query_async(&mut bare)
        .await
        .unwrap();
    let mut waits = cmd("BLPOP");
    waits.arg("list").arg(0);
    let calls: Vec<_> = [Call::One(waits), ping(), ping()]
        .into_iter()
        .map(|call| {
            let link = Arc::clone(&link);
            tokio::spawn(async move { link.call(&call).await.map(drop) })
        })
        .collect();
    let mut probe = bare.clone();
    let refused = async || {
        let told: String = cmd("INFO").arg("stats").query_async(&mut probe).await.unwrap();
        told.lines().any(|line| line.trim() == "rejected_connections:2")
    };
    until_so(refused).await;
    let _: u8 = cmd("RPUSH")
        .arg(&["list", "value"])
        .query_async(&mut bare)
        .await
        .unwrap();
    for call in calls {
        call.await.unwrap().unwrap();
    }
}

#[tokio::test]
async fn errors_name_the_server_and_no_password() {
    let url = testing::Redis::shared().url();
    let address = url.rsplit('@').next().unwrap().trim_end_matches("/0");
    let password = url.trim_start_matches("redis://:").split('@').next().unwrap();
    let link = Link::new(options(url)).unwrap();
    let unknown = link.call(&Call::One(cmd("NONSENSE"))).await.unwrap_err();
    let mut several = redis::pipe();
    several.cmd("NONSENSE").cmd("TIME").ignore_errors();
    let mut answers = link.call(&Call::Several(several)).await.unwrap();
    let refused = answers.take::<String>().unwrap_err();
    let other = answers.take::<u8>().unwrap_err();
    let missing = answers.take::<u8>().unwrap_err();
    let away = Link::new(options("redis://:secret@127.0.0.1:1/0")).unwrap();
    let away = away.call(&ping()).await.unwrap_err();
    assert_eq!(away.field("server"), Some("127.0.0.1:1"));
    assert_eq!(unknown.field("code"), Some("ERR"));
    for error in [unknown, refused, other, missing] {
        assert_eq!(
            (error.kind(), error.field("server")),
            (ErrorKind::Storage, Some(address))
        );
        let told = format!("{} {error:?}", Report::new(&error));
        assert!(!told.contains(password) && !told.contains("secret"), "{told}");
    }
}
