use std::error::Error as StdError;
use std::time::Duration;

use expect_test::{Expect, expect};

use crate::{Error, ErrorKind};

fn too_large() -> Error {
    Error::new(ErrorKind::PayloadTooLarge, "input is larger than the limit")
}

#[test]
fn display_prints_this_layer_only() {
    fn check(error: &Error, expected: Expect) {
        expected.assert_eq(&error.to_string());
    }
    check(&too_large(), expect!["input is larger than the limit"]);
    check(
        &too_large()
            .with("bytes", 2_097_152)
            .with("limit", 1_048_576)
            .with_source("below")
            .with_hint("smaller"),
        expect!["input is larger than the limit (bytes=2097152, limit=1048576)"],
    );
}

#[test]
fn display_quotes_a_value_whose_end_could_not_be_seen() {
    fn check(value: &str, expected: Expect) {
        expected.assert_eq(&Error::new(ErrorKind::InvalidInput, "no").with("v", value).to_string());
    }
    check("a/b-c:[2].d", expect!["no (v=a/b-c:[2].d)"]);
    check("größe", expect!["no (v=größe)"]);
    check("", expect![[r#"no (v="")"#]]);
    check("a b", expect![[r#"no (v="a b")"#]]);
    check("1, w=2", expect![[r#"no (v="1, w=2")"#]]);
    check("say \"hi\"", expect![[r#"no (v="say \"hi\"")"#]]);
    check("line\nline", expect![[r#"no (v="line\nline")"#]]);
    check("\u{1b}[31m", expect![[r#"no (v="\u{1b}[31m")"#]]);
}

#[test]
fn debug_is_for_the_person_who_sees_main_fail() {
    let error = too_large()
        .with("bytes", 2)
        .with_source(Error::new(ErrorKind::Storage, "below").with("path", "x"));
    expect![[r#"
        payload-too-large: input is larger than the limit (bytes=2)
          caused by: below (path=x)
          what to do: store the data elsewhere and pass a reference to it"#]]
    .assert_eq(&format!("{error:?}"));
    expect![[r#"
        Inner {
            kind: PayloadTooLarge,
            message: "input is larger than the limit",
            fields: [],
            hint: None,
            retryable: None,
            retry_after: None,
            source: None,
        }"#]]
    .assert_eq(&format!("{:#?}", too_large()));
}

#[test]
fn getters_give_back_what_was_set() {
    let error = too_large().with("bytes", 1).with("limit", 2).with("bytes", 3);
    assert_eq!(error.kind(), ErrorKind::PayloadTooLarge);
    assert_eq!(error.code(), "payload-too-large");
    assert_eq!(error.message(), "input is larger than the limit");
    assert_eq!(error.fields().collect::<Vec<_>>(), [("bytes", "3"), ("limit", "2")]);
    assert_eq!((error.field("limit"), error.field("other")), (Some("2"), None));
    assert_eq!(error.retry_after(), None);
    assert!(error.source().is_none());

    let error = error.with_retry_after(Duration::from_nanos(1)).with_source("below");
    assert_eq!(error.retry_after(), Some(Duration::from_nanos(1)));
    assert_eq!(error.source().unwrap().to_string(), "below");
}

#[test]
fn kind_decides_until_overruled() {
    for &kind in ErrorKind::ALL {
        let error = || Error::new(kind, "x");
        assert_eq!(error().is_retryable(), kind.is_retryable());
        assert_eq!(
            error().with_retry_after(Duration::ZERO).is_retryable(),
            kind.is_retryable()
        );
        assert!(error().retryable().is_retryable());
        assert!(!error().retryable().terminal().is_retryable());
        assert_eq!(error().hint(), kind.hint());
        assert_eq!(error().with_hint("other").hint(), "other");
    }
}

#[test]
fn error_is_one_pointer_wide_and_goes_anywhere() {
    fn goes_anywhere<T: StdError + Send + Sync + 'static>() {}
    goes_anywhere::<Error>();
    assert_eq!(size_of::<Result<(), Error>>(), size_of::<usize>());
}
