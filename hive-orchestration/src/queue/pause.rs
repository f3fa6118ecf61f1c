//! What nobody is to start for now. Runs under way go on.

use std::collections::BTreeSet;

use hive_core::db::{Snapshot, Tx};
use hive_errors::Result;

use super::Queue;
use super::flow::Limits;
use crate::task::Scope;

/// What is paused at one moment.
#[derive(Clone, Debug, Default)]
pub(crate) struct Pauses {
    pub(crate) agents: BTreeSet<String>,
    pub(crate) tenants: BTreeSet<String>,
    pub(crate) all: bool,
}

/// What is paused and what is limited, with one look: each claim asks.
pub(super) fn rules(db: &Snapshot<'_>) -> Result<(Pauses, Limits)> {
    let (mut pauses, mut limits) = (Pauses::default(), Limits::default());
    db.each(
        "SELECT kind, name, NULL, NULL, NULL, NULL, NULL, 0 FROM pause UNION ALL
         SELECT kind, name, concurrency, rate_count, rate_period, rate_burst, weight, 1 FROM flow_limit",
        &[],
        |row| {
            if row.get::<i64>(7)? == 1 {
                return limits.add(row).map(|()| true);
            }
            match row.get::<i64>(0)? {
                0 => drop(pauses.agents.insert(row.get(1)?)),
                1 => drop(pauses.tenants.insert(row.get(1)?)),
                _ => pauses.all = true,
            }
            Ok(true)
        },
    )?;
    Ok((pauses, limits))
}

/// From this commit on nothing of the scope is started; `false` when that was so already.
pub(crate) fn pause(tx: &mut Tx<'_>, scope: &Scope) -> Result<bool> {
    let (kind, name) = scope.columns();
    let now = tx.now()?;
    let paused = tx.execute(
        "INSERT INTO pause (kind, name, at) VALUES (?1, ?2, ?3) ON CONFLICT (kind, name) DO NOTHING",
        &[&kind, &name, &now],
    )?;
    Ok(paused > 0)
}

/// `false` when it was not paused.
pub(crate) fn resume(tx: &mut Tx<'_>, queue: &Queue, scope: &Scope) -> Result<bool> {
    let (kind, name) = scope.columns();
    let resumed = tx.execute("DELETE FROM pause WHERE kind = ?1 AND name = ?2", &[&kind, &name])?;
    queue.wake_ready(tx);
    Ok(resumed > 0)
}
