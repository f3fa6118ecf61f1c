use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use expect_test::expect;
use hive_errors::{ErrorKind, Failure};
use proptest::prelude::*;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::course::{Call, Calls, Outputs, Standing, course};
use super::graph::Graph;
use super::revision::{Decision, Stored, VERSION};
use super::*;
use crate::agent::agent_fn;
use crate::context::Context;
use crate::limits;

#[derive(Serialize, Deserialize, JsonSchema)]
struct Topic {
    topic: String,
    #[serde(default)]
    words: Option<u8>,
    #[serde(default)]
    style: Style,
}

#[derive(Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
enum Style {
    #[default]
    Plain,
    Verse,
}

#[derive(Serialize, Deserialize, JsonSchema)]
struct Text {
    text: String,
    words: u32,
    score: f64,
    author: Option<Author>,
    tags: Vec<String>,
    /// Whatever there is to say.
    extra: Value,
}

#[derive(Serialize, Deserialize, JsonSchema)]
struct Author {
    name: String,
    friends: Vec<Author>,
}

#[derive(Serialize, Deserialize, JsonSchema)]
#[serde(tag = "kind", rename_all = "snake_case")]
enum Question {
    Yes { of: String },
    Number { of: String, most: i32 },
}

#[derive(Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Strict {
    text: String,
    words: u32,
}

fn catalogue() -> Catalogue {
    let agents = [
        agent_fn("writer", async |_: Context, _: Topic| {
            Err::<Text, _>(Failure::terminal("no"))
        })
        .with_capability("text.write"),
        agent_fn("critic", async |_: Context, _: Text| {
            Err::<bool, _>(Failure::terminal("no"))
        }),
        agent_fn("shout", async |_: Context, _: String| {
            Err::<String, _>(Failure::terminal("no"))
        })
        .with_capability("text.change"),
        agent_fn("count", async |_: Context, _: Vec<u32>| {
            Err::<u32, _>(Failure::terminal("no"))
        }),
        agent_fn("strict", async |_: Context, _: Strict| {
            Err::<(), _>(Failure::terminal("no"))
        }),
        agent_fn("ask", async |_: Context, _: Question| {
            Err::<Value, _>(Failure::terminal("no"))
        }),
        agent_fn("any", async |_: Context, _: Value| {
            Err::<Value, _>(Failure::terminal("no"))
        })
        .with_capability("text.change"),
        agent_fn("pair", async |_: Context, _: (String, u8)| {
            Err::<(String, u8), _>(Failure::terminal("no"))
        }),
    ];
    let declarations: Vec<_> = agents.iter().map(|agent| agent.declaration().unwrap()).collect();
    Catalogue::of(&declarations)
}

fn plan(nodes: Value) -> Plan {
    serde_json::from_value(json!({ "nodes": nodes })).unwrap()
}

/// Checks a plan after a writer called `w`, and expects these findings.
fn check(node: Value, expected: expect_test::Expect) {
    let writer = json!({"id": "w", "target": "agent:writer", "input": {"topic": "bees"}});
    let text = match plan(json!([writer, node])).check(&catalogue()) {
        Ok(()) => String::new(),
        Err(findings) => findings
            .list
            .iter()
            .map(|one| format!("{:?} {one}\n", one.code))
            .collect(),
    };
    expected.assert_eq(&text);
}

