use std::future::{pending, poll_fn};

use super::*;

#[test]
fn a_future_that_wakes_itself_goes_on() {
    let mut left = 3;
    let output = drive(poll_fn(|context| {
        left -= 1;
        context.waker().wake_by_ref();
        if left == 0 { Poll::Ready("done") } else { Poll::Pending }
    }));
    assert_eq!(output.unwrap(), "done");
}

#[test]
fn a_future_that_nobody_wakes_ends_with_a_failure() {
    assert!(drive(pending::<()>()).unwrap_err().is_terminal());
}
