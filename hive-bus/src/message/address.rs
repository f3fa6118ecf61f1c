//! Whom a message is for, how urgent it is, and the topic that both make.

use std::fmt;

use hive_core::id::EventId;
use hive_errors::Result;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::rules;
use crate::topic::{Pattern, Topic};

/// How urgent a message is. A mailbox hands out the most urgent first, and lets none of the others wait for ever.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Priority {
    /// When there is nothing else to do.
    Low,
    /// In its turn.
    #[default]
    Medium,
    /// Before what is usual.
    High,
    /// Before everything else.
    Critical,
}

impl Priority {
    /// All of them, the most urgent first.
    pub const ALL: [Self; 4] = [Self::Critical, Self::High, Self::Medium, Self::Low];

    /// Its name in lower case.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Low => "low",
            Self::Medium => "medium",
            Self::High => "high",
            Self::Critical => "critical",
        }
    }
}

impl fmt::Display for Priority {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Whom a message is for. A text is an agent's name.
///
/// Agents and capabilities are named by tokens between dots, such as `acme.reviewer`: ASCII letters, digits and `- _ :`, at most
/// [`limits::AGENT_BYTES_MAX`](crate::limits::AGENT_BYTES_MAX) bytes.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum Address {
    /// The mailbox of the agent with this name. There need not be one yet: the message waits for it.
    Agent(String),
    /// Every mailbox that declares this capability when the message is sent, a copy each.
    Capability(String),
    /// Whoever waits for the reply to the request with this id.
    Reply(EventId),
}

impl Address {
    /// The topic of messages of this priority to this address.
    ///
    /// # Errors
    /// `invalid-input` when the name is none.
    pub fn topic(&self, priority: Priority) -> Result<Topic> {
        let (family, name) = self.parts()?;
        Topic::new(format!("message.{family}.{priority}.{name}"))
    }

    /// Which topics messages of any priority to this address are on.
    ///
    /// # Errors
    /// As [`Address::topic`].
    pub fn pattern(&self) -> Result<Pattern> {
        let (family, name) = self.parts()?;
        Pattern::new(format!("message.{family}.*.{name}"))
    }

    /// The address and the priority that this topic is for; `None` when no message belongs on it.
    pub fn of_topic(topic: &Topic) -> Option<(Self, Priority)> {
        let mut parts = topic.as_str().splitn(4, '.');
        let mut next = || parts.next();
        if next()? != "message" {
            return None;
        }
        let (family, priority, name) = (next()?, next()?, next()?);
        let priority = Priority::ALL.into_iter().find(|known| known.as_str() == priority)?;
        let address = match family {
            "agent" => Self::Agent(name.to_owned()),
            "capability" => Self::Capability(name.to_owned()),
            "reply" => Self::Reply(name.parse().ok()?),
            _ => return None,
        };
        // Also what only looks like one, such as a name that is too long.
        (address.topic(priority).ok()? == *topic).then_some((address, priority))
    }

    fn parts(&self) -> Result<(&'static str, String)> {
        Ok(match self {
            Self::Agent(name) => ("agent", rules::name("agent", name)?.to_owned()),
            Self::Capability(name) => ("capability", rules::name("capability", name)?.to_owned()),
            Self::Reply(request) => ("reply", request.to_string()),
        })
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Agent(name) => write!(f, "agent:{name}"),
            Self::Capability(name) => write!(f, "capability:{name}"),
            Self::Reply(request) => write!(f, "reply:{request}"),
        }
    }
}

impl From<&str> for Address {
    fn from(agent: &str) -> Self {
        Self::Agent(agent.to_owned())
    }
}

impl From<String> for Address {
    fn from(agent: String) -> Self {
        Self::Agent(agent)
    }
}
