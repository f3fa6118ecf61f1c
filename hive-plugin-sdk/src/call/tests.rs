use serde_json::json;

use super::*;
use crate::drive::drive;
use crate::task::Task;
use crate::testing::TestHost;

/// Stands for an agent elsewhere: only its name and types count.
struct Double;

impl Agent for Double {
    const NAME: &'static str = "double";
    type Input = i64;
    type Output = i64;

    async fn run(&self, _: &Context, number: i64) -> Result<i64, Failure> {
        Ok(number * 2)
    }
}

fn context() -> Context {
    Context::new(
        Task::new(
            "task_1".into(),
            "queen".into(),
            1,
            "null".into(),
            r#"{"deadline_micros": 0}"#,
        )
        .unwrap(),
    )
}

#[test]
fn children_keep_their_order_and_are_not_called_twice() {
    let host = TestHost::new();
    let calls = std::rc::Rc::new(std::cell::Cell::new(0));
    let counted = calls.clone();
    host.answer_agent("double", move |input| {
        counted.set(counted.get() + 1);
        Ok(json!(input.as_i64().unwrap() * 2))
    });
    let cx = context();
    for _ in 0..2 {
        let doubled: Vec<i64> = host
            .attempt("task_1", || drive(cx.map("each", [3, 1, 2], Call::<Double>::new)))
            .unwrap()
            .unwrap();
        assert_eq!(doubled, [6, 2, 4]);
    }
    assert_eq!(calls.get(), 3);
}

#[test]
fn the_first_child_that_failed_is_what_is_told() {
    let host = TestHost::new();
    host.answer_agent("double", |input| {
        if input == 1 {
            Ok(json!(1))
        } else {
            Err(Failure::terminal(format!("not {input}")))
        }
    });
    let failure = host
        .attempt("task_1", || {
            drive(context().map("each", [1, 2, 3], Call::<Double>::new))
        })
        .unwrap()
        .unwrap_err();
    assert_eq!(failure.message(), "not 2");
}

#[test]
fn an_agent_that_nobody_plays_is_an_error() {
    let host = TestHost::new();
    let failure = host
        .attempt("task_1", || drive(context().call("ask", Call::<Double>::new(1))))
        .unwrap()
        .unwrap_err();
    assert_eq!(failure.code(), "not-found");
}

#[test]
fn another_tasks_child_cannot_be_joined() {
    let host = TestHost::new();
    host.answer_agent("one", |_| Ok(json!(1)));
    let id = host
        .attempt("task_1", || tasks::start("a", "one", &(), Priority::High))
        .unwrap();
    assert_eq!(
        host.attempt("task_2", || tasks::join::<u8>(&id)).unwrap_err().code(),
        "not-found"
    );
    assert_eq!(host.attempt("task_1", || tasks::join::<u8>(&id)).unwrap(), 1);
}
