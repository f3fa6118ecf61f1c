//! What an operator is told: in the log, and through the `metrics` façade.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use expect_test::{Expect, expect};
use metrics::{
    Counter, CounterFn, Gauge, GaugeFn, Histogram, Key, KeyName, Metadata, Recorder, SharedString, Unit,
    with_local_recorder,
};
use tracing::field::{Field, Visit};
use tracing::{Event, Level, Subscriber, span};

use super::shelf::Mode;
use super::{MINUTE, before_shelf};
use crate::limits::CACHE_MEMORY_TTL;

/// Keeps what the log says at `info` and above.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<String>>);

impl Subscriber for Log {
    fn enabled(&self, metadata: &tracing::Metadata<'_>) -> bool {
        *metadata.level() <= Level::INFO
    }

    fn new_span(&self, _: &span::Attributes<'_>) -> span::Id {
        span::Id::from_u64(1)
    }

    fn record(&self, _: &span::Id, _: &span::Record<'_>) {}
    fn record_follows_from(&self, _: &span::Id, _: &span::Id) {}
    fn enter(&self, _: &span::Id) {}
    fn exit(&self, _: &span::Id) {}

    fn event(&self, event: &Event<'_>) {
        let mut log = self.0.lock().unwrap();
        write!(log, "{}", event.metadata().level()).unwrap();
        event.record(&mut Fields(&mut log));
        log.push('\n');
    }
}

struct Fields<'a>(&'a mut String);

impl Visit for Fields<'_> {
    fn record_debug(&mut self, field: &Field, value: &dyn std::fmt::Debug) {
        // The report of the error has lines of its own; its first says which one it was.
        let value = format!("{value:?}");
        write!(self.0, " {field}={}", value.lines().next().unwrap_or_default()).unwrap();
    }
}

/// Keeps what the façade is given.
#[derive(Default)]
struct Kept(Mutex<BTreeMap<String, Arc<Number>>>);

#[derive(Default)]
struct Number(AtomicU64);

impl CounterFn for Number {
    fn increment(&self, value: u64) {
        self.0.fetch_add(value, Ordering::Relaxed);
    }

    fn absolute(&self, value: u64) {
        self.0.store(value, Ordering::Relaxed);
    }
}

impl GaugeFn for Number {
    fn increment(&self, _: f64) {}
    fn decrement(&self, _: f64) {}

    fn set(&self, value: f64) {
        self.0.store(value.to_bits(), Ordering::Relaxed);
    }
}

impl Kept {
    fn number(&self, key: &Key) -> Arc<Number> {
        let labels: Vec<String> = key
            .labels()
            .map(|label| format!("{}={}", label.key(), label.value()))
            .collect();
        let name = format!("{}{{{}}}", key.name(), labels.join(","));
        Arc::clone(self.0.lock().unwrap().entry(name).or_default())
    }

    fn show(&self) -> String {
        let numbers = self.0.lock().unwrap();
        let line = |(name, number): (&String, &Arc<Number>)| {
            let value = number.0.load(Ordering::Relaxed);
            match name.contains("_total") {
                true => format!("{name} {value}\n"),
                false => format!("{name} {}\n", f64::from_bits(value)),
            }
        };
        numbers.iter().map(line).collect()
    }
}

impl Recorder for Kept {
    fn describe_counter(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}
    fn describe_gauge(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}
    fn describe_histogram(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}

    fn register_counter(&self, key: &Key, _: &Metadata<'_>) -> Counter {
        Counter::from_arc(self.number(key))
    }

    fn register_gauge(&self, key: &Key, _: &Metadata<'_>) -> Gauge {
        Gauge::from_arc(self.number(key))
    }

    fn register_histogram(&self, _: &Key, _: &Metadata<'_>) -> Histogram {
        Histogram::noop()
    }
}

fn check(text: &str, expected: &Expect) {
    expected.assert_eq(text);
}

#[test]
fn an_outage_is_told_once_and_its_end_as_well() {
    let (log, kept) = (Log::default(), Kept::default());
    let (cache, shelf, clock) = with_local_recorder(&kept, before_shelf);
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    tracing::subscriber::with_default(log.clone(), || {
        runtime.block_on(async {
            for mode in [Mode::Serves, Mode::Away] {
                shelf.set(mode);
                for number in 0..10_u8 {
                    cache
                        .get_or_compute(&number.to_string(), MINUTE, async || Ok(number))
                        .await
                        .unwrap();
                }
                clock.advance(CACHE_MEMORY_TTL);
                if mode == Mode::Away {
                    cache.put("0", &1, MINUTE).await.unwrap();
                    cache.put("0", &1, MINUTE).await.unwrap();
                    cache.put("0", &1, MINUTE).await.unwrap();
                }
            }
            for number in 0..10_u8 {
                cache.get::<u8>(&number.to_string()).await;
            }
        });
        check(
            &kept.show(),
            &expect![[r#"
            hive_cache_coalesced_total{cache=test} 0
            hive_cache_computes_total{cache=test} 10
            hive_cache_degraded{cache=test} 1
            hive_cache_errors_total{cache=test} 22
            hive_cache_evictions_total{cache=test} 0
            hive_cache_hits_total{cache=test} 20
            hive_cache_misses_total{cache=test} 10
            hive_cache_refused_total{cache=test} 0
        "#]],
        );
        shelf.set(Mode::Serves);
        runtime.block_on(async {
            clock.advance(CACHE_MEMORY_TTL);
            for number in 0..10_u8 {
                cache.get::<u8>(&number.to_string()).await;
            }
        });
    });
    check(
        &log.0.lock().unwrap(),
        &expect![[r#"
        WARN message=the cache goes on without its shared store cache="test" store="shelf" what="reads" error=error[storage]: the shelf is away
        WARN message=the cache goes on without its shared store cache="test" store="shelf" what="writes" error=error[storage]: the shelf is away
        INFO message=the cache reaches its shared store again cache="test" store="shelf" what="writes"
        INFO message=the cache reaches its shared store again cache="test" store="shelf" what="reads"
    "#]],
    );
    assert!(kept.show().starts_with("hive_cache_coalesced_total{cache=test} 0\n"));
    assert!(kept.show().contains("hive_cache_degraded{cache=test} 0\n"));
}
