//! Small programs for agents, as data: one agent carries them out, a pure function says what must come of them, and a book
//! outside of the database remembers what was really done.

use std::collections::{BTreeMap, BTreeSet};
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use hive_orchestration::core::db::{Db, Dialect, Migration, Migrations};
use hive_orchestration::core::id::TaskId;
use hive_orchestration::errors::RetryPolicy;
use hive_orchestration::task::Decision;
use hive_orchestration::{Agent, Call, Context, Effect, Failure, Hive, Result, Signal};
use proptest::prelude::*;
use proptest::strategy::ValueTree;
use proptest::test_runner::{Config, RngAlgorithm, TestRng, TestRunner};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub(crate) enum Op {
    /// A step whose first tries fail.
    Step {
        fails: u32,
    },
    /// A step that must not run twice.
    Once,
    /// A row in the user's own table.
    Transaction,
    /// The attempt fails the first times.
    Fail {
        times: u32,
    },
    Panic {
        times: u32,
    },
    Progress,
    Sleep {
        ms: u64,
    },
    /// Waits for a signal.
    Wait,
    /// Waits for a signal, but not for long.
    Expire {
        ms: u64,
    },
    Call(Vec<Op>),
    Map {
        parallel: usize,
        bodies: Vec<Vec<Op>>,
    },
    /// Both branches side by side.
    Both(Vec<Op>, Vec<Op>),
    /// Whichever ends first; the other is dropped where it stands.
    Race(Vec<Op>, Vec<Op>),
}

/// What one task is to do. The path says where in the whole program it stands.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub(crate) struct Program {
    pub(crate) path: String,
    pub(crate) ops: Vec<Op>,
}

impl Program {
    pub(crate) fn new(ops: Vec<Op>) -> Self {
        Self {
            path: "r".to_owned(),
            ops,
        }
    }
}

/// What really happened, in order, whatever the database says.
pub(crate) trait Book: Send + Sync + 'static {
    /// Notes that `key` is being done and returns how often that is the case by now; `None` when this process is dead, and
    /// then the caller does nothing more.
    fn done(&self, key: &str) -> Option<u32>;

    /// Notes that the database has confirmed `key`.
    fn confirmed(&self, key: &str);

    /// The book of a run that begins, if each has its own.
    fn run(&self) -> Option<Arc<dyn Book>> {
        None
    }
}

const SIGNAL: Signal<u64> = Signal::new("go");
/// What every wait is told.
pub(crate) const ANSWER: u64 = 42;

/// Carries programs out.
pub(crate) struct Machine(pub(crate) Arc<dyn Book>);

impl Agent for Machine {
    const NAME: &'static str = "machine";
    type Input = Program;
    type Output = u64;

    async fn run(&self, cx: &Context, program: Program) -> Result<u64, Failure> {
        let book = self.0.run().unwrap_or_else(|| Arc::clone(&self.0));
        sequence(cx, &*book, &program.path, &program.ops).await
    }

    fn retry(&self) -> RetryPolicy {
        RetryPolicy::fixed(100, Duration::from_millis(1))
    }
}

type Outcome<'a> = Pin<Box<dyn Future<Output = Result<u64, Failure>> + Send + 'a>>;

fn sequence<'a>(cx: &'a Context, book: &'a dyn Book, path: &'a str, ops: &'a [Op]) -> Outcome<'a> {
    Box::pin(async move {
        let mut all = digest(path, 0);
        for (index, op) in ops.iter().enumerate() {
            all = mix(all, perform(cx, book, &format!("{path}.{index}"), op).await?);
        }
        Ok(all)
    })
}

/// Does `key` once more, or nothing ever again when the process is dead.
async fn doing(book: &dyn Book, key: &str) -> u32 {
    let times = match book.done(key) {
        Some(times) => times,
        None => std::future::pending().await,
    };
    // Others get their turn, and the process its chance to die.
    tokio::task::yield_now().await;
    times
}

