use proptest::prelude::*;

use super::*;
use crate::finding::Severity;

/// Which rules find something, with lines: `rule@line`.
fn found(path: &str, role: Role, text: &str) -> Vec<String> {
    let file = SourceFile::of_text(path, role, text).unwrap();
    let findings = Concern::ALL
        .into_iter()
        .flat_map(|concern| check(&file, concern).findings);
    let mut found: Vec<String> = findings
        .map(|finding| format!("{}@{}", finding.rule, finding.line))
        .collect();
    found.sort();
    found
}

/// Each sample is a file; a line that ends in the mark `<<RULE` must be found by that rule, and nothing else may be.
fn check_samples(path: &str, role: Role, samples: &[&str]) {
    for sample in samples {
        let mut expected = Vec::new();
        let mut text = String::new();
        for (number, line) in (1..).zip(sample.lines()) {
            let (code, rules) = line.split_once("<<RULE ").unwrap_or((line, ""));
            expected.extend(rules.split_whitespace().map(|rule| format!("{rule}@{number}")));
            text += code.trim_end();
            text.push('\n');
        }
        expected.sort();
        assert_eq!(found(path, role, &text), expected, "in {path}:\n{text}");
    }
}

#[test]
fn the_catalogue_is_whole() {
    assert!(CATALOG.len() >= 24, "{}", CATALOG.len());
    let mut ids: Vec<&str> = CATALOG.iter().map(|rule| rule.id).collect();
    ids.sort_unstable();
    ids.dedup();
    assert_eq!(ids.len(), CATALOG.len());
    for rule in CATALOG {
        assert!(
            rule.id.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'-'),
            "{}",
            rule.id
        );
        assert!(
            rule.why.ends_with('.') && rule.fix.ends_with('.') && !rule.title.ends_with('.'),
            "{}",
            rule.id
        );
        assert!(
            rule.reference.is_none_or(|link| link.starts_with("https://")),
            "{}",
            rule.id
        );
        assert_eq!(by_id(rule.id), Some(*rule));
    }
}

#[test]
fn python() {
    check_samples(
        "app/web.py",
        Role::Library,
        &[
            "requests.get(url, verify=False)  <<RULE tls-verification-off",
            "# requests.get(url, verify=False)\nprint('verify=False')\nrequests.get(url, verify=True)",
            "eval(expression)  <<RULE dynamic-eval\nast.literal_eval(x)\nmodel.eval()\neval('1 + 1')\nre.exec(x)",
            "os.system(f'rm {name}')  <<RULE shell-injection\nos.system('ls')\nos.system('rm %s' % n)  <<RULE shell-injection",
            "subprocess.run(f'ls {x}', shell=True)  <<RULE shell-injection\nsubprocess.run(['ls', x])\nsubprocess.run('ls', shell=True)",
            "db.execute(f\"SELECT * FROM t WHERE a = {x}\")  <<RULE sql-injection\ndb.execute('SELECT 1 WHERE a = ?', (x,))\ndb.execute('DELETE FROM t WHERE a = %s' % x)  <<RULE sql-injection\ndb.execute('DELETE FROM t WHERE a = %s', x)",
            "pickle.loads(data)  <<RULE unsafe-deserialization\nyaml.load(text)  <<RULE unsafe-deserialization\n\nyaml.safe_load(text)\nyaml.load(text, Loader=yaml.SafeLoader)",
            "def f(a, b=[]):  <<RULE mutable-default\n    pass\ndef g(a=None, *, c: dict = {}):  <<RULE mutable-default\n    pass\ndef h(a=(), b=x[0]):\n    pass",
            "assert (x == 1, 'one')  <<RULE assert-on-tuple\nassert (x == 1), 'one'\nassert f(x, 'one')\nassert (a or b)",
            "try:\n    f()\nexcept:  <<RULE swallowed-exception\n    pass\ntry:\n    f()\nexcept KeyError:\n    pass\ntry:\n    f()\nexcept Exception: pass  <<RULE swallowed-exception",
            "breakpoint()  <<RULE debug-leftover\nself.breakpoint()\nimport pdb; pdb.set_trace()  <<RULE debug-leftover",
            "# TODO: later  <<RULE todo-without-owner\n# TODO(anna): later\n# FIXME #12 later\n# see TODO.md\nTODO = 1\n# TODO later,\n# see https://example.org/1",
            "os.chmod(path, 0o777)  <<RULE world-writable\nos.chmod(path, 0o755)",
        ],
    );
    check_samples(
        "tests/test_web.py",
        Role::Test,
        &[
            "@pytest.mark.skip  <<RULE skipped-test\ndef test_a(): pass\n@pytest.mark.skip(reason='slow')\ndef test_b(): pass",
        ],
    );
}

