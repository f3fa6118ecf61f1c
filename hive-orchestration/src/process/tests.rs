use std::time::Duration;

use expect_test::{Expect, expect};
use hive_core::payload::Payload;
use hive_errors::{Failure, RetryPolicy};
use proptest::prelude::*;

use super::lines::{Lines, Next};
use super::protocol::{Answer, FromChild, ToChild};
use super::restarts::{Restarts, Stage, Verdict};
use crate::limits;

fn json(text: &str) -> Payload {
    Payload::from_bytes(text).unwrap()
}

#[test]
fn what_the_hive_says() {
    let line = |message: ToChild<'_>| String::from_utf8(message.line().unwrap()).unwrap();
    let said = [
        line(ToChild::Task {
            id: "task_1/2",
            task: "task_1".into(),
            root: "task_0".into(),
            tenant: "default",
            agent: "shout",
            attempt: 2,
            deadline_ms: 5,
            input: &json("{\"b\": 1.50, \"a\": \"\\n\"}"),
        }),
        line(ToChild::Cancel { id: "task_1/2" }),
        line(ToChild::Reply {
            id: "task_1/2",
            call: 7,
            answer: Answer::Found {
                found: true,
                output: json("null"),
            },
        }),
        line(ToChild::Reply {
            id: "task_1/2",
            call: 7,
            answer: Answer::Missing { found: false },
        }),
        line(ToChild::Reply {
            id: "task_1/2",
            call: 8,
            answer: Answer::Stored { stored: true },
        }),
        line(ToChild::Reply {
            id: "task_1/2",
            call: 9,
            answer: Answer::refused(&Failure::terminal("no").with("step", "plan")),
        }),
    ];
    expect![[r#"
        {"type":"task","id":"task_1/2","task":"task_1","root":"task_0","tenant":"default","agent":"shout","attempt":2,"deadline_ms":5,"input":{"a":"\n","b":1.50}}
        {"type":"cancel","id":"task_1/2"}
        {"type":"reply","id":"task_1/2","call":7,"found":true,"output":null}
        {"type":"reply","id":"task_1/2","call":7,"found":false}
        {"type":"reply","id":"task_1/2","call":8,"stored":true}
        {"type":"reply","id":"task_1/2","call":9,"error":{"code":"agent-failed","message":"no (step=plan)"}}
    "#]].assert_eq(&said.concat());
}

fn check(line: &str, expected: Expect) {
    let read = match FromChild::parse(line.as_bytes()) {
        Ok(message) => format!("{message:?}"),
        Err(garbage) => format!("{}: {}", garbage.why, garbage.line),
    };
    expected.assert_eq(&read);
}

#[test]
fn what_a_process_says() {
    check(
        r#"{"agents":["a"],"protocol":1,"type":"hello","more":{}}"#,
        expect![[r#"Hello { protocol: 1, agents: ["a"] }"#]],
    );
    check(
        r#"{"type":"progress","id":"i","done":1,"total":2}"#,
        expect![[r#"Of { id: "i", said: Progress { done: 1, total: 2, note: "" } }"#]],
    );
    check(
        r#"{"type":"output","id":"i","output":null}"#,
        expect![[r#"Of { id: "i", said: Output(Payload { size: 4, fingerprint: 5b9bc4ba528108e4 }) }"#]],
    );
    check(
        r#"{"output":{"b":2, "a":1},"id":"i","type":"output"}"#,
        expect![[r#"Of { id: "i", said: Output(Payload { size: 13, fingerprint: a0ebc03bdc71de7b }) }"#]],
    );
    check(
        r#"{"type":"step.get","id":"i","call":1,"name":"n"}"#,
        expect![[r#"Of { id: "i", said: StepGet { call: 1, name: "n", effect: Repeatable } }"#]],
    );
    check(
        r#"{"type":"step.get","id":"i","call":1,"name":"n","effect":"at-most-once"}"#,
        expect![[r#"Of { id: "i", said: StepGet { call: 1, name: "n", effect: AtMostOnce } }"#]],
    );
    check(
        r#"{"type":"step.put","id":"i","call":1,"name":"n","output":3}"#,
        expect![[
            r#"Of { id: "i", said: StepPut { call: 1, name: "n", outcome: Ok(Payload { size: 1, fingerprint: af63ae4c86019e62 }) } }"#
        ]],
    );
    check(
        r#"{"type":"log","message":"m"}"#,
        expect![[r#"Log { id: None, level: Info, message: "m" }"#]],
    );
}

#[test]
fn what_is_no_message() {
    check(
        "Loading model…",
        expect!["expected value at line 1 column 1: Loading model…"],
    );
    check("{}", expect!["missing field `type` at line 1 column 2: {}"]);
    check(
        r#"{"type":"outptu"}"#,
        expect![[r#"there is no message of type `outptu`: {\"type\":\"outptu\"}"#]],
    );
    check(
        r#"{"type":"output","output":1}"#,
        expect![[r#"a message of type `output` needs `id`: {\"type\":\"output\",\"output\":1}"#]],
    );
    check(
        r#"{"type":"output","id":"i"}"#,
        expect![[r#"a message of type `output` needs `output`: {\"type\":\"output\",\"id\":\"i\"}"#]],
    );
    check(
        r#"{"type":"output","id":1,"output":1}"#,
        expect![[
            r#"invalid type: integer `1`, expected a string at line 1 column 23: {\"type\":\"output\",\"id\":1,\"output\":1}"#
        ]],
    );
    check(
        r#"{"type":"step.put","id":"i","call":1,"name":"n"}"#,
        expect![[
            r#"a message of type `step.put` needs `output` or `failure`: {\"type\":\"step.put\",\"id\":\"i\",\"call\":1,\"name\":\"n\"}"#
        ]],
    );
    check(
        r#"{"type":"hello","protocol":-1}"#,
        expect![[
            r#"invalid value: integer `-1`, expected u32 at line 1 column 29: {\"type\":\"hello\",\"protocol\":-1}"#
        ]],
    );
    check(
        &"x".repeat(500),
        expect![
            "expected value at line 1 column 1: xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx… [cut, 500 bytes]"
        ],
    );
}

#[test]
fn a_failure_keeps_what_it_says() {
    let said = |fields: &str| {
        let line = format!(r#"{{"type":"failure","id":"i","message":"m"{fields}}}"#);
        let FromChild::Of {
            said: super::protocol::Said::Failure(failure),
            ..
        } = FromChild::parse(line.as_bytes()).unwrap()
        else {
            panic!("{line}")
        };
        failure
    };
    assert!(!said("").is_terminal());
    assert!(said(r#","retryable":false"#).is_terminal());
    assert_eq!(said(r#","code":"budget-exhausted""#).kind().code(), "budget-exhausted");
    assert_eq!(said(r#","code":"busy""#).field("code"), Some("busy"));
    assert_eq!(
        said(r#","retry_after_ms":5"#).retry_after(),
        Some(Duration::from_millis(5))
    );
}

async fn read(text: &[u8], max: usize) -> Vec<Next> {
    let mut lines = Lines::new(text, max);
    let mut all = Vec::new();
    loop {
        let next = lines.next().await.unwrap();
        let over = !matches!(next, Next::Line(_));
        all.push(next);
        if over {
            return all;
        }
    }
}

fn block<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread()
        .build()
        .unwrap()
        .block_on(future)
}

proptest! {
    #[test]
    fn lines_are_what_stands_between_their_ends(lines in prop::collection::vec("[a-z ]{0,9}", 0..20), ended: bool) {
        let text = lines.join("\n") + if ended { "\n" } else { "" };
        let mut expected: Vec<Next> = text
            .split('\n')
            .filter(|line| !line.trim().is_empty())
            .map(|line| Next::Line(line.into()))
            .collect();
        expected.push(Next::End);
        prop_assert_eq!(block(read(text.as_bytes(), 9)), expected);
    }

    #[test]
    fn any_bytes_are_read_or_refused(bytes: Vec<u8>) {
        drop(FromChild::parse(&bytes));
        for next in block(read(&bytes, 5)) {
            let (Next::Line(line) | Next::TooLong(line)) = next else { continue };
            prop_assert!(line.len() <= 5);
        }
    }

    /// However a process dies, it is given up exactly when it failed to get ready as often in a row as the policy says,
    /// and never waits longer than the policy allows otherwise.
    #[test]
    fn a_program_is_given_up_when_it_never_gets_ready(
        deaths in prop::collection::vec((any::<bool>(), any::<bool>(), any::<u64>()), 0..50),
        attempts in 1u32..6,
    ) {
        let policy = RetryPolicy::exponential(attempts).with_cap(Duration::from_secs(2));
        let mut restarts = Restarts::new(policy);
        let (mut now, mut failed) = (Duration::ZERO, 0);
        for (gets_ready, does_something, random) in deaths {
            let stage = if gets_ready {
                restarts.ready();
                failed = 0;
                if does_something {
                    restarts.task_done();
                }
                Stage::Serving
            } else {
                failed += 1;
                Stage::Starting
            };
            let verdict = restarts.died(stage, now, random);
            let wait = restarts.wait(now);
            if failed == attempts {
                prop_assert_eq!(verdict, Verdict::GiveUp);
                prop_assert_eq!(wait, limits::PROCESS_REST);
                failed = 0;
            } else {
                prop_assert_eq!(verdict, Verdict::Again);
                prop_assert!(wait <= Duration::from_secs(2));
            }
            now += wait;
            prop_assert!(restarts.wait(now).is_zero());
        }
    }
}

#[test]
fn a_process_that_dies_of_each_task_is_started_ever_later() {
    let mut restarts = Restarts::new(RetryPolicy::exponential(4).without_jitter());
    let delays: Vec<_> = (0..5)
        .map(|_| {
            restarts.ready();
            restarts.died(Stage::Serving, Duration::ZERO, 0);
            restarts.wait(Duration::ZERO).as_millis()
        })
        .collect();
    assert_eq!(delays, [100, 200, 400, 400, 400]);
    restarts.task_done();
    restarts.died(Stage::Serving, Duration::ZERO, 0);
    assert_eq!(restarts.wait(Duration::ZERO).as_millis(), 100);
}
