//! What agents keep: written once, read the same again, never lost to one another.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use hive_orchestration::builders::AnyAgent;
use hive_orchestration::core::clock::{ManualClock, SystemClock, Timestamp};
use hive_orchestration::core::id::TaskId;
use hive_orchestration::errors::ErrorKind;
use hive_orchestration::memory::{Memory, Scope};
use hive_orchestration::task::TaskState;
use hive_orchestration::{Agent, Call, Context, Failure, Hive, Signal, agent_fn};

use crate::kit::{Home, Ledger, crash, reopened, soon, until};

const GO: Signal<()> = Signal::new("go");

/// Stops for ever behind the commit with this number, the first time.
#[derive(Clone, Debug)]
struct Fuse {
    at: usize,
    passed: Arc<AtomicUsize>,
    ledger: Ledger,
}

impl Fuse {
    fn new(at: usize) -> Self {
        Self {
            at,
            passed: Arc::default(),
            ledger: Ledger::default(),
        }
    }

    async fn pass(&self) {
        if self.passed.fetch_add(1, Ordering::SeqCst) == self.at {
            self.ledger.add("blown");
            std::future::pending::<()>().await;
        }
    }
}

/// How many commits the agent below makes.
const COMMITS: usize = 8;

/// Does everything that can be done to a memory, and tells what it saw.
fn keeper(fuse: &Fuse) -> AnyAgent {
    let fuse = fuse.clone();
    agent_fn("keeper", move |cx: Context, _: ()| {
        let fuse = fuse.clone();
        async move {
            let memory = cx.memory(Scope::Agent);
            let first = memory.put("first", &"a").await?;
            fuse.pass().await;
            let runs = memory.update("runs", |runs: Option<u32>| runs.unwrap_or(0) + 1).await?;
            fuse.pass().await;
            let read = memory.get::<String>("first").await?.map(|read| read.value);
            fuse.pass().await;
            let second = memory.put_if("first", first, &"b").await?;
            fuse.pass().await;
            let refused = memory.put_if("first", first, &"c").await.unwrap_err();
            assert_eq!(refused.kind(), ErrorKind::Conflict);
            fuse.pass().await;
            let deleted = memory.delete("first").await?;
            fuse.pass().await;
            let listed = memory.list("", None).await?.entries.len();
            fuse.pass().await;
            let own = cx.memory(Scope::Run).memory();
            let told = cx
                .transaction("both", move |tx| {
                    own.update(tx, "told", |told: Option<u32>| told.unwrap_or(0) + 1)
                })
                .await?;
            fuse.pass().await;
            Ok::<_, Failure>((runs.value, read, first < second, deleted, listed, told.value))
        }
    })
}

pub(super) async fn what_is_written_is_written_once_wherever_the_process_dies(home: Home) {
    for at in 0..=COMMITS {
        let fuse = Fuse::new(at);
        let open = || home.hive().agent(keeper(&fuse));
        let hive = reopened(open).await;
        let before = hive
            .memory(Memory::agent("default", "keeper"))
            .get::<u32>("runs")
            .await
            .unwrap();
        let id = hive.submit_named("keeper", &()).await.unwrap().id();
        let hive = if at < COMMITS {
            fuse.ledger.seen("blown").await;
            crash(hive).await;
            reopened(open).await
        } else {
            hive
        };
        type Seen = (u32, Option<String>, bool, bool, usize, u32);
        let seen = soon(hive.task::<Seen>(id).result()).await.unwrap();
        let runs = before.as_ref().map_or(0, |before| before.value) + 1;
        assert_eq!(seen, (runs, Some("a".to_owned()), true, true, 1, 1), "{at}");
        let after = hive
            .memory(Memory::agent("default", "keeper"))
            .get::<u32>("runs")
            .await
            .unwrap()
            .unwrap();
        assert_eq!(after.value, runs, "{at}");
        assert!(before.is_none_or(|before| before.version < after.version));
        let own = hive.memory(Memory::run(id)).get::<u32>("told").await.unwrap().unwrap();
        assert_eq!((own.value, own.version), (1, 1));
        hive.shutdown().await.unwrap();
    }
}

