//! Whatever is done to a queue, by whichever process and on whichever clock, against a model in memory: after each step the rows,
//! the events, the answers and who may write are the same.
//!
//! `HIVE_MODEL_CASES` sets how many sequences are tried, `HIVE_SEED` which.

mod ideal;
mod op;
mod real;
mod replay;
mod rows;

use std::sync::{Arc, Mutex};

use hive_core::clock::{Clock, ManualClock};
use hive_core::db::Dialect;
use hive_core::rng::{Rng, SystemRng};
use hive_core::testing::TestDb;
use hive_errors::{Error, ErrorKind, Result};
use proptest::prelude::*;
use proptest::test_runner::{Config, RngAlgorithm, TestRng, TestRunner};

use self::op::{Op, ops};
use self::real::World;
use super::super::write;
use super::Bench;

fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok().map(|text| text.parse().unwrap())
}

fn seed_bytes(seed: u64) -> [u8; 32] {
    let mut bytes = [0; 32];
    bytes[..8].copy_from_slice(&seed.to_le_bytes());
    bytes
}

/// A statement and another in its place.
type Change = Option<(String, String)>;

fn check(place: TestDb, cases: u32) {
    let cases = number("HIVE_MODEL_CASES").map_or(cases, |cases| cases.try_into().unwrap());
    if let Err(failure) = run(place, cases, 4_000, &None) {
        panic!("{failure}");
    }
}

fn run(place: TestDb, cases: u32, shrinks: u32, change: &Change) -> std::result::Result<(), String> {
    let seed = number("HIVE_SEED").unwrap_or_else(|| SystemRng.next_u64() % 1_000_000);
    println!("HIVE_SEED={seed}");
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()
        .unwrap();
    let clock = ManualClock::new(real::START);
    let bench = runtime.block_on(Bench::by(place, Arc::new(clock.clone())));
    let config = Config {
        cases,
        failure_persistence: None,
        max_shrink_iters: shrinks,
        ..Config::default()
    };
    TestRunner::new_with_rng(config, TestRng::from_seed(RngAlgorithm::ChaCha, &seed_bytes(seed)))
        .run(&ops(), |ops| {
            let played = runtime.block_on(play(&bench, &clock, &ops, change.clone()));
            played
                .map(drop)
                .map_err(|fault| TestCaseError::fail(format!("HIVE_SEED={seed}: {fault}")))
        })
        .map_err(|failure| failure.to_string())
}

/// Plays a sequence in one transaction, of which nothing is left, and tells what stood in the tables at its end. Each step is undone alone when it fails, as a transaction of
/// its own would be.
async fn play(bench: &Bench, clock: &ManualClock, ops: &[Op], change: Change) -> std::result::Result<String, String> {
    let (queue, clock, ops) = (bench.queue.clone(), clock.clone(), ops.to_vec());
    let end = Arc::new(Mutex::new(Err("it was not played".to_owned())));
    let told = Arc::clone(&end);
    let undone: Result<()> = write(&bench.db, move |tx| {
        clock.set_wall(real::START);
        let (shown, change) = (clock.clone(), change.clone());
        // PostgreSQL's clock is the server's.
        let now = move |sql: &str| {
            if sql.contains("clock_timestamp()") {
                return Some(format!("SELECT CAST({} AS BIGINT)", shown.now().as_micros()));
            }
            change.clone().filter(|(from, _)| from == sql).map(|(_, to)| to)
        };
        let played = tx.rewriting(now, |tx| {
            let mut world = World::begin(tx, &queue, &clock).map_err(|error| format!("{error:?}"))?;
            for (place, op) in ops.iter().enumerate() {
                world
                    .step(tx, op)
                    .map_err(|fault| format!("step {place}, {op:?}: {fault}"))?;
            }
            let tables = replay::tables(tx).map_err(|error| format!("{error:?}"))?;
            world
                .drain(tx)
                .map_err(|fault| format!("after the last step: {fault}"))?;
            Ok(tables)
        });
        *told.lock().unwrap() = played;
        Err(Error::new(ErrorKind::Cancelled, "undone"))
    })
    .await;
    match undone {
        Err(error) if error.kind() == ErrorKind::Cancelled => end.lock().unwrap().clone(),
        other => Err(format!("{other:?}")),
    }
}

#[test]
fn the_queue_does_as_the_model_does() {
    check(TestDb::sqlite_in_memory(), 200);
}

#[cfg(feature = "postgres")]
#[test]
fn the_queue_does_as_the_model_does_on_a_server() {
    let place = TestDb::postgres();
    assert_eq!(place.dialect(), Dialect::Postgres);
    check(place, 24);
}

/// A queue that has lost some of its fences is no longer as the model. Which: epochs differ where attempts do, and a task that
/// does not run has no epoch, so that two of the three can stand in for the third. Each by itself is tested beside this.
#[test]
fn the_model_notices_fences_that_are_gone() {
    let whole = "SELECT 1 FROM task WHERE seq = ?1 AND attempt = ?2 AND epoch = ?3 AND state = 2";
    for gone in [
        &["attempt = ?2"][..],
        &["attempt = ?2", "epoch = ?3"],
        &["epoch = ?3", "state = 2"],
    ] {
        let without = |sql: String, words: &&str| sql.replace(words, &format!("({words} OR true)"));
        let changed = gone.iter().fold(whole.to_owned(), without);
        let noticed = run(TestDb::sqlite_in_memory(), 1_000, 0, &Some((whole.to_owned(), changed)));
        let fault = noticed.expect_err(&format!("{gone:?} is not missed"));
        assert!(fault.contains("the queue says"), "{fault}");
    }
}