#[test]
fn what_fits_is_not_found_fault_with() {
    for node in [
        json!({"id": "a", "target": "agent:critic", "input": {"$from": "w"}}),
        json!({"id": "a", "target": "agent:shout", "input": {"$from": "w", "path": "/text"}}),
        json!({"id": "a", "target": "agent:shout", "input": {"$from": "w", "path": "/author/name", "default": "nobody"}}),
        json!({"id": "a", "target": "agent:shout", "input": {"$from": "w", "path": "/author/friends/0/friends/7/name"}}),
        json!({"id": "a", "target": "agent:shout", "input": {"$from": "w", "path": "/extra/whatever"}}),
        json!({"id": "a", "target": "agent:count", "input": [1, {"$from": "w", "path": "/words"}]}),
        json!({"id": "a", "target": "capability:text.change", "input": "loud", "after": ["w"]}),
        json!({"id": "a", "target": "agent:ask", "input": {"kind": "number", "of": {"$from": "w", "path": "/text"}, "most": -3}}),
        json!({"id": "a", "target": "agent:pair", "input": [{"$from": "w", "path": "/tags/0"}, 7]}),
        json!({"id": "a", "target": "agent:writer", "input": {"topic": "x", "words": null, "style": "verse"}}),
        json!({"id": "a", "target": "agent:any", "input": {"deep": [{"$from": "w", "path": "/tags"}]}}),
        json!({"id": "a", "target": "agent:any", "when": [{"$from": "w", "path": "/score", "op": "greater", "value": 0.5}]}),
        json!({"id": "a", "target": "agent:writer@^0.1", "input": {"topic": "x"}}),
    ] {
        check(node, expect![""]);
    }
}

