//! Talking to the server from outside, with its own client.

use std::path::PathBuf;

use hive_errors::Result;

use super::POSTGRES;
use crate::testing::program::Program;
use crate::testing::server;

const PSQL: Program = Program {
    name: "psql",
    package: "postgresql",
};

pub(super) fn run(url: &str, sql: &str) -> Result<String> {
    let (url, password) = without_password(url);
    // Beside the server's program: what is on the path may be a script that looks for the right version first.
    let beside = POSTGRES.find_real(None).ok();
    let beside = beside.as_deref().and_then(|server| PSQL.find(server.parent()).ok());
    let psql = match beside {
        Some(psql) => psql,
        None => PSQL.find(None)?,
    };
    let mut words = vec![psql];
    let flags = ["-X", "-q", "-A", "-t", "-v", "ON_ERROR_STOP=1", "-d", &url, "-c", sql];
    words.extend(flags.map(PathBuf::from));
    let output = server::run(&words, |command| {
        // The settings of whoever runs the tests are not for this server.
        for (name, _) in std::env::vars_os() {
            if name.to_str().is_some_and(|name| name.starts_with("PG")) {
                command.env_remove(name);
            }
        }
        command.env("PGPASSWORD", password);
        command.env("PGCONNECT_TIMEOUT", "20");
    })?;
    Ok(output.trim_end().to_owned())
}

/// The url of another database of the same server.
pub(super) fn in_database(url: &str, name: &str) -> String {
    let (server, _, parameters) = parts(url);
    format!("{server}/{name}{parameters}")
}

/// The name of the url's database.
pub(super) fn database_of(url: &str) -> &str {
    parts(url).1
}

/// The server's part with scheme, user and address; the database's name; and `?…`, where there are parameters.
fn parts(url: &str) -> (&str, &str, &str) {
    let (rest, parameters) = url.split_at(url.find('?').unwrap_or(url.len()));
    let address = rest.find("://").map_or(0, |at| at + 3);
    let slash = rest.get(address..).and_then(|rest| rest.find('/'));
    let (server, path) = rest.split_at(slash.map_or(rest.len(), |at| address + at));
    (server, path.trim_start_matches('/'), parameters)
}

/// The url without its password, because everybody on the machine can read a program's arguments; and the password.
fn without_password(url: &str) -> (String, String) {
    let (server, ..) = parts(url);
    let split = server.rsplit_once('@').and_then(|(user, address)| {
        let start = user.find("://")? + 3;
        let colon = start + user.get(start..)?.find(':')?;
        let (before, password) = user.split_at(colon);
        let rest = url.get(server.len()..)?;
        Some((format!("{before}@{address}{rest}"), decoded(password.get(1..)?)))
    });
    split.unwrap_or_else(|| (url.to_owned(), String::new()))
}

fn decoded(text: &str) -> String {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let [first, after @ ..] = rest {
        let escaped = match (first, after) {
            (b'%', [high, low, ..]) => std::str::from_utf8(&[*high, *low])
                .ok()
                .and_then(|hex| u8::from_str_radix(hex, 16).ok()),
            _ => None,
        };
        bytes.push(escaped.unwrap_or(*first));
        rest = after.get(if escaped.is_some() { 2 } else { 0 }..).unwrap_or_default();
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

#[cfg(test)]
mod tests;
