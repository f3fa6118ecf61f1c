//! What becomes of what is published.

use hive_core::clock::Timestamp;
use hive_errors::ErrorKind;
use tokio::task::JoinSet;

use super::Place;
use super::samples::{
    all_published, assert_same, event, events, everything, large, log, new_id, numbers, odd_events, published, read,
};
use crate::event::{NewEvent, Sequence};
use crate::limits;
use crate::transport::{Change, Register};

pub(super) async fn sequences_grow_in_the_order_given(place: &dyn Place) {
    let transport = place.open().await.expect("the place is opened");
    assert!(!transport.name().is_empty(), "a transport has a name");
    let mut sent = Vec::new();
    let mut sequences = Vec::new();
    for batch in [1, 3, 1, limits::BATCH_MAX as u64, 2] {
        let batch = events("order", batch);
        sequences.extend(transport.publish(batch.clone()).await.expect("a batch is published"));
        sent.extend(batch);
        let head = transport.head().await.expect("the end of the log is told");
        assert!(
            Some(&head) >= sequences.last(),
            "the head {head} is behind {:?}",
            sequences.last()
        );
    }
    assert!(
        sequences.is_sorted_by(|one, next| one < next) && sequences[0] > Sequence::START,
        "sequences do not grow: {sequences:?}"
    );
    let none = transport
        .publish(Vec::new())
        .await
        .expect("an empty batch is published");
    assert_eq!(none, [], "an empty batch has no sequences");
    assert_same(&log(&*transport).await, &all_published(&sent, &sequences), "the log");
}

pub(super) async fn an_event_is_published_once(place: &dyn Place) {
    let (one, other) = (
        place.open().await.expect("the place is opened"),
        place.open().await.expect("the place is opened again"),
    );
    let (first, again, last) = (event("a", 1), event("b", 2), event("c", 3));
    let sequence = one.publish(vec![again.clone()]).await.expect("an event is published")[0];
    // Whoever publishes an event again may not know when it was published first.
    for repeated in [again.clone(), again.clone().time(Timestamp::EPOCH)] {
        let known = other
            .publish(vec![repeated])
            .await
            .expect("an event is published again");
        assert_eq!(known, [sequence], "an event that is published again keeps its sequence");
    }
    let batch = vec![first.clone(), again.clone(), last.clone(), again.clone(), first.clone()];
    let known = one
        .publish(batch)
        .await
        .expect("a batch with known events is published");
    assert_eq!(
        (known[1], known[3], known[4]),
        (sequence, sequence, known[0]),
        "an event that is in a batch twice has one sequence"
    );
    let expected = [
        published(&again, sequence),
        published(&first, known[0]),
        published(&last, known[2]),
    ];
    assert_same(&log(&*other).await, &expected, "the log");

    let raced = event("d", 4);
    let mut racers = JoinSet::new();
    for racer in 0..16 {
        let transport = if racer % 2 == 0 { &one } else { &other };
        let (transport, raced, own) = (transport.clone(), raced.clone(), event("e", racer));
        racers.spawn(async move {
            let batch = if racer % 4 < 2 { vec![raced] } else { vec![raced, own] };
            transport
                .publish(batch)
                .await
                .expect("an event is published while others publish it")[0]
        });
    }
    let mut won = racers.join_all().await;
    won.dedup();
    let found = log(&*one).await;
    let ours: Vec<_> = found.iter().filter(|event| event.topic().as_str() == "d").collect();
    assert_eq!(
        ours,
        [&published(&raced, won[0])],
        "an event that many publish is there once"
    );
    assert_eq!(
        won.len(),
        1,
        "an event that many publish has one sequence for all: {won:?}"
    );
    assert_eq!(found.len(), 3 + 1 + 8, "what was published beside it is there");
}

