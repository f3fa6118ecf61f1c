//! A worker takes what is ready.

use std::collections::HashMap;
use std::time::Duration;

use hive_core::clock::Timestamp;
use hive_core::db::{Dialect, Row, Snapshot, Tx};
use hive_core::payload::Payload;
use hive_errors::Result;

use super::pick::{Head, Lane, Turns, WEIGHT, pick};
use super::{Queue, TaskRef, emit, finish, pause, wait};
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
    /// The shares of tenants, where one has not one.
    pub(crate) weights: HashMap<String, u32>,
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
}

/// Fires what has fallen due, then claims what is ready, as [`pick`] decides. Tasks of agents that are not named stay where they
/// are, for whoever knows them.
pub(crate) fn claim(tx: &mut Tx<'_>, queue: &Queue, room: &Room, turns: &Turns) -> Result<Claims> {
    let now = tx.now()?;
    let mut due = next_due(tx)?;
    if due.is_some_and(|due| due <= now) {
        fall_due(tx, queue, now)?;
        due = next_due(tx)?;
    }
    let mut claims = Claims {
        turns: turns.clone(),
        ..Claims::default()
    };
    if room.total > 0 {
        let pauses = pause::pauses(tx)?;
        let agents: Vec<&(String, usize)> = room
            .agents
            .iter()
            .filter(|(agent, free)| *free > 0 && !pauses.all && !pauses.agents.contains(agent))
            .collect();
        let mut front = look(tx, &agents, room.total)?;
        front.lanes.retain(|lane| !pauses.tenants.contains(&lane.tenant));
        let free: Vec<usize> = agents.iter().map(|(_, free)| *free).collect();
        let weight = |tenant: &str| room.weights.get(tenant).copied().unwrap_or(WEIGHT);
        let chosen = pick(&mut front.lanes, &free, room.total, &mut claims.turns, weight, now);
        claims.more = !chosen.is_empty() && (chosen.len() == room.total || front.cut);
        claims.tasks = take(tx, queue, &chosen, &mut front.candidates, now)?;
        // Somebody else was quicker.
        claims.more |= claims.tasks.len() < chosen.len();
    }
    claims.due_in = due.map(|due| due.since(now));
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

/// What stands at the fronts of the lanes.
#[derive(Default)]
struct Front {
    lanes: Vec<Lane>,
    candidates: HashMap<i64, Candidate>,
    /// Whether some lanes are longer than what was looked at.
    cut: bool,
}

fn look(tx: &Tx<'_>, agents: &[&(String, usize)], total: usize) -> Result<Front> {
    let mut front = Front::default();
    if agents.is_empty() {
        return Ok(front);
    }
    match tx.dialect() {
        Dialect::Postgres => look_at_once(tx, agents, total, &mut front)?,
        Dialect::Sqlite => {
            for (place, (agent, free)) in agents.iter().enumerate() {
                let tenants = tenants(tx, agent)?;
                front.cut |= tenants.len() == limits::CLAIM_TENANTS;
                let most = total.min(*free);
                for tenant in tenants {
                    for priority in PRIORITIES {
                        let before = front.candidates.len();
                        tx.each(LANE, &[agent, &tenant, &priority, &(most as u64)], |row| {
                            front.add(place, priority, row).map(|()| true)
                        })?;
                        front.cut |= front.candidates.len() - before == most;
                    }
                }
            }
        }
    }
    Ok(front)
}

/// Of [`Priority`](crate::task::Priority).
const PRIORITIES: [i64; 4] = [3, 2, 1, 0];

/// Whose tasks of an agent are ready, a look into the index for each.
fn tenants(db: &Snapshot<'_>, agent: &str) -> Result<Vec<String>> {
    let mut tenants = Vec::new();
    let mut last = String::new();
    while tenants.len() < limits::CLAIM_TENANTS {
        let next = db.query_one(
            "SELECT min(tenant) FROM task WHERE state = 1 AND agent = ?1 AND tenant > ?2",
            &[&agent, &last],
            |row| row.get::<Option<String>>(0),
        )?;
        let Some(next) = next else { break };
        last.clone_from(&next);
        tenants.push(next);
    }
    Ok(tenants)
}

const LANE: &str = "SELECT seq, id, root, agent, tenant, attempt, parent, correlation, depth, run_at FROM task
     WHERE state = 1 AND agent = ?1 AND tenant = ?2 AND priority = ?3 ORDER BY seq LIMIT ?4";

/// The same with one statement, because each is a journey.
fn look_at_once(tx: &Tx<'_>, agents: &[&(String, usize)], total: usize, front: &mut Front) -> Result<()> {
    let places: HashMap<&str, usize> = agents
        .iter()
        .enumerate()
        .map(|(place, (agent, _))| (agent.as_str(), place))
        .collect();
    let names: Vec<&str> = agents.iter().map(|(agent, _)| agent.as_str()).collect();
    let mut counts: HashMap<(usize, String, i64), usize> = HashMap::new();
    tx.each(
        "WITH RECURSIVE lane (agent, tenant, nth) AS (
             SELECT given.agent, (SELECT min(tenant) FROM task WHERE state = 1 AND task.agent = given.agent), 1
             FROM unnest(string_to_array(?1, ',')) AS given (agent)
             UNION ALL
             SELECT lane.agent, (SELECT min(task.tenant) FROM task
                                 WHERE state = 1 AND task.agent = lane.agent AND task.tenant > lane.tenant), nth + 1
             FROM lane WHERE lane.tenant IS NOT NULL AND nth < ?2)
         SELECT head.seq, head.id, head.root, head.agent, head.tenant, head.attempt, head.parent, head.correlation, head.depth,
                head.run_at, level.priority
         FROM lane CROSS JOIN (VALUES (0), (1), (2), (3)) AS level (priority)
         CROSS JOIN LATERAL (
             SELECT * FROM task WHERE state = 1 AND agent = lane.agent AND tenant = lane.tenant AND priority = level.priority
             ORDER BY seq LIMIT ?3) AS head
         WHERE lane.tenant IS NOT NULL ORDER BY head.agent, head.tenant, level.priority, head.seq",
        &[
            &names.join(","),
            &(limits::CLAIM_TENANTS as u64),
            &(total as u64),
        ],
        |row| {
            let (agent, tenant, priority) = (row.get::<String>(3)?, row.get::<String>(4)?, row.get::<i64>(10)?);
            let Some(place) = places.get(agent.as_str()) else {
                return Ok(true);
            };
            let count = counts.entry((*place, tenant, priority)).or_default();
            *count += 1;
            front.cut |= *count == total;
            front.add(*place, priority, row).map(|()| true)
        },
    )
}

