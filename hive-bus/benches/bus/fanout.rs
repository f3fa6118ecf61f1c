//! One publisher, many subscribers of everything.

use std::time::Instant;

use hive_bus::Sequence;
use hive_core_bench::{Bar, Figures};
use tokio::runtime::Runtime;
use tokio::task::JoinSet;

use crate::publish::{BATCH, event};
use crate::sqlite;

pub(crate) fn run(runtime: &Runtime, figures: &mut Figures) -> Vec<(String, Bar)> {
    for (subscribers, total) in [(1, 20_000), (100, 5_000), (1_000, 2_000)] {
        let (own, _folder) = sqlite::open(runtime);
        let per_s = runtime.block_on(async {
            let mut listening = JoinSet::new();
            for _ in 0..subscribers {
                let mut subscription = own.bus.subscribe("bench.>").await.unwrap();
                listening.spawn(async move {
                    while subscription.next().await.unwrap().sequence() < Sequence::new(total) {}
                });
            }
            let begun = Instant::now();
            for batch in 0..total as i64 / BATCH as i64 {
                let events = (0..BATCH as i64).map(|at| event(batch * 100 + at)).collect();
                own.bus.publish_all(events).await.unwrap();
            }
            listening.join_all().await;
            total as f64 * f64::from(subscribers) / begun.elapsed().as_secs_f64()
        });
        figures.record(&format!("bus.fanout_per_s.{subscribers}"), per_s, "deliveries/s");
        own.close(runtime);
    }
    Vec::new()
}
