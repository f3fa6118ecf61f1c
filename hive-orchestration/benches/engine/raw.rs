//! Bare loops on rusqlite, on one thread that owns the connection.

use std::path::Path;
use std::time::Instant;

use rusqlite::{Connection, params};

const BATCH: usize = 256;

/// A connection to a database that the engine has made: its tables, with its indexes.
fn open(folder: &Path, name: &str) -> Connection {
    let conn = Connection::open(folder.join(name)).unwrap();
    conn.execute_batch("PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; PRAGMA cache_size = -8192;")
        .unwrap();
    conn.set_prepared_statement_cache_capacity(64);
    conn
}

const EVENT: &str =
    "INSERT INTO event (id, time, type, schema_version, source, topic, tenant, correlation, causation, data)
    VALUES (?1, ?2, ?3, 1, '/hive', ?3, 'default', ?4, ?4, ?5) ON CONFLICT (id) DO NOTHING";
const DATA: &str = r#"{"task":"task_00000000000000000000000000","agent":"noop","attempt":1}"#;

/// Tasks with their inputs, outputs and three events each, if `telling`: submitted, claimed and completed in batches, one commit
/// for the ends of one batch and the claims of the next.
pub(crate) fn tasks_per_s(folder: &Path, tasks: usize, telling: bool) -> f64 {
    let mut conn = open(folder, "raw.db");
    conn.execute_batch("DELETE FROM task; DELETE FROM task_body; DELETE FROM task_output; DELETE FROM event;")
        .unwrap();
    let begun = Instant::now();
    let (mut next, mut ended, mut events) = (0_u128, 0, 0_u128);
    let mut claimed: Vec<(i64, String)> = Vec::new();
    while ended < tasks {
        let tx = conn.transaction().unwrap();
        {
            let mut event = |kind: &str, correlation: &str| {
                if !telling {
                    return;
                }
                events += 1;
                let id = (u128::from(u64::MAX) << 64 | events).to_be_bytes();
                tx.prepare_cached(EVENT)
                    .unwrap()
                    .execute(params![id, events as i64, kind, correlation, DATA.as_bytes()])
                    .unwrap();
            };
            for (seq, id) in claimed.drain(..) {
                tx.prepare_cached(
                    "UPDATE task SET state = 4, epoch = 0, finished_at = ?2
                     WHERE seq = ?1 AND attempt = 1 AND epoch = 7 AND state = 2",
                )
                .unwrap()
                .execute(params![seq, 1])
                .unwrap();
                tx.prepare_cached("INSERT INTO task_output VALUES (?1, ?2)")
                    .unwrap()
                    .execute(params![seq, b"1"])
                    .unwrap();
                event("task.succeeded", &id);
                ended += 1;
            }
            let new = if (next as usize) < tasks { BATCH } else { 0 };
            for _ in 0..new {
                next += 1;
                let id = (u128::from(u64::MAX) << 63 | next).to_be_bytes();
                tx.prepare_cached(
                    "INSERT INTO task (id, tenant, agent, flow_key, root, ordinal, depth, state, priority, run_at, created_at)
                     VALUES (?1, 'default', 'noop', '', ?1, 0, 0, 1, 1, ?2, ?2)",
                )
                .unwrap()
                .execute(params![id, next as i64])
                .unwrap();
                let seq = tx.last_insert_rowid();
                tx.prepare_cached("INSERT INTO task_body VALUES (?1, ?2)")
                    .unwrap()
                    .execute(params![seq, b"1"])
                    .unwrap();
                event("task.submitted", &format!("task_{next:026}"));
            }
            let ready: Vec<(i64, [u8; 16])> = tx
                .prepare_cached(
                    "SELECT seq, id FROM task
                     WHERE state = 1 AND agent = 'noop' AND tenant = 'default' AND flow_key = '' AND priority = 1
                     ORDER BY seq LIMIT ?1",
                )
                .unwrap()
                .query_map([BATCH as i64], |row| Ok((row.get(0)?, row.get(1)?)))
                .unwrap()
                .map(Result::unwrap)
                .collect();
            for (seq, id) in ready {
                tx.prepare_cached(
                    "UPDATE task SET state = 2, attempt = attempt + 1, epoch = 7, claimed_at = 1 WHERE seq = ?1 AND state = 1",
                )
                .unwrap()
                .execute([seq])
                .unwrap();
                let _: Vec<u8> = tx
                    .prepare_cached("SELECT input FROM task_body WHERE task = ?1")
                    .unwrap()
                    .query_row([seq], |row| row.get(0))
                    .unwrap();
                let id = format!("task_{:026}", u128::from_be_bytes(id) & u128::from(u32::MAX));
                event("task.started", &id);
                claimed.push((seq, id));
            }
        }
        tx.commit().unwrap();
    }
    tasks as f64 / begun.elapsed().as_secs_f64()
}

/// One narrow table and nothing else: inserted a batch at a time, claimed and completed in one commit.
pub(crate) fn jobs_per_s(folder: &Path, jobs: usize) -> f64 {
    let mut conn = open(folder, "bare.db");
    conn.execute_batch(
        "CREATE TABLE job (seq INTEGER PRIMARY KEY, state INTEGER NOT NULL, attempt INTEGER NOT NULL DEFAULT 0, input BLOB) STRICT;
         CREATE INDEX job_ready ON job (seq) WHERE state = 1;",
    )
    .unwrap();
    let begun = Instant::now();
    let (mut next, mut ended) = (0, 0);
    let mut claimed: Vec<i64> = Vec::new();
    while ended < jobs {
        let tx = conn.transaction().unwrap();
        for seq in claimed.drain(..) {
            tx.prepare_cached("UPDATE job SET state = 4 WHERE seq = ?1 AND attempt = 1 AND state = 2")
                .unwrap()
                .execute([seq])
                .unwrap();
            ended += 1;
        }
        for _ in 0..if next < jobs { BATCH } else { 0 } {
            next += 1;
            tx.prepare_cached("INSERT INTO job (state, input) VALUES (1, ?1)")
                .unwrap()
                .execute([b"1"])
                .unwrap();
        }
        claimed = tx
            .prepare_cached(
                "UPDATE job SET state = 2, attempt = attempt + 1
                 WHERE seq IN (SELECT seq FROM job WHERE state = 1 ORDER BY seq LIMIT ?1) RETURNING seq",
            )
            .unwrap()
            .query_map([BATCH as i64], |row| row.get(0))
            .unwrap()
            .map(Result::unwrap)
            .collect();
        tx.commit().unwrap();
    }
    jobs as f64 / begun.elapsed().as_secs_f64()
}
