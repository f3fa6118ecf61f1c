use serde_json::json;

use super::*;
use crate::{Description, NoConfig, Reply, clock, events, log, memory, random};

/// Uses whatever it is asked to.
struct Probe;

impl Plugin for Probe {
    type Config = NoConfig;

    fn describe() -> Result<Description, Failure> {
        struct Named;
        impl crate::Agent for Named {
            const NAME: &'static str = "probe";
            type Input = ();
            type Output = ();
            async fn run(&self, _: &crate::Context, (): ()) -> Result<(), Failure> {
                Ok(())
            }
        }
        Description::new("probe", "1.0.0").agent::<Named>()
    }

    fn initialize(_: NoConfig) -> Result<Self, Failure> {
        Ok(Self)
    }

    fn handle_task(&mut self, task: Task) -> Result<Reply, Failure> {
        match task.input::<String>()?.as_str() {
            "attempt" => Reply::new(&task.attempt()),
            "tenant" => Reply::new(&task.tenant()),
            "fail" => Err(Failure::terminal("no").with("why", "so").with_hint("ask again")),
            _ => Err(task.unknown_agent()),
        }
    }

    fn cleanup(&mut self) {
        log::info("bye");
    }
}

#[test]
fn a_task_and_its_failure_cross_the_boundary() {
    let host = TestHost::new();
    let mut plugin = host.load::<Probe>("{}").unwrap();
    let task = TestTask::new("probe", "attempt").unwrap();
    assert_eq!(plugin.run::<u32>(&task.again().again()).unwrap(), 3);
    let tenant = TestTask::new("probe", "tenant").unwrap().with_tenant("acme");
    assert_eq!(plugin.run::<String>(&tenant).unwrap(), "acme");
    let failure = plugin.run::<()>(&TestTask::new("probe", "fail").unwrap()).unwrap_err();
    assert_eq!(
        (failure.to_string().as_str(), failure.hint()),
        ("no (why=so)", Some("ask again"))
    );
    plugin.unload();
    assert_eq!(host.logged(Level::Info), ["bye"]);
    assert!(host.logged(Level::Warn).is_empty());
}

#[test]
fn a_configuration_that_nobody_reads_is_refused() {
    let failure = TestHost::new().load::<Probe>(r#"{"colour":"blue"}"#).unwrap_err();
    assert_eq!(failure.code(), "invalid-input");
    assert!(failure.field("reason").unwrap().contains("colour"));
}

#[test]
fn memory_is_compared_as_json() {
    let _host = TestHost::new();
    assert!(memory::replace("k", None, Some(&json!({"a": 1, "b": 2}))).unwrap());
    assert!(!memory::replace("k", None, Some(&json!(1))).unwrap());
    assert!(memory::replace("k", Some(&json!({"b": 2, "a": 1})), None).unwrap());
    assert_eq!(memory::get::<Value>("k").unwrap(), None);
    assert!(!memory::delete("k").unwrap());
}

#[test]
fn keys_come_in_pages() {
    let _host = TestHost::new();
    for key in ["a/1", "a/2", "a/3", "b/1"] {
        memory::set(key, &0).unwrap();
    }
    assert_eq!(memory::list("a/", None, 2).unwrap(), ["a/1", "a/2"]);
    assert_eq!(memory::list("a/", Some("a/2"), 2).unwrap(), ["a/3"]);
    assert!(memory::list("a/", Some("a/3"), 2).unwrap().is_empty());
}

#[test]
fn time_and_chance_are_the_tests_own() {
    let host = TestHost::new();
    let before = clock::now();
    host.advance(Duration::from_secs(1));
    assert_eq!(clock::now() - before, Duration::from_secs(1));
    let first = (random::next_u64(), random::bytes(3));
    host.set_seed(0);
    assert_eq!((random::next_u64(), random::bytes(3)), first);
    assert_eq!(random::bytes(3).len(), 3);
}

#[test]
fn a_new_host_knows_nothing_of_the_last() {
    let host = TestHost::new();
    memory::set("k", &1).unwrap();
    events::publish("a.b", &json!({"c": 1})).unwrap();
    log::write(Level::Debug, "line", &[("size", &3)]);
    log::progress(1, 2, "half");
    assert_eq!(host.events(), [("a.b".to_owned(), json!({"c": 1}))]);
    assert_eq!(host.logged(Level::Trace), [r#"line {"size":"3"}"#]);
    assert_eq!(host.progress(), [(1, 2, "half".to_owned())]);
    assert_eq!(host.used(), ["events", "log", "memory"]);
    let host = TestHost::new();
    assert_eq!(memory::get::<u8>("k").unwrap(), None);
    assert!(host.events().is_empty());
    assert_eq!(host.used(), ["memory"]);
}

#[test]
fn a_reply_of_the_model_may_be_structured() {
    let host = TestHost::new();
    host.answer_model_with(|request| Ok(model::Reply::structured(request["schema"].clone())));
    let schema = crate::Schema::parse(r#"{"type":"object"}"#).unwrap();
    let echoed: Value = model::extract_as(schema.clone(), "echo").unwrap();
    assert_eq!(echoed, json!({"type": "object"}));
    let failure = model::extract_as::<u8>(schema, "echo").unwrap_err();
    assert_eq!((failure.code(), failure.is_terminal()), ("model-output", false));
}
