//! How long it takes from the call that publishes to the subscriber that has the event.

use std::time::{Duration, Instant, SystemTime};

use hive_bus::Bus;
use hive_core_bench::{Bar, Figures, Measured};
use tokio::runtime::Runtime;

use crate::publish::event;
use crate::sqlite;

const EVENTS: u64 = 2_000;
/// Between two events, so that each meets an idle bus.
const PAUSE: Duration = Duration::from_micros(500);

/// Set in the process that publishes for another: the address of the database.
const CHILD: &str = "HIVE_BENCH_PUBLISH_TO";

pub(crate) fn run(runtime: &Runtime, figures: &mut Figures) -> Vec<(String, Bar)> {
    let (own, _folder) = sqlite::open(runtime);
    let publisher = own.bus.clone();
    let measured = runtime.block_on(async {
        let mut subscription = own.bus.subscribe("bench.>").await.unwrap();
        let publishing = tokio::spawn(async move { publish(&publisher).await });
        let mut times = Vec::new();
        let begun = Instant::now();
        while times.len() < EVENTS as usize {
            let event = subscription.next().await.unwrap();
            times.push(age(event.time().as_micros()));
        }
        publishing.await.unwrap();
        Measured::new(times, begun.elapsed())
    });
    figures.record("bus.deliver_p50_ms", measured.p50_ms(), "ms");
    figures.record("bus.deliver_p99_ms", measured.p99_ms(), "ms");
    own.close(runtime);
    vec![("bus.deliver_p99_ms".to_owned(), Bar::BelowMs(5.0))]
}

async fn publish(bus: &Bus) {
    for number in 0..EVENTS as i64 {
        // Its time is that of the call.
        bus.publish(event(number)).await.unwrap();
        tokio::time::sleep(PAUSE).await;
    }
}

/// How long ago that was.
fn age(micros: i64) -> Duration {
    let now = SystemTime::UNIX_EPOCH.elapsed().unwrap();
    now.saturating_sub(Duration::from_micros(micros.try_into().unwrap()))
}

pub(crate) fn is_child() -> bool {
    std::env::var_os(CHILD).is_some()
}

#[cfg(not(all(feature = "postgres", feature = "test-util")))]
pub(crate) fn child(_: &Runtime) {
    panic!("only a benchmark with PostgreSQL starts others");
}

/// Publishes for the process that started this one.
#[cfg(all(feature = "postgres", feature = "test-util"))]
pub(crate) fn child(runtime: &Runtime) {
    let address = std::env::var(CHILD).unwrap();
    runtime.block_on(async {
        let (db, bus) = crate::postgres::open(address).await;
        publish(&bus).await;
        bus.shutdown().await.unwrap();
        db.close().await.unwrap();
    });
}

/// The same from another process, which shares the database.
#[cfg(all(feature = "postgres", feature = "test-util"))]
pub(crate) fn across(runtime: &Runtime, figures: &mut Figures, bus: &Bus, address: &str) {
    let measured = runtime.block_on(async {
        let mut subscription = bus.subscribe("bench.>").await.unwrap();
        let own = std::env::current_exe().unwrap();
        let mut child = tokio::process::Command::new(own)
            .arg("--bench")
            .env(CHILD, address)
            .spawn()
            .unwrap();
        let mut times = Vec::new();
        let mut last = hive_bus::Sequence::START;
        let begun = Instant::now();
        while times.len() < EVENTS as usize {
            let event = subscription.next().await.unwrap();
            assert!(event.sequence() > last);
            last = event.sequence();
            times.push(age(event.time().as_micros()));
        }
        assert!(child.wait().await.unwrap().success());
        Measured::new(times, begun.elapsed())
    });
    figures.record("bus.deliver_across_p50_ms", measured.p50_ms(), "ms");
    figures.record("bus.deliver_across_p99_ms", measured.p99_ms(), "ms");
}
