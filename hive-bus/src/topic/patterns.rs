//! Several patterns as one: what any of them matches.

use std::borrow::Cow;
use std::fmt;

use hive_errors::{Error, ErrorKind, Result};
use serde::{Deserialize, Deserializer, Serialize};

use super::{Pattern, Topic};
use crate::limits;

/// One to [`limits::PATTERNS_MAX`] patterns; a topic fits when it fits one of them.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize)]
#[serde(transparent)]
pub struct Patterns(Vec<Pattern>);

impl Patterns {
    /// Checks each text and takes them as patterns.
    ///
    /// # Errors
    /// As [`Pattern::new`]; `invalid-input` when there is none, `limit-reached` when there are too many.
    pub fn new(texts: impl IntoIterator<Item = impl Into<Cow<'static, str>>>) -> Result<Self> {
        let patterns = texts.into_iter().map(Pattern::new).collect::<Result<Vec<_>>>()?;
        if patterns.is_empty() {
            return Err(Error::new(ErrorKind::InvalidInput, "there is no pattern")
                .with_hint("give at least one; `*` alone means everything"));
        }
        if patterns.len() > limits::PATTERNS_MAX {
            return Err(Error::new(ErrorKind::LimitReached, "there are too many patterns")
                .with("patterns", patterns.len())
                .with("limit", limits::PATTERNS_MAX));
        }
        Ok(Self(patterns))
    }

    /// Whether `topic` fits one of them.
    pub fn matches(&self, topic: &Topic) -> bool {
        self.matches_str(topic.as_str())
    }

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

    /// Each pattern.
    pub fn iter(&self) -> impl Iterator<Item = &Pattern> {
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

impl From<Pattern> for Patterns {
    fn from(pattern: Pattern) -> Self {
        Self(vec![pattern])
    }
}

impl fmt::Display for Patterns {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, pattern) in self.0.iter().enumerate() {
            write!(f, "{}{pattern}", if at == 0 { "" } else { "," })?;
        }
        Ok(())
    }
}

impl<'de> Deserialize<'de> for Patterns {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Self::new(Vec::<String>::deserialize(deserializer)?).map_err(serde::de::Error::custom)
    }
}
