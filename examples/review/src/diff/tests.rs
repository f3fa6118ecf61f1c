use expect_test::{Expect, expect};
use proptest::prelude::*;

use super::*;

fn check(text: &str, expected: Expect) {
    let mut shown = String::new();
    match parse(text.as_bytes()) {
        Ok(files) => {
            for file in files {
                let path = |path: &Option<RawPath>| path.as_ref().map_or("-".to_owned(), ToString::to_string);
                let (added, removed) = file.counts();
                shown += &format!(
                    "{:?} {} -> {} mode {:?} oids {:?}..{:?} binary {} +{added} -{removed} at {:?} bytes {:?}\n",
                    file.status,
                    path(&file.old),
                    path(&file.new),
                    file.mode,
                    file.old_oid,
                    file.new_oid,
                    file.binary,
                    file.added_lines().ranges(),
                    file.span,
                );
            }
        }
        Err(error) => shown = format!("{error}\n"),
    }
    expected.assert_eq(&shown);
}

#[test]
fn a_change_a_new_file_and_a_deleted_one() {
    check(
        "From: someone\n\ndiff --git a/src/lib.rs b/src/lib.rs\nindex 1234567..89abcde 100644\n--- a/src/lib.rs\n+++ b/src/lib.rs\n@@ -1,3 +1,4 @@ fn main\n one\n-two\n+2\n+2.5\n three\ndiff --git a/new b/new\nnew file mode 100755\nindex 0000000..89abcde\n--- /dev/null\n+++ b/new\n@@ -0,0 +1 @@\n+hello\n\\ No newline at end of file\ndiff --git a/old b/old\ndeleted file mode 100644\nindex 89abcde..0000000\n--- a/old\n+++ /dev/null\n@@ -1 +0,0 @@\n-bye\n",
        expect![[r#"
            Modified src/lib.rs -> src/lib.rs mode Some("100644") oids Some("1234567")..Some("89abcde") binary false +2 -1 at [(2, 3)] bytes 15..165
            Added - -> new mode Some("100755") oids None..Some("89abcde") binary false +1 -0 at [(1, 1)] bytes 165..305
            Deleted old -> - mode Some("100644") oids Some("89abcde")..None binary false +0 -1 at [] bytes 305..419
        "#]],
    );
}

#[test]
fn renames_copies_modes_and_binaries() {
    check(
        "diff --git a/a b c b/d e\nsimilarity index 100%\nrename from a b c\nrename to d e\ndiff --git a/run.sh b/run.sh\nold mode 100644\nnew mode 100755\ndiff --git a/logo.png b/logo.png\nindex 1234567..89abcde 100644\nBinary files a/logo.png and b/logo.png differ\ndiff --git \"a/caf\\351\" \"b/caf\\351\"\nnew file mode 100644\nindex 0000000..89abcde\nGIT binary patch\nliteral 3\nKcmZ?wbhEHb\n\ndiff --git a/x b/y\nsimilarity index 90%\ncopy from x\ncopy to y\n",
        expect![[r#"
            Renamed a b c -> d e mode None oids None..None binary false +0 -0 at [] bytes 0..79
            Modified run.sh -> run.sh mode Some("100755") oids None..None binary false +0 -0 at [] bytes 79..140
            Modified logo.png -> logo.png mode Some("100644") oids Some("1234567")..Some("89abcde") binary true +0 -0 at [] bytes 140..249
            Added - -> "caf\351" mode Some("100644") oids None..Some("89abcde") binary true +0 -0 at [] bytes 249..368
            Copied x -> y mode None oids None..None binary false +0 -0 at [] bytes 368..430
        "#]],
    );
}

#[test]
fn names_of_every_kind() {
    // Without git's headers, with times, without prefixes, with CRLF, with a tab after a name that has spaces.
    check(
        "--- old/a.c\t2020-01-01 00:00:00\n+++ new/a.c\t2020-01-02 00:00:00\n@@ -1 +1 @@\n-a\n+b\n--- a/x\r\n+++ b/x\r\n@@ -1 +1 @@\r\n-a\r\n+b\r\ndiff --git src/m src/m\n--- src/m\n+++ src/m\n@@ -1 +1 @@\n-a\n+b\ndiff --git i/f w/f\n--- i/f\n+++ w/f\n@@ -1 +1 @@\n-a\n+b\ndiff --git a/two words b/two words\n--- a/two words\t\n+++ b/two words\t\n@@ -1 +1 @@\n-a\n+b\n",
        expect![[r#"
            Modified old/a.c -> new/a.c mode None oids None..None binary false +1 -1 at [(1, 1)] bytes 0..82
            Modified x -> x mode None oids None..None binary false +1 -1 at [(1, 1)] bytes 82..121
            Modified src/m -> src/m mode None oids None..None binary false +1 -1 at [(1, 1)] bytes 121..182
            Modified f -> f mode None oids None..None binary false +1 -1 at [(1, 1)] bytes 182..235
            Modified two words -> two words mode None oids None..None binary false +1 -1 at [(1, 1)] bytes 235..322
        "#]],
    );
}

#[test]
fn lines_that_look_like_headers_inside_a_hunk() {
    // A removed line "-- a" and an added one "++ b" stand as `--- a` and `+++ b`; the counts tell them apart.
    check(
        "--- a/q.sql\n+++ b/q.sql\n@@ -1,2 +1,2 @@\n--- a\n+++ b\n diff --git a/x b/x\n",
        expect![[r#"
            Modified q.sql -> q.sql mode None oids None..None binary false +1 -1 at [(1, 1)] bytes 0..72
        "#]],
    );
}

#[test]
fn malformed_hunks_name_their_line() {
    check(
        "--- a/x\n+++ b/x\n@@ -1,2 +1 @@\n-a\n",
        expect!["the diff is malformed in line 5: the diff ends inside a hunk\n"],
    );
    check(
        "--- a/x\n+++ b/x\n@@ -1 +1,2 @@\n-a\n-b\n",
        expect!["the diff is malformed in line 5: a hunk has more lines of a kind than it says\n"],
    );
    check(
        "--- a/x\n+++ b/x\n@@ -1,2 +1,2 @@\n a\nrubbish\n",
        expect!["the diff is malformed in line 5: a hunk has fewer lines than it says\n"],
    );
    check(
        "--- a/x\n+++ b/x\n@@ -1,99999999999 +1 @@\n",
        expect!["the diff is malformed in line 3: a hunk begins with `@@ -line,count +line,count @@`\n"],
    );
    check(
        "--- a/x\n+++ b/x\n@@ -4294967295 +4294967295,2 @@\n",
        expect!["the diff is malformed in line 4: a line number is too large\n"],
    );
    check(
        "@@ -1 +1 @@\n",
        expect!["the diff is malformed in line 1: a hunk stands before any file name\n"],
    );
    check(
        "diff --cc x\nindex 1,2..3\n",
        expect!["the diff is malformed in line 1: this is the diff of a merge; compare with one parent\n"],
    );
}

#[test]
fn text_without_a_diff_has_no_files() {
    check("", expect![""]);
    check("hello\nworld", expect![""]);
    check("diff --git nonsense\n", expect![""]);
}

#[test]
fn applying_gives_the_content_after() {
    let diff = b"--- a/x\n+++ b/x\n@@ -1,3 +1,3 @@\n one\n-two\n+2\n three\n@@ -5,0 +6 @@\n+end\n\\ No newline at end of file\n";
    let files = parse(diff).unwrap();
    let applied = files[0].apply(b"one\ntwo\nthree\n4\n5\n").unwrap();
    assert_eq!(String::from_utf8(applied).unwrap(), "one\n2\nthree\n4\n5\nend");
    assert_eq!(files[0].apply(b"another\nfile\n"), None);
    assert_eq!(files[0].apply(b""), None);
}

/// A unified diff of two contents that shows them whole; what it lacks in thrift it gains in being obviously right.
fn whole_diff(old: &str, new: &str) -> String {
    fn side(text: &str, sign: char) -> String {
        let mark = |line: &str| match line.strip_suffix('\n') {
            Some(line) => format!("{sign}{line}\n"),
            None => format!("{sign}{line}\n\\ No newline at end of file\n"),
        };
        text.split_inclusive('\n').map(mark).collect()
    }
    let (olds, news) = (old.split_inclusive('\n').count(), new.split_inclusive('\n').count());
    let start = |count: usize| usize::from(count > 0);
    format!(
        "--- a/x\n+++ b/x\n@@ -{},{olds} +{},{news} @@\n{}{}",
        start(olds),
        start(news),
        side(old, '-'),
        side(new, '+')
    )
}

proptest! {
    #[test]
    fn a_diff_leads_from_old_to_new(old in "([a-c +@\\\\-]{0,6}\r?\n){0,6}[a-c]{0,2}", new in "([a-c +@\\\\-]{0,6}\r?\n){0,6}[a-c]{0,2}") {
        prop_assume!(!old.is_empty() || !new.is_empty());
        let text = whole_diff(&old, &new);
        let files = parse(text.as_bytes()).unwrap();
        prop_assert_eq!(files.len(), 1);
        prop_assert_eq!(files[0].apply(old.as_bytes()), Some(new.clone().into_bytes()));
        prop_assert_eq!(files[0].added_lines().len(), new.split_inclusive('\n').count());
    }

    #[test]
    fn hostile_text_never_panics(parts in proptest::collection::vec(prop_oneof![
        Just("diff --git a/x b/x\n".to_owned()), Just("--- a/x\n".to_owned()), Just("+++ b/x\n".to_owned()),
        Just("@@ -1,2 +1,2 @@\n".to_owned()), Just("@@ -0,0 +1 @@\n".to_owned()), Just(" a\n".to_owned()), Just("-a\n".to_owned()),
        Just("+a\n".to_owned()), Just("\\ No newline\n".to_owned()), Just("rename from \"\\\n".to_owned()),
        Just("index 0..\n".to_owned()), Just("diff --git \"a\\".to_owned()), Just("\n".to_owned()), ".{0,30}\n?",
    ], 0..24)) {
        let text = parts.concat();
        if let Ok(files) = parse(text.as_bytes()) {
            for file in files {
                prop_assert!(text.get(file.span.clone()).is_some());
                let _ = file.apply(text.as_bytes());
                let _ = (file.added_lines(), file.path().to_string());
            }
        }
    }

    #[test]
    fn hostile_bytes_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        let _ = parse(&bytes);
    }
}
