//! The report as text for people.

use std::fmt::Write;

use super::{Report, reference, why};
use crate::finding::{Finding, Severity};
use crate::limits;

pub(super) fn render(report: &Report) -> String {
    let mut page = String::new();
    // Writing to a string cannot fail.
    let _ = page_of(report, &mut page);
    page
}

fn page_of(report: &Report, page: &mut String) -> std::fmt::Result {
    writeln!(page, "# Review of {}\n", text(&report.name))?;
    write!(page, "{}", text(&report.title))?;
    if let Some(commit) = &report.commit {
        write!(page, " · {} · {}", text(&commit.subject), commit.time)?;
    }
    writeln!(page, "\n")?;
    writeln!(
        page,
        "**{}** in {} reviewed files.",
        sentence(&report.summary()),
        report.files.reviewed
    )?;
    writeln!(
        page,
        "Reviewed by {} {} with `--model {}`.\n",
        report.tool.name,
        report.tool.version,
        report.tool.reviewer.name()
    )?;
    writeln!(page, "| severity | findings |\n|---|---:|")?;
    for severity in Severity::ALL {
        writeln!(
            page,
            "| {severity} | {} |",
            report.counts.get(&severity).copied().unwrap_or(0)
        )?;
    }
    for remark in report.remarks() {
        writeln!(page, "\n> {}", text(&remark))?;
    }
    let (shown, hidden) = report.shown();
    for severity in Severity::ALL {
        let findings: Vec<&Finding> = shown.iter().filter(|finding| finding.severity == severity).collect();
        if !findings.is_empty() {
            writeln!(page, "\n## {}", sentence(severity.name()))?;
            findings.into_iter().try_for_each(|one| finding(one, page))?;
        }
    }
    if hidden > 0 {
        writeln!(page, "\n{hidden} further findings are in `report.json`.")?;
    }
    if !report.suppressed.is_empty() {
        writeln!(page, "\n## Let stand by the source\n")?;
        for one in report.suppressed.iter().take(limits::SHOWN_SKIPPED_MAX) {
            let reason = one.suppressed.as_deref().unwrap_or_default();
            writeln!(page, "- {} `{}`: {}", place(one), one.rule, text(reason))?;
        }
        more(report.suppressed.len(), page)?;
    }
    if !report.notes.is_empty() {
        writeln!(page, "\n## Notes\n")?;
        for note in report.notes.iter().take(limits::SHOWN_SKIPPED_MAX) {
            writeln!(page, "- {}: {}", code(&note.path.to_string()), text(&note.text))?;
        }
        more(report.notes.len(), page)?;
    }
    if !report.skipped.is_empty() {
        writeln!(page, "\n## Not reviewed\n")?;
        for (reason, count) in report.skip_reasons() {
            writeln!(page, "- {reason}: {count}")?;
        }
    }
    Ok(())
}

fn finding(finding: &Finding, page: &mut String) -> std::fmt::Result {
    writeln!(page, "\n### {}\n", text(&finding.title))?;
    writeln!(page, "{} · {} · `{}`\n", place(finding), finding.concern, finding.rule)?;
    writeln!(page, "{}.", sentence(text(&finding.message).trim_end_matches('.')))?;
    if !finding.excerpt.is_empty() {
        // A fence must be longer than any run of backticks inside it.
        let longest = finding
            .excerpt
            .iter()
            .map(|line| longest_run(&line.text))
            .max()
            .unwrap_or(0);
        let fence = "`".repeat(longest.max(2) + 1);
        let width = finding.excerpt.last().map_or(1, |line| line.number.to_string().len());
        writeln!(page, "\n{fence}text")?;
        for line in &finding.excerpt {
            let mark = if line.marked { '>' } else { ' ' };
            writeln!(
                page,
                "{}",
                format!("{mark} {:>width$} | {}", line.number, line.text).trim_end()
            )?;
        }
        writeln!(page, "{fence}")?;
    }
    if let Some(why) = why(&finding.rule) {
        writeln!(page, "\nWhy: {why}")?;
    }
    if !finding.suggestion.is_empty() {
        writeln!(page, "\nWhat to do: {}", text(&finding.suggestion))?;
    }
    if let Some(link) = reference(&finding.rule) {
        writeln!(page, "\nMore: <{link}>")?;
    }
    Ok(())
}

fn more(total: usize, page: &mut String) -> std::fmt::Result {
    match total.checked_sub(limits::SHOWN_SKIPPED_MAX) {
        Some(rest) if rest > 0 => writeln!(page, "- and {rest} more"),
        Some(_) | None => Ok(()),
    }
}

fn place(finding: &Finding) -> String {
    code(&format!("{}:{}", finding.path, finding.line))
}

/// Text as code, whatever backticks it holds.
fn code(text: &str) -> String {
    let fence = "`".repeat(longest_run(text) + 1);
    let pad = if text.starts_with('`') || text.ends_with('`') {
        " "
    } else {
        ""
    };
    format!("{fence}{pad}{text}{pad}{fence}")
}

fn longest_run(text: &str) -> usize {
    text.split(|character| character != '`')
        .map(str::len)
        .max()
        .unwrap_or(0)
}

/// Text that came from the repository or a model, so that it is shown and does nothing. Pairs of single backticks, as our
/// own messages have them, set code apart; any other use of them could open code that ends anywhere on the page.
fn text(text: &str) -> String {
    let paired = text.matches('`').count().is_multiple_of(2) && !text.contains("``");
    let mut shown = String::with_capacity(text.len());
    let mut in_code = false;
    for character in text.chars() {
        match character {
            '`' if paired => in_code = !in_code,
            '`' => {
                shown.push('\'');
                continue;
            }
            '\\' | '*' | '_' | '[' | ']' | '<' | '>' | '#' | '|' | '!' | '~' | '$' | '&' if !in_code => {
                shown.push('\\')
            }
            '\n' | '\r' => {
                shown.push(' ');
                continue;
            }
            _ => {}
        }
        shown.push(character);
    }
    shown
}

fn sentence(text: &str) -> String {
    let mut characters = text.chars();
    match characters.next() {
        Some(first) => first.to_uppercase().chain(characters).collect(),
        None => String::new(),
    }
}
