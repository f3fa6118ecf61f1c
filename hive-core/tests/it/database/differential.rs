//! The engines beside each other: what closures see and leave behind is the same on both, for thousands of generated
//! programs.
//!
//! A program is a list of calls of a database; a call is a closure made of statements, good ones and bad ones. Each runs on SQLite and
//! on PostgreSQL. Everything that can be seen from outside is written down and compared: rows with their order, counts, kinds
//! of errors, hooks, wake-ups, and in the end all tables.
//!
//! `HIVE_DIFFERENTIAL_PROGRAMS` says how many programs there are, `HIVE_DIFFERENTIAL_SEED` begins with the one that failed.
#![expect(clippy::indexing_slicing, reason = "a test that cannot go on fails")]

mod program;
mod run;
mod statements;

use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use hive_core::db::{Db, Migration, Migrations, Options};
use hive_core::rng::{Rng, SystemRng};
use proptest::test_runner::{Config, RngAlgorithm, TestCaseError, TestError, TestRng, TestRunner};

use super::suite::Place;

/// What a run looks at unless told otherwise: less than a minute of a small machine that is busy with other tests.
const PROGRAMS: u64 = 10_000;
/// As many as a small machine has cores for, with a database of each engine each.
const LANES: u64 = 4;

static TABLES: Migrations = Migrations {
    owner: "differential",
    list: &[Migration::new(
        1,
        "tables",
        "CREATE TABLE item (id INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE, size INTEGER CHECK (size < 100),
             weight REAL, body BLOB) STRICT;
         CREATE INDEX item_by_size ON item (size, id);
         CREATE TABLE part (item INTEGER NOT NULL REFERENCES item (id), place INTEGER NOT NULL, note TEXT,
             PRIMARY KEY (item, place)) STRICT, WITHOUT ROWID;
         CREATE TABLE leaf (id INTEGER PRIMARY KEY, item INTEGER REFERENCES item (id) ON DELETE CASCADE, note TEXT) STRICT;
         CREATE TABLE tally (id INTEGER PRIMARY KEY AUTOINCREMENT, n INTEGER NOT NULL UNIQUE) STRICT;",
        "DROP TABLE tally; DROP TABLE leaf; DROP TABLE part; DROP TABLE item;",
    )],
};

fn number(variable: &str) -> Option<u64> {
    std::env::var(variable).ok().map(|text| text.parse().unwrap())
}

#[test]
fn both_engines_come_to_the_same_end() {
    let seed = number("HIVE_DIFFERENTIAL_SEED").unwrap_or_else(|| SystemRng.next_u64());
    let programs = number("HIVE_DIFFERENTIAL_PROGRAMS").unwrap_or(PROGRAMS);
    let (ran, calls, kept) = (AtomicU64::new(0), AtomicU64::new(0), AtomicU64::new(0));
    let failed = Mutex::new(None);
    std::thread::scope(|scope| {
        for lane in 0..LANES {
            let (ran, calls, kept, failed) = (&ran, &calls, &kept, &failed);
            scope.spawn(move || {
                let pair = Pair::open();
                let share = programs / LANES + u64::from(lane < programs % LANES);
                let config = Config {
                    cases: u32::try_from(share).unwrap(),
                    failure_persistence: None,
                    max_shrink_iters: 4_000,
                    ..Config::default()
                };
                let mut bytes = [0; 32];
                bytes[..8].copy_from_slice(&seed.wrapping_add(lane).to_le_bytes());
                let rng = TestRng::from_seed(RngAlgorithm::ChaCha, &bytes);
                let result = TestRunner::new_with_rng(config, rng).run(&program::programs(), |program| {
                    if failed.lock().unwrap().is_some() {
                        // Another lane has something to show.
                        return Ok(());
                    }
                    ran.fetch_add(1, Ordering::Relaxed);
                    calls.fetch_add(program.len() as u64, Ordering::Relaxed);
                    kept.fetch_add(pair.compare(&program)?, Ordering::Relaxed);
                    Ok(())
                });
                if let Err(TestError::Fail(reason, program)) = result {
                    failed.lock().unwrap().get_or_insert((lane, reason, program));
                }
                pair.close();
            });
        }
    });
    if let Some((lane, reason, program)) = failed.into_inner().unwrap() {
        panic!("seed {seed}, lane {lane}: {reason}\nthe shortest program found:\n{program:#?}");
    }
    let (ran, calls, kept) = (ran.into_inner(), calls.into_inner(), kept.into_inner());
    assert!(ran >= programs, "{ran} of {programs} programs ran");
    // Nothing would be shown by programs of which everything is undone.
    assert!(kept * 3 > calls, "of {calls} calls only {kept} were kept");
    use std::io::Write as _;
    writeln!(
        std::io::stdout(),
        "{ran} programs of {calls} calls, {kept} of them kept, ran alike on both engines; seed {seed}"
    )
    .unwrap();
}

/// One database of each engine, and a thread's runtime to call them from.
struct Pair {
    runtime: tokio::runtime::Runtime,
    sqlite: Db,
    postgres: Db,
    _places: [Place; 2],
}

impl Pair {
    fn open() -> Self {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap();
        let places = [Place::sqlite_in_memory(), Place::postgres()];
        let [sqlite, postgres] = places.each_ref().map(|place| runtime.block_on(open(place.options())));
        Self {
            runtime,
            sqlite,
            postgres,
            _places: places,
        }
    }

    /// How many calls were kept.
    fn compare(&self, program: &program::Program) -> Result<u64, TestCaseError> {
        let sqlite = self.runtime.block_on(run::run(&self.sqlite, program));
        let postgres = self.runtime.block_on(run::run(&self.postgres, program));
        let differs = sqlite
            .iter()
            .zip(&postgres)
            .position(|(one, other)| !run::alike(one, other));
        match differs {
            None if sqlite.len() == postgres.len() => Ok(run::kept(&sqlite)),
            at => {
                let at = at.unwrap_or_else(|| sqlite.len().min(postgres.len()));
                let reason = format!(
                    "observation {at}\n  SQLite     {:?}\n  PostgreSQL {:?}",
                    sqlite.get(at),
                    postgres.get(at)
                );
                Err(TestCaseError::fail(reason))
            }
        }
    }

    fn close(self) {
        for db in [&self.sqlite, &self.postgres] {
            self.runtime.block_on(db.close()).unwrap();
        }
    }
}

async fn open(options: Options) -> Db {
    let options = options.migrations(&TABLES).read_timeout(Duration::from_secs(60));
    Db::open(options).await.unwrap()
}
