//! What a hive tells whoever operates it, through the façade of the `metrics` crate: numbers that cost next to nothing when nobody
//! collects them.
//!
//! | metric | kind | labels | unit | |
//! |---|---|---|---|---|
//! | `hive_tasks_submitted_total` | counter | agent | tasks | that came into being, children included |
//! | `hive_runs_started_total` | counter | agent | runs | that began: claims, those after a wait or a failure included |
//! | `hive_tasks_ended_total` | counter | agent, state | tasks | that ended: `succeeded`, `failed`, `cancelled` or `dead` |
//! | `hive_tasks_retried_total` | counter | agent | tasks | that failed and will be tried again |
//! | `hive_tasks_recovered_total` | counter | agent | tasks | that were taken back from dead processes |
//! | `hive_task_failures_total` | counter | agent, code | failures | of attempts and of tasks, by their code |
//! | `hive_task_wait_seconds` | histogram | agent | seconds | from ready to claimed, for each run |
//! | `hive_run_seconds` | histogram | agent | seconds | from claimed to ended, for each run that ended with an output or a failure |
//! | `hive_runs` | gauge | agent | runs | under way in this process, those that wait in memory included |
//! | `hive_tasks_ready` | gauge | agent | tasks | ready and not paused, in the whole database, counted up to a limit |
//! | `hive_tasks_ready_oldest_seconds` | gauge | agent | seconds | for how long the first of them has waited |
//! | `hive_slots` | gauge | | slots | of this process |
//! | `hive_slots_busy` | gauge | | slots | with a run |
//! | `hive_slots_waiting` | gauge | | runs | that come back from a wait and have no slot yet |
//! | `hive_slots_utilization` | gauge | | share | of the slots' time that was busy since the sample before, from 0 to 1 |
//! | `hive_blocking_threads` | gauge | | threads | busy with blocking steps |
//! | `hive_dispatch_seconds` | histogram | | seconds | for each round: one transaction that writes ends down and claims |
//! | `hive_dispatch_claimed` | histogram | | tasks | claimed in a round |
//! | `hive_dispatch_ended` | histogram | | runs | whose ends were written down in a round |
//! | `hive_dispatch_errors_total` | counter | code | rounds | that failed |
//! | `hive_schedules_fired_total` | counter | | tasks | that schedules submitted |
//! | `hive_process_resident_memory_bytes` | gauge | | bytes | that the process holds in RAM (Linux) |
//! | `hive_process_open_fds` | gauge | | descriptors | that are open (Linux) |
//! | `hive_process_cpu_seconds` | gauge | | seconds | of processor time since the process began; it only grows (Linux) |
//!
//! [`METRICS`] is the same table for programs. `agent` is the name of an agent of this process; all that this process does to tasks
//! of other agents counts as `other`, so that there are never more series than agents. No label holds a tenant, a key or an id.
//!
//! A change of a task is counted once, by the process that committed it: sum counters over processes. Gauges are sampled every
//! [`SAMPLE_EVERY`](crate::limits::SAMPLE_EVERY); what is ready is the same in all processes that share a database, so take its
//! maximum. A process with several hives has the gauges of whichever sampled last.
//!
//! Install the recorder before [`Builder::start`](crate::builders::Builder::start): a hive that finds none counts into nothing. With
//! Prometheus that is one line, `metrics_exporter_prometheus::PrometheusBuilder::new().install()?`; any other exporter of the
//! `metrics` crate does as well. The bus and caches have tables of their own: [`hive_bus::telemetry`] and
//! `hive_core::cache`.

mod process;

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use hive_core::db::Tx;
use hive_errors::{Error, Failure};
use metrics::{
    Counter, Gauge, Histogram, counter, describe_counter, describe_gauge, describe_histogram, gauge, histogram,
};

pub(crate) use self::process::resources;
use crate::task::TaskState;

/// What kind of number a metric is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Kind {
    /// Only grows.
    Counter,
    /// The last value counts.
    Gauge,
    /// Each value counts.
    Histogram,
}

