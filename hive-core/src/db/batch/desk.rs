//! One transaction after another: which closures share it, what undoes one that fails, and what the commit promises.

use std::collections::VecDeque;
use std::sync::atomic::Ordering;

use hive_errors::{Error, ErrorKind, Result};
use rusqlite::{Connection, Statement};

use super::super::contain::contained;
use super::super::guard::{Guard, Scope};
use super::super::house::House;
use super::super::queue::Queue;
use super::super::sqlite;
use super::super::tx::{Hook, Snapshot, Tx};
use super::{Counters, Work};
use crate::limits;

/// The statements that only the house may run, prepared once and kept out of the closures' reach.
struct Control<'c> {
    begin: Statement<'c>,
    save: Statement<'c>,
    undo: Statement<'c>,
    release: Statement<'c>,
    commit: Statement<'c>,
    rollback: Statement<'c>,
    /// Writes what is there already, so that a commit has something to sync.
    touch: Statement<'c>,
    /// Counts the changes of the schema.
    version: Statement<'c>,
}

impl<'c> Control<'c> {
    fn prepare(conn: &'c Connection) -> Result<Self> {
        let prepare = |sql: &str| {
            conn.prepare(sql)
                .map_err(|e| sqlite::error(e, "the transaction could not be prepared"))
        };
        Ok(Self {
            begin: prepare("BEGIN IMMEDIATE")?,
            save: prepare("SAVEPOINT part")?,
            undo: prepare("ROLLBACK TO part")?,
            release: prepare("RELEASE part")?,
            commit: prepare("COMMIT")?,
            rollback: prepare("ROLLBACK")?,
            touch: prepare(&format!("PRAGMA application_id = {}", sqlite::APPLICATION_ID))?,
            version: prepare("PRAGMA main.schema_version")?,
        })
    }
}

fn run(statement: &mut Statement<'_>) -> Result<()> {
    statement
        .execute([])
        .map(drop)
        .map_err(|e| sqlite::error(e, "the transaction could not be carried out"))
}

/// The thread's working place.
pub(super) struct Desk<'c> {
    conn: &'c Connection,
    guard: &'c Guard,
    house: &'c House,
    queue: &'c Queue<Box<dyn Work>>,
    counters: &'c Counters,
    control: Control<'c>,
    /// How many waited when the last answers were about to be given.
    waiting: usize,
    /// Why nothing more may be written.
    unsound: Option<Error>,
    /// Transactions left in which each closure is set apart.
    careful: u32,
    /// Whether a commit is synced. As long as that is not certain it is not.
    synced: bool,
    /// Whether there are commits that nothing has synced.
    behind: bool,
}

pub(super) type Works = VecDeque<Box<dyn Work>>;

/// The works of one transaction.
#[derive(Default)]
struct Part {
    works: Vec<Box<dyn Work>>,
    kept: u64,
    hooks: Vec<Hook>,
    /// What the schema was when it began; `None` counts as different from any.
    schema: Option<i64>,
}

/// How a closure of a transaction can be undone.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Undo {
    /// With the transaction: it is the only one.
    Whole,
    /// By itself.
    Apart,
    /// With the transaction, after which the others run again.
    ///
    /// To set a closure apart SQLite copies every page that it writes, which costs as much as all else that a small write
    /// does. Closures seldom fail, and those that do have seldom written anything before.
    Together,
}

/// What is to be done after a closure has run.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Next {
    GoOn,
    /// It failed and has left something behind.
    Again,
}

impl<'c> Desk<'c> {
    pub(super) fn new(
        conn: &'c Connection,
        guard: &'c Guard,
        house: &'c House,
        queue: &'c Queue<Box<dyn Work>>,
        counters: &'c Counters,
    ) -> Result<Self> {
        Ok(Self {
            conn,
            guard,
            house,
            queue,
            counters,
            control: Control::prepare(conn)?,
            waiting: 0,
            unsound: None,
            careful: 0,
            synced: false,
            // Nobody knows what the last process left in the log.
            behind: true,
        })
    }

    /// How many waited when the last answers were about to be given.
    pub(super) fn waiting(&self) -> usize {
        self.waiting
    }

    /// Why nothing more may be written, if so.
    pub(super) fn take_unsound(&mut self) -> Option<Error> {
        self.unsound.take()
    }

