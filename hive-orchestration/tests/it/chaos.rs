//! Hives that die at any moment, in this process: a dead one can neither write nor do anything any more.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use hive_orchestration::builders::Builder;
use hive_orchestration::core::rng::{Rng, SeededRng, SystemRng};
use hive_orchestration::task::TaskState;
use hive_orchestration::{Context, Failure, Hive, agent_fn};
use proptest::prelude::*;

use crate::kit::{Gate, Home, Ledger, crash, reopened, soon};
use crate::program::{self, Book, EFFECTS, Line, Machine, Op, Program};

const WORKERS: usize = 4;

/// The book of all processes, and which of them lives.
#[derive(Debug, Default)]
struct World {
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    alive: u64,
    lines: Vec<Line>,
    done: BTreeMap<String, u32>,
}

struct Life {
    world: Arc<World>,
    number: u64,
}

impl World {
    /// From here on no other process is alive.
    fn begin(self: &Arc<Self>) -> Life {
        let mut state = self.state.lock().unwrap();
        state.alive += 1;
        Life {
            world: Arc::clone(self),
            number: state.alive,
        }
    }

    fn kill(&self) {
        self.state.lock().unwrap().alive += 1;
    }

    fn is_done(&self, key: &str) -> bool {
        self.state.lock().unwrap().done.contains_key(key)
    }

    fn lines(&self) -> Vec<Line> {
        self.state.lock().unwrap().lines.clone()
    }
}

impl Book for Life {
    fn done(&self, key: &str) -> Option<u32> {
        let mut state = self.world.state.lock().unwrap();
        if state.alive != self.number {
            return None;
        }
        state.lines.push(Line::Done(key.to_owned()));
        let times = state.done.entry(key.to_owned()).or_default();
        *times += 1;
        Some(*times)
    }

    fn confirmed(&self, key: &str) {
        let mut state = self.world.state.lock().unwrap();
        if state.alive == self.number {
            state.lines.push(Line::Confirmed(key.to_owned()));
        }
    }
}

/// How a process ends.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Death {
    Crash,
    /// Asked to stop, without any patience.
    Shutdown,
}

struct Chaos {
    home: Home,
    world: Arc<World>,
    rng: SeededRng,
    programs: Vec<Program>,
    cancelled: BTreeSet<hive_orchestration::core::id::TaskId>,
}

impl Chaos {
    fn new(seed: u64, programs: Vec<Program>) -> Self {
        Self {
            home: Home::new(),
            world: Arc::default(),
            rng: SeededRng::new(seed),
            programs,
            cancelled: BTreeSet::new(),
        }
    }

    fn below(&self, limit: u64) -> u64 {
        self.rng.next_u64() % limit
    }

    fn open(&self, life: &Arc<dyn Book>, gate: &Gate, ledger: &Ledger) -> Builder {
        let (gate, ledger) = (gate.clone(), ledger.clone());
        let hold = agent_fn("hold", move |_: Context, _: ()| {
            let (gate, ledger) = (gate.clone(), ledger.clone());
            async move {
                ledger.add("held");
                gate.passed().await;
                Ok::<_, Failure>(())
            }
        });
        Hive::open(self.home.db())
            .agent(Machine(Arc::clone(life)))
            .agent(hold)
            .migrations(&EFFECTS)
            .concurrency(WORKERS)
            .drain(Duration::ZERO)
    }

    /// One process that works on the first `count` programs for a while.
    async fn live(&mut self, count: usize, cancel: bool) -> Death {
        let life: Arc<dyn Book> = Arc::new(self.world.begin());
        let (gate, ledger) = (Gate::new(), Ledger::default());
        let hive = reopened(|| self.open(&life, &gate, &ledger)).await;
        let ids = program::submit(&hive, &self.programs[..count]).await.unwrap();
        let world = Arc::clone(&self.world);
        let answering = tokio::spawn(program::answer(hive.clone(), move |key| world.is_done(key)));
        tokio::time::sleep(Duration::from_micros(self.below(50_000))).await;
        if cancel && self.below(4) == 0 {
            let victim = ids[self.below(count as u64) as usize];
            hive.task::<u64>(victim).cancel().await.unwrap();
            self.cancelled.insert(victim);
            tokio::time::sleep(Duration::from_micros(self.below(2_000))).await;
        }
        answering.abort();
        let death = if self.below(4) == 0 {
            Death::Shutdown
        } else {
            Death::Crash
        };
        match death {
            Death::Shutdown => hive.shutdown().await.unwrap(),
            Death::Crash => {
                self.world.kill();
                crash(hive).await;
            }
        }
        death
    }

