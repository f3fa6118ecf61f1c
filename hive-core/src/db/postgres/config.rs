//! Where the server is, what is asked of it, and what a connection must be before it is used.

use std::fmt;
use std::time::Duration;

use hive_errors::{Error, ErrorKind, Result};
use tokio_postgres::config::{Host, TargetSessionAttrs};
use tokio_postgres::tls::MakeTlsConnect;
use tokio_postgres::{Client, Connection, SimpleQueryMessage, Socket};
use tokio_postgres_rustls::MakeRustlsConnect;

use super::address::{self, SslMode};
use super::{error, tls};
use crate::limits;

/// The oldest server that is known to do what is needed.
const VERSION_MIN: u32 = 140_000;

/// How long the server may take over things, set on each connection and read back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::db) struct Timeouts {
    /// To connect, with everything that belongs to it.
    pub(in crate::db) connect: Duration,
    /// For one statement. Deadlines end it earlier; this is for clients that can no longer say so.
    pub(in crate::db) statement: Duration,
    /// For a lock.
    pub(in crate::db) lock: Duration,
    /// For a transaction in which nothing happens.
    pub(in crate::db) idle: Duration,
}

impl Default for Timeouts {
    fn default() -> Self {
        Self {
            connect: limits::DB_CONNECT_TIMEOUT,
            statement: limits::DB_STATEMENT_TIMEOUT,
            lock: limits::DB_LOCK_TIMEOUT,
            idle: limits::DB_IDLE_TIMEOUT,
        }
    }
}

/// A checked address with all that connecting needs. Its `Debug` shows no password.
#[derive(Clone)]
pub(in crate::db) struct Config {
    address: tokio_postgres::Config,
    tls: MakeRustlsConnect,
    timeouts: Timeouts,
    place: String,
}

pub(super) type Stream = <MakeRustlsConnect as MakeTlsConnect<Socket>>::Stream;

impl Config {
    /// Reads a URL (`postgres://user:password@host/database?sslmode=…`) or `key=value` pairs, as libpq does.
    ///
    /// `sslmode` is `disable`, `prefer` (default: encrypted when the server can, without proof of who it is), `require`
    /// (the same, but never in the clear; with `sslrootcert` as `verify-ca`), `verify-ca` or `verify-full`; `sslrootcert` is a
    /// PEM file or `system`, which is what the last two use without it.
    ///
    /// # Errors
    /// `config` when it is not understood, or its certificates cannot be read. What was given is never shown.
    pub(in crate::db) fn parse(text: &str, timeouts: Timeouts) -> Result<Self> {
        let given = address::parse(text)?;
        let mut address: tokio_postgres::Config = given.rest.parse().map_err(|_: tokio_postgres::Error| {
            // The source may quote a piece of the password.
            Error::new(ErrorKind::Config, "the database's address is not understood").with_hint(
                "write postgres://user:password@host:port/database?sslmode=…, with special characters percent-encoded, or \
                 host=… user=… dbname=…",
            )
        })?;
        if address.get_hosts().is_empty() && address.get_hostaddrs().is_empty() {
            return Err(Error::new(ErrorKind::Config, "the database's address names no host")
                .with_hint("add the server's name, or the folder of its socket"));
        }
        let local = address.get_hosts().iter().all(is_local) && address.get_hostaddrs().is_empty();
        let mode = if local { SslMode::Disable } else { given.ssl_mode };
        address.ssl_mode(match mode {
            SslMode::Disable => tokio_postgres::config::SslMode::Disable,
            SslMode::Prefer => tokio_postgres::config::SslMode::Prefer,
            SslMode::Require | SslMode::VerifyCa | SslMode::VerifyFull => tokio_postgres::config::SslMode::Require,
        });
        let tls = tls::connector(mode, given.root_cert.as_deref())?;
        let mut timeouts = timeouts;
        if let Some(own) = address.get_connect_timeout() {
            timeouts.connect = *own;
        }
        tend_connection(&mut address, timeouts.connect);
        let place = place(&address);
        Ok(Self {
            address,
            tls,
            timeouts,
            place,
        })
    }

    pub(super) fn timeouts(&self) -> Timeouts {
        self.timeouts
    }

    pub(super) fn tls(&self) -> MakeRustlsConnect {
        self.tls.clone()
    }

    /// Host, port and database, fit for messages.
    pub(in crate::db) fn place(&self) -> &str {
        &self.place
    }

