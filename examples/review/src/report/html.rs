//! The report as one HTML file: no script, nothing loaded, readable on a phone and on paper.
//!
//! What comes from the repository is text and stays text: it is escaped here, and the page's own policy forbids the
//! browser everything but the style sheet inside it.

use std::fmt::{self, Write};

use super::{Report, reference, why};
use crate::finding::{Finding, Severity};
use crate::limits;
use crate::path::RawPath;

const STYLE: &str = include_str!("html/page.css");
const POLICY: &str = "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'";

pub(super) fn render(report: &Report) -> String {
    let mut page = String::new();
    // Writing to a string cannot fail.
    let _ = page_of(report, &mut page);
    page
}

fn page_of(report: &Report, page: &mut String) -> fmt::Result {
    let name = Escaped(&report.name);
    writeln!(
        page,
        "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta http-equiv=\"Content-Security-Policy\" content=\"{POLICY}\">\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
         <meta name=\"referrer\" content=\"no-referrer\">\n\
         <title>Review of {name}</title>\n<style>\n{STYLE}</style>\n</head>\n<body>\n<main>"
    )?;
    head(report, page)?;
    cards(report, page)?;
    findings(report, page)?;
    suppressed(report, page)?;
    notes(report, page)?;
    skipped(report, page)?;
    writeln!(
        page,
        "<footer>{} {} · rules {} · reviewed with <code>--model {}</code></footer>\n</main>\n</body>\n</html>",
        report.tool.name,
        report.tool.version,
        report.tool.rules,
        report.tool.reviewer.name()
    )
}

fn head(report: &Report, page: &mut String) -> fmt::Result {
    writeln!(page, "<h1>Review of {}</h1>", Escaped(&report.name))?;
    write!(page, "<p class=\"soft\">{}", Escaped(&report.title))?;
    if let Some(commit) = &report.commit {
        write!(
            page,
            " · {} · <time datetime=\"{1}\">{1}</time>",
            Escaped(&commit.subject),
            Escaped(&commit.time)
        )?;
    }
    writeln!(page, "</p>")?;
    let what = if report.is_change {
        "in the changed lines of"
    } else {
        "in"
    };
    let (findings, files) = (
        plural(report.findings.len(), "finding"),
        plural(report.files.reviewed, "file"),
    );
    write!(page, "<p class=\"lead\"><strong>{findings}</strong> {what} {files}")?;
    let parts: Vec<String> = report
        .concern_counts()
        .into_iter()
        .filter(|(_, count)| *count > 0)
        .map(|(concern, count)| format!("{count} {concern}"))
        .collect();
    if !parts.is_empty() {
        write!(page, ": {}", parts.join(", "))?;
    }
    writeln!(page, ".</p>")?;
    report
        .remarks()
        .iter()
        .try_for_each(|remark| writeln!(page, "<p class=\"remark\">{}</p>", Escaped(remark)))
}

/// A count for each severity; each is a switch that shows or hides its findings.
fn cards(report: &Report, page: &mut String) -> fmt::Result {
    if report.findings.is_empty() {
        return writeln!(page, "<p class=\"none\">Nothing was found.</p>");
    }
    writeln!(
        page,
        "<div class=\"cards\" role=\"group\" aria-label=\"Show findings by severity\">"
    )?;
    for severity in Severity::ALL {
        let count = report.counts.get(&severity).copied().unwrap_or(0);
        writeln!(
            page,
            "<div class=\"{severity}\"><input type=\"checkbox\" id=\"f-{severity}\" checked>\
             <label for=\"f-{severity}\"><b>{count}</b><span>{severity}</span></label></div>"
        )?;
    }
    writeln!(
        page,
        "</div>\n<p class=\"soft hint\">Choose a severity to hide or show it.</p>"
    )
}

fn findings(report: &Report, page: &mut String) -> fmt::Result {
    let files = report.by_file();
    if files.is_empty() {
        return Ok(());
    }
    writeln!(page, "<h2>Findings</h2>")?;
    for (path, findings) in files {
        file(path, &findings, page)?;
    }
    match report.shown().1 {
        0 => Ok(()),
        hidden => writeln!(
            page,
            "<p class=\"remark\">{hidden} further findings are in <code>report.json</code>.</p>"
        ),
    }
}

fn file(path: &RawPath, findings: &[&Finding], page: &mut String) -> fmt::Result {
    write!(page, "<details class=\"file")?;
    for severity in Severity::ALL {
        if findings.iter().any(|finding| finding.severity == severity) {
            write!(page, " has-{severity}")?;
        }
    }
    writeln!(
        page,
        "\" open>\n<summary><code>{}</code><span>{}</span></summary>",
        Escaped(&path.to_string()),
        plural(findings.len(), "finding")
    )?;
    findings.iter().try_for_each(|one| finding(one, page))?;
    writeln!(page, "</details>")
}

