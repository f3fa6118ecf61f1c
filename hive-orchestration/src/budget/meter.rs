//! What a step's work uses while it runs.

use std::future::Future;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use hive_core::db::Db;
use hive_core::model::{Model, ModelHandle, Reply, Request};
use hive_errors::{Error, ErrorKind, Result};
use tokio::sync::OnceCell;

use super::ledger::{self, Chain, Terms};
use super::{Resource, Spend};

tokio::task_local! {
    /// The meter of the try that is being polled, so that branches side by side do not use each other's.
    static METER: Arc<Meter>;
}

/// Counts what one try uses of its reservation.
#[derive(Debug)]
pub(crate) struct Meter {
    reserved: Spend,
    /// Which of tokens, money and calls some account limits.
    limited: [bool; 3],
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    used: Spend,
    /// By calls under way: how many they are, and how many tokens they may write.
    calling: u64,
    promised: u64,
    /// Nobody knows what was used.
    lost: bool,
    /// Nobody knows how many tokens were.
    lost_tokens: bool,
}

impl Meter {
    pub(crate) fn new(reserved: Spend, limited: [bool; 3]) -> Arc<Self> {
        Arc::new(Self {
            reserved,
            limited,
            state: Mutex::default(),
        })
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What the try has used, as far as anybody knows. One that was `cut` off has used all that it reserved.
    pub(crate) fn used(&self, cut: bool) -> Spend {
        let state = self.state();
        let Spend {
            mut tokens,
            mut micro_usd,
            mut calls,
        } = state.used;
        if cut || state.lost {
            micro_usd = micro_usd.max(self.reserved.micro_usd);
            calls = calls.max(self.reserved.calls);
        }
        if cut || state.lost || state.lost_tokens {
            tokens = tokens.max(self.reserved.tokens);
        }
        Spend {
            tokens,
            micro_usd,
            calls,
        }
    }

    /// Lets a model be called, with no more tokens to write than are left.
    fn call(self: Arc<Self>, request: &mut Request) -> Result<Call> {
        let [tokens, micro_usd, calls] = self.limited;
        let mut state = self.state();
        let made = state.used.calls.saturating_add(state.calling);
        if calls && made >= self.reserved.calls {
            return Err(self.used_up(Resource::Calls, self.reserved.calls, made));
        }
        if micro_usd && state.used.micro_usd >= self.reserved.micro_usd {
            return Err(self.used_up(Resource::MicroUsd, self.reserved.micro_usd, state.used.micro_usd));
        }
        let mut promised = 0;
        if tokens {
            let taken = state.used.tokens.saturating_add(state.promised);
            let left = self.reserved.tokens.saturating_sub(taken);
            if left == 0 {
                return Err(self.used_up(Resource::Tokens, self.reserved.tokens, taken));
            }
            let left = u32::try_from(left).unwrap_or(u32::MAX);
            let most = request.max_output_tokens.map_or(left, |asked| asked.min(left));
            request.max_output_tokens = Some(most);
            promised = u64::from(most);
        }
        state.calling += 1;
        state.promised = state.promised.saturating_add(promised);
        drop(state);
        Ok(Call {
            meter: self,
            promised,
            ended: false,
        })
    }

    fn used_up(&self, resource: Resource, reserved: u64, used: u64) -> Error {
        Error::new(
            ErrorKind::BudgetExhausted,
            "what the step reserved does not cover another call of the model",
        )
        .with("resource", resource.name())
        .with("reserved", reserved)
        .with("used", used)
        .with_hint("let the step reserve more with `.budget(…)`, or bound the answers with `max_output_tokens`")
    }
}

/// A call of a model that is under way. Dropped before it has ended, nobody knows what it used.
#[derive(Debug)]
struct Call {
    meter: Arc<Meter>,
    promised: u64,
    ended: bool,
}

impl Call {
    fn ended(mut self, answer: &Result<Reply>) {
        self.ended = true;
        let mut state = self.meter.state();
        match answer {
            Ok(reply) => {
                let spent = Spend::tokens(reply.usage.total()).micro_usd(reply.cost_micro_usd);
                state.used = state.used.plus(spent);
            }
            // It was given up, and nobody was told what it had done until then.
            Err(error) if error.kind() == ErrorKind::Timeout => state.lost = true,
            Err(error) => {
                let cost = error.field("cost_micro_usd").and_then(|cost| cost.parse::<u64>().ok());
                let cost = cost.unwrap_or_default();
                state.used = state.used.plus(Spend::none().micro_usd(cost));
                state.lost_tokens |= cost > 0;
            }
        }
    }
}

impl Drop for Call {
    fn drop(&mut self) {
        let mut state = self.meter.state();
        state.calling = state.calling.saturating_sub(1);
        state.promised = state.promised.saturating_sub(self.promised);
        state.used = state.used.plus(Spend::none().calls(1));
        state.lost |= !self.ended;
    }
}

/// Runs a try's work with its meter at hand.
pub(crate) async fn metered<F: Future>(meter: Option<Arc<Meter>>, work: F) -> F::Output {
    match meter {
        Some(meter) => METER.scope(meter, work).await,
        None => work.await,
    }
}

/// Counts something that the try which is being polled has used; `false` when none is that has a meter.
pub(crate) fn spend(spent: Spend) -> bool {
    METER
        .try_with(|meter| {
            let mut state = meter.state();
            state.used = state.used.plus(spent);
        })
        .is_ok()
}

/// The model of a task that has an account.
#[derive(Debug)]
pub(crate) struct Metered {
    pub(crate) model: ModelHandle,
    pub(crate) db: Db,
    pub(crate) rules: Arc<Rules>,
}

/// The accounts on which a task draws, and what holds for steps that say nothing, looked up when it first matters.
#[derive(Debug)]
pub(crate) struct Rules {
    pub(crate) chain: Chain,
    terms: OnceCell<Terms>,
}

impl Rules {
    pub(crate) fn new(chain: Chain) -> Self {
        Self {
            chain,
            terms: OnceCell::new(),
        }
    }

    /// `look` looks them up.
    pub(crate) async fn terms<F: Future<Output = Result<Terms>>>(
        &self,
        look: impl FnOnce(Chain) -> F,
    ) -> Result<Terms> {
        self.terms.get_or_try_init(|| look(self.chain.clone())).await.copied()
    }
}

#[async_trait]
impl Model for Metered {
    fn name(&self) -> &str {
        self.model.name()
    }

    async fn complete(&self, mut request: Request) -> Result<Reply> {
        let Ok(meter) = METER.try_with(Arc::clone) else {
            let look = |chain| self.db.read(move |db| ledger::terms(db, &chain));
            if !self.rules.terms(look).await?.limited {
                return self.model.complete(request).await;
            }
            return Err(Error::new(
                ErrorKind::InvalidInput,
                "a task with a budget calls a model without a reservation",
            )
            .with("model", self.name())
            .with_hint(
                "call it in a step, and let the step reserve with `.budget(…)` or the budget with `each_step`",
            ));
        };
        let call = meter.call(&mut request)?;
        let answer = self.model.complete(request).await;
        call.ended(&answer);
        answer
    }
}
