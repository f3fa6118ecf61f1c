//! The breaker against a naive model, which keeps every verdict and counts them anew each time it is asked.

use std::time::Duration;

use proptest::prelude::*;

use super::super::{BreakerGuard, BreakerPolicy, BreakerState, CircuitBreaker};

#[derive(Copy, Clone, Debug, PartialEq)]
enum Verdict {
    Success,
    Failure,
    Ignored,
}

/// What stays the same between two changes of state, with every call let through in it.
struct Phase {
    state: BreakerState,
    began: Duration,
    /// In the order of their ends; the number of the call is for those still under way.
    ended: Vec<Verdict>,
    under_way: Vec<usize>,
}

struct Naive {
    policy: BreakerPolicy,
    phases: Vec<Phase>,
    calls: usize,
    latest: Duration,
}

impl Naive {
    fn new(policy: BreakerPolicy) -> Self {
        let mut naive = Self {
            policy,
            phases: Vec::new(),
            calls: 0,
            latest: Duration::ZERO,
        };
        naive.begin(BreakerState::Closed);
        naive
    }

    fn begin(&mut self, state: BreakerState) {
        self.phases.push(Phase {
            state,
            began: self.latest,
            ended: Vec::new(),
            under_way: Vec::new(),
        });
    }

    fn phase(&mut self) -> &mut Phase {
        self.phases.last_mut().unwrap()
    }

    fn tick(&mut self, now: Duration) {
        self.latest = self.latest.max(now);
    }

    fn acquire(&mut self, now: Duration) -> Option<usize> {
        self.tick(now);
        let (latest, pause) = (self.latest, self.policy.pause());
        let phase = self.phase();
        if phase.state == BreakerState::Open && latest >= phase.began + pause {
            self.begin(BreakerState::HalfOpen);
        }
        let (probes_max, call) = (self.policy.probes_max() as usize, self.calls);
        let phase = self.phase();
        let probes = phase.under_way.len()
            + phase
                .ended
                .iter()
                .filter(|verdict| **verdict != Verdict::Ignored)
                .count();
        let admitted = match phase.state {
            BreakerState::Closed => true,
            BreakerState::Open => false,
            BreakerState::HalfOpen => probes < probes_max,
        };
        if !admitted {
            return None;
        }
        phase.under_way.push(call);
        self.calls += 1;
        Some(call)
    }

    fn end(&mut self, call: usize, verdict: Verdict, now: Option<Duration>) {
        self.tick(now.unwrap_or(Duration::ZERO));
        let (failures_max, probes_max) = (self.policy.failures_max() as usize, self.policy.probes_max() as usize);
        let phase = self.phase();
        let Some(place) = phase.under_way.iter().position(|known| *known == call) else {
            return;
        };
        phase.under_way.remove(place);
        phase.ended.push(verdict);

        let counted: Vec<_> = phase
            .ended
            .iter()
            .filter(|verdict| **verdict != Verdict::Ignored)
            .collect();
        let in_a_row = counted
            .iter()
            .rev()
            .take_while(|verdict| ***verdict == Verdict::Failure)
            .count();
        match phase.state {
            BreakerState::Closed if in_a_row >= failures_max => self.begin(BreakerState::Open),
            BreakerState::HalfOpen if in_a_row > 0 => self.begin(BreakerState::Open),
            BreakerState::HalfOpen if counted.len() == probes_max => self.begin(BreakerState::Closed),
            BreakerState::Closed | BreakerState::HalfOpen | BreakerState::Open => {}
        }
    }

    fn state(&self, now: Duration) -> BreakerState {
        let phase = self.phases.last().unwrap();
        let over = self.latest.max(now) >= phase.began + self.policy.pause();
        if phase.state == BreakerState::Open && over {
            BreakerState::HalfOpen
        } else {
            phase.state
        }
    }
}

/// One thing that a caller does, after waiting for some milliseconds; `pick` chooses among the calls under way.
#[derive(Clone, Debug)]
enum Step {
    Acquire { wait_ms: u64 },
    Success { wait_ms: u64, pick: usize },
    Failure { wait_ms: u64, pick: usize },
    Ignore { pick: usize },
    Drop { pick: usize },
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        5 => (0..30_u64).prop_map(|wait_ms| Step::Acquire { wait_ms }),
        2 => (0..10_u64, any::<usize>()).prop_map(|(wait_ms, pick)| Step::Success { wait_ms, pick }),
        2 => (0..10_u64, any::<usize>()).prop_map(|(wait_ms, pick)| Step::Failure { wait_ms, pick }),
        1 => any::<usize>().prop_map(|pick| Step::Ignore { pick }),
        1 => any::<usize>().prop_map(|pick| Step::Drop { pick }),
    ]
}

fn take(guards: &mut Vec<(usize, BreakerGuard)>, pick: usize) -> Option<(usize, BreakerGuard)> {
    if guards.is_empty() {
        None
    } else {
        Some(guards.swap_remove(pick % guards.len()))
    }
}

proptest! {
    #[test]
    fn breaker_does_as_the_naive_model(
        failures_max in 1..4_u32, pause_ms in 0..60_u64, probes_max in 1..4_u32,
        steps in proptest::collection::vec(step(), 0..200),
    ) {
        let policy = BreakerPolicy::new(failures_max, Duration::from_millis(pause_ms)).with_probes(probes_max);
        let breaker = CircuitBreaker::new("model", policy.clone());
        let mut naive = Naive::new(policy);
        let mut guards: Vec<(usize, BreakerGuard)> = Vec::new();
        let mut now = Duration::ZERO;
        for step in steps {
            match step {
                Step::Acquire { wait_ms } => {
                    now += Duration::from_millis(wait_ms);
                    match (breaker.acquire(now), naive.acquire(now)) {
                        (Ok(guard), Some(call)) => guards.push((call, guard)),
                        (Err(_), None) => {}
                        (real, model) => prop_assert!(false, "breaker {real:?}, model {model:?}"),
                    }
                }
                Step::Success { wait_ms, pick } => {
                    now += Duration::from_millis(wait_ms);
                    if let Some((call, guard)) = take(&mut guards, pick) {
                        guard.success(now);
                        naive.end(call, Verdict::Success, Some(now));
                    }
                }
                Step::Failure { wait_ms, pick } => {
                    now += Duration::from_millis(wait_ms);
                    if let Some((call, guard)) = take(&mut guards, pick) {
                        guard.failure(now);
                        naive.end(call, Verdict::Failure, Some(now));
                    }
                }
                Step::Ignore { pick } => {
                    if let Some((call, guard)) = take(&mut guards, pick) {
                        guard.ignore();
                        naive.end(call, Verdict::Ignored, None);
                    }
                }
                Step::Drop { pick } => {
                    if let Some((call, guard)) = take(&mut guards, pick) {
                        drop(guard);
                        naive.end(call, Verdict::Failure, None);
                    }
                }
            }
            prop_assert_eq!(breaker.state(now), naive.state(now));
        }

        // No wedge: once all calls have ended, by whatever end, waiting for the pause lets a call through.
        guards.clear();
        now += Duration::from_millis(pause_ms);
        prop_assert!(breaker.acquire(now).is_ok());
    }
}
