//! Who is there, and who gets a task that is not meant for one agent by name.

use std::collections::BTreeMap;
use std::error::Error as _;
use std::time::Duration;

use hive_orchestration::builders::AnyAgent;
use hive_orchestration::bus::{Event, Pattern, Query as Past};
use hive_orchestration::core::db::Tx;
use hive_orchestration::errors::ErrorKind;
use hive_orchestration::registry::{Capability, Query, Status};
use hive_orchestration::router::{Ask, Candidate, Fallback, NoRoute, Rank, Request, Router, Stage, Strategy, Target};
use hive_orchestration::task::{Scope, TaskState};
use hive_orchestration::{Context, Error, Failure, Hive, Result, agent_fn, limits};

use crate::kit::{Gate, Home, reopened, soon, until};

const WORK: Capability = Capability::new("work");

/// Says who it is, and what it was given.
fn worker(name: &'static str) -> AnyAgent {
    let work = move |_cx: Context, text: String| async move { Ok::<_, Failure>(format!("{name}: {text}")) };
    agent_fn(name, work).with_capability("work")
}

fn waiter(name: &'static str, gate: &Gate) -> AnyAgent {
    let gate = gate.clone();
    let work = move |_cx: Context, _: String| {
        let gate = gate.clone();
        async move {
            gate.passed().await;
            Ok::<_, Failure>(name.to_owned())
        }
    };
    agent_fn(name, work).with_capability("work")
}

async fn events(hive: &Hive, pattern: &'static str) -> Vec<Event> {
    let query = Past::new().topics(Pattern::new(pattern).unwrap());
    hive.bus().history(query).await.unwrap().events
}

async fn tasks(hive: &Hive) -> u64 {
    hive.counts(None).await.unwrap().iter().map(|(_, count)| count).sum()
}

fn no_route(error: &Error) -> &NoRoute {
    error.source().unwrap().downcast_ref().unwrap()
}

pub(super) async fn a_task_goes_to_whoever_can_do_it_and_the_reasons_stand_beside_it(home: Home) {
    let other = agent_fn("other", async |_cx: Context, text: String| Ok::<_, Failure>(text));
    let hive = home.hive().agent(worker("worker")).agent(other).start().await.unwrap();
    let task = hive.submit_to(WORK, &"a").correlation("undertaking").await.unwrap();
    assert_eq!(soon(task.result()).await.unwrap(), "worker: a");
    assert_eq!(task.status().await.unwrap().agent, "worker");

    let told = events(&hive, "agent.routed.>").await;
    assert_eq!(told.len(), 1);
    let submitted = events(&hive, "task.submitted.>").await.remove(0);
    let data: serde_json::Value = told[0].data().decode().unwrap();
    assert_eq!(data["task"], task.id().to_string());
    assert_eq!(
        (&data["target"], &data["strategy"]),
        (&"capability:work".into(), &"least-loaded".into())
    );
    let why: Vec<&str> = data["candidates"]
        .as_array()
        .unwrap()
        .iter()
        .map(|one| one["why"].as_str().unwrap())
        .collect();
    assert_eq!(why.len(), 2);
    assert!(
        why[0].starts_with("has 0 tasks for ") && why[1] == "cannot do it",
        "{why:?}"
    );
    assert_eq!(told[0].correlation(), Some("undertaking"));
    // In the same commit, right behind it.
    let all = events(&hive, ">").await;
    let place = all.iter().position(|event| event.id() == submitted.id()).unwrap();
    assert_eq!(all[place + 1].id(), told[0].id());
    hive.shutdown().await.unwrap();
}

