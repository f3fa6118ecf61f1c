//! Anything that holders can do, in any order and on any clock, against a map in memory.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::time::Duration;

use hive_errors::{Error, ErrorKind};
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};

use super::{Home, holders};
use crate::lease::{Holder, Lease, Outcome, Status};

const NAMES: [&str; 3] = ["one", "two", "three"];
const HOLDERS: usize = 3;
/// The clock goes in steps of a hundred milliseconds.
const STEP_US: i64 = 100_000;

#[derive(Clone, Copy, Debug)]
enum Op {
    Acquire {
        name: usize,
        holder: usize,
        steps: u32,
    },
    Renew(usize),
    Release(usize),
    Guard(usize),
    Pass(i64),
    /// Another process opens the file.
    Process(i64),
    Prune(u32),
}

fn ops() -> impl Strategy<Value = Op> {
    prop_oneof![
        8 => (0..NAMES.len(), 0..HOLDERS, 1..9_u32).prop_map(|(name, holder, steps)| Op::Acquire { name, holder, steps }),
        3 => any::<usize>().prop_map(Op::Renew),
        2 => any::<usize>().prop_map(Op::Release),
        3 => any::<usize>().prop_map(Op::Guard),
        4 => (1..6_i64).prop_map(Op::Pass),
        1 => (-40..40_i64).prop_map(Op::Pass),
        1 => (1..4_i64).prop_map(Op::Process),
        1 => (0..12_u32).prop_map(Op::Prune),
    ]
}

/// What is said of a name: by whom it is held, from when until when.
#[derive(Clone, Debug)]
struct Entry {
    token: u64,
    held_by: Option<usize>,
    process: i64,
    granted: i64,
    until: i64,
}

#[derive(Default)]
struct Model {
    names: BTreeMap<usize, Entry>,
    floor: u64,
}

impl Model {
    /// The token and what is left, while it is held.
    fn status(&self, name: usize, process: i64, now: i64) -> Option<(usize, u64, i64)> {
        let entry = self.names.get(&name)?;
        let from = if entry.granted > now { entry.granted } else { now };
        let left = entry.until - from;
        let alive = entry.process == process && left > 0;
        entry
            .held_by
            .filter(|_| alive)
            .map(|holder| (holder, entry.token, left))
    }

    fn valid(&mut self, name: usize, token: u64) -> Option<&mut Entry> {
        self.names
            .get_mut(&name)
            .filter(|entry| entry.token == token && entry.held_by.is_some())
    }
}

#[test]
fn leases_do_as_the_model_does() {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    let holders: [Holder; HOLDERS] = holders();
    let home = RefCell::new(runtime.block_on(Home::new()));
    let config = Config {
        cases: 192,
        failure_persistence: None,
        ..Config::default()
    };
    TestRunner::new(config)
        .run(&prop::collection::vec(ops(), 1..40), |ops| {
            let mut home = home.borrow_mut();
            let wiped = "DELETE FROM hive_lease WHERE name <> ''";
            runtime
                .block_on(home.db.write(move |tx| {
                    tx.execute(wiped, &[])?;
                    tx.execute("UPDATE hive_lease SET token = 0", &[])
                }))
                .unwrap();
            runtime.block_on(run(&mut home, &holders, &ops))
        })
        .unwrap();
}

