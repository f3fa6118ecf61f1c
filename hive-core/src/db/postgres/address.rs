//! The parts of a database's address that `tokio-postgres` does not know: how the server proves who it is.

use hive_errors::{Error, ErrorKind, Result};

/// How much of TLS is asked for, as libpq names it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum SslMode {
    Disable,
    Prefer,
    Require,
    VerifyCa,
    VerifyFull,
}

/// What was taken out of an address.
#[derive(Debug)]
pub(super) struct Address {
    /// The rest, in the same form.
    pub(super) rest: String,
    pub(super) ssl_mode: SslMode,
    /// A file with certificates, or `system`.
    pub(super) root_cert: Option<String>,
}

const OURS: [&str; 2] = ["sslmode", "sslrootcert"];

/// Takes our settings out of a URL or of `key=value` pairs.
///
/// # Errors
/// `config` for an unknown `sslmode`. The address itself is never shown: there is a password in it.
pub(super) fn parse(text: &str) -> Result<Address> {
    let (rest, found) = if text.starts_with("postgres://") || text.starts_with("postgresql://") {
        from_url(text)
    } else {
        from_pairs(text)
    };
    let last = |name: &str| {
        found
            .iter()
            .rev()
            .find(|(key, _)| key == name)
            .map(|(_, value)| value.clone())
    };
    let ssl_mode = match last("sslmode").as_deref() {
        None | Some("prefer" | "allow") => SslMode::Prefer,
        Some("disable") => SslMode::Disable,
        Some("require") => SslMode::Require,
        Some("verify-ca") => SslMode::VerifyCa,
        Some("verify-full") => SslMode::VerifyFull,
        Some(other) => {
            return Err(
                Error::new(ErrorKind::Config, "the database's address has an unknown sslmode")
                    .with("sslmode", other)
                    .with_hint("use disable, prefer, require, verify-ca or verify-full"),
            );
        }
    };
    Ok(Address {
        rest,
        ssl_mode,
        root_cert: last("sslrootcert"),
    })
}

type Pairs = Vec<(String, String)>;

fn from_url(text: &str) -> (String, Pairs) {
    // What stands before the `@` is the user's and may hold anything.
    let user = text.find('@').map_or(0, |at| at + 1);
    let (before, after) = text.split_at(user);
    let Some((place, query)) = after.split_once('?') else {
        return (text.to_owned(), Vec::new());
    };
    let mut found = Vec::new();
    let mut rest = Vec::new();
    for part in query.split('&') {
        match part.split_once('=') {
            Some((key, value)) if OURS.contains(&key) => found.push((key.to_owned(), percent_decoded(value))),
            Some(_) | None => rest.push(part),
        }
    }
    let mark = if rest.is_empty() { "" } else { "?" };
    (format!("{before}{place}{mark}{}", rest.join("&")), found)
}

fn percent_decoded(text: &str) -> String {
    let mut bytes = Vec::new();
    let mut rest = text.as_bytes();
    while let Some((first, tail)) = rest.split_first() {
        let code = (*first == b'%').then(|| tail.split_at_checked(2)).flatten();
        let decoded = code.and_then(|(code, after)| {
            let code = std::str::from_utf8(code).ok()?;
            Some((u8::from_str_radix(code, 16).ok()?, after))
        });
        let (byte, after) = decoded.unwrap_or((*first, tail));
        bytes.push(byte);
        rest = after;
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

fn from_pairs(text: &str) -> (String, Pairs) {
    let mut found = Vec::new();
    let mut rest = String::new();
    let mut tail = text.trim_start();
    while !tail.is_empty() {
        let begun = tail;
        let (key, value, after) = pair(tail);
        tail = after.trim_start();
        if OURS.contains(&key) {
            found.push((key.to_owned(), value));
        } else {
            rest.push_str(begun.strip_suffix(tail).unwrap_or(begun));
        }
    }
    (rest, found)
}

/// The first pair, its value without quotes and escapes, and what follows.
fn pair(text: &str) -> (&str, String, &str) {
    let Some((key, after)) = text.split_once('=') else {
        return (text, String::new(), "");
    };
    let after = after.trim_start();
    let (quoted, body) = match after.strip_prefix('\'') {
        Some(body) => (true, body),
        None => (false, after),
    };
    let mut value = String::new();
    let mut chars = body.char_indices();
    while let Some((at, char)) = chars.next() {
        let ends = if quoted { char == '\'' } else { char.is_whitespace() };
        if ends {
            return (key.trim(), value, body.get(at + char.len_utf8()..).unwrap_or_default());
        }
        let escaped = (char == '\\').then(|| chars.next()).flatten();
        value.push(escaped.map_or(char, |(_, char)| char));
    }
    (key.trim(), value, "")
}
