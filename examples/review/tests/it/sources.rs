//! Every kind of source: a report, or a clear error and exit code 2.

use std::ffi::OsStr;
use std::io::Write;
use std::os::unix::ffi::OsStrExt;
use std::process::Stdio;

use serde_json::Value;

use crate::repo::{Home, git, program, run, text};

fn json(home: &Home) -> Value {
    serde_json::from_str(&home.report("out", "report.json")).unwrap()
}

/// `rule path:line` of every finding.
fn findings(home: &Home) -> Vec<String> {
    let report = json(home);
    let line = |finding: &Value| {
        format!(
            "{} {}:{}",
            finding["rule"].as_str().unwrap(),
            finding["path"].as_str().unwrap(),
            finding["line"]
        )
    };
    report["findings"].as_array().unwrap().iter().map(line).collect()
}

#[test]
fn a_repository_is_reviewed_and_the_exit_code_tells_what_was_asked() {
    let home = Home::with_repository();
    home.write("src/lib.rs", "fn f() {\n    todo!()\n}\n");
    home.commit("first");
    let (code, printed) = run(home.review("out", &[]));
    assert_eq!(code, 0, "{printed}");
    assert!(
        printed.contains("model: rules (offline)") && printed.contains("report.html"),
        "{printed}"
    );
    assert_eq!(findings(&home), ["rust-todo src/lib.rs:2"]);
    for name in ["report.html", "report.md", "report.sarif"] {
        assert!(home.report("out", name).contains("rust-todo"), "{name}");
    }
    // The same again is not reviewed again; --fail-on asks for more of the same report.
    let (code, printed) = run(home.review("out", &["--fail-on", "medium"]));
    assert_eq!(code, 1, "{printed}");
    assert!(printed.contains("reviewed before"), "{printed}");
    assert_eq!(run(home.review("out", &["--fail-on", "high"])).0, 0);
    // A lost report is written again from what is stored, and `--fresh` reviews again.
    let before = home.report("out", "report.json");
    std::fs::remove_file(home.path().join("out/report.json")).unwrap();
    assert_eq!(run(home.review("out", &["--quiet"])), (0, String::new()));
    assert_eq!(home.report("out", "report.json"), before);
    let (code, printed) = run(home.review("out", &["--fresh"]));
    assert!(code == 0 && !printed.contains("reviewed before"), "{printed}");
    assert_eq!(home.report("out", "report.json"), before);
}

#[test]
fn state_stands_in_a_directory_that_git_does_not_see() {
    let home = Home::with_repository();
    home.write("a.txt", "a\n");
    home.commit("first");
    let mut command = program(&home.project());
    command.arg(".");
    let (code, printed) = run(command);
    assert_eq!(code, 0, "{printed}");
    assert!(printed.contains(".hive/review/project/report.html"), "{printed}");
    assert!(home.project().join(".hive/review/project/report.html").exists());
    assert_eq!(home.git(&["status", "--porcelain"]), "");
}

#[test]
fn what_cannot_be_reviewed_is_refused_with_a_word_on_what_to_do() {
    let outside = Home::new();
    let empty = Home::with_repository();
    let repository = Home::with_repository();
    repository.write("a", "a\n");
    repository.commit("first");
    std::fs::write(repository.path().join("no.diff"), "hello\n").unwrap();
    std::fs::write(
        repository.path().join("broken.diff"),
        "--- a/x\n+++ b/x\n@@ -1,9 +1 @@\n-a\n",
    )
    .unwrap();
    let file = |name: &str| repository.path().join(name).to_str().unwrap().to_owned();
    let cases: [(&Home, Vec<String>, &str, &str); 7] = [
        (&outside, vec![], "not in a git repository", "git init"),
        (&empty, vec![], "no commits yet", "commit something"),
        (
            &repository,
            vec!["--range".into(), "nope..HEAD".into()],
            "unknown revision `nope`",
            "git log",
        ),
        (
            &repository,
            vec!["--range".into(), "HEAD".into()],
            "not a range",
            "A..B",
        ),
        (
            &repository,
            vec!["--diff".into(), file("no.diff")],
            "holds no diff",
            "git diff",
        ),
        (
            &repository,
            vec!["--diff".into(), file("broken.diff")],
            "malformed in line 5",
            "do not edit",
        ),
        (
            &repository,
            vec!["--diff".into(), file("missing.diff")],
            "failed to read",
            "exists",
        ),
    ];
    for (home, args, what, remedy) in cases {
        let args: Vec<&str> = args.iter().map(String::as_str).collect();
        let (code, printed) = run(home.review("refused", &args));
        assert_eq!(code, 2, "{args:?}: {printed}");
        assert!(
            printed.contains(what) && printed.contains("what to do:") && printed.contains(remedy),
            "{args:?}: {printed}"
        );
        assert!(!home.path().join("refused/report.json").exists(), "{args:?}");
    }
}

