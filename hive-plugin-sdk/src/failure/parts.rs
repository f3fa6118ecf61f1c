//! A failure as it crosses the boundary: frozen members, and JSON for what grows.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::{Failure, Inner};

/// The contract's `failure`.
#[derive(Debug)]
pub(crate) struct Parts {
    pub(crate) code: String,
    pub(crate) message: String,
    pub(crate) retryable: bool,
    pub(crate) retry_after_ms: Option<u64>,
    pub(crate) details: Option<String>,
}

/// The contract's `details`. What a release does not know is ignored, what the other side does not send is empty.
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(default)]
struct Details {
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    fields: BTreeMap<String, String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    hint: Option<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    causes: Vec<String>,
}

impl Details {
    /// Reads what came along. Text that is not such an object becomes a cause, so that nothing said is lost.
    fn parse(text: Option<&str>) -> Self {
        let Some(text) = text else { return Self::default() };
        serde_json::from_str(text).unwrap_or_else(|_| Self {
            causes: vec![text.to_owned()],
            ..Self::default()
        })
    }
}

impl From<Failure> for Parts {
    fn from(failure: Failure) -> Self {
        let Inner {
            code,
            message,
            retryable,
            retry_after,
            fields,
            hint,
            causes,
        } = *failure.inner;
        let details = Details { fields, hint, causes };
        Self {
            code: code.into_owned(),
            message,
            retryable,
            retry_after_ms: retry_after.map(|after| u64::try_from(after.as_millis()).unwrap_or(u64::MAX)),
            // Maps and lists of strings always have JSON; an empty object says nothing.
            details: serde_json::to_string(&details).ok().filter(|text| text != "{}"),
        }
    }
}

impl From<Parts> for Failure {
    fn from(parts: Parts) -> Self {
        let Details { fields, hint, causes } = Details::parse(parts.details.as_deref());
        let inner = Inner {
            code: parts.code.into(),
            message: parts.message,
            retryable: parts.retryable,
            retry_after: parts.retry_after_ms.map(Duration::from_millis),
            fields,
            hint,
            causes,
        };
        Self { inner: Box::new(inner) }
    }
}
