//! Waiting: for time, for a signal, for a person. A task that waits long holds no worker and no memory.

use std::borrow::Cow;
use std::future::{Future, IntoFuture};
use std::marker::PhantomData;
use std::pin::{Pin, pin};
use std::time::Duration;

use hive_core::clock::Timestamp;
use hive_errors::{ErrorKind, Failure};
use schemars::JsonSchema;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::Context;
use super::drift::{Asked, Recall};
use crate::journal::{Entry, Kind, Standing};
use crate::queue::wait::{NewWait, Outcome, Resolved, Until, Wanted};
use crate::task::question::{Answer, Question};

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

/// A person's yes or no to a question: the value of a `Signal<Approval>`. Whose it is stands beside it, in
/// [`Answer::by`](crate::task::question::Answer::by).
///
/// ```
/// # use hive_orchestration::{Approval, Signal};
/// const RELEASE: Signal<Approval> = Approval::signal("release");
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Approval {
    /// Whether the answer is yes.
    pub approved: bool,
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
    pub fn yes() -> Self {
        Self {
            approved: true,
            comment: String::new(),
        }
    }

    /// A no, for this reason.
    pub fn no(comment: impl Into<String>) -> Self {
        Self {
            approved: false,
            comment: comment.into(),
        }
    }
}

/// A wait about to begin; await it. Made by [`Context::wait`].
#[must_use = "a wait begins when it is awaited"]
pub struct Wait<'a, T> {
    cx: &'a Context,
    signal: Signal<T>,
    question: Option<Question>,
    timeout: Option<Duration>,
    /// Why the choices are none.
    unfit: Option<serde_json::Error>,
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
            unfit: None,
        }
    }

    /// Waits for at least `duration`, through crashes and restarts; never less. The end is fixed when the wait first
    /// begins.
    ///
    /// # Cancel safety
    /// Dropped, nobody waits for it: another sleep in the same run is another timer. Keep the future to come back to it.
    pub async fn sleep(&self, duration: Duration) -> Result<(), Failure> {
        self.timer(Until::In(duration)).await
    }

    /// Waits until the database's clock shows at least this time, through crashes and restarts; not at all when it has passed. When it
    /// first begins counts: another time given later under the same sleep changes nothing.
    ///
    /// # Cancel safety
    /// As [`Context::sleep`].
    pub async fn sleep_until(&self, at: Timestamp) -> Result<(), Failure> {
        self.timer(Until::At(at)).await
    }

    async fn timer(&self, until: Until) -> Result<(), Failure> {
        let key = self.key(Kind::Timer, "timer")?;
        self.outcome::<()>(&key, Kind::Timer, || Wanted::Timer { until }).await;
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
            if self.run.purse.lacks(key) {
                return Ok(None);
            }
        }
    }

    /// Waits until the entry under `key` is neither pending nor held any more. The driver registers `new` and brings the
    /// outcome into the journal.
    pub(crate) async fn settled(&self, key: &str, mut new: Option<NewWait>) {
        if let Some(probe) = &self.run.probe {
            probe.rest().await;
        }
        if let Some(new) = &mut new {
            self.charge(new);
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

impl Context {
    /// Begins `new`, all in one commit, and waits until one of the entries under `keys` is neither pending nor held any more.
    ///
    /// # Failures
    /// When the budget has no room for a child, and says so.
    pub(crate) async fn any_settled(&self, keys: &[String], mut new: Vec<NewWait>) -> Result<(), Failure> {
        if let Some(probe) = &self.run.probe {
            probe.rest().await;
        }
        new.iter_mut().for_each(|new| self.charge(new));
        for wait in &new {
            let kind = match &wait.what {
                Wanted::Timer { .. } => Kind::Timer,
                Wanted::Signal { .. } => Kind::Signal,
                Wanted::Event { .. } => Kind::Event,
                Wanted::Budget { .. } => Kind::Budget,
                Wanted::Children { kind, .. } => *kind,
                Wanted::Decision { kind, .. } => *kind,
            };
            let begun = Entry {
                kind,
                standing: Standing::Pending,
                value: None,
            };
            self.run.journal().put(wait.key.clone(), begun);
        }
        let waiting = self.run.activity.wait(new);
        loop {
            let mut news = pin!(self.run.activity.news());
            news.as_mut().enable();
            let settled = {
                let journal = self.run.journal();
                keys.iter()
                    .any(|key| journal.get(key).is_none_or(|entry| entry.standing == Standing::Done))
            };
            if settled {
                break;
            }
            news.await;
        }
        drop(waiting);
        for key in keys {
            self.room_for_child(key).await?;
        }
        Ok(())
    }

    /// Whoever makes them, children draw on the accounts of their caller.
    fn charge(&self, new: &mut NewWait) {
        if let Wanted::Children { tasks, .. } = &mut new.what {
            for task in tasks {
                task.above = self.run.purse.chain.clone();
            }
        }
    }
}

impl<'a, T> Wait<'a, T> {
    /// Puts a question to people. It stands in the task's status, and among the [interruptions](crate::Hive::interruptions), until the
    /// answer comes ([`TaskHandle::answer`](crate::TaskHandle::answer)).
    pub fn ask(mut self, question: impl Into<String>) -> Self {
        self.question.get_or_insert_default().text = question.into();
        self
    }

    /// Lets the answer be one of these; another is refused where it is given. Any unless set, at most
    /// [`QUESTION_CHOICES`](crate::limits::QUESTION_CHOICES).
    ///
    /// # Failures
    /// At the wait: terminal, when a choice cannot be written as JSON.
    pub fn choices(mut self, choices: impl IntoIterator<Item = T>) -> Self
    where
        T: Serialize,
    {
        let choices = choices.into_iter().map(|choice| serde_json::to_value(choice));
        match choices.collect::<Result<_, _>>() {
            Ok(choices) => self.question.get_or_insert_default().choices = choices,
            Err(error) => self.unfit = Some(error),
        }
        self
    }

    /// Lets only these people answer, by the names that [`TaskHandle::answer`](crate::TaskHandle::answer) is given; from others, and
    /// from a plain signal, the answer is refused. Anybody unless set. Whether they are who they say is for whoever lets them in.
    pub fn may_answer<S: Into<String>>(mut self, names: impl IntoIterator<Item = S>) -> Self {
        self.question.get_or_insert_default().may_answer = names.into_iter().map(Into::into).collect();
        self
    }

    /// Returns who answered, and when, beside the answer.
    pub fn answered(self) -> Answered<'a, T> {
        Answered(self)
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
        Box::pin(async move { Ok(self.answered().await?.value) })
    }
}

/// A wait about to begin, for a value and whoever sent it; await it. Made by [`Wait::answered`].
#[must_use = "a wait begins when it is awaited"]
#[derive(Debug)]
pub struct Answered<'a, T>(Wait<'a, T>);