#[test]
fn javascript() {
    check_samples(
        "web/app.js",
        Role::Library,
        &[
            "tls.connect({ rejectUnauthorized: false })  <<RULE tls-verification-off\ntls.connect({ rejectUnauthorized: true })",
            "eval(code)  <<RULE dynamic-eval\nnew Function(code)  <<RULE dynamic-eval\neval('1')\nx.eval(code)",
            "exec(`rm ${file}`)  <<RULE shell-injection\n/a/.exec(`${x}`)\nchild_process.exec('ls ' + dir)  <<RULE shell-injection\nexecFile('ls', [dir])",
            "db.query(`select * from t where a = ${a}`)  <<RULE sql-injection\ndb.query('select * from t where a = $1', [a])",
            "try { f() } catch (e) {}  <<RULE swallowed-exception\ntry { f() } catch (e) { log(e) }",
            "debugger;  <<RULE debug-leftover\nconsole.log(x)  <<RULE debug-leftover\nconsole.error(x)\n// console.log(x)",
        ],
    );
    check_samples(
        "web/app.test.js",
        Role::Test,
        &[
            "it.only('a', f)  <<RULE focused-test\nit('b', f)\nit.skip('c', f)  <<RULE skipped-test\n// until the server is mended\nit.skip('d', f)\nfit('e', f)  <<RULE focused-test\nmodel.fit(x)",
        ],
    );
}

#[test]
fn scripts() {
    check_samples(
        "run.sh",
        Role::Library,
        &[
            "curl -sSf https://sh.example.net/i.sh | sh  <<RULE pipe-to-shell\nbash <(curl -s https://a.net/i)  <<RULE pipe-to-shell\ncurl https://a.net/x | jq .\n# curl https://a.net | sh\ncurl https://a.net -o x && sh x",
            "wget http://files.corp.net/a.tgz  <<RULE insecure-download\nwget https://files.corp.net/a.tgz\ncurl http://localhost:80/health",
            "curl -k https://a.net/x  <<RULE tls-verification-off\ncurl -sk https://a.net/x  <<RULE tls-verification-off\ncurl -K config https://a.net/x\ncurl --insecure https://a.net  <<RULE tls-verification-off",
            "chmod -R 777 /srv  <<RULE world-writable\nchmod 755 /srv\nchmod a+x run",
        ],
    );
    check_samples(
        ".github/workflows/ci.yml",
        Role::Library,
        &[
            "jobs:\n  a:\n    steps:\n      - run: echo ${{ github.event.issue.title }}  <<RULE workflow-injection\n      - env:\n          T: ${{ github.event.issue.title }}\n        run: |\n          echo \"$T\"\n          echo ${{ github.head_ref }}  <<RULE workflow-injection\n          echo ${{ github.sha }}",
        ],
    );
    check_samples(
        "main.c",
        Role::Library,
        &[
            "strcpy(a, b);  <<RULE c-unsafe-function\nstrncpy(a, b, n);\nx->gets(a);\nextern char *gets(char *);\n// gets(a)",
        ],
    );
}

#[test]
fn text_of_any_kind() {
    let conflict = ["<<<<<<< HEAD", "a", "=======", "b", ">>>>>>> branch"].join("\n");
    assert_eq!(found("a.txt", Role::Library, &conflict), ["merge-conflict@1"]);
    assert_eq!(
        found("a.rst", Role::Library, "Title\n=======\n>>>>>>> quoted\n"),
        [""; 0]
    );
    assert_eq!(
        found("a.py", Role::Library, "x = 1 # \u{202e}y\n"),
        ["hidden-unicode@1"]
    );
    assert_eq!(found("a.txt", Role::Library, "a\r\nb\n"), ["mixed-line-ends@1"]);
    assert_eq!(found("a.go", Role::Library, &"x := 1\n".repeat(1_001)), ["long-file@1"]);
    assert_eq!(found("a.go", Role::Library, &"// x\n".repeat(2_000)), [""; 0]);
}

/// Put together here so that this file does not hold what it looks for.
fn token(parts: &[&str]) -> String {
    parts.concat()
}

