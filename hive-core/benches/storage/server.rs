//! The database room on PostgreSQL, beside bare loops on the same private server.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use hive_core::db::{Cell, Db, Kind, Migration, Migrations, Options, Set, Write};
use hive_core::testing::{Postgres, PostgresOptions};
use tokio::runtime::Runtime;
use tokio::task::JoinSet;

use crate::bare_server::{self, Pool, Sets, WriteFuture};
use crate::{INSERT, READERS, TABLE, WRITERS_BESIDE, load, writes};
use hive_core_bench::{Figures, Load, Measured, contest, measure};

/// Rows that are there when reads are measured: more than any cache in front of them holds.
const ROWS_READ: i64 = 100_000;
/// Turns that each contestant gets in a round: as there are more of them than on SQLite, fewer.
const SLICES: usize = 2;
/// As many as the bare pool has.
const CONNECTIONS: usize = 32;

/// The contestants, in the order in which they are measured.
const CONTESTANTS: [&str; 7] = [
    "raw.postgres.naive",
    "raw.postgres.pool",
    "raw.postgres.unnest",
    "db.postgres",
    "raw.postgres.unnest2",
    "db.postgres.closure",
    "db.postgres.read_committed",
];

static ITEMS: Migrations = Migrations {
    owner: "bench",
    list: &[Migration::new(1, "item", TABLE, "DROP TABLE item;")],
};
static ITEM: Set = Set::insert("item", &[("made", Kind::Int), ("body", Kind::Blob)]);

/// A private server, a database for each contestant, and everything connected.
pub(crate) struct Bench {
    naive: Pool,
    pool: Pool,
    sets: Sets,
    two_sets: Sets,
    append: Db,
    closure: Db,
    committed: Db,
    reads: Db,
    /// What writes beside the bare reads, and the database of both.
    beside_reads: Sets,
    bare_reads: String,
    urls: Vec<String>,
    server: Postgres,
}

impl Bench {
    pub(crate) fn open(runtime: &Runtime) -> Self {
        let server = Postgres::start(PostgresOptions::new().fsync(true));
        let bare = || {
            let url = server.database();
            bare_server::make_table(runtime, &url);
            url
        };
        let own = || {
            let url = server.database();
            (open(runtime, &url, CONNECTIONS), url)
        };
        let (naive, pool, sets, two_sets) = (bare(), bare(), bare(), bare());
        let ((append, appended), (closure, written), (committed, loosely)) = (own(), own(), own());
        let (own_reads, bare_reads) = (server.database(), bare());
        let reads = open(runtime, &own_reads, CONNECTIONS);
        for url in [&own_reads, &bare_reads] {
            fill(runtime, url);
        }
        Self {
            naive: Pool::naive(runtime, &naive),
            pool: Pool::wide(runtime, &pool),
            sets: Sets::open(runtime, &sets, 1),
            two_sets: Sets::open(runtime, &two_sets, 2),
            append,
            closure,
            committed,
            reads,
            beside_reads: Sets::open(runtime, &bare_reads, 1),
            bare_reads,
            urls: vec![naive, pool, sets, two_sets, appended, written, loosely],
            server,
        }
    }

    /// One round of a load.
    pub(crate) fn writes(&self, runtime: &Runtime, figures: &mut Figures, load: Load) {
        let alone = Load { writers: 1, ..load };
        let slices = contest(
            SLICES,
            &[
                &|| self.naive.measure(runtime, alone),
                &|| self.pool.measure(runtime, load),
                &|| self.sets.measure(runtime, load),
                &|| appends(runtime, &self.append, load),
                &|| self.two_sets.measure(runtime, load),
                &|| closures(runtime, &self.closure, Write::durable(), load),
                &|| closures(runtime, &self.committed, Write::durable().read_committed(), load),
            ],
        );
        for (of, slices) in CONTESTANTS.into_iter().zip(slices) {
            writes(figures, of, load, slices);
        }
    }

    /// Empties the tables for the next round.
    pub(crate) fn empty(&self, runtime: &Runtime) {
        for url in &self.urls {
            bare_server::sql(runtime, url, "TRUNCATE item");
        }
    }

    /// One round of reads, through [`Db`] and bare.
    pub(crate) fn reads(&self, runtime: &Runtime, figures: &mut Figures, span: Duration) {
        for readers in READERS {
            let beside = |span| Load {
                span,
                ..load(WRITERS_BESIDE, 200)
            };
            let pool = Pool::readers(runtime, &self.bare_reads, readers);
            // What connects at first is no part of a read.
            self.read(runtime, readers, beside(span / 4));
            let own = self.read(runtime, readers, beside(span));
            self.read_bare(runtime, &pool, readers, beside(span / 4));
            let bare = self.read_bare(runtime, &pool, readers, beside(span));
            record(figures, "db.postgres", readers, &own);
            record(figures, "raw.postgres", readers, &bare);
        }
    }

