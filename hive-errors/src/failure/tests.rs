use std::error::Error as StdError;
use std::io;
use std::time::Duration;

use expect_test::{Expect, expect};
use proptest::prelude::*;

use super::Failure;
use crate::chain::sources;
use crate::{Error, ErrorKind};

fn full() -> Failure {
    let error = Error::new(ErrorKind::Timeout, "attempt did not finish in time")
        .with("timeout", "300s")
        .with("agent", "reviewer")
        .with_hint("allow more time")
        .with_retry_after(Duration::from_micros(1_500_001))
        .with_source(Error::new(ErrorKind::Model, "model call failed").with_source(io::Error::other("reset by peer")));
    Failure::from(error)
}

#[test]
fn stored_form_is_stable() {
    fn check(failure: &Failure, golden: Expect) {
        golden.assert_eq(&serde_json::to_string(failure).unwrap());
        assert_eq!(
            &serde_json::from_str::<Failure>(golden.data()).unwrap(),
            failure,
            "the golden text reads back"
        );
    }
    check(
        &Failure::retryable("tests are red"),
        expect![[r#"{"v":1,"kind":"agent-failed","terminal":false,"message":"tests are red"}"#]],
    );
    check(
        &full(),
        expect![[
            r#"{"v":1,"kind":"timeout","terminal":false,"message":"attempt did not finish in time","fields":{"agent":"reviewer","timeout":"300s"},"hint":"allow more time","causes":["model call failed","reset by peer"],"retry_after_ms":1501}"#
        ]],
    );
}

#[test]
fn other_releases_are_read_or_refused_but_never_misread() {
    let read = |json: &str| serde_json::from_str::<Failure>(json);

    let later = read(r#"{"v":1,"kind":"solar-flare","terminal":true,"message":"x","added":[1]}"#).unwrap();
    assert_eq!(
        (later.kind(), later.field("unknown_kind")),
        (ErrorKind::AgentFailed, Some("solar-flare"))
    );
    assert!(later.is_terminal());

    let refused = |json| read(json).unwrap_err().to_string();
    expect!["failure has version 2, but this release reads version 1"]
        .assert_eq(&refused(r#"{"v":2,"kind":"timeout","terminal":true,"message":"x"}"#));
    expect!["missing field `v` at line 1 column 48"]
        .assert_eq(&refused(r#"{"kind":"timeout","terminal":true,"message":"x"}"#));
    expect!["missing field `terminal` at line 1 column 38"]
        .assert_eq(&refused(r#"{"v":1,"kind":"timeout","message":"x"}"#));
}

#[test]
fn any_error_retries_and_keeps_its_causes() {
    fn parse() -> Result<u8, Failure> {
        Ok("x".parse::<u8>()?)
    }
    let failure = parse().unwrap_err();
    assert_eq!((failure.kind(), failure.is_terminal()), (ErrorKind::AgentFailed, false));
    assert_eq!(failure.message(), "invalid digit found in string");
    assert!(failure.causes().is_empty());

    let foreign = io::Error::other(
        Error::new(ErrorKind::Corrupt, "middle")
            .with("row", 7)
            .with_source("root"),
    );
    let failure = Failure::from(foreign);
    assert!(!failure.is_terminal(), "what a foreign error hides does not decide");
    assert_eq!(
        failure.message(),
        "middle (row=7)",
        "io::Error speaks for what it wraps"
    );
    assert_eq!(failure.causes(), ["root"]);
}

#[test]
fn a_hive_error_is_terminal_unless_retryable() {
    for &kind in ErrorKind::ALL {
        let failure = Failure::from(Error::new(kind, "x"));
        assert_eq!((failure.kind(), failure.is_terminal()), (kind, !kind.is_retryable()));
        assert!(!Failure::from(Error::new(kind, "x").retryable()).is_terminal());
        assert!(Failure::from(Error::new(kind, "x").terminal()).is_terminal());
    }
}

#[test]
fn a_hive_error_survives_the_way_there_and_back() {
    let error = full().into_error();
    assert_eq!(
        (error.kind(), error.message()),
        (ErrorKind::Timeout, "attempt did not finish in time")
    );
    assert_eq!(
        error.fields().collect::<Vec<_>>(),
        [("agent", "reviewer"), ("timeout", "300s")]
    );
    assert_eq!(
        (error.hint(), error.retry_after()),
        ("allow more time", Some(Duration::from_millis(1501)))
    );
    assert!(error.is_retryable());
    let causes: Vec<_> = sources(&error).map(ToString::to_string).collect();
    assert_eq!(causes, ["model call failed", "reset by peer"]);
    assert_eq!(Failure::from(error), full());

    let overruled = Failure::terminal("no").with_kind(ErrorKind::Timeout);
    assert!(
        !Error::from(overruled).is_retryable(),
        "the failure's verdict beats the kind's"
    );
    assert!(Failure::retryable("x").into_error().source().is_none());
}

#[test]
fn setters_change_only_what_they_say() {
    let failure = Failure::terminal("no")
        .with_kind(ErrorKind::Overloaded)
        .with("a", 1)
        .with("a", 2);
    assert!(failure.is_terminal(), "a kind does not overrule what the agent said");
    assert_eq!(failure.fields().collect::<Vec<_>>(), [("a", "2")]);
    assert_eq!(failure.hint(), ErrorKind::Overloaded.hint());
    assert_eq!(failure.clone().with_hint("other").hint(), "other");
    assert!(!failure.clone().into_retryable().is_terminal());
    assert!(failure.into_retryable().into_terminal().is_terminal());
}

#[test]
fn text_is_for_people() {
    expect!["attempt did not finish in time (agent=reviewer, timeout=300s)"].assert_eq(&full().to_string());
    expect![[r#"
        timeout: attempt did not finish in time (agent=reviewer, timeout=300s)
          caused by: model call failed
          caused by: reset by peer
          what to do: allow more time"#]]
    .assert_eq(&format!("{:?}", full()));
    assert!(format!("{:#?}", full()).starts_with("Inner {\n    kind: Timeout,\n"));
}

#[test]
fn long_text_is_cut_at_a_character_and_says_so() {
    // 'ß' takes two bytes, so half of all cuts would fall into one.
    for lead in ["", "x"] {
        let long = format!("{lead}{}", "ß".repeat(4096));
        let failure = Failure::retryable(long.clone())
            .with_hint(long.clone())
            .with(long.clone(), &long);
        assert!(failure.message().ends_with("ß… [cut at 4096 bytes]"));
        assert!((4090..=4096).contains(&failure.message().len()));
        assert!(failure.hint().ends_with("ß… [cut at 1024 bytes]") && failure.hint().len() <= 1024);
        let (name, value) = failure.fields().next().unwrap();
        assert!(name.ends_with("ß… [cut at 64 bytes]") && name.len() <= 64);
        assert!(value.ends_with("ß… [cut at 1024 bytes]") && value.len() <= 1024);
    }
    let fits = "x".repeat(4096);
    assert_eq!(Failure::retryable(fits.clone()).message(), fits);
}

#[test]
fn of_many_causes_the_outermost_and_the_root_are_kept() {
    let chain = |depth: usize| {
        let error = |n: usize| Error::new(ErrorKind::Internal, format!("layer {n}"));
        let root = error(depth);
        Failure::from((0..depth).rev().fold(root, |below, n| error(n).with_source(below)))
    };
    assert_eq!(chain(16).causes().len(), 16);
    assert_eq!(chain(16).causes().last().unwrap(), "layer 16");

    let deep = chain(17);
    assert_eq!(deep.causes().len(), 16);
    assert_eq!(
        deep.causes()[13..],
        ["layer 14", "… [causes left out, at most 16 are kept]", "layer 17"]
    );

    let wrapped = (0..40).fold(Failure::retryable("root"), |below, n| {
        below.wrapped(format!("layer {n}"))
    });
    assert_eq!(wrapped.message(), "layer 39");
    assert_eq!(wrapped.causes().len(), 16);
    assert_eq!(
        wrapped.causes()[13..],
        ["layer 25", "… [causes left out, at most 16 are kept]", "root"]
    );
}

#[test]
fn of_many_fields_the_first_are_kept_and_the_others_counted() {
    let many = (0..40).fold(Failure::retryable("x"), |failure, n| {
        failure.with(format!("f{n:02}"), n)
    });
    assert_eq!(many.fields().count(), 33);
    assert_eq!((many.field("f31"), many.field("f32")), (Some("31"), None));
    assert_eq!(many.field("fields_left_out"), Some("8"));
    let json = serde_json::to_string(&many).unwrap();
    assert_eq!(serde_json::from_str::<Failure>(&json).unwrap(), many);
}

#[test]
fn a_stored_failure_that_exceeds_the_limits_is_cut_when_read() {
    let json = serde_json::json!({
        "v": 1, "kind": "timeout", "terminal": true, "message": "m".repeat(10_000),
        "causes": vec!["c".repeat(10_000); 100],
    });
    let failure: Failure = serde_json::from_value(json).unwrap();
    assert_eq!(failure.message().len(), 4096);
    assert_eq!(failure.causes().len(), 16);
    assert!(failure.causes().iter().all(|cause| cause.len() <= 1024));
}

#[test]
fn failure_is_one_pointer_wide_and_goes_anywhere() {
    fn goes_anywhere<T: Send + Sync + 'static>() {}
    goes_anywhere::<Failure>();
    assert_eq!(size_of::<Result<(), Failure>>(), size_of::<usize>());
}

fn any_failure() -> impl Strategy<Value = Failure> {
    let long = || ("[aß€🦀]{1,5}", 0..1000_usize).prop_map(|(word, times)| word.repeat(times));
    let text = || prop_oneof![".{0,20}", long()];
    let shape = (text(), any::<bool>(), proptest::sample::select(ErrorKind::ALL));
    let rest = (
        proptest::collection::vec((".{0,80}", text()), 0..50),
        proptest::option::of(text()),
        proptest::collection::vec(text(), 0..30),
        proptest::option::of(any::<Duration>()),
    );
    (shape, rest).prop_map(|((message, terminal, kind), (fields, hint, causes, after))| {
        let failure = if terminal {
            Failure::terminal(message)
        } else {
            Failure::retryable(message)
        };
        let mut failure = failure.with_kind(kind).with_causes(causes);
        for (name, value) in fields {
            failure = failure.with(name, value);
        }
        if let Some(hint) = hint {
            failure = failure.with_hint(hint);
        }
        if let Some(after) = after {
            failure = failure.with_retry_after(after);
        }
        failure
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn storing_changes_nothing_and_is_bounded(failure in any_failure()) {
        let json = serde_json::to_string(&failure).unwrap();
        prop_assert_eq!(&serde_json::from_str::<Failure>(&json).unwrap(), &failure);
        prop_assert_eq!(&Failure::from(failure.clone().into_error()), &failure);

        let text: usize = failure.fields().map(|(name, value)| name.len() + value.len()).sum();
        prop_assert!(text <= 33 * (64 + 1024));
        prop_assert!(failure.causes().iter().map(String::len).sum::<usize>() <= 16 * 1024);
        prop_assert!(failure.message().len() <= 4096 && failure.hint().len() <= 1024);
    }
}
