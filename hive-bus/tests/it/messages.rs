//! Messages and mailboxes, on each transport that is here.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use hive_bus::transport::Memory;
use hive_bus::{
    Address, AgentMessage, Begin, Bus, ErrorKind, Letter, Mailbox, MessageStatus, NewEvent, NewMessage, Patterns,
    Priority, Query, Sequence, Tracked, limits,
};
use hive_core::clock::{Clock, ManualClock, SystemClock};
use hive_core::db::{Db, Tx};
use hive_core::id::{EventId, IdSource};
use hive_core::payload::fingerprint;
use hive_core::rng::SystemRng;
use hive_core::testing::TestDb;
use hive_errors::{Failure, RetryPolicy};
use serde_json::json;
use tokio::time::timeout;

use crate::NOW;

/// Longer than anything here takes, unless it hangs.
const LONG: Duration = Duration::from_secs(60);

struct Place {
    bus: Bus,
    /// Of another process, where there can be one.
    other: Bus,
    /// Where time is ours.
    time: Option<ManualClock>,
    db: Option<Db>,
    _place: Option<TestDb>,
}

impl Place {
    async fn memory() -> Self {
        let clock = ManualClock::new(NOW);
        let transport = Arc::new(Memory::new(Arc::new(clock.clone())));
        let bus = || Bus::over(transport.clone(), Arc::new(clock.clone()), ids(Arc::new(clock.clone())));
        Self {
            bus: bus(),
            other: bus(),
            time: Some(clock),
            db: None,
            _place: None,
        }
    }

    async fn sqlite() -> Self {
        let place = TestDb::sqlite();
        let clock = ManualClock::new(NOW);
        let (db, bus) = open(&place, Arc::new(clock.clone())).await;
        Self {
            other: bus.clone(),
            bus,
            time: Some(clock),
            db: Some(db),
            _place: Some(place),
        }
    }

    #[cfg(feature = "postgres")]
    async fn postgres() -> Self {
        let place = TestDb::postgres();
        let (db, bus) = open(&place, Arc::new(SystemClock)).await;
        let (_, other) = open(&place, Arc::new(SystemClock)).await;
        Self {
            bus,
            other,
            time: None,
            db: Some(db),
            _place: Some(place),
        }
    }

    fn clock(&self) -> &ManualClock {
        self.time.as_ref().unwrap()
    }

    async fn status(&self, id: EventId) -> Option<MessageStatus> {
        self.tracked(id).await.status()
    }

    async fn tracked(&self, id: EventId) -> Tracked {
        self.bus.message_status(id).await.unwrap().unwrap()
    }

    /// Waits until the message has come so far.
    async fn reaches(&self, id: EventId, status: MessageStatus) {
        let reached = async {
            while self.status(id).await != Some(status) {
                tokio::task::yield_now().await;
            }
        };
        timeout(LONG, reached).await.expect("it does not come so far");
    }
}

fn ids(clock: Arc<dyn Clock>) -> IdSource {
    IdSource::new(clock, Arc::new(SystemRng))
}

async fn open(place: &TestDb, clock: Arc<dyn Clock>) -> (Db, Bus) {
    let options = place.options().migrations(&hive_bus::MIGRATIONS);
    let db = Db::open(options.clock(clock.clone())).await.unwrap();
    let bus = Bus::open(db.clone(), clock.clone(), ids(clock)).await.unwrap();
    (db, bus)
}

fn to(agent: &str) -> NewMessage {
    AgentMessage::to(agent).kind("test")
}

/// A message that says this.
fn saying(agent: &str, text: &str) -> NewMessage {
    to(agent).body(text).unwrap()
}

async fn next(mailbox: &Mailbox) -> Letter {
    timeout(LONG, mailbox.next())
        .await
        .expect("nothing was delivered")
        .unwrap()
}

fn said(letter: &Letter) -> String {
    letter.message().decode().unwrap()
}

/// What is said by the next letter, which is done with.
async fn hear(mailbox: &Mailbox) -> String {
    let letter = next(mailbox).await;
    let text = said(&letter);
    letter.ack().await.unwrap();
    text
}

/// Whether nothing comes, once everything that runs has come to rest.
async fn is_quiet(mailbox: &Mailbox) -> bool {
    timeout(Duration::from_millis(50), mailbox.next()).await.is_err()
}

/// What has failed comes again at once, whatever the clock says.
fn at_once(attempts: u32) -> RetryPolicy {
    RetryPolicy::fixed(attempts, Duration::ZERO)
}

macro_rules! on_each {
    (everywhere: [$($case:ident),* $(,)?], where time is ours: [$($timed:ident),* $(,)?]) => {
        mod memory {
            on_each!(in memory: $($case,)* $($timed,)*);
        }
        mod sqlite {
            on_each!(in sqlite: $($case,)* $($timed,)*);
        }
        #[cfg(feature = "postgres")]
        mod postgres {
            on_each!(in postgres: $($case,)*);
        }
    };
    (in $place:ident: $($case:ident,)*) => {$(
        #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
        async fn $case() {
            super::$case(super::Place::$place().await).await;
        }
    )*};
}

on_each! {
    everywhere: [
        a_message_arrives_as_it_was_sent,
        letters_wait_for_the_mailbox,
        letters_with_a_key_wait_for_one_another,
        what_fails_comes_again_and_ends_with_the_dead_letters,
        a_sender_may_allow_fewer_attempts,
        a_message_is_sent_once_however_often,
        everybody_capable_gets_a_copy,
        a_capability_is_declared_by_who_opens_last,
        a_request_is_answered_once,
        a_request_is_refused,
        a_request_can_be_made_again,
        what_is_no_message_does_not_stop_a_mailbox,
        bad_input_writes_nothing,
        two_processes_share_a_mailbox,
        a_removed_mailbox_ends,
        every_message_is_acknowledged_once,
    ],
    where time is ours: [
        what_expires_is_not_handed_out,
        the_status_follows_a_message,
        nobody_waits_for_a_reply_beyond_the_deadline,
        a_letter_can_be_kept,
    ]
}

