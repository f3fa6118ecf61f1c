use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use hive_errors::{Error, ErrorKind, Result};

use super::super::error::Fate;
use super::super::{Begin, Config, Isolation, Link, Timeouts, column};
use super::{config, database, link, soon, with_table, writing};
use crate::db::deadline::Deadline;
use crate::db::value::{ToValue, Value};
use crate::limits;
use crate::testing::Postgres;

/// What `sql` answers, a value per row.
fn ints(link: &mut Link, sql: &str, params: &[&dyn ToValue]) -> Result<Vec<i64>> {
    let rows = link.query(sql, params)?;
    rows.iter()
        .map(|row| {
            let Value::Int(number) = column(row, 0)? else {
                panic!("not a whole number")
            };
            Ok(number)
        })
        .collect()
}

fn keys(link: &mut Link) -> Vec<i64> {
    let found = keys_held(link);
    link.rollback();
    found
}

/// By a read that is left open.
fn keys_held(link: &mut Link) -> Vec<i64> {
    link.begin(Begin::read(), soon());
    ints(link, "SELECT k FROM t ORDER BY k", &[]).unwrap()
}

fn insert(link: &mut Link, key: i64) -> Result<usize> {
    link.execute("INSERT INTO t (k) VALUES (?1)", &[&key])
}

#[test]
fn what_is_committed_stays_and_the_rest_does_not() {
    let url = database();
    let mut link = with_table(&url);
    link.begin(Begin::write(), soon());
    assert_eq!(insert(&mut link, 1).unwrap(), 1);
    link.commit().unwrap();
    link.begin(Begin::write(), soon());
    insert(&mut link, 2).unwrap();
    link.rollback();
    // Beginning anew undoes what was left open.
    link.begin(Begin::write(), soon());
    insert(&mut link, 3).unwrap();
    assert_eq!(keys(&mut link), [1]);
    assert!(!link.is_broken());
}

#[test]
fn an_error_dooms_the_transaction() {
    let url = database();
    let mut link = with_table(&url);
    link.begin(Begin::write(), soon());
    insert(&mut link, 1).unwrap();
    let first = insert(&mut link, 1).unwrap_err();
    assert_eq!(
        (first.kind(), first.field("constraint")),
        (ErrorKind::Conflict, Some("t_pkey"))
    );
    assert_eq!(link.fate(), Some(Fate::Failed));
    assert_eq!(insert(&mut link, 2).unwrap_err().kind(), ErrorKind::Conflict);
    // The server would answer a commit with a silent rollback.
    assert_eq!(link.commit().map(|_| ()).unwrap_err().kind(), ErrorKind::Conflict);
    assert_eq!(keys(&mut link), [0; 0]);
}

#[test]
fn a_part_is_undone_alone() {
    let url = database();
    let mut link = with_table(&url);
    let ran = Arc::new(AtomicUsize::new(0));
    let hook = |add: usize| {
        let ran = Arc::clone(&ran);
        Box::new(move || {
            ran.fetch_add(add, Ordering::Relaxed);
        })
    };
    link.begin(Begin::write(), soon());
    // Set and undone without a statement: the server never hears of it.
    link.savepoint();
    link.savepoint();
    link.rollback_to().unwrap();
    link.release().unwrap();
    link.savepoint();
    insert(&mut link, 1).unwrap();
    link.on_commit(hook(1));
    link.release().unwrap();
    link.savepoint();
    link.on_commit(hook(10));
    insert(&mut link, 2).unwrap();
    insert(&mut link, 1).unwrap_err();
    link.rollback_to().unwrap();
    link.savepoint();
    insert(&mut link, 3).unwrap();
    link.savepoint();
    insert(&mut link, 4).unwrap();
    link.rollback_to().unwrap();
    link.release().unwrap();
    // A value that does not fit is refused before it is sent, and undone like any other.
    link.savepoint();
    link.execute("INSERT INTO t (k) VALUES (?1)", &[&"five"]).unwrap_err();
    link.rollback_to().unwrap();
    // Undone last, with the commit as the next thing said.
    link.savepoint();
    insert(&mut link, 6).unwrap();
    link.rollback_to().unwrap();
    link.on_commit(hook(100));
    link.commit().unwrap().into_iter().for_each(|hook| hook());
    assert_eq!(ran.load(Ordering::Relaxed), 101);
    assert_eq!(keys(&mut link), [1, 3]);
}

