//! Which agent gets a task that is not meant for one by name.
//!
//! A task that is [submitted to](crate::Hive::submit_to) a [capability](crate::registry::Capability) or to a range of
//! versions is given to an agent when it is submitted, by what is known then of who is there and how busy they are. The
//! decision is a pure function, [`decide`]: of what was asked ([`Request`]), of who comes into question ([`Candidate`]) and
//! of [`Chance`]. It says of every candidate how it fared, and that stands in the event `agent.routed`, which commits
//! together with the task.
//!
//! ```
//! use hive_orchestration::registry::Capability;
//! use hive_orchestration::router::{Candidate, Chance, Request, Strategy, decide};
//!
//! const REVIEW: Capability = Capability::new("review");
//! let mut idle = Candidate::new("idle", "1.0.0".parse()?);
//! let mut busy = Candidate::new("busy", "1.0.0".parse()?);
//! idle.capabilities.insert(REVIEW);
//! busy.capabilities.insert(REVIEW);
//! busy.running = 1;
//!
//! let route = decide(&Strategy::LeastLoaded, &Request::new(REVIEW), Chance::default(), &[idle, busy])?;
//! assert_eq!(route.agent, "idle");
//! assert_eq!(route.reasons[1].to_string(), "busy 1.0.0 has 1 task for 1 hand");
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # Strategies
//!
//! The hive decides by [`Strategy::LeastLoaded`] unless its builder is given another [`Strategy`], a chain of them
//! ([`Fallback`]) or a [`Router`] of your own, which only scores: who is excluded, offline or cannot do it never comes before
//! it, and it cannot forget to explain.
//!
//! # When the chosen agent goes away
//!
//! The decision is made once, because it stands in the task from then on: its journal is that agent's. When no process has
//! the agent any more, the task waits like one that was submitted to it by name, and goes on as soon as a process with the
//! agent starts. One of which nothing has run yet, and which was submitted to a capability, is given to another agent after
//! [`REROUTE_PATIENCE`](crate::limits::REROUTE_PATIENCE); [`reroute`] is that decision. It is told by another `agent.routed`.

mod candidate;
mod deferred;
mod directory;
mod fallback;
mod record;
mod reroute;
mod request;
mod route;
mod score;
mod strategy;
mod target;

#[cfg(test)]
mod tests;

use std::fmt;

use hive_errors::{Error, ErrorKind, Result};

pub use self::candidate::Candidate;
pub use self::fallback::{Fallback, Stage};
pub use self::request::Request;
pub use self::reroute::{Deferred, Reroute, reroute};
pub use self::route::{NoRoute, Reason, Route, Unfit, Verdict};
pub use self::strategy::Strategy;
pub use self::target::Target;

#[cfg(test)]
pub(crate) use self::deferred::give_all;
pub(crate) use self::deferred::{Desk, mind};
pub(crate) use self::directory::Directory;
pub(crate) use self::record::{Routed, find, record};

use crate::limits;

/// Scores candidates. [`Strategy`] and [`Fallback`] are routers; write your own for rules of your own.
///
/// ```
/// use hive_orchestration::Result;
/// use hive_orchestration::router::{Ask, Candidate, Rank, Router};
///
/// /// Whoever has failed least.
/// #[derive(Debug)]
/// struct Safest;
///
/// impl Router for Safest {
///     fn name(&self) -> String {
///         "safest".into()
///     }
///
///     fn rank(&self, _ask: &Ask<'_>, fit: &[&Candidate]) -> Result<Vec<Rank>> {
///         let rank = |one: &&Candidate| {
///             let failures = one.history.failed;
///             Rank::score(-(failures as f64), format!("failed {failures} times of late"))
///         };
///         Ok(fit.iter().map(rank).collect())
///     }
/// }
/// ```
pub trait Router: Send + Sync + fmt::Debug + 'static {
    /// What it is called where decisions are explained.
    fn name(&self) -> String;

    /// The targets to try, one after another, until one has a candidate that [`rank`](Self::rank) does not decline; the
    /// request's own unless overridden. At most [`FALLBACKS_MAX`](crate::limits::FALLBACKS_MAX) are tried.
    fn targets(&self, request: &Request) -> Vec<Target> {
        vec![request.target.clone()]
    }

    /// Says of each of `fit`, in this order, how well it fits; the greatest score is chosen, and of equal ones any. All of
    /// them are there and can do it, there is at least one, and they are sorted by name and version.
    ///
    /// # Errors
    /// When it cannot judge, for example because the request lacks what it goes by. The task is not submitted then.
    fn rank(&self, ask: &Ask<'_>, fit: &[&Candidate]) -> Result<Vec<Rank>>;
}

/// What a router is asked.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct Ask<'a> {
    /// What the task is.
    pub request: &'a Request,
    /// Which of [`Router::targets`] it is about, from 0.
    pub stage: usize,
    /// What chance has to say.
    pub chance: Chance,
}

/// Where chance comes in: the same numbers give the same decision.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Chance {
    /// Decides between equals, and whatever else is left to chance.
    pub seed: u64,
    /// How many tasks were routed to the same target before.
    pub turn: u64,
}

/// What a router says of a candidate.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum Rank {
    /// It would do.
    Score {
        /// How well; greater is better. One that is not a finite number counts as a refusal.
        score: f64,
        /// Why, for people: what follows the candidate's name in a sentence.
        why: String,
    },
    /// It would not.
    Declined {
        /// Why.
        why: String,
    },
}

