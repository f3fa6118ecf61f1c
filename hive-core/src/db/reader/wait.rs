//! Waits for a future on a thread that is nobody's runtime.

use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll, Wake, Waker};
use std::thread::{self, Thread};
use std::time::Duration;

use super::super::deadline::Deadline;

struct Unpark(Thread);

impl Wake for Unpark {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
    }
}

/// What `future` comes to, or `None` when it takes longer than `at_most`. It must not need a runtime.
pub(super) fn until<F: Future>(future: F, at_most: Duration) -> Option<F::Output> {
    let waker = Waker::from(Arc::new(Unpark(thread::current())));
    let deadline = Deadline::after(at_most);
    let mut future = pin!(future);
    loop {
        if let Poll::Ready(value) = future.as_mut().poll(&mut Context::from_waker(&waker)) {
            return Some(value);
        }
        match deadline.left() {
            Duration::ZERO => return None,
            left => thread::park_timeout(left),
        }
    }
}
