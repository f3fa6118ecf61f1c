//! Topics, and patterns over them.
//!
//! A topic is a row of tokens between dots, from the general to the particular: `task.failed.reviewer`. A pattern is a
//! topic in which `*` stands for exactly one token and a last `>` for one or more; `*` alone means everything.

mod pattern;
mod patterns;
mod trie;

#[cfg(test)]
mod tests;

use std::borrow::Cow;
use std::fmt;
use std::str::FromStr;

use hive_errors::{Error, ErrorKind, Result};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

pub use self::pattern::Pattern;
pub use self::patterns::Patterns;
pub use self::trie::{PatternKey, PatternTrie};
use crate::limits;

/// Where an event is published: one or more tokens between dots, without wildcards.
///
/// A token is made of ASCII letters, digits and `- _ : @ / + = ~ % #`; letters count as different when their case does.
/// At most [`limits::TOPIC_BYTES_MAX`] bytes and [`limits::TOPIC_TOKENS_MAX`] tokens.
///
/// ```
/// use hive_bus::Topic;
///
/// let topic = Topic::new("task.failed.reviewer")?;
/// assert_eq!(topic.tokens().collect::<Vec<_>>(), ["task", "failed", "reviewer"]);
/// assert!(Topic::new("task.*").is_err());
/// # Ok::<(), hive_bus::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Topic(Cow<'static, str>);

impl Topic {
    /// Checks `text` and takes it as a topic.
    ///
    /// # Errors
    /// `invalid-input` naming what is wrong and where: empty, too long, too many tokens, an empty token, a character that
    /// is not allowed, or a wildcard.
    pub fn new(text: impl Into<Cow<'static, str>>) -> Result<Self> {
        let text = text.into();
        check(&text, "topic", |token| match wildcard(token) {
            None => Ok(()),
            Some(found) => Err(
                Error::new(ErrorKind::InvalidInput, "a topic has no wildcards; only a pattern does")
                    .with("wildcard", found)
                    .with_hint("name the one topic that the event is about; wildcards are for those who listen"),
            ),
        })?;
        Ok(Self(text))
    }

    /// [`Topic::new`] for what a person typed or another program put together: white space around it goes, and so do dots
    /// at the ends and dots after dots. Nothing else is guessed: case counts, and `/` is a character like any other.
    ///
    /// ```
    /// use hive_bus::Topic;
    ///
    /// assert_eq!(Topic::normalise(" .task..failed. ")?.as_str(), "task.failed");
    /// assert!(Topic::normalise("task failed").is_err());
    /// # Ok::<(), hive_bus::Error>(())
    /// ```
    ///
    /// # Errors
    /// As [`Topic::new`], about what is left.
    pub fn normalise(text: &str) -> Result<Self> {
        Self::new(without_stray_dots(text))
    }

    /// The topic as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Its tokens, from the general to the particular.
    pub fn tokens(&self) -> impl Iterator<Item = &str> + Clone {
        self.0.split('.')
    }

    /// For text that was checked before it was stored.
    pub(crate) fn from_stored(text: String) -> Self {
        Self(Cow::Owned(text))
    }
}

impl fmt::Display for Topic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl FromStr for Topic {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        Self::new(text.to_owned())
    }
}

/// So that a checked topic may stand wherever its text may.
impl From<Topic> for Cow<'static, str> {
    fn from(topic: Topic) -> Self {
        topic.0
    }
}

/// Both travel as their text and are checked again when they arrive.
macro_rules! serde_as_text {
    ($Name:ident) => {
        impl Serialize for $Name {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.serialize_str(self.as_str())
            }
        }

        impl<'de> Deserialize<'de> for $Name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                Self::new(String::deserialize(deserializer)?).map_err(serde::de::Error::custom)
            }
        }
    };
}

serde_as_text!(Topic);
serde_as_text!(Pattern);

fn wildcard(token: &str) -> Option<char> {
    token.chars().find(|c| matches!(c, '*' | '>'))
}

fn without_stray_dots(text: &str) -> String {
    let tokens: Vec<&str> = text.trim().split('.').filter(|token| !token.is_empty()).collect();
    tokens.join(".")
}

/// What topics and patterns have in common. `word` is what the error calls the text.
fn check(text: &str, word: &'static str, token_rule: impl Fn(&str) -> Result<()>) -> Result<()> {
    if text.is_empty() {
        return Err(Error::new(ErrorKind::InvalidInput, format!("the {word} is empty"))
            .with_hint("write tokens between dots, such as task.failed.reviewer"));
    }
    if text.len() > limits::TOPIC_BYTES_MAX {
        return Err(Error::new(ErrorKind::InvalidInput, format!("the {word} is too long"))
            .with("bytes", text.len())
            .with("limit", limits::TOPIC_BYTES_MAX)
            .with_hint("put the particulars into the event's data"));
    }
    // The text is short from here on, and safe to show once control characters are escaped.
    let shown = || text.escape_debug().to_string();
    let mut count = 0;
    for token in text.split('.') {
        count += 1;
        if token.is_empty() {
            return Err(
                Error::new(ErrorKind::InvalidInput, format!("the {word} has an empty token"))
                    .with(word, shown())
                    .with("token", count)
                    .with_hint("write one dot between tokens, and none at the ends"),
            );
        }
        if let Some(found) = token.chars().find(|&c| !allowed(c)) {
            return Err(Error::new(
                ErrorKind::InvalidInput,
                format!("the {word} has a character that is not allowed"),
            )
            .with(word, shown())
            .with("character", found.escape_debug())
            .with_hint("tokens are made of ASCII letters, digits and - _ : @ / + = ~ % #"));
        }
        token_rule(token).map_err(|e| e.with(word, shown()))?;
    }
    if count > limits::TOPIC_TOKENS_MAX {
        return Err(
            Error::new(ErrorKind::InvalidInput, format!("the {word} has too many tokens"))
                .with("tokens", count)
                .with("limit", limits::TOPIC_TOKENS_MAX)
                .with_hint("put the particulars into the event's data"),
        );
    }
    Ok(())
}

fn allowed(c: char) -> bool {
    c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | ':' | '@' | '/' | '+' | '=' | '~' | '%' | '#' | '*' | '>')
}
