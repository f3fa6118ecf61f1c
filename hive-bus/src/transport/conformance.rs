//! What every transport does, as cases that run on it: on ours, and on one of your own.
//!
//! A [`Place`] is where a transport keeps its events. Say how handles on it are opened, and [`transport_conformance!`] makes a
//! test of each case, with a new place for each:
//!
//! [`transport_conformance!`]: crate::transport_conformance
//!
//! ```
//! use std::sync::Arc;
//!
//! use async_trait::async_trait;
//! use hive_bus::Result;
//! use hive_bus::transport::conformance::Place;
//! use hive_bus::transport::{Memory, Transport};
//! use hive_core::clock::SystemClock;
//!
//! struct InMemory(Memory);
//!
//! #[async_trait]
//! impl Place for InMemory {
//!     async fn open(&self) -> Result<Arc<dyn Transport>> {
//!         Ok(Arc::new(self.0.clone()))
//!     }
//!
//!     fn keeps(&self) -> bool {
//!         false
//!     }
//! }
//!
//! hive_bus::transport_conformance!(InMemory(Memory::new(Arc::new(SystemClock))));
//! # fn main() {}
//! ```
//!
//! A case panics when the transport does something else than the contract of [`Transport`] says, and says what. Each is over
//! within [`limits::CONFORMANCE_TIMEOUT`], so a transport that hangs fails as well.

#![expect(
    clippy::expect_used,
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a case that cannot go on fails"
)]

mod closing;
mod consumers;
mod following;
mod letters;
mod listener;
mod live;
mod publishing;
mod reading;
mod relaying;
mod samples;

use std::pin::Pin;
use std::sync::Arc;

use async_trait::async_trait;
use hive_core::clock::{SystemClock, timeout};
use hive_errors::Result;
use tokio::runtime::Builder;

use super::Transport;
use crate::limits;

/// Where a transport keeps its events: a database, some keys of a server, a process's memory. Empty at first, and nobody
/// else's.
#[async_trait]
pub trait Place: Send + Sync {
    /// A handle on the place, as another process would open one. A case opens up to three; what one of them publishes, all
    /// hand out. Where only one process can have the place, a clone of the first will do.
    ///
    /// # Errors
    /// Whatever kept it from being opened; it fails the case.
    async fn open(&self) -> Result<Arc<dyn Transport>>;

    /// Whether a relay may feed it; not a database, which is what relays take from.
    fn relays(&self) -> bool {
        true
    }

    /// Whether everything is still there when all handles were closed and another is opened.
    fn keeps(&self) -> bool {
        true
    }
}

/// One of the cases, as [`run`] starts it.
pub type Case = for<'a> fn(&'a dyn Place) -> Pin<Box<dyn Future<Output = ()> + Send + 'a>>;

/// Runs one of [`CASES`] by its name.
///
/// # Panics
/// When the transport does not do what the case asks of it, or takes longer than [`limits::CONFORMANCE_TIMEOUT`]; also when
/// there is no such case.
pub async fn run(case: &str, place: &dyn Place) {
    let known = CASES.iter().find(|(name, _)| *name == case);
    let (_, begin) = known.unwrap_or_else(|| panic!("there is no case {case}"));
    if timeout(&SystemClock, limits::CONFORMANCE_TIMEOUT, begin(place))
        .await
        .is_err()
    {
        panic!(
            "the case did not come to its end within {:?}",
            limits::CONFORMANCE_TIMEOUT
        );
    }
}

/// [`run`] on a runtime of its own with two threads, so that tasks meet. `place` makes the place first.
///
/// # Panics
/// As [`run`]; also when no runtime can be made.
pub fn test<P: Place>(case: &str, place: impl FnOnce() -> P) {
    let place = place();
    let runtime = Builder::new_multi_thread().worker_threads(2).enable_all().build();
    runtime.expect("a runtime can be made").block_on(run(case, &place));
}

/// A test for each of the cases in [`transport::conformance`](crate::transport::conformance), named after it. Give it an
/// expression that makes a new [`Place`](crate::transport::conformance::Place), and put it into a module of its own:
///
/// ```
/// # struct Own;
/// # #[async_trait::async_trait]
/// # impl hive_bus::transport::conformance::Place for Own {
/// #     async fn open(&self) -> hive_bus::Result<std::sync::Arc<dyn hive_bus::transport::Transport>> { unreachable!() }
/// # }
/// # impl Own { fn new() -> Self { Self } }
/// mod conformance {
///     hive_bus::transport_conformance!(super::Own::new());
/// }
/// # fn main() {}
/// ```
#[macro_export]
macro_rules! transport_conformance {
    (@each $then:ident ($($with:tt)*)) => {
        $crate::transport_conformance! { @$then ($($with)*)
            publishing::sequences_grow_in_the_order_given,
            publishing::an_event_is_published_once,
            publishing::publishers_who_are_refused_or_give_up_take_nobody_along,
            publishing::another_event_with_a_known_id_is_refused,
            publishing::every_attribute_comes_back,
            publishing::large_events_come_back,
            publishing::what_was_acknowledged_is_there_after_reopening,
            reading::pages_end_where_they_are_told,
            reading::pages_are_bounded_in_bytes,
            reading::patterns_choose_by_tokens,
            reading::rare_events_are_found_far_away,
            reading::cursors_may_stand_anywhere,
            reading::events_are_got_by_their_sequences,
            reading::the_head_knows_what_was_acknowledged,
            reading::dates_are_found,
            live::who_waits_is_woken,
            live::nobody_sleeps_through_an_event,
            live::what_is_at_hand_is_what_is_in_the_log,
            following::followers_see_every_event_once_and_in_order,
            following::a_sequence_that_came_to_nothing_holds_nobody_up,
            consumers::a_consumer_is_created_once,
            consumers::a_state_is_replaced_by_who_has_seen_it,
            consumers::racing_changes_lose_nothing,
            consumers::states_of_every_size_come_back,
            consumers::a_removed_consumer_can_be_made_again,
            consumers::names_are_listed_in_pages,
            consumers::a_change_wakes_who_works_for_the_consumer,
            letters::letters_are_stored_with_the_state_or_not_at_all,
            letters::the_last_letter_of_an_event_counts,
            letters::letters_are_listed_in_pages,
            letters::letters_are_purged_revived_and_removed,
            letters::letters_come_back_whole,
            relaying::relayed_events_keep_their_sequences,
            relaying::what_was_relayed_is_not_relayed_again,
            relaying::many_relays_do_not_mix_up_the_order,
            relaying::a_transport_that_is_published_to_is_not_relayed_to,
            relaying::a_transport_that_is_relayed_to_is_not_published_to,
            closing::closing_ends_every_wait,
            closing::nothing_hangs_after_closing,
        }
    };
    (@test ($place:expr) $($module:ident :: $case:ident,)*) => {
        $(
            #[test]
            fn $case() {
                $crate::transport::conformance::test(stringify!($case), || $place);
            }
        )*
    };
    (@table () $($module:ident :: $case:ident,)*) => {
        &[$((stringify!($case), |place| Box::pin($module::$case(place)))),*]
    };
    ($place:expr $(,)?) => {
        $crate::transport_conformance! { @each test ($place) }
    };
}

/// Every case with its name.
pub const CASES: &[(&str, Case)] = crate::transport_conformance! { @each table () };
