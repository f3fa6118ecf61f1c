//! How many runs go on at once: by process, by agent, by what the load needs; and what blocks a thread.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::mpsc;
use std::time::Duration;

use hive_orchestration::autoscale::Policy;
use hive_orchestration::builders::AnyAgent;
use hive_orchestration::bus::Query;
use hive_orchestration::bus::catalog::SystemScaled;
use hive_orchestration::core::db::Dialect;
use hive_orchestration::flow::{Limit, Subject};
use hive_orchestration::task::{Scope, TaskState};
use hive_orchestration::{Agent, Context, Failure, Hive, RetryPolicy, agent_fn, registry};

use crate::kit::{Gate, Home, Ledger, soon, until};

/// Counts who is at it, and how many were at most.
#[derive(Clone, Debug, Default)]
struct Crowd {
    now: Arc<AtomicUsize>,
    most: Arc<AtomicUsize>,
    ever: Arc<AtomicUsize>,
}

impl Crowd {
    fn enter(&self) -> Inside<'_> {
        let now = self.now.fetch_add(1, Ordering::SeqCst) + 1;
        self.most.fetch_max(now, Ordering::SeqCst);
        self.ever.fetch_add(1, Ordering::SeqCst);
        Inside(self)
    }

    fn now(&self) -> usize {
        self.now.load(Ordering::SeqCst)
    }

    fn most(&self) -> usize {
        self.most.load(Ordering::SeqCst)
    }

    fn ever(&self) -> usize {
        self.ever.load(Ordering::SeqCst)
    }
}

struct Inside<'a>(&'a Crowd);

impl Drop for Inside<'_> {
    fn drop(&mut self) {
        self.0.now.fetch_sub(1, Ordering::SeqCst);
    }
}

/// An agent that stays inside until the gate is open.
fn guest(name: &str, crowd: &Crowd, gate: &Gate) -> AnyAgent {
    let (crowd, gate) = (crowd.clone(), gate.clone());
    agent_fn(name, move |_: Context, number: u64| {
        let (crowd, gate) = (crowd.clone(), gate.clone());
        async move {
            let _inside = crowd.enter();
            gate.passed().await;
            Ok::<_, Failure>(number)
        }
    })
}