fn counter() -> AnyAgent {
    agent_fn("counter", async |cx: Context, times: u32| {
        let mut versions = Vec::new();
        for _ in 0..times {
            let own = cx
                .memory(Scope::Tenant)
                .update("n", |n: Option<u64>| n.unwrap_or(0) + 1)
                .await?;
            versions.push((own.version, own.value));
        }
        Ok::<_, Failure>(versions)
    })
}

/// Two hives where the database allows it, and somebody beside.
pub(super) async fn no_update_is_lost(home: Home) {
    let hive = home.hive().agent(counter()).start().await.unwrap();
    let other = if home.is_shared() {
        home.hive().agent(counter()).start().await.unwrap()
    } else {
        hive.clone()
    };
    const TASKS: usize = 8;
    const TIMES: u32 = 6;
    let mut tasks = Vec::new();
    for n in 0..TASKS {
        let hive = if n % 2 == 0 { &hive } else { &other };
        tasks.push(hive.submit_named("counter", &TIMES).await.unwrap());
    }
    let mut operators = tokio::task::JoinSet::new();
    for n in 0..TASKS {
        let memory = if n % 2 == 0 { &hive } else { &other }.memory(Memory::tenant("default"));
        operators.spawn(async move {
            let mut own = Vec::new();
            for _ in 0..TIMES {
                let now = memory.update("n", |n: Option<u64>| n.unwrap_or(0) + 1).await.unwrap();
                own.push((now.version, now.value));
            }
            own
        });
    }
    let mut seen = BTreeSet::new();
    let mut count = 0;
    for own in soon(operators.join_all()).await {
        assert!(own.is_sorted());
        count += own.len();
        seen.extend(own);
    }
    for task in tasks {
        let own: Vec<(u64, u64)> = serde_json::from_value(soon(task.result()).await.unwrap()).unwrap();
        assert!(own.is_sorted(), "versions grow");
        count += own.len();
        seen.extend(own);
    }
    // Each change has a version and a value of its own, and both grow together.
    assert_eq!(seen.len(), count);
    let values: Vec<u64> = seen.iter().map(|(_, value)| *value).collect();
    assert_eq!(values, (1..=count as u64).collect::<Vec<_>>());
    if home.is_shared() {
        other.shutdown().await.unwrap();
    }
    hive.shutdown().await.unwrap();
}

fn reader() -> AnyAgent {
    agent_fn("reader", async |cx: Context, _: ()| {
        let memory = cx.memory(Scope::Tenant);
        let price = memory.get::<u32>("price").await?;
        let listed = memory.list("p", None).await?.entries.len();
        let refused = memory.put_if("price", 99, &0).await.is_err();
        cx.wait(GO).await?;
        let now = memory.look::<u32>("price").await?;
        let again = memory.get::<u32>("price").await?;
        Ok::<_, Failure>((
            price.map(|price| price.value),
            listed,
            refused,
            now.map(|now| now.value),
            again.map(|again| again.value),
        ))
    })
}

pub(super) async fn what_was_read_stays_read(home: Home) {
    let open = || home.hive().agent(reader());
    let hive = open().start().await.unwrap();
    hive.memory(Memory::tenant("default")).put("price", &1).await.unwrap();
    let task = hive.submit_named("reader", &()).await.unwrap();
    let id = task.id();
    until(&task, TaskState::Waiting).await;
    crash(hive).await;

    let hive = reopened(open).await;
    let memory = hive.memory(Memory::tenant("default"));
    // Until its version is the one that the run had expected in vain.
    while memory.put("price", &2).await.unwrap() < 99 {}
    memory.put("pound", &1).await.unwrap();
    hive.task::<()>(id).signal(&GO, &()).await.unwrap();
    type Seen = (Option<u32>, usize, bool, Option<u32>, Option<u32>);
    let seen = soon(hive.task::<Seen>(id).result()).await.unwrap();
    assert_eq!(seen, (Some(1), 1, true, Some(2), Some(2)));
    hive.shutdown().await.unwrap();
}

