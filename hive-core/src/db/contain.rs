//! Runs code that is not ours on threads that must go on.

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};

use hive_errors::{Error, ErrorKind};

/// What `work` returns, or its panic as an error.
pub(super) fn contained<T>(what: &'static str, work: impl FnOnce() -> T) -> Result<T, Error> {
    catch_unwind(AssertUnwindSafe(work)).map_err(|panic| {
        let error = Error::new(ErrorKind::Panic, what).with("panic", message(&*panic));
        // What was thrown may itself panic when it is dropped; then a small leak is the lesser evil.
        if let Err(another) = catch_unwind(AssertUnwindSafe(|| drop(panic))) {
            std::mem::forget(another);
        }
        error
    })
}

fn message(panic: &(dyn Any + Send)) -> &str {
    let text = panic.downcast_ref::<&str>().copied();
    text.or_else(|| panic.downcast_ref::<String>().map(String::as_str))
        .unwrap_or("a panic without a message")
}
