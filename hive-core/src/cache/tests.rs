mod degraded;
mod flights;
mod keeping;
mod model;
mod order;
mod races;
mod shelf;
mod told;

use std::sync::Arc;
use std::time::Duration;

use super::{Cache, Options};
use crate::clock::{ManualClock, Timestamp};
use crate::rng::SeededRng;
use shelf::Shelf;

const MINUTE: Duration = Duration::from_secs(60);

/// A cache under a clock that stands still, without jitter.
fn options(clock: &ManualClock) -> Options {
    Options::new("test")
        .clock(Arc::new(clock.clone()))
        .rng(Arc::new(SeededRng::new(1)))
        .jitter_percent(0)
}

fn alone() -> (Cache, ManualClock) {
    let clock = ManualClock::new(Timestamp::EPOCH);
    (Cache::new(options(&clock)), clock)
}

fn before_shelf() -> (Cache, Shelf, ManualClock) {
    let clock = ManualClock::new(Timestamp::EPOCH);
    let shelf = Shelf::new(&clock);
    (Cache::new(options(&clock).shared(shelf.clone())), shelf, clock)
}
