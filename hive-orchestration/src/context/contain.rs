//! Panics of agents end their run and nothing else.

use std::future::{Future, poll_fn};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::pin;
use std::task::Poll;

use hive_errors::Failure;

use super::panicked;

/// Runs the agent's code and turns a panic in it into a failure.
pub(crate) async fn contained<F: Future>(work: F) -> Result<F::Output, Failure> {
    let mut work = pin!(work);
    poll_fn(
        move |task| match catch_unwind(AssertUnwindSafe(|| work.as_mut().poll(task))) {
            Ok(poll) => poll.map(Ok),
            Err(panic) => Poll::Ready(Err(panicked(&*panic))),
        },
    )
    .await
}
