//! How much waits to be started, and for how long. Counted up to a limit: beyond that, many is many.

use std::time::Duration;

use hive_core::clock::Timestamp;
use hive_core::db::Snapshot;
use hive_errors::Result;

use super::pause;
use crate::limits;

/// What waits of one agent.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Depth {
    /// Of each tenant no more than [`QUEUE_SAMPLED`](limits::QUEUE_SAMPLED), and of no more than
    /// [`CLAIM_LANES`](limits::CLAIM_LANES).
    pub(crate) tasks: u64,
    /// How long the first of them has waited.
    pub(crate) oldest: Duration,
}

/// What waits of each of these agents, in their order. What is paused does not wait: nobody is to start it.
pub(crate) fn depths(db: &Snapshot<'_>, agents: &[String]) -> Result<Vec<Depth>> {
    let (now, (pauses, _)) = (db.now()?, pause::rules(db)?);
    agents
        .iter()
        .map(|agent| {
            if pauses.all || pauses.agents.contains(agent) {
                Ok(Depth::default())
            } else {
                depth(db, agent, now)
            }
        })
        .collect()
}

/// Goes from tenant to tenant through the index, as a claim does.
fn depth(db: &Snapshot<'_>, agent: &str, now: Timestamp) -> Result<Depth> {
    let mut depth = Depth::default();
    db.each(
        "WITH RECURSIVE lane (tenant, nth) AS (
             SELECT (SELECT min(tenant) FROM task WHERE state = 1 AND agent = ?1), 1
             UNION ALL
             SELECT (SELECT min(task.tenant) FROM task WHERE state = 1 AND agent = ?1 AND task.tenant > lane.tenant), nth + 1
             FROM lane WHERE lane.tenant IS NOT NULL AND nth < ?2)
         SELECT (SELECT count(*) FROM (
                     SELECT 1 AS one FROM task WHERE state = 1 AND agent = ?1 AND task.tenant = lane.tenant LIMIT ?3) AS found),
                (SELECT min(found.run_at) FROM (
                     SELECT task.run_at AS run_at FROM task
                     WHERE state = 1 AND agent = ?1 AND task.tenant = lane.tenant LIMIT ?3) AS found)
         FROM lane
         WHERE lane.tenant IS NOT NULL
           AND NOT EXISTS (SELECT 1 FROM pause WHERE pause.kind = 1 AND pause.name = lane.tenant)",
        &[
            &agent,
            &(limits::CLAIM_LANES as u64),
            &limits::QUEUE_SAMPLED,
        ],
        |row| {
            depth.tasks += row.get::<u64>(0)?;
            if let Some(since) = row.get::<Option<Timestamp>>(1)? {
                depth.oldest = depth.oldest.max(now.since(since));
            }
            Ok(true)
        },
    )?;
    Ok(depth)
}
