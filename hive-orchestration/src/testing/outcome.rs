//! What came of it: everything that must not depend on when processes died.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::{self, Write};

use hive_core::db::Snapshot;
use hive_core::id::TaskId;
use hive_core::payload::Payload;
use hive_errors::Result;

use super::tables;
use crate::journal::Kind;
use crate::task::TaskState;

/// What came of a hive's work, without the times and ids that differ from run to run.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Outcome {
    /// The tasks. A root is named by its agent and its idempotency key, or a number where it has none; a child by its parent, the call
    /// and its place in it.
    pub tasks: BTreeMap<String, TaskOutcome>,
    /// How many events there are of each type that tells of a result: of the ends of tasks, and of whatever agents said themselves.
    pub events: BTreeMap<String, u64>,
    /// The rows of tables that are not the hive's own, as SQL literals.
    pub tables: BTreeMap<String, Vec<String>>,
}

/// What came of a task.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct TaskOutcome {
    /// Whose it was.
    pub agent: String,
    /// Where it stands.
    pub state: TaskState,
    /// What it returned, as JSON.
    pub output: Option<String>,
    /// What it remembers, by key.
    pub remembered: BTreeMap<String, Remembered>,
}

/// An entry of a task's journal that is over.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Remembered {
    /// What made it: `step`, `transaction`, `sleep`, `wait`, `call` and their kin.
    pub kind: &'static str,
    /// Its value, as JSON. None where there is none, as of a timer.
    pub value: Option<String>,
}

impl Remembered {
    /// An answer comes with its time, which is another in each run.
    fn forget_when(&mut self) {
        let Some(Ok(mut value)) = self.value.as_deref().map(serde_json::from_str::<serde_json::Value>) else {
            return;
        };
        if self.kind == "wait"
            && let Some(answer) = value.as_object_mut()
            && answer.contains_key("value")
            && answer.remove("at").is_some()
        {
            self.value = Some(value.to_string());
        }
    }
}

/// Types of events that tell how work went and not what came of it.
const ON_THE_WAY: [&str; 3] = ["task.", "agent.", "system."];

/// Of those, types that tell what came of it.
const ENDS: [&str; 3] = ["task.succeeded", "task.cancelled", "task.dead"];

impl Outcome {
    /// Reads it. `own` are the hive's own tables.
    pub(super) fn read(db: &Snapshot<'_>, own: &BTreeSet<String>) -> Result<Self> {
        let (tasks, names) = tasks(db)?;
        let mut outcome = Self {
            tasks,
            ..Self::default()
        };
        for task in outcome.tasks.values_mut() {
            for entry in task.remembered.values_mut() {
                entry.forget_when();
            }
            let entries = task.remembered.values_mut().filter_map(|entry| entry.value.as_mut());
            for text in entries.chain(&mut task.output) {
                *text = names.put_into(text);
            }
        }
        db.each("SELECT type, count(*) FROM event GROUP BY type", &[], |row| {
            let name = row.get::<String>(0)?;
            if ENDS.contains(&name.as_str()) || !ON_THE_WAY.iter().any(|start| name.starts_with(start)) {
                outcome.events.insert(name, row.get(1)?);
            }
            Ok(true)
        })?;
        for table in tables::names(db)?.into_iter().filter(|table| !own.contains(table)) {
            let mut rows: Vec<String> = tables::rows(db, &table)?
                .iter()
                .map(|row| names.put_into(row))
                .collect();
            rows.sort_unstable();
            outcome.tables.insert(table, rows);
        }
        Ok(outcome)
    }

    /// The same without what depends on who won a race: only the roots' results.
    pub(super) fn results(mut self) -> Self {
        self.tasks.retain(|path, _| !path.contains('/'));
        for task in self.tasks.values_mut() {
            task.remembered.clear();
        }
        self.events.clear();
        self.tables.clear();
        self
    }

    /// In what `other` differs, in words; `None` when it does not.
    pub(super) fn difference(&self, other: &Self) -> Option<String> {
        let (one, two) = (self.to_string(), other.to_string());
        if one == two {
            return None;
        }
        let (left, right): (BTreeSet<&str>, BTreeSet<&str>) = (one.lines().collect(), two.lines().collect());
        let mut said = String::new();
        for line in left.difference(&right) {
            // Writing to a string cannot fail.
            let _written = writeln!(said, "  without a crash: {line}");
        }
        for line in right.difference(&left) {
            let _written = writeln!(said, "  with it:         {line}");
        }
        Some(said)
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (path, task) in &self.tasks {
            write!(f, "{path}: {:?}", task.state)?;
            writeln!(f, " {}", task.output.as_deref().unwrap_or("-"))?;
            for (key, entry) in &task.remembered {
                writeln!(f, "{path} remembers {key} = {}", entry.value.as_deref().unwrap_or("-"))?;
            }
        }
        for (name, count) in &self.events {
            writeln!(f, "{count} events {name}")?;
        }
        for (table, rows) in &self.tables {
            writeln!(f, "{} rows of {table}", rows.len())?;
            for row in rows {
                writeln!(f, "{table}: {row}")?;
            }
        }
        Ok(())
    }
}

