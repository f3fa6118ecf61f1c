//! Plans on real databases.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use hive_orchestration::builders::{AnyAgent, Builder};
use hive_orchestration::bus;
use hive_orchestration::core::id::TaskId;
use hive_orchestration::core::model::scripted::Scripted;
use hive_orchestration::plan::{Code, Condition, Findings, Node, OnFailure, Op, Outcome, Plan, Revise, Skipped, State};
use hive_orchestration::task::query::TaskQuery;
use hive_orchestration::task::{TaskState, WaitingFor};
use hive_orchestration::{Context, Failure, Hive, TaskHandle, agent_fn, limits};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::kit::{Gate, Home, Ledger, crash, reopened, soon, until};

/// What the worker is to do: note that it begins, fail as often as it should, and hand on.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
struct Job {
    id: String,
    /// Outputs of others.
    #[serde(default)]
    from: Vec<Value>,
    /// How many times it fails before it succeeds.
    #[serde(default)]
    fails: usize,
    /// Waits for the gate.
    #[serde(default)]
    gated: bool,
}

#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema, PartialEq)]
struct Done {
    id: String,
    score: u32,
    #[serde(default)]
    note: Option<String>,
}

#[derive(Clone, Debug)]
struct World {
    ledger: Ledger,
    gate: Gate,
    running: Arc<AtomicUsize>,
    most: Arc<AtomicUsize>,
}

impl World {
    fn new() -> Self {
        Self {
            ledger: Ledger::default(),
            gate: Gate::new(),
            running: Arc::default(),
            most: Arc::default(),
        }
    }

    fn worker(&self, name: &str) -> AnyAgent {
        let world = self.clone();
        agent_fn(name, move |_: Context, job: Job| {
            let world = world.clone();
            async move {
                let tries = world
                    .ledger
                    .lines()
                    .iter()
                    .filter(|line| **line == format!("start {}", job.id))
                    .count();
                world.ledger.add(format!("start {}", job.id));
                let running = world.running.fetch_add(1, Ordering::SeqCst) + 1;
                world.most.fetch_max(running, Ordering::SeqCst);
                if job.gated {
                    world.gate.passed().await;
                }
                tokio::task::yield_now().await;
                world.running.fetch_sub(1, Ordering::SeqCst);
                if tries < job.fails {
                    return Err(Failure::terminal(format!("{} does not feel like it", job.id)));
                }
                world.ledger.add(format!("done {}", job.id));
                Ok(Done {
                    score: job.id.len() as u32,
                    id: job.id,
                    note: None,
                })
            }
        })
    }

    fn starts(&self) -> Vec<String> {
        let lines = self.ledger.lines();
        lines
            .iter()
            .filter_map(|line| line.strip_prefix("start ").map(str::to_owned))
            .collect()
    }

    fn hive(&self, home: &Home) -> Builder {
        home.hive().agent(self.worker("work")).agent(boss(usize::MAX))
    }
}

/// Carries out the plan that it is given.
fn boss(parallel: usize) -> AnyAgent {
    agent_fn("boss", move |cx: Context, plan: Plan| async move {
        let outcome = cx.plan("all", plan).parallel(parallel).await?;
        Ok::<_, Failure>(serde_json::to_value(outcome)?)
    })
}

fn node(id: &str) -> Node {
    Node::new(id, "agent:work").input(json!({"id": id}))
}

/// A node whose input has the output of others in it.
fn of(id: &str, from: &[&str]) -> Node {
    let from: Vec<Value> = from.iter().map(|id| json!({"$from": id})).collect();
    Node::new(id, "agent:work").input(json!({"id": id, "from": from}))
}

fn failing(id: &str) -> Node {
    Node::new(id, "agent:work").input(json!({"id": id, "fails": 99}))
}

fn gated(id: &str) -> Node {
    Node::new(id, "agent:work").input(json!({"id": id, "gated": true}))
}

async fn submit(hive: &Hive, plan: &Plan) -> TaskHandle<Value> {
    hive.submit_named("boss", plan).await.unwrap()
}

/// The states of the nodes in an outcome.
fn states(outcome: &Value) -> BTreeMap<String, String> {
    let nodes = outcome["nodes"].as_object().unwrap();
    nodes
        .iter()
        .map(|(id, node)| (id.clone(), node["state"].as_str().unwrap().to_owned()))
        .collect()
}

