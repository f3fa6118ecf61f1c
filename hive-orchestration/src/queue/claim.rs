//! A worker takes what is ready.

mod front;

use std::collections::HashMap;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use hive_core::clock::Timestamp;
use hive_core::db::{Dialect, Snapshot, Tx};
use hive_core::payload::Payload;
use hive_errors::Result;
use semver::Version;

use self::front::look;
use super::flow::uses::{self, Begun, Uses};
use super::pick::{Turns, pick};
use super::{Queue, TaskRef, emit, finish, pause, wait};
use crate::budget::ledger::{self, Chain};
use crate::lease::{Lease, listed};
use crate::limits;
use crate::wake::RunSigns;

/// One run, handed to a worker.
#[derive(Debug)]
pub(crate) struct Claimed {
    pub(crate) lease: Lease,
    pub(crate) signs: RunSigns,
    pub(crate) task: TaskRef,
    pub(crate) depth: u32,
    /// The accounts on which it draws.
    pub(crate) chain: Chain,
    pub(crate) input: Payload,
    /// How long it was ready.
    pub(crate) waited: Duration,
}

/// What a claimant can take.
#[derive(Clone, Debug, Default)]
pub(crate) struct Room {
    /// How many runs in all. Zero lets timers fire, and nothing begin.
    pub(crate) total: usize,
    /// The agents it knows, and how many runs of each.
    pub(crate) agents: Vec<(String, usize)>,
    /// Which version of them it has; where nothing is said, what is for certain versions is left to others.
    pub(crate) versions: Arc<HashMap<String, Version>>,
}

/// What one look at the queue brought.
#[derive(Debug, Default)]
pub(crate) struct Claims {
    pub(crate) tasks: Vec<Claimed>,
    /// How long until the next timer or delayed task falls due.
    pub(crate) due_in: Option<Duration>,
    /// Whether there may be more than was asked for.
    pub(crate) more: bool,
    /// Whose turn it is the next time.
    pub(crate) turns: Turns,
}

/// A task that stands at the front of its lane.
struct Candidate {
    task: TaskRef,
    depth: u32,
    since: Timestamp,
    resumed: bool,
    /// What counts it when it runs.
    uses: Rc<[usize]>,
}

/// Fires what has fallen due, then claims what is ready, as [`pick`] decides. Tasks of agents that are not named stay where they
/// are, for whoever knows them.
pub(crate) fn claim(tx: &mut Tx<'_>, queue: &Queue, room: &Room, turns: &Turns) -> Result<Claims> {
    let now = pause::hold_rules(tx)?;
    let mut due = next_due(tx)?;
    if due.is_some_and(|due| due <= now) {
        fall_due(tx, queue, now)?;
        due = next_due(tx)?;
    }
    let mut claims = Claims {
        turns: turns.clone(),
        due_in: due.map(|due| due.since(now)),
        ..Claims::default()
    };
    if room.total > 0 {
        let (pauses, limits) = pause::rules(tx)?;
        queue.hold_runs(limits.hold_runs());
        let mut open = Uses::new(&limits, now, room.total);
        let mut front = look(tx, room, &pauses, &mut open, &mut claims.turns)?;
        let chosen = pick(&mut front.lanes, &mut open.gates, room.total, &mut claims.turns, now);
        claims.more = !chosen.is_empty() && (chosen.len() == room.total || front.cut);
        claims.more |= front.goes_on(&chosen, &mut claims.turns);
        claims.tasks = take(tx, queue, &chosen, &front.candidates, now)?;
        // Somebody else was quicker.
        claims.more |= claims.tasks.len() < chosen.len();
        if !limits.is_empty() {
            let begun = claims.tasks.iter().filter_map(|claimed| {
                let candidate = front.candidates.get(&claimed.lease.task)?;
                Some(Begun {
                    resumed: candidate.resumed,
                    uses: &candidate.uses,
                })
            });
            open.settle(tx, begun)?;
            claims.due_in = claims.due_in.into_iter().chain(open.next()).min();
            if claims.turns.sweeps() {
                uses::sweep(tx, now)?;
            }
        }
    }
    Ok(claims)
}

/// What may begin by now, what has waited long enough, what has not ended in time.
fn fall_due(tx: &mut Tx<'_>, queue: &Queue, now: Timestamp) -> Result<()> {
    let sql = match tx.dialect() {
        Dialect::Postgres => {
            "UPDATE task SET state = 1 WHERE seq IN (
                 SELECT seq FROM task WHERE state = 0 AND run_at <= ?1 ORDER BY run_at LIMIT ?2 FOR NO KEY UPDATE SKIP LOCKED)"
        }
        Dialect::Sqlite => {
            "UPDATE task SET state = 1 WHERE seq IN (
                 SELECT seq FROM task WHERE state = 0 AND run_at <= ?1 ORDER BY run_at LIMIT ?2)"
        }
    };
    tx.execute(sql, &[&now, &limits::DUE_BATCH])?;
    wait::fire_timers(tx, queue, now)?;
    finish::expire(tx, queue, now)
}

