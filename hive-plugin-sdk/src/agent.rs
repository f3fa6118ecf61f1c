//! A typed agent inside of a plugin.

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::context::Context;
use crate::drive::drive;
use crate::failure::Failure;
use crate::schema::Schemas;
use crate::task::{Reply, Task};

/// Something that turns an input into an output. The same shape as a native agent's, so that code moves between the two.
///
/// ```
/// use hive_plugin_sdk::{Agent, Context, Failure};
///
/// struct Shout;
///
/// impl Agent for Shout {
///     const NAME: &'static str = "shout";
///     type Input = String;
///     type Output = String;
///
///     async fn run(&self, cx: &Context, text: String) -> Result<String, Failure> {
///         cx.progress(1, 1, "shouted").await?;
///         Ok(text.to_uppercase())
///     }
/// }
/// ```
///
/// What differs from a native agent: there is no `sleep`, `wait`, `transaction` or `scope`, and a step has neither a
/// retry policy nor a timeout of its own, because an attempt that fails is tried again by the hive.
pub trait Agent {
    /// The name that tasks are submitted under.
    const NAME: &'static str;
    /// What the agent is for, in a sentence.
    const DESCRIPTION: &'static str = "";
    /// What the agent can do, for tasks that ask for a capability instead of a name.
    const CAPABILITIES: &'static [&'static str] = &[];
    /// What the agent takes.
    type Input: DeserializeOwned;
    /// What the agent returns.
    type Output: Serialize;

    /// The JSON Schemas of input and output. The default says nothing; with the feature `schemars`,
    /// `Ok(Schemas::of::<Self::Input, Self::Output>())` says all.
    ///
    /// # Errors
    ///
    /// That a schema written by hand is none. The plugin is refused then.
    fn schemas() -> Result<Schemas, Failure> {
        Ok(Schemas::none())
    }

    /// Handles one attempt at a task. Write it as `async fn`.
    ///
    /// # Errors
    ///
    /// Any error is tried again as the hive sees fit; [`Failure::terminal`] is not.
    fn run(&self, cx: &Context, input: Self::Input) -> impl Future<Output = Result<Self::Output, Failure>>;
}

impl Task {
    /// Has a typed agent handle this task.
    ///
    /// # Errors
    ///
    /// What the agent returns; [`Task::input`]'s failure; a terminal failure when the agent's future waits for something
    /// that no call of this crate can bring about.
    pub fn run<A: Agent>(self, agent: &A) -> Result<Reply, Failure> {
        let input = self.input()?;
        let context = Context::new(self);
        let output = drive(agent.run(&context, input))??;
        Reply::new(&output)
    }
}
