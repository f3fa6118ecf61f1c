//! What things are called on the server.

#[cfg(test)]
mod tests;

use std::fmt::Write;

use hive_errors::{Error, ErrorKind, Result};

use super::Options;
use crate::event::Sequence;
use crate::limits;
use crate::topic::{Pattern, Patterns, Topic};

/// The stream, the two buckets beside it, and the subjects of all three.
#[derive(Debug)]
pub(super) struct Names {
    /// The stream of events.
    pub(super) events: String,
    /// The stream under the bucket of consumers' states.
    pub(super) states: String,
    /// The stream under the bucket of dead letters.
    pub(super) dead: String,
    /// What subjects of events begin with.
    events_prefix: String,
    states_prefix: String,
    dead_prefix: String,
    changed_prefix: String,
}

impl Names {
    pub(super) fn new(options: &Options) -> Result<Self> {
        let name = &options.name;
        let plain = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_');
        if name.is_empty() || name.len() > limits::NATS_NAME_BYTES_MAX || !name.bytes().all(plain) {
            return Err(
                Error::new(ErrorKind::Config, "the name of a stream is letters, digits, - and _")
                    .with("name", name.escape_debug())
                    .with("bytes_max", limits::NATS_NAME_BYTES_MAX),
            );
        }
        let prefix = Topic::new(options.prefix.clone()).map_err(|error| {
            Error::new(ErrorKind::Config, "the prefix of the subjects is none")
                .with_hint("write tokens between dots, such as hive or shop.berlin")
                .with_source(error)
        })?;
        Ok(Self {
            events: name.clone(),
            states: format!("KV_{name}_STATE"),
            dead: format!("KV_{name}_DEAD"),
            events_prefix: format!("{prefix}.e."),
            states_prefix: format!("$KV.{name}_STATE."),
            dead_prefix: format!("$KV.{name}_DEAD."),
            changed_prefix: format!("{prefix}.changed."),
        })
    }

    /// The subject of an event on this topic. No character of a topic means anything else to the server.
    pub(super) fn event(&self, topic: &Topic) -> String {
        format!("{}{topic}", self.events_prefix)
    }

    /// The subjects of all events.
    pub(super) fn every_event(&self) -> String {
        format!("{}>", self.events_prefix)
    }

    /// The subjects among which are those of all that match: of one pattern those that match it, of several all.
    pub(super) fn filter(&self, patterns: &Patterns) -> String {
        let mut patterns = patterns.iter();
        match (patterns.next().map(Pattern::as_str), patterns.next()) {
            // Alone, it means everything.
            (Some(pattern), None) if pattern != "*" => format!("{}{pattern}", self.events_prefix),
            (Some(_) | None, Some(_) | None) => self.every_event(),
        }
    }

    pub(super) fn every_state(&self) -> String {
        format!("{}>", self.states_prefix)
    }

    /// Where it is kept who feeds the stream.
    pub(super) fn feed(&self) -> String {
        format!("{}feed", self.states_prefix)
    }

    /// Where it is kept how far a relay came.
    pub(super) fn relayed(&self) -> String {
        format!("{}relayed", self.states_prefix)
    }

    pub(super) fn state(&self, consumer: &str) -> String {
        format!("{}c.{}", self.states_prefix, escaped(consumer))
    }

    /// The subjects of all consumers' states.
    pub(super) fn consumers(&self) -> String {
        format!("{}c.*", self.states_prefix)
    }

    /// The consumer whose state has this subject.
    pub(super) fn consumer(&self, subject: &str) -> Option<String> {
        unescaped(subject.strip_prefix(&self.states_prefix)?.strip_prefix("c.")?)
    }

    pub(super) fn every_letter(&self) -> String {
        format!("{}>", self.dead_prefix)
    }

    pub(super) fn letters(&self, consumer: &str) -> String {
        format!("{}{}.*", self.dead_prefix, escaped(consumer))
    }

    pub(super) fn letter(&self, consumer: &str, sequence: Sequence) -> String {
        // So many digits sort as the numbers do, in whatever lists them.
        format!("{}{}.{:020}", self.dead_prefix, escaped(consumer), sequence.get())
    }

    /// The event whose letter has this subject.
    pub(super) fn letter_sequence(&self, subject: &str) -> Option<Sequence> {
        let (_, digits) = subject.strip_prefix(&self.dead_prefix)?.split_once('.')?;
        digits.parse().ok().map(Sequence::new)
    }

    /// Who hears of a change of a consumer's state.
    pub(super) fn changed(&self, consumer: &str) -> String {
        format!("{}{}", self.changed_prefix, escaped(consumer))
    }

    pub(super) fn every_change(&self) -> String {
        format!("{}*", self.changed_prefix)
    }

    /// The consumer that is changed on this subject.
    pub(super) fn changed_consumer(&self, subject: &str) -> Option<String> {
        unescaped(subject.strip_prefix(&self.changed_prefix)?)
    }
}

/// Any text as one token of a subject, and as a key of a bucket.
fn escaped(text: &str) -> String {
    let mut token = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_') {
            token.push(char::from(byte));
        } else {
            // Writing to a string does not fail.
            let _ = write!(token, "={byte:02X}");
        }
    }
    if token.is_empty() {
        // A token has to be something, and this is no other text's.
        token.push('=');
    }
    token
}

fn unescaped(token: &str) -> Option<String> {
    if token == "=" {
        return Some(String::new());
    }
    let mut bytes = Vec::with_capacity(token.len());
    let mut rest = token.as_bytes();
    while let Some((first, behind)) = rest.split_first() {
        if *first == b'=' {
            let (digits, behind) = behind.split_at_checked(2)?;
            bytes.push(u8::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok()?);
            rest = behind;
        } else {
            bytes.push(*first);
            rest = behind;
        }
    }
    String::from_utf8(bytes).ok()
}
