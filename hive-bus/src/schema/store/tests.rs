use std::future::Future;

use expect_test::expect;
use hive_core::db::{Db, Migration, Migrations};
use hive_core::testing::TestDb;
use serde_json::json;

use super::*;
use crate::schema::EventTypeSpec;
use crate::topic::Pattern;

static TABLE: Migrations = Migrations {
    owner: "schema-store-test",
    list: &[Migration::new(1, "schemas", CREATE, DROP)],
};

/// The same on both engines.
async fn on_each<F: Future<Output = ()>>(test: impl Fn(Db) -> F) {
    let places = [
        TestDb::sqlite_in_memory(),
        #[cfg(feature = "postgres")]
        TestDb::postgres(),
    ];
    for place in &places {
        let db = Db::open(place.options().migrations(&TABLE)).await.unwrap();
        test(db.clone()).await;
        db.close().await.unwrap();
    }
}

fn schema(properties: Value) -> Value {
    json!({ "type": "object", "properties": properties })
}

/// A program that knows one type.
fn program(version: u16, properties: Value) -> TopicRegistry {
    let mut registry = TopicRegistry::empty();
    let mut spec = EventTypeSpec::new("order.placed", Pattern::ALL, schema(properties));
    spec.schema_version = version;
    registry.register_type(spec).unwrap();
    registry
}

async fn starts(db: &Db, registry: TopicRegistry) -> Result<()> {
    db.write(move |tx| record(tx, &registry)).await
}

async fn stored(db: &Db) -> Vec<(String, u16, Value)> {
    let rows = db.read(|db| {
        db.query(
            "SELECT name, version, schemas FROM event_schema ORDER BY name, version",
            &[],
            |row| Ok((row.get::<String>(0)?, row.get(1)?, row.get::<String>(2)?)),
        )
    });
    let rows = rows.await.unwrap().into_iter();
    rows.map(|(name, version, text)| (name, version, serde_json::from_str(&text).unwrap()))
        .collect()
}

#[tokio::test]
async fn what_a_program_knows_is_remembered() {
    on_each(async |db| {
        let builtin = crate::catalog::registry();
        starts(&db, builtin.clone()).await.unwrap();
        let first = stored(&db).await;
        assert_eq!(first.len(), builtin.len());
        for (name, version, schemas) in &first {
            let known = builtin.get_version(name, *version).unwrap();
            assert_eq!(*schemas, json!([known.schema().as_value()]), "{name}");
        }
        starts(&db, builtin).await.unwrap();
        assert_eq!(stored(&db).await, first);
    })
    .await;
}

#[tokio::test]
async fn programs_come_and_go_in_any_order() {
    let text = || json!({ "type": "string" });
    on_each(async |db| {
        let only = async || match stored(&db).await.as_slice() {
            [(_, _, schemas)] => schemas.clone(),
            other => panic!("{other:?}"),
        };
        starts(&db, program(1, json!({}))).await.unwrap();
        starts(&db, program(1, json!({ "a": text() }))).await.unwrap();
        assert_eq!(only().await, json!([schema(json!({ "a": text() }))]));
        // The deploy is taken back, and nothing is forgotten.
        starts(&db, program(1, json!({}))).await.unwrap();
        assert_eq!(only().await, json!([schema(json!({ "a": text() }))]));
        // Another program of the same time adds something else.
        starts(&db, program(1, json!({ "b": text() }))).await.unwrap();
        assert_eq!(
            only().await,
            json!([schema(json!({ "a": text() })), schema(json!({ "b": text() }))])
        );
        let error = starts(&db, program(1, json!({ "b": text(), "a": { "type": "integer" } })))
            .await
            .unwrap_err();
        assert_eq!(
            (error.code(), error.field("event_type"), error.field("version")),
            ("conflict", Some("order.placed"), Some("1"))
        );
        expect!["/a: it was a string and is an integer now"].assert_eq(error.field("changes").unwrap());
        // And one knows all.
        starts(&db, program(1, json!({ "a": text(), "b": text() })))
            .await
            .unwrap();
        assert_eq!(only().await, json!([schema(json!({ "a": text(), "b": text() }))]));
        // A version of its own may be anything.
        starts(&db, program(2, json!({ "a": { "type": "integer" } })))
            .await
            .unwrap();
        let versions: Vec<u16> = stored(&db).await.iter().map(|(_, version, _)| *version).collect();
        assert_eq!(versions, [1, 2]);
    })
    .await;
}

#[tokio::test]
async fn a_program_that_is_refused_leaves_nothing() {
    on_each(async |db| {
        starts(&db, program(1, json!({ "a": { "type": "string" } })))
            .await
            .unwrap();
        let before = stored(&db).await;
        let mut two = program(1, json!({ "a": { "type": "null" } }));
        let other = EventTypeSpec::new("a.first", Pattern::ALL, json!(true));
        two.register_type(other).unwrap();
        assert_eq!(starts(&db, two).await.unwrap_err().code(), "conflict");
        assert_eq!(stored(&db).await, before);
    })
    .await;
}

#[tokio::test]
async fn of_two_that_contradict_each_other_one_starts() {
    on_each(async |db| {
        let one = program(1, json!({ "a": { "type": "string" } }));
        let other = program(1, json!({ "a": { "type": "integer" } }));
        let (one, other) = tokio::join!(starts(&db, one), starts(&db, other));
        let refused: Vec<Error> = [one, other].into_iter().filter_map(Result::err).collect();
        assert!(
            matches!(refused.as_slice(), [error] if error.code() == "conflict"),
            "{refused:?}"
        );
        assert_eq!(stored(&db).await.len(), 1);
    })
    .await;
}

#[tokio::test]
async fn what_is_stored_is_read_with_care() {
    on_each(async |db| {
        db.write(|tx| tx.execute(UPSERT, &[&"order.placed", &1, &"no JSON"]))
            .await
            .unwrap();
        // Somebody else's type is not looked at.
        starts(&db, program(2, json!({}))).await.unwrap();
        let error = starts(&db, program(1, json!({}))).await.unwrap_err();
        assert_eq!(
            (error.code(), error.field("event_type")),
            ("corrupt", Some("order.placed"))
        );
    })
    .await;
}

#[test]
fn not_everything_is_remembered() {
    let with = |name: usize| schema(json!({ format!("p{name}"): true }));
    let mut schemas = Vec::new();
    for name in 0..limits::SCHEMAS_REMEMBERED_MAX {
        schemas = join(schemas, &with(name)).unwrap().unwrap();
    }
    assert_eq!(join(schemas.clone(), &with(3)).unwrap(), None);
    let error = join(schemas, &with(99)).unwrap_err();
    assert_eq!(error.code(), "limit-reached");
}