#[test]
fn names_and_contents_of_every_kind() {
    let home = Home::with_repository();
    home.write(OsStr::from_bytes(b"caf\xe9.py"), "eval(x)\n");
    home.write(OsStr::from_bytes(b"new\nline.py"), "eval(x)\n");
    home.write("<img src=x>.py", "eval(x)\n");
    home.write("blob.py", b"\0\x01\x02");
    home.write("latin.py", b"# caf\xe9\neval(x)\n");
    home.write("empty.py", "");
    std::os::unix::fs::symlink("empty.py", home.project().join("link.py")).unwrap();
    home.commit("first");
    let (code, printed) = run(home.review("out", &[]));
    assert_eq!(code, 0, "{printed}");
    let mut found = findings(&home);
    found.sort();
    assert_eq!(
        found,
        [
            "dynamic-eval \"caf\\351.py\":1",
            "dynamic-eval \"new\\nline.py\":1",
            "dynamic-eval <img src=x>.py:1",
            "dynamic-eval latin.py:2",
        ]
    );
    let skipped: Vec<String> = json(&home)["skipped"]
        .as_array()
        .unwrap()
        .iter()
        .map(Value::to_string)
        .collect();
    assert_eq!(
        skipped,
        [
            r#"{"path":"blob.py","reason":"binary"}"#,
            r#"{"path":"link.py","reason":"link"}"#
        ]
    );
    assert!(home.report("out", "report.sarif").contains("caf%E9.py"));
    assert!(!home.report("out", "report.html").contains("<img"));
}

#[test]
fn a_shallow_clone_a_bare_one_and_one_with_a_submodule() {
    let home = Home::with_repository();
    home.write("a.py", "x = 1\n");
    home.commit("first");
    home.write("a.py", "eval(x)\n");
    home.commit("second");
    let url = format!("file://{}", home.project().display());
    git(home.path(), &["clone", "-q", "--depth=1", &url, "shallow"]);
    git(home.path(), &["clone", "-q", "--bare", &url, "bare.git"]);
    home.git(&["submodule", "--quiet", "add", &url, "sub"]);
    home.commit("third");

    let review = |directory: &str, args: &[&str]| {
        let mut command = program(home.path());
        command.arg(directory).args(["--out", "out"]).args(args);
        run(command)
    };
    for directory in ["shallow", "bare.git", "project"] {
        let (code, printed) = review(directory, &[]);
        assert_eq!(code, 0, "{directory}: {printed}");
        assert_eq!(findings(&home), ["dynamic-eval a.py:1"], "{directory}");
    }
    assert!(json(&home)["skipped"].to_string().contains("submodule"));
    let (code, printed) = review("shallow", &["--range", "HEAD~1..HEAD"]);
    assert!(code == 2 && printed.contains("--unshallow"), "{printed}");
}

