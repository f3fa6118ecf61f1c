//! What a cache costs beside the bare libraries under it, and what it saves.
//!
//! `cargo bench -p hive-core --bench cache --features redis,test-util` prints one `figure <name> <value> <unit>` line per
//! figure: the median over the rounds, in each of which the contestants take turns. It starts a Redis server of its own,
//! or uses the one that `HIVE_TEST_REDIS` names.
//!
//! - `raw.moka.*` is the map alone, without times, regions or types; `cache.memory.bytes_*` the store on top
//!   of it, as [`Store`]; `cache.memory.get_*` the whole of [`Cache::get`], which decodes a number.
//! - `raw.redis.*` is one `GET` on a connection of the library; `cache.redis.store_*` the store; `cache.redis.get_*` the whole
//!   of a cache that believes its memory for no time at all and so asks the server every time.
//! - `cache.hit_ratio` is that of a load in which few keys are asked for often (Zipf, exponent 1) and a tenth of the keys fits,
//!   beside `ideal.hit_ratio`, where just the most popular ones are kept from the beginning.
//! - `cache.away.*` is what a caller pays while the server is away.

#![expect(
    clippy::disallowed_methods,
    reason = "a benchmark measures real time and has no clock port"
)]
#![expect(clippy::unwrap_used, reason = "a benchmark that cannot go on should stop")]
#![expect(clippy::print_stdout, reason = "figures go to standard output")]

use std::collections::BTreeMap;
use std::hint::black_box;
use std::sync::Arc;
use std::time::{Duration, Instant};

use hive_core::cache::memory::{self, Memory};
use hive_core::cache::redis::{self as shared, Redis};
use hive_core::cache::{Cache, Options, Store};
use hive_core::rng::{Rng, SeededRng};
use hive_core::testing;
use redis::aio::MultiplexedConnection;
use tokio::runtime::Runtime;
use tokio::task::JoinSet;

const ROUNDS: usize = 7;
const HOUR: Duration = Duration::from_secs(3_600);
/// Keys of the loads in memory: more than the processor's caches hold.
const KEYS: usize = 100_000;
const GETS: usize = 300_000;
const CALLS: usize = 3_000;
const TOGETHER: usize = 64;
const STAMPEDE: usize = 1_000;

#[derive(Default)]
struct Figures(BTreeMap<&'static str, (Vec<f64>, &'static str)>);

impl Figures {
    fn record(&mut self, name: &'static str, value: f64, unit: &'static str) {
        self.0.entry(name).or_insert_with(|| (Vec::new(), unit)).0.push(value);
    }

    /// The ratio of two series, taken within each round.
    fn ratio(&mut self, name: &'static str, of: &str, to: &str) {
        let (Some((of, _)), Some((to, _))) = (self.0.get(of), self.0.get(to)) else {
            return;
        };
        let ratios = of.iter().zip(to).map(|(of, to)| of / to).collect();
        self.0.insert(name, (ratios, "ratio"));
    }

    fn print(mut self) {
        for (name, (values, unit)) in &mut self.0 {
            println!("figure {name} {:.3} {unit}", quantile(values, 0.5));
        }
    }
}

/// The value that this part of the others are not above.
fn quantile(values: &mut [f64], part: f64) -> f64 {
    values.sort_by(f64::total_cmp);
    let last = values.len().saturating_sub(1);
    values
        .get((last as f64 * part).round() as usize)
        .copied()
        .unwrap_or(f64::NAN)
}

fn main() {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .unwrap();
    let mut figures = Figures::default();
    memory(&runtime, &mut figures);
    hits(&runtime, &mut figures);
    stampedes(&runtime, &mut figures);
    over_the_wire(&runtime, &mut figures);
    away(&runtime, &mut figures);
    figures.print();
}

/// How often a second `work` can be done.
fn per_second(count: usize, work: impl FnOnce()) -> f64 {
    let begun = Instant::now();
    work();
    count as f64 / begun.elapsed().as_secs_f64()
}

