//! Reviews, workflows and deployments: written with their tasks, changed by their runs, found by what is asked.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use hive_orchestration::builders::AnyAgent;
use hive_orchestration::bus::Query;
use hive_orchestration::errors::ErrorKind;
use hive_orchestration::family::Page;
use hive_orchestration::family::deployment::{
    Deployment, DeploymentQuery, DeploymentRecord, LiveQuery, Rollout, Status,
};
use hive_orchestration::family::review::{Conclusion, Findings, Review, ReviewQuery, ReviewRecord, Verdict};
use hive_orchestration::family::workflow::{StageState, Workflow, WorkflowQuery, WorkflowRecord};
use hive_orchestration::registry::Capability;
use hive_orchestration::task::{Scope, TaskState};
use hive_orchestration::{Agent, Call, Context, Failure, Hive, Result, TaskId, agent_fn, limits};
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};
use tokio::sync::watch;

use crate::kit::{Gate, Home, Ledger, crash, reopened, soon, until};

fn noop() -> AnyAgent {
    agent_fn("noop", async |_: Context, n: u32| Ok::<_, Failure>(n))
}

async fn review(hive: &Hive, task: TaskId) -> Option<ReviewRecord> {
    let mut page = hive.reviews(ReviewQuery::new().task(task)).await.unwrap();
    assert!(page.next.is_none() && page.records.len() < 2);
    page.records.pop()
}

async fn workflow(hive: &Hive, task: TaskId) -> WorkflowRecord {
    let mut page = hive.workflows(WorkflowQuery::new().task(task)).await.unwrap();
    page.records.pop().unwrap()
}

async fn deployment(hive: &Hive, task: TaskId) -> DeploymentRecord {
    let mut page = hive.deployments(DeploymentQuery::new().task(task)).await.unwrap();
    page.records.pop().unwrap()
}

/// The types of a task's events that begin like this, in order.
async fn told(hive: &Hive, task: TaskId, family: &str) -> Vec<String> {
    let page = hive.bus().history(Query::new().causation(task)).await.unwrap();
    for event in &page.events {
        assert_eq!(event.correlation(), Some(task.to_string().as_str()));
    }
    let types = page.events.iter().map(|event| event.event_type().to_owned());
    types.filter(|name| name.starts_with(family)).collect()
}

pub(super) async fn a_record_comes_with_its_task_or_not_at_all(home: Home) {
    const CAN: Capability = Capability::new("work");
    let agent = noop().with_capability("work");
    let hive = home.hive().agent(agent).start().await.unwrap();
    hive.pause(Scope::All).await.unwrap();
    let count = async || hive.reviews(ReviewQuery::new()).await.unwrap().records.len();

    let undone = hive.submit_named("noop", &1).record(Review::of("r", "undone"));
    let refused: Result<()> = hive
        .db()
        .write(move |tx| {
            undone.within(tx)?;
            Err(hive_orchestration::Error::new(ErrorKind::Cancelled, "no"))
        })
        .await;
    assert_eq!(refused.unwrap_err().kind(), ErrorKind::Cancelled);
    let bad = [
        hive.submit_named("noop", &1).record(Review::of("r", "good")),
        hive.submit_named("noop", &2).record(Review::of("r", "")),
    ];
    let refused = hive.submit_all(bad).await.unwrap_err();
    assert_eq!(
        (refused.field("place"), refused.field("field")),
        (Some("1"), Some("revision"))
    );
    assert_eq!(count().await, 0);

    let subject = Review::of("r", "one")
        .base("main")
        .title("a shorter way")
        .requested_by("ada");
    let one = hive
        .submit_named("noop", &1)
        .record(subject.clone())
        .idempotency_key("k")
        .await
        .unwrap();
    let same = hive
        .submit_named("noop", &1)
        .record(Review::of("r", "other"))
        .idempotency_key("k")
        .await
        .unwrap();
    assert_eq!(one.id(), same.id());
    let found = review(&hive, one.id()).await.unwrap();
    assert_eq!((found.review, found.task.state), (subject, TaskState::Queued));
    assert_eq!(
        (found.started_at, found.concluded, found.changed_at),
        (None, None, found.task.created_at)
    );
    assert_eq!(told(&hive, one.id(), "review.").await, ["review.requested"]);

    let routed = hive.submit_to(CAN, &3).record(Review::of("r", "routed")).await.unwrap();
    assert_eq!(review(&hive, routed.id()).await.unwrap().review.revision, "routed");
    let several = (0..50).map(|n| match n % 3 {
        0 => hive.submit_named("noop", &n).record(Review::of("many", n.to_string())),
        1 => hive
            .submit_named("noop", &n)
            .record(Deployment::to("e", "s", n.to_string())),
        _ => hive.submit_named("noop", &n),
    });
    let tasks = hive.submit_all(several).await.unwrap();
    for (n, task) in tasks.iter().enumerate() {
        let found = review(&hive, task.id()).await.map(|found| found.review.revision);
        assert_eq!(found, (n % 3 == 0).then(|| n.to_string()));
    }
    assert_eq!(
        hive.deployments(DeploymentQuery::new()).await.unwrap().records.len(),
        17
    );
    hive.shutdown().await.unwrap();
}

