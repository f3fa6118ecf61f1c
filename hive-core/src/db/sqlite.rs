//! SQLite connections: how they are opened, which PRAGMAs hold, what its errors mean.

pub(super) mod view;

use std::path::{Path, PathBuf};

use hive_errors::{Error, ErrorKind, Result};
use rusqlite::config::DbConfig;
use rusqlite::{Connection, ErrorCode, OpenFlags, ffi};

use super::guard::{Guard, Scope};
use super::house::House;
use super::migrate::{self, Migrations};
use super::tx::{Snapshot, Tx};
use crate::limits;

/// `HIVE` in ASCII: tells a hive's file from any other SQLite database.
pub(super) const APPLICATION_ID: i64 = 0x4849_5645;

/// The connection that writes.
pub(super) struct Writing {
    pub(super) path: PathBuf,
    pub(super) conn: Connection,
    pub(super) guard: Guard,
}

/// A connection that only reads.
pub(super) struct Reading {
    pub(super) conn: Connection,
    pub(super) guard: Guard,
}

/// Opens for writing and checks that the file is a hive's, or empty. Changes nothing yet.
pub(super) fn open_writer(path: &Path) -> Result<Writing> {
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_CREATE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let mut conn = Connection::open_with_flags(path, flags).map_err(|e| at(e, path))?;
    // SQLite falls back to reading without a word when it may not write, and reading alone makes files beside this one.
    if conn.is_readonly("main").map_err(|e| at(e, path))? {
        return Err(
            Error::new(ErrorKind::DatabaseReadOnly, "the database file cannot be written").with("path", path.display()),
        );
    }
    let set = |conn: &Connection, config, on| conn.set_db_config(config, on).map(drop).map_err(|e| at(e, path));
    // The last connection folds the log into the file when it is closed. If the file turns out to be another program's,
    // that is for the other program to do.
    set(&conn, DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, has_log(path))?;
    // The first read is what makes SQLite look at the header.
    let tables: i64 = conn
        .query_row("SELECT count(*) FROM sqlite_schema", [], |row| row.get(0))
        .map_err(|e| at(e, path))?;
    let id: i64 = conn
        .query_row("PRAGMA application_id", [], |row| row.get(0))
        .map_err(|e| at(e, path))?;
    if id != APPLICATION_ID && (id != 0 || tables != 0) {
        return Err(Error::new(
            ErrorKind::NotADatabase,
            "the file is a SQLite database of another application",
        )
        .with("path", path.display())
        .with("application_id", id)
        .with_hint("give a path of its own for the hive; it never writes into a database it did not make"));
    }
    set(&conn, DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, false)?;
    // No statement, however wrong, may write into SQLite's own tables or turn the log off.
    set(&conn, DbConfig::SQLITE_DBCONFIG_DEFENSIVE, true)?;
    settle_plans(&conn, path)?;
    conn.set_prepared_statement_cache_capacity(limits::DB_STATEMENTS);
    let guard = Guard::install(&mut conn)?;
    Ok(Writing {
        path: path.to_owned(),
        conn,
        guard,
    })
}

/// Whether an earlier process left a log beside the file.
fn has_log(path: &Path) -> bool {
    let mut log = path.as_os_str().to_owned();
    log.push("-wal");
    std::fs::metadata(log).is_ok_and(|log| log.len() > 0)
}

/// Sets what durability and concurrency rest on, and reads each setting back: SQLite ignores a misspelt one.
pub(super) fn configure_writer(conn: &Connection) -> Result<()> {
    pragma(conn, "journal_mode", "WAL", "wal")?;
    pragma(conn, "synchronous", "FULL", "2")?;
    // On macOS only these reach the disk itself; elsewhere they change nothing.
    pragma(conn, "fullfsync", "ON", "1")?;
    pragma(conn, "checkpoint_fullfsync", "ON", "1")?;
    foreign_keys(conn, true)?;
    pragma(conn, "busy_timeout", "5000", "5000")?;
    pragma(conn, "cache_size", "-8192", "-8192")?;
    pragma(conn, "temp_store", "MEMORY", "2")?;
    // What a log that readers kept long leaves behind when it starts again.
    pragma(conn, "journal_size_limit", "33554432", "33554432")
}

/// Whether references between tables are kept; without effect within a transaction, which is an error here.
pub(super) fn foreign_keys(conn: &Connection, kept: bool) -> Result<()> {
    let (value, found) = if kept { ("ON", "1") } else { ("OFF", "0") };
    pragma(conn, "foreign_keys", value, found)
}

