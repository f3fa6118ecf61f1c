//! What is done when the code asks for something other than what is on record.
//!
//! Code is edited while tasks are under way. What a step of the old code has recorded is found by the new code under the same scope,
//! name and occurrence; when it does not fit what the new code asks for there, the record has *drifted*: it is of another
//! [kind](Cause::Kind) or [version](Cause::Version), its [output](Cause::Output) cannot be read as the type that is wanted, or it is of
//! [other children](Cause::Children) or of children with [other inputs](Cause::Input). A [`Report`] says which, and the step's own
//! [`Drift`] what is done about it.
//!
//! ```
//! use hive_orchestration::drift::Drift;
//! use hive_orchestration::{Context, Failure};
//!
//! # async fn run(cx: &Context) -> Result<String, Failure> {
//! // The prompt has changed and old answers are of no use: whoever has one asks again.
//! cx.step("ask", async || Ok::<_, Failure>("an answer".to_owned())).version(2).on_drift(Drift::Rerun).await
//! # }
//! ```
//!
//! Which tasks would meet a drift shows before the new code runs: see [`replay`](crate::replay).

use std::fmt;

use hive_errors::{ErrorKind, Failure};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// What to do when what is on record does not fit. None of them happens without a word: each is logged with its [`Report`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Drift {
    /// The task waits for a person, who decides with [`TaskHandle::decide`](crate::TaskHandle::decide). The default.
    #[default]
    Pause,
    /// What is on record is taken, if the code can read it at all; otherwise as `Pause`.
    Adopt,
    /// It is done again and recorded anew, with the report as a note. What must not run twice, a step with
    /// [`Effect::AtMostOnce`](crate::Effect::AtMostOnce) or a transaction, is only done again where the code says `Rerun` and has it as what it
    /// was; otherwise as `Pause`.
    Rerun,
    /// The task fails for good, with a failure of kind `drift`.
    Fail,
}

/// In which way the record and the code differ.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Cause {
    /// Something of another kind, such as a step where there is a transaction now, has that name, and nobody asks for it any more.
    Kind,
    /// The [version](crate::builders::Step::version) is another.
    Version,
    /// The output on record cannot be read as the type that is wanted now.
    Output,
    /// Not as many children were called, or those of another agent.
    Children,
    /// Children were called with other inputs.
    Input,
}

impl Cause {
    const fn text(self) -> &'static str {
        match self {
            Self::Kind => "something of another kind is on record under this name",
            Self::Version => "another version of it is on record",
            Self::Output => "the recorded output does not fit the type that the code now expects",
            Self::Children => "other children were called under this name before than the code now asks for",
            Self::Input => "the children were called with other inputs than the code now has for them",
        }
    }

    const fn advice(self) -> &'static str {
        match self {
            Self::Kind => {
                "give the new one another name and keep the old one for tasks begun before; or adopt an output for it; or let it run, \
                 if doing both does no harm"
            }
            Self::Version => "adopt an output that fits, or rerun the step if that is harmless",
            Self::Output => {
                "make the new type read the old form too; or adopt an output that fits, or rerun the step if that is harmless"
            }
            Self::Children => {
                "take the items of a map from the input or from a step, so that they are the same whenever it is reached, and call another \
                 agent under another name; or adopt a list of outputs, or rerun: then the children are called anew"
            }
            Self::Input => {
                "take inputs from the task's own or from a step, so that they are the same whenever the call is reached; or adopt a list of \
                 outputs, or rerun: then the children are called anew"
            }
        }
    }
}

/// What does not fit, and what can be done. Printed it is one sentence after another, for people.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[non_exhaustive]
pub struct Report {
    /// The step, call or wait that is asked for, as in the task's status and in [histories](crate::history::Entry::key).
    pub entry: String,
    /// In which way it does not fit.
    pub cause: Cause,
    /// What is on record: a kind, a version, a type, or how many children of whom.
    pub recorded: String,
    /// What the code asks for, likewise.
    pub asked: String,
    /// What the code does about it.
    pub policy: Drift,
    /// More on the cause, such as where in the output it does not fit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub detail: Option<String>,
}

impl Report {
    pub(crate) fn new(entry: &str, cause: Cause, recorded: impl Into<String>, asked: impl Into<String>) -> Self {
        Self {
            entry: entry.to_owned(),
            cause,
            recorded: recorded.into(),
            asked: asked.into(),
            policy: Drift::default(),
            detail: None,
        }
    }

    pub(crate) fn detail(mut self, detail: impl fmt::Display) -> Self {
        self.detail = Some(detail.to_string());
        self
    }

    pub(crate) fn under(mut self, policy: Drift) -> Self {
        self.policy = policy;
        self
    }

    /// What to do about it, in one line.
    pub fn advice(&self) -> &'static str {
        self.cause.advice()
    }

    pub(crate) fn failure(&self) -> Failure {
        let failure = Failure::terminal(self.cause.text())
            .with_kind(ErrorKind::Drift)
            .with("entry", &self.entry)
            .with("recorded", &self.recorded)
            .with("asked", &self.asked)
            .with_hint(self.advice());
        match &self.detail {
            Some(detail) => failure.with("detail", detail),
            None => failure,
        }
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{}: {}. On record is {}, asked for is {}",
            self.entry,
            self.cause.text(),
            self.recorded,
            self.asked
        )?;
        if let Some(detail) = &self.detail {
            write!(f, " ({detail})")?;
        }
        write!(f, ". What can be done: {}", self.advice())
    }
}
