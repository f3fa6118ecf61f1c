//! The document as bytes.
//!
//! A version, then numbers of variable length (seven bits a byte, the lowest first), sequences and serial numbers as
//! differences, because they stand close to one another. A state with a thousand entries takes some twenty kilobytes; as JSON it
//! would take five times that with each change.

use hive_core::clock::Timestamp;
use hive_errors::{Error, ErrorKind, Result};

use super::{Entry, Hold, Member, State};
use crate::event::Sequence;
use crate::topic::Patterns;
use crate::transport::Mishap;

const VERSION: u64 = 1;

/// What is known of an entry.
mod flag {
    pub(super) const TAKEN: u64 = 1;
    pub(super) const BEGUN: u64 = 2;
    /// Free, but not before some time.
    pub(super) const LATER: u64 = 4;
    pub(super) const EXPIRES: u64 = 8;
    /// It was delivered before.
    pub(super) const MARKED: u64 = 16;
    /// It is among the dead letters as well.
    pub(super) const LETTER: u64 = 32;
}

impl State {
    pub(crate) fn to_bytes(&self) -> Vec<u8> {
        let mut out = Writer(Vec::with_capacity(64 + self.window.len() * 24));
        out.number(VERSION);
        out.number(self.patterns.iter().count() as u64);
        for (pattern, since) in self.patterns.iter().zip(&self.since) {
            out.text(pattern.as_str());
            out.number(since.get());
        }
        out.number(self.cursor.get());
        out.number(u64::from(self.paused));
        out.number(self.serial);
        out.number(self.window.len() as u64);
        let mut last = 0;
        for (sequence, entry) in &self.window {
            out.number(sequence.get() - last);
            last = sequence.get();
            out.entry(entry, self.serial);
        }
        out.0
    }

    pub(crate) fn from_bytes(bytes: &[u8]) -> Result<Self> {
        let mut input = Reader(bytes);
        let version = input.number()?;
        if version != VERSION {
            return Err(
                Error::new(ErrorKind::SchemaTooNew, "the consumer's state is of another version")
                    .with("version", version)
                    .with("known", VERSION)
                    .with_hint("update the program that reads it"),
            );
        }
        let count = input.number()?;
        let (mut patterns, mut since) = (Vec::new(), Vec::new());
        for _ in 0..count {
            patterns.push(input.text()?);
            since.push(Sequence::new(input.number()?));
        }
        let patterns = Patterns::new(patterns).map_err(|e| corrupt().with_source(e))?;
        if patterns.iter().count() != since.len() {
            return Err(corrupt());
        }
        let mut state = Self::begin(patterns, |_| Sequence::START);
        state.since = since;
        state.cursor = Sequence::new(input.number()?);
        state.paused = input.number()? != 0;
        state.serial = input.number()?;
        let mut last = 0_u64;
        for _ in 0..input.number()? {
            last = last.checked_add(input.number()?).ok_or_else(corrupt)?;
            let entry = input.entry(state.serial)?;
            state.window.insert(Sequence::new(last), entry);
        }
        if !input.0.is_empty() {
            return Err(corrupt());
        }
        Ok(state)
    }
}

fn corrupt() -> Error {
    Error::new(ErrorKind::Corrupt, "the consumer's state cannot be read")
}

struct Writer(Vec<u8>);

impl Writer {
    fn number(&mut self, mut number: u64) {
        while number >= 0x80 {
            self.0.push((number & 0x7f) as u8 | 0x80);
            number >>= 7;
        }
        self.0.push(number as u8);
    }

    fn text(&mut self, text: &str) {
        self.number(text.len() as u64);
        self.0.extend_from_slice(text.as_bytes());
    }

    fn time(&mut self, time: Timestamp) {
        self.0.extend_from_slice(&time.as_micros().to_le_bytes());
    }

