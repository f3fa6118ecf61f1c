//! What an event's attributes may be.

use hive_errors::{Error, ErrorKind, Result};

use super::Attributes;
use crate::limits;

pub(super) fn check(attributes: &Attributes) -> Result<()> {
    let Attributes {
        event_type,
        schema_version,
        source,
        topic: _,
        tenant,
        correlation,
        causation,
        key,
        traceparent,
        expires: _,
        data,
    } = attributes;
    event_type_rule(event_type)?;
    source_rule(source)?;
    tenant_rule(tenant)?;
    if let Some(text) = correlation {
        id_rule("correlation", text)?;
    }
    if let Some(text) = causation {
        id_rule("causation", text)?;
    }
    if let Some(text) = key {
        id_rule("key", text)?;
    }
    if let Some(text) = traceparent {
        traceparent_rule(text)?;
    }
    if *schema_version == 0 {
        return Err(
            Error::new(ErrorKind::InvalidInput, "schema versions begin at 1").with("attribute", "schema_version")
        );
    }
    // A payload may have been made under a larger limit elsewhere.
    let bytes = data.size();
    if bytes > limits::DATA_BYTES_MAX {
        return Err(
            Error::new(ErrorKind::PayloadTooLarge, "the event's data is larger than the limit")
                .with("bytes", bytes)
                .with("limit", limits::DATA_BYTES_MAX)
                .with_hint("keep the document elsewhere, such as in a task's output, and name it in the event"),
        );
    }
    Ok(())
}

fn event_type_rule(text: &str) -> Result<()> {
    bounds("type", text, limits::TYPE_BYTES_MAX)?;
    characters(
        "type",
        text,
        |c| c.is_ascii_graphic(),
        "a type is ASCII without spaces, such as order.placed",
    )
}

fn source_rule(text: &str) -> Result<()> {
    const HINT: &str = "a source is a URI reference (RFC 3986) such as /shop/berlin";
    bounds("source", text, limits::SOURCE_BYTES_MAX)?;
    let reserved_or_plain = |c: char| c.is_ascii_alphanumeric() || "-._~:/?#[]@!$&'()*+,;=%".contains(c);
    characters("source", text, reserved_or_plain, HINT)?;
    let mut rest = text;
    while let Some((_, after)) = rest.split_once('%') {
        let escape = after.as_bytes().get(..2);
        if !escape.is_some_and(|pair| pair.iter().all(u8::is_ascii_hexdigit)) {
            return Err(Error::new(
                ErrorKind::InvalidInput,
                "a % in a source must be followed by two hexadecimal digits",
            )
            .with("source", text)
            .with_hint(HINT));
        }
        rest = after;
    }
    Ok(())
}

fn tenant_rule(text: &str) -> Result<()> {
    bounds("tenant", text, limits::TENANT_BYTES_MAX)?;
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    characters(
        "tenant",
        text,
        plain,
        "a tenant's name is made of ASCII letters, digits and - _ .",
    )
}

fn id_rule(name: &'static str, text: &str) -> Result<()> {
    bounds(name, text, limits::CORRELATION_BYTES_MAX)?;
    characters(
        name,
        text,
        |c| !c.is_control(),
        "take the id of a task, an event or a request",
    )
}

/// Version, trace, parent and flags in lower-case hexadecimal digits; later versions may have more behind that.
fn traceparent_rule(text: &str) -> Result<()> {
    bounds("traceparent", text, limits::TRACEPARENT_BYTES_MAX)?;
    let lower_hex = |part: &str, digits: usize| {
        part.len() == digits && part.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'))
    };
    let zero = |part: &str| part.bytes().all(|b| b == b'0');
    let mut parts = text.split('-');
    let mut next = || parts.next().unwrap_or_default();
    let (version, trace, parent, flags) = (next(), next(), next(), next());
    let known = lower_hex(version, 2)
        && version != "ff"
        && lower_hex(trace, 32)
        && !zero(trace)
        && lower_hex(parent, 16)
        && !zero(parent)
        && lower_hex(flags, 2)
        && (version != "00" || parts.next().is_none());
    if known && text.bytes().all(|b| b.is_ascii_graphic()) {
        return Ok(());
    }
    Err(
        Error::new(ErrorKind::InvalidInput, "the trace context of the event is not one")
            .with("attribute", "traceparent")
            .with("found", text.escape_debug())
            .with_hint(
                "write it as W3C Trace Context does: 00-<32 digits>-<16 digits>-<2 digits>, lower-case hexadecimal",
            ),
    )
}

fn bounds(name: &'static str, text: &str, limit: usize) -> Result<()> {
    if text.is_empty() {
        return Err(
            Error::new(ErrorKind::InvalidInput, "an attribute of the event is empty")
                .with("attribute", name)
                .with_hint("leave it out, or give it a value"),
        );
    }
    if text.len() > limit {
        return Err(
            Error::new(ErrorKind::InvalidInput, "an attribute of the event is too long")
                .with("attribute", name)
                .with("bytes", text.len())
                .with("limit", limit)
                .with_hint("put long values into the event's data"),
        );
    }
    Ok(())
}

fn characters(name: &'static str, text: &str, allowed: impl Fn(char) -> bool, hint: &'static str) -> Result<()> {
    match text.char_indices().find(|&(_, c)| !allowed(c)) {
        None => Ok(()),
        Some((at, found)) => Err(Error::new(
            ErrorKind::InvalidInput,
            "an attribute of the event has a character that is not allowed",
        )
        .with("attribute", name)
        .with("character", found.escape_debug())
        .with("byte", at)
        .with_hint(hint)),
    }
}
