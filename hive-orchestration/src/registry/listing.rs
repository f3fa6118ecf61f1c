//! Questions about who is there.

use std::collections::{BTreeMap, BTreeSet};

use hive_core::clock::Timestamp;
use hive_core::db::{Dialect, Row, Snapshot};
use hive_core::id::InstanceId;
use hive_core::payload::Schema;
use hive_errors::{Error, ErrorKind, Result};
use schemars::JsonSchema;
use semver::{Version, VersionReq};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::Capability;
use super::presence::Standing;
use super::statistics::{Record, record};
use crate::limits;

/// How an agent stands in one process.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum Status {
    /// It takes tasks.
    Online,
    /// It runs as many tasks as it may; those that come wait for one to end.
    Busy,
    /// Its process is about to stop: it takes no tasks and ends those that it has.
    Draining,
    /// It is not there.
    Offline,
}

impl Status {
    /// Whether a task that is given to it now will be begun without somebody doing something.
    pub fn takes_tasks(self) -> bool {
        match self {
            Self::Online | Self::Busy => true,
            Self::Draining | Self::Offline => false,
        }
    }

    /// Its name in lower case.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Online => "online",
            Self::Busy => "busy",
            Self::Draining => "draining",
            Self::Offline => "offline",
        }
    }
}

/// What one process offers: an agent, and how busy it is there.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Listing {
    /// The process.
    pub instance: InstanceId,
    /// The agent's name.
    pub agent: String,
    /// Which version of it.
    pub version: Version,
    /// How it stands there.
    pub status: Status,
    /// How many of its tasks run there, as of the last heartbeat.
    pub running: u32,
    /// How many may run there at once; 0 while it is paused.
    pub concurrency: u32,
    /// Its share where tasks are shared out by weight.
    pub weight: u32,
    /// What it can do.
    pub capabilities: BTreeSet<Capability>,
    /// The fields that it is at home in.
    pub domains: BTreeSet<String>,
    /// What else was said of it.
    pub metadata: BTreeMap<String, String>,
    /// When it came, by the database's clock.
    pub registered_at: Timestamp,
    /// Its process's last sign of life, by the database's clock.
    pub heartbeat_at: Timestamp,
    pub(crate) record: Record,
}

impl Listing {
    /// Running tasks as a share of those that may run, from 0 to 1 and seldom more; 1 while the agent is paused.
    pub fn load_factor(&self) -> f64 {
        if self.concurrency == 0 {
            return 1.0;
        }
        f64::from(self.running) / f64::from(self.concurrency)
    }
}

/// What is asked of the agents that are there; everything that is not said does not matter.
///
/// ```
/// use hive_orchestration::registry::{Capability, Query};
///
/// const REVIEW: Capability = Capability::new("review.rust");
/// let who = Query::new().capability(REVIEW).version(">=1.2, <3".parse()?);
/// # Ok::<(), semver::Error>(())
/// ```
#[derive(Clone, Debug, Default)]
pub struct Query {
    agent: Option<String>,
    version: Option<VersionReq>,
    capability: Option<Capability>,
    domain: Option<String>,
    offline: bool,
}

impl Query {
    /// Whoever is there.
    pub fn new() -> Self {
        Self::default()
    }

    /// The agent of this name.
    #[must_use]
    pub fn agent(mut self, name: impl Into<String>) -> Self {
        self.agent = Some(name.into());
        self
    }

    /// Versions that this admits. As everywhere with semantic versions, those before a release count only when they are named.
    #[must_use]
    pub fn version(mut self, version: VersionReq) -> Self {
        self.version = Some(version);
        self
    }

    /// Who can do this.
    #[must_use]
    pub fn capability(mut self, capability: Capability) -> Self {
        self.capability = Some(capability);
        self
    }

    /// Who says that this is its field.
    #[must_use]
    pub fn domain(mut self, domain: impl Into<String>) -> Self {
        self.domain = Some(domain.into());
        self
    }

    /// Also those that were there of late.
    #[must_use]
    pub fn with_offline(mut self) -> Self {
        self.offline = true;
        self
    }

    fn admits(&self, listing: &Listing) -> bool {
        let Self {
            agent,
            version,
            capability,
            domain,
            offline,
        } = self;
        agent.as_ref().is_none_or(|name| *name == listing.agent)
            && version.as_ref().is_none_or(|version| version.matches(&listing.version))
            && capability.as_ref().is_none_or(|one| listing.capabilities.contains(one))
            && domain.as_ref().is_none_or(|domain| listing.domains.contains(domain))
            && (*offline || listing.status != Status::Offline)
    }
}

