//! One event in the hands of a handler.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use hive_core::db::Tx;
use hive_errors::{Error, ErrorKind, Failure, Result};
use tokio::sync::oneshot;

use super::Handle;
use super::desk::{Ready, Word, lost};
use super::state::{Claim, Outcome, State, Verdict};
use crate::event::Event;
use crate::transport::{self, Change};

/// What is heard of a delivery once how it ended is on record.
pub(super) type Answer = oneshot::Receiver<Result<()>>;

/// Waits for it.
pub(super) async fn told(answer: Answer) -> Result<()> {
    answer.await.unwrap_or_else(|_gone| {
        Err(Error::new(
            ErrorKind::ShuttingDown,
            "the consumer ended before the delivery was settled",
        ))
    })
}

/// An event that a consumer was given to handle. Exactly one of the methods that take it settles it; dropped unsettled, it
/// counts as failed.
///
/// It stays this member's for the consumer's [`ack_wait`](super::Consume::ack_wait), counted from when it was taken from the
/// log. After that it is given to another, and settling it here is refused with `lease-lost`.
#[must_use = "a delivery that is dropped counts as failed"]
pub struct Delivery {
    handle: Arc<Handle>,
    event: Event,
    claim: Claim,
    attempt: u32,
    settled: Arc<AtomicBool>,
}

impl Delivery {
    pub(super) fn new(handle: Arc<Handle>, ready: Ready) -> Self {
        let Ready {
            event, claim, attempt, ..
        } = ready;
        Self {
            handle,
            event,
            claim,
            attempt,
            settled: Arc::default(),
        }
    }

    /// The event.
    pub fn event(&self) -> &Event {
        &self.event
    }

    /// Which delivery of the event to this consumer this is, from 1.
    pub fn attempt(&self) -> u32 {
        self.attempt
    }

    /// Says that it is handled, and returns once that is on record: it is not delivered again.
    ///
    /// # Errors
    /// `lease-lost` when it took too long and is another's. Whatever the transport refuses: then it may be delivered again.
    ///
    /// # Cancel safety
    /// Once polled, the word is given; dropped, only the answer is lost.
    pub async fn ack(self) -> Result<()> {
        self.settle(Verdict::Done).await
    }

    /// Says that it could not be handled now: it comes again after the consumer's backoff, or ends with the dead letters when
    /// it has had all its attempts. `error` is remembered.
    ///
    /// # Errors
    /// As [`Delivery::ack`].
    ///
    /// # Cancel safety
    /// As [`Delivery::ack`].
    pub async fn nack(self, error: impl fmt::Display) -> Result<()> {
        let delay = self.handle.backoff(self.attempt);
        self.nack_after(delay, error).await
    }

    /// [`Delivery::nack`] with a delay of its own, in place of the consumer's backoff.
    ///
    /// # Errors
    /// As [`Delivery::ack`].
    ///
    /// # Cancel safety
    /// As [`Delivery::ack`].
    pub async fn nack_after(self, delay: Duration, error: impl fmt::Display) -> Result<()> {
        let verdict = self.handle.failed(delay, error.to_string());
        self.settle(verdict).await
    }

    /// Says that it can never be handled: it ends with the dead letters at once.
    ///
    /// # Errors
    /// As [`Delivery::ack`].
    ///
    /// # Cancel safety
    /// As [`Delivery::ack`].
    pub async fn reject(self, error: impl fmt::Display) -> Result<()> {
        let error = error.to_string();
        self.settle(Verdict::Rejected { error }).await
    }

    /// Says that it could not be handled, and that it was the last time that its sender allows.
    pub(crate) async fn exhaust(self, error: impl fmt::Display) -> Result<()> {
        let error = Some(error.to_string());
        self.settle(Verdict::Exhausted { error }).await
    }

    /// Says, without waiting, that it was delivered as often as its sender allows before this time.
    pub(crate) fn exhaust_unheard(self) {
        self.settle_unheard(Verdict::Exhausted { error: None });
    }

    /// [`Delivery::reject`] without waiting.
    pub(crate) fn reject_unheard(self, error: impl fmt::Display) {
        let error = error.to_string();
        self.settle_unheard(Verdict::Rejected { error });
    }

