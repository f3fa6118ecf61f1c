//! How often steps are executed, and whether one is that was on record already.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use hive_core::id::TaskId;

use crate::queue::{OnStep, StepNews};

/// What became of every step, through all processes.
#[derive(Clone, Debug, Default)]
pub(super) struct Steps {
    book: Arc<Mutex<Book>>,
}

type Step = (TaskId, String);

#[derive(Debug, Default)]
struct Book {
    executions: BTreeMap<Step, u32>,
    /// On record.
    remembered: BTreeSet<Step>,
    /// A person has said that these may run again.
    free: BTreeSet<Step>,
    wrong: Vec<String>,
}

impl Steps {
    /// What a hive tells this book by.
    pub(super) fn hook(&self) -> OnStep {
        let steps = self.clone();
        Arc::new(move |task, key, news| steps.hear(task, key, news))
    }

    fn hear(&self, task: TaskId, key: &str, news: StepNews) {
        let (mut book, step) = (self.book(), (task, key.to_owned()));
        if news == StepNews::Remembered {
            book.remembered.insert(step);
            return;
        }
        let times = book.executions.entry(step.clone()).or_default();
        *times += 1;
        let again = *times > 1;
        let freed = book.free.remove(&step);
        if book.remembered.contains(&step) {
            book.wrong.push(format!("{key} was on record and was executed again"));
        } else if news == StepNews::BeginsOnce && again && !freed {
            book.wrong.push(format!("{key} must not run twice and did"));
        }
    }

    /// These are on record, whether their runs have heard so or not; no others are.
    pub(super) fn settle(&self, remembered: BTreeSet<Step>) {
        self.book().remembered = remembered;
    }

    /// A person lets this one run again.
    pub(super) fn set_free(&self, task: TaskId, key: &str) {
        let (mut book, step) = (self.book(), (task, key.to_owned()));
        book.remembered.remove(&step);
        book.free.insert(step);
    }

    /// How often each was executed.
    pub(super) fn executions(&self) -> BTreeMap<(TaskId, String), u32> {
        self.book().executions.clone()
    }

    /// What happened that must not.
    pub(super) fn wrong(&self) -> Vec<String> {
        self.book().wrong.clone()
    }

    fn book(&self) -> MutexGuard<'_, Book> {
        self.book.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
