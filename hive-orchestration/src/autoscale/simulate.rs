//! A queue and its workers in virtual time, to try a policy in.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, VecDeque};
use std::time::Duration;

use hive_core::rng::{Rng, SeededRng};

use super::policy::{Decision, Observation, Policy, State, decide};

/// A stretch of time with an even load.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Phase {
    lasts: Duration,
    arrivals_per_s: f64,
}

impl Phase {
    /// Tasks come at random, so many each second on average. Less than nothing is nothing.
    pub fn new(lasts: Duration, arrivals_per_s: f64) -> Self {
        Self {
            lasts,
            arrivals_per_s: if arrivals_per_s.is_finite() {
                arrivals_per_s.max(0.0)
            } else {
                0.0
            },
        }
    }
}

/// A workload, and how the workers are that deal with it.
#[derive(Clone, Debug, PartialEq)]
pub struct Scenario {
    phases: Vec<Phase>,
    service: Duration,
    start: Duration,
    every: Duration,
    workers: u32,
}

impl Scenario {
    /// Tasks that take `service` on average, exponentially distributed. Nothing comes until [`then`](Self::then) says so.
    pub fn new(service: Duration) -> Self {
        Self {
            phases: Vec::new(),
            service,
            start: Duration::ZERO,
            every: Duration::from_secs(1),
            workers: 0,
        }
    }

    /// Adds a phase.
    #[must_use]
    pub fn then(mut self, phase: Phase) -> Self {
        self.phases.push(phase);
        self
    }

    /// How long a new worker takes until it is ready; no time unless set.
    #[must_use]
    pub fn starting(mut self, time: Duration) -> Self {
        self.start = time;
        self
    }

    /// How often the policy is asked; every second unless set, at least every millisecond.
    #[must_use]
    pub fn every(mut self, time: Duration) -> Self {
        self.every = time.max(Duration::from_millis(1));
        self
    }

    /// How many workers there are at first; none unless set.
    #[must_use]
    pub fn workers(mut self, count: u32) -> Self {
        self.workers = count;
        self
    }

    /// Plays it through. The same scenario, policy and seed give the same outcome, on every machine.
    pub fn simulate(&self, policy: &Policy, seed: u64) -> Outcome {
        let arrivals = self.arrivals(&SeededRng::new(seed));
        let end: Duration = self.phases.iter().map(|phase| phase.lasts).sum();
        Play::new(self, arrivals, seed).run(policy, end)
    }

    /// When tasks come. Drawn apart from how long they take, so that two policies meet the same ones.
    fn arrivals(&self, rng: &SeededRng) -> VecDeque<Duration> {
        let mut arrivals = VecDeque::new();
        let mut begin = Duration::ZERO;
        for phase in &self.phases {
            let end = begin.saturating_add(phase.lasts);
            let gap = || {
                let seconds = exponential(rng) / phase.arrivals_per_s;
                // In a phase without arrivals the next one never comes.
                Duration::try_from_secs_f64(seconds).unwrap_or(Duration::MAX)
            };
            let mut at = begin.saturating_add(gap());
            while at < end {
                arrivals.push_back(at);
                at = at.saturating_add(gap());
            }
            begin = end;
        }
        arrivals
    }
}

/// Exponentially distributed with mean 1.
fn exponential(rng: &SeededRng) -> f64 {
    // 53 random bits make every multiple of 2⁻⁵³ below 1 equally likely.
    #[expect(clippy::cast_precision_loss, reason = "so many bits fit")]
    let uniform = (rng.next_u64() >> 11) as f64 / (1_u64 << 53) as f64;
    -(1.0 - uniform).ln()
}

/// One look at the simulated hive, and what was decided then.
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub struct Sample {
    /// Since the beginning.
    pub at: Duration,
    /// What the policy was shown.
    pub seen: Observation,
    /// What it said.
    pub decision: Decision,
}

/// How it went.
#[derive(Clone, Debug, Default, PartialEq)]
#[non_exhaustive]
pub struct Outcome {
    /// A sample for every time that the policy was asked.
    pub samples: Vec<Sample>,
    /// When each task came and how long it waited for a worker, in the order in which they began. Tasks that never did are
    /// not among them.
    pub waits: Vec<(Duration, Duration)>,
    /// Tasks that had not begun at the end.
    pub left: usize,
}

impl Outcome {
    /// The wait that this share of all tasks did not exceed, such as 0.95; zero when there were none.
    pub fn wait_at(&self, share: f64) -> Duration {
        percentile(self.waits.iter().map(|(_, wait)| *wait).collect(), share)
    }

    /// As [`wait_at`](Self::wait_at), of the tasks that came between these moments.
    pub fn wait_between(&self, from: Duration, to: Duration, share: f64) -> Duration {
        let among = self.waits.iter().filter(|(came, _)| (from..to).contains(came));
        percentile(among.map(|(_, wait)| *wait).collect(), share)
    }

    /// The largest number of workers that there ever should have been.
    pub fn workers_max(&self) -> u32 {
        let targets = self.samples.iter().map(|sample| sample.decision.target);
        targets.max().unwrap_or(0)
    }

    /// Every change of the number of workers: when, from how many, to how many.
    pub fn changes(&self) -> impl Iterator<Item = (Duration, u32, u32)> + '_ {
        let all = self.samples.iter();
        all.map(|sample| (sample.at, sample.seen.running, sample.decision.target))
            .filter(|(_, from, to)| from != to)
    }

    /// How often it went up after it had gone down, or the reverse.
    pub fn turns(&self) -> usize {
        let ups: Vec<bool> = self.changes().map(|(_, from, to)| to > from).collect();
        ups.windows(2).filter(|pair| pair.first() != pair.last()).count()
    }
}

