//! Acknowledged means on disk: a process is killed at any moment, and the next one finds everything it had promised.

use std::collections::BTreeSet;
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::Stdio;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use hive_core::rng::{Rng, SeededRng, SystemRng};
use tokio::task::JoinSet;

use super::{another, open, other, put, rows};

const TEST: &str = "database::crash::what_was_acknowledged_survives_any_kill";
const ROUNDS: u32 = 120;
/// After so many, a new file: making it can be interrupted as well.
const ROUNDS_OF_A_FILE: u32 = 20;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_acknowledged_survives_any_kill() {
    if let Some(path) = other() {
        return write_until_killed(&path).await;
    }
    let seed = SystemRng.next_u64();
    eprintln!("seed {seed}");
    let rng = SeededRng::new(seed);
    let dir = tempfile::tempdir().unwrap();
    let mut acknowledged = BTreeSet::new();
    let (mut total, mut logs_left) = (0, 0);
    for round in 0..ROUNDS {
        let name = format!("{}.db", round / ROUNDS_OF_A_FILE);
        let path = dir.path().join(&name);
        if round % ROUNDS_OF_A_FILE == 0 {
            acknowledged.clear();
        }
        // From before it has opened the file to after several checkpoints.
        let count = match round % 5 {
            0 => 0,
            1 => rng.next_u64() % 10,
            2 => rng.next_u64() % 50,
            3 => rng.next_u64() % 400,
            _ => rng.next_u64() % 1_000,
        };
        let promised = kill_after(&path, usize::try_from(count).unwrap());
        total += promised.len();
        acknowledged.extend(promised);
        let log = dir.path().join(format!("{name}-wal"));
        logs_left += u32::from(std::fs::metadata(log).is_ok_and(|log| log.len() > 0));
        if rng.next_u64().is_multiple_of(4) {
            // The index of the log is no part of the data.
            drop(std::fs::remove_file(dir.path().join(format!("{name}-shm"))));
        }
        let db = open(&path).await.unwrap();
        let found: BTreeSet<i64> = db.read(rows).await.unwrap().into_iter().collect();
        let lost: Vec<_> = acknowledged.difference(&found).collect();
        assert!(
            lost.is_empty(),
            "acknowledged and gone in round {round} of seed {seed}: {lost:?}"
        );
        if round % 3 == 0 {
            db.close().await.unwrap();
        }
    }
    assert!(total > 5_000, "{total} rows");
    assert!(logs_left > ROUNDS / 2, "only {logs_left} kills left a log behind");
}

/// Starts this test again as a writer, kills it without warning after `count` acknowledgements and returns all it gave.
fn kill_after(path: &Path, count: usize) -> Vec<i64> {
    let mut writer = another(&std::env::current_exe().unwrap(), TEST, path)
        .stdout(Stdio::piped())
        .stderr(Stdio::inherit())
        .spawn()
        .unwrap();
    let lines = BufReader::new(writer.stdout.take().unwrap()).lines();
    let mut ids = lines
        .map_while(Result::ok)
        .filter_map(|line| line.strip_prefix("acknowledged ")?.parse().ok());
    let mut acknowledged: Vec<i64> = ids.by_ref().take(count).collect();
    writer.kill().unwrap();
    // What it had said before the kill came counts as well.
    acknowledged.extend(ids);
    assert!(!writer.wait().unwrap().success(), "the writer ended by itself");
    assert!(acknowledged.len() >= count, "the writer ended early");
    acknowledged
}

async fn write_until_killed(path: &Path) {
    let db = open(path).await.unwrap();
    let last = db
        .read(|db| db.query_one("SELECT coalesce(max(id), 0) FROM row", &[], |row| row.get::<i64>(0)))
        .await
        .unwrap();
    let next = Arc::new(AtomicI64::new(last + 1));
    let mut tasks = JoinSet::new();
    for task in 0..6_usize {
        let (db, next) = (db.clone(), Arc::clone(&next));
        tasks.spawn(async move {
            loop {
                let id = next.fetch_add(1, Ordering::Relaxed);
                put(&db, id, task * 600).await.unwrap();
                // One write for a line, so that it is whole or missing.
                let line = format!("acknowledged {id}\n");
                std::io::stdout().write_all(line.as_bytes()).unwrap();
            }
        });
    }
    tasks.join_next().await;
    panic!("a writer ended");
}
