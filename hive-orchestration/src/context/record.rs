//! What a run says of its own task's record.

use std::future::Future;

use hive_errors::Failure;

use super::Context;
use super::drift::Recall;
use crate::family::Verb;
use crate::family::deployment::Verb as Deploy;
use crate::family::review::{Conclusion, Verb as Judge};
use crate::family::workflow::{Step, Verb as Work};
use crate::journal::Kind;
use crate::queue::record::{self, Said};

impl Context {
    /// The task's own [review](crate::family::review), to say what comes of it.
    ///
    /// What is said is on disk, with its event, when the call returns; after an interruption it is not said twice, and a run that has
    /// lost its lease cannot say anything. As with steps, calls of the same kind are told apart by how often they came.
    ///
    /// # Failures
    /// Terminal ones, after which the record is as it was: `not-found` when the task was submitted without such a record, `conflict`
    /// when what is said does not fit what was said before, `invalid-input` naming the field.
    ///
    /// # Cancel safety
    /// Dropped before the answer, the word may be on record or not; when the task comes back to it, the journal tells.
    pub fn review(&self) -> OwnReview<'_> {
        OwnReview { cx: self }
    }

    /// The task's own [workflow](crate::family::workflow), to say how far it has come. As [`Context::review`].
    pub fn workflow(&self) -> OwnWorkflow<'_> {
        OwnWorkflow { cx: self }
    }

    /// The task's own [deployment](crate::family::deployment), to say how far it has come. As [`Context::review`].
    pub fn deployment(&self) -> OwnDeployment<'_> {
        OwnDeployment { cx: self }
    }

    async fn say(&self, verb: Verb) -> Result<(), Failure> {
        verb.check()?;
        let key = self.key(Kind::Record, &verb.name())?;
        match self.recall::<()>(&key, Kind::Record).await {
            Recall::Done(()) => return Ok(()),
            Recall::New | Recall::Begun | Recall::Over => {}
        }
        let _working = self.run.activity.work();
        let (queue, task) = (self.run.queue.clone(), self.run.claimed.task.clone());
        let said = Said {
            lease: self.run.lease(),
            verb,
            key,
            at: queue.clock.now(),
        };
        self.run.tell(move |tx| record::say(tx, &queue, &task, &said)).await?;
        Ok(())
    }
}

/// A run's own review. Made by [`Context::review`].
#[derive(Clone, Copy, Debug)]
pub struct OwnReview<'a> {
    cx: &'a Context,
}

impl OwnReview<'_> {
    /// The reviewer begins: `review.started`. Once.
    pub async fn start(&self) -> Result<(), Failure> {
        self.say(Judge::Start).await
    }

    /// The reviewer cannot decide, for this reason, and a person is asked: `review.escalated`. It is concluded all the same, later.
    pub async fn escalate(&self, reason: impl Into<String>) -> Result<(), Failure> {
        self.say(Judge::Escalate(reason.into())).await
    }

    /// The review is over: `review.completed`. Nothing more is said of it afterwards.
    pub async fn conclude(&self, conclusion: Conclusion) -> Result<(), Failure> {
        self.say(Judge::Conclude(conclusion)).await
    }

    async fn say(&self, verb: Judge) -> Result<(), Failure> {
        self.cx.say(Verb::Review(verb)).await
    }
}

/// A run's own workflow. Made by [`Context::workflow`].
///
/// With the first stage that begins the workflow has started (`workflow.started`), with the last that ends it is over:
/// `workflow.succeeded`, or `workflow.failed` when one of them failed.
#[derive(Clone, Copy, Debug)]
pub struct OwnWorkflow<'a> {
    cx: &'a Context,
}

