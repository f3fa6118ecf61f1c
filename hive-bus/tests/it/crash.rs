use std::collections::BTreeSet;
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Command, Stdio};

use hive_bus::{NewEvent, Sequence};
use hive_core::clock::ManualClock;
use hive_core::db::Options;
use tokio::task::JoinSet;

use crate::{NOW, event, open, sequences};

/// Set in the process that is to be killed: the database it publishes in.
const VICTIM: &str = "HIVE_BUS_TEST_VICTIM";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_acknowledged_outlives_a_kill_and_a_cursor_goes_on() {
    if let Some(path) = std::env::var_os(VICTIM) {
        return publish_until_killed(Path::new(&path)).await;
    }
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("hive.db");
    let mut cursor = Sequence::START;
    let mut seen = Vec::new();
    let mut acknowledged = BTreeSet::new();
    for round in 1..=4 {
        acknowledged.extend(kill_after(&path, round * 60));

        let clock = ManualClock::new(NOW);
        let (db, bus) = open(Options::file(&path), &clock).await;
        let mut subscription = bus.subscribe("load.*").after(cursor).await.unwrap();
        let last = bus.publish(event("load.end")).await.unwrap();
        while subscription.cursor() < last {
            seen.push(subscription.next().await.unwrap());
        }
        cursor = subscription.cursor();
        bus.close();
        db.close().await.unwrap();
    }
    let seen = sequences(&seen);
    assert!(
        seen.is_sorted_by(|a, b| a < b),
        "an event was handed out twice, or out of order"
    );
    let seen: BTreeSet<u64> = seen.into_iter().collect();
    let lost: Vec<_> = acknowledged.difference(&seen).collect();
    assert!(lost.is_empty(), "acknowledged and gone: {lost:?}");
    assert!(acknowledged.len() >= 600);
}

/// Runs this test in a process of its own, kills it without warning after `count` acknowledgements and returns those.
fn kill_after(path: &Path, count: usize) -> Vec<u64> {
    let mut victim = Command::new(std::env::current_exe().unwrap())
        .args([
            "--exact",
            "crash::what_was_acknowledged_outlives_a_kill_and_a_cursor_goes_on",
            "--nocapture",
        ])
        .env(VICTIM, path)
        .stdout(Stdio::piped())
        .stderr(Stdio::inherit())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(victim.stdout.take().unwrap()).lines();
    let acknowledged: Vec<u64> = lines
        .by_ref()
        .filter_map(|line| line.unwrap().strip_prefix("acknowledged ")?.parse().ok())
        .take(count)
        .collect();
    victim.kill().unwrap();
    assert!(!victim.wait().unwrap().success());
    // What it had said before the signal came counts as well.
    let rest = lines
        .map_while(Result::ok)
        .filter_map(|line| line.strip_prefix("acknowledged ")?.parse().ok());
    let acknowledged: Vec<u64> = acknowledged.into_iter().chain(rest).collect();
    assert!(acknowledged.len() >= count, "the victim ended early");
    acknowledged
}

async fn publish_until_killed(path: &Path) {
    let (_db, bus) = open(Options::file(path), &ManualClock::new(NOW)).await;
    let mut publishers = JoinSet::new();
    for publisher in 0..4 {
        let bus = bus.clone();
        publishers.spawn(async move {
            loop {
                let event = NewEvent::new("load", format!("load.{publisher}"), &publisher).unwrap();
                match bus.publish(event).await {
                    // One write per line, so that a line is whole or missing.
                    Ok(sequence) => std::io::stdout()
                        .write_all(format!("acknowledged {sequence}\n").as_bytes())
                        .unwrap(),
                    Err(error) => return error,
                }
            }
        });
    }
    panic!("a publisher ended: {:?}", publishers.join_next().await);
}
