//! One attempt in a child process, seen from the hive: what the process says is done on the agent's behalf.

use std::future::{pending, poll_fn};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::Poll;
use std::time::Duration;

use hive_core::clock::{SystemClock, timeout};
use hive_core::payload::Payload;
use hive_errors::{ErrorKind, Failure};
use tokio::sync::oneshot;

use super::pool::{News, Pool, Ticket};
use super::protocol::{Answer, Said, ToChild};
use crate::context::{Context, Effect};
use crate::limits;

/// Runs one attempt.
///
/// # Cancel safety
/// Dropped, the process is told to stop working on the task.
pub(super) async fn run(pool: &Pool, cx: &Context, input: &Payload) -> Result<Payload, Failure> {
    let spec = pool.spec();
    // No two attempts have the same, so that a late word about one is not taken for one about another.
    let id = format!("{}/{}", cx.task_id(), cx.attempt());
    let line = ToChild::Task {
        id: &id,
        task: cx.task_id().to_string(),
        root: cx.root_id().to_string(),
        tenant: cx.tenant(),
        agent: &spec.name,
        attempt: cx.attempt(),
        deadline_ms: u64::try_from(spec.timeout.as_millis()).unwrap_or(u64::MAX),
        input,
    }
    .line()?;
    let mut talk = Talk {
        cx,
        ticket: pool.submit(id, line).await?,
        open: Vec::new(),
        ahead: None,
    };
    // Starting a program has limits of its own.
    match talk.ticket.news.recv().await {
        Some(News::Begun) => {}
        Some(News::Said(said)) => talk.ahead = Some(said),
        None => return Err(talk.ticket.why()),
    }
    let held = match timeout(&SystemClock, spec.timeout, talk.listen()).await {
        Ok(Outcome::Over(result)) => return result,
        Ok(Outcome::Held(step)) => step,
        Err(_) => return Err(late(spec.timeout)),
    };
    // A person decides, and meanwhile the process is free for others. With nothing left but this wait, the run is parked.
    drop(talk);
    held.await?;
    Err(Failure::retryable("a step was decided while its process was being let go").with_retry_after(Duration::ZERO))
}

fn late(limit: Duration) -> Failure {
    Failure::retryable("the process took longer than it may")
        .with_kind(ErrorKind::Timeout)
        .with("limit", format!("{limit:?}"))
}

type StepFuture<'a> = Pin<Box<dyn Future<Output = Result<Payload, Failure>> + Send + 'a>>;

/// How a conversation ended.
enum Outcome<'a> {
    Over(Result<Payload, Failure>),
    /// This step waits for a person.
    Held(StepFuture<'a>),
}

/// A step that the process has asked about.
struct Open<'a> {
    name: String,
    /// The question to answer next: first the one after the output, then the one that handed it over.
    call: u64,
    future: StepFuture<'a>,
    /// Set by the step when it is not on record.
    missing: Arc<AtomicBool>,
    standing: Standing,
    put: Option<oneshot::Sender<Result<Payload, Failure>>>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Standing {
    /// It is being looked up.
    Asked,
    /// The process does it.
    Doing,
    /// Its outcome is being written down.
    Put,
}

struct Talk<'a> {
    cx: &'a Context,
    ticket: Ticket,
    open: Vec<Open<'a>>,
    /// A message that was looked at too early.
    ahead: Option<Said>,
}

/// What became of an open step.
enum Step {
    Missing(usize),
    Ended(usize, Result<Payload, Failure>),
    Held(usize),
}

enum Event {
    News(Option<News>),
    Step(Step),
}

