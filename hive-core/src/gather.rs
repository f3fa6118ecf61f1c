//! Many calls as one: what callers ask for at the same time is done together, and each gets its own answer.
//!
//! Nobody waits for company. A caller puts down what it wants and asks for a turn. Who gets one takes what was put down until
//! then, whoever it is from, and does it; what is put down meanwhile goes with the next. So a lone caller is as quick as ever,
//! and a crowd shares what one piece of work costs: a journey to a server, a commit.
//!
//! ```
//! use hive_core::gather::Gather;
//!
//! # #[tokio::main(flavor = "current_thread")] async fn main() -> hive_errors::Result<()> {
//! let gather = Gather::new(1, 100, |number: &u64| (1, *number as usize));
//! // However many call it at the same time: one piece of work for up to a hundred of them.
//! let double = async |numbers: Vec<u64>| Ok(numbers.into_iter().map(|number| Ok(2 * number)).collect());
//! assert_eq!(gather.call(21, double).await?, 42);
//! # Ok(()) }
//! ```
//!
//! # Cancel safety
//!
//! A caller that goes away may have been served or not. Whoever it was working for at that moment ask again, with the same
//! values: the work must come to the same when it is done twice.

#[cfg(test)]
mod tests;

use std::collections::VecDeque;
use std::fmt;
use std::sync::{Mutex, MutexGuard, PoisonError};

use hive_errors::{Error, ErrorKind, Result};
use tokio::sync::{Semaphore, oneshot};

/// Where callers meet. See [the module](self).
pub struct Gather<T, R> {
    waiting: Mutex<VecDeque<Call<T, R>>>,
    turns: Semaphore,
    count_max: usize,
    weight: fn(&T) -> (usize, usize),
}

struct Call<T, R> {
    wanted: T,
    done: oneshot::Sender<Result<R>>,
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
                    Ok(_turn) = self.turns.acquire() => {
                        let calls = self.take();
                        if calls.is_empty() {
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
    fn take(&self) -> Vec<Call<T, R>> {
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

    fn waiting(&self) -> MutexGuard<'_, VecDeque<Call<T, R>>> {
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
