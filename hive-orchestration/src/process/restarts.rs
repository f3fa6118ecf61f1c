//! When a process that died is started again: a pure decision.

use std::time::Duration;

use hive_errors::RetryPolicy;

use crate::limits;

/// How a process has fared, as far as that bears on starting it again. Times are a monotonic clock's.
#[derive(Debug)]
pub(crate) struct Restarts {
    policy: RetryPolicy,
    /// Deaths in a row before it said that it was ready.
    starts_failed: u32,
    /// Deaths in a row without a task done in between.
    deaths: u32,
    not_before: Duration,
}

/// How far a process had come when it died.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stage {
    Starting,
    Serving,
}

/// What follows from a death.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    Again,
    /// It does not get as far as being ready, and trying once more at once would be of no use.
    GiveUp,
}

impl Restarts {
    pub(crate) fn new(policy: RetryPolicy) -> Self {
        Self {
            policy,
            starts_failed: 0,
            deaths: 0,
            not_before: Duration::ZERO,
        }
    }

    /// How long to wait before the next start.
    pub(crate) fn wait(&self, now: Duration) -> Duration {
        self.not_before.saturating_sub(now)
    }

    pub(crate) fn ready(&mut self) {
        self.starts_failed = 0;
    }

    pub(crate) fn task_done(&mut self) {
        self.deaths = 0;
    }

    pub(crate) fn died(&mut self, stage: Stage, now: Duration, random: u64) -> Verdict {
        self.deaths = self.deaths.saturating_add(1);
        let (failures, verdict) = match stage {
            Stage::Starting => {
                self.starts_failed = self.starts_failed.saturating_add(1);
                if self.starts_failed >= self.policy.attempts_max() {
                    // Whoever comes after the rest starts with a clean slate.
                    self.starts_failed = 0;
                    self.deaths = 0;
                    self.not_before = now.saturating_add(limits::PROCESS_REST);
                    return Verdict::GiveUp;
                }
                (self.starts_failed, Verdict::Again)
            }
            Stage::Serving => (self.deaths, Verdict::Again),
        };
        // A process that gets ready is never given up, since each task hears of its death; it only waits its longest.
        let longest = self.policy.attempts_max().saturating_sub(1);
        let delay = if longest == 0 {
            Duration::ZERO
        } else {
            self.policy
                .delay_after(failures.min(longest), random, None)
                .unwrap_or_default()
        };
        self.not_before = now.saturating_add(delay);
        verdict
    }
}
