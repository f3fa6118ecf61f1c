//! Sets of line numbers: which lines of a file a change touched.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// One-based line numbers as sorted, disjoint, inclusive ranges.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct LineSet(Vec<(u32, u32)>);

impl LineSet {
    /// Whether `line` is in the set.
    pub fn contains(&self, line: u32) -> bool {
        self.touches(line, line)
    }

    /// Whether any line from `start` to `end`, both included, is in the set.
    pub fn touches(&self, start: u32, end: u32) -> bool {
        let first = self.0.partition_point(|range| range.1 < start);
        self.0.get(first).is_some_and(|range| range.0 <= end)
    }

    /// How many lines are in the set.
    pub fn len(&self) -> usize {
        self.0.iter().map(|(start, end)| (end - start) as usize + 1).sum()
    }

    /// Whether there is no line in the set.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The ranges in order.
    pub fn ranges(&self) -> &[(u32, u32)] {
        &self.0
    }

    /// The same lines and perhaps more, in at most `count` ranges: the smallest gaps are closed first.
    pub fn coarsened(mut self, count: usize) -> Self {
        let mut gap = 1_u32;
        while self.0.len() > count.max(1) {
            let mut merged: Vec<(u32, u32)> = Vec::with_capacity(self.0.len());
            for (start, end) in self.0.drain(..) {
                match merged.last_mut() {
                    Some(last) if start - last.1 <= gap => last.1 = end,
                    Some(_) | None => merged.push((start, end)),
                }
            }
            self.0 = merged;
            gap = gap.saturating_mul(2);
        }
        self
    }
}

impl FromIterator<u32> for LineSet {
    fn from_iter<I: IntoIterator<Item = u32>>(lines: I) -> Self {
        let mut lines: Vec<u32> = lines.into_iter().collect();
        lines.sort_unstable();
        let mut ranges: Vec<(u32, u32)> = Vec::new();
        for line in lines {
            match ranges.last_mut() {
                Some(last) if line <= last.1.saturating_add(1) => last.1 = line,
                Some(_) | None => ranges.push((line, line)),
            }
        }
        Self(ranges)
    }
}

#[cfg(test)]
mod tests;