#[test]
fn a_range_and_a_diff_show_what_changed() {
    let home = Home::with_repository();
    home.write("a.py", "eval(old)\nx = 1\n");
    home.commit("first");
    home.write("a.py", "eval(old)\neval(new)\n");
    home.commit("second");
    let (code, printed) = run(home.review("out", &["--range", "HEAD~1..HEAD"]));
    assert_eq!(code, 0, "{printed}");
    assert_eq!(findings(&home), ["dynamic-eval a.py:2"]);
    assert!(home.report("out", "report.html").contains("in the changed lines of"));

    let diff = home.git(&["diff", "HEAD~1", "HEAD"]);
    let mut child = home
        .review("out", &["--diff", "-"])
        .stdin(Stdio::piped())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(diff.as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success(), "{}", text(&output.stderr));
    assert_eq!(findings(&home), ["dynamic-eval a.py:2"]);

    // Far from any repository only the places are known.
    std::fs::write(home.path().join("change.diff"), diff).unwrap();
    let elsewhere = tempfile::tempdir().unwrap();
    let mut command = program(elsewhere.path());
    command
        .arg(".")
        .arg("--diff")
        .arg(home.path().join("change.diff"))
        .arg("--out")
        .arg(home.path().join("out"));
    let (code, printed) = run(command);
    assert!(code == 0 && printed.contains("only the changed places"), "{printed}");
    assert_eq!(findings(&home), ["dynamic-eval a.py:2"]);
}

#[test]
fn a_file_in_the_place_of_the_database_is_left_alone() {
    let home = Home::with_repository();
    home.write("a.py", "eval(x)\n");
    home.commit("first");
    let text = "this is no database, and long enough to be seen as none\n".repeat(9);
    std::fs::create_dir(home.path().join("out")).unwrap();
    std::fs::write(home.path().join("out/hive.db"), &text).unwrap();
    let (code, printed) = run(home.review("out", &[]));
    assert!(code == 2 && printed.contains("database"), "{code} {printed}");
    assert_eq!(home.report("out", "hive.db"), text);
}

#[test]
fn two_reviews_at_once_do_not_share_a_database() {
    let home = many_files();
    let ledger = home.path().join("ledger");
    let mut first = home
        .review("out", &["--jobs", "1", "--ledger", ledger.to_str().unwrap()])
        .spawn()
        .unwrap();
    wait_for_lines(&ledger, 10);
    let (code, printed) = run(home.review("out", &[]));
    assert!(code == 2 && printed.contains("database"), "{code} {printed}");
    first.kill().unwrap();
    first.wait().unwrap();
}

#[test]
fn git_that_is_not_there_or_does_not_trust_the_owner() {
    let home = Home::with_repository();
    home.write("a.py", "eval(x)\n");
    home.commit("first");
    let mut command = home.review("out", &[]);
    command.env("PATH", home.path());
    let (code, printed) = run(command);
    assert!(code == 2 && printed.contains("install git"), "{code} {printed}");
    let mut command = home.review("out", &[]);
    command
        .env("GIT_TEST_ASSUME_DIFFERENT_OWNER", "1")
        .envs([("GIT_CONFIG_GLOBAL", "/dev/null"), ("GIT_CONFIG_NOSYSTEM", "1")]);
    let (code, printed) = run(command);
    assert!(code == 2 && printed.contains("safe.directory"), "{code} {printed}");
}

#[test]
fn a_partial_clone_is_not_completed_behind_the_users_back() {
    let home = Home::with_repository();
    home.write("a.py", "eval(x)\n");
    home.commit("first");
    home.git(&["config", "uploadpack.allowFilter", "true"]);
    let url = format!("file://{}", home.project().display());
    git(
        home.path(),
        &["clone", "-q", "--filter=blob:none", "--no-checkout", &url, "partial"],
    );
    let mut command = program(home.path());
    command.args(["partial", "--out", "out"]);
    let (code, printed) = run(command);
    assert_eq!(code, 0, "{printed}");
    assert!(
        json(&home)["skipped"].to_string().contains("missing"),
        "{}",
        json(&home)
    );
}

