//! A worker takes what is ready.

use hive_core::clock::Timestamp;
use hive_core::db::{Snapshot, Tx};
use hive_core::id::TaskId;
use hive_core::payload::Payload;
use hive_errors::Result;

use super::{Queue, TaskRef, emit, wait};
use crate::lease::Lease;
use crate::limits;
use crate::wake::RunSigns;

/// One run, handed to a worker.
#[derive(Debug)]
pub(crate) struct Claimed {
    pub(crate) lease: Lease,
    pub(crate) signs: RunSigns,
    pub(crate) task: TaskRef,
    pub(crate) depth: u32,
    pub(crate) input: Payload,
}

/// What one look at the queue brought.
#[derive(Debug, Default)]
pub(crate) struct Claims {
    pub(crate) tasks: Vec<Claimed>,
    /// When the next timer or delayed task falls due.
    pub(crate) next_due: Option<Timestamp>,
    /// Whether there may be more than was asked for.
    pub(crate) more: bool,
}

/// Fires what has fallen due, then claims up to `limit` ready tasks, the most urgent first. A limit of zero fires only.
///
/// A task whose agent `knows` denies is put aside for a while; another instance may know it.
pub(crate) fn claim(tx: &mut Tx<'_>, queue: &Queue, limit: usize, knows: impl Fn(&str) -> bool) -> Result<Claims> {
    let now = queue.clock.now();
    tx.execute(
        "UPDATE task SET state = 1, deferred = 0 WHERE state = 0 AND run_at <= ?1",
        &[&now],
    )?;
    wait::fire_timers(tx, queue, now)?;

    let ready = tx.query(
        "SELECT seq, id, root, agent, tenant, attempt, depth FROM task WHERE state = 1
         ORDER BY priority DESC, seq LIMIT ?1",
        &[&(limit as u64)],
        |row| {
            Ok((
                TaskRef {
                    seq: row.get(0)?,
                    id: row.get::<TaskId>(1)?,
                    root: row.get(2)?,
                    agent: row.get(3)?,
                    tenant: row.get(4)?,
                    attempt: row.get::<u32>(5)?.saturating_add(1),
                },
                row.get(6)?,
            ))
        },
    )?;
    let mut claims = Claims {
        more: limit > 0 && ready.len() == limit,
        ..Claims::default()
    };
    for (task, depth) in ready {
        if !knows(&task.agent) {
            defer(tx, &task, now)?;
            continue;
        }
        tx.execute(
            "UPDATE task SET state = 2, attempt = ?2, epoch = ?3 WHERE seq = ?1 AND state = 1",
            &[&task.seq, &task.attempt, &queue.epoch],
        )?;
        let input = tx.query_one("SELECT input FROM task_body WHERE task = ?1", &[&task.seq], |row| {
            row.get(0)
        })?;
        emit::started(tx, queue, &task)?;
        let lease = Lease {
            task: task.seq,
            attempt: task.attempt,
            epoch: queue.epoch,
        };
        let signs = RunSigns::default();
        let (wakeups, id, entering) = (queue.wakeups.clone(), task.id, signs.clone());
        tx.on_commit(move || {
            wakeups.enter(lease, entering);
            wakeups.changed(id);
        });
        claims.tasks.push(Claimed {
            lease,
            signs,
            task,
            depth,
            input,
        });
    }
    claims.next_due = next_due(tx)?;
    Ok(claims)
}

fn defer(tx: &mut Tx<'_>, task: &TaskRef, now: Timestamp) -> Result<()> {
    tracing::warn!(task = %task.id, agent = %task.agent, "no such agent in this hive, the task is put aside");
    tx.execute(
        "UPDATE task SET state = 0, run_at = ?2, deferred = 1 WHERE seq = ?1 AND state = 1",
        &[&task.seq, &(now + limits::DEFER)],
    )?;
    Ok(())
}

/// When the next timer or delayed task falls due.
pub(crate) fn next_due(db: &Snapshot<'_>) -> Result<Option<Timestamp>> {
    db.query_one(
        "SELECT min(at) FROM (
             SELECT min(run_at) AS at FROM task WHERE state = 0
             UNION ALL
             SELECT min(wake_at) FROM journal WHERE state = 0 AND wake_at IS NOT NULL)",
        &[],
        |row| row.get(0),
    )
}
