//! Schedules of a hive.

use std::fmt;
use std::future::{Future, IntoFuture};
use std::pin::Pin;

use hive_bus::TENANT_DEFAULT;
use hive_core::db::{Snapshot, Tx};
use hive_core::id::TaskId;
use hive_core::payload::Payload;
use hive_errors::Result;
use serde::Serialize;

use super::Hive;
use crate::agent::Agent;
use crate::limits;
use crate::schedule::store::{self, Definition};
use crate::schedule::{Info, Schedule};
use crate::task::{Priority, check_token};

impl Hive {
    /// Submits tasks when `schedule` is due: `hive.schedule("nightly", when).submit::<Report>(input).await?`. The name stands
    /// in topics, so it is made of ASCII letters, digits, `-` and `_`, at most [`TOKEN_BYTES`](crate::limits::TOKEN_BYTES).
    ///
    /// Giving the same definition again (schedule, agent, input, tenant and priority) is no error and changes nothing: what is
    /// due stays due, what is paused stays paused. Another definition takes the place of the first: it begins with what is due
    /// after now, what the first one missed is not made up for, and a paused schedule stays paused. Tasks that were submitted
    /// already are left alone.
    pub fn schedule(&self, name: impl Into<String>, schedule: Schedule) -> Scheduling {
        Scheduling {
            hive: self.clone(),
            name: name.into(),
            schedule,
            tenant: TENANT_DEFAULT.to_owned(),
            priority: Priority::default(),
        }
    }

    /// The schedules by name, those after `after`, at most `limit` and at most [`SCHEDULES_PAGE`](crate::limits::SCHEDULES_PAGE).
    pub async fn schedules(&self, after: Option<&str>, limit: usize) -> Result<Vec<Info>> {
        let after = after.map(str::to_owned);
        self.look(move |db| store::list(db, after.as_deref(), limit)).await
    }

    /// The schedule with this name.
    ///
    /// # Errors
    /// `not-found`.
    pub async fn schedule_info(&self, name: &str) -> Result<Info> {
        let name = name.to_owned();
        self.look(move |db| store::info(db, &name)).await
    }

    /// Submits nothing for the schedule until it is resumed. `false` when it was paused already.
    ///
    /// # Errors
    /// `not-found`.
    ///
    /// # Cancel safety
    /// Dropped, it may be paused or not.
    pub async fn pause_schedule(&self, name: &str) -> Result<bool> {
        let (queue, name) = (self.shop().queue.clone(), name.to_owned());
        self.change(move |tx| store::pause(tx, &queue, &name)).await
    }

    /// Goes on with what is due after now. What fell into the pause is not made up for, a single time included. Not being
    /// paused is no error: the schedule begins anew from the present, which helps after the clock was wrong.
    ///
    /// # Errors
    /// `not-found`; `invalid-input` when this machine does not know the schedule's time zone.
    ///
    /// # Cancel safety
    /// Dropped, it may be resumed or not.
    pub async fn resume_schedule(&self, name: &str) -> Result<()> {
        let (queue, name) = (self.shop().queue.clone(), name.to_owned());
        self.change(move |tx| store::resume(tx, &queue, &name)).await
    }

    /// Forgets the schedule; tasks that it submitted are left alone. `false` when there was none.
    ///
    /// # Cancel safety
    /// Dropped, it may be removed or not.
    pub async fn remove_schedule(&self, name: &str) -> Result<bool> {
        let (queue, name) = (self.shop().queue.clone(), name.to_owned());
        self.change(move |tx| store::remove(tx, &queue, &name)).await
    }

    /// Submits one task of the schedule now, besides those that are due; also when it is paused or has nothing more to come.
    /// [`Hive::task`] makes a handle of the id.
    ///
    /// # Errors
    /// `not-found`.
    ///
    /// # Cancel safety
    /// Dropped, the task may be submitted or not.
    pub async fn trigger_schedule(&self, name: &str) -> Result<TaskId> {
        let (queue, name) = (self.shop().queue.clone(), name.to_owned());
        self.change(move |tx| store::trigger(tx, &queue, &name)).await
    }

    async fn look<T: Send + 'static>(
        &self,
        work: impl FnMut(&Snapshot<'_>) -> Result<T> + Send + 'static,
    ) -> Result<T> {
        self.shop().db.read(work).await
    }

