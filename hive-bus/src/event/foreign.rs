//! Events of other systems: how they get an id and a topic of Hive's.

use hive_core::id::EventId;
use uuid::Uuid;

use super::Attributes;
use crate::limits;
use crate::topic::Topic;

/// The namespace of the ids that are derived. It stands in stored events, so it never changes.
const NAMESPACE: Uuid = Uuid::from_u128(0x8d69_d369_d8dd_79dd_3cfd_733f_43c9_9e8f);

/// What stands for what no topic can have.
const STAND_IN: &str = "_";

/// What an event is in the system that it came from.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Foreign {
    /// Unique together with the source.
    pub(super) id: String,
    pub(super) subject: Subject,
}

#[derive(Clone, Debug, PartialEq)]
pub(super) enum Subject {
    /// It is the topic.
    Topic,
    /// It cannot be one; the topic follows from the type.
    Text(String),
    /// There is none; the topic follows from the type.
    Absent,
}

impl Foreign {
    /// Where an event of this type with this subject stands, and what is to be remembered of the subject.
    pub(super) fn place(event_type: &str, subject: Option<String>) -> (Topic, Subject) {
        match subject {
            None => (topic_of(event_type), Subject::Absent),
            Some(text) => match Topic::new(text.clone()) {
                Ok(topic) => (topic, Subject::Topic),
                Err(_) => (topic_of(event_type), Subject::Text(text)),
            },
        }
    }

    pub(super) fn subject<'a>(&'a self, topic: &'a Topic) -> Option<&'a str> {
        match &self.subject {
            Subject::Topic => Some(topic.as_str()),
            Subject::Text(text) => Some(text),
            Subject::Absent => None,
        }
    }

    /// The same whenever and wherever the event is received, so that it is published once: UUIDv5 of tenant, source and id
    /// with a NUL between. The tenant is in it so that none can take away an id that another one waits for.
    pub(super) fn event_id(&self, attributes: &Attributes) -> EventId {
        let name = format!("{}\0{}\0{}", attributes.tenant, attributes.source, self.id);
        EventId::from_uuid(Uuid::new_v5(&NAMESPACE, name.as_bytes()))
    }

    pub(super) fn bytes(&self) -> usize {
        let subject = match &self.subject {
            Subject::Text(text) => text.len(),
            Subject::Topic | Subject::Absent => 0,
        };
        self.id.len() + subject
    }
}

/// The type as a topic, which it mostly is. What a topic cannot have is replaced, and tokens beyond the last become part of
/// it. Dead letters and other copies are read with this, so it never changes.
fn topic_of(event_type: &str) -> Topic {
    if let Ok(topic) = Topic::new(event_type.to_owned()) {
        return topic;
    }
    let allowed = |c: char| Topic::new(String::from(c)).is_ok();
    let tokens: Vec<String> = event_type
        .split('.')
        .filter(|token| !token.is_empty())
        .map(|token| token.replace(|c: char| !allowed(c), STAND_IN))
        .collect();
    let text = match tokens.split_at_checked(limits::TOPIC_TOKENS_MAX - 1) {
        Some((first, rest)) if rest.len() > 1 => format!("{}.{}", first.join("."), rest.join(STAND_IN)),
        Some(_) | None => tokens.join("."),
    };
    // It was nothing but dots, or it is too long for a type and will be refused as that.
    Topic::new(text).unwrap_or_else(|_| Topic::from_stored(STAND_IN.to_owned()))
}
