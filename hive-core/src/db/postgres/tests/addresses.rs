use hive_errors::ErrorKind;

use super::super::address::{self, SslMode};
use super::super::{Config, Timeouts};

#[test]
fn tls_settings_are_taken_out_of_either_form() {
    for (text, rest, mode, root) in [
        ("postgres://u@h/d", "postgres://u@h/d", SslMode::Prefer, None),
        (
            "postgres://u@h/d?sslmode=disable",
            "postgres://u@h/d",
            SslMode::Disable,
            None,
        ),
        (
            "postgresql://u:p%3F@h:1/d?sslrootcert=%2Fa%20b&application_name=x&sslmode=verify-full",
            "postgresql://u:p%3F@h:1/d?application_name=x",
            SslMode::VerifyFull,
            Some("/a b"),
        ),
        (
            "postgres://u:sslmode=x?@h/d?a=b",
            "postgres://u:sslmode=x?@h/d?a=b",
            SslMode::Prefer,
            None,
        ),
        (
            "host=h sslmode = verify-ca user=u",
            "host=h user=u",
            SslMode::VerifyCa,
            None,
        ),
        (
            "host=h password='a \\' sslmode=disable' sslrootcert='/a b' sslmode=require",
            "host=h password='a \\' sslmode=disable' ",
            SslMode::Require,
            Some("/a b"),
        ),
    ] {
        let found = address::parse(text).unwrap();
        assert_eq!(
            (found.rest.as_str(), found.ssl_mode, found.root_cert.as_deref()),
            (rest, mode, root),
            "{text}"
        );
    }
}

#[test]
fn what_is_not_understood_is_refused_without_being_shown() {
    let folder = tempfile::tempdir().unwrap();
    let empty = folder.path().join("empty.pem");
    std::fs::write(&empty, "").unwrap();
    let empty = format!(
        "host=h password=secret sslmode=verify-full sslrootcert={}",
        empty.display()
    );
    for text in [
        "postgres://u:secret@h/d?secret=1",
        "postgres://u:secret@h/d?sslmode=secretly",
        "secret",
        "user=u password=secret",
        "host=h password=secret sslmode=verify-full sslrootcert=/nowhere",
        &empty,
    ] {
        let error = Config::parse(text, Timeouts::default()).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Config, "{text}");
        let told = format!("{error:?}").replace("secretly", "");
        assert!(!told.contains("secret"), "{told}");
    }
}

#[test]
fn a_place_is_named_without_its_password() {
    for (text, place) in [
        ("postgres://u:p@h:1,i:2/d", "h:1,i:2/d"),
        ("host=/run/postgresql user=u", "/run/postgresql:5432/u"),
        ("hostaddr=127.0.0.1 dbname=d", "127.0.0.1:5432/d"),
    ] {
        let config = Config::parse(text, Timeouts::default()).unwrap();
        assert_eq!(config.place(), place);
        assert!(!format!("{config:?}").contains("u:p"));
    }
}
