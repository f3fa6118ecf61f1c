//! A task waits, and what it waits for comes about.

use std::time::Duration;

use hive_bus::Sequence;
use hive_bus::catalog::WaitsFor;
use hive_core::clock::Timestamp;
use hive_core::db::{Dialect, Row, Tx};
use hive_core::id::TaskId;
use hive_core::payload::{self, Payload};
use hive_errors::{Error, ErrorKind, Result};

use super::submit::{NewTask, Parent, submit_children};
use super::{Queue, RUNS, TaskRef, budget, cancel, emit, event, read};
use crate::budget::Shortage;
use crate::budget::ledger::{Chain, Need};
use crate::event::Awaited;
use crate::journal::{self, Kind, Mark};
use crate::lease::{Lease, guard, lock};
use crate::limits;
use crate::task::TaskState;
use crate::task::question::{Answer, Question};

/// Something that a run begins to wait for, under the key by which it asks for the outcome.
#[derive(Clone, Debug)]
pub(crate) struct NewWait {
    pub(crate) key: String,
    pub(crate) what: Wanted,
}

#[derive(Clone, Debug)]
pub(crate) enum Wanted {
    Timer {
        until: Until,
    },
    Signal {
        name: String,
        question: Option<Question>,
        timeout: Option<Duration>,
    },
    Children {
        /// [`Kind::Children`], [`Kind::Race`] or [`Kind::Settled`].
        kind: Kind,
        tasks: Vec<NewTask>,
        parallel: usize,
    },
    /// An event that comes after `after` in the log.
    Event {
        awaited: Awaited,
        after: Sequence,
        timeout: Option<Duration>,
    },
    /// Room in the accounts on which the task draws.
    Budget {
        need: Need,
        chain: Chain,
    },
    /// A person's decision on a step; the report says what happened.
    /// What is adopted then is taken for what the mark says.
    Decision {
        kind: Kind,
        report: String,
        mark: Mark,
    },
}

/// When a timer ends.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Until {
    /// After so long.
    In(Duration),
    At(Timestamp),
}

/// An outcome that was not seen yet.
#[derive(Debug)]
pub(crate) struct Resolved {
    pub(crate) key: String,
    pub(crate) outcome: Outcome,
}

#[derive(Debug)]
pub(crate) enum Outcome {
    /// A timer, children, or a wait whose time ran out, leave no value.
    Over(Option<Payload>),
    /// A person lets it run again, or it may be tried again.
    Again,
    /// The budget has no room for it. It was not begun.
    Short(Shortage),
}

/// What one exchange with the database brought.
#[derive(Debug)]
pub(crate) struct Synced {
    pub(crate) resolved: Vec<Resolved>,
    /// The task is waiting now and the lease is given up.
    pub(crate) parked: bool,
}

/// Registers new waits, collects outcomes and, when `park` and nothing came, lets the lease go: all in one commit, so
/// that no outcome can fall between.
pub(crate) fn sync(
    tx: &mut Tx<'_>,
    queue: &Queue,
    lease: Lease,
    task: &TaskRef,
    depth: u32,
    new: &[NewWait],
    park: bool,
) -> Result<Synced> {
    guard(tx, lease)?;
    let (mut timer, mut at_once) = (false, Vec::new());
    if !new.is_empty() {
        let now = tx.now()?;
        for wait in new {
            match register(tx, queue, lease, task, depth, wait, now)? {
                Begun::Waits => {}
                Begun::EndsByTime => timer = true,
                Begun::Not(outcome) => at_once.push(Resolved {
                    key: wait.key.clone(),
                    outcome,
                }),
            }
        }
    }
    if !new.is_empty() {
        queue.wake_watchers(tx, task.id);
        // It may be the next to fall due.
        if timer {
            queue.wake_ready(tx);
        }
    }
    let mut resolved = fresh(tx, lease.task)?;
    resolved.append(&mut at_once);
    let parked = park && resolved.is_empty();
    if parked {
        tx.execute("UPDATE task SET state = 3, epoch = 0 WHERE seq = ?1", &[&lease.task])?;
        queue.make_room(tx);
        let (on, name, until) = awaited(tx, lease.task)?;
        emit::waiting(tx, queue, task, on, name, until)?;
        queue.wake_watchers(tx, task.id);
    }
    Ok(Synced { resolved, parked })
}