/// Opens for writing what is a hive's or nobody's, and brings its schema up to date.
pub(super) fn prepare(path: &Path, sets: &[&'static Migrations], house: &House) -> Result<Writing> {
    let writing = open_writer(path)?;
    let Writing { conn, guard, .. } = &writing;
    // Nothing to do is the common case and costs no write.
    let pending = within(conn, "BEGIN DEFERRED", "ROLLBACK", || {
        let snapshot = Snapshot::sqlite(conn, guard, None, &*house.clock);
        migrate::check(&snapshot, sets)?;
        migrate::pending(&snapshot, sets)
    })?;
    configure_writer(conn)?;
    if !pending.is_empty() {
        foreign_keys(conn, false)?;
        let done = within(conn, "BEGIN IMMEDIATE", "COMMIT", || {
            // Inside the transaction, so that an empty file that never got its schema is still nobody's.
            conn.execute_batch(&format!("PRAGMA application_id = {APPLICATION_ID}"))
                .map_err(|e| error(e, "the file could not be marked as a hive's"))?;
            let snapshot = Snapshot::sqlite(conn, guard, None, &*house.clock);
            let mut tx = Tx::new(snapshot, &house.wakeups);
            guard.within(Scope::Migration, || migrate::up(&mut tx, sets))
        });
        // Whatever became of it: the transaction has ended.
        done.and(foreign_keys(conn, true))?;
    }
    Ok(writing)
}

/// Runs `work` in a transaction, which ends with it.
fn within<T>(conn: &Connection, begin: &'static str, end: &'static str, work: impl FnOnce() -> Result<T>) -> Result<T> {
    let control = |sql: &'static str| {
        conn.execute_batch(sql)
            .map_err(|e| error(e, "the schema could not be brought up to date"))
    };
    control(begin)?;
    let result = work().and_then(|value| control(end).map(|()| value));
    if !conn.is_autocommit() {
        control("ROLLBACK")?;
    }
    result
}

/// Opens the connection that folds the log into the file.
pub(super) fn open_folder(path: &Path) -> Result<Connection> {
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let conn = Connection::open_with_flags(path, flags).map_err(|e| at(e, path))?;
    pragma(&conn, "synchronous", "FULL", "2")?;
    pragma(&conn, "checkpoint_fullfsync", "ON", "1")?;
    expect(&conn, "journal_mode", "wal")?;
    Ok(conn)
}

pub(super) fn open_reader(path: &Path) -> Result<Reading> {
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let mut conn = Connection::open_with_flags(path, flags).map_err(|e| at(e, path))?;
    pragma(&conn, "query_only", "ON", "1")?;
    pragma(&conn, "busy_timeout", "5000", "5000")?;
    pragma(&conn, "cache_size", "-2048", "-2048")?;
    pragma(&conn, "temp_store", "MEMORY", "2")?;
    settle_plans(&conn, path)?;
    conn.set_prepared_statement_cache_capacity(limits::DB_STATEMENTS);
    let guard = Guard::install(&mut conn)?;
    Ok(Reading { conn, guard })
}

/// Opens a database that is in memory and goes with its only connection.
#[cfg(feature = "test-util")]
pub(super) fn open_memory() -> Result<Reading> {
    let opened = |e| error(e, "the database could not be opened");
    let mut conn = Connection::open_in_memory().map_err(opened)?;
    conn.set_db_config(DbConfig::SQLITE_DBCONFIG_DEFENSIVE, true)
        .map_err(opened)?;
    settle_plans(&conn, Path::new(":memory:"))?;
    foreign_keys(&conn, true)?;
    conn.set_prepared_statement_cache_capacity(limits::DB_STATEMENTS);
    let guard = Guard::install(&mut conn)?;
    Ok(Reading { conn, guard })
}

/// A plan goes by the statement and not by the values that are bound. Else a statement that a partial index might serve is planned
/// anew with each value, which takes longer than the statement itself.
fn settle_plans(conn: &Connection, path: &Path) -> Result<()> {
    conn.set_db_config(DbConfig::SQLITE_DBCONFIG_ENABLE_QPSG, true)
        .map(drop)
        .map_err(|e| at(e, path))
}

