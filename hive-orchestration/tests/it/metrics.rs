//! What is counted and measured, as whoever collects it sees it.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use hive_orchestration::schedule::Schedule;
use hive_orchestration::task::TaskState;
use hive_orchestration::telemetry::METRICS;
use hive_orchestration::{Context, Failure, agent_fn};
use metrics::{
    Counter, CounterFn, Gauge, GaugeFn, Histogram, HistogramFn, Key, KeyName, Metadata, Recorder, SharedString, Unit,
};

use crate::kit::{Gate, Home, Ledger, crash, reopened, soon, until};

/// Sums, by name and labels.
#[derive(Clone, Default)]
struct Kept(Arc<Mutex<BTreeMap<String, Arc<Sum>>>>);

#[derive(Default)]
struct Sum {
    count: AtomicU64,
    /// Of a gauge the last value, of a histogram the sum.
    value: Mutex<f64>,
}

impl Kept {
    fn of(&self, key: &Key) -> Arc<Sum> {
        let labels: Vec<String> = key
            .labels()
            .map(|label| format!("{}={}", label.key(), label.value()))
            .collect();
        let name = format!("{}{{{}}}", key.name(), labels.join(","));
        Arc::clone(self.0.lock().unwrap().entry(name).or_default())
    }

    fn find(&self, name: &str) -> Option<Arc<Sum>> {
        self.0.lock().unwrap().get(name).cloned()
    }

    fn count(&self, name: &str) -> u64 {
        self.find(name).map_or(0, |sum| sum.count.load(Ordering::Relaxed))
    }

    fn value(&self, name: &str) -> f64 {
        self.find(name).map_or(0.0, |sum| *sum.value.lock().unwrap())
    }

    fn show(&self) -> Vec<String> {
        self.0.lock().unwrap().keys().cloned().collect()
    }
}

impl CounterFn for Sum {
    fn increment(&self, value: u64) {
        self.count.fetch_add(value, Ordering::Relaxed);
    }

    fn absolute(&self, value: u64) {
        self.count.store(value, Ordering::Relaxed);
    }
}

impl GaugeFn for Sum {
    fn increment(&self, _: f64) {}

    fn decrement(&self, _: f64) {}

    fn set(&self, value: f64) {
        *self.value.lock().unwrap() = value;
        self.count.fetch_add(1, Ordering::Relaxed);
    }
}

impl HistogramFn for Sum {
    fn record(&self, value: f64) {
        *self.value.lock().unwrap() += value;
        self.count.fetch_add(1, Ordering::Relaxed);
    }
}

impl Recorder for Kept {
    fn describe_counter(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}

    fn describe_gauge(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}

    fn describe_histogram(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}

    fn register_counter(&self, key: &Key, _: &Metadata<'_>) -> Counter {
        Counter::from_arc(self.of(key))
    }

    fn register_gauge(&self, key: &Key, _: &Metadata<'_>) -> Gauge {
        Gauge::from_arc(self.of(key))
    }

    fn register_histogram(&self, key: &Key, _: &Metadata<'_>) -> Histogram {
        Histogram::from_arc(self.of(key))
    }
}

