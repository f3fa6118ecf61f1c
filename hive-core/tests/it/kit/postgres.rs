use hive_core::testing::{Postgres, PostgresOptions};

use super::{assert_gone, killed, killed_at_any_moment, listens, other, panicked, say_and_wait};

fn start() -> Postgres {
    Postgres::start(PostgresOptions::new())
}

#[test]
fn a_server_answers_and_is_gone_when_dropped() {
    let server = start();
    assert_eq!(server.sql(server.url(), "SELECT 6 * 7, 'x'"), "42|x");
    let (folder, port) = (server.folder().to_owned(), server.port());
    assert!(folder.exists() && listens(port));
    drop(server);
    assert_gone(&folder, port);
}

#[test]
fn a_server_is_gone_after_a_panic() {
    let (folder, port) = panicked(|say| {
        let server = start();
        say(server.folder(), server.port());
        panic!("on purpose");
    });
    assert_gone(&folder, port);
}

#[test]
fn a_server_is_gone_when_its_process_is_killed() {
    if let Some(file) = other() {
        let server = start();
        say_and_wait(&file, server.folder(), server.port());
    }
    let (folder, port) = killed("kit::postgres::a_server_is_gone_when_its_process_is_killed");
    assert_gone(&folder, port);
}

#[test]
fn a_killed_server_is_gone_when_its_process_is_killed_too() {
    if let Some(file) = other() {
        let server = start();
        server.kill();
        say_and_wait(&file, server.folder(), server.port());
    }
    let (folder, port) = killed("kit::postgres::a_killed_server_is_gone_when_its_process_is_killed_too");
    assert_gone(&folder, port);
}

#[test]
fn nothing_is_left_of_a_process_killed_at_any_moment() {
    if let Some(file) = other() {
        let server = start();
        say_and_wait(&file, server.folder(), server.port());
    }
    killed_at_any_moment("kit::postgres::nothing_is_left_of_a_process_killed_at_any_moment");
}

#[test]
fn two_servers_at_once_do_not_clash() {
    let (left, right) = std::thread::scope(|scope| {
        let (left, right) = (scope.spawn(start), scope.spawn(start));
        (left.join().unwrap(), right.join().unwrap())
    });
    assert_ne!(left.port(), right.port());
    left.sql(left.url(), "CREATE TABLE only_here (id BIGINT)");
    assert_eq!(right.sql(right.url(), "SELECT to_regclass('only_here')"), "");
}

#[test]
fn data_stays_when_a_server_is_stopped_or_killed() {
    let server = start();
    let url = server.database();
    let port = server.port();
    server.sql(&url, "CREATE TABLE row (id BIGINT); INSERT INTO row VALUES (1)");
    server.restart();
    server.sql(&url, "INSERT INTO row VALUES (2)");
    server.kill();
    assert!(!listens(port));
    server.start_again();
    assert_eq!(server.port(), port);
    assert_eq!(server.sql(&url, "SELECT id FROM row ORDER BY id"), "1\n2");
    assert!(server.log().contains("not properly shut down"), "{}", server.log());
    // One that runs is left alone.
    server.start_again();
}

#[test]
fn databases_are_apart_and_can_be_dropped() {
    let server = Postgres::shared();
    let (left, right) = (server.database(), server.database());
    server.sql(&left, "CREATE TABLE only_here (id BIGINT)");
    assert_eq!(server.sql(&right, "SELECT to_regclass('only_here')"), "");
    let count = "SELECT count(*) FROM pg_database WHERE datname = ";
    let name = left.rsplit('/').next().unwrap();
    assert_eq!(server.sql(&right, &format!("{count} '{name}'")), "1");
    server.drop_database(&left);
    assert_eq!(server.sql(&right, &format!("{count} '{name}'")), "0");
    server.drop_database(&right);
}

#[test]
fn text_is_not_in_the_order_of_bytes_unless_asked_for() {
    let server = Postgres::shared();
    let url = server.database();
    let sorted = |collate: &str| {
        let sql = format!("SELECT string_agg(x, '' ORDER BY x {collate}) FROM (VALUES ('a'), ('B'), ('c')) AS t (x)");
        server.sql(&url, &sql)
    };
    assert_eq!(sorted(""), "aBc");
    assert_eq!(sorted("COLLATE \"C\""), "Bac");
    server.drop_database(&url);
}

#[test]
fn connections_are_ended_on_request() {
    let server = start();
    let url = server.database();
    std::thread::scope(|scope| {
        let sleeper = scope.spawn(|| server.sql(&url, "SELECT pg_sleep(60)"));
        let ended = hive_core::testing::until(super::PATIENCE, || {
            Some(server.terminate_backends(&url)).filter(|count| *count > 0)
        });
        assert_eq!(ended, Some(1));
        assert!(sleeper.join().is_err(), "the sleeper's connection was to end");
    });
}

#[test]
fn settings_reach_the_server() {
    let options = PostgresOptions::new()
        .fsync(true)
        .max_connections(7)
        .setting("deadlock_timeout", "123ms");
    let server = Postgres::start(options);
    let show = |name: &str| server.sql(server.url(), &format!("SHOW {name}"));
    assert_eq!(show("fsync"), "on");
    assert_eq!(show("max_connections"), "7");
    assert_eq!(show("deadlock_timeout"), "123ms");
}

#[test]
fn a_server_with_a_certificate_speaks_tls() {
    let server = Postgres::start(PostgresOptions::new().ssl(true));
    let ca = server.ca().unwrap().display().to_string();
    // The authority is checked, and that the certificate is this address's.
    let url = format!("{}?sslmode=verify-full&sslrootcert={ca}", server.url());
    let sql = "SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()";
    assert_eq!(server.sql(&url, sql), "t");
    assert!(std::fs::read_to_string(&ca).unwrap().contains("BEGIN CERTIFICATE"));
}

#[test]
fn a_start_that_fails_shows_what_the_server_said() {
    let error = Postgres::try_start(PostgresOptions::new().setting("no_such_setting", "1"))
        .err()
        .unwrap();
    assert_eq!(error.code(), "storage");
    assert!(error.field("log").unwrap().contains("no_such_setting"), "{error}");
}

#[test]
fn a_missing_program_is_named_with_its_package() {
    let empty = tempfile::tempdir().unwrap();
    let error = Postgres::try_start(PostgresOptions::new().programs(empty.path()))
        .err()
        .unwrap();
    assert_eq!(error.code(), "config");
    assert_eq!(error.field("program"), Some("postgres"));
    assert!(error.hint().contains("`postgresql`"), "{}", error.hint());
}
