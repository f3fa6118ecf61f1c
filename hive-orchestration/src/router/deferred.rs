//! Tasks that were routed to agents that have gone since, and of which nothing has run.

use std::collections::BTreeSet;
use std::time::Duration;

use hive_core::db::{Db, Snapshot, Tx};
use hive_core::id::TaskId;
use hive_core::payload::Payload;
use hive_errors::{Error, ErrorKind, Result};

use super::record::explain;
use super::{Deferred, Directory, Request, Reroute, Route, Routed, Router, reroute};
use crate::limits;
use crate::queue::{self, Queue};
use crate::registry::Registry;

/// What it takes to give tasks to other agents.
#[derive(Clone, Copy)]
pub(crate) struct Desk<'a> {
    pub(crate) db: &'a Db,
    pub(crate) queue: &'a Queue,
    pub(crate) registry: &'a Registry,
    pub(crate) directory: &'a Directory,
    pub(crate) router: &'a dyn Router,
}

/// Looks again and again whether tasks wait for agents that have gone, and gives them to others when it is time.
///
/// # Cancel safety
/// Nothing is lost when the future is dropped. Several processes may do it at once.
pub(crate) async fn mind(desk: Desk<'_>) {
    loop {
        desk.queue.clock.sleep(desk.queue.pace.reroute).await;
        match desk.pass().await {
            Ok(0) => {}
            Ok(moved) => tracing::info!(moved, "tasks whose agents have gone were given to others"),
            Err(error) if error.kind() == ErrorKind::ShuttingDown => return,
            Err(error) => tracing::warn!(%error, "tasks whose agents have gone could not be given to others"),
        }
    }
}

/// A task that waits.
#[derive(Clone, Debug)]
struct Waiting {
    seq: i64,
    id: TaskId,
    tenant: String,
    correlation: Option<String>,
    request: Request,
    input: Payload,
    /// For how long both the task and the agent's absence have lasted.
    waited: Duration,
}

/// A task and the agent that gets it.
type Move = (Waiting, Route);

impl Desk<'_> {
    async fn pass(self) -> Result<usize> {
        if self.directory.is_stale() {
            self.directory.hang(self.db.read(Directory::look).await?);
        }
        let candidates = self.directory.candidates();
        let here = candidates.iter().filter(|one| one.status.takes_tasks());
        let here: BTreeSet<&str> = here.map(|one| one.agent.as_str()).collect();
        let missed = candidates.iter().filter(|one| one.queued > 0);
        let missed: BTreeSet<&str> = missed.map(|one| one.agent.as_str()).collect();
        let mut moved = 0;
        for agent in missed.difference(&here) {
            let asked = (*agent).to_owned();
            let waiting = self.db.read(move |db| waiting(db, &asked)).await?;
            let moves = self.decide(agent, waiting)?;
            if !moves.is_empty() {
                let (queue, agent) = (self.queue.clone(), (*agent).to_owned());
                moved += queue::write(self.db, move |tx| give(tx, &queue, &agent, &moves)).await?;
            }
        }
        Ok(moved)
    }

    fn decide(self, agent: &str, waiting: Vec<Waiting>) -> Result<Vec<Move>> {
        let mut moves = Vec::new();
        for task in waiting {
            let deferred = Deferred {
                agent,
                started: false,
                waited: task.waited,
            };
            let chance = self.directory.chance(&task.request.target, self.queue.rng.next_u64());
            // What was given out in this pass counts for the next task.
            let candidates = self.directory.candidates();
            let patience = limits::REROUTE_PATIENCE;
            match reroute(self.router, &task.request, deferred, patience, chance, &candidates)? {
                Reroute::Stay { .. } => {}
                // It was checked against another agent's type.
                Reroute::Move(route) if self.refuses(&route, &task.input) => {}
                Reroute::Move(route) => {
                    self.directory.given(&route.agent);
                    moves.push((task, route));
                }
            }
        }
        Ok(moves)
    }

    /// Whether the input does not fit the agent. Only a process that has the agent can tell; others leave the task to it.
    fn refuses(self, route: &Route, input: &Payload) -> bool {
        let agent = self.registry.get(&route.agent);
        agent.is_none_or(|agent| agent.check(input).is_err())
    }
}

/// Routed tasks of the agent that are ready and have never run, the oldest of the most urgent first.
fn waiting(db: &Snapshot<'_>, agent: &str) -> Result<Vec<Waiting>> {
    let now = db.now()?;
    db.query(
        "SELECT t.seq, t.id, t.tenant, t.correlation, r.request, b.input, t.run_at,
                (SELECT max(heartbeat_at) FROM agent WHERE agent.name = ?1)
         FROM task t JOIN task_route r ON r.task = t.seq JOIN task_body b ON b.task = t.seq
         WHERE t.state = 1 AND t.agent = ?1 AND t.attempt = 0 ORDER BY t.tenant, t.flow_key, t.priority DESC, t.seq LIMIT ?2",
        &[&agent, &limits::REROUTE_BATCH],
        |row| {
            let request = serde_json::from_str(row.text(4)?).map_err(|e| {
                Error::new(ErrorKind::Corrupt, "what a task was routed by cannot be read").with_source(e)
            })?;
            Ok(Waiting {
                seq: row.get(0)?,
                id: row.get(1)?,
                tenant: row.get(2)?,
                correlation: row.get(3)?,
                request,
                input: row.get(5)?,
                waited: now.since(row.get(6)?).min(now.since(row.get(7)?)),
            })
        },
    )
}

/// Gives the tasks away that are still `agent`'s and have not been started. Returns how many.
fn give(tx: &mut Tx<'_>, queue: &Queue, agent: &str, moves: &[Move]) -> Result<usize> {
    let mut given = 0;
    for (task, route) in moves {
        let is_given = tx.execute(
            "UPDATE task SET agent = ?3, versions = ?4 WHERE seq = ?1 AND agent = ?2 AND state = 1 AND attempt = 0",
            &[&task.seq, &agent, &route.agent, &route.target.versions()],
        )?;
        if is_given == 0 {
            continue;
        }
        given += 1;
        let routed = Routed {
            seq: task.seq,
            id: task.id,
            tenant: &task.tenant,
            correlation: task.correlation.as_deref(),
            idempotency: None,
        };
        explain(tx, &queue.bus, routed, route)?;
    }
    if given > 0 {
        queue.wake_ready(tx);
    }
    Ok(given)
}

/// A pass over one agent's tasks without the decision: all go to `to`. Something may happen between the look and the giving. Returns
/// how many were looked at and how many given.
#[cfg(test)]
pub(crate) fn give_all(
    tx: &mut Tx<'_>,
    queue: &Queue,
    from: &str,
    to: &Route,
    between: impl FnOnce(&mut Tx<'_>) -> Result<()>,
) -> Result<(usize, usize)> {
    let moves: Vec<Move> = waiting(tx, from)?.into_iter().map(|task| (task, to.clone())).collect();
    between(tx)?;
    Ok((moves.len(), give(tx, queue, from, &moves)?))
}
