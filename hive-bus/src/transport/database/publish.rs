//! Writing events into the table, one or many.

use hive_core::clock::Timestamp;
use hive_core::db::{Cell, Snapshot, Tx};
use hive_core::id::EventId;
use hive_errors::{Error, ErrorKind, Result};

use crate::event::{Attributes, Event, NewEvent, Sequence};
use crate::log;

/// Events on their way into the table.
pub(super) struct Batch(Vec<Part>);

struct Part {
    id: EventId,
    time: Timestamp,
    attributes: Attributes,
}

/// What became of a batch.
pub(super) struct Written {
    /// Of each event, in order.
    pub(super) sequences: Vec<Sequence>,
    /// Those that were not there before, if they are wanted.
    pub(super) new: Vec<Event>,
    /// The newest of those.
    pub(super) last: Option<Sequence>,
}

impl Batch {
    /// Events that have an id and a time.
    pub(super) fn of(events: Vec<NewEvent>) -> Result<Self> {
        let part = |event: NewEvent| {
            let (id, time, attributes) = event.into_parts()?;
            Ok(Part { id, time, attributes })
        };
        events.into_iter().map(part).collect::<Result<_>>().map(Self)
    }

    /// Writes what is not there yet, all with one statement where each is a journey. `wanted` asks for the new events.
    ///
    /// # Errors
    /// `conflict` when another event has one of the ids. The others are in the transaction then; it is for the caller to undo
    /// them.
    pub(super) fn write(&self, tx: &mut Tx<'_>, wanted: bool) -> Result<Written> {
        let rows: Vec<_> = self.0.iter().map(Part::row).collect();
        let given = log::insert_all(tx, &rows)?;
        let mut written = Written {
            sequences: Vec::with_capacity(given.len()),
            new: Vec::new(),
            last: given.iter().copied().flatten().max(),
        };
        if wanted {
            let both = self.0.iter().zip(&given);
            written.new = both
                .filter_map(|(part, sequence)| Some(part.published((*sequence)?)))
                .collect();
        }
        for (part, sequence) in self.0.iter().zip(given) {
            written.sequences.push(match sequence {
                Some(sequence) => sequence,
                None => known(tx, part.id, &part.attributes)?,
            });
        }
        Ok(written)
    }
}

impl Part {
    fn row(&self) -> Vec<Cell> {
        log::row(self.id, self.time, &self.attributes)
    }

    fn published(&self, sequence: Sequence) -> Event {
        Event::published(sequence, self.id, self.time, self.attributes.clone())
    }
}

/// The sequence of the event that has this id, if it is the same.
pub(super) fn known(db: &Snapshot<'_>, id: EventId, attributes: &Attributes) -> Result<Sequence> {
    let known = log::find(db, id)?.ok_or_else(|| {
        Error::new(ErrorKind::Conflict, "the event with this id was removed a moment ago")
            .with("id", id)
            .retryable()
    })?;
    known.same_as(attributes)
}
