//! A hive in memory, to test a plugin as the ordinary Rust that it is: no WebAssembly, no tool chain.
//!
//! ```
//! use hive_plugin_sdk::testing::{TestHost, TestTask};
//! use hive_plugin_sdk::{Agent, Context, Failure};
//!
//! #[derive(Default)]
//! struct Summary;
//!
//! impl Agent for Summary {
//!     const NAME: &'static str = "summary";
//!     type Input = String;
//!     type Output = String;
//!
//!     async fn run(&self, cx: &Context, text: String) -> Result<String, Failure> {
//!         cx.step("ask", async || cx.model().ask(&text).await).await
//!     }
//! }
//!
//! hive_plugin_sdk::export_plugin!("acme.summary", Summary);
//!
//! # fn main() -> Result<(), Failure> {
//! let host = TestHost::new();
//! host.answer_model(|request| Ok(format!("in short: {}", request["prompt"])));
//! let mut plugin = host.load::<ExportedPlugin>("{}")?;
//! let task = TestTask::new("summary", "a long text")?;
//! assert_eq!(plugin.run::<String>(&task)?, r#"in short: "a long text""#);
//! assert_eq!(plugin.run::<String>(&task.again())?, r#"in short: "a long text""#);
//! assert_eq!(host.executed(), ["ask"]);      // the second attempt did not ask again
//! assert_eq!(host.used(), ["model", "steps"]);
//! # Ok(()) }
//! ```

use std::fmt;
use std::marker::PhantomData;
use std::rc::Rc;
use std::time::Duration;

use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::clock::Timestamp;
use crate::export::{self, Instance};
use crate::failure::{Failure, Parts};
use crate::host::native;
use crate::http;
use crate::log::Level;
use crate::plugin::Plugin;
use crate::task::{About, Task};
use crate::{json, model};

#[cfg(test)]
mod tests;

/// The hive of this thread. It answers what it was told to, records the rest, and forgets everything when another is
/// made on the same thread.
///
/// Its clock stands still at 2025-01-01T00:00:00Z, its random numbers come from the seed 0, and what a later attempt
/// must not repeat it remembers as a hive does. Unlike a hive it grants every capability; [`TestHost::used`] says which
/// ones were needed.
pub struct TestHost {
    // The state belongs to a thread, so the handle stays there.
    thread: PhantomData<Rc<()>>,
}

impl TestHost {
    /// An empty hive.
    #[expect(
        clippy::new_without_default,
        reason = "making one forgets the last one's state, which no default should do"
    )]
    pub fn new() -> Self {
        native::reset();
        Self { thread: PhantomData }
    }

    /// What the plugin says it is, as the hive reads it.
    ///
    /// # Errors
    ///
    /// Why the plugin would be refused.
    pub fn describe<P: Plugin>(&self) -> Result<Value, Failure> {
        json::decode("the description", &export::describe::<P>()?)
    }

    /// Makes an instance ready, with its configuration as JSON text.
    ///
    /// # Errors
    ///
    /// Why the plugin would be refused: its description, its configuration, or what it returned itself.
    pub fn load<P: Plugin>(&self, config: &str) -> Result<TestPlugin, Failure> {
        self.describe::<P>()?;
        Ok(TestPlugin {
            instance: export::initialize::<P>(config)?,
            thread: PhantomData,
        })
    }

    /// Does `work` as an attempt at the task of this id, to test what uses steps and calls without a whole plugin.
    pub fn attempt<T>(&self, task_id: &str, work: impl FnOnce() -> T) -> T {
        native::with(|state| state.journal.enter(task_id));
        let output = work();
        native::with(|state| state.journal.leave());
        output
    }

    /// Has the model answer with text, made from the request as JSON.
    pub fn answer_model(&self, answer: impl Fn(&Value) -> Result<String, Failure> + 'static) {
        self.answer_model_with(move |request| answer(request).map(model::Reply::text));
    }

    /// Has the model answer with a whole reply, made from the request as JSON.
    pub fn answer_model_with(&self, answer: impl Fn(&Value) -> Result<model::Reply, Failure> + 'static) {
        let answer: native::Answer = Rc::new(move |request, _| Ok((to_value(&answer(request)?)?, Vec::new())));
        native::with(|state| state.model = Some(answer));
    }

    /// Has another agent answer, with an output made from the input, both as JSON.
    pub fn answer_agent(&self, name: &str, answer: impl Fn(&Value) -> Result<Value, Failure> + 'static) {
        let answer: native::Answer = Rc::new(move |input, _| Ok((answer(input)?, Vec::new())));
        native::with(|state| state.agents.insert(name.to_owned(), answer));
    }

    /// Has the network answer.
    pub fn answer_http(&self, answer: impl Fn(&http::Request) -> Result<http::Response, Failure> + 'static) {
        let answer: native::Answer = Rc::new(move |head, body| {
            let request: http::Request = serde_json::from_value(head.clone())?;
            let response = answer(&request.with_body(body))?;
            Ok((to_value(&response)?, response.body().to_vec()))
        });
        native::with(|state| state.http = Some(answer));
    }

    /// Sets the clock.
    pub fn set_now(&self, now: Timestamp) {
        native::with(|state| state.now_micros = now.as_micros());
    }

    /// Moves the clock on.
    pub fn advance(&self, duration: Duration) {
        native::with(|state| state.now_micros = (Timestamp::from_micros(state.now_micros) + duration).as_micros());
    }

    /// Starts the random numbers anew.
    pub fn set_seed(&self, seed: u64) {
        native::with(|state| state.seed = seed);
    }

    /// The capabilities that were used so far, in alphabetical order. The most that a plugin's manifest has to ask for,
    /// as far as the tests went.
    pub fn used(&self) -> Vec<&'static str> {
        native::with(|state| state.used.iter().copied().collect())
    }

    /// The names of the steps that were done, rather than remembered, in order, over all attempts.
    pub fn executed(&self) -> Vec<String> {
        native::with(|state| state.journal.executed().to_vec())
    }

    /// What was logged at `level` or above, with its fields where there are any: `message {"name":"value"}`.
    pub fn logged(&self, level: Level) -> Vec<String> {
        let levels = [Level::Trace, Level::Debug, Level::Info, Level::Warn, Level::Error];
        let wanted: Vec<&str> = levels
            .into_iter()
            .filter(|other| *other >= level)
            .map(Level::as_str)
            .collect();
        native::with(|state| {
            let lines = state.lines.iter().filter(|line| wanted.contains(&line.level.as_str()));
            lines
                .map(|line| match line.fields.as_object() {
                    Some(fields) if !fields.is_empty() => format!("{} {}", line.message, line.fields),
                    Some(_) | None => line.message.clone(),
                })
                .collect()
        })
    }

    /// How far the plugin said it was, in order: done, total, note.
    pub fn progress(&self) -> Vec<(u64, u64, String)> {
        native::with(|state| state.progress.clone())
    }

    /// The events that were published, in order: topic and data.
    pub fn events(&self) -> Vec<(String, Value)> {
        native::with(|state| {
            state
                .events
                .iter()
                .map(|event| (event.topic.clone(), event.data.clone()))
                .collect()
        })
    }
}