async fn a_message_arrives_as_it_was_sent(place: Place) {
    let mut watched = place.bus.subscribe("message.agent.high.>").await.unwrap();
    let mailbox = place.bus.mailbox("acme.reviewer").await.unwrap();
    let message = AgentMessage::to("acme.reviewer")
        .kind("review.request")
        .body(&json!({ "diff": "- foo" }))
        .unwrap()
        .from("writer")
        .priority(Priority::High)
        .ordered_by("file-7")
        .attempts(3)
        .correlation("order-1")
        .causation("task-1")
        .tenant("acme")
        .reply_to("archive");
    let id = place.bus.send(message).await.unwrap();
    let letter = next(&mailbox).await;
    let received = letter.message().clone();
    assert_eq!((received.id, letter.attempt()), (id, 1));
    assert_eq!(
        (
            received.from.as_deref(),
            &received.to,
            &*received.kind,
            received.priority
        ),
        (
            Some("writer"),
            &Address::from("acme.reviewer"),
            "review.request",
            Priority::High
        )
    );
    assert_eq!(
        received.decode::<serde_json::Value>().unwrap(),
        json!({ "diff": "- foo" })
    );
    assert_eq!((received.key.as_deref(), received.attempts), (Some("file-7"), Some(3)));
    assert_eq!(
        (received.correlation.as_deref(), received.causation.as_deref()),
        (Some("order-1"), Some("task-1"))
    );
    assert_eq!(
        (&*received.tenant, received.reply_address()),
        ("acme", Some(Address::from("archive")))
    );
    assert_eq!((received.expires, received.refusal.clone()), (None, None));
    assert_eq!(mailbox.agent(), "acme.reviewer");

    // Whoever watches sees an ordinary event.
    let event = timeout(LONG, watched.next()).await.unwrap().unwrap();
    assert_eq!(event.sequence(), letter.sequence());
    assert_eq!(AgentMessage::from_event(&event).unwrap(), received);
    assert_eq!(place.tracked(id).await.message, received);
    letter.ack().await.unwrap();
    assert!(is_quiet(&mailbox).await);
}

async fn letters_wait_for_the_mailbox(place: Place) {
    place.bus.publish(crate::event("other")).await.unwrap();
    place.bus.send(saying("a", "1")).await.unwrap();
    place.bus.send(saying("b", "not yours")).await.unwrap();
    place
        .bus
        .send(saying("a", "2").priority(Priority::Critical))
        .await
        .unwrap();
    let early = place.bus.mailbox("a").await.unwrap();
    let mut heard = BTreeSet::from([hear(&early).await, hear(&early).await]);
    assert_eq!(heard, BTreeSet::from(["1".to_owned(), "2".to_owned()]));
    drop(early);
    place.bus.send(saying("a", "3")).await.unwrap();
    let again = place.bus.mailbox("a").await.unwrap();
    assert_eq!(hear(&again).await, "3");
    assert!(is_quiet(&again).await);

    // Unless it is told to begin elsewhere.
    let late = place.bus.mailbox("b").begin(Begin::Now).await.unwrap();
    place.bus.send(saying("b", "4")).await.unwrap();
    heard = BTreeSet::from([hear(&late).await]);
    assert_eq!(heard, BTreeSet::from(["4".to_owned()]));
}

async fn letters_with_a_key_wait_for_one_another(place: Place) {
    let mailbox = place.bus.mailbox("a").retry(at_once(9)).await.unwrap();
    let keyed = |text: &str| saying("a", text).ordered_by("k");
    let urgent = keyed("urgent").priority(Priority::High);
    let messages = vec![
        keyed("k1"),
        saying("a", "free1"),
        keyed("k2"),
        saying("a", "free2"),
        urgent,
    ];
    place.bus.send_all(messages).await.unwrap();
    let mut first = BTreeMap::new();
    for _ in 0..4 {
        let letter = next(&mailbox).await;
        first.insert(said(&letter), letter);
    }
    // Of another priority, it is of another order.
    assert_eq!(first.keys().collect::<Vec<_>>(), ["free1", "free2", "k1", "urgent"]);
    assert!(is_quiet(&mailbox).await);
    first.remove("k1").unwrap().nack("not now").await.unwrap();
    let again = next(&mailbox).await;
    assert_eq!((said(&again), again.attempt()), ("k1".to_owned(), 2));
    assert!(is_quiet(&mailbox).await);
    again.ack().await.unwrap();
    assert_eq!(hear(&mailbox).await, "k2");
    mailbox.ack_all(first.into_values()).await.unwrap();
}