impl OwnWorkflow<'_> {
    /// Puts these stages, in order, in the place of those that have not begun: `workflow.planned`.
    pub async fn plan<S: Into<String>>(&self, stages: impl IntoIterator<Item = S>) -> Result<(), Failure> {
        // Not held over the await: the iterator need not be `Send`.
        let stages = stages.into_iter().map(Into::into).collect();
        self.say(Work::Plan(stages)).await
    }

    /// A stage begins, or begins once more after it failed: `workflow.stage-started`.
    pub async fn start(&self, stage: impl Into<String>) -> Result<(), Failure> {
        self.step(stage, Step::Start).await
    }

    /// A stage that has begun did what it is there for: `workflow.stage-ended`.
    pub async fn complete(&self, stage: impl Into<String>) -> Result<(), Failure> {
        self.step(stage, Step::Complete).await
    }

    /// A stage that has not begun is not needed: `workflow.stage-ended`.
    pub async fn skip(&self, stage: impl Into<String>) -> Result<(), Failure> {
        self.step(stage, Step::Skip).await
    }

    /// A stage that has begun failed, and the run goes on without: `workflow.stage-ended`. Where the run fails as well, return the
    /// failure instead: the stage at which it stopped is the one that runs.
    pub async fn fail(&self, stage: impl Into<String>, failure: &Failure) -> Result<(), Failure> {
        self.step(stage, Step::Fail(failure.clone())).await
    }

    /// Starts a stage, does `work`, and completes the stage when that came to an output. After a failure the stage still runs: another
    /// attempt goes on with it.
    ///
    /// ```
    /// # use hive_orchestration::{Context, Failure};
    /// # async fn run(cx: &Context) -> Result<(), Failure> {
    /// let artifact = cx.workflow().stage("build", async || cx.step("compile", async || Ok::<_, Failure>(7)).await).await?;
    /// # Ok(()) }
    /// ```
    ///
    /// # Failures
    /// Those of the work, and those of [`start`](Self::start) and [`complete`](Self::complete).
    pub async fn stage<T, Fut>(&self, stage: &str, work: impl FnOnce() -> Fut) -> Result<T, Failure>
    where
        Fut: Future<Output = Result<T, Failure>>,
    {
        self.start(stage).await?;
        let output = work().await?;
        self.complete(stage).await?;
        Ok(output)
    }

    async fn step(&self, stage: impl Into<String>, step: Step) -> Result<(), Failure> {
        self.say(Work::Stage(stage.into(), step)).await
    }

    async fn say(&self, verb: Work) -> Result<(), Failure> {
        self.cx.say(Verb::Workflow(verb)).await
    }
}

/// A run's own deployment. Made by [`Context::deployment`].
#[derive(Clone, Copy, Debug)]
pub struct OwnDeployment<'a> {
    cx: &'a Context,
}

impl OwnDeployment<'_> {
    /// It is under way: `deployment.started`. The version that is in place now becomes the [previous](Self::roll_back) one.
    pub async fn begin(&self) -> Result<(), Failure> {
        self.say(Deploy::Begin).await
    }

    /// Notes what a health check found, in the place of what it found before; at most [`CHECKS`](crate::limits::CHECKS) names,
    /// of ASCII letters, digits, `-` and `_`. It decides nothing: say [`succeed`](Self::succeed) or [`unhealthy`](Self::unhealthy).
    pub async fn check(&self, name: impl Into<String>, healthy: bool, detail: Option<String>) -> Result<(), Failure> {
        let name = name.into();
        self.say(Deploy::Check { name, healthy, detail }).await
    }

    /// The version is in place and well, or well again: `deployment.succeeded`.
    pub async fn succeed(&self) -> Result<(), Failure> {
        self.say(Deploy::Succeed).await
    }

    /// The version is in place and not well: `deployment.failed`. It may get well, or be rolled back.
    pub async fn unhealthy(&self, failure: &Failure) -> Result<(), Failure> {
        self.say(Deploy::Ail(failure.clone())).await
    }

    /// The version did not get in place; what was there before still is: `deployment.failed`.
    pub async fn fail(&self, failure: &Failure) -> Result<(), Failure> {
        self.say(Deploy::Fail(failure.clone())).await
    }

    /// The version that was in place when it [began](Self::begin) was put back: `deployment.reverted`. Without one, nothing is in place.
    pub async fn roll_back(&self) -> Result<(), Failure> {
        self.say(Deploy::RollBack(None)).await
    }

    /// This version was put back: `deployment.reverted`.
    pub async fn roll_back_to(&self, version: impl Into<String>) -> Result<(), Failure> {
        self.say(Deploy::RollBack(Some(version.into()))).await
    }

    async fn say(&self, verb: Deploy) -> Result<(), Failure> {
        self.cx.say(Verb::Deployment(verb)).await
    }
}