async fn perform(cx: &Context, book: &dyn Book, path: &str, op: &Op) -> Result<u64, Failure> {
    let key = format!("{}/{path}", cx.root_id());
    match op {
        Op::Step { fails } => {
            let work = async || {
                if doing(book, &key).await <= *fails {
                    return Err(Failure::retryable("not yet"));
                }
                Ok(digest(path, 1))
            };
            let policy = RetryPolicy::fixed(9, Duration::from_millis(1));
            let value = cx.step("step", work).retry(policy).await?;
            book.confirmed(&key);
            Ok(value)
        }
        Op::Once => {
            let work = async || {
                doing(book, &key).await;
                Ok::<_, Failure>(digest(path, 1))
            };
            let value = cx
                .step(&format!("once-{path}"), work)
                .effect(Effect::AtMostOnce)
                .await?;
            book.confirmed(&key);
            Ok(value)
        }
        Op::Transaction => {
            let (row, value) = (key.clone(), digest(path, 2));
            cx.transaction("effect", move |tx| {
                tx.execute("INSERT INTO effect (key) VALUES (?1)", &[&row])?;
                Ok(value)
            })
            .await
        }
        Op::Fail { times } => {
            if doing(book, &key).await <= *times {
                return Err(Failure::retryable("as told"));
            }
            Ok(3)
        }
        Op::Panic { times } => {
            if doing(book, &key).await <= *times {
                std::panic::resume_unwind(Box::new("as told"));
            }
            Ok(4)
        }
        Op::Progress => {
            cx.progress(1, 2, path).await?;
            Ok(5)
        }
        Op::Sleep { ms } => {
            cx.sleep(Duration::from_millis(*ms)).await?;
            Ok(6)
        }
        Op::Wait => cx.wait(SIGNAL).ask("go on?").await,
        Op::Expire { ms } => match cx.wait(SIGNAL).timeout(Duration::from_millis(*ms)).await {
            Ok(_) => Ok(7),
            Err(late) if late.message() == "nobody answered in time" => Ok(7),
            Err(failure) => Err(failure),
        },
        Op::Call(ops) => {
            let path = format!("{path}c");
            let ops = ops.clone();
            cx.call("call", Call::<Machine>::new(Program { path, ops })).await
        }
        Op::Map { parallel, bodies } => {
            let programs = bodies.iter().enumerate().map(|(n, ops)| Program {
                path: format!("{path}m{n}"),
                ops: ops.clone(),
            });
            let values = cx
                .map("map", programs, Call::<Machine>::new)
                .parallel(*parallel)
                .await?;
            Ok(values.into_iter().fold(8, mix))
        }
        Op::Both(left, right) => {
            let (l, r) = (format!("{path}l"), format!("{path}r"));
            let (left_cx, right_cx) = (cx.scope(&l), cx.scope(&r));
            let (left, right) =
                tokio::try_join!(sequence(&left_cx, book, &l, left), sequence(&right_cx, book, &r, right))?;
            Ok(mix(left, right))
        }
        Op::Race(left, right) => {
            let (l, r) = (format!("{path}<l"), format!("{path}<r"));
            let (left_cx, right_cx) = (cx.scope(&l), cx.scope(&r));
            let (left, right) = (sequence(&left_cx, book, &l, left), sequence(&right_cx, book, &r, right));
            // Which is asked first is up to the program, so that a simulation repeats itself.
            let (one, other) = if digest(path, 9).is_multiple_of(2) {
                (left, right)
            } else {
                (right, left)
            };
            tokio::select! {
                biased;
                won = one => won?,
                won = other => won?,
            };
            Ok(9)
        }
    }
}

fn mix(a: u64, b: u64) -> u64 {
    (a.rotate_left(7) ^ b).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 12
}

fn digest(path: &str, salt: u64) -> u64 {
    path.bytes().fold(salt, |all, byte| mix(all, u64::from(byte)))
}

/// What comes of a step that must not run twice.
pub(crate) fn done(path: &str) -> u64 {
    digest(path, 1)
}