/// The only test of this binary that looks at metrics: there is one recorder for a process, and agents have names of their own here.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_happens_to_tasks_is_counted_once() {
    let kept = Kept::default();
    metrics::set_global_recorder(kept.clone()).unwrap();
    let (home, gate, ledger) = (Home::new(), Gate::new(), Ledger::default());
    let open = || {
        let (held, noted) = (gate.clone(), ledger.clone());
        let guest = agent_fn("m-guest", move |_: Context, n: u64| {
            let (held, noted) = (held.clone(), noted.clone());
            async move {
                noted.add("in");
                held.passed().await;
                Ok::<_, Failure>(n)
            }
        });
        let doubler = agent_fn("m-doubler", async |_: Context, n: u64| Ok::<_, Failure>(2 * n));
        let loser = agent_fn("m-loser", async |_: Context, terminal: bool| {
            let failure = Failure::retryable("no").with_retry_after(Duration::ZERO);
            Err::<(), _>(if terminal { failure.into_terminal() } else { failure })
        });
        home.hive().agent(guest).agent(doubler).agent(loser).concurrency(4)
    };
    let hive = open().start().await.unwrap();

    for n in 0..5_u64 {
        let task = hive.submit_named("m-doubler", &n).await.unwrap();
        soon(task.result()).await.unwrap();
    }
    let keyed = || hive.submit_named("m-doubler", &9_u64).idempotency_key("k");
    soon(keyed().await.unwrap().result()).await.unwrap();
    // The same task, which is no new one.
    soon(keyed().await.unwrap().result()).await.unwrap();
    // Dead after three attempts, and failed at once.
    for terminal in [false, true] {
        let task = hive.submit_named("m-loser", &terminal).await.unwrap();
        soon(task.result()).await.unwrap_err();
    }
    let cancelled = hive
        .submit_named("m-guest", &1_u64)
        .delay(Duration::from_secs(3600))
        .await
        .unwrap();
    assert!(cancelled.cancel().await.unwrap());
    assert!(!cancelled.cancel().await.unwrap());
    hive.schedule("m-often", Schedule::every(Duration::from_secs(3600)))
        .submit_named("m-doubler", &1_u64)
        .await
        .unwrap();
    let fired = hive.trigger_schedule("m-often").await.unwrap();
    soon(hive.task::<u64>(fired).result()).await.unwrap();
    // A transaction that is rolled back has done nothing.
    let undone = hive.submit_named("m-doubler", &1_u64);
    let outcome = hive.db().write(move |tx| {
        undone.within(tx)?;
        Err::<(), _>(hive_orchestration::Error::new(
            hive_orchestration::errors::ErrorKind::Conflict,
            "undone",
        ))
    });
    outcome.await.unwrap_err();

    // One is running when the process dies.
    let held = hive.submit_named("m-guest", &2_u64).await.unwrap();
    ledger.seen("in").await;
    until(&held, TaskState::Running).await;
    crash(hive).await;
    let hive = reopened(open).await;
    ledger.counted(2).await;
    // More than there is room for.
    let more = hive
        .submit_all((0..10).map(|n: u64| hive.submit_named("m-guest", &n)))
        .await
        .unwrap();
    // Samples are taken now and then, and one of them after all of that.
    let expected = [
        ("hive_slots{}", 4.0),
        ("hive_slots_busy{}", 4.0),
        ("hive_slots_waiting{}", 0.0),
        ("hive_runs{agent=m-guest}", 4.0),
        ("hive_runs{agent=m-doubler}", 0.0),
        ("hive_tasks_ready{agent=m-guest}", 7.0),
        ("hive_blocking_threads{}", 0.0),
    ];
    soon(async {
        while expected
            .iter()
            .any(|(name, value)| (kept.value(name) - value).abs() > 1e-9)
        {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    })
    .await;
    assert!(kept.value("hive_tasks_ready_oldest_seconds{agent=m-guest}") > 0.0);
    assert!(kept.value("hive_slots_utilization{}") > 0.0);
    gate.open();
    for task in more {
        soon(task.result()).await.unwrap();
    }
    let held = hive.task::<u64>(held.id());
    soon(held.result()).await.unwrap();
    hive.shutdown().await.unwrap();
    for name in ["hive_runs{agent=m-guest}", "hive_slots_busy{}"] {
        assert!(kept.value(name).abs() < 1e-9, "{name}: {}", kept.value(name));
    }

    for (name, expected) in [
        // Five, the one with a key, the one of the schedule.
        ("hive_tasks_submitted_total{agent=m-doubler}", 7),
        ("hive_tasks_ended_total{agent=m-doubler,state=succeeded}", 7),
        ("hive_runs_started_total{agent=m-doubler}", 7),
        ("hive_task_wait_seconds{agent=m-doubler}", 7),
        ("hive_run_seconds{agent=m-doubler}", 7),
        ("hive_tasks_submitted_total{agent=m-loser}", 2),
        ("hive_runs_started_total{agent=m-loser}", 4),
        ("hive_tasks_retried_total{agent=m-loser}", 2),
        ("hive_tasks_ended_total{agent=m-loser,state=dead}", 1),
        ("hive_tasks_ended_total{agent=m-loser,state=failed}", 1),
        ("hive_task_failures_total{agent=m-loser,code=agent-failed}", 4),
        ("hive_tasks_ended_total{agent=m-guest,state=cancelled}", 1),
        // The cancelled one, the one that was interrupted, ten.
        ("hive_tasks_submitted_total{agent=m-guest}", 12),
        ("hive_tasks_ended_total{agent=m-guest,state=succeeded}", 11),
        ("hive_runs_started_total{agent=m-guest}", 12),
        ("hive_tasks_recovered_total{agent=m-guest}", 1),
        ("hive_schedules_fired_total{}", 1),
        ("hive_tasks_submitted_total{agent=other}", 0),
    ] {
        assert_eq!(kept.count(name), expected, "{name} of {:#?}", kept.show());
    }
    // Each claim and each end was in some round.
    assert!(kept.value("hive_dispatch_claimed{}") >= 23.0);
    assert!(kept.value("hive_dispatch_ended{}") >= 22.0);
    assert!(kept.count("hive_dispatch_seconds{}") > 0);
    if cfg!(target_os = "linux") {
        for name in ["resident_memory_bytes", "open_fds", "cpu_seconds"] {
            assert!(kept.value(&format!("hive_process_{name}{{}}")) > 0.0, "{name}");
        }
    }
    // Nobody's name but agents' stands in a label, and all of it is in the table.
    for name in kept.show().iter().filter(|name| !name.contains("hive_bus_")) {
        let (metric, labels) = name.split_once('{').unwrap();
        assert!(METRICS.iter().any(|known| known.name == metric), "{name}");
        assert!(!labels.contains("tenant") && !labels.contains("task="), "{name}");
    }
}
