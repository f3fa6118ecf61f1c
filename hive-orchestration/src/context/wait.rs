//! Waiting: for time, for a signal, for a person. A task that waits long holds no worker and no memory.

use std::borrow::Cow;
use std::future::{Future, IntoFuture};
use std::marker::PhantomData;
use std::pin::{Pin, pin};
use std::time::Duration;

use hive_errors::{ErrorKind, Failure};
use schemars::JsonSchema;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::Context;
use super::drift::{Asked, Recall};
use crate::journal::{Entry, Kind, Standing};
use crate::queue::wait::{NewWait, Outcome, Resolved, Wanted};

/// A named value of type `T` that can be sent to a waiting task.
///
/// ```
/// # use hive_orchestration::Signal;
/// const PRICE: Signal<u64> = Signal::new("price");
/// ```
pub struct Signal<T> {
    name: Cow<'static, str>,
    value: PhantomData<fn() -> T>,
}

impl<T> Signal<T> {
    /// The signal with this name. Task and sender must agree on the name and the type: share one constant.
    pub const fn new(name: &'static str) -> Self {
        Self {
            name: Cow::Borrowed(name),
            value: PhantomData,
        }
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.name
    }
}

impl<T> Clone for Signal<T> {
    fn clone(&self) -> Self {
        Self {
            name: self.name.clone(),
            value: PhantomData,
        }
    }
}

impl<T> std::fmt::Debug for Signal<T> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Signal").field(&self.name).finish()
    }
}

/// A person's answer to a question: the value of a `Signal<Approval>`.
///
/// ```
/// # use hive_orchestration::{Approval, Signal};
/// const RELEASE: Signal<Approval> = Approval::signal("release");
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Approval {
    /// Whether the answer is yes.
    pub approved: bool,
    /// Who answered.
    pub by: String,
    /// What they said.
    #[serde(default)]
    pub comment: String,
}

impl Approval {
    /// The signal that carries an approval under this name.
    pub const fn signal(name: &'static str) -> Signal<Self> {
        Signal::new(name)
    }

    /// A yes.
    pub fn yes(by: impl Into<String>) -> Self {
        Self {
            approved: true,
            by: by.into(),
            comment: String::new(),
        }
    }

    /// A no.
    pub fn no(by: impl Into<String>, comment: impl Into<String>) -> Self {
        Self {
            approved: false,
            by: by.into(),
            comment: comment.into(),
        }
    }
}

/// A wait about to begin; await it. Made by [`Context::wait`].
#[must_use = "a wait begins when it is awaited"]
pub struct Wait<'a, T> {
    cx: &'a Context,
    signal: Signal<T>,
    question: Option<String>,
    timeout: Option<Duration>,
}

impl Context {
    /// Waits for a signal and returns its value. One that came before is taken at once; the first answer wins.
    ///
    /// # Failures
    /// Terminal, of kind `timeout`, when [`Wait::timeout`] passes first.
    ///
    /// # Cancel safety
    /// Dropped, the task still counts as waiting for the signal, and a value that comes is kept. The next wait for it takes
    /// that value, and keeps to the question and the time limit of the one that was dropped.
    pub fn wait<T: DeserializeOwned + Send>(&self, signal: Signal<T>) -> Wait<'_, T> {
        Wait {
            cx: self,
            signal,
            question: None,
            timeout: None,
        }
    }

    /// Waits for at least `duration`, through crashes and restarts; never less. The end is fixed when the wait first
    /// begins.
    ///
    /// # Cancel safety
    /// Dropped, nobody waits for it: another sleep in the same run is another timer. Keep the future to come back to it.
    pub async fn sleep(&self, duration: Duration) -> Result<(), Failure> {
        let key = self.key(Kind::Timer, "timer")?;
        self.outcome::<()>(&key, Kind::Timer, || Wanted::Timer { wait: duration })
            .await;
        Ok(())
    }

    /// The outcome of the wait under `key`, which `what` begins when it is new, and when a person lets it begin anew.
    /// `None`: it is over and left no value.
    pub(crate) async fn outcome<T: DeserializeOwned>(
        &self,
        key: &str,
        kind: Kind,
        what: impl FnMut() -> Wanted,
    ) -> Option<T> {
        // By the policy of waits there is no failure.
        self.outcome_as(key, &Asked::from(kind), what).await.ok().flatten()
    }

    /// [`Context::outcome`], by a policy of its own where the record does not fit.
    pub(crate) async fn outcome_as<T: DeserializeOwned>(
        &self,
        key: &str,
        asked: &Asked,
        mut what: impl FnMut() -> Wanted,
    ) -> Result<Option<T>, Failure> {
        let kind = asked.kind;
        loop {
            let new = match self.recall_as::<T>(key, asked).await? {
                Recall::Done(value) => return Ok(Some(value)),
                Recall::Over => return Ok(None),
                Recall::Begun => None,
                Recall::New => {
                    self.run.journal().put(
                        key.to_owned(),
                        Entry {
                            kind,
                            standing: Standing::Pending,
                            value: None,
                        },
                    );
                    Some(NewWait {
                        key: key.to_owned(),
                        what: what(),
                    })
                }
            };
            self.settled(key, new).await;
        }
    }

    /// Waits until the entry under `key` is neither pending nor held any more. The driver registers `new` and brings the
    /// outcome into the journal.
    pub(crate) async fn settled(&self, key: &str, new: Option<NewWait>) {
        if let Some(probe) = &self.run.probe {
            probe.rest().await;
        }
        let _waiting = self.run.activity.wait(new);
        loop {
            let mut news = pin!(self.run.activity.news());
            news.as_mut().enable();
            let standing = self.run.journal().get(key).map(|entry| entry.standing);
            match standing {
                None | Some(Standing::Done) => return,
                Some(Standing::Pending | Standing::Held) => news.await,
            }
        }
    }
}

