//! One caller asks for a key, the others that want the same wait for it.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;

use hive_errors::{Error, ErrorKind};
use tokio::sync::{MutexGuard as Turn, watch};

use crate::clock::{Clock, timeout};
use crate::limits::CACHE_STORE_TIMEOUT;

/// Who is asking for which key. Holds one entry per key asked for at the moment, so it is bounded by the callers.
#[derive(Default)]
pub(super) struct Flights {
    underway: Mutex<HashMap<Arc<str>, Arc<Flight>>>,
}

/// One caller's search for one key's value.
pub(super) struct Flight {
    outcome: watch::Sender<Outcome>,
    /// Held while the value is being stored, so that whoever removes it can wait until it is there to be removed.
    storing: tokio::sync::Mutex<()>,
    /// Whether the key was removed or overwritten since this began: its value may be an old one and is not stored.
    doomed: AtomicBool,
}

/// How a flight ended, for those who wait for it.
#[derive(Clone)]
pub(super) enum Outcome {
    Underway,
    Value(Arc<[u8]>),
    Failed(Arc<Error>),
    /// There is a value, but it has no JSON form in which it could be handed on.
    Unshareable,
    /// The caller went away, or found nothing and did not ask the source: the next one's turn.
    Abandoned,
}

/// A caller's part in a flight.
pub(super) enum Seat<'a> {
    Leader(Lead<'a>),
    Follower(Follow),
}

impl Flights {
    /// Joins the flight for this key, or begins one.
    pub(super) fn board(&self, key: &str) -> Seat<'_> {
        let mut underway = self.lock();
        if let Some(flight) = underway.get(key) {
            // Counted as one who waits from here on: a failure is told to whoever was there.
            return Seat::Follower(Follow {
                flight: Arc::clone(flight),
                outcome: flight.outcome.subscribe(),
            });
        }
        let key: Arc<str> = key.into();
        let flight = Arc::new(Flight {
            outcome: watch::Sender::new(Outcome::Underway),
            storing: tokio::sync::Mutex::new(()),
            doomed: AtomicBool::new(false),
        });
        underway.insert(Arc::clone(&key), Arc::clone(&flight));
        Seat::Leader(Lead {
            flights: self,
            key,
            flight,
        })
    }

    /// Sees to it that what this key's flight found is no longer stored, or is there by now. Those who come later begin a new
    /// one.
    pub(super) async fn doom(&self, key: &str, clock: &dyn Clock) {
        let flight = self.lock().remove(key);
        if let Some(flight) = flight {
            flight.doomed.store(true, Ordering::Release);
            // Storing ends by a deadline of its own, unless its future is kept and not polled. Then there is nothing to wait for.
            timeout(clock, CACHE_STORE_TIMEOUT, flight.storing.lock()).await.ok();
        }
    }

    /// Takes the flight off the key when it is still there: it has ended, or its leader has been waited for long enough. What
    /// that one may still find is not stored, because nobody could stop it once the key is removed.
    pub(super) fn depose(&self, key: &str, flight: &Arc<Flight>) {
        flight.doomed.store(true, Ordering::Release);
        let mut underway = self.lock();
        if underway.get(key).is_some_and(|current| Arc::ptr_eq(current, flight)) {
            underway.remove(key);
        }
    }

    #[cfg(test)]
    pub(super) fn count(&self) -> usize {
        self.lock().len()
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Arc<str>, Arc<Flight>>> {
        // No code that can panic runs under the lock, so a poisoned map is still a whole one.
        self.underway.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A follower's part.
pub(super) struct Follow {
    pub(super) flight: Arc<Flight>,
    outcome: watch::Receiver<Outcome>,
}

impl Follow {
    /// Waits for the end. Never [`Outcome::Underway`].
    pub(super) async fn landed(&mut self) -> Outcome {
        match self
            .outcome
            .wait_for(|outcome| !matches!(outcome, Outcome::Underway))
            .await
        {
            Ok(outcome) => outcome.clone(),
            // Unreachable while the flight, which holds the sender, is held here; the next one's turn is right in any case.
            Err(_) => Outcome::Abandoned,
        }
    }
}

/// The leader's part. Dropping it ends the flight; without a word before, it is the next one's turn.
pub(super) struct Lead<'a> {
    flights: &'a Flights,
    key: Arc<str>,
    flight: Arc<Flight>,
}

impl Lead<'_> {
    /// Leave to store the value, until it is dropped; `None` when the key was removed or overwritten meanwhile.
    pub(super) async fn storing(&self) -> Option<Turn<'_, ()>> {
        let turn = self.flight.storing.lock().await;
        (!self.flight.doomed.load(Ordering::Acquire)).then_some(turn)
    }

    /// Tells those who wait. Those who come now, before the flight ends, are told at once.
    pub(super) fn tell(&self, outcome: Outcome) {
        self.flight.outcome.send_replace(outcome);
    }

    /// Tells those who wait that it failed, and gives back the error for the leader's own caller. When nobody waits it is
    /// the error itself, else one that is shared.
    pub(super) fn fail(self, error: Error) -> Error {
        // Off the map first: nobody can join between the count and the word.
        self.flights.depose(&self.key, &self.flight);
        if self.flight.outcome.receiver_count() == 0 {
            return error;
        }
        let error = Arc::new(error);
        self.tell(Outcome::Failed(Arc::clone(&error)));
        shared(error)
    }
}

impl Drop for Lead<'_> {
    fn drop(&mut self) {
        self.flights.depose(&self.key, &self.flight);
        self.flight.outcome.send_if_modified(|outcome| {
            let silent = matches!(outcome, Outcome::Underway);
            if silent {
                // A panic would meet the next one as well; each of a thousand in turn is no better than all at once.
                *outcome = if thread::panicking() {
                    let error = Error::new(ErrorKind::Panic, "the code that computes the value panicked");
                    Outcome::Failed(Arc::new(error.with("key", self.key.escape_debug())))
                } else {
                    Outcome::Abandoned
                };
            }
            silent
        });
    }
}

/// An error that several callers get: the same verdict for each, with the one that happened as its cause.
pub(super) fn shared(error: Arc<Error>) -> Error {
    let mut told = Error::new(error.kind(), "failed to compute the value for several callers at once")
        .with_hint(error.hint().to_owned());
    if let Some(after) = error.retry_after() {
        told = told.with_retry_after(after);
    }
    told = if error.is_retryable() {
        told.retryable()
    } else {
        told.terminal()
    };
    told.with_source(error)
}
