//! Budgets: how much a task and all below it may use, and what it has used.
//!
//! A task has a budget when its submitter, or its caller, gives it one: an **account** of its own. A child without a budget draws on
//! its caller's account; one with a budget has an account beneath it, which draws on those above as well. So the sum of what is
//! spent never exceeds the limit of any of them, whatever runs at the same time in however many processes.
//!
//! ```
//! # use hive_orchestration as hive;
//! use hive::budget::{Budget, Spend};
//! use hive::core::model::scripted::Scripted;
//! use hive::{Context, Failure, Hive, agent_fn};
//!
//! # #[tokio::main] async fn main() -> hive::Result<()> {
//! # let dir = tempfile::tempdir().unwrap();
//! # let path = dir.path().join("hive.db");
//! let asker = agent_fn("asker", async |cx: Context, question: String| {
//!     let need = Spend::tokens(100).calls(1);
//!     cx.step("ask", async || cx.model().ask(&*question).await).budget(need).await
//! });
//! let hive = Hive::open(path).agent(asker).model(Scripted::new().on("6 * 7", "forty two")).start().await?;
//! let budget = Budget::new().tokens(1_000).calls(3);
//! let task = hive.submit_named("asker", &"What is 6 * 7?").budget(budget).await?;
//! task.result().await?;
//! let account = &task.budget().await?[0];
//! assert_eq!(account.calls.spent, 1);
//! assert!(account.tokens.spent < 100, "what was reserved and not used is given back");
//! # hive.shutdown().await }
//! ```
//!
//! # Reserved before, settled after
//!
//! A [step](crate::Context::step) says what it may use at most, with [`Step::budget`](crate::builders::Step::budget). That is
//! reserved, on disk, before its work begins. What it really used is settled in the commit that remembers its output, and the rest is
//! given back. Calls of [`Context::model`](crate::Context::model) within the step's work are metered by themselves; whatever else it
//! uses the work tells with [`Context::spend`](crate::Context::spend). A model gets no more tokens to write than are left of
//! the reservation, and is not called at all when nothing is.
//!
//! - A try that **fails** settles what it used; another try reserves anew.
//! - A try that was **cut off**, by the death of its process, the loss of its lease, a cancellation or a time limit, has spent its whole
//!   reservation: nobody knows what it used.
//! - A step that **used more** than it reserved (a model reads its prompt before anybody can count it) draws the excess. Where
//!   there is no room for it, the account is full, and what went beyond stands under [`Line::over`]. It is paid first when the budget is
//!   raised.
//! - A step that says nothing reserves what [`Budget::each_step`] says. Without that, and where tokens, money or calls are limited, nothing
//!   is reserved, and a model called in it is refused, as one outside of a step is: nobody would account for it.
//!
//! Children are counted in the commit that makes them. Wall time runs from the first start of the account's task; what begins later
//! than it allows is held back, and a step's work that reaches its end is cut off.
//!
//! # When it is exhausted
//!
//! The task waits, without a slot, until the budget is [raised](crate::TaskHandle::grant) or others give back what they had reserved;
//! its status says which account lacks how much of what. With [`Budget::fail_when_exhausted`] it fails instead, of kind
//! `budget-exhausted`.
//!
//! # What it is not
//!
//! No rate limit (see [`flow`](crate::flow)) and no price list: what a model's answer costs its reply says.

mod book;
pub(crate) mod ledger;
pub(crate) mod meter;
pub(crate) mod schema;
#[cfg(test)]
mod tests;

use std::time::Duration;

use hive_core::id::TaskId;
use hive_errors::{Error, ErrorKind, Result};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::limits;

/// Something that a budget counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Resource {
    /// Tokens of models, of whatever kind.
    Tokens,
    /// Money, in millionths of a US dollar.
    MicroUsd,
    /// Calls of models, and of whatever else the agent counts.
    Calls,
    /// Tasks below, in all.
    Children,
    /// Levels of tasks below.
    Depth,
    /// Time since the task first started, in milliseconds.
    WallTime,
}

impl Resource {
    /// Its name in errors and records.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Tokens => "tokens",
            Self::MicroUsd => "micro_usd",
            Self::Calls => "calls",
            Self::Children => "children",
            Self::Depth => "depth",
            Self::WallTime => "wall_time",
        }
    }
}

/// What a piece of work may use at most, or has used.
///
/// ```
/// use hive_orchestration::budget::Spend;
///
/// let need = Spend::tokens(4_000).micro_usd(50_000).calls(1);
/// assert_eq!((need.tokens, need.micro_usd, need.calls), (4_000, 50_000, 1));
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
#[non_exhaustive]
pub struct Spend {
    /// Tokens, of whatever kind.
    pub tokens: u64,
    /// Millionths of a US dollar.
    pub micro_usd: u64,
    /// Calls.
    pub calls: u64,
}

impl Spend {
    /// Nothing.
    pub const fn none() -> Self {
        Self {
            tokens: 0,
            micro_usd: 0,
            calls: 0,
        }
    }

    /// So many tokens.
    pub const fn tokens(tokens: u64) -> Self {
        Self { tokens, ..Self::none() }
    }

    /// And so much money, in millionths of a US dollar.
    #[must_use]
    pub const fn micro_usd(mut self, micro_usd: u64) -> Self {
        self.micro_usd = micro_usd;
        self
    }

    /// And so many calls.
    #[must_use]
    pub const fn calls(mut self, calls: u64) -> Self {
        self.calls = calls;
        self
    }

