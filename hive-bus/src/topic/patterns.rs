use std::borrow::Cow;
use std::fmt;
use std::str::FromStr;

use hive_errors::{Error, ErrorKind, Result};
use serde::de::{Deserialize, Deserializer, SeqAccess, Visitor};
use serde::{Serialize, Serializer};

use super::{Pattern, Topic};
use crate::limits;

/// One or more patterns, any of which may match: at least one, at most [`limits::PATTERNS_MAX`].
///
/// It is kept in one form, so that two which were written differently and mean the same are equal: sorted, each pattern
/// once, and none that another one [covers](Pattern::covers).
///
/// ```
/// use hive_bus::{Patterns, Topic};
///
/// let trouble = Patterns::new(["task.failed.>", "system.*", "task.failed.reviewer"])?;
/// assert_eq!(trouble.to_string(), "system.*,task.failed.>");
/// assert!(trouble.matches(&Topic::new("system.degraded")?));
/// assert_eq!("task.failed.>, system.*".parse::<Patterns>()?, trouble);
/// # Ok::<(), hive_bus::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Patterns(
    /// Invariant: neither empty nor longer than the limit, sorted, and none covers another.
    Box<[Pattern]>,
);

impl Patterns {
    /// Checks each of `texts` and takes them together.
    ///
    /// # Errors
    /// `invalid-input` when there is none, and as for [`Pattern::new`], with the `position` of the one to blame, counted
    /// from 1; `limit-reached` when there are more than [`limits::PATTERNS_MAX`].
    pub fn new(texts: impl IntoIterator<Item = impl Into<Cow<'static, str>>>) -> Result<Self> {
        let mut patterns = Vec::new();
        for text in texts {
            let position = patterns.len() + 1;
            if position > limits::PATTERNS_MAX {
                return Err(Error::new(ErrorKind::LimitReached, "there are too many patterns")
                    .with("limit", limits::PATTERNS_MAX)
                    .with_hint("join some of them with a wildcard, or listen in several places"));
            }
            patterns.push(Pattern::new(text).map_err(|e| e.with("position", position))?);
        }
        if patterns.is_empty() {
            return Err(Error::new(ErrorKind::InvalidInput, "there is no pattern")
                .with_hint("write at least one, such as task.failed.>, or * for everything"));
        }
        Ok(Self::normal(patterns))
    }

    /// For a list that is neither empty nor too long.
    fn normal(mut patterns: Vec<Pattern>) -> Self {
        for pattern in &mut patterns {
            // The one other pair of texts that mean the same.
            if pattern.is_all() {
                *pattern = Pattern::ALL;
            }
        }
        patterns.sort_unstable();
        patterns.dedup();
        let kept = patterns
            .iter()
            .filter(|one| !patterns.iter().any(|other| other != *one && other.covers(one)))
            .cloned()
            .collect();
        Self(kept)
    }

    /// Whether one of them matches `topic`.
    pub fn matches(&self, topic: &Topic) -> bool {
        self.matches_str(topic.as_str())
    }

    /// [`Patterns::matches`] for the text of a topic as it stands in a row.
    pub(crate) fn matches_str(&self, topic: &str) -> bool {
        self.0.iter().any(|pattern| pattern.matches_str(topic))
    }

    /// A regular expression, in PostgreSQL's words, that matches the same topics; `None` when every topic matches.
    pub(crate) fn regex(&self) -> Option<String> {
        if self.0.iter().any(Pattern::is_all) {
            return None;
        }
        let one = |pattern: &Pattern| {
            let tokens: Vec<String> = pattern.tokens().map(token_regex).collect();
            tokens.join("\\.")
        };
        let all: Vec<String> = self.0.iter().map(one).collect();
        Some(format!("^({})$", all.join("|")))
    }

    /// The patterns that are left of what was given, sorted.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = &Pattern> {
        self.0.iter()
    }
}

fn token_regex(token: &str) -> String {
    match token {
        "*" => "[^.]+".to_owned(),
        ">" => ".+".to_owned(),
        // Of the characters that a token may have, only this one means something in an expression.
        literal => literal.replace('+', "\\+"),
    }
}

/// Separated by commas, which no pattern contains.
impl fmt::Display for Patterns {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut separator = "";
        for pattern in &self.0 {
            write!(f, "{separator}{pattern}")?;
            separator = ",";
        }
        Ok(())
    }
}

/// Separated by commas, with white space around them if you like.
impl FromStr for Patterns {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        Self::new(text.split(',').map(|text| text.trim().to_owned()))
    }
}

impl From<Pattern> for Patterns {
    fn from(pattern: Pattern) -> Self {
        Self::normal(vec![pattern])
    }
}

/// As a list of texts.
impl Serialize for Patterns {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(&self.0)
    }
}

/// From a list of texts, checked; what is longer than the limit is not read to its end.
impl<'de> Deserialize<'de> for Patterns {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Texts;

        impl<'de> Visitor<'de> for Texts {
            type Value = Patterns;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "a list of 1 to {} patterns", limits::PATTERNS_MAX)
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Patterns, A::Error> {
                let mut texts: Vec<String> = Vec::new();
                while texts.len() <= limits::PATTERNS_MAX
                    && let Some(text) = list.next_element()?
                {
                    texts.push(text);
                }
                Patterns::new(texts).map_err(serde::de::Error::custom)
            }
        }

        deserializer.deserialize_seq(Texts)
    }
}