struct Reviewer;

impl Agent for Reviewer {
    const NAME: &'static str = "reviewer";
    type Input = String;
    type Output = ();

    async fn run(&self, cx: &Context, _: String) -> std::result::Result<(), Failure> {
        cx.review().conclude(Conclusion::new(Verdict::Approved)).await
    }
}

pub(super) async fn children_have_records_of_their_own(home: Home) {
    let agent = agent_fn("release", async |cx: Context, _: ()| {
        let build = Call::<Reviewer>::new("a".to_owned()).record(Review::of("r", "a"));
        cx.workflow()
            .stage("review", async || cx.call("review", build).await)
            .await?;
        let bad = Call::<Reviewer>::new("b".to_owned()).record(Review::of("r", "b\n"));
        let refused = cx.call("bad", bad).await.unwrap_err();
        Ok::<_, Failure>((refused.is_terminal(), refused.field("field").map(str::to_owned)))
    });
    let hive = home.hive().agent(agent).agent(Reviewer).start().await.unwrap();
    let task = hive
        .submit_named("release", &())
        .record(Workflow::named("release").stages(["review"]))
        .await
        .unwrap();
    assert_eq!(
        soon(task.result()).await.unwrap(),
        serde_json::json!([true, "revision"])
    );
    let stage = workflow(&hive, task.id()).await.stages.remove(0);
    let child = review(&hive, stage.task.unwrap()).await.unwrap();
    assert_eq!((child.task.root, child.task.state), (task.id(), TaskState::Succeeded));
    assert_eq!(child.concluded.unwrap().conclusion.verdict, Verdict::Approved);
    hive.shutdown().await.unwrap();
}

