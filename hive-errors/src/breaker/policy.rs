//! When a breaker opens, for how long, and how it closes again.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::millis;

/// The settings of a [`CircuitBreaker`](crate::CircuitBreaker), as data.
///
/// The default opens after 5 failures in a row, for 30 seconds, and then tries with 1 probe.
///
/// # Serialised form
///
/// `{"failures_max":5,"pause_ms":30000,"probes_max":1}`. Missing keys have their defaults; zero failures or probes are
/// refused.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "Stored")]
pub struct BreakerPolicy {
    failures_max: u32,
    pause_ms: u64,
    probes_max: u32,
}

impl BreakerPolicy {
    /// Opens after `failures_max` failures in a row (0 means 1), and lets 1 probe through after `pause` (whole
    /// milliseconds, rounded up).
    pub const fn new(failures_max: u32, pause: Duration) -> Self {
        let failures_max = if failures_max == 0 { 1 } else { failures_max };
        Self {
            failures_max,
            pause_ms: millis::ceil(pause),
            probes_max: 1,
        }
    }

    /// Sets how many probes are let through, all of which must succeed for the breaker to close; 0 means 1.
    #[must_use]
    pub const fn with_probes(mut self, probes_max: u32) -> Self {
        self.probes_max = if probes_max == 0 { 1 } else { probes_max };
        self
    }

    /// How many failures in a row open the breaker, at least 1.
    pub const fn failures_max(&self) -> u32 {
        self.failures_max
    }

    /// How long the breaker stays open before it lets probes through.
    pub const fn pause(&self) -> Duration {
        Duration::from_millis(self.pause_ms)
    }

    /// How many probes are let through, at least 1.
    pub const fn probes_max(&self) -> u32 {
        self.probes_max
    }
}

impl Default for BreakerPolicy {
    /// Five failures are no accident, and half a minute is what a service takes to restart.
    fn default() -> Self {
        Self::new(5, Duration::from_secs(30))
    }
}

/// The serialised form before it is checked.
#[derive(Deserialize)]
#[serde(default)]
struct Stored {
    failures_max: u32,
    pause_ms: u64,
    probes_max: u32,
}

impl Default for Stored {
    fn default() -> Self {
        let BreakerPolicy {
            failures_max,
            pause_ms,
            probes_max,
        } = BreakerPolicy::default();
        Self {
            failures_max,
            pause_ms,
            probes_max,
        }
    }
}

impl TryFrom<Stored> for BreakerPolicy {
    type Error = &'static str;

    fn try_from(stored: Stored) -> Result<Self, Self::Error> {
        let Stored {
            failures_max,
            pause_ms,
            probes_max,
        } = stored;
        if failures_max == 0 {
            return Err("failures_max is at least 1");
        }
        if probes_max == 0 {
            return Err("probes_max is at least 1");
        }
        Ok(Self {
            failures_max,
            pause_ms,
            probes_max,
        })
    }
}