pub(super) async fn when_nobody_can_have_a_task_nothing_is_written(home: Home) {
    let hive = home.hive().agent(worker("worker")).start().await.unwrap();
    let error = hive.submit_to(Capability::new("wrok"), &"a").await.unwrap_err();
    assert_eq!(
        (error.kind(), error.hint()),
        (ErrorKind::UnknownAgent, "did you mean `work`?")
    );
    assert!(!error.is_retryable());
    assert_eq!(no_route(&error).reasons.len(), 1);
    let newer = Target::Version("worker".into(), ">=2".parse().unwrap());
    assert!(hive.submit_to(newer, &"a").await.is_err());
    assert!(
        hive.submit_to(Request::new(WORK).exclude("worker"), &"a")
            .await
            .is_err()
    );
    // The type of whoever is chosen counts.
    let error = hive.submit_to(WORK, &7).await.unwrap_err();
    assert_eq!(
        (error.kind(), error.field("agent")),
        (ErrorKind::InvalidInput, Some("worker"))
    );
    // At most one of an agent cannot be promised when the agent is not known.
    let error = hive.submit_to(WORK, &"a").single("key").await.unwrap_err();
    assert_eq!(
        (error.kind(), error.field("field")),
        (ErrorKind::InvalidInput, Some("single"))
    );
    assert_eq!(tasks(&hive).await, 0);
    assert_eq!(events(&hive, "agent.routed.>").await.len(), 0);
    hive.shutdown().await.unwrap();
}

pub(super) async fn an_idempotency_key_holds_whoever_is_chosen(home: Home) {
    let agents = || ["a", "b", "c"].map(worker);
    let open = || {
        agents()
            .into_iter()
            .fold(home.hive(), |hive, agent| hive.agent(agent))
            .router(Strategy::RoundRobin)
    };
    let hive = open().start().await.unwrap();
    let first = hive.submit_to(WORK, &"x").idempotency_key("once").await.unwrap();
    for _ in 0..5 {
        let again = hive.submit_to(WORK, &"x").idempotency_key("once").await.unwrap();
        assert_eq!(again.id(), first.id());
    }
    let error = hive.submit_to(WORK, &"y").idempotency_key("once").await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Conflict);
    // Another tenant's and another target's are other keys.
    let others = hive
        .submit_to(WORK, &"x")
        .idempotency_key("once")
        .tenant("other")
        .await
        .unwrap();
    let named = hive
        .submit_to(Target::Agent("a".into()), &"x")
        .idempotency_key("once")
        .await
        .unwrap();
    assert_eq!(tasks(&hive).await, 3);
    for task in [&first, &others, &named] {
        soon(task.result()).await.unwrap();
    }
    assert_eq!(
        events(&hive, "agent.routed.>").await.len(),
        3,
        "one decision for each task"
    );
    // The key goes with the task.
    assert_eq!(hive.forget(Duration::ZERO).await.unwrap(), 3);
    let anew = hive.submit_to(WORK, &"y").idempotency_key("once").await.unwrap();
    assert_ne!(anew.id(), first.id());
    hive.shutdown().await.unwrap();
}

pub(super) async fn a_hundred_at_once_with_one_key_are_one_task(home: Home) {
    let hive = home
        .hive()
        .agent(worker("a"))
        .agent(worker("b"))
        .router(Strategy::Weighted)
        .start()
        .await
        .unwrap();
    let submits = (0..100).map(|_| {
        let hive = hive.clone();
        tokio::spawn(async move { hive.submit_to(WORK, &"x").idempotency_key("once").await.unwrap().id() })
    });
    let mut ids = Vec::new();
    for submit in submits.collect::<Vec<_>>() {
        ids.push(soon(submit).await.unwrap());
    }
    ids.dedup();
    assert_eq!((ids.len(), tasks(&hive).await), (1, 1));
    hive.shutdown().await.unwrap();
}

/// How many tasks each got.
async fn shares(hive: &Hive) -> BTreeMap<String, usize> {
    let mut shares = BTreeMap::new();
    for event in events(hive, "agent.routed.>").await {
        let data: serde_json::Value = event.data().decode().unwrap();
        *shares.entry(data["agent"].as_str().unwrap().to_owned()).or_default() += 1;
    }
    shares
}