fn memory(runtime: &Runtime, figures: &mut Figures) {
    let keys: Vec<String> = (0..KEYS).map(|number| format!("key {number}")).collect();
    let order: Vec<&String> = {
        let rng = SeededRng::new(1);
        let pick = || keys.get(rng.next_u64() as usize % KEYS).unwrap();
        (0..GETS).map(|_| pick()).collect()
    };
    let raw: moka::sync::Cache<Box<str>, Arc<[u8]>> = moka::sync::Cache::new(KEYS as u64 * 2);
    let store = Memory::new(memory::Options::new());
    let cache = Cache::new(Options::new("bench"));
    runtime.block_on(async {
        for key in &keys {
            raw.insert(key.as_str().into(), b"1234567".as_slice().into());
            store.put(key, b"1234567".as_slice().into(), HOUR).await.unwrap();
            cache.put(key, &1_234_567_u64, HOUR).await.unwrap();
        }
    });
    for _ in 0..ROUNDS {
        let speed = per_second(GETS, || {
            for key in &order {
                black_box(raw.get(key.as_str()).unwrap());
            }
        });
        figures.record("raw.moka.get_per_s", speed, "1/s");
        let speed = per_second(GETS, || {
            runtime.block_on(async {
                for key in &order {
                    black_box(store.get(key).await.unwrap().unwrap());
                }
            });
        });
        figures.record("cache.memory.bytes_per_s", speed, "1/s");
        let speed = per_second(GETS, || {
            runtime.block_on(async {
                for key in &order {
                    black_box(cache.get::<u64>(key).await.unwrap());
                }
            });
        });
        figures.record("cache.memory.get_per_s", speed, "1/s");
        let speed = per_second(GETS, || {
            runtime.block_on(async {
                for key in &order {
                    black_box(cache.get_or_compute(key, HOUR, async || Ok(0_u64)).await.unwrap());
                }
            });
        });
        figures.record("cache.memory.get_or_compute_per_s", speed, "1/s");
    }
    figures.ratio("cache.memory.raw_ratio", "cache.memory.get_per_s", "raw.moka.get_per_s");
}

fn hits(runtime: &Runtime, figures: &mut Figures) {
    let weights: Vec<f64> = (1..=KEYS).map(|rank| 1.0 / rank as f64).collect();
    let total: f64 = weights.iter().sum();
    let mut sum = 0.0;
    let bounds: Vec<f64> = weights
        .iter()
        .map(|weight| {
            sum += weight / total;
            sum
        })
        .collect();
    let room = KEYS / 10;
    figures.record("ideal.hit_ratio", bounds.get(room - 1).copied().unwrap(), "ratio");
    let rng = SeededRng::new(2);
    let cache = Cache::new(Options::new("bench").memory(memory::Options::new().entries(room as u64)));
    runtime.block_on(async {
        let ask = async || {
            let at = rng.next_u64() as f64 / u64::MAX as f64;
            let key = bounds.partition_point(|bound| *bound < at);
            cache
                .get_or_compute(&key.to_string(), HOUR, async || Ok(key))
                .await
                .unwrap();
        };
        for _ in 0..KEYS * 5 {
            ask().await;
        }
        // Only what comes after it has filled up.
        let before = cache.stats();
        for _ in 0..KEYS * 5 {
            ask().await;
        }
        let after = cache.stats();
        let (hits, misses) = (after.hits - before.hits, after.misses - before.misses);
        figures.record("cache.hit_ratio", hits as f64 / (hits + misses) as f64, "ratio");
        figures.record(
            "cache.hit_ratio.computes",
            (after.computes - before.computes) as f64,
            "calls",
        );
    });
}

fn stampedes(runtime: &Runtime, figures: &mut Figures) {
    for _ in 0..ROUNDS {
        let cache = Cache::new(Options::new("bench"));
        let begun = Instant::now();
        runtime.block_on(async {
            let mut callers = JoinSet::new();
            for _ in 0..STAMPEDE {
                let cache = cache.clone();
                callers.spawn(async move {
                    let compute = async || {
                        tokio::time::sleep(Duration::from_millis(10)).await;
                        Ok(7)
                    };
                    cache.get_or_compute("key", HOUR, compute).await.unwrap()
                });
            }
            callers.join_all().await;
        });
        figures.record("cache.stampede.ms.1000", begun.elapsed().as_secs_f64() * 1e3, "ms");
        figures.record("cache.stampede.computes.1000", cache.stats().computes as f64, "calls");
    }
}

/// The times of one call after another, in microseconds.
async fn one_by_one(mut call: impl AsyncFnMut()) -> Vec<f64> {
    let mut times = Vec::with_capacity(CALLS);
    for _ in 0..CALLS {
        let begun = Instant::now();
        call().await;
        times.push(begun.elapsed().as_secs_f64() * 1e6);
    }
    times
}

