//! Passes over a real log, against a list: exactly what may go goes.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use hive_core::clock::{SystemClock, Timestamp};
use hive_core::db::Db;
use hive_core::id::IdSource;
use hive_core::testing::TestDb;
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};
use tokio::runtime::Runtime;

use super::*;
use crate::consumer::{Candidate, Member, Outcome, State, Stretch, Terms, Verdict};
use crate::event::{Event, NewEvent, Sequence};
use crate::topic::Pattern;
use crate::transport::{Change, Database, Transport};

/// What events are dated by: far apart, and long ago, so that it does not matter how long the test takes.
const TICK: Duration = Duration::from_secs(1_000);
const TICKS_MAX: u64 = 500;

const TOPICS: [&str; 4] = ["a.1", "a.2", "b.1", "c"];
const PATTERNS: [&str; 5] = ["*", "a.*", "*.1", "c", "nothing"];

#[derive(Clone, Debug)]
enum Op {
    Publish(Vec<(usize, usize)>),
    Tick,
    Create(usize, usize, Place),
    Work(usize, usize, Vec<Settled>),
    Seek(usize, Place),
    Redrive(usize),
    Remove(usize),
    Retain(Vec<Rule>),
}

/// Somewhere in the log: at so many hundredths of it.
#[derive(Clone, Copy, Debug)]
struct Place(u64);

#[derive(Clone, Copy, Debug)]
enum Settled {
    Done,
    Failed,
    Rejected,
    Kept,
}

#[derive(Clone, Debug)]
struct Rule {
    pattern: usize,
    ticks: Option<u64>,
    count: Option<u64>,
    bytes: Option<u64>,
    even_unread: bool,
}

fn ops() -> impl Strategy<Value = Vec<Op>> {
    let place = || (0..=100_u64).prop_map(Place);
    let settled = prop_oneof![
        4 => Just(Settled::Done),
        1 => Just(Settled::Failed),
        1 => Just(Settled::Rejected),
        1 => Just(Settled::Kept)
    ];
    let rule = (
        0..PATTERNS.len(),
        proptest::option::of(0..6_u64),
        proptest::option::of(0..20_u64),
        proptest::option::of(0..2_000_u64),
        proptest::bool::weighted(0.2),
    );
    let rule = rule.prop_map(|(pattern, ticks, count, bytes, even_unread)| Rule {
        pattern,
        ticks,
        count,
        bytes,
        even_unread,
    });
    let op = prop_oneof![
        6 => proptest::collection::vec((0..TOPICS.len(), 0..200_usize), 1..12).prop_map(Op::Publish),
        3 => Just(Op::Tick),
        2 => (0..3_usize, 0..PATTERNS.len(), place()).prop_map(|(name, pattern, place)| Op::Create(name, pattern, place)),
        6 => (0..3_usize, 1..12_usize, proptest::collection::vec(settled, 12))
            .prop_map(|(name, room, settled)| Op::Work(name, room, settled)),
        1 => (0..3_usize, place()).prop_map(|(name, place)| Op::Seek(name, place)),
        1 => (0..3_usize).prop_map(Op::Redrive),
        1 => (0..3_usize).prop_map(Op::Remove),
        4 => proptest::collection::vec(rule, 1..4).prop_map(Op::Retain),
    ];
    proptest::collection::vec(op, 1..40)
}

/// A log, and how it is meant to be.
struct World {
    database: Database,
    ids: IdSource,
    start: Timestamp,
    ticks: u64,
    last: Sequence,
}

fn name(number: usize) -> String {
    format!("consumer-{number}")
}

fn patterns(number: usize) -> Patterns {
    Pattern::new(PATTERNS[number]).unwrap().into()
}

impl World {
    async fn new(place: &TestDb) -> Self {
        let options = place.options().migrations(&crate::MIGRATIONS);
        let database = Database::open(Db::open(options).await.unwrap(), Arc::new(SystemClock))
            .await
            .unwrap();
        let start = database.now().await.unwrap();
        let start = Timestamp::from_micros(start.as_micros() - i64::try_from((TICK * 500).as_micros()).unwrap());
        Self {
            database,
            ids: IdSource::system(),
            start,
            ticks: 0,
            last: Sequence::START,
        }
    }

