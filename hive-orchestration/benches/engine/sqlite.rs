//! The engine on a SQLite file, beside bare loops on rusqlite.

use hive_core_bench::{Bar, Figures};
use hive_orchestration::Hive;
use tokio::runtime::Runtime;

use crate::kit::{self, TASKS};
use crate::raw;

pub(crate) fn run(runtime: &Runtime, figures: &mut Figures) -> Vec<(String, Bar)> {
    let folder = tempfile::tempdir().unwrap();
    let made = kit::noop(Hive::open(folder.path().join("raw.db")));
    runtime.block_on(async { made.start().await.unwrap().shutdown().await.unwrap() });
    for (name, telling) in [
        ("raw.sqlite.noop_tasks_per_s", true),
        ("raw.sqlite.silent_tasks_per_s", false),
    ] {
        figures.record(name, raw::tasks_per_s(folder.path(), TASKS, telling), "tasks/s");
    }
    figures.record(
        "bare.sqlite.jobs_per_s",
        raw::jobs_per_s(folder.path(), TASKS),
        "jobs/s",
    );
    runtime.block_on(async {
        let hive = kit::noop(Hive::open(folder.path().join("hive.db"))).concurrency(256);
        let hive = hive.start().await.unwrap();
        kit::noops(&hive, figures, "sqlite", TASKS).await;
        kit::burn_down(&hive, figures, "sqlite", TASKS).await;
        kit::limited(&hive, figures, "sqlite", TASKS).await;
        kit::submissions(&hive, figures, "sqlite", TASKS).await;
        hive.shutdown().await.unwrap();
    });
    vec![
        ("engine.sqlite.raw_ratio".to_owned(), Bar::Ratio(0.5)),
        ("engine.sqlite.limits_ratio.1".to_owned(), Bar::Ratio(0.9)),
        ("engine.sqlite.limits_ratio.3".to_owned(), Bar::Ratio(0.9)),
        ("engine.sqlite.noop_tasks_per_s".to_owned(), Bar::PerS(20_000.0)),
    ]
}
