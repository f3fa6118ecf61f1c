use super::*;

#[test]
fn a_schema_is_an_object_or_a_boolean() {
    assert!(Schema::parse(r#"{"type": "string"}"#).is_ok());
    assert!(Schema::parse("true").is_ok());
    for wrong in ["", "{", "3", "null", "[]", r#""string""#] {
        let failure = Schema::parse(wrong).unwrap_err();
        assert!(failure.is_terminal(), "{wrong}");
        assert_eq!(failure.code(), "invalid-input", "{wrong}");
    }
}

#[test]
fn the_failure_names_the_schema_that_is_wrong() {
    assert_eq!(
        Schemas::parse("true", "nonsense").unwrap_err().field("schema"),
        Some("output")
    );
}

#[cfg(feature = "schemars")]
#[test]
fn a_type_has_a_schema() {
    let schema = Schema::of::<u8>();
    assert_eq!(schema.as_value()["maximum"], 255);
}
