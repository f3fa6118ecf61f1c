//! Mailboxes: what is addressed to an agent, the most urgent first, until it is done with.
//!
//! ```
//! # use std::sync::Arc;
//! # use std::time::Duration;
//! use hive_bus::{AgentMessage, Bus, Priority, Result};
//! # use hive_bus::transport::Memory;
//! # use hive_core::clock::SystemClock;
//! # use hive_core::id::IdSource;
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<()> {
//! # let clock = Arc::new(SystemClock);
//! # let bus = Bus::over(Arc::new(Memory::new(clock.clone())), clock, IdSource::system());
//! let mailbox = bus.mailbox("reviewer").capability("review").await?;
//!
//! // On disk when it returns, where there is one.
//! bus.send(AgentMessage::broadcast("review").kind("review.policy").body("be kind")?).await?;
//! let asked = AgentMessage::to("reviewer").kind("review.request").body("- foo\n+ bar")?.priority(Priority::High);
//!
//! let reviewer = tokio::spawn(async move {
//!     let letter = mailbox.next().await?;
//!     assert_eq!(letter.message().kind, "review.request");
//!     letter.reply("fine").await?;
//!     let letter = mailbox.next().await?;
//!     assert_eq!(letter.message().decode::<String>()?, "be kind");
//!     letter.ack().await
//! });
//! let reply = bus.request(asked, Duration::from_secs(10)).await?;
//! assert_eq!(reply.decode::<String>()?, "fine");
//! # reviewer.await.unwrap()?;
//! # bus.shutdown().await
//! # }
//! ```

mod admin;
mod letter;
mod open;
mod request;
mod send;
mod status;
mod turns;

#[cfg(test)]
mod tests;

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use hive_errors::Result;

pub use self::admin::MailboxInfo;
pub use self::letter::Letter;
pub use self::open::OpenMailbox;
pub use self::status::{MessageStatus, Receipt, Tracked};
use self::turns::{LANES, Turns};
use crate::bus::Bus;
use crate::consumer::{Consumer, Delivery};
use crate::message::{AgentMessage, Priority};

/// What is addressed to one agent, by its name or by a capability that it declares.
///
/// It is there as soon as it was opened once, whether anybody has it open or not: messages wait in it. It is a durable
/// [`Consumer`] for each priority, `mailbox/<priority>/<agent>`, and what holds for consumers holds for it: each letter is delivered
/// at least once, to one of those who have the mailbox open, in this process or another; what failed as often as it may, was
/// rejected or expired is with the dead letters.
///
/// # Order
///
/// The most urgent letter that is ready comes first. So that the others do not wait for ever, a letter of any priority gets its turn
/// when [`limits::PASSED_OVER_MAX`](crate::limits::PASSED_OVER_MAX) of others were handed out while it was ready. Among those of one
/// priority, the one that was sent first comes first, and letters with the same key
/// ([`NewMessage::ordered_by`](crate::NewMessage::ordered_by)) wait for one another.
///
/// Clones are the same mailbox and take turns together. Two that wait each get another letter.
#[derive(Clone)]
pub struct Mailbox {
    inner: Arc<Inner>,
}

struct Inner {
    bus: Bus,
    agent: String,
    /// The most urgent first, as [`Priority::ALL`].
    lanes: [Consumer; LANES],
    turns: Mutex<Turns>,
}

impl Mailbox {
    fn new(bus: Bus, agent: String, lanes: [Consumer; LANES]) -> Self {
        Self {
            inner: Arc::new(Inner {
                bus,
                agent,
                lanes,
                turns: Mutex::default(),
            }),
        }
    }

    /// Whose it is.
    pub fn agent(&self) -> &str {
        &self.inner.agent
    }

    /// The next letter; waits for it.
    ///
    /// # Errors
    /// `shutting-down` once the bus is closed; `not-found` when the mailbox was removed. While the transport is away it waits.
    ///
    /// # Cancel safety
    /// Nothing is lost when the future is dropped.
    pub async fn next(&self) -> Result<Letter> {
        loop {
            if let Some(letter) = self.try_next()? {
                return Ok(letter);
            }
            let [critical, high, medium, low] = &self.inner.lanes;
            tokio::select! {
                () = critical.ready() => {}
                () = high.ready() => {}
                () = medium.ready() => {}
                () = low.ready() => {}
            }
        }
    }

    /// The next letter, if one is ready.
    ///
    /// # Errors
    /// As [`Mailbox::next`].
    pub fn try_next(&self) -> Result<Option<Letter>> {
        while let Some(delivery) = self.take()? {
            match AgentMessage::from_event(delivery.event()) {
                Err(error) => delivery.reject_unheard(format_args!("it is no message: {error}")),
                Ok(message) if message.attempts.is_some_and(|most| delivery.attempt() > most) => {
                    delivery.exhaust_unheard();
                }
                Ok(message) => {
                    return Ok(Some(Letter::new(self.clone(), message, delivery)));
                }
            }
        }
        Ok(None)
    }

    /// The next letter, and as many more as are ready, up to `most`, in the order in which they would have come one by one.
    ///
    /// # Errors
    /// As [`Mailbox::next`].
    ///
    /// # Cancel safety
    /// As [`Mailbox::next`].
    pub async fn batch(&self, most: usize) -> Result<Vec<Letter>> {
        let mut batch = vec![self.next().await?];
        while batch.len() < most
            && let Ok(Some(letter)) = self.try_next()
        {
            batch.push(letter);
        }
        Ok(batch)
    }

    /// Acknowledges many letters in one go, and returns once that is on record.
    ///
    /// # Errors
    /// As [`Letter::ack`], for the first that was refused; the others are settled all the same.
    ///
    /// # Cancel safety
    /// As [`Letter::ack`], for all of them once polled.
    pub async fn ack_all(&self, letters: impl IntoIterator<Item = Letter>) -> Result<()> {
        let [critical, ..] = &self.inner.lanes;
        // Each delivery knows its own consumer.
        critical.ack_all(letters.into_iter().map(Letter::into_delivery)).await
    }

    /// A delivery of the lane whose turn it is.
    fn take(&self) -> Result<Option<Delivery>> {
        let lanes = &self.inner.lanes;
        // Nothing panics while it holds the lock, and what was counted is whole.
        let mut turns = self.inner.turns.lock().unwrap_or_else(PoisonError::into_inner);
        loop {
            let mut ready = [false; LANES];
            let mut ended = Ok(None);
            for (ready, lane) in ready.iter_mut().zip(lanes) {
                match lane.has_ready() {
                    Ok(there) => *ready = there,
                    Err(error) => ended = ended.and(Err(error)),
                }
            }
            let Some((turn, lane)) = turns::choose(&turns, ready).and_then(|turn| Some((turn, lanes.get(turn)?)))
            else {
                return ended;
            };
            // What was there may have been taken back, or have expired: then somebody else's turn it is.
            if let Some(delivery) = lane.try_next()? {
                turns.taken(turn, ready);
                return Ok(Some(delivery));
            }
        }
    }
}

/// The consumer that has an agent's letters of this priority.
fn lane_name(agent: &str, priority: Priority) -> String {
    format!("{}{agent}", lane_prefix(priority))
}

fn lane_prefix(priority: Priority) -> String {
    format!("mailbox/{priority}/")
}

impl fmt::Debug for Mailbox {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Mailbox")
            .field("agent", &self.inner.agent)
            .finish_non_exhaustive()
    }
}
