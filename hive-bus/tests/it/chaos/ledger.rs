//! What the workers said, and what must be true of it.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{BufRead, BufReader, Read};
use std::sync::Mutex;

/// An event, as its publisher numbered it: key and number.
type Name = (u64, u64);

#[derive(Default)]
pub(super) struct Ledger {
    pub(super) lines: usize,
    /// What was acknowledged to publishers, and its id.
    published: BTreeMap<Name, String>,
    /// The greatest number that was begun at all, acknowledged or not.
    numbers: u64,
    delivered: BTreeMap<Name, Vec<Delivered>>,
    /// When a consumer was told that its acknowledgement is on record.
    acknowledged: BTreeMap<Name, u64>,
}

struct Delivered {
    at_us: u64,
    id: String,
}

impl Ledger {
    pub(super) fn read(ledger: &Mutex<Self>, output: impl Read) {
        // The last line of a process that was killed may be cut short.
        for line in BufReader::new(output).lines().map_while(Result::ok) {
            ledger.lock().unwrap().take(&line);
        }
    }

    fn take(&mut self, line: &str) {
        let words: Vec<&str> = line.split(' ').collect();
        let ["ledger", verb, key, number, id, at_us, "."] = words[..] else {
            return;
        };
        let (key, number): Name = (key.parse().unwrap(), number.parse().unwrap());
        self.lines += 1;
        match verb {
            "begin" => self.numbers = self.numbers.max(number),
            "published" => {
                self.published.insert((key, number), id.to_owned());
            }
            "delivered" => self.delivered.entry((key, number)).or_default().push(Delivered {
                at_us: at_us.parse().unwrap(),
                id: id.to_owned(),
            }),
            "acknowledged" => {
                self.acknowledged.insert((key, number), at_us.parse().unwrap());
            }
            other => panic!("{other}"),
        }
    }

    /// The number that a publisher begins with: beyond what any before it may have published.
    pub(super) fn next_number(&self) -> u64 {
        self.numbers + 1
    }

    /// What was acknowledged to its publisher and never came. (A consumer's own acknowledgement says less: it may be killed before
    /// it can tell of one.)
    pub(super) fn missing(&self) -> Vec<Name> {
        self.published
            .keys()
            .filter(|name| !self.delivered.contains_key(name))
            .copied()
            .collect()
    }

    pub(super) fn check(&self) {
        assert!(self.published.len() > 100, "too little was done to say anything");
        // What comes twice is the same.
        for (name, deliveries) in &self.delivered {
            let ids: BTreeSet<&str> = deliveries
                .iter()
                .map(|delivery| delivery.id.as_str())
                .chain(self.published.get(name).map(String::as_str))
                .collect();
            assert_eq!(ids.len(), 1, "{name:?} came as {ids:?}");
        }
        // What was acknowledged does not come again.
        for (name, acknowledged_us) in &self.acknowledged {
            let late = self.delivered[name]
                .iter()
                .find(|delivery| delivery.at_us > *acknowledged_us);
            assert!(late.is_none(), "{name:?} came again after it was acknowledged");
        }
        // Nothing is handled for the first time before what came before it with its key.
        let mut last: BTreeMap<u64, (u64, u64)> = BTreeMap::new();
        for ((key, number), deliveries) in &self.delivered {
            let first = deliveries.iter().map(|delivery| delivery.at_us).min().unwrap();
            if let Some((before, at)) = last.insert(*key, (*number, first)) {
                assert!(at <= first, "{number} of key {key} came before {before}");
            }
        }
    }

    pub(super) fn summary(&self) -> String {
        let deliveries: usize = self.delivered.values().map(Vec::len).sum();
        format!(
            "{} acknowledged events, {} handled, {} deliveries more than once",
            self.published.len(),
            self.delivered.len(),
            deliveries - self.delivered.len()
        )
    }
}