    fn read(&self, runtime: &Runtime, readers: usize, beside: Load) -> Measured {
        let reading = Load {
            writers: readers,
            ..beside
        };
        let (writing, reader) = (self.reads.clone(), self.reads.clone());
        let write = move |made, bytes| -> WriteFuture {
            let db = writing.clone();
            Box::pin(async move { append(&db, made, bytes).await })
        };
        while_written(runtime, beside, write, || {
            measure(runtime, reading, move |count| {
                let db = reader.clone();
                let wanted = wanted(count);
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
            })
        })
    }

    fn read_bare(&self, runtime: &Runtime, pool: &Pool, readers: usize, beside: Load) -> Measured {
        let reading = Load {
            writers: readers,
            ..beside
        };
        let pool = pool.clone();
        while_written(runtime, beside, self.beside_reads.writer(), || {
            measure(runtime, reading, move |count| {
                let pool = pool.clone();
                async move { assert_eq!(pool.read(wanted(count)).await.len(), 200) }
            })
        })
    }

    pub(crate) fn close(self, runtime: &Runtime) {
        for db in [&self.append, &self.closure, &self.committed, &self.reads] {
            runtime.block_on(db.close()).unwrap();
        }
        self.sets.close(runtime);
        self.two_sets.close(runtime);
        self.beside_reads.close(runtime);
        // The rest of the connections end with the server's.
        drop((self.naive, self.pool));
        runtime.block_on(tokio::task::yield_now());
        self.server.stop();
    }
}

/// To the best of the bare loops, and to the one that does as most programs do.
pub(crate) fn ratios(figures: &mut Figures, load: Load) {
    let suffix = load.suffix();
    let [naive, pool, sets, own, two_sets, closure, committed] =
        CONTESTANTS.map(|of| format!("{of}.writes_per_s.{suffix}"));
    figures.ratio(
        &format!("db.postgres.raw_ratio.{suffix}"),
        &own,
        &[&pool, &sets, &two_sets],
    );
    figures.ratio(&format!("db.postgres.naive_ratio.{suffix}"), &own, &[&naive]);
    figures.ratio(&format!("db.postgres.closure.pool_ratio.{suffix}"), &closure, &[&pool]);
    figures.ratio(
        &format!("db.postgres.read_committed.pool_ratio.{suffix}"),
        &committed,
        &[&pool],
    );
}

fn open(runtime: &Runtime, url: &str, connections: usize) -> Db {
    let options = Options::postgres(url).migrations(&ITEMS).connections(connections);
    runtime.block_on(Db::open(options)).unwrap()
}

async fn append(db: &Db, made: i64, bytes: usize) {
    let row = vec![Cell::Int(made), Cell::Blob(vec![7; bytes])];
    db.append(&ITEM, row).await.unwrap();
}

fn appends(runtime: &Runtime, db: &Db, load: Load) -> Measured {
    let db = db.clone();
    measure(runtime, load, move |made| {
        let db = db.clone();
        async move { append(&db, made, load.bytes).await }
    })
}

fn closures(runtime: &Runtime, db: &Db, asked: Write, load: Load) -> Measured {
    let db = db.clone();
    measure(runtime, load, move |made| {
        let db = db.clone();
        async move {
            let body = vec![7_u8; load.bytes];
            db.write_with(asked, move |tx| tx.execute(INSERT, &[&made, &body]))
                .await
                .unwrap();
        }
    })
}

/// Rows to read.
fn fill(runtime: &Runtime, url: &str) {
    let rows = format!(
        "INSERT INTO item (made, body) SELECT made, decode(repeat('07', 200), 'hex') FROM generate_series(0, {}) AS made; \
         ANALYZE item",
        ROWS_READ - 1
    );
    bare_server::sql(runtime, url, &rows);
}

/// Far apart, so that no two in a row share a page.
fn wanted(count: i64) -> i64 {
    count * 7_919 % ROWS_READ
}

/// Runs `measured` while as many tasks as `load` says write rows behind those that are read.
fn while_written(
    runtime: &Runtime,
    load: Load,
    write: impl Fn(i64, usize) -> WriteFuture + Clone + Send + 'static,
    measured: impl FnOnce() -> Measured,
) -> Measured {
    let stop = Arc::new(AtomicBool::new(false));
    let mut writing = JoinSet::new();
    for _ in 0..load.writers {
        let (write, stop) = (write.clone(), Arc::clone(&stop));
        writing.spawn_on(
            async move {
                while !stop.load(Ordering::Relaxed) {
                    write(ROWS_READ, load.bytes).await;
                }
            },
            runtime.handle(),
        );
    }
    let measured = measured();
    stop.store(true, Ordering::Relaxed);
    runtime.block_on(writing.join_all());
    drop(write);
    measured
}

fn record(figures: &mut Figures, of: &str, readers: usize, measured: &Measured) {
    let mut record = |name: &str, value, unit| figures.record(&format!("{of}.{name}.{readers}"), value, unit);
    record("reads_per_s", measured.per_s(), "reads/s");
    record("read_p50_ms", measured.p50_ms(), "ms");
    record("read_p99_ms", measured.p99_ms(), "ms");
}
