//! The rows of deployments and their checks.

use hive_bus::NewEvent;
use hive_bus::catalog::{
    DeploymentFailed, DeploymentRequested, DeploymentReverted, DeploymentStarted, DeploymentSucceeded,
};
use hive_core::clock::Timestamp;
use hive_core::db::{Cell, Kind, Row, Set, Snapshot, Tx};
use hive_errors::{Error, ErrorKind, Failure, Result};

use super::live::Place;
use super::{Deployment, DeploymentQuery, DeploymentRecord, Fault, HealthCheck, Rollout, Status, Verb};
use crate::family::page::{OWN, Page};
use crate::family::{Owner, clipped, missing, refused};
use crate::limits;
use crate::task::query::TaskSummary;

const FAMILY: &str = "deployment";

/// One page of the deployments that are asked for.
pub(crate) fn list(db: &Snapshot<'_>, query: &DeploymentQuery) -> Result<Page<DeploymentRecord>> {
    let mut page = query.search().page(db, &query.narrow, read)?;
    for (seq, deployment) in &mut page.records {
        deployment.checks = checks(db, *seq)?;
    }
    Ok(page.plain())
}

fn read(row: &Row<'_>, task: TaskSummary) -> Result<DeploymentRecord> {
    let fault = match row.get::<Option<String>>(OWN + 8)? {
        Some(code) => Some(Fault {
            code,
            message: row.get(OWN + 9)?,
        }),
        None => None,
    };
    Ok(DeploymentRecord {
        status: Status::from_code(row.get(OWN + 5)?)?.with(task.state),
        task,
        deployment: Deployment {
            environment: row.get(OWN)?,
            service: row.get(OWN + 1)?,
            version: row.get(OWN + 2)?,
            rollout: Rollout::from_code(row.get(OWN + 3)?)?,
            requested_by: row.get(OWN + 4)?,
        },
        previous: row.get(OWN + 6)?,
        restored: row.get(OWN + 7)?,
        fault,
        checks: Vec::new(),
        changed_at: row.get(OWN + 10)?,
        started_at: row.get(OWN + 11)?,
        ended_at: row.get(OWN + 12)?,
    })
}

fn checks(db: &Snapshot<'_>, task: i64) -> Result<Vec<HealthCheck>> {
    db.query(
        "SELECT name, healthy, detail, times, at FROM task_check WHERE task = ?1 ORDER BY name",
        &[&task],
        |row| {
            Ok(HealthCheck {
                name: row.get(0)?,
                healthy: row.get(1)?,
                detail: row.get(2)?,
                times: row.get(3)?,
                at: row.get(4)?,
            })
        },
    )
}

static DEPLOYMENTS: Set = Set::insert(
    "task_deployment",
    &[
        ("task", Kind::Int),
        ("environment", Kind::Text),
        ("service", Kind::Text),
        ("version", Kind::Text),
        ("rollout", Kind::Int),
        ("requested_by", Kind::Text),
        ("changed_at", Kind::Int),
    ],
);

pub(in crate::family) fn attach(
    tx: &mut Tx<'_>,
    deployments: &[(&Owner, &Deployment)],
    now: Timestamp,
) -> Result<Vec<NewEvent>> {
    let row = |(owner, deployment): &(&Owner, &Deployment)| {
        [
            Cell::Int(owner.seq),
            Cell::of(&deployment.environment),
            Cell::of(&deployment.service),
            Cell::of(&deployment.version),
            Cell::Int(deployment.rollout.code()),
            Cell::of(&deployment.requested_by),
            Cell::of(&now),
        ]
    };
    tx.insert_all(&DEPLOYMENTS, &deployments.iter().map(row).collect::<Vec<_>>())?;
    let requested = |(owner, deployment): &(&Owner, &Deployment)| {
        owner.event(&DeploymentRequested {
            task: owner.id,
            environment: deployment.environment.clone(),
            version: deployment.version.clone(),
            by: deployment.requested_by.clone(),
        })
    };
    deployments.iter().map(requested).collect()
}

/// What stands in a deployment's row, as far as a verb wants to know.
struct Known {
    environment: String,
    service: String,
    version: String,
    status: Status,
    previous: Option<String>,
    replaced: Option<i64>,
}

fn known(db: &Snapshot<'_>, task: i64) -> Result<Known> {
    let known = db.query_opt(
        "SELECT environment, service, version, status, previous, replaced FROM task_deployment WHERE task = ?1",
        &[&task],
        |row| {
            Ok(Known {
                environment: row.get(0)?,
                service: row.get(1)?,
                version: row.get(2)?,
                status: Status::from_code(row.get(3)?)?,
                previous: row.get(4)?,
                replaced: row.get(5)?,
            })
        },
    )?;
    known.ok_or_else(|| missing(FAMILY))
}

