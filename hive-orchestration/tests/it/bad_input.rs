//! What comes in wrong gets a clear error that says what to do, and nothing is written.

use std::fs;
use std::path::Path;

use hive_orchestration::core::db::{Db, Migration, Migrations, Options};
use hive_orchestration::{Agent, Context, Error, Failure, Hive, Priority, Result, agent_fn, limits};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::kit::Home;

#[derive(Serialize, Deserialize, JsonSchema)]
struct Order {
    items: Vec<Item>,
}

#[derive(Serialize, Deserialize, JsonSchema)]
struct Item {
    count: u32,
}

struct Clerk;

impl Agent for Clerk {
    const NAME: &'static str = "clerk";
    type Input = Order;
    type Output = usize;

    async fn run(&self, _: &Context, order: Order) -> Result<usize, Failure> {
        Ok(order.items.len())
    }
}

/// The error's code, and everything it says.
fn said(error: &Error) -> (&'static str, String) {
    (error.code(), format!("{error}; {}", error.hint()))
}

#[tokio::test]
async fn submissions() {
    let home = Home::new();
    let hive = Hive::open(home.db()).agent(Clerk).start().await.unwrap();
    let good = serde_json::json!({ "items": [{ "count": 1 }] });
    let table: Vec<(&str, Result<_>, &str, &[&str])> = vec![
        (
            "unknown agent",
            hive.submit_named("clark", &good).await,
            "unknown-agent",
            &["clark", "did you mean `clerk`"],
        ),
        (
            "unknown agent, nothing near",
            hive.submit_named("zzz", &good).await,
            "unknown-agent",
            &["agent(…)"],
        ),
        ("empty name", hive.submit_named("", &good).await, "unknown-agent", &[]),
        (
            "wrong type, the path is named",
            hive.submit_named(
                "clerk",
                &serde_json::json!({ "items": [{ "count": 1 }, { "count": "two" }] }),
            )
            .await,
            "invalid-input",
            &["items[1].count", "clerk"],
        ),
        (
            "missing field",
            hive.submit_named("clerk", &serde_json::json!({})).await,
            "invalid-input",
            &["clerk"],
        ),
        (
            "no object at all",
            hive.submit_named("clerk", &7).await,
            "invalid-input",
            &["clerk"],
        ),
        (
            "oversized",
            hive.submit_named("clerk", &"x".repeat(limits::PAYLOAD_BYTES)).await,
            "payload-too-large",
            &["1048576", "1048578", "clerk"],
        ),
        (
            "empty key",
            hive.submit_named("clerk", &good).idempotency_key("").await,
            "invalid-input",
            &["idempotency_key"],
        ),
        (
            "key too long",
            hive.submit_named("clerk", &good).idempotency_key("k".repeat(257)).await,
            "invalid-input",
            &["257", "256"],
        ),
        (
            "tenant",
            hive.submit_named("clerk", &good).tenant("a b").await,
            "invalid-input",
            &["tenant"],
        ),
        (
            "long tenant",
            hive.submit_named("clerk", &good).tenant("t".repeat(65)).await,
            "invalid-input",
            &["tenant"],
        ),
    ];
    for (case, result, code, words) in table {
        let error = result.err().unwrap_or_else(|| panic!("{case} was accepted"));
        let (found, text) = said(&error);
        assert_eq!(found, code, "{case}: {text}");
        for word in words {
            assert!(text.contains(word), "{case}: `{word}` is missing in: {text}");
        }
    }
    assert_eq!(hive.counts(None).await.unwrap(), [], "nothing was written");
    hive.submit::<Clerk>(Order { items: Vec::new() })
        .priority(Priority::Low)
        .await
        .unwrap();
    hive.shutdown().await.unwrap();
}