/// Folds the log into the file and closes it. Without it the next open does the same work.
pub(super) fn close(conn: Connection) -> Result<()> {
    if let Err(error) = fold_all(&conn) {
        abandon(conn)?;
        return Err(error.with_hint("nothing is lost: the next open does it"));
    }
    conn.close()
        .map_err(|(_, e)| error(e, "the database could not be closed"))
}

/// Folds all of the log into the file that readers do not need any more, and cuts the log when that is all of it. Gives
/// whether it is.
fn fold_all(conn: &Connection) -> Result<bool> {
    conn.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |row| row.get::<_, i64>(0))
        .map(|kept| kept == 0)
        .map_err(|e| error(e, "the write-ahead log could not be folded into the file"))
}

/// Closes a connection and leaves the log as it is, for whoever opens the file next to read from its beginning.
///
/// SQLite would fold it by itself at the last close. After a sync has failed that is no good: it goes on from where it
/// believes to be, and takes what the failed sync was to write for written.
pub(super) fn abandon(conn: Connection) -> Result<()> {
    conn.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true)
        .and_then(|_| conn.close().map_err(|(_, e)| e))
        .map_err(|e| error(e, "the database could not be closed"))
}

/// Commits what is there already, over whatever a failed commit has left at the end of the log: read from its beginning, the log
/// would bring it back.
pub(super) fn overwrite_rest(conn: &Connection) -> Result<()> {
    pragma(conn, "synchronous", "FULL", "2")?;
    let done = conn.execute_batch(&format!(
        "BEGIN IMMEDIATE; PRAGMA application_id = {APPLICATION_ID}; COMMIT"
    ));
    if !conn.is_autocommit() {
        run(conn, "ROLLBACK", "a transaction could not be rolled back")?;
    }
    done.map_err(|e| error(e, "the end of the write-ahead log could not be written"))
}

/// Opens for writing what this process had open, and folds the whole log into the file. Nobody may have it open.
pub(super) fn open_again(path: &Path) -> Result<Writing> {
    let writing = open_writer(path)?;
    let folded = configure_writer(&writing.conn).and_then(|()| fold_all(&writing.conn));
    let error = match folded {
        Ok(true) => return Ok(writing),
        Ok(false) => Error::new(ErrorKind::DatabaseLocked, "another program reads the database")
            .with("path", path.display())
            .with_hint("close it there: a sync has failed, and the log must be folded in before anything is written"),
        Err(error) => error,
    };
    abandon(writing.conn)?;
    Err(error)
}

/// Whether a sync failed. What it was to write may be on disk or not, and no later sync writes it.
pub(super) fn is_failed_sync(error: &Error) -> bool {
    error.field("sync").is_some()
}

/// Runs one of the house's own statements, prepared once.
pub(super) fn run(conn: &Connection, sql: &'static str, failing: &'static str) -> Result<()> {
    let done = conn.prepare_cached(sql).and_then(|mut statement| statement.execute([]));
    done.map(drop).map_err(|e| error(e, failing))
}

fn pragma(conn: &Connection, name: &'static str, value: &str, expected: &'static str) -> Result<()> {
    conn.execute_batch(&format!("PRAGMA {name} = {value}"))
        .map_err(|e| error(e, "a database setting was refused"))?;
    expect(conn, name, expected)
}

/// Reads a setting back.
pub(super) fn expect(conn: &Connection, name: &'static str, expected: &'static str) -> Result<()> {
    let text = |row: &rusqlite::Row<'_>| {
        Ok(match row.get_ref(0)? {
            rusqlite::types::ValueRef::Integer(number) => number.to_string(),
            rusqlite::types::ValueRef::Text(text) => String::from_utf8_lossy(text).into_owned(),
            rusqlite::types::ValueRef::Null
            | rusqlite::types::ValueRef::Real(_)
            | rusqlite::types::ValueRef::Blob(_) => String::new(),
        })
    };
    let found: String = conn
        .query_row(&format!("PRAGMA {name}"), [], text)
        .map_err(|e| error(e, "a database setting could not be read back"))?;
    if found == expected {
        return Ok(());
    }
    Err(Error::new(ErrorKind::Storage, "a database setting did not take effect")
        .with("setting", name)
        .with("expected", expected)
        .with("found", found)
        .with_hint("the file system may not support shared memory; put the database on a local disk"))
}

/// An error about the file at `path`.
fn at(source: rusqlite::Error, path: &Path) -> Error {
    error(source, "the database could not be opened").with("path", path.display())
}

