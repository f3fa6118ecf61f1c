//! Waiting for an event.

use std::borrow::Cow;
use std::fmt;
use std::future::IntoFuture;
use std::pin::Pin;
use std::time::Duration;

use hive_bus::{Event, Pattern, Sequence, TypedEvent};
use hive_errors::{ErrorKind, Failure, Result};
use serde::Serialize;

use super::drift::Recall;
use super::wait::Claim;
use super::{Context, Run};
use crate::event::{Came, Filter};
use crate::journal::{Entry, Kind, Standing};
use crate::patience::Patience;
use crate::queue::wait::{NewWait, Wanted};

/// A wait for an event about to begin; await it. Made by [`Context::wait_event`].
#[must_use = "a wait begins when it is awaited"]
pub struct WaitEvent<'a> {
    cx: &'a Context,
    filter: Result<Filter>,
    since: Option<Sequence>,
    timeout: Option<Duration>,
}

impl Context {
    /// Waits for an event of the task's own tenant on a topic that matches `pattern`, such as `order.paid.*`, and returns the first
    /// that comes.
    ///
    /// ```
    /// # use hive_orchestration::{Context, Failure};
    /// # use std::time::Duration;
    /// # async fn run(cx: &Context, order: u64) -> Result<(), Failure> {
    /// const DAY: Duration = Duration::from_secs(24 * 60 * 60);
    /// let paid = cx.wait_event("order.paid.*").matching("/order", order).timeout(7 * DAY).await?;
    /// let cents: u64 = paid.data().decode::<serde_json::Value>()?["cents"].as_u64().unwrap_or(0);
    /// # let _ = cents;
    /// # Ok(()) }
    /// ```
    ///
    /// It is the first in the order of the log that is committed after the wait has begun, whichever process publishes it and
    /// whether the hive is open at that moment or not. What was acknowledged to its publisher before does not count: whoever must
    /// not miss an answer that is quicker than the wait begins it [`since`](WaitEvent::since) the question. Every wait gets the
    /// event; it is not taken away from others.
    ///
    /// The filter belongs to the wait's name, so it must come from the input or from steps: a wait with another filter is
    /// another wait. Branches that wait at once with the same filter need a [`Context::scope`] each. A task that is
    /// [brought back](crate::TaskHandle::redrive) begins anew to wait for what had not come.
    ///
    /// Events for which tasks wait stay in the log until they have been looked at, whatever its
    /// [retention](hive_bus::RetentionPolicy) says.
    ///
    /// # Failures
    /// Terminal: `timeout` when [`WaitEvent::timeout`] passes first; `invalid-input` when the pattern or a pointer is none;
    /// `limit-reached` when the filter is larger than [`EVENT_FILTER_BYTES`](crate::limits::EVENT_FILTER_BYTES) or has more than
    /// [`EVENT_CONDITIONS`](crate::limits::EVENT_CONDITIONS).
    ///
    /// # Cancel safety
    /// Dropped, the task still counts as waiting for the event. The next wait with the same filter goes on with it, takes the event
    /// if it has come meanwhile, and keeps to its time limit.
    pub fn wait_event(&self, pattern: impl Into<Cow<'static, str>>) -> WaitEvent<'_> {
        WaitEvent {
            cx: self,
            filter: Pattern::new(pattern).map(|pattern| Filter::new(pattern, self.tenant())),
            since: None,
            timeout: None,
        }
    }
}

impl WaitEvent<'_> {
    /// Only an event in whose data this value stands at this [JSON pointer](https://www.rfc-editor.org/rfc/rfc6901), such as
    /// `/order/id`. Called several times, all must hold. Values are compared as JSON: `1` and `1.0` are equal, and so are objects
    /// whatever the order of their members; a place that is not there is not `null`.
    pub fn matching(mut self, pointer: impl Into<String>, value: impl Serialize) -> Self {
        self.filter = self.filter.and_then(|mut filter| {
            filter.matching(pointer.into(), &value)?;
            Ok(filter)
        });
        self
    }

