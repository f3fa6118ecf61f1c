//! The one trait: an agent takes a typed input, does its work through a [`Context`], and returns a typed output.

mod capability;
mod declaration;

#[cfg(test)]
mod tests;

use std::fmt;
use std::future::Future;
use std::marker::PhantomData;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use hive_core::payload::{Payload, Schema};
use hive_errors::{ErrorKind, Failure, Result, RetryPolicy};
use schemars::JsonSchema;
use serde::Serialize;
use serde::de::DeserializeOwned;

pub use self::capability::Capability;
pub(crate) use self::capability::{check_dotted, shown};
pub use self::declaration::Declaration;
use self::declaration::Profile;
use crate::context::Context;
use crate::limits;

/// Something that does durable work.
///
/// A workflow is an agent too: one that calls other agents. Write [`run`](Agent::run) as `async fn`.
///
/// ```
/// use hive_orchestration::{Agent, Context, Failure};
///
/// struct Shout;
///
/// impl Agent for Shout {
///     const NAME: &'static str = "shout";
///     type Input = String;
///     type Output = String;
///
///     async fn run(&self, _cx: &Context, text: String) -> Result<String, Failure> {
///         Ok(text.to_uppercase())
///     }
/// }
/// ```
pub trait Agent: Send + Sync + 'static {
    /// The name under which tasks are submitted; stored with every task, so renaming an agent orphans its open tasks.
    const NAME: &'static str;

    /// Which release of the agent this is, as major.minor.patch. Whoever submits may ask for a range of versions; raise it
    /// when the input, the output or what the agent promises changes.
    const VERSION: &'static str = declaration::VERSION;

    /// What it can do, for those who ask for a capability and not for an agent.
    const CAPABILITIES: &'static [Capability] = &[];

    /// The fields that it is at home in, named as capabilities are, for those who look for a specialist. Without any it
    /// takes whatever comes.
    const DOMAINS: &'static [&'static str] = &[];

    /// Its share where tasks are shared out by weight: 1 unless set, at most [`WEIGHT_MAX`](crate::limits::WEIGHT_MAX).
    const WEIGHT: u32 = declaration::WEIGHT;

    /// How many of its runs may go on at once in one process; as many as the process has slots unless set. Those that wait do
    /// not count. For an agent that needs something scarce, such as memory or a licence.
    const CONCURRENCY: Option<usize> = None;

    /// What it takes. Checked against this type when a task is submitted.
    type Input: Serialize + DeserializeOwned + JsonSchema + Send + 'static;

    /// What it returns.
    type Output: Serialize + DeserializeOwned + JsonSchema + Send + 'static;

    /// Does the work. May be called several times for one task, after failures, waits and crashes: what must not happen
    /// twice belongs in a [step](Context::step).
    ///
    /// # Cancel safety
    /// The future is dropped at an await point when the task waits for long, is cancelled, or the process shuts down.
    fn run(&self, cx: &Context, input: Self::Input) -> impl Future<Output = Result<Self::Output, Failure>> + Send;

    /// What happens after a failure that is not terminal; three attempts with exponential back-off unless overridden.
    fn retry(&self) -> RetryPolicy {
        RetryPolicy::exponential(3)
    }

    /// How long one attempt may run, waits apart; one hour unless overridden. Afterwards it has failed, retryably.
    fn timeout(&self) -> Duration {
        limits::ATTEMPT_TIMEOUT
    }
}

pub(crate) type RunFuture<'a> = Pin<Box<dyn Future<Output = Result<Payload, Failure>> + Send + 'a>>;

/// An agent with its types erased; made from any [`Agent`], or by [`agent_fn`].
#[derive(Clone)]
pub struct AnyAgent {
    inner: Arc<dyn Erased>,
    profile: Arc<Profile>,
}

/// What the hive asks of an agent, whatever it is made of.
pub(crate) trait Erased: Send + Sync {
    fn name(&self) -> &str;
    fn input_schema(&self) -> Schema;
    fn output_schema(&self) -> Schema;
    fn retry(&self) -> RetryPolicy;
    fn timeout(&self) -> Duration;
    fn check(&self, input: &Payload) -> Result<()>;
    fn run<'a>(&'a self, cx: &'a Context, input: &'a Payload) -> RunFuture<'a>;

    /// Whether its code is not in this process, so that running it always does something.
    fn is_foreign(&self) -> bool {
        false
    }

    /// Ends whatever the agent keeps between runs, once there will be no more of them.
    fn close(&self) -> Pin<Box<dyn Future<Output = ()> + Send + '_>> {
        Box::pin(async {})
    }
}

