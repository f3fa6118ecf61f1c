//! How often is looked for what nobody tells of.

use std::time::Duration;

use crate::limits;

/// The intervals of a process's own rounds. A simulation stretches them, so that a month of it is not made of looks that find nothing.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Pace {
    pub(crate) dispatch: Duration,
    pub(crate) reroute: Duration,
    pub(crate) heartbeat: Duration,
    pub(crate) inboxes: Duration,
    pub(crate) events: Duration,
    /// Never, if there is none.
    pub(crate) sample: Option<Duration>,
}

impl Default for Pace {
    fn default() -> Self {
        Self {
            dispatch: limits::DISPATCH_TICK,
            reroute: limits::REROUTE_TICK,
            heartbeat: limits::AGENT_HEARTBEAT,
            inboxes: limits::INBOX_TICK,
            events: limits::EVENT_LOOK,
            sample: Some(limits::SAMPLE_EVERY),
        }
    }
}