async fn what_fails_comes_again_and_ends_with_the_dead_letters(place: Place) {
    let mailbox = place.bus.mailbox("a").retry(at_once(2)).await.unwrap();
    let (fails, rejected) = (saying("a", "fails"), saying("a", "rejected").priority(Priority::Low));
    let ids = place.bus.send_all(vec![fails, rejected]).await.unwrap();
    let mut sequences = BTreeSet::new();
    for _ in 0..3 {
        let letter = next(&mailbox).await;
        sequences.insert(letter.sequence());
        if said(&letter) == "rejected" {
            letter.reject("never").await.unwrap();
        } else {
            let attempt = letter.attempt();
            letter.nack(format!("failure {attempt}")).await.unwrap();
        }
    }
    assert!(is_quiet(&mailbox).await);
    let dead = place.other.dead_mail("a", Sequence::START, 10).await.unwrap();
    let told: Vec<_> = dead
        .iter()
        .map(|letter| {
            let message = AgentMessage::from_event(&letter.event).unwrap();
            let last = letter.mishaps.last().unwrap().error.clone();
            (message.decode().unwrap(), letter.reason.as_str(), letter.attempts, last)
        })
        .collect();
    let (fails, rejected) = ("fails".to_owned(), "rejected".to_owned());
    assert_eq!(
        told,
        [
            (fails.clone(), "exhausted", 2, "failure 2".to_owned()),
            (rejected.clone(), "rejected", 1, "never".to_owned())
        ]
    );
    for id in &ids {
        let tracked = place.tracked(*id).await;
        assert_eq!(tracked.status(), Some(MessageStatus::Failed));
        assert!(tracked.receipts[0].error.is_some());
    }
    assert_eq!(
        place
            .bus
            .dead_mail("a", dead[0].event.sequence(), 10)
            .await
            .unwrap()
            .len(),
        1
    );
    assert_eq!(place.bus.dead_mail("a", Sequence::START, 1).await.unwrap().len(), 1);

    let sequences: Vec<_> = sequences.into_iter().collect();
    assert_eq!(place.other.redrive_mail("a", &sequences).await.unwrap(), 2);
    assert_eq!(place.bus.dead_mail("a", Sequence::START, 10).await.unwrap(), []);
    let mut back = BTreeMap::new();
    for _ in 0..2 {
        let letter = next(&mailbox).await;
        assert_eq!(letter.attempt(), 1);
        back.insert(said(&letter), letter);
    }
    back.remove(&fails).unwrap().ack().await.unwrap();
    back.remove(&rejected).unwrap().reject("still not").await.unwrap();
    assert_eq!(place.status(ids[0]).await, Some(MessageStatus::Delivered));
    assert_eq!(place.status(ids[1]).await, Some(MessageStatus::Failed));
    assert_eq!(place.bus.purge_mail("a", &sequences).await.unwrap(), 1);
    assert_eq!(place.bus.dead_mail("a", Sequence::START, 10).await.unwrap(), []);
    let error = place.bus.dead_mail("nobody", Sequence::START, 10).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotFound);
    let too_many = vec![Sequence::new(1); limits::DEAD_PAGE_MAX + 1];
    let error = place.bus.redrive_mail("a", &too_many).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::LimitReached);
}

async fn a_sender_may_allow_fewer_attempts(place: Place) {
    let mailbox = place.bus.mailbox("a").retry(at_once(5)).await.unwrap();
    let once = |text: &str| saying("a", text).attempts(1);
    let often = saying("a", "often").attempts(100);
    let ids = place
        .bus
        .send_all(vec![once("told"), once("dropped"), often])
        .await
        .unwrap();
    for _ in 0..2 {
        let letter = next(&mailbox).await;
        if said(&letter) == "told" {
            letter.nack_after(Duration::ZERO, "no").await.unwrap();
        } else {
            assert_eq!(said(&letter), "dropped");
            drop(letter);
        }
    }
    // No more than the mailbox allows.
    for attempt in 1..=5 {
        let letter = next(&mailbox).await;
        assert_eq!((said(&letter), letter.attempt()), ("often".to_owned(), attempt));
        letter.nack("no").await.unwrap();
    }
    assert!(is_quiet(&mailbox).await);
    for (id, attempts) in ids.into_iter().zip([1, 1, 5]) {
        place.reaches(id, MessageStatus::Failed).await;
        assert_eq!(place.tracked(id).await.receipts[0].attempts, attempts);
    }
    let dead = place.bus.dead_mail("a", Sequence::START, 10).await.unwrap();
    assert!(dead.iter().all(|letter| letter.reason.as_str() == "exhausted"));
}

async fn a_message_is_sent_once_however_often(place: Place) {
    let mailbox = place.bus.mailbox("a").await.unwrap();
    let id = IdSource::system().next::<EventId>();
    let message = || saying("a", "once").id(id).ttl(LONG);
    assert_eq!(place.bus.send(message()).await.unwrap(), id);
    // Later, and by another: when it expires is then another time.
    if let Some(time) = &place.time {
        time.advance(Duration::from_secs(1));
    }
    assert_eq!(place.other.send(message()).await.unwrap(), id);
    assert_eq!(place.bus.send_all(vec![message(), message()]).await.unwrap(), [id, id]);
    let letter = next(&mailbox).await;
    // What was received is sent again as it is.
    assert_eq!(place.bus.send(letter.message().clone()).await.unwrap(), id);
    letter.ack().await.unwrap();
    assert!(is_quiet(&mailbox).await);
    let error = place.bus.send(saying("a", "twice").id(id)).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Conflict);
    assert_eq!(place.status(id).await, Some(MessageStatus::Delivered));
    assert!(
        place
            .bus
            .message_status(IdSource::system().next())
            .await
            .unwrap()
            .is_none()
    );
}

async fn everybody_capable_gets_a_copy(place: Place) {
    let reviewer = place.bus.mailbox("reviewer").capability("review").await.unwrap();
    let senior = place
        .bus
        .mailbox("senior")
        .capabilities(["approve", "review", "review"])
        .retry(at_once(1))
        .await
        .unwrap();
    let writer = place.bus.mailbox("writer").capability("write").await.unwrap();
    let nobody = place
        .bus
        .send(AgentMessage::broadcast("paint").kind("k"))
        .await
        .unwrap();
    let review = AgentMessage::broadcast("review").kind("k").body("all").unwrap();
    let id = place.bus.send(review.priority(Priority::High)).await.unwrap();
    let first = next(&reviewer).await;
    assert_eq!(
        (said(&first), &first.message().to),
        ("all".to_owned(), &Address::Capability("review".into()))
    );
    next(&senior).await.reject("no").await.unwrap();
    assert!(is_quiet(&writer).await);

    // Who comes later has not been asked.
    let late = place
        .bus
        .mailbox("late")
        .capabilities(["review", "paint"])
        .await
        .unwrap();
    place.bus.send(saying("late", "welcome")).await.unwrap();
    assert_eq!(hear(&late).await, "welcome");
    assert!(is_quiet(&late).await);

    let tracked = place.tracked(id).await;
    let told = |tracked: &Tracked| {
        let receipts = tracked.receipts.iter();
        receipts
            .map(|receipt| (receipt.agent.clone(), receipt.status))
            .collect::<Vec<_>>()
    };
    let failed = ("senior".to_owned(), MessageStatus::Failed);
    assert_eq!(
        told(&tracked),
        [("reviewer".to_owned(), MessageStatus::InProgress), failed.clone()]
    );
    assert_eq!(tracked.status(), Some(MessageStatus::InProgress));
    first.ack().await.unwrap();
    let tracked = place.tracked(id).await;
    assert_eq!(
        told(&tracked),
        [("reviewer".to_owned(), MessageStatus::Delivered), failed]
    );
    assert_eq!(tracked.status(), Some(MessageStatus::Failed));
    let tracked = place.tracked(nobody).await;
    assert_eq!((tracked.receipts.len(), tracked.status()), (0, None));
    let info = place.other.mailbox_info("senior").await.unwrap();
    assert_eq!(info.capabilities, ["approve", "review"]);
}

