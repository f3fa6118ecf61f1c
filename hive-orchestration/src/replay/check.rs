//! Every open run of a database against the agents of this program.

use std::collections::HashMap;
use std::fmt;

use hive_core::db::Db;
use hive_core::id::TaskId;
use hive_errors::{Error, ErrorKind, Result};
use serde::{Deserialize, Serialize};
use tokio::task::JoinSet;

use super::Concern;
use super::drive::Stage;
use crate::agent::AnyAgent;
use crate::history;
use crate::limits;
use crate::queue::read;

/// What a check of all open runs found. Printed it is a summary for people.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Checked {
    /// How many open runs there were.
    pub runs: usize,
    /// How many of them would go on as they should.
    pub safe: usize,
    /// Those that would not, in the order of their submission; at most [`CHECK_FINDINGS`](crate::limits::CHECK_FINDINGS).
    pub findings: Vec<Finding>,
    /// How many more there are.
    pub left_out: usize,
}

/// A run that would not go on as it should.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Finding {
    /// Which task.
    pub task: TaskId,
    /// Its agent.
    pub agent: String,
    /// What is wrong.
    pub concerns: Vec<Concern>,
}

impl Checked {
    /// Whether every open run would go on as it should.
    pub fn is_clean(&self) -> bool {
        self.findings.is_empty() && self.left_out == 0
    }

    fn add(&mut self, finding: Finding) {
        self.runs += 1;
        if finding.concerns.is_empty() {
            self.safe += 1;
        } else if self.findings.len() < limits::CHECK_FINDINGS {
            self.findings.push(finding);
        } else {
            self.left_out += 1;
        }
    }
}

impl fmt::Display for Checked {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{} open runs, {} of them safe", self.runs, self.safe)?;
        for finding in &self.findings {
            writeln!(f, "{} of {}", finding.task, finding.agent)?;
            for concern in &finding.concerns {
                writeln!(f, "  {concern}")?;
            }
        }
        if self.left_out > 0 {
            writeln!(f, "and {} more", self.left_out)?;
        }
        Ok(())
    }
}

/// Replays every open run in the database against these agents, as [`Builder::check`](crate::builders::Builder::check) does. The database may
/// be one on which hives are running, this process's or others': it is only read. Runs that begin, go on or end meanwhile are seen as they
/// were when their turn came.
///
/// # Errors
/// `conflict` when two agents share a name; those of [`Db::read`].
///
/// # Cancel safety
/// Dropped, nothing is left of it.
pub async fn check_on(db: &Db, agents: impl IntoIterator<Item = impl Into<AnyAgent>>) -> Result<Checked> {
    let mut known = HashMap::new();
    for agent in agents {
        let agent: AnyAgent = agent.into();
        if let Some(twice) = known.insert(agent.name().to_owned(), agent) {
            return Err(Error::new(ErrorKind::Conflict, "two agents have the same name").with("agent", twice.name()));
        }
    }
    let stage = Stage::new();
    let mut checked = Checked::default();
    let (last, mut after) = (db.read(read::latest).await?, 0);
    while after < last {
        let upto = last.min(after.saturating_add(limits::CHECK_LOOK));
        let open = db.read(move |db| read::open(db, after, upto)).await?;
        check_some(db, &stage, &known, open, &mut checked).await?;
        after = upto;
    }
    Ok(checked)
}

/// Checks several at the same time, and keeps them in order.
async fn check_some(
    db: &Db,
    stage: &Stage,
    agents: &HashMap<String, AnyAgent>,
    open: Vec<(TaskId, String)>,
    checked: &mut Checked,
) -> Result<()> {
    let mut open = open.into_iter().enumerate();
    let (mut going, mut done, mut next) = (JoinSet::new(), HashMap::new(), 0);
    loop {
        while going.len() < limits::CHECK_PARALLEL
            && let Some((place, (task, name))) = open.next()
        {
            let (db, stage, agent) = (db.clone(), stage.clone(), agents.get(&name).cloned());
            going.spawn(async move {
                let concerns = match agent {
                    None => Ok(vec![Concern::NoAgent]),
                    Some(agent) => concerns(&db, &stage, &agent, task).await,
                };
                let finding = concerns.map(|concerns| Finding {
                    task,
                    agent: name,
                    concerns,
                });
                (place, finding)
            });
        }
        let Some(joined) = going.join_next().await else {
            return Ok(());
        };
        let (place, finding) = joined.map_err(|e| Error::new(ErrorKind::Panic, "a check died").with_source(e))?;
        match finding {
            Ok(finding) => drop(done.insert(place, Some(finding))),
            // It was forgotten meanwhile.
            Err(error) if error.kind() == ErrorKind::NotFound => drop(done.insert(place, None)),
            Err(error) => return Err(error),
        }
        while let Some(finding) = done.remove(&next) {
            if let Some(finding) = finding {
                checked.add(finding);
            }
            next += 1;
        }
    }
}

async fn concerns(db: &Db, stage: &Stage, agent: &AnyAgent, task: TaskId) -> Result<Vec<Concern>> {
    let history = match db.read(move |db| history::read(db, task)).await {
        Ok(history) => history,
        Err(error) if [ErrorKind::PayloadTooLarge, ErrorKind::Corrupt].contains(&error.kind()) => {
            return Ok(vec![Concern::Unchecked {
                reason: error.to_string(),
            }]);
        }
        Err(error) => return Err(error),
    };
    if history.state.is_final() {
        return Ok(Vec::new());
    }
    Ok(stage.replay(agent, &history).await?.concerns())
}
