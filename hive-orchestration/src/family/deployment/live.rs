//! What is in place where: a row for each service of an environment, which outlives the tasks.

use hive_core::clock::Timestamp;
use hive_core::db::{Snapshot, Tx};
use hive_core::id::TaskId;
use hive_errors::Result;

use crate::family::Owner;
use crate::limits;
use crate::task::query::TaskSummary;

/// Asks what is in place in an environment; an environment's name alone asks for the tenant `default`. See
/// [`Hive::deployed`](crate::Hive::deployed).
#[derive(Clone, Debug)]
pub struct LiveQuery {
    tenant: String,
    environment: String,
    service: Option<String>,
    after: String,
    limit: usize,
}

impl LiveQuery {
    /// Everything in this environment, by service.
    pub fn new(environment: impl Into<String>) -> Self {
        Self {
            tenant: hive_bus::TENANT_DEFAULT.to_owned(),
            environment: environment.into(),
            service: None,
            after: String::new(),
            limit: limits::RECORDS_PAGE,
        }
    }

    /// Of this tenant; `default` unless set.
    #[must_use]
    pub fn tenant(mut self, tenant: impl Into<String>) -> Self {
        self.tenant = tenant.into();
        self
    }

    /// This service only.
    #[must_use]
    pub fn service(mut self, service: impl Into<String>) -> Self {
        self.service = Some(service.into());
        self
    }

    /// Goes on behind this service, where a page ended.
    #[must_use]
    pub fn after(mut self, service: impl Into<String>) -> Self {
        self.after = service.into();
        self
    }

    /// So many at most; [`RECORDS_PAGE`](crate::limits::RECORDS_PAGE) unless set, and no more than that.
    #[must_use]
    pub fn limit(mut self, limit: usize) -> Self {
        self.limit = limit.clamp(1, limits::RECORDS_PAGE);
        self
    }
}

impl From<&str> for LiveQuery {
    fn from(environment: &str) -> Self {
        Self::new(environment)
    }
}

/// Some of what is in place.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct LivePage {
    /// By service.
    pub services: Vec<Live>,
    /// The service behind which to go on; `None` when these were the last.
    pub next: Option<String>,
}

/// A service that is in place.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Live {
    /// Where.
    pub environment: String,
    /// What.
    pub service: String,
    /// In which version.
    pub version: String,
    /// Whether the deployment said for the last time that it is well.
    pub healthy: bool,
    /// Since when.
    pub since: Timestamp,
    /// The task that put it there, unless that is forgotten, or nobody knows which it was.
    pub task: Option<TaskSummary>,
}

/// What is in place.
pub(crate) fn deployed(db: &Snapshot<'_>, query: &LiveQuery) -> Result<LivePage> {
    let only = &query.service;
    let (after, last) = match only {
        Some(_) => ("", 1),
        None => (query.after.as_str(), (query.limit as u64).saturating_add(1)),
    };
    let mut services = db.query(
        &statement(only.is_some()),
        &[
            &query.tenant,
            &query.environment,
            &only.as_deref().unwrap_or(after),
            &last,
        ],
        |row| {
            let known = row.get::<Option<TaskId>>(4)?;
            Ok(Live {
                environment: query.environment.clone(),
                service: row.get(0)?,
                version: row.get(1)?,
                healthy: row.get(2)?,
                since: row.get(3)?,
                task: known.map(|_| TaskSummary::read(row, 4)).transpose()?,
            })
        },
    )?;
    let next = if services.len() > query.limit {
        services.truncate(query.limit);
        services.last().map(|live| live.service.clone())
    } else {
        None
    };
    Ok(LivePage { services, next })
}

/// Parameters: tenant, environment, the service or the one behind which to begin, how many.
pub(in crate::family) fn statement(only: bool) -> String {
    let relation = if only { "=" } else { ">" };
    format!(
        "SELECT d.service, d.version, d.healthy, d.since, {} FROM deployed AS d LEFT JOIN task ON task.seq = d.task
         WHERE d.tenant = ?1 AND d.environment = ?2 AND d.service {relation} ?3 ORDER BY d.service LIMIT ?4",
        TaskSummary::COLUMNS
    )
}

