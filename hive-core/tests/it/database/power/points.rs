//! When the power goes, and what it takes.

use hive_core_vfs::{Event, File, Image, Timeline};

use super::model::Model;

/// What is left of the writes that were not synced.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Left {
    /// Nothing.
    Nothing,
    /// Everything: each prefix of the writes, from point to point.
    Everything,
    /// Everything, but of the last write only some sectors.
    Torn(u64),
    /// Some of them, some of those in part: they arrive in any order.
    Some(u64),
    /// Those on one file.
    Only(File),
}

/// The power goes after so many events.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Point {
    pub(super) at: usize,
    pub(super) left: Left,
}

/// Points in order, at most `most`: those beside a sync or a promise first, the others evenly.
pub(super) fn points(events: &[Event], seed: u64, most: usize) -> Vec<Point> {
    let is_edge = |event: Option<&Event>| matches!(event, Some(Event::Sync { .. } | Event::SyncFailed { .. }));
    let (mut near, mut far) = (Vec::new(), Vec::new());
    for (number, event) in events.iter().enumerate() {
        let at = number + 1;
        let seed = seed ^ (at as u64) << 8;
        let mut here = Vec::new();
        match event {
            Event::Write { bytes, .. } => {
                here.push(Left::Everything);
                if bytes.len() > 512 {
                    here.push(Left::Torn(seed));
                }
                here.push(Left::Some(seed));
            }
            Event::Truncate { .. } | Event::Delete { .. } => {
                here.extend([Left::Everything, Left::Nothing, Left::Some(seed)]);
            }
            Event::Sync { .. } | Event::SyncFailed { .. } => {
                here.extend([
                    Left::Nothing,
                    Left::Some(seed),
                    Left::Only(File::Main),
                    Left::Only(File::Log),
                ]);
            }
            // As the sync before it, but by now something was promised.
            Event::Mark(_) if !matches!(events.get(at), Some(Event::Mark(_))) => here.push(Left::Nothing),
            Event::Mark(_) => {}
        }
        let beside = is_edge(Some(event)) || is_edge(events.get(at)) || matches!(event, Event::Mark(_));
        let points = here.into_iter().map(|left| Point { at, left });
        if beside {
            near.extend(points)
        } else {
            far.extend(points)
        }
    }
    let mut points = thinned(near, most / 3 * 2);
    points.extend(thinned(far, most.saturating_sub(points.len())));
    points.sort_unstable();
    points
}

/// At most `most` of `all`, evenly.
fn thinned(all: Vec<Point>, most: usize) -> Vec<Point> {
    if all.len() <= most {
        return all;
    }
    (0..most).map(|number| all[number * all.len() / most]).collect()
}

/// What the disk holds at each of `points`, with the promise given by then that means most.
pub(super) fn images(events: &[Event], points: &[Point], model: &Model, mut each: impl FnMut(Point, u64, Image)) {
    let mut timeline = Timeline::new(events);
    let mut promised = 0;
    for point in points {
        while timeline.at() < point.at {
            if let Some(Event::Mark(name)) = timeline.advance()
                && model.serial(*name) > model.serial(promised)
            {
                promised = *name;
            }
        }
        let image = match point.left {
            Left::Nothing => timeline.lost(),
            Left::Everything => timeline.whole(),
            Left::Torn(seed) => timeline.torn(seed).unwrap_or_else(|| timeline.lost()),
            Left::Some(seed) => timeline.some(seed),
            Left::Only(file) => timeline.only(file),
        };
        each(*point, promised, image);
    }
}
