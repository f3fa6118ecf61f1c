//! The bus on a PostgreSQL server, beside one bare connection on which whatever waits is one `INSERT … SELECT unnest(…)`.

use std::sync::Arc;

use hive_bus::Bus;
use hive_core::clock::SystemClock;
use hive_core::db::{Db, Options};
use hive_core::id::IdSource;
use hive_core::testing::{Postgres, PostgresOptions};
use hive_core_bench::{Bar, Figures, Measured, measure};
use tokio::runtime::Runtime;
use tokio::sync::{mpsc, oneshot};
use tokio_postgres::NoTls;

use crate::deliver;
use crate::publish::{self, BATCHED, HUNDRED, Publishers, SINGLE};

const INSERT: &str = "INSERT INTO event (id, time, type, schema_version, source, topic, tenant, data)
    SELECT id, time, 'bench.item', 1, '/hive', topic, 'default', data
    FROM unnest($1::bytea[], $2::bigint[], $3::text[], $4::bytea[]) AS new(id, time, topic, data) RETURNING sequence";

pub(crate) fn run(runtime: &Runtime, figures: &mut Figures) -> Vec<(String, Bar)> {
    // A server of its own, with its syncs on.
    let server = Postgres::start(PostgresOptions::new().fsync(true));
    let address = server.database();
    let (db, bus) = runtime.block_on(open(address.clone()));
    let raw_address = server.database();
    let (raw_db, raw_bus) = runtime.block_on(open(raw_address.clone()));
    for publishers in [SINGLE, HUNDRED, BATCHED] {
        let raw = runtime.block_on(Raw::open(&raw_address));
        publish::compare(
            figures,
            "postgres",
            publishers,
            &|| raw.measure(runtime, publishers),
            &|| publish::own(runtime, &bus, publishers),
        );
        runtime.block_on(raw.close());
    }
    publish::consume(runtime, figures, &bus, "postgres");
    deliver::across(runtime, figures, &bus, &address);
    runtime.block_on(async {
        for (db, bus) in [(db, bus), (raw_db, raw_bus)] {
            bus.shutdown().await.unwrap();
            db.close().await.unwrap();
        }
    });
    vec![
        ("bus.postgres.raw_ratio.100".to_owned(), Bar::Ratio(0.5)),
        ("bus.postgres.raw_ratio.batched".to_owned(), Bar::Ratio(0.5)),
    ]
}

pub(crate) async fn open(address: String) -> (Db, Bus) {
    let options = Options::postgres(address).migrations(&hive_bus::MIGRATIONS);
    let db = Db::open(options).await.unwrap();
    let bus = Bus::open(db.clone(), Arc::new(SystemClock), IdSource::system())
        .await
        .unwrap();
    (db, bus)
}

#[derive(Default)]
struct Rows {
    ids: Vec<Vec<u8>>,
    times: Vec<i64>,
    topics: Vec<String>,
    bodies: Vec<Vec<u8>>,
    answers: Vec<oneshot::Sender<()>>,
}

/// Id, topic and data.
type Row = (Vec<u8>, String, Vec<u8>);

struct Raw {
    requests: mpsc::UnboundedSender<(Vec<Row>, oneshot::Sender<()>)>,
    task: tokio::task::JoinHandle<()>,
}

impl Raw {
    async fn open(address: &str) -> Self {
        let (client, connection) = tokio_postgres::connect(address, NoTls).await.unwrap();
        let link = tokio::spawn(async move { connection.await.unwrap() });
        let insert = client.prepare(INSERT).await.unwrap();
        let (requests, mut waiting) = mpsc::unbounded_channel::<(Vec<Row>, oneshot::Sender<()>)>();
        let task = tokio::spawn(async move {
            let mut gathered = Vec::new();
            while waiting.recv_many(&mut gathered, 1_024).await > 0 {
                let mut all = Rows::default();
                for (rows, answer) in gathered.drain(..) {
                    for (id, topic, body) in rows {
                        all.ids.push(id);
                        all.times.push(0);
                        all.topics.push(topic);
                        all.bodies.push(body);
                    }
                    all.answers.push(answer);
                }
                client
                    .query(&insert, &[&all.ids, &all.times, &all.topics, &all.bodies])
                    .await
                    .unwrap();
                for answer in all.answers {
                    answer.send(()).unwrap();
                }
            }
            drop(client);
            link.await.unwrap();
        });
        Self { requests, task }
    }

    fn measure(&self, runtime: &Runtime, publishers: Publishers) -> Measured {
        let requests = self.requests.clone();
        let start = std::time::UNIX_EPOCH.elapsed().unwrap().as_nanos() as u64;
        measure(runtime, publishers.load(), move |number| {
            let requests = requests.clone();
            async move {
                let (answer, written) = oneshot::channel();
                let row = |at: i64| {
                    let number = number * 100 + at;
                    let mut id = start.to_be_bytes().to_vec();
                    id.extend(number.to_be_bytes());
                    let body = format!("{:?}", publish::body()).into_bytes();
                    (id, format!("bench.item.{}", number.rem_euclid(100)), body)
                };
                let rows = (0..publishers.batch as i64).map(row).collect();
                requests.send((rows, answer)).unwrap();
                written.await.unwrap();
            }
        })
    }

    async fn close(self) {
        drop(self.requests);
        self.task.await.unwrap();
    }
}
