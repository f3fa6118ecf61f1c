//! What takes back the work of a task that fails after all: how it is registered, and the agent that does it, a call after the other,
//! the last registered first.

use hive_errors::{Failure, Result as HiveResult};

use crate::agent::Agent;
use crate::call::{Call, Child};
use crate::context::{Context, Step};
use crate::queue::undo::{self, Undo, Undoing};

/// A call as it is registered.
fn undoes<A: Agent>(name: &str, call: Call<A>) -> HiveResult<Undo> {
    let child = call.erase()?;
    Ok(Undo {
        number: 0,
        name: name.to_owned(),
        agent: child.agent,
        priority: child.priority,
        key: child.key,
        input: child.input,
    })
}

impl Context {
    /// Registers what takes back something that this task does. When the task fails terminally, dies or is cancelled, what was
    /// registered is called in reverse, one after the other, as a durable task of its own; when it succeeds nothing happens.
    ///
    /// It is on disk when this returns, so register it *before* what it takes back, and let it do no harm when that did not take place:
    /// give both the same [`Context::idempotency_key`]. To register it with a step's output, in the commit that remembers the step,
    /// use [`Step::undo`](crate::builders::Step::undo).
    ///
    /// ```
    /// # use hive_orchestration::{Agent, Call, Context, Failure};
    /// # async fn pay(_: &str) -> Result<(), Failure> { Ok(()) }
    /// # async fn run<Refund: Agent<Input = String, Output = ()>>(cx: &Context) -> Result<(), Failure> {
    /// let key = cx.idempotency_key("pay");
    /// cx.undo("pay", Call::<Refund>::new(key.clone())).await?;
    /// cx.step("pay", async || pay(&key).await).await
    /// # }
    /// ```
    ///
    /// Tasks that this one called register what takes back their own work; those that succeeded are not asked again.
    ///
    /// # Failures
    /// Terminal: for a name that is not valid, an input that is too large, and `limit-reached` for more than
    /// [`UNDO_CALLS`](crate::limits::UNDO_CALLS) of them, or more than [`UNDO_BYTES`](crate::limits::UNDO_BYTES) together.
    ///
    /// # Cancel safety
    /// Dropped before the answer, it may be registered or not; when the task comes back to it, the journal tells.
    pub async fn undo<A: Agent>(&self, name: &str, call: Call<A>) -> Result<(), Failure> {
        self.register_undo(undoes(name, call)?).await
    }
}

impl<'a, F, T> Step<'a, F, T> {
    /// Registers what takes the step back, made of its output, in the commit that remembers that: see [`Context::undo`]. A step that
    /// was cut off before it was remembered is not known to have done anything; where that matters, register first.
    ///
    /// # Failures
    /// Those of [`Context::undo`]. The step has run then, and is not remembered.
    pub fn undo<A: Agent>(mut self, call: impl Fn(&T) -> Call<A> + Send + 'a) -> Self {
        let name = self.name;
        self.undo = Some(Box::new(move |output| undoes(name, call(output))));
        self
    }
}

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
