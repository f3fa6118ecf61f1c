//! Who takes leases and waits for them.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use hive_errors::{Error, ErrorKind, Result, RetryPolicy};

use super::held::{Held, jitter};
use super::table::RELEASED;
use super::{Holder, Outcome, acquire, check_name, check_ttl};
use crate::clock::{Clock, SystemClock};
use crate::db::Db;
use crate::limits;
use crate::rng::{Rng, SystemRng};

/// Takes leases on one database and keeps them. Cheap to clone.
///
/// ```
/// use std::time::Duration;
///
/// use hive_core::db::{Db, Options};
/// use hive_core::lease::{self, Keeper};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> hive_errors::Result<()> {
/// # let dir = tempfile::tempdir().unwrap();
/// # let path = dir.path().join("hive.db");
/// # let db = Db::open(Options::file(path).migrations(&lease::MIGRATIONS)).await?;
/// let leader = Keeper::new(db.clone(), "timers").campaign("leader", Duration::from_secs(10)).await?;
/// let led = leader.guard(async { "this runs for as long as we lead" }).await?;
/// # assert!(led.starts_with("this"));
/// leader.release().await?;
/// # db.close().await
/// # }
/// ```
#[derive(Clone)]
pub struct Keeper {
    db: Db,
    label: Arc<str>,
    clock: Arc<dyn Clock>,
    rng: Arc<dyn Rng>,
}

impl Keeper {
    /// A keeper of leases in `db`, which must have [`MIGRATIONS`](super::MIGRATIONS). The label tells people who holds them.
    pub fn new(db: Db, label: impl Into<Arc<str>>) -> Self {
        Self {
            db,
            label: label.into(),
            clock: Arc::new(SystemClock),
            rng: Arc::new(SystemRng),
        }
    }

    /// The clock that leases are kept and waited for by, the same for all of a process; the system's unless set.
    #[must_use]
    pub fn clock(mut self, clock: Arc<dyn Clock>) -> Self {
        self.clock = clock;
        self
    }

    /// The randomness of holders and jitter; the system's unless set.
    #[must_use]
    pub fn rng(mut self, rng: Arc<dyn Rng>) -> Self {
        self.rng = rng;
        self
    }

    /// Takes the lease on `name` and keeps it, or says who has it. Each call is a holder of its own: it does not get what
    /// another call on this keeper has.
    ///
    /// # Errors
    /// `invalid-input` for a label, name or time to live that cannot be one (see [`acquire`]); what [`Db::write`] returns.
    ///
    /// # Cancel safety
    /// Dropped while its write is under way, the name may be taken for nobody, until `ttl` has passed.
    ///
    /// # Panics
    /// Outside a tokio runtime.
    pub async fn hold(&self, name: &str, ttl: Duration) -> Result<Outcome<Held>> {
        let holder = self.holder()?;
        self.hold_as(&holder, name, ttl).await
    }

    /// Waits until the lease on `name` is to be had, takes it and keeps it.
    ///
    /// It tries again when the lease is released or has run out, and at least every [`limits::LEASE_POLL_MAX`]. A database that
    /// does not answer is asked again, more and more slowly.
    ///
    /// # Errors
    /// As [`Keeper::hold`], for what trying again does not mend; `shutting-down` when the database was closed. There is no
    /// deadline, because another holder may stay as long as it likes: put a timeout around it where that matters.
    ///
    /// # Cancel safety
    /// As [`Keeper::hold`].
    ///
    /// # Panics
    /// Outside a tokio runtime.
    pub async fn campaign(&self, name: &str, ttl: Duration) -> Result<Held> {
        // One holder for all tries: an answer that was lost on the way is no obstacle to the next try.
        let holder = self.holder()?;
        let patience = RetryPolicy::exponential(u32::MAX).with_cap(limits::LEASE_POLL_MAX);
        let mut failures = 0_u32;
        let mut released = self.db.listen(RELEASED);
        loop {
            let pause = match self.hold_as(&holder, name, ttl).await {
                Ok(Outcome::Won(held)) => return Ok(held),
                Ok(Outcome::Taken(status)) => {
                    failures = 0;
                    // A little later than it runs out, and not all at once.
                    let pause = status.left + jitter(&*self.rng, status.left / 8);
                    pause.min(limits::LEASE_POLL_MAX)
                }
                Err(error) if error.kind() == ErrorKind::ShuttingDown || !error.is_retryable() => return Err(error),
                Err(error) => {
                    failures = failures.saturating_add(1);
                    tracing::warn!(lease = name, failures, %error, "the lease could not be asked for");
                    patience
                        .delay_after(failures, self.rng.next_u64(), error.retry_after())
                        .unwrap_or(limits::LEASE_POLL_MAX)
                }
            };
            // By this clock; the other only goes by the system's.
            tokio::select! {
                () = self.clock.sleep(pause) => {}
                _woken = released.wait(FOREVER) => {}
            }
        }
    }

    fn holder(&self) -> Result<Holder> {
        Holder::new(&self.label, Arc::clone(&self.clock), &*self.rng)
    }

    async fn hold_as(&self, holder: &Holder, name: &str, ttl: Duration) -> Result<Outcome<Held>> {
        // Before anything is queued.
        check_name(name)?;
        check_ttl(ttl)?;
        let asked = self.clock.monotonic();
        // Alive as long as somebody waits for the answer.
        let wanted = Arc::new(());
        let (who, what, still) = (holder.clone(), Arc::<str>::from(name), Arc::downgrade(&wanted));
        let taken = self.db.write(move |tx| {
            if still.strong_count() == 0 {
                return Err(Error::new(ErrorKind::Cancelled, "nobody waits for the lease any more"));
            }
            acquire(tx, &what, &who, ttl)
        });
        Ok(match taken.await? {
            Outcome::Won(lease) => {
                let (clock, rng) = (Arc::clone(&self.clock), Arc::clone(&self.rng));
                Outcome::Won(Held::new(self.db.clone(), lease, asked, clock, rng))
            }
            Outcome::Taken(status) => Outcome::Taken(status),
        })
    }
}

/// A wait that is ended by something else.
const FOREVER: Duration = Duration::from_secs(86_400);

impl fmt::Debug for Keeper {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Keeper")
            .field("label", &self.label)
            .finish_non_exhaustive()
    }
}
