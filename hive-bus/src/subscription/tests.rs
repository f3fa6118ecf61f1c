use hive_core::clock::Timestamp;
use hive_core::db::Options;
use hive_core::id::EventId;

use super::*;
use crate::event::NewEvent;
use crate::live::Live;

#[tokio::test]
async fn a_slow_subscriber_holds_one_page() {
    let dir = tempfile::tempdir().unwrap();
    let db = Db::open(Options::file(dir.path().join("hive.db")).migrations(&log::MIGRATIONS))
        .await
        .unwrap();
    let live = Live::new(Sequence::START);
    let (head, recent) = live.subscribe();
    let subscribe = Subscribe {
        db: db.clone(),
        head,
        recent,
        pattern: Ok(Pattern::ALL),
        after: None,
    };
    let mut slow = subscribe.await.unwrap();

    let small = NewEvent::new("a", "a", &()).unwrap().attributes;
    let large = NewEvent::new("a", "a", &"x".repeat(limits::DATA_BYTES_MAX - 2))
        .unwrap()
        .attributes;
    let mut number = 0_u128;
    for attributes in [vec![small.clone(); 900], vec![large; 60], vec![small; 900]] {
        let published = db.write(move |tx| {
            let mut events = Vec::new();
            for attributes in attributes {
                number += 1;
                let id = EventId::from_bytes(number.to_be_bytes());
                let sequence = log::insert(tx, id, Timestamp::EPOCH, &attributes)?;
                events.push(Event::published(sequence, id, Timestamp::EPOCH, attributes));
            }
            Ok((events, number))
        });
        let (events, last) = published.await.unwrap();
        number = last;
        live.committed(events);
    }
    assert!(slow.page.is_empty());

    let largest = limits::DATA_BYTES_MAX + 4_096;
    for number in 1..=1_860 {
        assert_eq!(slow.next().await.unwrap().sequence(), Sequence::new(number));
        assert_eq!(slow.cursor(), Sequence::new(number));
        assert!(slow.page.len() < limits::PAGE_EVENTS_MAX);
        assert!(slow.page.iter().map(Event::bytes).sum::<usize>() < limits::PAGE_BYTES_MAX + largest);
    }
}