/// What comes of a program when nothing ever goes wrong.
pub(crate) fn expected(program: &Program) -> u64 {
    let path = &program.path;
    let values = program.ops.iter().enumerate();
    values.fold(digest(path, 0), |all, (index, op)| {
        mix(all, value(&format!("{path}.{index}"), op))
    })
}

fn value(path: &str, op: &Op) -> u64 {
    let below = |suffix: &str, ops: &Vec<Op>| {
        expected(&Program {
            path: format!("{path}{suffix}"),
            ops: ops.clone(),
        })
    };
    match op {
        Op::Step { .. } | Op::Once => digest(path, 1),
        Op::Transaction => digest(path, 2),
        Op::Fail { .. } => 3,
        Op::Panic { .. } => 4,
        Op::Progress => 5,
        Op::Sleep { .. } => 6,
        Op::Wait => ANSWER,
        Op::Expire { .. } => 7,
        Op::Call(ops) => below("c", ops),
        Op::Map { bodies, .. } => {
            let values = bodies.iter().enumerate().map(|(n, ops)| below(&format!("m{n}"), ops));
            values.fold(8, mix)
        }
        Op::Both(left, right) => mix(below("l", left), below("r", right)),
        Op::Race(..) => 9,
    }
}

/// The paths of what a program does to the world, by kind. What stands in a race may or may not be done.
#[derive(Debug, Default)]
struct Effects {
    steps: BTreeSet<String>,
    once: BTreeSet<String>,
    transactions: BTreeSet<String>,
}

impl Effects {
    fn of(path: &str, ops: &[Op]) -> Self {
        let mut effects = Self::default();
        effects.collect(path, ops);
        effects
    }

    fn collect(&mut self, path: &str, ops: &[Op]) {
        for (index, op) in ops.iter().enumerate() {
            let path = format!("{path}.{index}");
            match op {
                Op::Step { .. } => drop(self.steps.insert(path)),
                Op::Once => drop(self.once.insert(path)),
                Op::Transaction => drop(self.transactions.insert(path)),
                Op::Call(ops) => self.collect(&format!("{path}c"), ops),
                Op::Map { bodies, .. } => {
                    for (n, ops) in bodies.iter().enumerate() {
                        self.collect(&format!("{path}m{n}"), ops);
                    }
                }
                Op::Both(left, right) => {
                    self.collect(&format!("{path}l"), left);
                    self.collect(&format!("{path}r"), right);
                }
                Op::Race(left, right) => {
                    self.collect(&format!("{path}<l"), left);
                    self.collect(&format!("{path}<r"), right);
                }
                Op::Fail { .. } | Op::Panic { .. } | Op::Progress | Op::Sleep { .. } | Op::Wait | Op::Expire { .. } => {
                }
            }
        }
    }
}

fn is_in_race(path: &str) -> bool {
    path.contains('<')
}

/// Programs of all kinds, small enough that many run in a second.
pub(crate) fn programs() -> impl Strategy<Value = Vec<Op>> {
    let leaf = prop_oneof![
        4 => (0..3_u32).prop_map(|fails| Op::Step { fails: fails.saturating_sub(1) }),
        2 => Just(Op::Once),
        3 => Just(Op::Transaction),
        1 => (1..3_u32).prop_map(|times| Op::Fail { times }),
        1 => Just(Op::Panic { times: 1 }),
        1 => Just(Op::Progress),
        2 => (0..8_u64).prop_map(|ms| Op::Sleep { ms }),
        2 => Just(Op::Wait),
        1 => (0..8_u64).prop_map(|ms| Op::Expire { ms }),
    ];
    let op = leaf.prop_recursive(3, 14, 3, |op| {
        let ops = || prop::collection::vec(op.clone(), 1..3);
        prop_oneof![
            2 => ops().prop_map(Op::Call),
            2 => (1..4_usize, prop::collection::vec(ops(), 0..4))
                .prop_map(|(parallel, bodies)| Op::Map { parallel, bodies }),
            2 => (ops(), ops()).prop_map(|(left, right)| Op::Both(left, right)),
            2 => (ops(), ops()).prop_map(|(left, right)| Op::Race(left, right)),
        ]
    });
    prop::collection::vec(op, 1..5)
}

