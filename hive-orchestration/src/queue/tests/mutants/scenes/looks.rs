//! What is seen of tasks by whoever only looks.

use hive_errors::Result;

use super::super::super::super::read;
use super::super::stage::{Scene, Stage};
use super::{STATES, tasks};

pub(super) fn all() -> Vec<Scene> {
    vec![Scene::new("only what has not ended is open", only_open)]
}

fn only_open(stage: &mut Stage<'_, '_>) -> Result<()> {
    let before = read::latest(stage.tx)?;
    let all = tasks(stage, &STATES)?;
    let (found, latest) = (read::open(stage.tx, before, i64::MAX)?, read::latest(stage.tx)?);
    let open: Vec<_> = found.into_iter().map(|(id, _)| id).collect();
    let should: Vec<_> = all
        .iter()
        .filter(|(state, _)| *state < 4)
        .map(|(_, task)| task.id)
        .collect();
    stage.check("open", open, should);
    stage.check("the latest", Some(latest), all.last().map(|(_, task)| task.seq));
    Ok(())
}
