//! SQLite connections: how they are opened, which PRAGMAs hold, what its errors mean.

use std::path::Path;

use hive_errors::{Error, ErrorKind, Result};
use rusqlite::{Connection, ErrorCode, OpenFlags};

use crate::limits;

/// `HIVE` in ASCII: tells a hive's file from any other SQLite database.
pub(super) const APPLICATION_ID: i64 = 0x4849_5645;

/// Opens for writing and checks that the file is a hive's, or empty. Changes nothing yet.
pub(super) fn open_writer(path: &Path) -> Result<Connection> {
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_CREATE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let conn = Connection::open_with_flags(path, flags).map_err(|e| at(e, path))?;
    // The first read is what makes SQLite look at the header.
    let tables: i64 = conn.query_row("SELECT count(*) FROM sqlite_schema", [], |row| row.get(0)).map_err(|e| at(e, path))?;
    let id: i64 = conn.query_row("PRAGMA application_id", [], |row| row.get(0)).map_err(|e| at(e, path))?;
    if id != APPLICATION_ID && (id != 0 || tables != 0) {
        return Err(Error::new(ErrorKind::NotADatabase, "the file is a SQLite database of another application")
            .with("path", path.display())
            .with("application_id", id)
            .with_hint("give a path of its own for the hive; it never writes into a database it did not make"));
    }
    // SQLite falls back to reading without a word when it may not write.
    if conn.is_readonly("main").map_err(|e| at(e, path))? {
        return Err(Error::new(ErrorKind::DatabaseReadOnly, "the database file cannot be written")
            .with("path", path.display()));
    }
    conn.set_prepared_statement_cache_capacity(limits::DB_STATEMENTS);
    Ok(conn)
}

/// Sets what durability and concurrency rest on, and reads each setting back: SQLite ignores a misspelt one.
pub(super) fn configure_writer(conn: &Connection) -> Result<()> {
    pragma(conn, "journal_mode", "WAL", "wal")?;
    pragma(conn, "synchronous", "FULL", "2")?;
    pragma(conn, "foreign_keys", "ON", "1")?;
    pragma(conn, "busy_timeout", "5000", "5000")?;
    pragma(conn, "cache_size", "-8192", "-8192")?;
    pragma(conn, "temp_store", "MEMORY", "2")
}

pub(super) fn open_reader(path: &Path) -> Result<Connection> {
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let conn = Connection::open_with_flags(path, flags).map_err(|e| at(e, path))?;
    pragma(&conn, "query_only", "ON", "1")?;
    pragma(&conn, "busy_timeout", "5000", "5000")?;
    pragma(&conn, "cache_size", "-2048", "-2048")?;
    conn.set_prepared_statement_cache_capacity(limits::DB_STATEMENTS);
    Ok(conn)
}

fn pragma(conn: &Connection, name: &'static str, value: &str, expected: &'static str) -> Result<()> {
    let text = |row: &rusqlite::Row<'_>| {
        Ok(match row.get_ref(0)? {
            rusqlite::types::ValueRef::Integer(number) => number.to_string(),
            rusqlite::types::ValueRef::Text(text) => String::from_utf8_lossy(text).into_owned(),
            rusqlite::types::ValueRef::Null
            | rusqlite::types::ValueRef::Real(_)
            | rusqlite::types::ValueRef::Blob(_) => String::new(),
        })
    };
    conn.execute_batch(&format!("PRAGMA {name} = {value}")).map_err(|e| error(e, "a database setting was refused"))?;
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

/// An error of the statement `sql`, which is code and so may be shown.
pub(super) fn sql_error(source: rusqlite::Error, sql: &str) -> Error {
    let error = error(source, "a statement failed");
    // Full disks, timeouts and refused rows are not the statement's doing.
    if [ErrorKind::DiskFull, ErrorKind::Timeout, ErrorKind::Conflict].contains(&error.kind()) {
        return error;
    }
    error.with("sql", sql.split_whitespace().collect::<Vec<_>>().join(" "))
}

/// Sorts SQLite's errors into ours.
pub(super) fn error(source: rusqlite::Error, doing: &'static str) -> Error {
    let (kind, message) = match source.sqlite_error_code() {
        Some(ErrorCode::NotADatabase) => (ErrorKind::NotADatabase, "the file is not a database"),
        Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => (ErrorKind::DatabaseLocked, doing),
        Some(ErrorCode::ReadOnly) => (ErrorKind::DatabaseReadOnly, doing),
        Some(ErrorCode::DiskFull) => (ErrorKind::DiskFull, doing),
        Some(ErrorCode::DatabaseCorrupt) => (ErrorKind::Corrupt, doing),
        Some(ErrorCode::OperationInterrupted) => (ErrorKind::Timeout, "the query took longer than its limit"),
        Some(ErrorCode::ConstraintViolation) => (ErrorKind::Conflict, "a constraint refuses the row"),
        Some(_) | None => (ErrorKind::Storage, doing),
    };
    Error::new(kind, message).with_source(source)
}
