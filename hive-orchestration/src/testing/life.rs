//! A hive in a test, through several processes.

use std::collections::BTreeSet;
use std::fmt;
use std::future::Future;
use std::rc::Rc;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use hive_core::clock::{Clock, Timestamp, timeout};
use hive_core::db::{self, Cut, Db, Memory, Snapshot};
use hive_core::id::TaskId;
use hive_core::lease;
use hive_core::payload::fingerprint;
use hive_core::rng::SeededRng;
use hive_errors::{Error, ErrorKind, Result};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;
use tokio::runtime::{self, Handle, Runtime};

use super::clock::VirtualClock;
use super::outcome::{self, Outcome, Remembered};
use super::people::{People, encoded};
use super::steps::Steps;
use super::tables as all_tables;
use crate::agent::Agent;
use crate::context::Signal;
use crate::handle::TaskHandle;
use crate::hive::{Builder, Hive};
use crate::limits;
use crate::tables;
use crate::task::{Decision, TaskStatus};

/// When virtual time begins: 2026-01-01T00:00:00Z.
const START: Timestamp = Timestamp::from_micros(1_767_225_600_000_000);

/// A hive in memory whose time passes by itself whenever nothing else can happen, and whose processes die on request.
///
/// It is driven from a thread of its own right, such as that of a `#[test]`: between two calls nothing moves. A call that asks for
/// something goes on through crashes, as a client would that asks again.
///
/// ```
/// use std::time::Duration;
/// use hive_orchestration::testing::TestHive;
/// use hive_orchestration::{Approval, Context, Failure, Signal, agent_fn};
///
/// const RELEASE: Signal<Approval> = Approval::signal("release");
///
/// let mut hive = TestHive::new(7, |hive| {
///     hive.agent(agent_fn("ship", async |cx: Context, tag: String| {
///         let answer = cx.wait(RELEASE).ask("ship it?").await?;
///         Ok::<_, Failure>(format!("{tag}: {}", answer.approved))
///     }))
/// });
/// let task = hive.submit_named("ship", "v1").unwrap();
/// hive.advance(Duration::from_secs(24 * 60 * 60));
/// hive.crash(); // the next process takes the task over
/// hive.signal(task, &RELEASE, &Approval::yes()).unwrap();
/// assert_eq!(hive.result_named(task).unwrap(), "v1: true");
/// ```
///
/// # Panics
/// All of its methods, within an async runtime; and those of them that have to open a hive, when that is refused.
pub struct TestHive {
    setup: Rc<dyn Fn(Builder) -> Builder>,
    memory: Memory,
    clock: VirtualClock,
    rng: Arc<SeededRng>,
    steps: Steps,
    people: People,
    patience: Duration,
    life: Option<Life>,
    lives: u32,
    asked: u64,
}

/// A process.
struct Life {
    // Before the runtime: what it drops must be gone first.
    hive: Hive,
    runtime: Runtime,
}

impl TestHive {
    /// A hive on an empty database, which the first call opens. `setup` adds what it is made of, for each process anew; its clock, its randomness and its
    /// database are given.
    pub fn new(seed: u64, setup: impl Fn(Builder) -> Builder + 'static) -> Self {
        Self::shared(seed, Rc::new(setup))
    }

    pub(super) fn shared(seed: u64, setup: Rc<dyn Fn(Builder) -> Builder>) -> Self {
        let memory = match Memory::new(seed) {
            Ok(memory) => memory,
            Err(error) => panic!("a database in memory could not be made: {error}"),
        };
        Self {
            setup,
            memory,
            clock: VirtualClock::new(START),
            rng: Arc::new(SeededRng::new(seed)),
            steps: Steps::default(),
            people: People::default(),
            patience: limits::TEST_PATIENCE,
            life: None,
            lives: 0,
            asked: 0,
        }
    }

    /// Whoever waits for this signal is told this value, within a minute or two.
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

    /// Steps that are held are decided on like this: the task, and the step's key.
    pub fn deciding(mut self, decide: impl Fn(TaskId, &str) -> Decision + Send + Sync + 'static) -> Self {
        self.people.deciding(Arc::new(decide));
        self
    }

    pub(super) fn with_people(mut self, people: People) -> Self {
        self.people = people;
        self
    }

    /// How much virtual time [`TestHive::play`] and its kin give; [`TEST_PATIENCE`](limits::TEST_PATIENCE) unless set.
    pub fn patience(mut self, limit: Duration) -> Self {
        self.patience = limit;
        self
    }

