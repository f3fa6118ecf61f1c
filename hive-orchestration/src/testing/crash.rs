//! The same work with a crash at each of its commits.

use std::collections::BTreeMap;
use std::error::Error as StdError;
use std::fmt;
use std::future::Future;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use hive_core::db::Cut;
use hive_core::id::TaskId;
use hive_core::rng::{Rng, SeededRng};
use hive_errors::Result;
use serde::Serialize;

use super::life::TestHive;
use super::outcome::Outcome;
use super::people::{People, encoded};
use crate::context::Signal;
use crate::hive::{Builder, Hive};
use crate::task::Decision;

/// How long tasks that nobody waits for are given to end, after the play is over.
const AFTERMATH: Duration = Duration::from_secs(60 * 60);

/// Runs `play` on a hive that `setup` describes, once without a crash and then twice for every commit: with a crash before it, and
/// with one after it. See [`CrashTest`], which this is with its defaults.
///
/// # Errors
/// The first crash after which something else came of it than without, in words.
pub fn crash_everywhere<T, Fut>(
    setup: impl Fn(Builder) -> Builder + 'static,
    play: impl Fn(Hive) -> Fut,
) -> Result<Report, Failed>
where
    T: Serialize,
    Fut: Future<Output = Result<T>>,
{
    CrashTest::new(1, setup).run(play)
}

/// Crashes at every commit. Every commit of the hive counts that changed something and was promised to be on disk: submissions,
/// claims, what steps remember, transactions, waits that begin and end, children, signals, the ends of tasks, and whatever else goes
/// through the database.
///
/// After each crash another process opens the hive, and the play begins anew in it. In the end these must be what they were without a
/// crash: what the play returned; how every task ended and what it returned and remembers; the events of what agents said; and the
/// rows of tables of your own, which is where a transaction that happened twice shows. And no step may have been executed whose
/// outcome was on record.
///
/// What a step records must therefore not differ from run to run, as times and ids do; where it must, or where branches race,
/// compare [results only](CrashTest::results_only).
#[must_use = "it does nothing until it is run"]
pub struct CrashTest {
    seed: u64,
    setup: Rc<dyn Fn(Builder) -> Builder>,
    people: People,
    before_each: Rc<dyn Fn()>,
    results_only: bool,
    double: u32,
}

/// What was tried, and how often steps were executed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Report {
    /// Commits that the play makes without a crash.
    pub commits: u64,
    /// Runs with a crash.
    pub crashes: u64,
    /// How often each step was executed at most in one of the runs, by its key. Two is what a crash between a step's end and its commit
    /// makes of one.
    pub executions: BTreeMap<String, u32>,
}

/// Something else came of it after a crash.
#[derive(Clone)]
pub struct Failed {
    seed: u64,
    crashes: Vec<(u64, Cut)>,
    place: &'static str,
    what: String,
}

impl CrashTest {
    /// Crashes a hive that `setup` describes, as [`TestHive::new`] takes it.
    pub fn new(seed: u64, setup: impl Fn(Builder) -> Builder + 'static) -> Self {
        Self {
            seed,
            setup: Rc::new(setup),
            people: People::default(),
            before_each: Rc::new(|| {}),
            results_only: false,
            double: 0,
        }
    }

    /// Whoever waits for this signal is told this value.
    ///
    /// # Panics
    /// When the value cannot be encoded.
    pub fn answering<T: Serialize>(mut self, signal: &Signal<T>, value: &T) -> Self {
        match encoded(signal, value) {
            Ok((name, value)) => self.people.answering(&name, value),
            Err(error) => panic!("the answer cannot be encoded: {error}"),
        }
        self
    }

    /// How steps are decided on that must not run twice and were cut off, by the task and the step's key. Without it such a task waits
    /// until the play's time is up, which fails.
    pub fn deciding(mut self, decide: impl Fn(TaskId, &str) -> Decision + Send + Sync + 'static) -> Self {
        self.people.deciding(Arc::new(decide));
        self
    }

    /// Called before each run, which is not each process: for what agents share with the test, to begin anew.
    pub fn before_each(mut self, begin: impl Fn() + 'static) -> Self {
        self.before_each = Rc::new(begin);
        self
    }

    /// Compares only what the play and the root tasks return: for agents whose branches race, where the loser may come more or less far.
    pub fn results_only(mut self) -> Self {
        self.results_only = true;
        self
    }

    /// Afterwards, so many runs with two crashes each, at places that the seed chooses.
    pub fn twice(mut self, runs: u32) -> Self {
        self.double = runs;
        self
    }

