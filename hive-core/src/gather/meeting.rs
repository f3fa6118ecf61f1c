//! Callers meet, and one of them works for all.

use std::collections::VecDeque;
use std::fmt;

use hive_errors::{Error, ErrorKind, Result};

use super::sync::{Mutex, MutexGuard, PoisonError, Semaphore, oneshot};

/// Where callers meet. See [the module](crate::gather).
pub struct Gather<T, R> {
    waiting: Mutex<VecDeque<Call<T, R>>>,
    pub(super) turns: Semaphore,
    count_max: usize,
    weight: fn(&T) -> (usize, usize),
}

pub(super) struct Call<T, R> {
    pub(super) wanted: T,
    pub(super) done: oneshot::Sender<Result<R>>,
}

impl<T: Clone, R> Gather<T, R> {
    /// Lets `turns` pieces of work be under way at once, each for calls whose weights, as `weight` tells them, come to no more than
    /// `limit` of either kind, such as rows and kibibytes. A call that is heavier goes alone.
    pub const fn new(turns: usize, limit: usize, weight: fn(&T) -> (usize, usize)) -> Self {
        Self {
            waiting: Mutex::new(VecDeque::new()),
            turns: Semaphore::const_new(turns),
            count_max: limit,
            weight,
        }
    }

    /// Has `work` done for `wanted`, together with what others want at the same time. `work` gives an answer for each value, in
    /// their order; when it fails as a whole, each caller gets an echo of its error.
    ///
    /// # Errors
    /// What `work` answers; `internal` when it gives another number of answers than it was given values.
    pub async fn call<F>(&self, wanted: T, work: impl Fn(Vec<T>) -> F) -> Result<R>
    where
        F: Future<Output = Result<Vec<Result<R>>>>,
    {
        loop {
            let (done, mut told) = oneshot::channel();
            self.waiting().push_back(Call {
                wanted: wanted.clone(),
                done,
            });
            let told = loop {
                tokio::select! {
                    biased;
                    told = &mut told => break told,
                    Ok(turn) = self.turns.acquire() => {
                        let calls = self.take();
                        if calls.is_empty() {
                            // Somebody else works for this call. Whoever comes meanwhile may need the turn.
                            drop(turn);
                            break told.await;
                        }
                        serve(calls, &work).await;
                    }
                }
            };
            match told {
                Ok(answer) => return answer,
                // Whoever was working for this call has gone away.
                Err(_) => continue,
            }
        }
    }

    /// The oldest calls, as many as go together. Those whose callers have gone away are left out.
    pub(super) fn take(&self) -> Vec<Call<T, R>> {
        let mut waiting = self.waiting();
        waiting.retain(|call| !call.done.is_closed());
        let (mut sum, mut first) = ((0_usize, 0_usize), true);
        let full = waiting.iter().position(|call| {
            let (one, other) = (self.weight)(&call.wanted);
            sum = (sum.0.saturating_add(one), sum.1.saturating_add(other));
            let fits = std::mem::take(&mut first) || sum.0.max(sum.1) <= self.count_max;
            !fits
        });
        let count = full.unwrap_or(waiting.len());
        waiting.drain(..count).collect()
    }

    pub(super) fn waiting(&self) -> MutexGuard<'_, VecDeque<Call<T, R>>> {
        // Nothing panics while it holds the lock.
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

async fn serve<T: Clone, R, F>(calls: Vec<Call<T, R>>, work: &impl Fn(Vec<T>) -> F)
where
    F: Future<Output = Result<Vec<Result<R>>>>,
{
    let answers = work(calls.iter().map(|call| call.wanted.clone()).collect()).await;
    match answers {
        Ok(answers) if answers.len() == calls.len() => {
            for (call, answer) in calls.into_iter().zip(answers) {
                // A caller that has gone away does not ask.
                let _gone = call.done.send(answer);
            }
        }
        Ok(_) => {
            for call in calls {
                let error = Error::new(ErrorKind::Internal, "work for many gave another number of answers");
                let _gone = call.done.send(Err(error));
            }
        }
        Err(error) => {
            let mut calls = calls;
            let last = calls.pop();
            for call in calls {
                let _gone = call.done.send(Err(error.echo()));
            }
            if let Some(call) = last {
                let _gone = call.done.send(Err(error));
            }
        }
    }
}

impl<T, R> fmt::Debug for Gather<T, R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Gather").finish_non_exhaustive()
    }
}
