//! The claim on a run, by which every write in a task's name is fenced.

use hive_core::db::Tx;
use hive_errors::{Error, ErrorKind, Result};

/// The claim of one process on one run of a task. It cannot be made or copied outside the crate; every write in the
/// task's name is guarded in SQL by all three numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Lease {
    /// The row.
    pub(crate) task: i64,
    /// Grows with every claim.
    pub(crate) attempt: u32,
    /// Grows with every open of the database.
    pub(crate) epoch: u64,
}

impl Lease {
    pub(crate) fn lost(self) -> Error {
        Error::new(ErrorKind::LeaseLost, "the task is no longer this run's to write to")
            .with("attempt", self.attempt)
            .with("epoch", self.epoch)
    }
}

/// Refuses to go on when the lease is not the task's current one.
pub(crate) fn guard(tx: &Tx<'_>, lease: Lease) -> Result<()> {
    tx.query_opt(
        "SELECT 1 FROM task WHERE seq = ?1 AND attempt = ?2 AND epoch = ?3 AND state = 2",
        &[&lease.task, &lease.attempt, &lease.epoch],
        |_| Ok(()),
    )?
    .ok_or_else(|| lease.lost())
}
