//! Applies what the policy says.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use hive_bus::catalog::SystemScaled;
use hive_bus::{Bus, NewEvent};
use hive_core::clock::{Clock, SystemClock, timeout};
use hive_core::id::InstanceId;
use hive_core::shutdown::Shutdown;
use hive_errors::Result;

use super::policy::{Decision, Observation, Policy, State, decide};
use crate::limits;

/// What can be made more or fewer.
#[async_trait]
pub trait Workers: Send + Sync + 'static {
    /// Sees to it that there are so many. Returns when that is under way: those that are too many may finish what they do.
    ///
    /// # Errors
    /// Whatever stands in the way; it is asked again.
    async fn set(&self, count: u32) -> Result<()>;

    /// How many there are, or are about to be.
    fn running(&self) -> u32;
}

/// Knows how much there is to do.
#[async_trait]
pub trait Load: Send + Sync + 'static {
    /// How things stand; `running` need not be filled in.
    ///
    /// # Errors
    /// Whatever stands in the way; nothing changes then, and it is asked again.
    async fn observe(&self) -> Result<Observation>;
}

/// Makes rates of counters that only grow.
///
/// ```
/// use std::time::Duration;
/// use hive_orchestration::autoscale::Meter;
///
/// let mut meter = Meter::default();
/// meter.measure(Duration::from_secs(10), 100, 90, 4.0);
/// let (arrivals_per_s, service_per_s) = meter.measure(Duration::from_secs(20), 150, 130, 4.0);
/// assert_eq!((arrivals_per_s, service_per_s), (5.0, 1.0)); // 50 in 10 s; 40 by 4 workers in 10 s
/// ```
#[derive(Clone, Copy, Debug, Default)]
pub struct Meter {
    last: Option<(Duration, u64, u64)>,
}

impl Meter {
    /// Tasks each second that came, and that one busy worker did, since the last measurement: from the time of a monotonic
    /// clock, how many ever came and were done, and how many workers were busy meanwhile. Both are 0 at first, and where
    /// nothing can be said.
    pub fn measure(&mut self, now: Duration, arrived: u64, done: u64, busy: f64) -> (f64, f64) {
        let last = self.last.replace((now, arrived, done));
        let Some((before, arrived_before, done_before)) = last else {
            return (0.0, 0.0);
        };
        let passed = now.saturating_sub(before).as_secs_f64();
        #[expect(clippy::cast_precision_loss, reason = "nobody counts so many tasks to the last one")]
        let per = |more: u64, time: f64| if time > 0.0 { more as f64 / time } else { 0.0 };
        (
            per(arrived.saturating_sub(arrived_before), passed),
            per(done.saturating_sub(done_before), passed * busy),
        )
    }
}

/// Looks at the load again and again and sets the number of workers.
pub struct Driver {
    name: String,
    policy: Policy,
    state: State,
    workers: Arc<dyn Workers>,
    load: Arc<dyn Load>,
    every: Duration,
    clock: Arc<dyn Clock>,
    bus: Option<(Bus, InstanceId)>,
}

impl Driver {
    /// A driver of the workers of this name, which stands in its events and logs.
    pub fn new(name: impl Into<String>, policy: Policy, workers: Arc<dyn Workers>, load: Arc<dyn Load>) -> Self {
        Self {
            name: name.into(),
            policy,
            state: State::default(),
            workers,
            load,
            every: limits::AUTOSCALE_EVERY,
            clock: Arc::new(SystemClock),
            bus: None,
        }
    }

    /// How often it looks; [`AUTOSCALE_EVERY`](crate::limits::AUTOSCALE_EVERY) unless set.
    #[must_use]
    pub fn every(mut self, time: Duration) -> Self {
        self.every = time;
        self
    }

    /// Where time comes from; the system unless set.
    #[must_use]
    pub fn clock(mut self, clock: Arc<dyn Clock>) -> Self {
        self.clock = clock;
        self
    }

    /// Publishes a `system.scaled` event for each change, in the name of this instance.
    #[must_use]
    pub fn events(mut self, bus: Bus, instance: InstanceId) -> Self {
        self.bus = Some((bus, instance));
        self
    }

    /// Looks once, decides and applies.
    ///
    /// # Errors
    /// Those of the load, the workers and the bus; `timeout` when one of them does not answer within
    /// [`AUTOSCALE_ANSWER`](crate::limits::AUTOSCALE_ANSWER). Unless it is the bus's, the number of workers is as before as
    /// far as is known, and the next look decides anew.
    ///
    /// # Cancel safety
    /// Dropped, the workers may or may not have been told.
    pub async fn step(&mut self) -> Result<Decision> {
        let (clock, limit) = (&*self.clock, limits::AUTOSCALE_ANSWER);
        let mut seen = timeout(clock, limit, self.load.observe()).await??;
        seen.running = self.workers.running();
        let (state, decision) = decide(&self.policy, &self.state, &seen, clock.monotonic());
        if decision.target != seen.running {
            timeout(clock, limit, self.workers.set(decision.target)).await??;
        }
        // A change that failed was none, so there is nothing to cool down from.
        self.state = state;
        if decision.target != seen.running {
            tracing::info!(
                workers = self.name,
                from = seen.running,
                to = decision.target,
                reason = decision.reason.code(),
                queued = seen.queued,
                "scaled"
            );
            if let Some((bus, instance)) = &self.bus {
                let event = NewEvent::of(&SystemScaled {
                    instance: *instance,
                    workers: self.name.clone(),
                    from: seen.running,
                    to: decision.target,
                    reason: decision.reason.code().to_owned(),
                    queued: seen.queued,
                    oldest_wait_ms: u64::try_from(seen.oldest_wait.as_millis()).unwrap_or(u64::MAX),
                })?;
                timeout(clock, limit, bus.publish(event)).await??;
            }
        }
        Ok(decision)
    }

    /// Goes on until it is time to stop. What fails is logged and tried again.
    ///
    /// # Cancel safety
    /// As [`step`](Self::step).
    pub async fn run(mut self, stop: Shutdown) {
        while !stop.is_requested() {
            if let Ok(Err(error)) = stop.guard(self.step()).await {
                tracing::warn!(workers = self.name, %error, "the number of workers could not be decided");
            }
            tokio::select! {
                () = stop.requested() => {}
                () = self.clock.sleep(self.every) => {}
            }
        }
    }
}

impl fmt::Debug for Driver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Driver")
            .field("name", &self.name)
            .field("policy", &self.policy)
            .field("running", &self.workers.running())
            .finish_non_exhaustive()
    }
}