    fn entry(&mut self, entry: &Entry, serial_last: u64) {
        let mut flags = 0;
        match entry.hold {
            Hold::Taken { begun, .. } => flags |= flag::TAKEN | if begun { flag::BEGUN } else { 0 },
            Hold::Free { from } => flags |= if from.is_some() { flag::LATER } else { 0 },
        }
        if entry.expires.is_some() {
            flags |= flag::EXPIRES;
        }
        if entry.letter {
            flags |= flag::LETTER;
        }
        if entry.attempts > 0 || entry.lapses > 0 || !entry.mishaps.is_empty() {
            flags |= flag::MARKED;
        }
        self.number(flags);
        self.0.extend_from_slice(&entry.key.to_le_bytes());
        match entry.hold {
            Hold::Taken {
                member, serial, until, ..
            } => {
                self.0.extend_from_slice(&member.0.to_le_bytes());
                self.number(serial_last - serial);
                self.time(until);
            }
            Hold::Free { from } => {
                if let Some(from) = from {
                    self.time(from);
                }
            }
        }
        if let Some(expires) = entry.expires {
            self.time(expires);
        }
        if flags & flag::MARKED != 0 {
            self.number(entry.attempts.into());
            self.number(entry.lapses.into());
            self.number(entry.mishaps.len() as u64);
            for mishap in &entry.mishaps {
                self.time(mishap.at);
                self.text(&mishap.error);
            }
        }
    }
}

struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    fn bytes(&mut self, count: usize) -> Result<&'a [u8]> {
        let (front, rest) = self.0.split_at_checked(count).ok_or_else(corrupt)?;
        self.0 = rest;
        Ok(front)
    }

    fn eight(&mut self) -> Result<[u8; 8]> {
        self.bytes(8)?.try_into().map_err(|_| corrupt())
    }

    fn number(&mut self) -> Result<u64> {
        let mut number = 0_u64;
        for shift in (0..64).step_by(7) {
            let [byte] = self.bytes(1)? else { return Err(corrupt()) };
            let bits = u64::from(byte & 0x7f);
            // The tenth byte has room for one bit.
            if shift == 63 && bits > 1 {
                return Err(corrupt());
            }
            number |= bits << shift;
            if byte & 0x80 == 0 {
                return Ok(number);
            }
        }
        Err(corrupt())
    }

    fn small(&mut self) -> Result<u32> {
        u32::try_from(self.number()?).map_err(|_| corrupt())
    }

    fn text(&mut self) -> Result<String> {
        let length = usize::try_from(self.number()?).map_err(|_| corrupt())?;
        String::from_utf8(self.bytes(length)?.to_vec()).map_err(|_| corrupt())
    }

    fn time(&mut self) -> Result<Timestamp> {
        Ok(Timestamp::from_micros(i64::from_le_bytes(self.eight()?)))
    }

    fn entry(&mut self, serial_last: u64) -> Result<Entry> {
        let flags = self.number()?;
        let has = |bit| flags & bit != 0;
        let key = u64::from_le_bytes(self.eight()?);
        let hold = if has(flag::TAKEN) {
            Hold::Taken {
                member: Member(u64::from_le_bytes(self.eight()?)),
                serial: serial_last.checked_sub(self.number()?).ok_or_else(corrupt)?,
                until: self.time()?,
                begun: has(flag::BEGUN),
            }
        } else {
            let from = has(flag::LATER).then(|| self.time()).transpose()?;
            Hold::Free { from }
        };
        let expires = has(flag::EXPIRES).then(|| self.time()).transpose()?;
        let mut entry = Entry {
            key,
            attempts: 0,
            lapses: 0,
            expires,
            hold,
            letter: has(flag::LETTER),
            mishaps: Vec::new(),
        };
        if has(flag::MARKED) {
            entry.attempts = self.small()?;
            entry.lapses = self.small()?;
            for _ in 0..self.number()? {
                entry.mishaps.push(Mishap::new(self.time()?, self.text()?));
            }
        }
        Ok(entry)
    }
}