pub(super) async fn what_is_said_stands_once_whatever_happens(home: Home) {
    let (ledger, gate) = (Ledger::default(), Gate::new());
    let open = || {
        let (ledger, gate) = (ledger.clone(), gate.clone());
        let agent = agent_fn("reviewer", move |cx: Context, _: ()| {
            let (ledger, gate) = (ledger.clone(), gate.clone());
            async move {
                cx.review().start().await?;
                cx.review().escalate("two ways to read it").await?;
                let conclusion = Conclusion::new(Verdict::ChangesRequested).score(72).summary("too long");
                let findings = Findings {
                    high: 1,
                    low: 3,
                    ..Findings::default()
                };
                cx.review().conclude(conclusion.findings(findings)).await?;
                ledger.add("said");
                gate.passed().await;
                Ok::<_, Failure>(())
            }
        });
        home.hive().agent(agent).drain(Duration::ZERO)
    };
    let hive = open().start().await.unwrap();
    let task = hive
        .submit_named("reviewer", &())
        .record(Review::of("r", "1"))
        .await
        .unwrap()
        .id();
    ledger.counted(1).await;
    let before = review(&hive, task).await.unwrap();
    assert_eq!(before.task.state, TaskState::Running);
    crash(hive).await;
    let hive = reopened(open).await;
    ledger.counted(2).await;
    gate.open();
    soon(hive.task::<()>(task).result()).await.unwrap();
    let after = review(&hive, task).await.unwrap();
    assert_eq!((after.task.attempt, after.task.state), (2, TaskState::Succeeded));
    assert_eq!(
        (&after.concluded, &after.escalated, after.changed_at),
        (&before.concluded, &before.escalated, before.changed_at)
    );
    let conclusion = after.concluded.unwrap().conclusion;
    assert_eq!(
        (
            conclusion.score,
            conclusion.findings.total(),
            conclusion.summary.as_deref()
        ),
        (Some(72), 4, Some("too long"))
    );
    let events = [
        "review.requested",
        "review.started",
        "review.escalated",
        "review.completed",
    ];
    assert_eq!(told(&hive, task, "review.").await, events);
    hive.shutdown().await.unwrap();
}

pub(super) async fn a_run_that_lost_its_lease_says_nothing(home: Home) {
    let (ledger, go) = (Ledger::default(), watch::Sender::new(false));
    let (log, gate) = (ledger.clone(), go.subscribe());
    let agent = agent_fn("zombie", move |cx: Context, _: ()| {
        let (log, mut gate) = (log.clone(), gate.clone());
        async move {
            if cx.attempt() > 1 {
                return cx.review().conclude(Conclusion::new(Verdict::Approved)).await;
            }
            let zombie = cx.clone();
            tokio::spawn(async move {
                log.add("run 1");
                gate.wait_for(|open| *open).await.ok();
                log.add("say 1");
                let said = zombie.review().conclude(Conclusion::new(Verdict::Rejected)).await;
                log.add("said 1");
                said
            });
            std::future::pending().await
        }
    });
    let hive = home.hive().agent(agent).agent(noop()).start().await.unwrap();
    let task = hive
        .submit_named("zombie", &())
        .record(Review::of("r", "1"))
        .await
        .unwrap();
    ledger.seen("run 1").await;
    let id = task.id();
    hive.db()
        .write(move |tx| {
            tx.execute(
                "UPDATE task SET state = 1, epoch = 0 WHERE id = ?1 AND state = 2",
                &[&id],
            )
        })
        .await
        .unwrap();
    // Held up, so that the zombie comes before whoever has the lease has concluded, and must be refused for its lease alone.
    hive.pause(Scope::All).await.unwrap();
    go.send(true).unwrap();
    ledger.seen("say 1").await;
    hive.db().write(|_| Ok(())).await.unwrap();
    assert!(review(&hive, id).await.unwrap().concluded.is_none());
    hive.resume(Scope::All).await.unwrap();
    hive.submit_named("noop", &1).await.unwrap();
    soon(task.result()).await.unwrap();
    let concluded = review(&hive, id).await.unwrap().concluded.unwrap();
    assert_eq!(concluded.conclusion.verdict, Verdict::Approved);
    assert!(!ledger.lines().contains(&"said 1".to_owned()));
    assert_eq!(
        told(&hive, id, "review.").await,
        ["review.requested", "review.completed"]
    );
    hive.shutdown().await.unwrap();
}