#[tokio::test]
async fn hives_that_cannot_start() {
    let noop = |name: &str| agent_fn(name, async |_: Context, _: ()| Ok::<_, Failure>(()));
    let home = Home::new();
    for (case, builder, code) in [
        (
            "twice the same name",
            Hive::open(home.db()).agent(noop("a")).agent(noop("a")),
            "conflict",
        ),
        (
            "a name with spaces",
            Hive::open(home.db()).agent(noop("a b")),
            "invalid-input",
        ),
        (
            "a name with dots",
            Hive::open(home.db()).agent(noop("a.b")),
            "invalid-input",
        ),
        ("an empty name", Hive::open(home.db()).agent(noop("")), "invalid-input"),
        (
            "no workers",
            Hive::open(home.db()).agent(noop("a")).concurrency(0),
            "invalid-input",
        ),
    ] {
        let error = builder
            .start()
            .await
            .err()
            .unwrap_or_else(|| panic!("{case} was accepted"));
        assert_eq!(error.code(), code, "{case}: {error}");
    }
    assert!(!home.db().exists(), "nothing was written");
}

/// The file's bytes, to show that nobody touched it.
fn bytes(path: &Path) -> Vec<u8> {
    fs::read(path).unwrap()
}

async fn refused(path: &Path) -> Error {
    Hive::open(path)
        .agent(Clerk)
        .start()
        .await
        .expect_err("it was accepted")
}

/// More steps than this release has, whatever is in them.
static NEWER: Migrations = Migrations {
    owner: "hive-orchestration",
    list: &[
        Migration::new(1, "one", "CREATE TABLE one (id INTEGER) STRICT;", "DROP TABLE one;"),
        nothing(2),
        nothing(3),
        nothing(4),
        nothing(5),
        nothing(6),
        nothing(7),
        nothing(8),
        nothing(9),
        nothing(10),
        nothing(11),
        nothing(12),
        nothing(13),
        nothing(14),
        nothing(15),
        nothing(16),
    ],
};

const fn nothing(version: u32) -> Migration {
    Migration::new(version, "nothing", "SELECT 1;", "SELECT 1;")
}

static EDITED: Migrations = Migrations {
    owner: "hive-bus",
    list: &[Migration::new(
        1,
        "edited",
        "CREATE TABLE three (id INTEGER) STRICT;",
        "",
    )],
};

#[tokio::test]
async fn files_that_are_no_hive() {
    let home = Home::new();

    let text = home.path("text.db");
    fs::write(&text, "dear diary, ".repeat(200)).unwrap();
    let before = bytes(&text);
    let (code, said_text) = said(&refused(&text).await);
    assert_eq!(code, "not-a-database", "{said_text}");
    assert!(said_text.contains("text.db"), "{said_text}");
    assert_eq!(bytes(&text), before);

    let folder = home.path("folder.db");
    fs::create_dir(&folder).unwrap();
    assert_eq!(refused(&folder).await.code(), "storage");

    let (code, said_text) = said(&refused(&home.path("no/such/folder/hive.db")).await);
    assert_eq!(code, "storage");
    assert!(
        said_text.contains("folder does not exist") && said_text.contains("make the folder"),
        "{said_text}"
    );

    for (name, set, expected) in [
        ("newer.db", &NEWER, "schema-too-new"),
        ("edited.db", &EDITED, "schema-changed"),
    ] {
        let path = home.path(name);
        Db::open(Options::file(&path).migrations(set))
            .await
            .unwrap()
            .close()
            .await
            .unwrap();
        let before = bytes(&path);
        let (code, said_text) = said(&refused(&path).await);
        assert_eq!(code, expected, "{said_text}");
        assert_eq!(bytes(&path), before, "{name} was touched");
    }
}

#[tokio::test]
async fn a_file_that_another_hive_has_open() {
    let home = Home::new();
    let hive = Hive::open(home.db()).agent(Clerk).start().await.unwrap();
    let error = refused(&home.db()).await;
    assert_eq!(error.code(), "database-locked");
    assert_eq!(
        error.field("pid"),
        Some(std::process::id().to_string().as_str()),
        "{error}"
    );
    // The first one is none the worse for it.
    let task = hive.submit::<Clerk>(Order { items: Vec::new() }).await.unwrap();
    assert_eq!(crate::kit::soon(task.result()).await.unwrap(), 0);
    hive.shutdown().await.unwrap();
    Hive::open(home.db())
        .agent(Clerk)
        .start()
        .await
        .unwrap()
        .shutdown()
        .await
        .unwrap();
}