pub(super) async fn what_is_submitted_between_two_heartbeats_is_shared_out(home: Home) {
    let gate = Gate::new();
    let agents = ["a", "b", "c"].map(|name| waiter(name, &gate));
    let hive = agents
        .into_iter()
        .fold(home.hive(), |hive, agent| hive.agent(agent))
        .start()
        .await
        .unwrap();
    // One by one and in a batch, with one among them that is named.
    let mut all = Vec::new();
    for _ in 0..15 {
        all.push(hive.submit_to(WORK, &"x").await.unwrap());
    }
    let batch = (0..12)
        .map(|_| hive.submit_to(WORK, &"x"))
        .chain([hive.submit_named("a", &"x")]);
    all.extend(hive.submit_all(batch).await.unwrap());
    let shares = shares(&hive).await;
    assert_eq!(shares.values().sum::<usize>(), 27);
    // A batch is decided by what was known before it, so what is shared out within it is left to chance.
    assert!(shares.values().all(|share| *share >= 5), "{shares:?}");
    gate.open();
    for task in &all {
        soon(task.result()).await.unwrap();
    }
    hive.shutdown().await.unwrap();
}

pub(super) async fn a_routed_task_of_a_transaction_that_is_rolled_back_never_was(home: Home) {
    let hive = home.hive().agent(worker("worker")).start().await.unwrap();
    let submit = hive.submit_to(WORK, &"x").idempotency_key("k");
    let rolled_back = hive
        .db()
        .write(move |tx: &mut Tx<'_>| {
            submit.within(tx)?;
            Err::<(), _>(Error::new(ErrorKind::Cancelled, "changed my mind"))
        })
        .await;
    assert_eq!(rolled_back.unwrap_err().kind(), ErrorKind::Cancelled);
    assert_eq!(
        (tasks(&hive).await, events(&hive, "agent.routed.>").await.len()),
        (0, 0)
    );
    let submit = hive.submit_to(WORK, &"x").idempotency_key("k");
    let id = hive.db().write(move |tx| submit.within(tx)).await.unwrap();
    assert_eq!(soon(hive.task::<String>(id).result()).await.unwrap(), "worker: x");
    hive.shutdown().await.unwrap();
}

pub(super) async fn an_agent_of_another_time_is_remembered(home: Home) {
    let hive = home
        .hive()
        .agent(worker("worker").with_version("1.4.0"))
        .start()
        .await
        .unwrap();
    let here = hive.discover(Query::new().capability(WORK)).await.unwrap();
    assert_eq!(
        (here.len(), here[0].status, here[0].version.to_string()),
        (1, Status::Online, "1.4.0".into())
    );
    hive.shutdown().await.unwrap();

    let other = agent_fn("other", async |_cx: Context, text: String| Ok::<_, Failure>(text));
    let hive = reopened(|| home.hive().agent(other.clone())).await;
    assert_eq!(hive.discover(Query::new().capability(WORK)).await.unwrap().len(), 0);
    let error = hive.submit_to(WORK, &"x").await.unwrap_err();
    assert!(error.is_retryable());
    assert_eq!(error.field("candidates"), Some("worker 1.4.0 is offline"));
    let told: Vec<String> = events(&hive, "agent.*.worker")
        .await
        .iter()
        .map(|event| event.event_type().to_owned())
        .collect();
    assert_eq!(
        told,
        ["agent.registered", "agent.online", "agent.draining", "agent.offline"]
    );
    hive.shutdown().await.unwrap();

    // Back again.
    let hive = reopened(|| home.hive().agent(worker("worker").with_version("1.5.0"))).await;
    let ranged = Target::Version("worker".into(), "^1.4".parse().unwrap());
    let task = hive.submit_to(ranged, &"x").await.unwrap();
    assert_eq!(soon(task.result()).await.unwrap(), "worker: x");
    hive.shutdown().await.unwrap();
}