pub(super) async fn what_does_not_fit_is_refused_and_changes_nothing(home: Home) {
    let agent = agent_fn("odd", async |cx: Context, _: ()| {
        let mut refused = Vec::new();
        let mut note = |said: std::result::Result<(), Failure>| {
            let failure = said.unwrap_err();
            assert!(failure.is_terminal());
            refused.push(format!(
                "{} {}",
                failure.kind(),
                failure.field("field").unwrap_or_default()
            ));
        };
        let (review, workflow, deployment) = (cx.review(), cx.workflow(), cx.deployment());
        note(review.conclude(Conclusion::new(Verdict::Approved).score(101)).await);
        note(review.conclude(Conclusion::new(Verdict::Approved).summary("x\0")).await);
        note(review.escalate("x".repeat(limits::RECORD_TEXT_BYTES + 1)).await);
        note(workflow.start("build").await);
        note(workflow.plan(["a", "a"]).await);
        note(workflow.plan((0..=limits::STAGES).map(|n| n.to_string())).await);
        note(deployment.begin().await);
        note(deployment.check("two words", true, None).await);
        note(deployment.roll_back_to("").await);
        review.start().await?;
        note(review.start().await);
        review.conclude(Conclusion::new(Verdict::Inconclusive)).await?;
        note(review.conclude(Conclusion::new(Verdict::Approved)).await);
        note(review.escalate("too late").await);
        Ok::<_, Failure>(refused)
    });
    let hive = home.hive().agent(agent).start().await.unwrap();
    let task = hive
        .submit_named("odd", &())
        .record(Review::of("r", "1"))
        .await
        .unwrap();
    let refused = [
        "invalid-input score",
        "invalid-input summary",
        "invalid-input reason",
        "not-found ",
        "invalid-input stages",
        "limit-reached stages",
        "not-found ",
        "invalid-input check",
        "invalid-input version",
        "conflict ",
        "conflict ",
        "conflict ",
    ];
    assert_eq!(soon(task.result()).await.unwrap(), serde_json::json!(refused));
    let found = review(&hive, task.id()).await.unwrap();
    let conclusion = found.concluded.unwrap().conclusion;
    assert_eq!(
        (conclusion.verdict, conclusion.score, found.escalated),
        (Verdict::Inconclusive, None, None)
    );

    let long = "x".repeat(limits::RECORD_LINE_BYTES + 1);
    for (record, field) in [
        (Review::of("", "1").into(), "repository"),
        (Review::of("r", long.clone()).into(), "revision"),
        (Review::of("r", "1").base("a\0b").into(), "base"),
        (Review::of("r", "1").title("a\nb").into(), "title"),
        (Review::of("r", "1").requested_by("").into(), "requested_by"),
        (Workflow::named("two words").into(), "workflow"),
        (Workflow::named("w").version("\u{7f}").into(), "version"),
        (Workflow::named("w").stages([""]).into(), "stage"),
        (
            Workflow::named("w")
                .stages(["x".repeat(limits::STAGE_BYTES + 1)])
                .into(),
            "stage",
        ),
        (Workflow::named("w").stages(["a", "a"]).into(), "stages"),
        (Deployment::to("production.eu", "s", "1").into(), "environment"),
        (Deployment::to("e", long.clone(), "1").into(), "service"),
        (Deployment::to("e", "s", "\u{0}").into(), "version"),
    ] {
        let record: hive_orchestration::family::Record = record;
        let shown = format!("{record:?}");
        let error = hive.submit_named("odd", &()).record(record).await.unwrap_err();
        assert_eq!(
            (error.code(), error.field("field")),
            ("invalid-input", Some(field)),
            "{shown}"
        );
    }
    // What looks dangerous and is not.
    for text in [
        "'; DROP TABLE task; --",
        "\"%_\\",
        "?1 $1 {}",
        "a\u{202e}b",
        "🐝/🐝",
        "NULL",
        &long[1..],
    ] {
        let task = hive
            .submit_named("odd", &())
            .record(Review::of(text, text).title(text))
            .await
            .unwrap();
        let query = ReviewQuery::new().repository(text).revision(text);
        let found = hive.reviews(query).await.unwrap().records;
        assert_eq!(found.iter().map(|found| found.task.id).collect::<Vec<_>>(), [task.id()]);
        assert_eq!(found[0].review, Review::of(text, text).title(text));
    }
    hive.shutdown().await.unwrap();
}

