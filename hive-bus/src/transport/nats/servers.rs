//! Which servers there are, who one is to them, and how a connection is made.

use std::str::FromStr;
use std::time::Duration;

use async_nats::{ConnectOptions, Event, ServerAddr};
use hive_errors::Result;

use super::Options;
use super::refusal::address;
use crate::limits;

/// Who one is to the server.
pub(super) enum Credentials {
    None,
    Token(String),
    User(String, String),
}

/// The servers without what is secret, as the client library writes them into its log; and what is secret, of the first that
/// says it.
pub(super) fn servers(urls: &[String]) -> Result<(Vec<ServerAddr>, Credentials)> {
    let mut servers = Vec::with_capacity(urls.len());
    let mut credentials = Credentials::None;
    for url in urls {
        let server = ServerAddr::from_str(url).map_err(address)?;
        if !matches!(server.scheme(), "nats" | "tls") || server.host().is_empty() {
            return Err(address("it is one for something else"));
        }
        if matches!(credentials, Credentials::None) {
            let user = server.username().map(unescaped).transpose()?;
            let password = server.password().map(unescaped).transpose()?;
            credentials = match (user, password) {
                (Some(user), Some(password)) => Credentials::User(user, password),
                (Some(token), None) => Credentials::Token(token),
                (None, Some(_) | None) => Credentials::None,
            };
        }
        let mut url = server.into_inner();
        if url.set_username("").is_err() || url.set_password(None).is_err() {
            return Err(address("it is one for something else"));
        }
        servers.push(ServerAddr::from_url(url).map_err(address)?);
    }
    if servers.is_empty() {
        return Err(address("there is none"));
    }
    Ok((servers, credentials))
}

/// Text in which `%` and two digits stand for a byte.
fn unescaped(text: &str) -> Result<String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut parts = text.split('%');
    bytes.extend_from_slice(parts.next().unwrap_or_default().as_bytes());
    for part in parts {
        let (digits, rest) = part.split_at_checked(2).ok_or_else(|| address("a % stands alone"))?;
        bytes.push(u8::from_str_radix(digits, 16).map_err(address)?);
        bytes.extend_from_slice(rest.as_bytes());
    }
    String::from_utf8(bytes).map_err(|_| address("user or password is no text"))
}

pub(super) fn connect_options(options: &Options, servers: usize, credentials: Credentials) -> ConnectOptions {
    let connect = ConnectOptions::new()
        .name("hive")
        .connection_timeout(options.connect_timeout)
        .request_timeout(Some(options.request_timeout))
        .ping_interval(limits::NATS_PING)
        .ignore_discovered_servers()
        // Each server once; when and how often is for whoever calls.
        .max_reconnects(servers)
        .reconnect_delay_callback(|_| Duration::ZERO)
        .event_callback(|event| async move {
            if let Event::ServerError(error) = event {
                tracing::warn!(%error, "the nats server says that something is wrong");
            }
        });
    let connect = match credentials {
        Credentials::None => connect,
        Credentials::Token(token) => connect.token(token),
        Credentials::User(user, password) => connect.user_and_password(user, password),
    };
    let certificates = options.certificates.iter().cloned();
    certificates.fold(connect, ConnectOptions::add_root_certificates)
}