impl<'a> Talk<'a> {
    async fn listen(&mut self) -> Outcome<'a> {
        loop {
            let event = match self.ahead.take() {
                Some(said) => Event::News(Some(News::Said(said))),
                None => tokio::select! {
                    // What the process has asked is answered before it is heard again.
                    biased;
                    step = steps(self.cx, &mut self.open) => Event::Step(step),
                    news = self.ticket.news.recv(), if self.open.len() < limits::PROCESS_STEPS_OPEN => Event::News(news),
                },
            };
            let over = match event {
                Event::Step(Step::Held(index)) => return Outcome::Held(self.open.swap_remove(index).future),
                Event::Step(Step::Missing(index)) => self.missing(index),
                Event::Step(Step::Ended(index, outcome)) => self.ended(index, outcome),
                Event::News(Some(News::Begun)) => Ok(None),
                Event::News(Some(News::Said(said))) => self.heed(said).await,
                Event::News(None) => Err(self.lost().await),
            };
            match over {
                Ok(None) => {}
                Ok(Some(output)) => return Outcome::Over(checked(output)),
                Err(failure) => return Outcome::Over(Err(failure)),
            }
        }
    }

    async fn heed(&mut self, said: Said) -> Result<Option<Payload>, Failure> {
        match said {
            Said::Output(output) => Ok(Some(output)),
            Said::Failure(failure) => Err(failure),
            Said::Progress { done, total, note } => {
                let (done, total, note) = self.latest((done, total, note));
                self.cx.progress(done, total, note).await.map(|()| None)
            }
            Said::StepGet { call, name, effect } => {
                let step = self.step(call, name, effect);
                self.open.push(step);
                Ok(None)
            }
            Said::StepPut { call, name, outcome } => self.put(call, &name, outcome),
        }
    }

    /// Only the last word of many counts, and each costs a write.
    fn latest(&mut self, mut progress: (u64, u64, String)) -> (u64, u64, String) {
        while let Ok(news) = self.ticket.news.try_recv() {
            match news {
                News::Said(Said::Progress { done, total, note }) => progress = (done, total, note),
                News::Said(said) => {
                    self.ahead = Some(said);
                    break;
                }
                News::Begun => {}
            }
        }
        progress
    }

    fn step(&self, call: u64, name: String, effect: Effect) -> Open<'a> {
        let (cx, step) = (self.cx, name.clone());
        let (put, outcome) = oneshot::channel();
        let missing = Arc::new(AtomicBool::new(false));
        let (flag, mut outcome) = (Arc::clone(&missing), Some(outcome));
        let future = Box::pin(async move {
            let work =
                || {
                    flag.store(true, Ordering::Release);
                    let outcome = outcome.take();
                    async move {
                        match outcome {
                            Some(outcome) => match outcome.await {
                                Ok(outcome) => outcome,
                                // The attempt is over, and this with it.
                                Err(_) => pending().await,
                            },
                            None => Err(Failure::terminal("a step was to be done twice in one run")
                                .with_kind(ErrorKind::Internal)),
                        }
                    }
                };
            cx.step(&step, work).effect(effect).await
        });
        Open {
            name,
            call,
            future,
            missing,
            standing: Standing::Asked,
            put: Some(put),
        }
    }

    /// It is not on record: the process does it.
    fn missing(&mut self, index: usize) -> Result<Option<Payload>, Failure> {
        if let Some(step) = self.open.get_mut(index) {
            step.standing = Standing::Doing;
            let call = step.call;
            self.reply(call, Answer::Missing { found: false })?;
        }
        Ok(None)
    }

    fn put(&mut self, call: u64, name: &str, outcome: Result<Payload, Failure>) -> Result<Option<Payload>, Failure> {
        // Of several with the same name, in the order in which they were asked for.
        let mut doing = self.open.iter_mut();
        let found = doing.find(|step| step.standing == Standing::Doing && step.name == name);
        match found.and_then(|step| Some((step.put.take()?, step))) {
            Some((put, step)) => {
                step.call = call;
                step.standing = Standing::Put;
                // The step is in the list, so it waits for this.
                let _ = put.send(outcome);
            }
            None => {
                let refused = Failure::terminal("no step of this name is under way; ask for it with `step.get` first")
                    .with_kind(ErrorKind::InvalidInput)
                    .with("step", name);
                self.reply(call, Answer::refused(&refused))?;
            }
        }
        Ok(None)
    }

    fn ended(&mut self, index: usize, outcome: Result<Payload, Failure>) -> Result<Option<Payload>, Failure> {
        let Open { call, standing, .. } = self.open.remove(index);
        let answer = match outcome {
            Ok(_) if standing == Standing::Put => Answer::Stored { stored: true },
            Ok(output) => Answer::Found { found: true, output },
            Err(failure) => Answer::refused(&failure),
        };
        self.reply(call, answer)?;
        Ok(None)
    }

    fn reply(&self, call: u64, answer: Answer) -> Result<(), Failure> {
        let id = self.ticket.id();
        self.ticket.reply(ToChild::Reply { id, call, answer }.line()?);
        Ok(())
    }

    /// The process is gone. What it handed over before is still written down.
    async fn lost(&mut self) -> Failure {
        self.open.retain(|step| step.standing == Standing::Put);
        while !self.open.is_empty() {
            match steps(self.cx, &mut self.open).await {
                Step::Missing(index) | Step::Ended(index, _) | Step::Held(index) => drop(self.open.remove(index)),
            }
        }
        self.ticket.why()
    }
}

/// Waits until something becomes of one of the open steps; for ever when there is none.
///
/// # Cancel safety
/// Nothing is lost when the future is dropped.
async fn steps(cx: &Context, open: &mut [Open<'_>]) -> Step {
    poll_fn(|task| {
        for (index, step) in open.iter_mut().enumerate() {
            let waits = cx.run.activity.waiting();
            if let Poll::Ready(outcome) = step.future.as_mut().poll(task) {
                return Poll::Ready(Step::Ended(index, outcome));
            }
            if step.standing == Standing::Asked {
                if step.missing.load(Ordering::Acquire) {
                    return Poll::Ready(Step::Missing(index));
                }
                // Of all that a step does, only a person's decision is a wait.
                if cx.run.activity.waiting() > waits {
                    return Poll::Ready(Step::Held(index));
                }
            }
        }
        Poll::Pending
    })
    .await
}

fn checked(output: Payload) -> Result<Payload, Failure> {
    if output.size() <= limits::PAYLOAD_BYTES {
        return Ok(output);
    }
    Err(Failure::terminal("the output is too large")
        .with_kind(ErrorKind::PayloadTooLarge)
        .with("size", output.size())
        .with("limit", limits::PAYLOAD_BYTES))
}
