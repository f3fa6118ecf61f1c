//! Appends: rows of many callers, gathered while others are on their way, inserted as sets and committed together.

use std::collections::VecDeque;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use hive_errors::{Error, Result};
use tokio::sync::{Semaphore, oneshot};

use super::error::Fate;
use super::lanes::{Lanes, Shared, Work};
use super::line::{Entry, closed, place};
use super::link::{Begin, Isolation, Link};
use super::set;
use crate::db::deadline::{Deadline, now};
use crate::db::set::{Cell, Set};
use crate::limits;

/// Takes rows to lanes.
pub(in crate::db) struct Appends {
    desk: Arc<Desk>,
}

/// What waits to be appended.
struct Desk {
    lanes: Arc<Shared>,
    limit: Duration,
    /// One permit per free place.
    places: Semaphore,
    state: Mutex<State>,
    /// Signalled when as many wait as a flight lingers for.
    gathered: Condvar,
}

#[derive(Default)]
struct State {
    waiting: VecDeque<Row>,
    /// Works that are in line or run and will look at what waits.
    flights: usize,
    /// Rows that were taken and are not answered yet.
    aloft: usize,
    /// How many append at a time, as far as was seen of late.
    parties: usize,
    /// How long a flight takes of late, from take-off to the answer.
    usual: Duration,
    /// How many must wait for those who linger to go on.
    wanted: usize,
}

struct Row {
    set: &'static Set,
    cells: Vec<Cell>,
    answer: oneshot::Sender<Result<()>>,
    /// Why it is not in the table.
    refused: Option<Error>,
}

impl AsRef<[Cell]> for Row {
    fn as_ref(&self) -> &[Cell] {
        &self.cells
    }
}

impl Appends {
    /// `limit` is for each row, as for each work on the lanes.
    pub(in crate::db) fn new(lanes: &Lanes, limit: Duration) -> Self {
        Self {
            desk: Arc::new(Desk {
                lanes: Arc::clone(lanes.shared()),
                limit,
                places: Semaphore::new(limits::DB_QUEUE),
                state: Mutex::default(),
                gathered: Condvar::new(),
            }),
        }
    }

    /// Appends one row that fits its set, and returns once it is on disk.
    ///
    /// # Errors
    /// As [`Lanes::run`]. A row that the table refuses fails alone; a constraint that is checked only at the commit fails all
    /// rows of the commit.
    ///
    /// # Cancel safety
    /// Dropped before it is in line, nothing happens. Dropped later, the row is inserted and only the answer is lost.
    pub(in crate::db) async fn append(&self, set: &'static Set, cells: Vec<Cell>) -> Result<()> {
        let desk = &self.desk;
        desk.lanes.not_from_within()?;
        desk.lanes.let_through()?;
        let place = place(&desk.places, desk.limit).await?;
        // Whoever takes the row gives the place back.
        place.forget();
        let (answer, outcome) = oneshot::channel();
        let row = Row {
            set,
            cells,
            answer,
            refused: None,
        };
        if desk.push(row) {
            desk.fly(Entry::New);
        }
        outcome.await.unwrap_or_else(|_| Err(closed()))
    }
}

impl Desk {
    /// Whether another flight is needed, which is counted then.
    fn push(&self, row: Row) -> bool {
        let mut state = self.lock();
        state.waiting.push_back(row);
        let another = state.flights < limits::DB_FLIGHTS;
        state.flights += usize::from(another);
        let complete = state.wanted > 0 && state.waiting.len() >= state.wanted;
        drop(state);
        if complete {
            self.gathered.notify_all();
        }
        another
    }

    /// Puts a work in line that takes what waits when its turn comes.
    fn fly(self: &Arc<Self>, entry: Entry) {
        let flight = Flight {
            desk: Arc::clone(self),
            deadline: Deadline::after(self.limit),
            rows: Vec::new(),
            begun: now(),
            apart: false,
        };
        self.lanes.submit(Box::new(flight), entry);
    }

    /// A flight is over, with so many rows that were not answered; whether another is needed, which is counted then.
    fn land(&self, lost: usize) -> bool {
        let mut state = self.lock();
        state.aloft = state.aloft.saturating_sub(lost);
        let more = !state.waiting.is_empty();
        state.flights -= usize::from(!more);
        more
    }

    /// Waits a little for those who are expected: whoever was answered just now comes back at once, and a commit costs the same
    /// for one as for all. Nobody is expected beside a lone writer, who therefore never waits.
    fn gather(&self) {
        let mut state = self.lock();
        let wanted = state.parties.saturating_sub(state.aloft).min(limits::DB_BATCH);
        if state.waiting.len() >= wanted {
            return;
        }
        let at_most = (state.usual / limits::DB_LINGER_SHARE).min(limits::DB_LINGER_MAX);
        state.wanted = wanted;
        let few = |state: &mut State| state.waiting.len() < wanted;
        let waited = self.gathered.wait_timeout_while(state, at_most, few);
        (state, _) = waited.unwrap_or_else(PoisonError::into_inner);
        state.wanted = 0;
    }

