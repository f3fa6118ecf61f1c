//! What agents say to each other: sent once, answered once, taken once, whoever dies when.

use std::collections::BTreeSet;
use std::time::Duration;

use hive_orchestration::builders::AnyAgent;
use hive_orchestration::bus::{AgentMessage, MessageStatus, NewEvent, Priority, Query};
use hive_orchestration::core::clock::SystemClock;
use hive_orchestration::core::clock::timeout;
use hive_orchestration::errors::ErrorKind;
use hive_orchestration::task::{TaskState, WaitingFor};
use hive_orchestration::{Context, Failure, Hive, agent_fn, limits};
use serde_json::{Value, json};

use crate::kit::{Gate, Home, Ledger, crash, reopened, soon, until};

const MINUTES: Duration = Duration::from_secs(600);

/// How many events of a type there are.
async fn events(hive: &Hive, event_type: &'static str) -> usize {
    hive.bus()
        .history(Query::new().event_type(event_type))
        .await
        .unwrap()
        .events
        .len()
}

/// How many messages of a kind there are.
async fn messages(hive: &Hive, kind: &str) -> usize {
    let page = hive
        .bus()
        .history(Query::new().event_type("message.sent"))
        .await
        .unwrap();
    let kinds = page
        .events
        .iter()
        .map(|event| AgentMessage::from_event(event).unwrap().kind);
    kinds.filter(|found| found == kind).count()
}

/// Stops for ever at its first visit of the place.
async fn stop_at(ledger: &Ledger, place: usize, here: usize) {
    if place == here && ledger.add(format!("at {here}")) == 1 {
        std::future::pending::<()>().await;
    }
}

fn sender(ledger: &Ledger, place: usize) -> AnyAgent {
    let ledger = ledger.clone();
    agent_fn("sender", move |cx: Context, _: ()| {
        let ledger = ledger.clone();
        async move {
            let first = cx
                .send(
                    AgentMessage::to("nobody")
                        .kind("hint")
                        .body("first")?
                        .tenant("else")
                        .from("else"),
                )
                .await?;
            stop_at(&ledger, place, 0).await;
            let sequence = cx
                .publish(NewEvent::new("order.placed", "order.placed.berlin", &7)?.tenant("else"))
                .await?;
            stop_at(&ledger, place, 1).await;
            let outbox = cx.outbox();
            let second = cx
                .transaction("both", move |tx| {
                    outbox.publish(tx, NewEvent::new("order.placed", "order.placed.rome", &8)?)?;
                    outbox.send(tx, AgentMessage::to("nobody").kind("hint").body("second")?)
                })
                .await?;
            stop_at(&ledger, place, 2).await;
            Ok::<_, Failure>((first, sequence.get(), second))
        }
    })
}

pub(super) async fn what_is_sent_and_published_is_so_once(home: Home) {
    for place in 0..3 {
        let ledger = Ledger::default();
        let open = || home.hive().agent(sender(&ledger, place));
        let hive = reopened(open).await;
        let id = hive.submit_named("sender", &()).tenant("acme").await.unwrap().id();
        ledger.seen(&format!("at {place}")).await;
        crash(hive).await;
        let hive = reopened(open).await;
        soon(hive.task::<Value>(id).result()).await.unwrap();
        assert_eq!(
            (messages(&hive, "hint").await, events(&hive, "order.placed").await),
            (2 * (place + 1), 2 * (place + 1))
        );
        let trace = hive.bus().history(Query::new().correlation(id)).await.unwrap();
        let own: Vec<_> = trace
            .events
            .iter()
            .filter(|event| ["order.placed", "message.sent"].contains(&event.event_type()))
            .collect();
        assert_eq!(own.len(), 4);
        for event in own {
            assert_eq!((event.tenant(), event.causation()), ("acme", Some(&*id.to_string())));
        }
        hive.shutdown().await.unwrap();
    }
}

fn asker() -> AnyAgent {
    agent_fn("asker", async |cx: Context, question: String| {
        let asked = AgentMessage::to("oracle")
            .kind("question")
            .body(&question)?
            .priority(Priority::High);
        cx.request::<String>(asked, MINUTES).await
    })
}

/// Answers one question.
fn oracle(ledger: &Ledger, place: usize) -> AnyAgent {
    let ledger = ledger.clone();
    agent_fn("oracle", move |cx: Context, _: ()| {
        let ledger = ledger.clone();
        async move {
            let message = cx.inbox().next().await?;
            ledger.add(format!("took {}", message.id));
            stop_at(&ledger, place, 0).await;
            message.reply(&format!("{}?", message.decode::<String>()?)).await?;
            stop_at(&ledger, place, 1).await;
            Ok::<_, Failure>(message.id)
        }
    })
}