    /// Runs it. `play` is what the program does that has the hive open; it begins anew in each process, so give what it submits an
    /// [idempotency key](crate::builders::Submit::idempotency_key).
    ///
    /// # Errors
    /// The first crash after which something else came of it than without, or without a crash what the play failed with.
    pub fn run<T, Fut>(self, play: impl Fn(Hive) -> Fut) -> Result<Report, Failed>
    where
        T: Serialize,
        Fut: Future<Output = Result<T>>,
    {
        let mut report = Report::default();
        let first = self.once(&[], &play)?;
        note(&mut report, &first);
        report.commits = first.commits - first.before;
        let commits = first.before + 1..=first.commits;
        for commit in commits.clone() {
            for side in [Cut::Before, Cut::After] {
                self.crash(&mut report, &first, vec![(commit, side)], &play)?;
            }
        }
        let rng = SeededRng::new(self.seed);
        for _ in 0..self.double {
            let side = || {
                if rng.next_u64().is_multiple_of(2) {
                    Cut::Before
                } else {
                    Cut::After
                }
            };
            let one = first.before + 1 + rng.next_u64() % report.commits.max(1);
            // A crash before a commit leaves its number to the next.
            let two = one + 1 + rng.next_u64() % report.commits.max(1);
            self.crash(&mut report, &first, vec![(one, side()), (two, side())], &play)?;
        }
        Ok(report)
    }

    fn crash<T, Fut>(
        &self,
        report: &mut Report,
        first: &Run,
        crashes: Vec<(u64, Cut)>,
        play: &impl Fn(Hive) -> Fut,
    ) -> Result<(), Failed>
    where
        T: Serialize,
        Fut: Future<Output = Result<T>>,
    {
        let run = self.once(&crashes, play)?;
        report.crashes += 1;
        note(report, &run);
        let mut what = run.wrong.join("\n");
        if run.returned != first.returned {
            what.push_str(&format!(
                "\n  without a crash the play returned {}\n  with it it returned {}",
                first.returned, run.returned
            ));
        }
        if let Some(difference) = first.outcome.difference(&run.outcome) {
            what.push('\n');
            what.push_str(&difference);
        }
        if what.is_empty() {
            return Ok(());
        }
        Err(self.failed(&crashes, run.place, what))
    }

    fn failed(&self, crashes: &[(u64, Cut)], place: &'static str, what: String) -> Failed {
        Failed {
            seed: self.seed,
            crashes: crashes.to_vec(),
            place,
            what,
        }
    }

    fn once<T, Fut>(&self, crashes: &[(u64, Cut)], play: &impl Fn(Hive) -> Fut) -> Result<Run, Failed>
    where
        T: Serialize,
        Fut: Future<Output = Result<T>>,
    {
        (self.before_each)();
        let mut hive = TestHive::shared(self.seed, Rc::clone(&self.setup)).with_people(self.people.clone());
        // Opened before anything is to be cut off: nobody was promised anything yet.
        hive.now();
        let before = hive.commits();
        for (commit, side) in crashes {
            hive.crash_at(*commit, *side);
        }
        let place = crashes.first().map_or(0, |(commit, _)| *commit);
        let played = hive.play(play).and_then(|value| {
            serde_json::to_string(&value).map_err(|e| {
                hive_errors::Error::new(
                    hive_errors::ErrorKind::InvalidInput,
                    "what the play returned is not JSON",
                )
                .with_source(e)
            })
        });
        let returned = match played {
            Ok(returned) => returned,
            Err(error) => {
                let what = format!("the play failed: {}", hive_errors::Report::new(&error));
                return Err(self.failed(crashes, hive.commit(place), what));
            }
        };
        // What nobody waits for ends as well, or waits for good.
        hive.advance(AFTERMATH);
        hive.mend();
        let outcome = match hive.outcome() {
            Ok(outcome) => outcome,
            Err(error) => {
                return Err(self.failed(
                    crashes,
                    hive.commit(place),
                    format!("the outcome is unreadable: {error}"),
                ));
            }
        };
        Ok(Run {
            before,
            commits: hive.commits(),
            place: hive.commit(place),
            returned,
            outcome: if self.results_only { outcome.results() } else { outcome },
            wrong: hive.steps().wrong(),
            executions: hive.steps().executions(),
        })
    }
}

impl fmt::Debug for CrashTest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CrashTest")
            .field("seed", &self.seed)
            .field("results_only", &self.results_only)
            .field("double", &self.double)
            .finish_non_exhaustive()
    }
}

/// What came of one run.
struct Run {
    /// Commits of the opening.
    before: u64,
    commits: u64,
    /// Where in the code the crash was.
    place: &'static str,
    returned: String,
    outcome: Outcome,
    wrong: Vec<String>,
    executions: BTreeMap<(TaskId, String), u32>,
}

fn note(report: &mut Report, run: &Run) {
    for ((_, key), times) in &run.executions {
        let most = report.executions.entry(key.clone()).or_default();
        *most = (*most).max(*times);
    }
}

impl fmt::Display for Failed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "seed {}", self.seed)?;
        for (commit, side) in &self.crashes {
            let side = match side {
                Cut::Before => "before",
                Cut::After => "after",
            };
            write!(f, ", a crash {side} commit {commit}")?;
        }
        if !self.crashes.is_empty() {
            write!(f, " ({})", self.place)?;
        }
        write!(f, ": {}", self.what)
    }
}

impl fmt::Debug for Failed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // What `unwrap` prints.
        fmt::Display::fmt(self, f)
    }
}

impl StdError for Failed {}
