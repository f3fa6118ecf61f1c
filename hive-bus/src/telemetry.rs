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
//! | `hive_bus_relayed_total` | counter | transport | events that a relay took to the transport |
//! | `hive_bus_relay_lag_events` | gauge | transport | how far behind the database the transport is, in sequences; by the process that relays |
//! | `hive_bus_relay_errors_total` | counter | transport, code | times a relay could not go on |
//! | `hive_bus_pruned_total` | counter | transport | events that retention removed in the background |
//! | `hive_bus_pruned_bytes_total` | counter | transport | their bytes |
//! | `hive_bus_held_back_events` | gauge | transport | events that the last pass would have removed, were it not for consumers |
//! | `hive_bus_prune_errors_total` | counter | transport, code | passes that failed |

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
        self.lag.set(float(sequences));
    }

    pub(crate) fn failed(&self, error: &Error) {
        let (transport, consumer, code) = (self.transport, self.consumer.clone(), error.kind().code());
        counter!("hive_bus_consumer_errors_total", "transport" => transport, "consumer" => consumer, "code" => code)
            .increment(1);
    }
}

/// What a relay counts.
pub(crate) struct RelayMetrics {
    transport: &'static str,
    relayed: Counter,
    lag: Gauge,
}

impl RelayMetrics {
    pub(crate) fn new(transport: &'static str) -> Self {
        Self {
            transport,
            relayed: counter!("hive_bus_relayed_total", "transport" => transport),
            lag: gauge!("hive_bus_relay_lag_events", "transport" => transport),
        }
    }

    pub(crate) fn relayed(&self, events: usize) {
        self.relayed.increment(count(events));
    }

    /// How far behind the end of the database's log the transport is, in sequences.
    pub(crate) fn behind(&self, sequences: u64) {
        self.lag.set(float(sequences));
    }

    pub(crate) fn died(&self, relay: &str, reason: &'static str) {
        let (transport, relay) = (self.transport, relay.to_owned());
        counter!("hive_bus_dead_total", "transport" => transport, "consumer" => relay, "reason" => reason).increment(1);
    }

    pub(crate) fn failed(&self, error: &Error) {
        let code = error.kind().code();
        counter!("hive_bus_relay_errors_total", "transport" => self.transport, "code" => code).increment(1);
    }
}

/// What retention counts.
pub(crate) struct RetentionMetrics {
    transport: &'static str,
    events: Counter,
    bytes: Counter,
    held_back: Gauge,
}

impl RetentionMetrics {
    pub(crate) fn new(transport: &'static str) -> Self {
        Self {
            transport,
            events: counter!("hive_bus_pruned_total", "transport" => transport),
            bytes: counter!("hive_bus_pruned_bytes_total", "transport" => transport),
            held_back: gauge!("hive_bus_held_back_events", "transport" => transport),
        }
    }

    pub(crate) fn passed(&self, events: u64, bytes: u64, held_back: u64) {
        self.events.increment(events);
        self.bytes.increment(bytes);
        self.held_back.set(float(held_back));
    }

    pub(crate) fn failed(&self, error: &Error) {
        let code = error.kind().code();
        counter!("hive_bus_prune_errors_total", "transport" => self.transport, "code" => code).increment(1);
    }
}

#[expect(
    clippy::cast_precision_loss,
    reason = "a gauge is a float, and nothing counted here needs more than its 53 bits"
)]
fn float(number: u64) -> f64 {
    number as f64
}

fn count(number: usize) -> u64 {
    u64::try_from(number).unwrap_or(u64::MAX)
}

impl fmt::Debug for PublishMetrics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PublishMetrics").finish_non_exhaustive()
    }
}