    /// Runs `play` on the hive, as a program that has it open would; once more from its beginning whenever the process dies
    /// meanwhile. So give what it submits an [idempotency key](crate::builders::Submit::idempotency_key).
    ///
    /// # Errors
    /// What `play` returns; `timeout` when virtual time is up, with what tasks still wait for.
    pub fn play<T, Fut>(&mut self, play: impl Fn(Hive) -> Fut) -> Result<T>
    where
        Fut: Future<Output = Result<T>>,
    {
        let until = self.now() + self.patience;
        loop {
            let (memory, clock) = (self.memory.clone(), self.clock.clone());
            let life = self.alive();
            let hive = life.hive.clone();
            let outcome = life.runtime.block_on(async {
                tokio::select! {
                    biased;
                    // Its time runs on through crashes.
                    done = timeout(&clock, until.since(clock.now()), play(hive)) => Some(done),
                    () = memory.killed() => None,
                }
            });
            match outcome {
                Some(Ok(done)) => return done,
                Some(Err(late)) => return Err(late.with("waiting", self.waits().join("; "))),
                None => self.bury(),
            }
        }
    }

    /// Submits a task for agent `A` and returns its output.
    ///
    /// # Errors
    /// As [`TestHive::play`], [`Hive::submit`] and [`TaskHandle::result`].
    pub fn run<A: Agent>(&mut self, input: A::Input) -> Result<A::Output> {
        let task = self.submit::<A>(input)?;
        self.result::<A>(task)
    }

    /// [`TestHive::run`] for an agent that is known by name only.
    ///
    /// # Errors
    /// As [`TestHive::run`].
    pub fn run_named(&mut self, agent: &str, input: impl Serialize) -> Result<Value> {
        let task = self.submit_named(agent, input)?;
        self.result_named(task)
    }

    /// Submits a task for agent `A`.
    ///
    /// # Errors
    /// As [`Hive::submit`].
    pub fn submit<A: Agent>(&mut self, input: A::Input) -> Result<TaskId> {
        self.submit_named(A::NAME, input)
    }

    /// [`TestHive::submit`] for an agent that is known by name only.
    ///
    /// # Errors
    /// As [`Hive::submit_named`].
    pub fn submit_named(&mut self, agent: &str, input: impl Serialize) -> Result<TaskId> {
        self.asked += 1;
        let key = format!("test-{}", self.asked);
        let input = serde_json::to_value(input)
            .map_err(|e| Error::new(ErrorKind::InvalidInput, "the input is not JSON").with_source(e))?;
        self.play(|hive| {
            let submit = hive.submit_named(agent, &input).idempotency_key(&key);
            async move { Ok(submit.await?.id()) }
        })
    }

    /// What became of the task.
    ///
    /// # Errors
    /// As [`TestHive::play`] and [`TaskHandle::result`].
    pub fn result<A: Agent>(&mut self, task: TaskId) -> Result<A::Output> {
        self.result_of(task)
    }

    /// [`TestHive::result`], as JSON.
    ///
    /// # Errors
    /// As [`TestHive::result`].
    pub fn result_named(&mut self, task: TaskId) -> Result<Value> {
        self.result_of(task)
    }

    fn result_of<T: DeserializeOwned>(&mut self, task: TaskId) -> Result<T> {
        self.play(|hive| async move { hive.task::<T>(task).result().await })
    }

    /// Where the task stands.
    ///
    /// # Errors
    /// As [`TaskHandle::status`].
    pub fn status(&mut self, task: TaskId) -> Result<TaskStatus> {
        self.play(|hive| async move { hive.task::<()>(task).status().await })
    }

    /// Sends a signal to the task. A process that dies meanwhile may have sent it, and the next sends it again.
    ///
    /// # Errors
    /// As [`TaskHandle::signal`].
    pub fn signal<T: Serialize>(&mut self, task: TaskId, signal: &Signal<T>, value: &T) -> Result<()> {
        self.tell(task, async |task| task.signal(signal, value).await)
    }

    /// Decides on a step that is held.
    ///
    /// # Errors
    /// As [`TaskHandle::decide`].
    pub fn decide(&mut self, task: TaskId, step: &str, decision: Decision) -> Result<()> {
        if decision == Decision::Rerun {
            self.steps.set_free(task, step);
        }
        self.tell(task, async |task| task.decide(step, decision.clone()).await)
    }