async fn a_capability_is_declared_by_who_opens_last(place: Place) {
    let mailbox = place.bus.mailbox("a").capability("one").await.unwrap();
    let to_one = |text: &str| AgentMessage::broadcast("one").kind("k").body(text).unwrap();
    let to_two = |text: &str| AgentMessage::broadcast("two").kind("k").body(text).unwrap();
    place
        .bus
        .send_all(vec![to_one("1"), to_two("2"), saying("a", "3")])
        .await
        .unwrap();
    assert_eq!([hear(&mailbox).await, hear(&mailbox).await], ["1", "3"]);
    let error = place.bus.mailbox("a").capability("two").await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Conflict);
    drop(mailbox);
    place.bus.send_all(vec![to_two("4"), saying("a", "5")]).await.unwrap();
    let mailbox = place.bus.mailbox("a").capability("two").await.unwrap();
    place
        .bus
        .send_all(vec![to_one("6"), to_two("7"), saying("a", "8")])
        .await
        .unwrap();
    assert_eq!(
        [hear(&mailbox).await, hear(&mailbox).await, hear(&mailbox).await],
        ["5", "7", "8"]
    );
    assert!(is_quiet(&mailbox).await);
    let too_many = (0..=limits::CAPABILITIES_MAX).map(|number| format!("c{number}"));
    let error = place.bus.mailbox("b").capabilities(too_many).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::LimitReached);
    let most = (0..limits::CAPABILITIES_MAX).map(|number| format!("c{number}"));
    place.bus.mailbox("b").capabilities(most).await.unwrap();
}

async fn a_request_is_answered_once(place: Place) {
    let bus = place.other.clone();
    let mailbox = bus.mailbox("a").retry(at_once(9)).await.unwrap();
    let handler = tokio::spawn(async move {
        // The first time, it is killed between its reply and the acknowledgement.
        let letter = next(&mailbox).await;
        let request = letter.message().clone();
        assert_eq!(request.decode::<u8>().unwrap(), 1);
        let reply = letter.answer().unwrap().body("first").unwrap();
        bus.send(reply).await.unwrap();
        drop(letter);
        let letter = next(&mailbox).await;
        assert_eq!((letter.message(), letter.attempt()), (&request, 2));
        letter.reply("second").await.unwrap();
        assert!(is_quiet(&mailbox).await);
        request
    });
    let request = to("a").body(&1).unwrap().from("asker").priority(Priority::High);
    let reply = timeout(LONG, place.bus.request(request, LONG)).await.unwrap().unwrap();
    let request = handler.await.unwrap();
    assert_eq!(reply.decode::<String>().unwrap(), "first");
    assert_eq!((reply.from.as_deref(), &*reply.kind), (Some("a"), "reply"));
    assert_eq!((reply.priority, reply.to), (Priority::High, Address::Reply(request.id)));
    let id = request.id.to_string();
    assert_eq!(
        (reply.causation.as_deref(), reply.correlation.as_deref()),
        (Some(&*id), Some(&*id))
    );
    assert!(request.expires.is_some());
    assert_eq!(place.status(request.id).await, Some(MessageStatus::Delivered));
    assert_eq!(place.status(reply.id).await, None);
}

async fn a_request_is_refused(place: Place) {
    let mailbox = place.bus.mailbox("a").retry(at_once(1)).await.unwrap();
    let handler = tokio::spawn(async move {
        let failure = Failure::terminal("the diff is empty").with("lines", 0);
        next(&mailbox).await.refuse(failure).await.unwrap();
        let error = hive_bus::Error::new(ErrorKind::BudgetExhausted, "no money left");
        next(&mailbox).await.refuse(error).await.unwrap();
        // One that does not say where a reply goes is not lost for that.
        let error = next(&mailbox).await.reply("hello").await.unwrap_err();
        assert_eq!(
            (error.kind(), error.field("attribute")),
            (ErrorKind::InvalidInput, Some("reply_to"))
        );
    });
    let error = place.other.request(to("a"), LONG).await.unwrap_err();
    assert_eq!(
        (error.kind(), error.message()),
        (ErrorKind::AgentFailed, "the diff is empty")
    );
    assert!(!error.is_retryable() && error.field("request").is_some());
    assert_eq!(
        (error.field("lines"), error.field("refused_by")),
        (Some("0"), Some("a"))
    );
    let error = place.other.request(to("a"), LONG).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::BudgetExhausted);
    let id = place.bus.send(to("a")).await.unwrap();
    handler.await.unwrap();
    place.reaches(id, MessageStatus::Failed).await;
}