async fn wait_for(what: impl Fn() -> bool) {
    soon(async {
        while !what() {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    })
    .await;
}

/// Nothing else is to begin: gives it some rounds' worth of chances.
async fn a_while(hive: &Hive) {
    for _ in 0..20 {
        hive.db().read(|db| db.now()).await.unwrap();
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

pub(crate) async fn more_and_fewer_while_runs_are_under_way(home: Home) {
    let (crowd, gate) = (Crowd::default(), Gate::new());
    let hive = home
        .hive()
        .agent(guest("guest", &crowd, &gate))
        .concurrency(1)
        .start()
        .await
        .unwrap();
    let tasks = hive
        .submit_all((0..12).map(|n: u64| hive.submit_named("guest", &n)))
        .await
        .unwrap();
    wait_for(|| crowd.now() == 1).await;
    hive.set_concurrency(5).unwrap();
    wait_for(|| crowd.now() == 5).await;
    // Fewer than run: all of them may end, and none begins in their place until fewer run than are to.
    hive.set_concurrency(2).unwrap();
    a_while(&hive).await;
    assert_eq!((crowd.now(), crowd.ever(), hive.concurrency()), (5, 5, 2));
    let before = crowd.most();
    crowd.most.store(0, Ordering::SeqCst);
    gate.open();
    for (n, task) in tasks.into_iter().enumerate() {
        assert_eq!(soon(task.result()).await.unwrap(), n);
    }
    assert_eq!(before, 5);
    assert!((1..=5).contains(&crowd.most()), "{crowd:?}");
    assert_eq!(hive.set_concurrency(0).unwrap_err().code(), "invalid-input");
    hive.shutdown().await.unwrap();
}

pub(crate) async fn fewer_slots_hold_for_what_begins_afterwards(home: Home) {
    let (first, second, later, open) = (Crowd::default(), Crowd::default(), Gate::new(), Gate::new());
    let hive = home
        .hive()
        .agent(guest("first", &first, &open))
        .agent(guest("second", &second, &later))
        .concurrency(4)
        .start()
        .await
        .unwrap();
    let submit = async |name: &str, count: u64| {
        hive.submit_all((0..count).map(|n| hive.submit_named(name, &n)))
            .await
            .unwrap()
    };
    let mut tasks = submit("first", 4).await;
    wait_for(|| first.now() == 4).await;
    hive.set_concurrency(2).unwrap();
    tasks.extend(submit("second", 6).await);
    open.open();
    // The first have gone, and of the others no more than two have come.
    wait_for(|| first.now() == 0 && second.now() == 2).await;
    a_while(&hive).await;
    assert_eq!(second.now(), 2);
    later.open();
    for task in tasks {
        soon(task.result()).await.unwrap();
    }
    assert_eq!(second.most(), 2);
    hive.shutdown().await.unwrap();
}

pub(crate) async fn an_agent_with_a_limit_leaves_room_for_others(home: Home) {
    let (few, many, gate) = (Crowd::default(), Crowd::default(), Gate::new());
    let hive = home
        .hive()
        .agent(guest("few", &few, &gate).with_concurrency(2))
        .agent(guest("many", &many, &gate))
        .concurrency(6)
        .start()
        .await
        .unwrap();
    let submit = async |name: &str, count: u64| {
        hive.submit_all((0..count).map(|n| hive.submit_named(name, &n)))
            .await
            .unwrap()
    };
    let mut tasks = submit("few", 20).await;
    tasks.extend(submit("many", 20).await);
    wait_for(|| few.now() == 2 && many.now() == 4).await;
    a_while(&hive).await;
    assert_eq!((few.now(), many.now()), (2, 4));
    gate.open();
    for task in tasks {
        soon(task.result()).await.unwrap();
    }
    assert_eq!((few.most(), few.ever(), many.ever()), (2, 20, 20));
    hive.shutdown().await.unwrap();
}

/// Whoever waits gives its place away, and needs another when it goes on: of its agent, too.
pub(crate) async fn the_limit_of_an_agent_holds_for_those_that_come_back(home: Home) {
    let crowd = Crowd::default();
    let working = crowd.clone();
    let sleeper = agent_fn("sleeper", move |cx: Context, nap_ms: u64| {
        let crowd = working.clone();
        async move {
            for part in ["one", "two", "three"] {
                let crowd = &crowd;
                cx.step(part, async || {
                    let _inside = crowd.enter();
                    tokio::time::sleep(Duration::from_millis(3)).await;
                    Ok::<_, Failure>(())
                })
                .await?;
                cx.sleep(Duration::from_millis(nap_ms)).await?;
            }
            Ok::<_, Failure>(())
        }
    });
    let hive = home
        .hive()
        .agent(sleeper.with_concurrency(3))
        .concurrency(8)
        .start()
        .await
        .unwrap();
    // Some come back at once, some after they were parked.
    let tasks = hive
        .submit_all((0..24).map(|n: u64| hive.submit_named("sleeper", &(n % 12 * 10))))
        .await
        .unwrap();
    for task in tasks {
        soon(task.result()).await.unwrap();
    }
    assert_eq!((crowd.most(), crowd.ever()), (3, 72));
    hive.shutdown().await.unwrap();
}

struct Careful;

impl Agent for Careful {
    const NAME: &'static str = "careful";
    const CONCURRENCY: Option<usize> = Some(3);
    type Input = ();
    type Output = ();

    async fn run(&self, _: &Context, (): ()) -> Result<(), Failure> {
        Ok(())
    }
}

pub(crate) async fn others_are_told_how_many_runs_there_may_be(home: Home) {
    let (crowd, gate) = (Crowd::default(), Gate::new());
    let hive = home
        .hive()
        .agent(Careful)
        .agent(guest("guest", &crowd, &gate))
        .autoscale(Policy::between(0, 5).unwrap())
        .start()
        .await
        .unwrap();
    let told = async |agent: &str, most: u32| {
        soon(async {
            while hive.discover(registry::Query::new().agent(agent)).await.unwrap()[0].concurrency != most {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        })
        .await;
    };
    // None for now, and one as soon as there is something to do: the agent is not away.
    told("guest", 1).await;
    told("careful", 1).await;
    hive.set_concurrency(5).unwrap();
    told("guest", 5).await;
    told("careful", 3).await;
    hive.shutdown().await.unwrap();
}

pub(crate) async fn a_limit_that_is_none_is_refused(home: Home) {
    let (crowd, gate) = (Crowd::default(), Gate::new());
    let limited = guest("guest", &crowd, &gate).with_concurrency(0);
    let refused = home.hive().agent(limited).start().await.unwrap_err();
    assert_eq!(refused.code(), "invalid-input");
    let refused = home.hive().blocking_threads(0).start().await.unwrap_err();
    assert_eq!(refused.code(), "invalid-input");
}

/// Rash, so that the test need not wait for it.
fn rash(min: u32, max: u32) -> Policy {
    Policy::between(min, max)
        .unwrap()
        .with_wait_target(Duration::from_millis(100))
        .with_steps(4, 4)
        .with_cool_down(Duration::ZERO, Duration::ZERO)
        .with_steady(Duration::ZERO)
        .with_idle(Duration::ZERO)
        .with_smoothing(Duration::ZERO)
}

async fn scaled(hive: &Hive) -> Vec<SystemScaled> {
    let page = hive
        .bus()
        .history(Query::new().event_type("system.scaled"))
        .await
        .unwrap();
    page.events.iter().map(|event| event.decode().unwrap()).collect()
}

pub(crate) async fn slots_follow_the_load(home: Home) {
    let min = 1;
    let (crowd, gate) = (Crowd::default(), Gate::new());
    let hive = home
        .hive()
        .agent(guest("guest", &crowd, &gate))
        .autoscale(rash(min, 6))
        .start()
        .await
        .unwrap();
    assert_eq!(hive.concurrency(), min as usize);
    let tasks = hive
        .submit_all((0..40).map(|n: u64| hive.submit_named("guest", &n)))
        .await
        .unwrap();
    // A burst of what takes long.
    wait_for(|| crowd.now() == 6).await;
    assert_eq!(hive.concurrency(), 6);
    gate.open();
    for (n, task) in tasks.into_iter().enumerate() {
        assert_eq!(soon(task.result()).await.unwrap(), n);
    }
    wait_for(|| hive.concurrency() == min as usize).await;
    // And it can be woken again.
    let again = hive.submit_named("guest", &7_u64).await.unwrap();
    assert_eq!(soon(again.result()).await.unwrap(), 7);
    assert_eq!((crowd.most(), crowd.ever()), (6, 41));
    let told = scaled(&hive).await;
    assert!(told.iter().all(|event| event.workers == "slots" && event.to <= 6));
    assert!(told.iter().any(|event| event.to == 6), "{told:?}");
    assert!(
        told.iter().any(|event| event.to == min && event.to < event.from),
        "{told:?}"
    );
    soon(hive.shutdown()).await.unwrap();
}

/// More slots would not start them any sooner.
pub(crate) async fn slots_are_not_added_for_what_may_not_start(home: Home) {
    let (crowd, gate) = (Crowd::default(), Gate::new());
    let hive = home
        .hive()
        .agent(guest("limited", &crowd, &gate).with_concurrency(1))
        .agent(guest("held", &crowd, &gate))
        .agent(guest("paused", &crowd, &gate))
        .agent(guest("other", &crowd, &gate))
        .autoscale(rash(3, 50).with_busy(0.3, 0.9).unwrap())
        .start()
        .await
        .unwrap();
    hive.pause(Scope::Agent("paused".into())).await.unwrap();
    let one = Limit::new().concurrency(1);
    hive.limit(Subject::Agent("held".into()), one).await.unwrap();
    hive.pause(Scope::Tenant("idle".into())).await.unwrap();
    for n in 0..20_u64 {
        hive.submit_named("limited", &n).await.unwrap();
        hive.submit_named("held", &n).await.unwrap();
        hive.submit_named("paused", &n).await.unwrap();
        hive.submit_named("other", &n).tenant("idle").await.unwrap();
    }
    wait_for(|| crowd.now() == 2).await;
    // Long enough for several looks.
    tokio::time::sleep(Duration::from_secs(4)).await;
    assert_eq!((hive.concurrency(), crowd.now()), (3, 2));
    assert!(scaled(&hive).await.is_empty());
    // Now they may.
    hive.resume(Scope::Tenant("idle".into())).await.unwrap();
    wait_for(|| crowd.now() == 22).await;
    assert!(hive.concurrency() > 21);
    gate.open();
    hive.shutdown().await.unwrap();
}

/// With no slots at all a run that waits in memory comes back all the same.
pub(crate) async fn who_comes_back_from_a_wait_wakes_the_hive(home: Home) {
    let napper = agent_fn("napper", async |cx: Context, (): ()| {
        cx.sleep(Duration::from_millis(20)).await?;
        Ok::<_, Failure>(cx.attempt())
    });
    let hive = home.hive().agent(napper).autoscale(rash(0, 2)).start().await.unwrap();
    for _ in 0..3 {
        let task = hive.submit_named("napper", &()).await.unwrap();
        soon(task.result()).await.unwrap();
        wait_for(|| hive.concurrency() == 0).await;
    }
    soon(hive.shutdown()).await.unwrap();
}

pub(crate) async fn what_blocks_is_a_step_on_a_thread_of_its_own(home: Home) {
    let ledger = Ledger::default();
    let noted = ledger.clone();
    let agent = agent_fn("blocker", move |cx: Context, n: u64| {
        let ledger = noted.clone();
        async move {
            let here = std::thread::current().id();
            let at_work = ledger.clone();
            let squared = cx
                .blocking("square", move || {
                    at_work.add("square");
                    Ok::<_, Failure>((n * n, std::thread::current().id() != here))
                })
                .await?;
            let panics = ledger.clone();
            let outcome = cx
                .blocking("panic", move || -> Result<(), Failure> {
                    panics.add("panic");
                    panic!("on purpose")
                })
                .retry(RetryPolicy::fixed(3, Duration::from_millis(1)))
                .await;
            let failure = outcome.unwrap_err();
            if cx.attempt() == 1 {
                return Err(failure);
            }
            Ok((squared, failure.kind().code().to_owned()))
        }
    });
    let hive = home.hive().agent(agent).start().await.unwrap();
    let task = hive.submit_named("blocker", &12_u64).await.unwrap();
    let said = soon(task.result()).await.unwrap();
    assert_eq!(said, serde_json::json!([[144, true], "panic"]));
    // The first is remembered; the other was tried three times in each of two attempts.
    let count = |word: &str| ledger.lines().iter().filter(|line| *line == word).count();
    assert_eq!((count("square"), count("panic")), (1, 6));
    hive.shutdown().await.unwrap();
}

pub(crate) async fn no_more_threads_block_than_may(home: Home) {
    let crowd = Crowd::default();
    let counted = crowd.clone();
    let agent = agent_fn("blocker", move |cx: Context, (): ()| {
        let crowd = counted.clone();
        async move {
            cx.blocking("block", move || {
                let _inside = crowd.enter();
                std::thread::park_timeout(Duration::from_millis(5));
                Ok::<_, Failure>(())
            })
            .await
        }
    });
    let hive = home.hive().agent(agent).blocking_threads(3).start().await.unwrap();
    let tasks = hive
        .submit_all((0..30).map(|_| hive.submit_named("blocker", &())))
        .await
        .unwrap();
    for task in tasks {
        soon(task.result()).await.unwrap();
    }
    assert_eq!((crowd.most(), crowd.ever()), (3, 30));
    hive.shutdown().await.unwrap();
}

/// Nobody waits for the thread, but it counts until it is done.
pub(crate) async fn a_cancelled_run_does_not_wait_for_its_thread(home: Home) {
    let (ledger, stop) = (Ledger::default(), Arc::new(AtomicBool::new(false)));
    let (noted, stopped) = (ledger.clone(), Arc::clone(&stop));
    let agent = agent_fn("blocker", move |cx: Context, name: String| {
        let (ledger, stop) = (noted.clone(), Arc::clone(&stopped));
        async move {
            cx.blocking("block", move || {
                ledger.add(name.as_str());
                while !stop.load(Ordering::SeqCst) {
                    std::thread::park_timeout(Duration::from_millis(1));
                }
                Ok::<_, Failure>(())
            })
            .await
        }
    });
    let hive = home.hive().agent(agent).blocking_threads(1).start().await.unwrap();
    let first = hive.submit_named("blocker", &"first").await.unwrap();
    ledger.seen("first").await;
    let second = hive.submit_named("blocker", &"second").await.unwrap();
    until(&second, TaskState::Running).await;
    assert!(first.cancel().await.unwrap());
    soon(first.result()).await.unwrap_err();
    a_while(&hive).await;
    assert_eq!(ledger.count(), 1);
    stop.store(true, Ordering::SeqCst);
    soon(second.result()).await.unwrap();
    assert_eq!(ledger.lines(), ["first", "second"]);
    hive.shutdown().await.unwrap();
}

/// An agent that does what it must not, and blocks a thread of the runtime, holds up neither other runs nor the word that its
/// process lives: what it runs stays its own.
pub(crate) async fn a_blocked_thread_of_the_runtime_stops_nobody_else(home: Home) {
    let (go, wait) = mpsc::channel::<()>();
    let (wait, ledger) = (Arc::new(std::sync::Mutex::new(wait)), Ledger::default());
    let noted = ledger.clone();
    let rude = agent_fn("rude", move |cx: Context, (): ()| {
        let (wait, ledger) = (Arc::clone(&wait), noted.clone());
        async move {
            ledger.add("rude");
            // Not across an await: this is what blocks.
            wait.lock().unwrap().recv().unwrap();
            Ok::<_, Failure>(cx.attempt())
        }
    });
    let polite = agent_fn("polite", async |_: Context, n: u64| Ok::<_, Failure>(n));
    let hive = home.hive().agent(rude).agent(polite).start().await.unwrap();
    let blocked = hive.submit_named("rude", &()).await.unwrap();
    ledger.seen("rude").await;
    let beats = async || {
        let seen = hive
            .db()
            .read(|db| db.query_one("SELECT max(seen_at) FROM instance", &[], |row| row.get::<i64>(0)));
        seen.await.unwrap()
    };
    // Longer than others would believe a silent process to live.
    let mut seen = beats().await;
    for round in 0..6_u64 {
        let task = hive.submit_named("polite", &round).await.unwrap();
        assert_eq!(soon(task.result()).await.unwrap(), round);
        if hive.db().dialect() == Dialect::Postgres {
            let next = soon(async {
                loop {
                    let next = beats().await;
                    if next > seen {
                        return next;
                    }
                    tokio::time::sleep(Duration::from_millis(20)).await;
                }
            });
            seen = next.await;
        }
    }
    go.send(()).unwrap();
    assert_eq!(soon(blocked.result()).await.unwrap(), 1);
    assert_eq!(ledger.count(), 1);
    hive.shutdown().await.unwrap();
}