impl<T> Wait<'_, T> {
    /// Puts a question to whoever may answer; it stands in the task's status until the answer comes.
    pub fn ask(mut self, question: impl Into<String>) -> Self {
        self.question = Some(question.into());
        self
    }

    /// Fails, of kind `timeout`, when no signal came within this time. Without it the task waits until it is answered
    /// or cancelled, and costs a row.
    pub fn timeout(mut self, limit: Duration) -> Self {
        self.timeout = Some(limit);
        self
    }
}

impl<'a, T: DeserializeOwned + Send + 'a> IntoFuture for Wait<'a, T> {
    type Output = Result<T, Failure>;
    type IntoFuture = Pin<Box<dyn Future<Output = Self::Output> + Send + 'a>>;

    fn into_future(self) -> Self::IntoFuture {
        Box::pin(async move {
            let Self {
                cx,
                signal,
                question,
                timeout,
            } = self;
            let mut claim = Claim {
                cx,
                key: Some(cx.key(Kind::Signal, signal.name())?),
            };
            let wanted = || Wanted::Signal {
                name: signal.name().to_owned(),
                question: question.clone(),
                timeout,
            };
            let value = cx.outcome::<T>(claim.key(), Kind::Signal, wanted).await;
            claim.key = None;
            value.ok_or_else(|| {
                Failure::terminal("nobody answered in time")
                    .with_kind(ErrorKind::Timeout)
                    .with("signal", signal.name())
            })
        })
    }
}

/// A wait's claim on its key until it has its answer. Dropped before, by a `select!` that went another way, the next wait
/// for this signal goes on with it: an answer must not go to a wait that nobody looks at any more.
struct Claim<'a> {
    cx: &'a Context,
    key: Option<String>,
}

impl Claim<'_> {
    fn key(&self) -> &str {
        self.key.as_deref().unwrap_or_default()
    }
}

impl Drop for Claim<'_> {
    fn drop(&mut self) {
        if let Some(key) = &self.key {
            self.cx.run.journal().give_back(key);
        }
    }
}

impl<T> std::fmt::Debug for Wait<'_, T> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Wait")
            .field("signal", &self.signal)
            .field("question", &self.question)
            .finish_non_exhaustive()
    }
}

impl Context {
    /// Takes in what the driver found: outcomes that came about since it last looked.
    pub(crate) fn learn(&self, outcomes: Vec<Resolved>) {
        let mut journal = self.run.journal();
        for Resolved { key, outcome } in outcomes {
            let known = journal.get(&key).map(|entry| (entry.kind, entry.standing));
            match outcome {
                Outcome::Over(value) => {
                    let entry = Entry {
                        kind: known.map_or(Kind::Signal, |(kind, _)| kind),
                        standing: Standing::Done,
                        value,
                    };
                    journal.put(key, entry);
                }
                // Unless this run has begun it anew by itself.
                Outcome::Again if known.is_some_and(|(_, standing)| standing == Standing::Held) => {
                    journal.release(&key)
                }
                Outcome::Again => {}
            }
        }
        drop(journal);
        self.run.activity.announce();
    }
}
