use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Mutex;

use hive_errors::ErrorKind;
use metrics::{Key, KeyName, Metadata, Recorder, SharedString, Unit, with_local_recorder};

use super::*;

/// Which metrics were asked for, with the names of their labels.
#[derive(Default)]
struct Seen {
    recorded: Mutex<BTreeSet<(String, &'static str, Vec<String>)>>,
    described: Mutex<BTreeMap<String, String>>,
}

impl Seen {
    fn see(&self, key: &Key, kind: &'static str) {
        let labels = key.labels().map(|label| label.key().to_owned()).collect();
        self.recorded
            .lock()
            .unwrap()
            .insert((key.name().to_owned(), kind, labels));
    }

    fn describe(&self, name: &KeyName, text: &SharedString) {
        self.described
            .lock()
            .unwrap()
            .insert(name.as_str().to_owned(), text.to_string());
    }
}

impl Recorder for Seen {
    fn describe_counter(&self, name: KeyName, _: Option<Unit>, text: SharedString) {
        self.describe(&name, &text);
    }

    fn describe_gauge(&self, name: KeyName, _: Option<Unit>, text: SharedString) {
        self.describe(&name, &text);
    }

    fn describe_histogram(&self, name: KeyName, _: Option<Unit>, text: SharedString) {
        self.describe(&name, &text);
    }

    fn register_counter(&self, key: &Key, _: &Metadata<'_>) -> Counter {
        self.see(key, "counter");
        Counter::noop()
    }

    fn register_gauge(&self, key: &Key, _: &Metadata<'_>) -> Gauge {
        self.see(key, "gauge");
        Gauge::noop()
    }

    fn register_histogram(&self, key: &Key, _: &Metadata<'_>) -> Histogram {
        self.see(key, "histogram");
        Histogram::noop()
    }
}

fn word(kind: Kind) -> &'static str {
    match kind {
        Kind::Counter => "counter",
        Kind::Gauge => "gauge",
        Kind::Histogram => "histogram",
    }
}

#[test]
fn the_table_of_the_page_is_the_table_for_programs() {
    let page: Vec<&str> = include_str!("../telemetry.rs")
        .lines()
        .filter_map(|line| line.strip_prefix("//! | `"))
        .collect();
    let table: Vec<String> = METRICS
        .iter()
        .map(|metric| {
            let labels = metric.labels.join(", ");
            let labels = if labels.is_empty() {
                String::new()
            } else {
                format!("{labels} ")
            };
            format!(
                "{}` | {} | {labels}| {} | {} |",
                metric.name,
                word(metric.kind),
                metric.unit,
                metric.meaning
            )
        })
        .collect();
    assert_eq!(page, table);
}

#[test]
fn what_is_recorded_is_in_the_table_and_the_other_way_round() {
    let seen = Seen::default();
    with_local_recorder(&seen, || {
        let telemetry = Telemetry::new(["a", "b"]);
        telemetry.agent("a").failure("agent");
        let error = Error::new(ErrorKind::Storage, "no");
        telemetry.round(Duration::ZERO, 1, Err(&error));
    });
    let table: BTreeSet<_> = METRICS
        .iter()
        .map(|metric| {
            let labels = metric.labels.iter().map(ToString::to_string).collect();
            (metric.name.to_owned(), word(metric.kind), labels)
        })
        .collect();
    assert_eq!(*seen.recorded.lock().unwrap(), table);
    assert_eq!(table.len(), METRICS.len());
    let described: BTreeSet<String> = seen.described.lock().unwrap().keys().cloned().collect();
    assert_eq!(described, METRICS.iter().map(|metric| metric.name.to_owned()).collect());
}

/// The façade's macros are used here and nowhere else, so that the table is complete.
#[test]
fn nothing_else_counts() {
    fn look(folder: &Path, found: &mut Vec<String>) {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                look(&path, found);
            } else if std::fs::read_to_string(&path).unwrap().contains("use metrics::") {
                found.push(path.file_name().unwrap().to_string_lossy().into_owned());
            }
        }
    }
    let mut found = Vec::new();
    look(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src"), &mut found);
    found.sort();
    // This one besides.
    assert_eq!(found, ["telemetry.rs", "tests.rs"]);
}

#[test]
fn names_are_as_collectors_want_them() {
    for metric in METRICS {
        assert!(metric.name.starts_with("hive_"), "{}", metric.name);
        assert_eq!(
            metric.kind == Kind::Counter,
            metric.name.ends_with("_total"),
            "{}",
            metric.name
        );
        assert_eq!(
            metric.unit == "seconds",
            metric.name.ends_with("_seconds"),
            "{}",
            metric.name
        );
        assert_eq!(
            metric.unit == "bytes",
            metric.name.ends_with("_bytes"),
            "{}",
            metric.name
        );
    }
}

#[test]
fn agents_of_others_are_one() {
    let telemetry = Telemetry::new(["a"]);
    assert_eq!(telemetry.agent("a").name, "a");
    for stranger in ["b", "", "other", "a "] {
        assert!(Arc::ptr_eq(telemetry.agent(stranger), &telemetry.other));
    }
}
