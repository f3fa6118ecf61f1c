//! Makes a [`Plugin`] a component.

use crate::failure::Failure;
use crate::json;
use crate::plugin::Plugin;
use crate::task::{Reply, Task};

#[cfg(target_arch = "wasm32")]
mod component;

#[cfg(target_arch = "wasm32")]
#[doc(hidden)]
pub use component::Component;

/// Exports a plugin from the crate that this stands in, once, at its root.
///
/// Either names a type that implements [`Plugin`]:
///
/// ```
/// # use hive_plugin_sdk::{Description, Failure, NoConfig, Plugin, Reply, Task};
/// # struct Greetings;
/// # impl Plugin for Greetings {
/// #     type Config = NoConfig;
/// #     fn describe() -> Result<Description, Failure> { Ok(Description::new("greetings", "1.0.0")) }
/// #     fn initialize(_: NoConfig) -> Result<Self, Failure> { Ok(Self) }
/// #     fn handle_task(&mut self, task: Task) -> Result<Reply, Failure> { Err(task.unknown_agent()) }
/// # }
/// hive_plugin_sdk::export_plugin!(Greetings);
/// # fn main() {}
/// ```
///
/// or gives the plugin's name and the agents that it holds, each of which has a [`Default`]. The plugin is then a type
/// called `ExportedPlugin`, its version is the crate's, and it takes no configuration:
///
/// ```
/// # use hive_plugin_sdk::{Agent, Context, Failure};
/// # #[derive(Default)] struct Greeter;
/// # impl Agent for Greeter {
/// #     const NAME: &'static str = "greeter";
/// #     type Input = String;
/// #     type Output = String;
/// #     async fn run(&self, _: &Context, name: String) -> Result<String, Failure> { Ok(name) }
/// # }
/// hive_plugin_sdk::export_plugin!("acme.greetings", Greeter);
/// # fn main() {}
/// ```
///
/// Natively this only checks the types, so the same crate is tested with an ordinary `cargo test`.
#[macro_export]
macro_rules! export_plugin {
    ($name:literal, $($agent:ty),+ $(,)?) => {
        /// The plugin that this crate exports.
        #[derive(Debug)]
        pub struct ExportedPlugin(());

        impl $crate::Plugin for ExportedPlugin {
            type Config = $crate::NoConfig;

            fn describe() -> ::core::result::Result<$crate::Description, $crate::Failure> {
                let description = $crate::Description::new($name, ::core::env!("CARGO_PKG_VERSION"));
                $(let description = description.agent::<$agent>()?;)+
                ::core::result::Result::Ok(description)
            }

            fn initialize(_: $crate::NoConfig) -> ::core::result::Result<Self, $crate::Failure> {
                ::core::result::Result::Ok(Self(()))
            }

            fn handle_task(
                &mut self,
                task: $crate::Task,
            ) -> ::core::result::Result<$crate::Reply, $crate::Failure> {
                $(
                    if task.agent() == <$agent as $crate::Agent>::NAME {
                        return task.run(&<$agent as ::core::default::Default>::default());
                    }
                )+
                ::core::result::Result::Err(task.unknown_agent())
            }
        }

        $crate::export_plugin!(ExportedPlugin);
    };
    ($plugin:ty $(,)?) => {
        const _: () = {
            const fn is_a_plugin<P: $crate::Plugin>() {}
            is_a_plugin::<$plugin>();
        };

        #[cfg(target_arch = "wasm32")]
        const _: () = {
            type Component = $crate::export::Component<$plugin>;
            $crate::bindings::export_component!(Component with_types_in $crate::bindings);
        };
    };
}

/// An instance of a plugin, whichever it is.
pub(crate) trait Instance {
    fn handle_task(&mut self, task: Task) -> Result<Reply, Failure>;
    fn cleanup(&mut self);
}

impl<P: Plugin> Instance for P {
    fn handle_task(&mut self, task: Task) -> Result<Reply, Failure> {
        Plugin::handle_task(self, task)
    }

    fn cleanup(&mut self) {
        Plugin::cleanup(self);
    }
}

/// What the contract's `describe` returns.
pub(crate) fn describe<P: Plugin>() -> Result<String, Failure> {
    P::describe()?.to_json()
}

/// What the contract's `initialize` does.
pub(crate) fn initialize<P: Plugin>(config: &str) -> Result<Box<dyn Instance>, Failure> {
    let config = json::decode("the configuration", config)?;
    Ok(Box::new(P::initialize(config)?))
}
