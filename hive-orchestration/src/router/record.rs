//! What is written down of a decision: the event that explains it, and what was asked for, so that it can be made again.

use hive_bus::catalog::{AgentRouted, RouteCandidate};
use hive_bus::{Bus, NewEvent};
use hive_core::db::{Snapshot, Tx};
use hive_core::id::TaskId;
use hive_errors::{Error, ErrorKind, Result};

use super::{Request, Route, Target};
use crate::limits;

/// A task that was routed.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Routed<'a> {
    /// Its row.
    pub(crate) seq: i64,
    pub(crate) id: TaskId,
    pub(crate) tenant: &'a str,
    /// What its events are found by; its own id unless its submitter gave something else.
    pub(crate) correlation: Option<&'a str>,
    pub(crate) idempotency: Option<&'a str>,
}

/// The row of the task that was submitted to this target under this idempotency key. Asked before a new task is made: which
/// agent was chosen the first time does not matter then.
///
/// # Errors
/// What [`Snapshot::query`] returns.
pub(crate) fn find(db: &Snapshot<'_>, tenant: &str, target: &Target, key: &str) -> Result<Option<i64>> {
    db.query_opt(
        "SELECT task FROM task_route WHERE tenant = ?1 AND target = ?2 AND idempotency = ?3 AND idempotency IS NOT NULL",
        &[&tenant, &target.to_string(), &key],
        |row| row.get(0),
    )
}

/// Writes down what was asked for and tells what was decided, in the transaction that submits the task. A task that was
/// recorded before keeps the decision that was made then.
///
/// # Errors
/// `conflict` when another task has the idempotency key; what [`Tx::execute`] returns.
pub(crate) fn record(tx: &mut Tx<'_>, bus: &Bus, task: Routed<'_>, request: &Request, route: &Route) -> Result<()> {
    let text = serde_json::to_string(request)
        .map_err(|e| Error::new(ErrorKind::Internal, "a request could not be written down").with_source(e))?;
    let is_new = tx.execute(
        "INSERT INTO task_route (task, tenant, target, idempotency, request) VALUES (?1, ?2, ?3, ?4, ?5)
         ON CONFLICT (task) DO NOTHING",
        &[
            &task.seq,
            &task.tenant,
            &request.target.to_string(),
            &task.idempotency,
            &text,
        ],
    )?;
    if is_new == 0 {
        return Ok(());
    }
    explain(tx, bus, task, route)
}

/// Tells what was decided.
pub(super) fn explain(tx: &mut Tx<'_>, bus: &Bus, task: Routed<'_>, route: &Route) -> Result<()> {
    let candidate = |reason: &super::Reason| RouteCandidate {
        agent: reason.agent.clone(),
        version: reason.version.to_string(),
        score: reason.verdict.score(),
        why: reason.verdict.to_string(),
    };
    let told = route.reasons.iter().take(limits::REASONS_TOLD);
    let data = AgentRouted {
        agent: route.agent.clone(),
        version: route.version.to_string(),
        task: task.id,
        target: route.target.to_string(),
        strategy: route.strategy.clone(),
        candidates: told.map(candidate).collect(),
        omitted: u32::try_from(route.reasons.len().saturating_sub(limits::REASONS_TOLD)).unwrap_or(u32::MAX),
    };
    let event = NewEvent::of(&data)?.tenant(task.tenant.to_owned()).causation(task.id);
    let event = match task.correlation {
        Some(correlation) => event.correlation(correlation),
        None => event.correlation(task.id),
    };
    bus.publish_in(tx, event).map(drop)
}
