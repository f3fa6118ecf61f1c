//! The rows of schedules: every change as a function on the caller's transaction.
//!
//! Every update names the revision that it was decided on. Two processes that want to take the same step can therefore not
//! both succeed, whatever the engine's isolation, and neither can one that stood still in between.

mod row;

use hive_core::clock::Timestamp;
use hive_core::db::{Snapshot, Tx};
use hive_core::id::TaskId;
use hive_core::payload::Payload;
use hive_errors::{Error, ErrorKind, Result};

use self::row::Record;
use super::spec::{Decision, Due};
use super::{Info, Schedule, stored};
use crate::limits;
use crate::queue::Queue;
use crate::queue::submit;
use crate::task::Priority;

/// Woken with every change that may bring the next due time nearer.
pub(crate) const CHANNEL: &str = "hive_schedules";

/// A schedule as somebody wants it to be.
#[derive(Clone, Debug)]
pub(crate) struct Definition {
    pub(crate) name: String,
    pub(crate) schedule: Schedule,
    pub(crate) tenant: String,
    pub(crate) agent: String,
    pub(crate) priority: Priority,
    pub(crate) input: Payload,
}

/// Makes the schedule, or puts the definition in the place of another; the same one changes nothing.
///
/// # Errors
/// `invalid-input` when the schedule is out of its bounds; `limit-reached` when there are too many.
pub(crate) fn define(tx: &mut Tx<'_>, queue: &Queue, new: &Definition) -> Result<Info> {
    new.schedule.check()?;
    let spec = stored::encode(&new.schedule)?;
    let known = row::find(tx, &new.name)?;
    if let Some(known) = &known
        && known.is(new, &spec)
    {
        return known.info();
    }
    let now = tx.now()?;
    let next = new.schedule.first(&new.name, now)?;
    let (due_at, fire_at) = columns(next);
    match &known {
        Some(known) => advance(
            tx.execute(
                "UPDATE schedule SET tenant = ?3, agent = ?4, priority = ?5, input = ?6, spec = ?7, due_at = ?8, fire_at = ?9,
                                     revision = revision + 1
                 WHERE name = ?1 AND revision = ?2",
                &[
                    &new.name,
                    &known.revision,
                    &new.tenant,
                    &new.agent,
                    &new.priority.code(),
                    &new.input,
                    &spec,
                    &due_at,
                    &fire_at,
                ],
            )?,
            &new.name,
        )?,
        None => {
            make_room(tx)?;
            tx.execute(
                "INSERT INTO schedule (name, tenant, agent, priority, input, spec, due_at, fire_at, revision, created_at)
                 VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, 1, ?9)",
                &[
                    &new.name,
                    &new.tenant,
                    &new.agent,
                    &new.priority.code(),
                    &new.input,
                    &spec,
                    &due_at,
                    &fire_at,
                    &now,
                ],
            )?;
        }
    }
    let record = row::get(tx, &new.name)?;
    let timing = new.schedule.to_string();
    record
        .teller(queue)
        .defined(tx, &new.agent, timing, next, known.is_some())?;
    tx.notify(CHANNEL);
    record.info()
}

fn make_room(tx: &Tx<'_>) -> Result<()> {
    let count = tx.query_one("SELECT count(*) FROM schedule", &[], |row| row.get::<u64>(0))?;
    if count < limits::SCHEDULES_MAX as u64 {
        return Ok(());
    }
    Err(Error::new(ErrorKind::LimitReached, "there are too many schedules")
        .with("limit", limits::SCHEDULES_MAX)
        .with_hint("remove some; what happens once for each user or order is a task with a delay"))
}

/// Nothing is submitted until it is resumed. `false` when it was paused already.
///
/// # Errors
/// `not-found`.
pub(crate) fn pause(tx: &mut Tx<'_>, queue: &Queue, name: &str) -> Result<bool> {
    let known = row::get(tx, name)?;
    if known.paused {
        return Ok(false);
    }
    let changed = tx.execute(
        "UPDATE schedule SET paused = 1, revision = revision + 1 WHERE name = ?1 AND revision = ?2",
        &[&name, &known.revision],
    )?;
    advance(changed, name)?;
    known.teller(queue).paused(tx)?;
    Ok(true)
}

