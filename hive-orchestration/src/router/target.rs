//! For whom a task is.

use std::fmt;
use std::str::FromStr;

use hive_errors::{Error, ErrorKind, Result};
use schemars::JsonSchema;
use semver::{Version, VersionReq};
use serde::{Deserialize, Serialize};

use crate::agent::{Capability, shown};
use crate::limits;
use crate::task::check_token;

/// For whom a task is: one agent by its name, certain versions of it, or whoever can do something.
///
/// Its text is `agent:reviewer`, `agent:reviewer@^1.2` or `capability:review.rust`, and reads back as the same target.
///
/// ```
/// use hive_orchestration::registry::Capability;
/// use hive_orchestration::router::Target;
///
/// const REVIEW: Capability = Capability::new("review.rust");
/// assert_eq!(Target::from(REVIEW).to_string(), "capability:review.rust");
/// let second: Target = "agent:reviewer@^2".parse()?;
/// assert!(second.admits("reviewer", &"2.3.0".parse()?, []));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
#[non_exhaustive]
pub enum Target {
    /// The agent of this name, in whatever version.
    Agent(String),
    /// The agent of this name, in a version that the range admits.
    Version(String, VersionReq),
    /// Whoever can do this.
    Capability(Capability),
}

impl Target {
    /// # Errors
    /// `invalid-input` for a name that no agent can have, and for a range that is too long.
    pub(crate) fn check(&self) -> Result<()> {
        match self {
            Self::Agent(name) => check_token("agent", name),
            Self::Version(name, range) => {
                check_token("agent", name)?;
                check_range(&range.to_string())
            }
            Self::Capability(_) => Ok(()),
        }
    }

    /// The range of versions that may have the task, or nothing.
    pub(crate) fn versions(&self) -> String {
        match self {
            Self::Version(_, range) => range.to_string(),
            Self::Agent(_) | Self::Capability(_) => String::new(),
        }
    }

    /// Whether an agent of this name and version that can do these things is meant.
    pub fn admits<'a>(
        &self,
        name: &str,
        version: &Version,
        capabilities: impl IntoIterator<Item = &'a Capability>,
    ) -> bool {
        match self {
            Self::Agent(agent) => agent == name,
            Self::Version(agent, range) => agent == name && range.matches(version),
            Self::Capability(wanted) => capabilities.into_iter().any(|one| one == wanted),
        }
    }
}

impl JsonSchema for Target {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Target".into()
    }

    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({
            "type": "string",
            "description": "For whom a task is: agent:NAME, agent:NAME@RANGE or capability:NAME.",
            "pattern": "^(agent|capability):",
        })
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Agent(name) => write!(f, "agent:{name}"),
            Self::Version(name, range) => write!(f, "agent:{name}@{range}"),
            Self::Capability(name) => write!(f, "capability:{name}"),
        }
    }
}

impl FromStr for Target {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let target = match text.split_once(':') {
            Some(("agent", rest)) => match rest.split_once('@') {
                Some((name, range)) => Self::Version(name.to_owned(), parse_range(range)?),
                None => Self::Agent(rest.to_owned()),
            },
            Some(("capability", rest)) => Self::Capability(rest.parse()?),
            Some(_) | None => {
                return Err(Error::new(ErrorKind::InvalidInput, "the text names no target")
                    .with("field", "target")
                    .with("value", shown(text))
                    .with_hint("write agent:NAME, agent:NAME@RANGE or capability:NAME"));
            }
        };
        target.check()?;
        Ok(target)
    }
}

fn parse_range(text: &str) -> Result<VersionReq> {
    check_range(text)?;
    VersionReq::parse(text).map_err(|e| {
        Error::new(ErrorKind::InvalidInput, "the range of versions is not valid")
            .with("field", "target")
            .with("value", shown(text))
            .with("why", e)
            .with_hint("write it as in a Cargo.toml: ^1.2, or >=1.2, <3")
    })
}

fn check_range(text: &str) -> Result<()> {
    if text.len() <= limits::RANGE_BYTES {
        return Ok(());
    }
    Err(Error::new(ErrorKind::InvalidInput, "the range of versions is too long")
        .with("field", "target")
        .with("bytes", text.len())
        .with("limit_bytes", limits::RANGE_BYTES))
}

impl TryFrom<String> for Target {
    type Error = Error;

    fn try_from(text: String) -> Result<Self> {
        text.parse()
    }
}

impl From<Target> for String {
    fn from(target: Target) -> Self {
        target.to_string()
    }
}

impl From<Capability> for Target {
    fn from(capability: Capability) -> Self {
        Self::Capability(capability)
    }
}
