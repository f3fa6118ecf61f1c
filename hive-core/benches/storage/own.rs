//! The database room itself, under the same loads as the bare loops.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use hive_core::db::{Db, Migration, Migrations, Options};
use tempfile::TempDir;
use tokio::runtime::Runtime;
use tokio::task::JoinSet;

use crate::{INSERT, TABLE};
use hive_core_bench::{Load, Measured, measure, median};

/// Rows that are there when reads are measured: more than any cache in front of them holds.
const ROWS_READ: i64 = 100_000;

const OPENS: usize = 10;

static ITEMS: Migrations = Migrations {
    owner: "bench",
    list: &[Migration::new(1, "item", TABLE, "DROP TABLE item;")],
};

fn open(runtime: &Runtime, folder: &Path) -> Db {
    let options = Options::file(folder.join("bench.db")).migrations(&ITEMS);
    runtime.block_on(Db::open(options)).unwrap()
}

async fn write(db: &Db, made: i64, bytes: usize) {
    let body = vec![7_u8; bytes];
    db.write(move |tx| tx.execute(INSERT, &[&made, &body])).await.unwrap();
}

/// An open database and its folder.
pub(crate) struct Own {
    db: Db,
    _folder: TempDir,
}

impl Own {
    pub(crate) fn open(runtime: &Runtime) -> Self {
        let folder = tempfile::tempdir().unwrap();
        Self {
            db: open(runtime, folder.path()),
            _folder: folder,
        }
    }

    pub(crate) fn measure(&self, runtime: &Runtime, load: Load) -> Measured {
        let handle = self.db.clone();
        measure(runtime, load, move |made| {
            let db = handle.clone();
            async move { write(&db, made, load.bytes).await }
        })
    }

    pub(crate) fn close(self, runtime: &Runtime) {
        runtime.block_on(self.db.close()).unwrap();
    }
}

/// Reads one row through an index, from `readers` tasks, while `load` writes.
pub(crate) fn reads(runtime: &Runtime, readers: usize, load: Load) -> Measured {
    let dir = tempfile::tempdir().unwrap();
    let db = open(runtime, dir.path());
    runtime
        .block_on(db.write(|tx| {
            for made in 0..ROWS_READ {
                tx.execute(INSERT, &[&made, &vec![7_u8; 200]])?;
            }
            Ok(())
        }))
        .unwrap();
    let stop = Arc::new(AtomicBool::new(false));
    let mut writing = JoinSet::new();
    for _ in 0..load.writers {
        let (db, stop) = (db.clone(), Arc::clone(&stop));
        writing.spawn_on(
            async move {
                while !stop.load(Ordering::Relaxed) {
                    write(&db, ROWS_READ, load.bytes).await;
                }
            },
            runtime.handle(),
        );
    }
    let handle = db.clone();
    let reading = Load {
        writers: readers,
        ..load
    };
    let measured = measure(runtime, reading, move |count| {
        let db = handle.clone();
        // Far apart, so that no two in a row share a page.
        let wanted = count * 7_919 % ROWS_READ;
        async move {
            let found = db
                .read(move |db| {
                    db.query_one("SELECT body FROM item WHERE made = ?1", &[&wanted], |row| {
                        row.get::<Vec<u8>>(0)
                    })
                })
                .await
                .unwrap();
            assert_eq!(found.len(), 200);
        }
    });
    stop.store(true, Ordering::Relaxed);
    runtime.block_on(async {
        writing.join_all().await;
        db.close().await.unwrap();
    });
    measured
}

/// Opens a database that exists, and reads from it.
pub(crate) fn open_ms(runtime: &Runtime) -> f64 {
    let dir = tempfile::tempdir().unwrap();
    runtime.block_on(open(runtime, dir.path()).close()).unwrap();
    let mut times = Vec::new();
    for _ in 0..OPENS {
        let begun = Instant::now();
        let db = open(runtime, dir.path());
        runtime
            .block_on(db.read(|db| db.query("SELECT id FROM item", &[], |row| row.get::<i64>(0))))
            .unwrap();
        times.push(begun.elapsed().as_secs_f64() * 1e3);
        runtime.block_on(db.close()).unwrap();
    }
    median(&times)
}

/// By how many MiB the process grows while a database that has just been opened takes `load`, at its largest.
pub(crate) fn growth_mib(runtime: &Runtime, load: Load) -> f64 {
    let dir = tempfile::tempdir().unwrap();
    // Threads and the runtime's own are not the database's.
    measure(runtime, load, |_| tokio::task::yield_now());
    let before = resident_mib();
    let stop = Arc::new(AtomicBool::new(false));
    let stopped = Arc::clone(&stop);
    let watch = std::thread::spawn(move || {
        let mut most = 0.0_f64;
        while !stopped.load(Ordering::Relaxed) {
            most = most.max(resident_mib());
            std::thread::sleep(Duration::from_millis(5));
        }
        most
    });
    let db = open(runtime, dir.path());
    let handle = db.clone();
    // Not by `measure`, which keeps the time of each write.
    runtime.block_on(async {
        let until = Instant::now() + load.span;
        let mut tasks = JoinSet::new();
        for _ in 0..load.writers {
            let db = handle.clone();
            tasks.spawn(async move {
                while Instant::now() < until {
                    write(&db, 0, load.bytes).await;
                }
            });
        }
        tasks.join_all().await;
        db.close().await.unwrap();
    });
    stop.store(true, Ordering::Relaxed);
    watch.join().unwrap() - before
}

/// What the process holds in memory. Pages are 4 KiB on every Linux this runs on but a few Arm ones.
fn resident_mib() -> f64 {
    let statm = std::fs::read_to_string("/proc/self/statm").unwrap();
    let pages: f64 = statm.split_whitespace().nth(1).unwrap().parse().unwrap();
    pages * 4096.0 / f64::from(1 << 20)
}
