//! JSON text to and from types, with failures that say what did not fit.

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::failure::Failure;

/// The text of `value`; `what` names it in the failure.
pub(crate) fn encode<T: Serialize + ?Sized>(what: &str, value: &T) -> Result<String, Failure> {
    serde_json::to_string(value).map_err(|error| {
        Failure::terminal(format!("{what} cannot be written as json"))
            .with_code("invalid-input")
            .with_cause(error)
            .with_hint("use types whose map keys are strings and whose numbers are finite")
    })
}

/// The value in `text`; `what` names it in the failure.
pub(crate) fn decode<T: DeserializeOwned>(what: &str, text: &str) -> Result<T, Failure> {
    serde_json::from_str(text).map_err(|error| {
        Failure::terminal(format!("{what} does not fit its type"))
            .with_code("invalid-input")
            .with("reason", error)
            .with_hint("compare it with the schema in the plugin's description")
    })
}
