//! What a message's own attributes may be. Those of its event are checked with it.

use std::time::Duration;

use hive_errors::{Error, ErrorKind, Result};

use super::{Address, MessageSent};
use crate::limits;
use crate::topic::Topic;

pub(super) fn check(sent: &MessageSent) -> Result<()> {
    let MessageSent {
        from,
        to,
        kind,
        priority: _,
        body,
        reply_to,
        refusal: _,
        attempts,
    } = sent;
    if let Some(agent) = from {
        name("from", agent)?;
    }
    address("to", to)?;
    if let Some(to) = reply_to {
        address("reply_to", to)?;
    }
    kind_rule(kind)?;
    if body.size() > limits::BODY_BYTES_MAX {
        return Err(Error::new(
            ErrorKind::PayloadTooLarge,
            "the body of the message is larger than the limit",
        )
        .with("attribute", "body")
        .with("bytes", body.size())
        .with("limit", limits::BODY_BYTES_MAX)
        .with_hint("keep the document elsewhere, such as in a task's output, and name it in the message"));
    }
    match attempts {
        Some(attempts) if !(1..=limits::MESSAGE_ATTEMPTS_MAX).contains(attempts) => Err(Error::new(
            ErrorKind::InvalidInput,
            "a message cannot have this many attempts",
        )
        .with("attribute", "attempts")
        .with("found", attempts)
        .with("limit", limits::MESSAGE_ATTEMPTS_MAX)
        .with_hint("give it at least one attempt")),
        Some(_) | None => Ok(()),
    }
}

/// How long a message may be of use.
pub(super) fn ttl(ttl: Duration) -> Result<Duration> {
    if !ttl.is_zero() && ttl <= limits::TTL_MAX {
        return Ok(ttl);
    }
    Err(
        Error::new(ErrorKind::InvalidInput, "a message cannot have this time to live")
            .with("attribute", "ttl")
            .with("found", format!("{ttl:?}"))
            .with("limit", format!("{:?}", limits::TTL_MAX))
            .with_hint("give it some time, or leave it out: then the message waits for ever"),
    )
}

/// The name of an agent or of a capability: it ends a topic, and stands in a consumer's name.
pub(crate) fn name<'a>(attribute: &'static str, name: &'a str) -> Result<&'a str> {
    let refuse = |why: String| {
        // The name may be a stranger's.
        let shown: String = name.chars().take(40).flat_map(char::escape_debug).collect();
        Error::new(ErrorKind::InvalidInput, "nobody can have this name")
            .with("attribute", attribute)
            .with("found", shown)
            .with("why", why)
            .with("limit", limits::AGENT_BYTES_MAX)
            .with_hint("names are tokens between dots, such as acme.reviewer, of ASCII letters, digits and - _ :")
    };
    if name.len() > limits::AGENT_BYTES_MAX {
        return Err(refuse("it is too long".to_owned()));
    }
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | ':' | '.');
    if let Some(found) = name.chars().find(|&c| !plain(c)) {
        return Err(refuse(format!("it has the character {found:?}")));
    }
    // With what stands before it in the longest topic.
    Topic::new(format!("message.capability.critical.{name}")).map_err(|e| refuse(e.message().to_owned()))?;
    Ok(name)
}

fn address(attribute: &'static str, address: &Address) -> Result<()> {
    match address {
        Address::Agent(text) | Address::Capability(text) => name(attribute, text).map(drop),
        Address::Reply(_) => Ok(()),
    }
}

fn kind_rule(kind: &str) -> Result<()> {
    let refuse = |why: &'static str| {
        Error::new(ErrorKind::InvalidInput, "a message cannot have this type")
            .with("attribute", "type")
            .with("why", why)
            .with("limit", limits::TYPE_BYTES_MAX)
            .with_hint("say what it is with NewMessage::kind, in ASCII without spaces, such as review.request")
    };
    if kind.is_empty() {
        return Err(refuse("it is empty"));
    }
    if kind.len() > limits::TYPE_BYTES_MAX {
        return Err(refuse("it is too long"));
    }
    if !kind.chars().all(|c| c.is_ascii_graphic()) {
        return Err(refuse("it has a character that is not allowed"));
    }
    Ok(())
}
