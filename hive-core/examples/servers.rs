//! Runs a command with a PostgreSQL, a Redis and a NATS server that are gone when it ends, and names them to it in
//! `HIVE_TEST_POSTGRES`, `HIVE_TEST_REDIS` and `HIVE_TEST_NATS`. A server that is already named there is used instead.
//!
//! ```text
//! cargo run -p hive-core --features test-util --example servers -- cargo test
//! ```

use std::process::{Command, ExitCode};

use hive_core::testing::{Nats, Postgres, PostgresOptions, Redis};
use hive_errors::{Error, ErrorKind, Result};

fn main() -> Result<ExitCode> {
    let mut words = std::env::args_os().skip(1);
    let program = words.next().ok_or_else(|| {
        Error::new(ErrorKind::InvalidInput, "there is no command to run").with_hint("call it as `servers cargo test`")
    })?;
    let mut command = Command::new(&program);
    command.args(words);
    // Many tests share it, each with a pool of its own.
    let postgres = unnamed("HIVE_TEST_POSTGRES")
        .then(|| Postgres::try_start(PostgresOptions::new().max_connections(500)))
        .transpose()?;
    let redis = unnamed("HIVE_TEST_REDIS").then(|| Redis::try_start(None)).transpose()?;
    let nats = unnamed("HIVE_TEST_NATS").then(|| Nats::try_start(None)).transpose()?;
    let urls = [
        ("HIVE_TEST_POSTGRES", postgres.as_ref().map(Postgres::url)),
        ("HIVE_TEST_REDIS", redis.as_ref().map(Redis::url)),
        ("HIVE_TEST_NATS", nats.as_ref().map(Nats::url)),
    ];
    for (variable, url) in urls {
        if let Some(url) = url {
            command.env(variable, url);
        }
    }
    let status = command.status().map_err(|error| {
        Error::new(ErrorKind::InvalidInput, "the command did not start")
            .with("command", program.display())
            .with_source(error)
    })?;
    // What a signal ended is no success either.
    let code = status.code().and_then(|code| u8::try_from(code).ok());
    Ok(code.map_or(ExitCode::FAILURE, ExitCode::from))
}

fn unnamed(variable: &str) -> bool {
    std::env::var_os(variable).is_none_or(|url| url.is_empty())
}
