//! A lease that is kept.

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use hive_errors::{Error, ErrorKind, Result};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use super::{Lease, Token, release, renew};
use crate::clock::{Clock, timeout};
use crate::db::Db;
use crate::limits;
use crate::rng::Rng;

/// A lease that is renewed in the background, from [`Keeper::hold`](super::Keeper::hold) or
/// [`Keeper::campaign`](super::Keeper::campaign).
///
/// It is lost when another holder has taken it, and also when it could not be renewed for so long that one soon may: a
/// [sixth](limits::LEASE_MARGIN_SHARE) of its time to live before it runs out, counted by this process's monotonic clock from
/// before the last renewal was sent. Whoever stops when it is lost has that long to do so.
///
/// Monotonic clocks may stand still while a machine is suspended, and this process with them. Writes to the database begin
/// with [`guard`](super::guard) for that reason.
///
/// Dropped, it is no longer renewed and runs out; [`Held::release`] gives it back at once.
pub struct Held {
    lease: Lease,
    db: Db,
    state: Arc<State>,
    /// Ended by [`Drop`], so that nothing is renewed for nobody.
    renewing: JoinHandle<()>,
}

/// What the renewing task tells.
struct State {
    clock: Arc<dyn Clock>,
    /// When to give up, on the monotonic clock.
    until: Mutex<Duration>,
    /// Why the lease was given up, before `lost` says that it was.
    cause: Mutex<Option<Error>>,
    lost: CancellationToken,
}

impl Held {
    /// Keeps `lease`, which was asked for when the monotonic clock showed `asked`.
    pub(super) fn new(db: Db, lease: Lease, asked: Duration, clock: Arc<dyn Clock>, rng: Arc<dyn Rng>) -> Self {
        let state = Arc::new(State {
            until: Mutex::new(give_up(asked, lease.ttl())),
            cause: Mutex::default(),
            lost: CancellationToken::new(),
            clock,
        });
        let renewing = Renewing {
            db: db.clone(),
            lease: lease.clone(),
            state: Arc::clone(&state),
            rng,
        };
        Self {
            renewing: tokio::spawn(renewing.run()),
            lease,
            db,
            state,
        }
    }

    /// The lease, to [`guard`](super::guard) writes with.
    pub fn lease(&self) -> &Lease {
        &self.lease
    }

    /// What to show to resources outside of the database.
    pub fn token(&self) -> Token {
        self.lease.token()
    }

    /// Whether the lease is lost, also when nobody has been told yet because this process was held up.
    pub fn is_lost(&self) -> bool {
        self.state.lost.is_cancelled() || self.state.clock.monotonic() >= *self.state.until()
    }

    /// Returns once the lease is lost, and says why: `lease-lost`, with what kept it from being renewed as its source.
    ///
    /// # Cancel safety
    /// Nothing is lost when the future is dropped.
    pub async fn lost(&self) -> Error {
        self.state.lost.cancelled().await;
        let error = self.lease.lost();
        match &*self.state.cause() {
            // An error cannot be cloned, and several may wait here.
            Some(cause) if cause.kind() != ErrorKind::LeaseLost => Error::new(
                ErrorKind::LeaseLost,
                "the lease could not be renewed and was given up before it ran out",
            )
            .with("name", self.lease.name())
            .with("token", self.lease.token())
            .with("cause", cause)
            .with_hint("look at the database; take the lease anew once it answers"),
            Some(_) | None => error,
        }
    }

    /// Runs `future` until it is done or the lease is lost, whichever comes first.
    ///
    /// # Errors
    /// What [`Held::lost`] says; the future is dropped then.
    ///
    /// # Cancel safety
    /// As cancel safe as `future`.
    pub async fn guard<F: Future>(&self, future: F) -> Result<F::Output> {
        match self.state.lost.run_until_cancelled(future).await {
            Some(output) => Ok(output),
            None => Err(self.lost().await),
        }
    }

    /// Stops renewing and gives the lease back, so that the next holder need not wait.
    ///
    /// # Errors
    /// `lease-lost` when it was somebody else's already; what [`Db::write`] returns. The lease runs out by itself then.
    ///
    /// # Cancel safety
    /// Dropped, the lease is no longer renewed, and given back or runs out.
    pub async fn release(mut self) -> Result<()> {
        self.renewing.abort();
        // It ends at its next await, or has ended. How does not matter.
        drop((&mut self.renewing).await);
        let lease = self.lease.clone();
        self.db.write(move |tx| release(tx, &lease)).await
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.renewing.abort();
    }
}

impl fmt::Debug for Held {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Held")
            .field("lease", &self.lease)
            .field("lost", &self.is_lost())
            .finish_non_exhaustive()
    }
}

impl State {
    fn until(&self) -> MutexGuard<'_, Duration> {
        // Nothing panics while it holds the lock.
        self.until.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn cause(&self) -> MutexGuard<'_, Option<Error>> {
        self.cause.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// When to stop relying on a lease that was asked for at `asked`. The database granted it later than that, so it runs out
/// there after `asked + ttl`.
fn give_up(asked: Duration, ttl: Duration) -> Duration {
    asked.saturating_add(ttl - ttl / limits::LEASE_MARGIN_SHARE)
}

struct Renewing {
    db: Db,
    lease: Lease,
    state: Arc<State>,
    rng: Arc<dyn Rng>,
}

impl Renewing {
    async fn run(self) {
        let cause = loop {
            // Up to a fifth earlier, so that those who began together do not go on together.
            let pause = self.lease.ttl() / limits::LEASE_RENEWALS;
            self.sleep(pause - jitter(&*self.rng, pause / 5)).await;
            if let Err(cause) = self.renew().await {
                break cause;
            }
        };
        tracing::warn!(lease = self.lease.name(), token = %self.lease.token(), %cause, "the lease is lost");
        *self.state.cause() = Some(cause);
        self.state.lost.cancel();
    }

    /// Tries until it succeeds, the lease is somebody else's, or it is time to give up.
    async fn renew(&self) -> Result<()> {
        let clock = &*self.state.clock;
        let mut last = None;
        loop {
            let asked = clock.monotonic();
            let left = self.state.until().saturating_sub(asked);
            if left.is_zero() {
                return Err(
                    last.unwrap_or_else(|| Error::new(ErrorKind::Timeout, "the process was held up for too long"))
                );
            }
            let lease = self.lease.clone();
            let renewed = self.db.write(move |tx| renew(tx, &lease));
            match timeout(clock, left, renewed).await.flatten() {
                Ok(()) => {
                    *self.state.until() = give_up(asked, self.lease.ttl());
                    return Ok(());
                }
                Err(error) if error.kind() == ErrorKind::LeaseLost => return Err(error),
                Err(error) => last = Some(error),
            }
            let pause = self.lease.ttl() / limits::LEASE_RETRIES;
            self.sleep(pause + jitter(&*self.rng, pause)).await;
        }
    }

    /// Sleeps this long, but no longer than until it is time to give up.
    async fn sleep(&self, pause: Duration) {
        let left = self.state.until().saturating_sub(self.state.clock.monotonic());
        self.state.clock.sleep(pause.min(left)).await;
    }
}

/// Between nothing and `most`.
pub(super) fn jitter(rng: &dyn Rng, most: Duration) -> Duration {
    let thousandths = u32::try_from(rng.next_u64() % 1_001).unwrap_or(0);
    most * thousandths / 1_000
}
