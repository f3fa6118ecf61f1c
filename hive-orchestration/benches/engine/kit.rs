//! The loads that every engine meets.

use std::time::{Duration, Instant};

use hive_core_bench::Figures;
use hive_orchestration::builders::{Builder, Submit};
use hive_orchestration::flow::{Limit, Rate, Subject};
use hive_orchestration::task::Scope;
use hive_orchestration::{Context, Failure, Hive, agent_fn};
use serde_json::Value;
use tokio::task::JoinSet;

pub(crate) const TASKS: usize = 16_000;
pub(crate) const BATCH: usize = 100;
pub(crate) const CALLERS: usize = 16;

pub(crate) fn noop(builder: Builder) -> Builder {
    builder.agent(agent_fn("noop", async |_: Context, n: usize| Ok::<_, Failure>(n)))
}

/// Tasks a second, from their submission a hundred at a time to their acknowledged ends.
pub(crate) async fn batched(hive: &Hive, tasks: usize) -> f64 {
    batched_by(hive, tasks, |submit, _| submit).await
}

async fn batched_by(hive: &Hive, tasks: usize, with: fn(Submit<Value>, usize) -> Submit<Value>) -> f64 {
    let begun = Instant::now();
    let mut callers = JoinSet::new();
    for _ in 0..CALLERS {
        let hive = hive.clone();
        callers.spawn(async move {
            for _ in 0..tasks / CALLERS / BATCH {
                let new = (0..BATCH).map(|n| with(hive.submit_named("noop", &n), n));
                for task in hive.submit_all(new).await.unwrap() {
                    task.result().await.unwrap();
                }
            }
        });
    }
    callers.join_all().await;
    tasks as f64 / begun.elapsed().as_secs_f64()
}

/// What limits cost that are never reached, on what runs at once and begins in a time: one of the agent; then also of each tenant and
/// of each of a hundred keys. Before them the same tasks without a limit.
pub(crate) async fn limited(hive: &Hive, figures: &mut Figures, engine: &str, tasks: usize) {
    let plenty = Limit::new()
        .concurrency(1_000_000)
        .rate(Rate::new(1_000_000_000, Duration::from_secs(1)).burst(1_000_000));
    let subjects = [
        Subject::Agent("noop".to_owned()),
        Subject::EachTenant,
        Subject::EachKey("noop".to_owned()),
    ];
    let name = |what: &str| format!("engine.{engine}.{what}");
    let keyed = || batched_by(hive, tasks, |submit, n| submit.key(n.to_string()));
    figures.record(&name("keyed_tasks_per_s"), keyed().await, "tasks/s");
    for (nth, subject) in subjects.iter().enumerate() {
        hive.limit(subject.clone(), plenty).await.unwrap();
        let limits = nth + 1;
        if limits == 1 || limits == subjects.len() {
            let name = name(&format!("limited_tasks_per_s.{limits}"));
            figures.record(&name, keyed().await, "tasks/s");
        }
    }
    for subject in subjects {
        hive.unlimit(subject).await.unwrap();
    }
}

/// Tasks that wait are run until none is left: how many a second.
pub(crate) async fn burn_down(hive: &Hive, figures: &mut Figures, engine: &str, tasks: usize) {
    hive.pause(Scope::All).await.unwrap();
    let mut waiting = Vec::new();
    for _ in 0..tasks / 1_000 {
        let new = (0..1_000).map(|n| hive.submit_named("noop", &n));
        waiting.extend(hive.submit_all(new).await.unwrap());
    }
    let begun = Instant::now();
    hive.resume(Scope::All).await.unwrap();
    for task in waiting {
        task.result().await.unwrap();
    }
    let name = format!("engine.{engine}.burn_down_per_s");
    figures.record(&name, tasks as f64 / begun.elapsed().as_secs_f64(), "tasks/s");
}

/// Tasks a second when a hundred callers wait for each.
pub(crate) async fn closed(hive: &Hive, tasks: usize) -> f64 {
    let begun = Instant::now();
    let mut callers = JoinSet::new();
    for _ in 0..100 {
        let hive = hive.clone();
        callers.spawn(async move {
            for n in 0..tasks / 100 {
                hive.submit_named("noop", &n).await.unwrap().result().await.unwrap();
            }
        });
    }
    callers.join_all().await;
    tasks as f64 / begun.elapsed().as_secs_f64()
}

/// What an engine does with tasks that do nothing.
pub(crate) async fn noops(hive: &Hive, figures: &mut Figures, engine: &str, tasks: usize) {
    let name = |what: &str| format!("engine.{engine}.{what}");
    batched(hive, tasks / 4).await;
    figures.record(&name("noop_tasks_per_s"), batched(hive, tasks).await, "tasks/s");
    figures.record(
        &name("noop_tasks_per_s.closed"),
        closed(hive, tasks / 4).await,
        "tasks/s",
    );
}

/// Acknowledged submissions a second. They are not run meanwhile.
pub(crate) async fn submissions(hive: &Hive, figures: &mut Figures, engine: &str, tasks: usize) {
    hive.pause(Scope::All).await.unwrap();
    let begun = Instant::now();
    for n in 0..tasks / 100 {
        hive.submit_named("noop", &n).await.unwrap();
    }
    let name = format!("engine.{engine}.submit_per_s.1");
    figures.record(&name, (tasks / 100) as f64 / begun.elapsed().as_secs_f64(), "tasks/s");
    let begun = Instant::now();
    for _ in 0..tasks / BATCH {
        hive.submit_all((0..BATCH).map(|n| hive.submit_named("noop", &n)))
            .await
            .unwrap();
    }
    let name = format!("engine.{engine}.submit_per_s.100");
    figures.record(&name, tasks as f64 / begun.elapsed().as_secs_f64(), "tasks/s");
}