#[test]
fn everything_that_is_wrong_is_found_at_once() {
    check(
        json!({"id": "w", "target": "agent:shuot", "input": {"$from": "x"}, "after": ["v"], "attempts": 0,
               "when": [{"$from": "w", "path": "score", "op": "less", "value": []}]}),
        expect![[r#"
            DuplicateId /nodes/1/id: the node at /nodes/0 has the id `w` too; give each node an id of its own
            InvalidAttempts /nodes/1/attempts: 0 attempts are not possible; give a number from 1 to 8
            UnknownAgent /nodes/1/target: no agent is called `shuot`; did you mean `agent:shout`?
            UnknownNode /nodes/1/after/0: the plan has no node `v`; there is `w`, `w`
            InvalidCondition /nodes/1/when/0/path: it is no JSON pointer; begin it with `/`, or leave it out
            UnknownNode /nodes/1/input/$from: the plan has no node `x`; there is `w`, `w`
        "#]],
    );
    check(
        json!({"id": "a b", "target": "critic"}),
        expect![[r#"
        InvalidId /nodes/1/id: `a b` cannot be an id; use ASCII letters, digits, `-`, `_` and `.`, at most 64
        InvalidTarget /nodes/1/target: `critic` is no target; did you mean `agent:critic`?
    "#]],
    );
    check(
        json!({"id": "a", "target": "capability:text.wirte", "input": {"n": {"$from": "w", "pth": "/a"}, "m": {"$from": 7}}}),
        expect![[r#"
            UnknownCapability /nodes/1/target: nobody can do `text.wirte`; did you mean `capability:text.write`?
            InvalidReference /nodes/1/input/m/$from: `$from` has to be the id of a node, as a text; write {"$from": "id"}, and "path" and "default" where they are needed
            InvalidReference /nodes/1/input/n/pth: a reference has no `pth`; did you mean `path`?; write {"$from": "id"}, and "path" and "default" where they are needed
        "#]],
    );
}

#[test]
fn types_that_cannot_fit_are_found() {
    // Another type, also below.
    check(
        json!({"id": "a", "target": "agent:shout", "input": {"$from": "w"}}),
        expect![[r#"
            TypeMismatch /nodes/1/input: the output of `w` does not fit: it is of type object, and the agent takes string; refer to another part with `path`, or put a node between that converts it
        "#]],
    );
    check(
        json!({"id": "a", "target": "agent:count", "input": {"$from": "w", "path": "/tags"}}),
        expect![[r#"
            TypeMismatch /nodes/1/input: the output of `w` at `/0` does not fit: it is of type string, and the agent takes integer; refer to another part with `path`, or put a node between that converts it
        "#]],
    );
    check(
        json!({"id": "a", "target": "agent:count", "input": [{"$from": "w", "path": "/score"}]}),
        expect![[r#"
            TypeMismatch /nodes/1/input/0: the output of `w` does not fit: it is of type number, and the agent takes integer; refer to another part with `path`, or put a node between that converts it
        "#]],
    );
    // What is missing, what is too much, what is not among what is possible.
    check(
        json!({"id": "a", "target": "agent:critic", "input": {"text": "x", "words": -1, "score": 1}}),
        expect![[r#"
            MissingProperty /nodes/1/input: `tags` is missing, which the agent needs; add `tags`
            MissingProperty /nodes/1/input: `extra` is missing, which the agent needs; add `extra`
            InvalidValue /nodes/1/input/words: it is -1, and the agent takes at least 0; give a number within these bounds
        "#]],
    );
    check(
        json!({"id": "a", "target": "agent:strict", "input": {"$from": "w"}}),
        expect![[r#"
            UnknownProperty /nodes/1/input: the output of `w` does not fit: it has `extra`, which the agent does not take; refer to another part with `path`, or put a node between that converts it
        "#]],
    );
    check(
        json!({"id": "a", "target": "agent:writer", "input": {"topc": "x", "style": "prose", "words": 900}}),
        expect![[r#"
            MissingProperty /nodes/1/input: `topic` is missing, which the agent needs; add `topic`
            InvalidValue /nodes/1/input/style: the agent takes "plain" or "verse"; give one of these
            UnknownProperty /nodes/1/input/topc: the agent does not take `topc`; did you mean `topic`?
            InvalidValue /nodes/1/input/words: it is 900, and the agent takes at least 0 and at most 255; give a number within these bounds
        "#]],
    );
    check(
        json!({"id": "a", "target": "agent:ask", "input": {"kind": "number", "of": "x"}}),
        expect![[r#"
            MissingProperty /nodes/1/input: `most` is missing, which the agent needs; add `most`
        "#]],
    );
    check(
        json!({"id": "a", "target": "agent:pair", "input": ["x"]}),
        expect![[r#"
            InvalidValue /nodes/1/input: it has 1 items, and the agent takes 2 to 2; give as many as that
        "#]],
    );
    // Where a pointer leads nowhere, whoever takes it.
    check(
        json!({"id": "a", "target": "agent:any", "input": [{"$from": "w", "path": "/txet"}]}),
        expect![[r#"
            UnknownPath /nodes/1/input/0/path: the output of `w`, of the agent `writer`, has no `txet` there; did you mean `text`?
        "#]],
    );
    check(
        json!({"id": "a", "target": "agent:any", "when": [{"$from": "w", "path": "/author/nmae", "op": "exists"}]}),
        expect![[r#"
            UnknownPath /nodes/1/when/0/path: the output of `w`, of the agent `writer`, has no `nmae` there; did you mean `name`?
        "#]],
    );
    // A default is given like any other value.
    check(
        json!({"id": "a", "target": "agent:shout", "input": {"$from": "w", "path": "/text", "default": 7}}),
        expect![[r#"
            TypeMismatch /nodes/1/input/default: it is of type integer, and the agent takes string; give a value of that type
        "#]],
    );
    // Of all who may get it.
    check(
        json!({"id": "a", "target": "capability:text.change", "input": 7}),
        expect![[r#"
            TypeMismatch /nodes/1/input: it is of type integer, and the agent takes string (agent `shout`); give a value of that type
        "#]],
    );
}

#[test]
fn circles_are_told_with_their_path() {
    let node = |id: &str, from: &str| json!({"id": id, "target": "agent:any", "input": [{"$from": from}]});
    let all = plan(json!([
        node("a", "c"),
        node("b", "a"),
        node("c", "b"),
        node("d", "a"),
        node("e", "e")
    ]));
    expect![[r#"
        the plan cannot be carried out:
        - /nodes/0: nodes need each other in a circle: `a` needs `c` needs `b` needs `a`; take one of these references, conditions or `after` away
        - /nodes/4: nodes need each other in a circle: `e` needs `e`; take one of these references, conditions or `after` away"#]].assert_eq(&all.check(&catalogue()).unwrap_err().to_string());
    assert_eq!(all.measure().unwrap_err().list.len(), 2);
}

#[test]
fn what_is_too_large_is_refused_before_it_is_looked_at() {
    let many = Plan::new((0..=limits::PLAN_NODES).map(|n| Node::new(format!("n{n}"), "agent:any")));
    let mut deep = json!(1);
    for _ in 0..90 {
        deep = json!([deep]);
    }
    let deep_value = Condition::compare("a", "", Op::Equals, deep.clone());
    let edges = (0..200).map(|n| {
        (0..n).fold(Node::new(format!("n{n}"), "agent:any"), |node, m| {
            node.after(format!("n{m}"))
        })
    });
    for plan in [
        many,
        Plan::new([Node::new("a", "agent:any").input(deep)]),
        Plan::new([
            Node::new("a", "agent:any"),
            Node::new("b", "agent:any").when(deep_value),
        ]),
        Plan::new([Node::new("a", "agent:any").input(json!("x".repeat(limits::PLAN_BYTES)))]),
        Plan::new(edges),
    ] {
        let findings = plan.check(&catalogue()).unwrap_err();
        assert!(findings.has(Code::LimitReached), "{findings}");
    }
    assert!(Plan::default().check(&catalogue()).unwrap_err().has(Code::Empty));
    let wrong = Plan::new((0..400).map(|n| Node::new(format!("n{n}"), "agent:nobody")));
    let findings = wrong.check(&catalogue()).unwrap_err();
    assert_eq!(
        (findings.list.len(), findings.omitted),
        (limits::PLAN_FINDINGS, 400 - limits::PLAN_FINDINGS)
    );
}

#[test]
fn a_plan_is_read_strictly_and_findings_are_data() {
    let unknown = json!({"nodes": [{"id": "a", "target": "agent:any", "inputs": 7}]});
    assert!(serde_json::from_value::<Plan>(unknown).is_err());
    let findings = plan(json!([{"id": "a", "target": "agent:nobody"}]))
        .check(&catalogue())
        .unwrap_err();
    let data = serde_json::to_value(&findings).unwrap();
    assert_eq!(
        (&data["list"][0]["at"], &data["list"][0]["code"]),
        (&json!("/nodes/0/target"), &json!("unknown-agent"))
    );
    assert_eq!(serde_json::from_value::<Findings>(data).unwrap(), findings);
    let failure = Failure::from(hive_errors::Error::from(findings));
    assert!(failure.is_terminal() && failure.kind() == ErrorKind::InvalidInput);
    assert!(failure.causes()[0].contains("no agent is called `nobody`"));
    // What a model is shown says how references are written.
    let schema = hive_core::payload::Schema::of::<Plan>();
    assert!(
        schema
            .as_value()
            .to_string()
            .contains(r#"{\"$from\": \"id\", \"path\": \"/a/0\"}"#)
    );
}

/// What stands in journals must be readable for ever.
#[test]
fn stored_forms_stay_as_they_are() {
    let plan = Plan::new([
        Node::new("a", "agent:any"),
        Node::new("b", "capability:text.change")
            .input(json!({"x": {"$from": "a"}}))
            .after("a")
            .when(Condition::compare("a", "/n", Op::AtLeast, 2))
            .on_failure(OnFailure::Continue)
            .attempts(2),
    ]);
    let stored = Stored {
        v: VERSION,
        plan: plan.clone(),
    };
    expect![[r#"{"v":1,"plan":{"nodes":[{"id":"a","target":"agent:any","input":null,"on_failure":"fail","attempts":1,"priority":"medium"},{"id":"b","target":"capability:text.change","input":{"x":{"$from":"a"}},"after":["a"],"when":[{"$from":"a","path":"/n","op":"at_least","value":2}],"on_failure":"continue","attempts":2,"priority":"medium"}]}}"#]].assert_eq(&serde_json::to_string(&stored).unwrap());
    let decision = Decision {
        v: VERSION,
        seen: vec!["task/1".into()],
        plan: None,
        before: BTreeMap::from([("a".to_owned(), 1)]),
    };
    expect![[r#"{"v":1,"seen":["task/1"],"plan":null,"before":{"a":1}}"#]]
        .assert_eq(&serde_json::to_string(&decision).unwrap());
    let old = r#"{"v":1,"plan":{"nodes":[{"id":"a","target":"agent:any"}]}}"#;
    assert_eq!(
        serde_json::from_str::<Stored>(old).unwrap().plan.nodes,
        [Node::new("a", "agent:any")]
    );
}

#[test]
fn conditions_hold_or_do_not() {
    let output = json!({"n": 3, "f": 0.5, "t": "abc", "l": [1, "x"], "z": null, "big": u64::MAX});
    for (path, op, value, holds) in [
        ("/n", Op::Exists, None, true),
        ("/z", Op::Exists, None, false),
        ("/q", Op::Exists, None, false),
        ("/z", Op::Absent, None, true),
        ("/n", Op::Absent, None, false),
        ("/n", Op::Equals, Some(json!(3.0)), true),
        ("/n", Op::Equals, Some(json!("3")), false),
        ("/q", Op::Equals, Some(json!(3)), false),
        ("/n", Op::Differs, Some(json!(4)), true),
        ("/q", Op::Differs, Some(json!(4)), false),
        ("/n", Op::Less, Some(json!(3)), false),
        ("/n", Op::AtMost, Some(json!(3)), true),
        ("/f", Op::Greater, Some(json!(0)), true),
        ("/big", Op::Greater, Some(json!(u64::MAX - 1)), true),
        ("/big", Op::Greater, Some(json!(-1)), true),
        ("/t", Op::AtLeast, Some(json!("abb")), true),
        ("/t", Op::AtLeast, Some(json!(1)), false),
        ("/t", Op::Contains, Some(json!("bc")), true),
        ("/l", Op::Contains, Some(json!("x")), true),
        ("/l", Op::Contains, Some(json!(1.0)), true),
        ("/n", Op::Contains, Some(json!(3)), false),
        ("", Op::Exists, None, true),
    ] {
        let condition = Condition {
            from: "a".into(),
            path: path.into(),
            op,
            value: value.clone(),
        };
        assert_eq!(condition.holds(Some(&output)), holds, "{path} {op:?} {value:?}");
        assert_eq!(condition.holds(None), op == Op::Absent, "{op:?}");
    }
}

fn progress(plan: &Plan, states: &[(&str, State)]) -> Progress {
    let report = |state| Report {
        state,
        agent: None,
        task: None,
        output: None,
        failure: None,
        skipped: None,
    };
    Progress {
        so_far: Outcome {
            plan: plan.clone(),
            nodes: states
                .iter()
                .map(|(id, state)| ((*id).to_owned(), report(*state)))
                .collect(),
            revisions: 0,
        },
        ended: Vec::new(),
        revisions_left: 1,
        refused: None,
        catalogue: catalogue(),
    }
}

#[test]
fn a_revision_keeps_what_has_started() {
    let any = |id: &str| Node::new(id, "agent:any");
    let first = Plan::new([any("ran"), any("runs"), any("failed"), any("later")]);
    let states = [
        ("ran", State::Succeeded),
        ("runs", State::Running),
        ("failed", State::Failed),
        ("later", State::Pending),
    ];
    let progress = progress(&first, &states);
    let good = Plan::new([
        any("new").after("failed"),
        any("runs"),
        any("ran"),
        any("failed").attempts(2),
    ]);
    progress.check(&good).unwrap();
    let bad = Plan::new([any("ran").input(json!(1)), any("later"), Node::new("x", "agent:nobody")]);
    let findings = progress.check(&bad).unwrap_err();
    let codes: Vec<(&str, Code)> = findings.list.iter().map(|one| (one.at.as_str(), one.code)).collect();
    let expected = [
        ("/nodes/2/target", Code::UnknownAgent),
        ("/nodes/0", Code::StartedChanged),
        ("/nodes", Code::StartedChanged),
    ];
    assert_eq!(codes, expected);
    assert!(
        findings.to_string().contains(r#"leave it as it is, {"id":"ran""#),
        "{findings}"
    );
}

#[test]
fn an_outcome_gives_what_there_is() {
    let plan = Plan::new([Node::new("a", "agent:any")]);
    let mut outcome = progress(
        &plan,
        &[
            ("good", State::Succeeded),
            ("bad", State::Failed),
            ("no", State::Skipped),
        ],
    )
    .so_far;
    outcome.nodes.get_mut("good").unwrap().output = Some(json!(7));
    outcome.nodes.get_mut("bad").unwrap().failure = Some(Failure::retryable("it broke"));
    assert_eq!(outcome.get::<u8>("good").unwrap(), 7);
    assert_eq!(outcome.get::<String>("good").unwrap_err().kind(), ErrorKind::Drift);
    let failure = outcome.get::<u8>("bad").unwrap_err();
    assert_eq!(
        (failure.message(), failure.is_terminal(), failure.field("node")),
        ("it broke", true, Some("bad"))
    );
    assert_eq!(outcome.get::<u8>("no").unwrap_err().field("state"), Some("skipped"));
    assert!(outcome.get::<u8>("godo").unwrap_err().hint().contains("good"));
}

#[test]
fn the_longest_chain_is_found() {
    let any = |id: &str| Node::new(id, "agent:any");
    let plan = Plan::new([
        any("d").after("b").after("c"),
        any("b").after("a"),
        any("c").after("a"),
        any("a"),
        any("e"),
    ]);
    let measures = plan.measure().unwrap();
    assert_eq!(
        (measures.nodes, measures.edges, measures.depth, measures.width),
        (5, 4, 3, 3)
    );
    let weights = BTreeMap::from([("a", 1), ("b", 2), ("c", 5), ("d", 1), ("e", 6)]);
    let path = plan
        .critical_path(|node| Duration::from_secs(weights[node.id.as_str()]))
        .unwrap();
    assert_eq!(
        (path.nodes, path.length.as_secs()),
        (vec!["a".to_owned(), "c".to_owned(), "d".to_owned()], 7)
    );
    let path = plan.critical_path(|_| Duration::ZERO).unwrap();
    assert_eq!(path.length, Duration::ZERO);
    assert_eq!(Plan::default().measure().unwrap().width, 0);
}

/// For each node, which of those before it it needs; and the order in which they are written down.
fn any_graph() -> impl Strategy<Value = (Vec<Vec<bool>>, Vec<usize>)> {
    (1_usize..8).prop_flat_map(|count| {
        let edges: Vec<_> = (0..count)
            .map(|place| proptest::collection::vec(any::<bool>(), place))
            .collect();
        (edges, Just((0..count).collect::<Vec<_>>()).prop_shuffle())
    })
}

fn drawn(edges: &[Vec<bool>], order: &[usize]) -> Plan {
    let node = |place: &usize| {
        let needs = edges[*place].iter().enumerate().filter(|(_, needs)| **needs);
        needs.fold(Node::new(format!("n{place}"), "agent:any"), |node, (need, _)| {
            if need % 2 == 0 {
                node.after(format!("n{need}"))
            } else {
                node.when(Condition::exists(format!("n{need}"), ""))
            }
        })
    };
    Plan::new(order.iter().map(node))
}

/// Which nodes need which, directly or through others.
fn closure(edges: &[Vec<bool>]) -> Vec<BTreeSet<usize>> {
    let mut all: Vec<BTreeSet<usize>> = Vec::new();
    for needs in edges {
        let direct: BTreeSet<usize> = (0..needs.len()).filter(|need| needs[*need]).collect();
        let through: BTreeSet<usize> = direct.iter().flat_map(|need| all[*need].clone()).collect();
        all.push(&direct | &through);
    }
    all
}

proptest! {
    #[test]
    fn measures_are_what_trying_everything_says((edges, order) in any_graph()) {
        let plan = drawn(&edges, &order);
        let measures = plan.measure().unwrap();
        let below = closure(&edges);
        let is_free = |set: u32| {
            let inside = |place: usize| set & (1 << place) != 0;
            (0..edges.len()).filter(|one| inside(*one)).all(|one| below[one].iter().all(|other| !inside(*other)))
        };
        let width = (0..1_u32 << edges.len()).filter(|set| is_free(*set)).map(u32::count_ones).max().unwrap();
        prop_assert_eq!(measures.width, width as usize);
        let mut depth = vec![1; edges.len()];
        for place in 0..edges.len() {
            for need in 0..place {
                if edges[place][need] {
                    depth[place] = depth[place].max(depth[need] + 1);
                }
            }
        }
        prop_assert_eq!(measures.depth, *depth.iter().max().unwrap());
        let path = plan.critical_path(|_| Duration::from_secs(1)).unwrap();
        prop_assert_eq!(path.nodes.len(), measures.depth);
        prop_assert!(plan.check(&catalogue()).is_ok());
    }

    /// However long each node takes, and whatever fails: all come to an end, each is called as often as it may be and no more, and none
    /// before what it needs has ended.
    #[test]
    fn every_course_comes_to_an_end((edges, order) in any_graph(), dice in proptest::collection::vec(any::<u8>(), 64)) {
        let mut plan = drawn(&edges, &order);
        let mut dice = dice.into_iter().cycle();
        for node in &mut plan.nodes {
            let throw = dice.next().unwrap();
            node.attempts = 1 + u32::from(throw % 3);
            node.on_failure = [OnFailure::Skip, OnFailure::Continue][usize::from(throw / 3 % 2)];
        }
        let graph = Graph::of(&plan);
        let (sorted, circles) = graph.sorted();
        prop_assert!(circles.is_empty());
        let (mut calls, mut outputs) = (Calls::new(), Outputs::new());
        for _ in 0..1_000 {
            let now = course(&plan, &graph, &sorted, &calls, &outputs);
            if !now.wants.is_empty() {
                for id in &now.wants {
                    let succeeded = calls[id].last().unwrap().end == Some(Ok(()));
                    prop_assert!(succeeded, "{} has no output", id);
                    outputs.insert(id.clone(), if id.len() % 2 == 0 { json!(1) } else { Value::Null });
                }
                continue;
            }
            if now.standings.iter().all(Standing::has_ended) {
                return Ok(());
            }
            for (place, standing) in now.standings.iter().enumerate() {
                if *standing != Standing::Ready {
                    continue;
                }
                let node = &plan.nodes[place];
                prop_assert!(graph.needs[place].iter().all(|need| now.standings[*need].has_ended()));
                let made = calls.entry(node.id.clone()).or_default();
                made.push(Call { mark: String::new(), task: Some(hive_core::id::TaskId::from_bytes([7; 16])), agent: None, end: None });
                prop_assert!(made.len() <= node.attempts as usize);
            }
            let running: Vec<&String> = calls.iter().filter(|(_, calls)| calls.last().unwrap().end.is_none()).map(|(id, _)| id).collect();
            prop_assert!(!running.is_empty(), "nothing runs and nothing has ended: {:?}", now.standings);
            let chosen = running[usize::from(dice.next().unwrap()) % running.len()].clone();
            let end = if dice.next().unwrap() % 3 == 0 { Err(Failure::terminal("no")) } else { Ok(()) };
            calls.get_mut(&chosen).unwrap().last_mut().unwrap().end = Some(end);
        }
        prop_assert!(false, "it never ends");
    }

    /// One thing is broken in a plan that was right, and that is what is found.
    #[test]
    fn what_was_broken_is_found((edges, order) in any_graph(), fault in 0_usize..8, at in any::<prop::sample::Index>()) {
        let mut plan = drawn(&edges, &order);
        let place = at.index(plan.nodes.len());
        let id = plan.nodes[place].id.clone();
        let node = &mut plan.nodes[place];
        let (pointer, code) = match fault {
            0 => {
                node.target = "agent:nobody".into();
                ("/target", Code::UnknownAgent)
            }
            1 => {
                node.target = "anybody".into();
                ("/target", Code::InvalidTarget)
            }
            2 => {
                node.target = "capability:nothing".into();
                ("/target", Code::UnknownCapability)
            }
            3 => {
                node.after.insert(0, "nowhere".into());
                ("/after/0", Code::UnknownNode)
            }
            4 => {
                node.input = json!({"a/b": [{"$from": id}]});
                ("", Code::Cycle)
            }
            5 => {
                node.input = json!({"a/b": [{"$from": "nowhere"}]});
                ("/input/a~1b/0/$from", Code::UnknownNode)
            }
            6 => {
                node.attempts = 99;
                ("/attempts", Code::InvalidAttempts)
            }
            _ => {
                node.target = "agent:shout".into();
                node.input = json!(7);
                ("/input", Code::TypeMismatch)
            }
        };
        let findings = plan.check(&catalogue()).unwrap_err();
        let found = findings.list.iter().any(|one| one.code == code && one.at == format!("/nodes/{place}{pointer}"));
        prop_assert!(found, "{}", findings);
    }

    /// Whatever a model writes down, it is told what is wrong with it.
    #[test]
    fn nothing_that_is_read_as_a_plan_panics(nodes in proptest::collection::vec(any_node(), 0..6)) {
        if let Ok(plan) = serde_json::from_value::<Plan>(json!({ "nodes": nodes })) {
            if let Err(findings) = plan.check(&catalogue()) {
                prop_assert!(!findings.list.is_empty());
                for finding in &findings.list {
                    prop_assert!(finding.at.is_empty() || finding.at.starts_with('/'));
                }
            } else {
                plan.measure().unwrap();
            }
        }
    }
}

fn any_json() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<f32>().prop_map(Value::from),
        "[a-c/~$]{0,4}".prop_map(Value::from),
    ];
    leaf.prop_recursive(4, 24, 4, |inner| {
        let key = prop_oneof![
            Just("$from".to_owned()),
            Just("path".to_owned()),
            Just("default".to_owned()),
            Just("topic".to_owned()),
            "[a-c/~]{0,3}"
        ];
        prop_oneof![
            proptest::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            proptest::collection::btree_map(key, inner, 0..4).prop_map(|map| Value::Object(map.into_iter().collect())),
        ]
    })
}

fn any_node() -> impl Strategy<Value = Value> {
    let target = prop_oneof![
        Just("agent:writer"),
        Just("agent:critic"),
        Just("agent:count"),
        Just("agent:ask"),
        Just("agent:pair"),
        Just("capability:text.change"),
        Just("agent:x@"),
        Just("capability:"),
        Just("agent:writer@^9"),
        Just("")
    ];
    let condition = ("[a-c]", any_json(), any_json())
        .prop_map(|(from, path, value)| json!({"$from": from, "path": path.as_str().unwrap_or("/a"), "op": "less", "value": value}));
    let after = proptest::collection::vec("[a-c]{0,2}", 0..3);
    let conditions = proptest::collection::vec(condition, 0..3);
    ("[a-c ]{0,2}", target, any_json(), after, conditions, any::<u32>()).prop_map(|(id, target, input, after, when, attempts)| {
        json!({"id": id, "target": target, "input": input, "after": after, "when": when, "attempts": attempts})
    })
}
