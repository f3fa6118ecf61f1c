use std::sync::Arc;

use serde_json::json;

use super::super::ModelHandle;
use super::*;
use crate::payload::Schema;

#[tokio::test]
async fn the_first_rule_that_fits_answers_and_the_queue_comes_after() {
    let script = Arc::new(
        Scripted::new()
            .on("red", "first")
            .on("red car", "never")
            .when(
                |request| request.system.as_deref() == Some("loud"),
                |request| Ok(request.prompt.to_uppercase()),
            )
            .then("queued one")
            .then("queued two"),
    );
    let model = ModelHandle::from(Arc::clone(&script) as Arc<dyn Model>);
    assert_eq!(model.ask("a red car").await.unwrap(), "first");
    assert_eq!(model.ask("a red bus").await.unwrap(), "first");
    assert_eq!(
        model
            .complete(Request::new("hey").with_system("loud"))
            .await
            .unwrap()
            .text,
        "HEY"
    );
    assert_eq!(script.queued_answers(), 2);
    assert_eq!(model.ask("else").await.unwrap(), "queued one");
    assert_eq!(model.ask("else").await.unwrap(), "queued two");
    let error = model.ask("else").await.unwrap_err();
    assert_eq!((error.kind(), error.field("prompt")), (ErrorKind::Model, Some("else")));
    assert!(!error.is_retryable(), "another try meets the same script");
    assert_eq!(script.calls(), 6);
}

#[tokio::test]
async fn structured_answers() {
    let model = ModelHandle::new(
        Scripted::new()
            .on_json("pair", (1, "a"))
            .on("text pair", "never")
            .on("list", "[1, 2]")
            .on("broken", "[1,"),
    );
    assert_eq!(
        model.extract::<(u8, String)>("a pair").await.unwrap(),
        (1, "a".to_owned())
    );
    assert_eq!(model.extract::<Vec<u8>>("a list").await.unwrap(), [1, 2]);
    // Without a schema nobody asked for structure.
    let plain = model.complete(Request::new("a pair")).await.unwrap();
    assert_eq!((plain.text.as_str(), plain.structured), (r#"[1,"a"]"#, None));
    let error = model.extract::<Vec<u8>>("broken").await.unwrap_err();
    assert_eq!(
        (error.kind(), error.field("text")),
        (ErrorKind::ModelOutput, Some("[1,"))
    );
    let error = model.extract::<Vec<bool>>("a list").await.unwrap_err();
    assert_eq!(
        (error.kind(), error.field("path")),
        (ErrorKind::ModelOutput, Some("[0]"))
    );
}

#[tokio::test]
async fn failures_usage_and_cost() {
    let script = Scripted::new()
        .on_failure("busy", ErrorKind::Overloaded, "come back later")
        .then_failure(ErrorKind::Timeout, "too slow")
        .then_json(json!({"a": 1}))
        .with_cost_micro_usd(12);
    let error = script.complete(Request::new("busy")).await.unwrap_err();
    assert_eq!(
        (error.kind(), error.message()),
        (ErrorKind::Overloaded, "come back later")
    );
    assert_eq!(
        script.complete(Request::new("x")).await.unwrap_err().kind(),
        ErrorKind::Timeout
    );
    let request = Request::new("one two")
        .with_system("three")
        .with_schema(Schema::of::<Value>());
    let reply = script.complete(request).await.unwrap();
    assert_eq!((reply.usage, reply.cost_micro_usd), (Usage::new(3, 1), 12));
    assert_eq!(reply.structured, Some(json!({"a": 1})));
    assert_eq!(format!("{script:?}"), "Scripted { rules: 1, queued: 0, calls: 3, .. }");
}

#[tokio::test]
async fn a_long_prompt_is_shown_in_part() {
    let error = Scripted::new()
        .complete(Request::new("é".repeat(10_000)))
        .await
        .unwrap_err();
    assert_eq!(
        error.field("prompt").unwrap().chars().count(),
        crate::limits::MODEL_EXCERPT_CHARS + 1
    );
}