pub(super) async fn a_workflow_tells_how_far_it_has_come(home: Home) {
    let broken = Arc::new(Mutex::new(true));
    let state = Arc::clone(&broken);
    let agent = agent_fn("release", move |cx: Context, _: ()| {
        let broken = Arc::clone(&state);
        async move {
            let workflow = cx.workflow();
            workflow.start("design").await?;
            workflow.plan(["build", "lint", "docs", "ship"]).await?;
            workflow.complete("design").await?;
            workflow.skip("docs").await?;
            workflow.start("lint").await?;
            workflow.fail("lint", &Failure::terminal("no linter")).await?;
            workflow
                .stage("build", async || {
                    if *broken.lock().unwrap() {
                        return Err(Failure::terminal("it does not compile"));
                    }
                    Ok(())
                })
                .await?;
            workflow.start("lint").await?;
            workflow.complete("lint").await?;
            workflow.stage("ship", async || Ok(())).await
        }
    });
    let hive = home.hive().agent(agent).start().await.unwrap();
    let record = Workflow::named("release").version("3").stages(["design", "later"]);
    let task = hive.submit_named("release", &()).record(record).await.unwrap();
    assert_eq!(soon(task.result()).await.unwrap_err().code(), "agent-failed");
    let at = workflow(&hive, task.id()).await;
    assert_eq!(
        (at.task.state, at.ended(), at.stages.len(), at.ended_at),
        (TaskState::Failed, 3, 5, None)
    );
    assert_eq!((at.name.as_str(), at.version.as_deref()), ("release", Some("3")));
    let current = at.current().unwrap();
    assert_eq!(
        (current.name.as_str(), current.ended_at, current.task),
        ("build", None, None)
    );
    let states: Vec<_> = at
        .stages
        .iter()
        .map(|stage| (stage.name.as_str(), stage.state))
        .collect();
    let expected = [
        ("design", StageState::Completed),
        ("build", StageState::Running),
        ("lint", StageState::Failed),
        ("docs", StageState::Skipped),
        ("ship", StageState::Pending),
    ];
    assert_eq!(states, expected);
    let failed = WorkflowQuery::new()
        .name("release")
        .task_state(TaskState::Failed)
        .ended(false);
    assert_eq!(hive.workflows(failed.clone()).await.unwrap().records, [at]);

    *broken.lock().unwrap() = false;
    task.redrive().await.unwrap();
    soon(task.result()).await.unwrap();
    let at = workflow(&hive, task.id()).await;
    assert_eq!(
        (at.task.state, at.ended(), at.current()),
        (TaskState::Succeeded, 5, None)
    );
    assert_eq!(at.ended_at, Some(at.changed_at));
    assert!(hive.workflows(failed).await.unwrap().records.is_empty());
    let events = [
        "planned",
        "started",
        "stage-started",
        "planned",
        "stage-ended",
        "stage-ended",
        "stage-started",
        "stage-ended",
        "stage-started",
        "failed",
        "stage-ended",
        "stage-started",
        "stage-ended",
        "stage-started",
        "stage-ended",
        "succeeded",
    ];
    let events: Vec<String> = events.iter().map(|name| format!("workflow.{name}")).collect();
    assert_eq!(told(&hive, task.id(), "workflow.").await, events);
    hive.shutdown().await.unwrap();
}

/// Carries out a deployment by the words of its input.
fn deployer() -> AnyAgent {
    agent_fn("deployer", async |cx: Context, words: String| {
        let deployment = cx.deployment();
        let no = Failure::retryable("the check never passed").with_kind(ErrorKind::Timeout);
        for word in words.split(' ') {
            match word {
                "begin" => deployment.begin().await?,
                "well" => deployment.check("http", true, None).await?,
                "ill" => deployment.check("http", false, Some("503".to_owned())).await?,
                "succeed" => deployment.succeed().await?,
                "unhealthy" => deployment.unhealthy(&no).await?,
                "fail" => deployment.fail(&no).await?,
                "back" => deployment.roll_back().await?,
                "wait" => cx.sleep(Duration::from_secs(3_600)).await?,
                version => deployment.roll_back_to(version).await?,
            }
        }
        Ok::<_, Failure>(())
    })
}

