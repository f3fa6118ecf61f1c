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

use std::collections::BTreeMap;
use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use hive_core::clock::Clock;
use hive_core::db::{Db, Snapshot, Wakes};
use hive_errors::{ErrorKind, Result, RetryPolicy};

use super::CHANGED;
use crate::event::{Event, Sequence};
use crate::limits;
use crate::live::Live;
use crate::log::{self, PUBLISHED};
use crate::transport::background::Background;

/// Those who have taken a sequence and whose transactions have not ended. The numbers are those of the lock in the table's
/// migration.
const PUBLISHING: &str = "SELECT virtualtransaction FROM pg_locks
    WHERE locktype = 'advisory' AND classid = 1751742053 AND objid = 1 AND objsubid = 2 AND granted
      AND database = (SELECT oid FROM pg_database WHERE datname = current_database())";

/// Moves the end of the log on. One per process and database.
pub(super) struct Follower {
    inner: Arc<Inner>,
    tasks: [Background; 2],
}

struct Inner {
    db: Db,
    /// Measures how long publishers keep others waiting. What waits for them goes by the server and not by this clock.
    clock: Arc<dyn Clock>,
    live: Live,
    /// How many moves have begun.
    begun: AtomicU64,
    /// Held by whoever looks how far the end may move.
    moving: tokio::sync::Mutex<Moving>,
    /// Held while the end moves.
    own: Mutex<Own>,
}

struct Moving {
    /// The newest move after which everything was settled that was there when it began.
    done: u64,
    /// Whoever fills a gap is heard here.
    published: Wakes,
}

/// What this process has published itself and something may still be missing before.
#[derive(Default)]
struct Own {
    events: BTreeMap<Sequence, Event>,
    bytes: usize,
}

/// What is behind the settled end of the log.
struct Look {
    /// Without a gap.
    whole: Vec<Event>,
    /// Where the look ended behind a gap.
    beyond: Option<Sequence>,
    /// Where the log ends, if that is far behind what was read.
    far: Option<Sequence>,
    /// Whether nothing was left to read.
    ended: bool,
    /// Who was at work after all this had been seen; nobody where that does not matter.
    publishing: Vec<String>,
}

impl Follower {
    /// Begins to follow: the end is where the log is settled now.
    pub(super) async fn begin(db: Db, clock: Arc<dyn Clock>, live: Live) -> Result<Self> {
        let (published, changed) = (db.listen(PUBLISHED), db.listen(CHANGED));
        let moving = Moving {
            done: 0,
            published: db.listen(PUBLISHED),
        };
        let inner = Arc::new(Inner {
            db,
            clock,
            live: live.clone(),
            begun: AtomicU64::new(0),
            moving: tokio::sync::Mutex::new(moving),
            own: Mutex::default(),
        });
        inner.settle().await?;
        let follow = Background::spawn(follow(Arc::clone(&inner), published));
        // Apart, because whoever follows may wait for publishers.
        let pass_on = Background::spawn(pass_on(live, changed));
        Ok(Self {
            inner,
            tasks: [follow, pass_on],
        })
    }

    /// Waits until all that was acknowledged before this call is settled, and says up to where the log is.
    pub(super) async fn settle(&self) -> Result<Sequence> {
        self.inner.settle().await
    }

    /// These were published by this process and are committed: where nothing is missing before them, nobody has to read them.
    pub(super) fn offer(&self, events: Vec<Event>) {
        let Inner { live, own, .. } = &*self.inner;
        // Whoever waits from now on settles first.
        if live.is_watched() {
            let mut own = lock(own);
            events.into_iter().for_each(|event| own.push(event));
            own.move_on(live, Vec::new(), Sequence::START);
            own.forget_too_many();
        }
    }

    /// Ends what runs in the background.
    pub(super) async fn end(&self) {
        for task in &self.tasks {
            task.end().await;
        }
    }
}

impl fmt::Debug for Follower {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Follower").finish_non_exhaustive()
    }
}

async fn follow(inner: Arc<Inner>, mut published: Wakes) {
    let backoff = RetryPolicy::exponential(u32::MAX).with_cap(limits::FOLLOW_BACKOFF_MAX);
    let mut failures = 0;
    let mut wait = limits::FOLLOW_LOOK;
    loop {
        published.wait(wait).await;
        wait = limits::FOLLOW_LOOK;
        // Nobody waits: whoever comes settles first.
        while inner.live.is_watched() {
            match inner.step().await {
                Ok(everything) => {
                    failures = 0;
                    if everything {
                        break;
                    }
                }
                // The database was closed: nothing will come any more.
                Err(error) if error.kind() == ErrorKind::ShuttingDown => return inner.live.close(),
                Err(error) => {
                    failures += 1;
                    tracing::warn!(%error, failures, "the log of events cannot be followed; trying again");
                    // When the server is back, that is heard.
                    let pause = backoff.delay_after(failures, 0, error.retry_after());
                    wait = pause.unwrap_or(limits::FOLLOW_BACKOFF_MAX);
                    break;
                }
            }
        }
    }
}

async fn pass_on(live: Live, mut changed: Wakes) {
    loop {
        if changed.wait(limits::FOLLOW_LOOK).await {
            live.touch_all();
        }
    }
}

impl Inner {
    async fn settle(&self) -> Result<Sequence> {
        let before = self.begun.load(Ordering::SeqCst);
        loop {
            let mut moving = self.moving.lock().await;
            // Somebody may have begun after this call and done it for all.
            if moving.done > before || self.advance(&mut moving).await? {
                return Ok(self.live.head().sequence);
            }
        }
    }

