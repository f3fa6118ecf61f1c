//! Runs end: with an output, with a failure, or handed back.

use std::collections::HashSet;

use hive_bus::NewEvent;
use hive_core::clock::Timestamp;
use hive_core::db::{self, Cell, Dialect, Set, Tx};
use hive_core::payload::Payload;
use hive_errors::{Error, ErrorKind, Failure, Result, RetryPolicy};

use super::{Queue, TASKS, TaskRef, cancel, emit, submit, undo, wait};
use crate::journal::Kind;
use crate::lease::{Lease, guard, listed, lock};
use crate::limits;
use crate::task::state::{AfterFailure, after_failure};
use crate::task::{End, TaskState};

/// How a run ended, and whose it was.
#[derive(Clone, Debug)]
pub(crate) struct Finished {
    pub(crate) lease: Lease,
    pub(crate) task: TaskRef,
    pub(crate) how: How,
}

#[derive(Clone, Debug)]
pub(crate) enum How {
    /// With the event that tells of it, made before others wait for the transaction.
    Output(Payload, Box<NewEvent>),
    /// By this policy there may be another attempt.
    Failure(Failure, RetryPolicy),
    /// Handed back unharmed, at shutdown: neither a failure nor a crash.
    Released,
}

impl How {
    /// The end of a task that succeeded.
    pub(crate) fn output(task: &TaskRef, output: Payload) -> Result<Self> {
        Ok(Self::Output(output, Box::new(emit::succeeded(task)?)))
    }
}

static OUTPUTS: Set = Set::insert("task_output", &[("task", db::Kind::Int), ("output", db::Kind::Blob)]);

/// Writes down how these runs ended. Those that had lost their leases are passed over: what they say counts no more. Returns how
/// many that were.
pub(crate) fn finish_all(tx: &mut Tx<'_>, queue: &Queue, ends: &[Finished]) -> Result<usize> {
    if ends.is_empty() {
        return Ok(0);
    }
    let parents = ends.iter().filter_map(|end| end.task.parent);
    lock(tx, parents.chain(ends.iter().map(|end| end.lease.task)))?;
    queue.make_room(tx);
    let now = tx.now()?;
    let outputs: Vec<&Finished> = ends.iter().filter(|end| matches!(end.how, How::Output(..))).collect();
    let mut lost = complete_all(tx, queue, &outputs, now)?;
    for Finished { lease, task, how } in ends {
        let written = match how {
            How::Output(..) => continue,
            How::Failure(failure, policy) => fail(tx, queue, *lease, task, failure, policy),
            How::Released => release(tx, queue, *lease, task),
        };
        match written {
            Err(error) if error.kind() == ErrorKind::LeaseLost => lost += 1,
            written => written?,
        }
    }
    Ok(lost)
}

/// Ends tasks with their outputs. The caller has locked them and their parents.
fn complete_all(tx: &mut Tx<'_>, queue: &Queue, ends: &[&Finished], now: Timestamp) -> Result<usize> {
    if ends.is_empty() {
        return Ok(0);
    }
    let accepted = succeed(tx, ends, now)?;
    let (mut outputs, mut events) = (Vec::with_capacity(ends.len()), Vec::with_capacity(ends.len()));
    let mut told = Vec::with_capacity(ends.len());
    for Finished { lease, task, how } in ends {
        if let How::Output(output, event) = how
            && accepted.contains(lease)
        {
            outputs.push([Cell::Int(lease.task), Cell::of(output)]);
            events.push((**event).clone());
            told.push((task.id, output.clone()));
        }
    }
    tx.insert_all(&OUTPUTS, &outputs)?;
    let succeeded = ends.iter().filter(|end| accepted.contains(&end.lease));
    let agents = succeeded.map(|end| end.task.agent.as_str());
    queue.telemetry.count(tx, agents, |agent| &agent.succeeded);
    emit::all(tx, queue, events)?;
    let ended = ends.iter().filter(|end| accepted.contains(&end.lease));
    cancel::descendants(tx, queue, ended.map(|end| end.lease.task))?;
    for Finished { lease, task, .. } in ends {
        if accepted.contains(lease) {
            tell_caller(tx, queue, task, true)?;
        }
    }
    let wakeups = queue.wakeups.clone();
    tx.on_commit(move || {
        for (id, output) in told {
            wakeups.ended(id, End::Output(output));
        }
    });
    queue.tell_others(tx, TASKS);
    Ok(ends.len() - accepted.len())
}