async fn a_request_can_be_made_again(place: Place) {
    let mailbox = place.other.mailbox("a").await.unwrap();
    let id = IdSource::system().next::<EventId>();
    let request = move || saying("a", "question").id(id);
    let first = {
        let bus = place.bus.clone();
        tokio::spawn(async move { bus.request(request(), LONG).await })
    };
    let letter = next(&mailbox).await;
    // Whoever asked has gone.
    first.abort();
    letter.reply("answer").await.unwrap();
    for bus in [&place.bus, &place.other] {
        let reply = timeout(LONG, bus.request(request(), LONG)).await.unwrap().unwrap();
        assert_eq!(reply.decode::<String>().unwrap(), "answer");
    }
    assert!(is_quiet(&mailbox).await);
}

async fn what_is_no_message_does_not_stop_a_mailbox(place: Place) {
    let mailbox = place.bus.mailbox("a").capability("c").await.unwrap();
    let strange = vec![
        NewEvent::new("strange", "message.agent.medium.a", "?").unwrap(),
        NewEvent::new("message.sent", "message.agent.medium.a", &json!({ "to": 1 })).unwrap(),
        NewEvent::new("message.sent", "message.capability.medium.c", &json!([])).unwrap(),
        NewEvent::new(
            "message.sent",
            "message.agent.medium.a",
            &json!({ "to": { "agent": "b" }, "type": "k", "priority": "medium", "body": null }),
        )
        .unwrap(),
    ];
    let count = strange.len();
    let mut sequences = place.bus.publish_all(strange).await.unwrap();
    place.bus.send(saying("a", "good")).await.unwrap();
    assert_eq!(hear(&mailbox).await, "good");
    assert!(is_quiet(&mailbox).await);
    let dead = place.bus.dead_mail("a", Sequence::START, 10).await.unwrap();
    assert_eq!(dead.len(), count);
    for letter in &dead {
        assert_eq!(letter.reason.as_str(), "rejected");
        let error = &letter.mishaps[0].error;
        assert!(error.starts_with("it is no message: "), "{error}");
        sequences.retain(|sequence| *sequence != letter.event.sequence());
    }
    assert_eq!(sequences, []);
    // What came in place of a reply is none.
    let id = IdSource::system().next::<EventId>();
    let asked = {
        let bus = place.bus.clone();
        tokio::spawn(async move { bus.request(to("a").id(id), LONG).await })
    };
    let letter = next(&mailbox).await;
    let topic = Address::Reply(id).topic(Priority::Low).unwrap();
    let forged = NewEvent::new("strange", topic, &()).unwrap();
    let unrelated = AgentMessage::to(Address::Reply(id))
        .kind("k")
        .causation("something else");
    place.bus.publish(forged).await.unwrap();
    place.bus.send(unrelated).await.unwrap();
    letter.reply("real").await.unwrap();
    let reply = asked.await.unwrap().unwrap();
    assert_eq!(reply.decode::<String>().unwrap(), "real");
    let event = place
        .bus
        .publish(crate::event("other").id(IdSource::system().next()))
        .await;
    event.unwrap();
}

async fn bad_input_writes_nothing(place: Place) {
    let mut everything = place.bus.subscribe("*").await.unwrap();
    let bad = || AgentMessage::to("no body").kind("k");
    for (result, attribute) in [
        (place.bus.send(bad()).await.map(drop), "to"),
        (place.bus.send(AgentMessage::to("a")).await.map(drop), "type"),
        (place.bus.send(to("a").tenant("")).await.map(drop), "tenant"),
        (place.bus.send_all(vec![to("a"), bad()]).await.map(drop), "to"),
        (place.bus.request(bad(), LONG).await.map(drop), "to"),
        (place.bus.request(to("a"), Duration::ZERO).await.map(drop), "ttl"),
        (place.bus.mailbox("no body").await.map(drop), "agent"),
        (place.bus.mailbox("a").capability("*").await.map(drop), "capability"),
    ] {
        let error = result.unwrap_err();
        assert_eq!(
            (error.kind(), error.field("attribute")),
            (ErrorKind::InvalidInput, Some(attribute))
        );
    }
    let error = place
        .bus
        .send_all(vec![to("a"); limits::BATCH_MAX + 1])
        .await
        .unwrap_err();
    assert_eq!(error.kind(), ErrorKind::LimitReached);
    assert_eq!(place.bus.send_all(Vec::new()).await.unwrap(), []);
    let id = place.bus.send(to("a")).await.unwrap();
    let first = timeout(LONG, everything.next()).await.unwrap().unwrap();
    assert_eq!(first.id(), id);
    for agent in ["", "no body", "*", &"x".repeat(1_000)] {
        assert_eq!(
            place.bus.mailbox_info(agent).await.unwrap_err().kind(),
            ErrorKind::NotFound
        );
    }
    assert_eq!(place.bus.consumers("", 10).await.unwrap(), Vec::<String>::new());
}

async fn two_processes_share_a_mailbox(place: Place) {
    let open = |bus: &Bus| bus.mailbox("a").prefetch(2).retry(at_once(9));
    let mailboxes = [open(&place.bus).await.unwrap(), open(&place.other).await.unwrap()];
    let total = 60;
    let heard: Arc<Mutex<Vec<String>>> = Arc::default();
    let workers: Vec<_> = mailboxes
        .iter()
        .map(|mailbox| {
            let (mailbox, heard) = (mailbox.clone(), Arc::clone(&heard));
            tokio::spawn(async move {
                while let Ok(letter) = mailbox.next().await {
                    let text = said(&letter);
                    letter.ack().await.unwrap();
                    heard.lock().unwrap().push(text);
                }
            })
        })
        .collect();
    for number in 0..total {
        let bus = if number % 2 == 0 { &place.bus } else { &place.other };
        bus.send(saying("a", &number.to_string())).await.unwrap();
    }
    let all = async {
        while heard.lock().unwrap().len() < total {
            tokio::task::yield_now().await;
        }
    };
    timeout(LONG, all).await.expect("not everything was heard");
    let mut heard = std::mem::take(&mut *heard.lock().unwrap());
    heard.sort_by_key(|text| text.parse::<usize>().unwrap());
    assert_eq!(heard, (0..total).map(|number| number.to_string()).collect::<Vec<_>>());
    workers.iter().for_each(tokio::task::JoinHandle::abort);
}

