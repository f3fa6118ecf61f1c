//! What becomes of a task whose agent has gone.

use std::time::Duration;

use hive_errors::{Error, ErrorKind, Result};

use super::{Candidate, Chance, NoRoute, Request, Route, Router, Target, Unfit, decide};

/// A task that was routed and put aside, because no process that looked at it has its agent.
#[derive(Clone, Copy, Debug)]
pub struct Deferred<'a> {
    /// The agent that was chosen.
    pub agent: &'a str,
    /// Whether anything of it has run. Its journal is that agent's then.
    pub started: bool,
    /// How long it has been put aside.
    pub waited: Duration,
}

/// What becomes of a task that was put aside.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum Reroute {
    /// It goes on waiting for its agent.
    Stay {
        /// Why, for people.
        why: &'static str,
    },
    /// Another agent gets it.
    Move(Route),
}

/// Whether a task that was put aside should be given to another agent, and to which. Pure, as [`decide`] is.
///
/// It stays where it is when something of it has run, when the agent was named by who submitted it, when the agent is back,
/// before it has waited for `patience` (a restart should not scatter what shares a key), and when nobody else can be had.
///
/// # Errors
/// As [`decide`], `unknown-agent` apart.
pub fn reroute(
    router: &dyn Router,
    request: &Request,
    deferred: Deferred<'_>,
    patience: Duration,
    chance: Chance,
    candidates: &[Candidate],
) -> Result<Reroute> {
    let stay = |why| Ok(Reroute::Stay { why });
    if deferred.started {
        return stay("its journal is the agent's");
    }
    match &request.target {
        Target::Agent(_) | Target::Version(..) => return stay("the agent was named by who submitted it"),
        Target::Capability(_) => {}
    }
    let targets = router.targets(request);
    let is_back = |one: &Candidate| {
        let fits = |target: &Target| Unfit::judge(target, false, one).is_none();
        one.agent == deferred.agent && targets.iter().any(fits)
    };
    if candidates.iter().any(is_back) {
        return stay("the agent is back");
    }
    if deferred.waited < patience {
        return stay("the agent may come back");
    }
    match decide(router, request, chance, candidates) {
        Ok(route) => Ok(Reroute::Move(route)),
        Err(error) if error.kind() == ErrorKind::UnknownAgent && is_nobody(&error) => stay("nobody else can be had"),
        Err(error) => Err(error),
    }
}

fn is_nobody(error: &Error) -> bool {
    std::error::Error::source(error).is_some_and(|source| source.is::<NoRoute>())
}