/// Goes on with what is due after now: what fell into the pause is not made up for. Also begins anew from the present when
/// it was not paused.
///
/// # Errors
/// `not-found`; `invalid-input` when this machine does not know the time zone.
pub(crate) fn resume(tx: &mut Tx<'_>, queue: &Queue, name: &str) -> Result<()> {
    let known = row::get(tx, name)?;
    let next = known.schedule()?.next(name, tx.now()?)?;
    let (due_at, fire_at) = columns(next);
    let changed = tx.execute(
        "UPDATE schedule SET paused = 0, due_at = ?3, fire_at = ?4, revision = revision + 1
         WHERE name = ?1 AND revision = ?2",
        &[&name, &known.revision, &due_at, &fire_at],
    )?;
    advance(changed, name)?;
    known.teller(queue).resumed(tx, next)?;
    tx.notify(CHANNEL);
    Ok(())
}

/// `false` when there was none.
pub(crate) fn remove(tx: &mut Tx<'_>, queue: &Queue, name: &str) -> Result<bool> {
    let Some(known) = row::find(tx, name)? else {
        return Ok(false);
    };
    tx.execute("DELETE FROM schedule WHERE name = ?1", &[&name])?;
    known.teller(queue).removed(tx)?;
    Ok(true)
}

/// Submits a task now, besides those that are due. Also of a schedule that is paused or at its end.
///
/// # Errors
/// `not-found`.
pub(crate) fn trigger(tx: &mut Tx<'_>, queue: &Queue, name: &str) -> Result<TaskId> {
    let known = row::get(tx, name)?;
    let task = submit::submit(tx, queue, &known.task(queue, None)?)?.id;
    let changed = tx.execute(
        "UPDATE schedule SET fired = fired + 1, last_task = ?3, revision = revision + 1 WHERE name = ?1 AND revision = ?2",
        &[&name, &known.revision, &task],
    )?;
    advance(changed, name)?;
    known.teller(queue).fired(tx, task, None)?;
    Ok(task)
}

/// # Errors
/// `not-found`.
pub(crate) fn info(db: &Snapshot<'_>, name: &str) -> Result<Info> {
    row::get(db, name)?.info()
}

/// By name, those after `after`.
pub(crate) fn list(db: &Snapshot<'_>, after: Option<&str>, limit: usize) -> Result<Vec<Info>> {
    row::list(db, after.unwrap_or_default(), limit.min(limits::SCHEDULES_PAGE))?
        .iter()
        .map(Record::info)
        .collect()
}

/// Where a walk over what is due has come to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Cursor {
    fire_at: Timestamp,
    name: String,
}

/// What came of a walk's step.
#[derive(Debug, Default)]
pub(crate) struct Pass {
    /// How many tasks were submitted.
    pub(crate) tasks: usize,
    /// The schedules that could not be acted upon, and why. The others were.
    pub(crate) failed: Vec<(String, Error)>,
    /// Where to go on; `None` at the end.
    pub(crate) next: Option<Cursor>,
}

/// Acts upon some of the schedules that are due, from `after` on.
pub(crate) fn pass(tx: &mut Tx<'_>, queue: &Queue, after: Option<&Cursor>) -> Result<Pass> {
    let now = tx.now()?;
    let (fire_at, name) = after.map_or((Timestamp::MIN, ""), |cursor| (cursor.fire_at, &*cursor.name));
    let due = tx.query(
        "SELECT fire_at, name FROM schedule
         WHERE paused = 0 AND fire_at IS NOT NULL AND fire_at <= ?1 AND (fire_at > ?2 OR (fire_at = ?2 AND name > ?3))
         ORDER BY fire_at, name LIMIT ?4",
        &[&now, &fire_at, &name, &(limits::SCHEDULE_BATCH as u64)],
        |row| {
            Ok(Cursor {
                fire_at: row.get(0)?,
                name: row.get(1)?,
            })
        },
    )?;
    let mut pass = Pass::default();
    for Cursor { name, .. } in &due {
        // Each for itself: one that cannot be acted upon does not hold up the others.
        match tx.attempt(|tx| fire(tx, queue, name, now)) {
            Ok(tasks) => pass.tasks += tasks,
            // The database's trouble is everybody's.
            Err(error) if error.is_retryable() => return Err(error),
            Err(error) => pass.failed.push((name.clone(), error)),
        }
    }
    if due.len() == limits::SCHEDULE_BATCH {
        pass.next = due.into_iter().next_back();
    }
    Ok(pass)
}

