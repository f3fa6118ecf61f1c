//! How agents have done of late, in all processes together.

use std::time::Duration;

use hive_core::db::Snapshot;
use hive_errors::{Error, ErrorKind, Result};

use super::histogram::Histogram;
use super::meter::Tally;
use crate::limits;

/// How an agent has done within the last [`STATISTICS_WINDOW`](crate::limits::STATISTICS_WINDOW), in all processes together. It is
/// as new as their last heartbeats.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Statistics {
    /// Attempts that ended with an output.
    pub completed: u64,
    /// Attempts that ended with a failure, for good or until the next attempt.
    pub failed: u64,
    /// Tasks that went to the dead letters.
    pub dead: u64,
    /// How long attempts ran. `None` when none has ended.
    pub run: Option<Times>,
    /// How long tasks were ready before an attempt began. `None` when none has begun.
    pub wait: Option<Times>,
}

/// How long something took, over many.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Times {
    /// The average, exact.
    pub mean: Duration,
    /// What 95 of 100 stayed below, an eighth off at most.
    pub p95: Duration,
}

impl Times {
    /// Times as they are, for tests of a [`Router`](crate::router::Router).
    pub fn new(mean: Duration, p95: Duration) -> Self {
        Self { mean, p95 }
    }

    fn of(histogram: &Histogram) -> Option<Self> {
        Some(Self {
            mean: histogram.mean()?,
            p95: histogram.percentile(95)?,
        })
    }
}

impl Statistics {
    /// How many attempts have ended.
    pub fn ended(&self) -> u64 {
        self.completed.saturating_add(self.failed)
    }

    fn of(tally: &Tally) -> Self {
        Self {
            completed: tally.completed,
            failed: tally.failed,
            dead: tally.dead,
            run: Times::of(&tally.run),
            wait: Times::of(&tally.wait),
        }
    }
}

/// What several processes have written down of an agent, added up.
#[derive(Clone, Debug, Default)]
pub(crate) struct Record(Tally);

impl Record {
    pub(crate) fn add(&mut self, other: &Self) {
        self.0.merge(&other.0);
    }

    pub(crate) fn statistics(&self) -> Statistics {
        Statistics::of(&self.0)
    }
}

pub(super) fn write(tally: &Tally) -> Result<String> {
    serde_json::to_string(tally)
        .map_err(|e| Error::new(ErrorKind::Internal, "an agent's history could not be written down").with_source(e))
}

/// What one process has written down of an agent.
pub(crate) fn record(text: &str) -> Result<Record> {
    serde_json::from_str(text)
        .map(Record)
        .map_err(|e| Error::new(ErrorKind::Corrupt, "an agent's history cannot be read").with_source(e))
}

/// How the agent of this name has done, all its versions together. One that nobody knows has done nothing.
///
/// # Errors
/// What [`Snapshot::query`] returns; `corrupt` for what cannot be read.
pub(crate) fn statistics(db: &Snapshot<'_>, agent: &str) -> Result<Statistics> {
    let since = db.now()? - limits::STATISTICS_WINDOW;
    // Processes that have gone count as long as what they did lies in the window.
    let records = db.query(
        "SELECT history FROM agent WHERE name = ?1 AND heartbeat_at > ?2",
        &[&agent, &since],
        |row| record(row.text(0)?),
    )?;
    let mut sum = Record::default();
    for record in &records {
        sum.add(record);
    }
    Ok(sum.statistics())
}
