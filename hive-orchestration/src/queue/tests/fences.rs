use std::time::Duration;

use hive_bus::{AgentMessage, Pattern, Sequence};
use hive_core::db::Tx;
use hive_core::payload::Payload;
use hive_core::testing::TestDb;
use hive_errors::{ErrorKind, Failure, Result, RetryPolicy};

use super::super::budget::{self, Reservation, Settlement};
use super::super::finish::{Finished, How};
use super::super::post::{self, Question, Waiting};
use super::super::record::{self, Said};
use super::super::stream::{self, Batch, Extent};
use super::super::wait::{self, NewWait, Until, Wanted};
use super::super::{Queue, TaskRef, cancel, finish, progress};
use super::{Bench, task};
use crate::budget::ledger::{self, Chain};
use crate::budget::{Budget, Spend};
use crate::event::{Awaited, Filter};
use crate::family;
use crate::journal::{self, Kind, Record};
use crate::lease::{Lease, guard};
use crate::task::Progress;

pub(super) type Verb = fn(&mut Tx<'_>, &Queue, Lease, &TaskRef) -> Result<()>;

/// Everything that a run may write.
pub(super) const VERBS: [(&str, Verb); 24] = [
    ("record", |tx, queue, lease, _| {
        journal::record(tx, &outcome(queue, lease))
    }),
    ("record with others", |tx, queue, lease, _| {
        journal::record_all(tx, &[outcome(queue, lease)])?.remove(0)
    }),
    ("begin once", |tx, queue, lease, _| {
        journal::begin_once(tx, lease, queue.clock.now(), "step:b#1")
    }),
    ("forget once", |tx, _, lease, _| {
        journal::forget_once(tx, lease, "step:begun#1")
    }),
    // What a transaction asks before the user's code runs; its record is the one above.
    ("transaction", |tx, _, lease, _| guard(tx, lease)),
    ("progress", |tx, queue, lease, task| {
        progress(tx, queue, lease, task, &Progress::new(1, 2, String::new()))
    }),
    ("say something of its record", |tx, queue, lease, task| {
        let said = Said {
            lease,
            verb: family::Verb::Review(family::review::Verb::Start),
            key: "record:review.start#1".to_owned(),
            at: queue.clock.now(),
        };
        record::say(tx, queue, task, &said)
    }),
    ("ask", |tx, queue, lease, task| {
        let question = Question {
            lease,
            key: "message:request q#1".to_owned(),
            message: AgentMessage::to("oracle").kind("q"),
            deadline: Duration::from_secs(9),
        };
        post::ask(tx, queue, task, &question)
    }),
    ("look into its inbox", |tx, queue, lease, task| {
        post::receive(tx, queue, lease, task, "message:inbox#1", Waiting::Ever).map(drop)
    }),
    ("look for outcomes", |tx, queue, lease, task| {
        wait::sync(tx, queue, lease, task, 0, &[], false).map(drop)
    }),
    ("wait", |tx, queue, lease, task| {
        let timer = NewWait {
            key: "sleep:timer#1".to_owned(),
            what: Wanted::Timer {
                until: Until::In(Duration::ZERO),
            },
        };
        wait::sync(tx, queue, lease, task, 0, &[timer], false).map(drop)
    }),
    ("call", |tx, queue, lease, task| {
        let children = NewWait {
            key: "call:c#1".to_owned(),
            what: Wanted::Children {
                kind: Kind::Children,
                tasks: vec![super::task()],
                parallel: 1,
            },
        };
        wait::sync(tx, queue, lease, task, 0, &[children], false).map(drop)
    }),
    ("wait for an event", |tx, queue, lease, task| {
        let event = NewWait {
            key: "event:order.>#1".to_owned(),
            what: Wanted::Event {
                awaited: awaited(),
                after: Sequence::START,
                timeout: None,
            },
        };
        wait::sync(tx, queue, lease, task, 0, &[event], false).map(drop)
    }),
    ("keep pieces", |tx, queue, lease, task| {
        stream::keep(tx, queue, &batch(lease, task))
    }),
    ("keep the last pieces", |tx, queue, lease, task| {
        let record = Record {
            key: "stream:s#1".to_owned(),
            kind: Kind::Stream,
            ..outcome(queue, lease)
        };
        stream::finish(tx, queue, task.id, None, &record)
    }),
    ("reserve", |tx, _, lease, _| {
        let asked = Reservation {
            lease,
            chain: Chain::default().with(lease.task),
            key: "step:a#1".to_owned(),
            spend: Spend::tokens(1),
            waited: None,
        };
        budget::reserve(tx, &asked).map(drop)
    }),
    ("settle", |tx, queue, lease, _| {
        budget::settle(tx, queue, &settlement(lease))
    }),
    ("settle and record", |tx, queue, lease, _| {
        budget::settle_with(tx, queue, &settlement(lease), &outcome(queue, lease))
    }),
    ("park", |tx, queue, lease, task| {
        wait::sync(tx, queue, lease, task, 0, &[], true).map(drop)
    }),
    ("cancel the rest", |tx, queue, lease, _| {
        cancel::siblings(tx, queue, lease, "call:rest#1", "another failed")
    }),
    ("complete", |tx, queue, lease, task| {
        finish(tx, queue, lease, task, How::output(task, value())?)
    }),
    ("fail and try again", |tx, queue, lease, task| {
        let how = How::Failure(Failure::retryable("no"), RetryPolicy::exponential(9));
        finish(tx, queue, lease, task, how)
    }),
    ("fail for good", |tx, queue, lease, task| {
        let how = How::Failure(Failure::terminal("no"), RetryPolicy::none());
        finish(tx, queue, lease, task, how)
    }),
    ("hand back", |tx, queue, lease, task| {
        finish(tx, queue, lease, task, How::Released)
    }),
];

/// The ends of runs that lost their leases are passed over, and the others are written down all the same.
fn finish(tx: &mut Tx<'_>, queue: &Queue, lease: Lease, task: &TaskRef, how: How) -> Result<()> {
    let task = task.clone();
    match finish::finish_all(tx, queue, &[Finished { lease, task, how }])? {
        0 => Ok(()),
        _ => Err(lease.lost()),
    }
}

fn settlement(lease: Lease) -> Settlement {
    Settlement {
        lease,
        chain: Chain::default().with(lease.task),
        key: "step:held#1".to_owned(),
        used: Spend::tokens(1),
    }
}

fn outcome(queue: &Queue, lease: Lease) -> Record {
    Record {
        lease,
        at: queue.clock.now(),
        key: "step:a#1".to_owned(),
        kind: Kind::Step,
        type_name: "u8",
        value: value(),
        also: None,
    }
}

/// What waits for any event on `order.>`.
pub(super) fn awaited() -> Awaited {
    Filter::new(Pattern::new("order.>").unwrap(), "default")
        .awaited()
        .unwrap()
}

fn batch(lease: Lease, task: &TaskRef) -> Batch {
    Batch {
        lease,
        id: task.id,
        key: "stream:s#1".to_owned(),
        extent: Extent {
            life: 2,
            pieces: 1,
            bytes: 1,
        },
        anew: true,
        pieces: Some((1, Payload::encode(&[1], 100).unwrap())),
    }
}

fn value() -> Payload {
    Payload::encode(&1, 100).unwrap()
}

/// What stands in the tables, in so far as a verb could change it.
pub(super) fn written(tx: &Tx<'_>) -> Result<Vec<Option<i64>>> {
    let mut all = Vec::new();
    for sql in [
        "SELECT count(*), CAST(sum(state * seq) AS BIGINT), CAST(sum(attempt) AS BIGINT), CAST(sum(epoch) AS BIGINT),
                CAST(sum(failures) AS BIGINT) FROM task",
        "SELECT count(*), CAST(sum(state) AS BIGINT), CAST(sum(kind) AS BIGINT), CAST(sum(remaining) AS BIGINT),
                count(value) FROM journal",
        "SELECT count(*), (SELECT count(*) FROM task_output), (SELECT count(progress) FROM task_note),
                (SELECT count(failure) FROM task_note), (SELECT count(*) FROM task_body) FROM event",
        "SELECT count(*), CAST(sum(life) AS BIGINT), CAST(sum(pieces) AS BIGINT), CAST(sum(bytes) AS BIGINT),
                (SELECT count(*) FROM stream_piece) FROM stream",
        "SELECT count(*), count(started_at), count(escalated_at), count(concluded_at), CAST(sum(changed_at) AS BIGINT)
         FROM task_review",
        "SELECT count(*), CAST(sum(tokens_used) AS BIGINT), (SELECT count(*) FROM budget_hold), count(started_at),
                CAST(sum(tokens_over) AS BIGINT) FROM budget",
    ] {
        all.extend(tx.query_one(sql, &[], |row| {
            (0..5)
                .map(|column| row.get(column))
                .collect::<Result<Vec<Option<i64>>>>()
        })?);
    }
    Ok(all)
}

/// What the verbs find, so that each has something to write.
pub(super) fn prepare(tx: &mut Tx<'_>, queue: &Queue, lease: Lease, parent: &TaskRef) -> Result<()> {
    journal::begin_once(tx, lease, queue.clock.now(), "step:begun#1")?;
    ledger::begin(tx, (parent.seq, parent.id), 0, &Chain::default(), &Budget::new())?;
    let held = Reservation {
        lease,
        chain: Chain::default().with(lease.task),
        key: "step:held#1".to_owned(),
        spend: Spend::tokens(2),
        waited: None,
    };
    budget::reserve(tx, &held)?;
    let rest = NewWait {
        key: "call:rest#1".to_owned(),
        what: Wanted::Children {
            kind: Kind::Children,
            tasks: vec![task()],
            parallel: 1,
        },
    };
    wait::sync(tx, queue, lease, parent, 0, &[rest], false)?;
    tx.execute(
        "INSERT INTO stream_piece (task, key, life, first, count, value) VALUES (?1, 'stream:s#1', 1, 0, 1, ?2)",
        &[&lease.task, &value()],
    )?;
    tx.execute(
        "INSERT INTO journal (task, key, kind, state, at) VALUES (?1, 'sleep:timer#9', 3, 1, 0)",
        &[&lease.task],
    )?;
    Ok(())
}

#[tokio::test]
async fn whoever_has_the_lease_may_write() {
    may_write(TestDb::sqlite).await;
}

#[cfg(feature = "postgres")]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whoever_has_the_lease_may_write_on_a_server() {
    may_write(TestDb::postgres).await;
}