pub(super) async fn what_a_transaction_undoes_was_never_kept(home: Home) {
    let agent = agent_fn("undoer", async |cx: Context, _: ()| {
        let memory = cx.memory(Scope::Agent).memory();
        let own = memory.clone();
        let failed = cx
            .transaction("fails", move |tx| {
                own.put(tx, "a", &1)?;
                own.put_if(tx, "a", 7, &2)
            })
            .await
            .unwrap_err();
        let own = memory.clone();
        // A conflict that is dealt with dooms nothing.
        let kept = cx
            .transaction("deals", move |tx| {
                let first = own.put(tx, "b", &1)?;
                assert_eq!(
                    own.put_if(tx, "b", 0, &2).unwrap_err().field("version"),
                    Some(&*first.to_string())
                );
                own.put_if(tx, "b", first, &3)
            })
            .await?;
        let now = cx.memory(Scope::Agent).list("", None).await?;
        let keys: Vec<String> = now.entries.into_iter().map(|entry| entry.key).collect();
        Ok::<_, Failure>((failed.kind().code().to_owned(), kept, keys))
    });
    let hive = home.hive().agent(agent).start().await.unwrap();
    let seen = soon(hive.submit_named("undoer", &()).await.unwrap().result())
        .await
        .unwrap();
    assert_eq!(seen[0], "conflict");
    assert_eq!(seen[2], serde_json::json!(["b"]));
    hive.shutdown().await.unwrap();
}

fn noter() -> AnyAgent {
    agent_fn("noter", async |cx: Context, text: String| {
        let mut before = Vec::new();
        for scope in [Scope::Agent, Scope::Tenant, Scope::Run] {
            let memory = cx.memory(scope);
            before.push(memory.get::<String>("note").await?.map(|note| note.value));
            memory.put("note", &text).await?;
        }
        Ok::<_, Failure>(before)
    })
}

pub(super) async fn tenants_do_not_see_each_other(home: Home) {
    let other = agent_fn("other", async |cx: Context, _: ()| {
        let agent = cx.memory(Scope::Agent).get::<String>("note").await?;
        let tenant = cx.memory(Scope::Tenant).get::<String>("note").await?;
        Ok::<_, Failure>((agent.map(|note| note.value), tenant.map(|note| note.value)))
    });
    let hive = home.hive().agent(noter()).agent(other).start().await.unwrap();
    let note = async |tenant: &str| {
        let task = hive.submit_named("noter", &tenant).tenant(tenant).await.unwrap();
        soon(task.result()).await.unwrap()
    };
    let none = serde_json::json!([null, null, null]);
    assert_eq!(note("a").await, none);
    assert_eq!(note("b").await, none);
    // The next run of the same tenant sees what is the agent's and the tenant's, and not what was the run's.
    assert_eq!(note("a").await, serde_json::json!(["a", "a", null]));
    let task = hive.submit_named("other", &()).tenant("b").await.unwrap();
    assert_eq!(soon(task.result()).await.unwrap(), serde_json::json!([null, "b"]));
    let seen = hive
        .memory(Memory::agent("b", "noter"))
        .get::<String>("note")
        .await
        .unwrap();
    assert_eq!(seen.unwrap().value, "b");
    hive.shutdown().await.unwrap();
}

async fn rows(hive: &Hive) -> (u64, u64) {
    hive.db()
        .read(|db| {
            let count = |sql| db.query_one(sql, &[], |row| row.get::<u64>(0));
            Ok((
                count("SELECT count(*) FROM memory")?,
                count("SELECT count(*) FROM memory_entry")?,
            ))
        })
        .await
        .unwrap()
}

struct Leaf;

impl Agent for Leaf {
    const NAME: &'static str = "leaf";
    type Input = u32;
    type Output = TaskId;

    async fn run(&self, cx: &Context, n: u32) -> Result<TaskId, Failure> {
        for k in 0..n {
            cx.memory(Scope::Run).put(&format!("{k}"), &k).await?;
        }
        Ok(cx.task_id())
    }
}

