use std::collections::HashMap;
use std::fmt;

use crate::catalog::TaskSubmitted;
use crate::event::Event;

/// What happened in one undertaking, and what caused what: see [`Bus::trace`](crate::Bus::trace).
///
/// The events stand in the order of the tree, each before what it caused. An event's parent is the one its causation
/// names: the event of that id, or the `task.submitted` of that task. A `task.submitted` whose causation leads nowhere, for
/// instance to the task itself, stands below that of the task that called it. An event whose cause is not in the trace, or
/// did not come before it, is a root.
///
/// Displayed, it is a line per event, indented by depth.
#[derive(Clone, Debug, PartialEq)]
pub struct Trace {
    entries: Vec<TraceEntry>,
    truncated: bool,
}

/// One event of a [`Trace`].
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct TraceEntry {
    /// The event.
    pub event: Event,
    /// Where in the trace its cause stands; `None` for a root.
    pub parent: Option<usize>,
    /// How many causes stand above it; 0 for a root.
    pub depth: usize,
}

impl Trace {
    /// Invariant: `events` are in the order of their sequences. A cause comes before its effect, so there is no cycle
    /// whatever the events claim.
    pub(super) fn of(events: Vec<Event>, truncated: bool) -> Self {
        let mut named: HashMap<String, usize> = HashMap::new();
        let mut children: Vec<Vec<usize>> = vec![Vec::new(); events.len()];
        let mut roots = Vec::new();
        for (index, event) in events.iter().enumerate() {
            // One that cannot be decoded tells of no task; it is still an event of the trace.
            let submitted = event
                .is::<TaskSubmitted>()
                .then(|| event.decode::<TaskSubmitted>().ok())
                .flatten();
            // Looked up before its own names are known, so the cause is an earlier event.
            let cause = event.causation().and_then(|cause| named.get(cause)).or_else(|| {
                let parent = submitted.as_ref()?.parent?;
                named.get(&parent.to_string())
            });
            match cause.and_then(|&at| children.get_mut(at)) {
                Some(siblings) => siblings.push(index),
                None => roots.push(index),
            }
            named.entry(event.id().to_string()).or_insert(index);
            if let Some(submitted) = submitted {
                named.entry(submitted.task.to_string()).or_insert(index);
            }
        }

        // A chain may be as long as the trace, so the walk keeps its own stack.
        let mut events: Vec<Option<Event>> = events.into_iter().map(Some).collect();
        let mut entries = Vec::with_capacity(events.len());
        let mut stack: Vec<(usize, Option<usize>, usize)> =
            roots.into_iter().rev().map(|root| (root, None, 0)).collect();
        while let Some((index, parent, depth)) = stack.pop() {
            // Invariant: every index stands in exactly one list of children.
            let Some(event) = events.get_mut(index).and_then(Option::take) else {
                continue;
            };
            let here = entries.len();
            entries.push(TraceEntry { event, parent, depth });
            let below = children.get_mut(index).map(std::mem::take).unwrap_or_default();
            stack.extend(below.into_iter().rev().map(|child| (child, Some(here), depth + 1)));
        }
        Self { entries, truncated }
    }

    /// Every event, each before what it caused.
    pub fn entries(&self) -> &[TraceEntry] {
        &self.entries
    }

    /// The events that nothing in the trace caused.
    pub fn roots(&self) -> impl Iterator<Item = &TraceEntry> {
        self.entries.iter().filter(|entry| entry.parent.is_none())
    }

    /// What the event at `index` caused, directly.
    pub fn children(&self, index: usize) -> impl Iterator<Item = &TraceEntry> {
        self.entries
            .iter()
            .skip(index + 1)
            .filter(move |entry| entry.parent == Some(index))
    }

    /// Whether there are more events than a trace holds
    /// ([`limits::TRACE_EVENTS_MAX`](crate::limits::TRACE_EVENTS_MAX),
    /// [`limits::TRACE_BYTES_MAX`](crate::limits::TRACE_BYTES_MAX)); the later ones are missing.
    pub fn is_truncated(&self) -> bool {
        self.truncated
    }
}

impl fmt::Display for Trace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for TraceEntry { event, depth, .. } in &self.entries {
            let indent = depth * 2;
            writeln!(f, "{:indent$}{} {}", "", event.sequence(), event.topic())?;
        }
        if self.truncated {
            writeln!(f, "… and more")
        } else {
            Ok(())
        }
    }
}
