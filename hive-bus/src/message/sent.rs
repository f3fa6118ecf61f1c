//! What stands in a message's event.

use hive_core::payload::Payload;
use hive_errors::{Failure, Result};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Address, Priority};
use crate::event::TypedEvent;
use crate::topic::Topic;

/// A message was sent. The rest of it are the event's own attributes.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct MessageSent {
    /// The agent that sent it; absent when it was no agent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from: Option<String>,
    /// Whom it is for.
    pub to: Address,
    /// What it is, such as `review.request`.
    #[serde(rename = "type")]
    pub kind: String,
    /// How urgent it is.
    pub priority: Priority,
    /// What it says: any JSON value.
    #[schemars(with = "serde_json::Value")]
    pub body: Payload,
    /// Where a reply goes, if not to who sent it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reply_to: Option<Address>,
    /// In a reply: why the request was refused.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<serde_json::Value>")]
    pub refusal: Option<Failure>,
    /// How often it may be delivered to a receiver, where that is less than its mailbox would.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub attempts: Option<u32>,
}

impl TypedEvent for MessageSent {
    const TYPE: &'static str = "message.sent";
    const TOPICS: &'static str = "message.*.*.>";

    fn topic(&self) -> Result<Topic> {
        self.to.topic(self.priority)
    }

    fn example() -> Self {
        Self {
            from: Some("writer".into()),
            to: Address::Agent("reviewer".into()),
            kind: "review.request".into(),
            priority: Priority::High,
            body: Payload::from_stored(br#"{"diff":"- foo\n+ bar"}"#),
            reply_to: None,
            refusal: None,
            attempts: Some(3),
        }
    }
}
