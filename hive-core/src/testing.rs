//! Private servers and networks that fail on request, for tests against the real thing.
//!
//! [`Postgres`] starts a server of the machine's own programs, on a free port, with data in a temporary folder. It is gone when the
//! value is dropped, when the test panics, and when the process is killed: a small shell holds the other end of a pipe and tidies
//! up when the pipe closes. Where a program is missing, the error names it and the package that brings it, and the test fails;
//! `.ci/test` installs what is missing and starts one server of each kind for the whole run.
//!
//! Everything here blocks its thread and is meant for tests; there is nothing in it for production.

mod warden;
mod postgres;
mod program;
mod server;
mod wait;

pub use postgres::{Postgres, PostgresOptions};
pub use wait::until;

use hive_errors::Result;

/// What the test command has started for all tests.
fn shared_url(variable: &str) -> Option<String> {
    std::env::var(variable).ok().filter(|url| !url.is_empty())
}

/// The value, or the end of the test.
#[track_caller]
fn or_panic<T>(result: Result<T>) -> T {
    match result {
        Ok(value) => value,
        // The long form, with the hint and what the server has said.
        Err(error) => panic!("{error:?}"),
    }
}

#[track_caller]
fn private<'a, T>(server: Option<&'a T>, variable: &str) -> &'a T {
    match server {
        Some(server) => server,
        None => panic!("the server was named by {variable} and belongs to others, too; start a private one for this"),
    }
}