/// The one who asks, the one who answers, and the one who hears the answer are different processes.
pub(super) async fn a_request_is_answered_once_wherever_processes_die(home: Home) {
    for place in 0..3_usize {
        let ledger = Ledger::default();
        let hive = reopened(|| home.hive().agent(asker())).await;
        let asked = hive.submit_named("asker", &"why").await.unwrap();
        let id = asked.id();
        let status = until(&asked, TaskState::Waiting).await;
        assert!(
            matches!(&status.waiting_for[..], [WaitingFor::Message { asked: Some(to), until: Some(_) }] if to == "agent:oracle")
        );
        crash(hive).await;

        let open = || home.hive().agent(oracle(&ledger, place));
        let hive = reopened(open).await;
        let answers = hive.submit_named("oracle", &()).await.unwrap().id();
        let hive = if place < 2 {
            ledger.seen(&format!("at {place}")).await;
            crash(hive).await;
            reopened(open).await
        } else {
            hive
        };
        let took: String = soon(hive.task(answers).result()).await.unwrap();
        assert!(
            ledger
                .lines()
                .iter()
                .filter(|line| line.starts_with("took"))
                .all(|line| *line == format!("took {took}"))
        );
        hive.shutdown().await.unwrap();

        let hive = reopened(|| home.hive().agent(asker())).await;
        assert_eq!(soon(hive.task::<String>(id).result()).await.unwrap(), "why?");
        assert_eq!(
            (messages(&hive, "question").await, messages(&hive, "reply").await),
            (place + 1, place + 1)
        );
        hive.shutdown().await.unwrap();
    }
}

/// What the database's processes say to each other: the asker is parked in one, and the other answers.
pub(super) async fn a_reply_wakes_whoever_waits_in_another_process(home: Home) {
    let here = home.hive().agent(asker()).start().await.unwrap();
    let ledger = Ledger::default();
    let there = if home.is_shared() {
        home.hive().agent(oracle(&ledger, 9)).start().await.unwrap()
    } else {
        here.shutdown().await.unwrap();
        home.hive()
            .agent(asker())
            .agent(oracle(&ledger, 9))
            .start()
            .await
            .unwrap()
    };
    let here = if home.is_shared() { here } else { there.clone() };
    // Who answers waits before anybody asks.
    let answers = there.submit_named("oracle", &()).await.unwrap();
    until(&answers, TaskState::Waiting).await;
    let asked = here.submit_named("asker", &"who").await.unwrap();
    assert_eq!(soon(asked.result()).await.unwrap(), json!("who?"));
    soon(answers.result()).await.unwrap();
    if home.is_shared() {
        here.shutdown().await.unwrap();
    }
    there.shutdown().await.unwrap();
}

pub(super) async fn a_request_ends_in_time_or_with_the_refusal(home: Home) {
    let agent = agent_fn("asker", async |cx: Context, to: String| {
        let asked = AgentMessage::to(to).kind("question").body("what")?;
        match cx
            .request::<u32>(asked, Duration::from_secs(if cx.tenant() == "hasty" { 1 } else { 600 }))
            .await
        {
            Ok(number) => Ok(json!(number)),
            Err(failure) => Ok::<_, Failure>(json!(failure.kind().code())),
        }
    });
    let hive = home.hive().agent(agent).start().await.unwrap();
    let late = hive.submit_named("asker", &"nobody").tenant("hasty").await.unwrap();
    assert_eq!(soon(late.result()).await.unwrap(), "timeout");
    let mailbox = hive.bus().mailbox("clerk").await.unwrap();
    let ask = async || hive.submit_named("asker", &"clerk").await.unwrap();
    let asked = ask().await;
    soon(mailbox.next())
        .await
        .unwrap()
        .refuse(Failure::terminal("no").with_kind(ErrorKind::Overloaded))
        .await
        .unwrap();
    assert_eq!(soon(asked.result()).await.unwrap(), "overloaded");
    // Not what was asked for: a failure, and no step that is held.
    let asked = ask().await;
    soon(mailbox.next()).await.unwrap().reply("many").await.unwrap();
    assert_eq!(soon(asked.result()).await.unwrap(), "invalid-input");
    let asked = ask().await;
    let letter = soon(mailbox.next()).await.unwrap();
    assert_eq!(
        (letter.message().from.as_deref(), &*letter.message().tenant),
        (Some("asker"), "default")
    );
    // The first reply counts, though another should get hold of the address.
    let second = letter.message().answer("stranger").unwrap().body(&8).unwrap();
    letter.reply(&7).await.unwrap();
    hive.bus().send(second).await.unwrap();
    assert_eq!(soon(asked.result()).await.unwrap(), 7);
    // What cannot be sent is the agent's failure, and nothing is waited for.
    let asked = hive.submit_named("asker", &"no such name").await.unwrap();
    assert_eq!(soon(asked.result()).await.unwrap(), "invalid-input");
    hive.shutdown().await.unwrap();
}

