//! What a closure's SQL may not do. Closures of one commit share its transaction, and the transaction belongs to the house:
//! none may end it, open another, or change what durability rests on.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU8, Ordering};

use hive_errors::{Error, ErrorKind, Result};
use rusqlite::Connection;
use rusqlite::ffi::{SQLITE_ATTACH, SQLITE_DETACH};
use rusqlite::hooks::{AuthAction, Authorization};

use super::sqlite;

/// Whose SQL runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(super) enum Scope {
    /// This module's own.
    House,
    /// A closure's.
    Closure,
    /// A migration's, which has its commit to itself.
    Migration,
}

/// Asked by SQLite whenever it prepares a statement of one connection.
#[derive(Debug)]
pub(super) struct Guard {
    shared: Arc<Shared>,
}

#[derive(Debug, Default)]
struct Shared {
    scope: AtomicU8,
    /// Set when something was prepared, so that only new texts are looked at.
    prepared: AtomicBool,
}

/// PRAGMAs that take an argument and change nothing.
const READING: [&str; 10] = [
    "foreign_key_check",
    "foreign_key_list",
    "index_info",
    "index_list",
    "index_xinfo",
    "integrity_check",
    "quick_check",
    "table_info",
    "table_list",
    "table_xinfo",
];

/// PRAGMAs that a migration may set: they are part of its transaction.
const MIGRATING: [&str; 1] = ["user_version"];

/// Words that, in this order, undo or fail the whole transaction instead of one closure's part.
const BREAKING: [[&str; 2]; 4] = [
    ["OR", "ROLLBACK"],
    ["CONFLICT", "ROLLBACK"],
    ["RAISE", "ROLLBACK"],
    ["INITIALLY", "DEFERRED"],
];

impl Guard {
    pub(super) fn install(conn: &mut Connection) -> Result<Self> {
        let shared = Arc::new(Shared::default());
        let asked = Arc::clone(&shared);
        conn.authorizer(Some(move |asking: rusqlite::hooks::AuthContext<'_>| {
            // Both run on the thread that holds the connection; the atomics only satisfy the compiler.
            asked.prepared.store(true, Ordering::Relaxed);
            let scope = asked.scope.load(Ordering::Relaxed);
            if allows(scope, &asking.action) {
                Authorization::Allow
            } else {
                Authorization::Deny
            }
        }))
        .map_err(|e| sqlite::error(e, "the connection could not be guarded"))?;
        Ok(Self { shared })
    }

    /// Runs `work` with `scope` in force. It must not unwind.
    pub(super) fn within<T>(&self, scope: Scope, work: impl FnOnce() -> T) -> T {
        let before = self.shared.scope.swap(scope as u8, Ordering::Relaxed);
        let value = work();
        self.shared.scope.store(before, Ordering::Relaxed);
        value
    }

    /// Refuses `sql`, which has just been prepared, when it can break the transaction that other closures share.
    pub(super) fn inspect(&self, sql: &str) -> Result<()> {
        if self.shared.prepared.swap(false, Ordering::Relaxed) {
            refuse_breaking(sql)
        } else {
            Ok(())
        }
    }
}

fn allows(scope: u8, action: &AuthAction<'_>) -> bool {
    if scope == Scope::House as u8 {
        return true;
    }
    if let AuthAction::Pragma {
        pragma_name,
        pragma_value,
    } = action
    {
        let among = |names: &[&str]| names.iter().any(|name| pragma_name.eq_ignore_ascii_case(name));
        return pragma_value.is_none() || among(&READING) || (scope == Scope::Migration as u8 && among(&MIGRATING));
    }
    !matches!(
        action,
        AuthAction::Transaction { .. }
            | AuthAction::Savepoint { .. }
            | AuthAction::Attach { .. }
            | AuthAction::Detach { .. }
            // The same, with the name in a parameter.
            | AuthAction::Unknown { code: SQLITE_ATTACH | SQLITE_DETACH, .. }
    )
}

/// Refuses SQL that, failing, would undo the work of other closures too.
///
/// SQLite does not tell in advance, so the text is searched. That errs on the safe side where a literal holds the words.
pub(super) fn refuse_breaking(sql: &str) -> Result<()> {
    let words = sql
        .split(|c: char| !c.is_ascii_alphanumeric() && c != '_')
        .filter(|word| !word.is_empty());
    let mut last = "";
    for word in words {
        let found = |pair: &&[&str; 2]| last.eq_ignore_ascii_case(pair[0]) && word.eq_ignore_ascii_case(pair[1]);
        if let Some([first, second]) = BREAKING.iter().find(found) {
            return Err(Error::new(
                ErrorKind::InvalidInput,
                "the statement could undo the work of other closures",
            )
            .with("words", format_args!("{first} {second}"))
            .with("sql", sqlite::one_line(sql))
            .with_hint("closures share a transaction: use ABORT in place of ROLLBACK, and immediate foreign keys"));
        }
        last = word;
    }
    Ok(())
}
