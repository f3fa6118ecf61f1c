//! The decision: pure, total, and the same for the same arguments.

use std::cmp::Ordering;
use std::fmt;
use std::time::Duration;

use hive_errors::{Error, ErrorKind, Result};

/// Bounds, thresholds and paces. Made by [`Policy::between`].
#[derive(Clone, Debug, PartialEq)]
pub struct Policy {
    min: u32,
    max: u32,
    wait_target: Duration,
    busy_low: f64,
    busy_high: f64,
    step_up: u32,
    step_down: u32,
    cool_up: Duration,
    cool_down: Duration,
    steady: Duration,
    idle: Duration,
    smoothing: Duration,
}

impl Policy {
    /// Never fewer than `min` workers, never more than `max`. With a `min` of 0 there are none when there is nothing to do.
    ///
    /// # Errors
    /// `invalid-input` when `max` is 0 or less than `min`.
    pub fn between(min: u32, max: u32) -> Result<Self> {
        if max == 0 || min > max {
            return Err(Error::new(
                ErrorKind::InvalidInput,
                "the bounds of the number of workers do not fit",
            )
            .with("min", min)
            .with("max", max)
            .with_hint("let max be at least 1 and at least min"));
        }
        Ok(Self {
            min,
            max,
            wait_target: Duration::from_secs(1),
            busy_low: 0.5,
            busy_high: 0.8,
            step_up: 16,
            step_down: 16,
            cool_up: Duration::from_secs(3),
            cool_down: Duration::from_secs(30),
            steady: Duration::from_secs(30),
            idle: Duration::from_secs(300),
            smoothing: Duration::from_secs(10),
        })
    }

    /// How long a task should wait at most; 1 s unless set, at least 1 ms.
    #[must_use]
    pub fn with_wait_target(mut self, target: Duration) -> Self {
        self.wait_target = target.max(Duration::from_millis(1));
        self
    }

    /// Between which shares of their time workers should be busy; 0.5 and 0.8 unless set.
    ///
    /// # Errors
    /// `invalid-input` unless `0 < low < high <= 1`.
    pub fn with_busy(mut self, low: f64, high: f64) -> Result<Self> {
        if !(0.0 < low && low < high && high <= 1.0) {
            return Err(
                Error::new(ErrorKind::InvalidInput, "the thresholds of utilisation do not fit")
                    .with("low", low)
                    .with("high", high)
                    .with_hint("let them be 0 < low < high <= 1"),
            );
        }
        (self.busy_low, self.busy_high) = (low, high);
        Ok(self)
    }

    /// How many workers are added and taken away at once, at most; 16 each unless set, at least 1.
    #[must_use]
    pub fn with_steps(mut self, up: u32, down: u32) -> Self {
        (self.step_up, self.step_down) = (up.max(1), down.max(1));
        self
    }

    /// How long after a change workers may be added, and taken away; 3 s and 30 s unless set.
    #[must_use]
    pub fn with_cool_down(mut self, up: Duration, down: Duration) -> Self {
        (self.cool_up, self.cool_down) = (up, down);
        self
    }

    /// For how long fewer workers must have been enough before some are taken away; 30 s unless set. Up to 32 times as long
    /// for the last few, when they were soon wanted again before.
    #[must_use]
    pub fn with_steady(mut self, steady: Duration) -> Self {
        self.steady = steady;
        self
    }

    /// For how long there must have been nothing to do before the last worker goes, where `min` is 0; 5 min unless set.
    #[must_use]
    pub fn with_idle(mut self, idle: Duration) -> Self {
        self.idle = idle;
        self
    }

    /// Over how long rates and utilisation are averaged; 10 s unless set. Waiting is never averaged.
    #[must_use]
    pub fn with_smoothing(mut self, time: Duration) -> Self {
        self.smoothing = time;
        self
    }

    /// The least number of workers.
    pub fn min(&self) -> u32 {
        self.min
    }

    /// The largest number of workers.
    pub fn max(&self) -> u32 {
        self.max
    }

    /// How long a task should wait at most.
    pub fn wait_target(&self) -> Duration {
        self.wait_target
    }

    /// The utilisation that is aimed at when the number changes.
    fn aim(&self) -> f64 {
        f64::midpoint(self.busy_low, self.busy_high)
    }
}

/// How things stand.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Observation {
    /// Tasks that are ready and wait for a worker.
    pub queued: u64,
    /// How long the first of them has waited.
    pub oldest_wait: Duration,
    /// How many workers were busy, on average since the last observation.
    pub busy: f64,
    /// Tasks that became ready each second, since the last observation.
    pub arrivals_per_s: f64,
    /// Tasks that one busy worker does each second; 0 when that is not known.
    pub service_per_s: f64,
    /// How many workers there are, those included that are about to be. A [`Driver`](super::Driver) fills it in.
    pub running: u32,
}