/// The states of the tasks of one agent.
async fn tasks(hive: &Hive, agent: &str) -> Vec<TaskState> {
    let page = hive.tasks(TaskQuery::new().agent(agent)).await.unwrap();
    page.tasks.iter().map(|task| task.state).collect()
}

/// Numbers that look like chance and are always the same.
fn dice(seed: &mut u64) -> u64 {
    *seed = seed
        .wrapping_mul(6_364_136_223_846_793_005)
        .wrapping_add(1_442_695_040_888_963_407);
    *seed >> 33
}

/// A graph without circles, whose nodes stand in any order. Their ids begin with `prefix`.
fn any_plan(prefix: &str, seed: &mut u64) -> Plan {
    let count = 2 + dice(seed) % 11;
    let mut nodes = Vec::new();
    for place in 0..count {
        let (mut from, mut after) = (Vec::new(), Vec::new());
        for before in 0..place {
            match dice(seed) % 5 {
                0 => from.push(format!("{prefix}{before}")),
                1 => after.push(format!("{prefix}{before}")),
                _ => {}
            }
        }
        let from: Vec<&str> = from.iter().map(String::as_str).collect();
        let node = after
            .into_iter()
            .fold(of(&format!("{prefix}{place}"), &from), Node::after);
        let at = dice(seed) as usize % (nodes.len() + 1);
        nodes.insert(at, node);
    }
    Plan::new(nodes)
}

fn needs(node: &Node) -> BTreeSet<String> {
    let from = node.input["from"].as_array().into_iter().flatten();
    let from = from.map(|reference| reference["$from"].as_str().unwrap().to_owned());
    from.chain(node.after.iter().cloned()).collect()
}

/// Every node is one task, and starts after what it needs has ended, although the process dies again and again.
pub(super) async fn each_node_is_done_once_and_in_order_whatever_happens(home: Home) {
    let mut seed = 7;
    let plans: Vec<Plan> = (0..8)
        .map(|number| any_plan(&format!("p{number}n"), &mut seed))
        .collect();
    let nodes: usize = plans.iter().map(|plan| plan.nodes.len()).sum();
    let world = World::new();
    let open = || home.hive().agent(world.worker("work")).agent(boss(2)).concurrency(4);
    let mut hive = reopened(open).await;
    let mut ids = Vec::new();
    for plan in &plans {
        ids.push(submit(&hive, plan).await.id());
    }
    for part in [3, 2] {
        // Two lines for each node that is done.
        world.ledger.counted(2 * nodes * (part - 1) / (part * 2)).await;
        crash(hive).await;
        hive = reopened(open).await;
    }
    for id in ids {
        let outcome = soon(hive.task::<Value>(id).result()).await.unwrap();
        assert!(states(&outcome).values().all(|state| state == "succeeded"), "{outcome}");
    }
    let lines = world.ledger.lines();
    let first = |line: String| lines.iter().position(|known| *known == line).unwrap();
    for node in plans.iter().flat_map(|plan| &plan.nodes) {
        for need in needs(node) {
            let in_order = first(format!("done {need}")) < first(format!("start {}", node.id));
            assert!(in_order, "{} starts before {need} has ended: {lines:?}", node.id);
        }
    }
    assert_eq!(tasks(&hive, "work").await, vec![TaskState::Succeeded; nodes]);
    hive.shutdown().await.unwrap();
}

pub(super) async fn the_plan_that_was_first_goes_on(home: Home) {
    let world = World::new();
    let open = |planned: &'static str| {
        let planner = agent_fn("planner", move |cx: Context, _: ()| async move {
            let plan = Plan::new([gated(planned), of("last", &[planned])]);
            let outcome: Outcome = cx.plan("all", plan).await?;
            Ok::<_, Failure>(outcome.get::<Done>("last")?.id)
        });
        home.hive().agent(world.worker("work")).agent(planner)
    };
    let hive = open("first").start().await.unwrap();
    let id = hive.submit_named("planner", &()).await.unwrap().id();
    world.ledger.seen("start first").await;
    crash(hive).await;
    world.gate.open();
    let hive = reopened(|| open("second")).await;
    assert_eq!(soon(hive.task::<String>(id).result()).await.unwrap(), "last");
    assert!(!world.starts().contains(&"second".to_owned()));
    hive.shutdown().await.unwrap();
}

