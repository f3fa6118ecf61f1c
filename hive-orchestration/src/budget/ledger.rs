//! The accounts of a task, as they are made, locked and written.

use std::sync::Arc;
use std::time::Duration;

use hive_core::clock::Timestamp;
use hive_core::db::{Dialect, Row, Snapshot, Tx};
use hive_core::id::TaskId;
use hive_errors::{Error, ErrorKind, Result};

use super::book::Book;
pub(crate) use super::book::{Left, Need};
use super::{Budget, Shortage, Spend};

/// The accounts on which a task draws, by the numbers of their tasks, the outermost first.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Chain(Arc<str>);

impl Chain {
    /// As the task's row has it.
    pub(crate) fn stored(text: Option<String>) -> Self {
        Self(text.unwrap_or_default().into())
    }

    /// This, and one more beneath it.
    pub(crate) fn with(&self, account: i64) -> Self {
        if self.is_empty() {
            Self(account.to_string().into())
        } else {
            Self(format!("{},{account}", self.0).into())
        }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// As a column holds it.
    pub(crate) fn text(&self) -> Option<&str> {
        (!self.is_empty()).then_some(&*self.0)
    }

    /// The one that the task belongs to.
    pub(crate) fn nearest(&self) -> Option<i64> {
        self.0.rsplit(',').next().and_then(|number| number.parse().ok())
    }

    fn len(&self) -> usize {
        self.text().map_or(0, |text| text.split(',').count())
    }
}

/// The accounts on which a task draws, locked until the transaction ends.
///
/// On PostgreSQL accounts are locked after the tasks of a transaction and before the journal entries of those that wait for them; in the
/// order of their numbers, so that nobody waits in a circle.
#[derive(Debug)]
pub(crate) struct Ledger {
    books: Vec<Book>,
}

impl Ledger {
    pub(crate) fn open(tx: &Tx<'_>, chain: &Chain) -> Result<Self> {
        let Some(text) = chain.text() else {
            return Ok(Self { books: Vec::new() });
        };
        let books = match tx.dialect() {
            Dialect::Postgres => tx.query(
                "SELECT task, id, fails, started_at, wall_us, deepest, tokens_limit, tokens_used, tokens_over,
                        micro_usd_limit, micro_usd_used, micro_usd_over, calls_limit, calls_used, calls_over,
                        children_limit, children_used, children_over
                 FROM budget WHERE task = ANY (CAST(string_to_array(?1, ',') AS BIGINT[])) ORDER BY task FOR NO KEY UPDATE",
                &[&text],
                Book::read,
            )?,
            Dialect::Sqlite => look(tx, chain)?,
        };
        if books.len() != chain.len() {
            return Err(
                Error::new(ErrorKind::Corrupt, "an account on which the task draws is gone").with("accounts", text),
            );
        }
        Ok(Self { books })
    }

    /// What is lacking, of the nearest account that lacks something.
    pub(crate) fn short(&self, need: &Need, now: Timestamp) -> Option<Shortage> {
        self.books.iter().rev().find_map(|book| book.short(need, now))
    }

    /// Takes what [`Ledger::short`] finds no lack of.
    pub(crate) fn draw(&mut self, tx: &mut Tx<'_>, need: &Need) -> Result<()> {
        for book in &mut self.books {
            book.draw(need);
            book.write(tx)?;
        }
        Ok(())
    }

    /// Puts what was really used in the place of what was reserved. Returns the accounts that have got room, and how much they have.
    pub(crate) fn settle(&mut self, tx: &mut Tx<'_>, reserved: Spend, really: Spend) -> Result<Vec<(i64, Left)>> {
        self.change(tx, |book| {
            book.settle(reserved, really);
            Ok(())
        })
    }

    /// Raises the limits. As [`Ledger::settle`].
    pub(crate) fn raise(&mut self, tx: &mut Tx<'_>, by: &Budget) -> Result<Vec<(i64, Left)>> {
        self.change(tx, |book| book.raise(by))
    }

    fn change(&mut self, tx: &mut Tx<'_>, change: impl Fn(&mut Book) -> Result<()>) -> Result<Vec<(i64, Left)>> {
        let now = tx.now()?;
        let mut wider = Vec::new();
        for book in &mut self.books {
            let (before, was_late) = (book.left(), book.late(now).is_some());
            change(book)?;
            book.write(tx)?;
            let (after, is_late) = (book.left(), book.late(now).is_some());
            let has_room = after
                .room
                .iter()
                .zip(before.room)
                .any(|(after, before)| *after > before);
            if !is_late && (has_room || after.deepest > before.deepest || was_late) {
                wider.push((book.seq, after));
            }
        }
        Ok(wider)
    }

    /// Which of tokens, money and calls are limited.
    pub(crate) fn limited(&self) -> [bool; 3] {
        limited(&self.books)
    }

