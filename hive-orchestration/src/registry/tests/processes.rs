//! Real processes on one PostgreSQL. The test binary starts itself again as the other process.

use std::process::{Child, Command, Stdio};

use hive_core::db::Options;
use hive_core::rng::SystemRng;
use hive_core::testing::{Postgres, until};
use tokio_util::sync::CancellationToken;

use super::*;

/// Where the other process finds its database; only set for it.
const URL: &str = "HIVE_REGISTRY_URL";

async fn open(url: &str, agent: AnyAgent) -> Process {
    let options = Options::postgres(url)
        .migrations(&hive_bus::MIGRATIONS)
        .migrations(&MIGRATIONS);
    Process::on(Db::open(options).await.unwrap(), [agent]).await
}

/// Is there until it is killed.
async fn be_there(url: &str) {
    let process = open(url, reviewer()).await;
    process.tx(|presence, tx| presence.register(tx, load(1, 8))).await;
    keep(
        process.db,
        process.presence,
        Arc::new(load(1, 8)),
        (Arc::new(SystemClock), Arc::new(SystemRng), crate::pace::Pace::default()),
        CancellationToken::new(),
        CancellationToken::new(),
    )
    .await;
}

fn start(url: &str) -> Child {
    Command::new(std::env::current_exe().unwrap())
        .args([
            "registry::tests::processes::a_process_that_dies_or_stands_still_is_noticed",
            "--exact",
        ])
        .env(URL, url)
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap()
}

fn signal(child: &Child, name: &str) {
    let sent = Command::new("kill")
        .args([format!("-{name}"), child.id().to_string()])
        .status();
    assert!(sent.unwrap().success());
}

/// Waits until the reviewers stand like this, sweeping as a process does.
async fn wait_for(process: &Process, expected: &[Status]) {
    let mut seen = Vec::new();
    for _ in 0..600 {
        process.heartbeat(0, 4).await;
        process.sweep().await;
        let found = process.find(Query::new().agent("reviewer").with_offline()).await;
        seen = found.iter().map(|one| one.status).collect();
        seen.sort_unstable();
        if seen == expected {
            return;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    panic!("they stand {seen:?} and not {expected:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_process_that_dies_or_stands_still_is_noticed() {
    if let Ok(url) = std::env::var(URL) {
        return be_there(&url).await;
    }
    let url = Postgres::shared().database();
    let here = open(&url, planner()).await;
    here.register().await;
    let (mut one, mut other) = (start(&url), start(&url));
    wait_for(&here, &[Status::Online, Status::Online]).await;
    let listing = here.find(Query::new().capability(RUST)).await.remove(0);
    assert_eq!((listing.concurrency, listing.weight), (8, 3));

    // One dies without a word, the other only stands still.
    one.kill().unwrap();
    one.wait().unwrap();
    signal(&other, "STOP");
    wait_for(&here, &[Status::Offline, Status::Offline]).await;
    signal(&other, "CONT");
    wait_for(&here, &[Status::Online, Status::Offline]).await;
    assert_eq!(here.find(Query::new().capability(REVIEW)).await.len(), 1);

    other.kill().unwrap();
    assert!(until(Duration::from_secs(5), || other.try_wait().unwrap()).is_some());
    let told = here.events().await;
    let count = |topic: &str| told.iter().filter(|told| *told == topic).count();
    assert_eq!(count("agent.registered.reviewer"), 2);
    assert_eq!(count("agent.offline.reviewer"), 2);
    assert_eq!(count("agent.online.reviewer"), 3);
    here.db.close().await.unwrap();
    Postgres::shared().drop_database(&url);
}

/// Heartbeats of many processes at once collide in the database, and none is lost.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn heartbeats_at_once_all_arrive() {
    let place = TestDb::postgres();
    let first = Process::open(&place, [reviewer()]).await;
    let mut processes = Vec::new();
    for number in 0..8 {
        let agent = planner().with_version(format!("1.0.{number}"));
        processes.push(Process::on(first.db.clone(), [agent]).await);
    }
    let beats = processes.into_iter().map(|process| {
        tokio::spawn(async move {
            process.register().await;
            for running in 0..10 {
                process.heartbeat(running, 4).await;
                process.sweep().await;
            }
        })
    });
    for beat in beats.collect::<Vec<_>>() {
        beat.await.unwrap();
    }
    let found = first.find(Query::new().agent("planner")).await;
    assert_eq!(
        found.iter().map(|one| (one.status, one.running)).collect::<Vec<_>>(),
        [(Status::Busy, 9); 8]
    );
}