pub(super) async fn what_agents_do_is_counted(home: Home) {
    let moody = agent_fn("moody", async |_cx: Context, good: bool| {
        if good {
            Ok(())
        } else {
            Err(Failure::retryable("not today"))
        }
    });
    let hive = home.hive().agent(moody).start().await.unwrap();
    soon(hive.submit_named("moody", &true).await.unwrap().result())
        .await
        .unwrap();
    let dies = hive.submit_named("moody", &false).await.unwrap();
    soon(dies.result()).await.unwrap_err();
    // Three attempts by default, and then the dead letters.
    let counted = soon(async {
        loop {
            let counted = hive.statistics("moody").await.unwrap();
            if counted.dead > 0 {
                return counted;
            }
            tokio::task::yield_now().await;
        }
    })
    .await;
    assert_eq!((counted.completed, counted.failed, counted.dead), (1, 3, 1));
    assert!(counted.run.is_some() && counted.wait.is_some());
    hive.shutdown().await.unwrap();
}

/// Whoever has the longest name.
#[derive(Debug)]
struct Longest;

impl Router for Longest {
    fn name(&self) -> String {
        "longest".to_owned()
    }

    fn rank(&self, _ask: &Ask<'_>, fit: &[&Candidate]) -> Result<Vec<Rank>> {
        let rank = |one: &&Candidate| Rank::score(one.agent.len() as f64, format!("has {} letters", one.agent.len()));
        Ok(fit.iter().map(rank).collect())
    }
}

pub(super) async fn routers_of_ones_own_and_chains(home: Home) {
    let hive = home
        .hive()
        .agent(worker("ab"))
        .agent(worker("abc"))
        .router(Longest)
        .start()
        .await
        .unwrap();
    assert_eq!(
        soon(hive.submit_to(WORK, &"x").await.unwrap().result()).await.unwrap(),
        "abc: x"
    );
    hive.shutdown().await.unwrap();

    let chain = || {
        Fallback::new([
            Stage::new(Strategy::Specialist(Box::new(Strategy::Affinity))),
            Stage::new(Strategy::LeastLoaded).to(Target::Agent("ab".into())),
        ])
    };
    let open = || {
        home.hive()
            .agent(worker("ab"))
            .agent(worker("abc").with_domain("law"))
            .router(chain())
    };
    let hive = reopened(open).await;
    let ask = |request: Request| async {
        soon(hive.submit_to(request, &"x").await.unwrap().result())
            .await
            .unwrap()
    };
    assert_eq!(ask(Request::new(WORK).domain("law").affinity("k")).await, "abc: x");
    assert_eq!(
        ask(Request::new(Capability::new("unheard")).domain("law").affinity("k")).await,
        "ab: x"
    );
    hive.shutdown().await.unwrap();
}

/// A task waits for its agent for a while, and then another gets it; what was named, and what has run, waits on.
pub(super) async fn a_task_whose_agent_stays_away_goes_to_another(home: Home) {
    let gate = Gate::new();
    let hive = home
        .hive()
        .agent(waiter("old", &gate))
        .concurrency(1)
        .drain(Duration::ZERO);
    let hive = hive.start().await.unwrap();
    let runs = hive.submit_to(WORK, &"runs").await.unwrap();
    until(&runs, TaskState::Running).await;
    let waits = hive.submit_to(WORK, &"waits").await.unwrap().id();
    let named = hive.submit_named("old", &"named").await.unwrap().id();
    let runs = runs.id();
    hive.shutdown().await.unwrap();

    let hive = reopened(|| home.hive().agent(worker("new"))).await;
    let (waits, named, runs) = (
        hive.task::<String>(waits),
        hive.task::<String>(named),
        hive.task::<String>(runs),
    );
    // As if the old agent had been away for as long as one waits for it.
    let patience = i64::try_from(limits::REROUTE_PATIENCE.as_micros()).unwrap();
    let sql = [
        "UPDATE agent SET heartbeat_at = heartbeat_at - ?1 WHERE name = 'old'",
        "UPDATE task SET run_at = run_at - ?1",
    ];
    for sql in sql {
        assert_eq!(waits.status().await.unwrap().agent, "old", "not before its time");
        hive.db().write(move |tx| tx.execute(sql, &[&patience])).await.unwrap();
    }
    assert_eq!(soon(waits.result()).await.unwrap(), "new: waits");
    for task in [&named, &runs] {
        let status = task.status().await.unwrap();
        assert_eq!((status.agent.as_str(), status.state), ("old", TaskState::Queued));
    }
    let told = events(&hive, "agent.routed.>").await;
    let last: serde_json::Value = told.last().unwrap().data().decode().unwrap();
    assert_eq!(
        (&last["task"], &last["agent"]),
        (&waits.id().to_string().into(), &"new".into())
    );
    hive.shutdown().await.unwrap();
}

