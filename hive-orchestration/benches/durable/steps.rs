//! Steps, as quick as they go.

use std::path::Path;
use std::time::Instant;

use hive_core_bench::{Bar, Figures};
use hive_orchestration::builders::{AnyAgent, Builder};
use hive_orchestration::{Context, Failure, Hive, agent_fn};
use tokio::runtime::Runtime;

use crate::raw;

const AT_ONCE: [usize; 4] = [1, 16, 64, 256];
const STEPS: usize = 50;

fn stepper() -> AnyAgent {
    agent_fn("stepper", async |cx: Context, steps: usize| {
        for n in 0..steps {
            cx.step("step", async || Ok::<_, Failure>(n)).await?;
        }
        Ok::<_, Failure>(())
    })
}

/// Steps a second of so many agents at once, and how many that were.
async fn measure(builder: Builder, at_once: usize, steps: usize) -> f64 {
    let hive = builder.agent(stepper()).concurrency(at_once).start().await.unwrap();
    let tasks = (steps / STEPS).max(at_once);
    let begun = Instant::now();
    for task in hive
        .submit_all((0..tasks).map(|_| hive.submit_named("stepper", &STEPS)))
        .await
        .unwrap()
    {
        task.result().await.unwrap();
    }
    let per_s = (tasks * STEPS) as f64 / begun.elapsed().as_secs_f64();
    hive.shutdown().await.unwrap();
    per_s
}

pub(crate) fn sqlite(runtime: &Runtime, figures: &mut Figures) -> Vec<(String, Bar)> {
    for at_once in AT_ONCE {
        let folder = tempfile::tempdir().unwrap();
        let steps = if at_once == 1 { 2_000 } else { 32_000 };
        let per_s = runtime.block_on(measure(Hive::open(folder.path().join("hive.db")), at_once, steps));
        figures.record(&format!("durable.sqlite.steps_per_s.{at_once}"), per_s, "steps/s");
        if at_once == 64 {
            let file = folder.path().join("raw.db");
            runtime.block_on(async { Hive::open(&file).start().await.unwrap().shutdown().await.unwrap() });
            figures.record("raw.sqlite.steps_per_s.64", raw::steps_per_s(&file, 64, 500), "steps/s");
        }
    }
    vec![
        ("durable.sqlite.raw_ratio.64".to_owned(), Bar::Ratio(0.5)),
        ("durable.sqlite.steps_per_s.64".to_owned(), Bar::PerS(10_000.0)),
    ]
}

#[cfg(feature = "postgres")]
pub(crate) fn postgres(runtime: &Runtime, figures: &mut Figures) -> Vec<(String, Bar)> {
    use hive_core::db::Options;
    use hive_core::testing::{Postgres, PostgresOptions};

    // A server of its own, with its syncs on.
    let server = Postgres::start(PostgresOptions::new().fsync(true));
    for at_once in AT_ONCE {
        let steps = if at_once == 1 { 1_000 } else { 16_000 };
        let hive = Hive::on(Options::postgres(server.database()));
        let per_s = runtime.block_on(measure(hive, at_once, steps));
        figures.record(&format!("durable.postgres.steps_per_s.{at_once}"), per_s, "steps/s");
    }
    Vec::new()
}

/// What the file grows by.
pub(crate) fn disk(runtime: &Runtime, figures: &mut Figures) -> Vec<(String, Bar)> {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("hive.db");
    let size = |file: &Path| std::fs::metadata(file).unwrap().len() as f64;
    runtime.block_on(measure(Hive::open(&file), 64, 64 * STEPS));
    let before = size(&file);
    runtime.block_on(measure(Hive::open(&file), 64, 64 * 10 * STEPS));
    let grown = size(&file) - before;
    figures.record("durable.bytes_per_step", grown / (64 * 10 * STEPS) as f64, "B");
    vec![("durable.bytes_per_step".to_owned(), Bar::Below(600.0))]
}
