//! Accounts on real databases: whatever is reserved, settled, crashed and granted, by whichever process, against a model.

use std::sync::Arc;

use hive_core::db::{Db, Tx};
use hive_core::id::{IdSource, TaskId};
use hive_core::payload::Payload;
use hive_core::rng::{Rng, SeededRng};
use hive_core::testing::TestDb;
use hive_errors::{ErrorKind, Result};
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};

use super::super::budget::{self, Reservation, Reserved, Settlement, wait_key};
use super::super::claim::{Claimed, claim};
use super::super::pick::Turns;
use super::super::submit::{self, NewTask};
use super::super::wait::{self, NewWait, Wanted};
use super::super::{Queue, write};
use super::{Bench, room};
use crate::budget::{Account, Budget, Spend};
use crate::journal::{Kind, Record};

fn new(above: Option<&Claimed>, budget: Option<Budget>) -> NewTask {
    NewTask {
        budget: budget.map(Arc::new),
        above: above.map(|above| above.chain.clone()).unwrap_or_default(),
        ..NewTask::new(
            IdSource::system().next(),
            "agent",
            "default",
            Payload::encode(&1, 100).unwrap(),
        )
    }
}

fn children(tasks: Vec<NewTask>) -> NewWait {
    NewWait {
        key: "call:c#1".to_owned(),
        what: Wanted::Children {
            kind: Kind::Children,
            tasks,
            parallel: 9,
        },
    }
}

async fn claims(bench: &Bench, count: usize) -> Vec<Claimed> {
    let queue = bench.queue.clone();
    let claims = write(&bench.db, move |tx| claim(tx, &queue, &room(count), &Turns::default())).await;
    let mut tasks = claims.unwrap().tasks;
    tasks.sort_by_key(|claimed| claimed.task.seq);
    assert_eq!(tasks.len(), count);
    tasks
}

/// A task with a budget that runs, a child that runs on a budget of its own, and one that runs on its caller's.
async fn family(bench: &Bench, root: Budget, child: Budget) -> Vec<Claimed> {
    let (queue, task) = (bench.queue.clone(), new(None, Some(root)));
    write(&bench.db, move |tx| submit::submit(tx, &queue, &task))
        .await
        .unwrap();
    let mut all = claims(bench, 1).await;
    let own = all.remove(0);
    let below = children(vec![new(Some(&own), Some(child)), new(Some(&own), None)]);
    let (queue, lease, task) = (bench.queue.clone(), own.lease, own.task.clone());
    write(&bench.db, move |tx| {
        wait::sync(tx, &queue, lease, &task, 0, std::slice::from_ref(&below), false).map(drop)
    })
    .await
    .unwrap();
    all.push(own);
    all.extend(claims(bench, 2).await);
    all
}

/// Whoever is left over does not disturb the next.
async fn clear(db: &Db) {
    write(db, |tx| {
        tx.execute("UPDATE task SET state = 4 WHERE state <> 4", &[])?;
        tx.execute("DELETE FROM journal", &[])
    })
    .await
    .unwrap();
}

fn reservation(claimed: &Claimed, step: u32, spend: Spend) -> Reservation {
    Reservation {
        lease: claimed.lease,
        chain: claimed.chain.clone(),
        key: format!("step:s#{step}"),
        spend,
        waited: Some(wait_key(&format!("step:s#{step}"))),
    }
}

fn settlement(claimed: &Claimed, step: u32, used: Spend) -> Settlement {
    Settlement {
        lease: claimed.lease,
        chain: claimed.chain.clone(),
        key: format!("step:s#{step}"),
        used,
    }
}

async fn reserve(db: &Db, asked: Reservation) -> Result<bool> {
    match write(db, move |tx| budget::reserve(tx, &asked)).await? {
        Reserved::Held { .. } => Ok(true),
        Reserved::Short(_) => Ok(false),
    }
}

async fn account(db: &Db, id: TaskId) -> Account {
    db.read(move |db| budget::accounts(db, id)).await.unwrap().remove(0)
}

#[derive(Clone, Debug)]
enum Op {
    /// A task, and what its next step reserves.
    Reserve(usize, u64),
    /// One that has reserved settles; what it used.
    Settle(usize, u64),
    /// The process dies, and another takes over; what it was about to settle comes too late.
    Crash(usize),
    /// The account of the first task or of the second.
    Grant(usize, u64),
}

fn ops() -> impl Strategy<Value = Vec<Op>> {
    let op = prop_oneof![
        5 => (0_usize..3, 1_u64..50).prop_map(|(task, tokens)| Op::Reserve(task, tokens)),
        4 => (0_usize..3, 0_u64..60).prop_map(|(task, used)| Op::Settle(task, used)),
        1 => (0_usize..3).prop_map(Op::Crash),
        1 => (0_usize..2, 1_u64..40).prop_map(|(account, more)| Op::Grant(account, more)),
    ];
    proptest::collection::vec(op, 1..25)
}