    /// Cancels the task.
    ///
    /// # Errors
    /// As [`TaskHandle::cancel`].
    pub fn cancel(&mut self, task: TaskId) -> Result<bool> {
        self.tell(task, async |task| task.cancel().await)
    }

    fn tell<T>(&mut self, task: TaskId, tell: impl AsyncFn(TaskHandle<()>) -> Result<T>) -> Result<T> {
        self.play(|hive| tell(hive.task(task)))
    }

    /// Lets so much time pass, with everything that falls due in it.
    pub fn advance(&mut self, by: Duration) {
        let until = self.now() + by;
        loop {
            let (memory, clock) = (self.memory.clone(), self.clock.clone());
            let over = self.alive().runtime.block_on(async {
                tokio::select! {
                    biased;
                    () = memory.killed() => false,
                    () = clock.sleep_until(until) => true,
                }
            });
            if over {
                return;
            }
            self.bury();
        }
    }

    /// The virtual time.
    pub fn now(&mut self) -> Timestamp {
        let clock = self.clock.clone();
        let _within = self.alive().runtime.enter();
        clock.now()
    }

    /// Kills the process, as `kill -9` does, and opens the hive in another.
    pub fn crash(&mut self) {
        self.memory.kill();
        self.bury();
        self.alive();
    }

    /// Kills the process that makes the commit with this number, counted by [`TestHive::commits`], on this side of it. Another opens
    /// the hive and goes on.
    pub fn crash_at(&mut self, commit: u64, side: Cut) {
        self.memory.cut(commit, side);
    }

    /// Forgets the crashes that have not come about.
    pub(super) fn mend(&self) {
        self.memory.mend();
    }

    /// How many commits there were so far, of those that changed something and are promised to be on disk.
    pub fn commits(&self) -> u64 {
        self.memory.commits()
    }

