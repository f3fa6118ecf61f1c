use super::*;

#[derive(Debug)]
struct Outer(std::num::ParseIntError);

impl fmt::Display for Outer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the size is no number")
    }
}

impl Error for Outer {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        Some(&self.0)
    }
}

#[test]
fn an_error_is_retryable_and_keeps_its_causes() {
    let error = "x".parse::<u32>().map_err(Outer).unwrap_err();
    let failure = Failure::from(error);
    assert!(!failure.is_terminal());
    assert_eq!(failure.code(), "agent-failed");
    assert_eq!(failure.message(), "the size is no number");
    assert_eq!(failure.causes(), ["invalid digit found in string"]);
}

#[test]
fn display_is_the_message_and_its_fields_in_order() {
    assert_eq!(Failure::terminal("no").to_string(), "no");
    assert_eq!(
        Failure::terminal("no").with("b", 2).with("a", 1).to_string(),
        "no (a=1, b=2)"
    );
}

#[test]
fn a_failure_survives_the_boundary() {
    let failure = Failure::retryable("no")
        .with_code("model")
        .with("a", 1)
        .with_hint("wait")
        .with_cause("the network")
        .with_retry_after(Duration::from_millis(5));
    assert_eq!(Failure::from(Parts::from(failure.clone())), failure);
}

#[test]
fn details_that_are_not_understood_are_not_lost() {
    let parts = |details: Option<&str>| Parts {
        code: "model".to_owned(),
        message: "no".to_owned(),
        retryable: true,
        retry_after_ms: None,
        details: details.map(str::to_owned),
    };
    assert_eq!(Failure::from(parts(Some("oops"))).causes(), ["oops"]);
    assert_eq!(
        Failure::from(parts(Some(r#"{"hint":"x","colour":"blue"}"#))).hint(),
        Some("x")
    );
    assert_eq!(Parts::from(Failure::terminal("no")).details, None);
}