impl Verb {
    pub(in crate::family) fn apply(&self, tx: &mut Tx<'_>, owner: &Owner, now: Timestamp) -> Result<Vec<NewEvent>> {
        let known = known(tx, owner.seq)?;
        let Some(status) = self.next(known.status) else {
            return Err(refused(FAMILY, &self.name(), format!("{:?}", known.status)));
        };
        let place = Place {
            owner,
            environment: &known.environment,
            service: &known.service,
        };
        let (task, environment, version) = (owner.id, known.environment.clone(), known.version.clone());
        let event = match self {
            Self::Begin => {
                let (previous, replaced) = place.look(tx)?.unzip();
                tx.execute(
                    "UPDATE task_deployment SET status = ?2, started_at = ?3, changed_at = ?3, previous = ?4, replaced = ?5
                     WHERE task = ?1",
                    &[&owner.seq, &status.code(), &now, &previous, &replaced.flatten()],
                )?;
                owner.event(&DeploymentStarted {
                    task,
                    environment,
                    version,
                })?
            }
            Self::Check { name, healthy, detail } => {
                note(tx, owner, name, *healthy, detail.as_deref(), now)?;
                return Ok(Vec::new());
            }
            Self::Succeed => {
                settle(tx, owner, status, None, now)?;
                stand(tx, place, &known, true, now)?;
                owner.event(&DeploymentSucceeded {
                    task,
                    environment,
                    version,
                })?
            }
            Self::Ail(failure) => {
                settle(tx, owner, status, Some(failure), now)?;
                stand(tx, place, &known, false, now)?;
                failed(owner, environment, version, failure)?
            }
            Self::Fail(failure) => {
                settle(tx, owner, status, Some(failure), now)?;
                failed(owner, environment, version, failure)?
            }
            Self::RollBack(to) => {
                let to = to.as_ref().or(known.previous.as_ref());
                tx.execute(
                    "UPDATE task_deployment SET status = ?2, restored = ?3, changed_at = ?4, ended_at = ?4 WHERE task = ?1",
                    &[&owner.seq, &status.code(), &to, &now],
                )?;
                match to {
                    Some(to) => {
                        let by = known.replaced.filter(|_| known.previous.as_ref() == Some(to));
                        place.put_back(tx, to, by, known.replaced, now)?;
                    }
                    None => place.clear(tx)?,
                }
                owner.event(&DeploymentReverted {
                    task,
                    environment,
                    version,
                    to: to.cloned(),
                })?
            }
        };
        Ok(vec![event])
    }
}

/// The version has come to stand where it was to go, well or not; or it stands there and its health has changed.
fn stand(tx: &mut Tx<'_>, place: Place<'_>, known: &Known, healthy: bool, now: Timestamp) -> Result<()> {
    if known.status == Status::InProgress {
        place.put(tx, &known.version, healthy, now)
    } else {
        place.turn(tx, healthy)
    }
}

fn settle(tx: &mut Tx<'_>, owner: &Owner, status: Status, failure: Option<&Failure>, now: Timestamp) -> Result<()> {
    let code = failure.map(|failure| failure.kind().code());
    let message = failure.map(|failure| clipped(failure.message()));
    // Why it was not well stands also when it is again.
    tx.execute(
        "UPDATE task_deployment SET status = ?2, code = coalesce(?3, code), message = coalesce(?4, message), changed_at = ?5,
                ended_at = ?5
         WHERE task = ?1",
        &[&owner.seq, &status.code(), &code, &message, &now],
    )?;
    Ok(())
}

fn note(tx: &mut Tx<'_>, owner: &Owner, name: &str, healthy: bool, detail: Option<&str>, now: Timestamp) -> Result<()> {
    tx.execute(
        "INSERT INTO task_check (task, name, healthy, detail, times, at) VALUES (?1, ?2, ?3, ?4, 1, ?5)
         ON CONFLICT (task, name) DO UPDATE SET healthy = excluded.healthy, detail = excluded.detail,
             times = task_check.times + 1, at = excluded.at",
        &[&owner.seq, &name, &healthy, &detail, &now],
    )?;
    tx.execute(
        "UPDATE task_deployment SET changed_at = ?2 WHERE task = ?1",
        &[&owner.seq, &now],
    )?;
    let count = tx.query_one(
        "SELECT count(*) FROM task_check WHERE task = ?1",
        &[&owner.seq],
        |row| row.get::<u64>(0),
    )?;
    if count > limits::CHECKS as u64 {
        return Err(
            Error::new(ErrorKind::LimitReached, "the deployment has too many checks")
                .with("field", "check")
                .with("limit", limits::CHECKS)
                .with_hint("a check that is made again keeps its name"),
        );
    }
    Ok(())
}

pub(in crate::family) fn failed(
    owner: &Owner,
    environment: String,
    version: String,
    failure: &Failure,
) -> Result<NewEvent> {
    owner.event(&DeploymentFailed {
        task: owner.id,
        environment,
        version,
        code: failure.kind().code().to_owned(),
        message: clipped(failure.message()),
    })
}
