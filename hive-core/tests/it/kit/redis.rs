use std::io::{Read, Write};
use std::net::TcpStream;

use hive_core::testing::Redis;

use super::{assert_gone, killed, killed_at_any_moment, listens, other, panicked, say_and_wait};

/// What the server answers to these lines, after the one to the password.
fn talk(url: &str, lines: &str) -> String {
    let (password, rest) = url.strip_prefix("redis://:").unwrap().split_once('@').unwrap();
    let mut stream = TcpStream::connect(rest.split_once('/').unwrap().0).unwrap();
    stream
        .write_all(format!("AUTH {password}\r\n{lines}\r\nQUIT\r\n").as_bytes())
        .unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    let answer = answer.strip_prefix("+OK\r\n").unwrap();
    answer.strip_suffix("+OK\r\n").unwrap().trim_end().to_owned()
}

#[test]
fn a_server_answers_and_is_gone_when_dropped() {
    let server = Redis::start();
    assert_eq!(talk(server.url(), "ECHO hello"), "$5\r\nhello");
    let (folder, port) = (server.folder().to_owned(), server.port());
    drop(server);
    assert_gone(&folder, port);
}

#[test]
fn a_server_is_gone_after_a_panic() {
    let (folder, port) = panicked(|say| {
        let server = Redis::start();
        say(server.folder(), server.port());
        panic!("on purpose");
    });
    assert_gone(&folder, port);
}

#[test]
fn a_server_is_gone_when_its_process_is_killed() {
    if let Some(file) = other() {
        let server = Redis::start();
        say_and_wait(&file, server.folder(), server.port());
    }
    let (folder, port) = killed("kit::redis::a_server_is_gone_when_its_process_is_killed");
    assert_gone(&folder, port);
}

#[test]
fn nothing_is_left_of_a_process_killed_at_any_moment() {
    if let Some(file) = other() {
        let server = Redis::start();
        say_and_wait(&file, server.folder(), server.port());
    }
    killed_at_any_moment("kit::redis::nothing_is_left_of_a_process_killed_at_any_moment");
}

#[test]
fn two_servers_at_once_do_not_clash_and_keep_strangers_out() {
    let (left, right) = (Redis::start(), Redis::start());
    assert_ne!(left.port(), right.port());
    assert_eq!(talk(left.url(), "SET a 1"), "+OK");
    assert_eq!(talk(right.url(), "GET a"), "$-1");
    let mut stranger = TcpStream::connect(("127.0.0.1", left.port())).unwrap();
    stranger.write_all(b"GET a\r\nQUIT\r\n").unwrap();
    let mut answer = String::new();
    stranger.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("-NOAUTH"), "{answer}");
}

#[test]
fn data_stays_when_a_server_is_stopped_or_killed() {
    let server = Redis::start();
    assert_eq!(talk(server.url(), "INCR a"), ":1");
    server.restart();
    assert_eq!(talk(server.url(), "INCR a"), ":2");
    server.kill();
    assert!(!listens(server.port()));
    server.start_again();
    assert_eq!(talk(server.url(), "INCR a"), ":3");
}

#[test]
fn the_shared_server_answers() {
    assert_eq!(talk(Redis::shared().url(), "PING"), "+PONG");
}

#[test]
fn a_missing_program_is_named_with_its_package() {
    let empty = tempfile::tempdir().unwrap();
    let error = Redis::try_start(Some(empty.path())).err().unwrap();
    assert_eq!(error.field("program"), Some("redis-server"));
    assert!(error.hint().contains("`redis-server`"), "{}", error.hint());
}
