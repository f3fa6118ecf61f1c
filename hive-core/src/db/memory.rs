//! A database in memory for simulations: every closure runs on the task that asks for it, one after another, in an order that a
//! seed decides, and a process dies at the commit that is named beforehand.

use std::collections::VecDeque;
use std::fmt;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use hive_errors::{Error, ErrorKind, Result};
use rusqlite::Connection;
use tokio::sync::Notify;

use super::contain::contained;
use super::guard::Scope;
use super::house::House;
use super::migrate::{self, Migrations};
use super::options::{Stats, Write};
use super::sqlite::{self, Reading};
use super::tx::{Snapshot, Tx};
use crate::clock::{Clock, SystemClock};

#[cfg(test)]
mod tests;

/// A database in memory that outlives the processes that open it, for tests. Give it to
/// [`Options::memory`](super::Options::memory); clones are the same database.
///
/// No thread works for it: a closure runs on the task that asks, after that task has let others go first for a number of turns
/// that the seed decides. On a single-threaded runtime whose time is paused, everything that a process does with it happens in the
/// same order whenever the seed is the same.
///
/// A process is whoever has it open. [`Memory::kill`] ends one as `kill -9` does: what was committed stays, and whatever of it is
/// left waits for the database for ever. [`Memory::cut`] does so at a commit.
///
/// ```
/// use hive_core::db::{Cut, Db, Memory, Options};
/// # use hive_core::db::{Migration, Migrations};
/// # static NOTES: Migrations = Migrations {
/// #     owner: "notes",
/// #     list: &[Migration::new(1, "note", "CREATE TABLE note (text TEXT NOT NULL) STRICT;", "DROP TABLE note;")],
/// # };
///
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> hive_errors::Result<()> {
/// let memory = Memory::new(1)?;
/// let db = Db::open(Options::memory(&memory).migrations(&NOTES)).await?;
/// memory.cut(memory.commits() + 1, Cut::After);
/// let never = db.write(|tx| tx.execute("INSERT INTO note (text) VALUES ('kept')", &[]));
/// tokio::select! {
///     _ = never => unreachable!("the process dies before it hears of it"),
///     () = memory.killed() => {}
/// }
/// let next = Db::open(Options::memory(&memory).migrations(&NOTES)).await?;
/// let notes = next.read(|db| db.query("SELECT text FROM note", &[], |row| row.get::<String>(0))).await?;
/// assert_eq!(notes, ["kept"]);
/// # Ok(()) }
/// ```
#[derive(Clone)]
pub struct Memory {
    shared: Arc<Shared>,
}

/// On which side of a commit a process dies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cut {
    /// Nothing of it is written.
    Before,
    /// It is written, and nobody hears of it.
    After,
}

struct Shared {
    state: Mutex<State>,
    killed: Notify,
}

struct State {
    place: Reading,
    rng: fastrand::Rng,
    /// Processes so far.
    lives: u64,
    /// The one that has it open.
    alive: Option<u64>,
    /// Whether the last one was killed.
    killed: bool,
    /// What was committed, by the names that closures have in the code.
    commits: Vec<&'static str>,
    cuts: VecDeque<(u64, Cut)>,
}

impl Memory {
    /// An empty database whose order of turns goes by `seed`.
    ///
    /// # Errors
    /// `storage` when there is no memory for it.
    pub fn new(seed: u64) -> Result<Self> {
        let state = State {
            place: sqlite::open_memory()?,
            rng: fastrand::Rng::with_seed(seed),
            lives: 0,
            alive: None,
            killed: false,
            commits: Vec::new(),
            cuts: VecDeque::new(),
        };
        let shared = Shared {
            state: Mutex::new(state),
            killed: Notify::new(),
        };
        Ok(Self {
            shared: Arc::new(shared),
        })
    }

    /// How many commits there were that changed something and that were to be [durable](Write::durable): what somebody may have been
    /// promised. Opening the database counts, too.
    pub fn commits(&self) -> u64 {
        self.state().commits.len() as u64
    }

