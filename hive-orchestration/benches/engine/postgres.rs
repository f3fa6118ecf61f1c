//! The engine on a PostgreSQL server, beside a bare loop on tokio-postgres.

use hive_core::testing::TestDb;
use hive_core_bench::{Bar, Figures};
use hive_orchestration::Hive;
use tokio::runtime::Runtime;

use crate::kit::{self, TASKS};

pub(crate) fn run(runtime: &Runtime, figures: &mut Figures) -> Vec<(String, Bar)> {
    let place = TestDb::postgres();
    runtime.block_on(async {
        let hive = kit::noop(Hive::on(place.options())).concurrency(256);
        let hive = hive.start().await.unwrap();
        kit::noops(&hive, figures, "postgres", TASKS / 2).await;
        kit::limited(&hive, figures, "postgres", TASKS / 2).await;
        kit::submissions(&hive, figures, "postgres", TASKS / 2).await;
        hive.shutdown().await.unwrap();
    });
    vec![
        ("engine.postgres.noop_tasks_per_s".to_owned(), Bar::PerS(5_000.0)),
        ("engine.postgres.limits_ratio".to_owned(), Bar::Ratio(0.9)),
    ]
}
