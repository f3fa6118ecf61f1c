//! An in-memory hive for one thread, so that a plugin is tested as the ordinary Rust that it is.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;

use serde_json::Value;

use crate::failure::Failure;

mod journal;

pub(crate) use journal::Journal;

/// What a plugin wrote to its log.
pub(crate) struct Line {
    pub(crate) level: String,
    pub(crate) message: String,
    pub(crate) fields: Value,
}

/// What a plugin published.
pub(crate) struct Event {
    pub(crate) topic: String,
    pub(crate) data: Value,
}

/// Stands in for another agent, the model or a server. Called with the request as JSON and the body.
pub(crate) type Answer = Rc<dyn Fn(&Value, &[u8]) -> Result<(Value, Vec<u8>), Failure>>;

/// Everything that the stand-in remembers.
pub(crate) struct State {
    pub(crate) now_micros: i64,
    pub(crate) seed: u64,
    pub(crate) lines: Vec<Line>,
    pub(crate) progress: Vec<(u64, u64, String)>,
    pub(crate) events: Vec<Event>,
    pub(crate) memory: BTreeMap<String, Value>,
    pub(crate) journal: Journal,
    pub(crate) agents: BTreeMap<String, Answer>,
    pub(crate) model: Option<Answer>,
    pub(crate) http: Option<Answer>,
    pub(crate) used: BTreeSet<&'static str>,
}

impl State {
    /// 2025-01-01T00:00:00Z, so that a test sees a date that looks like one.
    const EPOCH_MICROS: i64 = 1_735_689_600_000_000;

    fn new() -> Self {
        Self {
            now_micros: Self::EPOCH_MICROS,
            seed: 0,
            lines: Vec::new(),
            progress: Vec::new(),
            events: Vec::new(),
            memory: BTreeMap::new(),
            journal: Journal::default(),
            agents: BTreeMap::new(),
            model: None,
            http: None,
            used: BTreeSet::new(),
        }
    }