/// A run as the model has it.
#[derive(Clone, Copy, Debug, Default)]
struct Run {
    step: u32,
    held: Option<u64>,
    wanted: Option<u64>,
}

/// The accounts that each task draws on.
const DRAWS_ON: [&[usize]; 3] = [&[0], &[0, 1], &[0]];

struct World<'a> {
    bench: &'a Bench,
    tasks: Vec<Claimed>,
    runs: [Run; 3],
    /// By account: the limit, and all that was drawn.
    limits: [u64; 2],
    drawn: [u64; 2],
    /// Something used more than it had reserved.
    exceeded: bool,
}

impl World<'_> {
    async fn step(&mut self, op: &Op) {
        match *op {
            Op::Reserve(task, tokens) => self.reserve(task, tokens).await,
            Op::Settle(task, used) => self.settle(task, used).await,
            Op::Crash(task) => self.crash(task).await,
            Op::Grant(account, more) => {
                let (queue, id) = (self.bench.queue.clone(), self.tasks[account].task.id);
                let more_tokens = Budget::new().tokens(more);
                write(&self.bench.db, move |tx| budget::grant(tx, &queue, id, &more_tokens))
                    .await
                    .unwrap();
                self.limits[account] += more;
            }
        }
        self.check(op).await;
    }

    fn fits(&self, task: usize, tokens: u64) -> bool {
        DRAWS_ON[task]
            .iter()
            .all(|account| self.drawn[*account] + tokens <= self.limits[*account])
    }

    async fn reserve(&mut self, task: usize, tokens: u64) {
        let run = self.runs[task];
        if run.held.is_some() {
            return;
        }
        // Whoever waits tries the same again.
        let tokens = run.wanted.unwrap_or(tokens);
        let claimed = &self.tasks[task];
        let asked = reservation(claimed, run.step, Spend::tokens(tokens));
        let held = reserve(&self.bench.db, asked.clone()).await.unwrap();
        assert_eq!(held, self.fits(task, tokens), "{tokens} for {task}");
        if held {
            // The answer was lost, and it is asked again.
            assert!(reserve(&self.bench.db, asked).await.unwrap());
            self.runs[task].held = Some(tokens);
            self.runs[task].wanted = None;
            for account in DRAWS_ON[task] {
                self.drawn[*account] += tokens;
            }
            return;
        }
        self.runs[task].wanted = Some(tokens);
        let wait = NewWait {
            key: wait_key(&asked.key),
            what: Wanted::Budget {
                need: Spend::tokens(tokens).into(),
                chain: claimed.chain.clone(),
            },
        };
        let (queue, lease, task) = (self.bench.queue.clone(), claimed.lease, claimed.task.clone());
        let synced = write(&self.bench.db, move |tx| {
            wait::sync(tx, &queue, lease, &task, 0, std::slice::from_ref(&wait), false)
        });
        assert_eq!(synced.await.unwrap().resolved.len(), 0);
    }

    async fn settle(&mut self, task: usize, used: u64) {
        let run = self.runs[task];
        let Some(reserved) = run.held else { return };
        let (queue, claimed) = (self.bench.queue.clone(), &self.tasks[task]);
        let settled = settlement(claimed, run.step, Spend::tokens(used));
        let record = Record {
            lease: claimed.lease,
            at: queue.clock.now(),
            key: settled.key.clone(),
            kind: Kind::Step,
            type_name: "u8",
            value: Payload::encode(&1, 100).unwrap(),
            also: None,
        };
        for _the_answer_is_lost in 0..2 {
            let (queue, settled, record) = (queue.clone(), settled.clone(), record.clone());
            write(&self.bench.db, move |tx| {
                budget::settle_with(tx, &queue, &settled, &record)
            })
            .await
            .unwrap();
        }
        self.exceeded |= used > reserved;
        self.runs[task] = Run {
            step: run.step + 1,
            ..Run::default()
        };
        for account in DRAWS_ON[task] {
            self.drawn[*account] = self.drawn[*account] - reserved + used;
        }
    }

    /// What it had reserved stays spent; the step is tried again.
    async fn crash(&mut self, task: usize) {
        let (run, zombie) = (self.runs[task], self.tasks[task].lease);
        let seq = zombie.task;
        write(&self.bench.db, move |tx| {
            tx.execute("UPDATE task SET state = 1 WHERE seq = ?1", &[&seq])
        })
        .await
        .unwrap();
        self.tasks[task] = claims(self.bench, 1).await.remove(0);
        let settled = Settlement {
            lease: zombie,
            ..settlement(&self.tasks[task], run.step, Spend::none())
        };
        let queue = self.bench.queue.clone();
        let late = write(&self.bench.db, move |tx| budget::settle(tx, &queue, &settled)).await;
        assert_eq!(late.unwrap_err().kind(), ErrorKind::LeaseLost);
        self.runs[task].held = None;
    }

    async fn check(&self, op: &Op) {
        for account in 0..2 {
            let is = self::account(&self.bench.db, self.tasks[account].task.id).await;
            let (limit, drawn) = (self.limits[account], self.drawn[account]);
            let held = (0..3).filter(|task| DRAWS_ON[*task].contains(&account));
            let held: u64 = held.filter_map(|task| self.runs[task].held).sum();
            let line = is.tokens;
            assert!(line.spent + line.reserved <= limit, "{op:?}: {line:?}");
            assert_eq!(line.limit, Some(limit), "{op:?}");
            assert_eq!(
                line.spent + line.reserved + line.over,
                drawn.max(held),
                "{op:?}: {line:?}"
            );
            assert_eq!(line.reserved, held, "{op:?}: {line:?}");
            assert!(self.exceeded || line.over == 0, "{op:?}: {line:?}");
        }
        // Nobody sleeps while there is room for it.
        for (task, run) in self.runs.iter().enumerate() {
            let (Some(tokens), seq) = (run.wanted, self.tasks[task].task.seq) else {
                continue;
            };
            let key = wait_key(&format!("step:s#{}", run.step));
            let is_due = self.bench.db.read(move |db| {
                db.query_opt(
                    "SELECT wake_at FROM journal WHERE task = ?1 AND key = ?2",
                    &[&seq, &key],
                    |row| Ok(row.get::<Option<i64>>(0)?.is_some()),
                )
            });
            if self.fits(task, tokens) {
                assert_eq!(is_due.await.unwrap(), Some(true), "{op:?}: {task} sleeps");
            }
        }
    }
}