/// Outcomes that no run has seen yet; from here on this one has. The inner query goes by the index of what is open, which
/// `state <> 2` asks for: the rest of a long journal is not looked at.
fn fresh(tx: &mut Tx<'_>, task: i64) -> Result<Vec<Resolved>> {
    let mut fresh = tx.query(
        "UPDATE journal SET state = 2 WHERE task = ?1 AND key IN (
             SELECT key FROM journal WHERE task = ?1 AND state <> 2 AND state = 1) RETURNING key, value",
        &[&task],
        |row: &Row<'_>| {
            Ok(Resolved {
                key: row.get(0)?,
                outcome: Outcome::Over(row.get(1)?),
            })
        },
    )?;
    fresh.extend(tx.query(
        "DELETE FROM journal WHERE task = ?1 AND key IN (
             SELECT key FROM journal WHERE task = ?1 AND state <> 2 AND state = 4) RETURNING key",
        &[&task],
        |row: &Row<'_>| {
            Ok(Resolved {
                key: row.get(0)?,
                outcome: Outcome::Again,
            })
        },
    )?);
    Ok(fresh)
}

/// What the task waits for first, for its event.
fn awaited(tx: &Tx<'_>, task: i64) -> Result<(WaitsFor, Option<String>, Option<Timestamp>)> {
    let first = tx.query_opt(
        "SELECT kind, state, key, signal, note, wake_at FROM journal WHERE task = ?1 AND key IN (
             SELECT key FROM journal WHERE task = ?1 AND state <> 2 AND state IN (0, 3))
         ORDER BY state DESC, kind < 3, at, length(key), key LIMIT 1",
        &[&task],
        |row| {
            let (kind, held) = (Kind::from_code(row.get(0)?)?, row.get::<i64>(1)? == 3);
            let key = row.get::<String>(2)?;
            Ok(match kind {
                _ if held => (WaitsFor::Decision, Some(key), None),
                Kind::Timer => (WaitsFor::Timer, None, row.get(5)?),
                Kind::Children | Kind::Race | Kind::Settled => (WaitsFor::Child, Some(key), None),
                Kind::Signal => (WaitsFor::Signal, row.get(3)?, row.get(5)?),
                Kind::Message => (WaitsFor::Message, row.get(4)?, row.get(5)?),
                Kind::Event => (WaitsFor::Event, row.get(4)?, row.get(5)?),
                Kind::Budget => (WaitsFor::Budget, Some(key), None),
                Kind::Step
                | Kind::Once
                | Kind::Transaction
                | Kind::Record
                | Kind::Spawn
                | Kind::Plan
                | Kind::Undo
                | Kind::Stream
                | Kind::Memory => (WaitsFor::Decision, Some(key), None),
            })
        },
    )?;
    Ok(first.unwrap_or((WaitsFor::Signal, None, None)))
}

/// What became of a new wait.
enum Begun {
    Waits,
    /// Time may end it.
    EndsByTime,
    /// There is nothing to wait for.
    Not(Outcome),
}

impl Begun {
    const fn waits(until: Option<Timestamp>) -> Self {
        match until {
            Some(_) => Self::EndsByTime,
            None => Self::Waits,
        }
    }
}

