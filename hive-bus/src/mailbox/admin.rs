//! Looking after mailboxes that need not be open in this process.

use hive_errors::{Error, ErrorKind, Result};

use super::lane_name;
use crate::bus::Bus;
use crate::consumer::ConsumerInfo;
use crate::event::Sequence;
use crate::limits;
use crate::message::{Address, Priority};
use crate::transport::DeadLetter;

/// How a mailbox stands.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct MailboxInfo {
    /// Whose it is.
    pub agent: String,
    /// What it declares to be capable of.
    pub capabilities: Vec<String>,
    /// How the consumer of each priority stands, the most urgent first.
    pub lanes: Vec<(Priority, ConsumerInfo)>,
}

impl Bus {
    /// How a mailbox stands. Its consumers can also be paused and sent back by their names.
    ///
    /// # Errors
    /// `not-found` when there is none of this agent.
    pub async fn mailbox_info(&self, agent: &str) -> Result<MailboxInfo> {
        let mut lanes = Vec::new();
        for priority in Priority::ALL {
            if let Some(info) = there(self.consumer_info(&lane_name(agent, priority)).await)? {
                lanes.push((priority, info));
            }
        }
        let Some((_, first)) = lanes.first() else {
            return Err(no_mailbox(agent));
        };
        let topics = first
            .patterns
            .iter()
            .filter_map(|pattern| pattern.as_str().parse().ok());
        let capabilities = topics.filter_map(|topic| match Address::of_topic(&topic)?.0 {
            Address::Capability(name) => Some(name),
            Address::Agent(_) | Address::Reply(_) => None,
        });
        Ok(MailboxInfo {
            agent: agent.to_owned(),
            capabilities: capabilities.collect(),
            lanes,
        })
    }

    /// The dead letters of a mailbox after a sequence, of all priorities, oldest first, at most `limit` and
    /// [`limits::DEAD_PAGE_MAX`]. [`AgentMessage::from_event`](crate::AgentMessage::from_event) makes a message of the event, unless
    /// it died because it is none.
    ///
    /// # Errors
    /// `not-found` when there is no mailbox of this agent.
    pub async fn dead_mail(&self, agent: &str, after: Sequence, limit: usize) -> Result<Vec<DeadLetter>> {
        let limit = limit.clamp(1, limits::DEAD_PAGE_MAX);
        let mut found = Vec::new();
        let mut known = false;
        for priority in Priority::ALL {
            if let Some(letters) = there(self.dead_letters(&lane_name(agent, priority), after, limit).await)? {
                known = true;
                found.extend(letters);
            }
        }
        if !known {
            return Err(no_mailbox(agent));
        }
        found.sort_by_key(|letter| letter.event.sequence());
        found.truncate(limit);
        Ok(found)
    }

    /// Brings dead letters of a mailbox back, whatever their priorities: they are handed out again, with all their attempts before
    /// them, also when they had expired. Says how many of them there are and there was room for.
    ///
    /// # Errors
    /// `limit-reached` for more than [`limits::DEAD_PAGE_MAX`] at once.
    pub async fn redrive_mail(&self, agent: &str, sequences: &[Sequence]) -> Result<usize> {
        let mut count = 0;
        for priority in Priority::ALL {
            let lane = lane_name(agent, priority);
            // Most lanes have none of them, and need not be changed.
            if sequences.len() > limits::DEAD_PAGE_MAX || !self.transport().dead(&lane, sequences).await?.is_empty() {
                count += self.redrive(&lane, sequences).await?;
            }
        }
        Ok(count)
    }

    /// Throws dead letters of a mailbox away, whatever their priorities; how many there were.
    ///
    /// # Errors
    /// Whatever the transport refuses.
    pub async fn purge_mail(&self, agent: &str, sequences: &[Sequence]) -> Result<usize> {
        let mut count = 0;
        for priority in Priority::ALL {
            count += self.purge(&lane_name(agent, priority), sequences).await?;
        }
        Ok(count)
    }

    /// Removes a mailbox, with its dead letters; whether there was one. Messages to its agent stay in the log, and a mailbox that is
    /// opened later gets them again.
    ///
    /// # Errors
    /// Whatever the transport refuses.
    pub async fn remove_mailbox(&self, agent: &str) -> Result<bool> {
        let mut removed = false;
        for priority in Priority::ALL {
            removed |= self.remove_consumer(&lane_name(agent, priority)).await?;
        }
        Ok(removed)
    }
}

/// `None` when there is none.
fn there<T>(found: Result<T>) -> Result<Option<T>> {
    match found {
        Ok(found) => Ok(Some(found)),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

fn no_mailbox(agent: &str) -> Error {
    let shown: String = agent.chars().take(40).flat_map(char::escape_debug).collect();
    Error::new(ErrorKind::NotFound, "there is no mailbox of this agent").with("agent", shown)
}
