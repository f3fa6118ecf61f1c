//! The reviewer: carries out one assignment.

use hive::{Agent, Context, Failure};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::Desk;
use crate::plan::{Assignment, Reviewer};
use crate::review::{self, Reviewed};
use crate::source::Source;

/// Reviews one file for one concern. Many of them work at once.
#[derive(Debug)]
pub struct ReviewerAgent(pub(super) Desk);

/// What to review. The content is not in it: it is read where it stands, inside the step.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct Review {
    /// Where the content stands.
    pub source: Source,
    /// What to look at, and what for.
    pub assignment: Assignment,
    /// Who looks.
    pub reviewer: Reviewer,
}

impl Agent for ReviewerAgent {
    const NAME: &'static str = "reviewer";
    type Input = Review;
    type Output = Reviewed;

    async fn run(&self, cx: &Context, input: Review) -> Result<Reviewed, Failure> {
        let key = cx.idempotency_key("review");
        let reviewed = cx
            .step("review", async || {
                self.0.ledger.start(&key)?;
                review::carry_out(&input.source, &input.assignment, input.reviewer, cx.model()).await
            })
            .retry(review::retry(input.reviewer))
            .await?;
        self.0.ledger.done(&key)?;
        self.0.count();
        Ok(reviewed)
    }
}