fn register(
    tx: &mut Tx<'_>,
    queue: &Queue,
    lease: Lease,
    task: &TaskRef,
    depth: u32,
    wait: &NewWait,
    now: Timestamp,
) -> Result<Begun> {
    let NewWait { key, what } = wait;
    match what {
        Wanted::Timer { until } => {
            let until = match until {
                Until::In(wait) => now + *wait,
                Until::At(at) => *at,
            };
            pend(tx, task.seq, key, Kind::Timer, now, None, Some(until), None, None)?;
            Ok(Begun::EndsByTime)
        }
        Wanted::Signal {
            name,
            question,
            timeout,
        } => {
            let until = timeout.map(|timeout| now + timeout);
            let note = question
                .as_ref()
                .map(|question| {
                    serde_json::to_string(question).map_err(|e| {
                        Error::new(ErrorKind::Internal, "a question could not be written down").with_source(e)
                    })
                })
                .transpose()?;
            if let Some(question) = question {
                emit::asked(tx, queue, task, name, &question.text)?;
            }
            pend(
                tx,
                task.seq,
                key,
                Kind::Signal,
                now,
                note.as_deref(),
                until,
                Some(name),
                None,
            )?;
            // It may have come before anybody waited for it. What does not answer the question is kept for another wait.
            let early = tx.query(
                "SELECT seq, value FROM inbox WHERE task = ?1 AND name = ?2 ORDER BY seq",
                &[&task.seq, &name],
                |row| Ok((row.get::<i64>(0)?, row.get::<Payload>(1)?)),
            )?;
            for (seq, kept) in early {
                let answer: Answer<Payload> = kept.decode()?;
                let admitted = question
                    .as_ref()
                    .is_none_or(|question| question.admits(&answer.value, answer.by.as_deref()).is_ok());
                if admitted {
                    tx.execute("DELETE FROM inbox WHERE seq = ?1", &[&seq])?;
                    resolve(tx, queue, task.seq, key, Some(&kept))?;
                    if question.is_some() {
                        emit::answered(tx, queue, task, name, answer.by)?;
                    }
                    break;
                }
            }
            Ok(Begun::waits(until))
        }
        Wanted::Children { kind, tasks, parallel } => {
            let count = tasks.len() as u64;
            // All have the same caller.
            if let Some(first) = tasks.first()
                && let Some(short) = budget::draw_children(tx, task, &first.above, key, count, depth + 1)?
            {
                return Ok(Begun::Not(Outcome::Short(short)));
            }
            set_aside(tx, queue, lease, key)?;
            pend(tx, task.seq, key, *kind, now, None, None, None, Some(count))?;
            journal::mark_all(tx, lease, key, &mark_of(tasks))?;
            let child = |(ordinal, child)| {
                let parent = Parent {
                    seq: task.seq,
                    id: task.id,
                    root: task.root,
                    correlation: task.correlation.as_deref(),
                    depth,
                    call: key,
                    ordinal,
                    held: ordinal >= *parallel,
                };
                (child, parent)
            };
            let children: Vec<(&NewTask, Parent<'_>)> = tasks.iter().enumerate().map(child).collect();
            submit_children(tx, queue, &children)?;
            if count == 0 {
                resolve(tx, queue, task.seq, key, None)?;
            }
            Ok(Begun::Waits)
        }
        Wanted::Budget { need, chain } => {
            let Some(short) = budget::wait_for(tx, task, chain, key, need)? else {
                return Ok(Begun::Not(Outcome::Again));
            };
            let note = serde_json::to_string(&short)
                .map_err(|e| Error::new(ErrorKind::Internal, "a shortage could not be written down").with_source(e))?;
            pend(tx, task.seq, key, Kind::Budget, now, Some(&note), None, None, None)?;
            Ok(Begun::Waits)
        }
        Wanted::Event {
            awaited,
            after,
            timeout,
        } => {
            let until = timeout.map(|timeout| now + timeout);
            event::register(tx, queue, task.seq, key, awaited, *after, until, now)?;
            Ok(Begun::waits(until))
        }
        Wanted::Decision { kind, report, mark } => {
            tx.execute(
                "INSERT INTO journal (task, key, kind, state, note, at) VALUES (?1, ?2, ?3, 3, ?4, ?5)
                 ON CONFLICT (task, key) DO UPDATE SET kind = ?3, state = 3, note = ?4",
                &[&task.seq, key, &kind.code(), report, &now],
            )?;
            journal::mark_all(tx, lease, key, mark)?;
            Ok(Begun::Waits)
        }
    }
}

/// By what a call is told from another: how many children of whom, and their inputs.
pub(crate) fn mark_of(tasks: &[NewTask]) -> Mark {
    let agent = tasks.first().map_or("nobody", |task| task.agent.as_str());
    let mut inputs = Vec::with_capacity(8 * tasks.len());
    for task in tasks {
        inputs.extend_from_slice(&task.input.fingerprint().to_le_bytes());
    }
    Mark {
        version: 0,
        shape: Some(format!("{} of {agent}", tasks.len())),
        fingerprint: Some(payload::fingerprint(&inputs)),
    }
}

/// Ends what was called under this key before, when a person or the code lets the call be made anew: it belongs to no call then.
fn set_aside(tx: &mut Tx<'_>, queue: &Queue, lease: Lease, key: &str) -> Result<()> {
    let before = tx.query_opt(
        "SELECT 1 FROM task WHERE parent = ?1 AND call = ?2 LIMIT 1",
        &[&lease.task, &key],
        |_| Ok(()),
    )?;
    if before.is_none() {
        return Ok(());
    }
    cancel::siblings(tx, queue, lease, key, "the call is made anew")?;
    tx.execute(
        "UPDATE task SET call = NULL WHERE parent = ?1 AND call = ?2",
        &[&lease.task, &key],
    )?;
    Ok(())
}

#[expect(clippy::too_many_arguments, reason = "one per column of the row it writes")]
pub(super) fn pend(
    tx: &mut Tx<'_>,
    task: i64,
    key: &str,
    kind: Kind,
    now: Timestamp,
    note: Option<&str>,
    wake_at: Option<Timestamp>,
    signal: Option<&str>,
    remaining: Option<u64>,
) -> Result<()> {
    tx.execute(
        "INSERT INTO journal (task, key, kind, state, note, wake_at, signal, remaining, at)
         VALUES (?1, ?2, ?3, 0, ?4, ?5, ?6, ?7, ?8)
         ON CONFLICT (task, key) DO UPDATE SET kind = ?3, state = 0, value = NULL, note = ?4, wake_at = ?5, signal = ?6,
                                               remaining = ?7, at = ?8",
        &[&task, &key, &kind.code(), &note, &wake_at, &signal, &remaining, &now],
    )?;
    Ok(())
}

/// Settles a pending wait; the first to do so wins. The task is woken when it is parked, told when it is running. The caller has
/// locked the task.
pub(super) fn resolve(tx: &mut Tx<'_>, queue: &Queue, task: i64, key: &str, value: Option<&Payload>) -> Result<()> {
    let settled = tx.execute(
        "UPDATE journal SET state = 1, value = ?3, note = NULL WHERE task = ?1 AND key = ?2 AND state IN (0, 3)",
        &[&task, &key, &value],
    )?;
    if settled > 0 { wake(tx, queue, task) } else { Ok(()) }
}

fn wake(tx: &mut Tx<'_>, queue: &Queue, task: i64) -> Result<()> {
    let now = tx.now()?;
    let parked = tx.query_opt(
        "UPDATE task SET state = 1, resumed = 1, run_at = ?2 WHERE seq = ?1 AND state = 3
         RETURNING seq, id, root, agent, tenant, attempt, parent, correlation",
        &[&task, &now],
        super::task_ref,
    )?;
    match parked {
        Some(parked) => {
            emit::resumed(tx, queue, &parked)?;
            queue.wake_ready(tx);
            queue.wake_watchers(tx, parked.id);
        }
        None => {
            let wakeups = queue.wakeups.clone();
            tx.on_commit(move || wakeups.resolved(task));
            queue.tell_others(tx, RUNS);
        }
    }
    Ok(())
}

/// Settles every wait whose time has come.
pub(super) fn fire_timers(tx: &mut Tx<'_>, queue: &Queue, now: Timestamp) -> Result<()> {
    let sql = match tx.dialect() {
        // What another process is about to settle need not be waited for.
        Dialect::Postgres => {
            "SELECT task, key FROM journal WHERE state = 0 AND wake_at IS NOT NULL AND wake_at <= ?1 ORDER BY wake_at LIMIT ?2
             FOR NO KEY UPDATE SKIP LOCKED"
        }
        Dialect::Sqlite => "SELECT task, key FROM journal WHERE state = 0 AND wake_at IS NOT NULL AND wake_at <= ?1 ORDER BY wake_at LIMIT ?2",
    };
    let due = tx.query(sql, &[&now, &limits::DUE_BATCH], |row| {
        Ok((row.get::<i64>(0)?, row.get::<String>(1)?))
    })?;
    if due.is_empty() {
        return Ok(());
    }
    lock(tx, due.iter().map(|(task, _)| *task))?;
    for (task, key) in due {
        resolve(tx, queue, task, &key, None)?;
    }
    Ok(())
}

/// Sends a named value to a task: to the oldest wait for that name, or into the inbox until somebody waits for it. A question says
/// which values are an answer, and by whom.
pub(crate) fn signal(
    tx: &mut Tx<'_>,
    queue: &Queue,
    id: TaskId,
    name: &str,
    value: &Payload,
    by: Option<&str>,
) -> Result<()> {
    let task = live(tx, id)?;
    let waiting = tx.query_opt(
        "SELECT key, note FROM journal WHERE task = ?1 AND key = (
             SELECT key FROM journal WHERE task = ?1 AND state = 0 AND signal = ?2 ORDER BY at, length(key), key LIMIT 1)",
        &[&task, &name],
        |row| Ok((row.get::<String>(0)?, read::parse::<Question>(row.get(1)?)?)),
    )?;
    let kept = Answer::kept(value, by, tx.now()?)?;
    match waiting {
        Some((key, Some(question))) => {
            question
                .admits(value, by)
                .map_err(|error| error.with("task", id).with("signal", name))?;
            let task = tx.query_one(
                "SELECT seq, id, root, agent, tenant, attempt, parent, correlation FROM task WHERE seq = ?1",
                &[&task],
                super::task_ref,
            )?;
            resolve(tx, queue, task.seq, &key, Some(&kept))?;
            emit::answered(tx, queue, &task, name, by.map(str::to_owned))
        }
        Some((key, None)) => resolve(tx, queue, task, &key, Some(&kept)),
        None => {
            let unread = tx.query_one("SELECT count(*) FROM inbox WHERE task = ?1", &[&task], |row| {
                row.get::<u64>(0)
            })?;
            if unread >= limits::SIGNALS_KEPT as u64 {
                return Err(
                    Error::new(ErrorKind::LimitReached, "the task has too many unread signals")
                        .with("task", id)
                        .with("signal", name)
                        .with("limit", limits::SIGNALS_KEPT)
                        .with_hint("wait until the task has taken some; perhaps it waits for another name"),
                );
            }
            let now = tx.now()?;
            tx.execute(
                "INSERT INTO inbox (task, name, value, at) VALUES (?1, ?2, ?3, ?4)",
                &[&task, &name, &kept, &now],
            )?;
            Ok(())
        }
    }
}

