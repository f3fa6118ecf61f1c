//! What the stand-in remembers of tasks: their steps and children, across attempts.

use std::collections::BTreeMap;

use crate::failure::Failure;

/// Names a step or a call: the task, its name and how many of that name came before it in this attempt.
type Key = (String, String, u32);

enum Step {
    /// Begun, and not finished when the attempt ended.
    Begun { once: bool },
    /// Finished with a result.
    Remembered(String),
}

/// The steps and children of every task so far.
#[derive(Default)]
pub(crate) struct Journal {
    task: Option<String>,
    occurrences: BTreeMap<(&'static str, String), u32>,
    steps: BTreeMap<Key, Step>,
    open: BTreeMap<u64, Key>,
    opened: u64,
    executed: Vec<String>,
    children: BTreeMap<Key, String>,
    outputs: BTreeMap<String, (String, Result<String, Failure>)>,
}

impl Journal {
    /// From here on, steps and calls are those of a new attempt at this task.
    pub(crate) fn enter(&mut self, task: &str) {
        self.leave();
        self.task = Some(task.to_owned());
    }

    /// The attempt is over, however it ended.
    pub(crate) fn leave(&mut self) {
        self.task = None;
        self.occurrences.clear();
        self.open.clear();
    }

    /// The names of the steps that were done, in order, over all attempts.
    pub(crate) fn executed(&self) -> &[String] {
        &self.executed
    }

    fn key(&mut self, kind: &'static str, name: &str) -> Result<Key, Failure> {
        let task = self.task.clone().ok_or_else(|| {
            Failure::terminal("steps and calls belong to a task, and none is being handled")
                .with(kind, name)
                .with_hint("run the plugin through `TestHost::load`, or wrap the call in `TestHost::attempt`")
        })?;
        let occurrence = self.occurrences.entry((kind, name.to_owned())).or_default();
        let key = (task, name.to_owned(), *occurrence);
        *occurrence += 1;
        Ok(key)
    }

    pub(super) fn begin(&mut self, name: &str, once: bool) -> Result<(u64, Option<String>), Failure> {
        let key = self.key("step", name)?;
        match self.steps.get(&key) {
            Some(Step::Remembered(text)) => return Ok((0, Some(text.clone()))),
            Some(Step::Begun { once: true }) => {
                return Err(Failure::terminal("nobody knows whether the step was done")
                    .with_code("indeterminate")
                    .with("step", name)
                    .with_hint("find out, then give the task the result or start it anew"));
            }
            Some(Step::Begun { once: false }) | None => {}
        }
        self.opened += 1;
        self.executed.push(name.to_owned());
        self.steps.insert(key.clone(), Step::Begun { once });
        self.open.insert(self.opened, key);
        Ok((self.opened, None))
    }

    pub(super) fn finish(&mut self, id: u64, result: Option<&str>) -> Result<(), Failure> {
        let key = self.open.remove(&id).ok_or_else(|| {
            Failure::terminal("no such step is being done")
                .with_code("invalid-input")
                .with("step", id)
        })?;
        match result {
            Some(text) => self.steps.insert(key, Step::Remembered(text.to_owned())),
            // The plugin says that it failed, so nothing is in doubt and another attempt may do it again.
            None => self.steps.remove(&key),
        };
        Ok(())
    }

    /// The id of the child that a call of this name has, and whether it exists already.
    pub(super) fn child(&mut self, name: &str) -> Result<(String, bool), Failure> {
        let key = self.key("call", name)?;
        if let Some(id) = self.children.get(&key) {
            return Ok((id.clone(), true));
        }
        let id = format!("task_child{}", self.children.len() + 1);
        self.children.insert(key, id.clone());
        Ok((id, false))
    }

    pub(super) fn end_child(&mut self, id: &str, output: Result<String, Failure>) {
        let parent = self.task.clone().unwrap_or_default();
        self.outputs.insert(id.to_owned(), (parent, output));
    }

    pub(super) fn join(&self, id: &str) -> Result<String, Failure> {
        match self.outputs.get(id) {
            Some((parent, output)) if Some(parent) == self.task.as_ref() => output.clone(),
            Some(_) | None => Err(Failure::terminal("this task started no such child")
                .with_code("not-found")
                .with("child", id)),
        }
    }
}
