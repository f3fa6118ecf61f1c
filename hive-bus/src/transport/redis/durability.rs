//! What an acknowledged event survives, as the server's settings say.

use std::fmt;

use ::redis::pipe;
use hive_core::redis::Call;
use hive_errors::Result;

use super::server::Server;

/// What an event survives that the server has acknowledged. The server's settings decide, as they were when the transport was
/// opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Durability {
    /// A loss of power: the server syncs before it answers (`appendfsync always`).
    Always,
    /// The end of the server's process, unless its disk is slow: while a sync takes its time the server answers before it has
    /// handed anything to the system, for up to two seconds. Of what came in the last second or two before a loss of power,
    /// nothing (`appendfsync everysec`). Where acknowledged events and the records of consumers are lost, so is the order of what
    /// was under way: a consumer that had been given one of the lost events may handle it after the next of its key.
    EverySecond,
    /// A server that is stopped in good order, at most: it writes no log that it could be started again from, or leaves the
    /// syncing to the operating system, or may throw away what it holds when its memory is full.
    None,
    /// The server does not let us see its settings.
    Unknown,
}

impl Durability {
    /// Its name in kebab case.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Always => "always",
            Self::EverySecond => "every-second",
            Self::None => "none",
            Self::Unknown => "unknown",
        }
    }

    pub(super) async fn of(server: &Server) -> Result<Self> {
        let names = ["appendonly", "appendfsync", "maxmemory", "maxmemory-policy"];
        let mut commands = pipe();
        for name in names {
            commands.cmd("CONFIG").arg("GET").arg(name);
        }
        commands.ignore_errors();
        let mut answers = server.ask(&Call::Several(commands)).await?;
        // A server that hides one of them hides all, or does not know it.
        let settings = names.map(|_| {
            answers
                .take::<(String, String)>()
                .map(|(_, value)| value)
                .unwrap_or_default()
        });
        Ok(Self::from_settings(settings.each_ref().map(String::as_str)))
    }

    fn from_settings([log, sync, memory, eviction]: [&str; 4]) -> Self {
        let evicts = eviction.starts_with("allkeys") && memory != "0";
        match (log, sync) {
            ("", _) | (_, "") => Self::Unknown,
            _ if evicts => Self::None,
            ("yes", "always") => Self::Always,
            ("yes", "everysec") => Self::EverySecond,
            _ => Self::None,
        }
    }
}

impl fmt::Display for Durability {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::Durability::{self, Always, EverySecond, None, Unknown};

    #[test]
    fn settings_say_what_is_kept() {
        for (settings, expected) in [
            (["yes", "always", "0", "noeviction"], Always),
            (["yes", "everysec", "0", "noeviction"], EverySecond),
            (["yes", "everysec", "1000", "volatile-lru"], EverySecond),
            (["yes", "no", "0", "noeviction"], None),
            (["no", "always", "0", "noeviction"], None),
            (["yes", "always", "1000", "allkeys-lru"], None),
            (["yes", "always", "0", "allkeys-lru"], Always),
            (["", "", "", ""], Unknown),
            (["yes", "", "", ""], Unknown),
        ] {
            assert_eq!(Durability::from_settings(settings), expected, "{settings:?}");
        }
    }
}
