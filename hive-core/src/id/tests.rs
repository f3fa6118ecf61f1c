use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use proptest::prelude::*;

use super::*;
use crate::clock::{Clock, ManualClock, Timestamp};
use crate::payload::Schema;
use crate::rng::SeededRng;

fn source() -> (ManualClock, IdSource) {
    let clock = ManualClock::new("2026-01-02T03:04:05Z".parse().unwrap());
    let ids = IdSource::new(Arc::new(clock.clone()), Arc::new(SeededRng::new(1)));
    (clock, ids)
}

proptest! {
    #[test]
    fn text_round_trips_and_sorts_as_the_bits_do(a: u128, b: u128) {
        let [a, b] = [a, b].map(|bits| TaskId::from_bytes(bits.to_be_bytes()));
        prop_assert_eq!(a.to_string().len(), "task_".len() + 26);
        prop_assert_eq!(a.to_string().parse::<TaskId>().unwrap(), a);
        prop_assert_eq!(a.cmp(&b), a.to_string().cmp(&b.to_string()));
        prop_assert_eq!(serde_json::from_str::<TaskId>(&serde_json::to_string(&a).unwrap()).unwrap(), a);
        prop_assert_eq!(TaskId::from_uuid(a.as_uuid()), a);
    }

    #[test]
    fn any_text_is_an_id_in_its_only_spelling_or_an_error(text in "(task_)?[0-9a-zA-Z_]{0,30}") {
        if let Ok(id) = text.parse::<TaskId>() {
            prop_assert_eq!(id.to_string(), text);
        }
    }
}

#[test]
fn text_is_pinned() {
    // Stored in logs, URLs and other systems: the spelling must not change between releases.
    let check = |bits: u128, text: &str| assert_eq!(TaskId::from_bytes(bits.to_be_bytes()).to_string(), text);
    check(0, "task_00000000000000000000000000");
    check(u128::MAX, "task_7zzzzzzzzzzzzzzzzzzzzzzzzz");
    check(
        0x0123_4567_89ab_cdef_0123_4567_89ab_cdef,
        "task_014d2pf2dbsqqg28t5cy4tqkff",
    );
}

#[test]
fn wrong_ids_say_what_is_wrong() {
    let check = |text: &str, message: &str| {
        let error = text.parse::<TaskId>().unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidInput, "{text:?}");
        assert_eq!(error.message(), message, "{text:?}");
        assert_eq!(error.field("expected_prefix"), Some("task_"));
        error
    };
    let prefix = "the id has the wrong prefix";
    let length = "the id has the wrong length";
    let character = "the id contains a character that no id has";
    check("", prefix);
    check("01kdyqm3vge8v8n3c1zk6f4a9r", prefix);
    check("evt_01kdyqm3vge8v8n3c1zk6f4a9r", prefix);
    check("TASK_01kdyqm3vge8v8n3c1zk6f4a9r", prefix);
    check(" task_01kdyqm3vge8v8n3c1zk6f4a9r", prefix);
    check("task_", length);
    check("task_01kdyqm3vge8v8n3c1zk6f4a9", length);
    check("task_01kdyqm3vge8v8n3c1zk6f4a9r0", length);
    check("task_01KDYQM3VGE8V8N3C1ZK6F4A9R", character);
    check("task_01kdyqm3vge8v8n3c1zk6f4a9o", character);
    check("task_01kdyqm3vge8v8n3c1zk6f4a9ü", character);
    check("task_8zzzzzzzzzzzzzzzzzzzzzzzzz", "the id is larger than 128 bits");

    let error = check("task_01kdyqm3vge8v8n3c1zk6f4a9\n", character);
    assert_eq!(error.field("character"), Some("\\n"));
    let error = check(&"x".repeat(1 << 20), prefix);
    assert!(
        error.to_string().len() < 300,
        "an error carries the whole input: {} bytes",
        error.to_string().len()
    );
}

#[test]
fn serde_refuses_with_the_same_words() {
    let error = serde_json::from_str::<TaskId>("\"evt_1\"").unwrap_err().to_string();
    assert!(error.contains("wrong prefix") && error.contains("task_"), "{error}");
    let error = serde_json::from_str::<TaskId>("7").unwrap_err().to_string();
    assert!(error.contains("an id that starts with \"task_\""), "{error}");
}

#[test]
fn the_schema_is_a_string_with_the_prefix() {
    let schema = Schema::of::<EventId>();
    assert_eq!(schema.as_value()["type"], "string");
    assert_eq!(schema.as_value()["pattern"], "^evt_[0-7][0-9a-hjkmnp-tv-z]{25}$");
}

#[test]
fn ids_grow_while_the_clock_stands_steps_back_and_jumps() {
    let (clock, ids) = source();
    let mut last = ids.next::<TaskId>();
    let mut check = || {
        let next = ids.next::<TaskId>();
        assert!(next > last, "{next} must come after {last}");
        last = next;
    };
    (0..1_000).for_each(|_| check());
    clock.set_wall(Timestamp::EPOCH);
    (0..1_000).for_each(|_| check());
    clock.set_wall(Timestamp::MIN);
    check();
    clock.set_wall("2030-01-01T00:00:00Z".parse().unwrap());
    check();
    clock.set_wall(Timestamp::MAX);
    check();
    check();
}

#[test]
fn ids_are_version_7_with_the_clock_s_milliseconds() {
    let (clock, ids) = source();
    for _ in 0..100 {
        clock.advance(Duration::from_millis(1));
        let uuid = ids.next::<InstanceId>().as_uuid();
        assert_eq!(uuid.get_version_num(), 7);
        assert_eq!(uuid.get_variant(), uuid::Variant::RFC4122);
        assert_eq!(uuid.as_u128() >> 80, clock.now().as_millis() as u128);
    }
}

/// Always yields its number.
#[derive(Debug)]
struct Constant(u64);

impl crate::rng::Rng for Constant {
    fn next_u64(&self) -> u64 {
        self.0
    }
}

#[test]
fn ids_grow_with_the_worst_randomness() {
    for constant in [0, u64::MAX] {
        let ids = IdSource::new(
            Arc::new(ManualClock::new(Timestamp::EPOCH)),
            Arc::new(Constant(constant)),
        );
        let made: Vec<TaskId> = (0..100).map(|_| ids.next()).collect();
        assert!(made.is_sorted_by(|a, b| a < b), "{made:?}");
    }
}

#[test]
fn threads_get_different_ids_in_order() {
    let ids = IdSource::system();
    let made: Vec<Vec<TaskId>> = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..4)
            .map(|_| scope.spawn(|| (0..2_000).map(|_| ids.next()).collect()))
            .collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).collect()
    });
    assert!(made.iter().all(|ids| ids.is_sorted_by(|a, b| a < b)));
    assert_eq!(made.concat().into_iter().collect::<HashSet<_>>().len(), 8_000);
}

#[test]
fn the_same_seed_makes_the_same_ids() {
    let ((_, one), (_, two)) = (source(), source());
    for _ in 0..10 {
        assert_eq!(one.next::<TaskId>(), two.next::<TaskId>());
    }
}
