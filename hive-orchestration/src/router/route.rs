//! What was decided, and why.

use std::fmt;

use hive_core::nearest::nearest;
use hive_errors::{Error, ErrorKind};
use semver::Version;

use super::{Candidate, Target};
use crate::registry::Status;

/// A decision, with a reason for every candidate.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Route {
    /// The agent that gets the task.
    pub agent: String,
    /// The version for which it was chosen.
    pub version: Version,
    /// The target that it was chosen for: the request's, or that of a stage of a chain of fallbacks.
    pub target: Target,
    /// By what it was decided.
    pub strategy: String,
    /// Every candidate once: the chosen one first, then by score, then those that did not come into question.
    pub reasons: Vec<Reason>,
}

/// How one candidate fared.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Reason {
    /// The agent.
    pub agent: String,
    /// Which version of it.
    pub version: Version,
    /// How it fared.
    pub verdict: Verdict,
}

/// How a candidate fared.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum Verdict {
    /// It gets the task.
    Chosen {
        /// How well it fits.
        score: f64,
        /// Why.
        why: String,
    },
    /// It would have done; another fits better, or as well and the die fell for that one.
    Behind {
        /// How well it fits.
        score: f64,
        /// Why.
        why: String,
    },
    /// The strategy would not have it.
    Declined {
        /// Why.
        why: String,
    },
    /// It does not come into question.
    Unfit(Unfit),
}

impl Verdict {
    /// How well it fits, if it does.
    pub fn score(&self) -> Option<f64> {
        match self {
            Self::Chosen { score, .. } | Self::Behind { score, .. } => Some(*score),
            Self::Declined { .. } | Self::Unfit(_) => None,
        }
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Chosen { why, .. } | Self::Behind { why, .. } | Self::Declined { why } => f.write_str(why),
            Self::Unfit(unfit) => fmt::Display::fmt(unfit, f),
        }
    }
}

/// Why a candidate does not come into question.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Unfit {
    /// Another agent is meant.
    OtherName,
    /// The range of versions does not admit this one.
    OtherVersion,
    /// It cannot do what is asked for.
    CannotDo,
    /// The request excludes it.
    Excluded,
    /// It is not there.
    Offline,
    /// Its processes are about to stop.
    Draining,
    /// It may run no tasks.
    Paused,
}

impl Unfit {
    /// Why the candidate does not come into question for this target; `None` when it does.
    pub(super) fn judge(target: &Target, excluded: bool, candidate: &Candidate) -> Option<Self> {
        let meant = match target {
            Target::Agent(name) | Target::Version(name, _) if *name != candidate.agent => Some(Self::OtherName),
            Target::Agent(_) => None,
            Target::Version(_, range) => (!range.matches(&candidate.version)).then_some(Self::OtherVersion),
            Target::Capability(wanted) => (!candidate.capabilities.contains(wanted)).then_some(Self::CannotDo),
        };
        meant.or(excluded.then_some(Self::Excluded)).or(match candidate.status {
            Status::Offline => Some(Self::Offline),
            Status::Draining => Some(Self::Draining),
            Status::Online | Status::Busy if candidate.concurrency == 0 => Some(Self::Paused),
            Status::Online | Status::Busy => None,
        })
    }

    /// Whether the target means the candidate, though it cannot be had.
    fn is_meant(&self) -> bool {
        match self {
            Self::OtherName | Self::OtherVersion | Self::CannotDo => false,
            Self::Excluded | Self::Offline | Self::Draining | Self::Paused => true,
        }
    }

    /// Whether time alone may change it.
    fn passes(&self) -> bool {
        match self {
            Self::OtherName | Self::OtherVersion | Self::CannotDo | Self::Excluded => false,
            Self::Offline | Self::Draining | Self::Paused => true,
        }
    }
}

impl fmt::Display for Unfit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::OtherName => "is not the agent that is meant",
            Self::OtherVersion => "is not in the range of versions",
            Self::CannotDo => "cannot do it",
            Self::Excluded => "is excluded by the request",
            Self::Offline => "is offline",
            Self::Draining => "is about to stop",
            Self::Paused => "may run no tasks",
        })
    }
}

/// Nobody can have the task. Who asked for a task to be submitted finds it as the source of the error.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct NoRoute {
    /// What was asked for.
    pub target: Target,
    /// Every candidate once, those that were meant first: what spoke against it.
    pub reasons: Vec<Reason>,
    /// What is offered and has the most similar name, when it is similar enough to be what was meant.
    pub nearest: Option<String>,
}

impl NoRoute {
    pub(super) fn new(target: Target, mut reasons: Vec<Reason>, candidates: &[Candidate]) -> Self {
        let nearest = match &target {
            Target::Agent(name) | Target::Version(name, _) => {
                nearest(name, candidates.iter().map(|one| one.agent.as_str())).filter(|near| near != name)
            }
            Target::Capability(wanted) => {
                let offered = candidates.iter().flat_map(|one| &one.capabilities);
                nearest(wanted.as_str(), offered.map(|one| one.as_str())).filter(|near| *near != wanted.as_str())
            }
        };
        let nearest = nearest.map(str::to_owned);
        reasons.sort_by_key(|reason| !reason.is_meant());
        Self {
            target,
            reasons,
            nearest,
        }
    }

    /// Those that were meant and cannot be had.
    pub fn meant(&self) -> impl Iterator<Item = &Reason> {
        self.reasons.iter().filter(|reason| reason.is_meant())
    }
}

impl Reason {
    pub(super) fn new(candidate: &Candidate, verdict: Verdict) -> Self {
        Self {
            agent: candidate.agent.clone(),
            version: candidate.version.clone(),
            verdict,
        }
    }

    pub(super) fn is_meant(&self) -> bool {
        match &self.verdict {
            Verdict::Unfit(unfit) => unfit.is_meant(),
            Verdict::Chosen { .. } | Verdict::Behind { .. } | Verdict::Declined { .. } => true,
        }
    }

    fn passes(&self) -> bool {
        match &self.verdict {
            Verdict::Unfit(unfit) => unfit.passes(),
            Verdict::Chosen { .. } | Verdict::Behind { .. } => true,
            Verdict::Declined { .. } => false,
        }
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {} {}", self.agent, self.version, self.verdict)
    }
}

impl fmt::Display for NoRoute {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "no agent can be had for {}", self.target)
    }
}

impl std::error::Error for NoRoute {}

/// How many of those that were meant an error names.
const NAMED: usize = 8;

impl From<NoRoute> for Error {
    /// `unknown-agent`; worth another try when one that was meant is away for a while only.
    fn from(none: NoRoute) -> Self {
        let meant: Vec<String> = none.meant().take(NAMED).map(ToString::to_string).collect();
        let passes = none.meant().any(Reason::passes);
        let error = Self::new(ErrorKind::UnknownAgent, "no agent can be had for the task").with("target", &none.target);
        let error = if meant.is_empty() {
            match &none.nearest {
                Some(near) => error.with_hint(format!("did you mean `{near}`?")),
                None => error.with_hint("no agent on this database offers it; start one that does"),
            }
        } else {
            let left = none.meant().count() - meant.len();
            let more = if left == 0 {
                String::new()
            } else {
                format!("; and {left} more")
            };
            error
                .with("candidates", meant.join("; ") + &more)
                .with_hint("start one of them, or ask for less")
        };
        let error = error.with_source(none);
        if passes { error.retryable() } else { error.terminal() }
    }
}
