//! A bare loop on tokio-postgres: one connection, pipelined, each statement with a batch.

use std::time::Instant;

use tokio_postgres::{Client, NoTls, Statement};

const BATCH: usize = 256;

const SUBMIT: &str = "WITH given AS (SELECT * FROM unnest($1::BYTEA[]) WITH ORDINALITY AS given (id, nth)),
     new AS (
         INSERT INTO task (id, tenant, agent, flow_key, root, ordinal, depth, state, priority, run_at, created_at)
         SELECT id, 'default', 'noop', '', id, 0, 0, 1, 1, $2::BIGINT, $2::BIGINT FROM given ORDER BY nth RETURNING seq)
     INSERT INTO task_body (task, input) SELECT seq, '1' FROM new";

const CLAIM: &str = "WITH mine AS (
         SELECT seq FROM task WHERE state = 1 AND agent = 'noop' AND tenant = 'default' AND flow_key = '' AND priority = 1
         ORDER BY seq LIMIT 256 FOR NO KEY UPDATE SKIP LOCKED),
     taken AS (
         UPDATE task SET state = 2, attempt = attempt + 1, epoch = 7, claimed_at = 1 FROM mine WHERE task.seq = mine.seq
         RETURNING task.seq, task.id)
     SELECT taken.seq, taken.id, task_body.input FROM taken JOIN task_body ON task_body.task = taken.seq";

const END: &str = "WITH ended AS (
         UPDATE task SET state = 4, epoch = 0, finished_at = 1 FROM unnest($1::BIGINT[]) AS given (seq)
         WHERE task.seq = given.seq AND attempt = 1 AND epoch = 7 AND state = 2 RETURNING task.seq)
     INSERT INTO task_output (task, output) SELECT seq, '1' FROM ended";

const EVENTS: &str =
    "INSERT INTO event (id, time, type, schema_version, source, topic, tenant, correlation, causation, data)
     SELECT id, 1, $2, 1, '/hive', $2, 'default', correlation, correlation, $3::BYTEA
     FROM unnest($1::BYTEA[], $4::TEXT[]) AS given (id, correlation)";

const DATA: &[u8] = br#"{"task":"task_00000000000000000000000000","agent":"noop","attempt":1}"#;

struct Told {
    insert: Statement,
    count: u128,
    telling: bool,
}

impl Told {
    async fn tell(&mut self, client: &Client, kind: &str, ids: &[String]) {
        if !self.telling || ids.is_empty() {
            return;
        }
        let mut keys = Vec::with_capacity(ids.len());
        for _ in ids {
            self.count += 1;
            keys.push((u128::from(u64::MAX) << 64 | self.count).to_be_bytes().to_vec());
        }
        client
            .execute(&self.insert, &[&keys, &kind, &DATA, &ids])
            .await
            .unwrap();
    }
}

/// As [`raw::tasks_per_s`](crate::raw::tasks_per_s), on a database that the engine has made.
pub(crate) async fn tasks_per_s(url: &str, tasks: usize, telling: bool) -> f64 {
    let (client, connection) = tokio_postgres::connect(url, NoTls).await.unwrap();
    let link = tokio::spawn(connection);
    client
        .batch_execute("TRUNCATE task, task_body, task_output, event")
        .await
        .unwrap();
    let mut prepared = Vec::new();
    for sql in [SUBMIT, CLAIM, END, EVENTS] {
        prepared.push(client.prepare(sql).await.unwrap());
    }
    let [submit, claim, end, insert] = <[Statement; 4]>::try_from(prepared).unwrap();
    let mut told = Told {
        insert,
        count: 0,
        telling,
    };
    let begun = Instant::now();
    let (mut next, mut ended) = (0_u128, 0);
    let mut claimed: Vec<i64> = Vec::new();
    let mut names: Vec<String> = Vec::new();
    while ended < tasks {
        client.batch_execute("BEGIN").await.unwrap();
        client.execute(&end, &[&claimed]).await.unwrap();
        told.tell(&client, "task.succeeded", &names).await;
        ended += claimed.len();
        let new = if (next as usize) < tasks { BATCH } else { 0 };
        let ids: Vec<Vec<u8>> = (0..new as u128)
            .map(|n| (u128::from(u64::MAX) << 63 | (next + n)).to_be_bytes().to_vec())
            .collect();
        next += new as u128;
        client.execute(&submit, &[&ids, &(next as i64)]).await.unwrap();
        let submitted: Vec<String> = (0..new as u128).map(|n| format!("task_{:026}", next + n)).collect();
        told.tell(&client, "task.submitted", &submitted).await;
        let rows = client.query(&claim, &[]).await.unwrap();
        claimed = rows.iter().map(|row| row.get(0)).collect();
        names = claimed.iter().map(|seq| format!("task_{seq:026}")).collect();
        told.tell(&client, "task.started", &names).await;
        client.batch_execute("COMMIT").await.unwrap();
    }
    let rate = tasks as f64 / begun.elapsed().as_secs_f64();
    drop(client);
    link.await.unwrap().unwrap();
    rate
}
