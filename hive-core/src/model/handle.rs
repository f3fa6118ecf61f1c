use std::fmt;
use std::sync::Arc;

use hive_errors::{Error, ErrorKind, Result};
use schemars::JsonSchema;
use serde::de::DeserializeOwned;

use super::{Model, Reply, Request};
use crate::clock::{Clock, SystemClock, timeout};
use crate::payload::Schema;

/// A model, as agents hold it. Cheap to clone.
///
/// Every call through a handle is checked first ([`Request::check`]) and ends at its deadline, also when the model behind
/// it forgets about that.
#[derive(Clone)]
pub struct ModelHandle {
    model: Arc<dyn Model>,
    clock: Arc<dyn Clock>,
}

impl ModelHandle {
    /// A handle to this model, with deadlines by the system's clock.
    pub fn new(model: impl Model) -> Self {
        Self::from(Arc::new(model) as Arc<dyn Model>)
    }

    /// With deadlines by this clock.
    #[must_use]
    pub fn with_clock(mut self, clock: Arc<dyn Clock>) -> Self {
        self.clock = clock;
        self
    }

    /// What the model is called.
    pub fn name(&self) -> &str {
        self.model.name()
    }

    /// Answers one request.
    ///
    /// # Errors
    /// What [`Request::check`] and [`Model::complete`] say; [`ErrorKind::Timeout`] at the deadline.
    ///
    /// # Cancel safety
    /// As [`Model::complete`].
    pub async fn complete(&self, request: Request) -> Result<Reply> {
        request.check()?;
        let limit = request.timeout;
        match timeout(&*self.clock, limit, self.model.complete(request)).await {
            Ok(reply) => reply,
            Err(source) => Err(Error::new(ErrorKind::Timeout, "the model did not answer in time")
                .with("model", self.name())
                .with("timeout", format!("{limit:?}"))
                .with_source(source)),
        }
    }

    /// Asks for text.
    ///
    /// # Errors
    /// As [`ModelHandle::complete`].
    ///
    /// # Cancel safety
    /// As [`Model::complete`].
    pub async fn ask(&self, prompt: impl Into<String>) -> Result<String> {
        Ok(self.complete(Request::new(prompt)).await?.text)
    }

    /// Asks for a `T`: the model is shown its schema and its answer is decoded.
    ///
    /// # Errors
    /// As [`ModelHandle::complete`]; [`ErrorKind::ModelOutput`] when the answer does not fit, with the field `path`.
    ///
    /// # Cancel safety
    /// As [`Model::complete`].
    pub async fn extract<T: DeserializeOwned + JsonSchema>(&self, prompt: impl Into<String>) -> Result<T> {
        self.complete(Request::new(prompt).with_schema(Schema::of::<T>()))
            .await?
            .decode()
    }
}

impl<M: Model> From<M> for ModelHandle {
    fn from(model: M) -> Self {
        Self::new(model)
    }
}

impl From<Arc<dyn Model>> for ModelHandle {
    fn from(model: Arc<dyn Model>) -> Self {
        Self {
            model,
            clock: Arc::new(SystemClock),
        }
    }
}

impl fmt::Debug for ModelHandle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("ModelHandle").field(&self.model).finish()
    }
}
