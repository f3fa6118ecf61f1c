//! Budgets, as a run draws on them.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use hive_errors::{Error, ErrorKind, Failure, Result};
use serde_json::Value;

use super::activity::Working;
use super::drift::Asked;
use super::{Context, Run};
use crate::budget::ledger::{self, Chain, Need};
use crate::budget::meter::{self, Meter, Rules};
use crate::budget::{Shortage, Spend};
use crate::journal::{self, Entry, Kind, Record, Standing};
use crate::queue::budget::{self, Reservation, Reserved, Settlement, wait_key};
use crate::queue::submit::NewTask;
use crate::queue::wait::{NewWait, Wanted};

/// What a run knows of the accounts on which its task draws.
#[derive(Debug)]
pub(crate) struct Purse {
    pub(crate) chain: Chain,
    /// Shared with its model.
    pub(super) rules: Arc<Rules>,
    /// By call, what its children lacked.
    short: Mutex<HashMap<String, Shortage>>,
}

impl Purse {
    pub(crate) fn new(chain: Chain) -> Self {
        Self {
            rules: Arc::new(Rules::new(chain.clone())),
            chain,
            short: Mutex::default(),
        }
    }

    pub(super) fn lack(&self, key: String, short: Shortage) {
        self.short
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .insert(key, short);
    }

    pub(super) fn lacks(&self, key: &str) -> bool {
        !self.chain.is_empty()
            && self
                .short
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .contains_key(key)
    }

    fn lacked(&self, key: &str) -> Option<Shortage> {
        self.short.lock().unwrap_or_else(PoisonError::into_inner).remove(key)
    }
}

/// A try's reservation.
#[derive(Clone, Debug)]
pub(super) struct Held {
    pub(super) meter: Arc<Meter>,
    /// How long the work may take.
    pub(super) time_left: Option<Duration>,
}

impl Context {
    /// Tells what the step that is under way has used, beside the calls of [`Context::model`], which count themselves. Call it in
    /// the step's work, as soon as it is used. See [`budget`](crate::budget).
    ///
    /// A task without a budget counts nothing.
    ///
    /// # Errors
    /// `invalid-input` outside of a step's work that has [reserved](crate::builders::Step::budget) something, on another task of
    /// the runtime for example.
    pub fn spend(&self, spent: Spend) -> Result<()> {
        if self.run.purse.chain.is_empty() || meter::spend(spent) {
            return Ok(());
        }
        Err(Error::new(ErrorKind::InvalidInput, "something was used without a reservation")
            .with_hint("use it in the work of a step, and let the step reserve with `.budget(…)` or the budget with `each_step`"))
    }

    /// What a step reserves that says this; `None` when nobody counts what it uses.
    async fn to_reserve(&self, said: Option<Spend>) -> Result<Option<Spend>> {
        let purse = &self.run.purse;
        if purse.chain.is_empty() {
            return Ok(None);
        }
        if let Some(said) = said {
            said.check()?;
            return Ok(Some(said));
        }
        let look = |chain| self.run.ask(move |db| ledger::terms(db, &chain));
        let terms = purse.rules.terms(look).await?;
        // Where nothing is limited all of it is counted, and where time is nothing begins too late.
        let nothing = (!terms.limited || terms.timed).then_some(Spend::none());
        Ok(terms.each_step.or(nothing))
    }

