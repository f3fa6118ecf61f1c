//! The loads that every transport meets, and the bus's side of them.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use hive_bus::{Begin, Bus, NewEvent, Order};
use hive_core_bench::{Figures, Load, Measured, contest, measure};
use tokio::runtime::Runtime;

use crate::{SLICE, SLICES};

pub(crate) const BYTES: usize = 200;
pub(crate) const BATCH: usize = 100;

/// How many publish at once, and how many events each at a time.
#[derive(Clone, Copy)]
pub(crate) struct Publishers {
    pub(crate) name: &'static str,
    pub(crate) count: usize,
    pub(crate) batch: usize,
}

pub(crate) const SINGLE: Publishers = Publishers {
    name: "single",
    count: 1,
    batch: 1,
};
pub(crate) const HUNDRED: Publishers = Publishers {
    name: "100",
    count: 100,
    batch: 1,
};
pub(crate) const BATCHED: Publishers = Publishers {
    name: "batched",
    count: 8,
    batch: BATCH,
};
pub(crate) const ALL: [Publishers; 3] = [SINGLE, HUNDRED, BATCHED];

impl Publishers {
    pub(crate) fn load(self) -> Load {
        Load {
            writers: self.count,
            bytes: BYTES,
            span: SLICE,
        }
    }
}

/// An event of some two hundred bytes, on one of a hundred topics.
pub(crate) fn event(number: i64) -> NewEvent {
    let topic = format!("bench.item.{}", number.rem_euclid(100));
    NewEvent::new("bench.item", topic, &body()).unwrap()
}

/// The same event as a text, for clients that know no more.
#[cfg(any(feature = "redis", feature = "nats"))]
pub(crate) fn as_text(number: i64) -> String {
    let topic = format!("bench.item.{}", number.rem_euclid(100));
    format!(
        r#"{{"specversion":"1.0","id":"evt_{number:026}","source":"/hive","type":"bench.item","subject":"{topic}","data":{:?}}}"#,
        body()
    )
}

pub(crate) fn body() -> String {
    "x".repeat(BYTES - 2)
}

pub(crate) fn own(runtime: &Runtime, bus: &Bus, publishers: Publishers) -> Measured {
    let bus = bus.clone();
    measure(runtime, publishers.load(), move |number| {
        let bus = bus.clone();
        async move {
            if publishers.batch == 1 {
                bus.publish(event(number)).await.unwrap();
            } else {
                let events = (0..publishers.batch as i64)
                    .map(|at| event(number * 100 + at))
                    .collect();
                bus.publish_all(events).await.unwrap();
            }
        }
    })
}

/// Lets the bare loop and the bus take turns, and notes what they did.
pub(crate) fn compare(
    figures: &mut Figures,
    transport: &str,
    publishers: Publishers,
    raw: &dyn Fn() -> Measured,
    own: &dyn Fn() -> Measured,
) {
    let slices = contest(SLICES, &[raw, own]);
    for (of, slices) in ["raw", "bus"].into_iter().zip(slices) {
        let name = format!("{of}.{transport}");
        for slice in &slices {
            let per_s = slice.per_s() * publishers.batch as f64;
            figures.record(&format!("{name}.events_per_s.{}", publishers.name), per_s, "events/s");
        }
        let round = Measured::join(slices);
        figures.record(
            &format!("{name}.publish_p50_ms.{}", publishers.name),
            round.p50_ms(),
            "ms",
        );
        figures.record(
            &format!("{name}.publish_p99_ms.{}", publishers.name),
            round.p99_ms(),
            "ms",
        );
    }
}

/// How many events a durable consumer is given and acknowledges in a second, from a log that is full of them.
pub(crate) fn consume(runtime: &Runtime, figures: &mut Figures, bus: &Bus, transport: &str) {
    let total = 20_000_u64;
    runtime.block_on(async {
        let first = bus.publish_all((0..BATCH as i64).map(event).collect()).await.unwrap()[0];
        for batch in 1..total as i64 / BATCH as i64 {
            let events = (0..BATCH as i64).map(|at| event(batch * 100 + at)).collect();
            bus.publish_all(events).await.unwrap();
        }
        let name = format!("bench-{}", first.get());
        let consume = bus.consumer(name.clone(), "bench.>").begin(Begin::At(first));
        let consumer = consume.order(Order::ByKey).prefetch(1_024).await.unwrap();
        let done = Arc::new(AtomicU64::new(0));
        let begun = Instant::now();
        let working = tokio::spawn({
            let (consumer, done) = (consumer.clone(), Arc::clone(&done));
            async move {
                while done.load(Ordering::Relaxed) < total {
                    let Ok(batch) = consumer.batch(512).await else { return };
                    done.fetch_add(batch.len() as u64, Ordering::Relaxed);
                    let consumer = consumer.clone();
                    // The next are handled while these are written down.
                    tokio::spawn(async move { consumer.ack_all(batch).await.unwrap() });
                }
            }
        });
        working.await.unwrap();
        while bus.consumer_info(&name).await.unwrap().taken > 0 {
            tokio::time::sleep(Duration::from_micros(200)).await;
        }
        let per_s = total as f64 / begun.elapsed().as_secs_f64();
        figures.record(&format!("bus.{transport}.consumed_per_s"), per_s, "events/s");
        bus.remove_consumer(&name).await.unwrap();
    });
}

/// The bus to the bare loop, within each slice.
pub(crate) fn ratios(figures: &mut Figures) {
    for transport in ["sqlite", "postgres", "redis", "nats"] {
        for publishers in ALL {
            let name = publishers.name;
            figures.ratio(
                &format!("bus.{transport}.raw_ratio.{name}"),
                &format!("bus.{transport}.events_per_s.{name}"),
                &[&format!("raw.{transport}.events_per_s.{name}")],
            );
        }
    }
}
