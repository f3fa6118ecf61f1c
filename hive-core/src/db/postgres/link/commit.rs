//! The end of a transaction, and what is known of it when the connection ends first.

use hive_errors::{Error, ErrorKind, Result};
use tokio_postgres::Client;
use tokio_postgres::types::ToSql;

use super::answer::{Answer, Stop, answer};
use super::{Held, Hook, Link, closed, outside};
use crate::db::postgres::column::Column;
use crate::db::postgres::error::{self, Fate};
use crate::limits;

impl Link {
    /// Commits, and hands out what is to run now. A transaction without statements is none.
    ///
    /// # Errors
    /// What doomed the transaction, which is rolled back then; `conflict` for a constraint checked only now, and for a
    /// collision; `indeterminate` when the commit was sent and no answer came.
    pub(in crate::db) fn commit(&mut self) -> Result<Vec<Hook>> {
        let Some(transaction) = &mut self.transaction else {
            return Err(outside());
        };
        if let Some(doom) = &transaction.doom {
            let error = doom.error.echo();
            self.rollback();
            return Err(error);
        }
        let hooks = std::mem::take(&mut transaction.hooks);
        if transaction.held != Held::Itself {
            self.rollback();
            return Ok(hooks);
        }
        if transaction.deadline.has_passed() {
            let error = self.overdue();
            self.rollback();
            return Err(error);
        }
        // What was undone must be undone before; savepoints that were only set or released need no word.
        let undone = |ahead: &&String| ahead.starts_with("ROLLBACK");
        let mut sql: String = transaction
            .ahead
            .iter()
            .filter(undone)
            .map(|ahead| format!("{ahead}; "))
            .collect();
        sql.push_str("COMMIT");
        // Its outcome matters more than the deadline.
        let limit = transaction.deadline.left().max(limits::DB_COMMIT_GRACE);
        let Some(client) = &self.client else {
            return Err(closed());
        };
        let committing = async {
            if has_ended(client).await {
                return None;
            }
            Some(client.batch_execute(&sql).await)
        };
        let outcome = self.wait(limit, committing);
        let (fate, error) = match outcome {
            Some(Some(Ok(()))) => {
                self.transaction = None;
                return Ok(hooks);
            }
            Some(Some(Err(source))) => error::commit(source),
            Some(None) => (Fate::Lost, gone()),
            None => (Fate::Lost, error::indeterminate("the server did not answer in time")),
        };
        let error = self.doom(fate, error);
        Err(error)
    }

    /// As [`run_set`](Self::run_set), with the commit sent right behind it: nobody waits twice. Only
    /// [`commit`](Self::commit), which has nothing left to do, or [`rollback`](Self::rollback) may follow.
    ///
    /// # Errors
    /// Of both. `indeterminate` when the connection was lost without a word, because the commit was under way already.
    pub(in crate::db::postgres) fn commit_set(&mut self, sql: &str, columns: &[Column<'_>]) -> Result<Answer> {
        // Before the rest: while the server's word on a new statement is awaited, the commit would overtake it.
        let statement = self.prepared(sql)?;
        let (left, ahead) = self.ready()?;
        let Some(client) = &self.client else {
            return Err(closed());
        };
        let all = async {
            if has_ended(client).await {
                return None;
            }
            let parameters = columns.iter().map(|column| column as &(dyn ToSql + Sync));
            Some(tokio::join!(
                biased;
                client.batch_execute(&ahead),
                answer(client, Some(statement), sql, parameters),
                client.batch_execute("COMMIT"),
            ))
        };
        let answers = self.wait(left.max(limits::DB_COMMIT_GRACE), all);
        let (begun, answered, committed) = match answers {
            Some(Some(answers)) => answers,
            Some(None) => return Err(self.doom(Fate::Lost, gone())),
            None => {
                let error = self.doom(Fate::Lost, error::indeterminate("the server did not answer in time"));
                return Err(error);
            }
        };
        // Whatever came of it, no transaction is left at the server.
        if let Some(transaction) = &mut self.transaction {
            transaction.ahead.clear();
            transaction.held = Held::Nothing;
        }
        // The server answers in order, so what it says of one is true of none behind it.
        let error = match (begun, answered, committed) {
            (Ok(()), Ok((_, answer)), Ok(())) => return Ok(answer),
            (Err(source), _, _) if source.as_db_error().is_some() => self.failed(Stop::Ahead(source), sql),
            (Ok(()), Err(Stop::Server(source)), _)
                if source.as_db_error().is_none() && error::fate(&source) == Fate::Lost =>
            {
                self.doom(
                    Fate::Lost,
                    error::indeterminate("the connection was lost").with_source(source),
                )
            }
            (Ok(()), Err(stop), _) => self.failed(stop, sql),
            (Ok(()), Ok(_), Err(source)) => {
                let (fate, error) = error::commit(source);
                self.doom(fate, error)
            }
            (Err(source), _, _) => self.doom(
                Fate::Lost,
                error::indeterminate("the connection was lost").with_source(source),
            ),
        };
        Err(error)
    }

    /// Undoes the transaction, if there is one. A connection that cannot even do that is given up.
    pub(in crate::db) fn rollback(&mut self) {
        let Some(transaction) = self.transaction.take() else {
            return;
        };
        if transaction.held == Held::Nothing || self.broken {
            return;
        }
        let Some(client) = &self.client else { return };
        let done = self.wait(limits::DB_CANCEL_TIMEOUT, client.batch_execute("ROLLBACK"));
        if !matches!(done, Some(Ok(()))) {
            self.broken = true;
        }
    }
}

/// Whether the connection has ended already: then it is known that nothing was committed.
async fn has_ended(client: &Client) -> bool {
    // Once for the runtime to look at the socket, once for the connection to read what is there.
    tokio::task::yield_now().await;
    tokio::task::yield_now().await;
    client.is_closed()
}

/// Nothing was committed.
fn gone() -> Error {
    Error::new(ErrorKind::Storage, "the connection to the database was lost")
        .with_hint("look at the database server's log; work goes on when it is back")
}
