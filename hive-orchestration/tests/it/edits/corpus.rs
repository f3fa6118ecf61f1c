//! The edits, each with what is told of it and what comes of it.

use std::sync::Arc;
use std::time::Duration;

use hive_orchestration::drift::Drift::{Adopt, Fail, Pause, Rerun};
use hive_orchestration::{Call, Context, Effect, Failure, RetryPolicy, Signal, agent_fn};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Edit, Helper, Log, Make, NUMBER, Other, ok};

/// The code of an agent, from its context and its log.
macro_rules! code {
    (|$cx:ident, $log:ident| $body:block) => {
        code!(|$cx, $log, _input: u32| -> u32 $body)
    };
    (|$cx:ident, $log:ident, $input:ident: $I:ty| -> $O:ty $body:block) => {{
        let make: Make = Arc::new(|name: String, log: Log| {
            agent_fn(name, move |$cx: Context, $input: $I| {
                let $log = log.clone();
                async move {
                    let _both = (&$cx, &$log);
                    let ended: Result<$O, Failure> = $body;
                    ended
                }
            })
        });
        make
    }};
}

fn edit(
    name: &'static str,
    old: Make,
    new: Make,
    (check, end, again): (&'static str, &'static str, &'static [&'static str]),
) -> Edit {
    Edit {
        name,
        old,
        new: Some(new),
        check,
        end,
        again,
    }
}

/// A step that does what it is called.
macro_rules! step {
    ($cx:expr, $log:expr, $name:expr) => {
        $cx.step($name, async || ok($log.did($name)))
    };
}

fn one() -> Make {
    code!(|cx, log| {
        step!(cx, log, "a").await?;
        log.stop().await
    })
}

fn two() -> Make {
    code!(|cx, log| {
        step!(cx, log, "a").await?;
        step!(cx, log, "b").await?;
        log.stop().await
    })
}

fn text() -> Result<String, Failure> {
    Ok("one".to_owned())
}

pub(super) fn all() -> Vec<Edit> {
    [order(), names(), types(), versions(), kinds(), calls(), waits(), ends()]
        .into_iter()
        .flatten()
        .collect()
}

const DONE: &[&str] = &[];

fn order() -> Vec<Edit> {
    let thrice = |times: u32| {
        let make: Make = Arc::new(move |name, log: Log| {
            agent_fn(name, move |cx: Context, _: u32| {
                let log = log.clone();
                async move {
                    for n in 0..times {
                        cx.step("a", async || ok(log.did(&format!("a{n}")))).await?;
                    }
                    if times == 3 { log.stop().await } else { ok(times) }
                }
            })
        });
        make
    };
    vec![
        edit(
            "a step after the others",
            one(),
            code!(|cx, log| {
                step!(cx, log, "a").await?;
                step!(cx, log, "x").await
            }),
            ("safe", "done", DONE),
        ),
        edit(
            "a step before the others",
            one(),
            code!(|cx, log| {
                step!(cx, log, "x").await?;
                step!(cx, log, "a").await
            }),
            ("unreached", "done", DONE),
        ),
        edit(
            "a step between the others",
            two(),
            code!(|cx, log| {
                step!(cx, log, "a").await?;
                step!(cx, log, "x").await?;
                step!(cx, log, "b").await
            }),
            ("unreached", "done", DONE),
        ),
        edit(
            "a step less",
            two(),
            code!(|cx, log| { step!(cx, log, "b").await }),
            ("lost", "done", DONE),
        ),
        edit(
            "a step less, and one more behind it",
            two(),
            code!(|cx, log| {
                step!(cx, log, "b").await?;
                step!(cx, log, "x").await
            }),
            ("unreached", "done", DONE),
        ),
        edit(
            "steps in another order",
            two(),
            code!(|cx, log| {
                step!(cx, log, "b").await?;
                step!(cx, log, "a").await
            }),
            ("safe", "done", DONE),
        ),
        edit(
            "steps side by side",
            two(),
            code!(|cx, log| {
                let (a, b) = tokio::join!(async { step!(cx, log, "a").await }, async { step!(cx, log, "b").await });
                ok(a? + b?)
            }),
            ("safe", "done", DONE),
        ),
        edit(
            "a new step beside an old one",
            one(),
            code!(|cx, log| {
                let (a, x) = tokio::join!(async { step!(cx, log, "a").await }, async { step!(cx, log, "x").await });
                ok(a? + x?)
            }),
            ("safe", "done", DONE),
        ),
        edit("a loop that is longer", two_of_a(), thrice(4), ("safe", "done", DONE)),
        edit("a loop that is shorter", thrice(3), thrice(2), ("lost", "done", DONE)),
        edit(
            "an early return",
            two(),
            code!(|cx, log| { step!(cx, log, "a").await }),
            ("lost", "done", DONE),
        ),
    ]
}