/// One metric of a hive.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Metric {
    /// Its name.
    pub name: &'static str,
    /// What kind of number it is.
    pub kind: Kind,
    /// By what it is told apart.
    pub labels: &'static [&'static str],
    /// Of what it is a number.
    pub unit: &'static str,
    /// What it says.
    pub meaning: &'static str,
}

const fn metric(
    name: &'static str,
    kind: Kind,
    labels: &'static [&'static str],
    unit: &'static str,
    meaning: &'static str,
) -> Metric {
    Metric {
        name,
        kind,
        labels,
        unit,
        meaning,
    }
}

/// Everything that a hive counts and measures, in the order of [the table](self).
pub const METRICS: &[Metric] = &TABLE;

#[rustfmt::skip]
const TABLE: [Metric; 24] = {
    use Kind::{Counter, Gauge, Histogram};
    const AGENT: &[&str] = &["agent"];
    [
        metric("hive_tasks_submitted_total", Counter, AGENT, "tasks", "that came into being, children included"),
        metric("hive_runs_started_total", Counter, AGENT, "runs", "that began: claims, those after a wait or a failure included"),
        metric("hive_tasks_ended_total", Counter, &["agent", "state"], "tasks", "that ended: `succeeded`, `failed`, `cancelled` or `dead`"),
        metric("hive_tasks_retried_total", Counter, AGENT, "tasks", "that failed and will be tried again"),
        metric("hive_tasks_recovered_total", Counter, AGENT, "tasks", "that were taken back from dead processes"),
        metric("hive_task_failures_total", Counter, &["agent", "code"], "failures", "of attempts and of tasks, by their code"),
        metric("hive_task_wait_seconds", Histogram, AGENT, "seconds", "from ready to claimed, for each run"),
        metric("hive_run_seconds", Histogram, AGENT, "seconds", "from claimed to ended, for each run that ended with an output or a failure"),
        metric("hive_runs", Gauge, AGENT, "runs", "under way in this process, those that wait in memory included"),
        metric("hive_tasks_ready", Gauge, AGENT, "tasks", "ready and not paused, in the whole database, counted up to a limit"),
        metric("hive_tasks_ready_oldest_seconds", Gauge, AGENT, "seconds", "for how long the first of them has waited"),
        metric("hive_slots", Gauge, &[], "slots", "of this process"),
        metric("hive_slots_busy", Gauge, &[], "slots", "with a run"),
        metric("hive_slots_waiting", Gauge, &[], "runs", "that come back from a wait and have no slot yet"),
        metric("hive_slots_utilization", Gauge, &[], "share", "of the slots' time that was busy since the sample before, from 0 to 1"),
        metric("hive_blocking_threads", Gauge, &[], "threads", "busy with blocking steps"),
        metric("hive_dispatch_seconds", Histogram, &[], "seconds", "for each round: one transaction that writes ends down and claims"),
        metric("hive_dispatch_claimed", Histogram, &[], "tasks", "claimed in a round"),
        metric("hive_dispatch_ended", Histogram, &[], "runs", "whose ends were written down in a round"),
        metric("hive_dispatch_errors_total", Counter, &["code"], "rounds", "that failed"),
        metric("hive_schedules_fired_total", Counter, &[], "tasks", "that schedules submitted"),
        metric("hive_process_resident_memory_bytes", Gauge, &[], "bytes", "that the process holds in RAM (Linux)"),
        metric("hive_process_open_fds", Gauge, &[], "descriptors", "that are open (Linux)"),
        metric("hive_process_cpu_seconds", Gauge, &[], "seconds", "of processor time since the process began; it only grows (Linux)"),
    ]
};

/// The agent of tasks whose agent this process does not have.
const OTHER: &str = "other";

/// What a hive counts. Each number is looked up by name once, when the hive starts; those of failures apart, which are rare.
pub(crate) struct Telemetry {
    agents: BTreeMap<String, Arc<AgentMetrics>>,
    other: Arc<AgentMetrics>,
    round: Histogram,
    claimed: Histogram,
    ended: Histogram,
    fired: Counter,
    pub(crate) gauges: Gauges,
}

