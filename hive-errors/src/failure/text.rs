//! Keeps text within its limits, and says so where something is missing.

/// `text`, or as much of it as fits into `bytes_max` together with a note that it was cut. Never splits a character.
pub(super) fn cut(mut text: String, bytes_max: usize) -> String {
    if text.len() <= bytes_max {
        return text;
    }
    let note = format!("… [cut at {bytes_max} bytes]");
    text.truncate(text.floor_char_boundary(bytes_max.saturating_sub(note.len())));
    text.push_str(&note);
    text
}

/// At most `items_max` (at least 3) items of at most `bytes_max` bytes. The first say what was being done and the last
/// is the root of it; where there are too many, a note stands for those in between.
pub(super) fn cut_list(items: Vec<String>, items_max: usize, bytes_max: usize) -> Vec<String> {
    let count = items.len();
    let mut items = items.into_iter().map(|item| cut(item, bytes_max));
    if count <= items_max {
        return items.collect();
    }
    let mut kept: Vec<String> = items.by_ref().take(items_max - 2).collect();
    // Without a count: what is wrapped again and again would count its own notes.
    kept.push(format!("… [causes left out, at most {items_max} are kept]"));
    kept.extend(items.next_back());
    kept
}