fn two_of_a() -> Make {
    code!(|cx, log| {
        for n in 0..2 {
            cx.step("a", async || ok(log.did(&format!("a{n}")))).await?;
        }
        log.stop().await
    })
}

fn names() -> Vec<Edit> {
    vec![
        edit(
            "a step under another name",
            one(),
            code!(|cx, log| { cx.step("renamed", async || ok(log.did("a"))).await }),
            ("unreached", "done", &["a"]),
        ),
        edit(
            "a step in a scope",
            one(),
            code!(|cx, log| { step!(cx.scope("s"), log, "a").await }),
            ("unreached", "done", &["a"]),
        ),
        edit(
            "a step in another scope",
            code!(|cx, log| {
                step!(cx.scope("s"), log, "a").await?;
                log.stop().await
            }),
            code!(|cx, log| { step!(cx.scope("t"), log, "a").await }),
            ("unreached", "done", &["a"]),
        ),
        edit(
            "a scope of a branch that stays",
            code!(|cx, log| {
                step!(cx.scope("s"), log, "a").await?;
                step!(cx, log, "a").await?;
                log.stop().await
            }),
            code!(|cx, log| {
                let s = cx.scope("s");
                let (a, b) = tokio::join!(async { step!(cx, log, "a").await }, async { step!(s, log, "a").await });
                ok(a? + b?)
            }),
            ("safe", "done", DONE),
        ),
    ]
}

fn types() -> Vec<Edit> {
    vec![
        edit(
            "a type that reads the old form",
            one(),
            code!(|cx, log| {
                cx.step("a", async || ok(u64::from(log.did("a")))).await?;
                ok(1)
            }),
            ("safe", "done", DONE),
        ),
        edit(
            "another type",
            one(),
            code!(|cx, log| {
                cx.step("a", async || {
                    log.did("a");
                    text()
                })
                .await?;
                ok(1)
            }),
            ("drift of output: pause", "held", DONE),
        ),
        edit(
            "another type, run again",
            one(),
            code!(|cx, log| {
                cx.step("a", async || {
                    log.did("a");
                    text()
                })
                .on_drift(Rerun)
                .await?;
                ok(1)
            }),
            ("drift of output: rerun", "done", &["a"]),
        ),
        edit(
            "another type, adopted if it can be read",
            one(),
            code!(|cx, log| {
                cx.step("a", async || {
                    log.did("a");
                    text()
                })
                .on_drift(Adopt)
                .await?;
                ok(1)
            }),
            ("drift of output: pause", "held", DONE),
        ),
        edit(
            "another type, or the task fails",
            one(),
            code!(|cx, log| {
                cx.step("a", async || {
                    log.did("a");
                    text()
                })
                .on_drift(Fail)
                .await?;
                ok(1)
            }),
            ("drift of output: fail", "failed: drift", DONE),
        ),
        edit(
            "an input with one more field",
            code!(|cx, log, _n: u32| -> u32 {
                {
                    step!(cx, log, "a").await?;
                    log.stop().await
                }
            }),
            code!(|cx, log, wide: Wide| -> u32 {
                {
                    step!(cx, log, "a").await?;
                    ok(wide.more)
                }
            }),
            ("safe", "done", DONE),
        ),
        edit(
            "an input of another type",
            one(),
            code!(|cx, log, list: Vec<String>| -> u32 {
                {
                    step!(cx, log, "a").await?;
                    ok(list.len() as u32)
                }
            }),
            ("fails: drift", "failed: drift", DONE),
        ),
        edit(
            "an output of another type",
            one(),
            code!(|cx, log, _n: u32| -> String {
                {
                    step!(cx, log, "a").await?;
                    text()
                }
            }),
            ("safe", "done", DONE),
        ),
    ]
}

