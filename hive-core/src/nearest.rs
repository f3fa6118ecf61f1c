//! "Did you mean …?"

/// The candidate most like `wanted`, when one is like it enough to be what was meant.
///
/// ```
/// # use hive_core::nearest::nearest;
/// assert_eq!(nearest("reviever", ["planner", "reviewer"]), Some("reviewer"));
/// assert_eq!(nearest("coder", ["planner", "reviewer"]), None);
/// ```
pub fn nearest<'a>(wanted: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    // Long input is no slip of the pen, and comparing it costs its square.
    const LENGTH_MAX: usize = 256;
    const LIKENESS_MIN: f64 = 0.8;
    if wanted.len() > LENGTH_MAX {
        return None;
    }
    let lower = wanted.to_lowercase();
    candidates
        .into_iter()
        .map(|candidate| (strsim::jaro_winkler(&lower, &candidate.to_lowercase()), candidate))
        .filter(|(likeness, _)| *likeness >= LIKENESS_MIN)
        .max_by(|(one, _), (two, _)| one.total_cmp(two))
        .map(|(_, candidate)| candidate)
}
