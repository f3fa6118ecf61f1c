//! The bus on real databases.
#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    reason = "a test that cannot go on fails"
)]

#[cfg(feature = "postgres")]
mod chaos;
mod cloudevent;
mod consumers;
mod crash;
mod faulty;
mod history;
mod hostile;
mod lag;
mod messages;
#[cfg(feature = "nats")]
mod nats;
mod metrics;
mod publish;
#[cfg(all(feature = "redis", feature = "test-util", unix))]
mod redis;
mod registry;
mod relay;
mod retention;
#[cfg(feature = "postgres")]
mod server;
mod sdk;
mod subscribe;
#[cfg(all(feature = "postgres", feature = "test-util"))]
mod transports;

use std::sync::Arc;

use hive_bus::{Bus, Event, NewEvent, Query, Sequence};
use hive_core::clock::{ManualClock, Timestamp};
use hive_core::db::{Db, Options};
use hive_core::id::IdSource;
use hive_core::rng::SystemRng;
use hive_core::testing::TestDb;

/// Each case on each engine.
macro_rules! cases {
    ($($module:ident { $($case:ident),* $(,)? })*) => {
        mod sqlite {$(
            mod $module {$(
                #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
                async fn $case() {
                    crate::$module::$case(hive_core::testing::TestDb::sqlite()).await;
                }
            )*}
        )*}

        #[cfg(feature = "postgres")]
        mod postgres {$(
            mod $module {$(
                #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
                async fn $case() {
                    crate::$module::$case(hive_core::testing::TestDb::postgres()).await;
                }
            )*}
        )*}
    };
}

cases! {
    hostile {
        hostile_events_are_refused_before_the_database,
    }
    history {
        every_condition_restricts,
        topics_are_found_by_pattern_and_not_by_text,
        a_page_is_bounded_in_events_and_bytes,
        a_trace_shows_what_caused_what,
        a_trace_that_is_too_long_says_so,
        counting_takes_any_query_but_an_order,
    }
    publish {
        what_is_published_comes_back_whole,
        an_id_is_published_once_however_many_try,
        a_batch_is_published_whole_or_not_at_all,
        a_refused_event_costs_the_database_nothing,
        an_event_shares_the_fate_of_its_transaction,
        a_failed_neighbour_in_the_same_commit_takes_nothing_along,
        a_refused_batch_leaves_nothing_in_a_transaction_that_goes_on,
        a_sequence_is_never_given_twice,
        events_are_named_and_dated_in_their_order,
        a_database_without_the_table_says_what_to_do,
        the_migration_goes_back_and_forth,
        a_closed_database_refuses,
    }
    relay {
        everything_committed_arrives_once_and_in_order,
        subscribers_and_consumers_read_from_the_transport,
        a_relay_goes_on_after_a_restart,
        a_relay_goes_on_after_a_kill,
        answers_may_be_lost,
        a_transport_that_was_away_is_caught_up_with,
        a_refused_event_is_a_dead_letter_and_the_others_go_on,
        a_transport_that_lost_everything_is_given_it_again,
        a_transport_of_another_database_is_not_fed,
        a_relay_is_a_consumer_to_whoever_looks,
    }
    retention {
        each_bound_lets_go_of_the_oldest,
        consumers_hold_back_what_they_listen_to,
        dead_letters_outlive_their_events,
        what_is_missing_is_passed_over,
        sequences_are_not_given_again,
        many_events_go_in_many_transactions,
        whoever_goes_back_finds_what_was_there,
        the_relay_is_waited_for,
    }
    subscribe {
        it_begins_where_it_was_told,
        a_pattern_that_is_none_is_refused,
        many_publishers_and_subscribers_see_every_event_once_and_in_order,
        who_lags_far_behind_catches_up_without_a_gap,
        a_cursor_goes_on_exactly_where_it_stood,
        dropping_the_future_loses_nothing_and_does_not_stop_it,
        an_event_is_not_seen_before_it_is_committed_and_never_when_it_is_not,
        closing_does_not_cut_off_what_is_committed_but_not_announced,
        closing_ends_every_subscription_once_it_is_caught_up,
        a_subscription_ends_with_the_last_handle_to_the_bus,
        a_database_that_was_closed_ends_a_subscription_that_lags,
        events_that_were_taken_away_hold_nobody_up,
    }
}

/// 2026-01-01T00:00:00Z.
const NOW: Timestamp = Timestamp::from_micros(1_767_225_600_000_000);

struct Fixture {
    db: Db,
    bus: Bus,
    clock: ManualClock,
    place: TestDb,
}

impl Fixture {
    async fn on(place: TestDb) -> Self {
        let clock = ManualClock::new(NOW);
        let (db, bus) = open(place.options(), &clock).await;
        Self { db, bus, clock, place }
    }

    /// Publishes one event and returns its sequence.
    async fn publish(&self, topic: &'static str) -> Sequence {
        self.bus.publish(event(topic)).await.unwrap()
    }

    async fn all(&self) -> Vec<Event> {
        all(&self.bus, Query::new()).await
    }
}

async fn open(options: Options, clock: &ManualClock) -> (Db, Bus) {
    let db = Db::open(options.migrations(&hive_bus::MIGRATIONS)).await.unwrap();
    let ids = IdSource::new(Arc::new(clock.clone()), Arc::new(SystemRng));
    let bus = Bus::open(db.clone(), Arc::new(clock.clone()), ids).await.unwrap();
    (db, bus)
}

fn event(topic: &'static str) -> NewEvent {
    NewEvent::new("test", topic, &()).unwrap()
}

/// Every page of the answer.
async fn all(bus: &Bus, query: Query) -> Vec<Event> {
    let mut events = Vec::new();
    let mut cursor = None;
    loop {
        let query = cursor.map_or_else(|| query.clone(), |cursor| query.clone().after(cursor));
        let page = bus.history(query).await.unwrap();
        events.extend(page.events);
        cursor = page.next;
        if cursor.is_none() {
            return events;
        }
    }
}

fn sequences(events: &[Event]) -> Vec<u64> {
    events.iter().map(|event| event.sequence().get()).collect()
}
