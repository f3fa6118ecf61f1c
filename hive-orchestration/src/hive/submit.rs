//! A submission with its options.

use std::fmt;
use std::future::{Future, IntoFuture};
use std::marker::PhantomData;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use hive_bus::TENANT_DEFAULT;
use hive_core::db::Tx;
use hive_core::id::TaskId;
use hive_core::payload::Payload;
use hive_errors::{Error, ErrorKind, Result};
use serde::Serialize;

use super::Hive;
use crate::handle::TaskHandle;
use crate::limits;
use crate::queue::submit::{self, NewTask};
use crate::task::{Priority, check_token};

/// A task about to be submitted; await it. Made by [`Hive::submit`] and [`Hive::submit_named`].
#[must_use = "a task is submitted when this is awaited"]
pub struct Submit<T> {
    hive: Hive,
    agent: String,
    input: Result<Payload>,
    tenant: String,
    priority: Priority,
    delay: Option<Duration>,
    key: Option<String>,
    output: PhantomData<fn() -> T>,
}

impl<T> Submit<T> {
    pub(super) fn new(hive: Hive, agent: String, input: &impl Serialize) -> Self {
        Self {
            hive,
            agent,
            input: Payload::encode(input, limits::PAYLOAD_BYTES),
            tenant: TENANT_DEFAULT.to_owned(),
            priority: Priority::default(),
            delay: None,
            key: None,
            output: PhantomData,
        }
    }

    /// How urgent it is; medium unless set.
    pub fn priority(mut self, priority: Priority) -> Self {
        self.priority = priority;
        self
    }

    /// Not before this much time has passed.
    pub fn delay(mut self, delay: Duration) -> Self {
        self.delay = Some(delay);
        self
    }

    /// Submits at most one task under this key: a second submission for the same agent with the same input gives the
    /// first one's handle, whatever has become of that task; with another input it is refused with `conflict`.
    pub fn idempotency_key(mut self, key: impl Into<String>) -> Self {
        self.key = Some(key.into());
        self
    }

    /// On whose behalf; `default` unless set.
    pub fn tenant(mut self, tenant: impl Into<String>) -> Self {
        self.tenant = tenant.into();
        self
    }

    /// Submits inside a transaction of yours on [`Hive::db`]: the task exists if and only if that commits.
    pub fn within(&self, tx: &mut Tx<'_>) -> Result<TaskId> {
        let new = self.check()?;
        submit::submit(tx, &self.hive.shop().queue, &new)
    }

    /// Finds every fault before anything is written.
    fn check(&self) -> Result<NewTask> {
        let input = match &self.input {
            Ok(input) => input,
            Err(error) => {
                return Err(error
                    .echo()
                    .with("agent", format!("{:.100}", self.agent.escape_debug())));
            }
        };
        self.hive.shop().registry.check(&self.agent, input)?;
        check_token("tenant", &self.tenant)?;
        if let Some(key) = &self.key
            && (key.is_empty() || key.len() > limits::KEY_BYTES)
        {
            return Err(
                Error::new(ErrorKind::InvalidInput, "the idempotency key is empty or too long")
                    .with("field", "idempotency_key")
                    .with("bytes", key.len())
                    .with("limit_bytes", limits::KEY_BYTES),
            );
        }
        let run_at = self.delay.map(|delay| self.hive.shop().queue.clock.now() + delay);
        Ok(NewTask {
            agent: self.agent.clone(),
            tenant: self.tenant.clone(),
            input: input.clone(),
            priority: self.priority,
            run_at,
            idempotency: self.key.clone(),
        })
    }
}

impl<T: 'static> IntoFuture for Submit<T> {
    type Output = Result<TaskHandle<T>>;
    type IntoFuture = Pin<Box<dyn Future<Output = Self::Output> + Send>>;

    fn into_future(self) -> Self::IntoFuture {
        Box::pin(async move {
            let (hive, new) = (&self.hive, self.check()?);
            let queue = hive.shop().queue.clone();
            let submitted = hive.shop().db.write(move |tx| submit::submit(tx, &queue, &new)).await;
            let id = submitted.map_err(|error| {
                if error.kind() != ErrorKind::ShuttingDown {
                    return error;
                }
                Error::new(ErrorKind::ShuttingDown, "the hive is closed and takes no tasks")
                    .with_hint("submit again once it has been opened again")
            })?;
            Ok(TaskHandle::new(id, Arc::clone(hive.shop())))
        })
    }
}

impl<T> fmt::Debug for Submit<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Submit")
            .field("agent", &self.agent)
            .field("priority", &self.priority)
            .finish_non_exhaustive()
    }
}
