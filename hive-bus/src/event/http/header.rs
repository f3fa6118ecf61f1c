//! Attributes as the values of headers: percent-encoded UTF-8.

use hive_errors::{Error, ErrorKind, Result};

/// Printable ASCII but for space, quote and percent stays; every other byte becomes `%XY`.
pub(super) fn encode(text: &str) -> String {
    let mut value = String::with_capacity(text.len());
    for byte in text.bytes() {
        match byte {
            b'"' | b'%' => escape(byte, &mut value),
            b'!'..=b'~' => value.push(char::from(byte)),
            _ => escape(byte, &mut value),
        }
    }
    value
}

fn escape(byte: u8, value: &mut String) {
    value.push('%');
    for digit in [byte >> 4, byte & 15] {
        value.extend(char::from_digit(digit.into(), 16).map(|digit| digit.to_ascii_uppercase()));
    }
}

/// The text that a header stands for: without the quotes that older senders put around it, and with escapes undone, once.
///
/// A `%` that begins no escape stands for itself, because there are senders that escape nothing.
///
/// # Errors
/// `invalid-input` when the bytes that are escaped are not UTF-8.
pub(super) fn decode(value: &str) -> Result<String> {
    let value = unquote(value.trim_matches([' ', '\t']));
    let mut bytes = Vec::with_capacity(value.len());
    let mut rest = value.as_bytes();
    while let Some((&first, after)) = rest.split_first() {
        let escaped = match (first, after) {
            (b'%', [high, low, after @ ..]) => digit(*high)
                .zip(digit(*low))
                .map(|(high, low)| (high << 4 | low, after)),
            _ => None,
        };
        let (byte, after) = escaped.unwrap_or((first, after));
        bytes.push(byte);
        rest = after;
    }
    String::from_utf8(bytes).map_err(|e| {
        Error::new(ErrorKind::InvalidInput, "an attribute of the CloudEvent is not UTF-8").with_source(e.utf8_error())
    })
}

fn digit(hex: u8) -> Option<u8> {
    char::from(hex).to_digit(16).and_then(|digit| u8::try_from(digit).ok())
}

fn unquote(value: &str) -> String {
    let inner = value.strip_prefix('"').and_then(|rest| rest.strip_suffix('"'));
    let Some(inner) = inner else {
        return value.to_owned();
    };
    let mut text = String::with_capacity(inner.len());
    let mut characters = inner.chars();
    while let Some(c) = characters.next() {
        // A backslash at the end quotes nothing.
        text.push(if c == '\\' { characters.next().unwrap_or(c) } else { c });
    }
    text
}