/// The names of tasks, for where their ids stand: those differ from run to run.
#[derive(Debug, Default)]
struct Names {
    paths: BTreeMap<TaskId, String>,
}

impl Names {
    /// The text, with a name in the place of each id, whether that is written as a text or as a literal of its bytes.
    fn put_into(&self, text: &str) -> String {
        let (mut done, mut rest) = (String::new(), text);
        while let Some(at) = [rest.find("task_"), rest.find("X'")].into_iter().flatten().min() {
            let (before, from) = rest.split_at(at);
            done.push_str(before);
            // Characters of an id, or of 16 bytes between their quotes.
            let found = [31, 35].into_iter().find_map(|length| {
                let id = from.get(..length)?;
                Some((self.paths.get(&parsed(id)?)?, length))
            });
            let (said, length) = found.map_or((from.get(..2).unwrap_or(from), 2), |(path, length)| (path, length));
            done.push_str(said);
            rest = from.get(length..).unwrap_or_default();
        }
        done.push_str(rest);
        done
    }
}

fn parsed(id: &str) -> Option<TaskId> {
    let Some(digits) = id.strip_prefix("X'").and_then(|rest| rest.strip_suffix('\'')) else {
        return id.parse().ok();
    };
    let mut bytes = [0; 16];
    for (number, byte) in bytes.iter_mut().enumerate() {
        *byte = u8::from_str_radix(digits.get(2 * number..2 * number + 2)?, 16).ok()?;
    }
    (digits.len() == 32).then(|| TaskId::from_bytes(bytes))
}

fn tasks(db: &Snapshot<'_>) -> Result<(BTreeMap<String, TaskOutcome>, Names)> {
    let mut names = Names::default();
    let mut paths: BTreeMap<i64, String> = BTreeMap::new();
    let mut all = BTreeMap::new();
    // A parent's number is smaller than its children's.
    db.each(
        "SELECT seq, parent, call, ordinal, agent, idempotency, state, output, id FROM task
         LEFT JOIN task_output ON task_output.task = task.seq ORDER BY seq",
        &[],
        |row| {
            let (seq, agent) = (row.get::<i64>(0)?, row.get::<String>(4)?);
            let parent = row.get::<Option<i64>>(1)?.and_then(|parent| paths.get(&parent));
            let mut path = match (parent, row.get::<Option<String>>(5)?) {
                (Some(parent), _) => {
                    let call = row.get::<Option<String>>(2)?.unwrap_or_default();
                    format!("{parent}/{call}.{}", row.get::<i64>(3)?)
                }
                (None, Some(key)) => format!("{agent}({key})"),
                (None, None) => format!("{agent}()"),
            };
            let mut number = 1;
            while all.contains_key(&path) {
                number += 1;
                path = format!("{agent}({number})");
            }
            paths.insert(seq, path.clone());
            names.paths.insert(row.get(8)?, path.clone());
            let outcome = TaskOutcome {
                agent,
                state: TaskState::from_code(row.get(6)?)?,
                output: row.get::<Option<Payload>>(7)?.as_ref().map(text),
                remembered: remembered(db, seq)?,
            };
            all.insert(path, outcome);
            Ok(true)
        },
    )?;
    Ok((all, names))
}

pub(super) fn remembered(db: &Snapshot<'_>, seq: i64) -> Result<BTreeMap<String, Remembered>> {
    let entries = db.query(
        // Resolved (1) or done (2): whether the run has taken it in is of no account.
        "SELECT key, kind, value FROM journal WHERE task = ?1 AND state IN (1, 2)",
        &[&seq],
        |row| {
            let entry = Remembered {
                kind: Kind::from_code(row.get(1)?)?.word(),
                value: row.get::<Option<Payload>>(2)?.as_ref().map(text),
            };
            Ok((row.get::<String>(0)?, entry))
        },
    )?;
    Ok(entries.into_iter().collect())
}

/// Which steps are on record, of all tasks.
pub(super) fn steps(db: &Snapshot<'_>) -> Result<BTreeSet<(TaskId, String)>> {
    let steps = db.query(
        "SELECT t.id, j.key FROM journal j JOIN task t ON t.seq = j.task WHERE j.state = 2 AND j.kind IN (0, 1)",
        &[],
        |row| Ok((row.get(0)?, row.get(1)?)),
    )?;
    Ok(steps.into_iter().collect())
}

fn text(payload: &Payload) -> String {
    String::from_utf8_lossy(payload.as_bytes()).into_owned()
}