/// A stand-in for the command line, which answers every request with one finding on line 2.
const CLAUDE: &str = r#"#!/bin/sh
cat > /dev/null
cat <<'END'
{"type":"result","subtype":"success","is_error":false,"result":"","stop_reason":"end_turn","total_cost_usd":0.01,"usage":{"input_tokens":10,"output_tokens":5},"modelUsage":{"m":{"inputTokens":10,"outputTokens":5,"costUSD":0.01}},"structured_output":{"findings":[{"line":2,"severity":"high","title":"Wrong sign","message":"it adds","suggestion":"subtract"},{"line":77,"severity":"high","title":"x","message":"x","suggestion":"x"}]}}
END
"#;

#[test]
fn a_model_is_asked_when_the_user_says_so() {
    use std::os::unix::fs::PermissionsExt;
    let home = Home::with_repository();
    home.write("a.py", "def minus(a, b):\n    return a + b\n");
    home.commit("first");
    let tools = home.path().join("tools");
    std::fs::create_dir(&tools).unwrap();
    std::fs::write(tools.join("claude"), CLAUDE).unwrap();
    std::fs::set_permissions(tools.join("claude"), std::fs::Permissions::from_mode(0o755)).unwrap();
    let path = format!("{}:{}", tools.display(), std::env::var("PATH").unwrap());
    let (code, printed) = {
        let mut command = home.review("out", &["--model", "claude"]);
        command.env("PATH", &path);
        run(command)
    };
    assert_eq!(code, 0, "{printed}");
    assert!(printed.contains("model: claude"), "{printed}");
    let mut found = findings(&home);
    found.sort();
    let expected = ["correctness", "security", "style", "tests"].map(|concern| format!("model-{concern} a.py:2"));
    assert_eq!(found, expected);
    assert_eq!(json(&home)["usage"]["calls"], 4);
    // Found and not asked for, it is only mentioned.
    let mut command = home.review("out", &[]);
    command.env("PATH", &path);
    let (_, printed) = run(command);
    assert!(
        printed.contains("model: rules (offline)") && printed.contains("--model claude"),
        "{printed}"
    );
    let mut command = home.review("out", &["--model", "claude"]);
    command.env("PATH", std::env::var("PATH").unwrap());
    if !claude_is_installed() {
        let (code, printed) = run(command);
        assert!(code == 2 && printed.contains("--model rules"), "{code} {printed}");
    }
}

fn claude_is_installed() -> bool {
    std::env::split_paths(&std::env::var_os("PATH").unwrap()).any(|directory| directory.join("claude").exists())
}

fn many_files() -> Home {
    let home = Home::with_repository();
    for number in 0..80 {
        home.write(format!("src/f{number}.rs"), format!("fn f{number}() {{ todo!() }}\n"));
    }
    home.commit("first");
    home
}

fn wait_for_lines(ledger: &std::path::Path, count: usize) {
    while std::fs::read_to_string(ledger).unwrap_or_default().lines().count() < count {
        std::thread::yield_now();
    }
}

#[test]
fn an_interrupted_review_says_so_and_goes_on() {
    let home = many_files();
    let ledger = home.path().join("ledger");
    let arguments = ["--jobs", "1", "--ledger", ledger.to_str().unwrap()];
    let child = home.review("out", &arguments).spawn().unwrap();
    wait_for_lines(&ledger, 40);
    let killed = std::process::Command::new("kill")
        .arg("-INT")
        .arg(child.id().to_string())
        .status()
        .unwrap();
    assert!(killed.success());
    let output = child.wait_with_output().unwrap();
    let printed = text(&output.stdout) + &text(&output.stderr);
    assert_eq!(output.status.code(), Some(3), "{printed}");
    assert!(
        printed.contains("interrupted:") && printed.contains("goes on from there"),
        "{printed}"
    );

    let (code, printed) = run(home.review("out", &arguments));
    assert_eq!(code, 0, "{printed}");
    assert!(printed.contains("going on with an interrupted review"), "{printed}");
    let repeated = printed
        .lines()
        .find(|line| line.ends_with("were not repeated"))
        .unwrap();
    let before: usize = repeated.split(' ').next().unwrap().parse().unwrap();
    assert!(before > 0, "{printed}");
    assert_eq!(findings(&home).len(), 80);
}