fn worker(ledger: &Ledger) -> AnyAgent {
    let ledger = ledger.clone();
    agent_fn("worker", move |cx: Context, _: ()| {
        let ledger = ledger.clone();
        async move {
            let mut took = Vec::new();
            loop {
                let message = cx.inbox().next().await?;
                match message.decode::<u32>() {
                    Ok(number) => took.push(number),
                    Err(_) => return Ok::<_, Failure>(took),
                }
                // Not a step: it runs again after a crash, and gets what it got.
                ledger.add("took");
            }
        }
    })
}

const WORKERS: usize = 3;
const LETTERS: u32 = 24;

/// Whoever takes what, and however often the process dies meanwhile: each message goes to one run, and none is lost.
pub(super) async fn each_message_goes_to_one_run(home: Home) {
    let ledger = Ledger::default();
    let open = || home.hive().agent(worker(&ledger));
    let mut hive = open().start().await.unwrap();
    let mut tasks = Vec::new();
    for _ in 0..WORKERS {
        tasks.push(hive.submit_named("worker", &()).await.unwrap().id());
    }
    let mut sent = Vec::new();
    for n in 0..LETTERS {
        let id = hive
            .bus()
            .send(AgentMessage::to("worker").kind("do").body(&n).unwrap())
            .await
            .unwrap();
        sent.push(id);
        if n % 8 == 7 {
            ledger.counted(n as usize / 2).await;
            crash(hive).await;
            hive = reopened(open).await;
        }
    }
    // What the last process had in hand comes to the next a moment later.
    soon(async {
        for id in sent {
            while hive.bus().message_status(id).await.unwrap().unwrap().status() != Some(MessageStatus::Delivered) {
                tokio::task::yield_now().await;
            }
        }
    })
    .await;
    for _ in 0..WORKERS {
        let stop = AgentMessage::to("worker")
            .kind("stop")
            .priority(Priority::Low)
            .body("stop")
            .unwrap();
        hive.bus().send(stop).await.unwrap();
    }
    let mut took: Vec<u32> = Vec::new();
    for id in tasks {
        took.extend(soon(hive.task::<Vec<u32>>(id).result()).await.unwrap());
    }
    assert_eq!(took.len(), LETTERS as usize);
    assert_eq!(took.into_iter().collect::<BTreeSet<_>>(), (0..LETTERS).collect());
    hive.shutdown().await.unwrap();
}

pub(super) async fn an_inbox_is_one_tenants(home: Home) {
    let agent = agent_fn("clerk", async |cx: Context, _: ()| {
        let first = cx.inbox().next().await?;
        let second = cx.inbox().next().await?;
        Ok::<_, Failure>((first.decode::<String>()?, second.decode::<String>()?))
    });
    let hive = home.hive().agent(agent).start().await.unwrap();
    for tenant in ["a", "b", "a", "b"] {
        let message = AgentMessage::to("clerk")
            .kind("note")
            .tenant(tenant)
            .body(tenant)
            .unwrap();
        hive.bus().send(message).await.unwrap();
    }
    for tenant in ["b", "a"] {
        let task = hive.submit_named("clerk", &()).tenant(tenant).await.unwrap();
        assert_eq!(soon(task.result()).await.unwrap(), json!([tenant, tenant]));
    }
    hive.shutdown().await.unwrap();
}

pub(super) async fn an_empty_inbox_is_empty_again_after_a_crash(home: Home) {
    let ledger = Ledger::default();
    let open = || {
        let ledger = ledger.clone();
        home.hive().agent(agent_fn("looker", move |cx: Context, _: ()| {
            let ledger = ledger.clone();
            async move {
                let none = cx.inbox().try_next().await?.is_none();
                let late = cx.inbox().next_within(Duration::from_millis(20)).await?.is_none();
                if ledger.add("empty") == 1 {
                    std::future::pending::<()>().await;
                }
                let message = cx.inbox().next_within(MINUTES).await?;
                let message = message.ok_or_else(|| Failure::terminal("it is gone"))?;
                // Nobody has asked, so nobody is replied to.
                let reply = message.reply(&1).await.unwrap_err();
                Ok::<_, Failure>((none, late, message.decode::<u32>()?, reply.kind().code().to_owned()))
            }
        }))
    };
    let hive = open().start().await.unwrap();
    let id = hive.submit_named("looker", &()).await.unwrap().id();
    ledger.seen("empty").await;
    // Now there is one; the run has decided already.
    let sent = hive
        .bus()
        .send(AgentMessage::to("looker").kind("n").body(&5).unwrap())
        .await
        .unwrap();
    soon(async {
        while hive.bus().message_status(sent).await.unwrap().unwrap().status() != Some(MessageStatus::Delivered) {
            tokio::task::yield_now().await;
        }
    })
    .await;
    crash(hive).await;
    let hive = reopened(open).await;
    let seen = soon(hive.task::<Value>(id).result()).await.unwrap();
    assert_eq!(seen, json!([true, true, 5, "invalid-input"]));
    hive.shutdown().await.unwrap();
}