pub(super) async fn what_a_failure_does_is_the_nodes_to_say(home: Home) {
    let world = World::new();
    let hive = world.hive(&home).start().await.unwrap();
    let plan = |what| {
        Plan::new([
            failing("bad").on_failure(what),
            of("needs", &["bad"]),
            node("follows").after("bad"),
            node("later").after("follows"),
            of("below", &["needs"]),
            Node::new("default", "agent:work")
                .input(json!({"id": "default", "from": [{"$from": "bad", "path": "/id", "default": "none"}]})),
            node("apart"),
        ])
    };
    let outcome = soon(submit(&hive, &plan(OnFailure::Skip)).await.result())
        .await
        .unwrap();
    let skip = [
        ("bad", "failed"),
        ("needs", "skipped"),
        ("follows", "skipped"),
        ("later", "skipped"),
        ("below", "skipped"),
        ("default", "skipped"),
        ("apart", "succeeded"),
    ];
    let told = |states: &[(&str, &str)]| {
        states
            .iter()
            .map(|(id, state)| (id.to_string(), state.to_string()))
            .collect::<BTreeMap<_, _>>()
    };
    assert_eq!(states(&outcome), told(&skip));
    assert_eq!(
        outcome["nodes"]["later"]["skipped"],
        json!({"why": "failure", "of": "bad"})
    );

    let outcome = soon(submit(&hive, &plan(OnFailure::Continue)).await.result())
        .await
        .unwrap();
    let go_on = [
        ("bad", "failed"),
        ("needs", "skipped"),
        ("follows", "succeeded"),
        ("later", "succeeded"),
        ("below", "skipped"),
        ("default", "succeeded"),
        ("apart", "succeeded"),
    ];
    assert_eq!(states(&outcome), told(&go_on));
    assert_eq!(
        outcome["nodes"]["below"]["skipped"],
        json!({"why": "no_output", "of": "needs"})
    );
    hive.shutdown().await.unwrap();
}

pub(super) async fn a_plan_that_fails_cancels_what_runs_and_comes_back_whole(home: Home) {
    let world = World::new();
    let hive = world.hive(&home).start().await.unwrap();
    let flaky = Node::new("bad", "agent:work")
        .input(json!({"id": "bad", "fails": 3}))
        .attempts(2)
        .after("first");
    let plan = Plan::new([node("first"), gated("slow"), flaky, of("last", &["bad", "slow"])]);
    let task = submit(&hive, &plan).await;
    let error = soon(task.result()).await.unwrap_err();
    assert_eq!(
        (error.code(), error.field("node"), error.field("plan")),
        ("agent-failed", Some("bad"), Some("all"))
    );
    let mut ended = tasks(&hive, "work").await;
    ended.sort_by_key(|state| format!("{state:?}"));
    assert_eq!(
        ended,
        [
            TaskState::Cancelled,
            TaskState::Failed,
            TaskState::Failed,
            TaskState::Succeeded
        ]
    );
    assert_eq!(world.starts().iter().filter(|id| *id == "bad").count(), 2);
    // Brought back, only what is missing is done, and a call that another stood for is not done again: the third start fails by its
    // own count, and there are no attempts left.
    world.gate.open();
    task.redrive().await.unwrap();
    soon(task.result()).await.unwrap_err();
    assert_eq!(world.starts().iter().filter(|id| *id == "bad").count(), 3);
    task.redrive().await.unwrap();
    let outcome = soon(task.result()).await.unwrap();
    assert!(states(&outcome).values().all(|state| state == "succeeded"));
    assert_eq!(world.starts().iter().filter(|id| *id == "first").count(), 1);
    assert_eq!(world.starts().iter().filter(|id| *id == "bad").count(), 4);
    hive.shutdown().await.unwrap();
}

