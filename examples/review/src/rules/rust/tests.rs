use super::*;
use crate::file::SourceFile;
use crate::finding::Concern;
use crate::rules::check;

fn found_as(role: Role, text: &str) -> Vec<String> {
    let file = SourceFile::of_text("src/lib.rs", role, text).unwrap();
    let findings = Concern::ALL
        .into_iter()
        .flat_map(|concern| check(&file, concern).findings);
    let mut found: Vec<String> = findings
        .map(|finding| format!("{}@{}", finding.rule, finding.line))
        .collect();
    found.sort();
    found
}

/// A line that ends in the mark `//! rule` must be found by that rule, and nothing else may be.
fn check_sample(role: Role, sample: &str) {
    let mut expected = Vec::new();
    let mut text = String::new();
    for (number, line) in (1..).zip(sample.lines()) {
        let (code, rules) = line.split_once("//! ").unwrap_or((line, ""));
        expected.extend(rules.split_whitespace().map(|rule| format!("rust-{rule}@{number}")));
        text += code.trim_end();
        text.push('\n');
    }
    expected.sort();
    assert_eq!(found_as(role, &text), expected, "in:\n{text}");
}

fn check_samples(samples: &[&str]) {
    samples.iter().for_each(|sample| check_sample(Role::Library, sample));
}

#[test]
fn panics_in_library_code() {
    check_samples(&[
        "fn f(a: Option<u8>) -> u8 { a.unwrap() } //! unwrap",
        "fn f(m: &Mutex<u8>) -> u8 { *m.lock().unwrap() }",
        "fn f() -> Regex { Regex::new(\"a+\").unwrap() }",
        "fn f() -> IpAddr { \"127.0.0.1\".parse().unwrap() }",
        "fn f(b: &[u8]) -> u32 { u32::from_le_bytes(b[0..4].try_into().unwrap()) }",
        "fn f(a: Option<u8>) -> u8 {\n    // The caller has filled it.\n    a.unwrap()\n}",
        "/// Takes it.\n///\n/// # Panics\n/// If there is none.\npub fn f(a: Option<u8>) -> u8 { a.unwrap() }",
        "fn f(a: Option<u8>) -> u8 { a.expect(\"checked by the caller\") }",
        "fn f(a: Option<u8>) -> u8 { a.expect(\"oops\") } //! expect",
        "static A: LazyLock<u8> = LazyLock::new(|| read().unwrap());",
        "fn f() { println(format!(\"{}\", a.unwrap())) } //! unwrap",
        "#[cfg(test)]\nmod checks { fn f(a: Option<u8>) { a.unwrap(); panic!(); } }",
        "#[test]\nfn f() { a().unwrap(); }",
        "mod tests { fn f(a: Option<u8>) { a.unwrap(); } }",
        "#[cfg(not(test))]\nfn f(a: Option<u8>) -> u8 { a.unwrap() } //! unwrap",
        "fn f() { panic!(\"no\") } //! panic",
        "#[track_caller]\nfn f() { panic!(\"no\") }",
        "const fn f(a: u8) { if a == 0 { panic!(\"zero\") } }",
        "fn f() { todo!() } //! todo",
        "fn f() -> u8 { self.unwrap_or(1) }",
        "#[expect(clippy::unwrap_used, reason = \"it is there\")]\nfn f(a: Option<u8>) -> u8 { a.unwrap() }",
        "#![allow(clippy::unwrap_used)]\nfn f(a: Option<u8>) -> u8 { a.unwrap() }\nfn g() { panic!() } //! panic",
    ]);
    check_sample(
        Role::Program,
        "fn f(a: Option<u8>) -> u8 { a.unwrap() }\nfn g() { unimplemented!() } //! todo",
    );
    check_sample(
        Role::Test,
        "fn f(a: Option<u8>) -> u8 { a.unwrap() }\nfn g() { todo!() }",
    );
}

