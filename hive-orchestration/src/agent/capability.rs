//! Names of what agents can do and of the fields that they are at home in.

use std::borrow::Cow;
use std::fmt;

use hive_errors::{Error, ErrorKind, Result};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::limits;

/// Something that an agent can do, by the name under which others ask for it: lower-case tokens between dots, such as
/// `review.rust`. The whole name counts: who asks for `review` does not get `review.rust`, and the other way round.
///
/// ```
/// use hive_orchestration::registry::Capability;
///
/// // Share one constant between those who can and those who ask.
/// const REVIEW: Capability = Capability::new("review.rust");
/// assert_eq!(REVIEW, "review.rust".parse()?);
/// assert!("Review Rust".parse::<Capability>().is_err());
/// # Ok::<(), hive_orchestration::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(try_from = "String", into = "String")]
pub struct Capability(Cow<'static, str>);

impl Capability {
    /// The capability of this name. In a constant, a name that is not valid does not compile.
    ///
    /// # Panics
    /// When the name is not valid; [`str::parse`] says so with an error.
    pub const fn new(name: &'static str) -> Self {
        assert!(
            is_dotted(name),
            "a capability is named with lower-case letters, digits, `-` and `_`, in tokens between dots"
        );
        Self(Cow::Borrowed(name))
    }

    /// Its name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl TryFrom<String> for Capability {
    type Error = Error;

    fn try_from(name: String) -> Result<Self> {
        check_dotted("capability", &name)?;
        Ok(Self(Cow::Owned(name)))
    }
}

impl std::str::FromStr for Capability {
    type Err = Error;

    fn from_str(name: &str) -> Result<Self> {
        name.to_owned().try_into()
    }
}

impl From<Capability> for String {
    fn from(capability: Capability) -> Self {
        capability.0.into_owned()
    }
}

impl fmt::Display for Capability {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

/// Refuses what cannot be the name of a capability or of a domain.
pub(crate) fn check_dotted(what: &'static str, name: &str) -> Result<()> {
    if is_dotted(name) {
        return Ok(());
    }
    Err(
        Error::new(ErrorKind::InvalidInput, format!("the name of the {what} is not valid"))
            .with("field", what)
            .with("value", shown(name))
            .with("limit_bytes", limits::CAPABILITY_BYTES)
            .with_hint("use lower-case ASCII letters, digits, `-` and `_`, in tokens between dots: `review.rust`"),
    )
}

/// A name that may be a stranger's, in a form that cannot do harm where it is shown.
pub(crate) fn shown(name: &str) -> String {
    name.chars().take(80).flat_map(char::escape_debug).collect()
}

const fn is_dotted(name: &str) -> bool {
    if name.len() > limits::CAPABILITY_BYTES {
        return false;
    }
    let mut left = name.as_bytes();
    // Whether a token has to begin: at the start and behind a dot.
    let mut begins = true;
    while let [byte, rest @ ..] = left {
        begins = match *byte {
            b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_' => false,
            b'.' if !begins => true,
            _ => return false,
        };
        left = rest;
    }
    !begins
}
