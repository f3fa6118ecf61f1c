//! The planner: makes one page of the plan.

use hive::{Agent, Context, Failure};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::Desk;
use crate::error::failure;
use crate::plan::{self, Page, Reviewer};
use crate::source::Source;

/// Splits a part of the source into assignments.
#[derive(Debug)]
pub struct Planner(pub(super) Desk);

/// Which part.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct PlanPage {
    /// What is reviewed.
    pub source: Source,
    /// Who will review.
    pub reviewer: Reviewer,
    /// Which page, from zero.
    pub page: usize,
}

impl Agent for Planner {
    const NAME: &'static str = "planner";
    type Input = PlanPage;
    type Output = Page;

    async fn run(&self, cx: &Context, input: PlanPage) -> Result<Page, Failure> {
        let key = cx.idempotency_key("plan");
        let page = cx
            .step("plan", async || {
                self.0.ledger.start(&key)?;
                let listing = input.source.list().await.map_err(failure)?;
                plan::page(&input.source, &listing, input.page, input.reviewer)
                    .await
                    .map_err(failure)
            })
            .await?;
        self.0.ledger.done(&key)?;
        Ok(page)
    }
}
