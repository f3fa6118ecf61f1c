use hive_errors::{Error, ErrorKind, Result};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::request::excerpt;

/// What a model answered, used and cost.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Reply {
    /// The answer as text; may be empty beside a structured one.
    pub text: String,
    /// The answer in the shape of the request's schema; `None` when there was no schema.
    pub structured: Option<Value>,
    /// What the call used, all its turns together.
    pub usage: Usage,
    /// What the call cost, in millionths of a US dollar, rounded up.
    pub cost_micro_usd: u64,
    /// The model that answered, as its provider calls it.
    pub model: String,
    /// Why the answer ended.
    pub stop: StopReason,
}

/// Tokens, counted as the provider charges them.
#[derive(Copy, Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Usage {
    /// Tokens read at full price.
    pub input_tokens: u64,
    /// Tokens written.
    pub output_tokens: u64,
    /// Tokens read from the provider's cache.
    #[serde(default)]
    pub cache_read_tokens: u64,
    /// Tokens written to the provider's cache.
    #[serde(default)]
    pub cache_write_tokens: u64,
}

impl Usage {
    /// So many tokens read and written, none of them cached.
    pub const fn new(input_tokens: u64, output_tokens: u64) -> Self {
        Self {
            input_tokens,
            output_tokens,
            cache_read_tokens: 0,
            cache_write_tokens: 0,
        }
    }

    /// All tokens, of whatever kind.
    pub const fn total(&self) -> u64 {
        self.input_tokens
            .saturating_add(self.output_tokens)
            .saturating_add(self.cache_read_tokens)
            .saturating_add(self.cache_write_tokens)
    }

    /// This and `other` together.
    #[must_use]
    pub const fn plus(self, other: Self) -> Self {
        Self {
            input_tokens: self.input_tokens.saturating_add(other.input_tokens),
            output_tokens: self.output_tokens.saturating_add(other.output_tokens),
            cache_read_tokens: self.cache_read_tokens.saturating_add(other.cache_read_tokens),
            cache_write_tokens: self.cache_write_tokens.saturating_add(other.cache_write_tokens),
        }
    }
}

/// Why an answer ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum StopReason {
    /// The model had said everything.
    End,
    /// The answer reached its longest length and is cut off.
    Length,
    /// The model met a text at which it was told to stop.
    StopSequence,
    /// The model declined to answer.
    Refusal,
    /// Another reason, as the provider calls it.
    Other(String),
}

impl Reply {
    /// An answer in text that came to its end.
    pub fn new(model: impl Into<String>, text: impl Into<String>, usage: Usage, cost_micro_usd: u64) -> Self {
        Self {
            text: text.into(),
            structured: None,
            usage,
            cost_micro_usd,
            model: model.into(),
            stop: StopReason::End,
        }
    }

    /// With an answer in the shape of the request's schema.
    #[must_use]
    pub fn with_structured(mut self, structured: Value) -> Self {
        self.structured = Some(structured);
        self
    }

    /// With another reason for the end.
    #[must_use]
    pub fn with_stop(mut self, stop: StopReason) -> Self {
        self.stop = stop;
        self
    }

    /// The structured answer as a `T`.
    ///
    /// # Errors
    /// [`ErrorKind::ModelOutput`] when there is none, or when it does not fit `T`, with the field `path`.
    pub fn decode<T: DeserializeOwned>(&self) -> Result<T> {
        let error = |message: &'static str| {
            Error::new(ErrorKind::ModelOutput, message)
                .with("model", &self.model)
                .with("type", std::any::type_name::<T>())
                .with("cost_micro_usd", self.cost_micro_usd)
        };
        let Some(structured) = &self.structured else {
            return Err(error("the model gave no structured output")
                .with("stop", format!("{:?}", self.stop))
                .with("text", excerpt(&self.text)));
        };
        serde_path_to_error::deserialize(structured).map_err(|source| {
            error("the model's output does not fit its type")
                .with("path", source.path().to_string())
                .with_source(source.into_inner())
        })
    }
}
