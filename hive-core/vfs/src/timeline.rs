//! What a disk may hold when the power goes after any event.

use std::collections::BTreeMap;
use std::path::Path;
use std::{fs, io};

use fastrand::Rng;

use crate::event::{Event, File};

#[cfg(test)]
mod tests;

/// What disks write whole or not at all.
const SECTOR: u64 = 512;

/// The content of a database's files.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Image {
    files: BTreeMap<File, Vec<u8>>,
}

impl Image {
    /// A file's content, or `None` when it is not there.
    pub fn file(&self, file: File) -> Option<&[u8]> {
        self.files.get(&file).map(Vec::as_slice)
    }

    /// Makes these the files of the database at `path`, in place of whichever were there.
    ///
    /// # Errors
    /// Whatever the system says.
    pub fn write(&self, path: &Path) -> io::Result<()> {
        for file in File::ALL {
            let mut name = path.as_os_str().to_owned();
            name.push(file.suffix());
            match self.files.get(&file) {
                Some(bytes) => fs::write(&name, bytes)?,
                None => gone(Path::new(&name))?,
            }
        }
        let mut index = path.as_os_str().to_owned();
        index.push("-shm");
        gone(Path::new(&index))
    }

    fn apply(&mut self, event: &Event) {
        match event {
            Event::Write { file, offset, bytes } => self.put(*file, *offset, bytes),
            Event::Truncate { file, bytes } => {
                let length = usize::try_from(*bytes).unwrap_or(usize::MAX);
                self.files.entry(*file).or_default().truncate(length);
            }
            Event::Delete { file } => drop(self.files.remove(file)),
            Event::Sync { .. } | Event::SyncFailed { .. } | Event::Mark(_) => {}
        }
    }

    fn put(&mut self, file: File, offset: u64, bytes: &[u8]) {
        let content = self.files.entry(file).or_default();
        let start = usize::try_from(offset).unwrap_or(usize::MAX);
        let end = start.saturating_add(bytes.len());
        if content.len() < end {
            content.resize(end, 0);
        }
        if let Some(place) = content.get_mut(start..end) {
            place.copy_from_slice(bytes);
        }
    }

    /// As [`Image::apply`], but of a write only the sectors that `reached` names, counted from its own first.
    fn apply_torn(&mut self, event: &Event, mut reached: impl FnMut() -> bool) {
        let Event::Write { file, offset, bytes } = event else {
            return self.apply(event);
        };
        let mut rest = &**bytes;
        let mut at = *offset;
        while !rest.is_empty() {
            let room = usize::try_from(SECTOR - at % SECTOR).unwrap_or(usize::MAX);
            let (sector, after) = rest.split_at(room.min(rest.len()));
            if reached() {
                self.put(*file, at, sector);
            }
            at += sector.len() as u64;
            rest = after;
        }
    }
}

fn gone(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        Ok(()) | Err(_) => Ok(()),
    }
}

/// Walks through the events one by one and says what the disk may hold between two of them.
#[derive(Clone, Debug)]
pub struct Timeline<'e> {
    events: &'e [Event],
    at: usize,
    /// What is certain to be on disk.
    durable: Image,
    /// What the system shows: every write, synced or not.
    whole: Image,
    /// The events that are not certain to be on disk, oldest first.
    pending: Vec<usize>,
}

impl<'e> Timeline<'e> {
    /// Stands before the first event; no file is there.
    pub fn new(events: &'e [Event]) -> Self {
        Self {
            events,
            at: 0,
            durable: Image::default(),
            whole: Image::default(),
            pending: Vec::new(),
        }
    }

    /// How many events have happened.
    pub fn at(&self) -> usize {
        self.at
    }

    /// Lets the next event happen.
    pub fn advance(&mut self) -> Option<&'e Event> {
        let event = self.events.get(self.at)?;
        let number = self.at;
        self.at += 1;
        self.whole.apply(event);
        match event {
            Event::Write { .. } | Event::Truncate { .. } | Event::Delete { .. } => self.pending.push(number),
            Event::Sync { file, covers } => self.settle(*file, *covers, true),
            Event::SyncFailed { file, covers } => self.settle(*file, *covers, false),
            Event::Mark(_) => {}
        }
        Some(event)
    }

    /// What a sync was to bring to disk is there, or never will be.
    fn settle(&mut self, synced: File, covers: usize, reached: bool) {
        let events = self.events;
        let settled = |number: usize| {
            number < covers
                && events.get(number).is_some_and(|event| match event {
                    Event::Write { file, .. } | Event::Truncate { file, .. } => *file == synced,
                    // The file system's own journal goes with any sync.
                    Event::Delete { .. } => reached,
                    Event::Sync { .. } | Event::SyncFailed { .. } | Event::Mark(_) => true,
                })
        };
        // Whatever was written to a file before its removal goes with it.
        let removed: BTreeMap<File, usize> = self
            .pending
            .iter()
            .filter(|number| settled(**number))
            .filter_map(|number| match events.get(*number) {
                Some(Event::Delete { file }) => Some((*file, *number)),
                _ => None,
            })
            .collect();
        let durable = &mut self.durable;
        self.pending.retain(|number| {
            let Some(event) = events.get(*number) else { return false };
            let file = event.file();
            if file
                .and_then(|file| removed.get(&file))
                .is_some_and(|removal| number < removal)
            {
                return false;
            }
            if !settled(*number) {
                return true;
            }
            if reached {
                durable.apply(event);
            }
            false
        });
    }

    /// How many events a power cut may take now.
    pub fn pending(&self) -> usize {
        self.pending.len()
    }

    /// The disk, when everything that may be lost is.
    pub fn lost(&self) -> Image {
        self.durable.clone()
    }

    /// The disk, when nothing is lost; also what a process that is killed leaves behind.
    pub fn whole(&self) -> Image {
        self.whole.clone()
    }

    /// The disk, when all is there but of the last event, a write, only some sectors. `None` when it was no write, or one that
    /// cannot be torn.
    pub fn torn(&self, seed: u64) -> Option<Image> {
        let last = self.at.checked_sub(1)?;
        let event = self.events.get(last)?;
        let Event::Write { offset, bytes, .. } = event else {
            return None;
        };
        let sectors = (offset + bytes.len() as u64).div_ceil(SECTOR) - offset / SECTOR;
        if sectors < 2 {
            return None;
        }
        // Everything before it, and the last in part: from what is certain, because a sector that did not arrive shows
        // what was there before.
        let mut image = self.durable.clone();
        for number in self.pending.iter().filter(|number| **number != last) {
            if let Some(event) = self.events.get(*number) {
                image.apply(event);
            }
        }
        let mut rng = Rng::with_seed(seed);
        image.apply_torn(event, || rng.bool());
        Some(image)
    }

    /// The disk, when each uncertain event is there whole, in some of its sectors, or not at all, as `seed` has it.
    pub fn some(&self, seed: u64) -> Image {
        let mut rng = Rng::with_seed(seed);
        let mut image = self.durable.clone();
        for event in self.pending.iter().filter_map(|number| self.events.get(*number)) {
            match rng.u8(0..5) {
                0 | 1 => image.apply(event),
                2 => image.apply_torn(event, || rng.bool()),
                _ => {}
            }
        }
        image
    }

    /// The disk, when of the uncertain events those on `file` are there and the others are not.
    pub fn only(&self, file: File) -> Image {
        let mut image = self.durable.clone();
        let pending = self.pending.iter().filter_map(|number| self.events.get(*number));
        pending
            .filter(|event| event.file() == Some(file))
            .for_each(|event| image.apply(event));
        image
    }
}