pub(super) async fn the_memory_of_a_run_is_forgotten_with_it(home: Home) {
    let root = agent_fn("root", async |cx: Context, n: u32| {
        cx.memory(Scope::Agent).put("kept", &n).await?;
        let child: TaskId = cx.call("leaf", Call::<Leaf>::new(n)).await?;
        let seen = cx.memory(Scope::Run).list("", None).await?.entries.len();
        Ok::<_, Failure>((child, seen))
    });
    let hive = home.hive().agent(Leaf).agent(root).start().await.unwrap();
    let (mut roots, mut child) = (Vec::new(), None);
    for n in [3, 20] {
        let task = hive.submit_named("root", &n).await.unwrap();
        let (below, seen): (TaskId, u32) = serde_json::from_value(soon(task.result()).await.unwrap()).unwrap();
        assert_eq!(seen, n);
        roots.push(task.id());
        child = Some(below);
    }
    hive.memory(Memory::tenant("default").expiring(Duration::from_millis(1)))
        .put("brief", &1)
        .await
        .unwrap();
    assert_eq!(rows(&hive).await, (4, 25));
    // A child's memory is its root's.
    let refused = hive.memory(Memory::run(child.unwrap())).put("a", &1).await.unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::InvalidInput);
    soon(async {
        while rows(&hive).await != (2, 1) {
            hive.forget(Duration::ZERO).await.unwrap();
        }
    })
    .await;
    for root in roots {
        let memory = hive.memory(Memory::run(root));
        assert!(memory.get::<u32>("0").await.unwrap().is_none());
        assert_eq!(memory.put("0", &1).await.unwrap_err().kind(), ErrorKind::NotFound);
    }
    assert_eq!(
        hive.memory(Memory::agent("default", "root"))
            .get::<u32>("kept")
            .await
            .unwrap()
            .unwrap()
            .value,
        20
    );
    assert_eq!(rows(&hive).await, (2, 1));
    hive.shutdown().await.unwrap();
}

/// By the hive's own clock where time is the process's, by the server's where it is that.
pub(super) async fn what_has_a_time_to_live_is_gone_after_it(home: Home) {
    let clock = Arc::new(ManualClock::new(Timestamp::EPOCH + Duration::from_secs(1_000)));
    let hive = if home.is_shared() {
        home.hive().clock(Arc::new(SystemClock)).start().await.unwrap()
    } else {
        home.hive().clock(clock.clone()).start().await.unwrap()
    };
    let memory = Memory::tenant("default");
    let brief = hive.memory(memory.clone().expiring(Duration::from_millis(300)));
    let lasting = hive.memory(memory.clone());
    let first = brief.put("a", &1).await.unwrap();
    brief.put("b", &1).await.unwrap();
    lasting.put("c", &1).await.unwrap();
    // Written again without one, it stays.
    lasting.put("b", &2).await.unwrap();
    if !home.is_shared() {
        assert_eq!(lasting.list("", None).await.unwrap().entries.len(), 3);
        clock.advance(Duration::from_millis(299));
        assert!(lasting.get::<u32>("a").await.unwrap().is_some());
        clock.advance(Duration::from_millis(1));
        assert!(lasting.get::<u32>("a").await.unwrap().is_none());
    }
    soon(async { while lasting.get::<u32>("a").await.unwrap().is_some() {} }).await;
    let keys: Vec<String> = lasting
        .list("", None)
        .await
        .unwrap()
        .entries
        .into_iter()
        .map(|entry| entry.key)
        .collect();
    assert_eq!(keys, ["b", "c"]);
    // It is gone for whoever expects it, and its version never comes again.
    assert_eq!(
        lasting.put_if("a", first, &2).await.unwrap_err().field("version"),
        Some("0")
    );
    let seen = lasting
        .update("a", |old: Option<u32>| old.map_or(10, |old| old + 1))
        .await
        .unwrap();
    assert_eq!(seen.value, 10);
    assert!(seen.version > first && !lasting.delete("x").await.unwrap());
    hive.shutdown().await.unwrap();
}
