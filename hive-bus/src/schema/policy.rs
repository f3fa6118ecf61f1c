//! How strictly events are checked, by their topic.

use std::fmt;

use hive_errors::{Error, ErrorKind, Result};
use serde::{Deserialize, Serialize};

use crate::limits;
use crate::topic::{PatternTrie, Patterns, Topic};

/// How strictly an event is checked before it is published.
///
/// | | `Strict` | `Lenient` | `Off` |
/// |---|---|---|---|
/// | of a type that is not registered | refused | passes | passes |
/// | of a newer version than is registered | refused | passes | passes |
/// | on a topic that its type does not belong on | refused | passes | passes |
/// | with data that does not fit its type | refused | refused | passes |
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum Validation {
    /// Only what is registered, as it is registered.
    Strict,
    /// What is registered must fit; what is not is nobody's business.
    #[default]
    Lenient,
    /// Nothing is checked.
    Off,
}

/// As in a configuration file: `strict`, `lenient` or `off`.
impl fmt::Display for Validation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Strict => "strict",
            Self::Lenient => "lenient",
            Self::Off => "off",
        })
    }
}

/// The rules in the order in which they were set.
#[derive(Clone, Debug, Default)]
pub(super) struct Policies {
    rules: Vec<(Patterns, Validation)>,
    /// Which rules speak of a topic.
    places: PatternTrie<usize>,
}

impl Policies {
    pub(super) fn set(&mut self, topics: Patterns, validation: Validation) -> Result<()> {
        self.rules.retain(|(known, _)| *known != topics);
        if self.rules.len() == limits::POLICIES_MAX {
            return Err(Error::new(
                ErrorKind::LimitReached,
                "there are too many rules on how events are checked",
            )
            .with("limit", limits::POLICIES_MAX)
            .with_hint("say the same of several topics with one rule"));
        }
        self.rules.push((topics, validation));
        self.places = PatternTrie::new();
        for (place, (topics, _)) in self.rules.iter().enumerate() {
            for pattern in topics.iter() {
                self.places.insert(pattern, place);
            }
        }
        Ok(())
    }

    /// What the last rule says that speaks of `topic`.
    pub(super) fn of(&self, topic: &Topic) -> Validation {
        let mut last = None;
        self.places.for_each_match(topic, |place| last = last.max(Some(*place)));
        last.and_then(|last| self.rules.get(last))
            .map_or_else(Validation::default, |(_, validation)| *validation)
    }
}
