//! The power goes: whatever the disk then holds, what was acknowledged is there, and nothing is there by halves.
//!
//! A workload is written down as it reaches the disk. For each point at which the power may go, the files are made as the disk may
//! have left them, and opened. Every closure writes down which state it makes of which, so what is found says which closures
//! must be there, and the whole content must be theirs to the last byte: a lost, a halved, a failed or an overtaken closure
//! is a difference.
#![expect(clippy::print_stderr, reason = "what was examined, and the seeds that repeat it")]
#![expect(clippy::indexing_slicing, reason = "a test that cannot go on fails")]

mod examine;
mod model;
mod points;
mod workload;

use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::sync_channel;
use std::sync::{Arc, Mutex};

use hive_core::rng::{Rng, SystemRng};
use hive_core_vfs::{Event, File, Image, Watched, watch};
use tempfile::TempDir;

use self::examine::examine;
use self::model::Model;
use self::points::{Point, points};
use self::workload::Ran;

/// How many points are examined when [`ALL`] is not set.
const POINTS: usize = 3_000;

/// How many of those where the disk failed as well.
const FAULTY_POINTS: usize = 600;

/// How many are enough to find a bare connection out.
const BARE_POINTS: usize = 300;

/// Set in the environment, every point is examined: minutes instead of seconds.
const ALL: &str = "HIVE_CRASH_POINTS_ALL";

const EXAMINERS: usize = 2;

/// A folder in memory where there is one: thousands of databases are made in it.
pub(super) fn memory() -> TempDir {
    let shared = Path::new("/dev/shm");
    if shared.is_dir() {
        tempfile::tempdir_in(shared).unwrap()
    } else {
        tempfile::tempdir().unwrap()
    }
}

/// Lets the power go at each of `points`, examines what is left and tells what is wrong with it.
fn cut_power(events: &[Event], points: &[Point], model: &Model) -> Vec<(Point, String)> {
    let faults = Mutex::new(Vec::new());
    let examined = AtomicUsize::new(0);
    let (hand, images) = sync_channel::<(Point, u64, Image)>(4);
    let images = Arc::new(Mutex::new(images));
    std::thread::scope(|scope| {
        for _ in 0..EXAMINERS {
            let (images, faults, examined) = (Arc::clone(&images), &faults, &examined);
            scope.spawn(move || {
                let runtime = tokio::runtime::Builder::new_current_thread()
                    .enable_all()
                    .build()
                    .unwrap();
                let folder = memory();
                let path = folder.path().join("hive.db");
                loop {
                    let next = images.lock().unwrap().recv();
                    let Ok((point, promised, image)) = next else { return };
                    image.write(&path).unwrap();
                    if let Err(what) = runtime.block_on(examine(&path, promised, model)) {
                        faults.lock().unwrap().push((point, what));
                    }
                    examined.fetch_add(1, Ordering::Relaxed);
                }
            });
        }
        drop(images);
        points::images(events, points, model, |point, promised, image| {
            hand.send((point, promised, image)).unwrap();
        });
        drop(hand);
    });
    assert_eq!(examined.into_inner(), points.len());
    faults.into_inner().unwrap()
}

/// Writes down what `run` does, lets the power go wherever it may, and tells what is wrong then.
fn prove(run: impl FnOnce(&Watched, u64) -> Ran, most: usize) -> (Ran, Vec<Event>, Vec<(Point, String)>) {
    let seed = SystemRng.next_u64();
    let folder = tempfile::tempdir().unwrap();
    let watched = watch(&folder.path().join("hive.db")).unwrap();
    let ran = run(&watched, seed);
    let events = watched.events();
    let points = points(&events, seed, most);
    eprintln!(
        "seed {seed}: {} closures and {} refused, {} events, {} syncs, {} crash points",
        ran.done,
        ran.refused,
        events.len(),
        events
            .iter()
            .filter(|event| matches!(event, Event::Sync { .. }))
            .count(),
        points.len(),
    );
    let faults = cut_power(&events, &points, &ran.model);
    eprintln!("{} of {} points are wrong", faults.len(), points.len());
    (ran, events, faults)
}

/// How many points to examine unless all are asked for.
fn most(points: usize) -> usize {
    if std::env::var_os(ALL).is_some() {
        usize::MAX
    } else {
        points
    }
}

#[test]
fn what_was_acknowledged_survives_a_power_cut_at_any_point() {
    let (ran, _, faults) = prove(workload::run, most(POINTS));
    assert!(ran.done + ran.refused >= 10_000, "{ran:?}");
    assert!(faults.is_empty(), "{:#?}", &faults[..faults.len().min(5)]);
}

#[test]
fn what_was_acknowledged_survives_a_failing_disk_and_then_a_power_cut() {
    let (ran, events, faults) = prove(workload::run_with_faults, most(FAULTY_POINTS));
    for file in [File::Main, File::Log] {
        let failed = |event: &Event| matches!(event, Event::SyncFailed { file: on, .. } if *on == file);
        assert!(events.iter().any(failed), "no sync of {file:?} failed");
    }
    assert!(ran.refused > 20 && ran.done > 200, "{ran:?}");
    assert!(faults.is_empty(), "{:#?}", &faults[..faults.len().min(5)]);
}

/// A bare connection that promises too much is found out: the harness can fail.
#[test]
fn promises_that_the_disk_does_not_keep_are_found_out() {
    for (settings, expected) in [
        // Nothing is synced but by folding the log.
        ("PRAGMA synchronous = OFF", Some("acknowledged and gone")),
        // Acknowledged before the sync.
        ("PRAGMA synchronous = NORMAL", Some("acknowledged and gone")),
        // No log at all: a closure's pages arrive one by one.
        (
            "PRAGMA journal_mode = DELETE; PRAGMA journal_mode = OFF",
            Some("the content is not that of"),
        ),
        // The same without the sin.
        ("PRAGMA synchronous = FULL", None),
    ] {
        let (_, _, faults) = prove(|watched, seed| workload::run_bare(watched, seed, settings), BARE_POINTS);
        match expected {
            Some(expected) => assert!(
                faults.iter().any(|(_, what)| what.contains(expected)),
                "{settings}: {faults:#?}"
            ),
            None => assert!(faults.is_empty(), "{settings}: {faults:#?}"),
        }
    }
}