pub(super) async fn conditions_decide_what_is_wanted(home: Home) {
    let world = World::new();
    let hive = world.hive(&home).start().await.unwrap();
    let plan = Plan::new([
        node("four"),
        node("yes").when(Condition::compare("four", "/score", Op::AtLeast, 4)),
        node("no").when(Condition::compare("four", "/score", Op::Greater, 4)),
        node("noted").when(Condition::exists("four", "/note")),
        of("of-no", &["no"]),
        node("after-no").after("no"),
        node("both")
            .when(Condition::compare("four", "/id", Op::Contains, "ou"))
            .when(Condition::compare("four", "/id", Op::Equals, "five")),
    ]);
    let outcome = soon(submit(&hive, &plan).await.result()).await.unwrap();
    let told = states(&outcome);
    let of = |state: &str| {
        told.iter()
            .filter(|(_, one)| *one == state)
            .map(|(id, _)| id.as_str())
            .collect::<Vec<_>>()
    };
    assert_eq!(of("succeeded"), ["after-no", "four", "yes"]);
    assert_eq!(of("skipped"), ["both", "no", "noted", "of-no"]);
    assert_eq!(
        outcome["nodes"]["no"]["skipped"],
        json!({"why": "condition", "on": "four"})
    );
    assert_eq!(tasks(&hive, "work").await.len(), 3);
    hive.shutdown().await.unwrap();
}

pub(super) async fn no_more_nodes_run_at_once_than_may(home: Home) {
    let world = World::new();
    let hive = home
        .hive()
        .agent(world.worker("work"))
        .agent(boss(2))
        .start()
        .await
        .unwrap();
    let plan = Plan::new((0..9).map(|n| node(&format!("n{n}"))));
    soon(submit(&hive, &plan).await.result()).await.unwrap();
    assert!(world.most.load(Ordering::SeqCst) <= 2);
    // And where there is one worker in all, the plan does not keep it.
    hive.shutdown().await.unwrap();
    let hive = reopened(|| world.hive(&home).concurrency(1)).await;
    let plan = Plan::new([node("a"), of("b", &["a"]), of("c", &["a", "b"])]);
    let outcome = soon(submit(&hive, &plan).await.result()).await.unwrap();
    assert!(states(&outcome).values().all(|state| state == "succeeded"));
    hive.shutdown().await.unwrap();
}

pub(super) async fn a_reference_that_leads_nowhere_is_the_nodes_failure(home: Home) {
    let world = World::new();
    let hive = world.hive(&home).start().await.unwrap();
    // The type says that there may be a note, and there is none: null is no text.
    let input = json!({"id": {"$from": "a", "path": "/note"}});
    let bad = Node::new("bad", "agent:work")
        .input(input)
        .on_failure(OnFailure::Continue);
    let plan = Plan::new([node("a"), bad, node("c").after("bad")]);
    let outcome = soon(submit(&hive, &plan).await.result()).await.unwrap();
    assert_eq!(states(&outcome)["bad"], "failed");
    assert_eq!(outcome["nodes"]["bad"]["failure"]["kind"], "invalid-input");
    assert_eq!(states(&outcome)["c"], "succeeded");
    // Where it says nothing else, the plan fails with it.
    let input = json!({"id": {"$from": "a", "path": "/note"}});
    let plan = Plan::new([node("a"), Node::new("bad", "agent:work").input(input)]);
    let error = soon(submit(&hive, &plan).await.result()).await.unwrap_err();
    assert_eq!((error.code(), error.field("node")), ("invalid-input", Some("bad")));
    hive.shutdown().await.unwrap();
}

pub(super) async fn a_plan_that_cannot_be_carried_out_starts_nothing(home: Home) {
    let world = World::new();
    let hive = world.hive(&home).start().await.unwrap();
    let plan = Plan::new([
        node("a"),
        Node::new("b", "agent:wrok").input(json!({"id": {"$from": "a", "path": "/score"}})),
    ]);
    let error = soon(submit(&hive, &plan).await.result()).await.unwrap_err();
    assert_eq!((error.code(), error.field("findings")), ("invalid-input", Some("1")));
    let chain = std::error::Error::source(&error).unwrap().to_string();
    assert!(chain.contains("did you mean `agent:work`?"), "{chain}");
    assert!(tasks(&hive, "work").await.is_empty());
    hive.shutdown().await.unwrap();
}