    async fn step(&self) -> Result<bool> {
        let mut moving = self.moving.lock().await;
        self.advance(&mut moving).await
    }

    /// Moves the end on by a page; whether everything is settled that was there when it began.
    async fn advance(&self, moving: &mut Moving) -> Result<bool> {
        let number = self.begun.fetch_add(1, Ordering::SeqCst) + 1;
        let look = self.look(false).await?;
        let (ended, far) = (look.ended, look.far);
        let end = far.or(look.beyond);
        let publishing = self.hand_out(look);
        if let Some(end) = end {
            self.wait_for(publishing, end, &mut moving.published).await?;
            if far.is_some() {
                // Whoever wants it reads it: that costs less than to read everything here first.
                let _still = lock(&self.own);
                self.live.committed_to(end);
            }
            while self.live.head().sequence < end {
                self.hand_out_gaps(end).await?;
            }
        }
        let everything = ended || far.is_some();
        if everything {
            moving.done = number;
        }
        Ok(everything)
    }

    /// Looks behind the settled end of the log, and then at who is at work, if there is a gap or if that is asked for.
    async fn look(&self, at_all: bool) -> Result<Look> {
        let settled = self.live.head().sequence;
        let look = move |db: &Snapshot<'_>| {
            let (mut whole, ended) = log::next(db, settled, Sequence::new(u64::MAX), limits::FOLLOW_EVENTS)?;
            let last = whole.last().map(Event::sequence);
            whole.truncate(follow_one_another(settled, &whole));
            let beyond = last.filter(|last| whole.last().map(Event::sequence) < Some(*last));
            let far = if ended { None } else { Some(log::head(db)?) };
            let far = far.filter(|head| head.get() > settled.get() + 2 * limits::FOLLOW_EVENTS as u64);
            let publishing = if at_all || beyond.is_some() || far.is_some() {
                db.query(PUBLISHING, &[], |row| row.get(0))?
            } else {
                Vec::new()
            };
            Ok(Look {
                whole,
                beyond,
                far,
                ended,
                publishing,
            })
        };
        self.db.read(look).await
    }

    /// Moves the end over what has no gap; gives who was at work.
    fn hand_out(&self, look: Look) -> Vec<String> {
        let last = look.whole.last().map(Event::sequence).unwrap_or_default();
        lock(&self.own).move_on(&self.live, look.whole, last);
        look.publishing
    }

    /// Moves the end on towards `end`, up to where nobody who could fill a gap is at work any more.
    async fn hand_out_gaps(&self, end: Sequence) -> Result<()> {
        let settled = self.live.head().sequence;
        let read = move |db: &Snapshot<'_>| log::next(db, settled, end, limits::FOLLOW_EVENTS);
        let (events, all) = self.db.read(read).await?;
        let reached = if all { None } else { events.last().map(Event::sequence) };
        lock(&self.own).move_on(&self.live, events, reached.unwrap_or(end));
        Ok(())
    }

    /// Waits until each of these transactions has ended, or what they were at is there: no gap is left up to `end`. How long
    /// that is, the server bounds.
    async fn wait_for(&self, mut those: Vec<String>, end: Sequence, published: &mut Wakes) -> Result<()> {
        let mut pause = limits::FOLLOW_WAIT;
        let mut patience = self.clock.monotonic() + limits::FOLLOW_PATIENCE;
        while !those.is_empty() && self.live.head().sequence < end {
            published.wait(pause).await;
            pause = (pause * 2).min(limits::FOLLOW_WAIT_MAX);
            let look = self.look(true).await?;
            let now = self.hand_out(look);
            those.retain(|one| now.contains(one));
            if self.clock.monotonic() >= patience && !those.is_empty() {
                patience += limits::FOLLOW_PATIENCE;
                tracing::warn!(
                    transactions = those.len(),
                    "events wait to be handed out behind transactions that have published and do not end"
                );
            }
        }
        Ok(())
    }
}

impl Own {
    fn push(&mut self, event: Event) {
        self.bytes += event.bytes();
        if let Some(before) = self.events.insert(event.sequence(), event) {
            self.bytes -= before.bytes();
        }
    }

    fn take_up_to(&mut self, sequence: Sequence) -> Option<Event> {
        let first = self.events.first_entry().filter(|first| *first.key() <= sequence)?;
        let event = first.remove();
        self.bytes -= event.bytes();
        Some(event)
    }

    /// What is not kept is read.
    fn forget_too_many(&mut self) {
        while self.events.len() > limits::RECENT_EVENTS_MAX || self.bytes > limits::RECENT_BYTES_MAX {
            let Some((_, newest)) = self.events.pop_last() else {
                return;
            };
            self.bytes -= newest.bytes();
        }
    }

    /// Moves the end on to `reached`, over all events that there are up to there from where it stood at some time; and over what
    /// this process has published right behind that.
    fn move_on(&mut self, live: &Live, mut events: Vec<Event>, reached: Sequence) {
        let settled = live.head().sequence;
        events.retain(|event| event.sequence() > settled);
        let mut reached = reached.max(settled);
        while self.take_up_to(reached).is_some() {}
        while let Some(next) = self.take_up_to(Sequence::new(reached.get() + 1)) {
            reached = next.sequence();
            events.push(next);
        }
        if reached > settled {
            live.committed(settled, events, reached);
        }
    }
}

/// Nothing panics while it holds one of these locks.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
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
