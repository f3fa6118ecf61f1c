use proptest::prelude::*;

use super::*;

#[test]
fn plain_paths_stand_as_they_are() {
    for plain in ["src/lib.rs", "docs/größe.md", "a b/c", "-x", ""] {
        assert_eq!(RawPath::from(plain).to_string(), plain);
    }
}

#[test]
fn unusual_paths_are_quoted_as_git_does() {
    let cases: [(&[u8], &str); 5] = [
        (b"caf\xe9.txt", r#""caf\351.txt""#),
        (b"new\nline", r#""new\nline""#),
        (b"say \"hi\"", r#""say \"hi\"""#),
        ("evil\u{202e}txt.exe".as_bytes(), r#""evil\342\200\256txt.exe""#),
        (b"\x1b[31m", r#""\033[31m""#),
    ];
    for (bytes, text) in cases {
        assert_eq!(RawPath::new(bytes).to_string(), text);
        assert_eq!(text.parse(), Ok(RawPath::new(bytes)));
    }
}

#[test]
fn broken_quotes_are_refused() {
    for text in [
        "\"",
        "\"open",
        "\"a\"b",
        r#""\9""#,
        r#""\12""#,
        r#""\777""#,
        r#""\q""#,
        "\"\\",
    ] {
        assert_eq!(text.parse::<RawPath>(), Err(QuoteError), "{text}");
    }
}

#[test]
fn parts_and_uris() {
    let path = RawPath::from("src/a b/Main.RS");
    assert_eq!(path.extension(), "rs");
    assert_eq!(path.file_name(), b"Main.RS");
    assert_eq!(path.parent(), RawPath::from("src/a b"));
    assert_eq!(path.to_uri(), "src/a%20b/Main.RS");
    assert_eq!(RawPath::new(&b"/etc/caf\xe9"[..]).to_uri(), "etc/caf%E9");
    assert_eq!(RawPath::from(".gitignore").extension(), "");
    assert!(path.is_below(&RawPath::from("src")));
    assert!(!path.is_below(&RawPath::from("sr")));
}

proptest! {
    #[test]
    fn every_path_survives_its_text_form(bytes in proptest::collection::vec(any::<u8>(), 0..64)) {
        let path = RawPath::new(bytes);
        let text = path.to_string();
        prop_assert!(!text.chars().any(char::is_control));
        prop_assert_eq!(text.parse::<RawPath>(), Ok(path));
    }

    #[test]
    fn no_text_panics(text in ".{0,40}") {
        let _ = text.parse::<RawPath>();
        let _ = unquote(text.as_bytes());
    }
}
