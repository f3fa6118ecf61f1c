//! The first page: one agent, one durable task.
//!
//! Runs offline: the model answers from a script. Stop it at any moment and start it again; what was acknowledged is in
//! `hive.db`.
#![expect(clippy::print_stdout, reason = "an example shows what it did")]

use hive::core::model::scripted::Scripted;
use hive::{Agent, Context, Failure, Hive};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

#[derive(Serialize, Deserialize, JsonSchema)]
struct Diff {
    text: String,
}

#[derive(Serialize, Deserialize, JsonSchema)]
struct Verdict {
    approved: bool,
    reasons: Vec<String>,
}

struct Reviewer;

impl Agent for Reviewer {
    const NAME: &'static str = "reviewer";
    type Input = Diff;
    type Output = Verdict;

    async fn run(&self, cx: &Context, diff: Diff) -> Result<Verdict, Failure> {
        cx.step("ask", async || cx.model().extract(&diff.text).await).await // asked once, remembered for ever
    }
}

#[tokio::main]
async fn main() -> hive::Result<()> {
    let hive = Hive::open("hive.db").agent(Reviewer).model(script()).start().await?;
    let task = hive
        .submit::<Reviewer>(Diff {
            text: "- foo\n+ bar".into(),
        })
        .await?; // on disk from here on
    let verdict = task.result().await?;
    println!("{}: approved = {}, {:?}", task.id(), verdict.approved, verdict.reasons);
    hive.shutdown().await
}

/// Stands in for a real model, which costs money and needs a network. Give `Hive::open(…).model(…)` any other instead.
fn script() -> Scripted {
    Scripted::new().on_json(
        "+ bar",
        Verdict {
            approved: true,
            reasons: vec!["a bar is better than a foo".into()],
        },
    )
}
