//! A bus that checks what is published, and a database that remembers what was.

use std::sync::Arc;

use hive_bus::{Bus, ErrorKind, NewEvent, Pattern, TopicRegistry, TypedEvent, Validation, catalog};
use hive_core::clock::SystemClock;
use hive_core::db::Db;
use hive_core::id::IdSource;
use hive_core::testing::TestDb;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::json;

/// The same type as different releases of a program know it.
macro_rules! release {
    ($name:ident { $($field:ident: $kind:ty),* }, $example:expr) => {
        #[derive(Serialize, Deserialize, JsonSchema)]
        struct $name { $($field: $kind),* }

        impl TypedEvent for $name {
            const TYPE: &'static str = "shop.placed";
            const TOPICS: &'static str = "shop.placed";

            fn topic(&self) -> hive_bus::Result<hive_bus::Topic> {
                hive_bus::Topic::new("shop.placed")
            }

            fn example() -> Self {
                $example
            }
        }
    };
}

release!(Placed { cents: u64 }, Placed { cents: 1 });
release!(Grown { cents: u64, note: Option<String> }, Grown { cents: 1, note: None });
release!(Broken { cents: String }, Broken { cents: "1".into() });

async fn open(place: &TestDb) -> (Db, Bus) {
    let db = Db::open(place.options().migrations(&hive_bus::MIGRATIONS))
        .await
        .unwrap();
    let bus = Bus::open(db.clone(), Arc::new(SystemClock), IdSource::system())
        .await
        .unwrap();
    (db, bus)
}

fn registry<T: TypedEvent>() -> TopicRegistry {
    let mut registry = catalog::registry();
    registry.register::<T>().unwrap();
    registry
        .policy(Pattern::new("shop.>").unwrap(), Validation::Strict)
        .unwrap();
    registry
}

async fn what_is_published_is_checked_and_what_was_is_remembered(place: TestDb) {
    let (db, bus) = open(&place).await;
    bus.publish(NewEvent::new("anything", "shop.placed", &()).unwrap())
        .await
        .unwrap();
    bus.govern(registry::<Placed>()).await.unwrap();
    assert_eq!(
        bus.govern(registry::<Placed>()).await.unwrap_err().kind(),
        ErrorKind::Conflict
    );
    bus.publish(NewEvent::of(&Placed { cents: 5 }).unwrap()).await.unwrap();
    for (event_type, data, kind) in [
        ("anything", json!({ "cents": 5 }), ErrorKind::NotFound),
        ("shop.placed", json!({ "cents": "five" }), ErrorKind::InvalidInput),
        ("shop.placed", json!({}), ErrorKind::InvalidInput),
    ] {
        let event = NewEvent::new(event_type, "shop.placed", &data).unwrap();
        assert_eq!(
            bus.publish(event.clone()).await.unwrap_err().kind(),
            kind,
            "{event_type} {data}"
        );
        let in_tx = bus.clone();
        let refused = db.write(move |tx| in_tx.publish_in(tx, event.clone())).await;
        assert_eq!(refused.unwrap_err().kind(), kind, "{event_type} {data}");
    }
    // Elsewhere a type of one's own passes, and a known one has to fit.
    bus.publish(NewEvent::new("anything", "elsewhere", &()).unwrap())
        .await
        .unwrap();
    let misfit = NewEvent::new("task.failed", "task.failed.a", &()).unwrap();
    assert_eq!(bus.publish(misfit).await.unwrap_err().kind(), ErrorKind::InvalidInput);
    drop(bus);
    db.close().await.unwrap();

    let (db, bus) = open(&place).await;
    let error = bus.govern(registry::<Broken>()).await.unwrap_err();
    assert_eq!(
        (error.kind(), error.field("event_type")),
        (ErrorKind::Conflict, Some("shop.placed"))
    );
    assert!(bus.registry().is_none());
    // What only gained an optional field goes on.
    bus.govern(registry::<Grown>()).await.unwrap();
    assert!(bus.registry().is_some());
    db.close().await.unwrap();
}

#[tokio::test]
async fn on_sqlite() {
    what_is_published_is_checked_and_what_was_is_remembered(TestDb::sqlite()).await;
}

#[cfg(feature = "postgres")]
#[tokio::test]
async fn on_postgres() {
    what_is_published_is_checked_and_what_was_is_remembered(TestDb::postgres()).await;
}
