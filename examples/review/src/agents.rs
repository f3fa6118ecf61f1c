//! The agents: a queen that leads, planners that split the work, reviewers that do it.
//!
//! ```text
//! queen ── snapshot (step) ── plan (a planner for each page) ── review (a reviewer for each assignment)
//!       ── store (transaction) ── write (step)
//! ```
//!
//! Everything an agent does outside this process's memory is a step, so a review that is broken off goes on with the first
//! step that was not acknowledged. The report is stored in the hive's own database, in the commit that says so; the files
//! can be written again from there at any time.

mod ledger;
mod planner;
mod queen;
mod reviewer;
mod store;

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

pub use ledger::Ledger;
pub use planner::{PlanPage, Planner};
pub use queen::{Outcome, Queen, ReviewRequest};
pub use reviewer::{Review, ReviewerAgent};
pub use store::{MIGRATIONS, load};

use hive::Hive;
use hive::builders::Builder;

/// What the agents of one process share.
#[derive(Clone, Debug, Default)]
pub struct Desk {
    ledger: Ledger,
    reviewed: Arc<AtomicU64>,
}

impl Desk {
    /// With a file in which every execution of a step is written down; none unless given.
    pub fn new(ledger: Option<PathBuf>) -> Self {
        Self {
            ledger: Ledger::new(ledger),
            reviewed: Arc::default(),
        }
    }

    /// How many assignments were reviewed in this process.
    pub fn reviewed(&self) -> u64 {
        self.reviewed.load(Ordering::Relaxed)
    }

    fn count(&self) {
        self.reviewed.fetch_add(1, Ordering::Relaxed);
    }

    /// A hive with the agents, on this database.
    pub fn hive(&self, database: PathBuf) -> Builder {
        Hive::open(database)
            .agent(Queen(self.clone()))
            .agent(Planner(self.clone()))
            .agent(ReviewerAgent(self.clone()))
            .migrations(&MIGRATIONS)
    }
}
