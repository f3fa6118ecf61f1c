//! Limits as the queue keeps them: what is set, and what is used of it.
//!
//! A use is one thing that a limit counts, such as an agent or one key. Whoever claims opens the uses that matter to it, which on
//! PostgreSQL locks their rows, so that processes that share a limit claim one after another. Then it counts what runs, by the tasks
//! themselves: nothing has to be written when a run ends, in whatever way, and nothing can be forgotten. Between two counts each
//! claim adds what it takes; while that is far from the limit nobody counts.

pub(crate) mod schema;
#[cfg(test)]
mod tests;
pub(super) mod uses;

use std::collections::HashMap;
use std::time::Duration;

use hive_core::db::{Row, Snapshot, Tx};
use hive_errors::{Error, ErrorKind, Result};

use super::{Queue, pause};
use crate::flow::{Limit, Limited, Rate, Subject, check};
use crate::limits;

/// The limits that are set at one moment.
#[derive(Clone, Debug, Default)]
pub(crate) struct Limits {
    set: HashMap<(i64, String), Limit>,
}

/// Something that is counted. Both limits on each tenant and on one count the tenant.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct Counted {
    pub(super) kind: i64,
    /// The agent or the tenant.
    pub(super) name: String,
    pub(super) key: String,
}

/// Kinds of what is counted, and of what else a limit is set on.
const AGENT: i64 = 0;
const TENANT: i64 = 1;
const ALL: i64 = 2;
const EACH_TENANT: i64 = 3;
const KEY: i64 = 4;
const EACH_KEY: i64 = 5;

impl Counted {
    fn new(kind: i64, name: &str, key: &str) -> Self {
        Self {
            kind,
            name: name.to_owned(),
            key: key.to_owned(),
        }
    }

    /// What counts the tasks of an agent, whosever they are.
    pub(super) fn of_agent(agent: &str) -> [Self; 2] {
        [Self::new(ALL, "", ""), Self::new(AGENT, agent, "")]
    }

    /// What counts the tasks of one lane besides.
    pub(super) fn of_lane(agent: &str, tenant: &str, key: &str) -> impl Iterator<Item = Self> {
        let of_key = (!key.is_empty()).then(|| Self::new(KEY, agent, key));
        [Self::new(TENANT, tenant, "")].into_iter().chain(of_key)
    }
}

impl Limits {
    /// Takes in a row of kind, name, concurrency, the three columns of a rate, and weight.
    pub(super) fn add(&mut self, row: &Row<'_>) -> Result<()> {
        let (kind, name, limit) = read(row)?;
        self.set.insert((kind, name), limit);
        Ok(())
    }

    pub(super) fn is_empty(&self) -> bool {
        self.set.is_empty()
    }

    /// Whether something may have to wait until a run ends.
    pub(super) fn hold_runs(&self) -> bool {
        self.set.values().any(|limit| limit.concurrency.is_some())
    }

    /// Whether something may have to wait for its time.
    pub(super) fn hold_beginnings(&self) -> bool {
        self.set.values().any(|limit| limit.rate.is_some())
    }

    /// Whether there are any on tenants or keys.
    pub(super) fn of_lanes(&self) -> bool {
        self.set.keys().any(|(kind, _)| ![AGENT, ALL].contains(kind))
    }

    /// The narrowest that counts this, with its subject as columns hold it.
    fn narrowest(&self, counted: &Counted) -> Option<(&(i64, String), &Limit)> {
        // Mostly none is set: the keys are made only where there is something to find.
        if self.set.is_empty() {
            return None;
        }
        let name = || counted.name.clone();
        let (narrow, wide) = match counted.kind {
            TENANT => ((TENANT, name()), Some((EACH_TENANT, String::new()))),
            KEY => (
                (KEY, format!("{}/{}", counted.name, counted.key)),
                Some((EACH_KEY, name())),
            ),
            kind => ((kind, name()), None),
        };
        let wide = || self.set.get_key_value(&wide?);
        self.set.get_key_value(&narrow).or_else(wide)
    }

    pub(super) fn on(&self, counted: &Counted) -> Option<&Limit> {
        self.narrowest(counted).map(|(_, limit)| limit)
    }