impl<'a, T: DeserializeOwned + Send + 'a> IntoFuture for Answered<'a, T> {
    type Output = Result<Answer<T>, Failure>;
    type IntoFuture = Pin<Box<dyn Future<Output = Self::Output> + Send + 'a>>;

    fn into_future(self) -> Self::IntoFuture {
        Box::pin(async move {
            let Wait {
                cx,
                signal,
                question,
                timeout,
                unfit,
            } = self.0;
            if let Some(error) = unfit {
                return Err(Failure::terminal("a choice cannot be written as JSON")
                    .with_kind(ErrorKind::InvalidInput)
                    .with("signal", signal.name())
                    .with("error", error));
            }
            question.as_ref().map_or(Ok(()), Question::check)?;
            let mut claim = Claim {
                cx,
                key: Some(cx.key(Kind::Signal, signal.name())?),
            };
            let wanted = || Wanted::Signal {
                name: signal.name().to_owned(),
                question: question.clone(),
                timeout,
            };
            let answer = cx.outcome::<Answer<T>>(claim.key(), Kind::Signal, wanted).await;
            claim.key = None;
            answer.ok_or_else(|| {
                Failure::terminal("nobody answered in time")
                    .with_kind(ErrorKind::Timeout)
                    .with("signal", signal.name())
            })
        })
    }
}

/// A wait's claim on its key until it has its answer. Dropped before, by a `select!` that went another way, the next wait
/// for this signal goes on with it: an answer must not go to a wait that nobody looks at any more.
pub(super) struct Claim<'a> {
    pub(super) cx: &'a Context,
    pub(super) key: Option<String>,
}

impl Claim<'_> {
    pub(super) fn key(&self) -> &str {
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
                Outcome::Short(short) => {
                    journal.forget(&key);
                    self.run.purse.lack(key, short);
                }
            }
        }
        drop(journal);
        self.run.activity.announce();
    }
}
