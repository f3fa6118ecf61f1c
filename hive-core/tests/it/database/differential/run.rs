//! Runs a program and writes down what can be seen.

use std::sync::{Arc, Mutex};

use hive_core::db::{Cell, Db, Row, Snapshot, ToValue, Tx, Write};
use hive_errors::{Error, ErrorKind, Result};

use super::program::{Act, Call, End, How, Mode, Program, Statement};
use super::statements::{SETS, TELLING};
use crate::database::suite::Any;

/// What somebody outside can tell.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Seen {
    Count(usize),
    Rows(Vec<Vec<Cell>>),
    /// Which rows were given a key.
    Keys(Vec<bool>),
    /// What each column was as another type.
    Misread(Vec<Result<String, ErrorKind>>),
    Failed(ErrorKind),
    /// How an attempt ended.
    Attempt(Option<ErrorKind>),
    /// How a call ended.
    Call(Option<ErrorKind>),
    /// Hooks that ran, by number.
    Hooks(Vec<usize>),
    Woken(bool),
    Table(&'static str, Vec<Vec<Cell>>),
}

type Log = Vec<Seen>;

const CHANNEL: &str = "differential";

const TABLES: [&str; 4] = [
    "SELECT id, name, size, weight, body FROM item ORDER BY id",
    "SELECT item, place, note FROM part ORDER BY item, place",
    "SELECT id, item, note FROM leaf ORDER BY id",
    // Generated keys have gaps where a closure was undone, and which depends on the engine.
    "SELECT n FROM tally ORDER BY n",
];

pub(super) async fn run(db: &Db, program: &Program) -> Log {
    db.write(|tx| {
        for table in ["tally", "leaf", "part", "item"] {
            tx.execute(&format!("DELETE FROM {table}"), &[])?;
        }
        Ok(())
    })
    .await
    .unwrap();
    let mut log = Log::new();
    let mut wakes = db.listen(CHANNEL);
    for call in program {
        log.extend(one(db, call).await);
        log.push(Seen::Woken(wakes.wait(std::time::Duration::ZERO).await));
    }
    let tables = db.read(|db| {
        TABLES
            .map(|sql| Ok(Seen::Table(sql, all(db, sql, &[])?)))
            .into_iter()
            .collect()
    });
    let tables: Vec<Seen> = tables.await.unwrap();
    log.extend(tables);
    log
}

async fn one(db: &Db, call: &Call) -> Log {
    // A closure may run again; what it saw the last time is what counts.
    let shared: Arc<Mutex<Log>> = Arc::default();
    let hooks: Arc<Mutex<Vec<usize>>> = Arc::default();
    let ended = match call.clone() {
        Call::Write { mode, acts, end } => {
            let asked = match mode {
                Mode::Durable => Write::durable(),
                Mode::Relaxed => Write::relaxed(),
                Mode::ReadCommitted => Write::durable().read_committed(),
            };
            let (log, hooks) = (Arc::clone(&shared), Arc::clone(&hooks));
            db.write_with(asked, move |tx| {
                let mut run = Run {
                    log: Log::new(),
                    hooks: Arc::clone(&hooks),
                    next_hook: 0,
                };
                let done = run
                    .acts(tx, &acts)
                    .and_then(|()| finish(end, || *log.lock().unwrap() = run.log.clone()));
                *log.lock().unwrap() = run.log;
                done
            })
            .await
        }
        Call::Read { acts, end } => {
            let log = Arc::clone(&shared);
            db.read(move |db| {
                let mut seen = Log::new();
                let done = acts.iter().try_for_each(|act| match act {
                    Act::Run {
                        statement,
                        how,
                        goes_on,
                    } => note(&mut seen, query(db, statement, *how), *goes_on),
                    other @ (Act::InsertAll { .. } | Act::Attempt { .. } | Act::Hook | Act::Notify) => {
                        panic!("no part of a read: {other:?}")
                    }
                });
                let done = done.and_then(|()| finish(end, || *log.lock().unwrap() = seen.clone()));
                *log.lock().unwrap() = seen;
                done
            })
            .await
        }
        Call::Append { set, row } if set == TELLING => {
            let key = db.append_returning(SETS[set].0, row).await;
            key.map(|key| shared.lock().unwrap().push(keys(&[key])))
        }
        Call::Append { set, row } => db.append(SETS[set].0, row).await,
    };
    let mut log = std::mem::take(&mut *shared.lock().unwrap());
    log.push(Seen::Hooks(std::mem::take(&mut *hooks.lock().unwrap())));
    log.push(Seen::Call(ended.err().map(|error| error.kind())));
    log
}

/// Whether PostgreSQL shows what SQLite does.
pub(super) fn alike(sqlite: &Seen, postgres: &Seen) -> bool {
    // A wake-up must come when it is due, and may come when it is not: a server's listener wakes everybody when it connects.
    sqlite == postgres || matches!((sqlite, postgres), (Seen::Woken(false), Seen::Woken(true)))
}

/// How many calls of a program ended well.
pub(super) fn kept(log: &[Seen]) -> u64 {
    log.iter().filter(|seen| **seen == Seen::Call(None)).count() as u64
}