/// Makes them this process's, those that still are nobody's.
fn take(
    tx: &mut Tx<'_>,
    queue: &Queue,
    chosen: &[i64],
    candidates: &HashMap<i64, Candidate>,
    now: Timestamp,
) -> Result<Vec<Claimed>> {
    if chosen.is_empty() {
        return Ok(Vec::new());
    }
    let epoch = queue.epoch();
    let mut taken: HashMap<i64, (u32, Chain, Payload)> = HashMap::with_capacity(chosen.len());
    match tx.dialect() {
        Dialect::Postgres => {
            let attempts: HashMap<i64, (u32, Chain)> = tx
                .query(
                    "UPDATE task SET state = 2, resumed = 0, attempt = attempt + 1, epoch = ?2, claimed_at = ?3,
                                 single = CASE WHEN single_start = 1 THEN NULL ELSE single END
                 WHERE seq IN (SELECT seq FROM task
                               WHERE seq = ANY (CAST(string_to_array(?1, ',') AS BIGINT[])) AND state + 0 = 1
                               ORDER BY seq FOR NO KEY UPDATE SKIP LOCKED)
                 RETURNING seq, attempt, accounts",
                    &[&listed(chosen.iter().copied()), &epoch, &now],
                    |row| Ok((row.get(0)?, (row.get(1)?, Chain::stored(row.get(2)?)))),
                )?
                .into_iter()
                .collect();
            tx.each(
                "SELECT task, input FROM task_body WHERE task = ANY (CAST(string_to_array(?1, ',') AS BIGINT[]))",
                &[&listed(attempts.keys().copied())],
                |row| {
                    let seq = row.get(0)?;
                    if let Some((attempt, chain)) = attempts.get(&seq) {
                        taken.insert(seq, (*attempt, chain.clone(), row.get(1)?));
                    }
                    Ok(true)
                },
            )?;
        }
        Dialect::Sqlite => {
            let all = format!("[{}]", listed(chosen.iter().copied()));
            tx.execute(
                "UPDATE task SET state = 2, resumed = 0, attempt = attempt + 1, epoch = ?2, claimed_at = ?3,
                                 single = CASE WHEN single_start = 1 THEN NULL ELSE single END
                 WHERE seq IN (SELECT value FROM json_each(?1)) AND state + 0 = 1",
                &[&all, &epoch, &now],
            )?;
            tx.each(
                "SELECT task_body.task, input, accounts FROM task_body JOIN task ON task.seq = task_body.task
                 WHERE task_body.task IN (SELECT value FROM json_each(?1))",
                &[&all],
                |row| {
                    let seq: i64 = row.get(0)?;
                    // There is one writer: nobody has had it since it was looked at.
                    let attempt = candidates.get(&seq).map_or(0, |candidate| candidate.task.attempt);
                    taken.insert(
                        seq,
                        (attempt.saturating_add(1), Chain::stored(row.get(2)?), row.get(1)?),
                    );
                    Ok(true)
                },
            )?;
        }
    }
    let (mut claimed, mut events) = (Vec::with_capacity(taken.len()), Vec::with_capacity(taken.len()));
    let mut beginning = Vec::new();
    for seq in chosen {
        let Some(((attempt, chain, input), candidate)) = taken.remove(seq).zip(candidates.get(seq)) else {
            continue;
        };
        let mut task = candidate.task.clone();
        task.attempt = attempt;
        if attempt == 1 && chain.nearest() == Some(task.seq) {
            beginning.push(task.seq);
        }
        events.push(emit::started(queue, &task)?);
        let lease = Lease {
            task: task.seq,
            attempt: task.attempt,
            epoch,
        };
        claimed.push(Claimed {
            lease,
            signs: RunSigns::default(),
            task,
            depth: candidate.depth,
            chain,
            input,
            waited: now.since(candidate.since),
        });
    }
    ledger::start(tx, &mut beginning, now)?;
    emit::all(tx, queue, events)?;
    let entering: Vec<_> = claimed
        .iter()
        .map(|claimed| (claimed.lease, claimed.task.id, claimed.signs.clone()))
        .collect();
    let wakeups = queue.wakeups.clone();
    tx.on_commit(move || {
        for (lease, id, signs) in entering {
            wakeups.enter(lease, signs);
            wakeups.changed(id);
        }
    });
    queue.tell_others(tx, super::TASKS);
    Ok(claimed)
}

/// When the next timer, delayed task or deadline falls due.
pub(crate) fn next_due(db: &Snapshot<'_>) -> Result<Option<Timestamp>> {
    db.query_one(
        "SELECT (SELECT min(run_at) FROM task WHERE state = 0),
                (SELECT min(deadline) FROM task WHERE state < 4 AND deadline IS NOT NULL),
                (SELECT min(wake_at) FROM journal WHERE state = 0 AND wake_at IS NOT NULL)",
        &[],
        |row| {
            let dues: [Option<Timestamp>; 3] = [row.get(0)?, row.get(1)?, row.get(2)?];
            Ok(dues.into_iter().flatten().min())
        },
    )
}