/// The programs of a seed.
pub(crate) fn sample(seed: u64, count: usize) -> Vec<Program> {
    let mut bytes = [0; 32];
    for (chunk, part) in bytes
        .chunks_mut(8)
        .zip([seed, !seed, seed.rotate_left(17), seed.rotate_left(40)])
    {
        chunk.copy_from_slice(&part.to_le_bytes());
    }
    let rng = TestRng::from_seed(RngAlgorithm::ChaCha, &bytes);
    let mut runner = TestRunner::new_with_rng(Config::default(), rng);
    let strategy = programs();
    (0..count)
        .map(|_| Program::new(strategy.new_tree(&mut runner).unwrap().current()))
        .collect()
}

pub(crate) static EFFECTS: Migrations = Migrations {
    owner: "effects",
    list: &[Migration::new(
        1,
        "effect",
        "CREATE TABLE effect (key TEXT NOT NULL) STRICT;",
        "DROP TABLE effect;",
    )],
};

/// Submits the programs from `first` on, each under its number, and returns the tasks of all of them.
pub(crate) async fn submit(hive: &Hive, programs: &[Program]) -> Result<Vec<TaskId>> {
    let mut ids = Vec::new();
    for (number, program) in programs.iter().enumerate() {
        let task = hive
            .submit::<Machine>(program.clone())
            .idempotency_key(number.to_string())
            .await?;
        ids.push(task.id());
    }
    Ok(ids)
}

/// Answers whatever asks, for as long as the hive lives: waits with the signal, held steps with a person's decision, which
/// is made by looking at what was `done`.
pub(crate) async fn answer(hive: Hive, done: impl Fn(&str) -> bool + Send) -> Result<()> {
    loop {
        let open = hive.db().read(|db| {
            db.query(
                "SELECT task.id, root, key, journal.state FROM journal JOIN task ON task.seq = journal.task
                 WHERE task.state < 4 AND (journal.state = 3 OR journal.state = 0 AND signal IS NOT NULL)",
                &[],
                |row| {
                    let (task, root) = (row.get::<TaskId>(0)?, row.get::<TaskId>(1)?);
                    Ok((task, root, row.get::<String>(2)?, row.get::<u32>(3)?))
                },
            )
        });
        let open = match open.await {
            Ok(open) => open,
            // The server may be away for the moment.
            Err(error) if error.is_retryable() => Vec::new(),
            Err(error) => return Err(error),
        };
        for (id, root, key, state) in open {
            let task = hive.task::<u64>(id);
            let told = if state == 0 {
                task.signal(&SIGNAL, &ANSWER).await
            } else {
                let path = key
                    .split_once(":once-")
                    .and_then(|(_, rest)| rest.rsplit_once('#'))
                    .unwrap()
                    .0;
                let decision = if done(&format!("{root}/{path}")) {
                    Decision::Adopt(digest(path, 1).into())
                } else {
                    Decision::Rerun
                };
                task.decide(&key, decision).await
            };
            match told {
                Ok(()) => {}
                // It ended, or was decided, between the look and the word; or the server went away over it.
                Err(error) if ["conflict", "not-found", "indeterminate"].contains(&error.code()) => {}
                Err(error) if error.is_retryable() => {}
                Err(error) => return Err(error),
            }
        }
        tokio::time::sleep(Duration::from_millis(3)).await;
    }
}

/// What one line of the book says.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Line {
    Done(String),
    Confirmed(String),
}

