//! What the tables say of tasks, as the model has it.

use std::collections::BTreeMap;

use hive_core::db::Tx;
use hive_errors::Result;

use super::ideal::{Entry, Job};

/// What stands in the tables.
pub(super) fn rows(tx: &Tx<'_>) -> Result<BTreeMap<i64, Job>> {
    let mut jobs = BTreeMap::new();
    tx.each(
        "SELECT seq, id, agent, tenant, priority, state, run_at, attempt, epoch, failures, crashes, crash_mark, idempotency,
                single, single_start, deadline, finished_at, parent, call, ordinal,
                (SELECT count(*) FROM task_output WHERE task_output.task = task.seq)
         FROM task",
        &[],
        |row| {
            let job = Job {
                seq: row.get(0)?,
                id: row.get(1)?,
                agent: row.get(2)?,
                tenant: row.get(3)?,
                priority: row.get(4)?,
                state: row.get(5)?,
                run_at: row.get(6)?,
                attempt: row.get(7)?,
                epoch: row.get(8)?,
                failures: row.get(9)?,
                crashes: row.get(10)?,
                mark: row.get(11)?,
                idempotency: row.get(12)?,
                single: row.get(13)?,
                single_start: row.get::<i64>(14)? == 1,
                deadline: row.get(15)?,
                finished_at: row.get(16)?,
                parent: row.get(17)?,
                call: row.get(18)?,
                ordinal: row.get(19)?,
                has_output: row.get::<i64>(20)? == 1,
                journal: BTreeMap::new(),
                inbox: Vec::new(),
            };
            jobs.insert(job.seq, job);
            Ok(true)
        },
    )?;
    tx.each(
        "SELECT task, key, kind, state, CASE WHEN value IS NULL THEN 0 ELSE 1 END, wake_at, signal, remaining, at FROM journal",
        &[],
        |row| {
            let entry = Entry {
                kind: row.get(2)?,
                state: row.get(3)?,
                has_value: row.get::<i64>(4)? == 1,
                wake_at: row.get(5)?,
                signal: row.get(6)?,
                remaining: row.get(7)?,
                at: row.get(8)?,
            };
            let job: &mut Job = jobs.get_mut(&row.get(0)?).unwrap();
            job.journal.insert(row.get(1)?, entry);
            Ok(true)
        },
    )?;
    tx.each("SELECT task, name FROM inbox ORDER BY seq", &[], |row| {
        let job: &mut Job = jobs.get_mut(&row.get(0)?).unwrap();
        job.inbox.push(row.get(1)?);
        Ok(true)
    })?;
    Ok(jobs)
}
