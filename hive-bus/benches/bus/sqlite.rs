//! The bus on a SQLite file, beside a bare writer that commits everything which waits at once.

use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread::JoinHandle;

use hive_bus::Bus;
use hive_core::clock::SystemClock;
use hive_core::db::{Db, Options};
use hive_core::id::IdSource;
use hive_core_bench::{Bar, Figures, Measured, measure};
use rusqlite::Connection;
use tempfile::TempDir;
use tokio::runtime::Runtime;
use tokio::sync::oneshot;

use crate::publish::{self, ALL, Publishers};

/// The columns and indexes of the bus's own table.
const TABLE: &str = "CREATE TABLE event (
        sequence INTEGER PRIMARY KEY AUTOINCREMENT, id BLOB NOT NULL UNIQUE, time INTEGER NOT NULL, type TEXT NOT NULL,
        schema_version INTEGER NOT NULL, source TEXT NOT NULL, topic TEXT NOT NULL, tenant TEXT NOT NULL, correlation TEXT,
        causation TEXT, key TEXT, traceparent TEXT, expires INTEGER, extensions TEXT, data BLOB NOT NULL
    ) STRICT;
    CREATE INDEX event_by_correlation ON event (correlation) WHERE correlation IS NOT NULL;";
const INSERT: &str = "INSERT INTO event
    (id, time, type, schema_version, source, topic, tenant, correlation, causation, key, traceparent, expires, extensions,
     data)
    VALUES (?1, ?2, 'bench.item', 1, '/hive', ?3, 'default', NULL, NULL, NULL, NULL, NULL, NULL, ?4) RETURNING sequence";

pub(crate) fn run(runtime: &Runtime, figures: &mut Figures) -> Vec<(String, Bar)> {
    for publishers in ALL {
        let raw = Raw::open();
        let (own, _folder) = open(runtime);
        publish::compare(
            figures,
            "sqlite",
            publishers,
            &|| raw.measure(runtime, publishers),
            &|| publish::own(runtime, &own.bus, publishers),
        );
        own.close(runtime);
        raw.close();
    }
    let (own, _folder) = open(runtime);
    publish::consume(runtime, figures, &own.bus, "sqlite");
    own.close(runtime);
    vec![
        ("bus.sqlite.raw_ratio.batched".to_owned(), Bar::Ratio(0.5)),
        ("bus.sqlite.raw_ratio.100".to_owned(), Bar::Ratio(0.5)),
        ("bus.sqlite.events_per_s.batched".to_owned(), Bar::PerS(50_000.0)),
    ]
}

/// A bus on a file of its own.
pub(crate) struct Own {
    pub(crate) db: Db,
    pub(crate) bus: Bus,
}

pub(crate) fn open(runtime: &Runtime) -> (Own, TempDir) {
    let folder = tempfile::tempdir().unwrap();
    let own = runtime.block_on(async {
        let options = Options::file(folder.path().join("hive.db")).migrations(&hive_bus::MIGRATIONS);
        let db = Db::open(options).await.unwrap();
        let bus = Bus::open(db.clone(), Arc::new(SystemClock), IdSource::system())
            .await
            .unwrap();
        Own { db, bus }
    });
    (own, folder)
}

impl Own {
    pub(crate) fn close(self, runtime: &Runtime) {
        runtime.block_on(async {
            self.bus.shutdown().await.unwrap();
            self.db.close().await.unwrap();
        });
    }
}

struct Request {
    rows: Vec<Row>,
    answer: oneshot::Sender<()>,
}

struct Row {
    id: [u8; 16],
    time: i64,
    topic: String,
    body: Vec<u8>,
}

struct Raw {
    requests: Sender<Request>,
    thread: JoinHandle<()>,
    _folder: TempDir,
}

impl Raw {
    fn open() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let conn = Connection::open(folder.path().join("bench.db")).unwrap();
        conn.execute_batch("PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; PRAGMA cache_size = -8192;")
            .unwrap();
        conn.execute_batch(TABLE).unwrap();
        let (requests, waiting) = channel();
        let thread = std::thread::spawn(move || serve(&conn, &waiting));
        Self {
            requests,
            thread,
            _folder: folder,
        }
    }

    fn measure(&self, runtime: &Runtime, publishers: Publishers) -> Measured {
        let requests = self.requests.clone();
        let start = i64::try_from(std::time::UNIX_EPOCH.elapsed().unwrap().as_nanos()).unwrap();
        measure(runtime, publishers.load(), move |number| {
            let requests = requests.clone();
            async move {
                let (answer, written) = oneshot::channel();
                let rows = (0..publishers.batch as i64)
                    .map(|at| row(start, number * 100 + at))
                    .collect();
                requests.send(Request { rows, answer }).unwrap();
                written.await.unwrap();
            }
        })
    }

    fn close(self) {
        drop(self.requests);
        self.thread.join().unwrap();
    }
}

fn row(start: i64, number: i64) -> Row {
    let mut id = [0; 16];
    id[..8].copy_from_slice(&start.to_be_bytes());
    id[8..].copy_from_slice(&number.to_be_bytes());
    Row {
        id,
        time: start / 1_000,
        topic: format!("bench.item.{}", number.rem_euclid(100)),
        body: format!("{:?}", publish::body()).into_bytes(),
    }
}

fn serve(conn: &Connection, waiting: &Receiver<Request>) {
    let mut begin = conn.prepare("BEGIN IMMEDIATE").unwrap();
    let mut insert = conn.prepare(INSERT).unwrap();
    let mut commit = conn.prepare("COMMIT").unwrap();
    while let Ok(first) = waiting.recv() {
        begin.execute([]).unwrap();
        let mut answers = Vec::new();
        for request in std::iter::once(first).chain(waiting.try_iter().take(1_023)) {
            for row in &request.rows {
                let params = rusqlite::params![row.id, row.time, row.topic, row.body];
                let _sequence: i64 = insert.query_row(params, |row| row.get(0)).unwrap();
            }
            answers.push(request.answer);
        }
        commit.execute([]).unwrap();
        for answer in answers {
            answer.send(()).unwrap();
        }
    }
}