/// What is counted of one agent.
pub(crate) struct AgentMetrics {
    name: String,
    pub(crate) submitted: Counter,
    pub(crate) started: Counter,
    pub(crate) succeeded: Counter,
    failed: Counter,
    cancelled: Counter,
    dead: Counter,
    retried: Counter,
    pub(crate) recovered: Counter,
    pub(crate) wait: Histogram,
    pub(crate) run: Histogram,
    pub(crate) runs: Gauge,
    pub(crate) ready: Gauge,
    pub(crate) oldest: Gauge,
}

/// What is sampled and belongs to no agent.
pub(crate) struct Gauges {
    pub(crate) slots: Gauge,
    pub(crate) busy: Gauge,
    pub(crate) waiting: Gauge,
    pub(crate) utilization: Gauge,
    pub(crate) threads: Gauge,
    pub(crate) memory: Gauge,
    pub(crate) fds: Gauge,
    pub(crate) cpu: Gauge,
}

impl AgentMetrics {
    fn new(name: &str) -> Self {
        let agent = || name.to_owned();
        let ended = |state: &'static str| counter!("hive_tasks_ended_total", "agent" => agent(), "state" => state);
        Self {
            submitted: counter!("hive_tasks_submitted_total", "agent" => agent()),
            started: counter!("hive_runs_started_total", "agent" => agent()),
            succeeded: ended("succeeded"),
            failed: ended("failed"),
            cancelled: ended("cancelled"),
            dead: ended("dead"),
            retried: counter!("hive_tasks_retried_total", "agent" => agent()),
            recovered: counter!("hive_tasks_recovered_total", "agent" => agent()),
            wait: histogram!("hive_task_wait_seconds", "agent" => agent()),
            run: histogram!("hive_run_seconds", "agent" => agent()),
            runs: gauge!("hive_runs", "agent" => agent()),
            ready: gauge!("hive_tasks_ready", "agent" => agent()),
            oldest: gauge!("hive_tasks_ready_oldest_seconds", "agent" => agent()),
            name: agent(),
        }
    }

    fn failure(&self, code: &'static str) {
        counter!("hive_task_failures_total", "agent" => self.name.clone(), "code" => code).increment(1);
    }
}