async fn deploy(hive: &Hive, version: &str, words: &str) -> TaskId {
    let record = Deployment::to("production", "api", version).rollout(Rollout::Canary);
    let task = hive.submit_named("deployer", &words).record(record).await.unwrap();
    if words.ends_with("wait") {
        until(&task, TaskState::Waiting).await;
    } else {
        soon(task.result()).await.unwrap();
    }
    task.id()
}

/// Version, health and task of what is in place.
async fn live(hive: &Hive) -> Option<(String, bool, Option<TaskId>)> {
    let mut page = hive.deployed("production").await.unwrap();
    assert!(page.next.is_none() && page.services.len() < 2);
    let live = page.services.pop()?;
    assert_eq!(
        (live.environment.as_str(), live.service.as_str()),
        ("production", "api")
    );
    Some((live.version, live.healthy, live.task.map(|task| task.id)))
}

pub(super) async fn what_is_in_place_is_what_deployments_say(home: Home) {
    let hive = home.hive().agent(deployer()).start().await.unwrap();
    let undone = deploy(&hive, "0.9", "begin unhealthy back").await;
    assert_eq!(
        (deployment(&hive, undone).await.restored, live(&hive).await),
        (None, None)
    );
    let first = deploy(&hive, "1.0", "begin well succeed").await;
    let here = |version: &str, healthy, task| Some((version.to_owned(), healthy, task));
    assert_eq!(live(&hive).await, here("1.0", true, Some(first)));

    let ill = deploy(&hive, "1.1", "begin ill ill unhealthy wait").await;
    assert_eq!(live(&hive).await, here("1.1", false, Some(ill)));
    let found = deployment(&hive, ill).await;
    assert_eq!(
        (found.status, found.previous.as_deref()),
        (Status::Unhealthy, Some("1.0"))
    );
    let check = &found.checks[0];
    assert_eq!(
        (check.name.as_str(), check.healthy, check.detail.as_deref(), check.times),
        ("http", false, Some("503"), 2)
    );
    let fault = found.fault.unwrap();
    assert_eq!(
        (fault.code.as_str(), fault.message.as_str()),
        ("timeout", "the check never passed")
    );

    let back = deploy(&hive, "1.2", "begin unhealthy succeed unhealthy back").await;
    assert_eq!(live(&hive).await, here("1.1", true, Some(ill)));
    assert_eq!(
        (
            deployment(&hive, back).await.status,
            deployment(&hive, back).await.restored.as_deref()
        ),
        (Status::RolledBack, Some("1.1"))
    );
    let names = ["requested", "started", "failed", "succeeded", "failed", "reverted"];
    assert_eq!(
        told(&hive, back, "deployment.").await,
        names.map(|name| format!("deployment.{name}"))
    );

    // One that did not get in place changes nothing, whoever comes in between is not overtaken, and a version by name is any.
    let since = hive.deployed("production").await.unwrap().services[0].since;
    let failed = deploy(&hive, "1.3", "begin fail back").await;
    assert_eq!(live(&hive).await, here("1.1", true, Some(ill)));
    assert_eq!(hive.deployed("production").await.unwrap().services[0].since, since);
    let slow = deploy(&hive, "1.4", "begin wait").await;
    let quick = deploy(&hive, "1.5", "begin succeed").await;
    let named = deploy(&hive, "1.6", "begin succeed 1.0.1").await;
    assert_eq!(live(&hive).await, here("1.0.1", true, None));

    // Its task is gone before anybody said what became of it; and when that comes back it goes on.
    let status = async |task| deployment(&hive, task).await.status;
    assert_eq!(status(slow).await, Status::InProgress);
    hive.task::<()>(slow).cancel().await.unwrap();
    assert_eq!(status(slow).await, Status::Abandoned);
    let names = ["requested", "started", "failed"].map(|name| format!("deployment.{name}"));
    assert_eq!(told(&hive, slow, "deployment.").await, names);
    let page = hive
        .deployments(DeploymentQuery::new().environment("production").unsuccessful())
        .await
        .unwrap();
    let found: Vec<_> = page.records.iter().map(|found| (found.task.id, found.status)).collect();
    let expected = [
        (named, Status::RolledBack),
        (slow, Status::Abandoned),
        (failed, Status::RolledBack),
        (back, Status::RolledBack),
        (ill, Status::Unhealthy),
        (undone, Status::RolledBack),
    ];
    assert_eq!(found, expected);
    hive.task::<()>(slow).redrive().await.unwrap();
    until(&hive.task::<()>(slow), TaskState::Waiting).await;
    assert_eq!(status(slow).await, Status::InProgress);
    let healthy = DeploymentQuery::new().service("api").status(Status::Healthy);
    let found: Vec<_> = hive
        .deployments(healthy)
        .await
        .unwrap()
        .records
        .iter()
        .map(|found| found.task.id)
        .collect();
    assert_eq!(found, [quick, first]);

    assert!(
        hive.deployed(LiveQuery::new("production").tenant("other"))
            .await
            .unwrap()
            .services
            .is_empty()
    );
    assert!(hive.deployed("staging").await.unwrap().services.is_empty());
    assert!(!hive.retire("other", "production", "api").await.unwrap());
    assert!(hive.retire("default", "production", "api").await.unwrap());
    assert_eq!(live(&hive).await, None);
    hive.shutdown().await.unwrap();
}

