//! Who is there: which agents this process has, what the agents of every process on the database offer, how busy they are
//! and how they have done of late.
//!
//! An agent says what it is with the constants of [`Agent`](crate::Agent): its version, what it can do, the fields that it
//! is at home in. Its process writes that down when it starts, with every heartbeat how busy the agent is, and takes it back
//! when it ends. A process that dies says nothing. On PostgreSQL its agents are believed to be there for
//! [`AGENT_TTL`](crate::limits::AGENT_TTL) by the server's clock; on SQLite, where one process owns the file, until the next
//! one opens it.
//!
//! [`Hive::discover`](crate::Hive::discover) asks who is there.

mod expire;
mod histogram;
mod listing;
mod meter;
mod presence;
mod schema;
mod statistics;

#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, HashMap};

use hive_core::payload::Payload;
use hive_errors::{Error, ErrorKind, Result};
use semver::Version;
use tokio::task::JoinSet;

pub use self::listing::{Listing, Query, Status};
pub use self::statistics::{Statistics, Times};
pub use crate::agent::{Capability, Declaration};

pub(crate) use self::listing::{discover, shapes};
pub(crate) use self::meter::{Ended, Meters};
pub(crate) use self::presence::{Load, Loads, Presence, keep};
pub(crate) use self::statistics::{Record, statistics};

use crate::agent::AnyAgent;
use crate::task::check_token;

/// The agents by name. Fixed once the hive has started.
#[derive(Debug, Default)]
pub(crate) struct Registry {
    agents: BTreeMap<String, AnyAgent>,
    declarations: BTreeMap<String, Declaration>,
    /// What every hive has, and nobody sees.
    own: Option<AnyAgent>,
}

impl Registry {
    /// # Errors
    /// `invalid-input` and the like for a declaration that is not valid; `conflict` for a name that is taken.
    pub(crate) fn add(&mut self, agent: AnyAgent) -> Result<()> {
        check_token("agent", agent.name())?;
        if self.get(agent.name()).is_some() {
            return Err(Error::new(ErrorKind::Conflict, "two agents have the same name")
                .with("agent", agent.name())
                .with_hint("give each agent a name of its own"));
        }
        let most = tokio::sync::Semaphore::MAX_PERMITS;
        if let Some(limit) = agent.concurrency()
            && (limit == 0 || limit > most)
        {
            return Err(
                Error::new(ErrorKind::InvalidInput, "the concurrency of an agent is out of range")
                    .with("agent", agent.name())
                    .with("concurrency", limit)
                    .with("least", 1),
            );
        }
        let declaration = agent.declaration()?;
        self.declarations.insert(agent.name().to_owned(), declaration);
        self.agents.insert(agent.name().to_owned(), agent);
        Ok(())
    }

    /// With an agent of the hive's own, to which nobody can submit.
    pub(crate) fn with_own(own: AnyAgent) -> Self {
        Self {
            own: Some(own),
            ..Self::default()
        }
    }

    pub(crate) fn get(&self, name: &str) -> Option<&AnyAgent> {
        let own = || self.own.as_ref().filter(|own| own.name() == name);
        self.agents.get(name).or_else(own)
    }

    /// Whose tasks this process takes.
    pub(crate) fn served(&self) -> impl Iterator<Item = &str> {
        self.names().chain(self.own.as_ref().map(AnyAgent::name))
    }

    pub(crate) fn names(&self) -> impl Iterator<Item = &str> {
        self.agents.keys().map(String::as_str)
    }

    /// Which version of each it has.
    pub(crate) fn versions(&self) -> HashMap<String, Version> {
        let version = |(name, declaration): (&String, &Declaration)| (name.clone(), declaration.version().clone());
        self.declarations.iter().map(version).collect()
    }

    pub(crate) fn all(&self) -> impl Iterator<Item = &AnyAgent> {
        self.agents.values()
    }

    /// What each agent says of itself, by name.
    pub(crate) fn declarations(&self) -> impl Iterator<Item = &Declaration> {
        self.declarations.values()
    }

    /// Ends what agents keep between runs, all at the same time. There must be no more runs.
    pub(crate) async fn close(&self) {
        let mut closing = JoinSet::new();
        for agent in self.all() {
            let agent = agent.clone();
            closing.spawn(async move { agent.close().await });
        }
        while let Some(closed) = closing.join_next().await {
            if let Err(error) = closed {
                tracing::error!(%error, "an agent could not be closed");
            }
        }
    }

    /// Checks a submission before anything is written.
    ///
    /// # Errors
    /// `unknown-agent`, naming the nearest one; `invalid-input`, naming the path that does not fit.
    pub(crate) fn check(&self, agent: &str, input: &Payload) -> Result<()> {
        match self.agents.get(agent) {
            Some(found) => found.check(input),
            None => Err(self.unknown(agent)),
        }
    }

    fn unknown(&self, agent: &str) -> Error {
        let error = Error::new(ErrorKind::UnknownAgent, "no such agent in this hive")
            .with("agent", format!("{:.100}", agent.escape_debug()));
        match hive_core::nearest::nearest(agent, self.names()) {
            Some(near) => error.with_hint(format!(
                "did you mean `{near}`? agents are added with `Hive::open(…).agent(…)`"
            )),
            None => error.with_hint("add it with `Hive::open(…).agent(…)` before the hive is started"),
        }
    }
}
