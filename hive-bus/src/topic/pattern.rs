use std::borrow::Cow;
use std::fmt;
use std::str::FromStr;

use hive_errors::{Error, ErrorKind, Result};

use super::{Topic, check, wildcard, without_stray_dots};

/// Which topics somebody wants: `task.failed.*`, `task.>`, or `*` for everything.
///
/// ```
/// use hive_bus::{Pattern, Topic};
///
/// let failed = Pattern::new("task.failed.*")?;
/// assert!(failed.matches(&Topic::new("task.failed.reviewer")?));
/// assert!(!failed.matches(&Topic::new("task.failed")?));
/// # Ok::<(), hive_bus::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Pattern(Cow<'static, str>);

impl Pattern {
    /// Matches every topic; the same as `>`.
    pub const ALL: Self = Self(Cow::Borrowed("*"));

    /// Checks `text` and takes it as a pattern. A topic is a pattern that matches only itself.
    ///
    /// # Errors
    /// `invalid-input` naming what is wrong and where, as for [`Topic::new`]; also a wildcard inside a token (`ta*k`) and
    /// a `>` that is not the last token.
    pub fn new(text: impl Into<Cow<'static, str>>) -> Result<Self> {
        let text = text.into();
        check(&text, "pattern", |token| match wildcard(token) {
            Some(_) if token.len() > 1 => Err(Error::new(
                ErrorKind::InvalidInput,
                "a wildcard stands for a whole token",
            )
            .with("token", token)
            .with_hint("write `*` for one token or a last `>` for the rest; there is no prefix match")),
            Some(_) | None => Ok(()),
        })?;
        if text.split('.').rev().skip(1).any(|token| token == ">") {
            return Err(
                Error::new(ErrorKind::InvalidInput, "`>` may only be the last token of a pattern")
                    .with("pattern", &text)
                    .with_hint("use `*` for one token in the middle"),
            );
        }
        Ok(Self(text))
    }

    /// [`Pattern::new`] for what a person typed: as [`Topic::normalise`].
    ///
    /// # Errors
    /// As [`Pattern::new`], about what is left.
    pub fn normalise(text: &str) -> Result<Self> {
        Self::new(without_stray_dots(text))
    }

    /// For the constants of [`TypedEvent`](crate::TypedEvent)s, which a registry checks.
    pub(crate) const fn from_static(text: &'static str) -> Self {
        Self(Cow::Borrowed(text))
    }

    /// The pattern as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Its tokens, wildcards included.
    pub fn tokens(&self) -> impl Iterator<Item = &str> {
        self.0.split('.')
    }

    /// Whether it matches every topic.
    pub fn is_all(&self) -> bool {
        matches!(&*self.0, "*" | ">")
    }

    /// Whether `topic` fits.
    pub fn matches(&self, topic: &Topic) -> bool {
        self.matches_str(topic.as_str())
    }

    /// [`Pattern::matches`] for the text of a topic as it stands in a row.
    pub(crate) fn matches_str(&self, topic: &str) -> bool {
        if self.is_all() {
            return true;
        }
        let mut tokens = topic.split('.');
        for wanted in self.tokens() {
            match (wanted, tokens.next()) {
                (_, None) => return false,
                (">", Some(_)) => return true,
                ("*", Some(_)) => {}
                (literal, Some(token)) if literal == token => {}
                (_, Some(_)) => return false,
            }
        }
        tokens.next().is_none()
    }

    /// Whether every topic that `other` matches is matched by this one as well, as far as their forms tell: that a topic
    /// ends at [`limits::TOPIC_TOKENS_MAX`](crate::limits::TOPIC_TOKENS_MAX) tokens is not taken into account.
    ///
    /// ```
    /// use hive_bus::Pattern;
    ///
    /// let failed = Pattern::new("task.failed.>")?;
    /// assert!(failed.covers(&Pattern::new("task.failed.*.eu")?));
    /// assert!(!failed.covers(&Pattern::new("task.*.reviewer")?));
    /// # Ok::<(), hive_bus::Error>(())
    /// ```
    pub fn covers(&self, other: &Self) -> bool {
        if self.is_all() || other.is_all() {
            return self.is_all();
        }
        let mut others = other.tokens();
        for wanted in self.tokens() {
            match (wanted, others.next()) {
                // What the other asks for from here on may come in a topic that ends before, or go on after.
                (_, None) => return false,
                (">", Some(_)) => return true,
                (_, Some(">")) => return false,
                ("*", Some(_)) => {}
                (literal, Some(token)) if literal == token => {}
                (_, Some(_)) => return false,
            }
        }
        others.next().is_none()
    }

    /// What every matching topic begins with: all of it when there is no wildcard, otherwise up to and with the dot before
    /// the first one.
    pub(crate) fn literal_prefix(&self) -> &str {
        match self.0.find(['*', '>']) {
            Some(at) => self.0.get(..at).unwrap_or_default(),
            None => &self.0,
        }
    }

    /// Whether it has no wildcard and so matches one topic.
    pub(crate) fn is_literal(&self) -> bool {
        wildcard(&self.0).is_none()
    }
}

impl fmt::Display for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl FromStr for Pattern {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        Self::new(text.to_owned())
    }
}

/// So that a checked pattern may stand wherever its text may.
impl From<Pattern> for Cow<'static, str> {
    fn from(pattern: Pattern) -> Self {
        pattern.0
    }
}

impl From<Topic> for Pattern {
    fn from(topic: Topic) -> Self {
        Self(topic.0)
    }
}
