//! Keys whose value in the shared store is out of date, because the store could not be told.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::limits::{CACHE_OWED_MAX, CACHE_REPAY_BATCH};

/// What is still to be removed from the store. While a key is in here, the store is not believed about it.
#[derive(Default)]
pub(super) struct Owed {
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// With the number of the debt: one that is made while an older one is being paid must stay.
    keys: HashMap<Arc<str>, u64>,
    next: u64,
}

/// A debt as it was at one moment.
pub(super) type Debt = (Arc<str>, u64);

impl Owed {
    /// Notes the key. `false` when there are too many already, and nothing is noted then.
    pub(super) fn add(&self, key: &str) -> bool {
        let mut state = self.lock();
        if state.keys.len() >= CACHE_OWED_MAX && !state.keys.contains_key(key) {
            return false;
        }
        state.next += 1;
        let number = state.next;
        state.keys.insert(key.into(), number);
        true
    }

    pub(super) fn find(&self, key: &str) -> Option<Debt> {
        self.lock()
            .keys
            .get_key_value(key)
            .map(|(key, number)| (Arc::clone(key), *number))
    }

    /// Some of what is owed, without taking it out: until it is paid, it is owed.
    pub(super) fn some(&self) -> Vec<Debt> {
        let state = self.lock();
        let debts = state.keys.iter().take(CACHE_REPAY_BATCH);
        debts.map(|(key, number)| (Arc::clone(key), *number)).collect()
    }

    /// Takes out what has been paid, apart from what has come to be owed again since.
    pub(super) fn paid(&self, debts: &[Debt]) {
        let mut state = self.lock();
        for (key, number) in debts {
            if state.keys.get(key) == Some(number) {
                state.keys.remove(key);
            }
        }
    }

    pub(super) fn len(&self) -> usize {
        self.lock().keys.len()
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // No code that can panic runs under the lock, so a poisoned state is still a whole one.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