fn finish(end: End, before_panic: impl FnOnce()) -> Result<()> {
    match end {
        End::Keep => Ok(()),
        End::Fail => Err(Error::new(ErrorKind::BudgetExhausted, "changed my mind")),
        End::Panic => {
            before_panic();
            std::panic::resume_unwind(Box::new("lost my mind"))
        }
    }
}

/// Writes down what came of an act, and says whether the closure goes on.
fn note(log: &mut Log, seen: Result<Seen>, goes_on: bool) -> Result<()> {
    match seen {
        Ok(seen) => {
            log.push(seen);
            Ok(())
        }
        Err(error) => {
            log.push(Seen::Failed(error.kind()));
            if goes_on { Ok(()) } else { Err(error) }
        }
    }
}

struct Run {
    log: Log,
    hooks: Arc<Mutex<Vec<usize>>>,
    next_hook: usize,
}

impl Run {
    fn acts(&mut self, tx: &mut Tx<'_>, acts: &[Act]) -> Result<()> {
        acts.iter().try_for_each(|act| self.act(tx, act))
    }

    fn act(&mut self, tx: &mut Tx<'_>, act: &Act) -> Result<()> {
        match act {
            Act::Run {
                statement,
                how: How::Execute,
                goes_on,
            } if !statement.returns() => {
                let count = tx.execute(statement.sql, &params(&statement.params));
                note(&mut self.log, count.map(Seen::Count), *goes_on)
            }
            Act::Run {
                statement,
                how,
                goes_on,
            } => note(&mut self.log, query(tx, statement, *how), *goes_on),
            Act::InsertAll { set, rows, goes_on } if *set == TELLING => {
                let told = tx.insert_all_returning(SETS[*set].0, rows);
                note(&mut self.log, told.map(|told| keys(&told)), *goes_on)
            }
            Act::InsertAll { set, rows, goes_on } => {
                let count = tx.insert_all(SETS[*set].0, rows);
                note(&mut self.log, count.map(Seen::Count), *goes_on)
            }
            Act::Attempt { acts, end, goes_on } => {
                // A panic ends the closure, not the attempt.
                let result = tx.attempt(|tx| {
                    self.acts(tx, acts)?;
                    let end = if matches!(end, End::Panic) { End::Fail } else { *end };
                    finish(end, || {})
                });
                let kind = result.as_ref().err().map(Error::kind);
                self.log.push(Seen::Attempt(kind));
                if *goes_on { Ok(()) } else { result }
            }
            Act::Hook => {
                let (hooks, number) = (Arc::clone(&self.hooks), self.next_hook);
                self.next_hook += 1;
                tx.on_commit(move || hooks.lock().unwrap().push(number));
                Ok(())
            }
            Act::Notify => {
                tx.notify(CHANNEL);
                Ok(())
            }
        }
    }
}

/// Keys themselves have gaps, and which depends on the engine.
fn keys(told: &[Option<i64>]) -> Seen {
    Seen::Keys(told.iter().map(Option::is_some).collect())
}

fn params(cells: &[Cell]) -> Vec<&dyn ToValue> {
    cells.iter().map(|cell| cell as &dyn ToValue).collect()
}

fn query(db: &Snapshot<'_>, statement: &Statement, how: How) -> Result<Seen> {
    let (sql, params) = (statement.sql, params(&statement.params));
    if statement.returns() {
        // In any order, so all of them.
        let mut rows = all(db, sql, &params)?;
        rows.sort_by_key(|row| format!("{row:?}"));
        return Ok(Seen::Rows(rows));
    }
    Ok(match how {
        How::Execute | How::Query => Seen::Rows(all(db, sql, &params)?),
        How::First => Seen::Rows(db.query_opt(sql, &params, columns)?.into_iter().collect()),
        How::One => Seen::Rows(vec![db.query_one(sql, &params, columns)?]),
        How::Each(most) => {
            let mut rows = Vec::new();
            db.each(sql, &params, |row| {
                rows.push(columns(row)?);
                Ok(rows.len() < most)
            })?;
            Seen::Rows(rows)
        }
        How::Misread(which) => Seen::Misread(db.query(sql, &params, |row| Ok(misread(row, which)))?.concat()),
    })
}

fn all(db: &Snapshot<'_>, sql: &str, params: &[&dyn ToValue]) -> Result<Vec<Vec<Cell>>> {
    db.query(sql, params, columns)
}

/// Every column, however many there are.
fn columns(row: &Row<'_>) -> Result<Vec<Cell>> {
    let columns = (0..).map_while(|index| row.get::<Any>(index).ok());
    // The sign of zero is not kept.
    Ok(columns
        .map(|Any(cell)| if cell == Cell::Real(0.0) { Cell::Real(0.0) } else { cell })
        .collect())
}

fn misread(row: &Row<'_>, which: usize) -> Vec<Result<String, ErrorKind>> {
    fn text<T: std::fmt::Debug>(read: Result<T>) -> Result<String, ErrorKind> {
        read.map(|value| format!("{value:?}")).map_err(|error| error.kind())
    }
    let one = |index| match which {
        0 => text(row.get::<i64>(index)),
        1 => text(row.get::<String>(index)),
        2 => text(row.get::<Option<bool>>(index)),
        _ => text(row.blob(index).map(<[u8]>::to_vec)),
    };
    // One more than any row has.
    (0..7).map(one).collect()
}