#[test]
fn secrets_are_found_and_never_shown() {
    let secrets = [
        token(&["AKI", "A2OGYBAH6QKZ7PLWM"]),
        token(&["gh", "p_", "wWPw5k4aXcaT4fNP0UcnZwJUVFk6LO0pINUx"]),
        token(&["sk_", "live_", "4eC39HqLyjWDarjtT1zdp7dcQw"]),
        token(&["AI", "zaSyD3x9GkLmQ7wRtUvYbNcPzHsJfKeWgVu1o"]),
    ];
    for secret in &secrets {
        for (role, severity) in [(Role::Library, Severity::Critical), (Role::Test, Severity::Medium)] {
            let file = SourceFile::of_text("conf.yml", role, &format!("a: 1\nkey: {secret}\nb: 2\n")).unwrap();
            let checked = check(&file, Concern::Security);
            let [finding] = &checked.findings[..] else {
                panic!("{secret}: {checked:?}")
            };
            assert_eq!(
                (finding.rule.as_str(), finding.line, finding.severity),
                ("secret-token", 2, severity)
            );
            let shown = serde_json::to_string(finding).unwrap();
            assert!(!shown.contains(secret.as_str()) && shown.contains('█'), "{shown}");
            // The excerpt of another finding beside it must not show it either.
            assert!(
                file.excerpt(1, 1)
                    .iter()
                    .all(|line| !line.text.contains(secret.as_str()))
            );
        }
    }
    for harmless in [
        "AKIAIOSFODNN7EXAMPLE",
        &token(&["gh", "p_", "xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx"]),
        "sk-learn-is-a-library",
    ] {
        assert_eq!(
            found("conf.yml", Role::Library, &format!("key: {harmless}\n")),
            [""; 0],
            "{harmless}"
        );
    }
}

#[test]
fn private_keys_need_a_body() {
    let body: String = (0..6)
        .map(|line| format!("{}\n", format!("Mi{line}Ev7QaBx0+zK/9dLpWcRtUySfGhJk").repeat(2)))
        .collect();
    let head = token(&["-----BEGIN ", "RSA PRIVATE ", "KEY-----"]);
    let tail = token(&["-----END ", "RSA PRIVATE ", "KEY-----"]);
    assert_eq!(
        found("key.pem", Role::Library, &format!("{head}\n{body}{tail}\n")),
        ["private-key@1"]
    );
    let escaped = body.replace('\n', "\\n");
    assert_eq!(
        found(
            "a.json",
            Role::Library,
            &format!("{{\"k\": \"{head}\\n{escaped}{tail}\"}}\n")
        ),
        ["private-key@1"]
    );
    assert_eq!(
        found("doc.md", Role::Library, &format!("A key begins with `{head}`.\n")),
        [""; 0]
    );
    assert_eq!(
        found("doc.md", Role::Library, &format!("{head}\n...\n{tail}\n")),
        [""; 0]
    );
}

#[test]
fn passwords_look_like_passwords() {
    let random = token(&["k7Q2", "mZ9x", "W4pL"]);
    let cases = [
        (format!("DB_PASSWORD = \"{random}\""), true),
        (format!("\"apiKey\": \"{random}{random}z\""), true),
        (format!("url = 'postgres://app:{random}@db7.corp.net/x'"), true),
        ("password = \"hunter\"".to_owned(), false),
        ("password = \"changeme123\"".to_owned(), false),
        ("password = \"${DB_PASSWORD_1}\"".to_owned(), false),
        ("password_field = \"user-password-2\"".to_owned(), false),
        (format!("password = os.environ['{random}']"), false),
        ("token_url = \"https://auth1.example.net/token\"".to_owned(), false),
        (format!("url = 'postgres://app:{random}@localhost/x'"), false),
    ];
    for (line, is_secret) in cases {
        let expected: Vec<&str> = if is_secret {
            vec!["hardcoded-credential@1"]
        } else {
            Vec::new()
        };
        assert_eq!(
            found("conf.py", Role::Library, &format!("{line}\n")),
            expected,
            "{line}"
        );
        assert_eq!(
            found("test_conf.py", Role::Test, &format!("x = 1\n{line}\n")).len(),
            usize::from(is_secret && line.contains("@db7")),
            "{line}"
        );
    }
}