/// Settles a step that is held for a person: with a value, or without one to let it run.
pub(crate) fn decide(tx: &mut Tx<'_>, queue: &Queue, id: TaskId, key: &str, value: Option<&Payload>) -> Result<()> {
    let task = live(tx, id)?;
    let kind = tx.query_opt(
        "SELECT kind FROM journal WHERE task = ?1 AND key = ?2 AND state = 3",
        &[&task, &key],
        |row| Kind::from_code(row.get(0)?),
    )?;
    let kind = kind.ok_or_else(|| {
        Error::new(ErrorKind::NotFound, "the task holds no such step for a decision")
            .with("task", id)
            .with("step", key)
            .with_hint("take the step's name from the task's status, under waiting_for")
    })?;
    match value {
        Some(value) if kind == Kind::Signal => {
            let kept = Answer::kept(value, None, tx.now()?)?;
            resolve(tx, queue, task, key, Some(&kept))
        }
        Some(value) => resolve(tx, queue, task, key, Some(value)),
        None => {
            tx.execute(
                "UPDATE journal SET state = 4, value = NULL, note = NULL, wake_at = NULL, signal = NULL
                 WHERE task = ?1 AND key = ?2 AND state = 3",
                &[&task, &key],
            )?;
            wake(tx, queue, task)
        }
    }
}

/// The row of a task that goes on, locked.
fn live(tx: &Tx<'_>, id: TaskId) -> Result<i64> {
    let seq = tx.query_opt("SELECT seq FROM task WHERE id = ?1", &[&id], |row| row.get::<i64>(0))?;
    let seq = seq.ok_or_else(|| Error::new(ErrorKind::NotFound, "no such task").with("task", id))?;
    lock(tx, [seq])?;
    let state = tx.query_one("SELECT state FROM task WHERE seq = ?1", &[&seq], |row| {
        TaskState::from_code(row.get(0)?)
    })?;
    if state.is_final() {
        return Err(
            Error::new(ErrorKind::Conflict, "the task has ended and takes no signals")
                .with("task", id)
                .with("state", format!("{state:?}").to_lowercase()),
        );
    }
    Ok(seq)
}