/// Everything that must hold once all tasks have ended. Tasks in `cancelled` may have ended early.
pub(crate) async fn verify(
    hive: &Hive,
    programs: &[Program],
    ids: &[TaskId],
    cancelled: &BTreeSet<TaskId>,
    book: &[Line],
) {
    let whole = |id: &TaskId| !cancelled.contains(id);
    let mut required = Effects::default();
    let mut allowed = Effects::default();
    for (program, id) in programs.iter().zip(ids) {
        let effects = Effects::of(&program.path, &program.ops);
        for (paths, required, allowed) in [
            (effects.steps, &mut required.steps, &mut allowed.steps),
            (effects.once, &mut required.once, &mut allowed.once),
            (
                effects.transactions,
                &mut required.transactions,
                &mut allowed.transactions,
            ),
        ] {
            let keys = |path: &String| format!("{id}/{path}");
            required.extend(paths.iter().filter(|path| whole(id) && !is_in_race(path)).map(keys));
            allowed.extend(paths.iter().map(keys));
        }
        match hive.task::<u64>(*id).result().await {
            Ok(value) => assert_eq!(value, expected(program), "{id}: {program:?}"),
            Err(error) => assert!(!whole(id) && error.code() == "cancelled", "{id}: {error}\n{program:?}"),
        }
    }
    check_book(book, &required, &allowed);
    check_database(hive.db(), &required, &allowed).await;
    let races = programs.iter().any(|program| format!("{program:?}").contains("Race"));
    for (state, count) in hive.counts(None).await.unwrap() {
        let ended = state.is_final() && !["Failed", "Dead"].contains(&format!("{state:?}").as_str());
        assert!(ended, "{count} tasks are {state:?}");
        assert!(
            races || !cancelled.is_empty() || format!("{state:?}") == "Succeeded",
            "{count} tasks are {state:?}"
        );
    }
}

fn check_book(book: &[Line], required: &Effects, allowed: &Effects) {
    let (mut done, mut confirmed) = (BTreeMap::<&str, u32>::new(), BTreeSet::new());
    for line in book {
        match line {
            Line::Done(key) => {
                *done.entry(key).or_default() += 1;
                assert!(
                    !confirmed.contains(key.as_str()),
                    "{key} was done after it was confirmed"
                );
            }
            Line::Confirmed(key) => drop(confirmed.insert(key.as_str())),
        }
    }
    for key in required.steps.union(&required.once) {
        assert!(done.contains_key(key.as_str()), "{key} was never done");
    }
    for key in &allowed.once {
        let times = done.get(key.as_str()).copied().unwrap_or(0);
        assert!(times <= 1, "{key} was done {times} times");
    }
}

async fn check_database(db: &Db, required: &Effects, allowed: &Effects) {
    let (effects, integrity, ends) = db
        .read(|db| {
            let text = |row: &hive_orchestration::core::db::Row<'_>| row.get::<String>(0);
            Ok((
                db.query("SELECT key FROM effect ORDER BY key", &[], text)?,
                match db.dialect() {
                    Dialect::Sqlite => db.query("PRAGMA integrity_check", &[], text)?,
                    Dialect::Postgres => vec!["ok".to_owned()],
                },
                // Tasks and the events of their ends.
                db.query(
                    "SELECT count(*), (SELECT count(*) FROM event WHERE type IN ('task.succeeded', 'task.cancelled')),
                            (SELECT count(DISTINCT causation) FROM event WHERE type IN ('task.succeeded', 'task.cancelled'))
                     FROM task",
                    &[],
                    |row| Ok([row.get::<u64>(0)?, row.get(1)?, row.get(2)?]),
                )?,
            ))
        })
        .await
        .unwrap();
    let once: BTreeSet<String> = effects.iter().cloned().collect();
    assert_eq!(once.len(), effects.len(), "an effect happened twice");
    assert!(once.is_superset(&required.transactions), "an effect is missing");
    assert!(once.is_subset(&allowed.transactions), "an effect was never asked for");
    assert_eq!(integrity, ["ok"]);
    let [[tasks, events, ended]] = ends[..] else {
        panic!("{ends:?}")
    };
    assert_eq!([events, ended], [tasks, tasks], "every task ends once");
}