/// A number, or more than a number.
#[derive(Serialize, Deserialize, JsonSchema)]
#[serde(from = "Form")]
struct Wide {
    more: u32,
}

#[derive(Deserialize, JsonSchema)]
#[serde(untagged)]
enum Form {
    Number(u32),
    Wide { more: u32 },
}

impl From<Form> for Wide {
    fn from(form: Form) -> Self {
        match form {
            Form::Number(more) | Form::Wide { more } => Self { more },
        }
    }
}

fn versions() -> Vec<Edit> {
    vec![
        edit(
            "another version",
            one(),
            code!(|cx, log| { step!(cx, log, "a").version(2).await }),
            ("drift of version: pause", "held", DONE),
        ),
        edit(
            "another version, adopted",
            one(),
            code!(|cx, log| { step!(cx, log, "a").version(2).on_drift(Adopt).await }),
            ("drift of version: adopt", "done", DONE),
        ),
        edit(
            "another version, run again",
            one(),
            code!(|cx, log| { step!(cx, log, "a").version(2).on_drift(Rerun).await }),
            ("drift of version: rerun", "done", &["a"]),
        ),
        edit(
            "another version, or the task fails",
            one(),
            code!(|cx, log| { step!(cx, log, "a").version(2).on_drift(Fail).await }),
            ("drift of version: fail", "failed: drift", DONE),
        ),
        edit(
            "the same version as before",
            code!(|cx, log| {
                step!(cx, log, "a").version(2).await?;
                log.stop().await
            }),
            code!(|cx, log| { step!(cx, log, "a").version(2).await }),
            ("safe", "done", DONE),
        ),
        edit(
            "a version taken back",
            code!(|cx, log| {
                step!(cx, log, "a").version(2).await?;
                log.stop().await
            }),
            code!(|cx, log| { step!(cx, log, "a").await }),
            ("drift of version: pause", "held", DONE),
        ),
    ]
}

fn once() -> Make {
    code!(|cx, log| {
        step!(cx, log, "a").effect(Effect::AtMostOnce).await?;
        log.stop().await
    })
}

fn recorded() -> Make {
    code!(|cx, log| {
        let own = log.clone();
        cx.transaction("a", move |_| Ok(own.did("a"))).await?;
        log.stop().await
    })
}

