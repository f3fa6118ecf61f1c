//! What a simulation changes in a hive.

use std::time::Duration;

use super::Builder;
use crate::pace::Pace;
use crate::queue::OnStep;

/// Between two looks for what nobody tells of, under virtual time.
const SELDOM: Duration = Duration::from_secs(60 * 60);

impl Builder {
    /// Looks seldom for what nobody tells of, so that virtual time passes quickly, and lets `told` hear of steps.
    pub(crate) fn simulated(mut self, told: OnStep) -> Self {
        self.pace = Pace {
            dispatch: SELDOM,
            reroute: SELDOM,
            heartbeat: SELDOM,
            inboxes: SELDOM,
            events: SELDOM,
            sample: None,
        };
        self.on_step = Some(told);
        self
    }
}
