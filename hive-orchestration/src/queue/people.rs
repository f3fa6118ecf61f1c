//! What waits for people: questions that nobody has answered, steps on which nobody has decided.

use hive_core::clock::Timestamp;
use hive_core::db::{Snapshot, ToValue};
use hive_errors::Result;

use super::read;
use crate::limits;
use crate::task::question::{Interrupt, Interruption, InterruptionCursor, InterruptionPage, InterruptionQuery};

// A note stands in the journal while somebody is waited for, and no longer; of tasks that have ended it may be left over, and not every
// one is for people. `CROSS JOIN`
// fixes the order of the loops on SQLite: of all tasks that there are, few wait for people.
const LIST: &str =
    "SELECT task.id, task.root, task.agent, task.tenant, task.seq, journal.key, journal.state, journal.note, journal.signal,
            journal.wake_at, journal.at, task_note.progress
     FROM journal CROSS JOIN task LEFT JOIN task_note ON task_note.task = task.seq
     WHERE journal.note IS NOT NULL AND (journal.at, journal.task, journal.key) > (?2, ?3, ?4) AND task.seq = journal.task
     AND (journal.state = 3 OR journal.kind = 4 AND journal.state = 0) AND task.state < 4 AND (?5 = '' OR task.agent = ?5) AND (?6 = '' OR task.tenant = ?6)
     ORDER BY journal.at, journal.task, journal.key LIMIT ?1";

/// One page of the interruptions that are asked for.
pub(crate) fn list(db: &Snapshot<'_>, query: &InterruptionQuery) -> Result<InterruptionPage> {
    let limit = query.limit.unwrap_or(limits::INTERRUPTIONS_PAGE);
    let rows = (limit as u64).saturating_add(1);
    let none = InterruptionCursor {
        at: Timestamp::from_micros(-1),
        task: 0,
        key: String::new(),
    };
    let InterruptionCursor { at, task, key } = query.after.as_ref().unwrap_or(&none);
    let (agent, tenant) = (
        query.agent.as_deref().unwrap_or(""),
        query.tenant.as_deref().unwrap_or(""),
    );
    let params: [&dyn ToValue; 6] = [&rows, at, task, key, &agent, &tenant];
    let mut found = db.query(LIST, &params, |row| {
        let (seq, key, note) = (row.get::<i64>(4)?, row.get::<String>(5)?, row.get::<String>(7)?);
        let since = row.get(10)?;
        let on = if row.get::<i64>(6)? == 3 {
            Interrupt::Decision {
                step: key.clone(),
                report: note,
            }
        } else {
            Interrupt::Question {
                signal: row.get::<Option<String>>(8)?.unwrap_or_default(),
                question: read::parsed(&note)?,
                until: row.get(9)?,
            }
        };
        let interruption = Interruption {
            task: row.get(0)?,
            root: row.get(1)?,
            agent: row.get(2)?,
            tenant: row.get(3)?,
            since,
            on,
            progress: read::parse(row.get(11)?)?,
        };
        let cursor = InterruptionCursor {
            at: since,
            task: seq,
            key,
        };
        Ok((interruption, cursor))
    })?;
    let next = if found.len() > limit {
        found.truncate(limit);
        found.last().map(|(_, cursor)| cursor.clone())
    } else {
        None
    };
    Ok(InterruptionPage {
        interruptions: found.into_iter().map(|(interruption, _)| interruption).collect(),
        next,
    })
}