pub(super) async fn publishers_who_are_refused_or_give_up_take_nobody_along(place: &dyn Place) {
    let transport = place.open().await.expect("the place is opened");
    let id = new_id();
    let known = event("known", 0).id(id);
    let sequence = transport
        .publish(vec![known.clone()])
        .await
        .expect("an event is published")[0];
    let (mut publishers, mut impatient) = (JoinSet::new(), JoinSet::new());
    for number in 1..=120 {
        let (transport, known) = (transport.clone(), known.clone());
        match number % 4 {
            // Another event under a known id.
            0 => publishers.spawn(async move {
                let batch = vec![event("refused", number).id(id)];
                let refused = transport.publish(batch).await.expect_err("another event is refused");
                assert_eq!(refused.kind(), ErrorKind::Conflict, "{refused:?}");
                None
            }),
            1 => publishers.spawn(async move {
                let again = transport
                    .publish(vec![known])
                    .await
                    .expect("an event is published again");
                assert_eq!(again, [sequence], "an event that is published again keeps its sequence");
                None
            }),
            2 => {
                impatient.spawn(async move { transport.publish(vec![event("impatient", number)]).await });
                continue;
            }
            _ => publishers.spawn(async move {
                let batch = vec![event("kept", number), event("kept", number + 1_000)];
                let given = transport
                    .publish(batch)
                    .await
                    .expect("events are published beside others");
                Some((number, given))
            }),
        };
        if number % 8 == 0 {
            tokio::task::yield_now().await;
            impatient.abort_all();
        }
    }
    let kept: Vec<_> = publishers.join_all().await.into_iter().flatten().collect();
    assert_eq!(kept.len(), 30, "everybody is told");
    let found = log(&*transport).await;
    for (number, given) in kept {
        for (number, sequence) in [number, number + 1_000].into_iter().zip(given) {
            let ours = found.iter().find(|event| event.sequence() == sequence);
            let ours = ours.expect("an event is where its publisher was told");
            let told = ours.data().decode::<u64>().expect("the samples hold numbers");
            assert_eq!(
                (ours.topic().as_str(), told),
                ("kept", number),
                "it is the publisher's own"
            );
        }
    }
    assert!(
        found.iter().all(|event| event.topic().as_str() != "refused"),
        "what was refused is not there"
    );
}

pub(super) async fn another_event_with_a_known_id_is_refused(place: &dyn Place) {
    let transport = place.open().await.expect("the place is opened");
    let id = new_id();
    let known = event("known", 1).id(id).key("key");
    transport
        .publish(vec![known.clone()])
        .await
        .expect("an event is published");
    let data = NewEvent::new("conformance", "known", &2).expect("the sample is an event");
    let others = [
        event("other", 1).id(id).key("key"),
        event("known", 1).id(id),
        event("known", 1).id(id).key("other"),
        data.key("key").id(id).time(Timestamp::EPOCH),
        event("known", 1).id(id).key("key").expires(Timestamp::MAX),
    ];
    for other in others {
        let error = transport
            .publish(vec![other])
            .await
            .expect_err("an id belongs to one event");
        assert_eq!(error.kind(), ErrorKind::Conflict, "{error:?}");
    }

    let (front, back) = (events("front", 2), event("back", 1));
    let batch = vec![
        front[0].clone(),
        front[1].clone(),
        event("other", 3).id(id),
        back.clone(),
    ];
    let error = transport
        .publish(batch)
        .await
        .expect_err("a batch with a taken id is refused");
    assert_eq!(error.kind(), ErrorKind::Conflict, "{error:?}");
    let twice = new_id();
    let batch = vec![event("twice", 1).id(twice), event("twice", 2).id(twice)];
    let error = transport
        .publish(batch)
        .await
        .expect_err("an id belongs to one event of a batch");
    assert_eq!(error.kind(), ErrorKind::Conflict, "{error:?}");

    // Those in front of what was refused may be there, each only with those before it.
    let topics: Vec<_> = log(&*transport)
        .await
        .iter()
        .map(|event| event.topic().to_string())
        .collect();
    let allowed = ["known", "front", "front", "twice"];
    let mut rest = allowed.iter();
    assert!(
        topics.iter().all(|topic| rest.any(|allowed| allowed == topic)),
        "after batches that were refused the log has {topics:?}"
    );
    let again = vec![front[0].clone(), front[1].clone(), back];
    let sequences = transport
        .publish(again.clone())
        .await
        .expect("what was refused is corrected");
    let found = log(&*transport).await;
    for event in all_published(&again, &sequences) {
        let count = found.iter().filter(|found| **found == event).count();
        assert_eq!(count, 1, "{event:?} is there once");
    }
}

