/// The candidate that someone who wrote `name` most likely meant, if any is near enough: at most a third of its letters off.
///
/// Case, `-` and `_` do not count; two letters swapped count once.
///
/// ```
/// use hive_core::config::nearest;
///
/// assert_eq!(nearest("tiemout", ["workers", "timeout"]), Some("timeout"));
/// assert_eq!(nearest("colour", ["workers", "timeout"]), None);
/// ```
pub fn nearest<'a>(name: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let plain = |text: &str| text.to_lowercase().replace('-', "_");
    let name = plain(name);
    let longest = name.chars().count();
    candidates
        .into_iter()
        .map(|candidate| (strsim::damerau_levenshtein(&name, &plain(candidate)), candidate))
        .filter(|(distance, candidate)| *distance <= (longest.max(candidate.chars().count()) / 3).max(1))
        // Among equals the first by name, so that an error reads the same each time. One letter is too little to go by.
        .filter(|(distance, candidate)| *distance == 0 || candidate.chars().count() > 1)
        .min()
        .map(|(_, candidate)| candidate)
}
