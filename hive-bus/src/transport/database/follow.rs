//! Following a log in which several write at once: up to where it is settled, and what is new.
//!
//! A sequence is taken before its transaction commits, so a reader may find 11 while 10 is still to come, and a cursor that has
//! gone past 11 would never see it. Numbers that follow one another without a gap are settled: each is there. Where there is a
//! gap, either its owner is still at work or it has given up. Whoever takes a sequence holds a shared advisory lock from
//! before that until its transaction has ended; so who holds the lock *after* 11 was seen is everybody who could own 10. Once
//! those have let go, one more look says what became of the gap, for ever.
//!
//! Publishers never wait for this, and it costs them one lock that nobody takes exclusively. What waits behind a publisher that
//! stands still is the handing out of what came after it, until its transaction ends: the server sees to that
//! (`idle_in_transaction_session_timeout`).

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use hive_core::clock::Clock;
use hive_core::db::{Db, Snapshot, Wakes};
use hive_errors::{Result, RetryPolicy};
use tokio::task::JoinHandle;

use super::{CHANGED, PUBLISHED};
use crate::event::{Event, Sequence};
use crate::limits;
use crate::live::Live;
use crate::log::{self, Filter};

/// Those who have taken a sequence and whose transactions have not ended. The numbers are those of the lock in the table's
/// migration.
const PUBLISHING: &str = "SELECT virtualtransaction FROM pg_locks
    WHERE locktype = 'advisory' AND classid = 1751742053 AND objid = 1 AND objsubid = 2 AND granted
      AND database = (SELECT oid FROM pg_database WHERE datname = current_database())";

/// Moves the end of the log on. One per process and database.
pub(super) struct Follower {
    inner: Arc<Inner>,
    task: Mutex<Option<JoinHandle<()>>>,
}

struct Inner {
    db: Db,
    clock: Arc<dyn Clock>,
    live: Live,
    /// Held by whoever moves the end on.
    moving: tokio::sync::Mutex<()>,
}

impl Follower {
    /// Begins to follow: the end is where the log is settled now.
    pub(super) async fn begin(db: Db, clock: Arc<dyn Clock>, live: Live) -> Result<Self> {
        let published = db.listen(PUBLISHED);
        let changed = db.listen(CHANGED);
        let inner = Arc::new(Inner {
            db,
            clock,
            live,
            moving: tokio::sync::Mutex::default(),
        });
        inner.decide().await?;
        let task = tokio::spawn(follow(Arc::clone(&inner), published, changed));
        Ok(Self {
            inner,
            task: Mutex::new(Some(task)),
        })
    }

    /// Waits until all that was acknowledged before this call is settled, and says up to where the log is.
    pub(super) async fn settle(&self) -> Result<Sequence> {
        let head = self.inner.db.read(log::head).await?;
        while self.inner.live.head().sequence < head {
            self.inner.step().await?;
        }
        Ok(self.inner.live.head().sequence)
    }

    /// Ends what runs in the background.
    pub(super) async fn end(&self) {
        let task = self.task().take();
        if let Some(task) = task {
            task.abort();
            // Cancelled is how it is meant to end.
            drop(task.await);
        }
    }

    fn task(&self) -> MutexGuard<'_, Option<JoinHandle<()>>> {
        // Nothing panics while it holds the lock.
        self.task.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Follower {
    fn drop(&mut self) {
        if let Some(task) = self.task().take() {
            task.abort();
        }
    }
}

impl fmt::Debug for Follower {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Follower").finish_non_exhaustive()
    }
}