impl Front {
    /// Takes in a row; those of one lane come one after another.
    fn add(&mut self, agent: usize, priority: i64, row: &Row<'_>) -> Result<()> {
        let task = super::task_ref(row)?;
        let since = row.get(9)?;
        let head = Head { seq: task.seq, since };
        match self.lanes.last_mut() {
            Some(lane) if lane.agent == agent && lane.tenant == task.tenant && lane.priority == priority => {
                lane.heads.push_back(head);
            }
            _ => self.lanes.push(Lane {
                agent,
                tenant: task.tenant.clone(),
                priority,
                heads: [head].into(),
            }),
        }
        let depth = row.get(8)?;
        self.candidates.insert(task.seq, Candidate { task, depth, since });
        Ok(())
    }
}

/// Makes them this process's, those that still are nobody's.
fn take(
    tx: &mut Tx<'_>,
    queue: &Queue,
    chosen: &[i64],
    candidates: &mut HashMap<i64, Candidate>,
    now: Timestamp,
) -> Result<Vec<Claimed>> {
    if chosen.is_empty() {
        return Ok(Vec::new());
    }
    let epoch = queue.epoch();
    let mut taken: HashMap<i64, (u32, Payload)> = HashMap::with_capacity(chosen.len());
    match tx.dialect() {
        Dialect::Postgres => {
            let attempts: HashMap<i64, u32> = tx
                .query(
                    "UPDATE task SET state = 2, attempt = attempt + 1, epoch = ?2, claimed_at = ?3,
                                 single = CASE WHEN single_start = 1 THEN NULL ELSE single END
                 WHERE seq IN (SELECT seq FROM task
                               WHERE seq = ANY (CAST(string_to_array(?1, ',') AS BIGINT[])) AND state = 1
                               ORDER BY seq FOR NO KEY UPDATE SKIP LOCKED)
                 RETURNING seq, attempt",
                    &[&listed(chosen.iter().copied()), &epoch, &now],
                    |row| Ok((row.get(0)?, row.get(1)?)),
                )?
                .into_iter()
                .collect();
            tx.each(
                "SELECT task, input FROM task_body WHERE task = ANY (CAST(string_to_array(?1, ',') AS BIGINT[]))",
                &[&listed(attempts.keys().copied())],
                |row| {
                    let seq = row.get(0)?;
                    if let Some(attempt) = attempts.get(&seq) {
                        taken.insert(seq, (*attempt, row.get(1)?));
                    }
                    Ok(true)
                },
            )?;
        }
        Dialect::Sqlite => {
            for seq in chosen {
                tx.execute(
                    "UPDATE task SET state = 2, attempt = attempt + 1, epoch = ?2, claimed_at = ?3,
                                     single = CASE WHEN single_start = 1 THEN NULL ELSE single END
                     WHERE seq = ?1 AND state = 1",
                    &[seq, &epoch, &now],
                )?;
                let input = tx.query_one("SELECT input FROM task_body WHERE task = ?1", &[seq], |row| row.get(0))?;
                // There is one writer: nobody has had it since it was looked at.
                let attempt = candidates
                    .get(seq)
                    .map_or(0, |candidate| candidate.task.attempt)
                    .saturating_add(1);
                taken.insert(*seq, (attempt, input));
            }
        }
    }
    let (mut claimed, mut events) = (Vec::with_capacity(taken.len()), Vec::with_capacity(taken.len()));
    for seq in chosen {
        let Some(((attempt, input), Candidate { mut task, depth, since })) =
            taken.remove(seq).zip(candidates.remove(seq))
        else {
            continue;
        };
        task.attempt = attempt;
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
            depth,
            input,
            waited: now.since(since),
        });
    }
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
