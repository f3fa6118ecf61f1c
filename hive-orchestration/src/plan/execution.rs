//! A plan is carried out: the part that acts.

mod calls;
mod review;
mod run;
mod start;

use std::fmt;
use std::future::{Future, IntoFuture};
use std::pin::Pin;

use hive_errors::Failure;

use self::run::Run;
use super::node::Plan;
use super::outcome::Outcome;
use super::revision::{Progress, Revise};
use crate::context::Context;

type Answer<'a> = Pin<Box<dyn Future<Output = Result<Option<Plan>, Failure>> + Send + 'a>>;
type Reviser<'a> = Box<dyn FnMut(Context, Progress) -> Answer<'a> + Send + 'a>;

/// A plan about to be carried out; await it. Made by [`Context::plan`].
#[must_use = "a plan is carried out when it is awaited"]
pub struct Execution<'a> {
    cx: &'a Context,
    name: &'a str,
    plan: Plan,
    parallel: usize,
    revise: Option<(Revise, Reviser<'a>)>,
}

impl Context {
    /// Carries out a plan and tells what has become of its nodes.
    ///
    /// The plan is remembered first: under this name the same plan goes on after an interruption, whatever plan the code would come
    /// with then. Each node is a child of this task, as if it had been [called](Context::call): it is called once, it starts as
    /// soon as
    /// what it needs has ended, and while all that goes on this task holds no worker and, after a moment, no memory. See
    /// [the module](crate::plan) for when nodes start and when they are skipped.
    ///
    /// ```
    /// # use hive_orchestration::plan::{Node, Plan};
    /// # use hive_orchestration::{Context, Failure};
    /// # use serde_json::json;
    /// # async fn run(cx: &Context) -> Result<String, Failure> {
    /// let plan = Plan::new([
    ///     Node::new("draft", "agent:writer").input(json!({"topic": "bees"})),
    ///     Node::new("proof", "agent:reader").input(json!({"text": {"$from": "draft", "path": "/text"}})),
    /// ]);
    /// let outcome = cx.plan("article", plan).parallel(4).await?;
    /// outcome.get::<String>("proof")
    /// # }
    /// ```
    ///
    /// # Failures
    /// Terminal ones: of kind `invalid-input`, with the [findings](crate::plan::Findings) as cause, for a plan that is not on
    /// record yet and cannot be
    /// carried out; that of a node that failed and says [`OnFailure::Fail`](crate::plan::OnFailure::Fail), with the field
    /// `node`, after which what runs is cancelled;
    /// what the function given to [`Execution::revise`] returns.
    ///
    /// # Cancel safety
    /// Dropped, the nodes that run go on and nobody waits for them. Keep the future to come back to it.
    pub fn plan<'a>(&'a self, name: &'a str, plan: Plan) -> Execution<'a> {
        Execution {
            cx: self,
            name,
            plan,
            parallel: usize::MAX,
            revise: None,
        }
    }
}

impl<'a> Execution<'a> {
    /// Lets at most `limit` nodes run or wait at the same time; of those that could start the more urgent first, then those on
    /// which the
    /// longest chain hangs. Without a limit unless set.
    pub fn parallel(mut self, limit: usize) -> Self {
        self.parallel = limit.max(1);
        self
    }

    /// Asks `with` whether the plan is to be another from here on, whenever nodes have ended in the way that `when` says.
    /// `None` leaves it
    /// as it is. Nodes that run go on meanwhile, and none is started.
    ///
    /// What it answers is remembered, so that the same revision counts after an interruption. What it asks a model belongs in a
    /// step of
    /// the context that it is given, whose names are those of this one question. A revision that [cannot be](Progress::check)
    /// is refused
    /// and it is asked again, with the findings in [`Progress::refused`], up to [`PLAN_REPAIRS`](crate::limits::PLAN_REPAIRS)
    /// times; then the plan fails.
    /// A plan may be revised [`PLAN_REVISIONS`](crate::limits::PLAN_REVISIONS) times.
    ///
    /// Nodes that have not started and are left out vanish.
    pub fn revise<F, Fut>(mut self, when: Revise, mut with: F) -> Self
    where
        F: FnMut(Context, Progress) -> Fut + Send + 'a,
        Fut: Future<Output = Result<Option<Plan>, Failure>> + Send + 'a,
    {
        self.revise = Some((when, Box::new(move |cx, progress| Box::pin(with(cx, progress)))));
        self
    }
}

impl<'a> IntoFuture for Execution<'a> {
    type Output = Result<Outcome, Failure>;
    type IntoFuture = Pin<Box<dyn Future<Output = Self::Output> + Send + 'a>>;

    fn into_future(self) -> Self::IntoFuture {
        Box::pin(async move {
            let Self {
                cx,
                name,
                plan,
                parallel,
                revise,
            } = self;
            let mut run = Run::begin(cx, name, plan)
                .await
                .map_err(|failure| failure.with("plan", name))?;
            run.parallel = parallel;
            run.finish(revise).await.map_err(|failure| failure.with("plan", name))
        })
    }
}

impl fmt::Debug for Execution<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Execution")
            .field("name", &self.name)
            .field("nodes", &self.plan.nodes.len())
            .finish_non_exhaustive()
    }
}
