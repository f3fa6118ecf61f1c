//! Opening a mailbox.

use std::fmt;
use std::future::IntoFuture;
use std::pin::Pin;
use std::time::Duration;

use hive_errors::{Error, ErrorKind, Result, RetryPolicy};

use super::{Mailbox, lane_name};
use crate::bus::Bus;
use crate::consumer::{Begin, Consumer, Order};
use crate::event::Sequence;
use crate::limits;
use crate::message::{Address, Priority};
use crate::topic::{Pattern, Patterns};

/// A mailbox that is being opened; await it. See [`Bus::mailbox`].
#[must_use = "a mailbox is not open until it is awaited"]
pub struct OpenMailbox {
    bus: Bus,
    agent: String,
    capabilities: Vec<String>,
    begin: Begin,
    ack_wait: Duration,
    retry: RetryPolicy,
    prefetch: usize,
}

impl Bus {
    /// Opens an agent's mailbox. Await it; see [`Mailbox`].
    ///
    /// The first time, it begins with the oldest message to the agent that is still there, and with those to its capabilities that
    /// are sent from then on. Later it goes on where it was.
    ///
    /// # Errors
    /// `invalid-input` when the name of the agent or of a capability is none; `limit-reached` above
    /// [`limits::CAPABILITIES_MAX`]; `conflict` when this process has it open with other capabilities; whatever the transport
    /// refuses.
    pub fn mailbox(&self, agent: impl Into<String>) -> OpenMailbox {
        OpenMailbox {
            bus: self.clone(),
            agent: agent.into(),
            capabilities: Vec::new(),
            begin: Begin::Oldest,
            ack_wait: limits::ACK_WAIT_DEFAULT,
            retry: RetryPolicy::exponential(limits::ATTEMPTS_DEFAULT),
            prefetch: limits::MAILBOX_PREFETCH_DEFAULT,
        }
    }
}

impl OpenMailbox {
    /// Declares a capability: from now on the mailbox gets its own copy of what is sent to those who have it. Who opens the mailbox
    /// last says which ones it has.
    pub fn capability(mut self, name: impl Into<String>) -> Self {
        self.capabilities.push(name.into());
        self
    }

    /// [`OpenMailbox::capability`] for several.
    pub fn capabilities(mut self, names: impl IntoIterator<Item = impl Into<String>>) -> Self {
        self.capabilities.extend(names.into_iter().map(Into::into));
        self
    }

    /// Where a mailbox that is opened for the first time begins with the messages to its agent; [`Begin::Oldest`] unless set.
    pub fn begin(mut self, begin: Begin) -> Self {
        self.begin = begin;
        self
    }

    /// How long a letter is this process's before it is given to another; see
    /// [`Consume::ack_wait`](crate::Consume::ack_wait).
    pub fn ack_wait(mut self, wait: Duration) -> Self {
        self.ack_wait = wait;
        self
    }

    /// How often a letter is delivered, and how long it waits after a failure; see [`Consume::retry`](crate::Consume::retry).
    pub fn retry(mut self, policy: RetryPolicy) -> Self {
        self.retry = policy;
        self
    }

    /// How many letters of each priority this process may have in hand, begun or not, and so also how many it can handle at once;
    /// [`limits::MAILBOX_PREFETCH_DEFAULT`] unless set. More is faster, less is fairer to others who have the mailbox open.
    pub fn prefetch(mut self, letters: usize) -> Self {
        self.prefetch = letters;
        self
    }

    async fn open(self) -> Result<Mailbox> {
        let Self {
            bus,
            agent,
            mut capabilities,
            begin,
            ack_wait,
            retry,
            prefetch,
        } = self;
        capabilities.sort();
        capabilities.dedup();
        if capabilities.len() > limits::CAPABILITIES_MAX {
            return Err(
                Error::new(ErrorKind::LimitReached, "the mailbox declares too many capabilities")
                    .with("agent", agent)
                    .with("capabilities", capabilities.len())
                    .with("limit", limits::CAPABILITIES_MAX),
            );
        }
        let own = Address::Agent(agent.clone());
        let begin = match begin {
            Begin::Oldest if !is_there(&bus, &agent).await? => oldest(&bus, &own).await?,
            Begin::Oldest | Begin::Now | Begin::At(_) | Begin::Since(_) => begin,
        };
        let lane = async |priority: Priority| -> Result<Consumer> {
            let shared = capabilities
                .iter()
                .map(|name| Address::Capability(name.clone()).topic(priority).map(Pattern::from))
                .collect::<Result<Vec<_>>>()?;
            let patterns = Patterns::new([Pattern::from(own.topic(priority)?)].into_iter().chain(shared.clone()))?;
            bus.consumer_any(lane_name(&agent, priority), patterns)
                .begin(begin)
                .late(shared)
                .with_these_patterns()
                .order(Order::ByOwnKey)
                .ack_wait(ack_wait)
                .retry(retry.clone())
                .prefetch(prefetch)
                .await
        };
        let [critical, high, medium, low] = Priority::ALL;
        let lanes = [
            lane(critical).await?,
            lane(high).await?,
            lane(medium).await?,
            lane(low).await?,
        ];
        Ok(Mailbox::new(bus, agent, lanes))
    }
}

/// Whether the mailbox was opened before.
async fn is_there(bus: &Bus, agent: &str) -> Result<bool> {
    for priority in Priority::ALL {
        if bus.transport().load(&lane_name(agent, priority)).await?.is_none() {
            return Ok(false);
        }
    }
    Ok(true)
}

/// Before the first message to this address, so that one look at the log does for all priorities.
async fn oldest(bus: &Bus, address: &Address) -> Result<Begin> {
    let patterns = Patterns::from(address.pattern()?);
    let mut after = Sequence::START;
    loop {
        let found = bus.transport().read(&patterns, after, 1).await?;
        if let Some(first) = found.events.first() {
            return Ok(Begin::At(first.sequence()));
        }
        after = found.reached;
        if found.ended {
            return Ok(Begin::At(Sequence::new(after.get().saturating_add(1))));
        }
    }
}

impl IntoFuture for OpenMailbox {
    type Output = Result<Mailbox>;
    type IntoFuture = Pin<Box<dyn Future<Output = Self::Output> + Send>>;

    fn into_future(self) -> Self::IntoFuture {
        Box::pin(self.open())
    }
}

impl fmt::Debug for OpenMailbox {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OpenMailbox")
            .field("agent", &self.agent)
            .field("capabilities", &self.capabilities)
            .finish_non_exhaustive()
    }
}
