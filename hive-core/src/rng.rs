//! Randomness as a port.
//!
//! Ids, jitter and random choices draw from an [`Rng`], so that a whole hive can be run again from a seed.

#[cfg(test)]
mod tests;

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

impl Rng for SystemRng {
    /// # Panics
    /// When the operating system has no randomness to give. Ids would collide then, and no caller could mend it.
    fn next_u64(&self) -> u64 {
        match getrandom::u64() {
            Ok(number) => number,
            Err(error) => panic!("the operating system must provide randomness: {error}"),
        }
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