fn check(place: TestDb, cases: u32) {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()
        .unwrap();
    let bench = runtime.block_on(Bench::on(place));
    let config = Config {
        cases,
        failure_persistence: None,
        max_shrink_iters: 200,
        ..Config::default()
    };
    let run = |(root, child, ops): (u64, u64, Vec<Op>)| {
        runtime.block_on(async {
            clear(&bench.db).await;
            let tasks = family(&bench, Budget::new().tokens(root), Budget::new().tokens(child)).await;
            let mut world = World {
                bench: &bench,
                tasks,
                runs: [Run::default(); 3],
                limits: [root, child],
                drawn: [0; 2],
                exceeded: false,
            };
            for op in &ops {
                world.step(op).await;
            }
        });
        Ok(())
    };
    let result = TestRunner::new(config).run(&(0_u64..120, 0_u64..80, ops()), run);
    if let Err(failure) = result {
        panic!("{failure}");
    }
}

#[test]
fn whatever_happens_no_account_is_overdrawn() {
    check(TestDb::sqlite_in_memory(), 60);
}

#[cfg(feature = "postgres")]
#[test]
fn whatever_happens_no_account_is_overdrawn_on_a_server() {
    check(TestDb::postgres(), 12);
}

/// Many at once, who reserve, settle and die: an account and two beneath it, in one process or in two.
async fn at_once(benches: &[Bench], seed: u64) {
    const LIMIT: u64 = 400;
    let first = &benches[0];
    let (queue, task) = (
        first.queue.clone(),
        new(None, Some(Budget::new().tokens(LIMIT).calls(1_000))),
    );
    write(&first.db, move |tx| submit::submit(tx, &queue, &task))
        .await
        .unwrap();
    let own = claims(first, 1).await.remove(0);
    let below = (0..8).map(|at| new(Some(&own), (at % 2 == 0).then(|| Budget::new().tokens(90))));
    let below = children(below.collect());
    let (queue, lease, task) = (first.queue.clone(), own.lease, own.task.clone());
    write(&first.db, move |tx| {
        wait::sync(tx, &queue, lease, &task, 0, std::slice::from_ref(&below), false).map(drop)
    })
    .await
    .unwrap();
    let mut workers = tokio::task::JoinSet::new();
    let share = 8 / benches.len();
    for (at, bench) in benches.iter().enumerate() {
        for (place, claimed) in claims(bench, share).await.into_iter().enumerate() {
            let (db, queue) = (bench.db.clone(), bench.queue.clone());
            workers.spawn(work(
                db,
                queue,
                claimed,
                SeededRng::new(seed + (at * 100 + place) as u64),
            ));
        }
    }
    // What anybody sees at any time.
    let id = own.task.id;
    let (mut spent, mut refused) = (0, 0);
    while !workers.is_empty() {
        while let Some(done) = workers.try_join_next() {
            let (one, times) = done.unwrap();
            spent += one;
            refused += times;
        }
        let line = account(&first.db, id).await.tokens;
        assert!(line.spent + line.reserved <= LIMIT && line.over == 0, "{line:?}");
        tokio::task::yield_now().await;
    }
    let line = account(&first.db, id).await.tokens;
    assert_eq!((line.spent + line.reserved, line.over), (spent, 0), "{line:?}");
    assert!(spent > LIMIT / 2 && spent <= LIMIT, "{spent}");
    assert!(refused > 0, "nobody was refused");
}

