//! One series per name, its median over the rounds, and the bars it is held against.

use std::collections::BTreeMap;

/// The disk that absolute bars are meant for. On a slower one a wait says more about the disk than about the code.
const SYNCS_PER_S_LEAST: f64 = 5_000.0;

pub(crate) const SYNCS: &str = "disk.syncs_per_s";

#[derive(Default)]
pub(crate) struct Figures {
    series: BTreeMap<String, (Vec<f64>, &'static str)>,
}

/// What a figure has to reach.
#[derive(Clone, Copy)]
pub(crate) enum Bar {
    /// Holds on every disk.
    Ratio(f64),
    /// Milliseconds that must not be reached; holds on a disk that is quick enough.
    BelowMs(f64),
}

impl Figures {
    /// Adds one round's value and hands it back.
    pub(crate) fn record(&mut self, name: &str, value: f64, unit: &'static str) -> f64 {
        let (values, _) = self.series.entry(name.to_owned()).or_insert_with(|| (Vec::new(), unit));
        values.push(value);
        value
    }

    /// Adds the ratio of one series to the best of others, by their medians: taken within each slice, for the disk that both
    /// met, and not to the best of each slice, which would be to the luckiest.
    pub(crate) fn ratio(&mut self, name: &str, of: &str, to: &[&str]) {
        let best = to
            .iter()
            .filter_map(|to| Some((self.median(to)?, *to)))
            .max_by(|a, b| a.0.total_cmp(&b.0));
        if let (Some((_, best)), Some((values, _))) = (best, self.series.get(of)) {
            let ratios = values.iter().zip(&self.series[best].0).map(|(own, to)| own / to);
            let ratios = ratios.collect();
            self.series.insert(name.to_owned(), (ratios, "ratio"));
        }
    }

    pub(crate) fn print(&self) {
        for (name, (values, unit)) in &self.series {
            println!("figure {name} {:.3} {unit}", median(values));
        }
        for (name, (values, unit)) in &self.series {
            // A median of few that lie far apart says little, and whoever reads it should see that.
            if *unit == "ratio" {
                let (low, high) = (quantile(values, 0.25), quantile(values, 0.75));
                println!("spread {name} {low:.3}..{high:.3} half of {} slices", values.len());
            }
        }
    }

    /// Says of each bar whether it is met. A bar whose figure was not measured is one that is not met.
    pub(crate) fn judge(&self, bars: &[(String, Bar)]) {
        let syncs = self.median(SYNCS).unwrap_or(0.0);
        for (name, bar) in bars {
            let Some(value) = self.median(name) else {
                println!("bar {name}: not met, not measured");
                continue;
            };
            match *bar {
                Bar::Ratio(least) => println!("bar {name}: {value:.3}, at least {least}: {}", met(value >= least)),
                Bar::BelowMs(most) if syncs >= SYNCS_PER_S_LEAST => {
                    println!("bar {name}: {value:.3} ms, below {most} ms: {}", met(value < most));
                }
                Bar::BelowMs(most) => println!(
                    "bar {name}: {value:.3} ms, below {most} ms: not judged, the disk synced {syncs:.0} times/s and \
                     {SYNCS_PER_S_LEAST:.0} are needed"
                ),
            }
        }
    }

    fn median(&self, name: &str) -> Option<f64> {
        self.series.get(name).map(|(values, _)| median(values))
    }
}

fn met(yes: bool) -> &'static str {
    if yes { "met" } else { "not met" }
}

pub(crate) fn median(values: &[f64]) -> f64 {
    quantile(values, 0.5)
}

fn quantile(values: &[f64], part: f64) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let index = (sorted.len() as f64 * part) as usize;
    sorted[index.min(sorted.len() - 1)]
}