/// Who fits, by name and process: at most [`limits::AGENTS_LISTED`] are looked at, those that are there first.
///
/// # Errors
/// What [`Snapshot::query`] returns; `corrupt` for a row that cannot be read.
pub(crate) fn discover(db: &Snapshot<'_>, query: &Query) -> Result<Vec<Listing>> {
    let silent = silent_before(db)?;
    let read = |row: &Row<'_>| listing(row, silent);
    let mut found = match &query.agent {
        Some(name) => db.query(
            "SELECT instance, name, version, status, running, concurrency, weight, capabilities, domains, metadata,
                    history, registered_at, heartbeat_at
             FROM agent WHERE name = ?1 ORDER BY status >= 3, heartbeat_at DESC LIMIT ?2",
            &[name, &limits::AGENTS_LISTED],
            read,
        )?,
        None => db.query(
            "SELECT instance, name, version, status, running, concurrency, weight, capabilities, domains, metadata,
                    history, registered_at, heartbeat_at
             FROM agent ORDER BY status >= 3, heartbeat_at DESC LIMIT ?1",
            &[&limits::AGENTS_LISTED],
            read,
        )?,
    };
    if u32::try_from(found.len()).is_ok_and(|found| found >= limits::AGENTS_LISTED) {
        tracing::warn!(
            limit = limits::AGENTS_LISTED,
            "there are more agents than are looked at"
        );
    }
    found.retain(|listing| query.admits(listing));
    found.sort_by(|one, other| (&one.agent, one.instance).cmp(&(&other.agent, other.instance)));
    Ok(found)
}

/// What a version of an agent takes and gives.
pub(crate) fn shapes(db: &Snapshot<'_>, name: &str, version: &Version) -> Result<Option<(Schema, Schema)>> {
    db.query_opt(
        "SELECT input, output FROM agent_version WHERE name = ?1 AND version = ?2",
        &[&name, &version.to_string()],
        |row| Ok((parse(row.text(0)?)?, parse(row.text(1)?)?)),
    )
}

fn listing(row: &Row<'_>, silent: Option<Timestamp>) -> Result<Listing> {
    let heartbeat_at: Timestamp = row.get(12)?;
    Ok(Listing {
        instance: row.get(0)?,
        agent: row.get(1)?,
        version: version(row.text(2)?)?,
        status: status(Standing::from_code(row.get(3)?)?, heartbeat_at, silent),
        running: row.get(4)?,
        concurrency: row.get(5)?,
        weight: row.get(6)?,
        capabilities: parse(row.text(7)?)?,
        domains: parse(row.text(8)?)?,
        metadata: parse(row.text(9)?)?,
        record: record(row.text(10)?)?,
        registered_at: row.get(11)?,
        heartbeat_at,
    })
}

/// Whose last sign of life lies at or before this moment is not believed to be there. `None` on SQLite, where one process owns
/// the file: whoever stands in it is there, however the clock goes.
pub(super) fn silent_before(db: &Snapshot<'_>) -> Result<Option<Timestamp>> {
    Ok(match db.dialect() {
        Dialect::Postgres => Some(db.now()? - limits::AGENT_TTL),
        Dialect::Sqlite => None,
    })
}

/// Nobody need have noticed yet that an agent's process is gone.
fn status(standing: Standing, heartbeat_at: Timestamp, silent: Option<Timestamp>) -> Status {
    let is_silent = silent.is_some_and(|silent| heartbeat_at <= silent);
    match standing {
        Standing::Online | Standing::Busy | Standing::Draining if is_silent => Status::Offline,
        Standing::Online => Status::Online,
        Standing::Busy => Status::Busy,
        Standing::Draining => Status::Draining,
        Standing::Silent | Standing::Left => Status::Offline,
    }
}

fn version(text: &str) -> Result<Version> {
    Version::parse(text)
        .map_err(|e| Error::new(ErrorKind::Corrupt, "the version of an agent cannot be read").with_source(e))
}

fn parse<T: DeserializeOwned>(text: &str) -> Result<T> {
    serde_json::from_str(text)
        .map_err(|e| Error::new(ErrorKind::Corrupt, "what an agent said of itself cannot be read").with_source(e))
}
