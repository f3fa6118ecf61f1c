//! What an event's attributes may be.

use hive_errors::{Error, ErrorKind, Result};

use super::cloudevent::{TAKEN, name_rule, wrong};
use super::extensions::{ExtensionValue, Extensions};
use super::foreign::{Foreign, Subject};
use super::{Attributes, content};
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
        extensions,
        data,
    } = attributes;
    event_type_rule(event_type)?;
    source_rule(source)?;
    tenant_rule(tenant)?;
    if let Some(text) = correlation {
        id("correlation", text)?;
    }
    if let Some(text) = causation {
        id("causation", text)?;
    }
    if let Some(text) = key {
        id("key", text)?;
    }
    if let Some(text) = traceparent {
        traceparent_rule(text)?;
    }
    if let Some(extensions) = extensions {
        extensions_rule(extensions)?;
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
    bounds("source", text, limits::SOURCE_BYTES_MAX)?;
    uri_reference(
        "source",
        text,
        "a source is a URI reference (RFC 3986) such as /shop/berlin",
    )
}

fn uri_reference(name: &'static str, text: &str, hint: &'static str) -> Result<()> {
    let reserved_or_plain = |c: char| c.is_ascii_alphanumeric() || "-._~:/?#[]@!$&'()*+,;=%".contains(c);
    characters(name, text, reserved_or_plain, hint)?;
    let mut rest = text;
    while let Some((_, after)) = rest.split_once('%') {
        let escape = after.as_bytes().get(..2);
        if !escape.is_some_and(|pair| pair.iter().all(u8::is_ascii_hexdigit)) {
            return Err(Error::new(
                ErrorKind::InvalidInput,
                "a % in a URI must be followed by two hexadecimal digits",
            )
            .with("attribute", name)
            .with_hint(hint));
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

pub(super) fn id(name: &'static str, text: &str) -> Result<()> {
    bounds(name, text, limits::CORRELATION_BYTES_MAX)?;
    characters(
        name,
        text,
        |c| !c.is_control(),
        "take the id of a task, an event or a request",
    )
}

fn extensions_rule(extensions: &Extensions) -> Result<()> {
    let Extensions {
        named,
        schema,
        media_type,
        content: _,
        foreign,
    } = extensions;
    if named.len() > limits::EXTENSIONS_MAX {
        return Err(
            Error::new(ErrorKind::LimitReached, "the event has too many extension attributes")
                .with("attributes", named.len())
                .with("limit", limits::EXTENSIONS_MAX)
                .with_hint("put them into the event's data"),
        );
    }
    for (name, value) in named {
        name_rule(name)?;
        // The order of events within their source is their own system's to tell.
        if TAKEN.contains(&name.as_str()) || (name == "sequence" && foreign.is_none()) {
            return Err(Error::new(
                ErrorKind::InvalidInput,
                "an extension attribute of the event has a name that is taken",
            )
            .with("attribute", name)
            .with_hint(
                "it means something to CloudEvents or to Hive; if it is yours to set, there is a function for it",
            ));
        }
        if let ExtensionValue::Text(text) = value {
            fits(name, text, limits::EXTENSION_BYTES_MAX)?;
            characters(
                name,
                text,
                carriable,
                "extension attributes are text without control characters",
            )?;
        }
    }
    if let Some(text) = schema {
        bounds("dataschema", text, limits::EXTENSION_BYTES_MAX)?;
        uri_reference("dataschema", text, "a schema is named by its URI")?;
    }
    if let Some(text) = media_type {
        self::media_type(text)?;
    }
    if let Some(Foreign { id, subject }) = foreign {
        carried("id", id)?;
        if let Subject::Text(text) = subject {
            carried("subject", text)?;
        }
    }
    let bytes = extensions.bytes();
    if bytes > limits::EXTENSIONS_BYTES_MAX {
        return Err(Error::new(
            ErrorKind::LimitReached,
            "the event's extension attributes are too long together",
        )
        .with("bytes", bytes)
        .with("limit", limits::EXTENSIONS_BYTES_MAX)
        .with_hint("put long values into the event's data"));
    }
    Ok(())
}

/// A text of another system that is only handed on.
pub(super) fn carried(name: &'static str, text: &str) -> Result<()> {
    bounds(name, text, limits::EXTENSION_BYTES_MAX)?;
    characters(name, text, carriable, "write it without control characters")
}

/// A type and a subtype, and perhaps parameters: it stands in a header as it is.
pub(super) fn media_type(text: &str) -> Result<()> {
    const NAME: &str = "datacontenttype";
    const HINT: &str = "a media type is written as type/subtype, such as text/plain; charset=utf-8";
    bounds(NAME, text, limits::EXTENSION_BYTES_MAX)?;
    characters(NAME, text, |c| matches!(c, ' '..='~'), HINT)?;
    let essence = content::essence(text);
    let token = |part: &str| {
        !part.is_empty()
            && part
                .bytes()
                .all(|b| b.is_ascii_alphanumeric() || b"!#$&-^_.+".contains(&b))
    };
    match essence.split_once('/') {
        Some((kind, subtype)) if token(kind) && token(subtype) && text.trim() == text => Ok(()),
        Some(_) | None => Err(wrong(NAME, text, HINT)),
    }
}

/// What CloudEvents lets stand in a text: no control characters, and nothing that Unicode says will never be a character.
fn carriable(c: char) -> bool {
    let code = u32::from(c);
    !c.is_control() && !(0xfdd0..=0xfdef).contains(&code) && code & 0xfffe != 0xfffe
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
    fits(name, text, limit)
}

fn fits(name: &str, text: &str, limit: usize) -> Result<()> {
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

fn characters(name: &str, text: &str, allowed: impl Fn(char) -> bool, hint: &'static str) -> Result<()> {
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
