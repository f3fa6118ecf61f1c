use hive_errors::ErrorKind;
use proptest::prelude::*;

use super::super::{Begin, Link, column};
use super::{database, soon, writing};
use crate::db::value::{ToValue, Value};

/// What the server makes of one value, as text for comparing.
fn answer(link: &mut Link, sql: &str, params: &[&dyn ToValue]) -> Result<String, &'static str> {
    link.begin(Begin::write(), soon());
    let rows = link.query(sql, params).map_err(|error| error.code())?;
    column(&rows[0], 0)
        .map(|value| format!("{value:?}"))
        .map_err(|error| error.code())
}

#[test]
fn columns_become_values() {
    let url = database();
    let mut link = writing(&url);
    for (sql, value) in [
        ("1::int2", "Int(1)"),
        ("-1", "Int(-1)"),
        ("9223372036854775807", "Int(9223372036854775807)"),
        ("4294967295::oid", "Int(4294967295)"),
        ("1 = 1", "Int(1)"),
        ("1 = 2", "Int(0)"),
        ("0.5::float4", "Real(0.5)"),
        ("'NaN'::float8", "Null"),
        ("'-Infinity'::float8", "Real(-inf)"),
        ("count(*)", "Int(1)"),
        ("sum(9223372036854775807::bigint)", "Int(9223372036854775807)"),
        ("sum(-9223372036854775808)", "Int(-9223372036854775808)"),
        ("sum(0::bigint)", "Int(0)"),
        ("sum(10000::bigint)", "Int(10000)"),
        ("sum(100000001::bigint)", "Int(100000001)"),
        ("avg(2::bigint)", "Real(2.0)"),
        ("avg(-25::bigint) / 10", "Real(-2.5)"),
        ("0.0001", "Real(0.0001)"),
        ("123456789.000123", "Real(123456789.000123)"),
        ("'NaN'::numeric", "Null"),
        ("'x'", "Text(\"x\")"),
        ("'é'::varchar", "Text(\"é\")"),
        ("'n'::name", "Text(\"n\")"),
        ("'{\"a\": 1}'::jsonb", "Text(\"{\\\"a\\\": 1}\")"),
        ("'\\x00ff'::bytea", "Blob([0, 255])"),
        (
            "'00000000-0000-0000-0000-0000000000ff'::uuid",
            "Blob([0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 255])",
        ),
        ("'1970-01-01 00:00:01Z'::timestamptz", "Int(1000000)"),
        ("'1969-12-31 23:59:59Z'::timestamptz", "Int(-1000000)"),
        ("NULL::text", "Null"),
        ("pg_notify('a', '')", "Null"),
    ] {
        assert_eq!(
            answer(&mut link, &format!("SELECT {sql}"), &[]).as_deref(),
            Ok(value),
            "{sql}"
        );
    }
    for sql in [
        "'1 day'::interval",
        "ARRAY[1]",
        "'infinity'::timestamptz",
        "point(1, 2)",
    ] {
        assert_eq!(
            answer(&mut link, &format!("SELECT {sql}"), &[]),
            Err("invalid-input"),
            "{sql}"
        );
    }
    assert_eq!(answer(&mut link, "SELECT 1e30::numeric(40)", &[]), Err("corrupt"));
}

#[test]
fn values_take_the_form_of_their_parameter() {
    let url = database();
    let mut link = writing(&url);
    let blob = [7_u8; 16];
    for (kind, value, comes_back) in [
        ("int2", &-5_i64 as &dyn ToValue, Ok("Int(-5)")),
        ("int2", &40_000, Err("invalid-input")),
        ("int4", &i64::from(i32::MIN), Ok("Int(-2147483648)")),
        ("int4", &(i64::from(i32::MAX) + 1), Err("invalid-input")),
        ("int8", &i64::MIN, Ok("Int(-9223372036854775808)")),
        ("int8", &u64::MAX, Ok("Int(-1)")),
        ("int8", &3.0, Ok("Int(3)")),
        ("int8", &3.5, Err("invalid-input")),
        ("bool", &true, Ok("Int(1)")),
        ("bool", &2, Err("invalid-input")),
        ("float8", &0.1, Ok("Real(0.1)")),
        ("float8", &-0.0, Ok("Real(0.0)")),
        ("float8", &f64::NAN, Err("invalid-input")),
        ("float8", &f64::INFINITY, Ok("Real(inf)")),
        ("float8", &3, Ok("Real(3.0)")),
        ("float8", &i64::MAX, Err("invalid-input")),
        ("float4", &0.5, Ok("Real(0.5)")),
        ("float4", &0.1, Err("invalid-input")),
        ("numeric", &i64::MIN, Ok("Int(-9223372036854775808)")),
        ("text", &"é", Ok("Text(\"é\")")),
        ("text", &"a\0", Err("invalid-input")),
        ("text", &1, Err("invalid-input")),
        ("varchar", &"x", Ok("Text(\"x\")")),
        ("jsonb", &"[1]", Ok("Text(\"[1]\")")),
        ("jsonb", &b"[1]".to_vec(), Ok("Text(\"[1]\")")),
        ("json", &"{", Err("invalid-input")),
        (
            "bytea",
            &blob,
            Ok("Blob([7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7])"),
        ),
        (
            "uuid",
            &blob,
            Ok("Blob([7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7])"),
        ),
        ("uuid", &[7_u8; 3], Err("invalid-input")),
        ("timestamptz", &1_000_000, Ok("Int(1000000)")),
        ("timestamptz", &i64::MIN, Err("invalid-input")),
        ("interval", &1, Err("invalid-input")),
        ("int8", &None::<i64>, Ok("Null")),
        ("text", &None::<i64>, Ok("Null")),
    ] {
        let sql = format!("SELECT CAST(?1 AS {kind})");
        assert_eq!(
            answer(&mut link, &sql, &[value]).as_deref(),
            comes_back.as_deref(),
            "{kind} {:?}",
            value.to_value()
        );
    }
}

#[test]
fn a_value_that_does_not_fit_is_named_but_not_shown() {
    let url = database();
    let mut link = writing(&url);
    let error = link.query("SELECT CAST(?1 AS int8)", &[&"hunter2"]).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidInput);
    assert_eq!(
        (error.field("value"), error.field("type")),
        (Some("text"), Some("int8"))
    );
    assert!(!format!("{error:?}").contains("hunter2"));
}

#[test]
fn numbers_come_back_as_they_went() {
    let url = database();
    let link = writing(&url);
    let link = std::cell::RefCell::new(link);
    proptest!(ProptestConfig::with_cases(200), |(int: i64, real: f64, text in "[^\0]*", blob: Vec<u8>)| {
        prop_assume!(!real.is_nan());
        let int = match int % 3 { 0 => int, 1 => int >> 40, _ => int / 10_000 * 10_000 };
        let real = real + 0.0;
        let sql = "SELECT CAST(?1 AS INTEGER), CAST(?2 AS REAL), CAST(?3 AS TEXT), CAST(?4 AS BLOB), CAST(?1 AS numeric)";
        let rows = link.borrow_mut().query(sql, &[&int, &real, &text, &blob]).unwrap();
        let row = &rows[0];
        prop_assert_eq!(column(row, 0).unwrap(), Value::Int(int));
        prop_assert_eq!(column(row, 1).unwrap(), Value::Real(real));
        prop_assert_eq!(column(row, 2).unwrap(), Value::Text(&text));
        prop_assert_eq!(column(row, 3).unwrap(), Value::Blob(&blob));
        prop_assert_eq!(column(row, 4).unwrap(), Value::Int(int));
    });
}
