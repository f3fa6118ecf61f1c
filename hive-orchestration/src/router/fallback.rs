//! Chains: what to do when nobody can be had for the first choice.

use hive_errors::Result;

use super::{Ask, Candidate, Rank, Request, Router, Strategy, Target};

/// A chain of stages. The first that has somebody who is there and whom its strategy does not decline, decides.
///
/// ```
/// use hive_orchestration::registry::Capability;
/// use hive_orchestration::router::{Fallback, Stage, Strategy, Target};
///
/// // A specialist; or else anybody who can do what was asked for; or else the one that does everything.
/// let router = Fallback::new([
///     Stage::new(Strategy::Specialist(Box::new(Strategy::LeastLoaded))),
///     Stage::new(Strategy::LeastLoaded),
///     Stage::new(Strategy::LeastLoaded).to(Target::Agent("generalist".into())),
/// ]);
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fallback {
    stages: Vec<Stage>,
}

impl Fallback {
    /// A chain of these, of which [`FALLBACKS_MAX`](crate::limits::FALLBACKS_MAX) are tried at most.
    pub fn new(stages: impl IntoIterator<Item = Stage>) -> Self {
        Self {
            stages: stages.into_iter().collect(),
        }
    }
}

/// One link of a [`Fallback`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stage {
    strategy: Strategy,
    target: Option<Target>,
}

impl Stage {
    /// Those that the request means, by this strategy.
    pub fn new(strategy: Strategy) -> Self {
        Self { strategy, target: None }
    }

    /// Those that this means, in place of those that the request means.
    #[must_use]
    pub fn to(mut self, target: impl Into<Target>) -> Self {
        self.target = Some(target.into());
        self
    }
}

impl Router for Fallback {
    fn name(&self) -> String {
        let names: Vec<String> = self.stages.iter().map(|stage| stage.strategy.name()).collect();
        format!("fallback: {}", names.join("; "))
    }

    fn targets(&self, request: &Request) -> Vec<Target> {
        let target = |stage: &Stage| stage.target.as_ref().unwrap_or(&request.target).clone();
        self.stages.iter().map(target).collect()
    }

    fn rank(&self, ask: &Ask<'_>, fit: &[&Candidate]) -> Result<Vec<Rank>> {
        match self.stages.get(ask.stage) {
            Some(stage) => stage.strategy.rank(ask, fit),
            // Nobody is judged in a stage that there is not.
            None => Ok(Vec::new()),
        }
    }
}
