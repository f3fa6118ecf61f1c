//! Whose turn it is: the most urgent first, and nobody last for ever.

#[cfg(test)]
mod tests;

use crate::limits::PASSED_OVER_MAX;
use crate::message::Priority;

/// One for each priority, the most urgent first.
pub(super) const LANES: usize = Priority::ALL.len();

/// How often each lane had something ready and another was served, since it was served itself.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Turns([u32; LANES]);

/// The lane to be served next, of those that have something ready.
///
/// That is the most urgent one, unless some lane was passed over [`PASSED_OVER_MAX`] times: then it is, of those, the one that was
/// passed over most, and of equals the most urgent. So a lane that stays ready is served again after at most `PASSED_OVER_MAX`
/// others and as many more as there are other lanes.
pub(super) fn choose(turns: &Turns, ready: [bool; LANES]) -> Option<usize> {
    let waiting = || {
        let lanes = turns.0.iter().zip(ready).enumerate();
        lanes.filter_map(|(lane, (passed, ready))| ready.then_some((lane, *passed)))
    };
    let overdue = waiting().filter(|(_, passed)| *passed >= PASSED_OVER_MAX);
    // Of equals, the last maximum is the first of the row turned round.
    let longest = overdue
        .collect::<Vec<_>>()
        .into_iter()
        .rev()
        .max_by_key(|(_, passed)| *passed);
    longest.or_else(|| waiting().next()).map(|(lane, _)| lane)
}

impl Turns {
    /// This lane was served while these had something ready.
    pub(super) fn taken(&mut self, served: usize, ready: [bool; LANES]) {
        for (lane, (passed, ready)) in self.0.iter_mut().zip(ready).enumerate() {
            // Who has nothing does not wait.
            *passed = if ready && lane != served {
                passed.saturating_add(1)
            } else {
                0
            };
        }
    }
}