async fn a_removed_mailbox_ends(place: Place) {
    let mailbox = place.bus.mailbox("a").capability("c").await.unwrap();
    let waiting = {
        let mailbox = mailbox.clone();
        tokio::spawn(async move { mailbox.next().await })
    };
    let info = place.bus.mailbox_info("a").await.unwrap();
    assert_eq!((info.agent.as_str(), info.lanes.len()), ("a", 4));
    let priorities: Vec<_> = info.lanes.iter().map(|(priority, _)| *priority).collect();
    assert_eq!(priorities, Priority::ALL);
    assert_eq!(info.lanes[0].1.name, "mailbox/critical/a");
    assert!(place.other.remove_mailbox("a").await.unwrap());
    assert!(!place.other.remove_mailbox("a").await.unwrap());
    let error = timeout(LONG, waiting).await.unwrap().unwrap().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotFound);
    assert_eq!(
        place.bus.mailbox_info("a").await.unwrap_err().kind(),
        ErrorKind::NotFound
    );
    drop(mailbox);
    let id = place.bus.send(to("a")).await.unwrap();
    assert_eq!(place.status(id).await, Some(MessageStatus::Pending));
    let again = place.bus.mailbox("a").await.unwrap();
    next(&again).await.ack().await.unwrap();
}

/// What befalls a delivery is drawn from the message and the attempt, so that it is another each time.
fn fate(letter: &Letter) -> u64 {
    let seed = format!("{} {}", letter.message().id, letter.attempt());
    fingerprint(seed.as_bytes()) % 100
}

async fn every_message_is_acknowledged_once(place: Place) {
    const MAILBOXES: usize = 16;
    const MESSAGES: usize = 10_000;
    let ledger: Arc<Mutex<BTreeMap<EventId, usize>>> = Arc::default();
    let mut workers = Vec::new();
    for number in 0..MAILBOXES {
        let bus = if number % 2 == 0 { &place.bus } else { &place.other };
        // No time passes here that a lease would end by.
        let open = bus.mailbox(format!("agent-{number}")).ack_wait(limits::ACK_WAIT_MAX);
        let mailbox = open.retry(at_once(1_000)).prefetch(64).await.unwrap();
        for _ in 0..8 {
            let (mailbox, ledger) = (mailbox.clone(), Arc::clone(&ledger));
            workers.push(tokio::spawn(async move {
                while let Ok(letter) = mailbox.next().await {
                    let id = letter.message().id;
                    match fate(&letter) {
                        0..5 => drop(letter),
                        5..10 => letter.nack("no").await.unwrap(),
                        10..12 => letter.nack_after(Duration::ZERO, "later").await.unwrap(),
                        12..15 => {
                            letter.extend().await.unwrap();
                            letter.ack().await.unwrap();
                            *ledger.lock().unwrap().entry(id).or_default() += 1;
                        }
                        _ => {
                            letter.ack().await.unwrap();
                            *ledger.lock().unwrap().entry(id).or_default() += 1;
                        }
                    }
                }
            }));
        }
    }
    let mut sent = BTreeSet::new();
    let numbers: Vec<usize> = (0..MESSAGES).collect();
    for batch in numbers.chunks(250) {
        let messages = batch
            .iter()
            .map(|number| {
                let message = to(&format!("agent-{}", number % MAILBOXES));
                let message = message.priority(Priority::ALL[number / 7 % 4]);
                if number % 3 == 0 {
                    message.ordered_by(number % 5)
                } else {
                    message
                }
            })
            .collect();
        sent.extend(place.bus.send_all(messages).await.unwrap());
    }
    let all = async {
        while ledger.lock().unwrap().len() < MESSAGES {
            tokio::task::yield_now().await;
        }
    };
    let finished = timeout(LONG, all).await;
    let ledger = std::mem::take(&mut *ledger.lock().unwrap());
    assert!(finished.is_ok(), "{} of {MESSAGES} were acknowledged", ledger.len());
    assert_eq!(ledger.keys().copied().collect::<BTreeSet<_>>(), sent);
    assert!(ledger.values().all(|times| *times == 1));
    for number in 0..MAILBOXES {
        let agent = format!("agent-{number}");
        let info = place.bus.mailbox_info(&agent).await.unwrap();
        let open: usize = info.lanes.iter().map(|(_, lane)| lane.taken + lane.waiting).sum();
        assert_eq!(open, 0, "{agent}");
        assert_eq!(place.bus.dead_mail(&agent, Sequence::START, 1).await.unwrap(), []);
    }
    workers.iter().for_each(tokio::task::JoinHandle::abort);
}

async fn what_expires_is_not_handed_out(place: Place) {
    let ttl = Duration::from_secs(10);
    // One waits for its mailbox, one for its turn on the desk, and one has been begun.
    let waits = place.bus.send(saying("a", "waits").ttl(ttl)).await.unwrap();
    assert_eq!(place.status(waits).await, Some(MessageStatus::Pending));
    place.clock().advance(ttl);
    assert_eq!(place.status(waits).await, Some(MessageStatus::Expired));
    let mailbox = place.bus.mailbox("a").await.unwrap();
    let soon = |text: &str| saying("a", text).ttl(ttl);
    let ids = place
        .bus
        .send_all(vec![soon("begun"), soon("on the desk"), saying("a", "patient")])
        .await
        .unwrap();
    let begun = next(&mailbox).await;
    assert_eq!((said(&begun), begun.message().ttl()), ("begun".to_owned(), Some(ttl)));
    place.clock().advance(ttl);
    assert_eq!(hear(&mailbox).await, "patient");
    assert_eq!(place.status(ids[0]).await, Some(MessageStatus::InProgress));
    begun.ack().await.unwrap();
    place.reaches(ids[1], MessageStatus::Expired).await;
    place.reaches(waits, MessageStatus::Expired).await;
    let dead = place.bus.dead_mail("a", Sequence::START, 10).await.unwrap();
    let reasons: Vec<_> = dead.iter().map(|letter| letter.reason.as_str()).collect();
    assert_eq!(reasons, ["expired", "expired"]);
    // Whoever brings one back wants it all the same.
    let sequence = dead[0].event.sequence();
    assert_eq!(place.bus.redrive_mail("a", &[sequence]).await.unwrap(), 1);
    assert_eq!(hear(&mailbox).await, "waits");
    assert_eq!(place.status(waits).await, Some(MessageStatus::Delivered));
}