    /// Connects. The connection must be driven by whoever gets it, and is not [`prepared`](Self::prepare) yet.
    pub(super) async fn connect(&self) -> Result<(Client, Connection<Socket, Stream>)> {
        self.address
            .connect(self.tls.clone())
            .await
            .map_err(|source| self.failed(source))
    }

    /// Sets what durability and deadlines rest on, reads it back, and checks that this is a server to write to.
    ///
    /// # Errors
    /// `config` for a server that is too old, misses a setting, or uses another encoding; `database-read-only` for a standby.
    pub(super) async fn prepare(&self, client: &Client) -> Result<()> {
        let Timeouts {
            statement, lock, idle, ..
        } = self.timeouts;
        let (statement, lock, idle) = (statement.as_millis(), lock.as_millis(), idle.as_millis());
        // Only `BEGIN … READ WRITE` may write: a statement that finds itself outside a transaction changes nothing.
        let settings = [
            ("default_transaction_read_only", "on".to_owned()),
            ("statement_timeout", statement.to_string()),
            ("lock_timeout", lock.to_string()),
            ("idle_in_transaction_session_timeout", idle.to_string()),
            ("TimeZone", "UTC".to_owned()),
            ("jit", "off".to_owned()),
        ];
        let mut sql = String::new();
        for (name, value) in &settings {
            sql.push_str(&format!("SET {name} = '{value}'; "));
        }
        // A server may be set up to acknowledge before the disk does; a stricter setting is left as it is.
        sql.push_str(
            "SELECT set_config('synchronous_commit', 'on', false) \
             WHERE current_setting('synchronous_commit') = 'off'; \
             SELECT name, setting FROM pg_catalog.pg_settings WHERE name IN ('server_version_num', 'server_encoding', \
             'client_encoding', 'standard_conforming_strings', 'synchronous_commit', 'fsync', ",
        );
        let names: Vec<String> = settings.iter().map(|(name, _)| format!("'{name}'")).collect();
        sql.push_str(&names.join(", "));
        sql.push_str("); SELECT 'in_recovery', pg_catalog.pg_is_in_recovery()::text");
        let answer = client.simple_query(&sql).await.map_err(|source| self.failed(source))?;
        let found = Found::read(&answer);
        self.check(&found)?;
        for (name, value) in &settings {
            found.expect(name, value)?;
        }
        found.expect("standard_conforming_strings", "on")?;
        found.expect("client_encoding", "UTF8")
    }

    fn check(&self, found: &Found<'_>) -> Result<()> {
        let version: u32 = found.get("server_version_num").parse().unwrap_or_default();
        if version < VERSION_MIN {
            return Err(Error::new(ErrorKind::Config, "the database server is too old")
                .with("version", version)
                .with("at_least", VERSION_MIN)
                .with_hint("use PostgreSQL 14 or later"));
        }
        if found.get("server_encoding") != "UTF8" {
            return Err(
                Error::new(ErrorKind::Config, "the database does not store its text as UTF-8")
                    .with("server_encoding", found.get("server_encoding"))
                    .with_hint("create the database with ENCODING 'UTF8' TEMPLATE template0"),
            );
        }
        if found.get("in_recovery") != "false" {
            return Err(Error::new(
                ErrorKind::DatabaseReadOnly,
                "the database server is a standby, which only reads",
            )
            .with("server", &self.place)
            .with_hint("connect to the primary, or name all servers in the address: the one that writes is found"));
        }
        if found.get("synchronous_commit") == "off" {
            found.expect("synchronous_commit", "on")?;
        }
        if found.get("fsync") == "off" {
            tracing::warn!(server = %self.place, "the database server runs with fsync off: a crash of its machine loses data");
        }
        Ok(())
    }

    /// An error about the server: where, and as whom; never with which password.
    pub(super) fn failed(&self, source: tokio_postgres::Error) -> Error {
        let distrusted = tls::is_distrust(&source);
        let error = match source.as_db_error() {
            Some(_) => error::house(source, "the connection to the database was refused"),
            None if distrusted => Error::new(ErrorKind::Config, "the database server's certificate is not trusted")
                .with_hint("name the file of whoever signed it with sslrootcert, or correct the host's name")
                .with_source(source),
            None if source.to_string().contains("error performing TLS handshake") => Error::new(
                ErrorKind::Config,
                "the connection to the database could not be encrypted",
            )
            .with_hint("turn TLS on at the server, or relax sslmode in the address")
            .with_source(source),
            None => Error::new(ErrorKind::Storage, "the database server cannot be reached")
                .with_hint("check that it runs and that the address is right; work goes on when it is back")
                .with_source(source),
        };
        let user = self.address.get_user().unwrap_or("(the system's)");
        error.with("server", &self.place).with("user", user)
    }

