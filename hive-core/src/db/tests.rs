//! The database room. What needs a second process, another user or a full disk is in `tests/it/database.rs`.

mod again;
mod closing;
mod group;
mod guarding;
mod looking;
mod model;
mod reading;
mod settings;
mod values;

use std::sync::mpsc;

use tempfile::TempDir;
use tokio::sync::oneshot;
use tokio::task::{JoinHandle, JoinSet};

use super::{Db, Engine, Migration, Migrations, Options, Tx};
use hive_errors::Result;

static ITEMS: Migrations = Migrations {
    owner: "test",
    list: &[Migration::new(
        1,
        "item",
        "CREATE TABLE item (id INTEGER PRIMARY KEY, value INTEGER NOT NULL) STRICT;",
        "DROP TABLE item;",
    )],
};

const INSERT: &str = "INSERT INTO item (id, value) VALUES (?1, ?2)";

/// A folder with a database in it.
struct Home {
    dir: TempDir,
}

impl Home {
    fn new() -> Self {
        Self {
            dir: tempfile::tempdir().unwrap(),
        }
    }

    fn options(&self) -> Options {
        Options::file(self.dir.path().join("test.db")).migrations(&ITEMS)
    }

    async fn open(&self) -> Db {
        Db::open(self.options()).await.unwrap()
    }

    /// The names of the files beside the database, sorted.
    fn files(&self) -> Vec<String> {
        let entries = std::fs::read_dir(self.dir.path()).unwrap();
        let mut names: Vec<String> = entries
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        names
    }
}

impl Db {
    /// How many writes wait.
    fn waiting(&self) -> usize {
        match &self.inner.engine {
            Engine::File(file) => file.waiting(),
            Engine::Look(_) => 0,
            #[cfg(feature = "postgres")]
            Engine::Server(server) => server.waiting(),
            #[cfg(feature = "test-util")]
            Engine::Memory(_) => 0,
        }
    }
}

async fn items(db: &Db) -> Vec<(i64, i64)> {
    db.read(|db| {
        db.query("SELECT id, value FROM item ORDER BY id", &[], |row| {
            Ok((row.get(0)?, row.get(1)?))
        })
    })
    .await
    .unwrap()
}

fn insert(id: i64) -> impl FnMut(&mut Tx<'_>) -> Result<usize> + Send + 'static {
    move |tx| tx.execute(INSERT, &[&id, &id])
}

/// A closure that keeps the writer busy until it is let go, so that what comes meanwhile is one batch.
struct Gate {
    open: mpsc::Sender<()>,
    passed: JoinHandle<Result<()>>,
}

impl Gate {
    async fn shut(db: &Db) -> Self {
        let (open, opened) = mpsc::channel();
        let (inside, entered) = oneshot::channel();
        let mut inside = Some(inside);
        let db = db.clone();
        let passed = tokio::spawn(async move {
            db.write(move |_| {
                inside.take().unwrap().send(()).unwrap();
                opened.recv().unwrap();
                Ok(())
            })
            .await
        });
        entered.await.unwrap();
        Self { open, passed }
    }

    async fn open(self) {
        self.open.send(()).unwrap();
        self.passed.await.unwrap().unwrap();
    }
}

/// Runs `works` in one batch, in this order, and gives what each came to.
async fn batch<W>(db: &Db, works: Vec<W>) -> Vec<Result<()>>
where
    W: FnMut(&mut Tx<'_>) -> Result<()> + Send + 'static,
{
    let gate = Gate::shut(db).await;
    let mut tasks = JoinSet::new();
    for (index, work) in works.into_iter().enumerate() {
        let handle = db.clone();
        tasks.spawn(async move { (index, handle.write(work).await) });
        while db.waiting() <= index {
            tokio::task::yield_now().await;
        }
    }
    gate.open().await;
    let mut answers = tasks.join_all().await;
    answers.sort_by_key(|(index, _)| *index);
    answers.into_iter().map(|(_, answer)| answer).collect()
}
