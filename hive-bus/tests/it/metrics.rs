//! What is counted, as whoever collects it sees it.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use hive_bus::{Begin, ErrorKind, Sequence};
use hive_core::testing::TestDb;
use hive_errors::RetryPolicy;
use metrics::{
    Counter, CounterFn, Gauge, GaugeFn, Histogram, HistogramFn, Key, KeyName, Metadata, Recorder, SharedString, Unit,
};

use crate::{Fixture, event};

/// Sums, by name and labels.
#[derive(Default)]
struct Kept {
    sums: Mutex<BTreeMap<String, Arc<Sum>>>,
}

#[derive(Default)]
struct Sum {
    count: AtomicU64,
    last: AtomicU64,
}

impl Kept {
    fn of(&self, key: &Key) -> Arc<Sum> {
        let labels: Vec<String> = key
            .labels()
            .map(|label| format!("{}={}", label.key(), label.value()))
            .collect();
        let name = format!("{}{{{}}}", key.name(), labels.join(","));
        Arc::clone(self.sums.lock().unwrap().entry(name).or_default())
    }

    fn count(&self, name: &str) -> u64 {
        let sums = self.sums.lock().unwrap();
        sums.get(name).map_or(0, |sum| sum.count.load(Ordering::Relaxed))
    }
}

impl CounterFn for Sum {
    fn increment(&self, value: u64) {
        self.count.fetch_add(value, Ordering::Relaxed);
    }

    fn absolute(&self, value: u64) {
        self.count.store(value, Ordering::Relaxed);
    }
}

impl GaugeFn for Sum {
    fn increment(&self, _: f64) {}

    fn decrement(&self, _: f64) {}

    fn set(&self, value: f64) {
        self.last.store(value as u64, Ordering::Relaxed);
        self.count.fetch_add(1, Ordering::Relaxed);
    }
}

impl HistogramFn for Sum {
    fn record(&self, _: f64) {
        self.count.fetch_add(1, Ordering::Relaxed);
    }
}

impl Recorder for Kept {
    fn describe_counter(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}

    fn describe_gauge(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}

    fn describe_histogram(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}

    fn register_counter(&self, key: &Key, _: &Metadata<'_>) -> Counter {
        Counter::from_arc(self.of(key))
    }

    fn register_gauge(&self, key: &Key, _: &Metadata<'_>) -> Gauge {
        Gauge::from_arc(self.of(key))
    }

    fn register_histogram(&self, key: &Key, _: &Metadata<'_>) -> Histogram {
        Histogram::from_arc(self.of(key))
    }
}

#[test]
fn publishers_and_consumers_are_counted() {
    let kept = Kept::default();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    metrics::with_local_recorder(&kept, || runtime.block_on(work()));
    let consumer = |name: &str, more: &str| format!("{name}{{transport=sqlite,consumer=c{more}}}");
    for (name, expected) in [
        ("hive_bus_published_total{transport=sqlite}".to_owned(), 4),
        // Two calls that went well, of one and of three events.
        ("hive_bus_publish_seconds{transport=sqlite}".to_owned(), 2),
        (
            "hive_bus_publish_errors_total{transport=sqlite,code=conflict}".to_owned(),
            1,
        ),
        // Four events, two of them twice.
        (consumer("hive_bus_delivered_total", ""), 6),
        (consumer("hive_bus_redelivered_total", ""), 2),
        (consumer("hive_bus_delivery_seconds", ""), 4),
        (consumer("hive_bus_settled_total", ",verdict=acked"), 3),
        (consumer("hive_bus_settled_total", ",verdict=failed"), 3),
        (consumer("hive_bus_dead_total", ",reason=exhausted"), 1),
    ] {
        let names: Vec<String> = kept.sums.lock().unwrap().keys().cloned().collect();
        assert_eq!(kept.count(&name), expected, "{name} of {names:?}");
    }
    assert!(kept.count(&consumer("hive_bus_lag_events", "")) > 0);
}

async fn work() {
    let hive = Fixture::on(TestDb::sqlite()).await;
    let known = event("known").id(hive_core::id::IdSource::system().next());
    hive.bus.publish(known.clone()).await.unwrap();
    hive.bus
        .publish_all(vec![event("a"), event("b"), event("c")])
        .await
        .unwrap();
    let refused = hive.bus.publish(known.correlation("another")).await;
    assert_eq!(refused.unwrap_err().kind(), ErrorKind::Conflict);

    let consume = hive.bus.consumer("c", "*").begin(Begin::Oldest);
    let consumer = consume.retry(RetryPolicy::fixed(2, Duration::ZERO)).await.unwrap();
    for _ in 0..6 {
        let delivery = consumer.next().await.unwrap();
        match (delivery.event().topic().as_str(), delivery.attempt()) {
            ("a", _) | ("b", 1) => delivery.nack("no").await.unwrap(),
            _ => delivery.ack().await.unwrap(),
        }
    }
    assert_eq!(hive.bus.dead_letters("c", Sequence::START, 9).await.unwrap().len(), 1);
    drop(consumer);
    hive.bus.shutdown().await.unwrap();
}
