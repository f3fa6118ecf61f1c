use hive_errors::ErrorKind;

use super::{Cell, Kind, Set};

static HITS: Set = Set::insert("hit", &[("at", Kind::Int), ("page", Kind::Text)]).on_conflict("(at) DO NOTHING");
static PLAIN: Set = Set::insert("\"odd name\"", &[("a", Kind::Real), ("b", Kind::Blob)]);
static TOLD: Set = Set::insert("note", &[("id", Kind::Text), ("n", Kind::Int)])
    .on_conflict("(id) do nothing ")
    .returning("id", "sequence");

#[test]
fn a_set_is_one_statement_for_a_row() {
    assert_eq!(
        HITS.row_sql(),
        "INSERT INTO hit (at, page) VALUES (?1, ?2) ON CONFLICT (at) DO NOTHING"
    );
    assert_eq!(PLAIN.row_sql(), "INSERT INTO \"odd name\" (a, b) VALUES (?1, ?2)");
    assert_eq!(
        TOLD.row_sql(),
        "INSERT INTO note (id, n) VALUES (?1, ?2) ON CONFLICT (id) do nothing "
    );
}

#[test]
fn a_key_that_is_given_is_none_that_the_table_tells() {
    static OWN: Set = Set::insert("note", &[("id", Kind::Text), ("n", Kind::Int)]).returning("id", "n");
    let refused = OWN.check_telling().unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::InvalidInput);
    assert!(refused.field("reason").unwrap().contains("own columns"), "{refused}");
    TOLD.check_telling().unwrap();
}

#[cfg(feature = "postgres")]
#[test]
fn a_set_is_one_statement_for_many_rows() {
    assert_eq!(
        HITS.set_sql(),
        "INSERT INTO hit (at, page) SELECT * FROM unnest($1::bigint[], $2::text[]) ON CONFLICT (at) DO NOTHING"
    );
    assert_eq!(
        PLAIN.set_sql(),
        "INSERT INTO \"odd name\" (a, b) SELECT * FROM unnest($1::double precision[], $2::bytea[])"
    );
    assert_eq!(
        TOLD.set_sql(),
        "INSERT INTO note (id, n) SELECT c1, c2 FROM unnest($1::text[], $2::bigint[]) WITH ORDINALITY AS given (c1, c2, nth) \
         ORDER BY nth ON CONFLICT (id) do nothing  RETURNING id, sequence"
    );
}

#[test]
fn a_set_tells_keys_if_it_can_tell_rows_apart() {
    static UNKNOWN: Set = Set::insert("note", &[("n", Kind::Int)]).returning("id", "sequence");
    static UPDATED: Set = Set::insert("note", &[("id", Kind::Text)])
        .on_conflict("(id) DO UPDATE SET n = 1")
        .returning("id", "sequence");
    TOLD.check_telling().unwrap();
    for set in [&PLAIN, &UNKNOWN, &UPDATED] {
        let error = set.check_telling().unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidInput);
        assert!(error.field("reason").is_some());
        assert!(!set.row_sql().contains("RETURNING"));
    }
}

#[test]
fn a_row_that_does_not_fit_is_refused_by_name() {
    HITS.check(&[Cell::Int(1), Cell::from("page")]).unwrap();
    HITS.check(&[Cell::Null, Cell::Null]).unwrap();
    let short = HITS.check(&[Cell::Int(1)]).unwrap_err();
    assert_eq!(short.kind(), ErrorKind::InvalidInput);
    assert_eq!((short.field("values"), short.field("columns")), (Some("1"), Some("2")));
    let wrong = HITS.check(&[Cell::Int(1), Cell::Blob(vec![])]).unwrap_err();
    assert_eq!(wrong.kind(), ErrorKind::InvalidInput);
    assert_eq!(wrong.field("column"), Some("page"));
    assert_eq!(
        (wrong.field("expected"), wrong.field("found")),
        (Some("text"), Some("blob"))
    );
}

#[test]
fn what_no_engine_keeps_is_refused_before_anything_is_written() {
    for (set, row) in [
        (&PLAIN, [Cell::Real(f64::NAN), Cell::Null]),
        (&HITS, [Cell::Int(1), Cell::from("a\0b")]),
    ] {
        let error = set.check(&row).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidInput, "{error}");
        assert!(error.field("column").is_some());
    }
}

#[test]
fn cells_hold_what_values_hold() {
    assert_eq!(Cell::of(&7_u32), Cell::Int(7));
    assert_eq!(Cell::of("text"), Cell::from("text"));
    assert_eq!(Cell::of(&None::<i64>), Cell::Null);
    assert_eq!(Cell::of(&[1_u8, 2][..]), Cell::from(vec![1, 2]));
}
