//! Links to other files of the house.

use super::tree::{Tree, assert_tidy};

/// Each relative link in a Markdown file or a doc comment leads to something, also the part behind `#`.
fn dead(tree: &Tree) -> Vec<String> {
    let mut faults = Vec::new();
    for (path, text) in tree.files() {
        let rust = path.ends_with(".rs");
        if !rust && !path.ends_with(".md") {
            continue;
        }
        let mut fenced = false;
        for (number, line) in text.lines().enumerate() {
            let line = match line.trim_start().strip_prefix("//") {
                Some(comment) if rust => comment.trim_start_matches(['/', '!']),
                None if rust => continue,
                Some(_) | None => line,
            };
            if line.trim_start().starts_with("```") {
                fenced = !fenced;
            }
            if fenced {
                continue;
            }
            for target in targets(line) {
                // A doc comment links to files and to items; rustdoc itself checks the items.
                if rust && !target.contains(".md") {
                    continue;
                }
                if let Some(why) = fault(tree, path, text, target) {
                    faults.push(format!("{path}:{}: {target}: {why}", number + 1));
                }
            }
        }
    }
    faults
}

/// What stands in the parentheses of `[…](…)`, where it is no address of the web.
fn targets(line: &str) -> impl Iterator<Item = &str> {
    let links = line
        .split("](")
        .skip(1)
        .filter_map(|rest| rest.split([')', ' ']).next());
    links.filter(|target| !target.contains("://") && !target.starts_with("mailto:"))
}

fn fault(tree: &Tree, from: &str, text: &str, target: &str) -> Option<String> {
    let (file, anchor) = target
        .split_once('#')
        .map_or((target, None), |(file, anchor)| (file, Some(anchor)));
    let to = if file.is_empty() {
        from.to_owned()
    } else {
        resolve(from, file)?
    };
    if !tree.has(&to) {
        return Some(format!("there is no {to}"));
    }
    let page = if file.is_empty() {
        text
    } else {
        tree.get(&to).unwrap_or_default()
    };
    let missing = anchor.filter(|anchor| !page.lines().any(|line| slug(line).as_deref() == Some(anchor)));
    missing.map(|anchor| format!("{to} has no heading for `{anchor}`"))
}

/// The path from the top that `file` means in the file `from`. One that leads out of the house is none of ours.
fn resolve(from: &str, file: &str) -> Option<String> {
    let mut parts: Vec<&str> = from.split('/').collect();
    parts.pop();
    for part in file.trim_end_matches('/').split('/') {
        match part {
            "." => {}
            ".." => {
                parts.pop()?;
            }
            name => parts.push(name),
        }
    }
    Some(parts.join("/"))
}

/// What a heading is called in a link.
fn slug(line: &str) -> Option<String> {
    let heading = line.trim_start_matches('#');
    if heading.len() == line.len() || !heading.starts_with(' ') {
        return None;
    }
    let kept = heading.trim().to_lowercase();
    let kept = kept
        .chars()
        .filter(|mark| mark.is_alphanumeric() || [' ', '-', '_'].contains(mark));
    Some(kept.map(|mark| if mark == ' ' { '-' } else { mark }).collect())
}

#[test]
fn links_lead_somewhere() {
    assert_tidy(dead(&Tree::house()));
}

#[test]
fn links_that_do_not_are_found() {
    let check = |path: &str, text: &str| {
        dead(&Tree::of(&[
            ("docs/b.md", "# The `first` one\n"),
            ("README.md", ""),
            (path, text),
        ]))
        .len()
    };
    for wrong in [
        "[a](c.md)",
        "[a](../docs/c.md)",
        "see [a](b.md) and [c](d)",
        "[a](b.md#second)",
        "[a](#none)",
    ] {
        assert_eq!(check("docs/a.md", wrong), 1, "{wrong}");
    }
    for right in [
        "[a](b.md)",
        "[a](../README.md)",
        "[a](..)",
        "[a](b.md#the-first-one)",
        "# x y\n[a](#x-y)",
        "[a](https://example.com/c.md)",
        "```\n[a](c.md)\n```",
    ] {
        assert_eq!(check("docs/a.md", right), 0, "{right}");
    }
    assert_eq!(check("x/src/a.rs", "//! See [the guide](../../docs/none.md)."), 1);
    assert_eq!(
        check(
            "x/src/a.rs",
            "/// See [the guide](../../docs/b.md) and [`X`](crate::X)."
        ),
        0
    );
    assert_eq!(check("x/src/a.rs", "let x = \"[a](c.md)\";"), 0);
}