async fn the_status_follows_a_message(place: Place) {
    let wait = Duration::from_secs(10);
    let id = place.bus.send(to("a")).await.unwrap();
    let tracked = place.tracked(id).await;
    assert_eq!(
        (tracked.status(), &*tracked.receipts[0].agent),
        (Some(MessageStatus::Pending), "a")
    );
    let open = || {
        place
            .bus
            .mailbox("a")
            .retry(RetryPolicy::fixed(2, wait))
            .ack_wait(wait * 3)
    };
    let mailbox = open().await.unwrap();
    let letter = next(&mailbox).await;
    assert_eq!(place.status(id).await, Some(MessageStatus::InProgress));
    letter.nack("not now").await.unwrap();
    let receipt = place.tracked(id).await.receipts.remove(0);
    assert_eq!(
        (receipt.status, receipt.attempts, receipt.error.as_deref()),
        (MessageStatus::Pending, 1, Some("not now"))
    );
    place.clock().until_sleepers(1).await;
    place.clock().advance(wait);
    let letter = next(&mailbox).await;
    place.reaches(id, MessageStatus::InProgress).await;
    letter.ack().await.unwrap();
    assert_eq!(place.status(id).await, Some(MessageStatus::Delivered));

    // What a paused mailbox does not take waits.
    for priority in Priority::ALL {
        place.bus.pause(&format!("mailbox/{priority}/a")).await.unwrap();
    }
    let id = place.bus.send(to("a").ttl(wait)).await.unwrap();
    assert!(is_quiet(&mailbox).await);
    assert_eq!(place.status(id).await, Some(MessageStatus::Pending));
    place.clock().advance(wait);
    assert_eq!(place.status(id).await, Some(MessageStatus::Expired));
    // One that was told to go on elsewhere knows nothing of what it left out.
    let later = place.bus.send(to("a")).await.unwrap();
    place.bus.seek("mailbox/medium/a", Begin::Now).await.unwrap();
    assert_eq!(place.tracked(later).await.receipts, []);
    assert_eq!(place.status(later).await, None);
    let other = place.bus.publish(crate::event("other").id(later)).await.unwrap_err();
    assert_eq!(other.kind(), ErrorKind::Conflict);
    let event = IdSource::system().next::<EventId>();
    place.bus.publish(crate::event("other").id(event)).await.unwrap();
    let error = place.bus.message_status(event).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidInput);
}

async fn nobody_waits_for_a_reply_beyond_the_deadline(place: Place) {
    let deadline = Duration::from_secs(10);
    let ask = |agent: &str, ttl: Duration| {
        let (bus, message) = (place.bus.clone(), to(agent).ttl(ttl));
        tokio::spawn(async move { bus.request(message, deadline).await })
    };
    // Nobody is there.
    let mut watched = place.bus.subscribe("message.>").await.unwrap();
    let asked = ask("nobody", LONG);
    let event = timeout(LONG, watched.next()).await.unwrap().unwrap();
    assert_eq!(AgentMessage::from_event(&event).unwrap().ttl(), Some(deadline));
    place.clock().advance(deadline);
    let error = timeout(LONG, asked).await.unwrap().unwrap().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Timeout);
    let id = event.id().to_string();
    assert_eq!(
        (error.field("request"), error.field("to")),
        (Some(&*id), Some("agent:nobody"))
    );
    let mailbox = place.bus.mailbox("nobody").await.unwrap();
    assert!(is_quiet(&mailbox).await);
    assert_eq!(place.status(event.id()).await, Some(MessageStatus::Expired));

    // Somebody begins in time and is late.
    let mailbox = place.bus.mailbox("slow").await.unwrap();
    let asked = ask("slow", Duration::from_secs(1));
    let letter = next(&mailbox).await;
    assert_eq!(letter.message().ttl(), Some(Duration::from_secs(1)));
    place.clock().advance(deadline);
    let error = timeout(LONG, asked).await.unwrap().unwrap().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Timeout);
    let request = letter.message().id;
    letter.reply("late").await.unwrap();
    if place.db.is_some() {
        let page = place.bus.history(Query::new().correlation(request)).await.unwrap();
        let late = AgentMessage::from_event(page.events.last().unwrap()).unwrap();
        assert_eq!(
            (page.events.len(), late.decode::<String>().unwrap()),
            (2, "late".to_owned())
        );
    }
    // Nobody is left to wait once the bus is closed.
    let asked = ask("slow", LONG);
    let _in_hand = next(&mailbox).await;
    place.bus.close();
    let error = timeout(LONG, asked).await.unwrap().unwrap().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::ShuttingDown);
}

async fn a_letter_can_be_kept(place: Place) {
    let wait = Duration::from_secs(5);
    let open = place.bus.mailbox("a").ack_wait(wait).retry(at_once(9));
    let mailbox = open.await.unwrap();
    place.bus.send(saying("a", "long")).await.unwrap();
    let letter = next(&mailbox).await;
    for _ in 0..4 {
        place.clock().until_sleepers(1).await;
        place.clock().advance(wait - Duration::from_secs(1));
        letter.extend().await.unwrap();
    }
    assert!(is_quiet(&mailbox).await);
    place.clock().until_sleepers(1).await;
    place.clock().advance(wait);
    let again = next(&mailbox).await;
    assert_eq!(letter.ack().await.unwrap_err().kind(), ErrorKind::LeaseLost);
    again.ack().await.unwrap();
}

