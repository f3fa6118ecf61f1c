//! What is written, and what the database must hold after each closure.

use std::collections::BTreeMap;
use std::sync::Mutex;

use hive_core::rng::{Rng, SeededRng};

/// What a closure does to one row and its twin.
#[derive(Clone, Debug)]
pub(super) enum Change {
    Put { id: i64, bytes: usize, fill: u8 },
    Delete { id: i64 },
}

/// What one closure does.
#[derive(Clone, Debug)]
pub(super) struct Plan {
    pub(super) changes: Vec<Change>,
    /// How it moves the digest of the whole content.
    pub(super) delta: Digest,
    /// It does all of it and then fails.
    pub(super) fails: bool,
    /// Nothing is promised of it by itself.
    pub(super) relaxed: bool,
}

/// Rows as one number that does not depend on their order: the wrapping sum of [`digest`].
pub(super) type Digest = u64;

pub(super) fn digest(id: i64, bytes: usize, fill: u8) -> Digest {
    SeededRng::new(id.cast_unsigned() << 32 ^ (bytes as u64) << 8 ^ u64::from(fill)).next_u64()
}

/// The content after one run of a closure.
#[derive(Clone, Copy, Debug)]
struct State {
    /// How many closures led to it.
    serial: u64,
    /// The state before.
    parent: usize,
    digest: Digest,
}

/// Every state that any closure has made, whether or not it was committed. They form a tree: where a commit failed, the next
/// closures begin again from the state before.
#[derive(Debug)]
pub(super) struct Model {
    states: Mutex<Vec<State>>,
}

impl Model {
    pub(super) fn new() -> Self {
        let empty = State {
            serial: 0,
            parent: 0,
            digest: 0,
        };
        Self {
            states: Mutex::new(vec![empty]),
        }
    }

    /// Adds the state that `delta` makes of the one called `parent`, and gives its number and name.
    pub(super) fn grow(&self, parent: u64, delta: Digest) -> (u64, u64) {
        let mut states = self.states.lock().unwrap();
        let parent = usize::try_from(parent).unwrap();
        let before = states[parent];
        let serial = before.serial + 1;
        states.push(State {
            serial,
            parent,
            digest: before.digest.wrapping_add(delta),
        });
        (serial, states.len() as u64 - 1)
    }

    /// How many closures led to the state called `name`.
    pub(super) fn serial(&self, name: u64) -> u64 {
        self.get(name).map_or(0, |state| state.serial)
    }

    fn get(&self, name: u64) -> Option<State> {
        let name = usize::try_from(name).ok()?;
        self.states.lock().unwrap().get(name).copied()
    }

    /// Whether a database that says of itself that it is in the state called `name`, the `serial`th, and has this content,
    /// keeps what was promised.
    pub(super) fn judge(&self, promised: u64, serial: u64, name: u64, content: Digest) -> Result<(), String> {
        let Some(found) = self.get(name).filter(|state| state.serial == serial) else {
            return Err(format!("the content is that of no closure: {name} as number {serial}"));
        };
        let least = self.serial(promised);
        if serial < least {
            return Err(format!("acknowledged and gone: {serial} closures are there of {least}"));
        }
        if found.digest != content {
            return Err(format!("the content is not that of {serial} closures"));
        }
        // What was promised is among what led here.
        let states = self.states.lock().unwrap();
        let mut name = usize::try_from(name).unwrap();
        while states[name].serial > least {
            name = states[name].parent;
        }
        if name as u64 == promised {
            Ok(())
        } else {
            Err(format!(
                "acknowledged and gone: another closure is there as number {least}"
            ))
        }
    }
}

/// One party's rows: nobody else touches them, so it knows which are there.
#[derive(Debug)]
pub(super) struct Party {
    rng: SeededRng,
    first: i64,
    next: i64,
    rows: BTreeMap<i64, Digest>,
    /// The rows as the last plan leaves them.
    planned: BTreeMap<i64, Digest>,
}

impl Party {
    pub(super) fn new(seed: u64, number: u64) -> Self {
        Self {
            rng: SeededRng::new(seed ^ (number + 1) << 48),
            first: i64::try_from(number).unwrap() * 1_000_000,
            next: 0,
            rows: BTreeMap::new(),
            planned: BTreeMap::new(),
        }
    }

    pub(super) fn below(&self, limit: u64) -> u64 {
        self.rng.next_u64() % limit
    }

    pub(super) fn plan(&mut self) -> Plan {
        let count = 1 + self.below(3);
        let fails = self.below(12) == 0;
        self.planned = self.rows.clone();
        let mut delta: Digest = 0;
        let changes = (0..count).map(|_| self.change(&mut delta)).collect();
        let relaxed = self.below(4) == 0;
        Plan {
            changes,
            delta,
            fails,
            relaxed,
        }
    }

    /// The last plan was acknowledged.
    pub(super) fn done(&mut self) {
        self.rows = std::mem::take(&mut self.planned);
    }

    fn change(&mut self, delta: &mut Digest) -> Change {
        let some = self.below(self.planned.len().max(1) as u64);
        let some = self.planned.keys().nth(usize::try_from(some).unwrap()).copied();
        let many = self.planned.len() > 10;
        if let Some(id) = some
            && (many || self.below(3) == 0)
        {
            *delta = delta.wrapping_sub(self.planned.remove(&id).unwrap());
            return Change::Delete { id };
        }
        let id = match some {
            Some(id) if self.below(2) == 0 => id,
            Some(_) | None => {
                self.next += 1;
                self.first + self.next
            }
        };
        let bytes = match self.below(12) {
            0 => 4_096 + self.below(16_384),
            1 => 0,
            _ => self.below(400),
        };
        let (bytes, fill) = (usize::try_from(bytes).unwrap(), self.rng.next_u64().to_le_bytes()[0]);
        let new = digest(id, bytes, fill);
        let old = self.planned.insert(id, new).unwrap_or(0);
        *delta = delta.wrapping_add(new).wrapping_sub(old);
        Change::Put { id, bytes, fill }
    }
}