    pub(crate) fn plus(self, other: Self) -> Self {
        Self {
            tokens: self.tokens.saturating_add(other.tokens),
            micro_usd: self.micro_usd.saturating_add(other.micro_usd),
            calls: self.calls.saturating_add(other.calls),
        }
    }

    pub(crate) fn check(&self) -> Result<()> {
        within("tokens", self.tokens)?;
        within("micro_usd", self.micro_usd)?;
        within("calls", self.calls)
    }
}

/// How much a task and all below it may use. What is not set is not limited.
///
/// ```
/// use std::time::Duration;
///
/// use hive_orchestration::budget::{Budget, Spend};
///
/// let budget = Budget::new()
///     .tokens(200_000)
///     .micro_usd(2_000_000)
///     .calls(50)
///     .children(20)
///     .depth(2)
///     .wall_time(Duration::from_secs(3_600))
///     .each_step(Spend::tokens(4_000).micro_usd(40_000).calls(1));
/// # let _ = budget;
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
#[must_use = "a budget limits a task that it is given to"]
pub struct Budget {
    pub(crate) tokens: Option<u64>,
    pub(crate) micro_usd: Option<u64>,
    pub(crate) calls: Option<u64>,
    pub(crate) children: Option<u64>,
    pub(crate) depth: Option<u32>,
    pub(crate) wall_time: Option<Duration>,
    pub(crate) each_step: Option<Spend>,
    pub(crate) fails: bool,
}

impl Budget {
    /// A budget without limits, which only counts.
    pub fn new() -> Self {
        Self::default()
    }

    /// At most so many tokens, read and written.
    pub fn tokens(mut self, most: u64) -> Self {
        self.tokens = Some(most);
        self
    }

    /// At most so much money, in millionths of a US dollar.
    pub fn micro_usd(mut self, most: u64) -> Self {
        self.micro_usd = Some(most);
        self
    }

    /// At most so many calls of models, and of whatever else the agents count.
    pub fn calls(mut self, most: u64) -> Self {
        self.calls = Some(most);
        self
    }

    /// At most so many tasks below it in all, those included that have ended.
    pub fn children(mut self, most: u64) -> Self {
        self.children = Some(most);
        self
    }

    /// At most so many levels of tasks below it: with 1 it may call others, which may not.
    pub fn depth(mut self, levels: u32) -> Self {
        self.depth = Some(levels);
        self
    }

    /// Nothing begins later than this after the task first started. Waits count.
    pub fn wall_time(mut self, most: Duration) -> Self {
        self.wall_time = Some(most);
        self
    }

    /// What a step reserves that says nothing itself, here and below. Without it, and where tokens, money or calls are limited, such a
    /// step must not use anything.
    pub fn each_step(mut self, need: Spend) -> Self {
        self.each_step = Some(need);
        self
    }

    /// A task to which this budget does not give what it needs fails, terminally and of kind `budget-exhausted`, instead of waiting.
    pub fn fail_when_exhausted(mut self) -> Self {
        self.fails = true;
        self
    }

    /// Finds every fault before anything is written.
    pub(crate) fn check(&self) -> Result<()> {
        let counts = [
            ("tokens", self.tokens),
            ("micro_usd", self.micro_usd),
            ("calls", self.calls),
            ("children", self.children),
        ];
        for (field, most) in counts {
            within(field, most.unwrap_or_default())?;
        }
        let wall = self.wall_time.unwrap_or_default().as_micros();
        within("wall_time", u64::try_from(wall).unwrap_or(u64::MAX))?;
        self.each_step.as_ref().map_or(Ok(()), Spend::check)
    }
}

fn within(field: &'static str, value: u64) -> Result<()> {
    if value <= limits::BUDGET_MOST {
        return Ok(());
    }
    Err(
        Error::new(ErrorKind::InvalidInput, "a budget counts no further than this")
            .with("field", field)
            .with("value", value)
            .with("limit", limits::BUDGET_MOST)
            .with_hint("leave out what is not to be limited"),
    )
}

/// Where a budget stands. See [`TaskHandle::budget`](crate::TaskHandle::budget).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[non_exhaustive]
pub struct Account {
    /// The task that was given the budget.
    #[schemars(with = "String")]
    pub task: TaskId,
    /// Tokens.
    pub tokens: Line,
    /// Money, in millionths of a US dollar.
    pub micro_usd: Line,
    /// Calls.
    pub calls: Line,
    /// Tasks below, in all.
    pub children: Line,
    /// Levels of tasks below that are allowed.
    pub depth: Option<u32>,
    /// How long after its first start the task and those below may begin something.
    pub wall_time: Option<Duration>,
    /// How long ago it first started; zero when it has not.
    pub elapsed: Duration,
    /// Whether a task fails to which it does not give what it needs.
    pub fails_when_exhausted: bool,
}

/// What an account counts of one resource.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[non_exhaustive]
pub struct Line {
    /// The most that may be spent and reserved together; `None` for any number.
    pub limit: Option<u64>,
    /// What is spent, the reservations of tries that were cut off included.
    pub spent: u64,
    /// What is reserved for work under way.
    pub reserved: u64,
    /// What was used beyond the limit, because nobody could know before. The next that is granted or given back pays it.
    pub over: u64,
}

/// What an account lacks.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Shortage {
    /// The task whose account it is.
    pub(crate) account: TaskId,
    pub(crate) seq: i64,
    pub(crate) resource: Resource,
    pub(crate) missing: u64,
    pub(crate) fails: bool,
}