    /// Carries out one transaction with works from the front and answers them. Those behind one that broke it, or that
    /// needs a commit of its own, are left for the next.
    pub(super) fn commit(&mut self, works: &mut Works) {
        let mut part = Part::default();
        let apart = works.front().is_some_and(|work| work.is_alone());
        let outcome = match self.begin(works) {
            Ok(()) => self.transact(works, &mut part),
            Err(error) => {
                // The next one would meet the same, and so would each after it.
                part.works.extend(works.drain(..));
                Err(error)
            }
        };
        self.leave();
        if apart {
            self.unsound = sqlite::foreign_keys(self.conn, true).err();
        }
        let failed = outcome.err();
        if let Some(error) = failed
            .as_ref()
            .filter(|error| self.behind && sqlite::is_failed_sync(error))
        {
            // Commits that others build on were to be written by the same sync. Without them, what failed is all that
            // it was to write, and the next commit writes over that.
            let cause = Error::new(error.kind(), "a sync failed that commits depend on").with("cause", error);
            self.unsound.get_or_insert(cause);
        }
        self.waiting = self.queue.len();
        self.answer(part, failed.as_ref());
    }

    fn begin(&mut self, works: &Works) -> Result<()> {
        self.leave();
        // A migration may take a table that others refer to away and put another in its place. It looks at the
        // references itself before it is done; a switch within the transaction would have no effect.
        if works.front().is_some_and(|work| work.is_alone()) {
            sqlite::foreign_keys(self.conn, false)?;
        }
        let relaxed = works.iter().take(together(works)).all(|work| work.asked().is_relaxed());
        self.sync(!relaxed)?;
        run(&mut self.control.begin)
    }

    /// Has the commits from now on synced, or not.
    fn sync(&mut self, synced: bool) -> Result<()> {
        if self.synced != synced {
            self.synced = false;
            let (value, found) = if synced { ("FULL", "2") } else { ("NORMAL", "1") };
            // Not a prepared statement: it takes effect when it is parsed.
            self.conn
                .execute_batch(&format!("PRAGMA synchronous = {value}"))
                .map_err(|e| sqlite::error(e, "a database setting was refused"))?;
            sqlite::expect(self.conn, "synchronous", found)?;
            self.synced = synced;
        }
        Ok(())
    }

    fn transact(&mut self, works: &mut Works, part: &mut Part) -> Result<()> {
        let count = together(works);
        let mut undo = match count {
            1 => Undo::Whole,
            _ if self.careful > 0 => Undo::Apart,
            _ => Undo::Together,
        };
        match undo {
            Undo::Whole => {}
            Undo::Apart => self.careful -= 1,
            Undo::Together => part.schema = self.schema(),
        }
        for _ in 0..count {
            let Some(work) = works.pop_front() else { break };
            if self.run(work, undo, part)? == Next::Again {
                self.again(part)?;
                undo = Undo::Apart;
            }
        }
        if part.kept == 0 {
            return Ok(());
        }
        // A durable closure may have seen what others wrote without a sync, and may have nothing to write itself: then its
        // commit would sync nothing, and its answer would rest on what is not on disk.
        if self.synced && self.behind {
            run(&mut self.control.touch)?;
        }
        run(&mut self.control.commit).map_err(|error| {
            if undo == Undo::Whole || error.kind() != ErrorKind::Conflict {
                return error;
            }
            // A constraint that is checked only now: one closure broke it, and there is no telling which.
            Error::new(ErrorKind::Storage, "a closure of the same commit broke a constraint").with("cause", error)
        })?;
        self.behind = !self.synced;
        Ok(())
    }

    /// Undoes the transaction and runs its closures again, each set apart this time.
    fn again(&mut self, part: &mut Part) -> Result<()> {
        // A load whose closures fail often would otherwise do everything twice.
        self.careful = limits::DB_APART;
        part.kept = 0;
        forget(std::mem::take(&mut part.hooks));
        run(&mut self.control.rollback)?;
        run(&mut self.control.begin)?;
        let mut works = std::mem::take(&mut part.works).into_iter();
        while let Some(work) = works.next() {
            if let Err(error) = self.run(work, Undo::Apart, part) {
                part.works.extend(works);
                return Err(error);
            }
        }
        Ok(())
    }

