use std::time::Duration;

use hive_errors::{Error, ErrorKind, Result};
use serde::{Deserialize, Serialize};

use crate::limits::{MODEL_EXCERPT_CHARS, MODEL_PROMPT_BYTES_MAX, MODEL_TIMEOUT_DEFAULT};
use crate::payload::Schema;

/// What is asked of a model.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Request {
    /// Who the model is to be and what it must keep to; `None` leaves the model's own default.
    pub system: Option<String>,
    /// The question.
    pub prompt: String,
    /// The shape of the answer; `None` asks for text.
    pub schema: Option<Schema>,
    /// The longest answer, in tokens; `None` leaves the model's own default.
    pub max_output_tokens: Option<u32>,
    /// How long the whole call may take, waiting for a turn included. Default
    /// [`MODEL_TIMEOUT_DEFAULT`].
    pub timeout: Duration,
}

impl Request {
    /// A request for text with the default deadline.
    pub fn new(prompt: impl Into<String>) -> Self {
        Self {
            system: None,
            prompt: prompt.into(),
            schema: None,
            max_output_tokens: None,
            timeout: MODEL_TIMEOUT_DEFAULT,
        }
    }

    /// With a system prompt.
    #[must_use]
    pub fn with_system(mut self, system: impl Into<String>) -> Self {
        self.system = Some(system.into());
        self
    }

    /// With a shape for the answer.
    #[must_use]
    pub fn with_schema(mut self, schema: Schema) -> Self {
        self.schema = Some(schema);
        self
    }

    /// With a bound on the answer's length, in tokens.
    #[must_use]
    pub fn with_max_output_tokens(mut self, tokens: u32) -> Self {
        self.max_output_tokens = Some(tokens);
        self
    }

    /// With another deadline than the default.
    #[must_use]
    pub fn with_timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }

    /// Refuses what no model can answer, before it costs anything. [`ModelHandle`](super::ModelHandle) calls it.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidInput`] with the field `name` for an empty prompt and a time or length of zero;
    /// [`ErrorKind::PayloadTooLarge`] for a prompt beyond [`MODEL_PROMPT_BYTES_MAX`].
    pub fn check(&self) -> Result<()> {
        let invalid = |name: &'static str, message: &'static str| {
            Err(Error::new(ErrorKind::InvalidInput, message).with("name", name))
        };
        if self.prompt.trim().is_empty() {
            return invalid("prompt", "the prompt is empty");
        }
        if self.timeout.is_zero() {
            return invalid("timeout", "the request leaves the model no time");
        }
        if self.max_output_tokens == Some(0) {
            return invalid("max_output_tokens", "the request leaves the model no words");
        }
        let size = self.prompt.len() + self.system.as_ref().map_or(0, String::len);
        if size > MODEL_PROMPT_BYTES_MAX {
            return Err(Error::new(ErrorKind::PayloadTooLarge, "the prompt is too large")
                .with("size", size)
                .with("limit", MODEL_PROMPT_BYTES_MAX)
                .with_hint("split the work, or ask the model about a part of it"));
        }
        Ok(())
    }
}

/// The beginning of a prompt or an answer, for an error message.
pub(super) fn excerpt(text: &str) -> String {
    match text.char_indices().nth(MODEL_EXCERPT_CHARS) {
        Some((end, _)) => format!("{}…", text.get(..end).unwrap_or_default()),
        None => text.to_owned(),
    }
}
