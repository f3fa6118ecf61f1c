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
use crate::db::set::{Cell, Inserted, Set};
use crate::db::wakes::Wakeups;
use crate::limits;

/// Takes rows to lanes.
pub(in crate::db) struct Appends {
    desk: Arc<Desk>,
}

/// What waits to be appended.
struct Desk {
    lanes: Arc<Shared>,
    wakeups: Arc<Wakeups>,
    limit: Duration,
    /// One permit per free place.
    places: Semaphore,
    state: Mutex<State>,
    /// Signalled when as many wait as a flight lingers for.
    gathered: Condvar,
}

#[derive(Default)]
struct State {
    waiting: VecDeque<Parcel>,
    /// Works that are in line or run and will look at what waits.
    flights: usize,
    /// Parcels that were taken and are not answered yet.
    aloft: usize,
    /// How many append at a time, as far as was seen of late.
    parties: usize,
    /// How long a flight takes of late, from take-off to the answer.
    usual: Duration,
    /// How many must wait for those who linger to go on.
    wanted: usize,
}

/// Rows of one caller, which fit their set: all are inserted or none is.
struct Parcel {
    set: &'static Set,
    rows: Vec<Vec<Cell>>,
    answer: oneshot::Sender<Result<Vec<Option<i64>>>>,
    /// What the rows were given, if the set tells keys.
    keys: Vec<Option<i64>>,
    /// Why they are not in the table.
    refused: Option<Error>,
}

impl Appends {
    /// `limit` is for each call, as for each work on the lanes.
    pub(in crate::db) fn new(lanes: &Lanes, limit: Duration, wakeups: &Arc<Wakeups>) -> Self {
        Self {
            desk: Arc::new(Desk {
                lanes: Arc::clone(lanes.shared()),
                wakeups: Arc::clone(wakeups),
                limit,
                places: Semaphore::new(limits::DB_QUEUE),
                state: Mutex::default(),
                gathered: Condvar::new(),
            }),
        }
    }

    /// Appends rows that fit their set, all or none, and returns once they are on disk: with their keys, if the set tells them.
    ///
    /// # Errors
    /// As [`Lanes::run`]. What the table refuses fails alone; a constraint that is checked only at the commit fails all rows of
    /// the commit.
    ///
    /// # Cancel safety
    /// Dropped before it is in line, nothing happens. Dropped later, the rows are inserted and only the answer is lost.
    pub(in crate::db) async fn append(&self, set: &'static Set, rows: Vec<Vec<Cell>>) -> Result<Vec<Option<i64>>> {
        let desk = &self.desk;
        desk.lanes.not_from_within()?;
        desk.lanes.let_through()?;
        let place = place(&desk.places, desk.limit).await?;
        // Whoever takes the parcel gives the place back.
        place.forget();
        let (answer, outcome) = oneshot::channel();
        let parcel = Parcel {
            set,
            rows,
            answer,
            keys: Vec::new(),
            refused: None,
        };
        if desk.push(parcel) {
            desk.fly(Entry::New);
        }
        outcome.await.unwrap_or_else(|_| Err(closed()))
    }
}

impl Desk {
    /// Whether another flight is needed, which is counted then.
    fn push(&self, parcel: Parcel) -> bool {
        let mut state = self.lock();
        state.waiting.push_back(parcel);
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
            parcels: Vec::new(),
            begun: now(),
            apart: false,
        };
        self.lanes.submit(Box::new(flight), entry);
    }

    /// A flight is over, with so many parcels that were not answered; whether another is needed, which is counted then.
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

    /// Parcels are about to be answered.
    fn observe(&self, parcels: usize, took: Duration) {
        let mut state = self.lock();
        let seen = state.aloft + state.waiting.len();
        // More are believed at once, fewer only by and by: those between an answer and their next append are not seen.
        state.parties = seen.max((state.parties * 7 + seen) / 8);
        state.usual = (state.usual * 7 + took) / 8;
        state.aloft = state.aloft.saturating_sub(parcels);
    }

    /// The oldest that wait, not with more rows than one commit should hold.
    fn take(&self) -> Vec<Parcel> {
        let state = self.lock();
        let (mut rows, mut bytes) = (0, 0);
        let fits = |parcel: &&Parcel| {
            rows += parcel.rows.len();
            bytes += parcel.rows.iter().map(|row| set::size(row)).sum::<usize>();
            rows <= limits::DB_BATCH && bytes <= limits::DB_SET_BYTES
        };
        let count = state.waiting.iter().take_while(fits).count();
        // One that is larger goes alone.
        self.hand_out(state, count.max(1))
    }

    fn take_all(&self) -> Vec<Parcel> {
        self.hand_out(self.lock(), usize::MAX)
    }

    fn hand_out(&self, mut state: MutexGuard<'_, State>, most: usize) -> Vec<Parcel> {
        let count = most.min(state.waiting.len());
        let taken = state.waiting.drain(..count).collect();
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
    parcels: Vec<Parcel>,
    /// When the parcels were taken.
    begun: Instant,
    /// Whether parcels must be told apart, because one of them is refused.
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
        let kept = self.parcels.iter().filter(|parcel| parcel.refused.is_none());
        kept.count().try_into().unwrap_or(u64::MAX)
    }

    fn run(&mut self, link: &mut Link) -> Result<()> {
        for parcel in &mut self.parcels {
            parcel.refused = None;
        }
        if self.parcels.is_empty() {
            self.desk.gather();
            self.parcels = self.desk.take();
            self.begun = now();
            // Those of one set stand together, each set's in the order they came.
            self.parcels.sort_by_key(|parcel| std::ptr::from_ref(parcel.set).addr());
        }
        if !self.apart {
            match self.insert_all(link) {
                Err(_) if link.fate() == Some(Fate::Failed) => {
                    self.apart = true;
                    link.begin(self.begin(), self.deadline);
                }
                Ok(()) => {
                    self.notify(link);
                    return Ok(());
                }
                Err(error) => return Err(error),
            }
        }
        for parcels in of_one_set(&mut self.parcels) {
            tell_apart(link, parcels)?;
        }
        self.notify(link);
        Ok(())
    }

    fn settle(mut self: Box<Self>, outcome: Result<()>) {
        if self.parcels.is_empty() && outcome.is_err() {
            // Its turn never came; neither would theirs.
            self.parcels = self.desk.take();
        }
        self.answer(&outcome);
    }

    fn refuse(mut self: Box<Self>, error: Error) {
        // Nobody will come for those who wait, either.
        self.parcels = self.desk.take_all();
        self.answer(&Err(error));
    }
}

