//! What the tests share.

use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use hive_orchestration::builders::Builder;
use hive_orchestration::core::clock::ManualClock;
use hive_orchestration::core::testing::TestDb;
use hive_orchestration::task::{TaskState, TaskStatus};
use hive_orchestration::{Hive, TaskHandle};
use tempfile::TempDir;
use tokio::sync::watch;

/// A database that goes away with the test, and a folder.
pub(crate) struct Home {
    dir: TempDir,
    server: Option<TestDb>,
}

impl Home {
    /// A file in the folder.
    pub(crate) fn new() -> Self {
        Self {
            dir: tempfile::tempdir().unwrap(),
            server: None,
        }
    }

    #[cfg(feature = "postgres")]
    pub(crate) fn postgres() -> Self {
        Self {
            server: Some(TestDb::postgres()),
            ..Self::new()
        }
    }

    /// A hive on the database.
    pub(crate) fn hive(&self) -> Builder {
        match &self.server {
            Some(server) => Hive::on(server.options()),
            None => Hive::open(self.db()),
        }
    }

    /// Whether several processes may share it.
    pub(crate) fn is_shared(&self) -> bool {
        self.server.is_some()
    }

    pub(crate) fn db(&self) -> PathBuf {
        self.dir.path().join("hive.db")
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }
}

/// Counts and remembers what agents really did, across hives.
#[derive(Clone, Debug, Default)]
pub(crate) struct Ledger {
    count: Arc<AtomicUsize>,
    lines: Arc<Mutex<Vec<String>>>,
}

impl Ledger {
    pub(crate) fn add(&self, line: impl Into<String>) -> usize {
        self.lines.lock().unwrap().push(line.into());
        self.count.fetch_add(1, Ordering::SeqCst) + 1
    }

    pub(crate) fn count(&self) -> usize {
        self.count.load(Ordering::SeqCst)
    }

    pub(crate) fn lines(&self) -> Vec<String> {
        self.lines.lock().unwrap().clone()
    }

    /// Waits for a line.
    pub(crate) async fn seen(&self, line: &str) {
        soon(async {
            while !self.lines().iter().any(|known| known == line) {
                tokio::task::yield_now().await;
            }
        })
        .await;
    }

    /// Waits for so many lines.
    pub(crate) async fn counted(&self, count: usize) {
        soon(async {
            while self.count() < count {
                tokio::task::yield_now().await;
            }
        })
        .await;
    }
}

/// Holds agents up until the test lets them go.
#[derive(Clone, Debug)]
pub(crate) struct Gate {
    open: watch::Sender<bool>,
}

impl Gate {
    pub(crate) fn new() -> Self {
        Self {
            open: watch::Sender::new(false),
        }
    }

    pub(crate) fn open(&self) {
        self.open.send_replace(true);
    }

    pub(crate) async fn passed(&self) {
        self.open.subscribe().wait_for(|open| *open).await.unwrap();
    }
}

/// No test waits longer than this for anything. A guard against hanging, not a measure: a busy machine may need half of it.
pub(crate) async fn soon<T>(future: impl Future<Output = T>) -> T {
    tokio::time::timeout(Duration::from_secs(90), future)
        .await
        .expect("it took too long")
}

/// Waits until the task is in this state.
pub(crate) async fn until<T>(task: &TaskHandle<T>, state: TaskState) -> TaskStatus {
    soon(async {
        let mut changes = task.watch();
        loop {
            let status = changes.next().await.unwrap().expect("the task ended otherwise");
            if status.state == state {
                return status;
            }
        }
    })
    .await
}

/// Waits until the status is as wanted, while time passes in small steps.
pub(crate) async fn passing<T>(
    clock: &ManualClock,
    task: &TaskHandle<T>,
    wanted: impl Fn(&TaskStatus) -> bool,
) -> TaskStatus {
    soon(async {
        loop {
            let status = task.status().await.unwrap();
            if wanted(&status) {
                return status;
            }
            clock.advance(Duration::from_millis(10));
            tokio::task::yield_now().await;
        }
    })
    .await
}

/// The hive can no longer write a word, as if its process were gone.
pub(crate) async fn crash(hive: Hive) {
    hive.db().close().await.unwrap();
}

/// The next process. The dead hive's workers let go of the file within moments.
pub(crate) async fn reopened(open: impl Fn() -> Builder) -> Hive {
    soon(async {
        loop {
            match open().start().await {
                Ok(hive) => return hive,
                Err(error) => assert_eq!(error.code(), "database-locked"),
            }
        }
    })
    .await
}
