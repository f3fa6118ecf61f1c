//! Records a page at a time, the newest first, each with its task.

use hive_core::clock::Timestamp;
use hive_core::db::{Row, Snapshot, ToValue};
use hive_core::id::TaskId;
use hive_errors::Result;

use crate::lease::listed;
use crate::limits;
use crate::task::TaskState;
use crate::task::query::{TaskCursor, TaskSummary};

/// Some of the records that were asked for.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Page<R> {
    /// The newest first. A page may hold few of them, or none, and not be the last: one look at the table is bounded.
    pub records: Vec<R>,
    /// Where to go on; `None` when these were the last.
    pub next: Option<TaskCursor>,
}

/// What can be asked of every family.
#[derive(Clone, Debug, Default)]
pub(super) struct Narrow {
    pub(super) task: Option<TaskId>,
    pub(super) states: Vec<TaskState>,
    pub(super) agent: Option<String>,
    pub(super) tenant: Option<String>,
    pub(super) since: Option<Timestamp>,
    pub(super) before: Option<i64>,
    pub(super) limit: Option<usize>,
}

/// The methods of a query that every family has. The query has a field `narrow`.
macro_rules! narrows {
    ($Query:ident) => {
        impl $Query {
            /// Of this task.
            #[must_use]
            pub fn task(mut self, task: ::hive_core::id::TaskId) -> Self {
                self.narrow.task = Some(task);
                self
            }

            /// Whose task is in this state; given several times, in one of these.
            #[must_use]
            pub fn task_state(mut self, state: $crate::task::TaskState) -> Self {
                self.narrow.states.push(state);
                self
            }

            /// Whose task is for this agent.
            #[must_use]
            pub fn agent(mut self, agent: impl Into<String>) -> Self {
                self.narrow.agent = Some(agent.into());
                self
            }

            /// Of this tenant.
            #[must_use]
            pub fn tenant(mut self, tenant: impl Into<String>) -> Self {
                self.narrow.tenant = Some(tenant.into());
                self
            }

            /// Whose last change, the request included, was at this moment or later.
            #[must_use]
            pub fn since(mut self, moment: ::hive_core::clock::Timestamp) -> Self {
                self.narrow.since = Some(moment);
                self
            }

            /// Goes on where a page ended.
            #[must_use]
            pub fn after(mut self, cursor: $crate::task::query::TaskCursor) -> Self {
                self.narrow.before = Some(cursor.0);
                self
            }

            /// So many at most; [`RECORDS_PAGE`](crate::limits::RECORDS_PAGE) unless set, and no more than that.
            #[must_use]
            pub fn limit(mut self, limit: usize) -> Self {
                self.narrow.limit = Some(limit.clamp(1, $crate::limits::RECORDS_PAGE));
                self
            }
        }
    };
}

pub(super) use narrows;

/// How one family is searched.
pub(super) struct Search<'a> {
    /// The family's table; `r` in conditions.
    pub(super) table: &'static str,
    /// The record's columns, of `r`.
    pub(super) columns: &'static str,
    /// The first column of the index to go by, and the value wanted in it. Without, the table's own order.
    pub(super) key: Option<(&'static str, &'a dyn ToValue)>,
    /// Columns of `r` and the values wanted in them.
    pub(super) equal: Vec<(&'static str, &'a dyn ToValue)>,
    /// Further conditions, on `r` and `task`.
    pub(super) also: Vec<String>,
}

/// Where a record's own columns begin.
pub(super) const OWN: usize = 1 + TaskSummary::WIDTH;

/// The statements of a search, with what they need.
pub(super) struct Statements<'a> {
    /// Finds where the look ends: the number of the record behind the last that is looked at. Parameters: upper bound, then the key's
    /// value, if any.
    pub(super) look: Option<String>,
    /// Finds the records. Parameters: upper and lower bound, how many, then `params`.
    pub(super) page: String,
    pub(super) params: Vec<&'a dyn ToValue>,
}

