use super::*;

fn task(context: &str) -> Result<Task, Failure> {
    Task::new("task_1".into(), "echo".into(), 1, "[1]".into(), context)
}

#[test]
fn a_newer_host_may_say_more_and_an_older_one_less() {
    let newer = task(r#"{"tenant":"acme","colour":"blue","metadata":{"a":"b"},"deadline_micros":7}"#).unwrap();
    assert_eq!(newer.tenant(), Some("acme"));
    assert_eq!(newer.metadata("a"), Some("b"));
    assert_eq!(newer.deadline(), Some(Timestamp::from_micros(7)));
    let older = task("{}").unwrap();
    assert_eq!(older.tenant(), None);
    assert_eq!(older.idempotency_key(), "task_1");
}

#[test]
fn input_that_does_not_fit_is_terminal() {
    let failure = task("{}").unwrap().input::<String>().unwrap_err();
    assert!(failure.is_terminal());
    assert_eq!(failure.code(), "invalid-input");
    assert_eq!(task("{}").unwrap().input::<Vec<u8>>().unwrap(), [1]);
}
