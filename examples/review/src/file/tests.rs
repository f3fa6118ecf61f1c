use proptest::prelude::*;

use super::*;

fn masked(path: &str, text: &str) -> String {
    let file = SourceFile::of_text(path, Role::Library, text).unwrap();
    let shown = |(at, character): (usize, char)| match (file.part_at(at), character) {
        (_, '\n') => '\n',
        (Part::Code, other) => other,
        (Part::Comment, _) => '/',
        (Part::Text, _) => '"',
    };
    file.text().char_indices().map(shown).collect()
}

#[test]
fn comments_and_strings_are_told_from_code() {
    let cases = [
        ("a.rs", "let a = \"x // y\"; // z", "let a = \"\"\"\"\"\"\"\"; ////"),
        ("a.rs", "/* a /* b */ c */ d", "///////////////// d"),
        (
            "a.rs",
            "r#\"a\"b\"# + br\"\\\" + c",
            "\"\"\"\"\"\"\"\" + \"\"\"\"\" + c",
        ),
        (
            "a.rs",
            "fn f<'a>(x: &'a str) { '\"'; '\\''; b'x' }",
            "fn f<'a>(x: &'a str) { \"\"\"; \"\"\"\"; b\"\"\" }",
        ),
        ("a.rs", "let four = \"a\\\"b\";c", "let four = \"\"\"\"\"\";c"),
        (
            "a.js",
            "a = /[\"'`/]/; b = c / d; // e",
            "a = \"\"\"\"\"\"\"\"; b = c / d; ////",
        ),
        ("a.js", "`x${'y'}\nz` + q", "\"\"\"\"\"\"\"\"\n\"\" + q"),
        ("a.py", "'''a\n# b'''\nc # d 'e'", "\"\"\"\"\n\"\"\"\"\"\"\nc ///////"),
        ("a.sh", "echo $# 'a # b' # c", "echo $# \"\"\"\"\"\"\" ///"),
        ("a.yml", "it's: fine # x", "it's: fine ///"),
        ("a.sql", "select 'a--b' -- c", "select \"\"\"\"\"\" ////"),
        ("a.md", "a <!-- b --> c", "a ////////// c"),
        ("a.c", "char *s = \"open\nint x;", "char *s = \"\"\"\"\"\nint x;"),
        ("a.txt", "\"no\" # such // thing", "\"no\" # such // thing"),
    ];
    for (path, text, expected) in cases {
        assert_eq!(masked(path, text).trim_end_matches('\n'), expected, "{path}: {text}");
    }
}

#[test]
fn lines_keep_their_numbers_in_pieces() {
    let pieces = vec![
        Piece {
            first_line: 10,
            bytes: b"ten\neleven\r\n".to_vec(),
        },
        Piece {
            first_line: 40,
            bytes: b"forty".to_vec(),
        },
    ];
    let changed: LineSet = [11].into_iter().collect();
    let file = SourceFile::new(&"a.rs".into(), Role::Library, Loaded::Pieces(pieces), Some(changed)).unwrap();
    let lines: Vec<(u32, &str)> = file.lines().map(|line| (line.number, line.text)).collect();
    assert_eq!(lines, [(10, "ten"), (11, "eleven"), (40, "forty")]);
    assert_eq!(
        file.place(file.text().find("forty").unwrap() + 2),
        Place { line: 40, column: 3 }
    );
    assert!(file.counts(5, 11) && !file.counts(10, 10) && !file.counts(12, 50));
    assert!(file.mixed_line_ends && !file.whole);
    let excerpt: Vec<(u32, bool)> = file
        .excerpt(11, 11)
        .iter()
        .map(|line| (line.number, line.marked))
        .collect();
    assert_eq!(excerpt, [(10, false), (11, true)]);
}

#[test]
fn comments_about_a_line() {
    let text = "// first\n// second\nlet a = 1; // third\n\n// apart\n\nlet b = 2;\n";
    let file = SourceFile::of_text("a.rs", Role::Library, text).unwrap();
    assert_eq!(file.comment_about(3), "// first\n// second\n// third");
    assert_eq!(file.comment_about(7), "");
    assert!(file.is_comment_line(1) && !file.is_comment_line(3) && !file.is_comment_line(4));
    assert!(file.is_code_line(3) && !file.is_code_line(1) && !file.is_code_line(4));
}

#[test]
fn suppressions_name_rules_a_line_and_a_reason() {
    let text = "// review: allow(a-b, c) because\n#[inline]\nfn f() {}\nlet s = \"review: allow(x) no\";\ng(); // review: allow(d)\n/* review: allow-file(e): all of it */\n";
    let file = SourceFile::of_text("a.rs", Role::Library, text).unwrap();
    let allows = file.allows();
    assert_eq!(
        allows,
        [
            Allow {
                rules: vec!["a-b".into(), "c".into()],
                reason: "because".into(),
                line: 1,
                target: Some(3)
            },
            Allow {
                rules: vec!["d".into()],
                reason: String::new(),
                line: 5,
                target: Some(5)
            },
            Allow {
                rules: vec!["e".into()],
                reason: "all of it".into(),
                line: 6,
                target: None
            },
        ]
    );
}

#[test]
fn an_excerpt_is_shown_from_its_margin() {
    let text = "{\n    {\n        a(\n\n            b)\n    }\n}\n";
    let file = SourceFile::of_text("a.c", Role::Library, text).unwrap();
    let shown: Vec<String> = file.excerpt(4, 4).into_iter().map(|line| line.text).collect();
    assert_eq!(shown, ["{", "    a(", "", "        b)", "}"]);
}

#[test]
fn what_is_no_text_is_no_file() {
    assert!(SourceFile::new(&"a".into(), Role::Library, Loaded::Whole(b"a\0b".to_vec()), None).is_none());
    assert!(SourceFile::new(&"a".into(), Role::Library, Loaded::Missing, None).is_none());
    let latin = SourceFile::new(&"a".into(), Role::Library, Loaded::Whole(b"caf\xe9\n".to_vec()), None).unwrap();
    assert_eq!(latin.text(), "caf\u{fffd}\n");
}

proptest! {
    #[test]
    fn any_text_in_any_syntax(text in "([a-z]|[\"'`#/*\\\\\n<>!-]|r#\"|é|//|/\\*){0,80}") {
        for path in ["a.rs", "a.c", "a.js", "a.py", "a.sh", "a.yml", "a.sql", "a.md", "a.css", "a.txt"] {
            let file = SourceFile::of_text(path, Role::Library, &text).unwrap();
            prop_assert_eq!(file.parts.len(), file.text.len());
            let last = u32::try_from(file.lines.len()).unwrap();
            let _ = (file.excerpt(1, last), file.allows(), file.comment_about(last));
        }
    }
}
