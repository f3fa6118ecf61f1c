//! The power goes: whatever the disk then holds, what was acknowledged is there, and nothing is there by halves.
//!
//! A workload is written down as it reaches the disk. For each point at which the power may go, the files are made as the disk may
//! have left them, and opened. Every closure takes the next serial number within its own transaction, so the number found
//! says which closures must be there, and the whole content must be theirs to the last byte: a lost, a halved, a failed or
//! an overtaken closure is a difference.
#![expect(clippy::print_stderr, reason = "what was examined, and the seeds that repeat it")]
#![expect(clippy::indexing_slicing, reason = "a test that cannot go on fails")]

mod points;
mod workload;

use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::sync_channel;
use std::sync::{Arc, Mutex};

use hive_core::rng::{Rng, SystemRng};
use hive_core_vfs::{Event, Image, watch};
use tempfile::TempDir;

use self::points::{Point, points};
use self::workload::{Model, examine};

/// How many points are examined when [`ALL`] is not set.
const POINTS: usize = 3_000;

/// How many are enough to find a bare connection out.
const SINNER_POINTS: usize = 300;

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
        points::images(events, points, |point, promised, image| {
            hand.send((point, promised, image)).unwrap();
        });
        drop(hand);
    });
    assert_eq!(examined.into_inner(), points.len());
    faults.into_inner().unwrap()
}

fn seed() -> u64 {
    let seed = SystemRng.next_u64();
    eprintln!("seed {seed}");
    seed
}

#[test]
fn what_was_acknowledged_survives_a_power_cut_at_any_point() {
    let seed = seed();
    let folder = tempfile::tempdir().unwrap();
    let watched = watch(&folder.path().join("hive.db")).unwrap();
    let model = workload::run(&watched, seed);
    let events = watched.events();
    let all = std::env::var_os(ALL).is_some();
    let points = points(&events, seed, if all { usize::MAX } else { POINTS });
    eprintln!(
        "{} closures and {} that failed, {} events, {} syncs, {} crash points",
        model.len(),
        model.failed(),
        events.len(),
        events
            .iter()
            .filter(|event| matches!(event, Event::Sync { .. }))
            .count(),
        points.len(),
    );
    assert!(model.len() + model.failed() >= 10_000, "{} closures", model.len());
    assert!(points.len() >= 2_000, "{} points", points.len());
    let faults = cut_power(&events, &points, &model);
    assert!(
        faults.is_empty(),
        "{} of {} points, seed {seed}: {:#?}",
        faults.len(),
        points.len(),
        &faults[..faults.len().min(5)]
    );
}

/// A bare connection that promises too much is found out: the harness can fail.
#[test]
fn promises_that_the_disk_does_not_keep_are_found_out() {
    let seed = seed();
    for (settings, expected) in [
        // Nothing is synced but by folding the log.
        ("PRAGMA synchronous = OFF", "acknowledged and gone"),
        // Acknowledged before the sync.
        ("PRAGMA synchronous = NORMAL", "acknowledged and gone"),
        // No log at all: a closure's pages arrive one by one.
        (
            "PRAGMA journal_mode = DELETE; PRAGMA journal_mode = OFF",
            "the content is not that of",
        ),
    ] {
        let folder = tempfile::tempdir().unwrap();
        let watched = watch(&folder.path().join("hive.db")).unwrap();
        let model = workload::run_bare(&watched, seed, settings);
        let events = watched.events();
        let faults = cut_power(&events, &points(&events, seed, SINNER_POINTS), &model);
        assert!(
            faults.iter().any(|(_, what)| what.contains(expected)),
            "{settings}: {faults:#?}"
        );
    }
    // The same without the sin.
    let folder = tempfile::tempdir().unwrap();
    let watched = watch(&folder.path().join("hive.db")).unwrap();
    let model = workload::run_bare(&watched, seed, "PRAGMA synchronous = FULL");
    let events = watched.events();
    let faults = cut_power(&events, &points(&events, seed, SINNER_POINTS), &model);
    assert!(faults.is_empty(), "{faults:#?}");
}