    /// Where in the code that commit was asked for.
    pub(super) fn commit(&self, number: u64) -> &'static str {
        self.memory.commit(number).unwrap_or("a commit that was never made")
    }

    /// How many processes there were.
    pub fn processes(&self) -> u32 {
        self.lives
    }

    /// Shuts the process down in good order and opens the hive in another.
    ///
    /// # Errors
    /// As [`Hive::shutdown`].
    pub fn restart(&mut self) -> Result<()> {
        self.play(|hive| async move { hive.shutdown().await })?;
        self.bury();
        self.alive();
        Ok(())
    }

    /// What the task remembers, by key: outcomes only, not what is still waited for.
    ///
    /// # Errors
    /// `not-found` when there is no such task.
    pub fn journal(&mut self, task: TaskId) -> Result<std::collections::BTreeMap<String, Remembered>> {
        self.look(move |db| {
            let seq = db.query_one("SELECT seq FROM task WHERE id = ?1", &[&task], |row| row.get(0))?;
            outcome::remembered(db, seq)
        })
    }

    /// What came of everything so far, without times and ids.
    ///
    /// # Errors
    /// Those of [`Db::read`].
    pub fn outcome(&mut self) -> Result<Outcome> {
        let own = own_tables()?;
        self.look(move |db| Outcome::read(db, own))
    }

    /// Everything that is stored, as text: equal for equal seeds and calls.
    ///
    /// # Errors
    /// Those of [`Db::read`].
    pub fn dump(&mut self) -> Result<String> {
        self.look(all_tables::dump)
    }

    /// A fingerprint of [`TestHive::dump`].
    ///
    /// # Errors
    /// Those of [`Db::read`].
    pub fn digest(&mut self) -> Result<u64> {
        self.dump().map(|all| fingerprint(all.as_bytes()))
    }

    fn look<T: Send + 'static>(
        &mut self,
        look: impl FnMut(&Snapshot<'_>) -> Result<T> + Clone + Send + 'static,
    ) -> Result<T> {
        self.play(|hive| {
            let look = look.clone();
            async move { hive.db().read(look).await }
        })
    }

    /// The steps' book.
    pub(super) fn steps(&self) -> &Steps {
        &self.steps
    }

    /// What tasks wait for, in words.
    fn waits(&self) -> Vec<String> {
        let open = self.memory.look(|db| {
            db.query(
                "SELECT t.agent, t.state, j.key, j.state FROM task t LEFT JOIN journal j ON j.task = t.seq AND j.state IN (0, 3)
                 WHERE t.state < 4 ORDER BY t.seq, j.key LIMIT 20",
                &[],
                |row| {
                    let agent = row.get::<String>(0)?;
                    Ok(match row.get::<Option<String>>(2)? {
                        Some(key) if row.get::<Option<i64>>(3)? == Some(3) => format!("{agent}: {key} (held for a decision)"),
                        Some(key) => format!("{agent}: {key}"),
                        None => format!("{agent}: in state {}", row.get::<i64>(1)?),
                    })
                },
            )
        });
        open.unwrap_or_default()
    }

    /// The process that is alive; another, if there is none.
    fn alive(&mut self) -> &Life {
        let life = match self.life.take() {
            Some(life) => life,
            None => self.born(),
        };
        self.life.insert(life)
    }

    fn born(&mut self) -> Life {
        assert!(
            Handle::try_current().is_err(),
            "a TestHive has a runtime of its own: use it in a plain #[test], not in an async one"
        );
        loop {
            let runtime = runtime::Builder::new_current_thread()
                .enable_time()
                .start_paused(true)
                .build();
            let runtime = match runtime {
                Ok(runtime) => runtime,
                Err(error) => panic!("a runtime could not be made: {error}"),
            };
            self.lives += 1;
            let within = runtime.enter();
            self.clock.enter();
            drop(within);
            let builder = Hive::on(db::Options::memory(&self.memory))
                .clock(Arc::new(self.clock.clone()))
                .rng(self.rng.clone())
                .simulated(self.steps.hook());
            let (builder, memory) = ((self.setup)(builder), &self.memory);
            let (people, steps) = (self.people.clone(), self.steps.clone());
            let opened = runtime.block_on(async {
                tokio::select! {
                    biased;
                    opened = builder.start() => Some(opened),
                    () = memory.killed() => None,
                }
            });
            match opened {
                Some(Ok(hive)) => {
                    if people.are_there() {
                        // Detached: it ends with the runtime.
                        runtime.spawn(people.mind(hive.clone(), self.memory.clone(), steps));
                    }
                    return Life { hive, runtime };
                }
                Some(Err(error)) => panic!("the hive could not be opened: {error}"),
                None => self.end(runtime),
            }
        }
    }

    /// Puts away what is left of the process that was killed or closed.
    fn bury(&mut self) {
        if let Some(Life { hive, runtime }) = self.life.take() {
            let within = runtime.enter();
            drop(hive);
            drop(within);
            self.end(runtime);
        }
    }

    fn end(&self, runtime: Runtime) {
        self.memory.kill();
        let within = runtime.enter();
        self.clock.leave();
        drop(within);
        drop(runtime);
        self.settle();
    }

    /// Takes down which steps are on record, whoever has heard of it.
    fn settle(&self) {
        match self.memory.look(outcome::steps) {
            Ok(steps) => self.steps.settle(steps),
            Err(error) => panic!("the journal could not be read: {error}"),
        }
    }
}

impl Drop for TestHive {
    fn drop(&mut self) {
        if let Some(Life { hive, runtime }) = self.life.take() {
            self.memory.kill();
            let within = runtime.enter();
            drop(hive);
            drop(within);
            drop(runtime);
        }
    }
}

impl fmt::Debug for TestHive {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TestHive")
            .field("memory", &self.memory)
            .field("processes", &self.lives)
            .finish_non_exhaustive()
    }
}

/// The tables that every hive has.
fn own_tables() -> Result<&'static BTreeSet<String>> {
    static FOUND: OnceLock<BTreeSet<String>> = OnceLock::new();
    match FOUND.get() {
        Some(found) => Ok(found),
        None => find_own_tables().map(|found| FOUND.get_or_init(|| found)),
    }
}

fn find_own_tables() -> Result<BTreeSet<String>> {
    let memory = Memory::new(0)?;
    let options = db::Options::memory(&memory)
        .migrations(&lease::MIGRATIONS)
        .migrations(&hive_bus::MIGRATIONS)
        .migrations(&tables::MIGRATIONS);
    let runtime = runtime::Builder::new_current_thread()
        .build()
        .map_err(|e| Error::new(ErrorKind::Internal, "a runtime could not be made").with_source(e))?;
    let names = runtime.block_on(async { Db::open(options).await?.read(all_tables::names).await })?;
    Ok(names.into_iter().collect())
}
