use std::collections::BTreeMap;

use proptest::prelude::*;
use serde::Deserialize;

use super::*;

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
struct Settings {
    workers: u16,
    ratio: f64,
    name: String,
    #[serde(rename = "dry-run")]
    dry_run: bool,
    tags: Vec<String>,
    ports: Vec<u16>,
    database: Database,
    proxy: Option<Proxy>,
    servers: Vec<Server>,
    limits: BTreeMap<String, u32>,
    extra: Value,
    mode: Mode,
    store: Store,
    tree: Option<Box<Node>>,
    big: u64,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
struct Database {
    path: String,
    pool_size: u32,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
struct Proxy {
    host: String,
    port: Option<u16>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
struct Server {
    host: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
enum Mode {
    /// Works on its own.
    Alone,
    /// Works with others.
    InCluster,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "kind", rename_all = "lowercase")]
enum Store {
    Memory,
    Disk { path: String },
}

/// Contains itself: looking through its schema must end.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
struct Node {
    label: String,
    #[serde(default)]
    next: Option<Box<Node>>,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            workers: 4,
            ratio: 0.5,
            name: "hive".into(),
            dry_run: false,
            tags: vec!["a".into()],
            ports: vec![],
            database: Database {
                path: "hive.db".into(),
                pool_size: 8,
            },
            proxy: None,
            servers: vec![],
            limits: BTreeMap::new(),
            extra: Value::Null,
            mode: Mode::Alone,
            store: Store::Memory,
            tree: None,
            big: u64::MAX,
        }
    }
}

fn loader() -> Loader<Settings> {
    Loader::new()
}

fn toml(text: &str) -> Loader<Settings> {
    loader().text("hive.toml", text)
}

fn env<T: Default + Serialize + DeserializeOwned + JsonSchema>(variables: &[(&str, &str)]) -> Loader<T> {
    Loader::new().environment(environment(variables))
}

fn environment(variables: &[(&str, &str)]) -> Environment {
    Environment::new(
        "HIVE",
        variables
            .iter()
            .map(|(name, value)| ((*name).to_owned(), (*value).to_owned())),
    )
}

/// Every text by which an error could reach someone.
fn everything(error: &Error) -> String {
    let mut texts = vec![error.to_string(), format!("{error:?}"), error.hint().to_owned()];
    let mut source = std::error::Error::source(error);
    while let Some(below) = source {
        texts.push(format!("{below} {below:?}"));
        source = below.source();
    }
    texts.join("\n")
}

#[test]
fn without_layers_there_are_the_defaults() {
    let loaded = loader().load().unwrap();
    assert_eq!(*loaded, Settings::default());
    assert_eq!(loaded.source("workers"), Some(&Source::Default));
    assert_eq!(loaded.source("database.path"), Some(&Source::Default));
    assert_eq!(loaded.source("proxy"), Some(&Source::Default));
    assert_eq!((loaded.source("database"), loaded.source("nothing")), (None, None));
    assert_eq!(loaded.into_inner(), Settings::default());
}

#[test]
fn layers_override_in_order_and_say_where_a_value_came_from() {
    let loaded =
        toml("workers = 1\nname = 'file'\n\n[database]\npath = 'file.db'\npool_size = 1\n[limits]\na = 1\nb = 2")
            .text(
                "local.toml",
                "name = 'local'\n[database]\npool_size = 2\n[limits]\nb = 3",
            )
            .environment(environment(&[("HIVE_DATABASE__POOL_SIZE", "3"), ("HIVE_NAME", "env")]))
            .set("name", "code")
            .load()
            .unwrap();
    let sources: Vec<String> = loaded
        .sources()
        .filter(|(_, source)| **source != Source::Default)
        .map(|(key, source)| format!("{key} <- {source}"))
        .collect();
    assert_eq!(
        sources,
        [
            "database.path <- hive.toml:5",
            "database.pool_size <- environment variable HIVE_DATABASE__POOL_SIZE",
            "limits.a <- hive.toml:8",
            "limits.b <- local.toml:5",
            "name <- code",
            "workers <- hive.toml:1",
        ]
    );
    assert_eq!((loaded.workers, loaded.name.as_str(), loaded.ratio), (1, "code", 0.5));
    assert_eq!(
        loaded.database,
        Database {
            path: "file.db".into(),
            pool_size: 3
        }
    );
    assert_eq!(loaded.limits, BTreeMap::from([("a".into(), 1), ("b".into(), 3)]));
}

#[test]
fn lists_are_replaced_and_options_of_tables_filled() {
    let loaded = toml("tags = ['b', 'c']\n[proxy]\nhost = 'p'\n[[servers]]\nhost = 'x'\n[[servers]]\nhost = 'y'")
        .set("proxy.port", 8080)
        .set("store", serde_json::json!({"kind": "disk", "path": "/data"}))
        .set("tree", serde_json::json!({"label": "a", "next": {"label": "b"}}))
        .load()
        .unwrap();
    assert_eq!(loaded.tags, ["b", "c"]);
    assert_eq!(
        loaded.proxy,
        Some(Proxy {
            host: "p".into(),
            port: Some(8080)
        })
    );
    assert_eq!(
        loaded
            .servers
            .iter()
            .map(|server| server.host.as_str())
            .collect::<Vec<_>>(),
        ["x", "y"]
    );
    assert_eq!(loaded.store, Store::Disk { path: "/data".into() });
    assert_eq!(loaded.tree.as_ref().unwrap().next.as_ref().unwrap().label, "b");
}

#[test]
fn unknown_keys_are_refused_with_place_and_suggestion() {
    let check = |loader: Loader<Settings>, source: &str, key: &str, nearest: Option<&str>| {
        let error = loader.load().unwrap_err();
        assert_eq!(
            (error.kind(), error.message()),
            (ErrorKind::Config, "unknown configuration key"),
            "{key}"
        );
        assert_eq!(
            (error.field("source"), error.field("key")),
            (Some(source), Some(key)),
            "{error}"
        );
        assert_eq!(error.field("nearest"), nearest, "{error}");
        error
    };
    check(toml("\nwrokers = 1"), "hive.toml:2", "wrokers", Some("workers"));
    check(toml("dry_run = true"), "hive.toml:1", "dry_run", Some("dry-run"));
    check(
        toml("[database]\n\npoolsize = 1"),
        "hive.toml:3",
        "database.poolsize",
        Some("database.pool_size"),
    );
    check(
        toml("[proxy]\nhost = 'a'\nprot = 1"),
        "hive.toml:3",
        "proxy.prot",
        Some("proxy.port"),
    );
    check(
        toml("[[servers]]\nhost = 'a'\n[[servers]]\nhots = 'b'"),
        "hive.toml:4",
        "servers.1.hots",
        Some("servers.1.host"),
    );
    check(
        toml("[store]\nkind = 'disk'\npaht = 'x'"),
        "hive.toml:3",
        "store.paht",
        Some("store.path"),
    );
    check(
        toml("[tree]\nlabel = 'a'\nnext.label = 'b'\nnext.nxt = 1"),
        "hive.toml:4",
        "tree.next.nxt",
        Some("tree.next.next"),
    );
    check(
        toml("pool_size = 3"),
        "hive.toml:1",
        "pool_size",
        Some("database.pool_size"),
    );
    check(
        loader().set("database.paths", 1),
        "code",
        "database.paths",
        Some("database.path"),
    );

    let error = check(toml("colour = 1"), "hive.toml:1", "colour", None);
    assert!(
        error.hint().starts_with("the keys here are big, database, dry-run,"),
        "{}",
        error.hint()
    );
    let error = check(toml("workers.count = 1"), "hive.toml:1", "workers.count", None);
    assert_eq!(error.hint(), "`workers` takes a value and no table");

    let error = check(
        env(&[("HIVE_WORKRES", "1")]),
        "environment variable HIVE_WORKRES",
        "workres",
        Some("workers"),
    );
    assert_eq!(error.hint(), "did you mean HIVE_WORKERS?");
    let variable = "environment variable HIVE_DATABASE__POOLSIZE";
    let error = check(
        env(&[("HIVE_DATABASE__POOLSIZE", "1")]),
        variable,
        "database.poolsize",
        Some("database.pool_size"),
    );
    assert_eq!(error.hint(), "did you mean HIVE_DATABASE__POOL_SIZE?");
}

#[test]
fn open_places_take_any_key() {
    let loaded = toml("[limits]\nanything = 1\n[extra]\nfree = { form = [1, 'two'] }")
        .load()
        .unwrap();
    assert_eq!(loaded.limits["anything"], 1);
    assert_eq!(loaded.extra, serde_json::json!({"free": {"form": [1, "two"]}}));
    let loaded = env::<Settings>(&[
        ("HIVE_LIMITS__A", "7"),
        ("HIVE_EXTRA__DEEP__KEY", "text"),
        ("HIVE_EXTRA__N", "1"),
    ]);
    let loaded = loaded.load().unwrap();
    assert_eq!(loaded.limits["a"], 7);
    assert_eq!(loaded.extra, serde_json::json!({"deep": {"key": "text"}, "n": 1}));
}

#[test]
fn the_environment_is_read_as_the_schema_says() {
    let loaded = env::<Settings>(&[
        ("HIVE_WORKERS", " 12 "),
        ("HIVE_RATIO", "1"),
        ("HIVE_NAME", "007"),
        ("HIVE_DRY_RUN", "true"),
        ("HIVE_TAGS", "x, y"),
        ("HIVE_PORTS", "1,2"),
        ("HIVE_PROXY", r#"{"host": "h"}"#),
        ("HIVE_PROXY__PORT", "99"),
        ("HIVE_SERVERS", r#"[{"host": "s"}]"#),
        ("HIVE_MODE", "in-cluster"),
        ("HIVE_store__KIND", "disk"),
        ("HIVE_STORE__PATH", "true"),
        ("HIVE_BIG", "18446744073709551615"),
        ("HIVELY_WORKERS", "99"),
        ("OTHER", "99"),
    ])
    .load()
    .unwrap();
    let expected = Settings {
        workers: 12,
        ratio: 1.0,
        name: "007".into(),
        dry_run: true,
        tags: vec!["x".into(), "y".into()],
        ports: vec![1, 2],
        proxy: Some(Proxy {
            host: "h".into(),
            port: Some(99),
        }),
        servers: vec![Server { host: "s".into() }],
        mode: Mode::InCluster,
        store: Store::Disk { path: "true".into() },
        ..Settings::default()
    };
    assert_eq!(*loaded, expected);
    assert_eq!(
        env::<Settings>(&[("HIVE_PORTS", "")]).load().unwrap().ports,
        Vec::<u16>::new()
    );
    assert_eq!(env::<Settings>(&[("HIVE_NAME", "")]).load().unwrap().name, "");
}

#[test]
fn values_that_do_not_fit_say_where_and_what_was_expected() {
    let check = |loader: Loader<Settings>, source: &str, key: &str, reason: &str| {
        let error = loader.load().unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Config, "{error}");
        assert_eq!(
            (error.field("source"), error.field("key")),
            (Some(source), Some(key)),
            "{error}"
        );
        assert!(error.field("reason").unwrap().contains(reason), "{error}");
    };
    check(
        toml("name = 'a'\nworkers = 'many'"),
        "hive.toml:2",
        "workers",
        "expected u16",
    );
    check(toml("workers = 70_000"), "hive.toml:1", "workers", "expected u16");
    check(toml("ports = [\n1,\n-2,\n]"), "hive.toml:3", "ports[1]", "expected u16");
    check(
        toml("[[servers]]\nhost = 'a'\n[[servers]]\nhost = 1"),
        "hive.toml:4",
        "servers[1].host",
        "expected a string",
    );
    check(toml("mode = 'sometimes'"), "hive.toml:1", "mode", "unknown variant");
    check(
        toml("[proxy]\nport = 1"),
        "hive.toml:1",
        "proxy",
        "missing field `host`",
    );
    check(
        loader().set("database", "x"),
        "code",
        "database",
        "expected struct Database",
    );
    let variable = "environment variable HIVE_WORKERS";
    check(
        env(&[("HIVE_WORKERS", "many")]),
        variable,
        "workers",
        "expected an integer",
    );
    check(
        env(&[("HIVE_WORKERS", "1.5")]),
        variable,
        "workers",
        "expected an integer",
    );
    check(env(&[("HIVE_WORKERS", "-1")]), variable, "workers", "expected u16");
    check(
        env(&[("HIVE_RATIO", "nan")]),
        "environment variable HIVE_RATIO",
        "ratio",
        "expected a number",
    );
    check(
        env(&[("HIVE_DRY_RUN", "yes")]),
        "environment variable HIVE_DRY_RUN",
        "dry-run",
        "expected true or false",
    );
    check(
        env(&[("HIVE_PORTS", "1,x")]),
        "environment variable HIVE_PORTS",
        "ports",
        "expected an integer",
    );
    check(
        env(&[("HIVE_DATABASE", "x")]),
        "environment variable HIVE_DATABASE",
        "database",
        "expected a JSON object",
    );
}

#[test]
fn toml_errors_name_the_line() {
    let check = |text: &str, line: &str| {
        let error = toml(text).load().unwrap_err();
        assert_eq!(
            (error.kind(), error.field("source")),
            (ErrorKind::Config, Some(line)),
            "{error}"
        );
        assert!(error.field("reason").is_some_and(|reason| !reason.is_empty()));
    };
    check("workers = 1\nname = ", "hive.toml:2");
    check("workers = 1\n\nworkers = 2", "hive.toml:3");
    check("\nratio = nan", "hive.toml:2");
    check("\nbig = 99999999999999999999", "hive.toml:2");
}

#[test]
fn numbers_in_every_spelling_and_dates() {
    let loaded = toml("workers = 0x1_0\nratio = 1e-1\nbig = 0b11\nname = 2026-01-02")
        .load()
        .unwrap();
    assert_eq!(
        (loaded.workers, loaded.ratio, loaded.big, loaded.name.as_str()),
        (16, 0.1, 3, "2026-01-02")
    );
}

#[test]
fn files_are_read_and_missing_ones_told_apart() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("hive.toml");
    let absent = loader().file(&path).load().unwrap_err();
    assert_eq!(
        (absent.kind(), absent.message()),
        (ErrorKind::Config, "the configuration file cannot be read")
    );
    assert!(absent.hint().contains("create the file"));
    assert_eq!(*loader().file_if_exists(&path).load().unwrap(), Settings::default());

    std::fs::write(&path, "workers = 1\nname = 'base'").unwrap();
    std::fs::write(folder.path().join("hive.production.toml"), "workers = 2").unwrap();
    assert_eq!(loader().file(&path).load().unwrap().workers, 1);
    let loaded = loader().file(&path).profile("production").load().unwrap();
    assert_eq!((loaded.workers, loaded.name.as_str()), (2, "base"));
    assert!(
        loaded
            .source("workers")
            .unwrap()
            .to_string()
            .ends_with("hive.production.toml:1")
    );
    assert_eq!(loader().file(&path).profile("staging").load().unwrap().workers, 1);
    let error = loader().file(&path).profile("../production").load().unwrap_err();
    assert_eq!(error.field("profile"), Some("../production"));

    // A path that exists but is no file of text is an error also where the file may be absent.
    assert!(loader().file_if_exists(folder.path()).load().is_err());
    std::fs::write(&path, b"name = '\xff'").unwrap();
    assert_eq!(
        loader().file_if_exists(&path).load().unwrap_err().field("offset"),
        Some("8")
    );
    std::fs::write(&path, vec![b'#'; crate::limits::CONFIG_BYTES_MAX as usize + 1]).unwrap();
    let error = loader().file(&path).load().unwrap_err();
    assert_eq!(error.message(), "the configuration file is too large");
}

#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
struct Guarded {
    token: Secret<String>,
    pin: Option<Secret<u16>>,
    keys: Vec<Secret<String>>,
    login: Login,
    named: BTreeMap<String, Secret<String>>,
    either: Option<Either>,
    port: u16,
    #[serde(flatten)]
    flat: Flat,
}

#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
struct Login {
    user: String,
    password: Secret<String>,
}

#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(untagged)]
enum Either {
    Token(Secret<u8>),
    Pair { token: Secret<u16> },
}

#[derive(Debug, Clone, Default, Serialize, Deserialize, JsonSchema)]
struct Flat {
    flat_pin: Option<Secret<u16>>,
}

impl Default for Guarded {
    fn default() -> Self {
        Self {
            token: Secret::new("default-token".into()),
            pin: None,
            keys: vec![Secret::new("default-key".into())],
            login: Login {
                user: "me".into(),
                password: Secret::new("default-password".into()),
            },
            named: BTreeMap::new(),
            either: None,
            port: 1,
            flat: Flat::default(),
        }
    }
}

#[test]
fn secrets_are_read_from_every_layer_and_shown_by_none() {
    let loader = Loader::<Guarded>::new()
        .text(
            "hive.toml",
            "token = 'hunter2-a'\nkeys = ['hunter2-b']\nflat_pin = 1222\n[login]\nuser = 'u'\npassword = 'hunter2-c'",
        )
        .environment(environment(&[("HIVE_PIN", "4711"), ("HIVE_NAMED__ONE", "hunter2-d")]))
        .set("either.token", 1333);
    let debug = format!("{loader:?}");
    let loaded = loader.load().unwrap();
    assert_eq!(loaded.token.expose(), "hunter2-a");
    assert_eq!(loaded.pin.as_ref().map(Secret::expose), Some(&4711));
    assert_eq!(loaded.keys[0].expose(), "hunter2-b");
    assert_eq!(loaded.login.password.expose(), "hunter2-c");
    assert_eq!(loaded.named["one"].expose(), "hunter2-d");
    assert_eq!(loaded.flat.flat_pin.as_ref().map(Secret::expose), Some(&1222));
    assert!(matches!(loaded.either, Some(Either::Pair { .. })));

    let sources: Vec<_> = loaded
        .sources()
        .map(|(key, source)| format!("{key} {source}"))
        .collect();
    let shown = format!(
        "{debug} {loaded:?} {} {sources:?}",
        serde_json::to_string(&*loaded).unwrap()
    );
    for secret in ["hunter2", "4711", "1222", "1333"] {
        assert!(!shown.contains(secret), "{secret} is shown in {shown}");
    }
    assert!(
        shown.contains("[redacted]") && debug.contains("either.token") && debug.contains("NAMED__ONE"),
        "{shown}"
    );
}

#[test]
fn the_default_of_a_secret_survives_beside_what_is_replaced() {
    let loaded = Loader::<Guarded>::new().set("login.user", "you").load().unwrap();
    assert_eq!(
        (loaded.login.user.as_str(), loaded.login.password.expose().as_str()),
        ("you", "default-password")
    );
    assert_eq!(loaded.token.expose(), "default-token");
    assert_eq!(loaded.keys[0].expose(), "default-key");
    assert_eq!(loaded.source("token"), Some(&Source::Default));
    // Loading must leave nothing behind that exposes secrets.
    assert_eq!(serde_json::to_string(&loaded.token).unwrap(), "\"[redacted]\"");
}

/// Its serialisation panics.
#[derive(Default, Deserialize, JsonSchema)]
struct Explosive {}

impl Serialize for Explosive {
    fn serialize<S: serde::Serializer>(&self, _: S) -> Result<S::Ok, S::Error> {
        panic!("boom")
    }
}

#[test]
fn a_panic_while_loading_exposes_nothing_afterwards() {
    assert!(std::panic::catch_unwind(|| Loader::<Explosive>::new().load().map(drop)).is_err());
    assert_eq!(
        serde_json::to_string(&Secret::new("hunter2")).unwrap(),
        "\"[redacted]\""
    );
}

#[test]
fn a_redacted_secret_is_not_taken_for_the_secret() {
    let secret = Secret::new("hunter2".to_owned());
    let error = Loader::<Guarded>::new().set("token", &secret).load().unwrap_err();
    assert_eq!(
        (error.field("key"), error.field("source")),
        (Some("token"), Some("code"))
    );
    assert!(error.hint().contains("expose"));
    assert!(
        Loader::<Guarded>::new()
            .text("dump.toml", "keys = ['[redacted]']")
            .load()
            .is_err()
    );
    assert_eq!(
        Loader::<Guarded>::new()
            .set("token", secret.expose())
            .load()
            .unwrap()
            .token
            .expose(),
        "hunter2"
    );
}

#[test]
fn no_error_shows_a_secret() {
    let text = |text: &str| Loader::<Guarded>::new().text("hive.toml", text);
    let loaders = [
        text("pin = 'hunter2'"),
        text("pin = [\"hunter2\"]"),
        text("pin = { a = 'hunter2' }"),
        text("flat_pin = 'hunter2'"),
        text("token = 'hunter2"),
        text("token = hunter2"),
        text("token = 'hunter2'\ntoken = 'hunter2'"),
        text("token = 'hunter2' oops"),
        text("token = \"hunter2\\q\""),
        text("token = 'hunter2'\nport = 'x'"),
        text("either = 'hunter2'"),
        text("either = { token = 'hunter2' }"),
        text("keys = ['a', { hunter2 = 'hunter2' }]"),
        text("[named]\na = ['hunter2']"),
        text("login = 'hunter2'"),
        text("token = 'hunter2'\nlogin = { user = 'a', password = ['hunter2'] }"),
        env(&[("HIVE_PIN", "hunter2")]),
        env(&[("HIVE_LOGIN", "hunter2")]),
        env(&[("HIVE_EITHER", "{\"token\": \"hunter2\"")]),
        env(&[("HIVE_NAMED", "hunter2")]),
        env(&[("HIVE_FLAT_PIN", "hunter2")]),
        env(&[("HIVE_TOKENS", "hunter2")]),
        env(&[("HIVE_TOKEN__X", "hunter2")]),
        Loader::new().set("pin", "hunter2"),
        Loader::new().set("login.password", BTreeMap::from([("hunter2", "hunter2")])),
        Loader::new().set("tokne", "hunter2"),
    ];
    for (place, loader) in loaders.into_iter().enumerate() {
        let debug = format!("{loader:?}");
        assert!(!debug.contains("hunter2"), "{place}: {debug}");
        let error = loader.load().expect_err(&format!("{place}: {debug}"));
        let shown = everything(&error);
        assert!(!shown.contains("hunter2"), "{place}: {shown}");
    }
}

#[test]
fn variables_meant_for_something_else_can_be_left_out() {
    let environment = environment(&[("HIVE_LOG", "debug"), ("HIVE_WORKERS", "2")]);
    assert!(loader().environment(environment.clone()).load().is_err());
    assert_eq!(
        loader().environment(environment.without("LOG")).load().unwrap().workers,
        2
    );
}

#[test]
fn the_process_s_environment_is_filtered_by_prefix() {
    // Cargo sets this one; changing the environment of a running process would not be sound.
    let environment = Environment::from_process("CARGO_PKG");
    let debug = format!("{environment:?}");
    assert!(debug.contains("NAME") && !debug.contains("PATH\""), "{debug}");
    assert!(format!("{:?}", Environment::from_process("NO_SUCH_PREFIX")).contains("variables: []"));
}

proptest! {
    #[test]
    fn any_text_loads_or_fails_without_showing_what_a_secret_holds(
        key in prop::sample::select(vec!["token", "pin", "keys", "login", "named", "either", "flat_pin", "port", "tokn"]),
        shape in prop::sample::select(vec!["'@'", "['@']", "{ a = '@' }", "{ token = '@' }", "{ user = 'u', password = '@' }", "'@", "[[@", "@"]),
        variable: bool,
    ) {
        let text = shape.replace('@', "hunter2");
        let loader = if variable {
            env::<Guarded>(&[(&*format!("HIVE_{}", key.to_uppercase()), &text)])
        } else {
            Loader::<Guarded>::new().text("hive.toml", format!("{key} = {text}"))
        };
        // `port` and misspelt keys are no secrets; what is typed there may be shown.
        if !["port", "tokn"].contains(&key) {
            let shown = loader.load().map_or_else(|error| everything(&error), |loaded| format!("{loaded:?}"));
            prop_assert!(!shown.contains("hunter2"), "{}", shown);
        } else {
            prop_assert!(loader.load().is_err());
        }
    }

    #[test]
    fn no_text_panics(text in ".{0,80}", name in "HIVE_[A-Z_]{0,20}") {
        let _ = toml(&text).load();
        let _ = env::<Settings>(&[(&name, &text)]).load();
        let _ = loader().set(text.clone(), text).load();
    }
}