async fn may_write(place: fn() -> TestDb) {
    for (name, verb) in VERBS {
        let bench = Bench::on(place()).await;
        let claimed = bench.running().await;
        let queue = bench.queue.clone();
        bench
            .db
            .write(move |tx| {
                prepare(tx, &queue, claimed.lease, &claimed.task)?;
                let before = written(tx)?;
                verb(tx, &queue, claimed.lease, &claimed.task)?;
                assert!(written(tx)? != before || name == "transaction", "{name} wrote nothing");
                Ok(())
            })
            .await
            .unwrap();
    }
}

/// A zombie of an earlier attempt, one of an earlier process, and one whose task is no longer running: none writes a row.
#[tokio::test]
async fn whoever_has_not_may_not() {
    may_not(TestDb::sqlite()).await;
}

#[cfg(feature = "postgres")]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whoever_has_not_may_not_on_a_server() {
    may_not(TestDb::postgres()).await;
}

async fn may_not(place: TestDb) {
    let bench = Bench::on(place).await;
    for (name, verb) in VERBS {
        let claimed = bench.running().await;
        let (lease, queue) = (claimed.lease, bench.queue.clone());
        let parent = claimed.task.clone();
        bench
            .db
            .write(move |tx| prepare(tx, &queue, lease, &parent))
            .await
            .unwrap();
        let mut zombies = Vec::new();
        for attempt in [lease.attempt - 1, lease.attempt + 1] {
            zombies.push((Lease { attempt, ..lease }, 2));
        }
        for epoch in [0, lease.epoch - 1, lease.epoch + 1] {
            zombies.push((Lease { epoch, ..lease }, 2));
        }
        zombies.extend([0, 1, 3, 4, 5, 6, 7].map(|state| (lease, state)));
        for (zombie, state) in zombies {
            let (queue, task) = (bench.queue.clone(), claimed.task.clone());
            bench
                .db
                .write(move |tx| {
                    tx.execute("UPDATE task SET state = ?2 WHERE seq = ?1", &[&zombie.task, &state])?;
                    let before = written(tx)?;
                    let refused = verb(tx, &queue, zombie, &task).err().map(|error| error.kind());
                    assert_eq!(refused, Some(ErrorKind::LeaseLost), "{name}, {zombie:?}, state {state}");
                    assert_eq!(written(tx)?, before, "{name}, {zombie:?}, state {state}");
                    Ok(())
                })
                .await
                .unwrap();
        }
        bench
            .db
            .write(move |tx| tx.execute("UPDATE task SET state = 4", &[]))
            .await
            .unwrap();
    }
}
