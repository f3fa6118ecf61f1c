use hive_errors::{Error, ErrorKind};

use super::super::{Begin, Link, column};
use super::{config, database, link, soon};
use crate::db::value::Value;
use crate::testing::{Postgres, PostgresOptions};

fn connect(url: &str) -> Result<Link, Error> {
    Link::connect(&config(url), soon())
}

fn is_encrypted(url: &str) -> Result<bool, Error> {
    let mut link = connect(url)?;
    link.begin(Begin::read(), soon());
    let rows = link.query("SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()", &[])?;
    Ok(column(&rows[0], 0)? == Value::Int(1))
}

/// `host=…` pairs in place of a url, so that the name can be another than the address.
fn named(url: &str, host: &str) -> String {
    let (user, rest) = url.trim_start_matches("postgres://").split_once(':').unwrap();
    let (password, place) = rest.split_once('@').unwrap();
    let (address, database) = place.split_once('/').unwrap();
    let (address, port) = address.split_once(':').unwrap();
    format!("host={host} hostaddr={address} port={port} user={user} password={password} dbname={database}")
}

#[test]
fn the_server_proves_who_it_is_as_far_as_asked() {
    let server = Postgres::start(PostgresOptions::new().ssl(true));
    let url = server.url();
    let ca = server.ca().unwrap().display().to_string();
    for (settings, encrypted) in [
        ("sslmode=disable".to_owned(), false),
        (String::new(), true),
        ("sslmode=prefer".to_owned(), true),
        ("sslmode=require".to_owned(), true),
        (format!("sslmode=require&sslrootcert={ca}"), true),
        (format!("sslmode=verify-ca&sslrootcert={ca}"), true),
        (format!("sslmode=verify-full&sslrootcert={ca}"), true),
    ] {
        assert_eq!(
            is_encrypted(&format!("{url}?{settings}")).unwrap(),
            encrypted,
            "{settings}"
        );
    }
    // Under another name the chain still holds, the name does not.
    let other = named(url, "other.example");
    assert!(is_encrypted(&format!("{other} sslmode=verify-ca sslrootcert={ca}")).unwrap());
    let error = is_encrypted(&format!("{other} sslmode=verify-full sslrootcert={ca}")).unwrap_err();
    assert_eq!(
        (error.kind(), error.is_retryable()),
        (ErrorKind::Config, false),
        "{error:?}"
    );
    // Vouched for by somebody else.
    let stranger = Postgres::start(PostgresOptions::new().ssl(true));
    let stranger = stranger.ca().unwrap().display().to_string();
    for mode in ["require", "verify-ca", "verify-full"] {
        let error = is_encrypted(&format!("{url}?sslmode={mode}&sslrootcert={stranger}")).unwrap_err();
        assert_eq!(
            (error.kind(), error.is_retryable()),
            (ErrorKind::Config, false),
            "{error:?}"
        );
        assert!(error.message().contains("not trusted"), "{error:?}");
    }
}

#[test]
fn a_server_without_encryption_is_refused_where_it_is_required() {
    let server = Postgres::start(PostgresOptions::new());
    assert!(!is_encrypted(server.url()).unwrap());
    let error = is_encrypted(&format!("{}?sslmode=require", server.url())).unwrap_err();
    assert_eq!(
        (error.kind(), error.is_retryable()),
        (ErrorKind::Config, false),
        "{error:?}"
    );
}

#[test]
fn acknowledged_means_on_disk_whatever_the_server_was_told() {
    let url = database();
    let server = Postgres::shared();
    let name = url.rsplit('/').next().unwrap();
    server.sql(&url, &format!("ALTER DATABASE {name} SET synchronous_commit = off"));
    let mut link = link(&url);
    link.begin(Begin::read(), soon());
    let rows = link.query("SELECT current_setting('synchronous_commit')", &[]).unwrap();
    assert_eq!(column(&rows[0], 0).unwrap(), Value::Text("on"));
}

#[test]
fn a_database_that_cannot_hold_every_text_is_refused() {
    let url = database();
    let server = Postgres::shared();
    let name = format!("{}_ascii", url.rsplit('/').next().unwrap());
    // From 15 on a cluster may sort by a library that does not know this encoding.
    let version: u32 = server.sql(&url, "SHOW server_version_num").parse().unwrap();
    let provider = if version >= 150_000 { "LOCALE_PROVIDER libc" } else { "" };
    let make = format!(
        "CREATE DATABASE {name} ENCODING 'SQL_ASCII' TEMPLATE template0 LC_COLLATE 'C' LC_CTYPE 'C' {provider}"
    );
    server.sql(server.url(), &make);
    let base = url.rsplit_once('/').unwrap().0;
    let error = connect(&format!("{base}/{name}")).unwrap_err();
    assert_eq!(
        (error.kind(), error.field("server_encoding")),
        (ErrorKind::Config, Some("SQL_ASCII"))
    );
    server.drop_database(&format!("{base}/{name}"));
}
