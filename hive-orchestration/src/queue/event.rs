//! Waits for events: they are written down with what they wait for, and found by the events that come.

use std::collections::HashSet;

use hive_bus::Sequence;
use hive_core::clock::Timestamp;
use hive_core::db::{Dialect, Row, Snapshot, Tx};
use hive_core::payload::Payload;
use hive_errors::Result;

use super::{Queue, wait};
use crate::event::{Awaited, Begun};
use crate::journal::Kind;
use crate::lease::lock;
use crate::limits;
use crate::task::TaskState;

/// Begins to wait for an event that comes behind `after` in the log. Whoever looks for events hears of it with the commit.
#[expect(clippy::too_many_arguments, reason = "one per column of the row it writes")]
pub(super) fn register(
    tx: &mut Tx<'_>,
    queue: &Queue,
    task: i64,
    key: &str,
    awaited: &Awaited,
    after: Sequence,
    until: Option<Timestamp>,
    now: Timestamp,
) -> Result<()> {
    let Awaited { pattern, shape, probe } = awaited;
    tx.execute(
        "INSERT INTO journal (task, key, kind, state, note, wake_at, event_shape, event_probe, event_after, at)
         VALUES (?1, ?2, ?3, 0, ?4, ?5, ?6, ?7, ?8, ?9)
         ON CONFLICT (task, key) DO UPDATE SET kind = ?3, state = 0, value = NULL, note = ?4, wake_at = ?5, signal = NULL,
                                               event_shape = ?6, event_probe = ?7, event_after = ?8, at = ?9",
        &[
            &task,
            &key,
            &Kind::Event.code(),
            pattern,
            &until,
            shape,
            probe,
            &column(after),
            &now,
        ],
    )?;
    let begun = Begun {
        task,
        key: key.to_owned(),
        shape: shape.clone(),
        after,
        at: now,
    };
    let flow = queue.flow.clone();
    tx.on_commit(move || flow.event_awaited(begun));
    Ok(())
}

/// A sequence as a column holds it.
fn column(sequence: Sequence) -> i64 {
    i64::try_from(sequence.get()).unwrap_or(i64::MAX)
}

fn sequence(row: &Row<'_>, index: usize) -> Result<Sequence> {
    row.get::<u64>(index).map(Sequence::new)
}

/// The shapes of what is waited for behind `last`, in order, each with the least place in the log behind which it is to be looked
/// for; a page of them.
pub(crate) fn shapes(db: &Snapshot<'_>, last: &str) -> Result<Vec<(String, Sequence)>> {
    db.query(
        "SELECT event_shape, min(event_after) FROM journal
         WHERE state = 0 AND event_shape IS NOT NULL AND event_shape > ?1
         GROUP BY event_shape ORDER BY event_shape LIMIT ?2",
        &[&last, &limits::EVENT_WAITS_PAGE],
        |row| Ok((row.get(0)?, sequence(row, 1)?)),
    )
}

/// The waits that have begun after `last`, a page of them, oldest first.
pub(crate) fn begun(db: &Snapshot<'_>, last: (Timestamp, i64, &str)) -> Result<Vec<Begun>> {
    db.query(
        "SELECT task, key, event_shape, event_after, at FROM journal
         WHERE state = 0 AND event_shape IS NOT NULL AND (at, task, key) > (?1, ?2, ?3)
         ORDER BY at, task, key LIMIT ?4",
        &[&last.0, &last.1, &last.2, &limits::EVENT_WAITS_PAGE],
        |row| {
            Ok(Begun {
                task: row.get(0)?,
                key: row.get(1)?,
                shape: row.get(2)?,
                after: sequence(row, 3)?,
                at: row.get(4)?,
            })
        },
    )
}

/// An event that somebody may wait for, with the shape and the probe of who does.
#[derive(Clone, Debug)]
pub(crate) struct Hit {
    pub(crate) shape: String,
    pub(crate) probe: String,
    pub(crate) sequence: Sequence,
    pub(crate) value: Payload,
}

/// A wait that an event ends.
#[derive(Clone, Debug)]
pub(crate) struct Found {
    pub(crate) task: i64,
    pub(crate) key: String,
    pub(crate) after: Sequence,
    pub(crate) at: Timestamp,
    value: Payload,
}

