//! The exports of a component, which keeps the one instance that it is.

use std::cell::RefCell;
use std::marker::PhantomData;

use super::{Instance, describe, initialize};
use crate::bindings::exports::hive::plugin::lifecycle;
use crate::failure::Failure;
use crate::log;
use crate::plugin::Plugin;
use crate::task::{Reply, Task};

thread_local! {
    static INSTANCE: RefCell<Option<Box<dyn Instance>>> = const { RefCell::new(None) };
}

/// The component that `export_plugin!` makes of `P`.
#[derive(Debug)]
pub struct Component<P>(PhantomData<P>);

impl<P: Plugin> lifecycle::Guest for Component<P> {
    fn describe() -> Result<String, lifecycle::Failure> {
        speak_when_panicking();
        describe::<P>().map_err(Into::into)
    }

    fn initialize(config: String) -> Result<(), lifecycle::Failure> {
        speak_when_panicking();
        let instance = initialize::<P>(&config).map_err(lifecycle::Failure::from)?;
        INSTANCE.set(Some(instance));
        Ok(())
    }

    fn handle_task(task: lifecycle::Task) -> Result<String, lifecycle::Failure> {
        let lifecycle::Task {
            id,
            agent,
            attempt,
            input,
            context,
        } = task;
        let reply = Task::new(id, agent, attempt, input, &context).and_then(|task| {
            INSTANCE.with_borrow_mut(|instance| match instance {
                Some(instance) => instance.handle_task(task),
                None => Err(Failure::retryable("the plugin was not initialised")),
            })
        });
        reply.map(Reply::into_json).map_err(Into::into)
    }

    fn cleanup() {
        if let Some(mut instance) = INSTANCE.take() {
            instance.cleanup();
        }
    }
}

/// A panic ends a component with a bare trap, so its message goes to the hive's log before that.
fn speak_when_panicking() {
    std::panic::set_hook(Box::new(|panic| log::error(&format!("the plugin panicked: {panic}"))));
}