    /// Reserves for a try of the step `key`, and waits until that is possible; as long as it waits, the run does not count as working.
    pub(super) async fn reserve<'a>(
        &'a self,
        key: &str,
        said: Option<Spend>,
        working: &mut Option<Working<'a>>,
    ) -> Result<Option<Held>, Failure> {
        let Some(spend) = self.to_reserve(said).await? else {
            return Ok(None);
        };
        let wait = wait_key(key);
        loop {
            let waited = self.run.journal().get(&wait).is_some().then(|| wait.clone());
            let asked = Reservation {
                lease: self.run.lease(),
                chain: self.run.purse.chain.clone(),
                key: key.to_owned(),
                spend,
                waited,
            };
            match self.run.tell(move |tx| budget::reserve(tx, &asked)).await? {
                Reserved::Held { limited, time_left } => {
                    self.run.journal().forget(&wait);
                    return Ok(Some(Held {
                        meter: Meter::new(spend, limited),
                        time_left,
                    }));
                }
                Reserved::Short(short) => {
                    *working = None;
                    self.wait_for_room(key, &short, spend.into()).await?;
                    *working = Some(self.run.activity.work());
                }
            }
        }
    }

    /// Waits until the account may have what is needed.
    async fn wait_for_room(&self, key: &str, short: &Shortage, need: Need) -> Result<(), Failure> {
        if short.fails {
            return Err(exhausted(short));
        }
        let key = wait_key(key);
        let held = Entry {
            kind: Kind::Budget,
            standing: Standing::Held,
            value: None,
        };
        self.run.journal().put(key.clone(), held);
        let what = Wanted::Budget {
            need,
            chain: self.run.purse.chain.clone(),
        };
        let new = NewWait { key: key.clone(), what };
        self.settled(&key, Some(new)).await;
        Ok(())
    }

    /// Settles a try that came to no output.
    pub(super) async fn settle(&self, key: &str, held: &Held, cut: bool) -> Result<(), Failure> {
        let (queue, settlement) = (self.run.queue.clone(), self.run.settlement(key, held.meter.used(cut)));
        self.run.tell(move |tx| budget::settle(tx, &queue, &settlement)).await?;
        Ok(())
    }

    /// Settles a try, and remembers the output that it came to.
    pub(super) async fn settle_with(
        &self,
        record: Record,
        held: &Held,
        version: u32,
        note: Option<String>,
    ) -> Result<(), Failure> {
        let (queue, settlement) = (
            self.run.queue.clone(),
            self.run.settlement(&record.key, held.meter.used(false)),
        );
        self.run
            .tell(move |tx| {
                budget::settle_with(tx, &queue, &settlement, &record)?;
                journal::note(tx, &record, version, note.as_deref())
            })
            .await?;
        Ok(())
    }

    /// Waits for the children of a call, which are made when they are not there yet and the budget has room for them.
    /// In a race, the place of the first that had an output.
    pub(crate) async fn called(
        &self,
        key: &str,
        asked: &Asked,
        mut tasks: Vec<NewTask>,
        parallel: usize,
    ) -> Result<Option<u64>, Failure> {
        let need = Need {
            children: tasks.len() as u64,
            depth: self.run.claimed.depth.saturating_add(1),
            ..Need::default()
        };
        loop {
            let has_account = !self.run.purse.chain.is_empty();
            let children = || Wanted::Children {
                kind: asked.kind,
                // They may be refused, and asked for again.
                tasks: if has_account {
                    tasks.clone()
                } else {
                    std::mem::take(&mut tasks)
                },
                parallel,
            };
            // In a race who won; otherwise nothing, or what a person has said.
            let first = self.outcome_as::<Value>(key, asked, children).await?;
            match self.run.purse.lacked(key) {
                Some(short) => self.wait_for_room(key, &short, need).await?,
                None => return Ok(first.and_then(|first| first.as_u64())),
            }
        }
    }

    /// Waits for the room that a single child under this key did not find.
    pub(super) async fn room_for_child(&self, key: &str) -> Result<(), Failure> {
        let need = Need {
            children: 1,
            depth: self.run.claimed.depth.saturating_add(1),
            ..Need::default()
        };
        match self.run.purse.lacked(key) {
            Some(short) => self.wait_for_room(key, &short, need).await,
            None => Ok(()),
        }
    }
}

impl Run {
    fn settlement(&self, key: &str, used: Spend) -> Settlement {
        Settlement {
            lease: self.lease(),
            chain: self.purse.chain.clone(),
            key: key.to_owned(),
            used,
        }
    }
}

fn exhausted(short: &Shortage) -> Failure {
    Failure::terminal("the budget does not give what is needed")
        .with_kind(ErrorKind::BudgetExhausted)
        .with("account", short.account)
        .with("resource", short.resource.name())
        .with("missing", short.missing)
}
