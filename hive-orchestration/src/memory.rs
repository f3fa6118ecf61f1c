//! What agents keep: small values under keys, for one agent, for one run tree, or for a whole tenant.
//!
//! | memory | whose | until |
//! |---|---|---|
//! | [`Scope::Agent`] | all runs of one agent on behalf of one tenant | it is deleted |
//! | [`Scope::Run`] | a root task and everything below it | the root is [forgotten](crate::Hive::forget) |
//! | [`Scope::Tenant`] | everybody who works on behalf of one tenant | it is deleted |
//!
//! A run uses one with [`Context::memory`](crate::Context::memory), where everything happens once and is remembered; code in a
//! transaction with a [`Memory`], such as [`OwnMemory::memory`](crate::builders::OwnMemory::memory) gives; and everybody else with
//! [`Hive::memory`](crate::Hive::memory).
//!
//! ```
//! use hive_orchestration::memory::Scope;
//! use hive_orchestration::{Context, Failure, Hive, agent_fn};
//! # #[tokio::main] async fn main() -> hive_orchestration::Result<()> {
//! # let dir = tempfile::tempdir().unwrap();
//! let greeter = agent_fn("greeter", async |cx: Context, name: String| {
//!     // Read, changed and remembered in one commit: counted once, whatever happens, however many greet at the same time.
//!     let visits = cx.memory(Scope::Agent).update(&name, |visits: Option<u32>| visits.unwrap_or(0) + 1).await?;
//!     Ok::<_, Failure>(format!("{name}: {}", visits.value))
//! });
//! let hive = Hive::open(dir.path().join("hive.db")).agent(greeter).start().await?;
//! hive.submit_named("greeter", &"Ada").await?.result().await?;
//! assert_eq!(hive.submit_named("greeter", &"Ada").await?.result().await?, "Ada: 2");
//! # hive.shutdown().await }
//! ```
//!
//! # Versions
//!
//! Every change of a memory has a number, greater than those of all changes before it, also of what is deleted by then; an entry's
//! version is that of its last change. So [`put_if`](Memory::put_if) never takes one value for another that happened to look alike.
//!
//! # Limits
//!
//! A key has at most [`MEMORY_KEY_BYTES`](limits::MEMORY_KEY_BYTES), a value [`MEMORY_VALUE_BYTES`](limits::MEMORY_VALUE_BYTES) of
//! JSON, a memory [`MEMORY_ENTRIES`](limits::MEMORY_ENTRIES) entries. Changes of one memory happen one after another: what is written
//! a thousand times a second belongs into a table of its own.

pub(crate) mod schema;
pub(crate) mod store;

#[cfg(test)]
mod tests;

use std::time::Duration;

use hive_core::clock::Timestamp;
use hive_core::db::{Snapshot, Tx};
use hive_core::id::TaskId;
use hive_core::payload::Payload;
use hive_errors::{Error, ErrorKind, Result};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

pub(crate) use self::store::Put;
use self::store::{Expected, Stored};
use crate::limits;
use crate::task::check_token;

/// Which of the memories that a run can use.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Scope {
    /// Its agent's, for its tenant.
    Agent,
    /// Its run tree's: that of its root task.
    Run,
    /// Its tenant's.
    Tenant,
}

impl Scope {
    pub(crate) const fn word(self) -> &'static str {
        match self {
            Self::Agent => "agent",
            Self::Run => "run",
            Self::Tenant => "tenant",
        }
    }
}

/// A value with what is known of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Versioned<T> {
    /// The value.
    pub value: T,
    /// The number of the change that made it so, from 1.
    pub version: u64,
    /// When that was.
    pub changed_at: Timestamp,
    /// From when on it is gone, if ever.
    pub expires_at: Option<Timestamp>,
}

impl Versioned<Payload> {
    pub(crate) fn decode<T: DeserializeOwned>(self, key: &str) -> Result<Versioned<T>> {
        Ok(Versioned {
            value: self.value.decode().map_err(|error| about(error, key))?,
            version: self.version,
            changed_at: self.changed_at,
            expires_at: self.expires_at,
        })
    }
}