/// With a database, a message can be a part of a transaction.
async fn all_or_nothing(place: Place) {
    let db = place.db.clone().unwrap();
    let mailbox = place.bus.mailbox("a").await.unwrap();
    let send = |text: &'static str, fail: bool| {
        let bus = place.bus.clone();
        let work = move |tx: &mut Tx<'_>| {
            let id = bus.send_in(tx, saying("a", text))?;
            let more = vec![saying("a", "too"), saying("b", "elsewhere")];
            let ids = bus.send_all_in(tx, more)?;
            assert_eq!(ids.len(), 2);
            if fail {
                return Err(hive_bus::Error::new(ErrorKind::Conflict, "it changed its mind"));
            }
            Ok(id)
        };
        db.write(work)
    };
    send("no", true).await.unwrap_err();
    let id = send("yes", false).await.unwrap();
    let letter = Arc::new(next(&mailbox).await);
    assert_eq!((said(&letter), letter.message().id), ("yes".to_owned(), id));
    assert_eq!(hear(&mailbox).await, "too");
    assert!(is_quiet(&mailbox).await);

    // Its acknowledgement and what it causes, too.
    let handle = |letter: Arc<Letter>, fail: bool| {
        let bus = place.bus.clone();
        let work = move |tx: &mut Tx<'_>| {
            bus.send_in(tx, saying("a", "next").caused_by(letter.message()))?;
            letter.ack_in(tx)?;
            if fail {
                return Err(hive_bus::Error::new(ErrorKind::Conflict, "it changed its mind"));
            }
            Ok(())
        };
        db.write(work)
    };
    handle(Arc::clone(&letter), true).await.unwrap_err();
    assert_eq!(place.status(id).await, Some(MessageStatus::InProgress));
    handle(Arc::clone(&letter), false).await.unwrap();
    assert_eq!(place.status(id).await, Some(MessageStatus::Delivered));
    handle(letter, false).await.unwrap_err();
    let caused = next(&mailbox).await;
    let id = id.to_string();
    assert_eq!(caused.message().causation.as_deref(), Some(&*id));
    assert_eq!(caused.message().correlation.as_deref(), Some(&*id));
    assert_eq!(said(&caused), "next");
    caused.ack().await.unwrap();
    assert!(is_quiet(&mailbox).await);
}

/// A request, its reply and what they caused are a tree among the other events.
async fn a_tree(place: Place) {
    let mailbox = place.bus.mailbox("reviewer").await.unwrap();
    let asked = {
        let bus = place.bus.clone();
        tokio::spawn(async move { bus.request(to("reviewer").from("writer"), LONG).await })
    };
    let letter = next(&mailbox).await;
    let request = letter.message().clone();
    let helper = saying("helper", "look").from("reviewer").caused_by(&request);
    place.bus.send(helper).await.unwrap();
    letter.reply("fine").await.unwrap();
    let reply = asked.await.unwrap().unwrap();
    let done = crate::event("done").correlation(request.id).causation(reply.id);
    place.bus.publish(done).await.unwrap();
    let trace = place.bus.trace(request.id).await.unwrap();
    let tree: Vec<_> = trace
        .entries()
        .iter()
        .map(|entry| {
            let topic = entry.event.topic().to_string();
            (entry.depth, topic.replace(&request.id.to_string(), "…"))
        })
        .collect();
    assert_eq!(
        tree,
        [
            (0, "message.agent.medium.reviewer".to_owned()),
            (1, "message.agent.medium.helper".to_owned()),
            (1, "message.reply.medium.…".to_owned()),
            (2, "done".to_owned()),
        ]
    );
    let from = Query::new().source("/hive/reviewer");
    assert_eq!(place.bus.history(from).await.unwrap().events.len(), 2);
    let to = Query::new().topics(Patterns::from(Address::from("reviewer").pattern().unwrap()));
    assert_eq!(place.bus.history(to).await.unwrap().events.len(), 1);
}

#[tokio::test]
async fn all_or_nothing_on_sqlite() {
    all_or_nothing(Place::sqlite().await).await;
}

#[cfg(feature = "postgres")]
#[tokio::test]
async fn all_or_nothing_on_postgres() {
    all_or_nothing(Place::postgres().await).await;
}

#[tokio::test]
async fn a_tree_on_sqlite() {
    a_tree(Place::sqlite().await).await;
}

#[cfg(feature = "postgres")]
#[tokio::test]
async fn a_tree_on_postgres() {
    a_tree(Place::postgres().await).await;
}

#[tokio::test]
async fn what_a_process_had_in_hand_comes_again_after_its_death() {
    let place = TestDb::sqlite();
    let clock: Arc<dyn Clock> = Arc::new(ManualClock::new(NOW));
    {
        let (db, bus) = open(&place, Arc::clone(&clock)).await;
        let mailbox = bus.mailbox("a").await.unwrap();
        let urgent = saying("a", "3").priority(Priority::High);
        bus.send_all(vec![saying("a", "1"), saying("a", "2")]).await.unwrap();
        assert_eq!(hear(&mailbox).await, "1");
        let _in_hand = std::mem::ManuallyDrop::new(next(&mailbox).await);
        bus.send(urgent).await.unwrap();
        // As a process ends that is killed: nobody gives anything back.
        std::mem::forget(mailbox);
        db.close().await.unwrap();
    }
    let (_db, bus) = open(&place, clock).await;
    let mailbox = bus.mailbox("a").await.unwrap();
    let heard = BTreeSet::from([hear(&mailbox).await, hear(&mailbox).await]);
    assert_eq!(heard, BTreeSet::from(["2".to_owned(), "3".to_owned()]));
    assert!(is_quiet(&mailbox).await);
}
