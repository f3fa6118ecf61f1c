//! Randomness as a port.
//!
//! Ids, jitter and random choices draw from an [`Rng`], so that a whole hive can be run again from a seed.

#[cfg(test)]
mod tests;

use std::cell::RefCell;
use std::fmt::{self, Debug};
use std::sync::{Mutex, PoisonError};

/// A source of uniform random numbers, shared by reference.
pub trait Rng: Send + Sync + Debug + 'static {
    /// The next number, uniform over all of `u64`.
    fn next_u64(&self) -> u64;
}

/// The operating system's randomness: unpredictable, fit for ids that nobody may guess.
#[derive(Copy, Clone, Debug, Default)]
pub struct SystemRng;

/// Numbers that a thread asks the operating system for at once: a call for each would be most of what an id costs.
const DRAWN: usize = 32;

thread_local! {
    static LEFT: RefCell<Vec<u64>> = const { RefCell::new(Vec::new()) };
}

impl Rng for SystemRng {
    /// # Panics
    /// When the operating system has no randomness to give. Ids would collide then, and no caller could mend it.
    fn next_u64(&self) -> u64 {
        // Each number is handed out once. A thread on its way out has no place for more.
        LEFT.try_with(|left| {
            let mut left = left.borrow_mut();
            if left.is_empty() {
                let mut bytes = [0; DRAWN * size_of::<u64>()];
                drawn(getrandom::fill(&mut bytes));
                left.extend(bytes.as_chunks().0.iter().map(|number| u64::from_ne_bytes(*number)));
            }
            left.pop()
        })
        .ok()
        .flatten()
        .unwrap_or_else(|| drawn(getrandom::u64()))
    }
}

fn drawn<T>(answer: Result<T, getrandom::Error>) -> T {
    match answer {
        Ok(value) => value,
        Err(error) => panic!("the operating system must provide randomness: {error}"),
    }
}

/// A generator that yields the same numbers for the same seed, on every machine. Predictable: never for secrets.
///
/// The sequence is the same for the same order of calls; which thread gets which number is up to the scheduler.
pub struct SeededRng {
    seed: u64,
    state: Mutex<fastrand::Rng>,
}

impl SeededRng {
    /// The generator of this seed.
    pub fn new(seed: u64) -> Self {
        Self {
            seed,
            state: Mutex::new(fastrand::Rng::with_seed(seed)),
        }
    }
}

impl Rng for SeededRng {
    fn next_u64(&self) -> u64 {
        // The generator cannot panic half-way, so a poisoned lock still guards a whole state.
        self.state.lock().unwrap_or_else(PoisonError::into_inner).u64(..)
    }
}

impl Debug for SeededRng {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SeededRng")
            .field("seed", &self.seed)
            .finish_non_exhaustive()
    }
}