    /// Runs one closure. An error is the whole transaction's.
    fn run(&mut self, mut work: Box<dyn Work>, undo: Undo, part: &mut Part) -> Result<Next> {
        if undo == Undo::Apart
            && let Err(error) = run(&mut self.control.save)
        {
            part.works.push(work);
            return Err(error);
        }
        let changes = self.conn.total_changes();
        let snapshot = Snapshot::sqlite(self.conn, self.guard, None, &*self.house.clock);
        let mut tx = Tx::new(snapshot, &self.house.wakeups);
        let scope = if work.is_alone() {
            Scope::Migration
        } else {
            Scope::Closure
        };
        let kept = self.guard.within(scope, || work.run(&mut tx));
        part.works.push(work);
        let hooks = tx.take_hooks();
        if kept {
            part.kept += 1;
            part.hooks.extend(hooks);
        } else {
            forget(hooks);
        }
        if self.conn.is_autocommit() {
            // Disk full, I/O error: SQLite rolled back everything, the earlier closures' work included.
            let unknown = || Error::new(ErrorKind::Storage, "the engine rolled the transaction back");
            return Err(tx.take_broken().unwrap_or_else(unknown));
        }
        match undo {
            Undo::Whole => Ok(Next::GoOn),
            Undo::Apart => {
                if !kept {
                    run(&mut self.control.undo)?;
                }
                run(&mut self.control.release).map(|()| Next::GoOn)
            }
            Undo::Together if kept || self.is_untouched(changes, part) => Ok(Next::GoOn),
            Undo::Together => Ok(Next::Again),
        }
    }

    /// Whether nothing has been written since there were so many changes. A statement that failed has undone itself.
    fn is_untouched(&mut self, changes: u64, part: &Part) -> bool {
        // Changes of the schema are not counted among the others.
        self.conn.total_changes() == changes
            && part.schema.is_some()
            && self.schema() == part.schema
            && !self.has_own_tables()
    }

    /// Which schema is in force; `None` when that cannot be told.
    fn schema(&mut self) -> Option<i64> {
        self.control.version.query_row([], |row| row.get(0)).ok()
    }

    /// Whether a closure may have made tables of the connection's own, which have a schema apart. To ask for its version would
    /// open it, and a connection that has it open without need cannot fold the log when it closes.
    fn has_own_tables(&self) -> bool {
        // Prepared anew each time: what it lists is settled when it is prepared.
        let listed = self.conn.prepare("PRAGMA database_list").and_then(|mut list| {
            let mut rows = list.query([])?;
            let mut count = 0;
            while rows.next()?.is_some() {
                count += 1;
            }
            Ok(count)
        });
        !listed.is_ok_and(|count| count == 1)
    }

    /// Ends whatever transaction is still open.
    fn leave(&mut self) {
        if !self.conn.is_autocommit()
            && let Err(error) = run(&mut self.control.rollback)
        {
            tracing::error!(%error, "a transaction could not be rolled back");
        }
    }

    fn answer(&self, part: Part, failed: Option<&Error>) {
        if failed.is_some() {
            forget(part.hooks);
        } else if part.kept > 0 {
            self.counters.writes.fetch_add(part.kept, Ordering::Relaxed);
            self.counters.commits.fetch_add(1, Ordering::Relaxed);
            for hook in part.hooks {
                if let Err(error) = contained("an after-commit hook panicked; the commit stands", hook) {
                    tracing::error!(%error, "an after-commit hook panicked");
                }
            }
        }
        for work in part.works {
            // What is left of a closure or of a value that nobody waits for is dropped here.
            if let Err(error) = contained("what a database closure left panicked when it was dropped", || {
                work.settle(failed)
            }) {
                tracing::error!(%error, "a database closure could not be put away");
            }
        }
    }
}

/// Drops hooks that will not run.
fn forget(hooks: Vec<Hook>) {
    for hook in hooks {
        if let Err(error) = contained("an after-commit hook panicked when it was dropped", || drop(hook)) {
            tracing::error!(%error, "an after-commit hook could not be put away");
        }
    }
}

/// How many works at the front share the next transaction.
fn together(works: &Works) -> usize {
    if works.front().is_some_and(|work| work.is_alone()) {
        return 1;
    }
    works.iter().take_while(|work| !work.is_alone()).count()
}
