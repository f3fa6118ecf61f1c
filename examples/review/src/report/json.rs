//! The report for programs: what [`Report`] holds, indented, with a newline at the end.

use super::Report;

pub(super) fn render(report: &Report) -> serde_json::Result<String> {
    let mut text = serde_json::to_string_pretty(report)?;
    text.push('\n');
    Ok(text)
}
