//! Batches of closures that succeed and fail in every way, against a map in memory: one that fails undoes only itself.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use hive_errors::{Error, ErrorKind, Result};
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};

use super::{Home, INSERT, batch, items};
use crate::db::Tx;

/// One statement of a closure.
#[derive(Clone, Copy, Debug)]
enum Op {
    /// Refused when the key is taken, and the refusal is passed on.
    Insert(i64),
    /// The same as a part of its own, after which the closure goes on.
    Try(i64),
    /// The same, but the closure takes no notice: it is doomed.
    Ignore(i64),
    Set(i64, i64),
    Delete(i64),
    /// Of several rows at once, which may fail after some of them.
    Fill(i64),
    /// Goes through rows with a statement left unfinished.
    Peek,
    /// A statement that closures may not run; the closure goes on.
    Forbidden(usize),
}

#[derive(Clone, Copy, Debug)]
enum End {
    Keep,
    Fail,
    Panic,
}

const FORBIDDEN: [&str; 9] = [
    "COMMIT",
    "END",
    "ROLLBACK",
    "BEGIN IMMEDIATE",
    "SAVEPOINT part",
    "RELEASE part",
    "ROLLBACK TO part",
    "INSERT OR ROLLBACK INTO item (id, value) VALUES (1, 1)",
    "PRAGMA synchronous = OFF",
];

fn ops() -> impl Strategy<Value = Op> {
    let key = 0..12_i64;
    prop_oneof![
        6 => key.clone().prop_map(Op::Insert),
        3 => key.clone().prop_map(Op::Try),
        1 => key.clone().prop_map(Op::Ignore),
        3 => (key.clone(), any::<i64>()).prop_map(|(id, value)| Op::Set(id, value)),
        2 => key.clone().prop_map(Op::Delete),
        2 => key.prop_map(Op::Fill),
        1 => Just(Op::Peek),
        1 => (0..FORBIDDEN.len()).prop_map(Op::Forbidden),
    ]
}

fn closures() -> impl Strategy<Value = (Vec<Op>, End)> {
    let end = prop_oneof![6 => Just(End::Keep), 2 => Just(End::Fail), 1 => Just(End::Panic)];
    (prop::collection::vec(ops(), 0..6), end)
}

fn run(tx: &mut Tx<'_>, ops: &[Op], end: End) -> Result<()> {
    for op in ops {
        match *op {
            Op::Insert(id) => _ = tx.execute(INSERT, &[&id, &id])?,
            Op::Try(id) => {
                let tried = tx.attempt(|tx| {
                    tx.execute("UPDATE item SET value = -1 WHERE id = ?1", &[&id])?;
                    tx.execute(INSERT, &[&id, &id])
                });
                if let Err(error) = tried
                    && error.field("first").is_some()
                {
                    return Err(error);
                }
            }
            Op::Ignore(id) => _ = tx.execute(INSERT, &[&id, &id]),
            Op::Set(id, value) => _ = tx.execute("UPDATE item SET value = ?2 WHERE id = ?1", &[&id, &value])?,
            Op::Delete(id) => _ = tx.execute("DELETE FROM item WHERE id = ?1", &[&id])?,
            Op::Fill(id) => {
                tx.execute(
                    "INSERT INTO item (id, value) VALUES (?1, 1), (?1 + 1, 1), (?1 + 2, 1)",
                    &[&id],
                )?;
            }
            Op::Peek => _ = tx.query_opt("SELECT id FROM item", &[], |row| row.get::<i64>(0))?,
            Op::Forbidden(index) => {
                let error = tx.attempt(|tx| tx.execute(FORBIDDEN[index], &[])).unwrap_err();
                if error.field("first").is_some() {
                    return Err(error);
                }
                assert_eq!(error.kind(), ErrorKind::InvalidInput, "{}", FORBIDDEN[index]);
            }
        }
    }
    match end {
        End::Keep => Ok(()),
        End::Fail => Err(Error::new(ErrorKind::NotFound, "changed my mind")),
        End::Panic => std::panic::resume_unwind(Box::new("lost my mind")),
    }
}

/// The same in memory; what is returned is the kind of the error.
fn expect(table: &mut BTreeMap<i64, i64>, ops: &[Op], end: End) -> Option<ErrorKind> {
    let before = table.clone();
    let mut failed = match end {
        End::Keep => None,
        End::Fail => Some(ErrorKind::NotFound),
        End::Panic => Some(ErrorKind::Panic),
    };
    let mut doomed = false;
    for op in ops {
        match *op {
            // It takes no notice of being refused either.
            Op::Ignore(_) if doomed => continue,
            _ if doomed => {
                failed = Some(ErrorKind::Conflict);
                break;
            }
            Op::Ignore(id) if table.contains_key(&id) => doomed = true,
            Op::Insert(id) if table.contains_key(&id) => failed = Some(ErrorKind::Conflict),
            Op::Fill(id) if (id..id + 3).any(|id| table.contains_key(&id)) => failed = Some(ErrorKind::Conflict),
            Op::Insert(id) | Op::Try(id) | Op::Ignore(id) => _ = table.entry(id).or_insert(id),
            Op::Fill(id) => table.extend((id..id + 3).map(|id| (id, 1))),
            Op::Set(id, value) => _ = table.entry(id).and_modify(|old| *old = value),
            Op::Delete(id) => _ = table.remove(&id),
            Op::Peek | Op::Forbidden(_) => continue,
        }
        if failed == Some(ErrorKind::Conflict) {
            break;
        }
    }
    if doomed && failed.is_none() {
        failed = Some(ErrorKind::Conflict);
    }
    if failed.is_some() {
        *table = before;
    }
    failed
}

#[test]
fn a_closure_that_fails_undoes_only_itself() {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    let home = Home::new();
    let db = runtime.block_on(home.open());
    let table = std::cell::RefCell::new(BTreeMap::new());
    let batches = prop::collection::vec(prop::collection::vec(closures(), 1..12), 1..4);
    let cases = Config {
        cases: 96,
        failure_persistence: None,
        ..Config::default()
    };
    TestRunner::new(cases)
        .run(&batches, |batches| {
            for closures in batches {
                let hooks = Arc::new(AtomicU64::new(0));
                let works = closures.iter().cloned().enumerate().map(|(index, (ops, end))| {
                    let hooks = Arc::clone(&hooks);
                    move |tx: &mut Tx<'_>| {
                        let hooks = Arc::clone(&hooks);
                        tx.on_commit(move || _ = hooks.fetch_or(1 << index, Ordering::Relaxed));
                        run(tx, &ops, end)
                    }
                });
                let answers = runtime.block_on(batch(&db, works.collect()));
                let mut committed = 0;
                for (index, ((ops, end), answer)) in closures.iter().zip(&answers).enumerate() {
                    let expected = expect(&mut table.borrow_mut(), ops, *end);
                    prop_assert_eq!(answer.as_ref().err().map(Error::kind), expected, "closure {}", index);
                    committed |= u64::from(expected.is_none()) << index;
                }
                prop_assert_eq!(hooks.load(Ordering::Relaxed), committed);
                let found: BTreeMap<i64, i64> = runtime.block_on(items(&db)).into_iter().collect();
                prop_assert_eq!(&found, &*table.borrow());
            }
            Ok(())
        })
        .unwrap();
    runtime.block_on(db.close()).unwrap();
}