/// What the policy remembers from one decision to the next. Begin with the default.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct State {
    seen_at: Option<Duration>,
    arrivals_per_s: f64,
    busy: f64,
    changed_at: Option<Duration>,
    low: Option<Low>,
    /// Since when there has been nothing to do.
    idle_since: Option<Duration>,
    /// When workers were last taken away.
    lowered_at: Option<Duration>,
    /// How often in a row that was soon regretted.
    regrets: u32,
}

/// A while in which fewer workers would have been enough.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Low {
    since: Duration,
    /// How many were needed at most since then; and in the stretch of time before, which was as long as the policy's.
    recent: (Duration, u32),
    before: u32,
}

impl Low {
    fn begin(now: Duration, needed: u32) -> Self {
        Self {
            since: now,
            recent: (now, needed),
            before: needed,
        }
    }

    /// What was needed long ago does not count for ever.
    fn note(&mut self, now: Duration, needed: u32, stretch: Duration) {
        let (since, most) = self.recent;
        if now.saturating_sub(since) > stretch {
            self.before = most;
            self.recent = (now, needed);
        } else {
            self.recent = (since, most.max(needed));
        }
    }

    fn needed(&self) -> u32 {
        self.before.max(self.recent.1)
    }
}

/// What is to be done.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Decision {
    /// How many workers there should be; within the policy's bounds.
    pub target: u32,
    /// Why.
    pub reason: Reason,
}

/// Why there should be so many.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Reason {
    /// There are as many as are needed, more or less.
    Steady,
    /// There were fewer than the least.
    BelowMin,
    /// There were more than allowed.
    AboveMax,
    /// There was nobody, and there is work.
    Woken,
    /// Tasks wait too long.
    Waiting,
    /// Workers are too busy.
    Busy,
    /// Workers have too little to do.
    Underused,
    /// There has long been nothing to do.
    Idle,
    /// A change is due, but the last one was only just.
    Cooling,
    /// More are needed than are allowed.
    AtMax,
}

impl Reason {
    /// A stable word in kebab case, as it stands in events.
    pub const fn code(self) -> &'static str {
        match self {
            Self::Steady => "steady",
            Self::BelowMin => "below-min",
            Self::AboveMax => "above-max",
            Self::Woken => "woken",
            Self::Waiting => "waiting",
            Self::Busy => "busy",
            Self::Underused => "underused",
            Self::Idle => "idle",
            Self::Cooling => "cooling",
            Self::AtMax => "at-max",
        }
    }
}

impl fmt::Display for Reason {
    /// Prints the [`code`](Self::code).
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.code())
    }
}

/// How many workers there should be, and what to remember until the next decision. `now` is a monotonic clock's time.
///
/// Total: odd observations (negative, infinite, no numbers at all) count as nothing, and a `now` that goes back as no time.
#[must_use]
pub fn decide(policy: &Policy, state: &State, seen: &Observation, now: Duration) -> (State, Decision) {
    let mut next = state.after(policy, seen, now);
    let decision = next.choose(policy, seen, now);
    match decision.target.cmp(&seen.running) {
        Ordering::Equal => {}
        Ordering::Less => (next.changed_at, next.lowered_at) = (Some(now), Some(now)),
        Ordering::Greater => {
            next.changed_at = Some(now);
            let soon = next.patience(policy).saturating_mul(REGRET_SPAN);
            let regretted = next.lowered_at.take().map(|at| now.saturating_sub(at) < soon);
            next.regrets = match regretted {
                Some(true) => next.regrets.saturating_add(1).min(REGRETS_MAX),
                Some(false) => next.regrets.saturating_sub(1),
                None => next.regrets,
            };
        }
    }
    (next, decision)
}

/// Workers that are wanted again within so many times the while for which they seemed to be too many went too soon.
const REGRET_SPAN: u32 = 8;

/// So many workers come and go with bursts.
const FEW: u32 = 4;

/// A few workers that bursts want now and then are kept up to 32 times as long: a quarter of an hour instead of half a minute.
const REGRETS_MAX: u32 = 5;

impl State {
    /// With the observation averaged in.
    fn after(&self, policy: &Policy, seen: &Observation, now: Duration) -> Self {
        let weight = match self.seen_at {
            Some(before) => {
                let (passed, over) = (now.saturating_sub(before), policy.smoothing);
                1.0 - (-passed.as_secs_f64() / over.as_secs_f64().max(1e-9)).exp()
            }
            None => 1.0,
        };
        let nothing = seen.queued == 0 && positive(seen.busy) == 0.0 && positive(seen.arrivals_per_s) == 0.0;
        Self {
            seen_at: Some(now),
            arrivals_per_s: blend(self.arrivals_per_s, positive(seen.arrivals_per_s), weight),
            busy: blend(self.busy, positive(seen.busy), weight),
            idle_since: nothing.then(|| self.idle_since.unwrap_or(now)),
            ..*self
        }
    }

