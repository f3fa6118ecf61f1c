//! What is wrong with a plan, for programs, people and models.

use std::fmt;

use hive_errors::{Error, ErrorKind};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::limits;

/// What kind of fault it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum Code {
    /// More of something than a plan may have.
    LimitReached,
    /// A plan without a node.
    Empty,
    /// An id that is none.
    InvalidId,
    /// An id that an earlier node has.
    DuplicateId,
    /// A target that names nobody.
    InvalidTarget,
    /// No agent of that name, or in that range of versions, is there.
    UnknownAgent,
    /// Nobody can do that.
    UnknownCapability,
    /// A reference, under `after` or in a condition as well, to a node that the plan does not have.
    UnknownNode,
    /// An object that looks like a reference and is none.
    InvalidReference,
    /// A condition that cannot be asked.
    InvalidCondition,
    /// A number of attempts that is out of range.
    InvalidAttempts,
    /// Nodes that need each other in a circle.
    Cycle,
    /// A reference to a part that the output does not have.
    UnknownPath,
    /// A value of another type than the agent takes.
    TypeMismatch,
    /// A property that the agent needs.
    MissingProperty,
    /// A property that the agent does not take.
    UnknownProperty,
    /// A value that the agent does not take, although its type is right.
    InvalidValue,
    /// A revision that changes, or leaves out, a node that has started.
    StartedChanged,
}

/// One thing that is wrong with a plan.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[non_exhaustive]
pub struct Finding {
    /// Where: a JSON pointer into the plan.
    pub at: String,
    /// What kind of fault it is.
    pub code: Code,
    /// What is wrong.
    pub message: String,
    /// What to do about it.
    pub hint: String,
}

impl Finding {
    pub(super) fn new(at: impl Into<String>, code: Code, message: impl Into<String>, hint: impl Into<String>) -> Self {
        Self {
            at: at.into(),
            code,
            message: message.into(),
            hint: hint.into(),
        }
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { at, message, hint, .. } = self;
        let at = if at.is_empty() { "the plan" } else { at };
        write!(f, "{at}: {message}; {hint}")
    }
}

/// Everything that is wrong with a plan, at most [`PLAN_FINDINGS`](limits::PLAN_FINDINGS) of it; never nothing.
///
/// As text it is a list with a line for each finding, which can be given back to the model that wrote the plan as it stands. As an
/// error it is of kind `invalid-input` and final: the same plan will not do better.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Findings {
    /// The findings in the order of the plan.
    pub list: Vec<Finding>,
    /// How many more there are.
    #[serde(default)]
    pub omitted: usize,
}

impl Findings {
    /// `Ok` when there is nothing in the list.
    pub(super) fn of(mut list: Vec<Finding>) -> Result<(), Self> {
        if list.is_empty() {
            return Ok(());
        }
        let omitted = list.len().saturating_sub(limits::PLAN_FINDINGS);
        list.truncate(limits::PLAN_FINDINGS);
        Err(Self { list, omitted })
    }

    /// Whether one is of this kind.
    pub fn has(&self, code: Code) -> bool {
        self.list.iter().any(|finding| finding.code == code)
    }
}

impl fmt::Display for Findings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the plan cannot be carried out:")?;
        for finding in &self.list {
            write!(f, "\n- {finding}")?;
        }
        if self.omitted > 0 {
            write!(f, "\n- and {} more", self.omitted)?;
        }
        Ok(())
    }
}

impl std::error::Error for Findings {}

impl From<Findings> for Error {
    fn from(findings: Findings) -> Self {
        Self::new(ErrorKind::InvalidInput, "the plan cannot be carried out")
            .with("findings", findings.list.len() + findings.omitted)
            .with_hint("give the findings back to whoever wrote the plan; `Plan::check` finds them beforehand")
            .with_source(findings)
            .terminal()
    }
}
