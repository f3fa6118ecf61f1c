//! The queen: leads a review from its source to its report.

use hive::{Agent, Call, Context, Failure};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::planner::{PlanPage, Planner};
use super::reviewer::{Review, ReviewerAgent};
use super::{Desk, store};
use crate::error::failure;
use crate::finding::Severity;
use crate::path::RawPath;
use crate::plan::{self, Assignment, Page, Reviewer};
use crate::report::{Material, Report, Usage, Written};
use crate::review::Reviewed;
use crate::source::Source;

/// Leads a review.
#[derive(Debug)]
pub struct Queen(pub(super) Desk);

/// What is to be reviewed, by whom, and where the report goes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ReviewRequest {
    /// What the report calls it.
    pub name: String,
    /// What is reviewed.
    pub source: Source,
    /// Who reviews.
    pub reviewer: Reviewer,
    /// The directory of the report.
    pub out: RawPath,
}

/// What came of a review.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Outcome {
    /// One line for the terminal.
    pub summary: String,
    /// The gravest severity found.
    pub worst: Option<Severity>,
    /// How many assignments there were.
    pub assignments: usize,
    /// Where the report is.
    pub written: Written,
}

/// What the queen needs to know of the source before it is planned.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct Snapshot {
    pages: usize,
    files: usize,
    beyond_limit: usize,
}

/// Assignments handed out in one commit.
const BATCH: usize = 4_000;

impl Agent for Queen {
    const NAME: &'static str = "queen";
    type Input = ReviewRequest;
    type Output = Outcome;

    async fn run(&self, cx: &Context, request: ReviewRequest) -> Result<Outcome, Failure> {
        let key = cx.idempotency_key("snapshot");
        let snapshot = cx
            .step("snapshot", async || {
                self.0.ledger.start(&key)?;
                snapshot(&request.source).await
            })
            .await?;
        self.0.ledger.done(&key)?;

        let pages = self.plan(cx, &request, &snapshot).await?;
        let (assignments, mut material) = gathered(pages, &snapshot);
        let total = assignments.len();
        for (batch, part) in assignments.chunks(BATCH).enumerate() {
            let done = (batch * BATCH) as u64;
            cx.progress(done, total as u64, "reviewing").await?;
            let call = |assignment: &Assignment| {
                let (source, reviewer) = (request.source.clone(), request.reviewer);
                Call::<ReviewerAgent>::new(Review {
                    source,
                    assignment: assignment.clone(),
                    reviewer,
                })
            };
            for reviewed in cx.map(&format!("review-{batch}"), part, call).await? {
                material.add(reviewed);
            }
        }

        let report = Report::new(&request.name, &request.source, request.reviewer, material);
        let (task, json) = (cx.task_id(), serde_json::to_string(&report)?);
        cx.transaction("store", move |tx| store::save(tx, task, &json)).await?;
        let key = cx.idempotency_key("write");
        let written = cx
            .step("write", async || {
                self.0.ledger.start(&key)?;
                report.write(&request.out.to_os()).map_err(failure)
            })
            .await?;
        self.0.ledger.done(&key)?;
        cx.progress(total as u64, total as u64, "done").await?;
        Ok(Outcome {
            summary: report.summary(),
            worst: report.worst(),
            assignments: total,
            written,
        })
    }
}

impl Queen {
    async fn plan(&self, cx: &Context, request: &ReviewRequest, snapshot: &Snapshot) -> Result<Vec<Page>, Failure> {
        cx.progress(0, snapshot.files as u64, "planning").await?;
        let call = |page: usize| {
            let (source, reviewer) = (request.source.clone(), request.reviewer);
            Call::<Planner>::new(PlanPage { source, reviewer, page })
        };
        cx.map("plan", 0..snapshot.pages, call).await
    }
}

async fn snapshot(source: &Source) -> Result<Snapshot, Failure> {
    let listing = source.list().await.map_err(failure)?;
    Ok(Snapshot {
        pages: plan::page_count(&listing),
        files: listing.entries.len(),
        beyond_limit: listing.omitted,
    })
}

fn gathered(pages: Vec<Page>, snapshot: &Snapshot) -> (Vec<Assignment>, Material) {
    let mut assignments = Vec::new();
    let mut material = Material {
        beyond_limit: snapshot.beyond_limit,
        ..Material::default()
    };
    for page in pages {
        assignments.extend(page.assignments());
        material.skipped.extend(page.skipped);
        material.reviewed += page.files.len();
    }
    (assignments, material)
}

impl Material {
    fn add(&mut self, reviewed: Reviewed) {
        self.findings.extend(reviewed.findings);
        self.omitted += reviewed.omitted;
        self.notes.extend(reviewed.note);
        if let Some(used) = reviewed.usage {
            let usage = self.usage.get_or_insert(Usage::default());
            usage.calls += used.calls;
            usage.tokens += used.tokens;
            usage.cost_micro_usd += used.cost_micro_usd;
        }
    }
}
