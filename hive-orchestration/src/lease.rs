//! The claim on a run, by which every write in a task's name is fenced.

use std::collections::HashSet;

use hive_core::db::{Dialect, Tx};
use hive_errors::{Error, ErrorKind, Result};

/// The claim of one process on one run of a task. It cannot be made or copied outside the crate; every write in the
/// task's name is guarded in SQL by all three numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
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

/// Refuses to go on when the lease is not the task's current one. Until the transaction ends nobody else can take it.
pub(crate) fn guard(tx: &Tx<'_>, lease: Lease) -> Result<()> {
    let sql = match tx.dialect() {
        Dialect::Postgres => {
            "SELECT 1 FROM task WHERE seq = ?1 AND attempt = ?2 AND epoch = ?3 AND state + 0 = 2 FOR NO KEY UPDATE"
        }
        Dialect::Sqlite => "SELECT 1 FROM task WHERE seq = ?1 AND attempt = ?2 AND epoch = ?3 AND state = 2",
    };
    tx.query_opt(sql, &[&lease.task, &lease.attempt, &lease.epoch], |_| Ok(()))?
        .ok_or_else(|| lease.lost())
}

/// Which of these leases are current. Until the transaction ends nobody else can take those.
pub(crate) fn hold(tx: &Tx<'_>, leases: &[Lease]) -> Result<HashSet<Lease>> {
    let mut held = HashSet::with_capacity(leases.len());
    match tx.dialect() {
        Dialect::Sqlite => {
            for lease in leases {
                match guard(tx, *lease) {
                    Ok(()) => drop(held.insert(*lease)),
                    Err(error) if error.kind() == ErrorKind::LeaseLost => {}
                    Err(error) => return Err(error),
                }
            }
        }
        Dialect::Postgres => tx.each(
            "SELECT seq, attempt, epoch FROM task
             WHERE seq = ANY (CAST(string_to_array(?1, ',') AS BIGINT[])) AND state + 0 = 2 ORDER BY seq FOR NO KEY UPDATE",
            &[&listed(leases.iter().map(|lease| lease.task))],
            |row| {
                held.insert(Lease {
                    task: row.get(0)?,
                    attempt: row.get(1)?,
                    epoch: row.get(2)?,
                });
                Ok(true)
            },
        )?,
    }
    Ok(held)
}

/// Keeps others from changing these tasks until the transaction ends. Whoever is about to change several, or what belongs to
/// one, asks for all of them first.
///
/// SQLite has one writer. On PostgreSQL a statement sees what was committed when it began, so what is read after the lock is
/// what counts; and rows are locked in the order of their numbers, so that nobody waits in a circle. A child's number is
/// greater than its parent's.
pub(crate) fn lock(tx: &Tx<'_>, tasks: impl IntoIterator<Item = i64>) -> Result<()> {
    if tx.dialect() != Dialect::Postgres {
        return Ok(());
    }
    let tasks = listed(tasks);
    tx.query(
        "SELECT seq FROM task WHERE seq = ANY (CAST(string_to_array(?1, ',') AS BIGINT[])) ORDER BY seq FOR NO KEY UPDATE",
        &[&tasks],
        |_| Ok(()),
    )
    .map(drop)
}

/// Numbers with commas between them, as a parameter of PostgreSQL's `string_to_array`.
pub(crate) fn listed(numbers: impl IntoIterator<Item = i64>) -> String {
    let mut list = String::new();
    for number in numbers {
        if !list.is_empty() {
            list.push(',');
        }
        list.push_str(&number.to_string());
    }
    list
}
