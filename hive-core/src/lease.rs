//! Leases: one holder at a time, and a number by which everybody else can tell who came last.
//!
//! A lease has a name and a time to live. Whoever [`acquire`]s a name that is free, that has run out, or that it holds itself
//! gets a [`Lease`] with a [`Token`] greater than every earlier one of that name, whatever became of those: released, run out,
//! taken over or pruned. Every function here works on the caller's transaction, so what is done in a holder's name commits
//! together with the proof that it is still the holder:
//!
//! ```
//! use std::{sync::Arc, time::Duration};
//!
//! use hive_core::clock::SystemClock;
//! use hive_core::db::{Db, Options};
//! use hive_core::lease::{self, Holder};
//! use hive_core::rng::SystemRng;
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> hive_errors::Result<()> {
//! # let dir = tempfile::tempdir().unwrap();
//! # let path = dir.path().join("hive.db");
//! let db = Db::open(Options::file(path).migrations(&lease::MIGRATIONS)).await?;
//! let me = Holder::new("sweeper", Arc::new(SystemClock), &SystemRng)?;
//!
//! let taken = db.write(move |tx| lease::acquire(tx, "sweep", &me, Duration::from_secs(30))).await?;
//! let lease = taken.won().expect("nobody else is here");
//!
//! db.write(move |tx| {
//!     lease::guard(tx, &lease)?; // `lease-lost` when somebody else has taken it: nothing below is written then
//!     lease::release(tx, &lease)
//! })
//! .await?;
//! # db.close().await
//! # }
//! ```
//!
//! A [`Keeper`] does the rest: it takes a lease or waits for it, renews it in the background, and says when it is lost.
//!
//! # Who is fenced, and by what
//!
//! A process that stood still for a minute does not know it. What protects the data is the token, never the time: a write
//! that begins with [`guard`] is refused once another holder has the name, however the clocks stand. A resource outside of
//! the database is protected when it remembers the greatest [`Token`] that it has seen and refuses smaller ones. What can
//! do neither may see two holders for a moment; [`Held`] keeps that moment away by giving up before the lease runs out.
//!
//! That a lease has run out lets others take it, and does nothing else: as long as nobody has, its holder may still write
//! and renew.
//!
//! # Time
//!
//! On SQLite one process owns the file, so leases are measured on that process's monotonic clock. The wall clock may jump as
//! it likes, and what a process held that has died is free as soon as the next one opens the file. On PostgreSQL leases are
//! measured by the server's clock, the only one that all processes share. When it is found to stand before the moment at
//! which a lease was granted, it has been set back: the lease then runs for its time to live from that moment on, so that a
//! wrong date strands nothing for longer than that, and frees nothing early. When it is set forward, leases run out early:
//! their holders find out by their tokens.

mod held;
mod keeper;
mod table;

#[cfg(test)]
mod tests;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use hive_errors::{Error, ErrorKind, Result};
use serde::{Deserialize, Serialize};

pub use self::held::Held;
pub use self::keeper::Keeper;
pub use self::table::{MIGRATIONS, acquire, current, guard, prune, release, renew};
use crate::clock::Clock;
use crate::db::{FromValue, ToValue, Value};
use crate::limits;
use crate::rng::Rng;

/// The fencing token: of two leases on one name, the later has the greater token. The first is 1.
///
/// It is only a number and proves nothing to this database, where a [`Lease`] does. It is for the world outside, and for
/// columns: a row that keeps the token of its last writer can be updated `WHERE token <= ?1`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Token(u64);

impl Token {
    /// The number.
    pub const fn as_u64(self) -> u64 {
        self.0
    }
}

impl fmt::Display for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

impl ToValue for Token {
    fn to_value(&self) -> Value<'_> {
        self.0.to_value()
    }
}

impl FromValue for Token {
    const EXPECTED: &'static str = "a fencing token";

    fn from_value(value: Value<'_>) -> Option<Self> {
        u64::from_value(value).map(Self)
    }
}

/// Who holds leases: a label for people and 128 random bits, so that no two are the same, also not a process and its
/// successor; and the clock that it measures them by on SQLite, which all holders of a process share.
///
/// What holds the same lease twice, holds it once: two parts of a program that compete need a holder each. Clones are the same
/// holder.
#[derive(Clone)]
pub struct Holder {
    text: Arc<str>,
    clock: Arc<dyn Clock>,
}