    /// Only an event of the type `T`: [`Event::decode`] gives its data.
    pub fn of<T: TypedEvent>(self) -> Self {
        self.event_type(T::TYPE)
    }

    /// Only an event of the type with this name.
    pub fn event_type(self, name: impl Into<String>) -> Self {
        self.asking(|filter| filter.event_type = Some(name.into()))
    }

    /// Only an event with exactly this source.
    pub fn source(self, source: impl Into<String>) -> Self {
        self.asking(|filter| filter.source = Some(source.into()))
    }

    /// Only an event of this undertaking, such as [`Context::root_id`].
    pub fn correlation(self, correlation: impl fmt::Display) -> Self {
        self.asking(|filter| filter.correlation = Some(correlation.to_string()))
    }

    /// Also an event that is in the log already, behind this sequence, which is what [`Bus::publish`](hive_bus::Bus::publish) or
    /// [`Bus::head`](hive_bus::Bus::head) gave in a step before. One that [retention](hive_bus::RetentionPolicy) has taken away is
    /// not found.
    pub fn since(mut self, sequence: Sequence) -> Self {
        self.since = Some(sequence);
        self
    }

    /// Fails, of kind `timeout`, when no such event came within this time. Without it the task waits until there is one, or it is
    /// cancelled, and costs a row.
    pub fn timeout(mut self, limit: Duration) -> Self {
        self.timeout = Some(limit);
        self
    }

    fn asking(mut self, ask: impl FnOnce(&mut Filter)) -> Self {
        if let Ok(filter) = &mut self.filter {
            ask(filter);
        }
        self
    }
}

impl<'a> IntoFuture for WaitEvent<'a> {
    type Output = Result<Event, Failure>;
    type IntoFuture = Pin<Box<dyn Future<Output = Self::Output> + Send + 'a>>;

    fn into_future(self) -> Self::IntoFuture {
        Box::pin(async move {
            let Self {
                cx,
                filter,
                since,
                timeout,
            } = self;
            let awaited = filter.and_then(|filter| filter.awaited()).map_err(Failure::from)?;
            let mut claim = Claim {
                cx,
                key: Some(cx.key(Kind::Event, &awaited.name())?),
            };
            let came = loop {
                let key = claim.key();
                let new = match cx.recall::<Came>(key, Kind::Event).await {
                    Recall::Done(came) => break Some(came),
                    Recall::Over => break None,
                    Recall::Begun => None,
                    Recall::New => {
                        let after = match since {
                            Some(sequence) => sequence,
                            None => cx.run.log_end().await?,
                        };
                        let entry = Entry {
                            kind: Kind::Event,
                            standing: Standing::Pending,
                            value: None,
                        };
                        cx.run.journal().put(key.to_owned(), entry);
                        let what = Wanted::Event {
                            awaited: awaited.clone(),
                            after,
                            timeout,
                        };
                        Some(NewWait {
                            key: key.to_owned(),
                            what,
                        })
                    }
                };
                cx.settled(key, new).await;
            };
            claim.key = None;
            came.map(|Came(event)| event).ok_or_else(|| {
                Failure::terminal("no such event came in time")
                    .with_kind(ErrorKind::Timeout)
                    .with("topics", awaited.pattern)
            })
        })
    }
}

impl Run {
    /// Up to where the log of events is settled.
    async fn log_end(&self) -> Result<Sequence, Failure> {
        let _working = self.activity.work();
        let end = Patience::new(&*self.queue.clock, &*self.queue.rng)
            .insist("the end of the log of events could not be read", &self.stop, || {
                self.queue.bus.head()
            })
            .await;
        match end {
            Ok(end) => Ok(end),
            Err(error) => Err(self.refused(error).await.into()),
        }
    }
}

impl fmt::Debug for WaitEvent<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WaitEvent")
            .field("filter", &self.filter)
            .field("since", &self.since)
            .finish_non_exhaustive()
    }
}