#[test]
fn a_read_cannot_write() {
    let url = database();
    let mut link = with_table(&url);
    link.begin(Begin::read(), soon());
    assert_eq!(insert(&mut link, 1).unwrap_err().kind(), ErrorKind::InvalidInput);
    link.rollback();
    // Nor can a statement that has lost its transaction: what begins one may be cancelled from outside.
    let read_only = link.client().batch_execute("INSERT INTO t (k) VALUES (1)");
    let refused = link.wait(Duration::from_secs(5), read_only).unwrap().unwrap_err();
    assert_eq!(refused.code().unwrap().code(), "25006");
    assert_eq!(keys(&mut link), [0; 0]);
}

#[test]
fn the_end_of_a_read_is_told_with_what_comes_next() {
    let url = database();
    let mut link = with_table(&url);
    link.begin(Begin::read(), soon());
    let pid = ints(&mut link, "SELECT pg_backend_pid()", &[]).unwrap()[0];
    let state = format!("SELECT state FROM pg_stat_activity WHERE pid = {pid}");
    let state = || Postgres::shared().sql(&url, &state);
    let other = |sql: &str| Postgres::shared().sql(&url, sql);
    assert_eq!(state(), "idle in transaction");
    // What comes next sees what was committed since, and may do what a read may not.
    other("INSERT INTO t (k) VALUES (1)");
    link.begin(Begin::read(), soon());
    assert_eq!(ints(&mut link, "SELECT k FROM t", &[]).unwrap(), [1]);
    other("INSERT INTO t (k) VALUES (2)");
    link.begin(Begin::write(), soon());
    link.savepoint();
    assert_eq!(ints(&mut link, "SELECT k FROM t ORDER BY k", &[]).unwrap(), [1, 2]);
    insert(&mut link, 3).unwrap();
    link.rollback_to().unwrap();
    insert(&mut link, 4).unwrap();
    link.commit().unwrap();
    assert_eq!(state(), "idle");
    // Also when nothing is said in what comes next, however it ends.
    for end in [|link: &mut Link| drop(link.commit().unwrap()), Link::rollback] {
        assert_eq!(keys_held(&mut link), [1, 2, 4]);
        link.begin(Begin::write(), soon());
        assert_eq!(state(), "idle in transaction");
        end(&mut link);
        assert_eq!(state(), "idle");
    }
    // Nor does a failure hide it.
    assert_eq!(keys_held(&mut link), [1, 2, 4]);
    link.begin(Begin::write(), soon());
    link.query("COMMIT", &[]).unwrap_err();
    link.rollback();
    assert_eq!(state(), "idle");
    // It takes the connection with it when it cannot be told.
    assert_eq!(keys_held(&mut link), [1, 2, 4]);
    other(&format!("SELECT pg_terminate_backend({pid})"));
    link.begin(Begin::write(), soon());
    let error = insert(&mut link, 5).unwrap_err();
    assert_eq!((error.kind(), link.fate()), (ErrorKind::Storage, Some(Fate::Lost)));
    assert!(link.is_broken());
}

#[test]
fn transactions_that_collide_say_so() {
    let url = database();
    let mut one = with_table(&url);
    let mut two = link(&url);
    for link in [&mut one, &mut two] {
        link.begin(Begin::write(), soon());
        assert_eq!(ints(link, "SELECT count(*) FROM t", &[]).unwrap(), [0]);
    }
    insert(&mut one, 1).unwrap();
    insert(&mut two, 2).unwrap();
    one.commit().unwrap();
    let error = two.commit().map(|_| ()).unwrap_err();
    assert_eq!((error.kind(), error.is_retryable()), (ErrorKind::Conflict, true));
    assert_eq!(two.fate(), Some(Fate::Collided));
    assert_eq!(keys(&mut two), [1]);
}

