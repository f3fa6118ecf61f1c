use std::collections::BTreeMap;
use std::fmt;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use async_trait::async_trait;
use tokio::sync::Notify;

use super::{Clock, Timestamp};

/// A clock that only moves when told to.
///
/// Cheap to clone; clones are the same clock. A sleeper counts from the call that made it, polled or not, so that
/// `let nap = clock.sleep(d); clock.advance(d); nap.await` returns.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")] async fn main() {
/// use hive_core::clock::{Clock, ManualClock, Timestamp};
/// use std::time::Duration;
///
/// let clock = ManualClock::new(Timestamp::EPOCH);
/// let week = clock.sleep(Duration::from_secs(7 * 86_400));
/// clock.advance(Duration::from_secs(7 * 86_400));
/// week.await;
/// # }
/// ```
#[derive(Clone)]
pub struct ManualClock {
    shared: Arc<Shared>,
}

struct Shared {
    state: Mutex<State>,
    /// Told about every new sleeper, for [`ManualClock::until_sleepers`].
    registered: Notify,
}

struct State {
    wall: Timestamp,
    monotonic: Duration,
    next_key: u64,
    /// Who waits, by when and by order of arrival. The waker is absent until the first poll.
    until_monotonic: BTreeMap<(Duration, u64), Option<Waker>>,
    until_wall: BTreeMap<(Timestamp, u64), Option<Waker>>,
}

impl ManualClock {
    /// A clock whose wall shows `now` and whose monotonic time is zero.
    pub fn new(now: Timestamp) -> Self {
        let state = State {
            wall: now,
            monotonic: Duration::ZERO,
            next_key: 0,
            until_monotonic: BTreeMap::new(),
            until_wall: BTreeMap::new(),
        };
        Self {
            shared: Arc::new(Shared {
                state: Mutex::new(state),
                registered: Notify::new(),
            }),
        }
    }

    /// Moves both clocks forward by `by` and wakes whoever waited for that, in the order of their deadlines.
    pub fn advance(&self, by: Duration) {
        self.change(|state| {
            state.monotonic = state.monotonic.saturating_add(by);
            state.wall += by;
        });
    }

    /// Sets the wall clock, as an operator or a time server does, in either direction; the monotonic clock stands still.
    pub fn set_wall(&self, now: Timestamp) {
        self.change(|state| state.wall = now);
    }

    /// Moves both clocks forward to the next deadline of a sleeper and wakes it. `false` when nobody sleeps.
    ///
    /// A simulation calls this whenever nothing else can run.
    pub fn advance_to_next(&self) -> bool {
        // Read and move under one lock: two callers must not both go by the same deadline, the second overshooting.
        let mut found = false;
        self.change(|state| {
            if let Some(by) = state.next() {
                found = true;
                state.monotonic = state.monotonic.saturating_add(by);
                state.wall += by;
            }
        });
        found
    }

    /// How long until the next sleeper is due; `None` when nobody sleeps.
    pub fn next(&self) -> Option<Duration> {
        self.shared.lock().next()
    }

    /// How many sleeps are under way.
    pub fn sleepers(&self) -> usize {
        self.shared.lock().sleepers()
    }

    /// Waits until at least `count` sleeps are under way, which is how a test knows that it may advance.
    ///
    /// # Cancel safety
    /// Nothing is lost when the future is dropped.
    pub async fn until_sleepers(&self, count: usize) {
        loop {
            let registered = self.shared.registered.notified();
            if self.sleepers() >= count {
                return;
            }
            registered.await;
        }
    }

    fn change(&self, change: impl FnOnce(&mut State)) {
        let due = {
            let mut state = self.shared.lock();
            change(&mut state);
            state.take_due()
        };
        // Outside the lock, because a waker may run the sleeper at once.
        due.into_iter().for_each(Waker::wake);
    }

    fn sleeper(&self, deadline: impl FnOnce(&State) -> Deadline) -> Sleeper {
        let sleeper = {
            let mut state = self.shared.lock();
            let key = state.next_key;
            state.next_key += 1;
            let deadline = deadline(&state);
            if !state.is_due(deadline) {
                state.insert(deadline, key, None);
            }
            Sleeper {
                shared: Arc::clone(&self.shared),
                deadline,
                key,
            }
        };
        self.shared.registered.notify_waiters();
        sleeper
    }
}

