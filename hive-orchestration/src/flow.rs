//! Limits: how many tasks of an agent, a tenant or a key run at once, how many begin in a time, and who gets the larger share.
//!
//! A [`Limit`] is set with [`Hive::limit`](crate::Hive::limit) on a [`Subject`], stands in the database and holds for every process
//! that works on it, from its next look at the queue on. Limits are exact: who claims a task counts and claims in one
//! transaction, and processes that share a limit do so one after another.
//!
//! ```no_run
//! use std::time::Duration;
//! use hive_orchestration::Hive;
//! use hive_orchestration::flow::{Limit, Rate, Subject};
//!
//! # async fn example(hive: &Hive) -> hive_orchestration::Result<()> {
//! // Whatever the agent asks takes ten requests a second, and three at once.
//! let api = Limit::new().concurrency(3).rate(Rate::new(10, Duration::from_secs(1)));
//! hive.limit(Subject::Agent("enricher".into()), api).await?;
//! // One synchronisation at a time of each repository.
//! hive.limit(Subject::EachKey("sync".into()), Limit::new().concurrency(1)).await?;
//! hive.submit_named("sync", &"hive/hive").key("hive/hive").await?;
//! // No tenant takes more than twenty workers; this one gets three turns where others get one.
//! hive.limit(Subject::EachTenant, Limit::new().concurrency(20)).await?;
//! hive.limit(Subject::Tenant("acme".into()), Limit::new().concurrency(50).weight(3)).await?;
//! # Ok(()) }
//! ```
//!
//! # What is counted
//!
//! A task runs from when it is claimed until its run has ended, in whatever way: it does not count while it waits for a timer, a
//! call or a signal. A run whose process has died counts until it is taken back. A rate counts beginnings: a first attempt, a
//! retry, and what a crash makes begin again, but not a task that goes on after it has waited.
//!
//! Several limits may apply to a task, such as its agent's, its tenant's and its key's: it starts when all of them let it. Where two
//! subjects name the same thing, the narrower one counts alone: [`Subject::Tenant`] in place of [`Subject::EachTenant`],
//! [`Subject::Key`] in place of [`Subject::EachKey`].
//!
//! A task that is held back stays queued, and those behind it of other keys and tenants pass it. What it costs: each limit that
//! applies is looked up once for all the tasks that are claimed together.

pub(crate) mod rate;

use std::time::Duration;

use hive_errors::{Error, ErrorKind, Result};
use serde::{Deserialize, Serialize};

use crate::limits;
use crate::task::{check_key, check_token};

pub use rate::Rate;

/// What a limit is set on.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Subject {
    /// All tasks together.
    All,
    /// The tasks of one agent together.
    Agent(String),
    /// The tasks of one tenant together.
    Tenant(String),
    /// The tasks of each tenant that has no limit of its own.
    EachTenant,
    /// The tasks of one agent that have this [key](crate::builders::Submit::key) together, whatever their tenant.
    Key {
        /// The agent.
        agent: String,
        /// The key.
        key: String,
    },
    /// Of one agent, the tasks of each key that has no limit of its own.
    EachKey(String),
}

/// How much at once, how fast, and how large a share. What is not set is not limited.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[must_use]
pub struct Limit {
    pub(crate) concurrency: Option<u32>,
    pub(crate) rate: Option<Rate>,
    pub(crate) weight: Option<u32>,
}

/// A limit that is set, and what is made of it at the moment.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Limited {
    /// On what.
    pub subject: Subject,
    /// The limit.
    pub limit: Limit,
    /// How many tasks run that it counts: of all keys or tenants together, where it is each one's.
    pub running: u64,
}

impl Limit {
    /// No limit yet.
    pub const fn new() -> Self {
        Self {
            concurrency: None,
            rate: None,
            weight: None,
        }
    }

    /// At most so many run at once, in all processes together; at least one. To stop starting tasks, [pause](crate::Hive::pause) them.
    pub const fn concurrency(mut self, count: u32) -> Self {
        self.concurrency = Some(count);
        self
    }