    /// The error of a connect that took too long.
    pub(super) fn too_slow(&self, limit: Duration) -> Error {
        Error::new(ErrorKind::Storage, "the database server did not answer in time")
            .with("server", &self.place)
            .with("limit_ms", limit.as_millis())
            .with_hint("check that it runs and that the network lets through; work goes on when it is back")
    }
}

impl fmt::Debug for Config {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Config")
            .field("place", &self.place)
            .field("timeouts", &self.timeouts)
            .finish_non_exhaustive()
    }
}

#[cfg(unix)]
fn is_local(host: &Host) -> bool {
    match host {
        Host::Tcp(_) => false,
        Host::Unix(_) => true,
    }
}

#[cfg(not(unix))]
fn is_local(_: &Host) -> bool {
    false
}

/// Notices a peer that has vanished without a word, and finds the server that writes among several.
fn tend_connection(address: &mut tokio_postgres::Config, connect: Duration) {
    let hosts = address.get_hosts().len().max(address.get_hostaddrs().len()).max(1);
    // Each gets its part, or the first that does not answer would use up the whole.
    address.connect_timeout(connect / u32::try_from(hosts).unwrap_or(u32::MAX));
    if hosts > 1 && address.get_target_session_attrs() == TargetSessionAttrs::Any {
        address.target_session_attrs(TargetSessionAttrs::ReadWrite);
    }
    if address.get_application_name().is_none() {
        address.application_name("hive");
    }
    if address.get_tcp_user_timeout().is_none() {
        address.tcp_user_timeout(limits::DB_PEER_TIMEOUT);
    }
    if address.get_keepalives_interval().is_none() {
        address.keepalives_idle(limits::DB_PEER_TIMEOUT);
        address.keepalives_interval(limits::DB_PEER_TIMEOUT / 3);
        address.keepalives_retries(3);
    }
}

fn place(address: &tokio_postgres::Config) -> String {
    let mut hosts: Vec<String> = address.get_hosts().iter().map(host_name).collect();
    if hosts.is_empty() {
        hosts = address.get_hostaddrs().iter().map(ToString::to_string).collect();
    }
    let ports = address.get_ports();
    let port = |index: usize| ports.get(index).or(ports.first()).copied().unwrap_or(5432);
    let hosts = hosts
        .iter()
        .enumerate()
        .map(|(index, host)| format!("{host}:{}", port(index)));
    let database = address.get_dbname().or(address.get_user()).unwrap_or_default();
    format!("{}/{database}", hosts.collect::<Vec<_>>().join(","))
}

#[cfg(unix)]
fn host_name(host: &Host) -> String {
    match host {
        Host::Tcp(name) => name.clone(),
        Host::Unix(folder) => folder.display().to_string(),
    }
}

#[cfg(not(unix))]
fn host_name(host: &Host) -> String {
    let Host::Tcp(name) = host;
    name.clone()
}

/// What the server answered, by name.
struct Found<'a>(Vec<(&'a str, &'a str)>);

impl<'a> Found<'a> {
    fn read(answer: &'a [SimpleQueryMessage]) -> Self {
        let rows = answer.iter().filter_map(|message| match message {
            SimpleQueryMessage::Row(row) if row.len() == 2 => Some((row.get(0)?, row.get(1)?)),
            SimpleQueryMessage::Row(_)
            | SimpleQueryMessage::CommandComplete(_)
            | SimpleQueryMessage::RowDescription(_)
            | _ => None,
        });
        Self(rows.collect())
    }

    fn get(&self, name: &str) -> &'a str {
        let found = self.0.iter().find(|(known, _)| known.eq_ignore_ascii_case(name));
        found.map_or("", |(_, value)| *value)
    }

    fn expect(&self, name: &'static str, expected: &str) -> Result<()> {
        let found = self.get(name);
        if found == expected {
            return Ok(());
        }
        Err(Error::new(ErrorKind::Config, "a database setting did not take effect")
            .with("setting", name)
            .with("expected", expected)
            .with("found", found)
            .with_hint("connect to the server itself: a pooler in between must give each client a session of its own"))
    }
}
