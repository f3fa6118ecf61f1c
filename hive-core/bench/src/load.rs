//! The parties that write, and what they measured.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::time::{Duration, Instant};

use tokio::runtime::Runtime;
use tokio::task::JoinSet;

/// How many write at once, what, and for how long.
#[derive(Clone, Copy, Debug)]
pub struct Load {
    /// How many work at once.
    pub writers: usize,
    /// How many bytes each operation carries.
    pub bytes: usize,
    /// For how long.
    pub span: Duration,
}

impl Load {
    /// The end of the names of this load's figures.
    pub fn suffix(self) -> String {
        match self.bytes {
            200 => self.writers.to_string(),
            1024 => format!("{}.1k", self.writers),
            bytes => format!("{}.{bytes}b", self.writers),
        }
    }
}

/// How long each acknowledged operation took, and all of them together.
#[derive(Debug)]
pub struct Measured {
    sorted: Vec<Duration>,
    span: Duration,
}

impl Measured {
    /// Operations that took so long each, within this span.
    pub fn new(mut times: Vec<Duration>, span: Duration) -> Self {
        times.sort_unstable();
        Self { sorted: times, span }
    }

    /// Several of the same thing as one.
    pub fn join(parts: Vec<Self>) -> Self {
        let span = parts.iter().map(|part| part.span).sum();
        Self::new(parts.into_iter().flat_map(|part| part.sorted).collect(), span)
    }

    /// Operations a second.
    pub fn per_s(&self) -> f64 {
        self.sorted.len() as f64 / self.span.as_secs_f64()
    }

    /// The median, in milliseconds.
    pub fn p50_ms(&self) -> f64 {
        self.percentile(50)
    }

    /// What one in a hundred takes longer than, in milliseconds.
    pub fn p99_ms(&self) -> f64 {
        self.percentile(99)
    }

    fn percentile(&self, percent: usize) -> f64 {
        self.sorted[self.sorted.len() * percent / 100].as_secs_f64() * 1e3
    }
}

/// Runs `write` in as many tasks as the load says, each awaiting its last one first, until time is up.
pub fn measure<F>(runtime: &Runtime, load: Load, write: impl Fn(i64) -> F + Clone + Send + 'static) -> Measured
where
    F: Future<Output = ()> + Send,
{
    let stop = Arc::new(AtomicBool::new(false));
    // One count for all, so that the index grows at its end as it does for rows that are dated.
    let count = Arc::new(AtomicI64::new(0));
    runtime.block_on(async {
        let started = Instant::now();
        let mut tasks = JoinSet::new();
        for _ in 0..load.writers {
            let (write, stop, count) = (write.clone(), Arc::clone(&stop), Arc::clone(&count));
            tasks.spawn(async move {
                let mut times = Vec::new();
                while !stop.load(Ordering::Relaxed) {
                    let begun = Instant::now();
                    write(count.fetch_add(1, Ordering::Relaxed)).await;
                    times.push(begun.elapsed());
                }
                times
            });
        }
        drop(write);
        tokio::time::sleep(load.span).await;
        stop.store(true, Ordering::Relaxed);
        let times = tasks.join_all().await.into_iter().flatten().collect();
        Measured::new(times, started.elapsed())
    })
}

/// One thing after another until time is up.
pub fn repeat(span: Duration, mut once: impl FnMut(i64)) -> Measured {
    let (started, mut times) = (Instant::now(), Vec::new());
    while started.elapsed() < span {
        let begun = Instant::now();
        once(times.len() as i64);
        times.push(begun.elapsed());
    }
    Measured::new(times, started.elapsed())
}

/// Lets contestants take turns in short slices, each time another one first, so that all meet the same disk. What comes back
/// has one entry per contestant, with one per slice.
pub fn contest(slices: usize, contestants: &[&dyn Fn() -> Measured]) -> Vec<Vec<Measured>> {
    let mut measured: Vec<Vec<Measured>> = contestants.iter().map(|_| Vec::new()).collect();
    for slice in 0..slices {
        for turn in 0..contestants.len() {
            let index = (slice + turn) % contestants.len();
            measured[index].push(contestants[index]());
        }
    }
    measured
}