    /// How long something may go on that begins now; `None` when nothing ends it.
    pub(crate) fn time_left(&self, now: Timestamp) -> Option<Duration> {
        let ends = self.books.iter().filter_map(Book::until);
        ends.min().map(|end| end.since(now))
    }
}

fn limited(books: &[Book]) -> [bool; 3] {
    let mut limited = [false; 3];
    for book in books {
        for (limited, count) in limited.iter_mut().zip(&book.counts) {
            *limited |= count.limit.is_some();
        }
    }
    limited
}

/// The accounts of a chain as they stand, the outermost first.
pub(crate) fn look(db: &Snapshot<'_>, chain: &Chain) -> Result<Vec<Book>> {
    let mut books = Vec::with_capacity(chain.len());
    for number in chain.text().into_iter().flat_map(|text| text.split(',')) {
        let seq = number.parse::<i64>().map_err(|error| {
            Error::new(ErrorKind::Corrupt, "the number of an account cannot be read").with_source(error)
        })?;
        books.extend(db.query_opt(
            "SELECT task, id, fails, started_at, wall_us, deepest, tokens_limit, tokens_used, tokens_over,
                    micro_usd_limit, micro_usd_used, micro_usd_over, calls_limit, calls_used, calls_over,
                    children_limit, children_used, children_over
             FROM budget WHERE task = ?1",
            &[&seq],
            Book::read,
        )?);
    }
    Ok(books)
}

/// Gives a new task an account of its own, beneath those of `above`.
pub(crate) fn begin(tx: &mut Tx<'_>, task: (i64, TaskId), depth: u32, above: &Chain, budget: &Budget) -> Result<()> {
    let (seq, id) = task;
    let wall_us = budget
        .wall_time
        .map(|wall| i64::try_from(wall.as_micros()).unwrap_or(i64::MAX));
    let each_step = budget.each_step.as_ref().map(serde_json::to_string).transpose();
    let each_step =
        each_step.map_err(|e| Error::new(ErrorKind::Internal, "a budget could not be written down").with_source(e))?;
    tx.execute(
        "INSERT INTO budget (task, id, above, fails, each_step, wall_us, deepest, tokens_limit, micro_usd_limit, calls_limit,
                             children_limit)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11)",
        &[
            &seq,
            &id,
            &above.nearest(),
            &i64::from(budget.fails),
            &each_step,
            &wall_us,
            &budget.depth.map(|levels| i64::from(depth).saturating_add(i64::from(levels))),
            &budget.tokens,
            &budget.micro_usd,
            &budget.calls,
            &budget.children,
        ],
    )?;
    tx.execute(
        "UPDATE task SET accounts = ?2 WHERE seq = ?1",
        &[&seq, &above.with(seq).text()],
    )?;
    Ok(())
}

/// The time of these accounts runs from now on, unless it does already.
pub(crate) fn start(tx: &mut Tx<'_>, accounts: &mut Vec<i64>, now: Timestamp) -> Result<()> {
    // In one order everywhere.
    accounts.sort_unstable();
    for account in accounts {
        tx.execute(
            "UPDATE budget SET started_at = ?2 WHERE task = ?1 AND started_at IS NULL",
            &[account, &now],
        )?;
    }
    Ok(())
}

/// What holds for a step that says nothing itself.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Terms {
    /// What it reserves; the nearest account that says so decides.
    pub(crate) each_step: Option<Spend>,
    /// Some account limits tokens, money or calls.
    pub(crate) limited: bool,
    /// Some account limits the time.
    pub(crate) timed: bool,
}

/// The terms of a chain.
pub(crate) fn terms(db: &Snapshot<'_>, chain: &Chain) -> Result<Terms> {
    let Some(nearest) = chain.nearest() else {
        return Ok(Terms::default());
    };
    let said = db.query_opt(
        "WITH RECURSIVE up (task, above, each_step, level) AS (
             SELECT task, above, each_step, 0 FROM budget WHERE task = ?1
             UNION ALL
             SELECT budget.task, budget.above, budget.each_step, up.level + 1 FROM up CROSS JOIN budget
             WHERE budget.task = up.above AND up.each_step IS NULL)
         SELECT each_step FROM up WHERE each_step IS NOT NULL ORDER BY level LIMIT 1",
        &[&nearest],
        |row| row.get::<String>(0),
    )?;
    let each_step = said
        .map(|text| {
            serde_json::from_str(&text)
                .map_err(|e| Error::new(ErrorKind::Corrupt, "a budget cannot be read").with_source(e))
        })
        .transpose()?;
    let books = look(db, chain)?;
    Ok(Terms {
        each_step,
        limited: limited(&books).contains(&true),
        timed: books.iter().any(|book| book.wall_us.is_some()),
    })
}

/// A reservation: by which claim, and how much.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Held {
    pub(crate) attempt: u32,
    pub(crate) epoch: u64,
    pub(crate) spend: Spend,
}

impl Held {
    /// Reads `attempt, epoch, tokens, micro_usd, calls` from the column `first` on.
    pub(crate) fn read(row: &Row<'_>, first: usize) -> Result<Self> {
        Ok(Self {
            attempt: row.get(first)?,
            epoch: row.get(first + 1)?,
            spend: Spend {
                tokens: row.get(first + 2)?,
                micro_usd: row.get(first + 3)?,
                calls: row.get(first + 4)?,
            },
        })
    }
}