/// Which of the leases still held. Two runs of one task may end at the same time, of which one has lost it.
fn succeed(tx: &mut Tx<'_>, ends: &[&Finished], now: Timestamp) -> Result<HashSet<Lease>> {
    let mut accepted = HashSet::with_capacity(ends.len());
    match tx.dialect() {
        Dialect::Postgres => {
            let epochs = ends.iter().map(|end| end.lease.epoch.cast_signed());
            tx.each(
                "UPDATE task SET state = 4, epoch = 0, finished_at = ?4, single = NULL
                 FROM unnest(CAST(string_to_array(?1, ',') AS BIGINT[]), CAST(string_to_array(?2, ',') AS BIGINT[]),
                             CAST(string_to_array(?3, ',') AS BIGINT[])) AS given (seq, attempt, epoch)
                 WHERE task.seq = given.seq AND task.attempt = given.attempt AND task.epoch = given.epoch AND task.state + 0 = 2
                 RETURNING task.seq, task.attempt, given.epoch",
                &[
                    &listed(ends.iter().map(|end| end.lease.task)),
                    &listed(ends.iter().map(|end| i64::from(end.lease.attempt))),
                    &listed(epochs),
                    &now,
                ],
                |row| {
                    accepted.insert(Lease {
                        task: row.get(0)?,
                        attempt: row.get(1)?,
                        epoch: row.get(2)?,
                    });
                    Ok(true)
                },
            )?;
        }
        Dialect::Sqlite => {
            for end in ends {
                let Lease { task, attempt, epoch } = end.lease;
                let ended = tx.execute(
                    "UPDATE task SET state = 4, epoch = 0, finished_at = ?4, single = NULL
                     WHERE seq = ?1 AND attempt = ?2 AND epoch = ?3 AND state = 2",
                    &[&task, &attempt, &epoch, &now],
                )?;
                if ended > 0 {
                    accepted.insert(end.lease);
                }
            }
        }
    }
    Ok(accepted)
}

/// Records a failed attempt and decides, by `policy`, whether there is another. The caller has locked the task and its parent.
fn fail(
    tx: &mut Tx<'_>,
    queue: &Queue,
    lease: Lease,
    task: &TaskRef,
    failure: &Failure,
    policy: &RetryPolicy,
) -> Result<()> {
    guard(tx, lease)?;
    let now = tx.now()?;
    let failures = tx.query_one(
        "UPDATE task SET failures = failures + 1 WHERE seq = ?1 RETURNING failures",
        &[&lease.task],
        |row| row.get::<u32>(0),
    )?;
    record(tx, lease.task, failure)?;
    match after_failure(failure, failures, policy, queue.rng.next_u64(), now) {
        AfterFailure::Retry(at) => {
            tx.execute(
                "UPDATE task SET state = 0, epoch = 0, run_at = ?2 WHERE seq = ?1",
                &[&lease.task, &at],
            )?;
            emit::failed(tx, queue, task, failure, Some(at))?;
            queue.wake_ready(tx);
            queue.wake_watchers(tx, task.id);
            Ok(())
        }
        AfterFailure::Failed => {
            emit::failed(tx, queue, task, failure, None)?;
            end(tx, queue, task, TaskState::Failed, failure)
        }
        AfterFailure::Dead => {
            emit::failed(tx, queue, task, failure, None)?;
            emit::dead(tx, queue, task, failure)?;
            end(tx, queue, task, TaskState::Dead, failure)
        }
    }
}

fn release(tx: &mut Tx<'_>, queue: &Queue, lease: Lease, task: &TaskRef) -> Result<()> {
    guard(tx, lease)?;
    tx.execute("UPDATE task SET state = 1, epoch = 0 WHERE seq = ?1", &[&lease.task])?;
    queue.wake_watchers(tx, task.id);
    // Of other processes only: this one is about to end.
    queue.tell_others(tx, super::READY);
    Ok(())
}

/// Ends tasks that have not ended by themselves in time.
pub(super) fn expire(tx: &mut Tx<'_>, queue: &Queue, now: Timestamp) -> Result<()> {
    // Of those that are late together a caller is older than what it called, and takes it along: whose turn comes first must not
    // be left to the engine.
    let late = tx.query(
        "SELECT seq, id, root, agent, tenant, attempt, parent, correlation FROM task
         WHERE state < 4 AND deadline IS NOT NULL AND deadline <= ?1 ORDER BY deadline, seq LIMIT ?2",
        &[&now, &limits::DUE_BATCH],
        super::task_ref,
    )?;
    if late.is_empty() {
        return Ok(());
    }
    lock(
        tx,
        late.iter().flat_map(|task| task.parent.into_iter().chain([task.seq])),
    )?;
    for task in late {
        let open = tx.query_opt("SELECT 1 FROM task WHERE seq = ?1 AND state < 4", &[&task.seq], |_| {
            Ok(())
        })?;
        if open.is_none() {
            continue;
        }
        let failure = Failure::terminal("the task had not ended by its deadline")
            .with_kind(ErrorKind::Timeout)
            .with_hint("give it more time, or look at what it waited for");
        record(tx, task.seq, &failure)?;
        emit::failed(tx, queue, &task, &failure, None)?;
        end(tx, queue, &task, TaskState::Failed, &failure)?;
        stop_run(tx, queue, task.seq);
    }
    Ok(())
}

