//! The form in which a failure is stored. Stored failures outlive releases: add keys, never change their meaning, and
//! raise the version if that cannot be avoided.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::Failure;
use crate::kind::ErrorKind;
use crate::millis;

const VERSION: u32 = 1;

/// The field that keeps a kind which this release does not know.
const UNKNOWN_KIND: &str = "unknown_kind";

#[derive(Serialize, Deserialize)]
pub(super) struct Stored {
    v: u32,
    kind: String,
    terminal: bool,
    message: String,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    fields: BTreeMap<String, String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    hint: Option<String>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    causes: Vec<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    retry_after_ms: Option<u64>,
}

impl From<Failure> for Stored {
    fn from(failure: Failure) -> Self {
        let inner = *failure.0;
        Self {
            v: VERSION,
            kind: inner.kind.code().to_owned(),
            terminal: inner.terminal,
            message: inner.message,
            fields: inner.fields,
            hint: inner.hint,
            causes: inner.causes,
            retry_after_ms: inner.retry_after.map(millis::ceil),
        }
    }
}

impl TryFrom<Stored> for Failure {
    type Error = String;

    fn try_from(stored: Stored) -> Result<Self, Self::Error> {
        let Stored {
            v,
            kind,
            terminal,
            message,
            fields,
            hint,
            causes,
            retry_after_ms,
        } = stored;
        if v != VERSION {
            return Err(format!(
                "failure has version {v}, but this release reads version {VERSION}"
            ));
        }
        // Built through the constructors, since the limits hold for what comes from outside too.
        let mut failure = Self::new(message, terminal).with_causes(causes);
        for (name, value) in fields {
            failure = failure.with(name, value);
        }
        failure = match ErrorKind::from_code(&kind) {
            Some(kind) => failure.with_kind(kind),
            None => failure.with(UNKNOWN_KIND, kind),
        };
        if let Some(hint) = hint {
            failure = failure.with_hint(hint);
        }
        if let Some(ms) = retry_after_ms {
            failure = failure.with_retry_after(Duration::from_millis(ms));
        }
        Ok(failure)
    }
}
