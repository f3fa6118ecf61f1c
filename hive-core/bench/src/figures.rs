//! One series per name, its median over the rounds, and the bars it is held against.

use std::collections::BTreeMap;

/// The disk that absolute bars are meant for. On a slower one a wait says more about the disk than about the code.
const SYNCS_PER_S_LEAST: f64 = 5_000.0;

/// The figure of the disk itself.
pub const SYNCS: &str = "disk.syncs_per_s";

/// Series by name, one value per round or slice.
#[derive(Debug, Default)]
pub struct Figures {
    series: BTreeMap<String, (Vec<f64>, &'static str)>,
}

/// What a figure has to reach.
#[derive(Clone, Copy, Debug)]
pub enum Bar {
    /// Holds on every disk.
    Ratio(f64),
    /// Holds on every disk: must be below this.
    Below(f64),
    /// Milliseconds that must not be reached; holds on a disk that is quick enough.
    BelowMs(f64),
    /// So many a second; holds on a disk that is quick enough.
    PerS(f64),
}

impl Figures {
    /// Adds one round's value and hands it back.
    pub fn record(&mut self, name: &str, value: f64, unit: &'static str) -> f64 {
        let (values, _) = self.series.entry(name.to_owned()).or_insert_with(|| (Vec::new(), unit));
        values.push(value);
        value
    }

    /// Adds the ratio of one series to the best of others, by their medians: taken within each slice, for the disk that both
    /// met, and not to the best of each slice, which would be to the luckiest.
    pub fn ratio(&mut self, name: &str, of: &str, to: &[&str]) {
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

    /// Prints every figure, and how far the slices of each ratio lie apart.
    pub fn print(&self) {
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
    pub fn judge(&self, bars: &[(String, Bar)]) {
        let syncs = self.median(SYNCS).unwrap_or(0.0);
        for (name, bar) in bars {
            let Some(value) = self.median(name) else {
                println!("bar {name}: not met, not measured");
                continue;
            };
            let quick = syncs >= SYNCS_PER_S_LEAST;
            let verdict = match *bar {
                Bar::Ratio(least) => format!("at least {least}: {}", met(value >= least)),
                Bar::Below(most) => format!("below {most}: {}", met(value < most)),
                Bar::BelowMs(most) if quick => format!("below {most} ms: {}", met(value < most)),
                Bar::PerS(least) if quick => format!("at least {least}/s: {}", met(value >= least)),
                Bar::BelowMs(_) | Bar::PerS(_) => {
                    format!("not judged, the disk synced {syncs:.0} times/s and {SYNCS_PER_S_LEAST:.0} are needed")
                }
            };
            println!("bar {name}: {value:.3}, {verdict}");
        }
    }

    /// The median of a series, if there is one.
    pub fn median(&self, name: &str) -> Option<f64> {
        self.series.get(name).map(|(values, _)| median(values))
    }
}

fn met(yes: bool) -> &'static str {
    if yes { "met" } else { "not met" }
}

/// The value in the middle.
pub fn median(values: &[f64]) -> f64 {
    quantile(values, 0.5)
}

fn quantile(values: &[f64], part: f64) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let index = (sorted.len() as f64 * part) as usize;
    sorted[index.min(sorted.len() - 1)]
}