impl<'a> Search<'a> {
    pub(super) fn statements(&self, narrow: &'a Narrow) -> Statements<'a> {
        let table = self.table;
        let mut params: Vec<&'a dyn ToValue> = Vec::new();
        // The bounds twice: PostgreSQL does not see that what holds for the one holds for the other.
        let bounds = "task.seq = r.task AND r.task < ?1 AND r.task > ?2 AND task.seq < ?1 AND task.seq > ?2";
        let mut conditions = vec![bounds.to_owned()];
        let mut want = |column: &str, relation: &str, value: &'a dyn ToValue| {
            params.push(value);
            conditions.push(format!("{column} {relation} ?{}", params.len() + 3));
        };
        if let Some((column, value)) = self.key {
            want(&format!("r.{column}"), "=", value);
        }
        let keyed = conditions_of(self.key.is_some());
        for (column, value) in &self.equal {
            want(&format!("r.{column}"), "=", *value);
        }
        for (column, value) in [("agent", &narrow.agent), ("tenant", &narrow.tenant)] {
            if let Some(value) = value {
                want(&format!("task.{column}"), "=", value);
            }
        }
        if let Some(since) = &narrow.since {
            want("r.changed_at", ">=", since);
        }
        conditions.extend(self.also.iter().cloned());
        if !narrow.states.is_empty() {
            let states = listed(narrow.states.iter().map(|state| state.code()));
            conditions.push(format!("task.state IN ({states})"));
        }
        // What is found by the index alone is found in as many rows as there are.
        let look = (conditions.len() > keyed && narrow.task.is_none()).then(|| {
            let key = self
                .key
                .map(|(column, _)| format!("r.{column} = ?2 AND "))
                .unwrap_or_default();
            format!(
                "SELECT r.task FROM {table} AS r WHERE {key}r.task < ?1 ORDER BY r.task DESC LIMIT 1 OFFSET {}",
                limits::TASKS_LOOK
            )
        });
        // `CROSS JOIN` fixes the order of the loops on SQLite: the other one looks at tasks that have no record.
        let page = format!(
            "SELECT r.task, {}, {} FROM {table} AS r CROSS JOIN task WHERE {} ORDER BY r.task DESC LIMIT ?3",
            TaskSummary::COLUMNS,
            self.columns,
            conditions.join(" AND ")
        );
        Statements { look, page, params }
    }

    /// One page, each with its task's number.
    pub(super) fn page<T>(
        &self,
        db: &Snapshot<'_>,
        narrow: &'a Narrow,
        mut read: impl FnMut(&Row<'_>, TaskSummary) -> Result<T>,
    ) -> Result<Page<(i64, T)>> {
        let limit = narrow.limit.unwrap_or(limits::RECORDS_PAGE);
        let (mut upper, mut lower) = (narrow.before.unwrap_or(i64::MAX), 0);
        if let Some(id) = narrow.task {
            let seq = db.query_opt("SELECT seq FROM task WHERE id = ?1", &[&id], |row| row.get::<i64>(0))?;
            // Of no task there is no record; numbers begin with one.
            let seq = seq.unwrap_or(0);
            upper = upper.min(seq.saturating_add(1));
            lower = seq.saturating_sub(1).max(0);
        }
        let Statements { look, page, params } = self.statements(narrow);
        let mut end = None;
        if let Some(look) = look {
            let mut given: Vec<&dyn ToValue> = vec![&upper];
            given.extend(self.key.map(|(_, value)| value));
            end = db.query_opt(&look, &given, |row| row.get::<i64>(0))?;
            lower = end.unwrap_or(lower);
        }
        let rows = (limit as u64).saturating_add(1);
        let mut given: Vec<&dyn ToValue> = vec![&upper, &lower, &rows];
        given.extend(params);
        let mut records = db.query(&page, &given, |row| {
            Ok((row.get::<i64>(0)?, read(row, TaskSummary::read(row, 1)?)?))
        })?;
        let next = if records.len() > limit {
            records.truncate(limit);
            records.last().map(|(seq, _)| TaskCursor(*seq))
        } else {
            end.map(|end| TaskCursor(end.saturating_add(1)))
        };
        Ok(Page { records, next })
    }
}

#[cfg(test)]
impl<'a> Search<'a> {
    /// How the engine goes about the statements, a line for each step.
    pub(super) fn explain(&self, db: &Snapshot<'_>, narrow: &'a Narrow) -> Vec<String> {
        use hive_core::db::Dialect;
        let Statements { look, page, params } = self.statements(narrow);
        let (word, column) = match db.dialect() {
            Dialect::Sqlite => ("EXPLAIN QUERY PLAN", 3),
            Dialect::Postgres => ("EXPLAIN", 0),
        };
        let plan = |sql: &str, given: &[&dyn ToValue]| {
            db.query(&format!("{word} {sql}"), given, |row| row.get::<String>(column))
                .unwrap()
        };
        let (upper, mut lower, rows) = (i64::MAX, 0_i64, limits::RECORDS_PAGE as u64 + 1);
        let mut lines = Vec::new();
        if let Some(look) = look {
            let mut given: Vec<&dyn ToValue> = vec![&upper];
            given.extend(self.key.map(|(_, value)| value));
            lines.extend(plan(&look, &given));
            lower = db.query_opt(&look, &given, |row| row.get(0)).unwrap().unwrap_or(0);
        }
        let mut given: Vec<&dyn ToValue> = vec![&upper, &lower, &rows];
        given.extend(params);
        lines.extend(plan(&page, &given));
        lines
    }
}

/// How many conditions go by the index.
const fn conditions_of(keyed: bool) -> usize {
    if keyed { 2 } else { 1 }
}

impl<R> Page<(i64, R)> {
    /// Without the numbers.
    pub(super) fn plain(self) -> Page<R> {
        Page {
            records: self.records.into_iter().map(|(_, record)| record).collect(),
            next: self.next,
        }
    }
}
