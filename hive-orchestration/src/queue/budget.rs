//! Reservations, and those who wait for them, in the transaction of what they are for.

use hive_core::clock::Timestamp;
use hive_core::db::{Snapshot, Tx};
use hive_core::id::TaskId;
use hive_errors::{Error, ErrorKind, Result};

use super::{Queue, TaskRef};
use crate::budget::ledger::{self, Chain, Held, Ledger, Left, Need};
use crate::budget::{Account, Budget, Shortage, Spend};
use crate::journal::{self, Kind, Record};
use crate::lease::{Lease, guard};

/// What a try of a step reserves.
#[derive(Clone, Debug)]
pub(crate) struct Reservation {
    pub(crate) lease: Lease,
    pub(crate) chain: Chain,
    /// The step.
    pub(crate) key: String,
    pub(crate) spend: Spend,
    /// The wait for it, where there was one.
    pub(crate) waited: Option<String>,
}

/// What came of a reservation.
#[derive(Clone, Debug)]
pub(crate) enum Reserved {
    Held {
        /// Which of tokens, money and calls some account limits.
        limited: [bool; 3],
        /// How long the work may take.
        time_left: Option<std::time::Duration>,
    },
    Short(Shortage),
}

/// Reserves, on the lease's strength, from all the accounts or from none.
pub(crate) fn reserve(tx: &mut Tx<'_>, asked: &Reservation) -> Result<Reserved> {
    let Reservation { lease, key, .. } = asked;
    guard(tx, *lease)?;
    let mut ledger = Ledger::open(tx, &asked.chain)?;
    let now = tx.now()?;
    let held = Reserved::Held {
        limited: ledger.limited(),
        time_left: ledger.time_left(now),
    };
    let known = tx.query_opt(
        "SELECT attempt, epoch, tokens, micro_usd, calls FROM budget_hold WHERE task = ?1 AND key = ?2",
        &[&lease.task, key],
        |row| Held::read(row, 0),
    )?;
    // Whether the commit took place is not known to who comes again after the loss of a connection. One of an earlier claim stays spent.
    if known.is_some_and(|known| (known.attempt, known.epoch) == (lease.attempt, lease.epoch)) {
        return Ok(held);
    }
    let need = Need::from(asked.spend);
    if let Some(short) = ledger.short(&need, now) {
        return Ok(Reserved::Short(short));
    }
    ledger.draw(tx, &need)?;
    tx.execute(
        "INSERT INTO budget_hold (task, key, account, attempt, epoch, tokens, micro_usd, calls)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)
         ON CONFLICT (task, key) DO UPDATE SET attempt = ?4, epoch = ?5, tokens = ?6, micro_usd = ?7, calls = ?8",
        &[
            &lease.task,
            key,
            &asked.chain.nearest(),
            &lease.attempt,
            &lease.epoch,
            &asked.spend.tokens,
            &asked.spend.micro_usd,
            &asked.spend.calls,
        ],
    )?;
    if let Some(wait) = &asked.waited {
        waits_no_more(tx, lease.task, wait)?;
    }
    Ok(held)
}

/// Under which a step or a call waits for its budget. There is one such wait at a time for each.
pub(crate) fn wait_key(key: &str) -> String {
    format!("{}:{key}", Kind::Budget.word())
}

/// Forgets that the task waits for an account.
fn waits_no_more(tx: &mut Tx<'_>, task: i64, key: &str) -> Result<()> {
    tx.execute("DELETE FROM budget_wait WHERE task = ?1 AND key = ?2", &[&task, &key])?;
    tx.execute("DELETE FROM journal WHERE task = ?1 AND key = ?2", &[&task, &key])?;
    Ok(())
}

/// What a try used.
#[derive(Clone, Debug)]
pub(crate) struct Settlement {
    pub(crate) lease: Lease,
    pub(crate) chain: Chain,
    /// The step.
    pub(crate) key: String,
    pub(crate) used: Spend,
}

/// Puts what was used in the place of what was reserved, on the lease's strength, once.
pub(crate) fn settle(tx: &mut Tx<'_>, queue: &Queue, settlement: &Settlement) -> Result<()> {
    let Settlement { lease, key, used, .. } = settlement;
    guard(tx, *lease)?;
    let mut ledger = Ledger::open(tx, &settlement.chain)?;
    let held = tx.query_opt(
        "DELETE FROM budget_hold WHERE task = ?1 AND key = ?2 RETURNING attempt, epoch, tokens, micro_usd, calls",
        &[&lease.task, key],
        |row| Held::read(row, 0),
    )?;
    // It was settled, and the answer lost.
    let Some(held) = held else { return Ok(()) };
    let wider = ledger.settle(tx, held.spend, *used)?;
    wake_all(tx, queue, &wider)
}

/// Settles a try together with the output that it came to.
pub(crate) fn settle_with(tx: &mut Tx<'_>, queue: &Queue, settlement: &Settlement, record: &Record) -> Result<()> {
    guard(tx, settlement.lease)?;
    if journal::is_done(tx, record.lease.task, &record.key)? {
        return Ok(());
    }
    settle(tx, queue, settlement)?;
    journal::record(tx, record)
}

/// Draws children, in the transaction that makes them. What is lacking, if anything is: they are not made then.
pub(super) fn draw_children(
    tx: &mut Tx<'_>,
    task: &TaskRef,
    chain: &Chain,
    call: &str,
    children: u64,
    depth: u32,
) -> Result<Option<Shortage>> {
    if chain.is_empty() {
        return Ok(None);
    }
    let need = Need {
        children,
        depth,
        ..Need::default()
    };
    let mut ledger = Ledger::open(tx, chain)?;
    if let Some(short) = ledger.short(&need, tx.now()?) {
        return Ok(Some(short));
    }
    ledger.draw(tx, &need)?;
    waits_no_more(tx, task.seq, &wait_key(call))?;
    Ok(None)
}