    fn choose(&mut self, policy: &Policy, seen: &Observation, now: Duration) -> Decision {
        let running = seen.running;
        let to = |target, reason| Decision { target, reason };
        if running < policy.min {
            return to(policy.min, Reason::BelowMin);
        }
        if running > policy.max {
            return to(policy.max, Reason::AboveMax);
        }
        let needed = self.needed(policy, seen).min(policy.max);
        if running == 0 {
            self.low = None;
            return if self.idle_since.is_some() {
                to(0, Reason::Idle)
            } else {
                to(needed.clamp(1, policy.step_up), Reason::Woken)
            };
        }
        let waiting = seen.oldest_wait > policy.wait_target / 2;
        let utilisation = self.busy / f64::from(running);
        if waiting || utilisation > policy.busy_high {
            self.low = None;
            return if needed <= running {
                to(
                    running,
                    if running == policy.max {
                        Reason::AtMax
                    } else {
                        Reason::Steady
                    },
                )
            } else if self.cooling(policy.cool_up, now) {
                to(running, Reason::Cooling)
            } else {
                let reason = if waiting { Reason::Waiting } else { Reason::Busy };
                to(needed.min(running.saturating_add(policy.step_up)), reason)
            };
        }
        if utilisation >= policy.busy_low {
            self.low = None;
            return to(running, Reason::Steady);
        }
        let low = self.low.get_or_insert(Low::begin(now, needed));
        low.note(now, needed, policy.steady);
        let (since, peak) = (low.since, low.needed());
        let idle = self
            .idle_since
            .is_some_and(|since| now.saturating_sub(since) >= policy.idle);
        // The last one stays until it is certain that there is nothing to do.
        let floor = policy.min.max(u32::from(!idle));
        let wanted = if idle { floor } else { peak.max(floor) };
        // Where far fewer would do, bursts are not the reason.
        let far = idle || wanted.saturating_mul(2).saturating_add(FEW) <= running;
        let patience = if far { policy.steady } else { self.patience(policy) };
        if wanted >= running || now.saturating_sub(since) < patience {
            to(running, Reason::Steady)
        } else if self.cooling(policy.cool_down, now) {
            to(running, Reason::Cooling)
        } else {
            self.low = Some(Low {
                since,
                ..Low::begin(now, needed)
            });
            let reason = if idle { Reason::Idle } else { Reason::Underused };
            to(wanted.max(running.saturating_sub(policy.step_down)), reason)
        }
    }

    /// How many workers the load needs, whatever is allowed.
    fn needed(&self, policy: &Policy, seen: &Observation) -> u32 {
        let rate = positive(seen.service_per_s);
        let running = f64::from(seen.running);
        let mut needed = if rate > 0.0 {
            let busy = self.arrivals_per_s / rate;
            // What waits should be done within the target, beside what comes.
            #[expect(clippy::cast_precision_loss, reason = "nobody counts so many tasks to the last one")]
            let backlog = seen.queued as f64 / (rate * policy.wait_target.as_secs_f64());
            busy / policy.aim() + backlog
        } else {
            self.busy / policy.aim()
        };
        // Rates lag behind and may be wrong; that tasks wait too long is certain, and so is that everybody is busy.
        if seen.oldest_wait > policy.wait_target {
            needed = needed.max(running + 1.0);
        }
        if self.busy > policy.busy_high * running {
            needed = needed.max(self.busy / policy.aim());
        }
        whole(needed)
    }

    /// For how long fewer workers must have been enough. Doubles each time when going down was regretted, so that a load
    /// that is steady but comes in bursts does not make the number go up and down for ever.
    fn patience(&self, policy: &Policy) -> Duration {
        policy.steady.saturating_mul(1 << self.regrets.min(REGRETS_MAX))
    }

    fn cooling(&self, time: Duration, now: Duration) -> bool {
        self.changed_at.is_some_and(|at| now.saturating_sub(at) < time)
    }
}

/// The number, or nothing when it makes no sense.
fn positive(number: f64) -> f64 {
    if number.is_finite() && number > 0.0 {
        number
    } else {
        0.0
    }
}

fn blend(old: f64, new: f64, weight: f64) -> f64 {
    positive(old + (new - old) * weight)
}

/// The next whole number, within what a number of workers can be.
fn whole(number: f64) -> u32 {
    // A hair above a whole number is that number: sums of fractions are seldom exact.
    let up = (number - 1e-9).ceil();
    if up >= f64::from(u32::MAX) {
        return u32::MAX;
    }
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "it is whole and within the bounds"
    )]
    let whole = up.max(0.0) as u32;
    whole
}
