//! Runs a plugin's futures, which are over as soon as they are polled.

use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, Wake, Waker};

use crate::failure::Failure;

#[cfg(test)]
mod tests;

struct Woken(AtomicBool);

impl Wake for Woken {
    fn wake(self: Arc<Self>) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// Runs a future to its end. Calls to the host are over when they return, so a future made of them is never pending; one
/// that is, and that nobody woke meanwhile, would be so for ever.
pub(crate) fn drive<F: Future>(future: F) -> Result<F::Output, Failure> {
    let woken = Arc::new(Woken(AtomicBool::new(false)));
    let waker = Waker::from(Arc::clone(&woken));
    let mut context = Context::from_waker(&waker);
    let mut future = pin!(future);
    loop {
        match future.as_mut().poll(&mut context) {
            Poll::Ready(output) => return Ok(output),
            Poll::Pending if woken.0.swap(false, Ordering::Relaxed) => {}
            Poll::Pending => {
                return Err(
                    Failure::terminal("the agent waits for something that cannot happen in a plugin")
                        .with_hint("await only what this crate offers; timers, threads and sockets do not exist here"),
                );
            }
        }
    }
}
