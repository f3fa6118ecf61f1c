//! What the bus tells whoever operates it, through the façade of the `metrics` crate: counters and histograms that cost nothing
//! when nobody collects them.
//!
//! | metric | kind | labels | |
//! |---|---|---|---|
//! | `hive_bus_published_total` | counter | transport | events that were acknowledged |
//! | `hive_bus_publish_seconds` | histogram | transport | from the call to the acknowledgement |
//! | `hive_bus_publish_errors_total` | counter | transport, code | publishes that were refused or failed |
//! | `hive_bus_delivered_total` | counter | transport, consumer | deliveries handed to consumers' handlers |
//! | `hive_bus_redelivered_total` | counter | transport, consumer | those of them that were not the first |
//! | `hive_bus_delivery_seconds` | histogram | transport, consumer | from the event's time to the first delivery |
//! | `hive_bus_settled_total` | counter | transport, consumer, verdict | `acked`, `failed`, `rejected`, `returned`, `lost` |
//! | `hive_bus_lapsed_total` | counter | transport, consumer | leases that ran out |
//! | `hive_bus_dead_total` | counter | transport, consumer, reason | events put with the dead letters |
//! | `hive_bus_lag_events` | gauge | transport, consumer | how far behind the log the consumer is, in sequences |
//! | `hive_bus_consumer_errors_total` | counter | transport, consumer, code | times a consumer could not go on |

use std::fmt;
use std::time::Duration;

use hive_errors::Error;
use metrics::{Counter, Gauge, Histogram, counter, gauge, histogram};

/// What publishers count.
pub(crate) struct PublishMetrics {
    transport: &'static str,
    published: Counter,
    took: Histogram,
}

impl PublishMetrics {
    pub(crate) fn new(transport: &'static str) -> Self {
        Self {
            transport,
            published: counter!("hive_bus_published_total", "transport" => transport),
            took: histogram!("hive_bus_publish_seconds", "transport" => transport),
        }
    }

    pub(crate) fn published(&self, events: usize, took: Duration) {
        self.published.increment(count(events));
        self.took.record(took);
    }

    pub(crate) fn failed(&self, error: &Error) {
        let code = error.kind().code();
        counter!("hive_bus_publish_errors_total", "transport" => self.transport, "code" => code).increment(1);
    }
}

/// What one consumer counts in this process.
pub(crate) struct ConsumerMetrics {
    transport: &'static str,
    consumer: String,
    delivered: Counter,
    redelivered: Counter,
    latency: Histogram,
    lapsed: Counter,
    lag: Gauge,
}

impl ConsumerMetrics {
    pub(crate) fn new(transport: &'static str, consumer: &str) -> Self {
        let name = || consumer.to_owned();
        Self {
            transport,
            delivered: counter!("hive_bus_delivered_total", "transport" => transport, "consumer" => name()),
            redelivered: counter!("hive_bus_redelivered_total", "transport" => transport, "consumer" => name()),
            latency: histogram!("hive_bus_delivery_seconds", "transport" => transport, "consumer" => name()),
            lapsed: counter!("hive_bus_lapsed_total", "transport" => transport, "consumer" => name()),
            lag: gauge!("hive_bus_lag_events", "transport" => transport, "consumer" => name()),
            consumer: name(),
        }
    }

    /// A delivery was handed out: which of its event it is, and how old the event was.
    pub(crate) fn delivered(&self, attempt: u32, age: Duration) {
        self.delivered.increment(1);
        if attempt > 1 {
            self.redelivered.increment(1);
        } else {
            self.latency.record(age);
        }
    }

    pub(crate) fn settled(&self, verdict: &'static str, deliveries: usize) {
        let (transport, consumer) = (self.transport, self.consumer.clone());
        counter!("hive_bus_settled_total", "transport" => transport, "consumer" => consumer, "verdict" => verdict)
            .increment(count(deliveries));
    }

    pub(crate) fn lapsed(&self, leases: usize) {
        self.lapsed.increment(count(leases));
    }

    pub(crate) fn died(&self, reason: &'static str) {
        let (transport, consumer) = (self.transport, self.consumer.clone());
        counter!("hive_bus_dead_total", "transport" => transport, "consumer" => consumer, "reason" => reason)
            .increment(1);
    }

    /// How far behind the end of the log it is, in sequences.
    pub(crate) fn behind(&self, sequences: u64) {
        #[expect(
            clippy::cast_precision_loss,
            reason = "a gauge is a float, and no lag needs more than its 53 bits"
        )]
        self.lag.set(sequences as f64);
    }

    pub(crate) fn failed(&self, error: &Error) {
        let (transport, consumer, code) = (self.transport, self.consumer.clone(), error.kind().code());
        counter!("hive_bus_consumer_errors_total", "transport" => transport, "consumer" => consumer, "code" => code)
            .increment(1);
    }
}

fn count(number: usize) -> u64 {
    u64::try_from(number).unwrap_or(u64::MAX)
}

impl fmt::Debug for PublishMetrics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PublishMetrics").finish_non_exhaustive()
    }
}