    async fn change<T: Send + 'static>(
        &self,
        work: impl FnMut(&mut Tx<'_>) -> Result<T> + Send + 'static,
    ) -> Result<T> {
        self.shop().db.write(work).await
    }
}

/// A schedule that lacks its agent and input. Made by [`Hive::schedule`].
#[must_use = "a schedule is made when its submission is awaited"]
pub struct Scheduling {
    hive: Hive,
    name: String,
    schedule: Schedule,
    tenant: String,
    priority: Priority,
}

impl Scheduling {
    /// On whose behalf its tasks are; `default` unless set.
    pub fn tenant(mut self, tenant: impl Into<String>) -> Self {
        self.tenant = tenant.into();
        self
    }

    /// How urgent its tasks are; medium unless set.
    pub fn priority(mut self, priority: Priority) -> Self {
        self.priority = priority;
        self
    }

    /// What it submits: a task for agent `A`. Await it.
    ///
    /// # Errors
    /// `unknown-agent`; `invalid-input`, naming what is wrong with the name, the schedule or the input; `payload-too-large`;
    /// `limit-reached` beyond [`SCHEDULES_MAX`](crate::limits::SCHEDULES_MAX). Nothing was written then.
    pub fn submit<A: Agent>(self, input: A::Input) -> Define {
        self.submit_named(A::NAME, &input)
    }

    /// What it submits: a task for an agent known by name only. The input is checked against the agent's type.
    ///
    /// # Errors
    /// As [`Scheduling::submit`].
    pub fn submit_named(self, agent: impl Into<String>, input: &impl Serialize) -> Define {
        Define {
            agent: agent.into(),
            input: Payload::encode(input, limits::PAYLOAD_BYTES),
            scheduling: self,
        }
    }
}

impl fmt::Debug for Scheduling {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Scheduling")
            .field("name", &self.name)
            .field("schedule", &self.schedule)
            .finish_non_exhaustive()
    }
}

/// A schedule about to be made; await it. Made by [`Scheduling::submit`] and [`Scheduling::submit_named`].
///
/// # Cancel safety
/// Dropped, the schedule may be there or not; giving it again does no harm.
#[must_use = "a schedule is made when this is awaited"]
pub struct Define {
    scheduling: Scheduling,
    agent: String,
    input: Result<Payload>,
}

impl Define {
    /// Makes the schedule inside a transaction of yours on [`Hive::db`]: it is there if and only if that commits.
    pub fn within(&self, tx: &mut Tx<'_>) -> Result<Info> {
        let definition = self.check()?;
        store::define(tx, &self.scheduling.hive.shop().queue, &definition)
    }

    /// Finds every fault before anything is written.
    fn check(&self) -> Result<Definition> {
        let Scheduling {
            hive,
            name,
            schedule,
            tenant,
            priority,
        } = &self.scheduling;
        check_token("schedule", name)?;
        check_token("tenant", tenant)?;
        let named = |error: hive_errors::Error| error.with("schedule", name);
        let input = match &self.input {
            Ok(input) => input,
            Err(error) => return Err(named(error.echo())),
        };
        hive.shop().registry.check(&self.agent, input).map_err(named)?;
        Ok(Definition {
            name: name.clone(),
            schedule: schedule.clone(),
            tenant: tenant.clone(),
            agent: self.agent.clone(),
            priority: *priority,
            input: input.clone(),
        })
    }
}

impl IntoFuture for Define {
    type Output = Result<Info>;
    type IntoFuture = Pin<Box<dyn Future<Output = Self::Output> + Send>>;

    fn into_future(self) -> Self::IntoFuture {
        Box::pin(async move {
            let definition = self.check()?;
            let shop = self.scheduling.hive.shop();
            let queue = shop.queue.clone();
            let name = definition.name.clone();
            let made = shop.db.write(move |tx| store::define(tx, &queue, &definition)).await;
            made.map_err(|error| error.with("schedule", name))
        })
    }
}

impl fmt::Debug for Define {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Define")
            .field("scheduling", &self.scheduling)
            .field("agent", &self.agent)
            .finish_non_exhaustive()
    }
}