impl fmt::Debug for TestHost {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TestHost").finish_non_exhaustive()
    }
}

/// What the other side gets to see of a failure.
fn across(failure: Failure) -> Failure {
    Parts::from(failure).into()
}

fn to_value<T: Serialize>(value: &T) -> Result<Value, Failure> {
    Ok(serde_json::to_value(value)?)
}

/// An instance of a plugin.
pub struct TestPlugin {
    instance: Box<dyn Instance>,
    thread: PhantomData<Rc<()>>,
}

impl TestPlugin {
    /// Has the plugin handle a task, through the same JSON as in a hive.
    ///
    /// # Errors
    ///
    /// What the plugin returned; a terminal failure when its output does not fit `O`.
    pub fn run<O: DeserializeOwned>(&mut self, task: &TestTask) -> Result<O, Failure> {
        let about = json::encode("the task's context", &task.about)?;
        let wire = Task::new(
            task.id.clone(),
            task.agent.clone(),
            task.attempt,
            task.input.clone(),
            &about,
        )?;
        native::with(|state| state.journal.enter(&task.id));
        let reply = self.instance.handle_task(wire);
        native::with(|state| state.journal.leave());
        json::decode("the output", &reply.map_err(across)?.into_json())
    }

    /// Ends the instance as a hive does that has no more use for it.
    pub fn unload(mut self) {
        self.instance.cleanup();
    }
}

impl fmt::Debug for TestPlugin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TestPlugin").finish_non_exhaustive()
    }
}

/// A task to give to a plugin.
#[derive(Clone, Debug)]
pub struct TestTask {
    id: String,
    agent: String,
    attempt: u32,
    input: String,
    about: About,
}

impl TestTask {
    /// The first attempt at the task `task_1`.
    ///
    /// # Errors
    ///
    /// A terminal failure when the input has no JSON.
    pub fn new<I: Serialize + ?Sized>(agent: &str, input: &I) -> Result<Self, Failure> {
        Ok(Self {
            id: "task_1".to_owned(),
            agent: agent.to_owned(),
            attempt: 1,
            input: json::encode("the input", input)?,
            about: About::default(),
        })
    }

    /// Gives it another id. Steps and calls are remembered by it.
    #[must_use]
    pub fn with_id(mut self, id: &str) -> Self {
        id.clone_into(&mut self.id);
        self
    }

    /// Makes it a tenant's task.
    #[must_use]
    pub fn with_tenant(mut self, tenant: &str) -> Self {
        self.about.tenant = Some(tenant.to_owned());
        self
    }

    /// Says when the attempt would be ended by force. The test host does not end it.
    #[must_use]
    pub fn with_deadline(mut self, deadline: Timestamp) -> Self {
        self.about.deadline_micros = Some(deadline.as_micros());
        self
    }

    /// Attaches a value.
    #[must_use]
    pub fn with_metadata(mut self, name: &str, value: &str) -> Self {
        self.about.metadata.insert(name.to_owned(), value.to_owned());
        self
    }

    /// The next attempt at the same task.
    #[must_use]
    pub fn again(&self) -> Self {
        Self {
            attempt: self.attempt.saturating_add(1),
            ..self.clone()
        }
    }
}
