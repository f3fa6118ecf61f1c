//! Parts of a transaction that can be undone alone. The server hears of them with the next statement.

use hive_errors::Result;

use super::{Hook, Link, Mark, outside};
use crate::db::postgres::error::Fate;

impl Link {
    /// Marks a point to which the transaction can be undone.
    pub(in crate::db) fn savepoint(&mut self) {
        if let Some(transaction) = &mut self.transaction {
            transaction.marks.push(Mark {
                hooks: transaction.hooks.len(),
            });
            let depth = transaction.marks.len();
            transaction.ahead.push(format!("SAVEPOINT hive_{depth}"));
        }
    }

    /// Forgets the last savepoint and keeps what was done since.
    ///
    /// # Errors
    /// What doomed the transaction since; it stays doomed.
    pub(in crate::db) fn release(&mut self) -> Result<()> {
        let Some(transaction) = &mut self.transaction else {
            return Err(outside());
        };
        if let Some(doom) = &transaction.doom {
            return Err(doom.error.echo());
        }
        let depth = transaction.marks.len();
        transaction.marks.pop();
        let savepoint = format!("SAVEPOINT hive_{depth}");
        if transaction.ahead.last() == Some(&savepoint) {
            transaction.ahead.pop();
        } else {
            transaction.ahead.push(format!("RELEASE {savepoint}"));
        }
        Ok(())
    }

    /// Undoes what was done since the last savepoint, and forgets it. An error that was the statement's own doing is
    /// forgotten with it.
    ///
    /// # Errors
    /// What doomed the transaction beyond that: a collision, a lost connection, a deadline.
    pub(in crate::db) fn rollback_to(&mut self) -> Result<()> {
        let Some(transaction) = &mut self.transaction else {
            return Err(outside());
        };
        let depth = transaction.marks.len();
        if let Some(mark) = transaction.marks.pop() {
            transaction.hooks.truncate(mark.hooks);
        }
        match &transaction.doom {
            Some(doom) if doom.fate != Fate::Failed => return Err(doom.error.echo()),
            Some(_) | None => transaction.doom = None,
        }
        let savepoint = format!("SAVEPOINT hive_{depth}");
        match transaction.ahead.iter().rposition(|ahead| *ahead == savepoint) {
            // The server has not heard of it.
            Some(unsent) => transaction.ahead.truncate(unsent),
            None => transaction
                .ahead
                .push(format!("ROLLBACK TO {savepoint}; RELEASE {savepoint}")),
        }
        Ok(())
    }

    /// Runs `hook` after the commit, unless the part of the transaction that it belongs to is undone.
    pub(in crate::db) fn on_commit(&mut self, hook: Hook) {
        if let Some(transaction) = &mut self.transaction {
            transaction.hooks.push(hook);
        }
    }
}
