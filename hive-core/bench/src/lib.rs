//! What the benchmarks of the house share: parties that work at once, contestants that take turns on the same disk in the same
//! minute, figures with their medians, and the bars they are held against.
//!
//! A benchmark prints one `figure <name> <value> <unit>` line per figure and then says of each bar whether it is met. Disks
//! differ by the hour and by the second, so ratios between contestants are what counts.
//!
//! It is a package of its own because it measures real time, prints, and stops where it cannot go on, none of which the crates
//! beside it may do.

#![expect(
    clippy::disallowed_methods,
    reason = "a benchmark measures real time and has no clock port"
)]
#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a benchmark that cannot go on should stop"
)]
#![expect(clippy::print_stdout, reason = "figures go to standard output")]

mod load;
mod figures;
mod disk;

pub use self::disk::syncs_per_s;
pub use self::figures::{Bar, Figures, SYNCS, median};
pub use self::load::{Load, Measured, contest, measure, repeat};