impl AnyAgent {
    #[cfg(all(feature = "process", unix))]
    pub(crate) fn erased(inner: impl Erased + 'static) -> Self {
        Self::new(inner, Profile::default())
    }

    fn new(inner: impl Erased + 'static, profile: Profile) -> Self {
        Self {
            inner: Arc::new(inner),
            profile: Arc::new(profile),
        }
    }

    /// The agent's name.
    pub fn name(&self) -> &str {
        self.inner.name()
    }

    /// Gives it a version, as [`Agent::VERSION`] does.
    ///
    /// What is given here and below is checked by [`Builder::start`](crate::builders::Builder::start).
    ///
    /// ```
    /// use hive_orchestration::{Context, Failure, agent_fn};
    ///
    /// let shout = agent_fn("shout", async |_cx: Context, text: String| Ok::<_, Failure>(text.to_uppercase()))
    ///     .with_version("1.2.0")
    ///     .with_capability("text.shout")
    ///     .with_domain("english")
    ///     .with_metadata("owner", "ada");
    /// assert_eq!(shout.declaration()?.version().to_string(), "1.2.0");
    /// # Ok::<(), hive_orchestration::Error>(())
    /// ```
    #[must_use]
    pub fn with_version(self, version: impl Into<String>) -> Self {
        self.with(|profile| profile.version = version.into())
    }

    /// Adds something that it can do to [`Agent::CAPABILITIES`].
    #[must_use]
    pub fn with_capability(self, capability: impl Into<String>) -> Self {
        self.with(|profile| profile.capabilities.push(capability.into()))
    }

    /// Adds a field that it is at home in to [`Agent::DOMAINS`].
    #[must_use]
    pub fn with_domain(self, domain: impl Into<String>) -> Self {
        self.with(|profile| profile.domains.push(domain.into()))
    }

    /// Gives it a weight, as [`Agent::WEIGHT`] does.
    #[must_use]
    pub fn with_weight(self, weight: u32) -> Self {
        self.with(|profile| profile.weight = weight)
    }

    /// Adds something that people or programs may want to know of it. A key that is there already gets the new value.
    #[must_use]
    pub fn with_metadata(self, key: impl Into<String>, value: impl Into<String>) -> Self {
        self.with(|profile| profile.metadata.push((key.into(), value.into())))
    }

    /// Lets at most so many of its runs go on at once in this process, as [`Agent::CONCURRENCY`] does; at least 1.
    #[must_use]
    pub fn with_concurrency(self, limit: usize) -> Self {
        self.with(|profile| profile.concurrency = Some(limit))
    }

    fn with(mut self, change: impl FnOnce(&mut Profile)) -> Self {
        change(Arc::make_mut(&mut self.profile));
        self
    }

    /// What the agent says of itself.
    ///
    /// # Errors
    /// `invalid-input`, `limit-reached` or `payload-too-large`, naming the field, for what is not valid.
    pub fn declaration(&self) -> Result<Declaration> {
        Declaration::check(
            self.name(),
            &self.profile,
            self.inner.input_schema(),
            self.inner.output_schema(),
        )
    }

    /// The JSON Schema of its input.
    pub fn input_schema(&self) -> Schema {
        self.inner.input_schema()
    }

    /// The JSON Schema of its output.
    pub fn output_schema(&self) -> Schema {
        self.inner.output_schema()
    }

    pub(crate) fn retry(&self) -> RetryPolicy {
        self.inner.retry()
    }

    pub(crate) fn timeout(&self) -> Duration {
        self.inner.timeout()
    }

    /// How many of its runs may go on at once in this process, where that is limited.
    pub(crate) fn concurrency(&self) -> Option<usize> {
        self.profile.concurrency
    }

    /// Whether the input fits the agent's type.
    pub(crate) fn check(&self, input: &Payload) -> Result<()> {
        self.inner
            .check(input)
            .map_err(|error| error.with("agent", self.name()))
    }

    pub(crate) fn run<'a>(&'a self, cx: &'a Context, input: &'a Payload) -> RunFuture<'a> {
        self.inner.run(cx, input)
    }

    pub(crate) fn is_foreign(&self) -> bool {
        self.inner.is_foreign()
    }

    pub(crate) async fn close(&self) {
        self.inner.close().await;
    }
}