#[test]
fn unsafe_code_is_argued_for() {
    check_samples(&[
        "fn f(p: *const u8) -> u8 { unsafe { *p } } //! unsafe-without-safety",
        "fn f(p: *const u8) -> u8 {\n    // SAFETY: the caller owns it.\n    unsafe { *p }\n}",
        "fn f(p: *const u8) -> u8 {\n    // SAFETY: the caller owns it.\n    let x =\n        unsafe { *p };\n    x\n}",
        "fn f(p: *const u8) -> u8 {\n    unsafe {\n        // SAFETY: the caller owns it.\n        *p\n    }\n}",
        "unsafe impl Send for A {} //! unsafe-without-safety",
        "// SAFETY: no thread keeps it.\nunsafe impl Send for A {}",
        "/// Reads.\npub unsafe fn f() {} //! unsafe-fn-docs",
        "/// Reads.\n///\n/// # Safety\n/// Own it.\npub unsafe fn f(p: *const u8) -> u8 { unsafe { *p } }",
        "fn f(a: u32) -> f32 {\n    // SAFETY: any bits are a float.\n    unsafe { std::mem::transmute(a) }\n}",
        "use std::mem;\nfn f(a: u32) -> f32 {\n    unsafe { mem::transmute(a) } //! transmute unsafe-without-safety\n}",
        "static mut COUNT: u8 = 0; //! static-mut",
        "static COUNT: AtomicU8 = AtomicU8::new(0);",
    ]);
}

#[test]
fn locks_and_awaits() {
    check_samples(&[
        "async fn f(m: &Mutex<u8>) {\n    let g = m.lock().unwrap(); //! lock-across-await\n    wait().await;\n}",
        "async fn f(m: &Mutex<u8>) {\n    let g = m.lock().unwrap();\n    drop(g);\n    wait().await;\n}",
        "async fn f(m: &Mutex<u8>) {\n    { let g = m.lock().unwrap(); }\n    wait().await;\n}",
        "async fn f(m: &Mutex<u8>) {\n    let g = m.lock().await;\n    wait().await;\n}",
        "async fn f(m: &Mutex<Vec<u8>>) {\n    let n = m.lock().unwrap().len();\n    wait(n).await;\n}",
        "async fn f(m: &Mutex<u8>) {\n    match m.lock().unwrap().state { //! lock-across-await\n        _ => wait().await,\n    }\n}",
        "async fn f(m: &Mutex<Option<u8>>) {\n    if let Some(x) = m.lock().unwrap().take() { //! lock-across-await\n        wait(x).await;\n    }\n}",
        "async fn f(m: &Mutex<Vec<u8>>) {\n    if m.lock().unwrap().is_empty() {\n        wait().await;\n    }\n}",
        "async fn f(m: &Mutex<A>) {\n    m.lock().unwrap().send().await; //! lock-across-await\n}",
        "async fn f(m: &tokio::Mutex<A>) {\n    m.lock().await.send().await;\n}",
        "fn f(m: &Mutex<u8>) {\n    let g = m.lock().unwrap();\n    spawn(async { wait().await });\n}",
        "async fn f(m: &RwLock<u8>, r: &Reader) {\n    let g = m.read().unwrap(); //! lock-across-await\n    let line = r.read();\n    wait().await;\n}",
        "async fn f(m: &Mutex<u8>, c: &Condvar) {\n    let g = m.lock().unwrap();\n    let g = c.wait(g);\n    wait().await;\n}",
    ]);
}