pub(super) async fn records_are_forgotten_with_their_tasks_and_what_is_in_place_is_not(home: Home) {
    let reviewer = agent_fn("release", async |cx: Context, _: ()| {
        cx.workflow().stage("a", async || Ok(())).await
    });
    let hive = home
        .hive()
        .agent(deployer())
        .agent(Reviewer)
        .agent(reviewer)
        .start()
        .await
        .unwrap();
    let task = deploy(&hive, "1.0", "begin well succeed").await;
    let review = hive
        .submit::<Reviewer>(String::new())
        .record(Review::of("r", "1"))
        .await
        .unwrap();
    soon(review.result()).await.unwrap();
    let stages = Workflow::named("w").stages(["a", "b"]);
    let other = hive.submit_named("release", &()).record(stages).await.unwrap();
    soon(other.result()).await.unwrap();
    let kept = deploy(&hive, "1.1", "begin ill wait").await;
    assert_eq!(hive.forget(Duration::ZERO).await.unwrap(), 3);
    let rows = hive
        .db()
        .read(|db| {
            let mut rows = Vec::new();
            for table in [
                "task_review",
                "task_workflow",
                "task_stage",
                "task_deployment",
                "task_check",
                "deployed",
            ] {
                rows.push(db.query_one(&format!("SELECT count(*) FROM {table}"), &[], |row| row.get::<u64>(0))?);
            }
            Ok(rows)
        })
        .await
        .unwrap();
    assert_eq!(rows, [0, 0, 0, 1, 1, 1]);
    assert_eq!(live(&hive).await, Some(("1.0".to_owned(), true, None)));
    let page = hive.deployments(DeploymentQuery::new().task(task)).await.unwrap();
    assert!(page.records.is_empty());
    assert_eq!(deployment(&hive, kept).await.checks.len(), 1);
    hive.shutdown().await.unwrap();
}

/// What is asked of reviews, as numbers: each narrows unless it is out of range.
type Asked = (usize, usize, usize, usize, usize, usize, Option<usize>, usize);

