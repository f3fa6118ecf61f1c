//! What is new: tells whoever waits that something they want was committed, and keeps the newest events at hand for them.

#[cfg(test)]
mod tests;

use std::collections::{HashMap, VecDeque};
use std::fmt;
use std::pin::pin;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};

use tokio::sync::{Notify, watch};
use tokio::task::JoinHandle;

use crate::event::{Event, Sequence};
use crate::limits;
use crate::topic::{PatternKey, PatternTrie, Patterns};

/// How far a log goes, as far as this process knows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Head {
    /// Everything up to here is settled: it can be read now or never.
    pub sequence: Sequence,
    /// Nobody is to wait for more.
    pub closed: bool,
}

/// The end of a transport's log: where it is, what stands there, and who waits for more. Each transport has one and tells it
/// what comes; subscriptions and consumers wait on it, so that nobody asks a server in a loop.
///
/// A clone is the same end.
#[derive(Clone)]
pub struct Live {
    inner: Arc<Inner>,
}

struct Inner {
    head: watch::Sender<Head>,
    recent: Recent,
    interests: Mutex<PatternTrie<Arc<Bell>>>,
    /// How many interests there are, for publishers to see without a lock.
    watchers: AtomicUsize,
    /// Told when the first of them comes.
    watched: Notify,
    /// Who waits for a change of a group's state, by the group's name.
    groups: Mutex<HashMap<String, Vec<Arc<Bell>>>>,
    dispatcher: Mutex<Option<JoinHandle<()>>>,
}

/// Wakes one who waits.
#[derive(Debug)]
struct Bell {
    notify: Notify,
    /// The round of the dispatcher that rang last, so that one round rings once.
    round: AtomicU64,
    /// The first event that rang since it was taken; [`SILENT`] when none did, 0 when that is not known.
    first: AtomicU64,
    /// Whether somebody else may have changed the group's state.
    touched: AtomicBool,
}

/// Nothing rang.
const SILENT: u64 = u64::MAX;

/// Somebody waits for events that match some patterns. It ends when it is dropped.
pub struct Interest {
    live: Live,
    bell: Arc<Bell>,
    keys: Vec<PatternKey>,
    group: Option<String>,
}

impl Live {
    /// A log that is known to be settled up to `sequence`.
    pub fn new(sequence: Sequence) -> Self {
        let head = Head {
            sequence,
            closed: false,
        };
        Self {
            inner: Arc::new(Inner {
                head: watch::Sender::new(head),
                recent: Recent::default(),
                interests: Mutex::default(),
                watchers: AtomicUsize::new(0),
                watched: Notify::new(),
                groups: Mutex::default(),
                dispatcher: Mutex::default(),
            }),
        }
    }

    /// How far the log goes.
    pub fn head(&self) -> Head {
        *self.inner.head.borrow()
    }

    /// Follows how far the log goes.
    pub fn follow(&self) -> watch::Receiver<Head> {
        self.inner.head.subscribe()
    }

    /// Whether somebody waits for events, so that it is worth keeping them at hand.
    pub fn is_watched(&self) -> bool {
        self.inner.watchers.load(Ordering::Acquire) > 0
    }

    /// Returns once somebody waits for events, for transports that ask a server only while somebody does.
    ///
    /// # Cancel safety
    /// Nothing is lost when the future is dropped.
    pub async fn watched(&self) {
        let mut watched = pin!(self.inner.watched.notified());
        loop {
            // From here on it is told, so whoever comes after the look below is not missed.
            watched.as_mut().enable();
            if self.is_watched() {
                return;
            }
            watched.as_mut().await;
            watched.set(self.inner.watched.notified());
        }
    }

    /// These events are settled, in the order of their sequences, and nothing else lies between `after` and `reached`.
    pub fn committed(&self, after: Sequence, events: Vec<Event>, reached: Sequence) {
        self.inner.recent.push(after, events, reached);
        self.committed_to(reached);
    }

    /// Everything up to here is settled; whoever wants it reads it from the log.
    pub fn committed_to(&self, reached: Sequence) {
        self.inner.head.send_if_modified(|head| {
            let grows = reached > head.sequence;
            head.sequence = head.sequence.max(reached);
            grows
        });
    }

    /// The events after `after` that match and are at hand, as many as a page holds, and up to where that looked. `None` when
    /// what is next to `after` is not at hand.
    pub fn recent(&self, patterns: &Patterns, after: Sequence, limit: usize) -> Option<(Vec<Event>, Sequence)> {
        let mut found = Vec::new();
        let reached = self.inner.recent.read_after(patterns, after, limit, &mut found)?;
        Some((found, reached))
    }

    /// Events up to here were removed from the log, all or some: they are not at hand any more.
    pub fn removed(&self, until: Sequence) {
        self.inner.recent.remove(until);
    }

    /// Ends every wait for more.
    pub fn close(&self) {
        self.inner
            .head
            .send_if_modified(|head| !std::mem::replace(&mut head.closed, true));
        // The dispatcher passes it on; where there is none, nobody waits.
    }

