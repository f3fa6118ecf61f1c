use super::*;

#[test]
fn languages_by_name_ending_and_first_line() {
    let cases: [(&str, &[u8], Language); 8] = [
        ("src/lib.rs", b"", Language::Rust),
        ("deploy/Dockerfile", b"", Language::Dockerfile),
        ("Makefile", b"", Language::Make),
        ("bin/run", b"#!/usr/bin/env python3\n", Language::Python),
        ("bin/run", b"#!/bin/sh\n", Language::Shell),
        ("bin/run", b"\x7fELF", Language::Text),
        ("a.TSX", b"", Language::TypeScript),
        ("LICENSE", b"", Language::Text),
    ];
    for (path, head, language) in cases {
        assert_eq!(Language::of_content(&RawPath::from(path), head), language, "{path}");
    }
}

#[test]
fn roles_follow_the_package() {
    let listing = [
        "Cargo.toml",
        "src/lib.rs",
        "src/main.rs",
        "examples/app/Cargo.toml",
        "examples/app/src/main.rs",
        "examples/app/src/cli.rs",
        "examples/lib/Cargo.toml",
        "examples/lib/src/lib.rs",
    ];
    let exists = |path: &RawPath| listing.iter().any(|known| RawPath::from(*known) == *path);
    let cases = [
        ("src/lib.rs", Role::Library),
        ("src/deep/a.rs", Role::Library),
        ("src/main.rs", Role::Program),
        ("src/bin/tool.rs", Role::Program),
        ("build.rs", Role::Build),
        ("tests/it/main.rs", Role::Test),
        ("src/queue/tests.rs", Role::Test),
        ("examples/one.rs", Role::Test),
        // A package in a directory that is called `examples` is a package like any other.
        ("examples/app/src/cli.rs", Role::Program),
        ("examples/lib/src/lib.rs", Role::Library),
        ("examples/lib/benches/b.rs", Role::Test),
        ("web/app.test.ts", Role::Test),
        ("web/app.ts", Role::Library),
        ("pkg/server_test.go", Role::Test),
    ];
    for (path, role) in cases {
        assert_eq!(Role::of(&RawPath::from(path), exists), role, "{path}");
    }
    assert_eq!(Role::of(&RawPath::from("x/src/a.rs"), |_| false), Role::Library);
}
