//! A hive's own slots as workers, and its queue as their load.

#[cfg(test)]
mod tests;

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use hive_errors::Result;

use super::Shop;
use crate::autoscale::{Driver, Load, Observation, Policy, Workers};
use crate::limits;
use crate::queue::depth;

/// What [`Builder::autoscale`](crate::builders::Builder::autoscale) asks for.
pub(super) fn driver(shop: &Arc<Shop>, policy: Policy) -> Driver {
    let (workers, load) = (OwnSlots(Arc::clone(shop)), OwnQueue::new(Arc::clone(shop)));
    Driver::new(NAME, policy, Arc::new(workers), Arc::new(load))
        .clock(Arc::clone(&shop.queue.clock))
        .events(shop.queue.bus.clone(), shop.queue.instance)
}

/// What the workers are called in events.
const NAME: &str = "slots";

/// The slots of this process. Those that are too many go when their runs end.
struct OwnSlots(Arc<Shop>);

#[async_trait]
impl Workers for OwnSlots {
    async fn set(&self, count: u32) -> Result<()> {
        self.0.places.resize(count as usize);
        self.0.queue.wakeups.dispatch();
        Ok(())
    }

    fn running(&self) -> u32 {
        u32::try_from(self.0.places.size()).unwrap_or(u32::MAX)
    }
}

/// What is ready, for the agents of this process, and how fast it does it.
struct OwnQueue {
    shop: Arc<Shop>,
    agents: Vec<String>,
    pace: Mutex<Pace>,
}

impl OwnQueue {
    fn new(shop: Arc<Shop>) -> Self {
        Self {
            agents: shop.registry.names().map(str::to_owned).collect(),
            pace: Mutex::default(),
            shop,
        }
    }
}

#[async_trait]
impl Load for OwnQueue {
    async fn observe(&self) -> Result<Observation> {
        let agents = self.agents.clone();
        let depths = self.shop.db.read(move |db| depth::depths(db, &agents)).await?;
        let places = &self.shop.places;
        let usage = places.usage();
        // A run that comes back from a wait needs a slot as well.
        let mut seen = Observation {
            queued: usage.waiting as u64,
            oldest_wait: usage.oldest_wait,
            ..Observation::default()
        };
        let mut ready = 0;
        for (agent, depth) in self.agents.iter().zip(depths) {
            ready += depth.tasks;
            // What a limit holds back does not wait for a slot: neither what was left when there were slots enough, nor what its
            // agent's own limit here leaves no room for.
            let left = if places.is_short() {
                places.left_of(agent)
            } else {
                Some(0)
            };
            let tasks = left.map_or(depth.tasks, |left| depth.tasks.min(left as u64));
            seen.queued += tasks;
            if tasks > 0 {
                seen.oldest_wait = seen.oldest_wait.max(depth.oldest);
            }
        }
        let (begun, over) = self.shop.meters.totals();
        let count = Count {
            at: self.shop.queue.clock.monotonic(),
            arrived: begun + ready,
            done: over,
            worked: usage.worked,
        };
        let mut pace = self.pace.lock().unwrap_or_else(PoisonError::into_inner);
        pace.note(count, &mut seen);
        Ok(seen)
    }
}

/// Counters at one point of the monotonic clock.
#[derive(Clone, Copy, Debug, Default)]
struct Count {
    at: Duration,
    arrived: u64,
    done: u64,
    worked: Duration,
}

/// How fast tasks come and are done.
#[derive(Clone, Copy, Debug, Default)]
struct Pace {
    last: Option<Count>,
    /// Runs that ended of late, and how long slots were busy meanwhile. What is longer ago counts less and less.
    done: f64,
    worked_s: f64,
}

impl Pace {
    fn note(&mut self, count: Count, seen: &mut Observation) {
        let Some(last) = self.last.replace(count) else {
            return;
        };
        let passed = count.at.saturating_sub(last.at).as_secs_f64();
        if passed <= 0.0 {
            return;
        }
        let worked_s = count.worked.saturating_sub(last.worked).as_secs_f64();
        let kept = (-passed / limits::AUTOSCALE_PACE.as_secs_f64()).exp();
        self.done = self.done * kept + float(count.done.saturating_sub(last.done));
        self.worked_s = self.worked_s * kept + worked_s;
        seen.busy = worked_s / passed;
        seen.arrivals_per_s = float(count.arrived.saturating_sub(last.arrived)) / passed;
        seen.service_per_s = if self.worked_s > 0.0 {
            self.done / self.worked_s
        } else {
            0.0
        };
    }
}

#[expect(clippy::cast_precision_loss, reason = "nobody counts so many tasks to the last one")]
fn float(number: u64) -> f64 {
    number as f64
}