/// An agent that plans, and plans anew when something fails.
fn reviser(
    asked: &Ledger,
    name: &'static str,
    when: Revise,
    first: Plan,
    then: impl Fn(usize) -> Option<Plan> + Send + Sync + 'static,
) -> AnyAgent {
    let (asked, then) = (asked.clone(), Arc::new(then));
    agent_fn(name, move |cx: Context, _: ()| {
        let (asked, then, first) = (asked.clone(), Arc::clone(&then), first.clone());
        async move {
            let revise = |_: Context, progress: hive_orchestration::plan::Progress| {
                let refused = progress.refused.as_ref().map_or("", |_| " again");
                let times = asked.add(format!("{}{refused}", progress.ended.join(",")));
                let next = then(times);
                async move { Ok(next) }
            };
            let outcome = cx.plan("all", first).revise(when, revise).await?;
            Ok::<_, Failure>(serde_json::to_value(outcome)?)
        }
    })
}

pub(super) async fn a_failed_node_is_replaced_and_the_revision_is_asked_for_once(home: Home) {
    let (world, asked) = (World::new(), Ledger::default());
    let first = Plan::new([
        node("a"),
        failing("bad"),
        of("last", &["a", "bad"]),
        node("gone").after("bad"),
    ]);
    let better = Plan::new([
        node("a"),
        gated("bad"),
        of("last", &["a", "bad"]),
        of("more", &["last"]),
    ]);
    let open = || {
        let better = better.clone();
        let reviser = reviser(&asked, "planner", Revise::OnFailure, first.clone(), move |_| {
            Some(better.clone())
        });
        home.hive().agent(world.worker("work")).agent(reviser)
    };
    let hive = open().start().await.unwrap();
    let id = hive.submit_named("planner", &()).await.unwrap().id();
    // The node under the same id is another one now, and runs.
    soon(async {
        while world.starts().iter().filter(|id| *id == "bad").count() < 2 {
            tokio::task::yield_now().await;
        }
    })
    .await;
    crash(hive).await;
    world.gate.open();
    let hive = reopened(open).await;
    let outcome = soon(hive.task::<Value>(id).result()).await.unwrap();
    assert_eq!(asked.lines(), ["bad"]);
    assert_eq!(outcome["revisions"], 1);
    let told: Vec<(String, String)> = states(&outcome).into_iter().collect();
    let all = ["a", "bad", "last", "more"].map(|id| (id.to_owned(), "succeeded".to_owned()));
    assert_eq!(told, all);
    assert!(!world.starts().contains(&"gone".to_owned()));
    hive.shutdown().await.unwrap();
}

pub(super) async fn a_revision_that_cannot_be_is_asked_for_again(home: Home) {
    let (world, asked) = (World::new(), Ledger::default());
    let first = Plan::new([node("a"), of("b", &["a"])]);
    // Changes what has started; then what has not.
    let then = |times| match times {
        1 => Some(Plan::new([node("a").attempts(3), of("b", &["a"])])),
        2 => Some(Plan::new([of("b", &["b2"]), node("b2")])),
        3 => Some(Plan::new([node("a"), of("b", &["b2"]), node("b2")])),
        _ => None,
    };
    let hive = home.hive().agent(world.worker("work"));
    let hive = hive.agent(reviser(&asked, "planner", Revise::Always, first.clone(), then));
    let stubborn = move |_| Some(Plan::new([node("x")]));
    let hive = hive
        .agent(reviser(&asked, "stubborn", Revise::Always, first, stubborn))
        .start()
        .await
        .unwrap();
    let task = hive.submit_named("planner", &()).await.unwrap();
    let outcome = soon(task.result()).await.unwrap();
    assert_eq!(asked.lines(), ["a", "a again", "a again", "b2", "b"]);
    assert!(states(&outcome).values().all(|state| state == "succeeded"));
    assert_eq!(world.starts(), ["a", "b2", "b"]);

    let error = soon(hive.submit_named("stubborn", &()).await.unwrap().result())
        .await
        .unwrap_err();
    let why = std::error::Error::source(&error).unwrap().to_string();
    assert!(why.contains("`a` has started and cannot be left out"), "{why}");
    assert_eq!(asked.count(), 5 + limits::PLAN_REPAIRS as usize);
    hive.shutdown().await.unwrap();
}