#[test]
fn isolation_is_as_asked() {
    let url = database();
    let mut one = with_table(&url);
    let mut two = link(&url);
    for (isolation, sees) in [(Isolation::ReadCommitted, 1), (Isolation::RepeatableRead, 0)] {
        two.begin(
            Begin {
                isolation,
                ..Begin::write()
            },
            soon(),
        );
        assert_eq!(ints(&mut two, "SELECT count(*) FROM t", &[]).unwrap(), [0]);
        one.begin(Begin::write(), soon());
        insert(&mut one, 1).unwrap();
        one.commit().unwrap();
        assert_eq!(ints(&mut two, "SELECT count(*) FROM t", &[]).unwrap(), [sees]);
        two.rollback();
        one.begin(Begin::write(), soon());
        one.execute("DELETE FROM t", &[]).unwrap();
        one.commit().unwrap();
    }
}

#[test]
fn relaxed_is_for_one_transaction_only() {
    let url = database();
    let mut link = with_table(&url);
    let setting = |link: &mut Link, begin: Begin| {
        link.begin(begin, soon());
        let rows = link.query("SELECT current_setting('synchronous_commit')", &[]).unwrap();
        let Value::Text(setting) = column(&rows[0], 0).unwrap() else {
            panic!()
        };
        let setting = setting.to_owned();
        link.commit().unwrap();
        setting
    };
    assert_eq!(
        setting(
            &mut link,
            Begin {
                relaxed: true,
                ..Begin::write()
            }
        ),
        "off"
    );
    assert_eq!(setting(&mut link, Begin::write()), "on");
}

#[test]
fn a_deadline_ends_what_runs() {
    let url = database();
    let mut link = with_table(&url);
    link.begin(Begin::write(), Deadline::after(Duration::from_millis(100)));
    insert(&mut link, 1).unwrap();
    let error = link.query("SELECT pg_sleep(60)", &[]).unwrap_err();
    assert_eq!(
        (error.kind(), error.field("limit_ms")),
        (ErrorKind::Timeout, Some("100"))
    );
    assert_eq!(link.fate(), Some(Fate::Overdue));
    assert!(link.is_broken());
    // No savepoint brings it back.
    link.savepoint();
    assert_eq!(link.rollback_to().unwrap_err().kind(), ErrorKind::Timeout);
    let mut other = super::link(&url);
    assert_eq!(keys(&mut other), [0; 0]);
}

#[test]
fn the_server_has_limits_of_its_own() {
    let url = database();
    let timeouts = Timeouts {
        statement: Duration::from_millis(50),
        ..Timeouts::default()
    };
    let mut link = Link::connect(&Arc::new(Config::parse(&url, timeouts).unwrap()), soon()).unwrap();
    link.begin(Begin::write(), soon());
    assert_eq!(
        link.query("SELECT pg_sleep(60)", &[]).unwrap_err().kind(),
        ErrorKind::Timeout
    );
    assert!(!link.is_broken());
    let unhurried = Begin {
        unhurried: true,
        ..Begin::write()
    };
    link.begin(unhurried, soon());
    link.query("SELECT pg_sleep(0.1)", &[]).unwrap();
}

#[test]
fn a_connection_that_ended_is_noticed() {
    let url = database();
    let mut one = with_table(&url);
    let mut two = writing(&url);
    let pid = ints(&mut two, "SELECT pg_backend_pid()", &[]).unwrap();
    insert(&mut two, 1).unwrap();
    one.begin(Begin::write(), soon());
    one.query("SELECT pg_terminate_backend(CAST(?1 AS int4))", &[&pid[0]])
        .unwrap();
    one.commit().unwrap();
    while !two.client().is_closed() {
        two.wait(Duration::from_millis(10), std::future::pending::<()>());
    }
    // Known to be lost before the commit was sent, so nothing is in doubt.
    let error = two.commit().map(|_| ()).unwrap_err();
    assert_eq!((error.kind(), error.is_retryable()), (ErrorKind::Storage, true));
    assert_eq!(two.fate(), Some(Fate::Lost));
    assert!(two.is_broken());
    assert_eq!(keys(&mut one), [0; 0]);
}