    /// Where in the code the commit with this number, from 1, was asked for: the name of its closure.
    pub fn commit(&self, number: u64) -> Option<&'static str> {
        let index = usize::try_from(number.checked_sub(1)?).ok()?;
        self.state().commits.get(index).copied()
    }

    /// Kills the process that makes the commit with this number, as [`Memory::commits`] counts them, on this side of it. Cuts that are
    /// asked for one after another happen in that order.
    pub fn cut(&self, commit: u64, side: Cut) {
        self.state().cuts.push_back((commit, side));
    }

    /// Forgets the cuts that have not happened.
    pub fn mend(&self) {
        self.state().cuts.clear();
    }

    /// Ends the process that has it open, if any does: it never hears from its database again.
    pub fn kill(&self) {
        self.state().kill();
        self.shared.killed.notify_waiters();
    }

    /// Waits until the process that has it open is killed.
    ///
    /// # Cancel safety
    /// Nothing is lost when the future is dropped.
    pub async fn killed(&self) {
        loop {
            let told = self.shared.killed.notified();
            if self.state().killed {
                return;
            }
            told.await;
        }
    }

    /// Looks at what is stored, from outside of any process.
    ///
    /// # Errors
    /// What `look` returns.
    pub fn look<T>(&self, look: impl FnMut(&Snapshot<'_>) -> Result<T>) -> Result<T> {
        read(&self.state().place, &SystemClock, look)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // What closures do is contained, so a poisoned state is still a whole one.
        self.shared.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for Memory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Memory")
            .field("commits", &self.commits())
            .finish_non_exhaustive()
    }
}

impl State {
    fn kill(&mut self) {
        self.killed |= self.alive.take().is_some();
    }

    /// Whether the process is to die on this side of the commit that is about to be made.
    fn falls(&mut self, side: Cut) -> bool {
        let next = (self.commits.len() as u64 + 1, side);
        let falls = self.cuts.front() == Some(&next);
        if falls {
            self.cuts.pop_front();
            self.kill();
        }
        falls
    }
}

/// One process's hold on it.
pub(super) struct Opened {
    memory: Memory,
    life: u64,
    closed: AtomicBool,
    house: House,
    writes: AtomicU64,
}

/// What became of something that was asked of the database.
enum Fate<T> {
    Answered(Result<T>),
    /// Whoever asks is dead.
    Dead,
}