    /// Rows are about to be answered.
    fn observe(&self, rows: usize, took: Duration) {
        let mut state = self.lock();
        let seen = state.aloft + state.waiting.len();
        // More are believed at once, fewer only by and by: those between an answer and their next row are not seen.
        state.parties = seen.max((state.parties * 7 + seen) / 8);
        state.usual = (state.usual * 7 + took) / 8;
        state.aloft = state.aloft.saturating_sub(rows);
    }

    /// The oldest that wait, not more than one commit should hold.
    fn take(&self, most: usize) -> Vec<Row> {
        let mut state = self.lock();
        let mut bytes = 0;
        let fits = |row: &Row| {
            bytes += set::size(&row.cells);
            bytes <= limits::DB_SET_BYTES || most == usize::MAX
        };
        let count = state.waiting.iter().take(most).take_while({
            let mut fits = fits;
            move |row| fits(row)
        });
        let count = count.count().max(1).min(state.waiting.len());
        let taken: Vec<Row> = state.waiting.drain(..count).collect();
        state.aloft += count;
        drop(state);
        self.places.add_permits(count);
        taken
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // Nothing panics while it holds the lock.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// One commit of appended rows.
struct Flight {
    desk: Arc<Desk>,
    deadline: Deadline,
    rows: Vec<Row>,
    /// When the rows were taken.
    begun: Instant,
    /// Whether rows must be told apart, because one of them is refused.
    apart: bool,
}

impl Work for Flight {
    fn begin(&self) -> Begin {
        Begin {
            isolation: Isolation::ReadCommitted,
            ..Begin::write()
        }
    }

    fn deadline(&self) -> Deadline {
        self.deadline
    }

    fn writes(&self) -> u64 {
        let kept = self.rows.iter().filter(|row| row.refused.is_none());
        kept.count().try_into().unwrap_or(u64::MAX)
    }

    fn run(&mut self, link: &mut Link) -> Result<()> {
        for row in &mut self.rows {
            row.refused = None;
        }
        if self.rows.is_empty() {
            self.desk.gather();
            self.rows = self.desk.take(limits::DB_BATCH);
            self.begun = now();
            // Rows of one set stand together, each set's in the order they came.
            self.rows.sort_by_key(|row| std::ptr::from_ref(row.set).addr());
        }
        if !self.apart {
            match self.insert_all(link) {
                Err(_) if link.fate() == Some(Fate::Failed) => {
                    self.apart = true;
                    link.begin(self.begin(), self.deadline);
                }
                other => return other,
            }
        }
        for rows in of_one_set(&mut self.rows) {
            tell_apart(link, rows)?;
        }
        Ok(())
    }

    fn settle(mut self: Box<Self>, outcome: Result<()>) {
        if self.rows.is_empty() && outcome.is_err() {
            // Its turn never came; neither would theirs.
            self.rows = self.desk.take(limits::DB_BATCH);
        }
        self.answer(&outcome);
    }

    fn refuse(mut self: Box<Self>, error: Error) {
        // Nobody will come for those who wait, either.
        self.rows = self.desk.take(usize::MAX);
        self.answer(&Err(error));
    }
}

impl Flight {
    fn answer(&mut self, outcome: &Result<()>) {
        if self.rows.is_empty() {
            return;
        }
        self.desk.observe(self.rows.len(), self.begun.elapsed());
        for row in std::mem::take(&mut self.rows) {
            let result = match (outcome, row.refused) {
                (Err(error), _) => Err(error.echo()),
                (Ok(()), Some(refused)) => Err(refused),
                (Ok(()), None) => Ok(()),
            };
            let _gone = row.answer.send(result);
        }
    }

    fn insert_all(&mut self, link: &mut Link) -> Result<()> {
        let mut sets = of_one_set(&mut self.rows).peekable();
        while let Some(rows) = sets.next() {
            let Some(first) = rows.first() else { continue };
            if sets.peek().is_some() {
                set::insert(link, first.set, rows)?;
            } else {
                set::insert_and_commit(link, first.set, rows)?;
            }
        }
        Ok(())
    }
}

impl Drop for Flight {
    fn drop(&mut self) {
        if self.desk.land(self.rows.len()) {
            // A lane that panics will not look at the line again.
            let entry = if std::thread::panicking() {
                Entry::New
            } else {
                Entry::Further
            };
            self.desk.fly(entry);
        }
    }
}

fn of_one_set(rows: &mut [Row]) -> impl Iterator<Item = &mut [Row]> {
    rows.chunk_by_mut(|one, other| std::ptr::eq(one.set, other.set))
}

/// Inserts rows of one set without those that are refused: halves what fails until it is one row.
fn tell_apart(link: &mut Link, rows: &mut [Row]) -> Result<()> {
    let Some(first) = rows.first() else { return Ok(()) };
    link.savepoint();
    match set::insert(link, first.set, rows) {
        Ok(_) => link.release(),
        Err(error) => {
            link.rollback_to()?;
            if let [row] = rows {
                row.refused = Some(error);
                return Ok(());
            }
            let (front, back) = rows.split_at_mut(rows.len() / 2);
            tell_apart(link, front)?;
            tell_apart(link, back)
        }
    }
}
