//! What PostgreSQL's errors mean.

use std::error::Error as StdError;

use hive_errors::{Error, ErrorKind};
use tokio_postgres::error::{DbError, Severity};

use super::values;
use crate::db::dialect::one_line;

/// What an error says about the transaction and the connection it happened on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::db) enum Fate {
    /// The statement failed; the transaction can only be rolled back, and would fail again.
    Failed,
    /// Another transaction was in the way: the same work, run again, may succeed.
    Collided,
    /// A prepared statement is out of date: forget it and run the work again.
    Stale,
    /// The connection is gone, and the transaction with it.
    Lost,
    /// The deadline has passed; there is no time left to run anything again.
    Overdue,
}

/// What becomes of the transaction in which `source` happened.
pub(super) fn fate(source: &tokio_postgres::Error) -> Fate {
    let Some(db) = source.as_db_error() else {
        // Values that do not fit are refused before anything is sent; all else is a broken connection.
        return if values::refused(source).is_some() {
            Fate::Failed
        } else {
            Fate::Lost
        };
    };
    if is_fatal(db) {
        return Fate::Lost;
    }
    match db.code().code() {
        "40001" | "40P01" => Fate::Collided,
        "26000" => Fate::Stale,
        "0A000" if db.message().contains("cached plan") || db.routine() == Some("RevalidateCachedQuery") => Fate::Stale,
        _ => Fate::Failed,
    }
}

/// Whether the server ended the connection with it.
pub(super) fn is_fatal(db: &DbError) -> bool {
    matches!(db.parsed_severity(), Some(Severity::Fatal | Severity::Panic))
}

/// An error of a statement in a transaction. `reading`: it was not allowed to write.
pub(super) fn statement(source: tokio_postgres::Error, sql: &str, reading: bool) -> Error {
    let error = match source.as_db_error() {
        Some(db) if db.code().code() == "25006" && reading => {
            Error::new(ErrorKind::InvalidInput, "a read cannot write").with_hint("use Db::write")
        }
        Some(db) => of_database(db, "a statement failed"),
        None => match values::refused(&source) {
            Some(misfit) => misfit.error(),
            None => lost(&source),
        },
    };
    with_sql(error, sql).with_source(source)
}

/// An error of the house's own doing.
pub(super) fn house(source: tokio_postgres::Error, doing: &'static str) -> Error {
    let error = match source.as_db_error() {
        Some(db) => of_database(db, doing),
        None => lost(&source),
    };
    error.with_source(source)
}

/// Names the statement, which is code and so may be shown, unless the error is not the statement's doing.
fn with_sql(error: Error, sql: &str) -> Error {
    let innocent = [ErrorKind::DiskFull, ErrorKind::DatabaseLocked, ErrorKind::Timeout];
    if innocent.contains(&error.kind()) || error.message() == LOST {
        error
    } else {
        error.with("sql", one_line(sql))
    }
}

const LOST: &str = "the connection to the database was lost";

fn lost(source: &tokio_postgres::Error) -> Error {
    let timed_out = source
        .source()
        .and_then(|cause| cause.downcast_ref::<std::io::Error>())
        .is_some_and(|cause| cause.kind() == std::io::ErrorKind::TimedOut);
    let hint = if timed_out {
        "look at the network between here and the database server"
    } else {
        "look at the database server's log; work goes on when it is back"
    };
    Error::new(ErrorKind::Storage, LOST).with_hint(hint)
}

/// Sorts a server's error into ours by its SQLSTATE.
fn of_database(db: &DbError, doing: &'static str) -> Error {
    let code = db.code().code();
    let wrong = || {
        Error::new(ErrorKind::Storage, doing)
            .terminal()
            .with_hint("correct the statement; it fails whenever it runs")
    };
    let error = match code {
        "40001" | "40P01" => Error::new(ErrorKind::Conflict, "the transaction collided with another")
            .retryable()
            .with_hint("run it again; make transactions shorter if it happens often"),
        "57014" => Error::new(ErrorKind::Timeout, "the statement took longer than its limit"),
        "55P03" => Error::new(ErrorKind::DatabaseLocked, "a row or table stayed locked")
            .with_hint("make the transactions shorter that touch the same rows"),
        "53100" => Error::new(ErrorKind::DiskFull, doing),
        "25006" => Error::new(ErrorKind::DatabaseReadOnly, doing)
            .with_hint("connect to the primary server; this one, or this user, only reads"),
        "3D000" => Error::new(ErrorKind::Config, "the database does not exist")
            .with_hint("create it, or correct the name in the address"),
        "25P03" | "25P04" => Error::new(ErrorKind::Timeout, "the transaction was open for too long")
            .with_hint("let closures only read and write; think before or after"),
        "25P02" => Error::new(ErrorKind::Storage, "the transaction has failed already")
            .terminal()
            .with_hint("return the first error instead of going on after it"),
        "54000" => Error::new(
            ErrorKind::PayloadTooLarge,
            "a value is larger than the database can hold",
        ),
        "23503" | "23001" => Error::new(ErrorKind::Conflict, "a reference between rows would be broken"),
        "42501" => Error::new(ErrorKind::Config, "the database user may not do this")
            .with_hint("grant the user what the error below names"),
        "53300" => Error::new(ErrorKind::Storage, "the database server takes no more connections")
            .with_hint("use fewer connections per process, or raise the server's max_connections"),
        "XX001" | "XX002" => Error::new(ErrorKind::Corrupt, doing),
        _ => match code.get(..2).unwrap_or_default() {
            "08" => Error::new(ErrorKind::Storage, LOST),
            "22" => Error::new(ErrorKind::InvalidInput, "a value cannot be stored")
                .with_hint("the cause below says which value does not fit, and why"),
            "23" => Error::new(ErrorKind::Conflict, "a constraint refuses the row"),
            "28" => Error::new(ErrorKind::Config, "the database server refuses the user")
                .with_hint("check user and password in the address, and the server's pg_hba.conf"),
            "21" | "42" | "0A" | "26" | "25" | "2B" | "3B" | "3F" | "54" | "P0" | "38" | "39" => wrong(),
            "57" => Error::new(ErrorKind::Storage, "the database server is going down or coming up")
                .with_hint("wait until it is back; work goes on by itself"),
            _ => Error::new(ErrorKind::Storage, doing),
        },
    };
    let error = error.with("sqlstate", code);
    match db.constraint() {
        Some(constraint) => error.with("constraint", constraint),
        None => error,
    }
}

/// What a commit's error means: whether the transaction is known to be undone.
pub(super) fn commit(source: tokio_postgres::Error) -> (Fate, Error) {
    match source.as_db_error() {
        // The server says that it undid the transaction.
        Some(db) if !is_fatal(db) => {
            let error = of_database(db, "the commit failed, nothing of it was written");
            (fate(&source), error.with_source(source))
        }
        _ => (Fate::Lost, indeterminate("the connection was lost").with_source(source)),
    }
}

/// A commit that was sent and never answered.
pub(super) fn indeterminate(because: &'static str) -> Error {
    Error::new(
        ErrorKind::Indeterminate,
        "the commit was sent, but whether it took place is unknown",
    )
    .terminal()
    .with("because", because)
    .with_hint("read back what matters before writing it again, or make the write idempotent")
}
