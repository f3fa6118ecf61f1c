//! The same steps under the same clock and the same random numbers leave the same bytes.

use std::fmt::Write;
use std::sync::Arc;

use hive_core::clock::ManualClock;
use hive_core::db::{Dialect, Tx};
use hive_core::testing::TestDb;
use hive_errors::Result;
use proptest::strategy::ValueTree;
use proptest::test_runner::{RngAlgorithm, TestRng, TestRunner};

use super::super::Bench;
use super::op::{Op, ops};
use super::{number, play, real, seed_bytes};
use proptest::strategy::Strategy;

/// Everything that is written down of tasks, with the order of their rows.
const TABLES: [(&str, &str); 9] = [
    ("task", "seq"),
    ("task_body", "task"),
    ("task_output", "task"),
    ("task_note", "task"),
    ("journal", "task, key"),
    ("inbox", "seq"),
    ("pause", "kind, name"),
    // Those before it were made by the server's own clock.
    ("instance WHERE started_at < 10000000000", "epoch"),
    ("event", "sequence"),
];

/// The tables, byte for byte: ids, times and events included.
pub(super) fn tables(tx: &Tx<'_>) -> Result<String> {
    let mut all = String::new();
    for (from, order) in TABLES {
        let table = from.split(' ').next().unwrap_or_default();
        let row = match tx.dialect() {
            Dialect::Postgres => format!("CAST({table} AS TEXT)"),
            Dialect::Sqlite => {
                let columns = tx.query(
                    "SELECT name FROM pragma_table_info(?1) ORDER BY cid",
                    &[&table],
                    |row| row.get::<String>(0),
                )?;
                let quoted: Vec<String> = columns.iter().map(|column| format!("quote({column})")).collect();
                quoted.join(" || ' ' || ")
            }
        };
        let rows = tx.query(&format!("SELECT {row} FROM {from} ORDER BY {order}"), &[], |row| {
            row.get::<String>(0)
        })?;
        writeln!(all, "{table}: {}", rows.len()).unwrap();
        all.extend(rows.into_iter().flat_map(|row| [row, "\n".to_owned()]));
    }
    Ok(all)
}

/// Sequences by seed.
fn sequences(seed: u64, count: usize) -> Vec<Vec<Op>> {
    let rng = TestRng::from_seed(RngAlgorithm::ChaCha, &seed_bytes(seed));
    let mut runner = TestRunner::new_with_rng(proptest::test_runner::Config::default(), rng);
    (0..count)
        .map(|_| ops().new_tree(&mut runner).unwrap().current())
        .collect()
}

/// In a process as it begins: nothing is carried over from one time to the other.
async fn history(place: TestDb, ops: &[Op]) -> String {
    let clock = ManualClock::new(real::START);
    let bench = Bench::by(place, Arc::new(clock.clone())).await;
    play(&bench, &clock, ops, None).await.unwrap()
}

async fn repeats(place: fn() -> TestDb, count: usize) {
    let seed = number("HIVE_SEED").unwrap_or(1);
    println!("HIVE_SEED={seed}");
    let (mut all, again) = (Vec::new(), sequences(seed, count));
    for (ops, same) in sequences(seed, count).iter().zip(&again) {
        assert_eq!(format!("{ops:?}"), format!("{same:?}"), "the seed decides the steps");
        let (first, second) = (history(place(), ops).await, history(place(), same).await);
        let differs = first.lines().zip(second.lines()).find(|(one, other)| one != other);
        assert_eq!(differs, None, "HIVE_SEED={seed}, sequence {}", all.len());
        assert_eq!(first, second);
        all.push(first);
    }
    // It is not that nothing was written.
    let events = all.iter().filter(|history| history.contains("task.succeeded")).count();
    assert!(
        events > count / 4,
        "{events} of {count} histories have a task that succeeded"
    );
    assert!(all.iter().any(|one| *one != all[0]), "all histories are the same");
}

#[tokio::test]
async fn the_same_steps_leave_the_same_bytes() {
    repeats(TestDb::sqlite_in_memory, 40).await;
}

#[cfg(feature = "postgres")]
#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn the_same_steps_leave_the_same_bytes_on_a_server() {
    repeats(TestDb::postgres, 4).await;
}
