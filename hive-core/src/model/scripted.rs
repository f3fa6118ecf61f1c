//! A model that answers from a script: deterministic, free and offline.
//!
//! For tests and examples. It is never a fallback: a prompt without an answer in the script is an error.

#[cfg(test)]
mod tests;

use std::collections::VecDeque;
use std::fmt;
use std::sync::{Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use hive_errors::{Error, ErrorKind, Result};
use serde::Serialize;
use serde_json::Value;

use super::request::excerpt;
use super::{Model, Reply, Request, Usage};

/// A model that answers from rules and a queue.
///
/// A request takes the first rule that fits; when none does, it takes the next answer of the queue. Answers of rules
/// are given as often as asked for, those of the queue once. A request with a schema gets the answer as structured
/// output; an answer in text is then read as JSON.
///
/// Usage is counted in words, so that budgets have something to count; the cost is zero unless set.
///
/// ```
/// use hive_core::model::{ModelHandle, scripted::Scripted};
///
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> hive_errors::Result<()> {
/// let model = ModelHandle::new(Scripted::new().on("capital of France", "Paris").on("even numbers", "[2, 4]"));
/// assert_eq!(model.ask("What is the capital of France?").await?, "Paris");
/// assert_eq!(model.extract::<Vec<u8>>("List two even numbers.").await?, [2, 4]);
/// assert!(model.ask("What is the capital of Spain?").await.is_err());
/// # Ok(()) }
/// ```
#[derive(Default)]
pub struct Scripted {
    rules: Vec<Rule>,
    cost_micro_usd: u64,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    queue: VecDeque<Answer>,
    calls: u64,
}

struct Rule {
    fits: Box<Fits>,
    answer: RuleAnswer,
}

type Fits = dyn Fn(&Request) -> bool + Send + Sync;
type Compute = dyn Fn(&Request) -> Result<String> + Send + Sync;

enum RuleAnswer {
    Fixed(Answer),
    Computed(Box<Compute>),
}

#[derive(Clone)]
enum Answer {
    Text(String),
    Json(Value),
    Failure { kind: ErrorKind, message: String },
}

impl Scripted {
    /// A model without any answer.
    pub fn new() -> Self {
        Self::default()
    }

    /// Answers a prompt that contains `part` with `text`.
    #[must_use]
    pub fn on(self, part: impl Into<String>, text: impl Into<String>) -> Self {
        self.rule(contains(part.into()), RuleAnswer::Fixed(Answer::Text(text.into())))
    }

    /// Answers a prompt that contains `part` with this value, as structured output and as its text.
    ///
    /// # Panics
    /// When the value has no JSON form, which is a mistake in the script.
    #[must_use]
    pub fn on_json(self, part: impl Into<String>, value: impl Serialize) -> Self {
        self.rule(contains(part.into()), RuleAnswer::Fixed(Answer::Json(to_json(value))))
    }

    /// Fails a prompt that contains `part` with an error of this kind.
    #[must_use]
    pub fn on_failure(self, part: impl Into<String>, kind: ErrorKind, message: impl Into<String>) -> Self {
        self.rule(
            contains(part.into()),
            RuleAnswer::Fixed(Answer::Failure {
                kind,
                message: message.into(),
            }),
        )
    }

    /// Answers a request that `fits` with what `answer` makes of it, as text.
    #[must_use]
    pub fn when(
        self,
        fits: impl Fn(&Request) -> bool + Send + Sync + 'static,
        answer: impl Fn(&Request) -> Result<String> + Send + Sync + 'static,
    ) -> Self {
        self.rule(fits, RuleAnswer::Computed(Box::new(answer)))
    }

    /// Puts an answer in text at the end of the queue.
    #[must_use]
    pub fn then(self, text: impl Into<String>) -> Self {
        self.queued(Answer::Text(text.into()))
    }

    /// Puts this value at the end of the queue, as structured output and as its text.
    ///
    /// # Panics
    /// When the value has no JSON form, which is a mistake in the script.
    #[must_use]
    pub fn then_json(self, value: impl Serialize) -> Self {
        self.queued(Answer::Json(to_json(value)))
    }

    /// Puts a failure at the end of the queue.
    #[must_use]
    pub fn then_failure(self, kind: ErrorKind, message: impl Into<String>) -> Self {
        self.queued(Answer::Failure {
            kind,
            message: message.into(),
        })
    }

    /// Lets each answer cost this much, in millionths of a US dollar.
    #[must_use]
    pub fn with_cost_micro_usd(mut self, cost: u64) -> Self {
        self.cost_micro_usd = cost;
        self
    }

    /// How many requests came in, those without an answer included.
    pub fn calls(&self) -> u64 {
        self.lock().calls
    }

    /// How many answers wait in the queue.
    pub fn queued_answers(&self) -> usize {
        self.lock().queue.len()
    }

    fn rule(mut self, fits: impl Fn(&Request) -> bool + Send + Sync + 'static, answer: RuleAnswer) -> Self {
        self.rules.push(Rule {
            fits: Box::new(fits),
            answer,
        });
        self
    }

    fn queued(self, answer: Answer) -> Self {
        self.lock().queue.push_back(answer);
        self
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // No code of the script runs under the lock, so a poisoned state is still a whole one.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn answer(&self, request: &Request) -> Result<Answer> {
        self.lock().calls += 1;
        match self
            .rules
            .iter()
            .find(|rule| (rule.fits)(request))
            .map(|rule| &rule.answer)
        {
            Some(RuleAnswer::Fixed(answer)) => Ok(answer.clone()),
            Some(RuleAnswer::Computed(answer)) => answer(request).map(Answer::Text),
            None => self.lock().queue.pop_front().ok_or_else(|| {
                Error::new(ErrorKind::Model, "the script has no answer to this prompt")
                    .with("prompt", excerpt(&request.prompt))
                    .with_hint("add a rule with Scripted::on or an answer with Scripted::then")
                    .terminal()
            }),
        }
    }
}

#[async_trait]
impl Model for Scripted {
    fn name(&self) -> &str {
        "scripted"
    }

    async fn complete(&self, request: Request) -> Result<Reply> {
        let (text, structured) = match self.answer(&request)? {
            Answer::Text(text) if request.schema.is_some() => {
                let value = serde_json::from_str(&text).map_err(|source| {
                    Error::new(
                        ErrorKind::ModelOutput,
                        "the script answers a request for JSON with other text",
                    )
                    .with("prompt", excerpt(&request.prompt))
                    .with("text", excerpt(&text))
                    .with_hint("answer with Scripted::on_json or with JSON text")
                    .with_source(source)
                })?;
                (text, Some(value))
            }
            Answer::Text(text) => (text, None),
            Answer::Json(value) => (value.to_string(), request.schema.is_some().then_some(value)),
            Answer::Failure { kind, message } => return Err(Error::new(kind, message).with("model", self.name())),
        };
        let words = |text: &str| u64::try_from(text.split_whitespace().count()).unwrap_or(u64::MAX);
        let input = words(&request.prompt).saturating_add(request.system.as_deref().map_or(0, words));
        let mut reply = Reply::new(
            self.name(),
            &*text,
            Usage::new(input, words(&text)),
            self.cost_micro_usd,
        );
        reply.structured = structured;
        Ok(reply)
    }
}

impl fmt::Debug for Scripted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = self.lock();
        f.debug_struct("Scripted")
            .field("rules", &self.rules.len())
            .field("queued", &state.queue.len())
            .field("calls", &state.calls)
            .finish_non_exhaustive()
    }
}

fn contains(part: String) -> impl Fn(&Request) -> bool {
    move |request| request.prompt.contains(&part)
}

#[expect(
    clippy::expect_used,
    reason = "a script is written by whoever runs it; a value without JSON form is its bug"
)]
fn to_json(value: impl Serialize) -> Value {
    serde_json::to_value(value).expect("an answer in a script must have a JSON form")
}
