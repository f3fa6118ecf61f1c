//! A process that is killed with its hands full, and the one that goes on in its place.

use std::io::{BufRead, BufReader, Read, Write};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use hive_core::testing::Postgres;
use hive_core_bench::{Bar, Figures};
use hive_orchestration::builders::Builder;
use hive_orchestration::core::db::Options;
use hive_orchestration::{Context, Failure, Hive, agent_fn};
use tokio::runtime::Runtime;
use tokio::sync::watch;

/// The database of the process that is to be killed; set for it alone.
const VARIABLE: &str = "HIVE_BENCH_VICTIM";
const RUNNING: usize = 10_000;
const BAR_MS: f64 = 5_000.0;

/// How many runs have begun.
#[derive(Clone)]
struct Begun {
    count: Arc<AtomicUsize>,
    first: watch::Sender<bool>,
    all: watch::Sender<bool>,
}

impl Begun {
    fn new() -> Self {
        Self {
            count: Arc::default(),
            first: watch::Sender::new(false),
            all: watch::Sender::new(false),
        }
    }

    fn add(&self) {
        match self.count.fetch_add(1, Ordering::SeqCst) + 1 {
            1 => drop(self.first.send_replace(true)),
            RUNNING => drop(self.all.send_replace(true)),
            _ => {}
        }
    }
}

fn hive(url: &str, begun: &Begun) -> Builder {
    let begun = begun.clone();
    let agent = agent_fn("endless", move |_: Context, _: ()| {
        begun.add();
        std::future::pending::<Result<(), Failure>>()
    });
    Hive::on(Options::postgres(url))
        .agent(agent)
        .concurrency(RUNNING)
        .drain(Duration::ZERO)
}

async fn until(told: &watch::Sender<bool>) {
    told.subscribe().wait_for(|told| *told).await.unwrap();
}

/// Is the victim if this process was started as that, and then does not come back.
pub(crate) fn be(runtime: &Runtime) {
    let Ok(url) = std::env::var(VARIABLE) else { return };
    runtime.block_on(async {
        let begun = Begun::new();
        let hive = hive(&url, &begun).start().await.unwrap();
        for _ in 0..RUNNING / 1_000 {
            let new = (0..1_000).map(|_| hive.submit_named("endless", &()));
            hive.submit_all(new).await.unwrap();
        }
        until(&begun.all).await;
        let mut out = std::io::stdout();
        out.write_all(b"running\n").unwrap();
        out.flush().unwrap();
    });
    // Until it is killed, or whoever would have done that is gone.
    let _gone = std::io::stdin().read(&mut [0]);
    std::process::exit(1);
}

fn victim(url: &str) -> Child {
    let mut child = Command::new(std::env::current_exe().unwrap())
        .env(VARIABLE, url)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut line = String::new();
    BufReader::new(child.stdout.take().unwrap())
        .read_line(&mut line)
        .unwrap();
    assert_eq!(line, "running\n");
    child
}

/// From the death of a process with ten thousand tasks in its hands until another, which is started then, runs them.
pub(crate) fn recover(runtime: &Runtime, figures: &mut Figures) -> Vec<(String, Bar)> {
    let url = Postgres::shared().database();
    let mut child = victim(&url);
    let begun = Begun::new();
    let killed = Instant::now();
    child.kill().unwrap();
    child.wait().unwrap();
    runtime.block_on(async {
        let hive = hive(&url, &begun).start().await.unwrap();
        for (told, name) in [
            (&begun.first, "engine.postgres.recover_first_ms"),
            (&begun.all, "engine.postgres.recover_all_ms"),
        ] {
            until(told).await;
            figures.record(name, killed.elapsed().as_secs_f64() * 1e3, "ms");
        }
        hive.shutdown().await.unwrap();
    });
    Postgres::shared().drop_database(&url);
    ["first", "all"]
        .map(|what| (format!("engine.postgres.recover_{what}_ms"), Bar::BelowMs(BAR_MS)))
        .into()
}