impl Flight {
    fn answer(&mut self, outcome: &Result<()>) {
        if self.parcels.is_empty() {
            return;
        }
        self.desk.observe(self.parcels.len(), self.begun.elapsed());
        for parcel in std::mem::take(&mut self.parcels) {
            let result = match (outcome, parcel.refused) {
                (Err(error), _) => Err(error.echo()),
                (Ok(()), Some(refused)) => Err(refused),
                (Ok(()), None) => Ok(parcel.keys),
            };
            let _gone = parcel.answer.send(result);
        }
    }

    /// Wakes who listens for rows of these sets, once they are committed.
    fn notify(&mut self, link: &mut Link) {
        for parcels in of_one_set(&mut self.parcels) {
            let mut kept = parcels.iter().filter(|parcel| parcel.refused.is_none());
            if let Some(channel) = kept.next().and_then(|parcel| parcel.set.channel()) {
                let wakeups = Arc::clone(&self.desk.wakeups);
                link.on_commit(Box::new(move || wakeups.notify(channel)));
            }
        }
    }

    fn insert_all(&mut self, link: &mut Link) -> Result<()> {
        let mut sets = of_one_set(&mut self.parcels).peekable();
        while let Some(parcels) = sets.next() {
            let Some(first) = parcels.first() else { continue };
            let inserted = if sets.peek().is_some() {
                set::insert(link, first.set, &rows(parcels))?
            } else {
                set::insert_and_commit(link, first.set, &rows(parcels))?
            };
            tell(parcels, inserted);
        }
        Ok(())
    }
}

impl Drop for Flight {
    fn drop(&mut self) {
        if self.desk.land(self.parcels.len()) {
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

fn of_one_set(parcels: &mut [Parcel]) -> impl Iterator<Item = &mut [Parcel]> {
    parcels.chunk_by_mut(|one, other| std::ptr::eq(one.set, other.set))
}

fn rows(parcels: &[Parcel]) -> Vec<&[Cell]> {
    let rows = parcels.iter().flat_map(|parcel| &parcel.rows);
    rows.map(Vec::as_slice).collect()
}

/// Gives each parcel the keys of its rows.
fn tell(parcels: &mut [Parcel], inserted: Inserted) {
    let mut keys = inserted.keys.into_iter();
    for parcel in parcels {
        parcel.keys = keys.by_ref().take(parcel.rows.len()).collect();
    }
}

/// Inserts parcels of one set without those that are refused: halves what fails until it is one parcel.
fn tell_apart(link: &mut Link, parcels: &mut [Parcel]) -> Result<()> {
    let Some(first) = parcels.first() else { return Ok(()) };
    link.savepoint();
    match set::insert(link, first.set, &rows(parcels)) {
        Ok(inserted) => {
            tell(parcels, inserted);
            link.release()
        }
        Err(error) => {
            link.rollback_to()?;
            if let [parcel] = parcels {
                parcel.refused = Some(error);
                return Ok(());
            }
            let (front, back) = parcels.split_at_mut(parcels.len() / 2);
            tell_apart(link, front)?;
            tell_apart(link, back)
        }
    }
}
