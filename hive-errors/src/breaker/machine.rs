//! The states of a breaker and the moves between them, without lock, clock or guard.

use std::time::Duration;

use super::{BreakerPolicy, BreakerState};

#[derive(Debug)]
pub(super) struct Machine {
    policy: BreakerPolicy,
    mode: Mode,
    /// Grows with each change of mode; a verdict from an earlier epoch is about a dependency as it was then.
    epoch: u64,
    /// The latest time seen. A dropped guard cannot tell the time, so its failure counts from here.
    latest: Duration,
}

#[derive(Debug)]
enum Mode {
    Closed { failures: u32 },
    Open { until: Duration },
    // Invariant: in_flight + successes <= probes_max, so at most that many probes are let through.
    HalfOpen { in_flight: u32, successes: u32 },
}

#[derive(Copy, Clone, Debug)]
pub(super) enum Outcome {
    Success { now: Duration },
    Failure { now: Duration },
    Ignored,
    Dropped,
}

#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub(super) enum Refusal {
    Open { wait: Duration },
    Probing,
}

impl Machine {
    pub(super) fn new(policy: BreakerPolicy) -> Self {
        Self {
            policy,
            mode: Mode::Closed { failures: 0 },
            epoch: 0,
            latest: Duration::ZERO,
        }
    }

    pub(super) fn state(&self, now: Duration) -> BreakerState {
        match self.mode {
            Mode::Closed { .. } => BreakerState::Closed,
            Mode::Open { until } if now.max(self.latest) < until => BreakerState::Open,
            Mode::Open { .. } | Mode::HalfOpen { .. } => BreakerState::HalfOpen,
        }
    }

    /// The epoch to settle the call with, or why it must not be made.
    pub(super) fn acquire(&mut self, now: Duration) -> Result<u64, Refusal> {
        self.see(now);
        if let Mode::Open { until } = self.mode {
            if self.latest < until {
                return Err(Refusal::Open {
                    wait: until.saturating_sub(self.latest),
                });
            }
            self.enter(Mode::HalfOpen {
                in_flight: 0,
                successes: 0,
            });
        }
        if let Mode::HalfOpen { in_flight, successes } = &mut self.mode {
            if in_flight.saturating_add(*successes) >= self.policy.probes_max() {
                return Err(Refusal::Probing);
            }
            *in_flight = in_flight.saturating_add(1);
        }
        Ok(self.epoch)
    }

    pub(super) fn settle(&mut self, epoch: u64, outcome: Outcome) {
        let failed = match outcome {
            Outcome::Success { now } => {
                self.see(now);
                Some(false)
            }
            Outcome::Failure { now } => {
                self.see(now);
                Some(true)
            }
            Outcome::Dropped => Some(true),
            Outcome::Ignored => None,
        };
        if epoch != self.epoch {
            return;
        }
        match &mut self.mode {
            Mode::Closed { failures } => match failed {
                Some(true) => {
                    *failures = failures.saturating_add(1);
                    if *failures >= self.policy.failures_max() {
                        self.open();
                    }
                }
                Some(false) => *failures = 0,
                None => {}
            },
            Mode::HalfOpen { in_flight, successes } => {
                *in_flight = in_flight.saturating_sub(1);
                match failed {
                    Some(true) => self.open(),
                    Some(false) => {
                        *successes = successes.saturating_add(1);
                        if *successes >= self.policy.probes_max() {
                            self.enter(Mode::Closed { failures: 0 });
                        }
                    }
                    None => {}
                }
            }
            // Invariant: no call is let through in the epoch of an open breaker, so there is none to settle.
            Mode::Open { .. } => {}
        }
    }

    fn see(&mut self, now: Duration) {
        self.latest = self.latest.max(now);
    }

    fn open(&mut self) {
        self.enter(Mode::Open {
            until: self.latest.saturating_add(self.policy.pause()),
        });
    }

    fn enter(&mut self, mode: Mode) {
        self.mode = mode;
        self.epoch = self.epoch.wrapping_add(1);
    }
}