    /// Waits for events that match, from now on. `group` also hears of [`Live::touch`].
    ///
    /// # Panics
    /// Outside a tokio runtime.
    pub fn interest(&self, patterns: &Patterns, group: Option<&str>) -> Interest {
        let bell = Arc::new(Bell::default());
        let mut interests = self.interests();
        let keys = patterns
            .iter()
            .map(|pattern| interests.insert(pattern, Arc::clone(&bell)))
            .collect();
        drop(interests);
        if self.inner.watchers.fetch_add(1, Ordering::AcqRel) == 0 {
            self.inner.watched.notify_waiters();
        }
        if let Some(group) = group {
            let mut groups = self.groups();
            groups.entry(group.to_owned()).or_default().push(Arc::clone(&bell));
        }
        self.dispatch();
        Interest {
            live: self.clone(),
            bell,
            keys,
            group: group.map(str::to_owned),
        }
    }

    /// The state of this group was changed by somebody else: whoever works for it looks again.
    pub fn touch(&self, group: &str) {
        self.groups()
            .get(group)
            .into_iter()
            .flatten()
            .for_each(|bell| bell.touch());
    }

    /// Any state may have been changed.
    pub fn touch_all(&self) {
        self.groups().values().flatten().for_each(|bell| bell.touch());
    }

    /// The log ends at `left` again, before `known`, where it ended: what stood behind is lost, and may be settled once more.
    /// Nothing happens when it has moved on from `known` since.
    pub fn lost(&self, known: Sequence, left: Sequence) {
        let lost = self.inner.head.send_if_modified(|head| {
            let back = head.sequence == known && left < known;
            if back {
                head.sequence = left;
            }
            back
        });
        if lost {
            self.inner.recent.forget();
            self.wake_all();
        }
    }

    /// Whoever waits looks again: the log may have more, or any state may have changed, without a word about it.
    pub fn wake_all(&self) {
        self.touch_all();
        self.inner.tell_all();
    }

    /// One task for all who wait: what is committed wakes it, and it wakes whom it concerns.
    fn dispatch(&self) {
        let mut dispatcher = lock(&self.inner.dispatcher);
        if dispatcher.as_ref().is_some_and(|task| !task.is_finished()) {
            return;
        }
        let mut head = self.inner.head.subscribe();
        let live = Arc::downgrade(&self.inner);
        let mut told = head.borrow().sequence;
        *dispatcher = Some(tokio::spawn(async move {
            let mut round = 0;
            loop {
                let Head { sequence, closed } = *head.borrow_and_update();
                let Some(inner) = live.upgrade() else { return };
                round += 1;
                if closed
                    || inner
                        .recent
                        .each_after(told, sequence, |event| inner.tell(event, round))
                        .is_none()
                {
                    // Too much came at once, or it is not at hand: everybody looks for themselves.
                    inner.tell_all();
                }
                told = sequence;
                drop(inner);
                if head.changed().await.is_err() {
                    return;
                }
            }
        }));
    }

    fn interests(&self) -> MutexGuard<'_, PatternTrie<Arc<Bell>>> {
        lock(&self.inner.interests)
    }

    fn groups(&self) -> MutexGuard<'_, HashMap<String, Vec<Arc<Bell>>>> {
        lock(&self.inner.groups)
    }
}

/// Nothing panics while it holds one of these locks.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Inner {
    fn tell(&self, event: &Event, round: u64) {
        lock(&self.interests).for_each_match(event.topic(), |bell| {
            if bell.round.swap(round, Ordering::Relaxed) != round {
                bell.ring(event.sequence());
            }
        });
    }

    fn tell_all(&self) {
        lock(&self.interests).for_each(|bell| bell.ring(Sequence::START));
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        if let Some(dispatcher) = lock(&self.dispatcher).take() {
            dispatcher.abort();
        }
    }
}

impl Default for Bell {
    fn default() -> Self {
        Self {
            notify: Notify::new(),
            round: AtomicU64::new(0),
            first: AtomicU64::new(SILENT),
            touched: AtomicBool::new(false),
        }
    }
}

impl Bell {
    fn touch(&self) {
        self.touched.store(true, Ordering::Release);
        self.ring(Sequence::START);
    }

    fn ring(&self, first: Sequence) {
        self.first.fetch_min(first.get(), Ordering::AcqRel);
        self.notify.notify_one();
    }
}

impl Interest {
    /// Takes the word that the group's state may have been changed.
    pub fn take_touched(&self) -> bool {
        self.bell.touched.swap(false, Ordering::AcqRel)
    }

    /// Returns once something that matches may have come since the last call, at once when it has; also when the log is
    /// closed. It can come too often.
    ///
    /// # Cancel safety
    /// Dropped, what woke it wakes the next call.
    pub async fn woken(&self) {
        if !self.is_woken() {
            self.bell.notify.notified().await;
        }
    }