/// Takes note that a service is in place no more; `false` when it was not.
pub(crate) fn retire(tx: &mut Tx<'_>, tenant: &str, environment: &str, service: &str) -> Result<bool> {
    let gone = tx.execute(
        "DELETE FROM deployed WHERE tenant = ?1 AND environment = ?2 AND service = ?3",
        &[&tenant, &environment, &service],
    )?;
    Ok(gone > 0)
}

/// One service in one environment, of one tenant.
#[derive(Clone, Copy)]
pub(super) struct Place<'a> {
    pub(super) owner: &'a Owner,
    pub(super) environment: &'a str,
    pub(super) service: &'a str,
}

impl Place<'_> {
    /// Which version is in place, and by which task.
    pub(super) fn look(self, db: &Snapshot<'_>) -> Result<Option<(String, Option<i64>)>> {
        db.query_opt(
            "SELECT version, task FROM deployed WHERE tenant = ?1 AND environment = ?2 AND service = ?3",
            &[&self.owner.tenant, &self.environment, &self.service],
            |row| Ok((row.get(0)?, row.get(1)?)),
        )
    }

    /// The task's version is in place from now on.
    pub(super) fn put(self, tx: &mut Tx<'_>, version: &str, healthy: bool, now: Timestamp) -> Result<()> {
        tx.execute(
            "INSERT INTO deployed (tenant, environment, service, version, healthy, task, since)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)
             ON CONFLICT (tenant, environment, service) DO UPDATE SET version = excluded.version, healthy = excluded.healthy,
                 task = excluded.task, since = excluded.since",
            &[
                &self.owner.tenant,
                &self.environment,
                &self.service,
                &version,
                &healthy,
                &self.owner.seq,
                &now,
            ],
        )?;
        Ok(())
    }

    /// What the task has put in place is well, or is not, if it is still there.
    pub(super) fn turn(self, tx: &mut Tx<'_>, healthy: bool) -> Result<()> {
        tx.execute(
            "UPDATE deployed SET healthy = ?5 WHERE tenant = ?1 AND environment = ?2 AND service = ?3 AND task = ?4",
            &[
                &self.owner.tenant,
                &self.environment,
                &self.service,
                &self.owner.seq,
                &healthy,
            ],
        )?;
        Ok(())
    }

    /// An earlier version is in place again, put there by the task `by`; unless another deployment has come in between, to what is
    /// there now or to what was there when this one began (`replaced`).
    pub(super) fn put_back(
        self,
        tx: &mut Tx<'_>,
        version: &str,
        by: Option<i64>,
        replaced: Option<i64>,
        now: Timestamp,
    ) -> Result<()> {
        tx.execute(
            "INSERT INTO deployed (tenant, environment, service, version, healthy, task, since)
             VALUES (?1, ?2, ?3, ?4, 1, ?5, ?6)
             ON CONFLICT (tenant, environment, service) DO UPDATE SET version = excluded.version, healthy = 1,
                 task = excluded.task, since = CASE
                     WHEN deployed.version = excluded.version AND deployed.task IS NOT DISTINCT FROM excluded.task
                     THEN deployed.since ELSE excluded.since END
             WHERE deployed.task = ?7 OR deployed.task IS NOT DISTINCT FROM ?8",
            &[
                &self.owner.tenant,
                &self.environment,
                &self.service,
                &version,
                &by,
                &now,
                &self.owner.seq,
                &replaced,
            ],
        )?;
        Ok(())
    }

    /// What the task has put in place is gone and nothing was there before.
    pub(super) fn clear(self, tx: &mut Tx<'_>) -> Result<()> {
        tx.execute(
            "DELETE FROM deployed WHERE tenant = ?1 AND environment = ?2 AND service = ?3 AND task = ?4",
            &[&self.owner.tenant, &self.environment, &self.service, &self.owner.seq],
        )?;
        Ok(())
    }
}