impl Rank {
    /// It would do, this well.
    pub fn score(score: f64, why: impl Into<String>) -> Self {
        Self::Score { score, why: why.into() }
    }

    /// It would not do.
    pub fn declined(why: impl Into<String>) -> Self {
        Self::Declined { why: why.into() }
    }

    /// With an end to both numbers and words.
    fn tamed(self) -> Self {
        match self {
            Self::Score { score, .. } if !score.is_finite() => Self::declined("has a score that is not a number"),
            Self::Score { score, why } => Self::score(score, cut(why)),
            Self::Declined { why } => Self::declined(cut(why)),
        }
    }
}

/// A reason has room for a sentence.
fn cut(why: String) -> String {
    if why.len() <= limits::NAME_BYTES {
        return why;
    }
    why.chars().take(limits::NAME_BYTES / 4).collect()
}

/// Chooses one of the candidates, each of which should be there once. Pure: nothing but the arguments counts, and not the
/// order of the candidates.
///
/// # Errors
/// `invalid-input` or `limit-reached` for a request that is not valid; `unknown-agent`, with a [`NoRoute`] as its source, when
/// nobody can have the task; what [`Router::rank`] returns.
pub fn decide(router: &dyn Router, request: &Request, chance: Chance, candidates: &[Candidate]) -> Result<Route> {
    request.check()?;
    let mut sorted: Vec<&Candidate> = candidates.iter().collect();
    sorted.sort_by(|one, other| one.key().cmp(&other.key()));
    let mut spoken: Vec<Reason> = Vec::new();
    let targets = router.targets(request);
    for (stage, target) in targets.into_iter().take(limits::FALLBACKS_MAX).enumerate() {
        let ask = Ask { request, stage, chance };
        let verdicts = judge(router, &ask, &target, &sorted)?;
        let reasons = sorted
            .iter()
            .zip(verdicts)
            .map(|(one, verdict)| Reason::new(one, verdict));
        let reasons: Vec<Reason> = reasons.collect();
        match choose(chance.seed, reasons) {
            Ok((chosen, reasons)) => {
                return Ok(Route {
                    agent: chosen.agent.clone(),
                    version: chosen.version.clone(),
                    target,
                    strategy: router.name(),
                    reasons,
                });
            }
            Err(reasons) => keep_telling(&mut spoken, reasons),
        }
    }
    Err(NoRoute::new(request.target.clone(), spoken, candidates).into())
}

/// What is to be said of each candidate, in order, before one is chosen.
fn judge(router: &dyn Router, ask: &Ask<'_>, target: &Target, sorted: &[&Candidate]) -> Result<Vec<Verdict>> {
    let unfit = |one: &&Candidate| Unfit::judge(target, ask.request.exclude.contains(&one.agent), one);
    let fit: Vec<&Candidate> = sorted.iter().copied().filter(|one| unfit(one).is_none()).collect();
    let mut ranks = if fit.is_empty() {
        Vec::new()
    } else {
        router.rank(ask, &fit)?
    }
    .into_iter();
    let verdict = |one: &&Candidate| match unfit(one) {
        Some(unfit) => Verdict::Unfit(unfit),
        None => match ranks.next().map(Rank::tamed) {
            Some(Rank::Score { score, why }) => Verdict::Behind { score, why },
            Some(Rank::Declined { why }) => Verdict::Declined { why },
            None => Verdict::Declined {
                why: "was not judged".to_owned(),
            },
        },
    };
    Ok(sorted.iter().map(verdict).collect())
}

/// The one with the greatest score, and all of them with it first; or all of them, when none has a score.
fn choose(seed: u64, mut reasons: Vec<Reason>) -> Result<(Reason, Vec<Reason>), Vec<Reason>> {
    let place = |reason: &Reason| {
        // The die: of equals the one whose name and the seed make the greatest number.
        let die = score::mix(seed, &reason.agent, Some(&reason.version));
        (reason.verdict.score(), die)
    };
    reasons.sort_by(|one, other| {
        let ((own, own_die), (others, others_die)) = (place(one), place(other));
        let by_score = match (own, others) {
            (Some(own), Some(others)) => others.total_cmp(&own),
            (own, others) => others.is_some().cmp(&own.is_some()),
        };
        // Those without a score stay as they are.
        let by_die = others_die.cmp(&own_die);
        by_score.then(if own.is_some() {
            by_die
        } else {
            std::cmp::Ordering::Equal
        })
    });
    let Some(first) = reasons.first_mut() else {
        return Err(reasons);
    };
    let Verdict::Behind { score, why } = &first.verdict else {
        return Err(reasons);
    };
    first.verdict = Verdict::Chosen {
        score: *score,
        why: why.clone(),
    };
    Ok((first.clone(), reasons))
}

/// Of each candidate, what the stage said that meant it; otherwise what the first said.
fn keep_telling(spoken: &mut Vec<Reason>, reasons: Vec<Reason>) {
    for reason in reasons {
        let same = |known: &&mut Reason| known.agent == reason.agent && known.version == reason.version;
        match spoken.iter_mut().find(same) {
            Some(known) if !known.is_meant() => *known = reason,
            Some(_) => {}
            None => spoken.push(reason),
        }
    }
}

/// What a strategy says that goes by something that the request lacks.
fn lacks(strategy: &'static str, field: &'static str, hint: &'static str) -> Error {
    Error::new(ErrorKind::InvalidInput, "the request lacks what the strategy goes by")
        .with("strategy", strategy)
        .with("field", field)
        .with_hint(hint)
}