/// While a release is rolled out, two versions of an agent are at work: each gets what is for it, and what is for neither waits.
#[cfg(feature = "postgres")]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_task_runs_on_a_version_that_it_is_for() {
    let home = Home::postgres();
    let worker = |version: &'static str| {
        let work = move |_cx: Context, _: usize| async move { Ok::<_, Failure>(version.to_owned()) };
        agent_fn("worker", work).with_version(version)
    };
    let old = home.hive().agent(worker("1.0.0")).start().await.unwrap();
    let new = home.hive().agent(worker("2.0.0")).start().await.unwrap();
    let range = |range: &str| Target::Version("worker".into(), range.parse().unwrap());
    let mut tasks = Vec::new();
    for nth in 0..60_usize {
        let (hive, wanted) = [(&old, "2.0.0"), (&new, "1.0.0"), (&new, "2.0.0")][nth % 3];
        let asked = [range("^2"), range("<2"), range(">=1.5, <3")][nth % 3].clone();
        tasks.push((hive.submit_to(asked, &nth).await.unwrap(), wanted));
    }
    for (task, wanted) in &tasks {
        assert_eq!(soon(task.result()).await.unwrap(), *wanted);
    }
    // Many that the one process must leave stand before one that it can have.
    old.pause(Scope::All).await.unwrap();
    let left = (0..600_usize).map(|nth| old.submit_to(range("^2"), &nth));
    old.submit_all(left).await.unwrap();
    new.shutdown().await.unwrap();
    let own = old.submit_to(range("^1"), &0_usize).await.unwrap();
    old.resume(Scope::All).await.unwrap();
    assert_eq!(soon(own.result()).await.unwrap(), "1.0.0");
    let counts = old.counts(None).await.unwrap();
    assert!(counts.contains(&(TaskState::Queued, 600)), "{counts:?}");
    old.shutdown().await.unwrap();
}

/// Two processes share the work on one server: one submits what only the other can do.
#[cfg(feature = "postgres")]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_task_goes_to_another_process() {
    let home = Home::postgres();
    let asks = home.hive().start().await.unwrap();
    assert!(asks.submit_to(WORK, &"x").await.is_err());
    let works = home.hive().agent(worker("worker")).start().await.unwrap();
    // At once: who finds nobody looks again.
    let task = asks.submit_to(WORK, &"x").await.unwrap();
    assert_eq!(soon(task.result()).await.unwrap(), "worker: x");

    // It dies without a word.
    crate::kit::crash(works).await;
    soon(async {
        while !asks.discover(Query::new().capability(WORK)).await.unwrap().is_empty() {
            tokio::task::yield_now().await;
        }
    })
    .await;
    let error = soon(async {
        loop {
            match asks.submit_to(WORK, &"x").await {
                Ok(_) => tokio::task::yield_now().await,
                Err(error) => return error,
            }
        }
    })
    .await;
    assert_eq!(error.field("candidates"), Some("worker 0.1.0 is offline"));
    asks.shutdown().await.unwrap();
}
