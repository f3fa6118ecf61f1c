//! `kill -9` at any moment: the report is the same and no finished step runs again.

use std::collections::BTreeMap;
use std::collections::BTreeSet;
use std::hash::{BuildHasher, RandomState};
use std::path::Path;
use std::process::Child;

use crate::repo::{Home, run};

const FILES: usize = 210;
const KILLS: usize = 50;

/// Something for every rule of some weight, different in every file.
fn content(number: usize) -> (String, String) {
    match number % 5 {
        0 => (
            format!("src/module_{number}.rs"),
            format!(
                "//! Module {number}.\n\n/// Takes it.\npub fn take_{number}(a: Option<u8>) -> u8 {{\n    a.unwrap()\n}}\n"
            ),
        ),
        1 => (
            format!("app/page_{number}.py"),
            format!("def page_{number}(query, seen=[]):\n    return eval(query)\n"),
        ),
        2 => (
            format!("web/view_{number}.js"),
            format!("export function view{number}(x) {{\n  try {{ run(x) }} catch (e) {{}}\n}}\n"),
        ),
        3 => (
            format!("ops/step_{number}.sh"),
            format!("#!/bin/sh\n# step {number}\nchmod 777 /srv/{number}\n"),
        ),
        _ => (
            format!("docs/page_{number}.md"),
            format!("# Page {number}\n\nNothing to see here.\n"),
        ),
    }
}

fn repository() -> Home {
    let home = Home::with_repository();
    for number in 0..FILES {
        let (path, text) = content(number);
        home.write(path, text);
    }
    home.commit("many files");
    home
}

/// A small generator (SplitMix64): the seed alone decides when the axe falls.
struct Moments(u64);

impl Moments {
    fn next(&mut self, below: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) % below.max(1)
    }
}

/// How often each step was begun and whether it was acknowledged; fails when one was begun after that.
fn check_ledger(ledger: &str) -> BTreeMap<&str, usize> {
    let mut starts: BTreeMap<&str, usize> = BTreeMap::new();
    let mut done: BTreeSet<&str> = BTreeSet::new();
    for line in ledger.lines() {
        match line.split_once(' ') {
            Some(("start", key)) => {
                assert!(!done.contains(key), "`{key}` ran again after it was acknowledged");
                *starts.entry(key).or_default() += 1;
            }
            Some(("done", key)) => {
                assert!(starts.contains_key(key), "`{key}` was acknowledged and never begun");
                done.insert(key);
            }
            Some(_) | None => panic!("not a line of the ledger: {line:?}"),
        }
    }
    let unfinished: Vec<&&str> = starts.keys().filter(|key| !done.contains(*key)).collect();
    assert!(unfinished.is_empty(), "begun and never acknowledged: {unfinished:?}");
    starts
}

/// Waits until the ledger has so many bytes, or the process ends by itself.
fn wait_for(child: &mut Child, ledger: &Path, bytes: u64) {
    while child.try_wait().unwrap().is_none() {
        if std::fs::metadata(ledger).map_or(0, |found| found.len()) >= bytes {
            return;
        }
        std::thread::yield_now();
    }
}

#[test]
fn killed_at_fifty_moments_the_report_is_the_same_and_no_step_runs_twice() {
    let home = repository();
    let quiet = home.path().join("quiet.ledger");
    let (code, printed) = run(home.review("quiet", &["--ledger", quiet.to_str().unwrap()]));
    assert_eq!(code, 0, "{printed}");
    let whole = std::fs::read_to_string(&quiet).unwrap();
    let once = check_ledger(&whole);
    assert!(
        once.values().all(|starts| *starts == 1),
        "an undisturbed run begins every step once"
    );

    let seed = std::env::var("HIVE_REVIEW_SEED")
        .ok()
        .and_then(|seed| seed.parse().ok());
    let seed = seed.unwrap_or_else(|| RandomState::new().hash_one("moments"));
    println!("seed {seed} (set HIVE_REVIEW_SEED to repeat it)");
    let mut moments = Moments(seed);
    let ledger = home.path().join("killed.ledger");
    let arguments = ["--ledger", ledger.to_str().unwrap()];
    let mut kills = 0;
    while kills < KILLS {
        let mut child = home.review("killed", &arguments).spawn().unwrap();
        // The moments are spread over the work that is left, so that the last kill still meets a review under way; a quarter
        // of them fall before the first step.
        let had = std::fs::metadata(&ledger).map_or(0, |found| found.len());
        let left = (whole.len() as u64).saturating_sub(had) / (KILLS - kills) as u64;
        let further = if moments.next(4) == 0 {
            0
        } else {
            moments.next(left.max(80) * 2)
        };
        wait_for(&mut child, &ledger, had + further);
        // Some turns of the processor later, so that the kill does not always follow a write of the ledger.
        for _ in 0..moments.next(20_000) {
            std::hint::spin_loop();
        }
        if child.try_wait().unwrap().is_some() {
            break;
        }
        child.kill().unwrap();
        child.wait().unwrap();
        kills += 1;
    }
    assert!(kills >= KILLS / 2, "only {kills} kills met a review under way");

    let (code, printed) = run(home.review("killed", &arguments));
    assert_eq!(code, 0, "{printed}");
    assert!(
        printed.contains("not repeated") || printed.contains("reviewed before"),
        "{printed}"
    );
    let killed = std::fs::read_to_string(&ledger).unwrap();
    let starts = check_ledger(&killed);
    assert_eq!(
        starts.len(),
        once.len(),
        "as many different steps as in an undisturbed run"
    );
    let again: usize = starts.values().map(|count| count - 1).sum();
    println!(
        "{kills} kills, {} steps, {again} of them begun again because they had not been acknowledged",
        starts.len()
    );
    for name in ["report.json", "report.sarif", "report.md", "report.html"] {
        assert!(
            home.report("killed", name) == home.report("quiet", name),
            "{name} differs (seed {seed})"
        );
    }
}
