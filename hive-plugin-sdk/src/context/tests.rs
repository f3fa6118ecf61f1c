use super::*;
use crate::drive::drive;
use crate::steps::Effect;
use crate::testing::TestHost;

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
fn a_step_does_nothing_before_it_is_awaited() {
    let host = TestHost::new();
    let cx = context();
    drop(cx.step("draw", async || Ok::<_, Failure>(1)));
    assert!(host.executed().is_empty());
    let step = async {
        cx.step("draw", async || Ok::<_, Failure>(1))
            .effect(Effect::Repeatable)
            .await
    };
    assert_eq!(host.attempt("task_1", || drive(step)).unwrap().unwrap(), 1);
}

#[test]
fn a_deadline_that_is_over_leaves_no_time() {
    let _host = TestHost::new();
    assert_eq!(context().time_left(), Some(Duration::ZERO));
}
