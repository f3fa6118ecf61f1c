//! Backpressure: publishers of this process wait for the subscriptions that ask them to.

use std::fmt;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use hive_core::clock::{Clock, timeout};
use hive_errors::{Error, ErrorKind, Result};
use tokio::sync::Notify;

use crate::event::Sequence;
use crate::limits;
use crate::live::Live;

/// Those that publishers wait for.
#[derive(Default)]
pub(crate) struct Pressure {
    shares: Mutex<Vec<Weak<Position>>>,
    count: AtomicUsize,
    moved: Notify,
}

struct Position {
    cursor: AtomicU64,
    most: u64,
}

/// One subscription's hold on publishers, until it is dropped.
pub(crate) struct Share {
    position: Arc<Position>,
    pressure: Arc<Pressure>,
}

impl Pressure {
    /// Publishers wait from now on while this cursor is more than `most` behind.
    pub(crate) fn join(self: &Arc<Self>, cursor: Sequence, most: u64) -> Share {
        let position = Arc::new(Position {
            cursor: AtomicU64::new(cursor.get()),
            most,
        });
        self.shares().push(Arc::downgrade(&position));
        self.count.fetch_add(1, Ordering::AcqRel);
        Share {
            position,
            pressure: Arc::clone(self),
        }
    }

    /// Returns once everybody who asks for it has kept up.
    ///
    /// # Errors
    /// `overloaded` when that takes longer than [`limits::PUBLISH_TIMEOUT`].
    pub(crate) async fn relieved(&self, live: &Live, clock: &dyn Clock) -> Result<()> {
        if self.count.load(Ordering::Acquire) == 0 {
            return Ok(());
        }
        let wait = async {
            loop {
                let moved = self.moved.notified();
                if self.worst(live.head().sequence).is_none() {
                    return;
                }
                moved.await;
            }
        };
        timeout(clock, limits::PUBLISH_TIMEOUT, wait).await.map_err(|_| {
            Error::new(
                ErrorKind::Overloaded,
                "a subscription that publishers wait for does not keep up",
            )
            .with("waited", format!("{:?}", limits::PUBLISH_TIMEOUT))
            .with("behind", self.worst(live.head().sequence).unwrap_or_default())
            .with_hint("find out what it does between two events, or give it another lag policy")
        })
    }

    /// How far the worst of those who are too far behind is behind.
    fn worst(&self, head: Sequence) -> Option<u64> {
        let mut shares = self.shares();
        shares.retain(|share| share.strong_count() > 0);
        shares
            .iter()
            .filter_map(Weak::upgrade)
            .map(|position| {
                (
                    head.get().saturating_sub(position.cursor.load(Ordering::Acquire)),
                    position.most,
                )
            })
            .filter(|(behind, most)| behind > most)
            .map(|(behind, _)| behind)
            .max()
    }

    fn shares(&self) -> MutexGuard<'_, Vec<Weak<Position>>> {
        // Nothing panics while it holds the lock.
        self.shares.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Share {
    /// Everything up to here was taken.
    pub(crate) fn moved(&self, cursor: Sequence) {
        self.position.cursor.store(cursor.get(), Ordering::Release);
        self.pressure.moved.notify_waiters();
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        self.position.cursor.store(u64::MAX, Ordering::Release);
        self.pressure.count.fetch_sub(1, Ordering::AcqRel);
        self.pressure.moved.notify_waiters();
    }
}

impl fmt::Debug for Pressure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pressure")
            .field("shares", &self.count.load(Ordering::Relaxed))
            .finish_non_exhaustive()
    }
}
