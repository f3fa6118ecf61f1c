//! The events of a task's life, in the transaction that changes it.

use hive_bus::catalog::{
    TaskAnswered, TaskAsked, TaskCancelled, TaskDead, TaskFailed, TaskProgress, TaskRecovered, TaskRedriven,
    TaskResumed, TaskRetrying, TaskStarted, TaskSubmitted, TaskSucceeded, TaskWaiting, WaitsFor,
};
use hive_bus::limits::BATCH_MAX;
use hive_bus::{NewEvent, TypedEvent};
use hive_core::clock::Timestamp;
use hive_core::db::Tx;
use hive_core::id::TaskId;
use hive_errors::{Failure, Result};

use super::{Queue, TaskRef};
use crate::task::{Progress, TaskState};

fn emit<T: TypedEvent>(tx: &mut Tx<'_>, queue: &Queue, task: &TaskRef, data: &T) -> Result<()> {
    queue.bus.publish_in(tx, of(task, data)?).map(drop)
}

/// Publishes as many as there are.
pub(super) fn all(tx: &mut Tx<'_>, queue: &Queue, mut events: Vec<NewEvent>) -> Result<()> {
    while !events.is_empty() {
        let rest = events.split_off(events.len().min(BATCH_MAX));
        queue.bus.publish_all_in(tx, events)?;
        events = rest;
    }
    Ok(())
}

fn of<T: TypedEvent>(task: &TaskRef, data: &T) -> Result<NewEvent> {
    let event = NewEvent::of(data)?.tenant(task.tenant.clone()).causation(task.id);
    Ok(match &task.correlation {
        Some(correlation) => event.correlation(correlation.clone()),
        None => event.correlation(task.root),
    })
}

pub(super) fn submitted(task: &TaskRef, parent: Option<TaskId>, not_before: Option<Timestamp>) -> Result<NewEvent> {
    let data = TaskSubmitted {
        task: task.id,
        agent: task.agent.clone(),
        parent,
        not_before,
    };
    of(task, &data)
}

pub(super) fn started(queue: &Queue, task: &TaskRef) -> Result<NewEvent> {
    let data = TaskStarted {
        task: task.id,
        agent: task.agent.clone(),
        attempt: task.attempt,
        instance: Some(queue.instance),
    };
    of(task, &data)
}

pub(super) fn progress(tx: &mut Tx<'_>, queue: &Queue, task: &TaskRef, progress: &Progress) -> Result<()> {
    let data = TaskProgress {
        task: task.id,
        agent: task.agent.clone(),
        attempt: task.attempt,
        done: progress.done,
        total: Some(progress.total),
        note: Some(progress.note.clone()),
    };
    emit(tx, queue, task, &data)
}

pub(super) fn waiting(
    tx: &mut Tx<'_>,
    queue: &Queue,
    task: &TaskRef,
    on: WaitsFor,
    name: Option<String>,
    until: Option<Timestamp>,
) -> Result<()> {
    let data = TaskWaiting {
        task: task.id,
        agent: task.agent.clone(),
        attempt: task.attempt,
        on,
        name,
        until,
    };
    emit(tx, queue, task, &data)
}

pub(super) fn asked(tx: &mut Tx<'_>, queue: &Queue, task: &TaskRef, signal: &str, question: &str) -> Result<()> {
    let data = TaskAsked {
        task: task.id,
        agent: task.agent.clone(),
        signal: signal.to_owned(),
        question: question.to_owned(),
    };
    emit(tx, queue, task, &data)
}

pub(super) fn answered(tx: &mut Tx<'_>, queue: &Queue, task: &TaskRef, signal: &str, by: Option<String>) -> Result<()> {
    let data = TaskAnswered {
        task: task.id,
        agent: task.agent.clone(),
        signal: signal.to_owned(),
        by,
    };
    emit(tx, queue, task, &data)
}

pub(super) fn resumed(tx: &mut Tx<'_>, queue: &Queue, task: &TaskRef) -> Result<()> {
    emit(
        tx,
        queue,
        task,
        &TaskResumed {
            task: task.id,
            agent: task.agent.clone(),
            attempt: task.attempt,
        },
    )
}

pub(super) fn recovered(task: &TaskRef) -> Result<NewEvent> {
    let data = TaskRecovered {
        task: task.id,
        agent: task.agent.clone(),
        attempt: task.attempt,
        lost: None,
    };
    of(task, &data)
}

pub(super) fn succeeded(task: &TaskRef) -> Result<NewEvent> {
    let data = TaskSucceeded {
        task: task.id,
        agent: task.agent.clone(),
        attempt: task.attempt,
    };
    of(task, &data)
}

pub(super) fn failed(
    tx: &mut Tx<'_>,
    queue: &Queue,
    task: &TaskRef,
    failure: &Failure,
    retry_at: Option<Timestamp>,
) -> Result<()> {
    let data = TaskFailed {
        task: task.id,
        agent: task.agent.clone(),
        attempt: task.attempt,
        code: failure.kind().code().to_owned(),
        message: failure.message().to_owned(),
        will_retry: retry_at.is_some(),
    };
    queue.telemetry.failed(tx, &task.agent, failure, retry_at.is_some());
    emit(tx, queue, task, &data)?;
    let Some(at) = retry_at else { return Ok(()) };
    let data = TaskRetrying {
        task: task.id,
        agent: task.agent.clone(),
        attempt: task.attempt,
        at,
    };
    emit(tx, queue, task, &data)
}

pub(super) fn cancelled(tx: &mut Tx<'_>, queue: &Queue, task: &TaskRef, reason: &str) -> Result<()> {
    let data = TaskCancelled {
        task: task.id,
        agent: task.agent.clone(),
        attempt: task.attempt,
        reason: Some(reason.to_owned()),
    };
    queue.telemetry.ended(tx, &task.agent, TaskState::Cancelled);
    emit(tx, queue, task, &data)
}

pub(super) fn dead(tx: &mut Tx<'_>, queue: &Queue, task: &TaskRef, failure: &Failure) -> Result<()> {
    let data = TaskDead {
        task: task.id,
        agent: task.agent.clone(),
        attempt: task.attempt,
        code: failure.kind().code().to_owned(),
        message: failure.message().to_owned(),
    };
    let (wakeups, agent) = (std::sync::Arc::clone(&queue.wakeups), task.agent.clone());
    tx.on_commit(move || wakeups.died(agent));
    emit(tx, queue, task, &data)
}

pub(super) fn redriven(tx: &mut Tx<'_>, queue: &Queue, task: &TaskRef) -> Result<()> {
    let data = TaskRedriven {
        task: task.id,
        agent: task.agent.clone(),
        by: None,
    };
    emit(tx, queue, task, &data)
}