    /// The last process, which nothing disturbs.
    async fn finish(self) {
        let life: Arc<dyn Book> = Arc::new(self.world.begin());
        let (gate, ledger) = (Gate::new(), Ledger::default());
        let hive = reopened(|| self.open(&life, &gate, &ledger)).await;
        let ids = program::submit(&hive, &self.programs).await.unwrap();
        let world = Arc::clone(&self.world);
        let answering = tokio::spawn(program::answer(hive.clone(), move |key| world.is_done(key)));
        for id in &ids {
            if tokio::time::timeout(Duration::from_secs(90), hive.task::<u64>(*id).result())
                .await
                .is_err()
            {
                panic!("{id} never ends: {:#?}", hive.task::<u64>(*id).status().await.unwrap());
            }
        }
        answering.abort();
        program::verify(&hive, &self.programs, &ids, &self.cancelled, &self.world.lines()).await;
        // No worker was lost, and none was given out twice.
        let mut holding = Vec::new();
        for _ in 0..2 * WORKERS {
            holding.push(hive.submit_named("hold", &()).await.unwrap());
        }
        ledger.counted(WORKERS).await;
        let counts = hive.counts(None).await.unwrap();
        assert!(counts.contains(&(TaskState::Running, WORKERS as u64)), "{counts:?}");
        gate.open();
        for task in holding {
            soon(task.result()).await.unwrap();
        }
        hive.shutdown().await.unwrap();
    }
}

/// A seed of one's own choice, to see a failure again: `HIVE_SEED=7 cargo nextest run chaos`.
fn seed() -> u64 {
    std::env::var("HIVE_SEED").map_or_else(|_| SystemRng.next_u64() % 1_000_000, |text| text.parse().unwrap())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_hundred_crashes() {
    let seed = seed();
    println!("HIVE_SEED={seed}");
    let (mut crashes, mut count) = (0, 0);
    let mut chaos = Chaos::new(seed, program::sample(seed, 140));
    while crashes < 100 {
        // New work all the time, so that there is always something under way.
        count = (count + 1).min(chaos.programs.len());
        if chaos.live(count, true).await == Death::Crash {
            crashes += 1;
        }
    }
    chaos.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn undisturbed_programs_come_out_as_the_model_says() {
    let seed = seed();
    println!("HIVE_SEED={seed}");
    Chaos::new(seed, program::sample(seed, 60)).finish().await;
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 12, max_shrink_iters: 20, ..ProptestConfig::default() })]

    /// Whatever a program does, and wherever it is interrupted, the same comes of it.
    #[test]
    fn crashes_change_nothing(ops in program::programs(), seed in any::<u64>()) {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
        runtime.block_on(async {
            Chaos::new(seed, vec![Program::new(ops.clone())]).finish().await;
            let mut chaos = Chaos::new(seed, vec![Program::new(ops); 3]);
            for _ in 0..4 {
                chaos.live(3, false).await;
            }
            chaos.finish().await;
        });
    }
}

/// The kinds that a random sample could lack.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_of_each() {
    let leaf = || vec![Op::Step { fails: 1 }, Op::Transaction];
    let ops = vec![
        Op::Once,
        Op::Fail { times: 2 },
        Op::Panic { times: 1 },
        Op::Progress,
        Op::Sleep { ms: 3 },
        Op::Wait,
        Op::Expire { ms: 1 },
        Op::Call(vec![Op::Call(leaf()), Op::Wait]),
        Op::Map {
            parallel: 2,
            bodies: vec![leaf(), vec![], leaf(), vec![Op::Sleep { ms: 2 }], leaf()],
        },
        Op::Map {
            parallel: 1,
            bodies: vec![],
        },
        Op::Both(vec![Op::Wait, Op::Once], vec![Op::Call(leaf()), Op::Sleep { ms: 1 }]),
        Op::Race(
            vec![Op::Sleep { ms: 2 }],
            vec![Op::Call(vec![Op::Wait, Op::Sleep { ms: 60_000 }])],
        ),
        Op::Race(
            vec![Op::Wait],
            vec![Op::Step { fails: 0 }, Op::Transaction, Op::Sleep { ms: 5 }],
        ),
        Op::Step { fails: 0 },
    ];
    let seed = seed();
    println!("HIVE_SEED={seed}");
    let mut chaos = Chaos::new(seed, vec![Program::new(ops); 5]);
    for count in [2, 3, 5, 5, 5] {
        chaos.live(count, false).await;
    }
    chaos.finish().await;
}
