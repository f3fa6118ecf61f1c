//! One connection and the transaction that runs on it.
//!
//! A link lives on one thread, with a runtime of its own that runs only while that thread waits for the server. So nothing
//! is handed from thread to thread, and what need not be waited for travels with what comes next: `BEGIN` and
//! `SAVEPOINT` are sent together with the statement behind them.

use std::sync::Arc;
use std::time::Duration;

use hive_errors::{Error, ErrorKind, Result};
use tokio::runtime::{Builder, Runtime};
use tokio::task::JoinHandle;
use tokio_postgres::types::{BorrowToSql, ToSql};
use tokio_postgres::{Client, Row, Statement};

use super::column::Column;
use super::config::Config;
use super::error::{self, Fate};
use super::statements::Statements;
use crate::db::deadline::Deadline;
use crate::db::dialect;
use crate::db::value::ToValue;
use crate::limits;

mod answer;
mod begin;
mod commit;
mod savepoint;

pub(super) use answer::Answer;
use answer::{Stop, answer, bound};
pub(in crate::db) use begin::{Begin, Hook, Isolation};

/// A connection, used by one thread.
pub(in crate::db) struct Link {
    config: Arc<Config>,
    statements: Statements,
    /// Gone when the link is being closed.
    client: Option<Client>,
    driver: Option<JoinHandle<()>>,
    runtime: Option<Runtime>,
    transaction: Option<Transaction>,
    broken: bool,
}

struct Transaction {
    begin: Begin,
    deadline: Deadline,
    held: Held,
    /// What is sent ahead of the next statement.
    ahead: Vec<String>,
    marks: Vec<Mark>,
    hooks: Vec<Hook>,
    doom: Option<Doom>,
}

/// What the server holds open.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Held {
    Nothing,
    /// The read before the transaction, whose end it is told of together with the transaction.
    Before,
    Itself,
}

/// A savepoint.
struct Mark {
    hooks: usize,
}

/// Why nothing more can come of a transaction.
struct Doom {
    fate: Fate,
    error: Error,
}

impl Link {
    /// Connects, sets what must hold and reads it back.
    ///
    /// Must not be called, nor the link be dropped, on a thread that runs asynchronous tasks.
    ///
    /// # Errors
    /// `storage`, retryable, when the server is away or did not answer in time; `config` for what an operator must change;
    /// `database-read-only` for a standby.
    pub(in crate::db) fn connect(config: &Arc<Config>, deadline: Deadline) -> Result<Self> {
        let runtime = Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(|e| Error::new(ErrorKind::Storage, "the connection's runtime could not be made").with_source(e))?;
        let mut link = Self {
            config: Arc::clone(config),
            statements: Statements::new(limits::DB_STATEMENTS),
            client: None,
            driver: None,
            runtime: Some(runtime),
            transaction: None,
            broken: false,
        };
        let limit = config.timeouts().connect.min(deadline.left());
        let connecting = async {
            let (client, connection) = config.connect().await?;
            let driver = tokio::spawn(async move {
                if let Err(error) = connection.await {
                    tracing::debug!(%error, "a connection to the database ended");
                }
            });
            config.prepare(&client).await?;
            Ok((client, driver))
        };
        let connected = link.wait(limit, connecting);
        let (client, driver) = connected.unwrap_or_else(|| Err(config.too_slow(limit)))?;
        link.client = Some(client);
        link.driver = Some(driver);
        Ok(link)
    }

    /// Begins a transaction, which the server learns of with its first statement: and of the end of the read before it, if
    /// that is still open. Whatever else is open is rolled back now.
    pub(in crate::db) fn begin(&mut self, begin: Begin, deadline: Deadline) {
        let (held, ahead) = if self.is_reading() {
            (Held::Before, vec!["ROLLBACK".to_owned(), begin.sql()])
        } else {
            self.rollback();
            (Held::Nothing, vec![begin.sql()])
        };
        self.transaction = Some(Transaction {
            begin,
            deadline,
            held,
            ahead,
            marks: Vec::new(),
            hooks: Vec::new(),
            doom: None,
        });
    }

    /// Every row of a statement's answer.
    ///
    /// # Errors
    /// What the statement ran into, `limit-reached` when the answer is too large to hold, `timeout` after the deadline. Any
    /// error dooms the transaction: only [`rollback`](Self::rollback) or [`rollback_to`](Self::rollback_to) is left.
    pub(in crate::db) fn query(&mut self, sql: &str, params: &[&dyn ToValue]) -> Result<Vec<Row>> {
        self.run(sql, bound(params)).map(|answer| answer.rows)
    }