#[test]
fn prepared_statements_are_kept_within_bounds_and_forgotten_when_stale() {
    let url = database();
    let mut link = with_table(&url);
    link.begin(Begin::write(), soon());
    for number in 0..limits::DB_STATEMENTS + 10 {
        ints(&mut link, &format!("SELECT CAST(?1 AS INTEGER) + {number}"), &[&1]).unwrap();
    }
    assert_eq!(link.statements().len(), limits::DB_STATEMENTS);
    assert_eq!(link.query("SELECT * FROM t", &[]).unwrap().len(), 0);
    link.commit().unwrap();
    // Somebody else changes the table behind the statement.
    let mut other = writing(&url);
    other.batch("ALTER TABLE t ADD COLUMN more BLOB").unwrap();
    other.commit().unwrap();
    link.begin(Begin::write(), soon());
    link.query("SELECT * FROM t", &[]).unwrap_err();
    assert_eq!(link.fate(), Some(Fate::Stale));
    link.begin(Begin::write(), soon());
    assert_eq!(link.query("SELECT * FROM t", &[]).unwrap().len(), 0);
}

#[test]
fn wrong_statements_are_told_apart() {
    let url = database();
    let mut link = with_table(&url);
    let mut kind = |sql: &str, params: &[&dyn ToValue]| {
        link.begin(Begin::write(), soon());
        let error = link.query(sql, params).unwrap_err();
        (error.code(), error.is_retryable())
    };
    assert_eq!(kind("SELEC 1", &[]), ("storage", false));
    assert_eq!(kind("SELECT * FROM nowhere", &[]), ("storage", false));
    assert_eq!(kind("SELECT k FROM t WHERE k = ?1", &[]), ("storage", false));
    assert_eq!(kind("SELECT 1; SELECT 2", &[]), ("storage", false));
    assert_eq!(kind("COMMIT", &[]), ("invalid-input", false));
    assert_eq!(kind("SELECT 1 / 0", &[]), ("invalid-input", false));
    assert_eq!(
        kind("INSERT INTO t (k) VALUES (?1)", &[&"one"]),
        ("invalid-input", false)
    );
    assert_eq!(
        kind("INSERT INTO t (v) VALUES (?1)", &[&"N\0L"]),
        ("invalid-input", false)
    );
}

#[test]
fn an_answer_has_a_bound() {
    let url = database();
    let mut link = writing(&url);
    let sql = format!(
        "SELECT repeat('x', 1 << 20) FROM generate_series(1, {})",
        (limits::DB_ANSWER_BYTES_MAX >> 20) + 1
    );
    let error = link.query(&sql, &[]).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::LimitReached);
}

#[test]
fn connecting_says_what_is_wrong() {
    let url = database();
    let failed = |url: &str| -> Error { Link::connect(&config(url), soon()).unwrap_err() };
    let wrong = url.replacen(':', "\0", 1).replacen(':', ":x", 1).replacen('\0', ":", 1);
    let error = failed(&wrong);
    assert_eq!(
        (error.kind(), error.is_retryable()),
        (ErrorKind::Config, false),
        "{error:?}"
    );
    let base = url.rsplit_once('/').unwrap().0;
    assert_eq!(failed(&format!("{base}/nowhere")).kind(), ErrorKind::Config);
    let error = failed("postgres://hive:topsecret@127.0.0.1:1/x");
    assert_eq!((error.kind(), error.is_retryable()), (ErrorKind::Storage, true));
    assert!(!format!("{error:?} {:?}", config("postgres://hive:topsecret@127.0.0.1:1/x")).contains("topsecret"));
}
