//! What each error code means.

use hive_errors::ErrorKind;

use super::tree::{Tree, assert_tidy};

const FOLDER: &str = "hive-errors/codes/";

/// What a page must have: what it means, why it happens, and what to do. Each heading is followed by text.
const HEADINGS: &[&str] = &["meaning", "cause", "do"];

/// Each code has a page and each page a code.
fn pages<'a>(tree: &Tree, codes: impl Iterator<Item = &'a str>) -> Vec<String> {
    let codes: Vec<&str> = codes.collect();
    let mut faults = Vec::new();
    for code in &codes {
        let path = format!("{FOLDER}{code}.md");
        let Some(page) = tree.get(&path) else {
            faults.push(format!("{path} is missing"));
            continue;
        };
        if !page
            .lines()
            .next()
            .is_some_and(|first| first.starts_with("# ") && first.contains(code))
        {
            faults.push(format!("{path} does not begin with its code as a heading"));
        }
        for heading in HEADINGS {
            if !has_section(page, heading) {
                faults.push(format!("{path} has no section whose heading says `{heading}`"));
            }
        }
    }
    let known = |path: &str| path.strip_suffix(".md").is_some_and(|code| codes.contains(&code));
    let strangers = tree
        .files()
        .filter_map(|(path, _)| path.strip_prefix(FOLDER).filter(|path| !known(path)));
    faults.extend(strangers.map(|path| format!("{FOLDER}{path} belongs to no error kind")));
    faults
}

fn has_section(page: &str, word: &str) -> bool {
    let mut lines = page
        .lines()
        .skip_while(|line| !(line.starts_with("##") && line.to_lowercase().contains(word)));
    lines.next();
    lines
        .find(|line| !line.trim().is_empty())
        .is_some_and(|line| !line.starts_with('#'))
}

#[test]
fn codes_have_pages() {
    assert_tidy(pages(&Tree::house(), ErrorKind::ALL.iter().map(|kind| kind.code())));
}

#[test]
fn codes_without_are_found() {
    let whole = "# `a-b`\n\n## Meaning\nx\n\n## Likely cause\nx\n\n## What to do\nx\n";
    let check = |name: &str, page: &str| pages(&Tree::of(&[(name, page)]), ["a-b"].into_iter()).len();
    assert_eq!(check("hive-errors/codes/a-b.md", whole), 0);
    assert_eq!(
        check("hive-errors/codes/a-c.md", whole),
        2,
        "one is missing, one is strange"
    );
    assert_eq!(check("hive-errors/codes/a-b.md", &whole.replace("a-b", "other")), 1);
    assert_eq!(
        check("hive-errors/codes/a-b.md", &whole.replace("## Likely cause\nx\n", "")),
        1
    );
    assert_eq!(
        check(
            "hive-errors/codes/a-b.md",
            &whole.replace("## Likely cause\nx\n", "## Likely cause\n\n")
        ),
        1
    );
}
