//! The conditions by which statements hold off what they must not touch are taken out of them one at a time, and each time a test
//! must notice.
//!
//! The statements are found in the sources, so a new one is under guard from its first day: it fails here until one of the
//! [scenes] runs it and notices when a condition of its own is gone.

mod conditions;
mod scenes;
mod stage;

use std::collections::{BTreeSet, HashMap};

use hive_core::db::Dialect;
use hive_core::testing::TestDb;

use self::stage::{Played, Scene, play};
use super::Bench;

/// Conditions that nobody can miss: the words before it, the condition, and why.
const SPARED: &[(&str, &str, &str)] = &[
    ("SELECT key FROM journal WHERE task = ?1 AND", "state <> 2", INDEX),
    (
        "SELECT DISTINCT task FROM journal WHERE task = ANY (CAST(string_to_array(?1, ',') AS BIGINT[])) AND",
        "state <> 2",
        INDEX,
    ),
    (
        "note, wake_at FROM journal WHERE task = ?1 AND key IN ( SELECT key FROM journal WHERE task = ?1 AND state <> 2 AND",
        "state IN (0, 3)",
        "the statement before it has taken those in 1 and 4 away",
    ),
    ("correlation FROM task WHERE", "state < 4", DECIDED),
    (
        "correlation FROM task WHERE parent IN (SELECT value FROM json_each(?1)) AND",
        "state < 4",
        DECIDED,
    ),
    (
        "correlation FROM task WHERE parent = ?1 AND call = ?2 AND",
        "state < 4",
        DECIDED,
    ),
    (
        "correlation FROM task WHERE parent = ANY (CAST(string_to_array(?1, ',') AS BIGINT[])) AND",
        "state < 4",
        DECIDED,
    ),
    ("SELECT tenant, flow_key FROM task WHERE", "state = 1", LANES),
    ("AS ( SELECT (SELECT min(tenant) FROM task WHERE", "state = 1", LANES),
    (
        "UNION ALL SELECT (SELECT min(task.tenant) FROM task WHERE",
        "state = 1",
        LANES,
    ),
    (
        "CASE WHEN single_start = 1 THEN NULL ELSE single END WHERE seq IN (SELECT value FROM json_each(?1)) AND",
        "state + 0 = 1",
        "SQLite has one writer: nobody comes between this and the look",
    ),
];

const INDEX: &str = "it asks for an index; the condition beside it leaves fewer";
const DECIDED: &str = "it only shortens a list; of each task in it this is asked again";
const LANES: &str = "whose tasks to look at; of each task it is asked again";

async fn guard(place: TestDb) {
    let engine = place.dialect();
    let bench = Bench::on(place).await;
    let scenes = scenes::all();
    let mut wrong = Vec::new();
    let mut runs: HashMap<String, Vec<&Scene>> = HashMap::new();
    // As the statements stand, first.
    for scene in &scenes {
        let Played { faults, seen } = play(&bench, scene, None).await;
        wrong.extend(faults.into_iter().map(|fault| format!("{}: {fault}", scene.name)));
        for sql in seen {
            runs.entry(sql).or_default().push(scene);
        }
    }
    assert_eq!(wrong, [""; 0], "without any mutant");
    let (mutants, mut report) = (conditions::mutants(), BTreeSet::new());
    assert!(mutants.len() > 80, "{} conditions were found", mutants.len());
    let mut spared = BTreeSet::new();
    for mutant in &mutants {
        let Some(scenes) = runs.get(&mutant.sql) else {
            if mutant.is_of(engine) {
                report.insert(format!("no scene runs this: {mutant}"));
            }
            continue;
        };
        let mut noticed = None;
        for scene in scenes {
            if noticed.is_none() {
                let first = play(&bench, scene, Some(mutant)).await.faults.into_iter().next();
                noticed = first.map(|fault| format!("{}: {fault}", scene.name));
            }
        }
        let sparing = SPARED
            .iter()
            .position(|(words, condition, _why)| mutant.is_at(words, condition));
        spared.extend(sparing);
        match (noticed, sparing) {
            (Some(_), None) | (None, Some(_)) => {}
            (None, None) => drop(report.insert(format!("nobody notices when this is gone: {mutant}"))),
            (Some(fault), Some(_)) => drop(report.insert(format!("spared, but noticed ({fault}): {mutant}"))),
        }
    }
    for (place, (words, condition, _)) in SPARED.iter().enumerate() {
        let here = mutants
            .iter()
            .any(|one| one.is_at(words, condition) && one.is_of(engine));
        if here && !spared.contains(&place) || !mutants.iter().any(|one| one.is_at(words, condition)) {
            report.insert(format!("spared, but gone: {condition} of {words}"));
        }
    }
    let report: Vec<String> = report.into_iter().collect();
    assert!(
        report.is_empty(),
        "{} on {engine:?}:\n{}",
        report.len(),
        report.join("\n")
    );
}

#[tokio::test]
async fn no_condition_goes_unnoticed() {
    guard(TestDb::sqlite_in_memory()).await;
}

#[cfg(feature = "postgres")]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_condition_goes_unnoticed_on_a_server() {
    guard(TestDb::postgres()).await;
}

/// A text that is not a statement by itself can hide no condition from the guard.
#[test]
fn conditions_stand_in_whole_statements() {
    assert_eq!(conditions::strays(), [""; 0]);
    let of_server = conditions::mutants()
        .iter()
        .filter(|one| !one.is_of(Dialect::Sqlite))
        .count();
    assert!(of_server > 10, "{of_server} are PostgreSQL's alone");
}
