use std::sync::Arc;
use std::time::Duration;

use hive_errors::ErrorKind;
use serde_json::json;

use super::*;
use crate::clock::{ManualClock, Timestamp};
use crate::limits::{MODEL_PROMPT_BYTES_MAX, MODEL_TIMEOUT_DEFAULT};
use crate::payload::Schema;

/// Never answers and does not look at its deadline.
#[derive(Debug)]
struct Silent;

#[async_trait]
impl Model for Silent {
    fn name(&self) -> &str {
        "silent"
    }

    async fn complete(&self, _: Request) -> Result<Reply> {
        std::future::pending().await
    }
}

/// Answers with this, whatever was asked.
#[derive(Debug)]
struct Fixed(Reply);

#[async_trait]
impl Model for Fixed {
    fn name(&self) -> &str {
        "fixed"
    }

    async fn complete(&self, _: Request) -> Result<Reply> {
        Ok(self.0.clone())
    }
}

#[tokio::test]
async fn a_handle_keeps_the_deadline_for_a_model_that_does_not() {
    let clock = ManualClock::new(Timestamp::EPOCH);
    let model = ModelHandle::new(Silent).with_clock(Arc::new(clock.clone()));
    let call = tokio::spawn(async move { model.ask("anyone there?").await });
    clock.until_sleepers(1).await;
    assert_eq!(clock.next(), Some(MODEL_TIMEOUT_DEFAULT));
    clock.advance(MODEL_TIMEOUT_DEFAULT);
    let error = call.await.unwrap().unwrap_err();
    assert_eq!(
        (error.kind(), error.field("model")),
        (ErrorKind::Timeout, Some("silent"))
    );
}

#[tokio::test]
async fn impossible_requests_are_refused_before_the_model_sees_them() {
    let model = ModelHandle::new(scripted::Scripted::new().on("", "answered"));
    let check = async |request: Request, kind: ErrorKind, name: Option<&str>| {
        let error = model.complete(request).await.unwrap_err();
        assert_eq!((error.kind(), error.field("name")), (kind, name), "{error}");
    };
    check(Request::new(" \n"), ErrorKind::InvalidInput, Some("prompt")).await;
    check(
        Request::new("a").with_timeout(Duration::ZERO),
        ErrorKind::InvalidInput,
        Some("timeout"),
    )
    .await;
    check(
        Request::new("a").with_max_output_tokens(0),
        ErrorKind::InvalidInput,
        Some("max_output_tokens"),
    )
    .await;
    let large = "x".repeat(MODEL_PROMPT_BYTES_MAX);
    check(
        Request::new("a").with_system(large.clone()),
        ErrorKind::PayloadTooLarge,
        None,
    )
    .await;
    assert_eq!(
        model.ask(large).await.unwrap(),
        "answered",
        "the limit itself is allowed"
    );
}

#[tokio::test]
async fn missing_structure_is_an_error_that_shows_the_text() {
    let reply = Reply::new("m", "I'd rather not", Usage::new(1, 2), 7).with_stop(StopReason::Refusal);
    let error = ModelHandle::new(Fixed(reply))
        .extract::<bool>("yes or no?")
        .await
        .unwrap_err();
    assert_eq!(error.kind(), ErrorKind::ModelOutput);
    assert_eq!(
        (error.field("text"), error.field("stop")),
        (Some("I'd rather not"), Some("Refusal"))
    );
    assert_eq!(
        error.field("cost_micro_usd"),
        Some("7"),
        "a failed extraction was paid for all the same"
    );
}

#[tokio::test]
async fn a_misfit_names_its_path() {
    let reply = Reply::new("m", "", Usage::default(), 0).with_structured(json!([{"a": 1}, {"a": "x"}]));
    type Rows = Vec<std::collections::BTreeMap<String, u8>>;
    let error = ModelHandle::new(Fixed(reply))
        .extract::<Rows>("rows")
        .await
        .unwrap_err();
    assert_eq!(
        (error.kind(), error.field("path")),
        (ErrorKind::ModelOutput, Some("[1].a"))
    );
}

#[test]
fn stored_replies_and_requests_are_pinned() {
    // Both rest in journals and caches: an old one must be readable for ever.
    let reply = Reply::new("m", "t", Usage::new(1, 2), 3)
        .with_structured(json!({"a": 1}))
        .with_stop(StopReason::Other("pause".into()));
    expect_test::expect![[r#"{"text":"t","structured":{"a":1},"usage":{"input_tokens":1,"output_tokens":2,"cache_read_tokens":0,"cache_write_tokens":0},"cost_micro_usd":3,"model":"m","stop":{"other":"pause"}}"#]]
        .assert_eq(&serde_json::to_string(&reply).unwrap());
    assert_eq!(
        serde_json::from_str::<Reply>(&serde_json::to_string(&reply).unwrap()).unwrap(),
        reply
    );

    let request = Request::new("p")
        .with_system("s")
        .with_schema(Schema::from_value(json!({"type": "boolean"})).unwrap())
        .with_timeout(Duration::from_millis(1_500));
    expect_test::expect![[r#"{"system":"s","prompt":"p","schema":{"type":"boolean"},"max_output_tokens":null,"timeout":{"secs":1,"nanos":500000000}}"#]].assert_eq(&serde_json::to_string(&request).unwrap());
    assert_eq!(
        serde_json::from_str::<Request>(&serde_json::to_string(&request).unwrap()).unwrap(),
        request
    );
}

#[test]
fn usage_adds_up_and_never_wraps() {
    let most = Usage::new(u64::MAX, 1);
    assert_eq!(most.plus(Usage::new(1, 1)), Usage::new(u64::MAX, 2));
    assert_eq!(most.total(), u64::MAX);
}
