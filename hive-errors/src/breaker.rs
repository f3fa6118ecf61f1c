//! Stops calling what keeps failing, so that it can recover and callers need not wait for it.

use std::borrow::Cow;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crate::error::{Error, Result};
use crate::kind::ErrorKind;

mod machine;
mod policy;
#[cfg(test)]
mod tests;

use machine::{Machine, Outcome, Refusal};
pub use policy::BreakerPolicy;

/// A circuit breaker for one dependency: a model, a server, a plugin.
///
/// *Closed*, it lets every call through and counts failures in a row. At the limit it *opens* and refuses calls. When
/// [`BreakerPolicy`]'s pause is over it is *half-open* and lets a few calls through as probes: if all of them succeed it
/// closes, if one fails it opens again. A call that began before the breaker last changed its state no longer moves it.
///
/// It reads no clock. `now` is the time since any fixed moment on a monotonic clock, the same for all calls; a `now`
/// earlier than one already seen counts as the latest seen.
///
/// ```
/// use std::time::Duration;
/// use hive_errors::{BreakerPolicy, CircuitBreaker, ErrorKind};
///
/// let at = Duration::from_secs;
/// let breaker = CircuitBreaker::new("model", BreakerPolicy::new(2, Duration::from_secs(30)));
/// breaker.acquire(at(0)).unwrap().failure(at(1));
/// breaker.acquire(at(2)).unwrap().failure(at(3));
///
/// let refused = breaker.acquire(at(4)).unwrap_err();
/// assert_eq!(refused.kind(), ErrorKind::BreakerOpen);
/// assert_eq!(refused.retry_after(), Some(at(29)));
///
/// breaker.acquire(at(33)).unwrap().success(at(34)); // the probe
/// assert!(breaker.acquire(at(34)).is_ok());
/// ```
///
/// # Threads and tasks
///
/// A breaker is a handle: clone it into every thread or task that calls the dependency, and the clones share one state.
/// The state is behind a mutex that is held for a few instructions and never during a call, so it is fine in async code.
/// The [`BreakerGuard`] is `Send` and owns its handle: move it along with the call, across `await` and `spawn`.
///
/// # Cancel safety
///
/// A guard dropped without a verdict, because the call's future was dropped or it panicked, counts as a failure. A probe
/// therefore always ends, and the breaker cannot stay half-open for ever. Where the call was given up for reasons of the
/// caller's own, say so with [`BreakerGuard::ignore`].
#[derive(Clone, Debug)]
pub struct CircuitBreaker {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    dependency: Cow<'static, str>,
    machine: Mutex<Machine>,
}

/// What a breaker does with the next call.
#[non_exhaustive]
#[derive(Copy, Clone, Debug, PartialEq, Eq, Hash)]
pub enum BreakerState {
    /// Every call is let through.
    Closed,
    /// Every call is refused.
    Open,
    /// A limited number of calls is let through to find out whether the dependency has recovered.
    HalfOpen,
}

impl CircuitBreaker {
    /// A closed breaker. `dependency` names what is called, for the error of a refused call.
    pub fn new(dependency: impl Into<Cow<'static, str>>, policy: BreakerPolicy) -> Self {
        let machine = Mutex::new(Machine::new(policy));
        Self {
            shared: Arc::new(Shared {
                dependency: dependency.into(),
                machine,
            }),
        }
    }

    /// Asks to make one call. Tell the guard how the call went.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::BreakerOpen`] if the call must not be made, with the time until the next probe as
    /// [`retry_after`](Error::retry_after); without it when the probes are already under way.
    pub fn acquire(&self, now: Duration) -> Result<BreakerGuard> {
        let admitted = self.shared.machine().acquire(now);
        match admitted {
            Ok(epoch) => Ok(BreakerGuard {
                shared: Arc::clone(&self.shared),
                epoch,
                settled: false,
            }),
            Err(refusal) => Err(self.shared.refused(refusal)),
        }
    }

    /// What the breaker would do with a call made `now`.
    pub fn state(&self, now: Duration) -> BreakerState {
        self.shared.machine().state(now)
    }
}

impl Shared {
    /// A panic elsewhere leaves the machine whole, since none of its methods can stop halfway; so poison is ignored.
    fn machine(&self) -> MutexGuard<'_, Machine> {
        self.machine.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn refused(&self, refusal: Refusal) -> Error {
        let error = match refusal {
            Refusal::Open { wait } => {
                Error::new(ErrorKind::BreakerOpen, "calls are suspended after repeated failures").with_retry_after(wait)
            }
            Refusal::Probing => Error::new(
                ErrorKind::BreakerOpen,
                "calls are suspended until those under way have succeeded",
            ),
        };
        error.with("dependency", &self.dependency)
    }
}

/// Leave to make one call. Dropping it without a verdict counts as a failure.
#[must_use = "dropping the guard counts as a failed call"]
#[derive(Debug)]
pub struct BreakerGuard {
    shared: Arc<Shared>,
    epoch: u64,
    settled: bool,
}

impl BreakerGuard {
    /// The dependency answered, even if the answer was not the one hoped for.
    pub fn success(self, now: Duration) {
        self.settle(Outcome::Success { now });
    }

    /// The dependency did not answer, or answered that it cannot serve.
    pub fn failure(self, now: Duration) {
        self.settle(Outcome::Failure { now });
    }

    /// The call says nothing about the dependency, for example because it was never made. A probe's place is free again.
    pub fn ignore(self) {
        self.settle(Outcome::Ignored);
    }

    fn settle(mut self, outcome: Outcome) {
        self.settled = true;
        self.shared.machine().settle(self.epoch, outcome);
    }
}

impl Drop for BreakerGuard {
    fn drop(&mut self) {
        if !self.settled {
            self.shared.machine().settle(self.epoch, Outcome::Dropped);
        }
    }
}