/// Calls a second when so many are made at once.
async fn together<F: Future<Output = ()> + Send + 'static>(make: impl Fn() -> F) -> f64 {
    let begun = Instant::now();
    let mut callers = JoinSet::new();
    for _ in 0..TOGETHER {
        callers.spawn(make());
    }
    callers.join_all().await;
    (TOGETHER * CALLS / 10) as f64 / begun.elapsed().as_secs_f64()
}

async fn ask(mut connection: MultiplexedConnection, key: String) -> Option<Vec<u8>> {
    redis::cmd("GET").arg(key).query_async(&mut connection).await.unwrap()
}

fn over_the_wire(runtime: &Runtime, figures: &mut Figures) {
    let url = testing::Redis::shared().url();
    let prefix = format!("bench {}:", std::process::id());
    runtime.block_on(async {
        let raw = redis::Client::open(url).unwrap();
        let raw = raw.get_multiplexed_async_connection().await.unwrap();
        // A benchmark may wait: on a busy machine, a call that is given up would be no measure.
        let options = shared::Options::new(url).prefix(&prefix).command_timeout(HOUR);
        let store = Redis::new(options.connections(1)).unwrap();
        let cache = Cache::new(Options::new("bench").shared(store.clone()).memory_ttl(Duration::ZERO));
        let value: Arc<[u8]> = serde_json::to_vec(&"x".repeat(200)).unwrap().into();
        // Where the cache looks for the key `key`.
        store.put(":key", value, HOUR).await.unwrap();
        let key = format!("{prefix}:key");

        for _ in 0..ROUNDS {
            let mut raw_times = one_by_one(async || drop(ask(raw.clone(), key.clone()).await.unwrap())).await;
            let mut store_times = one_by_one(async || drop(store.get(":key").await.unwrap().unwrap())).await;
            let mut cache_times = one_by_one(async || drop(cache.get::<String>("key").await.unwrap())).await;
            for (p50, p99, times) in [
                ("raw.redis.get_p50_us", "raw.redis.get_p99_us", &mut raw_times),
                ("cache.redis.store_p50_us", "cache.redis.store_p99_us", &mut store_times),
                ("cache.redis.get_p50_us", "cache.redis.get_p99_us", &mut cache_times),
            ] {
                figures.record(p50, quantile(times, 0.5), "us");
                figures.record(p99, quantile(times, 0.99), "us");
            }
            let calls = together(|| {
                let (raw, key) = (raw.clone(), key.clone());
                async move {
                    for _ in 0..CALLS / 10 {
                        ask(raw.clone(), key.clone()).await.unwrap();
                    }
                }
            })
            .await;
            figures.record("raw.redis.get_per_s.64", calls, "1/s");
            let calls = together(|| {
                let store = store.clone();
                async move {
                    for _ in 0..CALLS / 10 {
                        store.get(":key").await.unwrap().unwrap();
                    }
                }
            })
            .await;
            figures.record("cache.redis.get_per_s.64", calls, "1/s");
        }
        store.remove(&[":key"]).await.unwrap();
    });
    figures.ratio(
        "cache.redis.raw_ratio_p50",
        "cache.redis.get_p50_us",
        "raw.redis.get_p50_us",
    );
    figures.ratio(
        "cache.redis.raw_ratio.64",
        "cache.redis.get_per_s.64",
        "raw.redis.get_per_s.64",
    );
}

fn away(runtime: &Runtime, figures: &mut Figures) {
    let server = testing::Redis::start();
    let store = Redis::new(shared::Options::new(server.url())).unwrap();
    let cache = Cache::new(Options::new("bench").shared(store).memory_ttl(Duration::ZERO));
    server.kill();
    runtime.block_on(async {
        let mut number = 0_u64;
        for _ in 0..ROUNDS {
            let mut times = one_by_one(async || {
                number += 1;
                cache
                    .get_or_compute(&number.to_string(), HOUR, async || Ok(number))
                    .await
                    .unwrap();
            })
            .await;
            figures.record("cache.away.get_or_compute_p50_us", quantile(&mut times, 0.5), "us");
            figures.record("cache.away.get_or_compute_p99_us", quantile(&mut times, 0.99), "us");
        }
    });
}