/// Returns what was spent or left reserved, and how often there was not enough.
async fn work(db: Db, queue: Queue, claimed: Claimed, rng: SeededRng) -> (u64, u64) {
    let (mut spent, mut refused) = (0, 0);
    for step in 0..25 {
        let tokens = 1 + rng.next_u64() % 20;
        if !reserve(&db, reservation(&claimed, step, Spend::tokens(tokens).calls(1)))
            .await
            .unwrap()
        {
            refused += 1;
            continue;
        }
        // One in five is never heard of again.
        if rng.next_u64().is_multiple_of(5) {
            spent += tokens;
            continue;
        }
        let used = rng.next_u64() % (tokens + 1);
        let (queue, settled) = (queue.clone(), settlement(&claimed, step, Spend::tokens(used).calls(1)));
        write(&db, move |tx| budget::settle(tx, &queue, &settled))
            .await
            .unwrap();
        spent += used;
    }
    (spent, refused)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_at_once_spend_no_more_than_there_is() {
    at_once(&[Bench::on(TestDb::sqlite_in_memory()).await], 1).await;
}

#[cfg(feature = "postgres")]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_processes_spend_no_more_than_there_is() {
    let first = Bench::on(TestDb::postgres()).await;
    let second = first.beside().await;
    at_once(&[first, second], 1).await;
}

/// A crash between the reservation and the settlement, and the answers that are lost around it.
async fn cut_off(place: TestDb) {
    let bench = Bench::on(place).await;
    let all = family(&bench, Budget::new().tokens(100).children(2), Budget::new().tokens(50)).await;
    let child = &all[1];
    assert!(
        reserve(&bench.db, reservation(child, 1, Spend::tokens(30)))
            .await
            .unwrap()
    );
    let line = account(&bench.db, all[0].task.id).await.tokens;
    assert_eq!((line.spent, line.reserved), (0, 30));
    // Cancelled, nobody knows what it used.
    let (queue, id) = (bench.queue.clone(), child.task.id);
    write(&bench.db, move |tx| super::super::cancel::cancel(tx, &queue, id))
        .await
        .unwrap();
    for (task, tokens) in [(&all[0], 30), (child, 30)] {
        let line = account(&bench.db, task.task.id).await.tokens;
        assert_eq!((line.spent, line.reserved), (tokens, 0));
    }
    let (queue, settled) = (bench.queue.clone(), settlement(child, 1, Spend::none()));
    let late = write(&bench.db, move |tx| budget::settle(tx, &queue, &settled)).await;
    assert_eq!(late.unwrap_err().kind(), ErrorKind::LeaseLost);
    // A sub-budget has no more to give than there is above.
    let (own, other) = (&all[0], &all[2]);
    assert!(
        !reserve(&bench.db, reservation(other, 1, Spend::tokens(71)))
            .await
            .unwrap()
    );
    assert!(
        reserve(&bench.db, reservation(other, 1, Spend::tokens(70)))
            .await
            .unwrap()
    );
    // Both children are made: there are no more of them.
    let (queue, lease, task) = (bench.queue.clone(), own.lease, own.task.clone());
    let more = NewWait {
        key: "call:more#1".to_owned(),
        ..children(vec![new(Some(own), None)])
    };
    let synced = write(&bench.db, move |tx| {
        wait::sync(tx, &queue, lease, &task, 0, std::slice::from_ref(&more), false)
    });
    let resolved = synced.await.unwrap().resolved;
    let more = resolved.iter().find(|one| one.key == "call:more#1");
    assert!(matches!(more.unwrap().outcome, wait::Outcome::Short(_)), "{resolved:?}");
    let count = |tx: &mut Tx<'_>| tx.query_one("SELECT count(*) FROM task", &[], |row| row.get::<i64>(0));
    assert_eq!(write(&bench.db, count).await.unwrap(), 3);
}

#[tokio::test]
async fn what_was_cut_off_is_spent() {
    cut_off(TestDb::sqlite_in_memory()).await;
}

#[cfg(feature = "postgres")]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_cut_off_is_spent_on_a_server() {
    cut_off(TestDb::postgres()).await;
}