impl Holder {
    /// A new holder. The label is what [`Status::holder`] begins with, for example the part of the program.
    ///
    /// # Errors
    /// `invalid-input` when the label is empty, longer than [`limits::LEASE_LABEL_BYTES_MAX`] or holds control characters.
    pub fn new(label: &str, clock: Arc<dyn Clock>, rng: &dyn Rng) -> Result<Self> {
        check_text("label", label, limits::LEASE_LABEL_BYTES_MAX)?;
        let (high, low) = (rng.next_u64(), rng.next_u64());
        Ok(Self {
            text: format!("{label}-{high:016x}{low:016x}").into(),
            clock,
        })
    }

    /// The label and the random part, `sweeper-` and 32 hexadecimal digits.
    pub fn as_str(&self) -> &str {
        &self.text
    }
}

impl PartialEq for Holder {
    fn eq(&self, other: &Self) -> bool {
        self.text == other.text
    }
}

impl Eq for Holder {}

impl fmt::Display for Holder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl fmt::Debug for Holder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&*self.text, f)
    }
}

/// The proof of having acquired a name. It comes from [`acquire`] alone: it cannot be made, stored or read back.
///
/// A clone is the same lease and may do no more than the original: releasing either ends both.
#[derive(Clone, Debug)]
pub struct Lease {
    name: Arc<str>,
    holder: Holder,
    token: Token,
    ttl: Duration,
}

impl Lease {
    /// What is held.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Who holds it.
    pub fn holder(&self) -> &Holder {
        &self.holder
    }

    /// What to show to resources outside of the database.
    pub fn token(&self) -> Token {
        self.token
    }

    /// How long it lasts from when it was acquired or renewed.
    pub fn ttl(&self) -> Duration {
        self.ttl
    }

    fn lost(&self) -> Error {
        Error::new(
            ErrorKind::LeaseLost,
            "the lease is held by somebody else now, or was released",
        )
        .with("name", &self.name)
        .with("token", self.token)
        .with_hint("stop what is done in its name; whoever holds the lease now goes on")
    }
}

/// What became of an attempt to take a lease.
#[derive(Clone, Debug)]
#[must_use = "somebody else may have it"]
pub enum Outcome<T> {
    /// It is the caller's.
    Won(T),
    /// Another holder has it.
    Taken(Status),
}

impl<T> Outcome<T> {
    /// What was won, if it was.
    pub fn won(self) -> Option<T> {
        match self {
            Self::Won(won) => Some(won),
            Self::Taken(_) => None,
        }
    }
}

/// Who holds a lease, and for how long unless it is renewed.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Status {
    /// The holder, as [`Holder::as_str`] has it.
    pub holder: String,
    /// The token of its lease.
    pub token: Token,
    /// How much is left of it, by the clock that decides. More than zero.
    pub left: Duration,
}

fn check_name(name: &str) -> Result<()> {
    check_text("name", name, limits::LEASE_NAME_BYTES_MAX)
}

fn check_text(what: &'static str, text: &str, bytes_max: usize) -> Result<()> {
    let wrong = if text.is_empty() {
        "a lease's text is empty"
    } else if text.len() > bytes_max {
        "a lease's text is too long"
    } else if text.chars().any(char::is_control) {
        "a lease's text holds control characters"
    } else {
        return Ok(());
    };
    Err(Error::new(ErrorKind::InvalidInput, wrong)
        .with("what", what)
        .with("bytes", text.len())
        .with("bytes_max", bytes_max))
}

fn check_ttl(ttl: Duration) -> Result<()> {
    if (limits::LEASE_TTL_MIN..=limits::LEASE_TTL_MAX).contains(&ttl) {
        return Ok(());
    }
    Err(
        Error::new(ErrorKind::InvalidInput, "a lease's time to live is out of range")
            .with("ttl", format_args!("{ttl:?}"))
            .with("min", format_args!("{:?}", limits::LEASE_TTL_MIN))
            .with("max", format_args!("{:?}", limits::LEASE_TTL_MAX)),
    )
}
