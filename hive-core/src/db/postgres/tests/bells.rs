use std::sync::Arc;
use std::time::Duration;

use super::super::Bell;
use super::{config, database};
use crate::db::wakes::Wakeups;
use crate::rng::SystemRng;
use crate::testing::{Postgres, Proxy};

const LIMIT: Duration = Duration::from_secs(30);

/// What one process has.
struct Process {
    bell: Bell,
    wakeups: Arc<Wakeups>,
}

fn process(url: &str) -> Process {
    let wakeups = Arc::new(Wakeups::default());
    Process {
        bell: Bell::hang(config(url), &wakeups, Arc::new(SystemRng)),
        wakeups,
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn processes_wake_each_other() {
    let url = database();
    let (one, two) = (process(&url), process(&url));
    let long = "a channel whose name is longer than what the server keeps of a name, which is 63 bytes; \"quoted\"";
    for channel in ["tasks", long] {
        let (mut at_one, mut at_two) = (one.wakeups.listen(channel), two.wakeups.listen(channel));
        // That it listens is news as well: something may have been missed.
        assert!(at_two.wait(LIMIT).await && at_one.wait(LIMIT).await);
        one.wakeups.notify(channel);
        assert!(at_one.wait(LIMIT).await, "at once, in the process itself");
        assert!(at_two.wait(LIMIT).await, "over the server");
        two.wakeups.notify(channel);
        assert!(at_one.wait(LIMIT).await);
    }
    one.bell.close().await;
    two.bell.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_process_is_not_woken_by_itself_twice_nor_for_what_it_does_not_listen_on() {
    let url = database();
    let (one, two) = (process(&url), process(&url));
    let (mut here, mut last) = (one.wakeups.listen("here"), one.wakeups.listen("last"));
    assert!(here.wait(LIMIT).await && last.wait(LIMIT).await);
    one.wakeups.notify("here");
    assert!(here.wait(LIMIT).await);
    // The server tells in the order of commits: when the last is there, all before it were.
    two.wakeups.notify("elsewhere");
    two.wakeups.notify("last");
    assert!(last.wait(LIMIT).await);
    assert!(!here.wait(Duration::ZERO).await);
}

#[tokio::test(flavor = "multi_thread")]
async fn many_notifications_are_few_statements() {
    let url = database();
    let (one, two) = (process(&url), process(&url));
    let mut heard = two.wakeups.listen("busy");
    assert!(heard.wait(LIMIT).await);
    let commits = || {
        let sql = "SELECT xact_commit FROM pg_stat_database WHERE datname = current_database()";
        Postgres::shared().sql(&url, sql).parse::<i64>().unwrap()
    };
    let before = commits();
    for _ in 0..10_000 {
        one.wakeups.notify("busy");
    }
    assert!(heard.wait(LIMIT).await);
    one.bell.close().await;
    two.bell.close().await;
    assert!(commits() - before < 2_000);
}

#[tokio::test(flavor = "multi_thread")]
async fn after_a_lost_connection_everybody_looks_and_hears_again() {
    let url = database();
    let at = url.rsplit('@').next().unwrap().split('/').next().unwrap().to_owned();
    let proxy = Proxy::start(at.as_str());
    let (one, two) = (process(&url), process(&proxy.url(&url)));
    let mut heard = two.wakeups.listen("tasks");
    assert!(heard.wait(LIMIT).await);
    proxy.cut();
    one.wakeups.notify("tasks");
    two.wakeups.notify("tasks");
    assert!(heard.wait(LIMIT).await, "its own, without the server");
    proxy.restore();
    assert!(heard.wait(LIMIT).await, "something may have been missed");
    one.wakeups.notify("tasks");
    assert!(heard.wait(LIMIT).await);
    // What could not be said while the server was away is said now.
    let mut at_one = one.wakeups.listen("tasks");
    assert!(at_one.wait(LIMIT).await);
    Postgres::shared().terminate_backends(&url);
    assert!(heard.wait(LIMIT).await && at_one.wait(LIMIT).await);
}

#[tokio::test(flavor = "multi_thread")]
async fn closing_says_what_is_left_and_never_hangs() {
    let url = database();
    let (one, two) = (process(&url), process(&url));
    let mut heard = two.wakeups.listen("tasks");
    assert!(heard.wait(LIMIT).await);
    let mut own = one.wakeups.listen("other");
    assert!(own.wait(LIMIT).await);
    one.wakeups.notify("tasks");
    one.bell.close().await;
    assert!(heard.wait(LIMIT).await);
    one.wakeups.notify("tasks");
    one.bell.close().await;
    let away = process("postgres://nobody@127.0.0.1:1/nowhere");
    away.wakeups.notify("tasks");
    away.bell.close().await;
    drop(process(&url));
}
