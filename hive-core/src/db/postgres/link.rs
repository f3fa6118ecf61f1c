//! One connection and the transaction that runs on it.
//!
//! A link lives on one thread, with a runtime of its own that runs only while that thread waits for the server. So nothing
//! is handed from thread to thread, and what need not be waited for travels with what comes next: `BEGIN` and
//! `SAVEPOINT` are sent together with the statement behind them.

use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use futures_core::Stream;
use hive_errors::{Error, ErrorKind, Result};
use tokio::runtime::{Builder, Runtime};
use tokio::task::JoinHandle;
use tokio_postgres::types::{BorrowToSql, ToSql};
use tokio_postgres::{Client, Row, Statement};

use super::column::Column;
use super::config::Config;
use super::deadline::Deadline;
use super::error::{self, Fate};
use super::statements::Statements;
use super::values::Bound;
use crate::db::dialect;
use crate::db::value::ToValue;
use crate::limits;

/// What runs when a commit is on disk.
pub(in crate::db) type Hook = Box<dyn FnOnce() + Send>;

/// How a transaction sees others.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::db) enum Isolation {
    /// As if transactions ran one after another; one that could not have is run again.
    Serializable,
    /// One snapshot for all statements.
    RepeatableRead,
    /// A snapshot for each statement.
    ReadCommitted,
}

/// How a transaction begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::db) struct Begin {
    pub(in crate::db) isolation: Isolation,
    pub(in crate::db) writes: bool,
    /// Acknowledged before it is on disk.
    pub(in crate::db) relaxed: bool,
    /// Statements have as long as the deadline allows, as migrations need.
    pub(in crate::db) unhurried: bool,
}

impl Begin {
    pub(in crate::db) const fn write() -> Self {
        Self {
            isolation: Isolation::Serializable,
            writes: true,
            relaxed: false,
            unhurried: false,
        }
    }

    pub(in crate::db) const fn read() -> Self {
        Self {
            isolation: Isolation::RepeatableRead,
            writes: false,
            relaxed: false,
            unhurried: false,
        }
    }

    fn sql(self) -> String {
        let isolation = match self.isolation {
            Isolation::Serializable => "SERIALIZABLE",
            Isolation::RepeatableRead => "REPEATABLE READ",
            Isolation::ReadCommitted => "READ COMMITTED",
        };
        let access = if self.writes { "WRITE" } else { "ONLY" };
        let mut sql = format!("BEGIN ISOLATION LEVEL {isolation} READ {access}");
        if self.relaxed {
            sql.push_str("; SET LOCAL synchronous_commit = off");
        }
        if self.unhurried {
            sql.push_str("; SET LOCAL statement_timeout = 0; SET LOCAL lock_timeout = 0");
        }
        sql
    }
}

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
    /// Whether the server knows of it.
    begun: bool,
    /// Whether it was committed together with its last statement.
    committed: bool,
    /// What is sent ahead of the next statement.
    ahead: Vec<String>,
    marks: Vec<Mark>,
    hooks: Vec<Hook>,
    doom: Option<Doom>,
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

/// Rows and how many the statement inserted, updated, deleted or found.
struct Answer {
    rows: Vec<Row>,
    count: u64,
}

/// Why a statement did not come to its end.
enum Stop {
    /// The transaction could not be begun, or a savepoint not be set.
    Ahead(tokio_postgres::Error),
    Server(tokio_postgres::Error),
    Ours(Error),
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