fn query(asked: Asked, all: &[ReviewRecord]) -> (ReviewQuery, Vec<TaskId>) {
    let (repository, revision, verdict, concluded, tenant, state, since, limit) = asked;
    let (mut query, mut expected) = (ReviewQuery::new().limit(limit), all.to_vec());
    if let Some(repository) = ["r0", "r1", "r2", "none"].get(repository) {
        query = query.repository(*repository);
        expected.retain(|found| found.review.repository == *repository);
    }
    if let Some(revision) = ["0", "1", "2"].get(revision) {
        query = query.revision(*revision);
        expected.retain(|found| found.review.revision == *revision);
    }
    let verdicts = [
        &[Verdict::Approved][..],
        &[Verdict::Rejected, Verdict::ChangesRequested],
    ];
    if let Some(verdicts) = verdicts.get(verdict) {
        query = verdicts.iter().fold(query, |query, verdict| query.verdict(*verdict));
        expected.retain(|found| {
            found
                .concluded
                .as_ref()
                .is_some_and(|known| verdicts.contains(&known.conclusion.verdict))
        });
    }
    if let Some(concluded) = [false, true].get(concluded) {
        query = query.concluded(*concluded);
        expected.retain(|found| found.concluded.is_some() == *concluded);
    }
    if let Some(tenant) = ["a", "b"].get(tenant) {
        query = query.tenant(*tenant);
        expected.retain(|found| found.task.tenant == *tenant);
    }
    if let Some(state) = [TaskState::Succeeded, TaskState::Failed, TaskState::Queued].get(state) {
        query = query.task_state(*state);
        expected.retain(|found| found.task.state == *state);
    }
    if let Some(since) = since.and_then(|since| all.get(since)) {
        query = query.since(since.changed_at);
        expected.retain(|found| found.changed_at >= since.changed_at);
    }
    (query, expected.iter().map(|found| found.task.id).collect())
}

pub(super) async fn reviews_are_found_as_they_are_asked_for(home: Home) {
    let agent = agent_fn("judge", async |cx: Context, n: usize| {
        let verdicts = [
            Verdict::Approved,
            Verdict::Rejected,
            Verdict::ChangesRequested,
            Verdict::Inconclusive,
        ];
        if let Some(verdict) = verdicts.get(n % 5) {
            cx.review()
                .conclude(Conclusion::new(*verdict).score((n % 101) as u8))
                .await?;
        }
        if n.is_multiple_of(7) {
            Err(Failure::terminal("no"))
        } else {
            Ok(n)
        }
    });
    let hive = home.hive().agent(agent).start().await.unwrap();
    for n in 0..60_usize {
        if n == 50 {
            hive.pause(Scope::All).await.unwrap();
        }
        let record = Review::of(format!("r{}", n % 3), (n % 4).to_string());
        let task = hive
            .submit_named("judge", &n)
            .record(record)
            .tenant(if n % 2 == 0 { "a" } else { "b" });
        let task = task.await.unwrap();
        if n < 50 {
            soon(task.result()).await.ok();
        }
        // Others have no review.
        hive.submit_named("judge", &n)
            .delay(Duration::from_secs(3_600))
            .await
            .unwrap();
    }
    let all = hive.reviews(ReviewQuery::new()).await.unwrap().records;
    assert_eq!(all.len(), 60);
    assert!(all.is_sorted_by(|a, b| a.task.id > b.task.id));
    assert_eq!(all.iter().filter(|found| found.concluded.is_some()).count(), 40);
    let asked = (
        0..6_usize,
        0..5_usize,
        0..4_usize,
        0..4_usize,
        0..4_usize,
        0..5_usize,
        proptest::option::of(0..60_usize),
        1..70_usize,
    );
    let mut runner = TestRunner::new(Config {
        cases: 200,
        failure_persistence: None,
        ..Config::default()
    });
    let run = |asked: Asked| {
        let (mut query, expected) = query(asked, &all);
        let mut found = Vec::new();
        tokio::task::block_in_place(|| {
            tokio::runtime::Handle::current().block_on(async {
                loop {
                    let Page { records, next, .. } = hive.reviews(query.clone()).await.unwrap();
                    assert!(records.len() <= asked.7);
                    found.extend(records.iter().map(|found| found.task.id));
                    match next {
                        Some(next) => query = query.clone().after(next),
                        None => break,
                    }
                }
            });
        });
        prop_assert_eq!(found, expected);
        Ok(())
    };
    runner.run(&asked, run).unwrap();
    hive.shutdown().await.unwrap();
}