impl fmt::Debug for ManualClock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = self.shared.lock();
        f.debug_struct("ManualClock")
            .field("now", &state.wall)
            .field("monotonic", &state.monotonic)
            .field("sleepers", &state.sleepers())
            .finish()
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        // No code that can panic runs under the lock, so a poisoned state is still a whole one.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn next(&self) -> Option<Duration> {
        let monotonic = self
            .until_monotonic
            .keys()
            .next()
            .map(|(at, _)| at.saturating_sub(self.monotonic));
        let wall = self.until_wall.keys().next().map(|(at, _)| at.since(self.wall));
        match (monotonic, wall) {
            (Some(a), Some(b)) => Some(a.min(b)),
            (a, b) => a.or(b),
        }
    }

    fn sleepers(&self) -> usize {
        self.until_monotonic.len() + self.until_wall.len()
    }

    fn is_due(&self, deadline: Deadline) -> bool {
        match deadline {
            Deadline::Monotonic(at) => self.monotonic >= at,
            Deadline::Wall(at) => self.wall >= at,
        }
    }

    fn insert(&mut self, deadline: Deadline, key: u64, waker: Option<Waker>) {
        match deadline {
            Deadline::Monotonic(at) => self.until_monotonic.insert((at, key), waker),
            Deadline::Wall(at) => self.until_wall.insert((at, key), waker),
        };
    }

    fn remove(&mut self, deadline: Deadline, key: u64) {
        match deadline {
            Deadline::Monotonic(at) => self.until_monotonic.remove(&(at, key)),
            Deadline::Wall(at) => self.until_wall.remove(&(at, key)),
        };
    }

    fn take_due(&mut self) -> Vec<Waker> {
        let mut due = Vec::new();
        while let Some(entry) = self
            .until_monotonic
            .first_entry()
            .filter(|entry| entry.key().0 <= self.monotonic)
        {
            due.extend(entry.remove());
        }
        while let Some(entry) = self.until_wall.first_entry().filter(|entry| entry.key().0 <= self.wall) {
            due.extend(entry.remove());
        }
        due
    }
}

#[derive(Copy, Clone)]
enum Deadline {
    Monotonic(Duration),
    Wall(Timestamp),
}

struct Sleeper {
    shared: Arc<Shared>,
    deadline: Deadline,
    key: u64,
}

impl Future for Sleeper {
    type Output = ();

    fn poll(self: Pin<&mut Self>, task: &mut Context<'_>) -> Poll<()> {
        let mut state = self.shared.lock();
        if state.is_due(self.deadline) {
            return Poll::Ready(());
        }
        // Inserted anew also when it was taken as due and the wall clock was set back before this poll.
        state.insert(self.deadline, self.key, Some(task.waker().clone()));
        Poll::Pending
    }
}

impl Drop for Sleeper {
    fn drop(&mut self) {
        self.shared.lock().remove(self.deadline, self.key);
    }
}

#[async_trait]
impl Clock for ManualClock {
    fn now(&self) -> Timestamp {
        self.shared.lock().wall
    }

    fn monotonic(&self) -> Duration {
        self.shared.lock().monotonic
    }

    // Both are written out because an `async fn` would register its sleeper at the first poll.
    fn sleep<'life0, 'async_trait>(
        &'life0 self,
        duration: Duration,
    ) -> Pin<Box<dyn Future<Output = ()> + Send + 'async_trait>>
    where
        'life0: 'async_trait,
        Self: 'async_trait,
    {
        Box::pin(self.sleeper(|state| Deadline::Monotonic(state.monotonic.saturating_add(duration))))
    }

    fn sleep_until<'life0, 'async_trait>(
        &'life0 self,
        at: Timestamp,
    ) -> Pin<Box<dyn Future<Output = ()> + Send + 'async_trait>>
    where
        'life0: 'async_trait,
        Self: 'async_trait,
    {
        Box::pin(self.sleeper(|_| Deadline::Wall(at)))
    }
}
