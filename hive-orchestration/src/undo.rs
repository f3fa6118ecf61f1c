//! The agent that undoes what tasks leave behind: a call after the other, the last registered first.

use hive_errors::Failure;

use crate::agent::Agent;
use crate::call::Child;
use crate::context::Context;
use crate::queue::undo::{self, Undo, Undoing};

pub(crate) struct Undoer;

impl Agent for Undoer {
    const NAME: &'static str = undo::AGENT;
    type Input = Undoing;
    type Output = ();

    async fn run(&self, cx: &Context, undoing: Undoing) -> Result<(), Failure> {
        let total = undoing.calls.len() as u64;
        for (done, undo) in undoing.calls.into_iter().enumerate() {
            cx.progress(done as u64, total, format!("undoes {} of {}", undo.name, undoing.agent))
                .await?;
            let Undo {
                number: _,
                name,
                agent,
                priority,
                key,
                input,
            } = undo;
            let child = Child {
                agent,
                versions: String::new(),
                input,
                priority,
                key,
                record: None,
                aside: None,
                budget: None,
            };
            // One that fails stops those that were registered before it, which may build on it. Whoever has seen to it brings this task
            // back, and it goes on.
            cx.call_untyped(&name, child).await?;
        }
        Ok(())
    }
}