/// Names the statement, which is code and so may be shown, unless the error is not the statement's doing.
pub(super) fn with_sql(error: Error, sql: &str) -> Error {
    let innocent = [
        ErrorKind::DiskFull,
        ErrorKind::DatabaseLocked,
        ErrorKind::DatabaseReadOnly,
        ErrorKind::Timeout,
    ];
    if innocent.contains(&error.kind()) {
        error
    } else {
        error.with("sql", one_line(sql))
    }
}

pub(super) fn one_line(sql: &str) -> String {
    sql.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// Sorts SQLite's errors into ours.
pub(super) fn error(source: rusqlite::Error, doing: &'static str) -> Error {
    let wrong = |message| {
        Error::new(ErrorKind::Storage, message)
            .terminal()
            .with_hint("correct the statement; it fails whenever it runs")
    };
    let error = match source.sqlite_error() {
        Some(failure) => match failure.code {
            ErrorCode::NotADatabase => Error::new(ErrorKind::NotADatabase, "the file is not a database"),
            ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked => Error::new(ErrorKind::DatabaseLocked, doing),
            ErrorCode::ReadOnly | ErrorCode::PermissionDenied => Error::new(ErrorKind::DatabaseReadOnly, doing),
            ErrorCode::DiskFull => Error::new(ErrorKind::DiskFull, doing),
            // The shared memory beside the file grows only by writing: what refuses that is a full disk.
            ErrorCode::SystemIoFailure if failure.extended_code == ffi::SQLITE_IOERR_SHMSIZE => {
                Error::new(ErrorKind::DiskFull, doing)
            }
            ErrorCode::DatabaseCorrupt => Error::new(ErrorKind::Corrupt, doing),
            ErrorCode::OperationInterrupted => Error::new(ErrorKind::Timeout, "the query took longer than its limit"),
            ErrorCode::ConstraintViolation if failure.extended_code == ffi::SQLITE_CONSTRAINT_DATATYPE => {
                Error::new(ErrorKind::InvalidInput, "a value is not of its column's type")
            }
            ErrorCode::ConstraintViolation => Error::new(ErrorKind::Conflict, "a constraint refuses the row"),
            ErrorCode::TooBig => Error::new(
                ErrorKind::PayloadTooLarge,
                "a value is larger than the database can hold",
            ),
            ErrorCode::AuthorizationForStatementDenied => {
                Error::new(ErrorKind::InvalidInput, "the statement is not for closures").with_hint(
                    "transactions, savepoints, settings and attached files are the database's own affair; a closure \
                     reads and writes rows",
                )
            }
            ErrorCode::Unknown | ErrorCode::TypeMismatch | ErrorCode::ApiMisuse | ErrorCode::ParameterOutOfRange => {
                wrong(doing)
            }
            ErrorCode::InternalMalfunction
            | ErrorCode::OperationAborted
            | ErrorCode::OutOfMemory
            | ErrorCode::SystemIoFailure
            | ErrorCode::NotFound
            | ErrorCode::CannotOpen
            | ErrorCode::FileLockingProtocolFailed
            | ErrorCode::SchemaChanged
            | ErrorCode::NoLargeFileSupport => Error::new(ErrorKind::Storage, doing),
            _ => Error::new(ErrorKind::Storage, doing),
        },
        None if matches!(source, rusqlite::Error::ToSqlConversionFailure(_)) => {
            Error::new(ErrorKind::InvalidInput, "a value cannot be stored")
        }
        None if is_misread(&source) => Error::new(ErrorKind::Corrupt, doing),
        // What is left are mistakes in the call: bad syntax, the number of parameters, a column that is not there.
        None => wrong(doing),
    };
    let failed = source.sqlite_error().map(|failure| failure.extended_code);
    let error = if matches!(failed, Some(ffi::SQLITE_IOERR_FSYNC | ffi::SQLITE_IOERR_DIR_FSYNC)) {
        error.with("sync", "failed")
    } else {
        error
    };
    error.with_source(source)
}

/// Whether a column held what its type does not allow.
fn is_misread(error: &rusqlite::Error) -> bool {
    matches!(
        error,
        rusqlite::Error::FromSqlConversionFailure(..)
            | rusqlite::Error::IntegralValueOutOfRange(..)
            | rusqlite::Error::InvalidColumnType(..)
            | rusqlite::Error::Utf8Error(..)
    )
}
