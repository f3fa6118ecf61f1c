//! What is to be done when a task fails after all: calls that take back what its steps did, in reverse.

use hive_core::payload::Payload;
use hive_errors::{ErrorKind, Failure};

use super::Context;
use super::drift::Recall;
use crate::agent::Agent;
use crate::call::{Call, Child};
use crate::journal::{Kind, Record};
use crate::limits;
use crate::queue::undo::Undo;

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
        let key = self.key(Kind::Undo, name)?;
        match self.recall::<Undo>(&key, Kind::Undo).await {
            Recall::Done(_) => return Ok(()),
            Recall::New | Recall::Begun | Recall::Over => {}
        }
        let _working = self.run.activity.work();
        let record = self.undo_record(key, name, call.erase()?)?;
        self.run.remember(record).await?;
        Ok(())
    }

    /// The journal's entry for it.
    pub(super) fn undo_record(&self, key: String, name: &str, child: Child) -> Result<Record, Failure> {
        let size = child.input.size();
        let Some(number) = self.run.journal().count_undo(size) else {
            return Err(Failure::terminal("too much is registered to be undone")
                .with_kind(ErrorKind::LimitReached)
                .with("undo", name)
                .with("limit", limits::UNDO_CALLS)
                .with("limit_bytes", limits::UNDO_BYTES));
        };
        let undo = Undo {
            number,
            name: name.to_owned(),
            agent: child.agent,
            priority: child.priority,
            key: child.key,
            input: child.input,
        };
        Ok(Record {
            lease: self.run.lease(),
            at: self.run.queue.clock.now(),
            key,
            kind: Kind::Undo,
            type_name: std::any::type_name::<Undo>(),
            value: Payload::encode(&undo, limits::PAYLOAD_BYTES + limits::UNDO_WORDS)?,
            also: None,
        })
    }
}