impl fmt::Debug for AnyAgent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("AnyAgent").field(&self.name()).finish()
    }
}

impl<A: Agent> From<A> for AnyAgent {
    fn from(agent: A) -> Self {
        let profile = Profile {
            version: A::VERSION.to_owned(),
            capabilities: A::CAPABILITIES.iter().map(ToString::to_string).collect(),
            domains: A::DOMAINS.iter().map(ToString::to_string).collect(),
            weight: A::WEIGHT,
            metadata: Vec::new(),
            concurrency: A::CONCURRENCY,
        };
        Self::new(Typed(agent), profile)
    }
}

struct Typed<A>(A);

impl<A: Agent> Erased for Typed<A> {
    fn name(&self) -> &str {
        A::NAME
    }

    fn input_schema(&self) -> Schema {
        Schema::of::<A::Input>()
    }

    fn output_schema(&self) -> Schema {
        Schema::of::<A::Output>()
    }

    fn retry(&self) -> RetryPolicy {
        self.0.retry()
    }

    fn timeout(&self) -> Duration {
        self.0.timeout()
    }

    fn check(&self, input: &Payload) -> Result<()> {
        input.decode::<A::Input>().map(drop)
    }

    fn run<'a>(&'a self, cx: &'a Context, input: &'a Payload) -> RunFuture<'a> {
        Box::pin(async move {
            let output = self.0.run(cx, decode(input)?).await?;
            encode(&output)
        })
    }
}

/// The input was checked at submit; that it does not fit now means that the type has changed since. Another attempt of
/// the same code would not help.
fn decode<T: DeserializeOwned>(input: &Payload) -> Result<T, Failure> {
    input.decode().map_err(|error| {
        Failure::from(error)
            .with_kind(ErrorKind::Drift)
            .into_terminal()
            .with_hint(
                "the input was accepted by an earlier version of the agent; make the new type read the old form too",
            )
    })
}

fn encode<T: Serialize>(output: &T) -> Result<Payload, Failure> {
    Payload::encode(output, limits::PAYLOAD_BYTES).map_err(|error| Failure::from(error).into_terminal())
}

/// Makes an agent of a closure, for small ones.
///
/// ```
/// use hive_orchestration::{Context, Failure, agent_fn};
///
/// let shout = agent_fn("shout", async |_cx: Context, text: String| Ok::<_, Failure>(text.to_uppercase()));
/// assert_eq!(shout.name(), "shout");
/// ```
pub fn agent_fn<I, O, F, Fut>(name: impl Into<String>, work: F) -> AnyAgent
where
    I: Serialize + DeserializeOwned + JsonSchema + Send + 'static,
    O: Serialize + DeserializeOwned + JsonSchema + Send + 'static,
    F: Fn(Context, I) -> Fut + Send + Sync + 'static,
    Fut: Future<Output = Result<O, Failure>> + Send + 'static,
{
    let closure = Closure {
        name: name.into(),
        work,
        types: PhantomData,
    };
    AnyAgent::new(closure, Profile::default())
}

struct Closure<I, O, F> {
    name: String,
    work: F,
    types: PhantomData<fn(I) -> O>,
}

impl<I, O, F, Fut> Erased for Closure<I, O, F>
where
    I: Serialize + DeserializeOwned + JsonSchema + Send + 'static,
    O: Serialize + DeserializeOwned + JsonSchema + Send + 'static,
    F: Fn(Context, I) -> Fut + Send + Sync + 'static,
    Fut: Future<Output = Result<O, Failure>> + Send + 'static,
{
    fn name(&self) -> &str {
        &self.name
    }

    fn input_schema(&self) -> Schema {
        Schema::of::<I>()
    }

    fn output_schema(&self) -> Schema {
        Schema::of::<O>()
    }

    fn retry(&self) -> RetryPolicy {
        RetryPolicy::exponential(3)
    }

    fn timeout(&self) -> Duration {
        limits::ATTEMPT_TIMEOUT
    }

    fn check(&self, input: &Payload) -> Result<()> {
        input.decode::<I>().map(drop)
    }

    fn run<'a>(&'a self, cx: &'a Context, input: &'a Payload) -> RunFuture<'a> {
        Box::pin(async move {
            let output = (self.work)(cx.clone(), decode(input)?).await?;
            encode(&output)
        })
    }
}