pub(super) async fn every_attribute_comes_back(place: &dyn Place) {
    let (one, other) = (
        place.open().await.expect("the place is opened"),
        place.open().await.expect("the place is opened again"),
    );
    let interest = one.live().interest(&everything(), None);
    let sent = odd_events();
    let mut sequences = one.publish(sent[..9].to_vec()).await.expect("odd events are published");
    for event in &sent[9..] {
        sequences.extend(
            one.publish(vec![event.clone()])
                .await
                .expect("an odd event is published"),
        );
    }
    let expected = all_published(&sent, &sequences);
    assert_same(&log(&*other).await, &expected, "what is read elsewhere");
    assert_same(&log(&*one).await, &expected, "what is read where it was published");
    let got = other.get(&sequences).await.expect("events are got by their sequences");
    assert_same(&got, &expected, "what is got");
    if let Some((recent, _)) = one
        .live()
        .recent(&everything(), Sequence::START, limits::PAGE_EVENTS_MAX)
    {
        assert_same(&recent, &expected[..recent.len()], "what is at hand");
    }
    drop(interest);
    // An event that was read is published again as itself.
    for (event, sequence) in expected.into_iter().zip(sequences) {
        let known = other
            .publish(vec![event.into()])
            .await
            .expect("an event that was read is published");
        assert_eq!(known, [sequence]);
    }
}

pub(super) async fn large_events_come_back(place: &dyn Place) {
    let transport = place.open().await.expect("the place is opened");
    let mut sent: Vec<_> = (0..10).map(|_| large("large", limits::DATA_BYTES_MAX)).collect();
    sent.extend(events("small", 3));
    sent.push(large("large", limits::DATA_BYTES_MAX - 1));
    let sequences = transport
        .publish(sent.clone())
        .await
        .expect("a batch of large events is published");
    assert_same(&log(&*transport).await, &all_published(&sent, &sequences), "the log");
}

pub(super) async fn what_was_acknowledged_is_there_after_reopening(place: &dyn Place) {
    if !place.keeps() {
        return;
    }
    let sent = odd_events();
    let one = place.open().await.expect("the place is opened");
    let mut sequences = one.publish(sent[..10].to_vec()).await.expect("events are published");
    let revision = one.store("consumer", Change::new(None, b"state".to_vec())).await;
    let revision = revision.expect("a state is stored").expect("there is no consumer yet");
    one.close().await.expect("the transport is closed");
    drop(one);

    let other = place.open().await.expect("the place is opened after it was closed");
    assert_same(&log(&*other).await, &all_published(&sent[..10], &sequences), "the log");
    let known = other.load("consumer").await.expect("a state is loaded");
    assert_eq!(known, Some(Register::new(b"state".to_vec(), revision)));
    let again = other
        .publish(sent.clone())
        .await
        .expect("known and new events are published");
    assert_eq!(
        again[..10],
        sequences,
        "an event that is published again keeps its sequence"
    );
    sequences.extend_from_slice(&again[10..]);
    assert_same(&log(&*other).await, &all_published(&sent, &sequences), "the log");
    let rest = read(&*other, &everything(), sequences[9], 1_000).await;
    assert_eq!(
        numbers(&rest).first(),
        Some(&sequences[10].get()),
        "sequences go on where they were"
    );
}
