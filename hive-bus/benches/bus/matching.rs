//! One topic against many patterns.

use std::hint::black_box;
use std::time::Instant;

use hive_bus::{Pattern, PatternTrie, Topic};
use hive_core_bench::{Bar, Figures};
use tokio::runtime::Runtime;

const PATTERNS: usize = 10_000;
const MATCHES: usize = 200_000;

pub(crate) fn run(_: &Runtime, figures: &mut Figures) -> Vec<(String, Bar)> {
    let mut trie = PatternTrie::new();
    for number in 0..PATTERNS {
        let (agent, step) = (number % 2_500, number / 2_500);
        let pattern = match number % 4 {
            0 => format!("task.*.agent-{agent}"),
            1 => format!("task.step{step}.agent-{agent}"),
            2 => format!("task.step{step}.agent-{agent}.>"),
            _ => format!("agent-{agent}.*.done"),
        };
        trie.insert(&Pattern::new(pattern).unwrap(), number);
    }
    let topics: Vec<Topic> = (0..1_000)
        .map(|number| Topic::new(format!("task.step{}.agent-{}", number % 4, number * 7 % 2_500)).unwrap())
        .collect();
    let mut found = 0;
    let begun = Instant::now();
    for topic in topics.iter().cycle().take(MATCHES) {
        trie.for_each_match(black_box(topic), |value| found += value & 1);
    }
    let took = begun.elapsed();
    black_box(found);
    figures.record("bus.match_us.10000", took.as_secs_f64() * 1e6 / MATCHES as f64, "us");
    vec![("bus.match_us.10000".to_owned(), Bar::Below(1.0))]
}