async fn follow(inner: Arc<Inner>, mut published: Wakes, mut changed: Wakes) {
    let backoff = RetryPolicy::exponential(u32::MAX).with_cap(limits::FOLLOW_BACKOFF_MAX);
    let mut failures = 0;
    loop {
        tokio::select! {
            _ = published.wait(limits::FOLLOW_LOOK) => {}
            true = changed.wait(limits::FOLLOW_LOOK) => {
                inner.live.touch_all();
                continue;
            }
        }
        // Nobody waits: whoever comes settles first.
        while inner.live.is_watched() {
            match inner.step().await {
                Ok(true) => failures = 0,
                Ok(false) => {
                    failures = 0;
                    break;
                }
                Err(error) => {
                    failures += 1;
                    tracing::warn!(%error, failures, "the log of events cannot be followed; trying again");
                    let wait = backoff.delay_after(failures, 0, error.retry_after());
                    inner.clock.sleep(wait.unwrap_or(limits::FOLLOW_BACKOFF_MAX)).await;
                }
            }
        }
    }
}

impl Inner {
    /// Moves the end on by a page; whether there was anything.
    async fn step(&self) -> Result<bool> {
        let _moving = self.moving.lock().await;
        let settled = self.live.head().sequence;
        let found = self.page(settled, None).await?;
        let Some(last) = found.events.last().map(Event::sequence) else {
            if found.ended {
                return Ok(false);
            }
            // A stretch without events that is longer than one look.
            self.wait_for(self.publishing().await?).await?;
            let again = self.page(settled, Some(found.reached)).await?;
            self.live.committed(settled, again.events, again.reached);
            return Ok(true);
        };
        let whole = follow_one_another(settled, &found.events);
        if whole == found.events.len() {
            self.live.committed(settled, found.events, last);
            return Ok(true);
        }
        let mut events = found.events;
        events.truncate(whole);
        let reached = events.last().map_or(settled, Event::sequence);
        if reached > settled {
            self.live.committed(settled, events, reached);
        }
        // Asked after the gap was seen.
        self.wait_for(self.publishing().await?).await?;
        let mut settled = reached;
        while settled < last {
            let found = self.page(settled, Some(last)).await?;
            self.live.committed(settled, found.events, found.reached);
            settled = found.reached;
        }
        Ok(true)
    }

    /// The end of the log as it is now, without reading what is before it.
    async fn decide(&self) -> Result<()> {
        let _moving = self.moving.lock().await;
        let head = self.db.read(log::head).await?;
        self.wait_for(self.publishing().await?).await?;
        self.live.committed_to(head);
        Ok(())
    }

    async fn page(&self, after: Sequence, end: Option<Sequence>) -> Result<log::Found> {
        self.db
            .read(move |db| {
                let end = end.map_or_else(|| log::head(db), Ok)?;
                log::read_after(db, &Filter::default(), after, end, limits::FOLLOW_EVENTS)
            })
            .await
    }

    async fn publishing(&self) -> Result<Vec<String>> {
        let work = |db: &Snapshot<'_>| db.query(PUBLISHING, &[], |row| row.get::<String>(0));
        self.db.read(work).await
    }

    /// Waits until each of these transactions has ended. How long that is, the server bounds.
    async fn wait_for(&self, mut those: Vec<String>) -> Result<()> {
        let mut wait = limits::FOLLOW_WAIT;
        let mut waited = Duration::ZERO;
        while !those.is_empty() {
            self.clock.sleep(wait).await;
            waited += wait;
            wait = (wait * 2).min(limits::FOLLOW_WAIT_MAX);
            let now = self.publishing().await?;
            those.retain(|one| now.contains(one));
            if waited >= limits::FOLLOW_PATIENCE && !those.is_empty() {
                waited = Duration::ZERO;
                tracing::warn!(
                    transactions = those.len(),
                    "events wait to be handed out behind transactions that have published and do not end"
                );
            }
        }
        Ok(())
    }
}

/// How many of the events follow one another without a gap, from `after` on.
fn follow_one_another(after: Sequence, events: &[Event]) -> usize {
    let mut next = after.get();
    events
        .iter()
        .take_while(|event| {
            next += 1;
            event.sequence().get() == next
        })
        .count()
}