    /// How many rows a statement inserted, updated or deleted.
    ///
    /// # Errors
    /// As [`query`](Self::query).
    pub(in crate::db) fn execute(&mut self, sql: &str, params: &[&dyn ToValue]) -> Result<usize> {
        let answer = self.run(sql, bound(params))?;
        Ok(usize::try_from(answer.count).unwrap_or(usize::MAX))
    }

    /// Runs a statement whose parameters are arrays.
    ///
    /// # Errors
    /// As [`query`](Self::query).
    pub(super) fn run_set(&mut self, sql: &str, columns: &[Column<'_>]) -> Result<Answer> {
        self.run(sql, columns.iter().map(|column| column as &(dyn ToSql + Sync)))
    }

    /// Runs a text of many statements without parameters, such as a migration.
    ///
    /// # Errors
    /// As [`query`](Self::query).
    pub(in crate::db) fn batch(&mut self, sql: &str) -> Result<()> {
        let (left, mut ahead) = self.ready()?;
        if let Err(error) = dialect::refuse_control(sql) {
            return Err(self.doom(Fate::Failed, error));
        }
        ahead.push_str(&dialect::postgres(sql));
        let Some(client) = &self.client else {
            return Err(closed());
        };
        let done = self.wait(left, client.batch_execute(&ahead));
        match done {
            Some(Ok(())) => {
                self.statements.forget();
                self.sent();
                Ok(())
            }
            Some(Err(source)) => {
                // One that failed may have begun the transaction.
                self.sent();
                Err(self.failed(Stop::Server(source), sql))
            }
            None => Err(self.overdue()),
        }
    }

    /// What became of the transaction, once something went wrong; kept until the next begins or it is rolled back.
    pub(in crate::db) fn fate(&self) -> Option<Fate> {
        let doom = self.transaction.as_ref()?.doom.as_ref()?;
        Some(doom.fate)
    }

    /// Whether the connection is of no more use.
    pub(in crate::db) fn is_broken(&self) -> bool {
        self.broken || self.client.as_ref().is_none_or(Client::is_closed)
    }

    /// Whether a read is open in which nothing went wrong.
    fn is_reading(&self) -> bool {
        let transaction = self.transaction.as_ref().filter(|_| !self.broken);
        transaction.is_some_and(|open| open.held != Held::Nothing && !open.begin.writes && open.doom.is_none())
    }

    fn run<P, I>(&mut self, sql: &str, params: I) -> Result<Answer>
    where
        P: BorrowToSql,
        I: ExactSizeIterator<Item = P>,
    {
        let (left, ahead) = self.ready()?;
        let known = self.statements.get(sql);
        if known.is_none()
            && let Err(error) = dialect::refuse_control(sql)
        {
            return Err(self.doom(Fate::Failed, error));
        }
        let is_new = known.is_none();
        let Some(client) = &self.client else {
            return Err(closed());
        };
        let both = async {
            // In this order: the second must find the transaction begun.
            tokio::join!(
                biased;
                async { if ahead.is_empty() { Ok(()) } else { client.batch_execute(&ahead).await } },
                answer(client, known, sql, params),
            )
        };
        match self.wait(left, both) {
            None => Err(self.overdue()),
            Some((Err(source), _)) => Err(self.failed(Stop::Ahead(source), sql)),
            Some((Ok(()), Err(stop))) => {
                self.sent();
                Err(self.failed(stop, sql))
            }
            Some((Ok(()), Ok((statement, answer)))) => {
                self.sent();
                if is_new {
                    self.statements.put(sql, statement);
                }
                Ok(answer)
            }
        }
    }

    /// A statement that the server knows, sent to it now if it does not yet.
    fn prepared(&mut self, sql: &str) -> Result<Statement> {
        let (left, ahead) = self.ready()?;
        if let Some(known) = self.statements.get(sql) {
            return Ok(known);
        }
        let Some(client) = &self.client else {
            return Err(closed());
        };
        let text = dialect::postgres(sql);
        let both = async { tokio::join!(biased; client.batch_execute(&ahead), client.prepare(&text)) };
        match self.wait(left, both) {
            None => Err(self.overdue()),
            Some((Err(source), _)) => Err(self.failed(Stop::Ahead(source), sql)),
            Some((Ok(()), Err(source))) => {
                self.sent();
                Err(self.failed(Stop::Server(source), sql))
            }
            Some((Ok(()), Ok(statement))) => {
                self.sent();
                self.statements.put(sql, statement.clone());
                Ok(statement)
            }
        }
    }

    /// How much time is left, and what must be sent ahead of the next statement, with a semicolon behind it.
    fn ready(&mut self) -> Result<(Duration, String)> {
        let Some(transaction) = &mut self.transaction else {
            return Err(outside());
        };
        if let Some(doom) = &transaction.doom {
            return Err(doom.error.echo());
        }
        let left = transaction.deadline.left();
        if left.is_zero() {
            return Err(self.overdue());
        }
        let ahead = transaction.ahead.iter().map(|ahead| format!("{ahead}; "));
        Ok((left, ahead.collect()))
    }

    /// The server has heard of all that was to be sent ahead.
    fn sent(&mut self) {
        if let Some(transaction) = &mut self.transaction {
            transaction.held = Held::Itself;
            transaction.ahead.clear();
        }
    }

    fn failed(&mut self, stop: Stop, sql: &str) -> Error {
        let reading = self
            .transaction
            .as_ref()
            .is_some_and(|transaction| !transaction.begin.writes);
        let (fate, error) = match stop {
            Stop::Ahead(source) => {
                // There is no telling what the server holds now.
                self.broken = true;
                (Fate::Lost, error::house(source, "the transaction could not be begun"))
            }
            Stop::Server(source) => (error::fate(&source), error::statement(source, sql, reading)),
            Stop::Ours(error) => (Fate::Failed, error),
        };
        if fate == Fate::Stale {
            self.statements.forget();
        }
        self.doom(fate, error)
    }

    /// The deadline has passed: whatever still runs at the server is told to stop, and the connection is given up.
    fn overdue(&mut self) -> Error {
        let limit = self
            .transaction
            .as_ref()
            .map_or(Duration::ZERO, |transaction| transaction.deadline.limit);
        if let Some(client) = self.client.as_ref().filter(|client| !client.is_closed()) {
            let (token, tls) = (client.cancel_token(), self.config.tls());
            if !matches!(
                self.wait(limits::DB_CANCEL_TIMEOUT, token.cancel_query(tls)),
                Some(Ok(()))
            ) {
                tracing::debug!("a statement could not be cancelled; the server's own limit ends it");
            }
        }
        self.broken = true;
        let error = Error::new(ErrorKind::Timeout, "the database work took longer than its limit")
            .with("limit_ms", limit.as_millis());
        self.doom(Fate::Overdue, error)
    }

    fn doom(&mut self, fate: Fate, error: Error) -> Error {
        if fate == Fate::Lost {
            self.broken = true;
        }
        if let Some(transaction) = &mut self.transaction {
            transaction.doom.get_or_insert_with(|| Doom {
                fate,
                error: error.echo(),
            });
        }
        error
    }

    #[cfg(feature = "test-util")]
    #[cfg(test)]
    pub(super) fn client(&self) -> &Client {
        self.client.as_ref().expect("open")
    }

    #[cfg(feature = "test-util")]
    #[cfg(test)]
    pub(super) fn statements(&self) -> &Statements {
        &self.statements
    }

    /// Runs a future on this thread for at most `limit`.
    pub(super) fn wait<F: Future>(&self, limit: Duration, future: F) -> Option<F::Output> {
        let runtime = self.runtime.as_ref()?;
        runtime.block_on(async { tokio::time::timeout(limit, future).await.ok() })
    }
}

impl Drop for Link {
    fn drop(&mut self) {
        self.statements.forget();
        // Without a client the driver says goodbye to the server and ends.
        self.client = None;
        if let Some(driver) = self.driver.take()
            && !self.broken
        {
            let _late = self.wait(limits::DB_GOODBYE, driver);
        }
        if let Some(runtime) = self.runtime.take() {
            // A look-up of a name may still hang; nobody waits for it.
            runtime.shutdown_background();
        }
    }
}

impl std::fmt::Debug for Link {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Link")
            .field("place", &self.config.place())
            .field("broken", &self.broken)
            .finish_non_exhaustive()
    }
}

fn outside() -> Error {
    Error::new(ErrorKind::Internal, "a statement was run outside a transaction")
}

fn closed() -> Error {
    Error::new(ErrorKind::ShuttingDown, "the database is closed")
}
