use expect_test::{Expect, expect};
use hive_core::id::{EventId, TaskId};

use super::*;
use crate::catalog::{TaskStarted, TaskSubmitted, TaskSucceeded};
use crate::event::{NewEvent, TypedEvent};

fn event_id(number: usize) -> EventId {
    EventId::from_bytes(u128::try_from(number).unwrap().to_be_bytes())
}

fn task(number: u128) -> TaskId {
    TaskId::from_bytes(number.to_be_bytes())
}

/// Event number `at` of the trace, from 1.
fn published(at: usize, new: NewEvent) -> Event {
    Event::published(Sequence::new(at as u64), event_id(at), Timestamp::EPOCH, new.attributes)
}

fn plain(topic: &'static str) -> NewEvent {
    NewEvent::new("a", topic, &()).unwrap()
}

fn check(events: Vec<NewEvent>, expected: Expect) {
    let events: Vec<_> = events
        .into_iter()
        .enumerate()
        .map(|(at, new)| published(at + 1, new))
        .collect();
    let trace = Trace::of(events.clone(), false);
    expected.assert_eq(&trace.to_string());

    let mut seen: Vec<_> = trace.entries().iter().map(|entry| entry.event.sequence()).collect();
    seen.sort_unstable();
    assert_eq!(
        seen,
        events.iter().map(Event::sequence).collect::<Vec<_>>(),
        "each event stands in the tree once"
    );
    for (at, entry) in trace.entries().iter().enumerate() {
        assert!(entry.parent.is_none_or(|parent| parent < at));
        assert_eq!(
            entry.depth,
            entry.parent.map_or(0, |parent| trace.entries()[parent].depth + 1)
        );
        assert!(trace.children(at).all(|child| child.depth == entry.depth + 1));
    }
}

#[test]
fn an_event_stands_below_the_event_that_caused_it() {
    check(
        vec![
            plain("root"),
            plain("first").causation(event_id(1)),
            plain("second").causation(event_id(1)),
            plain("below-first").causation(event_id(2)),
            plain("other-root"),
        ],
        expect![[r#"
            1 root
              2 first
                4 below-first
              3 second
            5 other-root
        "#]],
    );
}

#[test]
fn an_event_stands_below_the_task_that_caused_it() {
    let submitted = |number, agent: &str| TaskSubmitted {
        task: task(number),
        agent: agent.into(),
        ..TaskSubmitted::example()
    };
    let started = |number| TaskStarted {
        task: task(number),
        ..TaskStarted::example()
    };
    check(
        vec![
            NewEvent::of(&submitted(1, "queen")).unwrap(),
            NewEvent::of(&started(1)).unwrap().causation(task(1)),
            NewEvent::of(&submitted(2, "reviewer")).unwrap().causation(task(1)),
            NewEvent::of(&started(2)).unwrap().causation(task(2)),
            NewEvent::of(&TaskSucceeded {
                task: task(1),
                ..TaskSucceeded::example()
            })
            .unwrap()
            .causation(task(1)),
            // A second submission of the same task does not take its events over.
            NewEvent::of(&submitted(1, "impostor")).unwrap(),
        ],
        expect![[r#"
            1 task.submitted.queen
              2 task.started.reviewer
              3 task.submitted.reviewer
                4 task.started.reviewer
              5 task.succeeded.reviewer
            6 task.submitted.impostor
        "#]],
    );
}

#[test]
fn a_called_task_stands_below_the_one_that_called_it() {
    let submitted = |number, parent: Option<u128>| {
        let data = TaskSubmitted {
            task: task(number),
            parent: parent.map(task),
            ..TaskSubmitted::example()
        };
        NewEvent::of(&data).unwrap().causation(task(number))
    };
    let started = |number| {
        NewEvent::of(&TaskStarted {
            task: task(number),
            ..TaskStarted::example()
        })
        .unwrap()
    };
    check(
        vec![
            submitted(1, None),
            submitted(2, Some(1)),
            started(2).causation(task(2)),
            submitted(3, Some(2)),
            submitted(4, Some(1)),
            // Its caller is not in the trace.
            submitted(5, Some(9)),
        ],
        expect![[r#"
            1 task.submitted.reviewer
              2 task.submitted.reviewer
                3 task.started.reviewer
                4 task.submitted.reviewer
              5 task.submitted.reviewer
            6 task.submitted.reviewer
        "#]],
    );
}

#[test]
fn circles_and_unknown_causes_make_roots() {
    check(
        vec![
            plain("itself").causation(event_id(1)),
            plain("later").causation(event_id(3)),
            plain("earlier").causation(event_id(2)),
            plain("elsewhere").causation("another-system-17"),
            // Of the right type, but not decodable.
            NewEvent::new(TaskSubmitted::TYPE, "task.submitted.a", &()).unwrap(),
        ],
        expect![[r#"
            1 itself
            2 later
              3 earlier
            4 elsewhere
            5 task.submitted.a
        "#]],
    );
}

#[test]
fn a_long_chain_does_not_exhaust_the_stack() {
    let events: Vec<_> = (1..=limits::TRACE_EVENTS_MAX)
        .map(|at| published(at, plain("link").causation(event_id(at - 1))))
        .collect();
    let trace = Trace::of(events, true);
    assert_eq!(trace.entries().last().unwrap().depth, limits::TRACE_EVENTS_MAX - 1);
    assert_eq!(trace.roots().count(), 1);
    assert!(trace.is_truncated() && trace.to_string().ends_with("… and more\n"));
}