fn finding(finding: &Finding, page: &mut String) -> fmt::Result {
    writeln!(
        page,
        "<article class=\"finding {0}\" id=\"{1}\">\n<header><span class=\"badge\">{0}</span><h3>{2}</h3>\
         <span class=\"where\">line {3} · {4} · <code>{5}</code></span></header>\n<p>{6}</p>",
        finding.severity,
        Escaped(&finding.fingerprint),
        Prose(&finding.title),
        finding.line,
        finding.concern,
        Escaped(&finding.rule),
        Prose(&sentence(&finding.message)),
    )?;
    if !finding.excerpt.is_empty() {
        write!(page, "<pre tabindex=\"0\">")?;
        for line in &finding.excerpt {
            let class = if line.marked { " class=\"marked\"" } else { "" };
            write!(
                page,
                "<span{class}><i>{}</i>{}</span>",
                line.number,
                Escaped(&line.text)
            )?;
        }
        writeln!(page, "</pre>")?;
    }
    writeln!(page, "<dl class=\"advice\">")?;
    if let Some(why) = why(&finding.rule) {
        writeln!(page, "<div><dt>Why</dt><dd>{}</dd></div>", Prose(why))?;
    }
    if !finding.suggestion.is_empty() {
        write!(page, "<div><dt>Do</dt><dd>{}", Prose(&finding.suggestion))?;
        if let Some(link) = reference(&finding.rule) {
            write!(
                page,
                " <a href=\"{}\" rel=\"noopener noreferrer\">More</a>",
                Escaped(link)
            )?;
        }
        writeln!(page, "</dd></div>")?;
    }
    writeln!(page, "</dl>\n</article>")
}

fn suppressed(report: &Report, page: &mut String) -> fmt::Result {
    let lines = report.suppressed.iter().map(|finding| {
        let place = format!("{}:{}", finding.path, finding.line);
        let reason = finding.suppressed.as_deref().unwrap_or_default();
        format!(
            "<code>{}</code> <code>{}</code>: {}",
            Escaped(&place),
            Escaped(&finding.rule),
            Escaped(reason)
        )
    });
    list("Let stand by the source", lines, page)
}

fn notes(report: &Report, page: &mut String) -> fmt::Result {
    let lines = report.notes.iter().map(|note| {
        let path = note.path.to_string();
        format!("<code>{}</code>: {}", Escaped(&path), Escaped(&note.text))
    });
    list("Notes", lines, page)
}

fn skipped(report: &Report, page: &mut String) -> fmt::Result {
    let lines = report.skipped.iter().map(|skipped| {
        let path = skipped.path.to_string();
        format!("<code>{}</code>: {}", Escaped(&path), skipped.reason)
    });
    list("Not reviewed", lines, page)
}

/// A list that opens on demand, cut where nobody reads on.
fn list(title: &str, lines: impl ExactSizeIterator<Item = String>, page: &mut String) -> fmt::Result {
    let count = lines.len();
    if count == 0 {
        return Ok(());
    }
    writeln!(
        page,
        "<h2>{title}</h2>\n<details class=\"list\"><summary>{}</summary>\n<ul>",
        plural(count, "entry")
    )?;
    for line in lines.take(limits::SHOWN_SKIPPED_MAX) {
        writeln!(page, "<li>{line}</li>")?;
    }
    if count > limits::SHOWN_SKIPPED_MAX {
        writeln!(page, "<li>and {} more</li>", count - limits::SHOWN_SKIPPED_MAX)?;
    }
    writeln!(page, "</ul>\n</details>")
}

fn plural(count: usize, word: &str) -> String {
    match (count, word.strip_suffix('y')) {
        (1, _) => format!("1 {word}"),
        (_, Some(stem)) => format!("{count} {stem}ies"),
        (_, None) => format!("{count} {word}s"),
    }
}

fn sentence(text: &str) -> String {
    let text = text.trim_end_matches('.');
    let mut characters = text.chars();
    let first: String = characters
        .next()
        .map(|first| first.to_uppercase().collect())
        .unwrap_or_default();
    format!("{first}{}.", characters.as_str())
}

/// Text in HTML: no character of it means anything but itself.
struct Escaped<'a>(&'a str);

impl fmt::Display for Escaped<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for character in self.0.chars() {
            match character {
                '&' => f.write_str("&amp;")?,
                '<' => f.write_str("&lt;")?,
                '>' => f.write_str("&gt;")?,
                '"' => f.write_str("&quot;")?,
                '\'' => f.write_str("&#39;")?,
                plain => f.write_char(plain)?,
            }
        }
        Ok(())
    }
}

/// Escaped text in which pairs of backticks set code apart.
struct Prose<'a>(&'a str);

impl fmt::Display for Prose<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let paired = self.0.matches('`').count().is_multiple_of(2);
        if !paired {
            return Escaped(self.0).fmt(f);
        }
        for (position, part) in self.0.split('`').enumerate() {
            match position % 2 {
                0 => Escaped(part).fmt(f)?,
                _ => write!(f, "<code>{}</code>", Escaped(part))?,
            }
        }
        Ok(())
    }
}