impl Telemetry {
    /// What is counted of these agents, and of all others together.
    pub(crate) fn new<'a>(agents: impl IntoIterator<Item = &'a str>) -> Arc<Self> {
        describe();
        let agents = agents
            .into_iter()
            .map(|name| (name.to_owned(), Arc::new(AgentMetrics::new(name))));
        Arc::new(Self {
            agents: agents.collect(),
            other: Arc::new(AgentMetrics::new(OTHER)),
            round: histogram!("hive_dispatch_seconds"),
            claimed: histogram!("hive_dispatch_claimed"),
            ended: histogram!("hive_dispatch_ended"),
            fired: counter!("hive_schedules_fired_total"),
            gauges: Gauges {
                slots: gauge!("hive_slots"),
                busy: gauge!("hive_slots_busy"),
                waiting: gauge!("hive_slots_waiting"),
                utilization: gauge!("hive_slots_utilization"),
                threads: gauge!("hive_blocking_threads"),
                memory: gauge!("hive_process_resident_memory_bytes"),
                fds: gauge!("hive_process_open_fds"),
                cpu: gauge!("hive_process_cpu_seconds"),
            },
        })
    }

    pub(crate) fn agent(&self, name: &str) -> &Arc<AgentMetrics> {
        self.agents.get(name).unwrap_or(&self.other)
    }

    /// Counts one for each of these agents, once the transaction has been committed.
    pub(crate) fn count<'a>(
        &self,
        tx: &mut Tx<'_>,
        agents: impl IntoIterator<Item = &'a str>,
        which: fn(&AgentMetrics) -> &Counter,
    ) {
        let mut counts: Vec<(Arc<AgentMetrics>, u64)> = Vec::new();
        for name in agents {
            let agent = self.agent(name);
            match counts.iter_mut().find(|(known, _)| Arc::ptr_eq(known, agent)) {
                Some((_, count)) => *count += 1,
                None => counts.push((Arc::clone(agent), 1)),
            }
        }
        if !counts.is_empty() {
            tx.on_commit(move || {
                for (agent, count) in counts {
                    which(&agent).increment(count);
                }
            });
        }
    }

    /// A task ended without an output.
    pub(crate) fn ended(&self, tx: &mut Tx<'_>, agent: &str, state: TaskState) {
        let agent = Arc::clone(self.agent(agent));
        tx.on_commit(move || match state {
            TaskState::Failed => agent.failed.increment(1),
            TaskState::Cancelled => agent.cancelled.increment(1),
            TaskState::Dead => agent.dead.increment(1),
            TaskState::Scheduled
            | TaskState::Queued
            | TaskState::Running
            | TaskState::Waiting
            | TaskState::Succeeded => {}
        });
    }

    /// An attempt or a task failed.
    pub(crate) fn failed(&self, tx: &mut Tx<'_>, agent: &str, failure: &Failure, retried: bool) {
        let (agent, code) = (Arc::clone(self.agent(agent)), failure.kind().code());
        tx.on_commit(move || {
            agent.failure(code);
            if retried {
                agent.retried.increment(1);
            }
        });
    }

    /// A schedule submitted a task.
    pub(crate) fn fired(&self, tx: &mut Tx<'_>) {
        let fired = self.fired.clone();
        tx.on_commit(move || fired.increment(1));
    }

    /// A round is over that was to write so many ends down, and claimed so many tasks.
    pub(crate) fn round(&self, took: Duration, ended: usize, claimed: Result<usize, &Error>) {
        self.round.record(took);
        match claimed {
            Ok(claimed) => {
                self.ended.record(float(ended as u64));
                self.claimed.record(float(claimed as u64));
            }
            Err(error) => counter!("hive_dispatch_errors_total", "code" => error.kind().code()).increment(1),
        }
    }
}

impl Default for Telemetry {
    /// Nothing that anybody sees.
    fn default() -> Self {
        let silent = || AgentMetrics {
            name: String::new(),
            submitted: Counter::noop(),
            started: Counter::noop(),
            succeeded: Counter::noop(),
            failed: Counter::noop(),
            cancelled: Counter::noop(),
            dead: Counter::noop(),
            retried: Counter::noop(),
            recovered: Counter::noop(),
            wait: Histogram::noop(),
            run: Histogram::noop(),
            runs: Gauge::noop(),
            ready: Gauge::noop(),
            oldest: Gauge::noop(),
        };
        Self {
            agents: BTreeMap::new(),
            other: Arc::new(silent()),
            round: Histogram::noop(),
            claimed: Histogram::noop(),
            ended: Histogram::noop(),
            fired: Counter::noop(),
            gauges: Gauges {
                slots: Gauge::noop(),
                busy: Gauge::noop(),
                waiting: Gauge::noop(),
                utilization: Gauge::noop(),
                threads: Gauge::noop(),
                memory: Gauge::noop(),
                fds: Gauge::noop(),
                cpu: Gauge::noop(),
            },
        }
    }
}

impl fmt::Debug for Telemetry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Telemetry")
            .field("agents", &self.agents.keys())
            .finish_non_exhaustive()
    }
}

/// Tells the recorder what the numbers mean.
fn describe() {
    for metric in METRICS {
        let text = format!("{} {}", metric.unit, metric.meaning);
        match metric.kind {
            Kind::Counter => describe_counter!(metric.name, text),
            Kind::Gauge => describe_gauge!(metric.name, text),
            Kind::Histogram => describe_histogram!(metric.name, text),
        }
    }
}

#[expect(
    clippy::cast_precision_loss,
    reason = "a metric is a float, and nothing counted here needs more than its 53 bits"
)]
pub(crate) fn float(number: u64) -> f64 {
    number as f64
}
