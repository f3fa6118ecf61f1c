//! Generated programs, with a crash at every one of their commits.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use hive_orchestration::builders::Builder;
use hive_orchestration::task::Decision;
use hive_orchestration::testing::{CrashTest, Report};
use hive_orchestration::{Hive, Signal};

use crate::program::{self, ANSWER, Book, EFFECTS, Machine, Program};

/// What was done in one run, through its processes.
#[derive(Clone, Debug, Default)]
struct RunBook(Arc<Mutex<BTreeMap<String, u32>>>);

impl RunBook {
    fn is_done(&self, path: &str) -> bool {
        let end = format!("/{path}");
        self.0.lock().unwrap().keys().any(|key| key.ends_with(&end))
    }
}

impl Book for RunBook {
    fn done(&self, key: &str) -> Option<u32> {
        let mut done = self.0.lock().unwrap();
        let times = done.entry(key.to_owned()).or_default();
        *times += 1;
        Some(*times)
    }

    fn confirmed(&self, _: &str) {}
}

/// The path of a step that must not run twice, by its key.
fn path(key: &str) -> &str {
    let (_, rest) = key.split_once(":once-").unwrap();
    rest.rsplit_once('#').unwrap().0
}

fn crash(seed: u64, program: &Program, twice: u32) -> Report {
    let book = RunBook::default();
    let (machine, asked, emptied) = (book.clone(), book.clone(), book);
    let setup = move |hive: Builder| {
        hive.agent(Machine(Arc::new(machine.clone())))
            .migrations(&EFFECTS)
            .concurrency(3)
    };
    let test = CrashTest::new(seed, setup)
        .answering(&Signal::<u64>::new("go"), &ANSWER)
        .deciding(move |_, key| match asked.is_done(path(key)) {
            true => Decision::Adopt(program::done(path(key)).into()),
            false => Decision::Rerun,
        })
        .before_each(move || emptied.0.lock().unwrap().clear())
        .twice(twice);
    let races = format!("{program:?}").contains("Race");
    let test = if races { test.results_only() } else { test };
    let play = |hive: Hive| async move {
        let task = hive.submit::<Machine>(program.clone()).idempotency_key("p");
        let value = task.await?.result().await?;
        assert_eq!(value, program::expected(program), "{program:?}");
        let double = "SELECT count(*) - count(DISTINCT key) FROM effect";
        let twice = hive
            .db()
            .read(move |db| db.query_one(double, &[], |row| row.get::<i64>(0)))
            .await?;
        assert_eq!(twice, 0, "an effect happened twice: {program:?}");
        Ok(value)
    };
    test.run(play).unwrap_or_else(|failed| panic!("{failed}\n{program:?}"))
}

#[test]
fn programs_come_to_the_same_end_wherever_they_crash() {
    let seed = std::env::var("HIVE_SEED").map_or(1, |text| text.parse().unwrap());
    println!("HIVE_SEED={seed}");
    let (mut crashes, mut again) = (0, 0);
    for (number, program) in program::sample(seed, 10).iter().enumerate() {
        let report = crash(seed + number as u64, program, 5);
        crashes += report.crashes;
        again += report.executions.values().filter(|times| **times > 1).count();
    }
    println!("{crashes} crashes");
    assert!(crashes > 300, "{crashes} crashes");
    assert!(again > 5, "{again} steps were ever cut off");
}
