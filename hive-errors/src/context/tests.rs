use std::error::Error as StdError;
use std::num::ParseIntError;
use std::time::Duration;

use crate::{Error, ErrorKind, Failure, Result, ResultExt};

const SECOND: Duration = Duration::from_secs(1);

fn foreign() -> Result<u8, ParseIntError> {
    "x".parse::<u8>()
}

fn hive() -> Result<u8> {
    Err(Error::new(ErrorKind::Timeout, "slow")
        .with("after", 5)
        .with_hint("be quick")
        .with_retry_after(SECOND))
}

fn failure() -> Result<u8, Failure> {
    Err(Failure::terminal("no").with_kind(ErrorKind::Drift).with("step", "plan"))
}

#[test]
fn context_on_a_foreign_error_is_internal_yet_retryable() {
    let error = foreign().context("failed to read the port").unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Internal);
    assert!(error.is_retryable(), "nothing speaks against another attempt");
    assert_eq!(error.to_string(), "failed to read the port");
    assert!(error.source().unwrap().is::<ParseIntError>());
    assert!(
        !Failure::from(error).is_terminal(),
        "`?` with and without context agree"
    );
}

#[test]
fn context_on_a_hive_error_keeps_what_callers_decide_by() {
    let error = hive().context("failed to ask").unwrap_err();
    assert_eq!(
        (error.kind(), error.retry_after(), error.hint()),
        (ErrorKind::Timeout, Some(SECOND), "be quick")
    );
    assert!(error.is_retryable());
    assert_eq!(error.field("after"), None, "fields belong to the layer below");
    assert_eq!(error.source().unwrap().to_string(), "slow (after=5)");

    let terminal = hive().map_err(Error::terminal).context("failed to ask").unwrap_err();
    assert!(!terminal.is_retryable());
    let retryable = Err::<(), _>(Error::new(ErrorKind::Conflict, "busy").retryable())
        .context("outer")
        .unwrap_err();
    assert!(retryable.is_retryable());
}

#[test]
fn context_on_a_failure_keeps_it_a_failure() {
    let outer = failure().context("failed to plan").unwrap_err();
    assert_eq!((outer.kind(), outer.is_terminal()), (ErrorKind::Drift, true));
    assert_eq!(outer.to_string(), "failed to plan");
    assert_eq!(outer.causes(), ["no (step=plan)"]);
    let outermost = Err::<(), _>(outer)
        .with_context(|| format!("attempt {}", 2))
        .unwrap_err();
    assert_eq!(outermost.causes(), ["failed to plan", "no (step=plan)"]);
}

#[test]
fn or_kind_overrules_kind_and_verdict_but_not_the_retry_time() {
    let error = hive()
        .map_err(Error::terminal)
        .or_kind(ErrorKind::Model, "failed to ask")
        .unwrap_err();
    assert_eq!((error.kind(), error.retry_after()), (ErrorKind::Model, Some(SECOND)));
    assert!(error.is_retryable());
    assert_eq!(error.hint(), ErrorKind::Model.hint());

    let error = failure().or_kind(ErrorKind::Model, "failed to ask").unwrap_err();
    assert_eq!((error.kind(), error.is_retryable()), (ErrorKind::Model, true));
    assert_eq!(error.source().unwrap().to_string(), "no (step=plan)");

    let error = foreign()
        .or_kind(ErrorKind::Config, "port is not a number")
        .unwrap_err();
    assert_eq!((error.kind(), error.is_retryable()), (ErrorKind::Config, false));
}

#[test]
fn terminal_and_retryable_overrule_any_error() {
    assert!(foreign().terminal().unwrap_err().is_terminal());
    assert!(!foreign().retryable().unwrap_err().is_terminal());
    assert!(hive().terminal().unwrap_err().is_terminal());
    assert!(failure().terminal().unwrap_err().is_terminal());
    assert!(!failure().retryable().unwrap_err().is_terminal());

    let kept = hive().terminal().unwrap_err();
    assert_eq!(
        (kept.kind(), kept.field("after"), kept.hint()),
        (ErrorKind::Timeout, Some("5"), "be quick")
    );
}

#[test]
fn success_passes_and_costs_no_message() {
    let fine: Result<u8, ParseIntError> = "7".parse();
    let seven = fine.with_context(|| -> String { panic!("message was built") }).unwrap();
    assert_eq!(seven, 7);
}