    /// The shares of a lane's tenant and key.
    pub(super) fn weights(&self, agent: &str, tenant: &str, key: &str) -> (u32, u32) {
        let mut weights = (super::pick::WEIGHT, super::pick::WEIGHT);
        if self.is_empty() {
            return weights;
        }
        for counted in Counted::of_lane(agent, tenant, key) {
            let weight = self.on(&counted).and_then(|limit| limit.weight);
            let own = if counted.kind == TENANT {
                &mut weights.0
            } else {
                &mut weights.1
            };
            *own = weight.unwrap_or(*own);
        }
        weights
    }
}

fn read(row: &Row<'_>) -> Result<(i64, String, Limit)> {
    let rate = match (row.get::<Option<u32>>(3)?, row.get::<Option<i64>>(4)?) {
        (Some(count), Some(period)) => {
            let period = Duration::from_micros(period.unsigned_abs());
            Some(Rate::new(count, period).burst(row.get::<Option<u32>>(5)?.unwrap_or(1)))
        }
        _ => None,
    };
    let limit = Limit {
        concurrency: row.get(2)?,
        rate,
        weight: row.get(6)?,
    };
    Ok((row.get(0)?, row.get(1)?, limit))
}

/// Sets a limit, in place of the one that the subject had.
pub(crate) fn limit(tx: &mut Tx<'_>, queue: &Queue, subject: &Subject, limit: &Limit) -> Result<()> {
    check(subject, limit)?;
    pause::change_rules(tx)?;
    let (kind, name) = subject.columns();
    let others = tx.query_one(
        "SELECT count(*) FROM flow_limit WHERE NOT (kind = ?1 AND name = ?2)",
        &[&kind, &name],
        |row| row.get::<u64>(0),
    )?;
    if others >= limits::FLOW_LIMITS as u64 {
        return Err(Error::new(ErrorKind::LimitReached, "too many limits are set")
            .with("limit", limits::FLOW_LIMITS)
            .with_hint("limit each key or each tenant, and by name only those that differ"));
    }
    let period = limit
        .rate
        .map(|rate| i64::try_from(rate.period.as_micros()).unwrap_or(i64::MAX));
    tx.execute(
        "INSERT INTO flow_limit (kind, name, concurrency, rate_count, rate_period, rate_burst, weight)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)
         ON CONFLICT (kind, name) DO UPDATE SET concurrency = excluded.concurrency, rate_count = excluded.rate_count,
             rate_period = excluded.rate_period, rate_burst = excluded.rate_burst, weight = excluded.weight",
        &[
            &kind,
            &name,
            &limit.concurrency,
            &limit.rate.map(|rate| rate.count),
            &period,
            &limit.rate.map(|rate| rate.burst),
            &limit.weight,
        ],
    )?;
    uses::forget_counts(tx)?;
    queue.wake_ready(tx);
    Ok(())
}

/// Takes a limit away; `false` when there was none.
pub(crate) fn unlimit(tx: &mut Tx<'_>, queue: &Queue, subject: &Subject) -> Result<bool> {
    subject.check()?;
    pause::change_rules(tx)?;
    let (kind, name) = subject.columns();
    let gone = tx.execute("DELETE FROM flow_limit WHERE kind = ?1 AND name = ?2", &[&kind, &name])?;
    uses::forget_counts(tx)?;
    queue.wake_ready(tx);
    Ok(gone > 0)
}

/// The limits that are set.
pub(crate) fn limited(db: &Snapshot<'_>) -> Result<Vec<Limited>> {
    let set = db.query(
        "SELECT kind, name, concurrency, rate_count, rate_period, rate_burst, weight FROM flow_limit ORDER BY kind, name",
        &[],
        read,
    )?;
    let mut limits = Limits::default();
    for (kind, name, limit) in &set {
        limits.set.insert((*kind, name.clone()), *limit);
    }
    // Each use counts for the limit that applies to it.
    let mut running: HashMap<(i64, String), u64> = HashMap::new();
    for (counted, count) in uses::running(db)? {
        if let Some((subject, _)) = limits.narrowest(&counted) {
            *running.entry(subject.clone()).or_default() += count as u64;
        }
    }
    set.into_iter()
        .map(|(kind, name, limit)| {
            let running = running.get(&(kind, name.clone())).copied().unwrap_or_default();
            Ok(Limited {
                subject: Subject::from_columns(kind, name)?,
                limit,
                running,
            })
        })
        .collect()
}