async fn run(home: &mut Home, holders: &[Holder; HOLDERS], ops: &[Op]) -> Result<(), TestCaseError> {
    let mut model = Model::default();
    let mut leases: Vec<(usize, Lease, i64)> = Vec::new();
    let mut greatest = BTreeMap::new();
    for op in ops {
        let (process, now) = (home.now.process, home.now.us);
        match *op {
            Op::Acquire { name, holder, steps } => {
                let length = i64::from(steps) * STEP_US;
                let ttl = Duration::from_micros(length.unsigned_abs());
                let answer = home.acquire(NAMES[name], &holders[holder], ttl).await.unwrap();
                match (model.status(name, process, now), answer) {
                    (Some((owner, token, left)), Outcome::Taken(status)) if owner != holder => {
                        prop_assert_eq!(&status.holder, holders[owner].as_str());
                        prop_assert_eq!((status.token.as_u64(), micros(&status)), (token, left));
                        let entry = model.names.get_mut(&name).unwrap();
                        if entry.granted > now {
                            (entry.granted, entry.until) = (now, now + left);
                        }
                    }
                    (held, Outcome::Won(lease)) if held.is_none_or(|(owner, ..)| owner == holder) => {
                        let before = model.names.get(&name).map_or(0, |entry| entry.token).max(model.floor);
                        prop_assert_eq!(lease.token().as_u64(), before + 1);
                        // Whatever happened to earlier ones: of one name, the later has the greater.
                        let last = greatest.insert(name, lease.token());
                        prop_assert!(last.is_none_or(|last| last < lease.token()));
                        model.names.insert(
                            name,
                            Entry {
                                token: before + 1,
                                held_by: Some(holder),
                                process,
                                granted: now,
                                until: now + length,
                            },
                        );
                        leases.push((name, lease, length));
                    }
                    (held, answer) => prop_assert!(false, "the model has {held:?}, the answer is {answer:?}"),
                }
            }
            Op::Renew(which) => {
                let Some((name, lease, length)) = pick(&leases, which) else {
                    continue;
                };
                let entry = model.valid(*name, lease.token().as_u64());
                let valid = entry.is_some();
                if let Some(entry) = entry {
                    (entry.process, entry.granted, entry.until) = (process, now, now + length);
                }
                same(home.renew(lease).await, valid)?;
            }
            Op::Release(which) => {
                let Some((name, lease, _)) = pick(&leases, which) else {
                    continue;
                };
                let entry = model.valid(*name, lease.token().as_u64());
                let valid = entry.is_some();
                if let Some(entry) = entry {
                    (entry.held_by, entry.process, entry.granted, entry.until) = (None, process, now, now);
                }
                same(home.release(lease).await, valid)?;
            }
            Op::Guard(which) => {
                let Some((name, lease, _)) = pick(&leases, which) else {
                    continue;
                };
                same(
                    home.guard(lease).await,
                    model.valid(*name, lease.token().as_u64()).is_some(),
                )?;
            }
            Op::Pass(steps) => home.now.us += steps * STEP_US,
            Op::Process(process) => home.now.process = process,
            Op::Prune(steps) => {
                let idle = i64::from(steps) * STEP_US;
                let gone = |entry: &Entry| entry.until <= now - idle || entry.process != process;
                let pruned = model
                    .names
                    .values()
                    .filter(|entry| gone(entry))
                    .map(|entry| entry.token);
                let (count, most) = pruned.fold((0, 0), |(count, most), token| (count + 1, token.max(most)));
                model.floor = model.floor.max(most);
                model.names.retain(|_, entry| !gone(entry));
                prop_assert_eq!(home.prune(Duration::from_micros(idle.unsigned_abs())).await, count);
            }
        }
        for (name, text) in NAMES.iter().enumerate() {
            let found = home.current(text).await;
            let found = found.map(|status| (status.holder.clone(), status.token.as_u64(), micros(&status)));
            let expected = model.status(name, home.now.process, home.now.us);
            let expected = expected.map(|(owner, token, left)| (holders[owner].to_string(), token, left));
            prop_assert_eq!(found, expected, "{} after {:?}", text, op);
        }
    }
    Ok(())
}

fn pick(leases: &[(usize, Lease, i64)], which: usize) -> Option<&(usize, Lease, i64)> {
    leases.get(which.checked_rem(leases.len())?)
}

fn micros(status: &Status) -> i64 {
    i64::try_from(status.left.as_micros()).unwrap()
}

fn same(answer: Result<(), Error>, valid: bool) -> Result<(), TestCaseError> {
    prop_assert_eq!(
        answer.err().map(|error| error.kind()),
        (!valid).then_some(ErrorKind::LeaseLost)
    );
    Ok(())
}
