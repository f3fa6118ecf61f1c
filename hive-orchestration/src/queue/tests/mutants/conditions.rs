//! The conditions in the sources, and the same statements without them.

use std::collections::BTreeMap;
use std::fmt;

use hive_core::db::Dialect;

use super::super::plans::{is_postgres, is_statement, literals};

/// What a condition is about when it holds somebody off.
const WORDS: [&str; 4] = ["state", "attempt", "epoch", "ended_at"];

/// Where a condition ends, outside of parentheses.
const ENDS: [&str; 10] = [
    "AND",
    "OR",
    "ORDER",
    "LIMIT",
    "RETURNING",
    "FOR",
    "GROUP",
    "UNION",
    "WHERE",
    "ON",
];

/// A statement and how it reads without one of its conditions.
#[derive(Clone, Debug)]
pub(super) struct Mutant {
    pub(super) sql: String,
    pub(super) changed: String,
    condition: String,
    /// What stands around the condition, which may come twice in a statement.
    before: String,
}

impl Mutant {
    /// Whether the engine runs the statement; of those that another engine has in another text this is not known.
    pub(super) fn is_of(&self, engine: Dialect) -> bool {
        is_postgres(&self.sql) == (engine == Dialect::Postgres)
    }

    pub(super) fn is_at(&self, words: &str, condition: &str) -> bool {
        self.condition == condition && self.before.ends_with(words)
    }
}

impl fmt::Display for Mutant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "`{}` after `{}`", self.condition, self.before)
    }
}

/// Every statement of the crate without each of its conditions in turn.
pub(super) fn mutants() -> Vec<Mutant> {
    let mut found = BTreeMap::new();
    for sql in literals()
        .into_iter()
        .filter(|text| is_statement(text) && !is_of_record(text))
    {
        for (start, end) in conditions(&sql) {
            let (before, condition, behind) = (&sql[..start], &sql[start..end], &sql[end..]);
            if !is_about(condition) {
                continue;
            }
            // Its parameters stay, so that the statement is still run.
            let changed = format!("{before}({condition} OR true){behind}");
            let mutant = Mutant {
                condition: one_line(condition),
                before: one_line(before),
                changed,
                sql: sql.clone(),
            };
            found.insert((sql.clone(), start), mutant);
        }
    }
    found.into_values().collect()
}

/// Whether it asks about the records of [families](crate::family): their states say nothing of runs, and whoever changes them is held
/// off by the lease, before.
fn is_of_record(text: &str) -> bool {
    ["task_stage", "task_workflow", "task_deployment", "r.status"]
        .iter()
        .any(|word| text.contains(word))
}

/// Texts with a condition that are put together to statements at run time. They must not hold anybody off.
pub(super) fn strays() -> Vec<String> {
    let is_part = |text: &String| (!is_statement(text) || text.contains('{')) && !is_of_record(text);
    let mut strays: Vec<String> = literals().into_iter().filter(is_part).collect();
    strays.retain(|text| {
        let has_condition = conditions(text)
            .into_iter()
            .any(|(start, end)| is_about(&text[start..end]));
        // Code between two texts is none.
        has_condition && !text.contains(';') && !text.contains("//")
    });
    strays
}

/// From where to where each condition of `WHERE` and `AND` goes, at whatever depth.
fn conditions(sql: &str) -> Vec<(usize, usize)> {
    let mut found = Vec::new();
    for (start, word) in words(sql) {
        if ["WHERE", "AND"].contains(&word) {
            let rest = &sql[start + word.len()..];
            let begin = start + word.len() + (rest.len() - rest.trim_start().len());
            found.push((begin, end(sql, begin)));
        }
    }
    found
}

fn end(sql: &str, begin: usize) -> usize {
    let (mut depth, mut last) = (0_usize, begin);
    for (at, character) in sql[begin..]
        .char_indices()
        .map(|(at, character)| (begin + at, character))
    {
        match character {
            '(' => depth += 1,
            ')' if depth == 0 => return at,
            ')' => depth -= 1,
            _ => {}
        }
        if character.is_whitespace() {
            let next = words(&sql[at..]).next();
            let is_next = next.is_some_and(|(gap, word)| sql[at..at + gap].trim().is_empty() && ENDS.contains(&word));
            if depth == 0 && is_next {
                return at;
            }
        } else {
            last = at + character.len_utf8();
        }
    }
    last
}

/// The words of a text and where they stand.
fn words(text: &str) -> impl Iterator<Item = (usize, &str)> {
    let is_part = |character: char| character.is_alphanumeric() || character == '_';
    text.split(move |character| !is_part(character))
        .filter(|word| !word.is_empty())
        .map(|word| (word.as_ptr().addr() - text.as_ptr().addr(), word))
}

/// Whether it asks about a lease or a state by itself, and not only in a question within.
fn is_about(condition: &str) -> bool {
    let own = match condition.find("SELECT") {
        Some(at) if !condition.starts_with("NOT EXISTS") => &condition[..at],
        _ => condition,
    };
    words(own).any(|(_, word)| WORDS.contains(&word))
}

fn one_line(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}
