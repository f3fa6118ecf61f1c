//! What is asked of the router.

use std::collections::BTreeSet;

use hive_errors::{Error, ErrorKind, Result};
use serde::{Deserialize, Serialize};

use super::Target;
use crate::agent::{Capability, check_dotted};
use crate::limits;
use crate::task::check_token;

/// What is asked of a router: for whom a task is, and what should be borne in mind.
///
/// ```
/// use hive_orchestration::registry::Capability;
/// use hive_orchestration::router::Request;
///
/// const PLAN: Capability = Capability::new("plan");
/// let request = Request::new(PLAN).domain("databases").affinity("customer-7").exclude("slow-planner");
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Request {
    /// For whom the task is.
    pub target: Target,
    /// What shares a key goes to the same agent, with a strategy that heeds it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub affinity: Option<String>,
    /// The fields that the task is about, for a strategy that looks for specialists.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub domains: BTreeSet<String>,
    /// Agents that must not get it.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub exclude: BTreeSet<String>,
}

impl Request {
    /// A task for whom this names.
    pub fn new(target: impl Into<Target>) -> Self {
        Self {
            target: target.into(),
            affinity: None,
            domains: BTreeSet::new(),
            exclude: BTreeSet::new(),
        }
    }

    /// What shares this key goes to the same agent.
    #[must_use]
    pub fn affinity(mut self, key: impl Into<String>) -> Self {
        self.affinity = Some(key.into());
        self
    }

    /// The task is about this.
    #[must_use]
    pub fn domain(mut self, domain: impl Into<String>) -> Self {
        self.domains.insert(domain.into());
        self
    }

    /// The agent of this name must not get it.
    #[must_use]
    pub fn exclude(mut self, agent: impl Into<String>) -> Self {
        self.exclude.insert(agent.into());
        self
    }

    /// # Errors
    /// `invalid-input` or `limit-reached`, naming the field.
    pub(crate) fn check(&self) -> Result<()> {
        self.target.check()?;
        if let Some(key) = &self.affinity
            && (key.is_empty() || key.len() > limits::KEY_BYTES)
        {
            return Err(
                Error::new(ErrorKind::InvalidInput, "the affinity key is empty or too long")
                    .with("field", "affinity")
                    .with("bytes", key.len())
                    .with("limit_bytes", limits::KEY_BYTES),
            );
        }
        count("domains", self.domains.len(), limits::DOMAINS_MAX)?;
        count("exclude", self.exclude.len(), limits::EXCLUDED_MAX)?;
        for domain in &self.domains {
            check_dotted("domain", domain)?;
        }
        for agent in &self.exclude {
            check_token("exclude", agent)?;
        }
        Ok(())
    }
}

fn count(field: &'static str, found: usize, limit: usize) -> Result<()> {
    if found <= limit {
        return Ok(());
    }
    Err(Error::new(ErrorKind::LimitReached, "the request names too many")
        .with("field", field)
        .with("found", found)
        .with("limit", limit))
}

impl From<Target> for Request {
    fn from(target: Target) -> Self {
        Self::new(target)
    }
}

impl From<Capability> for Request {
    fn from(capability: Capability) -> Self {
        Self::new(capability)
    }
}