fn percentile(mut waits: Vec<Duration>, share: f64) -> Duration {
    waits.sort_unstable();
    #[expect(
        clippy::cast_precision_loss,
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "an index into what fits into memory"
    )]
    let index = (share.clamp(0.0, 1.0) * waits.len().saturating_sub(1) as f64).round() as usize;
    waits.get(index).copied().unwrap_or_default()
}

struct Play {
    rng: SeededRng,
    service: Duration,
    start: Duration,
    every: Duration,
    arrivals: VecDeque<Duration>,
    queue: VecDeque<Duration>,
    /// When those that are busy will be free.
    busy: BinaryHeap<Reverse<Duration>>,
    ready: u32,
    /// When those that are starting will be ready.
    starting: VecDeque<Duration>,
    now: Duration,
    arrived: u64,
    busy_time: f64,
    done: u64,
    worked: f64,
    outcome: Outcome,
}

impl Play {
    fn new(scenario: &Scenario, arrivals: VecDeque<Duration>, seed: u64) -> Self {
        Self {
            rng: SeededRng::new(!seed),
            service: scenario.service,
            start: scenario.start,
            every: scenario.every,
            arrivals,
            queue: VecDeque::new(),
            busy: BinaryHeap::new(),
            ready: scenario.workers,
            starting: VecDeque::new(),
            now: Duration::ZERO,
            arrived: 0,
            busy_time: 0.0,
            done: 0,
            worked: 0.0,
            outcome: Outcome::default(),
        }
    }

    fn run(mut self, policy: &Policy, end: Duration) -> Outcome {
        let mut state = State::default();
        let mut look = Duration::ZERO;
        while look <= end {
            self.advance(look);
            let seen = self.observe();
            let decision;
            (state, decision) = decide(policy, &state, &seen, look);
            self.set(decision.target);
            self.begin();
            self.outcome.samples.push(Sample {
                at: look,
                seen,
                decision,
            });
            look = look.saturating_add(self.every);
        }
        self.outcome.left = self.queue.len() + self.arrivals.len();
        self.outcome
    }

    /// Lets everything happen up to this moment, in order.
    fn advance(&mut self, until: Duration) {
        loop {
            let free = self.busy.peek().map(|Reverse(at)| *at);
            let next = [self.arrivals.front().copied(), free, self.starting.front().copied()];
            let next = next.into_iter().flatten().min().filter(|at| *at <= until);
            self.pass(next.unwrap_or(until));
            if next.is_none() {
                return;
            }
            if self.arrivals.front() == Some(&self.now) {
                self.arrivals.pop_front();
                self.queue.push_back(self.now);
                self.arrived += 1;
            } else if free == Some(self.now) {
                self.busy.pop();
                self.done += 1;
            } else {
                self.starting.pop_front();
                self.ready = self.ready.saturating_add(1);
            }
            self.begin();
        }
    }

    fn pass(&mut self, to: Duration) {
        let passed = to.saturating_sub(self.now).as_secs_f64();
        self.busy_time += passed * f64::from(self.busy_count());
        self.now = to;
    }

    fn busy_count(&self) -> u32 {
        u32::try_from(self.busy.len()).unwrap_or(u32::MAX)
    }

    /// Whoever is free takes what waits. Workers that are too many end when they are free.
    fn begin(&mut self) {
        while self.busy_count() < self.ready
            && let Some(came) = self.queue.pop_front()
        {
            let takes = self.service.mul_f64(exponential(&self.rng));
            self.worked += takes.as_secs_f64();
            self.busy.push(Reverse(self.now.saturating_add(takes)));
            self.outcome.waits.push((came, self.now.saturating_sub(came)));
        }
    }

    fn observe(&mut self) -> Observation {
        let every = self.every.as_secs_f64();
        let starting = u32::try_from(self.starting.len()).unwrap_or(u32::MAX);
        #[expect(clippy::cast_precision_loss, reason = "no simulation has so many tasks")]
        let (arrived, done) = (self.arrived as f64, self.done as f64);
        let seen = Observation {
            queued: self.queue.len().try_into().unwrap_or(u64::MAX),
            oldest_wait: self
                .queue
                .front()
                .map_or(Duration::ZERO, |came| self.now.saturating_sub(*came)),
            busy: self.busy_time / every,
            arrivals_per_s: arrived / every,
            service_per_s: if self.worked > 0.0 { done / self.worked } else { 0.0 },
            running: self.ready.saturating_add(starting),
        };
        (self.arrived, self.busy_time) = (0, 0.0);
        seen
    }

    fn set(&mut self, target: u32) {
        let at = self.now.saturating_add(self.start);
        let mut running = self
            .ready
            .saturating_add(u32::try_from(self.starting.len()).unwrap_or(u32::MAX));
        while running < target {
            self.starting.push_back(at);
            running += 1;
        }
        // Those that are not ready yet go first.
        while running > target && self.starting.pop_back().is_some() {
            running -= 1;
        }
        self.ready -= running.saturating_sub(target).min(self.ready);
        // Who takes no time to start is there at once.
        while self.starting.front().is_some_and(|at| *at <= self.now) {
            self.starting.pop_front();
            self.ready = self.ready.saturating_add(1);
        }
    }
}