    /// No more than so many begin in a time.
    pub const fn rate(mut self, rate: Rate) -> Self {
        self.rate = Some(rate);
        self
    }

    /// How many turns a tenant, or a key among the keys of one tenant, gets where one of weight 1 gets one; 1 unless set, at most
    /// [`SHARE_MAX`](limits::SHARE_MAX). It counts among tasks that are equally urgent and only while there is more to do than can be done.
    pub const fn weight(mut self, weight: u32) -> Self {
        self.weight = Some(weight);
        self
    }

    /// How many at once.
    pub const fn get_concurrency(&self) -> Option<u32> {
        self.concurrency
    }

    /// How fast.
    pub const fn get_rate(&self) -> Option<Rate> {
        self.rate
    }

    /// How large a share.
    pub const fn get_weight(&self) -> Option<u32> {
        self.weight
    }
}

impl Subject {
    /// As columns hold it: a kind, and a name. An agent's name has no `/` in it.
    pub(crate) fn columns(&self) -> (i64, String) {
        match self {
            Self::Agent(name) => (0, name.clone()),
            Self::Tenant(name) => (1, name.clone()),
            Self::All => (2, String::new()),
            Self::EachTenant => (3, String::new()),
            Self::Key { agent, key } => (4, format!("{agent}/{key}")),
            Self::EachKey(agent) => (5, agent.clone()),
        }
    }

    pub(crate) fn from_columns(kind: i64, name: String) -> Result<Self> {
        let unknown = || Error::new(ErrorKind::Corrupt, "a limit is set on something unknown").with("kind", kind);
        Ok(match kind {
            0 => Self::Agent(name),
            1 => Self::Tenant(name),
            2 => Self::All,
            3 => Self::EachTenant,
            4 => {
                let (agent, key) = name.split_once('/').ok_or_else(unknown)?;
                Self::Key {
                    agent: agent.to_owned(),
                    key: key.to_owned(),
                }
            }
            5 => Self::EachKey(name),
            _ => return Err(unknown()),
        })
    }

    pub(crate) fn check(&self) -> Result<()> {
        match self {
            Self::All | Self::EachTenant => Ok(()),
            Self::Agent(agent) | Self::EachKey(agent) => check_token("agent", agent),
            Self::Tenant(tenant) => check_token("tenant", tenant),
            Self::Key { agent, key } => check_token("agent", agent).and_then(|()| check_key("key", Some(key))),
        }
    }
}

/// Refuses a limit that means nothing, or nothing to its subject.
pub(crate) fn check(subject: &Subject, limit: &Limit) -> Result<()> {
    subject.check()?;
    let refused = |field: &'static str, why: &'static str, hint: &'static str| {
        Err(Error::new(ErrorKind::InvalidInput, why)
            .with("field", field)
            .with_hint(hint))
    };
    if *limit == Limit::new() {
        return refused(
            "limit",
            "the limit limits nothing",
            "set a concurrency, a rate or a weight; `Hive::unlimit` takes a limit away",
        );
    }
    if limit.concurrency == Some(0) {
        return refused(
            "concurrency",
            "the limit lets nothing run",
            "allow at least one; to start nothing for a while, use `Hive::pause`",
        );
    }
    if let Some(rate) = limit.rate {
        rate.check()?;
    }
    match (limit.weight, subject) {
        (None, _) => Ok(()),
        (Some(_), Subject::All | Subject::Agent(_)) => refused(
            "weight",
            "shares are between tenants and between keys",
            "set the weight on a tenant or a key; how urgent a task is says its priority",
        ),
        (Some(1..=limits::SHARE_MAX), _) => Ok(()),
        (Some(_), _) => refused("weight", "the weight is not in its range", "use 1 to 1,000"),
    }
}

/// The shortest time that a rate may be over.
pub(crate) const PERIOD_MIN: Duration = Duration::from_millis(1);
