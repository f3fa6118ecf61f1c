//! What the tests share.

use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use hive_orchestration::TaskHandle;
use hive_orchestration::task::{TaskState, TaskStatus};
use tempfile::TempDir;

/// A folder that goes away with the test, and the database in it.
pub(crate) struct Home {
    dir: TempDir,
}

impl Home {
    pub(crate) fn new() -> Self {
        Self {
            dir: tempfile::tempdir().unwrap(),
        }
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
}

/// No test waits longer than this for anything.
pub(crate) async fn soon<T>(future: impl Future<Output = T>) -> T {
    tokio::time::timeout(Duration::from_secs(20), future)
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