fn kinds() -> Vec<Edit> {
    vec![
        edit(
            "a step that must not run twice any more",
            one(),
            code!(|cx, log| { step!(cx, log, "a").effect(Effect::AtMostOnce).await }),
            ("safe", "done", DONE),
        ),
        edit(
            "a step that may run twice now",
            once(),
            code!(|cx, log| { step!(cx, log, "a").await }),
            ("safe", "done", DONE),
        ),
        edit(
            "what must not run twice, run again as a step",
            once(),
            code!(|cx, log| { step!(cx, log, "a").version(2).on_drift(Rerun).await }),
            ("drift of version: pause", "held", DONE),
        ),
        edit(
            "a step on a thread of its own",
            one(),
            code!(|cx, log| {
                let own = log.clone();
                cx.blocking("a", move || ok(own.did("a"))).await
            }),
            ("safe", "done", DONE),
        ),
        edit(
            "a step with retries and a time limit",
            one(),
            code!(|cx, log| {
                step!(cx, log, "a")
                    .retry(RetryPolicy::exponential(3))
                    .timeout(Duration::from_secs(5))
                    .await
            }),
            ("safe", "done", DONE),
        ),
        edit(
            "a transaction for a step",
            one(),
            code!(|cx, log| { cx.transaction("a", move |_| Ok(log.did("a"))).await }),
            ("drift of kind: pause", "held", DONE),
        ),
        edit(
            "a transaction for a step, run again",
            one(),
            code!(|cx, log| { cx.transaction("a", move |_| Ok(log.did("a"))).on_drift(Rerun).await }),
            ("drift of kind: rerun", "done", &["a"]),
        ),
        edit(
            "a transaction for a step, adopted",
            one(),
            code!(|cx, log| { cx.transaction("a", move |_| Ok(log.did("a"))).on_drift(Adopt).await }),
            ("drift of kind: adopt", "done", DONE),
        ),
        edit(
            "a step for a transaction",
            recorded(),
            code!(|cx, log| { step!(cx, log, "a").await }),
            ("drift of kind: pause", "held", DONE),
        ),
        edit(
            "a step for a transaction, run again",
            recorded(),
            code!(|cx, log| { step!(cx, log, "a").on_drift(Rerun).await }),
            ("drift of kind: pause", "held", DONE),
        ),
        edit(
            "a transaction of another version, run again",
            recorded(),
            code!(|cx, log| {
                cx.transaction("a", move |_| Ok(log.did("a")))
                    .version(1)
                    .on_drift(Rerun)
                    .await
            }),
            ("drift of version: rerun", "done", &["a"]),
        ),
        edit(
            "a call for a step",
            one(),
            code!(|cx, log| { cx.call("a", Call::<Helper>::new(90)).await }),
            ("drift of kind: pause", "held", DONE),
        ),
        edit(
            "a step for a call",
            called(10),
            code!(|cx, log| { step!(cx, log, "a").await }),
            ("drift of kind: pause", "held", DONE),
        ),
        edit(
            "a call and a step of one name",
            code!(|cx, log| {
                step!(cx, log, "a").await?;
                log.stop().await
            }),
            code!(|cx, log| {
                step!(cx, log, "a").await?;
                cx.call("a", Call::<Other>::new(1)).await
            }),
            ("safe", "done", DONE),
        ),
    ]
}

/// One child, and on.
fn called(input: u32) -> Make {
    Arc::new(move |name, log: Log| {
        agent_fn(name, move |cx: Context, _: u32| {
            let log = log.clone();
            async move {
                cx.call("a", Call::<Helper>::new(input)).await?;
                log.stop().await
            }
        })
    })
}

/// Some children, and on.
fn mapped(first: u32) -> Make {
    Arc::new(move |name, log: Log| {
        agent_fn(name, move |cx: Context, _: u32| {
            let log = log.clone();
            async move {
                cx.map("a", first..first + 2, Call::<Helper>::new).await?;
                log.stop().await
            }
        })
    })
}

