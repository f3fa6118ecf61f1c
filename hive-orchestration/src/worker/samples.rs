//! What has to be looked at to be known, looked at now and then.

use std::sync::Arc;
use std::time::Duration;

use hive_errors::Result;
use tokio::task::spawn_blocking;
use tokio_util::sync::CancellationToken;

use super::Shop;
use crate::queue::depth;
use crate::telemetry::{Telemetry, float, resources};

/// Samples what is sampled until `ending`, and once more then: nothing runs any more. What cannot be looked at is left as it was.
pub(super) async fn sample(shop: Arc<Shop>, ending: CancellationToken) {
    let mut before = (shop.queue.clock.monotonic(), Duration::ZERO);
    while !ending.is_cancelled() {
        before = slots(&shop, before);
        runs(&shop);
        tokio::select! {
            biased;
            () = ending.cancelled() => {}
            () = look(&shop) => {}
        }
    }
    slots(&shop, before);
    runs(&shop);
}

/// Looks at what is elsewhere, and rests.
async fn look(shop: &Shop) {
    let Some(every) = shop.queue.pace.sample else {
        return std::future::pending().await;
    };
    if let Err(error) = ready(shop).await {
        tracing::debug!(%error, "how much is ready could not be measured");
    }
    process(&shop.queue.telemetry).await;
    shop.queue.clock.sleep(every).await;
}

fn runs(shop: &Shop) {
    for agent in shop.registry.names() {
        let runs = f64::from(shop.meters.running(agent));
        shop.queue.telemetry.agent(agent).runs.set(runs);
    }
}

/// Given when, and how long slots had been busy then.
fn slots(shop: &Shop, (then, worked): (Duration, Duration)) -> (Duration, Duration) {
    let (gauges, usage) = (&shop.queue.telemetry.gauges, shop.places.usage());
    gauges.slots.set(float(usage.size as u64));
    gauges.busy.set(float(usage.busy as u64));
    gauges.waiting.set(float(usage.waiting as u64));
    gauges.threads.set(float(shop.threads.busy() as u64));
    let now = shop.queue.clock.monotonic();
    let there = now.saturating_sub(then).as_secs_f64() * float(usage.size as u64);
    let busy = usage.worked.saturating_sub(worked).as_secs_f64();
    let share = if there > 0.0 { (busy / there).min(1.0) } else { 0.0 };
    gauges.utilization.set(share);
    (now, usage.worked)
}

async fn ready(shop: &Shop) -> Result<()> {
    let agents: Vec<String> = shop.registry.names().map(str::to_owned).collect();
    let asked = agents.clone();
    let depths = shop.db.read(move |db| depth::depths(db, &asked)).await?;
    for (agent, depth) in agents.iter().zip(depths) {
        let metrics = shop.queue.telemetry.agent(agent);
        metrics.ready.set(float(depth.tasks));
        metrics.oldest.set(depth.oldest.as_secs_f64());
    }
    Ok(())
}

async fn process(telemetry: &Telemetry) {
    match spawn_blocking(resources).await {
        Ok(Some(found)) => {
            telemetry.gauges.memory.set(float(found.memory_bytes));
            telemetry.gauges.fds.set(float(found.open_fds));
            telemetry.gauges.cpu.set(found.cpu_s);
        }
        Ok(None) => {}
        Err(error) => tracing::debug!(%error, "what the process takes could not be measured"),
    }
}