    /// SplitMix64: every seed, also 0, gives a good sequence.
    fn random(&mut self) -> u64 {
        self.seed = self.seed.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut bits = self.seed;
        bits = (bits ^ (bits >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        bits = (bits ^ (bits >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        bits ^ (bits >> 31)
    }
}

thread_local! {
    static STATE: RefCell<State> = RefCell::new(State::new());
}

/// Looks at or changes the stand-in of this thread. `change` must not call a capability.
pub(crate) fn with<T>(change: impl FnOnce(&mut State) -> T) -> T {
    STATE.with_borrow_mut(change)
}

/// Forgets everything.
pub(crate) fn reset() {
    with(|state| *state = State::new());
}

fn using<T>(capability: &'static str, change: impl FnOnce(&mut State) -> T) -> T {
    with(|state| {
        state.used.insert(capability);
        change(state)
    })
}

/// The SDK only ever sends JSON; this says so instead of assuming it.
fn parse(text: &str) -> Result<Value, Failure> {
    serde_json::from_str(text).map_err(|error| Failure::from(error).into_terminal().with_code("invalid-input"))
}

/// Runs an answer outside of the borrow, because it may be a plugin itself.
fn answer(answer: Option<Answer>, what: &str, request: &str, body: &[u8]) -> Result<(Value, Vec<u8>), Failure> {
    match answer {
        Some(answer) => answer(&parse(request)?, body),
        None => Err(Failure::terminal(format!("the test host has no answer from {what}"))
            .with_code("not-found")
            .with("request", request)
            .with_hint("give it one with one of the `answer_…` functions of `TestHost`")),
    }
}

pub(crate) fn log(level: &str, message: &str, fields: &str) {
    let fields = parse(fields).unwrap_or(Value::Null);
    using("log", |state| {
        state.lines.push(Line {
            level: level.to_owned(),
            message: message.to_owned(),
            fields,
        })
    });
}

pub(crate) fn progress(done: u64, total: u64, note: &str) {
    using("log", |state| state.progress.push((done, total, note.to_owned())));
}

pub(crate) fn now_micros() -> i64 {
    using("clock", |state| state.now_micros)
}

pub(crate) fn random_next() -> u64 {
    using("random", State::random)
}

pub(crate) fn random_bytes(length: u32) -> Vec<u8> {
    using("random", |state| {
        (0..length).map(|_| state.random().to_le_bytes()[0]).collect()
    })
}

pub(crate) fn events_publish(topic: &str, data: &str, _options: &str) -> Result<String, Failure> {
    let data = parse(data)?;
    using("events", |state| {
        state.events.push(Event {
            topic: topic.to_owned(),
            data,
        });
        Ok(format!("evt_{}", state.events.len()))
    })
}

pub(crate) fn memory_get(key: &str) -> Result<Option<String>, Failure> {
    using("memory", |state| Ok(state.memory.get(key).map(Value::to_string)))
}

pub(crate) fn memory_set(key: &str, value: &str) -> Result<(), Failure> {
    let value = parse(value)?;
    using("memory", |state| state.memory.insert(key.to_owned(), value));
    Ok(())
}

pub(crate) fn memory_replace(key: &str, expected: Option<&str>, new: Option<&str>) -> Result<bool, Failure> {
    let expected = expected.map(parse).transpose()?;
    let new = new.map(parse).transpose()?;
    using("memory", |state| {
        if state.memory.get(key) != expected.as_ref() {
            return Ok(false);
        }
        match new {
            Some(value) => state.memory.insert(key.to_owned(), value),
            None => state.memory.remove(key),
        };
        Ok(true)
    })
}

pub(crate) fn memory_delete(key: &str) -> Result<bool, Failure> {
    using("memory", |state| Ok(state.memory.remove(key).is_some()))
}

pub(crate) fn memory_list(prefix: &str, after: Option<&str>, limit: u32) -> Result<Vec<String>, Failure> {
    using("memory", |state| {
        let keys = state.memory.keys().filter(|key| key.starts_with(prefix));
        let keys = keys.filter(|key| after.is_none_or(|after| key.as_str() > after));
        Ok(keys
            .take(usize::try_from(limit).unwrap_or(usize::MAX))
            .cloned()
            .collect())
    })
}

pub(crate) fn steps_begin(name: &str, options: &str) -> Result<(u64, Option<String>), Failure> {
    let once = parse(options)?
        .get("effect")
        .is_some_and(|effect| effect == "at-most-once");
    using("steps", |state| state.journal.begin(name, once))
}

pub(crate) fn steps_finish(id: u64, outcome: Result<&str, &Failure>) -> Result<(), Failure> {
    using("steps", |state| state.journal.finish(id, outcome.ok()))
}

pub(crate) fn tasks_call(name: &str, agent: &str, input: &str, options: &str) -> Result<String, Failure> {
    let id = tasks_start(name, agent, input, options)?;
    tasks_join(&id)
}

pub(crate) fn tasks_start(name: &str, agent: &str, input: &str, _options: &str) -> Result<String, Failure> {
    let (id, known, stand_in) = using("tasks", |state| {
        let (id, known) = state.journal.child(name)?;
        Ok::<_, Failure>((id, known, state.agents.get(agent).cloned()))
    })?;
    if !known {
        let what = format!("the agent {agent}");
        let output = answer(stand_in, &what, input, &[]).map(|(output, _)| output.to_string());
        with(|state| state.journal.end_child(&id, output));
    }
    Ok(id)
}

pub(crate) fn tasks_join(id: &str) -> Result<String, Failure> {
    using("tasks", |state| state.journal.join(id))
}

pub(crate) fn model_ask(request: &str) -> Result<String, Failure> {
    let stand_in = using("model", |state| state.model.clone());
    answer(stand_in, "the model", request, &[]).map(|(reply, _)| reply.to_string())
}

pub(crate) fn http_fetch(request: &str, body: &[u8]) -> Result<(String, Vec<u8>), Failure> {
    let stand_in = using("http", |state| state.http.clone());
    answer(stand_in, "the network", request, body).map(|(head, body)| (head.to_string(), body))
}
