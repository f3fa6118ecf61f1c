//! Statements that a test changes before they run, to see whether anybody notices.

use std::borrow::Cow;
use std::cell::RefCell;
use std::sync::Arc;

use super::Tx;

type Change = Arc<dyn Fn(&str) -> Option<String> + Send + Sync>;

/// What stands in the place of a statement's text, if anything.
#[derive(Default)]
pub(super) struct Rewrite(RefCell<Option<Change>>);

impl Rewrite {
    /// The text that runs.
    pub(super) fn text<'s>(&self, sql: &'s str) -> Cow<'s, str> {
        match self.0.borrow().as_ref().and_then(|change| change(sql)) {
            Some(changed) => Cow::Owned(changed),
            None => Cow::Borrowed(sql),
        }
    }
}

impl Tx<'_> {
    /// Runs `work` with another text in the place of each statement for which `change` gives one. It is shown every statement,
    /// as it stands in the code, that is executed or queried; sets of rows are not shown.
    ///
    /// For tests of tests: a condition that can be taken out of a statement without a test's noticing is not tested.
    pub fn rewriting<T>(
        &mut self,
        change: impl Fn(&str) -> Option<String> + Send + Sync + 'static,
        work: impl FnOnce(&mut Self) -> T,
    ) -> T {
        let before = self.snapshot.rewrite.0.replace(Some(Arc::new(change)));
        let result = work(self);
        self.snapshot.rewrite.0.replace(before);
        result
    }
}