#[test]
fn blocking_calls_in_async_code() {
    check_samples(&[
        "async fn f() { std::thread::sleep(d); } //! blocking-in-async",
        "use std::fs;\nasync fn f() { fs::read(\"a\")?; } //! blocking-in-async",
        "use tokio::fs;\nasync fn f() { fs::read(\"a\").await?; }",
        "use std::fs::File;\nasync fn f() { File::open(\"a\")?; } //! blocking-in-async",
        "use std::fs;\nasync fn f() { spawn_blocking(|| fs::read(\"a\")).await; }",
        "use std::fs;\nfn f() { fs::read(\"a\"); }",
        "use std::process::Command;\nasync fn f() { Command::new(\"ls\").arg(\"-l\").output()?; } //! blocking-in-async",
        "use tokio::process::Command;\nasync fn f() { Command::new(\"ls\").output().await?; }",
        "fn f() { let (tx, rx) = mpsc::unbounded_channel(); } //! unbounded-channel",
        "fn f() {\n    // One message a connection, and those are limited.\n    let (tx, rx) = mpsc::unbounded_channel();\n}",
    ]);
}

#[test]
fn errors_and_casts_and_exits() {
    check_samples(&[
        "fn f() { send().ok(); } //! swallowed-error",
        "fn f() -> Option<u8> { send().ok() }",
        "fn f() { let _ = file.sync_all(); } //! swallowed-error",
        "fn f() { let _ = std::fs::rename(a, b); } //! swallowed-error",
        "fn f() { let _ = tx.send(1); }",
        "fn f() {\n    // Nobody listens any more: that is fine.\n    let _ = file.sync_all();\n}",
        "impl Drop for A { fn drop(&mut self) { let _ = self.file.sync_all(); } }",
        "fn f(a: &[u8]) -> u32 { a.len() as u32 } //! truncating-cast",
        "fn f(a: &[u8]) -> u64 { a.len() as u64 }",
        "fn f() { std::process::exit(1) } //! process-exit",
        "fn main() { std::process::exit(1) }",
        "fn f() { println!(\"x\"); } //! print",
        "fn f() { dbg!(x); } //! dbg",
        "fn f(a: A) { std::mem::forget(a); } //! mem-forget",
    ]);
    check_sample(Role::Program, "fn f() { println!(\"x\"); std::process::exit(1) }");
}

#[test]
fn commands_and_statements() {
    check_samples(&[
        "fn f(d: &str) { Command::new(\"sh\").arg(\"-c\").arg(format!(\"ls {d}\")).spawn(); } //! shell-command",
        "fn f(d: &str) { Command::new(\"sh\").arg(\"-c\").arg(\"ls\").spawn(); }",
        "fn f(d: &str) { Command::new(\"ls\").arg(format!(\"--in={d}\")).spawn(); }",
        "fn f(a: &str) { db.execute(&format!(\"DELETE FROM t WHERE a = '{a}'\"), []); } //! sql-format",
        "fn f(a: &str) { db.execute(\"DELETE FROM t WHERE a = ?1\", [a]); }",
        "fn f() { db.execute(&format!(\"DELETE FROM {TABLE}\"), []); }",
        "fn f(a: &str) { log.execute(&format!(\"hello {a}\")); }",
    ]);
}

#[test]
fn shapes() {
    let long = ["fn f() { //! long-function\n", &"    g();\n".repeat(100), "}\n"].concat();
    check_sample(Role::Library, &long);
    check_sample(Role::Library, &format!("fn f() {{\n{}}}\n", "    // g\n\n".repeat(100)));
    let nested = "fn f() {\n    if a {\n        for b in c {\n            while d {\n                match e {\n                    _ => loop {\n                        if g { //! deep-nesting\n                            if h {}\n                        }\n                    },\n                }\n            }\n        }\n    }\n}";
    check_sample(Role::Library, nested);
    check_samples(&[
        "fn f() { if a {} else if b {} else if c {} else if d {} else if e {} else if g {} else if h {} }",
        "fn f(a: u8, b: u8, c: u8, d: u8, e: u8, f: u8, g: u8, h: u8) {} //! many-parameters",
        "fn f(&self, a: u8, b: u8, c: u8, d: u8, e: u8, f: u8, g: u8) {}",
        "impl T for A { fn f(a: u8, b: u8, c: u8, d: u8, e: u8, f: u8, g: u8, h: u8) {} }",
        "pub fn f() {} //! undocumented\npub struct A;",
        "/// F.\npub fn f() {}\npub(crate) fn g() {}\nfn h() {}\n#[doc(hidden)]\npub fn i() {}",
    ]);
}

