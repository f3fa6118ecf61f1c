//! How a private server is started.

use std::path::PathBuf;

use super::certificate::Certificate;

/// How a private PostgreSQL server is started; by default fast and forgetful.
#[derive(Clone, Debug)]
#[must_use]
pub struct PostgresOptions {
    pub(super) programs: Option<PathBuf>,
    pub(super) place: Option<PathBuf>,
    pub(super) ssl: bool,
    fsync: bool,
    connections_max: u16,
    more: Vec<(String, String)>,
}

impl PostgresOptions {
    /// The defaults: no syncs, no TLS, 200 connections.
    pub fn new() -> Self {
        Self {
            programs: None,
            place: None,
            ssl: false,
            fsync: false,
            connections_max: 200,
            more: Vec::new(),
        }
    }

    /// Whether what is committed is on disk, as on a server that is meant to last. Off unless asked for: without it tests are
    /// faster, and data survives the server's crash all the same, though not the machine's. Benchmarks need it.
    pub fn fsync(mut self, on: bool) -> Self {
        self.fsync = on;
        self
    }

    /// Whether the server offers TLS, with a certificate for `localhost` and 127.0.0.1 by an authority of its own: see
    /// [`Postgres::ca`](super::Postgres::ca). Needs the program `openssl`.
    pub fn ssl(mut self, on: bool) -> Self {
        self.ssl = on;
        self
    }

    /// How many connections the server takes; 200 unless asked for.
    pub fn max_connections(mut self, count: u16) -> Self {
        self.connections_max = count;
        self
    }

    /// A setting of the server, such as `("deadlock_timeout", "100ms")`. The last one of a name counts.
    pub fn setting(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.more.push((name.into(), value.into()));
        self
    }

    /// The folder in which the server's temporary folder is made, such as a small disk that is to run full. The system's
    /// temporary folder unless asked for.
    pub fn within(mut self, place: impl Into<PathBuf>) -> Self {
        self.place = Some(place.into());
        self
    }

    /// The folder with the server's programs, for a certain version. Looked for unless given.
    pub fn programs(mut self, folder: impl Into<PathBuf>) -> Self {
        self.programs = Some(folder.into());
        self
    }

    pub(super) fn settings(&self, port: u16, tls: Option<&Certificate>) -> Vec<String> {
        let mut settings = vec![
            "listen_addresses=127.0.0.1".to_owned(),
            format!("port={port}"),
            // No socket files in shared folders.
            "unix_socket_directories=".to_owned(),
            // In the server's folder, and not among the system's shared memory, where it would outlive a crash.
            "dynamic_shared_memory_type=mmap".to_owned(),
            format!("max_connections={}", self.connections_max),
            format!("fsync={}", if self.fsync { "on" } else { "off" }),
            format!("full_page_writes={}", if self.fsync { "on" } else { "off" }),
            "timezone=UTC".to_owned(),
            "log_timezone=UTC".to_owned(),
        ];
        if let Some(tls) = tls {
            settings.push("ssl=on".to_owned());
            settings.push(format!("ssl_cert_file={}", tls.certificate.display()));
            settings.push(format!("ssl_key_file={}", tls.key.display()));
        }
        settings.extend(self.more.iter().map(|(name, value)| format!("{name}={value}")));
        settings
    }
}

impl Default for PostgresOptions {
    fn default() -> Self {
        Self::new()
    }
}