/// One entry of a list.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Entry {
    /// Its key.
    pub key: String,
    /// Its value, to be [decoded](Payload::decode).
    pub value: Payload,
    /// The number of the change that made it so.
    pub version: u64,
    /// When that was.
    pub changed_at: Timestamp,
    /// From when on it is gone, if ever.
    pub expires_at: Option<Timestamp>,
}

/// Some of a memory's entries, by their keys.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Page {
    /// At most [`MEMORY_PAGE`](limits::MEMORY_PAGE) of them, and fewer when they are large; sorted by the bytes of their keys.
    pub entries: Vec<Entry>,
    /// The key after which the next page begins; `None` when these were the last.
    pub next: Option<String>,
}

/// One memory, by whose it is, to be used in a transaction: with the rest of what is written there, all of it is kept or nothing.
///
/// ```
/// # use hive_orchestration::{Context, Failure, memory::Scope};
/// # fn seat(_: &mut hive_orchestration::core::db::Tx<'_>, _: u32) -> hive_orchestration::Result<()> { Ok(()) }
/// # async fn run(cx: Context) -> Result<(), Failure> {
/// let memory = cx.memory(Scope::Tenant).memory();
/// cx.transaction("reserve", move |tx| {
///     let left = memory.update(tx, "seats", |left: Option<u32>| left.unwrap_or(100).saturating_sub(1))?;
///     seat(tx, left.value)
/// })
/// .await?;
/// # Ok(()) }
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Memory {
    place: Place,
    ttl: Option<Duration>,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Place {
    Agent { tenant: String, agent: String },
    Run(TaskId),
    Tenant(String),
}

impl Memory {
    /// The memory of an agent for a tenant.
    pub fn agent(tenant: impl Into<String>, agent: impl Into<String>) -> Self {
        Self::of(Place::Agent {
            tenant: tenant.into(),
            agent: agent.into(),
        })
    }

    /// The memory of the run tree below this root task.
    pub fn run(root: TaskId) -> Self {
        Self::of(Place::Run(root))
    }

    /// The memory of a tenant.
    pub fn tenant(tenant: impl Into<String>) -> Self {
        Self::of(Place::Tenant(tenant.into()))
    }

    fn of(place: Place) -> Self {
        Self { place, ttl: None }
    }

    /// What is written from here on is gone after this time; [`MEMORY_TTL_MAX`](limits::MEMORY_TTL_MAX) at most. Unless set, it stays.
    #[must_use]
    pub fn expiring(mut self, ttl: Duration) -> Self {
        self.ttl = Some(ttl);
        self
    }

    /// The value under a key.
    ///
    /// # Errors
    /// `invalid-input` for a key or a name that is none, and for a value that is no `T`.
    pub fn get<T: DeserializeOwned>(&self, db: &Snapshot<'_>, key: &str) -> Result<Option<Versioned<T>>> {
        self.stored(db, key)?.map(|stored| stored.decode(key)).transpose()
    }

    pub(crate) fn stored(&self, db: &Snapshot<'_>, key: &str) -> Result<Option<Stored>> {
        self.check(key)?;
        store::get(db, &self.place, key)
    }

    /// Puts a value under a key, in the place of what was there; its version.
    ///
    /// # Errors
    /// `invalid-input` for a key, a name or a time that is none; `payload-too-large`; `limit-reached` when there is no room for another
    /// key; `not-found` for the memory of a run that is forgotten.
    pub fn put<T: Serialize + ?Sized>(&self, tx: &mut Tx<'_>, key: &str, value: &T) -> Result<u64> {
        self.put_payload(tx, key, &payload(key, value)?)
    }

    pub(crate) fn put_payload(&self, tx: &mut Tx<'_>, key: &str, value: &Payload) -> Result<u64> {
        self.write(tx, key, value, Expected::Anything)?.into_result(key)
    }

    /// [`Memory::put`] if the entry's version is still this one; 0: if there is none.
    ///
    /// # Errors
    /// `conflict` when it is not, with the field `version`, which is 0 when there is none. As [`Memory::put`].
    pub fn put_if<T: Serialize + ?Sized>(&self, tx: &mut Tx<'_>, key: &str, version: u64, value: &T) -> Result<u64> {
        self.put_payload_if(tx, key, version, &payload(key, value)?)?
            .into_result(key)
    }

    pub(crate) fn put_payload_if(&self, tx: &mut Tx<'_>, key: &str, version: u64, value: &Payload) -> Result<Put> {
        self.write(tx, key, value, Expected::Version(version))
    }

    fn write(&self, tx: &mut Tx<'_>, key: &str, value: &Payload, expected: Expected) -> Result<Put> {
        self.check(key)?;
        store::put(tx, &self.place, key, value, self.ttl, expected)
    }

    /// Changes a value: `change` is given what is there, and what it returns takes its place. Nobody comes between.
    ///
    /// # Errors
    /// As [`Memory::get`] and [`Memory::put`].
    pub fn update<T: Serialize + DeserializeOwned>(
        &self,
        tx: &mut Tx<'_>,
        key: &str,
        change: impl FnOnce(Option<T>) -> T,
    ) -> Result<Versioned<T>> {
        self.check(key)?;
        let change = |old: Option<Stored>| {
            let old = old.map(|stored| stored.decode(key)).transpose()?;
            payload(key, &change(old.map(|old| old.value)))
        };
        store::update(tx, &self.place, key, self.ttl, change)?.decode(key)
    }

    /// Takes an entry away; `false` when there was none.
    ///
    /// # Errors
    /// `invalid-input` for a key or a name that is none.
    pub fn delete(&self, tx: &mut Tx<'_>, key: &str) -> Result<bool> {
        self.check(key)?;
        store::delete(tx, &self.place, key)
    }

    /// The entries whose keys begin with `prefix`, all of them for an empty one: a page, behind the key `after` if one is given.
    ///
    /// # Errors
    /// `invalid-input` for a name that is none.
    pub fn list(&self, db: &Snapshot<'_>, prefix: &str, after: Option<&str>) -> Result<Page> {
        self.place.check()?;
        store::list(db, &self.place, prefix, after)
    }

    fn check(&self, key: &str) -> Result<()> {
        self.place.check()?;
        check_key(key)?;
        match self.ttl {
            Some(ttl) if ttl.is_zero() || ttl > limits::MEMORY_TTL_MAX => Err(Error::new(
                ErrorKind::InvalidInput,
                "a memory cannot keep something for this long",
            )
            .with("field", "ttl")
            .with("value", format!("{ttl:?}"))
            .with("limit", format!("{:?}", limits::MEMORY_TTL_MAX))
            .with_hint("give it some time, or leave it out: then the value stays")),
            Some(_) | None => Ok(()),
        }
    }
}

impl Place {
    const fn code(&self) -> i64 {
        match self {
            Self::Agent { .. } => 0,
            Self::Run(_) => 1,
            Self::Tenant(_) => 2,
        }
    }

    /// Neither agents nor tenants have a slash in their names.
    fn owner(&self) -> String {
        match self {
            Self::Agent { tenant, agent } => format!("{tenant}/{agent}"),
            Self::Run(root) => root.to_string(),
            Self::Tenant(tenant) => tenant.clone(),
        }
    }

    fn check(&self) -> Result<()> {
        match self {
            Self::Agent { tenant, agent } => {
                check_token("tenant", tenant)?;
                check_token("agent", agent)
            }
            Self::Run(_) => Ok(()),
            Self::Tenant(tenant) => check_token("tenant", tenant),
        }
    }
}

/// The value as it is stored.
pub(crate) fn payload<T: Serialize + ?Sized>(key: &str, value: &T) -> Result<Payload> {
    Payload::encode(value, limits::MEMORY_VALUE_BYTES).map_err(|error| about(error, key))
}

/// Says which key an error is about. It may be a stranger's.
pub(crate) fn about(error: Error, key: &str) -> Error {
    error.with("key", format!("{:.80}", key.escape_debug()))
}

fn check_key(key: &str) -> Result<()> {
    if !key.is_empty() && key.len() <= limits::MEMORY_KEY_BYTES {
        return Ok(());
    }
    let error = Error::new(ErrorKind::InvalidInput, "a key of a memory is empty or too long")
        .with("field", "key")
        .with("bytes", key.len())
        .with("limit_bytes", limits::MEMORY_KEY_BYTES);
    Err(about(error, key))
}