#[test]
fn tests_that_do_not_test() {
    check_samples(&[
        "#[test]\n#[ignore]\nfn f() { g(); } //! ignored-test",
        "#[test]\n#[ignore = \"needs a server\"]\nfn f() { g(); }",
        "#[test]\nfn f() {} //! vacuous-test",
        "#[test]\nfn f() { assert!(true); } //! vacuous-test",
        "#[test]\nfn f() { assert!(g()); }",
        "#[divan::bench]\nfn f() {}",
        "#[tokio::test]\nasync fn f() { tokio::time::sleep(d).await; g(); } //! sleeping-test",
        "#[tokio::test(start_paused = true)]\nasync fn f() { tokio::time::sleep(d).await; g(); }",
        "#[test]\nfn f() { while !done() { std::thread::sleep(d); } }",
        "#[test]\nfn f() { std::thread::sleep(d); g(); } //! sleeping-test",
    ]);
}

#[test]
fn what_cannot_be_parsed_is_said() {
    let note = |text: &str, role: Role| {
        let file = SourceFile::of_text("src/lib.rs", role, text).unwrap();
        check(&file, Concern::Correctness).note
    };
    assert!(note("fn f( {", Role::Library).unwrap().contains("not Rust"));
    assert_eq!(note("fn f( {", Role::Test), None);
    assert_eq!(note("#!/usr/bin/env run\nfn f() {}", Role::Library), None);
    assert_eq!(note("#![no_std]\nfn f() {}", Role::Library), None);
    assert_eq!(found_as(Role::Library, "#!/bin/x\nfn f() { todo!() }"), ["rust-todo@2"]);
}

