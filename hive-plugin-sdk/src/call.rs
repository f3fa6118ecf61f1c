//! Agents that call agents.

use std::fmt;

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::agent::Agent;
use crate::context::Context;
use crate::failure::Failure;
use crate::tasks::{self, Priority};

#[cfg(test)]
mod tests;

/// A child to be: which agent, with which input, how urgent. An agent that has no type here is called by its name with
/// [`tasks::call`].
pub struct Call<A: Agent> {
    input: A::Input,
    priority: Priority,
}

impl<A: Agent> Call<A> {
    /// A call of agent `A`, of medium priority.
    pub fn new(input: A::Input) -> Self {
        Self {
            input,
            priority: Priority::default(),
        }
    }

    /// Says how urgent it is.
    #[must_use]
    pub fn priority(mut self, priority: Priority) -> Self {
        self.priority = priority;
        self
    }

    fn start(self, name: &str) -> Result<String, Failure>
    where
        A::Input: Serialize,
    {
        tasks::start(name, A::NAME, &self.input, self.priority)
    }
}

impl<A: Agent> fmt::Debug for Call<A> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Call")
            .field("agent", &A::NAME)
            .field("priority", &self.priority)
            .finish_non_exhaustive()
    }
}

impl Context {
    /// Has another agent of this plugin's hive handle an input and returns its output.
    ///
    /// # Errors
    ///
    /// Those of [`tasks::call`].
    pub async fn call<A>(&self, name: &str, call: Call<A>) -> Result<A::Output, Failure>
    where
        A: Agent,
        A::Input: Serialize,
        A::Output: DeserializeOwned,
    {
        tasks::join(&call.start(name)?)
    }

    /// Calls an agent once for each item, all at the same time, and returns the outputs in the order of the items.
    ///
    /// # Errors
    ///
    /// Those of [`tasks::start`] and [`tasks::join`]; that of the first child that failed, in order.
    pub async fn map<I, A>(
        &self,
        name: &str,
        items: I,
        mut call: impl FnMut(I::Item) -> Call<A>,
    ) -> Result<Vec<A::Output>, Failure>
    where
        I: IntoIterator,
        A: Agent,
        A::Input: Serialize,
        A::Output: DeserializeOwned,
    {
        let started: Result<Vec<String>, Failure> = items.into_iter().map(|item| call(item).start(name)).collect();
        started?.iter().map(|id| tasks::join(id)).collect()
    }
}