    /// Takes the wake-up, before looking: what comes from here on wakes again. With the first event that woke; whoever had seen
    /// all before that was told of may go on there, as nothing between matches. [`Sequence::START`] when that is not known.
    pub fn take(&self) -> Option<Sequence> {
        let first = self.bell.first.swap(SILENT, Ordering::AcqRel);
        (first != SILENT).then(|| Sequence::new(first))
    }

    fn is_woken(&self) -> bool {
        self.bell.first.load(Ordering::Acquire) != SILENT
    }
}

impl Drop for Interest {
    fn drop(&mut self) {
        self.live.inner.watchers.fetch_sub(1, Ordering::AcqRel);
        let mut interests = self.live.interests();
        for key in self.keys.drain(..) {
            interests.remove(key);
        }
        drop(interests);
        if let Some(group) = &self.group {
            let mut groups = self.live.groups();
            if let Some(bells) = groups.get_mut(group) {
                bells.retain(|bell| !Arc::ptr_eq(bell, &self.bell));
                if bells.is_empty() {
                    groups.remove(group);
                }
            }
        }
    }
}

impl fmt::Debug for Live {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Live")
            .field("head", &self.head())
            .finish_non_exhaustive()
    }
}

impl fmt::Debug for Interest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Interest")
            .field("group", &self.group)
            .finish_non_exhaustive()
    }
}

/// The newest events, shared by all who wait. It only saves reads: what is not here is in the log.
#[derive(Debug, Default)]
struct Recent {
    ring: RwLock<Ring>,
}

#[derive(Debug, Default)]
struct Ring {
    /// Invariant: these are all the events after `after` and up to `reached`, in order, so nobody who reads here misses one.
    events: VecDeque<Event>,
    after: Sequence,
    reached: Sequence,
    bytes: usize,
}

impl Recent {
    fn push(&self, after: Sequence, events: Vec<Event>, reached: Sequence) {
        // A panic while the lock was held can only have come from allocation; the ring is whole between statements.
        let mut ring = self.ring.write().unwrap_or_else(PoisonError::into_inner);
        ring.push(after, events, reached);
    }

    fn forget(&self) {
        *self.ring.write().unwrap_or_else(PoisonError::into_inner) = Ring::default();
    }

    fn remove(&self, until: Sequence) {
        let mut ring = self.ring.write().unwrap_or_else(PoisonError::into_inner);
        ring.remove(until);
    }

    fn read_after(
        &self,
        patterns: &Patterns,
        after: Sequence,
        limit: usize,
        found: &mut Vec<Event>,
    ) -> Option<Sequence> {
        let ring = self.ring.read().unwrap_or_else(PoisonError::into_inner);
        let mut bytes = 0;
        for event in ring.behind(after)? {
            if patterns.matches(event.topic()) {
                bytes += event.bytes();
                found.push(event.clone());
                if found.len() >= limit || bytes >= limits::PAGE_BYTES_MAX {
                    return Some(event.sequence());
                }
            }
        }
        Some(ring.reached)
    }

    /// Shows every event after `after`, at least up to `until`; `None` when some of them are not here.
    fn each_after(&self, after: Sequence, until: Sequence, mut visit: impl FnMut(&Event)) -> Option<()> {
        // Not held while whoever waits is told: publishers must not wait for that.
        let events: Vec<Event> = {
            let ring = self.ring.read().unwrap_or_else(PoisonError::into_inner);
            if after >= until {
                return Some(());
            }
            if ring.reached < until {
                return None;
            }
            ring.behind(after)?.cloned().collect()
        };
        events.iter().for_each(&mut visit);
        Some(())
    }
}

impl Ring {
    /// What is here after `after`; `None` when `after` is not the end of something that is known here.
    fn behind(&self, after: Sequence) -> Option<impl Iterator<Item = &Event>> {
        if after < self.after || after >= self.reached {
            return None;
        }
        let start = self.events.partition_point(|event| event.sequence() <= after);
        Some(self.events.range(start..))
    }

    fn remove(&mut self, until: Sequence) {
        while let Some(oldest) = self.events.front()
            && oldest.sequence() <= until
        {
            self.bytes -= oldest.bytes();
            self.events.pop_front();
        }
        // What it has not come to is not forgotten, but was never here.
        self.after = self.after.max(until.min(self.reached));
    }

    fn push(&mut self, after: Sequence, events: Vec<Event>, reached: Sequence) {
        if after != self.reached {
            // Something was settled that this ring was not told of. What came before is not next to anything any more.
            self.events.clear();
            self.bytes = 0;
            self.after = after;
        }
        self.reached = reached;
        for event in events {
            self.bytes += event.bytes();
            self.events.push_back(event);
        }
        while self.events.len() > limits::RECENT_EVENTS_MAX || self.bytes > limits::RECENT_BYTES_MAX {
            let Some(oldest) = self.events.pop_front() else { break };
            self.bytes -= oldest.bytes();
            self.after = oldest.sequence();
        }
    }
}