/// Waits for an account that lacks what is needed. `None` when none lacks it any more, or the one that does lets nobody wait.
pub(super) fn wait_for(
    tx: &mut Tx<'_>,
    task: &TaskRef,
    chain: &Chain,
    key: &str,
    need: &Need,
) -> Result<Option<Shortage>> {
    let ledger = Ledger::open(tx, chain)?;
    let Some(short) = ledger.short(need, tx.now()?).filter(|short| !short.fails) else {
        return Ok(None);
    };
    let Spend {
        tokens,
        micro_usd,
        calls,
    } = need.spend;
    tx.execute(
        "INSERT INTO budget_wait (task, key, account, tokens, micro_usd, calls, children, depth)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)
         ON CONFLICT (task, key) DO UPDATE SET account = ?3, tokens = ?4, micro_usd = ?5, calls = ?6, children = ?7, depth = ?8",
        &[
            &task.seq,
            &key,
            &short.seq,
            &tokens,
            &micro_usd,
            &calls,
            &need.children,
            &need.depth,
        ],
    )?;
    Ok(Some(short))
}

fn wake_all(tx: &mut Tx<'_>, queue: &Queue, accounts: &[(i64, Left)]) -> Result<()> {
    let mut woken = 0;
    for (account, left) in accounts {
        woken += wake(tx, *account, left)?;
    }
    if woken > 0 {
        queue.wake_ready(tx);
    }
    Ok(())
}

/// Lets those go on that wait for this account and need no more than it has. Each tries again, and waits again where another was quicker.
///
/// Their tasks cannot be locked here: that comes before accounts. So their waits are let fall due, like timers: whoever claims next wakes
/// them, in the order that locks have.
fn wake(tx: &mut Tx<'_>, account: i64, left: &Left) -> Result<usize> {
    let [tokens, micro_usd, calls, children] = left.room;
    tx.execute(
        "UPDATE journal SET wake_at = ?7 WHERE kind = 10 AND state = 0 AND (wake_at IS NULL OR wake_at > ?7) AND (task, key) IN (
             SELECT task, key FROM budget_wait WHERE account = ?1 AND tokens <= ?2 AND micro_usd <= ?3 AND calls <= ?4
             AND children <= ?5 AND depth <= ?6)",
        &[
            &account,
            &tokens,
            &micro_usd,
            &calls,
            &children,
            &left.deepest,
            &Timestamp::EPOCH,
        ],
    )
}

/// Raises a task's budget, and wakes those who waited for that.
pub(crate) fn grant(tx: &mut Tx<'_>, queue: &Queue, id: TaskId, more: &Budget) -> Result<()> {
    let (seq, _, chain) = find(tx, id)?;
    if chain.nearest() != Some(seq) {
        let error = Error::new(ErrorKind::NotFound, "the task has no budget of its own").with("task", id);
        return Err(match ledger::look(tx, &chain)?.last() {
            Some(above) => error
                .with("account", above.id)
                .with_hint("raise the budget of the task on whose account it draws"),
            None => error.with_hint("give a task its budget when it is submitted or called: `.budget(…)`"),
        });
    }
    let mut ledger = Ledger::open(tx, &Chain::default().with(seq))?;
    let wider = ledger.raise(tx, more)?;
    wake_all(tx, queue, &wider)
}

fn find(db: &Snapshot<'_>, id: TaskId) -> Result<(i64, u32, Chain)> {
    db.query_opt("SELECT seq, depth, accounts FROM task WHERE id = ?1", &[&id], |row| {
        Ok((row.get(0)?, row.get(1)?, Chain::stored(row.get(2)?)))
    })?
    .ok_or_else(|| Error::new(ErrorKind::NotFound, "no such task").with("task", id))
}

/// The accounts on which a task draws, its nearest first.
pub(crate) fn accounts(db: &Snapshot<'_>, id: TaskId) -> Result<Vec<Account>> {
    let (_, _, chain) = find(db, id)?;
    let now = db.now()?;
    let mut accounts = Vec::new();
    for book in ledger::look(db, &chain)?.into_iter().rev() {
        let depth = db.query_opt("SELECT depth FROM task WHERE seq = ?1", &[&book.seq], |row| row.get(0))?;
        accounts.push(book.told(under_way(db, book.seq)?, depth.unwrap_or_default(), now));
    }
    Ok(accounts)
}

/// What runs that go on have reserved from an account, or from one beneath it. That of others is spent.
fn under_way(db: &Snapshot<'_>, account: i64) -> Result<Spend> {
    let mut reserved = Spend::none();
    db.each(
        "WITH RECURSIVE below (task) AS (
             SELECT task FROM budget WHERE task = ?1
             UNION ALL
             SELECT budget.task FROM below CROSS JOIN budget WHERE budget.above = below.task)
         SELECT hold.attempt, hold.epoch, hold.tokens, hold.micro_usd, hold.calls, task.state, task.attempt, task.epoch
         FROM below CROSS JOIN budget_hold AS hold CROSS JOIN task WHERE hold.account = below.task AND task.seq = hold.task",
        &[&account],
        |row| {
            let held = Held::read(row, 0)?;
            let now: (i64, u32, u64) = (row.get(5)?, row.get(6)?, row.get(7)?);
            if now == (2, held.attempt, held.epoch) {
                reserved = reserved.plus(held.spend);
            }
            Ok(true)
        },
    )?;
    Ok(reserved)
}
