use super::*;
use crate::testing::TestHost;

fn failing(message: &str) -> Result<u32, Failure> {
    Err(Failure::retryable(message))
}

#[test]
fn a_step_that_worked_is_not_done_again() {
    let host = TestHost::new();
    for _ in 0..2 {
        let value = host.attempt("task_1", || remember("draw", || Ok::<_, Failure>(7)));
        assert_eq!(value.unwrap(), 7);
    }
    assert_eq!(host.executed(), ["draw"]);
}

#[test]
fn a_step_that_failed_is_done_again() {
    let host = TestHost::new();
    assert_eq!(
        host.attempt("task_1", || remember("draw", || failing("no")))
            .unwrap_err()
            .message(),
        "no"
    );
    assert_eq!(
        host.attempt("task_1", || remember("draw", || Ok::<_, Failure>(7)))
            .unwrap(),
        7
    );
    assert_eq!(host.executed(), ["draw", "draw"]);
}

#[test]
fn a_name_in_a_loop_is_several_steps() {
    let host = TestHost::new();
    let draw = || {
        (0..3)
            .map(|lot| remember("draw", || Ok::<_, Failure>(lot)))
            .collect::<Result<Vec<_>, _>>()
    };
    assert_eq!(host.attempt("task_1", draw).unwrap(), [0, 1, 2]);
    assert_eq!(host.attempt("task_1", draw).unwrap(), [0, 1, 2]);
    assert_eq!(host.executed().len(), 3);
}

#[test]
fn tasks_do_not_share_steps() {
    let host = TestHost::new();
    for task in ["task_1", "task_2"] {
        host.attempt(task, || remember("draw", || Ok::<_, Failure>(7))).unwrap();
    }
    assert_eq!(host.executed().len(), 2);
}

#[test]
fn a_step_within_a_step_is_remembered_on_its_own() {
    let host = TestHost::new();
    let outer = |fails: bool| {
        remember("outer", || {
            let inner = remember("inner", || Ok::<_, Failure>(1))?;
            if fails { failing("later") } else { Ok(inner + 1) }
        })
    };
    host.attempt("task_1", || outer(true)).unwrap_err();
    assert_eq!(host.attempt("task_1", || outer(false)).unwrap(), 2);
    assert_eq!(host.executed(), ["outer", "inner", "outer"]);
}

#[test]
fn a_step_that_may_have_run_is_left_to_a_person() {
    let host = TestHost::new();
    let crash =
        || std::panic::catch_unwind(|| remember_as("pay", Effect::AtMostOnce, || -> Result<u8, Failure> { panic!() }));
    assert!(host.attempt("task_1", crash).is_err());
    let failure = host
        .attempt("task_1", || {
            remember_as("pay", Effect::AtMostOnce, || Ok::<_, Failure>(1))
        })
        .unwrap_err();
    assert_eq!(failure.code(), "indeterminate");
    // One that may be repeated is.
    let crash = || std::panic::catch_unwind(|| remember("read", || -> Result<u8, Failure> { panic!() }));
    assert!(host.attempt("task_1", crash).is_err());
    assert_eq!(
        host.attempt("task_1", || remember("read", || Ok::<_, Failure>(1)))
            .unwrap(),
        1
    );
}

#[test]
fn a_result_of_another_type_is_drift() {
    let host = TestHost::new();
    host.attempt("task_1", || remember("draw", || Ok::<_, Failure>(7)))
        .unwrap();
    let failure = host
        .attempt("task_1", || remember("draw", || Ok::<_, Failure>("seven".to_owned())))
        .unwrap_err();
    assert_eq!(failure.code(), "drift");
    assert_eq!(failure.field("step"), Some("draw"));
}

#[test]
fn a_result_without_json_ends_the_step() {
    let host = TestHost::new();
    let odd = || Ok::<_, Failure>(std::collections::BTreeMap::from([((1, 2), 3)]));
    let failure = host.attempt("task_1", || remember("odd", odd)).unwrap_err();
    assert_eq!(failure.code(), "invalid-input");
}

#[test]
fn outside_of_a_task_there_are_no_steps() {
    let _host = TestHost::new();
    assert!(
        remember("draw", || Ok::<_, Failure>(7))
            .unwrap_err()
            .hint()
            .unwrap()
            .contains("TestHost::attempt")
    );
}