type Shape = (&'static str, Box<dyn Fn(usize) -> String>);

/// Files made to overflow the stack of a parser that walks down them: each must be parsed or refused.
#[test]
fn deep_files_do_not_overflow_the_stack() {
    let just_below = limits::SYNTAX_DEPTH_MAX - 40;
    let brackets = just_below / 6;
    let wrap = |inside: &str| format!("fn f() {{ let x = {inside}; }}");
    let shapes: Vec<Shape> = vec![
        ("prefix", Box::new(move |n| wrap(&format!("{}x", "!".repeat(n))))),
        ("reference", Box::new(move |n| wrap(&format!("{}x", "& ".repeat(n))))),
        ("sum", Box::new(move |n| wrap(&format!("x{}", "+x".repeat(n / 2))))),
        ("methods", Box::new(move |n| wrap(&format!("x{}", ".a".repeat(n / 2))))),
        ("question", Box::new(move |n| wrap(&format!("x{}", "?".repeat(n))))),
        ("return", Box::new(move |n| wrap(&"return ".repeat(n)))),
        (
            "closures",
            Box::new(move |n| wrap(&format!("{}x", "|a| ".repeat(n / 5)))),
        ),
        (
            "closures with commas",
            Box::new(move |n| wrap(&format!("{}x", "|a, b| ".repeat(n / 3)))),
        ),
        (
            "generics",
            Box::new(move |n| format!("type T = {}A{};", "A<".repeat(n / 3), ">".repeat(n / 3))),
        ),
        (
            "generics with commas",
            Box::new(move |n| format!("type T = {}A{};", "A<B, ".repeat(n / 2), ">".repeat(n / 2))),
        ),
        (
            "else if",
            Box::new(move |n| format!("fn f() {{ if a {{}} {} }}", "else if a {} ".repeat(n / 4))),
        ),
        (
            "pointers",
            Box::new(move |n| format!("type T = {}u8;", "*const ".repeat(n / 2))),
        ),
        (
            "assignments",
            Box::new(move |n| wrap(&format!("{}x", "a = ".repeat(n / 2)))),
        ),
        ("ranges", Box::new(move |n| wrap(&format!("{}x", "..".repeat(n / 2))))),
        (
            "casts",
            Box::new(move |n| wrap(&format!("x{}", " as u8".repeat(n / 2)))),
        ),
        (
            "parens",
            Box::new(move |n| wrap(&format!("{}x{}", "(".repeat(n / 5), ")".repeat(n / 5)))),
        ),
        (
            "blocks",
            Box::new(move |n| wrap(&format!("{}x{}", "{".repeat(n / 5), "}".repeat(n / 5)))),
        ),
        (
            "arrays",
            Box::new(move |n| wrap(&format!("{}x{}", "[".repeat(n / 5), "]".repeat(n / 5)))),
        ),
        (
            "calls",
            Box::new(move |n| wrap(&format!("{}x{}", "f(".repeat(n / 6), ")".repeat(n / 6)))),
        ),
        (
            "modules",
            Box::new(move |n| format!("{}{}", "mod m {".repeat(n / 7), "}".repeat(n / 7))),
        ),
        (
            "patterns",
            Box::new(move |n| format!("fn f() {{ let {}x{} = y; }}", "(".repeat(n / 5), ")".repeat(n / 5))),
        ),
        (
            "unsafe blocks",
            Box::new(move |n| wrap(&format!("{}x{}", "unsafe {".repeat(n / 6), "}".repeat(n / 6)))),
        ),
        (
            "if in conditions",
            Box::new(move |n| wrap(&format!("{}a{}", "if ".repeat(n / 2), " {}".repeat(n / 2)))),
        ),
        ("uses", Box::new(move |n| format!("use {}a;", "a::".repeat(n / 3)))),
        (
            "attributes",
            Box::new(move |n| format!("{} fn f() {{}}", "#[a]".repeat(n / 5))),
        ),
        (
            "lifetimes",
            Box::new(move |n| format!("type T = {}u8;", "&'a ".repeat(n / 3))),
        ),
        (
            "functions",
            Box::new(move |n| format!("type T = {}u8;", "fn() -> ".repeat(n / 8))),
        ),
        (
            "macros",
            Box::new(move |n| wrap(&format!("{}x{}", "vec![".repeat(n / 7), "]".repeat(n / 7)))),
        ),
        (
            "matches",
            Box::new(move |n| wrap(&format!("{}x{}", "match a { _ => ".repeat(n / 8), "}".repeat(n / 8)))),
        ),
    ];
    assert!(brackets > 100, "ordinary code must fit");
    for (name, make) in &shapes {
        for count in [just_below, limits::SYNTAX_DEPTH_MAX * 4] {
            let text = make(count);
            let file = SourceFile::of_text("src/lib.rs", Role::Library, &text).unwrap();
            let checked = check(&file, Concern::Correctness);
            let note = checked.note.unwrap_or_default();
            assert!(!note.contains("parser failed"), "{name} {count}: {note}");
        }
    }
}

#[test]
fn ordinary_long_code_is_not_called_deep() {
    let depth = |text: &str| depth::measure(TokenStream::from_str(text).unwrap());
    let table = format!("static T: &[(u8, &str)] = &[{}];", "(1, \"a\"), ".repeat(20_000));
    let arms = format!("fn f() {{ match x {{ {} }} }}", "A => { b(); } ".repeat(8_000));
    let calls = format!("fn f() {{ {} }}", "a.b(c, |d| e(d)).unwrap(); ".repeat(8_000));
    let items = "pub fn f<T: A<B>>(a: &T) -> Vec<T> { a.b() } ".repeat(8_000);
    for text in [table, arms, calls, items] {
        assert!(depth(&text) < 100, "{}", depth(&text));
    }
}