/// Submits what is due of one schedule and takes the step to what comes next.
fn fire(tx: &mut Tx<'_>, queue: &Queue, name: &str, now: Timestamp) -> Result<usize> {
    let known = row::get(tx, name)?;
    let Some(waited_for) = known.due_at.filter(|_| !known.paused) else {
        return Ok(0);
    };
    let Decision { fires, missed, next } = known.schedule()?.decide(name, waited_for, now)?;
    let teller = known.teller(queue);
    let (mut last_due, mut last_task, mut fired) = (known.last_due, known.last_task, known.fired);
    for due in &fires {
        if let Some(task) = submit_once(tx, queue, &known, *due)? {
            (last_due, last_task, fired) = (Some(*due), Some(task), fired + 1);
            teller.fired(tx, task, Some(*due))?;
        }
    }
    if missed > 0 {
        teller.missed(tx, waited_for, missed)?;
    }
    let (due_at, fire_at) = columns(next);
    let changed = tx.execute(
        "UPDATE schedule SET due_at = ?3, fire_at = ?4, last_due = ?5, last_task = ?6, fired = ?7, revision = revision + 1
         WHERE name = ?1 AND revision = ?2",
        &[&name, &known.revision, &due_at, &fire_at, &last_due, &last_task, &fired],
    )?;
    advance(changed, name)?;
    Ok(fires.len())
}

/// The task of a due time, unless there is one: of an earlier schedule with this name, or from before the clock was set back.
fn submit_once(tx: &mut Tx<'_>, queue: &Queue, known: &Record, due: Timestamp) -> Result<Option<TaskId>> {
    let new = known.task(queue, Some(due))?;
    let key = new.idempotency.as_deref().unwrap_or_default();
    let there = tx.query_opt(
        "SELECT id FROM task WHERE tenant = ?1 AND agent = ?2 AND idempotency = ?3",
        &[&new.tenant, &new.agent, &key],
        |row| row.get::<TaskId>(0),
    )?;
    if let Some(task) = there {
        tracing::info!(schedule = known.name, %due, %task, "the due time has its task already");
        return Ok(None);
    }
    let submitted = submit::submit(tx, queue, &new)?;
    Ok(submitted.new.then_some(submitted.id))
}

/// When the next schedule is to be acted upon, and what time it is now.
pub(crate) fn next(db: &Snapshot<'_>) -> Result<(Option<Timestamp>, Timestamp)> {
    let next = db.query_one(
        "SELECT min(fire_at) FROM schedule WHERE paused = 0 AND fire_at IS NOT NULL",
        &[],
        |row| row.get(0),
    )?;
    Ok((next, db.now()?))
}

/// As [`next`], without those that are due already.
pub(crate) fn next_to_come(db: &Snapshot<'_>) -> Result<(Option<Timestamp>, Timestamp)> {
    let now = db.now()?;
    let next = db.query_one(
        "SELECT min(fire_at) FROM schedule WHERE paused = 0 AND fire_at IS NOT NULL AND fire_at > ?1",
        &[&now],
        |row| row.get(0),
    )?;
    Ok((next, now))
}

fn columns(next: Option<Due>) -> (Option<Timestamp>, Option<Timestamp>) {
    (next.map(|due| due.at), next.map(|due| due.fire_at))
}

/// Refuses to go on when the row is not the one that was read.
fn advance(changed: usize, name: &str) -> Result<()> {
    if changed == 1 {
        return Ok(());
    }
    Err(
        Error::new(ErrorKind::Conflict, "the schedule was changed at the same moment")
            .with("schedule", name)
            .retryable(),
    )
}
