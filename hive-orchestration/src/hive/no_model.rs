//! The model of a hive that was given none.

use async_trait::async_trait;
use hive_core::model::{Model, Reply, Request};
use hive_errors::{Error, ErrorKind, Result};

/// Answers nothing: no model is ever chosen silently.
#[derive(Debug)]
pub(super) struct NoModel;

#[async_trait]
impl Model for NoModel {
    fn name(&self) -> &str {
        "none"
    }

    async fn complete(&self, _request: Request) -> Result<Reply> {
        Err(Error::new(ErrorKind::ModelMissing, "the hive was given no model")
            .with_hint("give it one with `Hive::open(…).model(…)` before it is started"))
    }
}