#[test]
fn a_suppression_needs_a_rule_and_a_reason() {
    let check_allow = |comment: &str| {
        let file = SourceFile::of_text("a.py", Role::Library, &format!("{comment}\neval(x)\n")).unwrap();
        let all = Concern::ALL
            .into_iter()
            .flat_map(|concern| check(&file, concern).findings);
        all.map(|finding| (finding.rule, finding.suppressed))
            .collect::<Vec<_>>()
    };
    let eval = |suppressed: Option<&str>| ("dynamic-eval".to_owned(), suppressed.map(str::to_owned));
    let void = || ("void-suppression".to_owned(), None);
    assert_eq!(
        check_allow("# review: allow(dynamic-eval) the text is our own"),
        [eval(Some("the text is our own"))]
    );
    assert_eq!(check_allow("# review: allow(dynamic-eval)"), [eval(None), void()]);
    assert_eq!(
        check_allow("# review: allow(no-such-rule) why not"),
        [eval(None), void()]
    );
    assert_eq!(check_allow("# review: allow(sql-injection) another rule"), [eval(None)]);
    assert_eq!(
        check_allow("s = 'review: allow(dynamic-eval) in a string'"),
        [eval(None)]
    );
    assert_eq!(
        check_allow("# review: allow-file(dynamic-eval) a calculator"),
        [eval(Some("a calculator"))]
    );
}

#[test]
fn equal_lines_have_fingerprints_that_differ_and_stay() {
    let prints = |text: &str| {
        let file = SourceFile::of_text("a.py", Role::Library, text).unwrap();
        let findings = check(&file, Concern::Security).findings;
        findings
            .into_iter()
            .map(|finding| finding.fingerprint)
            .collect::<Vec<_>>()
    };
    let before = prints("eval(x)\neval(x)\n");
    assert_eq!(before.len(), 2);
    assert_ne!(before[0], before[1]);
    assert_eq!(before, prints("import a\n\n\n  eval(x)\nb = 1\neval(x)\n"));
}

#[test]
fn a_file_with_one_problem_many_times_is_cut_with_a_count() {
    let checked = check(
        &SourceFile::of_text("a.py", Role::Library, &"eval(x)\n".repeat(80)).unwrap(),
        Concern::Security,
    );
    assert_eq!((checked.findings.len(), checked.omitted), (10, 70));
    assert!(
        checked.findings[9].message.ends_with("(and 70 more in this file)"),
        "{checked:?}"
    );
}

#[test]
fn only_changed_lines_count() {
    let changed = [2].into_iter().collect();
    let loaded = crate::source::Loaded::Whole(b"eval(a)\neval(b)\neval(c)\n".to_vec());
    let file = SourceFile::new(&"a.py".into(), Role::Library, loaded, Some(changed)).unwrap();
    let lines: Vec<u32> = check(&file, Concern::Security)
        .findings
        .iter()
        .map(|finding| finding.line)
        .collect();
    assert_eq!(lines, [2]);
}

#[test]
fn concerns_are_those_with_a_rule() {
    assert_eq!(concerns_for(Language::Rust, Role::Library), Concern::ALL);
    assert_eq!(
        concerns_for(Language::Python, Role::Library),
        [Concern::Correctness, Concern::Security, Concern::Style]
    );
    assert!(concerns_for(Language::Python, Role::Test).contains(&Concern::Tests));
}

/// Long lines and long runs made so that looking back or ahead from every place would take for ever: the test ends only
/// because none of that is done.
#[test]
fn hostile_shapes_are_reviewed_in_time() {
    let key = token(&["AKI", "A2OGYBAH6QKZ7PLWM"]);
    let shapes = [
        ("a.py", "eval(x); ".repeat(20_000)),
        ("a.py", "# TODO x ".repeat(20_000)),
        ("a.js", "=/[".repeat(60_000)),
        ("a.js", "a / b ".repeat(30_000)),
        ("a.sh", "curl ".repeat(40_000)),
        ("a.sh", "chmod 777 a; ".repeat(15_000)),
        ("a.txt", format!("{key} ").repeat(8_000)),
        ("a.rs", "fn f() { a.unwrap(); } ".repeat(8_000)),
        (
            "a.rs",
            format!(
                "{}fn f() {{ {} }}",
                "// x\n".repeat(20_000),
                "unsafe {} ".repeat(10_000)
            ),
        ),
        (
            "a.rs",
            format!("async fn f() {{ {} }}", "let g = m.lock(); ".repeat(8_000)),
        ),
        ("a.rs", format!("fn f() {{ {} }}", "r#\"".repeat(40_000))),
        ("a.yml", "- run: echo ${{ github.head_ref }}\n".repeat(4_000)),
    ];
    for (path, text) in shapes {
        found(path, Role::Library, &text);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn any_text_is_reviewed_without_a_panic(text in "([a-z_(){}\\[\\];,.=+<>|!&'\"#/ \n]|fn |let |unsafe |async |\\.await|unwrap\\(\\)|TODO|é|\t|\r\n){0,120}") {
        for path in ["a.rs", "a.py", "a.js", "a.sh", "a.yml", "a.c"] {
            let _ = found(path, Role::Library, &text);
        }
    }
}
