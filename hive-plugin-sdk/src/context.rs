//! What an agent may do while it handles a task, in the words of a native agent.

use std::time::Duration;

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::clock::Timestamp;
use crate::failure::Failure;
use crate::schema::Schema;
use crate::steps::Step;
use crate::task::Task;
use crate::{clock, events, log, model};

#[cfg(test)]
mod tests;

/// What an agent may do while it handles a task.
///
/// Its methods are async and named as a native agent's are, so that code moves. A plugin handles one task at a time
/// and each call is over when it returns: two futures of it that are joined run one after the other.
/// The modules of this crate offer the same and more as plain functions.
#[derive(Clone, Debug)]
pub struct Context {
    task: Task,
}

impl Context {
    pub(crate) fn new(task: Task) -> Self {
        Self { task }
    }

    /// The task that is handled.
    pub fn task(&self) -> &Task {
        &self.task
    }

    /// The task's id, the same in every attempt.
    pub fn task_id(&self) -> &str {
        self.task.id()
    }

    /// A key that is the same whenever this task asks for this name, and that no other task is given: what an outside
    /// service needs to tell a repeated request from a new one.
    pub fn idempotency_key(&self, name: &str) -> String {
        format!("{}/{name}", self.task.idempotency_key())
    }

    /// Whose task it is, where the hive serves several.
    pub fn tenant(&self) -> Option<&str> {
        self.task.tenant()
    }

    /// The time now, by the hive's clock.
    pub fn now(&self) -> Timestamp {
        clock::now()
    }

    /// How long the attempt may go on before it is ended by force, where there is such a limit.
    pub fn time_left(&self) -> Option<Duration> {
        self.task.deadline().map(|deadline| deadline - clock::now())
    }

    /// Does `work`, or returns what it returned in an earlier attempt: see [`steps`](crate::steps).
    ///
    /// ```
    /// # use hive_plugin_sdk::{Context, Failure};
    /// # async fn run(cx: &Context) -> Result<u64, Failure> {
    /// let lot = cx.step("draw", async || Ok::<_, Failure>(hive_plugin_sdk::random::next_u64())).await?;
    /// # Ok(lot) }
    /// ```
    ///
    /// # Errors
    ///
    /// What `work` returned, and those of [`steps::remember_as`](crate::steps::remember_as).
    pub fn step<'a, F, T, E>(&self, name: &'a str, work: F) -> Step<'a, F, Result<T, E>>
    where
        F: AsyncFnOnce() -> Result<T, E> + 'a,
        T: Serialize + DeserializeOwned + 'a,
        E: Into<Failure> + 'a,
    {
        Step::new(name, work)
    }

    /// Publishes an event: see [`events::publish`].
    ///
    /// # Errors
    ///
    /// Those of [`events::publish`].
    pub async fn publish<T: Serialize + ?Sized>(&self, topic: &str, data: &T) -> Result<String, Failure> {
        events::publish(topic, data)
    }

    /// Says how far the task is: see [`log::progress`](crate::log::progress).
    ///
    /// # Errors
    ///
    /// None in a plugin; a native agent's can fail, and code is meant to move.
    pub async fn progress(&self, done: u64, total: u64, note: impl Into<String>) -> Result<(), Failure> {
        log::progress(done, total, &note.into());
        Ok(())
    }

    /// The hive's language model.
    pub fn model(&self) -> Model {
        Model(())
    }
}

/// The hive's language model, as [`Context::model`] gives it. The module [`model`] offers the same as plain functions.
#[derive(Clone, Copy, Debug)]
pub struct Model(());

impl Model {
    /// Asks.
    ///
    /// # Errors
    ///
    /// Those of [`model::Request::ask`].
    pub async fn complete(&self, request: model::Request) -> Result<model::Reply, Failure> {
        request.ask()
    }

    /// Asks and returns the answer's text.
    ///
    /// # Errors
    ///
    /// Those of [`model::ask`].
    pub async fn ask(&self, prompt: &str) -> Result<String, Failure> {
        model::ask(prompt)
    }

    /// Asks for a reply that fits `schema`.
    ///
    /// # Errors
    ///
    /// Those of [`model::extract_as`].
    pub async fn extract_as<T: DeserializeOwned>(&self, schema: Schema, prompt: &str) -> Result<T, Failure> {
        model::extract_as(schema, prompt)
    }

    /// Asks for a reply that fits `T`.
    ///
    /// # Errors
    ///
    /// Those of [`model::extract`].
    #[cfg(feature = "schemars")]
    pub async fn extract<T: DeserializeOwned + schemars::JsonSchema>(&self, prompt: &str) -> Result<T, Failure> {
        model::extract(prompt)
    }
}