    /// Says that it is still being handled, and begins its time anew.
    ///
    /// # Errors
    /// As [`Delivery::ack`].
    ///
    /// # Cancel safety
    /// As [`Delivery::ack`].
    pub async fn extend(&self) -> Result<()> {
        let until = self.handle.deadline();
        told(self.say(Verdict::Extended { until })).await
    }

    /// Acknowledges it in the caller's transaction: what the handler writes there happens exactly once, because it is committed
    /// together with the record that the event was handled. When the transaction is not committed, the delivery is still to be
    /// settled.
    ///
    /// # Errors
    /// `lease-lost` when it is another's by now: return it, so that nothing of the transaction is kept. `invalid-input` when the
    /// consumer's transport is not the database of `tx`.
    pub fn ack_in(&self, tx: &mut Tx<'_>) -> Result<()> {
        let consumer = self.handle.name();
        self.handle.database()?;
        let register = transport::load_in(tx, consumer)?.ok_or_else(|| lost(self.claim))?;
        let mut state = State::from_bytes(&register.state)?;
        let mut outcome = Outcome::default();
        state
            .settle(&self.handle.terms(), self.claim, &Verdict::Done, &mut outcome)
            .map_err(|_lost| lost(self.claim))?;
        let mut change = Change::new(Some(register.revision), state.to_bytes());
        change.revived = outcome.revived;
        if transport::store_in(tx, consumer, &change)?.is_none() {
            return Err(Error::new(ErrorKind::Conflict, "the consumer's state was changed a moment ago").retryable());
        }
        let (handle, claim, settled) = (Arc::clone(&self.handle), self.claim, Arc::clone(&self.settled));
        tx.on_commit(move || {
            settled.store(true, Ordering::Release);
            // The driver finds it settled, and learns that the state is another.
            handle.say(Word {
                claim,
                verdict: Verdict::Done,
                reply: None,
                said: handle.monotonic(),
            });
        });
        Ok(())
    }

    /// A span that names the delivery and what its event belongs to, for a handler to run in.
    pub fn span(&self) -> tracing::Span {
        tracing::info_span!(
            "deliver",
            consumer = self.handle.name(),
            event_type = self.event.event_type(),
            topic = self.event.topic().as_str(),
            sequence = self.claim.sequence.get(),
            attempt = self.attempt,
            correlation = self.event.correlation(),
            traceparent = self.event.traceparent(),
        )
    }

    async fn settle(self, verdict: Verdict) -> Result<()> {
        told(self.settle_later(verdict)).await
    }

    /// Settles it; what comes of that is for whoever asks the receiver.
    pub(super) fn settle_later(self, verdict: Verdict) -> Answer {
        self.settled.store(true, Ordering::Release);
        self.say(verdict)
    }

    fn say(&self, verdict: Verdict) -> Answer {
        let (reply, told) = oneshot::channel();
        self.handle.say(Word {
            claim: self.claim,
            verdict,
            reply: Some(reply),
            said: self.handle.monotonic(),
        });
        told
    }

    /// Says how a handler failed, without waiting.
    pub(super) fn fail(&self, failure: &Failure) {
        let error = failure.to_string();
        let verdict = if failure.is_terminal() {
            Verdict::Rejected { error }
        } else {
            let backoff = self.handle.backoff(self.attempt);
            self.handle
                .failed(failure.retry_after().map_or(backoff, |asked| asked.max(backoff)), error)
        };
        self.settle_unheard(verdict);
    }

    /// [`Delivery::settle`] without waiting.
    pub(super) fn settle_unheard(&self, verdict: Verdict) {
        self.settled.store(true, Ordering::Release);
        self.handle.say(Word {
            claim: self.claim,
            verdict,
            reply: None,
            said: self.handle.monotonic(),
        });
    }
}

impl Drop for Delivery {
    fn drop(&mut self) {
        if !self.settled.load(Ordering::Acquire) {
            let delay = self.handle.backoff(self.attempt);
            let verdict = self.handle.failed(delay, "the handler dropped it".to_owned());
            self.settle_unheard(verdict);
        }
    }
}

impl fmt::Debug for Delivery {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Delivery")
            .field("consumer", &self.handle.name())
            .field("sequence", &self.claim.sequence)
            .field("attempt", &self.attempt)
            .finish_non_exhaustive()
    }
}
