//! Random calls of one process on a store that comes and goes, against what the caller last said.

use std::collections::HashMap;
use std::time::Duration;

use proptest::prelude::*;

use super::shelf::Mode;
use super::{before_shelf, options};
use crate::cache::Cache;
use crate::clock::Clock;

#[derive(Clone, Debug)]
enum Action {
    Get(u8),
    GetOrCompute(u8, u64),
    Put(u8, u64),
    Remove(u8),
    Advance(u64),
    Turn(Mode),
}

fn action() -> impl Strategy<Value = Action> {
    let key = 0_u8..3;
    let ttl = 1_u64..5_000;
    let mode = prop_oneof![
        3 => Just(Mode::Serves),
        1 => Just(Mode::Away),
        1 => Just(Mode::Mute),
        1 => Just(Mode::Full),
    ];
    prop_oneof![
        4 => key.clone().prop_map(Action::Get),
        4 => (key.clone(), ttl.clone()).prop_map(|(key, ttl)| Action::GetOrCompute(key, ttl)),
        2 => (key.clone(), ttl).prop_map(|(key, ttl)| Action::Put(key, ttl)),
        2 => key.prop_map(Action::Remove),
        3 => (0_u64..3_000).prop_map(Action::Advance),
        2 => mode.prop_map(Action::Turn),
    ]
}

/// Runs the actions. A value seen must be the last one that was put or computed under its key, within its time and not
/// removed since; `None` is always right, except that what memory believes must be found.
async fn run(actions: Vec<Action>) -> Result<(), TestCaseError> {
    let (cache, shelf, clock) = before_shelf();
    let mut known: HashMap<u8, (u64, Duration)> = HashMap::new();
    let mut fresh = 0;
    for action in actions {
        let now = clock.monotonic();
        let expected = |known: &HashMap<u8, (u64, Duration)>, key| {
            known
                .get(&key)
                .filter(|(_, until)| now < *until)
                .map(|(value, _)| *value)
        };
        match action {
            Action::Get(key) => {
                let got = cache.get::<u64>(&key.to_string()).await;
                prop_assert!(got.is_none() || got == expected(&known, key), "{got:?}, {known:?}");
            }
            Action::GetOrCompute(key, ttl) => {
                fresh += 1;
                let ttl = Duration::from_millis(ttl);
                let got = cache
                    .get_or_compute(&key.to_string(), ttl, async || Ok(fresh))
                    .await
                    .unwrap();
                if got == fresh {
                    known.insert(key, (fresh, now + ttl));
                } else {
                    prop_assert_eq!(Some(got), expected(&known, key), "{:?}", known);
                }
            }
            Action::Put(key, ttl) => {
                fresh += 1;
                let ttl = Duration::from_millis(ttl);
                cache.put(&key.to_string(), &fresh, ttl).await.unwrap();
                known.insert(key, (fresh, now + ttl));
                prop_assert_eq!(cache.get(&key.to_string()).await, Some(fresh));
            }
            Action::Remove(key) => {
                cache.remove(&key.to_string()).await.ok();
                known.remove(&key);
                prop_assert_eq!(cache.get::<u64>(&key.to_string()).await, None);
            }
            Action::Advance(millis) => clock.advance(Duration::from_millis(millis)),
            Action::Turn(mode) => shelf.set(mode),
        }
    }
    // When the store is back for good, another process sees no more than this one.
    shelf.set(Mode::Serves);
    while cache.stats().owed > 0 {
        cache.get::<u64>("another").await;
    }
    let other = Cache::new(options(&clock).shared(shelf.clone()));
    for key in 0..3 {
        let got = other.get::<u64>(&key.to_string()).await;
        let right = known.get(&key).filter(|(_, until)| clock.monotonic() < *until);
        prop_assert!(
            got.is_none() || got == right.map(|(value, _)| *value),
            "{got:?}, {known:?}"
        );
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(500))]
    #[test]
    fn nothing_old_is_seen(actions in proptest::collection::vec(action(), 1..100)) {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(run(actions))?;
    }
}
