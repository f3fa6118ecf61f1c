//! One SQL text for two engines: what PostgreSQL must see in place of what was written, and what neither may be told.
//!
//! The text is cut into tokens by PostgreSQL's own rules, so that nothing within literals, quoted names or comments is
//! ever taken for SQL.

use std::borrow::Cow;

use hive_errors::{Error, ErrorKind, Result};

mod ddl;
mod token;
#[cfg(test)]
mod tests;

use token::{Kind, Token};

/// `sql` as PostgreSQL understands it.
///
/// - `?1` becomes `$1`; a bare `?` stays, which PostgreSQL refuses unless it is one of its operators.
/// - `X'00ff'` becomes `'\x00ff'::bytea`.
/// - `CAST(x AS INTEGER)` casts to `BIGINT`, `REAL` to `DOUBLE PRECISION`, `BLOB` to `BYTEA`.
/// - In `CREATE TABLE` and `ALTER TABLE … ADD`, columns of the same types likewise; `TEXT` compares by bytes (`COLLATE "C"`);
///   `INTEGER PRIMARY KEY` counts by itself; `AUTOINCREMENT`, `STRICT` and `WITHOUT ROWID` are dropped.
///
/// It does not become another statement: functions, operators and clauses that only one engine knows stay as they are.
pub(super) fn postgres(sql: &str) -> Cow<'_, str> {
    let tokens = token::cut(sql);
    let mut words: Vec<Cow<'_, str>> = tokens.iter().map(|token| Cow::Borrowed(token.text)).collect();
    for (token, word) in tokens.iter().zip(&mut words) {
        match token.kind {
            Kind::Param => *word = Cow::Owned(token.text.replacen('?', "$", 1)),
            Kind::Hex => {
                let digits = token.text.get(2..).and_then(|rest| rest.strip_suffix('\''));
                if let Some(digits) = digits.filter(|digits| digits.bytes().all(|b| b.is_ascii_hexdigit())) {
                    *word = Cow::Owned(format!("'\\x{digits}'::bytea"));
                }
            }
            Kind::Space | Kind::Word | Kind::Quoted | Kind::Text | Kind::Number | Kind::Symbol => {}
        }
    }
    let telling = Token::telling(&tokens);
    casts(&telling, &mut words);
    for statement in split(&telling) {
        ddl::rewrite(statement, &mut words);
    }
    if words.iter().all(|word| matches!(word, Cow::Borrowed(_))) {
        return Cow::Borrowed(sql);
    }
    Cow::Owned(words.concat())
}

/// Refuses SQL that would end the transaction, open another, or change the session that later closures inherit.
///
/// # Errors
/// `invalid-input` with the word that is not for closures.
pub(super) fn refuse_control(sql: &str) -> Result<()> {
    let tokens = token::cut(sql);
    let telling = Token::telling(&tokens);
    for statement in split(&telling) {
        let first = statement.first().filter(|first| first.is_among(&CONTROL));
        let called = || statement.iter().find(|token| token.is_name_among(&LASTING));
        if let Some(found) = first.or_else(called) {
            return Err(Error::new(ErrorKind::InvalidInput, "the statement is not for closures")
                .with("word", found.text)
                .with("sql", one_line(sql))
                .with_hint(
                    "transactions, savepoints, settings and session locks are the database's own affair; a closure \
                         reads and writes rows",
                ));
        }
    }
    Ok(())
}

/// First words of statements that belong to the house.
const CONTROL: [&str; 29] = [
    "ABORT",
    "BEGIN",
    "CALL",
    "CHECKPOINT",
    "CLOSE",
    "CLUSTER",
    "COMMIT",
    "COPY",
    "DEALLOCATE",
    "DECLARE",
    "DISCARD",
    "DO",
    "END",
    "EXECUTE",
    "FETCH",
    "LISTEN",
    "LOAD",
    "MOVE",
    "NOTIFY",
    "PREPARE",
    "REASSIGN",
    "RELEASE",
    "RESET",
    "ROLLBACK",
    "SAVEPOINT",
    "SET",
    "START",
    "UNLISTEN",
    "VACUUM",
];

/// Functions whose effect outlives the transaction and meets whoever is given the connection next.
const LASTING: [&str; 9] = [
    "set_config",
    "pg_advisory_lock",
    "pg_advisory_lock_shared",
    "pg_try_advisory_lock",
    "pg_try_advisory_lock_shared",
    "pg_advisory_unlock",
    "pg_advisory_unlock_shared",
    "pg_advisory_unlock_all",
    "pg_reload_conf",
];

/// The text on one line, as error messages show it.
pub(super) fn one_line(sql: &str) -> String {
    sql.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// Cuts at the semicolons that end statements: not at those in the body of a function or trigger.
fn split<'t, 's>(telling: &'t [Token<'s>]) -> Vec<&'t [Token<'s>]> {
    let mut parts = Vec::new();
    let mut begun = 0;
    let (mut creating, mut nested) = (false, 0_usize);
    for (index, token) in telling.iter().enumerate() {
        if index == begun {
            creating = token.is("CREATE");
            nested = 0;
        }
        if creating && (token.is("BEGIN") || (nested > 0 && token.is("CASE"))) {
            nested += 1;
        } else if token.is("END") {
            nested = nested.saturating_sub(1);
        } else if token.is(";") && nested == 0 {
            parts.push(telling.get(begun..index).unwrap_or_default());
            begun = index + 1;
        }
    }
    parts.push(telling.get(begun..).unwrap_or_default());
    parts.retain(|part| !part.is_empty());
    parts
}

/// Maps the type in each `CAST(… AS type)`.
fn casts(telling: &[Token<'_>], words: &mut [Cow<'_, str>]) {
    // For each open parenthesis, whether it is a cast's.
    let mut open = Vec::new();
    for (index, token) in telling.iter().enumerate() {
        let before = index.checked_sub(1).and_then(|before| telling.get(before));
        if token.is("(") {
            open.push(before.is_some_and(|before| before.is("CAST")));
        } else if token.is(")") {
            open.pop();
        } else if before.is_some_and(|before| before.is("AS"))
            && open.last() == Some(&true)
            && let (Some(name), Some(word)) = (ddl::type_name(token), words.get_mut(token.index))
        {
            *word = Cow::Owned(name.to_owned());
        }
    }
}
