//! The suite for transports, on a stream of its own for each case.

use std::sync::Arc;

use async_trait::async_trait;
use hive_bus::Result;
use hive_bus::transport::conformance;
use hive_bus::transport::{Transport, nats::Nats};

use super::Place;

/// A place that takes its streams away when the case is over.
struct Own(Option<Place>);

impl Own {
    fn new() -> Self {
        Self(Some(Place::shared()))
    }
}

#[async_trait]
impl conformance::Place for Own {
    async fn open(&self) -> Result<Arc<dyn Transport>> {
        let place = self.0.as_ref().unwrap();
        Ok(Arc::new(Nats::open(place.options()).await?))
    }
}

impl Drop for Own {
    fn drop(&mut self) {
        // A case that failed may have left nothing to take away.
        if let Some(place) = self.0.take().filter(|_| !std::thread::panicking()) {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
            runtime.unwrap().block_on(place.end());
        }
    }
}

hive_bus::transport_conformance!(Own::new());
