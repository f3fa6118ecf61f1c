//! What stands where on the server.

use std::fmt::Display;

/// The keys of one log and its consumers. All begin with the prefix.
pub(super) struct Keys {
    prefix: String,
    /// A hash: who feeds the log (`feed`), its newest sequence (`last`), how many events are there (`count`), which server wrote
    /// it (`run`) and when (`at`).
    pub(super) head: String,
    /// A stream: the events, as [`entry`](super::entry) has them.
    pub(super) events: String,
    /// A hash: the sequence of each event by its id, for as long as the event is there.
    pub(super) ids: String,
    /// A sorted set: the names of the consumers, sorted as text.
    pub(super) names: String,
    /// A stream: whose state was changed by somebody who wants others to look.
    pub(super) changes: String,
}

impl Keys {
    pub(super) fn new(prefix: &str) -> Self {
        let key = |name: &str| format!("{prefix}{name}");
        Self {
            head: key("head"),
            events: key("events"),
            ids: key("ids"),
            names: key("consumers"),
            changes: key("changes"),
            prefix: prefix.to_owned(),
        }
    }

    /// A hash: a consumer's `state`, its `revision`, and the `call` that wrote it.
    pub(super) fn consumer(&self, name: &str) -> String {
        self.of("consumer", name)
    }

    /// A hash: a consumer's dead letters by sequence.
    pub(super) fn dead(&self, name: &str) -> String {
        self.of("dead", name)
    }

    /// A sorted set: the sequences of a consumer's dead letters.
    pub(super) fn order(&self, name: &str) -> String {
        self.of("dead-order", name)
    }

    /// What was answered to a call that must not be made twice.
    pub(super) fn answer(&self, call: impl Display) -> String {
        self.of("answer", call)
    }

    fn of(&self, kind: &str, name: impl Display) -> String {
        format!("{}{kind}:{name}", self.prefix)
    }
}
