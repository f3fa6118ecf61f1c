//! The first page, as it stands there.

use hive_orchestration as hive;

use hive::core::model::scripted::Scripted;
use hive::{Agent, Context, Failure, Hive};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::kit::{Home, soon};

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
        cx.step("ask", async || cx.model().extract(&diff.text).await).await
    }
}

fn model() -> Scripted {
    Scripted::new().on_json("+ bar", serde_json::json!({ "approved": true, "reasons": ["short"] }))
}

#[tokio::test]
async fn first_page() {
    let home = Home::new();
    let hive = Hive::open(home.db())
        .agent(Reviewer)
        .model(model())
        .start()
        .await
        .unwrap();
    let task = hive
        .submit::<Reviewer>(Diff {
            text: "- foo\n+ bar".into(),
        })
        .await
        .unwrap();
    let verdict = soon(task.result()).await.unwrap();
    assert!(verdict.approved);
    assert_eq!(verdict.reasons, ["short"]);
    hive.shutdown().await.unwrap();
    hive.shutdown().await.unwrap();
}

#[tokio::test]
async fn no_model_is_ever_chosen_silently() {
    let home = Home::new();
    let hive = Hive::open(home.db()).agent(Reviewer).start().await.unwrap();
    let task = hive.submit::<Reviewer>(Diff { text: "x".into() }).await.unwrap();
    let error = soon(task.result()).await.err().unwrap();
    assert_eq!(error.code(), "model-missing");
    assert!(error.hint().contains("model"), "{}", error.hint());
    hive.shutdown().await.unwrap();
}