    /// Begins a transaction, which the server learns of with its first statement.
    pub(in crate::db) fn begin(&mut self, begin: Begin, deadline: Deadline) {
        self.rollback();
        self.transaction = Some(Transaction {
            begin,
            deadline,
            begun: false,
            committed: false,
            ahead: vec![begin.sql()],
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

    /// As [`execute`](Self::execute), with arrays for parameters.
    pub(super) fn execute_set(&mut self, sql: &str, columns: &[Column<'_>]) -> Result<usize> {
        let answer = self.run(sql, columns.iter().map(|column| column as &(dyn ToSql + Sync)))?;
        Ok(usize::try_from(answer.count).unwrap_or(usize::MAX))
    }

    /// As [`execute_set`](Self::execute_set), with the commit sent right behind it: nobody waits twice. Only
    /// [`commit`](Self::commit), which has nothing left to do, or [`rollback`](Self::rollback) may follow.
    ///
    /// # Errors
    /// Of both. `indeterminate` when the connection was lost without a word, because the commit was under way already.
    pub(super) fn commit_set(&mut self, sql: &str, columns: &[Column<'_>]) -> Result<usize> {
        let (left, ahead) = self.ready()?;
        let known = self.statements.get(sql);
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
                answer(client, known, sql, parameters),
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
            transaction.begun = false;
        }
        // The server answers in order, so what it says of one is true of none behind it.
        let error = match (begun, answered, committed) {
            (Ok(()), Ok((statement, answer)), Ok(())) => {
                self.statements.put(sql, statement);
                if let Some(transaction) = &mut self.transaction {
                    transaction.committed = true;
                }
                return Ok(usize::try_from(answer.count).unwrap_or(usize::MAX));
            }
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
        if !transaction.begun || transaction.committed {
            self.transaction = None;
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

    /// Undoes the transaction, if there is one. A connection that cannot even do that is given up.
    pub(in crate::db) fn rollback(&mut self) {
        let Some(transaction) = self.transaction.take() else {
            return;
        };
        if !transaction.begun || self.broken {
            return;
        }
        let Some(client) = &self.client else { return };
        let done = self.wait(limits::DB_CANCEL_TIMEOUT, client.batch_execute("ROLLBACK"));
        if !matches!(done, Some(Ok(()))) {
            self.broken = true;
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
            transaction.begun = true;
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

fn bound<'a>(params: &'a [&'a dyn ToValue]) -> impl ExactSizeIterator<Item = Bound<'a>> {
    params.iter().map(|param| Bound(param.to_value()))
}

async fn answer<P, I>(
    client: &Client,
    known: Option<Statement>,
    sql: &str,
    params: I,
) -> Result<(Statement, Answer), Stop>
where
    P: BorrowToSql,
    I: ExactSizeIterator<Item = P>,
{
    let statement = match known {
        Some(statement) => statement,
        None => client.prepare(&dialect::postgres(sql)).await.map_err(Stop::Server)?,
    };
    if statement.params().len() != params.len() {
        let error = Error::new(ErrorKind::Storage, "the number of values is not that of the parameters")
            .terminal()
            .with("values", params.len())
            .with("parameters", statement.params().len())
            .with("sql", dialect::one_line(sql))
            .with_hint("correct the statement; it fails whenever it runs");
        return Err(Stop::Ours(error));
    }
    let stream = client.query_raw(&statement, params).await.map_err(Stop::Server)?;
    let mut stream = pin!(stream);
    let mut rows = Vec::new();
    let mut bytes = 0_usize;
    while let Some(row) = next(stream.as_mut()).await {
        let row = row.map_err(Stop::Server)?;
        bytes = bytes.saturating_add(row.raw_size_bytes());
        if bytes > limits::DB_ANSWER_BYTES_MAX {
            let error = Error::new(ErrorKind::LimitReached, "the answer is larger than can be held")
                .with("limit_bytes", limits::DB_ANSWER_BYTES_MAX)
                .with("sql", dialect::one_line(sql))
                .with_hint("read it in pages: WHERE key > ?1 ORDER BY key LIMIT …");
            return Err(Stop::Ours(error));
        }
        rows.push(row);
    }
    let count = stream.rows_affected().unwrap_or_default();
    Ok((statement, Answer { rows, count }))
}

async fn next<S: Stream>(mut stream: Pin<&mut S>) -> Option<S::Item> {
    std::future::poll_fn(|cx| match stream.as_mut().poll_next(cx) {
        Poll::Ready(item) => Poll::Ready(item),
        Poll::Pending => Poll::Pending,
    })
    .await
}

/// Whether the connection has ended already: then it is known that nothing was committed.
async fn has_ended(client: &Client) -> bool {
    // Once for the runtime to look at the socket, once for the connection to read what is there.
    tokio::task::yield_now().await;
    tokio::task::yield_now().await;
    client.is_closed()
}

fn outside() -> Error {
    Error::new(ErrorKind::Internal, "a statement was run outside a transaction")
}

fn closed() -> Error {
    Error::new(ErrorKind::ShuttingDown, "the database is closed")
}

/// Nothing was committed.
fn gone() -> Error {
    Error::new(ErrorKind::Storage, "the connection to the database was lost")
        .with_hint("look at the database server's log; work goes on when it is back")
}