/// The waits that these events end, so many at most; each with the first that does. The events are in the order of the log.
pub(crate) fn waiting(db: &Snapshot<'_>, hits: &[Hit]) -> Result<Vec<Found>> {
    let (mut found, mut known) = (Vec::new(), HashSet::new());
    for hit in hits {
        let room = limits::EVENT_SETTLED.saturating_sub(found.len()) as u64;
        if room == 0 {
            break;
        }
        let waits = db.query(
            "SELECT task, key, event_after, at FROM journal
             WHERE state = 0 AND event_shape = ?1 AND event_probe = ?2 AND event_after < ?3 LIMIT ?4",
            &[&hit.shape, &hit.probe, &column(hit.sequence), &room],
            |row| {
                Ok(Found {
                    task: row.get(0)?,
                    key: row.get(1)?,
                    after: sequence(row, 2)?,
                    at: row.get(3)?,
                    value: hit.value.clone(),
                })
            },
        )?;
        for wait in waits {
            if known.insert((wait.task, wait.key.clone())) {
                found.push(wait);
            }
        }
    }
    Ok(found)
}

/// Ends these waits, those that are still open.
pub(crate) fn settle(tx: &mut Tx<'_>, queue: &Queue, found: &[Found]) -> Result<()> {
    lock(tx, found.iter().map(|wait| wait.task))?;
    for wait in found {
        // Whose task has ended waits no more. Brought back, it waits for what comes then.
        let state = tx.query_opt("SELECT state FROM task WHERE seq = ?1", &[&wait.task], |row| {
            TaskState::from_code(row.get(0)?)
        })?;
        let value = state.is_some_and(|state| !state.is_final()).then_some(&wait.value);
        wait::resolve(tx, queue, wait.task, &wait.key, value)?;
    }
    Ok(())
}

/// Up to where the log was looked through for every wait, as far as that is written down; `None` when nobody waits.
pub(crate) fn looked_through(db: &Snapshot<'_>) -> Result<Option<Sequence>> {
    let least = db.query_one(
        "SELECT min(event_after) FROM journal WHERE state = 0 AND event_shape IS NOT NULL",
        &[],
        |row| row.get::<Option<u64>>(0),
    )?;
    Ok(least.map(Sequence::new))
}

/// Writes down for a number of waits that have begun before `before` that the log was looked through for them up to `reached`, and
/// puts an end to those whose tasks have ended; how many there were.
pub(crate) fn advance(tx: &mut Tx<'_>, queue: &Queue, reached: Sequence, before: Timestamp) -> Result<usize> {
    let sql = match tx.dialect() {
        // What somebody is at is left for the next time.
        Dialect::Postgres => {
            "SELECT journal.task, key, (SELECT task.state FROM task WHERE task.seq = journal.task) FROM journal
             WHERE state = 0 AND event_shape IS NOT NULL AND event_after < ?1 AND at < ?2
             ORDER BY event_after LIMIT ?3 FOR NO KEY UPDATE OF journal SKIP LOCKED"
        }
        Dialect::Sqlite => {
            "SELECT journal.task, key, (SELECT task.state FROM task WHERE task.seq = journal.task) FROM journal
             WHERE state = 0 AND event_shape IS NOT NULL AND event_after < ?1 AND at < ?2
             ORDER BY event_after LIMIT ?3"
        }
    };
    let waits = tx.query(
        sql,
        &[&column(reached), &before, &(limits::EVENT_SETTLED as u64)],
        |row| {
            let state = row.get::<Option<i64>>(2)?.map(TaskState::from_code).transpose()?;
            Ok((row.get::<i64>(0)?, row.get::<String>(1)?, state))
        },
    )?;
    for (task, key, state) in &waits {
        if state.is_some_and(|state| !state.is_final()) {
            tx.execute(
                "UPDATE journal SET event_after = ?3 WHERE task = ?1 AND key = ?2 AND state = 0",
                &[task, key, &column(reached)],
            )?;
        } else {
            wait::resolve(tx, queue, *task, key, None)?;
        }
    }
    Ok(waits.len())
}
