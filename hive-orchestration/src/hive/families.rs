//! Questions about the records of tasks.

use hive_errors::Result;

use super::Hive;
use crate::family::Page;
use crate::family::deployment::{self, DeploymentQuery, DeploymentRecord, LivePage, LiveQuery};
use crate::family::review::{self, ReviewQuery, ReviewRecord};
use crate::family::workflow::{self, WorkflowQuery, WorkflowRecord};
use crate::queue;

impl Hive {
    /// Lists reviews with their tasks, the newest first, a page at a time.
    ///
    /// # Errors
    /// Those of [`Db::read`](hive_core::db::Db::read).
    pub async fn reviews(&self, query: ReviewQuery) -> Result<Page<ReviewRecord>> {
        self.shop().db.read(move |db| review::list(db, &query)).await
    }

    /// Lists workflows and their stages with their tasks, the newest first, a page at a time.
    ///
    /// # Errors
    /// Those of [`Db::read`](hive_core::db::Db::read).
    pub async fn workflows(&self, query: WorkflowQuery) -> Result<Page<WorkflowRecord>> {
        self.shop().db.read(move |db| workflow::list(db, &query)).await
    }

    /// Lists deployments and their checks with their tasks, the newest first, a page at a time.
    ///
    /// # Errors
    /// Those of [`Db::read`](hive_core::db::Db::read).
    pub async fn deployments(&self, query: DeploymentQuery) -> Result<Page<DeploymentRecord>> {
        self.shop().db.read(move |db| deployment::list(db, &query)).await
    }

    /// Lists what is in place in an environment, by service: `hive.deployed("production")`. It is what deployments have said, and it stands
    /// when their tasks are [forgotten](Hive::forget).
    ///
    /// # Errors
    /// Those of [`Db::read`](hive_core::db::Db::read).
    pub async fn deployed(&self, query: impl Into<LiveQuery>) -> Result<LivePage> {
        let query = query.into();
        self.shop().db.read(move |db| deployment::deployed(db, &query)).await
    }

    /// Takes note that a service is in place no more in an environment of a tenant; `false` when it was not.
    ///
    /// # Cancel safety
    /// Dropped, it may be noted or not.
    pub async fn retire(
        &self,
        tenant: impl Into<String>,
        environment: impl Into<String>,
        service: impl Into<String>,
    ) -> Result<bool> {
        let (tenant, environment, service) = (tenant.into(), environment.into(), service.into());
        queue::write(&self.shop().db, move |tx| {
            deployment::retire(tx, &tenant, &environment, &service)
        })
        .await
    }
}
