//! What an agent says of itself.

use std::collections::{BTreeMap, BTreeSet};

use hive_core::payload::Schema;
use hive_errors::{Error, ErrorKind, Result};
use semver::Version;

use super::capability::{Capability, check_dotted, shown};
use crate::limits;
use crate::task::check_token;

/// What an agent was given to say of itself, before it is known to be valid.
#[derive(Clone, Debug)]
pub(super) struct Profile {
    pub(super) version: String,
    pub(super) capabilities: Vec<String>,
    pub(super) domains: Vec<String>,
    pub(super) weight: u32,
    pub(super) metadata: Vec<(String, String)>,
    /// Of this process alone, and no part of the declaration.
    pub(super) concurrency: Option<usize>,
}

impl Default for Profile {
    fn default() -> Self {
        Self {
            version: VERSION.to_owned(),
            capabilities: Vec::new(),
            domains: Vec::new(),
            weight: WEIGHT,
            metadata: Vec::new(),
            concurrency: None,
        }
    }
}

/// The version of an agent that names none.
pub(super) const VERSION: &str = "0.1.0";

/// The weight of an agent that names none.
pub(super) const WEIGHT: u32 = 1;

/// What an agent says of itself: who it is, what it can do, and what it takes and gives. Everything in it is checked.
#[derive(Clone, Debug, PartialEq)]
pub struct Declaration {
    name: String,
    version: Version,
    capabilities: BTreeSet<Capability>,
    domains: BTreeSet<String>,
    weight: u32,
    metadata: BTreeMap<String, String>,
    input: Schema,
    output: Schema,
}

impl Declaration {
    /// # Errors
    /// `invalid-input` for a name, a version, a weight or metadata that are not valid; `limit-reached` for too many of them.
    pub(super) fn check(name: &str, profile: &Profile, input: Schema, output: Schema) -> Result<Self> {
        Self::checked(name, profile, input, output).map_err(|error| error.with("agent", shown(name)))
    }

    fn checked(name: &str, profile: &Profile, input: Schema, output: Schema) -> Result<Self> {
        check_token("agent", name)?;
        let version = version(&profile.version)?;
        count("capabilities", profile.capabilities.len(), limits::CAPABILITIES_MAX)?;
        count("domains", profile.domains.len(), limits::DOMAINS_MAX)?;
        count("metadata", profile.metadata.len(), limits::METADATA_MAX)?;
        let capabilities = profile.capabilities.iter().map(|name| name.parse());
        for domain in &profile.domains {
            check_dotted("domain", domain)?;
        }
        if !(1..=limits::WEIGHT_MAX).contains(&profile.weight) {
            return Err(Error::new(ErrorKind::InvalidInput, "the weight is out of range")
                .with("field", "weight")
                .with("value", profile.weight)
                .with("least", 1)
                .with("limit", limits::WEIGHT_MAX));
        }
        for (key, value) in &profile.metadata {
            check_token("metadata", key)?;
            metadata(key, value)?;
        }
        for (field, schema) in [("input_schema", &input), ("output_schema", &output)] {
            let bytes = schema.as_value().to_string().len();
            if bytes > limits::SCHEMA_BYTES {
                return Err(Error::new(ErrorKind::PayloadTooLarge, "the JSON Schema is too large")
                    .with("field", field)
                    .with("bytes", bytes)
                    .with("limit_bytes", limits::SCHEMA_BYTES)
                    .with_hint("give the agent a smaller type, with free JSON where it is deep"));
            }
        }
        Ok(Self {
            name: name.to_owned(),
            version,
            capabilities: capabilities.collect::<Result<_>>()?,
            domains: profile.domains.iter().cloned().collect(),
            weight: profile.weight,
            metadata: profile.metadata.iter().cloned().collect(),
            input,
            output,
        })
    }

    /// The agent's name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Which version of it this is.
    pub fn version(&self) -> &Version {
        &self.version
    }

    /// What it can do.
    pub fn capabilities(&self) -> &BTreeSet<Capability> {
        &self.capabilities
    }

    /// The fields that it is at home in; none for one that takes whatever comes.
    pub fn domains(&self) -> &BTreeSet<String> {
        &self.domains
    }

    /// Its share where tasks are shared out by weight, at least 1.
    pub fn weight(&self) -> u32 {
        self.weight
    }

    /// What else people or programs may want to know of it.
    pub fn metadata(&self) -> &BTreeMap<String, String> {
        &self.metadata
    }

    /// The JSON Schema of its input.
    pub fn input(&self) -> &Schema {
        &self.input
    }

    /// The JSON Schema of its output.
    pub fn output(&self) -> &Schema {
        &self.output
    }
}

fn version(text: &str) -> Result<Version> {
    let refuse = |why: String| {
        Error::new(ErrorKind::InvalidInput, "the version is not valid")
            .with("field", "version")
            .with("value", shown(text))
            .with("why", why)
            .with_hint("write it as major.minor.patch: 1.0.0")
    };
    // Bounded before it is parsed, because what follows the three numbers has no limit of its own.
    if text.len() > limits::VERSION_BYTES {
        return Err(refuse(format!("it is longer than {} bytes", limits::VERSION_BYTES)));
    }
    Version::parse(text).map_err(|e| refuse(e.to_string()))
}

fn count(field: &'static str, found: usize, limit: usize) -> Result<()> {
    if found <= limit {
        return Ok(());
    }
    Err(Error::new(ErrorKind::LimitReached, "the agent names too many")
        .with("field", field)
        .with("found", found)
        .with("limit", limit))
}

fn metadata(key: &str, value: &str) -> Result<()> {
    if value.len() <= limits::METADATA_BYTES && !value.chars().any(char::is_control) {
        return Ok(());
    }
    Err(Error::new(
        ErrorKind::InvalidInput,
        "the metadata is too long or has control characters",
    )
    .with("field", "metadata")
    .with("key", key)
    .with("limit_bytes", limits::METADATA_BYTES)
    .with_hint("metadata is for what one wants to see in a list; keep documents elsewhere"))
}