pub(super) async fn a_capability_is_given_to_whoever_can_when_the_node_starts(home: Home) {
    let world = World::new();
    let able = || world.worker("able").with_capability("text.work");
    let open = || world.hive(&home).drain(Duration::ZERO);
    let hive = open().agent(able()).start().await.unwrap();
    let plan = Plan::new([
        gated("a"),
        Node::new("b", "capability:text.work").input(json!({"id": "b", "from": [{"$from": "a"}]})),
    ]);
    let id = submit(&hive, &plan).await.id();
    world.ledger.seen("start a").await;
    hive.shutdown().await.unwrap();
    world.gate.open();
    // Whoever can do it was here, and is not now: it is waited for.
    let hive = reopened(open).await;
    soon(async {
        loop {
            let status = hive.task::<Value>(id).status().await.unwrap();
            if status
                .waiting_for
                .iter()
                .any(|wait| matches!(wait, WaitingFor::Timer { .. }))
            {
                return;
            }
            tokio::task::yield_now().await;
        }
    })
    .await;
    hive.shutdown().await.unwrap();
    let hive = reopened(|| open().agent(able())).await;
    let outcome = soon(hive.task::<Value>(id).result()).await.unwrap();
    assert_eq!(outcome["nodes"]["b"]["agent"], "able");
    let child: TaskId = serde_json::from_value(outcome["nodes"]["b"]["task"].clone()).unwrap();
    let events = hive
        .bus()
        .history(bus::Query::new().event_type("agent.routed"))
        .await
        .unwrap();
    assert_eq!(events.events.len(), 1);
    assert!(String::from_utf8_lossy(events.events[0].data().as_bytes()).contains(&child.to_string()));
    hive.shutdown().await.unwrap();
}

/// A model writes a plan, is told what is wrong with it, and mends it.
pub(super) async fn a_model_mends_its_plan(home: Home) {
    let world = World::new();
    let wrong = json!({"nodes": [{"id": "a", "target": "agent:worker", "input": {"id": "a"}}]});
    let right = json!({"nodes": [{"id": "a", "target": "agent:work", "input": {"id": "a"}}]});
    let model = Scripted::new()
        .on_json("no agent is called `worker`; did you mean `agent:work`?", right)
        .on_json("clean the house", wrong);
    let planner = agent_fn("planner", async |cx: Context, goal: String| {
        let catalogue = cx.catalogue().await?;
        let plan = cx
            .step("plan", async || {
                let mut prompt = format!("Write a plan to {goal} with these agents:\n{catalogue}");
                let mut refused: Option<Findings> = None;
                for _ in 0..3 {
                    let plan: Plan = cx.model().extract(&prompt).await?;
                    match plan.check(&catalogue) {
                        Ok(()) => return Ok(plan),
                        Err(findings) => {
                            assert!(findings.has(Code::UnknownAgent));
                            prompt = format!("{findings}\nMend your plan:\n{}", serde_json::to_string(&plan)?);
                            refused = Some(findings);
                        }
                    }
                }
                Err(Failure::from(hive_orchestration::Error::from(refused.unwrap())))
            })
            .await?;
        cx.plan("all", plan).await?.get::<Done>("a")
    });
    let hive = home
        .hive()
        .agent(world.worker("work"))
        .agent(planner)
        .model(model)
        .start()
        .await
        .unwrap();
    let task = hive.submit_named("planner", &"clean the house").await.unwrap();
    assert_eq!(soon(task.result()).await.unwrap()["id"], "a");
    hive.shutdown().await.unwrap();
}

pub(super) async fn who_waits_for_a_plan_is_parked(home: Home) {
    let world = World::new();
    let hive = world.hive(&home).start().await.unwrap();
    let task = submit(&hive, &Plan::new([gated("a"), gated("b"), of("c", &["a", "b"])])).await;
    let status = until(&task, TaskState::Waiting).await;
    let remaining = status.waiting_for.iter().map(|wait| {
        let WaitingFor::Children { remaining } = wait else {
            panic!("{wait:?}")
        };
        *remaining
    });
    assert_eq!(remaining.sum::<u64>(), 2);
    world.gate.open();
    let outcome: Value = soon(task.result()).await.unwrap();
    assert_eq!(states(&outcome).len(), 3);
    let _: State = serde_json::from_value(outcome["nodes"]["c"]["state"].clone()).unwrap();
    let none: Option<Skipped> = serde_json::from_value(outcome["nodes"]["c"]["skipped"].clone()).unwrap();
    assert_eq!(none, None);
    hive.shutdown().await.unwrap();
}