impl Opened {
    pub(super) fn open(memory: &Memory, migrations: &[&'static Migrations], house: &House) -> Result<Self> {
        let mut state = memory.state();
        if state.alive.is_some() {
            return Err(Error::new(
                ErrorKind::DatabaseLocked,
                "another hive has the database open",
            ));
        }
        state.lives += 1;
        state.killed = false;
        state.alive = Some(state.lives);
        let opened = Self {
            memory: memory.clone(),
            life: state.lives,
            closed: AtomicBool::new(false),
            house: house.clone(),
            writes: AtomicU64::new(0),
        };
        drop(state);
        let sets = migrations.to_vec();
        let pending = opened.look(|db| {
            migrate::check(db, &sets)?;
            migrate::pending(db, &sets)
        });
        let Fate::Answered(pending) = pending else {
            return Err(closed());
        };
        if pending?.is_empty() {
            return Ok(opened);
        }
        // No cut falls on it: whoever opens has nobody to go on for yet.
        match opened.change(Write::relaxed(), true, |tx| migrate::up(tx, migrations)) {
            Fate::Answered(done) => done.map(|()| opened),
            Fate::Dead => Err(closed()),
        }
    }

    /// Lets others go first, as the seed says.
    async fn turn(&self) {
        let turns = self.memory.state().rng.u8(0..3);
        for _ in 0..turns {
            tokio::task::yield_now().await;
        }
    }

    pub(super) async fn write<T, F>(&self, asked: Write, alone: bool, work: F) -> Result<T>
    where
        F: FnMut(&mut Tx<'_>) -> Result<T>,
    {
        self.turn().await;
        let fate = self.change(asked, alone, work);
        self.answer(fate).await
    }

    pub(super) async fn read<T, F>(&self, work: F) -> Result<T>
    where
        F: FnMut(&Snapshot<'_>) -> Result<T>,
    {
        self.turn().await;
        let fate = self.look(work);
        self.answer(fate).await
    }

    async fn answer<T>(&self, fate: Fate<T>) -> Result<T> {
        match fate {
            Fate::Answered(answer) => {
                self.turn().await;
                answer
            }
            Fate::Dead => std::future::pending().await,
        }
    }

    /// Whether this process may go on; if not, what becomes of what it asks.
    fn barred<T>(&self, state: &State) -> Option<Fate<T>> {
        if self.closed.load(Ordering::Relaxed) {
            return Some(Fate::Answered(Err(closed())));
        }
        (state.alive != Some(self.life)).then_some(Fate::Dead)
    }

    fn change<T, F>(&self, asked: Write, alone: bool, mut work: F) -> Fate<T>
    where
        F: FnMut(&mut Tx<'_>) -> Result<T>,
    {
        let mut state = self.memory.state();
        if let Some(fate) = self.barred(&state) {
            return fate;
        }
        let scope = if alone { Scope::Migration } else { Scope::Closure };
        let (mut hooks, before) = (Vec::new(), state.place.conn.total_changes());
        let worked = begin(&state.place.conn, alone).and_then(|()| {
            let Reading { conn, guard } = &state.place;
            let mut tx = Tx::new(
                Snapshot::sqlite(conn, guard, None, &*self.house.clock),
                &self.house.wakeups,
            );
            let result = guard.within(scope, || contained("a database closure panicked", || work(&mut tx)));
            let result = result.flatten().and_then(|value| tx.doom().map_or(Ok(value), Err));
            hooks = tx.take_hooks();
            result
        });
        let counts = !alone && !asked.is_relaxed() && state.place.conn.total_changes() != before;
        let falls = worked.is_ok() && counts && state.falls(Cut::Before);
        let ended = worked.and_then(|value| {
            let sql = if falls { ROLLBACK } else { COMMIT };
            control(&state.place.conn, sql).map(|()| value)
        });
        let ended = leave(&state.place.conn, alone).and(ended);
        if falls {
            drop(state);
            self.memory.shared.killed.notify_waiters();
            return Fate::Dead;
        }
        if ended.is_ok() {
            self.writes.fetch_add(1, Ordering::Relaxed);
            let dies = counts && state.falls(Cut::After);
            if counts {
                state.commits.push(std::any::type_name::<F>());
            }
            drop(state);
            if dies {
                self.memory.shared.killed.notify_waiters();
                return Fate::Dead;
            }
            for hook in hooks {
                if let Err(error) = contained("an after-commit hook panicked; the commit stands", hook) {
                    tracing::error!(%error, "an after-commit hook panicked");
                }
            }
        }
        Fate::Answered(ended)
    }

    fn look<T, F>(&self, work: F) -> Fate<T>
    where
        F: FnMut(&Snapshot<'_>) -> Result<T>,
    {
        let state = self.memory.state();
        match self.barred(&state) {
            Some(fate) => fate,
            None => Fate::Answered(read(&state.place, &*self.house.clock, work)),
        }
    }

    /// Runs `look` on the connection itself.
    pub(super) fn inspect<T>(&self, look: impl FnOnce(&Connection) -> Result<T>) -> Result<T> {
        let state = self.memory.state();
        let found = look(&state.place.conn);
        leave(&state.place.conn, false).and(found)
    }

    pub(super) fn stats(&self) -> Stats {
        let writes = self.writes.load(Ordering::Relaxed);
        Stats {
            writes,
            commits: writes,
        }
    }

    pub(super) fn close(&self) {
        self.closed.store(true, Ordering::Relaxed);
        let mut state = self.memory.state();
        if state.alive == Some(self.life) {
            state.alive = None;
        }
    }
}

impl Drop for Opened {
    fn drop(&mut self) {
        self.close();
    }
}

fn closed() -> Error {
    Error::new(ErrorKind::ShuttingDown, "the database is closed")
}

/// Runs `work` on what is stored, which it cannot change.
fn read<T>(place: &Reading, clock: &dyn Clock, mut work: impl FnMut(&Snapshot<'_>) -> Result<T>) -> Result<T> {
    let Reading { conn, guard } = place;
    control(conn, SNAPSHOT)?;
    let before = conn.total_changes();
    let snapshot = Snapshot::sqlite(conn, guard, None, clock);
    let result = guard.within(Scope::Closure, || {
        contained("a database closure panicked", || work(&snapshot))
    });
    let result = result
        .flatten()
        .and_then(|value| snapshot.doom().map_or(Ok(value), Err));
    let wrote = conn.total_changes() != before;
    // Whatever it did is undone. A setting that forbids it would have every statement prepared anew.
    leave(conn, false)?;
    if wrote {
        return Err(Error::new(
            ErrorKind::InvalidInput,
            "a closure that only reads has written",
        ));
    }
    result
}

fn begin(conn: &Connection, alone: bool) -> Result<()> {
    // A migration may put another table in the place of one that others refer to.
    if alone {
        sqlite::foreign_keys(conn, false)?;
    }
    control(conn, BEGIN)
}

// Texts of the house's own, so that a closure's cannot be found among the prepared statements.
const BEGIN: &str = "BEGIN IMMEDIATE /* a turn */";
const COMMIT: &str = "COMMIT /* a turn */";
const ROLLBACK: &str = "ROLLBACK /* a turn */";
const SNAPSHOT: &str = "BEGIN DEFERRED /* a look */";

fn control(conn: &Connection, sql: &'static str) -> Result<()> {
    sqlite::run(conn, sql, "the transaction could not be carried out")
}

/// Ends whatever transaction is still open.
fn leave(conn: &Connection, alone: bool) -> Result<()> {
    if !conn.is_autocommit() {
        control(conn, ROLLBACK)?;
    }
    if alone {
        sqlite::foreign_keys(conn, true)?;
    }
    Ok(())
}