// Children's inputs begin with 2 or 3 where they may be called by new code.
fn calls() -> Vec<Edit> {
    vec![
        edit(
            "a call that stays",
            called(11),
            code!(|cx, log| { cx.call("a", Call::<Helper>::new(11)).await }),
            ("safe", "done", DONE),
        ),
        edit(
            "a call of another agent",
            called(12),
            code!(|cx, log| { cx.call("a", Call::<Other>::new(12)).await }),
            ("drift of children: pause", "held", DONE),
        ),
        edit(
            "a call with another input",
            called(13),
            code!(|cx, log| { cx.call("a", Call::<Helper>::new(14)).await }),
            ("drift of input: adopt", "done", DONE),
        ),
        edit(
            "a call with another input, held",
            called(15),
            code!(|cx, log| { cx.call("a", Call::<Helper>::new(16).on_drift(Pause)).await }),
            ("drift of input: pause", "held", DONE),
        ),
        edit(
            "a call with another input, made anew",
            called(17),
            code!(|cx, log| { cx.call("a", Call::<Helper>::new(20).on_drift(Rerun)).await }),
            ("drift of input: rerun", "done", DONE),
        ),
        edit(
            "a map that stays",
            mapped(40),
            code!(|cx, log| { ok(cx.map("a", 40..42, Call::<Helper>::new).await?.len() as u32) }),
            ("safe", "done", DONE),
        ),
        edit(
            "a map with more items",
            mapped(50),
            code!(|cx, log| { ok(cx.map("a", 50..53, Call::<Helper>::new).await?.len() as u32) }),
            ("drift of children: pause", "held", DONE),
        ),
        edit(
            "a map with fewer items",
            mapped(60),
            code!(|cx, log| { ok(cx.map("a", 60..61, Call::<Helper>::new).await?.len() as u32) }),
            ("drift of children: pause", "held", DONE),
        ),
        edit(
            "a map with more items, made anew",
            mapped(30),
            code!(|cx, log| {
                ok(cx
                    .map("a", 30..33, |n| Call::<Helper>::new(n).on_drift(Rerun))
                    .await?
                    .len() as u32)
            }),
            ("drift of children: rerun", "done", DONE),
        ),
        edit(
            "a map with more items, or the task fails",
            mapped(70),
            code!(|cx, log| {
                ok(cx
                    .map("a", 70..73, |n| Call::<Helper>::new(n).on_drift(Fail))
                    .await?
                    .len() as u32)
            }),
            ("drift of children: fail", "failed: drift", DONE),
        ),
    ]
}

fn answered() -> Make {
    code!(|cx, log| {
        cx.wait(NUMBER).await?;
        log.stop().await
    })
}

fn waits() -> Vec<Edit> {
    const HOUR: Duration = Duration::from_secs(3_600);
    vec![
        edit(
            "a signal of another name",
            code!(|cx, log| {
                log.stops();
                cx.wait(Signal::<u32>::new("go")).await
            }),
            code!(|cx, log| { cx.wait(Signal::<u32>::new("ready")).await }),
            ("safe", "waits", DONE),
        ),
        edit(
            "a new wait before the others",
            one(),
            code!(|cx, log| {
                cx.wait(Signal::<u32>::new("go")).await?;
                step!(cx, log, "a").await
            }),
            ("unreached", "waits", DONE),
        ),
        edit(
            "an answer of another type",
            answered(),
            code!(|cx, log| {
                cx.wait(Signal::<String>::new("number")).await?;
                ok(1)
            }),
            ("drift of output: pause", "held", DONE),
        ),
        edit(
            "an answer that nobody wants any more",
            answered(),
            code!(|cx, log| { ok(1) }),
            ("lost", "done", DONE),
        ),
        edit(
            "a sleep that is longer",
            code!(|cx, log| {
                log.stops();
                cx.sleep(HOUR).await?;
                ok(1)
            }),
            code!(|cx, log| {
                cx.sleep(2 * HOUR).await?;
                ok(1)
            }),
            ("safe", "waits", DONE),
        ),
        edit(
            "a sleep less",
            code!(|cx, log| {
                cx.sleep(Duration::from_millis(1)).await?;
                step!(cx, log, "a").await?;
                log.stop().await
            }),
            code!(|cx, log| { step!(cx, log, "a").await }),
            ("safe", "done", DONE),
        ),
    ]
}

fn ends() -> Vec<Edit> {
    vec![
        edit(
            "code that fails now",
            one(),
            code!(|cx, log| {
                step!(cx, log, "a").await?;
                Err(Failure::terminal("no more of this"))
            }),
            ("fails: agent-failed", "failed: agent-failed", DONE),
        ),
        Edit {
            new: None,
            check: "no agent",
            end: "nobody",
            ..edit("an agent that is gone", one(), one(), ("", "", DONE))
        },
    ]
}