    async fn clear(&mut self) {
        let work = |tx: &mut hive_core::db::Tx<'_>| {
            for table in ["event", "consumer", "dead_letter"] {
                tx.execute(&format!("DELETE FROM {table}"), &[])?;
            }
            Ok(())
        };
        self.database.db().write(work).await.unwrap();
        self.ticks = 0;
    }

    async fn all(&self) -> Vec<Event> {
        self.database.head().await.unwrap();
        let (mut events, mut after) = (Vec::new(), Sequence::START);
        loop {
            let found = self.database.read(&Pattern::ALL.into(), after, 1_000).await.unwrap();
            events.extend(found.events);
            after = found.reached;
            if found.ended {
                return events;
            }
        }
    }

    async fn at(&self, place: Place) -> Sequence {
        let head = self.database.head().await.unwrap().get();
        Sequence::new(head * place.0 / 100)
    }

    async fn load(&self, consumer: usize) -> Option<(State, u64)> {
        let register = self.database.load(&name(consumer)).await.unwrap()?;
        Some((State::from_bytes(&register.state).unwrap(), register.revision))
    }

    async fn store(
        &self,
        consumer: usize,
        expected: Option<u64>,
        state: &State,
        dead: Vec<crate::transport::DeadLetter>,
    ) {
        let mut change = Change::new(expected, state.to_bytes());
        change.dead = dead;
        self.database.store(&name(consumer), change).await.unwrap().unwrap();
    }

    async fn apply(&mut self, op: Op) {
        match op {
            Op::Publish(events) => {
                let time = self.start + TICK * u32::try_from(self.ticks).unwrap();
                let event = |(topic, size): (usize, usize)| {
                    let event = NewEvent::new("test", TOPICS[topic], &"x".repeat(size)).unwrap();
                    event.id(self.ids.next()).time(time)
                };
                let events = events.into_iter().map(event).collect();
                for sequence in self.database.publish(events).await.unwrap() {
                    assert!(sequence > self.last, "a sequence was given again");
                    self.last = sequence;
                }
            }
            Op::Tick => self.ticks = (self.ticks + 1).min(TICKS_MAX),
            Op::Create(consumer, pattern, place) => {
                if self.load(consumer).await.is_none() {
                    let state = State::new(patterns(pattern), self.at(place).await);
                    self.store(consumer, None, &state, Vec::new()).await;
                }
            }
            Op::Work(consumer, room, settled) => self.work(consumer, room, settled).await,
            Op::Seek(consumer, place) => {
                if let Some((mut state, revision)) = self.load(consumer).await {
                    state.seek(self.at(place).await);
                    self.store(consumer, Some(revision), &state, Vec::new()).await;
                }
            }
            Op::Redrive(consumer) => {
                if let Some((mut state, revision)) = self.load(consumer).await {
                    let letters = self
                        .database
                        .dead_letters(&name(consumer), Sequence::START, 5)
                        .await
                        .unwrap();
                    let letters: Vec<Candidate> = letters.iter().map(|letter| candidate(&letter.event)).collect();
                    state.redrive(&letters, 16);
                    self.store(consumer, Some(revision), &state, Vec::new()).await;
                }
            }
            Op::Remove(consumer) => drop(self.database.remove(&name(consumer)).await.unwrap()),
            Op::Retain(rules) => self.retain(rules).await,
        }
    }

    /// Takes events and settles some of them, as a member does.
    async fn work(&self, consumer: usize, room: usize, settled: Vec<Settled>) {
        let Some((mut state, revision)) = self.load(consumer).await else {
            return;
        };
        self.database.head().await.unwrap();
        let found = self.database.read(state.patterns(), state.cursor, 8).await.unwrap();
        let stretch = Stretch {
            after: state.cursor,
            reached: found.reached,
            candidates: found.events.iter().map(candidate).collect(),
        };
        let terms = Terms {
            member: Member(1),
            now: self.start,
            ack_wait: Duration::from_secs(30),
            in_flight_max: 16,
            attempts_max: 3,
        };
        let mut outcome = Outcome::default();
        let taken = state.take(&terms, &stretch, room, &mut outcome);
        for (taken, settled) in taken.iter().zip(settled) {
            let error = "no".to_owned();
            let verdict = match settled {
                Settled::Done => Verdict::Done,
                Settled::Failed => Verdict::Failed {
                    from: self.start,
                    error,
                },
                Settled::Rejected => Verdict::Rejected { error },
                Settled::Kept => continue,
            };
            state.settle(&terms, taken.claim, &verdict, &mut outcome).unwrap();
        }
        let dead: Vec<Sequence> = outcome.dead.iter().map(|death| death.sequence).collect();
        let events = self.database.get(&dead).await.unwrap();
        let letter = |event: Event| {
            let reason = crate::transport::DeadReason::Rejected;
            crate::transport::DeadLetter::new(event, reason, 1, self.start, Vec::new())
        };
        self.store(
            consumer,
            Some(revision),
            &state,
            events.into_iter().map(letter).collect(),
        )
        .await;
    }

    async fn retain(&self, rules: Vec<Rule>) {
        let now = self.database.now().await.unwrap();
        let before = self.all().await;
        let mut states = Vec::new();
        for consumer in 0..3 {
            states.extend(self.load(consumer).await.map(|(state, _)| state));
        }

        // By the book.
        let cut = |ticks: u64| {
            let since = TICK * u32::try_from(self.ticks.saturating_sub(ticks)).unwrap() + TICK / 2;
            self.start + since
        };
        let mut newest: BTreeMap<usize, (u64, u64)> = BTreeMap::new();
        let mut may_go = Vec::new();
        for event in before.iter().rev() {
            let rule = rules
                .iter()
                .position(|rule| patterns(rule.pattern).matches(event.topic()));
            let Some(place) = rule else { continue };
            let rule = &rules[place];
            let (events, bytes) = newest.entry(place).or_default();
            *events += 1;
            *bytes += event.attributes().bytes() as u64;
            let too_many = rule.count.is_some_and(|most| *events > most);
            let too_large = rule.bytes.is_some_and(|most| *bytes > most);
            let too_old = rule.ticks.is_some_and(|ticks| event.time() < cut(ticks));
            if too_many || too_large || too_old {
                may_go.push((event, rule.even_unread));
            }
        }
        let (mut gone, mut held_back) = (BTreeSet::new(), 0);
        for (event, even_unread) in may_go {
            // By hand and not by the state itself: after the cursor and wanted, or under way.
            let unfinished = states.iter().any(|state| {
                let wanted = state.patterns().matches(event.topic());
                (wanted && event.sequence() > state.cursor) || state.window().contains_key(&event.sequence())
            });
            if even_unread || !unfinished {
                gone.insert(event.sequence());
            } else {
                held_back += 1;
            }
        }

        let policy = rules.iter().map(|rule| {
            let mut own = Retention::of(patterns(rule.pattern));
            if let Some(ticks) = rule.ticks {
                let age = now.since(cut(ticks));
                own = own.age(age);
            }
            if let Some(count) = rule.count {
                own = own.count(count);
            }
            if let Some(bytes) = rule.bytes {
                own = own.bytes(bytes);
            }
            if rule.even_unread { own.even_unread() } else { own }
        });
        let pruned = pass(&self.database, &RetentionPolicy::new(policy).unwrap())
            .await
            .unwrap();

        let after: BTreeSet<Sequence> = self.all().await.iter().map(Event::sequence).collect();
        let removed: BTreeSet<Sequence> = before
            .iter()
            .map(Event::sequence)
            .filter(|sequence| !after.contains(sequence))
            .collect();
        assert_eq!(removed, gone);
        let bytes: usize = before
            .iter()
            .filter(|event| gone.contains(&event.sequence()))
            .map(|event| event.attributes().bytes())
            .sum();
        assert_eq!(
            (pruned.events, pruned.bytes, pruned.held_back),
            (gone.len() as u64, bytes as u64, held_back)
        );
        assert_eq!(pruned.held_by.is_some(), held_back > 0);
    }
}

fn candidate(event: &Event) -> Candidate {
    Candidate {
        sequence: event.sequence(),
        key: event.sequence().get() % 3,
        expires: None,
    }
}

fn check(place: &TestDb, cases: u32) {
    let runtime = Runtime::new().unwrap();
    let world = std::cell::RefCell::new(runtime.block_on(World::new(place)));
    let mut runner = TestRunner::new(Config::with_cases(cases));
    let ran = runner.run(&ops(), |ops| {
        let mut world = world.borrow_mut();
        runtime.block_on(async {
            world.clear().await;
            for op in ops {
                world.apply(op).await;
            }
        });
        Ok(())
    });
    ran.unwrap();
    let database = world.into_inner().database;
    runtime.block_on(async {
        database.close().await.unwrap();
        database.db().close().await.unwrap();
    });
}

#[test]
fn exactly_what_may_go_goes() {
    check(&TestDb::sqlite_in_memory(), 128);
}

#[cfg(feature = "postgres")]
#[test]
fn exactly_what_may_go_goes_on_postgres() {
    check(&TestDb::postgres(), 12);
}
