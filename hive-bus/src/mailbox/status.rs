//! What became of a message.

use hive_core::clock::Timestamp;
use hive_core::id::EventId;
use hive_errors::Result;

use super::{lane_name, lane_prefix};
use crate::bus::Bus;
use crate::consumer::{Hold, State};
use crate::event::Event;
use crate::limits;
use crate::message::{Address, AgentMessage};
use crate::transport::DeadReason;

/// How far a message has come with a receiver.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum MessageStatus {
    /// It waits: for the receiver to open its mailbox, for its turn, or to be tried again.
    Pending,
    /// A process that has the mailbox open has it in hand, begun or not.
    InProgress,
    /// It is done with: acknowledged, or dead and its dead letter thrown away, of which nothing is left to tell them apart.
    Delivered,
    /// It is with the dead letters: it was rejected, or failed as often as it may.
    Failed,
    /// Its time was over before it was begun.
    Expired,
}

/// What became of a message with one receiver.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Receipt {
    /// Whose mailbox it is.
    pub agent: String,
    /// How far it has come there.
    pub status: MessageStatus,
    /// How often it failed there.
    pub attempts: u32,
    /// How it failed the last time, while it is not done with.
    pub error: Option<String>,
}

/// A message, and what became of it.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Tracked {
    /// The message.
    pub message: AgentMessage,
    /// What became of it with each receiver, by their names.
    pub receipts: Vec<Receipt>,
}

impl Tracked {
    /// How far it has come with whoever has most of it still before them: in progress before pending, failed, expired and
    /// delivered. `None` when nobody gets it: a message to a capability that no mailbox had when it was sent, one that a mailbox
    /// was told to leave out, or a reply to a request, which goes to no mailbox.
    pub fn status(&self) -> Option<MessageStatus> {
        use MessageStatus::{Delivered, Expired, Failed, InProgress, Pending};
        let has = |status: &MessageStatus| self.receipts.iter().any(|receipt| receipt.status == *status);
        [InProgress, Pending, Failed, Expired, Delivered].into_iter().find(has)
    }
}

impl Bus {
    /// What became of a message; `None` when there is none with this id, or none any more: retention takes messages away that are
    /// done with, and with them what is known of them.
    ///
    /// It is read from the log, from how far the mailboxes have come, and from their dead letters, one after another: what moves at
    /// this very moment may be seen where it was. Of a mailbox that was removed nothing is known.
    ///
    /// A message to a capability takes a look at every mailbox there is.
    ///
    /// # Errors
    /// `invalid-input` when the event with this id is no message, or the transport finds no events by their ids; whatever the
    /// transport refuses.
    pub async fn message_status(&self, id: EventId) -> Result<Option<Tracked>> {
        let Some(event) = self.find(id).await? else {
            return Ok(None);
        };
        let message = AgentMessage::from_event(&event)?;
        let now = self.transport().now().await?;
        let mut receipts = Vec::new();
        match &message.to {
            Address::Agent(agent) => {
                let unopened = || receipt(agent, untouched(message.expires, now));
                let lane = lane_name(agent, message.priority);
                receipts.extend(match self.lane_state(&lane).await? {
                    Some(state) => self.receipt(agent, &lane, &state, &event, now).await?,
                    None => Some(unopened()),
                });
            }
            Address::Capability(_) => {
                let prefix = lane_prefix(message.priority);
                let mut after = String::new();
                loop {
                    let names = self.consumers(&after, limits::CONSUMERS_PAGE).await?;
                    let Some(last) = names.last() else { break };
                    after.clone_from(last);
                    for lane in &names {
                        if let Some(agent) = lane.strip_prefix(&prefix)
                            && let Some(state) = self.lane_state(lane).await?
                        {
                            receipts.extend(self.receipt(agent, lane, &state, &event, now).await?);
                        }
                    }
                }
                receipts.sort_by(|one: &Receipt, other| one.agent.cmp(&other.agent));
            }
            Address::Reply(_) => {}
        }
        Ok(Some(Tracked { message, receipts }))
    }

    async fn lane_state(&self, lane: &str) -> Result<Option<State>> {
        let register = self.transport().load(lane).await?;
        register.map(|register| State::from_bytes(&register.state)).transpose()
    }

    /// What became of the event in this lane; `None` when it is not its business.
    async fn receipt(
        &self,
        agent: &str,
        lane: &str,
        state: &State,
        event: &Event,
        now: Timestamp,
    ) -> Result<Option<Receipt>> {
        let sequence = event.sequence();
        if let Some(entry) = state.window().get(&sequence) {
            let status = match entry.hold {
                Hold::Taken { until, .. } if now < until => MessageStatus::InProgress,
                Hold::Taken { .. } | Hold::Free { .. } if entry.is_expired(now) => MessageStatus::Expired,
                Hold::Taken { .. } | Hold::Free { .. } => MessageStatus::Pending,
            };
            return Ok(Some(Receipt {
                attempts: entry.attempts,
                error: entry.mishaps.last().map(|mishap| mishap.error.clone()),
                ..receipt(agent, status)
            }));
        }
        if !state.wants(event.topic(), sequence) {
            return Ok(None);
        }
        if sequence > state.cursor {
            return Ok(Some(receipt(agent, untouched(event.expires(), now))));
        }
        let dead = self.transport().dead(lane, &[sequence]).await?;
        let Some(letter) = dead.into_iter().next() else {
            return Ok(Some(receipt(agent, MessageStatus::Delivered)));
        };
        let status = match letter.reason {
            DeadReason::Exhausted | DeadReason::Rejected => MessageStatus::Failed,
            DeadReason::Expired => MessageStatus::Expired,
        };
        Ok(Some(Receipt {
            attempts: letter.attempts,
            error: letter.mishaps.last().map(|mishap| mishap.error.clone()),
            ..receipt(agent, status)
        }))
    }
}

fn receipt(agent: &str, status: MessageStatus) -> Receipt {
    Receipt {
        agent: agent.to_owned(),
        status,
        attempts: 0,
        error: None,
    }
}

/// Of a message that nobody has had in hand.
fn untouched(expires: Option<Timestamp>, now: Timestamp) -> MessageStatus {
    if expires.is_some_and(|expires| expires <= now) {
        MessageStatus::Expired
    } else {
        MessageStatus::Pending
    }
}
