//! The trait behind a plugin.

use serde::Deserialize;
use serde::de::DeserializeOwned;

use crate::description::Description;
use crate::failure::Failure;
use crate::task::{Reply, Task};

/// What a component is to a hive: something that says what it is, is made ready once, and handles tasks.
///
/// A plugin that only holds agents need not implement this: [`export_plugin!`](crate::export_plugin) does it for a list
/// of them. Implement it to take a configuration or to keep something between tasks, as a cache: the hive may use a
/// fresh instance for each attempt, and what must last belongs into [`memory`](crate::memory).
///
/// ```
/// use hive_plugin_sdk::{Agent, Context, Description, Failure, Plugin, Reply, Task};
/// use serde::Deserialize;
///
/// #[derive(Deserialize)]
/// struct Config { greeting: String }
///
/// struct Greeter { greeting: String }
///
/// impl Agent for Greeter {
///     const NAME: &'static str = "greeter";
///     type Input = String;
///     type Output = String;
///
///     async fn run(&self, _cx: &Context, name: String) -> Result<String, Failure> {
///         Ok(format!("{}, {name}", self.greeting))
///     }
/// }
///
/// struct Greetings(Greeter);
///
/// impl Plugin for Greetings {
///     type Config = Config;
///
///     fn describe() -> Result<Description, Failure> {
///         Description::new("acme.greetings", env!("CARGO_PKG_VERSION")).agent::<Greeter>()
///     }
///
///     fn initialize(config: Config) -> Result<Self, Failure> {
///         Ok(Self(Greeter { greeting: config.greeting }))
///     }
///
///     fn handle_task(&mut self, task: Task) -> Result<Reply, Failure> {
///         match task.agent() {
///             Greeter::NAME => task.run(&self.0),
///             _ => Err(task.unknown_agent()),
///         }
///     }
/// }
///
/// hive_plugin_sdk::export_plugin!(Greetings);
/// # fn main() {}
/// ```
pub trait Plugin: Sized + 'static {
    /// The configuration, from JSON. [`NoConfig`] where there is none.
    type Config: DeserializeOwned;

    /// Says what the plugin is. Called without an instance, and the same on every call.
    ///
    /// # Errors
    ///
    /// What [`Description::agent`] returns. The plugin is refused then.
    fn describe() -> Result<Description, Failure>;

    /// Makes an instance ready.
    ///
    /// # Errors
    ///
    /// Why it cannot be. The plugin is not put to use then.
    fn initialize(config: Self::Config) -> Result<Self, Failure>;

    /// Handles one attempt at a task. Never called while another call runs.
    ///
    /// # Errors
    ///
    /// Any error is tried again as the hive sees fit; [`Failure::terminal`] is not.
    fn handle_task(&mut self, task: Task) -> Result<Reply, Failure>;

    /// Called before the instance goes, unless it is lost or ended by force. Nothing may depend on it.
    fn cleanup(&mut self) {}
}

/// The configuration of a plugin that takes none: an empty JSON object, and nothing else.
#[derive(Clone, Copy, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NoConfig {}
