//! The engine on a PostgreSQL server, beside a bare loop on tokio-postgres.

use hive_core::db::Options;
use hive_core::testing::{Postgres, PostgresOptions};
use hive_core_bench::{Bar, Figures};
use hive_orchestration::Hive;
use tokio::runtime::Runtime;

use crate::kit::{self, TASKS};
use crate::raw_server;

pub(crate) fn run(runtime: &Runtime, figures: &mut Figures) -> Vec<(String, Bar)> {
    // A server of its own, with its syncs on.
    let server = Postgres::start(PostgresOptions::new().fsync(true));
    let url = server.database();
    runtime.block_on(async {
        let made = kit::noop(Hive::on(Options::postgres(url.clone())));
        made.start().await.unwrap().shutdown().await.unwrap();
        for (name, telling) in [
            ("raw.postgres.noop_tasks_per_s", true),
            ("raw.postgres.silent_tasks_per_s", false),
        ] {
            // As the engine, it has had its turn before it is measured.
            raw_server::tasks_per_s(&url, TASKS / 4, telling).await;
            figures.record(name, raw_server::tasks_per_s(&url, TASKS, telling).await, "tasks/s");
        }
    });
    let url = server.database();
    runtime.block_on(async {
        let hive = kit::noop(Hive::on(Options::postgres(url))).concurrency(256);
        let hive = hive.start().await.unwrap();
        kit::noops(&hive, figures, "postgres", TASKS).await;
        kit::burn_down(&hive, figures, "postgres", TASKS).await;
        kit::limited(&hive, figures, "postgres", TASKS).await;
        kit::submissions(&hive, figures, "postgres", TASKS / 2).await;
        hive.shutdown().await.unwrap();
    });
    vec![
        ("engine.postgres.raw_ratio".to_owned(), Bar::Ratio(0.5)),
        ("engine.postgres.noop_tasks_per_s".to_owned(), Bar::PerS(5_000.0)),
        ("engine.postgres.limits_ratio.1".to_owned(), Bar::Ratio(0.9)),
        ("engine.postgres.limits_ratio.3".to_owned(), Bar::Ratio(0.9)),
    ]
}