pub(super) async fn a_message_that_a_lost_race_would_have_got_is_not_lost(home: Home) {
    let gate = Gate::new();
    let agent = {
        let gate = gate.clone();
        agent_fn("racer", move |cx: Context, _: ()| {
            let gate = gate.clone();
            async move {
                tokio::select! {
                    biased;
                    message = cx.inbox().next() => return Ok((0, message?.decode::<u32>()?)),
                    () = gate.passed() => {}
                }
                Ok::<_, Failure>((1, cx.inbox().next().await?.decode::<u32>()?))
            }
        })
    };
    let hive = home.hive().agent(agent).start().await.unwrap();
    let task = hive.submit_named("racer", &()).await.unwrap();
    soon(async {
        while task.status().await.unwrap().waiting_for.is_empty() {
            tokio::task::yield_now().await;
        }
    })
    .await;
    gate.open();
    hive.bus()
        .send(AgentMessage::to("racer").kind("n").body(&5).unwrap())
        .await
        .unwrap();
    let (_, number): (u32, u32) = serde_json::from_value(soon(task.result()).await.unwrap()).unwrap();
    assert_eq!(number, 5);
    hive.shutdown().await.unwrap();
}

pub(super) async fn who_is_asked_replies_once(home: Home) {
    let agent = agent_fn("clerk", async |cx: Context, _: ()| {
        let message = cx.inbox().next().await?;
        message.reply(&1).await?;
        let again = message.reply(&2).await.unwrap_err();
        let spoofed = cx
            .publish(NewEvent::new("message.sent", "message.agent.low.clerk", &1)?)
            .await
            .unwrap_err();
        Ok::<_, Failure>((again.kind().code().to_owned(), spoofed.kind().code().to_owned()))
    });
    let hive = home.hive().agent(agent).start().await.unwrap();
    let task = hive.submit_named("clerk", &()).await.unwrap();
    // Who asks need not be an agent.
    let reply = hive
        .bus()
        .request(AgentMessage::to("clerk").kind("q").body(&()).unwrap(), MINUTES);
    assert_eq!(soon(reply).await.unwrap().decode::<u32>().unwrap(), 1);
    assert_eq!(soon(task.result()).await.unwrap(), json!(["conflict", "invalid-input"]));
    hive.shutdown().await.unwrap();
}

/// An agent that does no more than look has its capabilities heard, and what it does not read does not pile up for ever.
pub(super) async fn an_inbox_hears_of_capabilities_and_fills(home: Home) {
    let agent = agent_fn("clerk", async |cx: Context, _: ()| {
        Ok::<_, Failure>(cx.inbox().try_next().await?.map(|message| message.kind.clone()))
    })
    .with_capability("filing");
    let hive = home.hive().agent(agent).start().await.unwrap();
    let look = async || {
        soon(hive.submit_named("clerk", &()).await.unwrap().result())
            .await
            .unwrap()
    };
    assert_eq!(look().await, Value::Null);
    // Its mailbox is opened then.
    soon(async {
        while hive.bus().consumer_info("mailbox/low/clerk").await.is_err() {
            tokio::task::yield_now().await;
        }
    })
    .await;
    hive.bus()
        .send(AgentMessage::broadcast("filing").kind("to-all").body(&()).unwrap())
        .await
        .unwrap();
    soon(async { while look().await != "to-all" {} }).await;
    hive.db()
        .write(|tx| {
            for n in 0..limits::INBOX_LETTERS {
                tx.execute(
                    "INSERT INTO letter (tenant, address, message, priority, value, at)
                     VALUES ('default', ?1, ?2, 1, ?3, 0)",
                    &[
                        &"\u{1}inbox/default/clerk",
                        &n.to_string().into_bytes(),
                        &b"null".to_vec(),
                    ],
                )?;
            }
            Ok(())
        })
        .await
        .unwrap();
    let sent = hive
        .bus()
        .send(AgentMessage::to("clerk").kind("too-much").body(&()).unwrap())
        .await
        .unwrap();
    soon(async {
        loop {
            let tracked = hive.bus().message_status(sent).await.unwrap().unwrap();
            if let Some(error) = &tracked.receipts[0].error {
                assert_eq!(error, "the inbox is full");
                break;
            }
            assert_ne!(tracked.status(), Some(MessageStatus::Delivered));
            tokio::task::yield_now().await;
        }
    })
    .await;
    let closed = timeout(&SystemClock, MINUTES, hive.shutdown()).await.unwrap();
    closed.unwrap();
}
