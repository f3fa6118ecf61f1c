//! Shows how far a review has come: a bar for each agent on a terminal, plain lines elsewhere.

use std::collections::BTreeMap;
use std::io::{IsTerminal, Write};

use hive::bus::Event;
use hive::bus::catalog::{TaskCancelled, TaskDead, TaskFailed, TaskSubmitted, TaskSucceeded};
use indicatif::{MultiProgress, ProgressBar, ProgressStyle};

/// How many tasks of an agent there are and how many have ended.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// Tasks submitted.
    pub total: u64,
    /// Tasks that have ended, however.
    pub done: u64,
}

/// Counts tasks from the hive's events.
#[derive(Debug, Default)]
pub struct Tallies(BTreeMap<String, Tally>);

impl Tallies {
    /// Takes one event in; gives the agent whose numbers changed.
    pub fn take(&mut self, event: &Event) -> Option<&str> {
        let (agent, ended) = if let Some(submitted) = as_event::<TaskSubmitted>(event) {
            (submitted.agent, false)
        } else if let Some(succeeded) = as_event::<TaskSucceeded>(event) {
            (succeeded.agent, true)
        } else if let Some(dead) = as_event::<TaskDead>(event) {
            (dead.agent, true)
        } else if let Some(cancelled) = as_event::<TaskCancelled>(event) {
            (cancelled.agent, true)
        } else if let Some(failed) = as_event::<TaskFailed>(event).filter(|failed| !failed.will_retry) {
            (failed.agent, true)
        } else {
            return None;
        };
        let tally = self.0.entry(agent.clone()).or_default();
        if ended {
            tally.done += 1;
        } else {
            tally.total += 1;
        }
        self.0.get_key_value(&agent).map(|(name, _)| name.as_str())
    }

    /// The numbers of one agent.
    pub fn of(&self, agent: &str) -> Tally {
        self.0.get(agent).copied().unwrap_or_default()
    }
}

fn as_event<T: hive::bus::TypedEvent>(event: &Event) -> Option<T> {
    if event.is::<T>() { event.decode().ok() } else { None }
}

/// Where progress is shown.
#[derive(Debug)]
pub enum Progress {
    /// Nowhere.
    Silent,
    /// A line on the error stream for every tenth of the work.
    Lines(BTreeMap<String, u64>),
    /// Bars on a terminal.
    Bars(Bars),
}

/// The bars, by agent.
#[derive(Debug)]
pub struct Bars {
    all: MultiProgress,
    by_agent: BTreeMap<String, ProgressBar>,
}

impl Progress {
    /// Bars when the error stream is a terminal, lines when it is not, nothing when `quiet`.
    pub fn new(quiet: bool) -> Self {
        if quiet {
            Self::Silent
        } else if std::io::stderr().is_terminal() {
            Self::Bars(Bars {
                all: MultiProgress::new(),
                by_agent: BTreeMap::new(),
            })
        } else {
            Self::Lines(BTreeMap::new())
        }
    }

    /// Shows the numbers of an agent.
    pub fn show(&mut self, agent: &str, tally: Tally) {
        match self {
            Self::Silent => {}
            Self::Bars(bars) => bars.show(agent, tally),
            Self::Lines(said) => {
                // A queen is one task; a line about her says nothing.
                if tally.total > 1
                    && let Some(tenth) = (tally.done * 10).checked_div(tally.total)
                    && said.get(agent).copied().unwrap_or(0) < tenth
                {
                    said.insert(agent.to_owned(), tenth);
                    say(&format!("{agent}: {} of {} tasks", tally.done, tally.total));
                }
            }
        }
    }

    /// A line that stays, above the bars.
    pub fn note(&self, line: &str) {
        match self {
            Self::Silent => {}
            // A closed error stream is no reason to stop a review.
            Self::Bars(bars) => drop(bars.all.println(line)),
            Self::Lines(_) => say(line),
        }
    }

    /// Takes the bars away.
    pub fn clear(&self) {
        if let Self::Bars(bars) = self {
            // A bar that is dropped unfinished would draw itself once more.
            bars.by_agent.values().for_each(ProgressBar::finish_and_clear);
            drop(bars.all.clear());
        }
    }
}

impl Bars {
    fn show(&mut self, agent: &str, tally: Tally) {
        let bar = self.by_agent.entry(agent.to_owned()).or_insert_with(|| {
            let bar = self.all.add(ProgressBar::new(tally.total));
            let style = ProgressStyle::with_template("{prefix:>9} {bar:32.cyan/dim} {pos:>6}/{len:<6} {elapsed:>4}");
            bar.set_style(
                style
                    .unwrap_or_else(|_| ProgressStyle::default_bar())
                    .progress_chars("━╸─"),
            );
            bar.set_prefix(agent.to_owned());
            bar
        });
        bar.set_length(tally.total);
        bar.set_position(tally.done);
    }
}

fn say(line: &str) {
    // A closed error stream is no reason to stop a review.
    drop(writeln!(std::io::stderr().lock(), "{line}"));
}

#[cfg(test)]
mod tests;
