//! A bare loop on rusqlite, on one thread that owns the connection.

use std::path::Path;
use std::time::Instant;

use rusqlite::{Connection, params};

/// Entries of the journal a second: in each commit one of each of so many tasks, whose lease is looked at first. The tables are those
/// that the engine has made in this file.
pub(crate) fn steps_per_s(file: &Path, tasks: i64, each: i64) -> f64 {
    let mut conn = Connection::open(file).unwrap();
    conn.execute_batch("PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; PRAGMA cache_size = -8192;")
        .unwrap();
    conn.set_prepared_statement_cache_capacity(16);
    for task in 1..=tasks {
        conn.execute(
            "INSERT INTO task (seq, id, tenant, agent, flow_key, root, ordinal, depth, state, priority, run_at, attempt, epoch, created_at)
             VALUES (?1, ?2, 'default', 'stepper', '', ?2, 0, 0, 2, 1, 0, 1, 7, 0)",
            params![task, task.to_be_bytes()],
        )
        .unwrap();
    }
    let begun = Instant::now();
    for step in 1..=each {
        let tx = conn.transaction().unwrap();
        for task in 1..=tasks {
            let held: i64 = tx
                .prepare_cached("SELECT 1 FROM task WHERE seq = ?1 AND attempt = 1 AND epoch = 7 AND state = 2")
                .unwrap()
                .query_row([task], |row| row.get(0))
                .unwrap();
            tx.prepare_cached(
                "INSERT INTO journal (task, key, kind, state, value, type, at) VALUES (?1, ?2, 0, 2, ?3, 'usize', ?4)
                 ON CONFLICT (task, key) DO UPDATE SET value = excluded.value",
            )
            .unwrap()
            .execute(params![
                task,
                format!("step:step#{step}"),
                step.to_string().as_bytes(),
                held
            ])
            .unwrap();
        }
        tx.commit().unwrap();
    }
    (tasks * each) as f64 / begun.elapsed().as_secs_f64()
}
