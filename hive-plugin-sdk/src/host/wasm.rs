//! The hive, through the generated bindings.

use crate::bindings::hive::plugin::types::Failure as Wire;
use crate::bindings::hive::plugin::{clock, events, http, log as logs, memory, model, random, steps, tasks};
use crate::failure::{Failure, Parts};

/// A failure that the hive returned. The generated record is an error of its own, which `?` would flatten to its text.
fn received(wire: Wire) -> Failure {
    let Wire {
        code,
        message,
        retryable,
        retry_after_ms,
        details,
    } = wire;
    Parts {
        code,
        message,
        retryable,
        retry_after_ms,
        details,
    }
    .into()
}

impl From<Failure> for Wire {
    fn from(failure: Failure) -> Self {
        let Parts {
            code,
            message,
            retryable,
            retry_after_ms,
            details,
        } = failure.into();
        Self {
            code,
            message,
            retryable,
            retry_after_ms,
            details,
        }
    }
}

pub(crate) fn log(level: &str, message: &str, fields: &str) {
    logs::write(level, message, fields);
}

pub(crate) fn progress(done: u64, total: u64, note: &str) {
    logs::progress(done, total, note);
}

pub(crate) fn now_micros() -> i64 {
    clock::now_micros()
}

pub(crate) fn random_next() -> u64 {
    random::next()
}

pub(crate) fn random_bytes(length: u32) -> Vec<u8> {
    random::bytes(length)
}

pub(crate) fn events_publish(topic: &str, data: &str, options: &str) -> Result<String, Failure> {
    events::publish(topic, data, options).map_err(received)
}

pub(crate) fn memory_get(key: &str) -> Result<Option<String>, Failure> {
    memory::get(key).map_err(received)
}

pub(crate) fn memory_set(key: &str, value: &str) -> Result<(), Failure> {
    memory::set(key, value).map_err(received)
}

pub(crate) fn memory_replace(key: &str, expected: Option<&str>, new: Option<&str>) -> Result<bool, Failure> {
    memory::replace(key, expected, new).map_err(received)
}

pub(crate) fn memory_delete(key: &str) -> Result<bool, Failure> {
    memory::delete(key).map_err(received)
}

pub(crate) fn memory_list(prefix: &str, after: Option<&str>, limit: u32) -> Result<Vec<String>, Failure> {
    memory::list(prefix, after, limit).map_err(received)
}

pub(crate) fn steps_begin(name: &str, options: &str) -> Result<(u64, Option<String>), Failure> {
    let step = steps::begin(name, options).map_err(received)?;
    Ok((step.id, step.remembered))
}

pub(crate) fn steps_finish(id: u64, outcome: Result<&str, &Failure>) -> Result<(), Failure> {
    let outcome = outcome
        .map(str::to_owned)
        .map_err(|failure| Wire::from(failure.clone()));
    steps::finish(id, outcome.as_ref().map(String::as_str)).map_err(received)
}

pub(crate) fn tasks_call(name: &str, agent: &str, input: &str, options: &str) -> Result<String, Failure> {
    tasks::call(name, agent, input, options).map_err(received)
}

pub(crate) fn tasks_start(name: &str, agent: &str, input: &str, options: &str) -> Result<String, Failure> {
    tasks::start(name, agent, input, options).map_err(received)
}

pub(crate) fn tasks_join(id: &str) -> Result<String, Failure> {
    tasks::join(id).map_err(received)
}

pub(crate) fn model_ask(request: &str) -> Result<String, Failure> {
    model::ask(request).map_err(received)
}

pub(crate) fn http_fetch(request: &str, body: &[u8]) -> Result<(String, Vec<u8>), Failure> {
    let response = http::fetch(request, body).map_err(received)?;
    Ok((response.head, response.body))
}
