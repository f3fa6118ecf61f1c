use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use super::Id;
use crate::clock::{Clock, SystemClock};
use crate::rng::{Rng, SystemRng};

/// Makes ids, each greater than the one before, also when the wall clock is set back.
///
/// Cheap to clone; clones share the order. One process needs one source: two of them make unique ids too, but order holds
/// only within each (to the millisecond between them).
///
/// The bits follow RFC 9562, UUIDv7 with a counter (section 6.2, methods 1 and 2): 48 bits of Unix milliseconds, 42 bits
/// of a counter that starts at random in each millisecond, 32 random bits.
///
/// ```
/// use hive_core::id::{IdSource, TaskId};
///
/// let ids = IdSource::system();
/// let (one, two) = (ids.next::<TaskId>(), ids.next::<TaskId>());
/// assert!(one < two && one.to_string() < two.to_string());
/// ```
#[derive(Clone)]
pub struct IdSource {
    clock: Arc<dyn Clock>,
    rng: Arc<dyn Rng>,
    last: Arc<Mutex<Last>>,
}

struct Last {
    millis: u64,
    counter: u64,
}

const MILLIS_MAX: u64 = (1 << 48) - 1;
const COUNTER_MAX: u64 = (1 << 42) - 1;
/// The counter starts in its lower half, so that at least 2^41 ids fit into a millisecond before it borrows from the next.
const COUNTER_START_MAX: u64 = COUNTER_MAX >> 1;

impl IdSource {
    /// Ids by this clock and this randomness. The same seed and the same clock make the same ids.
    pub fn new(clock: Arc<dyn Clock>, rng: Arc<dyn Rng>) -> Self {
        Self {
            clock,
            rng,
            last: Arc::new(Mutex::new(Last {
                millis: 0,
                counter: COUNTER_MAX,
            })),
        }
    }

    /// Ids by the operating system's clock and randomness.
    pub fn system() -> Self {
        Self::new(Arc::new(SystemClock), Arc::new(SystemRng))
    }

    /// The next id, greater than every earlier one of this source, whatever its type.
    pub fn next<I: Id>(&self) -> I {
        let now = u64::try_from(self.clock.now().as_millis()).unwrap_or(0).min(MILLIS_MAX);
        let tail = self.rng.next_u64() as u32;
        let (millis, counter) = {
            // Nothing below leaves the state half-written, so a poisoned lock still guards a whole one.
            let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
            if now > last.millis {
                *last = Last {
                    millis: now,
                    counter: self.rng.next_u64() & COUNTER_START_MAX,
                };
            } else if last.counter < COUNTER_MAX {
                last.counter += 1;
            } else {
                *last = Last {
                    millis: last.millis + 1,
                    counter: self.rng.next_u64() & COUNTER_START_MAX,
                };
            }
            (last.millis, last.counter)
        };
        I::from_bytes(layout(millis, counter, tail).to_be_bytes())
    }
}

/// Puts the parts where RFC 9562 wants them, around the version (7) and the variant (binary 10).
fn layout(millis: u64, counter: u64, tail: u32) -> u128 {
    let (counter_high, counter_low) = (counter >> 30, counter & ((1 << 30) - 1));
    u128::from(millis & MILLIS_MAX) << 80
        | 0x7 << 76
        | u128::from(counter_high) << 64
        | 0b10 << 62
        | u128::from(counter_low) << 32
        | u128::from(tail)
}

impl fmt::Debug for IdSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("IdSource")
            .field("clock", &self.clock)
            .field("rng", &self.rng)
            .finish_non_exhaustive()
    }
}
