//! The hive's language model. Needs the capability `model`.
//!
//! Tokens and money are the task's: the hive counts them against its budget. A later attempt asks again unless the
//! answer is remembered with [`steps::remember`](crate::steps::remember).

use std::time::Duration;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::failure::Failure;
use crate::schema::Schema;
use crate::{host, json};

/// What to ask.
#[derive(Clone, Debug, Serialize)]
pub struct Request {
    prompt: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    system: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    schema: Option<Schema>,
    #[serde(skip_serializing_if = "Option::is_none")]
    max_output_tokens: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    timeout_ms: Option<u64>,
}

impl Request {
    /// A question with the hive's defaults.
    pub fn new(prompt: impl Into<String>) -> Self {
        Self {
            prompt: prompt.into(),
            system: None,
            schema: None,
            max_output_tokens: None,
            timeout_ms: None,
        }
    }

    /// Says who the model is and how it is to answer.
    #[must_use]
    pub fn with_system(mut self, system: impl Into<String>) -> Self {
        self.system = Some(system.into());
        self
    }

    /// Asks for a reply that fits a schema.
    #[must_use]
    pub fn with_schema(mut self, schema: Schema) -> Self {
        self.schema = Some(schema);
        self
    }

    /// Caps the length of the answer.
    #[must_use]
    pub fn with_max_output_tokens(mut self, tokens: u32) -> Self {
        self.max_output_tokens = Some(tokens);
        self
    }

    /// Gives up after this time, counted in whole milliseconds.
    #[must_use]
    pub fn with_timeout(mut self, timeout: Duration) -> Self {
        self.timeout_ms = Some(u64::try_from(timeout.as_millis()).unwrap_or(u64::MAX));
        self
    }

    /// Asks.
    ///
    /// # Errors
    ///
    /// The hive's: the budget is spent, the model cannot be reached, the time is over, or its reply does not fit.
    pub fn ask(&self) -> Result<Reply, Failure> {
        json::decode(
            "the model's reply",
            &host::model_ask(&json::encode("the request", self)?)?,
        )
    }
}

/// What the model answered.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
#[non_exhaustive]
pub struct Reply {
    /// The answer as text.
    pub text: String,
    /// The answer as JSON, where a schema was given.
    pub structured: Option<Value>,
    /// The model that answered.
    pub model: String,
    /// What it took.
    pub usage: Usage,
    /// What it cost, in millionths of a US dollar.
    pub cost_micro_usd: u64,
}

impl Reply {
    /// A reply of this text, for tests.
    pub fn text(text: impl Into<String>) -> Self {
        Self {
            text: text.into(),
            ..Self::default()
        }
    }

    /// A structured reply, for tests.
    pub fn structured(value: Value) -> Self {
        Self {
            text: value.to_string(),
            structured: Some(value),
            ..Self::default()
        }
    }

    /// The structured answer as a type.
    ///
    /// # Errors
    ///
    /// A retryable failure with the code `model-output` when there is none or it does not fit `T`: another answer may.
    pub fn extract<T: DeserializeOwned>(self) -> Result<T, Failure> {
        let unfit = |reason: String| {
            Failure::retryable("the model's reply does not fit")
                .with_code("model-output")
                .with("reason", reason)
        };
        let value = self
            .structured
            .ok_or_else(|| unfit("it is not structured".to_owned()))?;
        serde_json::from_value(value).map_err(|error| unfit(error.to_string()))
    }
}

/// The tokens that an answer took.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
#[non_exhaustive]
pub struct Usage {
    /// Tokens of the question.
    pub input_tokens: u64,
    /// Tokens of the answer.
    pub output_tokens: u64,
}

/// Asks and returns the answer's text.
///
/// # Errors
///
/// As [`Request::ask`].
pub fn ask(prompt: &str) -> Result<String, Failure> {
    Ok(Request::new(prompt).ask()?.text)
}

/// Asks for a reply that fits `schema` and returns it as a type.
///
/// # Errors
///
/// As [`Request::ask`] and [`Reply::extract`].
pub fn extract_as<T: DeserializeOwned>(schema: Schema, prompt: &str) -> Result<T, Failure> {
    Request::new(prompt).with_schema(schema).ask()?.extract()
}

/// Asks for a reply that fits `T`.
///
/// # Errors
///
/// As [`Request::ask`] and [`Reply::extract`].
#[cfg(feature = "schemars")]
pub fn extract<T: DeserializeOwned + schemars::JsonSchema>(prompt: &str) -> Result<T, Failure> {
    extract_as(Schema::of::<T>(), prompt)
}