/// Tells a run, wherever it is, that it must stop.
pub(super) fn stop_run(tx: &mut Tx<'_>, queue: &Queue, task: i64) {
    queue.make_room(tx);
    let wakeups = queue.wakeups.clone();
    tx.on_commit(move || wakeups.stop(task));
    queue.tell_others(tx, super::RUNS);
}

/// Writes down why, for whoever asks.
pub(super) fn record(tx: &mut Tx<'_>, task: i64, failure: &Failure) -> Result<()> {
    let text = serde_json::to_string(failure)
        .map_err(|e| Error::new(ErrorKind::Internal, "a failure could not be written down").with_source(e))?;
    tx.execute(
        "INSERT INTO task_note (task, failure) VALUES (?1, ?2) ON CONFLICT (task) DO UPDATE SET failure = ?2",
        &[&task, &text],
    )?;
    Ok(())
}

/// Ends a task without an output, and what follows from that. The caller has the lease, or has it locked.
pub(super) fn end(tx: &mut Tx<'_>, queue: &Queue, task: &TaskRef, state: TaskState, failure: &Failure) -> Result<()> {
    let now = tx.now()?;
    tx.execute(
        "UPDATE task SET state = ?2, epoch = 0, finished_at = ?3, single = NULL WHERE seq = ?1",
        &[&task.seq, &state.code(), &now],
    )?;
    queue.telemetry.ended(tx, &task.agent, state);
    super::record::left(tx, queue, task, state, failure)?;
    undo::begin(tx, queue, task, state)?;
    after_end(tx, queue, task, state, failure)
}

/// What follows from an end without an output: children left behind are cancelled, the parent hears of it.
pub(super) fn after_end(
    tx: &mut Tx<'_>,
    queue: &Queue,
    task: &TaskRef,
    state: TaskState,
    failure: &Failure,
) -> Result<()> {
    cancel::descendants(tx, queue, [task.seq])?;
    tell_caller(tx, queue, task, false)?;
    tell_end(tx, queue, task, state, failure);
    Ok(())
}

/// Tells whoever watches the task.
pub(super) fn tell_end(tx: &mut Tx<'_>, queue: &Queue, task: &TaskRef, state: TaskState, failure: &Failure) {
    let (wakeups, id, end) = (queue.wakeups.clone(), task.id, End::Failure(state, failure.clone()));
    tx.on_commit(move || wakeups.ended(id, end));
    queue.tell_others(tx, TASKS);
}

/// The parent hears of the end, and the next sibling starts.
fn tell_caller(tx: &mut Tx<'_>, queue: &Queue, task: &TaskRef, succeeded: bool) -> Result<()> {
    let Some(parent) = task.parent else { return Ok(()) };
    let (call, ordinal) = tx.query_one("SELECT call, ordinal FROM task WHERE seq = ?1", &[&task.seq], |row| {
        Ok((row.get::<Option<String>>(0)?, row.get::<u64>(1)?))
    })?;
    let Some(call) = call else { return Ok(()) };
    // The first failure wakes the caller at once, and in a race (14) the first output; it decides what becomes of the rest. Where
    // failures are values (15) all of them are waited for.
    let remaining = tx.query_opt(
        "UPDATE journal SET remaining = CASE WHEN kind = 5 AND ?3 = 0 OR kind = 14 AND ?3 = 1 THEN 0 ELSE remaining - 1 END
         WHERE task = ?1 AND key = ?2 AND state = 0 RETURNING remaining, kind",
        &[&parent, &call, &i64::from(succeeded)],
        |row| Ok((row.get::<i64>(0)?, Kind::from_code(row.get(1)?)?)),
    )?;
    match remaining {
        // Which of them it was: another that succeeds a moment later is not it.
        Some((..=0, Kind::Race)) if succeeded => {
            let winner = Payload::encode(&ordinal, limits::PAYLOAD_BYTES)?;
            wait::resolve(tx, queue, parent, &call, Some(&winner))
        }
        Some((..=0, _)) => wait::resolve(tx, queue, parent, &call, None),
        Some((1.., _)) => submit::release_next(tx, queue, parent, &call),
        None => Ok(()),
    }
}
